/* SPDX-License-Identifier: MIT
 *
 * config: reads the file, and sends it to the workers if it is good. If it is not, they keep what they have, and the reason is
 * printed; only at the start there is nothing to keep, and that is the end. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "follow.h"

enum { SIGNALS = 4 };

static const int signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

struct program {
  uv_loop_t loop;
  struct options options;
  struct source source;
  uv_signal_t signals[SIGNALS];
  uvch_watch_sender_t settings;
  struct worker workers[WORKERS];
  unsigned int version; /* that the workers have; 0: there are none yet */
  int stopping;
  int code;
};

void must(int r, const char* what) {
  if (r == 0)
    return;
  say("%s: %s", what, uv_strerror(r));
  exit(CODE_OTHER);
}

static void stop(struct program* program, int code) {
  int i;

  if (program->stopping)
    return;
  program->stopping = 1;
  program->code = code;
  source_stop(&program->source);
  for (i = 0; i < SIGNALS; i++)
    uv_close((uv_handle_t*) &program->signals[i], NULL);
  if (program->version != 0)
    must(uvch_watch_sender_close(&program->settings), "close");
}

/*
 * The settings
 */

static void start_workers(struct program* program, const struct settings* settings) {
  uvch_watch_options_t options = {.copy = settings_copy, .drop = settings_drop};
  int i;

  must(uvch_watch_init_ex(NULL, NULL, &program->settings, sizeof(*settings), settings, &options), "channel");
  for (i = 0; i < WORKERS; i++)
    worker_start(&program->workers[i], i + 1, &program->settings);
}

/* From here on the settings are the channel's, with their strings. */
static void publish(struct program* program, struct settings* settings) {
  settings->version = program->version + 1;
  if (program->version == 0)
    start_workers(program, settings);
  else
    must(uvch_watch_send(&program->settings, settings), "send");
  program->version = settings->version;
}

/* A bad file changes nothing; but who has nothing cannot go on. The end of the message. */
static const char* refuse(struct program* program) {
  if (program->version != 0)
    return "; the settings stay as they are";
  stop(program, CODE_FILE);
  return "";
}

static void on_file(struct source* source, const char* error, const char* text, size_t len) {
  struct program* program = source->data;
  struct settings settings;
  struct problem problem;

  if (error != NULL)
    say("%s: %s%s", source->path, error, refuse(program));
  else if (settings_parse(&settings, text, len, &problem) != 0)
    say("%s:%zu: %s%s", source->path, problem.line, problem.text, refuse(program));
  else
    publish(program, &settings);
}

/*
 * Signals
 */

/* Changes a copy of the settings that hold now; the channel made it with settings_copy(). */
static int turn_log(void* value, void* arg) {
  struct settings* settings = value;

  (void) arg;
  settings->level = (enum level)((settings->level + 1) % LEVELS);
  return 0;
}

static void on_signal(uv_signal_t* handle, int number) {
  struct program* program = handle->data;

  if (number == SIGHUP)
    source_read_again(&program->source);
  else if (number != SIGUSR1)
    stop(program, CODE_OK);
  else if (program->version != 0)
    must(uvch_watch_modify(&program->settings, turn_log, NULL), "modify");
}

static void start_signals(struct program* program) {
  int i;

  for (i = 0; i < SIGNALS; i++) {
    must(uv_signal_init(&program->loop, &program->signals[i]), "signal");
    program->signals[i].data = program;
    must(uv_signal_start(&program->signals[i], on_signal, signals[i]), "signal");
  }
}

int main(int argc, char** argv) {
  static struct program program;
  int i;
  int r;

  if (options_parse(&program.options, argc, argv, &program.code) != 0)
    return program.code;
  must(uv_loop_init(&program.loop), "loop");
  start_signals(&program);
  program.source.data = &program;
  r = source_start(&program.source, &program.loop, program.options.path, program.options.settle, on_file);
  if (r != 0) {
    say("%s: cannot watch its directory: %s", program.options.path, uv_strerror(r));
    stop(&program, CODE_FILE);
  }
  must(uv_run(&program.loop, UV_RUN_DEFAULT), "run");
  for (i = 0; i < WORKERS && program.version != 0; i++)
    worker_join(&program.workers[i]);
  must(uv_loop_close(&program.loop), "loop");
  if (ferror(stdout) || fflush(stdout) != 0) {
    say("cannot write to standard output");
    return CODE_OTHER;
  }
  return program.code;
}
