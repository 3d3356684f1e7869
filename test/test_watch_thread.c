/* SPDX-License-Identifier: MIT
 *
 * Watch between threads that block: receivers that sleep for a change or for a value, time-outs, and who may sleep where. */
#include "watch_support.h"

#include <limits.h>

enum { NOT_DONE = INT_MIN }; /* no answer is that low */

/* What values are: 8 bytes, many bytes that show when they are torn, or values that own memory. In front of each is a number. */
enum { NUMBERS, BLOBS, OWNERS, KINDS };

/* How a value gets into the channel. */
enum { SEND, REPLACE, MODIFY, MODIFY_IF, WAYS };

enum { BLOB_SIZE = 200 };

#define KIND (_i % KINDS)
#define WAY (_i / KINDS)
#define add_for_every_kind(tcase, test) tcase_add_loop_test(tcase, test, 0, KINDS)
#define add_for_every_way(tcase, test) tcase_add_loop_test(tcase, test, 0, KINDS* WAYS)

/* Time-outs that no test lives to see; a clock that overflows would make them short. */
static const uint64_t huge[] = {UINT64_MAX, UINT64_MAX - 1, INT64_MAX, (uint64_t) INT64_MAX + 1, UINT64_MAX / 2};

static const uint64_t short_times[] = {1, 1000, 300000, 5000000, 20000000};

/* Channels. */

typedef struct channel_s {
  int kind;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
} channel_t;

typedef union any_u {
  uint64_t number;
  watch_owned_t owned;
  unsigned char bytes[BLOB_SIZE];
} any_t;

static void channel_open(channel_t* channel, int kind, uv_loop_t* loop, uvch_watch_receiver_t* rx, uint64_t initial) {
  unsigned char blob[BLOB_SIZE];

  memset(channel, 0, sizeof(*channel));
  channel->kind = kind;
  if (kind == OWNERS) {
    watch_open_owning(loop, rx, &channel->tx, &channel->owner, watch_owned_copy, initial);
  } else if (kind == BLOBS) {
    watch_blob_fill(blob, sizeof(blob), initial);
    watch_open_ex(loop, rx, &channel->tx, sizeof(blob), blob, NULL);
  } else {
    watch_open(loop, rx, &channel->tx, initial);
  }
}

/* Of a channel whose senders and receivers are all closed. */
static void channel_check(channel_t* channel) {
  watch_owner_check(&channel->owner);
}

static void channel_end(channel_t* channel) {
  watch_drop_sender(&channel->tx);
  channel_check(channel);
}

typedef struct change_s {
  channel_t* channel;
  uint64_t number;
  int answer;
} change_t;

static int change_modify(void* value, void* arg) {
  change_t* change = arg;
  watch_owned_t* owned = value;

  if (change->channel->kind == OWNERS) { /* also what is not stored may be changed */
    owned->number = change->number;
    owned->box[0] = change->number;
    owned->box[1] = ~change->number;
  } else if (change->channel->kind == BLOBS) {
    watch_blob_fill(value, BLOB_SIZE, change->number);
  } else {
    memcpy(value, &change->number, sizeof(change->number));
  }
  return change->answer;
}

static int any_make(channel_t* channel, any_t* any, uint64_t number) {
  if (channel->kind == OWNERS) {
    return watch_owned_make(&channel->owner, &any->owned, number);
  }
  if (channel->kind == BLOBS) {
    watch_blob_fill(any->bytes, BLOB_SIZE, number);
  } else {
    any->number = number;
  }
  return 1;
}

static void any_end(channel_t* channel, any_t* any) {
  if (channel->kind == OWNERS) {
    free(any->owned.box);
    atomic_fetch_add(&channel->owner.dropped, 1);
  }
}

/* Any thread. */
static int try_put(channel_t* channel, int way, uint64_t number) {
  change_t change = {channel, number, 1};
  any_t fresh;
  any_t old;
  int r;

  if (way == MODIFY) {
    return uvch_watch_modify(&channel->tx, change_modify, &change);
  }
  if (way == MODIFY_IF) {
    r = uvch_watch_modify_if(&channel->tx, change_modify, &change);
    return r == 1 ? 0 : r;
  }
  if (!any_make(channel, &fresh, number)) {
    return UV_ENOMEM;
  }
  r = way == SEND ? uvch_watch_send(&channel->tx, &fresh) : uvch_watch_send_replace(&channel->tx, &fresh, &old);
  if (r != 0) {
    any_end(channel, &fresh);
  } else if (way == REPLACE) {
    any_end(channel, &old);
  }
  return r;
}

static void put(channel_t* channel, int way, uint64_t number) {
  support_check_eq(try_put(channel, way, number), 0);
}

/* It is whole; its number. Any thread. */
static bool is_whole(const channel_t* channel, const void* value) {
  switch (channel->kind) {
    case OWNERS:
      return watch_owned_is_whole(value);
    case BLOBS:
      return watch_blob_is_whole(value, BLOB_SIZE);
    default:
      return true;
  }
}

static uint64_t peek(const channel_t* channel, uvch_watch_receiver_t* rx) {
  const void* value = uvch_watch_borrow(rx);

  support_check(value != NULL);
  support_check(is_whole(channel, value));
  return watch_number(value);
}

/* Both forms by turns. */
static int wait_for_change(uvch_watch_receiver_t* rx, uint64_t timeout) {
  return timeout == 0 ? uvch_watch_changed_wait(rx) : uvch_watch_changed_timedwait(rx, timeout);
}

static void change_comes(channel_t* channel, uvch_watch_receiver_t* rx, uint64_t timeout, uint64_t number) {
  support_check_eq(wait_for_change(rx, timeout), 0);
  support_check_eq(uvch_watch_has_changed(rx) == 1, 0);
  support_check_eq(peek(channel, rx), number);
  support_check_eq(uvch_watch_borrow_has_changed(rx), 0);
}

/* A test of a value that counts. */
typedef struct test_s {
  uint64_t from;  /* yes from that number on */
  uint64_t fails; /* the number for which it says UV_ENOBUFS */
  size_t calls;
  uint64_t last;
  bool again; /* it has been called twice for one value; only where no two of them have the same number */
} test_t;

static int test_cb(const void* value, void* arg) {
  uint64_t number = watch_number(value);
  test_t* test = arg;

  test->again = test->again || (test->calls > 0 && test->last == number);
  test->calls += 1;
  test->last = number;
  return number == test->fails ? UV_ENOBUFS : number >= test->from ? (int) (number % 3) + 1 : 0;
}

static const test_t no_test = {UINT64_MAX, UINT64_MAX, 0, 0, false};

static test_t test_from(uint64_t number) {
  test_t test = no_test;

  test.from = number;
  return test;
}

static int wait_for(uvch_watch_receiver_t* rx, test_t* test, const void** value, uint64_t timeout) {
  return timeout == 0 ? uvch_watch_wait_for_wait(rx, test_cb, test, value)
                      : uvch_watch_wait_for_timedwait(rx, test_cb, test, value, timeout);
}

