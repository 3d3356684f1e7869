/* SPDX-License-Identifier: MIT
 *
 * The peer: what a libuv user writes today. A mutex, two buffers of 8-byte messages that the receiver swaps, and one
 * uv_async_t for each channel. A bounded one has a condition variable on which senders wait for room.
 *
 * It knows its message type and takes it by value, rings its loop only when a message comes into an empty buffer, and frees
 * nothing while it runs: what a careful engineer would do for speed. While the receiver works on one buffer the senders fill
 * the other, so a bounded one may hold up to twice its capacity. */
#ifndef BENCH_BASELINE_H
#define BENCH_BASELINE_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The capacity of a channel without a bound. */
#define BASELINE_UNBOUNDED SIZE_MAX

typedef struct baseline_s baseline_t;

typedef void (*baseline_cb)(baseline_t* ch, uint64_t message);

struct baseline_s {
  void* data;
  /* Private from here; `in` and what follows it belong to the mutex, `out` and what follows it to the loop's thread. */
  uv_async_t async;
  baseline_cb cb;
  uv_mutex_t mutex;
  uv_cond_t room;
  unsigned int waiting;
  size_t capacity;
  uint64_t* in;
  size_t in_size;
  size_t in_count;
  uint64_t* out;
  size_t out_size;
  size_t out_head;
  size_t out_count;
};

/* baseline_init: make a channel whose messages come to `cb` on `loop`. Returns 0 or a libuv code. */
int baseline_init(uv_loop_t* loop, baseline_t* ch, size_t capacity, baseline_cb cb);

/* baseline_try_send: any thread. Returns 0, UV_EAGAIN (full), UV_ENOMEM. */
int baseline_try_send(baseline_t* ch, uint64_t message);

/* baseline_send_wait: any thread but the loop's; sleeps while the channel is full. Returns 0, UV_ENOMEM. */
int baseline_send_wait(baseline_t* ch, uint64_t message);

/* baseline_try_recv: the loop's thread. Returns 0, UV_EAGAIN (nothing there). */
int baseline_try_recv(baseline_t* ch, uint64_t* message);

/* baseline_heap: bytes on the heap that the channel holds now. */
size_t baseline_heap(const baseline_t* ch);

#endif
