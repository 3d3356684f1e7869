/* SPDX-License-Identifier: MIT
 *
 * Living on a loop: nested runs, other ways to turn it, what keeps it alive, and what the library leaves on it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

/* What a sender does that finds no room: it goes away for a moment. Threads that only yield pass the processor round among
 * themselves, and on a busy machine the receiver waits for long. */
static void nap(void) {
  struct timespec time = {0, 50000};

  (void) nanosleep(&time, NULL);
}

static const size_t two_kinds[] = {1000, UVCH_UNBOUNDED};

/* A receiver that checks order and counts. */

typedef struct lane_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t received;
  size_t ends;
  size_t closes;
  size_t dropped;
  void* more;
} lane_t;

static void lane_init(lane_t* lane, uv_loop_t* loop, size_t capacity) {
  memset(lane, 0, sizeof(*lane));
  ck_assert_int_eq(uvch_mpsc_init(loop, &lane->rx, &lane->tx, sizeof(size_t), capacity), 0);
  lane->rx.data = lane;
}

static void lane_start(lane_t* lane, uvch_mpsc_recv_cb cb) {
  ck_assert_int_eq(uvch_mpsc_recv_start(&lane->rx, cb), 0);
}

static void lane_send(lane_t* lane, size_t first, size_t count) {
  size_t value;

  for (value = first; value < first + count; value++) {
    ck_assert_int_eq(uvch_mpsc_try_send(&lane->tx, &value), 0);
  }
}

static void lane_drop_sender(lane_t* lane) {
  ck_assert_int_eq(uvch_mpsc_sender_close(&lane->tx), 0);
}

static void lane_on_close(uvch_handle_t* handle) {
  lane_t* lane = handle->data;

  lane->closes += 1;
}

static void lane_close(lane_t* lane) {
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &lane->rx, lane_on_close), 0);
}

/* Counts a message, which must be the next one; 0 for the end, which closes the receiver. */
static int lane_take(lane_t* lane, int status, const void* item) {
  size_t value;

  ck_assert_uint_eq(lane->closes, 0);
  ck_assert_uint_eq(lane->ends, 0);
  if (status == UV_EOF) {
    lane->ends += 1;
    lane_close(lane);
    return 0;
  }
  ck_assert_int_eq(status, 0);
  memcpy(&value, item, sizeof(value));
  ck_assert_uint_eq(value, lane->received);
  lane->received += 1;
  return 1;
}

static void lane_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_take(rx->data, status, item);
}

static void check_value(const void* item, size_t wanted) {
  size_t value;

  memcpy(&value, item, sizeof(value));
  ck_assert_uint_eq(value, wanted);
}

static void close_uv(uv_handle_t* handle) {
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

/* Nested runs. */

static void nest_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;
  size_t mine = lane->received;

  if (lane_take(lane, status, item)) {
    uv_run(rx->loop, UV_RUN_NOWAIT);
    check_value(item, mine);
  }
}

START_TEST(every_message_comes_once_when_each_callback_runs_the_loop) {
  uv_loop_t loop;
  lane_t lane;

  support_loop_init(&loop);
  lane_init(&lane, &loop, two_kinds[_i]);
  lane_start(&lane, nest_on_recv);
  lane_send(&lane, 0, 100);
  lane_drop_sender(&lane);
  support_loop_end(&loop);
  ck_assert_uint_eq(lane.received, 100);
  ck_assert_uint_eq(lane.ends, 1);
  ck_assert_uint_eq(lane.closes, 1);
}
END_TEST

/* Nothing is said about the order of callbacks of different depth, so here each message is counted by its value. */
static void nest_twice_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;
  size_t* seen = lane->more;
  size_t value;

  if (status == UV_EOF) {
    lane->ends += 1;
    lane_close(lane);
    return;
  }
  memcpy(&value, item, sizeof(value));
  seen[value] += 1;
  lane->received += 1;
  if (value % 10 == 3) {
    uv_run(rx->loop, UV_RUN_NOWAIT);
    uv_run(rx->loop, UV_RUN_NOWAIT);
  }
  check_value(item, value);
}

START_TEST(nested_runs_with_several_channels_deliver_each_message_once) {
  enum { LANES = 5, COUNT = 200 }; /* each nested run needs its own piece of stack */
  static size_t seen[LANES][COUNT];
  lane_t lanes[LANES];
  uv_loop_t loop;
  size_t i;
  size_t k;

  memset(seen, 0, sizeof(seen));
  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 64), 0);
  for (i = 0; i < LANES; i++) {
    lane_init(&lanes[i], &loop, i % 2 == 0 ? UVCH_UNBOUNDED : COUNT);
    lanes[i].more = seen[i];
    lane_start(&lanes[i], nest_twice_on_recv);
    lane_send(&lanes[i], 0, COUNT);
    lane_drop_sender(&lanes[i]);
  }
  support_loop_end(&loop);
  for (i = 0; i < LANES; i++) {
    ck_assert_uint_eq(lanes[i].received, COUNT);
    ck_assert_uint_eq(lanes[i].closes, 1);
    for (k = 0; k < COUNT; k++) {
      ck_assert_uint_eq(seen[i][k], 1);
    }
  }
}
END_TEST

/* A callback waits in nested runs for a message of another channel, or of its own. */

typedef struct wait_s {
  uv_loop_t loop;
  lane_t outer;
  lane_t inner;
  uv_thread_t thread;
  _Atomic(bool) go;
  int who; /* 0: the message is queued before, 1: the callback sends it, 2: another thread does */
  bool own;
  bool waited;
  support_result_t result;
} wait_t;

static void wait_thread(void* arg) {
  wait_t* wait = arg;
  lane_t* lane = wait->own ? &wait->outer : &wait->inner;
  size_t value = wait->own;

  support_until(atomic_load(&wait->go));
  support_expect_eq(&wait->result, uvch_mpsc_try_send(&lane->tx, &value), 0);
}

static void wait_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;
  wait_t* wait = lane->more;
  lane_t* other = wait->own ? &wait->outer : &wait->inner;
  size_t wanted = other->received + 1 + wait->own;

  if (!lane_take(lane, status, item) || wait->waited) {
    return;
  }
  wait->waited = true;
  atomic_store(&wait->go, true);
  if (wait->who == 1) {
    lane_send(other, wait->own, 1);
  }
  while (other->received < wanted) {
    uv_run(&wait->loop, UV_RUN_NOWAIT);
  }
  check_value(item, 0);
}

