/* SPDX-License-Identifier: MIT
 *
 * Every interleaving of what two to four threads do with a bounded mpsc channel, on the real sources, see steps.h: sending, receiving,
 * and the ends of both; who waits for room and permits are in test_permit_steps.c. One sequence is run of those that differ only in the
 * order of steps that do not see each other. Each program is run with messages that own something, and with bytes. After each
 * sequence: every message that was taken has come once, or was dropped once, all others are still their senders'; the order is that
 * of each sender, and of what was in before what; the token of the receiver is in one place; what the claim word says is so; all
 * memory is given back once; nobody waits. And each of the bugs that mpsc_bugs.sed puts into the sources is found.
 *
 * For a failure, or one program alone: see runner.h. */
#include "mpsc_steps.h"

/* Set-up. */

static void one_sender_of_one(void) {
  channel(&fake_loops[FIRST], 1, 1 << SECOND);
}

static void one_sender_of_two(void) {
  channel(&fake_loops[FIRST], 2, 1 << SECOND);
}

static void one_sender_of_four(void) {
  channel(&fake_loops[FIRST], 4, 1 << SECOND);
}

static void two_senders_of_one(void) {
  channel(&fake_loops[FIRST], 1, 1 << SECOND | 1 << THIRD);
}

static void two_senders_of_two(void) {
  channel(&fake_loops[FIRST], 2, 1 << SECOND | 1 << THIRD);
}

static void two_senders_of_four(void) {
  channel(&fake_loops[FIRST], 4, 1 << SECOND | 1 << THIRD);
}

static void three_senders_of_four(void) {
  channel(&fake_loops[FIRST], 4, 1 << SECOND | 1 << THIRD | 1 << FOURTH);
}

static void own_sender_too(void) {
  channel(&fake_loops[FIRST], 2, 1 << FIRST | 1 << SECOND);
}

static void on_a_thread(void) {
  channel(NULL, 2, 1 << SECOND);
}

static void on_a_thread_of_one(void) {
  channel(NULL, 1, 1 << SECOND);
}

static void on_a_thread_two_senders(void) {
  channel(NULL, 2, 1 << SECOND | 1 << THIRD);
}

static void one_turn_each(void) {
  one_sender_of_two();
  fake_budget = 1;
}

static void with_a_weak_sender(void) {
  one_sender_of_two();
  steps_expect(uvch_mpsc_sender_downgrade(&w.tx[SECOND], &w.weak[THIRD]) == 0);
}

static void with_weak_senders(void) {
  with_a_weak_sender();
  steps_expect(uvch_mpsc_sender_downgrade(&w.tx[SECOND], &w.weak[FOURTH]) == 0);
}

/* As if the first message had been sent and taken: the ring is there, and a slot was used. */
static void use(void) {
  steps_expect(try_send() == 0 && try_take() == 0);
  close_sender();
}

static void used(void) {
  channel(&fake_loops[FIRST], 2, 1 << FIRST | 1 << SECOND | 1 << THIRD);
  use();
}

static void one_place_that_was_used(void) {
  channel(&fake_loops[FIRST], 1, 1 << FIRST | 1 << SECOND);
  use();
}

/* What receivers do. */

static void nothing(void) {}

static void receives(void) {
  start();
  fake_turn_maybe(FIRST);
}

static void receives_to_the_end(void) {
  start();
  fake_turn_until(FIRST, has_ended, NULL);
}

static void receives_many_to_the_end(void) {
  start_many(4);
  fake_turn_until(FIRST, has_ended, NULL);
}

static void receives_pairs(void) {
  start_many(2);
  fake_turn_maybe(FIRST);
}

static void receives_one(void) {
  start();
  fake_turn_until(FIRST, has_got, &(int){1});
}

static void stops_and_starts(void) {
  start();
  fake_turn_maybe(FIRST);
  stop();
  start();
  fake_turn_maybe(FIRST);
}

static void stops_and_starts_to_the_end(void) {
  start();
  fake_turn_maybe(FIRST);
  stop();
  fake_turn_maybe(FIRST);
  start_many(2);
  fake_turn_until(FIRST, has_ended, NULL);
}

