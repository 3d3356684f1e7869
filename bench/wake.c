/* SPDX-License-Identifier: MIT
 *
 * Wake-ups: one channel among many idle ones, from the loop's own thread and from another one; a ball between two loops. */
#include "bench.h"

#include <stdatomic.h>
#include <stdlib.h>

#define THE_END UINT64_MAX

/* Many channels, of which one is used. */
struct crowd {
  struct result* result;
  uv_loop_t loop;
  struct chan* channels;
  struct chan* used;
  uint64_t count;
  uint64_t* times;
  atomic_uint_fast64_t received;
  /* From another thread only. */
  int timed;
  atomic_uint_fast64_t sent_at;
  int stat_fd;
};

static inline void crowd_take(struct crowd* crowd, uint64_t message) {
  uint64_t received = atomic_load_explicit(&crowd->received, memory_order_relaxed);

  if (message != received)
    fail(crowd->result, "a message is missing, doubled or out of order");
  if (crowd->timed) {
    crowd->times[received] = uv_hrtime() - atomic_load(&crowd->sent_at);
    if (received + 1 == crowd->count)
      uv_stop(&crowd->loop);
  }
  atomic_store(&crowd->received, received + 1);
}

static void crowd_on_uvch(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct crowd* crowd = (struct crowd*) rx->data;

  check(crowd->result, status, "receive");
  crowd_take(crowd, *(const uint64_t*) item);
}

static void crowd_on_base(baseline_t* ch, uint64_t message) {
  crowd_take((struct crowd*) ch->data, message);
}

static void crowd_open(struct crowd* crowd, const struct setup* setup, struct result* result) {
  size_t i;

  crowd->result = result;
  crowd->count = setup->count;
  crowd->times = (uint64_t*) xcalloc(result, setup->count, sizeof(*crowd->times));
  crowd->channels = (struct chan*) xcalloc(result, setup->channels, sizeof(*crowd->channels));
  check(result, uv_loop_init(&crowd->loop), "uv_loop_init");
  for (i = 0; i < setup->channels; i++)
    chan_open(&crowd->channels[i], &crowd->loop, setup, crowd_on_uvch, crowd_on_base, crowd, result);
  crowd->used = &crowd->channels[setup->channels / 2];
}

/* One wake-up: a send, the loop's passes until it is delivered, and the pass in which the loop finds nothing more to do. */
static void wake_once(struct crowd* crowd, uint64_t i) {
  check(crowd->result, chan_try_send(crowd->used, i), "send");
  while (atomic_load_explicit(&crowd->received, memory_order_relaxed) == i)
    uv_run(&crowd->loop, UV_RUN_ONCE);
  uv_run(&crowd->loop, UV_RUN_NOWAIT);
}

void run_wake_local(const struct setup* setup, struct result* result) {
  static struct crowd crowd;
  struct meter meter;
  uint64_t i, start, warm = setup->count / 5;

  crowd_open(&crowd, setup, result);
  place(0);
  for (i = 0; i < warm; i++)
    wake_once(&crowd, i);
  meter_start(&meter);
  for (i = 0; i < setup->count; i++) {
    start = uv_hrtime();
    wake_once(&crowd, warm + i);
    crowd.times[i] = uv_hrtime() - start;
  }
  meter_stop(&meter, result);
  if (atomic_load(&crowd.received) != warm + setup->count)
    fail(result, "more messages than were sent");
  result->messages = setup->count;
  set_percentiles(result, crowd.times, setup->count);
}

static void wake_sleeper(void* arg) {
  struct crowd* crowd = (struct crowd*) arg;
  uint64_t i;

  place(1);
  for (i = 0; i < crowd->count; i++) {
    while (atomic_load(&crowd->received) != i || !thread_sleeps(crowd->stat_fd))
      ;
    atomic_store(&crowd->sent_at, uv_hrtime());
    check(crowd->result, chan_try_send(crowd->used, i), "send");
  }
}

