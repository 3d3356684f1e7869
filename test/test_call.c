/* SPDX-License-Identifier: MIT
 *
 * Calls: a message, and its reply. What comes back, what does not, what a callback may do, and what is refused. Most of it on
 * one thread, where each step can be looked at; the races are in test_call_race.c. */
#include "call_support.h"

/* Replies. */

START_TEST(a_reply_comes_once_and_never_from_inside_the_call) {
  caller_t c;
  world_t w;

  world_init(&w, _i, 4);
  actor_start(&w.actor, ANSWER);
  call(&w.here, &c, &w.actor, 7);
  world_until(&w, c.calls > 0);
  world_turns(&w);
  check_reply(&c);
  world_end(&w);
  ck_assert_int_eq(c.calls, 1);
}
END_TEST

START_TEST(a_reply_sent_before_the_loop_runs_comes_when_it_runs) {
  actor_t actor;
  uv_loop_t loop;
  caller_t c;

  support_loop_init(&loop);
  actor_open(&actor, NULL, 4);
  actor.manner = ANSWER;
  call(&loop, &c, &actor, 7);
  actor_turn(&actor);
  check_waits(&c);
  support_loop_run(&loop);
  check_reply(&c);
  actor_close(&actor);
  support_loop_end(&loop);
}
END_TEST

/* A thread that replies, if told so once another one sleeps in its loop. */
typedef struct helper_s {
  uvch_oneshot_sender_t reply;
  uint64_t value;
  long sleeper;
  bool gives_up;
  support_result_t result;
  uv_thread_t thread;
} helper_t;

static void helper_work(void* arg) {
  helper_t* h = arg;

  if (h->sleeper != 0)
    support_until_asleep(h->sleeper);
  if (h->gives_up)
    support_expect_eq(&h->result, uvch_oneshot_sender_close(&h->reply), 0);
  else
    support_expect_eq(&h->result, answer(&h->reply, h->value), 0);
}

START_TEST(a_reply_comes_later_from_another_thread) {
  actor_t actor;
  uv_loop_t loop;
  helper_t h;
  caller_t c;

  memset(&h, 0, sizeof(h));
  support_loop_init(&loop);
  actor_open(&actor, NULL, 4);
  actor.manner = KEEP;
  call(&loop, &c, &actor, 7);
  actor_turn(&actor);
  h.reply = actor.kept[0];
  h.value = 7;
  h.sleeper = _i % 2 == 1 ? support_thread_number() : 0;
  h.gives_up = _i / 2 == 1;
  support_spawn(&h.thread, helper_work, &h);
  support_loop_run(&loop);
  support_join(&h.thread);
  support_result_check(&h.result);
  if (h.gives_up)
    check_status(&c, UV_EOF, 1);
  else
    check_reply(&c);
  actor_close(&actor);
  support_loop_end(&loop);
}
END_TEST

START_TEST(replies_may_come_in_another_order_than_the_calls) {
  caller_t c[8];
  world_t w;
  size_t i;

  world_init(&w, _i, 4);
  actor_start(&w.actor, KEEP);
  for (i = 0; i < COUNT(c); i++)
    call(&w.here, &c[i], &w.actor, i);
  world_until(&w, w.actor.kept_count == COUNT(c));
  actor_check_got(&w.actor, COUNT(c));
  for (i = COUNT(c); i-- > 0;) {
    check_waits(&c[i]);
    ck_assert_int_eq(answer(&w.actor.kept[i], w.actor.values[i]), 0);
    world_until(&w, c[i].calls > 0);
    check_reply(&c[i]);
  }
  world_end(&w);
}
END_TEST

typedef struct self_s {
  uv_loop_t loop;
  actor_t actor;
  caller_t inner;
  uvch_oneshot_sender_t outer;
} self_t;

/* A question of 1 is answered once the actor has asked itself for 0. */
static void self_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  self_t* self = (self_t*) rx->loop->data;
  ask_t* ask = item;

  support_check_eq(status, 0);
  if (ask->value == 1) {
    self->outer = ask->reply;
    call(&self->loop, &self->inner, &self->actor, 0);
  } else {
    support_check_eq(answer(&ask->reply, 0), 0);
    support_check_eq(answer(&self->outer, 1), 0);
  }
}

