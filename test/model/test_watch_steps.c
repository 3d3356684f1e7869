/* SPDX-License-Identifier: MIT
 *
 * Every interleaving of what two or three threads do with a watch channel, on the real sources, see steps.h; one is run of those
 * that differ only in the order of steps that do not see each other. Each program is run with values that own things, with
 * some bytes, and with many. After each sequence: every receiver has gone through versions in one order, which is that of each sender
 * and of what replaced what, and has seen the last one; what is borrowed stays as it is; every value ends once, or is given out;
 * the token of a group is in one place; all memory is given back once; nobody waits. And each of the bugs that watch_bugs.sed puts
 * into the sources is found.
 *
 * For a failure, or one program alone: see runner.h. */
#include "handle.h"
#include "hot.h"
#include "fakes.h"
#include "runner.h"
#include "watch.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SOME_TIME 5
#define NONE 1000     /* no status */
#define UNKNOWN 10000 /* no value */
#define EACH 5        /* values of an actor, and of none */
#define VALUES (1 + EACH * (ACTORS + 1))
#define IDS 64

/* The actors. Loop i is run by actor i. OTHER is one more receiver, on the loop of the first. */
enum { FIRST, SECOND, THIRD, ACTORS, OTHER = ACTORS, RECEIVERS };

/* Variants: the program's own bits. */
enum { ONLY_BYTES = 1, ONLY_MANY_BYTES, VARIANTS };

/* In a program's `is_long`: it is run with bytes only; memory of the core may go while others run. */
enum { LONG = 1, ENDS = 4 };

enum steps_bug steps_bug;
static int variant;
static int has_end; /* see ENDS */

/* Those handles are not in these programs. */
const struct uvch__handle_ops uvch__mpsc_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__oneshot_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__broadcast_handle = {NULL, NULL, NULL};

/* Nobody polls. */
uint64_t uvch__hot_default(void) {
  return 0;
}

int steps_is_torn(const char* who) {
  return steps_is(STEPS_GROUP_UNREF_BY_STORE, who, "uvch__group_unref") ||
         steps_is(STEPS_CORE_UNREF_BY_STORE, who, "uvch__hub_unref") ||
         steps_is(STEPS_POST_BROADCAST_BY_STORE, who, "uvch__post");
}

/* Not in these programs. */
void steps_bend(const char* who, void* word, void* seen) {
  (void) who;
  (void) word;
  (void) seen;
}

/* What a sequence has come to. */

struct value {
  uint64_t what; /* 0: the first; else see value_of() */
  uint64_t from; /* of one that was modified: what it was */
  uint64_t id;   /* each value that owns something has one of its own */
  uint64_t again;
  char rest[104]; /* of many bytes; never looked at */
};

#define SMALL offsetof(struct value, rest)

enum owner { NOBODYS, CHANNELS, CALLERS, DROPPED };

/* What is borrowed through a handle. */
struct hold {
  const struct value* at;
  struct value is;
};

struct reader {
  uvch_watch_receiver_t* rx;
  uint64_t at;    /* version it has seen */
  uint64_t held;  /* version that was borrowed last */
  int may_repeat; /* the value that is there counts as a change */
  int values;
  int end; /* UV_EOF */
};

static struct {
  struct uvch__watch* core;
  uvch_watch_sender_t tx[ACTORS];
  int senders; /* whose close has not begun */
  struct reader readers[RECEIVERS];
  struct hold holds[RECEIVERS + ACTORS]; /* of receivers, then of senders */
  struct {
    uint64_t version;
    uint64_t what;
  } seen[VALUES]; /* by anybody */
  int seen_count;
  uint64_t before[VALUES];     /* what it has replaced, if that is known */
  uint64_t newest[ACTORS + 1]; /* of each actor, of what is in */
  int made[ACTORS + 1];        /* values; the last ones come from outside */
  int stored;
  enum owner owners[IDS];
  int ids;
  int has_gone;        /* the first one's loop */
  int others_may_come; /* receivers, from other threads */
  int status[ACTORS];  /* of a request */
  int cancelled;
  void* reqs[ACTORS];
  uint64_t wanted; /* by a predicate */
  uint64_t tested;
  int tests;
} w;

static int has_functions(void) {
  return variant == 0;
}

static int self_or(int outside) {
  return steps_self() < 0 ? outside : steps_self();
}

static uint64_t value_of(int actor, int n) {
  return (uint64_t) (1 + actor * EACH + n);
}

static int maker_of(uint64_t what) {
  return (int) (what - 1) / EACH;
}

static uint64_t sum_of(const struct value* v) {
  return ~(v->what + (v->from << 16) + (v->id << 32));
}

static void expect_whole(const struct value* v) {
  steps_expect(v->what < VALUES && v->id < IDS && v->again == sum_of(v));
}

static uint64_t new_id(enum owner owner) {
  if (!has_functions())
    return 0;
  steps_expect(w.ids < IDS);
  w.owners[w.ids] = owner;
  return (uint64_t) w.ids++;
}

static struct value make(uint64_t what, uint64_t from, uint64_t id) {
  struct value v = {.what = what, .from = from, .id = id};

  v.again = sum_of(&v);
  return v;
}

static void set(void* to, const struct value* v) {
  memcpy(to, v, SMALL);
}

static uint64_t next_what(void) {
  int self = self_or(ACTORS);

  steps_expect(w.made[self] < EACH);
  return value_of(self, w.made[self]++);
}

/* The channel's from before a call on, since others may drop it meanwhile. */
static struct value next_value(void) {
  return make(next_what(), UNKNOWN, new_id(CHANNELS));
}

static void note_stored(uint64_t what) {
  w.newest[maker_of(what)] = what;
  w.stored++;
}

static void note_replaced(uint64_t what, uint64_t by) {
  int i;

  for (i = 0; i < VALUES; i++)
    steps_expect(w.before[i] != what);
  w.before[by] = what;
}

/* Versions. */

static uint64_t version_of(uint64_t what) {
  int i;

  for (i = 0; i < w.seen_count && w.seen[i].what != what; i++) {}
  return i < w.seen_count ? w.seen[i].version : UNKNOWN;
}

/* One version of each value, in the order in which each actor has made them. */
static void note_version(uint64_t what, uint64_t version) {
  int i;

  for (i = 0; i < w.seen_count; i++) {
    uint64_t other = w.seen[i].what;
    steps_expect((other == what) == (w.seen[i].version == version));
    if (other == what)
      return;
    if (other == 0 || what == 0 || maker_of(other) == maker_of(what))
      steps_expect((other < what) == ((int64_t) (w.seen[i].version - version) < 0));
  }
  w.seen[w.seen_count].version = version;
  w.seen[w.seen_count++].what = what;
}

/* What was in before a look is not newer than what is found. */
struct look {
  uint64_t newest[ACTORS + 1];
};

static struct look begin_look(void) {
  struct look look;

  memcpy(look.newest, w.newest, sizeof look.newest);
  return look;
}

static void expect_not_older(const struct look* look, uint64_t version) {
  int a;

  for (a = 0; a <= ACTORS; a++) {
    uint64_t its = look->newest[a] != 0 ? version_of(look->newest[a]) : UNKNOWN;
    steps_expect(its == UNKNOWN || (int64_t) (version - its) >= 0);
  }
}

static void expect_fresh(const struct look* look, uint64_t what) {
  int a;

  for (a = 0; a <= ACTORS; a++) {
    steps_expect(look->newest[a] == 0 || what != 0);
    steps_expect(what == 0 || maker_of(what) != a || what >= look->newest[a]);
  }
  if (version_of(what) != UNKNOWN)
    expect_not_older(look, version_of(what));
}

