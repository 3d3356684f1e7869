/* SPDX-License-Identifier: MIT
 *
 * Calls that wait for room in a full channel, and calls that are cancelled, then or later. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "call_support.h"

#include <sys/mman.h>

/* Waiting for room. */

typedef struct post_s {
  uvch_mpsc_send_t req;
  ask_t ask;
  int status;
} post_t;

static void on_sent(uvch_mpsc_send_t* req, int status) {
  post_t* post = req->data;

  post->status = status;
}

static void post_note(uv_loop_t* loop, post_t* post, const actor_t* actor, uint64_t value) {
  memset(post, 0, sizeof(*post));
  post->status = NOT_DONE;
  post->ask.value = value;
  post->ask.is_note = 1;
  post->req.data = post;
  ck_assert_int_eq(uvch_mpsc_send(loop, &post->req, &actor->tx, &post->ask, on_sent), 0);
}

START_TEST(calls_and_sends_wait_in_one_line) {
  ask_t late;
  post_t posts[3];
  caller_t c[3];
  world_t w;
  size_t i;

  world_init(&w, _i, 1);
  put_note(&w.actor, 0);
  for (i = 0; i < COUNT(c); i++) {
    call(&w.here, &c[i], &w.actor, 1 + 2 * i);
    post_note(&w.here, &posts[i], &w.actor, 2 + 2 * i);
  }
  memset(&late, 0, sizeof(late));
  ck_assert_int_eq(uvch_mpsc_try_send(&w.actor.tx, &late), UV_EAGAIN); /* it does not pass them */
  world_turns(&w);
  for (i = 0; i < COUNT(c); i++) {
    check_waits(&c[i]);
    ck_assert_int_eq(posts[i].status, NOT_DONE);
  }
  actor_start(&w.actor, KEEP);
  world_until(&w, w.actor.count == 7);
  actor_check_got(&w.actor, 7);
  world_turns(&w);
  for (i = 0; i < COUNT(c); i++) {
    ck_assert_int_eq(posts[i].status, 0);
    check_waits(&c[i]);
    ck_assert_int_eq(answer(&w.actor.kept[i], w.actor.values[i]), 0);
  }
  world_end(&w);
  for (i = 0; i < COUNT(c); i++)
    check_reply(&c[i]);
}
END_TEST

START_TEST(a_call_that_waits_for_room_keeps_the_channel_open_and_a_taken_one_does_not) {
  caller_t c[2];
  world_t w;

  world_init(&w, _i, 1);
  call(&w.here, &c[0], &w.actor, 0);
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&w.actor.tx), 1);
  call(&w.here, &c[1], &w.actor, 1);
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&w.actor.tx), 2);
  actor_drop_sender(&w.actor);
  actor_start(&w.actor, KEEP);
  world_until(&w, w.actor.ends == 1);
  actor_check_got(&w.actor, 2);
  check_waits(&c[0]);
  check_waits(&c[1]);
  ck_assert_int_eq(answer(&w.actor.kept[1], 1), 0);
  ck_assert_int_eq(answer(&w.actor.kept[0], 0), 0);
  world_end(&w);
  check_reply(&c[0]);
  check_reply(&c[1]);
}
END_TEST

START_TEST(a_request_may_be_used_again_and_tells_of_its_last_call_only) {
  caller_t c;
  world_t w;

  world_init(&w, _i, 1);
  w.actor.manner = ANSWER;
  call(&w.here, &c, &w.actor, 0);
  actor_turn(&w.actor);
  world_until(&w, c.calls == 1);
  check_reply(&c);
  put_note(&w.actor, 1);
  c.calls = 0;
  ck_assert_int_eq(caller_try(&c, &w.actor, 0), 0);
  world_turns(&w);
  check_waits(&c);
  ck_assert_int_eq(cancel(&c), 0);
  world_until(&w, c.calls == 1);
  check_status(&c, UV_ECANCELED, 0);
  world_end(&w);
}
END_TEST

/* Cancelling. */

START_TEST(a_call_cancelled_while_it_waits_for_room_has_its_message) {
  caller_t c[3];
  world_t w;

  world_init(&w, _i % 2, 1);
  put_note(&w.actor, 0);
  call(&w.here, &c[0], &w.actor, 1);
  call_timed(&w.here, &c[1], &w.actor, 100, _i / 2 == 0 ? 0 : hour);
  call(&w.here, &c[2], &w.actor, 2);
  world_turns(&w);
  ck_assert_int_eq(cancel(&c[1]), 0);
  check_waits(&c[1]);
  world_until(&w, c[1].calls == 1);
  check_status(&c[1], UV_ECANCELED, 0);
  actor_start(&w.actor, ANSWER);
  world_until(&w, c[0].calls == 1 && c[2].calls == 1);
  actor_check_got(&w.actor, 3);
  world_end(&w);
  check_reply(&c[0]);
  check_reply(&c[2]);
}
END_TEST

