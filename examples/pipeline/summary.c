/* SPDX-License-Identifier: MIT
 *
 * The table at the end. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pipeline.h"

static void count(const char* name, uint64_t n) {
  printf("%-20s %12llu\n", name, (unsigned long long) n);
}

/* A part of the number above it. */
static void part(const char* name, uint64_t n) {
  if (n > 0)
    printf("  %-18s %12llu\n", name, (unsigned long long) n);
}

int summary_print(const struct tally* stored, uint64_t lines, uint64_t nanoseconds) {
  double seconds = (double) nanoseconds / 1e9;
  uv_rusage_t usage;
  int i;

  count("lines", lines);
  count("rows", stored->rows);
  for (i = 0; i < ACTION_COUNT; i++)
    part(action_name((enum action) i), stored->by_action[i]);
  count("malformed", stored->malformed);
  for (i = 0; i < REASON_COUNT; i++)
    part(reason_name((enum reason) i), stored->by_reason[i]);
  printf("%-20s %12.3f s\n", "time", seconds);
  printf("%-20s %12.0f\n", "rows/s", seconds > 0 ? (double) stored->rows / seconds : 0.0);
  if (uv_getrusage(&usage) == 0)
    printf("%-20s %12llu kB\n", "peak memory", (unsigned long long) usage.ru_maxrss);
  if (fflush(stdout) == 0 && !ferror(stdout))
    return 0;
  say("cannot write to standard output: %s", strerror(errno));
  return -1;
}
