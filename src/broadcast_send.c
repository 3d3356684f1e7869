/* SPDX-License-Identifier: MIT
 *
 * Sending to a broadcast channel, and those who wait for room. */
#include <limits.h>

#include "broadcast.h"
#include "item.h"
#include "parker.h"

#define SEND_MAX 64 /* messages that go in in one hold of the lock */
#define SERVE_MAX 8 /* waiters that are served in one */

/* At once. */

static int has_room(struct uvch__broadcast* c) {
  uint64_t tail = atomic_load_explicit(&c->hub.tail, memory_order_relaxed); /* relaxed: the lock is held */

  if (tail - c->min < c->capacity)
    return 1;
  if (c->slowest != NULL && atomic_load_explicit(&c->slowest->passed, memory_order_seq_cst) == c->min) /* [Y4] [Y5] */
    return 0;
  uvch__bgroup_look(c);
  return tail - c->min < c->capacity;
}

/* The lock is held, as in put(). */
static int may_put(struct uvch__broadcast* c) {
  if (c->hub.receivers == 0)
    return UV_EPIPE;
  if (c->policy == UVCH_BROADCAST_WAIT && (!uvch__list_is_empty(&c->waiters) || !has_room(c)))
    return UV_EAGAIN;
  return 0;
}

static int put(struct uvch__broadcast* c, const void* item, struct uvch__node* node, struct uvch__due* due) {
  uvch__ring_put(c, item, node, due);
  uvch__take_parked(&c->hub, due);
  return (int) c->hub.receivers;
}

/* `node` has the message if messages are nodes, and is the channel's if it says so. */
static int send_one(struct uvch__broadcast* c, const void* item, struct uvch__node* node) {
  struct uvch__due due;
  int err;

  uvch__due_init(&due);
  uvch__lock(&c->hub.lock);
  err = may_put(c);
  if (err == 0)
    err = put(c, item, node, &due);
  uvch__unlock(&c->hub.lock);
  uvch__due_do(&c->hub, &due);
  return err;
}

/* What a send would say now: 0 or an error. So a message that is to be a node is not made for nothing. */
static int may_send(struct uvch__broadcast* c) {
  int err;

  uvch__lock(&c->hub.lock);
  err = may_put(c);
  uvch__unlock(&c->hub.lock);
  return err;
}

static int send_now(struct uvch__broadcast* c, const void* item) {
  struct uvch__node* node = NULL;
  int n;

  if (c->has_nodes) {
    n = may_send(c);
    if (n != 0)
      return n;
    node = uvch__node_new(c, item);
    if (node == NULL)
      return UV_ENOMEM;
  }
  n = send_one(c, item, node);
  if (n < 0 && node != NULL)
    uvch__node_free(node);
  return n;
}

static int check_send(const uvch_broadcast_sender_t* tx, const void* items, size_t count, struct uvch__broadcast** c) {
  if (tx == NULL || count > INT_MAX)
    return UV_EINVAL;
  *c = uvch__broadcast_of(tx);
  if (*c == NULL)
    return UVCH__WAS_CLOSED(tx);
  return items == NULL && count > 0 && (*c)->hub.item_size > 0 ? UV_EINVAL : 0;
}

int uvch_broadcast_send(const uvch_broadcast_sender_t* tx, const void* item) {
  struct uvch__broadcast* c;
  int err = check_send(tx, item, 1, &c);

  return err != 0 ? err : send_now(c, item);
}

/* As many nodes as there is memory for. */
static size_t make_nodes(struct uvch__broadcast* c, const void* items, size_t count, struct uvch__node** nodes) {
  size_t n;

  for (n = 0; n < count; n++) {
    nodes[n] = uvch__node_new(c, uvch__item_at(items, n, c->hub.item_size));
    if (nodes[n] == NULL)
      break;
  }
  return n;
}

