/* SPDX-License-Identifier: MIT
 *
 * Memory: how much, when it comes back, and what happens when there is none. */
#include "support.h"

#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const size_t capacities[] = {1, 2, 3, 7, 64, 1024, UVCH_UNBOUNDED};
static const size_t idle_capacities[] = {1, 3, 64, 1024, 1000000, UVCH_MPSC_CAPACITY_MAX, UVCH_UNBOUNDED};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))
#define add_for_every_bound(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities) - 1)

static void open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  ck_assert_int_eq(uvch_mpsc_init(loop, rx, tx, sizeof(uint64_t), capacity), 0);
}

static int open_ready_made(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  uvch_mpsc_options_t options;

  memset(&options, 0, sizeof(options));
  options.flags = UVCH_PREALLOCATE;
  return uvch_mpsc_init_ex(loop, rx, tx, sizeof(uint64_t), capacity, &options);
}

static void close_channel(uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx) {
  support_drop_sender(tx);
  support_close(rx);
}

static void on_sent(uvch_mpsc_send_t* req, int status) {
  int* done = req->data;

  *done = status == 0 ? 1 : status;
}

/* The allocator. */

START_TEST(replacing_the_allocator_refuses_null_and_changes_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  ck_assert_int_eq(uvch_replace_allocator(NULL, realloc, calloc, free), UV_EINVAL);
  ck_assert_int_eq(uvch_replace_allocator(malloc, NULL, calloc, free), UV_EINVAL);
  ck_assert_int_eq(uvch_replace_allocator(malloc, realloc, NULL, free), UV_EINVAL);
  ck_assert_int_eq(uvch_replace_allocator(malloc, realloc, calloc, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_replace_allocator(NULL, NULL, NULL, NULL), UV_EINVAL);
  open_channel(NULL, &rx, &tx, 1);
  ck_assert_uint_gt(support_alloc_blocks(), 0);
  close_channel(&rx, &tx);
}
END_TEST

/* How much. */

START_TEST(an_idle_channel_takes_at_most_256_bytes_whatever_its_capacity) {
  static const size_t sizes[] = {0, 1, 8, 4096, UVCH_MPSC_ITEM_MAX};
  enum { CHANNELS = 100 };
  uvch_mpsc_receiver_t* rx = calloc(CHANNELS, sizeof(*rx));
  uvch_mpsc_sender_t* tx = calloc(CHANNELS, sizeof(*tx));
  uv_loop_t loop;
  size_t before;
  size_t s;
  size_t i;

  ck_assert_ptr_nonnull(rx);
  ck_assert_ptr_nonnull(tx);
  for (s = 0; s < COUNT(sizes); s++) {
    support_loop_init(&loop);
    before = support_alloc_bytes();
    ck_assert_int_eq(uvch_mpsc_init(NULL, &rx[0], &tx[0], sizes[s], idle_capacities[_i]), 0);
    ck_assert_uint_le(support_alloc_bytes() - before, 256);
    ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx[0]), 0); /* the first one of a loop makes what they share */
    before = support_alloc_bytes();
    for (i = 1; i < CHANNELS; i++) {
      ck_assert_int_eq(uvch_mpsc_init(&loop, &rx[i], &tx[i], sizes[s], idle_capacities[_i]), 0);
    }
    ck_assert_uint_le(support_alloc_bytes() - before, 256 * (CHANNELS - 1));
    for (i = 0; i < CHANNELS; i++) {
      close_channel(&rx[i], &tx[i]);
    }
    support_loop_end(&loop);
  }
  free(rx);
  free(tx);
}
END_TEST

