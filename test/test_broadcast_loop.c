/* SPDX-License-Identifier: MIT
 *
 * Broadcast receivers on loops: the fan-out, start and stop, batches, what callbacks may do, the budget, handles, and how many
 * wake-ups a burst costs. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <stdio.h>

#include "wake.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BATCH_MAX 64       /* most messages in one callback */
#define PASS_MESSAGES 1024 /* the budget that a loop has to begin with */
#define NO_TIME_BUDGET UINT64_C(1000000000000)

/* A receiver and what it got. Messages are their own numbers: 0, 1, 2 ... */

typedef struct sink_s sink_t;
typedef void (*act_cb)(sink_t* sink, uint64_t value);

struct sink_s {
  uvch_broadcast_receiver_t rx;
  size_t max;      /* of a batch; 0: the plain form */
  uint64_t next;   /* the message that is due */
  size_t count;    /* messages */
  size_t calls;    /* callbacks with messages */
  size_t largest;  /* batch */
  uint64_t missed; /* in all gaps */
  size_t gaps;
  size_t ends;
  bool closed;
  size_t closes;
  act_cb act; /* what it does about each message */
  void* play;
};

static void sink_message(sink_t* sink, const void* item) {
  uint64_t value;

  memcpy(&value, item, sizeof(value));
  support_check_eq((uintptr_t) item % _Alignof(uint64_t), 0);
  support_check_eq(value, sink->next);
  sink->next += 1;
  sink->count += 1;
  if (sink->act != NULL) {
    sink->act(sink, value);
  }
  support_check_eq(memcmp(item, &value, sizeof(value)), 0); /* still good */
}

static void sink_gap(sink_t* sink, int missed) {
  support_check_eq(uvch_broadcast_receiver_missed(&sink->rx), missed);
  sink->gaps += 1;
  sink->missed += (uint64_t) missed;
  sink->next += (uint64_t) missed;
}

static void sink_rest(sink_t* sink, int status) {
  if (status > 0) {
    sink_gap(sink, status);
    return;
  }
  support_check_eq(status, UV_EOF);
  support_check_eq(uvch_is_active((uvch_handle_t*) &sink->rx), 0);
  sink->ends += 1;
}

static void sink_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  sink_t* sink = rx->data;

  support_check(!sink->closed);
  support_check_eq(sink->max, 0);
  support_check((status == 0) == (item != NULL));
  if (status == 0) {
    sink->calls += 1;
    sink_message(sink, item);
  } else {
    sink_rest(sink, status);
  }
}

static void sink_batch(sink_t* sink, const char* first, size_t stride, size_t count) {
  uint64_t begin = sink->next;
  uint64_t value;
  size_t i;

  support_check(count >= 1 && count <= sink->max && count <= BATCH_MAX && stride >= sizeof(uint64_t));
  sink->calls += 1;
  sink->largest = count > sink->largest ? count : sink->largest;
  for (i = 0; i < count; i++) {
    memcpy(&value, first + i * stride, sizeof(value));
    support_check_eq(value, begin + i);
  }
  sink->next += count; /* all of them are read, whatever happens now */
  sink->count += count;
  for (i = 0; i < count && sink->act != NULL; i++) {
    sink->act(sink, begin + i);
  }
  for (i = 0; i < count; i++) {
    memcpy(&value, first + i * stride, sizeof(value));
    support_check_eq(value, begin + i);
  }
}

static void sink_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  sink_t* sink = rx->data;

  support_check(!sink->closed);
  support_check((status == 0) == (first != NULL));
  if (status == 0) {
    sink_batch(sink, first, stride, count);
  } else {
    support_check_eq(count, 0);
    sink_rest(sink, status);
  }
}

static void sink_start(sink_t* sink) {
  if (sink->max == 0) {
    support_check_eq(uvch_broadcast_recv_start(&sink->rx, sink_cb), 0);
  } else {
    support_check_eq(uvch_broadcast_recv_many_start(&sink->rx, sink->max, sink_many_cb), 0);
  }
}

static void sink_stop(sink_t* sink) {
  support_check_eq(uvch_broadcast_recv_stop(&sink->rx), 0);
}

static void sink_on_close(uvch_handle_t* handle) {
  sink_t* sink = handle->data;

  support_check(sink->closed);
  sink->closes += 1;
}

static void sink_close(sink_t* sink) {
  sink->closed = true;
  support_check_eq(uvch_close((uvch_handle_t*) &sink->rx, sink_on_close), 0);
}

/* Set to 0 all but the receiver, which is garbage that the library must not look at. */
static void sink_clear(sink_t* sink, size_t max) {
  memset(sink, 0, sizeof(*sink));
  memset(&sink->rx, 0xa5, sizeof(sink->rx));
  sink->max = max;
}

static void sink_subscribe(sink_t* sink, uv_loop_t* loop, const uvch_broadcast_sender_t* tx, uint64_t next) {
  sink_clear(sink, sink->max);
  support_check_eq(uvch_broadcast_subscribe(loop, &sink->rx, tx), 0);
  sink->rx.data = sink;
  sink->next = next;
}

/* The forms of a receiver: the plain one, and batches of at most `max`; the channel of some has functions for its messages, which
 * makes it keep them in another way. */
typedef struct form_s {
  size_t max;
  bool owns;
} form_t;

static const form_t forms[] = {{0, false},    {1, false}, {3, false}, {64, false},
                               {1000, false}, {0, true},  {3, true},  {1000, true}};
#define FORM (&forms[_i % (int) COUNT(forms)])
#define BATCH (FORM->max == 0 ? 1 : FORM->max < BATCH_MAX ? FORM->max : BATCH_MAX)
#define VARIANT ((size_t) _i / COUNT(forms))
#define add_for_every_form(tcase, test, variants) tcase_add_loop_test(tcase, test, 0, (int) (COUNT(forms) * (size_t) (variants)))

static int copy_number(void* to, const void* from, void* arg) {
  (void) arg;
  memcpy(to, from, sizeof(uint64_t));
  return 0;
}

static void count_drop(void* item, void* arg) {
  size_t* dropped = arg;

  support_check(item != NULL);
  *dropped += 1;
}

/* Without a receiver. `dropped` counts the messages that have ended, if they own something. */
static void open_sender(uvch_broadcast_sender_t* tx, size_t capacity, uvch_broadcast_policy policy, const form_t* form,
                        size_t* dropped) {
  uvch_broadcast_options_t options;

  memset(&options, 0, sizeof(options));
  options.policy = policy;
  options.copy = form->owns ? copy_number : NULL;
  options.drop = form->owns ? count_drop : NULL;
  options.arg = dropped;
  *dropped = 0;
  support_check_eq(uvch_broadcast_init_ex(NULL, NULL, tx, sizeof(uint64_t), capacity, &options), 0);
}

static size_t put(const uvch_broadcast_sender_t* tx, uint64_t value) {
  int reached = uvch_broadcast_send(tx, &value);

  support_check(reached > 0);
  return (size_t) reached;
}

static void put_range(const uvch_broadcast_sender_t* tx, uint64_t from, uint64_t to) {
  for (; from < to; from++) {
    put(tx, from);
  }
}

