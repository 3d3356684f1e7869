/* SPDX-License-Identifier: MIT
 *
 * Every interleaving of what two or three threads do with a oneshot or a call, on the real sources, see steps.h. Each program is
 * run with and without a drop function, with and without a pool of spare cores, and with weak compare-exchanges that fail for no
 * reason. After each sequence: one outcome, every value once, the token in one place, all memory given back once, and nobody
 * waits. And each of the bugs that oneshot_bugs.sed puts into the sources is found.
 *
 * For a failure, or one program alone: see runner.h. */
#include "handle.h"
#include "fake_channel.h"
#include "fakes.h"
#include "oneshot.h"
#include "runner.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define FIRST UINT64_C(0x1111)
#define SECOND UINT64_C(0x2222)
#define NONE 1000 /* no status */
#define SOME_TIME 5
#define MADE_UP 32

enum { RECEIVER, SENDER, WATCHER }; /* the actors; a receiver's loop is 0 */
enum { WITH_DROP = 1, WITH_POOL = 2, VARIANTS = 4 };

enum steps_bug steps_bug;
static int variant;

/* Those handles are not in these programs. */
const struct uvch__handle_ops uvch__broadcast_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__watch_handle = {NULL, NULL, NULL};

int steps_is_torn(const char* who) {
  return steps_is(STEPS_LET_GO_BY_STORE, who, "uvch__oneshot_let_go") || steps_is(STEPS_POST_BY_STORE, who, "uvch__post") ||
         steps_is(STEPS_TELL_BY_STORE, who, "move") || steps_is(STEPS_GIVE_BY_STORE, who, "uvch__spares_give");
}

/* What a sequence has come to. */
static struct {
  uvch_oneshot_receiver_t* rx;
  uvch_oneshot_sender_t* tx;
  uvch_oneshot_sender_t copy;
  uvch_oneshot_sender_t second;
  uvch_oneshot_closed_t* reqs[FAKE_LOOPS];
  uvch_call_t* call;
  struct fake_message* message;
  int outcome;  /* of the receiver: 0, UV_EOF */
  int sent;     /* what the first send said */
  int has_sent; /* the second one */
  int can_drop;
  int drops;
  int dropped_by;
  int told[FAKE_LOOPS];
  int cancelled;
  int is_sent;
} w;

static void on_drop(void* item, void* arg) {
  steps_expect(arg == &w);
  steps_expect(*(uint64_t*) item == FIRST);
  w.drops++;
  w.dropped_by = steps_self();
}

static void set_up_world(void) {
  int i;

  memset(&w, 0, sizeof w);
  w.outcome = w.sent = w.cancelled = NONE;
  w.can_drop = (variant & WITH_DROP) != 0;
  for (i = 0; i < FAKE_LOOPS; i++)
    w.told[i] = NONE;
  fakes_set_up((variant & WITH_POOL) != 0);
  fake_channel_set_up();
}

static void set_up_oneshot(uv_loop_t* loop) {
  uvch_oneshot_options_t options = {.drop = on_drop, .arg = &w};

  set_up_world();
  w.rx = steps_calloc(sizeof *w.rx);
  w.tx = steps_calloc(sizeof *w.tx);
  steps_expect(uvch_oneshot_init_ex(loop, w.rx, w.tx, sizeof(uint64_t), w.can_drop ? &options : NULL) == 0);
}

static void on_a_loop(void) {
  set_up_oneshot(&fake_loops[RECEIVER]);
}

static void on_a_thread(void) {
  set_up_oneshot(NULL);
}

/* What the receiver does. */

static void note(int status, const void* item) {
  steps_expect(w.outcome == NONE);
  steps_expect(status == 0 || status == UV_EOF);
  steps_expect(status != 0 || *(const uint64_t*) item == FIRST);
  w.outcome = status;
}

static int has_outcome(void* arg) {
  (void) arg;
  return w.outcome != NONE;
}

static void on_outcome(uvch_oneshot_receiver_t* rx, int status, void* item) {
  steps_expect(steps_self() == RECEIVER && rx == w.rx);
  steps_expect((item == NULL) == (status != 0));
  note(status, item);
}

static void start(void) {
  steps_expect(uvch_oneshot_recv(w.rx, on_outcome) == 0);
}

static void shut_down(void) {
  steps_expect(uvch_oneshot_recv_shutdown(w.rx) == 0);
}

/* Notes the outcome if it is there and has not been taken. */
static int try(void) {
  uint64_t item = 0;
  int err = uvch_oneshot_try_recv(w.rx, &item);

  if (w.outcome != NONE)
    steps_expect(err == UV_EOF);
  else if (err != UV_EAGAIN)
    note(err, &item);
  return err;
}