void run_wake_thread(const struct setup* setup, struct result* result) {
  static struct crowd crowd;
  struct meter meter;
  uv_thread_t thread;

  crowd.timed = 1;
  crowd_open(&crowd, setup, result);
  place(0);
  crowd.stat_fd = thread_page(result);
  meter_start(&meter);
  check(result, uv_thread_create(&thread, wake_sleeper, &crowd), "uv_thread_create");
  uv_run(&crowd.loop, UV_RUN_DEFAULT);
  meter_stop(&meter, result);
  uv_thread_join(&thread);
  uv_run(&crowd.loop, UV_RUN_NOWAIT);
  if (atomic_load(&crowd.received) != setup->count)
    fail(result, "more messages than were sent");
  result->messages = setup->count;
  set_percentiles(result, crowd.times, setup->count);
}

/* One side of the ball game. The first one serves and keeps the times. */
struct side {
  struct result* result;
  uv_loop_t loop;
  struct chan ch;
  uv_async_t bell; /* bare */
  struct side* other;
  uint64_t received;
  uint64_t warm;
  uint64_t count;
  uint64_t sent_at;
  uint64_t* times; /* NULL: this side returns the ball */
  int bare;
  atomic_int over; /* bare */
};

static void hit(struct side* side, uint64_t message) {
  if (side->bare)
    check(side->result, uv_async_send(&side->other->bell), "uv_async_send");
  else
    check(side->result, chan_try_send(&side->other->ch, message), "send");
}

static void serve(struct side* side) {
  side->sent_at = uv_hrtime();
  hit(side, side->received);
}

static void end_game(struct side* side) {
  uv_stop(&side->loop);
  atomic_store(&side->other->over, 1);
  hit(side, THE_END);
}

static void side_take(struct side* side, uint64_t message) {
  if (message == THE_END && side->times == NULL) {
    uv_stop(&side->loop);
    return;
  }
  if (message != side->received)
    fail(side->result, "a message is missing, doubled or out of order");
  side->received++;
  if (side->times == NULL) {
    hit(side, message);
    return;
  }
  if (message >= side->warm)
    side->times[message - side->warm] = uv_hrtime() - side->sent_at;
  if (side->received == side->warm + side->count)
    end_game(side);
  else
    serve(side);
}

static void side_on_uvch(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct side* side = (struct side*) rx->data;

  check(side->result, status, "receive");
  side_take(side, *(const uint64_t*) item);
}

static void side_on_base(baseline_t* ch, uint64_t message) {
  side_take((struct side*) ch->data, message);
}

static void side_on_bell(uv_async_t* bell) {
  struct side* side = (struct side*) bell->data;

  side_take(side, atomic_load(&side->over) ? THE_END : side->received);
}

static void side_open(struct side* side, struct side* other, const struct setup* setup, int bare, struct result* result) {
  side->result = result;
  side->other = other;
  side->bare = bare;
  side->warm = setup->count / 5;
  side->count = setup->count;
  check(result, uv_loop_init(&side->loop), "uv_loop_init");
  if (bare) {
    side->bell.data = side;
    check(result, uv_async_init(&side->loop, &side->bell, side_on_bell), "uv_async_init");
  } else {
    chan_open(&side->ch, &side->loop, setup, side_on_uvch, side_on_base, side, result);
  }
}

static void return_balls(void* arg) {
  place(1);
  uv_run(&((struct side*) arg)->loop, UV_RUN_DEFAULT);
}

static void play(const struct setup* setup, struct result* result, int bare) {
  static struct side sides[2];
  struct meter meter;
  uv_thread_t thread;

  side_open(&sides[0], &sides[1], setup, bare, result);
  side_open(&sides[1], &sides[0], setup, bare, result);
  place(0);
  sides[0].times = (uint64_t*) xcalloc(result, setup->count, sizeof(uint64_t));
  check(result, uv_thread_create(&thread, return_balls, &sides[1]), "uv_thread_create");
  meter_start(&meter);
  serve(&sides[0]);
  uv_run(&sides[0].loop, UV_RUN_DEFAULT);
  meter_stop(&meter, result);
  uv_thread_join(&thread);
  result->messages = (sides[0].warm + sides[0].count) * 2;
  set_percentiles(result, sides[0].times, setup->count);
}

void run_pingpong(const struct setup* setup, struct result* result) {
  play(setup, result, 0);
}

void run_pingpong_bare(const struct setup* setup, struct result* result) {
  play(setup, result, 1);
}