START_TEST(a_callback_may_wait_for_a_message_in_nested_runs) {
  static wait_t wait;

  memset(&wait, 0, sizeof(wait));
  wait.who = _i % 3;
  wait.own = _i / 3 % 2 == 1;
  support_loop_init(&wait.loop);
  lane_init(&wait.outer, &wait.loop, two_kinds[_i / 6]);
  lane_init(&wait.inner, &wait.loop, two_kinds[_i / 6]);
  wait.outer.more = &wait;
  lane_start(&wait.outer, wait_on_recv);
  lane_start(&wait.inner, lane_on_recv);
  lane_send(&wait.outer, 0, 1);
  if (wait.who == 0) {
    lane_send(wait.own ? &wait.outer : &wait.inner, wait.own, 1);
  } else if (wait.who == 2) {
    support_spawn(&wait.thread, wait_thread, &wait);
  }
  while (!wait.waited) {
    uv_run(&wait.loop, UV_RUN_ONCE);
  }
  if (wait.who == 2) {
    support_join(&wait.thread);
  }
  lane_send(&wait.outer, 1 + wait.own, 5);
  lane_send(&wait.inner, !wait.own, 5);
  lane_drop_sender(&wait.outer);
  lane_drop_sender(&wait.inner);
  support_loop_end(&wait.loop);
  support_result_check(&wait.result);
  ck_assert_uint_eq(wait.outer.received, 6U + wait.own);
  ck_assert_uint_eq(wait.inner.received, 5U + !wait.own);
  ck_assert_uint_eq(wait.outer.closes + wait.inner.closes, 2);
}
END_TEST

/* The outer receiver is closed in a nested run, and its memory goes in the close callback, whenever that comes. */

typedef struct deep_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t* rx;
  uvch_mpsc_sender_t tx;
  lane_t other;
  bool keep; /* another handle stays open, so that the close callback can come in the nested run */
  size_t received;
  size_t closes;
  size_t dropped;
} deep_t;

static void deep_on_drop(void* item, void* arg) {
  deep_t* deep = arg;

  (void) item;
  deep->dropped += 1;
}

static void deep_on_close(uvch_handle_t* handle) {
  deep_t* deep = handle->data;

  deep->closes += 1;
  memset(handle, 0xdd, sizeof(uvch_mpsc_receiver_t));
  free(handle);
}

static void deep_other_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;
  deep_t* deep = lane->more;

  if (!lane_take(lane, status, item)) {
    return;
  }
  ck_assert_int_eq(uvch_close((uvch_handle_t*) deep->rx, deep_on_close), 0);
  if (!deep->keep) {
    lane_close(lane);
  }
}

static void deep_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  deep_t* deep = rx->data;
  size_t i;

  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(deep->closes, 0);
  check_value(item, deep->received);
  if (deep->received++ < 3) {
    return;
  }
  ck_assert_uint_eq(deep->received, 4);
  lane_send(&deep->other, 0, 1);
  ck_assert_int_eq(uvch_mpsc_recv_stop(rx), 0);
  for (i = 0; i < 10; i++) {
    uv_run(&deep->loop, UV_RUN_NOWAIT);
    check_value(item, 3);
  }
  ck_assert_uint_eq(deep->other.received, 1);
}

START_TEST(the_outer_receiver_may_be_closed_and_freed_in_a_nested_run) {
  uvch_mpsc_options_t options;
  static deep_t deep;
  size_t value;

  memset(&deep, 0, sizeof(deep));
  memset(&options, 0, sizeof(options));
  options.drop = deep_on_drop;
  options.arg = &deep;
  deep.keep = _i / 2 == 1;
  deep.rx = malloc(sizeof(*deep.rx));
  ck_assert_ptr_nonnull(deep.rx);
  support_loop_init(&deep.loop);
  ck_assert_int_eq(uvch_mpsc_init_ex(&deep.loop, deep.rx, &deep.tx, sizeof(size_t), two_kinds[_i % 2], &options), 0);
  deep.rx->data = &deep;
  lane_init(&deep.other, &deep.loop, 4);
  deep.other.more = &deep;
  lane_start(&deep.other, deep_other_on_recv);
  ck_assert_int_eq(uvch_mpsc_recv_start(deep.rx, deep_on_recv), 0);
  for (value = 0; value < 100; value++) {
    ck_assert_int_eq(uvch_mpsc_try_send(&deep.tx, &value), 0);
  }
  while (deep.closes == 0) {
    ck_assert_int_ne(uv_run(&deep.loop, UV_RUN_NOWAIT) + (int) deep.closes, 0);
  }
  ck_assert_uint_eq(deep.received, 4);
  ck_assert_uint_eq(deep.dropped, 96);
  ck_assert_int_eq(uvch_mpsc_try_send(&deep.tx, &value), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_sender_close(&deep.tx), 0);
  lane_drop_sender(&deep.other);
  support_loop_end(&deep.loop);
  ck_assert_uint_eq(deep.closes, 1);
  ck_assert_uint_eq(deep.other.closes, 1);
}
END_TEST

/* Whoever is the deepest of the nested runs closes the other channels; those are in the hands of the outer callbacks. */

static void close_neighbours(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;
  lane_t* lanes = lane->more;
  size_t i;

  if (!lane_take(lane, status, item)) {
    return;
  }
  if (lane->received == 2) {
    uv_run(rx->loop, UV_RUN_NOWAIT);
    for (i = 0; i < 4 && !uvch_is_closing((uvch_handle_t*) rx); i++) {
      if (&lanes[i] != lane && !uvch_is_closing((uvch_handle_t*) &lanes[i].rx)) {
        lane_close(&lanes[i]);
      }
    }
    uv_run(rx->loop, UV_RUN_NOWAIT);
  }
}

