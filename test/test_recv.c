/* SPDX-License-Identifier: MIT
 *
 * Receiving: callbacks, stop and start, the end, shutdown, close and what it drops, messages that are just being put in. */
#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const size_t capacities[] = {1, 2, 3, 7, 64, 1000, UVCH_UNBOUNDED};

#define CAPACITY (capacities[_i])
#define SOME (CAPACITY < 300 ? CAPACITY : 300)
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))

static void open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  ck_assert_int_eq(uvch_mpsc_init(loop, rx, tx, sizeof(uint64_t), capacity), 0);
}

static void open_with_drop(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity, uvch_drop_cb drop,
                           void* arg) {
  uvch_mpsc_options_t options;

  memset(&options, 0, sizeof(options));
  options.drop = drop;
  options.arg = arg;
  ck_assert_int_eq(uvch_mpsc_init_ex(loop, rx, tx, sizeof(uint64_t), capacity, &options), 0);
}

static void put_some(const uvch_mpsc_sender_t* tx, size_t n) {
  size_t i;

  for (i = 0; i < n; i++) {
    support_put(tx, i);
  }
}

static void check_try_recv(uvch_mpsc_receiver_t* rx, int result) {
  uint64_t value;

  ck_assert_int_eq(uvch_mpsc_try_recv(rx, &value), result);
}

static uint64_t value_of(const void* item) {
  uint64_t value;

  memcpy(&value, item, sizeof(value));
  return value;
}

/* Callbacks. */

START_TEST(what_was_queued_before_the_start_comes_in_order) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  put_some(&tx, SOME);
  support_sink_start(&sink, &rx);
  ck_assert_uint_eq(sink.count, 0); /* never from inside the call */
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, SOME, 1);
}
END_TEST

START_TEST(messages_come_in_order_to_a_receiver_that_waits) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  for (i = 0; i < 300; i++) {
    ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
    ck_assert_uint_eq(sink.count, i);
    support_put(&tx, i);
    ck_assert_uint_eq(sink.count, i);
    while (sink.count == i) {
      ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
    }
  }
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, 300, 1);
}
END_TEST

START_TEST(a_receiver_that_is_attached_later_gets_what_is_queued) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  put_some(&tx, SOME);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), SOME);
  support_sink_start(&sink, &rx);
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, SOME, 1);
}
END_TEST

START_TEST(a_receiver_that_is_attached_after_the_end_gets_the_end) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  support_drop_sender(&tx);
  check_try_recv(&rx, UV_EOF);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), 0);
  support_sink_start(&sink, &rx);
  support_loop_end(&loop);
  ck_assert_uint_eq(sink.count, 0);
  ck_assert_uint_eq(sink.ends, 1);
}
END_TEST

START_TEST(a_receiver_can_be_polled_then_attached_then_started) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;
  uint64_t value;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  support_put(&tx, 100);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), 0);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 1), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), 0);
  check_try_recv(&rx, UV_EAGAIN);
  support_sink_start(&sink, &rx);
  support_put(&tx, 0);
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, 1, 1);
}
END_TEST

/* Stop and start. */

typedef struct stopper_s {
  support_sink_t sink;
  size_t at;
} stopper_t;

static void stop_at(uvch_mpsc_receiver_t* rx, int status, void* item) {
  stopper_t* stopper = rx->data;

  support_sink_cb(rx, status, item);
  if (status == 0 && stopper->sink.count == stopper->at) {
    ck_assert_int_eq(uvch_mpsc_recv_stop(rx), 0);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) rx), 0);
    ck_assert_int_eq(uvch_mpsc_recv_stop(rx), 0);
  }
}

START_TEST(stopping_in_the_callback_ends_with_that_message_and_a_restart_goes_on) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  stopper_t stopper;
  uv_loop_t loop;
  size_t at;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  memset(&stopper, 0, sizeof(stopper));
  rx.data = &stopper;
  put_some(&tx, SOME);
  for (at = 1; at <= SOME; at++) {
    stopper.at = at;
    ck_assert_int_eq(uvch_mpsc_recv_start(&rx, stop_at), 0);
    support_loop_run(&loop); /* a stopped one does not keep it alive */
    ck_assert_uint_eq(stopper.sink.count, at);
    ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), SOME - at);
  }
  support_drop_sender(&tx);
  support_loop_run(&loop);
  ck_assert_uint_eq(stopper.sink.ends, 0); /* the end waits for a start, too */
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, stop_at), 0);
  support_loop_end(&loop);
  support_sink_check(&stopper.sink, SOME, 1);
}
END_TEST

