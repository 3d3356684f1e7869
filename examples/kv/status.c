/* SPDX-License-Identifier: MIT */
#include "status.h"

#include <stdio.h>
#include <unistd.h>

#include "info.h"

enum { EVERY = 1000 /* ms */ };

static void show(struct status* s, const char* line) {
  int width = printf("\r%-*s", s->width, line) - 1;

  s->width = width < 0 ? 0 : width;
  fflush(stdout);
}

static void on_timer(uv_timer_t* timer) {
  struct status* s = timer->data;
  uint64_t now = uv_hrtime();
  double seconds = (double) (now - s->last_time) / 1e9;
  struct totals sum;
  char line[160];

  totals(s->kv, &sum);
  snprintf(line, sizeof(line), "clients %zu   ops/s %.0f   keys %zu   memory %.1f MB   waiting for shards %llu (at most %llu)",
           sum.clients, (double) (sum.commands - s->last_commands) / seconds, sum.keys, (double) sum.bytes / 1e6,
           (unsigned long long) sum.waiting, (unsigned long long) sum.high_water);
  s->last_commands = sum.commands;
  s->last_time = now;
  show(s, line);
}

void status_start(struct status* s, const struct kv* kv, uv_loop_t* loop) {
  must(uv_timer_init(loop, &s->timer), "status");
  s->timer.data = s;
  s->kv = kv;
  s->last_time = uv_hrtime();
  if (isatty(STDOUT_FILENO))
    must(uv_timer_start(&s->timer, on_timer, EVERY, EVERY), "status");
}

void status_stop(struct status* s) {
  if (s->width > 0)
    show(s, "");
  if (s->width > 0)
    fputs("\r", stdout);
  uv_close((uv_handle_t*) &s->timer, NULL);
}
