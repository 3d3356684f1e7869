/* SPDX-License-Identifier: MIT
 *
 * Broadcast between threads that block: receivers that sleep for a message, time-outs, who may sleep where, and waiting for the
 * end of the last receiver. */
#include "support.h"

#include <limits.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOT_DONE = INT_MIN }; /* no answer is that low */

static const size_t capacities[] = {1, 2, 3, 64};
static const uvch_broadcast_policy policies[] = {UVCH_BROADCAST_LAG, UVCH_BROADCAST_WAIT, UVCH_BROADCAST_DISCONNECT};

#define CAPACITY (capacities[(size_t) _i % COUNT(capacities)])
#define POLICY (policies[(size_t) _i / COUNT(capacities)])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))
#define add_for_every_channel(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) (COUNT(capacities) * COUNT(policies)))

/* Time-outs that no test lives to see; a clock that overflows would make them short. */
static const uint64_t huge[] = {UINT64_MAX, UINT64_MAX - 1, INT64_MAX, (uint64_t) INT64_MAX + 1, UINT64_MAX / 2};

static const uint64_t short_times[] = {1, 1000, 300000, 5000000, 20000000};

static int number_copy(void* to, const void* from, void* arg) {
  (void) arg;
  memcpy(to, from, sizeof(uint64_t));
  return 0;
}

/* Of every other channel the messages are values with a function of their own. */
static void open_items(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t size,
                       uvch_copy_cb copy, size_t capacity, uvch_broadcast_policy policy) {
  uvch_broadcast_options_t options;

  memset(&options, 0, sizeof(options));
  options.policy = policy;
  options.copy = (capacity + (size_t) policy) % 2 == 0 ? copy : NULL;
  support_check_eq(uvch_broadcast_init_ex(loop, rx, tx, size, capacity, &options), 0);
}

static void open_channel(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t capacity,
                         uvch_broadcast_policy policy) {
  open_items(loop, rx, tx, sizeof(uint64_t), number_copy, capacity, policy);
}

static void subscribe(uvch_broadcast_receiver_t* rx, const uvch_broadcast_sender_t* tx) {
  support_check_eq(uvch_broadcast_subscribe(NULL, rx, tx), 0);
}

/* A number that so many receivers will get. */
static void put(const uvch_broadcast_sender_t* tx, uint64_t value, int receivers) {
  support_check_eq(uvch_broadcast_send(tx, &value), receivers);
}

static void put_many(const uvch_broadcast_sender_t* tx, uint64_t first, uint64_t count, int receivers) {
  uint64_t value;

  for (value = first; value < first + count; value++) {
    put(tx, value, receivers);
  }
}

static uint64_t take(uvch_broadcast_receiver_t* rx) {
  uint64_t value = UINT64_MAX;

  support_check_eq(uvch_broadcast_try_recv(rx, &value), 0);
  return value;
}

static uint64_t wait_for(uvch_broadcast_receiver_t* rx) {
  uint64_t value = UINT64_MAX;

  support_check_eq(uvch_broadcast_recv_wait(rx, &value), 0);
  return value;
}

/* A wait that gets no message; nothing may be written then. Both forms by turns. */
static int wait_for_news(uvch_broadcast_receiver_t* rx, uint64_t timeout) {
  uint64_t value = 0x5a5a5a5a;
  int answer = timeout == 0 ? uvch_broadcast_recv_wait(rx, &value) : uvch_broadcast_recv_timedwait(rx, &value, timeout);

  support_check_eq(value, 0x5a5a5a5a);
  return answer;
}

/* What has ended says the same to every call. */
static void check_over(uvch_broadcast_receiver_t* rx, int answer) {
  uint64_t value = 0x5a5a5a5a;

  ck_assert_int_eq(wait_for_news(rx, 0), answer);
  ck_assert_int_eq(wait_for_news(rx, 1), answer);
  ck_assert_int_eq(wait_for_news(rx, UINT64_MAX), answer);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(rx, &value, 0), answer);
  ck_assert_int_eq(uvch_broadcast_try_recv(rx, &value), answer);
  ck_assert_uint_eq(value, 0x5a5a5a5a);
}

static void drop_sender(uvch_broadcast_sender_t* tx) {
  support_check_eq(uvch_broadcast_sender_close(tx), 0);
}

static void close_rx(uvch_broadcast_receiver_t* rx) {
  support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

static void close_channel(uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx) {
  drop_sender(tx);
  close_rx(rx);
}

/* A thread that makes one blocking call: a receive, a send, or a wait for the end of the receivers. */
typedef enum { RECEIVES, SENDS, WATCHES } what_t;

typedef struct sleeper_s {
  what_t what;
  uvch_broadcast_receiver_t* rx;
  uvch_broadcast_sender_t tx; /* a clone of its own */
  uint64_t timeout;           /* 0: none */
  uint64_t value;
  int answer;
  _Atomic(long) number;
  uv_thread_t thread;
} sleeper_t;

static int sleeper_call(sleeper_t* sleeper) {
  uint64_t timeout = sleeper->timeout;

  switch (sleeper->what) {
    case RECEIVES:
      return timeout == 0 ? uvch_broadcast_recv_wait(sleeper->rx, &sleeper->value)
                          : uvch_broadcast_recv_timedwait(sleeper->rx, &sleeper->value, timeout);
    case SENDS:
      return timeout == 0 ? uvch_broadcast_send_wait(&sleeper->tx, &sleeper->value)
                          : uvch_broadcast_send_timedwait(&sleeper->tx, &sleeper->value, timeout);
    default:
      return timeout == 0 ? uvch_broadcast_closed_wait(&sleeper->tx) : uvch_broadcast_closed_timedwait(&sleeper->tx, timeout);
  }
}

static void sleep_on_it(void* arg) {
  sleeper_t* sleeper = arg;

  atomic_store(&sleeper->number, support_thread_number());
  sleeper->answer = sleeper_call(sleeper);
  if (sleeper->what != RECEIVES) {
    uvch_broadcast_sender_close(&sleeper->tx);
  }
}

static void sleeper_spawn(sleeper_t* sleeper, what_t what) {
  sleeper->what = what;
  sleeper->answer = NOT_DONE;
  support_spawn(&sleeper->thread, sleep_on_it, sleeper);
  support_until_blocked(&sleeper->number);
  ck_assert_int_eq(sleeper->answer, NOT_DONE);
}

/* They return once it sleeps. */
static void receiver_sleeps(sleeper_t* sleeper, uvch_broadcast_receiver_t* rx, uint64_t timeout) {
  memset(sleeper, 0, sizeof(*sleeper));
  sleeper->rx = rx;
  sleeper->timeout = timeout;
  sleeper->value = UINT64_MAX;
  sleeper_spawn(sleeper, RECEIVES);
}

static void sender_sleeps(sleeper_t* sleeper, const uvch_broadcast_sender_t* tx, uint64_t value) {
  memset(sleeper, 0, sizeof(*sleeper));
  support_check_eq(uvch_broadcast_sender_clone(tx, &sleeper->tx), 0);
  sleeper->value = value;
  sleeper_spawn(sleeper, SENDS);
}

static void watcher_sleeps(sleeper_t* sleeper, const uvch_broadcast_sender_t* tx, uint64_t timeout) {
  memset(sleeper, 0, sizeof(*sleeper));
  support_check_eq(uvch_broadcast_sender_clone(tx, &sleeper->tx), 0);
  sleeper->timeout = timeout;
  sleeper_spawn(sleeper, WATCHES);
}

static void still_sleeps(sleeper_t* sleeper) {
  support_until_asleep(atomic_load(&sleeper->number));
}

static void sleeper_join(sleeper_t* sleeper, int answer) {
  support_join(&sleeper->thread);
  ck_assert_int_eq(sleeper->answer, answer);
}

/* What wakes a receiver. */

START_TEST(a_message_wakes_a_sleeping_receiver) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t sleeper;
  uint64_t i;

  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  for (i = 0; i < 20; i++) { /* each time another thread: the receiver may be handed on */
    receiver_sleeps(&sleeper, &rx, i % 2 == 0 ? 0 : UINT64_MAX);
    put(&tx, i, 1);
    sleeper_join(&sleeper, 0);
    ck_assert_uint_eq(sleeper.value, i);
  }
  close_channel(&rx, &tx);
}
END_TEST

