/* SPDX-License-Identifier: MIT
 *
 * Broadcast channels and those who watch for the end of the last receiver, on loops and asleep. A new receiver takes it back. */
#include "support.h"

#include <limits.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOT_DONE = INT_MAX }; /* no status of these tests */

/* Where a receiver lives. */
enum { PLAIN, ON_LOOP, ATTACHED, KINDS };

#define add_for_every_kind(tcase, test) tcase_add_loop_test(tcase, test, 0, KINDS)

/* Without a receiver. */
static void open_channel(uvch_broadcast_sender_t* tx) {
  support_check_eq(uvch_broadcast_init(NULL, NULL, tx, sizeof(uint64_t), 4), 0);
}

static void subscribe(int kind, uv_loop_t* loop, uvch_broadcast_receiver_t* rx, const uvch_broadcast_sender_t* tx) {
  memset(rx, 0xa5, sizeof(*rx));
  support_check_eq(uvch_broadcast_subscribe(kind == ON_LOOP ? loop : NULL, rx, tx), 0);
  if (kind == ATTACHED) {
    support_check_eq(uvch_attach(loop, (uvch_handle_t*) rx), 0);
  }
}

static void put(const uvch_broadcast_sender_t* tx, uint64_t value) {
  support_check(uvch_broadcast_send(tx, &value) > 0);
}

static void drop_sender(uvch_broadcast_sender_t* tx) {
  support_check_eq(uvch_broadcast_sender_close(tx), 0);
}

