/* SPDX-License-Identifier: MIT
 *
 * Putting a message in: claim an index in the word, copy, publish. */
#include "core.h"
#include "queue.h"

/* Full against the head as last seen; the real one only when that says full, and only if the word has not changed meanwhile. */
static int is_full(struct uvch__core* c, uint64_t* word) {
  uint64_t head = atomic_load_explicit(&c->cached, memory_order_acquire); /* [C3] */
  uint64_t again;

  if (uvch__has_room(c, *word, head))
    return 0;
  head = atomic_load_explicit(&c->head, memory_order_acquire);  /* [C2] */
  again = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
  if (again == *word && !uvch__has_room(c, *word, head))
    return 1;
  atomic_store_explicit(&c->cached, head, memory_order_release); /* [C3] */
  *word = again;
  return 0;
}

static int ring_try_send(struct uvch__core* c, const void* item) {
  char* slots = atomic_load_explicit(&c->u.ring.slots, memory_order_acquire); /* [R1] */
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire);       /* [C1] */

  do {
    uint64_t seen;
    do {
      if ((word & (UVCH__CLOSED | UVCH__WAITERS)) != 0)
        return (word & UVCH__CLOSED) != 0 ? UV_EPIPE : UV_EAGAIN;
      seen = word;
      if (is_full(c, &word))
        return UV_EAGAIN;
    } while (word != seen);
    if (slots == NULL) {
      if (uvch__ring_make(c) != 0)
        return UV_ENOMEM;
      slots = atomic_load_explicit(&c->u.ring.slots, memory_order_acquire); /* [R1] */
    }
  } while (!atomic_compare_exchange_weak_explicit(&c->word, &word, (word + UVCH__TAIL_ONE) & ~UVCH__AT_TAIL, memory_order_acq_rel,
                                                  memory_order_acquire)); /* [C1] */
  return uvch__fill(c, uvch__ring_slot(c, slots, uvch__word_tail(word)), item, (word & UVCH__AT_TAIL) != 0);
}

int uvch__try_send(struct uvch__core* c, const void* item) {
  return c->capacity > 0 ? ring_try_send(c, item) : uvch__blocks_try_send(c, item);
}

/* What every send checks first. */
static int check(const uvch_mpsc_sender_t* tx, const void* item, struct uvch__core** c) {
  if (tx == NULL)
    return UV_EINVAL;
  *c = uvch__ptr_load(&tx->core);
  if (*c == NULL)
    return UV_EBADF;
  return item == NULL && (*c)->item_size > 0 ? UV_EINVAL : 0;
}

int uvch_mpsc_try_send(const uvch_mpsc_sender_t* tx, const void* item) {
  struct uvch__core* c;
  int err = check(tx, item, &c);

  return err != 0 ? err : uvch__try_send(c, item);
}

/* Threads that wait. */

static void tell_thread(struct uvch__waiter* waiter, struct uvch__core* c) {
  struct uvch__parker* p = waiter->parker;

  (void) c;
  uvch__parker_wake(p); /* [K1] the waiter's frame may be gone from here on */
  uvch__parker_unref(p);
}

static int wait_for_room(struct uvch__core* c, const void* item, uint64_t deadline) {
  struct uvch__waiter waiter = {.tell = tell_thread, .item = item};
  struct uvch__queue* q = uvch__queue_get(c);
  int err;

  waiter.parker = q != NULL ? uvch__queue_parker(c, q) : NULL;
  if (waiter.parker == NULL)
    return UV_ENOMEM;
  err = uvch__queue_wait(c, q, &waiter);
  if (err == 0) {
    if (uvch__parker_wait(waiter.parker, deadline) == 0) {
      err = waiter.status;
    } else if (uvch__queue_cancel(c, &waiter)) {
      err = UV_ETIMEDOUT;
    } else {
      uvch__parker_wait(waiter.parker, UINT64_MAX); /* too late: the message is on its way in */
      err = waiter.status;
    }
  }
  if (waiter.state == UVCH__IDLE)
    uvch__parker_unref(waiter.parker); /* nobody will wake it */
  uvch__parker_unref(waiter.parker);
  return err;
}

static int send_wait(const uvch_mpsc_sender_t* tx, const void* item, uint64_t timeout) {
  struct uvch__core* c;
  struct uvch__port* port;
  int err = check(tx, item, &c);

  if (err != 0)
    return err;
  port = uvch__home_port(&c->home);
  if (port != NULL && uvch__port_runs_here(port))
    return UV_EPERM;
  err = uvch__try_send(c, item);
  if (err != UV_EAGAIN)
    return err;
  if (timeout == 0)
    return UV_ETIMEDOUT;
  return wait_for_room(c, item, timeout == UINT64_MAX ? timeout : uvch__parker_deadline(timeout));
}

int uvch_mpsc_send_wait(const uvch_mpsc_sender_t* tx, const void* item) {
  return send_wait(tx, item, UINT64_MAX);
}

int uvch_mpsc_send_timedwait(const uvch_mpsc_sender_t* tx, const void* item, uint64_t timeout) {
  return send_wait(tx, item, timeout);
}