enum { MANY = 8 };

START_TEST(a_message_wakes_every_sleeping_receiver) {
  uvch_broadcast_receiver_t rx[MANY];
  uvch_broadcast_receiver_t idle;
  uvch_broadcast_sender_t tx;
  sleeper_t sleepers[MANY];
  uint64_t round;
  size_t i;

  open_channel(NULL, &rx[0], &tx, CAPACITY, POLICY);
  for (i = 1; i < MANY; i++) {
    subscribe(&rx[i], &tx);
  }
  subscribe(&idle, &tx);
  for (round = 0; round < 5; round++) {
    for (i = 0; i < MANY; i++) {
      receiver_sleeps(&sleepers[i], &rx[i], i % 2 == 0 ? 0 : UINT64_MAX / 2);
    }
    put(&tx, round, MANY + 1);
    for (i = 0; i < MANY; i++) {
      sleeper_join(&sleepers[i], 0);
      ck_assert_uint_eq(sleepers[i].value, round);
    }
    ck_assert_uint_eq(take(&idle), round); /* nobody had to wait for the one that nobody woke */
  }
  for (i = 0; i < MANY; i++) {
    close_rx(&rx[i]);
  }
  close_channel(&idle, &tx);
}
END_TEST

START_TEST(the_last_sender_wakes_every_sleeping_receiver) {
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_receiver_t rx[MANY];
  uvch_broadcast_sender_t copy;
  uvch_broadcast_sender_t tx;
  sleeper_t sleepers[MANY];
  size_t i;

  open_channel(NULL, &rx[0], &tx, CAPACITY, POLICY);
  ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, &copy), 0);
  ck_assert_int_eq(uvch_broadcast_sender_downgrade(&tx, &weak), 0);
  for (i = 1; i < MANY; i++) {
    subscribe(&rx[i], &tx);
  }
  for (i = 0; i < MANY; i++) {
    receiver_sleeps(&sleepers[i], &rx[i], i % 2 == 0 ? 0 : UINT64_MAX);
  }
  drop_sender(&copy);
  for (i = 0; i < MANY; i++) {
    still_sleeps(&sleepers[i]);
    ck_assert_int_eq(sleepers[i].answer, NOT_DONE);
  }
  drop_sender(&tx);
  for (i = 0; i < MANY; i++) {
    sleeper_join(&sleepers[i], UV_EOF);
    ck_assert_uint_eq(sleepers[i].value, UINT64_MAX);
    check_over(&rx[i], UV_EOF);
    close_rx(&rx[i]);
  }
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &tx), UV_EPIPE);
  ck_assert_int_eq(uvch_broadcast_weak_sender_close(&weak), 0);
}
END_TEST

START_TEST(messages_come_before_the_end) {
  uvch_broadcast_receiver_t late;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t i;

  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  put_many(&tx, 0, CAPACITY, 1);
  drop_sender(&tx);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 1);
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  check_over(&rx, UV_EOF);
  ck_assert_int_eq(uvch_broadcast_resubscribe(NULL, &late, &rx), 0);
  check_over(&late, UV_EOF);
  close_rx(&late);
  close_rx(&rx);
}
END_TEST

START_TEST(a_thread_that_waits_to_send_keeps_the_channel_open) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t sender;
  uint64_t i;

  open_channel(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_WAIT);
  put_many(&tx, 0, CAPACITY, 1);
  sender_sleeps(&sender, &tx, CAPACITY);
  drop_sender(&tx);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 0);
  for (i = 0; i <= CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  check_over(&rx, UV_EOF);
  sleeper_join(&sender, 1);
  close_rx(&rx);
}
END_TEST

typedef struct request_s {
  uvch_broadcast_send_t req;
  uint64_t value;
  int status;
} request_t;

static void request_on_sent(uvch_broadcast_send_t* req, int status) {
  request_t* request = req->data;

  request->status = request->status == NOT_DONE ? status : NOT_DONE;
}

static void request_start(request_t* request, uv_loop_t* loop, const uvch_broadcast_sender_t* tx, uint64_t value) {
  memset(request, 0, sizeof(*request));
  request->req.data = request;
  request->value = value;
  request->status = NOT_DONE;
  ck_assert_int_eq(uvch_broadcast_queue_send(loop, &request->req, tx, &request->value, request_on_sent), 0);
}

START_TEST(a_request_that_waits_to_send_keeps_a_sleeping_receiver_from_its_end) {
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  support_runner_t runner;
  request_t request;
  sleeper_t sleeper;
  uv_loop_t loop;
  uint64_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_WAIT);
  subscribe(&slow, &tx);
  put_many(&tx, 0, CAPACITY, 2);
  request_start(&request, &loop, &tx, CAPACITY);
  drop_sender(&tx);
  ck_assert_uint_eq(uvch_broadcast_receiver_strong_count(&rx), 1);
  support_runner_start(&runner, &loop);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  receiver_sleeps(&sleeper, &rx, 0); /* the other one holds the message back */
  for (i = 0; i <= CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&slow), i);
  }
  sleeper_join(&sleeper, 0);
  ck_assert_uint_eq(sleeper.value, CAPACITY);
  check_over(&rx, UV_EOF);
  check_over(&slow, UV_EOF);
  support_runner_join(&runner);
  ck_assert_int_eq(request.status, 2);
  close_rx(&rx);
  close_rx(&slow);
  support_loop_close(&loop);
}
END_TEST

/* Falling behind. */

