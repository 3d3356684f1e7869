/* SPDX-License-Identifier: MIT
 *
 * Watch receivers on loops: start and stop, coalescing, what callbacks may do, requests that wait for a value, the budget,
 * handles, and how many wake-ups a burst costs. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch_support.h"

#include <stdio.h>

#include "wake.h"

#define PASS_MESSAGES 1024 /* the budget that a loop has to begin with */
#define NO_TIME_BUDGET UINT64_C(1000000000000)

/* How a channel is made: with values of a size that own something or not; and whether old values are kept in use, by receivers
 * and a sender that have borrowed the first one. */
typedef struct form_s {
  size_t size;
  bool owns;
  bool pins;
} form_t;

static const form_t forms[] = {{8, false, false}, {8, true, false}, {200, false, true}, {200, true, true}};
#define FORM (&forms[_i % (int) COUNT(forms)])
#define VARIANT ((size_t) _i / COUNT(forms))
#define add_for_every_form(tcase, test, variants) tcase_add_loop_test(tcase, test, 0, (int) (COUNT(forms) * (size_t) (variants)))
#define SIZE_MOST 200

/* A receiver and what it got. Values are numbers that go up with each send of the case: the newest one is `play->sent`. */

typedef struct play_s play_t;
typedef struct sink_s sink_t;
typedef void (*act_cb)(sink_t* sink, uint64_t value);

struct sink_s {
  uvch_watch_receiver_t rx;
  uint64_t last;
  size_t count; /* callbacks with a value */
  size_t ends;
  bool closed;
  size_t closes;
  act_cb act; /* what it does about each value */
  play_t* play;
};

/* A loop, a channel, and some receivers that were there from the beginning. */

#define PLAYERS 5

struct play_s {
  uv_loop_t loop;
  uvch_watch_sender_t tx;
  sink_t sinks[PLAYERS];
  sink_t late; /* for one that comes later */
  const form_t* form;
  const void* kept; /* the first value, if it is kept */
  bool ended;
  size_t dropped;
  uint64_t sent;
  uint64_t floor; /* the newest one when the loop had its turn; what callbacks send may come with the next one */
  size_t inside;  /* callbacks */
  uint64_t at;    /* the value at which something is done */
  size_t who;
  size_t depth;
  size_t done;
  size_t before[PLAYERS]; /* what they had when something was done */
};

static void sink_value(sink_t* sink, const void* value) {
  size_t size = sink->play->form->size;
  uint64_t number = watch_number(value);

  support_check(number >= sink->play->floor && number <= sink->play->sent);
  support_check(watch_blob_is(value, size, number));
  support_check(watch_blob_is_aligned(value, size));
  support_check(number >= sink->last); /* never one that is older than what it has seen */
  if (sink->play->ended) {
    support_check_eq(uvch_watch_has_changed(&sink->rx), UV_EOF);
  } else {
    support_check_eq(uvch_watch_has_changed(&sink->rx), number < sink->play->sent); /* that one counts as seen */
  }
  sink->last = number;
  sink->count += 1;
  if (sink->act != NULL) {
    sink->play->inside += 1;
    sink->act(sink, number);
    sink->play->inside -= 1;
  }
  support_check(watch_blob_is(value, size, number)); /* still good */
}

static void sink_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  sink_t* sink = rx->data;

  support_check(!sink->closed);
  support_check((status == 0) == (value != NULL));
  if (status == 0) {
    sink_value(sink, value);
    return;
  }
  support_check_eq(status, UV_EOF);
  support_check(sink->play->ended);
  support_check_eq(uvch_is_active((uvch_handle_t*) rx), 0);
  support_check_eq(watch_number(uvch_watch_borrow(rx)), sink->play->sent); /* the last one is there all the same */
  sink->ends += 1;
}

static void sink_start_with(sink_t* sink, unsigned int flags) {
  size_t count = sink->count;

  support_check_eq(uvch_watch_start(&sink->rx, sink_cb, flags), 0);
  support_check_eq(sink->count, count); /* never from inside the call */
}

static void sink_start(sink_t* sink) {
  sink_start_with(sink, 0);
}

static void sink_stop(sink_t* sink) {
  support_check_eq(uvch_watch_stop(&sink->rx), 0);
}

static void sink_on_close(uvch_handle_t* handle) {
  sink_t* sink = handle->data;

  support_check(sink->closed);
  sink->closes += 1;
}

static void sink_close(sink_t* sink) {
  sink->closed = true;
  support_check_eq(uvch_close((uvch_handle_t*) &sink->rx, sink_on_close), 0);
  support_check_eq(sink->closes, 0);
}

static void sink_subscribe(sink_t* sink, uv_loop_t* loop, play_t* play) {
  memset(sink, 0, sizeof(*sink));
  watch_subscribe(loop, &sink->rx, &play->tx);
  sink->rx.data = sink;
  sink->play = play;
  sink->last = play->sent;
  if (play->form->pins) {
    support_check(uvch_watch_borrow(&sink->rx) != NULL);
  }
}

static int copy_bytes(void* to, const void* from, void* arg) {
  play_t* play = arg;

  memcpy(to, from, play->form->size);
  return 0;
}

static void count_drop(void* value, void* arg) {
  play_t* play = arg;

  support_check(watch_blob_is_whole(value, play->form->size));
  play->dropped += 1;
}

/* Without a receiver. The loop of the play is not touched. */
static void play_make(play_t* play, const form_t* form) {
  uvch_watch_options_t options;
  unsigned char first[SIZE_MOST];

  memset(play, 0, sizeof(*play));
  memset(&options, 0, sizeof(options));
  play->form = form;
  options.copy = form->owns ? copy_bytes : NULL;
  options.drop = form->owns ? count_drop : NULL;
  options.arg = play;
  watch_blob_fill(first, form->size, 0);
  watch_open_ex(NULL, NULL, &play->tx, form->size, first, &options);
  if (form->pins) {
    play->kept = uvch_watch_sender_borrow(&play->tx);
    support_check(play->kept != NULL);
  }
}

static void play_open(play_t* play, const form_t* form) {
  size_t i;

  play_make(play, form);
  support_loop_init(&play->loop);
  for (i = 0; i < PLAYERS; i++) {
    sink_subscribe(&play->sinks[i], &play->loop, play);
  }
  support_check_eq(uvch_loop_configure(&play->loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0); /* a turn brings all */
}

static void play_start(play_t* play, act_cb act) {
  size_t i;

  for (i = 0; i < PLAYERS; i++) {
    play->sinks[i].act = act;
    sink_start(&play->sinks[i]);
  }
}

/* Values one after the other, of which the loop sees nothing until it turns. */
static void play_send(play_t* play, size_t count) {
  unsigned char value[SIZE_MOST];

  for (; count > 0; count--) {
    play->sent += 1; /* first: what the send drops may be looked at */
    watch_blob_fill(value, play->form->size, play->sent);
    support_check_eq(uvch_watch_send(&play->tx, value), 0);
  }
  if (play->inside == 0) {
    play->floor = play->sent;
  }
}

static void play_drop_sender(play_t* play) {
  if (!play->ended) {
    play->ended = true;
    support_check(play->kept == NULL || watch_blob_is(play->kept, play->form->size, 0));
    watch_drop_sender(&play->tx);
  }
}

/* All are closed, or this closes them; every value has ended, each once. */
static void play_close(play_t* play) {
  size_t i;

  play_drop_sender(play);
  for (i = 0; i < PLAYERS; i++) {
    if (!play->sinks[i].closed) {
      sink_close(&play->sinks[i]);
    }
  }
  support_loop_end(&play->loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play->sinks[i].closes, 1);
  }
  ck_assert_uint_eq(play->dropped, play->form->owns ? play->sent + 1 : 0);
}

/* Each one that is open still gets the last value, then the end. */
static void play_end(play_t* play) {
  size_t i;

  play_drop_sender(play);
  support_loop_run(&play->loop);
  for (i = 0; i < PLAYERS; i++) {
    if (!play->sinks[i].closed) {
      ck_assert_uint_eq(play->sinks[i].last, play->sent);
      ck_assert_uint_eq(play->sinks[i].ends, 1);
    }
  }
  play_close(play);
}

static size_t play_received(const play_t* play) {
  size_t received = 0;
  size_t i;

  for (i = 0; i < PLAYERS; i++) {
    received += play->sinks[i].count;
  }
  return received;
}

/* The fan-out. */

static bool all_have(const sink_t* sinks, size_t count, uint64_t value) {
  size_t i;

  for (i = 0; i < count && sinks[i].last == value; i++) {}
  return i == count;
}

START_TEST(every_receiver_of_a_loop_gets_the_newest_value_once) {
  static const size_t counts[] = {1, 2, 3, 63, 64, 65, 1000};
  size_t count = counts[VARIANT];
  sink_t* sinks = calloc(count, sizeof(*sinks));
  play_t play;
  size_t round;
  size_t i;

  ck_assert_ptr_nonnull(sinks);
  play_make(&play, FORM);
  support_loop_init(&play.loop);
  for (i = 0; i < count; i++) {
    sink_subscribe(&sinks[i], &play.loop, &play);
    sink_start(&sinks[i]);
  }
  ck_assert_int_eq(uvch_loop_configure(&play.loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0);
  for (round = 1; round <= 10; round++) {
    play_send(&play, round * round); /* all of them are one change */
    ck_assert_uint_eq(sinks[0].count, round - 1);
    watch_pump(&play.loop, all_have(sinks, count, play.sent)); /* after many at a time the library may take a moment */
    for (i = 0; i < count; i++) {
      support_check_eq(sinks[i].count, round);
    }
  }
  play_send(&play, 3);
  play_drop_sender(&play);
  support_loop_run(&play.loop);
  for (i = 0; i < count; i++) {
    support_check_eq(sinks[i].count, round);
    support_check_eq(sinks[i].ends, 1);
    sink_close(&sinks[i]);
  }
  support_loop_end(&play.loop);
  for (i = 0; i < count; i++) {
    support_check_eq(sinks[i].closes, 1);
  }
  ck_assert_uint_eq(play.dropped, FORM->owns ? play.sent + 1 : 0);
  free(sinks);
}
END_TEST

/* One of them is stopped for good, and one loop is behind. */
START_TEST(a_loop_or_a_receiver_that_stands_still_holds_nobody_back) {
  enum { LOOPS = 4, EACH = 10 };
  static sink_t sinks[LOOPS][EACH];
  uv_loop_t loops[LOOPS];
  play_t play;
  size_t round;
  size_t i;
  size_t k;

  play_make(&play, FORM);
  for (i = 0; i < LOOPS; i++) {
    support_loop_init(&loops[i]);
  }
  for (k = 0; k < EACH; k++) { /* they come in turns */
    for (i = 0; i < LOOPS; i++) {
      sink_subscribe(&sinks[i][k], &loops[i], &play);
      sink_start(&sinks[i][k]);
    }
  }
  sink_stop(&sinks[1][3]);
  for (round = 1; round <= 20; round++) {
    play_send(&play, round);
    for (i = LOOPS; i-- > 1;) {
      watch_turn(&loops[i]);
      ck_assert_uint_eq(sinks[i][0].count, round);
      ck_assert_uint_eq(sinks[i][EACH - 1].last, play.sent);
    }
    if (FORM->owns && !FORM->pins) {
      ck_assert_uint_eq(play.dropped, play.sent); /* those who stand still keep nothing */
    }
  }
  ck_assert_uint_eq(sinks[0][0].count, 0);
  ck_assert_uint_eq(sinks[1][3].count, 0);
  sink_start(&sinks[1][3]);
  play_drop_sender(&play);
  for (i = 0; i < LOOPS; i++) {
    support_loop_run(&loops[i]);
    for (k = 0; k < EACH; k++) {
      ck_assert_uint_eq(sinks[i][k].count, i == 0 || (i == 1 && k == 3) ? 1 : 20);
      ck_assert_uint_eq(sinks[i][k].last, play.sent);
      ck_assert_uint_eq(sinks[i][k].ends, 1);
      sink_close(&sinks[i][k]);
    }
    support_loop_end(&loops[i]);
  }
  ck_assert_uint_eq(play.dropped, FORM->owns ? play.sent + 1 : 0);
}
END_TEST

START_TEST(a_value_to_a_loop_that_turns_comes_at_once) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_start(&play, NULL);
  for (i = 1; i <= 20; i++) {
    play_send(&play, 1);
    watch_turn(&play.loop);
    ck_assert_uint_eq(play_received(&play), PLAYERS * i);
  }
  watch_turn(&play.loop);
  ck_assert_uint_eq(play_received(&play), PLAYERS * 20);
  play_end(&play);
}
END_TEST

START_TEST(a_send_of_the_same_bytes_is_a_change) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_log_t log;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  watch_open(&loop, &rx, &tx, 7);
  watch_listen(&rx, &log, 0, true);
  for (i = 0; i < 5; i++) {
    watch_put(&tx, 7);
    watch_turn(&loop);
    watch_heard_all(&log, i + 1, 0);
    watch_heard(&log, i, 0, 7);
  }
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  watch_heard_all(&log, 6, 1);
}
END_TEST

START_TEST(a_receiver_has_seen_the_value_that_is_there_when_it_subscribes) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  for (i = 0; i < PLAYERS; i++) {
    sink_close(&play.sinks[i]);
  }
  watch_turn(&play.loop);
  for (i = 0; i < PLAYERS; i++) { /* they subscribe one after the other, and start later */
    sink_subscribe(&play.sinks[i], &play.loop, &play);
    if (i < 3) {
      play_send(&play, 1);
    }
  }
  play_start(&play, NULL);
  watch_turn(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, i < 3 ? 1 : 0);
  }
  play_send(&play, 1);
  watch_turn(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, i < 3 ? 2 : 1);
  }
  play_end(&play);
}
END_TEST

START_TEST(a_clone_has_seen_what_its_source_has_and_goes_its_own_way) {
  play_t play;

  play_open(&play, FORM);
  sink_start(&play.sinks[0]);
  play_send(&play, 1);
  watch_turn(&play.loop); /* the first one has seen it, the second has not */
  memset(&play.late, 0, sizeof(play.late));
  watch_clone(&play.loop, &play.late.rx, &play.sinks[VARIANT].rx);
  ck_assert_int_eq(uvch_watch_has_changed(&play.late.rx), VARIANT == 1);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.late.rx), 0);
  play.late.rx.data = &play.late;
  play.late.play = &play;
  sink_start(&play.late);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.late.count, VARIANT);
  ck_assert_int_eq(uvch_watch_has_changed(&play.sinks[1].rx), 1); /* not by its clone */
  sink_stop(&play.sinks[0]);
  play_send(&play, 1);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.late.count, VARIANT + 1);
  ck_assert_uint_eq(play.sinks[0].count, 1);
  sink_close(&play.late);
  play_start(&play, NULL);
  play_end(&play);
  ck_assert_uint_eq(play.late.closes, 1);
}
END_TEST

