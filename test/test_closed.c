/* SPDX-License-Identifier: MIT
 *
 * Waiting for the end of the receiver, on loops and on threads. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOT_DONE = 1 }; /* no status is positive */

static const size_t capacities[] = {1, 64, UVCH_UNBOUNDED};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))
#define add_for_every_bound(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities) - 1)

/* The ways in which a channel closes. */
enum { BY_SHUTDOWN, BY_CLOSE, BY_LAST_SENDER, WAYS };

#define WAY (_i % WAYS)
#define WAY_CAPACITY (capacities[_i / WAYS])
#define add_for_every_way(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities) * WAYS)

static void open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  support_check_eq(uvch_mpsc_init(loop, rx, tx, sizeof(uint64_t), capacity), 0);
}

static void close_in(int way, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx) {
  if (way == BY_SHUTDOWN) {
    support_check_eq(uvch_mpsc_recv_shutdown(rx), 0);
  } else if (way == BY_CLOSE) {
    support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
  } else {
    support_check_eq(uvch_mpsc_sender_close(tx), 0);
  }
}

/* What close_in() has left. */
static void close_rest(int way, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx) {
  if (way != BY_CLOSE) {
    support_close(rx);
  }
  if (way != BY_LAST_SENDER) {
    support_drop_sender(tx);
  }
}

/* A request and what came of it. */
typedef struct watcher_s {
  uvch_mpsc_closed_t req;
  int status;
  size_t calls;
} watcher_t;

static void on_closed(uvch_mpsc_closed_t* req, int status) {
  watcher_t* watcher = req->data;

  watcher->status = status;
  watcher->calls += 1;
}

/* The request's memory is garbage before; the library must not look at it. */
static int try_watch(uv_loop_t* loop, watcher_t* watcher, const uvch_mpsc_sender_t* tx) {
  memset(watcher, 0xa5, sizeof(*watcher));
  watcher->req.data = watcher;
  watcher->status = NOT_DONE;
  watcher->calls = 0;
  return uvch_mpsc_closed(loop, &watcher->req, tx, on_closed);
}

static void watch(uv_loop_t* loop, watcher_t* watcher, const uvch_mpsc_sender_t* tx) {
  support_check_eq(try_watch(loop, watcher, tx), 0);
  support_check_eq(watcher->calls, 0); /* never from inside the call */
  support_check(watcher->req.data == watcher && watcher->req.loop == loop);
  support_check_eq(watcher->req.type, UVCH_MPSC_CLOSED);
}

static int cancel(watcher_t* watcher) {
  return uvch_cancel((uvch_req_t*) &watcher->req);
}

static void check_told(const watcher_t* watcher, int status) {
  support_check_eq(watcher->calls, 1);
  support_check_eq(watcher->status, status);
}

/* A few passes in which nothing may come. */
static void check_waits(uv_loop_t* loop, const watcher_t* watcher) {
  int i;

  for (i = 0; i < 3; i++) {
    ck_assert_int_ne(uv_run(loop, UV_RUN_NOWAIT), 0); /* it keeps the loop alive */
    ck_assert_uint_eq(watcher->calls, 0);
  }
}

/* Requests. */

START_TEST(a_request_is_told_when_the_channel_closes) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, WAY_CAPACITY);
  watch(&loop, &watcher, &tx);
  check_waits(&loop, &watcher);
  close_in(WAY, &rx, &tx);
  ck_assert_uint_eq(watcher.calls, 0);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  ck_assert_int_eq(cancel(&watcher), UV_EBUSY);
  close_rest(WAY, &rx, &tx);
  support_loop_end(&loop);
  check_told(&watcher, 0);
}
END_TEST

