/* SPDX-License-Identifier: MIT
 *
 * The core of an mpsc channel: what both ends share. Private, on the heap, counted.
 *
 * The claim word
 *
 *    63                                               3     2         1        0
 *   +--------------------------------------------------+---------+---------+--------+
 *   | tail: index of the next message                  | AT_TAIL | WAITERS | CLOSED |
 *   +--------------------------------------------------+---------+---------+--------+
 *   CLOSED    nothing is claimed any more: no sender is left, or the receiver shut down or closed
 *   WAITERS   senders wait for room: try_send does not pass them
 *   AT_TAIL   the receiver is parked at the tail; who clears the bit has its token, and posts it
 *
 * A claim is one CAS: tail + 1, AT_TAIL cleared. The receiver is at the end when its index is the tail and CLOSED is set; so a
 * step that sets CLOSED takes AT_TAIL with it, and posts.
 *
 * Edges (slots [S], blocks [B], the port [H], homes [E] and waiting senders [W] have their own files):
 *   [C1] word    every change is an acq_rel read-modify-write; loads that decide are acquire, so that a claim sees what all
 *                before it did to the core
 *   [C2] head    stored with release by the receiver, after the slot before was given back; loaded with acquire by who claims
 *                that slot next
 *   [C3] cached  the head as some sender saw it: release and acquire, since it hands [C2] on to other senders
 *   [C4] counts  decremented acq_rel: who makes one 0 sees what all others did */
#ifndef UVCH_SRC_CORE_H
#define UVCH_SRC_CORE_H

#include <uvch/mpsc.h>

#include "atomic.h"
#include "block.h"
#include "home.h"
#include "slot.h"

#define UVCH__CLOSED ((uint64_t) 1)
#define UVCH__WAITERS ((uint64_t) 2)
#define UVCH__AT_TAIL ((uint64_t) 4)
#define UVCH__TAIL_SHIFT 3
#define UVCH__TAIL_ONE ((uint64_t) 1 << UVCH__TAIL_SHIFT)
#define UVCH__TAIL_MASK (UINT64_MAX >> UVCH__TAIL_SHIFT)

/* Slots that both ends fetch before they need them: a line of slots comes from the other end's processor. */
#define UVCH__AHEAD 32

struct uvch__queue;

/* Three groups a line apart: what is only read on the way of a message, what senders write, what the receiver writes. On its way
 * to a message that is there the receiver touches nothing of the second, nor senders of the third: each touch would pull a line
 * away. */
struct uvch__core {
  uint32_t item_size;
  uint32_t stride;
  uint32_t capacity; /* 0: unbounded */
  uint16_t offset;   /* of the message in its slot */
  uint16_t slack;    /* bytes between the allocation and this */
  struct uvch__home home;
  uvch_drop_cb drop;
  union {
    struct {
      _Atomic(char*) slots; /* made with the first message, see ring.c */
      uint64_t mask;
    } ring;
    struct {
      struct uvch__block*
          oldest; /* the receiver's: the oldest block that it has read to the end and that is not given back yet */
      struct uvch__block_head before; /* the empty block before the first */
    } list;
  } u;

  _Alignas(UVCH__LINE) atomic_uint_least64_t word;
  atomic_uint_least64_t cached; /* bounded: the head as last seen; unbounded: the limit, see block.h */
  _Atomic(struct uvch__block_head*) hint;
  _Atomic(struct uvch__block*) spare;
  atomic_int_least64_t debt;
  atomic_uint strong;                 /* senders, and requests that wait */
  atomic_uint refs;                   /* all strong ones together, the receiver, its token, and whoever looks in from outside */
  _Atomic(struct uvch__queue*) queue; /* made with the first wait */

  _Alignas(UVCH__LINE) struct uvch__endpoint ep;
  atomic_uint_least64_t head;              /* messages taken, as far as their room is given back */
  uint64_t next;                           /* the receiver's: messages taken */
  uvch_mpsc_receiver_t* rx;                /* the receiver's: NULL once closed */
  _Atomic(struct uvch__block_head*) first; /* unbounded: the block that the receiver reads */
  void* arg;
  atomic_uint wanted; /* see queue.h */
  uint16_t in_hand;   /* the receiver's: messages in callbacks that have not returned */
  uint8_t has_token;  /* the receiver's: the token is here, not in a park nor on its way */
};