START_TEST(the_last_sender_may_be_a_call_that_is_cancelled) {
  caller_t c;
  world_t w;

  world_init(&w, _i, 1);
  put_note(&w.actor, 0);
  call(&w.here, &c, &w.actor, 1);
  actor_drop_sender(&w.actor);
  actor_start(&w.actor, ANSWER);
  ck_assert_int_eq(cancel(&c), 0);
  world_until(&w, w.actor.ends == 1);
  world_end(&w);
  actor_check_got(&w.actor, 1);
  check_status(&c, UV_ECANCELED, 0);
}
END_TEST

START_TEST(a_call_cancelled_after_its_message_was_taken_refuses_the_reply) {
  bool before_callback = _i / 4 == 1;
  caller_t c;
  world_t w;

  world_init(&w, _i % 2, 1);
  actor_start(&w.actor, KEEP);
  call(&w.here, &c, &w.actor, 0);
  world_until(&w, w.actor.kept_count == 1);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&w.actor.kept[0]), 0);
  ck_assert_int_eq(cancel(&c), 0);
  check_waits(&c);
  if (before_callback)
    check_too_late(&w.actor.kept[0], _i / 2 % 2 == 0);
  world_until(&w, c.calls == 1);
  check_status(&c, UV_ECANCELED, 1);
  if (!before_callback)
    check_too_late(&w.actor.kept[0], _i / 2 % 2 == 0);
  world_end(&w);
  ck_assert_int_eq(c.calls, 1);
}
END_TEST

START_TEST(a_late_reply_to_a_call_without_a_drop_function_comes_back) {
  uvch_call_options_t options = {.timeout = 0};
  const uvch_call_options_t* given = _i == 0 ? NULL : &options;
  caller_t c;
  world_t w;

  world_init(&w, false, 1);
  w.actor.manner = KEEP;
  caller_init(&c, &w.here, 0);
  ck_assert_int_eq(uvch_call_ex(&w.here, &c.req, &w.actor.tx, &c.ask, &c.ask.reply, sizeof(box_t*), given, on_reply), 0);
  actor_turn(&w.actor);
  ck_assert_int_eq(cancel(&c), 0);
  ck_assert_int_eq(answer(&w.actor.kept[0], 0), UV_EPIPE);
  ck_assert_int_eq(answer(&w.actor.kept[0], 0), UV_EBADF);
  world_until(&w, c.calls == 1);
  check_status(&c, UV_ECANCELED, 1);
  ck_assert_uint_eq(atomic_load(&replies.dropped), 0);
  world_end(&w);
}
END_TEST

START_TEST(a_call_cancelled_while_its_message_is_queued_is_still_delivered) {
  caller_t c;
  world_t w;

  world_init(&w, _i, 1);
  call(&w.here, &c, &w.actor, 0);
  ck_assert_int_eq(cancel(&c), 0);
  world_until(&w, c.calls == 1);
  check_status(&c, UV_ECANCELED, 1);
  w.actor.manner = KEEP;
  actor_turn(&w.actor);
  check_too_late(&w.actor.kept[0], false);
  world_end(&w);
}
END_TEST

START_TEST(a_cancelled_call_whose_sender_is_closed_is_done_once) {
  caller_t c;
  world_t w;

  world_init(&w, _i, 1);
  actor_start(&w.actor, KEEP);
  call(&w.here, &c, &w.actor, 0);
  world_until(&w, w.actor.kept_count == 1);
  ck_assert_int_eq(cancel(&c), 0);
  ck_assert_int_eq(uvch_oneshot_sender_close(&w.actor.kept[0]), 0);
  world_end(&w);
  check_status(&c, UV_ECANCELED, 1);
}
END_TEST

START_TEST(a_reply_that_is_there_cannot_be_cancelled) {
  bool gives_up = _i / 2 == 1;
  caller_t c;
  world_t w;

  world_init(&w, _i % 2, 1);
  w.actor.manner = gives_up ? GIVE_UP : ANSWER;
  call_timed(&w.here, &c, &w.actor, 0, hour);
  actor_turn(&w.actor);
  ck_assert_int_eq(cancel(&c), UV_EBUSY);
  world_until(&w, c.calls == 1);
  if (gives_up)
    check_status(&c, UV_EOF, 1);
  else
    check_reply(&c);
  ck_assert_int_eq(cancel(&c), UV_EBUSY);
  world_end(&w);
  ck_assert_int_eq(c.calls, 1);
}
END_TEST

