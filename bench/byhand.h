/* SPDX-License-Identifier: MIT
 *
 * What people write by hand for one value, for a request with a reply, for news to several, and for a value that several follow.
 * All for speed, and but for the last for 8-byte values.
 *
 * A slot is on the heap, holds a value under a mutex, and is freed by whoever of the two is done with it last.
 *
 * A box is a loop's list of requests, under a mutex, with a uv_async_t that rings only when a request comes into an empty list;
 * the loop takes the list as a whole. A request is the caller's memory, and holds the value, the callback, and the box that it
 * goes back to.
 *
 * A topic is a list of subscribers under a mutex. Each has a channel of its own, that of baseline.h, and gets a copy of every
 * message.
 *
 * A board holds a value under a mutex, or a read-write lock, and everybody copies it. A spot is a loop that follows it, with a
 * uv_async_t that rings only if the loop has taken the value since it was rung last; then it shows it to its viewers. */
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

typedef struct byhand_board_s byhand_board_t;
typedef struct byhand_spot_s byhand_spot_t;
typedef struct byhand_viewer_s byhand_viewer_t;

typedef void (*byhand_board_cb)(byhand_viewer_t* viewer, const void* value);
typedef void (*byhand_modify_cb)(void* value, void* arg);

struct byhand_board_s {
  /* Private; what follows the locks belongs to the one that is used. */
  int is_shared;
  uv_mutex_t mutex;
  uv_rwlock_t rwlock;
  size_t size;
  void* value;
  uint64_t version;
  byhand_spot_t* first;
};

struct byhand_spot_s {
  /* Private; is_rung and what follows it belong to the board's lock. */
  byhand_board_t* board;
  uv_async_t async;
  byhand_viewer_t* first;
  void* value; /* the loop's copy */
  uint64_t version;
  int is_rung;
  byhand_spot_t* next;
  byhand_spot_t* next_rung;
};

struct byhand_viewer_s {
  void* data;
  /* Private from here. */
  byhand_board_cb cb;
  byhand_viewer_t* next;
};

/* byhand_board_init: a board with a copy of `value`, under a mutex, or with `is_shared` a read-write lock. Returns 0 or a libuv
 * code. */
int byhand_board_init(byhand_board_t* board, size_t size, const void* value, int is_shared);

/* byhand_board_follow: a loop that is told of changes from now on. Returns 0 or a libuv code. */
int byhand_board_follow(uv_loop_t* loop, byhand_board_t* board, byhand_spot_t* spot);

/* byhand_board_view: `cb` is shown the newest value after changes. The loop's thread. */
void byhand_board_view(byhand_spot_t* spot, byhand_viewer_t* viewer, byhand_board_cb cb);

/* byhand_board_send, _replace, _modify: the value is set; it is, and `old` gets the one before; it is changed in place. Any
 * thread. Return 0 or a libuv code. */
int byhand_board_send(byhand_board_t* board, const void* value);
int byhand_board_replace(byhand_board_t* board, const void* value, void* old);
int byhand_board_modify(byhand_board_t* board, byhand_modify_cb modify, void* arg);

/* byhand_board_read: copy the value out. Returns its version. Any thread. */
uint64_t byhand_board_read(byhand_board_t* board, void* value);

/* byhand_board_version: just that. Any thread. */
uint64_t byhand_board_version(byhand_board_t* board);

/* byhand_board_heap, _spot_heap: bytes on the heap that each takes. */
size_t byhand_board_heap(const byhand_board_t* board);
size_t byhand_spot_heap(const byhand_spot_t* spot);

#endif