START_TEST(a_stopped_receiver_lets_its_channel_fill_up) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;
  uint64_t value = 0;
  int i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, 3);
  support_sink_start(&sink, &rx);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx), 0);
  put_some(&tx, 3);
  for (i = 0; i < 3; i++) {
    uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
  }
  ck_assert_uint_eq(sink.count, 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 3);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, support_sink_cb), 0);
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, 3, 1);
}
END_TEST

START_TEST(stopping_after_the_wake_up_was_sent_holds_the_message_back) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  support_put(&tx, 0);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(sink.count, 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 1);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, support_sink_cb), 0);
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, 1, 1);
}
END_TEST

static void second_half(uvch_mpsc_receiver_t* rx, int status, void* item) {
  support_sink_t* sink = rx->data;

  ck_assert(status == UV_EOF || sink->count > 0);
  support_sink_cb(rx, status, item);
}

static void first_half(uvch_mpsc_receiver_t* rx, int status, void* item) {
  support_sink_t* sink = rx->data;

  ck_assert_uint_eq(sink->count, 0);
  support_sink_cb(rx, status, item);
  ck_assert_int_eq(uvch_mpsc_recv_start(rx, second_half), UV_EALREADY);
  ck_assert_int_eq(uvch_mpsc_recv_stop(rx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(rx, second_half), 0);
}

START_TEST(a_callback_can_put_another_in_its_place) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink = {.count = 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &sink;
  put_some(&tx, SOME);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, first_half), 0);
  support_loop_end(&loop);
  support_sink_check(&sink, SOME, 1);
}
END_TEST

/* try_recv on a loop's receiver. */

static void take_next(uvch_mpsc_receiver_t* rx, int status, void* item) {
  support_sink_t* sink = rx->data;
  uint64_t value;

  support_sink_cb(rx, status, item);
  if (status != 0) {
    return;
  }
  while (uvch_mpsc_try_recv(rx, &value) == 0) {
    ck_assert_uint_eq(value, sink->count);
    sink->got[sink->count++] = value;
    ck_assert_uint_eq(value_of(item), sink->got[0]); /* untouched while others are taken */
  }
}

START_TEST(a_callback_can_take_those_behind_its_message) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink = {.count = 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &sink;
  put_some(&tx, SOME);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, take_next), 0);
  support_loop_end(&loop);
  support_sink_check(&sink, SOME, 1);
}
END_TEST

/* The storage of a bounded channel goes round: behind the last message may lie the one that the callback has in its hand. */
typedef struct round_s {
  support_sink_t sink;
  uvch_mpsc_sender_t tx;
  uv_loop_t* nested; /* take the rest by a run of the loop, not by try_recv */
  size_t n;          /* messages in all */
} round_t;

static void round_take_rest(uvch_mpsc_receiver_t* rx, round_t* turn) {
  uint64_t value;
  size_t vain; /* passes in a row that brought nothing; one on a slow machine does not bring all */

  if (turn->nested != NULL) {
    for (vain = 0; vain < 3; vain++) {
      size_t before = turn->sink.count;
      uv_run(turn->nested, UV_RUN_NOWAIT);
      if (turn->sink.count > before) {
        vain = 0;
      }
    }
    return;
  }
  while (uvch_mpsc_try_recv(rx, &value) == 0) {
    support_sink_cb(rx, 0, &value);
    ck_assert_uint_le(turn->sink.count, turn->n);
  }
}

static void take_round(uvch_mpsc_receiver_t* rx, int status, void* item) {
  round_t* turn = rx->data;
  uint64_t value = turn->n - 1;

  support_sink_cb(rx, status, item);
  ck_assert_uint_le(turn->sink.count, turn->n);
  if (status != 0 || turn->sink.count > 1) {
    return;
  }
  round_take_rest(rx, turn);
  ck_assert_uint_eq(turn->sink.count, turn->n - 1);
  ck_assert_int_eq(uvch_mpsc_try_send(&turn->tx, &value), 0); /* into the room of the one in the hand */
  round_take_rest(rx, turn);
  ck_assert_uint_eq(turn->sink.count, turn->n);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(rx), 0);
  ck_assert_uint_eq(value_of(item), 0);
  support_drop_sender(&turn->tx);
}

