/* SPDX-License-Identifier: MIT
 *
 * Who waits for room in a bounded channel, to send or to reserve: one queue for threads and requests, first come, first served.
 * Who frees room moves the first message in; nobody claims past the queue, and if the first one needs more places than are free
 * nobody behind it is served. And who waits for the end of the channel, the watchers.
 *
 * "I wait" against "there is room", without a fence: the waiter queues, sets WAITERS under the lock, and unlocks. *Every unlock
 * that leaves somebody queued is followed by exchange(wanted, 1) and then a look at word and head: room for the first one, or
 * CLOSED, means try the lock and serve.* Who frees room does exchange(wanted, 0) after it, at the latest when it stops taking
 * messages for now; if 1 came out it tries the lock and serves; if the lock is taken it goes. Why that is enough: if the freer's
 * exchange came before the last arming, the look after that sees the room; if after, it got the 1, and a failed try means that a
 * holder is still to unlock, arm and look. Both sides exchange, since a failed try synchronizes nothing. The same with `watched`
 * for watchers, whom only a close concerns. A server may clear `wanted` before its unlock, since it arms after that.
 *
 * A waiter is QUEUED under the lock, then MOVING: its message is copied by the server without the lock, and stays put. Only where
 * a part of several messages goes in, the waiter stays QUEUED and the copy is made under the lock. Cancel and timeout decide under
 * the lock. Telling the waiter is the server's last touch of it.
 *
 * Edges:
 *   [W1] wanted, watched  exchange, acq_rel, on both sides
 *   [W2] queue            CAS, release, by who makes it; acquire by who finds it
 * and the lock. */
#ifndef UVCH_SRC_QUEUE_H
#define UVCH_SRC_QUEUE_H

#include <uv.h>

#include "core.h"
#include "list.h"
#include "parker.h"

enum { UVCH__IDLE, UVCH__QUEUED, UVCH__MOVING };
enum { UVCH__SEND, UVCH__RESERVE, UVCH__WATCH };

struct uvch__queue {
  uv_mutex_t lock;
  struct uvch__list list;
  struct uvch__list watchers;
  atomic_uint waiting;              /* how many are in `list`; changed under the lock */
  struct uvch__parker_pool parkers; /* of senders, and of a receiver without a loop; popped under the lock */

  /* What most channels do not have. */
  uvch_drop_cb drop;
  void* arg;
  char name[UVCH_NAME_MAX + 1];
};

struct uvch__waiter {
  struct uvch__list queue;
  void (*tell)(struct uvch__waiter* waiter, struct uvch__core* c); /* status is set; its last touch */
  const void* item;                                                /* the messages that are not in yet */
  struct uvch__parker* parker;                                     /* of a thread */
  size_t count;                                                    /* messages that are not in yet, or places to reserve */
  size_t sent;                                                     /* messages that are in */
  int status;
  unsigned char kind;
  unsigned char state;  /* under the lock */
  unsigned char is_off; /* of a request: its server has counted it off as a sender; for a forked child */
};

/* uvch__queue_get: the channel's queue, made if there is none; NULL: no memory. Any thread. */
struct uvch__queue* uvch__queue_get(struct uvch__core* c);

/* uvch__queue_parker: a parker from the channel's pool; NULL: no memory. Any thread. */
struct uvch__parker* uvch__queue_parker(struct uvch__core* c, struct uvch__queue* q);

/* uvch__queue_wait: queue a waiter whose kind, tell, item and count are set. 0: tell will be called, or uvch__queue_cancel().
 * UV_EPIPE: closed. */
int uvch__queue_wait(struct uvch__core* c, struct uvch__queue* q, struct uvch__waiter* waiter);

/* uvch__queue_cancel: 1: it will not be told, and no more of its messages will be touched. 0: too late. */
int uvch__queue_cancel(struct uvch__core* c, struct uvch__waiter* waiter);

/* uvch__ask: room was freed: serve who waits for it. uvch__ask_closed: the channel closed: tell everybody. */
void uvch__ask(struct uvch__core* c);
void uvch__ask_closed(struct uvch__core* c);

/* uvch__queue_refork: in a forked child: a new lock, and no threads in the queue. */
void uvch__queue_refork(struct uvch__core* c);

/* uvch__queue_free: the core goes. */
void uvch__queue_free(struct uvch__queue* q);

#endif