START_TEST(the_last_value_comes_before_the_end) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  if (VARIANT % 2 == 0) {
    play_start(&play, NULL);
  }
  if (VARIANT / 2 == 1) {
    watch_turn(&play.loop);
  }
  play_send(&play, 3);
  play_drop_sender(&play);
  if (VARIANT % 2 == 1) {
    play_start(&play, NULL);
  }
  support_loop_run(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, 1);
    ck_assert_uint_eq(play.sinks[i].ends, 1);
  }
  play_end(&play);
}
END_TEST

/* Start and stop. */

START_TEST(start_is_refused_for_wrong_arguments_or_twice) {
  uvch_watch_receiver_t plain;
  play_t play;

  play_open(&play, &forms[0]);
  watch_subscribe(NULL, &plain, &play.tx);
  play_send(&play, 1);
  ck_assert_int_eq(uvch_watch_start(NULL, watch_never, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_start(&play.sinks[0].rx, NULL, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_start(&plain, watch_never, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_start(&play.sinks[0].rx, watch_never, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_start(&play.sinks[0].rx, watch_never, UVCH_WATCH_CURRENT | 4), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_start(&play.sinks[0].rx, watch_never, ~0U), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_stop(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_stop(&play.sinks[0].rx), 0); /* harmless */
  ck_assert_int_eq(uvch_watch_stop(&plain), 0);
  watch_turn(&play.loop);
  watch_close(&plain);
  ck_assert_int_eq(uvch_watch_stop(&plain), UV_EBADF);
  play_start(&play, NULL);
  ck_assert_int_eq(uvch_watch_start(&play.sinks[0].rx, watch_never, 0), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_start(&play.sinks[0].rx, watch_never, UVCH_WATCH_CURRENT), UV_EALREADY);
  sink_close(&play.sinks[1]);
  ck_assert_int_eq(uvch_watch_start(&play.sinks[1].rx, watch_never, 0), UV_EBADF);
  ck_assert_int_eq(uvch_watch_stop(&play.sinks[1].rx), UV_EBADF);
  play_end(&play);
}
END_TEST

START_TEST(a_change_from_before_the_start_counts_if_it_has_not_been_seen) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_send(&play, 2);
  watch_peek(&play.sinks[1].rx); /* that does not count */
  watch_take(&play.sinks[2].rx);
  ck_assert_int_eq(uvch_watch_mark_unchanged(&play.sinks[3].rx), 0);
  play_start(&play, NULL);
  watch_turn(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, i != 2 && i != 3);
  }
  play.sinks[2].last = play.sent;
  play.sinks[3].last = play.sent;
  play_end(&play);
}
END_TEST

START_TEST(with_current_the_value_that_is_there_comes_once) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_send(&play, 1 + VARIANT); /* some have not been seen, some are seen */
  watch_take(&play.sinks[0].rx);
  watch_take(&play.sinks[1].rx);
  for (i = 0; i < PLAYERS; i++) {
    sink_start_with(&play.sinks[i], UVCH_WATCH_CURRENT);
  }
  if (VARIANT == 1) {
    play_send(&play, 1); /* is the current one when it comes */
  }
  watch_turn(&play.loop);
  watch_turn(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, 1);
    sink_stop(&play.sinks[i]);
    sink_start(&play.sinks[i]); /* without it there is nothing */
  }
  watch_turn(&play.loop);
  ck_assert_uint_eq(play_received(&play), PLAYERS);
  for (i = 0; i < PLAYERS; i++) {
    sink_stop(&play.sinks[i]);
    sink_start_with(&play.sinks[i], UVCH_WATCH_CURRENT); /* again with it */
  }
  watch_turn(&play.loop);
  ck_assert_uint_eq(play_received(&play), 2 * PLAYERS);
  play_end(&play);
}
END_TEST

START_TEST(what_was_seen_by_hand_does_not_come) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_start(&play, NULL);
  for (i = 1; i <= 10; i++) {
    play_send(&play, 2);
    ck_assert_uint_eq(watch_peek(&play.sinks[0].rx), play.sent);
    ck_assert_uint_eq(watch_take(&play.sinks[1].rx), play.sent);
    ck_assert_int_eq(uvch_watch_mark_unchanged(&play.sinks[2].rx), 0);
    ck_assert_int_eq(uvch_watch_mark_unchanged(&play.sinks[3].rx), 0);
    ck_assert_int_eq(uvch_watch_mark_changed(&play.sinks[3].rx), 0); /* or not */
    watch_turn(&play.loop);
    ck_assert_uint_eq(play.sinks[0].count, i);
    ck_assert_uint_eq(play.sinks[1].count, 0);
    ck_assert_uint_eq(play.sinks[2].count, 0);
    ck_assert_uint_eq(play.sinks[3].count, i);
    ck_assert_uint_eq(play.sinks[4].count, i);
  }
  play_send(&play, 1);
  play_end(&play);
}
END_TEST

START_TEST(marking_it_changed_brings_the_same_value_again) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_start(&play, NULL);
  for (i = 1; i <= 5; i++) {
    ck_assert_int_eq(uvch_watch_mark_changed(&play.sinks[1].rx), 0);
    ck_assert_int_eq(uvch_watch_mark_changed(&play.sinks[1].rx), 0); /* once is enough */
    ck_assert_int_eq(uvch_watch_has_changed(&play.sinks[1].rx), 1);
    ck_assert_uint_eq(play.sinks[1].count, i - 1);
    watch_turn(&play.loop);
    ck_assert_uint_eq(play.sinks[1].count, i);
    ck_assert_uint_eq(play_received(&play), i); /* the others are not concerned */
  }
  ck_assert_int_eq(uvch_watch_mark_changed(&play.sinks[1].rx), 0);
  sink_stop(&play.sinks[1]);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.sinks[1].count, 5);
  sink_start(&play.sinks[1]);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.sinks[1].count, 6);
  play_end(&play);
}
END_TEST

/* After the end, too: the value before UV_EOF, which comes for every start. */
START_TEST(marking_it_changed_on_a_channel_that_has_ended_brings_the_last_value) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_send(&play, 1);
  play_drop_sender(&play);
  play_start(&play, NULL);
  support_loop_run(&play.loop);
  for (i = 2; i <= 4; i++) {
    ck_assert_int_eq(uvch_watch_mark_changed(&play.sinks[0].rx), 0);
    ck_assert_int_eq(uvch_watch_has_changed(&play.sinks[0].rx), UV_EOF);
    watch_turn(&play.loop);
    ck_assert_uint_eq(play.sinks[0].count, i - 1); /* not started */
    sink_start(&play.sinks[0]);
    support_loop_run(&play.loop);
    ck_assert_uint_eq(play.sinks[0].count, i);
    ck_assert_uint_eq(play.sinks[0].ends, i);
  }
  ck_assert_uint_eq(play.sinks[1].ends, 1);
  play_close(&play);
}
END_TEST

static void act_mark(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  (void) value;
  if (sink == &play->sinks[play->who] && play->done < play->at) {
    play->done += 1;
    support_check_eq(uvch_watch_mark_changed(&sink->rx), 0);
  }
}

START_TEST(a_callback_may_mark_its_value_changed_and_gets_it_again) {
  play_t play;

  play_open(&play, FORM);
  play.who = VARIANT;
  play.at = 20;
  play_start(&play, act_mark);
  play_send(&play, 1);
  while (play.done < play.at) {
    ck_assert_int_ne(uv_run(&play.loop, UV_RUN_NOWAIT), 0);
  }
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.sinks[VARIANT].count, 21);
  ck_assert_uint_eq(play_received(&play), 21 + PLAYERS - 1);
  play_end(&play);
}
END_TEST

START_TEST(a_stopped_receiver_gets_nothing_until_it_is_started) {
  play_t play;
  size_t i;
  size_t k;

  play_open(&play, FORM);
  for (i = 1; i <= 20; i++) {
    play_start(&play, NULL);
    play_send(&play, i % 4);
    watch_turn(&play.loop);
    ck_assert_uint_eq(play.sinks[i % PLAYERS].last, play.sent);
    play_send(&play, i % 3); /* on its way */
    for (k = 0; k < PLAYERS; k++) {
      play.before[k] = play.sinks[k].count;
      sink_stop(&play.sinks[k]);
    }
    play_send(&play, 2);
    watch_turn(&play.loop);
    for (k = 0; k < PLAYERS; k++) {
      ck_assert_uint_eq(play.sinks[k].count, play.before[k]);
      ck_assert_int_eq(uvch_watch_has_changed(&play.sinks[k].rx), 1);
    }
  }
  play_start(&play, NULL);
  play_end(&play);
}
END_TEST

START_TEST(stop_and_start_within_one_pass_bring_a_change_once) {
  play_t play;
  size_t round;
  size_t i;

  play_open(&play, FORM);
  play_start(&play, NULL);
  for (round = 1; round <= 20; round++) {
    play_send(&play, 1 + round % 3);
    for (i = 0; i < PLAYERS; i++) {
      sink_stop(&play.sinks[i]);
      if (round % 2 == 0) {
        play_send(&play, 1);
      }
      sink_start(&play.sinks[i]);
    }
    watch_turn(&play.loop);
    ck_assert_uint_eq(play_received(&play), PLAYERS * round);
  }
  play_end(&play);
}
END_TEST

START_TEST(the_end_comes_once_for_every_start) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_drop_sender(&play);
  for (i = 1; i <= 4; i++) {
    play_start(&play, NULL);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[0].rx), 1);
    if (i == 3) { /* stopped before it has come: the next start brings it */
      sink_stop(&play.sinks[0]);
      watch_turn(&play.loop);
      ck_assert_uint_eq(play.sinks[0].ends, 2);
      sink_start(&play.sinks[0]);
    }
    support_loop_run(&play.loop);
    watch_turn(&play.loop);
    ck_assert_uint_eq(play.sinks[0].ends, i);
    ck_assert_uint_eq(play.sinks[PLAYERS - 1].ends, i);
  }
  ck_assert_uint_eq(play_received(&play), 0);
  for (i = 0; i < PLAYERS; i++) { /* with it the value comes before */
    sink_start_with(&play.sinks[i], UVCH_WATCH_CURRENT);
  }
  support_loop_run(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, 1);
    ck_assert_uint_eq(play.sinks[i].ends, 5);
  }
  play_close(&play);
}
END_TEST

/* The end is due only when the last value has been seen, in whichever way. */
START_TEST(an_end_that_waits_for_the_last_value_comes_when_that_is_seen_by_hand) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_send(&play, 1);
  play_drop_sender(&play);
  play_start(&play, NULL);
  for (i = 0; i < PLAYERS; i++) {
    if (i % 2 == 0) {
      ck_assert_uint_eq(watch_take(&play.sinks[i].rx), 1);
    }
  }
  support_loop_run(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, i % 2);
    ck_assert_uint_eq(play.sinks[i].ends, 1);
  }
  play_close(&play);
}
END_TEST

static void act_stop(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  if (value >= play->at) {
    sink_stop(sink);
    play->done += 1;
  }
}

START_TEST(a_callback_may_stop_its_receiver) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play.at = 2;
  play_start(&play, act_stop);
  for (i = 0; i < 5; i++) {
    play_send(&play, 1);
    watch_turn(&play.loop);
  }
  ck_assert_uint_eq(play.done, PLAYERS);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, 2);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[i].rx), 0);
    play.sinks[i].act = NULL;
    sink_start(&play.sinks[i]);
  }
  play_end(&play);
}
END_TEST

/* Between the last value and the end. */
START_TEST(a_receiver_that_is_stopped_in_the_callback_for_the_last_value_gets_no_end) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_start(&play, act_stop);
  play_send(&play, 1);
  play_drop_sender(&play);
  support_loop_run(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, 1);
    ck_assert_uint_eq(play.sinks[i].ends, 0);
  }
  play_start(&play, act_stop);
  play_end(&play);
  ck_assert_uint_eq(play_received(&play), PLAYERS);
}
END_TEST

static void act_restart(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  if (value % 2 == 1 && play->done < 50) {
    play->done += 1;
    sink_stop(sink);
    sink_start_with(sink, play->who == 1 ? UVCH_WATCH_CURRENT : 0);
  }
}

/* The callback has seen its value; only with the flag does it come again. */
START_TEST(a_callback_may_stop_and_start_its_receiver) {
  play_t play;

  play_open(&play, FORM);
  play.who = VARIANT;
  play_start(&play, act_restart);
  play_send(&play, 1);
  watch_turn(&play.loop);
  while (VARIANT == 1 && play.done < 50) {
    ck_assert_int_ne(uv_run(&play.loop, UV_RUN_NOWAIT), 0);
  }
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.done, VARIANT == 1 ? 50 : PLAYERS);
  ck_assert_uint_eq(play_received(&play), VARIANT == 1 ? PLAYERS + 50 : PLAYERS);
  play_send(&play, 1);
  play_end(&play);
}
END_TEST

/* What callbacks may do. */

static void act_close_self(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  if (value == play->at && sink == &play->sinks[play->who]) {
    sink_close(sink);
    play_send(play, 3); /* the value that it looks at is an old one now */
  }
}

START_TEST(a_receiver_may_close_itself_in_its_callback) {
  play_t play;

  play_open(&play, FORM);
  play.at = 2;
  play.who = VARIANT;
  play_start(&play, act_close_self);
  play_send(&play, 1);
  watch_turn(&play.loop);
  play_send(&play, 1);
  watch_turn(&play.loop);
  play_end(&play);
  ck_assert_uint_eq(play.sent, 5);
  ck_assert_uint_eq(play.sinks[VARIANT].count, 2);
  ck_assert_uint_eq(play.sinks[VARIANT].ends, 0);
}
END_TEST

static void act_close_other(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t other = ((size_t) (sink - play->sinks) + play->who) % PLAYERS;

  if (value == play->at && !sink->closed && !play->sinks[other].closed) {
    play->done += 1;
    sink_close(&play->sinks[other]);
  }
}

/* Each closes its neighbour at some distance, before or behind it. */
START_TEST(a_receiver_may_close_another_one) {
  play_t play;
  size_t closed = 0;
  size_t i;

  play_open(&play, FORM);
  play.at = 1 + VARIANT / 4;
  play.who = 1 + VARIANT % 4;
  play_start(&play, act_close_other);
  for (i = 0; i < 3; i++) {
    play_send(&play, 1);
    watch_turn(&play.loop);
  }
  play_end(&play);
  for (i = 0; i < PLAYERS; i++) {
    closed += play.sinks[i].ends == 0;
  }
  ck_assert_uint_ge(play.done, 1);
  ck_assert_uint_eq(closed, play.done);
}
END_TEST

static void act_stop_others(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  (void) value;
  for (i = 0; i < PLAYERS; i++) {
    if (&play->sinks[i] != sink) {
      sink_stop(&play->sinks[i]);
    }
  }
  play->done += 1;
}

START_TEST(a_callback_may_stop_the_others_before_they_get_it) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_start(&play, act_stop_others);
  play_send(&play, 1);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.done, 1);
  ck_assert_uint_eq(play_received(&play), 1);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_int_eq(uvch_watch_has_changed(&play.sinks[i].rx), play.sinks[i].count == 0);
    sink_stop(&play.sinks[i]);
  }
  play_start(&play, NULL);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play_received(&play), PLAYERS);
  play_end(&play);
}
END_TEST