static void check_round(size_t capacity, bool nested) {
  size_t n = capacity < 300 ? capacity : 300;
  uvch_mpsc_receiver_t rx;
  round_t turn;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&turn, 0, sizeof(turn));
  turn.nested = nested ? &loop : NULL;
  turn.n = n + 1;
  open_channel(&loop, &rx, &turn.tx, capacity);
  rx.data = &turn;
  put_some(&turn.tx, n);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, take_round), 0);
  support_loop_end(&loop);
  support_sink_check(&turn.sink, n + 1, 1);
}

START_TEST(a_callback_that_takes_the_rest_does_not_take_its_own_message_again) {
  check_round(CAPACITY, false);
}
END_TEST

START_TEST(a_run_inside_a_callback_does_not_deliver_its_message_again) {
  check_round(CAPACITY, true);
}
END_TEST

START_TEST(a_started_receiver_can_be_emptied_by_hand) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0); /* it waits now */
  for (i = 0; i < 20; i++) {
    put_some(&tx, CAPACITY < 3 ? CAPACITY : 3);
    while (!uvch_mpsc_receiver_is_empty(&rx)) {
      support_take(&rx);
    }
    check_try_recv(&rx, UV_EAGAIN);
    ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0); /* a wake-up with nothing behind it */
    ck_assert_uint_eq(sink.count, 0);
  }
  support_put(&tx, 0);
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, 1, 1);
}
END_TEST

/* The end. */

START_TEST(the_end_comes_once_for_every_start_and_leaves_the_handle_inactive) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  sink.stay = true;
  put_some(&tx, SOME);
  support_drop_sender(&tx);
  support_loop_run(&loop);
  support_sink_check(&sink, SOME, 1);
  for (i = 2; i < 6; i++) {
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
    check_try_recv(&rx, UV_EOF);
    support_loop_run(&loop);
    ck_assert_uint_eq(sink.ends, i - 1);
    ck_assert_int_eq(uvch_mpsc_recv_start(&rx, support_sink_cb), 0);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 1);
    ck_assert_int_eq(uvch_mpsc_recv_start(&rx, support_sink_cb), UV_EALREADY);
    support_loop_run(&loop);
    ck_assert_uint_eq(sink.ends, i);
  }
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(the_last_sender_wakes_a_receiver_that_waits) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  if (CAPACITY % 2 == 0) { /* at the very start, and behind a message */
    support_put(&tx, 0);
  }
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_uint_eq(sink.ends, 0);
  support_drop_sender(&tx);
  ck_assert_uint_eq(sink.ends, 0);
  support_loop_end(&loop);
  support_sink_check(&sink, CAPACITY % 2 == 0, 1);
}
END_TEST

static void start_again_at_end(uvch_mpsc_receiver_t* rx, int status, void* item) {
  support_sink_t* sink = rx->data;

  ck_assert_int_eq(status, UV_EOF);
  ck_assert_ptr_null(item);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) rx), 0);
  sink->ends += 1;
  if (sink->ends < 10) {
    ck_assert_int_eq(uvch_mpsc_recv_start(rx, start_again_at_end), 0);
  } else {
    support_close(rx);
  }
}

START_TEST(a_start_in_the_callback_of_the_end_brings_the_end_again) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink = {.count = 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &sink;
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, start_again_at_end), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(sink.ends, 10);
}
END_TEST

START_TEST(stopping_and_starting_before_the_end_came_brings_it_once) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  sink.stay = true;
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, support_sink_cb), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(sink.ends, 1);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(an_active_receiver_keeps_its_loop_alive_until_the_end_came) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  sink.stay = true;
  ck_assert_int_ne(uv_loop_alive(&loop), 0); /* a sender */
  put_some(&tx, SOME);
  support_drop_sender(&tx);
  ck_assert_int_ne(uv_loop_alive(&loop), 0); /* messages */
  support_loop_run(&loop);
  ck_assert_int_eq(uv_loop_alive(&loop), 0); /* ended, though not closed */
  ck_assert_uint_eq(sink.ends, 1);
  support_close(&rx);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  support_loop_end(&loop);
}
END_TEST

