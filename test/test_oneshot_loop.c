/* SPDX-License-Identifier: MIT
 *
 * Oneshot receivers on a loop: the callback and what it may do, closing, and what keeps the loop. */
#include "oneshot_support.h"

#include <stdio.h>

/* The callback. */

START_TEST(the_value_comes_once_to_the_callback) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;
  drops_t drops;

  support_loop_init(&loop);
  open_kind(_i % KINDS, &loop, &rx, &tx, &drops);
  if (_i / KINDS == 0) {
    put(&tx, 3);
  }
  if (_i % KINDS == PLAIN) { /* attached with the value in it, or before */
    ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), 0);
  }
  await(&rx, &outcome);
  if (_i / KINDS == 1) {
    check_waits(&loop, &outcome.calls);
    put(&tx, 3);
    ck_assert_uint_eq(outcome.calls, 0);
  }
  ck_assert_int_eq(uvch_oneshot_try_recv(&rx, &drops.last), UV_EALREADY); /* the callback gets it */
  support_loop_run(&loop);
  check_value(&outcome, 3);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
  ck_assert_int_eq(uvch_oneshot_recv(&rx, never), UV_EOF);
  close_rx(&rx);
  support_loop_end(&loop);
  check_value(&outcome, 3);
  ck_assert_uint_eq(drops.count, 0);
}
END_TEST

START_TEST(recv_is_refused_without_a_callback_or_when_it_waits_already) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  ck_assert_int_eq(uvch_oneshot_recv(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
  await(&rx, &outcome);
  ck_assert_int_eq(uvch_oneshot_recv(&rx, never), UV_EALREADY);
  ck_assert_int_eq(try_take(&rx), UV_EALREADY);
  put(&tx, 2);
  ck_assert_int_eq(uvch_oneshot_recv(&rx, never), UV_EALREADY); /* also when it is on its way */
  ck_assert_int_eq(try_take(&rx), UV_EALREADY);
  support_loop_run(&loop);
  check_value(&outcome, 2);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_thread_cannot_sleep_on_a_receiver_of_a_loop) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uint64_t value = 5;
  uv_loop_t loop;
  drops_t drops;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, &drops);
  put(&tx, 2);
  ck_assert_int_eq(uvch_oneshot_recv_wait(&rx, &value), UV_EPERM);
  ck_assert_int_eq(uvch_oneshot_recv_timedwait(&rx, &value, 0), UV_EPERM);
  ck_assert_uint_eq(value, 5);
  ck_assert_uint_eq(take(&rx), 2);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(recv_stop_loses_nothing) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  ck_assert_int_eq(uvch_oneshot_recv_stop(&rx), 0); /* harmless */
  await(&rx, &outcome);
  if (_i % 2 == 1) {
    turn(&loop);
  }
  ck_assert_int_eq(uvch_oneshot_recv_stop(&rx), 0);
  ck_assert_int_eq(uvch_oneshot_recv_stop(&rx), 0);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
  support_loop_run(&loop); /* nothing keeps it */
  await(&rx, &outcome);
  if (_i / 4 == 0) {
    put(&tx, 6);
  } else {
    drop_sender(&tx);
  }
  ck_assert_int_eq(uvch_oneshot_recv_stop(&rx), 0); /* it was on its way */
  turn(&loop);
  ck_assert_uint_eq(outcome.calls, 0);
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&rx), 0);
  ck_assert_int_eq(uvch_oneshot_receiver_is_empty(&rx), _i / 4);
  if (_i / 2 % 2 == 0) {
    await(&rx, &outcome);
    support_loop_run(&loop);
    if (_i / 4 == 0) {
      check_value(&outcome, 6);
    } else {
      check_end(&outcome);
    }
  } else if (_i / 4 == 0) {
    ck_assert_uint_eq(take(&rx), 6);
  } else {
    ck_assert_int_eq(try_take(&rx), UV_EOF);
  }
  ck_assert_int_eq(uvch_oneshot_recv_stop(&rx), 0);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(stop_and_recv_within_one_pass_bring_the_value_once) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;
  int i;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  for (i = 0; i < 10; i++) {
    await(&rx, &outcome);
    if (i == _i) {
      put(&tx, 6);
    }
    if (i % 3 == 0) {
      uv_run(&loop, UV_RUN_NOWAIT);
    }
    ck_assert_int_eq(uvch_oneshot_recv_stop(&rx), 0);
    if (outcome.calls > 0) {
      break;
    }
  }
  if (outcome.calls == 0) {
    await(&rx, &outcome);
    support_loop_run(&loop);
  }
  check_value(&outcome, 6);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(shutdown_ends_a_receiver_that_waits) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  await(&rx, &outcome);
  if (_i == 1) {
    turn(&loop);
  }
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&rx), 0);
  ck_assert_uint_eq(outcome.calls, 0); /* not from inside the call */
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 1);
  ck_assert_int_eq(try_put(&tx), UV_EPIPE);
  support_loop_run(&loop);
  check_end(&outcome);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_value_that_is_in_survives_a_shutdown) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  await(&rx, &outcome);
  if (_i == 1) {
    turn(&loop);
  }
  put(&tx, 5);
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&rx), 0);
  support_loop_run(&loop);
  check_value(&outcome, 5);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* What a callback may do. In all of these its value must be good to the end. */

