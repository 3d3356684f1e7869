/* SPDX-License-Identifier: MIT
 *
 * Runs the library's own sources under every interleaving of a few actors.
 *
 * This header is put in front of each source of the test by the compiler's option -include. It replaces the atomic operations by
 * ones that stop first and let a scheduler decide who goes on; so what runs is the code that ships, cut into steps: an atomic
 * operation and the plain code up to the next one. An actor, which stands for a thread, is a fiber; all of them share one real
 * thread. The scheduler goes through all sequences of its choices, depth first: it runs the program again from the start with the
 * choices of the last time, but for the last one that has an alternative.
 *
 * Memory orders count, see memory.c: what one actor did comes before what another one does only where an atomic operation, a lock
 * or a wait says so, by the orders that the sources name. Two accesses of the same memory of which nothing says that, one of them a
 * store, one of them not atomic, are a race, which fails the program whatever came of it; see races.c. To free a block counts as a
 * store to all of it. A load may read an older value, if it is not known that there is a newer one, as often as the program is run
 * with, see STEPS_STALE.
 *
 * Where that would take too long, a program may ask for a reduction: of the sequences that differ only in the order of steps
 * that do not see each other, at different places or loads, one is run. Steps that do are tried in both orders, and sleep sets
 * keep an order from being run twice.
 *
 * Memory comes from pages of their own, which nobody can touch once they are freed.
 *
 * What is not tried: values that are read before they are written (load buffering), stores of one place that get another order than
 * that in which they ran, accesses of one place in several sizes, a failing compare-exchange that reads an old value, a weak one
 * that fails more than once, fences. Stores of the same thread after a release, relaxed, do not go on with it, as in C++20. A load
 * goes back STORES_MAX values, and there are 3 of them in a sequence. */
#ifndef UVCH_TEST_MODEL_STEPS_H
#define UVCH_TEST_MODEL_STEPS_H

/* Their lock is not one of those that are tried. */
#define UVCH_NO_MISUSE_CHECKS 1

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <uv.h>

/* Actors and steps. */

#define STEPS_ACTORS 4
#define STEPS_BLOCKS 128

/* What a step does to its place. STEPS_FREE: to the whole block that begins there. STEPS_LOCK, STEPS_UNLOCK: it is a mutex, so an
 * unlocking is never tried the other way round with a locking. STEPS_COUNT: it changes a count, and only who makes it 0 learns
 * anything. */
enum steps_kind { STEPS_READ, STEPS_WRITE, STEPS_FREE, STEPS_LOCK, STEPS_UNLOCK, STEPS_COUNT };

/* A count of references of which the program has one up to its check, so nobody makes it 0: its changes do not see each other. */
extern const volatile void* steps_counted;

/* steps_at: the end of a step, and the beginning of the next one, at `where`, for fakes: it orders like an atomic operation, a load
 * with acquire or a change with acq_rel. Nothing outside of actors. */
void steps_at(const volatile void* where, enum steps_kind kind, const char* who);

/* steps_wait: the same, but the step is not begun before `is_ready(arg)`. If nobody is ready the program has failed. */
void steps_wait(const volatile void* where, enum steps_kind kind, const char* who, int (*is_ready)(void* arg), void* arg);

/* Mutexes; each locking and unlocking is a step, and who unlocks touches it once more after that. steps_holds: how many the actor
 * holds that runs. */
int steps_mutex_init(uv_mutex_t* mutex);
void steps_mutex_destroy(uv_mutex_t* mutex);
void steps_lock(uv_mutex_t* mutex, const char* who);
int steps_trylock(uv_mutex_t* mutex, const char* who); /* as uv_mutex_trylock() */
void steps_unlock(uv_mutex_t* mutex, const char* who);
int steps_holds(void);

/* steps_choose: 0 to count - 1, each in a sequence of its own. */
int steps_choose(int count);

/* steps_plain: loads or stores the bytes there, in code that the compiler does not tell of, as a callback of a test. What it races
 * with fails the program; if the compiler tells of nothing it is a step, so that it comes before and after what it races with. */
void steps_plain(const volatile void* where, size_t size, enum steps_kind kind, const char* who);

/* steps_self: which actor runs; -1 outside. steps_is_done: whether that one is. steps_others_are_done: all the others. */
int steps_self(void);
int steps_others_are_done(int actor);
int steps_is_done(int actor);

/* steps_fail: the program has failed: says so, with the choices that led there, and ends the process with 1. */
_Noreturn void steps_fail(const char* file, int line, const char* what);

#define steps_expect(condition) ((condition) ? (void) 0 : steps_fail(__FILE__, __LINE__, #condition))

/* Programs. */

struct steps_program {
  const char* name;
  void (*set_up)(void);
  void (*actors[STEPS_ACTORS])(void);
  void (*check)(void); /* after every sequence */
  int is_long;         /* 1, 2: it is run in fewer ways, the test says which */
};

/* Told to who runs programs in another process. */
struct steps_report {
  uint64_t sequences; /* run to their end */
  uint64_t classes;   /* of them, if they were to be counted */
  int preemptions;    /* at most that many in one of them; negative: any number */
  char failure[512];
};

