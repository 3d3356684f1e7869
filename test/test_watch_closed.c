/* SPDX-License-Identifier: MIT
 *
 * Watch channels and those who wait for the end of the last receiver, on loops and asleep. A new receiver takes it back. */
#include "watch_support.h"

/* Where a receiver lives. */
enum { PLAIN, ON_LOOP, ATTACHED, KINDS };

#define add_for_every_kind(tcase, test) tcase_add_loop_test(tcase, test, 0, KINDS)

static void subscribe(int kind, uv_loop_t* loop, uvch_watch_receiver_t* rx, const uvch_watch_sender_t* tx) {
  watch_subscribe(kind == ON_LOOP ? loop : NULL, rx, tx);
  if (kind == ATTACHED) {
    watch_attach(loop, rx);
  }
}

/* A request and what came of it. */
typedef struct asker_s {
  uvch_watch_closed_t req;
  const uvch_watch_sender_t* tx; /* set: the callback looks whether it is true */
  int status;
  size_t calls;
} asker_t;

static void asker_cb(uvch_watch_closed_t* req, int status) {
  asker_t* asker = req->data;

  if (status == 0 && asker->tx != NULL) {
    support_check_eq(uvch_watch_sender_receiver_count(asker->tx), 0);
  }
  asker->status = status;
  asker->calls += 1;
}

/* The request's memory is garbage before; the library must not look at it. */
static int try_ask(uv_loop_t* loop, asker_t* asker, const uvch_watch_sender_t* tx) {
  memset(asker, 0xa5, sizeof(*asker));
  asker->req.data = asker;
  asker->tx = tx;
  asker->status = WATCH_NOT_DONE;
  asker->calls = 0;
  return uvch_watch_closed(loop, &asker->req, tx, asker_cb);
}

static void ask(uv_loop_t* loop, asker_t* asker, const uvch_watch_sender_t* tx) {
  support_check_eq(try_ask(loop, asker, tx), 0);
  support_check_eq(asker->calls, 0); /* never from inside the call */
  support_check(asker->req.data == asker && asker->req.loop == loop);
  support_check_eq(asker->req.type, UVCH_WATCH_CLOSED);
}

static int cancel(asker_t* asker) {
  return uvch_cancel((uvch_req_t*) &asker->req);
}

static void check_told(const asker_t* asker, int status) {
  support_check_eq(asker->calls, 1);
  support_check_eq(asker->status, status);
}

/* A few passes in which nothing may come, and which the request keeps alive. */
static void check_waits(uv_loop_t* loop, const asker_t* asker) {
  int i;

  for (i = 0; i < 3; i++) {
    support_check(uv_run(loop, UV_RUN_NOWAIT) != 0);
    support_check_eq(asker->calls, 0);
  }
}

/* Requests. */

