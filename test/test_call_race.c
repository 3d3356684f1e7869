/* SPDX-License-Identifier: MIT
 *
 * Calls under load: replies race with cancels, timeouts, closed channels and loops that end. Messages and replies are boxes, so
 * that each of them has to come to exactly one end. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "box.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const uint64_t millisecond = 1000000;

static books_t messages; /* of the case that runs */
static books_t replies;

static void open_books(void) {
  memset(&messages, 0, sizeof(messages));
  memset(&replies, 0, sizeof(replies));
}

static void close_books(void) {
  books_check(&messages);
  books_check(&replies);
}

static size_t draw(uint64_t* seed, size_t below) {
  *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (size_t) (*seed >> 33) % below;
}

static void spin(size_t turns) {
  static _Atomic(size_t) sink;

  while (turns-- > 0)
    atomic_store_explicit(&sink, turns, memory_order_relaxed);
}

typedef struct ask_s {
  box_t* box;
  uvch_oneshot_sender_t reply;
  int is_note; /* no reply is wanted */
} ask_t;

static void ask_drop(void* item, void* arg) {
  ask_t* ask = item;

  box_drop(&ask->box, arg);
  if (!ask->is_note)
    support_check_eq(uvch_oneshot_sender_close(&ask->reply), 0);
}

static int open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  uvch_mpsc_options_t options;

  memset(&options, 0, sizeof(options));
  options.drop = ask_drop;
  return uvch_mpsc_init_ex(loop, rx, tx, sizeof(ask_t), capacity, &options);
}

/* The cases. */

enum {
  SPIN_CANCELS = 1,     /* a call is cancelled a short while after it was made */
  CALLBACK_CANCELS = 2, /* a callback cancels another call of its loop */
  TIMER_CANCELS = 4,    /* a uv_timer_t cancels some, each millisecond */
  IDLE_CANCELS = 8,     /* a uv_idle_t cancels one in each pass */
  TIMEOUTS = 16,        /* of few milliseconds, which is when the replies come */
  HOLDS = 32,           /* the actor keeps some for a while */
  LOSES = 64,           /* it closes some without a reply */
  CLOSES = 128          /* it closes its channel when half is done */
};

typedef struct race_case_s {
  const char* name;
  size_t capacity;
  size_t loops;
  size_t members; /* callers of each loop */
  size_t threads; /* callers that sleep, with tiny timeouts; some of their messages are no calls */
  unsigned int how;
  size_t count; /* messages of all */
} race_case_t;

static const race_case_t race_cases[] = {
    {"cancel right after", 64, 1, 1, 0, SPIN_CANCELS, 60000},
    {"cancel right after, many", UVCH_UNBOUNDED, 1, 64, 0, SPIN_CANCELS | HOLDS, 150000},
    {"cancel from callbacks", 64, 1, 64, 0, CALLBACK_CANCELS | LOSES, 150000},
    {"cancel from a timer", 64, 1, 64, 0, TIMER_CANCELS | HOLDS, 100000},
    {"cancel in each pass", UVCH_UNBOUNDED, 1, 16, 0, IDLE_CANCELS | LOSES, 60000},
    {"all ways to cancel, two loops", 16, 2, 32, 0, SPIN_CANCELS | CALLBACK_CANCELS | TIMER_CANCELS | HOLDS | LOSES, 150000},
    {"timeouts", UVCH_UNBOUNDED, 1, 500, 0, TIMEOUTS, 100000},
    {"timeouts and cancels, two loops", 64, 2, 200, 0, TIMEOUTS | CALLBACK_CANCELS | LOSES, 100000},
    {"tiny timeouts of threads", 64, 0, 0, 3, LOSES, 60000},
    {"tiny timeouts of threads, unbounded", UVCH_UNBOUNDED, 0, 0, 2, HOLDS, 40000},
    {"capacity 1, two loops", 1, 2, 16, 0, SPIN_CANCELS | CALLBACK_CANCELS | LOSES, 60000},
    {"capacity 1, two loops and threads", 1, 2, 8, 2, SPIN_CANCELS | CALLBACK_CANCELS | HOLDS, 40000},
    {"capacity 3, loops and threads, timeouts", 3, 2, 16, 2, TIMEOUTS | SPIN_CANCELS | LOSES, 40000},
    {"the channel closes", 3, 2, 16, 2, CALLBACK_CANCELS | CLOSES, 20000},
    {"the channel closes, unbounded", UVCH_UNBOUNDED, 2, 64, 2, HOLDS | CLOSES, 40000},
    {"the channel closes under timeouts", 16, 2, 64, 2, TIMEOUTS | SPIN_CANCELS | CLOSES, 40000},
};

/* What became of the calls, by status. */
typedef struct tally_s {
  size_t made;
  size_t replied;
  size_t ended; /* UV_EOF */
  size_t canceled;
  size_t timed_out;
  size_t refused; /* UV_EPIPE, at once or later */
  size_t noted;   /* messages that went in and want no reply */
} tally_t;

static void tally_add(tally_t* sum, const tally_t* part) {
  sum->made += part->made;
  sum->replied += part->replied;
  sum->ended += part->ended;
  sum->canceled += part->canceled;
  sum->timed_out += part->timed_out;
  sum->refused += part->refused;
  sum->noted += part->noted;
}

