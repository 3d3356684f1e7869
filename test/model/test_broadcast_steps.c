/* SPDX-License-Identifier: MIT
 *
 * Every interleaving of what two or three threads do with a broadcast channel, on the real sources, see steps.h; one is run of
 * those that differ only in the order of steps that do not see each other. Each program is run with messages in slots and with
 * nodes, and with one place and two. After each sequence: every receiver has had all messages that were sent while it was there, in
 * one order, or has been told exactly how many it has missed; every message that was taken in is dropped once; the token of a group
 * is in one place; all memory is given back once; nobody waits. And each of the bugs that broadcast_bugs.sed puts into the sources
 * is found.
 *
 * For a failure, or one program alone: see runner.h. */
#include "broadcast.h"
#include "handle.h"
#include "hot.h"
#include "fakes.h"
#include "runner.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SOME_TIME 5
#define NONE 1000 /* no status */
#define MESSAGES 16
#define PLACES 12

/* The actors. Loop i is run by actor i. OTHER is one more receiver, on the loop of the first. */
enum { FIRST, SECOND, THIRD, ACTORS, OTHER = ACTORS, RECEIVERS };

/* Variants: the program's own bits. */
enum { WITH_NODES = 1, WITH_TWO = 2, VARIANTS = 4 };

enum steps_bug steps_bug;
static int variant;

/* Those handles are not in these programs. */
const struct uvch__handle_ops uvch__mpsc_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__oneshot_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__watch_handle = {NULL, NULL, NULL};

/* Nobody polls. */
uint64_t uvch__hot_default(void) {
  return 0;
}

int steps_is_torn(const char* who) {
  return steps_is(STEPS_NODE_UNREF_BY_STORE, who, "uvch__node_unref") ||
         steps_is(STEPS_GROUP_UNREF_BY_STORE, who, "uvch__group_unref") ||
         steps_is(STEPS_CORE_UNREF_BY_STORE, who, "uvch__hub_unref") ||
         steps_is(STEPS_POST_BROADCAST_BY_STORE, who, "uvch__post");
}

/* A thread that sleeps at a lock sets the word as if nobody did. */
void steps_bend(const char* who, void* word, void* seen) {
  (void) seen;
  if (steps_is(STEPS_LOCK_SLEEPS_AS_TAKEN, who, "uvch__lock_sleep"))
    *(atomic_uint*) word = UVCH__TAKEN;
}

/* What a sequence has come to. */

struct message {
  uint64_t what;
  uint64_t again;
};

struct reader {
  uvch_broadcast_receiver_t* rx;
  uint64_t at; /* position of what comes next */
  int values;
  uint64_t missed;
  int end; /* UV_EOF, UV_ECONNABORTED */
};

static struct {
  struct uvch__broadcast* core;
  uvch_broadcast_sender_t tx[ACTORS];
  uvch_broadcast_weak_sender_t weak;
  struct reader readers[RECEIVERS];
  uint64_t order[PLACES]; /* which message was seen at which position */
  int has_gone;           /* the first one's loop */
  int others_may_come;    /* receivers, from other threads */
  int made[ACTORS + 1];   /* messages; the last ones come from outside */
  int sent;
  int is_sent[MESSAGES];
  int drops[MESSAGES];
  int status[ACTORS]; /* of the last send, or of a request */
  int cancelled;
  void* reqs[ACTORS];
  struct message* waits[ACTORS]; /* messages of requests */
} w;

static uint64_t first_position(void) {
  return (variant & WITH_TWO) != 0 ? UINT64_MAX : 0;
}

static int capacity(void) {
  return (variant & WITH_TWO) != 0 ? 2 : 1;
}

static int has_nodes(void) {
  return (variant & WITH_NODES) != 0;
}

static struct message next_message(void) {
  int self = steps_self() < 0 ? ACTORS : steps_self();
  uint64_t what = (uint64_t) (self * (MESSAGES / (ACTORS + 1)) + w.made[self]++);

  steps_expect(w.made[self] <= MESSAGES / (ACTORS + 1));
  return (struct message){what, ~what};
}

static void expect_whole(const struct message* m) {
  steps_expect(m->what < MESSAGES && m->again == ~m->what);
}

static void note_sent(const struct message* m, int status) {
  w.is_sent[m->what] = status >= 0;
  w.sent += status >= 0;
}

/* The channel's own functions. A node may not go away meanwhile. */

static void on_drop(void* item, void* arg) {
  struct message* m = item;

  steps_expect(arg == &w && steps_holds() == 0);
  steps_plain(item, sizeof(struct message), STEPS_READ, __func__);
  expect_whole(m);
  w.drops[m->what]++;
}

static int on_copy(void* copy, const void* item, void* arg) {
  steps_expect(arg == &w && steps_holds() == 0);
  steps_plain(item, sizeof(struct message), STEPS_READ, __func__);
  *(struct message*) copy = *(const struct message*) item;
  return 0;
}

/* A group's token is nowhere else if a loop is given it. */
static void on_post(const struct uvch__endpoint* ep) {
  const struct uvch__group* g = (const struct uvch__group*) (const void*) ep;

  if (ep->ops != &uvch__group_ops)
    return;
  steps_expect(!g->is_parked && !g->has_token);
}

/* Set-up. */

static void begin_reader(int i) {
  w.readers[i].at = w.readers[i].rx->cursor;
}

static void make_channel(int i, uv_loop_t* loop, uvch_broadcast_policy policy) {
  uvch_broadcast_options_t options = {.policy = policy};

  if (has_nodes()) {
    options.drop = on_drop;
    options.copy = on_copy;
    options.arg = &w;
  }
  uvch__broadcast_first = first_position();
  if (i >= 0)
    w.readers[i].rx = steps_calloc(sizeof *w.readers[i].rx);
  steps_expect(uvch_broadcast_init_ex(loop, i >= 0 ? w.readers[i].rx : NULL, &w.tx[FIRST], sizeof(struct message),
                                      (size_t) capacity(), &options) == 0);
  w.core = w.tx[FIRST].core;
  if (i >= 0)
    begin_reader(i);
}

