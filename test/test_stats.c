/* SPDX-License-Identifier: MIT
 *
 * What a channel tells about itself: each number in known situations, sums after much traffic, names, and the list of a loop. */
#include "support.h"

#include <stdio.h>
#include <uvch/stats.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const size_t capacities[] = {1, 4, 64, UVCH_UNBOUNDED};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))
#define add_for_every_bound(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities) - 1)

static void open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  ck_assert_int_eq(uvch_mpsc_init(loop, rx, tx, sizeof(uint64_t), capacity), 0);
}

/* The memory is garbage before. */
static uvch_stats_t stats_of(const uvch_mpsc_sender_t* tx) {
  uvch_stats_t stats;
  size_t i;

  memset(&stats, 0xa5, sizeof(stats));
  support_check_eq(uvch_mpsc_sender_get_stats(tx, &stats), 0);
  for (i = 0; i < COUNT(stats.more); i++) {
    support_check_eq(stats.more[i], 0);
  }
  return stats;
}

static uvch_stats_t receiver_stats_of(const uvch_mpsc_receiver_t* rx) {
  uvch_stats_t stats;

  memset(&stats, 0xa5, sizeof(stats));
  support_check_eq(uvch_mpsc_receiver_get_stats(rx, &stats), 0);
  return stats;
}

/* A thread of its own asks. */
typedef struct asker_s {
  const uvch_mpsc_sender_t* tx;
  uvch_stats_t stats;
} asker_t;

static void ask(void* arg) {
  asker_t* asker = arg;

  memset(&asker->stats, 0xa5, sizeof(asker->stats));
  uvch_mpsc_sender_get_stats(asker->tx, &asker->stats);
}

/* Both ends and every thread say the same while the channel is quiet. */
static uvch_stats_t agreed(const uvch_mpsc_sender_t* tx, const uvch_mpsc_receiver_t* rx) {
  asker_t asker = {.tx = tx};
  uvch_stats_t stats = stats_of(tx);
  uvch_stats_t other;
  uv_thread_t thread;

  support_spawn(&thread, ask, &asker);
  support_join(&thread);
  ck_assert_mem_eq(&asker.stats, &stats, sizeof(stats));
  if (rx != NULL) {
    other = receiver_stats_of(rx);
    ck_assert_mem_eq(&other, &stats, sizeof(stats));
  }
  ck_assert_uint_eq(stats.sent, stats.received + stats.dropped + stats.depth);
  return stats;
}

static void check_flow(const uvch_stats_t* stats, uint64_t sent, uint64_t received, uint64_t dropped, uint64_t depth) {
  ck_assert_uint_eq(stats->sent, sent);
  ck_assert_uint_eq(stats->received, received);
  ck_assert_uint_eq(stats->dropped, dropped);
  ck_assert_uint_eq(stats->depth, depth);
}

static void try_full(const uvch_mpsc_sender_t* tx) {
  uint64_t value = 0;

  ck_assert_int_eq(uvch_mpsc_try_send(tx, &value), UV_EAGAIN);
}

/* Numbers. */

START_TEST(a_fresh_channel_has_only_its_capacity) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_stats_t stats;
  uvch_stats_t want;

  open_channel(NULL, &rx, &tx, CAPACITY);
  stats = agreed(&tx, &rx);
  memset(&want, 0, sizeof(want));
  want.capacity = CAPACITY == UVCH_UNBOUNDED ? UINT64_MAX : CAPACITY;
  ck_assert_mem_eq(&stats, &want, sizeof(stats));
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

START_TEST(errors_leave_the_snapshot_alone) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_stats_t stats;
  uvch_stats_t before;

  memset(&stats, 0x5a, sizeof(stats));
  before = stats;
  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_sender_get_stats(NULL, &stats), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_sender_get_stats(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_receiver_get_stats(NULL, &stats), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_receiver_get_stats(&rx, NULL), UV_EINVAL);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_sender_get_stats(&tx, &stats), UV_EBADF);
  support_close(&rx);
  ck_assert_int_eq(uvch_mpsc_receiver_get_stats(&rx, &stats), UV_EBADF);
  ck_assert_mem_eq(&stats, &before, sizeof(stats));
}
END_TEST