/* What has ended says the same to every call. */
static void check_over(uvch_watch_receiver_t* rx) {
  const void* value = rx;
  test_t test = no_test;

  ck_assert_int_eq(uvch_watch_changed_wait(rx), UV_EOF);
  ck_assert_int_eq(uvch_watch_changed_timedwait(rx, 0), UV_EOF);
  ck_assert_int_eq(uvch_watch_changed_timedwait(rx, UINT64_MAX), UV_EOF);
  ck_assert_int_eq(wait_for(rx, &test, &value, 0), UV_EOF);
  ck_assert_uint_eq(test.calls, 1);
  ck_assert_int_eq(wait_for(rx, &test, NULL, 1), UV_EOF);
  ck_assert_uint_eq(test.calls, 2);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(rx, test_cb, &test, &value, 0), UV_EOF);
  ck_assert_uint_eq(test.calls, 3);
  ck_assert_ptr_eq(value, rx);
  ck_assert_int_eq(uvch_watch_has_changed(rx), UV_EOF);
}

/* A thread that makes one blocking call. */
typedef enum { CHANGED, WAITS_FOR, WATCHES } what_t;

typedef struct sleeper_s {
  what_t what;
  uvch_watch_receiver_t* rx;
  uvch_watch_sender_t tx; /* of one that watches: a clone of its own */
  uint64_t timeout;       /* 0: none */
  test_t test;
  const void* value;
  int answer;
  _Atomic(long) number;
  uv_thread_t thread;
} sleeper_t;

static int sleeper_call(sleeper_t* sleeper) {
  uint64_t timeout = sleeper->timeout;

  switch (sleeper->what) {
    case CHANGED:
      return wait_for_change(sleeper->rx, timeout);
    case WAITS_FOR:
      return wait_for(sleeper->rx, &sleeper->test, &sleeper->value, timeout);
    default:
      return timeout == 0 ? uvch_watch_closed_wait(&sleeper->tx) : uvch_watch_closed_timedwait(&sleeper->tx, timeout);
  }
}

static void sleep_on_it(void* arg) {
  sleeper_t* sleeper = arg;

  atomic_store(&sleeper->number, support_thread_number());
  sleeper->answer = sleeper_call(sleeper);
}

static void sleeper_spawn(sleeper_t* sleeper, what_t what, uint64_t timeout) {
  sleeper->what = what;
  sleeper->timeout = timeout;
  sleeper->answer = NOT_DONE;
  atomic_store(&sleeper->number, 0);
  support_spawn(&sleeper->thread, sleep_on_it, sleeper);
  support_until_blocked(&sleeper->number);
}

/* They return once it sleeps. */
static void sleeps_for_change(sleeper_t* sleeper, uvch_watch_receiver_t* rx, uint64_t timeout) {
  memset(sleeper, 0, sizeof(*sleeper));
  sleeper->rx = rx;
  sleeper_spawn(sleeper, CHANGED, timeout);
}

static void sleeps_for_value(sleeper_t* sleeper, uvch_watch_receiver_t* rx, test_t test, uint64_t timeout) {
  memset(sleeper, 0, sizeof(*sleeper));
  sleeper->rx = rx;
  sleeper->test = test;
  sleeper_spawn(sleeper, WAITS_FOR, timeout);
}

static void sleeps_for_end(sleeper_t* sleeper, const uvch_watch_sender_t* tx, uint64_t timeout) {
  memset(sleeper, 0, sizeof(*sleeper));
  watch_clone_sender(tx, &sleeper->tx);
  sleeper_spawn(sleeper, WATCHES, timeout);
}

static void still_sleeps(sleeper_t* sleeper) {
  support_until_asleep(atomic_load(&sleeper->number));
}

static void sleeper_join(sleeper_t* sleeper, int answer) {
  support_join(&sleeper->thread);
  ck_assert_int_eq(sleeper->answer, answer);
  if (sleeper->what == WATCHES) {
    watch_drop_sender(&sleeper->tx);
  }
}

/* What wakes who waits for a change. */

START_TEST(a_change_wakes_a_sleeping_receiver) {
  uvch_watch_receiver_t rx;
  channel_t channel;
  sleeper_t sleeper;
  uint64_t i;

  channel_open(&channel, KIND, NULL, &rx, 0);
  for (i = 1; i <= 20; i++) { /* each time another thread: the receiver may be handed on */
    sleeps_for_change(&sleeper, &rx, i % 2 == 0 ? 0 : UINT64_MAX);
    put(&channel, WAY, i);
    sleeper_join(&sleeper, 0);
    ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
    ck_assert_uint_eq(peek(&channel, &rx), i);
    ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0);
    ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_ETIMEDOUT);
  }
  watch_close(&rx);
  channel_end(&channel);
}
END_TEST

START_TEST(an_equal_value_is_a_change) {
  uvch_watch_receiver_t rx;
  channel_t channel;
  sleeper_t sleeper;

  channel_open(&channel, KIND, NULL, &rx, 7);
  sleeps_for_change(&sleeper, &rx, 0);
  put(&channel, WAY, 7);
  sleeper_join(&sleeper, 0);
  put(&channel, WAY, 7);
  change_comes(&channel, &rx, 1, 7);
  watch_close(&rx);
  channel_end(&channel);
}
END_TEST

/* A function that stores nothing wakes nobody. */
START_TEST(what_is_not_stored_wakes_nobody) {
  uvch_watch_receiver_t rx;
  channel_t channel;
  change_t change = {&channel, 9, 0};
  sleeper_t sleepers[2];
  uvch_watch_receiver_t second;

  channel_open(&channel, KIND, NULL, &rx, 1);
  watch_subscribe(NULL, &second, &channel.tx);
  sleeps_for_change(&sleepers[0], &rx, 0);
  sleeps_for_value(&sleepers[1], &second, test_from(2), UINT64_MAX);
  ck_assert_int_eq(uvch_watch_modify_if(&channel.tx, change_modify, &change), 0);
  change.answer = UV_EAGAIN;
  ck_assert_int_eq(uvch_watch_modify_if(&channel.tx, change_modify, &change), UV_EAGAIN);
  ck_assert_int_eq(uvch_watch_modify(&channel.tx, change_modify, &change), UV_EAGAIN);
  still_sleeps(&sleepers[0]);
  still_sleeps(&sleepers[1]);
  put(&channel, SEND, 2);
  sleeper_join(&sleepers[0], 0);
  sleeper_join(&sleepers[1], 0);
  ck_assert_uint_eq(sleepers[1].test.calls, 2); /* for 1 and 2 */
  watch_close(&rx);
  watch_close(&second);
  channel_end(&channel);
}
END_TEST

enum { MANY = 8 };

START_TEST(a_change_wakes_every_sleeping_receiver) {
  uvch_watch_receiver_t rx[MANY];
  uvch_watch_receiver_t idle;
  sleeper_t sleepers[MANY];
  channel_t channel;
  uint64_t round;
  size_t i;

  channel_open(&channel, KIND, NULL, &rx[0], 0);
  for (i = 1; i < MANY; i++) {
    if (i % 2 == 0) {
      watch_subscribe(NULL, &rx[i], &channel.tx);
    } else {
      watch_clone(NULL, &rx[i], &rx[0]);
    }
  }
  watch_subscribe(NULL, &idle, &channel.tx);
  for (round = 1; round <= 5; round++) {
    for (i = 0; i < MANY; i++) {
      if (i < 2) {
        sleeps_for_value(&sleepers[i], &rx[i], test_from(round), i == 0 ? 0 : UINT64_MAX);
      } else {
        sleeps_for_change(&sleepers[i], &rx[i], i % 2 == 0 ? 0 : UINT64_MAX / 2);
      }
    }
    put(&channel, WAY, round);
    for (i = 0; i < MANY; i++) {
      sleeper_join(&sleepers[i], 0);
      ck_assert_uint_eq(peek(&channel, &rx[i]), round);
      ck_assert_int_eq(uvch_watch_has_changed(&rx[i]), 0);
    }
  }
  change_comes(&channel, &idle, 0, 5); /* of all of them it sees the newest */
  ck_assert_int_eq(uvch_watch_changed_timedwait(&idle, 0), UV_ETIMEDOUT);
  for (i = 0; i < MANY; i++) {
    watch_close(&rx[i]);
  }
  watch_close(&idle);
  channel_end(&channel);
}
END_TEST