START_TEST(other_receivers_may_be_closed_between_nested_runs) {
  lane_t lanes[4];
  uv_loop_t loop;
  size_t complete = 0;
  size_t i;

  support_loop_init(&loop);
  for (i = 0; i < 4; i++) {
    lane_init(&lanes[i], &loop, two_kinds[_i]);
    lanes[i].more = lanes;
    lane_start(&lanes[i], close_neighbours);
    lane_send(&lanes[i], 0, 1);
  }
  while (lanes[0].received + lanes[1].received + lanes[2].received + lanes[3].received < 4) {
    uv_run(&loop, UV_RUN_NOWAIT); /* a pass that is slow may be cut by its budget */
  }
  for (i = 0; i < 4; i++) {
    ck_assert_uint_eq(lanes[i].received, 1);
    lane_send(&lanes[i], 1, 50);
    lane_drop_sender(&lanes[i]);
  }
  support_loop_end(&loop);
  for (i = 0; i < 4; i++) {
    ck_assert_uint_eq(lanes[i].closes, 1);
    complete += lanes[i].received == 51;
  }
  ck_assert_uint_ge(complete, 1);
}
END_TEST

/* Other ways to turn a loop. */

typedef struct feed_s {
  uvch_mpsc_sender_t tx;
  size_t count;
  support_result_t result;
  uv_thread_t thread;
} feed_t;

static void feed_work(void* arg) {
  feed_t* feed = arg;
  unsigned int random = 7;
  volatile unsigned int pause;
  size_t value;

  for (value = 0; value < feed->count; value++) {
    if (!support_expect_eq(&feed->result, uvch_mpsc_send_wait(&feed->tx, &value), 0)) {
      break;
    }
    random = random * 1103515245u + 12345u;
    for (pause = (random >> 16) % 20 == 0 ? 20000 : 0; pause > 0; pause--) {
    }
  }
  support_expect_eq(&feed->result, uvch_mpsc_sender_close(&feed->tx), 0);
}

/* Sleeps as an embedder does: on the loop's descriptor, for as long as the loop allows. */
static void embedder_wait(const uv_loop_t* loop) {
  struct pollfd fd;
  int timeout = uv_backend_timeout(loop);

  memset(&fd, 0, sizeof(fd));
  fd.fd = uv_backend_fd(loop);
  fd.events = POLLIN;
  (void) poll(&fd, 1, timeout);
}

START_TEST(an_embedder_that_polls_the_descriptor_misses_nothing) {
  static const size_t capacities[] = {1, 16, UVCH_UNBOUNDED};
  feed_t feed;
  uv_loop_t loop;
  lane_t lane;

  memset(&feed, 0, sizeof(feed));
  feed.count = support_scale(capacities[_i / 2] == 1 ? 3000 : 30000);
  support_loop_init(&loop);
  lane_init(&lane, &loop, capacities[_i / 2]);
  if (_i % 2 == 0) {
    ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 0), 0);
  }
  lane_start(&lane, lane_on_recv);
  feed.tx = lane.tx;
  support_spawn(&feed.thread, feed_work, &feed);
  while (uv_run(&loop, UV_RUN_NOWAIT) != 0) {
    embedder_wait(&loop);
  }
  support_join(&feed.thread);
  support_result_check(&feed.result);
  ck_assert_uint_eq(lane.received, feed.count);
  ck_assert_uint_eq(lane.closes, 1);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_loop_with_messages_left_over_says_so_to_an_embedder) {
  uv_loop_t loop;
  lane_t lane;
  size_t before;

  support_loop_init(&loop);
  lane_init(&lane, &loop, UVCH_UNBOUNDED);
  lane_start(&lane, lane_on_recv);
  lane_send(&lane, 0, 10000);
  while (lane.received < 10000) {
    struct pollfd fd = {uv_backend_fd(&loop), POLLIN, 0};

    ck_assert(uv_backend_timeout(&loop) == 0 || poll(&fd, 1, 0) == 1);
    before = lane.received;
    ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
    ck_assert_uint_gt(lane.received, before);
  }
  lane_drop_sender(&lane);
  support_loop_end(&loop);
}
END_TEST

START_TEST(run_once_delivers_what_a_thread_sends) {
  feed_t feed;
  uv_loop_t loop;
  lane_t lane;

  memset(&feed, 0, sizeof(feed));
  feed.count = support_scale(5000);
  support_loop_init(&loop);
  lane_init(&lane, &loop, two_kinds[_i]);
  lane_start(&lane, lane_on_recv);
  feed.tx = lane.tx;
  support_spawn(&feed.thread, feed_work, &feed);
  while (uv_run(&loop, UV_RUN_ONCE) != 0) {
  }
  support_join(&feed.thread);
  support_result_check(&feed.result);
  ck_assert_uint_eq(lane.received, feed.count);
  ck_assert_uint_eq(lane.closes, 1);
  support_loop_close(&loop);
}
END_TEST

/* uv_stop in the middle of a drain. */

static void stop_loop_often(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;
  size_t* stops = lane->more;

  if (lane_take(lane, status, item) && lane->received % 700 == 50) {
    *stops += 1;
    uv_stop(rx->loop);
  }
}

START_TEST(uv_stop_in_the_middle_of_a_drain_loses_nothing) {
  size_t stops = 0;
  size_t runs = 0;
  uv_loop_t loop;
  lane_t lane;

  support_loop_init(&loop);
  lane_init(&lane, &loop, two_kinds[_i] == 1000 ? 5000 : UVCH_UNBOUNDED);
  lane.more = &stops;
  lane_start(&lane, stop_loop_often);
  lane_send(&lane, 0, 5000);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_DEFAULT), 0);
  ck_assert_uint_lt(lane.received, 5000);
  lane_drop_sender(&lane);
  while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
    runs += 1;
  }
  ck_assert_uint_eq(lane.received, 5000);
  ck_assert_uint_eq(stops, 8);
  ck_assert_uint_ge(runs, 1);
  ck_assert_uint_eq(lane.closes, 1);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_message_that_comes_between_two_runs_is_delivered_in_the_second) {
  size_t stops = 0;
  uv_loop_t loop;
  lane_t lane;
  size_t i;

  support_loop_init(&loop);
  lane_init(&lane, &loop, two_kinds[_i]);
  lane.more = &stops;
  lane_start(&lane, stop_loop_often);
  lane_send(&lane, 0, 50);
  for (i = 1; i < 20; i++) {
    ck_assert_int_ne(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_uint_eq(lane.received, 50 + (i - 1) * 700);
    lane_send(&lane, lane.received, 700);
  }
  lane_drop_sender(&lane);
  while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
  }
  ck_assert_uint_eq(lane.received, 50 + 19 * 700);
  ck_assert_uint_eq(stops, 20);
  support_loop_close(&loop);
}
END_TEST

