/* SPDX-License-Identifier: MIT
 *
 * Forking. The child takes its copy of a loop over with uv_loop_fork() and uvch_loop_fork() and goes on with what was in the
 * channels; so does the parent. A child tells by its exit code; it never uses ck_assert. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_SECONDS 60 /* then it is taken to hang */

/* What a sender does that finds no room: it goes away for a moment. Threads that only yield pass the processor round among
 * themselves, and on a busy machine the receiver waits for long. */
static void nap(void) {
  struct timespec time = {0, 50000};

  (void) nanosleep(&time, NULL);
}

/* In a child: say what is wrong and be gone. */
#define child_expect(condition)                                                       \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition);    \
      _exit(1);                                                                       \
    }                                                                                 \
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

/* A receiver that counts, in both processes. */

static const size_t two_kinds[] = {16, UVCH_UNBOUNDED};

typedef struct lane_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t received;
  size_t ends;
  size_t closes;
  size_t wrong;
  size_t blocks; /* before anything was made */
} lane_t;

static void lane_on_close(uvch_handle_t* handle) {
  lane_t* lane = handle->data;

  lane->closes += 1;
}

static void lane_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  lane_t* lane = rx->data;
  size_t value;

  if (status == UV_EOF) {
    lane->ends += 1;
    lane->wrong += uvch_close((uvch_handle_t*) rx, lane_on_close) != 0;
    return;
  }
  memcpy(&value, item, sizeof(value));
  lane->wrong += status != 0 || value != lane->received;
  lane->received += 1;
}

static void lane_init(lane_t* lane, size_t capacity) {
  memset(lane, 0, sizeof(*lane));
  lane->blocks = support_alloc_blocks();
  support_loop_init(&lane->loop);
  ck_assert_int_eq(uvch_mpsc_init(&lane->loop, &lane->rx, &lane->tx, sizeof(size_t), capacity), 0);
  lane->rx.data = lane;
  ck_assert_int_eq(uvch_mpsc_recv_start(&lane->rx, lane_on_recv), 0);
}

static size_t lane_send(lane_t* lane, size_t first, size_t count) {
  size_t value;

  for (value = first; value < first + count; value++) {
    if (uvch_mpsc_try_send(&lane->tx, &value) != 0) {
      break;
    }
  }
  return value - first;
}

/* The rest of a lane's life in the child: `more` new messages, then the end, and nothing left. */
static void lane_child(lane_t* lane, size_t queued, size_t more) {
  child_takes_over(&lane->loop);
  child_expect(lane_send(lane, queued, more) == more);
  child_expect(uvch_mpsc_sender_close(&lane->tx) == 0);
  child_expect(uv_run(&lane->loop, UV_RUN_DEFAULT) == 0);
  child_expect(lane->received == queued + more);
  child_expect(lane->ends == 1);
  child_expect(lane->closes == 1);
  child_expect(lane->wrong == 0);
  child_expect(uv_loop_close(&lane->loop) == 0);
  child_expect(support_alloc_blocks() == lane->blocks);
  _exit(0);
}

static void lane_parent(lane_t* lane, size_t queued, size_t more) {
  ck_assert_uint_eq(lane_send(lane, queued, more), more);
  ck_assert_int_eq(uvch_mpsc_sender_close(&lane->tx), 0);
  support_loop_end(&lane->loop);
  ck_assert_uint_eq(lane->received, queued + more);
  ck_assert_uint_eq(lane->ends, 1);
  ck_assert_uint_eq(lane->closes, 1);
  ck_assert_uint_eq(lane->wrong, 0);
}

START_TEST(a_pending_wakeup_and_queued_messages_live_on_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, two_kinds[_i % 2]);
  if (_i / 2 == 1) { /* the loop has run, and waits */
    uv_run(&lane.loop, UV_RUN_NOWAIT);
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  ck_assert_uint_eq(lane_send(&lane, 0, 3), 3);
  child = split();
  if (child == 0) {
    lane_child(&lane, 3, 4);
  }
  lane_parent(&lane, 3, 2);
  reap(child);
}
END_TEST

