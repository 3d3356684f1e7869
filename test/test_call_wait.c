/* SPDX-License-Identifier: MIT
 *
 * Threads that call, and sleep until their reply comes. */
#include "call_support.h"

/* Threads that wait. */

typedef struct sleeper_s {
  actor_t* actor;
  ask_t ask;
  uint64_t timeout; /* 0: none */
  int status;
  int is_sent;
  box_t* box;
  _Atomic(long) number;
  uv_thread_t thread;
} sleeper_t;

static void sleeper_ask(sleeper_t* s) {
  memset(&s->ask.reply, 0xdd, sizeof(s->ask.reply));
  s->box = NULL;
  s->is_sent = 0;
  if (s->timeout == 0)
    s->status = uvch_call_wait(&s->actor->tx, &s->ask, &s->ask.reply, &s->box, sizeof(s->box));
  else
    s->status = uvch_call_timedwait(&s->actor->tx, &s->ask, &s->ask.reply, &s->box, sizeof(s->box), s->timeout, &s->is_sent);
}

static void sleeper_work(void* arg) {
  sleeper_t* s = arg;

  atomic_store(&s->number, support_thread_number());
  sleeper_ask(s);
}

static void sleeper_start(sleeper_t* s, actor_t* actor, uint64_t value, uint64_t timeout) {
  memset(s, 0, sizeof(*s));
  s->actor = actor;
  s->ask.value = value;
  s->timeout = timeout;
  support_spawn(&s->thread, sleeper_work, s);
}

static void sleeper_check_reply(sleeper_t* s) {
  ck_assert_int_eq(s->status, 0);
  ck_assert_ptr_nonnull(s->box);
  ck_assert_uint_eq(box_open(s->box), s->ask.value + 1);
}

static void sleeper_check_status(sleeper_t* s, int status) {
  ck_assert_int_eq(s->status, status);
  ck_assert_ptr_null(s->box);
  ck_assert_int_eq(uvch_oneshot_sender_close(&s->ask.reply), UV_EBADF);
}

START_TEST(a_thread_waits_for_its_reply) {
  sleeper_t s[4];
  world_t w;
  size_t i;

  world_init(&w, false, 1);
  for (i = 0; i < COUNT(s); i++) { /* the first one is taken, the others wait for room, in turn */
    sleeper_start(&s[i], &w.actor, i, _i == 0 ? 0 : _i == 1 ? hour : UINT64_MAX);
    support_until_blocked(&s[i].number);
  }
  actor_start(&w.actor, KEEP);
  world_until(&w, w.actor.kept_count == COUNT(s));
  actor_check_got(&w.actor, COUNT(s));
  for (i = COUNT(s); i-- > 0;) {
    support_until_asleep(atomic_load(&s[i].number));
    ck_assert_int_eq(answer(&w.actor.kept[i], i), 0);
    support_join(&s[i].thread);
    sleeper_check_reply(&s[i]);
  }
  world_end(&w);
}
END_TEST

START_TEST(a_thread_waits_for_an_actor_that_is_a_thread) {
  sleeper_t s;
  actor_t actor;
  ask_t ask;

  actor_open(&actor, NULL, 1);
  sleeper_start(&s, &actor, 5, 0);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&actor.rx, &ask), 0);
  ck_assert_int_eq(answer(&ask.reply, ask.value), 0);
  support_join(&s.thread);
  sleeper_check_reply(&s);
  actor_close(&actor);
}
END_TEST

START_TEST(a_thread_is_told_that_there_will_be_no_reply) {
  sleeper_t s[3];
  world_t w;
  size_t i;

  world_init(&w, false, 2);
  for (i = 0; i < COUNT(s); i++) {
    sleeper_start(&s[i], &w.actor, i, _i == 0 ? 0 : hour);
    support_until_blocked(&s[i].number);
  }
  w.actor.manner = GIVE_UP;
  actor_turn(&w.actor); /* its room goes to the third */
  support_join(&s[0].thread);
  sleeper_check_status(&s[0], UV_EOF);
  sleeper_start(&s[0], &w.actor, 3, _i == 0 ? 0 : hour);
  support_until_blocked(&s[0].number);
  support_close(&w.actor.rx);
  for (i = 0; i < COUNT(s); i++)
    support_join(&s[i].thread);
  sleeper_check_status(&s[0], UV_EPIPE);
  sleeper_check_status(&s[1], UV_EOF);
  sleeper_check_status(&s[2], UV_EOF);
  ck_assert_uint_eq(w.actor.dropped, 2);
  sleeper_ask(&s[0]);
  sleeper_check_status(&s[0], UV_EPIPE);
  actor_drop_sender(&w.actor);
  world_close_loops(&w);
}
END_TEST