START_TEST(what_is_sent_and_taken_by_hand_is_counted) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_stats_t stats;
  size_t turn;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (turn = 0; turn < 100; turn++) {
    for (i = 0; i < 64 && i < CAPACITY; i++) {
      support_put(&tx, i);
    }
    stats = agreed(&tx, &rx);
    check_flow(&stats, (turn + 1) * i, turn * i, 0, i);
    if (CAPACITY <= 64) {
      try_full(&tx);
      ck_assert_uint_eq(stats_of(&tx).full, turn + 1);
      ck_assert_uint_eq(stats_of(&tx).high_water, CAPACITY);
    }
    while (i > 0) {
      support_take(&rx);
      i -= 1;
    }
    ck_assert_uint_eq(stats_of(&tx).depth, 0);
  }
  support_drop_sender(&tx);
  stats = receiver_stats_of(&rx);
  check_flow(&stats, stats.sent, stats.sent, 0, 0);
  support_close(&rx);
}
END_TEST

START_TEST(what_a_close_throws_away_is_dropped) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_stats_t stats;
  uint64_t value = 0;

  open_channel(NULL, &rx, &tx, CAPACITY == 1 ? 2 : CAPACITY);
  support_put(&tx, 0);
  support_take(&rx);
  support_put(&tx, 1);
  support_put(&tx, 2);
  support_close(&rx);
  stats = agreed(&tx, NULL);
  check_flow(&stats, 3, 1, 2, 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE); /* neither sent nor full */
  stats = agreed(&tx, NULL);
  check_flow(&stats, 3, 1, 2, 0);
  ck_assert_uint_eq(stats.full, 0);
  support_drop_sender(&tx);
}
END_TEST

typedef struct drops_s {
  uvch_mpsc_sender_t tx;
  uint64_t sent;
} drops_t;

/* Who looks in the middle of it still sees what was sent. */
static void look_while_dropping(void* item, void* arg) {
  drops_t* drops = arg;
  uvch_stats_t stats = stats_of(&drops->tx);

  (void) item;
  support_check_eq(stats.sent, drops->sent);
}

START_TEST(what_was_sent_never_becomes_less_in_a_close) {
  uvch_mpsc_options_t options;
  uvch_mpsc_receiver_t rx;
  uvch_stats_t stats;
  drops_t drops;
  size_t i;

  memset(&options, 0, sizeof(options));
  options.drop = look_while_dropping;
  options.arg = &drops;
  ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &rx, &drops.tx, sizeof(uint64_t), CAPACITY, &options), 0);
  drops.sent = CAPACITY < 40 ? CAPACITY : 40;
  for (i = 0; i < drops.sent; i++) {
    support_put(&drops.tx, i);
  }
  support_close(&rx);
  stats = agreed(&drops.tx, NULL);
  check_flow(&stats, drops.sent, 0, drops.sent, 0);
  support_drop_sender(&drops.tx);
}
END_TEST

START_TEST(a_message_that_was_refused_at_the_close_is_not_counted) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_permit_t permit;
  uvch_stats_t stats;
  uint64_t value = 0;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), 0);
  ck_assert_uint_eq(stats_of(&tx).reserved, 1);
  support_close(&rx);
  ck_assert_int_eq(uvch_mpsc_permit_send(&permit, &value), UV_EPIPE);
  stats = agreed(&tx, NULL);
  check_flow(&stats, 0, 0, 0, 0);
  ck_assert_uint_eq(stats.reserved, 0);
  support_drop_sender(&tx);
}
END_TEST

static void on_sent(uvch_mpsc_send_t* req, int status) {
  *(int*) req->data = status;
}

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  *(int*) req->data = status;
}