/* A channel with `senders`, a set of actors, and no receiver yet if `i` is below 0. */
static void set_up(int i, uv_loop_t* loop, uvch_broadcast_policy policy, int senders) {
  int a;

  memset(&w, 0, sizeof w);
  memset(w.order, 0xff, sizeof w.order);
  for (a = 0; a < ACTORS; a++)
    w.status[a] = NONE;
  w.cancelled = NONE;
  fakes_set_up(1);
  fake_on_post = on_post;
  make_channel(i, loop, policy);
  for (a = FIRST + 1; a < ACTORS; a++)
    if ((senders & 1 << a) != 0)
      steps_expect(uvch_broadcast_sender_clone(&w.tx[FIRST], &w.tx[a]) == 0);
  if ((senders & 1 << FIRST) == 0)
    steps_expect(uvch_broadcast_sender_close(&w.tx[FIRST]) == 0);
}

static void subscribe(int i, int loop, int from) {
  w.readers[i].rx = steps_calloc(sizeof *w.readers[i].rx);
  steps_expect(uvch_broadcast_subscribe(loop >= 0 ? &fake_loops[loop] : NULL, w.readers[i].rx, &w.tx[from]) == 0);
  begin_reader(i);
}

static int send_from(int from) {
  struct message m = next_message();
  int n = uvch_broadcast_send(&w.tx[from], &m);

  steps_expect(n >= 1 || n == UV_EPIPE || n == UV_EAGAIN);
  note_sent(&m, n);
  return n;
}

static void fill(int from) {
  int i;

  for (i = 0; i < capacity(); i++)
    steps_expect(send_from(from) >= 1);
}

static void one_sender(void) {
  set_up(FIRST, &fake_loops[FIRST], UVCH_BROADCAST_LAG, 1 << SECOND);
}

static void two_senders(void) {
  set_up(FIRST, &fake_loops[FIRST], UVCH_BROADCAST_LAG, 1 << SECOND | 1 << THIRD);
}

static void one_turn_each(void) {
  one_sender();
  fake_budget = 1;
}

static void two_groups(void) {
  one_sender();
  subscribe(THIRD, THIRD, SECOND);
}

static void two_members(void) {
  one_sender();
  subscribe(OTHER, FIRST, SECOND);
}

static void two_members_one_turn_each(void) {
  two_members();
  fake_budget = 1;
}

static void two_groups_with_messages(void) {
  two_groups();
  fill(SECOND);
}

static void on_a_thread(void) {
  set_up(FIRST, NULL, UVCH_BROADCAST_LAG, 1 << SECOND);
}

static void on_two_threads(void) {
  on_a_thread();
  subscribe(THIRD, -1, SECOND);
}

static void on_a_thread_and_a_loop(void) {
  on_a_thread();
  subscribe(OTHER, FIRST, SECOND);
}

static void nobody_yet(void) {
  set_up(-1, NULL, UVCH_BROADCAST_LAG, 1 << FIRST | 1 << SECOND);
}

static void one_more_may_come(void) {
  set_up(FIRST, &fake_loops[FIRST], UVCH_BROADCAST_LAG, 1 << FIRST | 1 << SECOND);
}

static void some_may_come(void) {
  set_up(FIRST, &fake_loops[FIRST], UVCH_BROADCAST_LAG, 1 << SECOND | 1 << THIRD);
  w.others_may_come = 1;
}

static void disconnect(void) {
  set_up(FIRST, &fake_loops[FIRST], UVCH_BROADCAST_DISCONNECT, 1 << SECOND);
}

static void full(void) {
  set_up(FIRST, &fake_loops[FIRST], UVCH_BROADCAST_WAIT, 1 << SECOND);
  fill(SECOND);
}

static void full_for_two(void) {
  set_up(FIRST, &fake_loops[FIRST], UVCH_BROADCAST_WAIT, 1 << SECOND | 1 << THIRD);
  fill(SECOND);
}

static void full_with_two_groups(void) {
  set_up(FIRST, &fake_loops[FIRST], UVCH_BROADCAST_WAIT, 1 << SECOND);
  subscribe(THIRD, THIRD, SECOND);
  fill(SECOND);
}

static void full_with_two_members(void) {
  set_up(FIRST, &fake_loops[FIRST], UVCH_BROADCAST_WAIT, 1 << SECOND);
  subscribe(OTHER, FIRST, SECOND);
  fill(SECOND);
}

static void full_on_a_thread_and_a_loop(void) {
  set_up(FIRST, NULL, UVCH_BROADCAST_WAIT, 1 << SECOND);
  subscribe(OTHER, FIRST, SECOND);
  fill(SECOND);
}

static void full_with_a_weak_sender(void) {
  full();
  steps_expect(uvch_broadcast_sender_downgrade(&w.tx[SECOND], &w.weak) == 0);
}

static void full_on_a_thread(void) {
  set_up(FIRST, NULL, UVCH_BROADCAST_WAIT, 1 << SECOND);
  fill(SECOND);
}

static void one_weak_sender(void) {
  one_sender();
  steps_expect(uvch_broadcast_sender_downgrade(&w.tx[SECOND], &w.weak) == 0);
}

/* What receivers do. */

static struct reader* reader_of(const uvch_broadcast_receiver_t* rx) {
  int i;

  for (i = 0; w.readers[i].rx != rx; i++)
    steps_expect(i < RECEIVERS - 1);
  return &w.readers[i];
}

/* The first of `count`, which the receiver has passed already. */
static void note_message(struct reader* r, const struct message* m, uint64_t count) {
  uint64_t place = r->at - first_position();

  steps_expect(r->end == 0 && r->rx->cursor == r->at + count);
  steps_expect(place < PLACES);
  expect_whole(m);
  steps_expect(w.order[place] == UINT64_MAX || w.order[place] == m->what);
  w.order[place] = m->what;
  r->at++;
  r->values++;
}

/* What may come to a receiver beside messages. */
static int may_be(int status) {
  if (status > 0)
    return w.core->policy == UVCH_BROADCAST_LAG;
  if (status == UV_ECONNABORTED)
    return w.core->policy == UVCH_BROADCAST_DISCONNECT;
  return status == UV_EOF && w.core->hub.closed;
}

