/* SPDX-License-Identifier: MIT
 *
 * What all test programs share: a counting allocator that can fail, loops, threads, and the runner.
 *
 * A case made with support_case() passes only if it gave back all memory of the library and closed every loop that it made with
 * support_loop_init(). Threads other than the one that runs the case never call ck_assert: they fill a support_result_t, and the
 * case looks at it after the join. */
#ifndef UVCH_TEST_SUPPORT_H
#define UVCH_TEST_SUPPORT_H

#include <check.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <uvch.h>

/* Running. */

/* support_main: run the suite as the environment asks (CK_FORK, CK_RUN_CASE, CK_VERBOSITY ...); the exit code of the program.
 *
 * UVCH_TEST_FAIL=N with UVCH_TEST_FAIL_COUNTS=FILE: in each test the N-th allocation of the library fails, once. FILE says how many
 * a test makes; with N = 0 it is written, see tools/failing. Each test must be a process of its own. */
int support_main(Suite* suite);

/* support_case: add a case to `suite`, with a time-out that fits the scale and the checks named above after each test. */
TCase* support_case(Suite* suite, const char* name);

/* support_scale: `n` times UVCH_TEST_SCALE (1 if that is not set, fractions allowed), at least 1. */
size_t support_scale(size_t n);

/* Memory of the library. Numbers are of blocks that are not freed yet; bytes as they were asked for. */
size_t support_alloc_blocks(void);
size_t support_alloc_bytes(void);
size_t support_alloc_peak_bytes(void);  /* most bytes at one time since the last support_alloc_mark() */
size_t support_alloc_largest(void);     /* largest single block asked for since the last support_alloc_mark() */
size_t support_alloc_calls(void);       /* allocations asked for since the last support_alloc_mark() */
void support_alloc_mark(void);

/* support_alloc_fail: the n-th allocation from now on fails, once; 1 is the next one, 0 none. */
void support_alloc_fail(size_t n);

/* support_alloc_fail_from: the n-th allocation from now on and every later one fails, until this is called with 0. */
void support_alloc_fail_from(size_t n);

/* support_alloc_failed: allocations that were made to fail since the last support_alloc_mark(). */
size_t support_alloc_failed(void);

/* The functions behind it, for uvch_replace_allocator(). support_main() has put them in already. */
void* support_malloc(size_t size);
void* support_realloc(void* old, size_t size);
void* support_calloc(size_t count, size_t size);
void support_free(void* block);

/* Loops. */

void support_loop_init(uv_loop_t* loop);

/* support_loop_run: run it to its end; nothing may be left alive. */
void support_loop_run(uv_loop_t* loop);

/* support_loop_close: uv_loop_close(), which must say 0. Closes nothing on the way: a handle left behind fails the test. */
void support_loop_close(uv_loop_t* loop);

/* support_loop_end: run and close. */
void support_loop_end(uv_loop_t* loop);

/* support_close: uvch_close() without a callback, which must say 0. */
void support_close(uvch_mpsc_receiver_t* rx);