START_TEST(waiting_to_receive_on_a_loop_takes_no_more_memory) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, idle_capacities[_i]);
  support_alloc_mark();
  support_sink_start(&sink, &rx);
  uv_run(&loop, UV_RUN_NOWAIT);
  uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(support_alloc_calls(), 0);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_clone_and_the_counters_take_no_memory) {
  uvch_mpsc_sender_t copies[50];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  support_alloc_mark();
  for (i = 0; i < COUNT(copies); i++) {
    ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &copies[i]), 0);
  }
  ck_assert_uint_eq(uvch_mpsc_sender_len(&tx), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), CAPACITY);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &value), UV_EAGAIN);
  for (i = 0; i < COUNT(copies); i++) {
    support_drop_sender(&copies[i]);
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_bounded_channel_takes_its_storage_with_the_first_message_and_no_more) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t round;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  support_alloc_mark();
  support_put(&tx, 0);
  ck_assert_uint_ge(support_alloc_calls(), 1);
  support_take(&rx);
  support_alloc_mark();
  for (round = 0; round < 10; round++) {
    uint64_t value = 0;

    for (i = 0; i < CAPACITY; i++) {
      support_put(&tx, i);
    }
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
    for (i = 0; i < CAPACITY; i++) {
      support_take(&rx);
    }
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(storage_made_in_advance_needs_no_memory_later) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;
  size_t round;
  size_t i;

  ck_assert_int_eq(open_ready_made(NULL, &rx, &tx, CAPACITY), 0);
  support_alloc_mark();
  support_alloc_fail_from(1);
  for (round = 0; round < 3; round++) {
    for (i = 0; i < CAPACITY; i++) {
      support_put(&tx, i);
    }
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
    for (i = 0; i < CAPACITY; i++) {
      ck_assert_uint_eq(support_take(&rx), i);
    }
  }
  close_channel(&rx, &tx);
  support_alloc_fail_from(0);
  ck_assert_uint_eq(support_alloc_calls(), 0);
}
END_TEST

START_TEST(storage_in_advance_that_is_too_large_is_refused_at_once) {
  uvch_mpsc_options_t options;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t blocks = support_alloc_blocks();

  memset(&options, 0, sizeof(options));
  options.flags = UVCH_PREALLOCATE;
  ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &rx, &tx, UVCH_MPSC_ITEM_MAX, UVCH_MPSC_CAPACITY_MAX, &options), UV_ENOMEM);
  ck_assert_uint_eq(support_alloc_blocks(), blocks);
}
END_TEST

START_TEST(storage_that_is_too_large_is_refused_with_the_first_message) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;

  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, UVCH_MPSC_ITEM_MAX, UVCH_MPSC_CAPACITY_MAX), 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_ENOMEM); /* it does not read the message */
  ck_assert_uint_eq(uvch_mpsc_sender_len(&tx), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), UVCH_MPSC_CAPACITY_MAX);
  close_channel(&rx, &tx);
}
END_TEST

/* When it comes back. */

START_TEST(after_a_burst_and_a_drain_by_hand_one_block_is_left_at_most) {
  size_t n = support_scale(1000000);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t fresh;
  size_t round;
  uint64_t value;
  size_t i;

  open_channel(NULL, &rx, &tx, UVCH_UNBOUNDED);
  fresh = support_alloc_bytes();
  support_alloc_mark();
  support_put(&tx, 0);
  support_take(&rx);
  ck_assert_uint_le(support_alloc_bytes(), fresh + support_alloc_largest());
  for (round = 0; round < 2; round++) {
    for (i = 0; i < n; i++) {
      support_put(&tx, i);
    }
    ck_assert_uint_ge(support_alloc_bytes(), fresh + n * sizeof(uint64_t));
    for (i = 0; i < n; i++) {
      support_check_eq(support_take(&rx), i);
    }
    support_check_eq(uvch_mpsc_try_recv(&rx, &value), UV_EAGAIN);
    ck_assert_uint_le(support_alloc_largest(), 65536);
    ck_assert_uint_le(support_alloc_bytes(), fresh + support_alloc_largest());
  }
  close_channel(&rx, &tx);
}
END_TEST

typedef struct burst_s {
  uvch_mpsc_sender_t tx;
  support_result_t result;
  size_t count;
} burst_t;