static int wait_for(uint64_t timeout) {
  uint64_t item = 0;
  int err = uvch_oneshot_recv_timedwait(w.rx, &item, timeout);

  if (err != UV_ETIMEDOUT)
    note(err, &item);
  return err;
}

static void close_receiver(void) {
  steps_expect(uvch_close((uvch_handle_t*) w.rx, NULL) == 0);
  steps_free(w.rx);
}

static void rest(void) {
  fake_turn_all(RECEIVER);
}

/* A second value, through a new sender of the same receiver. */
static void again(void) {
  uint64_t item = SECOND;

  steps_expect(uvch_oneshot_send(&w.second, &item) == 0);
  item = 0;
  steps_expect(uvch_oneshot_try_recv(w.rx, &item) == 0 && item == SECOND);
}

static void renew(void) {
  steps_expect(uvch_oneshot_renew(w.rx, &w.second) == 0);
}

static void receives_and_closes(void) {
  start();
  fake_turn_maybe(RECEIVER);
  close_receiver();
  rest();
}

static void receives_to_the_end(void) {
  start();
  fake_turn_until(RECEIVER, has_outcome, NULL);
  close_receiver();
  rest();
}

static void closes(void) {
  close_receiver();
  rest();
}

static void stops_and_tries(void) {
  start();
  fake_turn_maybe(RECEIVER);
  steps_expect(uvch_oneshot_recv_stop(w.rx) == 0);
  try();
  fake_turn_maybe(RECEIVER);
  close_receiver();
  rest();
}

static void stops_and_receives_again(void) {
  start();
  steps_expect(uvch_oneshot_recv_stop(w.rx) == 0);
  fake_turn_maybe(RECEIVER);
  start();
  fake_turn_until(RECEIVER, has_outcome, NULL);
  close_receiver();
  rest();
}

static void shuts_down_and_tries(void) {
  shut_down();
  steps_expect(try() != UV_EAGAIN);
  close_receiver();
  rest();
}

static void shuts_down_and_closes(void) {
  shut_down();
  close_receiver();
  rest();
}

static void receives_and_shuts_down(void) {
  start();
  fake_turn_maybe(RECEIVER);
  if (w.outcome == NONE)
    shut_down();
  fake_turn_until(RECEIVER, has_outcome, NULL);
  close_receiver();
  rest();
}

static void on_outcome_close(uvch_oneshot_receiver_t* rx, int status, void* item) {
  uvch_oneshot_receiver_t* closed = w.rx;

  on_outcome(rx, status, item);
  w.rx = NULL;
  steps_expect(uvch_close((uvch_handle_t*) closed, NULL) == 0);
  steps_free(closed);
  steps_expect(status != 0 || *(uint64_t*) item == FIRST); /* it stays good */
}

static void closes_in_the_callback(void) {
  steps_expect(uvch_oneshot_recv(w.rx, on_outcome_close) == 0);
  fake_turn_until(RECEIVER, has_outcome, NULL);
  rest();
}

static void on_outcome_renew(uvch_oneshot_receiver_t* rx, int status, void* item) {
  on_outcome(rx, status, item);
  renew();
  again();
  steps_expect(status != 0 || *(uint64_t*) item == FIRST);
}

static void renews_in_the_callback(void) {
  steps_expect(uvch_oneshot_recv(w.rx, on_outcome_renew) == 0);
  fake_turn_until(RECEIVER, has_outcome, NULL);
  close_receiver();
  rest();
}

static void shuts_down_and_renews(void) {
  shut_down();
  steps_expect(try() != UV_EAGAIN);
  renew();
  again();
  close_receiver();
  rest();
}

static void receives_shuts_down_and_renews(void) {
  start();
  shut_down();
  fake_turn_until(RECEIVER, has_outcome, NULL);
  renew();
  again();
  close_receiver();
  rest();
}

/* A core that the sender gives back may be the next one's. */
static void makes_another(void) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uint64_t item = SECOND;
  int i;

  for (i = 0; i < 2; i++) {
    item = SECOND;
    steps_expect(uvch_oneshot_init(&fake_loops[RECEIVER], &rx, &tx, sizeof item) == 0);
    steps_expect(uvch_oneshot_try_recv(&rx, &item) == UV_EAGAIN);
    steps_expect(uvch_oneshot_send(&tx, &item) == 0);
    item = 0;
    steps_expect(uvch_oneshot_try_recv(&rx, &item) == 0 && item == SECOND);
    steps_expect(uvch_close((uvch_handle_t*) &rx, NULL) == 0);
  }
  rest();
}

static void closes_and_makes_another(void) {
  close_receiver();
  makes_another();
}