START_TEST(who_waits_and_who_found_no_room_is_counted) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_permit_t granted;
  uvch_mpsc_reserve_t reserve;
  uvch_mpsc_send_t sends[3];
  uint64_t value = 0;
  int statuses[4] = {1, 1, 1, 1};
  uvch_stats_t stats;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 0; i < CAPACITY; i++) {
    support_put(&tx, i);
  }
  ck_assert_uint_eq(stats_of(&tx).full, 0);
  try_full(&tx);
  ck_assert_uint_eq(stats_of(&tx).full, 1);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), UV_EAGAIN);
  ck_assert_uint_eq(stats_of(&tx).full, 2);
  for (i = 0; i < COUNT(sends); i++) {
    sends[i].data = &statuses[i];
    ck_assert_int_eq(uvch_mpsc_send(&loop, &sends[i], &tx, &value, on_sent), 0);
    ck_assert_uint_eq(stats_of(&tx).waiting, i + 1);
  }
  reserve.data = &statuses[3];
  ck_assert_int_eq(uvch_mpsc_reserve(&loop, &reserve, &tx, 1, &granted, on_reserved), 0);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 1), UV_ETIMEDOUT);
  stats = agreed(&tx, &rx);
  ck_assert_uint_eq(stats.waiting, 4);
  ck_assert_uint_eq(stats.full, 7);
  check_flow(&stats, CAPACITY, 0, 0, CAPACITY);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &sends[1]), 0);
  ck_assert_uint_eq(stats_of(&tx).waiting, 3);
  support_take(&rx);
  stats = agreed(&tx, &rx);
  ck_assert_uint_eq(stats.waiting, 2);
  check_flow(&stats, CAPACITY + 1, 1, 0, CAPACITY);
  support_take(&rx);
  support_take(&rx);
  stats = agreed(&tx, &rx);
  ck_assert_uint_eq(stats.waiting, 0);
  ck_assert_uint_eq(stats.reserved, 1);
  check_flow(&stats, CAPACITY + 2, 3, 0, CAPACITY - 1);
  support_loop_run(&loop);
  ck_assert(statuses[0] == 0 && statuses[1] == UV_ECANCELED && statuses[2] == 0 && statuses[3] == 0);
  ck_assert_int_eq(uvch_mpsc_permit_send(&granted, &value), 0);
  stats = agreed(&tx, &rx);
  ck_assert_uint_eq(stats.reserved, 0);
  ck_assert_uint_eq(stats.high_water, CAPACITY);
  check_flow(&stats, CAPACITY + 3, 3, 0, CAPACITY);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_close(&loop);
}
END_TEST

/* Of several messages a part goes in; with the rest it waits, and that is what the number is about. */
START_TEST(a_batch_that_begins_to_wait_is_counted) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t req;
  uint64_t values[70] = {0};
  uvch_stats_t stats;
  int status = 1;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  req.data = &status;
  ck_assert_int_eq(uvch_mpsc_send_many(&loop, &req, &tx, values, CAPACITY + 2, on_sent), 0);
  stats = agreed(&tx, &rx);
  ck_assert_uint_eq(stats.waiting, 1);
  ck_assert_uint_eq(stats.full, 1);
  ck_assert_uint_eq(stats.high_water, CAPACITY);
  check_flow(&stats, CAPACITY, 0, 0, CAPACITY);
  for (i = 0; i < CAPACITY + 2; i++) {
    support_take(&rx);
  }
  support_loop_run(&loop);
  ck_assert_int_eq(status, 0);
  ck_assert_int_eq(uvch_mpsc_send_many_timedwait(&tx, values, CAPACITY + 1, 1), (int) CAPACITY);
  stats = agreed(&tx, &rx);
  ck_assert_uint_eq(stats.waiting, 0);
  ck_assert_uint_eq(stats.full, 2);
  check_flow(&stats, 2 * CAPACITY + 2, CAPACITY + 2, 0, CAPACITY);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_close(&loop);
}
END_TEST

