/* SPDX-License-Identifier: MIT
 *
 * Sending from loops: requests that wait for room, their order, cancelling, and sends from inside callbacks. */
#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOT_DONE = 1 }; /* no status is positive */

static const size_t capacities[] = {1, 2, 3, 7, 64, UVCH_UNBOUNDED};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))
#define add_for_every_bound(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities) - 1)

/* A request with its message and what came of it. */
typedef struct waiter_s {
  uvch_mpsc_send_t req;
  uint64_t value;
  int status;
  size_t calls;
  size_t turn; /* its place among all callbacks of the test, from 1 */
} waiter_t;

static size_t turns;

static void on_sent(uvch_mpsc_send_t* req, int status) {
  waiter_t* waiter = req->data;

  waiter->status = status;
  waiter->calls += 1;
  waiter->turn = ++turns;
}

/* The request's memory is garbage before; the library must not look at it. */
static int try_request(uv_loop_t* loop, waiter_t* waiter, const uvch_mpsc_sender_t* tx, uint64_t value) {
  memset(waiter, 0xa5, sizeof(*waiter));
  waiter->req.data = waiter;
  waiter->value = value;
  waiter->status = NOT_DONE;
  waiter->calls = 0;
  waiter->turn = 0;
  return uvch_mpsc_send(loop, &waiter->req, tx, &waiter->value, on_sent);
}

static void request(uv_loop_t* loop, waiter_t* waiter, const uvch_mpsc_sender_t* tx, uint64_t value) {
  support_check_eq(try_request(loop, waiter, tx, value), 0);
  support_check_eq(waiter->calls, 0); /* never from inside the call */
  support_check(waiter->req.data == waiter && waiter->req.loop == loop);
  support_check_eq(waiter->req.type, UVCH_MPSC_SEND);
}

static int cancel(waiter_t* waiter) {
  return uvch_cancel((uvch_req_t*) &waiter->req);
}

static void check_done(const waiter_t* waiter, int status) {
  support_check_eq(waiter->calls, 1);
  support_check_eq(waiter->status, status);
}

/* A few passes in which nothing may come. */
static void check_waits(uv_loop_t* loop, const waiter_t* waiter) {
  int i;

  for (i = 0; i < 3; i++) {
    ck_assert_int_ne(uv_run(loop, UV_RUN_NOWAIT), 0); /* it keeps the loop alive */
    ck_assert_uint_eq(waiter->calls, 0);
  }
}

static void open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  turns = 0;
  ck_assert_int_eq(uvch_mpsc_init(loop, rx, tx, sizeof(uint64_t), capacity), 0);
}

/* Fill a bounded channel with 0, 1, 2 ... */
static void fill(const uvch_mpsc_sender_t* tx) {
  size_t n = uvch_mpsc_sender_capacity(tx);
  uint64_t value = 0;
  size_t i;

  for (i = 0; i < n; i++) {
    support_put(tx, i);
  }
  ck_assert_int_eq(uvch_mpsc_try_send(tx, &value), UV_EAGAIN);
}

static void check_try_recv(uvch_mpsc_receiver_t* rx, int result) {
  uint64_t value;

  ck_assert_int_eq(uvch_mpsc_try_recv(rx, &value), result);
}

/* Requests. */

