/* SPDX-License-Identifier: MIT
 *
 * Broadcast channels and memory: messages that own things and when they end, sizes, how much is taken, and what happens when there
 * is none. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <limits.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NO_TIME_BUDGET UINT64_C(1000000000000)

enum { NOT_DONE = INT_MAX }; /* no status of these tests */

/* Messages are numbers, each of which owns something: a line in a book that says whether it has ended. Copies have a mark. */

#define OWN (UINT64_C(1) << 63)
#define BOOK_LINES 4096

typedef struct book_s book_t;
typedef void (*book_act_cb)(book_t* book, uint64_t id);

struct book_s {
  _Atomic(unsigned char)* ended;
  size_t lines;
  _Atomic(size_t) copied;
  _Atomic(size_t) dropped;
  _Atomic(size_t) wrong;  /* ended twice, or copied after its end */
  _Atomic(uint64_t) last; /* that has ended */
  _Atomic(long) thread;   /* on which it has */
  _Atomic(int) refuse;    /* what the copy function says */
  book_act_cb on_drop;
  book_act_cb on_copy;
  void* play;
  uint64_t next; /* number */
  size_t sent;
};

static void book_open_with(book_t* book, size_t lines) {
  memset(book, 0, sizeof(*book));
  book->ended = calloc(lines, sizeof(book->ended[0]));
  book->lines = lines;
  ck_assert_ptr_nonnull(book->ended);
}

static void book_open(book_t* book) {
  book_open_with(book, BOOK_LINES);
}

static bool has_ended(const book_t* book, uint64_t id) {
  return id >= book->lines || atomic_load(&book->ended[id]) != 0;
}

static int book_copy(void* to, const void* from, void* arg) {
  book_t* book = arg;
  uint64_t id;
  int refused = atomic_load(&book->refuse);

  memcpy(&id, from, sizeof(id));
  if (has_ended(book, id)) {
    atomic_fetch_add(&book->wrong, 1);
  }
  if (refused != 0) {
    return refused;
  }
  if (book->on_copy != NULL) {
    book->on_copy(book, id);
  }
  if (has_ended(book, id)) {
    atomic_fetch_add(&book->wrong, 1);
  }
  id |= OWN;
  memcpy(to, &id, sizeof(id));
  atomic_fetch_add(&book->copied, 1);
  return 0;
}

static void book_drop(void* item, void* arg) {
  book_t* book = arg;
  uint64_t id;

  memcpy(&id, item, sizeof(id));
  if (id >= book->lines || atomic_fetch_add(&book->ended[id], 1) != 0) {
    atomic_fetch_add(&book->wrong, 1);
  }
  atomic_store(&book->last, id);
  atomic_store(&book->thread, support_thread_number());
  atomic_fetch_add(&book->dropped, 1);
  if (book->on_drop != NULL) {
    book->on_drop(book, id);
  }
}

static size_t dropped(const book_t* book) {
  return atomic_load(&book->dropped);
}

static size_t copied(const book_t* book) {
  return atomic_load(&book->copied);
}

/* All that was sent has ended, each once. */
static void book_close(book_t* book) {
  ck_assert_uint_eq(atomic_load(&book->wrong), 0);
  ck_assert_uint_eq(dropped(book), book->sent);
  free(book->ended);
}

/* Which functions a channel has. */
enum { NO_COPY = 1, NO_DROP = 2 };

/* The options are gone afterwards; the library must not look at them. */
static void open_channel(uvch_broadcast_sender_t* tx, size_t capacity, uvch_broadcast_policy policy, book_t* book, int without) {
  uvch_broadcast_options_t options;

  memset(&options, 0, sizeof(options));
  options.policy = policy;
  options.copy = (without & NO_COPY) != 0 ? NULL : book_copy;
  options.drop = (without & NO_DROP) != 0 ? NULL : book_drop;
  options.arg = book;
  support_check_eq(uvch_broadcast_init_ex(NULL, NULL, tx, sizeof(uint64_t), capacity, &options), 0);
  memset(&options, 0xa5, sizeof(options));
}

