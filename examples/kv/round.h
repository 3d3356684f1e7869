/* SPDX-License-Identifier: MIT
 *
 * A round: the next commands of one client, up to a limit; at most one is under way for a client. They are taken apart into a part
 * for each shard, one call is made for each part, and when all have come back the replies are put together in the order of the
 * commands. */
#ifndef KV_ROUND_H
#define KV_ROUND_H

#include "shard.h"

struct step;

/* All that a round needs is kept for the next one. */
struct round {
  struct round* next; /* of those that are not in use, or have to go out */
  struct buf in;      /* what the arguments point into */
  void* owner;
  void (*done)(struct round* round);
  struct part* parts; /* for each shard, then for each server */
  size_t part_count;
  struct slice* args;
  size_t arg_count;
  size_t arg_size;
  struct step* steps;
  size_t step_count;
  size_t step_size;
  uint16_t* where; /* the part of each command that the steps were taken apart into */
  size_t where_count;
  size_t where_size;
  const struct command* last; /* one that the server itself does, once all others are done; NULL: none */
  size_t last_first;          /* its arguments, as an index; they are the last */
  struct buf local;           /* replies that were known at once */
  size_t calls;               /* under way */
  int failed;                 /* there is no answer, and none will come */
  size_t step;                /* that is being collected */
  size_t sub;                 /* so many of its commands were */
  int begun;                  /* the head of its array has been added */
  size_t next_where;          /* the place in `where` of the next one */
  size_t local_at;            /* where the next reply in `local` begins */
  long long sum;
  struct buf error; /* the first that this step has got */
};

/* round_new: NULL: no memory. `parts` is how many shards and servers there are. */
struct round* round_new(size_t parts);
void round_free(struct round* round);

/* round_reset: it can be used for other commands. */
void round_reset(struct round* round);

/* round_add: one command more, for the first `shards` of the parts, or for the others. The arguments' bytes stay where they are
 * until the round is done. round_add_local: a reply that is known. Both return 0, or UV_ENOMEM, and then the round is of no use. */
int round_add(struct round* round, const struct command* command, const struct slice* argv, size_t argc, size_t shards);
int round_add_local(struct round* round, const char* reply, size_t len);

/* round_add_last: the round takes no other command after this one, which is the owner's to do. Returns as above. */
int round_add_last(struct round* round, const struct command* command, const struct slice* argv, size_t argc);

/* round_send: make a call to `to`, one for each part, where it has commands left; `done` comes when all have come back, never from inside of this.
 * Returns how many calls there are; `failed` says more. */
size_t round_send(struct round* round, uv_loop_t* loop, const requests_sender_t* to, size_t limit);

/* round_collect: add to `out` all replies that are there and whose turn it is. Returns 1 if that was all; 0: send it again, for the
 * rest. */
int round_collect(struct round* round, struct buf* out);

#endif
