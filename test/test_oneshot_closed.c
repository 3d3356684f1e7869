/* SPDX-License-Identifier: MIT
 *
 * Oneshot channels and threads: those who watch for the end of the receiver, on loops and asleep, and those who sleep until a
 * value comes. */
#include "oneshot_support.h"

/* The ways in which nobody waits for the value any more. */
enum { BY_SHUTDOWN, BY_CLOSE, WAYS };

#define WAY (_i % WAYS)
#define KIND (_i / WAYS)
#define add_for_every_way(tcase, test) tcase_add_loop_test(tcase, test, 0, WAYS * KINDS)

static void close_in(int way, uvch_oneshot_receiver_t* rx) {
  if (way == BY_SHUTDOWN) {
    support_check_eq(uvch_oneshot_recv_shutdown(rx), 0);
  } else {
    close_rx(rx);
  }
}

static void close_rest(int way, uvch_oneshot_receiver_t* rx) {
  if (way == BY_SHUTDOWN) {
    close_rx(rx);
  }
}

/* Requests. */

START_TEST(a_request_is_told_when_nobody_waits_any_more) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  uv_loop_t far;
  drops_t drops;

  support_loop_init(&loop);
  support_loop_init(&far);
  open_kind(KIND, &loop, &rx, &tx, &drops);
  watch(&far, &watcher, &tx);
  check_waits(&far, &watcher.calls);
  ck_assert_int_eq(uv_loop_close(&far), UV_EBUSY);
  close_in(WAY, &rx);
  ck_assert_uint_eq(watcher.calls, 0);
  support_loop_run(&far);
  check_told(&watcher, 0);
  ck_assert_int_eq(cancel(&watcher), UV_EBUSY);
  ck_assert_int_eq(try_put(&tx), UV_EPIPE);
  close_rest(WAY, &rx);
  support_loop_end(&loop);
  support_loop_end(&far);
  check_told(&watcher, 0);
}
END_TEST

/* The receiver's own loop is one of them. */
START_TEST(all_requests_of_all_loops_are_told) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  watcher_t watchers[3][7];
  uv_loop_t loops[3];
  drops_t drops;
  size_t i;
  size_t k;

  for (i = 0; i < COUNT(loops); i++) {
    support_loop_init(&loops[i]);
  }
  open_kind(KIND, &loops[0], &rx, &tx, &drops);
  for (k = 0; k < COUNT(watchers[0]); k++) {
    for (i = 0; i < COUNT(loops); i++) {
      watch(&loops[i], &watchers[i][k], &tx);
    }
  }
  for (i = 0; i < COUNT(loops); i++) {
    check_waits(&loops[i], &watchers[i][0].calls);
  }
  ck_assert_int_eq(cancel(&watchers[2][3]), 0); /* from the middle, the front, the end */
  ck_assert_int_eq(cancel(&watchers[0][0]), 0);
  ck_assert_int_eq(cancel(&watchers[1][6]), 0);
  close_in(WAY, &rx);
  for (i = 0; i < COUNT(loops); i++) {
    support_loop_run(&loops[i]);
    for (k = 0; k < COUNT(watchers[0]); k++) {
      check_told(&watchers[i][k], (i == 2 && k == 3) || (i == 0 && k == 0) || (i == 1 && k == 6) ? UV_ECANCELED : 0);
    }
  }
  close_rest(WAY, &rx);
  drop_sender(&tx);
  for (i = 0; i < COUNT(loops); i++) {
    support_loop_end(&loops[i]);
  }
}
END_TEST

START_TEST(when_it_is_closed_already_the_callback_comes_all_the_same_and_later) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  watcher_t watchers[2];
  uv_loop_t loop;
  drops_t drops;

  support_loop_init(&loop);
  open_kind(KIND, &loop, &rx, &tx, &drops);
  close_in(WAY, &rx);
  watch(&loop, &watchers[0], &tx);
  watch(&loop, &watchers[1], &tx);
  ck_assert_int_eq(cancel(&watchers[0]), UV_EBUSY);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  drop_sender(&tx); /* too late to change anything */
  close_rest(WAY, &rx);
  support_loop_end(&loop);
  check_told(&watchers[0], 0);
  check_told(&watchers[1], 0);
}
END_TEST

