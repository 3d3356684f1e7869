/* SPDX-License-Identifier: MIT
 *
 * Taking messages out: callbacks on a loop, and calls on a plain thread. All of it on the one thread that has the receiver. */
#include "core.h"
#include "debug.h"
#include "handle.h"
#include "queue.h"

#define TURN_MESSAGES 256 /* then the next endpoint of the loop has its turn */
#define ASK_EVERY 32      /* messages; a power of two */
#define STREAM 16         /* messages in a row that make a stream */
#define LINGER_MAX 4000   /* ns */
#define LINGER_EACH 8     /* ns for each message of a bounded channel: a sender fills it in about that time */

enum park { PARKED, READY, END };

static uint64_t load_word(struct uvch__core* c) {
  return atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
}

static int is_at(const struct uvch__core* c, uint64_t word) {
  return uvch__word_tail(word) == (c->next & UVCH__TAIL_MASK);
}

/* The slot of the next message, or NULL if it has none yet. */
static struct uvch__slot* next_slot(struct uvch__core* c) {
  char* slots;

  if (c->capacity == 0)
    return uvch__blocks_front(c);
  slots = atomic_load_explicit(&c->u.ring.slots, memory_order_acquire); /* [R1] */
  return slots != NULL ? uvch__ring_slot(c, slots, c->next) : NULL;
}

/* The slot of the next message if that is there. */
static struct uvch__slot* front(struct uvch__core* c) {
  struct uvch__slot* s = next_slot(c);
  return s != NULL && uvch__slot_is_ready(s) ? s : NULL;
}

/* The receiver has caught up with a stream of messages. If it went on looking at the slot that a sender is about to write, the
 * two would pull its line to and fro with every message; so it lets some come together first, without a look, and only as long as
 * that pays. */
static int linger(struct uvch__core* c, struct uvch__port* port, uint32_t n) {
  uint64_t until;

  if (n < STREAM || uvch__hot_default() == 0 || uvch__backoff_skip(&port->linger))
    return 0;
  until = uv_hrtime() + (c->capacity > 0 && c->capacity < LINGER_MAX / LINGER_EACH ? c->capacity * LINGER_EACH : LINGER_MAX);
  do
    uvch__relax();
  while (uv_hrtime() < until);
  if (front(c) != NULL)
    uvch__backoff_hit(&port->linger);
  else
    uvch__backoff_miss(&port->linger);
  return 1;
}

/* Room is given back in order: only while no message before is in a callback. */
static void give_room(struct uvch__core* c) {
  UVCH__CHECK(c->in_hand == 0);
  atomic_store_explicit(&c->head, c->next, memory_order_release); /* [C2] */
}

static void free_slot(struct uvch__core* c, struct uvch__slot* s) {
  if (c->capacity > 0)
    atomic_store_explicit(&s->state, UVCH__EMPTY, memory_order_relaxed); /* relaxed: [C2] of a later message publishes it */
}

static void ask(struct uvch__core* c) {
  if (c->capacity > 0)
    uvch__ask(c);
}

static void trim(struct uvch__core* c) {
  if (c->capacity == 0)
    uvch__blocks_trim(c);
}

/* Nothing is there: park where the next message will come, so that its sender posts. Somebody else's step makes it try again. */
static enum park park(struct uvch__core* c) {
  for (;;) {
    uint64_t word = load_word(c);
    if (front(c) != NULL)
      return READY;
    if (!is_at(c, word)) {
      if (c->capacity > 0 ? uvch__slot_park(next_slot(c)) : uvch__blocks_park(c))
        return PARKED;
    } else {
      trim(c);
      if ((word & UVCH__CLOSED) != 0)
        return END;
      if (atomic_compare_exchange_strong_explicit(&c->word, &word, word | UVCH__AT_TAIL, memory_order_acq_rel,
                                                  memory_order_acquire)) /* [C1] */
        return PARKED;
    }
  }
}

/* Takes the park back. 0: a poster has it. */
static int unpark(struct uvch__core* c) {
  uint64_t word = load_word(c);

  while ((word & UVCH__AT_TAIL) != 0)
    if (atomic_compare_exchange_weak_explicit(&c->word, &word, word & ~UVCH__AT_TAIL, memory_order_acq_rel,
                                              memory_order_acquire)) /* [C1] */
      return 1;
  if (is_at(c, word))
    return 0;
  return c->capacity > 0 ? uvch__slot_unpark(next_slot(c)) : uvch__blocks_unpark(c);
}

/* Callbacks. */

static int is_started(const struct uvch__core* c) {
  return c->rx != NULL && (c->rx->flags & UVCH__ACTIVE) != 0;
}

/* A callback, whatever it closes or runs: the core and the message stay until the last one that was running has returned. */
static void call(struct uvch__core* c, int status, struct uvch__slot* s) {
  uvch_mpsc_receiver_t* rx = c->rx;

  c->in_hand++;
  rx->recv_cb(rx, status, s != NULL ? uvch__slot_item(c, s) : NULL);
  c->in_hand--;
}