static void act_start_others(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  (void) value;
  for (i = 0; i < PLAYERS; i++) {
    if (!uvch_is_active((uvch_handle_t*) &play->sinks[i].rx)) {
      sink_start_with(&play->sinks[i], i % 2 == 0 ? UVCH_WATCH_CURRENT : 0);
      play->done += 1;
    }
  }
}

START_TEST(a_callback_may_start_the_others) {
  play_t play;

  play_open(&play, FORM);
  play.sinks[VARIANT].act = act_start_others;
  sink_start(&play.sinks[VARIANT]);
  play_send(&play, 1);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.done, PLAYERS - 1);
  ck_assert_uint_eq(play_received(&play), PLAYERS);
  play_send(&play, 1);
  play_end(&play);
  ck_assert_uint_eq(play_received(&play), 2 * PLAYERS);
}
END_TEST

static void act_close_all(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  (void) value;
  for (i = 0; i < PLAYERS; i++) {
    play->sinks[i].closed = true;
  }
  support_check_eq(uvch_close_all(&play->loop), PLAYERS);
  play->done += 1;
}

START_TEST(a_callback_may_close_all_receivers) {
  play_t play;

  play_open(&play, FORM);
  play_start(&play, act_close_all);
  play_send(&play, 1);
  support_loop_run(&play.loop);
  ck_assert_uint_eq(play.done, 1);
  ck_assert_uint_eq(play_received(&play), 1);
  ck_assert_int_eq(uvch_watch_sender_is_closed(&play.tx), 1);
  play_send(&play, 1); /* works all the same */
  play_drop_sender(&play);
  support_loop_end(&play.loop);
  ck_assert_uint_eq(play.dropped, FORM->owns ? play.sent + 1 : 0);
}
END_TEST

static void act_subscribe(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  if (value != play->at || play->done++ > 0) {
    return;
  }
  if (play->who / 2 == 0) {
    sink_subscribe(&play->late, &play->loop, play);
  } else {
    memset(&play->late, 0, sizeof(play->late));
    watch_clone(&play->loop, &play->late.rx, &sink->rx);
    play->late.rx.data = &play->late;
    play->late.play = play;
  }
  sink_start_with(&play->late, play->who % 2 == 1 ? UVCH_WATCH_CURRENT : 0);
}

START_TEST(a_callback_may_subscribe_and_clone_and_the_new_one_has_seen_what_it_sees) {
  play_t play;

  play_open(&play, FORM);
  play.at = 2;
  play.who = VARIANT; /* subscribes or clones, with the current one or without */
  play_start(&play, act_subscribe);
  play_send(&play, 2);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.done, PLAYERS);
  ck_assert_uint_eq(play.late.count, VARIANT % 2);
  play_send(&play, 1);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.late.count, 1 + VARIANT % 2);
  sink_close(&play.late);
  play_end(&play);
  ck_assert_uint_eq(play.late.closes, 1);
}
END_TEST

static void act_attach(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  (void) value;
  if (play->done++ == 0) {
    watch_attach(&play->loop, &play->late.rx);
    sink_start(&play->late);
  }
}

START_TEST(a_callback_may_attach_a_receiver_that_gets_what_it_has_not_seen) {
  play_t play;

  play_open(&play, FORM);
  sink_subscribe(&play.late, NULL, &play);
  play_start(&play, act_attach);
  play_send(&play, 3);
  if (VARIANT == 1) {
    watch_take(&play.late.rx);
  }
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.done, PLAYERS);
  ck_assert_uint_eq(play.late.count, 1 - VARIANT);
  play_send(&play, 1);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.late.count, 2 - VARIANT);
  sink_close(&play.late);
  play_end(&play);
}
END_TEST

static void act_send(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  (void) value;
  if (sink == &play->sinks[play->who] && play->sent < play->at) {
    play_send(play, 1 + play->sent % 2);
  }
}

START_TEST(a_callback_may_send_to_its_own_channel) {
  play_t play;

  play_open(&play, FORM);
  play.who = VARIANT;
  play.at = 500;
  play_start(&play, act_send);
  play_send(&play, 1);
  while (play.sent < play.at) {
    ck_assert_int_ne(uv_run(&play.loop, UV_RUN_NOWAIT), 0);
  }
  play_end(&play);
  ck_assert_uint_ge(play.sinks[VARIANT].count, 200);
}
END_TEST

static void act_drop_sender(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  uvch_watch_sender_t clone;

  (void) value;
  if (sink != &play->sinks[play->who] || play->ended) {
    return;
  }
  watch_clone_sender(&play->tx, &clone);
  play_send(play, 1);
  watch_drop_sender(&clone);
  support_check_eq(uvch_watch_sender_sender_count(&play->tx), 1);
  play_drop_sender(play);
}

START_TEST(a_callback_may_close_the_last_sender_and_all_get_the_last_value) {
  play_t play;

  play_open(&play, FORM);
  play.who = VARIANT;
  play_start(&play, act_drop_sender);
  play_send(&play, 1);
  support_loop_run(&play.loop);
  ck_assert(play.ended);
  play_end(&play);
}
END_TEST

/* Everybody's change, as long as they have not had it. */
static void act_take(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  for (i = 0; i < PLAYERS; i++) {
    if (&play->sinks[i] != sink) {
      support_check_eq(watch_take(&play->sinks[i].rx), value);
      play->sinks[i].last = value;
    }
  }
}

START_TEST(a_callback_may_take_the_change_of_the_others) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_start(&play, act_take);
  for (i = 1; i <= 10; i++) {
    play_send(&play, 1);
    watch_turn(&play.loop);
    ck_assert_uint_eq(play_received(&play), i);
  }
  play_end(&play);
}
END_TEST

/* The same when a round has begun with an older value, which must not come to them any more. */
static void act_send_and_take(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  (void) value;
  if (play->sent < play->at) {
    play_send(play, 1);
  }
  for (i = PLAYERS - play->who; i < PLAYERS; i++) { /* the last ones, which have not had their turn */
    play->sinks[i].last = watch_take(&play->sinks[i].rx);
    support_check_eq(play->sinks[i].last, play->sent);
  }
}

START_TEST(who_has_seen_a_newer_value_by_hand_gets_no_older_one) {
  play_t play;

  play_open(&play, FORM);
  play.at = 100;
  play.who = 1 + VARIANT;
  play_start(&play, act_send_and_take);
  while (play.sent < play.at) {
    play_send(&play, 1);
    watch_turn(&play.loop);
  }
  play_end(&play);
}
END_TEST

static void act_send_and_subscribe(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  (void) value;
  if (play->done < play->at) {
    play_send(play, 1);
    play->done += 1;
    if (play->done == play->at) {
      sink_subscribe(&play->late, &play->loop, play);
      sink_start(&play->late);
    }
  }
}

START_TEST(who_subscribes_while_callbacks_send_gets_no_older_value) { /* sends of one to five of them */
  play_t play;

  play_open(&play, FORM);
  play.at = 1 + VARIANT;
  play_start(&play, act_send_and_subscribe);
  play_send(&play, 1);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.done, play.at);
  ck_assert_uint_eq(play.late.count, 0);
  play_send(&play, 1);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.late.count, 1);
  sink_close(&play.late);
  play_end(&play);
}
END_TEST

/* Borrows, through the receiver itself, the same value and then a newer one. */
static void act_borrow(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  const void* borrowed = uvch_watch_borrow(&sink->rx);

  if (value < play->sent) { /* it is a new one, which was sent in a callback before */
    support_check_eq(watch_number(borrowed), play->sent);
    support_check_eq(uvch_watch_borrow_has_changed(&sink->rx), 1);
    return;
  }
  support_check_eq(watch_number(borrowed), value);
  support_check(uvch_watch_borrow(&sink->rx) == borrowed);
  support_check(uvch_watch_borrow_and_update(&sink->rx) == borrowed);
  support_check_eq(uvch_watch_borrow_has_changed(&sink->rx), 0);
  if (play->done++ % 3 == 0 && play->sent < play->at) {
    play_send(play, 1);
    support_check_eq(watch_number(borrowed), value);
    support_check_eq(watch_peek(&sink->rx), value + 1);
    support_check_eq(uvch_watch_borrow_has_changed(&sink->rx), 1);
    if (play->done % 2 == 0) {
      support_check_eq(watch_take(&sink->rx), value + 1); /* so that it does not come */
      sink->last = value + 1;
    }
  }
}

START_TEST(a_callback_may_borrow_and_its_own_value_stays_good) {
  play_t play;

  play_open(&play, FORM);
  play.at = 100;
  play_start(&play, act_borrow);
  while (play.sent < play.at) {
    play_send(&play, 1);
    watch_turn(&play.loop);
  }
  play_end(&play);
}
END_TEST

static void act_nest(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  (void) value;
  if (play->depth >= 4) {
    return;
  }
  if (play->sent < play->at) {
    play_send(play, 1);
  }
  play->depth += 1;
  play->done += 1;
  uv_run(&play->loop, UV_RUN_NOWAIT);
  play->depth -= 1;
}

START_TEST(a_callback_may_run_its_loop) {
  play_t play;

  play_open(&play, FORM);
  play.at = 50 * VARIANT; /* without sends, and with them */
  play_start(&play, act_nest);
  play_send(&play, 1);
  watch_turn(&play.loop);
  play_send(&play, 1);
  watch_turn(&play.loop);
  if (VARIANT == 0) {
    ck_assert_uint_eq(play_received(&play), 2 * PLAYERS);
  }
  play_end(&play);
  ck_assert_uint_gt(play.done, 0);
}
END_TEST

/* Waits in its callback for what the others, or it itself, will get. */
static void act_nest_until(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  sink_t* awaited = &play->sinks[(play->who + play->at) % PLAYERS];

  if (sink == &play->sinks[play->who] && value == 1) {
    play_send(play, 1);
    while (awaited->last < play->sent) {
      uv_run(&play->loop, UV_RUN_NOWAIT);
    }
    play->done += 1;
  }
}

START_TEST(a_callback_may_run_its_loop_until_a_value_has_come_to_another_one_or_to_itself) {
  play_t play;

  play_open(&play, FORM);
  play.who = VARIANT % PLAYERS;
  play.at = VARIANT / PLAYERS;
  play_start(&play, act_nest_until);
  play_send(&play, 1);
  watch_turn(&play.loop);
  play_end(&play);
  ck_assert_uint_eq(play.done, 1);
}
END_TEST

/* The innermost run closes the receivers whose callbacks are still open. */
static void act_nest_close(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  if (play->sent < 20) {
    play_send(play, 1);
  }
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
  size_t i;

  play_open(&play, FORM);
  play.at = 1 + VARIANT % 3;
  play.who = VARIANT / 3;
  play_start(&play, act_nest_close);
  for (i = 0; i < 3; i++) {
    play_send(&play, 1);
    watch_turn(&play.loop);
  }
  ck_assert(play.sinks[play.who].closed);
  play_end(&play);
}
END_TEST

/* In memory of its own that is gone with the close callback. */
typedef struct mayfly_s {
  uvch_watch_receiver_t rx;
  size_t* deaths;
} mayfly_t;

static void mayfly_on_close(uvch_handle_t* handle) {
  mayfly_t* mayfly = handle->data;

  *mayfly->deaths += 1;
  memset(mayfly, 0xdd, sizeof(*mayfly));
  free(mayfly);
}

static void mayfly_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  support_check_eq(status, 0);
  support_check_eq(uvch_close((uvch_handle_t*) rx, mayfly_on_close), 0);
  watch_turn(rx->loop); /* in which its memory may go */
  support_check_eq(watch_number(value), 5);
}

START_TEST(a_receiver_may_be_freed_while_its_callback_runs_and_its_value_stays_good) {
  enum { FLIES = 10 };
  uvch_watch_sender_t tx;
  size_t deaths = 0;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  watch_open(NULL, NULL, &tx, 0);
  for (i = 0; i < FLIES; i++) {
    mayfly_t* mayfly = malloc(sizeof(*mayfly));

    ck_assert_ptr_nonnull(mayfly);
    watch_subscribe(&loop, &mayfly->rx, &tx);
    mayfly->rx.data = mayfly;
    mayfly->deaths = &deaths;
    ck_assert_int_eq(uvch_watch_start(&mayfly->rx, mayfly_on_change, 0), 0);
  }
  watch_put(&tx, 5);
  support_loop_run(&loop);
  ck_assert_uint_eq(deaths, FLIES);
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&tx), 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* At the end. */
static void end_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  sink_t* sink = rx->data;

  sink_cb(rx, status, value);
  if (status != UV_EOF || sink->play->done >= 10) {
    return;
  }
  sink->play->done += 1;
  if (sink->play->done % 3 == 0) {
    sink_close(sink);
    return;
  }
  support_check_eq(uvch_watch_start(rx, end_cb, sink->play->done % 3 == 1 ? UVCH_WATCH_CURRENT : 0), 0);
  if (sink->play->done % 2 == 0) {
    uv_run(rx->loop, UV_RUN_NOWAIT);
  }
}

START_TEST(a_callback_may_start_again_or_close_or_run_the_loop_at_the_end) {
  play_t play;
  size_t ends = 0;
  size_t i;

  play_open(&play, FORM);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_int_eq(uvch_watch_start(&play.sinks[i].rx, end_cb, 0), 0);
  }
  play_send(&play, 1);
  play_drop_sender(&play);
  support_loop_run(&play.loop);
  for (i = 0; i < PLAYERS; i++) {
    ends += play.sinks[i].ends;
  }
  ck_assert_uint_eq(play.done, 10);
  ck_assert_uint_eq(ends, PLAYERS + 7);                 /* 7 of the 10 started again */
  ck_assert_uint_eq(play_received(&play), PLAYERS + 4); /* 4 of them with the value */
  play_close(&play);
}
END_TEST

/* Two channels of one loop that know of each other. */

typedef struct duel_s {
  uvch_watch_receiver_t rx[2];
  uvch_watch_sender_t tx[2];
  uint64_t last[2];
  uint64_t most;
} duel_t;

static void duel_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  duel_t* duel = rx->data;
  size_t self = (size_t) (rx - duel->rx);

  support_check_eq(status, 0);
  duel->last[self] = watch_number(value);
  if (duel->last[self] < duel->most) {
    watch_put(&duel->tx[1 - self], duel->last[self] + 1);
  } else {
    support_check_eq(uvch_close_all(rx->loop), 2);
  }
}

START_TEST(callbacks_may_send_to_another_channel_of_their_loop) {
  uv_loop_t loop;
  duel_t duel;
  size_t i;

  memset(&duel, 0, sizeof(duel));
  support_loop_init(&loop);
  duel.most = 1000;
  for (i = 0; i < 2; i++) {
    watch_open(&loop, &duel.rx[i], &duel.tx[i], 0);
    duel.rx[i].data = &duel;
    ck_assert_int_eq(uvch_watch_start(&duel.rx[i], duel_cb, 0), 0);
  }
  watch_put(&duel.tx[0], 1);
  support_loop_run(&loop);
  ck_assert_uint_eq(duel.last[1], 1000);
  ck_assert_uint_eq(duel.last[0], 999);
  watch_drop_sender(&duel.tx[0]);
  watch_drop_sender(&duel.tx[1]);
  support_loop_end(&loop);
}
END_TEST