/* Borrowing. */

static void expect_held(int i) {
  const struct hold* h = &w.holds[i];

  if (h->at == NULL)
    return;
  steps_plain(h->at, SMALL, STEPS_READ, __func__);
  steps_expect(memcmp(h->at, &h->is, SMALL) == 0);
  steps_expect(!has_functions() || w.owners[h->is.id] == CHANNELS);
}

static void hold(int i, const struct value* v) {
  steps_expect(v != NULL);
  steps_plain(v, SMALL, STEPS_READ, __func__);
  expect_whole(v);
  w.holds[i].at = v;
  set(&w.holds[i].is, v);
}

static void let_go(int i) {
  expect_held(i);
  w.holds[i].at = NULL;
}

static void expect_not_held(uint64_t id) {
  size_t i;

  for (i = 0; i < COUNT(w.holds); i++)
    steps_expect(w.holds[i].at == NULL || w.holds[i].is.id != id);
}

/* The channel's own functions. A value may not go away meanwhile. */

static void on_drop(void* item, void* arg) {
  struct value* v = item;

  steps_expect(arg == &w && steps_holds() == 0);
  steps_plain(item, SMALL, STEPS_READ, __func__);
  expect_whole(v);
  expect_not_held(v->id);
  steps_expect(w.owners[v->id] == CHANNELS);
  w.owners[v->id] = DROPPED;
}

static int on_copy(void* to, const void* from, void* arg) {
  const struct value* v = from;
  struct value copy;

  steps_expect(arg == &w && steps_holds() == 0);
  steps_plain(from, SMALL, STEPS_READ, __func__);
  expect_whole(v);
  steps_expect(w.owners[v->id] == CHANNELS);
  copy = make(v->what, v->from, new_id(CHANNELS));
  set(to, &copy);
  return 0;
}

/* A group's token is nowhere else if a loop is given it. */
static void on_post(const struct uvch__endpoint* ep) {
  const struct uvch__group* g = (const struct uvch__group*) (const void*) ep;

  if (ep->ops == &uvch__group_ops)
    steps_expect(!g->is_parked && !g->has_token);
}

/* Set-up. */

static void begin_reader(int i) {
  w.readers[i].at = w.readers[i].held = w.readers[i].rx->seen;
}

/* A channel with `senders`, a set of actors, and no receiver yet if `i` is below 0. */
static void set_up(int i, uv_loop_t* loop, int senders) {
  uvch_watch_options_t options = {0};
  struct value v;
  int a;

  memset(&w, 0, sizeof w);
  for (a = 0; a < VALUES; a++)
    w.before[a] = UNKNOWN;
  for (a = 0; a < ACTORS; a++)
    w.status[a] = NONE;
  w.cancelled = NONE;
  w.wanted = w.tested = UNKNOWN;
  fakes_set_up(1);
  fake_on_post = on_post;
  if (has_functions())
    options = (uvch_watch_options_t){.copy = on_copy, .drop = on_drop, .arg = &w};
  uvch__watch_first = has_functions() ? 0 : UINT64_MAX; /* it wraps around */
  v = make(0, UNKNOWN, new_id(CHANNELS));
  if (i >= 0)
    w.readers[i].rx = steps_calloc(sizeof *w.readers[i].rx);
  steps_expect(uvch_watch_init_ex(loop, i >= 0 ? w.readers[i].rx : NULL, &w.tx[FIRST],
                                  variant == ONLY_MANY_BYTES ? sizeof v : SMALL, &v, &options) == 0);
  w.core = w.tx[FIRST].core;
  if (i >= 0)
    begin_reader(i);
  if (!has_end)
    uvch__hub_ref(&w.core->hub);
  steps_counted = has_end ? NULL : &w.core->hub.refs;
  for (a = FIRST + 1; a < ACTORS; a++)
    if ((senders & 1 << a) != 0)
      steps_expect(uvch_watch_sender_clone(&w.tx[FIRST], &w.tx[a]) == 0);
  if ((senders & 1 << FIRST) == 0)
    steps_expect(uvch_watch_sender_close(&w.tx[FIRST]) == 0);
  for (a = 0; a < ACTORS; a++)
    w.senders += w.tx[a].core != NULL;
}

static void subscribe(int i, int loop, int from) {
  struct look look = begin_look();

  w.readers[i].rx = steps_calloc(sizeof *w.readers[i].rx);
  steps_expect(uvch_watch_subscribe(loop >= 0 ? &fake_loops[loop] : NULL, w.readers[i].rx, &w.tx[from]) == 0);
  begin_reader(i);
  expect_not_older(&look, w.readers[i].at);
}

static void clone(int i, int loop, int from) {
  w.readers[i].rx = steps_calloc(sizeof *w.readers[i].rx);
  steps_expect(uvch_watch_receiver_clone(loop >= 0 ? &fake_loops[loop] : NULL, w.readers[i].rx, w.readers[from].rx) == 0);
  begin_reader(i);
  steps_expect(w.readers[i].at == w.readers[from].at);
}

static void send_from(int from) {
  struct value v = next_value();

  steps_expect(uvch_watch_send(&w.tx[from], &v) == 0);
  note_stored(v.what);
}

static void one_sender(void) {
  set_up(FIRST, &fake_loops[FIRST], 1 << SECOND);
}

static void two_senders(void) {
  set_up(FIRST, &fake_loops[FIRST], 1 << SECOND | 1 << THIRD);
}