static void drop_sender(uvch_broadcast_sender_t* tx) {
  support_check_eq(uvch_broadcast_sender_close(tx), 0);
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

/* A loop, a channel, and some receivers that were there from the beginning. */

#define PLAYERS 5

typedef struct play_s {
  uv_loop_t loop;
  uvch_broadcast_sender_t tx;
  sink_t sinks[PLAYERS];
  sink_t late; /* for one that comes later */
  size_t capacity;
  const form_t* form;
  size_t dropped;
  uint64_t sent;
  uint64_t at; /* the message at which something is done */
  size_t who;
  size_t depth;
  size_t done;
  size_t before[PLAYERS]; /* what they had when something was done */
} play_t;

static void play_open(play_t* play, size_t capacity, const form_t* form) {
  size_t i;

  memset(play, 0, sizeof(*play));
  support_loop_init(&play->loop);
  play->capacity = capacity;
  play->form = form;
  open_sender(&play->tx, capacity, UVCH_BROADCAST_LAG, form, &play->dropped);
  for (i = 0; i < PLAYERS; i++) {
    play->sinks[i].max = form->max;
    sink_subscribe(&play->sinks[i], &play->loop, &play->tx, 0);
    play->sinks[i].play = play;
  }
  play->late.max = form->max;
  support_check_eq(uvch_loop_configure(&play->loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0); /* turn() brings all */
}

static void play_start(play_t* play, act_cb act) {
  size_t i;

  for (i = 0; i < PLAYERS; i++) {
    play->sinks[i].act = act;
    sink_start(&play->sinks[i]);
  }
}

static void play_send(play_t* play, size_t count) {
  put_range(&play->tx, play->sent, play->sent + count);
  play->sent += count;
}

static void play_close(play_t* play) {
  size_t i;

  for (i = 0; i < PLAYERS; i++) {
    if (!play->sinks[i].closed) {
      sink_close(&play->sinks[i]);
    }
  }
  support_loop_end(&play->loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play->sinks[i].closes, 1);
  }
  ck_assert_uint_eq(play->dropped, play->form->owns ? play->sent : 0);
}

/* Each one that is open still has got all, or has been told how much it has not. */
static void play_end(play_t* play) {
  size_t i;

  drop_sender(&play->tx);
  support_loop_run(&play->loop);
  for (i = 0; i < PLAYERS; i++) {
    if (!play->sinks[i].closed) {
      ck_assert_uint_eq(play->sinks[i].count + play->sinks[i].missed, play->sent);
      ck_assert_uint_eq(play->sinks[i].ends, 1);
    }
  }
  play_close(play);
}

/* The fan-out. */

static void fan_check(sink_t* sinks, size_t count, size_t messages) {
  size_t i;

  for (i = 0; i < count; i++) {
    support_check_eq(sinks[i].count, messages);
    support_check_eq(sinks[i].gaps, 0);
    support_check_eq(sinks[i].ends, 1);
    sink_close(&sinks[i]);
  }
}

START_TEST(every_receiver_of_a_loop_gets_every_message_in_order) {
  static const size_t counts[] = {1, 2, 3, 63, 64, 65, 1000};
  enum { MESSAGES = 300 };
  size_t count = counts[VARIANT];
  sink_t* sinks = calloc(count, sizeof(*sinks));
  uvch_broadcast_sender_t tx;
  size_t dropped;
  uv_loop_t loop;
  uint64_t value;
  size_t i;

  ck_assert_ptr_nonnull(sinks);
  support_loop_init(&loop);
  open_sender(&tx, MESSAGES, UVCH_BROADCAST_LAG, FORM, &dropped);
  for (i = 0; i < count; i++) {
    sinks[i].max = FORM->max;
    sink_subscribe(&sinks[i], &loop, &tx, 0);
    sink_start(&sinks[i]);
  }
  for (value = 0; value < MESSAGES; value++) {
    ck_assert_uint_eq(put(&tx, value), count);
  }
  ck_assert_uint_eq(sinks[0].calls, 0); /* never from inside the call */
  drop_sender(&tx);
  support_loop_run(&loop);
  fan_check(sinks, count, MESSAGES);
  support_loop_end(&loop);
  for (i = 0; i < count; i++) {
    support_check_eq(sinks[i].closes, 1);
  }
  ck_assert_uint_eq(dropped, FORM->owns ? MESSAGES : 0);
  free(sinks);
}
END_TEST

START_TEST(each_loop_hands_the_messages_to_its_own_receivers) {
  enum { LOOPS = 4, EACH = 10, MESSAGES = 100 };
  static sink_t sinks[LOOPS][EACH];
  uvch_broadcast_sender_t tx;
  uv_loop_t loops[LOOPS];
  size_t dropped;
  size_t i;
  size_t k;

  open_sender(&tx, MESSAGES, UVCH_BROADCAST_LAG, FORM, &dropped);
  for (i = 0; i < LOOPS; i++) {
    support_loop_init(&loops[i]);
  }
  for (k = 0; k < EACH; k++) { /* they come in turns */
    for (i = 0; i < LOOPS; i++) {
      sinks[i][k].max = FORM->max;
      sink_subscribe(&sinks[i][k], &loops[i], &tx, 0);
      sink_start(&sinks[i][k]);
    }
  }
  put_range(&tx, 0, MESSAGES);
  drop_sender(&tx);
  for (i = LOOPS; i-- > 0;) {
    support_loop_run(&loops[i]);
    ck_assert_uint_eq(i > 0 ? sinks[i - 1][0].calls : 0, 0);
    fan_check(sinks[i], EACH, MESSAGES);
    support_loop_end(&loops[i]);
  }
}
END_TEST

START_TEST(a_receiver_gets_what_is_sent_after_it_has_subscribed) {
  play_t play;
  size_t i;

  play_open(&play, 64, FORM);
  for (i = 0; i < PLAYERS; i++) { /* they subscribe one after the other, and start later */
    sink_close(&play.sinks[i]);
  }
  turn(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    sink_subscribe(&play.sinks[i], &play.loop, &play.tx, play.sent);
    ck_assert_uint_eq(put(&play.tx, play.sent++), i + 1);
    ck_assert_uint_eq(put(&play.tx, play.sent++), i + 1);
  }
  play_start(&play, NULL);
  turn(&play.loop);
  play_send(&play, 3);
  drop_sender(&play.tx);
  support_loop_run(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, 2 * (PLAYERS - i) + 3);
    ck_assert_uint_eq(play.sinks[i].gaps, 0);
  }
  play_close(&play);
}
END_TEST

START_TEST(a_message_to_a_loop_that_runs_comes_in_a_batch_of_one) {
  play_t play;
  size_t i;

  play_open(&play, 64, FORM);
  play_start(&play, NULL);
  for (i = 0; i < 5; i++) { /* it does not wait for more */
    play_send(&play, 1);
    turn(&play.loop);
    ck_assert_uint_eq(play.sinks[i].calls, i + 1);
  }
  play_end(&play);
}
END_TEST

/* Start and stop. */

static void never_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  (void) rx;
  (void) item;
  ck_abort_msg("a callback that must not come, status %d", status);
}

static void never_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  (void) rx;
  (void) first;
  (void) stride;
  ck_abort_msg("a callback that must not come, status %d, %zu messages", status, count);
}

START_TEST(start_is_refused_for_wrong_arguments_or_twice) {
  uvch_broadcast_receiver_t plain;
  play_t play;

  play_open(&play, 4, &forms[0]);
  ck_assert_int_eq(uvch_broadcast_subscribe(NULL, &plain, &play.tx), 0);
  ck_assert_int_eq(uvch_broadcast_recv_start(NULL, never_cb), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_start(&play.sinks[0].rx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_start(&plain, never_cb), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(NULL, 1, never_many_cb), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&play.sinks[0].rx, 1, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&play.sinks[0].rx, 0, never_many_cb), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&plain, 1, never_many_cb), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_stop(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_stop(&play.sinks[0].rx), 0); /* harmless */
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &plain, NULL), 0);
  play_start(&play, NULL);
  ck_assert_int_eq(uvch_broadcast_recv_start(&play.sinks[0].rx, never_cb), UV_EALREADY);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&play.sinks[0].rx, 1, never_many_cb), UV_EALREADY);
  play_send(&play, 4);
  sink_close(&play.sinks[1]);
  ck_assert_int_eq(uvch_broadcast_recv_start(&play.sinks[1].rx, never_cb), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&play.sinks[1].rx, 1, never_many_cb), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_recv_stop(&play.sinks[1].rx), UV_EBADF);
  play_end(&play);
}
END_TEST

START_TEST(a_stopped_receiver_gets_nothing_and_misses_nothing_that_is_kept) {
  play_t play;
  size_t i;
  size_t k;

  play_open(&play, 8, FORM);
  for (i = 0; i < 20; i++) {
    play_start(&play, NULL);
    play_send(&play, i % 4);
    turn(&play.loop);
    ck_assert_uint_eq(play.sinks[i % PLAYERS].count, play.sent);
    play_send(&play, i % 3); /* on their way */
    for (k = 0; k < PLAYERS; k++) {
      sink_stop(&play.sinks[k]);
    }
    play_send(&play, 2);
    turn(&play.loop);
    ck_assert_uint_eq(play.sinks[i % PLAYERS].count, play.sent - i % 3 - 2);
    ck_assert_uint_eq(uvch_broadcast_receiver_len(&play.sinks[0].rx), i % 3 + 2);
  }
  play_start(&play, NULL);
  turn(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].missed, 0);
  }
  play_end(&play);
}
END_TEST

