/* SPDX-License-Identifier: MIT
 *
 * Forking with watch channels. The child takes its copy of a loop over with uv_loop_fork() and uvch_loop_fork() and goes on with the
 * value that was there; so does the parent. A child tells by its exit code; it never uses ck_assert. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch_support.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_SECONDS 60 /* then it is taken to hang */

enum { NOT_DONE = INT_MIN };

static void nap(void) {
  struct timespec time = {0, 50000};

  (void) nanosleep(&time, NULL);
}

/* In a child: say what is wrong and be gone. */
#define child_expect(condition)                                                     \
  do {                                                                              \
    if (!(condition)) {                                                             \
      fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                     \
    }                                                                               \
  } while (0)

static void child_takes_over(uv_loop_t* loop) {
  child_expect(uv_loop_fork(loop) == 0);
  child_expect(uvch_loop_fork(loop) == 0);
}

/* 0 in the child. */
static pid_t split(void) {
  pid_t child = fork();

  ck_assert_int_ge(child, 0);
  if (child == 0) {
    signal(SIGALRM, SIG_DFL); /* check has its own, for the whole group */
    alarm(CHILD_SECONDS);
  }
  return child;
}

static void reap(pid_t child) {
  int status = -1;

  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child has failed, status %d", status);
}

/* Three listeners of one loop, in both processes. Values are numbers that grow, as bytes, or as values that own memory. */

enum { LISTENERS = 3 };

typedef struct lane_s lane_t;

typedef struct listener_s {
  uvch_watch_receiver_t rx;
  lane_t* lane;
  uint64_t last;
  size_t received;
  size_t ends;
  size_t closes;
} listener_t;

struct lane_s {
  uv_loop_t loop;
  uvch_watch_sender_t tx;
  listener_t listeners[LISTENERS];
  watch_owner_t owner;
  bool owned;
  uint64_t sent;
  size_t wrong;
  size_t blocks; /* before anything was made */
};

static void listener_on_close(uvch_handle_t* handle) {
  listener_t* listener = handle->data;

  listener->closes += 1;
}

static void listener_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  listener_t* listener = rx->data;
  lane_t* lane = listener->lane;

  if (status == 0) {
    lane->wrong += watch_number(value) <= listener->last;
    lane->wrong += lane->owned && !watch_owned_is_whole(value);
    listener->last = watch_number(value);
    listener->received += 1;
  } else {
    lane->wrong += status != UV_EOF;
    listener->ends += 1;
    lane->wrong += uvch_close((uvch_handle_t*) rx, listener_on_close) != 0;
  }
}

static void listener_start(listener_t* listener) {
  listener->lane->wrong += uvch_watch_start(&listener->rx, listener_on_change, 0) != 0;
}

static void lane_init(lane_t* lane, bool owned) {
  size_t i;

  memset(lane, 0, sizeof(*lane));
  lane->owned = owned;
  lane->blocks = support_alloc_blocks();
  support_loop_init(&lane->loop);
  if (owned) {
    watch_open_owning(NULL, NULL, &lane->tx, &lane->owner, watch_owned_copy, 0);
  } else {
    watch_open(NULL, NULL, &lane->tx, 0);
  }
  for (i = 0; i < LISTENERS; i++) {
    lane->listeners[i].lane = lane;
    watch_subscribe(&lane->loop, &lane->listeners[i].rx, &lane->tx);
    lane->listeners[i].rx.data = &lane->listeners[i];
    listener_start(&lane->listeners[i]);
  }
  ck_assert_uint_eq(lane->wrong, 0);
}

static int lane_modify(void* value, void* arg) {
  lane_t* lane = arg;
  watch_owned_t* owned = value;

  memcpy(value, &lane->sent, sizeof(lane->sent));
  if (lane->owned) {
    owned->box[0] = lane->sent;
    owned->box[1] = ~lane->sent;
  }
  return 1;
}

/* So many more numbers, by turns sent and modified. */
static bool lane_send(lane_t* lane, size_t count) {
  int r = 0;

  while (count > 0 && r == 0) {
    lane->sent += 1;
    count -= 1;
    if (count % 2 == 1) {
      r = uvch_watch_modify(&lane->tx, lane_modify, lane);
    } else if (lane->owned) {
      r = watch_put_owned(&lane->tx, &lane->owner, lane->sent);
    } else {
      r = uvch_watch_send(&lane->tx, &lane->sent);
    }
  }
  return r == 0;
}

static bool lane_has(const lane_t* lane, uint64_t last) {
  size_t i;

  for (i = 0; i < LISTENERS; i++) {
    if (lane->listeners[i].last != last) {
      return false;
    }
  }
  return true;
}

