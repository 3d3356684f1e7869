/* SPDX-License-Identifier: MIT
 *
 * Every interleaving of what two to four threads do with a bounded mpsc channel that has no room: who waits for it, as a thread or as a
 * request; permits; and who waits for the end. On the real sources, see test_mpsc_steps.c, of which this is the second part. What a
 * thread does that waits is done on a stack that nobody can touch after that. */
#include "mpsc_steps.h"

/* Set-up: places that are taken, by messages of nobody's or by permits. */

static void fill(int count) {
  while (count-- > 0)
    steps_expect(try_send() == 0);
  close_sender();
}

static void full(void) {
  channel(&fake_loops[FIRST], 1, 1 << FIRST | 1 << SECOND);
  fill(1);
}

static void full_for_two(void) {
  channel(&fake_loops[FIRST], 1, 1 << FIRST | 1 << SECOND | 1 << THIRD);
  fill(1);
}

static void full_for_three(void) {
  channel(&fake_loops[FIRST], 1, 1 << FIRST | 1 << SECOND | 1 << THIRD | 1 << FOURTH);
  fill(1);
}

static void two_are_in(void) {
  channel(&fake_loops[FIRST], 2, 1 << FIRST | 1 << SECOND);
  fill(2);
}

static void two_are_in_for_two(void) {
  channel(&fake_loops[FIRST], 2, 1 << FIRST | 1 << SECOND | 1 << THIRD);
  fill(2);
}

static void one_of_two_is_in(void) {
  channel(&fake_loops[FIRST], 2, 1 << FIRST | 1 << SECOND);
  fill(1);
}

static void one_of_two_is_in_for_two(void) {
  channel(&fake_loops[FIRST], 2, 1 << FIRST | 1 << SECOND | 1 << THIRD);
  fill(1);
}

static void two_places(void) {
  channel(&fake_loops[FIRST], 2, 1 << SECOND);
}

static void two_places_for_two(void) {
  channel(&fake_loops[FIRST], 2, 1 << SECOND | 1 << THIRD);
}

static void one_place_for_two(void) {
  channel(&fake_loops[FIRST], 1, 1 << SECOND | 1 << THIRD);
}

static void full_on_a_thread(void) {
  channel(NULL, 1, 1 << FIRST | 1 << SECOND);
  fill(1);
}

static void full_on_a_thread_for_two(void) {
  channel(NULL, 1, 1 << FIRST | 1 << SECOND | 1 << THIRD);
  fill(1);
}

/* The second one has a permit of one place; others have senders. */
static void reserved(size_t capacity, int senders) {
  channel(&fake_loops[FIRST], capacity, 1 << FIRST | senders);
  steps_expect(try_reserve(1) == 0);
  permit_give(SECOND, 1);
  close_sender();
}

static void a_permit(void) {
  reserved(1, 0);
}

static void a_permit_and_a_sender(void) {
  reserved(2, 1 << THIRD);
}

static void a_permit_in_the_way(void) {
  reserved(1, 1 << THIRD);
}

static void a_permit_in_the_way_of_two(void) {
  reserved(1, 1 << THIRD | 1 << FOURTH);
}

static void permits_of_two(void) {
  channel(&fake_loops[FIRST], 2, 1 << FIRST);
  steps_expect(try_reserve(2) == 0);
  permit_give(SECOND, 1);
  permit_give(THIRD, 1);
  close_sender();
}

static void a_permit_and_a_weak_sender(void) {
  channel(&fake_loops[FIRST], 2, 1 << FIRST);
  steps_expect(try_reserve(1) == 0);
  permit_give(SECOND, 1);
  steps_expect(uvch_mpsc_sender_downgrade(&w.tx[FIRST], &w.weak[THIRD]) == 0);
  close_sender();
}

static void a_permit_on_a_thread(void) {
  channel(NULL, 1, 1 << FIRST);
  steps_expect(try_reserve(1) == 0);
  permit_give(SECOND, 1);
  close_sender();
}