START_TEST(a_stopped_receiver_falls_behind_and_is_told_by_how_much) {
  static const size_t capacities[] = {1, 2, 3, 7, 8, 64};
  size_t capacity = capacities[VARIANT / 3];
  size_t lost = VARIANT % 3 == 2 ? 3 * capacity + 1 : VARIANT % 3;
  play_t play;
  size_t i;

  play_open(&play, capacity, FORM);
  play_start(&play, NULL);
  play_send(&play, capacity);
  turn(&play.loop);
  sink_stop(&play.sinks[2]);
  for (i = 0; i < capacity + lost; i++) {
    play_send(&play, 1);
    turn(&play.loop); /* the others keep up */
  }
  ck_assert_uint_eq(uvch_broadcast_receiver_len(&play.sinks[2].rx), capacity + lost);
  sink_start(&play.sinks[2]);
  turn(&play.loop);
  ck_assert_uint_eq(play.sinks[2].gaps, lost > 0);
  ck_assert_uint_eq(play.sinks[2].missed, lost);
  ck_assert_uint_eq(play.sinks[2].count, 2 * capacity);
  ck_assert_uint_eq(uvch_broadcast_receiver_missed(&play.sinks[2].rx), lost);
  ck_assert_uint_eq(play.sinks[0].missed + play.sinks[1].missed + play.sinks[3].missed + play.sinks[4].missed, 0);
  play_end(&play);
}
END_TEST

START_TEST(a_gap_comes_before_what_is_kept_and_that_before_the_end) {
  play_t play;
  size_t i;

  play_open(&play, 3, FORM);
  play_send(&play, 10);
  drop_sender(&play.tx);
  play_start(&play, NULL);
  support_loop_run(&play.loop);
  for (i = 0; i < PLAYERS; i++) { /* the order is checked in the callback */
    ck_assert_uint_eq(play.sinks[i].gaps, 1);
    ck_assert_uint_eq(play.sinks[i].missed, 7);
    ck_assert_uint_eq(play.sinks[i].count, 3);
    ck_assert_uint_eq(play.sinks[i].ends, 1);
  }
  play_close(&play);
}
END_TEST

START_TEST(the_end_comes_once_for_every_start) {
  play_t play;
  size_t i;

  play_open(&play, 3, FORM);
  drop_sender(&play.tx);
  for (i = 1; i <= 4; i++) {
    play_start(&play, NULL);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[0].rx), 1);
    if (i == 3) { /* stopped before it has come: the next start brings it */
      sink_stop(&play.sinks[0]);
      turn(&play.loop);
      ck_assert_uint_eq(play.sinks[0].ends, 2);
      sink_start(&play.sinks[0]);
    }
    support_loop_run(&play.loop);
    turn(&play.loop);
    ck_assert_uint_eq(play.sinks[0].ends, i);
    ck_assert_uint_eq(play.sinks[PLAYERS - 1].ends, i);
  }
  play_close(&play);
}
END_TEST

static void act_stop(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  if (value == play->at) {
    sink_stop(sink);
    play->done += 1;
  }
}

START_TEST(a_callback_may_stop_its_receiver) {
  play_t play;
  size_t i;

  play_open(&play, 32, FORM);
  play.at = 5;
  play_start(&play, act_stop);
  play_send(&play, 32);
  turn(&play.loop);
  ck_assert_uint_eq(play.done, PLAYERS);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_ge(play.sinks[i].count, 6);
    ck_assert_uint_lt(play.sinks[i].count, 6 + BATCH); /* a batch that has begun is read */
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[i].rx), 0);
    play.sinks[i].act = NULL;
    sink_start(&play.sinks[i]);
  }
  play_end(&play);
}
END_TEST

static void act_restart(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  if (value % 3 == 0) {
    sink_stop(sink);
    sink->max = sink->max == 0 ? 5 : 0; /* in the other form */
    sink_start(sink);
    sink->max = sink->max == 0 ? 0 : BATCH_MAX; /* for the checks after a batch has begun */
    play->done += 1;
  }
}

START_TEST(a_callback_may_stop_and_start_its_receiver_in_the_other_form) {
  play_t play;

  play_open(&play, 32, &forms[0]);
  play_start(&play, act_restart);
  play_send(&play, 31);
  turn(&play.loop);
  play_send(&play, 31);
  play_end(&play);
  ck_assert_uint_gt(play.done, 5 * PLAYERS);
}
END_TEST

START_TEST(stop_and_start_within_one_pass_bring_each_message_once) {
  play_t play;
  size_t round;
  size_t i;

  play_open(&play, 32, FORM);
  play_start(&play, NULL);
  for (round = 0; round < 30; round++) {
    play_send(&play, round % 5);
    for (i = 0; i < PLAYERS; i++) {
      sink_stop(&play.sinks[i]);
      if (i % 2 == 0) {
        play_send(&play, 1);
      }
      sink_start(&play.sinks[i]);
    }
    if (round % 2 == 0) {
      turn(&play.loop);
    }
  }
  play_end(&play);
}
END_TEST

/* Batches. */

START_TEST(a_batch_has_what_is_there_up_to_its_bound) {
  play_t play;
  size_t i;

  play_open(&play, 200, FORM);
  play_send(&play, 130);
  play_start(&play, NULL);
  turn(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, 130);
    if (FORM->max > 1) { /* of messages that own things it may be fewer */
      ck_assert_uint_ge(play.sinks[i].largest, FORM->owns ? 2 : BATCH);
    }
  }
  play_send(&play, 200); /* over the end of the ring */
  turn(&play.loop);
  play_end(&play);
}
END_TEST

START_TEST(batches_go_over_the_end_of_small_rings) {
  static const size_t capacities[] = {1, 2, 3, 7, 8, 9};
  size_t capacity = capacities[VARIANT];
  play_t play;
  size_t round;

  play_open(&play, capacity, FORM);
  play_start(&play, NULL);
  for (round = 0; round < 50; round++) {
    play_send(&play, 1 + round % capacity);
    turn(&play.loop);
    ck_assert_uint_eq(play.sinks[round % PLAYERS].count, play.sent);
  }
  play_end(&play);
}
END_TEST

static void act_overwrite(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  if (value == play->at && sink == &play->sinks[0]) {
    play_send(play, 3 * play->capacity);
    play->done += 1;
  }
}

/* Messages in their callback stay good though the ring goes over them; who was not done gets the number. */
START_TEST(messages_in_their_callback_outlive_their_place_in_the_ring) {
  static const size_t capacities[] = {1, 3, 8, 64, 100};
  size_t capacity = capacities[VARIANT];
  play_t play;

  play_open(&play, capacity, FORM);
  play.at = capacity / 2;
  play_start(&play, act_overwrite);
  play_send(&play, capacity);
  turn(&play.loop);
  play_end(&play);
  ck_assert_uint_eq(play.done, 1);
  ck_assert_uint_eq(play.sent, 4 * capacity);
  ck_assert_uint_eq(play.sinks[0].gaps, 1);
}
END_TEST

/* What callbacks may do. */

static void act_close_self(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  if (value == play->at && sink == &play->sinks[play->who]) {
    sink_close(sink);
    play_send(play, 2 * play->capacity); /* over what it is looking at */
  }
}

START_TEST(a_receiver_may_close_itself_in_the_middle_of_its_messages) {
  play_t play;

  play_open(&play, 16, FORM);
  play.at = 7;
  play.who = VARIANT;
  play_start(&play, act_close_self);
  play_send(&play, 16);
  turn(&play.loop);
  play_end(&play);
  ck_assert_uint_eq(play.sent, 48);
  ck_assert_uint_ge(play.sinks[VARIANT].count, 8);
  ck_assert_uint_lt(play.sinks[VARIANT].count, 8 + BATCH);
}
END_TEST

static void act_close_other(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t self = (size_t) (sink - play->sinks);
  size_t other = (self + play->who) % PLAYERS;

  if (value == play->at && !sink->closed && !play->sinks[other].closed) {
    play->done += 1;
    sink_close(&play->sinks[other]);
  }
}

/* Each closes its neighbour at some distance, before or behind it, which may be in the middle of its own messages. */
START_TEST(a_receiver_may_close_another_one) {
  play_t play;
  size_t closed = 0;
  size_t i;

  play_open(&play, 16, FORM);
  play.at = VARIANT / 4;
  play.who = 1 + VARIANT % 4;
  play_start(&play, act_close_other);
  play_send(&play, 16);
  turn(&play.loop);
  play_send(&play, 3);
  play_end(&play);
  for (i = 0; i < PLAYERS; i++) {
    closed += play.sinks[i].ends == 0;
  }
  ck_assert_uint_ge(play.done, 1);
  ck_assert_uint_eq(closed, play.done);
}
END_TEST