typedef struct play_s {
  uvch_oneshot_receiver_t* rx;
  uvch_oneshot_sender_t tx;
  outcome_t other;
  size_t size;
  size_t calls;
  size_t closes;
  size_t inside;
  drops_t drops;
} play_t;

static void play_on_close(uvch_handle_t* handle) {
  play_t* play = handle->data;

  play->closes += 1;
  play->rx = NULL;
  memset(handle, 0xdd, sizeof(uvch_oneshot_receiver_t));
  free(handle);
}

static void play_begin(play_t* play, uv_loop_t* loop, size_t size, uvch_oneshot_recv_cb cb) {
  unsigned char* bytes = malloc(size + 1);

  memset(play, 0, sizeof(*play));
  play->size = size;
  play->rx = malloc(sizeof(*play->rx));
  ck_assert(play->rx != NULL && bytes != NULL);
  ck_assert_int_eq(uvch_oneshot_init(loop, play->rx, &play->tx, size), 0);
  play->rx->data = play;
  fill(bytes, size);
  ck_assert_int_eq(uvch_oneshot_send(&play->tx, bytes), 0);
  ck_assert_int_eq(uvch_oneshot_recv(play->rx, cb), 0);
  free(bytes);
}

static void play_end(play_t* play, uv_loop_t* loop) {
  if (play->rx != NULL && !uvch_is_closing((uvch_handle_t*) play->rx)) {
    ck_assert_int_eq(uvch_close((uvch_handle_t*) play->rx, play_on_close), 0);
  }
  support_loop_end(loop);
  ck_assert_uint_eq(play->calls, 1);
  ck_assert_uint_eq(play->closes, 1);
}

/* Other channels of the same loop and size come and go: whoever gave the memory of the value away would see it here. */
static void write_all_over(uv_loop_t* loop, size_t size) {
  unsigned char* junk = malloc(size + 1);
  uvch_oneshot_receiver_t rx[4];
  uvch_oneshot_sender_t tx[4];
  size_t round;
  size_t i;

  support_check(junk != NULL);
  memset(junk, 0xee, size + 1);
  for (round = 0; round < 3; round++) {
    for (i = 0; i < COUNT(rx); i++) {
      support_check_eq(uvch_oneshot_init(loop, &rx[i], &tx[i], size), 0);
      support_check_eq(uvch_oneshot_send(&tx[i], junk), 0);
    }
    for (i = 0; i < COUNT(rx); i++) {
      support_check_eq(uvch_oneshot_try_recv(&rx[i], junk), 0);
      close_rx(&rx[i]);
    }
    turn(loop);
  }
  free(junk);
}