static void note(struct reader* r, int status, const void* item) {
  steps_expect(status == 0 || may_be(status));
  if (status == 0) {
    note_message(r, item, 1);
  } else if (status > 0) {
    steps_expect(r->end == 0 && r->rx->missed == (uint64_t) status);
    r->at += (uint64_t) status;
    r->missed += (uint64_t) status;
    steps_expect(r->rx->cursor == r->at);
    steps_expect((int64_t) (w.core->hub.tail - (uint64_t) capacity() - r->at) >= 0); /* they were not kept any more */
  } else {
    steps_expect(r->end == 0);
    r->end = status;
  }
}

static void on_message(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  steps_expect(steps_holds() == 0 && (item != NULL) == (status == 0));
  if (item != NULL && has_nodes())
    steps_plain(item, sizeof(struct message), STEPS_READ, __func__);
  note(reader_of(rx), status, item);
}

/* 0, above 0, UV_EAGAIN, or an end, which is noted once. */
static int try_one(int i) {
  struct reader* r = &w.readers[i];
  struct message m = {0, 0};
  int err = uvch_broadcast_try_recv(r->rx, &m);

  if (err != UV_EAGAIN && (err >= 0 || r->end == 0))
    note(r, err, &m);
  steps_expect(uvch_broadcast_receiver_len(r->rx) < PLACES);
  return err;
}

static void start_one(int i) {
  steps_expect(uvch_broadcast_recv_start(w.readers[i].rx, on_message) == 0);
}

static void close_one(int i) {
  uvch_broadcast_receiver_t* rx = w.readers[i].rx;

  w.readers[i].rx = NULL;
  steps_expect(uvch_close((uvch_handle_t*) rx, NULL) == 0);
  steps_free(rx);
}

static void close_first(void) {
  close_one(FIRST);
}

static int wait_one(int i, uint64_t timeout) {
  struct message m = {0, 0};
  int err = uvch_broadcast_recv_timedwait(w.readers[i].rx, &m, timeout);

  steps_expect(err >= 0 || err == UV_ETIMEDOUT || err == UV_EOF);
  if (err != UV_ETIMEDOUT)
    note(&w.readers[i], err, &m);
  return err;
}

static void receives(void) {
  start_one(FIRST);
  fake_turn_maybe(FIRST);
}

static void receives_on_the_third(void) {
  start_one(THIRD);
  fake_turn_maybe(THIRD);
}

static void both_receive(void) {
  start_one(FIRST);
  start_one(OTHER);
  fake_turn_maybe(FIRST);
}

static void receives_and_closes(void) {
  receives();
  close_first();
  fake_turn_maybe(FIRST);
}

static void closes(void) {
  close_first();
}

static void one_of_two_closes(void) {
  both_receive();
  close_first();
  fake_turn_maybe(FIRST);
}

/* As many as there are. */
static void on_messages(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  struct reader* r = reader_of(rx);
  size_t i;

  steps_expect((count > 0) == (status == 0) && count <= (size_t) capacity());
  if (status != 0)
    note(r, status, NULL);
  for (i = 0; i < count; i++) {
    const char* item = (const char*) first + i * stride;
    if (count == 1 && has_nodes())
      steps_plain(item, sizeof(struct message), STEPS_READ, __func__);
    note_message(r, (const struct message*) (const void*) item, count - i);
  }
}

static void receives_many(void) {
  steps_expect(uvch_broadcast_recv_many_start(w.readers[FIRST].rx, 2, on_messages) == 0);
  fake_turn_maybe(FIRST);
}

static void on_message_run(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  on_message(rx, status, item);
  fake_turn_nested(FIRST);
}

static void runs_in_the_callback(void) {
  steps_expect(uvch_broadcast_recv_start(w.readers[FIRST].rx, on_message_run) == 0);
  fake_turn_maybe(FIRST);
}

/* It takes what the turn may hold already. */
static void on_message_try(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  on_message(rx, status, item);
  try_one(FIRST);
}

static void tries_in_the_callback(void) {
  steps_expect(uvch_broadcast_recv_start(w.readers[FIRST].rx, on_message_try) == 0);
  fake_turn_maybe(FIRST);
}

static void on_message_stop(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  on_message(rx, status, item);
  steps_expect(uvch_broadcast_recv_stop(rx) == 0);
}

static void stops_in_the_callback(void) {
  steps_expect(uvch_broadcast_recv_start(w.readers[FIRST].rx, on_message_stop) == 0);
  fake_turn_maybe(FIRST);
}

static void on_message_go(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  on_message(rx, status, item);
  if (!w.has_gone)
    fake_abandon(FIRST);
  w.has_gone = 1;
}

static void loses_its_loop_in_the_callback(void) {
  steps_expect(uvch_broadcast_recv_start(w.readers[FIRST].rx, on_message_go) == 0);
  fake_turn_maybe(FIRST);
}

static void on_message_close(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  on_message(rx, status, item);
  close_first();
}

static void closes_in_the_callback(void) {
  steps_expect(uvch_broadcast_recv_start(w.readers[FIRST].rx, on_message_close) == 0);
  fake_turn_maybe(FIRST);
}

static void stops_and_starts(void) {
  start_one(FIRST);
  fake_turn_maybe(FIRST);
  steps_expect(uvch_broadcast_recv_stop(w.readers[FIRST].rx) == 0);
  start_one(FIRST);
  fake_turn_maybe(FIRST);
}

static void tries(void) {
  try_one(FIRST);
  try_one(FIRST);
  try_one(FIRST);
}

static void tries_twice(void) {
  try_one(FIRST);
  try_one(FIRST);
}

static void tries_once(void) {
  try_one(FIRST);
}

static void tries_on_the_third(void) {
  try_one(THIRD);
}

static void loses_its_loop(void) {
  receives();
  w.has_gone = 1;
  fake_abandon(FIRST);
}

static void loses_its_loop_and_closes(void) {
  loses_its_loop();
  close_one(FIRST);
}

static void loses_its_loop_and_both_close(void) {
  both_receive();
  w.has_gone = 1;
  fake_abandon(FIRST);
  close_one(FIRST);
  close_one(OTHER);
}

