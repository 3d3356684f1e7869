/* SPDX-License-Identifier: MIT
 *
 * Every interleaving of what two to four threads do with an unbounded mpsc channel, on the real sources, see steps.h; one is run
 * of those that differ only in the order of steps that do not see each other. The blocks are small, so that their ends are where
 * everything happens: of two slots, of one, or growing from one to four. After each sequence: every message that was taken came
 * out once, in an order that agrees with what was sent before what, and none that was refused; the end came once, after them; the
 * token is in one place; one block and one spare are left at most; all memory is given back once; nobody waits. And each of the
 * bugs that block_bugs.sed puts into the sources is found.
 *
 * UVCH_TEST_SCALE=10, or 100: programs that are too large to be run in full with more preemptions, see LARGE below.
 *
 * For a failure, or one program alone: see runner.h. */
#include "core.h"
#include "fakes.h"
#include "handle.h"
#include "hot.h"
#include "runner.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SOME_TIME 5
#define NONE 1000 /* no status */
#define EACH 8    /* messages of an actor, and of nobody */
#define BATCH 3
#define PREEMPTIONS 3 /* within which bugs are found */

/* The actors. Loop i is run by actor i. What comes from outside of them has the last number. */
enum { FIRST, SECOND, THIRD, FOURTH, ACTORS, MESSAGES = (ACTORS + 1) * EACH };

/* Blocks: the program's own bits. */
enum { OF_TWO, OF_ONE, GROWING, VARIANTS };

/* In a program's `is_long`. LARGE: sequences with one preemption at most are run, two with UVCH_TEST_SCALE=10, three with 100.
 * MIDDLE: the same, but all of them from 10 on. All others are run in full. ENDS: memory of the core may go while others run.
 * WEAK: it is run once more with weak compare-exchanges of the second actor that fail for no reason. */
enum { LARGE = 1, MIDDLE = 2, ENDS = 4, WEAK = 8 };

enum steps_bug steps_bug;
static int variant;
static int has_end; /* see ENDS */
static int is_stale;

/* For block.c. */
uint64_t blocks_least;
uint64_t blocks_most;
int blocks_have_memory(void);

/* Those handles are not in these programs. */
const struct uvch__handle_ops uvch__broadcast_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__watch_handle = {NULL, NULL, NULL};

/* Nobody forks. */
void uvch__core_refork(struct uvch__core* c) {
  (void) c;
}

uint64_t uvch__hot_default(void) {
  return fake_hot;
}

int steps_is_torn(const char* who) {
  return steps_is(STEPS_LINK_BY_STORE, who, "advance") || steps_is(STEPS_SPARE_TAKEN_BY_STORE, who, "take_spare") ||
         steps_is(STEPS_SPARE_GIVEN_BY_STORE, who, "give") || steps_is(STEPS_BLOCK_CLAIM_BY_STORE, who, "claim") ||
         steps_is(STEPS_BLOCK_PUBLISH_BY_STORE, who, "uvch__slot_publish") ||
         steps_is(STEPS_SLOT_PARKED_BY_STORE, who, "uvch__slot_park") || steps_is(STEPS_TAIL_PARKED_BY_STORE, who, "try_park") ||
         steps_is(STEPS_BLOCK_KILL_BY_STORE, who, "uvch__slot_kill") || steps_is(STEPS_SETTLE_BY_STORE, who, "uvch__settle") ||
         steps_is(STEPS_SENDERS_BY_STORE, who, "uvch__strong_put") ||
         steps_is(STEPS_REVIVE_BY_STORE, who, "uvch__strong_revive") || steps_is(STEPS_POST_BY_STORE, who, "uvch__post");
}

/* Not in these programs. */
void steps_bend(const char* who, void* word, void* seen) {
  (void) who;
  (void) word;
  (void) seen;
}

/* What a sequence has come to. */

struct message {
  uint64_t what; /* its number, from 1 on */
  uint64_t again;
};

enum { UNUSED, SENDING, TAKEN, REFUSED };

static struct {
  struct uvch__core* core;
  uvch_mpsc_receiver_t* rx;
  uvch_mpsc_sender_t tx[ACTORS];
  uvch_mpsc_weak_sender_t weak[ACTORS];
  struct {
    int state;
    int came;
    uint64_t began; /* the call that sent it */
    uint64_t ended;
  } messages[MESSAGES];
  int made[ACTORS + 1];
  uint64_t clock;
  int calls;          /* of senders that have not returned */
  int senders;        /* whose close has not begun */
  int shutting;       /* the receiver's shutdown or close has begun */
  int shut;           /* and ended */
  int has_drop;       /* so that what the receiver closes upon is known */
  int end;            /* UV_EOF */
  int failures;       /* of allocations, that may come */
  int has_gone;       /* the first one's loop */
  int status[ACTORS]; /* of a request */
  void* reqs[ACTORS];
  int memory; /* blocks of memory of an idle channel */
} w;

static int self_or(int outside) {
  return steps_self() < 0 ? outside : steps_self();
}

static struct message message_of(int i) {
  return (struct message){(uint64_t) i + 1, ~((uint64_t) i + 1)};
}

static int index_in(const struct message* m) {
  steps_expect(m->what >= 1 && m->what <= MESSAGES && m->again == ~m->what);
  return (int) m->what - 1;
}

/* Sending. */

static int begin_send(size_t n, struct message* messages) {
  int self = self_or(ACTORS);
  int first = self * EACH + w.made[self];
  size_t i;

  w.clock++;
  w.calls++;
  for (i = 0; i < n; i++) {
    steps_expect(w.made[self] < EACH);
    w.messages[first + (int) i].state = SENDING;
    w.messages[first + (int) i].began = w.clock;
    messages[i] = message_of(first + (int) i);
    w.made[self]++;
  }
  return first;
}

/* All of them or none, and none after the receiver's shutdown has ended. */
static int end_send(int first, size_t n, int result, int was_shut) {
  size_t i;

  w.clock++;
  w.calls--;
  steps_expect(result >= 0 || (result == UV_EPIPE && w.shutting) || (result == UV_ENOMEM && w.failures < 0));
  steps_expect(result < 0 || !was_shut);
  for (i = 0; i < n; i++) {
    w.messages[first + (int) i].state = result >= 0 ? TAKEN : REFUSED;
    w.messages[first + (int) i].ended = w.clock;
    steps_expect(result >= 0 || w.messages[first + (int) i].came == 0);
  }
  return result;
}