static bool lane_owns_nothing(lane_t* lane) {
  return atomic_load(&lane->owner.bad) == 0 && watch_owned_alive(&lane->owner) == 0;
}

/* All have seen the last number and the end, and nothing is left of the values. */
static bool lane_is_through(lane_t* lane) {
  size_t i;

  for (i = 0; i < LISTENERS; i++) {
    if (lane->listeners[i].ends != 1 || lane->listeners[i].closes != 1) {
      return false;
    }
  }
  return lane->wrong == 0 && lane_has(lane, lane->sent) && lane_owns_nothing(lane);
}

/* Nothing of the library is left in the child. */
static void lane_child_ends(lane_t* lane) {
  child_expect(uv_run(&lane->loop, UV_RUN_DEFAULT) == 0);
  child_expect(lane->wrong == 0 && lane_owns_nothing(lane));
  child_expect(uv_loop_close(&lane->loop) == 0);
  child_expect(support_alloc_blocks() == lane->blocks);
  _exit(0);
}

/* The rest of a lane's life in the child: `more` new numbers, then the end, and nothing left. */
static void lane_child(lane_t* lane, size_t more) {
  child_takes_over(&lane->loop);
  child_expect(lane_send(lane, more));
  child_expect(uvch_watch_sender_close(&lane->tx) == 0);
  child_expect(uv_run(&lane->loop, UV_RUN_DEFAULT) == 0);
  child_expect(lane_is_through(lane));
  lane_child_ends(lane);
}

static void lane_parent(lane_t* lane, size_t more) {
  ck_assert(lane_send(lane, more));
  watch_drop_sender(&lane->tx);
  support_loop_end(&lane->loop);
  ck_assert(lane_is_through(lane));
}

#define OWNED (_i % 2 == 1)
#define CHOICE (_i / 2)
#define add_for_both(tcase, test, choices) tcase_add_loop_test(tcase, test, 0, 2 * (choices))

START_TEST(a_pending_wakeup_and_the_value_live_on_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, OWNED);
  if (CHOICE % 2 == 1) { /* the loop has run, and waits */
    uv_run(&lane.loop, UV_RUN_NOWAIT);
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  ck_assert(lane_send(&lane, 3));
  child = split();
  if (child == 0) {
    lane_child(&lane, CHOICE / 2 == 0 ? 4 : 0);
  }
  lane_parent(&lane, CHOICE / 2 == 0 ? 2 : 0);
  reap(child);
}
END_TEST

START_TEST(a_sleeping_loop_wakes_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, OWNED);
  if (CHOICE == 1) {
    ck_assert_int_eq(uvch_loop_configure(&lane.loop, UVCH_LOOP_HOT_MAX, 0), 0);
  }
  ck_assert(lane_send(&lane, 5));
  watch_pump(&lane.loop, lane_has(&lane, 5));
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  child = split();
  if (child == 0) {
    lane_child(&lane, 4);
  }
  lane_parent(&lane, 5);
  reap(child);
}
END_TEST

static size_t lane_received(const lane_t* lane) {
  return lane->listeners[0].received + lane->listeners[1].received + lane->listeners[2].received;
}

START_TEST(what_a_pass_has_left_over_comes_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, OWNED);
  ck_assert_int_eq(uvch_loop_configure(&lane.loop, UVCH_LOOP_BUDGET_MESSAGES, 1), 0);
  ck_assert(lane_send(&lane, 1));
  while (lane_received(&lane) == 0) {
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  ck_assert_uint_lt(lane_received(&lane), LISTENERS);
  child = split();
  if (child == 0) {
    lane_child(&lane, (size_t) CHOICE);
  }
  lane_parent(&lane, 0);
  ck_assert_uint_eq(lane_received(&lane), LISTENERS);
  reap(child);
}
END_TEST

START_TEST(a_stopped_receiver_starts_again_in_both) {
  listener_t* listener;
  pid_t child;
  lane_t lane;

  lane_init(&lane, OWNED);
  listener = &lane.listeners[CHOICE];
  ck_assert_int_eq(uvch_watch_stop(&listener->rx), 0);
  ck_assert(lane_send(&lane, 5));
  while (lane_received(&lane) < 2) {
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  ck_assert_uint_eq(listener->received, 0);
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    uv_run(&lane.loop, UV_RUN_NOWAIT);
    child_expect(listener->received == 0);
    child_expect(uvch_watch_has_changed(&listener->rx) == 1);
    listener_start(listener);
    child_expect(lane_send(&lane, 2));
    child_expect(uvch_watch_sender_close(&lane.tx) == 0);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(lane_is_through(&lane));
    lane_child_ends(&lane);
  }
  listener_start(listener);
  lane_parent(&lane, CHOICE == 1);
  reap(child);
}
END_TEST