static const size_t play_sizes[] = {0, 1, 8, 16, 17, 100, 4096};

#define PLAY_SIZE (play_sizes[_i % (int) COUNT(play_sizes)])
#define PLAY_WAY (_i / (int) COUNT(play_sizes))
#define add_for_every_size(tcase, test, ways) tcase_add_loop_test(tcase, test, 0, (ways) * (int) COUNT(play_sizes))

static void on_recv_look_round(uvch_oneshot_receiver_t* rx, int status, void* item) {
  play_t* play = rx->data;
  unsigned char other[4096];

  support_check_eq(status, 0);
  play->calls += 1;
  support_check_eq(uvch_is_active((uvch_handle_t*) rx), 0);
  support_check_eq(uvch_oneshot_receiver_is_terminated(rx), 1);
  support_check_eq(uvch_oneshot_receiver_is_empty(rx), 1);
  support_check_eq(uvch_oneshot_recv(rx, never), UV_EOF);
  support_check_eq(uvch_oneshot_try_recv(rx, other), UV_EOF);
  support_check_eq(uvch_oneshot_recv_stop(rx), 0);
  support_check_eq(uvch_oneshot_recv_shutdown(rx), 0);
  write_all_over(rx->loop, play->size);
  check_blob(item, play->size);
}

START_TEST(in_the_callback_the_outcome_is_taken) {
  uv_loop_t loop;
  play_t play;

  support_loop_init(&loop);
  play_begin(&play, &loop, PLAY_SIZE, on_recv_look_round);
  support_loop_run(&loop);
  play_end(&play, &loop);
}
END_TEST

static void on_recv_close(uvch_oneshot_receiver_t* rx, int status, void* item) {
  play_t* play = rx->data;
  uv_loop_t* loop = rx->loop;

  support_check_eq(status, 0);
  play->calls += 1;
  support_check_eq(uvch_close((uvch_handle_t*) rx, play_on_close), 0);
  support_check_eq(play->closes, 0);
  if (play->inside) { /* until the close callback has come and the handle is freed */
    while (play->closes == 0) {
      uv_run(loop, UV_RUN_NOWAIT);
    }
  }
  write_all_over(loop, play->size);
  check_blob(item, play->size);
}

START_TEST(a_callback_may_close_its_receiver_and_its_value_stays_good) {
  uv_loop_t loop;
  play_t play;

  support_loop_init(&loop);
  play_begin(&play, &loop, PLAY_SIZE, on_recv_close);
  play.inside = PLAY_WAY == 1;
  support_loop_run(&loop);
  play_end(&play, &loop);
}
END_TEST

static void on_recv_renewed(uvch_oneshot_receiver_t* rx, int status, void* item) {
  play_t* play = rx->data;

  support_check_eq(status, 0);
  play->inside += item != NULL;
}

static void on_recv_renew(uvch_oneshot_receiver_t* rx, int status, void* item) {
  unsigned char other[4096];
  play_t* play = rx->data;

  support_check_eq(status, 0);
  play->calls += 1;
  memset(other, 0xee, sizeof(other));
  support_check_eq(uvch_oneshot_renew(rx, &play->tx), 0);
  support_check_eq(uvch_oneshot_receiver_is_terminated(rx), 0);
  support_check_eq(uvch_oneshot_recv(rx, on_recv_renewed), 0);
  support_check_eq(uvch_oneshot_send(&play->tx, other), 0);
  check_blob(item, play->size);
  turn(rx->loop); /* may bring the new one, which is not the same call */
  write_all_over(rx->loop, play->size);
  check_blob(item, play->size);
}

START_TEST(a_callback_may_renew_its_receiver_and_its_value_stays_good) {
  uv_loop_t loop;
  play_t play;

  if (PLAY_SIZE == 0) { /* has no bytes to look at */
    return;
  }
  support_loop_init(&loop);
  play_begin(&play, &loop, PLAY_SIZE, on_recv_renew);
  support_loop_run(&loop);
  ck_assert_uint_eq(play.inside, 1);
  play_end(&play, &loop);
}
END_TEST

