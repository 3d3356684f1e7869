/* SPDX-License-Identifier: MIT
 *
 * Forking with broadcast channels. The child takes its copy of a loop over with uv_loop_fork() and uvch_loop_fork() and goes on
 * with what was kept for its receivers; so does the parent. A child tells by its exit code; it never uses ck_assert. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
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

/* What is kept: bytes in the ring, or values with functions of their own. */

static int number_copy(void* to, const void* from, void* arg) {
  (void) arg;
  memcpy(to, from, sizeof(size_t));
  return 0;
}

static void number_drop(void* item, void* arg) {
  size_t* dropped = arg;

  (void) item;
  *dropped += 1;
}

/* Three listeners of one loop, in both processes. */

enum { LISTENERS = 3 };

typedef struct lane_s lane_t;

typedef struct listener_s {
  uvch_broadcast_receiver_t rx;
  lane_t* lane;
  size_t next; /* message that comes, or is missed, next */
  size_t received;
  size_t gaps;
  size_t ends;
  size_t cuts;
  size_t closes;
} listener_t;

struct lane_s {
  uv_loop_t loop;
  uvch_broadcast_sender_t tx;
  listener_t listeners[LISTENERS];
  size_t wrong;
  size_t dropped;
  bool owned;
  size_t sent;
  size_t lost; /* numbers that are not there in the child, and the first of them */
  size_t lost_at;
  size_t blocks; /* before anything was made */
};

static void listener_on_close(uvch_handle_t* handle) {
  listener_t* listener = handle->data;

  listener->closes += 1;
}

static void listener_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  listener_t* listener = rx->data;
  lane_t* lane = listener->lane;
  size_t value;

  if (status > 0) {
    listener->gaps += 1;
    listener->next += (size_t) status;
  } else if (status == 0) {
    memcpy(&value, item, sizeof(value));
    lane->wrong += value != listener->next + (listener->next == lane->lost_at ? lane->lost : 0);
    listener->next = value + 1;
    listener->received += 1;
  } else {
    listener->ends += status == UV_EOF;
    listener->cuts += status == UV_ECONNABORTED;
    lane->wrong += uvch_close((uvch_handle_t*) rx, listener_on_close) != 0;
  }
}

static void listener_on_recv_many(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  size_t i;

  if (status != 0) {
    listener_on_recv(rx, status, first);
  }
  for (i = 0; i < count; i++) {
    listener_on_recv(rx, 0, (const char*) first + i * stride);
  }
}

static void listener_start(listener_t* listener) {
  int r = listener == &listener->lane->listeners[1] ? uvch_broadcast_recv_many_start(&listener->rx, 7, listener_on_recv_many)
                                                    : uvch_broadcast_recv_start(&listener->rx, listener_on_recv);

  listener->lane->wrong += r != 0;
}

static void lane_init(lane_t* lane, size_t capacity, uvch_broadcast_policy policy, bool owned) {
  uvch_broadcast_options_t options;
  size_t i;

  memset(lane, 0, sizeof(*lane));
  memset(&options, 0, sizeof(options));
  options.policy = policy;
  lane->owned = owned;
  lane->blocks = support_alloc_blocks();
  if (owned) {
    options.copy = number_copy;
    options.drop = number_drop;
    options.arg = &lane->dropped;
  }
  support_loop_init(&lane->loop);
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, NULL, &lane->tx, sizeof(size_t), capacity, &options), 0);
  for (i = 0; i < LISTENERS; i++) {
    lane->listeners[i].lane = lane;
    ck_assert_int_eq(uvch_broadcast_subscribe(&lane->loop, &lane->listeners[i].rx, &lane->tx), 0);
    lane->listeners[i].rx.data = &lane->listeners[i];
    listener_start(&lane->listeners[i]);
  }
  ck_assert_uint_eq(lane->wrong, 0);
}

/* So many more; false if one was refused. */
static bool lane_send(lane_t* lane, size_t count) {
  while (count > 0 && uvch_broadcast_send(&lane->tx, &lane->sent) >= 1) {
    lane->sent += 1;
    count -= 1;
  }
  return count == 0;
}

static bool lane_has(const lane_t* lane, size_t received) {
  size_t i;

  for (i = 0; i < LISTENERS; i++) {
    if (lane->listeners[i].received != received) {
      return false;
    }
  }
  return true;
}

