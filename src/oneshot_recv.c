/* SPDX-License-Identifier: MIT
 *
 * The receiver of a oneshot, all of it on the one thread that has it. */
#include "handle.h"
#include "item.h"
#include "oneshot.h"
#include "parker.h"

static int is_waiting(const uvch_oneshot_receiver_t* rx) {
  return (rx->flags & UVCH__ACTIVE) != 0;
}

/* The token is with the receiver, which has a loop: a turn if the outcome is there, else the park. */
static void use_token(uvch_oneshot_receiver_t* rx) {
  struct uvch__oneshot* c = rx->core;

  if (!c->has_token || !is_waiting(rx))
    return;
  c->has_token = 0;
  if (!uvch__oneshot_park(c))
    uvch__port_append(rx->port, &c->ep);
}

/* The callback, whatever it closes or runs: the core and the value stay until it has returned. */
static void deliver(uvch_oneshot_receiver_t* rx, struct uvch__oneshot* c, struct uvch__port* port) {
  int has_value = (uvch__oneshot_load(c) & UVCH__VALUE) != 0;

  c->is_taken = 1;
  c->in_hand = 1;
  uvch__handle_set_active((uvch_handle_t*) rx, 0);
  rx->recv_cb(rx, has_value ? 0 : UV_EOF, has_value ? c->item : NULL);
  c->in_hand = 0;
  if (c->rx == NULL) /* it was closed, or renewed with another core */
    uvch__oneshot_let_go(c, UVCH__RX_GONE | UVCH__TOKEN_GONE, port);
}

static void turn(struct uvch__endpoint* ep, struct uvch__port* port) {
  struct uvch__oneshot* c = uvch__oneshot_of(ep);
  uvch_oneshot_receiver_t* rx = c->rx;

  port->hand = NULL;
  if (rx == NULL) {
    uvch__oneshot_let_go(c, UVCH__TOKEN_GONE, port);
    return;
  }
  c->has_token = 1;
  if (!is_waiting(rx))
    return;
  uvch__budget_spend(port, 1);
  deliver(rx, c, port);
}

/* The loop is gone, without a close of the receiver. */
static void drop(struct uvch__endpoint* ep) {
  uvch__oneshot_let_go(uvch__oneshot_of(ep), UVCH__TOKEN_GONE, NULL);
}

static int is_dead(struct uvch__endpoint* ep) {
  return uvch__oneshot_of(ep)->rx == NULL;
}

static const struct uvch__endpoint_ops receiver_ops = {turn, drop, is_dead};

/* Making one. */

int uvch_oneshot_init_ex(uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx, size_t item_size,
                         const uvch_oneshot_options_t* options) {
  struct uvch__port* port = NULL;
  struct uvch__oneshot* c;
  int err = rx == NULL || tx == NULL || item_size > UVCH_ONESHOT_ITEM_MAX ? UV_EINVAL : 0;

  if (err == 0 && loop != NULL)
    err = uvch__port_get(loop, &port);
  if (err != 0)
    return err;
  c = uvch__oneshot_new(port, &receiver_ops, item_size);
  if (c == NULL)
    return UV_ENOMEM;
  if (options != NULL && uvch__oneshot_on_drop(c, options->drop, options->arg) != 0) {
    uvch__oneshot_let_go(c, UVCH__ALL_GONE, port);
    return UV_ENOMEM;
  }
  c->rx = rx;
  uvch__oneshot_sender(c, item_size, tx);
  uvch__handle_init((uvch_handle_t*) rx, UVCH_ONESHOT_RECEIVER, c);
  rx->recv_cb = NULL;
  rx->item_size = item_size;
  if (port != NULL)
    uvch__handle_attach((uvch_handle_t*) rx, port);
  return 0;
}

int uvch_oneshot_init(uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx, size_t item_size) {
  return uvch_oneshot_init_ex(loop, rx, tx, item_size, NULL);
}