typedef struct race_s race_t;
typedef struct side_s side_t;

typedef struct member_s {
  uvch_call_t req;
  side_t* side;
  ask_t ask;
  size_t left;
  bool is_out;
  bool is_cancelled;
} member_t;

struct side_s {
  race_t* race;
  uv_loop_t loop;
  uvch_mpsc_sender_t tx;
  member_t* members;
  size_t alive;
  uint64_t seed;
  uv_timer_t timer;
  uv_idle_t idle;
  tally_t tally;
  support_runner_t runner;
};

typedef struct asker_s {
  race_t* race;
  uvch_mpsc_sender_t tx;
  size_t left;
  uint64_t seed;
  tally_t tally;
  uv_thread_t thread;
} asker_t;

#define HELD 1024

typedef struct held_s {
  uvch_oneshot_sender_t reply;
  uint64_t value;
  uint64_t due;
} held_t;

struct race_s {
  const race_case_t* params;
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uv_timer_t timer;
  uint64_t seed;
  size_t received;
  size_t close_after;
  bool is_closed;
  held_t held[HELD];
  size_t held_count;
  size_t answered; /* as the actor was told */
  size_t dropped;
  size_t back;
  size_t lost;
  side_t sides[2];
  asker_t askers[4];
  support_result_t result;
};

/* The actor. */

/* Threads that wait have no drop function, so that a late reply to one of them comes back. */
static void give_answer(race_t* race, uvch_oneshot_sender_t* tx, uint64_t value) {
  box_t* box = box_make(&replies, value + 1);
  bool may_come_back = race->params->threads > 0;
  int result;

  if (draw(&race->seed, 2) == 0) {
    result = uvch_oneshot_send(tx, &box);
    support_check(result == 0 || result == UV_EPIPE);
  } else {
    result = uvch_reply(tx, &box);
    support_check(result == 0 || result == 1 || (may_come_back && result == UV_EPIPE));
  }
  race->answered += result == 0;
  race->dropped += result == 1;
  race->back += result == UV_EPIPE;
  if (result == UV_EPIPE)
    box_keep(box);
}

static void answer_held(race_t* race, size_t i) {
  held_t held = race->held[i];

  race->held[i] = race->held[--race->held_count];
  give_answer(race, &held.reply, held.value);
}

static void answer_due(race_t* race, uint64_t now) {
  size_t i = 0;

  while (i < race->held_count) {
    if (race->held[i].due <= now)
      answer_held(race, i);
    else
      i += 1;
  }
}

static void race_end(race_t* race) {
  race->is_closed = true;
  support_close(&race->rx);
}

static void race_on_timer(uv_timer_t* timer) {
  race_t* race = timer->data;

  answer_due(race, uv_hrtime());
  if (race->is_closed && race->held_count == 0)
    uv_close((uv_handle_t*) timer, NULL);
}

static void hold(race_t* race, uvch_oneshot_sender_t reply, uint64_t value) {
  uint64_t length = (race->params->how & TIMEOUTS) != 0 ? millisecond / 2 + draw(&race->seed, 3000000) : draw(&race->seed, 50000);

  if (race->held_count == HELD)
    answer_held(race, draw(&race->seed, HELD));
  race->held[race->held_count++] = (held_t){reply, value, uv_hrtime() + length};
}

static void serve(race_t* race, ask_t* ask) {
  unsigned int how = race->params->how;
  uint64_t value = box_open(ask->box);

  race->received += 1;
  if (ask->is_note)
    return;
  if ((how & LOSES) != 0 && draw(&race->seed, 8) == 0) {
    support_check_eq(uvch_oneshot_sender_close(&ask->reply), 0);
    race->lost += 1;
  } else if ((how & TIMEOUTS) != 0 || ((how & HOLDS) != 0 && draw(&race->seed, 3) == 0)) {
    hold(race, ask->reply, value);
  } else {
    give_answer(race, &ask->reply, value);
  }
  if ((how & HOLDS) != 0 && race->held_count > 0 && draw(&race->seed, 4) == 0)
    answer_held(race, draw(&race->seed, race->held_count));
}

static void race_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  race_t* race = rx->data;

  if (status != 0) {
    support_check_eq(status, UV_EOF);
    race_end(race);
    return;
  }
  serve(race, item);
  if (race->received == race->close_after)
    race_end(race);
}

/* Callers on a loop. */

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uvch_owns_handle(handle))
    uv_close(handle, NULL);
}

static void member_end(member_t* m) {
  side_t* side = m->side;

  m->left = 0;
  side->alive -= 1;
  if (side->alive == 0) {
    support_expect_eq(&side->race->result, uvch_mpsc_sender_close(&side->tx), 0);
    uv_walk(&side->loop, close_uv, NULL);
  }
}

/* The outcome of a cancel tells the status. */
static void member_cancel(member_t* m) {
  int result;

  if (!m->is_out)
    return;
  result = uvch_cancel((uvch_req_t*) &m->req);
  support_expect(&m->side->race->result, result == 0 || result == UV_EBUSY);
  support_expect(&m->side->race->result, result != 0 || !m->is_cancelled);
  m->is_cancelled = m->is_cancelled || result == 0;
}