static void subscribe(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, const uvch_broadcast_sender_t* tx) {
  memset(rx, 0xa5, sizeof(*rx));
  support_check_eq(uvch_broadcast_subscribe(loop, rx, tx), 0);
  if (loop != NULL) { /* turn() is to bring all, also on a slow machine */
    support_check_eq(uvch_loop_configure(loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0);
  }
}

static int try_put(const uvch_broadcast_sender_t* tx, uint64_t value) {
  return uvch_broadcast_send(tx, &value);
}

/* The number first: a drop function may send in the middle of it. */
static int put_next(const uvch_broadcast_sender_t* tx, book_t* book) {
  int reached = try_put(tx, book->next++);

  book->sent += reached > 0;
  return reached;
}

static void put(const uvch_broadcast_sender_t* tx, book_t* book) {
  support_check(put_next(tx, book) > 0);
}

static void put_many(const uvch_broadcast_sender_t* tx, book_t* book, size_t count) {
  for (; count > 0; count--) {
    put(tx, book);
  }
}

static uint64_t take(uvch_broadcast_receiver_t* rx) {
  uint64_t value = 0;

  support_check_eq(uvch_broadcast_try_recv(rx, &value), 0);
  return value;
}

/* try_recv, of which only the answer matters; without a message nothing may be written. */
static int try_take(uvch_broadcast_receiver_t* rx) {
  uint64_t value = 0x5a5a5a5a;
  int answer = uvch_broadcast_try_recv(rx, &value);

  support_check(answer == 0 || value == 0x5a5a5a5a);
  return answer;
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

#define POLICIES 3
#define POLICY ((uvch_broadcast_policy) (_i % POLICIES))
#define add_for_every_policy(tcase, test) tcase_add_loop_test(tcase, test, 0, POLICIES)

/* When a message ends. */

START_TEST(a_message_ends_when_the_last_one_who_was_there_has_read_it) {
  uvch_broadcast_receiver_t rx[3];
  uvch_broadcast_receiver_t late;
  uvch_broadcast_sender_t tx;
  book_t book;
  size_t i;

  book_open(&book);
  open_channel(&tx, 64, POLICY, &book, 0);
  for (i = 0; i < COUNT(rx); i++) {
    subscribe(NULL, &rx[i], &tx);
  }
  put_many(&tx, &book, 10);
  subscribe(NULL, &late, &tx); /* was not there */
  for (i = 0; i < 10; i++) {
    ck_assert_uint_eq(take(&rx[0]), i | OWN);
    ck_assert_uint_eq(take(&rx[2]), i | OWN);
  }
  ck_assert_uint_eq(dropped(&book), 0);
  for (i = 0; i < 10; i++) {
    ck_assert_uint_eq(take(&rx[1]), i | OWN);
    ck_assert_uint_eq(dropped(&book), i + 1);
    ck_assert_uint_eq(atomic_load(&book.last), i);
    ck_assert_int_eq(atomic_load(&book.thread), support_thread_number());
  }
  ck_assert_uint_eq(copied(&book), 30);
  put(&tx, &book);
  for (i = 0; i < COUNT(rx); i++) {
    ck_assert_uint_eq(take(&rx[i]), 10 | OWN);
  }
  ck_assert_uint_eq(dropped(&book), 10);
  ck_assert_uint_eq(take(&late), 10 | OWN);
  ck_assert_uint_eq(dropped(&book), 11); /* though the channel lives, and the ring has room */
  for (i = 0; i < COUNT(rx); i++) {
    close_rx(&rx[i]);
  }
  close_rx(&late);
  drop_sender(&tx);
  book_close(&book);
}
END_TEST

typedef struct overwriter_s {
  uvch_broadcast_sender_t tx;
  book_t* book;
  size_t first; /* the oldest that is kept */
  size_t count;
  support_result_t result;
} overwriter_t;

static void overwrite(void* arg) {
  overwriter_t* o = arg;
  size_t i;

  for (i = 0; i < o->count; i++) {
    support_expect(&o->result, put_next(&o->tx, o->book) > 0);
    support_expect_eq(&o->result, dropped(o->book), o->first + i + 1);
    support_expect_eq(&o->result, atomic_load(&o->book->last), o->first + i);
    support_expect_eq(&o->result, atomic_load(&o->book->thread), support_thread_number());
  }
}

START_TEST(a_message_that_is_overwritten_ends_in_the_send_that_does_it) {
  static const size_t capacities[] = {1, 2, 3, 7, 8};
  size_t capacity = capacities[_i];
  uvch_broadcast_receiver_t rx;
  overwriter_t overwriter;
  uv_thread_t thread;
  book_t book;
  size_t i;

  memset(&overwriter, 0, sizeof(overwriter));
  book_open(&book);
  open_channel(&overwriter.tx, capacity, UVCH_BROADCAST_LAG, &book, 0);
  subscribe(NULL, &rx, &overwriter.tx);
  put_many(&overwriter.tx, &book, capacity);
  ck_assert_uint_eq(dropped(&book), 0);
  overwriter.book = &book;
  overwriter.count = 3 * capacity;
  support_spawn(&thread, overwrite, &overwriter);
  support_join(&thread);
  support_result_check(&overwriter.result);
  ck_assert_int_eq(try_take(&rx), (int) (3 * capacity));
  for (i = 3 * capacity; i < 4 * capacity; i++) {
    ck_assert_uint_eq(take(&rx), i | OWN);
    ck_assert_uint_eq(dropped(&book), i + 1); /* what was read is not ended again when its place is needed */
  }
  put_many(&overwriter.tx, &book, capacity);
  ck_assert_uint_eq(dropped(&book), 4 * capacity);
  close_rx(&rx);
  drop_sender(&overwriter.tx);
  book_close(&book);
}
END_TEST

START_TEST(closing_a_receiver_ends_what_nobody_else_has_to_read) {
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  book_t book;
  size_t i;

  support_loop_init(&loop);
  book_open(&book);
  open_channel(&tx, 16, POLICY, &book, 0);
  subscribe(NULL, &rx[0], &tx);
  subscribe(_i / POLICIES == 0 ? NULL : &loop, &rx[1], &tx);
  put_many(&tx, &book, 10);
  for (i = 0; i < 4; i++) {
    take(&rx[0]);
  }
  for (i = 0; i < 7; i++) {
    take(&rx[1]);
  }
  ck_assert_uint_eq(dropped(&book), 4);
  close_rx(&rx[0]); /* it did not have 4 to 9, of which the other one has 4 to 6 */
  ck_assert_uint_eq(dropped(&book), 7);
  put(&tx, &book);
  close_rx(&rx[1]);
  ck_assert_uint_eq(dropped(&book), 11);
  ck_assert_uint_eq(atomic_load(&book.last), 10); /* the oldest first */
  ck_assert_int_eq(atomic_load(&book.thread), support_thread_number());
  ck_assert_int_eq(try_put(&tx, 11), UV_EPIPE); /* stays the caller's */
  ck_assert_uint_eq(dropped(&book), 11);
  drop_sender(&tx);
  support_loop_end(&loop);
  book_close(&book);
}
END_TEST

START_TEST(after_the_senders_are_gone_messages_end_when_they_are_read_or_nobody_is_left) {
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  book_t book;

  book_open(&book);
  open_channel(&tx, 16, POLICY, &book, 0);
  subscribe(NULL, &rx[0], &tx);
  subscribe(NULL, &rx[1], &tx);
  put_many(&tx, &book, 6);
  drop_sender(&tx);
  ck_assert_uint_eq(dropped(&book), 0);
  take(&rx[0]);
  take(&rx[1]);
  ck_assert_uint_eq(dropped(&book), 1);
  close_rx(&rx[1]);
  ck_assert_uint_eq(dropped(&book), 1);
  take(&rx[0]);
  ck_assert_uint_eq(dropped(&book), 2);
  close_rx(&rx[0]);
  book_close(&book);
}
END_TEST

START_TEST(who_is_cut_off_is_not_waited_for_any_more) {
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  book_t book;

  book_open(&book);
  open_channel(&tx, 4, UVCH_BROADCAST_DISCONNECT, &book, 0);
  subscribe(NULL, &rx[0], &tx);
  put(&tx, &book);
  subscribe(NULL, &rx[1], &tx);
  put_many(&tx, &book, 4);
  ck_assert_uint_eq(dropped(&book), 1);
  ck_assert_int_eq(try_take(&rx[0]), UV_ECONNABORTED);
  take(&rx[1]);
  ck_assert_uint_eq(dropped(&book), 2);
  put_many(&tx, &book, 2);
  ck_assert_int_eq(try_take(&rx[1]), UV_ECONNABORTED); /* was the last one */
  ck_assert_uint_eq(dropped(&book), book.sent);
  ck_assert_int_eq(try_put(&tx, book.sent), UV_EPIPE);
  close_rx(&rx[0]);
  close_rx(&rx[1]);
  drop_sender(&tx);
  book_close(&book);
}
END_TEST

/* Receive callbacks. */

enum { DOES_NOTHING, SENDS_OVER_IT, CLOSES_ITSELF, CLOSES_ALL, RUNS_THE_LOOP, CLOSES_AND_RUNS, ENDS_THE_CHANNEL, DEEDS };

typedef struct scene_s {
  book_t book;
  uv_loop_t loop;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_receiver_t rx[3];
  size_t capacity;
  int deed;
  size_t done;
  size_t delivered;
  size_t missed;
} scene_t;

static void scene_do(scene_t* scene, uvch_broadcast_receiver_t* rx) {
  if (scene->done++ > 0) {
    return;
  }
  switch (scene->deed) {
    case SENDS_OVER_IT:
      put_many(&scene->tx, &scene->book, 2 * scene->capacity);
      break;
    case CLOSES_ITSELF:
      close_rx(rx);
      break;
    case CLOSES_ALL:
      support_check_eq(uvch_close_all(&scene->loop), 3);
      break;
    case RUNS_THE_LOOP:
      turn(&scene->loop);
      break;
    case CLOSES_AND_RUNS:
      close_rx(rx);
      put_many(&scene->tx, &scene->book, 2 * scene->capacity);
      turn(&scene->loop);
      break;
    case ENDS_THE_CHANNEL:
      drop_sender(&scene->tx);
      uvch_close_all(&scene->loop);
      turn(&scene->loop);
      break;
    default:
      break;
  }
}

static void scene_check(const scene_t* scene, const char* first, size_t stride, size_t count, uint64_t begin) {
  uint64_t id;
  size_t i;

  for (i = 0; i < count; i++) {
    memcpy(&id, first + i * stride, sizeof(id));
    support_check_eq(id, begin + i);
    support_check(!has_ended(&scene->book, id));
  }
}

static void scene_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  scene_t* scene = rx->data;
  uint64_t begin;

  if (status != 0) {
    support_check(status > 0 || status == UV_EOF);
    scene->missed += status > 0 ? (size_t) status : 0;
    return;
  }
  memcpy(&begin, first, sizeof(begin));
  scene_check(scene, first, stride, count, begin);
  scene->delivered += count;
  scene_do(scene, rx);
  scene_check(scene, first, stride, count, begin);
}

static void scene_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  scene_many_cb(rx, status, item, 0, item != NULL);
}

START_TEST(a_message_in_its_callback_does_not_end_whatever_that_does) {
  static const size_t capacities[] = {1, 3, 16};
  int form = _i / DEEDS % 2;
  scene_t scene;
  size_t i;

  memset(&scene, 0, sizeof(scene));
  support_loop_init(&scene.loop);
  book_open(&scene.book);
  scene.capacity = capacities[_i / DEEDS / 2];
  scene.deed = _i % DEEDS;
  open_channel(&scene.tx, scene.capacity, UVCH_BROADCAST_LAG, &scene.book, _i % 2 == 0 ? NO_COPY : 0);
  for (i = 0; i < COUNT(scene.rx); i++) {
    subscribe(&scene.loop, &scene.rx[i], &scene.tx);
    scene.rx[i].data = &scene;
    if (form == 0) {
      ck_assert_int_eq(uvch_broadcast_recv_start(&scene.rx[i], scene_cb), 0);
    } else {
      ck_assert_int_eq(uvch_broadcast_recv_many_start(&scene.rx[i], 64, scene_many_cb), 0);
    }
  }
  put_many(&scene.tx, &scene.book, scene.capacity);
  turn(&scene.loop);
  ck_assert_uint_ge(scene.done, 1);
  if (scene.deed != ENDS_THE_CHANNEL) {
    while (uvch_broadcast_sender_len(&scene.tx) > 0) {
      uv_run(&scene.loop, UV_RUN_NOWAIT);
    }
    if (scene.deed == DOES_NOTHING || scene.deed == RUNS_THE_LOOP || scene.deed == SENDS_OVER_IT) {
      ck_assert_uint_eq(scene.delivered + scene.missed, COUNT(scene.rx) * scene.book.sent);
    }
    drop_sender(&scene.tx);
    turn(&scene.loop);
  }
  ck_assert_uint_eq(dropped(&scene.book), scene.book.sent); /* before they are closed */
  ck_assert_int_eq(atomic_load(&scene.book.thread), support_thread_number());
  ck_assert_uint_eq(copied(&scene.book), 0); /* callbacks see the channel's value */
  uvch_close_all(&scene.loop);
  support_loop_end(&scene.loop);
  book_close(&scene.book);
}
END_TEST

