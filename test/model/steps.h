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
 * The steps of one sequence come one after the other for everybody, so memory orders are not tried here.
 *
 * Where that would take too long, a program may ask for a reduction: of the sequences that differ only in the order of steps
 * that do not see each other, at different places or loads, one is run. Steps that do are tried in both orders, and sleep sets
 * keep an order from being run twice.
 *
 * Memory comes from pages of their own, which nobody can touch once they are freed. */
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

/* What a step does to its place. STEPS_FREE: to the whole block that begins there. STEPS_LOCK, STEPS_UNLOCK: it is a mutex, so an
 * unlocking is never tried the other way round with a locking. STEPS_COUNT: it changes a count, and only who makes it 0 learns
 * anything. */
enum steps_kind { STEPS_READ, STEPS_WRITE, STEPS_FREE, STEPS_LOCK, STEPS_UNLOCK, STEPS_COUNT };

/* A count of references of which the program has one up to its check, so nobody makes it 0: its changes do not see each other. */
extern const volatile void* steps_counted;

/* steps_at: the end of a step, and the beginning of the next one, at `where`. Nothing outside of actors. */
void steps_at(const volatile void* where, enum steps_kind kind, const char* who);

/* steps_wait: the same, but the step is not begun before `is_ready(arg)`. If nobody is ready the program has failed. */
void steps_wait(const volatile void* where, enum steps_kind kind, const char* who, int (*is_ready)(void* arg), void* arg);

/* Mutexes; each locking and unlocking is a step, and who unlocks touches it once more after that. steps_holds: how many the actor
 * holds that runs. */
int steps_mutex_init(uv_mutex_t* mutex);
void steps_mutex_destroy(uv_mutex_t* mutex);
void steps_lock(uv_mutex_t* mutex, const char* who);
void steps_unlock(uv_mutex_t* mutex, const char* who);
int steps_holds(void);

/* steps_choose: 0 to count - 1, each in a sequence of its own. */
int steps_choose(int count);

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
  char failure[256];
};

/* How. STEPS_REDUCED: see above. STEPS_SHORT: that finds what to try by what was sure to come before what, which is far less; only
 * for programs where nobody undoes what another actor waits for. STEPS_WEAK << i: a weak compare-exchange of actor i that could succeed may fail, once.
 * STEPS_CLASSES: count the sequences that a reduction has to run. From STEPS_OWN on the bits are the program's. */
enum { STEPS_REDUCED = 1, STEPS_WEAK = 2, STEPS_SHORT = 32, STEPS_CLASSES = 128, STEPS_OWN = 256 };

/* steps_run: all sequences of a program. steps_replay: one of them, as a failure has printed it, with all its steps. */
void steps_run(const struct steps_program* program, int how, struct steps_report* report);
void steps_replay(const struct steps_program* program, int how, const char* choices);

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

/* Whether an operation that changes a word is a load and a store, as two steps. */
int steps_is_torn(const char* who);

/* After a change: `seen` is what the word was, as the caller will have it. */
void steps_bend(const char* who, void* word, void* seen);

/* steps_weak_fails: whether a weak compare-exchange that could succeed does not. */
int steps_weak_fails(void);

static inline uint64_t steps_hrtime(void) {
  return 0;
}
#define uv_hrtime steps_hrtime

int steps_is_closing(const uv_handle_t* handle);
#define uv_is_closing steps_is_closing

#define uv_mutex_init steps_mutex_init
#define uv_mutex_destroy steps_mutex_destroy
#define uv_mutex_lock(mutex) steps_lock((mutex), __func__)
#define uv_mutex_unlock(mutex) steps_unlock((mutex), __func__)

int steps_cond_init(uv_cond_t* cond);
void steps_cond_wait(uv_cond_t* cond, uv_mutex_t* mutex, const char* who);
void steps_cond_signal(uv_cond_t* cond, const char* who);

#define uv_cond_init steps_cond_init
#define uv_cond_destroy(cond) ((void) (cond))
#define uv_cond_wait(cond, mutex) steps_cond_wait((cond), (mutex), __func__)
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

#define atomic_init(obj, value) ((void) (*(obj) = (value)))

#define atomic_load_explicit(obj, order) ((void) steps_at((obj), STEPS_READ, __func__), *(obj))

#define atomic_store_explicit(obj, value, order)        \
  __extension__({                                       \
    __typeof__((void) 0, *(obj)) steps_value = (value); \
    steps_at((obj), STEPS_WRITE, __func__);             \
    *(obj) = steps_value;                               \
    (void) 0;                                           \
  })

