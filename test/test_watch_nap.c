/* SPDX-License-Identifier: MIT
 *
 * Naps: a group of receivers that is flooded looks again after a moment, and no send can wake it until then. Here every round that
 * has brought something is followed by one. Nothing but uv_run() ends it, so what a case does between two runs, it does in a nap. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch.h"
#include "watch_support.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MEMBERS = 3, MEMBERS_MAX, CHILD_SECONDS = 60 };

typedef struct lane_s lane_t;

typedef struct member_s {
  watch_log_t log; /* first: the receiver's data */
  uvch_watch_receiver_t rx;
  lane_t* lane;
  bool gone; /* it does not get the end */
  size_t to_close;
  size_t closes;
} member_t;

struct lane_s {
  uv_loop_t loop;
  uvch_watch_sender_t tx;
  member_t members[MEMBERS_MAX];
  size_t count;
  uint64_t sent;
  size_t depth;
  uvch_watch_wait_for_t waiting;
  uint64_t wanted;
  uint64_t tested;
  int answer; /* WATCH_NOT_DONE: none yet */
};

static void on_close(uvch_handle_t* handle) {
  member_t* member = handle->data;

  member->closes += 1;
}

static bool naps(const member_t* member) {
  const struct uvch__wgroup* g = uvch__wgroup_at(member->rx.core);

  return g->timer.link != NULL && g->group.has_token;
}

static void lane_put(lane_t* lane) {
  lane->sent += 1;
  watch_put(&lane->tx, lane->sent);
}

static void member_listen(member_t* member) {
  watch_listen(&member->rx, &member->log, 0, true);
}

static member_t* lane_add(lane_t* lane, uv_loop_t* loop) {
  member_t* member = &lane->members[lane->count++];

  watch_subscribe(loop, &member->rx, &lane->tx);
  member_listen(member);
  member->lane = lane;
  return member;
}

static void lane_open(lane_t* lane, size_t members) {
  memset(lane, 0, sizeof(*lane));
  lane->answer = WATCH_NOT_DONE;
  support_loop_init(&lane->loop);
  watch_open(NULL, NULL, &lane->tx, 0);
  while (lane->count < members) {
    lane_add(lane, &lane->loop);
  }
}

/* Until the member has had everything, and there is a nap. A pass that is late finds that over at its end: then once more. */
static void member_nap(lane_t* lane, uv_loop_t* loop, const member_t* member) {
  do {
    lane_put(lane);
    uv_update_time(loop);
    uv_run(loop, UV_RUN_NOWAIT);
  } while (!naps(member) || member->log.last != lane->sent);
}

static void lane_nap(lane_t* lane) {
  member_nap(lane, &lane->loop, &lane->members[0]);
}

static void lane_catch_up(lane_t* lane, const member_t* member) {
  watch_pump(&lane->loop, member->log.last == lane->sent);
}

/* Its numbers have grown up to `last`, and then it got the end. */
static void member_check(member_t* member, uint64_t last) {
  size_t count = atomic_load(&member->log.count);
  size_t i;

  support_result_check(&member->log.result);
  ck_assert_uint_eq(member->log.last, last);
  ck_assert_uint_eq(atomic_load(&member->log.ends), 1);
  for (i = 1; i + 1 < count && i < COUNT(member->log.got); i++) {
    support_check(member->log.got[i].value > member->log.got[i - 1].value);
  }
}

static void lane_check(lane_t* lane) {
  size_t i;

  for (i = 0; i < lane->count; i++) {
    member_t* member = &lane->members[i];
    ck_assert_uint_eq(member->closes, member->to_close);
    if (member->gone) {
      watch_heard_all(&member->log, atomic_load(&member->log.count), 0);
    } else {
      member_check(member, lane->sent);
    }
  }
}

static void lane_end(lane_t* lane) {
  if (uvch_watch_sender_sender_count(&lane->tx) != 0) {
    watch_drop_sender(&lane->tx);
  }
  support_loop_end(&lane->loop);
  lane_check(lane);
}

/* What is sent. */

