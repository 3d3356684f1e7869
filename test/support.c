/* SPDX-License-Identifier: MIT
 *
 * What all test programs share; see support.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "wake.h"

/* Memory. Each block has its size in front of it; the pad keeps what follows aligned for every type. */

#define BLOCK_LIVE ((size_t) 0xb10c11fe)
#define BLOCK_DEAD ((size_t) 0xb10cdead)

/* No test needs a block this large; refused here, since a sanitizer's allocator would end the program. */
#define BLOCK_MAX ((size_t) (SIZE_MAX / 2 < UINT64_C(1) << 40 ? SIZE_MAX / 2 : UINT64_C(1) << 40))

typedef union block_u {
  struct {
    size_t size;
    size_t state;
  } head;
  max_align_t align;
} block_t;

static _Atomic(size_t) live_blocks;
static _Atomic(size_t) live_bytes;
static _Atomic(size_t) peak_bytes;
static _Atomic(size_t) largest;
static _Atomic(size_t) calls;
static _Atomic(size_t) calls_of_test;
static _Atomic(size_t) failed;
static _Atomic(size_t) fail_in;
static _Atomic(bool) fail_on; /* that one and those after it */

/* A sweep of tools/failing: which test this is, and which of its allocations fails. */
static size_t sweep_test;
static size_t sweep_fails;

/* Somebody was told of the failure who does not end the test by it. Others may wait for him now, for ever. */
static void sweep_note(void) {
  const struct itimerval patience = {.it_value = {.tv_usec = 150000}};

  if (sweep_fails == 0) {
    return;
  }
  fprintf(stderr, "told %zu\n", sweep_test);
  signal(SIGALRM, SIG_DFL);
  setitimer(ITIMER_REAL, &patience, NULL);
}

static void raise_to(_Atomic(size_t) * most, size_t value) {
  size_t seen = atomic_load(most);

  while (seen < value && !atomic_compare_exchange_weak(most, &seen, value)) {
  }
}

/* Whether this call is the one to fail. */
static bool fails(void) {
  size_t left = atomic_load(&fail_in);

  atomic_fetch_add(&calls, 1);
  atomic_fetch_add(&calls_of_test, 1);
  while (left > 0 && !(left == 1 && atomic_load(&fail_on)) && !atomic_compare_exchange_weak(&fail_in, &left, left - 1)) {
  }
  if (left != 1) {
    return false;
  }
  atomic_fetch_add(&failed, 1);
  if (support_thread_number() != (long) getpid()) { /* else the next check of the case's own thread ends it */
    sweep_note();
  }
  return true;
}

static void count_in(block_t* block, size_t size) {
  block->head.size = size;
  block->head.state = BLOCK_LIVE;
  atomic_fetch_add(&live_blocks, 1);
  raise_to(&peak_bytes, atomic_fetch_add(&live_bytes, size) + size);
  raise_to(&largest, size);
}

static block_t* count_out(void* memory) {
  block_t* block = (block_t*) memory - 1;

  if (block->head.state != BLOCK_LIVE) {
    fprintf(stderr, "freed twice, or never allocated: %p\n", memory);
    abort();
  }
  block->head.state = BLOCK_DEAD;
  atomic_fetch_sub(&live_blocks, 1);
  atomic_fetch_sub(&live_bytes, block->head.size);
  return block;
}

void* support_malloc(size_t size) {
  block_t* block;

  if (size > BLOCK_MAX || fails()) {
    return NULL;
  }
  block = malloc(sizeof(*block) + size);
  if (block == NULL) {
    return NULL;
  }
  memset(block + 1, 0xa5, size);
  count_in(block, size);
  return block + 1;
}

void* support_calloc(size_t count, size_t size) {
  block_t* block;

  if ((size != 0 && count > BLOCK_MAX / size) || fails()) {
    return NULL;
  }
  block = calloc(1, sizeof(*block) + count * size);
  if (block == NULL) {
    return NULL;
  }
  count_in(block, count * size);
  return block + 1;
}

void* support_realloc(void* old, size_t size) {
  void* fresh;
  size_t keep;

  if (old == NULL) {
    return support_malloc(size);
  }
  fresh = support_malloc(size);
  if (fresh == NULL) {
    return NULL;
  }
  keep = ((block_t*) old - 1)->head.size;
  memcpy(fresh, old, keep < size ? keep : size);
  support_free(old);
  return fresh;
}

void support_free(void* memory) {
  if (memory != NULL) {
    free(count_out(memory));
  }
}

size_t support_alloc_blocks(void) {
  return atomic_load(&live_blocks);
}

size_t support_alloc_bytes(void) {
  return atomic_load(&live_bytes);
}

size_t support_alloc_peak_bytes(void) {
  return atomic_load(&peak_bytes);
}

size_t support_alloc_largest(void) {
  return atomic_load(&largest);
}