typedef struct far_s {
  book_t* book;
  _Atomic(long) thread;
  size_t wrong;
} far_t;

static void far_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  far_t* far = rx->data;
  uint64_t id;

  atomic_store(&far->thread, support_thread_number());
  if (status == 0) {
    memcpy(&id, item, sizeof(id));
    far->wrong += has_ended(far->book, id);
  } else {
    far->wrong += status != UV_EOF;
    far->wrong += uvch_close((uvch_handle_t*) rx, NULL) != 0;
  }
}

START_TEST(a_message_ends_on_the_thread_of_the_loop_that_was_last) {
  uvch_broadcast_receiver_t near;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  support_runner_t runner;
  uv_loop_t loop;
  book_t book;
  far_t far;
  size_t i;

  memset(&far, 0, sizeof(far));
  far.book = &book;
  support_loop_init(&loop);
  book_open(&book);
  open_channel(&tx, 16, POLICY, &book, 0);
  subscribe(NULL, &near, &tx);
  subscribe(&loop, &rx, &tx);
  rx.data = &far;
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, far_cb), 0);
  put_many(&tx, &book, 5);
  for (i = 0; i < 5; i++) {
    take(&near);
  }
  ck_assert_uint_eq(dropped(&book), 0);
  support_runner_start(&runner, &loop);
  support_until(dropped(&book) == 5);
  ck_assert_int_eq(atomic_load(&book.thread), atomic_load(&far.thread));
  ck_assert_int_ne(atomic_load(&book.thread), support_thread_number());
  drop_sender(&tx);
  support_runner_join(&runner);
  ck_assert_uint_eq(far.wrong, 0);
  close_rx(&near);
  support_loop_end(&loop);
  book_close(&book);
}
END_TEST

/* Copies. */

START_TEST(a_copy_that_fails_counts_as_read) {
  static const int refusals[] = {UV_ENOMEM, UV_EIO, UV_EINVAL, UV_EOF};
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  uint64_t value = 77;
  book_t book;
  size_t i;

  book_open(&book);
  open_channel(&tx, 16, POLICY, &book, 0);
  subscribe(NULL, &rx[0], &tx);
  subscribe(NULL, &rx[1], &tx);
  for (i = 0; i < COUNT(refusals); i++) {
    put_many(&tx, &book, 4);
    atomic_store(&book.refuse, refusals[i]);
    ck_assert_int_eq(uvch_broadcast_try_recv(&rx[0], &value), refusals[i]);
    ck_assert_int_eq(uvch_broadcast_recv_wait(&rx[0], &value), refusals[i]);
    ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx[0], &value, 1000), refusals[i]);
    ck_assert_uint_eq(uvch_broadcast_receiver_len(&rx[0]), 1);
    atomic_store(&book.refuse, 0);
    ck_assert_uint_eq(take(&rx[0]), (4 * i + 3) | OWN);
    ck_assert_uint_eq(dropped(&book), 4 * i);
    ck_assert_uint_eq(take(&rx[1]), (4 * i) | OWN); /* the other one is not concerned */
    atomic_store(&book.refuse, refusals[i]);
    ck_assert_int_eq(try_take(&rx[1]), refusals[i]);
    ck_assert_uint_eq(dropped(&book), 4 * i + 2); /* it was the last one who had to read it */
    atomic_store(&book.refuse, 0);
    take(&rx[1]);
    take(&rx[1]);
    ck_assert_uint_eq(value, 77);
  }
  ck_assert_uint_eq(copied(&book), 4 * COUNT(refusals));
  close_rx(&rx[0]);
  close_rx(&rx[1]);
  drop_sender(&tx);
  book_close(&book);
}
END_TEST

static void count_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  size_t* count = rx->data;

  *count += status == 0 && item != NULL;
}

START_TEST(without_a_copy_function_messages_that_own_things_come_to_callbacks_only) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 77;
  size_t count = 0;
  uv_loop_t loop;
  book_t book;

  support_loop_init(&loop);
  book_open(&book);
  open_channel(&tx, 4, POLICY, &book, NO_COPY);
  subscribe(NULL, &rx, &tx);
  put_many(&tx, &book, 3);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &value), UV_ENOTSUP);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_ENOTSUP);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_ENOTSUP);
  ck_assert_uint_eq(value, 77);
  ck_assert_uint_eq(uvch_broadcast_receiver_len(&rx), 3); /* nothing is taken */
  ck_assert_uint_eq(dropped(&book), 0);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), 0);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &value), UV_ENOTSUP);
  rx.data = &count;
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, count_cb), 0);
  turn(&loop);
  ck_assert_uint_eq(count, 3);
  ck_assert_uint_eq(dropped(&book), 3);
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_end(&loop);
  book_close(&book);
}
END_TEST

START_TEST(a_channel_may_have_a_copy_function_alone) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  book_t book;

  book_open(&book);
  open_channel(&tx, 2, UVCH_BROADCAST_LAG, &book, NO_DROP);
  subscribe(NULL, &rx, &tx);
  put_many(&tx, &book, 5);
  ck_assert_int_eq(try_take(&rx), 3);
  ck_assert_uint_eq(take(&rx), 3 | OWN);
  ck_assert_uint_eq(copied(&book), 1);
  close_rx(&rx);
  drop_sender(&tx);
  ck_assert_uint_eq(dropped(&book), 0);
  book.sent = 0;
  book_close(&book);
}
END_TEST

/* Messages that were not sent stay the caller's. */

typedef struct asker_s {
  uvch_broadcast_send_t req;
  uint64_t value;
  int status;
} asker_t;

static void asker_cb(uvch_broadcast_send_t* req, int status) {
  asker_t* asker = req->data;

  asker->status = status;
}

static int try_ask(uv_loop_t* loop, asker_t* asker, const uvch_broadcast_sender_t* tx, uint64_t value) {
  memset(asker, 0xa5, sizeof(*asker));
  asker->req.data = asker;
  asker->value = value;
  asker->status = NOT_DONE;
  return uvch_broadcast_queue_send(loop, &asker->req, tx, &asker->value, asker_cb);
}

START_TEST(a_message_that_was_not_sent_stays_the_callers) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  asker_t askers[3];
  uint64_t value = 99;
  uv_loop_t loop;
  book_t book;
  size_t i;

  support_loop_init(&loop);
  book_open(&book);
  open_channel(&tx, 2, UVCH_BROADCAST_WAIT, &book, 0);
  subscribe(NULL, &rx, &tx);
  put_many(&tx, &book, 2);
  ck_assert_int_eq(try_put(&tx, value), UV_EAGAIN);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 1000), UV_ETIMEDOUT);
  for (i = 0; i < COUNT(askers); i++) {
    ck_assert_int_eq(try_ask(&loop, &askers[i], &tx, 2 + i), 0);
  }
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &askers[1].req), 0);
  take(&rx);
  book.sent = 3; /* the first one is in */
  close_rx(&rx);
  support_loop_run(&loop);
  ck_assert_int_eq(askers[0].status, 1);
  ck_assert_int_eq(askers[1].status, UV_ECANCELED);
  ck_assert_int_eq(askers[2].status, UV_EPIPE);
  ck_assert_int_eq(try_put(&tx, value), UV_EPIPE);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, &value, 1), UV_EPIPE);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, &value), UV_EPIPE);
  ck_assert_int_eq(try_ask(&loop, &askers[0], &tx, value), UV_EPIPE);
  drop_sender(&tx);
  support_loop_end(&loop);
  book_close(&book);
}
END_TEST

/* Copy and drop functions that use the library. None is called under a lock, so the same channel is allowed. */

enum { ACT_SEND, ACT_SUBSCRIBE, ACT_CLOSE_OTHER, ACT_CLOSE_SELF, ACT_READ_OTHER, ACT_COUNTERS, ACTS };

typedef struct actor_s {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_receiver_t fresh;
  uvch_broadcast_sender_t tx;
  bool closed[2];
  int act;
  size_t acted;
} actor_t;

static void actor_close(actor_t* actor, size_t i) {
  if (!actor->closed[i]) {
    actor->closed[i] = true;
    close_rx(i == 0 ? &actor->rx : &actor->other);
  }
}