START_TEST(all_requests_of_all_loops_are_told_in_the_order_they_were_made) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t other;
  watcher_t watchers[4][5];
  uv_loop_t loops[4];
  size_t i;
  size_t k;

  for (i = 0; i < COUNT(loops); i++) {
    support_loop_init(&loops[i]);
  }
  open_channel(&loops[0], &rx, &tx, WAY_CAPACITY);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &other), 0);
  for (k = 0; k < COUNT(watchers[0]); k++) {
    for (i = 0; i < COUNT(loops); i++) {
      watch(&loops[i], &watchers[i][k], k % 2 == 0 ? &tx : &other);
    }
  }
  support_drop_sender(&other); /* those that it made stay */
  for (i = 0; i < COUNT(loops); i++) {
    check_waits(&loops[i], &watchers[i][0]);
  }
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &watchers[2][3].req), 0);
  close_in(WAY, &rx, &tx);
  for (i = 0; i < COUNT(loops); i++) {
    if (i > 0 || WAY == BY_CLOSE) {
      support_loop_run(&loops[i]);
    } else {
      while (watchers[0][COUNT(watchers[0]) - 1].calls == 0) {
        uv_run(&loops[0], UV_RUN_NOWAIT);
      }
    }
    for (k = 0; k < COUNT(watchers[0]); k++) {
      check_told(&watchers[i][k], i == 2 && k == 3 ? UV_ECANCELED : 0);
    }
  }
  close_rest(WAY, &rx, &tx);
  for (i = 0; i < COUNT(loops); i++) {
    support_loop_end(&loops[i]);
  }
}
END_TEST

START_TEST(on_a_closed_channel_the_callback_comes_all_the_same_and_later) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  watcher_t watchers[2];
  uv_loop_t loop;

  if (WAY == BY_LAST_SENDER) { /* then nobody can ask */
    return;
  }
  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, WAY_CAPACITY);
  close_in(WAY, &rx, &tx);
  watch(&loop, &watchers[0], &tx);
  watch(&loop, &watchers[1], &tx);
  ck_assert_int_eq(cancel(&watchers[0]), UV_EBUSY);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  close_rest(WAY, &rx, &tx); /* the request holds what it needs */
  support_loop_end(&loop);
  check_told(&watchers[0], 0);
  check_told(&watchers[1], 0);
}
END_TEST

START_TEST(a_request_is_no_sender_and_takes_no_place) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t other;
  support_sink_t sink;
  watcher_t watcher;
  uvch_stats_t stats;
  uv_loop_t loop;
  uv_loop_t far;

  support_loop_init(&loop);
  support_loop_init(&far);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  ck_assert_int_eq(uvch_mpsc_sender_downgrade(&tx, &weak), 0);
  watch(&far, &watcher, &tx);
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&tx), 1);
  ck_assert_uint_eq(uvch_mpsc_sender_weak_count(&tx), 1);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), CAPACITY);
  ck_assert_int_eq(uvch_mpsc_sender_get_stats(&tx, &stats), 0);
  ck_assert_uint_eq(stats.waiting, 0);
  support_put(&tx, 0); /* nobody waits for room */
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &other), UV_EPIPE);
  support_loop_end(&loop); /* the end comes though it waits */
  support_sink_check(&sink, 1, 1);
  support_loop_end(&far);
  check_told(&watcher, 0);
  ck_assert_int_eq(uvch_mpsc_weak_sender_close(&weak), 0);
}
END_TEST

START_TEST(a_cancelled_request_is_told_so_once_and_then_it_is_too_late) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  watcher_t watchers[3];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  watch(&loop, &watchers[0], &tx);
  watch(&loop, &watchers[1], &tx);
  watch(&loop, &watchers[2], &tx);
  ck_assert_int_eq(cancel(&watchers[1]), 0);
  ck_assert_int_eq(cancel(&watchers[1]), UV_EBUSY);
  ck_assert_uint_eq(watchers[1].calls, 0);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(cancel(&watchers[1]), UV_EBUSY);
  ck_assert_int_eq(cancel(&watchers[0]), UV_EBUSY); /* told, on its way */
  support_loop_run(&loop);
  check_told(&watchers[0], 0);
  check_told(&watchers[1], UV_ECANCELED);
  check_told(&watchers[2], 0);
  ck_assert_int_eq(cancel(&watchers[1]), UV_EBUSY);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_request_keeps_its_loop_alive_until_its_callback) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  watch(&loop, &watcher, &tx);
  check_waits(&loop, &watcher);
  ck_assert_int_eq(uv_loop_close(&loop), UV_EBUSY);
  ck_assert_int_eq(cancel(&watcher), 0);
  support_loop_run(&loop);
  check_told(&watcher, UV_ECANCELED);
  support_loop_close(&loop);
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

