/* SPDX-License-Identifier: MIT
 *
 * pipeline: sets up the three loops and what joins them, waits for the end, and tells how it went. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline.h"

enum { SIGNALS = 3, STAGES = 2 };

static const int signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};

struct program {
  uv_loop_t loop;
  struct options options;
  struct fetch fetch;
  struct parse parse;
  struct store store;
  struct progress progress;
  uvch_mpsc_receiver_t news;
  uv_signal_t signal[SIGNALS];
  int signum; /* the first that came */
  int code;
};

static void drop_chunk(void* item, void* arg) {
  (void) arg;
  free(((struct chunk*) item)->data);
}

static void drop_batch(void* item, void* arg) {
  (void) arg;
  free(*(struct batch**) item);
}

/* What is set up once and cannot go on without. */
static void must(int r, const char* what) {
  if (r == 0)
    return;
  say("%s: %s", what, uv_strerror(r));
  exit(CODE_OTHER);
}

/* Ctrl-C: read no more. All that was read is stored and committed; that takes at most two full channels. */
static void on_signal(uv_signal_t* handle, int signum) {
  struct program* program = handle->data;

  if (program->signum == 0)
    program->signum = signum;
  atomic_store(&program->store.interrupted, 1);
  fetch_stop(&program->fetch);
}

static void on_news(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct program* program = rx->data;
  const struct news* news = item;
  int i;

  if (status == UV_EOF) { /* parse and store have both ended */
    for (i = 0; i < SIGNALS; i++)
      uv_close((uv_handle_t*) &program->signal[i], NULL);
    progress_stop(&program->progress);
    uvch_close((uvch_handle_t*) rx, NULL);
    return;
  }
  if (news->stage == STAGE_PARSE)
    uvch_mpsc_sender_close(&program->progress.batches); /* the last one: now store gets UV_EOF */
  if (news->code == CODE_OK)
    return;
  say("%s", news->stage == STAGE_PARSE ? program->parse.error : program->store.error);
  program->code = news->code;
  fetch_stop(&program->fetch);
}

/* Nothing is stored unless every input is there: who corrects the command has no half run to clean up. */
static int check_sources(const struct options* options) {
  struct stat st;
  size_t i;
  int r = 0;

  for (i = 0; i < options->source_count; i++) {
    const char* name = options->sources[i];
    int error = 0;
    if (strcmp(name, "-") == 0) {
      if (fstat(STDIN_FILENO, &st) != 0)
        error = errno;
    } else if (stat(name, &st) != 0 || access(name, R_OK) != 0) {
      error = errno;
    }
    if (error == 0 && S_ISDIR(st.st_mode))
      error = EISDIR;
    if (error == 0)
      continue;
    say("%s: %s", strcmp(name, "-") == 0 ? "standard input" : name, strerror(error));
    r = -1;
  }
  return r;
}

static void init_channels(struct program* program) {
  struct parse* parse = &program->parse;
  struct store* store = &program->store;
  size_t capacity = program->options.capacity;
  uvch_mpsc_options_t chunks = {.drop = drop_chunk};
  uvch_mpsc_options_t batches = {.drop = drop_batch};

  must(uvch_mpsc_init_ex(&parse->loop, &parse->rx, &program->fetch.tx, sizeof(struct chunk), capacity, &chunks), "chunks");
  must(uvch_mpsc_init_ex(&store->loop, &store->rx, &parse->tx, sizeof(struct batch*), capacity, &batches), "batches");
  must(uvch_mpsc_sender_clone(&parse->tx, &program->progress.batches), "batches");
  must(uvch_mpsc_init(&program->loop, &program->news, &parse->news, sizeof(struct news), STAGES), "news");
  must(uvch_mpsc_sender_clone(&parse->news, &store->news), "news");
  program->news.data = program;
  must(uvch_mpsc_recv_start(&program->news, on_news), "news");
}

static void init_signals(struct program* program) {
  struct sigaction old;
  int i;

  signal(SIGPIPE, SIG_IGN); /* a reader of the summary that has gone is an error of its write */
  for (i = 0; i < SIGNALS; i++) {
    must(uv_signal_init(&program->loop, &program->signal[i]), "signal");
    program->signal[i].data = program;
    if (signals[i] == SIGHUP && sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
      continue; /* nohup */
    must(uv_signal_start(&program->signal[i], on_signal, signals[i]), "signal");
  }
}

static void init(struct program* program) {
  must(uv_loop_init(&program->loop), "loop");
  must(uv_loop_init(&program->parse.loop), "loop");
  must(uv_loop_init(&program->store.loop), "loop");
  must(uv_timer_init(&program->store.loop, &program->store.timer), "timer");
  init_channels(program);
  init_signals(program);
  program->fetch.loop = &program->loop;
  program->fetch.options = &program->options;
  program->progress.fetch = &program->fetch;
  program->progress.parse = &program->parse;
  program->progress.store = &program->store;
  must(progress_start(&program->progress, &program->loop), "progress");
}

static void run(struct program* program) {
  uv_thread_t parse;
  uv_thread_t store;

  must(uv_thread_create(&store, store_main, &program->store), "thread");
  must(uv_thread_create(&parse, parse_main, &program->parse), "thread");
  fetch_start(&program->fetch);
  uv_run(&program->loop, UV_RUN_DEFAULT);
  must(uv_thread_join(&parse), "thread");
  must(uv_thread_join(&store), "thread");
  /* UV_EBUSY here would mean that a handle was forgotten. */
  must(uv_loop_close(&program->parse.loop), "loop of parse");
  must(uv_loop_close(&program->store.loop), "loop of store");
  must(uv_loop_close(&program->loop), "loop of fetch");
}

static int exit_code(const struct program* program) {
  if (program->code != CODE_OK)
    return program->code;
  if (program->signum != 0)
    return CODE_SIGNAL + program->signum;
  return program->fetch.code;
}

int main(int argc, char** argv) {
  static struct program program;
  uint64_t start = uv_hrtime();
  int code;

  if (options_parse(&program.options, argc, argv, &code) != 0)
    return code;
  if (check_sources(&program.options) != 0)
    return CODE_INPUT;
  if (store_open(&program.store, &program.options) != 0) {
    say("%s", program.store.error);
    return CODE_DATABASE;
  }
  init(&program);
  run(&program);
  store_close(&program.store);
  if (program.signum != 0 && program.code == CODE_OK)
    progress_interrupted();
  if (summary_print(&program.store.stored, program.parse.lines, uv_hrtime() - start) != 0 && exit_code(&program) == CODE_OK)
    return CODE_OTHER;
  return exit_code(&program);
}
