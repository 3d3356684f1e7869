/* SPDX-License-Identifier: MIT
 *
 * The model itself: small programs of which it is known what they may come to. What is allowed is seen, what is forbidden is not,
 * and a program that fails is found, and fails again with the choices that it printed. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "plain.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define ACQ_REL memory_order_acq_rel
#define SEQ_CST memory_order_seq_cst

enum { ALL_STALE = 3 * STEPS_STALE };

enum steps_bug steps_bug;

/* What a program works on. The results are digits. */
static atomic_int x;
static atomic_int y;
static int r[4];
static int data;
static struct plain whole;
static uv_mutex_t locks[2];
static _Atomic(struct plain*) shared;
static atomic_int refs;
static struct plain* block;

static void set_up(void) {
  x = y = refs = 0;
  memset(r, 0, sizeof r);
  data = 0;
  shared = NULL;
  steps_expect(uv_mutex_init(&locks[0]) == 0 && uv_mutex_init(&locks[1]) == 0);
}

static void store(atomic_int* at, int value, int order) {
  atomic_store_explicit(at, value, order);
}

static int load(atomic_int* at, int order) {
  return atomic_load_explicit(at, order);
}

/* Store buffering. */

static void sb_x_relaxed(void) {
  store(&x, 1, RELAXED);
  r[0] = load(&y, RELAXED);
}

static void sb_y_relaxed(void) {
  store(&y, 1, RELAXED);
  r[1] = load(&x, RELAXED);
}

static void sb_x(void) {
  store(&x, 1, RELEASE);
  r[0] = load(&y, ACQUIRE);
}

static void sb_y(void) {
  store(&y, 1, RELEASE);
  r[1] = load(&x, ACQUIRE);
}

static void sb_x_seq_cst(void) {
  store(&x, 1, SEQ_CST);
  r[0] = load(&y, SEQ_CST);
}

static void sb_y_seq_cst(void) {
  store(&y, 1, SEQ_CST);
  r[1] = load(&x, SEQ_CST);
}

static void sb_x_change(void) {
  atomic_exchange_explicit(&x, 1, SEQ_CST);
  r[0] = load(&y, SEQ_CST);
}

/* Message passing. */

static void mp_send_relaxed(void) {
  store(&x, 1, RELAXED);
  store(&y, 1, RELAXED);
}

static void mp_send(void) {
  store(&x, 1, RELAXED);
  store(&y, 1, RELEASE);
}

static void mp_receive(void) {
  r[0] = load(&y, ACQUIRE);
  r[1] = load(&x, RELAXED);
}

static void mp_receive_relaxed(void) {
  r[0] = load(&y, RELAXED);
  r[1] = load(&x, RELAXED);
}

/* Release sequences: the second one's change goes on with it, a store does not. */

static void adds_relaxed(void) {
  atomic_fetch_add_explicit(&y, 1, RELAXED);
}

static void stores_two(void) {
  store(&y, 2, RELAXED);
}

static void receives_two(void) {
  r[0] = load(&y, ACQUIRE);
  r[1] = load(&x, RELAXED);
}

/* A failing compare-exchange orders what its failure order says. */

static void compares(int failure) {
  int expected = 5;

  steps_expect(!atomic_compare_exchange_strong_explicit(&y, &expected, 6, RELAXED, failure));
  r[0] = expected;
  r[1] = load(&x, RELAXED);
}

static void compares_acquire(void) {
  compares(ACQUIRE);
}

static void compares_relaxed(void) {
  compares(RELAXED);
}

/* Load buffering, which the model does not have. */

static void lb_x(void) {
  r[0] = load(&x, RELAXED);
  store(&y, 1, RELAXED);
}

static void lb_y(void) {
  r[1] = load(&y, RELAXED);
  store(&x, 1, RELAXED);
}

/* Coherence. */

static void writes_twice(void) {
  store(&x, 1, RELAXED);
  store(&x, 2, RELAXED);
}