/* Requests that wait for a value. A hunter wants a number from `wanted` on, and notes what it has tested. */

typedef struct hunter_s hunter_t;
typedef void (*hunter_act_cb)(hunter_t* hunter, uint64_t value);

struct hunter_s {
  uvch_watch_wait_for_t req;
  uvch_watch_receiver_t* rx;
  uint64_t wanted;
  uint64_t tested; /* the last one */
  size_t tests;
  int answer; /* not 0: of the predicate, instead of no */
  int status;
  uint64_t value;
  size_t calls;
  hunter_act_cb on_test; /* what they do there */
  hunter_act_cb on_done;
  size_t depth;
  void* arg;
};

static int hunter_test(const void* value, void* arg) {
  hunter_t* hunter = arg;
  uint64_t number = watch_number(value);

  support_check_eq(hunter->calls, 0);
  support_check(hunter->tests == 0 || number > hunter->tested); /* not twice */
  hunter->tested = number;
  hunter->tests += 1;
  if (hunter->on_test != NULL) {
    hunter->on_test(hunter, number);
  }
  support_check_eq(watch_number(value), number); /* still good */
  return number >= hunter->wanted ? 1 : hunter->answer;
}

static void hunter_cb(uvch_watch_wait_for_t* req, int status, const void* value) {
  hunter_t* hunter = req->data;
  uint64_t tested = hunter->tested;

  support_check(req == &hunter->req);
  support_check((status == 0) == (value != NULL));
  hunter->calls += 1;
  hunter->status = status;
  hunter->value = value != NULL ? watch_number(value) : 0;
  support_check(value == NULL || hunter->value == tested); /* the very one */
  if (hunter->on_done != NULL) {
    hunter->on_done(hunter, hunter->value);
  }
  support_check(value == NULL || watch_number(value) == tested); /* still good */
}

static int try_hunt(hunter_t* hunter, uvch_watch_receiver_t* rx, uint64_t wanted) {
  memset(hunter, 0, sizeof(*hunter));
  memset(&hunter->req, 0xa5, sizeof(hunter->req)); /* garbage that the library must not look at */
  hunter->req.data = hunter;
  hunter->rx = rx;
  hunter->wanted = wanted;
  hunter->status = WATCH_NOT_DONE;
  return uvch_watch_wait_for(&hunter->req, rx, hunter_test, hunter, hunter_cb);
}

static void hunt(hunter_t* hunter, uvch_watch_receiver_t* rx, uint64_t wanted) {
  support_check_eq(try_hunt(hunter, rx, wanted), 0);
  support_check_eq(hunter->tests + hunter->calls, 0); /* never from inside the call */
  support_check(hunter->req.data == hunter && hunter->req.loop == rx->loop);
  support_check_eq(hunter->req.type, UVCH_WATCH_WAIT_FOR);
}

static int hunter_cancel(hunter_t* hunter) {
  return uvch_cancel((uvch_req_t*) &hunter->req);
}

static void hunter_check(const hunter_t* hunter, int status, uint64_t value, size_t tests) {
  support_check_eq(hunter->calls, 1);
  support_check_eq(hunter->status, status);
  support_check_eq(hunter->value, value);
  support_check_eq(hunter->tests, tests);
}

/* A few passes in which nothing may come, and which the request keeps alive. */
static void hunter_check_waits(uv_loop_t* loop, const hunter_t* hunter, size_t tests) {
  int i;

  for (i = 0; i < 3; i++) {
    support_check(uv_run(loop, UV_RUN_NOWAIT) != 0);
    support_check_eq(hunter->calls, 0);
  }
  support_check_eq(hunter->tests, tests);
}

/* One receiver on a loop. */
typedef struct hunt_s {
  uv_loop_t loop;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  hunter_t hunter;
} hunt_t;

static void hunt_open(hunt_t* h, uint64_t initial) {
  memset(h, 0, sizeof(*h));
  support_loop_init(&h->loop);
  watch_open(&h->loop, &h->rx, &h->tx, initial);
}

static void hunt_end(hunt_t* h) {
  watch_close(&h->rx);
  watch_drop_sender(&h->tx);
  support_loop_end(&h->loop);
}

START_TEST(a_request_tests_the_current_value_first_whether_it_was_seen_or_not) {
  hunt_t h;

  hunt_open(&h, 5);
  if (_i == 1) {
    watch_put(&h.tx, 5);
  }
  hunt(&h.hunter, &h.rx, 5);
  support_loop_run(&h.loop); /* it ends, as the request does */
  hunter_check(&h.hunter, 0, 5, 1);
  ck_assert_int_eq(uvch_watch_has_changed(&h.rx), 0);
  ck_assert_int_eq(hunter_cancel(&h.hunter), UV_EBUSY);
  hunt_end(&h);
}
END_TEST

START_TEST(a_request_tests_each_value_once_that_is_the_newest_when_its_loop_turns) {
  hunt_t h;
  size_t i;

  hunt_open(&h, 0);
  hunt(&h.hunter, &h.rx, 100);
  hunter_check_waits(&h.loop, &h.hunter, 1);
  for (i = 2; i < 10; i++) {
    watch_put(&h.tx, h.hunter.tested + 1); /* is skipped */
    watch_put(&h.tx, h.hunter.tested + 2);
    ck_assert_uint_eq(h.hunter.tests, i - 1);
    hunter_check_waits(&h.loop, &h.hunter, i);
    ck_assert_uint_eq(h.hunter.tested, 2 * (i - 1));
    ck_assert_int_eq(uvch_watch_has_changed(&h.rx), 0); /* it counts as seen */
  }
  ck_assert_int_eq(uvch_watch_mark_changed(&h.rx), 0); /* that is no new version */
  hunter_check_waits(&h.loop, &h.hunter, i - 1);
  watch_put(&h.tx, 200);
  watch_put(&h.tx, 50); /* the newest one counts */
  hunter_check_waits(&h.loop, &h.hunter, i);
  watch_put(&h.tx, 100);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, 0, 100, i + 1);
  hunt_end(&h);
}
END_TEST

START_TEST(requests_one_after_the_other_each_test_what_is_there) {
  hunt_t h;
  size_t i;

  hunt_open(&h, 3);
  for (i = 0; i < 5; i++) {
    hunt(&h.hunter, &h.rx, 3);
    support_loop_run(&h.loop);
    hunter_check(&h.hunter, 0, 3, 1);
    hunt(&h.hunter, &h.rx, 4);
    hunter_check_waits(&h.loop, &h.hunter, 1);
    ck_assert_int_eq(hunter_cancel(&h.hunter), 0);
    support_loop_run(&h.loop);
    hunter_check(&h.hunter, UV_ECANCELED, 0, 1);
  }
  hunt_end(&h);
}
END_TEST

static void hunter_again(hunter_t* hunter, uint64_t value) {
  if (hunter->status == 0 && value < 50) { /* in the memory of the one that is done */
    hunt(hunter, hunter->rx, value + 1);
    hunter->on_done = hunter_again;
    hunter->calls = 0;
  }
}

START_TEST(the_callback_of_a_request_may_make_the_next_one_in_the_same_memory) {
  hunt_t h;
  uint64_t i;

  hunt_open(&h, 0);
  hunt(&h.hunter, &h.rx, 1);
  h.hunter.on_done = hunter_again;
  for (i = 1; i <= 50; i++) {
    watch_put(&h.tx, i);
    watch_turn(&h.loop);
  }
  support_loop_run(&h.loop);
  ck_assert_uint_eq(h.hunter.value, 50);
  hunt_end(&h);
}
END_TEST

static int never_test(const void* value, void* arg) {
  (void) value;
  (void) arg;
  ck_abort_msg("a predicate that must not be called");
  return 1;
}

static void never_done(uvch_watch_wait_for_t* req, int status, const void* value) {
  (void) req;
  (void) value;
  ck_abort_msg("a request that must not call back, status %d", status);
}

START_TEST(a_refused_request_never_calls_back) {
  uvch_watch_receiver_t plain;
  uvch_watch_wait_for_t req;
  hunt_t h;

  memset(&req, 0, sizeof(req));
  hunt_open(&h, 0);
  watch_subscribe(NULL, &plain, &h.tx);
  ck_assert_int_eq(uvch_watch_wait_for(NULL, &h.rx, never_test, NULL, never_done), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for(&req, NULL, never_test, NULL, never_done), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &h.rx, NULL, NULL, never_done), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &h.rx, never_test, NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &plain, never_test, NULL, never_done), UV_EINVAL);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_start(&h.rx, watch_never, 0), 0);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &h.rx, never_test, NULL, never_done), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_stop(&h.rx), 0);
  hunt(&h.hunter, &h.rx, 1);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &h.rx, never_test, NULL, never_done), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_start(&h.rx, watch_never, 0), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_start(&h.rx, watch_never, UVCH_WATCH_CURRENT), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_stop(&h.rx), 0); /* is not about the request */
  hunter_check_waits(&h.loop, &h.hunter, 1);
  watch_close(&plain);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &plain, never_test, NULL, never_done), UV_EBADF);
  watch_put(&h.tx, 1);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, 0, 1, 2);
  ck_assert_int_eq(uvch_watch_start(&h.rx, watch_never, 0), 0); /* now it is free again */
  watch_close(&h.rx);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &h.rx, never_test, NULL, never_done), UV_EBADF);
  watch_drop_sender(&h.tx);
  support_loop_end(&h.loop);
}
END_TEST

START_TEST(a_predicate_that_fails_ends_the_request_with_its_code) {
  static const int codes[] = {UV_EIO, UV_EINVAL, UV_EOF, UV_ECANCELED, INT32_MIN};
  hunt_t h;
  size_t i;

  hunt_open(&h, 0);
  for (i = 0; i < COUNT(codes); i++) {
    hunt(&h.hunter, &h.rx, UINT64_MAX);
    hunter_check_waits(&h.loop, &h.hunter, 1);
    h.hunter.answer = codes[i];
    watch_put(&h.tx, i + 1);
    support_loop_run(&h.loop);
    hunter_check(&h.hunter, codes[i], 0, 2);
    ck_assert_int_eq(uvch_watch_has_changed(&h.rx), 0); /* it was seen */
  }
  hunt_end(&h);
}
END_TEST

START_TEST(a_request_on_a_channel_that_ends_tests_the_last_value_first) {
  bool fits = _i % 2 == 0;
  hunt_t h;

  hunt_open(&h, 1);
  if (_i / 2 == 0) { /* it has ended before */
    watch_drop_sender(&h.tx);
    hunt(&h.hunter, &h.rx, fits ? 1 : 9);
    support_loop_run(&h.loop);
    hunter_check(&h.hunter, fits ? 0 : UV_EOF, fits ? 1 : 0, 1);
  } else if (_i / 2 == 1) { /* it ends with a value */
    hunt(&h.hunter, &h.rx, 2);
    hunter_check_waits(&h.loop, &h.hunter, 1);
    watch_put(&h.tx, fits ? 2 : 1);
    h.hunter.tested = 0;
    watch_drop_sender(&h.tx);
    support_loop_run(&h.loop);
    hunter_check(&h.hunter, fits ? 0 : UV_EOF, fits ? 2 : 0, 2);
  } else { /* or without one */
    hunt(&h.hunter, &h.rx, fits ? 1 : 9);
    if (!fits) {
      hunter_check_waits(&h.loop, &h.hunter, 1);
    }
    watch_drop_sender(&h.tx);
    support_loop_run(&h.loop);
    hunter_check(&h.hunter, fits ? 0 : UV_EOF, fits ? 1 : 0, 1);
  }
  ck_assert_uint_eq(watch_peek(&h.rx), _i == 2 ? 2 : 1); /* stays */
  watch_close(&h.rx);
  support_loop_end(&h.loop);
}
END_TEST

/* Cancelled before it has tested anything, while it waits, and with a change on its way. */
START_TEST(a_cancelled_request_is_told_so_once) {
  hunt_t h;

  hunt_open(&h, 0);
  hunt(&h.hunter, &h.rx, _i == 3 ? 0 : 9);
  if (_i == 1 || _i == 2) {
    hunter_check_waits(&h.loop, &h.hunter, 1);
  }
  if (_i == 2) {
    watch_put(&h.tx, 9);
  }
  ck_assert_int_eq(hunter_cancel(&h.hunter), 0);
  ck_assert_int_eq(hunter_cancel(&h.hunter), UV_EBUSY);
  ck_assert_uint_eq(h.hunter.calls, 0);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, UV_ECANCELED, 0, _i == 1 || _i == 2 ? 1 : 0);
  ck_assert_int_eq(hunter_cancel(&h.hunter), UV_EBUSY);
  ck_assert_int_eq(uvch_watch_has_changed(&h.rx), _i == 2); /* what was not tested was not seen */
  hunt(&h.hunter, &h.rx, _i == 2 ? 9 : 0);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, 0, _i == 2 ? 9 : 0, 1);
  hunt_end(&h);
}
END_TEST

/* The receiver is free for another one once the first has called back, or before. */
START_TEST(after_a_cancel_the_next_request_tests_what_is_there) {
  hunter_t next;
  hunt_t h;
  int answer;

  hunt_open(&h, 0);
  hunt(&h.hunter, &h.rx, 9);
  watch_turn(&h.loop);
  ck_assert_int_eq(hunter_cancel(&h.hunter), 0);
  answer = try_hunt(&next, &h.rx, 0);
  ck_assert(answer == 0 || answer == UV_EALREADY);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, UV_ECANCELED, 0, 1);
  if (answer == 0) {
    hunter_check(&next, 0, 0, 1);
  } else {
    ck_assert_uint_eq(next.calls + next.tests, 0);
  }
  hunt_end(&h);
}
END_TEST

/* What the predicate may do. The answer of cancel and the status agree. */

static void hunter_cancel_self(hunter_t* hunter, uint64_t value) {
  int* answer = hunter->arg;

  if (value == hunter->tested && *answer == WATCH_NOT_DONE) {
    *answer = hunter_cancel(hunter);
  }
}

START_TEST(a_predicate_may_cancel_its_own_request) {
  bool fits = _i % 2 == 0;
  int answer = WATCH_NOT_DONE;
  hunt_t h;

  hunt_open(&h, 1);
  hunt(&h.hunter, &h.rx, fits ? 1 : 9);
  if (_i / 2 == 1) {
    h.hunter.answer = UV_EIO; /* it fails besides */
  }
  h.hunter.arg = &answer;
  h.hunter.on_test = hunter_cancel_self;
  watch_turn(&h.loop);
  ck_assert(answer == 0 || answer == UV_EBUSY);
  if (answer != 0 && !fits && _i / 2 == 0) { /* then it waits on */
    hunter_check_waits(&h.loop, &h.hunter, 1);
    h.hunter.on_test = NULL;
    watch_put(&h.tx, 9);
    support_loop_run(&h.loop);
    hunter_check(&h.hunter, 0, 9, 2);
  } else if (answer == 0) {
    hunter_check(&h.hunter, UV_ECANCELED, 0, 1);
  } else {
    hunter_check(&h.hunter, fits ? 0 : UV_EIO, fits ? 1 : 0, 1);
  }
  support_loop_run(&h.loop);
  ck_assert_uint_eq(h.hunter.calls, 1);
  hunt_end(&h);
}
END_TEST

