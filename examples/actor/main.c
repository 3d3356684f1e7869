/* SPDX-License-Identifier: MIT
 *
 * The actor runs on the main thread's loop, its three callers on threads of their own. When the last one has closed its sender
 * the actor closes what it has, and uv_run() returns. Exit code 0: all got the answers that they should, and none was lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor.h"

enum { CALLERS = 3 };

static const struct {
  enum op op;
  const char* name;
  uint64_t timeout; /* milliseconds */
} steps[STEPS] = {
    {OP_WATCH, "watch", 20},      /* nobody changes the key meanwhile, so this times out */
    {OP_SET, "set", 60000},       /* now the watch is answered, too late */
    {OP_GET, "get", 60000},       /* the value */
    {OP_DELETE, "delete", 60000}, /* the last value */
    {OP_GET, "get", 60000},       /* no such key */
};

void must(int r, const char* what) {
  if (r == 0)
    return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(r));
  exit(1);
}

int work_next(struct work* work) {
  struct command* command = &work->command;

  if (work->error != 0 || work->increments == INCREMENTS)
    return 0;
  if (work->step < STEPS) {
    *command = (struct command){.op = steps[work->step].op, .value = 7};
    memcpy(command->key, work->key, KEY_SIZE);
    work->timeout = steps[work->step].timeout * 1000000;
  } else {
    *command = (struct command){.op = OP_SWAP, .key = "counter", .value = work->seen + 1, .expected = work->seen};
    work->timeout = 0;
  }
  return 1;
}

void work_done(struct work* work, int status, const struct answer* answer) {
  if (status != 0 && status != UV_ETIMEDOUT) {
    work->error = status; /* UV_EPIPE, UV_EOF: the actor is gone */
  } else if (work->step < STEPS) {
    work->answers[work->step++] = status == 0 ? *answer : (struct answer){.status = status};
  } else {
    work->seen = answer->value;
    work->increments += answer->status == 0; /* else another caller was first: once more, from its value */
  }
}

static int report(const struct work* work) {
  int i;

  if (work->error != 0) {
    fprintf(stderr, "%s: %s\n", work->key, uv_strerror(work->error));
    return -1;
  }
  printf("%s:", work->key);
  for (i = 0; i < STEPS; i++) {
    if (work->answers[i].status == 0)
      printf(" %s %ld,", steps[i].name, work->answers[i].value);
    else
      printf(" %s %s,", steps[i].name, uv_err_name(work->answers[i].status));
  }
  printf(" %d increments\n", work->increments);
  return 0;
}

int main(void) {
  static const uv_thread_cb by[CALLERS] = {by_call, by_hand, by_wait};
  struct work works[CALLERS] = {{.key = "call"}, {.key = "hand"}, {.key = "wait"}};
  uv_thread_t threads[CALLERS];
  struct actor actor = {0};
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  long counter = 0;
  int failed = 0;
  int i;

  must(uv_loop_init(&loop), "loop");
  actor_start(&actor, &loop, &tx);
  must(actor_put(&actor, "counter", counter), "put");
  for (i = 0; i < CALLERS; i++) {
    must(uvch_mpsc_sender_clone(&tx, &works[i].tx), "clone");
    must(uv_thread_create(&threads[i], by[i], &works[i]), "thread");
  }
  must(uvch_mpsc_sender_close(&tx), "close"); /* the callers have theirs */
  must(uv_run(&loop, UV_RUN_DEFAULT), "run");
  for (i = 0; i < CALLERS; i++) {
    must(uv_thread_join(&threads[i]), "join");
    failed |= report(&works[i]);
  }
  must(actor_get(&actor, "counter", &counter), "counter");
  printf("counter %ld, %d late answers\n", counter, actor.late);
  must(uv_loop_close(&loop), "loop");
  return failed == 0 && counter == (long) CALLERS * INCREMENTS && fflush(stdout) == 0 ? 0 : 1;
}
