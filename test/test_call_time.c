/* SPDX-License-Identifier: MIT
 *
 * Calls with a timeout: which come when, and in which order. */
#include "call_support.h"

static void check_timed_out(caller_t* c, uint64_t milliseconds, int is_sent) {
  check_status(c, UV_ETIMEDOUT, is_sent);
  ck_assert_uint_ge(c->done - c->started, milliseconds);
}

START_TEST(a_call_times_out_while_it_waits_for_room_and_after) {
  static const uint64_t lengths[] = {1, 999999, 1000000, 1000001, 2999999, 10000000};
  uint64_t length = lengths[_i / 2];
  uint64_t milliseconds = (length + millisecond - 1) / millisecond;
  caller_t c[2];
  world_t w;

  world_init(&w, _i % 2, 1);
  call_timed(&w.here, &c[0], &w.actor, 0, length);
  call_timed(&w.here, &c[1], &w.actor, 1, length);
  check_waits(&c[0]);
  support_loop_run(&w.here);
  check_timed_out(&c[0], milliseconds, 1);
  check_timed_out(&c[1], milliseconds, 0);
  actor_start(&w.actor, KEEP);
  world_until(&w, w.actor.kept_count == 1);
  world_turns(&w);
  actor_check_got(&w.actor, 1);
  check_too_late(&w.actor.kept[0], _i % 4 / 2 == 0);
  world_end(&w);
}
END_TEST

#define TIMED 24

/* Starts TIMED calls; `lengths` in milliseconds. */
static void start_timed(world_t* w, caller_t* c, const size_t* lengths, size_t* turns) {
  size_t i;

  for (i = 0; i < TIMED; i++) {
    call_timed(&w->here, &c[i], &w->actor, i, lengths[i] * millisecond);
    c[i].turns = turns;
  }
}

static void check_shortest_first(const caller_t* c, const size_t* lengths) {
  size_t i;
  size_t k;

  for (i = 0; i < TIMED; i++) {
    for (k = 0; k < TIMED; k++) {
      if (c[i].status == UV_ETIMEDOUT && c[k].status == UV_ETIMEDOUT && lengths[i] < lengths[k])
        support_check(c[i].turn < c[k].turn);
    }
  }
}

START_TEST(timeouts_come_shortest_first_whatever_the_order_they_were_started_in) {
  uint64_t seed = (uint64_t) _i;
  size_t lengths[TIMED];
  caller_t c[TIMED];
  size_t turns = 0;
  world_t w;
  size_t i;

  world_init(&w, _i % 2, _i % 3 == 0 ? 1 : TIMED); /* most wait for room, or all are taken */
  for (i = 0; i < TIMED; i++) {
    lengths[i] = _i < 2 ? 1 + i : _i < 4 ? TIMED - i : 1 + draw(&seed, 8);
  }
  start_timed(&w, c, lengths, &turns);
  if (_i % 4 >= 2)
    let_pass(&w.here, TIMED + 1); /* all of them at once */
  support_loop_run(&w.here);
  ck_assert_uint_eq(turns, TIMED);
  for (i = 0; i < TIMED; i++)
    check_timed_out(&c[i], lengths[i], _i % 3 != 0 || i == 0);
  check_shortest_first(c, lengths);
  world_end(&w);
}
END_TEST

START_TEST(some_calls_time_out_among_others_that_do_not) {
  uint64_t seed = (uint64_t) _i + 100;
  size_t lengths[TIMED];
  caller_t c[TIMED];
  size_t turns = 0;
  world_t w;
  size_t i;

  world_init(&w, _i % 2, TIMED);
  actor_start(&w.actor, KEEP);
  for (i = 0; i < TIMED; i++)
    lengths[i] = i % 4 == 0 ? 0 : i % 4 == 1 ? 3600000 : 10 + draw(&seed, 10); /* never, late, and soon */
  start_timed(&w, c, lengths, &turns);
  world_until(&w, w.actor.kept_count == TIMED);
  for (i = 2; i < TIMED; i += 4) {
    if (draw(&seed, 3) == 0)
      (void) cancel(&c[i]); /* too late if its time came on a slow machine */
  }
  for (i = 2; i < TIMED; i++)
    world_until(&w, c[i].calls == (i % 4 >= 2) || i % 4 < 2);
  world_turns(&w);
  for (i = 0; i < TIMED; i++) {
    ck_assert_int_eq(c[i].calls, i % 4 >= 2);
    if (i % 4 < 2)
      ck_assert_int_eq(answer(&w.actor.kept[i], i), 0);
    else
      check_too_late(&w.actor.kept[i], false);
  }
  world_end(&w);
  for (i = 0; i < TIMED; i++) {
    if (i % 4 < 2)
      check_reply(&c[i]);
    else if (c[i].status == UV_ETIMEDOUT)
      check_timed_out(&c[i], lengths[i], 1);
    else
      check_status(&c[i], UV_ECANCELED, 1);
  }
  check_shortest_first(c, lengths);
}
END_TEST

