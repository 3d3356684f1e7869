/* SPDX-License-Identifier: MIT */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct steps_suite* suite;
static struct steps_report* report; /* shared with the processes that run the programs */
static const char* only;            /* program */

int steps_is_alone(void) {
  return only != NULL;
}

double steps_scale(void) {
  const char* scale = getenv("UVCH_TEST_SCALE");

  return scale != NULL ? atof(scale) : 1;
}

static int is_asked_for(const struct steps_program* program) {
  return only == NULL || strcmp(only, program->name) == 0;
}

static const struct steps_program* program_named(const char* name) {
  size_t i;

  for (i = 0; i < suite->program_count; i++)
    if (strcmp(suite->programs[i].name, name) == 0)
      return &suite->programs[i];
  return NULL;
}

static void run(const struct steps_program* program, enum steps_bug bug, int how) {
  suite->prepare(program, how);
  steps_bug = bug;
  if (bug != STEPS_NO_BUG)
    steps_be_quiet();
  steps_run(program, how, report);
}

/* 0: all was right. 1: the program has failed. */
static int run_in_child(const struct steps_program* program, enum steps_bug bug, int how) {
  pid_t child;
  int status = 0;

  fflush(stdout);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    run(program, bug, how);
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

/* How many sequences. */
static unsigned long long run_rightly(const struct steps_program* program, int how) {
  uint64_t before = report->sequences;

  ck_assert_msg(run_in_child(program, STEPS_NO_BUG, how) == 0, "%s: %s", program->name, report->failure);
  return report->sequences - before;
}

/* With a scale below 1 only so many of the tests. */
static int is_due(int i) {
  double scale = steps_scale();

  return scale >= 1 || scale <= 0 || i % (int) (1 / scale) == 0;
}

START_TEST(every_sequence_comes_out_right) {
  const struct steps_program* program = &suite->programs[_i];
  int ways = suite->ways(program, STEPS_NO_BUG);
  int i;

  if (ways == 0 || !is_asked_for(program) || !is_due(_i))
    return;
  memset(report, 0, sizeof *report);
  printf("%s:", program->name);
  for (i = 0; i < ways; i++) {
    int how = suite->how(program, STEPS_NO_BUG, i);
    if (how >= 0)
      printf(" %llu", run_rightly(program, how));
  }
  printf("\n");
  ck_assert_uint_gt(report->sequences, 0);
}
END_TEST

/* A crash finds nothing. */
static int is_found(const struct steps_program* program, enum steps_bug bug, int ways) {
  int i;

  memset(report, 0, sizeof *report);
  for (i = 0; i < ways; i++) {
    int how = suite->how(program, bug, i);
    if (how >= 0 && run_in_child(program, bug, how) == 1)
      return 1;
  }
  return 0;
}

static void print_found(const char* name) {
  printf("found");
  if (report->preemptions >= 0)
    printf(" with %d preemptions", report->preemptions);
  printf(", %5llu sequences were right: %s\n", (unsigned long long) report->sequences, name);
}

START_TEST(every_bug_is_found) {
  const struct steps_wrong* wrong = &suite->bugs[_i];
  const struct steps_program* program = program_named(wrong->program);
  int ways;

  ck_assert_ptr_nonnull(program);
  ways = suite->ways(program, wrong->bug);
  if (ways == 0 || !is_asked_for(program) || !is_due(_i))
    return;
  ck_assert_msg(is_found(program, wrong->bug, ways), "%s: not found by '%s'", wrong->name, wrong->program);
  print_found(wrong->name);
}
END_TEST

static int replay(char* what) {
  char* how = strchr(what, ':');
  char* choices = strchr(how + 1, ':');
  const struct steps_program* program;

  *how = 0;
  program = program_named(what);
  if (choices == NULL || program == NULL)
    return EXIT_FAILURE;
  suite->prepare(program, atoi(how + 1));
  steps_replay(program, atoi(how + 1), choices + 1);
  return EXIT_SUCCESS;
}

/* With a scale of 10 or more nobody can say how long it takes. */
static TCase* make_tests(void) {
  TCase* tcase = tcase_create("every interleaving");

  tcase_set_timeout(tcase, steps_scale() >= 10 ? 0 : 3600);
  if (suite->more != NULL && only == NULL)
    suite->more(tcase);
  tcase_add_loop_test(tcase, every_sequence_comes_out_right, 0, (int) suite->program_count);
  tcase_add_loop_test(tcase, every_bug_is_found, 0, (int) suite->bug_count);
  return tcase;
}

static int run_tests(void) {
  Suite* tests = suite_create(suite->name);
  SRunner* runner = srunner_create(tests);
  int bad;

  suite_add_tcase(tests, make_tests());
  puts(suite->legend);
  srunner_run_all(runner, CK_ENV);
  bad = srunner_ntests_failed(runner);
  srunner_free(runner);
  return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int steps_main(const struct steps_suite* which) {
  char* asked = getenv("UVCH_STEPS");

  suite = which;
  if (asked != NULL && strchr(asked, ':') != NULL)
    return replay(asked);
  if (asked != NULL && program_named(asked) == NULL)
    return EXIT_FAILURE;
  only = asked;
  report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return report != MAP_FAILED ? run_tests() : EXIT_FAILURE;
}