START_TEST(the_last_sender_wakes_every_sleeping_receiver) {
  uvch_watch_receiver_t rx[MANY];
  sleeper_t sleepers[MANY];
  uvch_watch_sender_t copy;
  channel_t channel;
  size_t i;

  channel_open(&channel, KIND, NULL, &rx[0], 3);
  watch_clone_sender(&channel.tx, &copy);
  for (i = 1; i < MANY; i++) {
    watch_subscribe(NULL, &rx[i], &channel.tx);
  }
  for (i = 0; i < MANY; i++) {
    if (i % 3 == 0) {
      sleeps_for_value(&sleepers[i], &rx[i], test_from(4), i % 2 == 0 ? 0 : UINT64_MAX);
      sleepers[i].value = &copy;
    } else {
      sleeps_for_change(&sleepers[i], &rx[i], i % 2 == 0 ? 0 : UINT64_MAX);
    }
  }
  watch_drop_sender(&copy);
  for (i = 0; i < MANY; i++) {
    still_sleeps(&sleepers[i]);
  }
  watch_drop_sender(&channel.tx);
  for (i = 0; i < MANY; i++) {
    sleeper_join(&sleepers[i], UV_EOF);
    ck_assert_uint_eq(sleepers[i].test.calls, i % 3 == 0); /* not twice for one value */
    check_over(&rx[i]);
    ck_assert_uint_eq(peek(&channel, &rx[i]), 3);
    watch_close(&rx[i]);
  }
  channel_check(&channel);
}
END_TEST

START_TEST(the_last_value_comes_before_the_end) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t late;
  uvch_watch_receiver_t third;
  channel_t channel;
  const void* value = NULL;
  test_t test = test_from(5);

  channel_open(&channel, KIND, NULL, &rx, 1);
  watch_subscribe(NULL, &third, &channel.tx);
  put(&channel, WAY, 4);
  put(&channel, WAY, 5);
  watch_drop_sender(&channel.tx);
  watch_clone(NULL, &late, &rx);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), UV_EOF);
  change_comes(&channel, &rx, 0, 5);
  check_over(&rx);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&late, 0), 0);
  check_over(&late);
  ck_assert_int_eq(wait_for(&third, &test, &value, 0), 0);
  ck_assert_uint_eq(watch_number(value), 5);
  ck_assert_uint_eq(test.calls, 1);
  check_over(&third);
  ck_assert_uint_eq(peek(&channel, &late), 5);
  watch_close(&late);
  watch_close(&third);
  watch_close(&rx);
  channel_check(&channel);
}
END_TEST

/* It is there also when a thread sleeps: it may see the value and the end in one go. */
START_TEST(a_value_and_the_end_at_once_are_two_answers) {
  uvch_watch_receiver_t rx;
  sleeper_t sleeper;
  channel_t channel;
  uint64_t round;

  for (round = 0; round < 20; round++) {
    channel_open(&channel, KIND, NULL, &rx, 0);
    sleeps_for_change(&sleeper, &rx, round % 2 == 0 ? 0 : UINT64_MAX);
    put(&channel, WAY, 1);
    watch_drop_sender(&channel.tx);
    sleeper_join(&sleeper, 0);
    ck_assert_uint_eq(peek(&channel, &rx), 1);
    check_over(&rx);
    watch_close(&rx);
    channel_check(&channel);
  }
}
END_TEST

START_TEST(marks_decide_whether_a_wait_sleeps) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t copy;
  sleeper_t sleeper;
  channel_t channel;

  channel_open(&channel, KIND, NULL, &rx, 1);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0); /* also the first value */
  watch_clone(NULL, &copy, &rx);
  change_comes(&channel, &rx, 0, 1);
  change_comes(&channel, &copy, 0, 1); /* has its own */
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_ETIMEDOUT);
  put(&channel, SEND, 2);
  ck_assert_int_eq(uvch_watch_mark_unchanged(&rx), 0);
  sleeps_for_change(&sleeper, &rx, 0);
  put(&channel, SEND, 3);
  sleeper_join(&sleeper, 0);
  change_comes(&channel, &copy, 1, 3);
  put(&channel, SEND, 4);
  ck_assert_uint_eq(peek(&channel, &rx), 4); /* looking alone is not seeing */
  change_comes(&channel, &rx, UINT64_MAX, 4);
  put(&channel, SEND, 5);
  ck_assert_uint_eq(watch_take(&rx), 5);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 1), UV_ETIMEDOUT);
  watch_drop_sender(&channel.tx);
  check_over(&rx);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
  change_comes(&channel, &rx, 0, 5);
  check_over(&rx);
  watch_close(&copy);
  watch_close(&rx);
  channel_check(&channel);
}
END_TEST

START_TEST(a_value_of_no_bytes_is_a_signal) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  sleeper_t sleeper;

  watch_open_ex(NULL, &rx, &tx, 0, NULL, NULL);
  sleeps_for_change(&sleeper, &rx, 0);
  ck_assert_int_eq(uvch_watch_send(&tx, NULL), 0);
  sleeper_join(&sleeper, 0);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 1), UV_ETIMEDOUT);
  watch_drop_sender(&tx);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_EOF);
  watch_close(&rx);
}
END_TEST

/* Who waits for a value. */

START_TEST(a_value_that_is_there_is_tested_first_and_once) {
  uvch_watch_receiver_t rx;
  const void* value;
  channel_t channel;
  test_t test;
  int seen;

  channel_open(&channel, KIND, NULL, &rx, 5);
  for (seen = 1; seen >= 0; seen--) {
    if (seen == 0) {
      put(&channel, WAY, 6);
    }
    test = test_from(5);
    value = NULL;
    ck_assert_int_eq(wait_for(&rx, &test, &value, seen == 0 ? 0 : UINT64_MAX), 0);
    ck_assert_uint_eq(test.calls, 1);
    ck_assert_uint_eq(watch_number(value), seen == 0 ? 6 : 5);
    ck_assert(is_whole(&channel, value));
    ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), !seen);
    ck_assert_int_eq(uvch_watch_has_changed(&rx), 0); /* it has been seen now */
    ck_assert_ptr_eq(uvch_watch_borrow(&rx), value);
    ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0);
    ck_assert_int_eq(wait_for(&rx, &test, NULL, 0), 0);
    ck_assert_uint_eq(test.calls, 2);
  }
  watch_close(&rx);
  channel_end(&channel);
}
END_TEST

START_TEST(each_new_value_is_tested_until_one_is_the_right_one) {
  uvch_watch_receiver_t rx;
  sleeper_t sleeper;
  channel_t channel;
  uint64_t i;

  channel_open(&channel, KIND, NULL, &rx, 0);
  put(&channel, WAY, 1);
  sleeps_for_value(&sleeper, &rx, test_from(6), KIND == 0 ? 0 : UINT64_MAX);
  for (i = 2; i < 6; i++) {
    put(&channel, WAY, i);
    support_until_asleep(atomic_load(&sleeper.number));
  }
  put(&channel, WAY, 6);
  sleeper_join(&sleeper, 0);
  ck_assert_uint_ge(sleeper.test.calls, 2); /* some may be skipped */
  ck_assert_uint_le(sleeper.test.calls, 6);
  ck_assert(!sleeper.test.again);
  ck_assert_uint_eq(watch_number(sleeper.value), 6);
  ck_assert(is_whole(&channel, sleeper.value));
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
  watch_close(&rx);
  channel_end(&channel);
}
END_TEST