static void cancel_one(side_t* side) {
  member_cancel(&side->members[draw(&side->seed, side->race->params->members)]);
}

static void member_on_reply(uvch_call_t* req, int status, void* reply);

static void member_ask(member_t* m) {
  side_t* side = m->side;
  unsigned int how = side->race->params->how;
  uvch_call_options_t options;
  int result;

  if (m->left == 0) {
    member_end(m);
    return;
  }
  memset(&options, 0, sizeof(options));
  options.timeout = (how & TIMEOUTS) != 0 && draw(&side->seed, 8) > 0 ? 1 + draw(&side->seed, 3000000) : 0;
  options.drop = box_drop;
  m->left -= 1;
  side->tally.made += 1;
  m->is_cancelled = false;
  m->ask.box = box_make(&messages, m->left);
  m->req.data = m;
  result = uvch_call_ex(&side->loop, &m->req, &side->tx, &m->ask, &m->ask.reply, sizeof(box_t*), &options, member_on_reply);
  if (result != 0) {
    support_expect_eq(&side->race->result, result, UV_EPIPE);
    side->tally.refused += 1;
    box_keep(m->ask.box);
    member_end(m);
    return;
  }
  m->is_out = true;
  if ((how & SPIN_CANCELS) != 0 && draw(&side->seed, 2) == 0) {
    spin(draw(&side->seed, 2000));
    member_cancel(m);
  }
}

static void member_note(member_t* m, int status, void* reply) {
  support_result_t* result = &m->side->race->result;
  tally_t* tally = &m->side->tally;
  box_t* box;

  support_expect_eq(result, status == UV_ECANCELED, m->is_cancelled);
  support_expect_eq(result, reply != NULL, status == 0);
  if (status == 0) {
    memcpy(&box, reply, sizeof(box));
    support_expect_eq(result, box_open(box), m->left + 1);
  }
  support_expect(result, m->req.is_sent == (status == 0 || status == UV_EOF) || status == UV_ECANCELED || status == UV_ETIMEDOUT);
  if (!m->req.is_sent)
    box_keep(m->ask.box);
  tally->replied += status == 0;
  tally->ended += status == UV_EOF;
  tally->canceled += status == UV_ECANCELED;
  tally->timed_out += status == UV_ETIMEDOUT;
  tally->refused += status == UV_EPIPE;
}

static void member_on_reply(uvch_call_t* req, int status, void* reply) {
  member_t* m = req->data;
  side_t* side = m->side;

  support_expect(&side->race->result, m->is_out);
  m->is_out = false;
  member_note(m, status, reply);
  if (status == UV_EPIPE)
    member_end(m);
  else
    member_ask(m);
  if ((side->race->params->how & CALLBACK_CANCELS) != 0 && side->alive > 0)
    cancel_one(side);
}

static void side_on_timer(uv_timer_t* timer) {
  side_t* side = timer->data;
  size_t i;

  for (i = 0; i < side->race->params->members; i++) {
    if (draw(&side->seed, 2) == 0)
      member_cancel(&side->members[i]);
  }
}

static void side_on_idle(uv_idle_t* idle) {
  cancel_one(idle->data);
}

static void side_start(side_t* side, race_t* race, const uvch_mpsc_sender_t* tx, size_t count) {
  const race_case_t* params = race->params;
  size_t i;

  side->race = race;
  side->alive = params->members;
  side->seed = (uint64_t) (side - race->sides) + 1;
  support_loop_init(&side->loop);
  ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &side->tx), 0);
  side->members = calloc(params->members, sizeof(*side->members));
  ck_assert_ptr_nonnull(side->members);
  if ((params->how & TIMER_CANCELS) != 0) {
    ck_assert_int_eq(uv_timer_init(&side->loop, &side->timer), 0);
    side->timer.data = side;
    ck_assert_int_eq(uv_timer_start(&side->timer, side_on_timer, 1, 1), 0);
  }
  if ((params->how & IDLE_CANCELS) != 0) {
    ck_assert_int_eq(uv_idle_init(&side->loop, &side->idle), 0);
    side->idle.data = side;
    ck_assert_int_eq(uv_idle_start(&side->idle, side_on_idle), 0);
  }
  for (i = 0; i < params->members; i++) {
    side->members[i].side = side;
    side->members[i].left = 1 + count / params->members;
    member_ask(&side->members[i]);
  }
  support_runner_start(&side->runner, &side->loop);
}

static void side_join(side_t* side) {
  support_runner_join(&side->runner);
  support_loop_close(&side->loop);
  free(side->members);
}

/* Callers that are threads. */

/* Whether the channel is still open. */
static bool asker_send(asker_t* a, ask_t* ask) {
  int result = uvch_mpsc_send_timedwait(&a->tx, ask, draw(&a->seed, 50000));

  support_expect(&a->race->result, result == 0 || result == UV_ETIMEDOUT || result == UV_EPIPE);
  if (result != 0)
    box_keep(ask->box);
  a->tally.noted += result == 0;
  a->tally.timed_out += result == UV_ETIMEDOUT;
  a->tally.refused += result == UV_EPIPE;
  return result != UV_EPIPE;
}