static int send_from(int from) {
  struct message m;
  int was_shut = w.shut;
  int first = begin_send(1, &m);
  int err = uvch_mpsc_try_send(&w.tx[from], &m);

  steps_expect(err <= 0);
  return end_send(first, 1, err, was_shut);
}

static int send_one(void) {
  return send_from(steps_self());
}

static int send_many(size_t n) {
  struct message m[BATCH];
  int was_shut = w.shut;
  int first = begin_send(n, m);
  int result = uvch_mpsc_try_send_many(&w.tx[steps_self()], m, n);

  steps_expect(result < 0 || (size_t) result == n);
  return end_send(first, n, result, was_shut);
}

static void close_from(int from) {
  w.senders--;
  steps_expect(uvch_mpsc_sender_close(&w.tx[from]) == 0);
}

/* Allocations may fail, each way, as often as the program says. */
int blocks_have_memory(void) {
  if (w.failures <= 0 || steps_choose(2) == 0)
    return 1;
  w.failures = -w.failures;
  return 0;
}

/* Receiving. */

/* Nothing that was in before it was sent comes after it. */
static void note_came(const struct message* m) {
  int i = index_in(m);
  int k;

  steps_expect(w.end == 0 && (w.messages[i].state == SENDING || w.messages[i].state == TAKEN));
  steps_expect(w.messages[i].came++ == 0);
  for (k = 0; k < MESSAGES; k++) {
    if (w.messages[k].came == 0 && w.messages[k].state == TAKEN)
      steps_expect(w.messages[k].ended > w.messages[i].began);
    if (k < i && w.messages[k].began == w.messages[i].began && w.messages[k].state != UNUSED)
      steps_expect(w.messages[k].came == 1);
  }
}

static int is_anything_left(void) {
  int i;

  for (i = 0; i < MESSAGES; i++)
    if (w.messages[i].state == TAKEN && w.messages[i].came == 0)
      return 1;
  return 0;
}

static void note_end(void) {
  steps_expect(w.end == 0 && (w.senders == 0 || w.shutting) && !is_anything_left());
  w.end = UV_EOF;
}

/* The messages of whom the channel drops. */
static void on_drop(void* item, void* arg) {
  steps_expect(arg == &w && steps_holds() == 0 && w.shutting);
  steps_expect(steps_self() < 0 || steps_self() == FIRST);
  steps_plain(item, sizeof(struct message), STEPS_READ, __func__);
  note_came(item);
}

/* Whatever a callback closes or runs. */
static void expect_still(const void* item, const struct message* m) {
  if (item == NULL)
    return;
  steps_plain(item, sizeof(struct message), STEPS_READ, __func__);
  steps_expect(memcmp(item, m, sizeof *m) == 0);
}

static void on_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  steps_expect(rx == w.rx && steps_holds() == 0 && (item != NULL) == (status == 0));
  if (status != 0) {
    steps_expect(status == UV_EOF && !uvch_is_active((uvch_handle_t*) rx));
    note_end();
    return;
  }
  steps_plain(item, sizeof(struct message), STEPS_READ, __func__);
  note_came(item);
}

static void on_messages(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  size_t i;

  if (status != 0)
    on_message(rx, status, first);
  for (i = 0; i < count; i++)
    on_message(rx, 0, (char*) first + i * stride);
}

/* A call finds what is there, unless some sender is in the middle, or its loads may read old values: nothing has told this thread of
 * a send that has ended on another one. */
static int take(int (*receive)(void* item)) {
  int is_quiet = w.calls == 0 && !is_stale;
  int was_left = is_anything_left();
  struct message m;
  int err = receive(&m);

  if (err == 0)
    note_came(&m);
  else if (err == UV_EOF && w.end == 0)
    note_end();
  else
    steps_expect(err == UV_EOF || err == UV_EAGAIN || err == UV_ETIMEDOUT);
  steps_expect(err == 0 || !is_quiet || !was_left);
  return err;
}

static int try_it(void* item) {
  return uvch_mpsc_try_recv(w.rx, item);
}

static int wait_for_it(void* item) {
  return uvch_mpsc_recv_wait(w.rx, item);
}

static int wait_a_while(void* item) {
  return uvch_mpsc_recv_timedwait(w.rx, item, SOME_TIME);
}

static void start(void) {
  steps_expect(uvch_mpsc_recv_start(w.rx, on_message) == 0);
}

static void shut(void) {
  w.shutting = 1;
  steps_expect(uvch_mpsc_recv_shutdown(w.rx) == 0);
  w.shut = 1;
}

static void close_handle(void) {
  w.shutting = 1;
  steps_expect(uvch_close((uvch_handle_t*) w.rx, NULL) == 0);
  w.shut = 1;
}

static void free_handle(void) {
  uvch_mpsc_receiver_t* rx = w.rx;

  w.rx = NULL;
  steps_free(rx);
}

static void close_receiver(void) {
  close_handle();
  free_handle();
}

/* Set-up. */

static void choose_blocks(void) {
  blocks_least = variant == OF_TWO ? 2 : 1;
  blocks_most = variant == OF_TWO ? 2 : variant == OF_ONE ? 1 : 4;
}

/* The receiver's token is nowhere else if a loop is given it. */
static void on_post(const struct uvch__endpoint* ep) {
  if (ep == &w.core->ep)
    steps_expect(!w.core->has_token);
}

