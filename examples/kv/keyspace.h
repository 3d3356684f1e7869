/* SPDX-License-Identifier: MIT
 *
 * What the commands share: the keys of a shard, and what a change leaves in the log. */
#ifndef KV_KEYSPACE_H
#define KV_KEYSPACE_H

#include "store.h"
#include "table.h"

struct store {
  struct table table;
  size_t index;
  size_t shards;
  size_t expires; /* entries that have a time */
  uint64_t sweep; /* cursor of store_expire() */
  uint64_t expired;
  uint64_t hits;
  uint64_t misses;
};

/* Where the key of a command is, or would be. */
struct spot {
  uint32_t hash;
  struct entry** at; /* NULL: there is none */
  size_t reply;      /* where the reply begins; an error takes the place of what is there */
};

/* key_read: the entry of argv[1], for a command that only reads; counts a hit or a miss. NULL: there is none.
 * A key whose time has come is none; it is removed. */
const struct entry* key_read(struct execution* x);

/* key_change: the same for a command that may change the key. Also makes room for what it will leave in the log, so that nothing can
 * fail after the change. Returns 0, or -1: no memory, and the error is the reply. */
int key_change(struct execution* x, struct spot* spot);

/* key_put: give the key this value from `pos` on, 0 or the value's end. Its time stays. `spare`: room to make for more.
 * NULL: it cannot be, nothing has changed, and the error is the reply. */
struct entry* key_put(struct execution* x, struct spot* spot, size_t pos, struct slice value, size_t spare);

/* key_count: a hit or a miss, for a command that changes the key and shows what it was. */
void key_count(struct store* store, const struct spot* spot);

/* key_remove, key_expire_at: remove the key, or give it another time, 0 for none; with what that leaves in the log.
 * key_expires: without. */
void key_remove(struct execution* x, struct spot* spot);
void key_expire_at(struct execution* x, struct entry* entry, int64_t expires);
void key_expires(struct store* store, struct entry* entry, int64_t expires);

/* key_is_expired: its time is the last millisecond in which it is there. */
int key_is_expired(const struct entry* entry, int64_t now);

void reply_no_memory(struct buf* reply);

/* Times as commands have them. */
struct moment {
  int is_seconds;
  int is_absolute; /* since 1970, not from now on */
};

/* moment_parse: in milliseconds since 1970. -1: it is no number, or out of range, and the error is the reply. Only a time
 * above 0 is one, unless `any`; `command` is for the error. */
int moment_parse(struct execution* x, struct slice text, struct moment moment, int any, const char* command, int64_t* when);

/* moment_is_over: a key with this time would not be there. */
int moment_is_over(int64_t when, int64_t now);

/* What is added to the log; nothing if it is NULL. effect_room: before a change, room for any two effects that have `len` bytes
 * in their keys and values together. Returns 0, or -1: no memory. */
int effect_room(struct buf* log, size_t len);
void effect_set(struct buf* log, const struct entry* entry);
void effect_delete(struct buf* log, struct slice key);
void effect_expire(struct buf* log, const struct entry* entry);
void effect_add(struct buf* log, struct slice key, long long delta);
void effect_append(struct buf* log, struct slice key, struct slice value);

/* The commands. */
void run_get(struct execution* x);
void run_set(struct execution* x);
void run_setnx(struct execution* x);
void run_setex(struct execution* x);
void run_psetex(struct execution* x);
void run_getdel(struct execution* x);
void run_getset(struct execution* x);
void run_getex(struct execution* x);
void run_mset(struct execution* x);
void run_incr(struct execution* x);
void run_decr(struct execution* x);
void run_incrby(struct execution* x);
void run_decrby(struct execution* x);
void run_append(struct execution* x);
void run_strlen(struct execution* x);

void run_del(struct execution* x);
void run_exists(struct execution* x);
void run_expire(struct execution* x);
void run_pexpire(struct execution* x);
void run_expireat(struct execution* x);
void run_pexpireat(struct execution* x);
void run_ttl(struct execution* x);
void run_pttl(struct execution* x);
void run_persist(struct execution* x);
void run_type(struct execution* x);

void run_keys(struct execution* x);
void run_scan(struct execution* x);
void run_dbsize(struct execution* x);
void run_flush(struct execution* x);

#endif
