/* SPDX-License-Identifier: MIT
 *
 * What calls leave behind: loops that end under them, memory, and forks. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "call_support.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The end of a loop. */

START_TEST(a_stopped_loop_cancels_its_calls) {
  uvch_inbox_t inbox;
  caller_t c[6];
  world_t w;
  size_t i;

  world_init(&w, true, 2);
  ck_assert_int_eq(uvch_inbox_init(&w.here, &inbox), 0);
  w.actor.manner = KEEP;
  for (i = 0; i < COUNT(c); i++) {
    call_timed(&w.here, &c[i], &w.actor, i, i % 2 == 0 ? 0 : hour);
    if (i < 2)
      actor_turn(&w.actor);
  }
  ck_assert_int_eq(uvch_inbox_stop(&inbox), 0);
  support_loop_end(&w.here);
  memset(&w.here, 0xdd, sizeof(w.here));
  ck_assert_int_eq(uvch_inbox_close(&inbox), 0);
  for (i = 0; i < COUNT(c); i++)
    check_status(&c[i], UV_ECANCELED, i < 4);
  actor_turn(&w.actor);
  actor_turn(&w.actor);
  for (i = 0; i < 4; i++)
    check_too_late(&w.actor.kept[i], i % 2 == 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&w.actor.rx), 0);
  actor_close(&w.actor);
  support_loop_end(&w.there);
}
END_TEST

/* Requests are no handles: those of the loop go on, but an actor on that loop gives up what it has not taken. */
START_TEST(closing_all_handles_of_a_loop_ends_its_actors_and_not_its_calls) {
  caller_t inner[3];
  caller_t c[3];
  actor_t own;
  world_t w;
  size_t i;

  world_init(&w, true, 2);
  actor_open(&own, &w.here, 2);
  for (i = 0; i < COUNT(c); i++) {
    call_timed(&w.here, &c[i], &w.actor, i, hour);
    call_timed(&w.here, &inner[i], &own, i, i == 0 ? hour : 0);
  }
  ck_assert_int_eq(uvch_close_all(&w.here), 1);
  world_turns(&w);
  for (i = 0; i < COUNT(c); i++) {
    check_waits(&c[i]);
    check_status(&inner[i], i < 2 ? UV_EOF : UV_EPIPE, i < 2);
  }
  actor_start(&w.actor, ANSWER);
  world_until(&w, c[0].calls + c[1].calls + c[2].calls == 3);
  for (i = 0; i < COUNT(c); i++)
    check_reply(&c[i]);
  actor_drop_sender(&own);
  world_end(&w);
}
END_TEST

/* The caller's loop has gone, and its memory; a thread still has the sender. */
START_TEST(a_late_reply_after_the_end_of_the_callers_loop_is_dropped_where_it_is_sent) {
  uv_loop_t* loop = malloc(sizeof(*loop));
  actor_t actor;
  caller_t c;

  ck_assert_ptr_nonnull(loop);
  support_loop_init(loop);
  actor_open(&actor, NULL, 2);
  actor.manner = KEEP;
  call_timed(loop, &c, &actor, 0, _i == 0 ? 0 : millisecond);
  actor_turn(&actor);
  if (_i == 0)
    ck_assert_int_eq(cancel(&c), 0);
  support_loop_end(loop);
  free(loop);
  check_status(&c, _i == 0 ? UV_ECANCELED : UV_ETIMEDOUT, 1);
  memset(&c, 0xdd, sizeof(c));
  check_too_late(&actor.kept[0], false);
  actor_close(&actor);
}
END_TEST

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle))
    uv_close(handle, NULL);
}

/* What the library had to keep for the old loop goes with a later one at the same address. */
static void sweep(uv_loop_t* loop) {
  actor_t actor;
  caller_t c;
  int i;

  support_loop_init(loop);
  actor_open(&actor, loop, 4);
  actor_start(&actor, ANSWER);
  call(loop, &c, &actor, 0);
  for (i = 0; i < 10; i++)
    uv_run(loop, UV_RUN_NOWAIT);
  check_reply(&c);
  actor_close(&actor);
  support_loop_end(loop);
}

/* A reply after the end is taken, if nobody has found out yet, dropped, or refused; in any case it goes to one. */
static void answer_anyhow(uvch_oneshot_sender_t* tx, size_t i) {
  int result = i % 2 == 0 ? answer(tx, i) : answer_in_time(tx, i);

  ck_assert(result == 0 || result == (i % 2 == 0 ? 1 : UV_EPIPE));
}

