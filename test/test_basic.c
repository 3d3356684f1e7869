/* SPDX-License-Identifier: MIT
 *
 * Making channels, wrong arguments, states and counters. */
#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Bounds that the loop tests go through: exact ones, powers of two, and none. */
static const size_t capacities[] = {1, 2, 3, 7, 64, 1000, UVCH_UNBOUNDED};
static const size_t sizes[] = {0, 1, 2, 3, 4, 7, 8, 12, 16, 24, 100, 4096};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))

static void never_called(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) rx;
  (void) item;
  ck_abort_msg("a callback came with status %d", status);
}

static void never_sent(uvch_mpsc_send_t* req, int status) {
  (void) req;
  ck_abort_msg("a request was done with status %d", status);
}

static void never_closed(uvch_handle_t* handle) {
  (void) handle;
  ck_abort_msg("a close callback came");
}

static void open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  ck_assert_int_eq(uvch_mpsc_init(loop, rx, tx, sizeof(uint64_t), capacity), 0);
}

static void close_channel(uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx) {
  support_drop_sender(tx);
  support_close(rx);
}

/* Making a channel. */

/* What init must leave alone on an error: the bytes of both ends, and the heap. */
typedef struct untouched_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  unsigned char rx_before[sizeof(uvch_mpsc_receiver_t)];
  unsigned char tx_before[sizeof(uvch_mpsc_sender_t)];
  size_t blocks;
} untouched_t;

static void untouched_begin(untouched_t* u) {
  memset(&u->rx, 0x5a, sizeof(u->rx));
  memset(&u->tx, 0xa5, sizeof(u->tx));
  memcpy(u->rx_before, &u->rx, sizeof(u->rx));
  memcpy(u->tx_before, &u->tx, sizeof(u->tx));
  u->blocks = support_alloc_blocks();
}

static void untouched_check(const untouched_t* u) {
  ck_assert_mem_eq(&u->rx, u->rx_before, sizeof(u->rx));
  ck_assert_mem_eq(&u->tx, u->tx_before, sizeof(u->tx));
  ck_assert_uint_eq(support_alloc_blocks(), u->blocks);
}

/* With a loop and without one, plain and with options. */
static void check_init_refused(size_t size, size_t capacity) {
  uvch_mpsc_options_t options;
  untouched_t u;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&options, 0, sizeof(options));
  untouched_begin(&u);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &u.rx, &u.tx, size, capacity), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_init(&loop, &u.rx, &u.tx, size, capacity), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &u.rx, &u.tx, size, capacity, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_init_ex(&loop, &u.rx, &u.tx, size, capacity, &options), UV_EINVAL);
  untouched_check(&u);
  support_loop_close(&loop); /* without a run: nothing was put on it */
}

START_TEST(init_refuses_a_null_end_and_changes_nothing) {
  uvch_mpsc_options_t options;
  untouched_t u;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&options, 0, sizeof(options));
  untouched_begin(&u);
  ck_assert_int_eq(uvch_mpsc_init(NULL, NULL, &u.tx, 8, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &u.rx, NULL, 8, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_init(&loop, NULL, &u.tx, 8, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_init(&loop, &u.rx, NULL, 8, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_init_ex(NULL, NULL, &u.tx, 8, 1, &options), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_init_ex(&loop, &u.rx, NULL, 8, 1, &options), UV_EINVAL);
  untouched_check(&u);
  support_loop_close(&loop);
}
END_TEST

START_TEST(init_refuses_capacity_0_and_changes_nothing) {
  check_init_refused(8, 0);
}
END_TEST

START_TEST(init_refuses_a_capacity_beyond_the_largest_and_changes_nothing) {
  check_init_refused(8, UVCH_MPSC_CAPACITY_MAX + 1);
  check_init_refused(8, UVCH_UNBOUNDED - 1);
  check_init_refused(0, SIZE_MAX / 2);
}
END_TEST

START_TEST(init_refuses_a_message_beyond_the_largest_and_changes_nothing) {
  check_init_refused(UVCH_MPSC_ITEM_MAX + 1, 1);
  check_init_refused(UVCH_MPSC_ITEM_MAX + 1, UVCH_UNBOUNDED);
  check_init_refused(SIZE_MAX, 1);
  check_init_refused(SIZE_MAX, UVCH_MPSC_CAPACITY_MAX);
  check_init_refused(SIZE_MAX - 7, UVCH_UNBOUNDED);
}
END_TEST

START_TEST(init_refuses_an_unknown_flag_and_changes_nothing) {
  static const unsigned int flags[] = {2, 4, 0x80000000u, UVCH_PREALLOCATE | 2, ~0u};
  uvch_mpsc_options_t options;
  untouched_t u;
  size_t i;

  memset(&options, 0, sizeof(options));
  untouched_begin(&u);
  for (i = 0; i < COUNT(flags); i++) {
    options.flags = flags[i];
    ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &u.rx, &u.tx, 8, 4, &options), UV_EINVAL);
    ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &u.rx, &u.tx, 8, UVCH_UNBOUNDED, &options), UV_EINVAL);
  }
  untouched_check(&u);
}
END_TEST