START_TEST(a_thread_gives_up_after_its_time) {
  static const uint64_t timeouts[] = {1, 1000, 300000, 3000000};
  sleeper_t s[2];
  uint64_t began;
  world_t w;
  size_t i;

  memset(s, 0, sizeof(s));
  world_init(&w, false, 1);
  for (i = 0; i < COUNT(s); i++) { /* the second one finds no room */
    s[i].actor = &w.actor;
    s[i].ask.value = i;
    s[i].timeout = timeouts[_i];
    began = uv_hrtime();
    sleeper_ask(&s[i]);
    ck_assert_uint_ge(uv_hrtime() - began, timeouts[_i]);
    sleeper_check_status(&s[i], UV_ETIMEDOUT);
    ck_assert_int_eq(s[i].is_sent, i == 0);
  }
  actor_start(&w.actor, KEEP);
  world_until(&w, w.actor.kept_count == 1);
  world_turns(&w);
  actor_check_got(&w.actor, 1);
  ck_assert_int_eq(uvch_oneshot_sender_is_closed(&w.actor.kept[0]), 1);
  ck_assert_int_eq(_i % 2 == 0 ? answer(&w.actor.kept[0], 0) : answer_in_time(&w.actor.kept[0], 0), UV_EPIPE);
  world_end(&w);
}
END_TEST

START_TEST(no_time_at_all_sends_if_there_is_room) {
  world_t w;
  box_t* box;
  ask_t ask;
  int is_sent = 7;

  memset(&ask, 0, sizeof(ask));
  world_init(&w, false, 1);
  ck_assert_int_eq(uvch_call_timedwait(&w.actor.tx, &ask, &ask.reply, &box, sizeof(box), 0, &is_sent), UV_ETIMEDOUT);
  ck_assert_int_eq(is_sent, 1);
  ck_assert_int_eq(uvch_call_timedwait(&w.actor.tx, &ask, &ask.reply, &box, sizeof(box), 0, &is_sent), UV_ETIMEDOUT);
  ck_assert_int_eq(is_sent, 0);
  ck_assert_int_eq(uvch_call_timedwait(&w.actor.tx, &ask, &ask.reply, &box, sizeof(box), 0, NULL), UV_ETIMEDOUT);
  w.actor.manner = KEEP;
  actor_turn(&w.actor);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&w.actor.rx), 0);
  ck_assert_int_eq(answer_in_time(&w.actor.kept[0], 0), UV_EPIPE);
  support_close(&w.actor.rx);
  ck_assert_int_eq(uvch_call_timedwait(&w.actor.tx, &ask, &ask.reply, &box, sizeof(box), 0, &is_sent), UV_EPIPE);
  ck_assert_int_eq(uvch_call_timedwait(&w.actor.tx, &ask, &ask.reply, &box, sizeof(box), 0, NULL), UV_EPIPE);
  actor_drop_sender(&w.actor);
  world_close_loops(&w);
}
END_TEST

typedef struct sized_s {
  actor_t* actor;
  support_result_t result;
  uv_thread_t thread;
} sized_t;

/* Asks for replies of every size; the value says which. */
static void sized_work(void* arg) {
  sized_t* sized = arg;
  unsigned char* bytes;
  ask_t ask;
  size_t i;

  memset(&ask, 0, sizeof(ask));
  for (i = 0; i < COUNT(sizes); i++) {
    bytes = malloc(sizes[i] + 2);
    if (bytes == NULL)
      abort();
    memset(bytes, 0xee, sizes[i] + 2);
    ask.value = i;
    support_expect_eq(&sized->result, uvch_call_wait(&sized->actor->tx, &ask, &ask.reply, bytes + 1, sizes[i]), 0);
    support_expect(&sized->result, is_painted(bytes + 1, sizes[i], i));
    support_expect(&sized->result, bytes[0] == 0xee && bytes[sizes[i] + 1] == 0xee);
    free(bytes);
  }
  support_expect_eq(&sized->result, uvch_call_wait(&sized->actor->tx, &ask, &ask.reply, NULL, 0), 0);
  support_expect_eq(&sized->result, uvch_mpsc_sender_close(&sized->actor->tx), 0);
}