static void closes(void) {
  close_receiver();
}

static void receives_and_closes(void) {
  receives();
  close_receiver();
  fake_turn_maybe(FIRST);
}

static void receives_pairs_and_closes(void) {
  receives_pairs();
  close_receiver();
  fake_turn_maybe(FIRST);
}

static void stops_and_closes(void) {
  receives();
  stop();
  fake_turn_maybe(FIRST);
  close_receiver();
}

static void takes_and_closes(void) {
  try_take();
  close_receiver();
}

static void shuts(void) {
  shut();
}

static void receives_and_shuts(void) {
  receives();
  shut();
  fake_turn_until(FIRST, has_ended, NULL);
}

static void shuts_and_receives(void) {
  shut();
  receives_to_the_end();
}

static void shuts_and_closes(void) {
  receives();
  shut();
  close_receiver();
}

static void loses_its_loop(void) {
  receives();
  lose_loop(FIRST);
}

static void loses_its_loop_and_closes(void) {
  receives();
  lose_loop(FIRST);
  close_receiver();
}

static void takes_twice(void) {
  try_take();
  try_take();
}

static void takes_two_at_once(void) {
  try_take_many(2);
  try_take_many(2);
}

static void takes_and_receives(void) {
  try_take();
  receives_to_the_end();
}

static void runs_nested(void) {
  fake_turn_nested(FIRST);
}

static void runs_in_the_callback(void) {
  w.then = runs_nested;
  receives();
}

static void runs_in_the_callback_of_many(void) {
  w.then = runs_nested;
  receives_pairs();
}

static void takes_once(void) {
  try_take();
}

static void takes_in_the_callback(void) {
  w.then = takes_once;
  receives();
}

static void stops_in_the_callback(void) {
  w.then = stop;
  receives();
}

static void stop_and_start(void) {
  stop();
  start();
}

static void starts_anew_in_the_callback(void) {
  w.then = stop_and_start;
  receives();
}

static void closes_in_the_callback(void) {
  w.then = close_receiver;
  receives();
}

static void closes_in_the_callback_of_many(void) {
  w.then = close_receiver;
  receives_pairs();
}

/* The outer callback looks at its message after the inner one has closed the receiver, or before. */
static void run_and_close(void) {
  fake_turn_nested(FIRST);
  if (w.rx != NULL)
    close_receiver();
}

static void runs_and_closes_in_the_callback(void) {
  w.then = run_and_close;
  receives();
}

static void shuts_in_the_callback(void) {
  w.then = shut;
  receives_to_the_end();
}

static void lose_own_loop(void) {
  lose_loop(FIRST);
}

static void loses_its_loop_in_the_callback(void) {
  w.then = lose_own_loop;
  receives();
}

/* Its room is given back before the callback, so there is some for it unless another one was faster. */
static void send_to_itself(void) {
  w.then = NULL;
  try_send();
}

static void sends_in_the_callback(void) {
  w.then = send_to_itself;
  receives_one();
  close_sender();
  fake_turn_maybe(FIRST);
}

static void waits(void) {
  take_wait(UINT64_MAX);
}

static void waits_to_the_end(void) {
  while (take_wait(UINT64_MAX) == 0) {}
}

static void waits_for_many_to_the_end(void) {
  while (take_many_wait(4, UINT64_MAX) > 0) {}
}

static void waits_a_while(void) {
  take_wait(SOME_TIME);
}

static void waits_a_while_and_to_the_end(void) {
  take_wait(SOME_TIME);
  waits_to_the_end();
}

static void waits_a_while_and_for_both(void) {
  take_wait(SOME_TIME);
  while (w.delivered_count < 2)
    take_wait(UINT64_MAX);
}

static void waits_a_while_and_closes(void) {
  take_wait(SOME_TIME);
  close_receiver();
}

static void waits_a_while_and_shuts(void) {
  take_wait(SOME_TIME);
  shut();
  waits_to_the_end();
}

static void attaches(void) {
  attach();
  receives_to_the_end();
}