START_TEST(it_comes_at_the_shutdown_whatever_is_still_queued) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  uint64_t value;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY == 1 ? 2 : CAPACITY);
  support_put(&tx, 4);
  if (CAPACITY != UVCH_UNBOUNDED) {
    ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), 0);
  }
  watch(&loop, &watcher, &tx);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  ck_assert_uint_eq(support_take(&rx), 4);
  if (CAPACITY != UVCH_UNBOUNDED) { /* nor does a permit hold it back */
    ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &value), UV_EAGAIN);
    ck_assert_int_eq(uvch_mpsc_permit_release(&permit), 0);
  }
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &value), UV_EOF);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_permit_keeps_the_channel_open_for_those_who_watch) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), 0);
  watch(&loop, &watcher, &tx);
  support_drop_sender(&tx);
  check_waits(&loop, &watcher);
  ck_assert_int_eq(uvch_mpsc_permit_release(&permit), 0);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  support_close(&rx);
  support_loop_close(&loop);
}
END_TEST

static void never(uvch_mpsc_closed_t* req, int status) {
  (void) req;
  (void) status;
  ck_abort_msg("a refused request has called back");
}

START_TEST(a_refused_request_never_calls_back) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_closed_t req;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;

  memset(&req, 0, sizeof(req));
  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_closed(NULL, &req, &tx, never), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_closed(&loop, NULL, &tx, never), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_closed(&loop, &req, NULL, never), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_closed(&loop, &req, &tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), UV_EINVAL);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_closed(&loop, &req, &tx, never), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_closed_wait(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_closed_timedwait(&tx, 1), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_closed_wait(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_closed_timedwait(NULL, 0), UV_EINVAL);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Asks again from its own callback, and gives everything up in the last one. */
typedef struct again_s {
  uvch_mpsc_closed_t req;
  uvch_mpsc_receiver_t* rx;
  uvch_mpsc_sender_t* tx;
  size_t left;
} again_t;

static void on_closed_again(uvch_mpsc_closed_t* req, int status) {
  again_t* again = req->data;
  uv_loop_t* loop = req->loop;

  support_check_eq(status, 0);
  if (--again->left > 0) {
    support_check_eq(uvch_mpsc_closed(loop, req, again->tx, on_closed_again), 0);
    return;
  }
  support_drop_sender(again->tx);
  support_close(again->rx);
  free(again);
}

START_TEST(a_callback_may_ask_again_and_close_and_free_everything) {
  again_t* again = calloc(1, sizeof(*again));
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;

  ck_assert_ptr_nonnull(again);
  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  again->req.data = again;
  again->rx = &rx;
  again->tx = &tx;
  again->left = 4;
  ck_assert_int_eq(uvch_mpsc_closed(&loop, &again->req, &tx, on_closed_again), 0);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  support_loop_end(&loop);
}
END_TEST

static void on_item_shut_down(uvch_mpsc_receiver_t* rx, int status, void* item) {
  watcher_t* watcher = rx->data;

  (void) item;
  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  support_check_eq(uvch_mpsc_recv_shutdown(rx), 0);
  support_check_eq(watcher->calls, 0); /* nothing comes from inside a call */
}

START_TEST(a_receive_callback_may_shut_down_under_a_request_of_its_loop) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &watcher;
  watch(&loop, &watcher, &tx);
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, on_item_shut_down), 0);
  support_loop_end(&loop);
  check_told(&watcher, 0);
  support_drop_sender(&tx);
}
END_TEST

/* Threads. */

typedef struct sleeper_s {
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  uint64_t timeout; /* 0: closed_wait */
  bool sends;       /* send_wait instead */
  int answer;
  _Atomic(long) number;
} sleeper_t;

static void sleep_on_it(void* arg) {
  sleeper_t* sleeper = arg;
  uint64_t value = 77;

  atomic_store(&sleeper->number, support_thread_number());
  if (sleeper->sends) {
    sleeper->answer = uvch_mpsc_send_wait(&sleeper->tx, &value);
  } else if (sleeper->timeout == 0) {
    sleeper->answer = uvch_mpsc_closed_wait(&sleeper->tx);
  } else {
    sleeper->answer = uvch_mpsc_closed_timedwait(&sleeper->tx, sleeper->timeout);
  }
  uvch_mpsc_sender_close(&sleeper->tx);
}