START_TEST(a_call_is_cancelled_once) {
  caller_t c[2];
  world_t w;
  size_t i;

  world_init(&w, _i, 1);
  for (i = 0; i < COUNT(c); i++) { /* the first is taken, the second waits for room */
    call(&w.here, &c[i], &w.actor, i);
    ck_assert_int_eq(cancel(&c[i]), 0);
    ck_assert_int_eq(cancel(&c[i]), UV_EBUSY);
  }
  world_until(&w, c[0].calls + c[1].calls == 2);
  world_turns(&w);
  for (i = 0; i < COUNT(c); i++) {
    ck_assert_int_eq(cancel(&c[i]), UV_EBUSY);
    check_status(&c[i], UV_ECANCELED, i == 0);
  }
  world_end(&w);
}
END_TEST

static void cancel_in_callback(uvch_call_t* req, int status, void* reply) {
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) req), UV_EBUSY);
  on_reply(req, status, reply);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) req), UV_EBUSY);
}

START_TEST(a_call_cannot_be_cancelled_in_its_callback) {
  caller_t c[4];
  world_t w;
  size_t i;

  world_init(&w, _i, 2);
  actor_start(&w.actor, KEEP);
  for (i = 0; i < COUNT(c); i++) {
    uvch_call_options_t options = {.timeout = i == 3 ? millisecond : 0, .drop = box_drop};

    caller_init(&c[i], &w.here, i);
    ck_assert_int_eq(uvch_call_ex(&w.here, &c[i].req, &w.actor.tx, &c[i].ask, &c[i].ask.reply, sizeof(box_t*), &options,
                                  cancel_in_callback),
                     0);
  }
  world_until(&w, w.actor.kept_count >= 3);
  ck_assert_int_eq(answer(&w.actor.kept[0], 0), 0);
  ck_assert_int_eq(uvch_oneshot_sender_close(&w.actor.kept[1]), 0);
  ck_assert_int_eq(cancel(&c[2]), 0);
  for (i = 0; i < COUNT(c); i++)
    world_until(&w, c[i].calls == 1);
  world_end(&w);
  check_reply(&c[0]);
  check_status(&c[1], UV_EOF, 1);
  check_status(&c[2], UV_ECANCELED, 1);
  ck_assert_int_eq(c[3].status, UV_ETIMEDOUT);
  check_too_late(&w.actor.kept[2], false);
  if (w.actor.kept_count == 4)
    check_too_late(&w.actor.kept[3], true);
}
END_TEST

/* A thread that frees room is stopped while it copies the message of a call, which is given up meanwhile. */
START_TEST(a_call_is_given_up_while_its_message_moves) {
  bool times_out = _i % 2 == 1;
  bool is_answered = _i / 2 == 1;
  uvch_call_options_t options = {.drop = box_drop, .timeout = times_out ? millisecond : 0};
  uvch_mpsc_permit_t permit;
  support_slow_t slow;
  uv_thread_t thread;
  caller_t c;
  world_t w;
  ask_t* ask;

  world_init(&w, true, 1);
  caller_init(&c, &w.here, 5);
  support_slow_init(&slow, &c.ask, sizeof(c.ask));
  ask = slow.item;
  ck_assert_int_eq(uvch_mpsc_try_reserve(&w.actor.tx, 1, &permit), 0);
  ck_assert_int_eq(mprotect(slow.item, slow.mapped, PROT_READ | PROT_WRITE), 0);
  ck_assert_int_eq(uvch_call_ex(&w.here, &c.req, &w.actor.tx, ask, &ask->reply, sizeof(box_t*), &options, on_reply), 0);
  ck_assert_int_eq(mprotect(slow.item, slow.mapped, PROT_NONE), 0);
  support_spawn(&thread, release_permit, &permit);
  support_slow_until_read(&slow);
  if (times_out)
    let_pass(&w.here, 2);
  else
    ck_assert_int_eq(cancel(&c), 0);
  uv_run(&w.here, UV_RUN_NOWAIT);
  uv_run(&w.here, UV_RUN_NOWAIT);
  check_waits(&c); /* the message is still looked at */
  ck_assert_int_eq(cancel(&c), UV_EBUSY);
  support_slow_let_go(&slow);
  support_join(&thread);
  ck_assert_int_eq(mprotect(slow.item, slow.mapped, PROT_READ | PROT_WRITE), 0);
  if (!is_answered)
    world_until(&w, c.calls == 1);
  actor_start(&w.actor, KEEP);
  world_until(&w, w.actor.kept_count == 1 && c.calls == 1);
  check_too_late(&w.actor.kept[0], is_answered);
  c.ask = *ask;
  check_status(&c, times_out ? UV_ETIMEDOUT : UV_ECANCELED, 1);
  world_end(&w);
  support_slow_destroy(&slow);
}
END_TEST