static void act_close_all(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  if (value != play->at) {
    return;
  }
  for (i = 0; i < PLAYERS; i++) {
    play->sinks[i].closed = true;
  }
  ck_assert_int_eq(uvch_close_all(&play->loop), PLAYERS);
  play->done += 1;
}

START_TEST(a_callback_may_close_all_receivers) {
  uint64_t value = 1;
  play_t play;
  size_t i;

  play_open(&play, 16, FORM);
  play.at = VARIANT;
  play_start(&play, act_close_all);
  play_send(&play, 16);
  support_loop_run(&play.loop);
  ck_assert_uint_eq(play.done, 1);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_le(play.sinks[i].count, VARIANT + BATCH);
    ck_assert_uint_eq(play.sinks[i].ends, 0);
  }
  ck_assert_int_eq(uvch_broadcast_send(&play.tx, &value), UV_EPIPE);
  drop_sender(&play.tx);
  support_loop_end(&play.loop);
}
END_TEST

static void act_subscribe(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  if (value == play->at && play->done++ == 0) {
    sink_subscribe(&play->late, &play->loop, &play->tx, play->sent);
    sink_start(&play->late);
    play_send(play, 2);
  }
}

START_TEST(who_subscribes_in_a_callback_gets_only_what_is_sent_from_then_on) {
  play_t play;

  play_open(&play, 16, FORM);
  play.at = VARIANT;
  play_start(&play, act_subscribe);
  play_send(&play, 8); /* what the others have not read yet is not for it */
  turn(&play.loop);
  ck_assert_uint_ge(play.done, 1);
  ck_assert_uint_eq(play.late.count, 2);
  play_send(&play, 3);
  turn(&play.loop);
  ck_assert_uint_eq(play.late.count, 5);
  sink_close(&play.late);
  play_end(&play);
  ck_assert_uint_eq(play.late.closes, 1);
}
END_TEST

static void act_send(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  (void) value;
  if (sink == &play->sinks[play->who] && play->sent < 500) {
    play_send(play, 1);
  }
}

START_TEST(a_callback_may_send_to_its_own_channel) {
  play_t play;

  play_open(&play, 1 + VARIANT * 10, FORM);
  play.who = VARIANT;
  play_start(&play, act_send);
  play_send(&play, 1);
  turn(&play.loop);
  while (play.sent < 500) {
    uv_run(&play.loop, UV_RUN_NOWAIT);
  }
  play_end(&play);
}
END_TEST

/* Every other message by hand. */
static void act_take(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  uint64_t taken;
  int answer;

  if (value % 2 == 1) {
    return;
  }
  answer = uvch_broadcast_try_recv(&sink->rx, &taken);
  if (answer > 0) {
    sink_gap(sink, answer);
  } else if (answer == 0) {
    support_check_eq(taken, sink->next);
    sink->next += 1;
    sink->count += 1;
    play->done += 1;
  } else {
    support_check_eq(answer, UV_EAGAIN);
  }
}

START_TEST(a_callback_may_take_messages_by_hand) {
  play_t play;

  play_open(&play, 16, FORM);
  play_start(&play, act_take);
  play_send(&play, 16 + 5 * VARIANT);
  turn(&play.loop);
  play_send(&play, 9);
  turn(&play.loop);
  play_end(&play);
  ck_assert(play.done > PLAYERS || BATCH > 16); /* else nothing is left to take */
}
END_TEST

static void act_nest(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  (void) value;
  if (play->depth >= 4) {
    return;
  }
  play->depth += 1;
  play->done += 1;
  uv_run(&play->loop, UV_RUN_NOWAIT);
  play->depth -= 1;
}

START_TEST(a_callback_may_run_its_loop_and_each_message_comes_once_in_order) {
  play_t play;

  play_open(&play, 16, FORM);
  play_start(&play, act_nest);
  play_send(&play, 16);
  turn(&play.loop);
  play_send(&play, 9);
  play_end(&play);
  ck_assert_uint_gt(play.done, 0);
}
END_TEST

/* Waits in its callback for what the others, or it itself, will get. */
static void act_nest_until(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  sink_t* awaited = &play->sinks[(play->who + play->at) % PLAYERS];

  if (sink == &play->sinks[play->who] && value == 0) {
    play_send(play, 1);
    while (awaited->next < play->sent) {
      uv_run(&play->loop, UV_RUN_NOWAIT);
    }
    play->done += 1;
  }
}

START_TEST(a_callback_may_run_its_loop_until_a_message_has_come_to_another_one_or_to_itself) {
  play_t play;

  play_open(&play, 16, FORM);
  play.who = VARIANT % PLAYERS;
  play.at = VARIANT / PLAYERS;
  play_start(&play, act_nest_until);
  play_send(&play, 3);
  turn(&play.loop);
  play_end(&play);
  ck_assert_uint_eq(play.done, 1);
}
END_TEST

/* The innermost run closes the receivers whose callbacks are still open. */
static void act_nest_close(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  act_nest(sink, value);
  if (play->depth >= play->at && play->done > play->at) {
    for (i = 0; i < PLAYERS; i++) {
      if (!play->sinks[i].closed && i % 2 == play->who) {
        sink_close(&play->sinks[i]);
      }
    }
  }
}

START_TEST(a_nested_run_may_close_receivers_whose_callbacks_are_open) {
  play_t play;

  play_open(&play, 16, FORM);
  play.at = 1 + VARIANT % 3;
  play.who = VARIANT % 2;
  play_start(&play, act_nest_close);
  play_send(&play, 16);
  turn(&play.loop);
  play_send(&play, 16);
  turn(&play.loop);
  ck_assert(play.sinks[play.who].closed);
  if (play.who == 1) {
    play_end(&play);
  } else {
    drop_sender(&play.tx);
    play_close(&play);
  }
}
END_TEST

/* In memory of its own that is gone with the close callback. */
typedef struct mayfly_s {
  uvch_broadcast_receiver_t rx;
  size_t* deaths;
} mayfly_t;

static void mayfly_on_close(uvch_handle_t* handle) {
  mayfly_t* mayfly = handle->data;

  *mayfly->deaths += 1;
  memset(mayfly, 0xdd, sizeof(*mayfly));
  free(mayfly);
}

static void mayfly_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  uint64_t value = 0;

  support_check_eq(status, 0);
  support_check_eq(uvch_close((uvch_handle_t*) rx, mayfly_on_close), 0);
  turn(rx->loop); /* in which its memory may go */
  support_check_eq(memcmp(item, &value, sizeof(value)), 0);
}

START_TEST(a_receiver_may_be_freed_while_its_callback_runs_and_its_message_stays_good) {
  enum { FLIES = 10 };
  uvch_broadcast_sender_t tx;
  size_t deaths = 0;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_broadcast_init(NULL, NULL, &tx, sizeof(uint64_t), 4), 0);
  for (i = 0; i < FLIES; i++) {
    mayfly_t* mayfly = malloc(sizeof(*mayfly));

    ck_assert_ptr_nonnull(mayfly);
    ck_assert_int_eq(uvch_broadcast_subscribe(&loop, &mayfly->rx, &tx), 0);
    mayfly->rx.data = mayfly;
    mayfly->deaths = &deaths;
    ck_assert_int_eq(uvch_broadcast_recv_start(&mayfly->rx, mayfly_on_recv), 0);
  }
  put_range(&tx, 0, 4);
  support_loop_run(&loop);
  ck_assert_uint_eq(deaths, FLIES);
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), 0);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* The budget. */

typedef struct gauge_s {
  play_t play;
  uv_check_t check;
  size_t last;
  size_t most;
} gauge_t;

static size_t play_received(const play_t* play) {
  size_t received = 0;
  size_t i;

  for (i = 0; i < PLAYERS; i++) {
    received += play->sinks[i].count;
  }
  return received;
}

static void gauge_on_check(uv_check_t* check) {
  gauge_t* gauge = check->data;
  size_t received = play_received(&gauge->play);

  gauge->most = received - gauge->last > gauge->most ? received - gauge->last : gauge->most;
  gauge->last = received;
}

