/* SPDX-License-Identifier: MIT
 *
 * The library itself: `uvch`; `uvch-off`, the same with loops that never wait hot; `uvch-thread`, whose receivers are plain
 * threads without a loop. */
#ifndef BENCH_UVCH_PEER_H
#define BENCH_UVCH_PEER_H

#include <uvch.h>

#include "peer.h"
#include "producers.h"

/* What one thread writes for each message lies so far from what another one reads. */
#define LINE 128

/* Of channels that hold one message or a few, where the case does not say it, and of requests. */
#define SMALL_CAPACITY 64
#define REQUEST_CAPACITY 1024

/* A request, and where its reply goes. */
struct request {
  uint64_t number;
  uvch_oneshot_sender_t reply;
};

/* check: fail unless a call has succeeded. */
static inline void check(int rc, const char* what) {
  if (rc < 0)
    peer_fail("%s: %s", what, uv_strerror(rc));
}

/* loop_ready: call it when the loop has its first handle. Turns the hot window off for `uvch-off`. */
void loop_ready(const struct peer_args* args, uv_loop_t* loop);

/* mpsc_capacity: as the library has it. */
size_t mpsc_capacity(const struct peer_args* args);

/* What the producers of `stream` send to. */
struct stream_out {
  uvch_mpsc_sender_t tx;
  size_t size;
};

/* stream_produce: the producers of `stream`, with the right way to send. */
producers_t* stream_produce(const struct peer_args* args, struct stream_out* out);

/* The cases. */
void run_stream(const struct peer_args* args);
void run_pingpong(const struct peer_args* args);
void run_request(const struct peer_args* args);
void run_broadcast(const struct peer_args* args);
void run_watch(const struct peer_args* args);
void run_idle(const struct peer_args* args);
void run_pair(const struct peer_args* args);
void run_thread_stream(const struct peer_args* args);
void run_thread_pingpong(const struct peer_args* args);
void run_thread_request(const struct peer_args* args);

#endif