static void resubscribes(void) {
  struct reader* r = &w.readers[OTHER];

  receives();
  r->rx = steps_calloc(sizeof *r->rx);
  steps_expect(uvch_broadcast_resubscribe(&fake_loops[FIRST], r->rx, w.readers[FIRST].rx) == 0);
  begin_reader(OTHER);
  start_one(OTHER);
  fake_turn_maybe(FIRST);
}

static void comes(void) {
  subscribe(FIRST, FIRST, FIRST);
  start_one(FIRST);
  fake_turn_maybe(FIRST);
}

static void another_comes(void) {
  start_one(FIRST);
  subscribe(OTHER, FIRST, FIRST);
  start_one(OTHER);
  fake_turn_maybe(FIRST);
}

static void closes_and_another_comes(void) {
  w.others_may_come = 1;
  close_first();
  subscribe(OTHER, FIRST, FIRST);
}

static void one_comes_on_the_third(void) {
  subscribe(THIRD, THIRD, THIRD);
}

static void nothing(void) {}

static void third_closes(void) {
  close_one(THIRD);
}

static int has_read(void* count) {
  return w.readers[FIRST].values >= *(int*) count;
}

static void read_until(int count) {
  start_one(FIRST);
  fake_turn_until(FIRST, has_read, &count);
}

static void makes_room(void) {
  read_until(1);
}

static void makes_room_for_two(void) {
  read_until(capacity() + 1);
}

static void makes_room_when_the_other_closes(void) {
  makes_room();
  close_one(OTHER);
}

/* On a thread. */

static void waits(void) {
  steps_expect(wait_one(FIRST, UINT64_MAX) != UV_ETIMEDOUT);
}

static void waits_on_the_third(void) {
  steps_expect(wait_one(THIRD, UINT64_MAX) != UV_ETIMEDOUT);
}

static void waits_to_the_end(void) {
  while (wait_one(FIRST, UINT64_MAX) != UV_EOF) {}
}

static void waits_a_while(void) {
  wait_one(FIRST, SOME_TIME);
}

static void waits_a_while_and_waits(void) {
  if (wait_one(FIRST, SOME_TIME) == UV_ETIMEDOUT)
    waits();
}

static void waits_a_while_and_closes(void) {
  wait_one(FIRST, SOME_TIME);
  close_first();
}

static void attach(void) {
  steps_expect(uvch_attach(&fake_loops[FIRST], (uvch_handle_t*) w.readers[FIRST].rx) == 0);
}

static void attaches(void) {
  attach();
  receives();
}

static void attaches_to_others(void) {
  start_one(OTHER);
  attach();
  receives();
}

static void waits_a_while_and_attaches(void) {
  wait_one(FIRST, SOME_TIME);
  attach();
  receives();
}

/* The others are further. */
static void others_read_and_it_attaches(void) {
  try_one(OTHER);
  attach();
  receives();
  start_one(OTHER);
  fake_turn_until(FIRST, has_read, &(int){1});
}

static void waits_a_while_and_attaches_to_others(void) {
  wait_one(FIRST, SOME_TIME);
  attaches_to_others();
}

/* What senders do. */

static void close_sender(void) {
  steps_expect(uvch_broadcast_sender_close(&w.tx[steps_self()]) == 0);
}

static void sends(void) {
  w.status[steps_self()] = send_from(steps_self());
}

static void sends_twice(void) {
  sends();
  sends();
}

static void sends_three(void) {
  sends_twice();
  sends();
}

static void sends_many(void) {
  struct message m[2] = {next_message(), next_message()};
  int n = uvch_broadcast_send_many(&w.tx[SECOND], m, 2);

  steps_expect((n >= 1 && n <= 2) || n == UV_EPIPE);
  note_sent(&m[0], n >= 1 ? 0 : n);
  note_sent(&m[1], n == 2 ? 0 : UV_EPIPE);
}

static void sends_and_closes(void) {
  sends();
  close_sender();
}

static int upgrade(void) {
  int err = uvch_broadcast_weak_sender_upgrade(&w.weak, &w.tx[THIRD]);

  steps_expect(err == 0 || err == UV_EPIPE);
  steps_expect(uvch_broadcast_weak_sender_close(&w.weak) == 0);
  return err == 0;
}

static void upgrades_and_closes(void) {
  if (upgrade())
    close_sender();
}

static void upgrades_and_sends(void) {
  if (upgrade())
    sends_and_closes();
}

/* Those who wait for room. */

static void on_sent(uvch_broadcast_send_t* req, int status) {
  int self = steps_self() < 0 ? SECOND : steps_self();

  steps_expect(req == w.reqs[self] && w.status[self] == NONE && steps_holds() == 0);
  steps_expect(status >= 1 || status == UV_EPIPE || status == UV_ECANCELED);
  w.status[self] = status;
  note_sent(w.waits[self], status);
  steps_at(req, STEPS_FREE, __func__);
  steps_free(req);
  steps_at(w.waits[self], STEPS_FREE, __func__);
  steps_free(w.waits[self]);
}

static void queue_send(void) {
  int self = steps_self();
  int err;

  w.reqs[self] = steps_calloc(sizeof(uvch_broadcast_send_t));
  w.waits[self] = steps_calloc(sizeof(struct message));
  *w.waits[self] = next_message();
  err = uvch_broadcast_queue_send(&fake_loops[self], w.reqs[self], &w.tx[self], w.waits[self], on_sent);
  steps_expect(err == 0 || err == UV_EPIPE);
  if (err != 0)
    w.status[self] = err;
}

static int is_told(void* arg) {
  return w.status[*(int*) arg] != NONE;
}

static void until_told(void) {
  int self = steps_self();

  fake_turn_until(self, is_told, &self);
}

static void queues(void) {
  queue_send();
  until_told();
}

static void queues_and_closes(void) {
  queue_send();
  close_sender();
  until_told();
}

static void cancel(void) {
  int self = steps_self();

  if (w.status[self] != NONE)
    return;
  w.cancelled = uvch_cancel((uvch_req_t*) w.reqs[self]);
  steps_expect(w.cancelled == 0 || w.cancelled == UV_EBUSY);
  until_told();
  steps_expect((w.cancelled == 0) == (w.status[self] == UV_ECANCELED));
}

static void queues_and_cancels(void) {
  queue_send();
  cancel();
}