/* Requests that wait. The request has references to the core and to its port until its callback, and is one of the senders until
 * it is told. */

_Static_assert(sizeof(struct uvch__endpoint) <= sizeof(((uvch_req_t*) 0)->endpoint), "fits the public struct");
_Static_assert(sizeof(struct uvch__waiter) <= sizeof(((uvch_req_t*) 0)->waiter), "fits the public struct");
_Static_assert(sizeof(struct uvch__list) == sizeof(((uvch_req_t*) 0)->queue), "fits the public struct");

static struct uvch__endpoint* endpoint_of(uvch_mpsc_send_t* req) {
  return (struct uvch__endpoint*) (void*) req->endpoint;
}

static struct uvch__waiter* waiter_of(uvch_mpsc_send_t* req) {
  return (struct uvch__waiter*) (void*) req->waiter;
}

static void let_go(uvch_mpsc_send_t* req) {
  struct uvch__core* c = req->core;
  struct uvch__port* port = req->port;

  req->core = NULL;
  req->port = NULL;
  uvch__core_unref(c);
  uvch__port_unref(port);
}

static void complete(struct uvch__endpoint* ep, struct uvch__port* port) {
  uvch_mpsc_send_t* req = UVCH__CONTAINER(ep, uvch_mpsc_send_t, endpoint);

  port->hand = NULL;
  uvch__budget_spend(port);
  uvch__port_remove(port, req->queue);
  uvch__port_release(port);
  let_go(req);
  req->cb(req, req->status);
}

static void forget(struct uvch__endpoint* ep) {
  let_go(UVCH__CONTAINER(ep, uvch_mpsc_send_t, endpoint));
}

static const struct uvch__endpoint_ops request_ops = {complete, forget};

static void tell_loop(struct uvch__waiter* waiter, struct uvch__core* c) {
  uvch_mpsc_send_t* req = UVCH__CONTAINER(waiter, uvch_mpsc_send_t, waiter);
  struct uvch__port* port = req->port;

  req->status = waiter->status;
  uvch__strong_put(c);
  uvch__port_ref(port); /* the request may be done before the push is */
  uvch__port_push(port, endpoint_of(req));
  uvch__port_unref(port);
}

/* The request waits in the channel's queue. */
static int enqueue(struct uvch__core* c, uvch_mpsc_send_t* req, const void* item) {
  struct uvch__queue* q = uvch__queue_get(c);
  struct uvch__waiter* waiter = waiter_of(req);
  int err = q != NULL ? uvch__strong_get(c) : UV_ENOMEM;

  if (err != 0)
    return err;
  *waiter = (struct uvch__waiter){.tell = tell_loop, .item = item, .status = UV_ECANCELED};
  err = uvch__queue_wait(c, q, waiter);
  if (err != 0)
    uvch__strong_put(c);
  return err;
}

int uvch_mpsc_send(uv_loop_t* loop, uvch_mpsc_send_t* req, const uvch_mpsc_sender_t* tx, const void* item, uvch_mpsc_send_cb cb) {
  struct uvch__port* port;
  struct uvch__core* c;
  int err = check(tx, item, &c);

  if (loop == NULL || req == NULL || cb == NULL)
    err = UV_EINVAL;
  if (err == 0)
    err = uvch__port_get(loop, &port);
  if (err != 0)
    return err;
  req->loop = loop;
  req->type = UVCH_MPSC_SEND;
  req->status = 0;
  req->core = c;
  req->port = port;
  req->cb = cb;
  *endpoint_of(req) = (struct uvch__endpoint){.ops = &request_ops};
  *waiter_of(req) = (struct uvch__waiter){0};
  uvch__core_ref(c);
  uvch__port_ref(port);
  uvch__port_add(port, &port->reqs, req->queue);
  uvch__port_hold(port);
  err = uvch__try_send(c, item);
  if (err == UV_EAGAIN)
    err = enqueue(c, req, item);
  else if (err == 0)
    uvch__port_append(port, endpoint_of(req));
  if (err != 0) {
    uvch__port_remove(port, req->queue);
    uvch__port_release(port);
    let_go(req);
  }
  return err;
}

int uvch_cancel(uvch_req_t* base) {
  uvch_mpsc_send_t* req = (uvch_mpsc_send_t*) base;
  struct uvch__core* c;

  if (req == NULL || req->type != UVCH_MPSC_SEND)
    return UV_EINVAL;
  c = req->core;
  if (c == NULL || waiter_of(req)->tell == NULL || !uvch__queue_cancel(c, waiter_of(req)))
    return UV_EBUSY;
  req->status = UV_ECANCELED;
  uvch__strong_put(c);
  uvch__port_append(req->port, endpoint_of(req));
  return 0;
}

void uvch__request_refork(uvch_mpsc_send_t* req, struct uvch__port* port) {
  struct uvch__waiter* waiter = waiter_of(req);

  if (waiter->state == UVCH__QUEUED)
    return;
  if (waiter->state == UVCH__MOVING)
    req->status = waiter->status;
  uvch__port_append(port, endpoint_of(req));
}