START_TEST(an_actor_may_call_itself) {
  self_t self;
  caller_t c;

  support_loop_init(&self.loop);
  self.loop.data = &self;
  actor_open(&self.actor, &self.loop, 1);
  ck_assert_int_eq(uvch_mpsc_recv_start(&self.actor.rx, self_on_recv), 0);
  call(&self.loop, &c, &self.actor, 1);
  while (c.calls == 0)
    uv_run(&self.loop, UV_RUN_ONCE);
  check_reply(&c);
  actor_close(&self.actor);
  support_loop_end(&self.loop);
  check_reply(&self.inner);
}
END_TEST

START_TEST(a_call_keeps_its_loop_until_its_callback) {
  caller_t c;
  world_t w;

  world_init(&w, true, 4);
  actor_start(&w.actor, KEEP);
  call(&w.here, &c, &w.actor, 0);
  ck_assert_int_ne(uv_loop_alive(&w.here), 0);
  world_until(&w, w.actor.kept_count == 1);
  ck_assert_int_ne(uv_loop_alive(&w.here), 0);
  ck_assert_int_eq(answer(&w.actor.kept[0], 0), 0);
  support_loop_run(&w.here);
  check_reply(&c);
  ck_assert_int_eq(c.req.type, UVCH_CALL);
  ck_assert_ptr_eq(c.req.loop, &w.here);
  world_end(&w);
}
END_TEST

START_TEST(the_rest_of_the_message_arrives_as_it_was) {
  caller_t c;
  world_t w;
  ask_t got;

  world_init(&w, false, 4);
  caller_init(&c, &w.here, 0x0123456789abcdef);
  c.ask.is_note = 77;
  ck_assert_int_eq(caller_try(&c, &w.actor, 0), 0);
  ck_assert_int_eq(uvch_mpsc_try_recv(&w.actor.rx, &got), 0);
  ck_assert_uint_eq(got.value, 0x0123456789abcdef);
  ck_assert_uint_eq(got.is_note, 77);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&got.reply), 0);
  ck_assert_int_eq(answer_in_time(&got.reply, got.value), 0);
  ck_assert_int_eq(answer_in_time(&got.reply, got.value), UV_EBADF);
  ck_assert_int_eq(answer(&got.reply, got.value), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_sender_close(&got.reply), UV_EBADF);
  world_until(&w, c.calls > 0);
  check_reply(&c);
  world_end(&w);
}
END_TEST

START_TEST(a_copy_of_a_sender_that_was_used_up_is_refused) {
  uvch_oneshot_sender_t copy;
  caller_t next;
  caller_t c;
  world_t w;

  world_init(&w, false, 4); /* the actor's handle keeps what the loop's calls share */
  w.actor.manner = KEEP;
  call(&w.here, &c, &w.actor, 0);
  actor_turn(&w.actor);
  copy = w.actor.kept[0];
  ck_assert_int_eq(answer(&w.actor.kept[0], 0), 0);
  ck_assert_int_eq(answer(&copy, 0), UV_EBADF);
  world_until(&w, c.calls > 0);
  check_reply(&c);
  call(&w.here, &next, &w.actor, 5); /* which may use the same memory */
  ck_assert_int_eq(answer_in_time(&copy, 0), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_sender_close(&copy), UV_EBADF);
  actor_turn(&w.actor);
  ck_assert_int_eq(answer(&w.actor.kept[1], 5), 0);
  world_until(&w, next.calls > 0);
  check_reply(&next);
  world_end(&w);
}
END_TEST

/* Sizes. */

static size_t alignment_of(size_t size) {
  size_t align = size & (~size + 1);

  return size == 0 || align > _Alignof(max_align_t) ? _Alignof(max_align_t) : align;
}

typedef struct painting_s {
  uvch_call_t req;
  ask_t ask;
  size_t size;
  size_t seed;
  size_t calls;
} painting_t;