START_TEST(a_request_with_room_takes_the_message_at_once_and_calls_back_from_the_loop) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiter;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  request(&loop, &waiter, &tx, 5);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 1);
  ck_assert_uint_eq(support_take(&rx), 5);
  ck_assert_uint_eq(waiter.calls, 0);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  support_loop_run(&loop);
  check_done(&waiter, 0);
  support_drop_sender(&tx);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_request_waits_while_the_channel_is_full) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiter;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  request(&loop, &waiter, &tx, CAPACITY);
  check_waits(&loop, &waiter);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), CAPACITY); /* who waits does not count */
  ck_assert_uint_eq(support_take(&rx), 0);
  support_loop_run(&loop);
  check_done(&waiter, 0);
  for (i = 1; i <= CAPACITY; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  check_try_recv(&rx, UV_EAGAIN);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(waiting_requests_go_in_and_call_back_in_the_order_they_were_made) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[20];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  for (i = 0; i < COUNT(waiters); i++) {
    request(&loop, &waiters[i], &tx, CAPACITY + i);
  }
  for (i = 0; i < CAPACITY + COUNT(waiters); i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  support_loop_run(&loop);
  for (i = 0; i < COUNT(waiters); i++) {
    check_done(&waiters[i], 0);
    ck_assert_uint_eq(waiters[i].turn, i + 1);
  }
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(nobody_passes_those_who_wait) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[3];
  uv_loop_t loop;
  uint64_t value = 99;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  request(&loop, &waiters[0], &tx, CAPACITY);
  request(&loop, &waiters[1], &tx, CAPACITY + 1);
  for (i = 0; i < 2; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
    ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 0), UV_ETIMEDOUT);
    ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), 0);
    ck_assert_uint_eq(uvch_mpsc_receiver_capacity(&rx), 0);
  }
  request(&loop, &waiters[2], &tx, CAPACITY + 2); /* the channel is full again: it waits, too */
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), CAPACITY);
  for (i = 2; i < CAPACITY + 3; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  support_loop_run(&loop);
  for (i = 0; i < COUNT(waiters); i++) {
    check_done(&waiters[i], 0);
  }
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(room_is_seen_again_once_nobody_waits) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[5];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  for (i = 0; i < COUNT(waiters); i++) {
    request(&loop, &waiters[i], &tx, CAPACITY + i);
  }
  for (i = 0; i < COUNT(waiters); i++) {
    ck_assert_uint_eq(support_take(&rx), i);
    ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), 0);
  }
  ck_assert_uint_eq(support_take(&rx), COUNT(waiters));
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), 1);
  support_put(&tx, 1000);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), 0);
  support_loop_run(&loop);
  for (i = 0; i < COUNT(waiters); i++) {
    check_done(&waiters[i], 0);
  }
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_request_keeps_its_loop_alive_until_its_callback) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiter;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 1);
  fill(&tx);
  ck_assert_int_eq(uv_loop_alive(&loop), 0);
  request(&loop, &waiter, &tx, 1);
  check_waits(&loop, &waiter);
  ck_assert_int_eq(uv_loop_close(&loop), UV_EBUSY);
  support_take(&rx);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  support_loop_end(&loop);
  check_done(&waiter, 0);
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

START_TEST(a_request_on_a_closed_channel_is_refused_and_never_calls_back) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiter;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(try_request(&loop, &waiter, &tx, 1), UV_EPIPE);
  support_loop_run(&loop);
  ck_assert_uint_eq(waiter.calls, 0);
  support_close(&rx);
  ck_assert_int_eq(try_request(&loop, &waiter, &tx, 1), UV_EPIPE);
  support_loop_end(&loop);
  ck_assert_uint_eq(waiter.calls, 0);
  support_drop_sender(&tx);
}
END_TEST

