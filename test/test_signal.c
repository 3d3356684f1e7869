/* SPDX-License-Identifier: MIT
 *
 * Sending from a signal handler into a channel that the interrupted thread is in the middle of using. What a handler sends is
 * numbered by itself: each message comes once, in order, whatever comes between. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#endif

/* UVCH_TEST_SCALE=50 makes it 100,000. */
#define SIGNALS 2000

#define ODD_ERRNO 12345 /* no function sets it */

enum { BY_MAIN, BY_HANDLER, SOURCES };

/* What the handler uses: static, since a handler gets no argument. It runs on one thread at a time. */
static uvch_mpsc_sender_t handler_tx;
static _Atomic(uint64_t) handled;
static _Atomic(uint64_t) handler_sent;
static _Atomic(uint64_t) handler_full;
static _Atomic(uint64_t) handler_closed;
static _Atomic(uint64_t) handler_wrong;
static _Atomic(uint64_t) handler_allocs;
static _Thread_local volatile sig_atomic_t in_handler;

/* The library's memory, by way of the support's, with an eye on who asks. */

static void* watched_malloc(size_t size) {
  handler_allocs += in_handler != 0;
  return support_malloc(size);
}

static void* watched_realloc(void* old, size_t size) {
  handler_allocs += in_handler != 0;
  return support_realloc(old, size);
}

static void* watched_calloc(size_t count, size_t size) {
  handler_allocs += in_handler != 0;
  return support_calloc(count, size);
}

static void watched_free(void* block) {
  handler_allocs += in_handler != 0;
  support_free(block);
}

static uint64_t message(int source, uint64_t number) {
  return (uint64_t) source << 56 | number;
}

static void on_signal(int number) {
  uint64_t value = message(BY_HANDLER, atomic_load(&handler_sent));
  int saved = errno;
  int err;

  (void) number;
  in_handler = 1;
  errno = ODD_ERRNO;
  err = uvch_mpsc_try_send(&handler_tx, &value);
  if (errno != ODD_ERRNO) {
    atomic_fetch_add(&handler_wrong, 1);
  }
  if (err == 0) {
    atomic_fetch_add(&handler_sent, 1);
  } else if (err == UV_EAGAIN) {
    atomic_fetch_add(&handler_full, 1);
  } else if (err == UV_EPIPE) {
    atomic_fetch_add(&handler_closed, 1);
  } else {
    atomic_fetch_add(&handler_wrong, 1);
  }
  errno = saved;
  in_handler = 0;
  atomic_fetch_add(&handled, 1);
}

/* A signal that came in the middle of a system call restarts it, as the program wishes; or not. */
static void set_handler(int number, void (*handler)(int), int flags) {
  struct sigaction action;

  memset(&action, 0, sizeof(action));
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  ck_assert_int_eq(sigaction(number, &action, NULL), 0);
}

/* The thread sanitizer keeps a signal until the thread calls something that it knows. */
static void let_signals_in(void) {
#if defined(WITH_TSAN)
  sigset_t set;

  sigemptyset(&set);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
#endif
}

/* The receiver, on the loop of its own thread. */
typedef struct sink_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t next[SOURCES];
  size_t ends;
  size_t close_at; /* closes when it has got so many; 0: never */
  support_runner_t runner;
  support_result_t result;
} sink_t;

static uint64_t received_of(const sink_t* sink) {
  return sink->next[BY_MAIN] + sink->next[BY_HANDLER];
}

static void on_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  sink_t* sink = rx->data;
  uint64_t value;

  if (status == UV_EOF) {
    sink->ends += 1;
    support_expect_eq(&sink->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
    return;
  }
  memcpy(&value, item, sizeof(value));
  if (support_expect(&sink->result, value >> 56 < SOURCES)) {
    support_expect_eq(&sink->result, value & (((uint64_t) 1 << 56) - 1), sink->next[value >> 56]);
    sink->next[value >> 56] += 1;
  }
  if (received_of(sink) == sink->close_at) {
    support_expect_eq(&sink->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
  }
}

static void sink_init(sink_t* sink, size_t capacity, size_t hot) {
  uvch_mpsc_options_t options;

  ck_assert_int_eq(uvch_replace_allocator(watched_malloc, watched_realloc, watched_calloc, watched_free), 0);
  memset(sink, 0, sizeof(*sink));
  memset(&options, 0, sizeof(options));
  options.flags = UVCH_PREALLOCATE;
  support_loop_init(&sink->loop);
  ck_assert_int_eq(uvch_loop_configure(&sink->loop, UVCH_LOOP_HOT_MAX, hot), 0);
  ck_assert_int_eq(uvch_mpsc_init_ex(&sink->loop, &sink->rx, &sink->tx, sizeof(uint64_t), capacity, &options), 0);
  sink->rx.data = sink;
  ck_assert_int_eq(uvch_mpsc_recv_start(&sink->rx, on_message), 0);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&sink->tx, &handler_tx), 0);
  atomic_store(&handled, 0);
  atomic_store(&handler_sent, 0);
  atomic_store(&handler_full, 0);
  atomic_store(&handler_closed, 0);
  atomic_store(&handler_wrong, 0);
  atomic_store(&handler_allocs, 0);
}