static void send_burst(void* arg) {
  burst_t* burst = arg;
  uint64_t i;

  for (i = 0; i < burst->count; i++) {
    support_expect_eq(&burst->result, uvch_mpsc_try_send(&burst->tx, &i), 0);
  }
}

static void count_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  size_t* count = rx->data;

  support_check(status == 0 && item != NULL);
  *count += 1;
}

START_TEST(after_a_burst_of_threads_and_a_drain_by_callbacks_one_block_is_left_at_most) {
  burst_t burst = {.count = support_scale(100000)};
  uvch_mpsc_receiver_t rx;
  uv_thread_t threads[4];
  size_t count = 0;
  size_t fresh;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &burst.tx, UVCH_UNBOUNDED);
  rx.data = &count;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, count_message), 0);
  uv_run(&loop, UV_RUN_NOWAIT);
  fresh = support_alloc_bytes();
  support_alloc_mark();
  for (i = 0; i < COUNT(threads); i++) {
    support_spawn(&threads[i], send_burst, &burst);
  }
  for (i = 0; i < COUNT(threads); i++) {
    support_join(&threads[i]);
  }
  support_result_check(&burst.result);
  while (count < COUNT(threads) * burst.count) {
    uv_run(&loop, UV_RUN_ONCE);
  }
  uv_run(&loop, UV_RUN_NOWAIT);
  uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_uint_le(support_alloc_bytes(), fresh + support_alloc_largest());
  close_channel(&rx, &burst.tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_steady_stream_does_not_grow) {
  size_t n = support_scale(200000);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t fresh;
  uint64_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  fresh = support_alloc_bytes();
  support_put(&tx, 0);
  support_alloc_mark();
  for (i = 1; i < n; i++) {
    if (CAPACITY > 1) {
      support_put(&tx, i);
      support_check_eq(support_take(&rx), i - 1);
    } else {
      support_check_eq(support_take(&rx), i - 1);
      support_put(&tx, i);
    }
  }
  if (CAPACITY == UVCH_UNBOUNDED) { /* the block that is filled, the one that is read, a spare, one that waits to be used again */
    ck_assert_uint_le(support_alloc_peak_bytes(), fresh + 4 * support_alloc_largest());
  } else {
    support_check_eq(support_alloc_calls(), 0);
  }
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(closing_gives_back_the_storage_while_senders_stay) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t fresh;
  size_t i;

  open_channel(NULL, &rx, &tx, UVCH_UNBOUNDED);
  fresh = support_alloc_bytes();
  for (i = 0; i < 10000; i++) {
    support_put(&tx, i);
  }
  support_close(&rx);
  ck_assert_uint_le(support_alloc_bytes(), fresh);
  support_drop_sender(&tx);
}
END_TEST