static void queues_cancels_and_closes(void) {
  queues_and_cancels();
  close_sender();
}

static void queues_and_loses_its_loop(void) {
  queue_send();
  fake_abandon(SECOND);
}

static int wait_to_send(uint64_t timeout) {
  int self = steps_self();
  struct message m = next_message();
  int n = uvch_broadcast_send_timedwait(&w.tx[self], &m, timeout);

  steps_expect(n >= 1 || n == UV_EPIPE || n == UV_ETIMEDOUT);
  note_sent(&m, n);
  w.status[self] = n;
  return n;
}

static void waits_to_send(void) {
  steps_expect(wait_to_send(UINT64_MAX) != UV_ETIMEDOUT);
}

static void waits_a_while_to_send(void) {
  wait_to_send(SOME_TIME);
}

static void waits_a_while_to_send_and_closes(void) {
  waits_a_while_to_send();
  close_sender();
}

/* Those who wait for the end of the receivers. There is none at the callback, unless another thread has just brought one. */

static void on_closed(uvch_broadcast_closed_t* req, int status) {
  int self = steps_self() < 0 ? SECOND : steps_self();

  steps_expect(req == w.reqs[self] && w.status[self] == NONE);
  steps_expect(status == 0 || status == UV_ECANCELED);
  steps_expect(status != 0 || w.others_may_come || w.tx[self].core == NULL || w.core->hub.receivers == 0);
  w.status[self] = status;
  steps_at(req, STEPS_FREE, __func__);
  steps_free(req);
}

static void watch(void) {
  int self = steps_self();

  w.reqs[self] = steps_calloc(sizeof(uvch_broadcast_closed_t));
  steps_expect(uvch_broadcast_closed(&fake_loops[self], w.reqs[self], &w.tx[self], on_closed) == 0);
}

static void watches(void) {
  watch();
  until_told();
}

static void watches_and_closes(void) {
  watch();
  close_sender();
  until_told();
}

static void watches_a_while(void) {
  watch();
  fake_turn_maybe(SECOND);
}

static void watches_and_cancels(void) {
  watch();
  cancel();
}

/* It watches its own loop's receivers, and brings a new one before it is told. */
static void watches_closes_and_comes(void) {
  watch();
  close_first();
  subscribe(OTHER, FIRST, FIRST);
  fake_turn_maybe(FIRST);
  close_one(OTHER);
  until_told();
}

static void sleeps_to_the_end(void) {
  steps_expect(uvch_broadcast_closed_wait(&w.tx[SECOND]) == 0);
}

static void sleeps_a_while(void) {
  int err = uvch_broadcast_closed_timedwait(&w.tx[SECOND], SOME_TIME);

  steps_expect(err == 0 || err == UV_ETIMEDOUT);
}

static void sends_and_sleeps_a_while(void) {
  sends_twice();
  sleeps_a_while();
}

/* A lock: the real one. */

static struct uvch__lock lock;
static int inside;
static int entered;

static void make_lock(void) {
  inside = entered = 0;
  memset(&w, 0, sizeof w);
  fakes_set_up(1);
  steps_expect(uvch__lock_init(&lock) == 0);
}

static void locks(void) {
  (uvch__lock)(&lock);
  steps_expect(inside++ == 0);
  steps_plain(&inside, sizeof inside, STEPS_WRITE, __func__);
  steps_expect(--inside == 0);
  entered++;
  (uvch__unlock)(&lock);
}

static void locks_twice(void) {
  locks();
  locks();
}

static void check_lock(void) {
  steps_expect(inside == 0 && entered >= 3 && lock.word == UVCH__FREE);
  uvch__lock_destroy(&lock);
}

/* Checks. */

/* What is left for a receiver that is still there comes now. */
static void expect_rest(int i) {
  struct reader* r = &w.readers[i];
  uint64_t end = first_position() + (uint64_t) w.sent;

  if (r->rx == NULL || r->end == UV_ECONNABORTED || r->rx->port == NULL || !uvch_is_active((uvch_handle_t*) r->rx))
    while (r->rx != NULL && try_one(i) >= 0) {}
  if (r->rx != NULL && r->end != UV_ECONNABORTED && !w.has_gone)
    steps_expect(r->at == end && r->rx->cursor == end);
}

static void expect_drops(void) {
  int i;

  for (i = 0; i < MESSAGES; i++)
    steps_expect(w.drops[i] == (has_nodes() && w.is_sent[i]));
}

static void close_all(void) {
  int i;

  for (i = 0; i < RECEIVERS; i++)
    if (w.readers[i].rx != NULL)
      close_one(i);
  fake_drain();
  for (i = 0; i < ACTORS; i++)
    uvch_broadcast_sender_close(&w.tx[i]);
  fake_drain();
}

static void check_all(void) {
  int i;

  fake_drain();
  for (i = 0; i < RECEIVERS; i++)
    expect_rest(i);
  if (!w.has_gone)
    expect_drops(); /* all have read all */
  close_all();
  expect_drops();
  fakes_check();
}

/* Each receiver that is left has had its end, once, after everything else. */
static void check_end(void) {
  int i;

  fake_drain();
  for (i = 0; i < RECEIVERS; i++)
    if (w.readers[i].rx != NULL) {
      expect_rest(i);
      steps_expect(w.readers[i].end == UV_EOF);
      steps_expect(!uvch_is_active((uvch_handle_t*) w.readers[i].rx));
    }
  check_all();
}

/* A send into a channel with one receiver: the message was for it, or nobody's. */
static void check_subscribed(void) {
  struct reader* r = &w.readers[FIRST];

  fake_drain();
  steps_expect(r->values == (w.status[SECOND] == 1));
  steps_expect(w.status[SECOND] == 1 || w.status[SECOND] == UV_EPIPE);
  check_all();
}

static void check_two_subscribed(void) {
  fake_drain();
  steps_expect(w.readers[FIRST].values == 1);
  steps_expect(w.readers[OTHER].values == w.status[SECOND] - 1);
  check_all();
}

static void check_gone(void) {
  steps_expect(w.status[SECOND] == 1 || w.status[SECOND] == UV_EPIPE);
  check_all();
}