static void reads_twice(void) {
  r[0] = load(&x, RELAXED);
  r[1] = load(&x, RELAXED);
}

static void writes_and_reads(void) {
  store(&x, 1, RELAXED);
  r[0] = load(&x, RELAXED);
}

static void writes_two(void) {
  store(&x, 2, RELAXED);
}

/* Who is told of a load by another actor does not read what is older. */

static void reads_and_tells(void) {
  r[0] = load(&x, RELAXED);
  store(&y, 1, RELEASE);
}

static void is_told_and_reads(void) {
  r[1] = load(&y, ACQUIRE);
  r[2] = load(&x, RELAXED);
}

static void writes_one(void) {
  store(&x, 1, RELAXED);
}

/* Independent reads of independent writes. */

static void iriw_x(void) {
  store(&x, 1, RELEASE);
}

static void iriw_y(void) {
  store(&y, 1, RELEASE);
}

static void iriw_x_y(void) {
  r[0] = load(&x, ACQUIRE);
  r[1] = load(&y, ACQUIRE);
}

static void iriw_y_x(void) {
  r[2] = load(&y, ACQUIRE);
  r[3] = load(&x, ACQUIRE);
}

static void iriw_x_seq_cst(void) {
  store(&x, 1, SEQ_CST);
}

static void iriw_y_seq_cst(void) {
  store(&y, 1, SEQ_CST);
}

static void iriw_x_y_seq_cst(void) {
  r[0] = load(&x, SEQ_CST);
  r[1] = load(&y, SEQ_CST);
}

static void iriw_y_x_seq_cst(void) {
  r[2] = load(&y, SEQ_CST);
  r[3] = load(&x, SEQ_CST);
}

/* Changes see the newest. */

static void adds_first(void) {
  r[0] = atomic_fetch_add_explicit(&x, 1, RELAXED);
}

static void adds_second(void) {
  r[1] = atomic_fetch_add_explicit(&x, 1, RELAXED);
}

/* Weak compare-exchanges. */

static void weakly(void) {
  int expected = 0;

  while (!atomic_compare_exchange_weak_explicit(&x, &expected, 1, RELAXED, RELAXED)) {
    steps_expect(expected == 0);
    r[0]++;
  }
}

static void nothing(void) {}

/* Which results were seen. */

static unsigned char seen[256];

static void note_result(void) {
  int i;
  int result = 0;

  for (i = 0; i < 4; i++)
    result = result * 4 + r[i];
  seen[result] = 1;
}