START_TEST(a_sleeping_loop_wakes_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, two_kinds[_i % 2]);
  if (_i / 2 == 1) {
    ck_assert_int_eq(uvch_loop_configure(&lane.loop, UVCH_LOOP_HOT_MAX, 0), 0);
  }
  ck_assert_uint_eq(lane_send(&lane, 0, 5), 5);
  while (lane.received < 5) {
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  child = split();
  if (child == 0) {
    lane_child(&lane, 5, 4);
  }
  lane_parent(&lane, 5, 4);
  reap(child);
}
END_TEST

START_TEST(what_a_pass_has_left_over_is_delivered_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, _i == 0 ? 20000 : UVCH_UNBOUNDED);
  ck_assert_uint_eq(lane_send(&lane, 0, 10000), 10000);
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  ck_assert_uint_gt(lane.received, 0);
  ck_assert_uint_lt(lane.received, 10000);
  child = split();
  if (child == 0) {
    lane_child(&lane, 10000, 1);
  }
  lane_parent(&lane, 10000, 1);
  reap(child);
}
END_TEST

START_TEST(a_stopped_receiver_starts_again_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, two_kinds[_i]);
  ck_assert_uint_eq(lane_send(&lane, 0, 5), 5);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&lane.rx), 0);
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(lane.received, 0);
  child = split();
  if (child == 0) {
    child_expect(uv_loop_fork(&lane.loop) == 0);
    child_expect(uvch_loop_fork(&lane.loop) == 0);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(lane.received == 0);
    child_expect(uvch_mpsc_recv_start(&lane.rx, lane_on_recv) == 0);
    child_expect(uvch_mpsc_sender_close(&lane.tx) == 0);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(lane.received == 5 && lane.ends == 1 && lane.wrong == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    child_expect(support_alloc_blocks() == lane.blocks);
    _exit(0);
  }
  ck_assert_int_eq(uvch_mpsc_recv_start(&lane.rx, lane_on_recv), 0);
  lane_parent(&lane, 5, 1);
  reap(child);
}
END_TEST

START_TEST(an_end_and_a_close_that_are_on_their_way_come_in_both) {
  pid_t child;
  lane_t lane;

  lane_init(&lane, two_kinds[_i % 2]);
  uv_run(&lane.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(uvch_mpsc_sender_close(&lane.tx), 0);
  if (_i / 2 == 1) {
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &lane.rx, lane_on_close), 0);
  }
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(lane.ends == (_i / 2 == 0));
    child_expect(lane.closes == 1);
    child_expect(lane.wrong == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    child_expect(support_alloc_blocks() == lane.blocks);
    _exit(0);
  }
  support_loop_end(&lane.loop);
  ck_assert_uint_eq(lane.closes, 1);
  ck_assert_uint_eq(lane.ends, _i / 2 == 0);
  reap(child);
}
END_TEST

