/* SPDX-License-Identifier: MIT
 *
 * Where the receiver waits: in the slot of the next message if that is claimed, else in the word. */
#include "receiver.h"

void uvch__note_wakeup(struct uvch__core* c) {
  if (c->is_parked) /* relaxed: a number that only the receiver changes */
    atomic_store_explicit(&c->wakeups, atomic_load_explicit(&c->wakeups, memory_order_relaxed) + 1, memory_order_relaxed);
  c->is_parked = 0;
}

/* Nothing is there: park where the next message will come, so that its sender posts. Somebody else's step makes it try again. */
static enum uvch__park try_park(struct uvch__core* c) {
  for (;;) {
    uint64_t word = uvch__load_word(c);
    if (uvch__front(c) != NULL)
      return UVCH__IS_READY;
    if (!uvch__is_at(c, word)) {
      if (c->capacity > 0 ? uvch__slot_park(uvch__next_slot(c)) : uvch__blocks_park(c))
        return UVCH__IS_PARKED;
    } else {
      uvch__trim(c);
      if (uvch__is_end(c, word))
        return UVCH__IS_END;
      if (atomic_compare_exchange_strong_explicit(&c->word, &word, word | UVCH__AT_TAIL, memory_order_acq_rel,
                                                  memory_order_acquire)) /* [C1] */
        return UVCH__IS_PARKED;
    }
  }
}

enum uvch__park uvch__park(struct uvch__core* c) {
  enum uvch__park p;

  c->is_parked = 1; /* before: from then on a poster may have another thread look */
  p = try_park(c);
  if (p != UVCH__IS_PARKED)
    c->is_parked = 0;
  return p;
}

/* Takes the park back. 0: a poster has it. */
int uvch__unpark(struct uvch__core* c) {
  uint64_t word = uvch__load_word(c);

  while ((word & UVCH__AT_TAIL) != 0)
    if (atomic_compare_exchange_weak_explicit(&c->word, &word, word & ~UVCH__AT_TAIL, memory_order_acq_rel,
                                              memory_order_acquire)) /* [C1] */
      return 1;
  if (uvch__is_at(c, word))
    return 0;
  return c->capacity > 0 ? uvch__slot_unpark(uvch__next_slot(c)) : uvch__blocks_unpark(c);
}
