/* SPDX-License-Identifier: MIT
 *
 * What can be set: on the command line, and while the server runs by CONFIG SET. A watch channel: every loop borrows the newest. */
#ifndef KV_SETTINGS_H
#define KV_SETTINGS_H

#include "buf.h"
#include "kv.h"

/* In the order in which Redis lists them. */
enum appendfsync { APPENDFSYNC_EVERYSEC, APPENDFSYNC_ALWAYS, APPENDFSYNC_NO };
enum shard_loops { SHARD_LOOPS_SHARED, SHARD_LOOPS_OWN };

enum { PASSWORD_LIMIT = 511 };

struct settings {
  /* Can be changed. */
  size_t maxmemory;             /* bytes of all keys; 0: no limit */
  uint64_t timeout;             /* seconds after which an idle client is closed; 0: never */
  enum level loglevel;          /* debug, verbose, notice, warning */
  enum appendfsync appendfsync; /* always, everysec, no */
  size_t maxclients;
  size_t proto_max_bulk_len; /* bytes of one argument */
  size_t query_buffer_limit; /* client-query-buffer-limit: bytes of a client's commands that wait */
  size_t output_limit;       /* client-output-buffer-limit-normal: bytes of replies to a client at which it is not read from */
  size_t subscriber_limit;   /* client-output-buffer-limit-pubsub: bytes at which a subscriber that does not read is closed */
  char requirepass[PASSWORD_LIMIT + 1]; /* "": none */
  /* Only at the start; CONFIG GET shows them, CONFIG SET refuses them. */
  char bind[64];                /* an IPv4 or IPv6 address */
  unsigned int port;            /* 0: any that is free; who listens puts the real one here */
  size_t servers;               /* io-loops */
  size_t shards;                /* shards */
  enum shard_loops shard_loops; /* shard-loops: they live on those of servers, or each on one to itself */
  int appendonly;               /* yes, no */
  char appendfilename[256];     /* in the directory `dir` */
  char dir[4096];
};

UVCH_WATCH_DEFINE(settings, struct settings);

/* settings_default: what holds without options. All bytes are set. */
void settings_default(struct settings* settings);

/* settings_parse: the command line, `--maxmemory 100mb` for each setting of CONFIG, and --help, --version. Where an option comes
 * twice the last one holds. Returns 0 to go on, -1 to leave with *code. What is wrong, and the answer to --help, is printed. */
int settings_parse(struct settings* settings, int argc, char** argv, int* code);

/* settings_get: the reply to CONFIG GET with these patterns: each setting once, in the order of --help.
 * settings_set: change what CONFIG SET's names and values say, all or nothing, with the reply; `count` is that of both together.
 * Any number of threads at once, each with the sender that it likes: changes of different names are all kept.
 * For a number of bytes, kb and k, mb and m, gb and g are as with Redis; what is too large for 64 bits is the largest number. */
void settings_get(const struct settings* settings, const struct slice* patterns, size_t count, struct buf* reply);
void settings_set(const settings_sender_t* tx, const struct slice* pairs, size_t count, struct buf* reply);

/* settings_room: have the system allow as many descriptors as `maxclients` takes. Returns that, or for how many clients they do. */
size_t settings_room(const struct settings* settings);

#endif