START_TEST(a_program_may_close_the_librarys_handles_under_its_calls) {
  size_t before = support_alloc_blocks();
  caller_t c[8];
  world_t w;
  size_t i;

  world_init(&w, true, 2);
  w.actor.manner = KEEP;
  for (i = 0; i < COUNT(c); i++) { /* two have replies on the way, two are kept, two queued, two wait for room */
    call_timed(&w.here, &c[i], &w.actor, i, i % 2 == 0 ? 0 : i < 4 ? hour : millisecond);
    if (i < 4)
      actor_turn(&w.actor);
    if (i < 2)
      ck_assert_int_eq(answer(&w.actor.kept[i], i), 0);
  }
  if (_i % 2 == 1 && _i / 2 == 0)
    uv_run(&w.here, UV_RUN_NOWAIT);
  uv_walk(&w.here, close_uv, NULL);
  if (_i / 2 == 1) {
    for (i = 0; i < COUNT(c); i++)
      (void) cancel(&c[i]); /* nobody brings the callback */
  }
  support_loop_run(&w.here);
  support_loop_close(&w.here);
  memset(&w.here, 0xdd, sizeof(w.here));
  while (uvch_mpsc_receiver_len(&w.actor.rx) > 0)
    actor_turn(&w.actor);
  for (i = 2; i < w.actor.kept_count; i++)
    answer_anyhow(&w.actor.kept[i], i);
  for (i = 2; i < COUNT(c); i++)
    ck_assert(c[i].calls == 0 || c[i].status == UV_ETIMEDOUT);
  actor_close(&w.actor);
  support_loop_end(&w.there);
  sweep(&w.here);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

/* The actor's loop is the one whose handles are closed; its commands go when the receiver is closed. */
START_TEST(a_program_may_close_the_librarys_handles_under_the_actor) {
  size_t before = support_alloc_blocks();
  caller_t c[4];
  world_t w;
  size_t i;

  world_init(&w, true, 2);
  actor_start(&w.actor, KEEP);
  for (i = 0; i < COUNT(c); i++) {
    call_timed(&w.here, &c[i], &w.actor, i, i == 3 ? millisecond : hour);
    if (i == 0)
      world_until(&w, w.actor.kept_count == 1);
  }
  uv_walk(&w.there, close_uv, NULL);
  support_loop_run(&w.there);
  uv_run(&w.here, UV_RUN_NOWAIT);
  ck_assert_int_eq(answer(&w.actor.kept[0], 0), 0);
  support_close(&w.actor.rx);
  support_loop_close(&w.there);
  memset(&w.there, 0xdd, sizeof(w.there));
  support_loop_end(&w.here);
  check_reply(&c[0]);
  for (i = 1; i < COUNT(c); i++)
    ck_assert(c[i].status == UV_EOF || c[i].status == UV_EPIPE || (i == 3 && c[i].status == UV_ETIMEDOUT));
  actor_drop_sender(&w.actor);
  sweep(&w.there);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

/* Memory. */

START_TEST(calls_at_a_steady_rate_allocate_nothing) {
  enum { AT_ONCE = 64 };
  size_t rounds = support_scale(200);
  caller_t c[AT_ONCE];
  world_t w;
  size_t round;
  size_t i;

  world_init(&w, _i % 2, _i / 4 == 0 ? AT_ONCE : 3);
  actor_start(&w.actor, ANSWER);
  for (round = 0; round < rounds + 3; round++) {
    if (round == 3)
      support_alloc_mark();
    for (i = 0; i < AT_ONCE; i++)
      call_timed(&w.here, &c[i], &w.actor, i, _i / 2 % 2 == 0 ? 0 : (1 + (i * 37 + round) % AT_ONCE) * hour);
    for (i = 0; i < AT_ONCE; i++) {
      if (round % 5 == 4 && i % 3 == 0)
        support_check_eq(cancel(&c[i]), 0);
    }
    for (i = 0; i < AT_ONCE; i++) {
      world_until(&w, c[i].calls == 1);
      support_check(c[i].status == 0 || c[i].status == UV_ECANCELED);
    }
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  world_end(&w);
}
END_TEST

typedef struct steady_s {
  actor_t* actor;
  size_t count;
  size_t allocations;
  size_t most; /* bytes */
  support_result_t result;
  uv_thread_t thread;
} steady_t;

static void steady_work(void* arg) {
  steady_t* steady = arg;
  size_t bytes = 0;
  box_t* box;
  ask_t ask;
  int result;
  size_t i;

  memset(&ask, 0, sizeof(ask));
  for (i = 0; i < steady->count + 20; i++) {
    if (i == 20) {
      support_alloc_mark();
      bytes = support_alloc_bytes();
    }
    ask.value = i;
    if (i % 2 == 0)
      result = uvch_call_wait(&steady->actor->tx, &ask, &ask.reply, &box, sizeof(box));
    else
      result = uvch_call_timedwait(&steady->actor->tx, &ask, &ask.reply, &box, sizeof(box), hour, NULL);
    if (support_expect_eq(&steady->result, result, 0))
      support_expect_eq(&steady->result, box_open(box), i + 1);
  }
  steady->allocations = support_alloc_calls();
  steady->most = support_alloc_peak_bytes() - bytes;
  support_expect_eq(&steady->result, uvch_mpsc_sender_close(&steady->actor->tx), 0);
}

static void serve_to_the_end(uvch_mpsc_receiver_t* rx, int status, void* item) {
  actor_on_recv(rx, status, item);
  if (status != 0)
    support_close(rx);
}

/* It takes what it needs for one call, and gives it back. */
START_TEST(a_thread_that_calls_at_a_steady_rate_does_not_grow) {
  steady_t steady;
  actor_t actor;
  uv_loop_t loop;

  memset(&steady, 0, sizeof(steady));
  support_loop_init(&loop);
  actor_open(&actor, &loop, 4);
  steady.actor = &actor;
  steady.count = support_scale(500);
  ck_assert_int_eq(uvch_mpsc_recv_start(&actor.rx, serve_to_the_end), 0);
  support_spawn(&steady.thread, steady_work, &steady);
  support_loop_end(&loop);
  support_join(&steady.thread);
  support_result_check(&steady.result);
  ck_assert_uint_le(steady.allocations, 2 * steady.count);
  ck_assert_uint_le(steady.most, 2000);
}
END_TEST

START_TEST(calling_and_giving_up_does_not_grow) {
  enum { AT_ONCE = 100 };
  size_t rounds = support_scale(300);
  caller_t c[AT_ONCE];
  size_t bytes = 0;
  world_t w;
  size_t round;
  size_t i;

  world_init(&w, false, _i % 2 == 0 ? 1 : AT_ONCE);
  put_note(&w.actor, 0);
  for (round = 0; round < rounds; round++) {
    for (i = 0; i < AT_ONCE; i++)
      call_timed(&w.here, &c[i], &w.actor, i, i % 2 == 0 ? 0 : hour + i);
    if (round == 1) {
      bytes = support_alloc_bytes();
      support_alloc_mark();
    }
    for (i = 0; i < AT_ONCE; i++)
      support_check_eq(cancel(&c[i * 37 % AT_ONCE]), 0);
    for (i = 0; i < AT_ONCE; i++) {
      world_until(&w, c[i].calls == 1);
      support_check_eq(c[i].status, UV_ECANCELED);
    }
    while (uvch_mpsc_receiver_len(&w.actor.rx) > (_i % 2 == 0)) { /* the note stays in the small one */
      w.actor.manner = GIVE_UP;
      actor_turn(&w.actor);
    }
  }
  ck_assert_uint_le(support_alloc_peak_bytes(), bytes);
  world_end(&w);
}
END_TEST

/* A program with calls of all kinds, run again and again with another allocation failing each time. */

typedef struct program_s {
  world_t w;
  actor_t deaf; /* a channel of a thread's that nobody reads */
  bool is_open[2];
  bool for_good;
  caller_t c[5];
  bool made[5];
} program_t;

/* 1: it worked. 0: no memory, which must be true. */
static int worked(int result) {
  if (result == UV_ENOMEM) {
    ck_assert_uint_gt(support_alloc_failed(), 0);
    return 0;
  }
  support_check_eq(result, 0);
  return 1;
}

/* A call that has failed for a single allocation works the next time. */
#define TRY(program, call) (worked(call) || (!(program)->for_good && worked(call)))

static int program_call(program_t* p, size_t i, uint64_t timeout) {
  caller_init(&p->c[i], &p->w.here, i);
  if (!worked(caller_try(&p->c[i], &p->w.actor, timeout))) {
    check_sender_is_used_up(&p->c[i]);
    if (p->for_good || !worked(caller_try(&p->c[i], &p->w.actor, timeout)))
      return 0;
  }
  p->made[i] = true;
  return 1;
}

static int program_wait(program_t* p) {
  size_t len = uvch_mpsc_sender_len(&p->deaf.tx);
  int is_sent = 0;
  int result;
  box_t* box;
  ask_t ask;

  memset(&ask, 0, sizeof(ask));
  result = uvch_call_timedwait(&p->deaf.tx, &ask, &ask.reply, &box, sizeof(box), 1000, &is_sent);
  ck_assert_uint_eq(uvch_mpsc_sender_len(&p->deaf.tx), len + (size_t) is_sent);
  ck_assert(is_sent == 0 || result == UV_ETIMEDOUT); /* with another error the message is the caller's */
  return worked(result == UV_ETIMEDOUT ? 0 : result);
}

static int program_use(program_t* p, size_t capacity) {
  size_t i;

  p->is_open[0] = TRY(p, actor_try_open(&p->w.actor, &p->w.here, capacity));
  if (!p->is_open[0])
    return 0;
  for (i = 0; i < COUNT(p->c); i++) { /* with a capacity of 2, the last three wait for room */
    if (!program_call(p, i, i % 2 == 0 ? 0 : hour))
      return 0;
  }
  ck_assert_int_eq(cancel(&p->c[3]), 0);
  p->is_open[1] = TRY(p, actor_try_open(&p->deaf, NULL, 1));
  if (!p->is_open[1])
    return 0;
  for (i = 0; i < 2; i++) { /* the second one finds no room */
    if (!program_wait(p) && (p->for_good || !program_wait(p)))
      return 0;
  }
  actor_start(&p->w.actor, KEEP);
  world_until(&p->w, p->w.actor.count >= 4);
  for (i = 0; i < 2; i++)
    ck_assert_int_eq(answer(&p->w.actor.kept[i], p->w.actor.values[i]), 0);
  ck_assert_int_eq(uvch_oneshot_sender_close(&p->w.actor.kept[2]), 0);
  p->w.actor.manner = ANSWER;
  return 1;
}

/* Needs no memory. */
static void program_end(program_t* p) {
  size_t i;

  if (p->is_open[1])
    actor_close(&p->deaf);
  for (i = 3; i < p->w.actor.kept_count; i++)
    ck_assert_int_ge(answer(&p->w.actor.kept[i], p->w.actor.values[i]), 0);
  if (p->is_open[0])
    actor_close(&p->w.actor);
  world_close_loops(&p->w);
  for (i = 0; i < COUNT(p->c); i++)
    ck_assert_int_eq(p->c[i].calls, p->made[i]);
}

/* Whether an allocation failed. */
static bool program_run(size_t n, size_t capacity, bool for_good) {
  program_t p;
  int ok;

  memset(&p, 0, sizeof(p));
  p.for_good = for_good;
  support_loop_init(&p.w.here);
  support_alloc_mark();
  if (for_good)
    support_alloc_fail_from(n);
  else
    support_alloc_fail(n);
  ok = program_use(&p, capacity);
  ck_assert(ok || for_good);
  program_end(&p);
  support_alloc_fail_from(0);
  ck_assert_uint_eq(support_alloc_blocks(), 0);
  return support_alloc_failed() > 0;
}

START_TEST(any_allocation_may_fail_and_no_call_is_lost_or_leaked) {
  size_t n = 1;

  while (program_run(n, _i / 2 == 0 ? 2 : UVCH_UNBOUNDED, _i % 2 == 1))
    n += 1;
  ck_assert_uint_gt(n, 3);
}
END_TEST

START_TEST(a_call_that_cannot_wait_for_want_of_memory_is_refused) {
  int result = UV_ENOMEM;
  actor_t actor;
  uv_loop_t loop;
  caller_t c;
  size_t n;

  for (n = 1; result != 0; n++) {
    memset(&actor, 0, sizeof(actor));
    support_loop_init(&loop);
    caller_init(&c, &loop, 0);
    ck_assert_int_eq(uvch_mpsc_init(NULL, &actor.rx, &actor.tx, sizeof(ask_t), 1), 0); /* as bare as can be */
    actor.has_sender = true;
    put_note(&actor, 0);
    support_alloc_fail(n);
    result = caller_try(&c, &actor, hour);
    support_alloc_fail(0);
    ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&actor.tx), result == 0 ? 2 : 1);
    if (result == 0) {
      ck_assert_int_eq(cancel(&c), 0);
    } else {
      ck_assert_int_eq(result, UV_ENOMEM);
      check_sender_is_used_up(&c);
    }
    support_loop_end(&loop);
    ck_assert_int_eq(c.calls, result == 0);
    ck_assert_uint_eq(uvch_mpsc_receiver_len(&actor.rx), 1);
    actor_close(&actor);
    ck_assert_uint_eq(support_alloc_blocks(), 0);
  }
  ck_assert_uint_gt(n, 4); /* the loop's part, the reply's place, its drop function, the line */
}
END_TEST

/* Forking. A child tells by its exit code; it never uses ck_assert. */

#define child_expect(condition)                                                    \
  do {                                                                             \
    if (!(condition)) {                                                            \
      fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                    \
    }                                                                              \
  } while (0)

enum { AT_ACTOR, AT_NOBODY, WITH_REPLY, QUEUED, TIMED_OUT, WAITING, FORKED };

/* The same in both processes; `wrong` counts what is. */
static size_t fork_finish(world_t* w, caller_t* c) {
  static const int wanted[FORKED] = {0, UV_ECANCELED, 0, 0, UV_ETIMEDOUT, 0};
  size_t wrong = 0;
  size_t i;

  wrong += answer(&w->actor.kept[AT_ACTOR], AT_ACTOR) != 0;
  wrong += cancel(&c[AT_NOBODY]) != 0;
  wrong += uvch_mpsc_recv_start(&w->actor.rx, actor_on_recv) != 0;
  world_until(w, c[TIMED_OUT].calls == 1 && w->actor.count == FORKED);
  w->actor.manner = ANSWER;
  for (i = 0; i < w->actor.kept_count; i++) {
    if (w->actor.values[i] == QUEUED || w->actor.values[i] == WAITING)
      wrong += answer(&w->actor.kept[i], w->actor.values[i]) != 0;
  }
  for (i = 0; i < FORKED; i++) {
    world_until(w, c[i].calls == 1);
    wrong += c[i].status != wanted[i] || (c[i].status == 0 && c[i].value != i + 1) || c[i].req.is_sent != 1;
  }
  wrong += w->actor.count != FORKED || w->actor.kept_count != FORKED;
  for (i = 0; i < FORKED; i++) {
    if (w->actor.values[i] == TIMED_OUT || w->actor.values[i] == AT_NOBODY)
      wrong += answer(&w->actor.kept[i], 0) != 1;
  }
  return wrong;
}

static void fork_child(world_t* w, caller_t* c, size_t blocks) {
  signal(SIGALRM, SIG_DFL); /* check has its own, for the whole group */
  alarm(60);
  child_expect(uv_loop_fork(&w->here) == 0 && uvch_loop_fork(&w->here) == 0);
  if (w->two)
    child_expect(uv_loop_fork(&w->there) == 0 && uvch_loop_fork(&w->there) == 0);
  child_expect(fork_finish(w, c) == 0);
  child_expect(uvch_mpsc_sender_close(&w->actor.tx) == 0);
  child_expect(uvch_close((uvch_handle_t*) &w->actor.rx, NULL) == 0);
  while (world_turn(w)) {
  }
  child_expect(uv_loop_close(&w->here) == 0);
  child_expect(!w->two || uv_loop_close(&w->there) == 0);
  child_expect(support_alloc_blocks() == blocks);
  child_expect(atomic_load(&replies.made) ==
               atomic_load(&replies.delivered) + atomic_load(&replies.dropped) + atomic_load(&replies.back));
  _exit(0);
}

START_TEST(calls_go_on_in_both_processes_after_a_fork) {
  size_t blocks = support_alloc_blocks();
  caller_t c[FORKED];
  int status = -1;
  world_t w;
  pid_t child;
  size_t i;

  world_init(&w, _i % 2, 2);
  w.actor.manner = KEEP;
  for (i = 0; i < FORKED; i++) {
    call_timed(&w.here, &c[i], &w.actor, i, i == TIMED_OUT ? 50 * millisecond : i % 2 == 0 ? 0 : hour);
    if (i <= WITH_REPLY)
      actor_turn(&w.actor);
  }
  if (_i / 2 == 1)
    world_turns(&w); /* the loops have run, and sleep */
  ck_assert_int_eq(answer(&w.actor.kept[WITH_REPLY], WITH_REPLY), 0);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0)
    fork_child(&w, c, blocks);
  ck_assert_uint_eq(fork_finish(&w, c), 0);
  world_end(&w);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child has failed, status %d", status);
}
END_TEST