static void actor_cb(book_t* book, uint64_t id) {
  actor_t* actor = book->play;
  uvch_broadcast_sender_t clone;
  int sent;

  (void) id;
  if (actor->acted++ > 0) { /* what it does may call it again */
    return;
  }
  switch (actor->act) {
    case ACT_SEND:
      sent = put_next(&actor->tx, book);
      support_check(sent > 0 || sent == UV_EPIPE || sent == UV_EAGAIN);
      break;
    case ACT_SUBSCRIBE:
      subscribe(NULL, &actor->fresh, &actor->tx);
      close_rx(&actor->fresh);
      break;
    case ACT_CLOSE_OTHER:
      actor_close(actor, 1);
      break;
    case ACT_CLOSE_SELF:
      actor_close(actor, 0);
      break;
    case ACT_READ_OTHER:
      if (!actor->closed[1]) {
        (void) try_take(&actor->other);
      }
      break;
    default:
      (void) uvch_broadcast_sender_len(&actor->tx);
      (void) uvch_broadcast_sender_receiver_count(&actor->tx);
      support_check_eq(uvch_broadcast_sender_clone(&actor->tx, &clone), 0);
      support_check_eq(uvch_broadcast_sender_same_channel(&actor->tx, &clone), 1);
      drop_sender(&clone);
  }
}

static void actor_open(actor_t* actor, book_t* book, size_t capacity, uvch_broadcast_policy policy, int act) {
  memset(actor, 0, sizeof(*actor));
  book_open(book);
  book->play = actor;
  open_channel(&actor->tx, capacity, policy, book, 0);
  subscribe(NULL, &actor->rx, &actor->tx);
  subscribe(NULL, &actor->other, &actor->tx);
  actor->act = act;
}

static void actor_end(actor_t* actor, book_t* book) {
  ck_assert_uint_ge(actor->acted, 1);
  actor_close(actor, 0);
  actor_close(actor, 1);
  drop_sender(&actor->tx);
  book_close(book);
}

/* What makes a message end. */
enum { BY_SEND, BY_READ, BY_CLOSE, CAUSES };

START_TEST(a_drop_function_may_use_its_channel) {
  int cause = _i / ACTS % CAUSES;
  size_t capacity = _i / ACTS / CAUSES == 0 ? 1 : 4;
  actor_t actor;
  book_t book;
  size_t i;

  actor_open(&actor, &book, capacity, UVCH_BROADCAST_LAG, _i % ACTS);
  put_many(&actor.tx, &book, capacity);
  book.on_drop = actor_cb;
  if (cause == BY_SEND) {
    put_many(&actor.tx, &book, 2);
  } else if (cause == BY_READ) {
    for (i = 0; i < capacity; i++) {
      take(&actor.other);
    }
    take(&actor.rx);
  } else {
    actor_close(&actor, 1);
    actor_close(&actor, 0);
  }
  actor_end(&actor, &book);
}
END_TEST

START_TEST(a_drop_function_may_use_its_channel_after_a_callback) {
  uvch_broadcast_receiver_t rx;
  size_t count = 0;
  actor_t actor;
  uv_loop_t loop;
  book_t book;

  support_loop_init(&loop);
  actor_open(&actor, &book, 4, POLICY, _i / POLICIES);
  subscribe(&loop, &rx, &actor.tx);
  rx.data = &count;
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, count_cb), 0);
  put_many(&actor.tx, &book, 3);
  take(&actor.rx);
  take(&actor.other);
  book.on_drop = actor_cb;
  turn(&loop);
  ck_assert_uint_ge(count, 3);
  close_rx(&rx);
  actor_end(&actor, &book);
  support_loop_end(&loop);
}
END_TEST

/* The callback has its own messages overwritten, so that they end when it returns; then the receiver ends, one way or the other,
 * while more are on their way to it. */
typedef struct ender_s {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  book_t* book;
  size_t count;
  bool closes;
  bool done;
} ender_t;

static void ender_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  ender_t* ender = rx->data;

  (void) stride;
  support_check(status == 0 && first != NULL);
  support_check(!ender->done);
  ender->count += count;
  put_many(&ender->tx, ender->book, count);
  support_check_eq(dropped(ender->book), 0);
}

static void ender_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  ender_many_cb(rx, status, item, 0, 1);
}

static void ender_on_drop(book_t* book, uint64_t id) {
  ender_t* ender = book->play;

  (void) id;
  if (ender->done) {
    return;
  }
  ender->done = true;
  if (ender->closes) {
    close_rx(&ender->rx);
  } else {
    support_check_eq(uvch_broadcast_recv_stop(&ender->rx), 0);
  }
}

START_TEST(a_drop_function_may_close_or_stop_the_receiver_whose_message_it_ends) {
  size_t most = _i / 2 % 2 == 0 ? 1 : 2; /* messages in the callback */
  ender_t ender;
  uv_loop_t loop;
  book_t book;

  memset(&ender, 0, sizeof(ender));
  support_loop_init(&loop);
  book_open(&book);
  open_channel(&ender.tx, 8, _i / 4 == 0 ? UVCH_BROADCAST_LAG : UVCH_BROADCAST_DISCONNECT, &book, 0);
  subscribe(&loop, &ender.rx, &ender.tx);
  ender.rx.data = &ender;
  ender.closes = _i % 2 == 1;
  ender.book = &book;
  book.play = &ender;
  book.on_drop = ender_on_drop;
  put_many(&ender.tx, &book, 8);
  if (most == 1) {
    ck_assert_int_eq(uvch_broadcast_recv_start(&ender.rx, ender_cb), 0);
  } else {
    ck_assert_int_eq(uvch_broadcast_recv_many_start(&ender.rx, most, ender_many_cb), 0);
  }
  turn(&loop);
  ck_assert(ender.done);
  ck_assert_uint_eq(ender.count, most);
  ck_assert_uint_eq(book.sent, 8 + most);
  if (!ender.closes) {
    ck_assert_uint_eq(dropped(&book), most);
    ck_assert_uint_eq(uvch_broadcast_receiver_len(&ender.rx), 8);
    ck_assert_uint_eq(take(&ender.rx), most | OWN);
    close_rx(&ender.rx);
  }
  ck_assert_uint_eq(dropped(&book), book.sent);
  drop_sender(&ender.tx);
  support_loop_end(&loop);
  book_close(&book);
}
END_TEST

START_TEST(a_copy_function_may_use_its_channel) {
  size_t capacity = _i / ACTS % 2 == 0 ? 1 : 4;
  uvch_broadcast_policy policy = (uvch_broadcast_policy) (_i / ACTS / 2);
  actor_t actor;
  book_t book;

  actor_open(&actor, &book, capacity, policy, _i % ACTS);
  put_many(&actor.tx, &book, capacity);
  book.on_copy = actor_cb;
  ck_assert_uint_eq(take(&actor.rx), 0 | OWN); /* its receiver may be closed by now */
  actor_end(&actor, &book);
}
END_TEST

/* Under load. */

enum { BUSY_SENDERS = 2, BUSY_READERS = 2 };

typedef struct busy_s {
  book_t book;
  uv_loop_t loop;
  uvch_broadcast_policy policy;
  uvch_broadcast_receiver_t rx[2]; /* on the loop */
  uvch_broadcast_receiver_t readers[BUSY_READERS];
  uvch_broadcast_sender_t tx[BUSY_SENDERS];
  uvch_broadcast_sender_t churn_tx;
  uint64_t each;
  _Atomic(uint64_t) next;
  _Atomic(size_t) accepted;
  _Atomic(size_t) began; /* readers, and then senders */
  _Atomic(bool) over;
  _Atomic(size_t) taken;
  support_result_t result;
} busy_t;

typedef struct busy_self_s {
  busy_t* busy;
  size_t index;
  uv_thread_t thread;
} busy_self_t;

static void busy_send(void* arg) {
  busy_self_t* self = arg;
  busy_t* b = self->busy;
  uint64_t id;
  int answer;
  uint64_t i;

  for (i = 0; i < b->each; i++) {
    id = atomic_fetch_add(&b->next, 1);
    if (b->policy == UVCH_BROADCAST_WAIT) {
      answer = uvch_broadcast_send_wait(&b->tx[self->index], &id);
    } else {
      answer = uvch_broadcast_send(&b->tx[self->index], &id);
    }
    support_expect(&b->result, answer > 0 || answer == UV_EPIPE);
    atomic_fetch_add(&b->accepted, answer > 0);
    if (i % 64 == 0) {
      support_yield();
    }
  }
  support_expect_eq(&b->result, uvch_broadcast_sender_close(&b->tx[self->index]), 0);
}