static void loses_its_loop(void) {
  start();
  fake_turn_maybe(RECEIVER);
  fake_abandon(RECEIVER);
  close_receiver();
  rest();
}

/* The receiver on a thread. */

static void waits_a_while_and_closes(void) {
  wait_for(SOME_TIME);
  close_receiver();
}

static void waits_twice_and_closes(void) {
  if (wait_for(SOME_TIME) == UV_ETIMEDOUT)
    wait_for(SOME_TIME);
  close_receiver();
}

static void waits(void) {
  steps_expect(wait_for(UINT64_MAX) != UV_ETIMEDOUT);
  close_receiver();
}

static void waits_a_while_and_waits(void) {
  if (wait_for(SOME_TIME) == UV_ETIMEDOUT)
    wait_for(UINT64_MAX);
  close_receiver();
}

static void waits_a_while_and_looks_again(void) {
  if (wait_for(SOME_TIME) == UV_ETIMEDOUT) {
    shut_down();
    steps_expect(try() != UV_EAGAIN);
  }
  close_receiver();
}

static void waits_a_while_and_renews(void) {
  if (wait_for(SOME_TIME) == UV_ETIMEDOUT) {
    shut_down();
    try();
  }
  renew();
  again();
  close_receiver();
}

static void renews_and_waits(void) {
  uint64_t item = SECOND;

  shut_down();
  try();
  renew();
  steps_expect(uvch_oneshot_recv_timedwait(w.rx, &item, SOME_TIME) == UV_ETIMEDOUT);
  again();
  close_receiver();
}

static void attach(void) {
  steps_expect(uvch_attach(&fake_loops[RECEIVER], (uvch_handle_t*) w.rx) == 0);
}

static void attaches_and_receives(void) {
  attach();
  receives_to_the_end();
}

static void waits_a_while_and_attaches(void) {
  if (wait_for(SOME_TIME) == UV_ETIMEDOUT) {
    attach();
    receives_to_the_end();
    return;
  }
  attach();
  closes();
}

static void waits_attaches_and_closes(void) {
  wait_for(SOME_TIME);
  attach();
  closes();
}

static void waits_a_while_attaches_and_renews(void) {
  if (wait_for(SOME_TIME) == UV_ETIMEDOUT) {
    shut_down();
    try();
  }
  attach();
  renew();
  again();
  close_receiver();
  rest();
}

/* What the sender does. Its struct is gone after its call. */

static void sends(void) {
  uint64_t item = FIRST;

  w.sent = uvch_oneshot_send(w.tx, &item);
  steps_expect(w.sent == 0 || w.sent == UV_EPIPE);
  steps_free(w.tx);
}

static void replies(void) {
  uint64_t item = FIRST;

  w.sent = uvch_reply(w.tx, &item);
  steps_expect(w.sent == 0 || w.sent == (w.can_drop ? 1 : UV_EPIPE));
  steps_free(w.tx);
}

static void closes_the_sender(void) {
  steps_expect(uvch_oneshot_sender_close(w.tx) == 0);
  w.sent = UV_ECANCELED;
  steps_free(w.tx);
}

static void looks_and_sends(void) {
  int is_closed = uvch_oneshot_sender_is_closed(w.tx);

  sends();
  steps_expect(!is_closed || w.sent == UV_EPIPE);
}

static void sends_through_an_old_copy(void) {
  uint64_t item = FIRST;

  steps_expect(uvch_oneshot_send(&w.copy, &item) == UV_EBADF);
  steps_expect(uvch_oneshot_sender_is_closed(&w.copy));
  steps_expect(uvch_oneshot_sender_close(&w.copy) == UV_EBADF);
}

/* Two oneshots, both closed. */
static void both_closed(void) {
  uvch_oneshot_receiver_t rx;

  on_a_loop();
  steps_expect(uvch_oneshot_init(&fake_loops[RECEIVER], &rx, &w.second, sizeof(uint64_t)) == 0);
  steps_expect(uvch_close((uvch_handle_t*) &rx, NULL) == 0);
  close_receiver();
}

static void sends_the_second(void) {
  uint64_t item = SECOND;

  steps_expect(uvch_oneshot_send(&w.second, &item) == UV_EPIPE);
}

/* Who waits for the end of the receiver. */

static void on_closed(uvch_oneshot_closed_t* req, int status) {
  int i = steps_self();

  steps_expect(req == w.reqs[i] && w.told[i] == NONE);
  w.told[i] = status;
  steps_at(req, STEPS_FREE, __func__);
  steps_free(req);
}

static int is_told(void* arg) {
  return w.told[*(int*) arg] != NONE;
}