START_TEST(an_end_and_a_close_that_are_on_their_way_come_in_both) {
  size_t others = CHOICE == 1 ? 0 : 1;
  pid_t child;
  lane_t lane;
  size_t i;

  lane_init(&lane, OWNED);
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  watch_drop_sender(&lane.tx);
  for (i = 0; CHOICE == 1 && i < LISTENERS; i++) {
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &lane.listeners[i].rx, listener_on_close), 0);
  }
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    for (i = 0; i < LISTENERS; i++) {
      child_expect(lane.listeners[i].ends == others && lane.listeners[i].closes == 1);
    }
    lane_child_ends(&lane);
  }
  support_loop_end(&lane.loop);
  for (i = 0; i < LISTENERS; i++) {
    ck_assert_uint_eq(lane.listeners[i].ends, others);
    ck_assert_uint_eq(lane.listeners[i].closes, 1);
  }
  ck_assert(lane.wrong == 0 && lane_owns_nothing(&lane));
  reap(child);
}
END_TEST

/* What is borrowed stays as long as it would without the fork. */
static bool lane_keeps(lane_t* lane, const void* of_sender, const void* of_receiver, uint64_t number) {
  if (lane->owned && !(watch_owned_is_whole(of_sender) && watch_owned_is_whole(of_receiver))) {
    return false;
  }
  return watch_number(of_sender) == number && watch_number(of_receiver) == number;
}

START_TEST(a_borrowed_value_stays_in_both) {
  const void* of_receiver;
  const void* of_sender;
  pid_t child;
  lane_t lane;

  lane_init(&lane, OWNED);
  ck_assert(lane_send(&lane, 3));
  of_sender = uvch_watch_sender_borrow(&lane.tx);
  of_receiver = uvch_watch_borrow(&lane.listeners[1].rx);
  if (CHOICE == 1) {
    ck_assert(lane_send(&lane, 3));
  }
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    child_expect(lane_send(&lane, 2));
    while (!lane_has(&lane, lane.sent)) {
      uv_run(&lane.loop, UV_RUN_ONCE);
    }
    child_expect(lane_keeps(&lane, of_sender, of_receiver, 3));
    child_expect(!lane.owned || watch_owned_alive(&lane.owner) == 2);
    child_expect(watch_number(uvch_watch_sender_borrow(&lane.tx)) == lane.sent);
    child_expect(watch_number(uvch_watch_borrow(&lane.listeners[1].rx)) == lane.sent);
    child_expect(!lane.owned || watch_owned_alive(&lane.owner) == 1);
    child_expect(uvch_watch_sender_close(&lane.tx) == 0);
    lane_child_ends(&lane);
  }
  ck_assert(lane_send(&lane, 1));
  ck_assert(lane_keeps(&lane, of_sender, of_receiver, 3));
  lane_parent(&lane, 0);
  reap(child);
}
END_TEST

/* Two loops of one thread, and a receiver without a loop. */

typedef struct pair_s {
  uv_loop_t loops[2];
  uvch_watch_receiver_t rx[2];
  uvch_watch_receiver_t plain;
  uvch_watch_sender_t tx;
  uint64_t last[2];
  size_t closes;
  size_t wrong;
  size_t blocks;
} pair_t;

static void pair_on_close(uvch_handle_t* handle) {
  pair_t* pair = handle->data;

  pair->closes += 1;
}

static void pair_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  pair_t* pair = rx->data;
  uint64_t* last = &pair->last[rx == &pair->rx[1]];

  if (status == 0) {
    pair->wrong += watch_number(value) <= *last;
    *last = watch_number(value);
  } else {
    pair->wrong += status != UV_EOF;
    pair->wrong += uvch_close((uvch_handle_t*) rx, pair_on_close) != 0;
  }
}

static int pair_test(const void* value, void* arg) {
  return watch_number(value) == *(uint64_t*) arg;
}

/* Whether everybody gets that number and the end. */
static bool pair_ends(pair_t* pair, uint64_t number) {
  pair->wrong += uvch_watch_send(&pair->tx, &number) != 0;
  pair->wrong += uvch_watch_sender_close(&pair->tx) != 0;
  pair->wrong += uvch_watch_wait_for_wait(&pair->plain, pair_test, &number, NULL) != 0;
  pair->wrong += uvch_watch_changed_timedwait(&pair->plain, 1000) != UV_EOF;
  pair->wrong += uvch_close((uvch_handle_t*) &pair->plain, NULL) != 0;
  while (pair->closes < 2) {
    uv_run(&pair->loops[0], UV_RUN_NOWAIT);
    uv_run(&pair->loops[1], UV_RUN_NOWAIT);
  }
  return pair->wrong == 0 && pair->last[0] == number && pair->last[1] == number;
}

