/* SPDX-License-Identifier: MIT
 *
 * Oneshot channels: the table of states, making, sending, renewing, and what is refused. */
#include "oneshot_support.h"

/* The table of states. */

enum { FRESH, SENT, SENT_SHUT, GIVEN_UP, SHUT, TOOK_VALUE, TOOK_END_GIVEN_UP, TOOK_END_SHUT, STATES };

enum { WAITS = 2, REFUSED = 3 };

typedef struct state_s {
  int take; /* try_recv */
  int come; /* recv's callback */
  int send;
  int empty;
  int terminated;
  int closed; /* what the sender is told */
} state_t;

static const state_t table[STATES] = {
    [FRESH] = {UV_EAGAIN, WAITS, 0, 1, 0, 0},
    [SENT] = {0, 0, UV_EBADF, 0, 0, 1},
    [SENT_SHUT] = {0, 0, UV_EBADF, 0, 0, 1},
    [GIVEN_UP] = {UV_EOF, UV_EOF, UV_EBADF, 1, 0, 1},
    [SHUT] = {UV_EOF, UV_EOF, UV_EPIPE, 1, 0, 1},
    [TOOK_VALUE] = {UV_EOF, REFUSED, UV_EBADF, 1, 1, 1},
    [TOOK_END_GIVEN_UP] = {UV_EOF, REFUSED, UV_EBADF, 1, 1, 1},
    [TOOK_END_SHUT] = {UV_EOF, REFUSED, UV_EPIPE, 1, 1, 1},
};

#define STATE (_i % STATES)
#define KIND (_i / STATES)
#define add_for_every_state(tcase, test) tcase_add_loop_test(tcase, test, 0, STATES * KINDS)
#define add_for_every_kind(tcase, test) tcase_add_loop_test(tcase, test, 0, KINDS)

static void reach(int state, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx) {
  if (state == SENT || state == SENT_SHUT || state == TOOK_VALUE) {
    put(tx, 77);
  }
  if (state == GIVEN_UP || state == TOOK_END_GIVEN_UP) {
    drop_sender(tx);
  }
  if (state == SHUT || state == SENT_SHUT || state == TOOK_END_SHUT) {
    ck_assert_int_eq(uvch_oneshot_recv_shutdown(rx), 0);
  }
  if (state == TOOK_VALUE) {
    ck_assert_uint_eq(take(rx), 77);
  } else if (state == TOOK_END_GIVEN_UP || state == TOOK_END_SHUT) {
    ck_assert_int_eq(try_take(rx), UV_EOF);
  }
}

static void check_state(const state_t* state, const uvch_oneshot_receiver_t* rx, const uvch_oneshot_sender_t* tx) {
  ck_assert_int_eq(uvch_oneshot_receiver_is_empty(rx), state->empty);
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(rx), state->terminated);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(tx), state->closed);
}

typedef struct pair_s {
  uv_loop_t loop;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  drops_t drops;
} pair_t;

static void pair_begin(pair_t* pair, int state, int kind) {
  support_loop_init(&pair->loop);
  open_kind(kind, &pair->loop, &pair->rx, &pair->tx, &pair->drops);
  reach(state, &pair->rx, &pair->tx);
  check_state(&table[state], &pair->rx, &pair->tx);
}

/* A sender that was not used up may still be there. */
static void pair_end(pair_t* pair, size_t dropped) {
  int answer;

  close_rx(&pair->rx);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&pair->tx), 1);
  answer = uvch_oneshot_sender_close(&pair->tx);
  ck_assert(answer == 0 || answer == UV_EBADF);
  ck_assert_uint_eq(pair->drops.count, dropped);
  support_loop_end(&pair->loop);
  ck_assert_uint_eq(pair->drops.count, dropped);
}