/* What keeps a loop alive. */

static void count_end(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;

  (void) item;
  if (status == UV_EOF) {
    lane->ends += 1;
  } else {
    lane->received += 1;
  }
}

START_TEST(a_loop_ends_by_itself_when_the_last_sender_is_gone) {
  feed_t feed;
  uv_loop_t loop;
  lane_t lane;

  memset(&feed, 0, sizeof(feed));
  feed.count = 100;
  support_loop_init(&loop);
  lane_init(&lane, &loop, two_kinds[_i]);
  lane_start(&lane, count_end);
  feed.tx = lane.tx;
  support_spawn(&feed.thread, feed_work, &feed);
  support_loop_run(&loop);
  ck_assert_uint_eq(lane.received, 100);
  ck_assert_uint_eq(lane.ends, 1);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &lane.rx), 0);
  support_join(&feed.thread);
  support_result_check(&feed.result);
  lane_close(&lane);
  support_loop_end(&loop);
  ck_assert_uint_eq(lane.closes, 1);
}
END_TEST

START_TEST(an_idle_receiver_with_a_sender_keeps_its_loop) {
  uv_loop_t loop;
  lane_t lane;

  support_loop_init(&loop);
  lane_init(&lane, &loop, 4);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &lane.rx), 0);
  ck_assert_int_eq(uv_run(&loop, UV_RUN_NOWAIT), 0);
  lane_start(&lane, lane_on_recv);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &lane.rx), 1);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&lane.rx), 0);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &lane.rx), 0);
  support_loop_run(&loop);
  lane_start(&lane, lane_on_recv);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  lane_drop_sender(&lane);
  support_loop_run(&loop);
  ck_assert_uint_eq(lane.closes, 1);
  support_loop_close(&loop);
}
END_TEST

static void on_tick(uv_timer_t* timer) {
  lane_t* lane = timer->data;

  if (lane->received > 0) {
    uv_close((uv_handle_t*) timer, NULL);
  }
}

START_TEST(an_unreffed_receiver_does_not_keep_its_loop_but_delivers_while_that_runs) {
  uv_timer_t timer;
  uv_loop_t loop;
  lane_t lane;

  support_loop_init(&loop);
  lane_init(&lane, &loop, two_kinds[_i]);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &lane.rx), 1);
  uvch_unref((uvch_handle_t*) &lane.rx);
  uvch_unref((uvch_handle_t*) &lane.rx);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &lane.rx), 0);
  lane_start(&lane, lane_on_recv);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &lane.rx), 1);
  support_loop_run(&loop);
  lane_send(&lane, 0, 10);
  uv_timer_init(&loop, &timer);
  timer.data = &lane;
  uv_timer_start(&timer, on_tick, 1, 1);
  support_loop_run(&loop);
  ck_assert_uint_eq(lane.received, 10);
  lane_close(&lane);
  support_loop_run(&loop);
  ck_assert_uint_eq(lane.closes, 1);
  lane_drop_sender(&lane);
  support_loop_close(&loop);
}
END_TEST

START_TEST(ref_undoes_unref) {
  uv_loop_t loop;
  lane_t lane;

  support_loop_init(&loop);
  lane_init(&lane, &loop, 4);
  lane_start(&lane, lane_on_recv);
  uvch_unref((uvch_handle_t*) &lane.rx);
  ck_assert_int_eq(uv_run(&loop, UV_RUN_NOWAIT), 0);
  uvch_ref((uvch_handle_t*) &lane.rx);
  uvch_ref((uvch_handle_t*) &lane.rx);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &lane.rx), 1);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  uvch_unref((uvch_handle_t*) &lane.rx);
  support_loop_run(&loop);
  uvch_ref((uvch_handle_t*) &lane.rx);
  lane_drop_sender(&lane);
  support_loop_end(&loop);
  ck_assert_uint_eq(lane.ends, 1);
}
END_TEST

/* Walking. */

typedef struct walk_s {
  lane_t* lanes;
  lane_t late;
  size_t visits[8];
  size_t others;
  bool grow;
} walk_t;

static void walk_on_handle(uvch_handle_t* handle, void* arg) {
  walk_t* walk = arg;
  size_t i;

  for (i = 0; i < 8; i++) {
    if (handle == (uvch_handle_t*) &walk->lanes[i].rx) {
      walk->visits[i] += 1;
      if (i == 0) { /* the rest of the first half, before or after the walk has come there */
        lane_close(&walk->lanes[2]);
        lane_close(&walk->lanes[3]);
      } else if (!uvch_is_closing(handle) && i == 7) {
        lane_close(&walk->lanes[7]);
      }
      if (walk->grow) {
        walk->grow = false;
        lane_init(&walk->late, handle->loop, 4);
      }
      return;
    }
  }
  walk->others += 1;
}

static void count_handle(uvch_handle_t* handle, void* arg) {
  size_t* count = arg;

  ck_assert_ptr_nonnull(handle);
  *count += 1;
}

START_TEST(walk_visits_each_handle_once_while_some_are_closed_and_made) {
  lane_t lanes[8];
  uv_loop_t loop;
  size_t count = 0;
  walk_t walk;
  size_t i;

  memset(&walk, 0, sizeof(walk));
  walk.lanes = lanes;
  walk.grow = true;
  support_loop_init(&loop);
  uvch_walk(&loop, count_handle, &count);
  ck_assert_uint_eq(count, 0);
  for (i = 0; i < 8; i++) {
    lane_init(&lanes[i], &loop, 4);
  }
  lane_close(&lanes[1]);
  uvch_walk(&loop, walk_on_handle, &walk);
  for (i = 0; i < 8; i++) {
    ck_assert_uint_eq(walk.visits[i], 1);
    ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &lanes[i].rx), i == 1 || i == 2 || i == 3 || i == 7);
    lane_drop_sender(&lanes[i]);
  }
  ck_assert_uint_eq(walk.others, 0);
  while (lanes[1].closes + lanes[2].closes + lanes[3].closes + lanes[7].closes < 4) {
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  uvch_walk(&loop, count_handle, &count);
  ck_assert_uint_eq(count, 5);
  ck_assert_int_eq(uvch_close_all(&loop), 5);
  lane_drop_sender(&walk.late);
  support_loop_end(&loop);
}
END_TEST

