/* SPDX-License-Identifier: MIT
 *
 * Wake-ups: none is lost, and none is made that is not needed. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wake.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WITH_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WITH_SANITIZER 1
#endif

/* The race between a send and a loop that goes to sleep, or keeps turning. The sender sends twice with a random pause between,
 * then waits until the loop has seen the second value. A value that is unseen though the loop made 1,000 more passes is lost. */

#define PASSES_THAT_PROVE_A_LOSS 1000

#ifdef WITH_SANITIZER
#define ROUNDS(n) ((n) / 5) /* each access costs many times more */
#else
#define ROUNDS(n) (n)
#endif

typedef struct wake_case_s {
  const char* name;
  size_t capacity;
  bool turning;   /* an idle handle keeps the loop turning */
  bool hot;       /* the loop may poll before it sleeps */
  bool stopping;  /* the callback stops and starts the receiver again */
  size_t rounds;
} wake_case_t;

static const wake_case_t wake_cases[] = {
    {"unbounded, turning", UVCH_UNBOUNDED, true, false, false, ROUNDS(60000)},
    {"capacity 1024, turning", 1024, true, false, false, ROUNDS(30000)},
    {"capacity 1, turning", 1, true, false, false, ROUNDS(30000)},
    {"unbounded, sleeping", UVCH_UNBOUNDED, false, false, false, ROUNDS(8000)},
    {"capacity 1, sleeping", 1, false, false, false, ROUNDS(8000)},
    {"capacity 64, sleeping", 64, false, false, true, ROUNDS(8000)},
    {"unbounded, sleeping late", UVCH_UNBOUNDED, false, true, false, ROUNDS(8000)},
    {"capacity 3, sleeping late", 3, false, true, true, ROUNDS(8000)},
};

typedef struct wake_s {
  const wake_case_t* params;
  uv_loop_t loop;
  uv_idle_t idle;
  uv_check_t check;
  uv_async_t knock; /* turns a sleeping loop, without touching the library */
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  _Alignas(64) _Atomic(size_t) seen;
  _Alignas(64) _Atomic(size_t) passes;
  _Atomic(bool) lost;
  size_t ends;
  size_t wrong;
  support_result_t result;
} wake_t;

static void wake_close_all(wake_t* wake) {
  support_close(&wake->rx);
  uv_close((uv_handle_t*) &wake->check, NULL);
  uv_close((uv_handle_t*) &wake->knock, NULL);
  if (wake->params->turning) {
    uv_close((uv_handle_t*) &wake->idle, NULL);
  }
}

static void wake_on_idle(uv_idle_t* idle) {
  (void) idle;
}

static void wake_on_knock(uv_async_t* knock) {
  (void) knock;
}

static void wake_on_check(uv_check_t* check) {
  wake_t* wake = check->data;

  atomic_fetch_add(&wake->passes, 1);
  if (atomic_load(&wake->lost)) {
    uv_stop(&wake->loop);
  }
}

static void wake_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  wake_t* wake = rx->data;
  size_t value;

  if (status == UV_EOF) {
    wake->ends += 1;
    wake_close_all(wake);
    return;
  }
  memcpy(&value, item, sizeof(value));
  if (status != 0 || value != atomic_load(&wake->seen) + 1) {
    wake->wrong += 1;
  }
  if (wake->params->stopping && value % 3 == 0) {
    uvch_mpsc_recv_stop(rx);
    uvch_mpsc_recv_start(rx, wake_on_recv);
  }
  atomic_store(&wake->seen, value);
}

static int wake_put(wake_t* wake, size_t value) {
  int err;

  for (;;) {
    err = uvch_mpsc_try_send(&wake->tx, &value);
    if (err != UV_EAGAIN) {
      return err;
    }
    support_yield();
  }
}

/* Waits in three steps: for a moment on the processor, then giving it away, then, in doubt, counting passes of the loop. */
static bool wake_until_seen(wake_t* wake, size_t value) {
  size_t spins = 0;
  size_t first;

  while (atomic_load(&wake->seen) < value) {
    if (++spins < 2000) {
      continue;
    }
    support_yield();
    if (spins < 200000) {
      continue;
    }
    first = atomic_load(&wake->passes);
    while (atomic_load(&wake->passes) - first <= PASSES_THAT_PROVE_A_LOSS) {
      uv_async_send(&wake->knock);
      support_yield();
    }
    if (atomic_load(&wake->seen) < value) {
      return false;
    }
  }
  return true;
}