START_TEST(the_budget_of_messages_is_a_hard_cap) {
  static const size_t budgets[] = {1, 10, 100, 5000};
  enum { MESSAGES = 2000 };
  size_t budget = budgets[VARIANT];
  gauge_t gauge;

  memset(&gauge, 0, sizeof(gauge));
  play_open(&gauge.play, MESSAGES, FORM);
  uv_check_init(&gauge.play.loop, &gauge.check);
  gauge.check.data = &gauge;
  uv_check_start(&gauge.check, gauge_on_check);
  ck_assert_int_eq(uvch_loop_configure(&gauge.play.loop, UVCH_LOOP_BUDGET_MESSAGES, budget), 0);
  play_send(&gauge.play, budget == 1 ? 100 : MESSAGES);
  play_start(&gauge.play, NULL);
  while (play_received(&gauge.play) < PLAYERS * gauge.play.sent) {
    uv_run(&gauge.play.loop, UV_RUN_NOWAIT);
  }
  uv_close((uv_handle_t*) &gauge.check, NULL);
  play_end(&gauge.play);
  ck_assert_uint_eq(gauge.most, budget);
}
END_TEST

/* Sends from its callback, so that it is never through; the others are, most of the time. */
static void act_send_on(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  (void) value;
  if (sink != &play->sinks[play->who] || play->sent == play->at) {
    return;
  }
  play_send(play, 1);
  for (i = 0; i < PLAYERS; i++) {
    support_check(play->sent - play->sinks[i].next <= 2 * PASS_MESSAGES);
  }
}

START_TEST(a_receiver_that_is_never_through_keeps_nothing_from_the_others_of_its_loop) {
  play_t play;

  play_open(&play, 8, FORM);
  play.who = VARIANT;
  play.at = 20 * PASS_MESSAGES;
  play_start(&play, act_send_on);
  turn(&play.loop); /* all are through */
  play_send(&play, 1);
  while (play.sent < play.at) {
    uv_run(&play.loop, UV_RUN_NOWAIT);
  }
  play_end(&play);
}
END_TEST

/* A flooded channel with 1,000 receivers, and beside it a channel of another kind and a timer, which are counted in passes. */

#define CROWD 1000
#define FLOOD_PASSES 400
#define FLOOD_CAPACITY 64

typedef struct flood_s {
  uv_loop_t loop;
  uv_idle_t idle; /* the check callback comes though there is nothing to do */
  uv_check_t check;
  uv_timer_t timer;
  uvch_broadcast_sender_t tx;
  uvch_mpsc_receiver_t other_rx;
  uvch_mpsc_sender_t other_tx;
  sink_t sinks[CROWD];
  uvch_broadcast_policy policy;
  size_t dropped;
  uint64_t sent;
  size_t passes;
  size_t other_sent;
  size_t other_sent_in; /* pass */
  size_t other_received;
  size_t other_latest; /* passes from the send to the callback */
  size_t ticks;
  size_t timer_set_in; /* pass */
  size_t timer_latest;
  size_t least; /* messages that a receiver had at the end of the flood */
} flood_t;

static void flood_on_other(uvch_mpsc_receiver_t* rx, int status, void* item) {
  flood_t* flood = rx->data;
  size_t passes = flood->passes - flood->other_sent_in;

  (void) item;
  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  flood->other_received += 1;
  flood->other_latest = passes > flood->other_latest ? passes : flood->other_latest;
}

static void flood_on_timer(uv_timer_t* timer) {
  flood_t* flood = timer->data;
  size_t passes = flood->passes - flood->timer_set_in;

  flood->ticks += 1;
  flood->timer_latest = passes > flood->timer_latest ? passes : flood->timer_latest;
}

static void flood_more(flood_t* flood) {
  size_t i;

  for (i = 0; i < FLOOD_CAPACITY; i++) {
    int reached = uvch_broadcast_send(&flood->tx, &flood->sent);

    if (reached == UV_EAGAIN && flood->policy == UVCH_BROADCAST_WAIT) {
      break;
    }
    support_check_eq(reached, CROWD);
    flood->sent += 1;
  }
  if (flood->other_received == flood->other_sent) {
    support_put(&flood->other_tx, flood->other_sent++);
    flood->other_sent_in = flood->passes;
  }
  if (!uv_is_active((uv_handle_t*) &flood->timer)) {
    uv_timer_start(&flood->timer, flood_on_timer, 0, 0);
    flood->timer_set_in = flood->passes;
  }
}

static void flood_stop(flood_t* flood) {
  size_t i;

  flood->least = SIZE_MAX;
  for (i = 0; i < CROWD; i++) {
    flood->least = flood->sinks[i].count < flood->least ? flood->sinks[i].count : flood->least;
  }
  drop_sender(&flood->tx);
  support_drop_sender(&flood->other_tx);
  uv_close((uv_handle_t*) &flood->idle, NULL);
  uv_close((uv_handle_t*) &flood->timer, NULL);
  uv_close((uv_handle_t*) &flood->check, NULL);
}

static void flood_on_check(uv_check_t* check) {
  flood_t* flood = check->data;

  flood->passes += 1;
  if (flood->passes < FLOOD_PASSES) {
    flood_more(flood);
  } else {
    flood_stop(flood);
  }
}

static void flood_open(flood_t* flood, const form_t* form) {
  size_t i;

  open_sender(&flood->tx, FLOOD_CAPACITY, flood->policy, form, &flood->dropped);
  for (i = 0; i < CROWD; i++) {
    flood->sinks[i].max = form->max;
    sink_subscribe(&flood->sinks[i], &flood->loop, &flood->tx, 0);
    sink_start(&flood->sinks[i]);
  }
  ck_assert_int_eq(uvch_mpsc_init(&flood->loop, &flood->other_rx, &flood->other_tx, sizeof(uint64_t), 4), 0);
  flood->other_rx.data = flood;
  ck_assert_int_eq(uvch_mpsc_recv_start(&flood->other_rx, flood_on_other), 0);
  ck_assert_int_eq(uvch_loop_configure(&flood->loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0);
}

START_TEST(a_flood_to_1000_receivers_starves_neither_another_channel_nor_a_timer_nor_one_of_them) {
  static flood_t flood;
  size_t i;

  memset(&flood, 0, sizeof(flood));
  flood.policy = _i % 2 == 0 ? UVCH_BROADCAST_LAG : UVCH_BROADCAST_WAIT;
  support_loop_init(&flood.loop);
  uv_check_init(&flood.loop, &flood.check);
  flood.check.data = &flood;
  uv_check_start(&flood.check, flood_on_check);
  uv_idle_init(&flood.loop, &flood.idle);
  uv_idle_start(&flood.idle, keep_turning);
  uv_timer_init(&flood.loop, &flood.timer);
  flood.timer.data = &flood;
  flood_open(&flood, &forms[_i / 2]);
  support_loop_run(&flood.loop);
  for (i = 0; i < CROWD; i++) {
    support_check_eq(flood.sinks[i].count + flood.sinks[i].missed, flood.sent);
    support_check(flood.policy == UVCH_BROADCAST_LAG || flood.sinks[i].gaps == 0);
    support_check_eq(flood.sinks[i].ends, 1);
    sink_close(&flood.sinks[i]);
  }
  support_loop_end(&flood.loop);
  ck_assert_uint_eq(flood.dropped, forms[_i / 2].owns ? flood.sent : 0);
  ck_assert_uint_eq(flood.other_received, flood.other_sent);
  ck_assert_uint_ge(flood.other_sent, FLOOD_PASSES / 3);
  ck_assert_uint_ge(flood.ticks, FLOOD_PASSES / 3);
  ck_assert_uint_le(flood.other_latest, 2);
  ck_assert_uint_le(flood.timer_latest, 2);
  ck_assert_uint_gt(flood.least, 0);
}
END_TEST

/* Handles of a loop. */

START_TEST(a_started_receiver_keeps_its_loop_and_an_idle_one_does_not) {
  play_t play;
  size_t i;

  play_open(&play, 4, FORM);
  support_loop_run(&play.loop); /* idle they keep nothing */
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[0].rx), 0);
  sink_start(&play.sinks[1]);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[1].rx), 1);
  ck_assert_int_ne(uv_run(&play.loop, UV_RUN_NOWAIT), 0);
  ck_assert_int_eq(uv_loop_close(&play.loop), UV_EBUSY);
  sink_stop(&play.sinks[1]);
  support_loop_run(&play.loop);
  sink_start(&play.sinks[1]);
  uvch_unref((uvch_handle_t*) &play.sinks[1].rx);
  uvch_unref((uvch_handle_t*) &play.sinks[1].rx);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &play.sinks[1].rx), 0);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[1].rx), 1);
  support_loop_run(&play.loop);
  play_send(&play, 2);
  turn(&play.loop);
  ck_assert_uint_eq(play.sinks[1].count, 2); /* while it runs for something else */
  uvch_ref((uvch_handle_t*) &play.sinks[1].rx);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &play.sinks[1].rx), 1);
  ck_assert_int_ne(uv_run(&play.loop, UV_RUN_NOWAIT), 0);
  for (i = 0; i < PLAYERS; i++) {
    if (i != 1) {
      sink_start(&play.sinks[i]);
    }
  }
  play_end(&play);
}
END_TEST