START_TEST(values_and_the_end_come) {
  size_t rounds = support_scale(30);
  lane_t lane;
  size_t i;
  size_t k;

  lane_open(&lane, MEMBERS);
  for (i = 0; i < rounds; i++) {
    lane_nap(&lane);
    for (k = 0; k < i % 4; k++) {
      lane_put(&lane);
    }
    lane_catch_up(&lane, &lane.members[i % MEMBERS]);
  }
  lane_end(&lane);
}
END_TEST

/* _i: so many values, then perhaps the end. */
START_TEST(of_what_is_sent_meanwhile_the_newest_comes_once) {
  bool ends = _i % 2 != 0;
  size_t before;
  lane_t lane;
  int i;

  lane_open(&lane, 1);
  lane_nap(&lane);
  before = atomic_load(&lane.members[0].log.count);
  for (i = 0; i < _i / 2; i++) {
    lane_put(&lane);
  }
  if (!ends) {
    lane_catch_up(&lane, &lane.members[0]);
    watch_turn(&lane.loop);
  }
  lane_end(&lane);
  ck_assert_uint_eq(atomic_load(&lane.members[0].log.count), before + (_i >= 2) + 1);
}
END_TEST

/* What receivers do meanwhile. Then a value comes to all that are there, and the end. */

static void lane_go_on(lane_t* lane) {
  lane_put(lane);
  watch_turn(&lane->loop);
  lane_put(lane);
  lane_end(lane);
}

static void member_close(member_t* member, uvch_close_cb cb) {
  member->gone = true;
  member->to_close = cb != NULL;
  member->rx.data = member;
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &member->rx, cb), 0);
}

/* _i: alone or not; the first, the last with a callback, all. What of them is left on the loop, the naps of another channel's
 * receiver would come upon. */
START_TEST(receivers_close_meanwhile) {
  uvch_watch_sender_t tx;
  member_t stays;
  lane_t lane;
  size_t i;

  lane_open(&lane, _i % 2 == 0 ? 1 : MEMBERS);
  lane_nap(&lane);
  if (_i / 2 == 0) {
    member_close(&lane.members[0], NULL);
  } else if (_i / 2 == 1) {
    member_close(&lane.members[lane.count - 1], on_close);
  } else {
    ck_assert_int_eq(uvch_close_all(&lane.loop), (int) lane.count);
    ck_assert_uint_eq(uvch_watch_sender_receiver_count(&lane.tx), 0);
    for (i = 0; i < lane.count; i++) {
      lane.members[i].gone = true;
    }
  }
  watch_open(&lane.loop, &stays.rx, &tx, 0);
  member_listen(&stays);
  for (i = 1; i < 4; i++) {
    watch_put(&tx, i);
    watch_pump(&lane.loop, stays.log.last == i);
  }
  watch_drop_sender(&tx);
  lane_go_on(&lane);
}
END_TEST

/* _i: alone or not; stopped for a moment or for a while. */
START_TEST(a_receiver_stops_and_starts_meanwhile) {
  size_t before;
  lane_t lane;

  lane_open(&lane, _i % 2 == 0 ? 1 : MEMBERS);
  lane_nap(&lane);
  before = atomic_load(&lane.members[0].log.count);
  ck_assert_int_eq(uvch_watch_stop(&lane.members[0].rx), 0);
  ck_assert_int_eq(uv_loop_alive(&lane.loop), lane.count > 1);
  lane_put(&lane);
  if (_i / 2 != 0) {
    watch_turn(&lane.loop);
    ck_assert_uint_eq(atomic_load(&lane.members[0].log.count), before);
  }
  ck_assert_int_eq(uvch_watch_start(&lane.members[0].rx, watch_log_cb, 0), 0);
  lane_catch_up(&lane, &lane.members[0]);
  ck_assert_uint_eq(atomic_load(&lane.members[0].log.count), before + 1);
  lane_go_on(&lane);
}
END_TEST

