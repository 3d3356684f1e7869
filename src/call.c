/* SPDX-License-Identifier: MIT
 *
 * Calls: a request that is the receiver of a oneshot, whose sender goes out inside a message.
 *
 * The core's endpoint is what is posted, not the request's own. The token is in the park from the start; it comes back once, with
 * the outcome, and the turn that it gets is the end of the call.
 *
 * If the channel is full, the message waits in its queue as that of a send request does, and the core's state says SENDING: the
 * server that moves the message in, or tells that the channel has closed, still touches request and core when the reply may have
 * come already. So the park is not opened before the server has taken SENDING away, its last touch.
 *
 * A call that is cancelled, or out of time, shuts the oneshot. If the message has not been taken the sender in it is ours, and
 * ends with it. */
#include <uvch/call.h>

#include "core.h"
#include "oneshot.h"
#include "queue.h"
#include "request.h"
#include "sleep.h"

_Static_assert(sizeof(struct uvch__timer) <= sizeof(((uvch_call_t*) 0)->timer), "fits the public struct");

static struct uvch__waiter* waiter_of(uvch_call_t* call) {
  return (struct uvch__waiter*) (void*) call->waiter;
}

static struct uvch__timer* timer_of(uvch_call_t* call) {
  return (struct uvch__timer*) (void*) call->timer;
}

/* Off the loop. The channel is held only by a call that waited for room. */
static void end(uvch_call_t* call) {
  struct uvch__core* channel = call->core;

  call->is_sent = channel == NULL || waiter_of(call)->status == 0;
  call->reply->core = NULL; /* this copy of the sender is of no use to anybody */
  uvch__timer_stop(call->port, timer_of(call));
  uvch__request_end((uvch_req_t*) call);
  if (channel != NULL)
    uvch__core_unref(channel);
}

static int status_of(const uvch_call_t* call, int has_value) {
  if (call->end != 0 || has_value)
    return call->end;
  return call->is_sent ? UV_EOF : UV_EPIPE;
}

static void turn(struct uvch__endpoint* ep, struct uvch__port* port) {
  struct uvch__oneshot* c = uvch__oneshot_of(ep);
  uvch_call_t* call = c->rx;
  int has_value = (uvch__oneshot_load(c) & UVCH__VALUE) != 0;

  port->hand = NULL;
  uvch__budget_spend(port, 1);
  end(call);
  call->cb(call, status_of(call, has_value), has_value ? c->item : NULL);
  uvch__oneshot_let_go(c, UVCH__RX_GONE | UVCH__TOKEN_GONE, port);
}

/* The loop is gone, and the call with it. Any thread, so its port's lists are not touched. */
static void drop(struct uvch__endpoint* ep) {
  struct uvch__oneshot* c = uvch__oneshot_of(ep);
  uvch_call_t* call = c->rx;
  struct uvch__core* channel = call->core;

  if ((uvch__oneshot_load(c) & UVCH__VALUE) != 0)
    uvch__oneshot_drop_item(c);
  call->port = NULL;
  if (channel != NULL)
    uvch__core_unref(channel);
  uvch__oneshot_let_go(c, UVCH__RX_GONE | UVCH__TOKEN_GONE, NULL);
}

static const struct uvch__endpoint_ops core_ops = {turn, drop, NULL};

/* The message is in, or has come back, and its sender with it. */
static void tell(struct uvch__waiter* waiter, struct uvch__core* channel) {
  uvch_call_t* call = UVCH__CONTAINER(waiter, uvch_call_t, waiter);

  waiter->is_off = 1;
  uvch__strong_put(channel);
  uvch__oneshot_sent(call->oneshot, waiter->status != 0 ? UVCH__TX_GONE : 0);
}

/* The message waits no more, and nobody else has the core. */
static void take_back(uvch_call_t* call) {
  struct uvch__oneshot* c = call->oneshot;

  uvch__strong_put(call->core);
  uvch__oneshot_unsend(c, UVCH__TX_GONE);
  uvch__port_append(call->port, &c->ep);
}