START_TEST(a_gap_is_told_once_before_what_is_kept) {
  int missed = (int) (CAPACITY + 5);
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t sleeper;
  uint64_t first;
  uint64_t i;
  int timed;

  open_channel(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_LAG);
  for (timed = 0; timed < 2; timed++) {
    put_many(&tx, 0, 2 * CAPACITY + 5, 1);
    ck_assert_int_eq(wait_for_news(&rx, timed == 0 ? 0 : 1), missed);
    ck_assert_uint_eq(uvch_broadcast_receiver_missed(&rx), (uint64_t) missed);
    ck_assert_uint_eq(uvch_broadcast_receiver_len(&rx), CAPACITY);
    put_many(&tx, 2 * CAPACITY + 5, 2, 1); /* and again, from there */
    ck_assert_int_eq(wait_for_news(&rx, timed == 0 ? UINT64_MAX : 0), 2);
    ck_assert_uint_eq(uvch_broadcast_receiver_missed(&rx), 2);
    first = (uint64_t) missed + 2;
    for (i = first; i < first + CAPACITY; i++) {
      ck_assert_uint_eq(wait_for(&rx), i);
    }
    receiver_sleeps(&sleeper, &rx, 0);
    put(&tx, 77, 1);
    sleeper_join(&sleeper, 0);
    ck_assert_uint_eq(sleeper.value, 77);
    ck_assert_uint_eq(uvch_broadcast_receiver_missed(&rx), 2);
  }
  put_many(&tx, 0, CAPACITY + 1, 1); /* before the end, too */
  drop_sender(&tx);
  ck_assert_int_eq(wait_for_news(&rx, 1), 1);
  for (i = 1; i <= CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  check_over(&rx, UV_EOF);
  close_rx(&rx);
}
END_TEST

START_TEST(exactly_full_is_no_gap) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t i;

  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  put_many(&tx, 0, CAPACITY, 1);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  ck_assert_uint_eq(uvch_broadcast_receiver_missed(&rx), 0);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_receiver_that_is_cut_off_hears_it_at_every_wait_and_the_others_go_on) {
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t sleeper;
  uint64_t i;

  open_channel(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_DISCONNECT);
  subscribe(&slow, &tx);
  for (i = 0; i <= CAPACITY; i++) {
    put(&tx, i, 2);
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  receiver_sleeps(&sleeper, &rx, 0);
  check_over(&slow, UV_ECONNABORTED);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&slow), 1);
  put(&tx, 77, 1); /* it has noticed */
  sleeper_join(&sleeper, 0);
  ck_assert_uint_eq(sleeper.value, 77);
  close_rx(&slow);
  subscribe(&slow, &tx); /* it may come back */
  put(&tx, 78, 2);
  ck_assert_uint_eq(wait_for(&slow), 78);
  ck_assert_uint_eq(wait_for(&rx), 78);
  close_rx(&slow);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_sleeping_sender_goes_on_when_the_slowest_receiver_reads_or_leaves) {
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t sender;
  uint64_t value = 0;
  uint64_t i;
  int leaves;

  for (leaves = 0; leaves < 2; leaves++) {
    open_channel(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_WAIT);
    subscribe(&slow, &tx);
    put_many(&tx, 0, CAPACITY, 2);
    ck_assert_int_eq(uvch_broadcast_send(&tx, &value), UV_EAGAIN);
    sender_sleeps(&sender, &tx, CAPACITY);
    for (i = 0; i < CAPACITY; i++) {
      ck_assert_uint_eq(wait_for(&rx), i);
    }
    still_sleeps(&sender);
    ck_assert_int_eq(sender.answer, NOT_DONE);
    if (leaves == 0) {
      ck_assert_uint_eq(wait_for(&slow), 0);
    } else {
      close_rx(&slow);
    }
    sleeper_join(&sender, leaves == 0 ? 2 : 1);
    ck_assert_uint_eq(wait_for(&rx), CAPACITY);
    if (leaves == 0) {
      close_rx(&slow);
    }
    close_channel(&rx, &tx);
  }
}
END_TEST

START_TEST(the_last_receiver_that_leaves_wakes_every_sleeping_sender) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t senders[MANY];
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_WAIT);
  put_many(&tx, 0, CAPACITY, 1);
  for (i = 0; i < MANY; i++) {
    sender_sleeps(&senders[i], &tx, 100 + i);
  }
  close_rx(&rx);
  for (i = 0; i < MANY; i++) {
    sleeper_join(&senders[i], UV_EPIPE);
  }
  subscribe(&rx, &tx); /* and what they had is not there */
  ck_assert_uint_eq(uvch_broadcast_receiver_len(&rx), 0);
  put(&tx, 7, 1);
  ck_assert_uint_eq(wait_for(&rx), 7);
  close_channel(&rx, &tx);
}
END_TEST

/* Time-outs. */

START_TEST(a_timeout_of_0_takes_what_is_there_and_tells_the_end_before_time) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 7;

  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_ETIMEDOUT);
  ck_assert_uint_eq(value, 7);
  put(&tx, 1, 1);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), 0);
  ck_assert_uint_eq(value, 1);
  put(&tx, 2, 1);
  drop_sender(&tx);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), 0);
  ck_assert_uint_eq(value, 2);
  check_over(&rx, UV_EOF);
  close_rx(&rx);
}
END_TEST

START_TEST(a_timeout_of_0_tells_a_gap_and_a_cut_before_time) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 7;

  open_channel(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_LAG);
  put_many(&tx, 0, CAPACITY + 3, 1);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), 3);
  ck_assert_uint_eq(value, 7);
  close_channel(&rx, &tx);
  open_channel(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_DISCONNECT);
  put_many(&tx, 0, CAPACITY + 1, 1);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_ECONNABORTED);
  ck_assert_uint_eq(value, 7);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_timed_receive_waits_at_least_its_time_and_takes_nothing) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t start;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  for (i = 0; i < COUNT(short_times); i++) {
    start = uv_hrtime();
    ck_assert_int_eq(wait_for_news(&rx, short_times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - start, short_times[i]);
  }
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), 1);
  put(&tx, 1, 1);
  ck_assert_uint_eq(wait_for(&rx), 1);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_huge_timeout_does_not_overflow) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t receiver;
  sleeper_t watcher;

  open_channel(NULL, &rx, &tx, 1, UVCH_BROADCAST_LAG);
  receiver_sleeps(&receiver, &rx, huge[_i]);
  watcher_sleeps(&watcher, &tx, huge[_i]);
  put(&tx, 5, 1);
  sleeper_join(&receiver, 0);
  ck_assert_uint_eq(receiver.value, 5);
  still_sleeps(&watcher);
  close_rx(&rx);
  sleeper_join(&watcher, 0);
  drop_sender(&tx);
}
END_TEST

/* Somebody sends, or closes the last sender, as close to the deadline as he can, a little before or after. */
typedef struct aim_s {
  uvch_broadcast_sender_t tx;
  support_result_t result;
  uint64_t rounds;
  _Atomic(uint64_t) round;    /* the one that began; the first is 1 */
  _Atomic(uint64_t) answered; /* the last in which it was sent */
  _Atomic(uint64_t) moment;
} aim_t;

enum { AIM_TIMEOUT = 30000, AIM_SPREAD = 8000 };

static void send_at_deadline(void* arg) {
  aim_t* aim = arg;
  uint64_t round;

  for (round = 1; round <= aim->rounds; round++) {
    support_until(atomic_load(&aim->round) == round);
    while (uv_hrtime() < atomic_load(&aim->moment)) {}
    if (round < aim->rounds) {
      support_expect_eq(&aim->result, uvch_broadcast_send(&aim->tx, &round), 1);
    } else {
      support_expect_eq(&aim->result, uvch_broadcast_sender_close(&aim->tx), 0);
    }
    atomic_store(&aim->answered, round);
  }
}