static void wake_send(void* arg) {
  wake_t* wake = arg;
  size_t rounds = support_scale(wake->params->rounds);
  size_t value = 0;
  size_t i;
  unsigned int random = 1;
  volatile unsigned int pause;

  for (i = 0; i < rounds; i++) {
    if (!support_expect_eq(&wake->result, wake_put(wake, ++value), 0)) {
      break;
    }
    random = random * 1103515245u + 12345u;
    for (pause = (random >> 16) % 600; pause > 0; pause--) {
    }
    if (!support_expect_eq(&wake->result, wake_put(wake, ++value), 0)) {
      break;
    }
    if (!wake_until_seen(wake, value)) {
      support_result_fail(&wake->result, "a wake-up was lost in this round", (long long) i);
      atomic_store(&wake->lost, true);
      uv_async_send(&wake->knock);
      return;
    }
    atomic_fetch_add(&wake->result.done, 1);
  }
  support_expect_eq(&wake->result, uvch_mpsc_sender_close(&wake->tx), 0);
}

START_TEST(no_wakeup_is_lost) {
  static wake_t wake;
  uv_thread_t thread;

  memset(&wake, 0, sizeof(wake));
  wake.params = &wake_cases[_i];
  support_loop_init(&wake.loop);
  ck_assert_int_eq(uv_async_init(&wake.loop, &wake.knock, wake_on_knock), 0);
  uv_unref((uv_handle_t*) &wake.knock);
  uv_check_init(&wake.loop, &wake.check);
  wake.check.data = &wake;
  uv_check_start(&wake.check, wake_on_check);
  uv_unref((uv_handle_t*) &wake.check);
  if (wake.params->turning) {
    uv_idle_init(&wake.loop, &wake.idle);
    uv_idle_start(&wake.idle, wake_on_idle);
  }
  ck_assert_int_eq(uvch_mpsc_init(&wake.loop, &wake.rx, &wake.tx, sizeof(size_t), wake.params->capacity), 0);
  if (!wake.params->hot) {
    ck_assert_int_eq(uvch_loop_configure(&wake.loop, UVCH_LOOP_HOT_MAX, 0), 0);
  }
  wake.rx.data = &wake;
  ck_assert_int_eq(uvch_mpsc_recv_start(&wake.rx, wake_on_recv), 0);

  support_spawn(&thread, wake_send, &wake);
  uv_run(&wake.loop, UV_RUN_DEFAULT);
  support_join(&thread);
  support_result_check(&wake.result);
  ck_assert_msg(atomic_load(&wake.result.done) == support_scale(wake.params->rounds), "%s", wake.params->name);
  ck_assert_uint_eq(wake.ends, 1);
  ck_assert_uint_eq(wake.wrong, 0);
  ck_assert_uint_eq(atomic_load(&wake.seen), 2 * support_scale(wake.params->rounds));
  support_loop_close(&wake.loop);
}
END_TEST

/* The last message and the end: a sender that sends one message and is closed at once. The worker gets its senders through a
 * channel of their own, moved by bytes. */

#define LAST_LANES 8

typedef struct last_s last_t;

typedef struct last_lane_s {
  last_t* last;
  uvch_mpsc_receiver_t rx;
  size_t round; /* the value that is to come */
  size_t messages;
  size_t ends;
} last_lane_t;

typedef struct last_job_s {
  uvch_mpsc_sender_t tx;
  size_t value;
} last_job_t;

struct last_s {
  uv_loop_t loop;
  last_lane_t lanes[LAST_LANES];
  uvch_mpsc_receiver_t jobs_rx;
  uvch_mpsc_sender_t jobs_tx;
  size_t left;
  size_t live;
  size_t complete;
  support_result_t result;
};