/* After a callback that closed the receiver. */
static void leave(struct uvch__core* c) {
  if (c->capacity == 0)
    uvch__blocks_settle(c, -1);
  if (c->in_hand == 0)
    uvch__core_unref(c); /* the receiver's, left by uvch__receiver_close() */
}

/* 0: the core may be gone. */
static int deliver(struct uvch__core* c, struct uvch__slot* s) {
  c->next++;
  free_slot(c, s); /* the message stays: nobody claims this index of the ring before the head has gone two further */
  if (c->in_hand == 0)
    give_room(c);
  call(c, 0, s);
  if (c->rx == NULL) {
    leave(c);
    return 0;
  }
  if (c->in_hand == 0 &&
      atomic_load_explicit(&c->head, memory_order_relaxed) != c->next) { /* relaxed: our own; a nested run took more */
    give_room(c);
    ask(c);
    trim(c);
  }
  return 1;
}

static void deliver_end(struct uvch__core* c) {
  uvch__handle_set_active((uvch_handle_t*) c->rx, 0);
  call(c, UV_EOF, NULL);
  if (c->rx == NULL)
    leave(c);
}

static void fetch_ahead(const struct uvch__core* c, const struct uvch__slot* s) {
  if (c->capacity > 0)
    __builtin_prefetch((const char*) s + UVCH__AHEAD * c->stride, 1);
  else
    __builtin_prefetch((const char*) s + UVCH__AHEAD * c->stride, 0);
}

/* Delivers until there is nothing, the budget is spent, or the token has gone; then the core may be gone too. 1: there is more.
 * */
static int deliver_some(struct uvch__core* c, struct uvch__port* port) {
  struct uvch__slot* s;
  uint32_t n = 0;
  uint32_t dry = 0;

  for (;;) {
    s = front(c);
    if (s == NULL && linger(c, port, n - dry)) {
      dry = n;
      s = front(c);
    }
    if (s == NULL)
      return 0;
    fetch_ahead(c, s);
    if (!deliver(c, s) || port->hand != &c->ep || !is_started(c))
      return 0;
    if ((++n & (ASK_EVERY - 1)) == 0)
      ask(c);
    if (!uvch__budget_spend(port) || n == TURN_MESSAGES)
      return 1;
  }
}

static void rest(struct uvch__core* c, struct uvch__port* port) {
  enum park p = is_started(c) ? park(c) : READY;

  if (p == READY && is_started(c))
    return; /* the token stays in the hand: another turn */
  UVCH__CHECK(port->hand == &c->ep && !c->has_token);
  port->hand = NULL;
  c->has_token = p != PARKED;
  if (p == END)
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
  more = is_started(c) && deliver_some(c, port);
  if (port->hand == ep) {
    ask(c);
    if (!more)
      rest(c, port);
  }
}

/* The loop is gone, without a close of the receiver: senders are to know. */
static void drop(struct uvch__endpoint* ep) {
  struct uvch__core* c = uvch__core_of(ep);

  uvch__core_set(c, UVCH__CLOSED);
  ask(c);
  uvch__core_unref(c); /* the token's */
}

const struct uvch__endpoint_ops uvch__receiver_ops = {turn, drop};

/* The token is with the receiver, which has a loop: give it a turn if there is something, else park. */
static void use_token(struct uvch__core* c) {
  if (!c->has_token || !is_started(c))
    return;
  c->has_token = 0;
  if (park(c) != PARKED)
    uvch__port_append(uvch__home_port(&c->home), &c->ep);
}

void uvch__receiver_attach(uvch_mpsc_receiver_t* rx, struct uvch__port* port) {
  struct uvch__core* c = rx->core;

  if (uvch__home_attach(&c->home, port))
    c->has_token = 1;
  uvch__handle_attach((uvch_handle_t*) rx, port);
}

void uvch__receiver_refork(struct uvch__core* c) {
  c->has_token = 1;
  use_token(c);
}

static int check(const uvch_mpsc_receiver_t* rx) {
  if (rx == NULL || rx->type != UVCH_MPSC_RECEIVER)
    return UV_EINVAL;
  return (rx->flags & UVCH__CLOSING) != 0 ? UV_EBADF : 0;
}

int uvch_mpsc_recv_start(uvch_mpsc_receiver_t* rx, uvch_mpsc_recv_cb cb) {
  int err = cb == NULL ? UV_EINVAL : check(rx);

  if (err != 0)
    return err;
  if (rx->loop == NULL)
    return UV_EINVAL;
  if ((rx->flags & UVCH__ACTIVE) != 0)
    return UV_EALREADY;
  rx->recv_cb = cb;
  uvch__handle_set_active((uvch_handle_t*) rx, 1);
  use_token(rx->core);
  return 0;
}

int uvch_mpsc_recv_stop(uvch_mpsc_receiver_t* rx) {
  int err = check(rx);

  if (err == 0)
    uvch__handle_set_active((uvch_handle_t*) rx, 0);
  return err;
}

