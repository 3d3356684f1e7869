/* SPDX-License-Identifier: MIT
 *
 * The thread of `idle` that sends to one channel of many, once the receivers' thread sleeps, for any channel in C. */
#ifndef BENCH_IDLE_H
#define BENCH_IDLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "peer.h"

/* Send to the channel with that number, of which there is room for one message. */
typedef void (*idle_send_fn)(void* channels, size_t which, uint64_t message);

typedef struct idle_s {
  /* Private. */
  const struct peer_args* args;
  idle_send_fn send;
  void* channels;
  int page;
  uint64_t* times;
  uint64_t before; /* memory */
  uint64_t bytes;
  struct peer_meter meter;
  pthread_t thread;
  atomic_size_t which;
  atomic_uint_fast64_t sent_at;
  atomic_uint_fast64_t received;
} idle_t;

/* idle_open: call it before the channels are made, on the thread of the receivers. */
void idle_open(idle_t* idle, const struct peer_args* args);

/* idle_start: the channels are made and the loop is about to run. */
void idle_start(idle_t* idle, idle_send_fn send, void* channels);

/* idle_take: a message has come out of the channel with that number. Returns 1 with the last one: the loop may stop. */
int idle_take(idle_t* idle, size_t which, uint64_t message);

/* idle_end: the loop has ended; the result. */
void idle_end(idle_t* idle);

#endif