/* support_check, support_check_eq: ck_assert for loops that turn often. That one writes to a pipe each time, these do not. */
#define support_check(condition)        \
  do {                                  \
    if (!(condition)) {                 \
      ck_abort_msg("%s", #condition);   \
    }                                   \
  } while (0)
#define support_check_eq(value, wanted)                                                             \
  do {                                                                                              \
    long long value_ = (long long) (value);                                                         \
    long long wanted_ = (long long) (wanted);                                                       \
    if (value_ != wanted_) {                                                                        \
      ck_abort_msg("%s is %lld, not %s, which is %lld", #value, value_, #wanted, wanted_);          \
    }                                                                                               \
  } while (0)

/* Channels of 8-byte messages. */

/* support_put: try_send a number, which must say 0. */
void support_put(const uvch_mpsc_sender_t* tx, uint64_t value);

/* support_take: try_recv a number, which must say 0. */
uint64_t support_take(uvch_mpsc_receiver_t* rx);

/* support_drop_sender: close it, which must say 0. */
void support_drop_sender(uvch_mpsc_sender_t* tx);

/* Threads. */

void support_spawn(uv_thread_t* thread, uv_thread_cb entry, void* arg);
void support_join(uv_thread_t* thread);

/* A loop that a thread of its own runs, with UV_RUN_DEFAULT. */
typedef struct support_runner_s {
  uv_loop_t* loop;
  uv_thread_t thread;
  int result;
} support_runner_t;

void support_runner_start(support_runner_t* runner, uv_loop_t* loop);

/* support_runner_join: wait for the end of the loop, whose uv_run() must have said 0. */
void support_runner_join(support_runner_t* runner);

/* support_thread_number: a number of the calling thread for support_until_asleep(). */
long support_thread_number(void);

/* support_until_asleep: return once that thread of this process sleeps in the kernel, or has ended: its time may be over before the
 * caller looks. For one with a single place to sleep in. */
void support_until_asleep(long number);

/* support_until_blocked: the same with the number still to come: it becomes != 0 right before the thread enters its call. */
void support_until_blocked(const _Atomic(long) * number);

/* support_until: give the processor away until `condition` holds. For what another thread brings about; the time-out ends it. */
#define support_until(condition) \
  do {                           \
    while (!(condition)) {       \
      support_yield();           \
    }                            \
  } while (0)
void support_yield(void);

/* A latch: closed until `count` arrivals. */
typedef struct support_latch_s {
  uv_mutex_t mutex;
  uv_cond_t cond;
  size_t left;
} support_latch_t;

void support_latch_init(support_latch_t* latch, size_t count);
void support_latch_arrive(support_latch_t* latch);
void support_latch_wait(support_latch_t* latch);
void support_latch_destroy(support_latch_t* latch); /* after the join of every thread that uses it */

/* A message whose reader stops in the middle of reading it until it is let go: its page cannot be read, and the handler of the
 * fault waits. At most 4 at a time, each for one read. */
typedef struct support_slow_s {
  void* item;
  size_t mapped;
  _Atomic(int) state;
} support_slow_t;

void support_slow_init(support_slow_t* slow, const void* bytes, size_t size);
void support_slow_until_read(support_slow_t* slow); /* until a thread is in the middle of it */
void support_slow_let_go(support_slow_t* slow);
void support_slow_destroy(support_slow_t* slow);    /* once nobody reads it any more */

/* What a thread found. The counters only go up and the first failure stays. Set all to 0 first. */
typedef struct support_result_s {
  _Atomic(size_t) done;
  _Atomic(size_t) failed;
  _Atomic(const char*) first; /* where the first failure was, with the condition */
  _Atomic(long long) code;    /* a value that belongs to it */
} support_result_t;

void support_result_fail(support_result_t* result, const char* where, long long code);

/* support_result_check: fail the test if a thread has found something wrong. */
void support_result_check(support_result_t* result);

#define SUPPORT_TEXT_(x) #x
#define SUPPORT_TEXT(x) SUPPORT_TEXT_(x)

/* support_expect: what ck_assert is for the case's own thread; 1 if the condition holds, else 0. support_expect_eq also keeps the
 * value. */
#define support_expect(result, condition) \
  ((condition) ? 1 : (support_result_fail((result), __FILE__ ":" SUPPORT_TEXT(__LINE__) ": " #condition, 0), 0))
#define support_expect_eq(result, value, wanted) \
  support_expect_eq_((result), (long long) (value), (long long) (wanted), \
                     __FILE__ ":" SUPPORT_TEXT(__LINE__) ": " #value " == " #wanted)
int support_expect_eq_(support_result_t* result, long long value, long long wanted, const char* where);

/* support_numbers_check: the statistics of a channel that has ended: `count` messages were sent, and all of them received. */
void support_numbers_check(support_result_t* result, const uvch_mpsc_receiver_t* rx, uint64_t count);

/* What a receiver got. Set all to 0 first, put it into `rx.data`, and start the receiver with support_sink_cb. Any thread may run
 * its loop. */
typedef struct support_sink_s {
  uint64_t got[1024]; /* the first ones */
  size_t count;
  size_t ends;
  bool stay; /* do not close the receiver at UV_EOF */
  support_result_t result;
} support_sink_t;

void support_sink_cb(uvch_mpsc_receiver_t* rx, int status, void* item);

/* support_sink_start: set the sink to 0 and start `rx` with it. */
void support_sink_start(support_sink_t* sink, uvch_mpsc_receiver_t* rx);

/* support_sink_check: it must have got 0, 1, 2 ... `count` of them, and `ends` times UV_EOF. */
void support_sink_check(support_sink_t* sink, size_t count, size_t ends);

#endif