START_TEST(places_that_are_held_are_reserved_and_not_queued) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_permit_t other;
  uvch_stats_t stats;
  uint64_t value = 0;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, CAPACITY, &permit), 0);
  stats = agreed(&tx, &rx);
  ck_assert_uint_eq(stats.reserved, CAPACITY);
  ck_assert_uint_eq(stats.high_water, 0);
  check_flow(&stats, 0, 0, 0, 0);
  try_full(&tx);
  ck_assert_uint_eq(stats_of(&tx).full, 1);
  ck_assert_int_eq(uvch_mpsc_permit_send(&permit, &value), 0);
  if (CAPACITY > 1) {
    ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 1, &other), 0);
    ck_assert_uint_eq(stats_of(&tx).reserved, CAPACITY - 1);
    ck_assert_int_eq(uvch_mpsc_permit_release(&other), 0);
    ck_assert_uint_eq(stats_of(&tx).reserved, CAPACITY - 2);
    ck_assert_int_eq(uvch_mpsc_permit_release(&permit), 0);
  }
  stats = agreed(&tx, &rx);
  ck_assert_uint_eq(stats.reserved, 0);
  check_flow(&stats, 1, 0, 0, 1);
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

/* The loop's side: the highest water, how often it was waked, and cut. */

static void count_cb(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) item;
  if (status == 0) {
    *(size_t*) rx->data += 1;
  }
}

static void run_until(uv_loop_t* loop, const size_t* seen, size_t count) {
  while (*seen < count) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
}

START_TEST(the_high_water_is_the_most_that_a_delivery_began_with) {
  static const size_t bursts[] = {1, 3, 2, 0, 4, 1};
  static const size_t highest[] = {1, 3, 3, 3, 4, 4};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_stats_t stats;
  size_t seen = 0;
  size_t sent = 0;
  uv_loop_t loop;
  size_t i;
  size_t k;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, _i == 0 ? 4 : UVCH_UNBOUNDED);
  rx.data = &seen;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, count_cb), 0);
  for (i = 0; i < COUNT(bursts); i++) {
    for (k = 0; k < bursts[i]; k++) {
      support_put(&tx, k);
    }
    sent += bursts[i];
    run_until(&loop, &seen, sent);
    stats = agreed(&tx, &rx);
    ck_assert_uint_eq(stats.high_water, highest[i]);
    check_flow(&stats, sent, sent, 0, 0);
    ck_assert_uint_eq(stats.full, 0);
  }
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(each_burst_to_a_receiver_that_waits_wakes_it_once) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_stats_t stats;
  size_t seen = 0;
  uv_loop_t loop;
  size_t turn;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &seen;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, count_cb), 0);
  uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(stats_of(&tx).wakeups, 0);
  for (turn = 1; turn <= 20; turn++) {
    for (i = 0; i < 5 && i < CAPACITY; i++) {
      support_put(&tx, i);
    }
    run_until(&loop, &seen, turn * i);
    stats = agreed(&tx, &rx);
    ck_assert_uint_eq(stats.wakeups, turn);
  }
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_pass_that_the_budget_ended_is_counted) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t seen = 0;
  size_t passes = 0;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 10), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, UINT64_MAX), 0);
  open_channel(&loop, &rx, &tx, UVCH_UNBOUNDED);
  ck_assert_uint_eq(stats_of(&tx).budget_cuts, 0);
  rx.data = &seen;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, count_cb), 0);
  for (i = 0; i < 95; i++) {
    support_put(&tx, i);
  }
  while (seen < 95) {
    ck_assert_uint_le(stats_of(&tx).budget_cuts, passes++);
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  ck_assert_uint_eq(stats_of(&tx).budget_cuts, 9);
  uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(agreed(&tx, &rx).budget_cuts, 9);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_thread_that_waits_is_waked_once_for_each_sleep) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 1000), UV_ETIMEDOUT);
  ck_assert_uint_eq(agreed(&tx, &rx).wakeups, 0); /* nobody waked it */
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), 0);
  ck_assert_uint_eq(agreed(&tx, &rx).wakeups, 0); /* it did not sleep */
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

START_TEST(the_numbers_stay_right_after_millions_of_messages) {
  size_t count = support_scale(300000);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_stats_t stats;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 0; i < count; i++) {
    support_put(&tx, i);
    support_check_eq(support_take(&rx), i);
  }
  support_put(&tx, i);
  stats = agreed(&tx, &rx);
  check_flow(&stats, count + 1, count, 0, 1);
  support_close(&rx);
  stats = agreed(&tx, NULL);
  check_flow(&stats, count + 1, count, 1, 0);
  support_drop_sender(&tx);
}
END_TEST