START_TEST(a_channel_that_never_had_a_receiver_is_told_at_once_but_not_from_inside_the_call) {
  uvch_watch_sender_t tx;
  asker_t askers[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  ask(&loop, &askers[0], &tx);
  ask(&loop, &askers[1], &tx);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  support_loop_run(&loop);
  check_told(&askers[0], 0);
  check_told(&askers[1], 0);
  ck_assert_int_eq(cancel(&askers[0]), UV_EBUSY);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_request_is_told_when_the_last_receiver_is_closed) {
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx;
  uint64_t value = 1;
  asker_t asker;
  uv_loop_t loop;
  uv_loop_t far;
  size_t i;

  support_loop_init(&loop);
  support_loop_init(&far);
  watch_open(NULL, NULL, &tx, 0);
  for (i = 0; i < COUNT(rx); i++) {
    subscribe(_i, &loop, &rx[i], &tx);
  }
  watch_put(&tx, 1);
  ask(&far, &asker, &tx);
  check_waits(&far, &asker);
  ck_assert_int_eq(uv_loop_close(&far), UV_EBUSY);
  watch_close(&rx[1]);
  watch_close(&rx[0]);
  check_waits(&far, &asker);
  watch_close(&rx[2]);
  ck_assert_uint_eq(asker.calls, 0);
  support_loop_run(&far);
  check_told(&asker, 0);
  ck_assert_int_eq(cancel(&asker), UV_EBUSY);
  ck_assert_int_eq(uvch_watch_send(&tx, &value), 0); /* it does not matter for a send */
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
  check_told(&asker, 0);
}
END_TEST

/* The receivers' own loop is one of them. */
START_TEST(all_requests_of_all_loops_are_told) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  asker_t askers[3][7];
  uv_loop_t loops[3];
  size_t i;
  size_t k;

  watch_open(NULL, NULL, &tx, 0);
  for (i = 0; i < COUNT(loops); i++) {
    support_loop_init(&loops[i]);
  }
  subscribe(_i, &loops[0], &rx, &tx);
  for (k = 0; k < COUNT(askers[0]); k++) {
    for (i = 0; i < COUNT(loops); i++) {
      ask(&loops[i], &askers[i][k], &tx);
    }
  }
  for (i = 0; i < COUNT(loops); i++) {
    check_waits(&loops[i], &askers[i][0]);
  }
  ck_assert_int_eq(cancel(&askers[2][3]), 0); /* from the middle, the front, the end */
  ck_assert_int_eq(cancel(&askers[0][0]), 0);
  ck_assert_int_eq(cancel(&askers[1][6]), 0);
  watch_close(&rx);
  for (i = 0; i < COUNT(loops); i++) {
    support_loop_run(&loops[i]);
    for (k = 0; k < COUNT(askers[0]); k++) {
      check_told(&askers[i][k], (i == 2 && k == 3) || (i == 0 && k == 0) || (i == 1 && k == 6) ? UV_ECANCELED : 0);
    }
  }
  watch_drop_sender(&tx);
  for (i = 0; i < COUNT(loops); i++) {
    support_loop_end(&loops[i]);
  }
}
END_TEST