/* Timeouts start, end by cancels in any order, and start again; at last all that are left are due at once. */
START_TEST(timeouts_keep_their_order_whatever_ends_between) {
  enum { MANY = 300 };
  size_t rounds = support_scale(400);
  caller_t* c = calloc(MANY, sizeof(*c));
  uint64_t seed = (uint64_t) _i;
  uint64_t due[MANY];
  size_t turns = 0;
  world_t w;
  size_t i;
  size_t k;

  ck_assert_ptr_nonnull(c);
  world_init(&w, false, _i % 2 == 0 ? 1 : UVCH_UNBOUNDED);
  for (k = 0; k < MANY + rounds; k++) {
    i = k < MANY ? k : draw(&seed, MANY);
    if (k >= MANY) {
      (void) cancel(&c[i]); /* too late if its time came on a slow machine */
      world_until(&w, c[i].calls == 1);
    }
    due[i] = 200 + (_i < 2 ? k % 50 : _i < 4 ? 50 - k % 50 : draw(&seed, 50));
    call_timed(&w.here, &c[i], &w.actor, i, due[i] * millisecond);
    due[i] += c[i].started;
    c[i].turns = &turns;
  }
  let_pass(&w.here, 251);
  support_loop_run(&w.here);
  for (i = 0; i < MANY; i++) {
    support_check(c[i].calls == 1 && c[i].status == UV_ETIMEDOUT && c[i].done >= due[i]);
    for (k = 0; k < MANY; k++)
      support_check(due[i] >= due[k] || c[i].turn < c[k].turn);
  }
  world_end(&w);
  free(c);
}
END_TEST

START_TEST(a_shorter_timeout_started_later_comes_first) {
  caller_t c[3];
  size_t turns = 0;
  world_t w;

  world_init(&w, _i, 4);
  call_timed(&w.here, &c[0], &w.actor, 0, 200 * millisecond);
  c[0].turns = &turns;
  world_turns(&w);
  call_timed(&w.here, &c[1], &w.actor, 1, hour);
  world_turns(&w);
  call_timed(&w.here, &c[2], &w.actor, 2, 1);
  c[2].turns = &turns;
  world_until(&w, turns == 2);
  ck_assert_uint_eq(c[2].turn, 0);
  check_timed_out(&c[2], 1, 1);
  check_timed_out(&c[0], 200, 1);
  check_waits(&c[1]);
  ck_assert_int_eq(cancel(&c[1]), 0);
  support_loop_run(&w.here);
  check_status(&c[1], UV_ECANCELED, 1);
  world_end(&w);
}
END_TEST

START_TEST(a_timeout_that_ends_before_the_others_leaves_them_alone) {
  caller_t c[3];
  world_t w;
  size_t i;

  world_init(&w, _i % 2, 4);
  actor_start(&w.actor, KEEP);
  for (i = 0; i < COUNT(c); i++)
    call_timed(&w.here, &c[i], &w.actor, i, (500 + 20 * i) * millisecond);
  world_until(&w, w.actor.kept_count == COUNT(c));
  if (_i / 2 == 0)
    ck_assert_int_eq(cancel(&c[0]), 0);
  else
    ck_assert_int_eq(answer(&w.actor.kept[0], 0), 0);
  for (i = 0; i < COUNT(c); i++)
    world_until(&w, c[i].calls == 1);
  if (_i / 2 == 0)
    check_status(&c[0], UV_ECANCELED, 1);
  else
    check_reply(&c[0]);
  check_timed_out(&c[1], 520, 1);
  check_timed_out(&c[2], 540, 1);
  for (i = _i / 2 == 0 ? 0 : 1; i < COUNT(c); i++)
    check_too_late(&w.actor.kept[i], i % 2 == 0);
  world_end(&w);
}
END_TEST