static void sized_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  static unsigned char bytes[100000];
  ask_t* ask = item;

  if (status != 0) {
    support_close(rx);
    return;
  }
  paint(bytes, sizes[ask->value], ask->value);
  support_check_eq(uvch_reply(&ask->reply, bytes), 0);
}

START_TEST(a_thread_gets_replies_of_every_size_whole) {
  sized_t sized;
  actor_t actor;
  uv_loop_t loop;

  memset(&sized, 0, sizeof(sized));
  support_loop_init(&loop);
  actor_open(&actor, &loop, 1);
  ck_assert_int_eq(uvch_mpsc_recv_start(&actor.rx, sized_on_recv), 0);
  sized.actor = &actor;
  support_spawn(&sized.thread, sized_work, &sized);
  support_loop_end(&loop);
  support_join(&sized.thread);
  support_result_check(&sized.result);
}
END_TEST

/* Many at once: two loops with `each` callers, and threads that wait. The actor answers when all of them have asked, in an order of
 * its own, and each one asks again. */

#define ASKERS 4

typedef struct crowd_s crowd_t;

typedef struct member_s {
  caller_t c;
  crowd_t* crowd;
  size_t left;
} member_t;

typedef struct asker_s {
  crowd_t* crowd;
  actor_t* actor;
  size_t left;
  uv_thread_t thread;
} asker_t;

struct crowd_s {
  actor_t actor;
  uv_loop_t loop;
  uv_loop_t loops[2];
  support_runner_t runners[2];
  member_t* members;
  asker_t askers[ASKERS];
  uvch_oneshot_sender_t* kept;
  uint64_t* values;
  size_t kept_count;
  size_t all;
  uint64_t seed;
  size_t answered;
  support_result_t result;
};

static void member_on_reply(uvch_call_t* req, int status, void* reply);

static int member_ask(member_t* m) {
  uvch_call_options_t options = {.timeout = m->left % 2 == 0 ? 0 : hour, .drop = box_drop};
  uv_loop_t* loop = m->c.loop;

  caller_init(&m->c, loop, (uint64_t) (m - m->crowd->members) * 1000 + m->left);
  m->c.req.data = m;
  return uvch_call_ex(loop, &m->c.req, &m->crowd->actor.tx, &m->c.ask, &m->c.ask.reply, sizeof(box_t*), &options,
                      member_on_reply);
}

static void member_on_reply(uvch_call_t* req, int status, void* reply) {
  member_t* m = req->data;
  box_t* box;

  if (!support_expect_eq(&m->crowd->result, status, 0))
    return;
  memcpy(&box, reply, sizeof(box));
  support_expect_eq(&m->crowd->result, box_open(box), m->c.ask.value + 1);
  m->left -= 1;
  if (m->left > 0)
    support_expect_eq(&m->crowd->result, member_ask(m), 0);
}

static void asker_work(void* arg) {
  asker_t* a = arg;
  support_result_t* result = &a->crowd->result;
  box_t* box;
  ask_t ask;

  memset(&ask, 0, sizeof(ask));
  for (; a->left > 0; a->left--) {
    ask.value = a->left;
    if (!support_expect_eq(result, uvch_call_wait(&a->crowd->actor.tx, &ask, &ask.reply, &box, sizeof(box)), 0))
      return;
    support_expect_eq(result, box_open(box), a->left + 1);
  }
}

static void crowd_answer(crowd_t* crowd) {
  size_t left;
  size_t i;

  for (left = crowd->all; left > 0; left--) {
    i = draw(&crowd->seed, left);
    support_check_eq(answer(&crowd->kept[i], crowd->values[i]), 0);
    crowd->kept[i] = crowd->kept[left - 1];
    crowd->values[i] = crowd->values[left - 1];
  }
  crowd->answered += crowd->all;
  crowd->kept_count = 0;
}

