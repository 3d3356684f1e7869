/* SPDX-License-Identifier: MIT
 *
 * What the programs about calls share; see call_support.h. */
#include "call_support.h"

books_t replies;

const size_t sizes[] = {0, 1, 2, 4, 8, 12, 16, 17, 24, 32, 100, 200, 256, 4096, 100000};

static void open_books(void) {
  memset(&replies, 0, sizeof(replies));
}

static void close_books(void) {
  books_check(&replies);
}

TCase* call_case(Suite* suite, const char* name) {
  TCase* tcase = support_case(suite, name);

  tcase_add_checked_fixture(tcase, open_books, close_books);
  return tcase;
}

int answer(uvch_oneshot_sender_t* tx, uint64_t value) {
  box_t* box = box_make(&replies, value + 1);
  int result = uvch_reply(tx, &box);

  if (result < 0)
    box_keep(box);
  return result;
}

int answer_in_time(uvch_oneshot_sender_t* tx, uint64_t value) {
  box_t* box = box_make(&replies, value + 1);
  int result = uvch_oneshot_send(tx, &box);

  if (result != 0)
    box_keep(box);
  return result;
}

void check_too_late(uvch_oneshot_sender_t* tx, bool by_send) {
  size_t dropped = atomic_load(&replies.dropped);

  ck_assert_int_eq(uvch_oneshot_sender_is_closed(tx), 1);
  if (by_send)
    ck_assert_int_eq(answer_in_time(tx, 0), UV_EPIPE);
  else
    ck_assert_int_eq(answer(tx, 0), 1);
  ck_assert_uint_eq(atomic_load(&replies.dropped), dropped + !by_send);
  ck_assert_int_eq(answer(tx, 0), UV_EBADF);
  ck_assert_int_eq(uvch_oneshot_sender_close(tx), UV_EBADF);
}

static void actor_take(actor_t* actor, ask_t* ask) {
  actor->got[actor->count++ % KEPT] = ask->value;
  if (ask->is_note)
    return;
  if (actor->manner == ANSWER) {
    support_check(answer(&ask->reply, ask->value) >= 0);
  } else if (actor->manner == GIVE_UP) {
    support_check_eq(uvch_oneshot_sender_close(&ask->reply), 0);
  } else {
    support_check(actor->kept_count < KEPT);
    actor->kept[actor->kept_count] = ask->reply;
    actor->values[actor->kept_count++] = ask->value;
  }
}

void actor_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  actor_t* actor = rx->data;

  if (status == 0) {
    actor_take(actor, item);
  } else {
    support_check_eq(status, UV_EOF);
    actor->ends += 1;
  }
}

static void actor_drop(void* item, void* arg) {
  actor_t* actor = arg;
  ask_t* ask = item;

  actor->dropped += 1;
  if (!ask->is_note)
    support_check_eq(uvch_oneshot_sender_close(&ask->reply), 0);
}

int actor_try_open(actor_t* actor, uv_loop_t* loop, size_t capacity) {
  uvch_mpsc_options_t options;
  int result;

  memset(&options, 0, sizeof(options));
  memset(actor, 0, sizeof(*actor));
  options.drop = actor_drop;
  options.arg = actor;
  result = uvch_mpsc_init_ex(loop, &actor->rx, &actor->tx, sizeof(ask_t), capacity, &options);
  actor->rx.data = actor;
  actor->has_sender = result == 0;
  return result;
}

void actor_open(actor_t* actor, uv_loop_t* loop, size_t capacity) {
  ck_assert_int_eq(actor_try_open(actor, loop, capacity), 0);
}

void actor_start(actor_t* actor, manner_t manner) {
  actor->manner = manner;
  ck_assert_int_eq(uvch_mpsc_recv_start(&actor->rx, actor_on_recv), 0);
}

void actor_drop_sender(actor_t* actor) {
  if (actor->has_sender)
    support_drop_sender(&actor->tx);
  actor->has_sender = false;
}

void actor_close(actor_t* actor) {
  actor_drop_sender(actor);
  support_close(&actor->rx);
}

void actor_turn(actor_t* actor) {
  ask_t ask;

  support_check_eq(uvch_mpsc_try_recv(&actor->rx, &ask), 0);
  actor_take(actor, &ask);
}

void actor_check_got(const actor_t* actor, size_t count) {
  size_t i;

  ck_assert_uint_eq(actor->count, count);
  for (i = 0; i < count; i++)
    ck_assert_uint_eq(actor->got[i], i);
}