/* Shutdown. */

START_TEST(shutdown_brings_what_is_queued_and_then_the_end) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;
  uint64_t value = 0;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  put_some(&tx, SOME);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE);
  ck_assert_uint_eq(sink.count, 0);
  support_loop_run(&loop);
  support_sink_check(&sink, SOME, 1);
  support_drop_sender(&tx);
  support_loop_close(&loop);
}
END_TEST

START_TEST(shutdown_ends_a_receiver_that_waits) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_uint_eq(sink.ends, 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(sink.ends, 1);
  support_drop_sender(&tx);
  support_loop_close(&loop);
}
END_TEST

static void shutdown_at_first(uvch_mpsc_receiver_t* rx, int status, void* item) {
  support_sink_t* sink = rx->data;

  support_sink_cb(rx, status, item);
  if (status == 0 && sink->count == 1) {
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(rx), 0);
  }
}

START_TEST(shutdown_in_the_callback_lets_the_rest_come) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink = {.count = 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &sink;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, shutdown_at_first), 0);
  put_some(&tx, SOME);
  support_loop_run(&loop);
  support_sink_check(&sink, SOME, 1);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&tx), 1);
  support_drop_sender(&tx);
  support_loop_close(&loop);
}
END_TEST

START_TEST(shutdown_waits_for_a_restart_when_the_receiver_is_stopped) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  put_some(&tx, SOME);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  support_loop_run(&loop);
  support_sink_start(&sink, &rx);
  support_loop_run(&loop);
  support_sink_check(&sink, SOME, 1);
  support_drop_sender(&tx);
  support_loop_close(&loop);
}
END_TEST

/* What close drops. */

typedef struct drops_s {
  size_t count;
  uint64_t next;
  long thread;
} drops_t;

static void count_drop(void* item, void* arg) {
  drops_t* drops = arg;

  ck_assert_uint_eq(value_of(item), drops->next);
  drops->next += 1;
  drops->count += 1;
  drops->thread = support_thread_number();
}

START_TEST(close_drops_what_is_queued_at_once_and_in_order) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  drops_t drops = {.count = 0};
  uv_loop_t loop;
  uint64_t value = 0;

  support_loop_init(&loop);
  open_with_drop(&loop, &rx, &tx, CAPACITY, count_drop, &drops);
  put_some(&tx, SOME);
  support_close(&rx);
  ck_assert_uint_eq(drops.count, SOME); /* a sender is still open, the loop has not run */
  ck_assert_int_eq(drops.thread, support_thread_number());
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE);
  support_loop_run(&loop);
  support_drop_sender(&tx);
  ck_assert_uint_eq(drops.count, SOME);
  support_loop_close(&loop);
}
END_TEST

START_TEST(each_message_is_either_delivered_or_dropped) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t taken;
  drops_t drops;

  for (taken = 0; taken <= SOME && taken < 70; taken++) {
    drops = (drops_t){.next = taken};
    open_with_drop(NULL, &rx, &tx, CAPACITY, count_drop, &drops);
    put_some(&tx, SOME);
    for (size_t i = 0; i < taken; i++) {
      ck_assert_uint_eq(support_take(&rx), i);
    }
    ck_assert_uint_eq(drops.count, 0);
    support_close(&rx);
    ck_assert_uint_eq(drops.count, SOME - taken);
    support_drop_sender(&tx);
    ck_assert_uint_eq(drops.count, SOME - taken);
  }
}
END_TEST

START_TEST(nothing_is_dropped_when_all_was_delivered) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  drops_t drops = {.count = 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_with_drop(&loop, &rx, &tx, CAPACITY, count_drop, &drops);
  support_sink_start(&sink, &rx);
  put_some(&tx, SOME);
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, SOME, 1);
  ck_assert_uint_eq(drops.count, 0);
}
END_TEST

START_TEST(a_closing_sender_drops_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  drops_t drops = {.count = 0};

  open_with_drop(NULL, &rx, &tx, CAPACITY, count_drop, &drops);
  put_some(&tx, SOME);
  support_drop_sender(&tx);
  ck_assert_uint_eq(drops.count, 0);
  support_close(&rx);
  ck_assert_uint_eq(drops.count, SOME);
}
END_TEST