START_TEST(init_takes_the_largest_capacity_and_the_largest_message) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, UVCH_MPSC_ITEM_MAX, UVCH_MPSC_CAPACITY_MAX), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_max_capacity(&tx), UVCH_MPSC_CAPACITY_MAX);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), UVCH_MPSC_CAPACITY_MAX);
  close_channel(&rx, &tx);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, UVCH_MPSC_ITEM_MAX, UVCH_UNBOUNDED), 0);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_channel_that_was_never_used_closes_without_a_trace) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(the_ends_can_be_given_up_in_either_order) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, CAPACITY);
  support_put(&tx, 1);
  support_close(&rx);
  support_drop_sender(&tx);
  open_channel(NULL, &rx, &tx, CAPACITY);
  support_put(&tx, 1);
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

/* Wrong arguments. */

START_TEST(the_send_calls_refuse_null_and_change_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t req;
  uv_loop_t loop;
  uint64_t value = 1;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_try_send(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send(NULL, &req, &tx, &value, never_sent), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send(&loop, NULL, &tx, &value, never_sent), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send(&loop, &req, NULL, &value, never_sent), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send(&loop, &req, &tx, NULL, never_sent), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send_wait(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send_wait(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(NULL, &value, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, NULL, 0), UV_EINVAL);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), CAPACITY);
  support_put(&tx, 5);
  ck_assert_uint_eq(support_take(&rx), 5);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(the_sender_calls_refuse_null_and_change_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t copy;

  memset(&copy, 0, sizeof(copy));
  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_sender_clone(NULL, &copy), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_sender_close(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(NULL), 1);
  ck_assert_uint_eq(uvch_mpsc_sender_len(NULL), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(NULL), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_max_capacity(NULL), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&tx, NULL), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(NULL, &tx), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(NULL, NULL), 0);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1); /* the failed clones did not count */
  support_close(&rx);
}
END_TEST

START_TEST(the_receive_calls_refuse_null_and_change_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  uint64_t value = 7;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_recv_start(NULL, never_called), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_stop(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_recv(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_wait(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(NULL, &value, 0), UV_EINVAL);
  ck_assert_uint_eq(value, 7);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 1);
  ck_assert_uint_eq(support_take(&rx), 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(the_blocking_receives_refuse_a_null_message_and_take_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, CAPACITY);
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, NULL, 0), UV_EINVAL);
  ck_assert_uint_eq(support_take(&rx), 1);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(the_handle_calls_refuse_what_is_not_a_handle) {
  uvch_mpsc_receiver_t blank;
  uvch_mpsc_send_t req;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&blank, 0, sizeof(blank));
  memset(&req, 0, sizeof(req));
  ck_assert_int_eq(uvch_close(NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &blank, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_close_all(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_attach(&loop, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_cancel(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_fork(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_fork(&loop), 0);
  ck_assert_int_eq(uvch_close_all(&loop), 0);
  support_loop_close(&loop);
}
END_TEST

START_TEST(attaching_refuses_a_null_loop_and_changes_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_attach(NULL, (uvch_handle_t*) &rx), UV_EINVAL);
  ck_assert_ptr_null(uvch_handle_get_loop((uvch_handle_t*) &rx));
  support_put(&tx, 1);
  ck_assert_uint_eq(support_take(&rx), 1);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(attaching_twice_is_refused_and_the_first_loop_stays) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t first;
  uv_loop_t second;

  support_loop_init(&first);
  support_loop_init(&second);
  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_attach(&first, (uvch_handle_t*) &rx), 0);
  ck_assert_int_eq(uvch_attach(&second, (uvch_handle_t*) &rx), UV_EALREADY);
  ck_assert_int_eq(uvch_attach(&first, (uvch_handle_t*) &rx), UV_EALREADY);
  ck_assert_ptr_eq(uvch_handle_get_loop((uvch_handle_t*) &rx), &first);
  support_sink_start(&sink, &rx);
  support_put(&tx, 0);
  support_drop_sender(&tx);
  support_loop_end(&first);
  support_sink_check(&sink, 1, 1);
  support_loop_close(&second);
}
END_TEST

START_TEST(attaching_a_closed_receiver_is_refused) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  close_channel(&rx, &tx);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), UV_EBADF);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_closed_sender_answers_every_call_and_changes_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t open;
  uvch_mpsc_sender_t copy;
  uvch_mpsc_send_t req;
  uv_loop_t loop;
  uint64_t value = 1;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &open), 0);
  support_drop_sender(&tx);
  memset(&copy, 0, sizeof(copy));
  ck_assert_int_eq(uvch_mpsc_sender_close(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_sender_close(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &copy), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_send(&loop, &req, &tx, &value, never_sent), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_send_wait(&tx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, UINT64_MAX), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&tx), 1);
  ck_assert_uint_eq(uvch_mpsc_sender_len(&tx), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_max_capacity(&tx), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&tx, &open), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&tx, &tx), 0);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&open), 0); /* the second closes were not its own */
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 0);
  support_put(&open, 3);
  ck_assert_uint_eq(support_take(&rx), 3);
  close_channel(&rx, &open);
  support_loop_end(&loop);
}
END_TEST