/* `allowed`: all results that are seen, each of four digits. */
static const struct {
  struct steps_program program;
  int how;
  const char* allowed;
} known[] = {
    {{"SB, no stale loads", set_up, {sb_x_relaxed, sb_y_relaxed}, note_result, 0}, 0, "0100 1000 1100"},
    {{"SB, relaxed", set_up, {sb_x_relaxed, sb_y_relaxed}, note_result, 0}, ALL_STALE, "0000 0100 1000 1100"},
    {{"SB, release and acquire", set_up, {sb_x, sb_y}, note_result, 0}, ALL_STALE, "0000 0100 1000 1100"},
    {{"SB, one of them seq_cst", set_up, {sb_x_seq_cst, sb_y}, note_result, 0}, ALL_STALE, "0000 0100 1000 1100"},
    {{"SB, seq_cst", set_up, {sb_x_seq_cst, sb_y_seq_cst}, note_result, 0}, ALL_STALE, "0100 1000 1100"},
    {{"SB, seq_cst by a change", set_up, {sb_x_change, sb_y_seq_cst}, note_result, 0}, ALL_STALE, "0100 1000 1100"},
    {{"MP, relaxed", set_up, {mp_send_relaxed, mp_receive_relaxed}, note_result, 0}, ALL_STALE, "0000 0100 1000 1100"},
    {{"MP, no acquire", set_up, {mp_send, mp_receive_relaxed}, note_result, 0}, ALL_STALE, "0000 0100 1000 1100"},
    {{"MP, no release", set_up, {mp_send_relaxed, mp_receive}, note_result, 0}, ALL_STALE, "0000 0100 1000 1100"},
    {{"MP", set_up, {mp_send, mp_receive}, note_result, 0}, ALL_STALE, "0000 0100 1100"},
    {{"MP, acquired by a failure", set_up, {mp_send, compares_acquire}, note_result, 0}, ALL_STALE, "0000 0100 1100"},
    {{"MP, a relaxed failure", set_up, {mp_send, compares_relaxed}, note_result, 0}, ALL_STALE, "0000 0100 1000 1100"},
    {{"a release sequence", set_up, {mp_send, adds_relaxed, receives_two}, note_result, 0},
     ALL_STALE,
     "0000 0100 1000 1100 2100"},
    {{"a broken one", set_up, {mp_send, stores_two, receives_two}, note_result, 0}, ALL_STALE, "0000 0100 1100 2000 2100"},
    {{"LB, as far as there is", set_up, {lb_x, lb_y}, note_result, 0}, ALL_STALE, "0000 0100 1000"},
    {{"coherence of loads", set_up, {writes_twice, reads_twice}, note_result, 0}, ALL_STALE, "0000 0100 0200 1100 1200 2200"},
    {{"coherence with a store", set_up, {writes_and_reads, writes_two}, note_result, 0}, ALL_STALE, "1000 2000"},
    {{"coherence by hearsay", set_up, {writes_one, reads_and_tells, is_told_and_reads}, note_result, 0},
     ALL_STALE,
     "0000 0010 0100 0110 1000 1010 1110"},
    {{"IRIW", set_up, {iriw_x, iriw_y, iriw_x_y, iriw_y_x}, note_result, 0},
     ALL_STALE | STEPS_REDUCED | STEPS_SHORT,
     "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1010 1011 1100 1101 1110 1111"},
    {{"IRIW, seq_cst", set_up, {iriw_x_seq_cst, iriw_y_seq_cst, iriw_x_y_seq_cst, iriw_y_x_seq_cst}, note_result, 0},
     ALL_STALE | STEPS_REDUCED | STEPS_SHORT,
     "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1011 1100 1101 1110 1111"},
    {{"changes see the newest", set_up, {adds_first, adds_second}, note_result, 0}, ALL_STALE, "0100 1000"},
    {{"a weak compare-exchange", set_up, {weakly, nothing}, note_result, 0}, STEPS_WEAK, "0000 1000"},
    {{"one that does not fail", set_up, {weakly, nothing}, note_result, 0}, STEPS_WEAK << 1, "0000"},
};

static int is_allowed(int result, const char* allowed) {
  char digits[5];

  snprintf(digits, sizeof digits, "%d%d%d%d", result / 64, result / 16 % 4, result / 4 % 4, result % 4);
  return strstr(allowed, digits) != NULL;
}

START_TEST(what_is_allowed_is_seen_and_nothing_else) {
  struct steps_report report = {.sequences = 0};
  int i;

  memset(seen, 0, sizeof seen);
  steps_run(&known[_i].program, known[_i].how, &report);
  for (i = 0; i < (int) sizeof seen; i++)
    ck_assert_msg(seen[i] == is_allowed(i, known[_i].allowed), "%s: %d%d%d%d is %s", known[_i].program.name, i / 64, i / 16 % 4,
                  i / 4 % 4, i % 4, seen[i] ? "seen" : "not seen");
  printf("%6llu  %s: %s\n", (unsigned long long) report.sequences, known[_i].program.name, known[_i].allowed);
}
END_TEST

/* Programs that fail, or do not. */

static void check_nothing(void) {}

static void puts_data(int order) {
  plain_store(&data, 1);
  store(&x, 1, order);
}

static void puts_and_releases(void) {
  puts_data(RELEASE);
}

static void puts_relaxed(void) {
  puts_data(RELAXED);
}

