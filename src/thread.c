/* SPDX-License-Identifier: MIT */
#include "thread.h"

#include "atomic.h"

static atomic_ulong last;
static _Thread_local unsigned long self;

unsigned long uvch__thread_self(void) {
  if (self == 0)
    self = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1; /* relaxed: only its uniqueness counts */
  return self;
}
