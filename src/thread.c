/* SPDX-License-Identifier: MIT */
#include "thread.h"

#include "atomic.h"
#include "misuse.h"

UVCH__THREAD_LOCAL unsigned long uvch__thread_number;

unsigned long uvch__thread_new(void) {
  static atomic_ulong last;

  uvch__thread_number = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1; /* relaxed: only its uniqueness counts */
  uvch__thread_made(uvch__thread_number);
  return uvch__thread_number;
}