START_TEST(a_waiting_request_counts_as_a_sender) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiter;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  request(&loop, &waiter, &tx, CAPACITY);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
  for (i = 0; i <= CAPACITY; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  support_loop_run(&loop);
  check_done(&waiter, 0);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(the_channel_ends_when_its_last_request_is_cancelled) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiter;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  request(&loop, &waiter, &tx, CAPACITY);
  support_drop_sender(&tx);
  ck_assert_int_eq(cancel(&waiter), 0);
  support_loop_run(&loop);
  check_done(&waiter, UV_ECANCELED);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(shutdown_fails_those_who_wait_in_order_and_keeps_what_is_queued) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[9];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  for (i = 0; i < COUNT(waiters); i++) {
    request(&loop, &waiters[i], &tx, CAPACITY + i);
  }
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_uint_eq(waiters[0].calls, 0);
  support_loop_run(&loop);
  for (i = 0; i < COUNT(waiters); i++) {
    check_done(&waiters[i], UV_EPIPE);
    ck_assert_uint_eq(waiters[i].turn, i + 1);
  }
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  check_try_recv(&rx, UV_EOF);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

static void count_drop(void* item, void* arg) {
  size_t* dropped = arg;
  uint64_t value;

  memcpy(&value, item, sizeof(value));
  ck_assert_uint_eq(value, *dropped);
  *dropped += 1;
}

START_TEST(close_fails_those_who_wait_and_drops_only_what_was_taken) {
  uvch_mpsc_options_t options;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[9];
  size_t dropped = 0;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  memset(&options, 0, sizeof(options));
  options.drop = count_drop;
  options.arg = &dropped;
  turns = 0;
  ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &rx, &tx, sizeof(uint64_t), CAPACITY, &options), 0);
  fill(&tx);
  for (i = 0; i < COUNT(waiters); i++) {
    request(&loop, &waiters[i], &tx, CAPACITY + i);
  }
  support_close(&rx);
  ck_assert_uint_eq(dropped, CAPACITY); /* at once */
  ck_assert_uint_eq(waiters[0].calls, 0);
  support_loop_run(&loop);
  for (i = 0; i < COUNT(waiters); i++) {
    check_done(&waiters[i], UV_EPIPE);
    ck_assert_uint_eq(waiters[i].turn, i + 1);
  }
  ck_assert_uint_eq(dropped, CAPACITY);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), CAPACITY);
  support_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(requests_of_two_loops_wait_in_one_line) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[12];
  uv_loop_t loops[2];
  size_t i;

  support_loop_init(&loops[0]);
  support_loop_init(&loops[1]);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  for (i = 0; i < COUNT(waiters); i++) {
    request(&loops[i % 3 == 0], &waiters[i], &tx, CAPACITY + i);
  }
  for (i = 0; i < CAPACITY + COUNT(waiters); i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  support_loop_end(&loops[0]);
  for (i = 0; i < COUNT(waiters); i++) {
    ck_assert_uint_eq(waiters[i].calls, i % 3 == 0 ? 0 : 1); /* each on its own loop */
  }
  support_loop_end(&loops[1]);
  for (i = 0; i < COUNT(waiters); i++) {
    check_done(&waiters[i], 0);
  }
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

START_TEST(requests_carry_messages_of_every_size) {
  static const size_t sizes[] = {0, 1, 3, 8, 24, 100, 4096};
  size_t size = sizes[_i];
  unsigned char items[8][4096];
  unsigned char out[4096];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[8];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, size, 2), 0);
  for (i = 0; i < COUNT(waiters); i++) {
    memset(items[i], (int) i + 1, sizeof(items[i]));
    waiters[i] = (waiter_t){.req.data = &waiters[i]};
    ck_assert_int_eq(uvch_mpsc_send(&loop, &waiters[i].req, &tx, size == 0 ? NULL : items[i], on_sent), 0);
  }
  for (i = 0; i < COUNT(waiters); i++) {
    memset(out, 0, sizeof(out));
    ck_assert_int_eq(uvch_mpsc_try_recv(&rx, out), 0);
    ck_assert_int_eq(memcmp(out, items[i], size), 0);
    ck_assert_uint_eq(out[size == sizeof(out) ? 0 : size], size == sizeof(out) ? i + 1 : 0);
  }
  support_loop_run(&loop);
  for (i = 0; i < COUNT(waiters); i++) {
    check_done(&waiters[i], 0);
  }
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Cancelling. */

START_TEST(a_cancelled_request_gives_its_message_back_and_the_next_proceeds) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[3];
  uv_loop_t loop;
  size_t i;
  int k;

  for (k = 0; k < 3; k++) { /* the first, one in the middle, the last */
    support_loop_init(&loop);
    open_channel(NULL, &rx, &tx, CAPACITY);
    fill(&tx);
    for (i = 0; i < 3; i++) {
      request(&loop, &waiters[i], &tx, 100 + i);
    }
    ck_assert_int_eq(cancel(&waiters[k]), 0);
    ck_assert_uint_eq(waiters[k].calls, 0);
    ck_assert_int_eq(cancel(&waiters[k]), UV_EBUSY);
    ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
    check_done(&waiters[k], UV_ECANCELED);
    ck_assert_uint_eq(waiters[k].value, 100 + (uint64_t) k);
    for (i = 0; i < CAPACITY; i++) {
      ck_assert_uint_eq(support_take(&rx), i);
    }
    for (i = 0; i < 3; i++) {
      if (i != (size_t) k) {
        ck_assert_uint_eq(support_take(&rx), 100 + i);
      }
    }
    check_try_recv(&rx, UV_EAGAIN);
    support_loop_run(&loop);
    for (i = 0; i < 3; i++) {
      check_done(&waiters[i], i == (size_t) k ? UV_ECANCELED : 0);
    }
    support_drop_sender(&tx);
    support_close(&rx);
    support_loop_end(&loop);
  }
}
END_TEST

START_TEST(cancelling_the_only_one_who_waits_opens_the_channel_again) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  request(&loop, &waiters[0], &tx, 100);
  request(&loop, &waiters[1], &tx, 101);
  ck_assert_int_eq(cancel(&waiters[1]), 0);
  ck_assert_int_eq(cancel(&waiters[0]), 0);
  support_take(&rx);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), 1);
  support_put(&tx, 1);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), CAPACITY);
  support_loop_run(&loop);
  check_done(&waiters[0], UV_ECANCELED);
  check_done(&waiters[1], UV_ECANCELED);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

static void cancel_in_callback(uvch_mpsc_send_t* req, int status) {
  on_sent(req, status);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) req), UV_EBUSY);
}

