/* SPDX-License-Identifier: MIT
 *
 * The append-only file, and the records that are not safe in it yet. Its calls block; the log's thread is there for that. It knows
 * nothing of channels and settings.
 *
 * A record is kept in memory until it is safe: on the disk, or as near to it as is asked for (log_file_trust()). So after any failure
 * it can be written again, in order and before anything newer. Records go in whole: what a failed write leaves of one is cut off
 * before anything else is written.
 *
 *   0 ......... synced ......... begin ............. end .............
 *   on the disk         trusted       written            to be written
 *                                     kept[0] ...        kept[written] ... kept[count - 1] */
#ifndef KV_LOG_FILE_H
#define KV_LOG_FILE_H

#include "kv.h"

/* KEPT_MAX: records. KEPT_BYTES: of records that wait for nothing but an fsync. */
#define KEPT_MAX ((size_t) 65536)
#define KEPT_BYTES ((uint64_t) 64 << 20)

struct log_file {
  uv_file fd;
  uint64_t synced;
  uint64_t begin;
  uint64_t end;     /* of the last whole record that is in */
  int is_torn;      /* there may be a part of a record after it */
  int lost;         /* 0, or the error after which nothing more can be saved */
  uint64_t refused; /* bytes that came after that */
  size_t written;
  size_t count;
  uv_buf_t kept[KEPT_MAX];
};

/* log_file_descriptor: open a regular file. Returns the descriptor and its size, or an error. */
int log_file_descriptor(const char* path, int flags, uint64_t* size);

/* log_file_open: make it if there is none. What is in it is on the disk then, and so is its name. Returns 0, or an error, with a
 * message. log_file_close: what is kept is freed. */
int log_file_open(struct log_file* file, const char* path);
void log_file_close(struct log_file* file);

/* log_file_add: a record. `data` is malloc()ed, and the file's from now on. */
void log_file_add(struct log_file* file, char* data, size_t len);

/* log_file_write: write what has been added. log_file_sync: bring what has been written to the disk. Both return 0 or an error; what
 * that has left undone is the next log_file_write()'s. */
int log_file_write(struct log_file* file);
int log_file_sync(struct log_file* file);

/* log_file_trust: what has been written counts as safe. */
void log_file_trust(struct log_file* file);

/* log_file_is_crowded: so much is kept for an fsync that it should come now. log_file_unsaved: bytes that are not on the disk. */
int log_file_is_crowded(const struct log_file* file);
uint64_t log_file_unsaved(const struct log_file* file);

#endif
