/* SPDX-License-Identifier: MIT
 *
 * A slot: the place of one message, and where the receiver parks when that message is on its way.
 *
 *   EMPTY --publish--> READY --taken--> EMPTY
 *   EMPTY --park--> PARKED --publish--> READY: who published holds the receiver's token, and posts it
 *   EMPTY --follow--> FOLLOW --taken--> EMPTY: published with the slot before it
 *   any --receiver closes--> DEAD: who publishes finds it; a message that was published is dropped by who closes
 *
 * Publishing is an exchange, and that exchange is the whole wake-up: no fence, no flag, one wake-up per park.
 *
 * Several messages of one claim: all but the first are stored as FOLLOW, without an exchange, then the first is published, and
 * all of them with it. The receiver comes to a FOLLOW only past its first, and never parks there. Who closes goes from front to
 * back and keeps in mind whether the slot before was published: if not, a FOLLOW is not either, and stays with its sender, whose
 * exchange finds DEAD in the first. So a claim is taken as a whole or not at all.
 *
 * Edges:
 *   [S1] publish  exchange with READY, acq_rel: the message, and those that follow, are seen by who takes it [S2] or sweeps it
 *                 [S4]; finds [S3] and [S4]
 *   [S2] front    load, acquire
 *   [S3] park     CAS of EMPTY to PARKED, acq_rel: what the receiver wrote for its poster is seen by who publishes; a failure
 *                 is [S2]
 *   [S4] sweep    exchange with DEAD, acq_rel */
#ifndef UVCH_SRC_SLOT_H
#define UVCH_SRC_SLOT_H

#include <stddef.h>

#include "atomic.h"
#include "item.h"

enum { UVCH__EMPTY, UVCH__PARKED, UVCH__READY, UVCH__FOLLOW, UVCH__DEAD };

struct uvch__slot {
  atomic_uint state; /* the message lies after it, as far behind as its alignment asks */
};

static inline size_t uvch__slot_offset(size_t size) {
  size_t align = uvch__item_align(size);
  return align > sizeof(struct uvch__slot) ? align : sizeof(struct uvch__slot);
}

static inline size_t uvch__slot_stride(size_t size) {
  size_t align = uvch__item_align(size);
  size_t bytes = uvch__slot_offset(size) + size;

  if (align < _Alignof(struct uvch__slot))
    align = _Alignof(struct uvch__slot);
  return (bytes + align - 1) & ~(align - 1);
}

static inline unsigned int uvch__slot_publish(struct uvch__slot* s) {
  return atomic_exchange_explicit(&s->state, UVCH__READY, memory_order_acq_rel); /* [S1] */
}

/* relaxed: the publishing of the first one [S1] publishes it */
static inline void uvch__slot_follow(struct uvch__slot* s) {
  atomic_store_explicit(&s->state, UVCH__FOLLOW, memory_order_relaxed);
}

/* The receiver's, which does not come back to a DEAD one. */
static inline int uvch__slot_is_ready(struct uvch__slot* s) {
  return atomic_load_explicit(&s->state, memory_order_acquire) >= UVCH__READY; /* [S2] */
}

static inline int uvch__slot_park(struct uvch__slot* s) {
  unsigned int state = UVCH__EMPTY;
  return atomic_compare_exchange_strong_explicit(&s->state, &state, UVCH__PARKED, memory_order_acq_rel,
                                                 memory_order_acquire); /* [S3] */
}

static inline int uvch__slot_unpark(struct uvch__slot* s) {
  unsigned int state = UVCH__PARKED;
  return atomic_compare_exchange_strong_explicit(&s->state, &state, UVCH__EMPTY, memory_order_acq_rel,
                                                 memory_order_acquire); /* [S3] */
}

/* uvch__slot_kill: 1 if there was a message, which is the caller's now. `before`: whether there was one in the slot before it. */
static inline int uvch__slot_kill(struct uvch__slot* s, int before, int* parked) {
  unsigned int state = atomic_exchange_explicit(&s->state, UVCH__DEAD, memory_order_acq_rel); /* [S4] */

  *parked |= state == UVCH__PARKED;
  return state == UVCH__READY || (state == UVCH__FOLLOW && before);
}

#endif