/* A million of them with UVCH_TEST_SCALE=10. */
START_TEST(waiting_and_cancelling_does_not_grow) {
  enum { AT_ONCE = 100 };
  size_t rounds = support_scale(100000 / AT_ONCE);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t reqs[AT_ONCE];
  int done[AT_ONCE];
  uint64_t value = 9;
  uv_loop_t loop;
  size_t bytes = 0;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 1);
  support_put(&tx, 1);
  for (round = 0; round < rounds; round++) {
    for (i = 0; i < AT_ONCE; i++) {
      done[i] = 0;
      reqs[i].data = &done[i];
      support_check_eq(uvch_mpsc_send(&loop, &reqs[i], &tx, &value, on_sent), 0);
    }
    if (round == 0) {
      bytes = support_alloc_bytes();
      support_alloc_mark();
    }
    support_check_eq(support_alloc_bytes(), bytes);
    for (i = 0; i < AT_ONCE; i++) { /* from all places of the line */
      support_check_eq(uvch_cancel((uvch_req_t*) &reqs[i * 37 % AT_ONCE]), 0);
    }
    for (i = 0; i < AT_ONCE; i++) {
      while (done[i] == 0) {
        uv_run(&loop, UV_RUN_ONCE);
      }
      support_check_eq(done[i], UV_ECANCELED);
    }
  }
  ck_assert_uint_le(support_alloc_peak_bytes(), bytes);
  support_check_eq(uvch_mpsc_receiver_len(&rx), 1);
  support_check_eq(support_take(&rx), 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(waiting_and_giving_up_does_not_grow) {
  size_t rounds = support_scale(2000);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 9;
  size_t i;

  open_channel(NULL, &rx, &tx, 1);
  support_check_eq(uvch_mpsc_recv_timedwait(&rx, &value, 1), UV_ETIMEDOUT);
  support_put(&tx, 1);
  support_check_eq(uvch_mpsc_send_timedwait(&tx, &value, 1), UV_ETIMEDOUT);
  support_alloc_mark();
  for (i = 0; i < rounds; i++) {
    support_check_eq(uvch_mpsc_send_timedwait(&tx, &value, 1 + i % 2000), UV_ETIMEDOUT);
  }
  support_take(&rx);
  for (i = 0; i < rounds; i++) {
    support_check_eq(uvch_mpsc_recv_timedwait(&rx, &value, 1 + i % 2000), UV_ETIMEDOUT);
  }
  support_check_eq(support_alloc_calls(), 0);
  close_channel(&rx, &tx);
}
END_TEST

/* None left. */

START_TEST(a_send_without_memory_claims_nothing) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  support_alloc_fail_from(1);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_ENOMEM);
    ck_assert_int_eq(uvch_mpsc_send_wait(&tx, &value), UV_ENOMEM);
    ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 0), UV_ENOMEM);
    ck_assert_uint_eq(uvch_mpsc_sender_len(&tx), 0);
    ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), CAPACITY);
    ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &value), UV_EAGAIN);
  }
  support_alloc_fail_from(0);
  support_put(&tx, 1);
  ck_assert_uint_eq(support_take(&rx), 1);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(an_unbounded_channel_without_memory_keeps_what_it_has) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;
  uint64_t sent = 0;
  uint64_t i;

  open_channel(NULL, &rx, &tx, UVCH_UNBOUNDED);
  for (i = 0; i < (uint64_t) _i; i++) {
    support_put(&tx, sent++);
  }
  support_alloc_fail_from(1);
  while (uvch_mpsc_try_send(&tx, &sent) == 0) { /* what is left of the last block */
    sent += 1;
  }
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &sent), UV_ENOMEM);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), sent);
  support_alloc_fail_from(0);
  for (i = 0; i < 100; i++) {
    support_put(&tx, sent++);
  }
  for (i = 0; i < sent; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &value), UV_EAGAIN);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_wait_without_memory_is_refused_and_takes_no_place) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t req;
  uint64_t value = 5;
  uv_loop_t loop;
  int done = 0;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 1);
  support_put(&tx, 1);
  req.data = &done;
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_mpsc_send_wait(&tx, &value), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 1000), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&tx, &value, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_mpsc_send(&loop, &req, &tx, &value, on_sent), UV_ENOMEM);
  ck_assert_uint_eq(support_take(&rx), 1);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 1000), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 0), UV_ETIMEDOUT);
  support_put(&tx, 2); /* nobody waits */
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), 0);
  ck_assert_uint_eq(value, 2);
  support_alloc_fail_from(0);
  support_loop_run(&loop);
  ck_assert_int_eq(done, 0);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

/* A program that makes every call of the library, run again and again with another allocation failing each time. */

enum { BOUNDED, UNBOUNDED, READY_MADE, ATTACHED, CHANNELS };

