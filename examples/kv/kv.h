/* SPDX-License-Identifier: MIT
 *
 * kv: an in-memory key-value server that speaks the Redis protocol, on all four kinds of channels.
 *
 *   acceptor   main thread    takes connections and hands them over as descriptors
 *     |  |     mpsc           bounded: while it is full nothing is accepted
 *   servers    own threads    own connections: bytes in, commands; replies, bytes out
 *     |  |     mpsc, oneshot  bounded; a call for each shard that a client's next commands need
 *   shards     on the same,   own the keys: commands in, replies out
 *     |  |      or on their own
 *     |  |     mpsc           bounded: a shard waits for the disk, its servers for the shard, clients for their server
 *   log        own thread     owns the file: many commands in, one fsync, then all their replies
 *
 *   published messages        a broadcast channel: from any server to all of them                pubsub.h
 *   settings                  a watch channel: CONFIG SET anywhere holds everywhere              settings.h
 *   phase                     a watch channel: running, ending, ended at once                    phase.h
 *   health of the disk        a watch channel: from the log to the shards                        log.h
 *
 * What every part shares. */
#ifndef KV_H
#define KV_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include <uvch.h>

/* Exit codes. */
enum { CODE_OK = 0, CODE_FAILED = 1, CODE_USAGE = 2 };

/* The Redis whose answers these are, for clients that look at it. */
#define KV_REDIS_VERSION "7.0.15"

/* Some bytes that somebody else keeps, any of 256 values, without a 0 at the end. */
struct slice {
  const char* data;
  size_t len;
};

/* say: a message on standard error, if the setting `loglevel` lets that level through. */
enum level { LEVEL_DEBUG, LEVEL_VERBOSE, LEVEL_NOTICE, LEVEL_WARNING };
void say(enum level level, const char* format, ...) __attribute__((format(printf, 2, 3)));

/* say_from: from now on only messages of this level and above; at first LEVEL_NOTICE. Any thread. */
void say_from(enum level level);

/* must: end the program if `r` is an error; for what only a mistake in it can bring about. */
void must(int r, const char* what);

/* slice_is: whether it is this text, whatever the case of its letters a-z. */
int slice_is(struct slice slice, const char* text);

/* slice_width: how many of its bytes a "%.*s" is to print: all of them, and it stops at a byte of 0. */
int slice_width(struct slice slice);

/* slice_integer: a number as Redis takes it: 64 bits, no sign +, no blanks, no leading 0. Returns 0, or -1 if it is none. */
int slice_integer(struct slice slice, long long* value);

/* glob_match: whether `text` is what `pattern` describes: * ? [a-z] [^a] and \ before any of them, as Redis has it. Its time is
 * bounded by the product of the lengths. */
int glob_match(struct slice pattern, struct slice text);

/* wall_clock: milliseconds since 1970, for times at which keys expire. */
int64_t wall_clock(void);

#endif