static void painting_on_reply(uvch_call_t* req, int status, void* reply) {
  painting_t* p = req->data;

  ck_assert_int_eq(status, 0);
  ck_assert_ptr_nonnull(reply);
  ck_assert_uint_eq((uintptr_t) reply % alignment_of(p->size), 0);
  ck_assert(is_painted(reply, p->size, p->seed));
  p->calls += 1;
}

START_TEST(replies_of_every_size_come_whole_and_aligned) {
  size_t size = sizes[_i];
  unsigned char* bytes = malloc(size + 1);
  painting_t p[10];
  world_t w;
  size_t i;

  ck_assert_ptr_nonnull(bytes);
  memset(p, 0, sizeof(p));
  world_init(&w, false, COUNT(p));
  actor_start(&w.actor, KEEP);
  for (i = 0; i < COUNT(p); i++) {
    p[i].req.data = &p[i];
    p[i].size = size;
    p[i].seed = i;
    ck_assert_int_eq(uvch_call(&w.here, &p[i].req, &w.actor.tx, &p[i].ask, &p[i].ask.reply, size, painting_on_reply), 0);
  }
  world_until(&w, w.actor.kept_count == COUNT(p));
  for (i = 0; i < COUNT(p); i++) {
    paint(bytes + 1, size, i); /* the actor's reply need not be aligned */
    ck_assert_int_eq(uvch_reply(&w.actor.kept[i], i % 2 == 0 || size > 0 ? bytes + 1 : NULL), 0);
  }
  for (i = 0; i < COUNT(p); i++)
    world_until(&w, p[i].calls == 1);
  world_end(&w);
  free(bytes);
}
END_TEST

/* The message's place for the sender may lie at its start or end, and the message may be the sender alone. */
START_TEST(a_message_may_be_the_sender_alone) {
  uvch_oneshot_sender_t message;
  uvch_oneshot_sender_t got;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  painting_t p;
  uv_loop_t loop;

  memset(&p, 0, sizeof(p));
  p.req.data = &p;
  support_loop_init(&loop);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, sizeof(message), 1), 0);
  ck_assert_int_eq(uvch_call(&loop, &p.req, &tx, &message, &message, 0, painting_on_reply), 0);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &got), 0);
  ck_assert_int_eq(uvch_reply(&got, NULL), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(p.calls, 1);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* No reply. */

START_TEST(a_sender_closed_without_a_reply_ends_the_call) {
  caller_t c;
  world_t w;

  world_init(&w, _i % 2, 4);
  actor_start(&w.actor, _i / 2 == 0 ? GIVE_UP : KEEP);
  call(&w.here, &c, &w.actor, 0);
  world_until(&w, w.actor.count == 1);
  if (_i / 2 == 1) {
    world_turns(&w);
    check_waits(&c);
    ck_assert_int_eq(uvch_oneshot_sender_close(&w.actor.kept[0]), 0);
    check_waits(&c);
  }
  world_until(&w, c.calls > 0);
  check_status(&c, UV_EOF, 1);
  world_end(&w);
}
END_TEST

START_TEST(what_a_closed_channel_drops_ends_its_calls) {
  caller_t c[8];
  world_t w;
  size_t i;

  world_init(&w, _i, _i == 0 ? COUNT(c) : UVCH_UNBOUNDED);
  for (i = 0; i < COUNT(c); i++)
    call_timed(&w.here, &c[i], &w.actor, i, i % 2 == 0 ? 0 : hour);
  world_turns(&w);
  ck_assert_uint_eq(w.actor.dropped, 0);
  actor_close(&w.actor);
  ck_assert_uint_eq(w.actor.dropped, COUNT(c));
  for (i = 0; i < COUNT(c); i++)
    check_waits(&c[i]);
  world_close_loops(&w);
  for (i = 0; i < COUNT(c); i++)
    check_status(&c[i], UV_EOF, 1);
}
END_TEST

START_TEST(a_closed_channel_refuses_a_call) {
  size_t blocks = 0;
  caller_t c;
  world_t w;
  size_t i;

  world_init(&w, _i % 2, 4);
  if (_i / 2 == 0)
    support_close(&w.actor.rx);
  else
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&w.actor.rx), 0);
  for (i = 0; i < 20; i++) {
    caller_init(&c, &w.here, 0);
    ck_assert_int_eq(caller_try(&c, &w.actor, i % 2 == 0 ? 0 : hour), UV_EPIPE);
    check_sender_is_used_up(&c);
    world_turns(&w);
    check_waits(&c);
    if (i == 4)
      blocks = support_alloc_blocks();
  }
  ck_assert_uint_le(support_alloc_blocks(), blocks);
  actor_drop_sender(&w.actor);
  if (_i / 2 == 1)
    support_close(&w.actor.rx);
  world_close_loops(&w);
  check_waits(&c);
}
END_TEST

