/* SPDX-License-Identifier: MIT
 *
 * Commands on the values of keys. */
#include <stdio.h>

#include "keyspace.h"

static void reply_value(struct execution* x, const struct entry* entry) {
  if (entry == NULL) {
    reply_nil(x->reply);
    return;
  }
  reply_bulk(x->reply, entry_value(entry).data, entry->len);
}

static void reply_looked_up(struct execution* x, const struct spot* spot) {
  key_count(x->store, spot);
  reply_value(x, spot->at != NULL ? *spot->at : NULL);
}

/*
 * Reading
 */

void run_get(struct execution* x) {
  reply_value(x, key_read(x));
}

void run_strlen(struct execution* x) {
  const struct entry* entry = key_read(x);

  reply_integer(x->reply, entry != NULL ? entry->len : 0);
}

/*
 * Options of SET and GETEX
 */

enum {
  NX = 1,
  XX = 2,
  GET = 4,
  KEEPTTL = 8,
  PERSIST = 16,
  EX = 32,
  PX = 64,
  EXAT = 128,
  PXAT = 256,
  TIMES = EX | PX | EXAT | PXAT
};

static const struct option {
  const char* name;
  unsigned int flag;
  unsigned int not_with;
  struct moment moment;
} options[] = {
    {"NX", NX, XX, {0, 0}},
    {"XX", XX, NX, {0, 0}},
    {"GET", GET, 0, {0, 0}},
    {"KEEPTTL", KEEPTTL, PERSIST | TIMES, {0, 0}},
    {"PERSIST", PERSIST, KEEPTTL | TIMES, {0, 0}},
    {"EX", EX, KEEPTTL | PERSIST | (TIMES & ~EX), {1, 0}},
    {"PX", PX, KEEPTTL | PERSIST | (TIMES & ~PX), {0, 0}},
    {"EXAT", EXAT, KEEPTTL | PERSIST | (TIMES & ~EXAT), {1, 1}},
    {"PXAT", PXAT, KEEPTTL | PERSIST | (TIMES & ~PXAT), {0, 1}},
    {NULL, 0, 0, {0, 0}},
};

struct chosen {
  unsigned int flags;
  struct moment moment;
  struct slice time; /* of TIMES, not parsed yet */
};

static int parse_options(struct execution* x, size_t at, unsigned int allowed, struct chosen* chosen) {
  chosen->flags = 0;
  for (; at < x->argc; at++) {
    const struct option* option = options;
    while (option->name != NULL && !slice_is(x->argv[at], option->name))
      option++;
    if ((option->flag & allowed) == 0 || (option->not_with & chosen->flags) != 0 ||
        ((option->flag & TIMES) != 0 && at + 1 == x->argc)) {
      reply_error(x->reply, "ERR syntax error");
      return -1;
    }
    chosen->flags |= option->flag;
    if ((option->flag & TIMES) != 0) {
      chosen->moment = option->moment;
      chosen->time = x->argv[++at];
    }
  }
  return 0;
}

/*
 * Setting
 */

/* The value and the time of a key, 0 for none. Returns 0, or -1 with the error as the reply. */
static int assign(struct execution* x, struct spot* spot, struct slice value, int64_t expires) {
  struct entry* entry;

  if (expires != 0 && moment_is_over(expires, x->now)) {
    if (spot->at != NULL)
      key_remove(x, spot);
    return 0;
  }
  entry = key_put(x, spot, 0, value, 0);
  if (entry == NULL)
    return -1;
  key_expires(x->store, entry, expires);
  effect_set(x->log, entry);
  return 0;
}

static int is_wanted(unsigned int flags, const struct spot* spot) {
  return (flags & (spot->at != NULL ? NX : XX)) == 0;
}

void run_set(struct execution* x) {
  struct chosen chosen = {0};
  struct spot spot;
  int64_t expires = 0;

  if (x->argc > 3 && parse_options(x, 3, NX | XX | GET | KEEPTTL | TIMES, &chosen) != 0)
    return;
  if ((chosen.flags & TIMES) != 0 && moment_parse(x, chosen.time, chosen.moment, 0, "set", &expires) != 0)
    return;
  if (key_change(x, &spot) != 0)
    return;
  if ((chosen.flags & GET) != 0)
    reply_looked_up(x, &spot);
  if (!is_wanted(chosen.flags, &spot)) {
    if ((chosen.flags & GET) == 0)
      reply_nil(x->reply);
    return;
  }
  if ((chosen.flags & KEEPTTL) != 0 && spot.at != NULL)
    expires = (*spot.at)->expires;
  if (assign(x, &spot, x->argv[2], expires) == 0 && (chosen.flags & GET) == 0)
    reply_status(x->reply, "OK");
}

