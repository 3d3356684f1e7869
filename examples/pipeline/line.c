/* SPDX-License-Identifier: MIT
 *
 * One line of the log, taken apart as dpkg(1) describes it under --log:
 *
 *   DATE TIME startup archives|packages COMMAND
 *   DATE TIME status STATE PACKAGE VERSION
 *   DATE TIME install|upgrade|configure|trigproc|disappear|remove|purge PACKAGE OLD-VERSION NEW-VERSION
 *   DATE TIME conffile FILE install|keep
 *
 * PACKAGE is NAME or NAME:ARCH, a version may be <none>, and exactly one space lies between the parts. */
#include <string.h>

#include "pipeline.h"

static const char* const action_names[ACTION_COUNT] = {"startup",  "status",    "install", "upgrade", "configure",
                                                       "trigproc", "disappear", "remove",  "purge",   "conffile"};

static const char* const reason_names[REASON_COUNT] = {
    "",          "empty line",  "too long",       "NUL byte",      "control character", "invalid UTF-8",
    "bad date",  "bad time",    "unknown action", "missing field", "extra field",       "bad startup",
    "bad state", "bad package", "bad arch",       "bad version",   "bad file name",     "bad decision"};

static const char* const states[] = {"not-installed",   "config-files",     "half-installed",   "unpacked",
                                     "half-configured", "triggers-awaited", "triggers-pending", "installed"};