/* Reads until the end, or at most so many messages. */
static void busy_read_all(busy_t* b, uvch_broadcast_receiver_t* rx, size_t most, bool wait) {
  uint64_t value = 0;
  int status = 0;

  while (most > 0 && status >= 0) {
    status = wait ? uvch_broadcast_recv_wait(rx, &value) : uvch_broadcast_try_recv(rx, &value);
    if (status == 0) {
      support_expect(&b->result, (value & OWN) != 0);
      atomic_fetch_add(&b->taken, 1);
      most -= 1;
    }
  }
  support_expect(&b->result, status >= 0 || status == UV_EOF || status == UV_ECONNABORTED || (!wait && status == UV_EAGAIN));
  support_expect_eq(&b->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
}

static void busy_read(void* arg) {
  busy_self_t* self = arg;

  busy_read_all(self->busy, &self->busy->readers[self->index], SIZE_MAX, true);
}

/* Comes and goes, and leaves some unread. */
static void busy_churn(void* arg) {
  busy_self_t* self = arg;
  busy_t* b = self->busy;
  uvch_broadcast_receiver_t rx;
  size_t round;

  for (round = 0; !atomic_load(&b->over); round++) {
    if (!support_expect_eq(&b->result, uvch_broadcast_subscribe(NULL, &rx, &b->churn_tx), 0)) {
      break;
    }
    support_yield();
    busy_read_all(b, &rx, round % 10, false);
  }
  support_expect_eq(&b->result, uvch_broadcast_sender_close(&b->churn_tx), 0);
}

static void busy_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  busy_t* b = rx->data;
  uint64_t id;
  size_t i;

  for (i = 0; i < count; i++) {
    memcpy(&id, (const char*) first + i * stride, sizeof(id));
    support_check(!has_ended(&b->book, id));
  }
  if (status < 0) {
    support_check(status == UV_EOF || status == UV_ECONNABORTED);
    close_rx(rx);
  }
}

static void busy_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  busy_many_cb(rx, status, item, 0, item != NULL);
}

static void busy_open(busy_t* b, size_t capacity) {
  size_t i;

  support_loop_init(&b->loop);
  book_open_with(&b->book, BUSY_SENDERS * b->each);
  open_channel(&b->tx[0], capacity, b->policy, &b->book, 0);
  for (i = 1; i < BUSY_SENDERS; i++) {
    ck_assert_int_eq(uvch_broadcast_sender_clone(&b->tx[0], &b->tx[i]), 0);
  }
  ck_assert_int_eq(uvch_broadcast_sender_clone(&b->tx[0], &b->churn_tx), 0);
  for (i = 0; i < 2; i++) {
    subscribe(&b->loop, &b->rx[i], &b->tx[0]);
    b->rx[i].data = b;
  }
  ck_assert_int_eq(uvch_broadcast_recv_start(&b->rx[0], busy_cb), 0);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&b->rx[1], 64, busy_many_cb), 0);
  for (i = 0; i < BUSY_READERS; i++) {
    subscribe(NULL, &b->readers[i], &b->tx[0]);
  }
}

/* Ends the one that comes and goes, once the senders are done. */
static void busy_wait(void* arg) {
  busy_self_t* senders = arg;
  size_t i;

  for (i = 0; i < BUSY_SENDERS; i++) {
    support_expect_eq(&senders->busy->result, uv_thread_join(&senders[i].thread), 0);
  }
  atomic_store(&senders->busy->over, true);
}

START_TEST(each_message_of_a_busy_channel_ends_once_and_not_before_it_was_read) {
  static const size_t capacities[] = {1, 3, 64};
  busy_self_t senders[BUSY_SENDERS];
  busy_self_t readers[BUSY_READERS];
  busy_self_t churn;
  uv_thread_t waiter;
  static busy_t b;
  size_t i;

  memset(&b, 0, sizeof(b));
  b.policy = POLICY;
  b.each = support_scale(5000);
  busy_open(&b, capacities[_i / POLICIES]);
  churn.busy = &b;
  support_spawn(&churn.thread, busy_churn, &churn);
  for (i = 0; i < BUSY_READERS; i++) {
    readers[i].busy = &b;
    readers[i].index = i;
    support_spawn(&readers[i].thread, busy_read, &readers[i]);
  }
  for (i = 0; i < BUSY_SENDERS; i++) {
    senders[i].busy = &b;
    senders[i].index = i;
    support_spawn(&senders[i].thread, busy_send, &senders[i]);
  }
  support_spawn(&waiter, busy_wait, senders);
  support_loop_end(&b.loop);
  support_join(&waiter);
  support_join(&churn.thread);
  for (i = 0; i < BUSY_READERS; i++) {
    support_join(&readers[i].thread);
  }
  support_result_check(&b.result);
  ck_assert_uint_eq(atomic_load(&b.taken), copied(&b.book));
  b.book.sent = atomic_load(&b.accepted);
  book_close(&b.book);
}
END_TEST

/* Sizes. */

static const size_t sizes[] = {0, 1, 3, 8, 12, 24, 257, 4096, 1 << 20};
#define SIZE (sizes[_i % (int) COUNT(sizes)])
#define SIZE_VARIANT ((size_t) _i / COUNT(sizes))
#define add_for_every_size(tcase, test, variants) tcase_add_loop_test(tcase, test, 0, (int) (COUNT(sizes) * (size_t) (variants)))

/* Bytes that can be told from those of other messages. */
static void fill(unsigned char* bytes, size_t size, uint64_t number) {
  size_t i;

  for (i = 0; i < size; i++) {
    bytes[i] = (unsigned char) (number * 31 + i * 7 + i / 256);
  }
}

/* They are whole and aligned. */
static void check_blob(const void* item, size_t size, uint64_t number) {
  size_t align = size == 0 ? 1 : size & (~size + 1);
  const unsigned char* bytes = item;
  size_t i;

  if (align > _Alignof(max_align_t)) {
    align = _Alignof(max_align_t);
  }
  support_check(item != NULL);
  support_check_eq((uintptr_t) item % align, 0);
  for (i = 0; i < size; i++) {
    if (bytes[i] != (unsigned char) (number * 31 + i * 7 + i / 256)) {
      ck_abort_msg("byte %zu of %zu of message %llu is wrong", i, size, (unsigned long long) number);
    }
  }
}

typedef struct parcel_s {
  size_t size;
  uint64_t next;
} parcel_t;

static void parcel_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  parcel_t* parcel = rx->data;
  size_t i;

  support_check(status == 0 || status == UV_EOF);
  support_check(count <= 1 || stride >= parcel->size);
  for (i = 0; i < count; i++) {
    check_blob((const char*) first + i * stride, parcel->size, parcel->next + i);
  }
  parcel->next += count;
}

static void parcel_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  parcel_many_cb(rx, status, item, 0, status == 0);
}

START_TEST(messages_of_every_size_are_whole_and_aligned) {
  static const size_t capacities[] = {1, 3, 8};
  size_t capacity = capacities[SIZE_VARIANT % 3];
  size_t rounds = SIZE < 4096 ? 10 : 3;
  unsigned char* in = malloc(8 * SIZE + 1);
  unsigned char* out = malloc(SIZE + 1);
  uvch_broadcast_options_t options;
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  parcel_t parcels[2];
  uv_loop_t loop;
  uint64_t sent = 0;
  size_t round;
  size_t i;

  ck_assert(in != NULL && out != NULL);
  support_loop_init(&loop);
  memset(&options, 0, sizeof(options));
  options.policy = (uvch_broadcast_policy) (SIZE_VARIANT / 3);
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, &plain, &tx, SIZE, capacity, &options), 0);
  for (i = 0; i < 2; i++) {
    subscribe(&loop, &rx[i], &tx);
    parcels[i].size = SIZE;
    parcels[i].next = 0;
    rx[i].data = &parcels[i];
  }
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx[0], parcel_cb), 0);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&rx[1], 64, parcel_many_cb), 0);
  for (round = 0; round < rounds; round++) {
    size_t count = 1 + round % capacity;

    for (i = 0; i < count; i++) {
      fill(in + i * SIZE, SIZE, sent + i);
    }
    if (round % 2 == 0) {
      ck_assert_int_eq(uvch_broadcast_send_many(&tx, in, count), (int) count);
    } else {
      for (i = 0; i < count; i++) {
        ck_assert_int_eq(uvch_broadcast_send(&tx, SIZE == 0 ? NULL : in + i * SIZE), 3);
      }
    }
    memset(in, 0xdd, 8 * SIZE + 1); /* the channel has its own */
    turn(&loop);
    for (i = 0; i < count; i++) {
      memset(out, 0xee, SIZE + 1);
      ck_assert_int_eq(uvch_broadcast_try_recv(&plain, SIZE == 0 ? NULL : out), 0);
      check_blob(out, SIZE, sent + i);
      ck_assert_uint_eq(out[SIZE], 0xee); /* and not a byte more */
    }
    sent += count;
  }
  ck_assert_uint_eq(parcels[0].next, sent);
  ck_assert_uint_eq(parcels[1].next, sent);
  close_rx(&plain);
  close_rx(&rx[0]);
  close_rx(&rx[1]);
  drop_sender(&tx);
  support_loop_end(&loop);
  free(in);
  free(out);
}
END_TEST