typedef struct program_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx[CHANNELS];
  uvch_mpsc_sender_t tx[CHANNELS];
  bool open[CHANNELS];
  bool for_good; /* once memory is out, it stays so: the first UV_ENOMEM ends the program */
  size_t taken;  /* messages that the library owned */
  size_t got;
  size_t dropped;
  size_t closed;
  uvch_mpsc_send_t reqs[3];
  uint64_t values[3];
  bool made[3];
  int done[3];
} program_t;

/* 1: it worked. 0: no memory, which must be true. */
static int worked(int result) {
  if (result == UV_ENOMEM) {
    ck_assert_uint_gt(support_alloc_failed(), 0);
    return 0;
  }
  support_check_eq(result, 0);
  return 1;
}

/* A call that has failed for a single allocation works the next time. */
#define TRY(program, call) (worked(call) || (!(program)->for_good && worked(call)))

static void program_drop(void* item, void* arg) {
  program_t* p = arg;

  ck_assert_ptr_nonnull(item);
  p->dropped += 1;
}

static void program_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  program_t* p = rx->data;

  (void) item;
  if (status == 0) {
    p->got += 1;
    return;
  }
  ck_assert_int_eq(status, UV_EOF);
}

static void program_on_close(uvch_handle_t* handle) {
  program_t* p = handle->data;

  p->closed += 1;
}

static int program_open(program_t* p, size_t i) {
  static const size_t bounds[CHANNELS] = {2, UVCH_UNBOUNDED, 3, 1};
  uvch_mpsc_options_t options;

  memset(&options, 0, sizeof(options));
  options.flags = i == READY_MADE ? UVCH_PREALLOCATE : 0;
  options.drop = program_drop;
  options.arg = p;
  p->open[i] = TRY(p, uvch_mpsc_init_ex(i == BOUNDED || i == READY_MADE ? &p->loop : NULL, &p->rx[i], &p->tx[i], sizeof(uint64_t),
                                        bounds[i], &options));
  if (p->open[i]) {
    p->rx[i].data = p;
  }
  return p->open[i];
}

static int program_send(program_t* p, size_t i, uint64_t value) {
  size_t len = uvch_mpsc_sender_len(&p->tx[i]);
  int ok = worked(uvch_mpsc_try_send(&p->tx[i], &value));

  ck_assert_uint_eq(uvch_mpsc_sender_len(&p->tx[i]), ok ? len + 1 : len);
  if (!ok && !p->for_good) {
    ok = worked(uvch_mpsc_try_send(&p->tx[i], &value));
  }
  p->taken += ok != 0;
  return ok;
}

static int program_request(program_t* p, size_t k, size_t i) {
  p->values[k] = 100 + k;
  p->reqs[k].data = &p->done[k];
  p->made[k] = TRY(p, uvch_mpsc_send(&p->loop, &p->reqs[k], &p->tx[i], &p->values[k], on_sent));
  return p->made[k];
}

/* A wait that ends by its time, if it can begin. */
static int timed_out(int result) {
  return worked(result == UV_ETIMEDOUT ? 0 : result);
}