/* At most SEND_MAX of them. How many, or an error. */
static int send_some(struct uvch__broadcast* c, const void* items, size_t count) {
  struct uvch__node* nodes[SEND_MAX] = {NULL};
  struct uvch__due due;
  size_t ready = count;
  size_t n = 0;
  int err;

  if (c->has_nodes) {
    err = may_send(c);
    if (err != 0)
      return err;
    ready = make_nodes(c, items, count, nodes);
    if (ready == 0)
      return UV_ENOMEM;
  }
  uvch__due_init(&due);
  uvch__lock(&c->hub.lock);
  while (n < ready && (err = may_put(c)) == 0) {
    put(c, uvch__item_at(items, n, c->hub.item_size), nodes[n], &due);
    n++;
  }
  uvch__unlock(&c->hub.lock);
  uvch__due_do(&c->hub, &due);
  while (ready-- > n)
    if (nodes[ready] != NULL)
      uvch__node_free(nodes[ready]);
  return n > 0 ? (int) n : err;
}

int uvch_broadcast_send_many(const uvch_broadcast_sender_t* tx, const void* items, size_t count) {
  struct uvch__broadcast* c;
  int err = check_send(tx, items, count, &c);
  size_t sent = 0;

  if (err != 0)
    return err;
  uvch__hub_ref(&c->hub); /* a drop function may close the sender */
  while (sent < count) {
    size_t n = count - sent < SEND_MAX ? count - sent : SEND_MAX;
    err = send_some(c, uvch__item_at(items, sent, c->hub.item_size), n);
    if (err > 0)
      sent += (size_t) err;
    if (err < (int) n)
      break;
  }
  uvch__hub_unref(&c->hub);
  return sent > 0 || count == 0 ? (int) sent : err;
}

/* Those who wait. */

/* A request is a sender as long as it waits. */
static int is_sender(const struct uvch__waiter* waiter) {
  return waiter->parker == NULL;
}

/* The lock is held. */
static void note_waits(struct uvch__broadcast* c) {
  int waits = !uvch__list_is_empty(&c->waiters);

  if (waits != atomic_load_explicit(&c->waits, memory_order_relaxed)) /* relaxed: the lock is held */
    atomic_store_explicit(&c->waits, (unsigned char) waits,
                          memory_order_relaxed); /* relaxed: only to 0; a 1 too many is harmless */
}

int uvch__bwait(struct uvch__hub* h, struct uvch__waiter* waiter) {
  struct uvch__broadcast* c = uvch__broadcast_at(h);
  struct uvch__due due;
  int err;

  uvch__due_init(&due);
  uvch__lock(&h->lock);
  atomic_store_explicit(&c->waits, 1, memory_order_seq_cst); /* [Y5] */
  err = may_put(c);
  if (err == UV_EAGAIN) {
    waiter->is_queued = 1;
    uvch__list_append(&c->waiters, &waiter->queue);
    if (is_sender(waiter))
      h->strong++;
  } else if (err == 0) {
    err = put(c, waiter->item, waiter->node, &due);
    waiter->node = NULL;
  }
  note_waits(c);
  uvch__unlock(&h->lock);
  uvch__due_do(h, &due);
  return err;
}

int uvch__bwait_cancel(struct uvch__hub* h, struct uvch__waiter* waiter) {
  struct uvch__due due;
  int found;

  uvch__due_init(&due);
  uvch__lock(&h->lock);
  found = waiter->is_queued;
  if (found) {
    waiter->is_queued = 0;
    uvch__list_remove(&waiter->queue);
    note_waits(uvch__broadcast_at(h));
    if (is_sender(waiter))
      uvch__put_strong(h, &due);
  }
  uvch__unlock(&h->lock);
  uvch__due_do(h, &due);
  return found;
}

/* The lock is held. 1: there may be more. */
static int serve_some(struct uvch__broadcast* c, struct uvch__due* due) {
  int n = 0;

  while (n < SERVE_MAX && !uvch__list_is_empty(&c->waiters) && (c->hub.receivers == 0 || has_room(c))) {
    struct uvch__waiter* waiter = UVCH__CONTAINER(c->waiters.next, struct uvch__waiter, queue);
    struct uvch__node* node = waiter->node;
    uvch__waiter_is_due(waiter, c->hub.receivers == 0 ? UV_EPIPE : UV_ECANCELED, due); /* that for a fork in between */
    if (c->hub.receivers > 0) {
      waiter->node = NULL;
      waiter->status = put(c, waiter->item, node, due);
    }
    if (is_sender(waiter))
      uvch__put_strong(&c->hub, due);
    n++;
  }
  n += uvch__watchers_are_due(&c->hub, SERVE_MAX - n, due);
  return n == SERVE_MAX;
}