START_TEST(a_receiver_has_its_fields_and_keeps_its_data) {
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&rx, 0xa5, sizeof(rx));
  memset(&plain, 0xa5, sizeof(plain));
  rx.data = &tx;
  plain.data = &loop;
  ck_assert_int_eq(uvch_broadcast_init(&loop, &rx, &tx, 8, 4), 0);
  ck_assert_int_eq(uvch_broadcast_subscribe(NULL, &plain, &tx), 0);
  ck_assert_ptr_eq(uvch_handle_get_data((uvch_handle_t*) &rx), &tx);
  ck_assert_ptr_eq(uvch_handle_get_data((uvch_handle_t*) &plain), &loop);
  ck_assert_ptr_eq(uvch_handle_get_loop((uvch_handle_t*) &rx), &loop);
  ck_assert_ptr_null(uvch_handle_get_loop((uvch_handle_t*) &plain));
  ck_assert_int_eq(uvch_handle_get_type((uvch_handle_t*) &rx), UVCH_BROADCAST_RECEIVER);
  ck_assert_int_eq(uvch_handle_get_type((uvch_handle_t*) &plain), UVCH_BROADCAST_RECEIVER);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &rx), 1);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &rx), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, NULL), 0);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &rx), 1);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, NULL), UV_EALREADY);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &plain, sink_on_close), UV_EINVAL);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &plain, NULL), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &plain, NULL), UV_EALREADY);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(an_attached_receiver_gets_what_was_sent_before) {
  play_t play;
  uv_loop_t other;

  play_open(&play, 8, FORM);
  support_loop_init(&other);
  sink_subscribe(&play.late, NULL, &play.tx, 0);
  ck_assert_int_eq(uvch_attach(NULL, (uvch_handle_t*) &play.late.rx), UV_EINVAL);
  play_send(&play, VARIANT == 0 ? 3 : 11);
  ck_assert_int_eq(uvch_attach(&play.loop, (uvch_handle_t*) &play.late.rx), 0);
  ck_assert_ptr_eq(uvch_handle_get_loop((uvch_handle_t*) &play.late.rx), &play.loop);
  ck_assert_int_eq(uvch_attach(&play.loop, (uvch_handle_t*) &play.late.rx), UV_EALREADY);
  ck_assert_int_eq(uvch_attach(&other, (uvch_handle_t*) &play.late.rx), UV_EALREADY);
  sink_start(&play.late);
  play_start(&play, NULL);
  turn(&play.loop);
  ck_assert_uint_eq(play.late.count, VARIANT == 0 ? 3 : 8);
  ck_assert_uint_eq(play.late.missed, VARIANT == 0 ? 0 : 3);
  play_send(&play, 4);
  drop_sender(&play.tx);
  support_loop_run(&play.loop);
  ck_assert_uint_eq(play.late.next, play.sent);
  ck_assert_uint_eq(play.late.ends, 1);
  sink_close(&play.late);
  ck_assert_int_eq(uvch_attach(&other, (uvch_handle_t*) &play.late.rx), UV_EBADF);
  play_close(&play);
  support_loop_end(&other);
}
END_TEST

START_TEST(an_attached_receiver_whose_senders_are_gone_gets_the_rest_and_the_end) {
  play_t play;

  play_open(&play, 8, FORM);
  sink_subscribe(&play.late, NULL, &play.tx, 0);
  play_send(&play, 10 * VARIANT);
  drop_sender(&play.tx);
  ck_assert_int_eq(uvch_attach(&play.loop, (uvch_handle_t*) &play.late.rx), 0);
  sink_start(&play.late);
  support_loop_run(&play.loop);
  ck_assert_uint_eq(play.late.count, VARIANT == 0 ? 0 : 8);
  ck_assert_uint_eq(play.late.missed, VARIANT == 0 ? 0 : 2);
  ck_assert_uint_eq(play.late.ends, 1);
  sink_close(&play.late);
  play_close(&play);
}
END_TEST

START_TEST(try_recv_takes_by_hand_what_a_started_receiver_would_get) {
  uint64_t value = 0;
  play_t play;

  play_open(&play, 8, FORM);
  play_start(&play, NULL);
  play_send(&play, 5);
  ck_assert_int_eq(uvch_broadcast_try_recv(&play.sinks[1].rx, &value), 0);
  ck_assert_uint_eq(value, 0);
  ck_assert_int_eq(uvch_broadcast_try_recv(&play.sinks[1].rx, &value), 0);
  ck_assert_uint_eq(value, 1);
  play.sinks[1].next = 2;
  play.sinks[1].missed = 2; /* for the books */
  turn(&play.loop);
  ck_assert_uint_eq(play.sinks[1].count, 3);
  ck_assert_int_eq(uvch_broadcast_try_recv(&play.sinks[1].rx, &value), UV_EAGAIN);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&play.sinks[1].rx, &value), UV_EPERM);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&play.sinks[1].rx, &value, 1), UV_EPERM);
  play_end(&play);
}
END_TEST

START_TEST(the_close_callback_comes_last_and_keeps_the_loop_until_then) {
  play_t play;
  size_t i;

  play_open(&play, 8, FORM);
  if (VARIANT % 2 == 1) {
    play_start(&play, NULL);
    turn(&play.loop);
  }
  if (VARIANT / 2 == 1) {
    play_send(&play, 8); /* on their way: they never come */
  }
  for (i = 0; i < PLAYERS; i++) {
    sink_close(&play.sinks[i]);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[i].rx), 0);
    ck_assert_uint_eq(play.sinks[i].closes, 0); /* never from inside the call */
    ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&play.tx), PLAYERS - 1 - i);
  }
  ck_assert_int_ne(uv_loop_alive(&play.loop), 0);
  drop_sender(&play.tx);
  play_close(&play);
}
END_TEST

typedef struct census_s {
  const play_t* play;
  size_t seen[PLAYERS];
  size_t others;
} census_t;

static void census_on_handle(uvch_handle_t* handle, void* arg) {
  census_t* census = arg;
  size_t i;

  for (i = 0; i < PLAYERS; i++) {
    if (handle == (const uvch_handle_t*) &census->play->sinks[i].rx) {
      census->seen[i] += 1;
      support_check_eq(uvch_handle_get_type(handle), UVCH_BROADCAST_RECEIVER);
      if (i == 2) {
        sink_close(handle->data);
      }
      return;
    }
  }
  census->others += uvch_handle_get_type(handle) == UVCH_MPSC_RECEIVER;
}

START_TEST(walk_and_close_all_know_broadcast_receivers) {
  uvch_mpsc_receiver_t other;
  uvch_mpsc_sender_t other_tx;
  uint64_t value = 0;
  census_t census;
  play_t play;
  size_t i;

  play_open(&play, 8, &forms[0]);
  ck_assert_int_eq(uvch_mpsc_init(&play.loop, &other, &other_tx, 8, 4), 0);
  memset(&census, 0, sizeof(census));
  census.play = &play;
  play_start(&play, NULL);
  play_send(&play, 4);
  sink_close(&play.sinks[1]);
  uvch_walk(&play.loop, census_on_handle, &census);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(census.seen[i], 1); /* closing ones included */
  }
  ck_assert_uint_eq(census.others, 1);
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&play.tx), 3);
  ck_assert_int_eq(uvch_close_all(&play.loop), 4);
  ck_assert_int_eq(uvch_close_all(&play.loop), 0);
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&play.tx), 0);
  ck_assert_int_eq(uvch_broadcast_send(&play.tx, &value), UV_EPIPE);
  support_drop_sender(&other_tx);
  drop_sender(&play.tx);
  support_loop_end(&play.loop);
  ck_assert_uint_eq(play.sinks[1].closes, 1);
  ck_assert_uint_eq(play.sinks[2].closes, 1);
  ck_assert_uint_eq(play_received(&play), 0);
}
END_TEST