START_TEST(a_request_that_is_done_cannot_be_cancelled) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiter;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 1);
  /* One that had room. */
  request(&loop, &waiter, &tx, 1);
  ck_assert_int_eq(cancel(&waiter), UV_EBUSY);
  support_loop_run(&loop);
  check_done(&waiter, 0);
  ck_assert_int_eq(cancel(&waiter), UV_EBUSY);
  /* One that waited and was served, before its callback, in it, and after it. */
  waiter = (waiter_t){.req.data = &waiter, .value = 2, .status = NOT_DONE};
  ck_assert_int_eq(uvch_mpsc_send(&loop, &waiter.req, &tx, &waiter.value, cancel_in_callback), 0);
  ck_assert_uint_eq(support_take(&rx), 1);
  ck_assert_int_eq(cancel(&waiter), UV_EBUSY);
  support_loop_run(&loop);
  check_done(&waiter, 0);
  ck_assert_int_eq(cancel(&waiter), UV_EBUSY);
  ck_assert_uint_eq(support_take(&rx), 2);
  /* One that failed. */
  fill(&tx);
  request(&loop, &waiter, &tx, 3);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(cancel(&waiter), UV_EBUSY);
  support_loop_run(&loop);
  check_done(&waiter, UV_EPIPE);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

static void take_in_thread(void* arg) {
  void** args = arg;
  uint64_t value = 0;

  if (support_expect_eq(args[1], uvch_mpsc_try_recv(args[0], &value), 0)) {
    support_expect_eq(args[1], value, 0);
  }
}

START_TEST(a_request_whose_message_is_being_moved_cannot_be_cancelled) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_result_t result = {0};
  support_slow_t slow;
  uv_thread_t thread;
  waiter_t waiter = {.req.data = &waiter, .status = NOT_DONE};
  uint64_t message = 77;
  void* args[] = {&rx, &result};
  uv_loop_t loop;

  support_loop_init(&loop);
  support_slow_init(&slow, &message, sizeof(message));
  open_channel(NULL, &rx, &tx, 1);
  support_put(&tx, 0);
  ck_assert_int_eq(uvch_mpsc_send(&loop, &waiter.req, &tx, slow.item, on_sent), 0);
  support_spawn(&thread, take_in_thread, args);
  support_slow_until_read(&slow);
  ck_assert_int_eq(cancel(&waiter), UV_EBUSY);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_uint_eq(waiter.calls, 0);
  support_slow_let_go(&slow);
  support_loop_run(&loop);
  check_done(&waiter, 0);
  support_join(&thread);
  support_result_check(&result);
  ck_assert_uint_eq(support_take(&rx), 77);
  support_slow_destroy(&slow);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Sends from callbacks. */

typedef struct again_s {
  uvch_mpsc_sender_t tx;
  uint64_t last;
  uint64_t seen;
  size_t capacity;
} again_t;

static void send_again(uvch_mpsc_receiver_t* rx, int status, void* item) {
  again_t* again = rx->data;
  uint64_t value;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  memcpy(&value, item, sizeof(value));
  support_check_eq(value, again->seen);
  again->seen += 1;
  if (value + again->capacity <= again->last) {
    support_check_eq(uvch_mpsc_receiver_len(rx), again->capacity - 1);
    value += again->capacity;
    support_check_eq(uvch_mpsc_try_send(&again->tx, &value), 0);
    value = UINT64_MAX;
    support_check_eq(uvch_mpsc_try_send(&again->tx, &value), UV_EAGAIN);
    memcpy(&value, item, sizeof(value));
    support_check_eq(value, again->seen - 1); /* good until the callback returns */
  } else if (again->seen == again->last + 1) {
    support_drop_sender(&again->tx);
  }
}

START_TEST(a_callback_can_send_into_its_own_full_channel_once_per_message) {
  uvch_mpsc_receiver_t rx;
  again_t again = {.last = support_scale(20000), .capacity = CAPACITY};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &again.tx, CAPACITY);
  rx.data = &again;
  fill(&again.tx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, send_again), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(again.seen, again.last + 1);
}
END_TEST

typedef struct polite_s {
  uvch_mpsc_sender_t tx;
  uint64_t seen;
} polite_t;

static void try_to_pass(uvch_mpsc_receiver_t* rx, int status, void* item) {
  polite_t* polite = rx->data;
  uint64_t value;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  memcpy(&value, item, sizeof(value));
  ck_assert_uint_eq(value, polite->seen);
  polite->seen += 1;
  value = 6;
  if (polite->seen <= 5) {
    ck_assert_int_eq(uvch_mpsc_try_send(&polite->tx, &value), UV_EAGAIN);
  } else if (polite->seen == 6) {
    ck_assert_int_eq(uvch_mpsc_try_send(&polite->tx, &value), 0);
    support_drop_sender(&polite->tx);
  }
}