static const char* const startups[] = {"archives", "packages"};
static const char* const decisions[] = {"install", "keep"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char* action_name(enum action action) {
  return action_names[action];
}

const char* reason_name(enum reason reason) {
  return reason_names[reason];
}

/* Length of the character at the front, 0 if there is no whole and valid one. */
static size_t utf8_char(const unsigned char* s, size_t len) {
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  size_t n;
  size_t i;

  if (s[0] < 0x80)
    return 1;
  if (s[0] < 0xC2 || s[0] > 0xF4)
    return 0;
  n = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
  if (n > len)
    return 0;
  if (s[0] == 0xE0)
    low = 0xA0; /* shorter forms exist */
  if (s[0] == 0xED)
    high = 0x9F; /* surrogates */
  if (s[0] == 0xF0)
    low = 0x90;
  if (s[0] == 0xF4)
    high = 0x8F; /* above U+10FFFF */
  if (s[1] < low || s[1] > high)
    return 0;
  for (i = 2; i < n; i++)
    if (s[i] < 0x80 || s[i] > 0xBF)
      return 0;
  return n;
}

size_t line_utf8_prefix(const char* text, size_t len) {
  size_t i = 0;
  size_t n;

  while (i < len && (n = utf8_char((const unsigned char*) text + i, len - i)) != 0)
    i += n;
  return i;
}

static enum reason check_bytes(const char* text, size_t len) {
  int high = 0;
  int control = 0;
  size_t i;

  if (len == 0)
    return REASON_EMPTY;
  if (len > LINE_LIMIT)
    return REASON_TOO_LONG;
  if (memchr(text, '\0', len) != NULL)
    return REASON_NUL;
  for (i = 0; i < len; i++) {
    unsigned char c = (unsigned char) text[i];
    high |= c & 0x80;
    control |= c < 0x20 || c == 0x7F;
  }
  if (high && line_utf8_prefix(text, len) != len)
    return REASON_UTF8;
  return control ? REASON_CONTROL : REASON_NONE;
}

/* The number in the n digits at s, -1 if they are not digits. */
static int digits(const char* s, int n) {
  int value = 0;

  while (n-- > 0) {
    if (*s < '0' || *s > '9')
      return -1;
    value = value * 10 + (*s++ - '0');
  }
  return value;
}

static int is_date(const char* s, struct span span) {
  static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  int year;
  int month;
  int day;
  int leap;

  s += span.off;
  if (span.len != 10 || s[4] != '-' || s[7] != '-')
    return 0;
  year = digits(s, 4);
  month = digits(s + 5, 2);
  day = digits(s + 8, 2);
  if (year < 1 || month < 1 || month > 12 || day < 1)
    return 0;
  leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return day <= month_days[month - 1] + leap;
}

/* No leap second: SQLite's date functions know none either. */
static int is_time(const char* s, struct span span) {
  int hour;
  int minute;
  int second;

  s += span.off;
  if (span.len != 8 || s[2] != ':' || s[5] != ':')
    return 0;
  hour = digits(s, 2);
  minute = digits(s + 3, 2);
  second = digits(s + 6, 2);
  return hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 59;
}

static int is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Letters, digits and `more`, the first one a letter or digit. */
static int is_word(const char* s, struct span span, const char* more) {
  size_t i;

  if (span.len == 0 || !is_alnum(s[span.off]))
    return 0;
  for (i = 0; i < span.len; i++)
    if (!is_alnum(s[span.off + i]) && strchr(more, s[span.off + i]) == NULL)
      return 0;
  return 1;
}

static int is_text(const char* s, struct span span, const char* text) {
  return strlen(text) == span.len && memcmp(s + span.off, text, span.len) == 0;
}

static size_t find(const char* s, struct span span, const char* const* names, size_t count) {
  size_t i;

  for (i = 0; i < count && !is_text(s, span, names[i]); i++)
    continue;
  return i;
}

/* Cut the next part off the front of `rest`, up to a space or the end. 0: there was none. */
static int next(const char* s, struct span* rest, struct span* part) {
  const char* space = rest->len == 0 ? NULL : memchr(s + rest->off, ' ', rest->len);
  size_t len = space == NULL ? rest->len : (size_t) (space - (s + rest->off));
  size_t cut = space == NULL ? len : len + 1;

  *part = (struct span){rest->off, (uint16_t) len};
  rest->off = (uint16_t) (rest->off + cut);
  rest->len = (uint16_t) (rest->len - cut);
  return len > 0;
}

/* NAME or NAME:ARCH. */
static enum reason parse_package(const char* s, struct span* rest, struct record* record) {
  struct span* package = &record->field[FIELD_PACKAGE];
  struct span* arch = &record->field[FIELD_ARCH];
  const char* colon;

  if (!next(s, rest, package))
    return REASON_MISSING;
  colon = memchr(s + package->off, ':', package->len);
  if (colon != NULL) {
    size_t len = (size_t) (colon - (s + package->off));
    *arch = (struct span){(uint16_t) (package->off + len + 1), (uint16_t) (package->len - len - 1)};
    package->len = (uint16_t) len;
    if (!is_word(s, *arch, "-"))
      return REASON_ARCH;
  }
  return is_word(s, *package, "-+._") ? REASON_NONE : REASON_PACKAGE;
}

/* <none> leaves the field empty. */
static enum reason parse_version(const char* s, struct span* rest, struct span* version) {
  if (!next(s, rest, version))
    return REASON_MISSING;
  if (is_text(s, *version, "<none>")) {
    version->len = 0;
    return REASON_NONE;
  }
  return is_word(s, *version, ".-+~:") ? REASON_NONE : REASON_VERSION;
}

static enum reason parse_startup(const char* s, struct span* rest, struct record* record) {
  struct span* detail = &record->field[FIELD_DETAIL];
  struct span command;

  if (!next(s, rest, detail))
    return REASON_MISSING;
  if (find(s, *detail, startups, COUNT(startups)) == COUNT(startups))
    return REASON_STARTUP;
  if (!next(s, rest, &command))
    return REASON_MISSING;
  if (!is_word(s, command, "-"))
    return REASON_STARTUP;
  detail->len = (uint16_t) (detail->len + 1 + command.len);
  return REASON_NONE;
}

static enum reason parse_status(const char* s, struct span* rest, struct record* record) {
  struct span* state = &record->field[FIELD_STATE];
  enum reason reason;

  if (!next(s, rest, state))
    return REASON_MISSING;
  if (find(s, *state, states, COUNT(states)) == COUNT(states))
    return REASON_STATE;
  reason = parse_package(s, rest, record);
  return reason != REASON_NONE ? reason : parse_version(s, rest, &record->field[FIELD_NEW_VERSION]);
}

static enum reason parse_change(const char* s, struct span* rest, struct record* record) {
  enum reason reason = parse_package(s, rest, record);

  if (reason == REASON_NONE)
    reason = parse_version(s, rest, &record->field[FIELD_OLD_VERSION]);
  if (reason == REASON_NONE)
    reason = parse_version(s, rest, &record->field[FIELD_NEW_VERSION]);
  return reason;
}

/* A file name may hold spaces: the decision is what follows the last one. */
static enum reason parse_conffile(const char* s, struct span* rest, struct record* record) {
  struct span* file = &record->field[FIELD_FILE];
  struct span* decision = &record->field[FIELD_DETAIL];
  size_t len = rest->len;

  while (len > 0 && s[rest->off + len - 1] != ' ')
    len--;
  if (len < 2)
    return REASON_MISSING;
  *file = (struct span){rest->off, (uint16_t) (len - 1)};
  *decision = (struct span){(uint16_t) (rest->off + len), (uint16_t) (rest->len - len)};
  rest->len = 0;
  if (s[file->off] != '/')
    return REASON_FILE;
  return find(s, *decision, decisions, COUNT(decisions)) < COUNT(decisions) ? REASON_NONE : REASON_DECISION;
}

static enum reason parse_action(const char* s, struct span* rest, struct record* record) {
  size_t action;

  if (!next(s, rest, &record->field[FIELD_ACTION]))
    return REASON_MISSING;
  action = find(s, record->field[FIELD_ACTION], action_names, ACTION_COUNT);
  if (action == ACTION_COUNT)
    return REASON_ACTION;
  record->action = (enum action) action;
  switch (record->action) {
    case ACTION_STARTUP:
      return parse_startup(s, rest, record);
    case ACTION_STATUS:
      return parse_status(s, rest, record);
    case ACTION_CONFFILE:
      return parse_conffile(s, rest, record);
    default:
      return parse_change(s, rest, record);
  }
}

enum reason line_parse(const char* text, size_t len, struct record* record) {
  enum reason reason = check_bytes(text, len);
  struct span rest;

  if (reason != REASON_NONE)
    return reason;
  memset(record, 0, sizeof(*record));
  rest = (struct span){0, (uint16_t) len};
  next(text, &rest, &record->field[FIELD_DATE]);
  if (!is_date(text, record->field[FIELD_DATE]))
    return REASON_DATE;
  if (!next(text, &rest, &record->field[FIELD_TIME]))
    return REASON_MISSING;
  if (!is_time(text, record->field[FIELD_TIME]))
    return REASON_TIME;
  reason = parse_action(text, &rest, record);
  if (reason != REASON_NONE)
    return reason;
  return text[len - 1] == ' ' || rest.len > 0 ? REASON_EXTRA : REASON_NONE;
}