START_TEST(what_comes_at_the_deadline_comes_now_or_with_the_next_receive) {
  aim_t aim = {.rounds = support_scale(2000) + 1};
  uvch_broadcast_receiver_t rx;
  uv_thread_t thread;
  uint64_t round;
  uint64_t value;
  int r;

  open_channel(NULL, &rx, &aim.tx, CAPACITY, POLICY);
  support_spawn(&thread, send_at_deadline, &aim);
  for (round = 1; round <= aim.rounds; round++) {
    value = 0;
    atomic_store(&aim.moment, uv_hrtime() + AIM_TIMEOUT - AIM_SPREAD + round * 7919 % (2 * AIM_SPREAD));
    atomic_store(&aim.round, round);
    r = uvch_broadcast_recv_timedwait(&rx, &value, AIM_TIMEOUT);
    if (r == UV_ETIMEDOUT) {
      support_check_eq(value, 0);
      r = uvch_broadcast_recv_wait(&rx, &value);
    }
    support_check_eq(r, round < aim.rounds ? 0 : UV_EOF);
    support_check_eq(value, round < aim.rounds ? round : 0);
    support_until(atomic_load(&aim.answered) == round);
  }
  support_join(&thread);
  support_result_check(&aim.result);
  close_rx(&rx);
}
END_TEST

/* Where a thread may sleep. */

typedef struct inside_s {
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t other_tx; /* of a channel that has no receiver on the loop */
  uvch_broadcast_receiver_t other_rx;
  size_t calls;
} inside_t;

static void inside_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  inside_t* inside = rx->data;
  uint64_t value = 7;

  inside->calls += 1;
  if (status == UV_EOF) {
    close_rx(rx);
    return;
  }
  support_check_eq(status, 0);
  support_check(item != NULL);
  support_check_eq(uvch_broadcast_recv_wait(rx, &value), UV_EPERM);
  support_check_eq(uvch_broadcast_recv_timedwait(rx, &value, 0), UV_EPERM);
  support_check_eq(uvch_broadcast_closed_wait(&inside->tx), UV_EPERM);
  support_check_eq(uvch_broadcast_closed_timedwait(&inside->tx, 1), UV_EPERM);
  support_check_eq(uvch_broadcast_recv_timedwait(&inside->other_rx, &value, 1), UV_ETIMEDOUT);
  support_check_eq(uvch_broadcast_closed_timedwait(&inside->other_tx, 1), UV_ETIMEDOUT);
  support_check_eq(value, 7);
  put(&inside->other_tx, 8, 1);
  support_check_eq(wait_for(&inside->other_rx), 8);
  drop_sender(&inside->tx);
}

/* Also on a loop that has one of several receivers, whichever callback it is. */
START_TEST(a_wait_on_the_loop_of_a_receiver_is_refused) {
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_receiver_t rx;
  support_runner_t runner;
  inside_t inside;
  uv_loop_t loop;

  memset(&inside, 0, sizeof(inside));
  support_loop_init(&loop);
  open_channel(NULL, &plain, &inside.tx, CAPACITY, POLICY);
  open_channel(NULL, &inside.other_rx, &inside.other_tx, CAPACITY, POLICY);
  ck_assert_int_eq(uvch_broadcast_subscribe(&loop, &rx, &inside.tx), 0);
  rx.data = &inside;
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, inside_on_recv), 0);
  put(&inside.tx, 1, 2);
  support_runner_start(&runner, &loop);
  ck_assert_uint_eq(wait_for(&plain), 1);
  check_over(&plain, UV_EOF);
  support_runner_join(&runner);
  ck_assert_uint_eq(inside.calls, 2);
  close_channel(&inside.other_rx, &inside.other_tx);
  close_rx(&plain);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_receiver_with_a_loop_cannot_be_waited_for_and_loses_nothing) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 7;
  uv_loop_t loop;
  int empty;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 1000), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), 0);
  for (empty = 0; empty < 2; empty++) {
    if (empty == 0) {
      put(&tx, 1, 1);
    }
    ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_EPERM);
    ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_EPERM);
    ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, UINT64_MAX), UV_EPERM);
    ck_assert_uint_eq(value, 7);
    if (empty == 0) {
      ck_assert_uint_eq(take(&rx), 1);
    }
  }
  drop_sender(&tx);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_EPERM);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &value), UV_EOF);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

typedef struct full_s {
  uvch_broadcast_sender_t tx;
  size_t calls;
} full_t;

/* With another, slower receiver the channel is full here. */
static void full_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  full_t* full = rx->data;
  uint64_t value = 1000;

  if (status == UV_EOF) {
    close_rx(rx);
    return;
  }
  support_check_eq(status, 0);
  support_check(item != NULL);
  full->calls += 1;
  if (full->calls > 1) {
    return;
  }
  support_check_eq(uvch_broadcast_send_wait(&full->tx, &value), UV_EPERM);
  support_check_eq(uvch_broadcast_send_timedwait(&full->tx, &value, 1), UV_EPERM);
  support_check_eq(uvch_broadcast_send(&full->tx, &value), UV_EAGAIN);
  drop_sender(&full->tx);
}

START_TEST(a_send_that_would_sleep_on_the_loop_of_a_receiver_is_refused) {
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_receiver_t rx;
  support_runner_t runner;
  uv_loop_t loop;
  full_t full;
  uint64_t i;

  memset(&full, 0, sizeof(full));
  support_loop_init(&loop);
  open_channel(&loop, &rx, &full.tx, CAPACITY, UVCH_BROADCAST_WAIT);
  subscribe(&slow, &full.tx);
  rx.data = &full;
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, full_on_recv), 0);
  put_many(&full.tx, 0, CAPACITY, 2);
  support_runner_start(&runner, &loop);
  support_runner_join(&runner);
  ck_assert_uint_eq(full.calls, CAPACITY);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&slow), i);
  }
  check_over(&slow, UV_EOF);
  close_rx(&slow);
  support_loop_close(&loop);
}
END_TEST

START_TEST(null_and_closed_ends_are_refused) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 7;

  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  put(&tx, 1, 1);
  ck_assert_int_eq(uvch_broadcast_recv_wait(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(NULL, &value, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, NULL, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed_wait(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(NULL, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_wait(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, NULL, 1), UV_EINVAL);
  ck_assert_uint_eq(wait_for(&rx), 1);
  close_channel(&rx, &tx);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 1), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 1), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 1), UV_EBADF);
  ck_assert_uint_eq(value, 7);
}
END_TEST

START_TEST(a_wait_without_memory_is_refused_and_loses_nothing) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 7;

  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  put(&tx, 0, 1); /* makes what it needs to keep messages */
  ck_assert_uint_eq(take(&rx), 0);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 1000), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 1000), UV_ENOMEM);
  ck_assert_uint_eq(value, 7);
  support_alloc_fail_from(0);
  put(&tx, 1, 1); /* nobody waits */
  support_alloc_fail_from(1);
  ck_assert_uint_eq(wait_for(&rx), 1);
  close_rx(&rx);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), 0); /* which needs none */
  support_alloc_fail_from(0);
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1);
  drop_sender(&tx);
}
END_TEST

/* What is copied out. */

START_TEST(a_wait_copies_exactly_one_message_of_any_size) {
  static const size_t sizes[] = {0, 1, 8, 24, 200, 1000};
  enum { GUARD = 16 };
  unsigned char sent[1000];
  unsigned char got[1000 + GUARD];
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  size_t size = sizes[_i];
  size_t round;
  size_t i;

  ck_assert_int_eq(uvch_broadcast_init(NULL, &rx, &tx, size, 2), 0);
  for (round = 0; round < 7; round++) {
    for (i = 0; i < size; i++) {
      sent[i] = (unsigned char) (i * 7 + round);
    }
    memset(got, 0xee, sizeof(got));
    ck_assert_int_eq(uvch_broadcast_send(&tx, size == 0 ? NULL : sent), 1);
    if (round % 2 == 0) {
      ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, size == 0 ? NULL : got), 0);
    } else {
      ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, size == 0 ? NULL : got, UINT64_MAX), 0);
    }
    ck_assert_int_eq(memcmp(sent, got, size), 0);
    for (i = size; i < sizeof(got); i++) {
      ck_assert_uint_eq(got[i], 0xee);
    }
  }
  close_channel(&rx, &tx);
}
END_TEST