/* The library's own handles. */

typedef struct census_s {
  uv_timer_t* mine;
  size_t own;
  size_t library;
  size_t others;
} census_t;

static void census_on_handle(uv_handle_t* handle, void* arg) {
  census_t* census = arg;

  if (handle == (uv_handle_t*) census->mine) {
    ck_assert_int_eq(uvch_owns_handle(handle), 0);
    census->own += 1;
  } else if (uvch_owns_handle(handle)) {
    census->library += 1;
  } else {
    census->others += 1;
  }
}

static census_t count_handles(uv_loop_t* loop, uv_timer_t* mine) {
  census_t census = {mine, 0, 0, 0};

  uv_walk(loop, census_on_handle, &census);
  return census;
}

static void on_timer(uv_timer_t* timer) {
  (void) timer;
}

START_TEST(owns_handle_tells_the_librarys_handles_from_others) {
  uv_timer_t timer;
  uv_loop_t loop;
  lane_t lanes[10];
  census_t census;
  size_t one;
  size_t i;

  support_loop_init(&loop);
  uv_timer_init(&loop, &timer);
  census = count_handles(&loop, &timer);
  ck_assert_uint_eq(census.library, 0);
  ck_assert_uint_eq(census.own, 1);
  lane_init(&lanes[0], &loop, 4);
  census = count_handles(&loop, &timer);
  one = census.library;
  ck_assert_uint_ge(one, 1);
  for (i = 1; i < 10; i++) {
    lane_init(&lanes[i], &loop, 4);
    lane_start(&lanes[i], lane_on_recv);
  }
  uv_run(&loop, UV_RUN_NOWAIT);
  census = count_handles(&loop, &timer);
  ck_assert_uint_eq(census.library, one);
  ck_assert_uint_eq(census.own, 1);
  ck_assert_uint_eq(census.others, 0);
  for (i = 0; i < 10; i++) {
    lane_close(&lanes[i]);
    lane_drop_sender(&lanes[i]);
  }
  support_loop_run(&loop);
  census = count_handles(&loop, &timer);
  ck_assert_uint_eq(census.library, 0);
  ck_assert_uint_eq(census.own, 1);
  ck_assert_uint_eq(census.others, 0);
  ck_assert_int_eq(uvch_owns_handle((uv_handle_t*) &timer), 0);
  uv_timer_start(&timer, on_timer, 0, 0);
  uv_close((uv_handle_t*) &timer, NULL);
  support_loop_end(&loop);
}
END_TEST

/* A program that walks its loop and closes every handle, the library's too. */

typedef struct foreign_s {
  uv_loop_t* loop;
  lane_t lane;
  lane_t quiet;
  size_t accepted;
  bool in_callback;
} foreign_t;

static void close_every_handle(uv_handle_t* handle, void* arg) {
  (void) arg;
  close_uv(handle);
}

static void foreign_on_drop(void* item, void* arg) {
  lane_t* lane = arg;

  (void) item;
  lane->dropped += 1;
}

static void foreign_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;
  foreign_t* foreign = lane->more;

  if (lane_take(lane, status, item) && foreign->in_callback && lane->received == 3) {
    uv_walk(rx->loop, close_every_handle, NULL);
    check_value(item, 2);
  }
}

static void foreign_lane_init(foreign_t* foreign, lane_t* lane, size_t capacity) {
  uvch_mpsc_options_t options;

  memset(lane, 0, sizeof(*lane));
  memset(&options, 0, sizeof(options));
  options.drop = foreign_on_drop;
  options.arg = lane;
  ck_assert_int_eq(uvch_mpsc_init_ex(foreign->loop, &lane->rx, &lane->tx, sizeof(size_t), capacity, &options), 0);
  lane->rx.data = lane;
  lane->more = foreign;
  lane_start(lane, foreign_on_recv);
}

/* The first send may be the one that finds out, and be taken; from the second on it is UV_EPIPE. A channel with messages that
 * were not delivered is told by whoever finds out, not by sends of its own: its loop was told before that there is something. */
static void foreign_send(foreign_t* foreign, lane_t* lane) {
  size_t value = 1000;
  size_t i;
  int err;

  for (i = 0; i < 5; i++) {
    err = uvch_mpsc_try_send(&lane->tx, &value);
    ck_assert_int_eq(err, i == 0 && err == 0 ? 0 : UV_EPIPE);
    foreign->accepted += err == 0;
  }
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&lane->tx), 1);
}

static void foreign_init(foreign_t* foreign, bool in_callback, size_t capacity) {
  memset(foreign, 0, sizeof(*foreign));
  foreign->in_callback = in_callback;
  foreign->loop = malloc(sizeof(*foreign->loop));
  ck_assert_ptr_nonnull(foreign->loop);
  support_loop_init(foreign->loop);
  foreign_lane_init(foreign, &foreign->lane, capacity);
  foreign_lane_init(foreign, &foreign->quiet, capacity);
  lane_send(&foreign->lane, 0, 10);
  if (in_callback) {
    uv_run(foreign->loop, UV_RUN_NOWAIT);
  } else {
    uv_walk(foreign->loop, close_every_handle, NULL);
  }
}

/* What the library had to keep for the old loop goes with a later one at the same address. */
static void foreign_sweep(foreign_t* foreign) {
  lane_t lane;

  support_loop_init(foreign->loop);
  lane_init(&lane, foreign->loop, 4);
  lane_start(&lane, lane_on_recv);
  lane_send(&lane, 0, 3);
  lane_drop_sender(&lane);
  support_loop_end(foreign->loop);
  ck_assert_uint_eq(lane.received, 3);
  ck_assert_uint_eq(lane.closes, 1);
  free(foreign->loop);
}