static void hunter_on_close(uvch_handle_t* handle) {
  hunter_t* hunter = handle->data;

  support_check_eq(hunter->calls, 1); /* comes before */
  hunter->arg = NULL;
}

static void hunter_close(hunter_t* hunter, uint64_t value) {
  (void) value;
  if (!uvch_is_closing((uvch_handle_t*) hunter->rx)) {
    hunter->rx->data = hunter;
    hunter->arg = hunter;
    support_check_eq(uvch_close((uvch_handle_t*) hunter->rx, hunter_on_close), 0);
    support_check(hunter->arg != NULL);
  }
}

static void hunter_close_and_turn(hunter_t* hunter, uint64_t value) {
  uv_loop_t* loop = hunter->rx->loop;

  hunter_close(hunter, value);
  if (hunter->tests == 1 && hunter->depth++ == 0) {
    watch_turn(loop);
  }
}

START_TEST(a_predicate_may_close_its_receiver) {
  bool fits = _i % 2 == 0;
  hunt_t h;

  hunt_open(&h, 1);
  hunt(&h.hunter, &h.rx, fits ? 1 : 9);
  if (_i / 2 % 2 == 1) {
    h.hunter.answer = UV_EIO;
  }
  h.hunter.on_test = _i / 4 == 0 ? hunter_close : hunter_close_and_turn;
  support_loop_run(&h.loop);
  ck_assert_uint_eq(h.hunter.calls, 1);
  ck_assert_uint_eq(h.hunter.tests, 1);
  if (_i % 4 == 1) { /* it says no */
    ck_assert_int_eq(h.hunter.status, UV_ECANCELED);
  } else {
    ck_assert(h.hunter.status == UV_ECANCELED || h.hunter.status == (fits ? 0 : UV_EIO));
  }
  ck_assert_ptr_null(h.hunter.arg);
  watch_drop_sender(&h.tx);
  support_loop_end(&h.loop);
}
END_TEST

START_TEST(the_callback_of_a_request_may_close_its_receiver_and_run_the_loop) {
  hunt_t h;

  hunt_open(&h, 1);
  hunt(&h.hunter, &h.rx, 2);
  h.hunter.on_done = _i % 2 == 0 ? hunter_close : hunter_close_and_turn;
  watch_turn(&h.loop);
  if (_i / 2 == 0) {
    watch_put(&h.tx, 2);
  } else {
    ck_assert_int_eq(hunter_cancel(&h.hunter), 0);
  }
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, _i / 2 == 0 ? 0 : UV_ECANCELED, _i / 2 == 0 ? 2 : 0, _i / 2 == 0 ? 2 : 1);
  ck_assert_ptr_null(h.hunter.arg);
  watch_drop_sender(&h.tx);
  support_loop_end(&h.loop);
}
END_TEST

/* Before it has tested anything, while it waits, with a change on its way, and when it is cancelled. */
START_TEST(closing_the_receiver_cancels_its_request_before_the_close_callback) {
  hunt_t h;

  hunt_open(&h, 0);
  hunt(&h.hunter, &h.rx, _i == 0 ? 0 : 9);
  if (_i > 0) {
    watch_turn(&h.loop);
  }
  if (_i == 2) {
    watch_put(&h.tx, 9);
  }
  if (_i == 3) {
    ck_assert_int_eq(hunter_cancel(&h.hunter), 0);
  }
  hunter_close(&h.hunter, 0);
  ck_assert_uint_eq(h.hunter.calls, 0);
  if (_i != 3) {
    ck_assert_int_eq(hunter_cancel(&h.hunter), UV_EBUSY);
  }
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, UV_ECANCELED, 0, _i > 0);
  ck_assert_ptr_null(h.hunter.arg);
  watch_drop_sender(&h.tx);
  support_loop_end(&h.loop);
}
END_TEST

static void hunter_send(hunter_t* hunter, uint64_t value) {
  if (value < 100) {
    watch_put(hunter->arg, value + 1);
  }
}

START_TEST(a_predicate_may_send_to_its_own_channel) {
  hunt_t h;

  hunt_open(&h, 0);
  hunt(&h.hunter, &h.rx, 50);
  h.hunter.on_test = hunter_send;
  h.hunter.arg = &h.tx;
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, 0, 50, 51);
  ck_assert_int_eq(uvch_watch_has_changed(&h.rx), 1); /* the one after it */
  ck_assert_uint_eq(watch_take(&h.rx), 51);
  hunt_end(&h);
}
END_TEST

static void hunter_run_loop(hunter_t* hunter, uint64_t value) {
  if (value < 20) {
    watch_put(hunter->arg, value + 1);
  }
  uv_run(hunter->rx->loop, UV_RUN_NOWAIT);
}

START_TEST(a_predicate_may_run_its_loop) {
  uvch_watch_receiver_t other;
  watch_log_t log;
  hunt_t h;

  hunt_open(&h, 0);
  watch_subscribe(&h.loop, &other, &h.tx);
  watch_listen(&other, &log, 0, true);
  hunt(&h.hunter, &h.rx, 20);
  h.hunter.on_test = hunter_run_loop;
  h.hunter.arg = &h.tx;
  watch_pump(&h.loop, h.hunter.calls > 0);
  hunter_check(&h.hunter, 0, 20, 21);
  watch_turn(&h.loop);
  ck_assert_uint_eq(log.last, 20);
  watch_drop_sender(&h.tx);
  support_loop_run(&h.loop);
  watch_heard(&log, atomic_load(&log.count) - 1, UV_EOF, 0);
  watch_close(&h.rx);
  support_loop_end(&h.loop);
}
END_TEST

/* Other ends of the same channel, and a request of another receiver. */
typedef struct meddler_s {
  hunt_t* h;
  uvch_watch_receiver_t others[2];
  watch_log_t logs[2];
  uvch_watch_receiver_t third;
  hunter_t hunter;
  uvch_watch_receiver_t fresh[2];
  uvch_watch_sender_t clone;
} meddler_t;

static void hunter_meddle(hunter_t* hunter, uint64_t value) {
  meddler_t* m = hunter->arg;
  hunt_t* h = m->h;

  if (hunter->tests == 1) {
    support_check_eq(watch_peek(&h->rx), value);
    support_check_eq(watch_take(&h->rx), value);
    support_check_eq(uvch_watch_has_changed(&h->rx), 0);
    support_check_eq(uvch_watch_start(&h->rx, watch_never, 0), UV_EALREADY);
    support_check_eq(watch_sender_peek(&h->tx), value);
    watch_clone(&h->loop, &m->fresh[0], &h->rx);
    watch_close(&m->fresh[0]);
    watch_subscribe(NULL, &m->fresh[1], &h->tx);
    watch_attach(&h->loop, &m->fresh[1]);
    watch_close(&m->fresh[1]);
    watch_clone_sender(&h->tx, &m->clone);
    watch_close(&m->others[0]);
    support_check_eq(uvch_watch_stop(&m->others[1]), 0);
    support_check_eq(hunter_cancel(&m->hunter), 0);
    watch_put(&m->clone, value + 1);
    watch_turn(&h->loop);
  } else if (hunter->tests == 2) {
    support_check_eq(m->hunter.status, UV_ECANCELED);
    watch_listen(&m->others[1], &m->logs[1], UVCH_WATCH_CURRENT, true);
    watch_drop_sender(&m->clone);
    watch_drop_sender(&h->tx);
  }
}

START_TEST(a_predicate_may_use_its_channel_and_everything_of_it) {
  meddler_t m;
  hunt_t h;

  memset(&m, 0, sizeof(m));
  hunt_open(&h, 1);
  m.h = &h;
  watch_subscribe(&h.loop, &m.others[0], &h.tx);
  watch_subscribe(&h.loop, &m.others[1], &h.tx);
  watch_subscribe(&h.loop, &m.third, &h.tx);
  watch_listen(&m.others[0], &m.logs[0], 0, true);
  watch_listen(&m.others[1], &m.logs[1], 0, true);
  hunt(&m.hunter, &m.third, 99);
  watch_turn(&h.loop);
  hunt(&h.hunter, &h.rx, 99);
  h.hunter.on_test = hunter_meddle;
  h.hunter.arg = &m;
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, UV_EOF, 0, 2);
  hunter_check(&m.hunter, UV_ECANCELED, 0, 1);
  watch_heard_all(&m.logs[0], 0, 0);
  watch_heard_all(&m.logs[1], 2, 1);
  watch_heard(&m.logs[1], 0, 0, 2);
  watch_close(&m.third);
  watch_close(&h.rx);
  support_loop_end(&h.loop);
}
END_TEST

/* The value of the callback is the one that was tested, and not a newer one. */
static void hunter_send_newer(hunter_t* hunter, uint64_t value) {
  if (value < 10) {
    watch_put(hunter->arg, value + 10);
  }
}

static void hunter_borrow_newer(hunter_t* hunter, uint64_t value) {
  support_check_eq(watch_take(hunter->rx), value + 10);
}

START_TEST(the_value_of_a_request_is_the_one_that_the_predicate_said_yes_to) {
  hunt_t h;

  hunt_open(&h, 0);
  hunt(&h.hunter, &h.rx, 5);
  watch_turn(&h.loop);
  h.hunter.on_test = hunter_send_newer;
  h.hunter.on_done = hunter_borrow_newer;
  h.hunter.arg = &h.tx;
  watch_put(&h.tx, 5);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, 0, 5, 2);
  hunt_end(&h);
}
END_TEST

/* Everything is freed in the callback, which looks at nothing any more. */
static void freeing_cb(uvch_watch_wait_for_t* req, int status, const void* value) {
  hunter_t* hunter = req->data;
  size_t* freed = hunter->arg;

  support_check_eq(status, 0);
  memset(hunter, 0xdd, sizeof(*hunter));
  free(hunter);
  support_check_eq(watch_number(value), 4);
  *freed += 1;
}

START_TEST(a_request_may_be_freed_in_its_callback) {
  hunter_t* hunter = malloc(sizeof(*hunter));
  size_t freed = 0;
  hunt_t h;

  ck_assert_ptr_nonnull(hunter);
  hunt_open(&h, 4);
  memset(hunter, 0, sizeof(*hunter));
  hunter->req.data = hunter;
  hunter->arg = &freed;
  hunter->wanted = 4;
  ck_assert_int_eq(uvch_watch_wait_for(&hunter->req, &h.rx, hunter_test, hunter, freeing_cb), 0);
  support_loop_run(&h.loop);
  ck_assert_uint_eq(freed, 1);
  hunt_end(&h);
}
END_TEST

/* A request of another receiver, whose value is there already. */
static void starter_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  hunter_t* hunter = rx->data;

  support_check(status == 0 && value != NULL);
  if (hunter->status == WATCH_NOT_DONE && hunter->req.data == NULL) {
    hunt(hunter, hunter->rx, 1);
  }
}

START_TEST(a_callback_of_one_receiver_may_make_a_request_of_another) {
  uvch_watch_receiver_t started[2]; /* before and after it */
  hunt_t h;

  hunt_open(&h, 0);
  watch_subscribe(&h.loop, &started[0], &h.tx);
  watch_subscribe(&h.loop, &started[1], &h.tx);
  h.hunter.rx = _i / 2 == 0 ? &h.rx : &started[1 - _i % 2];
  h.hunter.status = WATCH_NOT_DONE;
  started[_i % 2].data = &h.hunter;
  ck_assert_int_eq(uvch_watch_start(&started[_i % 2], starter_cb, 0), 0);
  watch_put(&h.tx, 1);
  watch_turn(&h.loop);
  hunter_check(&h.hunter, 0, 1, 1);
  watch_close(&started[0]);
  watch_close(&started[1]);
  hunt_end(&h);
}
END_TEST

/* When the round of callbacks has begun with an older value: the first one that is tested is the newest all the same. */
static void act_send_and_hunt(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  hunter_t* hunter = play->late.rx.data;

  (void) value;
  if (play->done < play->at) {
    play_send(play, 1);
    play->done += 1;
    if (play->done == play->at) {
      hunt(hunter, &play->late.rx, play->sent);
    }
  }
}

START_TEST(a_request_of_a_callback_tests_the_newest_value_though_others_send) {
  hunter_t hunter;
  play_t play;

  play_open(&play, FORM);
  sink_subscribe(&play.late, &play.loop, &play);
  play.late.rx.data = &hunter;
  play.at = 1 + VARIANT;
  play_start(&play, act_send_and_hunt);
  play_send(&play, 1);
  watch_turn(&play.loop);
  hunter_check(&hunter, 0, 2 + VARIANT, 1);
  watch_close(&play.late.rx);
  play_end(&play);
}
END_TEST

/* In its own callback: it stops, and waits. */
static void stopper_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  hunter_t* hunter = rx->data;

  support_check(status == 0 && value != NULL);
  support_check_eq(try_hunt(hunter, rx, 3), UV_EALREADY);
  support_check_eq(uvch_watch_stop(rx), 0);
  hunt(hunter, rx, 3);
}

START_TEST(a_callback_may_stop_its_receiver_and_wait_for_a_value) {
  hunt_t h;

  hunt_open(&h, 0);
  h.rx.data = &h.hunter;
  ck_assert_int_eq(uvch_watch_start(&h.rx, stopper_cb, 0), 0);
  watch_put(&h.tx, 1);
  hunter_check_waits(&h.loop, &h.hunter, 1); /* that one again: the request has not tested it */
  watch_put(&h.tx, 3);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, 0, 3, 2);
  hunt_end(&h);
}
END_TEST

START_TEST(a_request_keeps_its_loop_whatever_its_receiver_does) {
  hunt_t h;

  hunt_open(&h, 0);
  uvch_unref((uvch_handle_t*) &h.rx);
  support_loop_run(&h.loop);
  hunt(&h.hunter, &h.rx, 1);
  ck_assert_int_ne(uv_loop_alive(&h.loop), 0);
  hunter_check_waits(&h.loop, &h.hunter, 1);
  ck_assert_int_eq(uv_loop_close(&h.loop), UV_EBUSY);
  uvch_ref((uvch_handle_t*) &h.rx);
  uvch_unref((uvch_handle_t*) &h.rx);
  hunter_check_waits(&h.loop, &h.hunter, 1);
  watch_put(&h.tx, 1);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, 0, 1, 2);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &h.rx), 0);
  hunt_end(&h);
}
END_TEST

START_TEST(an_attached_receiver_may_wait_for_a_value) {
  hunt_t h;

  memset(&h, 0, sizeof(h));
  support_loop_init(&h.loop);
  watch_open(NULL, &h.rx, &h.tx, 0);
  watch_put(&h.tx, 1);
  watch_attach(&h.loop, &h.rx);
  hunt(&h.hunter, &h.rx, 2);
  hunter_check_waits(&h.loop, &h.hunter, 1);
  watch_put(&h.tx, 2);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, 0, 2, 2);
  hunt_end(&h);
}
END_TEST