/* All came to the end, and each message or gap was told to each. */
static bool lane_is_through(const lane_t* lane) {
  size_t i;

  for (i = 0; i < LISTENERS; i++) {
    const listener_t* listener = &lane->listeners[i];

    if (listener->ends != 1 || listener->closes != 1 || listener->next != lane->sent) {
      return false;
    }
  }
  return lane->wrong == 0 && lane->dropped == (lane->owned ? lane->sent : 0);
}

/* The rest of a lane's life in the child: `more` new messages, then the end, and nothing left. */
static void lane_child(lane_t* lane, size_t more) {
  child_takes_over(&lane->loop);
  child_expect(lane_send(lane, more));
  child_expect(uvch_broadcast_sender_close(&lane->tx) == 0);
  child_expect(uv_run(&lane->loop, UV_RUN_DEFAULT) == 0);
  child_expect(lane_is_through(lane));
  child_expect(uv_loop_close(&lane->loop) == 0);
  child_expect(support_alloc_blocks() == lane->blocks);
  _exit(0);
}

static void lane_parent(lane_t* lane, size_t more) {
  ck_assert(lane_send(lane, more));
  ck_assert_int_eq(uvch_broadcast_sender_close(&lane->tx), 0);
  support_loop_end(&lane->loop);
  ck_assert(lane_is_through(lane));
}

static const uvch_broadcast_policy policies[] = {UVCH_BROADCAST_LAG, UVCH_BROADCAST_WAIT, UVCH_BROADCAST_DISCONNECT};

#define POLICY (policies[(size_t) _i % COUNT(policies)])
#define OWNED ((size_t) _i / COUNT(policies) % 2 == 1)
#define CHOICE ((size_t) _i / COUNT(policies) / 2)
#define add_for_every_channel(tcase, test, choices) tcase_add_loop_test(tcase, test, 0, (int) (COUNT(policies) * 2 * (choices)))

START_TEST(a_pending_wakeup_and_kept_messages_live_on_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, 8, POLICY, OWNED);
  if (CHOICE == 1) { /* the loop has run, and waits */
    uv_run(&lane.loop, UV_RUN_NOWAIT);
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  ck_assert(lane_send(&lane, 3));
  child = split();
  if (child == 0) {
    lane_child(&lane, 4);
  }
  lane_parent(&lane, 2);
  reap(child);
}
END_TEST

START_TEST(a_sleeping_loop_wakes_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, 5, POLICY, OWNED);
  if (CHOICE == 1) {
    ck_assert_int_eq(uvch_loop_configure(&lane.loop, UVCH_LOOP_HOT_MAX, 0), 0);
  }
  ck_assert(lane_send(&lane, 5));
  while (!lane_has(&lane, 5)) {
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  child = split();
  if (child == 0) {
    lane_child(&lane, 4);
  }
  lane_parent(&lane, 5);
  reap(child);
}
END_TEST

START_TEST(what_a_pass_has_left_over_is_delivered_in_both) {
  enum { MESSAGES = 5000 };
  pid_t child;
  lane_t lane;

  lane_init(&lane, 2 * MESSAGES, POLICY, OWNED);
  ck_assert(lane_send(&lane, MESSAGES));
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  ck_assert_uint_gt(lane.listeners[0].received, 0);
  ck_assert_uint_lt(lane.listeners[0].received, MESSAGES);
  child = split();
  if (child == 0) {
    lane_child(&lane, 1);
  }
  lane_parent(&lane, 2);
  reap(child);
}
END_TEST

START_TEST(a_gap_is_told_in_both) {
  pid_t child;
  lane_t lane;
  size_t i;

  lane_init(&lane, 4, UVCH_BROADCAST_LAG, _i % 2 == 1);
  if (_i / 2 == 1) {
    ck_assert(lane_send(&lane, 2));
    while (!lane_has(&lane, 2)) {
      uv_run(&lane.loop, UV_RUN_NOWAIT);
    }
  }
  ck_assert(lane_send(&lane, 9));
  child = split();
  if (child == 0) {
    for (i = 0; i < LISTENERS; i++) {
      child_expect(uvch_broadcast_receiver_len(&lane.listeners[i].rx) == 9);
    }
    lane_child(&lane, 3);
  }
  lane_parent(&lane, 1);
  for (i = 0; i < LISTENERS; i++) {
    ck_assert_uint_eq(lane.listeners[i].gaps, 1);
  }
  reap(child);
}
END_TEST