/* The lines that uvch_print_all() prints. */
static char printed[8192];

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

static void check_line(const sink_t* sink, const char* flags) {
  char address[40];
  const char* begin;
  const char* found;

  snprintf(address, sizeof(address), " %p", (const void*) &sink->rx);
  found = strstr(printed, address);
  ck_assert_msg(found != NULL, "no line of %s in\n%s", address, printed);
  for (begin = found; begin > printed && begin[-1] != '\n'; begin--) {}
  ck_assert_msg(strncmp(begin, flags, strlen(flags)) == 0, "%s", printed);
  ck_assert_msg(strstr(begin, "broadcast") != NULL && strstr(begin, "broadcast") < found, "%s", printed);
}

START_TEST(each_broadcast_receiver_has_a_line) {
  play_t play;

  play_open(&play, 8, &forms[0]);
  sink_start(&play.sinks[1]);
  sink_start(&play.sinks[2]);
  uvch_unref((uvch_handle_t*) &play.sinks[2].rx);
  uvch_unref((uvch_handle_t*) &play.sinks[3].rx);
  play_send(&play, 10); /* so that some have missed something */
  sink_close(&play.sinks[4]);
  ck_assert_uint_eq(print(&play.loop), PLAYERS);
  check_line(&play.sinks[0], "[R--] ");
  check_line(&play.sinks[1], "[RA-] ");
  check_line(&play.sinks[2], "[-A-] ");
  check_line(&play.sinks[3], "[---] ");
  check_line(&play.sinks[4], "[R-C] ");
  drop_sender(&play.tx);
  ck_assert_uint_eq(print(&play.loop), PLAYERS);
  support_loop_run(&play.loop);
  play_close(&play);
}
END_TEST

/* Programs that close the library's own handles. */

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

/* What the library had to keep for the old loop goes with a later one at the same address. */
static void sweep(uv_loop_t* loop) {
  uvch_broadcast_sender_t tx;
  sink_t sink;

  support_loop_init(loop);
  ck_assert_int_eq(uvch_broadcast_init(NULL, NULL, &tx, sizeof(uint64_t), 4), 0);
  sink.max = 0;
  sink_subscribe(&sink, loop, &tx, 0);
  sink_start(&sink);
  put(&tx, 0);
  drop_sender(&tx);
  support_loop_run(loop);
  ck_assert_uint_eq(sink.count, 1);
  ck_assert_uint_eq(sink.ends, 1);
  sink_close(&sink);
  support_loop_end(loop);
}

