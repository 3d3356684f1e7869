/* SPDX-License-Identifier: MIT
 *
 * Every interleaving of a receiver's turns with what others do with a bounded mpsc channel, on the real sources, see
 * test_mpsc_steps.c, of which this is the third part: turns that are cut, that end before another endpoint's or take long, while
 * others wait for room; on one processor, where they are told when the turn is over, and on several, where they are told in the
 * middle of it, and where the receiver lingers and spins before it parks. Who waits is told though the loop stops there, or does
 * something else for as long as it likes. */
#include "mpsc_steps.h"

#define SEVERAL_PROCESSORS 50000 /* ns */

/* Set-up: places that are taken by messages of nobody's. On one processor but where it says so. */

static void filled(size_t capacity, int count, int senders) {
  channel(&fake_loops[FIRST], capacity, 1 << FIRST | senders);
  while (count-- > 0)
    steps_expect(try_send() == 0);
  close_sender();
}

static void full(void) {
  filled(1, 1, 1 << SECOND);
}

static void full_of_two(void) {
  filled(2, 2, 1 << SECOND);
}

static void one_message_a_pass(void) {
  full_of_two();
  fake_budget = 1;
}

static void one_message_a_turn(void) {
  full_of_two();
  mpsc_turn = 1;
}

static void empty_for_several(void) {
  channel(&fake_loops[FIRST], 2, 1 << SECOND);
  fake_hot = SEVERAL_PROCESSORS;
}

static void empty_for_several_of_two(void) {
  channel(&fake_loops[FIRST], 2, 1 << SECOND | 1 << THIRD);
  fake_hot = SEVERAL_PROCESSORS;
}

static void full_for_several(void) {
  full();
  fake_hot = SEVERAL_PROCESSORS;
}

static void asks_after_each(void) {
  full_of_two();
  fake_hot = SEVERAL_PROCESSORS;
  mpsc_ask_every = 1;
}

static void asks_after_two(void) {
  filled(4, 4, 1 << SECOND);
  fake_hot = SEVERAL_PROCESSORS;
  mpsc_ask_every = 2;
}

static void lingers(void) {
  empty_for_several();
  mpsc_stream = 1;
}

static void lingers_for_two(void) {
  empty_for_several_of_two();
  mpsc_stream = 1;
}

static void full_and_lingers(void) {
  full_for_several();
  mpsc_stream = 1;
}

static void full_and_spins_long(void) {
  full_for_several();
  w.spins_long = 1;
}

static void one_is_in_and_spins_long(void) {
  filled(2, 1, 1 << SECOND);
  fake_hot = SEVERAL_PROCESSORS;
  w.spins_long = 1;
}

static void one_is_in_for_two_and_spins_long(void) {
  filled(2, 1, 1 << SECOND | 1 << THIRD);
  fake_hot = SEVERAL_PROCESSORS;
  w.spins_long = 1;
}

/* What receivers do. After that their loop stands still. */

static void receives_until(int count) {
  start();
  fake_turn_until(FIRST, has_got, &count);
}

static void receives_one(void) {
  receives_until(1);
}

static void receives_one_of_many(void) {
  start_many(4);
  fake_turn_until(FIRST, has_got, &(int){1});
}

static void receives_two(void) {
  receives_until(2);
}

static void receives_to_the_end(void) {
  start();
  fake_turn_until(FIRST, has_ended, NULL);
}

static void receives_many_to_the_end(void) {
  start_many(4);
  fake_turn_until(FIRST, has_ended, NULL);
}

static void receives(void) {
  start();
  fake_turn_maybe(FIRST);
}

static void receives_and_closes(void) {
  receives();
  close_receiver();
  fake_turn_maybe(FIRST);
}

static void receives_and_shuts(void) {
  receives();
  shut();
  fake_turn_until(FIRST, has_ended, NULL);
}

/* The other endpoint is collected before the turn ends. */
static void make_way(void) {
  w.then = NULL;
  append_other();
}

static void receives_one_before_another(void) {
  w.then = make_way;
  receives_one();
}

static void receives_one_of_many_before_another(void) {
  w.then = make_way;
  receives_one_of_many();
}

static void makes_way_to_the_end(void) {
  w.then = make_way;
  receives_to_the_end();
}

static void run_nested(void) {
  fake_turn_nested(FIRST);
}

static void runs_in_the_callback(void) {
  w.then = run_nested;
  receives_one();
}

/* In the callback of the last message that was in. */
static int others_are_done(void* arg) {
  (void) arg;
  return steps_others_are_done(FIRST);
}

static void wait_in_the_last(void) {
  if (w.delivered_count >= w.capacity)
    steps_wait(&w.then, STEPS_READ, __func__, others_are_done, NULL);
}

static void takes_long_with_the_last(void) {
  w.then = wait_in_the_last;
  receives_until(w.capacity);
}

static void start_many_instead(void) {
  w.then = NULL;
  stop();
  start_many(4);
}