static void crowd_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  crowd_t* crowd = rx->data;
  ask_t* ask = item;

  support_check_eq(status, 0);
  crowd->kept[crowd->kept_count] = ask->reply;
  crowd->values[crowd->kept_count++] = ask->value;
  if (crowd->kept_count == crowd->all)
    crowd_answer(crowd);
}

START_TEST(many_calls_are_out_from_two_loops_and_from_threads) {
  static const size_t eaches[] = {64, 64, 1000, 1000};
  size_t each = eaches[_i];
  size_t rounds = support_scale(each == 64 ? 30 : 3);
  static crowd_t crowd;
  size_t i;

  memset(&crowd, 0, sizeof(crowd));
  crowd.all = 2 * each + ASKERS;
  crowd.members = calloc(2 * each, sizeof(*crowd.members));
  crowd.kept = calloc(crowd.all, sizeof(*crowd.kept));
  crowd.values = calloc(crowd.all, sizeof(*crowd.values));
  ck_assert(crowd.members != NULL && crowd.kept != NULL && crowd.values != NULL);
  support_loop_init(&crowd.loop);
  actor_open(&crowd.actor, &crowd.loop, _i % 2 == 0 ? 16 : UVCH_UNBOUNDED);
  crowd.actor.rx.data = &crowd;
  ck_assert_int_eq(uvch_mpsc_recv_start(&crowd.actor.rx, crowd_on_recv), 0);
  support_loop_init(&crowd.loops[0]);
  support_loop_init(&crowd.loops[1]);
  for (i = 0; i < 2 * each; i++) {
    crowd.members[i].c.loop = &crowd.loops[i % 2];
    crowd.members[i].crowd = &crowd;
    crowd.members[i].left = rounds;
    ck_assert_int_eq(member_ask(&crowd.members[i]), 0);
  }
  support_runner_start(&crowd.runners[0], &crowd.loops[0]);
  support_runner_start(&crowd.runners[1], &crowd.loops[1]);
  for (i = 0; i < ASKERS; i++) {
    crowd.askers[i].crowd = &crowd;
    crowd.askers[i].left = rounds;
    support_spawn(&crowd.askers[i].thread, asker_work, &crowd.askers[i]);
  }
  while (crowd.answered < rounds * crowd.all)
    uv_run(&crowd.loop, UV_RUN_ONCE);
  for (i = 0; i < ASKERS; i++)
    support_join(&crowd.askers[i].thread);
  support_runner_join(&crowd.runners[0]);
  support_runner_join(&crowd.runners[1]);
  support_loop_close(&crowd.loops[0]);
  support_loop_close(&crowd.loops[1]);
  actor_close(&crowd.actor);
  support_loop_end(&crowd.loop);
  support_result_check(&crowd.result);
  ck_assert_uint_eq(crowd.answered, atomic_load(&replies.delivered));
  free(crowd.members);
  free(crowd.kept);
  free(crowd.values);
}
END_TEST

/* Refusals. */

