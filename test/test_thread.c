/* SPDX-License-Identifier: MIT
 *
 * Threads that block: sending and receiving, timeouts, who waits first, and which thread may do what. */
#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const size_t capacities[] = {1, 2, 3, 64, UVCH_UNBOUNDED};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))
#define add_for_every_bound(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities) - 1)

/* Timeouts that no test lives to see; a clock that overflows would make them short. */
static const uint64_t huge[] = {UINT64_MAX, UINT64_MAX - 1, INT64_MAX, (uint64_t) INT64_MAX + 1, UINT64_MAX / 2,
                                UINT64_C(9000000000000000000)};

static void open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  ck_assert_int_eq(uvch_mpsc_init(loop, rx, tx, sizeof(uint64_t), capacity), 0);
}

static void close_channel(uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx) {
  support_drop_sender(tx);
  support_close(rx);
}

static uint64_t wait_for(uvch_mpsc_receiver_t* rx) {
  uint64_t value = UINT64_MAX;

  support_check_eq(uvch_mpsc_recv_wait(rx, &value), 0);
  return value;
}

/* A thread that makes one blocking send. */
typedef struct blocked_s {
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  uint64_t value;
  const void* item;
  uint64_t timeout; /* 0: send_wait */
  int answer;
  _Atomic(long) number;
} blocked_t;

static void send_blocked(void* arg) {
  blocked_t* blocked = arg;

  atomic_store(&blocked->number, support_thread_number());
  if (blocked->timeout == 0) {
    blocked->answer = uvch_mpsc_send_wait(&blocked->tx, blocked->item);
  } else {
    blocked->answer = uvch_mpsc_send_timedwait(&blocked->tx, blocked->item, blocked->timeout);
  }
  uvch_mpsc_sender_close(&blocked->tx);
}

static void blocked_begin(blocked_t* blocked, const uvch_mpsc_sender_t* tx, uint64_t value, const void* item, uint64_t timeout) {
  memset(blocked, 0, sizeof(*blocked));
  ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &blocked->tx), 0);
  blocked->value = value;
  blocked->item = item != NULL ? item : &blocked->value;
  blocked->timeout = timeout;
  blocked->answer = 1;
  support_spawn(&blocked->thread, send_blocked, blocked);
}

/* Return once it waits. */
static void blocked_start(blocked_t* blocked, const uvch_mpsc_sender_t* tx, uint64_t value) {
  blocked_begin(blocked, tx, value, NULL, 0);
  support_until_blocked(&blocked->number);
}

static void blocked_join(blocked_t* blocked, int answer) {
  support_join(&blocked->thread);
  ck_assert_int_eq(blocked->answer, answer);
}

static void fill(const uvch_mpsc_sender_t* tx) {
  size_t n = uvch_mpsc_sender_capacity(tx);
  size_t i;

  for (i = 0; i < n; i++) {
    support_put(tx, i);
  }
}

/* Passing messages. */

/* A message on the heap: what was written into it without any lock has to be there on the other side. */
typedef struct parcel_s {
  uint64_t number;
  size_t length;
  char text[40];
} parcel_t;

typedef struct packer_s {
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  support_result_t result;
  uint64_t count;
  uint64_t number;
  uint64_t last_word; /* plain; written before the sender closes */
} packer_t;

static void pack(void* arg) {
  packer_t* packer = arg;
  uint64_t i;

  for (i = 0; i < packer->count; i++) {
    parcel_t* parcel = malloc(sizeof(*parcel));

    if (!support_expect(&packer->result, parcel != NULL)) {
      break;
    }
    parcel->number = packer->number << 32 | i;
    parcel->length = i % sizeof(parcel->text);
    memset(parcel->text, 'a' + (int) (i % 26), parcel->length);
    if (!support_expect_eq(&packer->result, uvch_mpsc_send_wait(&packer->tx, &parcel), 0)) {
      free(parcel);
      break;
    }
  }
  packer->last_word = packer->number + 1000;
  support_expect_eq(&packer->result, uvch_mpsc_sender_close(&packer->tx), 0);
}

static void check_parcel(parcel_t* parcel, uint64_t number, uint64_t i) {
  size_t k;

  support_check_eq(parcel->number, number << 32 | i);
  support_check_eq(parcel->length, i % sizeof(parcel->text));
  for (k = 0; k < parcel->length; k++) {
    support_check_eq(parcel->text[k], 'a' + (int) (i % 26));
  }
  free(parcel);
}

START_TEST(threads_pass_messages_in_order_and_see_what_was_written_before) {
  enum { PACKERS = 4 };
  uint64_t each = support_scale(5000);
  uint64_t next[PACKERS] = {0};
  packer_t packers[PACKERS];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  parcel_t* parcel;
  size_t i;
  int r;

  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, sizeof(parcel_t*), CAPACITY), 0);
  memset(packers, 0, sizeof(packers));
  for (i = 0; i < PACKERS; i++) {
    ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &packers[i].tx), 0);
    packers[i].count = each;
    packers[i].number = i;
    support_spawn(&packers[i].thread, pack, &packers[i]);
  }
  support_drop_sender(&tx);
  while ((r = uvch_mpsc_recv_wait(&rx, &parcel)) == 0) {
    uint64_t number = parcel->number >> 32;

    support_check(number < PACKERS);
    check_parcel(parcel, number, next[number]);
    next[number] += 1;
  }
  ck_assert_int_eq(r, UV_EOF);
  for (i = 0; i < PACKERS; i++) {
    ck_assert_uint_eq(packers[i].last_word, i + 1000); /* seen at the end, before the join */
    ck_assert_uint_eq(next[i], each);
  }
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &parcel), UV_EOF);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &parcel, UINT64_MAX), UV_EOF);
  for (i = 0; i < PACKERS; i++) {
    support_join(&packers[i].thread);
    support_result_check(&packers[i].result);
  }
  support_close(&rx);
}
END_TEST