/* _i: how it comes. */
START_TEST(a_new_receiver_comes_meanwhile) {
  member_t* other;
  lane_t lane;

  lane_open(&lane, 1);
  other = &lane.members[lane.count++];
  lane_nap(&lane);
  if (_i == 0) {
    watch_subscribe(&lane.loop, &other->rx, &lane.tx);
  } else if (_i == 1) {
    watch_subscribe(NULL, &other->rx, &lane.tx);
    watch_attach(&lane.loop, &other->rx);
  } else {
    watch_clone(&lane.loop, &other->rx, &lane.members[0].rx);
  }
  member_listen(other);
  lane_put(&lane);
  lane_catch_up(&lane, other);
  watch_heard_all(&other->log, 1, 0);
  member_nap(&lane, &lane.loop, other);
  lane_go_on(&lane);
}
END_TEST

/* A nap keeps no loop alive, a started receiver does. */
START_TEST(the_loop_may_end_meanwhile) {
  lane_t lane;

  lane_open(&lane, 1);
  lane_nap(&lane);
  ck_assert_int_eq(uv_loop_alive(&lane.loop), 1);
  uvch_unref((uvch_handle_t*) &lane.members[0].rx);
  lane_put(&lane);
  ck_assert_int_eq(uv_loop_alive(&lane.loop), 0);
  ck_assert_int_eq(uv_run(&lane.loop, UV_RUN_DEFAULT), 0);
  if (_i == 0) {
    uvch_ref((uvch_handle_t*) &lane.members[0].rx);
  } else {
    member_close(&lane.members[0], on_close);
  }
  lane_go_on(&lane);
}
END_TEST

static int is_wanted(const void* value, void* arg) {
  lane_t* lane = arg;

  lane->tested = watch_number(value);
  return lane->tested >= lane->wanted;
}

static void on_wanted(uvch_watch_wait_for_t* req, int status, const void* value) {
  lane_t* lane = req->data;

  ck_assert_int_eq(lane->answer, WATCH_NOT_DONE);
  ck_assert_int_eq(value != NULL, status == 0);
  lane->answer = status;
}

/* _i: how it ends. It begins in one nap, and all but those that are cancelled at once end in another. */
START_TEST(a_request_waits_meanwhile) {
  static const int answers[] = {0, UV_EOF, UV_ECANCELED, UV_ECANCELED, UV_ECANCELED};
  enum { A_VALUE, THE_END, CLOSE, CANCEL, AT_ONCE };
  member_t* other;
  lane_t lane;

  lane_open(&lane, 1);
  lane_nap(&lane);
  other = &lane.members[lane.count++];
  watch_subscribe(&lane.loop, &other->rx, &lane.tx);
  lane.wanted = 1000000;
  lane.waiting.data = &lane;
  ck_assert_int_eq(uvch_watch_wait_for(&lane.waiting, &other->rx, is_wanted, &lane, on_wanted), 0);
  if (_i != AT_ONCE) {
    lane_nap(&lane);
    ck_assert_uint_eq(lane.tested, lane.sent);
  }
  if (_i == A_VALUE) {
    lane.sent = lane.wanted;
    lane_put(&lane);
  } else if (_i == THE_END) {
    watch_drop_sender(&lane.tx);
  } else if (_i == CLOSE) {
    member_close(other, on_close);
  } else {
    ck_assert_int_eq(uvch_cancel((uvch_req_t*) &lane.waiting), 0);
  }
  watch_pump(&lane.loop, lane.answer != WATCH_NOT_DONE);
  ck_assert_int_eq(lane.answer, answers[_i]);
  if (_i != CLOSE) {
    member_close(other, NULL);
  }
  lane_end(&lane);
}
END_TEST

/* Loops. */

static void lane_restart(lane_t* lane, uvch_watch_cb cb) {
  ck_assert_int_eq(uvch_watch_stop(&lane->members[0].rx), 0);
  ck_assert_int_eq(uvch_watch_start(&lane->members[0].rx, cb, 0), 0);
}

