/* SPDX-License-Identifier: MIT
 *
 * Settings out of text, a line for each: KEY = VALUE. Empty lines and those that begin with # are skipped. Whatever is not
 * exactly right is refused, with its line, so that a slip of the hand never becomes a setting. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "follow.h"

static const char* const level_names[LEVELS] = {"quiet", "info", "debug"};

const char* level_name(enum level level) {
  return level_names[level];
}

/*
 * A value that owns things
 */

/* NULL is a string, too: none. */
static int copy_string(char** to, const char* from) {
  *to = from == NULL ? NULL : strdup(from);
  return *to == from || *to != NULL ? 0 : UV_ENOMEM;
}

int settings_copy(void* to, const void* from, void* arg) {
  struct settings* copy = to;
  const struct settings* settings = from;

  (void) arg;
  *copy = *settings;
  if (copy_string(&copy->greeting, settings->greeting) != 0)
    return UV_ENOMEM;
  if (copy_string(&copy->farewell, settings->farewell) == 0)
    return 0;
  free(copy->greeting); /* after an error there is nothing to drop */
  return UV_ENOMEM;
}

void settings_drop(void* item, void* arg) {
  struct settings* settings = item;

  (void) arg;
  free(settings->greeting);
  free(settings->farewell);
}

/*
 * The keys
 */

static int wrong(struct problem* problem, const char* format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct problem* problem, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(problem->text, sizeof(problem->text), format, args);
  va_end(args);
  return -1;
}

static int set_level(struct settings* settings, const char* value, struct problem* problem) {
  int level;

  for (level = 0; level < LEVELS; level++)
    if (strcmp(value, level_names[level]) == 0) {
      settings->level = (enum level) level;
      return 0;
    }
  return wrong(problem, "log: '%.40s' is not one of quiet, info, debug", value);
}

static int number(const char* key, const char* value, unsigned long min, unsigned long max, unsigned int* result,
                  struct problem* problem) {
  unsigned long n;
  char* end;

  errno = 0;
  n = strtoul(value, &end, 10);
  if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || n < min || n > max)
    return wrong(problem, "%s: '%.40s' is not a number from %lu to %lu", key, value, min, max);
  *result = (unsigned int) n;
  return 0;
}

static int set_interval(struct settings* settings, const char* value, struct problem* problem) {
  return number("interval", value, 1, 3600000, &settings->interval, problem);
}

static int set_limit(struct settings* settings, const char* value, struct problem* problem) {
  return number("limit", value, 0, 1000000, &settings->limit, problem);
}

static int set_greeting(struct settings* settings, const char* value, struct problem* problem) {
  return copy_string(&settings->greeting, value) == 0 ? 0 : wrong(problem, "no memory");
}

static int set_farewell(struct settings* settings, const char* value, struct problem* problem) {
  return copy_string(&settings->farewell, value) == 0 ? 0 : wrong(problem, "no memory");
}

enum { KEYS = 5 };

static const struct {
  const char* name;
  int (*set)(struct settings* settings, const char* value, struct problem* problem);
  int needed;
} keys[KEYS] = {
    {"log", set_level, 0},         {"interval", set_interval, 0}, {"limit", set_limit, 0},
    {"greeting", set_greeting, 1}, {"farewell", set_farewell, 0},
};

/*
 * The lines
 */

struct parse {
  struct settings* settings;
  struct problem* problem;
  size_t lines[KEYS]; /* where each is set; 0: not yet */
};

static int unknown(const char* name, struct problem* problem) {
  char known[PROBLEM_SIZE] = "";
  size_t i;

  for (i = 0; i < KEYS; i++) {
    size_t len = strlen(known);
    snprintf(known + len, sizeof(known) - len, "%s%s", i == 0 ? "" : ", ", keys[i].name);
  }
  return wrong(problem, "there is no '%.40s'; there are %s", name, known);
}

static int set(struct parse* parse, const char* name, const char* value) {
  struct problem* problem = parse->problem;
  size_t i = 0;

  while (i < KEYS && strcmp(name, keys[i].name) != 0)
    i++;
  if (i == KEYS)
    return unknown(name, problem);
  if (parse->lines[i] != 0)
    return wrong(problem, "'%s' is set a second time, after line %zu", name, parse->lines[i]);
  if (*value == '\0')
    return wrong(problem, "'%s' has no value", name);
  parse->lines[i] = problem->line;
  return keys[i].set(parse->settings, value, problem);
}

/* Without the blanks around it. */
static char* strip(char* text) {
  size_t len;

  text += strspn(text, " \t");
  len = strlen(text);
  while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
    len--;
  text[len] = '\0';
  return text;
}

/* A terminal does not get to see what could command it. */
static int has_controls(const char* text, size_t len) {
  size_t i;

  for (i = 0; i < len; i++) {
    unsigned char c = (unsigned char) text[i];
    if ((c < ' ' && c != '\t') || c == 127)
      return 1;
  }
  return 0;
}

static int take_line(struct parse* parse, const char* text, size_t len) {
  char line[LINE_LIMIT + 1];
  char* key;
  char* equals;

  if (len > 0 && text[len - 1] == '\r') /* CR LF */
    len--;
  if (len > LINE_LIMIT)
    return wrong(parse->problem, "the line has more than %d bytes", LINE_LIMIT);
  if (has_controls(text, len))
    return wrong(parse->problem, "the line has a control character");
  memcpy(line, text, len);
  line[len] = '\0';
  key = strip(line);
  if (*key == '\0' || *key == '#')
    return 0;
  equals = strchr(key, '=');
  if (equals == NULL)
    return wrong(parse->problem, "'%.40s' is not KEY = VALUE", key);
  *equals = '\0';
  return set(parse, strip(key), strip(equals + 1));
}

static int take_lines(struct parse* parse, const char* text, size_t len) {
  size_t i;

  parse->problem->line = 1;
  while (len > 0) {
    const char* end = memchr(text, '\n', len);
    if (end == NULL)
      return wrong(parse->problem, "the line has no end; is the file not yet written to its own?");
    if (take_line(parse, text, (size_t) (end - text)) != 0)
      return -1;
    len -= (size_t) (end - text) + 1;
    text = end + 1;
    if (len > 0)
      parse->problem->line++;
  }
  for (i = 0; i < KEYS; i++)
    if (keys[i].needed && parse->lines[i] == 0)
      return wrong(parse->problem, "the file ends, and '%s' is not set", keys[i].name);
  return 0;
}

int settings_parse(struct settings* settings, const char* text, size_t len, struct problem* problem) {
  struct parse parse = {.settings = settings, .problem = problem};

  *settings = (struct settings){.level = LEVEL_INFO, .interval = 1000};
  if (take_lines(&parse, text, len) == 0)
    return 0;
  settings_drop(settings, NULL);
  return -1;
}