/* Many receivers, which wait for values of their own, beside some that are started. */
START_TEST(requests_of_many_receivers_are_told_each_in_its_turn) {
  enum { HUNTERS = 100 };
  static uvch_watch_receiver_t rx[HUNTERS];
  static hunter_t hunters[HUNTERS];
  size_t budget = _i == 0 ? 1 : 1000;
  uvch_watch_receiver_t started;
  watch_log_t log;
  uint64_t value;
  hunt_t h;
  size_t i;

  hunt_open(&h, 0);
  ck_assert_int_eq(uvch_loop_configure(&h.loop, UVCH_LOOP_BUDGET_MESSAGES, budget), 0);
  watch_subscribe(&h.loop, &started, &h.tx);
  watch_listen(&started, &log, 0, false);
  for (i = 0; i < HUNTERS; i++) {
    watch_subscribe(&h.loop, &rx[i], &h.tx);
    hunt(&hunters[i], &rx[i], 1 + i / 20);
  }
  for (value = 1; value <= 5; value++) {
    watch_put(&h.tx, value);
    watch_pump(&h.loop, hunters[20 * value - 1].calls == 1 && log.last == value);
    for (i = 20 * (value - 1); i < 20 * value; i++) { /* those in front may have to wait for their turn */
      watch_pump(&h.loop, hunters[i].calls == 1);
      support_check_eq(hunters[i].value, value);
    }
    for (; i < HUNTERS; i++) {
      support_check_eq(hunters[i].calls, 0);
    }
  }
  for (i = 0; i < HUNTERS; i++) {
    support_check_eq(hunters[i].status, 0);
    watch_close(&rx[i]);
  }
  watch_close(&started);
  hunt_end(&h);
}
END_TEST

START_TEST(a_request_without_memory_is_refused_and_never_calls_back) {
  size_t n = 0;
  int answer;
  hunt_t h;

  memset(&h, 0, sizeof(h));
  support_loop_init(&h.loop);
  watch_open(&h.loop, &h.rx, &h.tx, 0);
  do {
    support_alloc_mark();
    support_alloc_fail(++n);
    answer = try_hunt(&h.hunter, &h.rx, 1);
    support_alloc_fail(0);
    ck_assert_int_eq(answer, support_alloc_failed() > 0 ? UV_ENOMEM : 0);
    if (answer != 0) {
      watch_turn(&h.loop);
      ck_assert_uint_eq(h.hunter.calls + h.hunter.tests, 0);
    }
  } while (answer != 0);
  watch_put(&h.tx, 1);
  support_loop_run(&h.loop);
  hunter_check(&h.hunter, 0, 1, h.hunter.tests);
  hunt_end(&h);
}
END_TEST

static void hunter_cancel_others(hunter_t* hunter, uint64_t value) {
  hunter_t* hunters = hunter->arg;
  size_t i;

  (void) value;
  for (i = 0; i < 5; i++) {
    if (&hunters[i] != hunter) {
      support_check_eq(hunter_cancel(&hunters[i]), 0);
    }
  }
  hunter->answer = UV_EIO;
}

START_TEST(a_predicate_may_cancel_the_requests_of_the_others) {
  enum { HUNTERS = 5 };
  uvch_watch_receiver_t rx[HUNTERS];
  hunter_t hunters[HUNTERS];
  hunt_t h;
  size_t i;

  hunt_open(&h, 0);
  for (i = 0; i < HUNTERS; i++) {
    watch_subscribe(&h.loop, &rx[i], &h.tx);
    hunt(&hunters[i], &rx[i], 9);
    hunters[i].arg = hunters;
    hunters[i].on_test = i == (size_t) _i ? hunter_cancel_others : NULL;
  }
  support_loop_run(&h.loop);
  for (i = 0; i < HUNTERS; i++) {
    ck_assert_uint_eq(hunters[i].calls, 1);
    ck_assert_int_eq(hunters[i].status, i == (size_t) _i ? UV_EIO : UV_ECANCELED);
    ck_assert_uint_le(hunters[i].tests, 1);
    watch_close(&rx[i]);
  }
  hunt_end(&h);
}
END_TEST

/* The budget. */

typedef struct gauge_s {
  play_t play;
  uv_check_t check;
  size_t last;
  size_t most;
} gauge_t;

static void gauge_on_check(uv_check_t* check) {
  gauge_t* gauge = check->data;
  size_t received = play_received(&gauge->play);

  gauge->most = received - gauge->last > gauge->most ? received - gauge->last : gauge->most;
  gauge->last = received;
}

static void gauge_open(gauge_t* gauge, const form_t* form, size_t budget) {
  memset(gauge, 0, sizeof(*gauge));
  play_open(&gauge->play, form);
  uv_check_init(&gauge->play.loop, &gauge->check);
  gauge->check.data = gauge;
  uv_check_start(&gauge->check, gauge_on_check);
  ck_assert_int_eq(uvch_loop_configure(&gauge->play.loop, UVCH_LOOP_BUDGET_MESSAGES, budget), 0);
}

static void gauge_end(gauge_t* gauge) {
  uv_close((uv_handle_t*) &gauge->check, NULL);
  play_end(&gauge->play);
}

START_TEST(the_budget_of_messages_is_a_hard_cap) {
  static const size_t budgets[] = {1, 2, 4, 5, 100};
  size_t budget = budgets[VARIANT];
  gauge_t gauge;
  size_t i;

  gauge_open(&gauge, FORM, budget);
  play_start(&gauge.play, NULL);
  for (i = 1; i <= 20; i++) {
    play_send(&gauge.play, 1);
    while (play_received(&gauge.play) < PLAYERS * i) {
      uv_run(&gauge.play.loop, UV_RUN_NOWAIT);
    }
  }
  uv_run(&gauge.play.loop, UV_RUN_NOWAIT); /* so that the last pass is counted */
  ck_assert_uint_eq(gauge.most, budget < PLAYERS ? budget : PLAYERS);
  gauge_end(&gauge);
}
END_TEST

/* The one in front always has a new value. */
START_TEST(with_a_small_budget_and_a_value_for_every_pass_each_one_has_its_turn) {
  static const size_t budgets[] = {1, 2, 4};
  enum { PASSES = 400 };
  gauge_t gauge;
  size_t i;

  gauge_open(&gauge, FORM, budgets[VARIANT]);
  play_start(&gauge.play, NULL);
  for (i = 0; i < PASSES; i++) {
    play_send(&gauge.play, 1);
    uv_run(&gauge.play.loop, UV_RUN_NOWAIT);
  }
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_ge(gauge.play.sinks[i].count, PASSES / (4 * PLAYERS));
  }
  ck_assert_uint_eq(gauge.most, budgets[VARIANT]);
  gauge_end(&gauge);
}
END_TEST

/* Sends from its callback, or marks it changed, so that it is never through. */
static void act_go_on(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;
  size_t i;

  (void) value;
  if (sink != &play->sinks[play->who] || sink->count >= play->at) {
    return;
  }
  if (play->depth == 0) {
    play_send(play, 1);
  } else {
    support_check_eq(uvch_watch_mark_changed(&sink->rx), 0);
  }
  for (i = 0; i < PLAYERS; i++) { /* nobody else is far behind */
    support_check(play->sent - play->sinks[i].last <= 2 * PASS_MESSAGES);
  }
}

START_TEST(a_receiver_that_is_never_through_keeps_nothing_from_the_others_of_its_loop) {
  play_t play;

  play_open(&play, FORM);
  play.who = VARIANT % 2;
  play.depth = VARIANT / 2;
  play.at = 10 * PASS_MESSAGES;
  play_start(&play, act_go_on);
  watch_turn(&play.loop);
  play_send(&play, 1);
  while (play.sinks[play.who].count < play.at) {
    uv_run(&play.loop, UV_RUN_NOWAIT);
    support_check_eq(play.sinks[PLAYERS - 1].count > 0, 1); /* from the first pass on */
  }
  play_end(&play);
}
END_TEST

/* A flooded channel with 1,000 receivers, and beside it a channel of another kind, another watch channel and a timer, which are
 * counted in passes. */

#define CROWD 1000
#define FLOOD_PASSES 300

typedef struct flood_s {
  play_t play;
  uv_idle_t idle; /* the check callback comes though there is nothing to do */
  uv_check_t check;
  uv_timer_t timer;
  uvch_mpsc_receiver_t other_rx;
  uvch_mpsc_sender_t other_tx;
  uvch_watch_receiver_t watch_rx;
  uvch_watch_sender_t watch_tx;
  sink_t sinks[CROWD];
  size_t passes;
  size_t other_sent;
  size_t other_sent_in; /* pass */
  size_t other_received;
  size_t watch_received;
  size_t other_latest; /* passes from the send to the callback */
  size_t ticks;
  size_t timer_set_in; /* pass */
  size_t timer_latest;
  size_t least; /* values that a receiver had at the end of the flood */
} flood_t;

static void flood_note(flood_t* flood, size_t* received) {
  size_t passes = flood->passes - flood->other_sent_in;

  *received += 1;
  flood->other_latest = passes > flood->other_latest ? passes : flood->other_latest;
}

static void flood_on_other(uvch_mpsc_receiver_t* rx, int status, void* item) {
  flood_t* flood = rx->data;

  (void) item;
  if (status == UV_EOF) {
    support_close(rx);
  } else {
    flood_note(flood, &flood->other_received);
  }
}

static void flood_on_watch(uvch_watch_receiver_t* rx, int status, const void* value) {
  flood_t* flood = rx->data;

  (void) value;
  if (status == UV_EOF) {
    watch_close(rx);
  } else {
    flood_note(flood, &flood->watch_received);
  }
}

static void flood_on_timer(uv_timer_t* timer) {
  flood_t* flood = timer->data;
  size_t passes = flood->passes - flood->timer_set_in;

  flood->ticks += 1;
  flood->timer_latest = passes > flood->timer_latest ? passes : flood->timer_latest;
}

static void flood_more(flood_t* flood) {
  play_send(&flood->play, 3);
  if (flood->other_received == flood->other_sent && flood->watch_received == flood->other_sent) {
    flood->other_sent += 1;
    flood->other_sent_in = flood->passes;
    support_put(&flood->other_tx, flood->other_sent);
    watch_put(&flood->watch_tx, flood->other_sent);
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
  play_drop_sender(&flood->play);
  support_drop_sender(&flood->other_tx);
  watch_drop_sender(&flood->watch_tx);
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

static void act_send_more(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  (void) value;
  if (!play->ended && play->sent % 7 != 0) { /* so that none of them is the newest for long */
    play_send(play, 1);
  }
}

static void flood_open(flood_t* flood, const form_t* form, act_cb act) {
  uv_loop_t* loop = &flood->play.loop;
  size_t i;

  memset(flood, 0, sizeof(*flood));
  play_make(&flood->play, form);
  support_loop_init(loop);
  for (i = 0; i < CROWD; i++) {
    sink_subscribe(&flood->sinks[i], loop, &flood->play);
    flood->sinks[i].act = act;
    sink_start(&flood->sinks[i]);
  }
  ck_assert_int_eq(uvch_mpsc_init(loop, &flood->other_rx, &flood->other_tx, sizeof(uint64_t), 4), 0);
  flood->other_rx.data = flood;
  ck_assert_int_eq(uvch_mpsc_recv_start(&flood->other_rx, flood_on_other), 0);
  watch_open(loop, &flood->watch_rx, &flood->watch_tx, 0);
  flood->watch_rx.data = flood;
  ck_assert_int_eq(uvch_watch_start(&flood->watch_rx, flood_on_watch, 0), 0);
  ck_assert_int_eq(uvch_loop_configure(loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0);
  uv_check_init(loop, &flood->check);
  flood->check.data = flood;
  uv_check_start(&flood->check, flood_on_check);
  uv_idle_init(loop, &flood->idle);
  uv_idle_start(&flood->idle, watch_prop_on_idle);
  uv_timer_init(loop, &flood->timer);
  flood->timer.data = flood;
}

START_TEST(a_flood_to_1000_receivers_starves_neither_other_channels_nor_a_timer_nor_one_of_them) {
  static flood_t flood;
  size_t i;

  flood_open(&flood, FORM, VARIANT == 1 ? act_send_more : NULL);
  support_loop_run(&flood.play.loop);
  for (i = 0; i < CROWD; i++) {
    support_check_eq(flood.sinks[i].last, flood.play.sent);
    support_check_eq(flood.sinks[i].ends, 1);
    sink_close(&flood.sinks[i]);
  }
  support_loop_end(&flood.play.loop);
  ck_assert_uint_eq(flood.play.dropped, FORM->owns ? flood.play.sent + 1 : 0);
  ck_assert_uint_eq(flood.other_received, flood.other_sent);
  ck_assert_uint_ge(flood.watch_received, flood.other_sent - 1);
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

  play_open(&play, FORM);
  support_loop_run(&play.loop); /* idle they keep nothing */
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[0].rx), 0);
  sink_start(&play.sinks[1]);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[1].rx), 1);
  ck_assert_int_ne(uv_run(&play.loop, UV_RUN_NOWAIT), 0);
  ck_assert_int_eq(uv_loop_close(&play.loop), UV_EBUSY);
  sink_stop(&play.sinks[1]);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[1].rx), 0);
  play_send(&play, 1); /* what they have not seen keeps nothing either */
  support_loop_run(&play.loop);
  sink_start(&play.sinks[1]);
  uvch_unref((uvch_handle_t*) &play.sinks[1].rx);
  uvch_unref((uvch_handle_t*) &play.sinks[1].rx);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &play.sinks[1].rx), 0);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[1].rx), 1);
  watch_turn(&play.loop);
  support_loop_run(&play.loop);
  ck_assert_uint_eq(play.sinks[1].count, 1);
  play_send(&play, 2);
  watch_turn(&play.loop);
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
  uvch_watch_receiver_t plain;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uint64_t value = 1;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&rx, 0xa5, sizeof(rx));
  memset(&plain, 0xa5, sizeof(plain));
  rx.data = &tx;
  plain.data = &loop;
  ck_assert_int_eq(uvch_watch_init(&loop, &rx, &tx, sizeof(value), &value), 0);
  ck_assert_int_eq(uvch_watch_subscribe(NULL, &plain, &tx), 0);
  ck_assert_ptr_eq(uvch_handle_get_data((uvch_handle_t*) &rx), &tx);
  ck_assert_ptr_eq(uvch_handle_get_data((uvch_handle_t*) &plain), &loop);
  ck_assert_ptr_eq(uvch_handle_get_loop((uvch_handle_t*) &rx), &loop);
  ck_assert_ptr_null(uvch_handle_get_loop((uvch_handle_t*) &plain));
  ck_assert_int_eq(uvch_handle_get_type((uvch_handle_t*) &rx), UVCH_WATCH_RECEIVER);
  ck_assert_int_eq(uvch_handle_get_type((uvch_handle_t*) &plain), UVCH_WATCH_RECEIVER);
  ck_assert_int_eq(uvch_has_ref((uvch_handle_t*) &rx), 1);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &rx), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, NULL), 0);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &rx), 1);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, NULL), UV_EALREADY);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &plain, sink_on_close), UV_EINVAL);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &plain, NULL), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &plain, NULL), UV_EALREADY);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(an_attached_receiver_gets_what_it_has_not_seen) {
  uv_loop_t other;
  play_t play;

  play_open(&play, FORM);
  support_loop_init(&other);
  sink_subscribe(&play.late, NULL, &play);
  ck_assert_int_eq(uvch_attach(NULL, (uvch_handle_t*) &play.late.rx), UV_EINVAL);
  play_send(&play, 3);
  if (VARIANT % 2 == 1) {
    ck_assert_uint_eq(watch_take(&play.late.rx), 3);
  }
  if (VARIANT / 2 == 1) {
    play_drop_sender(&play);
  }
  ck_assert_int_eq(uvch_attach(&play.loop, (uvch_handle_t*) &play.late.rx), 0);
  ck_assert_ptr_eq(uvch_handle_get_loop((uvch_handle_t*) &play.late.rx), &play.loop);
  ck_assert_int_eq(uvch_attach(&play.loop, (uvch_handle_t*) &play.late.rx), UV_EALREADY);
  ck_assert_int_eq(uvch_attach(&other, (uvch_handle_t*) &play.late.rx), UV_EALREADY);
  sink_start(&play.late);
  play_start(&play, NULL);
  watch_turn(&play.loop);
  ck_assert_uint_eq(play.late.count, 1 - VARIANT % 2);
  ck_assert_uint_eq(play.late.ends, VARIANT / 2);
  if (VARIANT / 2 == 0) {
    play_send(&play, 1);
    watch_turn(&play.loop);
    ck_assert_uint_eq(play.late.count, 2 - VARIANT % 2);
  }
  sink_close(&play.late);
  ck_assert_int_eq(uvch_attach(&other, (uvch_handle_t*) &play.late.rx), UV_EBADF);
  play_end(&play);
  support_loop_end(&other);
}
END_TEST