#define STEPS_CHANGE(obj, make, kind)                         \
  __extension__({                                             \
    __typeof__((void) 0, *(obj)) steps_old;                   \
    steps_at((obj), (kind), __func__);                        \
    steps_old = *(obj);                                       \
    if (steps_bug != STEPS_NO_BUG && steps_is_torn(__func__)) \
      steps_at((obj), STEPS_WRITE, __func__);                 \
    *(obj) = (make);                                          \
    if (steps_bug != STEPS_NO_BUG)                            \
      steps_bend(__func__, (obj), &steps_old);                \
    steps_old;                                                \
  })

static inline enum steps_kind steps_counting(const volatile void* where) {
  return where == steps_counted ? STEPS_COUNT : STEPS_WRITE;
}

#define atomic_exchange_explicit(obj, value, order) STEPS_CHANGE(obj, value, STEPS_WRITE)
#define atomic_fetch_add_explicit(obj, value, order) STEPS_CHANGE(obj, steps_old + (value), steps_counting(obj))
#define atomic_fetch_sub_explicit(obj, value, order) STEPS_CHANGE(obj, steps_old - (value), steps_counting(obj))
#define atomic_fetch_or_explicit(obj, value, order) STEPS_CHANGE(obj, steps_old | (value), STEPS_WRITE)
#define atomic_fetch_and_explicit(obj, value, order) STEPS_CHANGE(obj, steps_old&(value), STEPS_WRITE)

#define STEPS_COMPARE(obj, expected, desired, may_fail)                        \
  __extension__({                                                              \
    int steps_same;                                                            \
    steps_at((obj), STEPS_WRITE, __func__);                                    \
    steps_same = *(obj) == *(expected) && !((may_fail) && steps_weak_fails()); \
    if (!steps_same)                                                           \
      *(expected) = *(obj);                                                    \
    if (steps_same && steps_bug != STEPS_NO_BUG && steps_is_torn(__func__))    \
      steps_at((obj), STEPS_WRITE, __func__);                                  \
    if (steps_same) {                                                          \
      *(obj) = (desired);                                                      \
      if (steps_bug != STEPS_NO_BUG)                                           \
        steps_bend(__func__, (obj), (expected));                               \
    }                                                                          \
    steps_same;                                                                \
  })

#define atomic_compare_exchange_weak_explicit(obj, expected, desired, success, failure) STEPS_COMPARE(obj, expected, desired, 1)
#define atomic_compare_exchange_strong_explicit(obj, expected, desired, success, failure) STEPS_COMPARE(obj, expected, desired, 0)

/* The library's own locks are mutexes too, but for the program that is about them, which puts the names in parentheses. */

#include "lock.h"

#define uvch__lock(lock) steps_lock(&(lock)->mutex, __func__)
#define uvch__unlock(lock) steps_unlock(&(lock)->mutex, __func__)

/* What some bugs do not see. */

#include "oneshot.h"

enum { STEPS_VALUE = UVCH__VALUE, STEPS_SHUT = UVCH__SHUT, STEPS_WATCHED = UVCH__WATCHED, STEPS_SENDING = UVCH__SENDING };

#undef UVCH__VALUE
#undef UVCH__SHUT
#undef UVCH__WATCHED
#undef UVCH__SENDING

static inline uint32_t steps_bit(uint32_t bit, enum steps_bug bug, const char* who, const char* where) {
  return steps_is(bug, who, where) ? 0 : bit;
}

#define UVCH__VALUE steps_bit(STEPS_VALUE, STEPS_CLOSE_IGNORES_VALUE, __func__, "leave")
#define UVCH__SHUT                                                          \
  (steps_bit(STEPS_SHUT, STEPS_CLOSED_DOES_NOT_LOOK, __func__, "is_over") & \
   steps_bit(STEPS_SHUT, STEPS_SEND_IGNORES_SHUT, __func__, "finish"))
#define UVCH__WATCHED steps_bit(STEPS_WATCHED, STEPS_SEND_LEAVES_WATCHERS, __func__, "finish")
#define UVCH__SENDING steps_bit(STEPS_SENDING, STEPS_REPLY_IGNORES_SENDING, __func__, "finish")

#define uvch__oneshot_is_done(state)                                      \
  (!steps_is(STEPS_PARK_DOES_NOT_LOOK, __func__, "uvch__oneshot_park") && \
   !steps_is(STEPS_SENT_DOES_NOT_LOOK, __func__, "uvch__oneshot_sent") && uvch__oneshot_is_done(state))
#define uvch__oneshot_load(core) \
  (steps_is(STEPS_SAME_GENERATION, __func__, "uvch__oneshot_begin") ? (uint32_t) 0 : uvch__oneshot_load(core))

#endif