static void watch(void) {
  int i = steps_self();

  w.reqs[i] = steps_calloc(sizeof *w.reqs[i]);
  steps_expect(uvch_oneshot_closed(&fake_loops[i], w.reqs[i], w.tx, on_closed) == 0);
}

static void until_told(void) {
  int i = steps_self();

  fake_turn_until(i, is_told, &i);
}

static void watches(void) {
  watch();
  until_told();
  steps_expect(w.told[SENDER] == 0);
  closes_the_sender();
}

static void watches_and_cancels(void) {
  watch();
  w.cancelled = uvch_cancel((uvch_req_t*) w.reqs[SENDER]);
  steps_expect(w.cancelled == 0 || w.cancelled == UV_EBUSY);
  until_told();
  steps_expect(w.told[SENDER] == (w.cancelled == 0 ? UV_ECANCELED : 0));
  closes_the_sender();
}

static void watches_and_sends(void) {
  watch();
  sends();
  until_told();
  steps_expect(w.told[SENDER] == UV_ECANCELED || (w.told[SENDER] == 0 && w.sent == UV_EPIPE));
}

static void watches_and_loses_its_loop(void) {
  watch();
  fake_abandon(SENDER);
  closes_the_sender();
}

static int all_are_told(void* arg) {
  (void) arg;
  return steps_is_done(SENDER) && w.told[WATCHER] != NONE;
}

static void watches_first(void) {
  watch();
  until_told();
  steps_expect(w.told[SENDER] == 0);
}

static void watches_last(void) {
  watch();
  until_told();
  steps_expect(w.told[WATCHER] == 0);
  steps_wait(&w, STEPS_READ, __func__, all_are_told, NULL);
  closes_the_sender();
}

static void sleeps_to_the_end(void) {
  steps_expect(uvch_oneshot_closed_wait(w.tx) == 0);
  closes_the_sender();
}

static void sleeps_and_sends(void) {
  int err = uvch_oneshot_closed_timedwait(w.tx, SOME_TIME);

  steps_expect(err == 0 || err == UV_ETIMEDOUT);
  sends();
  steps_expect(err != 0 || w.sent == UV_EPIPE);
}

/* Checks. */

/* One outcome: the value went to the receiver or to the drop function, or is the sender's. */
static void check_outcome(void) {
  int delivered = (w.outcome == 0) + w.drops;

  if (w.sent == 1) /* a reply that came too late */
    steps_expect(w.outcome != 0 && w.drops == 1);
  else if (w.sent != 0)
    steps_expect(delivered == 0);
  else if (w.can_drop)
    steps_expect(delivered == 1);
  if (w.sent == 0)
    steps_expect(w.outcome != UV_EOF && (w.drops == 0 || w.dropped_by == RECEIVER));
  fake_channel_check();
  fakes_check();
}

/* Who has waited has it. */
static void check_taken(void) {
  steps_expect(w.outcome == (w.sent == 0 ? 0 : UV_EOF));
  check_outcome();
}

static void check_sent(void) {
  steps_expect(w.sent == 0 && w.outcome == 0);
  check_outcome();
}

static void check_late(void) {
  steps_expect(w.sent == UV_EPIPE && w.drops == 0);
  fake_channel_check();
  fakes_check();
}

/* Calls. */

static void on_answer(uvch_call_t* call, int status, void* reply) {
  steps_expect(steps_self() == RECEIVER && call == w.call && w.outcome == NONE);
  steps_expect((status == 0) == (reply != NULL));
  steps_expect(status != 0 || *(uint64_t*) reply == FIRST);
  w.outcome = status;
  w.is_sent = call->is_sent;
  steps_at(call, STEPS_FREE, __func__);
  steps_free(call);
  steps_at(w.message, STEPS_FREE, __func__);
  steps_free(w.message);
  fake_no_more();
}

static void set_up_call(void) {
  set_up_world();
  w.call = steps_calloc(sizeof *w.call);
  w.message = steps_calloc(sizeof *w.message);
  w.message->what = SECOND;
}

static void set_up_full(void) {
  set_up_call();
  fake_channel_set_full(1);
}

static void set_up_call_on_a_thread(void) {
  set_up_call();
  w.can_drop = 0;
}

static void call(uint64_t timeout) {
  uvch_call_options_t options = {.timeout = timeout, .arg = &w};

  if (w.can_drop)
    options.drop = on_drop;
  steps_expect(uvch_call_ex(&fake_loops[RECEIVER], w.call, &fake_sender, w.message, &w.message->reply, sizeof(uint64_t), &options,
                            on_answer) == 0);
}

static void calls(void) {
  call(0);
  fake_turn_until(RECEIVER, has_outcome, NULL);
  rest();
}