static void goes_on_with_many(void) {
  w.then = start_many_instead;
  receives_to_the_end();
}

/* What others do. */

static void wait_to_send(void) {
  send_wait(UINT64_MAX);
}

static void wait_to_send_two(void) {
  send_many_wait(2, UINT64_MAX);
}

static void wait_for_a_place(void) {
  reserve_wait(1, UINT64_MAX);
}

static void sleeps(void) {
  aside(wait_to_send);
}

static void sleeps_with_two(void) {
  aside(wait_to_send_two);
}

static void sleeps_and_closes(void) {
  aside(wait_to_send);
  close_sender();
}

static void sleeps_for_a_place(void) {
  aside(wait_for_a_place);
}

static void until_told(int request) {
  fake_turn_until(steps_self(), is_told, &request);
}

static void asks(void) {
  until_told(send_request(1));
}

static void asks_and_closes(void) {
  int request = send_request(1);

  close_sender();
  until_told(request);
}

static void asks_for_a_place(void) {
  until_told(reserve_request(1));
}

static void sends_and_closes(void) {
  try_send();
  close_sender();
}

static void sends_twice_and_closes(void) {
  try_send();
  sends_and_closes();
}

static void sends_many_and_closes(void) {
  try_send_many(2);
  close_sender();
}

static void closes_its_sender(void) {
  close_sender();
}

static void posts_another_and_sends(void) {
  post_other();
  wait_for_other();
  sends_and_closes();
}

static void sends_after_another(void) {
  wait_for_other();
  sends_and_closes();
}

/* Checks. */

static void check_told(void) {
  steps_expect(w.status[SECOND] != NONE || (w.request_count > 0 && w.requests[0].status != NONE));
  check_all();
}