/* Values that own a block of memory. Every third copy fails. */
typedef struct makers_s {
  int copies;
  int refused;
  int drops;
} makers_t;

static int block_copy(void* to, const void* from, void* arg) {
  makers_t* makers = arg;
  const uint64_t* source;
  uint64_t* copy;

  memcpy(&source, from, sizeof(source));
  if (*source % 3 == 2) {
    makers->refused += 1;
    return UV_ENOBUFS;
  }
  copy = malloc(sizeof(*copy));
  if (copy == NULL) {
    return UV_ENOMEM;
  }
  *copy = *source;
  memcpy(to, &copy, sizeof(copy));
  makers->copies += 1;
  return 0;
}

static void block_drop(void* item, void* arg) {
  makers_t* makers = arg;
  uint64_t* block;

  memcpy(&block, item, sizeof(block));
  free(block);
  makers->drops += 1;
}

static void put_block(const uvch_broadcast_sender_t* tx, uint64_t value, int receivers) {
  uint64_t* block = malloc(sizeof(*block));

  ck_assert_ptr_nonnull(block);
  *block = value;
  support_check_eq(uvch_broadcast_send(tx, &block), receivers);
}

START_TEST(a_wait_gets_a_value_of_its_own_and_a_copy_that_fails_counts_as_read) {
  enum { ROUNDS = 9 };
  uvch_broadcast_options_t options;
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  makers_t makers;
  uint64_t round;
  uint64_t* block;
  size_t k;
  int r;

  memset(&makers, 0, sizeof(makers));
  memset(&options, 0, sizeof(options));
  options.policy = POLICY;
  options.copy = block_copy;
  options.drop = block_drop;
  options.arg = &makers;
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, &rx[0], &tx, sizeof(block), CAPACITY, &options), 0);
  subscribe(&rx[1], &tx);
  for (round = 0; round < ROUNDS; round++) {
    put_block(&tx, round, 2);
    for (k = 0; k < 2; k++) {
      block = NULL;
      r = k == 0 ? uvch_broadcast_recv_wait(&rx[k], &block) : uvch_broadcast_recv_timedwait(&rx[k], &block, UINT64_MAX);
      ck_assert_int_eq(r, round % 3 == 2 ? UV_ENOBUFS : 0);
      ck_assert_int_eq(block != NULL, r == 0);
      ck_assert(block == NULL || *block == round);
      free(block);
    }
    ck_assert_int_eq(makers.drops, (int) round + 1); /* both have read it */
  }
  ck_assert_int_eq(makers.copies, 2 * ROUNDS / 3 * 2);
  ck_assert_int_eq(makers.refused, 2 * ROUNDS / 3);
  put_block(&tx, 0, 2);
  close_rx(&rx[1]);
  ck_assert_int_eq(makers.drops, ROUNDS);
  close_channel(&rx[0], &tx);
  ck_assert_int_eq(makers.drops, ROUNDS + 1);
}
END_TEST

START_TEST(messages_that_cannot_be_copied_are_not_taken_by_a_wait) {
  uvch_broadcast_options_t options;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t* block = NULL;
  makers_t makers;

  memset(&makers, 0, sizeof(makers));
  memset(&options, 0, sizeof(options));
  options.policy = POLICY;
  options.drop = block_drop;
  options.arg = &makers;
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, &rx, &tx, sizeof(block), CAPACITY, &options), 0);
  put_block(&tx, 1, 1);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &block), UV_ENOTSUP);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &block, 1), UV_ENOTSUP);
  ck_assert_ptr_null(block);
  ck_assert_uint_eq(uvch_broadcast_receiver_len(&rx), 1);
  ck_assert_int_eq(makers.drops, 0);
  close_channel(&rx, &tx);
  ck_assert_int_eq(makers.drops, 1);
}
END_TEST

/* From a thread to a loop. */

static void count_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  uint64_t* next = rx->data;
  uint64_t value;

  if (status == UV_EOF) {
    close_rx(rx);
    return;
  }
  support_check_eq(status, 0);
  memcpy(&value, item, sizeof(value));
  support_check_eq(value, *next);
  *next += 1;
}

START_TEST(a_receiver_that_threads_have_waited_for_goes_on_on_a_loop) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t sleeper;
  uv_loop_t loop;
  uint64_t next = 1;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  receiver_sleeps(&sleeper, &rx, 0);
  put(&tx, 0, 1);
  sleeper_join(&sleeper, 0);
  ck_assert_int_eq(wait_for_news(&rx, 1000), UV_ETIMEDOUT);
  put(&tx, 1, 1);
  rx.data = &next;
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), 0);
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, count_on_recv), 0);
  while (next < 2) {
    uv_run(&loop, UV_RUN_ONCE);
  }
  put(&tx, 2, 1);
  drop_sender(&tx);
  support_loop_end(&loop);
  ck_assert_uint_eq(next, 3);
}
END_TEST

/* A receiver that comes to a loop, behind the others there or level with them, holds up nobody who waits for room. */
typedef struct coming_over_s {
  uv_loop_t loop;
  uv_loop_t other;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_sender_t tx;
  request_t request;
  uint64_t next[2];
  bool inside; /* it comes in the last callback */
} coming_over_t;

static void come_over(coming_over_t* over) {
  support_check_eq(uvch_attach(&over->loop, (uvch_handle_t*) &over->plain), 0);
}

static void over_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  coming_over_t* over = rx->data;
  uint64_t* next = &over->next[rx == &over->plain];
  uint64_t value;

  support_check_eq(status, 0);
  memcpy(&value, item, sizeof(value));
  support_check_eq(value, *next);
  *next += 1;
  if (*next == uvch_broadcast_sender_capacity(&over->tx)) {
    support_check_eq(uvch_broadcast_recv_stop(rx), 0);
    if (over->inside) {
      come_over(over);
    }
  }
}

static void over_open(coming_over_t* over, size_t capacity) {
  memset(over, 0, sizeof(*over));
  support_loop_init(&over->loop);
  support_loop_init(&over->other);
  open_channel(&over->loop, &over->rx, &over->tx, capacity, UVCH_BROADCAST_WAIT);
  subscribe(&over->plain, &over->tx);
  over->rx.data = over;
  over->plain.data = over;
  put_many(&over->tx, 0, capacity, 2);
  request_start(&over->request, &over->other, &over->tx, capacity);
}

static void over_end(coming_over_t* over) {
  while (over->request.status == NOT_DONE) { /* both loops may wait for each other's work */
    uv_run(&over->loop, UV_RUN_NOWAIT);
    uv_run(&over->other, UV_RUN_NOWAIT);
  }
  ck_assert_int_eq(over->request.status, 2);
  ck_assert_uint_eq(uvch_broadcast_receiver_len(&over->rx), 1);
  close_rx(&over->rx);
  close_channel(&over->plain, &over->tx);
  support_loop_end(&over->loop);
  support_loop_end(&over->other);
}