START_TEST(two_loops_of_one_thread_and_its_own_receiver_go_on_in_both) {
  uint64_t number = 3;
  pid_t child;
  pair_t pair;
  size_t i;

  memset(&pair, 0, sizeof(pair));
  pair.blocks = support_alloc_blocks();
  watch_open(NULL, &pair.plain, &pair.tx, 0);
  for (i = 0; i < 2; i++) {
    support_loop_init(&pair.loops[i]);
    watch_subscribe(&pair.loops[i], &pair.rx[i], &pair.tx);
    pair.rx[i].data = &pair;
    ck_assert_int_eq(uvch_watch_start(&pair.rx[i], pair_on_change, 0), 0);
  }
  watch_put(&pair.tx, number);
  child = split();
  if (child == 0) {
    child_takes_over(&pair.loops[_i]);
    child_takes_over(&pair.loops[1 - _i]);
    child_expect(uvch_watch_changed_wait(&pair.plain) == 0);
    child_expect(pair_ends(&pair, 7));
    child_expect(uv_loop_close(&pair.loops[0]) == 0);
    child_expect(uv_loop_close(&pair.loops[1]) == 0);
    child_expect(support_alloc_blocks() == pair.blocks);
    _exit(0);
  }
  ck_assert(pair_ends(&pair, 5));
  support_loop_close(&pair.loops[0]);
  support_loop_close(&pair.loops[1]);
  reap(child);
}
END_TEST

/* Requests. */

/* Each waits for a number of its own, on a receiver of its own. */
typedef struct asked_s {
  lane_t* lane;
  uvch_watch_receiver_t rx;
  uvch_watch_wait_for_t req;
  uint64_t wanted;
  size_t tests;
  uint64_t got;
  int status;
  size_t closes;
} asked_t;

static int asked_test(const void* value, void* arg) {
  asked_t* asked = arg;

  asked->tests += 1;
  return watch_number(value) >= asked->wanted;
}

static void asked_on_value(uvch_watch_wait_for_t* req, int status, const void* value) {
  asked_t* asked = req->data;

  asked->lane->wrong += asked->status != NOT_DONE;
  asked->lane->wrong += asked->closes > 0;
  asked->lane->wrong += (status == 0) != (value != NULL);
  asked->status = status;
  asked->got = value != NULL ? watch_number(value) : 0;
}

static void asked_on_close(uvch_handle_t* handle) {
  asked_t* asked = handle->data;

  asked->closes += 1;
}

static void asked_start(asked_t* asked, lane_t* lane, uint64_t wanted) {
  memset(asked, 0, sizeof(*asked));
  asked->lane = lane;
  asked->wanted = wanted;
  asked->status = NOT_DONE;
  watch_subscribe(&lane->loop, &asked->rx, &lane->tx);
  asked->rx.data = asked;
  asked->req.data = asked;
  ck_assert_int_eq(uvch_watch_wait_for(&asked->req, &asked->rx, asked_test, asked, asked_on_value), 0);
}

static bool asked_close(asked_t* asked) {
  return uvch_close((uvch_handle_t*) &asked->rx, asked_on_close) == 0;
}

enum { ASKED_HAS, ASKED_LATER, ASKED_NEVER, ASKED };

static const uint64_t asked_for[ASKED] = {2, 9, 1000};

/* After 12 and the end. */
static bool asked_are_told(const asked_t* asked) {
  return asked[ASKED_HAS].status == 0 && asked[ASKED_HAS].got >= 2 && asked[ASKED_LATER].status == 0 &&
         asked[ASKED_LATER].got >= 9 && asked[ASKED_NEVER].status == UV_EOF;
}

