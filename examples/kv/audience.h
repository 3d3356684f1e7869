/* SPDX-License-Identifier: MIT
 *
 * What the two sides of pubsub.h share: pubsub.c, which is for all threads, and audience.c, the subscribers of one server. */
#ifndef KV_AUDIENCE_H
#define KV_AUDIENCE_H

#include "pubsub.h"
#include "hash.h"

/* A name or a pattern to which somebody has subscribed, on any loop. */
struct topic {
  struct hash_node node;
  size_t subscribers; /* under the mutex, as all tables of topics */
  char name[];
};

/* topic_enter: one subscriber more for the topic of that name, which is perhaps made; what has a number above *since is for him.
 * Returns 0, UV_ENOMEM. topic_leave: one less; a topic without any goes. */
int topic_enter(struct pubsub* pubsub, int is_pattern, struct slice name, struct topic** topic, uint64_t* since);
void topic_leave(struct pubsub* pubsub, int is_pattern, struct topic* topic);

/* What is published, for the subscribers of one topic: the bytes that all of them get. */
struct copy {
  struct copy* next;
  int is_pattern;
  size_t name; /* of the topic: where it is in `bytes` */
  size_t name_len;
  struct buf bytes;
};

/* All of what is published at once. It belongs to the channel, which drops it after the last server has read it. */
struct message {
  uint64_t number; /* all that are sent have one, in the order in which their subscribers were counted */
  struct copy* copies;
};
UVCH_BROADCAST_DEFINE(messages, struct message*);

struct subscription;

struct pubsub_loop {
  struct pubsub* pubsub;
  uv_loop_t* uv;
  messages_receiver_t rx;
  struct hash audiences[2];  /* of names, of patterns: a topic, and its subscribers here */
  struct hash subscriptions; /* by subscriber and audience */
  struct subscription* next; /* the one that audience_write() goes to next */
  struct publish* waiting;   /* for room in the channel */
  int rx_closed;
  void (*cb)(void* arg);
  void* arg;
};

/* audience_write: hand a message to all its subscribers here, in the order in which they have come. */
void audience_write(struct pubsub_loop* loop, const struct message* message);

#endif