static bool asker_ask(asker_t* a, ask_t* ask, uint64_t value) {
  support_result_t* result = &a->race->result;
  int is_sent = 0;
  box_t* box = NULL;
  int err;

  if (draw(&a->seed, 8) == 0)
    err = uvch_call_wait(&a->tx, ask, &ask->reply, &box, sizeof(box));
  else
    err = uvch_call_timedwait(&a->tx, ask, &ask->reply, &box, sizeof(box), draw(&a->seed, 40000), &is_sent);
  if (err == 0)
    support_expect_eq(result, box_open(box), value + 1);
  else
    support_expect(result, err == UV_EOF || err == UV_ETIMEDOUT || err == UV_EPIPE);
  if (err == UV_EPIPE || (err == UV_ETIMEDOUT && !is_sent))
    box_keep(ask->box);
  a->tally.replied += err == 0;
  a->tally.ended += err == UV_EOF;
  a->tally.timed_out += err == UV_ETIMEDOUT;
  a->tally.refused += err == UV_EPIPE;
  return err != UV_EPIPE;
}

static void asker_work(void* arg) {
  asker_t* a = arg;
  bool open = true;
  ask_t ask;

  for (; a->left > 0 && open; a->left--) {
    memset(&ask, 0, sizeof(ask));
    ask.is_note = draw(&a->seed, 4) == 0;
    ask.box = box_make(&messages, a->left);
    a->tally.made += 1;
    open = ask.is_note ? asker_send(a, &ask) : asker_ask(a, &ask, a->left);
  }
  support_expect_eq(&a->race->result, uvch_mpsc_sender_close(&a->tx), 0);
}

static void race_check(race_t* race, const tally_t* sum) {
  size_t back = atomic_load(&messages.back);

  support_result_check(&race->result);
  ck_assert_uint_eq(race->held_count, 0);
  ck_assert_uint_eq(sum->made, sum->replied + sum->ended + sum->canceled + sum->timed_out + sum->refused + sum->noted);
  ck_assert_uint_eq(sum->made, atomic_load(&messages.made));
  ck_assert_uint_eq(race->received, atomic_load(&messages.delivered));
  ck_assert_uint_ge(back, sum->refused);
  ck_assert_uint_le(back, sum->refused + sum->canceled + sum->timed_out);
  ck_assert_uint_eq(sum->replied, race->answered); /* what was sent with success has come */
  ck_assert_uint_eq(atomic_load(&replies.delivered), race->answered);
  ck_assert_uint_eq(atomic_load(&replies.dropped), race->dropped);
  ck_assert_uint_eq(atomic_load(&replies.back), race->back);
  ck_assert_uint_le(sum->ended, race->lost + atomic_load(&messages.dropped));
  if ((race->params->how & CLOSES) == 0)
    ck_assert_uint_eq(sum->refused + atomic_load(&messages.dropped), 0);
}

START_TEST(each_call_has_one_outcome) {
  const race_case_t* params = &race_cases[_i];
  size_t count = support_scale(params->count) / (params->loops + params->threads);
  static race_t race;
  uvch_mpsc_sender_t tx;
  tally_t sum;
  size_t i;

  memset(&race, 0, sizeof(race));
  memset(&sum, 0, sizeof(sum));
  race.params = params;
  race.seed = (uint64_t) _i;
  race.close_after = (params->how & CLOSES) != 0 ? 1 + support_scale(params->count) / 4 : SIZE_MAX;
  support_loop_init(&race.loop);
  ck_assert_int_eq(open_channel(&race.loop, &race.rx, &tx, params->capacity), 0);
  race.rx.data = &race;
  ck_assert_int_eq(uvch_mpsc_recv_start(&race.rx, race_on_recv), 0);
  ck_assert_int_eq(uv_timer_init(&race.loop, &race.timer), 0);
  race.timer.data = &race;
  ck_assert_int_eq(uv_timer_start(&race.timer, race_on_timer, 1, 1), 0);
  for (i = 0; i < params->loops; i++)
    side_start(&race.sides[i], &race, &tx, count);
  for (i = 0; i < params->threads; i++) {
    race.askers[i].race = &race;
    race.askers[i].left = 1 + count;
    race.askers[i].seed = i + 10;
    ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &race.askers[i].tx), 0);
    support_spawn(&race.askers[i].thread, asker_work, &race.askers[i]);
  }
  support_drop_sender(&tx);
  support_loop_end(&race.loop);
  for (i = 0; i < params->loops; i++) {
    side_join(&race.sides[i]);
    tally_add(&sum, &race.sides[i].tally);
  }
  for (i = 0; i < params->threads; i++) {
    support_join(&race.askers[i].thread);
    tally_add(&sum, &race.askers[i].tally);
  }
  race_check(&race, &sum);
}
END_TEST

/* One reply at a time, from a thread that sends it at the very moment at which the caller gives up. Two threads, one gate. */

typedef struct duel_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_oneshot_sender_t reply;
  _Atomic(size_t) round; /* of the reply that lies there */
  _Atomic(size_t) over;
  size_t count;
  bool drops; /* a late reply goes to the drop function */
  size_t answered;
  size_t late;
  size_t lost;
  support_result_t result;
  uv_thread_t thread;
} duel_t;