static void last_work(void* arg) {
  last_t* last = arg;
  last_job_t job;
  int err;

  while ((err = uvch_mpsc_recv_wait(&last->jobs_rx, &job)) == 0) {
    support_expect_eq(&last->result, uvch_mpsc_try_send(&job.tx, &job.value), 0);
    support_expect_eq(&last->result, uvch_mpsc_sender_close(&job.tx), 0);
    atomic_fetch_add(&last->result.done, 1);
  }
  support_expect_eq(&last->result, err, UV_EOF);
  support_expect_eq(&last->result, uvch_close((uvch_handle_t*) &last->jobs_rx, NULL), 0);
}

static void last_open(last_lane_t* lane);

static void last_on_close(uvch_handle_t* handle) {
  last_lane_t* lane = handle->data;

  if (lane->messages == 1 && lane->ends == 1) {
    lane->last->complete += 1;
  }
  if (lane->last->left > 0) {
    last_open(lane);
  } else if (--lane->last->live == 0) {
    ck_assert_int_eq(uvch_mpsc_sender_close(&lane->last->jobs_tx), 0);
  }
}

static void last_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  last_lane_t* lane = rx->data;

  if (status == UV_EOF) {
    ck_assert_ptr_null(item);
    lane->ends += 1;
    ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, last_on_close), 0);
    return;
  }
  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(lane->ends, 0);
  ck_assert_mem_eq(item, &lane->round, sizeof(lane->round));
  lane->messages += 1;
}

static void last_open(last_lane_t* lane) {
  last_t* last = lane->last;
  last_job_t job;
  size_t capacity = last->left % 2 == 0 ? UVCH_UNBOUNDED : 1 + last->left % 3;

  last->left -= 1;
  lane->round = last->left;
  lane->messages = 0;
  lane->ends = 0;
  memset(&job, 0, sizeof(job));
  job.value = lane->round;
  ck_assert_int_eq(uvch_mpsc_init(&last->loop, &lane->rx, &job.tx, sizeof(size_t), capacity), 0);
  lane->rx.data = lane;
  if (last->left % 5 != 0) {
    ck_assert_int_eq(uvch_mpsc_recv_start(&lane->rx, last_on_recv), 0);
    ck_assert_int_eq(uvch_mpsc_try_send(&last->jobs_tx, &job), 0);
  } else {
    ck_assert_int_eq(uvch_mpsc_try_send(&last->jobs_tx, &job), 0);
    ck_assert_int_eq(uvch_mpsc_recv_start(&lane->rx, last_on_recv), 0);
  }
}

START_TEST(the_last_message_and_then_the_end_reach_a_loop) {
  static last_t last;
  uv_thread_t thread;
  size_t rounds = support_scale(20000);
  size_t i;

  memset(&last, 0, sizeof(last));
  support_loop_init(&last.loop);
  if (_i == 0) {
    ck_assert_int_eq(uvch_loop_configure(&last.loop, UVCH_LOOP_HOT_MAX, 0), 0);
  }
  ck_assert_int_eq(uvch_mpsc_init(NULL, &last.jobs_rx, &last.jobs_tx, sizeof(last_job_t), UVCH_UNBOUNDED), 0);
  last.left = rounds;
  for (i = 0; i < LAST_LANES && last.left > 0; i++) {
    last.lanes[i].last = &last;
    last.live += 1;
    last_open(&last.lanes[i]);
  }
  support_spawn(&thread, last_work, &last);
  support_loop_end(&last.loop);
  support_join(&thread);
  support_result_check(&last.result);
  ck_assert_uint_eq(last.complete, rounds);
  ck_assert_uint_eq(atomic_load(&last.result.done), rounds);
}
END_TEST

START_TEST(the_last_message_and_then_the_end_reach_a_thread) {
  static last_t last;
  uv_thread_t thread;
  uvch_mpsc_receiver_t rx;
  last_job_t job;
  size_t rounds = support_scale(10000);
  size_t value;
  size_t i;

  memset(&last, 0, sizeof(last));
  memset(&job, 0, sizeof(job));
  ck_assert_int_eq(uvch_mpsc_init(NULL, &last.jobs_rx, &last.jobs_tx, sizeof(last_job_t), UVCH_UNBOUNDED), 0);
  support_spawn(&thread, last_work, &last);
  for (i = 0; i < rounds; i++) {
    job.value = i;
    ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &job.tx, sizeof(size_t), i % 2 == 0 ? UVCH_UNBOUNDED : 1 + i % 3), 0);
    ck_assert_int_eq(uvch_mpsc_try_send(&last.jobs_tx, &job), 0);
    ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), 0);
    ck_assert_uint_eq(value, i);
    ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), UV_EOF);
    ck_assert_int_eq(uvch_mpsc_recv_wait(&rx, &value), UV_EOF);
    support_close(&rx);
  }
  ck_assert_int_eq(uvch_mpsc_sender_close(&last.jobs_tx), 0);
  support_join(&thread);
  support_result_check(&last.result);
  ck_assert_uint_eq(atomic_load(&last.result.done), rounds);
}
END_TEST