/* No signal comes any more. */
static void sink_end(sink_t* sink) {
  support_loop_close(&sink->loop);
  support_result_check(&sink->result);
  ck_assert_uint_eq(atomic_load(&handler_wrong), 0);
  ck_assert_uint_eq(atomic_load(&handler_allocs), 0);
  ck_assert_int_eq(uvch_replace_allocator(support_malloc, support_realloc, support_calloc, support_free), 0);
}

/* The thread that sends signals: the next one when the one before has been handled, so that none of them is merged. */
typedef struct signaller_s {
  pthread_t target;
  uv_thread_t thread;
  size_t count;
  _Atomic(int) done;
} signaller_t;

static void send_signals(void* arg) {
  signaller_t* signaller = arg;
  sigset_t set;
  size_t i;

  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  for (i = 0; i < signaller->count; i++) {
    volatile size_t pause = i * 37 % 500;

    pthread_kill(signaller->target, SIGUSR1);
    while (atomic_load(&handled) <= i) {
      support_yield();
    }
    while (pause > 0) {
      pause -= 1;
    }
  }
  atomic_store(&signaller->done, 1);
}

static void signaller_start(signaller_t* signaller, pthread_t target) {
  signaller->target = target;
  signaller->count = support_scale(SIGNALS);
  atomic_store(&signaller->done, 0);
  support_spawn(&signaller->thread, send_signals, signaller);
}

static const size_t capacities[] = {1, 4, 256};

/* How the interrupted thread sends. 0 once the channel is closed. */
enum { TRY, WAIT, TIMED, PERMIT, BATCH, WAYS };

static int put_one(sink_t* sink, int way, uint64_t* sent) {
  uint64_t value = message(BY_MAIN, *sent);
  uint64_t values[3] = {value, value + 1, value + 2};
  uvch_mpsc_permit_t permit;
  int err;

  if (way == WAIT) {
    err = uvch_mpsc_send_wait(&sink->tx, &value);
  } else if (way == TIMED) {
    err = uvch_mpsc_send_timedwait(&sink->tx, &value, 20000);
  } else if (way == PERMIT) {
    err = uvch_mpsc_try_reserve(&sink->tx, 1, &permit);
    err = err == 0 ? uvch_mpsc_permit_send(&permit, &value) : err;
  } else if (way == BATCH) {
    err = uvch_mpsc_send_many_wait(&sink->tx, values, 3);
    if (err > 0) {
      *sent += (uint64_t) err;
      return 1;
    }
  } else {
    err = uvch_mpsc_try_send(&sink->tx, &value);
  }
  if (err == 0) {
    *sent += 1;
  } else if (err == UV_EPIPE) {
    return 0;
  } else {
    support_check(err == UV_EAGAIN || err == UV_ETIMEDOUT);
  }
  return 1;
}

START_TEST(a_handler_may_send_into_the_channel_that_its_thread_is_sending_into) {
  signaller_t signaller;
  uint64_t sent = 0;
  sink_t sink;

  sink_init(&sink, capacities[_i / WAYS], _i % 2 == 0 ? 0 : 50000);
  set_handler(SIGUSR1, on_signal, SA_RESTART);
  support_runner_start(&sink.runner, &sink.loop);
  signaller_start(&signaller, pthread_self());
  while (atomic_load(&signaller.done) == 0) {
    support_check(put_one(&sink, _i % WAYS, &sent));
    let_signals_in();
  }
  support_join(&signaller.thread);
  support_drop_sender(&sink.tx);
  support_drop_sender(&handler_tx);
  support_runner_join(&sink.runner);
  ck_assert_uint_eq(atomic_load(&handled), signaller.count);
  ck_assert_uint_eq(atomic_load(&handler_sent) + atomic_load(&handler_full), signaller.count);
  ck_assert_uint_eq(sink.next[BY_MAIN], sent);
  ck_assert_uint_eq(sink.next[BY_HANDLER], atomic_load(&handler_sent));
  ck_assert_uint_eq(sink.ends, 1);
  sink_end(&sink);
}
END_TEST

