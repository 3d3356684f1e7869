/* SPDX-License-Identifier: MIT
 *
 * A key-value actor: one loop owns a table, and who wants something from it sends a command and gets an answer. No locks. */
#ifndef ACTOR_H
#define ACTOR_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include <uvch.h>

enum { KEY_SIZE = 16, ENTRIES = 16, WATCHERS = 16, CAPACITY = 16 /* commands; who sends more than that waits */ };

/*
 * The messages
 */

enum op {
  OP_GET,
  OP_SET,
  OP_DELETE,
  OP_SWAP, /* compare and swap: set, if the value is still the expected one */
  OP_WATCH /* answered when the key is set, swapped or deleted: the slow command */
};

struct command {
  enum op op;
  char key[KEY_SIZE];          /* ends with 0 */
  long value;                  /* set, swap: the new one */
  long expected;               /* swap: the old one */
  uvch_oneshot_sender_t reply; /* moves with the command; who holds the command must use it up */
};

struct answer {
  int status; /* 0, UV_ENOENT (no such key), UV_EAGAIN (swap: not the expected value), UV_ENOSPC (too many keys or watchers) */
  long value; /* the one that is there now; of a key that was deleted, the last */
};

/*
 * The actor
 */

struct entry {
  char key[KEY_SIZE];
  long value;
};

struct actor {
  uvch_mpsc_receiver_t rx;
  uv_signal_t interrupt;
  struct entry entries[ENTRIES];
  size_t entry_count;
  struct command watchers[WATCHERS]; /* not answered yet */
  size_t watcher_count;
  int late; /* answers that came after the caller had given up */
};

/* actor_start: serve commands on `loop` until the last sender is closed, or until Ctrl-C. `tx` is the first sender. */
void actor_start(struct actor* actor, uv_loop_t* loop, uvch_mpsc_sender_t* tx);

/* actor_put, actor_get: the table, for the loop's own thread. Return 0, UV_ENOSPC; 0, UV_ENOENT. */
int actor_put(struct actor* actor, const char* key, long value);
int actor_get(struct actor* actor, const char* key, long* value);

/*
 * The callers
 */

enum { STEPS = 5, INCREMENTS = 1000 };

/* What a caller is to do: five steps with a key of its own, then 1,000 increments of a counter that all share. */
struct work {
  char key[KEY_SIZE];
  uvch_mpsc_sender_t tx;
  struct command command; /* the next one to send */
  uint64_t timeout;       /* for it, in nanoseconds; 0: none */
  struct answer answers[STEPS];
  int step;
  int increments;
  long seen; /* the counter, as far as this caller knows */
  int error; /* it could not go on */
};

/* work_next: make the next command. Returns 1, or 0 if there is none. */
int work_next(struct work* work);

/* work_done: the command has been answered, or with a status below 0 it has not. */
void work_done(struct work* work, int status, const struct answer* answer);

/* Three ways to call an actor, each for a thread of its own; `arg` is the work. They close its sender at the end. */
void by_call(void* arg); /* a loop, and uvch_call */
void by_hand(void* arg); /* a loop, with an own oneshot and timer */
void by_wait(void* arg); /* no loop: the thread sleeps until the answer is there */

/* must: end the program if `r` is an error. */
void must(int r, const char* what);

#endif