static bool lane_was_cut_off(const lane_t* lane) {
  size_t i;

  for (i = 0; i < LISTENERS; i++) {
    if (lane->listeners[i].cuts != 1 || lane->listeners[i].ends != 0 || lane->listeners[i].received != 0) {
      return false;
    }
  }
  return lane->wrong == 0 && lane->dropped == (lane->owned ? lane->sent : 0);
}

START_TEST(a_receiver_that_is_cut_off_hears_it_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, 4, UVCH_BROADCAST_DISCONNECT, _i == 1);
  ck_assert(lane_send(&lane, 5));
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(lane_was_cut_off(&lane));
    child_expect(uvch_broadcast_send(&lane.tx, &lane.sent) == UV_EPIPE);
    child_expect(uvch_broadcast_sender_close(&lane.tx) == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    child_expect(support_alloc_blocks() == lane.blocks);
    _exit(0);
  }
  support_loop_run(&lane.loop);
  ck_assert(lane_was_cut_off(&lane));
  ck_assert_int_eq(uvch_broadcast_sender_close(&lane.tx), 0);
  support_loop_close(&lane.loop);
  reap(child);
}
END_TEST

START_TEST(a_stopped_receiver_starts_again_in_both) {
  listener_t* listener;
  pid_t child;
  lane_t lane;

  lane_init(&lane, 8, POLICY, OWNED);
  listener = &lane.listeners[CHOICE];
  ck_assert_int_eq(uvch_broadcast_recv_stop(&listener->rx), 0);
  ck_assert(lane_send(&lane, 5));
  while (lane.listeners[0].received + lane.listeners[1].received + lane.listeners[2].received < 10) {
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  ck_assert_uint_eq(listener->received, 0);
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    uv_run(&lane.loop, UV_RUN_NOWAIT);
    child_expect(listener->received == 0);
    listener_start(listener);
    child_expect(lane_send(&lane, 2));
    child_expect(uvch_broadcast_sender_close(&lane.tx) == 0);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(lane_is_through(&lane));
    child_expect(uv_loop_close(&lane.loop) == 0);
    child_expect(support_alloc_blocks() == lane.blocks);
    _exit(0);
  }
  listener_start(listener);
  lane_parent(&lane, 1);
  reap(child);
}
END_TEST

START_TEST(an_end_and_a_close_that_are_on_their_way_come_in_both) {
  size_t others = 1;
  pid_t child;
  lane_t lane;
  size_t i;

  lane_init(&lane, 8, POLICY, OWNED);
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(uvch_broadcast_sender_close(&lane.tx), 0);
  if (CHOICE == 1) {
    for (i = 0; i < LISTENERS; i++) {
      ck_assert_int_eq(uvch_close((uvch_handle_t*) &lane.listeners[i].rx, listener_on_close), 0);
    }
    others = 0;
  }
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    for (i = 0; i < LISTENERS; i++) {
      child_expect(lane.listeners[i].ends == others && lane.listeners[i].closes == 1);
    }
    child_expect(lane.wrong == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    child_expect(support_alloc_blocks() == lane.blocks);
    _exit(0);
  }
  support_loop_end(&lane.loop);
  for (i = 0; i < LISTENERS; i++) {
    ck_assert_uint_eq(lane.listeners[i].ends, others);
    ck_assert_uint_eq(lane.listeners[i].closes, 1);
  }
  reap(child);
}
END_TEST

/* Two loops of one thread, and a receiver without a loop. */

typedef struct pair_s {
  uv_loop_t loops[2];
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_sender_t tx;
  size_t next[2];
  size_t closes;
  size_t wrong;
  size_t blocks;
} pair_t;

static void pair_on_close(uvch_handle_t* handle) {
  pair_t* pair = handle->data;

  pair->closes += 1;
}

static void pair_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  pair_t* pair = rx->data;
  size_t* next = &pair->next[rx == &pair->rx[1]];
  size_t value;

  if (status == 0) {
    memcpy(&value, item, sizeof(value));
    pair->wrong += value != *next;
    *next += 1;
  } else {
    pair->wrong += status != UV_EOF;
    pair->wrong += uvch_close((uvch_handle_t*) rx, pair_on_close) != 0;
  }
}