START_TEST(each_waits_for_its_own_value) {
  uvch_watch_receiver_t rx[MANY];
  sleeper_t sleepers[MANY];
  channel_t channel;
  uint64_t i;
  size_t k;

  channel_open(&channel, KIND, NULL, NULL, 0);
  for (i = 0; i < MANY; i++) {
    watch_subscribe(NULL, &rx[i], &channel.tx);
    sleeps_for_value(&sleepers[i], &rx[i], test_from(i + 1), i % 2 == 0 ? 0 : UINT64_MAX);
  }
  for (i = 0; i < MANY; i++) {
    put(&channel, WAY, i + 1);
    sleeper_join(&sleepers[i], 0);
    ck_assert_uint_eq(watch_number(sleepers[i].value), i + 1);
    for (k = i + 1; k < MANY; k++) {
      still_sleeps(&sleepers[k]);
    }
  }
  for (i = 0; i < MANY; i++) { /* each has kept what it got */
    ck_assert_uint_eq(watch_number(sleepers[i].value), i + 1);
    ck_assert(is_whole(&channel, sleepers[i].value));
    ck_assert(!sleepers[i].test.again);
    watch_close(&rx[i]);
  }
  channel_end(&channel);
}
END_TEST

START_TEST(a_test_that_fails_ends_the_wait_and_the_value_is_seen) {
  uvch_watch_receiver_t rx;
  sleeper_t sleeper;
  channel_t channel;
  const void* value = &rx;
  test_t test = no_test;

  channel_open(&channel, KIND, NULL, &rx, 1);
  put(&channel, WAY, 2);
  test.fails = 2;
  ck_assert_int_eq(wait_for(&rx, &test, &value, 0), UV_ENOBUFS);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
  test.fails = 3;
  sleeps_for_value(&sleeper, &rx, test, 0);
  put(&channel, WAY, 3);
  sleeper_join(&sleeper, UV_ENOBUFS);
  ck_assert_uint_eq(sleeper.test.calls, 3);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
  ck_assert_uint_eq(peek(&channel, &rx), 3);
  watch_drop_sender(&channel.tx);
  ck_assert_int_eq(wait_for(&rx, &test, &value, 0), UV_ENOBUFS); /* before the end */
  ck_assert_ptr_eq(value, &rx);
  check_over(&rx);
  watch_close(&rx);
  channel_check(&channel);
}
END_TEST

START_TEST(a_value_that_was_waited_for_stays_until_the_next_borrow) {
  uvch_watch_receiver_t rx;
  const void* value = NULL;
  channel_t channel;
  test_t test = test_from(1);
  uint64_t i;

  channel_open(&channel, KIND, NULL, &rx, 1);
  ck_assert_int_eq(wait_for(&rx, &test, &value, 0), 0);
  for (i = 2; i < 20; i++) {
    put(&channel, WAY, i);
    ck_assert_int_eq(wait_for_change(&rx, i % 2), 0); /* which borrows nothing */
    ck_assert_uint_eq(watch_number(value), 1);
    ck_assert(is_whole(&channel, value));
  }
  ck_assert_uint_eq(peek(&channel, &rx), 19);
  if (KIND == OWNERS) {
    ck_assert_uint_eq(watch_owned_alive(&channel.owner), 1);
  }
  watch_close(&rx);
  channel_end(&channel);
}
END_TEST

/* A predicate may call everything, also on its own channel. */
typedef struct nosy_s {
  channel_t* channel;
  uvch_watch_receiver_t* rx; /* the one that waits */
  uvch_watch_receiver_t other;
  uint64_t calls;
  uint64_t until;
} nosy_t;

static int nosy_cb(const void* value, void* arg) {
  nosy_t* nosy = arg;
  uint64_t number = watch_number(value);
  test_t test = no_test;

  support_check_eq(number, nosy->calls);
  nosy->calls += 1;
  if (number == nosy->until) {
    return 1;
  }
  put(nosy->channel, (int) (number % WAYS), number + 1);
  support_check_eq(uvch_watch_has_changed(nosy->rx), 1);
  support_check_eq(uvch_watch_changed_wait(&nosy->other), 0);
  support_check_eq(peek(nosy->channel, &nosy->other), number + 1);
  support_check_eq(wait_for(&nosy->other, &test, NULL, 1), UV_ETIMEDOUT);
  watch_close(&nosy->other);
  watch_clone(NULL, &nosy->other, nosy->rx);
  support_check_eq(uvch_watch_mark_unchanged(&nosy->other), 0);
  support_check_eq(watch_number(value), number); /* whatever was sent */
  support_check(is_whole(nosy->channel, value));
  return 0;
}

START_TEST(a_test_that_sends_and_waits_itself_is_called_for_what_it_sent) {
  uvch_watch_receiver_t rx;
  const void* value = NULL;
  channel_t channel;
  nosy_t nosy;

  memset(&nosy, 0, sizeof(nosy));
  channel_open(&channel, KIND, NULL, &rx, 0);
  watch_subscribe(NULL, &nosy.other, &channel.tx);
  nosy.channel = &channel;
  nosy.rx = &rx;
  nosy.until = 25;
  ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, nosy_cb, &nosy, &value), 0);
  ck_assert_uint_eq(nosy.calls, 26);
  ck_assert_uint_eq(watch_number(value), 25);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
  watch_close(&nosy.other);
  watch_close(&rx);
  channel_end(&channel);
}
END_TEST

/* Time. */

START_TEST(a_timeout_of_0_takes_what_is_there_and_tells_the_end_before_time) {
  uvch_watch_receiver_t rx;
  const void* value = &rx;
  channel_t channel;
  test_t test = test_from(2);

  channel_open(&channel, KIND, NULL, &rx, 1);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, test_cb, &test, &value, 0), UV_ETIMEDOUT);
  ck_assert_uint_eq(test.calls, 1);
  ck_assert_ptr_eq(value, &rx);
  put(&channel, WAY, 2);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), 0);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, test_cb, &test, &value, 0), 0);
  ck_assert_uint_eq(test.calls, 2);
  ck_assert_uint_eq(watch_number(value), 2);
  put(&channel, WAY, 3);
  watch_drop_sender(&channel.tx);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), 0);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_EOF);
  watch_close(&rx);
  channel_check(&channel);
}
END_TEST

START_TEST(a_timed_wait_waits_at_least_its_time_and_sees_nothing) {
  uvch_watch_receiver_t rx;
  channel_t channel;
  test_t test = test_from(2);
  uint64_t start;
  size_t i;

  channel_open(&channel, KIND, NULL, &rx, 1);
  for (i = 0; i < COUNT(short_times); i++) {
    start = uv_hrtime();
    ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, short_times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - start, short_times[i]);
    start = uv_hrtime();
    ck_assert_int_eq(wait_for(&rx, &test, NULL, short_times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - start, short_times[i]);
    ck_assert_uint_eq(test.calls, i + 1);
  }
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&channel.tx), 1);
  put(&channel, WAY, 2);
  change_comes(&channel, &rx, 1, 2);
  watch_close(&rx);
  channel_end(&channel);
}
END_TEST

