/* SPDX-License-Identifier: MIT
 *
 * Commands on the times of keys. */
#include "keyspace.h"

static int fail(struct execution* x, const char* command) {
  reply_error(x->reply, "ERR invalid expire time in '%s' command", command);
  return -1;
}

int moment_parse(struct execution* x, struct slice text, struct moment moment, int any, const char* command, int64_t* when) {
  long long value;

  if (slice_integer(text, &value) != 0) {
    reply_error(x->reply, "ERR value is not an integer or out of range");
    return -1;
  }
  if (!any && value <= 0)
    return fail(x, command);
  if (moment.is_seconds) {
    if (value > INT64_MAX / 1000 || value < INT64_MIN / 1000)
      return fail(x, command);
    value *= 1000;
  }
  if (!moment.is_absolute) {
    if (value > INT64_MAX - x->now)
      return fail(x, command);
    value += x->now;
  }
  *when = value;
  return 0;
}

int moment_is_over(int64_t when, int64_t now) {
  return when <= now;
}

enum { IF_NONE = 1, IF_SOME = 2, IF_LATER = 4, IF_EARLIER = 8 };

static int parse_conditions(struct execution* x, unsigned int* conditions) {
  size_t i;

  *conditions = 0;
  for (i = 3; i < x->argc; i++) {
    if (slice_is(x->argv[i], "NX")) {
      *conditions |= IF_NONE;
    } else if (slice_is(x->argv[i], "XX")) {
      *conditions |= IF_SOME;
    } else if (slice_is(x->argv[i], "GT")) {
      *conditions |= IF_LATER;
    } else if (slice_is(x->argv[i], "LT")) {
      *conditions |= IF_EARLIER;
    } else {
      reply_error(x->reply, "ERR Unsupported option %.*s", slice_width(x->argv[i]), x->argv[i].data);
      return -1;
    }
  }
  if ((*conditions & IF_NONE) != 0 && *conditions != IF_NONE) {
    reply_error(x->reply, "ERR NX and XX, GT or LT options at the same time are not compatible");
    return -1;
  }
  if ((*conditions & IF_LATER) != 0 && (*conditions & IF_EARLIER) != 0) {
    reply_error(x->reply, "ERR GT and LT options at the same time are not compatible");
    return -1;
  }
  return 0;
}

/* A key without a time is one whose time is later than all. */
static int holds(unsigned int conditions, int64_t expires, int64_t when) {
  if ((conditions & IF_NONE) != 0 && expires != 0)
    return 0;
  if ((conditions & IF_SOME) != 0 && expires == 0)
    return 0;
  if ((conditions & IF_LATER) != 0 && (expires == 0 || when <= expires))
    return 0;
  return (conditions & IF_EARLIER) == 0 || expires == 0 || when < expires;
}

static void expire(struct execution* x, struct moment moment, const char* command) {
  unsigned int conditions;
  struct spot spot;
  int64_t when;

  if (parse_conditions(x, &conditions) != 0 || moment_parse(x, x->argv[2], moment, 1, command, &when) != 0 ||
      key_change(x, &spot) != 0)
    return;
  if (spot.at == NULL || !holds(conditions, (*spot.at)->expires, when)) {
    reply_integer(x->reply, 0);
    return;
  }
  if (moment_is_over(when, x->now))
    key_remove(x, &spot);
  else
    key_expire_at(x, *spot.at, when);
  reply_integer(x->reply, 1);
}

void run_expire(struct execution* x) {
  expire(x, (struct moment){.is_seconds = 1}, "expire");
}

void run_pexpire(struct execution* x) {
  expire(x, (struct moment){0}, "pexpire");
}

void run_expireat(struct execution* x) {
  expire(x, (struct moment){.is_seconds = 1, .is_absolute = 1}, "expireat");
}

void run_pexpireat(struct execution* x) {
  expire(x, (struct moment){.is_absolute = 1}, "pexpireat");
}

/* Milliseconds that a key has left; -1: it has no time; -2: there is none. */
static int64_t time_left(struct execution* x) {
  const struct entry* entry = key_read(x);

  if (entry == NULL)
    return -2;
  return entry->expires != 0 ? entry->expires - x->now : -1;
}

void run_ttl(struct execution* x) {
  int64_t left = time_left(x);

  reply_integer(x->reply, left < 0 ? left : left / 1000 + (left % 1000 >= 500));
}

void run_pttl(struct execution* x) {
  reply_integer(x->reply, time_left(x));
}

void run_persist(struct execution* x) {
  struct spot spot;

  if (key_change(x, &spot) != 0)
    return;
  if (spot.at == NULL || (*spot.at)->expires == 0) {
    reply_integer(x->reply, 0);
    return;
  }
  key_expire_at(x, *spot.at, 0);
  reply_integer(x->reply, 1);
}
