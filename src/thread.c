/* SPDX-License-Identifier: MIT */
#include "thread.h"

#include "atomic.h"

UVCH__THREAD_LOCAL unsigned long uvch__thread_number;

unsigned long uvch__thread_new(void) {
  static atomic_ulong last;

  uvch__thread_number = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1; /* relaxed: only its uniqueness counts */
  return uvch__thread_number;
}
