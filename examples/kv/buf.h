/* SPDX-License-Identifier: MIT
 *
 * Bytes that grow, and the replies of the protocol put into them. */
#ifndef KV_BUF_H
#define KV_BUF_H

#include "kv.h"

/* All 0 is an empty one. A failed allocation is remembered: what is added after it is lost, so it has to be looked at only once,
 * when all has been added. */
struct buf {
  char* data;
  size_t len;
  size_t size;
  int failed;
};

/* buf_free: empty again, and nothing allocated. buf_clear: empty again, and what was allocated stays, up to `keep` bytes. */
void buf_free(struct buf* buf);
void buf_clear(struct buf* buf, size_t keep);

/* buf_room: a place for `len` more bytes; it becomes part of the buffer with buf_used(). NULL: no memory, `failed` is set. */
char* buf_room(struct buf* buf, size_t len);
void buf_used(struct buf* buf, size_t len);

void buf_add(struct buf* buf, const void* data, size_t len);
void buf_add_text(struct buf* buf, const char* text);
void buf_print(struct buf* buf, const char* format, ...) __attribute__((format(printf, 2, 3)));

/* buf_consume: take `len` bytes away at the front. */
void buf_consume(struct buf* buf, size_t len);

/* Replies. Text is without the first character and the end of the line; an error's begins with its code, as "ERR syntax error",
 * and bytes that would end the line are made blanks. */
void reply_status(struct buf* buf, const char* text);
void reply_error(struct buf* buf, const char* format, ...) __attribute__((format(printf, 2, 3)));
void reply_integer(struct buf* buf, long long value);
void reply_bulk(struct buf* buf, const void* data, size_t len);
void reply_bulk_text(struct buf* buf, const char* text);
void reply_nil(struct buf* buf);
void reply_array(struct buf* buf, size_t count);

/* A command as clients send it, for the log: the same form as an array of bulk strings. */
void reply_command(struct buf* buf, const struct slice* argv, size_t argc);

#endif