static void close_at_first(uvch_mpsc_receiver_t* rx, int status, void* item) {
  support_sink_t* sink = rx->data;

  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(sink->count, 0); /* none after the close */
  sink->count += 1;
  support_close(rx);
  ck_assert_uint_eq(value_of(item), 0); /* good until the callback returns */
}

START_TEST(a_message_is_good_until_its_callback_returns_whatever_that_closes) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink = {.count = 0};
  drops_t drops = {.next = 1};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_with_drop(&loop, &rx, &tx, CAPACITY, count_drop, &drops);
  rx.data = &sink;
  put_some(&tx, SOME);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, close_at_first), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(drops.count, SOME - 1); /* the one that was delivered is not dropped, too */
}
END_TEST

/* A drop function that calls what it can of its own channel and of another one. */
typedef struct nosy_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_receiver_t other_rx;
  uvch_mpsc_sender_t other_tx;
  size_t dropped;
} nosy_t;

static void nosy_drop(void* item, void* arg) {
  nosy_t* nosy = arg;
  uvch_mpsc_sender_t copy;
  uint64_t value = value_of(item);

  ck_assert_uint_eq(value, nosy->dropped);
  nosy->dropped += 1;
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &nosy->rx, NULL), UV_EALREADY);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &nosy->rx), 1);
  ck_assert_int_eq(uvch_mpsc_try_recv(&nosy->rx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&nosy->rx), UV_EBADF);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&nosy->rx), 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&nosy->tx, &value), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&nosy->tx), 1);
  uvch_mpsc_sender_len(&nosy->tx);
  uvch_mpsc_sender_capacity(&nosy->tx);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&nosy->tx, &copy), 0);
  support_drop_sender(&copy);
  ck_assert_uint_eq(value_of(item), value); /* good until it returns */
  support_put(&nosy->other_tx, value);
  ck_assert_uint_eq(support_take(&nosy->other_rx), value);
}

START_TEST(a_drop_function_can_call_the_library) {
  nosy_t nosy = {.dropped = 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &nosy.other_rx, &nosy.other_tx, CAPACITY);
  open_with_drop(&loop, &nosy.rx, &nosy.tx, CAPACITY, nosy_drop, &nosy);
  put_some(&nosy.tx, SOME);
  support_close(&nosy.rx);
  ck_assert_uint_eq(nosy.dropped, SOME);
  support_drop_sender(&nosy.tx);
  support_close(&nosy.other_rx);
  support_drop_sender(&nosy.other_tx);
  support_loop_end(&loop);
}
END_TEST

/* Closes the last sender of its own channel, and the other receiver, from inside. */
static void closing_drop(void* item, void* arg) {
  nosy_t* nosy = arg;

  nosy->dropped += 1;
  ck_assert_uint_eq(value_of(item) + 1, nosy->dropped);
  if (nosy->dropped == 1) {
    support_drop_sender(&nosy->tx);
    support_close(&nosy->other_rx);
    support_drop_sender(&nosy->other_tx);
  }
}

START_TEST(a_drop_function_can_close_the_last_sender_and_another_receiver) {
  nosy_t nosy = {.dropped = 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &nosy.other_rx, &nosy.other_tx, CAPACITY);
  open_with_drop(&loop, &nosy.rx, &nosy.tx, CAPACITY, closing_drop, &nosy);
  put_some(&nosy.tx, SOME);
  support_close(&nosy.rx);
  ck_assert_uint_eq(nosy.dropped, SOME);
  support_loop_end(&loop);
}
END_TEST

/* Requests with the sender for the answer inside. */
typedef struct question_s {
  uvch_mpsc_sender_t reply;
  uint64_t number;
} question_t;

static void answer(uvch_mpsc_receiver_t* rx, int status, void* item) {
  question_t question;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  memcpy(&question, item, sizeof(question));
  support_put(&question.reply, question.number);
  support_drop_sender(&question.reply);
}