/* One struct for all threads. */
typedef struct shared_s {
  uvch_mpsc_sender_t tx;
  support_result_t result;
  uint64_t each;
} shared_t;

static void send_shared(void* arg) {
  shared_t* shared = arg;
  uint64_t i;

  for (i = 1; i <= shared->each; i++) {
    if (!support_expect_eq(&shared->result, uvch_mpsc_send_wait(&shared->tx, &i), 0)) {
      return;
    }
  }
  atomic_fetch_add(&shared->result.done, 1);
}

START_TEST(many_threads_can_send_through_one_struct) {
  shared_t shared = {.each = support_scale(5000)};
  uvch_mpsc_receiver_t rx;
  uv_thread_t threads[4];
  uint64_t sum = 0;
  uint64_t i;

  open_channel(NULL, &rx, &shared.tx, CAPACITY);
  for (i = 0; i < COUNT(threads); i++) {
    support_spawn(&threads[i], send_shared, &shared);
  }
  for (i = 0; i < shared.each * COUNT(threads); i++) {
    sum += wait_for(&rx);
  }
  for (i = 0; i < COUNT(threads); i++) {
    support_join(&threads[i]);
  }
  support_result_check(&shared.result);
  ck_assert_uint_eq(atomic_load(&shared.result.done), COUNT(threads));
  ck_assert_uint_eq(sum, COUNT(threads) * (shared.each * (shared.each + 1) / 2));
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 0);
  close_channel(&rx, &shared.tx);
}
END_TEST

static void clone_and_close(void* arg) {
  shared_t* shared = arg;
  uvch_mpsc_sender_t copy;
  uint64_t i;

  for (i = 0; i < shared->each; i++) {
    if (!support_expect_eq(&shared->result, uvch_mpsc_sender_clone(&shared->tx, &copy), 0)) {
      return;
    }
    support_expect_eq(&shared->result, uvch_mpsc_try_send(&copy, &i), 0);
    support_expect_eq(&shared->result, uvch_mpsc_sender_close(&copy), 0);
  }
}

START_TEST(clones_come_and_go_on_many_threads_without_an_end) {
  shared_t shared = {.each = support_scale(5000)};
  uvch_mpsc_receiver_t rx;
  uv_thread_t threads[4];
  uint64_t value;
  size_t i;

  open_channel(NULL, &rx, &shared.tx, UVCH_UNBOUNDED);
  for (i = 0; i < COUNT(threads); i++) {
    support_spawn(&threads[i], clone_and_close, &shared);
  }
  for (i = 0; i < shared.each * COUNT(threads); i++) {
    wait_for(&rx);
  }
  for (i = 0; i < COUNT(threads); i++) {
    support_join(&threads[i]);
  }
  support_result_check(&shared.result);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &value), UV_EAGAIN);
  support_drop_sender(&shared.tx);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &value), UV_EOF);
  support_close(&rx);
}
END_TEST

/* A thread that makes one blocking receive. */
typedef struct taker_s {
  uvch_mpsc_receiver_t* rx;
  uv_thread_t thread;
  uint64_t value;
  uint64_t timeout; /* 0: recv_wait */
  int answer;
  _Atomic(long) number;
} taker_t;

static void take_blocked(void* arg) {
  taker_t* taker = arg;

  atomic_store(&taker->number, support_thread_number());
  if (taker->timeout == 0) {
    taker->answer = uvch_mpsc_recv_wait(taker->rx, &taker->value);
  } else {
    taker->answer = uvch_mpsc_recv_timedwait(taker->rx, &taker->value, taker->timeout);
  }
}

static void taker_start(taker_t* taker, uvch_mpsc_receiver_t* rx, uint64_t timeout) {
  memset(taker, 0, sizeof(*taker));
  taker->rx = rx;
  taker->timeout = timeout;
  taker->answer = 1;
  support_spawn(&taker->thread, take_blocked, taker);
  support_until_blocked(&taker->number);
}

static void taker_join(taker_t* taker, int answer) {
  support_join(&taker->thread);
  ck_assert_int_eq(taker->answer, answer);
}

START_TEST(a_message_wakes_a_blocked_receiver) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  taker_t taker;
  uint64_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 0; i < 20; i++) { /* each time by another thread: the receiver may be handed on */
    taker_start(&taker, &rx, 0);
    support_put(&tx, i);
    taker_join(&taker, 0);
    ck_assert_uint_eq(taker.value, i);
  }
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(the_last_sender_wakes_a_blocked_receiver) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t copy;
  taker_t taker;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &copy), 0);
  taker_start(&taker, &rx, 0);
  support_drop_sender(&copy);
  support_until_asleep(atomic_load(&taker.number)); /* still */
  support_drop_sender(&tx);
  taker_join(&taker, UV_EOF);
  support_close(&rx);
}
END_TEST

START_TEST(the_end_of_a_half_sent_message_wakes_a_blocked_receiver) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_slow_t slow;
  blocked_t sender;
  taker_t taker;
  uint64_t message = 1;

  open_channel(NULL, &rx, &tx, 4);
  support_slow_init(&slow, &message, sizeof(message));
  blocked_begin(&sender, &tx, 0, slow.item, 0);
  support_slow_until_read(&slow);
  support_put(&tx, 2);
  taker_start(&taker, &rx, 0);
  support_slow_let_go(&slow);
  taker_join(&taker, 0);
  ck_assert_uint_eq(taker.value, 1);
  ck_assert_uint_eq(support_take(&rx), 2);
  blocked_join(&sender, 0);
  support_slow_destroy(&slow);
  close_channel(&rx, &tx);
}
END_TEST

/* Blocking sends. */

