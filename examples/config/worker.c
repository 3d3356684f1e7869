/* SPDX-License-Identifier: MIT
 *
 * A worker: says its greeting again and again, as the settings have it. It copies nothing: what it has borrowed stays as it is,
 * whatever is sent meanwhile, until it borrows again. */
#include <stdio.h>

#include "follow.h"

/* Whether standard output took it all is asked once, at the end. */
static void describe(const struct worker* worker) {
  const struct settings* settings = worker->settings;

  printf("worker %d: version %u: log %s, interval %u ms, limit %u, greeting '%s'\n", worker->number, settings->version,
         level_name(settings->level), settings->interval, settings->limit, settings->greeting);
  fflush(stdout);
}

static void on_tick(uv_timer_t* timer) {
  struct worker* worker = timer->data;
  const struct settings* settings = worker->settings;

  worker->said++;
  if (settings->level == LEVEL_INFO)
    printf("worker %d: %s\n", worker->number, settings->greeting);
  else if (settings->level == LEVEL_DEBUG)
    printf("worker %d: %s (version %u, number %u)\n", worker->number, settings->greeting, settings->version, worker->said);
  fflush(stdout);
  if (worker->said == settings->limit)
    must(uv_timer_stop(timer), "timer");
}

/* No sender is left. What was borrowed is good for a last word. */
static void end(struct worker* worker) {
  if (worker->settings->farewell != NULL)
    printf("worker %d: %s\n", worker->number, worker->settings->farewell);
  fflush(stdout);
  uv_close((uv_handle_t*) &worker->timer, NULL);
  must(uvch_close((uvch_handle_t*) &worker->rx, NULL), "close");
}

static void on_settings(uvch_watch_receiver_t* rx, int status, const void* value) {
  struct worker* worker = rx->data;

  (void) value; /* the same, or an older one, and good only until we return */
  if (status == UV_EOF) {
    end(worker);
    return;
  }
  worker->settings = uvch_watch_borrow_and_update(rx);
  worker->said = 0;
  describe(worker);
  must(uv_timer_start(&worker->timer, on_tick, worker->settings->interval, worker->settings->interval), "timer");
}

static void run(void* arg) {
  struct worker* worker = arg;

  must(uv_run(&worker->loop, UV_RUN_DEFAULT), "run");
  must(uv_loop_close(&worker->loop), "worker's loop"); /* UV_EBUSY would mean that a handle was forgotten */
}

void worker_start(struct worker* worker, int number, const uvch_watch_sender_t* settings) {
  worker->number = number;
  must(uv_loop_init(&worker->loop), "worker's loop");
  must(uv_timer_init(&worker->loop, &worker->timer), "timer");
  must(uvch_watch_subscribe(&worker->loop, &worker->rx, settings), "subscribe");
  worker->timer.data = worker->rx.data = worker;
  must(uvch_watch_start(&worker->rx, on_settings, UVCH_WATCH_CURRENT), "watch");
  must(uv_thread_create(&worker->thread, run, worker), "thread");
}

void worker_join(struct worker* worker) {
  must(uv_thread_join(&worker->thread), "join");
}