static const struct steps_program programs[] = {
    {"send_wait, a turn that has all", full, {receives_one, sleeps}, check_told, WEAK},
    {"send, a turn that has all", full, {receives_one, asks}, check_told, 0},

    {"send_wait, a turn that is cut", one_message_a_pass, {receives_one, sleeps}, check_told, WEAK},
    {"send_many_wait, two turns that are cut", one_message_a_pass, {receives_two, sleeps_with_two}, check_told, LONG},
    {"reserve_wait, a turn that is cut", one_message_a_pass, {receives_one, sleeps_for_a_place}, check_told, 0},
    {"send, a turn that is cut", one_message_a_pass, {receives_one, asks}, check_told, 0},
    {"reserve, a turn that is cut", one_message_a_pass, {receives_one, asks_for_a_place}, check_told, 0},
    {"send_wait, a turn of many that is cut", one_message_a_pass, {receives_one_of_many, sleeps}, check_told, 0},
    {"send_wait, a run in the callback of a turn that is cut",
     one_message_a_pass,
     {runs_in_the_callback, sleeps},
     check_told,
     LONG},
    {"send_wait, turns that are cut, to the end", one_message_a_pass, {receives_to_the_end, sleeps_and_closes}, check_end, LONG},
    {"send, turns that are cut, to the end", one_message_a_pass, {receives_to_the_end, asks_and_closes}, check_end, LONG},

    {"send_wait, a turn before another's", one_message_a_turn, {receives_one_before_another, sleeps}, check_told, 0},
    {"reserve_wait, a turn before another's",
     one_message_a_turn,
     {receives_one_before_another, sleeps_for_a_place},
     check_told,
     0},
    {"send, a turn before another's", one_message_a_turn, {receives_one_before_another, asks}, check_told, 0},
    {"send_wait, a turn of many before another's",
     one_message_a_turn,
     {receives_one_of_many_before_another, sleeps},
     check_told,
     0},
    {"send_wait, turns before another's, to the end",
     one_message_a_turn,
     {makes_way_to_the_end, sleeps_and_closes},
     check_end,
     LONG},
    {"send, turns before another's, to the end", one_message_a_turn, {makes_way_to_the_end, asks_and_closes}, check_end, LONG},
    {"send_wait, start many in the callback", one_message_a_turn, {goes_on_with_many, sleeps_and_closes}, check_end, LONG},
    {"send, start many in the callback", one_message_a_turn, {goes_on_with_many, asks_and_closes}, check_end, LONG},

    {"send_wait, a turn that takes long", asks_after_each, {takes_long_with_the_last, sleeps}, check_told, 0},
    {"send, a turn that takes long", asks_after_each, {takes_long_with_the_last, asks}, check_told, 0},
    {"send, a turn of four that takes long", asks_after_two, {takes_long_with_the_last, asks}, check_told, 0},

    {"send_wait, a spin that lasts", full_and_spins_long, {receives_two, sleeps}, check_told, 0},
    {"send, a spin that lasts", full_and_spins_long, {receives_two, asks}, check_told, 0},
    {"send_wait, spins", full_for_several, {receives_two, sleeps}, check_told, LONG},
    {"send, spins, to the end", full_for_several, {receives_to_the_end, asks_and_closes}, check_end, 0},
    {"try_send twice, spins, to the end", empty_for_several, {receives_to_the_end, sends_twice_and_closes}, check_end, 0},
    {"try_send twice, spins, many at once", empty_for_several, {receives_many_to_the_end, sends_twice_and_closes}, check_end, 0},
    {"try_send many, spins, to the end", empty_for_several, {receives_to_the_end, sends_many_and_closes}, check_end, 0},
    {"try_send, a spin that lasts", one_is_in_and_spins_long, {receives_to_the_end, sends_and_closes}, check_end, 0},
    {"close the sender, a spin that lasts", one_is_in_and_spins_long, {receives_to_the_end, closes_its_sender}, check_end, 0},
    {"two try_send, spins, to the end",
     empty_for_several_of_two,
     {receives_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"two try_send, a spin that lasts",
     one_is_in_for_two_and_spins_long,
     {receives_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"try_send twice, spins, close", empty_for_several, {receives_and_closes, sends_twice_and_closes}, check_all, LONGER | ENDS},
    {"try_send, spins, close", one_is_in_and_spins_long, {receives_and_closes, sends_and_closes}, check_all, LONG | ENDS},
    {"try_send, spins, shutdown", empty_for_several, {receives_and_shuts, sends_and_closes}, check_end, LONG},
    {"try_send, a spin that another's post ends",
     one_is_in_and_spins_long,
     {receives_to_the_end, posts_another_and_sends},
     check_end,
     0},
    {"try_send, no spin before another's turn",
     one_is_in_and_spins_long,
     {makes_way_to_the_end, sends_after_another},
     check_end,
     0},

    {"try_send twice, lingers, to the end", lingers, {receives_to_the_end, sends_twice_and_closes}, check_end, 0},
    {"two try_send, lingers, to the end",
     lingers_for_two,
     {receives_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"send_wait, lingers", full_and_lingers, {receives_one, sleeps}, check_told, 0},
    {"send, lingers, to the end", full_and_lingers, {receives_to_the_end, asks_and_closes}, check_end, 0},
};

static const struct steps_wrong bugs[] = {
    {STEPS_END_ASKS_NOBODY, "a turn that has all tells nobody", "send_wait, a turn that has all"},
    {STEPS_END_ASKS_NOBODY, "nor a request", "send, a turn that has all"},
    {STEPS_CUT_ASKS_NOBODY, "nor does one that is cut", "send_wait, a turn that is cut"},
    {STEPS_CUT_ASKS_NOBODY, "nor a request", "send, a turn that is cut"},
    {STEPS_CUT_ASKS_NOBODY, "nor who waits for a place", "reserve, a turn that is cut"},
    {STEPS_CUT_ASKS_NOBODY, "nor one of many", "send_wait, a turn of many that is cut"},
    {STEPS_NESTED_ASKS_NOBODY, "nor one that a nested run ends", "send_wait, a run in the callback of a turn that is cut"},
    {STEPS_OTHERS_TURN_ASKS_NOBODY, "nor one before another's", "send_wait, a turn before another's"},
    {STEPS_OTHERS_TURN_ASKS_NOBODY, "nor a request", "send, a turn before another's"},
    {STEPS_LONG_TURN_ASKS_NOBODY, "nor a long one in its middle", "send_wait, a turn that takes long"},
    {STEPS_LONG_TURN_ASKS_NOBODY, "nor one of several messages", "send, a turn of four that takes long"},
    {STEPS_SPIN_ASKS_NOBODY, "nor who spins", "send_wait, a spin that lasts"},
    {STEPS_SPIN_ASKS_NOBODY, "nor a request", "send, a spin that lasts"},
    {STEPS_SPIN_IGNORES_SLOT, "who spins does not see the message", "try_send, a spin that lasts"},
    {STEPS_SPIN_IGNORES_POSTS, "or what is posted to its loop", "try_send, a spin that another's post ends"},
    {STEPS_SPIN_IGNORES_FIFO, "or who waits for a turn there", "try_send, no spin before another's turn"},
    {STEPS_LINGER_IS_SURE, "who has lingered takes the message for granted", "try_send twice, lingers, to the end"},
    {STEPS_PARK_BY_STORE, "who has spun parks in a slot by a load and a store", "try_send twice, spins, to the end"},
    {STEPS_PARK_TAKES_ANY_WORD, "or in the word without a second look", "try_send twice, spins, to the end"},
    {STEPS_PARK_IGNORES_CLOSED, "or though the channel has ended meanwhile", "close the sender, a spin that lasts"},
    {STEPS_MPSC_PUBLISH_IS_RELAXED, "a message is published relaxed to who spins", "try_send, a spin that lasts"},
    {STEPS_MPSC_FRONT_IS_RELAXED, "it is looked for relaxed", "try_send, a spin that lasts"},
};

int main(void) {
  return run_all("turn_steps", programs, COUNT(programs), bugs, COUNT(bugs));
}