/* Who serves is told that nobody waits any more. */

typedef struct watch_s {
  uvch_oneshot_closed_t req;
  int calls;
  int status;
} watch_t;

static void on_nobody(uvch_oneshot_closed_t* req, int status) {
  watch_t* watch = req->data;

  watch->calls += 1;
  watch->status = status;
}

START_TEST(an_actor_is_told_when_nobody_waits_for_its_reply_any_more) {
  watch_t watches[3];
  caller_t c[3];
  world_t w;
  size_t i;

  world_init(&w, _i, 3);
  actor_start(&w.actor, KEEP);
  for (i = 0; i < COUNT(c); i++)
    call_timed(&w.here, &c[i], &w.actor, i, i == 1 ? 5 * millisecond : 0);
  world_until(&w, w.actor.kept_count == COUNT(c));
  for (i = 0; i < COUNT(c); i++) {
    memset(&watches[i], 0, sizeof(watches[i]));
    watches[i].req.data = &watches[i];
    ck_assert_int_eq(uvch_oneshot_closed(w.actor.rx.loop, &watches[i].req, &w.actor.kept[i], on_nobody), 0);
  }
  ck_assert_int_eq(cancel(&c[0]), 0);
  world_until(&w, watches[0].calls == 1 && watches[1].calls == 1);
  ck_assert_int_eq(watches[0].status, 0);
  ck_assert_int_eq(watches[1].status, 0);
  ck_assert_int_eq(watches[2].calls, 0);
  ck_assert_int_eq(answer(&w.actor.kept[2], 2), 0);
  world_until(&w, watches[2].calls == 1);
  ck_assert_int_eq(watches[2].status, UV_ECANCELED);
  check_too_late(&w.actor.kept[0], false);
  check_too_late(&w.actor.kept[1], true);
  world_end(&w);
  check_status(&c[0], UV_ECANCELED, 1);
  check_status(&c[1], UV_ETIMEDOUT, 1);
  check_reply(&c[2]);
}
END_TEST

static void add_room(Suite* suite) {
  TCase* tcase = call_case(suite, "room");

  tcase_add_loop_test(tcase, calls_and_sends_wait_in_one_line, 0, 2);
  tcase_add_loop_test(tcase, a_call_that_waits_for_room_keeps_the_channel_open_and_a_taken_one_does_not, 0, 2);
  tcase_add_loop_test(tcase, a_request_may_be_used_again_and_tells_of_its_last_call_only, 0, 2);
}

static void add_cancel(Suite* suite) {
  TCase* tcase = call_case(suite, "cancel");

  tcase_add_loop_test(tcase, a_call_cancelled_while_it_waits_for_room_has_its_message, 0, 4);
  tcase_add_loop_test(tcase, the_last_sender_may_be_a_call_that_is_cancelled, 0, 2);
  tcase_add_loop_test(tcase, a_call_cancelled_after_its_message_was_taken_refuses_the_reply, 0, 8);
  tcase_add_loop_test(tcase, a_late_reply_to_a_call_without_a_drop_function_comes_back, 0, 2);
  tcase_add_loop_test(tcase, a_call_cancelled_while_its_message_is_queued_is_still_delivered, 0, 2);
  tcase_add_loop_test(tcase, a_cancelled_call_whose_sender_is_closed_is_done_once, 0, 2);
  tcase_add_loop_test(tcase, a_reply_that_is_there_cannot_be_cancelled, 0, 4);
  tcase_add_loop_test(tcase, a_call_is_cancelled_once, 0, 2);
  tcase_add_loop_test(tcase, a_call_cannot_be_cancelled_in_its_callback, 0, 2);
  tcase_add_loop_test(tcase, a_call_is_given_up_while_its_message_moves, 0, 4);
  tcase_add_loop_test(tcase, an_actor_is_told_when_nobody_waits_for_its_reply_any_more, 0, 2);
}

int main(void) {
  Suite* suite = suite_create("call_room");

  add_room(suite);
  add_cancel(suite);
  return support_main(suite);
}
