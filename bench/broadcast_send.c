/* SPDX-License-Identifier: MIT
 *
 * Broadcasts: what a send costs the thread that sends, and how often it wakes the loops. */
#include "stage.h"

#define CLOCK_READS 1001

/* Bursts of `portion` messages, each after the one before has been delivered. */

static void serve_again(struct side* side) {
  uint64_t served = atomic_load_explicit(&side->served, memory_order_relaxed) + 1;

  side->left = side->count * side->stage->setup->portion;
  atomic_store_explicit(&side->served, served, memory_order_release);
}

static int is_served(struct side* side, uint64_t bursts) {
  return atomic_load_explicit(&side->served, memory_order_acquire) == bursts;
}

/* Warm-up included. */
static void open_bursts(struct stage* stage, const struct setup* setup, struct result* result, done_fn done) {
  unsigned int i;

  stage_open(stage, setup, result, done);
  stage->warm = setup->count / 5 + 1;
  stage->bursts = stage->warm + setup->count;
  for (i = 0; i < stage->loops; i++)
    stage->sides[i].left = stage->sides[i].count * setup->portion;
}

/* Returns how long it took. */
static uint64_t send_burst(struct stage* stage, uint64_t burst) {
  uint64_t size = stage->setup->portion;
  uint64_t start = uv_hrtime();

  send_all(stage, burst * size, (burst + 1) * size);
  return uv_hrtime() - start;
}

/* Loops that do not run meanwhile. */
void run_broadcast_send(const struct setup* setup, struct result* result) {
  static struct stage stage;
  uint64_t burst, took, spent = 0;
  struct side* side;

  open_bursts(&stage, setup, result, serve_again);
  place(0);
  for (burst = 0; burst < stage.bursts; burst++) {
    took = send_burst(&stage, burst);
    if (burst >= stage.warm)
      spent += took;
    for (side = stage.sides; side < stage.sides + stage.loops; side++) {
      while (!is_served(side, burst + 1))
        uv_run(&side->loop, UV_RUN_NOWAIT);
    }
  }
  result->messages = setup->count * setup->portion;
  result->wall_ns = spent;
  result->value = (double) spent / (double) result->messages;
}

/* Loops that always have something to do: each has a channel whose callback sends the next message for itself. */

static void work_on_uvch(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct side* side = (struct side*) rx->data;

  check(side->stage->result, status, "receive");
  check(side->stage->result, chan_try_send(&side->work, *(const uint64_t*) item), "send");
}

static void work_on_base(baseline_t* ch, uint64_t message) {
  struct side* side = (struct side*) ch->data;

  check(side->stage->result, chan_try_send(&side->work, message), "send");
}

static void open_work(struct side* side) {
  struct setup work = {.variant = side->stage->setup->variant, .capacity = 1};

  chan_open(&side->work, &side->loop, &work, work_on_uvch, work_on_base, side, side->stage->result);
  check(side->stage->result, chan_try_send(&side->work, 0), "send");
}

static void run_in_turn(void* arg) {
  struct stage* stage = (struct stage*) arg;
  struct side* side;

  place(1);
  uv_barrier_wait(&stage->ready);
  while (!atomic_load_explicit(&stage->over, memory_order_relaxed)) {
    for (side = stage->sides; side < stage->sides + stage->loops; side++)
      uv_run(&side->loop, UV_RUN_NOWAIT);
  }
}

/* What uv_hrtime() itself takes, so that it can be left out. */
static uint64_t clock_time(void) {
  static uint64_t times[CLOCK_READS];
  struct result clock;
  uint64_t start;
  size_t i;

  for (i = 0; i < CLOCK_READS; i++) {
    start = uv_hrtime();
    times[i] = uv_hrtime() - start;
  }
  set_percentiles(&clock, times, CLOCK_READS);
  return times[CLOCK_READS / 2];
}

void run_broadcast_awake(const struct setup* setup, struct result* result) {
  static struct stage stage;
  uint64_t burst, took, clock;
  uint64_t* times = (uint64_t*) xcalloc(result, setup->count, sizeof(*times));
  struct side* side;
  uv_thread_t thread;

  open_bursts(&stage, setup, result, serve_again);
  for (side = stage.sides; side < stage.sides + stage.loops; side++)
    open_work(side);
  place(0);
  clock = clock_time();
  check(result, uv_barrier_init(&stage.ready, 2), "uv_barrier_init");
  check(result, uv_thread_create(&thread, run_in_turn, &stage), "uv_thread_create");
  uv_barrier_wait(&stage.ready);
  for (burst = 0; burst < stage.bursts; burst++) {
    took = send_burst(&stage, burst);
    if (burst >= stage.warm)
      times[burst - stage.warm] = took > clock ? took - clock : 0;
    for (side = stage.sides; side < stage.sides + stage.loops; side++) {
      while (!is_served(side, burst + 1))
        ;
    }
  }
  atomic_store(&stage.over, 1);
  uv_thread_join(&thread);
  result->messages = setup->count;
  set_percentiles(result, times, setup->count);
  result->value *= 1000;
  result->p99 *= 1000;
}

/* Loops that sleep, both on one processor, the sender on another: else the kernel may run a loop instead of the rest of the send
 * that wakes it. */

static void serve_and_sleep(struct side* side) {
  uint64_t served;

  serve_again(side);
  served = atomic_load_explicit(&side->served, memory_order_relaxed);
  if (served == side->stage->warm)
    side->switches = thread_switches();
  if (served == side->stage->bursts) {
    side->switches = thread_switches() - side->switches;
    uv_stop(&side->loop);
  }
}

static void sleep_and_serve(void* arg) {
  struct side* side = (struct side*) arg;

  place(1);
  side->page = thread_page(side->stage->result);
  uv_barrier_wait(&side->stage->barrier);
  uv_run(&side->loop, UV_RUN_DEFAULT);
}

static void run_sleepers(struct stage* stage, uint64_t* times) {
  struct side* side;
  uint64_t burst, took;

  place(0);
  start_sides(stage, sleep_and_serve);
  uv_barrier_wait(&stage->barrier);
  for (burst = 0; burst < stage->bursts; burst++) {
    for (side = stage->sides; side < stage->sides + stage->loops; side++) {
      while (!is_served(side, burst) || !thread_sleeps(side->page))
        ;
    }
    took = send_burst(stage, burst);
    if (burst >= stage->warm)
      times[burst - stage->warm] = took;
  }
  join_sides(stage);
}

void run_broadcast_asleep(const struct setup* setup, struct result* result) {
  static struct stage stage;
  uint64_t* times = (uint64_t*) xcalloc(result, setup->count, sizeof(*times));

  open_bursts(&stage, setup, result, serve_and_sleep);
  run_sleepers(&stage, times);
  result->messages = setup->count;
  set_percentiles(result, times, setup->count);
}

/* A loop's thread sleeps once for each time that it is waked. */
void run_broadcast_wakes(const struct setup* setup, struct result* result) {
  static struct stage stage;
  uint64_t* times = (uint64_t*) xcalloc(result, setup->count, sizeof(*times));
  uint64_t wakes = 0;
  unsigned int i;

  open_bursts(&stage, setup, result, serve_and_sleep);
  run_sleepers(&stage, times);
  for (i = 0; i < stage.loops; i++)
    wakes += stage.sides[i].switches;
  result->messages = setup->count * setup->portion;
  result->value = (double) wakes / (double) (setup->count * stage.loops);
}
