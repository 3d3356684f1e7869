/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "table.h"

/* Buckets: at least so many; one for each entry when it grows; when it shrinks there are many times more than entries. */
enum { BUCKETS_MIN = 16, SPARSE = 8 };

/* What one operation moves: non-empty buckets, and how many it looks at for them. Two are enough to have moved all before the
 * table has to grow again. */
enum { STEP_MOVES = 2, STEP_LOOKS = 32 };

/* malloc() has some bytes of its own at each allocation, and rounds up. What that leaves is used as room. */
enum { MALLOC_OWN = 8, MALLOC_UNIT = 16 };

static size_t rounded(size_t size) {
  return (size + MALLOC_OWN + MALLOC_UNIT - 1) / MALLOC_UNIT * MALLOC_UNIT - MALLOC_OWN;
}

static size_t entry_bytes(const struct entry* entry) {
  return sizeof(*entry) + entry->key_len + entry->room + MALLOC_OWN;
}

static size_t bucket_bytes(size_t mask) {
  return (mask + 1) * sizeof(struct entry*);
}

void entry_write(struct entry* entry, size_t pos, struct slice bytes) {
  if (bytes.len > 0)
    memcpy(entry->bytes + entry->key_len + pos, bytes.data, bytes.len);
}

/*
 * The hash: SipHash with one round for each 8 bytes, and three at the end.
 */

static uint64_t rotate(uint64_t value, unsigned int bits) {
  return value << bits | value >> (64 - bits);
}

static void sip_round(uint64_t v[4]) {
  v[0] += v[1];
  v[2] += v[3];
  v[1] = rotate(v[1], 13) ^ v[0];
  v[3] = rotate(v[3], 16) ^ v[2];
  v[0] = rotate(v[0], 32);
  v[2] += v[1];
  v[0] += v[3];
  v[1] = rotate(v[1], 17) ^ v[2];
  v[3] = rotate(v[3], 21) ^ v[0];
  v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word) {
  v[3] ^= word;
  sip_round(v);
  v[0] ^= word;
}

uint32_t table_hash(const struct table* table, struct slice key) {
  uint64_t v[4] = {table->seed[0] ^ 0x736f6d6570736575u, table->seed[1] ^ 0x646f72616e646f6du,
                   table->seed[0] ^ 0x6c7967656e657261u, table->seed[1] ^ 0x7465646279746573u};
  uint64_t word;
  size_t left = key.len;
  const char* data = key.data;

  for (; left >= sizeof(word); left -= sizeof(word), data += sizeof(word)) {
    memcpy(&word, data, sizeof(word));
    sip_word(v, word);
  }
  word = 0;
  if (left > 0)
    memcpy(&word, data, left);
  sip_word(v, word ^ (uint64_t) key.len << 56);
  v[2] ^= 0xff;
  sip_round(v);
  sip_round(v);
  sip_round(v);
  word = v[0] ^ v[1] ^ v[2] ^ v[3];
  return (uint32_t) (word ^ word >> 32);
}

/*
 * Growing and shrinking
 */

/* Buckets that nobody has moved from yet. An entry is in them, or in the others; a new one always in the others. */
static struct entry** bucket_old(const struct table* table, uint32_t hash) {
  if (table->old == NULL || (hash & table->old_mask) < table->moved)
    return NULL;
  return &table->old[hash & table->old_mask];
}

static void push(struct table* table, struct entry* entry) {
  struct entry** bucket = &table->buckets[entry->hash & table->mask];

  entry->next = *bucket;
  *bucket = entry;
}

static void drop_old(struct table* table) {
  table->bytes -= bucket_bytes(table->old_mask);
  free(table->old);
  table->old = NULL;
}

/* Begin to move to another number of buckets. No memory: it stays as it is, and works, and tries again later. */
static void move_to(struct table* table, size_t size) {
  struct entry** buckets = calloc(size, sizeof(struct entry*));

  if (buckets == NULL)
    return;
  table->old = table->buckets;
  table->old_mask = table->mask;
  table->moved = 0;
  table->buckets = buckets;
  table->mask = size - 1;
  table->bytes += bucket_bytes(table->mask);
}

static void fit(struct table* table) {
  size_t size = table->mask + 1;

  if (table->old != NULL)
    return;
  if (table->count > size && table->mask < UINT32_MAX) { /* no more than the hash has bits for */
    move_to(table, size * 2);
  } else if (size > BUCKETS_MIN && table->count < size / SPARSE) {
    while (size > BUCKETS_MIN && table->count < size / 2)
      size /= 2;
    move_to(table, size);
  }
}

/* Move a few entries from the old buckets. */
static void step(struct table* table) {
  int moves = STEP_MOVES;
  int looks = STEP_LOOKS;

  while (moves > 0 && looks-- > 0 && table->moved <= table->old_mask) {
    struct entry* entry = table->old[table->moved];
    moves -= entry != NULL;
    while (entry != NULL) {
      struct entry* next = entry->next;
      push(table, entry);
      entry = next;
    }
    table->old[table->moved++] = NULL;
  }
  if (table->moved > table->old_mask) {
    drop_old(table);
    fit(table); /* much may have come and gone meanwhile */
  }
}

int table_tend(struct table* table) {
  if (table->old != NULL)
    step(table);
  return table->old != NULL;
}

/*
 * All of it
 */

int table_init(struct table* table) {
  memset(table, 0, sizeof(*table));
  table->buckets = calloc(BUCKETS_MIN, sizeof(struct entry*));
  if (table->buckets == NULL)
    return UV_ENOMEM;
  table->mask = BUCKETS_MIN - 1;
  table->bytes = bucket_bytes(table->mask);
  return uv_random(NULL, NULL, table->seed, sizeof(table->seed), 0, NULL);
}