/* A wait for a value sees those that it tests, also if its time is over then. */
START_TEST(values_that_were_tested_in_vain_have_been_seen) {
  uvch_watch_receiver_t rx;
  channel_t channel;
  test_t test = test_from(9);

  channel_open(&channel, KIND, NULL, &rx, 1);
  put(&channel, WAY, 2);
  ck_assert_int_eq(wait_for(&rx, &test, NULL, 1000), UV_ETIMEDOUT);
  ck_assert_uint_eq(test.last, 2);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
  put(&channel, WAY, 3);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 1);
  watch_close(&rx);
  channel_end(&channel);
}
END_TEST

START_TEST(a_huge_timeout_does_not_overflow) {
  uvch_watch_receiver_t rx[2];
  sleeper_t sleepers[3];
  channel_t channel;

  channel_open(&channel, NUMBERS, NULL, &rx[0], 0);
  watch_subscribe(NULL, &rx[1], &channel.tx);
  sleeps_for_change(&sleepers[0], &rx[0], huge[_i]);
  sleeps_for_value(&sleepers[1], &rx[1], test_from(5), huge[_i]);
  sleeps_for_end(&sleepers[2], &channel.tx, huge[_i]);
  put(&channel, SEND, 5);
  sleeper_join(&sleepers[0], 0);
  sleeper_join(&sleepers[1], 0);
  still_sleeps(&sleepers[2]);
  watch_close(&rx[0]);
  watch_close(&rx[1]);
  sleeper_join(&sleepers[2], 0);
  channel_end(&channel);
}
END_TEST

/* Somebody sends, or closes the last sender, as close to the deadline as he can, a little before or after. */
typedef struct aim_s {
  channel_t channel;
  int way;
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
      support_expect_eq(&aim->result, try_put(&aim->channel, aim->way, round), 0);
    } else {
      support_expect_eq(&aim->result, uvch_watch_sender_close(&aim->channel.tx), 0);
    }
    atomic_store(&aim->answered, round);
  }
}

static int aimed_wait(uvch_watch_receiver_t* rx, test_t* test, bool for_value, uint64_t timeout) {
  if (for_value) {
    return timeout > 0 ? uvch_watch_wait_for_timedwait(rx, test_cb, test, NULL, timeout)
                       : uvch_watch_wait_for_wait(rx, test_cb, test, NULL);
  }
  return timeout > 0 ? uvch_watch_changed_timedwait(rx, timeout) : uvch_watch_changed_wait(rx);
}

START_TEST(what_comes_at_the_deadline_comes_now_or_with_the_next_wait) {
  bool for_value = _i / (KINDS * WAYS) == 1;
  uvch_watch_receiver_t rx;
  uv_thread_t thread;
  static aim_t aim;
  uint64_t round;
  test_t test;
  int r;

  memset(&aim, 0, sizeof(aim));
  aim.rounds = support_scale(500) + 1;
  aim.way = WAY % WAYS;
  channel_open(&aim.channel, KIND, NULL, &rx, 0);
  support_spawn(&thread, send_at_deadline, &aim);
  for (round = 1; round <= aim.rounds; round++) {
    test = test_from(round);
    atomic_store(&aim.moment, uv_hrtime() + AIM_TIMEOUT - AIM_SPREAD + round * 7919 % (2 * AIM_SPREAD));
    atomic_store(&aim.round, round);
    r = aimed_wait(&rx, &test, for_value, AIM_TIMEOUT);
    if (r == UV_ETIMEDOUT) {
      r = aimed_wait(&rx, &test, for_value, 0);
    }
    support_check_eq(r, round < aim.rounds ? 0 : UV_EOF);
    support_check_eq(peek(&aim.channel, &rx), round < aim.rounds ? round : round - 1);
    support_until(atomic_load(&aim.answered) == round);
  }
  support_join(&thread);
  support_result_check(&aim.result);
  watch_close(&rx);
  channel_check(&aim.channel);
}
END_TEST

/* Where a thread may sleep. */

typedef struct inside_s {
  channel_t channel;
  channel_t other; /* has no receiver on the loop */
  uvch_watch_receiver_t other_rx;
  uvch_watch_receiver_t plain; /* of the same channel */
  size_t calls;
} inside_t;

static void inside_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  inside_t* inside = rx->data;
  test_t test = no_test;

  inside->calls += 1;
  if (status == UV_EOF) {
    watch_close(rx);
    return;
  }
  support_check_eq(status, 0);
  support_check(value != NULL);
  support_check_eq(uvch_watch_changed_wait(rx), UV_EPERM);
  support_check_eq(uvch_watch_changed_timedwait(rx, 0), UV_EPERM);
  support_check_eq(wait_for(rx, &test, NULL, 0), UV_EPERM);
  support_check_eq(uvch_watch_wait_for_timedwait(rx, test_cb, &test, NULL, 0), UV_EPERM);
  support_check_eq(uvch_watch_closed_wait(&inside->channel.tx), UV_EPERM);
  support_check_eq(uvch_watch_closed_timedwait(&inside->channel.tx, 1), UV_EPERM);
  support_check_eq(test.calls, 0);
  support_check_eq(uvch_watch_changed_timedwait(&inside->other_rx, 1), UV_ETIMEDOUT);
  support_check_eq(uvch_watch_closed_timedwait(&inside->other.tx, 1), UV_ETIMEDOUT);
  put(&inside->other, SEND, 8);
  change_comes(&inside->other, &inside->other_rx, 0, 8);
  support_check_eq(uvch_watch_changed_wait(&inside->plain), 0);
  support_check_eq(watch_peek(&inside->plain), 1);
  watch_drop_sender(&inside->channel.tx);
}

START_TEST(a_wait_on_the_loop_of_a_receiver_is_refused) {
  uvch_watch_receiver_t rx;
  static inside_t inside;
  uv_loop_t loop;

  memset(&inside, 0, sizeof(inside));
  support_loop_init(&loop);
  channel_open(&inside.channel, KIND, NULL, &inside.plain, 0);
  channel_open(&inside.other, KIND, NULL, &inside.other_rx, 0);
  watch_subscribe(&loop, &rx, &inside.channel.tx);
  rx.data = &inside;
  ck_assert_int_eq(uvch_watch_start(&rx, inside_on_change, 0), 0);
  put(&inside.channel, WAY, 1);
  support_loop_run(&loop);
  ck_assert_uint_eq(inside.calls, 2);
  watch_close(&inside.plain);
  channel_check(&inside.channel);
  watch_close(&inside.other_rx);
  channel_end(&inside.other);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_receiver_with_a_loop_cannot_be_waited_for_and_loses_nothing) {
  uvch_watch_receiver_t rx;
  const void* value = &rx;
  channel_t channel;
  uv_loop_t loop;
  test_t test = test_from(0);
  int news;

  support_loop_init(&loop);
  channel_open(&channel, KIND, NULL, &rx, 0);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 1000), UV_ETIMEDOUT);
  watch_attach(&loop, &rx);
  for (news = 0; news < 2; news++) {
    if (news == 1) {
      put(&channel, WAY, 1);
    }
    ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_EPERM);
    ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_EPERM);
    ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, UINT64_MAX), UV_EPERM);
    ck_assert_int_eq(wait_for(&rx, &test, &value, 0), UV_EPERM);
    ck_assert_int_eq(wait_for(&rx, &test, &value, 1), UV_EPERM);
    ck_assert_int_eq(uvch_watch_has_changed(&rx), news);
  }
  ck_assert_uint_eq(test.calls, 0);
  ck_assert_ptr_eq(value, &rx);
  watch_drop_sender(&channel.tx);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_EPERM);
  ck_assert_int_eq(wait_for(&rx, &test, &value, 0), UV_EPERM);
  ck_assert_uint_eq(peek(&channel, &rx), 1);
  watch_close(&rx);
  channel_check(&channel);
  support_loop_end(&loop);
}
END_TEST

