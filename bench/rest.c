/* SPDX-License-Identifier: MIT
 *
 * What channels cost while nothing happens on them: memory, descriptors, processor time; and at a slow, steady rate. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bench.h"

#include <dirent.h>
#include <time.h>

#define STEADY_NS 1000000 /* from one message to the next */

static void unexpected_uvch(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) item;
  fail((struct result*) rx->data, "a callback without a message, status %d", status);
}

static void unexpected_base(baseline_t* ch, uint64_t message) {
  (void) message;
  fail((struct result*) ch->data, "a callback without a message");
}

static struct chan* open_many(uv_loop_t* loop, const struct setup* setup, size_t n, struct result* result) {
  struct chan* channels = (struct chan*) xcalloc(result, n, sizeof(*channels));
  size_t i;

  for (i = 0; i < n; i++)
    chan_open(&channels[i], loop, setup, unexpected_uvch, unexpected_base, result, result);
  return channels;
}

/* The first channel brings what the loop needs once, and is not counted. */
void run_heap(const struct setup* setup, struct result* result) {
  struct chan* channels;
  uv_loop_t loop;
  size_t i, before, bytes = 0;

  if (setup->variant != BASELINE)
    heap_count(result);
  check(result, uv_loop_init(&loop), "uv_loop_init");
  open_many(&loop, setup, 1, result);
  before = heap_bytes();
  channels = open_many(&loop, setup, setup->channels, result);
  if (setup->variant != BASELINE) {
    bytes = heap_bytes() - before;
  } else {
    for (i = 0; i < setup->channels; i++)
      bytes += baseline_heap(&channels[i].base);
  }
  result->value = (double) bytes / (double) setup->channels;
}

void run_caller_memory(const struct setup* setup, struct result* result) {
  size_t size = setup->variant == BASELINE ? sizeof(baseline_t) : sizeof(uvch_mpsc_receiver_t) + sizeof(uvch_mpsc_sender_t);

  result->value = (double) size;
}

static size_t descriptors(struct result* result) {
  DIR* dir = opendir("/proc/self/fd");
  size_t n = 0;

  if (dir == NULL)
    fail(result, "cannot open /proc/self/fd");
  while (readdir(dir) != NULL)
    n++;
  closedir(dir);
  return n;
}

void run_descriptors(const struct setup* setup, struct result* result) {
  uv_loop_t loop;
  size_t before;

  check(result, uv_loop_init(&loop), "uv_loop_init");
  before = descriptors(result);
  open_many(&loop, setup, setup->channels, result);
  uv_run(&loop, UV_RUN_NOWAIT);
  result->value = (double) (descriptors(result) - before);
}

static void on_timer(uv_timer_t* timer) {
  uv_stop(timer->loop);
}

static void run_for(uv_loop_t* loop, uv_timer_t* timer, uint64_t milliseconds, struct result* result) {
  check(result, uv_timer_start(timer, on_timer, milliseconds, 0), "uv_timer_start");
  uv_run(loop, UV_RUN_DEFAULT);
}

static double cpu_share(const struct result* result) {
  return 100 * (double) result->cpu_ns / (double) result->wall_ns;
}

/* `count` milliseconds; the passes before it let the loop settle. */
void run_rest(const struct setup* setup, struct result* result) {
  struct meter meter;
  uv_timer_t timer;
  uv_loop_t loop;

  check(result, uv_loop_init(&loop), "uv_loop_init");
  check(result, uv_timer_init(&loop, &timer), "uv_timer_init");
  open_many(&loop, setup, setup->channels, result);
  run_for(&loop, &timer, 10, result);
  uv_update_time(&loop);
  meter_start(&meter);
  run_for(&loop, &timer, setup->count, result);
  meter_stop(&meter, result);
  result->value = cpu_share(result);
}

struct steady {
  struct result* result;
  uv_loop_t* loop;
  struct chan ch;
  uint64_t count;
  uint64_t received;
};

static void steady_take(struct steady* s, uint64_t message) {
  if (message != s->received)
    fail(s->result, "a message is missing, doubled or out of order");
  if (++s->received == s->count)
    uv_stop(s->loop);
}

static void steady_on_uvch(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct steady* s = (struct steady*) rx->data;

  check(s->result, status, "receive");
  steady_take(s, *(const uint64_t*) item);
}

static void steady_on_base(baseline_t* ch, uint64_t message) {
  steady_take((struct steady*) ch->data, message);
}

static void send_steadily(void* arg) {
  struct steady* s = (struct steady*) arg;
  struct timespec next;
  uint64_t i;

  place(1);
  clock_gettime(CLOCK_MONOTONIC, &next);
  for (i = 0; i < s->count; i++) {
    next.tv_nsec += STEADY_NS;
    if (next.tv_nsec >= 1000000000) {
      next.tv_nsec -= 1000000000;
      next.tv_sec++;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) != 0)
      ;
    check(s->result, chan_try_send(&s->ch, i), "send");
  }
}

void run_steady(const struct setup* setup, struct result* result) {
  static struct steady s;
  struct meter meter;
  uv_thread_t thread;
  uv_loop_t loop;

  check(result, uv_loop_init(&loop), "uv_loop_init");
  s.result = result;
  s.loop = &loop;
  s.count = setup->count;
  chan_open(&s.ch, &loop, setup, steady_on_uvch, steady_on_base, &s, result);
  place(0);
  meter_start(&meter);
  check(result, uv_thread_create(&thread, send_steadily, &s), "uv_thread_create");
  uv_run(&loop, UV_RUN_DEFAULT);
  meter_stop(&meter, result);
  uv_thread_join(&thread);
  result->messages = s.count;
  result->value = cpu_share(result);
}
