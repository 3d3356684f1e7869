/* SPDX-License-Identifier: MIT
 *
 * The requests of broadcast channels. A request has references to the core and to its port until its callback. One that waits to
 * send is one of the senders until it is told. */
#include "broadcast.h"
#include "request.h"

_Static_assert(sizeof(struct uvch__bwaiter) <= sizeof(((uvch_req_t*) 0)->waiter), "fits the public struct");

static struct uvch__bwaiter* waiter_of(uvch_req_t* req) {
  return (struct uvch__bwaiter*) (void*) req->waiter;
}

/* A message that was not sent is the caller's again. */
static void free_node(struct uvch__bwaiter* waiter) {
  if (waiter->node != NULL)
    uvch__node_free(waiter->node);
  waiter->node = NULL;
}

/* Off the loop, and nothing held. */
static void end(uvch_req_t* req) {
  struct uvch__broadcast* c = req->core;
  struct uvch__port* port = req->port;

  free_node(waiter_of(req));
  req->core = NULL;
  uvch__request_end(req);
  uvch__broadcast_unref(c);
  uvch__port_unref(port);
}

/* Whether a request waits on: a new receiver may have come since it was told. */
static int waits_on(uvch_req_t* req) {
  struct uvch__broadcast* c = req->core;
  int err;

  if (!waiter_of(req)->is_watcher || waiter_of(req)->is_cancelled)
    return 0;
  uvch__broadcast_ref(c); /* once it queues, others may end it */
  err = uvch__bwait(c, waiter_of(req));
  uvch__broadcast_unref(c);
  return err == UV_EAGAIN;
}

static void complete(struct uvch__endpoint* ep, struct uvch__port* port) {
  uvch_req_t* req = uvch__request_of(ep);
  int status = waiter_of(req)->is_cancelled ? UV_ECANCELED : waiter_of(req)->status;

  port->hand = NULL;
  if (waits_on(req))
    return;
  uvch__budget_spend(port, 1);
  end(req);
  if (req->type == UVCH_BROADCAST_SEND)
    ((uvch_broadcast_send_t*) req)->cb((uvch_broadcast_send_t*) req, status);
  else
    ((uvch_broadcast_closed_t*) req)->cb((uvch_broadcast_closed_t*) req, status);
}

/* Its loop is gone. Any thread, so its port's lists are not touched. */
static void forget(struct uvch__endpoint* ep) {
  uvch_req_t* req = uvch__request_of(ep);
  struct uvch__broadcast* c = req->core;
  struct uvch__port* port = req->port;

  free_node(waiter_of(req));
  req->core = NULL;
  req->port = NULL;
  uvch__broadcast_unref(c);
  uvch__port_unref(port);
}

static int cancel(uvch_req_t* req) {
  struct uvch__bwaiter* waiter = waiter_of(req);

  int is_queued;

  if (waiter->is_cancelled)
    return UV_EBUSY;
  is_queued = uvch__bwait_cancel(req->core, waiter);
  if (!is_queued && !waiter->is_watcher)
    return UV_EBUSY;
  waiter->is_cancelled = 1; /* a watcher up to its callback: it might wait again else */
  if (is_queued)
    uvch__port_append(req->port, uvch__request_endpoint(req));
  return 0;
}

static void refork(uvch_req_t* req) {
  uvch__broadcast_refork(req->core);
  if (!waiter_of(req)->is_queued)
    uvch__port_append(req->port, uvch__request_endpoint(req));
}

static const struct uvch__request_ops request_ops = {{complete, forget, NULL}, cancel, refork};

static void tell(struct uvch__bwaiter* waiter) {
  uvch_req_t* req = UVCH__CONTAINER(waiter, uvch_req_t, waiter);

  uvch__port_push(req->port, uvch__request_endpoint(req));
}

/* Begins it, and has it wait if there is something to wait for. */
static int start(uv_loop_t* loop, uvch_req_t* req, uvch_req_type type, struct uvch__broadcast* c, struct uvch__bwaiter waiter) {
  int err = uvch__request_begin(loop, req, type, &request_ops);

  if (err != 0) {
    free_node(&waiter);
    return err;
  }
  req->core = c;
  waiter.tell = tell;
  *waiter_of(req) = waiter;
  uvch__broadcast_ref(c);
  uvch__port_ref(req->port);
  err = uvch__bwait(c, waiter_of(req));
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

int uvch_broadcast_queue_send(uv_loop_t* loop, uvch_broadcast_send_t* req, const uvch_broadcast_sender_t* tx, const void* item,
                              uvch_broadcast_send_cb cb) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);
  struct uvch__bwaiter waiter = {.item = item};
  int err;

  if (loop == NULL || req == NULL || tx == NULL || cb == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UV_EBADF;
  if (item == NULL && c->item_size > 0)
    return UV_EINVAL;
  if (c->has_nodes) {
    err = uvch__may_send(c);
    if (err != 0 && err != UV_EAGAIN)
      return err;
    waiter.node = uvch__node_new(c, item);
    if (waiter.node == NULL)
      return UV_ENOMEM;
  }
  req->cb = cb;
  return start(loop, (uvch_req_t*) req, UVCH_BROADCAST_SEND, c, waiter);
}

int uvch_broadcast_closed(uv_loop_t* loop, uvch_broadcast_closed_t* req, const uvch_broadcast_sender_t* tx,
                          uvch_broadcast_closed_cb cb) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);

  if (loop == NULL || req == NULL || tx == NULL || cb == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UV_EBADF;
  req->cb = cb;
  return start(loop, (uvch_req_t*) req, UVCH_BROADCAST_CLOSED, c, (struct uvch__bwaiter){.is_watcher = 1});
}