/* A channel whose receiver is on `loop`, with `senders`, a set of actors. */
static void set_up(uv_loop_t* loop, int senders, size_t item_size) {
  uvch_mpsc_options_t options = {.drop = on_drop, .arg = &w};
  int a;

  memset(&w, 0, sizeof w);
  for (a = 0; a < ACTORS; a++)
    w.status[a] = NONE;
  choose_blocks();
  fakes_set_up(1);
  fake_on_post = on_post;
  w.rx = steps_calloc(sizeof *w.rx);
  w.has_drop = loop != NULL;
  steps_expect(uvch_mpsc_init_ex(loop, w.rx, &w.tx[FIRST], item_size, UVCH_UNBOUNDED, w.has_drop ? &options : NULL) == 0);
  w.core = w.tx[FIRST].core;
  if (!has_end)
    uvch__core_ref(w.core);
  steps_counted = has_end ? NULL : &w.core->refs;
  for (a = FIRST + 1; a < ACTORS; a++)
    if ((senders & 1 << a) != 0)
      steps_expect(uvch_mpsc_sender_clone(&w.tx[FIRST], &w.tx[a]) == 0);
  if ((senders & 1 << FIRST) == 0)
    steps_expect(uvch_mpsc_sender_close(&w.tx[FIRST]) == 0);
  for (a = 0; a < ACTORS; a++)
    w.senders += w.tx[a].core != NULL;
  w.memory = steps_blocks();
}

enum { ONE = 1 << SECOND, TWO = ONE | 1 << THIRD, THREE = TWO | 1 << FOURTH };

/* A message has come and gone. The first block is as small as it should be. */
static void one_has_gone(void) {
  steps_expect(send_from(SECOND) == 0);
  steps_expect(take(try_it) == 0);
  steps_expect(w.core->cached == blocks_least);
}

static void one_sender(void) {
  set_up(&fake_loops[FIRST], ONE, sizeof(struct message));
}

static void one_sender_later(void) {
  one_sender();
  one_has_gone();
}

/* The first block of one slot is the spare. */
static void one_sender_much_later(void) {
  int i;

  one_sender_later();
  for (i = 0; i < 2; i++) {
    steps_expect(send_from(SECOND) == 0);
    steps_expect(take(try_it) == 0);
  }
  steps_expect(variant != OF_ONE || w.core->spare != NULL);
}

static void two_senders(void) {
  set_up(&fake_loops[FIRST], TWO, sizeof(struct message));
}

static void two_senders_later(void) {
  two_senders();
  one_has_gone();
}

static void two_senders_one_is_there(void) {
  two_senders_later();
  steps_expect(send_from(SECOND) == 0);
}

static void three_senders(void) {
  set_up(&fake_loops[FIRST], THREE, sizeof(struct message));
}

static void one_turn_each(void) {
  one_sender();
  fake_budget = 1;
}

/* With several processors. */
static void one_sender_spins(void) {
  one_sender_later();
  fake_hot = 50000;
}

static void two_senders_spins(void) {
  two_senders_later();
  fake_hot = 50000;
}

static void on_a_thread(void) {
  set_up(NULL, ONE, sizeof(struct message));
}

static void on_a_thread_later(void) {
  on_a_thread();
  one_has_gone();
}

static void on_a_thread_two_senders(void) {
  set_up(NULL, TWO, sizeof(struct message));
}

static void on_a_thread_two_senders_later(void) {
  on_a_thread_two_senders();
  one_has_gone();
}

/* One allocation fails, if there is one. */
static void one_sender_little_memory(void) {
  one_sender();
  w.failures = 1;
}

static void two_senders_little_memory(void) {
  two_senders_later();
  w.failures = 1;
}

/* What receivers do. */

static void nothing(void) {}

static void receives(void) {
  start();
  fake_turn_all(FIRST);
}

/* Or it does something else before they are done. */
static void receives_some(void) {
  start();
  fake_turn_maybe(FIRST);
}

static int has_end_come(void* arg) {
  (void) arg;
  return w.end != 0;
}

static void receives_to_the_end(void) {
  start();
  fake_turn_until(FIRST, has_end_come, NULL);
}

static void receives_many(void) {
  steps_expect(uvch_mpsc_recv_many_start(w.rx, BATCH, on_messages) == 0);
  fake_turn_all(FIRST);
}

static void receives_and_closes(void) {
  receives_some();
  close_receiver();
  fake_turn_maybe(FIRST);
}

static void closes(void) {
  close_receiver();
}

static void starts_and_closes(void) {
  start();
  close_receiver();
}

static void stops_and_starts(void) {
  receives_some();
  steps_expect(uvch_mpsc_recv_stop(w.rx) == 0);
  fake_turn_maybe(FIRST);
  if (w.end == 0)
    receives();
}

static void shuts(void) {
  shut();
  receives();
}

static void receives_and_shuts(void) {
  receives_some();
  shut();
  fake_turn_maybe(FIRST);
}

static void shuts_and_closes(void) {
  start();
  shut();
  close_receiver();
}

static void on_message_close(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct message m = {0, 0};

  on_message(rx, status, item);
  if (item != NULL)
    m = *(struct message*) item;
  close_receiver();
  expect_still(item, &m);
}

static void closes_in_the_callback(void) {
  steps_expect(uvch_mpsc_recv_start(w.rx, on_message_close) == 0);
  fake_turn_maybe(FIRST);
}

static void on_message_run(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct message m = {0, 0};

  on_message(rx, status, item);
  if (item != NULL)
    m = *(struct message*) item;
  fake_turn_nested(FIRST);
  expect_still(item, &m);
}

static void runs_in_the_callback(void) {
  steps_expect(uvch_mpsc_recv_start(w.rx, on_message_run) == 0);
  fake_turn_all(FIRST);
}

static void on_message_stop(uvch_mpsc_receiver_t* rx, int status, void* item) {
  on_message(rx, status, item);
  steps_expect(uvch_mpsc_recv_stop(rx) == 0);
}

static void stops_in_the_callback(void) {
  steps_expect(uvch_mpsc_recv_start(w.rx, on_message_stop) == 0);
  fake_turn_all(FIRST);
}

static void on_message_take(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct message m = {0, 0};

  on_message(rx, status, item);
  if (item == NULL)
    return;
  m = *(struct message*) item;
  take(try_it);
  expect_still(item, &m);
}

/* The next one is taken while a callback has this one. */
static void takes_in_the_callback(void) {
  steps_expect(uvch_mpsc_recv_start(w.rx, on_message_take) == 0);
  fake_turn_all(FIRST);
}

static void loses_its_loop(void) {
  receives_some();
  w.has_gone = 1;
  w.shutting = 1;
  fake_abandon(FIRST);
}