START_TEST(a_program_may_close_the_librarys_handles) {
  static const size_t capacities[] = {64, UVCH_UNBOUNDED};
  size_t before = support_alloc_blocks();
  foreign_t foreign;
  size_t total;

  foreign_init(&foreign, _i % 2 == 1, capacities[_i / 2 % 2]);
  support_loop_end(foreign.loop);
  memset(foreign.loop, 0xdd, sizeof(*foreign.loop));
  foreign_send(&foreign, &foreign.quiet);
  foreign_send(&foreign, &foreign.lane);
  if (_i / 4 == 0) {
    support_close(&foreign.lane.rx);
    support_close(&foreign.quiet.rx);
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &foreign.lane.rx, NULL), UV_EALREADY);
    lane_drop_sender(&foreign.lane);
    lane_drop_sender(&foreign.quiet);
  } else {
    lane_drop_sender(&foreign.quiet);
    lane_drop_sender(&foreign.lane);
    support_close(&foreign.quiet.rx);
    support_close(&foreign.lane.rx);
  }
  total = foreign.lane.received + foreign.lane.dropped + foreign.quiet.dropped;
  ck_assert_uint_eq(total, 10 + foreign.accepted);
  ck_assert_uint_eq(foreign.lane.ends, 0);
  ck_assert_uint_le(support_alloc_blocks(), before + 4);
  foreign_sweep(&foreign);
}
END_TEST

START_TEST(such_a_loop_takes_new_receivers) {
  uvch_mpsc_receiver_t attached;
  uvch_mpsc_sender_t tx;
  foreign_t foreign;
  lane_t fresh;

  foreign_init(&foreign, _i == 1, UVCH_UNBOUNDED);
  lane_init(&fresh, foreign.loop, 8);
  lane_start(&fresh, lane_on_recv);
  lane_send(&fresh, 0, 5);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &attached, &tx, sizeof(size_t), 4), 0);
  ck_assert_int_eq(uvch_attach(foreign.loop, (uvch_handle_t*) &attached), 0);
  support_close(&attached);
  ck_assert_int_eq(uvch_mpsc_sender_close(&tx), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &foreign.lane.rx, lane_on_close), 0);
  support_close(&foreign.quiet.rx);
  lane_drop_sender(&fresh);
  support_loop_end(foreign.loop);
  ck_assert_uint_eq(fresh.received, 5);
  ck_assert_uint_eq(fresh.closes, 1);
  ck_assert_uint_eq(foreign.lane.closes, 1);
  ck_assert_uint_eq(foreign.lane.received + foreign.lane.dropped, 10);
  lane_drop_sender(&foreign.lane);
  lane_drop_sender(&foreign.quiet);
  free(foreign.loop);
}
END_TEST

/* Threads that send all the while. */

typedef struct pest_s {
  uvch_mpsc_sender_t tx;
  size_t accepted;
  _Atomic(size_t)* running;
  support_result_t* result;
  uv_thread_t thread;
} pest_t;

static void pest_work(void* arg) {
  pest_t* pest = arg;
  size_t after = 0;
  size_t value = 0;
  int err;

  atomic_fetch_add(pest->running, 1);
  while (after < 20) {
    err = uvch_mpsc_try_send(&pest->tx, &value);
    support_expect(pest->result, err == 0 || err == UV_EPIPE || err == UV_EAGAIN);
    support_expect(pest->result, after == 0 || err == UV_EPIPE);
    pest->accepted += err == 0;
    after += err == UV_EPIPE;
    if (err == UV_EAGAIN || uvch_mpsc_sender_len(&pest->tx) > 1000) {
      nap();
    }
  }
  support_expect_eq(pest->result, uvch_mpsc_sender_close(&pest->tx), 0);
}

static void pest_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;

  (void) item;
  ck_assert_int_eq(status, 0);
  lane->received += 1;
}

START_TEST(a_program_may_close_the_librarys_handles_while_threads_send) {
  enum { PESTS = 4 };
  size_t rounds = support_scale(100);
  _Atomic(size_t) running;
  uvch_mpsc_options_t options;
  support_result_t result;
  pest_t pests[PESTS];
  uv_loop_t* loop;
  lane_t lane;
  size_t accepted;
  size_t round;
  size_t i;

  memset(&result, 0, sizeof(result));
  loop = malloc(sizeof(*loop));
  ck_assert_ptr_nonnull(loop);
  for (round = 0; round < rounds; round++) {
    memset(&lane, 0, sizeof(lane));
    memset(pests, 0, sizeof(pests));
    memset(&options, 0, sizeof(options));
    options.drop = foreign_on_drop;
    options.arg = &lane;
    atomic_store(&running, 0);
    support_loop_init(loop);
    ck_assert_int_eq(uvch_mpsc_init_ex(loop, &lane.rx, &lane.tx, sizeof(size_t), round % 2 == 0 ? 64 : UVCH_UNBOUNDED, &options),
                     0);
    lane.rx.data = &lane;
    lane_start(&lane, pest_on_recv);
    for (i = 0; i < PESTS; i++) {
      pests[i].running = &running;
      pests[i].result = &result;
      ck_assert_int_eq(uvch_mpsc_sender_clone(&lane.tx, &pests[i].tx), 0);
      support_spawn(&pests[i].thread, pest_work, &pests[i]);
    }
    support_until(atomic_load(&running) > round % PESTS);
    for (i = 0; i < round % 4; i++) {
      uv_run(loop, UV_RUN_NOWAIT);
    }
    uv_walk(loop, close_every_handle, NULL);
    support_loop_end(loop);
    memset(loop, 0xdd, sizeof(*loop));
    support_close(&lane.rx);
    accepted = 0;
    for (i = 0; i < PESTS; i++) {
      support_join(&pests[i].thread);
      accepted += pests[i].accepted;
    }
    lane_drop_sender(&lane);
    support_result_check(&result);
    ck_assert_uint_eq(lane.received + lane.dropped, accepted);
  }
  support_loop_init(loop);
  lane_init(&lane, loop, 4);
  lane_drop_sender(&lane);
  support_close(&lane.rx);
  support_loop_end(loop);
  free(loop);
}
END_TEST

/* Settings. */

typedef struct gauge_s {
  uv_check_t check;
  lane_t* lane;
  size_t last;
  size_t most;
  size_t passes;
} gauge_t;

static void gauge_on_check(uv_check_t* check) {
  gauge_t* gauge = check->data;
  size_t taken = gauge->lane->received - gauge->last;

  gauge->last = gauge->lane->received;
  gauge->passes += taken > 0;
  if (taken > gauge->most) {
    gauge->most = taken;
  }
}

