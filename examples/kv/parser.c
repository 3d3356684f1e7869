/* SPDX-License-Identifier: MIT
 *
 * The protocol of clients. A command begins with the character that says which of its two forms it has:
 *
 *   BEGIN -- '*' --> COUNT --> LENGTH <--> BYTES --> BEGIN     *2 $4 ECHO $2 hi, each followed by \r\n
 *     `-- any other --> INLINE --> BEGIN                       ECHO "hi", up to \n
 *
 * What is wrong, and what is said then, is as with Redis 7.0: it looks for \r and takes the next byte for a \n, whatever it is, and
 * does not look at what follows an argument. It looks no further than a byte of 0, so that a line with one never ends there; here
 * it is a byte as any other. */
#include "parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEGIN, COUNT, LENGTH, BYTES, INLINE, BAD };

enum {
  LINE_MAX_LEN = 64 * 1024, /* bytes of a line, without its end */
  SIZE_FIRST = 8,           /* places in argv */
  SIZE_KEPT = 1024,         /* places that stay for the next command */
  ANONYMOUS_ARGUMENTS = 10,
  ANONYMOUS_BULK = 16 * 1024
};

static enum parser_result fail(struct parser* parser, const char* error) {
  parser->state = BAD;
  parser->error = error;
  return PARSER_ERROR;
}

static enum parser_result finish(struct parser* parser, size_t len) {
  parser->state = BEGIN;
  parser->len = len;
  return PARSER_COMMAND;
}

/* How much of the line at `at` is to be looked at: one byte more than it may have. */
static size_t line_part(const struct parser* parser, size_t len) {
  return len - parser->at <= LINE_MAX_LEN ? len - parser->at : LINE_MAX_LEN + 1;
}

/* argv[argc], for one more argument. NULL: no memory. */
static struct slice* next_place(struct parser* parser) {
  if (parser->argc == parser->size) {
    size_t size = parser->size > 0 ? parser->size * 2 : SIZE_FIRST;
    struct slice* argv = size <= SIZE_MAX / sizeof(*argv) ? realloc(parser->argv, size * sizeof(*argv)) : NULL;

    if (argv == NULL)
      return NULL;
    parser->argv = argv;
    parser->size = size;
  }
  return &parser->argv[parser->argc];
}

static enum parser_result no_memory(struct parser* parser) {
  return fail(parser, "ERR no memory for the arguments");
}

/* Arrays. */

/* A number as slice_integer() takes it, but for this file alone, where it is part of the time that an argument takes. */
static int read_number(const char* text, size_t len, long long* value) {
  size_t i = len > 1 && text[0] == '-';
  unsigned long long most = (unsigned long long) INT64_MAX + i;
  unsigned long long n = 0;

  if (len == i || len - i > 19 || (len > 1 && text[i] == '0')) /* 19 digits do not overflow */
    return -1;
  for (; i < len; i++) {
    unsigned int digit = (unsigned int) (unsigned char) text[i] - '0';

    if (digit > 9)
      return -1;
    n = n * 10 + digit;
  }
  if (n > most)
    return -1;
  *value = text[0] == '-' ? (long long) (0 - n) : (long long) n;
  return 0;
}

/* The end of most lines is behind one digit or two, and memchr() takes a while to begin: a quarter of the time of an argument. A \r
 * before that one is no digit: the line is as wrong then. */
static const char* find_end(const char* line, size_t seen, size_t part) {
  if (part > 4 && line[2] == '\r')
    return line + 2;
  if (part > 4 && line[3] == '\r')
    return line + 3;
  return memchr(line + seen, '\r', part - seen);
}

/* take_line: look for the end of the line at `at`. PARSER_COMMAND: *end is there, and a byte behind it. */
static enum parser_result take_line(struct parser* parser, const char* data, size_t len, const char* too_big, const char** end) {
  const char* line = data + parser->at;
  size_t part = line_part(parser, len);