START_TEST(a_callback_does_not_pass_those_who_wait) {
  uvch_mpsc_receiver_t rx;
  polite_t polite = {.seen = 0};
  waiter_t waiters[5];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &polite.tx, 1);
  rx.data = &polite;
  support_put(&polite.tx, 0);
  for (i = 0; i < COUNT(waiters); i++) {
    request(&loop, &waiters[i], &polite.tx, i + 1);
  }
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, try_to_pass), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(polite.seen, 7);
  for (i = 0; i < COUNT(waiters); i++) {
    check_done(&waiters[i], 0);
    ck_assert_uint_eq(waiters[i].turn, i + 1);
  }
}
END_TEST

static void stop_at_once(uvch_mpsc_receiver_t* rx, int status, void* item) {
  size_t* count = rx->data;

  ck_assert_int_eq(status, 0);
  ck_assert_ptr_nonnull(item);
  *count += 1;
  ck_assert_int_eq(uvch_mpsc_recv_stop(rx), 0);
}

START_TEST(who_waits_gets_the_room_of_a_receiver_that_stops_in_its_callback) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiter_t waiters[2];
  size_t count = 0;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &count;
  fill(&tx);
  request(&loop, &waiters[0], &tx, CAPACITY);
  request(&loop, &waiters[1], &tx, CAPACITY + 1);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, stop_at_once), 0);
  while (waiters[0].calls == 0) {
    ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
  }
  check_done(&waiters[0], 0);
  check_waits(&loop, &waiters[1]);
  ck_assert_uint_eq(count, 1);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), CAPACITY);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
  check_done(&waiters[1], UV_EPIPE);
}
END_TEST

static void take_all(uvch_mpsc_receiver_t* rx, int status, void* item) {
  again_t* again = rx->data;
  uint64_t value;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  do {
    memcpy(&value, item, sizeof(value));
    ck_assert_uint_eq(value, again->seen);
    again->seen += 1;
    item = &value;
  } while (uvch_mpsc_try_recv(rx, &value) == 0);
}

START_TEST(who_waits_gets_the_room_of_a_callback_that_takes_all) {
  uvch_mpsc_receiver_t rx;
  again_t again = {.seen = 0};
  waiter_t waiters[20];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &again.tx, CAPACITY);
  rx.data = &again;
  fill(&again.tx);
  for (i = 0; i < COUNT(waiters); i++) {
    request(&loop, &waiters[i], &again.tx, CAPACITY + i);
  }
  support_drop_sender(&again.tx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, take_all), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(again.seen, CAPACITY + COUNT(waiters));
  for (i = 0; i < COUNT(waiters); i++) {
    check_done(&waiters[i], 0);
  }
}
END_TEST

static void count_one(uvch_mpsc_receiver_t* rx, int status, void* item) {
  size_t* count = rx->data;

  ck_assert_int_eq(status, 0);
  ck_assert_ptr_nonnull(item);
  *count += 1;
}

static void run_inside(uvch_mpsc_receiver_t* rx, int status, void* item) {
  count_one(rx, status, item);
  ck_assert_int_ne(uv_run(rx->loop, UV_RUN_NOWAIT), 0);
}

/* The run inside has its budget for one of the others, and what goes on after it for the second one. */
START_TEST(who_waits_gets_the_room_of_a_callback_that_runs_the_loop) {
  uvch_mpsc_receiver_t rx[3];
  uvch_mpsc_sender_t tx[3];
  size_t counts[3] = {0};
  waiter_t waiter;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 1), 0);
  for (i = 0; i < COUNT(rx); i++) {
    open_channel(&loop, &rx[i], &tx[i], CAPACITY);
    rx[i].data = &counts[i];
    fill(&tx[i]);
  }
  request(&loop, &waiter, &tx[0], CAPACITY);
  for (i = 0; i < COUNT(rx); i++) {
    ck_assert_int_eq(uvch_mpsc_recv_start(&rx[i], i == 0 ? run_inside : count_one), 0);
  }
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  for (i = 0; i < COUNT(rx); i++) {
    ck_assert_uint_eq(counts[i], 1);
  }
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx[0]), CAPACITY);
  for (i = 0; i < COUNT(rx); i++) {
    support_close(&rx[i]);
    support_drop_sender(&tx[i]);
  }
  support_loop_end(&loop);
  check_done(&waiter, 0);
}
END_TEST

