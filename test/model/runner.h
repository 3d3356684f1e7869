/* SPDX-License-Identifier: MIT
 *
 * Runs the programs of one test, see steps.h: each in every way it has, each time in a process of its own; then with each bug
 * that is put into the sources, until one of the ways finds it. Prints how many sequences there were.
 *
 * A failure prints the choices that led to it, as 'program:how:choices'. UVCH_STEPS set to that runs them again and prints every
 * step, set to the name of a program it runs that one, and with the bugs that it finds. */
#ifndef UVCH_TEST_MODEL_RUNNER_H
#define UVCH_TEST_MODEL_RUNNER_H

#include <check.h>

#include "steps.h"

/* A bug, and the program that finds it. */
struct steps_wrong {
  enum steps_bug bug;
  const char* name;
  const char* program;
};

/* Without a bug that is STEPS_NO_BUG. */
struct steps_suite {
  const char* name;
  const char* legend; /* what the numbers of sequences are, one of each way */
  const struct steps_program* programs;
  size_t program_count;
  const struct steps_wrong* bugs;
  size_t bug_count;

  /* How many ways there are to run it. 0: it is left out. */
  int (*ways)(const struct steps_program* program, enum steps_bug bug);

  /* The bits of a way, see steps_run(). Below 0: it is left out. */
  int (*how)(const struct steps_program* program, enum steps_bug bug, int way);

  /* Before the program is run, in the process that runs it. */
  void (*prepare)(const struct steps_program* program, int how);

  void (*more)(TCase* tcase); /* adds further tests; or NULL */
};

/* steps_main: what main() returns. */
int steps_main(const struct steps_suite* suite);

/* steps_is_alone: whether UVCH_STEPS asks for one program. */
int steps_is_alone(void);

/* steps_scale: UVCH_TEST_SCALE, or 1. */
double steps_scale(void);

#endif
