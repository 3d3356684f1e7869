/* SPDX-License-Identifier: MIT */
#include "queue.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64

struct queue_node {
  struct queue_node* next;
  uint64_t message[];
};

/* Who writes it by hand knows the size; a word is the usual one. */
static inline void copy(void* to, const void* from, size_t size) {
  if (size == sizeof(uint64_t))
    *(uint64_t*) to = *(const uint64_t*) from;
  else
    memcpy(to, from, size);
}

/* Sending. With the mutex held. */

static void wait_for_room(queue_t* q) {
  while (q->capacity != 0 && q->count == q->capacity) {
    q->waiting++;
    uv_cond_wait(&q->has_room, &q->mutex);
    q->waiting--;
  }
}

static int grow(queue_t* q) {
  size_t room = q->in.room == 0 ? FIRST_ROOM : q->in.room * 2;
  char* bytes = (char*) realloc(q->in.bytes, room * q->size);

  if (bytes == NULL)
    return UV_ENOMEM;
  q->in.bytes = bytes;
  q->in.room = room;
  return 0;
}

static int send_by_list(queue_t* q, const void* message) {
  struct queue_node* node = (struct queue_node*) malloc(sizeof(*node) + q->size);

  if (node == NULL)
    return UV_ENOMEM;
  node->next = NULL;
  copy(node->message, message, q->size);
  uv_mutex_lock(&q->mutex);
  wait_for_room(q);
  *q->end = node;
  q->end = &node->next;
  q->count++;
  uv_mutex_unlock(&q->mutex);
  return uv_async_send(&q->async);
}

/* Outside the mutex the bell is sound, see ../baseline.c. */
static int send_by_ring(queue_t* q, const void* message) {
  int is_first, rc = 0;

  uv_mutex_lock(&q->mutex);
  wait_for_room(q);
  if (q->count == q->in.room)
    rc = grow(q);
  if (rc != 0) {
    uv_mutex_unlock(&q->mutex);
    return rc;
  }
  is_first = q->count == 0;
  copy(q->in.bytes + q->count++ * q->size, message, q->size);
  uv_mutex_unlock(&q->mutex);
  return is_first ? uv_async_send(&q->async) : 0;
}

int queue_send(queue_t* q, const void* message) {
  return q->kind == QUEUE_LIST ? send_by_list(q, message) : send_by_ring(q, message);
}

/* Receiving. */

/* Take what is there. Returns 0 if nothing was. */
static int take(queue_t* q) {
  struct queue_buffer buffer = q->out;
  unsigned int waiting;

  uv_mutex_lock(&q->mutex);
  q->out = q->in;
  q->in = buffer;
  q->taken = q->first;
  q->first = NULL;
  q->end = &q->first;
  q->taken_count = q->count;
  q->taken_next = 0;
  q->count = 0;
  waiting = q->waiting;
  uv_mutex_unlock(&q->mutex);
  if (waiting != 0)
    uv_cond_broadcast(&q->has_room);
  return q->taken_count != 0;
}

/* What the two below keep in the queue is written once: senders use the same cache lines. */

static void deliver_list(queue_t* q) {
  struct queue_node* node = q->taken;
  struct queue_node* next;

  for (; node != NULL; node = next) {
    next = node->next;
    q->cb(q, node->message);
    free(node);
  }
}

static void deliver_ring(queue_t* q) {
  const char* message = q->out.bytes;
  const char* end = message + q->taken_count * q->size;
  queue_cb cb = q->cb;
  size_t size = q->size;

  for (; message != end; message += size)
    cb(q, message);
}

static void on_async(uv_async_t* async) {
  queue_t* q = (queue_t*) async->data;

  if (!take(q))
    return;
  if (q->kind == QUEUE_LIST)
    deliver_list(q);
  else
    deliver_ring(q);
  q->taken = NULL;
  q->taken_next = q->taken_count;
}

/* The next message of what was taken, and what is to be freed after use. */
static const void* next_of(queue_t* q, struct queue_node** node) {
  size_t place = q->taken_next++;

  *node = q->taken;
  if (q->kind == QUEUE_RING)
    return q->out.bytes + place * q->size;
  q->taken = (*node)->next;
  return (*node)->message;
}

int queue_try_recv(queue_t* q, void* message) {
  struct queue_node* node;

  if (q->taken_next == q->taken_count && !take(q))
    return UV_EAGAIN;
  copy(message, next_of(q, &node), q->size);
  free(node);
  return 0;
}

int queue_init(uv_loop_t* loop, queue_t* q, enum queue_kind kind, size_t size, size_t capacity, queue_cb cb) {
  void* data = q->data;
  int rc;

  *q = (queue_t){.data = data, .cb = cb, .kind = kind, .size = size, .capacity = capacity};
  q->end = &q->first;
  rc = uv_mutex_init(&q->mutex);
  if (rc == 0)
    rc = uv_cond_init(&q->has_room);
  if (rc == 0)
    rc = uv_async_init(loop, &q->async, on_async);
  q->async.data = q;
  return rc;
}
