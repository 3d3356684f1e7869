/* SPDX-License-Identifier: MIT
 *
 * For tools/coverage, which puts it in front of every source: a child of fork() that leaves by _exit() writes down first which
 * lines it came to. */
#ifndef UVCH_TEST_COVERAGE_H
#define UVCH_TEST_COVERAGE_H

void __gcov_dump(void);
_Noreturn void _Exit(int status);

__attribute__((unused)) static void dump_and_exit(int status) {
  __gcov_dump();
  _Exit(status);
}

#define _exit dump_and_exit

#endif