START_TEST(null_and_closed_ends_are_refused) {
  uvch_watch_receiver_t rx;
  const void* value = &rx;
  channel_t channel;
  test_t test = test_from(0);

  channel_open(&channel, KIND, NULL, &rx, 0);
  put(&channel, WAY, 1);
  ck_assert_int_eq(uvch_watch_changed_wait(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_changed_timedwait(NULL, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for_wait(NULL, test_cb, &test, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, NULL, &test, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(NULL, test_cb, &test, &value, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, NULL, &test, &value, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed_wait(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed_timedwait(NULL, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 1);
  change_comes(&channel, &rx, 0, 1);
  watch_close(&rx);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 1), UV_EBADF);
  ck_assert_int_eq(wait_for(&rx, &test, &value, 0), UV_EBADF);
  ck_assert_int_eq(wait_for(&rx, &test, &value, 1), UV_EBADF);
  watch_drop_sender(&channel.tx);
  ck_assert_int_eq(uvch_watch_closed_wait(&channel.tx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&channel.tx, 1), UV_EBADF);
  ck_assert_uint_eq(test.calls, 0);
  ck_assert_ptr_eq(value, &rx);
  channel_check(&channel);
}
END_TEST

START_TEST(a_wait_without_memory_is_refused_and_loses_nothing) {
  uvch_watch_receiver_t rx;
  channel_t channel;
  test_t test = test_from(1);

  channel_open(&channel, KIND, NULL, &rx, 0);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 1000), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(wait_for(&rx, &test, NULL, 0), UV_ENOMEM);
  ck_assert_int_eq(wait_for(&rx, &test, NULL, 1000), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, test_cb, &test, NULL, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_watch_closed_wait(&channel.tx), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&channel.tx, 1000), UV_ENOMEM);
  support_alloc_fail_from(0);
  put(&channel, WAY, 1); /* nobody waits */
  support_alloc_fail_from(1);
  ck_assert_int_eq(wait_for(&rx, &test, NULL, 0), 0);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0);
  support_alloc_fail_from(0);
  watch_close(&rx);
  channel_end(&channel);
}
END_TEST

/* From a thread to a loop. */

typedef struct mover_s {
  channel_t* channel;
  uint64_t last;
  size_t calls;
} mover_t;

static void mover_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  mover_t* mover = rx->data;

  mover->calls += 1;
  if (status == UV_EOF) {
    watch_close(rx);
    return;
  }
  support_check_eq(status, 0);
  support_check(is_whole(mover->channel, value));
  mover->last = watch_number(value);
}

START_TEST(a_receiver_that_threads_have_waited_for_goes_on_on_a_loop) {
  uvch_watch_receiver_t rx;
  const void* kept;
  channel_t channel;
  sleeper_t sleeper;
  uv_loop_t loop;
  mover_t mover = {&channel, 0, 0};

  support_loop_init(&loop);
  channel_open(&channel, KIND, NULL, &rx, 0);
  sleeps_for_change(&sleeper, &rx, 0);
  put(&channel, WAY, 1);
  sleeper_join(&sleeper, 0);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 1000), UV_ETIMEDOUT);
  kept = uvch_watch_borrow(&rx);
  put(&channel, WAY, 2);
  rx.data = &mover;
  watch_attach(&loop, &rx);
  ck_assert_int_eq(uvch_watch_start(&rx, mover_on_change, 0), 0);
  watch_pump(&loop, mover.last == 2);
  ck_assert_uint_eq(mover.calls, 1);
  ck_assert_uint_eq(watch_number(kept), 1); /* moving keeps what is borrowed, and so does a callback */
  ck_assert(is_whole(&channel, kept));
  put(&channel, WAY, 3);
  watch_drop_sender(&channel.tx);
  support_loop_end(&loop);
  ck_assert_uint_eq(mover.last, 3);
  ck_assert_uint_eq(mover.calls, 3);
  channel_check(&channel);
}
END_TEST

/* Many threads, each with a receiver of one channel that many threads put numbers into. In each number is who put it and how many
 * he had put before; the last one is the same for all. */

enum { CROWD = 8, WRITERS = 4 };

typedef struct crowd_s crowd_t;

typedef struct writer_s {
  crowd_t* crowd;
  uint64_t index;
  uv_thread_t thread;
} writer_t;

typedef struct reader_s {
  crowd_t* crowd;
  uvch_watch_receiver_t rx;
  uint64_t next[WRITERS]; /* the lowest that may come from him */
  uint64_t changes;
  uint64_t last;
  uv_thread_t thread;
} reader_t;

struct crowd_s {
  channel_t channel;
  int way; /* WAYS: as it comes */
  uint64_t count;
  writer_t writers[WRITERS];
  reader_t readers[CROWD];
  support_result_t result;
};

static void crowd_write(void* arg) {
  writer_t* self = arg;
  crowd_t* crowd = self->crowd;
  uint64_t i;
  int way;
  int r;

  for (i = 0; i < crowd->count; i++) {
    way = crowd->way < WAYS ? crowd->way : (int) ((i + self->index) % WAYS);
    do {
      r = try_put(&crowd->channel, way, self->index << 32 | i);
    } while (r == UV_EBUSY);
    support_expect_eq(&crowd->result, r, 0);
  }
}

/* Numbers of one writer come in order. */
static void crowd_look(reader_t* self, const void* value) {
  support_result_t* result = &self->crowd->result;
  uint64_t number = watch_number(value);
  uint64_t writer = number >> 32;
  uint64_t index = number & UINT32_MAX;

  support_expect(result, is_whole(&self->crowd->channel, value));
  if (support_expect(result, writer < WRITERS && index < self->crowd->count)) {
    support_expect(result, index >= self->next[writer]);
    self->next[writer] = index + 1;
  }
  self->last = number;
}

static int crowd_test(const void* value, void* arg) {
  const reader_t* self = arg;

  return watch_number(value) != self->last;
}

/* Each version that is waited for comes once: no change, no answer. */
static void crowd_read(void* arg) {
  reader_t* self = arg;
  support_result_t* result = &self->crowd->result;
  const void* value = NULL;
  size_t turn;
  int r = 0;

  for (turn = 0; r != UV_EOF; turn++) {
    if (turn % 4 == 0) {
      r = uvch_watch_changed_timedwait(&self->rx, 10000);
    } else if (turn % 4 == 1) {
      r = uvch_watch_wait_for_timedwait(&self->rx, crowd_test, self, &value, 10000);
    } else if (turn % 4 == 2) {
      r = uvch_watch_wait_for_wait(&self->rx, crowd_test, self, &value);
    } else {
      r = uvch_watch_changed_wait(&self->rx);
    }
    if (r == 0) {
      self->changes += 1;
      if (turn % 4 == 0 || turn % 4 == 3) {
        value = uvch_watch_borrow_and_update(&self->rx);
      }
      crowd_look(self, value);
    } else {
      support_expect(result, r == UV_EOF || (turn % 4 < 2 && r == UV_ETIMEDOUT));
    }
  }
  value = uvch_watch_borrow(&self->rx);
  support_expect_eq(result, watch_number(value), self->last); /* that was the last one */
}

