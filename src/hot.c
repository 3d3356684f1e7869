/* SPDX-License-Identifier: MIT */
#include "hot.h"

#include <sched.h>

#include "atomic.h"

#define DEFAULT 50000  /* ns */
#define SAMPLE 1000000 /* ns between two looks at what the process has used */
#define CROWD_PAUSE 64 /* times as long as it took to come back */

/* What all threads know of their one processor. Numbers, each alone: a torn pair misjudges one sample. */
static struct {
  _Atomic(uint64_t) sampled_at;
  _Atomic(uint64_t) used; /* ns of processor time, then */
  _Atomic(uint64_t) quiet_until;
} crowd;

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

static uint64_t processor_time(void) {
  uv_rusage_t usage;

  if (uv_getrusage(&usage) != 0)
    return 0;
  return ((uint64_t) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
          (uint64_t) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)) *
         1000;
}

static uint64_t number(_Atomic(uint64_t)* n) {
  return atomic_load_explicit(n, memory_order_relaxed); /* relaxed: see crowd */
}

static void set_number(_Atomic(uint64_t)* n, uint64_t to) {
  atomic_store_explicit(n, to, memory_order_relaxed); /* relaxed: see crowd */
}

static void sample(uint64_t now) {
  if (now - number(&crowd.sampled_at) < SAMPLE)
    return;
  set_number(&crowd.used, processor_time());
  set_number(&crowd.sampled_at, now);
}

/* It took long to come back. If this process had the processor meanwhile, that is its own affair; but another one's threads have
 * no message for us, and who gives way to them pays with its share of the time. */
static void judge(uint64_t began, uint64_t ended) {
  uint64_t used = processor_time() - number(&crowd.used);

  if (used < (ended - number(&crowd.sampled_at)) / 4 * 3)
    set_number(&crowd.quiet_until, ended + CROWD_PAUSE * (ended - began));
}

int uvch__give_way(struct uvch__hot* h) {
  uint64_t began;
  uint64_t ended;

  if (!h->gives_way || uvch__backoff_skip(&h->backoff))
    return 0;
  began = uv_hrtime();
  if (began < number(&crowd.quiet_until))
    return 0;
  sample(began);
  sched_yield();
  ended = uv_hrtime();
  uvch__backoff_miss(&h->backoff);
  if (ended - began < UVCH__HOT_DESCHEDULED)
    return 1;
  judge(began, ended);
  return UVCH__LATE;
}
