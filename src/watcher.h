/* SPDX-License-Identifier: MIT
 *
 * Watchers: who waits for the end of a receiver, on loops and as threads. A list that only grows, without a lock: who has
 * finished leaves its node for the next one.
 *
 *   FREE --claim--> TAKEN --watch--> WAITING --tell or cancel--> TAKEN --free--> FREE
 *
 * Only who takes WAITING away may tell, or cancel. "I wait" against "it is over": who waits sets WAITING and then a bit in the
 * channel's state, by a read-modify-write; who ends sets another bit there in the same way, and tells if it finds the first. One of
 * the two comes first: either the end sees the node, or who waits sees the end, and tries to cancel.
 *
 * A node is counted, since who waits may look at it after the channel has gone, and the other way round.
 *
 * Edges:
 *   [V1] node   CAS or exchange of state, acq_rel: what is in the node is seen by who takes it over
 *   [V2] list   CAS of first, release; acquire by who walks */
#ifndef UVCH_SRC_WATCHER_H
#define UVCH_SRC_WATCHER_H

#include "atomic.h"

struct uvch__watcher {
  struct uvch__watcher* next;
  atomic_uint state;
  atomic_uint refs;
  void (*tell)(void* who, int status); /* its last touch of `who` */
  void* who;
  int is_thread;
};

struct uvch__watchers {
  _Atomic(struct uvch__watcher*) first;
};

/* uvch__watch_new: one more; NULL: no memory. Any thread that holds the channel. uvch__watch: it may be told from now on.
 * uvch__unwatch: who waited lets go of it, once it is told or cancelled. */
struct uvch__watcher* uvch__watch_new(struct uvch__watchers* w, void (*tell)(void* who, int status), void* who, int is_thread);
void uvch__watch(struct uvch__watcher* node);
void uvch__unwatch(struct uvch__watcher* node);

/* uvch__watch_cancel: 1: it will not be told. 0: it is, or just being. */
int uvch__watch_cancel(struct uvch__watcher* node);

/* For a forked child. uvch__watch_is_on: whether it waits. uvch__watchers_refork: threads do not wait any more. */
int uvch__watch_is_on(struct uvch__watcher* node);
void uvch__watchers_refork(struct uvch__watchers* w);

/* uvch__watchers_tell: all that wait. uvch__watchers_free: the channel goes. */
void uvch__watchers_tell(struct uvch__watchers* w, int status);
void uvch__watchers_free(struct uvch__watchers* w);

#endif