START_TEST(a_blocking_send_does_not_block_while_there_is_room) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 5;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_send_wait(&tx, &value), 0);
  ck_assert_uint_eq(support_take(&rx), 5);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 0), 0);
  ck_assert_uint_eq(support_take(&rx), 5);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, UINT64_MAX), 0);
  ck_assert_uint_eq(support_take(&rx), 5);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_blocked_send_goes_in_when_there_is_room) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  blocked_t blocked;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  blocked_start(&blocked, &tx, CAPACITY);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), CAPACITY);
  for (i = 0; i <= CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  blocked_join(&blocked, 0);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(shutdown_wakes_blocked_senders_and_keeps_what_is_queued) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  blocked_t blocked[5];
  uint64_t value;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  for (i = 0; i < COUNT(blocked); i++) {
    blocked_start(&blocked[i], &tx, 100 + i);
  }
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  for (i = 0; i < COUNT(blocked); i++) {
    blocked_join(&blocked[i], UV_EPIPE);
  }
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), UV_EOF);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(close_wakes_blocked_senders) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  blocked_t blocked[5];
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  for (i = 0; i < COUNT(blocked); i++) {
    blocked_start(&blocked[i], &tx, 100 + i);
  }
  support_close(&rx);
  for (i = 0; i < COUNT(blocked); i++) {
    blocked_join(&blocked[i], UV_EPIPE);
  }
  support_drop_sender(&tx);
}
END_TEST

START_TEST(a_blocked_sender_keeps_the_channel_open) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  blocked_t blocked;
  uint64_t value;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  blocked_start(&blocked, &tx, CAPACITY);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
  for (i = 0; i <= CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  blocked_join(&blocked, 0);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), UV_EOF);
  support_close(&rx);
}
END_TEST

/* Who waits first. */

static void mark_done(uvch_mpsc_send_t* req, int status) {
  int* done = req->data;

  *done = status == 0 ? 1 : status;
}

START_TEST(threads_and_requests_that_wait_are_served_in_one_line) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t reqs[3];
  uint64_t values[3];
  int done[3] = {0, 0, 0};
  blocked_t blocked[3];
  uint64_t value = 1000;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  for (i = 0; i < 3; i++) {
    values[i] = CAPACITY + 2 * i;
    reqs[i].data = &done[i];
    ck_assert_int_eq(uvch_mpsc_send(&loop, &reqs[i], &tx, &values[i], mark_done), 0);
    blocked_start(&blocked[i], &tx, CAPACITY + 2 * i + 1);
  }
  for (i = 0; i < CAPACITY + 6; i++) {
    if (i < 6) { /* as many are in the line, or full again */
      ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
      ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 0), UV_ETIMEDOUT);
    }
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  support_loop_run(&loop);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(done[i], 1);
    blocked_join(&blocked[i], 0);
  }
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_thread_that_gives_up_loses_its_place_and_the_next_is_served) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  blocked_t first;
  blocked_t second;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  blocked_begin(&first, &tx, 1000, NULL, 100000000);
  support_until(atomic_load(&first.number) != 0);
  blocked_start(&second, &tx, 1001);
  blocked_join(&first, UV_ETIMEDOUT);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(wait_for(&rx), i);
  }
  ck_assert_uint_eq(wait_for(&rx), 1001);
  blocked_join(&second, 0);
  support_put(&tx, 7);
  ck_assert_uint_eq(wait_for(&rx), 7);
  close_channel(&rx, &tx);
}
END_TEST

/* Many blocked senders: each sends `each` messages through a channel that was full from the start. */
typedef struct pusher_s {
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  support_result_t result;
  uint64_t number;
  uint64_t each;
  _Atomic(long) id;
} pusher_t;

static void push(void* arg) {
  pusher_t* pusher = arg;
  uint64_t value;
  uint64_t i;

  atomic_store(&pusher->id, support_thread_number());
  for (i = 0; i < pusher->each; i++) {
    value = pusher->number << 32 | i;
    if (!support_expect_eq(&pusher->result, uvch_mpsc_send_wait(&pusher->tx, &value), 0)) {
      break;
    }
    atomic_fetch_add(&pusher->result.done, 1);
  }
  support_expect_eq(&pusher->result, uvch_mpsc_sender_close(&pusher->tx), 0);
}

static void pushers_start(pusher_t* pushers, size_t count, uvch_mpsc_sender_t* tx, uint64_t each) {
  size_t i;

  memset(pushers, 0, count * sizeof(*pushers));
  for (i = 0; i < count; i++) {
    ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &pushers[i].tx), 0);
    pushers[i].number = i;
    pushers[i].each = each;
    support_spawn(&pushers[i].thread, push, &pushers[i]);
  }
  support_drop_sender(tx);
  for (i = 0; i < count; i++) {
    support_until_blocked(&pushers[i].id);
  }
}

static void pushers_join(pusher_t* pushers, size_t count) {
  size_t i;

  for (i = 0; i < count; i++) {
    support_join(&pushers[i].thread);
    support_result_check(&pushers[i].result);
    ck_assert_uint_eq(atomic_load(&pushers[i].result.done), pushers[i].each);
  }
}

START_TEST(of_64_blocked_senders_each_is_served_once_before_any_is_twice_and_all_finish) {
  enum { PUSHERS = 64 };
  pusher_t* pushers = calloc(PUSHERS, sizeof(*pushers));
  uint64_t each = support_scale(100);
  uint64_t next[PUSHERS] = {0};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value;
  uint64_t count = 0;

  ck_assert_ptr_nonnull(pushers);
  open_channel(NULL, &rx, &tx, 1);
  support_put(&tx, UINT64_MAX);
  pushers_start(pushers, PUSHERS, &tx, each);
  support_check_eq(wait_for(&rx), UINT64_MAX);
  while (uvch_mpsc_recv_wait(&rx, &value) == 0) {
    support_check(value >> 32 < PUSHERS);
    support_check_eq(value & UINT32_MAX, next[value >> 32]);
    next[value >> 32] += 1;
    count += 1;
    support_check(count > PUSHERS || (value & UINT32_MAX) == 0);
  }
  support_check_eq(count, PUSHERS * each);
  pushers_join(pushers, PUSHERS);
  support_close(&rx);
  free(pushers);
}
END_TEST