static void sleeper_begin(sleeper_t* sleeper, const uvch_mpsc_sender_t* tx, uint64_t timeout, bool sends) {
  memset(sleeper, 0, sizeof(*sleeper));
  support_check_eq(uvch_mpsc_sender_clone(tx, &sleeper->tx), 0);
  sleeper->timeout = timeout;
  sleeper->sends = sends;
  sleeper->answer = NOT_DONE;
  support_spawn(&sleeper->thread, sleep_on_it, sleeper);
}

static void sleeper_join(sleeper_t* sleeper, int answer) {
  support_join(&sleeper->thread);
  ck_assert_int_eq(sleeper->answer, answer);
}

START_TEST(a_thread_sleeps_until_the_channel_closes) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  sleeper_t sleepers[2];

  if (WAY == BY_LAST_SENDER) { /* who waits has one */
    return;
  }
  open_channel(NULL, &rx, &tx, WAY_CAPACITY);
  sleeper_begin(&sleepers[0], &tx, 0, false);
  sleeper_begin(&sleepers[1], &tx, UINT64_MAX - 1, false);
  support_until_blocked(&sleepers[0].number);
  support_until_blocked(&sleepers[1].number);
  ck_assert_int_eq(sleepers[0].answer, NOT_DONE);
  support_put(&tx, 1); /* nothing to them */
  ck_assert_uint_eq(support_take(&rx), 1);
  support_until_asleep(atomic_load(&sleepers[0].number));
  close_in(WAY, &rx, &tx);
  sleeper_join(&sleepers[0], 0);
  sleeper_join(&sleepers[1], 0);
  close_rest(WAY, &rx, &tx);
}
END_TEST

START_TEST(a_wait_on_a_closed_channel_does_not_block) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  if (WAY == BY_LAST_SENDER) {
    return;
  }
  open_channel(NULL, &rx, &tx, WAY_CAPACITY);
  ck_assert_int_eq(uvch_mpsc_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  close_in(WAY, &rx, &tx);
  ck_assert_int_eq(uvch_mpsc_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_mpsc_closed_timedwait(&tx, 0), 0); /* before the clock is looked at */
  ck_assert_int_eq(uvch_mpsc_closed_timedwait(&tx, UINT64_MAX), 0);
  close_rest(WAY, &rx, &tx);
}
END_TEST

START_TEST(a_timed_wait_takes_at_least_its_time_and_leaves_no_trace) {
  static const uint64_t times[] = {1, 1000, 1000000, 20000000};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t began;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 0; i < COUNT(times); i++) {
    began = uv_hrtime();
    ck_assert_int_eq(uvch_mpsc_closed_timedwait(&tx, times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - began, times[i]);
  }
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&tx), 1);
  support_put(&tx, 1);
  ck_assert_uint_eq(support_take(&rx), 1);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

static void on_item_wait(uvch_mpsc_receiver_t* rx, int status, void* item) {
  uvch_mpsc_sender_t* tx = rx->data;

  (void) item;
  support_check_eq(status, 0);
  support_check_eq(uvch_mpsc_closed_wait(tx), UV_EPERM);
  support_check_eq(uvch_mpsc_closed_timedwait(tx, 1), UV_EPERM);
  support_drop_sender(tx);
  support_close(rx);
}

START_TEST(a_wait_on_the_own_loop_is_refused) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &tx;
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, on_item_wait), 0);
  support_loop_end(&loop);
}
END_TEST

/* A loop that a thread has run belongs to it. */
typedef struct stranger_s {
  uv_loop_t* loop;
  uvch_mpsc_sender_t* tx;
  uvch_mpsc_closed_t req;
  int answer;
} stranger_t;

static void watch_as_stranger(void* arg) {
  stranger_t* stranger = arg;

  stranger->answer = uvch_mpsc_closed(stranger->loop, &stranger->req, stranger->tx, never);
}