START_TEST(null_and_closed_are_refused_by_calls_that_wait) {
  uvch_oneshot_sender_t outside;
  uvch_oneshot_sender_t* reply;
  uvch_mpsc_sender_t closed;
  uvch_mpsc_sender_t* tx;
  uint64_t value;
  actor_t actor;
  int is_sent = 0;
  ask_t ask;

  reply = &ask.reply;
  actor_open(&actor, NULL, 4);
  tx = &actor.tx;
  ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &closed), 0);
  support_drop_sender(&closed);
  check_refused(&ask, uvch_call_wait(NULL, &ask, reply, &value, 8), UV_EINVAL);
  check_refused(&ask, uvch_call_wait(tx, NULL, reply, &value, 8), UV_EINVAL);
  check_refused(&ask, uvch_call_wait(tx, &ask, reply, NULL, 8), UV_EINVAL);
  check_refused(&ask, uvch_call_wait(tx, &ask, reply, &value, UVCH_ONESHOT_ITEM_MAX + 1), UV_EINVAL);
  check_refused(&ask, uvch_call_wait(&closed, &ask, reply, &value, 8), UV_EBADF);
  check_refused(&ask, uvch_call_timedwait(NULL, &ask, reply, &value, 8, 1, &is_sent), UV_EINVAL);
  check_refused(&ask, uvch_call_timedwait(tx, NULL, reply, &value, 8, 1, &is_sent), UV_EINVAL);
  check_refused(&ask, uvch_call_timedwait(tx, &ask, reply, NULL, 8, 1, &is_sent), UV_EINVAL);
  check_refused(&ask, uvch_call_timedwait(tx, &ask, reply, &value, SIZE_MAX, 1, &is_sent), UV_EINVAL);
  check_refused(&ask, uvch_call_timedwait(&closed, &ask, reply, &value, 8, 1, &is_sent), UV_EBADF);
  ck_assert_int_eq(uvch_call_wait(tx, &ask, NULL, &value, 8), UV_EINVAL);
  ck_assert_int_eq(uvch_call_wait(tx, &ask, &outside, &value, 8), UV_EINVAL);
  ck_assert_int_eq(uvch_call_timedwait(tx, &ask, NULL, &value, 8, 1, &is_sent), UV_EINVAL);
  ck_assert_int_eq(is_sent, 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&actor.rx), 0);
  actor_close(&actor);
}
END_TEST

typedef struct self_wait_s {
  uvch_mpsc_sender_t* tx;
  int results[2];
  int done;
} self_wait_t;

static void wait_on_own_loop(uvch_mpsc_receiver_t* rx, int status, void* item) {
  self_wait_t* self = rx->data;
  int is_sent = 0;
  box_t* box;
  ask_t ask;

  (void) item;
  ck_assert_int_eq(status, 0);
  memset(&ask, 0, sizeof(ask));
  self->results[0] = uvch_call_wait(self->tx, &ask, &ask.reply, &box, sizeof(box));
  self->results[1] = uvch_call_timedwait(self->tx, &ask, &ask.reply, &box, sizeof(box), 1, &is_sent);
  ck_assert_int_eq(is_sent, 0);
  ck_assert_int_eq(uvch_oneshot_sender_close(&ask.reply), UV_EBADF);
  self->done = 1;
}

START_TEST(a_thread_cannot_wait_for_an_actor_on_its_own_loop) {
  self_wait_t self;
  world_t w;

  memset(&self, 0, sizeof(self));
  world_init(&w, false, 4);
  self.tx = &w.actor.tx;
  w.actor.rx.data = &self;
  ck_assert_int_eq(uvch_mpsc_recv_start(&w.actor.rx, wait_on_own_loop), 0);
  put_note(&w.actor, 0);
  world_until(&w, self.done);
  ck_assert_int_eq(self.results[0], UV_EPERM);
  ck_assert_int_eq(self.results[1], UV_EPERM);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&w.actor.rx), 0);
  world_end(&w);
}
END_TEST

static void add_threads(Suite* suite) {
  TCase* tcase = call_case(suite, "threads");

  tcase_add_loop_test(tcase, a_thread_waits_for_its_reply, 0, 3);
  tcase_add_test(tcase, a_thread_waits_for_an_actor_that_is_a_thread);
  tcase_add_loop_test(tcase, a_thread_is_told_that_there_will_be_no_reply, 0, 2);
  tcase_add_loop_test(tcase, a_thread_gives_up_after_its_time, 0, 4);
  tcase_add_test(tcase, no_time_at_all_sends_if_there_is_room);
  tcase_add_test(tcase, a_thread_gets_replies_of_every_size_whole);
  tcase_add_loop_test(tcase, many_calls_are_out_from_two_loops_and_from_threads, 0, 4);
}

static void add_refusals(Suite* suite) {
  TCase* tcase = call_case(suite, "refusals");

  tcase_add_test(tcase, null_and_closed_are_refused_by_calls_that_wait);
  tcase_add_test(tcase, a_thread_cannot_wait_for_an_actor_on_its_own_loop);
}

int main(void) {
  Suite* suite = suite_create("call_wait");

  add_threads(suite);
  add_refusals(suite);
  return support_main(suite);
}
