/* SPDX-License-Identifier: MIT */
#include "hot.h"

#include "atomic.h"

#define DEFAULT 50000 /* ns */

/* Asked once: the answer is about the calling thread, and threads that are pinned would each find one processor. */
uint64_t uvch__hot_default(void) {
  static atomic_uint processors;
  unsigned int n = atomic_load_explicit(&processors, memory_order_relaxed); /* relaxed: a number that stays */

  if (n == 0) {
    n = uv_available_parallelism();
    atomic_store_explicit(&processors, n, memory_order_relaxed); /* relaxed: as above */
  }
  return n > 1 ? DEFAULT : 0;
}