static void pair_send(pair_t* pair, size_t first, size_t count) {
  size_t value;

  for (value = first; value < first + count; value++) {
    pair->wrong += uvch_broadcast_send(&pair->tx, &value) != 3;
  }
}

/* Whether everybody gets 0 ... `count` - 1 and the end. */
static bool pair_ends(pair_t* pair, size_t count) {
  size_t value;
  size_t i;

  pair->wrong += uvch_broadcast_sender_close(&pair->tx) != 0;
  for (i = 0; i < count; i++) {
    pair->wrong += uvch_broadcast_recv_wait(&pair->plain, &value) != 0 || value != i;
  }
  pair->wrong += uvch_broadcast_recv_timedwait(&pair->plain, &value, 1000) != UV_EOF;
  pair->wrong += uvch_close((uvch_handle_t*) &pair->plain, NULL) != 0;
  while (pair->closes < 2) {
    uv_run(&pair->loops[0], UV_RUN_NOWAIT);
    uv_run(&pair->loops[1], UV_RUN_NOWAIT);
  }
  return pair->wrong == 0 && pair->next[0] == count && pair->next[1] == count;
}

START_TEST(two_loops_of_one_thread_and_its_own_receiver_go_on_in_both) {
  uvch_broadcast_options_t options;
  pid_t child;
  pair_t pair;
  size_t i;

  memset(&pair, 0, sizeof(pair));
  memset(&options, 0, sizeof(options));
  options.policy = POLICY;
  options.copy = OWNED ? number_copy : NULL;
  pair.blocks = support_alloc_blocks();
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, &pair.plain, &pair.tx, sizeof(size_t), 8, &options), 0);
  for (i = 0; i < 2; i++) {
    support_loop_init(&pair.loops[i]);
    ck_assert_int_eq(uvch_broadcast_subscribe(&pair.loops[i], &pair.rx[i], &pair.tx), 0);
    pair.rx[i].data = &pair;
    ck_assert_int_eq(uvch_broadcast_recv_start(&pair.rx[i], pair_on_recv), 0);
  }
  pair_send(&pair, 0, 3);
  child = split();
  if (child == 0) {
    child_takes_over(&pair.loops[CHOICE]);
    child_takes_over(&pair.loops[1 - CHOICE]);
    pair_send(&pair, 3, 4);
    child_expect(pair_ends(&pair, 7));
    child_expect(uv_loop_close(&pair.loops[0]) == 0);
    child_expect(uv_loop_close(&pair.loops[1]) == 0);
    child_expect(support_alloc_blocks() == pair.blocks);
    _exit(0);
  }
  pair_send(&pair, 3, 1);
  ck_assert(pair_ends(&pair, 4));
  support_loop_close(&pair.loops[0]);
  support_loop_close(&pair.loops[1]);
  reap(child);
}
END_TEST

/* Requests. */

enum { REQUESTS = 4 };

typedef struct asked_s {
  uvch_broadcast_send_t reqs[REQUESTS];
  size_t values[REQUESTS];
  size_t calls;
  size_t wrong;
} asked_t;

static void asked_on_send(uvch_broadcast_send_t* req, int status) {
  asked_t* asked = req->data;

  asked->wrong += status != LISTENERS;
  asked->calls += 1;
}

static void asked_start(asked_t* asked, lane_t* lane, size_t first) {
  size_t i;

  memset(asked, 0, sizeof(*asked));
  for (i = 0; i < REQUESTS; i++) {
    asked->reqs[i].data = asked;
    asked->values[i] = first + i;
    ck_assert_int_eq(uvch_broadcast_queue_send(&lane->loop, &asked->reqs[i], &lane->tx, &asked->values[i], asked_on_send), 0);
  }
}

START_TEST(requests_that_wait_for_room_go_on_in_both) {
  static const size_t capacities[] = {1, 2, 16};
  asked_t asked;
  pid_t child;
  lane_t lane;

  lane_init(&lane, capacities[_i % 3], UVCH_BROADCAST_WAIT, _i / 3 == 1);
  ck_assert(lane_send(&lane, 1));
  asked_start(&asked, &lane, 1);
  lane.sent += REQUESTS;
  child = split();
  if (child == 0) {
    lane_child(&lane, 0);
  }
  lane_parent(&lane, 0);
  ck_assert_uint_eq(asked.calls, REQUESTS);
  ck_assert_uint_eq(asked.wrong, 0);
  reap(child);
}
END_TEST