/* A thread that frees room is stopped while it copies the message of a call; in the child it is gone. */

static void served_child(world_t* w, caller_t* c, support_slow_t* slow) {
  signal(SIGALRM, SIG_DFL);
  alarm(60);
  child_expect(mprotect(slow->item, slow->mapped, PROT_READ | PROT_WRITE) == 0);
  child_expect(uv_loop_fork(&w->here) == 0 && uvch_loop_fork(&w->here) == 0);
  child_expect(uvch_mpsc_sender_close(&w->actor.tx) == 0);
  world_until(w, c->calls == 1 && w->actor.ends == 1);
  child_expect(c->status == UV_ECANCELED && c->req.is_sent == 0);
  child_expect(w->actor.count == 0);
  child_expect(uvch_close((uvch_handle_t*) &w->actor.rx, NULL) == 0);
  while (world_turn(w)) {
  }
  child_expect(uv_loop_close(&w->here) == 0);
  _exit(0);
}

START_TEST(a_call_that_was_being_served_is_cancelled_in_the_child_alone) {
  uvch_mpsc_permit_t permit;
  uvch_call_options_t options = {.drop = box_drop};
  support_slow_t slow;
  uv_thread_t thread;
  int status = -1;
  pid_t child;
  caller_t c;
  world_t w;
  ask_t* ask;

  world_init(&w, false, 1);
  caller_init(&c, &w.here, 5);
  support_slow_init(&slow, &c.ask, sizeof(c.ask));
  ask = slow.item;
  ck_assert_int_eq(uvch_mpsc_try_reserve(&w.actor.tx, 1, &permit), 0);
  ck_assert_int_eq(mprotect(slow.item, slow.mapped, PROT_READ | PROT_WRITE), 0);
  ck_assert_int_eq(uvch_call_ex(&w.here, &c.req, &w.actor.tx, ask, &ask->reply, sizeof(box_t*), &options, on_reply), 0);
  ck_assert_int_eq(mprotect(slow.item, slow.mapped, PROT_NONE), 0);
  support_spawn(&thread, release_permit, &permit);
  support_slow_until_read(&slow);
  actor_start(&w.actor, ANSWER);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0)
    served_child(&w, &c, &slow);
  support_slow_let_go(&slow);
  support_join(&thread);
  ck_assert_int_eq(mprotect(slow.item, slow.mapped, PROT_READ | PROT_WRITE), 0);
  world_until(&w, c.calls == 1);
  c.ask = *ask;
  check_reply(&c);
  world_end(&w);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child has failed, status %d", status);
  support_slow_destroy(&slow);
}
END_TEST