START_TEST(all_of_32_blocked_threads_finish_when_the_receiver_takes_in_batches) {
  enum { PUSHERS = 32 };
  pusher_t* pushers = calloc(PUSHERS, sizeof(*pushers));
  uint64_t each = support_scale(20);
  uint64_t next[PUSHERS] = {0};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value;
  uint64_t count = 0;
  int r;

  ck_assert_ptr_nonnull(pushers);
  open_channel(NULL, &rx, &tx, 3);
  fill(&tx);
  pushers_start(pushers, PUSHERS, &tx, each);
  for (value = 0; value < 3; value++) {
    support_check_eq(support_take(&rx), value);
  }
  /* All that is there at once, then wait for one. */
  while ((r = uvch_mpsc_recv_wait(&rx, &value)) == 0) {
    do {
      support_check_eq(value & UINT32_MAX, next[value >> 32]);
      next[value >> 32] += 1;
      count += 1;
    } while (uvch_mpsc_try_recv(&rx, &value) == 0);
  }
  support_check_eq(r, UV_EOF);
  support_check_eq(count, PUSHERS * each);
  pushers_join(pushers, PUSHERS);
  support_close(&rx);
  free(pushers);
}
END_TEST

/* Timeouts. */

START_TEST(a_timeout_of_0_sends_if_there_is_room_and_tells_closed_before_time) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = CAPACITY;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 0; i < CAPACITY; i++) {
    value = i;
    ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 0), 0);
  }
  value = 1000;
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 0), UV_ETIMEDOUT);
  ck_assert_uint_eq(value, 1000);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), CAPACITY);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 0), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 1000000), UV_EPIPE);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_timeout_of_0_receives_what_is_there_and_tells_the_end_before_time) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 7;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 0), UV_ETIMEDOUT);
  ck_assert_uint_eq(value, 7);
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 0), 0);
  ck_assert_uint_eq(value, 1);
  support_put(&tx, 2);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 0), 0);
  ck_assert_uint_eq(value, 2);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 0), UV_EOF);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 1000000), UV_EOF);
  support_close(&rx);
}
END_TEST

START_TEST(a_timed_send_waits_at_least_its_time_and_sends_nothing) {
  static const uint64_t times[] = {1, 1000, 300000, 5000000, 30000000};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 1000;
  uint64_t start;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  for (i = 0; i < COUNT(times); i++) {
    start = uv_hrtime();
    ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - start, times[i]);
  }
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), CAPACITY);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), CAPACITY);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &value), UV_EAGAIN);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_timed_receive_waits_at_least_its_time_and_takes_nothing) {
  static const uint64_t times[] = {1, 1000, 300000, 5000000, 30000000};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 1000;
  uint64_t start;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 0; i < COUNT(times); i++) {
    start = uv_hrtime();
    ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - start, times[i]);
  }
  ck_assert_uint_eq(value, 1000);
  support_put(&tx, 1);
  ck_assert_uint_eq(wait_for(&rx), 1);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_huge_timeout_of_a_send_does_not_overflow) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  blocked_t blocked;

  open_channel(NULL, &rx, &tx, 1);
  support_put(&tx, 1);
  blocked_begin(&blocked, &tx, 2, NULL, huge[_i]);
  support_until_blocked(&blocked.number);
  ck_assert_uint_eq(wait_for(&rx), 1);
  ck_assert_uint_eq(wait_for(&rx), 2);
  blocked_join(&blocked, 0);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_huge_timeout_of_a_receive_does_not_overflow) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  taker_t taker;

  open_channel(NULL, &rx, &tx, 1);
  taker_start(&taker, &rx, huge[_i]);
  support_put(&tx, 5);
  taker_join(&taker, 0);
  ck_assert_uint_eq(taker.value, 5);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_timeout_in_the_middle_of_the_move_is_too_late) {
  uint64_t timeout = 20000000;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_slow_t slow;
  blocked_t sender;
  taker_t taker = {.rx = &rx};
  uint64_t message = 9;
  uint64_t start;

  open_channel(NULL, &rx, &tx, 1);
  support_put(&tx, 8);
  support_slow_init(&slow, &message, sizeof(message));
  start = uv_hrtime();
  blocked_begin(&sender, &tx, 0, slow.item, timeout);
  support_until_blocked(&sender.number);
  support_spawn(&taker.thread, take_blocked, &taker); /* its take makes room, and it moves the message */
  support_until(atomic_load(&slow.state) != 0 || uv_hrtime() - start > 2 * timeout);
  support_until(uv_hrtime() - start > 2 * timeout);
  support_slow_let_go(&slow);
  taker_join(&taker, 0);
  ck_assert_uint_eq(taker.value, 8);
  support_join(&sender.thread);
  if (sender.answer == 0) {
    ck_assert_uint_eq(support_take(&rx), 9);
  } else { /* the machine was so slow that the time was over before the take */
    ck_assert_int_eq(sender.answer, UV_ETIMEDOUT);
    ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 0);
  }
  support_slow_destroy(&slow);
  close_channel(&rx, &tx);
}
END_TEST

/* The other side acts as close to the deadline as it can, a little before or after. */
typedef struct aim_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_result_t result;
  uint64_t rounds;
  _Atomic(uint64_t) round;    /* the one that began; the first is 1 */
  _Atomic(uint64_t) answered; /* the last in which the other side has acted */
  _Atomic(uint64_t) moment;
  _Atomic(uint64_t) expected;
} aim_t;

