/* SPDX-License-Identifier: MIT */
#include "lock.h"

#include "hot.h"

#define POLLS 100

int uvch__lock_init(struct uvch__lock* lock) {
  int err = uv_mutex_init(&lock->mutex);

  uvch__hot_default(); /* asked here first: the threads that use the lock may be pinned */
  if (err != 0)
    return err;
  err = uv_cond_init(&lock->cond);
  if (err != 0)
    uv_mutex_destroy(&lock->mutex);
  atomic_init(&lock->word, UVCH__FREE);
  return err;
}

void uvch__lock_destroy(struct uvch__lock* lock) {
  uv_cond_destroy(&lock->cond);
  uv_mutex_destroy(&lock->mutex);
}

/* Not on one processor, where whoever has the lock does not run meanwhile. */
static int try_for_a_while(struct uvch__lock* lock) {
  int left = uvch__hot_default() > 0 ? POLLS : 0;

  while (left-- > 0) {
    unsigned int word = atomic_load_explicit(&lock->word, memory_order_relaxed); /* relaxed: the CAS checks it */
    if (word == UVCH__FREE && atomic_compare_exchange_weak_explicit(&lock->word, &word, UVCH__TAKEN, memory_order_acquire,
                                                                    memory_order_relaxed)) /* [X1] */
      return 1;
    uvch__relax();
  }
  return 0;
}

void uvch__lock_sleep(struct uvch__lock* lock) {
  if (try_for_a_while(lock))
    return;
  uv_mutex_lock(&lock->mutex);
  while (atomic_exchange_explicit(&lock->word, UVCH__SLEPT_AT, memory_order_acquire) != UVCH__FREE) /* [X1] */
    uv_cond_wait(&lock->cond, &lock->mutex);
  uv_mutex_unlock(&lock->mutex);
}

void uvch__lock_wake(struct uvch__lock* lock) {
  uv_mutex_lock(&lock->mutex); /* who sleeps is inside its wait */
  uv_mutex_unlock(&lock->mutex);
  uv_cond_signal(&lock->cond); /* now, so that it does not run into the mutex */
}
