/* SPDX-License-Identifier: MIT
 *
 * A hash table from keys to strings, for many small ones: an entry is one allocation. It grows and shrinks a few buckets at a
 * time, with the operations on it, so none of them waits for all of it. One thread at a time. */
#ifndef KV_TABLE_H
#define KV_TABLE_H

#include "kv.h"

/* A key and its value. The address is good until the value is resized. */
struct entry {
  struct entry* next;
  int64_t expires; /* the user's; 0 in a new entry */
  uint32_t hash;
  uint32_t key_len;
  uint32_t len;  /* bytes of the value */
  uint32_t room; /* bytes that the value can have before the entry has to be allocated anew */
  char bytes[];  /* the key, then the value */
};

/* Bytes that a key or a value can have. */
enum { STRING_LIMIT = 512 * 1024 * 1024 };

struct table {
  /* read-only */
  size_t count; /* entries */
  size_t bytes; /* of memory, as malloc() rounds it */
  /* private */
  struct entry** buckets;
  size_t mask;        /* the number of buckets, a power of two, less 1 */
  struct entry** old; /* where entries are moved away from; NULL: nowhere */
  size_t old_mask;
  size_t moved; /* these many of the old buckets are empty */
  uint64_t seed[2];
};

/* table_init: an empty one. Returns 0, or a negative libuv code. table_free: with all entries.
 * table_clear: remove all entries. */
int table_init(struct table* table);
void table_free(struct table* table);
void table_clear(struct table* table);

/* table_hash: of a key, for the functions below. With a secret seed: nobody can choose keys that meet in one bucket. */
uint32_t table_hash(const struct table* table, struct slice key);

/* table_find: what points to the entry of a key, until the next call for this table; NULL: there is none. */
struct entry** table_find(struct table* table, struct slice key, uint32_t hash);

/* table_add: an entry for a key that has none, with a value of `len` bytes for the caller to fill in.
 * NULL: no memory; all is as it was. */
struct entry* table_add(struct table* table, struct slice key, uint32_t hash, size_t len);

/* table_resize: make the value of an entry that was found `len` bytes long; those that stay keep what is in them. `spare`: bytes
 * of room for more, if it has to be allocated. The entry may move. NULL: no memory; all is as it was. */
struct entry* table_resize(struct table* table, struct entry** at, size_t len, size_t spare);

/* table_remove: an entry that was found. */
void table_remove(struct table* table, struct entry** at);

/* table_scan: show some entries to `visit`, which returns 1 to have an entry removed, and does nothing else to the table. `cursor`
 * is 0 at first, then what was returned last; 0 is the end. Between the calls anything can happen to the table: an entry that
 * stays in it from the first call to the last is shown, perhaps more than once. If nothing happens to it, then exactly once. */
typedef int (*table_visit_cb)(struct entry* entry, void* arg);
uint64_t table_scan(struct table* table, uint64_t cursor, table_visit_cb visit, void* arg);

/* table_tend: for idle times: some of the work that growing and shrinking left. Returns 1 if there is more. */
int table_tend(struct table* table);

static inline struct slice entry_key(const struct entry* entry) {
  return (struct slice){entry->bytes, entry->key_len};
}

static inline struct slice entry_value(const struct entry* entry) {
  return (struct slice){entry->bytes + entry->key_len, entry->len};
}

/* entry_write: put bytes into the value, from `pos` on. */
void entry_write(struct entry* entry, size_t pos, struct slice bytes);

#endif