typedef struct watch_s {
  uvch_broadcast_closed_t req;
  int status;
} watch_t;

static void watch_on_closed(uvch_broadcast_closed_t* req, int status) {
  watch_t* watch = req->data;

  watch->status = watch->status == NOT_DONE ? status : NOT_DONE;
}

START_TEST(who_waits_for_the_end_of_the_receivers_is_told_in_both) {
  watch_t watch = {.status = NOT_DONE};
  uvch_broadcast_receiver_t plain;
  pid_t child;
  lane_t lane;

  lane_init(&lane, 8, POLICY, OWNED);
  ck_assert_int_eq(uvch_broadcast_subscribe(NULL, &plain, &lane.tx), 0);
  watch.req.data = &watch;
  ck_assert_int_eq(uvch_broadcast_closed(&lane.loop, &watch.req, &lane.tx, watch_on_closed), 0);
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(watch.status, NOT_DONE);
  if (CHOICE == 1) { /* news that is on its way */
    ck_assert_int_eq(uvch_close_all(&lane.loop), LISTENERS);
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &plain, NULL), 0);
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
    child_expect(uvch_broadcast_sender_close(&lane.tx) == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    child_expect(support_alloc_blocks() == lane.blocks);
    _exit(0);
  }
  if (CHOICE == 0) {
    ck_assert_int_eq(uvch_close_all(&lane.loop), LISTENERS);
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &plain, NULL), 0);
  }
  support_loop_run(&lane.loop);
  ck_assert_int_eq(watch.status, 0);
  ck_assert_int_eq(uvch_broadcast_sender_close(&lane.tx), 0);
  support_loop_close(&lane.loop);
  reap(child);
}
END_TEST

/* Fork while threads sleep. In the child they are gone: those who waited for room do not stand in line any more. */

enum { SLEEPERS = 4 };

typedef struct sleeper_s {
  uvch_broadcast_sender_t tx;
  uvch_broadcast_receiver_t rx;
  size_t value;
  int answer;
  _Atomic(long) number;
  uv_thread_t thread;
} sleeper_t;

static void sleep_for_room(void* arg) {
  sleeper_t* sleeper = arg;

  atomic_store(&sleeper->number, support_thread_number());
  sleeper->answer = uvch_broadcast_send_wait(&sleeper->tx, &sleeper->value);
  uvch_broadcast_sender_close(&sleeper->tx);
}

/* The requests are the first in line here, and the last in the parent. */
static void room_child(lane_t* lane, asked_t* asked, size_t capacity) {
  child_takes_over(&lane->loop);
  while (!lane_has(lane, capacity + REQUESTS)) {
    uv_run(&lane->loop, UV_RUN_ONCE);
  }
  uv_run(&lane->loop, UV_RUN_NOWAIT);
  child_expect(asked->calls == REQUESTS && asked->wrong == 0);
  child_expect(lane_send(lane, capacity));
  while (!lane_has(lane, 2 * capacity + REQUESTS)) {
    uv_run(&lane->loop, UV_RUN_ONCE);
  }
  child_expect(lane->wrong == 0);
  child_expect(uvch_broadcast_sender_close(&lane->tx) == 0);
  child_expect(uvch_close_all(&lane->loop) == LISTENERS);
  child_expect(uv_run(&lane->loop, UV_RUN_DEFAULT) == 0);
  child_expect(uv_loop_close(&lane->loop) == 0);
  _exit(0);
}