START_TEST(a_new_receiver_in_between_keeps_it_waiting) {
  uvch_watch_receiver_t rx[2]; /* in turns: the memory of one that closes is not free at once */
  uvch_watch_sender_t tx;
  asker_t askers[2];
  asker_t late;
  uv_loop_t loop;
  uv_loop_t far;
  size_t i;

  support_loop_init(&loop);
  support_loop_init(&far);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(_i, &loop, &rx[0], &tx);
  ask(&loop, &askers[0], &tx);
  ask(&far, &askers[1], &tx);
  for (i = 0; i < 5; i++) { /* each time the news is on its way when it is no longer true */
    watch_close(&rx[0]);
    watch_turn(&loop);
    ck_assert_uint_eq(askers[0].calls, 1);
    subscribe(_i, &loop, &rx[0], &tx);
    check_waits(&far, &askers[1]);
    ask(&loop, &askers[0], &tx);
    check_waits(&loop, &askers[0]);
  }
  ask(&far, &late, &tx);
  watch_close(&rx[0]);
  subscribe(_i, &loop, &rx[1], &tx);
  check_waits(&loop, &askers[0]);
  check_waits(&far, &askers[1]);
  watch_close(&rx[1]);
  support_loop_run(&far);
  support_loop_run(&loop);
  check_told(&askers[0], 0);
  check_told(&askers[1], 0);
  check_told(&late, 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
}
END_TEST

/* Made while there is none, and there is one by the time its callback is due. */
START_TEST(a_request_without_a_receiver_waits_if_one_comes_before_its_callback) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  asker_t asker;
  uv_loop_t loop;
  uv_loop_t far;

  support_loop_init(&loop);
  support_loop_init(&far);
  watch_open(NULL, NULL, &tx, 0);
  ask(&far, &asker, &tx);
  subscribe(_i, &loop, &rx, &tx);
  check_waits(&far, &asker);
  watch_close(&rx);
  support_loop_run(&far);
  check_told(&asker, 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
}
END_TEST

START_TEST(a_new_receiver_opens_the_channel_again_for_everybody) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  asker_t asker;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  for (i = 0; i < 4; i++) {
    ck_assert_int_eq(uvch_watch_sender_is_closed(&tx), 1);
    watch_put(&tx, 10 + i); /* nobody is there, and it stays all the same */
    subscribe(_i, &loop, &rx, &tx);
    ck_assert_int_eq(uvch_watch_sender_is_closed(&tx), 0);
    ask(&loop, &asker, &tx);
    check_waits(&loop, &asker);
    ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
    ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
    ck_assert_uint_eq(watch_peek(&rx), 10 + i);
    watch_put(&tx, 20 + i);
    check_waits(&loop, &asker);
    ck_assert_uint_eq(watch_take(&rx), 20 + i);
    watch_close(&rx);
    support_loop_run(&loop);
    check_told(&asker, 0);
    ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 0), 0);
  }
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_clone_of_the_last_receiver_keeps_it_waiting) {
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx;
  asker_t asker;
  uv_loop_t loop;
  uv_loop_t far;
  size_t i;

  support_loop_init(&loop);
  support_loop_init(&far);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(_i, &loop, &rx[0], &tx);
  ask(&far, &asker, &tx);
  for (i = 1; i < COUNT(rx); i++) {
    watch_clone(i == 1 ? &loop : NULL, &rx[i], &rx[i - 1]);
    watch_close(&rx[i - 1]);
    check_waits(&far, &asker);
    ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  }
  watch_close(&rx[COUNT(rx) - 1]);
  support_loop_run(&far);
  check_told(&asker, 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
}
END_TEST

START_TEST(a_request_is_no_sender_and_outlives_them) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  asker_t asker;
  uv_loop_t loop;
  uv_loop_t far;

  support_loop_init(&loop);
  support_loop_init(&far);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(_i, &loop, &rx, &tx);
  ask(&far, &asker, &tx);
  asker.tx = NULL; /* is gone by then */
  ck_assert_uint_eq(uvch_watch_sender_sender_count(&tx), 1);
  watch_put(&tx, 3);
  watch_drop_sender(&tx);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), UV_EOF);
  ck_assert_uint_eq(watch_take(&rx), 3);
  check_waits(&far, &asker);
  watch_close(&rx);
  support_loop_end(&far);
  check_told(&asker, 0);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_cancelled_request_is_told_so_once) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  asker_t askers[3];
  uv_loop_t loop;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(_i, &loop, &rx, &tx);
  ask(&loop, &askers[0], &tx);
  ask(&loop, &askers[1], &tx);
  ck_assert_int_eq(cancel(&askers[1]), 0);
  ck_assert_int_eq(cancel(&askers[1]), UV_EBUSY);
  ck_assert_uint_eq(askers[1].calls, 0);
  watch_turn(&loop);
  check_told(&askers[1], UV_ECANCELED);
  ck_assert_int_eq(cancel(&askers[1]), UV_EBUSY);
  ask(&loop, &askers[2], &tx); /* again */
  check_waits(&loop, &askers[2]);
  ck_assert_int_eq(cancel(&askers[0]), 0);
  watch_close(&rx); /* does not change it */
  support_loop_run(&loop);
  check_told(&askers[0], UV_ECANCELED);
  check_told(&askers[2], 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* Too late or not: the answer of cancel and the status agree. */
START_TEST(a_request_may_be_cancelled_while_the_news_is_on_its_way) {
  uvch_watch_receiver_t rx[2];
  uvch_watch_sender_t tx;
  asker_t askers[2];
  int answers[2];
  uv_loop_t loop;
  uv_loop_t far;

  support_loop_init(&loop);
  support_loop_init(&far);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(_i % KINDS, &loop, &rx[0], &tx);
  ask(&far, &askers[0], &tx);
  ask(&far, &askers[1], &tx);
  watch_close(&rx[0]);
  answers[0] = cancel(&askers[0]);
  if (_i / KINDS == 1) { /* true no longer, so the other one waits on */
    subscribe(_i % KINDS, &loop, &rx[1], &tx);
    check_waits(&far, &askers[1]);
    answers[1] = cancel(&askers[1]);
    ck_assert_int_eq(answers[1], 0);
    watch_close(&rx[1]);
  } else {
    answers[1] = cancel(&askers[1]);
  }
  support_loop_run(&far);
  ck_assert(answers[0] == 0 || answers[0] == UV_EBUSY);
  check_told(&askers[0], answers[0] == 0 ? UV_ECANCELED : 0);
  check_told(&askers[1], answers[1] == 0 ? UV_ECANCELED : 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
}
END_TEST

START_TEST(a_request_and_its_cancel_leave_no_memory_behind) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  asker_t askers[10];
  uv_loop_t loop;
  size_t blocks = 0;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(ON_LOOP, &loop, &rx, &tx);
  for (round = 0; round < 100; round++) {
    for (i = 0; i < COUNT(askers); i++) {
      ask(&loop, &askers[i], &tx);
    }
    for (i = 0; i < COUNT(askers); i++) {
      ck_assert_int_eq(cancel(&askers[i * 7 % COUNT(askers)]), 0);
    }
    support_loop_run(&loop);
    for (i = 0; i < COUNT(askers); i++) {
      check_told(&askers[i], UV_ECANCELED);
    }
    if (round == 0) {
      blocks = support_alloc_blocks();
    }
    ck_assert_uint_eq(support_alloc_blocks(), blocks);
  }
  watch_drop_sender(&tx);
  watch_close(&rx);
  support_loop_end(&loop);
}
END_TEST

static void never_told(uvch_watch_closed_t* req, int status) {
  (void) req;
  ck_abort_msg("a refused request has called back with %d", status);
}

typedef struct stranger_s {
  uv_loop_t* loop;
  uvch_watch_sender_t* tx;
  uvch_watch_receiver_t* plain;
  uvch_watch_closed_t req;
  support_result_t result;
} stranger_t;

static void come_as_stranger(void* arg) {
  stranger_t* s = arg;
  unsigned char before[sizeof(uvch_watch_receiver_t)];
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uint64_t value = 1;

  memset(before, 0x5a, sizeof(before));
  memset(&rx, 0x5a, sizeof(rx));
  memset(&tx, 0x5a, sizeof(tx));
  support_expect_eq(&s->result, uvch_watch_closed(s->loop, &s->req, s->tx, never_told), UV_EPERM);
  support_expect_eq(&s->result, uvch_watch_init(s->loop, &rx, &tx, sizeof(value), &value), UV_EPERM);
  support_expect_eq(&s->result, uvch_watch_subscribe(s->loop, &rx, s->tx), UV_EPERM);
  support_expect_eq(&s->result, uvch_watch_receiver_clone(s->loop, &rx, s->plain), UV_EPERM);
  support_expect_eq(&s->result, uvch_attach(s->loop, (uvch_handle_t*) s->plain), UV_EPERM);
  support_expect_eq(&s->result, memcmp(&rx, before, sizeof(rx)), 0);
  support_expect_eq(&s->result, memcmp(&tx, before, sizeof(tx)), 0);
}

START_TEST(the_loop_of_another_thread_is_refused) {
  uvch_watch_receiver_t plain;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  stranger_t stranger;
  asker_t asker;
  uv_thread_t thread;
  uv_loop_t loop;

  memset(&stranger, 0, sizeof(stranger));
  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(PLAIN, NULL, &plain, &tx);
  subscribe(ON_LOOP, &loop, &rx, &tx);
  ask(&loop, &asker, &tx);
  check_waits(&loop, &asker); /* from now on it is this thread's */
  stranger.loop = &loop;
  stranger.tx = &tx;
  stranger.plain = &plain;
  support_spawn(&thread, come_as_stranger, &stranger);
  support_join(&thread);
  support_result_check(&stranger.result);
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&tx), 2);
  ck_assert_ptr_null(uvch_handle_get_loop((uvch_handle_t*) &plain));
  watch_close(&plain);
  watch_close(&rx);
  support_loop_run(&loop);
  check_told(&asker, 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_refused_request_never_calls_back) {
  uvch_watch_closed_t req;
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  memset(&req, 0, sizeof(req));
  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  ck_assert_int_eq(uvch_watch_closed(NULL, &req, &tx, never_told), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed(&loop, NULL, &tx, never_told), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed(&loop, &req, NULL, never_told), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed(&loop, &req, &tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed_wait(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed_timedwait(NULL, 0), UV_EINVAL);
  watch_drop_sender(&tx);
  ck_assert_int_eq(uvch_watch_closed(&loop, &req, &tx, never_told), UV_EBADF);
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 1), UV_EBADF);
  support_loop_end(&loop);
}
END_TEST