static void close_rx(uvch_broadcast_receiver_t* rx) {
  support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

static void keep_turning(uv_idle_t* idle) {
  (void) idle;
}

static void forget_prop(uv_handle_t* prop) {
  prop->data = NULL;
}

/* A few passes, also of a loop that nothing keeps alive. */
static void turn(uv_loop_t* loop) {
  uv_idle_t prop;
  int i;

  support_check_eq(uv_idle_init(loop, &prop), 0);
  support_check_eq(uv_idle_start(&prop, keep_turning), 0);
  prop.data = &prop;
  for (i = 0; i < 3; i++) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  uv_close((uv_handle_t*) &prop, forget_prop);
  while (prop.data != NULL) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
}

/* A request and what came of it. */
typedef struct watcher_s {
  uvch_broadcast_closed_t req;
  const uvch_broadcast_sender_t* tx; /* set: the callback looks whether it is true */
  int status;
  size_t calls;
} watcher_t;

static void watcher_cb(uvch_broadcast_closed_t* req, int status) {
  watcher_t* watcher = req->data;

  if (status == 0 && watcher->tx != NULL) {
    support_check_eq(uvch_broadcast_sender_receiver_count(watcher->tx), 0);
  }
  watcher->status = status;
  watcher->calls += 1;
}

/* The request's memory is garbage before; the library must not look at it. */
static int try_watch(uv_loop_t* loop, watcher_t* watcher, const uvch_broadcast_sender_t* tx) {
  memset(watcher, 0xa5, sizeof(*watcher));
  watcher->req.data = watcher;
  watcher->tx = tx;
  watcher->status = NOT_DONE;
  watcher->calls = 0;
  return uvch_broadcast_closed(loop, &watcher->req, tx, watcher_cb);
}

static void watch(uv_loop_t* loop, watcher_t* watcher, const uvch_broadcast_sender_t* tx) {
  support_check_eq(try_watch(loop, watcher, tx), 0);
  support_check_eq(watcher->calls, 0); /* never from inside the call */
  support_check(watcher->req.data == watcher && watcher->req.loop == loop);
  support_check_eq(watcher->req.type, UVCH_BROADCAST_CLOSED);
}

static int cancel(watcher_t* watcher) {
  return uvch_cancel((uvch_req_t*) &watcher->req);
}

static void check_told(const watcher_t* watcher, int status) {
  support_check_eq(watcher->calls, 1);
  support_check_eq(watcher->status, status);
}

/* A few passes in which nothing may come, and which the request keeps alive. */
static void check_waits(uv_loop_t* loop, const watcher_t* watcher) {
  int i;

  for (i = 0; i < 3; i++) {
    support_check(uv_run(loop, UV_RUN_NOWAIT) != 0);
    support_check_eq(watcher->calls, 0);
  }
}

/* Requests. */

START_TEST(a_channel_that_never_had_a_receiver_is_told_at_once_but_not_from_inside_the_call) {
  uvch_broadcast_sender_t tx;
  watcher_t watchers[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&tx);
  watch(&loop, &watchers[0], &tx);
  watch(&loop, &watchers[1], &tx);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  support_loop_run(&loop);
  check_told(&watchers[0], 0);
  check_told(&watchers[1], 0);
  ck_assert_int_eq(cancel(&watchers[0]), UV_EBUSY);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_request_is_told_when_the_last_receiver_is_closed) {
  uvch_broadcast_receiver_t rx[3];
  uvch_broadcast_sender_t tx;
  uint64_t value = 1;
  watcher_t watcher;
  uv_loop_t loop;
  uv_loop_t far;
  size_t i;

  support_loop_init(&loop);
  support_loop_init(&far);
  open_channel(&tx);
  for (i = 0; i < COUNT(rx); i++) {
    subscribe(_i, &loop, &rx[i], &tx);
  }
  put(&tx, 1);
  watch(&far, &watcher, &tx);
  check_waits(&far, &watcher);
  ck_assert_int_eq(uv_loop_close(&far), UV_EBUSY);
  close_rx(&rx[1]);
  close_rx(&rx[0]);
  check_waits(&far, &watcher);
  close_rx(&rx[2]);
  ck_assert_uint_eq(watcher.calls, 0);
  support_loop_run(&far);
  check_told(&watcher, 0);
  ck_assert_int_eq(cancel(&watcher), UV_EBUSY);
  ck_assert_int_eq(uvch_broadcast_send(&tx, &value), UV_EPIPE);
  drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
  check_told(&watcher, 0);
}
END_TEST

/* The receivers' own loop is one of them. */
START_TEST(all_requests_of_all_loops_are_told) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  watcher_t watchers[3][7];
  uv_loop_t loops[3];
  size_t i;
  size_t k;

  open_channel(&tx);
  for (i = 0; i < COUNT(loops); i++) {
    support_loop_init(&loops[i]);
  }
  subscribe(_i, &loops[0], &rx, &tx);
  for (k = 0; k < COUNT(watchers[0]); k++) {
    for (i = 0; i < COUNT(loops); i++) {
      watch(&loops[i], &watchers[i][k], &tx);
    }
  }
  for (i = 0; i < COUNT(loops); i++) {
    check_waits(&loops[i], &watchers[i][0]);
  }
  ck_assert_int_eq(cancel(&watchers[2][3]), 0); /* from the middle, the front, the end */
  ck_assert_int_eq(cancel(&watchers[0][0]), 0);
  ck_assert_int_eq(cancel(&watchers[1][6]), 0);
  close_rx(&rx);
  for (i = 0; i < COUNT(loops); i++) {
    support_loop_run(&loops[i]);
    for (k = 0; k < COUNT(watchers[0]); k++) {
      check_told(&watchers[i][k], (i == 2 && k == 3) || (i == 0 && k == 0) || (i == 1 && k == 6) ? UV_ECANCELED : 0);
    }
  }
  drop_sender(&tx);
  for (i = 0; i < COUNT(loops); i++) {
    support_loop_end(&loops[i]);
  }
}
END_TEST