static void check_closed_receiver(uvch_mpsc_receiver_t* rx) {
  uint64_t value = 7;

  ck_assert_int_eq(uvch_mpsc_recv_start(rx, never_called), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_recv_stop(rx), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(rx), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_try_recv(rx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_recv_wait(rx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(rx, &value, 0), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(rx), 1);
  ck_assert_int_eq(uvch_mpsc_receiver_is_empty(rx), 1);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(rx), 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_capacity(rx), 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_max_capacity(rx), 0);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) rx), 0);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) rx), 1);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, NULL), UV_EALREADY);
  ck_assert_uint_eq(value, 7);
}

static void check_closed_on_close(uvch_handle_t* handle) {
  int* count = handle->data;

  check_closed_receiver((uvch_mpsc_receiver_t*) handle);
  ck_assert_int_eq(uvch_close(handle, never_closed), UV_EALREADY);
  *count += 1;
}

START_TEST(a_closed_receiver_answers_every_call_and_changes_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  int closed = 0;

  open_channel(NULL, &rx, &tx, CAPACITY);
  support_put(&tx, 1);
  support_close(&rx);
  check_closed_receiver(&rx);
  support_drop_sender(&tx);

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_put(&tx, 1);
  rx.data = &closed;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, never_called), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, check_closed_on_close), 0);
  ck_assert_int_eq(closed, 0);
  check_closed_receiver(&rx);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, never_closed), UV_EALREADY);
  support_drop_sender(&tx);
  support_loop_end(&loop);
  ck_assert_int_eq(closed, 1);
}
END_TEST

START_TEST(a_receiver_without_a_loop_refuses_a_close_callback_and_stays_open) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, never_closed), UV_EINVAL);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &rx), 0);
  support_put(&tx, 1);
  ck_assert_uint_eq(support_take(&rx), 1);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_receiver_without_a_loop_cannot_be_started) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, never_called), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx), 0);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
  support_put(&tx, 1);
  ck_assert_uint_eq(support_take(&rx), 1);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(starting_twice_is_refused_and_the_first_callback_stays) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, never_called), UV_EALREADY);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, support_sink_cb), UV_EALREADY);
  support_put(&tx, 0);
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, 1, 1);
}
END_TEST

START_TEST(a_receiver_with_a_loop_refuses_to_block_and_takes_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  uint64_t value = 7;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), UV_EPERM);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 0), UV_EPERM);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, UINT64_MAX), UV_EPERM);
  ck_assert_uint_eq(value, 7);
  ck_assert_uint_eq(support_take(&rx), 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(configuring_a_loop_refuses_what_is_out_of_range) {
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(NULL, UVCH_LOOP_HOT_MAX, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, (uvch_loop_option) 0, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, (uvch_loop_option) 99, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 1000001), UV_EINVAL);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, UINT64_MAX), UV_EINVAL);
  support_loop_close(&loop);
}
END_TEST

START_TEST(configuring_a_loop_takes_what_is_in_range_and_leaves_nothing_behind) {
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 1), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_MESSAGES, 1000000000), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, 1), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, UINT64_MAX), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 0), 0);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 1000000), 0);
  support_loop_end(&loop);
}
END_TEST

START_TEST(every_result_has_a_text_of_libuv) {
  static const int results[] = {UV_EOF,      UV_EPIPE, UV_EAGAIN, UV_ETIMEDOUT, UV_ECANCELED, UV_ENOMEM,
                                UV_EALREADY, UV_EBADF, UV_EBUSY,  UV_EPERM,     UV_EINVAL,    UV_EMFILE};
  size_t i;

  for (i = 0; i < COUNT(results); i++) {
    ck_assert_ptr_null(strstr(uv_strerror(results[i]), "Unknown"));
  }
}
END_TEST

START_TEST(the_library_that_runs_is_the_one_of_the_headers) {
  ck_assert_uint_eq(uvch_version(), UVCH_VERSION_HEX);
  ck_assert_str_eq(uvch_version_string(), UVCH_VERSION_STRING);
}
END_TEST