/* Asks again from its own callback, and frees everything in the last one. */
typedef struct again_s {
  uvch_watch_closed_t req;
  uvch_watch_sender_t tx;
  uvch_watch_receiver_t rx;
  size_t left;
} again_t;

static void on_closed_again(uvch_watch_closed_t* req, int status) {
  again_t* again = req->data;
  uv_loop_t* loop = req->loop;

  support_check_eq(status, 0);
  if (--again->left == 0) {
    watch_drop_sender(&again->tx);
    memset(again, 0xdd, sizeof(*again));
    free(again);
    return;
  }
  if (again->left % 2 == 0) {
    subscribe(PLAIN, NULL, &again->rx, &again->tx);
  }
  support_check_eq(uvch_watch_closed(loop, req, &again->tx, on_closed_again), 0);
  if (again->left % 2 == 0) {
    watch_close(&again->rx);
  }
}

START_TEST(a_callback_may_ask_again_and_subscribe_and_free_everything) {
  again_t* again = calloc(1, sizeof(*again));
  uv_loop_t loop;

  ck_assert_ptr_nonnull(again);
  support_loop_init(&loop);
  watch_open(NULL, NULL, &again->tx, 0);
  again->req.data = again;
  again->left = 5;
  ck_assert_int_eq(uvch_watch_closed(&loop, &again->req, &again->tx, on_closed_again), 0);
  support_loop_end(&loop);
}
END_TEST