  *end = find_end(line, parser->seen, part);
  if (*end == NULL) {
    parser->seen = part;
    return part > LINE_MAX_LEN ? fail(parser, too_big) : PARSER_MORE;
  }
  parser->seen = (size_t) (*end - line);
  return *end + 1 < data + len ? PARSER_COMMAND : PARSER_MORE;
}

static void line_taken(struct parser* parser) {
  parser->at += parser->seen + 2;
  parser->seen = 0;
}

static enum parser_result take_count(struct parser* parser, const char* data, size_t len, const struct parser_limits* limits) {
  const char* end;
  long long count = 0;
  enum parser_result result = take_line(parser, data, len, "ERR Protocol error: too big mbulk count string", &end);

  if (result != PARSER_COMMAND)
    return result;
  if (read_number(data + 1, (size_t) (end - data - 1), &count) != 0 ||
      (count > 0 && (unsigned long long) count > limits->arguments))
    return fail(parser, "ERR Protocol error: invalid multibulk length");
  if (limits->anonymous && count > ANONYMOUS_ARGUMENTS)
    return fail(parser, "ERR Protocol error: unauthenticated multibulk length");
  line_taken(parser);
  parser->left = count > 0 ? (size_t) count : 0;
  parser->state = LENGTH;
  return PARSER_COMMAND;
}

static enum parser_result not_a_length(struct parser* parser, char first) {
  if (first == '\r' || first == '\n' || first == '\0')
    first = ' ';
  snprintf(parser->text, sizeof(parser->text), "ERR Protocol error: expected '$', got '%c'", first);
  return fail(parser, parser->text);
}

static enum parser_result take_length(struct parser* parser, const char* data, size_t len, const struct parser_limits* limits) {
  const char* line = data + parser->at;
  const char* end;
  long long bulk = 0;
  enum parser_result result = take_line(parser, data, len, "ERR Protocol error: too big bulk count string", &end);

  if (result != PARSER_COMMAND)
    return result;
  if (line[0] != '$')
    return not_a_length(parser, line[0]);
  if (read_number(line + 1, (size_t) (end - line - 1), &bulk) != 0 || bulk < 0 || (unsigned long long) bulk > limits->bulk ||
      (unsigned long long) bulk > SIZE_MAX - 2)
    return fail(parser, "ERR Protocol error: invalid bulk length");
  if (limits->anonymous && bulk > ANONYMOUS_BULK)
    return fail(parser, "ERR Protocol error: unauthenticated bulk length");
  line_taken(parser);
  parser->bulk = (size_t) bulk;
  parser->state = BYTES;
  return PARSER_COMMAND;
}

/* take_bytes: until the command is complete, `data` may move, so that a slice says only where in it an argument begins. */
static enum parser_result take_bytes(struct parser* parser, size_t len) {
  size_t there = len - parser->at;
  struct slice* slice;

  if (there < parser->bulk + 2) {
    parser->need = parser->bulk + 2 - there;
    return PARSER_MORE;
  }
  slice = next_place(parser);
  if (slice == NULL)
    return no_memory(parser);
  slice->data = (const char*) (uintptr_t) parser->at;
  slice->len = parser->bulk;
  parser->argc += 1;
  parser->left -= 1;
  parser->at += parser->bulk + 2;
  parser->state = LENGTH;
  return PARSER_COMMAND;
}

static enum parser_result take_array(struct parser* parser, const char* data, size_t len, const struct parser_limits* limits) {
  enum parser_result result = PARSER_COMMAND;
  size_t i;

  if (parser->state == COUNT)
    result = take_count(parser, data, len, limits);
  while (result == PARSER_COMMAND && parser->left > 0)
    result = parser->state == LENGTH ? take_length(parser, data, len, limits) : take_bytes(parser, len);
  if (result != PARSER_COMMAND)
    return result;
  for (i = 0; i < parser->argc; i++)
    parser->argv[i].data = data + (uintptr_t) parser->argv[i].data;
  return finish(parser, parser->at);
}

/* Lines. */

