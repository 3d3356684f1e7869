/* SPDX-License-Identifier: MIT
 *
 * The library's own sources, with threads that are interrupted where it hurts.
 *
 * This header is put in front of each source by the compiler's option -include. It replaces the atomic operations, the locks and the
 * signals by ones that now and then, before and after, give the processor away, spin for some hundred pauses, or sleep for some
 * microseconds. Which of them is drawn from a generator that each thread has for itself. So another thread comes in between any two
 * steps sooner or later, and the windows that are a few instructions wide become as wide as a time slice.
 *
 * It also can put a bug in, to see that it is found: see yields_bug. */
#ifndef UVCH_TEST_STRESS_YIELDS_H
#define UVCH_TEST_STRESS_YIELDS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* yields_start: from now on. `rate`: one interruption in so many places on the average; 0: none. Before there are threads. */
void yields_start(uint64_t seed, uint32_t rate);

/* The bug: the operations that change a word in the function of this name are a load and a store, with an interruption in between.
 * "uv_cond_signal": one in 64 of these gets lost. NULL: none. Set before there are threads. */
extern const char* yields_bug;

/* Places that the thread still goes through without an interruption. */
extern _Thread_local uint32_t yields_left;

void yields_interrupt(void);
int yields_is_bug(const char* where); /* yields_bug is set */
int yields_is_lost(void);             /* the same */

static inline void yields_at(void) {
  if (--yields_left == 0)
    yields_interrupt();
}

/* A name is not replaced again within its own replacement, so below each one is the real thing. */

#define YIELDS_AROUND(type, call) \
  __extension__({                 \
    type yields_result;           \
    yields_at();                  \
    yields_result = (call);       \
    yields_at();                  \
    yields_result;                \
  })

#define YIELDS_AROUND_VOID(call) ((void) (yields_at(), (call), yields_at()))

/* What a word holds, without _Atomic: the compilers' own operations take pointers to that, and it has the same bytes. */
#define YIELDS_TYPE(obj) __typeof__((void) 0, *(obj))
#define YIELDS_PLAIN(obj) ((YIELDS_TYPE(obj)*) (uintptr_t) (obj))

#define YIELDS_CHANGE(obj, operation, make)                              \
  __extension__({                                                        \
    YIELDS_TYPE(obj) yields_old;                                         \
    yields_at();                                                         \
    if (yields_bug != NULL && yields_is_bug(__func__)) {                 \
      yields_old = __atomic_load_n(YIELDS_PLAIN(obj), __ATOMIC_ACQUIRE); \
      yields_interrupt();                                                \
      __atomic_store_n(YIELDS_PLAIN(obj), (make), __ATOMIC_RELEASE);     \
    } else {                                                             \
      yields_old = (operation);                                          \
    }                                                                    \
    yields_at();                                                         \
    yields_old;                                                          \
  })

#define YIELDS_COMPARE(obj, expected, desired, weak, success, failure)                                                     \
  __extension__({                                                                                                          \
    _Bool yields_same;                                                                                                     \
    yields_at();                                                                                                           \
    if (yields_bug != NULL && yields_is_bug(__func__)) {                                                                   \
      YIELDS_TYPE(obj) yields_old = __atomic_load_n(YIELDS_PLAIN(obj), __ATOMIC_ACQUIRE);                                  \
      yields_same = yields_old == *(expected);                                                                             \
      *(expected) = yields_old;                                                                                            \
      yields_interrupt();                                                                                                  \
      if (yields_same)                                                                                                     \
        __atomic_store_n(YIELDS_PLAIN(obj), (desired), __ATOMIC_RELEASE);                                                  \
    } else {                                                                                                               \
      yields_same =                                                                                                        \
          __atomic_compare_exchange_n(YIELDS_PLAIN(obj), (expected), (desired), (weak), (int) (success), (int) (failure)); \
    }                                                                                                                      \
    yields_at();                                                                                                           \
    yields_same;                                                                                                           \
  })

/* The operations. */

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_strong_explicit

#define atomic_load_explicit(obj, order) YIELDS_AROUND(YIELDS_TYPE(obj), __atomic_load_n(YIELDS_PLAIN(obj), (int) (order)))
#define atomic_store_explicit(obj, value, order) YIELDS_AROUND_VOID(__atomic_store_n(YIELDS_PLAIN(obj), (value), (int) (order)))
#define atomic_exchange_explicit(obj, value, order) \
  YIELDS_CHANGE(obj, __atomic_exchange_n(YIELDS_PLAIN(obj), (value), (int) (order)), (value))
#define atomic_fetch_add_explicit(obj, value, order) \
  YIELDS_CHANGE(obj, __atomic_fetch_add(YIELDS_PLAIN(obj), (value), (int) (order)), yields_old + (value))
#define atomic_fetch_sub_explicit(obj, value, order) \
  YIELDS_CHANGE(obj, __atomic_fetch_sub(YIELDS_PLAIN(obj), (value), (int) (order)), yields_old - (value))
#define atomic_fetch_or_explicit(obj, value, order) \
  YIELDS_CHANGE(obj, __atomic_fetch_or(YIELDS_PLAIN(obj), (value), (int) (order)), yields_old | (value))
#define atomic_fetch_and_explicit(obj, value, order) \
  YIELDS_CHANGE(obj, __atomic_fetch_and(YIELDS_PLAIN(obj), (value), (int) (order)), yields_old&(value))
#define atomic_compare_exchange_weak_explicit(obj, expected, desired, success, failure) \
  YIELDS_COMPARE(obj, expected, desired, 1, success, failure)
#define atomic_compare_exchange_strong_explicit(obj, expected, desired, success, failure) \
  YIELDS_COMPARE(obj, expected, desired, 0, success, failure)

/* Those of src/atomic.h on words that are not _Atomic are functions there. */
#include "atomic.h"

#define uvch__ptr_load(p) YIELDS_AROUND(void*, uvch__ptr_load(p))
#define uvch__ptr_take(p) YIELDS_AROUND(void*, uvch__ptr_take(p))
#define uvch__flags_load(flags) YIELDS_AROUND(unsigned int, uvch__flags_load(flags))
#define uvch__flags_store(flags, value) YIELDS_AROUND_VOID(uvch__flags_store(flags, value))

/* Locks and signals. */

#define uv_mutex_lock(mutex) YIELDS_AROUND_VOID(uv_mutex_lock(mutex))
#define uv_mutex_trylock(mutex) YIELDS_AROUND(int, uv_mutex_trylock(mutex))
#define uv_mutex_unlock(mutex) YIELDS_AROUND_VOID(uv_mutex_unlock(mutex))
#define uv_cond_wait(cond, mutex) YIELDS_AROUND_VOID(uv_cond_wait(cond, mutex))
#define uv_cond_timedwait(cond, mutex, timeout) YIELDS_AROUND(int, uv_cond_timedwait(cond, mutex, timeout))
#define uv_cond_signal(cond) \
  YIELDS_AROUND_VOID(yields_bug != NULL && yields_is_bug("uv_cond_signal") && yields_is_lost() ? (void) 0 : uv_cond_signal(cond))
#define uv_async_send(async) YIELDS_AROUND(int, uv_async_send(async))
#define uv_is_closing(handle) YIELDS_AROUND(int, uv_is_closing(handle))

#endif