START_TEST(every_state_answers_try_recv_as_the_table_says) {
  uint64_t value = 5;
  pair_t pair;
  int i;

  pair_begin(&pair, STATE, KIND);
  ck_assert_int_eq(uvch_oneshot_try_recv(&pair.rx, &value), table[STATE].take);
  ck_assert_uint_eq(value, table[STATE].take == 0 ? 77 : 5);
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&pair.rx), STATE != FRESH); /* UV_EAGAIN is no outcome */
  ck_assert_int_eq(uvch_oneshot_receiver_is_empty(&pair.rx), 1);
  for (i = 0; i < 3; i++) { /* the end comes every time */
    ck_assert_int_eq(try_take(&pair.rx), STATE == FRESH ? UV_EAGAIN : UV_EOF);
  }
  pair_end(&pair, 0);
}
END_TEST

START_TEST(every_state_answers_recv_as_the_table_says) {
  outcome_t outcome;
  pair_t pair;

  pair_begin(&pair, STATE, KIND);
  if (KIND == PLAIN) { /* a callback needs a loop */
    ck_assert_int_eq(uvch_oneshot_recv(&pair.rx, never), UV_EINVAL);
    check_state(&table[STATE], &pair.rx, &pair.tx);
    pair_end(&pair, STATE == SENT || STATE == SENT_SHUT);
    return;
  }
  if (table[STATE].come == REFUSED) {
    ck_assert_int_eq(uvch_oneshot_recv(&pair.rx, never), UV_EOF);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &pair.rx), 0);
    pair_end(&pair, 0);
    return;
  }
  await(&pair.rx, &outcome);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &pair.rx), 1);
  check_state(&table[STATE], &pair.rx, &pair.tx); /* not taken before the callback */
  turn(&pair.loop);
  ck_assert_uint_eq(outcome.calls, table[STATE].come != WAITS);
  if (outcome.calls > 0) {
    ck_assert_int_eq(outcome.status, table[STATE].come);
    ck_assert_uint_eq(outcome.value, outcome.status == 0 ? 77 : 0);
    turn(&pair.loop); /* and not again */
    ck_assert_uint_eq(outcome.calls, 1);
  }
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &pair.rx), table[STATE].come == WAITS);
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&pair.rx), table[STATE].come != WAITS);
  pair_end(&pair, 0);
}
END_TEST

START_TEST(every_state_answers_a_send_as_the_table_says) {
  uint64_t value = 78;
  pair_t pair;

  pair_begin(&pair, STATE, KIND);
  ck_assert_int_eq(uvch_oneshot_send(&pair.tx, &value), table[STATE].send);
  ck_assert_uint_eq(value, 78);
  ck_assert_int_eq(uvch_oneshot_send(&pair.tx, &value), UV_EBADF); /* an error uses it up, too */
  ck_assert_int_eq(uvch_oneshot_sender_close(&pair.tx), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&pair.tx), 1);
  if (STATE == FRESH) {
    ck_assert_uint_eq(take(&pair.rx), 78);
  } else if (STATE == SENT || STATE == SENT_SHUT) { /* what is in stays what it was */
    ck_assert_uint_eq(take(&pair.rx), 77);
  } else {
    ck_assert_int_eq(try_take(&pair.rx), UV_EOF);
  }
  pair_end(&pair, 0);
}
END_TEST

START_TEST(every_state_answers_a_thread_that_waits_as_the_table_says) {
  static const uint64_t times[] = {0, 1, UINT64_MAX - 1, UINT64_MAX};
  uint64_t value = 5;
  pair_t pair;
  size_t i;

  for (i = 0; i <= COUNT(times); i++) {
    pair_begin(&pair, STATE, PLAIN);
    if (STATE == FRESH) { /* that one would wait */
      ck_assert_int_eq(uvch_oneshot_recv_timedwait(&pair.rx, &value, i % 2), UV_ETIMEDOUT);
      check_state(&table[FRESH], &pair.rx, &pair.tx);
      put(&pair.tx, 77);
      ck_assert_uint_eq(take(&pair.rx), 77);
    } else {
      ck_assert_int_eq(
          i < COUNT(times) ? uvch_oneshot_recv_timedwait(&pair.rx, &value, times[i]) : uvch_oneshot_recv_wait(&pair.rx, &value),
          table[STATE].take);
      ck_assert_uint_eq(value, table[STATE].take == 0 ? 77 : 5);
      ck_assert_int_eq(uvch_oneshot_recv_wait(&pair.rx, &value), UV_EOF);
      ck_assert_int_eq(uvch_oneshot_recv_timedwait(&pair.rx, &value, 0), UV_EOF);
      ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&pair.rx), 1);
    }
    value = 5;
    pair_end(&pair, 0);
  }
}
END_TEST

