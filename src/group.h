/* SPDX-License-Identifier: MIT
 *
 * A group: the receivers of one broadcast channel on one loop; or one receiver that has no loop. It is what a send posts, so a
 * send costs by groups, not by receivers. The loop's thread hands messages around.
 *
 * Its members wait in lists, in whichever order they come:
 *
 *   ready  --pop--> hand --callbacks--> there is more: ready, at the end
 *                                       it has read everything: idle
 *                                       it is not started: stopped
 *
 * When the tail is not where the first of the idle ones has stopped, all of them are ready again. If it is, and `ready` is empty,
 * nobody has anything, and the group sleeps: its token goes into the core (park). As with a port, nothing is iterated across user
 * code: a nested run of the loop finds the member in the hand, and puts it back.
 *
 * `passed` is the position that no member is before. It is what the channel needs to know of a group: for the room of those who
 * wait, and for the life of nodes.
 *
 * The token has a reference, and so have all members together, and each turn that is running. When the loop is gone, the group is
 * cut off: its members do not count any more. */
#ifndef UVCH_SRC_GROUP_H
#define UVCH_SRC_GROUP_H

#include "broadcast.h"
#include "home.h"

struct uvch__group {
  struct uvch__endpoint ep;
  struct uvch__home home;
  struct uvch__broadcast* core;
  atomic_uint_least64_t passed; /* changed by its thread, under the lock where it goes back */
  atomic_uint refs;

  /* under the lock */
  uint32_t members; /* written by its thread only, which may read it without */
  struct uvch__group* next;
  uint64_t settled; /* passed, as the core last saw it */
  unsigned char is_parked;
  unsigned char is_linked; /* it is one of the core's */

  /* its thread's */
  unsigned char has_token; /* the token is here, not in the core, the port, or on its way */
  unsigned char is_dry;    /* members have read everything, at `dry_at` or later */
  uint32_t at_passed;      /* members that are there */
  uint64_t second;         /* no other member is before this */
  uint32_t dry_index;
  uint64_t dry_at;
  uint64_t told; /* passed, as it was settled last */
  struct uvch__list ready;
  struct uvch__list idle;
  struct uvch__list stopped;
  uvch_broadcast_receiver_t* hand;
};

/* In a member's flags: it was too slow, and has no group any more. */
enum { UVCH__CUT = 16 };

/* The link of a member. */
static inline struct uvch__list* uvch__member_link(uvch_broadcast_receiver_t* rx) {
  return (struct uvch__list*) (void*) rx->reserved;
}

static inline uvch_broadcast_receiver_t* uvch__member_at(struct uvch__list* link) {
  return UVCH__CONTAINER(link, uvch_broadcast_receiver_t, reserved);
}

static inline struct uvch__group* uvch__group_of(struct uvch__endpoint* ep) {
  return UVCH__CONTAINER(ep, struct uvch__group, ep);
}

extern const struct uvch__endpoint_ops uvch__group_ops; /* broadcast_turn.c */

/* The next of those that sleep: the holder of its token, the core, has the link. */
static inline struct uvch__group* uvch__next_parked(struct uvch__group* g) {
  return (struct uvch__group*) g->ep.next; /* `ep` is its first member */
}

/* All of these in the group's thread, if it does not say otherwise. */

/* uvch__group_get: the group of `port`, made if there is none; without a port always a new one. NULL: no memory.
 * uvch__group_join: one more member, which comes at once to a new group. It is stopped, and has everything before it that is sent
 * from now on. */
struct uvch__group* uvch__group_get(struct uvch__broadcast* c, struct uvch__port* port);
void uvch__group_join(struct uvch__group* g, uvch_broadcast_receiver_t* rx);

/* uvch__group_remove: one less. What it has not read is not for it any more, which may make work for uvch__serve(). The last one
 * ends the group. uvch__group_leave: both. May run user code. */
void uvch__group_remove(uvch_broadcast_receiver_t* rx);
void uvch__group_leave(uvch_broadcast_receiver_t* rx);

/* uvch__group_attach: a member without a loop gets one. */
void uvch__group_attach(uvch_broadcast_receiver_t* rx, struct uvch__port* port);

/* uvch__group_advance: a member has had `n` messages, or missed them. */
void uvch__group_passed(struct uvch__group* g);
static inline void uvch__group_advance(struct uvch__group* g, uvch_broadcast_receiver_t* rx, uint64_t n) {
  uint64_t passed = atomic_load_explicit(&g->passed, memory_order_relaxed); /* relaxed: our own */
  int is_slowest = rx->cursor == passed;

  rx->cursor += n;
  rx->index = uvch__index_add(g->core, rx->index, n < g->core->capacity ? (uint32_t) n : (uint32_t) (n % g->core->capacity));
  if (!is_slowest)
    return;
  if (--g->at_passed > 0) {
    if ((int64_t) (g->second - rx->cursor) > 0)
      g->second = rx->cursor;
  } else if ((int64_t) (g->second - rx->cursor) > 0) {
    g->at_passed = 1;
    atomic_store_explicit(&g->passed, rx->cursor, memory_order_release); /* [Y4] */
  } else {
    uvch__group_passed(g);
  }
}

/* uvch__group_gap: a member has found a gap: it goes on behind it, or, if that is the policy, it is removed. What it is to be
 * told: how many messages it has missed, or UV_ECONNABORTED. */
int uvch__group_gap(uvch_broadcast_receiver_t* rx);

/* uvch__group_settle: the core is told how far the group is, if it wants to know. May run user code. */
static inline void uvch__group_settle(struct uvch__group* g) {
  uint64_t passed = atomic_load_explicit(&g->passed, memory_order_relaxed); /* relaxed: our own */

  if (!g->core->settles || g->told == passed)
    return;
  g->told = passed;
  if (!g->core->has_nodes) {                                            /* they would have to be let go */
    atomic_exchange_explicit(&g->passed, passed, memory_order_seq_cst); /* [Y5] */
    if (!atomic_load_explicit(&g->core->waits, memory_order_seq_cst))   /* [Y5] */
      return;
  }
  uvch__serve(g->core, g);
}

/* uvch__group_note: the same, without more. The lock is held. */
void uvch__group_note(struct uvch__group* g);

/* uvch__group_park: the token goes into the core. 0: there is more, or the end. */
int uvch__group_park(struct uvch__group* g);

/* uvch__group_unpark: takes it back. 0: a poster has it, or the port. */
int uvch__group_unpark(struct uvch__group* g);

/* uvch__group_wake: the group has a turn, if its token can be had. */
void uvch__group_wake(struct uvch__group* g);

/* uvch__group_all_ready: all idle members are ready. */
void uvch__group_all_ready(struct uvch__group* g);

/* uvch__group_cut: its loop is gone. Any thread. The token's reference is let go. */
void uvch__group_cut(struct uvch__group* g);

void uvch__group_ref(struct uvch__group* g);
void uvch__group_unref(struct uvch__group* g); /* any thread */

/* uvch__group_runs_here: 1 if some group's loop runs in the calling thread. Any thread. */
int uvch__group_runs_here(struct uvch__broadcast* c);

/* uvch__group_look: how far the slowest group is. The lock is held. Any thread. */
void uvch__group_look(struct uvch__broadcast* c);

/* uvch__group_refork: in a forked child. For each member. */
void uvch__group_refork(uvch_broadcast_receiver_t* rx);

#endif