static void duel_work(void* arg) {
  duel_t* duel = arg;
  uint64_t seed = 5;
  size_t round;
  box_t* box;
  int result;

  for (round = 1; round <= duel->count; round++) {
    support_until(atomic_load_explicit(&duel->round, memory_order_acquire) == round);
    spin(draw(&seed, 200));
    if (draw(&seed, 16) == 0) {
      support_expect_eq(&duel->result, uvch_oneshot_sender_close(&duel->reply), 0);
      duel->lost += 1;
    } else {
      box = box_make(&replies, round);
      result = duel->drops ? uvch_reply(&duel->reply, &box) : uvch_oneshot_send(&duel->reply, &box);
      support_expect(&duel->result, result == 0 || result == (duel->drops ? 1 : UV_EPIPE));
      if (result < 0)
        box_keep(box);
      duel->answered += result == 0;
      duel->late += result != 0;
    }
    atomic_store_explicit(&duel->over, round, memory_order_release);
  }
}

typedef struct duelist_s {
  uvch_call_t req;
  ask_t ask;
  int calls;
  int status;
  uint64_t value;
} duelist_t;

static void duel_on_reply(uvch_call_t* req, int status, void* reply) {
  duelist_t* d = req->data;
  box_t* box;

  d->calls += 1;
  d->status = status;
  if (status == 0) {
    memcpy(&box, reply, sizeof(box));
    d->value = box_open(box);
  }
}

/* Whether the call was cancelled. */
static bool duel_round(duel_t* duel, uv_loop_t* loop, size_t round, uint64_t* seed) {
  uvch_call_options_t options;
  duelist_t d;
  ask_t got;
  int result;

  memset(&options, 0, sizeof(options));
  memset(&d, 0, sizeof(d));
  options.drop = box_drop;
  options.timeout = round % 2 == 0 ? 0 : UINT64_C(3600000000000);
  d.req.data = &d;
  d.ask.box = box_make(&messages, round);
  support_check_eq(uvch_call_ex(loop, &d.req, &duel->tx, &d.ask, &d.ask.reply, sizeof(box_t*), &options, duel_on_reply), 0);
  support_check_eq(uvch_mpsc_try_recv(&duel->rx, &got), 0);
  support_check_eq(box_open(got.box), round);
  duel->reply = got.reply;
  atomic_store_explicit(&duel->round, round, memory_order_release);
  spin(draw(seed, 200));
  result = uvch_cancel((uvch_req_t*) &d.req);
  support_check(result == 0 || result == UV_EBUSY);
  support_check_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
  support_check_eq(d.calls, 1);
  support_check_eq(d.req.is_sent, 1);
  support_check_eq(d.status == UV_ECANCELED, result == 0);
  support_check(d.status == UV_ECANCELED || d.status == UV_EOF || (d.status == 0 && d.value == round));
  support_until(atomic_load_explicit(&duel->over, memory_order_acquire) == round);
  return result == 0;
}

START_TEST(a_reply_and_a_cancel_at_the_same_moment_have_one_outcome) {
  static duel_t duel;
  uint64_t seed = 6;
  size_t cancelled = 0;
  uv_loop_t loop;
  size_t round;

  memset(&duel, 0, sizeof(duel));
  duel.count = support_scale(50000);
  duel.drops = _i == 0;
  support_loop_init(&loop);
  ck_assert_int_eq(open_channel(_i == 0 ? &loop : NULL, &duel.rx, &duel.tx, 1), 0);
  support_spawn(&duel.thread, duel_work, &duel);
  for (round = 1; round <= duel.count; round++)
    cancelled += duel_round(&duel, &loop, round, &seed);
  support_join(&duel.thread);
  support_result_check(&duel.result);
  ck_assert_uint_eq(duel.answered + duel.late + duel.lost, duel.count);
  ck_assert_uint_eq(duel.answered, atomic_load(&replies.delivered));
  ck_assert_uint_eq(duel.late, atomic_load(&replies.dropped) + atomic_load(&replies.back));
  ck_assert_uint_ge(cancelled, duel.late);
  ck_assert_uint_le(cancelled, duel.late + duel.lost);
  support_drop_sender(&duel.tx);
  support_close(&duel.rx);
  support_loop_end(&loop);
}
END_TEST

/* A channel that closes at the moment at which a call begins to wait for room in it. */

typedef struct gate_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  _Atomic(size_t) round;
  _Atomic(size_t) over;
  size_t count;
  bool shuts; /* the receiver is not closed but shut down */
  support_result_t result;
  uv_thread_t thread;
} gate_t;

static void gate_work(void* arg) {
  gate_t* gate = arg;
  uint64_t seed = 11;
  size_t round;
  int result;

  for (round = 1; round <= gate->count; round++) {
    support_until(atomic_load_explicit(&gate->round, memory_order_acquire) == round);
    spin(draw(&seed, 300));
    result = gate->shuts ? uvch_mpsc_recv_shutdown(&gate->rx) : uvch_close((uvch_handle_t*) &gate->rx, NULL);
    support_expect_eq(&gate->result, result, 0);
    atomic_store_explicit(&gate->over, round, memory_order_release);
  }
}

