/* SPDX-License-Identifier: MIT
 *
 * Who waits at a channel with many receivers, on a loop or as a thread. A request has references to the core and to its port
 * until its callback. */
#include "alloc.h"
#include "group.h"
#include "parker.h"
#include "request.h"

_Static_assert(sizeof(struct uvch__waiter) <= sizeof(((uvch_req_t*) 0)->waiter), "fits the public struct");

/* For the end of the receivers, or for what the kind knows. */

static int wait_for_end(struct uvch__hub* h, struct uvch__waiter* waiter) {
  int waits;

  uvch__lock(&h->lock);
  waits = h->receivers > 0;
  if (waits) {
    waiter->is_queued = 1;
    uvch__list_append(&h->watchers, &waiter->queue);
  }
  uvch__unlock(&h->lock);
  return waits ? UV_EAGAIN : 0;
}

static int cancel_for_end(struct uvch__hub* h, struct uvch__waiter* waiter) {
  int found;

  uvch__lock(&h->lock);
  found = waiter->is_queued;
  waiter->is_queued = 0;
  if (found)
    uvch__list_remove(&waiter->queue);
  uvch__unlock(&h->lock);
  return found;
}

int uvch__hub_wait(struct uvch__hub* h, struct uvch__waiter* waiter) {
  return waiter->is_watcher ? wait_for_end(h, waiter) : h->ops->wait(h, waiter);
}

int uvch__hub_wait_cancel(struct uvch__hub* h, struct uvch__waiter* waiter) {
  return waiter->is_watcher ? cancel_for_end(h, waiter) : h->ops->cancel(h, waiter);
}

void uvch__waiter_is_due(struct uvch__waiter* waiter, int status, struct uvch__due* due) {
  waiter->is_queued = 0;
  waiter->status = status;
  uvch__list_remove(&waiter->queue);
  uvch__list_append(&due->told, &waiter->queue);
}

int uvch__watchers_are_due(struct uvch__hub* h, int max, struct uvch__due* due) {
  int n = 0;

  while (n < max && h->receivers == 0 && !uvch__list_is_empty(&h->watchers)) {
    uvch__waiter_is_due(UVCH__CONTAINER(h->watchers.next, struct uvch__waiter, queue), 0, due);
    n++;
  }
  return n;
}

/* Threads. */

static void tell_thread(struct uvch__waiter* waiter) {
  struct uvch__parker* p = waiter->parker;

  uvch__parker_wake(p); /* [K1] the waiter's frame may be gone from here on */
  uvch__parker_unref(p);
}

int uvch__hub_sleep(struct uvch__hub* h, struct uvch__waiter* waiter, uint64_t deadline) {
  struct uvch__parker* p;
  int err;

  if (uvch__group_runs_here(h))
    return UVCH__WAITS_FOR_ITSELF(h);
  p = uvch__parker_new();
  if (p == NULL)
    return UV_ENOMEM;
  uvch__parker_ref(p);
  waiter->tell = tell_thread;
  waiter->parker = p;
  err = uvch__hub_wait(h, waiter);
  if (err != UV_EAGAIN) {
    uvch__parker_unref(p); /* nobody will wake it */
  } else if (uvch__parker_wait(p, deadline) == 0) {
    err = waiter->status;
  } else if (uvch__hub_wait_cancel(h, waiter)) {
    uvch__parker_unref(p);
    err = UV_ETIMEDOUT;
  } else {
    uvch__parker_wait(p, UINT64_MAX); /* it is being told */
    err = waiter->status;
  }
  uvch__parker_unref(p);
  return err;
}

int uvch__hub_closed_wait(struct uvch__hub* h, uint64_t timeout) {
  uint64_t deadline;
  int err;

  if (uvch__hub_count(h, &h->receivers) == 0)
    return 0;
  if (timeout == 0)
    return UV_ETIMEDOUT;
  deadline = uvch__parker_deadline(timeout);
  do { /* a new one may have come before we look */
    struct uvch__waiter waiter = {.is_watcher = 1};
    err = uvch__hub_sleep(h, &waiter, deadline);
  } while (err == 0 && uvch__hub_count(h, &h->receivers) > 0);
  return err;
}

/* Requests. */

static struct uvch__waiter* waiter_of(uvch_req_t* req) {
  return (struct uvch__waiter*) (void*) req->waiter;
}

