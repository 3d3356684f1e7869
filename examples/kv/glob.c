/* SPDX-License-Identifier: MIT
 *
 * Patterns as Redis has them, with what is odd about them: * is not like the empty text, ranges are of signed characters and may
 * be upside down, [ without ] goes to the end of the pattern, and the ] in [a-] is the end of a range. */
#include "kv.h"

static int is_between(signed char c, signed char a, signed char b) {
  return a <= b ? a <= c && c <= b : b <= c && c <= a;
}

/* `pos` is behind the [, and is left behind the ]. */
static int set_has(struct slice pattern, size_t* pos, char c) {
  const char* p = pattern.data;
  size_t i = *pos;
  int negated = i < pattern.len && p[i] == '^';
  int found = 0;

  for (i += negated ? 1 : 0; i < pattern.len && p[i] != ']'; i++) {
    if (p[i] == '\\' && pattern.len - i >= 2) {
      found |= p[++i] == c;
    } else if (pattern.len - i >= 3 && p[i + 1] == '-') {
      found |= is_between((signed char) c, (signed char) p[i], (signed char) p[i + 2]);
      i += 2;
    } else {
      found |= p[i] == c;
    }
  }
  *pos = i < pattern.len ? i + 1 : i;
  return found != negated;
}

/* Whether `c` is what stands at `pos`, which is no *, and moves behind it. */
static int one_fits(struct slice pattern, size_t* pos, char c) {
  char p = pattern.data[(*pos)++];

  if (p == '?')
    return 1;
  if (p == '[')
    return set_has(pattern, pos, c);
  if (p == '\\' && *pos < pattern.len)
    p = pattern.data[(*pos)++];
  return p == c;
}

/* Only the last * has to be tried with more: what is before it took the least, and the last one can take whatever they could. */
int glob_match(struct slice pattern, struct slice text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = 0; /* behind the last *; 0: none yet */
  size_t from = 0; /* where in `text` what follows the * was tried */

  if (text.len == 0)
    return pattern.len == 0;
  while (t < text.len) {
    if (p < pattern.len && pattern.data[p] == '*') {
      star = ++p;
      from = t;
    } else if (p < pattern.len && one_fits(pattern, &p, text.data[t])) {
      t++;
    } else if (star > 0) {
      p = star;
      t = ++from;
    } else {
      return 0;
    }
  }
  while (p < pattern.len && pattern.data[p] == '*')
    p++;
  return p == pattern.len;
}
