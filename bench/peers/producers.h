/* SPDX-License-Identifier: MIT
 *
 * The threads of `stream` that send, for any channel in C. They share the messages out in portions. */
#ifndef BENCH_PRODUCERS_H
#define BENCH_PRODUCERS_H

#include <stdint.h>

#include "peer.h"

#define PRODUCERS_PHASES 2 /* the first one warms up */

typedef struct producers_s producers_t;

/* Send the messages of a producer from `place` on, `count` of them, waiting for room. */
typedef void (*producers_send_fn)(void* channel, unsigned int producer, uint64_t place, uint64_t count);

/* producers_start: threads that wait for producers_go(). */
producers_t* producers_start(const struct peer_args* args, producers_send_fn send, void* channel);

/* producers_count: messages of a phase. */
uint64_t producers_count(const producers_t* producers, int phase);

/* producers_go: send those of the next phase. In the last one the caller, which is the receiver, and the producers stay where
 * `place` says. Starts `meter`. */
void producers_go(producers_t* producers, struct peer_meter* meter);

/* producers_end: wait for the threads' end. The receiver has stopped `meter` with the last message; its wall clock now counts
 * from the first send. */
void producers_end(producers_t* producers, struct peer_meter* meter);

#endif