/* After one more send the channel knows that the loop is gone. */
static void check_cut(void) {
  fake_drain();
  send_from(SECOND);
  steps_expect(send_from(SECOND) == UV_EPIPE);
  steps_expect(w.core->hub.receivers == 0 && w.core->hub.groups == NULL);
  check_all();
}

static void check_attached(void) {
  fake_drain();
  steps_expect(w.readers[FIRST].values + (int) w.readers[FIRST].missed == 1);
  check_all();
}

/* Who is in the line is told only that it is in, or that nobody is left. */
static void check_room(void) {
  steps_expect(uvch__list_is_empty(&w.core->waiters));
  check_all();
}

/* Nobody was told whether its message went in. */
static void check_lost_request(void) {
  fake_drain();
  if (w.core->hub.tail - first_position() > (uint64_t) w.sent)
    note_sent(w.waits[SECOND], 1);
  check_room();
}

static void check_disconnected(void) {
  struct reader* r = &w.readers[FIRST];

  fake_drain();
  while (r->end == 0 && !uvch_is_active((uvch_handle_t*) r->rx) && try_one(FIRST) >= 0) {}
  steps_expect(r->end == 0 ? r->values == w.sent : w.core->hub.receivers == 0);
  check_all();
}

static void check_watched(void) {
  fake_drain();
  if (w.status[SECOND] == NONE) {
    close_one(w.readers[OTHER].rx != NULL ? OTHER : THIRD);
    fake_drain();
    steps_expect(w.status[SECOND] == 0);
  }
  check_all();
}