enum { AIM_TIMEOUT = 30000, AIM_SPREAD = 8000 };

static void aim_begin(aim_t* aim, uint64_t round, uint64_t expected) {
  uint64_t spread = round * 7919 % (2 * AIM_SPREAD);

  atomic_store(&aim->expected, expected);
  atomic_store(&aim->moment, uv_hrtime() + AIM_TIMEOUT - AIM_SPREAD + spread);
  atomic_store(&aim->round, round);
}

static void aim_end(aim_t* aim, uint64_t round) {
  support_until(atomic_load(&aim->answered) == round);
}

static void aim_wait(aim_t* aim, uint64_t round) {
  support_until(atomic_load(&aim->round) == round);
  while (uv_hrtime() < atomic_load(&aim->moment)) {
  }
}

static void send_at_deadline(void* arg) {
  aim_t* aim = arg;
  uint64_t round;

  for (round = 1; round <= aim->rounds; round++) {
    aim_wait(aim, round);
    support_expect_eq(&aim->result, uvch_mpsc_try_send(&aim->tx, &round), 0);
    atomic_store(&aim->answered, round);
  }
}

START_TEST(a_message_sent_at_the_deadline_comes_now_or_with_the_next_receive) {
  aim_t aim = {.rounds = support_scale(3000)};
  uv_thread_t thread;
  uint64_t round;
  uint64_t value;
  int r;

  open_channel(NULL, &aim.rx, &aim.tx, CAPACITY);
  support_spawn(&thread, send_at_deadline, &aim);
  for (round = 1; round <= aim.rounds; round++) {
    value = 0;
    aim_begin(&aim, round, 0);
    r = uvch_mpsc_recv_timedwait(&aim.rx, &value, AIM_TIMEOUT);
    if (r == UV_ETIMEDOUT) {
      support_check_eq(value, 0);
      r = uvch_mpsc_recv_wait(&aim.rx, &value);
    }
    support_check_eq(r, 0);
    support_check_eq(value, round);
    aim_end(&aim, round);
    support_check_eq(uvch_mpsc_try_recv(&aim.rx, &value), UV_EAGAIN);
  }
  support_join(&thread);
  support_result_check(&aim.result);
  close_channel(&aim.rx, &aim.tx);
}
END_TEST

static void take_at_deadline(void* arg) {
  aim_t* aim = arg;
  uint64_t round;
  uint64_t value;

  for (round = 1; round <= aim->rounds; round++) {
    aim_wait(aim, round);
    value = UINT64_MAX;
    support_expect_eq(&aim->result, uvch_mpsc_try_recv(&aim->rx, &value), 0);
    support_expect_eq(&aim->result, value, atomic_load(&aim->expected));
    atomic_store(&aim->answered, round);
  }
}

START_TEST(room_made_at_the_deadline_takes_the_message_or_leaves_it_never_both) {
  aim_t aim = {.rounds = support_scale(5000)};
  uv_thread_t thread;
  uint64_t queued = 0;
  uint64_t round;
  int r;

  open_channel(NULL, &aim.rx, &aim.tx, 1);
  support_put(&aim.tx, queued);
  support_spawn(&thread, take_at_deadline, &aim);
  for (round = 1; round <= aim.rounds; round++) {
    aim_begin(&aim, round, queued);
    r = uvch_mpsc_send_timedwait(&aim.tx, &round, AIM_TIMEOUT);
    aim_end(&aim, round);
    support_check(r == 0 || r == UV_ETIMEDOUT);
    support_check_eq(uvch_mpsc_sender_len(&aim.tx), r == 0 ? 1 : 0);
    if (r == UV_ETIMEDOUT) {
      support_check_eq(uvch_mpsc_sender_capacity(&aim.tx), 1);
      support_put(&aim.tx, round);
    }
    queued = round;
  }
  support_join(&thread);
  support_result_check(&aim.result);
  support_check_eq(support_take(&aim.rx), queued);
  close_channel(&aim.rx, &aim.tx);
}
END_TEST

/* Short timeouts on both sides, many senders: what went in comes out. */
typedef struct hasty_s {
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  support_result_t result;
  uint64_t rounds;
  uint64_t sent;
  uint64_t sum;
} hasty_t;

static void send_hasty(void* arg) {
  hasty_t* hasty = arg;
  uint64_t i;
  int r;

  for (i = 1; i <= hasty->rounds; i++) {
    r = uvch_mpsc_send_timedwait(&hasty->tx, &i, i * 7919 % 60000);
    if (r == 0) {
      hasty->sent += 1;
      hasty->sum += i;
    } else if (!support_expect_eq(&hasty->result, r, UV_ETIMEDOUT)) {
      break;
    }
  }
  support_expect_eq(&hasty->result, uvch_mpsc_sender_close(&hasty->tx), 0);
}

START_TEST(what_timed_sends_put_in_is_what_timed_receives_take_out) {
  hasty_t hasty[4];
  uint64_t sent = 0;
  uint64_t sum = 0;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value;
  uint64_t round = 0;
  size_t i;
  int r;

  open_channel(NULL, &rx, &tx, CAPACITY);
  memset(hasty, 0, sizeof(hasty));
  for (i = 0; i < COUNT(hasty); i++) {
    support_check_eq(uvch_mpsc_sender_clone(&tx, &hasty[i].tx), 0);
    hasty[i].rounds = support_scale(3000);
    support_spawn(&hasty[i].thread, send_hasty, &hasty[i]);
  }
  support_drop_sender(&tx);
  while ((r = uvch_mpsc_recv_timedwait(&rx, &value, ++round * 7919 % 60000)) != UV_EOF) {
    if (r == 0) {
      sent += 1;
      sum += value;
    } else {
      support_check_eq(r, UV_ETIMEDOUT);
    }
  }
  for (i = 0; i < COUNT(hasty); i++) {
    support_join(&hasty[i].thread);
    support_result_check(&hasty[i].result);
    sent -= hasty[i].sent;
    sum -= hasty[i].sum;
  }
  support_check_eq(sent, 0);
  support_check_eq(sum, 0);
  support_close(&rx);
}
END_TEST