/* One has its number already when the fork comes, one gets it later, one never. */
START_TEST(requests_that_wait_for_a_value_go_on_in_both) {
  asked_t asked[ASKED];
  pid_t child;
  lane_t lane;
  size_t i;

  lane_init(&lane, OWNED);
  for (i = 0; i < ASKED; i++) {
    asked_start(&asked[i], &lane, asked_for[i]);
  }
  if (CHOICE > 0) {
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  ck_assert(lane_send(&lane, 2));
  if (CHOICE == 2) {
    watch_pump(&lane.loop, asked[ASKED_HAS].status == 0 && asked[ASKED_LATER].tests > 1 && asked[ASKED_NEVER].tests > 1);
  } else {
    ck_assert_int_eq(asked[ASKED_HAS].status, NOT_DONE);
  }
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    child_expect(lane_send(&lane, 10));
    child_expect(uvch_watch_sender_close(&lane.tx) == 0);
    while (asked[ASKED_NEVER].status == NOT_DONE || asked[ASKED_LATER].status == NOT_DONE ||
           asked[ASKED_HAS].status == NOT_DONE) {
      uv_run(&lane.loop, UV_RUN_ONCE);
    }
    child_expect(asked_are_told(asked));
    for (i = 0; i < ASKED; i++) {
      child_expect(asked_close(&asked[i]));
    }
    lane_child_ends(&lane);
  }
  ck_assert(lane_send(&lane, 10));
  watch_drop_sender(&lane.tx);
  support_loop_run(&lane.loop);
  ck_assert(asked_are_told(asked));
  for (i = 0; i < ASKED; i++) {
    ck_assert(asked_close(&asked[i]));
  }
  support_loop_end(&lane.loop);
  ck_assert(lane_is_through(&lane));
  reap(child);
}
END_TEST

/* A cancel, or the close of its receiver, just before the fork, or after it. */
START_TEST(requests_that_are_given_up_are_told_in_both) {
  asked_t asked;
  pid_t child;
  lane_t lane;

  lane_init(&lane, OWNED);
  asked_start(&asked, &lane, 1000);
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(asked.tests, 1);
  if (CHOICE == 0) {
    ck_assert_int_eq(uvch_cancel((uvch_req_t*) &asked.req), 0);
  } else if (CHOICE == 1) {
    ck_assert(asked_close(&asked));
  }
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    child_expect(asked.status == NOT_DONE);
    if (CHOICE == 2) {
      child_expect(uvch_cancel((uvch_req_t*) &asked.req) == 0);
    }
    child_expect(CHOICE == 1 || asked_close(&asked));
    child_expect(uvch_watch_sender_close(&lane.tx) == 0);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(asked.status == UV_ECANCELED && asked.closes == 1 && asked.tests == 1);
    lane_child_ends(&lane);
  }
  ck_assert(CHOICE == 1 || asked_close(&asked));
  lane_parent(&lane, 0);
  ck_assert_int_eq(asked.status, UV_ECANCELED);
  ck_assert_uint_eq(asked.closes, 1);
  reap(child);
}
END_TEST

typedef struct watch_s {
  uvch_watch_closed_t req;
  int status;
} watch_t;

static void watch_on_closed(uvch_watch_closed_t* req, int status) {
  watch_t* watch = req->data;

  watch->status = watch->status == NOT_DONE ? status : NOT_DONE;
}

START_TEST(who_waits_for_the_end_of_the_receivers_is_told_in_both) {
  watch_t watch = {.status = NOT_DONE};
  watch_t cancelled = {.status = NOT_DONE};
  uvch_watch_receiver_t plain;
  pid_t child;
  lane_t lane;

  lane_init(&lane, OWNED);
  watch_subscribe(NULL, &plain, &lane.tx);
  watch.req.data = &watch;
  cancelled.req.data = &cancelled;
  ck_assert_int_eq(uvch_watch_closed(&lane.loop, &watch.req, &lane.tx, watch_on_closed), 0);
  ck_assert_int_eq(uvch_watch_closed(&lane.loop, &cancelled.req, &lane.tx, watch_on_closed), 0);
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(watch.status, NOT_DONE);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &cancelled.req), 0);
  if (CHOICE == 1) { /* news that is on its way */
    ck_assert_int_eq(uvch_close_all(&lane.loop), LISTENERS);
    watch_close(&plain);
  }
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    if (CHOICE == 0) {
      child_expect(uvch_close_all(&lane.loop) == LISTENERS);
      uv_run(&lane.loop, UV_RUN_NOWAIT);
      child_expect(watch.status == NOT_DONE);
      child_expect(uvch_close((uvch_handle_t*) &plain, NULL) == 0);
    }
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(watch.status == 0);
    child_expect(cancelled.status == UV_ECANCELED);
    child_expect(uvch_watch_sender_close(&lane.tx) == 0);
    lane_child_ends(&lane);
  }
  if (CHOICE == 0) {
    ck_assert_int_eq(uvch_close_all(&lane.loop), LISTENERS);
    watch_close(&plain);
  }
  support_loop_run(&lane.loop);
  ck_assert_int_eq(watch.status, 0);
  ck_assert_int_eq(cancelled.status, UV_ECANCELED);
  watch_drop_sender(&lane.tx);
  support_loop_close(&lane.loop);
  ck_assert(lane_owns_nothing(&lane));
  reap(child);
}
END_TEST

