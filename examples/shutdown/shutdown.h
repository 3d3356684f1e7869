/* SPDX-License-Identifier: MIT
 *
 * shutdown: takes numbers apart into primes, on several loops, and can be stopped at any time in two ways.
 *
 *   control   main thread   signals, the deadline; knows the phase, a watch channel that every other loop follows
 *
 *   feeder    own thread    the numbers, one after the other
 *     | | |   numbers       an mpsc channel to each worker, bounded
 *   workers   own threads   a number to its primes
 *     | | |   results       one mpsc channel, bounded
 *   printer   own thread    writes them
 *
 * Running: the end of the numbers travels down as UV_EOF. Draining: the feeder makes no more, the workers take no more, and what
 * they have goes the same way. Forced: everybody closes what he has, and counts what was in it. Whatever the way, each loop closes
 * its handles and has nothing left to run for, and control is told when the last receiver of the phase is closed. */
#ifndef SHUTDOWN_H
#define SHUTDOWN_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include <uvch.h>

/* Exit codes. */
enum { CODE_OK = 0, CODE_FAILED = 1, CODE_USAGE = 2, CODE_FORCED = 3 };

/* The value of the watch channel. It only ever grows; who is late may miss one. */
enum phase { PHASE_RUNNING, PHASE_DRAINING, PHASE_FORCED };

/* LINE_SIZE: a number of 20 digits and its primes, 63 times 2 at the longest. BATCH: of lines in one write. */
enum { LINE_SIZE = 160, BATCH = 64 };

struct options {
  uint64_t first;
  uint64_t last;
  size_t workers;
  size_t capacity;
  uint64_t deadline; /* milliseconds; 0: none */
};

/* options_parse: 0 to go on, -1 to leave with *code. What is wrong, and the answer to --help, is printed. */
int options_parse(struct options* options, int argc, char** argv, int* code);

/* say: a message on standard error. */
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));

/* must: end the program if `r` is an error; for what only a mistake in it can bring about, and for the start. */
void must(int r, const char* what);

/* From a worker to the printer. */
struct result {
  size_t len;
  char text[LINE_SIZE];
};

/* phase_raise: let `phase` be the phase, unless it is there or further already. Returns 1 if it is new, else 0. */
int phase_raise(const uvch_watch_sender_t* tx, enum phase phase);

/* A loop on a thread of its own that follows the phase. */
struct member {
  uv_loop_t loop;
  uv_thread_t thread;
  uvch_watch_receiver_t phase;
};

/* member_init: a loop, and `cb` for each new phase. */
void member_init(struct member* member, const uvch_watch_sender_t* phase, uvch_watch_cb cb);

/* member_run: start the thread. member_join: wait for its end. */
void member_run(struct member* member);
void member_join(struct member* member);

/* member_leave: the last thing that a member does: from now on it holds up nobody. */
void member_leave(struct member* member);

/* member_forced: whether that is the phase now; to ask often in the middle of long work. */
int member_forced(struct member* member);

/*
 * The feeder
 */

struct feeder;

/* The way to a worker. */
struct lane {
  struct feeder* feeder;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t send;
  uint64_t number; /* stays put while that waits */
  int waiting;
};

struct feeder {
  struct member member;
  struct lane* lanes;
  size_t lane_count;
  uint64_t next;
  uint64_t last;
  int done; /* all numbers are out, or no more are wanted */
  size_t waiting;
  uint64_t taken; /* numbers, by the workers */
};

/* feeder_init: feed the numbers from `first` to `last` to the lanes, whose senders are there. */
void feeder_init(struct feeder* feeder, const uvch_watch_sender_t* phase, uint64_t first, uint64_t last);

/*
 * The workers
 */

struct worker {
  struct member member;
  uvch_mpsc_receiver_t numbers;
  uvch_mpsc_sender_t results;
  struct result result; /* stays put while `send` waits */
  uvch_mpsc_send_t send;
  int sending;
  uint64_t queued; /* left undone: not begun */
  uint64_t begun;  /* not finished */
  uint64_t unsent; /* finished, and the printer did not take it */
};

/* worker_init: `numbers` becomes the way in; `results` leads to the printer and is the worker's from now on. */
void worker_init(struct worker* worker, const uvch_watch_sender_t* phase, uvch_mpsc_sender_t* numbers, size_t capacity,
                 uvch_mpsc_sender_t results);

/* factors: the text for a number. Returns 0, or -1 if `member` was forced before it was done. */
int factors(struct member* member, uint64_t number, struct result* result);

/*
 * The printer
 */

struct printer {
  struct member member;
  uvch_mpsc_receiver_t results;
  uvch_watch_sender_t phase; /* for a failure: all are to end */
  uv_handle_type kind;       /* of standard output: UV_FILE, UV_NAMED_PIPE, UV_TTY */
  union {
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tty_t tty;
  } out;
  uv_write_t write;
  uv_fs_t fs;
  char text[BATCH * LINE_SIZE];
  size_t len;     /* of it, while a write is under way */
  size_t written; /* of that; streams tell it only at the end */
  int writing;
  int error;        /* 0, or why it could not write */
  uint64_t printed; /* lines */
  uint64_t dropped; /* left undone: results that came and were not written */
};

/* printer_usable: whether standard output can be written to at all. */
int printer_usable(void);

/* printer_init: `results` becomes the way in. */
void printer_init(struct printer* printer, const uvch_watch_sender_t* phase, uvch_mpsc_sender_t* results, size_t capacity);

#endif
