/* SPDX-License-Identifier: MIT
 *
 * Sending to a broadcast channel, and those who wait for room, or for the end of the receivers. */
#include <limits.h>

#include "broadcast.h"
#include "group.h"
#include "item.h"
#include "parker.h"

#define SEND_MAX 64 /* messages that go in in one hold of the lock */
#define SERVE_MAX 8 /* waiters that are served in one */

/* What comes after the lock. */

void uvch__due_do_all(struct uvch__broadcast* c, struct uvch__due* due) {
  struct uvch__group* g;
  struct uvch__node* node;
  struct uvch__bwaiter* waiter;

  while ((g = due->groups) != NULL) {
    due->groups = uvch__next_parked(g);
    uvch__post(&g->home, &g->ep);
  }
  while (!uvch__list_is_empty(&due->told)) {
    waiter = UVCH__CONTAINER(due->told.next, struct uvch__bwaiter, queue);
    uvch__list_remove(&waiter->queue);
    waiter->tell(waiter);
  }
  while ((node = due->nodes) != NULL) {
    due->nodes = node->next;
    uvch__node_unref(c, node);
  }
}

void uvch__take_all_parked(struct uvch__broadcast* c, struct uvch__due* due) {
  struct uvch__group* g;

  for (g = c->parked; g != NULL; g = uvch__next_parked(g))
    g->is_parked = 0;
  due->groups = c->parked;
  c->parked = NULL;
}

void uvch__put_strong(struct uvch__broadcast* c, struct uvch__due* due) {
  if (--c->strong > 0)
    return;
  atomic_store_explicit(&c->closed, 1, memory_order_release); /* [Y3] */
  uvch__take_parked(c, due);
}

/* At once. */

static int has_room(struct uvch__broadcast* c) {
  uint64_t tail = atomic_load_explicit(&c->tail, memory_order_relaxed); /* relaxed: the lock is held */

  if (tail - c->min < c->capacity)
    return 1;
  if (c->slowest != NULL && atomic_load_explicit(&c->slowest->passed, memory_order_seq_cst) == c->min) /* [Y4] [Y5] */
    return 0;
  uvch__group_look(c);
  return tail - c->min < c->capacity;
}

/* The lock is held, as in put(). */
static int may_put(struct uvch__broadcast* c) {
  if (c->receivers == 0)
    return UV_EPIPE;
  if (c->policy == UVCH_BROADCAST_WAIT && (!uvch__list_is_empty(&c->waiters) || !has_room(c)))
    return UV_EAGAIN;
  return 0;
}

static int put(struct uvch__broadcast* c, const void* item, struct uvch__node* node, struct uvch__due* due) {
  uvch__ring_put(c, item, node, due);
  uvch__take_parked(c, due);
  return (int) c->receivers;
}

/* `node` has the message if messages are nodes, and is the channel's if it says so. */
static int send_one(struct uvch__broadcast* c, const void* item, struct uvch__node* node) {
  struct uvch__due due;
  int err;

  uvch__due_init(&due);
  uvch__lock(&c->lock);
  err = may_put(c);
  if (err == 0)
    err = put(c, item, node, &due);
  uvch__unlock(&c->lock);
  uvch__due_do(c, &due);
  return err;
}

int uvch__may_send(struct uvch__broadcast* c) {
  int err;

  uvch__lock(&c->lock);
  err = may_put(c);
  uvch__unlock(&c->lock);
  return err;
}

static int send_now(struct uvch__broadcast* c, const void* item) {
  struct uvch__node* node = NULL;
  int n;

  if (c->has_nodes) {
    n = uvch__may_send(c);
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
    return UV_EBADF;
  return items == NULL && count > 0 && (*c)->item_size > 0 ? UV_EINVAL : 0;
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
    nodes[n] = uvch__node_new(c, uvch__item_at(items, n, c->item_size));
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
    err = uvch__may_send(c);
    if (err != 0)
      return err;
    ready = make_nodes(c, items, count, nodes);
    if (ready == 0)
      return UV_ENOMEM;
  }
  uvch__due_init(&due);
  uvch__lock(&c->lock);
  while (n < ready && (err = may_put(c)) == 0) {
    put(c, uvch__item_at(items, n, c->item_size), nodes[n], &due);
    n++;
  }
  uvch__unlock(&c->lock);
  uvch__due_do(c, &due);
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
  uvch__broadcast_ref(c); /* a drop function may close the sender */
  while (sent < count) {
    size_t n = count - sent < SEND_MAX ? count - sent : SEND_MAX;
    err = send_some(c, uvch__item_at(items, sent, c->item_size), n);
    if (err > 0)
      sent += (size_t) err;
    if (err < (int) n)
      break;
  }
  uvch__broadcast_unref(c);
  return sent > 0 || count == 0 ? (int) sent : err;
}

