/* SPDX-License-Identifier: MIT
 *
 * What goes to standard error: messages, and while a long run lasts one line that is written over and over. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"

enum { FIRST_MS = 1000, EVERY_MS = 200, WIDTH = 79 };

/* A terminal that can wipe a line. */
static int is_terminal(void) {
  const char* term = getenv("TERM");

  return uv_guess_handle(2) == UV_TTY && term != NULL && strcmp(term, "dumb") != 0;
}

/* Wipe the line that the cursor is on, with what the terminal itself has echoed there. */
static void wipe(void) {
  if (is_terminal())
    fputs("\r\033[K", stderr);
}

void say(const char* format, ...) {
  va_list ap;

  wipe();
  fputs("pipeline: ", stderr);
  va_start(ap, format);
  vfprintf(stderr, format, ap);
  va_end(ap);
  fputc('\n', stderr);
}

void progress_interrupted(void) {
  if (is_terminal())
    say("interrupted; what was read until then is stored");
}

static void on_tick(uv_timer_t* timer) {
  struct progress* progress = timer->data;
  const struct fetch* fetch = progress->fetch;
  uint64_t now = uv_hrtime();
  uint64_t rows = atomic_load_explicit(&progress->store->rows, memory_order_relaxed);
  double seconds = (double) (now - progress->last_time) / 1e9;
  char line[WIDTH + 1];

  snprintf(line, sizeof(line), "%llu lines   %.0f rows/s   chunks %zu/%zu   batches %zu/%zu",
           (unsigned long long) atomic_load_explicit(&progress->parse->lines, memory_order_relaxed),
           (double) (rows - progress->last_rows) / seconds, uvch_mpsc_sender_len(&fetch->tx), fetch->options->capacity,
           uvch_mpsc_sender_len(&progress->batches), fetch->options->capacity);
  wipe();
  fputs(line, stderr);
  progress->last_time = now;
  progress->last_rows = rows;
}

int progress_start(struct progress* progress, uv_loop_t* loop) {
  const struct options* options = progress->fetch->options;
  int r = uv_timer_init(loop, &progress->timer);
  int typed = 0;
  size_t i;

  if (r != 0)
    return r;
  progress->timer.data = progress;
  progress->last_time = uv_hrtime();
  for (i = 0; i < options->source_count; i++)
    typed |= strcmp(options->sources[i], "-") == 0 && uv_guess_handle(0) == UV_TTY;
  if (!is_terminal() || typed)
    return 0; /* who types the lines in does not want them written over */
  return uv_timer_start(&progress->timer, on_tick, FIRST_MS, EVERY_MS);
}

void progress_stop(struct progress* progress) {
  uv_close((uv_handle_t*) &progress->timer, NULL);
  wipe();
}