START_TEST(fork_while_threads_wait_for_room) {
  static const size_t capacities[] = {1, 3};
  size_t capacity = capacities[_i % 2];
  sleeper_t sleepers[SLEEPERS];
  asked_t asked;
  pid_t child;
  lane_t lane;
  size_t i;

  memset(sleepers, 0, sizeof(sleepers));
  lane_init(&lane, capacity, UVCH_BROADCAST_WAIT, _i / 2 == 1);
  ck_assert(lane_send(&lane, capacity));
  for (i = 0; i < SLEEPERS; i++) {
    sleepers[i].value = capacity + i;
    ck_assert_int_eq(uvch_broadcast_sender_clone(&lane.tx, &sleepers[i].tx), 0);
    support_spawn(&sleepers[i].thread, sleep_for_room, &sleepers[i]);
    support_until_blocked(&sleepers[i].number);
  }
  asked_start(&asked, &lane, capacity + SLEEPERS);
  lane.sent += SLEEPERS + REQUESTS;
  child = split();
  if (child == 0) {
    lane.lost_at = capacity;
    lane.lost = SLEEPERS;
    room_child(&lane, &asked, capacity);
  }
  lane_parent(&lane, 0);
  for (i = 0; i < SLEEPERS; i++) {
    support_join(&sleepers[i].thread);
    ck_assert_int_eq(sleepers[i].answer, LISTENERS);
  }
  ck_assert_uint_eq(asked.calls, REQUESTS);
  ck_assert_uint_eq(asked.wrong, 0);
  reap(child);
}
END_TEST

static void sleep_for_news(void* arg) {
  sleeper_t* sleeper = arg;

  atomic_store(&sleeper->number, support_thread_number());
  sleeper->answer = uvch_broadcast_recv_wait(&sleeper->rx, &sleeper->value);
}

/* Their receivers stay subscribed in the child, where nobody reads them. */
START_TEST(fork_while_threads_wait_for_messages) {
  sleeper_t sleepers[SLEEPERS];
  size_t value = 0;
  pid_t child;
  lane_t lane;
  size_t i;

  memset(sleepers, 0, sizeof(sleepers));
  lane_init(&lane, 4, _i % 2 == 0 ? UVCH_BROADCAST_LAG : UVCH_BROADCAST_DISCONNECT, _i / 2 == 1);
  for (i = 0; i < SLEEPERS; i++) {
    ck_assert_int_eq(uvch_broadcast_subscribe(NULL, &sleepers[i].rx, &lane.tx), 0);
    sleepers[i].value = 1000;
    support_spawn(&sleepers[i].thread, sleep_for_news, &sleepers[i]);
    support_until_blocked(&sleepers[i].number);
  }
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    while (lane.sent < 20) {
      child_expect(lane_send(&lane, 1));
      while (!lane_has(&lane, lane.sent)) {
        uv_run(&lane.loop, UV_RUN_ONCE);
      }
    }
    child_expect(lane.wrong == 0);
    child_expect(uvch_broadcast_sender_close(&lane.tx) == 0);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    _exit(0);
  }
  ck_assert_int_eq(uvch_broadcast_send(&lane.tx, &value), LISTENERS + SLEEPERS);
  lane.sent += 1;
  for (i = 0; i < SLEEPERS; i++) {
    support_join(&sleepers[i].thread);
    ck_assert_int_eq(sleepers[i].answer, 0);
    ck_assert_uint_eq(sleepers[i].value, 0);
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &sleepers[i].rx, NULL), 0);
  }
  lane_parent(&lane, 0);
  reap(child);
}
END_TEST

/* Fork while other threads are in the middle of their sends.
 *
 * The sanitizers' runtimes do not take their own locks over a fork: a child hangs in them when another thread had one.
 * ThreadSanitizer has them at any access, AddressSanitizer at allocations, which senders of values with functions make. */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif

static bool runtime_can_fork(bool owned) {
#if defined(WITH_TSAN)
  (void) owned;
  fprintf(stderr, "ThreadSanitizer cannot fork in the middle of another thread's work: skipped\n");
  return false;
#elif defined(WITH_ASAN)
  if (owned) {
    fprintf(stderr, "AddressSanitizer cannot fork in the middle of another thread's allocation: skipped\n");
  }
  return !owned;
#else
  (void) owned;
  return true;
#endif
}

#define BUSY 3
#define OWN 9 /* messages of the child's own */

typedef struct busy_s busy_t;

typedef struct busy_sender_s {
  busy_t* busy;
  uvch_broadcast_sender_t tx;
  uint32_t index;
  uint32_t sent;
  uv_thread_t thread;
} busy_sender_t;

typedef struct busy_listener_s {
  uvch_broadcast_receiver_t rx;
  busy_t* busy;
  uint32_t next[BUSY + 1];
  uint64_t heard;
  size_t ends;
  size_t closes;
} busy_listener_t;

