/* SPDX-License-Identifier: MIT
 *
 * Atomics: the only file that includes <stdatomic.h>. The order of every operation is written where the operation is. */
#ifndef UVCH_SRC_ATOMIC_H
#define UVCH_SRC_ATOMIC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* No two threads write within one line of this size without need. */
#define UVCH__LINE 64

/* Small functions with constant arguments on the way of every message: a compiler that makes one copy of them for all callers costs
 * a tenth of the rate. */
#define UVCH__INLINE static inline __attribute__((always_inline))

/* And large ones that would make a small caller save registers which its other way does not need. */
#define UVCH__NOINLINE static __attribute__((noinline))

/* Tells the processor that this thread polls. */
static inline void uvch__relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ __volatile__("yield");
#endif
}

/* Asks for a line that is going to be written. (For plain x86-64 compilers make a fetch to read of __builtin_prefetch(p, 1).) */
static inline void uvch__prefetch_to_write(const void* p) {
#if defined(__x86_64__)
  __asm__ __volatile__("prefetchw %0" : : "m"(*(const char*) p));
#else
  __builtin_prefetch(p, 1);
#endif
}

/* Public structs hold no _Atomic, so a sender's pointer is read and taken away with the compiler's own operations. */
static inline void* uvch__ptr_load(void* const* p) {
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void* uvch__ptr_take(void** p) {
  return __atomic_exchange_n(p, NULL, __ATOMIC_ACQ_REL);
}

/* So are a handle's flags, where another thread than its loop's may look. relaxed: it looks at no more than that. */
static inline unsigned int uvch__flags_load(const unsigned int* flags) {
  return __atomic_load_n(flags, __ATOMIC_RELAXED);
}

static inline void uvch__flags_store(unsigned int* flags, unsigned int value) {
  __atomic_store_n(flags, value, __ATOMIC_RELAXED);
}

#endif