/* And a request of the first one's loop waits, which is not the receiver's. */
static void a_permit_on_a_thread_and_one_waits(void) {
  channel(NULL, 1, 1 << FIRST);
  steps_expect(try_reserve(1) == 0);
  permit_give(SECOND, 1);
  send_request(1);
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

static void receives_all(void) {
  start();
  fake_turn_all(FIRST);
}

static void receives_one_and_stops(void) {
  start();
  fake_turn_until(FIRST, has_got, &(int){1});
  stop();
  fake_turn_maybe(FIRST);
}

static void takes_one(void) {
  steps_expect(try_take() == 0);
}

static void takes_twice(void) {
  try_take();
  try_take();
}

static void takes_both(void) {
  takes_one();
  takes_one();
}

static void takes_two_at_once(void) {
  try_take_many(2);
}

static void closes(void) {
  close_receiver();
}

static void takes_one_and_closes(void) {
  try_take();
  close_receiver();
}

static void receives_and_closes(void) {
  receives();
  close_receiver();
  fake_turn_maybe(FIRST);
}

static void shuts(void) {
  shut();
}

static void takes_one_and_shuts(void) {
  try_take();
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

static void loses_its_loop(void) {
  receives();
  lose_loop(FIRST);
}

static void loses_its_loop_and_closes(void) {
  loses_its_loop();
  close_receiver();
}

static void run_nested(void) {
  fake_turn_nested(FIRST);
}

static void runs_in_the_callback(void) {
  w.then = run_nested;
  start();
  fake_turn_until(FIRST, has_ended, NULL);
}

static void take_more(void) {
  try_take();
}

static void takes_in_the_callback(void) {
  w.then = take_more;
  start();
  fake_turn_until(FIRST, has_ended, NULL);
}

static void closes_in_the_callback(void) {
  w.then = close_receiver;
  receives_all();
}

static void shuts_in_the_callback(void) {
  w.then = shut;
  receives_all();
}

static void send_to_itself(void) {
  w.then = NULL;
  try_send();
  close_sender();
}

static void waits_once(void) {
  take_wait(UINT64_MAX);
}

static void waits_to_the_end(void) {
  while (take_wait(UINT64_MAX) == 0) {}
}

static void waits_to_the_end_and_closes(void) {
  waits_to_the_end();
  close_receiver();
}

static void waits_a_while_and_to_the_end(void) {
  take_wait(SOME_TIME);
  waits_to_the_end();
}

static void waits_and_attaches(void) {
  take_wait(SOME_TIME);
  attach();
  receives_to_the_end();
}

/* What threads do that wait. */

static void wait_to_send(void) {
  send_wait(UINT64_MAX);
}

static void wait_a_while_to_send(void) {
  send_wait(SOME_TIME);
}

static void wait_to_send_three(void) {
  send_many_wait(3, UINT64_MAX);
}

static void wait_a_while_to_send_three(void) {
  send_many_wait(3, SOME_TIME);
}

static void wait_for_a_place(void) {
  reserve_wait(1, UINT64_MAX);
}

static void wait_for_two_places(void) {
  reserve_wait(2, UINT64_MAX);
}

static void wait_a_while_for_a_place(void) {
  reserve_wait(1, SOME_TIME);
}

static void wait_for_the_end(void) {
  watch_wait(UINT64_MAX);
}

static void wait_a_while_for_the_end(void) {
  watch_wait(SOME_TIME);
}

static void sleeps(void) {
  aside(wait_to_send);
}

static void sleeps_and_closes(void) {
  aside(wait_to_send);
  close_sender();
}

static void sleeps_a_while(void) {
  aside(wait_a_while_to_send);
}

static void sleeps_a_while_and_closes(void) {
  aside(wait_a_while_to_send);
  close_sender();
}

static void sleeps_a_while_twice_and_closes(void) {
  aside(wait_a_while_to_send);
  sleeps_a_while_and_closes();
}

static void sleeps_with_three_and_closes(void) {
  aside(wait_to_send_three);
  close_sender();
}

static void sleeps_with_three(void) {
  aside(wait_to_send_three);
}

static void sleeps_a_while_with_three(void) {
  aside(wait_a_while_to_send_three);
}

static void use_permit(void) {
  if (w.status[steps_self()] == 0)
    permit_send();
}

static void sleeps_for_a_place_and_closes(void) {
  aside(wait_for_a_place);
  use_permit();
  close_sender();
}

static void sleeps_for_a_place(void) {
  aside(wait_for_a_place);
}

static void sleeps_for_a_place_and_gives_it_back(void) {
  aside(wait_for_a_place);
  if (w.status[steps_self()] == 0)
    permit_release();
  close_sender();
}

static void sleeps_for_two_places_and_closes(void) {
  aside(wait_for_two_places);
  use_permit();
  if (w.status[steps_self()] == 0)
    permit_release();
  close_sender();
}

static void sleeps_for_two_places(void) {
  aside(wait_for_two_places);
}

static void sleeps_a_while_for_a_place(void) {
  aside(wait_a_while_for_a_place);
}

static void sleeps_to_the_end(void) {
  aside(wait_for_the_end);
}

static void sleeps_a_while_to_the_end(void) {
  aside(wait_a_while_for_the_end);
}

/* What loops do that wait. */

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

static void asks_twice_and_closes(void) {
  int first = send_request(1);
  int second = send_request(1);

  close_sender();
  until_told(first);
  until_told(second);
}

static void asks_a_while(void) {
  send_request(1);
  fake_turn_maybe(steps_self());
}

static void asks_twice_a_while(void) {
  send_request(1);
  asks_a_while();
}

static void asks_and_cancels(void) {
  int request = send_request(1);

  cancel(request);
  until_told(request);
}

static void asks_and_cancels_and_closes(void) {
  asks_and_cancels();
  close_sender();
}

static void asks_a_while_and_cancels(void) {
  int request = send_request(1);

  fake_turn_maybe(steps_self());
  cancel(request);
  until_told(request);
}

static void asks_with_three_and_closes(void) {
  int request = send_request(3);

  close_sender();
  until_told(request);
}

static void asks_with_three_and_cancels(void) {
  int request = send_request(3);

  cancel(request);
  until_told(request);
}

static void asks_and_loses_its_loop(void) {
  send_request(1);
  lose_loop(steps_self());
  close_sender();
}

static void asks_for_a_place_and_closes(void) {
  int request = reserve_request(1);

  close_sender();
  until_told(request);
  if (request >= 0 && w.requests[request].status == 0)
    permit_send();
}

static void asks_for_a_place(void) {
  until_told(reserve_request(1));
}

static void asks_for_two_places(void) {
  until_told(reserve_request(2));
  close_sender();
  permit_release();
}

static void asks_for_a_place_and_cancels(void) {
  int request = reserve_request(1);

  cancel(request);
  until_told(request);
  if (request >= 0 && w.requests[request].status == 0)
    permit_release();
}

static void asks_for_two_places_and_cancels(void) {
  int request = reserve_request(2);

  cancel(request);
  until_told(request);
  if (request >= 0 && w.requests[request].status == 0)
    permit_release();
}

static void asks_for_a_place_and_loses_its_loop(void) {
  reserve_request(1);
  lose_loop(steps_self());
  close_sender();
}

static void watches(void) {
  until_told(watch_request());
}

static void watches_and_closes(void) {
  int request = watch_request();

  close_sender();
  until_told(request);
}

static void watches_and_cancels(void) {
  int request = watch_request();

  cancel(request);
  until_told(request);
}

static void watches_and_loses_its_loop(void) {
  watch_request();
  lose_loop(steps_self());
}

/* What others do. */

static void sends(void) {
  try_send();
}

static void sends_twice(void) {
  try_send();
  try_send();
}

static void sends_and_closes(void) {
  try_send();
  close_sender();
}

static void closes_its_sender(void) {
  close_sender();
}

static void sends_by_permit(void) {
  permit_send();
}

static void gives_back(void) {
  permit_release();
}

static void takes_a_sender_and_sends(void) {
  permit_take_sender();
  permit_release();
  try_send();
  close_sender();
}

static void reserves(void) {
  try_reserve(1);
}

static void reserves_and_sends(void) {
  if (try_reserve(1) == 0)
    permit_send();
  close_sender();
}

static void reserves_and_gives_back(void) {
  if (try_reserve(1) == 0)
    permit_release();
  close_sender();
}

static void upgrades_and_reserves(void) {
  if (upgrade() != 0)
    return;
  try_reserve(1);
  close_sender();
}

static void upgrades_and_goes(void) {
  if (upgrade() == 0)
    close_sender();
}

static void sends_in_the_callback(void) {
  w.then = send_to_itself;
  start();
  fake_turn_until(FIRST, has_ended, NULL);
}

static void full_and_own_sender(void) {
  channel(&fake_loops[FIRST], 1, 1 << FIRST | 1 << SECOND);
  steps_expect(try_send() == 0);
}

/* Checks. */

/* Whoever waited has had an answer. */
static void check_told(void) {
  int a;
  int i;

  fake_drain();
  for (a = SECOND, i = 0; a < ACTORS; a++)
    i += w.status[a] != NONE;
  for (a = 0; a < w.request_count; a++)
    i += w.requests[a].status != NONE;
  steps_expect(i > 0);
  check_all();
}

static const struct steps_program programs[] = {
    {"send_wait, to the end", full, {receives_to_the_end, sleeps_and_closes}, check_end, WEAK},
    {"send_wait, start", full, {receives_all, sleeps}, check_told, 0},
    {"send_wait, start, stop", full, {receives_one_and_stops, sleeps}, check_told, 0},
    {"send_wait, try_recv", full, {takes_one, sleeps}, check_told, 0},
    {"send_wait, recv_wait", full_on_a_thread, {waits_to_the_end, sleeps_and_closes}, check_told, LONGER},
    {"send_wait, recv_timedwait", full_on_a_thread, {waits_a_while_and_to_the_end, sleeps_and_closes}, check_told, LONGER},
    {"send_wait, attach, start", full_on_a_thread, {waits_and_attaches, sleeps_and_closes}, check_end, LONG},
    {"send_wait, a run in the callback", full, {runs_in_the_callback, sleeps_and_closes}, check_end, LONGER},
    {"send_wait, try_recv in the callback", two_are_in, {takes_in_the_callback, sleeps_and_closes}, check_end, LONG},
    {"send_wait, try_send in the callback", full_and_own_sender, {sends_in_the_callback, sleeps_and_closes}, check_end, LONGER},
    {"send_wait of two, to the end",
     full_for_two,
     {receives_to_the_end, sleeps_and_closes, sleeps_and_closes},
     check_end,
     LONGER},
    {"send_wait of two, try_recv twice", full_for_two, {takes_twice, sleeps_a_while, sleeps_a_while}, check_told, LONGER},
    {"send_wait of two, try_recv many", two_are_in_for_two, {takes_two_at_once, sleeps, sleeps}, check_told, LONGER},
    {"send_wait of two, recv_wait",
     full_on_a_thread_for_two,
     {waits_to_the_end, sleeps_and_closes, sleeps_and_closes},
     check_told,
     LONGER},
    {"send_wait, try_send, start", full_for_two, {receives_all, sleeps, sends}, check_told, LONGER},
    {"send_wait, close", full, {closes, sleeps}, check_told, ENDS},
    {"send_wait, try_recv and close", full, {takes_one_and_closes, sleeps}, check_told, 0},
    {"send_wait, start and close", full, {receives_and_closes, sleeps}, check_told, LONG},
    {"send_wait, shutdown", full, {shuts, sleeps}, check_told, 0},
    {"send_wait, try_recv and shutdown", full, {takes_one_and_shuts, sleeps}, check_told, 0},
    {"send_wait of two, close", full_for_two, {closes, sleeps, sleeps}, check_told, LONGER},
    {"send_wait, close in the callback", full, {closes_in_the_callback, sleeps}, check_told, LONG},
    {"send_wait, shutdown in the callback", full, {shuts_in_the_callback, sleeps}, check_told, LONG},
    {"send_wait, the loop goes", full, {loses_its_loop, sleeps}, check_told, LONG},
    {"send_timedwait", full, {nothing, sleeps_a_while}, check_told, 0},
    {"send_timedwait, try_recv", full, {takes_one, sleeps_a_while}, check_told, 0},
    {"send_timedwait, to the end", full, {receives_to_the_end, sleeps_a_while_and_closes}, check_end, LONG},
    {"send_timedwait twice, to the end", full, {receives_to_the_end, sleeps_a_while_twice_and_closes}, check_end, LONGER},
    {"send_timedwait, close", full, {closes, sleeps_a_while}, check_told, 0},
    {"send_timedwait of two, try_recv", full_for_two, {takes_one, sleeps_a_while, sleeps_a_while}, check_told, LONGER},
    {"send_timedwait, send_wait, try_recv twice", full_for_two, {receives_all, sleeps_a_while, sleeps}, check_told, LONGER},
    {"send_many_wait, to the end", one_of_two_is_in, {receives_to_the_end, sleeps_with_three_and_closes}, check_end, LONGER},
    {"send_many_wait, many at once",
     one_of_two_is_in,
     {receives_many_to_the_end, sleeps_with_three_and_closes},
     check_end,
     LONGER},
    {"send_many_wait, try_send, to the end",
     one_of_two_is_in_for_two,
     {receives_to_the_end, sleeps_with_three_and_closes, sends_and_closes},
     check_end,
     LONGER},
    {"send_many_wait, close", one_of_two_is_in, {takes_one_and_closes, sleeps_with_three}, check_told, LONGER},
    {"send_many_wait, shutdown", one_of_two_is_in, {takes_one_and_shuts, sleeps_with_three}, check_told, LONG},
    {"send_many_timedwait, try_recv", one_of_two_is_in, {takes_one, sleeps_a_while_with_three}, check_told, 0},

    {"send, to the end", full, {receives_to_the_end, asks_and_closes}, check_end, 0},
    {"send, try_recv", full, {takes_one, asks}, check_told, 0},
    {"send, start, stop", full, {receives_one_and_stops, asks}, check_told, 0},
    {"send twice, to the end", full, {receives_to_the_end, asks_twice_and_closes}, check_end, LONGER},
    {"send twice, try_recv", full, {takes_one, asks_twice_a_while}, check_all, 0},
    {"send, try_send, try_recv twice", full_for_two, {takes_twice, asks_a_while, sends_twice}, check_all, LONGER},
    {"send, send, try_recv twice", full_for_two, {takes_twice, asks_a_while, asks_a_while}, check_all, LONGER},
    {"send, send_wait, start", full_for_two, {receives_all, asks, sleeps}, check_told, LONGER},
    {"send, close", full, {closes, asks}, check_told, 0},
    {"send and close the sender, close", full, {closes, asks_and_closes}, check_told, LONG | ENDS},
    {"send, try_recv and close", full, {takes_one_and_closes, asks}, check_told, 0},
    {"send, shutdown", full, {takes_one_and_shuts, asks}, check_told, 0},
    {"send, shutdown, start", full, {shuts_and_receives, asks_and_closes}, check_end, 0},
    {"send and cancel, try_recv", full, {takes_one, asks_and_cancels}, check_told, 0},
    {"send and cancel later, try_recv", full, {takes_one, asks_a_while_and_cancels}, check_told, 0},
    {"send and cancel, to the end", full, {receives_to_the_end, asks_and_cancels_and_closes}, check_end, 0},
    {"send and cancel, close", full, {closes, asks_and_cancels}, check_told, 0},
    {"send and cancel, send_timedwait, try_recv",
     full_for_two,
     {takes_one, asks_and_cancels, sleeps_a_while},
     check_told,
     LONGER},
    {"send and cancel, send_wait, try_recv", full_for_two, {takes_one, asks_and_cancels, sleeps_a_while}, check_told, LONGER},
    {"send, its loop goes, try_recv", full, {takes_one, asks_and_loses_its_loop}, check_all, 0},
    {"send, its loop goes, close", full, {closes, asks_and_loses_its_loop}, check_all, LONG | ENDS},
    {"send_many, to the end", one_of_two_is_in, {receives_to_the_end, asks_with_three_and_closes}, check_end, LONGER},
    {"send_many and cancel, try_recv", one_of_two_is_in, {takes_one, asks_with_three_and_cancels}, check_told, 0},
    {"send_many, close", one_of_two_is_in, {takes_one_and_closes, asks_with_three_and_closes}, check_told, LONGER},

    {"permit_send, to the end", a_permit, {receives_to_the_end, sends_by_permit}, check_end, WEAK},
    {"permit_release, to the end", a_permit, {receives_to_the_end, gives_back}, check_end, WEAK},
    {"permit_send, recv_wait", a_permit_on_a_thread, {waits_to_the_end, sends_by_permit}, check_all, 0},
    {"permit_send, recv_wait and close", a_permit_on_a_thread, {waits_to_the_end_and_closes, sends_by_permit}, check_all, ENDS},
    {"permit_release, recv_wait", a_permit_on_a_thread, {waits_to_the_end, gives_back}, check_all, 0},
    {"permit_send, close", a_permit, {closes, sends_by_permit}, check_all, ENDS},
    {"permit_release, another one waits to send, recv_wait",
     a_permit_on_a_thread_and_one_waits,
     {waits_once, gives_back},
     check_all,
     0},
    {"permit_release, close", a_permit, {closes, gives_back}, check_all, ENDS},
    {"permit_send, start and close", a_permit, {receives_and_closes, sends_by_permit}, check_all, LONGER | ENDS},
    {"permit_release, start and close", a_permit, {receives_and_closes, gives_back}, check_all, LONG | ENDS},
    {"permit_send, start and shutdown", a_permit_and_a_sender, {receives_and_shuts, sends_by_permit}, check_end, 0},
    {"permit_release, start and shutdown", a_permit_and_a_sender, {receives_and_shuts, gives_back}, check_end, 0},
    {"permit_send, start and shutdown, send",
     a_permit_and_a_sender,
     {receives_and_shuts, sends_by_permit, sends},
     check_end,
     LONGER},
    {"permit_release, start and shutdown, send",
     a_permit_and_a_sender,
     {receives_and_shuts, gives_back, sends},
     check_end,
     LONGER},
    {"permit_send, the last sender closes",
     a_permit_and_a_sender,
     {receives_to_the_end, sends_by_permit, closes_its_sender},
     check_end,
     0},
    {"permit_release, the last sender closes",
     a_permit_and_a_sender,
     {receives_to_the_end, gives_back, closes_its_sender},
     check_end,
     0},
    {"permit_release, the last sender and the receiver close",
     a_permit_and_a_sender,
     {closes, gives_back, closes_its_sender},
     check_all,
     LONGER | ENDS},
    {"permit_send, the last sender and the receiver close",
     a_permit_and_a_sender,
     {closes, sends_by_permit, closes_its_sender},
     check_all,
     LONGER | ENDS},
    {"permit_send of two, to the end",
     permits_of_two,
     {receives_to_the_end, sends_by_permit, sends_by_permit},
     check_end,
     LONGER},
    {"permit_send, permit_release, to the end",
     permits_of_two,
     {receives_to_the_end, sends_by_permit, gives_back},
     check_end,
     LONG},
    {"permit_release of two, to the end", permits_of_two, {receives_to_the_end, gives_back, gives_back}, check_end, LONG},
    {"permit_release of two, close", permits_of_two, {closes, gives_back, gives_back}, check_all, LONGER | ENDS},
    {"permit_get_sender, the last sender closes",
     a_permit_and_a_sender,
     {receives_to_the_end, takes_a_sender_and_sends, closes_its_sender},
     check_end,
     LONGER},
    {"permit_release, upgrade and reserve",
     a_permit_and_a_weak_sender,
     {nothing, gives_back, upgrades_and_reserves},
     check_all,
     0},
    {"permit_release, upgrade, to the end",
     a_permit_and_a_weak_sender,
     {receives_to_the_end, gives_back, upgrades_and_goes},
     check_end,
     LONG},
    {"permit_release, send_wait", a_permit_in_the_way, {nothing, gives_back, sleeps}, check_told, 0},
    {"permit_release, send", a_permit_in_the_way, {nothing, gives_back, asks}, check_told, 0},
    {"permit_release, send_timedwait", a_permit_in_the_way, {nothing, gives_back, sleeps_a_while}, check_told, 0},
    {"permit_release, send_wait, shutdown", a_permit_in_the_way, {shuts, gives_back, sleeps}, check_told, LONGER},
    {"permit_send, send_wait, to the end",
     a_permit_in_the_way,
     {receives_to_the_end, sends_by_permit, sleeps_and_closes},
     check_end,
     LONGER},
    {"permit_release, reserve", a_permit_in_the_way, {nothing, gives_back, asks_for_a_place}, check_told, 0},
    {"permit_release, send of two", a_permit_in_the_way_of_two, {nothing, gives_back, asks_a_while, sends}, check_all, LONG},

    {"try_reserve of two", one_place_for_two, {nothing, reserves, reserves}, check_all, 0},
    {"try_reserve and permit_send, to the end", two_places, {receives_to_the_end, reserves_and_sends}, check_end, 0},
    {"try_reserve and permit_release, to the end", two_places, {receives_to_the_end, reserves_and_gives_back}, check_end, 0},
    {"try_reserve and permit_send of two, to the end",
     two_places_for_two,
     {receives_to_the_end, reserves_and_sends, reserves_and_gives_back},
     check_end,
     LONGER},
    {"try_reserve and permit_send, close", two_places, {closes, reserves_and_sends}, check_all, ENDS},
    {"try_reserve and permit_send, start and shutdown", two_places, {receives_and_shuts, reserves_and_sends}, check_end, 0},
    {"reserve_wait, to the end", full, {receives_to_the_end, sleeps_for_a_place_and_closes}, check_end, LONGER},
    {"reserve_wait and permit_release, try_recv", full, {takes_one, sleeps_for_a_place}, check_told, 0},
    {"reserve_wait of two places, to the end",
     one_of_two_is_in,
     {receives_to_the_end, sleeps_for_two_places_and_closes},
     check_end,
     LONGER},
    {"reserve_wait of two places, try_recv twice", two_are_in, {takes_both, sleeps_for_two_places}, check_told, 0},
    {"reserve_wait, send_wait, start",
     full_for_two,
     {receives_all, sleeps_for_a_place_and_gives_it_back, sleeps},
     check_told,
     LONGER},
    {"reserve_wait, close", full, {closes, sleeps_for_a_place}, check_told, 0},
    {"reserve_timedwait, try_recv", full, {takes_one, sleeps_a_while_for_a_place}, check_told, 0},
    {"reserve, to the end", full, {receives_to_the_end, asks_for_a_place_and_closes}, check_end, 0},
    {"reserve two, a run in the callback", two_are_in, {runs_in_the_callback, asks_for_two_places}, check_told, 0},
    {"reserve, close", full, {closes, asks_for_a_place}, check_told, 0},
    {"reserve and cancel, try_recv", full, {takes_one, asks_for_a_place_and_cancels}, check_told, 0},
    {"reserve two and cancel, send_wait",
     one_of_two_is_in_for_two,
     {nothing, asks_for_two_places_and_cancels, sleeps},
     check_told,
     LONGER},
    {"reserve two and cancel, try_send",
     one_of_two_is_in_for_two,
     {takes_one, asks_for_two_places_and_cancels, sends},
     check_told,
     LONGER},
    {"reserve, its loop goes, try_recv", full, {takes_one, asks_for_a_place_and_loses_its_loop}, check_all, 0},
    {"reserve, its loop goes, close", full, {closes, asks_for_a_place_and_loses_its_loop}, check_all, ENDS},
    {"reserve, its loop goes, send_wait, try_recv",
     full_for_two,
     {takes_one, asks_for_a_place_and_loses_its_loop, sleeps},
     check_told,
     LONGER},

    {"closed, close", two_places, {closes, watches}, check_told, 0},
    {"closed, shutdown", two_places, {shuts, watches}, check_told, 0},
    {"closed, the last sender closes", two_places, {receives_to_the_end, watches_and_closes}, check_end, ENDS},
    {"closed, the last sender and the receiver close", two_places, {closes, watches_and_closes}, check_told, ENDS},
    {"closed and cancel, close", two_places, {closes, watches_and_cancels}, check_told, 0},
    {"closed, its loop goes, close", two_places, {closes, watches_and_loses_its_loop}, check_all, 0},
    {"closed, the loop goes, close", two_places, {loses_its_loop_and_closes, watches}, check_told, 0},
    {"closed of two, close", two_places_for_two, {closes, watches, watches}, check_told, LONGER},
    {"closed_wait, close", two_places, {closes, sleeps_to_the_end}, check_told, 0},
    {"closed_wait, shutdown", two_places, {shuts, sleeps_to_the_end}, check_told, 0},
    {"closed_timedwait, close", two_places, {closes, sleeps_a_while_to_the_end}, check_told, 0},
    {"closed, send_wait, close", full_for_two, {closes, watches, sleeps}, check_told, LONGER},
    {"closed_timedwait, send_wait, try_recv", full_for_two, {takes_one, sleeps_a_while_to_the_end, sleeps}, check_told, LONGER},
    {"send_wait of three, start", full_for_three, {receives_all, sleeps, sleeps, sleeps}, check_told, LONGER},
};

static const struct steps_wrong bugs[] = {
    {STEPS_ARM_DOES_NOT_LOOK, "who waits does not look again", "send_wait, try_recv"},
    {STEPS_ARM_DOES_NOT_LOOK, "nor for the end", "send_wait, close"},
    {STEPS_ARM_DOES_NOT_ASK, "who waits does not ask for room", "send_wait, try_recv"},
    {STEPS_ASK_BY_STORE, "who frees room asks by a load and a store", "reserve_wait of two places, try_recv twice"},
    {STEPS_TAKE_ASKS_NOBODY, "a call that takes a message serves nobody", "send_wait, try_recv"},
    {STEPS_TURN_ASKS_NOBODY, "nor does a turn", "send_wait, to the end"},
    {STEPS_NESTED_ASKS_NOBODY, "nor a callback in which more was taken", "reserve two, a run in the callback"},
    {STEPS_GIVE_BACK_ASKS_NOBODY, "nor a permit that is given back", "permit_release, send_wait"},
    {STEPS_CLOSE_TELLS_NOBODY, "nor a close", "send_wait, close"},
    {STEPS_SHUTDOWN_TELLS_NO_WAITER, "nor a shutdown", "send_wait, shutdown"},
    {STEPS_LAST_TELLS_NOBODY, "the last sender's close tells no watcher", "closed, the last sender closes"},
    {STEPS_PARKER_SERVES_NOBODY, "who takes a parker serves nobody after it",
     "permit_release, another one waits to send, recv_wait"},
    {STEPS_CANCEL_SERVES_NOBODY, "nor does a cancel", "reserve two and cancel, send_wait"},
    {STEPS_SERVE_ONE_ONLY, "a server stops after one", "send_wait of two, try_recv many"},
    {STEPS_CLAIM_PASSES_WAITERS, "try_send passes who waits", "send, try_send, try_recv twice"},
    {STEPS_WAITERS_IS_NOT_SET, "since nobody says that one waits", "send, try_send, try_recv twice"},
    {STEPS_WAITERS_IS_SET_LATE, "or says it too late", "send, try_send, try_recv twice"},
    {STEPS_WAITERS_IS_CLEARED, "or the first one says that nobody waits", "send twice, try_recv"},
    {STEPS_CANCEL_LEAVES_WAITERS, "a cancel leaves that said", "send and cancel, try_recv"},
    {STEPS_CANCEL_LEAVES_WAITER, "a thread that waited too long stays in the line", "send_timedwait, try_recv"},
    {STEPS_CANCEL_LEAVES_WAITER, "so does a request that is cancelled", "send and cancel, try_recv"},
    {STEPS_CANCEL_IGNORES_MOVING, "one that is being served is cancelled", "send and cancel, try_recv"},
    {STEPS_LATE_SLEEPER_DOES_NOT_WAIT, "a thread that is being served does not wait for that", "send_timedwait, try_recv"},
    {STEPS_LINE_IS_A_STACK, "the last one is served first", "send twice, try_recv"},
    {STEPS_TOLD_BEFORE_IT_IS_IN, "one is told before its message is in", "send_wait, try_recv"},
    {STEPS_TOUCH_AFTER_TELL, "who has told a thread touches its frame", "send_wait, try_recv"},
    {STEPS_REQUEST_IS_NO_SENDER, "a request does not count as a sender", "send, to the end"},
    {STEPS_CANCEL_KEEPS_SENDER, "or counts after a cancel", "send and cancel, try_recv"},
    {STEPS_NEED_IS_ONE, "a reservation of two is looked for as one of one", "reserve two and cancel, try_send"},
    {STEPS_CLAIM_IGNORES_NEED, "and gets what there is", "reserve two and cancel, try_send"},
    {STEPS_RESERVED_TWICE, "a place is counted twice", "reserve_wait and permit_release, try_recv"},
    {STEPS_PART_FORGETS_ITEMS, "a part of many is put in once more", "send_many_wait, to the end"},
    {STEPS_SLEEPER_KEEPS_PARKER, "who waited too long keeps its parker", "send_timedwait"},
    {STEPS_QUEUE_BY_STORE, "two make a queue", "closed of two, close"},
    {STEPS_FORGET_KEEPS_PLACES, "places of a loop that is gone are kept", "reserve, its loop goes, try_recv"},

    {STEPS_PERMIT_IGNORES_DEAD, "a permit sends after the close", "permit_send, close"},
    {STEPS_PERMIT_KEEPS_ITS_PLACE, "and keeps its place", "permit_send, to the end"},
    {STEPS_PERMIT_DOES_NOT_END, "the last permit's message does not end the channel", "permit_send, to the end"},
    {STEPS_PERMIT_POSTS_WITHOUT_REFERENCE, "who posts by a permit does not hold the core", "permit_send, recv_wait and close"},
    {STEPS_DEBT_HAS_NO_REFERENCE, "nor who has claimed by one", "permit_send, close"},
    {STEPS_GIVE_BACK_HAS_NO_REFERENCE, "nor who gives it back", "permit_release, the last sender and the receiver close"},
    {STEPS_GIVE_BACK_POSTS_NOBODY, "the last permit that is given back posts nobody", "permit_release, start and shutdown"},
    {STEPS_GIVE_BACK_DOES_NOT_END, "nor does it end the channel", "permit_release, to the end"},
    {STEPS_GIVE_BACK_BY_STORE, "places are given back by a load and a store", "permit_release of two, to the end"},
    {STEPS_END_IGNORES_PERMITS, "the end does not wait for permits", "permit_send, start and shutdown"},
    {STEPS_LAST_FORGETS_PERMITS, "the last sender does not look for permits", "permit_release, the last sender closes"},
    {STEPS_LAST_IGNORES_PERMITS, "or ends the channel while one is out", "permit_get_sender, the last sender closes"},
    {STEPS_REVIVAL_IS_NOT_COUNTED, "so it does if one is out again", "permit_release, upgrade and reserve"},
    {STEPS_SENDER_HAS_NO_REFERENCE, "the last sender does not hold the core",
     "permit_release, the last sender and the receiver close"},
};

int main(void) {
  return run_all("permit_steps", programs, COUNT(programs), bugs, COUNT(bugs));
}