struct busy_s {
  uv_loop_t loop;
  uvch_broadcast_policy policy;
  uvch_broadcast_sender_t tx; /* of the thread that forks */
  busy_sender_t senders[BUSY];
  busy_listener_t listeners[2];
  size_t wrong;
  _Atomic(size_t) dropped;
  _Atomic(bool) over;
  _Atomic(size_t) running;
  support_result_t result;
};

static int words_copy(void* to, const void* from, void* arg) {
  (void) arg;
  memcpy(to, from, 2 * sizeof(uint32_t));
  return 0;
}

static void words_drop(void* item, void* arg) {
  busy_t* busy = arg;

  (void) item;
  atomic_fetch_add(&busy->dropped, 1);
}

static void busy_work(void* arg) {
  busy_sender_t* self = arg;
  busy_t* busy = self->busy;
  uint32_t message[2];
  int err;

  message[0] = self->index;
  atomic_fetch_add(&busy->running, 1);
  while (!atomic_load(&busy->over)) {
    message[1] = self->sent;
    err = self->index == 0 ? uvch_broadcast_send_wait(&self->tx, message) : uvch_broadcast_send(&self->tx, message);
    if (err == UV_EAGAIN && busy->policy == UVCH_BROADCAST_WAIT) {
      nap();
    } else {
      support_expect_eq(&busy->result, err, (long long) COUNT(busy->listeners));
      self->sent += 1;
    }
    if (busy->policy != UVCH_BROADCAST_WAIT && self->sent % 100 == 0) {
      nap();
    }
  }
  support_expect_eq(&busy->result, uvch_broadcast_sender_close(&self->tx), 0);
}

static void busy_on_close(uvch_handle_t* handle) {
  busy_listener_t* listener = handle->data;

  listener->closes += 1;
}

static void busy_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  busy_listener_t* listener = rx->data;
  busy_t* busy = listener->busy;
  uint32_t message[2];

  if (status > 0) {
    busy->wrong += busy->policy != UVCH_BROADCAST_LAG;
    listener->heard += (uint64_t) status;
    return;
  }
  if (status < 0) {
    busy->wrong += status != UV_EOF;
    listener->ends += 1;
    busy->wrong += uvch_close((uvch_handle_t*) rx, busy_on_close) != 0;
    return;
  }
  memcpy(message, item, sizeof(message));
  listener->heard += 1;
  if (message[0] > BUSY || message[1] < listener->next[message[0]] ||
      (busy->policy == UVCH_BROADCAST_WAIT && message[1] != listener->next[message[0]])) {
    busy->wrong += 1;
  } else {
    listener->next[message[0]] = message[1] + 1;
  }
}

/* Puts the child's own messages behind what is kept; when they come, all before them has come. The other senders stay open here
 * for ever, as their threads do not exist. One at a time, so that none is lost. */
static void busy_child(busy_t* busy) {
  uint32_t message[2] = {BUSY, 0};
  int err;

  child_takes_over(&busy->loop);
  while (message[1] < OWN) {
    err = uvch_broadcast_send(&busy->tx, message);
    child_expect(err == (int) COUNT(busy->listeners) || (err == UV_EAGAIN && busy->policy == UVCH_BROADCAST_WAIT));
    message[1] += err > 0;
    while (err > 0 && (busy->listeners[0].next[BUSY] < message[1] || busy->listeners[1].next[BUSY] < message[1])) {
      uv_run(&busy->loop, UV_RUN_NOWAIT);
    }
    uv_run(&busy->loop, UV_RUN_NOWAIT);
  }
  child_expect(busy->wrong == 0);
  child_expect(busy->listeners[0].heard == busy->listeners[1].heard);
  child_expect(uvch_broadcast_receiver_len(&busy->listeners[0].rx) == 0);
  child_expect(uvch_broadcast_sender_close(&busy->tx) == 0);
  uv_run(&busy->loop, UV_RUN_NOWAIT);
  child_expect(busy->listeners[0].ends == 0 && busy->listeners[1].ends == 0);
  child_expect(uvch_close_all(&busy->loop) == (int) COUNT(busy->listeners));
  child_expect(uv_run(&busy->loop, UV_RUN_DEFAULT) == 0);
  child_expect(uv_loop_close(&busy->loop) == 0);
  _exit(0);
}