START_TEST(a_new_receiver_in_between_keeps_it_waiting) {
  uvch_broadcast_receiver_t rx[2]; /* in turns: the memory of one that closes is not free at once */
  uvch_broadcast_sender_t tx;
  watcher_t watchers[2];
  watcher_t late;
  uv_loop_t loop;
  uv_loop_t far;
  size_t i;

  support_loop_init(&loop);
  support_loop_init(&far);
  open_channel(&tx);
  subscribe(_i, &loop, &rx[0], &tx);
  watch(&loop, &watchers[0], &tx);
  watch(&far, &watchers[1], &tx);
  for (i = 0; i < 5; i++) { /* each time the news is on its way when it is no longer true */
    close_rx(&rx[0]);
    turn(&loop);
    ck_assert_uint_eq(watchers[0].calls, 1);
    subscribe(_i, &loop, &rx[0], &tx);
    check_waits(&far, &watchers[1]);
    watch(&loop, &watchers[0], &tx);
    check_waits(&loop, &watchers[0]);
  }
  watch(&far, &late, &tx);
  close_rx(&rx[0]);
  subscribe(_i, &loop, &rx[1], &tx);
  check_waits(&loop, &watchers[0]);
  check_waits(&far, &watchers[1]);
  close_rx(&rx[1]);
  support_loop_run(&far);
  support_loop_run(&loop);
  check_told(&watchers[0], 0);
  check_told(&watchers[1], 0);
  check_told(&late, 0);
  drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
}
END_TEST

/* Made while there is none, and there is one by the time its callback is due. */
START_TEST(a_request_without_a_receiver_waits_if_one_comes_before_its_callback) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  uv_loop_t far;

  support_loop_init(&loop);
  support_loop_init(&far);
  open_channel(&tx);
  watch(&far, &watcher, &tx);
  subscribe(_i, &loop, &rx, &tx);
  check_waits(&far, &watcher);
  close_rx(&rx);
  support_loop_run(&far);
  check_told(&watcher, 0);
  drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
}
END_TEST

START_TEST(a_new_receiver_opens_the_channel_again_for_everybody) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 7;
  watcher_t watcher;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx);
  for (i = 0; i < 4; i++) {
    ck_assert_int_eq(uvch_broadcast_send(&tx, &value), UV_EPIPE);
    subscribe(_i, &loop, &rx, &tx);
    watch(&loop, &watcher, &tx);
    check_waits(&loop, &watcher);
    ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
    ck_assert_int_eq(uvch_broadcast_send(&tx, &value), 1);
    value = 0;
    ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &value), 0);
    ck_assert_uint_eq(value, 7);
    close_rx(&rx);
    support_loop_run(&loop);
    check_told(&watcher, 0);
    ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), 0);
  }
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_request_is_no_sender_and_outlives_them) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value;
  watcher_t watcher;
  uv_loop_t loop;
  uv_loop_t far;

  support_loop_init(&loop);
  support_loop_init(&far);
  open_channel(&tx);
  subscribe(_i, &loop, &rx, &tx);
  watch(&far, &watcher, &tx);
  watcher.tx = NULL; /* is gone by then */
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1);
  put(&tx, 3);
  drop_sender(&tx);
  ck_assert_uint_eq(uvch_broadcast_receiver_strong_count(&rx), 0);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 1);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &value), 0);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &value), UV_EOF);
  check_waits(&far, &watcher);
  close_rx(&rx);
  support_loop_end(&far);
  check_told(&watcher, 0);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_cancelled_request_is_told_so_once) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  watcher_t watchers[3];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&tx);
  subscribe(_i, &loop, &rx, &tx);
  watch(&loop, &watchers[0], &tx);
  watch(&loop, &watchers[1], &tx);
  ck_assert_int_eq(cancel(&watchers[1]), 0);
  ck_assert_int_eq(cancel(&watchers[1]), UV_EBUSY);
  ck_assert_uint_eq(watchers[1].calls, 0);
  turn(&loop);
  check_told(&watchers[1], UV_ECANCELED);
  ck_assert_int_eq(cancel(&watchers[1]), UV_EBUSY);
  watch(&loop, &watchers[2], &tx); /* again */
  check_waits(&loop, &watchers[2]);
  ck_assert_int_eq(cancel(&watchers[0]), 0);
  close_rx(&rx); /* does not change it */
  support_loop_run(&loop);
  check_told(&watchers[0], UV_ECANCELED);
  check_told(&watchers[2], 0);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* Too late or not: the answer of cancel and the status agree. */