START_TEST(a_sender_inside_a_message_answers_it) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_receiver_t reply;
  support_sink_t sink;
  question_t question;
  uv_loop_t loop;
  uint64_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_mpsc_init(&loop, &rx, &tx, sizeof(question), CAPACITY), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, answer), 0);
  for (i = 0; i < 50; i++) {
    open_channel(&loop, &reply, &question.reply, 1);
    question.number = 0;
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &question), 0);
    support_sink_start(&sink, &reply);
    while (sink.ends == 0) {
      uv_run(&loop, UV_RUN_ONCE);
    }
    support_sink_check(&sink, 1, 1);
    uv_run(&loop, UV_RUN_NOWAIT); /* the reply's memory is free after its close */
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  support_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

static void drop_question(void* item, void* arg) {
  question_t question;

  (void) arg;
  memcpy(&question, item, sizeof(question));
  support_drop_sender(&question.reply);
}

START_TEST(a_sender_inside_a_dropped_message_ends_its_channel) {
  uvch_mpsc_options_t options;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_receiver_t reply;
  question_t question = {.number = 1};
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&options, 0, sizeof(options));
  options.drop = drop_question;
  ck_assert_int_eq(uvch_mpsc_init_ex(&loop, &rx, &tx, sizeof(question), CAPACITY, &options), 0);
  open_channel(&loop, &reply, &question.reply, 1);
  support_sink_start(&sink, &reply);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &question), 0);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_uint_eq(sink.ends, 0);
  support_close(&rx);
  support_drop_sender(&tx);
  support_loop_end(&loop);
  ck_assert_uint_eq(sink.ends, 1);
}
END_TEST

/* Messages that are just being put in: a thread stops in the middle of its try_send. */

typedef struct stuck_s {
  uvch_mpsc_sender_t tx;
  support_slow_t slow;
  uv_thread_t thread;
  support_result_t result;
  int want; /* what the send is to answer */
} stuck_t;

static void send_stuck(void* arg) {
  stuck_t* stuck = arg;

  support_expect_eq(&stuck->result, uvch_mpsc_try_send(&stuck->tx, stuck->slow.item), stuck->want);
}

/* With `before` messages that went through the channel earlier, so that it stops at different places of the storage. */
static void stuck_begin(stuck_t* stuck, const uvch_mpsc_sender_t* tx, uint64_t value, int want) {
  memset(stuck, 0, sizeof(*stuck));
  stuck->want = want;
  ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &stuck->tx), 0);
  support_slow_init(&stuck->slow, &value, sizeof(value));
  support_spawn(&stuck->thread, send_stuck, stuck);
  support_slow_until_read(&stuck->slow);
}

static void stuck_join(stuck_t* stuck) {
  support_join(&stuck->thread);
  support_result_check(&stuck->result);
  support_slow_destroy(&stuck->slow);
  support_drop_sender(&stuck->tx);
}

/* For the loop tests below: every pair of a capacity, with how many messages come behind, and a place. */
static const size_t stuck_capacities[] = {2, 5, UVCH_UNBOUNDED, UVCH_UNBOUNDED};
static const size_t stuck_behind[] = {1, 4, 1, 100};
enum { STUCK_PLACES = 40 };
#define STUCK_CAPACITY (stuck_capacities[_i / STUCK_PLACES])
#define STUCK_PLACE ((size_t) (_i % STUCK_PLACES))
#define STUCK_BEHIND (stuck_behind[_i / STUCK_PLACES])
#define add_for_every_place(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(stuck_capacities) * STUCK_PLACES)

static void open_at_place(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity, size_t place,
                          uvch_drop_cb drop, void* arg) {
  open_with_drop(loop, rx, tx, capacity, drop, arg);
  for (; place > 0; place--) {
    support_put(tx, 0);
    support_take(rx);
  }
}

START_TEST(a_message_that_is_being_put_in_holds_back_those_behind_it) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  stuck_t stuck;
  size_t i;

  open_at_place(NULL, &rx, &tx, STUCK_CAPACITY, STUCK_PLACE, NULL, NULL);
  stuck_begin(&stuck, &tx, 0, 0);
  check_try_recv(&rx, UV_EAGAIN);
  for (i = 1; i <= STUCK_BEHIND; i++) {
    support_put(&tx, i);
    check_try_recv(&rx, UV_EAGAIN);
  }
  support_slow_let_go(&stuck.slow);
  stuck_join(&stuck);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), STUCK_BEHIND + 1);
  for (i = 0; i <= STUCK_BEHIND; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  check_try_recv(&rx, UV_EAGAIN);
  support_drop_sender(&tx);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
}
END_TEST

