/* SPDX-License-Identifier: MIT
 *
 * A group: the receivers of one channel on one loop; or one receiver that has no loop. It is what a send posts, so a send
 * costs by groups, not by receivers. The loop's thread hands messages around.
 *
 * Its members wait in lists, in whichever order they come:
 *
 *   ready  --pop--> hand --callbacks--> there is more: ready, at the end
 *                                       it has seen everything: idle
 *                                       it is not started: stopped
 *
 * When the tail is not where the first of the idle ones has stopped, all of them are ready again. If it is, and `ready` is
 * empty, nobody has anything, and the group sleeps: its token goes into the core (park). As with a port, nothing is iterated
 * across user code: a nested run of the loop finds the member in the hand, and puts it back.
 *
 * The token has a reference, and so have all members together, and each turn that is running. When the loop is gone, the
 * group is cut off: its members do not count any more. */
#ifndef UVCH_SRC_GROUP_H
#define UVCH_SRC_GROUP_H

#include "handle.h"
#include "home.h"
#include "hub.h"

struct uvch__group {
  struct uvch__endpoint ep;
  struct uvch__home home;
  struct uvch__hub* hub;
  atomic_uint refs;

  /* under the lock */
  uint32_t members; /* written by its thread only, which may read it without */
  struct uvch__group* next;
  unsigned char is_parked;
  unsigned char is_linked; /* it is one of the core's */

  /* its thread's */
  unsigned char has_token; /* the token is here, not in the core, the port, or on its way */
  unsigned char is_dry;    /* members have seen everything, to `dry_at` or further */
  uint64_t dry_at;
  struct uvch__list ready;
  struct uvch__list idle;
  struct uvch__list stopped;
  uvch_handle_t* hand;
};

/* What is left of a turn. */
struct uvch__turn {
  struct uvch__group* g;
  struct uvch__port* port;
  uint64_t from;        /* where it began, or lingered last */
  int is_closed;        /* before the member's first look: nothing comes after what it finds */
  uint32_t left;        /* messages of the group's */
  uint32_t member_left; /* messages of the member's */
};

/* In a member's flags: it was too slow, and has no group any more; it has a request that waits. */
enum { UVCH__CUT = 16, UVCH__WAITING = 32 };

/* The link of a member. */
static inline struct uvch__list* uvch__member_link(uvch_handle_t* member) {
  return (struct uvch__list*) (void*) member->reserved;
}

static inline uvch_handle_t* uvch__member_at(struct uvch__list* link) {
  return UVCH__CONTAINER(link, uvch_handle_t, reserved);
}

/* It has something to look for. */
static inline int uvch__member_is_started(const uvch_handle_t* member) {
  return (member->flags & (UVCH__ACTIVE | UVCH__WAITING)) != 0;
}

/* The next of those that sleep: the holder of its token, the core, has the link. */
static inline struct uvch__group* uvch__next_parked(struct uvch__group* g) {
  return (struct uvch__group*) g->ep.next; /* `ep` is its first member */
}

/* All of these in the group's thread, if it does not say otherwise. */

/* uvch__group_subscribe: `rx` is a new member, made as a handle of `type`, on `loop`, or on none. It is stopped, and has
 * everything before it that is sent from now on. 0, UV_EPERM, UV_ENOMEM, UV_EMFILE. */
int uvch__group_subscribe(struct uvch__hub* h, uv_loop_t* loop, uvch_handle_t* member, uvch_handle_type type);

/* uvch__group_remove: one member less. The last one ends the group. There may be work for ops->serve(). */
void uvch__group_remove(uvch_handle_t* member);

/* uvch__group_attach: a member without a loop gets one. */
void uvch__group_attach(uvch_handle_t* member, struct uvch__port* port);

/* uvch__group_start: a member has something to look for. */
void uvch__group_start(uvch_handle_t* member);

/* uvch__group_wake: the group has a turn, if its token can be had. */
void uvch__group_wake(struct uvch__group* g);

/* uvch__group_sleep: for a member without a loop: the thread sleeps until the tail is not `at` any more, or the end. 0 (look
 * again), UV_ETIMEDOUT, UV_ENOMEM. */
int uvch__group_sleep(struct uvch__group* g, uint64_t at, uint64_t deadline);

/* uvch__group_park: the token goes into the core. 0: there is more, or the end. */
int uvch__group_park(struct uvch__group* g);

/* uvch__group_all_ready: all idle members are ready. */
void uvch__group_all_ready(struct uvch__group* g);

/* uvch__group_runs_here: 1 if some group's loop runs in the calling thread. Any thread. */
int uvch__group_runs_here(struct uvch__hub* h);

/* uvch__group_refork: in a forked child. For each member. */
void uvch__group_refork(uvch_handle_t* member);

void uvch__group_ref(struct uvch__group* g);
void uvch__group_unref(struct uvch__group* g); /* any thread */

extern const struct uvch__endpoint_ops uvch__group_ops;

/* group_turn.c: callbacks on a loop. */

void uvch__group_turn(struct uvch__endpoint* ep, struct uvch__port* port);

/* uvch__turn_goes_on: after user code: whether the member, if it still is one, goes on. */
int uvch__turn_goes_on(const struct uvch__turn* t, const uvch_handle_t* member);

/* uvch__turn_spend: n messages are delivered; 1 if there may be more. */
int uvch__turn_spend(struct uvch__turn* t, uint32_t n);

#endif