START_TEST(a_request_may_be_cancelled_while_the_news_is_on_its_way) {
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  watcher_t watchers[2];
  int answers[2];
  uv_loop_t loop;
  uv_loop_t far;

  support_loop_init(&loop);
  support_loop_init(&far);
  open_channel(&tx);
  subscribe(_i % KINDS, &loop, &rx[0], &tx);
  watch(&far, &watchers[0], &tx);
  watch(&far, &watchers[1], &tx);
  close_rx(&rx[0]);
  answers[0] = cancel(&watchers[0]);
  if (_i / KINDS == 1) { /* true no longer, so the other one waits on */
    subscribe(_i % KINDS, &loop, &rx[1], &tx);
    check_waits(&far, &watchers[1]);
    answers[1] = cancel(&watchers[1]);
    ck_assert_int_eq(answers[1], 0);
    close_rx(&rx[1]);
  } else {
    answers[1] = cancel(&watchers[1]);
  }
  support_loop_run(&far);
  ck_assert(answers[0] == 0 || answers[0] == UV_EBUSY);
  check_told(&watchers[0], answers[0] == 0 ? UV_ECANCELED : 0);
  check_told(&watchers[1], answers[1] == 0 ? UV_ECANCELED : 0);
  drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
}
END_TEST

START_TEST(a_request_and_its_cancel_leave_no_memory_behind) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  watcher_t watchers[10];
  uv_loop_t loop;
  size_t blocks = 0;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx);
  subscribe(ON_LOOP, &loop, &rx, &tx);
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

static void never_told(uvch_broadcast_closed_t* req, int status) {
  (void) req;
  ck_abort_msg("a refused request has called back with %d", status);
}

typedef struct stranger_s {
  uv_loop_t* loop;
  uvch_broadcast_sender_t* tx;
  uvch_broadcast_receiver_t* plain;
  uvch_broadcast_closed_t req;
  support_result_t result;
} stranger_t;

static void come_as_stranger(void* arg) {
  stranger_t* s = arg;
  unsigned char before[sizeof(uvch_broadcast_receiver_t)];
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;

  memset(before, 0x5a, sizeof(before));
  memset(&rx, 0x5a, sizeof(rx));
  memset(&tx, 0x5a, sizeof(tx));
  support_expect_eq(&s->result, uvch_broadcast_closed(s->loop, &s->req, s->tx, never_told), UV_EPERM);
  support_expect_eq(&s->result, uvch_broadcast_init(s->loop, &rx, &tx, 8, 4), UV_EPERM);
  support_expect_eq(&s->result, uvch_broadcast_subscribe(s->loop, &rx, s->tx), UV_EPERM);
  support_expect_eq(&s->result, uvch_broadcast_resubscribe(s->loop, &rx, s->plain), UV_EPERM);
  support_expect_eq(&s->result, uvch_attach(s->loop, (uvch_handle_t*) s->plain), UV_EPERM);
  support_expect_eq(&s->result, memcmp(&rx, before, sizeof(rx)), 0);
  support_expect_eq(&s->result, memcmp(&tx, before, sizeof(tx)), 0);
}