static void free_entries(struct entry** buckets, size_t mask) {
  size_t i;

  for (i = 0; i <= mask; i++)
    while (buckets[i] != NULL) {
      struct entry* entry = buckets[i];
      buckets[i] = entry->next;
      free(entry);
    }
}

void table_clear(struct table* table) {
  if (table->old != NULL) {
    free_entries(table->old, table->old_mask);
    drop_old(table);
  }
  free_entries(table->buckets, table->mask);
  table->count = 0;
  table->bytes = bucket_bytes(table->mask);
  fit(table);
  if (table->old != NULL) /* nothing in it that would have to be moved */
    drop_old(table);
}

void table_free(struct table* table) {
  if (table->buckets != NULL)
    table_clear(table);
  free(table->buckets);
  table->buckets = NULL;
}

/*
 * One entry
 */

static int is_key(const struct entry* entry, struct slice key, uint32_t hash) {
  return entry->hash == hash && entry->key_len == key.len && (key.len == 0 || memcmp(entry->bytes, key.data, key.len) == 0);
}

static struct entry** find_in(struct entry** at, struct slice key, uint32_t hash) {
  for (; *at != NULL; at = &(*at)->next)
    if (is_key(*at, key, hash))
      return at;
  return NULL;
}

struct entry** table_find(struct table* table, struct slice key, uint32_t hash) {
  struct entry** at;

  if (table->old != NULL)
    step(table);
  at = bucket_old(table, hash);
  if (at != NULL)
    at = find_in(at, key, hash);
  return at != NULL ? at : find_in(&table->buckets[hash & table->mask], key, hash);
}

struct entry* table_add(struct table* table, struct slice key, uint32_t hash, size_t len) {
  size_t size = rounded(sizeof(struct entry) + key.len + len);
  struct entry* entry;

  if (key.len > STRING_LIMIT || len > STRING_LIMIT)
    return NULL;
  entry = malloc(size);
  if (entry == NULL)
    return NULL;
  entry->expires = 0;
  entry->hash = hash;
  entry->key_len = (uint32_t) key.len;
  entry->len = (uint32_t) len;
  entry->room = (uint32_t) (size - sizeof(*entry) - key.len);
  if (key.len > 0)
    memcpy(entry->bytes, key.data, key.len);
  push(table, entry);
  table->count++;
  table->bytes += entry_bytes(entry);
  fit(table);
  return entry;
}

/* Whether a value can stay where it is: it has room, and not far too much. */
static int fits(const struct entry* entry, size_t len) {
  return len <= entry->room && entry->room / 2 <= len + 2 * sizeof(*entry);
}

struct entry* table_resize(struct table* table, struct entry** at, size_t len, size_t spare) {
  struct entry* entry = *at;
  size_t size = rounded(sizeof(*entry) + entry->key_len + len + spare);

  if (len > STRING_LIMIT)
    return NULL;
  if (!fits(entry, len)) {
    size_t before = entry_bytes(entry);
    entry = realloc(*at, size);
    if (entry != NULL) {
      entry->room = (uint32_t) (size - sizeof(*entry) - entry->key_len);
      table->bytes += entry_bytes(entry) - before;
      *at = entry;
    } else if (len <= (*at)->room) {
      entry = *at; /* too much room is no error */
    } else {
      return NULL;
    }
  }
  entry->len = (uint32_t) len;
  return entry;
}

static void unlink_entry(struct table* table, struct entry** at) {
  struct entry* entry = *at;

  *at = entry->next;
  table->count--;
  table->bytes -= entry_bytes(entry);
  free(entry);
}

void table_remove(struct table* table, struct entry** at) {
  unlink_entry(table, at);
  fit(table);
}

/*
 * The cursor: the number of a bucket, counted from its highest bit down. A bucket of a table is two of one twice as large, whose
 * numbers begin, read that way, with its own. So all buckets before a cursor stay before it, whatever the size becomes.
 */

static uint64_t cursor_next(uint64_t cursor, size_t mask) {
  uint64_t bit = ((uint64_t) mask + 1) >> 1;

  cursor &= mask;
  for (; (cursor & bit) != 0; bit >>= 1)
    cursor ^= bit;
  return cursor | bit;
}

static void visit_bucket(struct table* table, struct entry** at, table_visit_cb visit, void* arg) {
  while (*at != NULL) {
    if (visit(*at, arg))
      unlink_entry(table, at);
    else
      at = &(*at)->next;
  }
}

uint64_t table_scan(struct table* table, uint64_t cursor, table_visit_cb visit, void* arg) {
  struct entry** large = table->buckets;
  size_t large_mask = table->mask;
  size_t small_mask = large_mask;
  size_t count = table->count;

  if (table->old != NULL) { /* a bucket of the smaller, and all of the larger that are parts of it */
    struct entry** small = table->old;
    small_mask = table->old_mask;
    if (small_mask > large_mask) {
      small = table->buckets;
      small_mask = table->mask;
      large = table->old;
      large_mask = table->old_mask;
    }
    visit_bucket(table, &small[cursor & small_mask], visit, arg);
  }
  do {
    visit_bucket(table, &large[cursor & large_mask], visit, arg);
    cursor = cursor_next(cursor, large_mask);
  } while ((cursor & (large_mask ^ small_mask)) != 0);
  if (table->count < count)
    fit(table);
  return cursor;
}