/* The receivers of another loop go on. */
START_TEST(a_program_may_close_the_librarys_handles) {
  size_t before = support_alloc_blocks();
  size_t begun = VARIANT == 0 ? 0 : 4;
  uv_loop_t far;
  play_t play;
  size_t i;

  support_loop_init(&far);
  play_open(&play, 32, FORM);
  sink_subscribe(&play.late, &far, &play.tx, 0);
  sink_start(&play.late);
  for (i = 1; i < PLAYERS; i++) {
    sink_start(&play.sinks[i]);
  }
  play_send(&play, begun);
  turn(&play.loop);
  play_send(&play, 3); /* on their way */
  uv_walk(&play.loop, close_uv, NULL);
  support_loop_end(&play.loop);
  memset(&play.loop, 0xdd, sizeof(play.loop));
  play_send(&play, 3);
  for (i = 0; i < PLAYERS; i++) {
    play.sinks[i].closed = true;
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &play.sinks[i].rx, NULL), 0);
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &play.sinks[i].rx, NULL), UV_EALREADY);
    ck_assert_uint_eq(play.sinks[i].count, i == 0 ? 0 : begun);
  }
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&play.tx), 1);
  ck_assert_uint_eq(put(&play.tx, play.sent++), 1);
  drop_sender(&play.tx);
  support_loop_run(&far);
  ck_assert_uint_eq(play.late.count, begun + 7);
  ck_assert_uint_eq(play.late.ends, 1);
  sink_close(&play.late);
  support_loop_end(&far);
  sweep(&play.loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

START_TEST(receivers_may_be_closed_before_the_librarys_handles_are) {
  size_t before = support_alloc_blocks();
  uint64_t value = 0;
  play_t play;
  size_t i;

  play_open(&play, 8, FORM);
  play_start(&play, NULL);
  turn(&play.loop);
  play_send(&play, 3);
  for (i = 0; i < PLAYERS; i++) {
    sink_close(&play.sinks[i]);
  }
  uv_walk(&play.loop, close_uv, NULL);
  support_loop_end(&play.loop);
  ck_assert_int_eq(uvch_broadcast_send(&play.tx, &value), UV_EPIPE);
  drop_sender(&play.tx);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count + play.sinks[i].closes, 0);
  }
  sweep(&play.loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

static void act_close_uv(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  if (value != play->at || play->done++ > 0) {
    return;
  }
  uv_walk(&play->loop, close_uv, NULL);
  turn(&play->loop);
  play->who = (size_t) (sink - play->sinks);
  for (i = 0; i < PLAYERS; i++) {
    play->before[i] = play->sinks[i].count;
  }
}

START_TEST(a_callback_may_close_the_librarys_handles) {
  size_t before = support_alloc_blocks();
  uint64_t value = 0;
  play_t play;
  size_t i;

  play_open(&play, 8, FORM);
  play.at = VARIANT;
  play_start(&play, act_close_uv);
  play_send(&play, 8);
  support_loop_end(&play.loop);
  ck_assert_uint_ge(play.done, 1);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert(i == play.who || play.sinks[i].count == play.before[i]); /* the others get nothing any more */
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &play.sinks[i].rx, NULL), 0);
  }
  ck_assert_int_eq(uvch_broadcast_send(&play.tx, &value), UV_EPIPE);
  drop_sender(&play.tx);
  sweep(&play.loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

/* Wake-ups: 1,000 receivers on 4 loops that sleep. Each loop is waked by the first message of a burst, and its first callback
 * returns only when the whole burst is in, so that no loop can go to sleep again meanwhile. */

#define HERDS 4
#define HERD 250
#define BURST 100

static _Atomic(size_t) signals;

static void count_signal(struct uvch__wake* wake) {
  atomic_fetch_add(&signals, 1);
  uvch__wake_async.signal(wake);
}

typedef struct ranch_s ranch_t;

typedef struct herd_s {
  ranch_t* ranch;
  uv_loop_t loop;
  uv_thread_t thread;
  _Atomic(long) number;
  _Atomic(size_t) received;
  uvch_broadcast_receiver_t rx[HERD];
  uint64_t next[HERD];
} herd_t;

struct ranch_s {
  herd_t herds[HERDS];
  uvch_broadcast_sender_t tx;
  support_latch_t sent; /* the whole burst */
  support_result_t result;
};

static void herd_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  herd_t* herd = rx->data;
  size_t index = (size_t) (rx - herd->rx);

  if (status != 0) {
    support_expect_eq(&herd->ranch->result, status, UV_EOF);
    support_expect_eq(&herd->ranch->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
    return;
  }
  if (support_expect(&herd->ranch->result, item != NULL)) {
    support_expect_eq(&herd->ranch->result, *(const uint64_t*) item, herd->next[index]);
  }
  herd->next[index] += 1;
  if (herd->next[index] == 2) { /* the first one of the burst; once the latch is open it stays so */
    support_latch_wait(&herd->ranch->sent);
  }
  atomic_fetch_add(&herd->received, 1);
}

static void herd_run(void* arg) {
  herd_t* herd = arg;

  atomic_store(&herd->number, support_thread_number());
  support_expect_eq(&herd->ranch->result, uv_run(&herd->loop, UV_RUN_DEFAULT), 0);
}

static void herd_open(herd_t* herd, ranch_t* ranch) {
  size_t i;

  herd->ranch = ranch;
  support_loop_init(&herd->loop);
  for (i = 0; i < HERD; i++) {
    ck_assert_int_eq(uvch_broadcast_subscribe(&herd->loop, &herd->rx[i], &ranch->tx), 0);
    herd->rx[i].data = herd;
    ck_assert_int_eq(uvch_broadcast_recv_start(&herd->rx[i], herd_on_recv), 0);
  }
  ck_assert_int_eq(uvch_loop_configure(&herd->loop, UVCH_LOOP_HOT_MAX, 0), 0);
  support_spawn(&herd->thread, herd_run, herd);
}

static void ranch_until(ranch_t* ranch, size_t messages) {
  size_t i;

  for (i = 0; i < HERDS; i++) {
    support_until(atomic_load(&ranch->herds[i].received) == messages * HERD);
  }
}

START_TEST(a_burst_to_1000_receivers_on_4_sleeping_loops_makes_one_wakeup_of_each) {
  static struct uvch__wake_ops counting;
  const struct uvch__wake_ops* chosen = uvch__wake_chosen;
  static ranch_t ranch;
  size_t used;
  size_t i;

  memset(&ranch, 0, sizeof(ranch));
  counting = uvch__wake_async;
  counting.signal = count_signal;
  uvch__wake_chosen = &counting;
  support_latch_init(&ranch.sent, 1);
  ck_assert_int_eq(uvch_broadcast_init(NULL, NULL, &ranch.tx, sizeof(uint64_t), BURST + 1), 0);
  for (i = 0; i < HERDS; i++) {
    herd_open(&ranch.herds[i], &ranch);
  }
  put(&ranch.tx, 0); /* who has seen it has nothing left to do but sleep */
  ranch_until(&ranch, 1);
  for (i = 0; i < HERDS; i++) {
    support_until_blocked(&ranch.herds[i].number);
  }
  atomic_store(&signals, 0);
  put_range(&ranch.tx, 1, BURST + 1);
  support_latch_arrive(&ranch.sent);
  ranch_until(&ranch, BURST + 1);
  used = atomic_load(&signals);
  drop_sender(&ranch.tx);
  for (i = 0; i < HERDS; i++) {
    support_join(&ranch.herds[i].thread);
    support_loop_close(&ranch.herds[i].loop);
  }
  uvch__wake_chosen = chosen;
  support_latch_destroy(&ranch.sent);
  support_result_check(&ranch.result);
  ck_assert_uint_eq(used, HERDS);
}
END_TEST

START_TEST(a_burst_from_a_callback_of_the_loop_makes_no_wakeup) {
  static struct uvch__wake_ops counting;
  const struct uvch__wake_ops* chosen = uvch__wake_chosen;
  play_t play;

  counting = uvch__wake_async;
  counting.signal = count_signal;
  uvch__wake_chosen = &counting;
  play_open(&play, 64, FORM);
  play.at = 0;
  play_start(&play, act_overwrite);
  play_send(&play, 1);
  atomic_store(&signals, 0);
  turn(&play.loop);
  ck_assert_uint_eq(play.done, 1);
  ck_assert_uint_eq(atomic_load(&signals), 0);
  uvch__wake_chosen = chosen;
  play_end(&play);
}
END_TEST

static void add_fan_out(Suite* suite) {
  TCase* tcase = support_case(suite, "fan_out");

  add_for_every_form(tcase, every_receiver_of_a_loop_gets_every_message_in_order, 7);
  add_for_every_form(tcase, each_loop_hands_the_messages_to_its_own_receivers, 1);
  add_for_every_form(tcase, a_receiver_gets_what_is_sent_after_it_has_subscribed, 1);
  add_for_every_form(tcase, a_message_to_a_loop_that_runs_comes_in_a_batch_of_one, 1);
}

static void add_start(Suite* suite) {
  TCase* tcase = support_case(suite, "start");

  tcase_add_test(tcase, start_is_refused_for_wrong_arguments_or_twice);
  add_for_every_form(tcase, a_stopped_receiver_gets_nothing_and_misses_nothing_that_is_kept, 1);
  add_for_every_form(tcase, a_stopped_receiver_falls_behind_and_is_told_by_how_much, 18);
  add_for_every_form(tcase, a_gap_comes_before_what_is_kept_and_that_before_the_end, 1);
  add_for_every_form(tcase, the_end_comes_once_for_every_start, 1);
  add_for_every_form(tcase, a_callback_may_stop_its_receiver, 1);
  tcase_add_test(tcase, a_callback_may_stop_and_start_its_receiver_in_the_other_form);
  add_for_every_form(tcase, stop_and_start_within_one_pass_bring_each_message_once, 1);
}

static void add_batch(Suite* suite) {
  TCase* tcase = support_case(suite, "batch");

  add_for_every_form(tcase, a_batch_has_what_is_there_up_to_its_bound, 1);
  add_for_every_form(tcase, batches_go_over_the_end_of_small_rings, 6);
  add_for_every_form(tcase, messages_in_their_callback_outlive_their_place_in_the_ring, 5);
}

static void add_callback(Suite* suite) {
  TCase* tcase = support_case(suite, "callback");

  add_for_every_form(tcase, a_receiver_may_close_itself_in_the_middle_of_its_messages, PLAYERS);
  add_for_every_form(tcase, a_receiver_may_close_another_one, 4 * 3);
  add_for_every_form(tcase, a_callback_may_close_all_receivers, 3);
  add_for_every_form(tcase, who_subscribes_in_a_callback_gets_only_what_is_sent_from_then_on, 3);
  add_for_every_form(tcase, a_callback_may_send_to_its_own_channel, PLAYERS);
  add_for_every_form(tcase, a_callback_may_take_messages_by_hand, 2);
  add_for_every_form(tcase, a_callback_may_run_its_loop_and_each_message_comes_once_in_order, 1);
  add_for_every_form(tcase, a_callback_may_run_its_loop_until_a_message_has_come_to_another_one_or_to_itself, 2 * PLAYERS);
  add_for_every_form(tcase, a_nested_run_may_close_receivers_whose_callbacks_are_open, 6);
  tcase_add_test(tcase, a_receiver_may_be_freed_while_its_callback_runs_and_its_message_stays_good);
}

static void add_budget(Suite* suite) {
  TCase* tcase = support_case(suite, "budget");

  add_for_every_form(tcase, the_budget_of_messages_is_a_hard_cap, 4);
  add_for_every_form(tcase, a_receiver_that_is_never_through_keeps_nothing_from_the_others_of_its_loop, 2);
  tcase_add_loop_test(tcase, a_flood_to_1000_receivers_starves_neither_another_channel_nor_a_timer_nor_one_of_them, 0,
                      (int) (2 * COUNT(forms)));
}

static void add_handles(Suite* suite) {
  TCase* tcase = support_case(suite, "handles");

  add_for_every_form(tcase, a_started_receiver_keeps_its_loop_and_an_idle_one_does_not, 1);
  tcase_add_test(tcase, a_receiver_has_its_fields_and_keeps_its_data);
  add_for_every_form(tcase, an_attached_receiver_gets_what_was_sent_before, 2);
  add_for_every_form(tcase, an_attached_receiver_whose_senders_are_gone_gets_the_rest_and_the_end, 2);
  add_for_every_form(tcase, try_recv_takes_by_hand_what_a_started_receiver_would_get, 1);
  add_for_every_form(tcase, the_close_callback_comes_last_and_keeps_the_loop_until_then, 4);
  tcase_add_test(tcase, walk_and_close_all_know_broadcast_receivers);
  tcase_add_test(tcase, each_broadcast_receiver_has_a_line);
}

static void add_rest(Suite* suite) {
  TCase* foreign = support_case(suite, "foreign");
  TCase* wake = support_case(suite, "wake");

  add_for_every_form(foreign, a_program_may_close_the_librarys_handles, 2);
  add_for_every_form(foreign, receivers_may_be_closed_before_the_librarys_handles_are, 1);
  add_for_every_form(foreign, a_callback_may_close_the_librarys_handles, 3);
  tcase_add_test(wake, a_burst_to_1000_receivers_on_4_sleeping_loops_makes_one_wakeup_of_each);
  add_for_every_form(wake, a_burst_from_a_callback_of_the_loop_makes_no_wakeup, 1);
}

int main(void) {
  Suite* suite = suite_create("broadcast_loop");

  add_fan_out(suite);
  add_start(suite);
  add_batch(suite);
  add_callback(suite);
  add_budget(suite);
  add_handles(suite);
  add_rest(suite);
  return support_main(suite);
}
