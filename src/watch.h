/* SPDX-License-Identifier: MIT
 *
 * The core of a watch channel, see hub.h for what it shares with others. Its tail is the version of the value.
 *
 * A value is a node that does not change once it is the current one. It is counted under the lock, by plain loads and stores:
 * the channel has one reference to the current one, each handle one to what it has borrowed, and each turn of a group one to
 * what its callbacks get. Who takes a reference away last keeps the node for the next send, so that steady updates allocate
 * nothing, or ends its value after the lock.
 *
 * Who wants the current value compares the version first, which takes no lock. Only if it has moved the lock is taken, over
 * exactly "which node, which version, count it".
 *
 * The version is stored before the node, under the lock. So a fork between the two shows a change to the old value, and never
 * hides one. */
#ifndef UVCH_SRC_WATCH_H
#define UVCH_SRC_WATCH_H

#include <uvch/watch.h>

#include "group.h"

struct uvch__watch {
  struct uvch__hub hub;
  uint32_t open; /* under the lock: receivers that are not closed; unlike hub.receivers also of loops that are gone */
};

/* A value that is looked at. */
struct uvch__snapshot {
  void* pin; /* a node with a reference, or NULL */
  uint64_t version;
};

/* A group, and what its callbacks get in a turn. */
struct uvch__wgroup {
  struct uvch__group group;
  struct uvch__snapshot snapshot;
  uint32_t looks; /* times that the snapshot was taken in this round of the members */
  uint32_t naps;  /* that are left, see watch_turn.c */
  uint64_t rested_at;
  struct uvch__timer timer;
};

/* For tests: the version of the first value of channels that are made from now on. */
extern uint64_t uvch__watch_first;

/* For tests: every round that has brought something is followed by a nap, see watch_turn.c. */
extern int uvch__watch_naps;

static inline struct uvch__watch* uvch__watch_at(struct uvch__hub* h) {
  return (struct uvch__watch*) h; /* its first member */
}

static inline struct uvch__wgroup* uvch__wgroup_at(struct uvch__group* g) {
  return (struct uvch__wgroup*) g; /* its first member */
}

/* What a pin refers to. */
static inline const void* uvch__value_of(const void* pin) {
  return pin != NULL ? ((const struct uvch__node*) pin)->item : NULL;
}

static inline struct uvch__watch* uvch__watch_of(const uvch_watch_sender_t* tx) {
  return tx != NULL ? uvch__ptr_load(&tx->core) : NULL;
}

/* watch.c */

/* uvch__watch_get: one more sender, which the caller is, so that no function of the user's brings the end meanwhile;
 * UV_ENOMEM: there are too many. uvch__watch_put: one less. uvch__watch_leave: a receiver has closed. The last one of both ends
 * the value; both may run user code. */
int uvch__watch_get(struct uvch__watch* c);
void uvch__watch_put(struct uvch__watch* c);
void uvch__watch_leave(struct uvch__watch* c);

/* watch_value.c */

/* uvch__value_new: a node with a copy of `value`, by its bytes; NULL: no memory. uvch__value_free: the value is the caller's
 * again. */
struct uvch__node* uvch__value_new(struct uvch__watch* c, const void* value);
void uvch__value_free(struct uvch__watch* c, struct uvch__node* node);

/* uvch__value_pin: `*pin` refers to the current value then, with a reference; what it referred to, a node or NULL, is due, if
 * nobody looks at it any more. uvch__value_unpin: a reference less; may run user code. */
void uvch__value_pin(struct uvch__watch* c, void** pin, uint64_t* version, struct uvch__due* due);
void uvch__value_unpin(struct uvch__watch* c, struct uvch__node* node);

/* uvch__value_release: one reference less. The lock is held. */
void uvch__value_release(struct uvch__watch* c, struct uvch__node* node, struct uvch__due* due);

/* uvch__value_let_go: the value ends, and its node. */
void uvch__value_let_go(struct uvch__hub* h, struct uvch__node* node);

/* watch_recv.c: what every way to a new receiver comes to. As uvch_watch_subscribe(). */
int uvch__watch_subscribe(struct uvch__watch* c, uv_loop_t* loop, uvch_watch_receiver_t* rx);

/* watch_wait.c: the request of a receiver. */

/* A predicate that runs, on its caller's stack; one may run inside another. */
struct uvch__running {
  struct uvch__running* outer;
  int is_over; /* its request has ended meanwhile */
};

/* What is in a request. */
struct uvch__wait {
  struct uvch__running* running; /* innermost first */
  uvch_watch_receiver_t* rx;
  uint64_t tested;        /* the version that the predicate has said no to */
  unsigned char is_first; /* none yet */
  unsigned char is_cancelled;
};

static inline struct uvch__wait* uvch__wait_of(uvch_watch_wait_for_t* req) {
  return (struct uvch__wait*) (void*) req->waiter;
}

/* uvch__wait_closing: its receiver closes, on its loop: it is told before the close callback. */
void uvch__wait_closing(uvch_watch_receiver_t* rx);

/* uvch__wait_deliver: the predicate, the callback. As ops->deliver(). */
int uvch__wait_deliver(struct uvch__turn* t, uvch_watch_receiver_t* rx);

/* watch_turn.c */

/* uvch__watch_newest: the newest version, as far as this turn knows, and nothing older than what the member knows.
 * uvch__snapshot_take: that value, for a callback; the caller gives it back after that. The first may run user code. */
uint64_t uvch__watch_newest(const struct uvch__turn* t, const uvch_watch_receiver_t* rx);
struct uvch__snapshot uvch__snapshot_take(const struct uvch__turn* t, const uvch_watch_receiver_t* rx);
void uvch__snapshot_give(const struct uvch__turn* t, struct uvch__snapshot snapshot);

int uvch__watch_deliver(struct uvch__turn* t, uvch_handle_t* member);
void uvch__watch_dry(struct uvch__group* g, const uvch_handle_t* member);
int uvch__watch_has_more(struct uvch__group* g);
void uvch__watch_end_turn(struct uvch__group* g);
int uvch__watch_linger(struct uvch__turn* t);

/* uvch__watch_stop_nap: before a group's memory may go. Its thread. */
void uvch__watch_stop_nap(struct uvch__group* g);

#endif
