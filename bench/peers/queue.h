/* SPDX-License-Identifier: MIT
 *
 * A channel as libuv users write it by hand: a mutex, and a uv_async_t that rings the receiver's loop. A bounded one has a
 * condition variable on which senders wait for room.
 *
 *   QUEUE_LIST   as most people write it: each message is a node of a linked list, from malloc() and freed by the receiver, and
 *                each send rings. The receiver takes the list as a whole.
 *   QUEUE_RING   as a careful engineer would for speed: two buffers that the receiver swaps; only a message that comes into an
 *                empty one rings, and nothing is freed while it runs. ../baseline.h is the same for one message type.
 *
 * While the receiver works off what it took, senders may put in as many again as the capacity. */
#ifndef BENCH_QUEUE_H
#define BENCH_QUEUE_H

#include <stddef.h>
#include <uv.h>

enum queue_kind { QUEUE_LIST, QUEUE_RING };

typedef struct queue_s queue_t;

/* `message` is good until the callback returns. */
typedef void (*queue_cb)(queue_t* q, const void* message);

struct queue_node;

struct queue_buffer {
  char* bytes;
  size_t room;
};

struct queue_s {
  void* data;
  /* Private from here. */
  uv_async_t async;
  queue_cb cb;
  enum queue_kind kind;
  size_t size;
  size_t capacity;
  uv_mutex_t mutex;
  /* The mutex's. */
  uv_cond_t has_room;
  unsigned int waiting;
  size_t count;
  struct queue_buffer in;
  struct queue_node* first;
  struct queue_node** end;
  /* The receiver's: what it has taken, and not worked off. */
  struct queue_buffer out;
  struct queue_node* taken;
  size_t taken_count;
  size_t taken_next;
};

/* queue_init: make a channel of messages of `size` bytes, a multiple of 8, that come to `cb` on `loop`. A capacity of 0 is no
 * bound. Returns 0 or a libuv code. */
int queue_init(uv_loop_t* loop, queue_t* q, enum queue_kind kind, size_t size, size_t capacity, queue_cb cb);

/* queue_send: any thread; sleeps while the channel is full, so not the loop's then. Returns 0, UV_ENOMEM. */
int queue_send(queue_t* q, const void* message);

/* queue_try_recv: the loop's thread. Returns 0, UV_EAGAIN (nothing there). */
int queue_try_recv(queue_t* q, void* message);

#endif