static int program_use(program_t* p) {
  uvch_mpsc_sender_t copy;
  uint64_t value = 50;
  size_t i;

  for (i = 0; i < CHANNELS; i++) {
    if (!program_open(p, i)) {
      return 0;
    }
  }
  if (!TRY(p, uvch_mpsc_sender_clone(&p->tx[BOUNDED], &copy))) {
    return 0;
  }
  support_drop_sender(&copy);
  if (!TRY(p, uvch_loop_configure(&p->loop, UVCH_LOOP_BUDGET_MESSAGES, 100))) {
    return 0;
  }
  for (i = 0; i < 100; i++) {
    if (!program_send(p, UNBOUNDED, i) || (i < 2 && !program_send(p, BOUNDED, i)) || (i < 3 && !program_send(p, READY_MADE, i))) {
      return 0;
    }
  }
  if (!program_request(p, 0, BOUNDED) || !program_request(p, 1, BOUNDED) || !program_request(p, 2, UNBOUNDED)) {
    return 0;
  }
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &p->reqs[1]), 0);
  if (!timed_out(uvch_mpsc_send_timedwait(&p->tx[READY_MADE], &value, 1000)) &&
      (p->for_good || !timed_out(uvch_mpsc_send_timedwait(&p->tx[READY_MADE], &value, 1000)))) {
    return 0;
  }
  if (!timed_out(uvch_mpsc_recv_timedwait(&p->rx[ATTACHED], &value, 1000)) &&
      (p->for_good || !timed_out(uvch_mpsc_recv_timedwait(&p->rx[ATTACHED], &value, 1000)))) {
    return 0;
  }
  if (!TRY(p, uvch_attach(&p->loop, (uvch_handle_t*) &p->rx[ATTACHED])) ||
      !TRY(p, uvch_attach(&p->loop, (uvch_handle_t*) &p->rx[UNBOUNDED]))) {
    return 0;
  }
  for (i = 0; i < CHANNELS; i++) {
    if (!TRY(p, uvch_mpsc_recv_start(&p->rx[i], program_on_recv))) {
      return 0;
    }
    uv_run(&p->loop, UV_RUN_NOWAIT);
  }
  if (!program_send(p, ATTACHED, 1)) {
    return 0;
  }
  ck_assert_int_eq(uvch_mpsc_recv_stop(&p->rx[ATTACHED]), 0);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&p->rx[UNBOUNDED]), 0);
  return 1;
}

/* Needs no memory. */
static void program_end(program_t* p) {
  size_t closing = 0;
  size_t i;

  for (i = 0; i < CHANNELS; i++) {
    if (p->open[i]) {
      support_drop_sender(&p->tx[i]);
      ck_assert_int_eq(uvch_close((uvch_handle_t*) &p->rx[i], p->rx[i].loop != NULL ? program_on_close : NULL), 0);
      closing += p->rx[i].loop != NULL;
    }
  }
  support_loop_end(&p->loop);
  ck_assert_uint_eq(p->closed, closing);
  for (i = 0; i < COUNT(p->reqs); i++) {
    ck_assert(p->made[i] == (p->done[i] != 0));
    p->taken += p->done[i] == 1;
  }
  ck_assert_uint_eq(p->got + p->dropped, p->taken);
}

/* Whether an allocation failed. */
static bool program_run(size_t n, bool for_good) {
  program_t p;
  int ok;

  memset(&p, 0, sizeof(p));
  p.for_good = for_good;
  support_loop_init(&p.loop);
  support_alloc_mark();
  if (for_good) {
    support_alloc_fail_from(n);
  } else {
    support_alloc_fail(n);
  }
  ok = program_use(&p);
  ck_assert(ok || for_good);
  program_end(&p);
  support_alloc_fail_from(0);
  ck_assert_uint_eq(support_alloc_blocks(), 0);
  return support_alloc_failed() > 0;
}

START_TEST(any_allocation_may_fail_once_and_nothing_is_lost_or_leaked) {
  size_t n = 1;

  while (program_run(n, false)) {
    n += 1;
  }
  ck_assert_uint_gt(n, CHANNELS); /* each of them needed one */
}
END_TEST

START_TEST(memory_may_run_out_for_good_anywhere_and_nothing_is_lost_or_leaked) {
  size_t n = 1;

  while (program_run(n, true)) {
    n += 1;
  }
  ck_assert_uint_gt(n, CHANNELS);
}
END_TEST

/* Two threads that block on each other's doing, with one allocation failing. */
typedef struct pair_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_result_t result;
  uint64_t count;
} pair_t;

static void send_pair(void* arg) {
  pair_t* pair = arg;
  uint64_t i;
  int r;

  for (i = 0; i < pair->count; i++) {
    r = uvch_mpsc_send_wait(&pair->tx, &i);
    if (r == UV_ENOMEM) {
      r = uvch_mpsc_send_wait(&pair->tx, &i);
    }
    support_expect_eq(&pair->result, r, 0);
  }
  support_expect_eq(&pair->result, uvch_mpsc_sender_close(&pair->tx), 0);
}