static void a_sender_for_each(void) {
  set_up(FIRST, &fake_loops[FIRST], 1 << FIRST | 1 << SECOND | 1 << THIRD);
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

static void two_members_that_are_behind(void) {
  two_members();
  send_from(SECOND);
}

static void on_a_thread(void) {
  set_up(FIRST, NULL, 1 << SECOND);
}

static void on_a_thread_two_senders(void) {
  set_up(FIRST, NULL, 1 << SECOND | 1 << THIRD);
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
  set_up(-1, NULL, 1 << FIRST | 1 << SECOND);
}

static void only_senders(void) {
  set_up(-1, NULL, 1 << FIRST | 1 << SECOND | 1 << THIRD);
}

static void one_more_may_come(void) {
  set_up(FIRST, &fake_loops[FIRST], 1 << FIRST | 1 << SECOND);
}

static void some_may_come(void) {
  set_up(FIRST, &fake_loops[FIRST], 1 << SECOND | 1 << THIRD);
  w.others_may_come = 1;
}

/* What receivers do. */

static struct reader* reader_of(const uvch_watch_receiver_t* rx) {
  int i;

  for (i = 0; w.readers[i].rx != rx; i++)
    steps_expect(i < RECEIVERS - 1);
  return &w.readers[i];
}

/* It goes on to a version. */
static void note_seen(struct reader* r) {
  int64_t by = (int64_t) (r->rx->seen - r->at);

  steps_expect(by > 0 || (by == 0 && r->may_repeat));
  r->may_repeat = 0;
  r->at = r->rx->seen;
}

static void note_end(struct reader* r) {
  steps_expect(r->end == 0 && w.senders == 0);
  r->end = UV_EOF;
}

/* What a callback has got is there to its end. */
static void expect_still(const void* value) {
  const struct value* v = value;

  if (v == NULL)
    return;
  steps_plain(value, SMALL, STEPS_READ, __func__);
  expect_whole(v);
  steps_expect(!has_functions() || w.owners[v->id] == CHANNELS);
}

static void on_value(uvch_watch_receiver_t* rx, int status, const void* value) {
  struct reader* r = reader_of(rx);

  steps_expect(steps_holds() == 0 && (value != NULL) == (status == 0) && r->end == 0);
  steps_expect(status == 0 || status == UV_EOF);
  if (status != 0) {
    note_end(r);
    return;
  }
  note_seen(r);
  steps_plain(value, SMALL, STEPS_READ, __func__);
  expect_whole(value);
  note_version(((const struct value*) value)->what, r->at);
  r->values++;
}

static void start_one(int i) {
  steps_expect(uvch_watch_start(w.readers[i].rx, on_value, 0) == 0);
}

static void start_current(int i) {
  w.readers[i].may_repeat = 1;
  steps_expect(uvch_watch_start(w.readers[i].rx, on_value, UVCH_WATCH_CURRENT) == 0);
}

static void free_one(int i) {
  uvch_watch_receiver_t* rx = w.readers[i].rx;

  w.readers[i].rx = NULL;
  steps_free(rx);
}

static void close_handle(int i) {
  let_go(i);
  steps_expect(uvch_close((uvch_handle_t*) w.readers[i].rx, NULL) == 0);
}

static void close_one(int i) {
  close_handle(i);
  free_one(i);
}

static void note_borrowed(int i, const struct look* look, const void* value) {
  struct reader* r = &w.readers[i];
  uint64_t version = r->rx->version;

  hold(i, value);
  note_version(w.holds[i].is.what, version);
  steps_expect((int64_t) (version - r->at) >= 0 && (int64_t) (version - r->held) >= 0);
  expect_fresh(look, w.holds[i].is.what);
  r->held = version;
}

static uint64_t borrow(int i) {
  struct look look = begin_look();

  let_go(i);
  note_borrowed(i, &look, uvch_watch_borrow(w.readers[i].rx));
  steps_expect(w.readers[i].rx->seen == w.readers[i].at);
  return w.holds[i].is.what;
}

static uint64_t borrow_and_update(int i) {
  struct reader* r = &w.readers[i];
  struct look look = begin_look();

  let_go(i);
  note_borrowed(i, &look, uvch_watch_borrow_and_update(r->rx));
  steps_expect(r->rx->seen == r->rx->version);
  steps_expect(uvch_watch_borrow_has_changed(r->rx) == (r->rx->seen != r->at || r->may_repeat));
  r->may_repeat = 0;
  r->at = r->rx->seen;
  return w.holds[i].is.what;
}

static int has_changed(int i) {
  struct look look = begin_look();
  int has = uvch_watch_has_changed(w.readers[i].rx);

  steps_expect(has == 0 || has == 1 || (has == UV_EOF && w.senders == 0));
  if (has == 0)
    expect_not_older(&look, w.readers[i].at);
  return has;
}

static int wait_one(int i, uint64_t timeout) {
  struct reader* r = &w.readers[i];
  int err = uvch_watch_changed_timedwait(r->rx, timeout);

  steps_expect(err == 0 || err == UV_ETIMEDOUT || err == UV_EOF);
  if (err == 0)
    note_seen(r);
  else if (err == UV_EOF && r->end == 0)
    note_end(r);
  steps_expect(r->rx->seen == r->at);
  return err;
}

static void nothing(void) {}

static void receives(void) {
  start_one(FIRST);
  fake_turn_maybe(FIRST);
}

static void receives_from_now(void) {
  start_current(FIRST);
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
  close_one(FIRST);
  fake_turn_maybe(FIRST);
}

static void closes(void) {
  close_one(FIRST);
}

static void third_closes(void) {
  close_one(THIRD);
}

static void one_of_two_closes(void) {
  both_receive();
  close_one(FIRST);
  fake_turn_maybe(FIRST);
}

static void stops_and_starts(void) {
  start_one(FIRST);
  fake_turn_maybe(FIRST);
  steps_expect(uvch_watch_stop(w.readers[FIRST].rx) == 0);
  start_one(FIRST);
  fake_turn_maybe(FIRST);
}

static void mark(int i) {
  struct reader* r = &w.readers[i];

  steps_expect(uvch_watch_mark_changed(r->rx) == 0);
  r->may_repeat = 1;
  r->at = r->rx->seen;
}

static void marks_and_receives(void) {
  start_one(FIRST);
  fake_turn_maybe(FIRST);
  mark(FIRST);
  fake_turn_maybe(FIRST);
}

static void unmarks_and_receives(void) {
  struct look look = begin_look();

  start_one(FIRST);
  steps_expect(uvch_watch_mark_unchanged(w.readers[FIRST].rx) == 0);
  steps_expect((int64_t) (w.readers[FIRST].rx->seen - w.readers[FIRST].at) >= 0);
  w.readers[FIRST].at = w.readers[FIRST].rx->seen;
  expect_not_older(&look, w.readers[FIRST].at);
  fake_turn_maybe(FIRST);
}

static void on_value_run(uvch_watch_receiver_t* rx, int status, const void* value) {
  on_value(rx, status, value);
  fake_turn_nested(FIRST);
  expect_still(value);
}

static void runs_in_the_callback(void) {
  steps_expect(uvch_watch_start(w.readers[FIRST].rx, on_value_run, 0) == 0);
  fake_turn_maybe(FIRST);
}

static void one_runs_in_the_callback(void) {
  start_one(FIRST);
  steps_expect(uvch_watch_start(w.readers[OTHER].rx, on_value_run, 0) == 0);
  fake_turn_maybe(FIRST);
}

static void on_value_stop(uvch_watch_receiver_t* rx, int status, const void* value) {
  on_value(rx, status, value);
  steps_expect(uvch_watch_stop(rx) == 0);
}

static void stops_in_the_callback(void) {
  steps_expect(uvch_watch_start(w.readers[FIRST].rx, on_value_stop, 0) == 0);
  fake_turn_maybe(FIRST);
}

static void on_value_close(uvch_watch_receiver_t* rx, int status, const void* value) {
  on_value(rx, status, value);
  close_one(FIRST);
  expect_still(value);
}

static void closes_in_the_callback(void) {
  steps_expect(uvch_watch_start(w.readers[FIRST].rx, on_value_close, 0) == 0);
  fake_turn_maybe(FIRST);
}

/* It borrows another value, perhaps, while it looks at this one. */
static void on_value_borrow(uvch_watch_receiver_t* rx, int status, const void* value) {
  on_value(rx, status, value);
  borrow_and_update(FIRST);
  expect_still(value);
}

static void borrows_in_the_callback(void) {
  steps_expect(uvch_watch_start(w.readers[FIRST].rx, on_value_borrow, 0) == 0);
  fake_turn_maybe(FIRST);
}

static void on_value_look(uvch_watch_receiver_t* rx, int status, const void* value) {
  on_value(rx, status, value);
  if (w.readers[FIRST].end == 0)
    borrow_and_update(FIRST);
  expect_still(value);
}

/* There is a value already that they have not seen. */
static void one_looks_for_the_other(void) {
  start_one(FIRST);
  steps_expect(uvch_watch_start(w.readers[OTHER].rx, on_value_look, 0) == 0);
  fake_turn_maybe(FIRST);
}

static void on_value_go(uvch_watch_receiver_t* rx, int status, const void* value) {
  on_value(rx, status, value);
  if (!w.has_gone)
    fake_abandon(FIRST);
  w.has_gone = 1;
}

static void loses_its_loop_in_the_callback(void) {
  steps_expect(uvch_watch_start(w.readers[FIRST].rx, on_value_go, 0) == 0);
  fake_turn_maybe(FIRST);
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

/* Looking. */

static void borrows_twice(void) {
  borrow(FIRST);
  borrow(FIRST);
  expect_held(FIRST);
}

static void updates_twice(void) {
  borrow_and_update(FIRST);
  borrow_and_update(FIRST);
  expect_held(FIRST);
}

static void updates(void) {
  borrow_and_update(FIRST);
  expect_held(FIRST);
}

static void third_updates(void) {
  borrow_and_update(THIRD);
  expect_held(THIRD);
}

/* Whatever comes after the look is newer. */
static void looks(void) {
  struct reader* r = &w.readers[FIRST];
  int has = has_changed(FIRST);

  borrow_and_update(FIRST);
  steps_expect(has != 1 || uvch_watch_borrow_has_changed(r->rx));
}

/* What is there at the end is the last value. */
static void looks_for_the_end(void) {
  int has = has_changed(FIRST);

  borrow(FIRST);
  if (has == UV_EOF)
    steps_expect(w.holds[FIRST].is.what == w.newest[SECOND]);
  updates();
}

static void updates_and_closes(void) {
  borrow_and_update(FIRST);
  close_one(FIRST);
}

static void borrows_and_receives(void) {
  borrow(FIRST);
  receives();
  expect_held(FIRST);
}

static void borrows_with_another(void) {
  borrow(FIRST);
  borrow(OTHER);
  expect_held(FIRST);
  borrow_and_update(FIRST);
  expect_held(OTHER);
}

/* New ones. */

static void comes(void) {
  subscribe(FIRST, FIRST, FIRST);
  start_one(FIRST);
  fake_turn_maybe(FIRST);
}

static void comes_and_looks(void) {
  subscribe(FIRST, -1, FIRST);
  borrow_and_update(FIRST);
}

static void comes_for_the_current(void) {
  subscribe(FIRST, FIRST, FIRST);
  start_current(FIRST);
  fake_turn_maybe(FIRST);
}

static void another_comes(void) {
  start_one(FIRST);
  subscribe(OTHER, FIRST, FIRST);
  start_one(OTHER);
  fake_turn_maybe(FIRST);
}

static void is_cloned(void) {
  receives();
  clone(OTHER, FIRST, FIRST);
  start_one(OTHER);
  fake_turn_maybe(FIRST);
}

static void is_cloned_to_a_thread(void) {
  clone(OTHER, -1, FIRST);
  wait_one(OTHER, UINT64_MAX);
}

static void closes_and_another_comes(void) {
  w.others_may_come = 1;
  close_one(FIRST);
  subscribe(OTHER, FIRST, FIRST);
}

static void one_comes_on_the_third(void) {
  subscribe(THIRD, THIRD, THIRD);
}

/* On a thread. */

static void waits(void) {
  steps_expect(wait_one(FIRST, UINT64_MAX) != UV_ETIMEDOUT);
}

static void waits_and_looks(void) {
  waits();
  borrow_and_update(FIRST);
}

static void waits_twice(void) {
  waits();
  waits();
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
  close_one(FIRST);
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

static void borrows_and_attaches(void) {
  borrow(FIRST);
  attach();
  expect_held(FIRST);
  receives();
}

static void waits_a_while_and_attaches(void) {
  wait_one(FIRST, SOME_TIME);
  attach();
  receives();
}

static void waits_a_while_and_attaches_to_others(void) {
  wait_one(FIRST, SOME_TIME);
  attaches_to_others();
}

/* What senders do. */

static int sender_hold(int a) {
  return RECEIVERS + a;
}

static void close_sender(void) {
  let_go(sender_hold(steps_self()));
  w.senders--;
  steps_expect(uvch_watch_sender_close(&w.tx[steps_self()]) == 0);
}

static void sends(void) {
  send_from(steps_self());
}

static void sends_twice(void) {
  sends();
  sends();
}

static void sends_three(void) {
  sends_twice();
  sends();
}

static void sends_and_closes(void) {
  sends();
  close_sender();
}

static void sends_twice_and_closes(void) {
  sends_twice();
  close_sender();
}

static void clones_and_sends(void) {
  uvch_watch_sender_t copy;
  struct value v;

  steps_expect(uvch_watch_sender_clone(&w.tx[SECOND], &copy) == 0);
  w.senders++;
  close_sender();
  v = next_value();
  steps_expect(uvch_watch_send(&copy, &v) == 0);
  note_stored(v.what);
  w.senders--;
  steps_expect(uvch_watch_sender_close(&copy) == 0);
}

static void replaces(void) {
  struct value v = next_value();
  struct value old;

  steps_expect(uvch_watch_send_replace(&w.tx[steps_self()], &v, &old) == 0);
  note_stored(v.what);
  expect_whole(&old);
  note_replaced(old.what, v.what);
  if (!has_functions())
    return;
  expect_not_held(old.id);
  steps_expect(w.owners[old.id] == CHANNELS);
  w.owners[old.id] = CALLERS;
}

static void replaces_twice(void) {
  replaces();
  replaces();
}

struct change {
  uint64_t what;
  uint64_t from;
  int answer;
  int sends; /* in its first run */
  int runs;
};

static int change(void* value, void* arg) {
  struct value* v = value;
  struct change* c = arg;
  struct value is;

  steps_expect(steps_holds() == 0 && ++c->runs <= 8);
  steps_plain(value, SMALL, STEPS_READ, __func__);
  expect_whole(v);
  steps_expect(!has_functions() || w.owners[v->id] == CHANNELS);
  c->from = v->what;
  is = make(c->what, c->from, v->id);
  set(value, &is);
  if (c->sends && c->runs == 1)
    sends();
  return c->answer;
}

static void note_modified(const struct change* c) {
  note_stored(c->what);
  note_replaced(c->from, c->what);
}

static void modifies(void) {
  struct change c = {.what = next_what()};

  steps_expect(uvch_watch_modify(&w.tx[steps_self()], change, &c) == 0);
  note_modified(&c);
}

static void modifies_if(int answer) {
  struct change c = {.what = next_what(), .answer = answer};

  steps_expect(uvch_watch_modify_if(&w.tx[steps_self()], change, &c) == answer);
  if (answer == 1)
    note_modified(&c);
}

static void modifies_if_so(void) {
  modifies_if(1);
}

static void does_not_modify(void) {
  modifies_if(0);
}

static void fails_to_modify(void) {
  modifies_if(UV_EIO);
}

static void sends_while_it_modifies(void) {
  struct change c = {.what = next_what(), .sends = 1};

  steps_expect(uvch_watch_modify(&w.tx[steps_self()], change, &c) == 0);
  steps_expect(c.runs >= 2);
  note_modified(&c);
}

static void borrow_from(int a) {
  struct look look = begin_look();
  uint64_t was = w.tx[a].version;
  int is_first = w.holds[sender_hold(a)].at == NULL;

  let_go(sender_hold(a));
  hold(sender_hold(a), uvch_watch_sender_borrow(&w.tx[a]));
  note_version(w.holds[sender_hold(a)].is.what, w.tx[a].version);
  expect_fresh(&look, w.holds[sender_hold(a)].is.what);
  steps_expect(is_first || (int64_t) (w.tx[a].version - was) >= 0);
}

static void sender_borrows(void) {
  borrow_from(steps_self());
  expect_held(sender_hold(steps_self()));
}

static void sender_borrows_twice(void) {
  borrow_from(steps_self());
  borrow_from(steps_self());
  expect_held(sender_hold(steps_self()));
}

static void borrows_and_sends(void) {
  sender_borrows();
  sends();
  expect_held(sender_hold(steps_self()));
}

static void borrows_and_replaces(void) {
  sender_borrows();
  replaces();
  expect_held(sender_hold(steps_self()));
}

static void borrows_and_closes(void) {
  sender_borrows();
  close_sender();
}

/* Those who wait for a value. */

static int is_wanted(const void* value, void* arg) {
  const struct value* v = value;

  steps_expect(arg == &w && steps_holds() == 0);
  steps_plain(value, SMALL, STEPS_READ, __func__);
  expect_whole(v);
  steps_expect(v->what != w.tested);
  w.tested = v->what;
  w.tests++;
  return v->what == w.wanted;
}

/* It has seen what it has tested. */
static void note_waited(int i, int status, const void* value) {
  struct reader* r = &w.readers[i];

  steps_expect((value != NULL) == (status == 0) && (status == UV_ECANCELED || w.tests > 0));
  if (w.tests > 0)
    note_version(w.tested, r->rx->seen);
  r->at = r->rx->seen;
  if (status == UV_EOF)
    note_end(r);
  if (status != 0)
    return;
  expect_still(value);
  steps_expect(((const struct value*) value)->what == w.wanted && w.tested == w.wanted);
}

static void on_found(uvch_watch_wait_for_t* req, int status, const void* value) {
  int self = self_or(FIRST);

  steps_expect(req == w.reqs[self] && w.status[self] == NONE && steps_holds() == 0);
  steps_expect(status == 0 || status == UV_EOF || status == UV_ECANCELED);
  w.status[self] = status;
  note_waited(FIRST, status, value);
  steps_at(req, STEPS_FREE, __func__);
  steps_free(req);
}

static void wait_for(uint64_t wanted) {
  int self = steps_self();

  w.wanted = wanted;
  w.reqs[self] = steps_calloc(sizeof(uvch_watch_wait_for_t));
  steps_expect(uvch_watch_wait_for(w.reqs[self], w.readers[FIRST].rx, is_wanted, &w, on_found) == 0);
  steps_expect(w.tests == 0);
}

static int is_told(void* arg) {
  return w.status[*(int*) arg] != NONE;
}

static void until_told(void) {
  int self = steps_self();

  fake_turn_until(self, is_told, &self);
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

static void waits_for_it(void) {
  wait_for(value_of(SECOND, 0));
  until_told();
  expect_held(FIRST);
}

static void waits_for_the_second(void) {
  wait_for(value_of(SECOND, 1));
  until_told();
  expect_held(FIRST);
}

static void waits_for_it_and_cancels(void) {
  wait_for(value_of(SECOND, 0));
  fake_turn_maybe(FIRST);
  cancel();
}

static void waits_for_another_and_cancels(void) {
  wait_for(value_of(SECOND, 1));
  fake_turn_maybe(FIRST);
  cancel();
}

/* Its group has a turn in which there is nothing for it. */
static void waits_for_it_while_another_is_marked(void) {
  start_one(OTHER);
  wait_for(value_of(SECOND, 0));
  fake_turn_maybe(FIRST);
  if (w.readers[OTHER].end == 0)
    mark(OTHER);
  until_told();
}

static void waits_for_it_and_closes(void) {
  wait_for(value_of(SECOND, 0));
  fake_turn_maybe(FIRST);
  close_handle(FIRST);
  until_told();
  free_one(FIRST);
}

static void waits_for_it_and_starts(void) {
  waits_for_it();
  receives();
}

static void waits_for_it_and_loses_its_loop(void) {
  wait_for(value_of(SECOND, 0));
  fake_turn_maybe(FIRST);
  w.has_gone = 1;
  fake_abandon(FIRST);
}

static void waits_for_it_beside_another(void) {
  start_one(OTHER);
  waits_for_it();
  fake_turn_maybe(FIRST);
}

static int wait_for_on_a_thread(uint64_t wanted, uint64_t timeout) {
  struct look none = {{0}};
  const void* value = NULL;
  int err;

  w.wanted = wanted;
  w.tested = UNKNOWN;
  w.tests = 0;
  let_go(FIRST);
  err = uvch_watch_wait_for_timedwait(w.readers[FIRST].rx, is_wanted, &w, &value, timeout);
  steps_expect(err == 0 || err == UV_EOF || err == UV_ETIMEDOUT);
  steps_expect(w.tests > 0);
  note_waited(FIRST, err, value);
  if (err == 0)
    note_borrowed(FIRST, &none, value);
  expect_held(FIRST);
  return err;
}

static void sleeps_for_it(void) {
  steps_expect(wait_for_on_a_thread(value_of(SECOND, 0), UINT64_MAX) != UV_ETIMEDOUT);
}

static void sleeps_for_the_second(void) {
  steps_expect(wait_for_on_a_thread(value_of(SECOND, 1), UINT64_MAX) != UV_ETIMEDOUT);
}

static void sleeps_for_it_a_while(void) {
  wait_for_on_a_thread(value_of(SECOND, 0), SOME_TIME);
}

static void sleeps_for_it_a_while_and_waits(void) {
  if (wait_for_on_a_thread(value_of(SECOND, 0), SOME_TIME) == UV_ETIMEDOUT && w.tested != w.newest[SECOND])
    waits();
}

/* Those who wait for the end of the receivers. There is none at the callback, unless another thread has just brought one. */

static void on_closed(uvch_watch_closed_t* req, int status) {
  int self = self_or(SECOND);

  steps_expect(req == w.reqs[self] && w.status[self] == NONE && steps_holds() == 0);
  steps_expect(status == 0 || status == UV_ECANCELED);
  steps_expect(status != 0 || w.others_may_come || w.tx[self].core == NULL || uvch_watch_sender_receiver_count(&w.tx[self]) == 0);
  w.status[self] = status;
  steps_at(req, STEPS_FREE, __func__);
  steps_free(req);
}

static void watch(void) {
  int self = steps_self();

  w.reqs[self] = steps_calloc(sizeof(uvch_watch_closed_t));
  steps_expect(uvch_watch_closed(&fake_loops[self], w.reqs[self], &w.tx[self], on_closed) == 0);
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

static void watches_and_loses_its_loop(void) {
  watch();
  fake_abandon(SECOND);
}

/* It watches its own loop's receivers, and brings a new one before it is told. */
static void watches_closes_and_comes(void) {
  watch();
  close_one(FIRST);
  subscribe(OTHER, FIRST, FIRST);
  fake_turn_maybe(FIRST);
  close_one(OTHER);
  until_told();
}

static void sleeps_to_the_end(void) {
  steps_expect(uvch_watch_closed_wait(&w.tx[SECOND]) == 0);
}

static void sleeps_a_while(void) {
  int err = uvch_watch_closed_timedwait(&w.tx[SECOND], SOME_TIME);

  steps_expect(err == 0 || err == UV_ETIMEDOUT);
}

/* Checks. */

/* What is known to be in has nothing after it, and everything before it. */
static void expect_newest(uint64_t what) {
  uint64_t at;
  int i;
  int n = 0;

  steps_expect(what == 0 ? w.stored == 0 : w.newest[maker_of(what)] == what);
  steps_expect(version_of(what) - uvch__watch_first == (uint64_t) w.stored);
  for (i = 0; i < w.seen_count; i++)
    steps_expect((int64_t) (version_of(what) - w.seen[i].version) >= 0);
  for (i = 0; i < VALUES; i++)
    steps_expect(w.before[i] != what);
  for (at = what; at != 0 && w.before[at] != UNKNOWN; at = w.before[at])
    n++;
  steps_expect(at != 0 || n == w.stored);
}

/* Somebody who had not seen the newest value would have been told of it. */
static void expect_told(int i) {
  struct reader* r = &w.readers[i];
  int is_started = r->rx->loop != NULL && uvch_is_active((uvch_handle_t*) r->rx);
  int has = has_changed(i);

  steps_expect((has == UV_EOF) == (w.senders == 0));
  steps_expect(!is_started || w.senders > 0 || w.has_gone);
  if ((is_started && !w.has_gone) || r->end != 0)
    steps_expect(r->rx->seen == r->rx->version && has != 1);
}

static void expect_rest(int i) {
  if (w.readers[i].rx == NULL)
    return;
  expect_newest(borrow(i));
  expect_told(i);
  borrow_and_update(i);
}

static void expect_owners(void) {
  int i;

  for (i = 0; i < w.ids; i++)
    steps_expect(w.owners[i] == DROPPED || w.owners[i] == CALLERS);
}

static void close_all(void) {
  int i;

  for (i = 0; i < RECEIVERS; i++)
    if (w.readers[i].rx != NULL)
      close_one(i);
  fake_drain();
  for (i = 0; i < ACTORS; i++) {
    let_go(sender_hold(i));
    uvch_watch_sender_close(&w.tx[i]);
  }
  fake_drain();
}

static void check_all(void) {
  int i;

  fake_drain();
  for (i = 0; i < RECEIVERS; i++)
    expect_rest(i);
  for (i = 0; i < ACTORS; i++)
    if (w.tx[i].core != NULL) {
      borrow_from(i);
      expect_newest(w.holds[sender_hold(i)].is.what);
    }
  close_all();
  if (!has_end)
    uvch__hub_unref(&w.core->hub);
  expect_owners();
  fakes_check();
}

/* Each receiver that is left has had its end, once, after everything else. */
static void check_end(void) {
  int i;

  fake_drain();
  steps_expect(w.senders == 0);
  for (i = 0; i < RECEIVERS; i++)
    if (w.readers[i].rx != NULL)
      steps_expect(w.readers[i].end == UV_EOF && !uvch_is_active((uvch_handle_t*) w.readers[i].rx));
  check_all();
}

/* A change at most for each value that came. */
static void check_values(void) {
  fake_drain();
  steps_expect(w.readers[FIRST].values <= w.stored);
  check_all();
}

static void check_current(void) {
  fake_drain();
  steps_expect(w.readers[FIRST].values >= 1);
  check_all();
}

/* Nothing was stored, so nobody was told of anything. */
static void check_untouched(void) {
  fake_drain();
  steps_expect(w.readers[FIRST].values == 0 && w.stored == 0);
  check_all();
}

static void check_found(void) {
  steps_expect(w.status[FIRST] == 0);
  check_all();
}

static void check_found_or_end(void) {
  steps_expect(w.status[FIRST] == 0 || (w.status[FIRST] == UV_EOF && w.tested != w.wanted));
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
    {"send, start", one_sender, {receives, sends}, check_values, 0},
    {"send twice, start", one_sender, {receives, sends_twice}, check_values, 0},
    {"send twice, start, one value a turn", one_turn_each, {receives, sends_twice}, check_values, 0},
    {"send, start with the current", one_sender, {receives_from_now, sends}, check_current, 0},
    {"send twice, a run in the callback", one_sender, {runs_in_the_callback, sends_twice}, check_values, 0},
    {"send twice, a run in the callback of one of two members",
     two_members,
     {one_runs_in_the_callback, sends_twice},
     check_values,
     0},
    {"send three times, borrow in the callback", one_sender, {borrows_in_the_callback, sends_three}, check_values, LONG},
    {"send twice, borrow in the callback", one_sender, {borrows_in_the_callback, sends_twice}, check_values, 0},
    {"send twice, stop in the callback", one_sender, {stops_in_the_callback, sends_twice}, check_values, 0},
    {"send twice, close in the callback", one_sender, {closes_in_the_callback, sends_twice}, check_all, 0},
    {"send twice, the loop goes in the callback", one_sender, {loses_its_loop_in_the_callback, sends_twice}, check_all, 0},
    {"two send, start", two_senders, {receives, sends, sends}, check_values, LONG},
    {"send, start of two members", two_members, {both_receive, sends}, check_values, 0},
    {"send twice, start of two members, one value a turn",
     two_members_one_turn_each,
     {both_receive, sends_twice},
     check_values,
     LONG},
    {"send, start of one of two members", two_members, {receives, sends}, check_values, 0},
    {"send, start of two groups", two_groups, {receives, sends, receives_on_the_third}, check_values, LONG},
    {"send, stop, start", one_sender, {stops_and_starts, sends}, check_values, 0},
    {"send, mark_changed, start", one_sender, {marks_and_receives, sends}, check_all, 0},
    {"send twice, mark_unchanged, start", one_sender, {unmarks_and_receives, sends_twice}, check_values, 0},
    {"send through a clone, start", one_sender, {receives, clones_and_sends}, check_end, 0},

    {"send twice, borrow", one_sender, {borrows_twice, sends_twice}, check_all, 0},
    {"send twice, borrow_and_update", one_sender, {updates_twice, sends_twice}, check_all, 0},
    {"two send, borrow", two_senders, {borrows_twice, sends, sends}, check_all, 0},
    {"send, borrow of two threads", on_two_threads, {updates, sends, third_updates}, check_all, 0},
    {"send twice, borrow of two members", two_members, {borrows_with_another, sends_twice}, check_all, 0},
    {"send twice, has_changed, borrow_and_update", one_sender, {looks, sends_twice}, check_all, 0},
    {"send, borrow, start", one_sender, {borrows_and_receives, sends_twice}, check_values, 0},
    {"send, borrow, close", one_sender, {updates_and_closes, sends_twice}, check_all, 0},
    {"send, borrow, close both", one_sender, {updates_and_closes, sends_and_closes}, check_all, 0},
    {"two send, sender_borrow", a_sender_for_each, {sends, sender_borrows_twice, sends}, check_all, 0},
    {"send, sender_borrow and send", two_senders, {updates, borrows_and_sends, sends}, check_all, 0},
    {"send, sender_borrow, close", two_senders, {nothing, borrows_and_closes, sends_and_closes}, check_all, 0},

    {"close the sender, start", one_sender, {receives, close_sender}, check_end, 0},
    {"send and close the sender, start", one_sender, {receives, sends_and_closes}, check_end, 0},
    {"send twice and close the sender, start", one_sender, {receives, sends_twice_and_closes}, check_end, 0},
    {"send and close the sender, start of two members", two_members, {both_receive, sends_and_closes}, check_end, 0},
    {"send twice and close the sender, one of two looks for the other",
     two_members_that_are_behind,
     {one_looks_for_the_other, sends_twice_and_closes},
     check_end,
     LONG},
    {"two send and close, start", two_senders, {receives, sends_and_closes, close_sender}, check_end, LONG},
    {"send and close the sender, borrow", one_sender, {looks_for_the_end, sends_and_closes}, check_all, 0},

    {"send, subscribe", nobody_yet, {comes, sends}, check_all, 0},
    {"send, subscribe, borrow_and_update", nobody_yet, {comes_and_looks, sends_twice}, check_all, 0},
    {"send, subscribe, start with the current", nobody_yet, {comes_for_the_current, sends}, check_current, 0},
    {"send, subscribe one more", one_more_may_come, {another_comes, sends}, check_all, 0},
    {"send, receiver_clone", one_sender, {is_cloned, sends}, check_all, 0},
    {"send and close the sender, receiver_clone", one_sender, {is_cloned, sends_and_closes}, check_end, LONG},
    {"send, receiver_clone, changed_wait", on_a_thread, {is_cloned_to_a_thread, sends}, check_all, 0},

    {"send_replace of two", only_senders, {nothing, replaces, replaces}, check_all, 0},
    {"send_replace, borrow", one_sender, {borrows_twice, replaces}, check_all, 0},
    {"send_replace twice, borrow", one_sender, {updates_twice, replaces_twice}, check_all, 0},
    {"send_replace, start", one_sender, {receives, replaces}, check_values, 0},
    {"send_replace of two, borrow", two_senders, {updates, replaces, replaces}, check_all, LONG},
    {"send_replace, send", only_senders, {sends, replaces, nothing}, check_all, 0},
    {"send_replace of what is borrowed", only_senders, {replaces, borrows_and_replaces, nothing}, check_all, 0},
    {"modify, send", only_senders, {sends, modifies, nothing}, check_all, 0},
    {"modify of two", only_senders, {modifies, modifies, nothing}, check_all, 0},
    {"modify, send_replace", only_senders, {replaces, modifies, nothing}, check_all, 0},
    {"modify, start", one_sender, {receives, modifies}, check_values, 0},
    {"modify, borrow", one_sender, {updates_twice, modifies}, check_all, 0},
    {"modify, sender_borrow", only_senders, {sender_borrows_twice, modifies, nothing}, check_all, 0},
    {"modify that sends", only_senders, {sends, sends_while_it_modifies, nothing}, check_all, 0},
    {"modify_if, send", only_senders, {sends, modifies_if_so, nothing}, check_all, 0},
    {"modify_if that says no, start", one_sender, {receives, does_not_modify}, check_untouched, 0},
    {"modify_if that says no, send", only_senders, {sends, does_not_modify, nothing}, check_all, 0},
    {"modify_if that fails, send", only_senders, {sends, fails_to_modify, nothing}, check_all, 0},

    {"send, close", one_sender, {closes, sends}, check_all, ENDS},
    {"send, start and close", one_sender, {receives_and_closes, sends}, check_all, ENDS},
    {"send and close the sender, close", one_sender, {closes, sends_and_closes}, check_all, ENDS},
    {"send and close the sender, start and close", one_sender, {receives_and_closes, sends_and_closes}, check_all, 0},
    {"two send and close, close", two_senders, {closes, sends_and_closes, sends_and_closes}, check_all, LONG},
    {"last ends", one_sender, {closes, close_sender}, check_all, ENDS},
    {"last ends of three", two_senders, {closes, close_sender, close_sender}, check_all, LONG},
    {"send, one of two groups closes", two_groups, {receives_and_closes, sends}, check_all, 0},
    {"send, one of two groups closes, the other receives", two_groups, {closes, sends, receives_on_the_third}, check_all, LONG},
    {"send, one of two members closes", two_members, {one_of_two_closes, sends}, check_all, 0},
    {"send, the loop goes", one_sender, {loses_its_loop, sends}, check_all, 0},
    {"send twice, the loop goes", one_sender, {loses_its_loop, sends_twice}, check_all, 0},
    {"send and close the sender, the loop goes", one_sender, {loses_its_loop, sends_and_closes}, check_all, 0},
    {"send, the loop goes, close", one_sender, {loses_its_loop_and_closes, sends}, check_all, 0},
    {"send, the loop of two goes, both close", two_members, {loses_its_loop_and_both_close, sends}, check_all, 0},

    {"send, changed_wait", on_a_thread, {waits_and_looks, sends}, check_all, 0},
    {"two send, changed_wait", on_a_thread_two_senders, {waits_and_looks, sends, sends}, check_all, 0},
    {"send and close the sender, changed_wait twice", on_a_thread, {waits_twice, sends_and_closes}, check_all, 0},
    {"send and close the sender, changed_wait to the end", on_a_thread, {waits_to_the_end, sends_twice_and_closes}, check_end, 0},
    {"close the sender, changed_wait", on_a_thread, {waits, close_sender}, check_end, 0},
    {"send, changed_wait of two", on_two_threads, {waits, sends, waits_on_the_third}, check_all, 0},
    {"send, changed_timedwait", on_a_thread, {waits_a_while, sends}, check_all, 0},
    {"send, changed_timedwait, changed_wait", on_a_thread, {waits_a_while_and_waits, sends}, check_all, 0},
    {"close the sender, changed_timedwait", on_a_thread, {waits_a_while, close_sender}, check_all, 0},
    {"send, changed_timedwait, close", on_a_thread, {waits_a_while_and_closes, sends}, check_all, 0},
    {"send, attach, start", on_a_thread, {attaches, sends}, check_values, 0},
    {"send, attach to a group, start", on_a_thread_and_a_loop, {attaches_to_others, sends}, check_values, 0},
    {"send, changed_timedwait, attach, start", on_a_thread, {waits_a_while_and_attaches, sends}, check_all, 0},
    {"send, changed_timedwait, attach to a group, start",
     on_a_thread_and_a_loop,
     {waits_a_while_and_attaches_to_others, sends},
     check_all,
     0},
    {"send twice, borrow, attach, start", on_a_thread, {borrows_and_attaches, sends_twice}, check_values, 0},

    {"wait_for, send", one_sender, {waits_for_it, sends}, check_found, 0},
    {"wait_for, send twice", one_sender, {waits_for_the_second, sends_twice}, check_found, 0},
    {"wait_for, send, two close", two_senders, {waits_for_it, sends_and_closes, close_sender}, check_found, LONG},
    {"wait_for, send and close the sender", one_sender, {waits_for_it, sends_and_closes}, check_found, 0},
    {"wait_for, send twice and close the sender", one_sender, {waits_for_it, sends_twice_and_closes}, check_found_or_end, 0},
    {"wait_for, close the sender", one_sender, {waits_for_it, close_sender}, check_found_or_end, 0},
    {"wait_for and cancel, send", one_sender, {waits_for_it_and_cancels, sends}, check_all, 0},
    {"wait_for something else and cancel, send", one_sender, {waits_for_another_and_cancels, sends}, check_all, 0},
    {"wait_for, another is marked, send and close the sender",
     two_members,
     {waits_for_it_while_another_is_marked, sends_and_closes},
     check_found,
     0},
    {"wait_for and cancel, close the sender", one_sender, {waits_for_it_and_cancels, close_sender}, check_all, 0},
    {"wait_for and close, send", one_sender, {waits_for_it_and_closes, sends}, check_all, 0},
    {"wait_for, start, send twice", one_sender, {waits_for_it_and_starts, sends}, check_all, 0},
    {"wait_for, its loop goes, send", one_sender, {waits_for_it_and_loses_its_loop, sends}, check_all, 0},
    {"wait_for beside another, send", two_members, {waits_for_it_beside_another, sends}, check_found, 0},
    {"wait_for_wait, send", on_a_thread, {sleeps_for_it, sends}, check_all, 0},
    {"wait_for_wait, send twice", on_a_thread, {sleeps_for_the_second, sends_twice}, check_all, 0},
    {"wait_for_wait, close the sender", on_a_thread, {sleeps_for_it, close_sender}, check_all, 0},
    {"wait_for_wait, send and close the sender", on_a_thread, {sleeps_for_it, sends_and_closes}, check_all, 0},
    {"wait_for_timedwait, send", on_a_thread, {sleeps_for_it_a_while, sends_twice}, check_all, 0},
    {"wait_for_timedwait, changed_wait, send", on_a_thread, {sleeps_for_it_a_while_and_waits, sends}, check_all, 0},

    {"closed, close", one_sender, {closes, watches}, check_all, 0},
    {"closed and close the sender, close", one_sender, {closes, watches_and_closes}, check_all, LONG | ENDS},
    {"closed and cancel, close", one_sender, {closes, watches_and_cancels}, check_all, 0},
    {"closed, its loop goes, close", one_sender, {closes, watches_and_loses_its_loop}, check_all, 0},
    {"closed, two close", two_groups, {closes, watches, third_closes}, check_all, 0},
    {"closed, close, subscribe", one_more_may_come, {closes_and_another_comes, watches_a_while}, check_watched, 0},
    {"closed and cancel, close, subscribe", one_more_may_come, {closes_and_another_comes, watches_and_cancels}, check_all, 0},
    {"closed, close, subscribe on a third", some_may_come, {closes, watches_a_while, one_comes_on_the_third}, check_watched, 0},
    {"closed, close, subscribe before the callback", one_more_may_come, {watches_closes_and_comes, sends}, check_all, 0},
    {"closed_wait, close", one_sender, {closes, sleeps_to_the_end}, check_all, 0},
    {"closed_timedwait, close", one_sender, {closes, sleeps_a_while}, check_all, 0},
    {"closed_timedwait, close, subscribe", one_more_may_come, {closes_and_another_comes, sleeps_a_while}, check_all, 0},
};

/* Running them. */

static void prepare(const struct steps_program* program, int how) {
  variant = how / STEPS_OWN;
  has_end = (program->is_long & ENDS) != 0;
}

/* The last way is the first once more, with weak compare-exchanges of the second actor that fail for no reason, which only those
 * have who post a thread. */
static int ways_of(const struct steps_program* program, enum steps_bug bug) {
  int has_weak = program->set_up == on_a_thread || program->set_up == on_two_threads || program->set_up == on_a_thread_and_a_loop;

  (void) bug;
  return (program->is_long & LONG) != 0 ? 1 : VARIANTS + 1 + has_weak;
}

static int how_in(const struct steps_program* program, enum steps_bug bug, int way) {
  static const int once_more[] = {STEPS_STALE, STEPS_WEAK << SECOND};

  (void) bug;
  if ((program->is_long & LONG) != 0)
    way = ONLY_BYTES;
  return STEPS_REDUCED | STEPS_SHORT | steps_stale(0) | (way < VARIANTS ? way * STEPS_OWN : once_more[way - VARIANTS]);
}

static const struct steps_wrong bugs[] = {
    {STEPS_SEND_WAKES_NOBODY, "a send does not take who is parked", "send, start"},
    {STEPS_SEND_WAKES_NOBODY, "not even a thread", "send, changed_wait"},
    {STEPS_END_WAKES_NOBODY, "nor does the last close of a sender", "close the sender, start"},
    {STEPS_PARK_IGNORES_TAIL, "a group parks without a look at the version", "send, start"},
    {STEPS_PARK_IGNORES_TAIL, "so does a thread", "send, changed_wait"},
    {STEPS_PARK_IGNORES_END, "or without a look at the end", "close the sender, start"},
    {STEPS_PARK_IGNORES_END, "and so does a thread", "close the sender, changed_wait"},
    {STEPS_TAKEN_STAYS_PARKED, "a group that is taken stays parked", "send, start and close"},
    {STEPS_LEAVE_FORGETS_PARK, "the last member leaves, and its group stays parked", "send, start and close"},
    {STEPS_WAKE_HAS_NO_TOKEN, "a start takes the token for granted", "send, stop, start"},
    {STEPS_DISARM_LOSES_TOKEN, "a thread that was posted loses the token", "send and close the sender, changed_wait to the end"},
    {STEPS_ATTACH_LOSES_TOKEN, "so does an attach", "send, changed_timedwait, attach, start"},

    {STEPS_PIN_HAS_NO_REFERENCE, "who borrows has no reference", "send twice, borrow"},
    {STEPS_PIN_HAS_NO_REFERENCE, "nor has a callback", "send twice, a run in the callback"},
    {STEPS_PIN_LOOKS_EARLY, "who borrows looks for the value before it has the lock", "send twice, borrow"},
    {STEPS_PIN_LOOKS_LATE, "or for the version after it had it", "send twice, borrow_and_update"},
    {STEPS_UNPIN_HAS_NO_LOCK, "a reference is given back without the lock", "send, borrow, close"},
    {STEPS_NODE_IS_REUSED, "a node is used again while somebody looks at it", "send twice, borrow"},
    {STEPS_LOOK_IS_OLD, "a borrow does not look at the version", "send twice, borrow"},
    {STEPS_UPDATE_SEES_NEWEST, "an update marks what it does not show", "send twice, borrow_and_update"},
    {STEPS_VERSION_IS_LATE, "the version is stored after the lock", "send, start"},
    {STEPS_VALUE_IS_LATE, "the version is there before the value", "send twice, borrow_and_update"},
    {STEPS_REPLACE_MOVES, "a value that others look at is moved out", "send_replace twice, borrow"},
    {STEPS_REPLACE_IGNORES_OTHERS, "it is replaced though another one has come in", "send_replace of what is borrowed"},
    {STEPS_REPLACE_IGNORES_OTHERS, "so is one that was modified", "modify, send_replace"},

    {STEPS_END_IS_SEEN_LATE, "the end is looked for after the value", "send and close the sender, start"},
    {STEPS_TAKE_SEES_END_LATE, "by a thread too", "send and close the sender, changed_wait to the end"},
    {STEPS_WAIT_SEES_END_LATE, "and for a request", "wait_for, another is marked, send and close the sender"},
    {STEPS_TURN_GOES_BY_OLD, "a turn goes by what it has seen first", "send twice, start"},
    {STEPS_ROUND_GOES_BACK, "even if a member has seen something newer", "send three times, borrow in the callback"},
    {STEPS_ROUND_IGNORES_END, "and at the end", "send twice and close the sender, one of two looks for the other"},
    {STEPS_SNAPSHOT_STAYS, "a nested run ends what the callback looks at",
     "send twice, a run in the callback of one of two members"},
    {STEPS_MARK_WAKES_NOBODY, "who marks a change is not started", "send, mark_changed, start"},
    {STEPS_CANCEL_WAKES_NOBODY, "a cancel does not have its callback come", "wait_for something else and cancel, send"},

    {STEPS_VALUE_IGNORES_RECEIVERS, "the last sender ends the value", "send and close the sender, start"},
    {STEPS_VALUE_IGNORES_SENDERS, "so does the last receiver", "send, close"},
    {STEPS_VALUE_ENDS_TWICE, "the last sender ends it, and the last receiver", "last ends"},
    {STEPS_LEAVE_SERVES_NOBODY, "a receiver that leaves tells nobody", "closed, close"},
    {STEPS_WATCHER_DOES_NOT_LOOK, "a watcher does not look before it waits", "closed, close"},
    {STEPS_WATCHER_DOES_NOT_LOOK, "a thread neither", "closed_wait, close"},
    {STEPS_WATCHER_DOES_NOT_LOOK_AGAIN, "nor before its callback", "closed, close, subscribe before the callback"},
    {STEPS_CANCEL_IGNORES_QUEUE, "a cancel comes too late and does not see it", "closed and cancel, close"},
    {STEPS_GROUP_UNREF_BY_STORE, "groups are counted by a load and a store", "send, changed_timedwait, close"},
    {STEPS_CORE_UNREF_BY_STORE, "so are cores", "last ends"},
    {STEPS_POST_BROADCAST_BY_STORE, "a post by a load and a store", "send, changed_timedwait, attach, start"},
};

int main(void) {
  static const struct steps_suite suite = {
      .name = "watch_steps",
      .legend =
          "Sequences: of values that own things, of bytes, of many; then with a stale load; then with a weak compare-exchange\n"
          "that fails",
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