/* How many wake-ups a burst costs: libuv makes one write to a descriptor for each. This program's own write() is found before the
 * one of the C library and counts; where it is not, as with sanitizers that have theirs, the cases have nothing to say. */

static _Atomic(size_t) writes;

#if defined(__linux__) && !defined(WITH_SANITIZER)
ssize_t write(int fd, const void* data, size_t size) {
  atomic_fetch_add(&writes, 1);
  return syscall(SYS_write, fd, data, size);
}
#endif

#define BURST 10000

typedef struct burst_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_latch_t begin;
  uv_thread_t thread;
  size_t received;
  size_t used; /* writes during the burst */
  bool from_callback;
  support_result_t result;
} burst_t;

static void count_nothing(uv_async_t* async) {
  uv_close((uv_handle_t*) async, NULL);
}

static bool writes_are_counted(void) {
  uv_loop_t loop;
  uv_async_t async;
  size_t before = atomic_load(&writes);
  bool counted;

  support_loop_init(&loop);
  ck_assert_int_eq(uv_async_init(&loop, &async, count_nothing), 0);
  uv_async_send(&async);
  counted = atomic_load(&writes) > before;
  support_loop_end(&loop);
  if (!counted) {
    fprintf(stderr, "writes cannot be counted here: skipped\n");
  }
  return counted;
}

static void burst_send(burst_t* burst) {
  size_t value;

  for (value = 1; value <= BURST; value++) {
    support_expect_eq(&burst->result, uvch_mpsc_try_send(&burst->tx, &value), 0);
  }
}

static void burst_thread(void* arg) {
  burst_t* burst = arg;

  support_latch_wait(&burst->begin);
  burst_send(burst);
}

/* The first message starts the burst; the callback returns when all of it is queued, so the loop is busy all the while. */
static void burst_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  burst_t* burst = rx->data;
  size_t value;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  memcpy(&value, item, sizeof(value));
  ck_assert_uint_eq(value, burst->received);
  if (burst->received++ == 0) {
    burst->used = atomic_load(&writes);
    if (burst->from_callback) {
      burst_send(burst);
    } else {
      support_latch_arrive(&burst->begin);
      support_join(&burst->thread);
    }
    burst->used = atomic_load(&writes) - burst->used;
  }
  if (burst->received == BURST + 1) {
    ck_assert_int_eq(uvch_mpsc_sender_close(&burst->tx), 0);
  }
}

static void burst_init(burst_t* burst) {
  memset(burst, 0, sizeof(*burst));
  support_loop_init(&burst->loop);
  support_latch_init(&burst->begin, 1);
  ck_assert_int_eq(uvch_mpsc_init(&burst->loop, &burst->rx, &burst->tx, sizeof(size_t), UVCH_UNBOUNDED), 0);
  burst->rx.data = burst;
  ck_assert_int_eq(uvch_mpsc_recv_start(&burst->rx, burst_on_recv), 0);
}

static void burst_end(burst_t* burst) {
  support_loop_end(&burst->loop);
  support_latch_destroy(&burst->begin);
  support_result_check(&burst->result);
  ck_assert_uint_eq(burst->received, BURST + 1);
}

START_TEST(a_burst_to_a_busy_loop_makes_few_wakeups) {
  burst_t burst;
  size_t value = 0;

  if (!writes_are_counted()) {
    return;
  }
  burst_init(&burst);
  support_spawn(&burst.thread, burst_thread, &burst);
  ck_assert_int_eq(uvch_mpsc_try_send(&burst.tx, &value), 0);
  burst_end(&burst);
  ck_assert_uint_le(burst.used, 2);
}
END_TEST

