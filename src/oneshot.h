/* SPDX-License-Identifier: MIT
 *
 * The core of a oneshot: what both ends share. Private, on the heap; one line of memory if the value is small.
 *
 * The state word
 *
 *    31           8      7         6         5          4            3         2       1        0
 *   +--------------+---------+---------+---------+------------+---------+------+---------+-------+
 *   | generation   | SENDING | WATCHED | IN_PARK | TOKEN_GONE | RX_GONE | SHUT | TX_GONE | VALUE |
 *   +--------------+---------+---------+---------+------------+---------+------+---------+-------+
 *   VALUE       the sender has put the value in
 *   TX_GONE     the sender is used up: it sent, failed to, or was closed
 *   SHUT        no send can succeed any more
 *   RX_GONE     the receiver has let go
 *   TOKEN_GONE  so has the token, see home.h
 *   IN_PARK     the token is here: whoever makes the outcome takes it, and posts it
 *   WATCHED     somebody waits for the end of the receiver, see watcher.h
 *   SENDING     a call's message waits for room: its server still touches the core, see call.c
 *
 *                send                                  TX_GONE, RX_GONE, TOKEN_GONE: whose step
 *      0 ------------------> VALUE TX_GONE             makes the three complete frees the core
 *      |  close (sender)
 *      +-------------------> TX_GONE
 *      |  shutdown, close (receiver), cancel
 *      +-------------------> SHUT --- send, close (sender) ---> SHUT TX_GONE
 *
 * So the first of these steps decides, and the outcome never changes: VALUE means the value, TX_GONE or SHUT without it UV_EOF.
 * Whether it was taken is known to the receiver alone.
 *
 * The sender writes the value before the step that sets VALUE; if that finds SHUT, nobody reads what was written. A send is the
 * sender's last touch of the core; it goes on with the token only, if that was here.
 *
 * A core that nobody uses is kept for the next oneshot, with the next generation, so that a copy of a used-up sender is found out.
 *
 * Edges:
 *   [O1] state   every change is an acq_rel read-modify-write, as long as more than one has the core; loads that decide are
 *                acquire. So the value is seen by who finds VALUE, and who frees sees what all others did
 *   [O2] side    CAS, release, by who makes it; acquire by who finds it */
#ifndef UVCH_SRC_ONESHOT_H
#define UVCH_SRC_ONESHOT_H

#include <uvch/oneshot.h>

#include "atomic.h"
#include "home.h"
#include "watcher.h"

#define UVCH__VALUE 1u
#define UVCH__TX_GONE 2u
#define UVCH__SHUT 4u
#define UVCH__RX_GONE 8u
#define UVCH__TOKEN_GONE 16u
#define UVCH__ALL_GONE (UVCH__TX_GONE | UVCH__RX_GONE | UVCH__TOKEN_GONE)
#define UVCH__IN_PARK 32u
#define UVCH__WATCHED 64u
#define UVCH__SENDING 128u
#define UVCH__GENERATION 256u

/* What most oneshots do not have. It stays with the core. */
struct uvch__oneshot_side {
  uvch_drop_cb drop;
  void* arg;
  struct uvch__watchers watchers;
};

struct uvch__oneshot {
  atomic_uint_least32_t state;
  uint8_t class;               /* of its size */
  uint8_t slack;               /* bytes between the allocation and this */
  unsigned char has_token : 1; /* the receiver's: the token is here, not in the park nor on its way */
  unsigned char is_taken : 1;  /* the receiver's: it has had the outcome */
  unsigned char in_hand : 1;   /* the receiver's: the callback has not returned */
  struct uvch__endpoint ep;
  struct uvch__home home;
  void* rx; /* the receiver's: what the outcome goes to; NULL once closed */
  _Atomic(struct uvch__oneshot_side*) side;
  _Alignas(max_align_t) char item[16]; /* or more, see class */
};

_Static_assert(sizeof(struct uvch__oneshot) <= UVCH__LINE, "one line for a small value");

static inline struct uvch__oneshot* uvch__oneshot_of(struct uvch__endpoint* ep) {
  return UVCH__CONTAINER(ep, struct uvch__oneshot, ep);
}