static void gets_data(int order) {
  if (load(&x, order) != 0)
    r[0] = plain_load(&data);
}

static void gets_after_acquire(void) {
  gets_data(ACQUIRE);
}

static void gets_after_relaxed(void) {
  gets_data(RELAXED);
}

static void puts_locked(void) {
  uv_mutex_lock(&locks[0]);
  plain_store(&data, plain_load(&data) + 1);
  uv_mutex_unlock(&locks[0]);
}

static void puts_locked_otherwise(void) {
  uv_mutex_lock(&locks[1]);
  plain_store(&data, plain_load(&data) + 1);
  uv_mutex_unlock(&locks[1]);
}

static void check_sum(void) {
  steps_expect(data == 2);
}

static void reads(void) {
  steps_at(&y, STEPS_READ, __func__);
  r[steps_self()] = plain_load(&data);
}

static void stores_b(void) {
  plain_store_byte(&whole.b, 1);
  steps_at(&y, STEPS_READ, __func__);
}

static void stores_c(void) {
  plain_store_byte(&whole.c, 1);
  steps_at(&y, STEPS_READ, __func__);
}

static void copies(void) {
  struct plain copy;

  plain_copy(&copy, &whole);
  steps_at(&y, STEPS_READ, __func__);
}

static void assigns(void) {
  struct plain copy;

  plain_assign(&copy, &whole);
  steps_at(&y, STEPS_READ, __func__);
}

static void clears(void) {
  steps_at(&y, STEPS_READ, __func__);
  plain_clear(&whole);
}

/* A block that two have. */

static void make_block(void) {
  set_up();
  refs = 2;
  block = steps_calloc(sizeof *block);
}

static void lets_go(int order) {
  plain_load(&block->a);
  if (atomic_fetch_sub_explicit(&refs, 1, order) == 1)
    steps_free(block);
}

static void lets_go_acq_rel(void) {
  lets_go(ACQ_REL);
}

static void lets_go_release(void) {
  lets_go(RELEASE);
}

static void lets_go_acquire(void) {
  lets_go(ACQUIRE);
}

static void frees(void) {
  steps_at(block, STEPS_FREE, __func__);
  steps_free(block);
}

static void touches_later(void) {
  steps_at(&y, STEPS_READ, __func__);
  plain_load(&block->a);
}

/* One that another gets to know. */

static void makes(int order) {
  struct plain* p = steps_calloc(sizeof *p);

  atomic_store_explicit(&shared, p, order);
}

static void makes_and_releases(void) {
  makes(RELEASE);
}

static void makes_relaxed(void) {
  makes(RELAXED);
}

static void finds(void) {
  struct plain* p = atomic_load_explicit(&shared, ACQUIRE);

  if (p != NULL)
    r[0] = plain_load(&p->a);
}

/* An atomic that is made while another actor has it. */

static void makes_x(void) {
  steps_at(&y, STEPS_READ, __func__);
  atomic_init(&x, 0);
}

static void loads_x(void) {
  load(&x, ACQUIRE);
}

/* A frame that another thread stores to. */

static int* frame;

static int is_set(void* at) {
  return *(atomic_int*) at != 0;
}

static void waits_for_frame(int order) {
  int local = 0;

  frame = &local;
  store(&y, 1, RELEASE);
  if (load(&x, order) != 0)
    r[0] = plain_load(&local);
  else
    steps_wait(&x, STEPS_READ, __func__, is_set, &x);
}

static void waits_acquire(void) {
  waits_for_frame(ACQUIRE);
}

static void waits_relaxed(void) {
  waits_for_frame(RELAXED);
}

static void stores_to_frame(void) {
  if (load(&y, ACQUIRE) != 0)
    plain_store(frame, 1);
  store(&x, 1, RELEASE);
}

/* Locks the wrong way round. */

static void locks_up(void) {
  uv_mutex_lock(&locks[0]);
  uv_mutex_lock(&locks[1]);
  uv_mutex_unlock(&locks[1]);
  uv_mutex_unlock(&locks[0]);
}