/* Whoever is first has read all when the other comes. */
START_TEST(a_receiver_that_comes_to_a_loop_behind_the_others_makes_room_when_it_is_level) {
  size_t capacity = capacities[(size_t) _i % COUNT(capacities)];
  coming_over_t over;
  uint64_t i;

  over_open(&over, capacity);
  for (i = 0; i < capacity; i++) {
    ck_assert_uint_eq(take(&over.rx), i);
  }
  come_over(&over);
  if ((size_t) _i / COUNT(capacities) == 0) {
    for (i = 0; i < capacity; i++) {
      ck_assert_uint_eq(take(&over.plain), i);
    }
  } else {
    ck_assert_int_eq(uvch_broadcast_recv_start(&over.plain, over_on_recv), 0);
    while (over.next[1] < capacity) {
      uv_run(&over.loop, UV_RUN_ONCE);
    }
  }
  over_end(&over);
}
END_TEST

START_TEST(a_receiver_that_comes_to_a_loop_in_a_callback_keeps_nobody_from_the_room) {
  uint64_t i;
  coming_over_t over;

  over_open(&over, CAPACITY);
  over.inside = true;
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(take(&over.plain), i);
  }
  ck_assert_int_eq(uvch_broadcast_recv_start(&over.rx, over_on_recv), 0);
  while (over.next[0] < CAPACITY) {
    uv_run(&over.loop, UV_RUN_ONCE);
  }
  over_end(&over);
}
END_TEST

/* Many threads, each with a receiver; senders are threads, and loops that send by requests. A message is a pointer to what was
 * written before, without any lock. */

enum { CROWD = 8, SENDERS = 4, REQUESTS = 3 };

typedef struct news_s {
  size_t sender;
  size_t number;
  char text[24];
} news_t;

typedef struct crowd_case_s {
  uvch_broadcast_policy policy;
  size_t capacity;
  size_t count; /* messages of each sender */
} crowd_case_t;

static const crowd_case_t crowd_cases[] = {
    {UVCH_BROADCAST_LAG, 1, 2000},        {UVCH_BROADCAST_LAG, 3, 2000},        {UVCH_BROADCAST_LAG, 1000, 4000},
    {UVCH_BROADCAST_WAIT, 1, 150},        {UVCH_BROADCAST_WAIT, 3, 300},        {UVCH_BROADCAST_WAIT, 1000, 2000},
    {UVCH_BROADCAST_DISCONNECT, 3, 2000}, {UVCH_BROADCAST_DISCONNECT, 0, 2000},
};

typedef struct crowd_s crowd_t;

typedef struct portion_s {
  uvch_broadcast_send_t req;
  const news_t* item;
} portion_t;

typedef struct crowd_sender_s {
  crowd_t* crowd;
  uvch_broadcast_sender_t tx;
  news_t* news;
  size_t index;
  size_t made;
  size_t sent; /* those that went in; they are the first ones */
  portion_t portions[REQUESTS];
  size_t open; /* requests on their way */
  uv_loop_t loop;
  uv_thread_t thread;
} crowd_sender_t;

typedef struct crowd_receiver_s {
  crowd_t* crowd;
  uvch_broadcast_receiver_t rx;
  size_t next[SENDERS];
  uint64_t values;
  uint64_t missed;
  int end;
  uv_thread_t thread;
} crowd_receiver_t;

struct crowd_s {
  uvch_broadcast_policy policy;
  size_t capacity;
  size_t count;
  crowd_sender_t senders[SENDERS];
  crowd_receiver_t receivers[CROWD];
  support_result_t result;
};

static int news_copy(void* to, const void* from, void* arg) {
  (void) arg;
  memcpy(to, from, sizeof(const news_t*));
  return 0;
}

static const news_t* crowd_make(crowd_sender_t* self) {
  news_t* news = &self->news[self->made];

  news->sender = self->index;
  news->number = self->made;
  memset(news->text, 'a' + (int) (self->made % 26), sizeof(news->text));
  self->made += 1;
  return news;
}

/* Only where receivers can be cut off they can all be gone before the end. */
static bool crowd_sent(crowd_sender_t* self, int answer, size_t count) {
  if (answer == UV_EPIPE && self->crowd->policy == UVCH_BROADCAST_DISCONNECT) {
    return false;
  }
  self->sent += count;
  return support_expect(&self->crowd->result, answer >= 1 && answer <= CROWD);
}

static void crowd_send_on_thread(void* arg) {
  crowd_sender_t* self = arg;
  bool goes_on = true;

  while (goes_on && self->made < self->crowd->count) {
    const news_t* news = crowd_make(self);

    goes_on = crowd_sent(self, uvch_broadcast_send_wait(&self->tx, &news), 1);
  }
  support_expect_eq(&self->crowd->result, uvch_broadcast_sender_close(&self->tx), 0);
}

static void crowd_request(crowd_sender_t* self, portion_t* portion);

static void crowd_on_sent(uvch_broadcast_send_t* req, int status) {
  portion_t* portion = (portion_t*) (void*) req;
  crowd_sender_t* self = req->data;

  self->open -= 1;
  if (crowd_sent(self, status, 1) && self->made < self->crowd->count) {
    crowd_request(self, portion);
  }
}

static void crowd_request(crowd_sender_t* self, portion_t* portion) {
  int err;

  portion->req.data = self;
  portion->item = crowd_make(self);
  err = uvch_broadcast_queue_send(&self->loop, &portion->req, &self->tx, &portion->item, crowd_on_sent);
  if (err == 0) {
    self->open += 1;
  } else {
    crowd_sent(self, err, 0);
  }
}

static void crowd_send_on_loop(void* arg) {
  crowd_sender_t* self = arg;
  size_t i;

  for (i = 0; i < REQUESTS && self->made < self->crowd->count; i++) {
    crowd_request(self, &self->portions[i]);
  }
  support_expect_eq(&self->crowd->result, uv_run(&self->loop, UV_RUN_DEFAULT), 0);
  support_expect_eq(&self->crowd->result, self->open, 0);
  support_expect_eq(&self->crowd->result, uvch_broadcast_sender_close(&self->tx), 0);
}

static void crowd_take(crowd_receiver_t* self, const news_t* news) {
  support_result_t* result = &self->crowd->result;
  size_t k;

  if (!support_expect(result, news->sender < SENDERS && news->number < self->crowd->count)) {
    return;
  }
  if (self->missed == 0) {
    support_expect_eq(result, news->number, self->next[news->sender]);
  } else {
    support_expect(result, news->number >= self->next[news->sender]);
  }
  for (k = 0; k < sizeof(news->text); k++) {
    support_expect_eq(result, news->text[k], 'a' + (int) (news->number % 26));
  }
  self->next[news->sender] = news->number + 1;
  self->values += 1;
}