/* Delivers `count` messages and says how many came at most in one pass of the loop. */
static gauge_t measure(uv_loop_t* loop, size_t count) {
  gauge_t gauge;
  lane_t lane;

  memset(&gauge, 0, sizeof(gauge));
  gauge.lane = &lane;
  uv_check_init(loop, &gauge.check);
  gauge.check.data = &gauge;
  uv_unref((uv_handle_t*) &gauge.check);
  uv_check_start(&gauge.check, gauge_on_check);
  lane_init(&lane, loop, UVCH_UNBOUNDED);
  lane_start(&lane, lane_on_recv);
  lane_send(&lane, 0, count);
  lane_drop_sender(&lane);
  support_loop_run(loop);
  ck_assert_uint_eq(lane.received, count);
  uv_close((uv_handle_t*) &gauge.check, NULL);
  support_loop_run(loop);
  return gauge;
}

START_TEST(loop_configure_refuses_what_is_out_of_range) {
  uv_loop_t loop;
  lane_t lane;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(NULL, UVCH_LOOP_BUDGET_MESSAGES, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, (uvch_loop_option) 0, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, (uvch_loop_option) (UVCH_LOOP_HOT_MAX + 1), 1), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 1000001), UV_EINVAL);
  lane_init(&lane, &loop, 4);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 1), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, 1), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 1000000), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 0), 0);
  lane_drop_sender(&lane);
  support_close(&lane.rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(the_message_budget_bounds_a_pass_and_goes_with_the_last_handle) {
  uv_loop_t loop;
  gauge_t gauge;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, UINT64_MAX), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 10), 0);
  gauge = measure(&loop, 1000);
  ck_assert_uint_eq(gauge.most, 10);
  ck_assert_uint_eq(gauge.passes, 100);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, UINT64_MAX), 0);
  gauge = measure(&loop, 40000);
  ck_assert_uint_eq(gauge.most, 4096);
  ck_assert_uint_eq(gauge.passes, 10);
  support_loop_close(&loop);
}
END_TEST

/* The loop's first pass has looked for channels already when this comes. */
static void late_on_check(uv_check_t* check) {
  lane_t* lane = check->data;

  lane_init(lane, check->loop, UVCH_UNBOUNDED);
  lane_start(lane, lane_on_recv);
  lane_send(lane, 0, 100);
  lane_drop_sender(lane);
  uv_close((uv_handle_t*) check, NULL);
}

START_TEST(settings_hold_to_the_end_of_the_next_pass) {
  uv_check_t late;
  uv_loop_t loop;
  gauge_t gauge;
  lane_t lane;

  memset(&gauge, 0, sizeof(gauge));
  memset(&lane, 0, sizeof(lane));
  support_loop_init(&loop);
  ck_assert_int_eq(uv_check_init(&loop, &gauge.check), 0);
  ck_assert_int_eq(uv_check_init(&loop, &late), 0);
  gauge.check.data = &gauge;
  gauge.lane = &lane;
  late.data = &lane;
  uv_unref((uv_handle_t*) &gauge.check);
  ck_assert_int_eq(uv_check_start(&gauge.check, gauge_on_check), 0);
  ck_assert_int_eq(uv_check_start(&late, late_on_check), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 10), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(lane.received, 100);
  ck_assert_uint_eq(gauge.most, 10);
  uv_close((uv_handle_t*) &gauge.check, NULL);
  support_loop_end(&loop);
}
END_TEST

START_TEST(the_smallest_time_budget_still_makes_progress) {
  uv_loop_t loop;
  gauge_t gauge;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, 1), 0);
  gauge = measure(&loop, 10000);
  ck_assert_uint_lt(gauge.most, 4096);
  support_loop_close(&loop);
}
END_TEST

START_TEST(settings_alone_leave_nothing_on_a_loop) {
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 1000), 0);
  support_loop_end(&loop);
}
END_TEST

typedef struct stranger_s {
  uv_loop_t* loop;
  uvch_mpsc_receiver_t rx;
  int configure;
  int attach;
} stranger_t;

static void stranger_work(void* arg) {
  stranger_t* stranger = arg;

  stranger->configure = uvch_loop_configure(stranger->loop, UVCH_LOOP_BUDGET_MESSAGES, 5);
  stranger->attach = uvch_attach(stranger->loop, (uvch_handle_t*) &stranger->rx);
}

START_TEST(another_thread_cannot_bind_to_a_loop_that_has_run) {
  stranger_t stranger;
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  uv_loop_t loop;
  lane_t lane;

  memset(&stranger, 0, sizeof(stranger));
  stranger.loop = &loop;
  support_loop_init(&loop);
  lane_init(&lane, &loop, 4);
  lane_start(&lane, lane_on_recv);
  lane_send(&lane, 0, 1);
  uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(lane.received, 1);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &stranger.rx, &tx, sizeof(size_t), 4), 0);
  support_spawn(&thread, stranger_work, &stranger);
  support_join(&thread);
  ck_assert_int_eq(stranger.configure, UV_EPERM);
  ck_assert_int_eq(stranger.attach, UV_EPERM);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &stranger.rx), 0);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &stranger.rx), UV_EALREADY);
  ck_assert_int_eq(uvch_mpsc_sender_close(&tx), 0);
  support_close(&stranger.rx);
  lane_drop_sender(&lane);
  support_loop_end(&loop);
}
END_TEST

/* Many loops, many handles. */

START_TEST(many_loops_live_side_by_side) {
  enum { LOOPS = 60 };
  static uv_loop_t loops[LOOPS];
  static lane_t lanes[LOOPS];
  size_t i;

  for (i = 0; i < LOOPS; i++) {
    support_loop_init(&loops[i]);
    lane_init(&lanes[i], &loops[i], i % 2 == 0 ? 8 : UVCH_UNBOUNDED);
    lane_start(&lanes[i], lane_on_recv);
  }
  for (i = 0; i < LOOPS; i++) {
    lane_send(&lanes[i], 0, i % 8);
    uv_run(&loops[LOOPS - 1 - i], UV_RUN_NOWAIT);
  }
  for (i = 0; i < LOOPS; i += 2) {
    lane_drop_sender(&lanes[i]);
    support_loop_end(&loops[i]);
    ck_assert_uint_eq(lanes[i].received, i % 8);
    ck_assert_uint_eq(lanes[i].closes, 1);
  }
  for (i = 1; i < LOOPS; i += 2) {
    lane_drop_sender(&lanes[i]);
    support_loop_end(&loops[i]);
    ck_assert_uint_eq(lanes[i].received, i % 8);
    ck_assert_uint_eq(lanes[i].closes, 1);
  }
}
END_TEST

