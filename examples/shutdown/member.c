/* SPDX-License-Identifier: MIT
 *
 * What feeder, workers and printer have in common. */
#include "shutdown.h"

static int raise_to(void* value, void* arg) {
  enum phase* phase = value;
  enum phase wanted = *(const enum phase*) arg;

  if (*phase >= wanted)
    return 0;
  *phase = wanted;
  return 1;
}

/* Control and the printer may do so at the same time, and whoever comes second must not take anything back. */
int phase_raise(const uvch_watch_sender_t* tx, enum phase phase) {
  int r;

  do
    r = uvch_watch_modify_if(tx, raise_to, &phase);
  while (r == UV_EBUSY);
  must(r < 0 ? r : 0, "phase");
  return r;
}

void member_init(struct member* member, const uvch_watch_sender_t* phase, uvch_watch_cb cb) {
  must(uv_loop_init(&member->loop), "loop");
  must(uvch_watch_subscribe(&member->loop, &member->phase, phase), "subscribe");
  must(uvch_watch_start(&member->phase, cb, UVCH_WATCH_CURRENT), "watch");
}

static void run(void* arg) {
  struct member* member = arg;

  must(uv_run(&member->loop, UV_RUN_DEFAULT), "run");
  must(uv_loop_close(&member->loop), "loop"); /* UV_EBUSY would mean that a handle was forgotten */
}

void member_run(struct member* member) {
  must(uv_thread_create(&member->thread, run, member), "thread");
}

void member_join(struct member* member) {
  must(uv_thread_join(&member->thread), "join");
}

void member_leave(struct member* member) {
  must(uvch_close((uvch_handle_t*) &member->phase, NULL), "close");
}

/* Its loop does not run meanwhile, so no callback could tell. While nothing has changed a borrow is a load and a comparison. */
int member_forced(struct member* member) {
  const enum phase* phase = uvch_watch_borrow(&member->phase);

  return *phase == PHASE_FORCED;
}