/* Cancelling against a receiver on another thread. */

static void take_until_end(void* arg) {
  taker_t* taker = arg;
  uint64_t value;
  uint64_t before = 0;

  while ((taker->answer = uvch_mpsc_recv_wait(taker->rx, &value)) == 0) {
    if (value <= before) {
      taker->answer = UV_EINVAL;
      return;
    }
    before = value;
    taker->value += 1;
  }
}

START_TEST(a_cancelled_message_is_given_back_or_delivered_never_both) {
  uint64_t rounds = support_scale(20000);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t req;
  taker_t taker = {.rx = &rx};
  uint64_t sent = 0;
  uint64_t i;
  uv_loop_t loop;
  int done;
  int r;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 1);
  support_spawn(&taker.thread, take_until_end, &taker);
  for (i = 1; i <= rounds; i++) {
    done = 0;
    req.data = &done;
    support_check_eq(uvch_mpsc_send(&loop, &req, &tx, &i, mark_done), 0);
    r = uvch_cancel((uvch_req_t*) &req);
    support_check(r == 0 || r == UV_EBUSY);
    while (done == 0) {
      uv_run(&loop, UV_RUN_ONCE);
    }
    support_check_eq(done, r == 0 ? UV_ECANCELED : 1);
    sent += done == 1;
  }
  support_drop_sender(&tx);
  taker_join(&taker, UV_EOF);
  support_check_eq(taker.value, sent);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Which thread may do what. */

/* What a callback on the receiver's own loop must be refused, and what it may do. */
typedef struct inside_s {
  uvch_mpsc_sender_t tx;
  uvch_mpsc_receiver_t other_rx; /* without a loop */
  uvch_mpsc_sender_t other_tx;
  uvch_mpsc_send_t req;
  support_result_t result;
  size_t calls;
  size_t closed;
} inside_t;

static void inside_check(inside_t* inside) {
  uint64_t value = 50;

  support_expect_eq(&inside->result, uvch_mpsc_send_wait(&inside->tx, &value), UV_EPERM);
  support_expect_eq(&inside->result, uvch_mpsc_send_timedwait(&inside->tx, &value, UINT64_MAX), UV_EPERM);
  support_expect_eq(&inside->result, uvch_mpsc_send_timedwait(&inside->tx, &value, 0), UV_EPERM);
  support_expect_eq(&inside->result, uvch_mpsc_send_wait(&inside->other_tx, &value), 0);
  value = 0;
  support_expect_eq(&inside->result, uvch_mpsc_try_recv(&inside->other_rx, &value), 0);
  support_expect_eq(&inside->result, value, 50);
  inside->calls += 1;
}

/* Closes the receiver; its sender stays. */
static void inside_on_end(uvch_mpsc_receiver_t* rx, int status, void* item) {
  inside_t* inside = rx->data;
  uint64_t value = 1;

  (void) status;
  (void) item;
  support_expect_eq(&inside->result, uvch_mpsc_closed_timedwait(&inside->tx, 0), UV_EPERM);
  support_close(rx);
  support_expect_eq(&inside->result, uvch_mpsc_send_wait(&inside->tx, &value), UV_EPIPE);
  support_expect_eq(&inside->result, uvch_mpsc_send_timedwait(&inside->tx, &value, 0), UV_EPIPE);
  support_expect_eq(&inside->result, uvch_mpsc_closed_wait(&inside->tx), 0);
  inside->calls += 1;
}

static void inside_on_close(uvch_handle_t* handle) {
  inside_t* inside = handle->data;

  inside->closed += 1;
}

static void inside_on_sent(uvch_mpsc_send_t* req, int status) {
  inside_t* inside = req->data;

  support_expect_eq(&inside->result, status, 0);
  inside_check(inside);
  if (inside->calls == 3) {
    support_expect_eq(&inside->result, uvch_mpsc_sender_close(&inside->tx), 0);
  }
}

static void inside_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  inside_t* inside = rx->data;
  size_t len = uvch_mpsc_receiver_len(rx);

  if (status == UV_EOF) {
    support_expect_eq(&inside->result, uvch_close((uvch_handle_t*) rx, inside_on_close), 0);
    return;
  }
  support_expect(&inside->result, item != NULL);
  inside_check(inside);
  support_expect_eq(&inside->result, uvch_mpsc_receiver_len(rx), len);
  if (inside->calls == 3) {
    support_expect_eq(&inside->result, uvch_mpsc_sender_close(&inside->tx), 0);
  }
}

START_TEST(a_blocking_send_on_the_own_loop_is_refused) {
  inside_t inside = {.calls = 0};
  support_runner_t runner;
  uvch_mpsc_receiver_t rx;
  uint64_t value = 1;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &inside.other_rx, &inside.other_tx, 1);
  open_channel(&loop, &rx, &inside.tx, CAPACITY);
  rx.data = &inside;
  inside.req.data = &inside;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, inside_on_recv), 0);
  support_put(&inside.tx, 0); /* full or not, it is the same */
  ck_assert_int_eq(uvch_mpsc_send(&loop, &inside.req, &inside.tx, &value, inside_on_sent), 0);
  if (_i % 2 == 0) {
    support_runner_start(&runner, &loop);
    support_runner_join(&runner);
  } else {
    support_loop_run(&loop);
  }
  support_result_check(&inside.result);
  ck_assert_uint_eq(inside.calls, 3);
  ck_assert_uint_eq(inside.closed, 1);
  close_channel(&inside.other_rx, &inside.other_tx);
  support_loop_close(&loop);
}
END_TEST