/* The first one that is told subscribes: it is true no longer for the others. */
typedef struct first_s {
  uvch_watch_closed_t reqs[3];
  uvch_watch_sender_t tx;
  uvch_watch_receiver_t rx;
  size_t told;
} first_t;

static void on_closed_subscribe(uvch_watch_closed_t* req, int status) {
  first_t* first = req->data;

  support_check_eq(status, 0);
  support_check_eq(uvch_watch_sender_receiver_count(&first->tx), 0);
  if (first->told++ < 2) {
    subscribe(PLAIN, NULL, &first->rx, &first->tx);
  }
}

START_TEST(a_callback_that_subscribes_keeps_the_others_waiting) {
  uv_loop_t loop;
  first_t first;
  size_t i;

  memset(&first, 0, sizeof(first));
  support_loop_init(&loop);
  watch_open(NULL, NULL, &first.tx, 0);
  for (i = 0; i < COUNT(first.reqs); i++) {
    first.reqs[i].data = &first;
    ck_assert_int_eq(uvch_watch_closed(&loop, &first.reqs[i], &first.tx, on_closed_subscribe), 0);
  }
  for (i = 1; i <= COUNT(first.reqs); i++) {
    watch_turn(&loop);
    ck_assert_uint_eq(first.told, i);
    if (i < COUNT(first.reqs)) {
      watch_close(&first.rx);
    }
  }
  watch_drop_sender(&first.tx);
  support_loop_end(&loop);
}
END_TEST

static void close_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  support_check(status == 0 && value != NULL);
  watch_close(rx);
}