/* The handle. */

START_TEST(a_fresh_receiver_is_inactive_and_knows_its_loop_and_type) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;
  uv_loop_t loop;
  int mark;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  ck_assert_ptr_eq(uvch_handle_get_loop(handle), &loop);
  ck_assert_ptr_eq(handle->loop, &loop);
  ck_assert_int_eq(uvch_handle_get_type(handle), UVCH_MPSC_RECEIVER);
  ck_assert_int_eq(uvch_is_active(handle), 0);
  ck_assert_int_eq(uvch_is_closing(handle), 0);
  ck_assert_int_eq(uvch_has_ref(handle), 1);
  uvch_handle_set_data(handle, &mark);
  ck_assert_ptr_eq(uvch_handle_get_data(handle), &mark);
  ck_assert_ptr_eq(rx.data, &mark);
  support_loop_run(&loop); /* an inactive one does not keep it alive */
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_receiver_without_a_loop_has_none_until_it_is_attached) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_ptr_null(uvch_handle_get_loop(handle));
  ck_assert_int_eq(uvch_handle_get_type(handle), UVCH_MPSC_RECEIVER);
  ck_assert_int_eq(uvch_is_active(handle), 0);
  ck_assert_int_eq(uvch_is_closing(handle), 0);
  ck_assert_int_eq(uvch_attach(&loop, handle), 0);
  ck_assert_ptr_eq(uvch_handle_get_loop(handle), &loop);
  ck_assert_int_eq(uvch_has_ref(handle), 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_receiver_is_active_from_start_to_stop) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx), 0); /* harmless before a start */
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, never_called), 0);
  ck_assert_int_eq(uvch_is_active(handle), 1);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx), 0);
  ck_assert_int_eq(uvch_is_active(handle), 0);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, never_called), 0);
  ck_assert_int_eq(uvch_is_active(handle), 1);
  close_channel(&rx, &tx);
  ck_assert_int_eq(uvch_is_active(handle), 0);
  ck_assert_int_eq(uvch_is_closing(handle), 1);
  support_loop_end(&loop);
}
END_TEST

START_TEST(an_unreferenced_receiver_does_not_keep_its_loop_alive) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, never_called), 0);
  uvch_unref(handle);
  uvch_unref(handle);
  ck_assert_int_eq(uvch_has_ref(handle), 0);
  ck_assert_int_eq(uvch_is_active(handle), 1);
  support_loop_run(&loop); /* comes back although a sender is open */
  uvch_ref(handle);
  uvch_ref(handle);
  ck_assert_int_eq(uvch_has_ref(handle), 1);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  uvch_unref(handle); /* one is enough, whatever the number of refs */
  ck_assert_int_eq(uvch_has_ref(handle), 0);
  support_loop_run(&loop);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(the_handles_of_the_user_are_not_those_of_the_library) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_timer_t timer;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uv_timer_init(&loop, &timer), 0);
  ck_assert_int_eq(uvch_owns_handle((uv_handle_t*) &timer), 0);
  uv_close((uv_handle_t*) &timer, NULL);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

/* States. Each is looked at from both ends. */

typedef struct state_s {
  int try_recv; /* when there is nothing to take */
  size_t len;
  size_t room;
  int rx_closed;
  int tx_closed;
} state_t;

static void check_state(const uvch_mpsc_receiver_t* rx, const uvch_mpsc_sender_t* tx, size_t capacity, state_t want) {
  ck_assert_uint_eq(uvch_mpsc_receiver_len(rx), want.len);
  ck_assert_int_eq(uvch_mpsc_receiver_is_empty(rx), want.len == 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_capacity(rx), want.room);
  ck_assert_uint_eq(uvch_mpsc_receiver_max_capacity(rx), capacity);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(rx), want.rx_closed);
  if (tx == NULL) {
    return;
  }
  ck_assert_uint_eq(uvch_mpsc_sender_len(tx), want.len);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(tx), want.room);
  ck_assert_uint_eq(uvch_mpsc_sender_max_capacity(tx), capacity);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(tx), want.tx_closed);
}

static size_t room(size_t capacity, size_t len) {
  return capacity == UVCH_UNBOUNDED ? UVCH_UNBOUNDED : capacity - len;
}

static void check_nothing_to_take(uvch_mpsc_receiver_t* rx, int result) {
  uint64_t value = 7;

  ck_assert_int_eq(uvch_mpsc_try_recv(rx, &value), result);
  ck_assert_int_eq(uvch_mpsc_try_recv(rx, &value), result);
  ck_assert_uint_eq(value, 7);
}