START_TEST(a_handler_may_send_while_the_receiver_closes_and_after_it) {
  signaller_t signaller;
  uint64_t sent = 0;
  sink_t sink;
  int open = 1;

  sink_init(&sink, capacities[_i], 0);
  sink.close_at = support_scale(SIGNALS) / 2 + 1;
  set_handler(SIGUSR1, on_signal, SA_RESTART);
  support_runner_start(&sink.runner, &sink.loop);
  signaller_start(&signaller, pthread_self());
  while (atomic_load(&signaller.done) == 0) {
    open = open && put_one(&sink, TRY, &sent);
    let_signals_in();
  }
  while (open) { /* the signals were too few */
    open = put_one(&sink, WAIT, &sent);
  }
  support_join(&signaller.thread);
  support_runner_join(&sink.runner);
  support_drop_sender(&sink.tx);
  support_drop_sender(&handler_tx);
  ck_assert_uint_eq(atomic_load(&handler_sent) + atomic_load(&handler_full) + atomic_load(&handler_closed), signaller.count);
  ck_assert_uint_eq(received_of(&sink), sink.close_at);
  ck_assert_uint_ge(sent + atomic_load(&handler_sent), sink.close_at);
  sink_end(&sink);
}
END_TEST

/* The loop's own thread is interrupted: in its callbacks, in the library, in libuv, and asleep. */

static void feed(void* arg) {
  sink_t* sink = arg;
  uint64_t sent = 0;
  uint64_t value;
  sigset_t set;

  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  while (atomic_load(&handled) < support_scale(SIGNALS)) {
    value = message(BY_MAIN, sent);
    if (!support_expect_eq(&sink->result, uvch_mpsc_send_wait(&sink->tx, &value), 0)) {
      break;
    }
    sent += 1;
  }
  support_expect_eq(&sink->result, uvch_mpsc_sender_close(&sink->tx), 0);
  support_expect_eq(&sink->result, uvch_mpsc_sender_close(&handler_tx), 0);
}

START_TEST(a_handler_may_send_on_the_loops_own_thread_while_that_delivers) {
  signaller_t signaller;
  uv_thread_t feeder;
  sink_t sink;

  sink_init(&sink, capacities[_i % 3], _i / 3 == 0 ? 0 : 50000);
  set_handler(SIGUSR1, on_signal, SA_RESTART);
  signaller_start(&signaller, pthread_self());
  support_spawn(&feeder, feed, &sink);
  support_loop_run(&sink.loop);
  support_join(&feeder);
  support_join(&signaller.thread);
  ck_assert_uint_eq(atomic_load(&handled), signaller.count);
  ck_assert_uint_eq(atomic_load(&handler_sent) + atomic_load(&handler_full), signaller.count);
  ck_assert_uint_eq(sink.next[BY_HANDLER], atomic_load(&handler_sent));
  ck_assert_uint_eq(sink.ends, 1);
  sink_end(&sink);
}
END_TEST

/* Nothing else happens: only the handler wakes the loop, and each message has to come before the next signal is sent. */
typedef struct waker_s {
  sink_t* sink;
  pthread_t target;
  long number;
  uv_thread_t thread;
  _Atomic(uint64_t) received;
} waker_t;

static waker_t waker;

static void on_message_tell(uvch_mpsc_receiver_t* rx, int status, void* item) {
  on_message(rx, status, item);
  atomic_store(&waker.received, received_of(rx->data));
}

static void wake_asleep(void* arg) {
  size_t count = support_scale(SIGNALS) / 4;
  sigset_t set;
  size_t i;

  (void) arg;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  for (i = 0; i < count; i++) {
    if (i % 8 == 0) {
      support_until_asleep(waker.number);
    }
    pthread_kill(waker.target, SIGUSR1);
    support_until(atomic_load(&waker.received) > i);
  }
  support_until(atomic_load(&handled) == count);
  uvch_mpsc_sender_close(&handler_tx);
}