START_TEST(a_callback_may_close_the_last_receiver_under_a_request_of_its_loop) {
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx;
  asker_t asker;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  for (i = 0; i < COUNT(rx); i++) {
    subscribe(ON_LOOP, &loop, &rx[i], &tx);
    ck_assert_int_eq(uvch_watch_start(&rx[i], close_cb, 0), 0);
  }
  ask(&loop, &asker, &tx);
  check_waits(&loop, &asker);
  watch_put(&tx, 1);
  support_loop_run(&loop);
  check_told(&asker, 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

/* What the library had to keep for the old loop goes with a later one at the same address. */
START_TEST(a_program_may_close_the_librarys_handles_under_a_request) {
  size_t before = support_alloc_blocks();
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  asker_t askers[3];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(PLAIN, NULL, &rx, &tx);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx);
  }
  check_waits(&loop, &askers[0]);
  uv_walk(&loop, close_uv, NULL);
  ck_assert_int_eq(cancel(&askers[1]), 0); /* nobody brings the callback */
  support_loop_end(&loop);
  memset(&loop, 0xdd, sizeof(loop));
  if (_i == 1) {
    watch_drop_sender(&tx);
  }
  watch_close(&rx);
  if (_i == 0) {
    watch_drop_sender(&tx);
  }
  ck_assert_uint_eq(askers[0].calls + askers[1].calls + askers[2].calls, 0);
  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  ask(&loop, &askers[0], &tx);
  support_loop_run(&loop);
  check_told(&askers[0], 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

START_TEST(without_memory_nobody_waits) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  asker_t asker;
  uv_loop_t loop;
  size_t n = 0;
  int err;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(PLAIN, NULL, &rx, &tx);
  do {
    support_alloc_mark();
    support_alloc_fail(++n);
    err = try_ask(&loop, &asker, &tx);
    support_alloc_fail(0);
    ck_assert_int_eq(err, support_alloc_failed() > 0 ? UV_ENOMEM : 0);
    if (err != 0) {
      support_loop_run(&loop);
      ck_assert_uint_eq(asker.calls, 0);
    }
  } while (err != 0);
  ck_assert_uint_gt(n, 1);
  watch_close(&rx);
  support_loop_run(&loop);
  check_told(&asker, 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* Threads that sleep. */

typedef struct sleeper_s {
  uvch_watch_sender_t* tx;
  uv_thread_t thread;
  uint64_t timeout; /* 0: closed_wait */
  int answer;
  _Atomic(long) number;
} sleeper_t;

static void sleep_on_it(void* arg) {
  sleeper_t* sleeper = arg;

  atomic_store(&sleeper->number, support_thread_number());
  if (sleeper->timeout == 0) {
    sleeper->answer = uvch_watch_closed_wait(sleeper->tx);
  } else {
    sleeper->answer = uvch_watch_closed_timedwait(sleeper->tx, sleeper->timeout);
  }
}

static void sleeper_start(sleeper_t* sleeper, uvch_watch_sender_t* tx, uint64_t timeout) {
  memset(sleeper, 0, sizeof(*sleeper));
  sleeper->tx = tx;
  sleeper->timeout = timeout;
  sleeper->answer = WATCH_NOT_DONE;
  support_spawn(&sleeper->thread, sleep_on_it, sleeper);
  support_until_blocked(&sleeper->number);
}

static void sleeper_join(sleeper_t* sleeper) {
  support_join(&sleeper->thread);
  ck_assert_int_eq(sleeper->answer, 0);
}

START_TEST(threads_sleep_until_there_is_no_receiver) {
  static const uint64_t timeouts[] = {0, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX};
  sleeper_t sleepers[COUNT(timeouts)];
  uvch_watch_receiver_t rx[2];
  uvch_watch_sender_t tx;
  uv_loop_t loop;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  for (round = 0; round < 3; round++) {
    subscribe(_i, &loop, &rx[0], &tx);
    subscribe(_i, &loop, &rx[1], &tx);
    for (i = 0; i < COUNT(timeouts); i++) {
      sleeper_start(&sleepers[i], &tx, timeouts[i]);
    }
    ck_assert_uint_eq(uvch_watch_sender_sender_count(&tx), 1); /* they do not count */
    watch_close(&rx[round % 2]);
    for (i = 0; i < COUNT(timeouts); i++) {
      support_until_asleep(atomic_load(&sleepers[i].number));
      ck_assert_int_eq(sleepers[i].answer, WATCH_NOT_DONE);
    }
    watch_close(&rx[1 - round % 2]);
    for (i = 0; i < COUNT(timeouts); i++) {
      sleeper_join(&sleepers[i]);
    }
    support_loop_run(&loop);
  }
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_wait_without_a_receiver_does_not_block) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  support_alloc_fail_from(1); /* nor does it need memory */
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 0), 0); /* before the clock is looked at */
  support_alloc_fail_from(0);
  subscribe(_i, &loop, &rx, &tx);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  watch_close(&rx);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, UINT64_MAX), 0);
  support_alloc_fail_from(0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_timed_wait_takes_at_least_its_time_and_leaves_no_trace) {
  static const uint64_t times[] = {1, 1000, 1000000, 20000000};
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  asker_t asker;
  uv_loop_t loop;
  uint64_t began;
  size_t i;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(PLAIN, NULL, &rx, &tx);
  ask(&loop, &asker, &tx);
  for (i = 0; i < COUNT(times); i++) {
    began = uv_hrtime();
    ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - began, times[i]);
  }
  check_waits(&loop, &asker);
  watch_close(&rx);
  support_loop_run(&loop);
  check_told(&asker, 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(sleeping_is_refused_on_the_loop_of_a_receiver) {
  uvch_watch_receiver_t near;
  uvch_watch_receiver_t far;
  uvch_watch_sender_t tx;
  uv_loop_t loop;
  uv_loop_t other;

  support_loop_init(&loop);
  support_loop_init(&other);
  watch_open(NULL, NULL, &tx, 0);
  subscribe(ON_LOOP, &other, &far, &tx); /* nobody has run that one */
  subscribe(_i, &loop, &near, &tx);
  watch_turn(&loop);
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), UV_EPERM);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 1), UV_EPERM);
  watch_close(&near);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 1), UV_ETIMEDOUT); /* it has no receiver now */
  watch_close(&far);
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&other);
}
END_TEST