static void calls_and_cancels(void) {
  call(0);
  fake_turn_maybe(RECEIVER);
  if (w.outcome == NONE) {
    w.cancelled = uvch_cancel((uvch_req_t*) w.call);
    steps_expect(w.cancelled == 0 || w.cancelled == UV_EBUSY);
  }
  fake_turn_until(RECEIVER, has_outcome, NULL);
  steps_expect((w.cancelled == 0) == (w.outcome == UV_ECANCELED));
  rest();
}

static void calls_and_runs_out_of_time(void) {
  call(SOME_TIME);
  fake_turn_maybe(RECEIVER);
  if (w.outcome == NONE)
    fake_fire();
  if (w.outcome == NONE)
    w.cancelled = uvch_cancel((uvch_req_t*) w.call);
  steps_expect(w.cancelled == NONE || w.cancelled == UV_EBUSY);
  fake_turn_until(RECEIVER, has_outcome, NULL);
  rest();
}

static void calls_and_loses_its_loop(void) {
  call(0);
  fake_turn_maybe(RECEIVER);
  fake_abandon(RECEIVER);
  fake_no_more();
  rest();
}

static void calls_and_waits(void) {
  uint64_t item = 0;
  int err = uvch_call_timedwait(&fake_sender, w.message, &w.message->reply, &item, sizeof item, SOME_TIME, &w.is_sent);

  steps_expect(err == 0 || err == UV_EOF || err == UV_ETIMEDOUT);
  steps_expect(err != 0 || item == FIRST);
  steps_expect(w.is_sent);
  w.outcome = err;
  steps_free(w.message);
  fake_no_more();
}

static void answers(void) {
  struct fake_message message;
  uint64_t item = FIRST;

  if (!fake_take(&message))
    return;
  steps_expect(message.what == SECOND);
  w.sent = uvch_reply(&message.reply, &item);
  steps_expect(w.sent == 0 || w.sent == (w.can_drop ? 1 : UV_EPIPE));
}

static void answers_nothing(void) {
  struct fake_message message;

  if (fake_take(&message))
    steps_expect(uvch_oneshot_sender_close(&message.reply) == 0);
}

static void makes_room(void) {
  fake_serve(FAKE_MOVE_IN);
}

static void closes_the_channel(void) {
  fake_serve(FAKE_CLOSE);
}

/* A reply that was sent has been taken; else the caller has said that nobody waits. */
static void check_call(void) {
  steps_expect(w.outcome != NONE);
  steps_expect((w.sent == 0) == (w.outcome == 0));
  steps_expect(w.drops == (w.sent == 1));
  if (w.sent != NONE)
    steps_expect(w.is_sent);
  fake_channel_check();
  fakes_check();
}

static void check_lost_call(void) {
  if (w.sent == 0)
    steps_expect((w.outcome == 0) + w.drops == 1 || !w.can_drop);
  else
    steps_expect(w.outcome == NONE && w.drops == (w.sent == 1));
  fake_channel_check();
  fakes_check();
}

static void check_call_on_a_thread(void) {
  steps_expect((w.sent == 0) == (w.outcome == 0));
  fake_channel_check();
  fakes_check();
}

static void check_refused(void) {
  steps_expect(w.outcome == UV_EPIPE || w.outcome == UV_ECANCELED);
  steps_expect(!w.is_sent && w.sent == NONE);
  fake_channel_check();
  fakes_check();
}

/* Senders that are used up, and copies of them. */

static void set_up_used(uv_loop_t* loop) {
  uint64_t item = FIRST;

  set_up_oneshot(loop);
  w.copy = *w.tx;
  w.sent = uvch_oneshot_send(w.tx, &item);
  try();
}

static void used_on_a_loop(void) {
  set_up_used(&fake_loops[RECEIVER]);
}

static void used_on_a_thread(void) {
  set_up_used(NULL);
}

static int is_sender_done(void* arg) {
  (void) arg;
  return steps_is_done(SENDER);
}

/* The copy may be used as long as there is something on the loop. */
static void renews_twice(void) {
  renew();
  again();
  renew();
  again();
  steps_wait(&w, STEPS_READ, __func__, is_sender_done, NULL);
  closes();
}

/* Without a loop a copy is good no longer than the receiver. */
static void renews_once(void) {
  renew();
  again();
  steps_wait(&w, STEPS_READ, __func__, is_sender_done, NULL);
  close_receiver();
}