size_t support_alloc_calls(void) {
  return atomic_load(&calls);
}

size_t support_alloc_failed(void) {
  return atomic_load(&failed);
}

void support_alloc_mark(void) {
  atomic_store(&peak_bytes, atomic_load(&live_bytes));
  atomic_store(&largest, 0);
  atomic_store(&calls, 0);
  atomic_store(&failed, 0);
}

void support_alloc_fail(size_t n) {
  atomic_store(&fail_on, false);
  atomic_store(&fail_in, n);
}

void support_alloc_fail_from(size_t n) {
  atomic_store(&fail_on, true);
  atomic_store(&fail_in, n);
}

/* Loops. */

static int open_loops;

void support_loop_init(uv_loop_t* loop) {
  ck_assert_int_eq(uv_loop_init(loop), 0);
  open_loops += 1;
}

void support_loop_run(uv_loop_t* loop) {
  ck_assert_int_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
}

void support_loop_close(uv_loop_t* loop) {
  ck_assert_int_eq(uv_loop_close(loop), 0);
  open_loops -= 1;
}

void support_loop_end(uv_loop_t* loop) {
  support_loop_run(loop);
  support_loop_close(loop);
}

void support_close(uvch_mpsc_receiver_t* rx) {
  ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

/* Channels. */

void support_put(const uvch_mpsc_sender_t* tx, uint64_t value) {
  support_check_eq(uvch_mpsc_try_send(tx, &value), 0);
}

uint64_t support_take(uvch_mpsc_receiver_t* rx) {
  uint64_t value = UINT64_MAX;

  support_check_eq(uvch_mpsc_try_recv(rx, &value), 0);
  return value;
}

void support_drop_sender(uvch_mpsc_sender_t* tx) {
  ck_assert_int_eq(uvch_mpsc_sender_close(tx), 0);
}

void support_numbers_check(support_result_t* result, const uvch_mpsc_receiver_t* rx, uint64_t count) {
  uvch_stats_t stats;

  if (!support_expect_eq(result, uvch_mpsc_receiver_get_stats(rx, &stats), 0))
    return;
  support_expect_eq(result, stats.sent, count);
  support_expect_eq(result, stats.received, count);
  support_expect_eq(result, stats.dropped, 0);
  support_expect_eq(result, stats.depth, 0);
  support_expect_eq(result, stats.reserved, 0);
  support_expect_eq(result, stats.waiting, 0);
  support_expect(result, stats.high_water <= stats.capacity && stats.high_water <= count);
}

void support_sink_cb(uvch_mpsc_receiver_t* rx, int status, void* item) {
  support_sink_t* sink = rx->data;

  if (status == 0) {
    if (sink->count < sizeof(sink->got) / sizeof(sink->got[0])) {
      memcpy(&sink->got[sink->count], item, sizeof(sink->got[0]));
    }
    sink->count += 1;
    return;
  }
  support_expect_eq(&sink->result, status, UV_EOF);
  support_expect(&sink->result, item == NULL);
  sink->ends += 1;
  if (!sink->stay) {
    support_expect_eq(&sink->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
  }
}

void support_sink_start(support_sink_t* sink, uvch_mpsc_receiver_t* rx) {
  memset(sink, 0, sizeof(*sink));
  rx->data = sink;
  ck_assert_int_eq(uvch_mpsc_recv_start(rx, support_sink_cb), 0);
}

void support_sink_check(support_sink_t* sink, size_t count, size_t ends) {
  size_t i;

  support_result_check(&sink->result);
  ck_assert_uint_eq(sink->count, count);
  ck_assert_uint_eq(sink->ends, ends);
  for (i = 0; i < count && i < sizeof(sink->got) / sizeof(sink->got[0]); i++) {
    ck_assert_uint_eq(sink->got[i], i);
  }
}

/* Threads. */

void support_spawn(uv_thread_t* thread, uv_thread_cb entry, void* arg) {
  ck_assert_int_eq(uv_thread_create(thread, entry, arg), 0);
}

void support_join(uv_thread_t* thread) {
  ck_assert_int_eq(uv_thread_join(thread), 0);
}

static void run_loop(void* arg) {
  support_runner_t* runner = arg;

  runner->result = uv_run(runner->loop, UV_RUN_DEFAULT);
}

void support_runner_start(support_runner_t* runner, uv_loop_t* loop) {
  runner->loop = loop;
  runner->result = -1;
  support_spawn(&runner->thread, run_loop, runner);
}

void support_runner_join(support_runner_t* runner) {
  support_join(&runner->thread);
  ck_assert_int_eq(runner->result, 0);
}

void support_yield(void) {
  sched_yield();
}

long support_thread_number(void) {
  return syscall(SYS_gettid);
}

/* The state letter that the kernel gives for a thread, or X if it has ended: behind the last ')', as the name before it may hold anything. */
static char thread_state(long number) {
  char path[64];
  char text[512];
  const char* mark;
  size_t length;
  FILE* file;

  snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", number);
  file = fopen(path, "r");
  if (file == NULL) {
    return errno == ENOENT || errno == ESRCH ? 'X' : '?';
  }
  length = fread(text, 1, sizeof(text) - 1, file);
  fclose(file);
  text[length] = '\0';
  mark = strrchr(text, ')');
  return mark != NULL && mark[1] == ' ' ? mark[2] : '?';
}

/* More than one look, since a lock on the way may make it sleep for a moment, too. */
void support_until_asleep(long number) {
  int seen = 0;

  while (seen < 5) {
    char state = thread_state(number);
    if (state == 'X') {
      return;
    }
    seen = state == 'S' ? seen + 1 : 0;
    support_yield();
  }
}

void support_until_blocked(const _Atomic(long) * number) {
  support_until(atomic_load(number) != 0);
  support_until_asleep(atomic_load(number));
}

void support_latch_init(support_latch_t* latch, size_t count) {
  ck_assert_int_eq(uv_mutex_init(&latch->mutex), 0);
  ck_assert_int_eq(uv_cond_init(&latch->cond), 0);
  latch->left = count;
}

void support_latch_arrive(support_latch_t* latch) {
  uv_mutex_lock(&latch->mutex);
  if (latch->left > 0 && --latch->left == 0) {
    uv_cond_broadcast(&latch->cond);
  }
  uv_mutex_unlock(&latch->mutex);
}

void support_latch_wait(support_latch_t* latch) {
  uv_mutex_lock(&latch->mutex);
  while (latch->left > 0) {
    uv_cond_wait(&latch->cond, &latch->mutex);
  }
  uv_mutex_unlock(&latch->mutex);
}

void support_latch_destroy(support_latch_t* latch) {
  uv_cond_destroy(&latch->cond);
  uv_mutex_destroy(&latch->mutex);
}

/* Slow messages. */

enum { SLOW_UNREAD, SLOW_BEING_READ, SLOW_LET_GO };

static _Atomic(support_slow_t*) slow_items[4];
static struct sigaction slow_before;

static support_slow_t* slow_at(const void* address) {
  size_t i;

  for (i = 0; i < sizeof(slow_items) / sizeof(slow_items[0]); i++) {
    support_slow_t* slow = atomic_load(&slow_items[i]);

    if (slow != NULL && (uintptr_t) address - (uintptr_t) slow->item < slow->mapped) {
      return slow;
    }
  }
  return NULL;
}

static void slow_on_fault(int number, siginfo_t* info, void* context) {
  support_slow_t* slow = slow_at(info->si_addr);

  (void) context;
  if (slow == NULL) {
    sigaction(number, &slow_before, NULL); /* not ours: the same fault comes again, to whoever was there before */
    return;
  }
  atomic_store(&slow->state, SLOW_BEING_READ);
  while (atomic_load(&slow->state) != SLOW_LET_GO) {
    sched_yield();
  }
  mprotect(slow->item, slow->mapped, PROT_READ);
}

static void slow_install(void) {
  struct sigaction action;
  struct sigaction now;

  ck_assert_int_eq(sigaction(SIGSEGV, NULL, &now), 0);
  if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == slow_on_fault) {
    return;
  }
  slow_before = now;
  memset(&action, 0, sizeof(action));
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = slow_on_fault;
  sigemptyset(&action.sa_mask);
  ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
}

void support_slow_init(support_slow_t* slow, const void* bytes, size_t size) {
  support_slow_t* none;
  size_t i;

  slow->mapped = (size_t) sysconf(_SC_PAGESIZE);
  ck_assert_uint_le(size, slow->mapped);
  slow->item = mmap(NULL, slow->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(slow->item, MAP_FAILED);
  memcpy(slow->item, bytes, size);
  ck_assert_int_eq(mprotect(slow->item, slow->mapped, PROT_NONE), 0);
  atomic_store(&slow->state, SLOW_UNREAD);
  slow_install();
  for (i = 0; i < sizeof(slow_items) / sizeof(slow_items[0]); i++) {
    none = NULL;
    if (atomic_compare_exchange_strong(&slow_items[i], &none, slow)) {
      return;
    }
  }
  ck_abort_msg("too many slow messages");
}

void support_slow_until_read(support_slow_t* slow) {
  support_until(atomic_load(&slow->state) == SLOW_BEING_READ);
}

void support_slow_let_go(support_slow_t* slow) {
  atomic_store(&slow->state, SLOW_LET_GO);
}

void support_slow_destroy(support_slow_t* slow) {
  size_t i;

  for (i = 0; i < sizeof(slow_items) / sizeof(slow_items[0]); i++) {
    support_slow_t* expected = slow;

    atomic_compare_exchange_strong(&slow_items[i], &expected, NULL);
  }
  ck_assert_int_eq(munmap(slow->item, slow->mapped), 0);
}

void support_result_fail(support_result_t* result, const char* where, long long code) {
  const char* none = NULL;

  sweep_note();
  if (atomic_compare_exchange_strong(&result->first, &none, where)) {
    atomic_store(&result->code, code);
  }
  atomic_fetch_add(&result->failed, 1);
}

void support_result_check(support_result_t* result) {
  const char* first = atomic_load(&result->first);

  ck_assert_msg(atomic_load(&result->failed) == 0, "%zu failures in a thread, the first: %s (value %lld)",
                atomic_load(&result->failed), first != NULL ? first : "?", atomic_load(&result->code));
}

int support_expect_eq_(support_result_t* result, long long value, long long wanted, const char* where) {
  if (value == wanted) {
    return 1;
  }
  support_result_fail(result, where, value);
  return 0;
}

/* Running. */

static double scale(void) {
  const char* text = getenv("UVCH_TEST_SCALE");
  double value = text != NULL ? strtod(text, NULL) : 1;

  return value > 0 ? value : 1;
}

size_t support_scale(size_t n) {
  double scaled = (double) n * scale();

  return scaled > 1 ? (size_t) scaled : 1;
}

/* Sweeps. Each test is a process of its own; which one it is comes from memory that all of them share. */

#define SWEEP_TESTS 65536

static struct sweep {
  size_t next;                   /* test */
  size_t allocates[SWEEP_TESTS]; /* by test, counted by a sweep with UVCH_TEST_FAIL=0 */
}* sweep;

static void sweep_read(const char* path) {
  FILE* file = fopen(path, "r");
  size_t test;
  size_t n;

  while (file != NULL && fscanf(file, "%zu %zu", &test, &n) == 2)
    if (test < SWEEP_TESTS)
      sweep->allocates[test] = n;
  if (file != NULL)
    fclose(file);
}

static void sweep_init(void) {
  const char* text = getenv("UVCH_TEST_FAIL");
  const char* path = getenv("UVCH_TEST_FAIL_COUNTS");

  if (text == NULL || path == NULL)
    return;
  sweep = mmap(NULL, sizeof(*sweep), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (sweep == MAP_FAILED) {
    perror("mmap");
    exit(EXIT_FAILURE);
  }
  sweep_fails = strtoul(text, NULL, 10);
  sweep_read(path);
}

/* A test that allocates less has nothing new to tell. */
static void sweep_set_up(void) {
  sweep_test = sweep->next < SWEEP_TESTS ? sweep->next++ : 0;
  if (sweep_fails > 0 && sweep_fails > sweep->allocates[sweep_test])
    _exit(EXIT_SUCCESS);
  atomic_store(&calls_of_test, 0);
  support_alloc_fail(sweep_fails);
}

static void sweep_tear_down(void) {
  int file = sweep_fails == 0 ? open(getenv("UVCH_TEST_FAIL_COUNTS"), O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;

  if (file < 0)
    return;
  dprintf(file, "%zu %zu\n", sweep_test, atomic_load(&calls_of_test));
  close(file);
}

static size_t blocks_before;
static int loops_before;

static void set_up(void) {
  support_alloc_fail(0);
  support_alloc_mark();
  blocks_before = support_alloc_blocks();
  loops_before = open_loops;
  if (sweep != NULL)
    sweep_set_up();
}

static void tear_down(void) {
  if (sweep != NULL)
    sweep_tear_down();
  ck_assert_msg(support_alloc_blocks() == blocks_before, "%zu blocks with %zu bytes in all were not freed",
                support_alloc_blocks() - blocks_before, support_alloc_bytes());
  ck_assert_msg(open_loops == loops_before, "a loop was not closed");
}

TCase* support_case(Suite* suite, const char* name) {
  TCase* tcase = tcase_create(name);
  double stretch = scale();

  tcase_set_timeout(tcase, 120 * (stretch > 1 ? stretch : 1));
  tcase_add_checked_fixture(tcase, set_up, tear_down);
  suite_add_tcase(suite, tcase);
  return tcase;
}

int support_main(Suite* suite) {
  SRunner* runner;
  int bad;

  if (uvch_replace_allocator(support_malloc, support_realloc, support_calloc, support_free) != 0) {
    fprintf(stderr, "uvch_replace_allocator failed\n");
    return EXIT_FAILURE;
  }
  sweep_init();
  if (getenv("UVCH_TEST_WAKE") != NULL)
    uvch__wake_chosen = &uvch__wake_async;
  setenv("UVCH_DEBUG", "quiet", 0); /* tests make mistakes to see their codes */
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  bad = srunner_ntests_failed(runner);
  srunner_free(runner);
  return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