static const struct steps_program programs[] = {
    {"send, recv", one_sender, {receives, sends}, check_all, 0},
    {"send, recv, one message a turn", one_turn_each, {receives, sends_twice}, check_all, 0},
    {"send twice, recv", one_sender, {receives, sends_twice}, check_all, 0},
    {"send_many, recv", one_sender, {receives, sends_many}, check_all, 0},
    {"send twice, recv_many", one_sender, {receives_many, sends_twice}, check_all, 0},
    {"send twice, a run in the callback", one_sender, {runs_in_the_callback, sends_twice}, check_all, 0},
    {"send twice, try_recv in the callback", one_sender, {tries_in_the_callback, sends_twice}, check_all, 0},
    {"send twice, stop in the callback", one_sender, {stops_in_the_callback, sends_twice}, check_all, 0},
    {"two send, recv", two_senders, {receives, sends, sends}, check_all, 0},
    {"send, recv of two members", two_members, {both_receive, sends}, check_all, 0},
    {"send twice, recv of two members, one message a turn", two_members_one_turn_each, {both_receive, sends_twice}, check_all, 0},
    {"send, recv of one of two members", two_members, {receives, sends}, check_all, 0},
    {"send, recv of two groups", two_groups, {receives, sends, receives_on_the_third}, check_all, 1},
    {"send, stop, start", one_sender, {stops_and_starts, sends}, check_all, 0},
    {"send three times, try_recv", one_sender, {tries, sends_three}, check_all, 0},
    {"two send, try_recv", two_senders, {tries_twice, sends_twice, sends}, check_all, 1},
    {"try_recv of two groups", two_groups_with_messages, {tries_once, nothing, tries_on_the_third}, check_all, 0},
    {"send, try_recv of two groups", two_groups_with_messages, {tries_once, sends, tries_on_the_third}, check_all, 0},

    {"close the sender, recv", one_sender, {receives, close_sender}, check_end, 0},
    {"send and close the sender, recv", one_sender, {receives, sends_and_closes}, check_end, 0},
    {"send and close the sender, try_recv", one_sender, {tries_twice, sends_and_closes}, check_end, 0},
    {"two send and close, recv", two_senders, {receives, sends_and_closes, close_sender}, check_end, 0},
    {"close the sender, upgrade, recv", one_weak_sender, {receives, close_sender, upgrades_and_sends}, check_end, 1},

    {"send and close the sender, resubscribe", one_sender, {resubscribes, sends_and_closes}, check_end, 0},

    {"send, subscribe", nobody_yet, {comes, sends}, check_subscribed, 0},
    {"send, subscribe one more", one_more_may_come, {another_comes, sends}, check_two_subscribed, 0},
    {"send, close", one_sender, {closes, sends}, check_gone, 0},
    {"send, recv and close", one_sender, {receives_and_closes, sends}, check_gone, 0},
    {"send, close in the callback", one_sender, {closes_in_the_callback, sends}, check_gone, 0},
    {"send twice, close in the callback", one_sender, {closes_in_the_callback, sends_twice}, check_all, 0},
    {"send, one of two groups closes", two_groups, {receives_and_closes, sends}, check_all, 0},
    {"send, one of two groups closes, the other receives", two_groups, {closes, sends, receives_on_the_third}, check_all, 0},
    {"send, one of two members closes", two_members, {one_of_two_closes, sends}, check_all, 0},
    {"send, the loop goes", one_sender, {loses_its_loop, sends}, check_all, 0},
    {"last ends", one_sender, {closes, close_sender}, check_all, 0},
    {"send twice, the loop goes", one_sender, {loses_its_loop, sends_twice}, check_cut, 0},
    {"send twice, the loop goes in the callback", one_sender, {loses_its_loop_in_the_callback, sends_twice}, check_all, 0},
    {"send, the loop goes, close", one_sender, {loses_its_loop_and_closes, sends}, check_all, 0},
    {"send, the loop of two goes, both close", two_members, {loses_its_loop_and_both_close, sends}, check_all, 0},
    {"send, recv of one that is cut off", disconnect, {receives, sends_three}, check_disconnected, 0},
    {"send, try_recv of one that is cut off", disconnect, {tries_twice, sends_three}, check_disconnected, 0},

    {"send, closed_timedwait, recv of one that is cut off",
     disconnect,
     {receives, sends_and_sleeps_a_while},
     check_disconnected,
     1},

    {"send, recv_wait", on_a_thread, {waits, sends}, check_all, 0},
    {"send and close the sender, recv_wait", on_a_thread, {waits_to_the_end, sends_and_closes}, check_all, 0},
    {"close the sender, recv_wait", on_a_thread, {waits, close_sender}, check_end, 0},
    {"send, recv_wait of two", on_two_threads, {waits, sends, waits_on_the_third}, check_all, 0},
    {"send, recv_timedwait", on_a_thread, {waits_a_while, sends}, check_all, 0},
    {"send, recv_timedwait, recv_wait", on_a_thread, {waits_a_while_and_waits, sends}, check_all, 0},
    {"send, recv_timedwait, close", on_a_thread, {waits_a_while_and_closes, sends}, check_gone, 0},
    {"send, attach, recv", on_a_thread, {attaches, sends}, check_attached, 0},
    {"send, attach to a group, recv", on_a_thread_and_a_loop, {attaches_to_others, sends}, check_attached, 0},
    {"send, recv_timedwait, attach, recv", on_a_thread, {waits_a_while_and_attaches, sends}, check_attached, 0},
    {"send, recv_timedwait, attach to a group, recv",
     on_a_thread_and_a_loop,
     {waits_a_while_and_attaches_to_others, sends},
     check_attached,
     0},

    {"send, recv, at full", full, {receives, sends}, check_all, 0},
    {"queue_send, recv", full, {makes_room, queues}, check_room, 0},
    {"queue_send, recv_wait", full_on_a_thread, {waits, queues}, check_room, 0},
    {"queue_send, close", full, {closes, queues}, check_room, 0},
    {"queue_send, recv and close", full, {receives_and_closes, queues}, check_room, 0},
    {"queue_send and cancel, recv", full, {receives, queues_and_cancels}, check_room, 0},
    {"queue_send and cancel, close", full, {closes, queues_and_cancels}, check_room, 0},
    {"queue_send and close the sender, recv", full, {makes_room, queues_and_closes}, check_end, 0},
    {"queue_send, cancel, close the sender, recv", full, {receives, queues_cancels_and_closes}, check_end, 0},
    {"queue_send, its loop goes, recv", full, {receives, queues_and_loses_its_loop}, check_lost_request, 0},
    {"queue_send, the receiver's loop goes", full, {loses_its_loop, queues}, check_room, 0},
    {"queue_send, the slower of two groups closes", full_with_two_groups, {makes_room, queues, third_closes}, check_room, 0},
    {"queue_send, the slower of two members closes",
     full_with_two_members,
     {makes_room_when_the_other_closes, queues},
     check_room,
     0},
    {"queue_send, attach to others that have read on",
     full_on_a_thread_and_a_loop,
     {others_read_and_it_attaches, queues},
     check_room,
     0},
    {"queue_send and close the sender, upgrade, recv",
     full_with_a_weak_sender,
     {makes_room, queues_and_closes, upgrades_and_closes},
     check_end,
     2},
    {"queue_send of two, recv", full_for_two, {makes_room_for_two, queues, queues}, check_room, 1},
    {"queue_send of two, one cancels, recv", full_for_two, {makes_room_for_two, queues, queues_and_cancels}, check_room, 2},
    {"queue_send, send, recv", full_for_two, {makes_room_for_two, queues, sends}, check_room, 0},
    {"send_wait, recv", full, {makes_room, waits_to_send}, check_room, 0},
    {"send_wait, recv_wait", full_on_a_thread, {waits, waits_to_send}, check_room, 0},
    {"send_wait, close", full, {closes, waits_to_send}, check_room, 0},
    {"send_wait, the loop goes", full, {loses_its_loop, waits_to_send}, check_room, 0},
    {"send_timedwait, recv", full, {receives, waits_a_while_to_send}, check_room, 0},
    {"send_timedwait, close", full, {closes, waits_a_while_to_send}, check_room, 0},
    {"send_timedwait and close the sender, recv", full, {receives, waits_a_while_to_send_and_closes}, check_end, 0},

    {"closed, close", one_sender, {closes, watches}, check_all, 0},
    {"closed and close the sender, close", one_sender, {closes, watches_and_closes}, check_all, 0},
    {"closed and cancel, close", one_sender, {closes, watches_and_cancels}, check_all, 0},
    {"closed, close, subscribe", one_more_may_come, {closes_and_another_comes, watches_a_while}, check_watched, 0},
    {"closed and cancel, close, subscribe", one_more_may_come, {closes_and_another_comes, watches_and_cancels}, check_all, 0},
    {"closed, close, subscribe on a third", some_may_come, {closes, watches_a_while, one_comes_on_the_third}, check_watched, 0},
    {"closed, close, subscribe before the callback", one_more_may_come, {watches_closes_and_comes, sends}, check_all, 0},
    {"closed_wait, close", one_sender, {closes, sleeps_to_the_end}, check_all, 0},
    {"closed_timedwait, close", one_sender, {closes, sleeps_a_while}, check_all, 0},
    {"closed_timedwait, close, subscribe", one_more_may_come, {closes_and_another_comes, sleeps_a_while}, check_all, 0},

    {"a lock of two", make_lock, {locks_twice, locks_twice}, check_lock, 2},
    {"a lock of three", make_lock, {locks, locks, locks}, check_lock, 2},
};

/* Running them. */

static void prepare(const struct steps_program* program, int how) {
  (void) program;
  variant = how / STEPS_OWN;
}

/* A lock's sleepers take each other's signals, so those programs go the longer way. */
static int how_of(const struct steps_program* program) {
  return program->set_up == make_lock ? STEPS_REDUCED : STEPS_REDUCED | STEPS_SHORT;
}

/* Long ones are not run with two places, and not with nodes. The last ways are the first once more, with weak compare-exchanges of
 * the second actor that fail for no reason, and with a stale load. */
static int ways_of(const struct steps_program* program, enum steps_bug bug) {
  (void) bug;
  return program->is_long ? VARIANTS >> program->is_long : VARIANTS + 2;
}

/* Those that need a load of an older value to be found. */
static int is_of_orders(enum steps_bug bug) {
  return bug >= STEPS_SLOT_IS_RELAXED && bug <= STEPS_WAITS_IS_ACQ_REL;
}

static int how_in(const struct steps_program* program, enum steps_bug bug, int way) {
  static const int once_more[] = {STEPS_WEAK << SECOND, STEPS_STALE};
  int how = how_of(program) | steps_stale(is_of_orders(bug));

  return how | (way < VARIANTS ? way * STEPS_OWN : once_more[way - VARIANTS]);
}