static void waits_a_while_and_attaches(void) {
  take_wait(SOME_TIME);
  attach();
  receives_to_the_end();
}

static void waits_and_attaches(void) {
  take_wait(UINT64_MAX);
  attach();
  receives_to_the_end();
}

static void waits_a_while_attaches_and_closes(void) {
  take_wait(SOME_TIME);
  attach();
  receives();
  close_receiver();
}

/* What senders do. */

static void sends(void) {
  try_send();
}

static void sends_twice(void) {
  try_send();
  try_send();
}

static void closes_its_sender(void) {
  close_sender();
}

static void sends_and_closes(void) {
  try_send();
  close_sender();
}

static void sends_twice_and_closes(void) {
  sends_twice();
  close_sender();
}

static void sends_three_and_closes(void) {
  sends_twice();
  sends_and_closes();
}

static void sends_many(void) {
  try_send_many(2);
}

static void sends_many_and_closes(void) {
  try_send_many(2);
  close_sender();
}

static void sends_many_twice_and_closes(void) {
  try_send_many(2);
  try_send_many(3);
  close_sender();
}

static void clones_and_both_send(void) {
  clone_sender(THIRD);
  try_send();
  steps_expect(uvch_mpsc_sender_close(&w.tx[THIRD]) == 0);
  w.senders--;
  close_sender();
}

static void upgrades_and_sends(void) {
  if (upgrade() == 0) {
    try_send();
    close_sender();
  }
}

static void upgrades_and_goes(void) {
  if (upgrade() == 0)
    close_sender();
  close_weak();
}

static void upgrades_twice(void) {
  upgrades_and_goes();
}

/* Checks. */

static void check_both(void) {
  fake_drain();
  steps_expect(w.status[FIRST] != NONE);
  check_all();
}