static void loses_its_loop_and_closes(void) {
  loses_its_loop();
  close_receiver();
}

/* On a thread. */

static void tries(void) {
  take(try_it);
}

static void tries_twice(void) {
  take(try_it);
  take(try_it);
}

static void waits(void) {
  steps_expect(take(wait_for_it) != UV_ETIMEDOUT);
}

static void waits_twice(void) {
  waits();
  waits();
}

static void waits_to_the_end(void) {
  while (take(wait_for_it) != UV_EOF) {}
}

static void waits_a_while(void) {
  take(wait_a_while);
}

static void waits_a_while_and_waits(void) {
  if (take(wait_a_while) == UV_ETIMEDOUT)
    waits();
}

static void waits_a_while_and_tries(void) {
  take(wait_a_while);
  take(try_it);
}

static void waits_a_while_and_closes(void) {
  take(wait_a_while);
  close_receiver();
}

static void attaches(void) {
  steps_expect(uvch_attach(&fake_loops[FIRST], (uvch_handle_t*) w.rx) == 0);
  receives();
}

static void waits_a_while_and_attaches(void) {
  take(wait_a_while);
  if (w.end == 0)
    attaches();
}

static void waits_for_many(void) {
  struct message m[BATCH];
  int n = uvch_mpsc_recv_many_wait(w.rx, m, BATCH);
  int i;

  steps_expect(n > 0 || n == UV_EOF);
  for (i = 0; i < n; i++)
    note_came(&m[i]);
  if (n == UV_EOF)
    note_end();
}

/* What senders do. */

static void sends(void) {
  send_one();
}

static void sends_twice(void) {
  send_one();
  send_one();
}

static void sends_three_times(void) {
  send_one();
  send_one();
  send_one();
}

static void sends_four_times(void) {
  sends_twice();
  sends_twice();
}

static void closes_sender(void) {
  close_from(steps_self());
}

static void sends_and_closes(void) {
  send_one();
  closes_sender();
}

static void sends_twice_and_closes(void) {
  sends_twice();
  closes_sender();
}

static void sends_two_at_once(void) {
  send_many(2);
}

static void sends_three_at_once(void) {
  send_many(3);
}

static void sends_three_at_once_and_closes(void) {
  send_many(3);
  closes_sender();
}

static void sends_through_a_clone(void) {
  w.senders++;
  steps_expect(uvch_mpsc_sender_clone(&w.tx[SECOND], &w.tx[THIRD]) == 0);
  closes_sender();
  send_from(THIRD);
  close_from(THIRD);
}

/* A weak sender may come too late. */
static void sends_if_it_may(void) {
  int self = steps_self();
  int err;

  err = uvch_mpsc_weak_sender_upgrade(&w.weak[self], &w.tx[self]);
  steps_expect(err == 0 || err == UV_EPIPE);
  if (err == 0) {
    w.senders++;
    sends_and_closes();
  }
  steps_expect(uvch_mpsc_weak_sender_close(&w.weak[self]) == 0);
}

static void one_sender_and_a_weak_one(void) {
  one_sender();
  steps_expect(uvch_mpsc_sender_downgrade(&w.tx[SECOND], &w.weak[THIRD]) == 0);
}

/* Those who wait for the end of the receiver. */

static void on_closed(uvch_mpsc_closed_t* req, int status) {
  int self = self_or(THIRD);

  steps_expect(req == w.reqs[self] && w.status[self] == NONE && steps_holds() == 0);
  steps_expect((status == 0 && (w.shutting || w.senders == 0)) || status == UV_ECANCELED);
  w.status[self] = status;
  steps_at(req, STEPS_FREE, __func__);
  steps_free(req);
}

static int is_told(void* arg) {
  return w.status[*(int*) arg] != NONE;
}

static void until_told(void) {
  int self = steps_self();
  fake_turn_until(self, is_told, &self);
}

static void watch(void) {
  int self = steps_self();

  w.reqs[self] = steps_calloc(sizeof(uvch_mpsc_closed_t));
  steps_expect(uvch_mpsc_closed(&fake_loops[self], w.reqs[self], &w.tx[self], on_closed) == 0);
}

static void watches(void) {
  watch();
  until_told();
}

static void sleeps_to_the_end(void) {
  steps_expect(uvch_mpsc_closed_wait(&w.tx[steps_self()]) == 0);
  steps_expect(w.shutting);
}

static void sleeps_a_while(void) {
  int err = uvch_mpsc_closed_timedwait(&w.tx[steps_self()], SOME_TIME);

  steps_expect(err == UV_ETIMEDOUT || (err == 0 && w.shutting));
}

/* A request that need not wait. */

static void on_sent(uvch_mpsc_send_t* req, int status) {
  int self = self_or(SECOND);

  steps_expect(req == w.reqs[self] && w.status[self] == NONE && status == 0 && req->sent == 1);
  w.status[self] = status;
  steps_at(req, STEPS_FREE, __func__);
  steps_free(req);
}

static void requests(void) {
  int self = steps_self();
  struct message m;
  int was_shut = w.shut;
  int first;
  int err;

  w.reqs[self] = steps_calloc(sizeof(uvch_mpsc_send_t));
  first = begin_send(1, &m);
  err = end_send(first, 1, uvch_mpsc_send(&fake_loops[self], w.reqs[self], &w.tx[self], &m, on_sent), was_shut);
  if (err == 0)
    until_told();
}

/* Checks. */

/* What is left is of this size: one block that the receiver is in, one spare. */
static void expect_little(void) {
  int most = w.memory + (w.core->queue != NULL && !w.has_drop) + 2;

  steps_expect(steps_blocks() <= most);
}

static void expect_all_came(void) {
  int i;

  for (i = 0; i < MESSAGES; i++)
    steps_expect(w.messages[i].came == (w.messages[i].state == TAKEN) ||
                 (w.messages[i].state == TAKEN && w.shutting && !w.has_drop));
}