START_TEST(loop_fork_without_a_channel_or_memory) {
  pid_t child;
  lane_t lane;

  ck_assert_int_eq(uvch_loop_fork(NULL), UV_EINVAL);
  lane_init(&lane, 16);
  ck_assert_uint_eq(lane_send(&lane, 0, 3), 3);
  child = split();
  if (child == 0) {
    uv_loop_t other;

    child_expect(uv_loop_init(&other) == 0);
    child_expect(uvch_loop_fork(&other) == 0);
    child_expect(uv_loop_close(&other) == 0);
    child_expect(uv_loop_fork(&lane.loop) == 0);
    support_alloc_fail_from(1);
    child_expect(uvch_loop_fork(&lane.loop) == UV_ENOMEM);
    support_alloc_fail_from(0);
    child_expect(lane.received == 0);
    child_expect(uvch_loop_fork(&lane.loop) == 0);
    child_expect(lane_send(&lane, 3, 2) == 2);
    child_expect(uvch_mpsc_sender_close(&lane.tx) == 0);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(lane.received == 5 && lane.ends == 1 && lane.wrong == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    _exit(0);
  }
  lane_parent(&lane, 3, 1);
  reap(child);
}
END_TEST

/* Requests. */

#define REQUESTS 4

typedef struct asked_s {
  uvch_mpsc_send_t reqs[REQUESTS];
  size_t values[REQUESTS];
  size_t calls;
  size_t wrong;
} asked_t;

static void asked_on_send(uvch_mpsc_send_t* req, int status) {
  asked_t* asked = req->data;

  asked->wrong += status != 0;
  asked->calls += 1;
}

static void asked_start(asked_t* asked, uv_loop_t* loop, const uvch_mpsc_sender_t* tx) {
  size_t i;

  memset(asked, 0, sizeof(*asked));
  for (i = 0; i < REQUESTS; i++) {
    asked->reqs[i].data = asked;
    asked->values[i] = i;
    ck_assert_int_eq(uvch_mpsc_send(loop, &asked->reqs[i], tx, &asked->values[i], asked_on_send), 0);
  }
}

START_TEST(waiting_requests_of_the_loop_go_on_in_both) {
  static const size_t capacities[] = {1, 2, 16, UVCH_UNBOUNDED};
  asked_t asked;
  pid_t child;
  lane_t lane;

  lane_init(&lane, capacities[_i]);
  asked_start(&asked, &lane.loop, &lane.tx);
  ck_assert_int_eq(uvch_mpsc_sender_close(&lane.tx), 0);
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(lane.received == REQUESTS && lane.ends == 1 && lane.closes == 1 && lane.wrong == 0);
    child_expect(asked.calls == REQUESTS && asked.wrong == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    child_expect(support_alloc_blocks() == lane.blocks);
    _exit(0);
  }
  support_loop_end(&lane.loop);
  ck_assert_uint_eq(lane.received, REQUESTS);
  ck_assert_uint_eq(lane.ends, 1);
  ck_assert_uint_eq(lane.wrong, 0);
  ck_assert_uint_eq(asked.calls, REQUESTS);
  ck_assert_uint_eq(asked.wrong, 0);
  reap(child);
}
END_TEST

/* A thread that serves a request is stopped while it copies; in the child it is gone, and so is what it was about to put in. */

typedef struct served_s {
  uvch_mpsc_send_t req;
  size_t calls;
  int status;
} served_t;

static void served_on_send(uvch_mpsc_send_t* req, int status) {
  served_t* served = req->data;

  served->calls += 1;
  served->status = status;
}

static void release_permit(void* arg) {
  uvch_mpsc_permit_release(arg);
}

START_TEST(a_request_that_was_being_served_is_cancelled_in_the_child_alone) {
  static const size_t counts[] = {1, 3}; /* all of it moves, or the first two of three */
  static const size_t values[] = {0, 1, 2};
  size_t count = counts[_i];
  size_t capacity = count == 1 ? 1 : 2;
  served_t served = {.status = 1};
  uvch_mpsc_permit_t permit;
  support_slow_t slow;
  uv_thread_t thread;
  pid_t child;
  lane_t lane;

  lane_init(&lane, capacity);
  support_slow_init(&slow, values, count * sizeof(values[0]));
  ck_assert_int_eq(uvch_mpsc_try_reserve(&lane.tx, capacity, &permit), 0);
  served.req.data = &served;
  ck_assert_int_eq(uvch_mpsc_send_many(&lane.loop, &served.req, &lane.tx, slow.item, count, served_on_send), 0);
  support_spawn(&thread, release_permit, &permit);
  support_slow_until_read(&slow);
  child = split();
  if (child == 0) {
    child_takes_over(&lane.loop);
    child_expect(uvch_mpsc_sender_close(&lane.tx) == 0);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(served.calls == 1 && served.status == UV_ECANCELED && served.req.sent == 0);
    child_expect(lane.received == 0 && lane.ends == 1 && lane.closes == 1 && lane.wrong == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    _exit(0);
  }
  support_slow_let_go(&slow);
  support_join(&thread);
  ck_assert_int_eq(uvch_mpsc_sender_close(&lane.tx), 0);
  support_loop_end(&lane.loop);
  ck_assert_uint_eq(served.calls, 1);
  ck_assert_int_eq(served.status, 0);
  ck_assert_uint_eq(served.req.sent, count);
  ck_assert_uint_eq(lane.received, count);
  ck_assert_uint_eq(lane.ends, 1);
  ck_assert_uint_eq(lane.wrong, 0);
  reap(child);
  support_slow_destroy(&slow);
}
END_TEST

START_TEST(two_loops_of_one_thread_go_on_in_both) {
  asked_t asked;
  uv_loop_t other;
  pid_t child;
  lane_t lane;

  lane_init(&lane, 1);
  support_loop_init(&other);
  asked_start(&asked, &other, &lane.tx);
  ck_assert_int_eq(uvch_mpsc_sender_close(&lane.tx), 0);
  child = split();
  if (child == 0) {
    child_takes_over(_i == 0 ? &lane.loop : &other);
    child_takes_over(_i == 0 ? &other : &lane.loop);
    while (lane.closes == 0 || asked.calls < REQUESTS) {
      uv_run(&other, UV_RUN_NOWAIT);
      uv_run(&lane.loop, UV_RUN_NOWAIT);
    }
    child_expect(uv_run(&other, UV_RUN_DEFAULT) == 0);
    child_expect(uv_run(&lane.loop, UV_RUN_DEFAULT) == 0);
    child_expect(lane.received == REQUESTS && lane.ends == 1 && lane.wrong == 0);
    child_expect(asked.calls == REQUESTS && asked.wrong == 0);
    child_expect(uv_loop_close(&other) == 0);
    child_expect(uv_loop_close(&lane.loop) == 0);
    child_expect(support_alloc_blocks() == lane.blocks);
    _exit(0);
  }
  while (lane.closes == 0 || asked.calls < REQUESTS) {
    uv_run(&other, UV_RUN_NOWAIT);
    uv_run(&lane.loop, UV_RUN_NOWAIT);
  }
  support_loop_end(&other);
  support_loop_end(&lane.loop);
  ck_assert_uint_eq(lane.received, REQUESTS);
  ck_assert_uint_eq(asked.calls, REQUESTS);
  ck_assert_uint_eq(lane.wrong + asked.wrong, 0);
  reap(child);
}
END_TEST

/* Fork while other threads are in the middle of their sends.
 *
 * The sanitizers' runtimes do not take their own locks over a fork: a child hangs in them when another thread had one.
 * ThreadSanitizer has them at any access, AddressSanitizer at allocations, which senders of an unbounded channel make. */

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

static bool runtime_can_fork(size_t capacity) {
#if defined(WITH_TSAN)
  (void) capacity;
  fprintf(stderr, "ThreadSanitizer cannot fork in the middle of another thread's work: skipped\n");
  return false;
#elif defined(WITH_ASAN)
  if (capacity == UVCH_UNBOUNDED) {
    fprintf(stderr, "AddressSanitizer cannot fork in the middle of another thread's allocation: skipped\n");
  }
  return capacity != UVCH_UNBOUNDED;
#else
  (void) capacity;
  return true;
#endif
}

#define BUSY 3
#define OWN 5 /* messages of the child's own */

typedef struct busy_s busy_t;

typedef struct busy_sender_s {
  busy_t* busy;
  uvch_mpsc_sender_t tx;
  uint32_t index;
  uint32_t sent;
  uv_thread_t thread;
} busy_sender_t;

struct busy_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx; /* of the thread that forks */
  busy_sender_t senders[BUSY];
  uint32_t next[BUSY + 1];
  bool blocking;
  size_t ends;
  size_t closes;
  size_t wrong;
  _Atomic(bool) over;
  _Atomic(size_t) running;
  support_result_t result;
};

static void busy_work(void* arg) {
  busy_sender_t* self = arg;
  busy_t* busy = self->busy;
  uint32_t message[2];
  int err;

  message[0] = self->index;
  atomic_fetch_add(&busy->running, 1);
  while (!atomic_load(&busy->over)) {
    if (uvch_mpsc_sender_len(&self->tx) > 2000) {
      nap();
    }
    message[1] = self->sent;
    err = busy->blocking ? uvch_mpsc_send_wait(&self->tx, message) : uvch_mpsc_try_send(&self->tx, message);
    if (err == UV_EAGAIN && !busy->blocking) {
      nap();
    } else {
      support_expect_eq(&busy->result, err, 0);
      self->sent += 1;
    }
  }
  support_expect_eq(&busy->result, uvch_mpsc_sender_close(&self->tx), 0);
}

static void busy_on_close(uvch_handle_t* handle) {
  busy_t* busy = handle->data;

  busy->closes += 1;
}

static void busy_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  busy_t* busy = rx->data;
  uint32_t message[2];

  if (status == UV_EOF) {
    busy->ends += 1;
    busy->wrong += uvch_close((uvch_handle_t*) rx, busy_on_close) != 0;
    return;
  }
  memcpy(message, item, sizeof(message));
  if (message[0] > BUSY || message[1] != busy->next[message[0]]) {
    busy->wrong += 1;
  } else {
    busy->next[message[0]] += 1;
  }
}