static const struct steps_program programs[] = {
    {"send, recv and close", on_a_loop, {receives_and_closes, sends}, check_outcome, 0},
    {"look and send, recv and close", on_a_loop, {receives_and_closes, looks_and_sends}, check_outcome, 1},
    {"send, recv", on_a_loop, {receives_to_the_end, sends}, check_sent, 0},
    {"send, recv_stop, try_recv", on_a_loop, {stops_and_tries, sends}, check_outcome, 0},
    {"send, recv_stop, recv", on_a_loop, {stops_and_receives_again, sends}, check_sent, 0},
    {"send, shutdown, try_recv", on_a_loop, {shuts_down_and_tries, sends}, check_taken, 0},
    {"send, shutdown, close", on_a_loop, {shuts_down_and_closes, sends}, check_outcome, 0},
    {"send, recv, shutdown", on_a_loop, {receives_and_shuts_down, sends}, check_taken, 0},
    {"send, close", on_a_loop, {closes, sends}, check_outcome, 0},
    {"send, close in the callback", on_a_loop, {closes_in_the_callback, sends}, check_sent, 0},
    {"send, close, another one", on_a_loop, {closes_and_makes_another, sends}, check_outcome, 1},
    {"two senders are late, another one", both_closed, {makes_another, sends, sends_the_second}, check_late, 1},
    {"send, the loop goes", on_a_loop, {loses_its_loop, sends}, check_outcome, 1},
    {"close the sender, recv and close", on_a_loop, {receives_and_closes, closes_the_sender}, check_outcome, 0},
    {"close the sender, recv", on_a_loop, {receives_to_the_end, closes_the_sender}, check_taken, 0},
    {"close the sender, shutdown, close", on_a_loop, {shuts_down_and_closes, closes_the_sender}, check_outcome, 0},
    {"close the sender, recv, shutdown", on_a_loop, {receives_and_shuts_down, closes_the_sender}, check_taken, 0},
    {"reply, recv and close", on_a_loop, {receives_and_closes, replies}, check_outcome, 0},
    {"reply, close", on_a_loop, {closes, replies}, check_outcome, 0},

    {"send, recv_wait", on_a_thread, {waits, sends}, check_sent, 0},
    {"close the sender, recv_wait", on_a_thread, {waits, closes_the_sender}, check_taken, 0},
    {"send, recv_timedwait, close", on_a_thread, {waits_a_while_and_closes, sends}, check_outcome, 1},
    {"send, recv_timedwait twice, close", on_a_thread, {waits_twice_and_closes, sends}, check_outcome, 2},
    {"send, recv_timedwait, recv_wait", on_a_thread, {waits_a_while_and_waits, sends}, check_sent, 1},
    {"send, recv_timedwait, shutdown, try_recv", on_a_thread, {waits_a_while_and_looks_again, sends}, check_taken, 1},
    {"send, attach, recv", on_a_thread, {attaches_and_receives, sends}, check_sent, 1},
    {"send, recv_timedwait, attach, recv", on_a_thread, {waits_a_while_and_attaches, sends}, check_sent, 1},
    {"send, recv_timedwait, attach, close", on_a_thread, {waits_attaches_and_closes, sends}, check_outcome, 1},

    {"send, shutdown, try_recv, renew", on_a_loop, {shuts_down_and_renews, sends}, check_taken, 1},
    {"send, recv, shutdown, renew", on_a_loop, {receives_shuts_down_and_renews, sends}, check_taken, 1},
    {"send, renew in the callback", on_a_loop, {renews_in_the_callback, sends}, check_sent, 1},
    {"send, recv_timedwait, renew", on_a_thread, {waits_a_while_and_renews, sends}, check_taken, 1},
    {"send, renew, recv_timedwait", on_a_thread, {renews_and_waits, sends}, check_taken, 1},
    {"send, recv_timedwait, attach, renew", on_a_thread, {waits_a_while_attaches_and_renews, sends}, check_taken, 1},
    {"an old copy, renew", used_on_a_loop, {renews_twice, sends_through_an_old_copy}, check_sent, 1},
    {"an old copy, renew on a thread", used_on_a_thread, {renews_once, sends_through_an_old_copy}, check_sent, 1},

    {"closed, close", on_a_loop, {closes, watches}, check_outcome, 1},
    {"closed and cancel, close", on_a_loop, {closes, watches_and_cancels}, check_outcome, 1},
    {"closed and cancel, shutdown, close", on_a_loop, {shuts_down_and_closes, watches_and_cancels}, check_outcome, 1},
    {"closed and send, close", on_a_loop, {closes, watches_and_sends}, check_outcome, 1},
    {"closed, its loop goes, close", on_a_loop, {closes, watches_and_loses_its_loop}, check_outcome, 1},
    {"closed_wait, close", on_a_loop, {closes, sleeps_to_the_end}, check_outcome, 1},
    {"closed_timedwait and send, close", on_a_loop, {closes, sleeps_and_sends}, check_outcome, 1},
    {"closed on two loops, close", on_a_loop, {closes, watches_first, watches_last}, check_outcome, 2},

    {"reply, call", set_up_call, {calls, answers}, check_call, 1},
    {"no reply, call", set_up_call, {calls, answers_nothing}, check_call, 1},
    {"reply, call, cancel", set_up_call, {calls_and_cancels, answers}, check_call, 1},
    {"reply, call, time", set_up_call, {calls_and_runs_out_of_time, answers}, check_call, 1},
    {"reply, call, the loop goes", set_up_call, {calls_and_loses_its_loop, answers}, check_lost_call, 1},
    {"reply, call_timedwait", set_up_call_on_a_thread, {calls_and_waits, answers}, check_call_on_a_thread, 1},
    {"reply, call that waits for room, cancel", set_up_full, {calls_and_cancels, answers, makes_room}, check_call, 1},
    {"reply, call that waits for room, time", set_up_full, {calls_and_runs_out_of_time, answers, makes_room}, check_call, 2},
    {"call that waits for room, no room comes, cancel", set_up_full, {calls_and_cancels, closes_the_channel}, check_refused, 1},
};