void put_note(const actor_t* actor, uint64_t value) {
  ask_t ask;

  memset(&ask, 0, sizeof(ask));
  ask.value = value;
  ask.is_note = 1;
  support_check_eq(uvch_mpsc_try_send(&actor->tx, &ask), 0);
}

void on_reply(uvch_call_t* req, int status, void* reply) {
  caller_t* c = req->data;
  box_t* box;

  c->calls += 1;
  c->status = status;
  c->done = uv_now(c->loop);
  if (c->turns != NULL)
    c->turn = (*c->turns)++;
  if (status == 0) {
    memcpy(&box, reply, sizeof(box));
    c->value = box_open(box);
  } else {
    support_check(reply == NULL);
  }
}

void caller_init(caller_t* c, uv_loop_t* loop, uint64_t value) {
  memset(c, 0, sizeof(*c));
  c->loop = loop;
  c->status = NOT_DONE;
  c->ask.value = value;
  memset(&c->ask.reply, 0xdd, sizeof(c->ask.reply)); /* what was there before is nothing to the call */
  c->req.data = c;
}

int caller_try(caller_t* c, const actor_t* actor, uint64_t timeout) {
  uvch_call_options_t options;

  memset(&options, 0, sizeof(options));
  options.timeout = timeout;
  options.drop = box_drop;
  c->started = uv_now(c->loop);
  return uvch_call_ex(c->loop, &c->req, &actor->tx, &c->ask, &c->ask.reply, sizeof(box_t*), &options, on_reply);
}

void call_timed(uv_loop_t* loop, caller_t* c, const actor_t* actor, uint64_t value, uint64_t timeout) {
  caller_init(c, loop, value);
  support_check_eq(caller_try(c, actor, timeout), 0);
  support_check_eq(c->calls, 0);
}

void call(uv_loop_t* loop, caller_t* c, const actor_t* actor, uint64_t value) {
  call_timed(loop, c, actor, value, 0);
}

int cancel(caller_t* c) {
  return uvch_cancel((uvch_req_t*) &c->req);
}

void check_waits(const caller_t* c) {
  ck_assert_int_eq(c->calls, 0);
}

void check_sender_is_used_up(caller_t* c) {
  ck_assert_int_eq(uvch_oneshot_sender_close(&c->ask.reply), UV_EBADF);
}

void check_reply(caller_t* c) {
  ck_assert_int_eq(c->calls, 1);
  ck_assert_int_eq(c->status, 0);
  ck_assert_uint_eq(c->value, c->ask.value + 1);
  ck_assert_int_eq(c->req.is_sent, 1);
  check_sender_is_used_up(c);
}

void check_status(caller_t* c, int status, int is_sent) {
  ck_assert_int_eq(c->calls, 1);
  ck_assert_int_eq(c->status, status);
  ck_assert_int_eq(c->req.is_sent, is_sent);
  check_sender_is_used_up(c);
}

void world_init(world_t* w, bool two, size_t capacity) {
  w->two = two;
  support_loop_init(&w->here);
  if (two)
    support_loop_init(&w->there);
  actor_open(&w->actor, two ? &w->there : &w->here, capacity);
}

bool world_turn(world_t* w) {
  bool alive = uv_run(&w->here, UV_RUN_NOWAIT) != 0;

  return (w->two && uv_run(&w->there, UV_RUN_NOWAIT) != 0) || alive;
}

void world_turns(world_t* w) {
  int i;

  for (i = 0; i < 5; i++)
    world_turn(w);
}

void world_close_loops(world_t* w) {
  while (world_turn(w)) {
  }
  support_loop_close(&w->here);
  if (w->two)
    support_loop_close(&w->there);
}

void world_end(world_t* w) {
  actor_close(&w->actor);
  world_close_loops(w);
}

void paint(unsigned char* bytes, size_t size, size_t seed) {
  size_t i;

  for (i = 0; i < size; i++)
    bytes[i] = (unsigned char) (seed * 131 + i * 7 + 1);
}

bool is_painted(const unsigned char* bytes, size_t size, size_t seed) {
  size_t i;

  for (i = 0; i < size; i++) {
    if (bytes[i] != (unsigned char) (seed * 131 + i * 7 + 1))
      return false;
  }
  return true;
}

size_t draw(uint64_t* seed, size_t below) {
  *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (size_t) (*seed >> 33) % below;
}

void let_pass(uv_loop_t* loop, uint64_t milliseconds) {
  uint64_t until = uv_hrtime() + milliseconds * millisecond;

  while (uv_hrtime() < until) {
  }
  uv_update_time(loop);
}

void release_permit(void* arg) {
  uvch_mpsc_permit_release(arg);
}