START_TEST(a_channel_that_closes_gives_back_what_waits_for_room) {
  bool shutdown = _i / 2 == 1;
  caller_t c[4];
  world_t w;
  size_t i;

  world_init(&w, _i % 2, 1);
  for (i = 0; i < COUNT(c); i++)
    call_timed(&w.here, &c[i], &w.actor, i, i % 2 == 0 ? 0 : hour);
  world_turns(&w);
  if (shutdown) {
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&w.actor.rx), 0);
    world_until(&w, c[1].calls + c[2].calls + c[3].calls == 3);
    check_waits(&c[0]);
    actor_start(&w.actor, ANSWER);
    world_until(&w, c[0].calls == 1);
  }
  actor_close(&w.actor);
  world_close_loops(&w);
  if (shutdown)
    check_reply(&c[0]);
  else
    check_status(&c[0], UV_EOF, 1);
  ck_assert_uint_eq(w.actor.dropped, shutdown ? 0 : 1);
  for (i = 1; i < COUNT(c); i++)
    check_status(&c[i], UV_EPIPE, 0);
}
END_TEST

START_TEST(an_actor_that_is_gone_may_have_left_its_senders_to_others) {
  caller_t c;
  world_t w;

  world_init(&w, true, 4);
  actor_start(&w.actor, KEEP);
  call(&w.here, &c, &w.actor, 3);
  world_until(&w, w.actor.kept_count == 1);
  actor_close(&w.actor);
  support_loop_end(&w.there);
  memset(&w.there, 0xdd, sizeof(w.there));
  uv_run(&w.here, UV_RUN_NOWAIT);
  check_waits(&c);
  ck_assert_int_eq(answer(&w.actor.kept[0], 3), 0);
  support_loop_end(&w.here);
  check_reply(&c);
}
END_TEST

/* Callbacks that do the most they can. */

#define CHAIN 500

typedef struct chain_s {
  caller_t c;
  actor_t* actor;
  size_t left;
} chain_t;

static void chain_next(chain_t* chain);

static void chain_on_reply(uvch_call_t* req, int status, void* reply) {
  chain_t* chain = req->data;

  chain->c.req.data = &chain->c;
  on_reply(req, status, reply);
  support_check(status == 0 && chain->c.value == chain->c.ask.value + 1);
  chain->left -= 1;
  if (chain->left > 0)
    chain_next(chain);
}

/* With and without a timeout by turns. */
static void chain_next(chain_t* chain) {
  uvch_call_options_t options = {.timeout = chain->left % 2 == 0 ? 0 : hour, .drop = box_drop};
  uv_loop_t* loop = chain->c.loop;

  caller_init(&chain->c, loop, chain->left);
  chain->c.req.data = chain;
  support_check_eq(uvch_call_ex(loop, &chain->c.req, &chain->actor->tx, &chain->c.ask, &chain->c.ask.reply, sizeof(box_t*),
                                &options, chain_on_reply),
                   0);
}

START_TEST(a_callback_may_make_the_next_call_with_the_same_request) {
  chain_t chains[5];
  world_t w;
  size_t i;

  world_init(&w, _i % 2, _i / 2 == 0 ? 1 : UVCH_UNBOUNDED);
  actor_start(&w.actor, ANSWER);
  for (i = 0; i < COUNT(chains); i++) {
    chains[i].c.loop = &w.here;
    chains[i].actor = &w.actor;
    chains[i].left = CHAIN + i;
    chain_next(&chains[i]);
  }
  for (i = 0; i < COUNT(chains); i++)
    world_until(&w, chains[i].left == 0);
  world_end(&w);
}
END_TEST