START_TEST(an_empty_open_channel_has_nothing_now) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, CAPACITY);
  check_nothing_to_take(&rx, UV_EAGAIN);
  check_state(&rx, &tx, CAPACITY, (state_t){.room = CAPACITY});
  support_put(&tx, 1);
  support_take(&rx);
  check_nothing_to_take(&rx, UV_EAGAIN);
  check_state(&rx, &tx, CAPACITY, (state_t){.room = CAPACITY});
  close_channel(&rx, &tx);
}
END_TEST

/* Enough to fill a small bound and to go over several blocks without one. */
static size_t some(size_t capacity) {
  return capacity < 300 ? capacity : 300;
}

START_TEST(the_counters_follow_every_send_and_every_take) {
  size_t n = some(CAPACITY);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 1; i <= n; i++) {
    support_put(&tx, i);
    check_state(&rx, &tx, CAPACITY, (state_t){.len = i, .room = room(CAPACITY, i)});
  }
  for (i = 1; i <= n; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
    check_state(&rx, &tx, CAPACITY, (state_t){.len = n - i, .room = room(CAPACITY, n - i)});
  }
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_bounded_channel_holds_exactly_its_capacity) {
  size_t capacity = (size_t) _i;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;
  size_t round;
  size_t i;

  open_channel(NULL, &rx, &tx, capacity);
  for (round = 0; round < 5; round++) {
    for (i = 0; i < capacity; i++) {
      support_put(&tx, i);
    }
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
    check_state(&rx, &tx, capacity, (state_t){.len = capacity, .room = 0});
    ck_assert_uint_eq(support_take(&rx), 0);
    support_put(&tx, capacity); /* a take makes room for one */
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
    for (i = 1; i <= capacity; i++) {
      ck_assert_uint_eq(support_take(&rx), i);
    }
    check_nothing_to_take(&rx, UV_EAGAIN);
  }
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(without_a_sender_what_is_queued_comes_and_then_the_end_for_ever) {
  size_t n = some(CAPACITY);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 1; i <= n; i++) {
    support_put(&tx, i);
  }
  support_drop_sender(&tx);
  for (i = 1; i <= n; i++) {
    check_state(&rx, NULL, CAPACITY, (state_t){.len = n - i + 1, .room = room(CAPACITY, n - i + 1), .rx_closed = 1});
    ck_assert_uint_eq(support_take(&rx), i);
  }
  check_nothing_to_take(&rx, UV_EOF);
  check_state(&rx, NULL, CAPACITY, (state_t){.len = 0, .room = CAPACITY, .rx_closed = 1});
  check_nothing_to_take(&rx, UV_EOF);
  support_close(&rx);
}
END_TEST

START_TEST(an_unused_channel_without_a_sender_has_ended) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, CAPACITY);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  check_nothing_to_take(&rx, UV_EOF);
  support_close(&rx);
}
END_TEST

START_TEST(after_shutdown_what_is_queued_comes_and_then_the_end_for_ever) {
  size_t n = some(CAPACITY);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 1; i <= n; i++) {
    support_put(&tx, i);
  }
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  for (i = 1; i <= n; i++) {
    check_state(&rx, &tx, CAPACITY,
                (state_t){.len = n - i + 1, .room = room(CAPACITY, n - i + 1), .rx_closed = 1, .tx_closed = 1});
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE);
    ck_assert_uint_eq(support_take(&rx), i);
  }
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE);
  check_nothing_to_take(&rx, UV_EOF);
  check_state(&rx, &tx, CAPACITY, (state_t){.room = CAPACITY, .rx_closed = 1, .tx_closed = 1});
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_sender_outlives_its_receiver) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t copy;
  uint64_t value = 1;

  open_channel(NULL, &rx, &tx, CAPACITY);
  support_put(&tx, 1);
  support_close(&rx);
  memset(&rx, 0xee, sizeof(rx)); /* its memory is the caller's again */
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_send_wait(&tx, &value), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 1), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&tx), 1);
  ck_assert_uint_eq(uvch_mpsc_sender_len(&tx), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), CAPACITY);
  ck_assert_uint_eq(uvch_mpsc_sender_max_capacity(&tx), CAPACITY);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &copy), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&tx, &copy), 1);
  ck_assert_int_eq(uvch_mpsc_try_send(&copy, &value), UV_EPIPE);
  support_drop_sender(&copy);
  support_drop_sender(&tx);
}
END_TEST

START_TEST(closed_is_told_before_full) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;

  open_channel(NULL, &rx, &tx, 1);
  support_put(&tx, 1);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 0), UV_EPIPE);
  ck_assert_uint_eq(support_take(&rx), 1);
  close_channel(&rx, &tx);
}
END_TEST

/* Senders. */