/* A message that was not sent is the caller's again. */
static void free_node(struct uvch__waiter* waiter) {
  uvch__free(waiter->node);
  waiter->node = NULL;
}

/* Off the loop, and nothing held. */
static void end(uvch_req_t* req) {
  struct uvch__hub* h = req->core;
  struct uvch__port* port = req->port;

  free_node(waiter_of(req));
  req->core = NULL;
  uvch__request_end(req);
  uvch__hub_unref(h);
  uvch__port_unref(port);
}

/* Whether a request waits on: a new receiver may have come since it was told. */
static int waits_on(uvch_req_t* req) {
  struct uvch__hub* h = req->core;
  int err;

  if (!waiter_of(req)->is_watcher || waiter_of(req)->is_cancelled)
    return 0;
  uvch__hub_ref(h); /* once it queues, others may end it */
  err = uvch__hub_wait(h, waiter_of(req));
  uvch__hub_unref(h);
  return err == UV_EAGAIN;
}

static void complete(struct uvch__endpoint* ep, struct uvch__port* port) {
  uvch_req_t* req = uvch__request_of(ep);
  void (*call)(uvch_req_t * req, int status) = ((struct uvch__hub*) req->core)->ops->call;
  int status = waiter_of(req)->is_cancelled ? UV_ECANCELED : waiter_of(req)->status;

  port->hand = NULL;
  if (waits_on(req))
    return;
  uvch__budget_spend(port, 1);
  end(req);
  call(req, status);
}

/* Its loop is gone. Any thread, so its port's lists are not touched. */
static void forget(struct uvch__endpoint* ep) {
  uvch_req_t* req = uvch__request_of(ep);
  struct uvch__hub* h = req->core;
  struct uvch__port* port = req->port;

  free_node(waiter_of(req));
  req->core = NULL;
  req->port = NULL;
  uvch__hub_unref(h);
  uvch__port_unref(port);
}

static int cancel(uvch_req_t* req) {
  struct uvch__waiter* waiter = waiter_of(req);
  int is_queued;

  if (waiter->is_cancelled)
    return UV_EBUSY;
  is_queued = uvch__hub_wait_cancel(req->core, waiter);
  if (!is_queued && !waiter->is_watcher)
    return UV_EBUSY;
  waiter->is_cancelled = 1; /* a watcher up to its callback: it might wait again else */
  if (is_queued)
    uvch__port_append(req->port, uvch__request_endpoint(req));
  return 0;
}

static void refork(uvch_req_t* req) {
  uvch__hub_refork(req->core);
  if (!waiter_of(req)->is_queued)
    uvch__port_append(req->port, uvch__request_endpoint(req));
}

static const struct uvch__request_ops request_ops = {{complete, forget, NULL}, cancel, refork};

static void tell_request(struct uvch__waiter* waiter) {
  uvch_req_t* req = UVCH__CONTAINER(waiter, uvch_req_t, waiter);

  uvch__port_push(req->port, uvch__request_endpoint(req));
}

int uvch__hub_request(uv_loop_t* loop, uvch_req_t* req, uvch_req_type type, struct uvch__hub* h, struct uvch__waiter waiter) {
  int err = uvch__request_begin(loop, req, type, &request_ops);

  if (err != 0) {
    free_node(&waiter);
    return err;
  }
  req->core = h;
  waiter.tell = tell_request;
  *waiter_of(req) = waiter;
  uvch__hub_ref(h);
  uvch__port_ref(req->port);
  err = uvch__hub_wait(h, waiter_of(req));
  if (err == UV_EAGAIN)
    return 0;
  if (err < 0) {
    end(req);
    return err;
  }
  waiter_of(req)->status = err;
  uvch__port_append(req->port, uvch__request_endpoint(req));
  return 0;
}

/* After a fork. */

/* Only the way forward is sure: a thread may have been in the middle of a change. */
void uvch__keep_requests(struct uvch__list* queue) {
  struct uvch__list* l = queue->next;

  uvch__list_init(queue);
  while (l != queue) {
    struct uvch__waiter* waiter = UVCH__CONTAINER(l, struct uvch__waiter, queue);
    l = l->next;
    if (waiter->parker == NULL && waiter->is_queued)
      uvch__list_append(queue, &waiter->queue);
  }
}

void uvch__hub_refork(struct uvch__hub* h) {
  uvch__lock_init(&h->lock); /* another thread may have held it */
  h->ops->refork(h);
  uvch__keep_requests(&h->watchers);
}