static void crowd_receive(void* arg) {
  crowd_receiver_t* self = arg;
  const news_t* news = NULL;
  size_t turn;
  int r = 0;

  for (turn = 0; self->end == 0; turn++) {
    if (turn % 3 == 0) {
      r = uvch_broadcast_recv_timedwait(&self->rx, &news, 10000);
    } else if (turn % 3 == 1) {
      r = uvch_broadcast_recv_wait(&self->rx, &news);
    } else {
      r = uvch_broadcast_try_recv(&self->rx, &news);
    }
    if (r == 0) {
      crowd_take(self, news);
    } else if (r > 0) {
      self->missed += (uint64_t) r;
    } else if (r == UV_EOF || r == UV_ECONNABORTED) {
      self->end = r;
    } else {
      support_expect(&self->crowd->result, (turn % 3 == 0 && r == UV_ETIMEDOUT) || (turn % 3 == 2 && r == UV_EAGAIN));
    }
  }
  support_expect_eq(&self->crowd->result, uvch_close((uvch_handle_t*) &self->rx, NULL), 0);
}

static void crowd_check(crowd_t* crowd, const crowd_receiver_t* receiver) {
  uint64_t sent = 0;
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    ck_assert(crowd->policy == UVCH_BROADCAST_DISCONNECT || crowd->senders[i].sent == crowd->count);
    sent += crowd->senders[i].sent;
  }
  if (receiver->end == UV_EOF) {
    ck_assert_uint_eq(receiver->values + receiver->missed, sent);
  } else {
    ck_assert_int_eq(crowd->policy, UVCH_BROADCAST_DISCONNECT);
    ck_assert_uint_lt(crowd->capacity, sent); /* else nobody can fall behind */
  }
  ck_assert(crowd->policy == UVCH_BROADCAST_LAG || receiver->missed == 0);
  ck_assert_uint_le(receiver->missed, sent - crowd->capacity < sent ? sent - crowd->capacity : 0);
}

START_TEST(many_threads_receive_what_threads_and_loops_send) {
  static crowd_t crowd;
  uvch_broadcast_sender_t tx;
  size_t i;

  memset(&crowd, 0, sizeof(crowd));
  crowd.policy = crowd_cases[_i].policy;
  crowd.count = support_scale(crowd_cases[_i].count);
  crowd.capacity = crowd_cases[_i].capacity != 0 ? crowd_cases[_i].capacity : crowd.count * SENDERS;
  open_items(NULL, &crowd.receivers[0].rx, &tx, sizeof(const news_t*), news_copy, crowd.capacity, crowd.policy);
  for (i = 0; i < CROWD; i++) {
    crowd.receivers[i].crowd = &crowd;
    if (i > 0) {
      subscribe(&crowd.receivers[i].rx, &tx);
    }
  }
  for (i = 0; i < SENDERS; i++) {
    crowd.senders[i].crowd = &crowd;
    crowd.senders[i].index = i;
    crowd.senders[i].news = calloc(crowd.count, sizeof(news_t));
    ck_assert_ptr_nonnull(crowd.senders[i].news);
    support_loop_init(&crowd.senders[i].loop);
    ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, &crowd.senders[i].tx), 0);
  }
  drop_sender(&tx);
  for (i = 0; i < CROWD; i++) {
    support_spawn(&crowd.receivers[i].thread, crowd_receive, &crowd.receivers[i]);
  }
  for (i = 0; i < SENDERS; i++) {
    support_spawn(&crowd.senders[i].thread, i % 2 == 0 ? crowd_send_on_thread : crowd_send_on_loop, &crowd.senders[i]);
  }
  for (i = 0; i < SENDERS; i++) {
    support_join(&crowd.senders[i].thread);
  }
  for (i = 0; i < CROWD; i++) {
    support_join(&crowd.receivers[i].thread);
  }
  support_result_check(&crowd.result);
  for (i = 0; i < CROWD; i++) {
    crowd_check(&crowd, &crowd.receivers[i]);
  }
  for (i = 0; i < SENDERS; i++) {
    support_loop_close(&crowd.senders[i].loop);
    free(crowd.senders[i].news);
  }
}
END_TEST

/* The end of the receivers. */

START_TEST(a_wait_for_the_end_of_the_receivers_does_not_sleep_if_there_is_none) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;

  open_channel(NULL, NULL, &tx, CAPACITY, POLICY);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), 0); /* before the clock is looked at */
  subscribe(&rx, &tx);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  put(&tx, 1, 1);
  close_rx(&rx);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, UINT64_MAX), 0);
  subscribe(&rx, &tx);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 1), UV_ETIMEDOUT);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(threads_sleep_until_the_last_receiver_is_gone) {
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  sleeper_t sleepers[MANY];
  size_t i;

  open_channel(NULL, &rx[0], &tx, CAPACITY, POLICY);
  for (i = 0; i < MANY; i++) {
    watcher_sleeps(&sleepers[i], &tx, i % 2 == 0 ? 0 : UINT64_MAX - 1);
  }
  put(&tx, 1, 1); /* nothing to them */
  ck_assert_uint_eq(take(&rx[0]), 1);
  subscribe(&rx[1], &tx);
  close_rx(&rx[0]);
  for (i = 0; i < MANY; i++) {
    still_sleeps(&sleepers[i]);
    ck_assert_int_eq(sleepers[i].answer, NOT_DONE);
  }
  close_rx(&rx[1]);
  for (i = 0; i < MANY; i++) {
    sleeper_join(&sleepers[i], 0);
  }
  drop_sender(&tx);
}
END_TEST

START_TEST(a_timed_wait_for_the_end_takes_at_least_its_time_and_is_no_sender) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t sleeper;
  uint64_t start;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  for (i = 0; i < COUNT(short_times); i++) {
    start = uv_hrtime();
    ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, short_times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - start, short_times[i]);
  }
  watcher_sleeps(&sleeper, &tx, 0);
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 2); /* the thread's sender, not its wait */
  close_rx(&rx);
  sleeper_join(&sleeper, 0);
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1);
  drop_sender(&tx);
}
END_TEST

START_TEST(a_receiver_that_is_cut_off_counts_until_its_thread_has_noticed) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t sleeper;
  uint64_t value = 7;

  open_channel(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_DISCONNECT);
  watcher_sleeps(&sleeper, &tx, 0);
  put_many(&tx, 0, CAPACITY + 3, 1);
  still_sleeps(&sleeper);
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), 1);
  ck_assert_int_eq(wait_for_news(&rx, 0), UV_ECONNABORTED);
  sleeper_join(&sleeper, 0);
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), 0);
  ck_assert_int_eq(uvch_broadcast_send(&tx, &value), UV_EPIPE);
  close_channel(&rx, &tx);
}
END_TEST

/* The last receiver goes and another comes at once. A thread that wakes in between is told, one that wakes later sleeps on; a
 * sleeping one is not so fast every time. */

typedef struct late_s {
  uvch_broadcast_sender_t tx;
  int answer;
  _Atomic(bool) done;
  _Atomic(long) number;
  support_latch_t over;
  uv_thread_t thread;
} late_t;

static void watch_and_stay(void* arg) {
  late_t* late = arg;

  atomic_store(&late->number, support_thread_number());
  late->answer = uvch_broadcast_closed_wait(&late->tx);
  atomic_store(&late->done, true);
  support_latch_wait(&late->over); /* also asleep */
}