/* Each callback runs the loop, so that the others come inside it. */
typedef struct nest_s {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uint64_t value;
  size_t* depth;
  size_t* deepest;
  size_t calls;
} nest_t;

static void nest_on_recv(uvch_oneshot_receiver_t* rx, int status, void* item) {
  nest_t* nest = rx->data;

  support_check_eq(status, 0);
  support_check_eq(memcmp(item, &nest->value, sizeof(nest->value)), 0);
  nest->calls += 1;
  *nest->depth += 1;
  if (*nest->depth > *nest->deepest) {
    *nest->deepest = *nest->depth;
  }
  turn(rx->loop);
  *nest->depth -= 1;
  support_check_eq(memcmp(item, &nest->value, sizeof(nest->value)), 0);
  support_check_eq(nest->calls, 1);
}

START_TEST(a_callback_may_run_its_loop_and_the_others_come_in_it_once) {
  nest_t nests[20];
  uv_loop_t loop;
  size_t deepest = 0;
  size_t depth = 0;
  size_t i;

  support_loop_init(&loop);
  memset(nests, 0, sizeof(nests));
  for (i = 0; i < COUNT(nests); i++) {
    open_pair(&loop, &nests[i].rx, &nests[i].tx);
    nests[i].rx.data = &nests[i];
    nests[i].value = 1000 + i;
    nests[i].depth = &depth;
    nests[i].deepest = &deepest;
    ck_assert_int_eq(uvch_oneshot_recv(&nests[i].rx, nest_on_recv), 0);
    put(&nests[i].tx, 1000 + i);
  }
  support_loop_run(&loop);
  for (i = 0; i < COUNT(nests); i++) {
    ck_assert_uint_eq(nests[i].calls, 1);
    close_rx(&nests[i].rx);
  }
  ck_assert_uint_eq(depth, 0);
  ck_assert_uint_gt(deepest, 1); /* so they were nested */
  support_loop_end(&loop);
}
END_TEST

typedef struct rival_s {
  uvch_oneshot_receiver_t rx[2];
  uvch_oneshot_sender_t tx[2];
  drops_t drops;
  size_t calls;
} rival_t;

static void rival_on_recv(uvch_oneshot_receiver_t* rx, int status, void* item) {
  rival_t* rival = rx->data;
  size_t other = rx == &rival->rx[0];

  support_check(status == 0 && item != NULL);
  rival->calls += 1;
  close_rx(&rival->rx[other]);
  support_check_eq(rival->drops.count, 1);
  support_check_eq(rival->drops.last, other);
}

START_TEST(a_callback_may_close_another_receiver_whose_value_is_due) {
  rival_t rival;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  memset(&rival, 0, sizeof(rival));
  for (i = 0; i < 2; i++) {
    open_dropping(&loop, &rival.rx[i], &rival.tx[i], &rival.drops);
    rival.rx[i].data = &rival;
    ck_assert_int_eq(uvch_oneshot_recv(&rival.rx[i], rival_on_recv), 0);
    put(&rival.tx[i], i);
  }
  support_loop_run(&loop);
  ck_assert_uint_eq(rival.calls, 1);
  ck_assert_uint_eq(rival.drops.count, 1);
  close_rx(&rival.rx[rival.drops.last == 0]);
  support_loop_end(&loop);
  ck_assert_uint_eq(rival.drops.count, 1);
}
END_TEST

/* A drop function runs while a receiver closes; it may call what it likes. */
typedef struct testament_s {
  uv_loop_t* loop;
  uvch_oneshot_sender_t heir;
  uvch_oneshot_receiver_t* other;
  size_t calls;
} testament_t;

static void testament_on_drop(void* item, void* arg) {
  testament_t* testament = arg;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;

  testament->calls += 1;
  support_check_eq(uvch_oneshot_send(&testament->heir, item), 0);
  close_rx(testament->other);
  open_pair(NULL, &rx, &tx);
  put(&tx, 1);
  support_check_eq(take(&rx), 1);
  close_rx(&rx);
  turn(testament->loop);
}