START_TEST(many_threads_see_what_many_threads_put) {
  static crowd_t crowd;
  size_t i;

  memset(&crowd, 0, sizeof(crowd));
  crowd.way = _i / KINDS;
  crowd.count = support_scale(3000);
  channel_open(&crowd.channel, KIND, NULL, NULL, UINT64_MAX);
  for (i = 0; i < CROWD; i++) {
    crowd.readers[i].crowd = &crowd;
    crowd.readers[i].last = UINT64_MAX;
    watch_subscribe(NULL, &crowd.readers[i].rx, &crowd.channel.tx);
    support_spawn(&crowd.readers[i].thread, crowd_read, &crowd.readers[i]);
  }
  for (i = 0; i < WRITERS; i++) {
    crowd.writers[i].crowd = &crowd;
    crowd.writers[i].index = i;
    support_spawn(&crowd.writers[i].thread, crowd_write, &crowd.writers[i]);
  }
  for (i = 0; i < WRITERS; i++) {
    support_join(&crowd.writers[i].thread);
  }
  watch_drop_sender(&crowd.channel.tx);
  for (i = 0; i < CROWD; i++) {
    support_join(&crowd.readers[i].thread);
  }
  support_result_check(&crowd.result);
  for (i = 0; i < CROWD; i++) {
    ck_assert_uint_eq(crowd.readers[i].last, crowd.readers[0].last);
    ck_assert_uint_eq(crowd.readers[i].last & UINT32_MAX, crowd.count - 1);
    ck_assert_uint_ge(crowd.readers[i].changes, 1);
    ck_assert_uint_le(crowd.readers[i].changes, crowd.count * WRITERS);
    watch_close(&crowd.readers[i].rx);
  }
  channel_check(&crowd.channel);
}
END_TEST

/* Threads go round by turns, the one whose number it is puts the next one. Who is not woken stops them all. */

typedef struct ring_s ring_t;

typedef struct seat_s {
  ring_t* ring;
  uvch_watch_receiver_t rx;
  uint64_t index;
  uint64_t wanted;
  uv_thread_t thread;
} seat_t;

struct ring_s {
  channel_t channel;
  int way;
  uint64_t seats;
  uint64_t rounds;
  seat_t seat[MANY];
  support_result_t result;
};

static int seat_is_next(const void* value, void* arg) {
  const seat_t* self = arg;

  return watch_number(value) >= self->wanted;
}

/* Whether its turn has come. */
static int seat_waits(seat_t* self) {
  const void* value = NULL;
  int r = 0;

  if (self->index % 2 == 0) {
    r = uvch_watch_wait_for_wait(&self->rx, seat_is_next, self, &value);
  } else {
    while (watch_number(uvch_watch_borrow_and_update(&self->rx)) < self->wanted && r == 0) {
      r = uvch_watch_changed_wait(&self->rx);
    }
    value = uvch_watch_borrow(&self->rx);
  }
  return r != 0 ? r : watch_number(value) == self->wanted;
}

static void seat_run(void* arg) {
  seat_t* self = arg;
  ring_t* ring = self->ring;
  uint64_t round;

  for (round = 0; round < ring->rounds; round++) {
    self->wanted = round * ring->seats + self->index;
    if (!support_expect_eq(&ring->result, seat_waits(self), 1)) {
      return;
    }
    support_expect_eq(&ring->result, try_put(&ring->channel, ring->way, self->wanted + 1), 0); /* nobody else does */
  }
}

START_TEST(threads_that_take_turns_never_miss_one) {
  static const uint64_t sizes[] = {2, 3, MANY};
  static ring_t ring;
  size_t i;

  memset(&ring, 0, sizeof(ring));
  ring.way = WAY % WAYS;
  ring.seats = sizes[_i / (KINDS * WAYS)];
  ring.rounds = support_scale(2000) / ring.seats + 1;
  channel_open(&ring.channel, KIND, NULL, NULL, 0);
  for (i = 0; i < ring.seats; i++) {
    ring.seat[i].ring = &ring;
    ring.seat[i].index = i;
    watch_subscribe(NULL, &ring.seat[i].rx, &ring.channel.tx);
    support_spawn(&ring.seat[i].thread, seat_run, &ring.seat[i]);
  }
  for (i = 0; i < ring.seats; i++) {
    support_join(&ring.seat[i].thread);
  }
  support_result_check(&ring.result);
  for (i = 0; i < ring.seats; i++) {
    ck_assert_uint_eq(peek(&ring.channel, &ring.seat[i].rx), ring.rounds * ring.seats);
    watch_close(&ring.seat[i].rx);
  }
  channel_end(&ring.channel);
}
END_TEST

/* The end of the receivers. */

START_TEST(threads_sleep_until_the_last_receiver_is_gone) {
  uvch_watch_receiver_t rx[2];
  sleeper_t sleepers[MANY];
  channel_t channel;
  size_t i;

  channel_open(&channel, KIND, NULL, &rx[0], 0);
  for (i = 0; i < MANY; i++) {
    sleeps_for_end(&sleepers[i], &channel.tx, i % 2 == 0 ? 0 : UINT64_MAX - 1);
  }
  put(&channel, WAY, 1); /* nothing to them */
  watch_subscribe(NULL, &rx[1], &channel.tx);
  watch_close(&rx[0]);
  for (i = 0; i < MANY; i++) {
    still_sleeps(&sleepers[i]);
  }
  watch_close(&rx[1]);
  for (i = 0; i < MANY; i++) {
    sleeper_join(&sleepers[i], 0);
  }
  ck_assert_int_eq(uvch_watch_closed_wait(&channel.tx), 0);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&channel.tx, 0), 0); /* before the clock is looked at */
  watch_subscribe(NULL, &rx[0], &channel.tx);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&channel.tx, 0), UV_ETIMEDOUT);
  watch_close(&rx[0]);
  channel_end(&channel);
}
END_TEST