/* Running them. */

static void prepare(const struct steps_program* program, int how) {
  (void) program;
  variant = how / STEPS_OWN;
}

static int variants_of(const struct steps_program* program) {
  return program->is_long > 1 ? WITH_POOL : VARIANTS;
}

static int actors_of(const struct steps_program* program) {
  int n = 0;

  while (n < STEPS_ACTORS && program->actors[n] != NULL)
    n++;
  return n;
}

/* After the variants: the first one once more, with loads that may be stale; all of them, with weak compare-exchanges of each
 * actor that fail for no reason. */
static int ways_of(const struct steps_program* program, enum steps_bug bug) {
  int variants = variants_of(program);

  if (bug != STEPS_NO_BUG)
    return variants;
  return variants + 1 + (program->is_long < 2 ? actors_of(program) * variants : 0);
}

static int how_stale(const struct steps_program* program) {
  int stale = steps_stale(program->is_long < 2);

  return stale != 0 ? STEPS_REDUCED | stale : -1;
}

static int how_in(const struct steps_program* program, enum steps_bug bug, int way) {
  int variants = variants_of(program);

  if (way < variants)
    return way * STEPS_OWN + (program->is_long || bug != STEPS_NO_BUG ? STEPS_REDUCED : 0);
  if (way == variants)
    return how_stale(program);
  way -= variants + 1;
  return way % variants * STEPS_OWN + STEPS_REDUCED + (STEPS_WEAK << way / variants);
}

static const struct steps_wrong bugs[] = {
    {STEPS_SEND_LEAVES_PARK, "a send sets VALUE and does not take PARKED", "send, recv and close"},
    {STEPS_SHUTDOWN_LEAVES_PARK, "a shutdown does not take the park", "send, recv, shutdown"},
    {STEPS_CLOSE_IGNORES_VALUE, "a close does not look at VALUE", "send, close"},
    {STEPS_CLOSED_DOES_NOT_LOOK, "closed does not look once it has set WATCHED", "closed, close"},
    {STEPS_CLOSED_DOES_NOT_LOOK, "nor does a thread", "closed_wait, close"},
    {STEPS_SEND_IGNORES_SHUT, "a send does not look at SHUT", "send, shutdown, try_recv"},
    {STEPS_PARK_DOES_NOT_LOOK, "a receiver parks without a look", "send, recv"},
    {STEPS_PARK_DOES_NOT_LOOK, "so does a thread", "send, recv_wait"},
    {STEPS_SEND_LEAVES_WATCHERS, "a send does not tell who watches", "closed and send, close"},
    {STEPS_SHUTDOWN_TELLS_NOBODY, "a shutdown tells nobody", "closed, close"},
    {STEPS_LET_GO_BY_STORE, "an end lets go by a load and a store", "send, close"},
    {STEPS_POST_BY_STORE, "a post by a load and a store", "send, recv_timedwait, attach, recv"},
    {STEPS_POST_BY_STORE, "and while the receiver leaves", "send, recv_timedwait, close"},
    {STEPS_TAKES_TOKEN_FOR_GRANTED, "time over: the token is taken for granted", "send, recv_timedwait, close"},
    {STEPS_TELL_BY_STORE, "a watcher is taken by a load and a store", "closed and cancel, close"},
    {STEPS_GIVE_BY_STORE, "a core is given back by a load and a store", "two senders are late, another one"},
    {STEPS_SAME_GENERATION, "a renewed core has its old generation", "an old copy, renew"},
    {STEPS_REPLY_IGNORES_SENDING, "a reply takes the park while its message is SENDING",
     "reply, call that waits for room, cancel"},
    {STEPS_SENT_DOES_NOT_LOOK, "who moved the message in does not look for the reply", "reply, call that waits for room, cancel"},
    {STEPS_SEND_IS_RELAXED, "a send does not publish what it wrote", "send, shutdown, try_recv"},
    {STEPS_LOAD_IS_RELAXED, "a receiver finds the value, and does not acquire it", "send, shutdown, try_recv"},
    {STEPS_LET_GO_IS_RELEASE, "who frees a core does not acquire what the others did", "send, close"},
    {STEPS_POST_IS_RELAXED, "a post does not publish", "send, recv_timedwait, attach, recv"},
    {STEPS_GIVE_IS_RELAXED, "a core is given back, and not published", "two senders are late, another one"},
    {STEPS_FIRST_IS_RELAXED, "a watcher is found, and not acquired", "closed on two loops, close"},
    {STEPS_WATCH_IS_RELAXED, "a watcher waits, and is not published", "closed on two loops, close"},
    {STEPS_WATCHER_UNREF_IS_RELEASE, "who frees a watcher does not acquire", "closed and send, close"},
};