START_TEST(a_request_on_the_loop_of_another_thread_is_refused) {
  stranger_t stranger;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  watcher_t watcher;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  watch(&loop, &watcher, &tx);
  check_waits(&loop, &watcher);
  stranger.loop = &loop;
  stranger.tx = &tx;
  support_spawn(&thread, watch_as_stranger, &stranger);
  support_join(&thread);
  ck_assert_int_eq(stranger.answer, UV_EPERM);
  close_in(BY_SHUTDOWN, &rx, &tx);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  close_rest(BY_SHUTDOWN, &rx, &tx);
  support_loop_close(&loop);
}
END_TEST

enum { WATCHERS = 8, SENDERS = 4, REQUESTS = 3 };

START_TEST(eight_who_watch_and_four_who_send_are_all_told_once) {
  sleeper_t watchers[WATCHERS];
  sleeper_t senders[SENDERS];
  watcher_t requests[REQUESTS];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t rounds = support_scale(20);
  size_t full = _i / 2 == 0 ? 1 : 16;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  for (; rounds > 0; rounds--) {
    open_channel(NULL, &rx, &tx, full);
    for (i = 0; i < full; i++) {
      support_put(&tx, i);
    }
    for (i = 0; i < WATCHERS; i++) {
      sleeper_begin(&watchers[i], &tx, i % 2 == 0 ? 0 : UINT64_MAX - 1, false);
      if (i < SENDERS) {
        sleeper_begin(&senders[i], &tx, 0, true);
      }
      if (i < REQUESTS) {
        watch(&loop, &requests[i], &tx);
      }
    }
    if (rounds % 4 == 0) { /* else some are still on their way */
      for (i = 0; i < WATCHERS; i++) {
        support_until_blocked(&watchers[i].number);
      }
      for (i = 0; i < SENDERS; i++) {
        support_until_blocked(&senders[i].number);
      }
    }
    close_in(_i % 2, &rx, &tx);
    for (i = 0; i < WATCHERS; i++) {
      sleeper_join(&watchers[i], 0);
    }
    for (i = 0; i < SENDERS; i++) {
      sleeper_join(&senders[i], UV_EPIPE);
    }
    support_loop_run(&loop);
    for (i = 0; i < REQUESTS; i++) {
      check_told(&requests[i], 0);
    }
    close_rest(_i % 2, &rx, &tx);
  }
  support_loop_close(&loop);
}
END_TEST

/* Watching at the moment of the end: threads that sleep, loops that ask and cancel. */

typedef struct racer_s {
  struct race_s* race;
  uv_thread_t thread;
  uvch_mpsc_sender_t tx;
  uint64_t random;
  size_t number;
  support_result_t result;
} racer_t;

typedef struct race_s {
  racer_t racers[4];
  size_t rounds;
  uv_barrier_t barrier;
  _Atomic(size_t) ready;
} race_t;

static uint64_t draw(racer_t* racer, uint64_t below) {
  racer->random = racer->random * 6364136223846793005u + 1442695040888963407u;
  return (racer->random >> 33) % below;
}

static void dawdle(uint64_t turns) {
  volatile uint64_t n = turns;

  while (n > 0) {
    n -= 1;
  }
}

static void line_up(race_t* race, size_t round) {
  size_t n;

  atomic_fetch_add(&race->ready, 1);
  for (n = 0; atomic_load(&race->ready) < (COUNT(race->racers) + 1) * (round + 1); n++) {
    if (n % 64 == 63) {
      support_yield();
    }
  }
}

/* Several timed waits in a row: most time out at about the moment of the end. */
static void race_on_thread(racer_t* racer) {
  int err;

  if (racer->number == 0) {
    support_expect_eq(&racer->result, uvch_mpsc_closed_wait(&racer->tx), 0);
  } else {
    do {
      err = uvch_mpsc_closed_timedwait(&racer->tx, 1 + draw(racer, 2000));
    } while (err == UV_ETIMEDOUT);
    support_expect_eq(&racer->result, err, 0);
  }
  support_expect_eq(&racer->result, uvch_mpsc_sender_close(&racer->tx), 0);
}