/* Puts the child's own messages behind what is queued; when they come, all before them has come. The other senders stay open here
 * for ever, as their threads do not exist. */
static void busy_child(busy_t* busy) {
  uint32_t message[2] = {BUSY, 0};
  int err;

  child_takes_over(&busy->loop);
  while (message[1] < OWN) {
    err = uvch_mpsc_try_send(&busy->tx, message);
    child_expect(err == 0 || err == UV_EAGAIN);
    message[1] += err == 0;
    uv_run(&busy->loop, UV_RUN_NOWAIT);
  }
  while (busy->next[BUSY] < OWN) {
    uv_run(&busy->loop, UV_RUN_ONCE);
  }
  child_expect(busy->wrong == 0);
  child_expect(uvch_mpsc_receiver_len(&busy->rx) == 0);
  child_expect(uvch_mpsc_sender_close(&busy->tx) == 0);
  uv_run(&busy->loop, UV_RUN_NOWAIT);
  child_expect(busy->ends == 0);
  child_expect(uvch_close((uvch_handle_t*) &busy->rx, busy_on_close) == 0);
  child_expect(uv_run(&busy->loop, UV_RUN_DEFAULT) == 0);
  child_expect(busy->closes == 1);
  child_expect(uv_loop_close(&busy->loop) == 0);
  _exit(0);
}