START_TEST(a_burst_from_a_receive_callback_makes_no_wakeup) {
  burst_t burst;
  size_t value = 0;

  if (!writes_are_counted()) {
    return;
  }
  burst_init(&burst);
  burst.from_callback = true;
  ck_assert_int_eq(uvch_mpsc_try_send(&burst.tx, &value), 0);
  burst_end(&burst);
  ck_assert_uint_eq(burst.used, 0);
}
END_TEST

#define QUIET_CHANNELS 100

typedef struct quiet_s {
  uv_loop_t loop;
  uv_timer_t timer;
  uvch_mpsc_receiver_t rx[QUIET_CHANNELS];
  uvch_mpsc_sender_t tx[QUIET_CHANNELS];
  size_t received;
  size_t used;
  size_t ends;
} quiet_t;

static void quiet_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  quiet_t* quiet = rx->data;

  (void) item;
  if (status == UV_EOF) {
    quiet->ends += 1;
    support_close(rx);
  } else {
    quiet->received += 1;
  }
}

static void quiet_burst(quiet_t* quiet) {
  size_t value;

  quiet->used = atomic_load(&writes);
  for (value = 0; value < BURST; value++) {
    ck_assert_int_eq(uvch_mpsc_try_send(&quiet->tx[value % QUIET_CHANNELS], &value), 0);
  }
  quiet->used = atomic_load(&writes) - quiet->used;
  for (value = 0; value < QUIET_CHANNELS; value++) {
    ck_assert_int_eq(uvch_mpsc_sender_close(&quiet->tx[value]), 0);
  }
}

static void quiet_on_timer(uv_timer_t* timer) {
  quiet_burst(timer->data);
  uv_close((uv_handle_t*) timer, NULL);
}

static void quiet_init(quiet_t* quiet) {
  size_t i;

  memset(quiet, 0, sizeof(*quiet));
  support_loop_init(&quiet->loop);
  for (i = 0; i < QUIET_CHANNELS; i++) {
    ck_assert_int_eq(uvch_mpsc_init(&quiet->loop, &quiet->rx[i], &quiet->tx[i], sizeof(size_t), UVCH_UNBOUNDED), 0);
    quiet->rx[i].data = quiet;
    ck_assert_int_eq(uvch_mpsc_recv_start(&quiet->rx[i], quiet_on_recv), 0);
  }
}

static void quiet_end(quiet_t* quiet) {
  support_loop_end(&quiet->loop);
  ck_assert_uint_eq(quiet->received, BURST);
  ck_assert_uint_eq(quiet->ends, QUIET_CHANNELS);
}

START_TEST(a_burst_to_many_channels_of_a_sleeping_loop_makes_few_wakeups) {
  static quiet_t quiet;

  if (!writes_are_counted()) {
    return;
  }
  quiet_init(&quiet);
  uv_run(&quiet.loop, UV_RUN_NOWAIT);
  quiet_burst(&quiet);
  quiet_end(&quiet);
  ck_assert_uint_le(quiet.used, 2);
}
END_TEST

START_TEST(a_burst_from_another_callback_of_the_loop_makes_at_most_one_wakeup) {
  static quiet_t quiet;

  if (!writes_are_counted()) {
    return;
  }
  quiet_init(&quiet);
  uv_timer_init(&quiet.loop, &quiet.timer);
  quiet.timer.data = &quiet;
  uv_timer_start(&quiet.timer, quiet_on_timer, 1, 0);
  quiet_end(&quiet);
  ck_assert_uint_le(quiet.used, 1);
}
END_TEST

/* Hand-overs through a channel with one place: each message waits for the one before. */

static _Atomic(size_t) signals;

static void count_signal(struct uvch__wake* wake) {
  atomic_fetch_add(&signals, 1);
  uvch__wake_async.signal(wake);
}

typedef struct handing_s {
  uv_loop_t loop;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t req;
  size_t count;
  uint64_t next;
  support_result_t result;
} handing_t;

static void hand_over_next(handing_t* handing);

static void on_handed_over(uvch_mpsc_send_t* req, int status) {
  handing_t* handing = req->data;

  support_expect_eq(&handing->result, status, 0);
  support_expect_eq(&handing->result, req->sent, 1);
  handing->next++;
  hand_over_next(handing);
}