static void race_on_loop(racer_t* racer, uv_loop_t* loop) {
  watcher_t watchers[3];
  int cancelled;
  size_t i;

  for (i = 0; i < COUNT(watchers); i++) {
    if (!support_expect_eq(&racer->result, try_watch(loop, &watchers[i], &racer->tx), 0)) {
      return;
    }
  }
  if (racer->number == 3) { /* the request may live longer than its sender */
    support_expect_eq(&racer->result, uvch_mpsc_sender_close(&racer->tx), 0);
  }
  dawdle(draw(racer, 300));
  cancelled = cancel(&watchers[1]);
  support_expect(&racer->result, cancelled == 0 || cancelled == UV_EBUSY);
  support_expect_eq(&racer->result, uv_run(loop, UV_RUN_DEFAULT), 0);
  for (i = 0; i < COUNT(watchers); i++) {
    support_expect_eq(&racer->result, watchers[i].calls, 1);
    support_expect_eq(&racer->result, watchers[i].status, i == 1 && cancelled == 0 ? UV_ECANCELED : 0);
  }
  if (racer->number != 3) {
    support_expect_eq(&racer->result, uvch_mpsc_sender_close(&racer->tx), 0);
  }
}

static void run_racer(void* arg) {
  racer_t* racer = arg;
  race_t* race = racer->race;
  uv_loop_t loop;
  size_t i;

  support_expect_eq(&racer->result, uv_loop_init(&loop), 0);
  for (i = 0; i < race->rounds; i++) {
    uv_barrier_wait(&race->barrier);
    line_up(race, i);
    dawdle(draw(racer, 300));
    if (racer->number < 2) {
      race_on_thread(racer);
    } else {
      race_on_loop(racer, &loop);
    }
    uv_barrier_wait(&race->barrier);
  }
  support_expect_eq(&racer->result, uv_loop_close(&loop), 0);
}

START_TEST(whoever_asks_at_the_moment_of_the_end_is_told) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  race_t race;
  size_t round;
  size_t i;

  memset(&race, 0, sizeof(race));
  race.rounds = support_scale(800);
  ck_assert_int_eq(uv_barrier_init(&race.barrier, COUNT(race.racers) + 1), 0);
  for (i = 0; i < COUNT(race.racers); i++) {
    race.racers[i].race = &race;
    race.racers[i].number = i;
    race.racers[i].random = i + 1;
    support_spawn(&race.racers[i].thread, run_racer, &race.racers[i]);
  }
  for (round = 0; round < race.rounds; round++) {
    open_channel(NULL, &rx, &tx, capacities[_i / 2]);
    for (i = 0; i < COUNT(race.racers); i++) {
      support_check_eq(uvch_mpsc_sender_clone(&tx, &race.racers[i].tx), 0);
    }
    uv_barrier_wait(&race.barrier);
    line_up(&race, round);
    dawdle(round % 7 * 100);
    close_in(_i % 2, &rx, &tx);
    uv_barrier_wait(&race.barrier);
    close_rest(_i % 2, &rx, &tx);
  }
  for (i = 0; i < COUNT(race.racers); i++) {
    support_join(&race.racers[i].thread);
    support_result_check(&race.racers[i].result);
  }
  uv_barrier_destroy(&race.barrier);
}
END_TEST

/* The last sender goes on another thread than the one whose loop waits. */
static void close_sender(void* arg) {
  support_yield();
  uvch_mpsc_sender_close(arg);
}

START_TEST(the_last_sender_of_another_thread_is_told_to_a_sleeping_loop) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  watcher_t watcher;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  for (i = 0; i < support_scale(300); i++) {
    open_channel(NULL, &rx, &tx, CAPACITY);
    watch(&loop, &watcher, &tx);
    support_spawn(&thread, close_sender, &tx);
    support_check_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    check_told(&watcher, 0);
    support_join(&thread);
    support_check_eq(uvch_close((uvch_handle_t*) &rx, NULL), 0);
  }
  support_loop_close(&loop);
}
END_TEST

/* Out of memory, a loop that is gone, a fork. */

START_TEST(without_memory_a_request_is_refused_and_nothing_waits) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  size_t n;
  int err = UV_ENOMEM;

  support_loop_init(&loop);
  for (n = 1; err == UV_ENOMEM; n++) {
    open_channel(NULL, &rx, &tx, CAPACITY);
    support_alloc_mark();
    support_alloc_fail(n);
    err = try_watch(&loop, &watcher, &tx);
    support_alloc_fail(0);
    ck_assert_int_eq(err, support_alloc_failed() > 0 ? UV_ENOMEM : 0);
    if (err == 0) {
      ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
    }
    support_loop_run(&loop); /* nothing waits */
    ck_assert_uint_eq(watcher.calls, err == 0);
    support_drop_sender(&tx);
    support_close(&rx);
  }
  ck_assert_uint_gt(n, 2);
  support_loop_end(&loop);
}
END_TEST

