/* SPDX-License-Identifier: MIT
 *
 * The threads of servers and shards. */
#include "worker.h"

#include "kv.h"

static void run(void* arg) {
  struct worker* w = arg;

  must(uv_run(&w->loop, UV_RUN_DEFAULT), "worker");
}

int worker_open(struct worker* w) {
  w->is_running = 0;
  return uv_loop_init(&w->loop);
}

int worker_start(struct worker* w) {
  int r = uv_thread_create(&w->thread, run, w);

  w->is_running = r == 0;
  return r;
}

void worker_end(struct worker* w) {
  if (w->is_running)
    must(uv_thread_join(&w->thread), "join");
  else
    run(w);
  must(uv_loop_close(&w->loop), "worker's loop"); /* UV_EBUSY would mean that a handle was forgotten */
}