static void attach(uvch_handle_t* handle, struct uvch__port* port) {
  struct uvch__oneshot* c = handle->core;

  if (uvch__home_attach(&c->home, port))
    c->has_token = 1;
  uvch__handle_attach(handle, port);
}

static void refork(uvch_handle_t* handle) {
  struct uvch__oneshot* c = handle->core;

  uvch__oneshot_refork(c);
  uvch__oneshot_unpark(c);
  c->has_token = 1;
  use_token((uvch_oneshot_receiver_t*) handle);
}

/* Ends. */

/* The receiver does not wait any more. What was sent and not taken is left in the core. */
static void shut(struct uvch__oneshot* c) {
  uint32_t before = uvch__oneshot_shut(c);

  if ((before & UVCH__IN_PARK) != 0)
    c->has_token = 1;
}

/* Gives the core up. */
static void leave(struct uvch__oneshot* c, struct uvch__port* port) {
  shut(c);
  c->rx = NULL;
  if (!c->is_taken && (uvch__oneshot_load(c) & UVCH__VALUE) != 0)
    uvch__oneshot_drop_item(c);
  if (!c->has_token && port == NULL && uvch__home_leave(&c->home))
    c->has_token = 1;
  if (!c->in_hand)
    uvch__oneshot_let_go(c, c->has_token ? UVCH__RX_GONE | UVCH__TOKEN_GONE : UVCH__RX_GONE, port);
}

static void close_receiver(uvch_handle_t* handle) {
  leave(handle->core, handle->port);
}

const struct uvch__handle_ops uvch__oneshot_handle = {attach, close_receiver, refork};

static int state_of(const uvch_oneshot_receiver_t* rx) {
  if (rx == NULL || rx->type != UVCH_ONESHOT_RECEIVER)
    return UV_EINVAL;
  return (rx->flags & UVCH__CLOSING) != 0 ? UV_EBADF : 0;
}

static int check(const uvch_oneshot_receiver_t* rx) {
  return UVCH__USE(rx, state_of(rx));
}

int uvch_oneshot_recv_shutdown(uvch_oneshot_receiver_t* rx) {
  int err = check(rx);

  if (err == 0) {
    shut(rx->core);
    use_token(rx);
  }
  return err;
}

/* Another core, with the same drop function; the old one is left to those who still have it. */
static int replace(uvch_oneshot_receiver_t* rx) {
  struct uvch__oneshot* old = rx->core;
  struct uvch__oneshot_side* side = atomic_load_explicit(&old->side, memory_order_acquire); /* [O2] */
  struct uvch__oneshot* c = uvch__oneshot_new(rx->port, &receiver_ops, rx->item_size);

  if (c == NULL)
    return UV_ENOMEM;
  if (side != NULL && uvch__oneshot_on_drop(c, side->drop, side->arg) != 0) {
    uvch__oneshot_let_go(c, UVCH__ALL_GONE, rx->port);
    return UV_ENOMEM;
  }
  c->rx = rx;
  rx->core = c;
  leave(old, rx->port);
  return 0;
}

int uvch_oneshot_renew(uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx) {
  struct uvch__oneshot* c;
  int err = tx == NULL ? UV_EINVAL : check(rx);

  if (err != 0)
    return err;
  c = rx->core;
  if (!c->is_taken)
    return UV_EBUSY;
  if (!c->has_token && rx->port == NULL && uvch__home_disarm(&c->home))
    c->has_token = 1;
  if (c->has_token && !c->in_hand && (uvch__oneshot_load(c) & UVCH__TX_GONE) != 0)
    uvch__oneshot_begin(c); /* nobody else has it */
  else
    err = replace(rx);
  if (err == 0)
    uvch__oneshot_sender(rx->core, rx->item_size, tx);
  return err;
}

/* Taking the outcome. */

