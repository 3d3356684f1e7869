/* SPDX-License-Identifier: MIT
 *
 * shutdown: the main thread's loop controls. It turns signals into phases, and ends when all others have ended. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "shutdown.h"

enum { SIGNALS = 2 };

static const int signals[SIGNALS] = {SIGINT, SIGTERM};

struct control {
  uv_loop_t loop;
  struct options options;
  uv_signal_t signals[SIGNALS];
  uv_timer_t deadline;
  uvch_watch_sender_t phase;
  uvch_watch_closed_t closed;
  struct feeder feeder;
  struct worker* workers;
  struct printer printer;
  int forced; /* by a second signal, or by the deadline */
};

void must(int r, const char* what) {
  if (r == 0)
    return;
  say("%s: %s", what, uv_strerror(r));
  exit(CODE_FAILED);
}

static void force(struct control* control, const char* why) {
  if (!phase_raise(&control->phase, PHASE_FORCED))
    return;
  control->forced = 1;
  say("%s: forced", why);
}

static void on_deadline(uv_timer_t* timer) {
  force(timer->data, "the time is over");
}

static void on_signal(uv_signal_t* handle, int number) {
  struct control* control = handle->data;
  const char* name = number == SIGINT ? "SIGINT" : "SIGTERM";

  if (!phase_raise(&control->phase, PHASE_DRAINING)) { /* not the first one */
    force(control, name);
    return;
  }
  say("%s: draining; another signal forces the end", name);
  if (control->options.deadline != 0)
    must(uv_timer_start(&control->deadline, on_deadline, control->options.deadline, 0), "timer");
}

/* Nobody follows the phase any more: all are done, whatever the way. */
static void on_all_done(uvch_watch_closed_t* req, int status) {
  struct control* control = req->data;
  int i;

  must(status, "closed");
  for (i = 0; i < SIGNALS; i++)
    uv_close((uv_handle_t*) &control->signals[i], NULL);
  uv_close((uv_handle_t*) &control->deadline, NULL);
  must(uvch_watch_sender_close(&control->phase), "close");
}

/*
 * Set-up and end
 */

static void init_control(struct control* control) {
  static const enum phase running = PHASE_RUNNING;
  int i;

  must(uv_loop_init(&control->loop), "loop");
  must(uvch_watch_init(NULL, NULL, &control->phase, sizeof(running), &running), "channel");
  must(uv_timer_init(&control->loop, &control->deadline), "timer");
  control->deadline.data = control->closed.data = control;
  for (i = 0; i < SIGNALS; i++) {
    must(uv_signal_init(&control->loop, &control->signals[i]), "signal");
    control->signals[i].data = control;
    must(uv_signal_start(&control->signals[i], on_signal, signals[i]), "signal");
  }
}

static void init_members(struct control* control) {
  const struct options* options = &control->options;
  struct feeder* feeder = &control->feeder;
  uvch_mpsc_sender_t results;
  size_t i;

  printer_init(&control->printer, &control->phase, &results, options->capacity);
  for (i = 0; i < options->workers; i++) {
    uvch_mpsc_sender_t own;
    must(uvch_mpsc_sender_clone(&results, &own), "clone");
    worker_init(&control->workers[i], &control->phase, &feeder->lanes[i].tx, options->capacity, own);
  }
  must(uvch_mpsc_sender_close(&results), "close"); /* the workers have theirs */
  feeder->lane_count = options->workers;
  feeder_init(feeder, &control->phase, options->first, options->last);
}

static void run(struct control* control) {
  size_t i;

  init_control(control);
  init_members(control);
  member_run(&control->printer.member);
  for (i = 0; i < control->options.workers; i++)
    member_run(&control->workers[i].member);
  member_run(&control->feeder.member);
  must(uvch_watch_closed(&control->loop, &control->closed, &control->phase, on_all_done), "closed");
  must(uv_run(&control->loop, UV_RUN_DEFAULT), "run");
  member_join(&control->feeder.member);
  for (i = 0; i < control->options.workers; i++)
    member_join(&control->workers[i].member);
  member_join(&control->printer.member);
  must(uv_loop_close(&control->loop), "loop");
}

/* Every number that a worker took is either printed or counted here. */
static void summary(const struct control* control) {
  uint64_t taken = control->feeder.taken;
  uint64_t queued = 0;
  uint64_t begun = 0;
  uint64_t unprinted = control->printer.dropped;
  size_t i;

  for (i = 0; i < control->options.workers; i++) {
    queued += control->workers[i].queued;
    begun += control->workers[i].begun;
    unprinted += control->workers[i].unsent;
  }
  if (queued + begun + unprinted == 0)
    say("%" PRIu64 " numbers taken, none left undone", taken);
  else
    say("%" PRIu64 " numbers taken, %" PRIu64 " printed, %" PRIu64 " left undone: %" PRIu64 " not begun, %" PRIu64
        " not finished, %" PRIu64 " not printed",
        taken, control->printer.printed, queued + begun + unprinted, queued, begun, unprinted);
}

static int exit_code(const struct control* control) {
  if (control->printer.error != 0) {
    say("cannot write to standard output: %s", uv_strerror(control->printer.error));
    return CODE_FAILED;
  }
  return control->forced ? CODE_FORCED : CODE_OK;
}

int main(int argc, char** argv) {
  static struct control control;
  int code;

  if (options_parse(&control.options, argc, argv, &code) != 0)
    return code;
  if (!printer_usable()) {
    say("standard output is nothing that can be written to");
    return CODE_FAILED;
  }
  signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error of the write */
  control.workers = calloc(control.options.workers, sizeof(*control.workers));
  control.feeder.lanes = calloc(control.options.workers, sizeof(*control.feeder.lanes));
  must(control.workers == NULL || control.feeder.lanes == NULL ? UV_ENOMEM : 0, "workers");
  run(&control);
  summary(&control);
  code = exit_code(&control);
  free(control.workers);
  free(control.feeder.lanes);
  return code;
}
