/* SPDX-License-Identifier: MIT
 *
 * Callbacks on a loop: the turns of a receiver. */
#include "linger.h"
#include "receiver.h"

#define TURN_MESSAGES 256 /* then the next endpoint of the loop has its turn */
#define ASK_EVERY 32u     /* messages; a power of two */

/* Whether who waits for room is told of it in the middle of a turn. On one processor it would take that from the receiver. */
static int asks_early(void) {
  return uvch__hot_default() > 0;
}

/* Another message may be about to come; no other endpoint waits for its turn. */
static int spin(struct uvch__core* c, struct uvch__port* port) {
  struct uvch__slot* s = uvch__next_slot(c);

  if (s == NULL || port->first != NULL)
    return 0;
  if (asks_early())
    uvch__ask_room(c); /* who waits for room may have the message */
  return uvch__spin(port, s);
}

/* The receiver has caught up, after `n` messages in a row. 1: look again. */
static int linger(struct uvch__core* c, struct uvch__port* port, uint32_t n) {
  if (n > 0 && n < UVCH__LINGER_STREAM)
    return spin(c, port);
  if (!uvch__linger(port, n, c->capacity))
    return 0;
  if (uvch__front(c) != NULL)
    uvch__backoff_hit(&port->linger);
  else
    uvch__backoff_miss(&port->linger);
  return 1;
}

/* Messages that are there, at most `most`, from `s` on and one after the other in memory. */
static size_t count_ready(struct uvch__core* c, struct uvch__slot* s, size_t most) {
  size_t n;

  if (c->capacity > 0) {
    size_t left = (size_t) (c->u.ring.mask + 1 - (c->next & c->u.ring.mask));
    most = most < left ? most : left;
    most = most < uvch__batch_max(c->capacity) ? most : uvch__batch_max(c->capacity);
  } else {
    struct uvch__block_head* h = atomic_load_explicit(&c->first, memory_order_relaxed); /* relaxed: the receiver's own */
    uint64_t left = h->count - (c->next - h->base);
    most = most < left ? most : (size_t) left;
  }
  for (n = 1; n < most && uvch__slot_is_ready((struct uvch__slot*) (void*) ((char*) s + n * c->stride)); n++) {}
  return n;
}

/* A callback, whatever it closes or runs: the core and the message stay until the last one that was running has returned. */
UVCH__INLINE void call(struct uvch__core* c, int status, struct uvch__slot* s, size_t n, int many) {
  uvch_mpsc_receiver_t* rx = c->rx;
  void* item = s != NULL ? uvch__slot_item(c, s) : NULL;

  c->in_hand++;
  if (many)
    rx->recv_many_cb(rx, status, item, c->stride, n);
  else
    rx->recv_cb(rx, status, item);
  c->in_hand--;
}

/* After a callback that closed the receiver. */
static void leave(struct uvch__core* c) {
  if (c->capacity == 0)
    uvch__settle(c, 1);
  if (c->in_hand == 0)
    uvch__core_unref(c); /* the receiver's, left by the close */
}

/* Delivers `n` messages. 0: the core may be gone. */
UVCH__INLINE int deliver(struct uvch__core* c, struct uvch__slot* s, size_t n, int many) {
  c->next += n;
  uvch__free_slots(c, s, n); /* the messages stay: nobody claims their places before the head has gone further */
  if (c->in_hand == 0)
    uvch__give_room(c);
  call(c, 0, s, n, many);
  if (c->rx == NULL) {
    leave(c);
    return 0;
  }
  if (c->in_hand == 0 &&
      atomic_load_explicit(&c->head, memory_order_relaxed) != c->next) { /* relaxed: our own; a nested run took more */
    uvch__give_room(c);
    uvch__trim(c);
  }
  return 1;
}

static void deliver_end(struct uvch__core* c) {
  uvch__handle_set_active((uvch_handle_t*) c->rx, 0);
  call(c, UV_EOF, NULL, 0, c->rx->recv_many_cb != NULL);
  if (c->rx == NULL)
    leave(c);
}

