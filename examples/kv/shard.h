/* SPDX-License-Identifier: MIT
 *
 * A shard owns keys. It is an actor: commands come in by a bounded channel, a reply goes back for each message. Whether it has a loop
 * to itself or lives on one with others makes no difference to it, nor to who sends. */
#ifndef KV_SHARD_H
#define KV_SHARD_H

#include <stdatomic.h>

#include "kv.h"
#include "log.h"
#include "store.h"

/* One command for a shard. */
struct item {
  const struct command* command;
  size_t first; /* its arguments, as an index */
  size_t argc;
  size_t end; /* where its reply ends in that of the part, once it has been run */
};

struct part;

/* The message. The reply is 0, or an error of the disk: then what writes have changed is not safe. */
struct request {
  struct part* part;
  outcome_sender_t reply;
};

/* Commands that one client has sent for one shard. They are the shard's from the send to the reply, and the server's else; so nobody
 * copies or locks anything. */
struct part {
  struct slice* args; /* of all items */
  struct item* items;
  size_t count;
  size_t size;
  size_t done;  /* have been run */
  size_t limit; /* bytes of reply at which the shard stops, with the rest to come in another call */
  struct buf reply;
  /* the server's */
  void* round;
  outcome_call_t call;
  struct request message;
  size_t taken; /* replies that have gone to the client */
  size_t at;    /* where the next one begins */
  int problem;  /* outcome of the call */
};
UVCH_MPSC_DEFINE(requests, struct request);

/* request_drop: for the drop functions of channels: nobody will answer this one. */
void request_drop(void* item, void* arg);

/* What others may look at. */
struct shard_counts {
  atomic_size_t keys;
  atomic_size_t expires;
  atomic_size_t bytes;
  atomic_uint_fast64_t commands;
  atomic_uint_fast64_t hits;
  atomic_uint_fast64_t misses;
  atomic_uint_fast64_t expired;
};

struct shard {
  size_t index;
  size_t count; /* of shards */
  uv_loop_t* loop;
  requests_receiver_t rx;
  requests_sender_t tx; /* for the servers to clone; then closed by who has set it up */
  settings_receiver_t settings;
  struct store* store;
  uv_timer_t timer; /* looks for keys that expire */
  struct shard* all;
  struct shard_counts counts;
  /* with a log */
  int logging;
  records_sender_t records;
  health_receiver_t health;
  struct record record; /* waits for room */
  uvch_mpsc_send_t send;
  int sending;
};

/* shard_open: make the store and the channel, and take requests on this loop, until all senders of `tx` are closed. Returns 0 or an
 * error. shard_log: before the loop runs: what changes goes to this log. Returns as above.
 * shard_free: once the loop has come to its end. */
int shard_open(struct shard* shard, uv_loop_t* loop, struct shard* all, size_t index, size_t count,
               const settings_sender_t* settings);
int shard_log(struct shard* shard, const records_sender_t* records, const health_sender_t* health);
void shard_free(struct shard* shard);

#endif
