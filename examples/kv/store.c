/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "keyspace.h"

/* store_expire looks at so many buckets between two looks at the clock, at least at that many in all; and goes on while one in
 * STALE_SHARE of the keys with a time that it met had to go. */
enum { SWEEP_BATCH = 64, SWEEP_MIN = 1024, STALE_SHARE = 10 };

struct store* store_new(size_t index, size_t shards) {
  struct store* store = calloc(1, sizeof(*store));

  if (store == NULL)
    return NULL;
  store->index = index;
  store->shards = shards;
  if (table_init(&store->table) != 0) {
    store_free(store);
    return NULL;
  }
  return store;
}

void store_free(struct store* store) {
  if (store == NULL)
    return;
  table_free(&store->table);
  free(store);
}

void store_count(const struct store* store, struct store_counts* counts) {
  counts->keys = store->table.count;
  counts->expires = store->expires;
  counts->bytes = store->table.bytes;
  counts->expired = store->expired;
  counts->hits = store->hits;
  counts->misses = store->misses;
}

/*
 * Which shard
 */

static uint64_t blend(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

/* No relation to the hash of the table: the keys of a shard go to all of its buckets. */
size_t shard_of(struct slice key, size_t shards) {
  uint64_t hash = key.len;
  uint64_t word;
  size_t pos;

  if (shards == 1)
    return 0;
  for (pos = 0; pos + sizeof(word) <= key.len; pos += sizeof(word)) {
    memcpy(&word, key.data + pos, sizeof(word));
    hash = blend(hash, word);
  }
  word = 0;
  if (pos < key.len)
    memcpy(&word, key.data + pos, key.len - pos);
  hash = blend(blend(hash, word), 0);
  return (size_t) ((hash >> 32) * shards >> 32);
}

/*
 * One key
 */

void reply_no_memory(struct buf* reply) {
  reply_error(reply, "OOM command not allowed when used memory > 'maxmemory'.");
}

static void reply_too_long(struct buf* reply) {
  reply_error(reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
}

int key_is_expired(const struct entry* entry, int64_t now) {
  return entry->expires != 0 && entry->expires < now;
}

void key_expires(struct store* store, struct entry* entry, int64_t expires) {
  store->expires += (size_t) (expires != 0);
  store->expires -= (size_t) (entry->expires != 0);
  entry->expires = expires;
}

static void find(struct execution* x, struct spot* spot) {
  struct store* store = x->store;

  spot->hash = table_hash(&store->table, x->argv[1]);
  spot->at = table_find(&store->table, x->argv[1], spot->hash);
  if (spot->at == NULL || !key_is_expired(*spot->at, x->now))
    return;
  if (effect_room(x->log, x->argv[1].len) == 0) { /* else it stays for a while, and is not seen */
    key_remove(x, spot);
    store->expired++;
  }
  spot->at = NULL;
}

void key_count(struct store* store, const struct spot* spot) {
  if (spot->at != NULL)
    store->hits++;
  else
    store->misses++;
}

const struct entry* key_read(struct execution* x) {
  struct spot spot;

  find(x, &spot);
  key_count(x->store, &spot);
  return spot.at != NULL ? *spot.at : NULL;
}

int key_change(struct execution* x, struct spot* spot) {
  size_t len = x->argv[1].len; /* its time may have come, then it is deleted first */
  size_t i;

  for (i = 1; i < x->argc; i++)
    len += x->argv[i].len;
  spot->reply = x->reply->len;
  if (effect_room(x->log, len) != 0) {
    reply_no_memory(x->reply);
    return -1;
  }
  find(x, spot);
  return 0;
}

/* In place of what there may be of the reply. */
static struct entry* refuse(struct execution* x, const struct spot* spot, void (*reply)(struct buf* reply)) {
  if (!x->reply->failed)
    x->reply->len = spot->reply;
  reply(x->reply);
  return NULL;
}

struct entry* key_put(struct execution* x, struct spot* spot, size_t pos, struct slice value, size_t spare) {
  struct table* table = &x->store->table;
  struct entry* entry;

  if (value.len > STRING_LIMIT - pos || x->argv[1].len > STRING_LIMIT)
    return refuse(x, spot, reply_too_long);
  if (spot->at != NULL)
    entry = table_resize(table, spot->at, pos + value.len, spare);
  else
    entry = table_add(table, x->argv[1], spot->hash, pos + value.len);
  if (entry == NULL)
    return refuse(x, spot, reply_no_memory);
  entry_write(entry, pos, value);
  return entry;
}

void key_remove(struct execution* x, struct spot* spot) {
  key_expires(x->store, *spot->at, 0);
  effect_delete(x->log, x->argv[1]);
  table_remove(&x->store->table, spot->at);
  spot->at = NULL;
}

/*
 * Times
 */

void key_expire_at(struct execution* x, struct entry* entry, int64_t expires) {
  key_expires(x->store, entry, expires);
  effect_expire(x->log, entry);
}

struct sweep {
  struct store* store;
  struct buf* log;
  int64_t now;
  size_t met;  /* keys that have a time */
  size_t gone; /* those whose time has come */
};

static int sweep_visit(struct entry* entry, void* arg) {
  struct sweep* sweep = arg;

  sweep->met += entry->expires != 0;
  if (!key_is_expired(entry, sweep->now) || effect_room(sweep->log, entry->key_len) != 0)
    return 0;
  effect_delete(sweep->log, entry_key(entry));
  key_expires(sweep->store, entry, 0);
  sweep->store->expired++;
  sweep->gone++;
  return 1;
}

int store_expire(struct store* store, int64_t now, uint64_t budget, struct buf* log) {
  uint64_t start = uv_hrtime();
  size_t looked;

  for (looked = SWEEP_BATCH;; looked += SWEEP_BATCH) {
    struct sweep sweep = {store, log, now, 0, 0};
    int is_tended = 0;
    int i;
    for (i = 0; i < SWEEP_BATCH; i++) {
      is_tended = !table_tend(&store->table);
      if (store->expires > 0)
        store->sweep = table_scan(&store->table, store->sweep, sweep_visit, &sweep);
    }
    if (is_tended && (store->expires == 0 || (looked >= SWEEP_MIN && sweep.gone * STALE_SHARE <= sweep.met)))
      return 0;
    if (uv_hrtime() - start >= budget)
      return 1;
  }
}