START_TEST(the_loop_of_another_thread_is_refused) {
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  stranger_t stranger;
  watcher_t watcher;
  uv_thread_t thread;
  uv_loop_t loop;

  memset(&stranger, 0, sizeof(stranger));
  support_loop_init(&loop);
  open_channel(&tx);
  subscribe(PLAIN, NULL, &plain, &tx);
  subscribe(ON_LOOP, &loop, &rx, &tx);
  watch(&loop, &watcher, &tx);
  check_waits(&loop, &watcher); /* from now on it is this thread's */
  stranger.loop = &loop;
  stranger.tx = &tx;
  stranger.plain = &plain;
  support_spawn(&thread, come_as_stranger, &stranger);
  support_join(&thread);
  support_result_check(&stranger.result);
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), 2);
  ck_assert_ptr_null(uvch_handle_get_loop((uvch_handle_t*) &plain));
  close_rx(&plain);
  close_rx(&rx);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_refused_request_never_calls_back) {
  uvch_broadcast_closed_t req;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;

  memset(&req, 0, sizeof(req));
  support_loop_init(&loop);
  open_channel(&tx);
  ck_assert_int_eq(uvch_broadcast_closed(NULL, &req, &tx, never_told), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed(&loop, NULL, &tx, never_told), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed(&loop, &req, NULL, never_told), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed(&loop, &req, &tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed_wait(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(NULL, 0), UV_EINVAL);
  drop_sender(&tx);
  ck_assert_int_eq(uvch_broadcast_closed(&loop, &req, &tx, never_told), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 1), UV_EBADF);
  support_loop_end(&loop);
}
END_TEST

/* Asks again from its own callback, and frees everything in the last one. */
typedef struct again_s {
  uvch_broadcast_closed_t req;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_receiver_t rx;
  size_t left;
} again_t;

static void on_closed_again(uvch_broadcast_closed_t* req, int status) {
  again_t* again = req->data;
  uv_loop_t* loop = req->loop;

  support_check_eq(status, 0);
  if (--again->left == 0) {
    drop_sender(&again->tx);
    memset(again, 0xdd, sizeof(*again));
    free(again);
    return;
  }
  if (again->left % 2 == 0) {
    subscribe(PLAIN, NULL, &again->rx, &again->tx);
  }
  support_check_eq(uvch_broadcast_closed(loop, req, &again->tx, on_closed_again), 0);
  if (again->left % 2 == 0) {
    close_rx(&again->rx);
  }
}

START_TEST(a_callback_may_ask_again_and_subscribe_and_free_everything) {
  again_t* again = calloc(1, sizeof(*again));
  uv_loop_t loop;

  ck_assert_ptr_nonnull(again);
  support_loop_init(&loop);
  open_channel(&again->tx);
  again->req.data = again;
  again->left = 5;
  ck_assert_int_eq(uvch_broadcast_closed(&loop, &again->req, &again->tx, on_closed_again), 0);
  support_loop_end(&loop);
}
END_TEST

/* The first one that is told subscribes: it is true no longer for the others. */
typedef struct first_s {
  uvch_broadcast_closed_t reqs[3];
  uvch_broadcast_sender_t tx;
  uvch_broadcast_receiver_t rx;
  size_t told;
} first_t;

static void on_closed_subscribe(uvch_broadcast_closed_t* req, int status) {
  first_t* first = req->data;

  support_check_eq(status, 0);
  support_check_eq(uvch_broadcast_sender_receiver_count(&first->tx), 0);
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
  open_channel(&first.tx);
  for (i = 0; i < COUNT(first.reqs); i++) {
    first.reqs[i].data = &first;
    ck_assert_int_eq(uvch_broadcast_closed(&loop, &first.reqs[i], &first.tx, on_closed_subscribe), 0);
  }
  for (i = 1; i <= COUNT(first.reqs); i++) {
    turn(&loop);
    ck_assert_uint_eq(first.told, i);
    if (i < COUNT(first.reqs)) {
      close_rx(&first.rx);
    }
  }
  drop_sender(&first.tx);
  support_loop_end(&loop);
}
END_TEST

static void close_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  support_check(status == 0 && item != NULL);
  close_rx(rx);
}