START_TEST(shutting_down_again_or_after_the_outcome_changes_nothing) {
  state_t want = table[STATE];
  pair_t pair;

  pair_begin(&pair, STATE, KIND);
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&pair.rx), 0);
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&pair.rx), 0);
  if (STATE == FRESH) {
    want = table[SHUT];
  }
  check_state(&want, &pair.rx, &pair.tx);
  ck_assert_int_eq(try_take(&pair.rx), want.take);
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&pair.rx), 0);
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&pair.rx), 1);
  ck_assert_int_eq(try_take(&pair.rx), UV_EOF);
  pair_end(&pair, 0);
}
END_TEST

START_TEST(a_receiver_closed_in_any_state_drops_what_was_not_taken_and_nothing_else) {
  size_t dropped = STATE == SENT || STATE == SENT_SHUT;
  uint64_t value = 78;
  pair_t pair;
  int send = table[STATE].send == UV_EBADF ? UV_EBADF : UV_EPIPE;

  pair_begin(&pair, STATE, KIND);
  close_rx(&pair.rx);
  ck_assert_uint_eq(pair.drops.count, dropped); /* before the close returns */
  ck_assert_uint_eq(pair.drops.last, dropped * 77);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&pair.tx), 1);
  ck_assert_int_eq(uvch_oneshot_send(&pair.tx, &value), send);
  ck_assert_int_eq(uvch_oneshot_send(&pair.tx, &value), UV_EBADF);
  ck_assert_uint_eq(value, 78);
  ck_assert_uint_eq(pair.drops.count, dropped);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &pair.rx, NULL), UV_EALREADY);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &pair.rx), 1);
  support_loop_end(&pair.loop);
  ck_assert_uint_eq(pair.drops.count, dropped);
}
END_TEST

START_TEST(a_closed_receiver_answers_every_call_and_changes_nothing) {
  uvch_oneshot_sender_t fresh;
  uvch_oneshot_sender_t before;
  uint64_t value = 5;
  pair_t pair;

  pair_begin(&pair, STATE, KIND);
  close_rx(&pair.rx);
  memset(&fresh, 0x5a, sizeof(fresh));
  before = fresh;
  ck_assert_int_eq(uvch_oneshot_recv(&pair.rx, never), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_recv_stop(&pair.rx), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&pair.rx), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_try_recv(&pair.rx, &value), UV_EBADF);
  if (KIND == PLAIN) {
    ck_assert_int_eq(uvch_oneshot_recv_wait(&pair.rx, &value), UV_EBADF);
    ck_assert_int_eq(uvch_oneshot_recv_timedwait(&pair.rx, &value, 0), UV_EBADF);
    ck_assert_int_eq(uvch_attach(&pair.loop, (uvch_handle_t*) &pair.rx), UV_EBADF);
  }
  ck_assert_int_eq(uvch_oneshot_renew(&pair.rx, &fresh), UV_EBADF);
  ck_assert_mem_eq(&fresh, &before, sizeof(fresh));
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&pair.rx), 1);
  ck_assert_int_eq(uvch_oneshot_receiver_is_empty(&pair.rx), 1);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &pair.rx), 0);
  ck_assert_uint_eq(value, 5);
  (void) uvch_oneshot_sender_close(&pair.tx);
  support_loop_end(&pair.loop);
}
END_TEST

START_TEST(a_receiver_attached_in_any_state_goes_on_from_it) {
  outcome_t outcome;
  pair_t pair;

  pair_begin(&pair, _i, PLAIN);
  ck_assert_int_eq(uvch_attach(&pair.loop, (uvch_handle_t*) &pair.rx), 0);
  check_state(&table[_i], &pair.rx, &pair.tx);
  if (table[_i].come == REFUSED) {
    ck_assert_int_eq(uvch_oneshot_recv(&pair.rx, never), UV_EOF);
  } else {
    await(&pair.rx, &outcome);
    if (table[_i].come == WAITS) {
      check_waits(&pair.loop, &outcome.calls);
      put(&pair.tx, 77);
    }
    support_loop_run(&pair.loop);
    ck_assert_int_eq(outcome.status, table[_i].come == WAITS ? 0 : table[_i].come);
    ck_assert_uint_eq(outcome.calls, 1);
  }
  pair_end(&pair, 0);
}
END_TEST