/* Those who wait. */

static struct uvch__list* queue_of(struct uvch__broadcast* c, const struct uvch__bwaiter* waiter) {
  return waiter->is_watcher ? &c->watchers : &c->waiters;
}

static int is_sender(const struct uvch__bwaiter* waiter) {
  return !waiter->is_watcher && waiter->parker == NULL;
}

/* The lock is held. */
static void note_waits(struct uvch__broadcast* c) {
  int waits = !uvch__list_is_empty(&c->waiters);

  if (waits != atomic_load_explicit(&c->waits, memory_order_relaxed)) /* relaxed: the lock is held */
    atomic_store_explicit(&c->waits, (unsigned char) waits,
                          memory_order_relaxed); /* relaxed: only to 0; a 1 too many is harmless */
}

int uvch__bwait(struct uvch__broadcast* c, struct uvch__bwaiter* waiter) {
  struct uvch__due due;
  int err;

  uvch__due_init(&due);
  uvch__lock(&c->lock);
  if (waiter->is_watcher) {
    err = c->receivers > 0 ? UV_EAGAIN : 0;
  } else {
    atomic_store_explicit(&c->waits, 1, memory_order_seq_cst); /* [Y5] */
    err = may_put(c);
  }
  if (err == UV_EAGAIN) {
    waiter->is_queued = 1;
    uvch__list_append(queue_of(c, waiter), &waiter->queue);
    if (is_sender(waiter))
      c->strong++;
  } else if (err == 0 && !waiter->is_watcher) {
    err = put(c, waiter->item, waiter->node, &due);
    waiter->node = NULL;
  }
  note_waits(c);
  uvch__unlock(&c->lock);
  uvch__due_do(c, &due);
  return err;
}

int uvch__bwait_cancel(struct uvch__broadcast* c, struct uvch__bwaiter* waiter) {
  struct uvch__due due;
  int found;

  uvch__due_init(&due);
  uvch__lock(&c->lock);
  found = waiter->is_queued;
  if (found) {
    waiter->is_queued = 0;
    uvch__list_remove(&waiter->queue);
    note_waits(c);
    if (is_sender(waiter))
      uvch__put_strong(c, &due);
  }
  uvch__unlock(&c->lock);
  uvch__due_do(c, &due);
  return found;
}

/* Out of its queue. */
static void take_off(struct uvch__bwaiter* waiter, int status) {
  waiter->is_queued = 0;
  waiter->status = status;
  uvch__list_remove(&waiter->queue);
}

static struct uvch__bwaiter* first(struct uvch__list* queue) {
  return uvch__list_is_empty(queue) ? NULL : UVCH__CONTAINER(queue->next, struct uvch__bwaiter, queue);
}

/* The lock is held. 1: there may be more. */
static int serve_some(struct uvch__broadcast* c, struct uvch__due* due) {
  struct uvch__bwaiter* waiter;
  int n = 0;

  while (n < SERVE_MAX && (waiter = first(&c->waiters)) != NULL && (c->receivers == 0 || has_room(c))) {
    struct uvch__node* node = waiter->node;
    take_off(waiter, UV_ECANCELED); /* for a fork in between */
    if (c->receivers == 0) {
      waiter->status = UV_EPIPE;
    } else {
      waiter->node = NULL;
      waiter->status = put(c, waiter->item, node, due);
    }
    uvch__list_append(&due->told, &waiter->queue);
    if (is_sender(waiter))
      uvch__put_strong(c, due);
    n++;
  }
  while (n < SERVE_MAX && c->receivers == 0 && (waiter = first(&c->watchers)) != NULL) {
    take_off(waiter, 0);
    uvch__list_append(&due->told, &waiter->queue);
    n++;
  }
  return n == SERVE_MAX;
}