/* With functions they are kept in another way. */
typedef struct crate_s {
  size_t size;
  size_t dropped;
  size_t copied;
} crate_t;

static int crate_copy(void* to, const void* from, void* arg) {
  crate_t* crate = arg;

  memcpy(to, from, crate->size);
  crate->copied += 1;
  return 0;
}

static void crate_drop(void* item, void* arg) {
  crate_t* crate = arg;

  check_blob(item, crate->size, crate->dropped); /* in the order they were sent */
  crate->dropped += 1;
}

START_TEST(messages_of_every_size_are_whole_in_copy_and_drop_functions) {
  size_t capacity = SIZE_VARIANT == 0 ? 1 : 5;
  unsigned char* in = malloc(SIZE + 1);
  unsigned char* out = malloc(SIZE + 1);
  uvch_broadcast_options_t options;
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  parcel_t parcel = {.size = SIZE};
  crate_t crate = {.size = SIZE};
  uv_loop_t loop;
  uint64_t sent;
  uint64_t i;

  ck_assert(in != NULL && out != NULL);
  support_loop_init(&loop);
  memset(&options, 0, sizeof(options));
  options.copy = crate_copy;
  options.drop = crate_drop;
  options.arg = &crate;
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, &plain, &tx, SIZE, capacity, &options), 0);
  subscribe(&loop, &rx, &tx);
  rx.data = &parcel;
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&rx, 64, parcel_many_cb), 0);
  for (sent = 0; sent < 3 * capacity; sent += capacity) {
    for (i = sent; i < sent + capacity; i++) {
      fill(in, SIZE, i);
      ck_assert_int_eq(uvch_broadcast_send(&tx, in), 2);
    }
    turn(&loop);
    for (i = sent; i < sent + capacity && sent < 2 * capacity; i++) { /* the last ones nobody takes */
      ck_assert_int_eq(uvch_broadcast_try_recv(&plain, out), 0);
      check_blob(out, SIZE, i);
    }
  }
  ck_assert_uint_eq(parcel.next, sent);
  ck_assert_uint_eq(crate.dropped, 2 * capacity);
  ck_assert_uint_eq(crate.copied, 2 * capacity);
  close_rx(&plain);
  close_rx(&rx);
  ck_assert_uint_eq(crate.dropped, 3 * capacity);
  drop_sender(&tx);
  support_loop_end(&loop);
  free(in);
  free(out);
}
END_TEST

/* How much. */

START_TEST(an_idle_receiver_takes_at_most_160_bytes) {
  enum { MANY = 1000 };
  uvch_broadcast_receiver_t* rx = calloc(MANY, sizeof(*rx));
  uvch_broadcast_receiver_t anchor;
  uvch_broadcast_sender_t tx;
  size_t count = 0;
  uv_loop_t loop;
  size_t before;
  size_t i;

  ck_assert_ptr_nonnull(rx);
  support_loop_init(&loop);
  ck_assert_int_eq(uvch_broadcast_init(&loop, &anchor, &tx, sizeof(uint64_t), 64), 0); /* makes what they share */
  before = support_alloc_bytes();
  for (i = 0; i < MANY; i++) {
    subscribe(_i == 0 ? NULL : &loop, &rx[i], &tx);
    if (_i == 2) {
      rx[i].data = &count;
      support_check_eq(uvch_broadcast_recv_start(&rx[i], count_cb), 0); /* waiting takes no more */
    }
  }
  ck_assert_uint_le(support_alloc_bytes() - before, 160 * MANY);
  for (i = 0; i < MANY; i++) {
    close_rx(&rx[i]);
  }
  close_rx(&anchor);
  drop_sender(&tx);
  support_loop_end(&loop);
  free(rx);
}
END_TEST

START_TEST(receivers_that_come_and_go_leave_no_memory_behind) {
  uvch_broadcast_receiver_t rx[20];
  uvch_broadcast_receiver_t anchor;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  size_t blocks = 0;
  size_t bytes = 0;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_broadcast_init(&loop, &anchor, &tx, sizeof(uint64_t), 4), 0);
  for (round = 0; round < support_scale(200); round++) {
    for (i = 0; i < COUNT(rx); i++) {
      subscribe(i % 2 == 0 ? NULL : &loop, &rx[i], &tx);
      ck_assert_int_gt(try_put(&tx, i), 0);
    }
    for (i = 0; i < COUNT(rx); i++) {
      close_rx(&rx[i * 7 % COUNT(rx)]);
    }
    turn(&loop);
    if (round == 2) {
      blocks = support_alloc_blocks();
      bytes = support_alloc_bytes();
    }
    if (round >= 2) {
      ck_assert_uint_eq(support_alloc_blocks(), blocks);
      ck_assert_uint_eq(support_alloc_bytes(), bytes);
    }
  }
  close_rx(&anchor);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_steady_stream_takes_no_memory) {
  static const size_t capacities[] = {1, 7, 64};
  size_t capacity = capacities[_i];
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  size_t count = 0;
  uv_loop_t loop;
  uint64_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_broadcast_init(&loop, &rx, &tx, sizeof(uint64_t), capacity), 0);
  subscribe(NULL, &plain, &tx);
  rx.data = &count;
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, count_cb), 0);
  for (i = 0; i < 20 * capacity; i++) {
    if (i == 2 * capacity) {
      support_alloc_mark();
    }
    ck_assert_int_eq(try_put(&tx, i), 2);
    turn(&loop);
    if (i % 3 > 0) { /* the plain one misses some */
      ck_assert_int_ge(try_take(&plain), 0);
    }
  }
  ck_assert_uint_eq(count, 20 * capacity);
  ck_assert_uint_eq(support_alloc_calls(), 0);
  close_rx(&plain);
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(clones_and_counters_take_no_memory) {
  uvch_broadcast_weak_sender_t weak[20];
  uvch_broadcast_sender_t clones[20];
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  size_t i;

  ck_assert_int_eq(uvch_broadcast_init(NULL, &rx, &tx, sizeof(uint64_t), 4), 0);
  support_alloc_mark();
  support_alloc_fail_from(1);
  for (i = 0; i < COUNT(clones); i++) {
    ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, &clones[i]), 0);
    ck_assert_int_eq(uvch_broadcast_sender_downgrade(&tx, &weak[i]), 0);
  }
  ck_assert_uint_eq(uvch_broadcast_sender_len(&tx), 0);
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), 1);
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  for (i = 0; i < COUNT(clones); i++) {
    drop_sender(&clones[i]);
    ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak[i], &clones[i]), 0);
    drop_sender(&clones[i]);
    ck_assert_int_eq(uvch_broadcast_weak_sender_close(&weak[i]), 0);
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  close_rx(&rx);
  drop_sender(&tx);
  support_alloc_fail_from(0);
}
END_TEST

/* None left. A program that makes every call that may need memory, run again and again with another allocation failing each
 * time. */

enum { OWNED, WAITED, PLAIN, CHANNELS };
enum { RECEIVERS = 8 };

typedef struct program_s {
  uv_loop_t loop;
  bool for_good; /* once memory is out, it stays so: the first UV_ENOMEM ends the program */
  uvch_broadcast_sender_t tx[CHANNELS];
  bool open[CHANNELS];
  uvch_broadcast_receiver_t rx[RECEIVERS];
  bool subscribed[RECEIVERS];
  asker_t askers[3];
  bool asked[3];
  uvch_broadcast_closed_t closed_req;
  bool watched;
  int closed_status;
  book_t book;
  size_t delivered;
} program_t;

/* 1: it worked. 0: no memory, which must be true. */
static int worked(int result) {
  if (result == UV_ENOMEM) {
    ck_assert_uint_gt(support_alloc_failed(), 0);
    return 0;
  }
  support_check(result >= 0);
  return 1;
}

/* A call that has failed for a single allocation works the next time. */
#define TRY(program, call) (worked(call) || (!(program)->for_good && worked(call)))