/* Making. */

START_TEST(making_one_refuses_what_it_cannot_be_and_leaves_both_ends_alone) {
  unsigned char before[sizeof(uvch_oneshot_receiver_t)];
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  memset(before, 0x5a, sizeof(before));
  memset(&rx, 0x5a, sizeof(rx));
  memset(&tx, 0x5a, sizeof(tx));
  for (i = 0; i < 2; i++) {
    uv_loop_t* where = i == 0 ? NULL : &loop;

    ck_assert_int_eq(uvch_oneshot_init(where, NULL, &tx, 8), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_init(where, &rx, NULL, 8), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_init(where, &rx, &tx, UVCH_ONESHOT_ITEM_MAX + 1), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_init(where, &rx, &tx, SIZE_MAX), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_init_ex(where, NULL, &tx, 8, NULL), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_init_ex(where, &rx, NULL, 8, NULL), UV_EINVAL);
    support_alloc_fail_from(1);
    ck_assert_int_eq(uvch_oneshot_init(where, &rx, &tx, UVCH_ONESHOT_ITEM_MAX), UV_ENOMEM); /* not too large, that is */
    ck_assert_int_eq(uvch_oneshot_init(where, &rx, &tx, 0), UV_ENOMEM);
    support_alloc_fail_from(0);
  }
  ck_assert_mem_eq(&rx, before, sizeof(rx));
  ck_assert_mem_eq(&tx, before, sizeof(tx));
  support_loop_end(&loop);
}
END_TEST

START_TEST(making_one_without_options_is_as_plain_as_with_none_set) {
  uvch_oneshot_options_t options;
  uvch_oneshot_receiver_t rx[2];
  uvch_oneshot_sender_t tx[2];
  uint64_t value = 9;
  size_t i;

  memset(&options, 0, sizeof(options));
  for (i = 0; i < 2; i++) {
    ck_assert_int_eq(uvch_oneshot_init_ex(NULL, &rx[i], &tx[i], sizeof(value), i == 0 ? NULL : &options), 0);
    ck_assert_ptr_null(uvch_handle_get_loop((uvch_handle_t*) &rx[i]));
    ck_assert_int_eq(uvch_handle_get_type((uvch_handle_t*) &rx[i]), UVCH_ONESHOT_RECEIVER);
    put(&tx[i], value);
    close_rx(&rx[i]); /* without a drop function the value just goes */
  }
}
END_TEST

START_TEST(the_handle_of_a_new_receiver_tells_what_it_is) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uv_loop_t loop;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;
  int mark;

  support_loop_init(&loop);
  memset(&rx, 0xa5, sizeof(rx));
  rx.data = &mark;
  open_pair(&loop, &rx, &tx);
  ck_assert_ptr_eq(uvch_handle_get_loop(handle), &loop);
  ck_assert_int_eq(uvch_handle_get_type(handle), UVCH_ONESHOT_RECEIVER);
  ck_assert_int_eq(uvch_has_ref(handle), 1);
  ck_assert_int_eq(uvch_is_active(handle), 0);
  ck_assert_int_eq(uvch_is_closing(handle), 0);
  uvch_handle_set_data(handle, &mark);
  ck_assert_ptr_eq(uvch_handle_get_data(handle), &mark);
  drop_sender(&tx);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(null_and_what_is_no_oneshot_receiver_are_refused) {
  union {
    uvch_oneshot_receiver_t one;
    uvch_mpsc_receiver_t many;
  } rx;
  uvch_mpsc_sender_t other;
  uvch_oneshot_sender_t tx;
  uint64_t value = 5;
  int i;

  for (i = 0; i < 3; i++) {
    uvch_oneshot_receiver_t* what = i == 0 ? NULL : &rx.one;

    memset(&rx, 0, sizeof(rx)); /* the second time it is no handle at all */
    if (i == 2) {
      ck_assert_int_eq(uvch_mpsc_init(NULL, &rx.many, &other, sizeof(value), 4), 0);
    }
    ck_assert_int_eq(uvch_oneshot_recv(what, never), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_recv_stop(what), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_recv_shutdown(what), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_try_recv(what, &value), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_recv_wait(what, &value), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_recv_timedwait(what, &value, 0), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_renew(what, &tx), UV_EINVAL);
    ck_assert_int_eq(uvch_oneshot_receiver_is_empty(what), 1);
  }
  support_put(&other, 6); /* no harm done */
  ck_assert_uint_eq(support_take(&rx.many), 6);
  support_drop_sender(&other);
  support_close(&rx.many);
  ck_assert_uint_eq(value, 5);
}
END_TEST