/* The loop runs inside until a value that is sent inside has come, and there is a nap. */
static void nest_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  member_t* member = rx->data;
  lane_t* lane = member->lane;
  uint64_t number = value != NULL ? watch_number(value) : 0;

  watch_log_cb(rx, status, value);
  if (status == 0 && lane->depth < 3) {
    lane->depth += 1;
    lane_nap(lane);
    lane_catch_up(lane, &lane->members[lane->depth % MEMBERS]);
    support_check_eq(watch_number(value), number);
    lane->depth -= 1;
  }
}

START_TEST(the_loop_runs_inside_callbacks) {
  lane_t lane;
  size_t i;

  lane_open(&lane, MEMBERS);
  lane_restart(&lane, nest_cb);
  for (i = 0; i < 3; i++) {
    lane_nap(&lane);
    lane_put(&lane);
    lane_catch_up(&lane, &lane.members[i]);
  }
  lane_end(&lane);
}
END_TEST

static void stop_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  watch_log_cb(rx, status, value);
  uv_stop(rx->loop);
}

/* _i: the mode that the loop runs in. */
START_TEST(the_loop_stops_with_each_value) {
  lane_t lane;
  int i;

  lane_open(&lane, 1);
  lane_restart(&lane, stop_cb);
  for (i = 0; i < 5; i++) {
    lane_put(&lane);
    do {
      ck_assert_int_ne(uv_run(&lane.loop, (uv_run_mode) _i), 0);
    } while (lane.members[0].log.last != lane.sent);
  }
  watch_drop_sender(&lane.tx);
  watch_pump(&lane.loop, lane.members[0].log.ends != 0);
  lane_end(&lane);
}
END_TEST

enum { ALL, OTHERS, TIMER };

static void close_ours(uv_handle_t* handle, void* arg) {
  int which = *(const int*) arg;

  if (uvch_owns_handle(handle) && (which == ALL || (which == TIMER) == (handle->type == UV_TIMER))) {
    uv_close(handle, NULL);
  }
}

/* _i: all of the handles, all but the timer, or that; the receivers before the next pass or after. */
START_TEST(a_program_closes_the_handles_of_the_library_meanwhile) {
  int which = _i / 2;
  lane_t lane;
  size_t i;

  lane_open(&lane, MEMBERS);
  lane_nap(&lane);
  member_close(&lane.members[0], NULL);
  uv_walk(&lane.loop, close_ours, &which);
  lane_put(&lane);
  if (_i % 2 != 0) {
    watch_turn(&lane.loop);
  }
  for (i = 1; i < MEMBERS; i++) {
    member_close(&lane.members[i], on_close);
  }
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&lane.tx), 0);
  support_loop_run(&lane.loop);
  lane_add(&lane, &lane.loop); /* so that the library finds out that libuv is done with the old ones */
  lane_go_on(&lane);
}
END_TEST

/* Two loops of this thread; the first one ends. */
START_TEST(loops_nap_each_for_itself) {
  uv_loop_t second;
  member_t* other;
  lane_t lane;

  lane_open(&lane, 1);
  support_loop_init(&second);
  other = lane_add(&lane, &second);
  lane_nap(&lane);
  member_nap(&lane, &second, other);
  ck_assert_uint_lt(lane.members[0].log.last, lane.sent);
  lane_catch_up(&lane, &lane.members[0]);
  member_close(&lane.members[0], on_close);
  support_loop_end(&lane.loop);
  lane_put(&lane);
  watch_drop_sender(&lane.tx);
  support_loop_end(&second);
  lane_check(&lane);
}
END_TEST

/* Both processes go on, and each has the values that it sends itself. */
static bool goes_on(lane_t* lane) {
  int k;

  for (k = 0; k < 5; k++) {
    lane_put(lane);
    while (lane->members[MEMBERS - 1].log.last != lane->sent) {
      uv_run(&lane->loop, UV_RUN_ONCE);
    }
  }
  return uvch_watch_sender_close(&lane->tx) == 0 && uv_run(&lane->loop, UV_RUN_DEFAULT) == 0 && lane->members[0].log.ends == 1;
}