START_TEST(fork_in_the_middle_of_other_threads_sends) {
  static const size_t capacities[] = {1, 3, 64, UVCH_UNBOUNDED};
  size_t forks = support_scale(15);
  static busy_t busy;
  pid_t child;
  size_t i;
  size_t k;

  if (!runtime_can_fork(capacities[_i % 4])) {
    return;
  }
  memset(&busy, 0, sizeof(busy));
  busy.blocking = _i / 4 == 1;
  support_loop_init(&busy.loop);
  ck_assert_int_eq(uvch_mpsc_init(&busy.loop, &busy.rx, &busy.tx, 8, capacities[_i % 4]), 0);
  busy.rx.data = &busy;
  ck_assert_int_eq(uvch_mpsc_recv_start(&busy.rx, busy_on_recv), 0);
  for (i = 0; i < BUSY; i++) {
    busy.senders[i].busy = &busy;
    busy.senders[i].index = (uint32_t) i;
    ck_assert_int_eq(uvch_mpsc_sender_clone(&busy.tx, &busy.senders[i].tx), 0);
    support_spawn(&busy.senders[i].thread, busy_work, &busy.senders[i]);
  }
  support_until(atomic_load(&busy.running) == BUSY);
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
  ck_assert_int_eq(uvch_mpsc_sender_close(&busy.tx), 0);
  support_loop_end(&busy.loop);
  for (i = 0; i < BUSY; i++) {
    support_join(&busy.senders[i].thread);
    ck_assert_uint_eq(busy.next[i], busy.senders[i].sent);
  }
  support_result_check(&busy.result);
  ck_assert_uint_eq(busy.wrong, 0);
  ck_assert_uint_eq(busy.ends, 1);
  ck_assert_uint_eq(busy.closes, 1);
}
END_TEST

/* Fork while threads sleep for room. In the child they are gone from the queue, so that the room is free for others. */

#define SLEEPERS 4

typedef struct sleeper_s {
  uvch_mpsc_sender_t tx;
  size_t value;
  _Atomic(long) number;
  support_result_t* result;
  uv_thread_t thread;
} sleeper_t;

static void sleeper_work(void* arg) {
  sleeper_t* sleeper = arg;

  atomic_store(&sleeper->number, support_thread_number());
  support_expect_eq(sleeper->result, uvch_mpsc_send_wait(&sleeper->tx, &sleeper->value), 0);
  support_expect_eq(sleeper->result, uvch_mpsc_sender_close(&sleeper->tx), 0);
}

