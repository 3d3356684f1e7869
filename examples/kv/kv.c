/* SPDX-License-Identifier: MIT
 *
 * What every part shares: messages, and a few things that C has not. */
#include "kv.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Messages
 */

enum { LINE_LIMIT = 8192 }; /* a path and the reason fit */

static const char before[] = "kv: ";

static atomic_int lowest = LEVEL_NOTICE;

void say_from(enum level level) {
  atomic_store_explicit(&lowest, (int) level, memory_order_relaxed); /* nothing else depends on it */
}

/* One line stays one, and a terminal does not get to see what could command it. */
static void blank_controls(char* text, size_t len) {
  size_t i;

  for (i = 0; i < len; i++)
    if ((unsigned char) text[i] < ' ' || text[i] == 127)
      text[i] = ' ';
}

/* A line is one write, so lines of several threads do not mix. */
void say(enum level level, const char* format, ...) {
  const size_t first = sizeof(before) - 1;
  char line[LINE_LIMIT];
  va_list args;
  size_t len;

  if ((int) level < atomic_load_explicit(&lowest, memory_order_relaxed))
    return;
  memcpy(line, before, sizeof(before));
  va_start(args, format);
  vsnprintf(line + first, sizeof(line) - first - 1, format, args);
  va_end(args);
  len = strlen(line);
  blank_controls(line, len);
  line[len++] = '\n';
  fwrite(line, 1, len, stderr);
}

void must(int r, const char* what) {
  if (r == 0)
    return;
  say(LEVEL_WARNING, "%s: %s", what, uv_strerror(r));
  exit(CODE_FAILED);
}

/*
 * Slices
 */

static int small(char c) {
  return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

int slice_is(struct slice slice, const char* text) {
  size_t i;

  for (i = 0; i < slice.len && text[i] != '\0'; i++)
    if (small(slice.data[i]) != small(text[i]))
      return 0;
  return i == slice.len && text[i] == '\0';
}

int slice_width(struct slice slice) {
  return slice.len < INT_MAX ? (int) slice.len : INT_MAX;
}

int slice_integer(struct slice slice, long long* value) {
  const size_t negative = slice.len > 0 && slice.data[0] == '-';
  const size_t digits = slice.len - negative;
  unsigned long long n = 0;
  size_t i;

  if (digits == 0 || digits > 19) /* 19 nines are fewer than 2^64, so the sum below is right */
    return -1;
  if (slice.data[negative] == '0' && slice.len > 1)
    return -1;
  for (i = negative; i < slice.len; i++) {
    unsigned int digit = (unsigned int) (unsigned char) slice.data[i] - '0';
    if (digit > 9)
      return -1;
    n = n * 10 + digit;
  }
  if (n > (unsigned long long) INT64_MAX + negative)
    return -1;
  *value = negative ? -(long long) (n - 1) - 1 : (long long) n;
  return 0;
}

/*
 * Time
 */

int64_t wall_clock(void) {
  uv_timeval64_t now;

  must(uv_gettimeofday(&now), "clock");
  return now.tv_sec * 1000 + now.tv_usec / 1000;
}
