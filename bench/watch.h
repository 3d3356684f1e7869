/* SPDX-License-Identifier: MIT
 *
 * A watched value of either kind. The first and the last word of each value are its number; numbers count the changes. */
#ifndef BENCH_WATCH_H
#define BENCH_WATCH_H

#include "bench.h"
#include "byhand.h"

#define VALUE_MAX 4096

struct value {
  uint64_t words[VALUE_MAX / sizeof(uint64_t)];
};

static inline void value_set(struct value* value, size_t size, uint64_t number) {
  value->words[0] = number;
  value->words[size / sizeof(uint64_t) - 1] = number;
}

/* value_number: of a whole value, else fail(). */
static inline uint64_t value_number(const void* value, size_t size, struct result* result) {
  const uint64_t* words = (const uint64_t*) value;

  if (words[0] != words[size / sizeof(uint64_t) - 1])
    fail(result, "half of a value");
  return words[0];
}

/* A value that is watched, and a receiver without a loop. */
struct watched {
  uvch_watch_sender_t tx;
  uvch_watch_receiver_t rx;
  byhand_board_t board;
};

/* watched_open: value 0, of the setup's size. The receiver only if wanted, and the peer has none. */
void watched_open(struct watched* w, const struct setup* setup, int with_receiver, struct result* result);

#endif
