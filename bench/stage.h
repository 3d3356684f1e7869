/* SPDX-License-Identifier: MIT
 *
 * A broadcast channel of either kind with receivers on two loops. Every receiver checks every message: it is the next one, or
 * follows a gap of exactly as many as it was told. */
#ifndef BENCH_STAGE_H
#define BENCH_STAGE_H

#include <stdatomic.h>

#include "bench.h"
#include "byhand.h"

#define LOOPS 2

struct side;
struct stage;

/* A receiver of either kind. */
struct listener {
  struct side* side;
  uint64_t next; /* the message that it has to get */
  uint64_t missed;
  uvch_broadcast_receiver_t rx;
  byhand_sub_t sub;
};

typedef void (*done_fn)(struct side* side);

/* A loop with its receivers. */
struct side {
  _Alignas(128) uv_loop_t loop;
  struct stage* stage;
  unsigned int number;
  struct listener* listeners;
  size_t count;
  uint64_t left; /* messages that its receivers have to get or miss, all together */
  uint64_t missed;
  done_fn done; /* when nothing is left */
  uint64_t end;
  struct chan work;  /* keeps the loop awake */
  int page;          /* see thread_page() */
  uint64_t switches; /* how often its thread has slept, from the end of the warm-up on */
  uv_thread_t thread;
  _Alignas(128) atomic_uint_fast64_t served; /* how often it was done */
};

struct stage {
  const struct setup* setup;
  struct result* result;
  uvch_broadcast_sender_t tx;
  byhand_topic_t topic;
  struct side sides[LOOPS];
  unsigned int loops; /* that have receivers */
  uint64_t bursts;
  uint64_t warm;
  atomic_int over;
  uv_barrier_t barrier; /* of the sender and the loops' threads */
  uv_barrier_t ready;   /* of the sender and the one that runs both loops */
};

/* open_channel: one of the library without receivers. */
void open_channel(uvch_broadcast_sender_t* tx, const struct setup* setup, struct result* result);

/* stage_open: a channel with its receivers, half of them on each loop; one alone has a loop for itself. `done` is called on a
 * loop's thread when its receivers are through with what was left. */
void stage_open(struct stage* stage, const struct setup* setup, struct result* result, done_fn done);

/* start_sides, join_sides: a thread for each loop. */
void start_sides(struct stage* stage, uv_thread_cb serve);
void join_sides(struct stage* stage);

/* send_all: the messages from `message` up to `end`, in the manner of the setup. */
void send_all(struct stage* stage, uint64_t message, uint64_t end);

#endif