START_TEST(the_calls_of_other_channels_refuse_a_oneshot_receiver) {
  union {
    uvch_oneshot_receiver_t one;
    uvch_mpsc_receiver_t many;
  } rx;
  uvch_oneshot_sender_t tx;
  uint64_t value = 5;

  memset(&rx, 0, sizeof(rx));
  open_pair(NULL, &rx.one, &tx);
  put(&tx, 6);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx.many, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx.many, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx.many), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx.many), UV_EINVAL);
  ck_assert_uint_eq(value, 5);
  ck_assert_uint_eq(take(&rx.one), 6);
  close_rx(&rx.one);
}
END_TEST

START_TEST(null_senders_and_values_are_refused_and_use_nothing_up) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uint64_t value = 5;

  open_pair(NULL, &rx, &tx);
  ck_assert_int_eq(uvch_oneshot_send(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_send(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_sender_close(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(NULL), 1);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&tx), 0);
  put(&tx, 6);
  ck_assert_int_eq(uvch_oneshot_try_recv(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_recv_wait(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_recv_timedwait(&rx, NULL, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&rx), 0);
  ck_assert_uint_eq(take(&rx), 6);
  ck_assert_int_eq(uvch_oneshot_renew(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(try_take(&rx), UV_EOF);
  close_rx(&rx);
}
END_TEST

START_TEST(a_sender_may_be_moved_also_inside_a_value) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_receiver_t way;
  uvch_oneshot_sender_t tx;
  uvch_oneshot_sender_t way_tx;
  uvch_oneshot_sender_t moved;

  open_pair(NULL, &rx, &tx);
  ck_assert_int_eq(uvch_oneshot_init(NULL, &way, &way_tx, sizeof(tx)), 0);
  ck_assert_int_eq(uvch_oneshot_send(&way_tx, &tx), 0);
  memset(&tx, 0, sizeof(tx));
  ck_assert_int_eq(uvch_oneshot_try_recv(&way, &moved), 0);
  put(&moved, 8);
  ck_assert_uint_eq(take(&rx), 8);
  close_rx(&rx);
  close_rx(&way);
}
END_TEST

/* Values of many sizes. */

static const size_t sizes[] = {0, 1, 2, 3, 4, 8, 12, 16, 17, 24, 32, 48, 100, 4096, 65536, 100001};

#define SIZE (sizes[_i / KINDS])
#define SIZE_KIND (_i % KINDS)

typedef struct blob_s {
  size_t size;
  size_t calls;
  size_t dropped;
} blob_t;

static void blob_on_recv(uvch_oneshot_receiver_t* rx, int status, void* item) {
  blob_t* blob = rx->data;

  support_check_eq(status, 0);
  check_blob(item, blob->size);
  blob->calls += 1;
}

static void blob_on_drop(void* item, void* arg) {
  blob_t* blob = arg;

  check_blob(item, blob->size);
  blob->dropped += 1;
}

/* Taken at `to` it must be whole, and nothing around it be touched. */
static void take_blob(uvch_oneshot_receiver_t* rx, unsigned char* to, size_t size, bool wait) {
  memset(to - 1, 0x77, size + 2);
  ck_assert_int_eq(wait ? uvch_oneshot_recv_wait(rx, to) : uvch_oneshot_try_recv(rx, to), 0);
  ck_assert_uint_eq(to[-1], 0x77);
  ck_assert_uint_eq(to[size], 0x77);
  to[-1] = 0;
}

START_TEST(a_value_of_any_size_comes_whole_and_aligned) {
  enum { BY_TRY, BY_CALLBACK_OR_WAIT, BY_DROP, WAYS };
  unsigned char* bytes = malloc(SIZE + 32);
  unsigned char* copy = malloc(SIZE + 32);
  uvch_oneshot_options_t options;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  blob_t blob = {.size = SIZE};
  uv_loop_t loop;
  int way;

  ck_assert(bytes != NULL && copy != NULL);
  support_loop_init(&loop);
  memset(&options, 0, sizeof(options));
  options.drop = blob_on_drop;
  options.arg = &blob;
  for (way = 0; way < WAYS; way++) {
    ck_assert_int_eq(uvch_oneshot_init_ex(SIZE_KIND == ON_LOOP ? &loop : NULL, &rx, &tx, SIZE, &options), 0);
    if (SIZE_KIND == ATTACHED) {
      ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), 0);
    }
    rx.data = &blob;
    fill(bytes + 1, SIZE); /* from an odd address */
    ck_assert_int_eq(uvch_oneshot_send(&tx, bytes + 1), 0);
    memset(bytes, 0xee, SIZE + 2);
    if (way == BY_CALLBACK_OR_WAIT && SIZE_KIND != PLAIN) {
      ck_assert_int_eq(uvch_oneshot_recv(&rx, blob_on_recv), 0);
      support_loop_run(&loop);
    } else if (way != BY_DROP) {
      take_blob(&rx, copy + 16, SIZE, way == BY_CALLBACK_OR_WAIT);
      check_blob(copy + 16, SIZE);
    }
    close_rx(&rx);
    support_loop_run(&loop);
  }
  ck_assert_uint_eq(blob.calls, SIZE_KIND != PLAIN);
  ck_assert_uint_eq(blob.dropped, 1);
  free(bytes);
  free(copy);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_value_of_size_0_needs_no_place) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  int i;

  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(uvch_oneshot_init(NULL, &rx, &tx, 0), 0);
    ck_assert_int_eq(uvch_oneshot_receiver_is_empty(&rx), 1);
    ck_assert_int_eq(uvch_oneshot_try_recv(&rx, NULL), UV_EAGAIN);
    ck_assert_int_eq(uvch_oneshot_send(&tx, NULL), 0);
    ck_assert_int_eq(uvch_oneshot_receiver_is_empty(&rx), 0);
    ck_assert_int_eq(i == 0   ? uvch_oneshot_try_recv(&rx, NULL)
                     : i == 1 ? uvch_oneshot_recv_wait(&rx, NULL)
                              : uvch_oneshot_recv_timedwait(&rx, NULL, 0),
                     0);
    ck_assert_int_eq(uvch_oneshot_try_recv(&rx, NULL), UV_EOF);
    close_rx(&rx);
  }
}
END_TEST