static int give_up(uvch_call_t* call, int status) {
  struct uvch__oneshot* c = call->oneshot;
  uint32_t before = uvch__oneshot_load(c);

  if (call->end != 0)
    return UV_EBUSY;
  if ((before & UVCH__SENDING) != 0 && uvch__queue_cancel(call->core, waiter_of(call))) {
    call->end = status;
    take_back(call);
    return 0;
  }
  before = uvch__oneshot_shut(c);
  if ((before & UVCH__TX_GONE) != 0)
    return UV_EBUSY;
  call->end = status;
  if ((before & UVCH__SENDING) == 0)
    uvch__port_append(call->port, &c->ep);
  return 0;
}

static int cancel(uvch_req_t* req) {
  return give_up((uvch_call_t*) req, UV_ECANCELED);
}

static void on_timeout(struct uvch__timer* timer) {
  give_up(UVCH__CONTAINER(timer, uvch_call_t, timer), UV_ETIMEDOUT);
}

/* A server was in the middle of moving the message in. It had noted what became of it, or the reply tells, or nobody knows: then
 * the call ends, and a reply is refused. */
static void refork_moving(uvch_call_t* call, uint32_t state) {
  struct uvch__waiter* waiter = waiter_of(call);
  struct uvch__oneshot* c = call->oneshot;

  if (!waiter->is_off)
    uvch__strong_put(call->core);
  if ((state & UVCH__TX_GONE) != 0)
    waiter->status = 0;
  else if (waiter->status == UV_ECANCELED && call->end == 0)
    call->end = UV_ECANCELED;
  if (waiter->status == 0 && !uvch__oneshot_is_done(state)) {
    uvch__oneshot_unsend(c, UVCH__IN_PARK);
    return;
  }
  uvch__oneshot_unsend(c, waiter->status == UV_EPIPE ? UVCH__TX_GONE : UVCH__SHUT);
  uvch__port_append(call->port, &c->ep);
}

/* A token that was on its way is given again. */
static void refork(uvch_req_t* req) {
  uvch_call_t* call = (uvch_call_t*) req;
  struct uvch__oneshot* c = call->oneshot;
  uint32_t state = uvch__oneshot_load(c);

  uvch__oneshot_refork(c);
  if ((state & UVCH__IN_PARK) == 0)
    uvch__port_append(call->port, &c->ep);
  else if ((state & UVCH__SENDING) != 0 && waiter_of(call)->state != UVCH__QUEUED)
    refork_moving(call, state);
}

static const struct uvch__request_ops call_ops = {{.drop = NULL}, cancel, refork};

/* Making one. */

/* Whatever becomes of the call, what was at the sender's place is none. */
static int check(const uvch_mpsc_sender_t* tx, const void* message, uvch_oneshot_sender_t* reply, size_t reply_size,
                 struct uvch__core** channel) {
  uintptr_t offset = (uintptr_t) reply - (uintptr_t) message;
  int err = uvch__check_send(tx, message, 1, channel);

  if (reply == NULL)
    return UV_EINVAL;
  reply->core = NULL;
  if (err == 0 && (message == NULL || reply_size > UVCH_ONESHOT_ITEM_MAX || (*channel)->item_size < sizeof *reply ||
                   offset > (*channel)->item_size - sizeof *reply))
    err = UV_EINVAL;
  return err;
}

/* The message waits in the channel's queue, as one that is sent there. */
static int wait_for_room(uvch_call_t* call, struct uvch__core* channel, const void* message) {
  struct uvch__waiter* waiter = waiter_of(call);
  struct uvch__queue* q = uvch__queue_get(channel);
  int err = q == NULL ? UV_ENOMEM : uvch__strong_get(channel);

  if (err != 0)
    return err;
  *waiter = (struct uvch__waiter){.tell = tell, .kind = UVCH__SEND, .item = message, .count = 1, .status = UV_ECANCELED};
  uvch__core_ref(channel);
  call->core = channel;
  uvch__oneshot_preset(call->oneshot, UVCH__SENDING);
  err = uvch__queue_wait(channel, q, waiter);
  if (err != 0) {
    call->core = NULL;
    uvch__strong_put(channel);
    uvch__core_unref(channel);
  }
  return err;
}