START_TEST(any_allocation_of_blocking_threads_may_fail_once_and_nothing_is_lost) {
  pair_t pair = {.count = 200};
  uv_thread_t thread;
  uint64_t value;
  uint64_t i;
  size_t n;
  int r;

  for (n = 1; n <= 8; n++) { /* which call gets it is up to the threads, whether one does, too */
    pair.count = 200;
    open_channel(NULL, &pair.rx, &pair.tx, CAPACITY);
    support_alloc_fail(n);
    support_spawn(&thread, send_pair, &pair);
    for (i = 0;; i++) {
      r = uvch_mpsc_recv_wait(&pair.rx, &value);
      if (r == UV_ENOMEM) {
        r = uvch_mpsc_recv_wait(&pair.rx, &value);
      }
      if (r == UV_EOF) {
        break;
      }
      ck_assert_int_eq(r, 0);
      ck_assert_uint_eq(value, i);
    }
    ck_assert_uint_eq(i, pair.count);
    support_join(&thread);
    support_result_check(&pair.result);
    support_close(&pair.rx);
    support_alloc_fail(0);
    ck_assert_uint_eq(support_alloc_blocks(), 0);
  }
}
END_TEST

static void add_size(Suite* suite) {
  TCase* tcase = support_case(suite, "size");

  tcase_add_test(tcase, replacing_the_allocator_refuses_null_and_changes_nothing);
  tcase_add_loop_test(tcase, an_idle_channel_takes_at_most_256_bytes_whatever_its_capacity, 0, (int) COUNT(idle_capacities));
  tcase_add_loop_test(tcase, waiting_to_receive_on_a_loop_takes_no_more_memory, 0, (int) COUNT(idle_capacities));
  add_for_every_capacity(tcase, a_clone_and_the_counters_take_no_memory);
  add_for_every_bound(tcase, a_bounded_channel_takes_its_storage_with_the_first_message_and_no_more);
  add_for_every_bound(tcase, storage_made_in_advance_needs_no_memory_later);
  tcase_add_test(tcase, storage_in_advance_that_is_too_large_is_refused_at_once);
  tcase_add_test(tcase, storage_that_is_too_large_is_refused_with_the_first_message);
}

static void add_growth(Suite* suite) {
  TCase* tcase = support_case(suite, "growth");

  tcase_add_test(tcase, after_a_burst_and_a_drain_by_hand_one_block_is_left_at_most);
  tcase_add_test(tcase, after_a_burst_of_threads_and_a_drain_by_callbacks_one_block_is_left_at_most);
  add_for_every_capacity(tcase, a_steady_stream_does_not_grow);
  tcase_add_test(tcase, closing_gives_back_the_storage_while_senders_stay);
  tcase_add_test(tcase, waiting_and_cancelling_does_not_grow);
  tcase_add_test(tcase, waiting_and_giving_up_does_not_grow);
}

static void add_failure(Suite* suite) {
  TCase* tcase = support_case(suite, "failure");

  add_for_every_capacity(tcase, a_send_without_memory_claims_nothing);
  tcase_add_loop_test(tcase, an_unbounded_channel_without_memory_keeps_what_it_has, 0, 40);
  tcase_add_test(tcase, a_wait_without_memory_is_refused_and_takes_no_place);
  tcase_add_test(tcase, any_allocation_may_fail_once_and_nothing_is_lost_or_leaked);
  tcase_add_test(tcase, memory_may_run_out_for_good_anywhere_and_nothing_is_lost_or_leaked);
  add_for_every_capacity(tcase, any_allocation_of_blocking_threads_may_fail_once_and_nothing_is_lost);
}

int main(void) {
  Suite* suite = suite_create("alloc");

  add_size(suite);
  add_growth(suite);
  add_failure(suite);
  return support_main(suite);
}