static void gate_round(gate_t* gate, uv_loop_t* loop, size_t round, uint64_t* seed) {
  uvch_call_options_t options;
  ask_t note;
  duelist_t d;
  int result;

  memset(&options, 0, sizeof(options));
  memset(&note, 0, sizeof(note));
  memset(&d, 0, sizeof(d));
  options.drop = box_drop;
  options.timeout = round % 2 == 0 ? 0 : UINT64_C(3600000000000);
  note.is_note = 1;
  note.box = box_make(&messages, 0);
  d.req.data = &d;
  d.ask.box = box_make(&messages, round);
  support_check_eq(open_channel(NULL, &gate->rx, &gate->tx, 1), 0);
  support_check_eq(uvch_mpsc_try_send(&gate->tx, &note), 0);
  atomic_store_explicit(&gate->round, round, memory_order_release);
  spin(draw(seed, 300));
  result = uvch_call_ex(loop, &d.req, &gate->tx, &d.ask, &d.ask.reply, sizeof(box_t*), &options, duel_on_reply);
  support_check(result == 0 || result == UV_EPIPE);
  support_check_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
  support_check_eq(d.calls, result == 0);
  support_check(result != 0 || (d.status == UV_EPIPE && d.req.is_sent == 0));
  support_check_eq(uvch_oneshot_sender_close(&d.ask.reply), UV_EBADF);
  box_keep(d.ask.box);
  support_until(atomic_load_explicit(&gate->over, memory_order_acquire) == round);
  support_check_eq(uvch_mpsc_sender_strong_count(&gate->tx), 1);
  if (gate->shuts)
    support_close(&gate->rx);
  support_drop_sender(&gate->tx);
}

START_TEST(a_close_and_a_call_that_begins_to_wait_have_one_outcome) {
  static gate_t gate;
  uint64_t seed = 12;
  uv_loop_t loop;
  size_t round;

  memset(&gate, 0, sizeof(gate));
  gate.count = support_scale(10000);
  gate.shuts = _i == 1;
  support_loop_init(&loop);
  support_spawn(&gate.thread, gate_work, &gate);
  for (round = 1; round <= gate.count; round++)
    gate_round(&gate, &loop, round, &seed);
  support_join(&gate.thread);
  support_result_check(&gate.result);
  support_loop_end(&loop);
}
END_TEST

/* Compare and swap: callers on two loops and on two threads count up a number that the actor has. No step is lost or made twice. */

#define LOOPS 2
#define SLOTS 8 /* callers of each loop */
#define WORKERS 2

typedef struct swap_s {
  uint64_t expected;
  uint64_t wanted;
  uvch_oneshot_sender_t reply;
} swap_t;

typedef struct cell_s cell_t;

typedef struct counter_s {
  uvch_call_t req;
  swap_t swap;
  uv_loop_t* loop;
  cell_t* cell;
  uvch_mpsc_sender_t tx;
  size_t left;
  uv_thread_t thread;
} counter_t;

struct cell_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uint64_t value;
  size_t swaps;
  uv_loop_t loops[LOOPS];
  support_runner_t runners[LOOPS];
  counter_t counters[LOOPS * SLOTS];
  counter_t workers[WORKERS];
  _Atomic(unsigned char) * steps; /* which values somebody has replaced */
  support_result_t result;
};

static void cell_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  cell_t* cell = rx->data;
  swap_t* swap = item;
  uint64_t found = cell->value;
  box_t* box;

  if (status != 0) {
    support_close(rx);
    return;
  }
  if (found == swap->expected) {
    cell->value = swap->wanted;
    cell->swaps += 1;
  }
  box = box_make(&replies, found);
  support_check_eq(uvch_reply(&swap->reply, &box), 0);
}

/* Looks at a reply, and sets the next try. Whether there is one. */
static bool counter_step(counter_t* c, box_t* box) {
  uint64_t found = box_open(box);

  if (found == c->swap.expected) {
    support_expect_eq(&c->cell->result, atomic_exchange(&c->cell->steps[found], 1), 0);
    c->left -= 1;
    found += 1;
  }
  c->swap.expected = found;
  c->swap.wanted = found + 1;
  return c->left > 0;
}

static void counter_on_reply(uvch_call_t* req, int status, void* reply);

static void counter_ask(counter_t* c) {
  uvch_call_options_t options;

  memset(&options, 0, sizeof(options));
  options.drop = box_drop;
  c->req.data = c;
  support_expect_eq(&c->cell->result,
                    uvch_call_ex(c->loop, &c->req, &c->tx, &c->swap, &c->swap.reply, sizeof(box_t*), &options, counter_on_reply), 0);
}

static void counter_on_reply(uvch_call_t* req, int status, void* reply) {
  counter_t* c = req->data;
  box_t* box;

  if (!support_expect_eq(&c->cell->result, status, 0))
    return;
  memcpy(&box, reply, sizeof(box));
  if (counter_step(c, box))
    counter_ask(c);
  else
    support_expect_eq(&c->cell->result, uvch_mpsc_sender_close(&c->tx), 0);
}

