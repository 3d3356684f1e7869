/* SPDX-License-Identifier: MIT
 *
 * What people write by hand for one value, for a request with a reply, and for news to several. All for 8-byte values, and for
 * speed.
 *
 * A slot is on the heap, holds a value under a mutex, and is freed by whoever of the two is done with it last.
 *
 * A box is a loop's list of requests, under a mutex, with a uv_async_t that rings only when a request comes into an empty list;
 * the loop takes the list as a whole. A request is the caller's memory, and holds the value, the callback, and the box that it
 * goes back to.
 *
 * A topic is a list of subscribers under a mutex. Each has a channel of its own, that of baseline.h, and gets a copy of every
 * message. */
#ifndef BENCH_BYHAND_H
#define BENCH_BYHAND_H

#include <stdint.h>
#include <uv.h>

#include "baseline.h"

typedef struct byhand_slot_s byhand_slot_t;

/* byhand_slot_new: an empty slot, for a thread that puts a value in and one that takes it; NULL: out of memory. */
byhand_slot_t* byhand_slot_new(void);

/* byhand_slot_send: put the value in; the slot is not the caller's any more. */
void byhand_slot_send(byhand_slot_t* slot, uint64_t value);

/* byhand_slot_try_recv: 0: the value was there, and the slot is not the caller's any more. UV_EAGAIN: nothing yet. */
int byhand_slot_try_recv(byhand_slot_t* slot, uint64_t* value);

/* byhand_slot_heap: bytes on the heap that a slot takes. */
size_t byhand_slot_heap(byhand_slot_t* slot);

typedef struct byhand_box_s byhand_box_t;
typedef struct byhand_request_s byhand_request_t;

typedef void (*byhand_box_cb)(byhand_box_t* box, byhand_request_t* req);
typedef void (*byhand_reply_cb)(byhand_request_t* req);

struct byhand_box_s {
  void* data;
  /* Private from here; the list belongs to the mutex. */
  uv_async_t async;
  byhand_box_cb cb;
  uv_mutex_t mutex;
  byhand_request_t* first;
  byhand_request_t* last;
};

struct byhand_request_s {
  void* data;
  uint64_t value; /* of the request, then of the reply */
  /* Private from here. */
  byhand_box_t* home; /* NULL: a thread waits for it */
  byhand_reply_cb cb;
  uv_sem_t done;
  byhand_request_t* next;
};

/* byhand_box_init: a box on `loop`; requests come to `cb`. With NULL as the callback it is one for replies, and each comes to
 * its request's own. Returns 0 or a libuv code. */
int byhand_box_init(uv_loop_t* loop, byhand_box_t* box, byhand_box_cb cb);

/* byhand_send: send a request to `box`; the reply comes through `home` to `cb`. From the loop of `home`. */
int byhand_send(byhand_box_t* box, byhand_request_t* req, byhand_box_t* home, byhand_reply_cb cb);

/* byhand_wait: send a request and sleep until the reply is there. From a plain thread; `req->done` is made before. */
int byhand_wait(byhand_box_t* box, byhand_request_t* req);

/* byhand_reply: send a request back. From any thread. */
int byhand_reply(byhand_request_t* req);

typedef struct byhand_topic_s byhand_topic_t;
typedef struct byhand_sub_s byhand_sub_t;

struct byhand_topic_s {
  /* Private. */
  uv_mutex_t mutex;
  byhand_sub_t* first;
};

struct byhand_sub_s {
  baseline_t queue; /* with the `data` that the callback finds */
  uint64_t missed;  /* messages that it had no room for; the topic's mutex */
  /* Private from here. */
  byhand_sub_t* next;
};

/* byhand_topic_init: a topic without subscribers. Returns 0 or a libuv code. */
int byhand_topic_init(byhand_topic_t* topic);

/* byhand_subscribe: messages come to `cb` on `loop` from now on; at most `capacity` are kept, and as many again while the loop
 * works. Returns 0 or a libuv code. */
int byhand_subscribe(uv_loop_t* loop, byhand_topic_t* topic, byhand_sub_t* sub, size_t capacity, baseline_cb cb);

/* byhand_publish: a copy to every subscriber; who has no room misses it. Any thread. Returns 0 or a libuv code. */
int byhand_publish(byhand_topic_t* topic, uint64_t message);

/* byhand_publish_wait: the same, but the thread sleeps until there is room. Any thread but a subscriber's. */
int byhand_publish_wait(byhand_topic_t* topic, uint64_t message);

/* byhand_missed: how many messages it has missed. Any thread. */
uint64_t byhand_missed(byhand_topic_t* topic, const byhand_sub_t* sub);

#endif
