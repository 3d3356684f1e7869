/* SPDX-License-Identifier: MIT
 *
 * Watched values that receivers on loops follow: how fast a thread changes them, and how often that wakes the loops. */
#include "watch.h"

#include <stdatomic.h>

#define LOOPS 2
#define PHASES 2 /* the first one warms up */

struct side;

/* A receiver of either kind. */
struct viewer {
  struct side* side;
  uint64_t last; /* the number of the value that it was shown last */
  uvch_watch_receiver_t rx;
  byhand_viewer_t base;
};

/* A loop with its receivers. */
struct side {
  _Alignas(128) uv_loop_t loop;
  struct stage* stage;
  unsigned int number;
  byhand_spot_t spot;
  struct viewer* viewers;
  size_t count;
  size_t left;    /* receivers that have not been shown the value `until` */
  uint64_t until; /* the last of a phase, or of a burst */
  uint64_t shown;
  void (*done)(struct side* side); /* when nobody is left */
  int page;                        /* see thread_page() */
  uint64_t switches;               /* how often its thread has slept, from the end of the warm-up on */
  uv_thread_t thread;
  _Alignas(128) atomic_uint_fast64_t served; /* bursts */
};

struct stage {
  const struct setup* setup;
  struct result* result;
  struct watched w;
  struct side sides[LOOPS];
  unsigned int loops; /* that have receivers */
  uint64_t bursts;
  uint64_t warm;
  uv_barrier_t barrier;
};

/* Receiving. */

static inline void viewer_see(struct viewer* v, const void* value) {
  struct side* side = v->side;
  struct result* result = side->stage->result;
  uint64_t number = value_number(value, side->stage->setup->size, result);

  if (number <= v->last)
    fail(result, "an older value than before, or the same twice");
  v->last = number;
  side->shown++;
  if (number > side->until)
    fail(result, "a value that was not sent");
  if (number == side->until && --side->left == 0)
    side->done(side);
}

static void on_uvch(uvch_watch_receiver_t* rx, int status, const void* value) {
  struct viewer* v = (struct viewer*) rx->data;

  check(v->side->stage->result, status, "watch");
  viewer_see(v, value);
}

static void on_byhand(byhand_viewer_t* viewer, const void* value) {
  viewer_see((struct viewer*) viewer->data, value);
}

/* Making. */

static void viewer_open(struct viewer* v, struct side* side) {
  struct stage* stage = side->stage;

  v->side = side;
  v->base.data = v;
  if (stage->setup->variant == BASELINE) {
    byhand_board_view(&side->spot, &v->base, on_byhand);
    return;
  }
  check(stage->result, uvch_watch_subscribe(&side->loop, &v->rx, &stage->w.tx), "uvch_watch_subscribe");
  v->rx.data = v;
  check(stage->result, uvch_watch_start(&v->rx, on_uvch, 0), "uvch_watch_start");
}

static void side_open(struct side* side, struct stage* stage, unsigned int number, void (*done)(struct side* side)) {
  struct result* result = stage->result;
  size_t i;

  side->stage = stage;
  side->number = number;
  side->done = done;
  side->count = stage->setup->receivers / stage->loops;
  side->left = side->count;
  side->viewers = (struct viewer*) xcalloc(result, side->count, sizeof(*side->viewers));
  check(result, uv_loop_init(&side->loop), "uv_loop_init");
  if (stage->setup->variant == BASELINE)
    check(result, byhand_board_follow(&side->loop, &stage->w.board, &side->spot), "byhand_board_follow");
  for (i = 0; i < side->count; i++)
    viewer_open(&side->viewers[i], side);
  if (stage->setup->variant == COLD)
    check(result, uvch_loop_configure(&side->loop, UVCH_LOOP_HOT_MAX, 0), "uvch_loop_configure");
}

static void stage_open(struct stage* stage, const struct setup* setup, struct result* result, void (*done)(struct side* side)) {
  unsigned int i;

  stage->setup = setup;
  stage->result = result;
  stage->loops = setup->receivers < LOOPS ? (unsigned int) setup->receivers : LOOPS;
  watched_open(&stage->w, setup, 0, result);
  for (i = 0; i < stage->loops; i++)
    side_open(&stage->sides[i], stage, i, done);
  check(result, uv_barrier_init(&stage->barrier, stage->loops + 1), "uv_barrier_init");
}

static void start_sides(struct stage* stage, uv_thread_cb serve) {
  unsigned int i;

  for (i = 0; i < stage->loops; i++)
    check(stage->result, uv_thread_create(&stage->sides[i].thread, serve, &stage->sides[i]), "uv_thread_create");
}

static void join_sides(struct stage* stage) {
  unsigned int i;

  for (i = 0; i < stage->loops; i++)
    uv_thread_join(&stage->sides[i].thread);
}