/* Whether it slept on. */
static bool receivers_change(uvch_broadcast_sender_t* tx) {
  uvch_broadcast_receiver_t rx;
  bool slept_on;
  late_t late;

  memset(&late, 0, sizeof(late));
  late.answer = NOT_DONE;
  support_latch_init(&late.over, 1);
  subscribe(&rx, tx);
  ck_assert_int_eq(uvch_broadcast_sender_clone(tx, &late.tx), 0);
  support_spawn(&late.thread, watch_and_stay, &late);
  support_until_blocked(&late.number);
  close_rx(&rx);
  subscribe(&rx, tx);
  support_until_asleep(atomic_load(&late.number));
  slept_on = !atomic_load(&late.done);
  close_rx(&rx);
  support_latch_arrive(&late.over);
  support_join(&late.thread);
  support_latch_destroy(&late.over);
  ck_assert_int_eq(late.answer, 0);
  drop_sender(&late.tx);
  return slept_on;
}

START_TEST(a_new_receiver_keeps_a_thread_waiting_for_the_end) {
  uvch_broadcast_sender_t tx;

  open_channel(NULL, NULL, &tx, CAPACITY, POLICY);
  while (!receivers_change(&tx)) {}
  drop_sender(&tx);
}
END_TEST

/* Receivers come and go while threads wait for there to be none. Each wait may catch a moment without one or not; after the last
 * one has gone it has to end. */

typedef struct coming_s {
  uvch_broadcast_sender_t tx;
  support_result_t result;
  _Atomic(size_t) seen;
  _Atomic(bool) over;
  uv_thread_t thread;
} coming_t;

static void watch_them_come_and_go(void* arg) {
  coming_t* coming = arg;
  int r;

  while (!atomic_load(&coming->over)) {
    r = uvch_broadcast_closed_timedwait(&coming->tx, 20000);
    support_expect(&coming->result, r == 0 || r == UV_ETIMEDOUT);
    atomic_fetch_add(&coming->seen, 1);
  }
  support_expect_eq(&coming->result, uvch_broadcast_closed_wait(&coming->tx), 0);
}

START_TEST(a_wait_for_the_end_ends_however_receivers_come_and_go) {
  coming_t coming[2];
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  size_t rounds = support_scale(20000);
  size_t i;

  memset(coming, 0, sizeof(coming));
  open_channel(NULL, &rx, &tx, CAPACITY, POLICY);
  for (i = 0; i < COUNT(coming); i++) {
    ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, &coming[i].tx), 0);
    support_spawn(&coming[i].thread, watch_them_come_and_go, &coming[i]);
  }
  for (i = 0; i < rounds || atomic_load(&coming[0].seen) == 0 || atomic_load(&coming[1].seen) == 0; i++) {
    if (i % 7 == 0) {
      put(&tx, i, 1);
    }
    close_rx(&rx);
    subscribe(&rx, &tx);
  }
  for (i = 0; i < COUNT(coming); i++) {
    atomic_store(&coming[i].over, true);
  }
  close_rx(&rx);
  for (i = 0; i < COUNT(coming); i++) {
    support_join(&coming[i].thread);
    support_result_check(&coming[i].result);
    drop_sender(&coming[i].tx);
  }
  drop_sender(&tx);
}
END_TEST

START_TEST(a_receiver_that_its_loop_closes_wakes_a_thread_that_waits_for_the_end) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sleeper_t sleeper;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY, POLICY);
  watcher_sleeps(&sleeper, &tx, 0);
  close_rx(&rx);
  sleeper_join(&sleeper, 0); /* the loop need not run for that */
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("broadcast: threads");
  TCase* wakes = support_case(suite, "what wakes");
  TCase* behind = support_case(suite, "falling behind");
  TCase* time = support_case(suite, "time");
  TCase* where = support_case(suite, "where");
  TCase* copies = support_case(suite, "copies");
  TCase* moves = support_case(suite, "from a thread to a loop");
  TCase* crowds = support_case(suite, "crowds");
  TCase* end = support_case(suite, "the end of the receivers");

  add_for_every_channel(wakes, a_message_wakes_a_sleeping_receiver);
  add_for_every_channel(wakes, a_message_wakes_every_sleeping_receiver);
  add_for_every_channel(wakes, the_last_sender_wakes_every_sleeping_receiver);
  add_for_every_channel(wakes, messages_come_before_the_end);
  add_for_every_capacity(wakes, a_thread_that_waits_to_send_keeps_the_channel_open);
  add_for_every_capacity(wakes, a_request_that_waits_to_send_keeps_a_sleeping_receiver_from_its_end);
  add_for_every_capacity(behind, a_gap_is_told_once_before_what_is_kept);
  add_for_every_channel(behind, exactly_full_is_no_gap);
  add_for_every_capacity(behind, a_receiver_that_is_cut_off_hears_it_at_every_wait_and_the_others_go_on);
  add_for_every_capacity(behind, a_sleeping_sender_goes_on_when_the_slowest_receiver_reads_or_leaves);
  add_for_every_capacity(behind, the_last_receiver_that_leaves_wakes_every_sleeping_sender);
  add_for_every_channel(time, a_timeout_of_0_takes_what_is_there_and_tells_the_end_before_time);
  add_for_every_capacity(time, a_timeout_of_0_tells_a_gap_and_a_cut_before_time);
  add_for_every_channel(time, a_timed_receive_waits_at_least_its_time_and_takes_nothing);
  tcase_add_loop_test(time, a_huge_timeout_does_not_overflow, 0, (int) COUNT(huge));
  add_for_every_channel(time, what_comes_at_the_deadline_comes_now_or_with_the_next_receive);
  add_for_every_channel(where, a_wait_on_the_loop_of_a_receiver_is_refused);
  add_for_every_channel(where, a_receiver_with_a_loop_cannot_be_waited_for_and_loses_nothing);
  add_for_every_capacity(where, a_send_that_would_sleep_on_the_loop_of_a_receiver_is_refused);
  add_for_every_channel(where, null_and_closed_ends_are_refused);
  add_for_every_channel(where, a_wait_without_memory_is_refused_and_loses_nothing);
  tcase_add_loop_test(copies, a_wait_copies_exactly_one_message_of_any_size, 0, 6);
  add_for_every_channel(copies, a_wait_gets_a_value_of_its_own_and_a_copy_that_fails_counts_as_read);
  add_for_every_channel(copies, messages_that_cannot_be_copied_are_not_taken_by_a_wait);
  add_for_every_channel(moves, a_receiver_that_threads_have_waited_for_goes_on_on_a_loop);
  tcase_add_loop_test(moves, a_receiver_that_comes_to_a_loop_behind_the_others_makes_room_when_it_is_level, 0,
                      2 * (int) COUNT(capacities));
  add_for_every_capacity(moves, a_receiver_that_comes_to_a_loop_in_a_callback_keeps_nobody_from_the_room);
  tcase_add_loop_test(crowds, many_threads_receive_what_threads_and_loops_send, 0, (int) COUNT(crowd_cases));
  add_for_every_channel(end, a_wait_for_the_end_of_the_receivers_does_not_sleep_if_there_is_none);
  add_for_every_channel(end, threads_sleep_until_the_last_receiver_is_gone);
  add_for_every_channel(end, a_timed_wait_for_the_end_takes_at_least_its_time_and_is_no_sender);
  add_for_every_capacity(end, a_receiver_that_is_cut_off_counts_until_its_thread_has_noticed);
  add_for_every_channel(end, a_new_receiver_keeps_a_thread_waiting_for_the_end);
  add_for_every_channel(end, a_wait_for_the_end_ends_however_receivers_come_and_go);
  add_for_every_channel(end, a_receiver_that_its_loop_closes_wakes_a_thread_that_waits_for_the_end);
  return support_main(suite);
}