static void busy_start(busy_t* busy, size_t capacity, bool owned) {
  uvch_broadcast_options_t options;
  size_t i;

  memset(&options, 0, sizeof(options));
  options.policy = busy->policy;
  if (owned) {
    options.copy = words_copy;
    options.drop = words_drop;
    options.arg = busy;
  }
  support_loop_init(&busy->loop);
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, NULL, &busy->tx, 8, capacity, &options), 0);
  for (i = 0; i < COUNT(busy->listeners); i++) {
    busy_listener_t* listener = &busy->listeners[i];

    listener->busy = busy;
    ck_assert_int_eq(uvch_broadcast_subscribe(&busy->loop, &listener->rx, &busy->tx), 0);
    listener->rx.data = listener;
    ck_assert_int_eq(uvch_broadcast_recv_start(&listener->rx, busy_on_recv), 0);
  }
  for (i = 0; i < BUSY; i++) {
    busy->senders[i].busy = busy;
    busy->senders[i].index = (uint32_t) i;
    ck_assert_int_eq(uvch_broadcast_sender_clone(&busy->tx, &busy->senders[i].tx), 0);
    support_spawn(&busy->senders[i].thread, busy_work, &busy->senders[i]);
  }
  support_until(atomic_load(&busy->running) == BUSY);
}

START_TEST(fork_in_the_middle_of_other_threads_sends) {
  static const size_t capacities[] = {1, 3, 64};
  bool owned = _i / 6 == 1;
  size_t forks = support_scale(100);
  static busy_t busy;
  uint64_t sent = 0;
  pid_t child;
  size_t i;
  size_t k;

  if (!runtime_can_fork(owned)) {
    return;
  }
  memset(&busy, 0, sizeof(busy));
  busy.policy = _i / 3 % 2 == 0 ? UVCH_BROADCAST_LAG : UVCH_BROADCAST_WAIT;
  busy_start(&busy, capacities[_i % 3], owned);
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
  ck_assert_int_eq(uvch_broadcast_sender_close(&busy.tx), 0);
  support_loop_end(&busy.loop);
  for (i = 0; i < BUSY; i++) {
    support_join(&busy.senders[i].thread);
    sent += busy.senders[i].sent;
  }
  support_result_check(&busy.result);
  ck_assert_uint_eq(busy.wrong, 0);
  for (i = 0; i < COUNT(busy.listeners); i++) {
    ck_assert_uint_eq(busy.listeners[i].heard, sent);
    ck_assert_uint_eq(busy.listeners[i].ends, 1);
    ck_assert_uint_eq(busy.listeners[i].closes, 1);
  }
  ck_assert_uint_eq(atomic_load(&busy.dropped), owned ? sent : 0);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("broadcast: fork");
  TCase* alone = support_case(suite, "alone");
  TCase* threads = support_case(suite, "threads");

  add_for_every_channel(alone, a_pending_wakeup_and_kept_messages_live_on_in_both, 2);
  add_for_every_channel(alone, a_sleeping_loop_wakes_in_both, 2);
  add_for_every_channel(alone, what_a_pass_has_left_over_is_delivered_in_both, 1);
  tcase_add_loop_test(alone, a_gap_is_told_in_both, 0, 4);
  tcase_add_loop_test(alone, a_receiver_that_is_cut_off_hears_it_in_both, 0, 2);
  add_for_every_channel(alone, a_stopped_receiver_starts_again_in_both, LISTENERS);
  add_for_every_channel(alone, an_end_and_a_close_that_are_on_their_way_come_in_both, 2);
  add_for_every_channel(alone, two_loops_of_one_thread_and_its_own_receiver_go_on_in_both, 2);
  tcase_add_loop_test(alone, requests_that_wait_for_room_go_on_in_both, 0, 6);
  add_for_every_channel(alone, who_waits_for_the_end_of_the_receivers_is_told_in_both, 2);
  tcase_add_loop_test(threads, fork_while_threads_wait_for_room, 0, 4);
  tcase_add_loop_test(threads, fork_while_threads_wait_for_messages, 0, 4);
  tcase_add_loop_test(threads, fork_in_the_middle_of_other_threads_sends, 0, 12);
  return support_main(suite);
}