static const struct steps_wrong bugs[] = {
    {STEPS_PARK_IGNORES_TAIL, "a group parks without a look at the tail", "send, recv"},
    {STEPS_PARK_IGNORES_TAIL, "so does a thread", "send, recv_wait"},
    {STEPS_PARK_IGNORES_END, "or without a look at the end", "close the sender, recv"},
    {STEPS_TAIL_AFTER_SLOT, "the tail is stored after the slot", "send three times, try_recv"},
    {STEPS_NO_ODD_NUMBER, "the number is not odd while a slot is written", "send three times, try_recv"},
    {STEPS_READ_LOOKS_ONCE, "a reader does not look at the number again", "send three times, try_recv"},
    {STEPS_SEND_WAKES_NOBODY, "a send does not take who is parked", "send, recv"},
    {STEPS_END_WAKES_NOBODY, "nor does the last close of a sender", "close the sender, recv"},
    {STEPS_GOT_ON_SERVES_NOBODY, "a group that got on serves nobody", "queue_send, recv"},
    {STEPS_GOT_ON_IS_NOT_NOTED, "a group that got on is not noted", "send, recv"},
    {STEPS_LETS_GO_TOO_FAR, "one node too many is let go", "send, try_recv of two groups"},
    {STEPS_SECOND_IS_FORGOTTEN, "the member behind the slowest is forgotten",
     "send twice, recv of two members, one message a turn"},
    {STEPS_WAITS_IS_CLEARED, "somebody waits, but waits is 0", "queue_send, recv"},
    {STEPS_LEAVE_SERVES_NOBODY, "nor does a receiver that leaves", "queue_send, close"},
    {STEPS_LEAVE_SERVES_NOBODY, "not even if it was the slower one", "queue_send, the slower of two groups closes"},
    {STEPS_LEAVE_SERVES_NOBODY, "nor who waits for the end", "closed, close"},
    {STEPS_CUT_SERVES_NOBODY, "nor does one whose loop is gone", "send_wait, the loop goes"},
    {STEPS_LEAVE_FORGETS_PARK, "the last member leaves, and its group stays parked", "send, recv and close"},
    {STEPS_PIN_HAS_NO_REFERENCE, "a reader has no reference to its node", "send twice, recv"},
    {STEPS_WAITS_IS_NOT_SET, "who waits for room does not say so first", "send_wait, recv"},
    {STEPS_ROOM_IS_NOT_LOOKED_FOR, "room is not looked for again", "send_wait, recv"},
    {STEPS_OVERWRITES_UNREAD, "a send overwrites what is not read", "send, recv, at full"},
    {STEPS_TAKEN_STAYS_PARKED, "a group that is taken stays parked", "send, recv and close"},
    {STEPS_WAKE_HAS_NO_TOKEN, "a start takes the token for granted", "send, stop, start"},
    {STEPS_END_IS_SEEN_LATE, "the end is looked for after the messages", "send and close the sender, recv"},
    {STEPS_TAKE_SEES_END_LATE, "by try_recv too", "send and close the sender, try_recv"},
    {STEPS_DISARM_LOSES_TOKEN, "a thread that was posted loses the token", "send and close the sender, recv_wait"},
    {STEPS_ATTACH_LOSES_TOKEN, "so does an attach", "send, recv_timedwait, attach, recv"},
    {STEPS_CUT_COUNTS_ON, "receivers count on when their loop is gone", "send twice, the loop goes"},
    {STEPS_WATCHER_DOES_NOT_LOOK, "a watcher does not look before it waits", "closed, close"},
    {STEPS_WATCHER_DOES_NOT_LOOK, "a thread neither", "closed_wait, close"},
    {STEPS_WATCHER_DOES_NOT_LOOK_AGAIN, "nor before its callback", "closed, close, subscribe before the callback"},
    {STEPS_WAITER_IS_NO_SENDER, "a request does not count as a sender", "queue_send and close the sender, recv"},
    {STEPS_CANCEL_IGNORES_QUEUE, "a cancel comes too late and does not see it", "queue_send and cancel, recv"},
    {STEPS_NODE_UNREF_BY_STORE, "nodes are counted by a load and a store", "send, try_recv of two groups"},
    {STEPS_GROUP_UNREF_BY_STORE, "so are groups", "send, recv_timedwait, close"},
    {STEPS_CORE_UNREF_BY_STORE, "so are cores", "last ends"},
    {STEPS_POST_BROADCAST_BY_STORE, "a post by a load and a store", "send, recv_timedwait, attach, recv"},
    {STEPS_LOCK_SLEEPS_AS_TAKEN, "a sleeper at a lock does not leave word for the next", "a lock of three"},
    {STEPS_NODE_UNREF_IS_RELEASE, "who frees a node does not acquire what the others did", "send, try_recv of two groups"},
    {STEPS_GROUP_UNREF_IS_RELEASE, "nor who frees a group", "send, recv_timedwait, close"},
    {STEPS_LOCK_IS_RELAXED, "a lock does not acquire", "a lock of three"},
    {STEPS_UNLOCK_IS_RELAXED, "an unlock does not release", "a lock of three"},
    {STEPS_SLOT_IS_RELAXED, "the number of a slot is not published after the message", "send three times, try_recv"},
    {STEPS_WORDS_ARE_RELAXED, "the message is not published after the number", "send three times, try_recv"},
    {STEPS_NUMBER_IS_RELAXED, "a reader does not acquire the number", "send three times, try_recv"},
    {STEPS_COPY_IS_RELAXED, "a reader does not acquire the message before it looks at the number again",
     "send three times, try_recv"},
    {STEPS_CLOSED_IS_RELAXED, "the end is not published after the last message", "send and close the sender, try_recv"},
    {STEPS_WAITS_IS_ACQ_REL, "who waits for room does not see it, and the group does not see who waits", "send_wait, recv"},
};

int main(void) {
  static const struct steps_suite suite = {
      .name = "broadcast_steps",
      .legend =
          "Sequences: in slots and with nodes, of one place, then of two; then with a weak compare-exchange that fails; then\n"
          "with a stale load",
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