START_TEST(the_channel_ends_with_the_last_clone_and_not_before) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx[10];
  size_t i;

  open_channel(NULL, &rx, &tx[0], CAPACITY);
  for (i = 1; i < COUNT(tx); i++) {
    ck_assert_int_eq(uvch_mpsc_sender_clone(&tx[i / 2], &tx[i]), 0);
  }
  for (i = 0; i < COUNT(tx); i++) {
    ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
    check_nothing_to_take(&rx, UV_EAGAIN);
    support_put(&tx[i], i);
    ck_assert_uint_eq(support_take(&rx), i);
    support_drop_sender(&tx[i]);
  }
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  check_nothing_to_take(&rx, UV_EOF);
  support_close(&rx);
}
END_TEST

START_TEST(clones_are_of_one_channel_and_others_are_not) {
  uvch_mpsc_receiver_t rx[2];
  uvch_mpsc_sender_t tx[2];
  uvch_mpsc_sender_t copy;

  open_channel(NULL, &rx[0], &tx[0], CAPACITY);
  open_channel(NULL, &rx[1], &tx[1], CAPACITY);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx[0], &copy), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&tx[0], &copy), 1);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&copy, &tx[0]), 1);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&tx[0], &tx[0]), 1);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&tx[0], &tx[1]), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&copy, &tx[1]), 0);
  support_drop_sender(&copy);
  close_channel(&rx[0], &tx[0]);
  close_channel(&rx[1], &tx[1]);
}
END_TEST

START_TEST(a_sender_can_be_cloned_from_the_message_that_it_sends) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t inner;
  uvch_mpsc_sender_t out;

  /* A channel that carries a sender of its own: moved by bytes, it comes out alive. */
  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, sizeof(tx), CAPACITY), 0);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &inner), 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &inner), 0);
  memset(&inner, 0, sizeof(inner));
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &out), 0);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&out), 0);
  support_drop_sender(&out);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &out), UV_EOF);
  support_close(&rx);
}
END_TEST

/* Sizes. */

static size_t alignment_of(size_t size) {
  size_t align = size & (~size + 1);

  return size == 0 || align > _Alignof(max_align_t) ? _Alignof(max_align_t) : align;
}

static void paint(unsigned char* bytes, size_t size, size_t seed) {
  size_t i;

  for (i = 0; i < size; i++) {
    bytes[i] = (unsigned char) (seed * 31 + i * 7);
  }
}

typedef struct painted_s {
  size_t size;
  size_t count;
} painted_t;

static void check_painted(const void* item, size_t size, size_t seed) {
  unsigned char want[4096];

  paint(want, size, seed);
  ck_assert_uint_eq((uintptr_t) item % alignment_of(size), 0);
  ck_assert_int_eq(memcmp(item, want, size), 0);
}

static void on_painted(uvch_mpsc_receiver_t* rx, int status, void* item) {
  painted_t* painted = rx->data;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  ck_assert_int_eq(status, 0);
  if (painted->size > 0) {
    check_painted(item, painted->size, painted->count);
  }
  painted->count += 1;
}

static void drop_painted(void* item, void* arg) {
  painted_t* painted = arg;

  if (painted->size > 0) {
    check_painted(item, painted->size, painted->count);
  }
  painted->count += 1;
}

static void put_painted(const uvch_mpsc_sender_t* tx, size_t size, size_t n) {
  unsigned char item[4096 + 1];
  size_t i;

  for (i = 0; i < n; i++) {
    paint(item + 1, size, i); /* the caller's message need not be aligned */
    ck_assert_int_eq(uvch_mpsc_try_send(tx, size == 0 ? NULL : item + 1), 0);
  }
}

START_TEST(messages_of_every_size_come_out_whole_and_aligned_in_callbacks) {
  static const size_t bounds[] = {1, 3, 100, UVCH_UNBOUNDED};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  painted_t painted;
  uv_loop_t loop;
  size_t b;

  for (b = 0; b < COUNT(bounds); b++) {
    support_loop_init(&loop);
    ck_assert_int_eq(uvch_mpsc_init(&loop, &rx, &tx, sizes[_i], bounds[b]), 0);
    painted = (painted_t){.size = sizes[_i]};
    rx.data = &painted;
    ck_assert_int_eq(uvch_mpsc_recv_start(&rx, on_painted), 0);
    put_painted(&tx, sizes[_i], some(bounds[b]));
    support_drop_sender(&tx);
    support_loop_end(&loop);
    ck_assert_uint_eq(painted.count, some(bounds[b]));
  }
}
END_TEST