START_TEST(a_handler_wakes_the_sleeping_loop_that_it_interrupts) {
  sink_t sink;

  sink_init(&sink, 16, 0);
  support_drop_sender(&sink.tx);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&sink.rx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&sink.rx, on_message_tell), 0);
  set_handler(SIGUSR1, on_signal, _i == 0 ? SA_RESTART : 0);
  waker.sink = &sink;
  waker.target = pthread_self();
  waker.number = support_thread_number();
  atomic_store(&waker.received, 0);
  support_spawn(&waker.thread, wake_asleep, NULL);
  support_loop_run(&sink.loop);
  support_join(&waker.thread);
  ck_assert_uint_eq(sink.next[BY_HANDLER], atomic_load(&handled));
  ck_assert_uint_eq(atomic_load(&handler_full), 0);
  ck_assert_uint_eq(sink.ends, 1);
  sink_end(&sink);
}
END_TEST

/* A thread that raises its own signals between its own sends. */
START_TEST(a_handler_may_send_in_a_thread_that_raises_its_own_signals) {
  size_t count = support_scale(SIGNALS);
  uint64_t sent = 0;
  sink_t sink;
  size_t i;

  sink_init(&sink, capacities[_i], 0);
  set_handler(SIGUSR1, on_signal, SA_RESTART);
  support_runner_start(&sink.runner, &sink.loop);
  for (i = 0; i < count; i++) {
    ck_assert(raise(SIGUSR1) == 0);
    support_check(put_one(&sink, (int) (i % WAYS), &sent));
  }
  support_drop_sender(&sink.tx);
  support_drop_sender(&handler_tx);
  support_runner_join(&sink.runner);
  ck_assert_uint_eq(atomic_load(&handled), count);
  ck_assert_uint_eq(sink.next[BY_MAIN], sent);
  ck_assert_uint_eq(sink.next[BY_HANDLER], atomic_load(&handler_sent));
  sink_end(&sink);
}
END_TEST

/* A timer's signals come wherever the thread is; some are merged, which the handler's own numbers do not mind. */
START_TEST(a_handler_of_a_timer_may_send_anywhere) {
  struct itimerval often = {{0, 100}, {0, 100}};
  struct itimerval never;
  uint64_t sent = 0;
  sigset_t set;
  sink_t sink;

#if defined(WITH_TSAN)
  /* The sanitizer delivers such a signal to whichever thread it likes, in the middle of its own work. */
  return;
#endif
  sink_init(&sink, capacities[_i], 0);
  set_handler(SIGVTALRM, on_signal, SA_RESTART);
  sigemptyset(&set);
  sigaddset(&set, SIGVTALRM);
  ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &set, NULL), 0); /* the loop's thread inherits it */
  support_runner_start(&sink.runner, &sink.loop);
  ck_assert_int_eq(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
  ck_assert_int_eq(setitimer(ITIMER_VIRTUAL, &often, NULL), 0);
  while (atomic_load(&handled) < support_scale(SIGNALS) / 40) {
    support_check(put_one(&sink, (int) (sent % 2 == 0 ? TRY : WAIT), &sent));
  }
  memset(&never, 0, sizeof(never));
  ck_assert_int_eq(setitimer(ITIMER_VIRTUAL, &never, NULL), 0);
  set_handler(SIGVTALRM, SIG_IGN, 0);
  support_drop_sender(&sink.tx);
  support_drop_sender(&handler_tx);
  support_runner_join(&sink.runner);
  ck_assert_uint_eq(sink.next[BY_MAIN], sent);
  ck_assert_uint_eq(sink.next[BY_HANDLER], atomic_load(&handler_sent));
  sink_end(&sink);
}
END_TEST

static void add_sender(Suite* suite) {
  TCase* tcase = support_case(suite, "sender");

  tcase_add_loop_test(tcase, a_handler_may_send_into_the_channel_that_its_thread_is_sending_into, 0, 3 * WAYS);
  tcase_add_loop_test(tcase, a_handler_may_send_while_the_receiver_closes_and_after_it, 0, 3);
  tcase_add_loop_test(tcase, a_handler_may_send_in_a_thread_that_raises_its_own_signals, 0, 3);
  tcase_add_loop_test(tcase, a_handler_of_a_timer_may_send_anywhere, 0, 3);
}

static void add_loop(Suite* suite) {
  TCase* tcase = support_case(suite, "loop");

  tcase_add_loop_test(tcase, a_handler_may_send_on_the_loops_own_thread_while_that_delivers, 0, 6);
  tcase_add_loop_test(tcase, a_handler_wakes_the_sleeping_loop_that_it_interrupts, 0, 2);
}

int main(void) {
  Suite* suite = suite_create("signal");

  add_sender(suite);
  add_loop(suite);
  return support_main(suite);
}