static void churn_once(uv_loop_t* loop, size_t i) {
  lane_t lane;

  lane_init(&lane, loop, i % 2 == 0 ? 8 : UVCH_UNBOUNDED);
  lane_start(&lane, lane_on_recv);
  lane_send(&lane, 0, i % 5);
  lane_drop_sender(&lane);
  if (i % 3 == 0) {
    lane_close(&lane);
  }
  while (lane.closes == 0) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  ck_assert_uint_eq(lane.received, i % 3 == 0 ? 0 : i % 5);
}

START_TEST(receivers_made_and_closed_again_and_again_do_not_add_up) {
  size_t rounds = support_scale(5000);
  size_t handles = 0;
  size_t blocks = 0;
  uv_loop_t loop;
  lane_t keep;
  size_t i;

  support_loop_init(&loop);
  if (_i == 1) {
    lane_init(&keep, &loop, 4);
  }
  for (i = 0; i < rounds; i++) {
    churn_once(&loop, i);
    if (i == 100) {
      blocks = support_alloc_blocks();
      handles = count_handles(&loop, NULL).library;
    } else if (i > 100) {
      ck_assert_uint_le(support_alloc_blocks(), blocks);
      ck_assert_uint_le(count_handles(&loop, NULL).library, handles);
    }
  }
  if (_i == 1) {
    lane_drop_sender(&keep);
    support_close(&keep.rx);
  }
  support_loop_end(&loop);
}
END_TEST

static size_t count_descriptors(void) {
  DIR* dir = opendir("/proc/self/fd");
  size_t count = 0;

  if (dir == NULL) {
    return 0;
  }
  while (readdir(dir) != NULL) {
    count += 1;
  }
  closedir(dir);
  return count;
}

START_TEST(a_thousand_channels_need_one_descriptor) {
  enum { LANES = 1000 };
  static lane_t lanes[LANES];
  size_t before;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  before = count_descriptors();
  if (before == 0) {
    fprintf(stderr, "descriptors cannot be counted here: skipped\n");
    support_loop_close(&loop);
    return;
  }
  for (i = 0; i < LANES; i++) {
    lane_init(&lanes[i], &loop, i % 2 == 0 ? 8 : UVCH_UNBOUNDED);
    lane_start(&lanes[i], lane_on_recv);
    lane_send(&lanes[i], 0, 1);
  }
  ck_assert_uint_le(count_descriptors(), before + 1);
  uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_uint_le(count_descriptors(), before + 1);
  for (i = 0; i < LANES; i++) {
    lane_drop_sender(&lanes[i]);
  }
  support_loop_run(&loop);
  for (i = 0; i < LANES; i++) {
    ck_assert_uint_eq(lanes[i].received, 1);
    ck_assert_uint_eq(lanes[i].closes, 1);
  }
  ck_assert_uint_eq(count_descriptors(), before);
  support_loop_close(&loop);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("loop");
  TCase* nested = support_case(suite, "nested");
  TCase* turning = support_case(suite, "turning");
  TCase* alive = support_case(suite, "alive");
  TCase* handles = support_case(suite, "handles");
  TCase* foreign = support_case(suite, "foreign");
  TCase* settings = support_case(suite, "settings");
  TCase* many = support_case(suite, "many");

  tcase_add_loop_test(nested, every_message_comes_once_when_each_callback_runs_the_loop, 0, 2);
  tcase_add_test(nested, nested_runs_with_several_channels_deliver_each_message_once);
  tcase_add_loop_test(nested, a_callback_may_wait_for_a_message_in_nested_runs, 0, 12);
  tcase_add_loop_test(nested, the_outer_receiver_may_be_closed_and_freed_in_a_nested_run, 0, 4);
  tcase_add_loop_test(nested, other_receivers_may_be_closed_between_nested_runs, 0, 2);

  tcase_add_loop_test(turning, an_embedder_that_polls_the_descriptor_misses_nothing, 0, 6);
  tcase_add_test(turning, a_loop_with_messages_left_over_says_so_to_an_embedder);
  tcase_add_loop_test(turning, run_once_delivers_what_a_thread_sends, 0, 2);
  tcase_add_loop_test(turning, uv_stop_in_the_middle_of_a_drain_loses_nothing, 0, 2);
  tcase_add_loop_test(turning, a_message_that_comes_between_two_runs_is_delivered_in_the_second, 0, 2);

  tcase_add_loop_test(alive, a_loop_ends_by_itself_when_the_last_sender_is_gone, 0, 2);
  tcase_add_test(alive, an_idle_receiver_with_a_sender_keeps_its_loop);
  tcase_add_loop_test(alive, an_unreffed_receiver_does_not_keep_its_loop_but_delivers_while_that_runs, 0, 2);
  tcase_add_test(alive, ref_undoes_unref);

  tcase_add_test(handles, walk_visits_each_handle_once_while_some_are_closed_and_made);
  tcase_add_test(handles, owns_handle_tells_the_librarys_handles_from_others);

  tcase_add_loop_test(foreign, a_program_may_close_the_librarys_handles, 0, 8);
  tcase_add_loop_test(foreign, such_a_loop_takes_new_receivers, 0, 2);
  /* libuv before 1.45 aborts if its uv_async_send() is called while the program closes the loop; that is why uvch does not. */
  if (getenv("UVCH_TEST_WAKE") == NULL || uv_version() >= 0x012d00) {
    tcase_add_test(foreign, a_program_may_close_the_librarys_handles_while_threads_send);
  }

  tcase_add_test(settings, loop_configure_refuses_what_is_out_of_range);
  tcase_add_test(settings, the_message_budget_bounds_a_pass_and_goes_with_the_last_handle);
  tcase_add_test(settings, settings_hold_to_the_end_of_the_next_pass);
  tcase_add_test(settings, the_smallest_time_budget_still_makes_progress);
  tcase_add_test(settings, settings_alone_leave_nothing_on_a_loop);
  tcase_add_test(settings, another_thread_cannot_bind_to_a_loop_that_has_run);

  tcase_add_test(many, many_loops_live_side_by_side);
  tcase_add_loop_test(many, receivers_made_and_closed_again_and_again_do_not_add_up, 0, 2);
  tcase_add_test(many, a_thousand_channels_need_one_descriptor);
  return support_main(suite);
}