static void sleepers_child(lane_t* lane, asked_t* asked, size_t capacity) {
  child_takes_over(&lane->loop);
  while (lane->received < capacity) {
    uv_run(&lane->loop, UV_RUN_ONCE);
  }
  while (asked->calls < REQUESTS) { /* they waited behind the threads */
    uv_run(&lane->loop, UV_RUN_ONCE);
  }
  child_expect(asked->wrong == 0);
  uv_run(&lane->loop, UV_RUN_NOWAIT);
  child_expect(lane->received == capacity + REQUESTS);
  child_expect(uvch_mpsc_sender_capacity(&lane->tx) == capacity);
  child_expect(lane_send(lane, lane->received, capacity) == capacity);
  while (lane->received < 2 * capacity + REQUESTS) {
    uv_run(&lane->loop, UV_RUN_ONCE);
  }
  child_expect(lane->wrong == 0);
  child_expect(uvch_mpsc_sender_close(&lane->tx) == 0);
  child_expect(uvch_close((uvch_handle_t*) &lane->rx, lane_on_close) == 0);
  child_expect(uv_run(&lane->loop, UV_RUN_DEFAULT) == 0);
  child_expect(uv_loop_close(&lane->loop) == 0);
  _exit(0);
}

START_TEST(fork_while_threads_wait_for_room) {
  static const size_t capacities[] = {1, 3};
  size_t capacity = capacities[_i];
  sleeper_t sleepers[SLEEPERS];
  support_result_t result;
  asked_t asked;
  pid_t child;
  lane_t lane;
  size_t i;

  memset(&result, 0, sizeof(result));
  memset(sleepers, 0, sizeof(sleepers));
  lane_init(&lane, capacity);
  ck_assert_uint_eq(lane_send(&lane, 0, capacity), capacity);
  for (i = 0; i < SLEEPERS; i++) {
    sleepers[i].result = &result;
    sleepers[i].value = capacity + i;
    ck_assert_int_eq(uvch_mpsc_sender_clone(&lane.tx, &sleepers[i].tx), 0);
    support_spawn(&sleepers[i].thread, sleeper_work, &sleepers[i]);
    support_until_blocked(&sleepers[i].number);
  }
  asked_start(&asked, &lane.loop, &lane.tx);
  child = split();
  if (child == 0) {
    for (i = 0; i < REQUESTS; i++) {
      asked.values[i] = capacity + i; /* their place in the child: nobody is before them any more */
    }
    sleepers_child(&lane, &asked, capacity);
  }
  for (i = 0; i < REQUESTS; i++) {
    asked.values[i] = capacity + SLEEPERS + i;
  }
  ck_assert_int_eq(uvch_mpsc_sender_close(&lane.tx), 0);
  support_loop_end(&lane.loop);
  for (i = 0; i < SLEEPERS; i++) {
    support_join(&sleepers[i].thread);
  }
  support_result_check(&result);
  ck_assert_uint_eq(lane.received, capacity + SLEEPERS + REQUESTS);
  ck_assert_uint_eq(lane.wrong + asked.wrong, 0);
  ck_assert_uint_eq(lane.ends, 1);
  ck_assert_uint_eq(lane.closes, 1);
  reap(child);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("fork");
  TCase* alone = support_case(suite, "alone");
  TCase* threads = support_case(suite, "threads");

  tcase_add_loop_test(alone, a_pending_wakeup_and_queued_messages_live_on_in_both, 0, 4);
  tcase_add_loop_test(alone, a_sleeping_loop_wakes_in_both, 0, 4);
  tcase_add_loop_test(alone, what_a_pass_has_left_over_is_delivered_in_both, 0, 2);
  tcase_add_loop_test(alone, a_stopped_receiver_starts_again_in_both, 0, 2);
  tcase_add_loop_test(alone, an_end_and_a_close_that_are_on_their_way_come_in_both, 0, 4);
  tcase_add_test(alone, loop_fork_without_a_channel_or_memory);
  tcase_add_loop_test(alone, waiting_requests_of_the_loop_go_on_in_both, 0, 4);
  tcase_add_loop_test(alone, a_request_that_was_being_served_is_cancelled_in_the_child_alone, 0, 2);
  tcase_add_loop_test(alone, two_loops_of_one_thread_go_on_in_both, 0, 2);
  tcase_add_loop_test(threads, fork_in_the_middle_of_other_threads_sends, 0, 8);
  tcase_add_loop_test(threads, fork_while_threads_wait_for_room, 0, 2);
  return support_main(suite);
}