START_TEST(messages_of_every_size_come_out_whole_by_try_recv) {
  static const size_t bounds[] = {1, 3, 100, UVCH_UNBOUNDED};
  unsigned char guarded[4096 + 2];
  unsigned char want[4096];
  size_t size = sizes[_i];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t b;
  size_t i;

  for (b = 0; b < COUNT(bounds); b++) {
    ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, size, bounds[b]), 0);
    put_painted(&tx, size, some(bounds[b]));
    for (i = 0; i < some(bounds[b]); i++) {
      memset(guarded, 0xcc, sizeof(guarded));
      ck_assert_int_eq(uvch_mpsc_try_recv(&rx, guarded + 1), 0);
      paint(want, size, i);
      ck_assert_int_eq(memcmp(guarded + 1, want, size), 0);
      ck_assert_uint_eq(guarded[0], 0xcc);
      ck_assert_uint_eq(guarded[size + 1], 0xcc);
    }
    close_channel(&rx, &tx);
  }
}
END_TEST

START_TEST(messages_of_every_size_are_dropped_whole_and_aligned) {
  static const size_t bounds[] = {1, 3, 100, UVCH_UNBOUNDED};
  uvch_mpsc_options_t options;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  painted_t painted;
  size_t b;

  memset(&options, 0, sizeof(options));
  options.drop = drop_painted;
  options.arg = &painted;
  for (b = 0; b < COUNT(bounds); b++) {
    painted = (painted_t){.size = sizes[_i]};
    options.flags = b % 2 == 0 && bounds[b] != UVCH_UNBOUNDED ? UVCH_PREALLOCATE : 0;
    ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &rx, &tx, sizes[_i], bounds[b], &options), 0);
    put_painted(&tx, sizes[_i], some(bounds[b]));
    support_close(&rx);
    ck_assert_uint_eq(painted.count, some(bounds[b]));
    support_drop_sender(&tx);
  }
}
END_TEST

START_TEST(a_message_without_bytes_is_a_signal_that_is_counted) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  char item = 7;
  size_t i;

  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, 0, CAPACITY), 0);
  for (i = 0; i < some(CAPACITY); i++) {
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, i % 2 == 0 ? NULL : &item), 0);
  }
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), some(CAPACITY));
  for (i = 0; i < some(CAPACITY); i++) {
    ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &item), 0);
  }
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &item), UV_EAGAIN);
  ck_assert_int_eq(item, 7);
  close_channel(&rx, &tx);
}
END_TEST

/* Order. */