/* A call whose callback makes it again, and again. */
typedef struct forever_s {
  caller_t c;
  const actor_t* actor;
  bool is_over;
} forever_t;

static void forever_on_reply(uvch_call_t* req, int status, void* reply) {
  forever_t* f = req->data;
  uvch_call_options_t options = {.drop = box_drop};

  req->data = &f->c;
  on_reply(req, status, reply);
  req->data = f;
  if (!f->is_over) {
    support_check_eq(uvch_call_ex(f->c.loop, req, &f->actor->tx, &f->c.ask, &f->c.ask.reply, sizeof(box_t*), &options,
                                  forever_on_reply),
                     0);
  }
}

static void end_forever(uv_timer_t* timer) {
  forever_t* f = timer->data;

  f->is_over = true;
  uv_close((uv_handle_t*) timer, NULL);
}

START_TEST(a_call_that_repeats_itself_for_ever_does_not_stop_a_timer) {
  box_t* box = box_make(&replies, 0);
  uv_timer_t timer;
  forever_t f;
  world_t w;

  world_init(&w, false, 4);
  actor_start(&w.actor, ANSWER);
  memset(&f, 0, sizeof(f));
  caller_init(&f.c, &w.here, 0);
  f.actor = &w.actor;
  f.c.req.data = &f;
  ck_assert_int_eq(uv_timer_init(&w.here, &timer), 0);
  timer.data = &f;
  ck_assert_int_eq(uv_timer_start(&timer, end_forever, 5, 0), 0);
  forever_on_reply(&f.c.req, 0, &box);
  while (!f.is_over)
    uv_run(&w.here, UV_RUN_ONCE);
  ck_assert_int_gt(f.c.calls, 1);
  world_end(&w);
}
END_TEST

typedef struct ender_s {
  world_t* w;
  caller_t* others;
  size_t count;
  unsigned char copy[200];
  size_t calls;
} ender_t;

/* Everything is closed and run to its end while the reply is looked at. */
static void end_all(uvch_call_t* req, int status, void* reply) {
  ender_t* ender = req->data;
  world_t* w = ender->w;
  size_t i;

  ck_assert_int_eq(status, 0);
  ck_assert(is_painted(reply, sizeof(ender->copy), 3));
  memset(req, 0xdd, sizeof(*req)); /* the request's memory is the caller's again */
  actor_close(&w->actor);
  world_turns(w);
  for (i = 0; i < ender->count; i++)
    ck_assert_int_eq(ender->others[i].calls, 1);
  ck_assert(is_painted(reply, sizeof(ender->copy), 3));
  ender->calls += 1;
}

START_TEST(a_callback_may_close_everything_and_run_the_loop) {
  uvch_oneshot_sender_t reply;
  caller_t others[6];
  uvch_call_t req;
  ender_t ender;
  ask_t ask;
  world_t w;
  size_t i;

  world_init(&w, _i, 3);
  memset(&ender, 0, sizeof(ender));
  memset(&ask, 0, sizeof(ask));
  ender.w = &w;
  ender.others = others;
  ender.count = COUNT(others);
  w.actor.manner = KEEP;
  req.data = &ender;
  ck_assert_int_eq(uvch_call(&w.here, &req, &w.actor.tx, &ask, &ask.reply, sizeof(ender.copy), end_all), 0);
  for (i = 0; i < COUNT(others); i++)
    call_timed(&w.here, &others[i], &w.actor, i, i % 2 == 0 ? 0 : hour);
  actor_turn(&w.actor);
  reply = w.actor.kept[0];
  paint(ender.copy, sizeof(ender.copy), 3);
  ck_assert_int_eq(uvch_reply(&reply, ender.copy), 0);
  world_until(&w, ender.calls == 1);
  world_close_loops(&w);
  ck_assert_uint_eq(w.actor.dropped, 3);
  for (i = 0; i < COUNT(others); i++)
    check_status(&others[i], i < 3 ? UV_EOF : UV_EPIPE, i < 3);
}
END_TEST