START_TEST(using_the_sender_up_ends_the_wait) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  watcher_t watchers[2];
  uv_loop_t loop;
  uv_loop_t far;
  drops_t drops;

  support_loop_init(&loop);
  support_loop_init(&far);
  open_kind(KIND, &loop, &rx, &tx, &drops);
  watch(&loop, &watchers[0], &tx);
  watch(&far, &watchers[1], &tx);
  check_waits(&far, &watchers[1].calls);
  if (WAY == 0) {
    put(&tx, 1);
  } else {
    drop_sender(&tx);
  }
  ck_assert_uint_eq(watchers[0].calls + watchers[1].calls, 0); /* not from inside the call */
  ck_assert_int_eq(cancel(&watchers[0]), UV_EBUSY);
  close_rx(&rx); /* which does not change it */
  support_loop_end(&loop);
  support_loop_end(&far);
  check_told(&watchers[0], UV_ECANCELED);
  check_told(&watchers[1], UV_ECANCELED);
  ck_assert_uint_eq(drops.count, WAY == 0);
}
END_TEST

START_TEST(a_send_after_the_news_does_not_take_it_back) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  drops_t drops;

  support_loop_init(&loop);
  open_kind(KIND, &loop, &rx, &tx, &drops);
  watch(&loop, &watcher, &tx);
  close_in(WAY, &rx);
  ck_assert_int_eq(try_put(&tx), UV_EPIPE);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  close_rest(WAY, &rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_cancelled_request_is_told_so_once_and_the_sender_goes_on) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  watcher_t watchers[3];
  uv_loop_t loop;
  uint64_t value;

  support_loop_init(&loop);
  open_pair(NULL, &rx, &tx);
  watch(&loop, &watchers[0], &tx);
  watch(&loop, &watchers[1], &tx);
  ck_assert_int_eq(cancel(&watchers[1]), 0);
  ck_assert_int_eq(cancel(&watchers[1]), UV_EBUSY);
  ck_assert_uint_eq(watchers[1].calls, 0);
  turn(&loop);
  check_told(&watchers[1], UV_ECANCELED);
  ck_assert_int_eq(cancel(&watchers[1]), UV_EBUSY);
  watch(&loop, &watchers[2], &tx); /* again */
  check_waits(&loop, &watchers[2].calls);
  ck_assert_int_eq(cancel(&watchers[0]), 0);
  ck_assert_int_eq(cancel(&watchers[2]), 0);
  support_loop_run(&loop);
  check_told(&watchers[0], UV_ECANCELED);
  check_told(&watchers[2], UV_ECANCELED);
  put(&tx, 5);
  ck_assert_int_eq(uvch_oneshot_try_recv(&rx, &value), 0);
  ck_assert_uint_eq(value, 5);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_request_and_its_cancel_leave_no_memory_behind) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  watcher_t watchers[10];
  uv_loop_t loop;
  size_t blocks = 0;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  for (round = 0; round < 100; round++) {
    for (i = 0; i < COUNT(watchers); i++) {
      watch(&loop, &watchers[i], &tx);
    }
    for (i = 0; i < COUNT(watchers); i++) {
      ck_assert_int_eq(cancel(&watchers[i * 7 % COUNT(watchers)]), 0);
    }
    support_loop_run(&loop);
    for (i = 0; i < COUNT(watchers); i++) {
      check_told(&watchers[i], UV_ECANCELED);
    }
    if (round == 0) {
      blocks = support_alloc_blocks();
    }
    ck_assert_uint_eq(support_alloc_blocks(), blocks);
  }
  drop_sender(&tx);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