/* A wait that ends by its time, if it can begin. */
static int timed_out(int result) {
  return result == UV_ETIMEDOUT ? 0 : result;
}

static int no_room(int result) {
  return result == UV_EAGAIN ? 0 : result;
}

static void program_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  program_t* p = rx->data;

  (void) first;
  (void) stride;
  support_check(status >= 0 || status == UV_EOF);
  p->delivered += count;
}

static void program_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  program_many_cb(rx, status, item, 0, item != NULL);
}

static void program_on_closed(uvch_broadcast_closed_t* req, int status) {
  program_t* p = req->data;

  p->closed_status = status;
}

/* A call that makes a receiver, and perhaps a sender: without memory both stay as they were. */
static int program_make(program_t* p, size_t channel, size_t receiver, uv_loop_t* loop, int way) {
  static const size_t bounds[CHANNELS] = {3, 1, 8};
  uvch_broadcast_receiver_t rx = p->rx[receiver];
  uvch_broadcast_sender_t tx = p->tx[channel];
  uvch_broadcast_options_t options;
  int answer;

  memset(&options, 0, sizeof(options));
  options.policy = channel == WAITED ? UVCH_BROADCAST_WAIT : UVCH_BROADCAST_LAG;
  options.copy = channel == PLAIN ? NULL : book_copy;
  options.drop = channel == PLAIN ? NULL : book_drop;
  options.arg = &p->book;
  if (way == 0) {
    answer = uvch_broadcast_init_ex(loop, &p->rx[receiver], &p->tx[channel], sizeof(uint64_t), bounds[channel], &options);
  } else if (way == 1) {
    answer = uvch_broadcast_subscribe(loop, &p->rx[receiver], &p->tx[channel]);
  } else {
    answer = uvch_broadcast_resubscribe(loop, &p->rx[receiver], &p->rx[channel]);
  }
  if (!worked(answer)) {
    support_check_eq(memcmp(&rx, &p->rx[receiver], sizeof(rx)), 0);
    support_check_eq(memcmp(&tx, &p->tx[channel], sizeof(tx)), 0);
    return UV_ENOMEM;
  }
  p->rx[receiver].data = p;
  p->subscribed[receiver] = true;
  p->open[channel] = true;
  return 0;
}

static int program_send(program_t* p, size_t channel, uint64_t id) {
  int ok = TRY(p, uvch_broadcast_send(&p->tx[channel], &id));

  p->book.sent += ok && channel != PLAIN;
  return ok;
}

static int program_ask(program_t* p, size_t k, uint64_t id) {
  p->asked[k] = TRY(p, try_ask(&p->loop, &p->askers[k], &p->tx[WAITED], id));
  return p->asked[k];
}

static int program_open(program_t* p) {
  return TRY(p, program_make(p, OWNED, OWNED, &p->loop, 0)) && TRY(p, program_make(p, WAITED, WAITED, NULL, 0)) &&
         TRY(p, program_make(p, PLAIN, PLAIN, &p->loop, 0)) && TRY(p, program_make(p, OWNED, 3, &p->loop, 1)) &&
         TRY(p, program_make(p, WAITED, 4, &p->loop, 1)) && TRY(p, program_make(p, PLAIN, 5, NULL, 1)) &&
         TRY(p, program_make(p, PLAIN, 6, &p->loop, 2)) && TRY(p, program_make(p, OWNED, 7, NULL, 2)) &&
         TRY(p, uvch_loop_configure(&p->loop, UVCH_LOOP_BUDGET_MESSAGES, 100));
}

static int program_clone(program_t* p) {
  uvch_broadcast_weak_sender_t weak[2];
  uvch_broadcast_sender_t tx[2];

  if (!TRY(p, uvch_broadcast_sender_clone(&p->tx[OWNED], &tx[0]))) {
    return 0;
  }
  if (TRY(p, uvch_broadcast_sender_downgrade(&tx[0], &weak[0]))) {
    if (TRY(p, uvch_broadcast_weak_sender_clone(&weak[0], &weak[1]))) {
      if (TRY(p, uvch_broadcast_weak_sender_upgrade(&weak[1], &tx[1]))) {
        drop_sender(&tx[1]);
      }
      support_check_eq(uvch_broadcast_weak_sender_close(&weak[1]), 0);
    }
    support_check_eq(uvch_broadcast_weak_sender_close(&weak[0]), 0);
  }
  drop_sender(&tx[0]);
  return 1;
}

static int program_send_all(program_t* p) {
  static const uint64_t values[12] = {0};
  uint64_t id = 500;
  size_t i;

  for (i = 0; i < 5; i++) {
    if (!program_send(p, OWNED, i) || !program_send(p, PLAIN, i)) {
      return 0;
    }
  }
  if (!TRY(p, uvch_broadcast_send_many(&p->tx[PLAIN], values, COUNT(values))) || !program_send(p, WAITED, 100) ||
      !program_ask(p, 0, 101) || !program_ask(p, 1, 102) || !program_ask(p, 2, 103)) {
    return 0;
  }
  if (!TRY(p, no_room(try_put(&p->tx[WAITED], id)))) {
    return 0;
  }
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &p->askers[1].req), 0);
  return TRY(p, timed_out(uvch_broadcast_send_timedwait(&p->tx[WAITED], &id, 1000)));
}

static int program_wait(program_t* p) {
  uint64_t value;

  p->closed_req.data = p;
  p->watched = TRY(p, uvch_broadcast_closed(&p->loop, &p->closed_req, &p->tx[PLAIN], program_on_closed));
  if (!p->watched || !TRY(p, timed_out(uvch_broadcast_closed_timedwait(&p->tx[WAITED], 1000)))) {
    return 0;
  }
  while (uvch_broadcast_receiver_len(&p->rx[5]) > 0) { /* takes all, so that it can sleep */
    support_check(uvch_broadcast_try_recv(&p->rx[5], &value) >= 0);
  }
  return TRY(p, timed_out(uvch_broadcast_recv_timedwait(&p->rx[5], &value, 1000))) &&
         TRY(p, uvch_attach(&p->loop, (uvch_handle_t*) &p->rx[5])) && TRY(p, uvch_attach(&p->loop, (uvch_handle_t*) &p->rx[7]));
}

static int program_receive(program_t* p) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (p->rx[i].loop == NULL) {
      continue;
    }
    if (i % 2 == 0 ? !TRY(p, uvch_broadcast_recv_start(&p->rx[i], program_cb))
                   : !TRY(p, uvch_broadcast_recv_many_start(&p->rx[i], 64, program_many_cb))) {
      return 0;
    }
    uv_run(&p->loop, UV_RUN_NOWAIT);
  }
  support_check_eq(uvch_broadcast_try_recv(&p->rx[WAITED], &(uint64_t){0}), 0);
  uv_run(&p->loop, UV_RUN_NOWAIT);
  return program_send(p, OWNED, 300) && program_send(p, PLAIN, 300);
}

/* Needs no memory. */
static void program_end(program_t* p) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (p->subscribed[i]) {
      close_rx(&p->rx[i]);
    }
  }
  for (i = 0; i < CHANNELS; i++) {
    if (p->open[i]) {
      drop_sender(&p->tx[i]);
    }
  }
  support_loop_end(&p->loop);
  for (i = 0; i < COUNT(p->askers); i++) {
    ck_assert(p->asked[i] == (p->askers[i].status != NOT_DONE && p->askers[i].req.data != NULL));
    p->book.sent += p->asked[i] && p->askers[i].status > 0;
  }
  ck_assert_int_eq(p->closed_status, p->watched ? 0 : NOT_DONE);
}

/* Whether an allocation failed. */
static bool program_run(size_t n, bool for_good) {
  size_t before = support_alloc_blocks();
  program_t p;
  int ok;

  memset(&p, 0, sizeof(p));
  p.for_good = for_good;
  p.closed_status = NOT_DONE;
  book_open(&p.book);
  support_loop_init(&p.loop);
  support_alloc_mark();
  if (for_good) {
    support_alloc_fail_from(n);
  } else {
    support_alloc_fail(n);
  }
  ok = program_open(&p) && program_clone(&p) && program_send_all(&p) && program_wait(&p) && program_receive(&p);
  ck_assert(ok || for_good);
  program_end(&p);
  support_alloc_fail_from(0);
  book_close(&p.book);
  ck_assert_uint_eq(support_alloc_blocks(), before);
  return support_alloc_failed() > 0;
}

START_TEST(any_allocation_may_fail_and_nothing_is_lost_or_leaked) {
  size_t n = 1;

  while (program_run(n, _i == 1)) {
    n += 1;
  }
  ck_assert_uint_gt(n, CHANNELS); /* each of them needed one */
}
END_TEST