START_TEST(a_receiver_with_a_loop_does_not_wait_asleep) {
  const void* value = &value;
  play_t play;

  play_open(&play, FORM);
  play_send(&play, 1);
  ck_assert_int_eq(uvch_watch_changed_wait(&play.sinks[0].rx), UV_EPERM);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&play.sinks[0].rx, 0), UV_EPERM);
  ck_assert_int_eq(uvch_watch_wait_for_wait(&play.sinks[0].rx, never_test, NULL, &value), UV_EPERM);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&play.sinks[0].rx, never_test, NULL, &value, 0), UV_EPERM);
  ck_assert_ptr_eq(value, &value);
  ck_assert_int_eq(uvch_watch_has_changed(&play.sinks[0].rx), 1);
  play_start(&play, NULL);
  play_end(&play);
}
END_TEST

START_TEST(the_close_callback_comes_last_and_keeps_the_loop_until_then) {
  play_t play;
  size_t i;

  play_open(&play, FORM);
  if (VARIANT % 2 == 1) {
    play_start(&play, NULL);
    watch_turn(&play.loop);
  }
  if (VARIANT / 2 == 1) {
    play_send(&play, 8); /* on its way: it never comes */
  }
  for (i = 0; i < PLAYERS; i++) {
    sink_close(&play.sinks[i]);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &play.sinks[i].rx), 0);
    ck_assert_uint_eq(uvch_watch_sender_receiver_count(&play.tx), PLAYERS - 1 - i);
    ck_assert_int_eq(uvch_watch_has_changed(&play.sinks[i].rx), UV_EBADF);
    ck_assert_ptr_null(uvch_watch_borrow(&play.sinks[i].rx));
  }
  ck_assert_int_ne(uv_loop_alive(&play.loop), 0);
  play_close(&play);
  ck_assert_uint_eq(play_received(&play), 0);
}
END_TEST

typedef struct census_s {
  play_t* play;
  size_t seen[PLAYERS];
  size_t others;
} census_t;

static void census_on_handle(uvch_handle_t* handle, void* arg) {
  census_t* census = arg;
  size_t i;

  for (i = 0; i < PLAYERS; i++) {
    if (handle == (uvch_handle_t*) &census->play->sinks[i].rx) {
      census->seen[i] += 1;
      support_check_eq(uvch_handle_get_type(handle), UVCH_WATCH_RECEIVER);
      if (i == 2) {
        sink_close(handle->data);
      }
      return;
    }
  }
  census->others += uvch_handle_get_type(handle) == UVCH_MPSC_RECEIVER;
}

START_TEST(walk_and_close_all_know_watch_receivers) {
  uvch_mpsc_receiver_t other;
  uvch_mpsc_sender_t other_tx;
  hunter_t hunter;
  census_t census;
  play_t play;
  size_t i;

  play_open(&play, FORM);
  ck_assert_int_eq(uvch_mpsc_init(&play.loop, &other, &other_tx, 8, 4), 0);
  memset(&census, 0, sizeof(census));
  census.play = &play;
  for (i = 0; i < PLAYERS - 1; i++) {
    sink_start(&play.sinks[i]);
  }
  hunt(&hunter, &play.sinks[PLAYERS - 1].rx, 9);
  play_send(&play, 1);
  sink_close(&play.sinks[1]);
  uvch_walk(&play.loop, census_on_handle, &census);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(census.seen[i], 1); /* closing ones included */
  }
  ck_assert_uint_eq(census.others, 1);
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&play.tx), 3);
  ck_assert_int_eq(uvch_close_all(&play.loop), 4);
  ck_assert_int_eq(uvch_close_all(&play.loop), 0);
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&play.tx), 0);
  support_drop_sender(&other_tx);
  play_drop_sender(&play);
  support_loop_end(&play.loop);
  hunter_check(&hunter, UV_ECANCELED, 0, 0);
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
  ck_assert_msg(strncmp(begin + strlen(flags), "watch", 5) == 0, "%s", printed);
}

START_TEST(each_watch_receiver_has_a_line) {
  hunter_t hunter;
  play_t play;

  play_open(&play, &forms[0]);
  sink_start(&play.sinks[1]);
  sink_start(&play.sinks[2]);
  uvch_unref((uvch_handle_t*) &play.sinks[2].rx);
  uvch_unref((uvch_handle_t*) &play.sinks[3].rx);
  play_send(&play, 10); /* so that there is something to say */
  watch_take(&play.sinks[1].rx);
  sink_close(&play.sinks[4]);
  ck_assert_uint_eq(print(&play.loop), PLAYERS);
  check_line(&play.sinks[0], "[R--] ");
  check_line(&play.sinks[1], "[RA-] ");
  check_line(&play.sinks[2], "[-A-] ");
  check_line(&play.sinks[3], "[---] ");
  check_line(&play.sinks[4], "[R-C] ");
  hunt(&hunter, &play.sinks[0].rx, 10);
  play_drop_sender(&play);
  ck_assert_uint_eq(print(&play.loop), PLAYERS);
  support_loop_run(&play.loop);
  hunter_check(&hunter, 0, 10, 1);
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
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_log_t log;

  support_loop_init(loop);
  watch_open(NULL, NULL, &tx, 0);
  watch_subscribe(loop, &rx, &tx);
  watch_listen(&rx, &log, 0, true);
  watch_put(&tx, 1);
  watch_drop_sender(&tx);
  support_loop_end(loop);
  watch_heard_all(&log, 2, 1);
}

/* The receivers of another loop go on. */
START_TEST(a_program_may_close_the_librarys_handles) {
  uvch_watch_wait_for_t req;
  size_t before = support_alloc_blocks();
  size_t begun = VARIANT;
  uv_loop_t far;
  play_t play;
  size_t i;

  support_loop_init(&far);
  play_open(&play, FORM);
  sink_subscribe(&play.late, &far, &play);
  sink_start(&play.late);
  for (i = 1; i < PLAYERS; i++) {
    sink_start(&play.sinks[i]);
  }
  play_send(&play, begun);
  watch_turn(&play.loop);
  play_send(&play, 3); /* on its way */
  uv_walk(&play.loop, close_uv, NULL);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &play.sinks[0].rx, never_test, NULL, never_done), UV_EBADF);
  support_loop_end(&play.loop);
  memset(&play.loop, 0xdd, sizeof(play.loop));
  play_send(&play, 3);
  for (i = 0; i < PLAYERS; i++) {
    play.sinks[i].closed = true;
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &play.sinks[i].rx, NULL), 0);
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &play.sinks[i].rx, NULL), UV_EALREADY);
    ck_assert_uint_eq(play.sinks[i].count, i == 0 ? 0 : begun);
  }
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&play.tx), 1);
  play_send(&play, 1);
  play_drop_sender(&play);
  support_loop_run(&far);
  ck_assert_uint_eq(play.late.count, 1);
  ck_assert_uint_eq(play.late.ends, 1);
  sink_close(&play.late);
  support_loop_end(&far);
  ck_assert_uint_eq(play.dropped, FORM->owns ? play.sent + 1 : 0);
  sweep(&play.loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

START_TEST(receivers_may_be_closed_before_the_librarys_handles_are) {
  size_t before = support_alloc_blocks();
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play_start(&play, NULL);
  watch_turn(&play.loop);
  play_send(&play, 3);
  for (i = 0; i < PLAYERS; i++) {
    sink_close(&play.sinks[i]);
  }
  uv_walk(&play.loop, close_uv, NULL);
  support_loop_end(&play.loop);
  ck_assert_int_eq(uvch_watch_sender_is_closed(&play.tx), 1);
  play_send(&play, 1);
  play_drop_sender(&play);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count + play.sinks[i].closes, 0);
  }
  ck_assert_uint_eq(play.dropped, FORM->owns ? play.sent + 1 : 0);
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
  watch_turn(&play->loop);
  play->who = (size_t) (sink - play->sinks);
  for (i = 0; i < PLAYERS; i++) {
    play->before[i] = play->sinks[i].count;
  }
}