/* Who has stopped, or has not begun, gets the rest now. */
static void receive_rest(void) {
  if (w.rx == NULL || w.has_gone)
    return;
  if (w.rx->loop == NULL || !uvch_is_active((uvch_handle_t*) w.rx))
    while (take(try_it) == 0) {}
  else
    steps_expect(uvch_mpsc_receiver_len(w.rx) == 0);
  expect_all_came();
  if (w.senders == 0 || w.shutting)
    steps_expect(w.end == UV_EOF);
}

static void check_all(void) {
  int i;

  fake_drain();
  steps_expect(w.calls == 0);
  receive_rest();
  if (!has_end)
    expect_little();
  if (w.rx != NULL)
    close_receiver();
  fake_drain();
  expect_all_came();
  for (i = 0; i < ACTORS; i++) {
    uvch_mpsc_sender_close(&w.tx[i]);
    uvch_mpsc_weak_sender_close(&w.weak[i]);
  }
  fake_drain();
  if (!has_end) {
    steps_expect(steps_blocks() <= w.memory + (w.core->queue != NULL && !w.has_drop) + 1); /* the spare */
    uvch__core_unref(w.core);
  }
  fakes_check();
}

/* It has had its end. */
static void check_end(void) {
  fake_drain();
  steps_expect(w.end == UV_EOF);
  check_all();
}

static void check_told(void) {
  fake_drain();
  steps_expect(w.status[THIRD] == 0);
  check_all();
}

