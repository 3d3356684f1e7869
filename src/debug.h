/* SPDX-License-Identifier: MIT
 *
 * Checks of a build with --enable-debug-checks: the library's own invariants, and calls on the wrong thread. They say what is wrong and
 * abort. In any other build they are nothing. */
#ifndef UVCH_SRC_DEBUG_H
#define UVCH_SRC_DEBUG_H

#ifdef UVCH_DEBUG_CHECKS
#include <stdio.h>
#include <stdlib.h>

#include "port.h"
#include "thread.h"

#define UVCH__CHECK(condition)                                                              \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      fprintf(stderr, "uvch: %s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);   \
      abort();                                                                              \
    }                                                                                       \
  } while (0)

/* `port` may be NULL: no loop, so any thread. */
static inline void uvch__check_thread(struct uvch__port* port, const char* function) {
  unsigned long runs = port != NULL ? atomic_load_explicit(&port->thread, memory_order_relaxed) : 0; /* relaxed: see uvch__port_runs_here */

  if (runs == 0 || runs == uvch__thread_self())
    return;
  fprintf(stderr, "uvch: %s was called on thread %lu, but thread %lu runs the loop\n", function, uvch__thread_self(), runs);
  abort();
}
#define UVCH__CHECK_THREAD(port, function) uvch__check_thread(port, function)
#else
#define UVCH__CHECK(condition) ((void) 0)
#define UVCH__CHECK_THREAD(port, function) ((void) 0)
#endif

#endif