START_TEST(a_drop_function_may_send_and_close_and_run_the_loop) {
  uvch_oneshot_options_t options;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_receiver_t heir;
  uvch_oneshot_receiver_t other;
  uvch_oneshot_sender_t tx;
  uvch_oneshot_sender_t other_tx;
  testament_t testament;
  outcome_t outcome;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&testament, 0, sizeof(testament));
  memset(&options, 0, sizeof(options));
  options.drop = testament_on_drop;
  options.arg = &testament;
  testament.loop = &loop;
  testament.other = &other;
  ck_assert_int_eq(uvch_oneshot_init_ex(&loop, &rx, &tx, sizeof(uint64_t), &options), 0);
  open_pair(&loop, &heir, &testament.heir);
  open_pair(&loop, &other, &other_tx);
  await(&heir, &outcome);
  put(&tx, 31);
  close_rx(&rx);
  ck_assert_uint_eq(testament.calls, 1);
  support_loop_run(&loop);
  check_value(&outcome, 31);
  ck_assert_int_eq(try_put(&other_tx), UV_EPIPE);
  close_rx(&heir);
  support_loop_end(&loop);
  ck_assert_uint_eq(testament.calls, 1);
}
END_TEST

/* Handles of a loop. */

static void count_close(uvch_handle_t* handle) {
  size_t* closes = handle->data;

  *closes += 1;
}

START_TEST(attaching_is_once_and_not_after_a_close) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uv_loop_t first;
  uv_loop_t second;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;

  support_loop_init(&first);
  support_loop_init(&second);
  open_pair(NULL, &rx, &tx);
  ck_assert_int_eq(uvch_attach(NULL, handle), UV_EINVAL);
  ck_assert_int_eq(uvch_attach(&first, handle), 0);
  ck_assert_ptr_eq(uvch_handle_get_loop(handle), &first);
  ck_assert_int_eq(uvch_attach(&first, handle), UV_EALREADY);
  ck_assert_int_eq(uvch_attach(&second, handle), UV_EALREADY);
  ck_assert_ptr_eq(uvch_handle_get_loop(handle), &first);
  close_rx(&rx);
  ck_assert_int_eq(uvch_attach(&second, handle), UV_EBADF);
  drop_sender(&tx);
  support_loop_end(&first);
  support_loop_end(&second);
}
END_TEST

START_TEST(a_receiver_without_a_loop_closes_at_once_and_has_no_close_callback) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  drops_t drops = {.count = 0};

  open_dropping(NULL, &rx, &tx, &drops);
  put(&tx, 4);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, count_close), UV_EINVAL);
  ck_assert_uint_eq(drops.count, 0);
  close_rx(&rx);
  ck_assert_uint_eq(drops.count, 1);
  ck_assert_int_eq(drops.thread, support_thread_number());
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, NULL), UV_EALREADY);
}
END_TEST

START_TEST(the_close_callback_comes_last_and_keeps_the_loop_until_then) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  size_t closes = 0;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  if (_i % 2 == 1) {
    await(&rx, &outcome);
  }
  if (_i / 2 == 1) {
    put(&tx, 1); /* on its way: it never comes */
  }
  rx.data = &closes;
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, count_close), 0);
  ck_assert_uint_eq(closes, 0);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(closes, 1);
  if (_i / 2 == 0) {
    ck_assert_int_eq(try_put(&tx), UV_EPIPE);
  }
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_receiver_that_waits_keeps_its_loop_until_the_outcome) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  support_loop_run(&loop); /* idle it keeps nothing */
  await(&rx, &outcome);
  check_waits(&loop, &outcome.calls);
  ck_assert_int_eq(uv_loop_close(&loop), UV_EBUSY);
  ck_assert_int_eq(uvch_oneshot_recv_stop(&rx), 0);
  support_loop_run(&loop);
  await(&rx, &outcome);
  check_waits(&loop, &outcome.calls);
  if (_i == 0) {
    put(&tx, 9);
  } else {
    drop_sender(&tx);
  }
  support_loop_run(&loop); /* ends though nothing is closed */
  ck_assert_uint_eq(outcome.calls, 1);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

