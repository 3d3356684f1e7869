/* SPDX-License-Identifier: MIT
 *
 * Checks of a build with --enable-debug-checks: the library's own invariants. One that does not hold is named, and the program
 * aborts. In any other build they are nothing. */
#ifndef UVCH_SRC_DEBUG_H
#define UVCH_SRC_DEBUG_H

#ifdef UVCH_DEBUG_CHECKS
#include <stdio.h>
#include <stdlib.h>

#define UVCH__CHECK(condition)                                                            \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      fprintf(stderr, "uvch: %s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      abort();                                                                            \
    }                                                                                     \
  } while (0)
#else
#define UVCH__CHECK(condition) ((void) 0)
#endif

#endif