/* Between arguments; inside of one that is not in quotes, the two rare ones are bytes as any other, as with Redis. */
static int is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static int is_end(char c) {
  return is_blank(c) && c != '\v' && c != '\f';
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char unescape(char c) {
  return c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c == 'b' ? '\b' : c == 'a' ? '\a' : c;
}

/* A text that gets shorter as its quotes and escapes go: `to` is never after `from`. */
struct line {
  const char* from;
  const char* end;
  char* to;
};

/* take_double_quotes, take_single_quotes: what is between them; `from` is behind the first one, then at the second one. */
static void take_double_quotes(struct line* line) {
  for (; line->from < line->end && *line->from != '"'; line->from++) {
    size_t left = (size_t) (line->end - line->from);
    const char* c = line->from;

    if (left >= 4 && c[0] == '\\' && c[1] == 'x' && hex_digit(c[2]) >= 0 && hex_digit(c[3]) >= 0) {
      *line->to++ = (char) (hex_digit(c[2]) * 16 + hex_digit(c[3]));
      line->from += 3;
    } else if (left >= 2 && c[0] == '\\') {
      *line->to++ = unescape(c[1]);
      line->from += 1;
    } else {
      *line->to++ = *c;
    }
  }
}

static void take_single_quotes(struct line* line) {
  for (; line->from < line->end && *line->from != '\''; line->from++) {
    if (line->end - line->from >= 2 && line->from[0] == '\\' && line->from[1] == '\'')
      line->from += 1;
    *line->to++ = *line->from;
  }
}

/* -1: there is no second one, or it is not the end of the argument. */
static int take_quotes(struct line* line) {
  if (*line->from++ == '"')
    take_double_quotes(line);
  else
    take_single_quotes(line);
  if (line->from == line->end)
    return -1;
  line->from += 1;
  return line->from == line->end || is_blank(*line->from) ? 0 : -1;
}

/* take_word: one argument; `from` is at its first character. */
static int take_word(struct line* line) {
  while (line->from < line->end && !is_end(*line->from)) {
    if (*line->from == '"' || *line->from == '\'')
      return take_quotes(line);
    *line->to++ = *line->from++;
  }
  return 0;
}

static enum parser_result split(struct parser* parser, char* data, size_t len) {
  struct line line = {data, data + len, data};

  for (;;) {
    struct slice* slice;

    while (line.from < line.end && is_blank(*line.from))
      line.from++;
    if (line.from == line.end)
      return PARSER_COMMAND;
    slice = next_place(parser);
    if (slice == NULL)
      return no_memory(parser);
    slice->data = line.to;
    if (take_word(&line) != 0)
      return fail(parser, "ERR Protocol error: unbalanced quotes in request");
    slice->len = (size_t) (line.to - slice->data);
    parser->argc += 1;
  }
}

static enum parser_result take_inline(struct parser* parser, char* data, size_t len) {
  size_t part = line_part(parser, len);
  const char* end = memchr(data + parser->seen, '\n', part - parser->seen);

  if (end == NULL) {
    parser->seen = part;
    return part > LINE_MAX_LEN ? fail(parser, "ERR Protocol error: too big inline request") : PARSER_MORE;
  }
  if (split(parser, data, (size_t) (end - data)) != PARSER_COMMAND) /* a \r before it is a blank */
    return PARSER_ERROR;
  return finish(parser, (size_t) (end - data) + 1);
}

/* Both. */

static void begin(struct parser* parser, char first) {
  if (parser->size > SIZE_KEPT)
    parser_free(parser);
  parser->argc = 0;
  parser->at = 0;
  parser->seen = 0;
  parser->state = first == '*' ? COUNT : INLINE;
}

enum parser_result parser_next(struct parser* parser, char* data, size_t len, const struct parser_limits* limits) {
  parser->need = 0;
  if (parser->state == BEGIN) {
    if (len == 0)
      return PARSER_MORE;
    begin(parser, data[0]);
  }
  switch (parser->state) {
    case BAD:
      return PARSER_ERROR;
    case INLINE:
      return take_inline(parser, data, len);
    default:
      return take_array(parser, data, len, limits);
  }
}

void parser_free(struct parser* parser) {
  free(parser->argv);
  memset(parser, 0, sizeof(*parser));
}