static inline uint32_t uvch__oneshot_load(struct uvch__oneshot* c) {
  return atomic_load_explicit(&c->state, memory_order_acquire); /* [O1] */
}

/* Whether the outcome is there. */
static inline int uvch__oneshot_is_done(uint32_t state) {
  return (state & (UVCH__TX_GONE | UVCH__SHUT)) != 0;
}

/* Bits that are set while nobody else has the core. */
static inline void uvch__oneshot_preset(struct uvch__oneshot* c, uint32_t bits) {
  /* relaxed: it becomes known by a message, or by a return */
  atomic_store_explicit(&c->state, atomic_load_explicit(&c->state, memory_order_relaxed) | bits, memory_order_relaxed);
}

/* uvch__oneshot_new: a core for one value; the receiver has the token. `port` is the receiver's, or NULL. NULL: no memory. The
 * port's thread. */
struct uvch__oneshot* uvch__oneshot_new(struct uvch__port* port, const struct uvch__endpoint_ops* ops, size_t item_size);

/* uvch__oneshot_begin: the same with a core that nobody else has: the next generation, for a sender that does not know it yet. */
void uvch__oneshot_begin(struct uvch__oneshot* c);

/* uvch__oneshot_sender: the sender of a new core. */
static inline void uvch__oneshot_sender(struct uvch__oneshot* c, size_t item_size, uvch_oneshot_sender_t* tx) {
  tx->core = c;
  tx->item_size = (uint32_t) item_size;
  tx->generation = atomic_load_explicit(&c->state, memory_order_relaxed) & ~(UVCH__GENERATION - 1); /* relaxed: not shared yet */
}

/* uvch__oneshot_on_drop: who gets a value that is not delivered. Before the sender is used. 0 or UV_ENOMEM. */
int uvch__oneshot_on_drop(struct uvch__oneshot* c, uvch_drop_cb drop, void* arg);

/* uvch__oneshot_drop_item: gives the value to the drop function. 0: there is none. */
int uvch__oneshot_drop_item(struct uvch__oneshot* c);

/* uvch__oneshot_side: made if there is none; NULL: no memory. Any thread. */
struct uvch__oneshot_side* uvch__oneshot_side(struct uvch__oneshot* c);

/* uvch__oneshot_let_go: sets some of the bits of UVCH__ALL_GONE. The core may be gone after it. `port`: what the core is given
 * back to, by the port's thread; NULL on any other. */
void uvch__oneshot_let_go(struct uvch__oneshot* c, uint32_t bits, struct uvch__port* port);

/* uvch__oneshot_shut: no send succeeds any more, and who waits for that is told; takes the park back, if it is not SENDING. The
 * state as it was. */
uint32_t uvch__oneshot_shut(struct uvch__oneshot* c);

/* uvch__oneshot_park: the token goes into the park. 0: the outcome is there. */
int uvch__oneshot_park(struct uvch__oneshot* c);

/* uvch__oneshot_unpark: takes it back. 0: a poster has it. */
int uvch__oneshot_unpark(struct uvch__oneshot* c);

/* uvch__oneshot_sent: a call's message is not SENDING any more. `bits`: 0, or TX_GONE if it has come back, and its sender with it.
 * The token is in the park, so the core is there up to here. Any thread. */
void uvch__oneshot_sent(struct uvch__oneshot* c, uint32_t bits);

/* uvch__oneshot_unsend: the same if nobody else has the core. The token is the caller's. */
void uvch__oneshot_unsend(struct uvch__oneshot* c, uint32_t bits);

/* uvch__oneshot_refork: in a forked child no thread watches any more. */
void uvch__oneshot_refork(struct uvch__oneshot* c);

/* uvch__oneshot_recv_until: waits for the outcome at `p`. As uvch_oneshot_recv_timedwait(). */
int uvch__oneshot_recv_until(uvch_oneshot_receiver_t* rx, void* item, struct uvch__parker* p, uint64_t deadline);

/* uvch__oneshot_core: what a sender belongs to; NULL if it is used up. */
struct uvch__oneshot* uvch__oneshot_core(const uvch_oneshot_sender_t* tx);

#endif
