/* SPDX-License-Identifier: MIT
 *
 * What libuv users write by hand: `list` and `ring`, see queue.h, and `bare`, a uv_async_t alone, the floor for waking. */
#ifndef BENCH_BYHAND_PEER_H
#define BENCH_BYHAND_PEER_H

#include <stdatomic.h>
#include <stdint.h>
#include <uv.h>

#include "peer.h"
#include "queue.h"

/* What one thread writes for each message lies so far from what another one reads. */
#define LINE 128

#define REQUEST_CAPACITY 1024

/* check: fail unless a call has succeeded. */
static inline void check(int rc, const char* what) {
  if (rc < 0)
    peer_fail("%s: %s", what, uv_strerror(rc));
}

/* A bare uv_async_t with the number that it tells of. */
typedef struct bell_s bell_t;
typedef void (*bell_cb)(bell_t* bell, uint64_t message);

struct bell_s {
  void* data;
  uv_async_t async;
  bell_cb cb;
  atomic_uint_fast64_t message;
};

/* bell_init, bell_ring: a second ring before the callback loses the first. */
void bell_init(uv_loop_t* loop, bell_t* bell, bell_cb cb);
void bell_ring(bell_t* bell, uint64_t message);

/* is_bare, queue_kind: of the peer. */
int is_bare(const struct peer_args* args);
enum queue_kind queue_kind(const struct peer_args* args);

/* The cases. */
void run_stream(const struct peer_args* args);
void run_pingpong(const struct peer_args* args);
void run_request(const struct peer_args* args);
void run_broadcast(const struct peer_args* args);
void run_watch(const struct peer_args* args);
void run_idle(const struct peer_args* args);
void run_pair(const struct peer_args* args);

#endif
