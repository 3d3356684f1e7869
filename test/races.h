/* SPDX-License-Identifier: MIT
 *
 * Tells valgrind's race detectors, helgrind and drd, what atomic operations do, of which they know nothing: to them a release store
 * and an acquire load are plain accesses, two races and no order.
 *
 * tools/valgrind puts this header in front of each source by the compiler's option -include. It replaces the operations by ones that
 * say so before a release and after an acquire, and that take the word itself out of what is checked. The sources are untouched, and
 * no report is suppressed. What that cannot see: an acquire is taken to see all releases of that word so far, also later ones than
 * the one it has read from; so an order that is missing is found only where no other one comes by.
 *
 * One access of the library's is a race by the letter, and is taken out here by name: uv_is_closing() on another thread than the
 * loop's, see uvch__port_is_foreign(). */
#ifndef UVCH_TEST_RACES_H
#define UVCH_TEST_RACES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#ifdef RACES_DRD
#include <valgrind/drd.h>
#define RACES_IGNORE(address, size) ANNOTATE_BENIGN_RACE_SIZED((address), (size), "atomic")
#else
#include <valgrind/helgrind.h>
#define RACES_IGNORE(address, size) VALGRIND_HG_DISABLE_CHECKING((address), (size))
#endif

static inline void races_ignore(const volatile void* address, size_t size) {
  RACES_IGNORE((uintptr_t) address, size);
}

static inline void races_before(const volatile void* word, size_t size, int order) {
  races_ignore(word, size);
  if (order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST)
    ANNOTATE_HAPPENS_BEFORE((uintptr_t) word);
}

static inline void races_after(const volatile void* word, int order) {
  if (order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST)
    ANNOTATE_HAPPENS_AFTER((uintptr_t) word);
}

/* What a word holds, without _Atomic: the compilers' own operations take pointers to that, and it has the same bytes. */
#define RACES_TYPE(obj) __typeof__((void) 0, *(obj))
#define RACES_PLAIN(obj) ((RACES_TYPE(obj)*) (uintptr_t) (obj))

/* What an operation reads besides the word it reads before the release. */
#define RACES_CHANGE(word, operand, order, operation)         \
  __extension__({                                             \
    RACES_TYPE(word) races_operand = (operand);               \
    RACES_TYPE(word) races_result;                            \
    races_before((word), sizeof *(word), (order));            \
    races_result = operation((word), races_operand, (order)); \
    races_after((word), (order));                             \
    races_result;                                             \
  })

/* A name is not replaced again within its own replacement, so below each one is the real thing. */

#define __atomic_load_n(word, order)                        \
  __extension__({                                           \
    RACES_TYPE(word) races_result;                          \
    races_before((word), sizeof *(word), __ATOMIC_RELAXED); \
    races_result = __atomic_load_n((word), (order));        \
    races_after((word), (order));                           \
    races_result;                                           \
  })
#define __atomic_store_n(word, value, order)        \
  __extension__({                                   \
    RACES_TYPE(word) races_value = (value);         \
    races_before((word), sizeof *(word), (order));  \
    __atomic_store_n((word), races_value, (order)); \
  })
#define __atomic_compare_exchange_n(word, expected, desired, weak, success, failure)                            \
  __extension__({                                                                                               \
    RACES_TYPE(word) races_seen = *(expected);                                                                  \
    RACES_TYPE(word) races_desired = (desired);                                                                 \
    _Bool races_same;                                                                                           \
    races_before((word), sizeof *(word), (success));                                                            \
    races_same = __atomic_compare_exchange_n((word), &races_seen, races_desired, (weak), (success), (failure)); \
    races_after((word), races_same ? (success) : (failure));                                                    \
    if (!races_same)                                                                                            \
      *(expected) = races_seen;                                                                                 \
    races_same;                                                                                                 \
  })
#define __atomic_exchange_n(word, value, order) RACES_CHANGE(word, value, order, __atomic_exchange_n)
#define __atomic_fetch_add(word, value, order) RACES_CHANGE(word, value, order, __atomic_fetch_add)
#define __atomic_fetch_sub(word, value, order) RACES_CHANGE(word, value, order, __atomic_fetch_sub)
#define __atomic_fetch_or(word, value, order) RACES_CHANGE(word, value, order, __atomic_fetch_or)
#define __atomic_fetch_and(word, value, order) RACES_CHANGE(word, value, order, __atomic_fetch_and)

/* The operations. */

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_exchange_explicit
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and
#undef atomic_fetch_and_explicit
#undef atomic_compare_exchange_weak
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_strong_explicit

#define atomic_load_explicit(obj, order) __atomic_load_n(RACES_PLAIN(obj), (int) (order))
#define atomic_store_explicit(obj, value, order) __atomic_store_n(RACES_PLAIN(obj), (value), (int) (order))
#define atomic_exchange_explicit(obj, value, order) __atomic_exchange_n(RACES_PLAIN(obj), (value), (int) (order))
#define atomic_fetch_add_explicit(obj, value, order) __atomic_fetch_add(RACES_PLAIN(obj), (value), (int) (order))
#define atomic_fetch_sub_explicit(obj, value, order) __atomic_fetch_sub(RACES_PLAIN(obj), (value), (int) (order))
#define atomic_fetch_or_explicit(obj, value, order) __atomic_fetch_or(RACES_PLAIN(obj), (value), (int) (order))
#define atomic_fetch_and_explicit(obj, value, order) __atomic_fetch_and(RACES_PLAIN(obj), (value), (int) (order))
#define atomic_compare_exchange_weak_explicit(obj, expected, desired, success, failure) \
  __atomic_compare_exchange_n(RACES_PLAIN(obj), (expected), (desired), 1, (int) (success), (int) (failure))
#define atomic_compare_exchange_strong_explicit(obj, expected, desired, success, failure) \
  __atomic_compare_exchange_n(RACES_PLAIN(obj), (expected), (desired), 0, (int) (success), (int) (failure))

/* Those of the tests. */
#define atomic_load(obj) atomic_load_explicit(obj, memory_order_seq_cst)
#define atomic_store(obj, value) atomic_store_explicit(obj, value, memory_order_seq_cst)
#define atomic_exchange(obj, value) atomic_exchange_explicit(obj, value, memory_order_seq_cst)
#define atomic_fetch_add(obj, value) atomic_fetch_add_explicit(obj, value, memory_order_seq_cst)
#define atomic_fetch_sub(obj, value) atomic_fetch_sub_explicit(obj, value, memory_order_seq_cst)
#define atomic_fetch_or(obj, value) atomic_fetch_or_explicit(obj, value, memory_order_seq_cst)
#define atomic_fetch_and(obj, value) atomic_fetch_and_explicit(obj, value, memory_order_seq_cst)
#define atomic_compare_exchange_weak(obj, expected, desired) \
  atomic_compare_exchange_weak_explicit(obj, expected, desired, memory_order_seq_cst, memory_order_seq_cst)
#define atomic_compare_exchange_strong(obj, expected, desired) \
  atomic_compare_exchange_strong_explicit(obj, expected, desired, memory_order_seq_cst, memory_order_seq_cst)

#define uv_is_closing(handle) (races_ignore(&(handle)->flags, sizeof(handle)->flags), uv_is_closing(handle))

#endif