/* Fork while threads sleep. In the child they are gone; their receivers stay subscribed there, and their senders open. */

enum { SLEEPERS = 6 };

typedef struct sleeper_s {
  uvch_watch_sender_t tx;
  uvch_watch_receiver_t rx;
  size_t index;
  uint64_t wanted;
  int answer;
  _Atomic(long) number;
  uv_thread_t thread;
} sleeper_t;

static int sleeper_test(const void* value, void* arg) {
  return watch_number(value) >= *(uint64_t*) arg;
}

/* A third of them wait for a change, a third for a number, a third for the end of the receivers. */
static void sleeper_run(void* arg) {
  sleeper_t* sleeper = arg;

  atomic_store(&sleeper->number, support_thread_number());
  if (sleeper->index % 3 == 0) {
    sleeper->answer = uvch_watch_changed_wait(&sleeper->rx);
  } else if (sleeper->index % 3 == 1) {
    sleeper->answer = uvch_watch_wait_for_wait(&sleeper->rx, sleeper_test, &sleeper->wanted, NULL);
  } else {
    sleeper->answer = uvch_watch_closed_wait(&sleeper->tx);
  }
}

static void sleepers_start(sleeper_t* sleepers, const lane_t* lane) {
  size_t i;

  for (i = 0; i < SLEEPERS; i++) {
    sleeper_t* sleeper = &sleepers[i];

    memset(sleeper, 0, sizeof(*sleeper));
    sleeper->index = i;
    sleeper->wanted = lane->sent + 1;
    sleeper->answer = NOT_DONE;
    if (i % 3 == 2) {
      watch_clone_sender(&lane->tx, &sleeper->tx);
    } else {
      watch_subscribe(NULL, &sleeper->rx, &lane->tx);
    }
    support_spawn(&sleeper->thread, sleeper_run, sleeper);
    support_until_blocked(&sleeper->number);
  }
}

START_TEST(fork_while_threads_sleep) {
  sleeper_t sleepers[SLEEPERS];
  pid_t child;
  lane_t lane;
  size_t i;

  lane_init(&lane, OWNED);
  ck_assert(lane_send(&lane, (size_t) CHOICE));
  watch_pump(&lane.loop, lane_has(&lane, lane.sent));
  sleepers_start(sleepers, &lane);
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    while (lane.sent < 20) {
      child_expect(lane_send(&lane, 1));
      while (!lane_has(&lane, lane.sent)) {
        uv_run(&lane.loop, UV_RUN_ONCE);
      }
    }
    child_expect(uvch_watch_sender_close(&lane.tx) == 0);
    uv_run(&lane.loop, UV_RUN_NOWAIT);
    child_expect(lane.wrong == 0 && lane.listeners[0].ends == 0);
    child_expect(uvch_close_all(&lane.loop) == LISTENERS);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    _exit(0);
  }
  ck_assert(lane_send(&lane, 1));
  for (i = 0; i < SLEEPERS; i++) {
    if (i % 3 != 2) {
      support_join(&sleepers[i].thread);
      ck_assert_int_eq(sleepers[i].answer, 0);
      watch_close(&sleepers[i].rx);
    }
  }
  ck_assert_int_eq(uvch_close_all(&lane.loop), LISTENERS);
  for (i = 2; i < SLEEPERS; i += 3) {
    support_join(&sleepers[i].thread);
    ck_assert_int_eq(sleepers[i].answer, 0);
    watch_drop_sender(&sleepers[i].tx);
  }
  watch_drop_sender(&lane.tx);
  support_loop_end(&lane.loop);
  ck_assert(lane.wrong == 0 && lane_owns_nothing(&lane));
  reap(child);
}
END_TEST

/* Fork while other threads are in the middle of their sends.
 *
 * The sanitizers' runtimes do not take their own locks over a fork: a child hangs in them when another thread had one.
 * ThreadSanitizer has them at any access, AddressSanitizer at allocations, which every send makes. */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define RUNTIME_CANNOT_FORK 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define RUNTIME_CANNOT_FORK 1
#endif

static bool runtime_can_fork(void) {
#if defined(RUNTIME_CANNOT_FORK)
  fprintf(stderr, "the sanitizer cannot fork in the middle of another thread's work: skipped\n");
  return false;
#else
  return true;
#endif
}

#define BUSY 3
#define OWN 9 /* values of the child's own */

typedef struct busy_s busy_t;

typedef struct busy_sender_s {
  busy_t* busy;
  uvch_watch_sender_t tx;
  uvch_watch_receiver_t rx; /* it also looks at what is there */
  uint64_t index;
  uint64_t sent;
  uint64_t wanted;
  uv_thread_t thread;
} busy_sender_t;

