/* SPDX-License-Identifier: MIT
 *
 * The keys of one shard, and the commands on them. Knows nothing of threads and channels: one thread at a time. */
#ifndef KV_STORE_H
#define KV_STORE_H

#include "buf.h"
#include "kv.h"

struct store;

/* store_new: NULL: no memory. `index` of `shards`, for the cursors of SCAN. store_free: with all keys. */
struct store* store_new(size_t index, size_t shards);
void store_free(struct store* store);

/* shard_of: which of `shards` a key belongs to. The same in every run. */
size_t shard_of(struct slice key, size_t shards);

/* shard_of_cursor: the same for a cursor of SCAN; 0 for what is none. */
size_t shard_of_cursor(struct slice text, size_t shards);

/* One command on its way through a store. */
struct execution {
  struct store* store;
  const struct slice* argv; /* the name first */
  size_t argc;              /* right for the command */
  int64_t now;              /* wall_clock(), the same for a batch; 0 while the log is loaded: no time has come yet */
  struct buf* reply;        /* exactly one reply is added */
  struct buf* log;          /* what brings a store that is loaded to the same state is added, as commands; NULL: not wanted */
};

/* How many shards a command goes to, and how their replies become one. */
enum spread {
  SPREAD_LOCAL,    /* none: the server itself answers */
  SPREAD_KEY,      /* the one of its key, argv[1] */
  SPREAD_CURSOR,   /* the one that the cursor argv[1] names: cursor % shards, 0 for what is no cursor */
  SPREAD_SUM,      /* each key by itself; integers are added up */
  SPREAD_ARRAY,    /* each key by itself; an array of the replies */
  SPREAD_PAIRS,    /* each key with its value by itself; +OK, or the first error */
  SPREAD_ALL_SUM,  /* all shards; integers are added up */
  SPREAD_ALL_OK,   /* all shards; +OK, or the first error */
  SPREAD_ALL_JOIN, /* all shards; arrays are joined */
  SPREAD_SERVERS   /* all servers, by part of a round; their texts become one bulk string */
};

enum {
  COMMAND_WRITES = 1,   /* may change something: refused while the disk has a problem */
  COMMAND_GROWS = 2,    /* may take memory: refused over `maxmemory` */
  COMMAND_BARRIER = 4,  /* for SPREAD_LOCAL: what the client sent before it has to be done first */
  COMMAND_ANYBODY = 8,  /* before AUTH, too */
  COMMAND_LISTENER = 16 /* also for a client that has subscribed */
};

struct client;

/* A command as clients know it. It has one of the three: `run`, on a shard; `serve`, on a server; subcommands. */
struct command {
  const char* name; /* small letters; of a subcommand "config|get" */
  int arity;        /* arguments with the name; -n: at least n */
  unsigned int flags;
  enum spread spread;
  void (*run)(struct execution* x); /* gets, for SUM, ARRAY and PAIRS, one key (and value) at a time: MGET's is GET's */
  void (*serve)(struct client* client, const struct slice* argv, size_t argc, struct buf* reply);
  const struct command* subcommands; /* ends with a name of NULL; with `serve`, that is for the name alone */
};

/* store_commands: all that are not SPREAD_LOCAL; ends with a name of NULL. */
extern const struct command store_commands[];

/* store_expire: delete keys whose time has come, for at most about `budget` nanoseconds; what it deletes is added to `log`
 * unless that is NULL. Returns 1 if there may be more. */
int store_expire(struct store* store, int64_t now, uint64_t budget, struct buf* log);

/* What there is. */
struct store_counts {
  size_t keys;
  size_t expires;   /* keys that have a time */
  size_t bytes;     /* of memory that the keys take */
  uint64_t expired; /* since the start */
  uint64_t hits;
  uint64_t misses;
};
void store_count(const struct store* store, struct store_counts* counts);

#endif