int uvch_oneshot_recv(uvch_oneshot_receiver_t* rx, uvch_oneshot_recv_cb cb) {
  int err = cb == NULL ? UV_EINVAL : check(rx);

  if (err != 0)
    return err;
  if (rx->loop == NULL)
    return UV_EINVAL;
  if (is_waiting(rx))
    return UV_EALREADY;
  if (((struct uvch__oneshot*) rx->core)->is_taken)
    return UV_EOF;
  rx->recv_cb = cb;
  uvch__handle_set_active((uvch_handle_t*) rx, 1);
  use_token(rx);
  return 0;
}

int uvch_oneshot_recv_stop(uvch_oneshot_receiver_t* rx) {
  int err = check(rx);

  if (err == 0)
    uvch__handle_set_active((uvch_handle_t*) rx, 0);
  return err;
}

static int take(uvch_oneshot_receiver_t* rx, void* item) {
  struct uvch__oneshot* c = rx->core;
  uint32_t state;

  if (c->is_taken)
    return UV_EOF;
  state = uvch__oneshot_load(c);
  if (!uvch__oneshot_is_done(state))
    return UV_EAGAIN;
  c->is_taken = 1;
  if ((state & UVCH__VALUE) == 0)
    return UV_EOF;
  uvch__item_copy(item, c->item, rx->item_size);
  return 0;
}

static int check_item(const uvch_oneshot_receiver_t* rx, const void* item) {
  int err = check(rx);

  return err == 0 && item == NULL && rx->item_size > 0 ? UV_EINVAL : err;
}

int uvch_oneshot_try_recv(uvch_oneshot_receiver_t* rx, void* item) {
  int err = check_item(rx, item);

  if (err == 0 && is_waiting(rx))
    err = UV_EALREADY;
  return err != 0 ? err : take(rx, item);
}

/* Sleeps until posted. 0: look again. */
static int sleep_until(struct uvch__oneshot* c, struct uvch__parker* p, uint64_t deadline) {
  int err = 0;

  uvch__parker_ref(p);
  if (uvch__home_arm(&c->home, p))
    c->has_token = 1;
  if (c->has_token)
    c->has_token = !uvch__oneshot_park(c);
  if (!c->has_token) {
    err = uvch__parker_wait(p, deadline);
    if (err != 0 && uvch__oneshot_unpark(c))
      c->has_token = 1;
  }
  if (uvch__home_disarm(&c->home))
    c->has_token = 1;
  else
    uvch__parker_unref(p); /* nobody will wake it */
  return err;
}

/* A post comes with the outcome, so one sleep is enough. */
int uvch__oneshot_recv_until(uvch_oneshot_receiver_t* rx, void* item, struct uvch__parker* p, uint64_t deadline) {
  int slept = sleep_until(rx->core, p, deadline);
  int err = take(rx, item); /* also after the time: what came is not left behind */

  return err == UV_EAGAIN ? slept : err;
}

int uvch_oneshot_recv_timedwait(uvch_oneshot_receiver_t* rx, void* item, uint64_t timeout) {
  int err = check_item(rx, item);
  struct uvch__parker* p;

  if (err == 0)
    err = rx->loop != NULL ? UVCH__HAS_LOOP(rx) : take(rx, item);
  if (err != UV_EAGAIN)
    return err;
  if (timeout == 0)
    return UV_ETIMEDOUT;
  p = uvch__parker_new();
  if (p == NULL)
    return UV_ENOMEM;
  err = uvch__oneshot_recv_until(rx, item, p, uvch__parker_deadline(timeout));
  uvch__parker_unref(p);
  return err;
}

int uvch_oneshot_recv_wait(uvch_oneshot_receiver_t* rx, void* item) {
  return uvch_oneshot_recv_timedwait(rx, item, UINT64_MAX);
}

/* What can be asked. */

int uvch_oneshot_receiver_is_terminated(const uvch_oneshot_receiver_t* rx) {
  return state_of(rx) != 0 || ((struct uvch__oneshot*) rx->core)->is_taken;
}

int uvch_oneshot_receiver_is_empty(const uvch_oneshot_receiver_t* rx) {
  return uvch_oneshot_receiver_is_terminated(rx) || (uvch__oneshot_load(rx->core) & UVCH__VALUE) == 0;
}