/* Under load. */

enum { PRODUCERS = 4 };

typedef struct producer_s {
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  size_t number;
  size_t count;
  uint64_t taken; /* by the channel, as each call said */
  uint64_t full;
  support_result_t result;
} producer_t;

/* By every way there is; 0 once the channel is closed. */
static int produce_some(producer_t* producer, size_t turn) {
  uint64_t values[3] = {turn, turn, turn};
  uvch_mpsc_permit_t permit;
  int n;

  if ((turn + producer->number) % 4 == 0) {
    n = uvch_mpsc_send_many_wait(&producer->tx, values, COUNT(values));
  } else if ((turn + producer->number) % 4 == 1) {
    n = uvch_mpsc_try_send(&producer->tx, values);
    n = n == 0 ? 1 : n;
  } else if ((turn + producer->number) % 4 == 2 && uvch_mpsc_sender_max_capacity(&producer->tx) != UVCH_UNBOUNDED) {
    n = uvch_mpsc_try_reserve(&producer->tx, 1, &permit);
    n = n == 0 ? uvch_mpsc_permit_send(&permit, values) : n;
    n = n == 0 ? 1 : n;
  } else {
    n = uvch_mpsc_send_wait(&producer->tx, values);
    n = n == 0 ? 1 : n;
  }
  if (n > 0) {
    producer->taken += (uint64_t) n;
  } else if (n == UV_EAGAIN) {
    producer->full += 1;
  } else {
    support_expect_eq(&producer->result, n, UV_EPIPE);
    return 0;
  }
  return 1;
}

static void produce(void* arg) {
  producer_t* producer = arg;
  uvch_stats_t last = {.sent = 0};
  uvch_stats_t stats;
  size_t turn;

  for (turn = 0; turn < producer->count && produce_some(producer, turn); turn++) {
    support_expect_eq(&producer->result, uvch_mpsc_sender_get_stats(&producer->tx, &stats), 0);
    support_expect(&producer->result, stats.sent >= stats.received);
    support_expect(&producer->result, stats.received >= last.received);
    support_expect(&producer->result, stats.full >= last.full);
    support_expect(&producer->result, stats.wakeups >= last.wakeups);
    support_expect(&producer->result, stats.depth <= stats.capacity);
    support_expect(&producer->result, stats.high_water <= stats.capacity);
    support_expect(&producer->result, stats.waiting <= PRODUCERS);
    last = stats;
  }
}

typedef struct consumer_s {
  uint64_t received;
  uint64_t stop_at; /* closes then; 0: never */
  int ended;
} consumer_t;

static void consume(uvch_mpsc_receiver_t* rx, int status, void* item) {
  consumer_t* consumer = rx->data;

  (void) item;
  if (status == UV_EOF) {
    consumer->ended = 1;
    support_check_eq(uvch_mpsc_recv_stop(rx), 0);
    return;
  }
  consumer->received += 1;
  if (consumer->received == consumer->stop_at) {
    support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
  }
}

static void count_drop(void* item, void* arg) {
  (void) item;
  *(uint64_t*) arg += 1;
}