static void locks_down(void) {
  uv_mutex_lock(&locks[1]);
  uv_mutex_lock(&locks[0]);
  uv_mutex_unlock(&locks[0]);
  uv_mutex_unlock(&locks[1]);
}

/* A result that needs an older value, and one that needs a weak failure: choices that are none between actors. */

static void check_sb(void) {
  steps_expect(r[0] != 0 || r[1] != 0);
}

static void check_strong(void) {
  steps_expect(r[0] == 0);
}

/* How much the compiler tells of. clang up to 14 makes an assignment of a struct a call of memcpy(), which is not told of. */
static int told_races(void) {
#if defined(__clang__) && __clang_major__ < 15
  return races_are_told;
#else
  return races_are_told ? 2 : 0;
#endif
}

/* `failure`: part of what it says; NULL: it does not fail. */
static const struct {
  struct steps_program program;
  int how;
  int needs_races; /* which told_races() has to reach */
  const char* failure;
} judged[] = {
    {{"data after a flag", set_up, {puts_and_releases, gets_after_acquire}, check_nothing, 0}, ALL_STALE, 1, NULL},
    {{"a flag with no release", set_up, {puts_relaxed, gets_after_acquire}, check_nothing, 0}, 0, 1, "a race"},
    {{"a flag with no acquire", set_up, {puts_and_releases, gets_after_relaxed}, check_nothing, 0}, 0, 1, "a race"},
    {{"a lock", set_up, {puts_locked, puts_locked}, check_sum, 0}, 0, 1, NULL},
    {{"two locks", set_up, {puts_locked, puts_locked_otherwise}, check_sum, 0}, 0, 1, "a race"},
    {{"loads only", set_up, {reads, reads}, check_nothing, 0}, 0, 1, NULL},
    {{"a load and a store", set_up, {reads, puts_relaxed}, check_nothing, 0}, 0, 1, "in plain_store"},
    {{"two bytes of a word", set_up, {stores_b, stores_c}, check_nothing, 0}, 0, 1, NULL},
    {{"one byte", set_up, {stores_b, stores_b}, check_nothing, 0}, 0, 1, "in plain_store_byte"},
    {{"a copy", set_up, {copies, clears}, check_nothing, 0}, 0, 1, "in plain_copy"},
    {{"an assignment", set_up, {assigns, clears}, check_nothing, 0}, 0, 2, "in plain_assign"},
    {{"unref", make_block, {lets_go_acq_rel, lets_go_acq_rel}, check_nothing, 0}, 0, 1, NULL},
    {{"unref with no acquire", make_block, {lets_go_release, lets_go_release}, check_nothing, 0}, 0, 1, "the free in"},
    {{"unref with no release", make_block, {lets_go_acquire, lets_go_acquire}, check_nothing, 0}, 0, 1, "the free in"},
    {{"a block that is free", make_block, {frees, touches_later}, check_nothing, 0}, 0, 0, "free"},
    {{"a new block", set_up, {makes_and_releases, finds}, check_nothing, 0}, ALL_STALE, 1, NULL},
    {{"a new block that is not published", set_up, {makes_relaxed, finds}, check_nothing, 0}, 0, 1, "the allocation"},
    {{"an atomic that is made too late", set_up, {makes_x, loads_x}, check_nothing, 0}, 0, 0, "the atomic operation"},
    {{"a frame", set_up, {waits_acquire, stores_to_frame}, check_nothing, 0}, ALL_STALE, 1, NULL},
    {{"a frame that is not acquired", set_up, {waits_relaxed, stores_to_frame}, check_nothing, 0}, 0, 1, "a race"},
    {{"two locks up", set_up, {locks_up, locks_up}, check_nothing, 0}, 0, 0, NULL},
    {{"two locks up and down", set_up, {locks_up, locks_down}, check_nothing, 0}, 0, 0, "everybody waits for ever"},
    {{"two locks, no preemption", set_up, {locks_up, locks_down}, check_nothing, 0}, STEPS_AT_MOST(0), 0, NULL},
    {{"two locks, one preemption", set_up, {locks_up, locks_down}, check_nothing, 0}, STEPS_AT_MOST(1), 0, "everybody waits"},
    {{"a stale load", set_up, {sb_x, sb_y}, check_sb, 0}, STEPS_STALE, 0, "r[0] != 0"},
    {{"a weak failure", set_up, {weakly, nothing}, check_strong, 0}, STEPS_WEAK, 0, "r[0] == 0"},
};

