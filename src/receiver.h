/* SPDX-License-Identifier: MIT
 *
 * The receiver's side of a channel, all of it on the one thread that has the receiver: park.c where it waits, deliver.c callbacks
 * on a loop, take.c calls that take messages, receive.c the rest. */
#ifndef UVCH_SRC_RECEIVER_H
#define UVCH_SRC_RECEIVER_H

#include "core.h"
#include "debug.h"
#include "handle.h"
#include "queue.h"

static inline uint64_t uvch__load_word(struct uvch__core* c) {
  return atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
}

static inline int uvch__is_at(const struct uvch__core* c, uint64_t word) {
  return uvch__distance(c, c->next, uvch__word_tail(c, word)) == 0;
}

/* The receiver is at the tail. */
static inline int uvch__is_end(const struct uvch__core* c, uint64_t word) {
  return (word & UVCH__CLOSED) != 0 && uvch__word_reserved(c, word) == 0;
}

/* Statistics: messages between two looks of a busy receiver at how much is queued; a power of two. A look pulls the senders' line
 * over: one for each turn cost a twentieth of the rate. */
#define UVCH__LOOK_EVERY 4096u

static inline uint64_t uvch__depth(struct uvch__core* c) {
  return uvch__distance(c, c->next, uvch__word_tail(c, uvch__load_word(c)));
}

/* The slot of the next message, or NULL if it has none yet. */
UVCH__INLINE struct uvch__slot* uvch__next_slot(struct uvch__core* c) {
  char* slots;

  if (c->capacity == 0)
    return uvch__blocks_front(c);
  slots = atomic_load_explicit(&c->u.ring.slots, memory_order_acquire); /* [R1] */
  return slots != NULL ? uvch__ring_slot(c, slots, c->next) : NULL;
}

/* The slot of the next message if that is there. */
UVCH__INLINE struct uvch__slot* uvch__front(struct uvch__core* c) {
  struct uvch__slot* s = uvch__next_slot(c);
  return s != NULL && uvch__slot_is_ready(s) ? s : NULL;
}

/* Room is given back in order: only while no message before is in a callback. */
static inline void uvch__give_room(struct uvch__core* c) {
  UVCH__CHECK(c->in_hand == 0);
  atomic_store_explicit(&c->head, c->next, memory_order_release); /* [C2] */
}

UVCH__INLINE void uvch__free_slots(struct uvch__core* c, struct uvch__slot* s, size_t n) {
  size_t i;

  for (i = 0; c->capacity > 0 && i < n; i++) { /* relaxed: [C2] of a later message publishes it */
    struct uvch__slot* free = (struct uvch__slot*) (void*) ((char*) s + i * c->stride);
    atomic_store_explicit(&free->state, UVCH__EMPTY, memory_order_relaxed);
  }
}

static inline void uvch__ask_room(struct uvch__core* c) {
  if (c->capacity > 0)
    uvch__ask(c);
}

static inline void uvch__trim(struct uvch__core* c) {
  if (c->capacity == 0)
    uvch__blocks_trim(c);
}

static inline int uvch__is_started(const struct uvch__core* c) {
  return c->rx != NULL && (c->rx->flags & UVCH__ACTIVE) != 0;
}

/* uvch__check_receiver: 0, UV_EINVAL (not a receiver), UV_EBADF (closed). */
static inline int uvch__check_receiver(const uvch_mpsc_receiver_t* rx) {
  if (rx == NULL || rx->type != UVCH_MPSC_RECEIVER)
    return UV_EINVAL;
  return UVCH__USE(rx, (rx->flags & UVCH__CLOSING) != 0 ? UV_EBADF : 0);
}

/* uvch__park: nothing is there: parks where the next message will come, so that its sender posts. PARKED: the token is gone. */
enum uvch__park { UVCH__IS_PARKED, UVCH__IS_READY, UVCH__IS_END };
enum uvch__park uvch__park(struct uvch__core* c);

/* uvch__unpark: takes the park back. 0: a poster has it. */
int uvch__unpark(struct uvch__core* c);

/* For statistics: that the receiver was waked, if it was. */
void uvch__note_wakeup(struct uvch__core* c);

#endif