/* How. STEPS_REDUCED: see above. STEPS_SHORT: that finds what to try by what was sure to come before what, which is far less; only
 * for programs where nobody undoes what another actor waits for. STEPS_WEAK << i: a weak compare-exchange of actor i that could succeed may fail, once.
 * STEPS_CLASSES: count the sequences that a reduction has to run. STEPS_STALE * n: up to n loads of one
 * sequence read a value that is not the newest, n up to 3. STEPS_AT_MOST(n): only sequences where not more than n times another
 * actor goes on than one that could, n up to 14; not with STEPS_REDUCED, which would leave out the wrong ones. From STEPS_OWN on the
 * bits are the program's. */
enum { STEPS_REDUCED = 1, STEPS_WEAK = 2, STEPS_SHORT = 32, STEPS_CLASSES = 128, STEPS_STALE = 256, STEPS_OWN = 16384 };
#define STEPS_STALE_MAX 4
#define STEPS_AT_MOST(n) (((n) + 1) * 1024)
#define STEPS_AT_MOST_MAX 16

/* steps_run: all sequences of a program. steps_replay: one of them, as a failure has printed it, with all its steps. */
void steps_run(const struct steps_program* program, int how, struct steps_report* report);
void steps_replay(const struct steps_program* program, int how, const char* choices);

/* steps_stale: how many stale loads, as bits of `how`: `n`, or what UVCH_STEPS_STALE says if that is more. */
int steps_stale(int n);

/* steps_be_quiet: failures are only put into the report. */
void steps_be_quiet(void);

/* Memory, of the library and of the tests; all of it is taken back before the next sequence. */
void* steps_calloc(size_t size);
void steps_free(void* ptr); /* no step */
int steps_blocks(void);     /* of the library, that are not freed */

#include "bugs.h"

extern enum steps_bug steps_bug;

static inline int steps_is(enum steps_bug bug, const char* who, const char* where) {
  return steps_bug == bug && strcmp(who, where) == 0;
}

static inline int steps_has(enum steps_bug bug) {
  return steps_bug == bug;
}

/* An order that is relaxed if that is the bug. */
static inline int steps_order(enum steps_bug bug, int order) {
  return steps_bug == bug ? (int) memory_order_relaxed : order;
}

/* Whether an operation that changes a word is a load and a store, as two steps. */
int steps_is_torn(const char* who);

/* After a change: `seen` is what the word was, as the caller will have it. A program need not have these two. */
void steps_bend(const char* who, void* word, void* seen);

/* steps_weak_fails: whether a weak compare-exchange that could succeed does not. */
int steps_weak_fails(void);

/* steps_hrtime: the time stands still but for actors that wait for a time: it may come at any step, and lets just that time pass. */
uint64_t steps_hrtime(void);
#define uv_hrtime steps_hrtime

int steps_is_closing(const uv_handle_t* handle);
#define uv_is_closing steps_is_closing

#define uv_mutex_init steps_mutex_init
#define uv_mutex_destroy steps_mutex_destroy
#define uv_mutex_lock(mutex) steps_lock((mutex), __func__)
#define uv_mutex_trylock(mutex) steps_trylock((mutex), __func__)
#define uv_mutex_unlock(mutex) steps_unlock((mutex), __func__)

int steps_cond_init(uv_cond_t* cond);
void steps_cond_wait(uv_cond_t* cond, uv_mutex_t* mutex, const char* who);
int steps_cond_timedwait(uv_cond_t* cond, uv_mutex_t* mutex, uint64_t timeout, const char* who);
void steps_cond_signal(uv_cond_t* cond, const char* who);

#define uv_cond_init steps_cond_init
#define uv_cond_destroy(cond) ((void) (cond))
#define uv_cond_wait(cond, mutex) steps_cond_wait((cond), (mutex), __func__)
#define uv_cond_timedwait(cond, mutex, timeout) steps_cond_timedwait((cond), (mutex), (timeout), __func__)
#define uv_cond_signal(cond) steps_cond_signal((cond), __func__)

/* The operations. */

#undef atomic_init
#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_strong_explicit

/* As bits, in the order of the memory. */
#define STEPS_WORD(obj)                 \
  union {                               \
    uint64_t bits;                      \
    __typeof__((void) 0, *(obj)) value; \
  }

/* steps_load, steps_store: a step each. */
uint64_t steps_load(const volatile void* where, size_t size, int order, const char* who);
void steps_store(volatile void* where, size_t size, uint64_t bits, int order, const char* who);

/* A change in two parts. steps_look: a step; what lies there. steps_changed: the change; what was there, as the caller will have
 * it. steps_kept: none, by a compare-exchange. */
uint64_t steps_look(const volatile void* where, size_t size, enum steps_kind kind, const char* who);
uint64_t steps_changed(volatile void* where, size_t size, uint64_t was, uint64_t bits, int order, const char* who);
void steps_kept(const volatile void* where, size_t size, int order, const char* who);

/* steps_init: no step. */
void steps_init(volatile void* where, size_t size, uint64_t bits);