/* A request that is used again and again from its own callback. */
typedef struct stream_s {
  uvch_mpsc_send_t req;
  uvch_mpsc_sender_t tx;
  uint64_t value;
  uint64_t last;
  support_result_t* result;
} stream_t;

static void stream_on_sent(uvch_mpsc_send_t* req, int status) {
  stream_t* stream = req->data;

  if (!support_expect_eq(stream->result, status, 0)) {
    return;
  }
  if (stream->value == stream->last) {
    support_expect_eq(stream->result, uvch_mpsc_sender_close(&stream->tx), 0);
    return;
  }
  stream->value += 1;
  support_expect_eq(stream->result, uvch_mpsc_send(req->loop, req, &stream->tx, &stream->value, stream_on_sent), 0);
}

static int stream_start(uv_loop_t* loop, stream_t* stream) {
  stream->req.data = stream;
  return uvch_mpsc_send(loop, &stream->req, &stream->tx, &stream->value, stream_on_sent);
}

START_TEST(a_request_can_be_used_again_in_its_callback) {
  support_result_t result = {0};
  uvch_mpsc_receiver_t rx;
  stream_t stream = {.last = support_scale(20000), .result = &result};
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &stream.tx, CAPACITY);
  support_sink_start(&sink, &rx);
  ck_assert_int_eq(stream_start(&loop, &stream), 0);
  support_loop_end(&loop);
  support_result_check(&result);
  support_sink_check(&sink, stream.last + 1, 1);
}
END_TEST

/* Ten loops on ten threads, one slow loop. The upper half of a message is its sender. */

enum { LOOPS = 10 };

typedef struct feeder_s {
  stream_t stream;
  uv_thread_t thread;
  support_result_t result;
} feeder_t;

static void feed(void* arg) {
  feeder_t* feeder = arg;
  uv_loop_t loop;

  if (!support_expect_eq(&feeder->result, uv_loop_init(&loop), 0)) {
    return;
  }
  support_expect_eq(&feeder->result, stream_start(&loop, &feeder->stream), 0);
  support_expect_eq(&feeder->result, uv_run(&loop, UV_RUN_DEFAULT), 0);
  support_expect_eq(&feeder->result, uv_loop_close(&loop), 0);
}

typedef struct order_s {
  uint64_t next[LOOPS];
  uint64_t count;
} order_t;

static void check_order(uvch_mpsc_receiver_t* rx, int status, void* item) {
  order_t* order = rx->data;
  uint64_t value;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  memcpy(&value, item, sizeof(value));
  support_check(value >> 32 < LOOPS);
  support_check_eq(value & UINT32_MAX, order->next[value >> 32]);
  order->next[value >> 32] += 1;
  order->count += 1;
}

START_TEST(ten_loops_feed_one_through_a_narrow_channel) {
  uint64_t each = support_scale(500);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  feeder_t feeders[LOOPS];
  order_t order = {.count = 0};
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &order;
  memset(feeders, 0, sizeof(feeders));
  for (i = 0; i < LOOPS; i++) {
    feeders[i].stream.result = &feeders[i].result;
    feeders[i].stream.value = (uint64_t) i << 32;
    feeders[i].stream.last = ((uint64_t) i << 32) + each - 1;
    ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &feeders[i].stream.tx), 0);
  }
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, check_order), 0);
  for (i = 0; i < LOOPS; i++) {
    support_spawn(&feeders[i].thread, feed, &feeders[i]);
  }
  support_loop_end(&loop);
  for (i = 0; i < LOOPS; i++) {
    support_join(&feeders[i].thread);
    support_result_check(&feeders[i].result);
  }
  ck_assert_uint_eq(order.count, each * LOOPS);
}
END_TEST

/* Random calls against a model of what a channel is: a queue, and a line in front of it. */

enum { MODEL_WAITERS = 12, MODEL_QUEUE = 4096 };

typedef struct model_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t capacity;
  uint64_t random;
  uint64_t next;
  uint64_t queue[MODEL_QUEUE];
  size_t head;
  size_t tail;
  size_t line[MODEL_WAITERS]; /* who waits, by index, first come first */
  size_t waiting;
  waiter_t waiters[MODEL_WAITERS];
  int expect[MODEL_WAITERS]; /* the status to come; NOT_DONE: it waits */
  bool used[MODEL_WAITERS];
  bool shut;
} model_t;

static uint64_t model_random(model_t* model, uint64_t below) {
  model->random = model->random * 6364136223846793005u + 1442695040888963407u;
  return (model->random >> 33) % below;
}

static size_t model_len(const model_t* model) {
  return model->tail - model->head;
}