static void fetch_ahead(const struct uvch__core* c, const struct uvch__slot* s) {
  if (c->capacity > 0)
    __builtin_prefetch((const char*) s + UVCH__AHEAD * c->stride, 1);
  else
    __builtin_prefetch((const char*) s + UVCH__AHEAD * c->stride, 0);
}

/* Messages for the next callback of several. */
static uint32_t count_batch(struct uvch__core* c, struct uvch__port* port, struct uvch__slot* s, uint32_t most) {
  most = most < port->budget.left ? most : port->budget.left;
  return (uint32_t) count_ready(c, s, most < c->rx->recv_max ? most : c->rx->recv_max);
}

/* Delivers until there is nothing, the budget is spent, the callback is of the other kind, or the token has gone; then the core may
 * be gone too. 1: there is more. Called with a constant. */
UVCH__INLINE int deliver_some(struct uvch__core* c, struct uvch__port* port, int many) {
  struct uvch__slot* s;
  uint32_t n = 0;
  uint32_t dry = 0;
  uint32_t got = 1;

  while ((c->rx->recv_many_cb != NULL) == many) {
    s = uvch__front(c);
    if (s == NULL && linger(c, port, n - dry)) {
      dry = n;
      s = uvch__front(c);
    }
    if (s == NULL)
      return 0;
    fetch_ahead(c, s);
    if (many)
      got = count_batch(c, port, s, TURN_MESSAGES - n);
    if (!deliver(c, s, got, many))
      return 0;
    if (port->hand != &c->ep) {
      uvch__ask_room(c); /* the nested run that took the token had no room to give, or did not come to it */
      return 0;
    }
    if (!uvch__is_started(c))
      return 0;
    n += got;
    if ((n & (ASK_EVERY - 1)) < got && asks_early())
      uvch__ask_room(c);
    if (!uvch__budget_spend(port, got) || n >= TURN_MESSAGES)
      return 1;
  }
  return 1;
}

static void rest(struct uvch__core* c, struct uvch__port* port) {
  enum uvch__park p = uvch__is_started(c) ? uvch__park(c) : UVCH__IS_READY;

  if (p == UVCH__IS_READY && uvch__is_started(c))
    return; /* the token stays in the hand: another turn */
  UVCH__CHECK(port->hand == &c->ep && !c->has_token);
  port->hand = NULL;
  c->has_token = p != UVCH__IS_PARKED;
  if (p == UVCH__IS_END)
    deliver_end(c);
}

static void turn(struct uvch__endpoint* ep, struct uvch__port* port) {
  struct uvch__core* c = uvch__core_of(ep);
  int more;

  if (c->rx == NULL) {
    port->hand = NULL;
    uvch__core_unref(c); /* the token's */
    return;
  }
  if (c->is_parked || (c->next & (UVCH__LOOK_EVERY - 1)) < TURN_MESSAGES)
    uvch__note_depth(c, uvch__depth(c));
  uvch__note_wakeup(c);
  more = uvch__is_started(c) && (c->rx->recv_many_cb != NULL ? deliver_some(c, port, 1) : deliver_some(c, port, 0));
  if (port->hand == ep) {
    if (!more || asks_early() || port->first != NULL || port->budget.left == 0) /* else it goes on at once */
      uvch__ask_room(c);
    if (!more)
      rest(c, port);
  }
}

/* The loop is gone, without a close of the receiver: senders are to know. */
static void drop(struct uvch__endpoint* ep) {
  struct uvch__core* c = uvch__core_of(ep);

  uvch__core_set(c, UVCH__CLOSED);
  uvch__ask_closed(c);
  uvch__core_unref(c); /* the token's */
}

static int is_dead(struct uvch__endpoint* ep) {
  return uvch__core_of(ep)->rx == NULL;
}

const struct uvch__endpoint_ops uvch__receiver_ops = {turn, drop, is_dead};
