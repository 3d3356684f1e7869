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

/* Tells the processor that this thread polls. */
static inline void uvch__relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ __volatile__("yield");
#endif
}

/* Public structs hold no _Atomic, so a sender's pointer is read and taken away with the compiler's own operations. */
static inline void* uvch__ptr_load(void* const* p) {
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void* uvch__ptr_take(void** p) {
  return __atomic_exchange_n(p, NULL, __ATOMIC_ACQ_REL);
}

#endif