/* Threads that subscribe and close, loops and threads that wait for the end. In the end nobody subscribes, and all are told. */

enum { TOGGLERS = 3, SLEEPERS = 2, FAR = 2 };

typedef struct race_s {
  uvch_watch_sender_t tx;
  uv_loop_t loops[FAR];
  support_runner_t runners[FAR];
  uvch_watch_closed_t reqs[FAR][4];
  size_t toggles;
  _Atomic(size_t) toggling;
  _Atomic(size_t) news;
  support_result_t result;
} race_t;

static void race_toggle(void* arg) {
  race_t* race = arg;
  uvch_watch_receiver_t rx;
  uint64_t value = 1;
  size_t i;

  for (i = 0; i < race->toggles; i++) {
    if (!support_expect_eq(&race->result, uvch_watch_subscribe(NULL, &rx, &race->tx), 0)) {
      break;
    }
    if (i % 3 == 0) {
      support_expect(&race->result, uvch_watch_sender_receiver_count(&race->tx) >= 1); /* there is this one at least */
      support_expect_eq(&race->result, uvch_watch_send(&race->tx, &value), 0);
    }
    if (i % 5 == 0) {
      support_yield();
    }
    support_expect_eq(&race->result, uvch_close((uvch_handle_t*) &rx, NULL), 0);
    if (i % 7 == 0) {
      support_yield();
    }
  }
  atomic_fetch_sub(&race->toggling, 1);
}

static void race_sleep(void* arg) {
  race_t* race = arg;

  while (atomic_load(&race->toggling) > 0) {
    int answer = uvch_watch_closed_timedwait(&race->tx, 100000);

    support_expect(&race->result, answer == 0 || answer == UV_ETIMEDOUT);
    support_expect_eq(&race->result, uvch_watch_closed_wait(&race->tx), 0);
    atomic_fetch_add(&race->news, 1);
  }
}

/* Asks again as long as somebody comes and goes. Each request that is made must be told once, or its loop does not end. */
static void race_on_closed(uvch_watch_closed_t* req, int status) {
  race_t* race = req->data;

  support_expect_eq(&race->result, status, 0);
  atomic_fetch_add(&race->news, 1);
  if (atomic_load(&race->toggling) > 0) {
    support_expect_eq(&race->result, uvch_watch_closed(req->loop, req, &race->tx, race_on_closed), 0);
  }
}

static void race_ask(race_t* race) {
  size_t i;
  size_t k;

  for (i = 0; i < FAR; i++) {
    support_loop_init(&race->loops[i]);
    for (k = 0; k < COUNT(race->reqs[i]); k++) {
      race->reqs[i][k].data = race;
      ck_assert_int_eq(uvch_watch_closed(&race->loops[i], &race->reqs[i][k], &race->tx, race_on_closed), 0);
    }
    support_runner_start(&race->runners[i], &race->loops[i]);
  }
}

START_TEST(whoever_waits_while_receivers_come_and_go_is_told_in_the_end) {
  uv_thread_t togglers[TOGGLERS];
  uv_thread_t sleepers[SLEEPERS];
  static race_t race;
  size_t i;

  memset(&race, 0, sizeof(race));
  race.toggles = support_scale(3000);
  atomic_store(&race.toggling, TOGGLERS);
  watch_open(NULL, NULL, &race.tx, 0);
  race_ask(&race);
  for (i = 0; i < SLEEPERS; i++) {
    support_spawn(&sleepers[i], race_sleep, &race);
  }
  for (i = 0; i < TOGGLERS; i++) {
    support_spawn(&togglers[i], race_toggle, &race);
  }
  for (i = 0; i < TOGGLERS; i++) {
    support_join(&togglers[i]);
  }
  for (i = 0; i < SLEEPERS; i++) {
    support_join(&sleepers[i]);
  }
  for (i = 0; i < FAR; i++) {
    support_runner_join(&race.runners[i]);
    support_loop_end(&race.loops[i]);
  }
  support_result_check(&race.result);
  ck_assert_uint_ge(atomic_load(&race.news), FAR * COUNT(race.reqs[0]));
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&race.tx), 0);
  watch_drop_sender(&race.tx);
}
END_TEST