static void on_tick(uv_timer_t* timer) {
  outcome_t* outcome = timer->data;

  if (outcome->calls > 0) {
    uv_close((uv_handle_t*) timer, NULL);
  }
}

START_TEST(an_unreffed_receiver_does_not_keep_its_loop_but_gets_its_value_while_that_runs) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_timer_t timer;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  uvch_unref((uvch_handle_t*) &rx);
  uvch_unref((uvch_handle_t*) &rx);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &rx), 0);
  await(&rx, &outcome);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 1);
  support_loop_run(&loop);
  uvch_ref((uvch_handle_t*) &rx);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &rx), 1);
  check_waits(&loop, &outcome.calls);
  uvch_unref((uvch_handle_t*) &rx);
  put(&tx, 9);
  uv_timer_init(&loop, &timer);
  timer.data = &outcome;
  uv_timer_start(&timer, on_tick, 1, 1);
  support_loop_run(&loop);
  check_value(&outcome, 9);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

typedef struct census_s {
  const uvch_oneshot_receiver_t* rx;
  size_t seen[8];
  size_t others;
} census_t;

static void census_on_handle(uvch_handle_t* handle, void* arg) {
  census_t* census = arg;
  size_t i;

  for (i = 0; i < COUNT(census->seen); i++) {
    if (handle == (const uvch_handle_t*) &census->rx[i]) {
      census->seen[i] += 1;
      support_check_eq(uvch_handle_get_type(handle), UVCH_ONESHOT_RECEIVER);
      if (i == 2) { /* one before, one behind */
        (void) uvch_close((uvch_handle_t*) handle, NULL);
      }
      return;
    }
  }
  census->others += uvch_handle_get_type(handle) == UVCH_MPSC_RECEIVER;
}

START_TEST(walk_and_close_all_know_oneshot_receivers) {
  uvch_oneshot_receiver_t rx[8];
  uvch_oneshot_sender_t tx[8];
  uvch_mpsc_receiver_t many;
  uvch_mpsc_sender_t many_tx;
  drops_t drops = {.count = 0};
  census_t census;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  memset(&census, 0, sizeof(census));
  census.rx = rx;
  for (i = 0; i < COUNT(rx); i++) {
    open_dropping(i % 2 == 0 ? &loop : NULL, &rx[i], &tx[i], &drops);
    if (i % 2 == 1) {
      ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx[i]), 0);
    }
    if (i < 5) {
      put(&tx[i], i);
    }
  }
  ck_assert_int_eq(uvch_mpsc_init(&loop, &many, &many_tx, 8, 4), 0);
  close_rx(&rx[1]);
  uvch_walk(&loop, census_on_handle, &census);
  for (i = 0; i < COUNT(rx); i++) {
    ck_assert_uint_eq(census.seen[i], 1); /* closing ones included */
  }
  ck_assert_uint_eq(census.others, 1);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &rx[2]), 1);
  ck_assert_int_eq(uvch_close_all(&loop), 7);
  ck_assert_int_eq(uvch_close_all(&loop), 0);
  ck_assert_uint_eq(drops.count, 5);
  for (i = 5; i < COUNT(rx); i++) {
    ck_assert_int_eq(try_put(&tx[i]), UV_EPIPE);
  }
  support_drop_sender(&many_tx);
  support_loop_end(&loop);
}
END_TEST

/* The lines that uvch_print_all() prints, and that of a handle by its address. */
static char printed[4096];

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
  fclose(file);
  return lines;
}