static void counter_work(void* arg) {
  counter_t* c = arg;
  box_t* box;

  do {
    if (!support_expect_eq(&c->cell->result, uvch_call_wait(&c->tx, &c->swap, &c->swap.reply, &box, sizeof(box)), 0))
      return;
  } while (counter_step(c, box));
  support_expect_eq(&c->cell->result, uvch_mpsc_sender_close(&c->tx), 0);
}

static void counter_init(counter_t* c, cell_t* cell, const uvch_mpsc_sender_t* tx, size_t count) {
  c->cell = cell;
  c->left = count;
  c->swap.wanted = 1;
  ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &c->tx), 0);
}

START_TEST(compare_and_swap_through_an_actor_loses_no_step) {
  static const size_t capacities[] = {1, 16, UVCH_UNBOUNDED};
  size_t count = support_scale(300);
  size_t all = (LOOPS * SLOTS + WORKERS) * count;
  static cell_t cell;
  uvch_mpsc_sender_t tx;
  size_t i;

  memset(&cell, 0, sizeof(cell));
  cell.steps = calloc(all, sizeof(*cell.steps));
  ck_assert_ptr_nonnull(cell.steps);
  support_loop_init(&cell.loop);
  ck_assert_int_eq(uvch_mpsc_init(&cell.loop, &cell.rx, &tx, sizeof(swap_t), capacities[_i]), 0);
  cell.rx.data = &cell;
  ck_assert_int_eq(uvch_mpsc_recv_start(&cell.rx, cell_on_recv), 0);
  for (i = 0; i < LOOPS; i++)
    support_loop_init(&cell.loops[i]);
  for (i = 0; i < LOOPS * SLOTS; i++) {
    cell.counters[i].loop = &cell.loops[i % LOOPS];
    counter_init(&cell.counters[i], &cell, &tx, count);
    counter_ask(&cell.counters[i]);
  }
  for (i = 0; i < LOOPS; i++)
    support_runner_start(&cell.runners[i], &cell.loops[i]);
  for (i = 0; i < WORKERS; i++) {
    counter_init(&cell.workers[i], &cell, &tx, count);
    support_spawn(&cell.workers[i].thread, counter_work, &cell.workers[i]);
  }
  support_drop_sender(&tx);
  support_loop_end(&cell.loop);
  for (i = 0; i < LOOPS; i++) {
    support_runner_join(&cell.runners[i]);
    support_loop_close(&cell.loops[i]);
  }
  for (i = 0; i < WORKERS; i++)
    support_join(&cell.workers[i].thread);
  support_result_check(&cell.result);
  ck_assert_uint_eq(cell.value, all);
  ck_assert_uint_eq(cell.swaps, all);
  free(cell.steps);
}
END_TEST

/* Loops of callers that end while the actor, on a loop of its own, replies to them. */

#define GUESTS 24

typedef struct inn_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uint64_t seed;
  uvch_oneshot_sender_t held[GUESTS];
  size_t held_count;
  size_t answered;
  support_runner_t runner;
  support_result_t result;
} inn_t;

static void inn_answer(inn_t* inn, uvch_oneshot_sender_t* tx) {
  box_t* box = box_make(&replies, 0);
  int result = uvch_reply(tx, &box);

  if (support_expect(&inn->result, result == 0 || result == 1))
    inn->answered += result == 0;
  else
    box_keep(box);
}

/* Some wait until others have come after them, perhaps from the next loop. */
static void inn_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  inn_t* inn = rx->data;
  ask_t* ask = item;
  size_t i;

  if (status != 0) {
    for (i = 0; i < inn->held_count; i++)
      inn_answer(inn, &inn->held[i]);
    support_expect_eq(&inn->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
    return;
  }
  box_open(ask->box);
  if (draw(&inn->seed, 2) == 0) {
    inn_answer(inn, &ask->reply);
    return;
  }
  i = inn->held_count;
  if (i == GUESTS) {
    i = draw(&inn->seed, GUESTS);
    inn_answer(inn, &inn->held[i]);
  } else {
    inn->held_count += 1;
  }
  inn->held[i] = ask->reply;
}

typedef struct guest_s {
  uvch_call_t req;
  ask_t ask;
  size_t calls;
  int status;
} guest_t;

static void guest_on_reply(uvch_call_t* req, int status, void* reply) {
  guest_t* guest = req->data;
  box_t* box;

  guest->calls += 1;
  guest->status = status;
  if (status == 0) {
    memcpy(&box, reply, sizeof(box));
    box_open(box);
  }
  if (!guest->req.is_sent)
    box_keep(guest->ask.box);
}

static void guests_call(uv_loop_t* loop, guest_t* guests, const uvch_mpsc_sender_t* tx) {
  uvch_call_options_t options;
  size_t i;

  memset(guests, 0, GUESTS * sizeof(*guests));
  memset(&options, 0, sizeof(options));
  options.drop = box_drop;
  for (i = 0; i < GUESTS; i++) {
    options.timeout = i % 4 == 0 ? millisecond : i % 4 == 1 ? 3600000 * millisecond : 0;
    guests[i].req.data = &guests[i];
    guests[i].ask.box = box_make(&messages, i);
    support_check_eq(uvch_call_ex(loop, &guests[i].req, tx, &guests[i].ask, &guests[i].ask.reply, sizeof(box_t*), &options,
                                  guest_on_reply),
                     0);
  }
}