void run_mset(struct execution* x) {
  struct spot spot;

  if (key_change(x, &spot) == 0 && assign(x, &spot, x->argv[2], 0) == 0)
    reply_status(x->reply, "OK");
}

void run_setnx(struct execution* x) {
  struct spot spot;

  if (key_change(x, &spot) != 0)
    return;
  if (spot.at != NULL)
    reply_integer(x->reply, 0);
  else if (assign(x, &spot, x->argv[2], 0) == 0)
    reply_integer(x->reply, 1);
}

static void set_for(struct execution* x, struct moment moment, const char* command) {
  struct spot spot;
  int64_t expires;

  if (moment_parse(x, x->argv[2], moment, 0, command, &expires) == 0 && key_change(x, &spot) == 0 &&
      assign(x, &spot, x->argv[3], expires) == 0)
    reply_status(x->reply, "OK");
}

void run_setex(struct execution* x) {
  set_for(x, (struct moment){.is_seconds = 1}, "setex");
}

void run_psetex(struct execution* x) {
  set_for(x, (struct moment){0}, "psetex");
}

void run_getset(struct execution* x) {
  struct spot spot;

  if (key_change(x, &spot) != 0)
    return;
  reply_looked_up(x, &spot);
  assign(x, &spot, x->argv[2], 0);
}

void run_getdel(struct execution* x) {
  struct spot spot;

  if (key_change(x, &spot) != 0)
    return;
  reply_looked_up(x, &spot);
  if (spot.at != NULL)
    key_remove(x, &spot);
}

void run_getex(struct execution* x) {
  struct chosen chosen;
  struct spot spot;
  int64_t expires = 0;

  if (parse_options(x, 2, PERSIST | TIMES, &chosen) != 0 || key_change(x, &spot) != 0)
    return;
  if (spot.at != NULL && (chosen.flags & TIMES) != 0 && moment_parse(x, chosen.time, chosen.moment, 0, "getex", &expires) != 0)
    return;
  reply_looked_up(x, &spot);
  if (spot.at == NULL)
    return;
  if (expires != 0 && moment_is_over(expires, x->now))
    key_remove(x, &spot);
  else if (expires != 0 || ((chosen.flags & PERSIST) != 0 && (*spot.at)->expires != 0))
    key_expire_at(x, *spot.at, expires);
}

/*
 * Numbers
 */

static void add(struct execution* x, long long delta) {
  char text[24];
  struct spot spot;
  long long value = 0;

  if (key_change(x, &spot) != 0)
    return;
  if (spot.at != NULL && slice_integer(entry_value(*spot.at), &value) != 0) {
    reply_error(x->reply, "ERR value is not an integer or out of range");
    return;
  }
  if (delta < 0 ? value < INT64_MIN - delta : value > INT64_MAX - delta) {
    reply_error(x->reply, "ERR increment or decrement would overflow");
    return;
  }
  value += delta;
  if (key_put(x, &spot, 0, (struct slice){text, (size_t) snprintf(text, sizeof(text), "%lld", value)}, 0) == NULL)
    return;
  effect_add(x->log, x->argv[1], delta);
  reply_integer(x->reply, value);
}

static int parse_delta(struct execution* x, long long* delta) {
  if (slice_integer(x->argv[2], delta) == 0)
    return 0;
  reply_error(x->reply, "ERR value is not an integer or out of range");
  return -1;
}

void run_incr(struct execution* x) {
  add(x, 1);
}

void run_decr(struct execution* x) {
  add(x, -1);
}

void run_incrby(struct execution* x) {
  long long delta;

  if (parse_delta(x, &delta) == 0)
    add(x, delta);
}

void run_decrby(struct execution* x) {
  long long delta;

  if (parse_delta(x, &delta) != 0)
    return;
  if (delta == INT64_MIN)
    reply_error(x->reply, "ERR decrement would overflow");
  else
    add(x, -delta);
}

/*
 * Parts
 */

/* A value that grows gets as much room again, a large one an eighth. */
static size_t spare_for(size_t len) {
  return len < 1024 * 1024 ? len : len / 8;
}

void run_append(struct execution* x) {
  struct slice more = x->argv[2];
  struct entry* entry;
  struct spot spot;
  size_t len;

  if (key_change(x, &spot) != 0)
    return;
  len = spot.at != NULL ? (*spot.at)->len : 0;
  entry = key_put(x, &spot, len, more, spare_for(len + more.len));
  if (entry == NULL)
    return;
  effect_append(x->log, x->argv[1], more);
  reply_integer(x->reply, entry->len);
}