/* Sending. */

START_TEST(a_send_uses_the_sender_up) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;

  open_pair(NULL, &rx, &tx);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&tx), 0);
  put(&tx, 1);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&tx), 1);
  ck_assert_int_eq(try_put(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_sender_close(&tx), UV_EBADF);
  ck_assert_uint_eq(take(&rx), 1);
  ck_assert_int_eq(try_take(&rx), UV_EOF);
  close_rx(&rx);
}
END_TEST

START_TEST(a_send_says_the_receiver_is_gone_and_gives_the_value_back) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uint64_t value = 42;
  uv_loop_t loop;
  drops_t drops;

  support_loop_init(&loop);
  open_kind(_i / 2, &loop, &rx, &tx, &drops);
  if (_i % 2 == 0) {
    ck_assert_int_eq(uvch_oneshot_recv_shutdown(&rx), 0);
  } else {
    close_rx(&rx);
  }
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&tx), 1);
  ck_assert_int_eq(uvch_oneshot_send(&tx, &value), UV_EPIPE);
  ck_assert_uint_eq(value, 42);
  ck_assert_int_eq(uvch_oneshot_send(&tx, &value), UV_EBADF);
  if (_i % 2 == 0) {
    close_rx(&rx);
  }
  support_loop_end(&loop);
  ck_assert_uint_eq(drops.count, 0); /* it was never the channel's */
}
END_TEST