START_TEST(a_receive_callback_may_close_the_last_receiver_under_a_request_of_its_loop) {
  uvch_broadcast_receiver_t rx[3];
  uvch_broadcast_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx);
  for (i = 0; i < COUNT(rx); i++) {
    subscribe(ON_LOOP, &loop, &rx[i], &tx);
    ck_assert_int_eq(uvch_broadcast_recv_start(&rx[i], close_cb), 0);
  }
  watch(&loop, &watcher, &tx);
  check_waits(&loop, &watcher);
  put(&tx, 1);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  drop_sender(&tx);
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
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  watcher_t watchers[3];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx);
  subscribe(PLAIN, NULL, &rx, &tx);
  for (i = 0; i < COUNT(watchers); i++) {
    watch(&loop, &watchers[i], &tx);
  }
  check_waits(&loop, &watchers[0]);
  uv_walk(&loop, close_uv, NULL);
  ck_assert_int_eq(cancel(&watchers[1]), 0); /* nobody brings the callback */
  support_loop_end(&loop);
  memset(&loop, 0xdd, sizeof(loop));
  if (_i == 1) {
    drop_sender(&tx);
  }
  close_rx(&rx);
  if (_i == 0) {
    drop_sender(&tx);
  }
  ck_assert_uint_eq(watchers[0].calls + watchers[1].calls + watchers[2].calls, 0);
  support_loop_init(&loop);
  open_channel(&tx);
  watch(&loop, &watchers[0], &tx);
  support_loop_run(&loop);
  check_told(&watchers[0], 0);
  drop_sender(&tx);
  support_loop_end(&loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

START_TEST(without_memory_nobody_waits) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  size_t n = 0;
  int err;

  support_loop_init(&loop);
  open_channel(&tx);
  subscribe(PLAIN, NULL, &rx, &tx);
  do {
    support_alloc_mark();
    support_alloc_fail(++n);
    err = try_watch(&loop, &watcher, &tx);
    support_alloc_fail(0);
    ck_assert_int_eq(err, support_alloc_failed() > 0 ? UV_ENOMEM : 0);
    if (err != 0) {
      support_loop_run(&loop);
      ck_assert_uint_eq(watcher.calls, 0);
    }
  } while (err != 0);
  ck_assert_uint_gt(n, 1);
  close_rx(&rx);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* Threads that watch asleep. */

typedef struct sleeper_s {
  uvch_broadcast_sender_t* tx;
  uv_thread_t thread;
  uint64_t timeout; /* 0: closed_wait */
  int answer;
  _Atomic(long) number;
} sleeper_t;

static void sleep_on_it(void* arg) {
  sleeper_t* sleeper = arg;

  atomic_store(&sleeper->number, support_thread_number());
  if (sleeper->timeout == 0) {
    sleeper->answer = uvch_broadcast_closed_wait(sleeper->tx);
  } else {
    sleeper->answer = uvch_broadcast_closed_timedwait(sleeper->tx, sleeper->timeout);
  }
}

static void sleeper_start(sleeper_t* sleeper, uvch_broadcast_sender_t* tx, uint64_t timeout) {
  memset(sleeper, 0, sizeof(*sleeper));
  sleeper->tx = tx;
  sleeper->timeout = timeout;
  sleeper->answer = NOT_DONE;
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
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx);
  for (round = 0; round < 3; round++) {
    subscribe(_i, &loop, &rx[0], &tx);
    subscribe(_i, &loop, &rx[1], &tx);
    for (i = 0; i < COUNT(timeouts); i++) {
      sleeper_start(&sleepers[i], &tx, timeouts[i]);
    }
    ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1); /* they do not count */
    close_rx(&rx[round % 2]);
    for (i = 0; i < COUNT(timeouts); i++) {
      support_until_asleep(atomic_load(&sleepers[i].number));
      ck_assert_int_eq(sleepers[i].answer, NOT_DONE);
    }
    close_rx(&rx[1 - round % 2]);
    for (i = 0; i < COUNT(timeouts); i++) {
      sleeper_join(&sleepers[i]);
    }
    support_loop_run(&loop);
  }
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_wait_without_a_receiver_does_not_block) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&tx);
  support_alloc_fail_from(1); /* nor does it need memory */
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), 0); /* before the clock is looked at */
  support_alloc_fail_from(0);
  subscribe(_i, &loop, &rx, &tx);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  close_rx(&rx);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, UINT64_MAX), 0);
  support_alloc_fail_from(0);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_timed_wait_takes_at_least_its_time_and_leaves_no_trace) {
  static const uint64_t times[] = {1, 1000, 1000000, 20000000};
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  uint64_t began;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx);
  subscribe(PLAIN, NULL, &rx, &tx);
  watch(&loop, &watcher, &tx);
  for (i = 0; i < COUNT(times); i++) {
    began = uv_hrtime();
    ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - began, times[i]);
  }
  check_waits(&loop, &watcher);
  close_rx(&rx);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(sleeping_is_refused_on_the_loop_of_a_receiver) {
  uvch_broadcast_receiver_t near;
  uvch_broadcast_receiver_t far;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  uv_loop_t other;

  support_loop_init(&loop);
  support_loop_init(&other);
  open_channel(&tx);
  subscribe(ON_LOOP, &other, &far, &tx); /* nobody has run that one */
  subscribe(_i, &loop, &near, &tx);
  turn(&loop);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), UV_EPERM);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 1), UV_EPERM);
  close_rx(&near);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 1), UV_ETIMEDOUT); /* it has no receiver now */
  close_rx(&far);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), 0);
  drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&other);
}
END_TEST

