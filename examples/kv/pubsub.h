/* SPDX-License-Identifier: MIT
 *
 * PUBLISH and SUBSCRIBE: one broadcast channel from all servers to all servers, so every subscriber sees what is published in one
 * order, whatever its name. A server hands each message to its own clients that have subscribed.
 *
 * The policy is UVCH_BROADCAST_WAIT: who publishes waits for the slowest server, which never waits for a client. A client that
 * does not read is closed at a stated limit (settings.h, subscriber_limit). So nothing is lost without a word.
 *
 * Who has subscribed to what is known to all servers, under a mutex: it makes the count that PUBLISH answers exact, and a message
 * that nobody waits for is not sent. */
#ifndef KV_PUBSUB_H
#define KV_PUBSUB_H

#include "buf.h"
#include "kv.h"

struct pubsub;      /* all of it, for all threads */
struct pubsub_loop; /* that of one server, on its thread */
struct message;     /* private */

/* pubsub_new: with room for so many messages between the servers. NULL: no memory. pubsub_free: after the last loop has closed. */
struct pubsub* pubsub_new(size_t capacity);
void pubsub_free(struct pubsub* pubsub);

/* pubsub_loop_open: subscribe a server to all that is published. Returns 0, or a negative libuv code.
 * pubsub_loop_close: when its clients have left; then the loop has nothing left of it, once `cb` came. `publish` requests that wait
 * end with UV_ECANCELED before. */
int pubsub_loop_open(struct pubsub_loop** loop, struct pubsub* pubsub, uv_loop_t* uv);
void pubsub_loop_close(struct pubsub_loop* loop, void (*cb)(void* arg), void* arg);

struct subscription;

/* A client that can subscribe; a part of it. Set all to 0, then `loop`, `write` and `arg`. */
struct subscriber {
  struct pubsub_loop* loop;
  void (*write)(struct subscriber* subscriber, const char* data, size_t len); /* a whole message of the protocol; it may call
                                                                                 everything but subscriber_leave() */
  /* read-only */
  size_t names;
  size_t patterns;
  /* private */
  struct subscription* first[2]; /* in the order in which it subscribed: names, patterns */
  struct subscription* last[2];
};

/* subscriber_add, subscriber_remove: SUBSCRIBE, PSUBSCRIBE and their opposites, for one name or pattern, with the reply that goes
 * with it. Twice changes nothing, and is answered all the same. subscriber_remove_all: for UNSUBSCRIBE without names.
 * Without memory the reply of subscriber_add() is an error, and nothing has changed.
 * Nothing that was published before subscriber_add() is written to it, and all that is published after it. */
void subscriber_add(struct subscriber* subscriber, int is_pattern, struct slice name, struct buf* reply);
void subscriber_remove(struct subscriber* subscriber, int is_pattern, struct slice name, struct buf* reply);
void subscriber_remove_all(struct subscriber* subscriber, int is_pattern, struct buf* reply);

/* subscriber_leave: the client is closed: out of everything, without a reply. */
void subscriber_leave(struct subscriber* subscriber);

/* A message on its way to all servers. It stays put until the callback. */
struct publish {
  void* data;
  /* private */
  uvch_broadcast_send_t send;
  struct pubsub_loop* loop;
  struct publish* next; /* of those that wait on this loop */
  struct publish** link;
  struct message* message;
  long long count;
  void (*cb)(struct publish* publish, int status, long long count);
};

/* pubsub_publish: to all who have subscribed to this name, or to a pattern that it is like; each pattern is a message of its own.
 * Returns how many get it, 0 or above, when it is done at once; `cb` does not come then. UV_EAGAIN: `cb` comes, with status 0 and that
 * number, or UV_ECANCELED and 0. Another negative libuv code, as UV_ENOMEM: nobody gets it. */
long long pubsub_publish(struct pubsub_loop* loop, struct publish* publish, struct slice name, struct slice text,
                         void (*cb)(struct publish* publish, int status, long long count));

/* PUBSUB CHANNELS [pattern], NUMSUB, NUMPAT: with the reply. `pattern` of length 0 and NULL: all. */
void pubsub_channels(struct pubsub* pubsub, struct slice pattern, struct buf* reply);
void pubsub_numsub(struct pubsub* pubsub, const struct slice* names, size_t count, struct buf* reply);
void pubsub_numpat(struct pubsub* pubsub, struct buf* reply);

#endif