/* A loop that a worker runs; the callback tells that it has begun. */
typedef struct worker_s {
  support_sink_t sink;
  support_latch_t begun;
  long thread;
} worker_t;

static void worker_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  worker_t* worker = rx->data;

  worker->thread = support_thread_number();
  support_sink_cb(rx, status, item);
  support_latch_arrive(&worker->begun);
}

START_TEST(a_channel_made_in_main_works_on_a_loop_that_a_worker_runs) {
  size_t n = 1000;
  support_runner_t runner;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  worker_t worker = {.thread = 0};
  uv_loop_t loop;
  uint64_t i;

  support_loop_init(&loop);
  support_latch_init(&worker.begun, 1);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &worker;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, worker_on_recv), 0);
  support_put(&tx, 0);
  support_runner_start(&runner, &loop);
  for (i = 1; i < n; i++) { /* the thread that made it may block: it does not run the loop */
    ck_assert_int_eq(uvch_mpsc_send_wait(&tx, &i), 0);
  }
  support_drop_sender(&tx);
  support_runner_join(&runner);
  support_sink_check(&worker.sink, n, 1);
  ck_assert_int_ne(worker.thread, support_thread_number());
  support_latch_destroy(&worker.begun);
  support_loop_close(&loop);
}
END_TEST

static void never_sent(uvch_mpsc_send_t* req, int status) {
  (void) req;
  ck_abort_msg("a request was done with status %d", status);
}

START_TEST(binding_to_a_loop_that_another_thread_runs_is_refused_and_changes_nothing) {
  uvch_mpsc_receiver_t fresh;
  uvch_mpsc_sender_t fresh_tx;
  unsigned char before[sizeof(fresh)];
  uvch_mpsc_receiver_t plain;
  uvch_mpsc_sender_t plain_tx;
  support_runner_t runner;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t req;
  worker_t worker = {.thread = 0};
  uint64_t value = 1;
  uv_loop_t loop;

  support_loop_init(&loop);
  support_latch_init(&worker.begun, 1);
  open_channel(NULL, &plain, &plain_tx, 1);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &worker;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, worker_on_recv), 0);
  support_runner_start(&runner, &loop);
  support_put(&tx, 0);
  support_latch_wait(&worker.begun);

  memset(&fresh, 0x5a, sizeof(fresh));
  memset(&fresh_tx, 0x5a, sizeof(fresh_tx));
  memset(before, 0x5a, sizeof(before));
  ck_assert_int_eq(uvch_mpsc_init(&loop, &fresh, &fresh_tx, 8, 1), UV_EPERM);
  ck_assert_int_eq(uvch_mpsc_init_ex(&loop, &fresh, &fresh_tx, 8, UVCH_UNBOUNDED, NULL), UV_EPERM);
  ck_assert_mem_eq(&fresh, before, sizeof(fresh));
  ck_assert_mem_eq(&fresh_tx, before, sizeof(fresh_tx));
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &plain), UV_EPERM);
  ck_assert_ptr_null(uvch_handle_get_loop((uvch_handle_t*) &plain));
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 0), UV_EPERM);
  ck_assert_int_eq(uvch_mpsc_send(&loop, &req, &plain_tx, &value, never_sent), UV_EPERM);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&plain), 0);
  ck_assert_int_eq(uvch_mpsc_send_wait(&plain_tx, &value), 0); /* still a plain one */
  ck_assert_uint_eq(wait_for(&plain), 1);

  support_drop_sender(&tx);
  support_runner_join(&runner);
  support_sink_check(&worker.sink, 1, 1);
  close_channel(&plain, &plain_tx);
  support_latch_destroy(&worker.begun);
  support_loop_close(&loop);
}
END_TEST

static void stop_after_one(uvch_mpsc_receiver_t* rx, int status, void* item) {
  support_sink_t* sink = rx->data;

  support_sink_cb(rx, status, item);
  if (status == 0) {
    support_expect_eq(&sink->result, uvch_mpsc_recv_stop(rx), 0);
  }
}

START_TEST(a_loop_can_be_run_by_one_thread_after_another) {
  support_runner_t runner;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_receiver_t late_rx;
  uvch_mpsc_sender_t late_tx;
  support_sink_t sink = {.count = 0};
  support_sink_t late;
  uv_loop_t loop;
  uint64_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, UVCH_UNBOUNDED);
  rx.data = &sink;
  for (i = 0; i < 4; i++) {
    support_put(&tx, i);
  }
  for (i = 0; i < 4; i++) {
    ck_assert_int_eq(uvch_mpsc_recv_start(&rx, stop_after_one), 0);
    if (i < 3) {
      support_runner_start(&runner, &loop);
      support_runner_join(&runner);
    } else {
      support_loop_run(&loop);
    }
    support_sink_check(&sink, i + 1, 0);
  }
  open_channel(&loop, &late_rx, &late_tx, 1); /* this thread runs it now */
  support_sink_start(&late, &late_rx);
  support_drop_sender(&late_tx);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
  support_sink_check(&late, 0, 1);
}
END_TEST

/* A loop's thread may block on the channel of another loop. */
typedef struct relay_s {
  uvch_mpsc_sender_t next;
  support_result_t result;
} relay_t;

static void relay_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  relay_t* relay = rx->data;

  if (status == UV_EOF) {
    support_expect_eq(&relay->result, uvch_mpsc_sender_close(&relay->next), 0);
    support_expect_eq(&relay->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
    return;
  }
  support_expect_eq(&relay->result, uvch_mpsc_send_wait(&relay->next, item), 0);
}