static void never_told(uvch_oneshot_closed_t* req, int status) {
  (void) req;
  ck_abort_msg("a refused request has called back with %d", status);
}

START_TEST(a_refused_request_never_calls_back) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_closed_t req;
  uvch_oneshot_sender_t tx;
  uv_loop_t loop;

  memset(&req, 0, sizeof(req));
  support_loop_init(&loop);
  open_pair(NULL, &rx, &tx);
  ck_assert_int_eq(uvch_oneshot_closed(NULL, &req, &tx, never_told), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_closed(&loop, NULL, &tx, never_told), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_closed(&loop, &req, NULL, never_told), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_closed(&loop, &req, &tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_closed_wait(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_closed_timedwait(NULL, 0), UV_EINVAL);
  if (_i == 0) {
    put(&tx, 1);
  } else {
    drop_sender(&tx);
  }
  ck_assert_int_eq(uvch_oneshot_closed(&loop, &req, &tx, never_told), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_closed_wait(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_closed_timedwait(&tx, 1), UV_EBADF);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Asks again from its own callback, and gives everything up in the last one. */
typedef struct again_s {
  uvch_oneshot_closed_t req;
  uvch_oneshot_receiver_t* rx;
  uvch_oneshot_sender_t* tx;
  size_t left;
} again_t;

static void on_closed_again(uvch_oneshot_closed_t* req, int status) {
  again_t* again = req->data;
  uv_loop_t* loop = req->loop;

  support_check_eq(status, 0);
  if (--again->left > 0) {
    support_check_eq(uvch_oneshot_closed(loop, req, again->tx, on_closed_again), 0);
    return;
  }
  drop_sender(again->tx);
  close_rx(again->rx);
  memset(again, 0xdd, sizeof(*again));
  free(again);
}

START_TEST(a_callback_may_ask_again_and_close_and_free_everything) {
  again_t* again = calloc(1, sizeof(*again));
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uv_loop_t loop;

  ck_assert_ptr_nonnull(again);
  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  again->req.data = again;
  again->rx = &rx;
  again->tx = &tx;
  again->left = 4;
  ck_assert_int_eq(uvch_oneshot_closed(&loop, &again->req, &tx, on_closed_again), 0);
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&rx), 0);
  support_loop_end(&loop);
}
END_TEST

/* Threads that watch asleep. */

typedef struct sleeper_s {
  uvch_oneshot_sender_t tx;
  uv_thread_t thread;
  uint64_t timeout; /* 0: closed_wait */
  int answer;
  int sent;
  _Atomic(long) number;
} sleeper_t;

static void sleep_on_it(void* arg) {
  sleeper_t* sleeper = arg;

  atomic_store(&sleeper->number, support_thread_number());
  if (sleeper->timeout == 0) {
    sleeper->answer = uvch_oneshot_closed_wait(&sleeper->tx);
  } else {
    sleeper->answer = uvch_oneshot_closed_timedwait(&sleeper->tx, sleeper->timeout);
  }
  sleeper->sent = try_put(&sleeper->tx);
}

START_TEST(a_thread_sleeps_until_nobody_waits_any_more) {
  static const uint64_t timeouts[] = {0, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX};
  uvch_oneshot_receiver_t rx;
  sleeper_t sleeper;
  uv_loop_t loop;
  drops_t drops;
  size_t i;

  support_loop_init(&loop);
  for (i = 0; i < COUNT(timeouts); i++) {
    memset(&sleeper, 0, sizeof(sleeper));
    sleeper.timeout = timeouts[i];
    sleeper.answer = NOT_DONE;
    open_kind(KIND, &loop, &rx, &sleeper.tx, &drops);
    support_spawn(&sleeper.thread, sleep_on_it, &sleeper);
    support_until_blocked(&sleeper.number);
    close_in(WAY, &rx);
    support_join(&sleeper.thread);
    ck_assert_int_eq(sleeper.answer, 0);
    ck_assert_int_eq(sleeper.sent, UV_EPIPE);
    close_rest(WAY, &rx);
    support_loop_run(&loop);
  }
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_wait_for_what_is_closed_already_does_not_block) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uv_loop_t loop;
  drops_t drops;

  support_loop_init(&loop);
  open_kind(KIND, &loop, &rx, &tx, &drops);
  ck_assert_int_eq(uvch_oneshot_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  close_in(WAY, &rx);
  support_alloc_fail_from(1); /* nor does it need memory */
  ck_assert_int_eq(uvch_oneshot_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_oneshot_closed_timedwait(&tx, 0), 0); /* before the clock is looked at */
  ck_assert_int_eq(uvch_oneshot_closed_timedwait(&tx, UINT64_MAX), 0);
  support_alloc_fail_from(0);
  close_rest(WAY, &rx);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_timed_wait_takes_at_least_its_time_and_leaves_no_trace) {
  static const uint64_t times[] = {1, 1000, 1000000, 20000000};
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  uint64_t began;
  size_t i;

  support_loop_init(&loop);
  open_pair(NULL, &rx, &tx);
  watch(&loop, &watcher, &tx);
  for (i = 0; i < COUNT(times); i++) {
    began = uv_hrtime();
    ck_assert_int_eq(uvch_oneshot_closed_timedwait(&tx, times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - began, times[i]);
  }
  check_waits(&loop, &watcher.calls);
  put(&tx, 1);
  ck_assert_uint_eq(take(&rx), 1);
  support_loop_run(&loop);
  check_told(&watcher, UV_ECANCELED);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(sleeping_is_refused_on_the_loop_that_would_have_to_end_it) {
  uvch_oneshot_receiver_t near;
  uvch_oneshot_receiver_t far;
  uvch_oneshot_sender_t tx[2];
  outcome_t outcome;
  uv_loop_t loop;
  uv_loop_t other;

  support_loop_init(&loop);
  support_loop_init(&other);
  open_pair(&loop, &near, &tx[0]);
  open_pair(&other, &far, &tx[1]);
  await(&near, &outcome);
  check_waits(&loop, &outcome.calls); /* from now on it is this thread's */
  ck_assert_int_eq(uvch_oneshot_closed_wait(&tx[0]), UV_EPERM);
  ck_assert_int_eq(uvch_oneshot_closed_timedwait(&tx[0], 1), UV_EPERM);
  ck_assert_int_eq(uvch_oneshot_closed_timedwait(&tx[1], 1), UV_ETIMEDOUT); /* that one nobody has run */
  put(&tx[0], 1);
  drop_sender(&tx[1]);
  support_loop_run(&loop);
  check_value(&outcome, 1);
  close_rx(&near);
  close_rx(&far);
  support_loop_end(&loop);
  support_loop_end(&other);
}
END_TEST

/* A loop that a thread has run belongs to it. */
typedef struct stranger_s {
  uv_loop_t* loop;
  uvch_oneshot_sender_t* tx;
  uvch_oneshot_receiver_t* plain;
  uvch_oneshot_closed_t req;
  support_result_t result;
} stranger_t;

static void come_as_stranger(void* arg) {
  stranger_t* stranger = arg;
  unsigned char before[sizeof(uvch_oneshot_receiver_t)];
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;

  memset(before, 0x5a, sizeof(before));
  memset(&rx, 0x5a, sizeof(rx));
  memset(&tx, 0x5a, sizeof(tx));
  support_expect_eq(&stranger->result, uvch_oneshot_init(stranger->loop, &rx, &tx, 8), UV_EPERM);
  support_expect_eq(&stranger->result, uvch_oneshot_init_ex(stranger->loop, &rx, &tx, 0, NULL), UV_EPERM);
  support_expect_eq(&stranger->result, memcmp(&rx, before, sizeof(rx)), 0);
  support_expect_eq(&stranger->result, memcmp(&tx, before, sizeof(tx)), 0);
  support_expect_eq(&stranger->result, uvch_attach(stranger->loop, (uvch_handle_t*) stranger->plain), UV_EPERM);
  support_expect_eq(&stranger->result, uvch_oneshot_closed(stranger->loop, &stranger->req, stranger->tx, never_told), UV_EPERM);
}

START_TEST(the_loop_of_another_thread_is_refused) {
  uvch_oneshot_receiver_t plain;
  uvch_oneshot_sender_t plain_tx;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  stranger_t stranger;
  outcome_t outcome;
  uv_thread_t thread;
  uv_loop_t loop;

  memset(&stranger, 0, sizeof(stranger));
  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  open_pair(NULL, &plain, &plain_tx);
  await(&rx, &outcome);
  check_waits(&loop, &outcome.calls);
  stranger.loop = &loop;
  stranger.tx = &tx;
  stranger.plain = &plain;
  support_spawn(&thread, come_as_stranger, &stranger);
  support_join(&thread);
  support_result_check(&stranger.result);
  ck_assert_ptr_null(uvch_handle_get_loop((uvch_handle_t*) &plain));
  put(&plain_tx, 3);
  ck_assert_uint_eq(take(&plain), 3);
  put(&tx, 4);
  support_loop_run(&loop);
  check_value(&outcome, 4);
  close_rx(&plain);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Threads that sleep until the value comes. */

typedef struct taker_s {
  uvch_oneshot_receiver_t* rx;
  uv_thread_t thread;
  uint64_t timeout; /* 0: recv_wait */
  uint64_t value;
  int answer;
  _Atomic(long) number;
} taker_t;

static void take_asleep(void* arg) {
  taker_t* taker = arg;

  atomic_store(&taker->number, support_thread_number());
  if (taker->timeout == 0) {
    taker->answer = uvch_oneshot_recv_wait(taker->rx, &taker->value);
  } else {
    taker->answer = uvch_oneshot_recv_timedwait(taker->rx, &taker->value, taker->timeout);
  }
}

START_TEST(a_thread_sleeps_until_the_value_or_the_end) {
  static const uint64_t timeouts[] = {0, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX};
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  taker_t taker;
  size_t i;

  open_pair(NULL, &rx, &tx);
  for (i = 0; i < 2 * COUNT(timeouts); i++) {
    memset(&taker, 0, sizeof(taker));
    taker.rx = &rx;
    taker.timeout = timeouts[i / 2];
    support_spawn(&taker.thread, take_asleep, &taker);
    support_until_blocked(&taker.number);
    if (i % 2 == 0) {
      put(&tx, 100 + i);
    } else {
      drop_sender(&tx);
    }
    support_join(&taker.thread);
    ck_assert_int_eq(taker.answer, i % 2 == 0 ? 0 : UV_EOF);
    ck_assert_uint_eq(taker.value, i % 2 == 0 ? 100 + i : 0);
    ck_assert_int_eq(uvch_oneshot_renew(&rx, &tx), 0); /* on this thread now */
  }
  drop_sender(&tx);
  close_rx(&rx);
}
END_TEST

START_TEST(a_timed_receive_waits_at_least_its_time_and_takes_nothing) {
  static const uint64_t times[] = {0, 1, 1000, 1000000, 20000000};
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uint64_t value = 5;
  uint64_t began;
  size_t i;

  open_pair(NULL, &rx, &tx);
  for (i = 0; i < COUNT(times); i++) {
    began = uv_hrtime();
    ck_assert_int_eq(uvch_oneshot_recv_timedwait(&rx, &value, times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - began, times[i]);
    ck_assert_uint_eq(value, 5);
    ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&rx), 0);
    ck_assert_int_eq(uvch_oneshot_sender_is_closed(&tx), 0);
  }
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  put(&tx, 6); /* it can still come */
  ck_assert_int_eq(uvch_oneshot_recv_timedwait(&rx, &value, 0), 0);
  ck_assert_uint_eq(value, 6);
  close_rx(&rx);
}
END_TEST

START_TEST(a_receiver_that_a_thread_slept_on_may_be_attached) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uint64_t value;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(NULL, &rx, &tx);
  ck_assert_int_eq(uvch_oneshot_recv_timedwait(&rx, &value, 1000), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), 0);
  await(&rx, &outcome);
  check_waits(&loop, &outcome.calls);
  put(&tx, 7);
  support_loop_run(&loop);
  check_value(&outcome, 7);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* A loop in a thread of its own. */

typedef struct reply_s {
  uvch_oneshot_sender_t tx;
  uint64_t seen; /* written before the send, without any other order */
  uint64_t* shared;
} reply_t;

static void reply_from_thread(void* arg) {
  reply_t* reply = arg;

  *reply->shared = 4711;
  (void) try_put(&reply->tx);
}

static void on_reply(uvch_oneshot_receiver_t* rx, int status, void* item) {
  reply_t* reply = rx->data;

  support_check(status == 0 && item != NULL);
  reply->seen = *reply->shared;
}

START_TEST(what_was_written_before_the_send_is_seen_in_the_callback) {
  uvch_oneshot_receiver_t rx;
  uv_thread_t thread;
  uint64_t shared;
  reply_t reply;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  for (i = 0; i < support_scale(300); i++) {
    shared = 0;
    reply.shared = &shared;
    reply.seen = 0;
    open_pair(&loop, &rx, &reply.tx);
    rx.data = &reply;
    support_check_eq(uvch_oneshot_recv(&rx, on_reply), 0);
    support_spawn(&thread, reply_from_thread, &reply);
    support_check_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    support_check_eq(reply.seen, 4711);
    support_join(&thread);
    close_rx(&rx);
    support_check_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
  }
  support_loop_close(&loop);
}
END_TEST

static void add_requests(Suite* suite) {
  TCase* tcase = support_case(suite, "requests");

  add_for_every_way(tcase, a_request_is_told_when_nobody_waits_any_more);
  add_for_every_way(tcase, all_requests_of_all_loops_are_told);
  add_for_every_way(tcase, when_it_is_closed_already_the_callback_comes_all_the_same_and_later);
  add_for_every_way(tcase, using_the_sender_up_ends_the_wait);
  add_for_every_way(tcase, a_send_after_the_news_does_not_take_it_back);
  tcase_add_test(tcase, a_cancelled_request_is_told_so_once_and_the_sender_goes_on);
  tcase_add_test(tcase, a_request_and_its_cancel_leave_no_memory_behind);
  tcase_add_loop_test(tcase, a_refused_request_never_calls_back, 0, 2);
  tcase_add_test(tcase, a_callback_may_ask_again_and_close_and_free_everything);
}

static void add_threads(Suite* suite) {
  TCase* tcase = support_case(suite, "threads");

  add_for_every_way(tcase, a_thread_sleeps_until_nobody_waits_any_more);
  add_for_every_way(tcase, a_wait_for_what_is_closed_already_does_not_block);
  tcase_add_test(tcase, a_timed_wait_takes_at_least_its_time_and_leaves_no_trace);
  tcase_add_test(tcase, sleeping_is_refused_on_the_loop_that_would_have_to_end_it);
  tcase_add_test(tcase, the_loop_of_another_thread_is_refused);
  tcase_add_test(tcase, a_thread_sleeps_until_the_value_or_the_end);
  tcase_add_test(tcase, a_timed_receive_waits_at_least_its_time_and_takes_nothing);
  tcase_add_test(tcase, a_receiver_that_a_thread_slept_on_may_be_attached);
  tcase_add_test(tcase, what_was_written_before_the_send_is_seen_in_the_callback);
}

int main(void) {
  Suite* suite = suite_create("oneshot_closed");

  add_requests(suite);
  add_threads(suite);
  return support_main(suite);
}