START_TEST(without_memory_a_thread_cannot_wait) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t n;

  for (n = 1; n <= 2; n++) {
    open_channel(NULL, &rx, &tx, CAPACITY);
    support_alloc_mark();
    support_alloc_fail(n);
    ck_assert_int_eq(uvch_mpsc_closed_timedwait(&tx, UINT64_MAX / 2), UV_ENOMEM);
    ck_assert_int_eq(uvch_mpsc_closed_timedwait(&tx, 1), UV_ETIMEDOUT);
    ck_assert_uint_eq(support_alloc_failed(), 1);
    support_alloc_fail_from(1);
    close_in(BY_SHUTDOWN, &rx, &tx);
    ck_assert_int_eq(uvch_mpsc_closed_wait(&tx), 0); /* which needs none */
    support_alloc_fail(0);
    close_rest(BY_SHUTDOWN, &rx, &tx);
  }
}
END_TEST

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

/* What the library had to keep for the old loop goes with a later one at the same address. */
static void sweep(uv_loop_t* loop) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;

  support_loop_init(loop);
  open_channel(loop, &rx, &tx, 4);
  support_sink_start(&sink, &rx);
  support_put(&tx, 0);
  support_drop_sender(&tx);
  support_loop_end(loop);
  support_sink_check(&sink, 1, 1);
}

START_TEST(a_program_may_close_the_librarys_handles_under_a_request) {
  size_t before = support_alloc_blocks();
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  watcher_t watchers[3];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, WAY_CAPACITY);
  watch(&loop, &watchers[0], &tx);
  watch(&loop, &watchers[1], &tx);
  watch(&loop, &watchers[2], &tx);
  check_waits(&loop, &watchers[0]);
  uv_walk(&loop, close_uv, NULL);
  ck_assert_int_eq(cancel(&watchers[1]), 0); /* nobody brings the callback */
  support_loop_run(&loop);
  support_loop_close(&loop);
  memset(&loop, 0xdd, sizeof(loop));
  close_in(WAY, &rx, &tx);
  close_rest(WAY, &rx, &tx);
  ck_assert_uint_eq(watchers[0].calls + watchers[1].calls + watchers[2].calls, 0);
  ck_assert_uint_le(support_alloc_blocks(), before + 4);
  sweep(&loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

/* In a child: say what is wrong and be gone. */
#define child_expect(condition)                                                    \
  do {                                                                             \
    if (!(condition)) {                                                            \
      fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                    \
    }                                                                              \
  } while (0)

static void in_child(int way, uv_loop_t* loop, uv_loop_t* far, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx,
                     watcher_t* watchers) {
  signal(SIGALRM, SIG_DFL); /* check has its own, for the whole group */
  alarm(60);
  child_expect(uv_loop_fork(loop) == 0 && uvch_loop_fork(loop) == 0);
  child_expect(uv_loop_fork(far) == 0 && uvch_loop_fork(far) == 0);
  uv_run(loop, UV_RUN_NOWAIT);
  uv_run(far, UV_RUN_NOWAIT);
  if (watchers[2].status == NOT_DONE) { /* it was not closed at the fork */
    child_expect(watchers[0].calls == 0 && watchers[1].calls == 0);
    child_expect(uvch_cancel((uvch_req_t*) &watchers[1].req) == 0);
    close_in(way, rx, tx);
  }
  close_rest(way, rx, tx);
  child_expect(uv_run(loop, UV_RUN_DEFAULT) == 0 && uv_run(far, UV_RUN_DEFAULT) == 0);
  child_expect(watchers[0].calls == 1 && watchers[0].status == 0);
  child_expect(watchers[1].calls == 1 && watchers[1].status == (watchers[2].status == NOT_DONE ? UV_ECANCELED : 0));
  child_expect(uv_loop_close(loop) == 0 && uv_loop_close(far) == 0);
  _exit(0);
}

/* Whether the channel closes after the fork, or before it so that the news is on its way. */
static void fork_with_requests(int way, size_t capacity, bool closed) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  watcher_t watchers[3]; /* the last one only tells the child */
  uv_loop_t loop;
  uv_loop_t far;
  int status = -1;
  pid_t child;

  support_loop_init(&loop);
  support_loop_init(&far);
  open_channel(&loop, &rx, &tx, capacity);
  watch(&loop, &watchers[0], &tx);
  watch(&far, &watchers[1], &tx);
  watchers[2].status = closed ? 0 : NOT_DONE;
  uv_run(&loop, UV_RUN_NOWAIT);
  uv_run(&far, UV_RUN_NOWAIT);
  if (closed) {
    close_in(way, &rx, &tx);
  }
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    in_child(way, &loop, &far, &rx, &tx, watchers);
  }
  if (!closed) {
    close_in(way, &rx, &tx);
  }
  close_rest(way, &rx, &tx);
  support_loop_end(&loop);
  support_loop_end(&far);
  check_told(&watchers[0], 0);
  check_told(&watchers[1], 0);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child has failed, status %d", status);
}

