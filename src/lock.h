/* SPDX-License-Identifier: MIT
 *
 * A lock that is held for a few instructions. Taking it while it is free, and giving it up, are one atomic operation each, in
 * line: half of what a uv_mutex_t costs, with which a send would spend most of its time. Who finds it taken polls for as long as
 * a few holders need, then sleeps.
 *
 *   FREE --lock--> TAKEN --unlock--> FREE
 *   any  --sleep--> SLEPT_AT: taken, and perhaps some thread sleeps; or, if it was FREE, the sleeper has it now
 *
 * A sleeper sets SLEPT_AT under the mutex, which it gives up only in uv_cond_wait(). Who finds SLEPT_AT when it unlocks wakes one
 * under the mutex, so it does not come too early. That one sets SLEPT_AT again, since there may be more.
 *
 * Who unlocks may touch the lock after another thread has it, so needs a reference to its memory.
 *
 * Edges:
 *   [X1] lock     CAS from FREE, or exchange that finds it, acquire
 *   [X2] unlock   exchange with FREE, release */
#ifndef UVCH_SRC_LOCK_H
#define UVCH_SRC_LOCK_H

#include <uv.h>

#include "atomic.h"

enum { UVCH__FREE, UVCH__TAKEN, UVCH__SLEPT_AT };

struct uvch__lock {
  atomic_uint word;
  uv_mutex_t mutex;
  uv_cond_t cond;
};

/* uvch__lock_init: 0 or an error. In a forked child it makes a lock new that another thread may have held. */
int uvch__lock_init(struct uvch__lock* lock);
void uvch__lock_destroy(struct uvch__lock* lock);

/* What is rare of the two below. */
void uvch__lock_sleep(struct uvch__lock* lock);
void uvch__lock_wake(struct uvch__lock* lock);

static inline void uvch__lock(struct uvch__lock* lock) {
  unsigned int word = UVCH__FREE;

  if (!atomic_compare_exchange_strong_explicit(&lock->word, &word, UVCH__TAKEN, memory_order_acquire,
                                               memory_order_relaxed)) /* [X1] */
    uvch__lock_sleep(lock);
}

static inline void uvch__unlock(struct uvch__lock* lock) {
  if (atomic_exchange_explicit(&lock->word, UVCH__FREE, memory_order_release) == UVCH__SLEPT_AT) /* [X2] */
    uvch__lock_wake(lock);
}

#endif
