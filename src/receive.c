/* SPDX-License-Identifier: MIT
 *
 * The receiver: its loop, start and stop, shutdown and close. */
#include "receiver.h"

/* The token is with the receiver, which has a loop: give it a turn if there is something, else park. */
static void use_token(struct uvch__core* c) {
  if (!c->has_token || !uvch__is_started(c))
    return;
  c->has_token = 0;
  if (uvch__park(c) != UVCH__IS_PARKED)
    uvch__port_append(uvch__home_port(&c->home), &c->ep);
}

static void attach(uvch_handle_t* handle, struct uvch__port* port) {
  struct uvch__core* c = handle->core;

  if (uvch__home_attach(&c->home, port))
    c->has_token = 1;
  uvch__handle_attach(handle, port);
}

static void refork(uvch_handle_t* handle) {
  struct uvch__core* c = handle->core;

  uvch__core_refork(c);
  c->has_token = 1;
  use_token(c);
}

static int start(uvch_mpsc_receiver_t* rx, uvch_mpsc_recv_cb cb, size_t max, uvch_mpsc_recv_many_cb many_cb) {
  int err = (cb == NULL && many_cb == NULL) || max == 0 ? UV_EINVAL : uvch__check_receiver(rx);

  if (err != 0)
    return err;
  if (rx->loop == NULL)
    return UV_EINVAL;
  if ((rx->flags & UVCH__ACTIVE) != 0)
    return UV_EALREADY;
  rx->recv_cb = cb;
  rx->recv_many_cb = many_cb;
  rx->recv_max = max;
  uvch__handle_set_active((uvch_handle_t*) rx, 1);
  use_token(rx->core);
  return 0;
}

int uvch_mpsc_recv_start(uvch_mpsc_receiver_t* rx, uvch_mpsc_recv_cb cb) {
  return start(rx, cb, 1, NULL);
}

int uvch_mpsc_recv_many_start(uvch_mpsc_receiver_t* rx, size_t max, uvch_mpsc_recv_many_cb cb) {
  return start(rx, NULL, max, cb);
}

int uvch_mpsc_recv_stop(uvch_mpsc_receiver_t* rx) {
  int err = uvch__check_receiver(rx);

  if (err == 0)
    uvch__handle_set_active((uvch_handle_t*) rx, 0);
  return err;
}

int uvch_mpsc_recv_shutdown(uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c;
  int err = uvch__check_receiver(rx);

  if (err != 0)
    return err;
  c = rx->core;
  if ((uvch__core_set(c, UVCH__CLOSED) & UVCH__AT_TAIL) != 0) {
    c->has_token = 1;
    c->is_parked = 0;
  }
  uvch__ask_closed(c);
  use_token(c);
  return 0;
}

/* Closing. */

void uvch__sweep_slot(struct uvch__core* c, struct uvch__slot* s, struct uvch__sweep* sweep, int* parked) {
  sweep->before = uvch__slot_kill(s, sweep->before, parked);
  if (!sweep->before) {
    sweep->unpublished++;
    return;
  }
  sweep->dropped++;
  if (sweep->drop != NULL)
    sweep->drop(uvch__slot_item(c, s), sweep->arg);
}

static int sweep_ring(struct uvch__core* c, uint64_t tail, struct uvch__sweep* sweep) {
  char* slots = atomic_load_explicit(&c->u.ring.slots, memory_order_acquire); /* [R1] */
  int parked = 0;
  uint64_t i;

  for (i = c->next; uvch__distance(c, i, tail) > 0; i++)
    uvch__sweep_slot(c, uvch__ring_slot(c, slots, i), sweep, &parked);
  return parked;
}

static void close_receiver(uvch_handle_t* handle) {
  struct uvch__core* c = handle->core;
  struct uvch__port* port = handle->port;
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2] */
  struct uvch__sweep sweep = {.before = 1};
  uint64_t word = uvch__core_set(c, UVCH__CLOSED | UVCH__DEAD_WORD);
  uint64_t tail = uvch__word_tail(c, word);
  int token = c->has_token || (word & UVCH__AT_TAIL) != 0;

  if (q != NULL) {
    sweep.drop = q->drop;
    sweep.arg = q->arg;
  }
  c->rx = NULL;
  if (c->capacity > 0 ? sweep_ring(c, tail, &sweep) : uvch__blocks_sweep(c, tail, &sweep))
    token = 1;
  atomic_store_explicit(&c->head, c->next, memory_order_release);              /* [C2] */
  atomic_store_explicit(&c->dropped, sweep.dropped + 1, memory_order_release); /* [C6] */
  uvch__settle_begin(c, sweep.unpublished);
  uvch__ask_closed(c);
  if (port == NULL)
    token |= uvch__home_leave(&c->home);
  else if (port->hand == &c->ep)
    token = (port->hand = NULL) == NULL;
  if (token)
    uvch__core_unref(c);
  if (c->in_hand == 0)
    uvch__core_unref(c); /* the receiver's; else the callback that is running does it */
}

const struct uvch__handle_ops uvch__mpsc_handle = {attach, close_receiver, refork};