void uvch__serve(struct uvch__broadcast* c, struct uvch__bgroup* g) {
  struct uvch__due due;
  int more;

  do {
    uvch__due_init(&due);
    uvch__lock(&c->hub.lock);
    if (g != NULL)
      uvch__bgroup_note(g);
    more = uvch__ring_release(c, &due);
    more |= serve_some(c, &due);
    note_waits(c);
    uvch__unlock(&c->hub.lock);
    uvch__due_do(&c->hub, &due); /* may run user code, which may end the group */
    g = NULL;
  } while (more);
}

/* Threads that wait. */

static int send_until(struct uvch__broadcast* c, const void* item, uint64_t deadline) {
  struct uvch__waiter waiter = {.item = item};
  int n;

  if (c->has_nodes) {
    waiter.node = uvch__node_new(c, item);
    if (waiter.node == NULL)
      return UV_ENOMEM;
  }
  n = uvch__hub_sleep(&c->hub, &waiter, deadline);
  if (waiter.node != NULL)
    uvch__node_free(waiter.node);
  return n;
}

int uvch_broadcast_send_timedwait(const uvch_broadcast_sender_t* tx, const void* item, uint64_t timeout) {
  struct uvch__broadcast* c;
  int n = check_send(tx, item, 1, &c);

  if (n == 0)
    n = send_now(c, item);
  if (n != UV_EAGAIN)
    return n;
  return timeout == 0 ? UV_ETIMEDOUT : send_until(c, item, uvch__parker_deadline(timeout));
}

int uvch_broadcast_send_wait(const uvch_broadcast_sender_t* tx, const void* item) {
  return uvch_broadcast_send_timedwait(tx, item, UINT64_MAX);
}

int uvch_broadcast_closed_timedwait(const uvch_broadcast_sender_t* tx, uint64_t timeout) {
  struct uvch__broadcast* c;
  int err = check_send(tx, NULL, 0, &c);

  return err != 0 ? err : uvch__hub_closed_wait(&c->hub, timeout);
}

int uvch_broadcast_closed_wait(const uvch_broadcast_sender_t* tx) {
  return uvch_broadcast_closed_timedwait(tx, UINT64_MAX);
}

/* Requests. */

int uvch_broadcast_queue_send(uv_loop_t* loop, uvch_broadcast_send_t* req, const uvch_broadcast_sender_t* tx, const void* item,
                              uvch_broadcast_send_cb cb) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);
  struct uvch__waiter waiter = {.item = item};
  int err;

  if (loop == NULL || req == NULL || tx == NULL || cb == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  if (item == NULL && c->hub.item_size > 0)
    return UV_EINVAL;
  if (c->has_nodes) {
    err = may_send(c);
    if (err != 0 && err != UV_EAGAIN)
      return err;
    waiter.node = uvch__node_new(c, item);
    if (waiter.node == NULL)
      return UV_ENOMEM;
  }
  req->cb = cb;
  return uvch__hub_request(loop, (uvch_req_t*) req, UVCH_BROADCAST_SEND, &c->hub, waiter);
}

int uvch_broadcast_closed(uv_loop_t* loop, uvch_broadcast_closed_t* req, const uvch_broadcast_sender_t* tx,
                          uvch_broadcast_closed_cb cb) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);

  if (loop == NULL || req == NULL || tx == NULL || cb == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  req->cb = cb;
  return uvch__hub_request(loop, (uvch_req_t*) req, UVCH_BROADCAST_CLOSED, &c->hub, (struct uvch__waiter){.is_watcher = 1});
}

/* After a fork. */

void uvch__broadcast_refork(struct uvch__hub* h) {
  struct uvch__broadcast* c = uvch__broadcast_at(h);

  uvch__ring_refork(c);
  uvch__bgroup_look(c);
  uvch__keep_requests(&c->waiters);
  atomic_store_explicit(&c->waits, 1, memory_order_relaxed); /* perhaps; relaxed: no other thread exists */
}
