/* SPDX-License-Identifier: MIT
 *
 * The requests of mpsc channels. A request has references to the core and to its port until its callback. One that waits to send
 * or to reserve is one of the senders until it is told. */
#include "core.h"
#include "queue.h"
#include "request.h"

_Static_assert(sizeof(struct uvch__waiter) <= sizeof(((uvch_req_t*) 0)->waiter), "fits the public struct");

static struct uvch__waiter* waiter_of(uvch_req_t* req) {
  return (struct uvch__waiter*) (void*) req->waiter;
}

/* Off the loop, and nothing held. */
static void end(uvch_req_t* req) {
  struct uvch__core* c = req->core;
  struct uvch__port* port = req->port;

  req->core = NULL;
  uvch__request_end(req);
  uvch__core_unref(c);
  uvch__port_unref(port);
}

/* The permit of a reservation that was granted. */
static uvch_mpsc_permit_t permit_of(uvch_req_t* req) {
  size_t n = waiter_of(req)->count;
  return (uvch_mpsc_permit_t){n > 0 ? req->core : NULL, n};
}

static void complete(struct uvch__endpoint* ep, struct uvch__port* port) {
  uvch_req_t* req = uvch__request_of(ep);
  uvch_mpsc_permit_t permit = permit_of(req);

  port->hand = NULL;
  uvch__budget_spend(port, 1);
  end(req);
  if (req->type == UVCH_MPSC_SEND) {
    uvch_mpsc_send_t* send = (uvch_mpsc_send_t*) req;
    send->sent = waiter_of(req)->sent;
    send->cb(send, req->status);
  } else if (req->type == UVCH_MPSC_RESERVE) {
    uvch_mpsc_reserve_t* reserve = (uvch_mpsc_reserve_t*) req;
    if (req->status == 0)
      *reserve->permit = permit;
    reserve->cb(reserve, req->status);
  } else {
    uvch_mpsc_closed_t* closed = (uvch_mpsc_closed_t*) req;
    closed->cb(closed, req->status);
  }
}

/* Its loop is gone, and so is what was granted. Any thread, so its port's lists are not touched. */
static void forget(struct uvch__endpoint* ep) {
  uvch_req_t* req = uvch__request_of(ep);
  struct uvch__core* c = req->core;
  struct uvch__port* port = req->port;

  if (req->type == UVCH_MPSC_RESERVE && req->status == 0 && waiter_of(req)->count > 0)
    uvch__give_back(c, waiter_of(req)->count);
  req->core = NULL;
  req->port = NULL;
  uvch__core_unref(c);
  uvch__port_unref(port);
}

static int cancel(uvch_req_t* req) {
  struct uvch__waiter* waiter = waiter_of(req);
  struct uvch__core* c = req->core;

  if (waiter->tell == NULL || !uvch__queue_cancel(c, waiter))
    return UV_EBUSY;
  req->status = UV_ECANCELED;
  if (waiter->kind != UVCH__WATCH)
    uvch__strong_put(c);
  uvch__port_append(req->port, uvch__request_endpoint(req));
  return 0;
}

static void refork(uvch_req_t* req) {
  struct uvch__waiter* waiter = waiter_of(req);

  if (waiter->state == UVCH__QUEUED)
    return;
  if (waiter->state == UVCH__MOVING) {
    req->status = waiter->status;
    if (!waiter->is_off && waiter->kind != UVCH__WATCH)
      uvch__strong_put(req->core);
  }
  uvch__port_append(req->port, uvch__request_endpoint(req));
}

static const struct uvch__request_ops request_ops = {{complete, forget, NULL}, cancel, refork};

static void tell(struct uvch__waiter* waiter, struct uvch__core* c) {
  uvch_req_t* req = UVCH__CONTAINER(waiter, uvch_req_t, waiter);

  req->status = waiter->status;
  waiter->is_off = 1;
  if (waiter->kind != UVCH__WATCH)
    uvch__strong_put(c);
  uvch__port_push(req->port, uvch__request_endpoint(req));
}

/* A request of a loop, not started yet. */
static int prepare(uv_loop_t* loop, uvch_req_t* req, uvch_req_type type, struct uvch__core* c) {
  int err = uvch__request_begin(loop, req, type, &request_ops);

  if (err != 0)
    return err;
  req->core = c;
  *waiter_of(req) = (struct uvch__waiter){0};
  uvch__core_ref(c);
  uvch__port_ref(req->port);
  return 0;
}

