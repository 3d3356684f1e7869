/* SPDX-License-Identifier: MIT
 *
 * The append-only file, on a loop of its own: commands that changed something, in the form in which clients send them.
 *
 * Shards send what their commands left. `appendfsync always`: one write and one fsync for all that has come meanwhile, then all
 * their replies. `everysec`, `no`: shards have replied already.
 *
 * When the disk is full, or fails, who waits gets the error; the file is cut back to its last whole command, what could not be
 * written is kept and tried again once in a second and with the next batch, and shards refuse to change anything until it is in. */
#ifndef KV_LOG_H
#define KV_LOG_H

#include "buf.h"
#include "kv.h"
#include "settings.h"

/* log_load: give the commands in the file at `path` to `apply`, one after the other. No file is an empty one. A last command that is
 * not whole, as a crash leaves it, is cut off, with a message that says how many bytes; all before it is kept. Anything else that
 * is no command, or that `apply` refuses (non-zero), ends it with a message that says where; then the file is as it was.
 *
 * The file is read in pieces: memory does not depend on its size. Returns 0, or a negative libuv code. */
typedef int (*log_apply_cb)(const struct slice* argv, size_t argc, void* arg);
int log_load(const char* path, log_apply_cb apply, void* arg);

/* The health of the disk, a watch channel: 0, or the negative libuv code of the last write or fsync. */
UVCH_WATCH_DEFINE(health, int);

/* The outcome of a batch: 0, or that code. */
UVCH_ONESHOT_DEFINE(outcome, int);

/* From a shard to the log. */
struct record {
  char* data; /* whole commands, malloc()ed; who has the message frees it. NULL: nothing changed, only the order counts */
  size_t len;
  int is_asked;           /* somebody waits for `reply` */
  outcome_sender_t reply; /* used once `data` is on the disk */
};
UVCH_MPSC_DEFINE(records, struct record);

struct log;

/* log_start: open the file for appending, and start the thread. It ends, after a last fsync, when all senders of `tx` are closed.
 * `policy` follows the settings. `tx` and `health` are for the caller to clone, subscribe, and close (health: a sender that is the
 * log's own; subscribe through it before the shards start).
 *
 * Returns 0, or a negative libuv code, with a message. */
int log_start(struct log** log, const char* path, const settings_sender_t* settings, records_sender_t* tx,
              health_sender_t* health);

/* log_join: wait for the thread. Returns 0, or the error if something could not be brought to the disk, with a message. */
int log_join(struct log* log);

/* Counters, for INFO. Any thread. */
struct log_counts {
  uint64_t bytes;  /* size of the file */
  uint64_t fsyncs; /* since the start */
  uint64_t groups; /* writes, each of all that had come */
};
void log_count(const struct log* log, struct log_counts* counts);

#endif