static void add_ends(Suite* suite) {
  TCase* tcase = call_case(suite, "ends");

  tcase_add_test(tcase, a_stopped_loop_cancels_its_calls);
  tcase_add_test(tcase, closing_all_handles_of_a_loop_ends_its_actors_and_not_its_calls);
  tcase_add_loop_test(tcase, a_late_reply_after_the_end_of_the_callers_loop_is_dropped_where_it_is_sent, 0, 2);
  tcase_add_loop_test(tcase, a_program_may_close_the_librarys_handles_under_its_calls, 0, 4);
  tcase_add_test(tcase, a_program_may_close_the_librarys_handles_under_the_actor);
}

static void add_memory(Suite* suite) {
  TCase* tcase = call_case(suite, "memory");

  tcase_add_loop_test(tcase, calls_at_a_steady_rate_allocate_nothing, 0, 8);
  tcase_add_test(tcase, a_thread_that_calls_at_a_steady_rate_does_not_grow);
  tcase_add_loop_test(tcase, calling_and_giving_up_does_not_grow, 0, 2);
  tcase_add_loop_test(tcase, any_allocation_may_fail_and_no_call_is_lost_or_leaked, 0, 4);
  tcase_add_test(tcase, a_call_that_cannot_wait_for_want_of_memory_is_refused);
}

static void add_fork(Suite* suite) {
  TCase* tcase = call_case(suite, "fork");

  tcase_add_loop_test(tcase, calls_go_on_in_both_processes_after_a_fork, 0, 4);
  tcase_add_test(tcase, a_call_that_was_being_served_is_cancelled_in_the_child_alone);
}

int main(void) {
  Suite* suite = suite_create("call_memory");

  add_ends(suite);
  add_memory(suite);
  add_fork(suite);
  return support_main(suite);
}