/* _i: a value is waiting. */
START_TEST(a_process_forks_meanwhile) {
  int status = -1;
  lane_t lane;
  pid_t child;

  lane_open(&lane, MEMBERS);
  lane_nap(&lane);
  if (_i != 0) {
    lane_put(&lane);
  }
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    signal(SIGALRM, SIG_DFL); /* check has its own, for the whole group */
    alarm(CHILD_SECONDS);
    _exit(uv_loop_fork(&lane.loop) == 0 && uvch_loop_fork(&lane.loop) == 0 && goes_on(&lane) && uv_loop_close(&lane.loop) == 0
              ? 0
              : 1);
  }
  ck_assert(goes_on(&lane));
  support_loop_close(&lane.loop);
  lane_check(&lane);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child has failed, status %d", status);
}
END_TEST

/* Other threads. */

typedef struct sender_s {
  uvch_watch_sender_t tx;
  member_t* heard; /* each value waits for a callback there; NULL: for none */
  uint64_t last;
  support_result_t result;
  uv_thread_t thread;
} sender_t;

static void sender_run(void* arg) {
  sender_t* sender = arg;
  uint64_t number;

  for (number = 1; number <= sender->last; number++) {
    support_expect_eq(&sender->result, uvch_watch_send(&sender->tx, &number), 0);
    support_until(sender->heard == NULL || atomic_load(&sender->heard->log.count) >= number);
  }
  support_expect_eq(&sender->result, uvch_watch_sender_close(&sender->tx), 0);
}

/* It goes right behind its last value, which both loops get before the end. Every other one sends in naps only, but for the first
 * value, and each value comes. */
START_TEST(a_thread_sends_and_closes) {
  size_t rounds = support_scale(60);
  support_runner_t runner;
  sender_t sender;
  uv_loop_t second;
  lane_t lane;
  size_t i;

  for (i = 0; i < rounds; i++) {
    lane_open(&lane, 2);
    support_loop_init(&second);
    lane_add(&lane, &second);
    memset(&sender, 0, sizeof(sender));
    sender.tx = lane.tx;
    sender.heard = i % 2 != 0 ? &lane.members[0] : NULL;
    sender.last = 1 + i % 5;
    support_runner_start(&runner, &second);
    support_spawn(&sender.thread, sender_run, &sender);
    support_loop_end(&lane.loop);
    support_join(&sender.thread);
    support_runner_join(&runner);
    support_loop_close(&second);
    support_result_check(&sender.result);
    lane.sent = sender.last;
    lane_check(&lane);
    ck_assert(i % 2 == 0 || atomic_load(&lane.members[0].log.count) == lane.sent + 1);
  }
}
END_TEST

int main(void) {
  Suite* suite = suite_create("watch: naps");
  TCase* alone = support_case(suite, "alone");
  TCase* threads = support_case(suite, "threads");

  uvch__watch_naps = 1;
  tcase_add_test(alone, values_and_the_end_come);
  tcase_add_loop_test(alone, of_what_is_sent_meanwhile_the_newest_comes_once, 0, 8);
  tcase_add_loop_test(alone, receivers_close_meanwhile, 0, 6);
  tcase_add_loop_test(alone, a_receiver_stops_and_starts_meanwhile, 0, 4);
  tcase_add_loop_test(alone, a_new_receiver_comes_meanwhile, 0, 3);
  tcase_add_loop_test(alone, the_loop_may_end_meanwhile, 0, 2);
  tcase_add_loop_test(alone, a_request_waits_meanwhile, 0, 5);
  tcase_add_test(alone, the_loop_runs_inside_callbacks);
  tcase_add_loop_test(alone, the_loop_stops_with_each_value, UV_RUN_DEFAULT, UV_RUN_NOWAIT + 1);
  tcase_add_loop_test(alone, a_program_closes_the_handles_of_the_library_meanwhile, 0, 6);
  tcase_add_test(alone, loops_nap_each_for_itself);
  tcase_add_loop_test(alone, a_process_forks_meanwhile, 0, 2);
  tcase_add_test(threads, a_thread_sends_and_closes);
  return support_main(suite);
}
