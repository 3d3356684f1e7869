/* SPDX-License-Identifier: MIT
 *
 * KEYS and SCAN. */
#include <stdio.h>

#include "keyspace.h"

/* The keys that are to be shown. */
struct listing {
  int64_t now;
  struct slice pattern;
  int has_pattern;
  struct buf keys; /* as they stand in the reply */
  size_t count;
  size_t seen; /* those that are not shown, too */
};

static int list(struct entry* entry, void* arg) {
  struct listing* listing = arg;

  listing->seen++;
  if (key_is_expired(entry, listing->now))
    return 0;
  if (listing->has_pattern && !glob_match(listing->pattern, entry_key(entry)))
    return 0;
  reply_bulk(&listing->keys, entry->bytes, entry->key_len);
  listing->count++;
  return 0;
}

static void reply_listing(struct execution* x, struct listing* listing) {
  reply_array(x->reply, listing->count);
  if (listing->count > 0)
    buf_add(x->reply, listing->keys.data, listing->keys.len);
}

static int is_all(struct slice pattern) {
  return pattern.len == 1 && pattern.data[0] == '*';
}

void run_keys(struct execution* x) {
  struct listing listing = {.now = x->now, .pattern = x->argv[1], .has_pattern = !is_all(x->argv[1])};
  uint64_t cursor = 0;

  do {
    cursor = table_scan(&x->store->table, cursor, list, &listing);
  } while (cursor != 0);
  if (listing.keys.failed)
    reply_no_memory(x->reply);
  else
    reply_listing(x, &listing);
  buf_free(&listing.keys);
}

/*
 * The cursor of clients is that of the table, times the number of shards, plus which shard. After the last of a shard comes the first
 * of the next one.
 */

static uint64_t cursor_encode(const struct store* store, uint64_t cursor) {
  if (cursor != 0)
    return cursor * store->shards + store->index;
  return store->index + 1 < store->shards ? store->index + 1 : 0;
}

/* As strtoul() takes it, since Redis does: no digits at all are 0, and -1 is the largest. Returns 0, or -1 if it is none. */
static int cursor_parse(struct slice text, uint64_t* cursor) {
  size_t pos = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+');
  uint64_t value = 0;

  if (pos == text.len && pos > 0)
    return -1;
  for (; pos < text.len; pos++) {
    unsigned int digit = (unsigned int) (text.data[pos] - '0');
    if (digit > 9 || value > (UINT64_MAX - digit) / 10)
      return -1;
    value = value * 10 + digit;
  }
  *cursor = text.len > 0 && text.data[0] == '-' ? 0 - value : value;
  return 0;
}

size_t shard_of_cursor(struct slice text, size_t shards) {
  uint64_t cursor;

  return cursor_parse(text, &cursor) == 0 ? (size_t) (cursor % shards) : 0;
}

/* With options MATCH, COUNT, TYPE. All values are strings: of another type there are none. */
static int scan_parse(struct execution* x, struct listing* listing, long long* count, int* is_type) {
  size_t i;

  for (i = 2; i < x->argc; i += 2) {
    if (i + 1 == x->argc) {
      reply_error(x->reply, "ERR syntax error");
      return -1;
    }
    if (slice_is(x->argv[i], "COUNT")) {
      if (slice_integer(x->argv[i + 1], count) != 0) {
        reply_error(x->reply, "ERR value is not an integer or out of range");
        return -1;
      }
      if (*count < 1) {
        reply_error(x->reply, "ERR syntax error");
        return -1;
      }
    } else if (slice_is(x->argv[i], "MATCH")) {
      listing->pattern = x->argv[i + 1];
      listing->has_pattern = !is_all(listing->pattern);
    } else if (slice_is(x->argv[i], "TYPE")) {
      *is_type = slice_is(x->argv[i + 1], "string");
    } else {
      reply_error(x->reply, "ERR syntax error");
      return -1;
    }
  }
  return 0;
}

/* `count` keys, more or less: a bucket is shown as a whole; nor too many empty buckets. */
static uint64_t scan(struct table* table, uint64_t cursor, uint64_t count, struct listing* listing) {
  uint64_t looks = count < UINT64_MAX / 10 ? count * 10 : UINT64_MAX;

  do {
    cursor = table_scan(table, cursor, list, listing);
  } while (cursor != 0 && --looks > 0 && listing->seen < count);
  return cursor;
}

void run_scan(struct execution* x) {
  struct store* store = x->store;
  struct listing listing = {.now = x->now};
  long long count = 10;
  int is_type = 1;
  uint64_t cursor;
  char text[24];

  if (cursor_parse(x->argv[1], &cursor) != 0) {
    reply_error(x->reply, "ERR invalid cursor");
    return;
  }
  if (scan_parse(x, &listing, &count, &is_type) != 0)
    return;
  cursor = scan(&store->table, cursor / store->shards, (uint64_t) count, &listing);
  if (!is_type) {
    buf_clear(&listing.keys, 0);
    listing.count = 0;
  }
  if (listing.keys.failed) {
    reply_no_memory(x->reply);
  } else {
    snprintf(text, sizeof(text), "%llu", (unsigned long long) cursor_encode(store, cursor));
    reply_array(x->reply, 2);
    reply_bulk_text(x->reply, text);
    reply_listing(x, &listing);
  }
  buf_free(&listing.keys);
}