static void hand_over_next(handing_t* handing) {
  if (handing->next < handing->count)
    support_expect_eq(&handing->result,
                      uvch_mpsc_send(&handing->loop, &handing->req, &handing->tx, &handing->next, on_handed_over), 0);
  else
    support_expect_eq(&handing->result, uvch_mpsc_sender_close(&handing->tx), 0);
}

static void hand_over_waiting(void* arg) {
  handing_t* handing = arg;

  for (; handing->next < handing->count; handing->next++)
    support_expect_eq(&handing->result, uvch_mpsc_send_wait(&handing->tx, &handing->next), 0);
  support_expect_eq(&handing->result, uvch_mpsc_sender_close(&handing->tx), 0);
}

typedef struct taking_s {
  uint64_t next;
  support_result_t result;
} taking_t;

static void on_taken(uvch_mpsc_receiver_t* rx, int status, void* item) {
  taking_t* taking = rx->data;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  support_expect_eq(&taking->result, *(uint64_t*) item, taking->next++);
  if (taking->next == 100) { /* all that is made once has been made */
    support_alloc_mark();
    atomic_store(&signals, 0);
  }
}

START_TEST(a_hand_over_makes_one_wakeup_of_each_side_and_no_allocation) {
  static struct uvch__wake_ops counting;
  const struct uvch__wake_ops* chosen = uvch__wake_chosen;
  bool by_thread = _i == 1;
  uvch_mpsc_receiver_t rx;
  handing_t handing = {.count = 100 + support_scale(20000)};
  taking_t taking = {0};
  support_runner_t runner;
  uv_loop_t loop;

  counting = uvch__wake_async;
  counting.signal = count_signal;
  uvch__wake_chosen = &counting;
  support_loop_init(&loop);
  support_loop_init(&handing.loop);
  ck_assert_int_eq(uvch_mpsc_init(&loop, &rx, &handing.tx, sizeof(uint64_t), 1), 0);
  rx.data = &taking;
  handing.req.data = &handing;
  /* Somebody has to wait before the count begins: what that needs is made once, and later senders may find their place free. */
  ck_assert_int_eq(uvch_mpsc_try_send(&handing.tx, &handing.next), 0);
  handing.next++;
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&handing.tx, &handing.next, 1), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, on_taken), 0);
  if (by_thread) {
    support_spawn(&runner.thread, hand_over_waiting, &handing);
  } else {
    hand_over_next(&handing);
    support_runner_start(&runner, &handing.loop);
  }
  support_loop_run(&loop);
  /* A request's loop is waked for each, and the receiver's; a thread is waked without a signal. */
  ck_assert_uint_le(atomic_load(&signals), (by_thread ? 1 : 2) * (handing.count - 100) + 2);
  /* A thread may need a second place to sleep in, once, while the one who waked it still holds the first. */
  ck_assert_uint_le(support_alloc_calls(), by_thread ? 1 : 0);
  if (by_thread)
    support_join(&runner.thread);
  else
    support_runner_join(&runner);
  ck_assert_uint_eq(taking.next, handing.count);
  support_result_check(&handing.result);
  support_result_check(&taking.result);
  uvch__wake_chosen = chosen;
  support_loop_end(&handing.loop);
  support_loop_end(&loop);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("wake");
  TCase* lost = support_case(suite, "lost");
  TCase* last = support_case(suite, "last");
  TCase* count = support_case(suite, "count");

  tcase_add_loop_test(lost, no_wakeup_is_lost, 0, (int) (sizeof(wake_cases) / sizeof(wake_cases[0])));
  tcase_add_loop_test(last, the_last_message_and_then_the_end_reach_a_loop, 0, 2);
  tcase_add_test(last, the_last_message_and_then_the_end_reach_a_thread);
  tcase_add_test(count, a_burst_to_a_busy_loop_makes_few_wakeups);
  tcase_add_test(count, a_burst_from_a_receive_callback_makes_no_wakeup);
  tcase_add_test(count, a_burst_to_many_channels_of_a_sleeping_loop_makes_few_wakeups);
  tcase_add_test(count, a_burst_from_another_callback_of_the_loop_makes_at_most_one_wakeup);
  tcase_add_loop_test(count, a_hand_over_makes_one_wakeup_of_each_side_and_no_allocation, 0, 2);
  return support_main(suite);
}