_Static_assert(sizeof(struct uvch__core) == 3 * UVCH__LINE, "an idle channel is small");

static inline struct uvch__core* uvch__core_of(struct uvch__endpoint* ep) {
  return UVCH__CONTAINER(ep, struct uvch__core, ep);
}

static inline uint64_t uvch__word_tail(uint64_t word) {
  return word >> UVCH__TAIL_SHIFT;
}

/* Whether one more message goes in. The head may be from later than the word, and past its tail: there was room then. */
static inline int uvch__has_room(const struct uvch__core* c, uint64_t word, uint64_t head) {
  int64_t used = (int64_t) ((uvch__word_tail(word) - head) << UVCH__TAIL_SHIFT);
  return used < (int64_t) c->capacity << UVCH__TAIL_SHIFT;
}

static inline void* uvch__slot_item(const struct uvch__core* c, struct uvch__slot* s) {
  return (char*) s + c->offset;
}

/* block.h: the slots of an unbounded channel. */
static inline struct uvch__slot* uvch__block_slot(const struct uvch__core* c, struct uvch__block_head* h, uint64_t index) {
  struct uvch__block* b = UVCH__CONTAINER(h, struct uvch__block, head);
  return (struct uvch__slot*) (void*) (b->slots + (index - h->base) * c->stride);
}

/* The receiver's: the slot of the next message; NULL if its block is not linked yet. */
static inline struct uvch__slot* uvch__blocks_front(struct uvch__core* c) {
  struct uvch__block_head* h = atomic_load_explicit(&c->first, memory_order_relaxed); /* relaxed: the receiver's own */

  if (c->next - h->base >= h->count)
    h = uvch__blocks_next(c, h);
  return h != NULL ? uvch__block_slot(c, h, c->next) : NULL;
}

/* core.c: life. */
struct uvch__core* uvch__core_new(size_t item_size, size_t capacity, const uvch_mpsc_options_t* options);
void uvch__core_ref(struct uvch__core* c);
void uvch__core_unref(struct uvch__core* c);

/* uvch__core_set: sets bits of the word and takes AT_TAIL out. The word as it was: with AT_TAIL in it the token is the caller's.
 * */
uint64_t uvch__core_set(struct uvch__core* c, uint64_t bits);

/* uvch__strong_get: one more sender; UV_ENOMEM if there are too many. uvch__strong_put: one less, the last one closes. */
int uvch__strong_get(struct uvch__core* c);
void uvch__strong_put(struct uvch__core* c);

/* ring.c: the slots of a bounded channel. */
int uvch__ring_make(struct uvch__core* c);

static inline struct uvch__slot* uvch__ring_slot(const struct uvch__core* c, char* slots, uint64_t index) {
  return (struct uvch__slot*) (void*) (slots + (index & c->u.ring.mask) * c->stride);
}

/* send.c: putting a message in. */

/* uvch__fill: copies a message to a claimed slot and publishes it; posts if the receiver was parked there, or if its token came
 * with the claim. `s` is NULL if the receiver closed before the slot was made. 0 or UV_EPIPE. */
static inline int uvch__fill(struct uvch__core* c, struct uvch__slot* s, const void* item, int token) {
  unsigned int state = UVCH__DEAD;

  if (s != NULL) {
    __builtin_prefetch((char*) s + UVCH__AHEAD * c->stride, 1);
    uvch__item_copy(uvch__slot_item(c, s), item, c->item_size);
    state = uvch__slot_publish(s);
  }
  if (token || state == UVCH__PARKED)
    uvch__post(&c->home, &c->ep);
  return state == UVCH__DEAD ? UV_EPIPE : 0;
}

/* uvch__try_send: 0, UV_EAGAIN, UV_EPIPE or UV_ENOMEM. */
int uvch__try_send(struct uvch__core* c, const void* item);

/* A request of a forked child's port: done, unless it is still queued. */
void uvch__request_refork(uvch_mpsc_send_t* req, struct uvch__port* port);

/* receive.c: taking messages out. */
extern const struct uvch__endpoint_ops uvch__receiver_ops;
void uvch__receiver_attach(uvch_mpsc_receiver_t* rx, struct uvch__port* port);
void uvch__receiver_close(uvch_mpsc_receiver_t* rx);

/* The token is with the receiver again, wherever it was. */
void uvch__receiver_refork(struct uvch__core* c);

#endif