static void run_stress(size_t capacity, bool close_early) {
  producer_t producers[PRODUCERS];
  uvch_mpsc_options_t options;
  consumer_t consumer = {0};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_stats_t stats;
  uint64_t dropped = 0;
  uint64_t taken = 0;
  uint64_t full = 0;
  uv_loop_t loop;
  size_t i;

  memset(producers, 0, sizeof(producers));
  memset(&options, 0, sizeof(options));
  options.drop = count_drop;
  options.arg = &dropped;
  support_loop_init(&loop);
  ck_assert_int_eq(uvch_mpsc_init_ex(&loop, &rx, &tx, sizeof(uint64_t), capacity, &options), 0);
  for (i = 0; i < PRODUCERS; i++) {
    producers[i].number = i;
    producers[i].count = support_scale(3000);
    producers[i].tx = tx; /* one sender through several structs: all of them are closed as one, below */
  }
  consumer.stop_at = close_early ? support_scale(3000) : 0;
  rx.data = &consumer;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, consume), 0);
  for (i = 0; i < PRODUCERS; i++) {
    support_spawn(&producers[i].thread, produce, &producers[i]);
  }
  if (close_early) {
    support_loop_run(&loop);
  } else {
    while (consumer.received < PRODUCERS * support_scale(3000) / 2) {
      uv_run(&loop, UV_RUN_NOWAIT);
    }
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0); /* what is in comes */
    support_loop_run(&loop);
    ck_assert_int_eq(consumer.ended, 1);
  }
  for (i = 0; i < PRODUCERS; i++) {
    support_join(&producers[i].thread);
    support_result_check(&producers[i].result);
    taken += producers[i].taken;
    full += producers[i].full;
  }
  stats = agreed(&tx, close_early ? NULL : &rx);
  check_flow(&stats, taken, consumer.received, dropped, 0);
  ck_assert_uint_eq(stats.waiting, 0);
  ck_assert_uint_eq(stats.reserved, 0);
  ck_assert_uint_ge(stats.full, full);
  if (!close_early) {
    ck_assert_uint_eq(stats.dropped, 0);
    support_close(&rx);
  }
  support_drop_sender(&tx);
  support_loop_end(&loop);
}

START_TEST(after_four_threads_the_numbers_add_up) {
  run_stress(CAPACITY, false);
}
END_TEST

START_TEST(after_a_close_in_the_middle_they_are_what_the_senders_were_told) {
  run_stress(CAPACITY, true);
}
END_TEST

/* Another thread looks at the receiver's side while that starts, stops and ends. */
typedef struct onlooker_s {
  const uvch_mpsc_receiver_t* rx;
  uv_thread_t thread;
  _Atomic(int) stop;
  support_result_t result;
} onlooker_t;

static void look_on(void* arg) {
  onlooker_t* onlooker = arg;
  uvch_stats_t stats;

  do {
    support_expect_eq(&onlooker->result, uvch_mpsc_receiver_get_stats(onlooker->rx, &stats), 0);
    support_expect(&onlooker->result, stats.sent >= stats.received);
    support_yield();
  } while (atomic_load(&onlooker->stop) == 0);
}