void uvch__serve(struct uvch__broadcast* c, struct uvch__group* g) {
  struct uvch__due due;
  int more;

  do {
    uvch__due_init(&due);
    uvch__lock(&c->lock);
    if (g != NULL)
      uvch__group_note(g);
    more = uvch__ring_release(c, &due);
    more |= serve_some(c, &due);
    note_waits(c);
    uvch__unlock(&c->lock);
    uvch__due_do(c, &due); /* may run user code, which may end the group */
    g = NULL;
  } while (more);
}

static int has_receivers(struct uvch__broadcast* c) {
  int has;

  uvch__lock(&c->lock);
  has = c->receivers > 0;
  uvch__unlock(&c->lock);
  return has;
}

/* Threads that wait. */

static void tell_thread(struct uvch__bwaiter* waiter) {
  struct uvch__parker* p = waiter->parker;

  uvch__parker_wake(p); /* [K1] the waiter's frame may be gone from here on */
  uvch__parker_unref(p);
}

/* What bwait says, or how it was told; UV_ETIMEDOUT, UV_EPERM, UV_ENOMEM. */
static int sleep_until(struct uvch__broadcast* c, struct uvch__bwaiter* waiter, uint64_t deadline) {
  struct uvch__parker* p;
  int err;

  if (uvch__group_runs_here(c))
    return UV_EPERM;
  p = uvch__parker_new();
  if (p == NULL)
    return UV_ENOMEM;
  uvch__parker_ref(p);
  waiter->tell = tell_thread;
  waiter->parker = p;
  err = uvch__bwait(c, waiter);
  if (err != UV_EAGAIN) {
    uvch__parker_unref(p); /* nobody will wake it */
  } else if (uvch__parker_wait(p, deadline) == 0) {
    err = waiter->status;
  } else if (uvch__bwait_cancel(c, waiter)) {
    uvch__parker_unref(p);
    err = UV_ETIMEDOUT;
  } else {
    uvch__parker_wait(p, UINT64_MAX); /* it is being told */
    err = waiter->status;
  }
  uvch__parker_unref(p);
  return err;
}

static int send_until(struct uvch__broadcast* c, const void* item, uint64_t deadline) {
  struct uvch__bwaiter waiter = {.item = item};
  int n;

  if (c->has_nodes) {
    waiter.node = uvch__node_new(c, item);
    if (waiter.node == NULL)
      return UV_ENOMEM;
  }
  n = sleep_until(c, &waiter, deadline);
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
  uint64_t deadline;
  int err = check_send(tx, NULL, 0, &c);

  if (err != 0 || !has_receivers(c))
    return err;
  if (timeout == 0)
    return UV_ETIMEDOUT;
  deadline = uvch__parker_deadline(timeout);
  do { /* a new one may have come before we look */
    struct uvch__bwaiter waiter = {.is_watcher = 1};
    err = sleep_until(c, &waiter, deadline);
  } while (err == 0 && has_receivers(c));
  return err;
}

int uvch_broadcast_closed_wait(const uvch_broadcast_sender_t* tx) {
  return uvch_broadcast_closed_timedwait(tx, UINT64_MAX);
}

/* After a fork. */

/* The requests of a queue; only the way forward is sure: a thread may have been in the middle of a change. */
static void keep_requests(struct uvch__list* queue) {
  struct uvch__list* l = queue->next;

  uvch__list_init(queue);
  while (l != queue) {
    struct uvch__bwaiter* waiter = UVCH__CONTAINER(l, struct uvch__bwaiter, queue);
    l = l->next;
    if (waiter->parker == NULL && waiter->is_queued)
      uvch__list_append(queue, &waiter->queue);
  }
}

void uvch__broadcast_refork(struct uvch__broadcast* c) {
  uvch__lock_init(&c->lock); /* another thread may have held it */
  uvch__ring_refork(c);
  uvch__group_look(c);
  keep_requests(&c->waiters);
  keep_requests(&c->watchers);
  atomic_store_explicit(&c->waits, 1, memory_order_relaxed); /* perhaps; relaxed: no other thread exists */
}
