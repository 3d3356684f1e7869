/* SPDX-License-Identifier: MIT */
#include <sched.h>
#include <string.h>
#include <time.h>

#define PAUSES 400
#define SLEEP 30000 /* ns, at most */

const char* yields_bug;
_Thread_local uint32_t yields_left = 1;

static uint64_t seed;
static uint32_t rate;
static unsigned int threads;
static _Thread_local uint64_t state; /* 0: the thread is new here */

static uint64_t draw(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static void begin(void) {
  uint64_t number = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);

  state = (seed + number) * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

void yields_start(uint64_t new_seed, uint32_t new_rate) {
  seed = new_seed;
  rate = new_rate;
}

static void spin(uint64_t pauses) {
  while (pauses-- > 0)
    uvch__relax();
}

static void nap(uint64_t ns) {
  struct timespec time = {0, (long) ns};

  (void) nanosleep(&time, NULL);
}

void yields_interrupt(void) {
  uint64_t what;

  if (rate == 0) {
    yields_left = UINT32_MAX;
    return;
  }
  if (state == 0)
    begin();
  what = draw();
  yields_left = (uint32_t) (1 + (what >> 32) % (2 * (uint64_t) rate));
  if (what % 64 < 2)
    nap(draw() % SLEEP);
  else if (what % 64 < 32)
    spin(draw() % PAUSES);
  else
    sched_yield();
}

int yields_is_bug(const char* where) {
  return strcmp(where, yields_bug) == 0;
}

int yields_is_lost(void) {
  if (state == 0)
    begin();
  return draw() % 64 == 0;
}