static void check_line(const uvch_oneshot_receiver_t* rx, const char* flags) {
  char address[40];
  const char* begin;
  const char* found;

  snprintf(address, sizeof(address), " %p", (const void*) rx);
  found = strstr(printed, address);
  ck_assert_msg(found != NULL, "no line of %s in\n%s", address, printed);
  for (begin = found; begin > printed && begin[-1] != '\n'; begin--) {}
  ck_assert_msg(strncmp(begin, flags, strlen(flags)) == 0, "%s", printed);
  ck_assert_msg(strstr(begin, "oneshot") != NULL && strstr(begin, "oneshot") < found, "%s", printed);
}

START_TEST(each_oneshot_receiver_has_a_line) {
  uvch_oneshot_receiver_t rx[4];
  uvch_oneshot_sender_t tx[4];
  outcome_t outcome;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  for (i = 0; i < COUNT(rx); i++) {
    open_pair(&loop, &rx[i], &tx[i]);
  }
  await(&rx[1], &outcome);
  put(&tx[2], 1);
  uvch_unref((uvch_handle_t*) &rx[2]);
  close_rx(&rx[3]);
  ck_assert_uint_eq(print(&loop), 4);
  check_line(&rx[0], "[R--] ");
  check_line(&rx[1], "[RA-] ");
  check_line(&rx[2], "[---] ");
  check_line(&rx[3], "[R-C] ");
  ck_assert_int_eq(uvch_close_all(&loop), 3);
  drop_sender(&tx[0]);
  drop_sender(&tx[1]);
  drop_sender(&tx[3]);
  support_loop_run(&loop);
  ck_assert_uint_eq(print(&loop), 0);
  support_loop_close(&loop);
}
END_TEST

static void add_callback(Suite* suite) {
  TCase* tcase = support_case(suite, "callback");

  tcase_add_loop_test(tcase, the_value_comes_once_to_the_callback, 0, 2 * KINDS);
  tcase_add_test(tcase, recv_is_refused_without_a_callback_or_when_it_waits_already);
  tcase_add_loop_test(tcase, a_thread_cannot_sleep_on_a_receiver_of_a_loop, ON_LOOP, KINDS);
  tcase_add_loop_test(tcase, recv_stop_loses_nothing, 0, 8);
  tcase_add_loop_test(tcase, stop_and_recv_within_one_pass_bring_the_value_once, 0, 10);
  tcase_add_loop_test(tcase, shutdown_ends_a_receiver_that_waits, 0, 2);
  tcase_add_loop_test(tcase, a_value_that_is_in_survives_a_shutdown, 0, 2);
  add_for_every_size(tcase, in_the_callback_the_outcome_is_taken, 1);
  add_for_every_size(tcase, a_callback_may_close_its_receiver_and_its_value_stays_good, 2);
  add_for_every_size(tcase, a_callback_may_renew_its_receiver_and_its_value_stays_good, 1);
  tcase_add_test(tcase, a_callback_may_run_its_loop_and_the_others_come_in_it_once);
  tcase_add_test(tcase, a_callback_may_close_another_receiver_whose_value_is_due);
  tcase_add_test(tcase, a_drop_function_may_send_and_close_and_run_the_loop);
}

static void add_handles(Suite* suite) {
  TCase* tcase = support_case(suite, "handles");

  tcase_add_test(tcase, attaching_is_once_and_not_after_a_close);
  tcase_add_test(tcase, a_receiver_without_a_loop_closes_at_once_and_has_no_close_callback);
  tcase_add_loop_test(tcase, the_close_callback_comes_last_and_keeps_the_loop_until_then, 0, 4);
  tcase_add_loop_test(tcase, a_receiver_that_waits_keeps_its_loop_until_the_outcome, 0, 2);
  tcase_add_test(tcase, an_unreffed_receiver_does_not_keep_its_loop_but_gets_its_value_while_that_runs);
  tcase_add_test(tcase, walk_and_close_all_know_oneshot_receivers);
  tcase_add_test(tcase, each_oneshot_receiver_has_a_line);
}

int main(void) {
  Suite* suite = suite_create("oneshot_loop");

  add_callback(suite);
  add_handles(suite);
  return support_main(suite);
}