static void model_push(model_t* model, uint64_t value) {
  model->queue[model->tail++ % MODEL_QUEUE] = value;
}

static bool model_has_room(const model_t* model) {
  return model->waiting == 0 && model_len(model) < model->capacity && model_len(model) < MODEL_QUEUE;
}

static void model_leave_line(model_t* model, size_t place) {
  model->waiting -= 1;
  memmove(&model->line[place], &model->line[place + 1], (model->waiting - place) * sizeof(model->line[0]));
}

static void model_serve(model_t* model) {
  while (model->waiting > 0 && model_len(model) < model->capacity) {
    model_push(model, model->waiters[model->line[0]].value);
    model->expect[model->line[0]] = 0;
    model_leave_line(model, 0);
  }
}

static void model_try_send(model_t* model) {
  int want = model->shut ? UV_EPIPE : model_has_room(model) ? 0 : UV_EAGAIN;
  uint64_t value = model->next++;

  if (model->capacity == UVCH_UNBOUNDED && want == UV_EAGAIN) {
    return; /* only the model is full */
  }
  support_check_eq(uvch_mpsc_try_send(&model->tx, &value), want);
  if (want == 0) {
    model_push(model, value);
  }
}

static void model_request(model_t* model) {
  size_t i = model_random(model, MODEL_WAITERS);

  if (model->used[i] || (model->capacity == UVCH_UNBOUNDED && !model_has_room(model))) {
    return;
  }
  support_check_eq(try_request(&model->loop, &model->waiters[i], &model->tx, model->next), model->shut ? UV_EPIPE : 0);
  if (model->shut) {
    return;
  }
  model->used[i] = true;
  if (model_has_room(model)) {
    model_push(model, model->next);
    model->expect[i] = 0;
  } else {
    model->expect[i] = NOT_DONE;
    model->line[model->waiting++] = i;
  }
  model->next += 1;
}

static void model_cancel(model_t* model) {
  size_t i = model_random(model, MODEL_WAITERS);
  size_t place = 0;

  if (!model->used[i]) {
    return;
  }
  if (model->expect[i] != NOT_DONE) {
    support_check_eq(cancel(&model->waiters[i]), UV_EBUSY);
    return;
  }
  support_check_eq(cancel(&model->waiters[i]), 0);
  model->expect[i] = UV_ECANCELED;
  while (model->line[place] != i) {
    place += 1;
  }
  model_leave_line(model, place);
}

static void model_try_recv(model_t* model) {
  uint64_t value;

  if (model_len(model) == 0) {
    support_check_eq(uvch_mpsc_try_recv(&model->rx, &value), model->shut ? UV_EOF : UV_EAGAIN);
    return;
  }
  support_check_eq(support_take(&model->rx), model->queue[model->head++ % MODEL_QUEUE]);
  model_serve(model);
}

static void model_shutdown(model_t* model) {
  support_check_eq(uvch_mpsc_recv_shutdown(&model->rx), 0);
  model->shut = true;
  while (model->waiting > 0) {
    model->expect[model->line[0]] = UV_EPIPE;
    model_leave_line(model, 0);
  }
}

static bool model_has_done(const model_t* model) {
  size_t i;

  for (i = 0; i < MODEL_WAITERS; i++) {
    if (model->used[i] && model->expect[i] != NOT_DONE && model->waiters[i].calls == 0) {
      return true;
    }
  }
  return false;
}

static void model_run(model_t* model) {
  size_t i;

  do {
    uv_run(&model->loop, UV_RUN_NOWAIT);
  } while (model_has_done(model));
  for (i = 0; i < MODEL_WAITERS; i++) {
    if (!model->used[i] || model->expect[i] == NOT_DONE) {
      continue;
    }
    check_done(&model->waiters[i], model->expect[i]);
    model->used[i] = false;
  }
}

static void model_check(const model_t* model) {
  size_t len = model_len(model);
  size_t i;

  support_check_eq(uvch_mpsc_receiver_len(&model->rx), len);
  support_check_eq(uvch_mpsc_sender_len(&model->tx), len);
  if (model->capacity == UVCH_UNBOUNDED) {
    support_check_eq(uvch_mpsc_sender_capacity(&model->tx), UVCH_UNBOUNDED);
  } else {
    support_check_eq(uvch_mpsc_sender_capacity(&model->tx), model->waiting > 0 ? 0 : model->capacity - len);
  }
  support_check_eq(uvch_mpsc_sender_is_closed(&model->tx), model->shut);
  support_check_eq(uvch_mpsc_receiver_is_closed(&model->rx), model->shut);
  for (i = 0; i < MODEL_WAITERS; i++) {
    support_check(!model->used[i] || model->expect[i] != NOT_DONE || model->waiters[i].calls == 0);
  }
}