/* The reduction: of three actors that take a few steps at a few places, made up by chance. In every other program each of them
 * holds a lock for a while; in the rest one of them may wait. */

static uint64_t made_up; /* which program */
static int has_locks;
static int is_undone; /* what is waited for, by others */
static int places[3];
static uv_mutex_t lock;

static uint64_t chance(uint64_t n) {
  uint64_t x = (made_up * 64 + n + 1) * UINT64_C(0x9e3779b97f4a7c15);

  x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
  return (x ^ x >> 32) % 12;
}

static void set_up_places(void) {
  memset(places, 0, sizeof places);
  steps_expect(uv_mutex_init(&lock) == 0);
}

static int is_positive(void* place) {
  return *(int*) place > 0;
}

static void walk_on(uint64_t what, int may_stay) {
  int* place = &places[what % 3];
  enum steps_kind kind = what / 3 % 2 == 0 ? STEPS_READ : STEPS_WRITE;

  if (may_stay && what > 5)
    return;
  steps_at(place, kind, __func__);
  if (kind == STEPS_WRITE)
    *place += is_undone && steps_self() == 1 ? -1 : 1;
}

/* The second step of the third actor waits for what the first one writes last, or for what somebody happens to have written. */
static void wait_or_write(uint64_t what) {
  if (steps_self() == 2 && what > 5)
    steps_wait(&places[0], what % 2 != 0 ? STEPS_READ : STEPS_WRITE, __func__, is_positive, &places[0]);
  else
    walk_on(what, 0);
}

static void walks(void) {
  int self = steps_self();
  int locks_at = has_locks ? (int) chance((uint64_t) (40 + self)) % 2 : 4;
  int i;

  for (i = 0; i < 4; i++) {
    uint64_t what = chance((uint64_t) (self * 4 + i));
    if (i == locks_at)
      uv_mutex_lock(&lock);
    else if (i == locks_at + 2)
      uv_mutex_unlock(&lock);
    else if (i == 1 && locks_at > i)
      wait_or_write(what);
    else
      walk_on(what, i == 3);
  }
  if (self == 0) {
    steps_at(&places[0], STEPS_WRITE, __func__);
    places[0] += 10;
  }
}

static void check_nothing(void) {}

START_TEST(the_reduction_runs_one_of_each_class) {
  static const struct steps_program program = {"made up", set_up_places, {walks, walks, walks}, check_nothing, 0};
  struct steps_report reduced = {.sequences = 0};
  struct steps_report full = {.sequences = 0};

  made_up = (uint64_t) _i;
  has_locks = _i % 2;
  is_undone = _i % 4 == 0;
  steps_run(&program, STEPS_REDUCED | (_i % 4 == 1 || _i % 4 == 2 ? STEPS_SHORT : 0), &reduced);
  steps_run(&program, STEPS_CLASSES, &full);
  ck_assert_uint_eq(reduced.sequences, full.classes);
}
END_TEST

static void add_the_reduction(TCase* tcase) {
  tcase_add_loop_test(tcase, the_reduction_runs_one_of_each_class, 0, MADE_UP);
}

int main(void) {
  static const struct steps_suite suite = {
      .name = "oneshot_steps",
      .legend =
          "Sequences: with neither, with a drop function, with a pool, with both; then with a stale load; then with a weak\n"
          "compare-exchange of each actor that fails. Of long programs some for all",
      .programs = programs,
      .program_count = COUNT(programs),
      .bugs = bugs,
      .bug_count = COUNT(bugs),
      .ways = ways_of,
      .how = how_in,
      .prepare = prepare,
      .more = add_the_reduction,
  };

  return steps_main(&suite);
}