typedef struct busy_listener_s {
  uvch_watch_receiver_t rx;
  busy_t* busy;
  uint64_t next[BUSY + 1];
  uint64_t last;
  size_t ends;
  size_t closes;
} busy_listener_t;

struct busy_s {
  uv_loop_t loop;
  uvch_watch_sender_t tx; /* of the thread that forks */
  watch_owner_t owner;
  size_t size; /* 0: values that own memory */
  busy_sender_t senders[BUSY];
  busy_listener_t listeners[2];
  size_t wrong;
  _Atomic(bool) over;
  _Atomic(size_t) running;
  support_result_t result;
};

enum { BUSY_SIZE_MAX = 4096 };

static bool busy_is_whole(const busy_t* busy, const void* value) {
  return busy->size == 0 ? watch_owned_is_whole(value) : watch_blob_is_whole(value, busy->size);
}

static int busy_modify(void* value, void* arg) {
  busy_sender_t* self = arg;
  watch_owned_t* owned = value;

  if (self->busy->size != 0) {
    watch_blob_fill(value, self->busy->size, self->wanted);
  } else {
    owned->number = self->wanted;
    owned->box[0] = owned->number;
    owned->box[1] = ~owned->number;
  }
  return 1;
}

/* Of bytes, `old` is whole. */
static int busy_replace(busy_sender_t* self) {
  uint64_t bytes[BUSY_SIZE_MAX / 8];
  uint64_t old[BUSY_SIZE_MAX / 8];
  int r;

  watch_blob_fill(bytes, self->busy->size, self->wanted);
  r = uvch_watch_send_replace(&self->tx, bytes, old);
  support_expect(&self->busy->result, r != 0 || watch_blob_is_whole(old, self->busy->size));
  return r;
}

static int busy_put(busy_sender_t* self) {
  self->wanted = self->index << 32 | self->sent;
  if (self->sent % 3 == 0) {
    return uvch_watch_modify(&self->tx, busy_modify, self);
  }
  return self->busy->size == 0 ? watch_put_owned(&self->tx, &self->busy->owner, self->wanted) : busy_replace(self);
}

static void busy_work(void* arg) {
  busy_sender_t* self = arg;
  busy_t* busy = self->busy;
  int r;

  atomic_fetch_add(&busy->running, 1);
  while (!atomic_load(&busy->over)) {
    r = busy_put(self);
    if (r != UV_EBUSY && support_expect_eq(&busy->result, r, 0)) {
      self->sent += 1;
    }
    support_expect(&busy->result, busy_is_whole(busy, uvch_watch_borrow_and_update(&self->rx)));
    if (self->sent % 100 == 0) {
      nap();
    }
  }
  support_expect_eq(&busy->result, uvch_watch_sender_close(&self->tx), 0);
  support_expect_eq(&busy->result, uvch_close((uvch_handle_t*) &self->rx, NULL), 0);
}

static void busy_on_close(uvch_handle_t* handle) {
  busy_listener_t* listener = handle->data;

  listener->closes += 1;
}

static void busy_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  busy_listener_t* listener = rx->data;
  busy_t* busy = listener->busy;
  uint64_t index;

  if (status != 0) {
    busy->wrong += status != UV_EOF;
    listener->ends += 1;
    busy->wrong += uvch_close((uvch_handle_t*) rx, busy_on_close) != 0;
    return;
  }
  listener->last = watch_number(value);
  index = listener->last >> 32;
  if (index > BUSY || !busy_is_whole(busy, value) || (listener->last & UINT32_MAX) < listener->next[index]) {
    busy->wrong += 1;
  } else {
    listener->next[index] = (listener->last & UINT32_MAX) + 1;
  }
}

/* Puts the child's own values, and each comes to both. The other senders stay open here for ever, as their threads do not exist. */
static void busy_child(busy_t* busy) {
  busy_sender_t self;

  memset(&self, 0, sizeof(self));
  self.busy = busy;
  self.tx = busy->tx;
  self.index = BUSY;
  child_takes_over(&busy->loop);
  while (self.sent < OWN) {
    child_expect(busy_put(&self) == 0);
    child_expect(watch_number(uvch_watch_sender_borrow(&self.tx)) == self.wanted);
    while (busy->listeners[0].last != self.wanted || busy->listeners[1].last != self.wanted) {
      uv_run(&busy->loop, UV_RUN_ONCE);
    }
    self.sent += 1;
  }
  child_expect(busy->wrong == 0);
  child_expect(atomic_load(&busy->owner.bad) == 0);
  child_expect(uvch_watch_sender_close(&self.tx) == 0);
  uv_run(&busy->loop, UV_RUN_NOWAIT);
  child_expect(busy->listeners[0].ends == 0 && busy->listeners[1].ends == 0);
  child_expect(uvch_close_all(&busy->loop) == (int) COUNT(busy->listeners));
  child_expect(uv_run(&busy->loop, UV_RUN_DEFAULT) == 0);
  child_expect(uv_loop_close(&busy->loop) == 0);
  _exit(0);
}

