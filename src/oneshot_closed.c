/* SPDX-License-Identifier: MIT
 *
 * Who waits for the end of a oneshot's receiver, on a loop or as a thread. A request holds its port, and its node. */
#include "oneshot.h"
#include "parker.h"
#include "request.h"

/* The request's node. */
static struct uvch__watcher* node_of(uvch_req_t* req) {
  return req->core;
}

static void end(uvch_req_t* req) {
  struct uvch__port* port = req->port;

  uvch__unwatch(node_of(req));
  uvch__request_end(req);
  uvch__port_unref(port);
}

static void complete(struct uvch__endpoint* ep, struct uvch__port* port) {
  uvch_oneshot_closed_t* req = (uvch_oneshot_closed_t*) uvch__request_of(ep);

  port->hand = NULL;
  uvch__budget_spend(port, 1);
  end((uvch_req_t*) req);
  req->cb(req, req->status);
}

/* Its loop is gone. Any thread, so its port's lists are not touched. */
static void forget(struct uvch__endpoint* ep) {
  uvch_req_t* req = uvch__request_of(ep);
  struct uvch__port* port = req->port;

  uvch__unwatch(node_of(req));
  req->port = NULL;
  uvch__port_unref(port);
}

static int cancel(uvch_req_t* req) {
  if (!uvch__watch_cancel(node_of(req)))
    return UV_EBUSY;
  req->status = UV_ECANCELED;
  uvch__port_append(req->port, uvch__request_endpoint(req));
  return 0;
}

static void refork(uvch_req_t* req) {
  if (!uvch__watch_is_on(node_of(req)))
    uvch__port_append(req->port, uvch__request_endpoint(req));
}

static const struct uvch__request_ops closed_ops = {{complete, forget, NULL}, cancel, refork};

static void tell_request(void* who, int status) {
  uvch_req_t* req = who;

  req->status = status;
  uvch__port_push(req->port, uvch__request_endpoint(req));
}

/* Once the node waits: 1 if it is over already, and nobody else tells. */
static int is_over(struct uvch__oneshot* c, struct uvch__watcher* node) {
  uint32_t before = atomic_fetch_or_explicit(&c->state, UVCH__WATCHED, memory_order_acq_rel); /* [O1] */

  return (before & UVCH__SHUT) != 0 && uvch__watch_cancel(node);
}

int uvch_oneshot_closed(uv_loop_t* loop, uvch_oneshot_closed_t* req, const uvch_oneshot_sender_t* tx, uvch_oneshot_closed_cb cb) {
  uvch_req_t* base = (uvch_req_t*) req;
  struct uvch__oneshot_side* side;
  struct uvch__watcher* node;
  struct uvch__oneshot* c;
  int err;

  if (loop == NULL || req == NULL || tx == NULL || cb == NULL)
    return UV_EINVAL;
  c = uvch__oneshot_core(tx);
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  side = uvch__oneshot_side(c);
  if (side == NULL)
    return UV_ENOMEM;
  err = uvch__request_begin(loop, base, UVCH_ONESHOT_CLOSED, &closed_ops);
  if (err != 0)
    return err;
  req->cb = cb;
  node = uvch__watch_new(&side->watchers, tell_request, req, 0);
  if (node == NULL) {
    uvch__request_end(base);
    return UV_ENOMEM;
  }
  req->core = node;
  uvch__port_ref(req->port);
  uvch__watch(node);
  if (is_over(c, node))
    uvch__port_append(base->port, uvch__request_endpoint(base));
  return 0;
}

/* A thread. */

struct sleeper {
  struct uvch__parker* parker;
  int status;
};

static void tell_thread(void* who, int status) {
  struct sleeper* s = who;
  struct uvch__parker* p = s->parker;

  s->status = status;
  uvch__parker_wake(p); /* [K1] the sleeper's frame may be gone from here on */
  uvch__parker_unref(p);
}

/* 1: it was told; else 0, or UV_ETIMEDOUT. */
static int sleep_until(struct uvch__oneshot* c, struct uvch__watcher* node, struct uvch__parker* p, uint64_t deadline) {
  if (is_over(c, node))
    return 0;
  if (uvch__parker_wait(p, deadline) != 0) {
    if (uvch__watch_cancel(node))
      return UV_ETIMEDOUT;
    uvch__parker_wait(p, UINT64_MAX); /* it is being told */
  }
  return 1;
}

static int wait_at(struct uvch__oneshot* c, struct uvch__oneshot_side* side, struct uvch__parker* p, uint64_t deadline) {
  struct sleeper s = {p, 0};
  struct uvch__watcher* node = uvch__watch_new(&side->watchers, tell_thread, &s, 1);
  int slept;

  if (node == NULL)
    return UV_ENOMEM;
  uvch__parker_ref(p);
  uvch__watch(node);
  slept = sleep_until(c, node, p, deadline);
  uvch__unwatch(node);
  if (slept == 1)
    return s.status == UV_ECANCELED ? UV_EBADF : s.status;
  uvch__parker_unref(p); /* nobody will wake it */
  return slept;
}

static int wait_closed(struct uvch__oneshot* c, uint64_t timeout) {
  struct uvch__oneshot_side* side = uvch__oneshot_side(c);
  struct uvch__parker* p = side != NULL ? uvch__parker_new() : NULL;
  int err;

  if (p == NULL)
    return UV_ENOMEM;
  err = wait_at(c, side, p, uvch__parker_deadline(timeout));
  uvch__parker_unref(p);
  return err;
}

int uvch_oneshot_closed_timedwait(const uvch_oneshot_sender_t* tx, uint64_t timeout) {
  struct uvch__oneshot* c;
  struct uvch__port* port;

  if (tx == NULL)
    return UV_EINVAL;
  c = uvch__oneshot_core(tx);
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  if ((uvch__oneshot_load(c) & UVCH__SHUT) != 0)
    return 0;
  port = uvch__home_port(&c->home);
  if (port != NULL && uvch__port_runs_here(port))
    return UVCH__WAITS_FOR_ITSELF(port->loop);
  return timeout == 0 ? UV_ETIMEDOUT : wait_closed(c, timeout);
}

int uvch_oneshot_closed_wait(const uvch_oneshot_sender_t* tx) {
  return uvch_oneshot_closed_timedwait(tx, UINT64_MAX);
}
