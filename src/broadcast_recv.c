/* SPDX-License-Identifier: MIT
 *
 * The receiver of a broadcast channel: its loop, start and stop, calls that take messages, close. */
#include "broadcast.h"
#include "item.h"
#include "parker.h"

/* 0, UV_EINVAL (not a receiver), UV_EBADF (closed), UV_ECONNABORTED (cut off). */
static int state_of(const uvch_broadcast_receiver_t* rx) {
  if (rx == NULL || rx->type != UVCH_BROADCAST_RECEIVER)
    return UV_EINVAL;
  if ((rx->flags & UVCH__CLOSING) != 0)
    return UV_EBADF;
  return (rx->flags & UVCH__CUT) != 0 ? UV_ECONNABORTED : 0;
}

static int check(const uvch_broadcast_receiver_t* rx) {
  return UVCH__USE(rx, state_of(rx));
}

static struct uvch__broadcast* core_of(const uvch_broadcast_receiver_t* rx) {
  return state_of(rx) == 0 ? uvch__bgroup_core(rx->core) : NULL;
}

/* Making one. */

int uvch__subscribe(struct uvch__broadcast* c, uv_loop_t* loop, uvch_broadcast_receiver_t* rx) {
  int err = uvch__group_subscribe(&c->hub, loop, (uvch_handle_t*) rx, UVCH_BROADCAST_RECEIVER);

  if (err != 0)
    return err;
  rx->recv_cb = NULL;
  rx->recv_many_cb = NULL;
  rx->missed = 0;
  return 0;
}

int uvch_broadcast_subscribe(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, const uvch_broadcast_sender_t* tx) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);

  if (rx == NULL || tx == NULL)
    return UV_EINVAL;
  return c != NULL ? uvch__subscribe(c, loop, rx) : UVCH__WAS_CLOSED(tx);
}

int uvch_broadcast_resubscribe(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, const uvch_broadcast_receiver_t* source) {
  int err = rx == NULL || rx == source ? UV_EINVAL : check(source);

  return err != 0 ? err : uvch__subscribe(core_of(source), loop, rx);
}

static void attach(uvch_handle_t* handle, struct uvch__port* port) {
  if (handle->core != NULL)
    uvch__group_attach(handle, port);
  uvch__handle_attach(handle, port);
}

static void close_receiver(uvch_handle_t* handle) {
  uvch_broadcast_receiver_t* rx = (uvch_broadcast_receiver_t*) handle;

  if (rx->core != NULL)
    uvch__bgroup_leave(rx);
}

static void refork(uvch_handle_t* handle) {
  if (handle->core != NULL)
    uvch__group_refork(handle);
}

const struct uvch__handle_ops uvch__broadcast_handle = {attach, close_receiver, refork};

/* Callbacks. */

static int start(uvch_broadcast_receiver_t* rx, uvch_broadcast_recv_cb cb, size_t max, uvch_broadcast_recv_many_cb many_cb) {
  int err = (cb == NULL && many_cb == NULL) || max == 0 ? UV_EINVAL : check(rx);

  if (err != 0)
    return err;
  if (rx->loop == NULL)
    return UV_EINVAL;
  if ((rx->flags & UVCH__ACTIVE) != 0)
    return UV_EALREADY;
  rx->recv_cb = cb;
  rx->recv_many_cb = many_cb;
  rx->recv_max = max < UINT32_MAX ? (uint32_t) max : UINT32_MAX;
  uvch__handle_set_active((uvch_handle_t*) rx, 1);
  uvch__group_start((uvch_handle_t*) rx);
  return 0;
}

int uvch_broadcast_recv_start(uvch_broadcast_receiver_t* rx, uvch_broadcast_recv_cb cb) {
  return start(rx, cb, 1, NULL);
}

int uvch_broadcast_recv_many_start(uvch_broadcast_receiver_t* rx, size_t max, uvch_broadcast_recv_many_cb cb) {
  return start(rx, NULL, max, cb);
}

int uvch_broadcast_recv_stop(uvch_broadcast_receiver_t* rx) {
  int err = check(rx);

  if (err == UV_ECONNABORTED)
    return 0; /* it has stopped */
  if (err == 0)
    uvch__handle_set_active((uvch_handle_t*) rx, 0);
  return err;
}

/* Taking messages. */

/* The channel's value is the reader's for a moment. */
static int copy_out(struct uvch__broadcast* c, void* item, struct uvch__node* node) {
  int err = 0;

  if (c->hub.copy != NULL)
    err = c->hub.copy(item, node->item, c->hub.arg);
  else
    uvch__item_copy(item, node->item, c->hub.item_size);
  uvch__node_unref(&c->hub, node);
  return err > 0 ? UV_EINVAL : err; /* above 0 would be a gap */
}

static int take_node(struct uvch__bgroup* g, uvch_broadcast_receiver_t* rx, void* item, enum uvch__found* found) {
  struct uvch__node* node;
  uint32_t one = 1;
  int err;

  *found = uvch__ring_pin(uvch__bgroup_core(g), rx, &node, &one);
  if (*found != UVCH__FOUND)
    return 0;
  uvch__group_ref(&g->group); /* a copy or drop function may close the receiver */
  uvch__bgroup_advance(g, rx, 1);
  uvch__bgroup_settle(&g->group);
  err = copy_out(uvch__bgroup_core(g), item, node);
  uvch__group_unref(&g->group);
  return err;
}

