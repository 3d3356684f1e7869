/* SPDX-License-Identifier: MIT
 *
 * config: workers that follow a file of settings. The main thread's loop watches the file and reads it; three loops on threads of
 * their own use what it says:
 *
 *   source    main thread   the file: changes, bytes
 *     |                     parsed, and sent if it is good
 *   settings  watch         one value: the settings that hold now
 *    | | |
 *   workers   own threads   each learns that they have changed, and uses the newest
 *
 * The end travels down as UV_EOF: main closes its sender, each worker its handles, and no loop has anything left to run for. */
#ifndef FOLLOW_H
#define FOLLOW_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include <uvch.h>

/* Exit codes. */
enum { CODE_OK = 0, CODE_FILE = 1, CODE_USAGE = 2, CODE_OTHER = 3 };

enum { WORKERS = 3 };

struct options {
  const char* path;
  uint64_t settle; /* milliseconds */
};

/* options_parse: 0 to go on, -1 to leave with *code. What is wrong, and the answer to --help, is printed. */
int options_parse(struct options* options, int argc, char** argv, int* code);

/* say: a message on standard error. */
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));

/* must: end the program if `r` is an error; for what it cannot go on without. */
void must(int r, const char* what);

/*
 * Settings
 */

enum level { LEVEL_QUIET, LEVEL_INFO, LEVEL_DEBUG, LEVELS };

/* What a good file says. It owns its strings. */
struct settings {
  unsigned int version; /* good files are counted, from 1 */
  enum level level;
  unsigned int interval; /* milliseconds */
  unsigned int limit;    /* greetings of each worker; 0: no end */
  char* greeting;
  char* farewell; /* NULL: none */
};

enum { LINE_LIMIT = 1000 /* bytes */, PROBLEM_SIZE = 256 };

/* Why a file is bad. */
struct problem {
  size_t line; /* from 1 */
  char text[PROBLEM_SIZE];
};

/* settings_parse: make settings out of a file's text. Returns 0, or -1, and then there is only a problem. */
int settings_parse(struct settings* settings, const char* text, size_t len, struct problem* problem);

/* settings_copy, settings_drop: for the channel, and for all others. */
int settings_copy(void* to, const void* from, void* arg);
void settings_drop(void* item, void* arg);

/* level_name: as it stands in the file. */
const char* level_name(enum level level);

/*
 * The file
 */

enum { TEXT_LIMIT = 65536 /* bytes */ };

struct source;

/* source_cb: what the file holds now, if that is new. error is NULL, or tells why the file cannot be read. */
typedef void (*source_cb)(struct source* source, const char* error, const char* text, size_t len);

struct source {
  void* data;
  uv_loop_t* loop;
  const char* path;
  char* directory;
  uint64_t settle;
  source_cb cb;
  uv_fs_event_t file_event;      /* the file is changed in its place */
  uv_fs_event_t directory_event; /* another one takes its place */
  uv_timer_t timer;
  uv_fs_t req; /* one at a time */
  uv_file fd;
  int reading;
  int again; /* it changed meanwhile */
  int stopping;
  int known; /* the last two are those that were told last */
  const char* error;
  size_t len;
  const char* last_error;
  size_t last_len;
  char text[TEXT_LIMIT + 1]; /* one byte more, to see that a file is too large */
  char last[TEXT_LIMIT + 1];
};

/* source_start: tell of the file at `path` once, and then of every change. Returns 0, or an error, and nothing is started. */
int source_start(struct source* source, uv_loop_t* loop, const char* path, uint64_t settle, source_cb cb);

/* source_read_again: tell of it once more, even if it has not changed. */
void source_read_again(struct source* source);

/* source_stop: no more callbacks. */
void source_stop(struct source* source);

/*
 * The workers
 */

struct worker {
  int number;
  uv_loop_t loop;
  uv_thread_t thread;
  uvch_watch_receiver_t rx;
  uv_timer_t timer;
  const struct settings* settings; /* borrowed: good until the next borrow */
  unsigned int said;               /* greetings, with these settings */
};

/* worker_start: a thread that follows the settings until their last sender is closed. */
void worker_start(struct worker* worker, int number, const uvch_watch_sender_t* settings);

/* worker_join: wait for that end. */
void worker_join(struct worker* worker);

#endif