START_TEST(a_request_is_told_in_a_forked_child_too) {
  fork_with_requests(WAY, WAY_CAPACITY, false);
}
END_TEST

START_TEST(news_that_is_on_its_way_comes_in_a_forked_child_too) {
  fork_with_requests(WAY, WAY_CAPACITY, true);
}
END_TEST

static void add_requests(Suite* suite) {
  TCase* tcase = support_case(suite, "requests");

  add_for_every_way(tcase, a_request_is_told_when_the_channel_closes);
  add_for_every_way(tcase, all_requests_of_all_loops_are_told_in_the_order_they_were_made);
  add_for_every_way(tcase, on_a_closed_channel_the_callback_comes_all_the_same_and_later);
  add_for_every_capacity(tcase, a_request_is_no_sender_and_takes_no_place);
  add_for_every_capacity(tcase, a_cancelled_request_is_told_so_once_and_then_it_is_too_late);
  add_for_every_capacity(tcase, a_request_keeps_its_loop_alive_until_its_callback);
  add_for_every_capacity(tcase, it_comes_at_the_shutdown_whatever_is_still_queued);
  add_for_every_bound(tcase, a_permit_keeps_the_channel_open_for_those_who_watch);
  add_for_every_capacity(tcase, a_refused_request_never_calls_back);
  add_for_every_capacity(tcase, a_callback_may_ask_again_and_close_and_free_everything);
  add_for_every_capacity(tcase, a_receive_callback_may_shut_down_under_a_request_of_its_loop);
}

static void add_threads(Suite* suite) {
  TCase* tcase = support_case(suite, "threads");

  add_for_every_way(tcase, a_thread_sleeps_until_the_channel_closes);
  add_for_every_way(tcase, a_wait_on_a_closed_channel_does_not_block);
  add_for_every_capacity(tcase, a_timed_wait_takes_at_least_its_time_and_leaves_no_trace);
  add_for_every_capacity(tcase, a_wait_on_the_own_loop_is_refused);
  add_for_every_capacity(tcase, a_request_on_the_loop_of_another_thread_is_refused);
  tcase_add_loop_test(tcase, eight_who_watch_and_four_who_send_are_all_told_once, 0, 4);
  tcase_add_loop_test(tcase, whoever_asks_at_the_moment_of_the_end_is_told, 0, 2 * (int) COUNT(capacities));
  add_for_every_capacity(tcase, the_last_sender_of_another_thread_is_told_to_a_sleeping_loop);
}

static void add_trouble(Suite* suite) {
  TCase* tcase = support_case(suite, "trouble");

  add_for_every_capacity(tcase, without_memory_a_request_is_refused_and_nothing_waits);
  add_for_every_capacity(tcase, without_memory_a_thread_cannot_wait);
  add_for_every_way(tcase, a_program_may_close_the_librarys_handles_under_a_request);
  add_for_every_way(tcase, a_request_is_told_in_a_forked_child_too);
  add_for_every_way(tcase, news_that_is_on_its_way_comes_in_a_forked_child_too);
}

int main(void) {
  Suite* suite = suite_create("closed");

  add_requests(suite);
  add_threads(suite);
  add_trouble(suite);
  return support_main(suite);
}