static void busy_open(busy_t* busy) {
  uint64_t first[BUSY_SIZE_MAX / 8];

  support_loop_init(&busy->loop);
  if (busy->size == 0) {
    watch_open_owning(NULL, NULL, &busy->tx, &busy->owner, watch_owned_copy, 0);
  } else {
    watch_blob_fill(first, busy->size, 0);
    watch_open_ex(NULL, NULL, &busy->tx, busy->size, first, NULL);
  }
}

static void busy_start(busy_t* busy) {
  size_t i;

  busy_open(busy);
  for (i = 0; i < COUNT(busy->listeners); i++) {
    busy_listener_t* listener = &busy->listeners[i];

    listener->busy = busy;
    watch_subscribe(&busy->loop, &listener->rx, &busy->tx);
    listener->rx.data = listener;
    ck_assert_int_eq(uvch_watch_start(&listener->rx, busy_on_change, 0), 0);
  }
  for (i = 0; i < BUSY; i++) {
    busy->senders[i].busy = busy;
    busy->senders[i].index = i;
    watch_clone_sender(&busy->tx, &busy->senders[i].tx);
    watch_subscribe(NULL, &busy->senders[i].rx, &busy->tx);
    support_spawn(&busy->senders[i].thread, busy_work, &busy->senders[i]);
  }
  support_until(atomic_load(&busy->running) == BUSY);
}

START_TEST(fork_in_the_middle_of_other_threads_sends) {
  static const size_t sizes[] = {8, 64, BUSY_SIZE_MAX, 0};
  size_t forks = support_scale(100);
  static busy_t busy;
  pid_t child;
  size_t i;
  size_t k;

  if (!runtime_can_fork()) {
    return;
  }
  memset(&busy, 0, sizeof(busy));
  busy.size = sizes[_i];
  busy_start(&busy);
  for (i = 0; i < forks; i++) {
    for (k = 0; k < 1 + i % 4; k++) {
      uv_run(&busy.loop, UV_RUN_NOWAIT);
    }
    child = split();
    if (child == 0) {
      busy_child(&busy);
    }
    reap(child);
  }
  atomic_store(&busy.over, true);
  watch_drop_sender(&busy.tx);
  support_loop_end(&busy.loop);
  for (i = 0; i < BUSY; i++) {
    support_join(&busy.senders[i].thread);
    ck_assert_uint_gt(busy.senders[i].sent, 0);
  }
  support_result_check(&busy.result);
  ck_assert_uint_eq(busy.wrong, 0);
  for (i = 0; i < COUNT(busy.listeners); i++) {
    ck_assert_uint_eq(busy.listeners[i].last, busy.listeners[0].last);
    ck_assert_uint_eq(busy.listeners[i].ends, 1);
    ck_assert_uint_eq(busy.listeners[i].closes, 1);
  }
  ck_assert_uint_eq(busy.listeners[0].last & UINT32_MAX, busy.senders[busy.listeners[0].last >> 32].sent - 1);
  watch_owner_check(&busy.owner);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("watch: fork");
  TCase* alone = support_case(suite, "alone");
  TCase* threads = support_case(suite, "threads");

  add_for_both(alone, a_pending_wakeup_and_the_value_live_on_in_both, 4);
  add_for_both(alone, a_sleeping_loop_wakes_in_both, 2);
  add_for_both(alone, what_a_pass_has_left_over_comes_in_both, 2);
  add_for_both(alone, a_stopped_receiver_starts_again_in_both, LISTENERS);
  add_for_both(alone, an_end_and_a_close_that_are_on_their_way_come_in_both, 2);
  add_for_both(alone, a_borrowed_value_stays_in_both, 2);
  tcase_add_loop_test(alone, two_loops_of_one_thread_and_its_own_receiver_go_on_in_both, 0, 2);
  add_for_both(alone, requests_that_wait_for_a_value_go_on_in_both, 3);
  add_for_both(alone, requests_that_are_given_up_are_told_in_both, 3);
  add_for_both(alone, who_waits_for_the_end_of_the_receivers_is_told_in_both, 2);
  add_for_both(threads, fork_while_threads_sleep, 2);
  tcase_add_loop_test(threads, fork_in_the_middle_of_other_threads_sends, 0, 4);
  return support_main(suite);
}