/* A receiver that closes on its own loop's thread, and sleeping loops and threads that learn it. */
static void close_far_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  support_result_t* result = rx->data;

  support_expect(result, status == 0 && value != NULL);
  support_expect_eq(result, uvch_close((uvch_handle_t*) rx, NULL), 0);
}

START_TEST(a_loop_and_a_thread_learn_what_another_loop_did) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  support_runner_t runner;
  support_result_t result;
  sleeper_t sleeper;
  asker_t asker;
  uv_loop_t loop;
  uv_loop_t far;
  size_t round;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  for (round = 0; round < support_scale(100); round++) {
    memset(&result, 0, sizeof(result));
    support_loop_init(&far);
    subscribe(ON_LOOP, &far, &rx, &tx);
    rx.data = &result;
    support_check_eq(uvch_watch_start(&rx, close_far_cb, 0), 0);
    ask(&loop, &asker, &tx);
    sleeper_start(&sleeper, &tx, 0);
    support_runner_start(&runner, &far);
    watch_put(&tx, round);
    support_loop_run(&loop);
    check_told(&asker, 0);
    sleeper_join(&sleeper);
    support_runner_join(&runner);
    support_result_check(&result);
    support_loop_end(&far);
  }
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

static void add_requests(Suite* suite) {
  TCase* tcase = support_case(suite, "requests");

  tcase_add_test(tcase, a_channel_that_never_had_a_receiver_is_told_at_once_but_not_from_inside_the_call);
  add_for_every_kind(tcase, a_request_is_told_when_the_last_receiver_is_closed);
  add_for_every_kind(tcase, all_requests_of_all_loops_are_told);
  add_for_every_kind(tcase, a_new_receiver_in_between_keeps_it_waiting);
  add_for_every_kind(tcase, a_request_without_a_receiver_waits_if_one_comes_before_its_callback);
  add_for_every_kind(tcase, a_new_receiver_opens_the_channel_again_for_everybody);
  add_for_every_kind(tcase, a_clone_of_the_last_receiver_keeps_it_waiting);
  add_for_every_kind(tcase, a_request_is_no_sender_and_outlives_them);
  add_for_every_kind(tcase, a_cancelled_request_is_told_so_once);
  tcase_add_loop_test(tcase, a_request_may_be_cancelled_while_the_news_is_on_its_way, 0, 2 * KINDS);
  tcase_add_test(tcase, a_request_and_its_cancel_leave_no_memory_behind);
  tcase_add_test(tcase, the_loop_of_another_thread_is_refused);
  tcase_add_test(tcase, a_refused_request_never_calls_back);
  tcase_add_test(tcase, a_callback_may_ask_again_and_subscribe_and_free_everything);
  tcase_add_test(tcase, a_callback_that_subscribes_keeps_the_others_waiting);
  tcase_add_test(tcase, a_callback_may_close_the_last_receiver_under_a_request_of_its_loop);
  tcase_add_loop_test(tcase, a_program_may_close_the_librarys_handles_under_a_request, 0, 2);
  tcase_add_test(tcase, without_memory_nobody_waits);
}

static void add_threads(Suite* suite) {
  TCase* tcase = support_case(suite, "threads");

  add_for_every_kind(tcase, threads_sleep_until_there_is_no_receiver);
  add_for_every_kind(tcase, a_wait_without_a_receiver_does_not_block);
  tcase_add_test(tcase, a_timed_wait_takes_at_least_its_time_and_leaves_no_trace);
  tcase_add_loop_test(tcase, sleeping_is_refused_on_the_loop_of_a_receiver, ON_LOOP, KINDS);
  tcase_add_test(tcase, whoever_waits_while_receivers_come_and_go_is_told_in_the_end);
  tcase_add_test(tcase, a_loop_and_a_thread_learn_what_another_loop_did);
}

int main(void) {
  Suite* suite = suite_create("watch_closed");

  add_requests(suite);
  add_threads(suite);
  return support_main(suite);
}