static void model_step(model_t* model, uint64_t wave) {
  uint64_t choice = model_random(model, 16);

  if (choice < 3) {
    model_run(model);
  } else if (choice < 5) {
    model_cancel(model);
  } else if (choice < (wave % 2 == 0 ? 8u : 13u)) {
    model_try_recv(model);
  } else if (choice < 14) {
    model_try_send(model);
  } else {
    model_request(model);
  }
  model_check(model);
}

START_TEST(any_row_of_calls_does_what_the_model_says) {
  size_t rounds = support_scale(40);
  model_t* model = calloc(1, sizeof(*model));
  size_t round;
  size_t step;

  ck_assert_ptr_nonnull(model);
  for (round = 0; round < rounds; round++) {
    memset(model, 0, sizeof(*model));
    model->random = round * 7919 + (uint64_t) _i;
    model->capacity = CAPACITY;
    support_loop_init(&model->loop);
    open_channel(NULL, &model->rx, &model->tx, CAPACITY);
    for (step = 0; step < 1000; step++) {
      model_step(model, step / 50);
    }
    model_shutdown(model);
    for (step = 0; step < 200; step++) {
      model_step(model, 1);
    }
    model_run(model);
    support_drop_sender(&model->tx);
    support_close(&model->rx);
    support_loop_end(&model->loop);
  }
  free(model);
}
END_TEST

static void add_requests(Suite* suite) {
  TCase* tcase = support_case(suite, "requests");

  add_for_every_capacity(tcase, a_request_with_room_takes_the_message_at_once_and_calls_back_from_the_loop);
  add_for_every_bound(tcase, a_request_waits_while_the_channel_is_full);
  add_for_every_bound(tcase, waiting_requests_go_in_and_call_back_in_the_order_they_were_made);
  add_for_every_bound(tcase, nobody_passes_those_who_wait);
  add_for_every_bound(tcase, room_is_seen_again_once_nobody_waits);
  tcase_add_test(tcase, a_request_keeps_its_loop_alive_until_its_callback);
  add_for_every_capacity(tcase, a_request_on_a_closed_channel_is_refused_and_never_calls_back);
  add_for_every_bound(tcase, a_waiting_request_counts_as_a_sender);
  add_for_every_bound(tcase, the_channel_ends_when_its_last_request_is_cancelled);
  add_for_every_bound(tcase, shutdown_fails_those_who_wait_in_order_and_keeps_what_is_queued);
  add_for_every_bound(tcase, close_fails_those_who_wait_and_drops_only_what_was_taken);
  add_for_every_bound(tcase, requests_of_two_loops_wait_in_one_line);
  tcase_add_loop_test(tcase, requests_carry_messages_of_every_size, 0, 7);
}

static void add_cancel(Suite* suite) {
  TCase* tcase = support_case(suite, "cancel");

  add_for_every_bound(tcase, a_cancelled_request_gives_its_message_back_and_the_next_proceeds);
  add_for_every_bound(tcase, cancelling_the_only_one_who_waits_opens_the_channel_again);
  tcase_add_test(tcase, a_request_that_is_done_cannot_be_cancelled);
  tcase_add_test(tcase, a_request_whose_message_is_being_moved_cannot_be_cancelled);
}

static void add_callbacks(Suite* suite) {
  TCase* tcase = support_case(suite, "callbacks");

  add_for_every_bound(tcase, a_callback_can_send_into_its_own_full_channel_once_per_message);
  tcase_add_test(tcase, a_callback_does_not_pass_those_who_wait);
  add_for_every_bound(tcase, who_waits_gets_the_room_of_a_receiver_that_stops_in_its_callback);
  add_for_every_bound(tcase, who_waits_gets_the_room_of_a_callback_that_takes_all);
  add_for_every_bound(tcase, who_waits_gets_the_room_of_a_callback_that_runs_the_loop);
  add_for_every_capacity(tcase, a_request_can_be_used_again_in_its_callback);
  tcase_add_loop_test(tcase, ten_loops_feed_one_through_a_narrow_channel, 0, 3);
}

static void add_model(Suite* suite) {
  TCase* tcase = support_case(suite, "model");

  add_for_every_capacity(tcase, any_row_of_calls_does_what_the_model_says);
}

int main(void) {
  Suite* suite = suite_create("send");

  add_requests(suite);
  add_cancel(suite);
  add_callbacks(suite);
  add_model(suite);
  return support_main(suite);
}