/* Sending: the values with the numbers after `number` up to `end`. Called with constants for the kind. */
static inline void send_each(struct stage* stage, uint64_t number, uint64_t end, int is_byhand) {
  static struct value value;
  size_t size = stage->setup->size;
  int rc;

  while (number != end) {
    value_set(&value, size, ++number);
    rc = is_byhand ? byhand_board_send(&stage->w.board, &value) : uvch_watch_send(&stage->w.tx, &value);
    check(stage->result, rc, "send");
  }
}

static void send_all(struct stage* stage, uint64_t number, uint64_t end) {
  if (stage->setup->variant == BASELINE)
    send_each(stage, number, end, 1);
  else
    send_each(stage, number, end, 0);
}

/* Updates: a fixed number of sends; every receiver has to be shown the last one, but the clock is the sender's. */

static uint64_t phase_size(const struct setup* setup, int phase) {
  return phase == PHASES - 1 ? setup->count : setup->count / 5 + 1;
}

static void stop(struct side* side) {
  uv_stop(&side->loop);
}

/* The loops together on a processor that the sender does not need, or each on its own, and the sender beside one of them. */
static void place_side(const struct side* side) {
  place(side->stage->setup->manner == BESIDE_A_LOOP ? side->number : 1);
}

static void place_sender(const struct stage* stage) {
  place(stage->setup->manner == BESIDE_A_LOOP ? stage->loops : 0);
}

static void follow(void* arg) {
  struct side* side = (struct side*) arg;
  int phase;

  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      place_side(side);
    side->left = side->count;
    side->until += phase_size(side->stage->setup, phase);
    side->shown = 0;
    uv_barrier_wait(&side->stage->barrier);
    uv_run(&side->loop, UV_RUN_DEFAULT);
  }
  uv_run(&side->loop, UV_RUN_NOWAIT);
}

void run_watch_updates(const struct setup* setup, struct result* result) {
  static struct stage stage;
  uint64_t number = 0, spent = 0;
  struct meter meter;
  unsigned int i;
  int phase;

  stage_open(&stage, setup, result, stop);
  start_sides(&stage, follow);
  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1) {
      place_sender(&stage);
      meter_start(&meter);
    }
    uv_barrier_wait(&stage.barrier);
    spent = uv_hrtime();
    send_all(&stage, number, number + phase_size(setup, phase));
    spent = uv_hrtime() - spent;
    number += phase_size(setup, phase);
  }
  join_sides(&stage);
  meter_stop(&meter, result);
  for (i = 0; i < stage.loops; i++)
    result->found += stage.sides[i].shown;
  result->looks = setup->count * setup->receivers;
  result->wall_ns = spent;
  result->messages = setup->count;
  result->value = (double) spent / (double) setup->count;
}

/* Bursts of `portion` to loops that sleep. */

static int is_served(struct side* side, uint64_t bursts) {
  return atomic_load_explicit(&side->served, memory_order_acquire) == bursts;
}

static void serve_and_sleep(struct side* side) {
  struct stage* stage = side->stage;
  uint64_t served = atomic_load_explicit(&side->served, memory_order_relaxed) + 1;

  side->left = side->count;
  side->until += stage->setup->portion;
  if (served == stage->warm)
    side->switches = thread_switches();
  if (served == stage->bursts) {
    side->switches = thread_switches() - side->switches;
    uv_stop(&side->loop);
  }
  atomic_store_explicit(&side->served, served, memory_order_release);
}

static void sleep_and_serve(void* arg) {
  struct side* side = (struct side*) arg;

  place(1);
  side->page = thread_page(side->stage->result);
  uv_barrier_wait(&side->stage->barrier);
  uv_run(&side->loop, UV_RUN_DEFAULT);
}

static uint64_t send_bursts(struct stage* stage) {
  uint64_t burst, start, spent = 0, size = stage->setup->portion;
  struct side* side;

  for (burst = 0; burst < stage->bursts; burst++) {
    for (side = stage->sides; side < stage->sides + stage->loops; side++) {
      while (!is_served(side, burst) || !thread_sleeps(side->page))
        ;
    }
    start = uv_hrtime();
    send_all(stage, burst * size, (burst + 1) * size);
    if (burst >= stage->warm)
      spent += uv_hrtime() - start;
  }
  return spent;
}

void run_watch_wakes(const struct setup* setup, struct result* result) {
  static struct stage stage;
  uint64_t wakes = 0;
  unsigned int i;

  stage_open(&stage, setup, result, serve_and_sleep);
  stage.warm = setup->count / 5 + 1;
  stage.bursts = stage.warm + setup->count;
  for (i = 0; i < stage.loops; i++)
    stage.sides[i].until = setup->portion;
  place(0);
  start_sides(&stage, sleep_and_serve);
  uv_barrier_wait(&stage.barrier);
  result->wall_ns = send_bursts(&stage);
  join_sides(&stage);
  for (i = 0; i < stage.loops; i++)
    wakes += stage.sides[i].switches;
  result->messages = setup->count * setup->portion;
  result->value = (double) wakes / (double) (setup->count * stage.loops);
}
