/* SPDX-License-Identifier: MIT
 *
 * A server: a loop that owns connections. And what all of them share. */
#ifndef KV_SERVER_H
#define KV_SERVER_H

#include <stdatomic.h>

#include "log.h"
#include "phase.h"
#include "pubsub.h"
#include "round.h"
#include "settings.h"
#include "shard.h"

struct client;
struct server;

/* What there is, for all threads; it is set before they start. */
struct kv {
  settings_sender_t settings;
  phase_sender_t phase;
  struct pubsub* pubsub;
  struct log* log; /* NULL: there is none */
  struct shard* shards;
  size_t shard_count;
  struct server* servers;
  size_t server_count;
  unsigned int port;
  uint64_t started;      /* uv_hrtime() */
  atomic_size_t clients; /* of all servers, as their `load` */
  atomic_uint_fast64_t accepted;
  atomic_uint_fast64_t refused;
};

/* A connection on its way from the acceptor to a server. Who gets it closes it. */
struct arrival {
  int fd;
  uint64_t number;
};
UVCH_MPSC_DEFINE(arrivals, struct arrival);

struct server {
  struct kv* kv;
  size_t index;
  uv_loop_t* loop;
  arrivals_receiver_t arrivals;
  arrivals_sender_t arrivals_tx; /* the acceptor's */
  requests_receiver_t requests;  /* from servers: CLIENT LIST */
  requests_sender_t requests_tx; /* for the servers to clone */
  phase_receiver_t phase;
  phase_sender_t phase_tx;
  settings_receiver_t settings;
  settings_sender_t settings_tx;
  requests_sender_t* to; /* the shards, then the servers */
  size_t to_count;
  struct pubsub_loop* pubsub;
  uv_prepare_t flush; /* what is to be written is written once in a turn of the loop, right before it waits */
  uv_check_t check;   /* rounds go out together, once all that can be read has been */
  uv_timer_t timer;   /* looks for idle clients */
  struct client* clients;
  struct client* dirty; /* have something to write */
  struct round* unsent; /* have to go out */
  struct round* rounds; /* that are not in use */
  size_t round_count;
  struct buf spare; /* to read into */
  struct buf scratch;
  size_t client_count;
  atomic_size_t load; /* the same with those on their way: counted up by the acceptor, down by the server */
  atomic_uint_fast64_t commands;
  int ending;
};

/* server_open: make the channels, and serve on this loop until PHASE_ENDING. server_connect: when all servers and shards are open, and
 * before the loop runs: senders to all of them. Both return 0 or an error. server_close: for one whose loop has not run.
 * server_free: once the loop has come to its end. */
int server_open(struct server* server, uv_loop_t* loop, struct kv* kv, size_t index);
int server_connect(struct server* server);
void server_close(struct server* server);
void server_free(struct server* server);

/* server_client_left: a client's memory has been freed. */
void server_client_left(struct server* server);

/* server_round, server_keep_round: a round from those that are not in use, NULL: no memory; and back to them. */
struct round* server_round(struct server* server);
void server_keep_round(struct server* server, struct round* round);

#endif