START_TEST(a_send_takes_no_memory) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(_i == 0 ? NULL : &loop, &rx, &tx);
  if (_i == 1) {
    await(&rx, &outcome);
    turn(&loop);
  }
  support_alloc_mark();
  support_alloc_fail_from(1);
  put(&tx, 4);
  if (_i == 0) {
    ck_assert_uint_eq(take(&rx), 4);
  } else {
    support_loop_run(&loop);
    check_value(&outcome, 4);
  }
  close_rx(&rx);
  support_alloc_fail_from(0);
  ck_assert_uint_eq(support_alloc_calls(), 0);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_sender_closed_without_a_send_ends_the_wait) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(&loop, &rx, &tx);
  await(&rx, &outcome);
  check_waits(&loop, &outcome.calls);
  drop_sender(&tx);
  ck_assert_int_eq(uvch_oneshot_sender_close(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&rx), 0); /* not yet taken */
  support_loop_run(&loop);
  check_end(&outcome);
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&rx), 1);
  ck_assert_int_eq(uvch_oneshot_recv(&rx, never), UV_EOF);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Again with the same receiver. */

START_TEST(renew_is_for_receivers_that_had_their_outcome) {
  uvch_oneshot_sender_t fresh;
  uvch_oneshot_sender_t before;
  outcome_t outcome;
  pair_t pair;

  pair_begin(&pair, STATE, KIND);
  memset(&fresh, 0x5a, sizeof(fresh));
  before = fresh;
  if (!table[STATE].terminated) {
    ck_assert_int_eq(uvch_oneshot_renew(&pair.rx, &fresh), UV_EBUSY);
    ck_assert_mem_eq(&fresh, &before, sizeof(fresh));
    check_state(&table[STATE], &pair.rx, &pair.tx);
    if (KIND != PLAIN) {
      await(&pair.rx, &outcome);
      ck_assert_int_eq(uvch_oneshot_renew(&pair.rx, &fresh), UV_EBUSY);
    }
    pair_end(&pair, STATE == SENT || STATE == SENT_SHUT);
    return;
  }
  ck_assert_int_eq(uvch_oneshot_renew(&pair.rx, &fresh), 0);
  check_state(&table[FRESH], &pair.rx, &fresh);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&pair.tx), 1);
  ck_assert_int_eq(try_put(&pair.tx), table[STATE].send); /* the old one is as it was */
  check_state(&table[FRESH], &pair.rx, &fresh);
  put(&fresh, 79);
  check_state(&table[SENT], &pair.rx, &fresh);
  if (KIND == PLAIN) {
    ck_assert_uint_eq(take(&pair.rx), 79);
  } else {
    await(&pair.rx, &outcome);
    support_loop_run(&pair.loop);
    check_value(&outcome, 79);
  }
  pair_end(&pair, 0);
}
END_TEST