static void inn_open(inn_t* inn, uvch_mpsc_sender_t* tx, size_t capacity) {
  memset(inn, 0, sizeof(*inn));
  support_loop_init(&inn->loop);
  ck_assert_int_eq(open_channel(&inn->loop, &inn->rx, tx, capacity), 0);
  inn->rx.data = inn;
  ck_assert_int_eq(uvch_mpsc_recv_start(&inn->rx, inn_on_recv), 0);
  support_runner_start(&inn->runner, &inn->loop);
}

static void inn_close(inn_t* inn, uvch_mpsc_sender_t* tx) {
  support_drop_sender(tx);
  support_runner_join(&inn->runner);
  support_loop_close(&inn->loop);
  support_result_check(&inn->result);
}

START_TEST(loops_stop_while_replies_are_on_their_way) {
  size_t rounds = support_scale(2000);
  guest_t guests[GUESTS];
  uvch_mpsc_sender_t tx;
  uint64_t seed = 8;
  uvch_inbox_t inbox;
  uv_loop_t loop;
  static inn_t inn;
  size_t round;
  size_t i;

  inn_open(&inn, &tx, _i == 0 ? 4 : UVCH_UNBOUNDED);
  for (round = 0; round < rounds; round++) {
    support_loop_init(&loop);
    support_check_eq(uvch_inbox_init(&loop, &inbox), 0);
    guests_call(&loop, guests, &tx);
    for (i = draw(&seed, 4); i > 0; i--)
      uv_run(&loop, UV_RUN_NOWAIT);
    support_check_eq(uvch_inbox_stop(&inbox), 0);
    support_loop_end(&loop);
    memset(&loop, 0xdd, sizeof(loop));
    support_check_eq(uvch_inbox_close(&inbox), 0);
    for (i = 0; i < GUESTS; i++) {
      support_check_eq(guests[i].calls, 1);
      support_check(guests[i].status == 0 || guests[i].status == UV_ECANCELED || guests[i].status == UV_ETIMEDOUT);
    }
    memset(guests, 0xdd, sizeof(guests));
  }
  inn_close(&inn, &tx);
  ck_assert_uint_eq(inn.answered, atomic_load(&replies.delivered));
}
END_TEST

static void close_every_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle))
    uv_close(handle, NULL);
}

static void on_no_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) item;
  support_check_eq(status, UV_EOF);
  support_close(rx);
}

/* A last use of the loop's memory takes what the library had to keep. */
static void sweep(uv_loop_t* loop) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  int i;

  support_loop_init(loop);
  ck_assert_int_eq(uvch_mpsc_init(loop, &rx, &tx, 0, 1), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, on_no_message), 0);
  for (i = 0; i < 10; i++)
    uv_run(loop, UV_RUN_NOWAIT);
  support_drop_sender(&tx);
  support_loop_end(loop);
}

/* The messages of calls that wait for room stay the channel's to take, so there is always room here. */
START_TEST(a_program_closes_the_librarys_handles_while_replies_are_on_their_way) {
  size_t rounds = support_scale(1000);
  guest_t* guests = calloc(rounds * GUESTS, sizeof(*guests)); /* as no callback tells that they may be used again */
  uvch_mpsc_sender_t tx;
  uint64_t seed = 9;
  uv_loop_t loop;
  static inn_t inn;
  size_t round;
  size_t i;

  ck_assert_ptr_nonnull(guests);
  inn_open(&inn, &tx, UVCH_UNBOUNDED);
  for (round = 0; round < rounds; round++) {
    support_loop_init(&loop);
    guests_call(&loop, &guests[round * GUESTS], &tx);
    for (i = draw(&seed, 4); i > 0; i--)
      uv_run(&loop, UV_RUN_NOWAIT);
    uv_walk(&loop, close_every_uv, NULL);
    support_loop_end(&loop);
  }
  inn_close(&inn, &tx);
  sweep(&loop);
  for (i = 0; i < rounds * GUESTS; i++)
    support_check(guests[i].calls <= 1);
  free(guests);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("call_race");
  TCase* races = support_case(suite, "races");
  TCase* duels = support_case(suite, "duels");
  TCase* swaps = support_case(suite, "swaps");
  TCase* ends = support_case(suite, "ends");

  tcase_add_checked_fixture(races, open_books, close_books);
  tcase_add_checked_fixture(duels, open_books, close_books);
  tcase_add_checked_fixture(swaps, open_books, close_books);
  tcase_add_checked_fixture(ends, open_books, close_books);
  tcase_add_loop_test(races, each_call_has_one_outcome, 0, (int) COUNT(race_cases));
  tcase_add_loop_test(duels, a_reply_and_a_cancel_at_the_same_moment_have_one_outcome, 0, 2);
  tcase_add_loop_test(duels, a_close_and_a_call_that_begins_to_wait_have_one_outcome, 0, 2);
  tcase_add_loop_test(swaps, compare_and_swap_through_an_actor_loses_no_step, 0, 3);
  tcase_add_loop_test(ends, loops_stop_while_replies_are_on_their_way, 0, 2);
  tcase_add_test(ends, a_program_closes_the_librarys_handles_while_replies_are_on_their_way);
  return support_main(suite);
}