static int take_from_slot(struct uvch__bgroup* g, uvch_broadcast_receiver_t* rx, void* item, enum uvch__found* found) {
  uint64_t words[UVCH__INLINE_MAX / 8];

  *found = uvch__ring_read(uvch__bgroup_core(g), rx, 0, words);
  if (*found != UVCH__FOUND)
    return 0;
  uvch__bgroup_advance(g, rx, 1);
  uvch__item_copy(item, words, uvch__bgroup_core(g)->hub.item_size);
  uvch__bgroup_settle(&g->group);
  return 0;
}

static int take_gap(struct uvch__bgroup* g, uvch_broadcast_receiver_t* rx) {
  int status;

  uvch__group_ref(&g->group); /* it may be its last member */
  status = uvch__bgroup_gap(rx);
  uvch__serve(uvch__bgroup_core(g), g);
  uvch__group_unref(&g->group);
  return status;
}

/* UV_EAGAIN: there is nothing, or so says a copy function; that differs in `found`. */
static int take(uvch_broadcast_receiver_t* rx, void* item, enum uvch__found* found) {
  struct uvch__bgroup* g = rx->core;
  int is_closed = uvch__hub_is_closed(g->group.hub); /* before the look: nothing comes after it */
  int status = uvch__bgroup_core(g)->has_nodes ? take_node(g, rx, item, found) : take_from_slot(g, rx, item, found);

  if (*found == UVCH__NOTHING)
    return is_closed ? UV_EOF : UV_EAGAIN;
  return *found == UVCH__GAP ? take_gap(g, rx) : status;
}

static int check_item(const uvch_broadcast_receiver_t* rx, const void* item) {
  struct uvch__broadcast* c;
  int err = check(rx);

  if (err != 0)
    return err;
  c = core_of(rx);
  if (item == NULL && c->hub.item_size > 0)
    return UV_EINVAL;
  return c->hub.drop != NULL && c->hub.copy == NULL ? UV_ENOTSUP : 0;
}

int uvch_broadcast_try_recv(uvch_broadcast_receiver_t* rx, void* item) {
  enum uvch__found found;
  int err = check_item(rx, item);

  return err != 0 ? err : take(rx, item, &found);
}

int uvch_broadcast_recv_timedwait(uvch_broadcast_receiver_t* rx, void* item, uint64_t timeout) {
  enum uvch__found found;
  uint64_t deadline;
  int err = check_item(rx, item);

  if (err == 0 && rx->loop != NULL)
    err = UVCH__HAS_LOOP(rx);
  if (err != 0)
    return err;
  err = take(rx, item, &found);
  if (found != UVCH__NOTHING || err != UV_EAGAIN)
    return err;
  if (timeout == 0)
    return UV_ETIMEDOUT;
  deadline = uvch__parker_deadline(timeout);
  for (;;) {
    int slept = uvch__group_sleep(rx->core, rx->cursor, deadline);
    err = take(rx, item, &found); /* also after the time: what came is not left behind */
    if (found != UVCH__NOTHING || err != UV_EAGAIN)
      return err;
    if (slept != 0)
      return slept;
  }
}

int uvch_broadcast_recv_wait(uvch_broadcast_receiver_t* rx, void* item) {
  return uvch_broadcast_recv_timedwait(rx, item, UINT64_MAX);
}

/* What can be asked. */

uint64_t uvch_broadcast_receiver_missed(const uvch_broadcast_receiver_t* rx) {
  return check(rx) == UV_EINVAL ? 0 : rx->missed;
}

/* It is cut off, though it has not been told. */
static int is_too_slow(const struct uvch__broadcast* c, uint64_t behind) {
  return c->policy == UVCH_BROADCAST_DISCONNECT && behind > c->capacity;
}

size_t uvch_broadcast_receiver_len(const uvch_broadcast_receiver_t* rx) {
  struct uvch__broadcast* c = core_of(rx);
  uint64_t n = c != NULL ? uvch__tail_load(&c->hub) - rx->cursor : 0;

  if (c == NULL || is_too_slow(c, n))
    return 0;
  return n < SIZE_MAX ? (size_t) n : SIZE_MAX;
}

int uvch_broadcast_receiver_is_empty(const uvch_broadcast_receiver_t* rx) {
  return uvch_broadcast_receiver_len(rx) == 0;
}

int uvch_broadcast_receiver_is_closed(const uvch_broadcast_receiver_t* rx) {
  struct uvch__broadcast* c = core_of(rx);

  return c == NULL || uvch__hub_is_closed(&c->hub) || is_too_slow(c, uvch__tail_load(&c->hub) - rx->cursor);
}

int uvch_broadcast_receiver_same_channel(const uvch_broadcast_receiver_t* a, const uvch_broadcast_receiver_t* b) {
  struct uvch__broadcast* c = core_of(a);

  return c != NULL && c == core_of(b);
}

size_t uvch_broadcast_receiver_strong_count(const uvch_broadcast_receiver_t* rx) {
  return uvch__strong_count(core_of(rx));
}

size_t uvch_broadcast_receiver_weak_count(const uvch_broadcast_receiver_t* rx) {
  return uvch__weak_count(core_of(rx));
}