START_TEST(another_thread_may_look_at_a_receiver_that_starts_and_stops) {
  onlooker_t onlooker;
  consumer_t consumer = {0};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  size_t i;

  memset(&onlooker, 0, sizeof(onlooker));
  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &consumer;
  onlooker.rx = &rx;
  support_spawn(&onlooker.thread, look_on, &onlooker);
  for (i = 0; i < support_scale(2000); i++) {
    support_check_eq(uvch_mpsc_recv_start(&rx, consume), 0);
    support_put(&tx, i);
    while (consumer.received <= i) {
      uv_run(&loop, UV_RUN_NOWAIT);
    }
    uvch_unref((uvch_handle_t*) &rx);
    uvch_ref((uvch_handle_t*) &rx);
    support_check_eq(uvch_mpsc_recv_stop(&rx), 0);
  }
  support_check_eq(uvch_mpsc_recv_start(&rx, consume), 0);
  support_drop_sender(&tx);
  support_loop_run(&loop);
  ck_assert_int_eq(consumer.ended, 1);
  atomic_store(&onlooker.stop, 1);
  support_join(&onlooker.thread);
  support_result_check(&onlooker.result);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Names. */

static int open_named(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity, const char* name) {
  uvch_mpsc_options_t options;

  memset(&options, 0, sizeof(options));
  options.name = name;
  return uvch_mpsc_init_ex(loop, rx, tx, sizeof(uint64_t), capacity, &options);
}

START_TEST(a_name_is_copied_and_kept) {
  static const char* const names[] = {"", "a", "log lines", "0123456789012345678901234567890"};
  char name[UVCH_NAME_MAX + 1];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t i;

  for (i = 0; i < COUNT(names); i++) {
    strcpy(name, names[i]);
    ck_assert_int_eq(open_named(NULL, &rx, &tx, CAPACITY, name), 0);
    memset(name, 'x', sizeof(name));
    ck_assert_str_eq(agreed(&tx, &rx).name, names[i]);
    support_close(&rx);
    ck_assert_str_eq(stats_of(&tx).name, names[i]);
    support_drop_sender(&tx);
  }
  ck_assert_int_eq(open_named(NULL, &rx, &tx, CAPACITY, NULL), 0);
  ck_assert_str_eq(agreed(&tx, &rx).name, "");
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

START_TEST(a_name_that_is_too_long_is_refused_and_changes_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  char name[100];
  size_t length;
  size_t i;

  for (length = UVCH_NAME_MAX + 1; length < sizeof(name); length *= 2) {
    memset(name, 'n', length);
    name[length] = '\0';
    memset(&rx, 0x5a, sizeof(rx));
    memset(&tx, 0x5a, sizeof(tx));
    ck_assert_int_eq(open_named(NULL, &rx, &tx, CAPACITY, name), UV_EINVAL);
    for (i = 0; i < sizeof(rx); i++) {
      support_check_eq(((unsigned char*) &rx)[i], 0x5a);
    }
    for (i = 0; i < sizeof(tx); i++) {
      support_check_eq(((unsigned char*) &tx)[i], 0x5a);
    }
  }
}
END_TEST

START_TEST(a_name_without_memory_is_refused_and_leaks_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t n;

  for (n = 1; n <= 2; n++) {
    support_alloc_fail(n);
    ck_assert_int_eq(open_named(NULL, &rx, &tx, CAPACITY, "name"), UV_ENOMEM);
    support_alloc_fail(0);
  }
  ck_assert_int_eq(open_named(NULL, &rx, &tx, CAPACITY, "name"), 0);
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

/* The list. */

static char printed[4096];

/* How many lines; the text is in `printed`. */
static size_t print(uv_loop_t* loop) {
  FILE* file = tmpfile();
  size_t lines = 0;
  size_t length;
  size_t i;

  ck_assert_ptr_nonnull(file);
  uvch_print_all(loop, file);
  rewind(file);
  length = fread(printed, 1, sizeof(printed) - 1, file);
  printed[length] = '\0';
  for (i = 0; i < length; i++) {
    lines += printed[i] == '\n';
  }
  ck_assert(length == 0 || printed[length - 1] == '\n');
  fclose(file);
  return lines;
}

/* The line of a handle, by its address. */
static const char* line_of(const uvch_mpsc_receiver_t* rx) {
  static char line[1024];
  char address[40];
  const char* found;
  const char* begin;

  snprintf(address, sizeof(address), " %p", (const void*) rx);
  found = strstr(printed, address);
  ck_assert_msg(found != NULL, "no line of %s in\n%s", address, printed);
  for (begin = found; begin > printed && begin[-1] != '\n'; begin--) {
  }
  snprintf(line, sizeof(line), "%.*s", (int) (strchr(found, '\n') - begin), begin);
  return line;
}

static void check_line(const uvch_mpsc_receiver_t* rx, const char* flags, const char* rest) {
  const char* line = line_of(rx);
  char begin[20];

  snprintf(begin, sizeof(begin), "[%s] mpsc ", flags);
  ck_assert_msg(strncmp(line, begin, strlen(begin)) == 0, "%s", line);
  ck_assert_msg(strstr(line, rest) != NULL, "no %s in %s", rest, line);
}

START_TEST(each_handle_has_a_line_with_its_numbers) {
  uvch_mpsc_receiver_t rx[4];
  uvch_mpsc_sender_t tx[4];
  support_sink_t sink;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  ck_assert_uint_eq(print(&loop), 0);
  ck_assert_int_eq(open_named(&loop, &rx[0], &tx[0], 8, "first"), 0);
  ck_assert_int_eq(open_named(&loop, &rx[1], &tx[1], UVCH_UNBOUNDED, "second of them"), 0);
  open_channel(&loop, &rx[2], &tx[2], 1);
  open_channel(&loop, &rx[3], &tx[3], 1);
  support_put(&tx[0], 1);
  support_put(&tx[0], 2);
  support_put(&tx[0], 3);
  support_take(&rx[0]);
  support_sink_start(&sink, &rx[1]);
  uvch_unref((uvch_handle_t*) &rx[2]);
  support_put(&tx[2], 1);
  try_full(&tx[2]);
  ck_assert_uint_eq(print(&loop), 4);
  check_line(&rx[0], "R--", " first depth 2/8 ");
  check_line(&rx[0], "R--", " sent 3 received 1 ");
  check_line(&rx[1], "RA-", " second of them depth 0/- ");
  check_line(&rx[2], "---", " - depth 1/1 high 1 ");
  check_line(&rx[2], "---", " full 1 waiting 0 ");
  check_line(&rx[3], "R--", " depth 0/1 ");
  support_close(&rx[0]);
  support_close(&rx[2]);
  support_drop_sender(&tx[2]); /* its channel is gone */
  ck_assert_uint_eq(print(&loop), 4);
  check_line(&rx[0], "R-C", "");
  check_line(&rx[2], "--C", "");
  ck_assert_ptr_null(strstr(printed, "first"));
  support_close(&rx[1]);
  support_close(&rx[3]);
  for (i = 0; i < COUNT(tx); i++) {
    if (i != 2) {
      support_drop_sender(&tx[i]);
    }
  }
  support_loop_run(&loop);
  ck_assert_uint_eq(print(&loop), 0);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_print_without_a_loop_or_a_stream_does_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, 4);
  ck_assert_uint_eq(print(NULL), 0);
  uvch_print_all(&loop, NULL);
  uvch_print_all(NULL, NULL);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

static void add_numbers(Suite* suite) {
  TCase* tcase = support_case(suite, "numbers");

  add_for_every_capacity(tcase, a_fresh_channel_has_only_its_capacity);
  add_for_every_capacity(tcase, errors_leave_the_snapshot_alone);
  add_for_every_capacity(tcase, what_is_sent_and_taken_by_hand_is_counted);
  add_for_every_capacity(tcase, what_a_close_throws_away_is_dropped);
  add_for_every_capacity(tcase, what_was_sent_never_becomes_less_in_a_close);
  add_for_every_bound(tcase, a_message_that_was_refused_at_the_close_is_not_counted);
  add_for_every_bound(tcase, who_waits_and_who_found_no_room_is_counted);
  add_for_every_bound(tcase, a_batch_that_begins_to_wait_is_counted);
  add_for_every_bound(tcase, places_that_are_held_are_reserved_and_not_queued);
  tcase_add_loop_test(tcase, the_high_water_is_the_most_that_a_delivery_began_with, 0, 2);
  add_for_every_capacity(tcase, each_burst_to_a_receiver_that_waits_wakes_it_once);
  tcase_add_test(tcase, a_pass_that_the_budget_ended_is_counted);
  add_for_every_capacity(tcase, a_thread_that_waits_is_waked_once_for_each_sleep);
  add_for_every_capacity(tcase, the_numbers_stay_right_after_millions_of_messages);
}

static void add_load(Suite* suite) {
  TCase* tcase = support_case(suite, "load");

  add_for_every_capacity(tcase, after_four_threads_the_numbers_add_up);
  add_for_every_capacity(tcase, after_a_close_in_the_middle_they_are_what_the_senders_were_told);
  add_for_every_capacity(tcase, another_thread_may_look_at_a_receiver_that_starts_and_stops);
}

static void add_names(Suite* suite) {
  TCase* tcase = support_case(suite, "names");

  add_for_every_capacity(tcase, a_name_is_copied_and_kept);
  add_for_every_capacity(tcase, a_name_that_is_too_long_is_refused_and_changes_nothing);
  add_for_every_capacity(tcase, a_name_without_memory_is_refused_and_leaks_nothing);
}

static void add_list(Suite* suite) {
  TCase* tcase = support_case(suite, "list");

  tcase_add_test(tcase, each_handle_has_a_line_with_its_numbers);
  tcase_add_test(tcase, a_print_without_a_loop_or_a_stream_does_nothing);
}

int main(void) {
  Suite* suite = suite_create("stats");

  add_numbers(suite);
  add_load(suite);
  add_names(suite);
  add_list(suite);
  return support_main(suite);
}