int uvch_mpsc_recv_shutdown(uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c;
  int err = check(rx);

  if (err != 0)
    return err;
  c = rx->core;
  if ((uvch__core_set(c, UVCH__CLOSED) & UVCH__AT_TAIL) != 0)
    c->has_token = 1;
  ask(c);
  use_token(c);
  return 0;
}

/* Closing. */

static void drop_item(struct uvch__core* c, struct uvch__slot* s) {
  if (c->drop != NULL)
    c->drop(uvch__slot_item(c, s), c->arg);
}

static int sweep_ring(struct uvch__core* c, uint64_t tail) {
  char* slots = atomic_load_explicit(&c->u.ring.slots, memory_order_acquire); /* [R1] */
  int parked = 0;
  uint64_t i;

  for (i = c->next; (i & UVCH__TAIL_MASK) != tail; i++) {
    struct uvch__slot* s = uvch__ring_slot(c, slots, i);
    unsigned int state = uvch__slot_kill(s);
    parked |= state == UVCH__PARKED;
    if (state == UVCH__READY)
      drop_item(c, s);
  }
  return parked;
}

void uvch__receiver_close(uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = rx->core;
  struct uvch__port* port = uvch__home_port(&c->home);
  uint64_t word = uvch__core_set(c, UVCH__CLOSED);
  uint64_t tail = uvch__word_tail(word);
  int token = c->has_token || (word & UVCH__AT_TAIL) != 0;

  c->rx = NULL;
  if (c->capacity > 0 ? sweep_ring(c, tail) : uvch__blocks_sweep(c, tail))
    token = 1;
  atomic_store_explicit(&c->head, tail, memory_order_release); /* [C2] */
  ask(c);
  if (port == NULL)
    token |= uvch__home_leave(&c->home);
  else if (port->hand == &c->ep)
    token = (port->hand = NULL) == NULL;
  if (token)
    uvch__core_unref(c);
  if (c->in_hand == 0)
    uvch__core_unref(c); /* the receiver's; else the callback that is running does it */
}

/* Calls that take one message. */

static int take(struct uvch__core* c, void* item) {
  struct uvch__slot* s = front(c);
  uint64_t word;

  if (s == NULL) {
    word = load_word(c);
    if (!is_at(c, word))
      return UV_EAGAIN;
    trim(c);
    return (word & UVCH__CLOSED) != 0 ? UV_EOF : UV_EAGAIN;
  }
  uvch__item_copy(item, uvch__slot_item(c, s), c->item_size);
  free_slot(c, s);
  c->next++;
  if (c->in_hand == 0)
    give_room(c);
  ask(c);
  return 0;
}

static int check_item(const uvch_mpsc_receiver_t* rx, const void* item) {
  int err = check(rx);

  if (err == 0 && item == NULL && ((struct uvch__core*) rx->core)->item_size > 0)
    err = UV_EINVAL;
  return err;
}

int uvch_mpsc_try_recv(uvch_mpsc_receiver_t* rx, void* item) {
  int err = check_item(rx, item);

  return err != 0 ? err : take(rx->core, item);
}

/* Sleeps until posted. 0: look again. */
static int sleep_until(struct uvch__core* c, uint64_t deadline) {
  struct uvch__queue* q = uvch__queue_get(c);
  struct uvch__parker* p = q != NULL ? uvch__queue_parker(c, q) : NULL;
  int err = 0;

  if (p == NULL)
    return UV_ENOMEM;
  if (uvch__home_arm(&c->home, p))
    c->has_token = 1;
  if (c->has_token)
    c->has_token = park(c) != PARKED;
  if (!c->has_token) {
    err = uvch__parker_wait(p, deadline);
    if (err != 0)
      c->has_token = (uint8_t) unpark(c);
  }
  if (uvch__home_disarm(&c->home))
    c->has_token = 1;
  else
    uvch__parker_unref(p); /* nobody will wake it */
  uvch__parker_unref(p);
  return err;
}

static int recv_wait(uvch_mpsc_receiver_t* rx, void* item, uint64_t timeout) {
  int err = check_item(rx, item);
  uint64_t deadline;

  if (err != 0)
    return err;
  if (rx->loop != NULL)
    return UV_EPERM;
  err = take(rx->core, item);
  if (err != UV_EAGAIN)
    return err;
  if (timeout == 0)
    return UV_ETIMEDOUT;
  deadline = timeout == UINT64_MAX ? timeout : uvch__parker_deadline(timeout);
  for (;;) {
    int slept = sleep_until(rx->core, deadline);
    err = take(rx->core, item); /* also after the time: what came is not left behind */
    if (err != UV_EAGAIN)
      return err;
    if (slept != 0)
      return slept;
  }
}

int uvch_mpsc_recv_wait(uvch_mpsc_receiver_t* rx, void* item) {
  return recv_wait(rx, item, UINT64_MAX);
}

int uvch_mpsc_recv_timedwait(uvch_mpsc_receiver_t* rx, void* item, uint64_t timeout) {
  return recv_wait(rx, item, timeout);
}
