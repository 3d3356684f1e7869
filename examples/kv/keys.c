/* SPDX-License-Identifier: MIT
 *
 * Commands on keys, whatever their values, and on all of them. */
#include "keyspace.h"

void run_del(struct execution* x) {
  struct spot spot;

  if (key_change(x, &spot) != 0)
    return;
  reply_integer(x->reply, spot.at != NULL);
  if (spot.at != NULL)
    key_remove(x, &spot);
}

void run_exists(struct execution* x) {
  reply_integer(x->reply, key_read(x) != NULL);
}

void run_type(struct execution* x) {
  reply_status(x->reply, key_read(x) != NULL ? "string" : "none");
}

void run_dbsize(struct execution* x) {
  reply_integer(x->reply, (long long) x->store->table.count);
}

/*
 * FLUSHALL, FLUSHDB: since other shards write to the log at the same time, it is the keys of this one that are deleted there.
 */

enum { CHUNK = 128 };

struct chunk {
  struct buf* log;
  struct slice argv[1 + CHUNK];
  size_t argc;
};

static void chunk_end(struct chunk* chunk) {
  if (chunk->argc > 1)
    reply_command(chunk->log, chunk->argv, chunk->argc);
  chunk->argc = 1;
}

static int chunk_add(struct entry* entry, void* arg) {
  struct chunk* chunk = arg;

  chunk->argv[chunk->argc++] = entry_key(entry);
  if (chunk->argc > CHUNK)
    chunk_end(chunk);
  return 0;
}

/* Returns 0, or -1: no memory, and there is nothing of it in the log. */
static int log_all(struct execution* x) {
  struct chunk chunk = {.log = x->log, .argv = {{"DEL", 3}}, .argc = 1};
  uint64_t cursor = 0;
  size_t len;

  if (x->log == NULL)
    return 0;
  if (x->log->failed)
    return -1;
  len = x->log->len;
  do {
    cursor = table_scan(&x->store->table, cursor, chunk_add, &chunk);
  } while (cursor != 0);
  chunk_end(&chunk);
  if (!x->log->failed)
    return 0;
  x->log->len = len;
  x->log->failed = 0;
  return -1;
}

void run_flush(struct execution* x) {
  if (x->argc > 2 || (x->argc == 2 && !slice_is(x->argv[1], "SYNC") && !slice_is(x->argv[1], "ASYNC"))) {
    reply_error(x->reply, "ERR syntax error");
    return;
  }
  if (log_all(x) != 0) {
    reply_no_memory(x->reply);
    return;
  }
  table_clear(&x->store->table);
  x->store->expires = 0;
  reply_status(x->reply, "OK");
}