/* The waiter, of which kind, item and count are set, waits in the channel's queue. */
static int enqueue(struct uvch__core* c, struct uvch__waiter* waiter) {
  struct uvch__queue* q = uvch__queue_get(c);
  int counts = waiter->kind != UVCH__WATCH;
  int err = q == NULL ? UV_ENOMEM : counts ? uvch__strong_get(c) : 0;

  if (err != 0)
    return err;
  waiter->tell = tell;
  waiter->status = UV_ECANCELED;
  err = uvch__queue_wait(c, q, waiter);
  if (err != 0 && counts)
    uvch__strong_put(c);
  return err;
}

/* `err` is what the attempt said: 0, done; UV_EAGAIN, wait; an error, nothing has happened. */
static int start(uvch_req_t* req, int err) {
  if (err == UV_EAGAIN) {
    err = enqueue(req->core, waiter_of(req));
    if (err == 0)
      return 0;
  }
  if (err == UV_EPIPE && req->type == UVCH_MPSC_CLOSED)
    err = 0; /* it closed on the way */
  if (err == 0) {
    uvch__port_append(req->port, uvch__request_endpoint(req));
    return 0;
  }
  end(req);
  return err;
}

int uvch_mpsc_send_many(uv_loop_t* loop, uvch_mpsc_send_t* req, const uvch_mpsc_sender_t* tx, const void* items, size_t count,
                        uvch_mpsc_send_cb cb) {
  uvch_req_t* base = (uvch_req_t*) req;
  struct uvch__waiter* waiter;
  struct uvch__core* c;
  int err = uvch__check_send(tx, items, count, &c);

  if (loop == NULL || req == NULL || cb == NULL)
    err = UV_EINVAL;
  if (err == 0)
    err = prepare(loop, base, UVCH_MPSC_SEND, c);
  if (err != 0)
    return err;
  req->cb = cb;
  err = uvch__try_send_all(c, items, count);
  waiter = waiter_of(base);
  waiter->kind = UVCH__SEND;
  waiter->item = items;
  waiter->count = count;
  waiter->sent = err == 0 ? count : 0;
  return start(base, err);
}

int uvch_mpsc_send(uv_loop_t* loop, uvch_mpsc_send_t* req, const uvch_mpsc_sender_t* tx, const void* item, uvch_mpsc_send_cb cb) {
  return uvch_mpsc_send_many(loop, req, tx, item, 1, cb);
}

int uvch_mpsc_reserve(uv_loop_t* loop, uvch_mpsc_reserve_t* req, const uvch_mpsc_sender_t* tx, size_t n,
                      uvch_mpsc_permit_t* permit, uvch_mpsc_reserve_cb cb) {
  uvch_req_t* base = (uvch_req_t*) req;
  uvch_mpsc_permit_t granted;
  struct uvch__core* c;
  int err = loop == NULL || req == NULL || cb == NULL ? UV_EINVAL : uvch__check_reserve(tx, permit, &c);

  if (err == 0)
    err = n > c->capacity ? UV_EPIPE : prepare(loop, base, UVCH_MPSC_RESERVE, c);
  if (err != 0)
    return err;
  req->permit = permit;
  req->cb = cb;
  waiter_of(base)->kind = UVCH__RESERVE;
  waiter_of(base)->count = n;
  return start(base, uvch__try_reserve(c, n, &granted));
}

int uvch_mpsc_closed(uv_loop_t* loop, uvch_mpsc_closed_t* req, const uvch_mpsc_sender_t* tx, uvch_mpsc_closed_cb cb) {
  uvch_req_t* base = (uvch_req_t*) req;
  struct uvch__core* c;
  int err = uvch__check_send(tx, NULL, 0, &c);

  if (loop == NULL || req == NULL || cb == NULL)
    err = UV_EINVAL;
  if (err == 0)
    err = prepare(loop, base, UVCH_MPSC_CLOSED, c);
  if (err != 0)
    return err;
  req->cb = cb;
  waiter_of(base)->kind = UVCH__WATCH;
  return start(base, uvch__is_closed(c) ? 0 : UV_EAGAIN);
}