START_TEST(a_timed_wait_for_the_end_takes_at_least_its_time_and_is_no_sender) {
  uvch_watch_receiver_t rx;
  sleeper_t sleeper;
  channel_t channel;
  uint64_t start;
  size_t i;

  channel_open(&channel, KIND, NULL, &rx, 0);
  for (i = 0; i < COUNT(short_times); i++) {
    start = uv_hrtime();
    ck_assert_int_eq(uvch_watch_closed_timedwait(&channel.tx, short_times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - start, short_times[i]);
  }
  sleeps_for_end(&sleeper, &channel.tx, 0);
  ck_assert_uint_eq(uvch_watch_sender_sender_count(&channel.tx), 2); /* the thread's sender, not its wait */
  watch_close(&rx);
  sleeper_join(&sleeper, 0);
  ck_assert_uint_eq(uvch_watch_sender_sender_count(&channel.tx), 1);
  channel_end(&channel);
}
END_TEST

/* The last receiver goes and another comes at once. A thread that wakes in between is told, one that wakes later sleeps on; a
 * sleeping one is not so fast every time. */

typedef struct late_s {
  uvch_watch_sender_t tx;
  int answer;
  _Atomic(bool) done;
  _Atomic(long) number;
  support_latch_t over;
  uv_thread_t thread;
} late_t;

static void watch_and_stay(void* arg) {
  late_t* late = arg;

  atomic_store(&late->number, support_thread_number());
  late->answer = uvch_watch_closed_wait(&late->tx);
  atomic_store(&late->done, true);
  support_latch_wait(&late->over); /* also asleep */
}

/* Whether it slept on. */
static bool receivers_change(uvch_watch_sender_t* tx) {
  uvch_watch_receiver_t rx;
  bool slept_on;
  late_t late;

  memset(&late, 0, sizeof(late));
  late.answer = NOT_DONE;
  support_latch_init(&late.over, 1);
  watch_subscribe(NULL, &rx, tx);
  watch_clone_sender(tx, &late.tx);
  support_spawn(&late.thread, watch_and_stay, &late);
  support_until_blocked(&late.number);
  watch_close(&rx);
  watch_subscribe(NULL, &rx, tx);
  support_until_asleep(atomic_load(&late.number));
  slept_on = !atomic_load(&late.done);
  watch_close(&rx);
  support_latch_arrive(&late.over);
  support_join(&late.thread);
  support_latch_destroy(&late.over);
  ck_assert_int_eq(late.answer, 0);
  watch_drop_sender(&late.tx);
  return slept_on;
}

START_TEST(a_new_receiver_keeps_a_thread_waiting_for_the_end) {
  channel_t channel;

  channel_open(&channel, KIND, NULL, NULL, 0);
  while (!receivers_change(&channel.tx)) {}
  channel_end(&channel);
}
END_TEST

/* Receivers come and go while threads wait for there to be none. Each wait may catch a moment without one or not; after the last
 * one has gone it has to end. */

typedef struct coming_s {
  uvch_watch_sender_t tx;
  support_result_t result;
  _Atomic(size_t) seen;
  _Atomic(bool) over;
  uv_thread_t thread;
} coming_t;

static void watch_them_come_and_go(void* arg) {
  coming_t* coming = arg;
  int r;

  while (!atomic_load(&coming->over)) {
    r = uvch_watch_closed_timedwait(&coming->tx, 20000);
    support_expect(&coming->result, r == 0 || r == UV_ETIMEDOUT);
    atomic_fetch_add(&coming->seen, 1);
  }
  support_expect_eq(&coming->result, uvch_watch_closed_wait(&coming->tx), 0);
}

START_TEST(a_wait_for_the_end_ends_however_receivers_come_and_go) {
  coming_t coming[2];
  uvch_watch_receiver_t rx;
  channel_t channel;
  size_t rounds = support_scale(20000);
  size_t i;

  memset(coming, 0, sizeof(coming));
  channel_open(&channel, KIND, NULL, &rx, 0);
  for (i = 0; i < COUNT(coming); i++) {
    watch_clone_sender(&channel.tx, &coming[i].tx);
    support_spawn(&coming[i].thread, watch_them_come_and_go, &coming[i]);
  }
  for (i = 0; i < rounds || atomic_load(&coming[0].seen) == 0 || atomic_load(&coming[1].seen) == 0; i++) {
    if (i % 7 == 0) {
      put(&channel, (int) (i % WAYS), i);
    }
    watch_close(&rx);
    watch_subscribe(NULL, &rx, &channel.tx);
  }
  for (i = 0; i < COUNT(coming); i++) {
    atomic_store(&coming[i].over, true);
  }
  watch_close(&rx);
  for (i = 0; i < COUNT(coming); i++) {
    support_join(&coming[i].thread);
    support_result_check(&coming[i].result);
    watch_drop_sender(&coming[i].tx);
  }
  channel_end(&channel);
}
END_TEST

START_TEST(a_receiver_that_its_loop_closes_wakes_a_thread_that_waits_for_the_end) {
  uvch_watch_receiver_t rx;
  sleeper_t sleeper;
  channel_t channel;
  uv_loop_t loop;

  support_loop_init(&loop);
  channel_open(&channel, KIND, &loop, &rx, 0);
  sleeps_for_end(&sleeper, &channel.tx, 0);
  watch_close(&rx);
  sleeper_join(&sleeper, 0); /* the loop need not run for that */
  channel_end(&channel);
  support_loop_end(&loop);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("watch: threads");
  TCase* wakes = support_case(suite, "what wakes");
  TCase* values = support_case(suite, "waiting for a value");
  TCase* time = support_case(suite, "time");
  TCase* where = support_case(suite, "where");
  TCase* moves = support_case(suite, "from a thread to a loop");
  TCase* crowds = support_case(suite, "crowds");
  TCase* end = support_case(suite, "the end of the receivers");

  add_for_every_way(wakes, a_change_wakes_a_sleeping_receiver);
  add_for_every_way(wakes, an_equal_value_is_a_change);
  add_for_every_kind(wakes, what_is_not_stored_wakes_nobody);
  add_for_every_way(wakes, a_change_wakes_every_sleeping_receiver);
  add_for_every_kind(wakes, the_last_sender_wakes_every_sleeping_receiver);
  add_for_every_way(wakes, the_last_value_comes_before_the_end);
  add_for_every_way(wakes, a_value_and_the_end_at_once_are_two_answers);
  add_for_every_kind(wakes, marks_decide_whether_a_wait_sleeps);
  tcase_add_test(wakes, a_value_of_no_bytes_is_a_signal);
  add_for_every_way(values, a_value_that_is_there_is_tested_first_and_once);
  add_for_every_way(values, each_new_value_is_tested_until_one_is_the_right_one);
  add_for_every_way(values, each_waits_for_its_own_value);
  add_for_every_way(values, a_test_that_fails_ends_the_wait_and_the_value_is_seen);
  add_for_every_way(values, a_value_that_was_waited_for_stays_until_the_next_borrow);
  add_for_every_kind(values, a_test_that_sends_and_waits_itself_is_called_for_what_it_sent);
  add_for_every_way(time, a_timeout_of_0_takes_what_is_there_and_tells_the_end_before_time);
  add_for_every_way(time, a_timed_wait_waits_at_least_its_time_and_sees_nothing);
  add_for_every_way(time, values_that_were_tested_in_vain_have_been_seen);
  tcase_add_loop_test(time, a_huge_timeout_does_not_overflow, 0, (int) COUNT(huge));
  tcase_add_loop_test(time, what_comes_at_the_deadline_comes_now_or_with_the_next_wait, 0, 2 * KINDS * WAYS);
  add_for_every_way(where, a_wait_on_the_loop_of_a_receiver_is_refused);
  add_for_every_way(where, a_receiver_with_a_loop_cannot_be_waited_for_and_loses_nothing);
  add_for_every_way(where, null_and_closed_ends_are_refused);
  add_for_every_way(where, a_wait_without_memory_is_refused_and_loses_nothing);
  add_for_every_way(moves, a_receiver_that_threads_have_waited_for_goes_on_on_a_loop);
  tcase_add_loop_test(crowds, many_threads_see_what_many_threads_put, 0, KINDS * (WAYS + 1));
  tcase_add_loop_test(crowds, threads_that_take_turns_never_miss_one, 0, 3 * KINDS * WAYS);
  add_for_every_way(end, threads_sleep_until_the_last_receiver_is_gone);
  add_for_every_kind(end, a_timed_wait_for_the_end_takes_at_least_its_time_and_is_no_sender);
  add_for_every_kind(end, a_new_receiver_keeps_a_thread_waiting_for_the_end);
  add_for_every_kind(end, a_wait_for_the_end_ends_however_receivers_come_and_go);
  add_for_every_kind(end, a_receiver_that_its_loop_closes_wakes_a_thread_that_waits_for_the_end);
  return support_main(suite);
}