/* Threads that subscribe and close, loops and threads that watch. In the end nobody subscribes, and all are told. */

enum { TOGGLERS = 3, SLEEPERS = 2, FAR = 2 };

typedef struct race_s {
  uvch_broadcast_sender_t tx;
  uv_loop_t loops[FAR];
  support_runner_t runners[FAR];
  uvch_broadcast_closed_t reqs[FAR][4];
  size_t toggles;
  _Atomic(size_t) toggling;
  _Atomic(size_t) news;
  support_result_t result;
} race_t;

static void race_toggle(void* arg) {
  race_t* race = arg;
  uvch_broadcast_receiver_t rx;
  uint64_t value = 1;
  size_t i;

  for (i = 0; i < race->toggles; i++) {
    if (!support_expect_eq(&race->result, uvch_broadcast_subscribe(NULL, &rx, &race->tx), 0)) {
      break;
    }
    if (i % 3 == 0) {
      support_expect(&race->result, uvch_broadcast_send(&race->tx, &value) > 0); /* there is this one at least */
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
    int answer = uvch_broadcast_closed_timedwait(&race->tx, 100000);

    support_expect(&race->result, answer == 0 || answer == UV_ETIMEDOUT);
    support_expect_eq(&race->result, uvch_broadcast_closed_wait(&race->tx), 0);
    atomic_fetch_add(&race->news, 1);
  }
}

/* Asks again as long as somebody comes and goes. Each request that is made must be told once, or its loop does not end. */
static void race_on_closed(uvch_broadcast_closed_t* req, int status) {
  race_t* race = req->data;

  support_expect_eq(&race->result, status, 0);
  atomic_fetch_add(&race->news, 1);
  if (atomic_load(&race->toggling) > 0) {
    support_expect_eq(&race->result, uvch_broadcast_closed(req->loop, req, &race->tx, race_on_closed), 0);
  }
}

static void race_watch(race_t* race) {
  size_t i;
  size_t k;

  for (i = 0; i < FAR; i++) {
    support_loop_init(&race->loops[i]);
    for (k = 0; k < COUNT(race->reqs[i]); k++) {
      race->reqs[i][k].data = race;
      ck_assert_int_eq(uvch_broadcast_closed(&race->loops[i], &race->reqs[i][k], &race->tx, race_on_closed), 0);
    }
    support_runner_start(&race->runners[i], &race->loops[i]);
  }
}

START_TEST(whoever_watches_while_receivers_come_and_go_is_told_in_the_end) {
  uv_thread_t togglers[TOGGLERS];
  uv_thread_t sleepers[SLEEPERS];
  static race_t race;
  size_t i;

  memset(&race, 0, sizeof(race));
  race.toggles = support_scale(3000);
  atomic_store(&race.toggling, TOGGLERS);
  open_channel(&race.tx);
  race_watch(&race);
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
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&race.tx), 0);
  drop_sender(&race.tx);
}
END_TEST