START_TEST(a_loop_may_block_on_the_channel_of_another_loop) {
  size_t n = 1000;
  uvch_mpsc_receiver_t rx[2];
  uvch_mpsc_sender_t tx;
  support_runner_t runner;
  support_sink_t sink;
  relay_t relay = {.next = {NULL}};
  uv_loop_t loops[2];
  uint64_t i;

  support_loop_init(&loops[0]);
  support_loop_init(&loops[1]);
  open_channel(&loops[0], &rx[0], &tx, UVCH_UNBOUNDED);
  open_channel(&loops[1], &rx[1], &relay.next, CAPACITY);
  rx[0].data = &relay;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx[0], relay_on_recv), 0);
  support_sink_start(&sink, &rx[1]);
  for (i = 0; i < n; i++) {
    support_put(&tx, i);
  }
  support_drop_sender(&tx);
  support_runner_start(&runner, &loops[0]);
  support_loop_run(&loops[1]);
  support_runner_join(&runner);
  support_result_check(&relay.result);
  support_sink_check(&sink, n, 1);
  support_loop_close(&loops[0]);
  support_loop_close(&loops[1]);
}
END_TEST

/* It has nothing to wait for, so nobody sleeps. */
START_TEST(the_thread_of_a_closed_receivers_loop_is_told_that_it_is_closed) {
  uint64_t value = 1;
  uvch_mpsc_receiver_t rx;
  inside_t inside;
  uv_loop_t loop;

  memset(&inside, 0, sizeof inside);
  support_loop_init(&loop);
  ck_assert_int_eq(uvch_mpsc_init(&loop, &rx, &inside.tx, sizeof value, _i == 0 ? 4 : UVCH_UNBOUNDED), 0);
  rx.data = &inside;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, inside_on_end), 0);
  support_put(&inside.tx, value);
  support_loop_end(&loop);
  support_result_check(&inside.result);
  ck_assert_uint_eq(inside.calls, 1);
  ck_assert_int_eq(uvch_mpsc_send_wait(&inside.tx, &value), UV_EPIPE);
  support_drop_sender(&inside.tx);
}
END_TEST

static void add_passing(Suite* suite) {
  TCase* tcase = support_case(suite, "passing");

  add_for_every_capacity(tcase, threads_pass_messages_in_order_and_see_what_was_written_before);
  add_for_every_capacity(tcase, many_threads_can_send_through_one_struct);
  tcase_add_test(tcase, clones_come_and_go_on_many_threads_without_an_end);
  add_for_every_capacity(tcase, a_message_wakes_a_blocked_receiver);
  add_for_every_capacity(tcase, the_last_sender_wakes_a_blocked_receiver);
  tcase_add_test(tcase, the_end_of_a_half_sent_message_wakes_a_blocked_receiver);
}

static void add_sends(Suite* suite) {
  TCase* tcase = support_case(suite, "sends");

  add_for_every_capacity(tcase, a_blocking_send_does_not_block_while_there_is_room);
  add_for_every_bound(tcase, a_blocked_send_goes_in_when_there_is_room);
  add_for_every_bound(tcase, shutdown_wakes_blocked_senders_and_keeps_what_is_queued);
  add_for_every_bound(tcase, close_wakes_blocked_senders);
  add_for_every_bound(tcase, a_blocked_sender_keeps_the_channel_open);
  add_for_every_bound(tcase, threads_and_requests_that_wait_are_served_in_one_line);
  add_for_every_bound(tcase, a_thread_that_gives_up_loses_its_place_and_the_next_is_served);
  tcase_add_test(tcase, of_64_blocked_senders_each_is_served_once_before_any_is_twice_and_all_finish);
  tcase_add_test(tcase, all_of_32_blocked_threads_finish_when_the_receiver_takes_in_batches);
}

static void add_timeouts(Suite* suite) {
  TCase* tcase = support_case(suite, "timeouts");

  add_for_every_bound(tcase, a_timeout_of_0_sends_if_there_is_room_and_tells_closed_before_time);
  add_for_every_capacity(tcase, a_timeout_of_0_receives_what_is_there_and_tells_the_end_before_time);
  add_for_every_bound(tcase, a_timed_send_waits_at_least_its_time_and_sends_nothing);
  add_for_every_capacity(tcase, a_timed_receive_waits_at_least_its_time_and_takes_nothing);
  tcase_add_loop_test(tcase, a_huge_timeout_of_a_send_does_not_overflow, 0, (int) COUNT(huge));
  tcase_add_loop_test(tcase, a_huge_timeout_of_a_receive_does_not_overflow, 0, (int) COUNT(huge));
  tcase_add_test(tcase, a_timeout_in_the_middle_of_the_move_is_too_late);
  add_for_every_capacity(tcase, a_message_sent_at_the_deadline_comes_now_or_with_the_next_receive);
  tcase_add_test(tcase, room_made_at_the_deadline_takes_the_message_or_leaves_it_never_both);
  add_for_every_capacity(tcase, what_timed_sends_put_in_is_what_timed_receives_take_out);
  tcase_add_test(tcase, a_cancelled_message_is_given_back_or_delivered_never_both);
}

static void add_loops(Suite* suite) {
  TCase* tcase = support_case(suite, "loops");

  add_for_every_capacity(tcase, a_blocking_send_on_the_own_loop_is_refused);
  add_for_every_capacity(tcase, a_channel_made_in_main_works_on_a_loop_that_a_worker_runs);
  add_for_every_capacity(tcase, binding_to_a_loop_that_another_thread_runs_is_refused_and_changes_nothing);
  tcase_add_test(tcase, a_loop_can_be_run_by_one_thread_after_another);
  tcase_add_loop_test(tcase, the_thread_of_a_closed_receivers_loop_is_told_that_it_is_closed, 0, 2);
  add_for_every_capacity(tcase, a_loop_may_block_on_the_channel_of_another_loop);
}

int main(void) {
  Suite* suite = suite_create("thread");

  add_passing(suite);
  add_sends(suite);
  add_timeouts(suite);
  add_loops(suite);
  return support_main(suite);
}
