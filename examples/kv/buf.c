/* SPDX-License-Identifier: MIT
 *
 * Bytes that grow, and the replies of the protocol put into them. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  FIRST_SIZE = 512,     /* of the first allocation */
  HEAD_MAX = 1 + 20 + 2 /* the first character of a reply, a number of 64 bits, and the end of the line */
};

void buf_free(struct buf* buf) {
  free(buf->data);
  memset(buf, 0, sizeof(*buf));
}

void buf_clear(struct buf* buf, size_t keep) {
  if (buf->size > keep) {
    buf_free(buf);
  }
  buf->len = 0;
  buf->failed = 0;
}

static int grow(struct buf* buf, size_t len) {
  size_t size = buf->size < FIRST_SIZE ? FIRST_SIZE : buf->size;
  char* data;

  while (size - buf->len < len && size <= SIZE_MAX / 2) {
    size *= 2;
  }
  data = size - buf->len < len ? NULL : realloc(buf->data, size);
  if (data == NULL) {
    buf->failed = 1;
    return -1;
  }
  buf->data = data;
  buf->size = size;
  return 0;
}

char* buf_room(struct buf* buf, size_t len) {
  if (buf->failed || ((buf->data == NULL || buf->size - buf->len < len) && grow(buf, len) != 0)) {
    return NULL;
  }
  return buf->data + buf->len;
}

void buf_used(struct buf* buf, size_t len) {
  buf->len += len;
}

void buf_add(struct buf* buf, const void* data, size_t len) {
  char* to = buf_room(buf, len);

  if (to != NULL && len > 0) {
    memcpy(to, data, len);
    buf_used(buf, len);
  }
}

void buf_add_text(struct buf* buf, const char* text) {
  buf_add(buf, text, strlen(text));
}

__attribute__((format(printf, 2, 0))) static void print(struct buf* buf, const char* format, va_list arguments) {
  va_list again;
  char* to;
  int len;

  va_copy(again, arguments);
  len = vsnprintf(NULL, 0, format, arguments);
  to = len >= 0 ? buf_room(buf, (size_t) len + 1) : NULL; /* with the 0 that vsnprintf() puts behind it */
  if (to != NULL) {
    vsnprintf(to, (size_t) len + 1, format, again);
    buf_used(buf, (size_t) len);
  }
  buf->failed |= len < 0;
  va_end(again);
}

void buf_print(struct buf* buf, const char* format, ...) {
  va_list arguments;

  va_start(arguments, format);
  print(buf, format, arguments);
  va_end(arguments);
}

void buf_consume(struct buf* buf, size_t len) {
  buf->len -= len;
  if (len > 0 && buf->len > 0) {
    memmove(buf->data, buf->data + len, buf->len);
  }
}

/* Replies. */

/* The head of a reply at `to`, where HEAD_MAX bytes are free. Returns its end. */
static char* put_head(char* to, char type, long long value) {
  unsigned long long rest = value < 0 ? 0 - (unsigned long long) value : (unsigned long long) value;
  char digits[20];
  size_t first = sizeof(digits);

  do {
    digits[--first] = (char) ('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  *to++ = type;
  if (value < 0) {
    *to++ = '-';
  }
  while (first < sizeof(digits)) {
    *to++ = digits[first++];
  }
  *to++ = '\r';
  *to++ = '\n';
  return to;
}

static void add_head(struct buf* buf, char type, long long value) {
  char* to = buf_room(buf, HEAD_MAX);

  if (to != NULL) {
    buf_used(buf, (size_t) (put_head(to, type, value) - to));
  }
}

/* What has been added from `begin` on is a line: nothing inside may end it. */
static void end_line(struct buf* buf, size_t begin) {
  size_t i;

  for (i = begin; i < buf->len; i++) {
    if (buf->data[i] == '\r' || buf->data[i] == '\n') {
      buf->data[i] = ' ';
    }
  }
  buf_add(buf, "\r\n", 2);
}

void reply_status(struct buf* buf, const char* text) {
  size_t begin = buf->len;

  buf_add(buf, "+", 1);
  buf_add_text(buf, text);
  end_line(buf, begin);
}

void reply_error(struct buf* buf, const char* format, ...) {
  size_t begin = buf->len;
  va_list arguments;

  buf_add(buf, "-", 1);
  va_start(arguments, format);
  print(buf, format, arguments);
  va_end(arguments);
  end_line(buf, begin);
}

void reply_integer(struct buf* buf, long long value) {
  add_head(buf, ':', value);
}

void reply_bulk(struct buf* buf, const void* data, size_t len) {
  char* begin = buf_room(buf, HEAD_MAX + len + 2);
  char* to;

  if (begin == NULL) {
    return;
  }
  to = put_head(begin, '$', (long long) len);
  if (len > 0) {
    memcpy(to, data, len);
    to += len;
  }
  *to++ = '\r';
  *to++ = '\n';
  buf_used(buf, (size_t) (to - begin));
}

void reply_bulk_text(struct buf* buf, const char* text) {
  reply_bulk(buf, text, strlen(text));
}

void reply_nil(struct buf* buf) {
  buf_add(buf, "$-1\r\n", 5);
}

void reply_array(struct buf* buf, size_t count) {
  add_head(buf, '*', (long long) count);
}

void reply_command(struct buf* buf, const struct slice* argv, size_t argc) {
  size_t i;

  reply_array(buf, argc);
  for (i = 0; i < argc; i++) {
    reply_bulk(buf, argv[i].data, argv[i].len);
  }
}