typedef struct nested_s {
  world_t* w;
  uvch_call_t req;
  ask_t ask;
  size_t depth;
  size_t* deepest;
} nested_t;

static void nested_call(nested_t* nested);

/* Waits in a nested run for calls of its own, whose replies must not come into the memory of this one. */
static void nested_on_reply(uvch_call_t* req, int status, void* reply) {
  nested_t* nested = req->data;
  size_t depth = nested->depth;
  nested_t inner[3];
  size_t left;
  size_t i;

  ck_assert_int_eq(status, 0);
  ck_assert(is_painted(reply, 64, depth));
  if (depth > 0) {
    left = COUNT(inner);
    for (i = 0; i < COUNT(inner); i++) {
      inner[i].w = nested->w;
      inner[i].depth = depth - 1;
      inner[i].deepest = &left;
      nested_call(&inner[i]);
    }
    world_until(nested->w, left == 0);
    ck_assert(is_painted(reply, 64, depth));
  }
  *nested->deepest -= 1;
}

static void nested_call(nested_t* nested) {
  memset(&nested->ask, 0, sizeof(nested->ask));
  nested->ask.value = nested->depth;
  nested->req.data = nested;
  ck_assert_int_eq(uvch_call(&nested->w->here, &nested->req, &nested->w->actor.tx, &nested->ask, &nested->ask.reply, 64,
                             nested_on_reply),
                   0);
}

static void painter_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  unsigned char bytes[64];
  ask_t* ask = item;

  (void) rx;
  ck_assert_int_eq(status, 0);
  paint(bytes, sizeof(bytes), ask->value);
  ck_assert_int_eq(uvch_reply(&ask->reply, bytes), 0);
}

START_TEST(a_reply_stays_good_while_its_callback_makes_others_and_waits_for_them) {
  nested_t nested;
  size_t left = 1;
  world_t w;

  world_init(&w, _i, 2);
  ck_assert_int_eq(uvch_mpsc_recv_start(&w.actor.rx, painter_on_recv), 0);
  nested.w = &w;
  nested.depth = 3;
  nested.deepest = &left;
  nested_call(&nested);
  world_until(&w, left == 0);
  world_end(&w);
}
END_TEST

/* Each callback cancels the next call, which may be in any state. */
typedef struct domino_s {
  caller_t c; /* which begins with the request */
  struct domino_s* next;
} domino_t;

static void domino_on_reply(uvch_call_t* req, int status, void* reply) {
  domino_t* d = (domino_t*) (void*) req;

  on_reply(req, status, reply);
  if (d->next != NULL)
    (void) cancel(&d->next->c);
}

START_TEST(a_callback_may_cancel_other_calls) {
  domino_t d[12];
  world_t w;
  size_t i;

  world_init(&w, _i % 2, 4);
  w.actor.manner = ANSWER;
  for (i = 0; i < COUNT(d); i++) {
    uvch_call_options_t options = {.timeout = i % 3 == 0 ? 2 * millisecond : 0, .drop = box_drop};

    caller_init(&d[i].c, &w.here, i);
    d[i].next = i + 1 < COUNT(d) ? &d[i + 1] : NULL;
    ck_assert_int_eq(uvch_call_ex(&w.here, &d[i].c.req, &w.actor.tx, &d[i].c.ask, &d[i].c.ask.reply, sizeof(box_t*), &options,
                                  domino_on_reply),
                     0);
  }
  for (i = 0; i < (size_t) (_i / 2); i++)
    actor_turn(&w.actor);
  ck_assert(cancel(&d[0].c) == 0 || _i / 2 > 0);
  for (i = 0; i < COUNT(d); i++)
    world_until(&w, d[i].c.calls == 1);
  world_end(&w);
  for (i = 0; i < COUNT(d); i++)
    ck_assert_int_eq(d[i].c.calls, 1);
}
END_TEST

/* Refusals. */