static const struct steps_program programs[] = {
    {"send, start, one place", one_sender_of_one, {receives, sends}, check_all, 0},
    {"send, start, one place that was used", one_place_that_was_used, {receives, sends}, check_all, 0},
    {"send twice, start, one place", one_sender_of_one, {receives, sends_twice}, check_all, 0},
    {"send three times and close the sender, to the end, one place",
     one_sender_of_one,
     {receives_to_the_end, sends_three_and_closes},
     check_end,
     LONG},
    {"send twice and close the sender, to the end, two places",
     one_sender_of_two,
     {receives_to_the_end, sends_twice_and_closes},
     check_end,
     0},
    {"send twice and close the sender, to the end, four places",
     one_sender_of_four,
     {receives_to_the_end, sends_twice_and_closes},
     check_end,
     0},
    {"send twice and close the sender, many at once",
     one_sender_of_four,
     {receives_many_to_the_end, sends_twice_and_closes},
     check_end,
     0},
    {"send twice, start, one message a turn", one_turn_each, {receives, sends_twice}, check_all, 0},
    {"send, receive one", one_sender_of_one, {receives_one, sends}, check_all, 0},
    {"two send and close, to the end",
     two_senders_of_two,
     {receives_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LONG},
    {"two send and close, to the end, one place",
     two_senders_of_one,
     {receives_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"two send and close, to the end, four places",
     two_senders_of_four,
     {receives_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"two send and close, to the end, after another one",
     used,
     {receives_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"two send and close, one twice",
     two_senders_of_two,
     {receives_to_the_end, sends_twice_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"two send and close, many at once",
     two_senders_of_two,
     {receives_many_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"three send and close, to the end",
     three_senders_of_four,
     {receives_to_the_end, sends_and_closes, sends_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"two send, nobody receives", two_senders_of_one, {nothing, sends_twice, sends_twice}, check_all, 0},

    {"send many and close the sender, to the end",
     one_sender_of_four,
     {receives_to_the_end, sends_many_and_closes},
     check_end,
     0},
    {"send many twice and close the sender, to the end",
     one_sender_of_four,
     {receives_to_the_end, sends_many_twice_and_closes},
     check_end,
     LONG},
    {"send many twice and close the sender, many at once",
     one_sender_of_four,
     {receives_many_to_the_end, sends_many_twice_and_closes},
     check_end,
     LONG},
    {"send many of two, one place", two_senders_of_one, {receives, sends_many, sends_many}, check_all, LONGER},
    {"send many, send, to the end",
     two_senders_of_four,
     {receives_to_the_end, sends_many_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"send many, send, nobody receives", two_senders_of_two, {nothing, sends_many, sends_many}, check_all, 0},
    {"send many, try_recv", one_sender_of_two, {takes_two_at_once, sends_many}, check_all, 0},

    {"close the sender, start", one_sender_of_two, {receives_to_the_end, closes_its_sender}, check_end, 0},
    {"close two senders, start", two_senders_of_two, {receives_to_the_end, closes_its_sender, closes_its_sender}, check_end, 0},
    {"send and close the sender, another closes",
     two_senders_of_two,
     {receives_to_the_end, sends_and_closes, closes_its_sender},
     check_end,
     0},
    {"clone, send, close both", one_sender_of_two, {receives_to_the_end, clones_and_both_send}, check_end, 0},
    {"close the sender, close", one_sender_of_two, {closes, closes_its_sender}, check_all, ENDS},
    {"close the sender, start and close", one_sender_of_two, {receives_and_closes, closes_its_sender}, check_all, ENDS},
    {"close two senders, close", two_senders_of_two, {closes, closes_its_sender, closes_its_sender}, check_all, LONG | ENDS},
    {"send and close the sender, start and close",
     one_sender_of_two,
     {receives_and_closes, sends_and_closes},
     check_all,
     LONGER | ENDS},
    {"upgrade, send, the last sender closes",
     with_a_weak_sender,
     {receives_to_the_end, closes_its_sender, upgrades_and_sends},
     check_end,
     0},
    {"upgrade, the last sender closes",
     with_a_weak_sender,
     {receives_to_the_end, closes_its_sender, upgrades_and_goes},
     check_end,
     ENDS},
    {"upgrade, the last sender and the receiver close",
     with_a_weak_sender,
     {closes, closes_its_sender, upgrades_and_goes},
     check_all,
     LONGER | ENDS},
    {"upgrade of two, the last sender closes",
     with_weak_senders,
     {receives_to_the_end, closes_its_sender, upgrades_and_goes, upgrades_twice},
     check_end,
     LONG},

    {"send twice, stop, start", one_sender_of_two, {stops_and_starts, sends_twice}, check_all, LONG},
    {"send twice and close the sender, stop, start many",
     one_sender_of_two,
     {stops_and_starts_to_the_end, sends_twice_and_closes},
     check_end,
     LONGER},
    {"send twice, try_recv twice", one_sender_of_one, {takes_twice, sends_twice}, check_all, 0},
    {"send twice, try_recv many", one_sender_of_two, {takes_two_at_once, sends_twice}, check_all, 0},
    {"send twice and close the sender, try_recv, start",
     one_sender_of_one,
     {takes_and_receives, sends_twice_and_closes},
     check_end,
     LONG},
    {"two send, try_recv twice", two_senders_of_one, {takes_twice, sends, sends}, check_all, 0},

    {"send twice, a run in the callback", one_sender_of_two, {runs_in_the_callback, sends_twice}, check_all, LONG},
    {"send three times, a run in the callback",
     one_sender_of_one,
     {runs_in_the_callback, sends_three_and_closes},
     check_all,
     LONGER},
    {"send twice, a run in the callback of many",
     one_sender_of_two,
     {runs_in_the_callback_of_many, sends_twice},
     check_all,
     LONG},
    {"send twice, try_recv in the callback", one_sender_of_two, {takes_in_the_callback, sends_twice}, check_all, 0},
    {"send three times, try_recv in the callback, one place",
     one_sender_of_one,
     {takes_in_the_callback, sends_three_and_closes},
     check_all,
     LONGER},
    {"send twice, stop in the callback", one_sender_of_two, {stops_in_the_callback, sends_twice}, check_all, 0},
    {"send twice, stop and start in the callback", one_sender_of_two, {starts_anew_in_the_callback, sends_twice}, check_all, 0},
    {"send twice, close in the callback", one_sender_of_two, {closes_in_the_callback, sends_twice}, check_all, 0},
    {"send twice and close the sender, close in the callback",
     one_sender_of_two,
     {closes_in_the_callback, sends_twice_and_closes},
     check_all,
     LONGER | ENDS},
    {"send many, close in the callback of many", one_sender_of_two, {closes_in_the_callback_of_many, sends_many}, check_all, 0},
    {"send twice, a run and close in the callback",
     one_sender_of_two,
     {runs_and_closes_in_the_callback, sends_twice},
     check_all,
     LONG},
    {"send twice and close the sender, a run and close in the callback",
     one_sender_of_two,
     {runs_and_closes_in_the_callback, sends_twice_and_closes},
     check_all,
     LONGER | ENDS},
    {"send twice, shutdown in the callback", one_sender_of_two, {shuts_in_the_callback, sends_twice_and_closes}, check_end, LONG},
    {"send twice, the loop goes in the callback", one_sender_of_two, {loses_its_loop_in_the_callback, sends_twice}, check_all, 0},
    {"send, send in the callback", own_sender_too, {sends_in_the_callback, sends_and_closes}, check_all, 0},

    {"send, close", one_sender_of_two, {closes, sends}, check_all, 0},
    {"send twice, close", one_sender_of_one, {closes, sends_twice}, check_all, 0},
    {"send, start and close", one_sender_of_two, {receives_and_closes, sends}, check_all, 0},
    {"send many, close", one_sender_of_four, {closes, sends_many}, check_all, 0},
    {"send many, try_recv and close", one_sender_of_two, {takes_and_closes, sends_many}, check_all, 0},
    {"send many, start many and close", one_sender_of_two, {receives_pairs_and_closes, sends_many}, check_all, 0},
    {"send twice, start and close", one_sender_of_two, {receives_and_closes, sends_twice}, check_all, LONG},
    {"send twice, start, stop and close", one_sender_of_two, {stops_and_closes, sends_twice}, check_all, 0},
    {"two send, close", two_senders_of_two, {closes, sends, sends}, check_all, 0},
    {"two send and close, close", two_senders_of_two, {closes, sends_and_closes, sends_and_closes}, check_all, LONGER | ENDS},
    {"two send, start and close", two_senders_of_two, {receives_and_closes, sends, sends}, check_all, LONGER},
    {"two send, after another one, close", used, {closes, sends, sends_many}, check_all, LONG},
    {"send many, send, close", two_senders_of_four, {closes, sends_many, sends}, check_all, LONG},
    {"three send, close", three_senders_of_four, {closes, sends, sends, sends}, check_all, LONGER},

    {"send, shutdown", one_sender_of_two, {shuts, sends}, check_all, 0},
    {"send twice, shutdown, start", one_sender_of_two, {shuts_and_receives, sends_twice}, check_end, 0},
    {"send twice, start and shutdown", one_sender_of_two, {receives_and_shuts, sends_twice}, check_end, 0},
    {"send many, start and shutdown", one_sender_of_two, {receives_and_shuts, sends_many}, check_end, 0},
    {"send and close the sender, start and shutdown", one_sender_of_two, {receives_and_shuts, sends_and_closes}, check_end, LONG},
    {"send, start, shutdown and close", one_sender_of_two, {shuts_and_closes, sends}, check_all, 0},
    {"two send, start and shutdown", two_senders_of_two, {receives_and_shuts, sends, sends}, check_end, LONGER},
    {"upgrade, send, shutdown", with_a_weak_sender, {receives_and_shuts, closes_its_sender, upgrades_and_sends}, check_end, LONG},

    {"send, the loop goes", one_sender_of_two, {loses_its_loop, sends_twice}, check_all, 0},
    {"send and close the sender, the loop goes, close",
     one_sender_of_two,
     {loses_its_loop_and_closes, sends_and_closes},
     check_all,
     LONG},
    {"close the sender, the loop goes, close",
     one_sender_of_two,
     {loses_its_loop_and_closes, closes_its_sender},
     check_all,
     ENDS},
    {"two send, the loop goes", two_senders_of_one, {loses_its_loop, sends, sends}, check_all, LONG},

    {"send, recv_wait", on_a_thread, {waits, sends}, check_both, WEAK},
    {"two send, recv_wait", on_a_thread_two_senders, {waits, sends, sends}, check_both, LONG},
    {"close the sender, recv_wait", on_a_thread, {waits, closes_its_sender}, check_both, 0},
    {"send twice and close the sender, recv_wait to the end",
     on_a_thread,
     {waits_to_the_end, sends_twice_and_closes},
     check_both,
     LONGER},
    {"send three times and close the sender, recv_wait to the end",
     on_a_thread_of_one,
     {waits_to_the_end, sends_three_and_closes},
     check_both,
     LONGER},
    {"send many and close the sender, recv_many_wait",
     on_a_thread,
     {waits_for_many_to_the_end, sends_many_and_closes},
     check_both,
     0},
    {"two send and close, recv_wait to the end",
     on_a_thread_two_senders,
     {waits_to_the_end, sends_and_closes, sends_and_closes},
     check_both,
     LONGER},
    {"send, recv_timedwait", on_a_thread, {waits_a_while, sends}, check_both, 0},
    {"close the sender, recv_timedwait", on_a_thread, {waits_a_while, closes_its_sender}, check_both, 0},
    {"send twice, recv_timedwait, recv_wait",
     on_a_thread,
     {waits_a_while_and_to_the_end, sends_twice_and_closes},
     check_both,
     LONGER},
    {"send twice, recv_timedwait, recv_wait of both", on_a_thread, {waits_a_while_and_for_both, sends_twice}, check_both, LONGER},
    {"send, recv_timedwait and close", on_a_thread, {waits_a_while_and_closes, sends}, check_both, 0},
    {"send and close the sender, recv_timedwait and close",
     on_a_thread,
     {waits_a_while_and_closes, sends_and_closes},
     check_all,
     LONGER | ENDS},
    {"send, recv_timedwait, shutdown, recv_wait", on_a_thread, {waits_a_while_and_shuts, sends}, check_both, 0},
    {"send twice and close the sender, attach, start", on_a_thread, {attaches, sends_twice_and_closes}, check_end, 0},
    {"send twice and close the sender, recv_timedwait, attach, start",
     on_a_thread,
     {waits_a_while_and_attaches, sends_twice_and_closes},
     check_end,
     LONGER},
    {"send and close the sender, recv_timedwait, attach, start",
     on_a_thread,
     {waits_a_while_and_attaches, sends_and_closes},
     check_end,
     LONG},
    {"send twice and close the sender, recv_wait, attach, start",
     on_a_thread,
     {waits_and_attaches, sends_twice_and_closes},
     check_end,
     LONG},
    {"send, recv_timedwait, attach, start, close", on_a_thread, {waits_a_while_attaches_and_closes, sends}, check_all, 0},
};

static const struct steps_wrong bugs[] = {
    {STEPS_MPSC_PUBLISH_BY_STORE, "a message is published by a load and a store", "send twice, start, one place"},
    {STEPS_MPSC_PUBLISH_BY_STORE, "so that a close does not see it", "send, close"},
    {STEPS_PARK_BY_STORE, "the receiver parks in a slot by a load and a store", "send, start, one place"},
    {STEPS_TRY_PARK_BY_STORE, "or in the word", "send, start, one place"},
    {STEPS_PARK_TAKES_ANY_WORD, "it parks in the word without a second look at it", "send, start, one place"},
    {STEPS_PARK_TAKES_ANY_WORD, "so does a thread", "send, recv_wait"},
    {STEPS_PARK_IGNORES_CLOSED, "it parks though the channel has ended", "close the sender, start"},
    {STEPS_MPSC_CLAIM_BY_STORE, "a place is claimed by a load and a store", "two send, nobody receives"},
    {STEPS_MPSC_CLAIM_LEAVES_PARK, "a claim leaves the park", "send twice, start, one place"},
    {STEPS_CLAIM_POSTS_NOBODY, "who claims past the park posts nobody", "send, start, one place"},
    {STEPS_PUBLISH_POSTS_NOBODY, "who finds the park in its slot posts nobody", "two send and close, to the end"},
    {STEPS_PUBLISH_BEFORE_COPY, "a message is published before it is there", "send, start, one place"},
    {STEPS_CLAIM_OF_TOO_MANY, "one place too many is claimed", "two send, nobody receives"},
    {STEPS_CLAIM_BY_OLD_HEAD, "who finds no room does not look again", "send, start, one place that was used"},
    {STEPS_CLAIM_IGNORES_END, "a claim does not look for the end", "send, start, shutdown and close"},
    {STEPS_RING_BY_STORE, "two make a ring", "two send, nobody receives"},
    {STEPS_SET_BY_STORE, "who closes does it by a load and a store", "send, close"},
    {STEPS_LAST_POSTS_NOBODY, "the last sender's close posts nobody", "close the sender, start"},
    {STEPS_STRONG_BY_STORE, "senders are counted by a load and a store", "close two senders, start"},
    {STEPS_REFS_BY_STORE, "so are references", "close the sender, close"},
    {STEPS_UPGRADE_IGNORES_END, "a weak sender is upgraded after the end", "upgrade, send, the last sender closes"},
    {STEPS_MPSC_SHUTDOWN_LOSES_TOKEN, "a shutdown takes the park and forgets it", "send twice, start and shutdown"},
    {STEPS_CLOSE_LOSES_TOKEN, "so does a close", "send, start and close"},
    {STEPS_CLOSE_SWEEPS_EARLY, "a close does not come to the last slot", "send, close"},
    {STEPS_MPSC_KILL_BY_STORE, "a close takes a message by a load and a store", "send, close"},
    {STEPS_FOLLOW_IS_A_MESSAGE, "a close takes one that follows before the first is there", "send many, close"},
    {STEPS_CLOSE_FREES_IN_HAND, "a close frees what the callback has", "send twice and close the sender, close in the callback"},
    {STEPS_DEBT_IS_NOT_PAID, "who finds its slot dead does not count it off", "send, close"},
    {STEPS_DEBT_BY_STORE, "or by a load and a store", "two send, close"},
    {STEPS_UNPARK_IS_SURE, "who waited too long takes the token for granted", "send, recv_timedwait"},
    {STEPS_UNPARK_BY_STORE, "or takes the park back by a load and a store", "send, recv_timedwait"},
    {STEPS_MPSC_ARM_LOSES_TOKEN, "a thread that was posted before it waits forgets it",
     "send twice, recv_timedwait, recv_wait of both"},
    {STEPS_MPSC_DISARM_LOSES_TOKEN, "or after it has waited", "send twice and close the sender, recv_wait to the end"},
    {STEPS_MPSC_ATTACH_LOSES_TOKEN, "or when it is attached", "send and close the sender, recv_timedwait, attach, start"},
    {STEPS_HOME_BY_STORE, "a post by a load and a store", "send and close the sender, recv_timedwait, attach, start"},
    {STEPS_WAKE_BY_STORE, "a thread is waked by a load and a store", "send, recv_wait"},
    {STEPS_SLEEPER_IS_NOT_RESET, "a parker that was used is not made new",
     "send twice and close the sender, recv_wait to the end"},
    {STEPS_MPSC_PUBLISH_IS_RELAXED, "a message is published relaxed", "send, start, one place"},
    {STEPS_MPSC_FRONT_IS_RELAXED, "it is looked for relaxed", "send twice, try_recv twice"},
    {STEPS_HEAD_IS_RELAXED, "room is given back relaxed", "send three times and close the sender, to the end, one place"},
    {STEPS_RING_IS_RELAXED, "a ring is published relaxed", "send, start, one place"},
    {STEPS_MPSC_UNREF_IS_RELAXED, "references are counted relaxed", "close the sender, close"},
    {STEPS_DROP_LEAVES_OPEN, "a loop that goes leaves the channel open", "send, the loop goes"},
};

int main(void) {
  return run_all("mpsc_steps", programs, COUNT(programs), bugs, COUNT(bugs));
}