static struct steps_report* told;

/* What it prints goes to `output`. `choices`: NULL: all of them. The exit status. */
static int run_in_child(const struct steps_program* program, int how, const char* choices, FILE* output) {
  pid_t child;
  int status = 0;

  memset(told, 0, sizeof *told);
  fflush(stdout);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    dup2(fileno(output), STDERR_FILENO);
    if (choices == NULL)
      steps_run(program, how, told);
    else
      steps_replay(program, how, choices);
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

/* The last line with `text` in it, from there on. */
static void find_line(FILE* file, const char* text, char* line, int size) {
  char next[1024];

  rewind(file);
  line[0] = 0;
  while (fgets(next, sizeof next, file) != NULL) {
    const char* found = strstr(next, text);
    if (found != NULL)
      snprintf(line, (size_t) size, "%s", found);
  }
}

START_TEST(what_fails_is_found_and_fails_again) {
  const struct steps_program* program = &judged[_i].program;
  FILE* output = tmpfile();
  FILE* again = tmpfile();
  char choices[1024];
  char head[128];
  char first[1024];
  char second[1024];
  int how = judged[_i].how;

  ck_assert_ptr_nonnull(output);
  ck_assert_ptr_nonnull(again);
  if (judged[_i].failure == NULL || judged[_i].needs_races > told_races()) {
    ck_assert_msg(run_in_child(program, how, NULL, output) == 0, "%s: %s", program->name, told->failure);
    ck_assert_uint_gt(told->sequences, 0);
  } else {
    ck_assert_msg(run_in_child(program, how, NULL, output) == 1, "%s: not found", program->name);
    ck_assert_msg(strstr(told->failure, judged[_i].failure) != NULL, "%s: %s", program->name, told->failure);
    snprintf(head, sizeof head, "UVCH_STEPS='%s:%d:", program->name, how);
    find_line(output, head, choices, sizeof choices);
    ck_assert_msg(choices[0] != 0, "%s: no choices", program->name);
    choices[strcspn(choices + strlen(head), "'") + strlen(head)] = 0;
    ck_assert_int_eq(run_in_child(program, how, choices + strlen(head), again), 1);
    find_line(output, program->name, first, sizeof first);
    find_line(again, program->name, second, sizeof second);
    ck_assert_str_eq(first, second);
  }
  fclose(output);
  fclose(again);
}
END_TEST

/* Preemptions: of two actors that take three steps each, the sequences of n + 2 runs have n. */

static void takes_three(void) {
  int i;

  for (i = 0; i < 3; i++)
    store(&x, 1, RELAXED);
}

START_TEST(a_bound_of_preemptions_leaves_out_the_rest) {
  static const struct steps_program program = {"three and three", set_up, {takes_three, takes_three}, check_nothing, 0};
  static const uint64_t sequences[] = {2, 6, 14, 18, 20, 20};
  struct steps_report report = {.sequences = 0};

  steps_run(&program, STEPS_AT_MOST(_i), &report);
  ck_assert_uint_eq(report.sequences, sequences[_i]);
  ck_assert_int_eq(report.preemptions, _i);
  report.sequences = 0;
  steps_run(&program, 0, &report);
  ck_assert_uint_eq(report.sequences, 20);
  ck_assert_int_lt(report.preemptions, 0);
}
END_TEST

/* The reduction loses no result where loads may be stale: of three actors that do a few things by chance. */

#define MADE_UP 48
#define RESULTS_MAX 65536

static uint64_t made_up;
static uint64_t result;
static uint64_t results[2][RESULTS_MAX];
static size_t results_count[2];
static int results_of;
static uint64_t loaded[3];

static uint64_t chance(uint64_t n) {
  uint64_t z = (made_up * 64 + n + 1) * UINT64_C(0x9e3779b97f4a7c15);

  z = (z ^ z >> 32) * UINT64_C(0xd6e8feb86659fd93);
  return z ^ z >> 32;
}

static void does_a_few_things(void) {
  static const int stores[] = {RELAXED, RELEASE, SEQ_CST};
  static const int loads[] = {RELAXED, ACQUIRE, SEQ_CST};
  int self = steps_self();
  int i;

  for (i = 0; i < 3; i++) {
    uint64_t what = chance((uint64_t) (self * 3 + i));
    atomic_int* at = what % 2 != 0 ? &x : &y;
    int value = self * 3 + i + 1;
    int order = (int) (what >> 8) % 3;
    int was = 0;
    if (what >> 4 & 1)
      was = load(at, loads[order]);
    else if (what >> 5 & 1)
      store(at, value, stores[order]);
    else
      was = atomic_exchange_explicit(at, value, stores[order]);
    loaded[self] = loaded[self] * 16 + (uint64_t) was;
  }
}

static void set_up_made_up(void) {
  set_up();
  memset(loaded, 0, sizeof loaded);
}

static void note_made_up(void) {
  uint64_t* of = results[results_of];
  size_t i;

  result = loaded[0] << 40 | loaded[1] << 28 | loaded[2] << 16 | (uint64_t) (x * 16 + y);
  for (i = 0; i < results_count[results_of] && of[i] != result; i++) {}
  if (i < results_count[results_of])
    return;
  steps_expect(i < RESULTS_MAX);
  of[i] = result;
  results_count[results_of]++;
}

static int compare(const void* a, const void* b) {
  uint64_t first = *(const uint64_t*) a;
  uint64_t second = *(const uint64_t*) b;

  return (first > second) - (first < second);
}

static void collect(int of, int how) {
  static const struct steps_program program = {
      "made up", set_up_made_up, {does_a_few_things, does_a_few_things, does_a_few_things}, note_made_up, 0};
  struct steps_report report = {.sequences = 0};

  results_of = of;
  results_count[of] = 0;
  steps_run(&program, how, &report);
  qsort(results[of], results_count[of], sizeof results[of][0], compare);
}

START_TEST(the_reduction_loses_no_result) {
  int stale = (1 + _i / 2 % 2) * STEPS_STALE;

  made_up = (uint64_t) _i;
  collect(0, stale);
  collect(1, stale | STEPS_REDUCED | (_i % 2 != 0 ? STEPS_SHORT : 0));
  ck_assert_uint_eq(results_count[0], results_count[1]);
  ck_assert_mem_eq(results[0], results[1], results_count[0] * sizeof results[0][0]);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("steps");
  TCase* tcase = tcase_create("the model");
  SRunner* runner = srunner_create(suite);
  int bad;

  told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (told == MAP_FAILED)
    return EXIT_FAILURE;
  puts(races_are_told ? "Races on plain memory are found" : "Races on plain memory are not found: this compiler does not tell");
  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, what_is_allowed_is_seen_and_nothing_else, 0, (int) COUNT(known));
  tcase_add_loop_test(tcase, what_fails_is_found_and_fails_again, 0, (int) COUNT(judged));
  tcase_add_loop_test(tcase, a_bound_of_preemptions_leaves_out_the_rest, 0, 6);
  tcase_add_loop_test(tcase, the_reduction_loses_no_result, 0, MADE_UP);
  suite_add_tcase(suite, tcase);
  srunner_run_all(runner, CK_ENV);
  bad = srunner_ntests_failed(runner);
  srunner_free(runner);
  return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