static uint64_t next_random(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

START_TEST(messages_come_out_in_the_order_they_went_in_over_all_senders) {
  uint64_t random = 88172645463325252u + (uint64_t) _i;
  size_t rounds = support_scale(20000);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx[3];
  uint64_t sent = 0;
  uint64_t taken = 0;
  uint64_t value;
  size_t i;

  open_channel(NULL, &rx, &tx[0], CAPACITY);
  support_check_eq(uvch_mpsc_sender_clone(&tx[0], &tx[1]), 0);
  support_check_eq(uvch_mpsc_sender_clone(&tx[0], &tx[2]), 0);
  for (i = 0; i < rounds; i++) {
    size_t n = next_random(&random) % 200;

    /* Waves: mostly sending, then mostly taking, so that long queues and empty ones both come up. */
    for (; n > 0; n--) {
      if (next_random(&random) % 8 < (i % 64 < 32 ? 5u : 3u)) {
        int r = uvch_mpsc_try_send(&tx[next_random(&random) % 3], &sent);

        support_check_eq(r, sent - taken == CAPACITY ? UV_EAGAIN : 0);
        sent += r == 0;
      } else {
        int r = uvch_mpsc_try_recv(&rx, &value);

        support_check_eq(r, sent == taken ? UV_EAGAIN : 0);
        if (r == 0) {
          support_check_eq(value, taken);
          taken += 1;
        }
      }
    }
    support_check_eq(uvch_mpsc_receiver_len(&rx), sent - taken);
  }
  support_drop_sender(&tx[0]);
  support_drop_sender(&tx[1]);
  support_drop_sender(&tx[2]);
  for (; taken < sent; taken++) {
    support_check_eq(support_take(&rx), taken);
  }
  check_nothing_to_take(&rx, UV_EOF);
  support_close(&rx);
}
END_TEST

static void add_arguments(Suite* suite) {
  TCase* tcase = support_case(suite, "arguments");

  tcase_add_test(tcase, init_refuses_a_null_end_and_changes_nothing);
  tcase_add_test(tcase, init_refuses_capacity_0_and_changes_nothing);
  tcase_add_test(tcase, init_refuses_a_capacity_beyond_the_largest_and_changes_nothing);
  tcase_add_test(tcase, init_refuses_a_message_beyond_the_largest_and_changes_nothing);
  tcase_add_test(tcase, init_refuses_an_unknown_flag_and_changes_nothing);
  tcase_add_test(tcase, init_takes_the_largest_capacity_and_the_largest_message);
  add_for_every_capacity(tcase, the_send_calls_refuse_null_and_change_nothing);
  add_for_every_capacity(tcase, the_sender_calls_refuse_null_and_change_nothing);
  add_for_every_capacity(tcase, the_receive_calls_refuse_null_and_change_nothing);
  add_for_every_capacity(tcase, the_blocking_receives_refuse_a_null_message_and_take_nothing);
  tcase_add_test(tcase, the_handle_calls_refuse_what_is_not_a_handle);
  add_for_every_capacity(tcase, attaching_refuses_a_null_loop_and_changes_nothing);
  add_for_every_capacity(tcase, attaching_twice_is_refused_and_the_first_loop_stays);
  add_for_every_capacity(tcase, attaching_a_closed_receiver_is_refused);
  add_for_every_capacity(tcase, a_closed_sender_answers_every_call_and_changes_nothing);
  add_for_every_capacity(tcase, a_closed_receiver_answers_every_call_and_changes_nothing);
  add_for_every_capacity(tcase, a_receiver_without_a_loop_refuses_a_close_callback_and_stays_open);
  add_for_every_capacity(tcase, a_receiver_without_a_loop_cannot_be_started);
  add_for_every_capacity(tcase, starting_twice_is_refused_and_the_first_callback_stays);
  add_for_every_capacity(tcase, a_receiver_with_a_loop_refuses_to_block_and_takes_nothing);
  tcase_add_test(tcase, configuring_a_loop_refuses_what_is_out_of_range);
  tcase_add_test(tcase, configuring_a_loop_takes_what_is_in_range_and_leaves_nothing_behind);
  tcase_add_test(tcase, every_result_has_a_text_of_libuv);
  tcase_add_test(tcase, the_library_that_runs_is_the_one_of_the_headers);
}

static void add_handle(Suite* suite) {
  TCase* tcase = support_case(suite, "handle");

  add_for_every_capacity(tcase, a_channel_that_was_never_used_closes_without_a_trace);
  add_for_every_capacity(tcase, the_ends_can_be_given_up_in_either_order);
  add_for_every_capacity(tcase, a_fresh_receiver_is_inactive_and_knows_its_loop_and_type);
  add_for_every_capacity(tcase, a_receiver_without_a_loop_has_none_until_it_is_attached);
  add_for_every_capacity(tcase, a_receiver_is_active_from_start_to_stop);
  add_for_every_capacity(tcase, an_unreferenced_receiver_does_not_keep_its_loop_alive);
  add_for_every_capacity(tcase, the_handles_of_the_user_are_not_those_of_the_library);
}

static void add_states(Suite* suite) {
  TCase* tcase = support_case(suite, "states");

  add_for_every_capacity(tcase, an_empty_open_channel_has_nothing_now);
  add_for_every_capacity(tcase, the_counters_follow_every_send_and_every_take);
  tcase_add_loop_test(tcase, a_bounded_channel_holds_exactly_its_capacity, 1, 70);
  add_for_every_capacity(tcase, without_a_sender_what_is_queued_comes_and_then_the_end_for_ever);
  add_for_every_capacity(tcase, an_unused_channel_without_a_sender_has_ended);
  add_for_every_capacity(tcase, after_shutdown_what_is_queued_comes_and_then_the_end_for_ever);
  add_for_every_capacity(tcase, a_sender_outlives_its_receiver);
  tcase_add_test(tcase, closed_is_told_before_full);
}

static void add_senders(Suite* suite) {
  TCase* tcase = support_case(suite, "senders");

  add_for_every_capacity(tcase, the_channel_ends_with_the_last_clone_and_not_before);
  add_for_every_capacity(tcase, clones_are_of_one_channel_and_others_are_not);
  add_for_every_capacity(tcase, a_sender_can_be_cloned_from_the_message_that_it_sends);
}

static void add_messages(Suite* suite) {
  TCase* tcase = support_case(suite, "messages");

  tcase_add_loop_test(tcase, messages_of_every_size_come_out_whole_and_aligned_in_callbacks, 0, (int) COUNT(sizes));
  tcase_add_loop_test(tcase, messages_of_every_size_come_out_whole_by_try_recv, 0, (int) COUNT(sizes));
  tcase_add_loop_test(tcase, messages_of_every_size_are_dropped_whole_and_aligned, 0, (int) COUNT(sizes));
  add_for_every_capacity(tcase, a_message_without_bytes_is_a_signal_that_is_counted);
  add_for_every_capacity(tcase, messages_come_out_in_the_order_they_went_in_over_all_senders);
}

int main(void) {
  Suite* suite = suite_create("basic");

  add_arguments(suite);
  add_handle(suite);
  add_states(suite);
  add_senders(suite);
  add_messages(suite);
  return support_main(suite);
}