START_TEST(no_timeout_and_a_huge_one_never_come) {
  static const uint64_t lengths[] = {0, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 999999, UINT64_MAX / 2, INT64_MAX,
                                     UINT64_C(4294967296000000), UINT64_C(4294967295000001)}; /* 2^32 milliseconds */
  caller_t c[COUNT(lengths)];
  caller_t last;
  world_t w;
  size_t i;

  world_init(&w, _i, COUNT(c) + 1);
  for (i = 0; i < COUNT(c); i++)
    call_timed(&w.here, &c[i], &w.actor, i, lengths[i]);
  call_timed(&w.here, &last, &w.actor, COUNT(c), 20 * millisecond);
  world_until(&w, last.calls == 1);
  world_turns(&w);
  check_timed_out(&last, 20, 1);
  for (i = 0; i < COUNT(c); i++)
    check_waits(&c[i]);
  actor_start(&w.actor, KEEP);
  world_until(&w, w.actor.kept_count == COUNT(c) + 1);
  for (i = 0; i < COUNT(c); i++)
    ck_assert_int_eq(answer(&w.actor.kept[i], i), 0);
  check_too_late(&w.actor.kept[COUNT(c)], true);
  for (i = 0; i < COUNT(c); i++) {
    world_until(&w, c[i].calls == 1);
    check_reply(&c[i]);
  }
  world_end(&w);
}
END_TEST

/* The reply is there, and so is the end of the time: it was sent with success, so it is not lost. */
START_TEST(a_reply_sent_before_the_timer_is_looked_at_comes) {
  caller_t c;
  world_t w;

  world_init(&w, _i, 4);
  w.actor.manner = ANSWER;
  call_timed(&w.here, &c, &w.actor, 0, millisecond);
  actor_turn(&w.actor);
  let_pass(&w.here, 5);
  world_until(&w, c.calls == 1);
  check_reply(&c);
  world_end(&w);
}
END_TEST

START_TEST(a_loop_ends_with_its_last_call_though_a_timeout_lies_ahead) {
  caller_t c[3];
  world_t w;
  size_t i;

  world_init(&w, true, 2);
  actor_start(&w.actor, KEEP);
  for (i = 0; i < COUNT(c); i++)
    call_timed(&w.here, &c[i], &w.actor, i, (i + 1) * hour);
  world_until(&w, w.actor.kept_count == COUNT(c));
  ck_assert_int_eq(answer(&w.actor.kept[0], 0), 0);
  ck_assert_int_eq(uvch_oneshot_sender_close(&w.actor.kept[1]), 0);
  ck_assert_int_eq(cancel(&c[2]), 0);
  support_loop_end(&w.here); /* before the timeouts, or the test's own would end it */
  check_reply(&c[0]);
  check_status(&c[1], UV_EOF, 1);
  check_status(&c[2], UV_ECANCELED, 1);
  memset(&w.here, 0xdd, sizeof(w.here));
  check_too_late(&w.actor.kept[2], false);
  actor_close(&w.actor);
  support_loop_end(&w.there);
}
END_TEST

static void count_owned(uv_handle_t* handle, void* arg) {
  size_t* counts = arg;

  counts[uvch_owns_handle(handle) != 0] += 1;
}

START_TEST(the_timer_is_known_as_the_librarys_own) {
  size_t counts[2] = {0, 0};
  caller_t c;
  world_t w;

  world_init(&w, false, 2);
  call_timed(&w.here, &c, &w.actor, 0, 50 * millisecond);
  uv_walk(&w.here, count_owned, counts);
  ck_assert_uint_gt(counts[1], 0);
  ck_assert_uint_eq(counts[0], 0);
  support_loop_run(&w.here);
  check_timed_out(&c, 50, 1);
  world_end(&w);
}
END_TEST

static void add_timeouts(Suite* suite) {
  TCase* tcase = call_case(suite, "timeouts");

  tcase_add_loop_test(tcase, a_call_times_out_while_it_waits_for_room_and_after, 0, 12);
  tcase_add_loop_test(tcase, timeouts_come_shortest_first_whatever_the_order_they_were_started_in, 0, 24);
  tcase_add_loop_test(tcase, some_calls_time_out_among_others_that_do_not, 0, 8);
  tcase_add_loop_test(tcase, timeouts_keep_their_order_whatever_ends_between, 0, 10);
  tcase_add_loop_test(tcase, a_shorter_timeout_started_later_comes_first, 0, 2);
  tcase_add_loop_test(tcase, a_timeout_that_ends_before_the_others_leaves_them_alone, 0, 4);
  tcase_add_loop_test(tcase, no_timeout_and_a_huge_one_never_come, 0, 2);
  tcase_add_loop_test(tcase, a_reply_sent_before_the_timer_is_looked_at_comes, 0, 2);
  tcase_add_test(tcase, a_loop_ends_with_its_last_call_though_a_timeout_lies_ahead);
  tcase_add_test(tcase, the_timer_is_known_as_the_librarys_own);
}

int main(void) {
  Suite* suite = suite_create("call_time");

  add_timeouts(suite);
  return support_main(suite);
}