static const struct steps_program programs[] = {
    {"send, start", one_sender, {receives, sends}, check_all, WEAK},
    {"send, start, later", one_sender_later, {receives, sends}, check_all, WEAK},
    {"send, start, much later", one_sender_much_later, {receives, sends}, check_all, 0},
    {"send twice, start", one_sender, {receives, sends_twice}, check_all, MIDDLE},
    {"send twice, start, later", one_sender_later, {receives, sends_twice}, check_all, MIDDLE},
    {"send twice, start, one a turn", one_turn_each, {receives, sends_twice}, check_all, MIDDLE},
    {"send twice, start of several", one_sender_later, {receives_many, sends_twice}, check_all, MIDDLE},
    {"send, stop, start", one_sender, {stops_and_starts, sends}, check_all, 0},
    {"send twice, stop in the callback", one_sender_later, {stops_in_the_callback, sends_twice}, check_all, 0},
    {"send twice, a run in the callback", one_sender, {runs_in_the_callback, sends_twice}, check_all, MIDDLE},
    {"send twice, try_recv in the callback", one_sender, {takes_in_the_callback, sends_twice}, check_all, MIDDLE},
    {"send through a clone, start", one_sender, {receives, sends_through_a_clone}, check_end, 0},
    {"send three times, start", one_sender, {receives, sends_three_times}, check_all, LARGE},
    {"send four times, start, later", one_sender_later, {receives, sends_four_times}, check_all, LARGE},

    {"send twice, spins", one_sender_spins, {receives, sends_twice}, check_all, MIDDLE},
    {"send twice and close the sender, spins",
     one_sender_spins,
     {receives_to_the_end, sends_twice_and_closes},
     check_end,
     MIDDLE},
    {"send three at once, spins, several", one_sender_spins, {receives_many, sends_three_at_once}, check_all, 0},
    {"send four times, spins", one_sender_spins, {receives, sends_four_times}, check_all, LARGE},
    {"send twice, spins, close", one_sender_spins, {receives_and_closes, sends_twice}, check_all, MIDDLE},
    {"two send, spins", two_senders_spins, {receives, sends, sends}, check_all, LARGE},

    {"two send, start", two_senders, {receives, sends, sends}, check_all, LARGE},
    {"two send, start, later", two_senders_later, {receives, sends, sends}, check_all, LARGE},
    {"two send, start, one is there", two_senders_one_is_there, {receives, sends, sends}, check_all, LARGE},
    {"one sends once, one three times, start", two_senders, {receives, sends, sends_three_times}, check_all, LARGE},
    {"one sends once, one four times, start, later", two_senders_later, {receives, sends, sends_four_times}, check_all, LARGE},
    {"one sends twice, one once, start", two_senders, {receives, sends_twice, sends}, check_all, LARGE},
    {"two send twice, start", two_senders, {receives, sends_twice, sends_twice}, check_all, LARGE},
    {"three send, start", three_senders, {receives, sends, sends, sends}, check_all, LARGE},

    {"send two at once, start", one_sender_later, {receives, sends_two_at_once}, check_all, 0},
    {"send three at once, start of several", one_sender_later, {receives_many, sends_three_at_once}, check_all, 0},
    {"send three at once, start", one_sender, {receives, sends_three_at_once}, check_all, 0},
    {"send three at once, another sends, start", two_senders, {receives, sends_three_at_once, sends}, check_all, LARGE},
    {"two send three at once, start of several",
     two_senders_later,
     {receives_many, sends_three_at_once, sends_three_at_once},
     check_all,
     LARGE},
    {"send three at once, close", one_sender, {closes, sends_three_at_once}, check_all, 0},
    {"send three at once, start and close", one_sender_later, {receives_and_closes, sends_three_at_once}, check_all, MIDDLE},
    {"send three at once, another sends, close", two_senders, {closes, sends_three_at_once, sends}, check_all, LARGE},

    {"send, no memory", one_sender_little_memory, {receives, sends_twice}, check_all, MIDDLE},
    {"two send, no memory for one", two_senders_little_memory, {receives, sends_twice, sends}, check_all, LARGE},
    {"send three at once, no memory", one_sender_little_memory, {receives, sends_three_at_once}, check_all, 0},
    {"two send three at once, no memory for one",
     two_senders_little_memory,
     {receives, sends_three_at_once, sends_three_at_once},
     check_all,
     LARGE},
    {"send three at once, no memory, close", two_senders_little_memory, {closes, sends_three_at_once, sends}, check_all, LARGE},

    {"send, close", one_sender, {closes, sends}, check_all, ENDS},
    {"send, start and close at once", one_sender, {starts_and_closes, sends}, check_all, 0},
    {"send, start and close", one_sender, {receives_and_closes, sends}, check_all, 0},
    {"send twice, close", one_sender, {closes, sends_twice}, check_all, 0},
    {"send twice, close, later", one_sender_later, {closes, sends_twice}, check_all, 0},
    {"send twice, start and close", one_sender, {receives_and_closes, sends_twice}, check_all, MIDDLE},
    {"send twice, start and close, later", one_sender_later, {receives_and_closes, sends_twice}, check_all, MIDDLE},
    {"send twice, close in the callback", one_sender, {closes_in_the_callback, sends_twice}, check_all, 0},
    {"send twice, close in the callback, later", one_sender_later, {closes_in_the_callback, sends_twice}, check_all, MIDDLE},
    {"two send, close", two_senders, {closes, sends, sends}, check_all, LARGE},
    {"two send, close, later", two_senders_later, {closes, sends, sends}, check_all, LARGE},
    {"two send twice, start and close", two_senders, {receives_and_closes, sends_twice, sends_twice}, check_all, LARGE},
    {"one sends once, one three times, close", two_senders, {closes, sends, sends_three_times}, check_all, LARGE},
    {"send, its loop goes", one_sender, {loses_its_loop, sends}, check_all, 0},
    {"send twice, its loop goes, close", one_sender_later, {loses_its_loop_and_closes, sends_twice}, check_all, MIDDLE},
    {"send and close the sender, close", one_sender, {closes, sends_and_closes}, check_all, ENDS},
    {"send and close the sender, start and close", one_sender, {receives_and_closes, sends_and_closes}, check_all, MIDDLE | ENDS},
    {"send and close the sender, start and close, later, the core goes",
     one_sender_later,
     {receives_and_closes, sends_and_closes},
     check_all,
     MIDDLE | ENDS},
    {"two send and close, close", two_senders, {closes, sends_and_closes, sends_and_closes}, check_all, LARGE | ENDS},
    {"close the sender, close", one_sender, {closes, closes_sender}, check_all, ENDS},

    {"close the sender, start", one_sender, {receives_to_the_end, closes_sender}, check_end, 0},
    {"send and close the sender, start", one_sender, {receives_to_the_end, sends_and_closes}, check_end, 0},
    {"send and close the sender, start, later", one_sender_later, {receives_to_the_end, sends_and_closes}, check_end, MIDDLE},
    {"send twice and close the sender, start, later",
     one_sender_later,
     {receives_to_the_end, sends_twice_and_closes},
     check_end,
     MIDDLE},
    {"send three at once and close, start", one_sender, {receives_to_the_end, sends_three_at_once_and_closes}, check_end, 0},
    {"two send and close, start", two_senders, {receives_to_the_end, sends_and_closes, sends_and_closes}, check_end, LARGE},
    {"two send and close, start, later",
     two_senders_later,
     {receives_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LARGE},
    {"one sends and closes, one closes, start",
     two_senders,
     {receives_to_the_end, sends_and_closes, closes_sender},
     check_end,
     LARGE},
    {"a weak sender sends, close the sender, start",
     one_sender_and_a_weak_one,
     {receives_to_the_end, closes_sender, sends_if_it_may},
     check_end,
     LARGE},

    {"send, shutdown, start", one_sender, {shuts, sends}, check_end, 0},
    {"send, shutdown, start, later", one_sender_later, {shuts, sends}, check_end, 0},
    {"send twice, shutdown, start, later", one_sender_later, {shuts, sends_twice}, check_end, MIDDLE},
    {"send twice, start, shutdown", one_sender, {receives_and_shuts, sends_twice}, check_end, MIDDLE},
    {"two send, start, shutdown", two_senders_later, {receives_and_shuts, sends, sends}, check_end, LARGE},
    {"send twice, shutdown, close", one_sender, {shuts_and_closes, sends_twice}, check_all, 0},
    {"close the sender, start, shutdown", one_sender, {receives_and_shuts, closes_sender}, check_end, 0},
    {"send and close the sender, shutdown, start", one_sender, {shuts, sends_and_closes}, check_end, 0},

    {"send, try_recv", on_a_thread, {tries, sends}, check_all, 0},
    {"send twice, try_recv twice", on_a_thread_later, {tries_twice, sends_twice}, check_all, MIDDLE},
    {"send, recv_wait", on_a_thread, {waits, sends}, check_all, WEAK},
    {"send twice, recv_wait twice", on_a_thread, {waits_twice, sends_twice}, check_all, MIDDLE},
    {"send twice, recv_wait twice, later", on_a_thread_later, {waits_twice, sends_twice}, check_all, MIDDLE},
    {"two send, recv_wait twice", on_a_thread_two_senders, {waits_twice, sends, sends}, check_all, LARGE},
    {"two send, recv_wait twice, later", on_a_thread_two_senders_later, {waits_twice, sends, sends}, check_all, LARGE},
    {"send and close the sender, recv_wait to the end", on_a_thread, {waits_to_the_end, sends_and_closes}, check_end, 0},
    {"two send and close, recv_wait to the end",
     on_a_thread_two_senders,
     {waits_to_the_end, sends_and_closes, sends_and_closes},
     check_end,
     LARGE},
    {"two send twice and close, recv_wait to the end",
     on_a_thread_two_senders_later,
     {waits_to_the_end, sends_twice_and_closes, sends_twice_and_closes},
     check_end,
     LARGE},
    {"send three at once, recv_many_wait", on_a_thread, {waits_for_many, sends_three_at_once}, check_all, 0},
    {"close the sender, recv_wait", on_a_thread, {waits, closes_sender}, check_end, 0},
    {"send, recv_timedwait", on_a_thread, {waits_a_while, sends}, check_all, WEAK},
    {"send, recv_timedwait, later", on_a_thread_later, {waits_a_while, sends}, check_all, 0},
    {"send, recv_timedwait, recv_wait", on_a_thread, {waits_a_while_and_waits, sends}, check_all, MIDDLE},
    {"send twice, recv_timedwait, recv_wait, later",
     on_a_thread_later,
     {waits_a_while_and_waits, sends_twice},
     check_all,
     MIDDLE},
    {"send, recv_timedwait, try_recv", on_a_thread, {waits_a_while_and_tries, sends}, check_all, 0},
    {"close the sender, recv_timedwait, recv_wait", on_a_thread, {waits_a_while_and_waits, closes_sender}, check_end, 0},
    {"send, recv_timedwait, close", on_a_thread, {waits_a_while_and_closes, sends}, check_all, 0},
    {"send, recv_timedwait, close, the core goes",
     on_a_thread,
     {waits_a_while_and_closes, sends_and_closes},
     check_all,
     MIDDLE | ENDS},
    {"send, close of a thread's", on_a_thread, {closes, sends}, check_all, 0},
    {"send, attach, start", on_a_thread, {attaches, sends}, check_all, 0},
    {"send twice, attach, start, later", on_a_thread_later, {attaches, sends_twice}, check_all, MIDDLE},
    {"send, recv_timedwait, attach, start", on_a_thread, {waits_a_while_and_attaches, sends}, check_all, MIDDLE},
    {"send twice, recv_timedwait, attach, start, later",
     on_a_thread_later,
     {waits_a_while_and_attaches, sends_twice},
     check_all,
     MIDDLE},

    {"closed, close", two_senders, {closes, nothing, watches}, check_told, 0},
    {"closed, shutdown", two_senders, {shuts, sends, watches}, check_told, LARGE},
    {"closed_wait, close", two_senders, {closes, sends, sleeps_to_the_end}, check_all, LARGE},
    {"closed_timedwait, close", two_senders, {closes, nothing, sleeps_a_while}, check_all, 0},

    {"a send request, start", one_sender, {receives, requests}, check_all, 0},
    {"a send request, close", one_sender, {closes, requests}, check_all, 0},
};

/* Running them. */

static void prepare(const struct steps_program* program, int how) {
  variant = how / STEPS_OWN;
  has_end = (program->is_long & ENDS) != 0;
  is_stale = how / STEPS_STALE % STEPS_STALE_MAX > 0;
}

/* The ways a program is run in: each kind of blocks; weak compare-exchanges of the second actor that fail; a load that reads an
 * old value. */
static const int ways[] = {OF_TWO * STEPS_OWN, OF_ONE* STEPS_OWN, GROWING* STEPS_OWN, STEPS_WEAK << SECOND,
                           STEPS_STALE + OF_TWO* STEPS_OWN};
enum { WEAKLY = VARIANTS, STALE };

static int is_run(const struct steps_program* program, int way) {
  if (way == WEAKLY)
    return (program->is_long & WEAK) != 0;
  return way != STALE || (program->is_long & (LARGE | MIDDLE)) == 0 || steps_scale() >= 10;
}

/* All orders, or those with so many preemptions. */
static int bound_of(const struct steps_program* program, int way) {
  double more = way == STALE ? steps_scale() / 10 : steps_scale();

  if ((program->is_long & LARGE) != 0)
    return STEPS_AT_MOST(more >= 100 ? 3 : more >= 10 ? 2 : 1);
  return (program->is_long & MIDDLE) != 0 && more < 10 ? STEPS_AT_MOST(1) : STEPS_REDUCED | STEPS_SHORT;
}

/* For bugs: few preemptions first. */
static int at_most(const struct steps_program* program, int n) {
  return n < PREEMPTIONS || (program->is_long & LARGE) != 0 ? STEPS_AT_MOST(n) : STEPS_REDUCED | STEPS_SHORT;
}

/* Bugs: all ways with no preemption, then all with one, and so on. */
static int ways_of(const struct steps_program* program, enum steps_bug bug) {
  (void) program;
  return (int) COUNT(ways) * (bug != STEPS_NO_BUG ? PREEMPTIONS + 1 : 1);
}

static int how_in(const struct steps_program* program, enum steps_bug bug, int way) {
  int count = (int) COUNT(ways);

  if (bug != STEPS_NO_BUG)
    return ways[way % count] + at_most(program, way / count);
  return is_run(program, way) ? ways[way] + bound_of(program, way) : -1;
}

static const struct steps_wrong bugs[] = {
    {STEPS_CLAIM_WAKES_NOBODY, "who claims at the tail does not wake who is parked there", "send, start"},
    {STEPS_PUBLISH_WAKES_NOBODY, "who publishes where somebody is parked does not", "send twice, start, later"},
    {STEPS_LINK_WAKES_NOBODY, "who links a block does not", "send, start"},
    {STEPS_END_WAKES_NOBODY, "nor does the last sender", "close the sender, start"},
    {STEPS_BLOCK_CLAIM_LEAVES_PARK, "a claim leaves the park to the next one", "two send, start"},
    {STEPS_SET_LEAVES_PARK, "so does a shutdown", "close the sender, start, shutdown"},
    {STEPS_PARKS_NOWHERE, "the receiver does not park where a block is missing", "send, start"},
    {STEPS_PARK_IGNORES_FRONT, "it parks without a look at the message", "send twice, start, later"},
    {STEPS_PARK_TAKES_ANY_FOR_TAIL, "or at the tail while there is more", "send twice, start, later"},
    {STEPS_PARK_IGNORES_FRONT, "or after a spin", "send twice, spins"},
    {STEPS_BLOCK_FRONT_IS_RELAXED, "it spins, and does not acquire the message", "send twice, spins"},
    {STEPS_PARK_SEES_NO_END, "or at the end", "close the sender, start"},
    {STEPS_REST_DOES_NOT_LOOK, "a turn rests though something has come", "send twice, start"},
    {STEPS_END_BEFORE_TAIL, "the end comes before a message", "send and close the sender, recv_wait to the end"},
    {STEPS_SLOT_PARKED_BY_STORE, "a park in a slot by a load and a store", "send twice, start, later"},
    {STEPS_TAIL_PARKED_BY_STORE, "a park at the tail by a load and a store", "send, start"},
    {STEPS_BLOCK_PUBLISH_BY_STORE, "a message is published by a load and a store", "send twice, start, later"},
    {STEPS_BLOCK_CLAIM_BY_STORE, "an index is claimed by a load and a store", "two send, start"},

    {STEPS_LINK_BY_STORE, "a block is linked by a load and a store", "two send, start"},
    {STEPS_LIMIT_BEFORE_LINK, "the limit is raised before the block is linked", "two send, start, later"},
    {STEPS_HAND_IS_SHORT, "one message more is claimed than the hand covers", "send, start"},
    {STEPS_BELOW_AFTER_LINK, "who links looks into the block after that", "one sends twice, one once, start"},
    {STEPS_HAND_IS_LOST, "what is left in the hand is lost", "two send, start"},
    {STEPS_NO_MEMORY_LEAKS, "so is what there was when memory was short", "send three at once, no memory"},
    {STEPS_SPARE_TAKEN_BY_STORE, "the spare is taken by a load and a store", "two send twice, start"},
    {STEPS_SPARE_GIVEN_BY_STORE, "or given", "two send, start, one is there"},
    {STEPS_SLOTS_STAY_READY, "a block that is used again still has its messages", "send, start, much later"},
    {STEPS_HINT_BEFORE_CLAIM, "the hint is loaded before the claim", "two send twice, start"},
    {STEPS_LATE_GOES_ON_FROM_HINT, "a late sender begins at the hint", "two send, start, later"},
    {STEPS_HINT_STAYS_BACK, "the receiver does not move the hint", "two send, start, one is there"},
    {STEPS_FIRST_IS_LATE, "or its own block only after it has looked at the tail", "two send, start, one is there"},
    {STEPS_TAIL_BEFORE_HINT, "it looks at the tail before it has moved the hint", "two send, start, one is there"},
    {STEPS_TAIL_BEFORE_ALL, "or before all", "two send, start, one is there"},
    {STEPS_TAIL_IS_NOT_READ, "or never", "two send, start, one is there"},
    {STEPS_RECYCLE_DOES_NOT_WAIT, "a block is used again at once", "two send, start, one is there"},
    {STEPS_RECYCLE_IGNORES_CALLBACK, "while a callback has a message in it", "send twice, a run in the callback"},

    {STEPS_CLAIM_IGNORES_CLOSED, "a claim does not see that the channel is closed", "send, close"},
    {STEPS_NEXT_IS_NOT_KILLED, "who closes does not mark the missing block", "send, close"},
    {STEPS_KILLED_IS_NOT_SEEN, "who finds that mark takes it for a block", "send, close"},
    {STEPS_MISSING_ARE_NOT_COUNTED, "what is in no block yet is not counted", "send twice, close, later"},
    {STEPS_BLOCKS_END_AT_ONCE, "nor what is on its way", "send twice, start and close"},
    {STEPS_CLOSE_IGNORES_CALLBACK, "nor what a callback has", "send twice, close in the callback, later"},
    {STEPS_REST_IS_NOT_SETTLED, "of several that were refused one is counted off", "send three at once, close"},
    {STEPS_SETTLE_BY_STORE, "they are counted off by a load and a store", "two send, close, later"},
    {STEPS_FOLLOW_IS_READY, "messages of a batch are published one by one", "send three at once, start and close"},
    {STEPS_KILL_IGNORES_FIRST, "who closes takes the rest of a batch without its first", "send three at once, start and close"},
    {STEPS_BLOCK_KILL_BY_STORE, "a slot is killed by a load and a store", "send twice, start and close, later"},
    {STEPS_CLOSE_FORGETS_PARK, "who closes forgets that it was parked",
     "send and close the sender, start and close, later, the core goes"},
    {STEPS_SENDERS_BY_STORE, "senders are counted by a load and a store", "two send and close, start"},
    {STEPS_REVIVE_BY_STORE, "a weak sender counts itself by a load and a store", "a weak sender sends, close the sender, start"},

    {STEPS_BLOCK_ARM_LOSES_TOKEN, "a thread that was posted before it slept loses the token", "send, recv_timedwait, recv_wait"},
    {STEPS_DISARM_LOSES_TOKEN, "or while it slept", "send twice, recv_wait twice"},
    {STEPS_LATE_HAS_TOKEN, "after its time it takes the token for granted", "send, recv_timedwait, recv_wait"},
    {STEPS_ATTACH_LOSES_TOKEN, "an attach loses it", "send, recv_timedwait, attach, start"},
    {STEPS_BLOCK_SHUTDOWN_LOSES_TOKEN, "so does a shutdown", "send twice, start, shutdown"},
    {STEPS_POST_BY_STORE, "a post by a load and a store", "send, recv_timedwait, attach, start"},

    {STEPS_LINK_IS_RELAXED, "a block is linked, and not published", "send twice, start"},
    {STEPS_WALK_IS_RELAXED, "the receiver goes to the next block, and does not acquire it", "send twice, start"},
    {STEPS_SENDERS_WALK_IS_RELAXED, "a sender does so", "two send, start"},
    {STEPS_LIMIT_IS_RELAXED, "the limit does not publish the block", "two send, start"},
    {STEPS_LIMIT_IS_NOT_ACQUIRED, "or is not acquired", "two send, start"},
    {STEPS_HINT_IS_RELAXED, "the hint does not publish its block", "two send, start"},
    {STEPS_HINT_IS_NOT_ACQUIRED, "or is not acquired", "two send, start"},
    {STEPS_SPARE_IS_RELAXED, "nor is the spare", "one sends twice, one once, start"},
    {STEPS_SPARE_IS_NOT_ACQUIRED, "or it is not acquired", "one sends twice, one once, start"},
    {STEPS_TAIL_READ_IS_RELAXED, "so is the look at the tail", "two send, start, one is there"},
    {STEPS_BLOCK_PUBLISH_IS_RELAXED, "a message is not published", "send, start"},
    {STEPS_BLOCK_FRONT_IS_RELAXED, "or not acquired", "send, start"},
    {STEPS_BLOCK_KILL_IS_RELAXED, "not even by who closes", "send twice, start and close, later"},
    {STEPS_SETTLE_IS_RELAXED, "who counts the last one off does not see what the others did", "two send, close, later"},
    {STEPS_CORE_UNREF_IS_RELEASE, "nor does who lets go of the core", "send and close the sender, close"},
};

int main(void) {
  static const struct steps_suite suite = {
      .name = "block_steps",
      .legend = "Sequences: with blocks of two, of one, growing; with a weak compare-exchange that fails; with an old value",
      .programs = programs,
      .program_count = COUNT(programs),
      .bugs = bugs,
      .bug_count = COUNT(bugs),
      .ways = ways_of,
      .how = how_in,
      .prepare = prepare,
  };

  return steps_main(&suite);
}