START_TEST(a_callback_may_close_the_librarys_handles) {
  size_t before = support_alloc_blocks();
  play_t play;
  size_t i;

  play_open(&play, FORM);
  play.at = VARIANT + 1;
  play_start(&play, act_close_uv);
  for (i = 0; i < 2; i++) {
    play_send(&play, 1);
    uv_run(&play.loop, UV_RUN_NOWAIT);
  }
  support_loop_end(&play.loop);
  ck_assert_uint_ge(play.done, 1);
  for (i = 0; i < PLAYERS; i++) {
    ck_assert_uint_eq(play.sinks[i].count, play.before[i]); /* they get nothing any more */
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &play.sinks[i].rx, NULL), 0);
  }
  ck_assert_int_eq(uvch_watch_sender_is_closed(&play.tx), 1);
  play_drop_sender(&play);
  ck_assert_uint_eq(play.dropped, FORM->owns ? play.sent + 1 : 0);
  sweep(&play.loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

/* Cancelled before, as it should be, or after, or not at all. */
START_TEST(a_program_may_close_the_librarys_handles_under_a_request) {
  size_t before = support_alloc_blocks();
  hunt_t h;

  hunt_open(&h, 0);
  hunt(&h.hunter, &h.rx, 9);
  watch_turn(&h.loop);
  if (_i == 0) {
    ck_assert_int_eq(hunter_cancel(&h.hunter), 0);
    support_loop_run(&h.loop);
    hunter_check(&h.hunter, UV_ECANCELED, 0, 1);
    h.hunter.calls = 0;
  }
  if (_i == 3) {
    watch_put(&h.tx, 9); /* on its way */
  }
  uv_walk(&h.loop, close_uv, NULL);
  if (_i == 1) {
    ck_assert_int_eq(hunter_cancel(&h.hunter), 0); /* nobody brings the callback */
  }
  support_loop_end(&h.loop);
  memset(&h.loop, 0xdd, sizeof(h.loop));
  watch_put(&h.tx, 9);
  watch_close(&h.rx);
  watch_drop_sender(&h.tx);
  ck_assert_uint_eq(h.hunter.calls, 0);
  sweep(&h.loop);
  ck_assert_uint_eq(h.hunter.calls, 0);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

static void hunter_close_uv(hunter_t* hunter, uint64_t value) {
  (void) value;
  uv_walk(hunter->rx->loop, close_uv, NULL);
  watch_turn(hunter->rx->loop);
}

/* What is said then is not told, or it is, once. */
START_TEST(a_predicate_may_close_the_librarys_handles) {
  size_t before = support_alloc_blocks();
  hunt_t h;

  hunt_open(&h, 0);
  hunt(&h.hunter, &h.rx, (uint64_t) _i);
  h.hunter.on_test = hunter_close_uv;
  support_loop_end(&h.loop);
  ck_assert_uint_eq(h.hunter.tests, 1);
  ck_assert_uint_le(h.hunter.calls, 1);
  watch_close(&h.rx);
  watch_drop_sender(&h.tx);
  sweep(&h.loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

/* Loops of other threads. */

#define FOLLOWERS 3
#define FOLLOWED 4 /* receivers of each */

typedef struct follower_s {
  uv_loop_t loop;
  support_runner_t runner;
  uvch_watch_receiver_t rx[FOLLOWED];
  uvch_watch_receiver_t last; /* waits for the last value */
  uvch_watch_wait_for_t req;
  uint64_t got[FOLLOWED];
  size_t ends;
  uint64_t tested;
  uint64_t most;
  support_result_t result;
} follower_t;

static void follower_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  follower_t* f = rx->data;
  uint64_t* got = &f->got[rx - f->rx];

  if (status == 0) {
    support_expect(&f->result, watch_blob_is_whole(value, 64));
    support_expect(&f->result, watch_number(value) > *got);
    *got = watch_number(value);
    return;
  }
  support_expect_eq(&f->result, status, UV_EOF);
  f->ends += 1;
  support_expect_eq(&f->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
}

static int follower_test(const void* value, void* arg) {
  follower_t* f = arg;

  support_expect(&f->result, watch_blob_is_whole(value, 64));
  support_expect(&f->result, f->tested == 0 || watch_number(value) > f->tested);
  f->tested = watch_number(value);
  return f->tested == f->most;
}

static void follower_on_last(uvch_watch_wait_for_t* req, int status, const void* value) {
  follower_t* f = req->data;

  support_expect_eq(&f->result, status, 0);
  support_expect(&f->result, status != 0 || watch_number(value) == f->most);
  support_expect_eq(&f->result, uvch_close((uvch_handle_t*) &f->last, NULL), 0);
}

START_TEST(loops_of_other_threads_follow_and_get_the_last_value_before_the_end) {
  static follower_t followers[FOLLOWERS];
  unsigned char value[64];
  uvch_watch_sender_t tx;
  uint64_t number;
  uint64_t most = support_scale(20000);
  size_t i;
  size_t k;

  memset(followers, 0, sizeof(followers));
  watch_blob_fill(value, sizeof(value), 0);
  watch_open_ex(NULL, NULL, &tx, sizeof(value), value, NULL);
  for (i = 0; i < FOLLOWERS; i++) {
    follower_t* f = &followers[i];

    support_loop_init(&f->loop);
    for (k = 0; k < FOLLOWED; k++) {
      watch_subscribe(&f->loop, &f->rx[k], &tx);
      f->rx[k].data = f;
      ck_assert_int_eq(uvch_watch_start(&f->rx[k], follower_cb, 0), 0);
    }
    watch_subscribe(&f->loop, &f->last, &tx);
    f->most = most;
    f->req.data = f;
    ck_assert_int_eq(uvch_watch_wait_for(&f->req, &f->last, follower_test, f, follower_on_last), 0);
    support_runner_start(&f->runner, &f->loop);
  }
  for (number = 1; number <= most; number++) {
    watch_blob_fill(value, sizeof(value), number);
    support_check_eq(uvch_watch_send(&tx, value), 0);
    if (number % 16 == 0) {
      support_yield();
    }
  }
  watch_drop_sender(&tx);
  for (i = 0; i < FOLLOWERS; i++) {
    support_runner_join(&followers[i].runner);
    support_result_check(&followers[i].result);
    for (k = 0; k < FOLLOWED; k++) {
      ck_assert_uint_eq(followers[i].got[k], most);
    }
    ck_assert_uint_eq(followers[i].ends, FOLLOWED);
    support_loop_end(&followers[i].loop);
  }
}
END_TEST

/* Wake-ups: 1,000 receivers on 4 loops that sleep. Each loop is waked by the first value of a burst, and its first callback
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
  uvch_watch_receiver_t rx[HERD];
  uint64_t last[HERD];
  _Atomic(size_t) at[BURST + 2]; /* receivers whose newest value that is */
} herd_t;

struct ranch_s {
  herd_t herds[HERDS];
  uvch_watch_sender_t tx;
  support_latch_t sent; /* the whole burst */
  support_result_t result;
};

static void herd_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  herd_t* herd = rx->data;
  uint64_t* last = &herd->last[rx - herd->rx];

  if (status != 0) {
    support_expect_eq(&herd->ranch->result, status, UV_EOF);
    support_expect_eq(&herd->ranch->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
    return;
  }
  support_expect(&herd->ranch->result, watch_number(value) > *last && watch_number(value) <= BURST + 1);
  *last = watch_number(value);
  if (*last > 1) { /* one of the burst; once the latch is open it stays so */
    support_latch_wait(&herd->ranch->sent);
  }
  atomic_fetch_add(&herd->at[*last], 1);
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
    watch_subscribe(&herd->loop, &herd->rx[i], &ranch->tx);
    herd->rx[i].data = herd;
    ck_assert_int_eq(uvch_watch_start(&herd->rx[i], herd_on_change, 0), 0);
  }
  ck_assert_int_eq(uvch_loop_configure(&herd->loop, UVCH_LOOP_HOT_MAX, 0), 0);
  support_spawn(&herd->thread, herd_run, herd);
}

static void ranch_until(ranch_t* ranch, uint64_t value) {
  size_t i;

  for (i = 0; i < HERDS; i++) {
    support_until(atomic_load(&ranch->herds[i].at[value]) == HERD);
  }
}

START_TEST(a_burst_to_1000_receivers_on_4_sleeping_loops_makes_one_wakeup_of_each) {
  static struct uvch__wake_ops counting;
  const struct uvch__wake_ops* chosen = uvch__wake_chosen;
  static ranch_t ranch;
  uint64_t value;
  size_t used;
  size_t i;

  memset(&ranch, 0, sizeof(ranch));
  counting = uvch__wake_async;
  counting.signal = count_signal;
  uvch__wake_chosen = &counting;
  support_latch_init(&ranch.sent, 1);
  watch_open(NULL, NULL, &ranch.tx, 0);
  for (i = 0; i < HERDS; i++) {
    herd_open(&ranch.herds[i], &ranch);
  }
  watch_put(&ranch.tx, 1); /* who has seen it has nothing left to do but sleep */
  ranch_until(&ranch, 1);
  for (i = 0; i < HERDS; i++) {
    support_until_blocked(&ranch.herds[i].number);
  }
  atomic_store(&signals, 0);
  for (value = 2; value <= BURST + 1; value++) {
    watch_put(&ranch.tx, value);
  }
  support_latch_arrive(&ranch.sent);
  ranch_until(&ranch, BURST + 1);
  used = atomic_load(&signals);
  watch_drop_sender(&ranch.tx);
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

static void act_burst(sink_t* sink, uint64_t value) {
  play_t* play = sink->play;

  (void) value;
  if (play->done++ == 0) {
    play_send(play, 100);
  }
}

START_TEST(a_burst_from_a_callback_of_the_loop_makes_no_wakeup) {
  static struct uvch__wake_ops counting;
  const struct uvch__wake_ops* chosen = uvch__wake_chosen;
  play_t play;

  counting = uvch__wake_async;
  counting.signal = count_signal;
  uvch__wake_chosen = &counting;
  play_open(&play, FORM);
  play_start(&play, act_burst);
  play_send(&play, 1);
  atomic_store(&signals, 0);
  watch_turn(&play.loop);
  ck_assert_uint_ge(play.done, 1);
  ck_assert_uint_eq(play.sinks[0].last, 101);
  ck_assert_uint_eq(atomic_load(&signals), 0);
  uvch__wake_chosen = chosen;
  play_end(&play);
}
END_TEST

static void add_fan_out(Suite* suite) {
  TCase* tcase = support_case(suite, "fan_out");

  add_for_every_form(tcase, every_receiver_of_a_loop_gets_the_newest_value_once, 7);
  add_for_every_form(tcase, a_loop_or_a_receiver_that_stands_still_holds_nobody_back, 1);
  add_for_every_form(tcase, a_value_to_a_loop_that_turns_comes_at_once, 1);
  tcase_add_test(tcase, a_send_of_the_same_bytes_is_a_change);
  add_for_every_form(tcase, a_receiver_has_seen_the_value_that_is_there_when_it_subscribes, 1);
  add_for_every_form(tcase, a_clone_has_seen_what_its_source_has_and_goes_its_own_way, 2);
  add_for_every_form(tcase, the_last_value_comes_before_the_end, 4);
  tcase_add_test(tcase, loops_of_other_threads_follow_and_get_the_last_value_before_the_end);
}

static void add_start(Suite* suite) {
  TCase* tcase = support_case(suite, "start");

  tcase_add_test(tcase, start_is_refused_for_wrong_arguments_or_twice);
  add_for_every_form(tcase, a_change_from_before_the_start_counts_if_it_has_not_been_seen, 1);
  add_for_every_form(tcase, with_current_the_value_that_is_there_comes_once, 2);
  add_for_every_form(tcase, what_was_seen_by_hand_does_not_come, 1);
  add_for_every_form(tcase, marking_it_changed_brings_the_same_value_again, 1);
  add_for_every_form(tcase, marking_it_changed_on_a_channel_that_has_ended_brings_the_last_value, 1);
  add_for_every_form(tcase, a_callback_may_mark_its_value_changed_and_gets_it_again, PLAYERS);
  add_for_every_form(tcase, a_stopped_receiver_gets_nothing_until_it_is_started, 1);
  add_for_every_form(tcase, stop_and_start_within_one_pass_bring_a_change_once, 1);
  add_for_every_form(tcase, the_end_comes_once_for_every_start, 1);
  add_for_every_form(tcase, an_end_that_waits_for_the_last_value_comes_when_that_is_seen_by_hand, 1);
  add_for_every_form(tcase, a_callback_may_stop_its_receiver, 1);
  add_for_every_form(tcase, a_receiver_that_is_stopped_in_the_callback_for_the_last_value_gets_no_end, 1);
  add_for_every_form(tcase, a_callback_may_stop_and_start_its_receiver, 2);
}

static void add_callback(Suite* suite) {
  TCase* tcase = support_case(suite, "callback");

  add_for_every_form(tcase, a_receiver_may_close_itself_in_its_callback, PLAYERS);
  add_for_every_form(tcase, a_receiver_may_close_another_one, 4 * 3);
  add_for_every_form(tcase, a_callback_may_stop_the_others_before_they_get_it, 1);
  add_for_every_form(tcase, a_callback_may_start_the_others, PLAYERS);
  add_for_every_form(tcase, a_callback_may_close_all_receivers, 1);
  add_for_every_form(tcase, a_callback_may_subscribe_and_clone_and_the_new_one_has_seen_what_it_sees, 4);
  add_for_every_form(tcase, a_callback_may_attach_a_receiver_that_gets_what_it_has_not_seen, 2);
  add_for_every_form(tcase, a_callback_may_send_to_its_own_channel, PLAYERS);
  add_for_every_form(tcase, a_callback_may_close_the_last_sender_and_all_get_the_last_value, PLAYERS);
  add_for_every_form(tcase, a_callback_may_take_the_change_of_the_others, 1);
  add_for_every_form(tcase, who_has_seen_a_newer_value_by_hand_gets_no_older_one, 2);
  add_for_every_form(tcase, who_subscribes_while_callbacks_send_gets_no_older_value, PLAYERS);
  add_for_every_form(tcase, a_callback_may_borrow_and_its_own_value_stays_good, 1);
  add_for_every_form(tcase, a_callback_may_run_its_loop, 2);
  add_for_every_form(tcase, a_callback_may_run_its_loop_until_a_value_has_come_to_another_one_or_to_itself, 2 * PLAYERS);
  add_for_every_form(tcase, a_nested_run_may_close_receivers_whose_callbacks_are_open, 6);
  tcase_add_test(tcase, a_receiver_may_be_freed_while_its_callback_runs_and_its_value_stays_good);
  add_for_every_form(tcase, a_callback_may_start_again_or_close_or_run_the_loop_at_the_end, 1);
  tcase_add_test(tcase, callbacks_may_send_to_another_channel_of_their_loop);
}

static void add_wait_for(Suite* suite) {
  TCase* tcase = support_case(suite, "wait_for");

  tcase_add_loop_test(tcase, a_request_tests_the_current_value_first_whether_it_was_seen_or_not, 0, 2);
  tcase_add_test(tcase, a_request_tests_each_value_once_that_is_the_newest_when_its_loop_turns);
  tcase_add_test(tcase, requests_one_after_the_other_each_test_what_is_there);
  tcase_add_test(tcase, the_callback_of_a_request_may_make_the_next_one_in_the_same_memory);
  tcase_add_test(tcase, a_refused_request_never_calls_back);
  tcase_add_test(tcase, a_predicate_that_fails_ends_the_request_with_its_code);
  tcase_add_loop_test(tcase, a_request_on_a_channel_that_ends_tests_the_last_value_first, 0, 6);
  tcase_add_loop_test(tcase, a_cancelled_request_is_told_so_once, 0, 4);
  tcase_add_test(tcase, after_a_cancel_the_next_request_tests_what_is_there);
  tcase_add_loop_test(tcase, a_predicate_may_cancel_its_own_request, 0, 4);
  tcase_add_loop_test(tcase, a_predicate_may_cancel_the_requests_of_the_others, 0, 5);
  tcase_add_loop_test(tcase, a_predicate_may_close_its_receiver, 0, 8);
  tcase_add_loop_test(tcase, the_callback_of_a_request_may_close_its_receiver_and_run_the_loop, 0, 4);
  tcase_add_loop_test(tcase, closing_the_receiver_cancels_its_request_before_the_close_callback, 0, 4);
  tcase_add_test(tcase, a_predicate_may_send_to_its_own_channel);
  tcase_add_test(tcase, a_predicate_may_run_its_loop);
  tcase_add_test(tcase, a_predicate_may_use_its_channel_and_everything_of_it);
  tcase_add_test(tcase, the_value_of_a_request_is_the_one_that_the_predicate_said_yes_to);
  tcase_add_test(tcase, a_request_may_be_freed_in_its_callback);
  tcase_add_loop_test(tcase, a_callback_of_one_receiver_may_make_a_request_of_another, 0, 4);
  add_for_every_form(tcase, a_request_of_a_callback_tests_the_newest_value_though_others_send, PLAYERS);
  tcase_add_test(tcase, a_callback_may_stop_its_receiver_and_wait_for_a_value);
  tcase_add_test(tcase, a_request_keeps_its_loop_whatever_its_receiver_does);
  tcase_add_test(tcase, an_attached_receiver_may_wait_for_a_value);
  tcase_add_loop_test(tcase, requests_of_many_receivers_are_told_each_in_its_turn, 0, 2);
  tcase_add_test(tcase, a_request_without_memory_is_refused_and_never_calls_back);
}

static void add_budget(Suite* suite) {
  TCase* tcase = support_case(suite, "budget");

  add_for_every_form(tcase, the_budget_of_messages_is_a_hard_cap, 5);
  add_for_every_form(tcase, with_a_small_budget_and_a_value_for_every_pass_each_one_has_its_turn, 3);
  add_for_every_form(tcase, a_receiver_that_is_never_through_keeps_nothing_from_the_others_of_its_loop, 4);
  add_for_every_form(tcase, a_flood_to_1000_receivers_starves_neither_other_channels_nor_a_timer_nor_one_of_them, 2);
}

static void add_handles(Suite* suite) {
  TCase* tcase = support_case(suite, "handles");

  add_for_every_form(tcase, a_started_receiver_keeps_its_loop_and_an_idle_one_does_not, 1);
  tcase_add_test(tcase, a_receiver_has_its_fields_and_keeps_its_data);
  add_for_every_form(tcase, an_attached_receiver_gets_what_it_has_not_seen, 4);
  add_for_every_form(tcase, a_receiver_with_a_loop_does_not_wait_asleep, 1);
  add_for_every_form(tcase, the_close_callback_comes_last_and_keeps_the_loop_until_then, 4);
  add_for_every_form(tcase, walk_and_close_all_know_watch_receivers, 1);
  tcase_add_test(tcase, each_watch_receiver_has_a_line);
}

static void add_rest(Suite* suite) {
  TCase* foreign = support_case(suite, "foreign");
  TCase* wake = support_case(suite, "wake");

  add_for_every_form(foreign, a_program_may_close_the_librarys_handles, 2);
  add_for_every_form(foreign, receivers_may_be_closed_before_the_librarys_handles_are, 1);
  add_for_every_form(foreign, a_callback_may_close_the_librarys_handles, 2);
  tcase_add_loop_test(foreign, a_program_may_close_the_librarys_handles_under_a_request, 0, 4);
  tcase_add_loop_test(foreign, a_predicate_may_close_the_librarys_handles, 0, 2);
  tcase_add_test(wake, a_burst_to_1000_receivers_on_4_sleeping_loops_makes_one_wakeup_of_each);
  add_for_every_form(wake, a_burst_from_a_callback_of_the_loop_makes_no_wakeup, 1);
}

int main(void) {
  Suite* suite = suite_create("watch_loop");

  add_fan_out(suite);
  add_start(suite);
  add_callback(suite);
  add_wait_for(suite);
  add_budget(suite);
  add_handles(suite);
  add_rest(suite);
  return support_main(suite);
}
