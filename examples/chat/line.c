/* SPDX-License-Identifier: MIT
 *
 * Lines, and what may stand in them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "chat.h"

struct line* line_new(const char* format, ...) {
  struct line* line = NULL;
  va_list args;
  int len;

  va_start(args, format);
  len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (len > 0)
    line = malloc(sizeof(*line) + (size_t) len + 1);
  if (line == NULL)
    return NULL;
  atomic_init(&line->refs, 1);
  line->len = (size_t) len;
  va_start(args, format);
  vsnprintf(line->text, line->len + 1, format, args);
  va_end(args);
  return line;
}

int line_copy(void* to, const void* from, void* arg) {
  struct line* line = *(struct line* const*) from;

  (void) arg;
  atomic_fetch_add(&line->refs, 1);
  *(struct line**) to = line;
  return 0;
}

void line_drop(void* item, void* arg) {
  struct line* line = *(struct line**) item;

  (void) arg;
  if (atomic_fetch_sub(&line->refs, 1) == 1)
    free(line);
}

/* How many bytes the character at `s` has; 0: it is none. No overlong forms, no surrogates, nothing above U+10FFFF. */
static size_t utf8_length(const unsigned char* s, size_t len) {
  size_t n = 0;
  size_t i;

  if (s[0] < 0x80)
    n = 1;
  else if (s[0] >= 0xC2 && s[0] <= 0xDF)
    n = 2;
  else if (s[0] >= 0xE0 && s[0] <= 0xEF)
    n = 3;
  else if (s[0] >= 0xF0 && s[0] <= 0xF4)
    n = 4;
  if (n > len)
    return 0;
  for (i = 1; i < n; i++)
    if ((s[i] & 0xC0) != 0x80)
      return 0;
  if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F))
    return 0;
  if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
    return 0;
  return n;
}

/* Those that command a terminal, U+0080 to U+009F among them. */
static int is_control(const unsigned char* s) {
  return (s[0] < 0x20 && s[0] != '\t') || s[0] == 0x7F || (s[0] == 0xC2 && s[1] < 0xA0);
}

const char* text_problem(const char* text, size_t len) {
  const unsigned char* s = (const unsigned char*) text;
  size_t pos;
  size_t n;

  if (len > LINE_LIMIT)
    return "it is too long";
  for (pos = 0; pos < len; pos += n) {
    n = utf8_length(s + pos, len - pos);
    if (n == 0)
      return "it is not UTF-8";
    if (is_control(s + pos))
      return "it has control characters";
  }
  return NULL;
}

int name_ok(const char* name, size_t len) {
  size_t i;

  for (i = 0; i < len; i++) {
    char c = name[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
      return 0;
  }
  return len > 0 && len <= NAME_LIMIT;
}