static int start(uvch_call_t* call, struct uvch__core* channel, void* message, size_t reply_size,
                 const uvch_call_options_t* options) {
  struct uvch__oneshot* c = uvch__oneshot_new(call->port, &core_ops, reply_size);
  int err;

  if (c == NULL)
    return UV_ENOMEM;
  c->rx = call;
  c->has_token = 0;
  uvch__oneshot_sender(c, reply_size, call->reply);
  uvch__oneshot_preset(c, UVCH__IN_PARK);
  call->oneshot = c;
  call->core = NULL;
  call->end = 0;
  timer_of(call)->link = NULL;
  err = options != NULL ? uvch__oneshot_on_drop(c, options->drop, options->arg) : 0;
  if (err == 0)
    err = uvch__try_send(channel, message);
  if (err == UV_EAGAIN)
    err = wait_for_room(call, channel, message);
  if (err != 0) {
    call->reply->core = NULL;
    uvch__oneshot_let_go(c, UVCH__ALL_GONE, call->port);
  }
  return err;
}

int uvch_call_ex(uv_loop_t* loop, uvch_call_t* req, const uvch_mpsc_sender_t* tx, void* message, uvch_oneshot_sender_t* reply,
                 size_t reply_size, const uvch_call_options_t* options, uvch_call_cb cb) {
  struct uvch__core* channel;
  struct uvch__port* port;
  int err = check(tx, message, reply, reply_size, &channel);

  if (loop == NULL || req == NULL || cb == NULL)
    err = UV_EINVAL;
  if (err == 0)
    err = uvch__request_begin(loop, (uvch_req_t*) req, UVCH_CALL, &call_ops);
  if (err != 0)
    return err;
  port = req->port; /* once the message is in, a late reply may end the request if the program closes our handles */
  req->cb = cb;
  req->reply = reply;
  err = start(req, channel, message, reply_size, options);
  if (err != 0)
    uvch__request_end((uvch_req_t*) req);
  else if (options != NULL && options->timeout > 0)
    uvch__timer_start(port, timer_of(req), options->timeout, on_timeout);
  return err;
}

int uvch_call(uv_loop_t* loop, uvch_call_t* req, const uvch_mpsc_sender_t* tx, void* message, uvch_oneshot_sender_t* reply,
              size_t reply_size, uvch_call_cb cb) {
  return uvch_call_ex(loop, req, tx, message, reply, reply_size, NULL, cb);
}

/* Threads. */

/* Waits for the reply to a message that was taken. After the time is over no reply can come any more, but one may be there. */
static int wait_for_reply(uvch_oneshot_receiver_t* rx, void* item, struct uvch__parker* p, uint64_t deadline) {
  int err = uvch__oneshot_recv_until(rx, item, p, deadline);

  if (err != UV_ETIMEDOUT)
    return err;
  uvch_oneshot_recv_shutdown(rx);
  return uvch_oneshot_try_recv(rx, item) == 0 ? 0 : UV_ETIMEDOUT;
}

int uvch_call_timedwait(const uvch_mpsc_sender_t* tx, void* message, uvch_oneshot_sender_t* reply, void* item, size_t reply_size,
                        uint64_t timeout, int* is_sent) {
  uint64_t deadline = uvch__parker_deadline(timeout);
  uvch_oneshot_receiver_t rx;
  struct uvch__parker* p;
  struct uvch__core* channel;
  int err = check(tx, message, reply, reply_size, &channel);

  if (is_sent != NULL)
    *is_sent = 0;
  if (item == NULL && reply_size > 0)
    err = UV_EINVAL;
  if (err == 0)
    err = uvch__may_sleep(channel);
  if (err != 0)
    return err;
  p = uvch__parker_new(); /* before the send: once that is done there is no way back */
  if (p == NULL)
    return UV_ENOMEM;
  err = uvch_oneshot_init(NULL, &rx, reply, reply_size);
  if (err == 0) {
    err = timeout == UINT64_MAX ? uvch_mpsc_send_wait(tx, message) : uvch_mpsc_send_timedwait(tx, message, timeout);
    if (is_sent != NULL)
      *is_sent = err == 0;
    if (err == 0)
      err = wait_for_reply(&rx, item, p, deadline);
    else
      uvch_oneshot_sender_close(reply);
    reply->core = NULL;
    uvch_close((uvch_handle_t*) &rx, NULL);
  }
  uvch__parker_unref(p);
  return err;
}

int uvch_call_wait(const uvch_mpsc_sender_t* tx, void* message, uvch_oneshot_sender_t* reply, void* item, size_t reply_size) {
  return uvch_call_timedwait(tx, message, reply, item, reply_size, UINT64_MAX, NULL);
}