START_TEST(null_and_closed_are_refused_by_calls) {
  uvch_call_options_t options = {.timeout = 1};
  uvch_oneshot_sender_t outside;
  uvch_oneshot_sender_t* reply;
  uvch_mpsc_sender_t closed;
  uvch_mpsc_sender_t* tx;
  uvch_call_t req;
  actor_t actor;
  uv_loop_t loop;
  ask_t ask;

  reply = &ask.reply;
  support_loop_init(&loop);
  actor_open(&actor, NULL, 4);
  tx = &actor.tx;
  ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &closed), 0);
  support_drop_sender(&closed);
  check_refused(&ask, uvch_call(NULL, &req, tx, &ask, reply, 8, on_reply), UV_EINVAL);
  check_refused(&ask, uvch_call(&loop, NULL, tx, &ask, reply, 8, on_reply), UV_EINVAL);
  check_refused(&ask, uvch_call(&loop, &req, NULL, &ask, reply, 8, on_reply), UV_EINVAL);
  check_refused(&ask, uvch_call(&loop, &req, tx, NULL, reply, 8, on_reply), UV_EINVAL);
  check_refused(&ask, uvch_call(&loop, &req, tx, &ask, reply, 8, NULL), UV_EINVAL);
  check_refused(&ask, uvch_call(&loop, &req, tx, &ask, reply, UVCH_ONESHOT_ITEM_MAX + 1, on_reply), UV_EINVAL);
  check_refused(&ask, uvch_call(&loop, &req, tx, &ask, reply, SIZE_MAX, on_reply), UV_EINVAL);
  check_refused(&ask, uvch_call(&loop, &req, &closed, &ask, reply, 8, on_reply), UV_EBADF);
  check_refused(&ask, uvch_call_ex(NULL, &req, tx, &ask, reply, 8, &options, on_reply), UV_EINVAL);
  check_refused(&ask, uvch_call_ex(&loop, &req, &closed, &ask, reply, 8, &options, on_reply), UV_EBADF);
  ck_assert_int_eq(uvch_call(&loop, &req, tx, &ask, NULL, 8, on_reply), UV_EINVAL);
  ck_assert_int_eq(uvch_call(&loop, &req, tx, &ask, &outside, 8, on_reply), UV_EINVAL);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&actor.rx), 0);
  support_loop_run(&loop);
  actor_close(&actor);
  support_loop_end(&loop);
}
END_TEST

START_TEST(null_and_used_up_are_refused_by_a_reply) {
  uvch_oneshot_sender_t none;
  uint64_t value = 0;
  caller_t c;
  world_t w;
  box_t* box;

  memset(&none, 0, sizeof(none));
  world_init(&w, false, 4);
  w.actor.manner = KEEP;
  call(&w.here, &c, &w.actor, 0);
  actor_turn(&w.actor);
  ck_assert_int_eq(uvch_reply(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_reply(&none, &value), UV_EBADF);
  ck_assert_int_eq(uvch_reply(&w.actor.kept[0], NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_send(&w.actor.kept[0], NULL), UV_EINVAL);
  ck_assert_int_eq(answer(&w.actor.kept[0], 0), 0); /* those have not used it up */
  world_until(&w, c.calls == 1);
  check_reply(&c);
  call(&w.here, &c, &w.actor, 0);
  actor_turn(&w.actor);
  ck_assert_int_eq(cancel(&c), 0);
  ck_assert_int_eq(uvch_reply(&w.actor.kept[1], NULL), UV_EINVAL); /* also when it is too late */
  box = box_make(&replies, 1);
  ck_assert_int_eq(uvch_reply(&w.actor.kept[1], &box), 1);
  world_end(&w);
}
END_TEST

START_TEST(what_is_not_a_request_cannot_be_cancelled) {
  uvch_call_t req;

  memset(&req, 0, sizeof(req));
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), UV_EINVAL);
  ck_assert_int_eq(uvch_cancel(NULL), UV_EINVAL);
}
END_TEST

static void run_posted(uv_loop_t* loop, int status, void* arg) {
  (void) loop;
  (void) status;
  atomic_store((_Atomic(int)*) arg, 1);
}