#define atomic_init(obj, init)                                             \
  __extension__({                                                          \
    STEPS_WORD(obj) steps_init_word = {0};                                 \
    steps_init_word.value = (init);                                        \
    steps_init((obj), sizeof steps_init_word.value, steps_init_word.bits); \
  })

#define atomic_load_explicit(obj, order)                                                       \
  __extension__({                                                                              \
    STEPS_WORD(obj) steps_loaded;                                                              \
    steps_loaded.bits = steps_load((obj), sizeof steps_loaded.value, (int) (order), __func__); \
    steps_loaded.value;                                                                        \
  })

#define atomic_store_explicit(obj, wanted, order)                                              \
  __extension__({                                                                              \
    STEPS_WORD(obj) steps_stored = {0};                                                        \
    steps_stored.value = (wanted);                                                             \
    steps_store((obj), sizeof steps_stored.value, steps_stored.bits, (int) (order), __func__); \
  })

#define STEPS_CHANGE(obj, make, kind, order)                                                                                 \
  __extension__({                                                                                                            \
    STEPS_WORD(obj) steps_was;                                                                                               \
    STEPS_WORD(obj) steps_word = {0};                                                                                        \
    steps_was.bits = steps_look((obj), sizeof steps_was.value, (kind), __func__);                                            \
    steps_word.value = (make);                                                                                               \
    steps_was.bits = steps_changed((obj), sizeof steps_was.value, steps_was.bits, steps_word.bits, (int) (order), __func__); \
    steps_was.value;                                                                                                         \
  })

static inline enum steps_kind steps_counting(const volatile void* where) {
  return where == steps_counted ? STEPS_COUNT : STEPS_WRITE;
}

#define atomic_exchange_explicit(obj, value, order) STEPS_CHANGE(obj, value, STEPS_WRITE, order)
#define atomic_fetch_add_explicit(obj, n, order) STEPS_CHANGE(obj, steps_was.value + (n), steps_counting(obj), order)
#define atomic_fetch_sub_explicit(obj, n, order) STEPS_CHANGE(obj, steps_was.value - (n), steps_counting(obj), order)
#define atomic_fetch_or_explicit(obj, mask, order) STEPS_CHANGE(obj, steps_was.value | (mask), STEPS_WRITE, order)
#define atomic_fetch_and_explicit(obj, mask, order) STEPS_CHANGE(obj, steps_was.value&(mask), STEPS_WRITE, order)

#define STEPS_COMPARE(obj, expected, desired, may_fail, success, failure)                                                        \
  __extension__({                                                                                                                \
    STEPS_WORD(obj) steps_was;                                                                                                   \
    STEPS_WORD(obj) steps_word = {0};                                                                                            \
    uint64_t steps_found;                                                                                                        \
    int steps_same;                                                                                                              \
    steps_found = steps_was.bits = steps_look((obj), sizeof steps_was.value, STEPS_WRITE, __func__);                             \
    steps_same = steps_was.value == *(expected) && !((may_fail) && steps_weak_fails());                                          \
    if (steps_same) {                                                                                                            \
      steps_word.value = (desired);                                                                                              \
      steps_was.bits = steps_changed((obj), sizeof steps_was.value, steps_was.bits, steps_word.bits, (int) (success), __func__); \
    } else {                                                                                                                     \
      steps_kept((obj), sizeof steps_was.value, (int) (failure), __func__);                                                      \
    }                                                                                                                            \
    if (!steps_same || steps_was.bits != steps_found)                                                                            \
      *(expected) = steps_was.value;                                                                                             \
    steps_same;                                                                                                                  \
  })

#define atomic_compare_exchange_weak_explicit(obj, expected, desired, success, failure) \
  STEPS_COMPARE(obj, expected, desired, 1, success, failure)
#define atomic_compare_exchange_strong_explicit(obj, expected, desired, success, failure) \
  STEPS_COMPARE(obj, expected, desired, 0, success, failure)

/* Those that the library does with the compiler's own. */

#include "atomic.h"

#define uvch__ptr_load(p) atomic_load_explicit((p), memory_order_acquire)
#define uvch__ptr_take(p) atomic_exchange_explicit((p), NULL, memory_order_acq_rel)
#define uvch__flags_load(p) atomic_load_explicit((p), memory_order_relaxed)
#define uvch__flags_store(p, flags) atomic_store_explicit((p), (flags), memory_order_relaxed)

/* In the sources under test: a copy is plain loads and stores. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STEPS_HOOKED
#endif
#elif defined(__SANITIZE_THREAD__)
#define STEPS_HOOKED
#endif

void* steps_memcpy(void* to, const void* from, size_t size);
void* steps_memmove(void* to, const void* from, size_t size);
void* steps_memset(void* to, int value, size_t size);

#ifdef STEPS_HOOKED
#undef memcpy
#undef memmove
#undef memset
#define memcpy steps_memcpy
#define memmove steps_memmove
#define memset steps_memset
#endif

/* The library's own locks are mutexes too, but for the program that is about them, which puts the names in parentheses. */

#include "lock.h"

#define uvch__lock(lock) steps_lock(&(lock)->mutex, __func__)
#define uvch__unlock(lock) steps_unlock(&(lock)->mutex, __func__)

#endif
