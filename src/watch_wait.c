/* SPDX-License-Identifier: MIT
 *
 * Waiting for a value, as a request of a receiver on its loop. The request is not posted anywhere: the turn of the receiver's
 * group finds it at the receiver. */
#include "request.h"
#include "watch.h"

_Static_assert(sizeof(struct uvch__wait) <= sizeof(((uvch_req_t*) 0)->waiter), "fits the public struct");

/* Predicates that run do not touch the request any more. */
static void leave_predicates(struct uvch__wait* wait) {
  struct uvch__running* r;

  for (r = wait->running; r != NULL; r = r->outer)
    r->is_over = 1;
  wait->running = NULL;
}

/* The request is the caller's again. */
static void end(uvch_watch_wait_for_t* req) {
  uvch_watch_receiver_t* rx = uvch__wait_of(req)->rx;

  leave_predicates(uvch__wait_of(req));
  rx->waits = NULL;
  rx->flags &= ~(unsigned int) UVCH__WAITING;
}

static void complete(uvch_watch_wait_for_t* req, int status, const void* value) {
  end(req);
  uvch__request_end((uvch_req_t*) req);
  req->cb(req, status, value);
}

/* The request's callback comes with the handle's close callback, before it. */
static void on_closed(uvch_handle_t* handle) {
  uvch_watch_receiver_t* rx = (uvch_watch_receiver_t*) handle;
  uvch_close_cb cb = rx->closed_cb;

  complete(rx->waits, UV_ECANCELED, NULL);
  if (cb != NULL)
    cb(handle);
}

void uvch__wait_closing(uvch_watch_receiver_t* rx) {
  if (rx->waits == NULL)
    return;
  if (uvch__port_is_broken(rx->port)) {
    rx->waits->port = NULL; /* nobody is told any more, and the port's lists may be gone */
    end(rx->waits);
    return;
  }
  leave_predicates(uvch__wait_of(rx->waits));
  uvch__wait_of(rx->waits)->is_cancelled = 1;
  rx->closed_cb = rx->close_cb;
  rx->close_cb = on_closed;
}

/* What a predicate has said, or an error. */
static void end_with(uvch_watch_wait_for_t* req, int answer, const void* value) {
  complete(req, answer > 0 ? 0 : answer, answer > 0 ? value : NULL);
}

/* Its request, if it waits, has not tested that version. */
static int is_behind(const uvch_watch_receiver_t* rx, uint64_t version) {
  const struct uvch__wait* wait;

  if (rx->waits == NULL)
    return 0;
  wait = uvch__wait_of(rx->waits);
  return !wait->is_cancelled && (wait->is_first || (int64_t) (version - wait->tested) > 0);
}

/* 1: there is more. */
static int test(struct uvch__turn* t, uvch_watch_receiver_t* rx) {
  struct uvch__snapshot snapshot = uvch__snapshot_take(t, rx);
  uvch_watch_wait_for_t* req;
  struct uvch__wait* wait;
  struct uvch__running running;
  int waits_on;
  int answer;

  if (!uvch__turn_goes_on(t, (uvch_handle_t*) rx) || !is_behind(rx, snapshot.version)) { /* a drop function has done that */
    uvch__turn_spend(t, 1);
    uvch__snapshot_give(t, snapshot);
    return 1;
  }
  req = rx->waits;
  wait = uvch__wait_of(req);
  running = (struct uvch__running){wait->running, 0};
  wait->running = &running;
  wait->is_first = 0;
  wait->tested = snapshot.version;
  if ((int64_t) (snapshot.version - rx->seen) > 0)
    rx->seen = snapshot.version;
  answer = req->predicate(uvch__value_of(snapshot.pin), req->arg);
  uvch__turn_spend(t, 1);
  waits_on = !running.is_over && answer == 0 && !wait->is_cancelled;
  if (!running.is_over)
    wait->running = running.outer;
  if (!running.is_over && !waits_on)
    end_with(req, wait->is_cancelled ? UV_ECANCELED : answer, uvch__value_of(snapshot.pin));
  uvch__snapshot_give(t, snapshot);
  return uvch__turn_goes_on(t, (uvch_handle_t*) rx) && (!waits_on || wait->tested != uvch__watch_newest(t, rx));
}

int uvch__wait_deliver(struct uvch__turn* t, uvch_watch_receiver_t* rx) {
  struct uvch__wait* wait = uvch__wait_of(rx->waits);

  if (wait->is_cancelled) {
    complete(rx->waits, UV_ECANCELED, NULL);
    uvch__turn_spend(t, 1);
    return 1;
  }
  if (wait->is_first || wait->tested != uvch__watch_newest(t, rx))
    return test(t, rx);
  if (t->is_closed) {
    complete(rx->waits, UV_EOF, NULL);
    uvch__turn_spend(t, 1);
    return 1;
  }
  return 0;
}

static int cancel(uvch_req_t* base) {
  struct uvch__wait* wait = uvch__wait_of((uvch_watch_wait_for_t*) base);

  if (wait->is_cancelled)
    return UV_EBUSY;
  wait->is_cancelled = 1;
  uvch__group_start((uvch_handle_t*) wait->rx);
  return 0;
}

static void refork(uvch_req_t* base) {
  (void) base; /* its receiver looks again */
}

static const struct uvch__request_ops request_ops = {{NULL, NULL, NULL}, cancel, refork};

int uvch_watch_wait_for(uvch_watch_wait_for_t* req, uvch_watch_receiver_t* rx, uvch_watch_predicate_cb predicate, void* arg,
                        uvch_watch_wait_for_cb cb) {
  int err;

  if (req == NULL || rx == NULL || rx->type != UVCH_WATCH_RECEIVER || predicate == NULL || cb == NULL)
    return UV_EINVAL;
  if ((rx->flags & UVCH__CLOSING) != 0)
    return UVCH__WAS_CLOSED(rx);
  if (rx->port != NULL && uvch__port_is_broken(rx->port))
    return UV_EBADF; /* nobody could bring the callback */
  if (rx->loop == NULL)
    return UV_EINVAL;
  if ((rx->flags & UVCH__ACTIVE) != 0 || rx->waits != NULL)
    return UV_EALREADY;
  err = uvch__request_begin(rx->loop, (uvch_req_t*) req, UVCH_WATCH_WAIT_FOR, &request_ops);
  if (err != 0)
    return err;
  *uvch__wait_of(req) = (struct uvch__wait){.rx = rx, .is_first = 1};
  req->predicate = predicate;
  req->arg = arg;
  req->cb = cb;
  rx->waits = req;
  rx->flags |= UVCH__WAITING;
  uvch__group_start((uvch_handle_t*) rx);
  return 0;
}