/* A receiver that closes on its own loop's thread, and sleeping loops and threads that learn it. */
static void close_far_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  support_result_t* result = rx->data;

  support_expect(result, status == 0 && item != NULL);
  support_expect_eq(result, uvch_close((uvch_handle_t*) rx, NULL), 0);
}

START_TEST(a_loop_and_a_thread_learn_what_another_loop_did) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  support_runner_t runner;
  support_result_t result;
  sleeper_t sleeper;
  watcher_t watcher;
  uv_loop_t loop;
  uv_loop_t far;
  size_t round;

  support_loop_init(&loop);
  open_channel(&tx);
  for (round = 0; round < support_scale(100); round++) {
    memset(&result, 0, sizeof(result));
    support_loop_init(&far);
    subscribe(ON_LOOP, &far, &rx, &tx);
    rx.data = &result;
    support_check_eq(uvch_broadcast_recv_start(&rx, close_far_cb), 0);
    watch(&loop, &watcher, &tx);
    sleeper_start(&sleeper, &tx, 0);
    support_runner_start(&runner, &far);
    put(&tx, round);
    support_loop_run(&loop);
    check_told(&watcher, 0);
    sleeper_join(&sleeper);
    support_runner_join(&runner);
    support_result_check(&result);
    support_loop_end(&far);
  }
  drop_sender(&tx);
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
  add_for_every_kind(tcase, a_request_is_no_sender_and_outlives_them);
  add_for_every_kind(tcase, a_cancelled_request_is_told_so_once);
  tcase_add_loop_test(tcase, a_request_may_be_cancelled_while_the_news_is_on_its_way, 0, 2 * KINDS);
  tcase_add_test(tcase, a_request_and_its_cancel_leave_no_memory_behind);
  tcase_add_test(tcase, the_loop_of_another_thread_is_refused);
  tcase_add_test(tcase, a_refused_request_never_calls_back);
  tcase_add_test(tcase, a_callback_may_ask_again_and_subscribe_and_free_everything);
  tcase_add_test(tcase, a_callback_that_subscribes_keeps_the_others_waiting);
  tcase_add_test(tcase, a_receive_callback_may_close_the_last_receiver_under_a_request_of_its_loop);
  tcase_add_loop_test(tcase, a_program_may_close_the_librarys_handles_under_a_request, 0, 2);
  tcase_add_test(tcase, without_memory_nobody_waits);
}

static void add_threads(Suite* suite) {
  TCase* tcase = support_case(suite, "threads");

  add_for_every_kind(tcase, threads_sleep_until_there_is_no_receiver);
  add_for_every_kind(tcase, a_wait_without_a_receiver_does_not_block);
  tcase_add_test(tcase, a_timed_wait_takes_at_least_its_time_and_leaves_no_trace);
  tcase_add_loop_test(tcase, sleeping_is_refused_on_the_loop_of_a_receiver, ON_LOOP, KINDS);
  tcase_add_test(tcase, whoever_watches_while_receivers_come_and_go_is_told_in_the_end);
  tcase_add_test(tcase, a_loop_and_a_thread_learn_what_another_loop_did);
}

int main(void) {
  Suite* suite = suite_create("broadcast_closed");

  add_requests(suite);
  add_threads(suite);
  return support_main(suite);
}