START_TEST(a_call_cannot_be_made_for_a_loop_that_another_thread_runs) {
  support_runner_t runner;
  _Atomic(int) runs = 0;
  uvch_inbox_t inbox;
  actor_t actor;
  uv_loop_t loop;
  caller_t c;

  support_loop_init(&loop);
  actor_open(&actor, NULL, 1);
  ck_assert_int_eq(uvch_inbox_init(&loop, &inbox), 0);
  ck_assert_int_eq(uvch_post(&inbox, run_posted, &runs), 0);
  memset(&c, 0, sizeof(c));
  support_runner_start(&runner, &loop);
  support_until(atomic_load(&runs) == 1);
  ck_assert_int_eq(uvch_call(&loop, &c.req, &actor.tx, &c.ask, &c.ask.reply, 8, on_reply), UV_EPERM);
  check_sender_is_used_up(&c);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&actor.rx), 0);
  ck_assert_int_eq(uvch_inbox_close(&inbox), 0);
  support_runner_join(&runner);
  support_loop_close(&loop);
  check_waits(&c);
  actor_close(&actor);
}
END_TEST

static void add_replies(Suite* suite) {
  TCase* tcase = call_case(suite, "replies");

  tcase_add_loop_test(tcase, a_reply_comes_once_and_never_from_inside_the_call, 0, 2);
  tcase_add_test(tcase, a_reply_sent_before_the_loop_runs_comes_when_it_runs);
  tcase_add_loop_test(tcase, a_reply_comes_later_from_another_thread, 0, 4);
  tcase_add_loop_test(tcase, replies_may_come_in_another_order_than_the_calls, 0, 2);
  tcase_add_test(tcase, an_actor_may_call_itself);
  tcase_add_test(tcase, a_call_keeps_its_loop_until_its_callback);
  tcase_add_test(tcase, the_rest_of_the_message_arrives_as_it_was);
  tcase_add_test(tcase, a_copy_of_a_sender_that_was_used_up_is_refused);
  tcase_add_loop_test(tcase, replies_of_every_size_come_whole_and_aligned, 0, (int) COUNT(sizes));
  tcase_add_test(tcase, a_message_may_be_the_sender_alone);
}

static void add_no_reply(Suite* suite) {
  TCase* tcase = call_case(suite, "no_reply");

  tcase_add_loop_test(tcase, a_sender_closed_without_a_reply_ends_the_call, 0, 4);
  tcase_add_loop_test(tcase, what_a_closed_channel_drops_ends_its_calls, 0, 2);
  tcase_add_loop_test(tcase, a_closed_channel_refuses_a_call, 0, 4);
  tcase_add_loop_test(tcase, a_channel_that_closes_gives_back_what_waits_for_room, 0, 4);
  tcase_add_test(tcase, an_actor_that_is_gone_may_have_left_its_senders_to_others);
}

static void add_callbacks(Suite* suite) {
  TCase* tcase = call_case(suite, "callbacks");

  tcase_add_loop_test(tcase, a_callback_may_make_the_next_call_with_the_same_request, 0, 4);
  tcase_add_test(tcase, a_call_that_repeats_itself_for_ever_does_not_stop_a_timer);
  tcase_add_loop_test(tcase, a_callback_may_close_everything_and_run_the_loop, 0, 2);
  tcase_add_loop_test(tcase, a_reply_stays_good_while_its_callback_makes_others_and_waits_for_them, 0, 2);
  tcase_add_loop_test(tcase, a_callback_may_cancel_other_calls, 0, 12);
}

static void add_refusals(Suite* suite) {
  TCase* tcase = call_case(suite, "refusals");

  tcase_add_test(tcase, null_and_closed_are_refused_by_calls);
  tcase_add_test(tcase, null_and_used_up_are_refused_by_a_reply);
  tcase_add_test(tcase, what_is_not_a_request_cannot_be_cancelled);
  tcase_add_test(tcase, a_call_cannot_be_made_for_a_loop_that_another_thread_runs);
}

int main(void) {
  Suite* suite = suite_create("call");

  add_replies(suite);
  add_no_reply(suite);
  add_callbacks(suite);
  add_refusals(suite);
  return support_main(suite);
}