START_TEST(a_message_that_is_being_put_in_holds_back_the_end) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  stuck_t stuck;
  uv_loop_t loop;
  uint64_t value = 0;
  int i;

  support_loop_init(&loop);
  open_at_place(&loop, &rx, &tx, STUCK_CAPACITY, STUCK_PLACE, NULL, NULL);
  support_sink_start(&sink, &rx);
  stuck_begin(&stuck, &tx, 0, 0);
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE);
  for (i = 0; i < 5; i++) {
    check_try_recv(&rx, UV_EAGAIN);
    ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
    ck_assert_uint_eq(sink.count, 0);
    ck_assert_uint_eq(sink.ends, 0);
  }
  support_slow_let_go(&stuck.slow);
  support_loop_run(&loop);
  support_sink_check(&sink, 2, 1);
  stuck_join(&stuck);
  support_drop_sender(&tx);
  support_loop_close(&loop);
}
END_TEST

/* Lets the stuck sender go once the loop's thread sleeps. */
typedef struct rescuer_s {
  stuck_t* stuck;
  long sleeper;
} rescuer_t;

static void rescue(void* arg) {
  rescuer_t* rescuer = arg;

  support_until_asleep(rescuer->sleeper);
  support_slow_let_go(&rescuer->stuck->slow);
}

START_TEST(who_put_a_message_in_wakes_the_receiver_that_came_too_early) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  stuck_t stuck;
  rescuer_t rescuer = {.stuck = &stuck, .sleeper = support_thread_number()};
  uv_thread_t thread;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_at_place(&loop, &rx, &tx, STUCK_CAPACITY, STUCK_PLACE, NULL, NULL);
  support_sink_start(&sink, &rx);
  stuck_begin(&stuck, &tx, 0, 0);
  for (i = 1; i <= STUCK_BEHIND; i++) {
    support_put(&tx, i);
  }
  support_drop_sender(&tx); /* the stuck one has the last */
  support_spawn(&thread, rescue, &rescuer);
  while (sink.count <= STUCK_BEHIND) {
    ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
  }
  support_join(&thread);
  stuck_join(&stuck);
  support_loop_end(&loop);
  support_sink_check(&sink, STUCK_BEHIND + 1, 1);
}
END_TEST

START_TEST(closing_in_the_middle_of_a_send_leaves_its_message_with_the_sender) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  drops_t drops = {.next = 1};
  stuck_t stuck;
  size_t i;

  open_at_place(NULL, &rx, &tx, STUCK_CAPACITY, STUCK_PLACE, count_drop, &drops);
  stuck_begin(&stuck, &tx, 0, UV_EPIPE);
  for (i = 1; i <= STUCK_BEHIND; i++) {
    support_put(&tx, i);
  }
  support_close(&rx);
  memset(&rx, 0xee, sizeof(rx));
  ck_assert_uint_eq(drops.count, STUCK_BEHIND);
  support_drop_sender(&tx);
  support_slow_let_go(&stuck.slow);
  stuck_join(&stuck);
  ck_assert_uint_eq(drops.count, STUCK_BEHIND);
}
END_TEST

START_TEST(several_may_be_in_the_middle_of_a_send_when_the_receiver_closes) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  drops_t drops = {.next = 10};
  stuck_t stuck[4];
  size_t i;

  open_at_place(NULL, &rx, &tx, UVCH_UNBOUNDED, (size_t) _i, count_drop, &drops);
  for (i = 0; i < COUNT(stuck); i++) {
    stuck_begin(&stuck[i], &tx, i, UV_EPIPE);
    support_put(&tx, 10 + i);
  }
  support_close(&rx);
  ck_assert_uint_eq(drops.count, COUNT(stuck));
  support_drop_sender(&tx);
  for (i = 0; i < COUNT(stuck); i++) {
    support_slow_let_go(&stuck[(i + (size_t) _i) % COUNT(stuck)].slow);
    stuck_join(&stuck[(i + (size_t) _i) % COUNT(stuck)]);
  }
  ck_assert_uint_eq(drops.count, COUNT(stuck));
}
END_TEST