START_TEST(a_renewed_receiver_has_its_size_and_its_drop_function_still) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uint64_t value = 0;
  uv_loop_t loop;
  drops_t drops;
  uint64_t i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, &drops);
  for (i = 0; i < 5; i++) {
    put(&tx, i);
    ck_assert_int_eq(uvch_oneshot_try_recv(&rx, &value), 0);
    ck_assert_uint_eq(value, i);
    ck_assert_int_eq(uvch_oneshot_renew(&rx, &tx), 0);
  }
  put(&tx, 99);
  ck_assert_uint_eq(drops.count, 0);
  close_rx(&rx);
  ck_assert_uint_eq(drops.count, 1);
  ck_assert_uint_eq(drops.last, 99);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_sender_of_before_lives_beside_those_of_renewed_channels) {
  uvch_oneshot_sender_t old[5];
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uv_loop_t loop;
  drops_t drops;
  size_t i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, &drops);
  for (i = 0; i < COUNT(old); i++) {
    ck_assert_int_eq(uvch_oneshot_recv_shutdown(&rx), 0);
    ck_assert_int_eq(try_take(&rx), UV_EOF);
    old[i] = tx;
    ck_assert_int_eq(uvch_oneshot_renew(&rx, &tx), 0);
    ck_assert_int_eq(uvch_oneshot_sender_is_closed(&old[i]), 1);
    ck_assert_int_eq(uvch_oneshot_sender_is_closed(&tx), 0);
  }
  ck_assert_int_eq(try_put(&old[1]), UV_EPIPE);
  drop_sender(&old[2]);
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN); /* nothing to the new one */
  put(&tx, 8);
  ck_assert_int_eq(try_put(&old[0]), UV_EPIPE);
  ck_assert_uint_eq(drops.count, 0);
  close_rx(&rx);
  ck_assert_uint_eq(drops.count, 1); /* still with its drop function */
  ck_assert_uint_eq(drops.last, 8);
  ck_assert_int_eq(try_put(&old[3]), UV_EPIPE);
  support_loop_end(&loop);
  ck_assert_int_eq(try_put(&old[4]), UV_EPIPE);
  ck_assert_uint_eq(drops.count, 1);
}
END_TEST

static void add_states(Suite* suite) {
  TCase* tcase = support_case(suite, "states");

  add_for_every_state(tcase, every_state_answers_try_recv_as_the_table_says);
  add_for_every_state(tcase, every_state_answers_recv_as_the_table_says);
  add_for_every_state(tcase, every_state_answers_a_send_as_the_table_says);
  tcase_add_loop_test(tcase, every_state_answers_a_thread_that_waits_as_the_table_says, 0, STATES);
  add_for_every_state(tcase, shutting_down_again_or_after_the_outcome_changes_nothing);
  add_for_every_state(tcase, a_receiver_closed_in_any_state_drops_what_was_not_taken_and_nothing_else);
  add_for_every_state(tcase, a_closed_receiver_answers_every_call_and_changes_nothing);
  tcase_add_loop_test(tcase, a_receiver_attached_in_any_state_goes_on_from_it, 0, STATES);
}

static void add_making(Suite* suite) {
  TCase* tcase = support_case(suite, "making");

  tcase_add_test(tcase, making_one_refuses_what_it_cannot_be_and_leaves_both_ends_alone);
  tcase_add_test(tcase, making_one_without_options_is_as_plain_as_with_none_set);
  tcase_add_test(tcase, the_handle_of_a_new_receiver_tells_what_it_is);
  tcase_add_test(tcase, null_and_what_is_no_oneshot_receiver_are_refused);
  tcase_add_test(tcase, the_calls_of_other_channels_refuse_a_oneshot_receiver);
  tcase_add_test(tcase, null_senders_and_values_are_refused_and_use_nothing_up);
  tcase_add_test(tcase, a_sender_may_be_moved_also_inside_a_value);
  tcase_add_loop_test(tcase, a_value_of_any_size_comes_whole_and_aligned, 0, KINDS * (int) COUNT(sizes));
  tcase_add_test(tcase, a_value_of_size_0_needs_no_place);
}

static void add_sending(Suite* suite) {
  TCase* tcase = support_case(suite, "sending");

  tcase_add_test(tcase, a_send_uses_the_sender_up);
  tcase_add_loop_test(tcase, a_send_says_the_receiver_is_gone_and_gives_the_value_back, 0, 2 * KINDS);
  tcase_add_loop_test(tcase, a_send_takes_no_memory, 0, 2);
  tcase_add_test(tcase, a_sender_closed_without_a_send_ends_the_wait);
}

static void add_renew(Suite* suite) {
  TCase* tcase = support_case(suite, "renew");

  add_for_every_state(tcase, renew_is_for_receivers_that_had_their_outcome);
  add_for_every_kind(tcase, a_renewed_receiver_has_its_size_and_its_drop_function_still);
  add_for_every_kind(tcase, a_sender_of_before_lives_beside_those_of_renewed_channels);
}

int main(void) {
  Suite* suite = suite_create("oneshot");

  add_states(suite);
  add_making(suite);
  add_sending(suite);
  add_renew(suite);
  return support_main(suite);
}