/* As the header says of a first call that has failed. */
START_TEST(after_a_subscription_without_memory_one_pass_clears_the_loop) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  size_t n;
  int r;

  ck_assert_int_eq(uvch_broadcast_init(NULL, NULL, &tx, sizeof(uint64_t), 4), 0);
  for (n = 1;; n++) {
    support_loop_init(&loop);
    support_alloc_fail(n);
    r = uvch_broadcast_subscribe(&loop, &rx, &tx);
    support_alloc_fail(0);
    if (r == 0) {
      break;
    }
    ck_assert_int_eq(r, UV_ENOMEM);
    uv_run(&loop, UV_RUN_NOWAIT);
    support_loop_close(&loop);
  }
  ck_assert_uint_gt(n, 3); /* its port, the wake source, the group */
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_wait_without_memory_is_refused_and_takes_no_place) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  asker_t asker;
  uint64_t value = 9;
  bool owns = _i == 1; /* then the message itself takes some */
  uint64_t mark = owns ? OWN : 0;
  uv_loop_t loop;
  book_t book;

  support_loop_init(&loop);
  book_open(&book);
  open_channel(&tx, 1, UVCH_BROADCAST_WAIT, &book, owns ? 0 : NO_COPY | NO_DROP);
  subscribe(NULL, &rx, &tx);
  put(&tx, &book);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, &value), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 1000000), UV_ENOMEM);
  if (!owns) {
    ck_assert_int_eq(try_put(&tx, value), UV_EAGAIN);
    ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 0), UV_ETIMEDOUT); /* it does not sleep */
  }
  ck_assert_int_eq(try_ask(&loop, &asker, &tx, value), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1);
  ck_assert_uint_eq(take(&rx), 0 | mark);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 1000000), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_ETIMEDOUT);
  support_alloc_fail_from(0);
  put(&tx, &book); /* nobody waits */
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), 0);
  ck_assert_uint_eq(value, 1 | mark);
  support_loop_run(&loop);
  ck_assert_int_eq(asker.status, NOT_DONE);
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_end(&loop);
  book.sent = owns ? book.sent : 0;
  book_close(&book);
}
END_TEST

START_TEST(a_send_without_memory_keeps_nothing) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  bool failed = false;
  book_t book;
  size_t i;

  book_open(&book);
  open_channel(&tx, 4, POLICY, &book, _i < POLICIES ? 0 : NO_COPY | NO_DROP);
  subscribe(NULL, &rx, &tx);
  support_alloc_fail_from(1);
  for (i = 0; i < 10; i++) { /* it may have some place that it has made before */
    int answer = try_put(&tx, book.sent);

    support_check(answer == 1 || answer == UV_ENOMEM || (answer == UV_EAGAIN && POLICY == UVCH_BROADCAST_WAIT));
    failed = failed || answer == UV_ENOMEM;
    book.sent += answer == 1;
    support_check(uvch_broadcast_receiver_is_closed(&rx) || uvch_broadcast_receiver_len(&rx) == book.sent);
  }
  ck_assert(failed || support_alloc_failed() == 0);
  support_alloc_fail_from(0);
  close_rx(&rx);
  drop_sender(&tx);
  book.sent = _i < POLICIES ? book.sent : 0;
  book_close(&book);
}
END_TEST

/* Programs that close the library's handles. */

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

START_TEST(messages_end_also_when_a_program_closes_the_librarys_handles) {
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_receiver_t rx[3];
  uvch_broadcast_sender_t tx;
  size_t count = 0;
  uv_loop_t loop;
  book_t book;
  size_t i;

  support_loop_init(&loop);
  book_open(&book);
  open_channel(&tx, 16, POLICY, &book, 0);
  subscribe(NULL, &plain, &tx);
  for (i = 0; i < COUNT(rx); i++) {
    subscribe(&loop, &rx[i], &tx);
    rx[i].data = &count;
    if (i < 2) {
      ck_assert_int_eq(uvch_broadcast_recv_start(&rx[i], count_cb), 0);
    }
  }
  put_many(&tx, &book, 4);
  turn(&loop);
  put_many(&tx, &book, 4);
  uv_walk(&loop, close_uv, NULL);
  support_loop_end(&loop);
  put_many(&tx, &book, 2);
  for (i = 0; i < 10; i++) {
    take(&plain);
  }
  ck_assert_uint_eq(count, 2 * 4);
  for (i = 0; i < COUNT(rx); i++) {
    close_rx(&rx[i]);
  }
  ck_assert_uint_eq(dropped(&book), 10);
  close_rx(&plain);
  drop_sender(&tx);
  support_loop_init(&loop); /* what stayed for the old one goes with it */
  ck_assert_int_eq(uvch_broadcast_init(&loop, &plain, &tx, sizeof(uint64_t), 4), 0);
  turn(&loop);
  close_rx(&plain);
  drop_sender(&tx);
  support_loop_end(&loop);
  book_close(&book);
}
END_TEST

static void add_ends(Suite* suite) {
  TCase* tcase = support_case(suite, "ends");

  add_for_every_policy(tcase, a_message_ends_when_the_last_one_who_was_there_has_read_it);
  tcase_add_loop_test(tcase, a_message_that_is_overwritten_ends_in_the_send_that_does_it, 0, 5);
  tcase_add_loop_test(tcase, closing_a_receiver_ends_what_nobody_else_has_to_read, 0, 2 * POLICIES);
  add_for_every_policy(tcase, after_the_senders_are_gone_messages_end_when_they_are_read_or_nobody_is_left);
  tcase_add_test(tcase, who_is_cut_off_is_not_waited_for_any_more);
  tcase_add_loop_test(tcase, a_message_in_its_callback_does_not_end_whatever_that_does, 0, DEEDS * 2 * 3);
  add_for_every_policy(tcase, a_message_ends_on_the_thread_of_the_loop_that_was_last);
  tcase_add_test(tcase, a_message_that_was_not_sent_stays_the_callers);
  add_for_every_policy(tcase, messages_end_also_when_a_program_closes_the_librarys_handles);
}

static void add_functions(Suite* suite) {
  TCase* tcase = support_case(suite, "functions");

  add_for_every_policy(tcase, a_copy_that_fails_counts_as_read);
  add_for_every_policy(tcase, without_a_copy_function_messages_that_own_things_come_to_callbacks_only);
  tcase_add_test(tcase, a_channel_may_have_a_copy_function_alone);
  tcase_add_loop_test(tcase, a_drop_function_may_use_its_channel, 0, ACTS * CAUSES * 2);
  tcase_add_loop_test(tcase, a_drop_function_may_use_its_channel_after_a_callback, 0, POLICIES * ACTS);
  tcase_add_loop_test(tcase, a_drop_function_may_close_or_stop_the_receiver_whose_message_it_ends, 0, 2 * 2 * 2);
  tcase_add_loop_test(tcase, a_copy_function_may_use_its_channel, 0, ACTS * 2 * POLICIES);
  tcase_add_loop_test(tcase, each_message_of_a_busy_channel_ends_once_and_not_before_it_was_read, 0, 3 * POLICIES);
}

static void add_size(Suite* suite) {
  TCase* tcase = support_case(suite, "size");

  add_for_every_size(tcase, messages_of_every_size_are_whole_and_aligned, 3 * POLICIES);
  add_for_every_size(tcase, messages_of_every_size_are_whole_in_copy_and_drop_functions, 2);
  tcase_add_loop_test(tcase, an_idle_receiver_takes_at_most_160_bytes, 0, 3);
  tcase_add_test(tcase, receivers_that_come_and_go_leave_no_memory_behind);
  tcase_add_loop_test(tcase, a_steady_stream_takes_no_memory, 0, 3);
  tcase_add_test(tcase, clones_and_counters_take_no_memory);
}

static void add_trouble(Suite* suite) {
  TCase* tcase = support_case(suite, "trouble");

  tcase_add_loop_test(tcase, any_allocation_may_fail_and_nothing_is_lost_or_leaked, 0, 2);
  tcase_add_test(tcase, after_a_subscription_without_memory_one_pass_clears_the_loop);
  tcase_add_loop_test(tcase, a_wait_without_memory_is_refused_and_takes_no_place, 0, 2);
  tcase_add_loop_test(tcase, a_send_without_memory_keeps_nothing, 0, 2 * POLICIES);
}

int main(void) {
  Suite* suite = suite_create("broadcast_memory");

  add_ends(suite);
  add_functions(suite);
  add_size(suite);
  add_trouble(suite);
  return support_main(suite);
}