static void add_callbacks(Suite* suite) {
  TCase* tcase = support_case(suite, "callbacks");

  add_for_every_capacity(tcase, what_was_queued_before_the_start_comes_in_order);
  add_for_every_capacity(tcase, messages_come_in_order_to_a_receiver_that_waits);
  add_for_every_capacity(tcase, a_receiver_that_is_attached_later_gets_what_is_queued);
  add_for_every_capacity(tcase, a_receiver_that_is_attached_after_the_end_gets_the_end);
  add_for_every_capacity(tcase, a_receiver_can_be_polled_then_attached_then_started);
  add_for_every_capacity(tcase, stopping_in_the_callback_ends_with_that_message_and_a_restart_goes_on);
  tcase_add_test(tcase, a_stopped_receiver_lets_its_channel_fill_up);
  add_for_every_capacity(tcase, stopping_after_the_wake_up_was_sent_holds_the_message_back);
  add_for_every_capacity(tcase, a_callback_can_put_another_in_its_place);
  add_for_every_capacity(tcase, a_callback_can_take_those_behind_its_message);
  add_for_every_capacity(tcase, a_callback_that_takes_the_rest_does_not_take_its_own_message_again);
  add_for_every_capacity(tcase, a_run_inside_a_callback_does_not_deliver_its_message_again);
  add_for_every_capacity(tcase, a_started_receiver_can_be_emptied_by_hand);
}

static void add_end(Suite* suite) {
  TCase* tcase = support_case(suite, "end");

  add_for_every_capacity(tcase, the_end_comes_once_for_every_start_and_leaves_the_handle_inactive);
  add_for_every_capacity(tcase, the_last_sender_wakes_a_receiver_that_waits);
  add_for_every_capacity(tcase, a_start_in_the_callback_of_the_end_brings_the_end_again);
  add_for_every_capacity(tcase, stopping_and_starting_before_the_end_came_brings_it_once);
  add_for_every_capacity(tcase, an_active_receiver_keeps_its_loop_alive_until_the_end_came);
  add_for_every_capacity(tcase, shutdown_brings_what_is_queued_and_then_the_end);
  add_for_every_capacity(tcase, shutdown_ends_a_receiver_that_waits);
  add_for_every_capacity(tcase, shutdown_in_the_callback_lets_the_rest_come);
  add_for_every_capacity(tcase, shutdown_waits_for_a_restart_when_the_receiver_is_stopped);
}

static void add_drop(Suite* suite) {
  TCase* tcase = support_case(suite, "drop");

  add_for_every_capacity(tcase, close_drops_what_is_queued_at_once_and_in_order);
  add_for_every_capacity(tcase, each_message_is_either_delivered_or_dropped);
  add_for_every_capacity(tcase, nothing_is_dropped_when_all_was_delivered);
  add_for_every_capacity(tcase, a_closing_sender_drops_nothing);
  add_for_every_capacity(tcase, a_message_is_good_until_its_callback_returns_whatever_that_closes);
  add_for_every_capacity(tcase, a_drop_function_can_call_the_library);
  add_for_every_capacity(tcase, a_drop_function_can_close_the_last_sender_and_another_receiver);
  add_for_every_capacity(tcase, a_sender_inside_a_message_answers_it);
  add_for_every_capacity(tcase, a_sender_inside_a_dropped_message_ends_its_channel);
}

static void add_stuck(Suite* suite) {
  TCase* tcase = support_case(suite, "stuck");

  add_for_every_place(tcase, a_message_that_is_being_put_in_holds_back_those_behind_it);
  add_for_every_place(tcase, a_message_that_is_being_put_in_holds_back_the_end);
  add_for_every_place(tcase, who_put_a_message_in_wakes_the_receiver_that_came_too_early);
  add_for_every_place(tcase, closing_in_the_middle_of_a_send_leaves_its_message_with_the_sender);
  tcase_add_loop_test(tcase, several_may_be_in_the_middle_of_a_send_when_the_receiver_closes, 0, STUCK_PLACES);
}

int main(void) {
  Suite* suite = suite_create("recv");

  add_callbacks(suite);
  add_end(suite);
  add_drop(suite);
  add_stuck(suite);
  return support_main(suite);
}
