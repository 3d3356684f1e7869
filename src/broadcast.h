/* SPDX-License-Identifier: MIT
 *
 * The core of a broadcast channel, see hub.h for what it shares with others.
 *
 * Positions count messages, wrap around, and are compared by their difference. Where one of them is also a place in the ring, the
 * index goes along with it, since a capacity need not divide 2^64.
 *
 *            kept                 min                      tail
 *   ----------+--------------------+------------------------+----------->  positions
 *    gone     | nodes that are     | some group has not     | next send
 *             | to be let go       | read it                |
 *
 * Small messages without functions of their own lie in the slots, in whole words. A slot's number says what is in it:
 *
 *   2p + 1    message p is being written             2p + 2    message p is there
 *
 * so a reader that finds the number of its position before and after copying has the message; a smaller one: not sent yet; a
 * greater one: overwritten. Sends write the number, the words, the number, each with release, after the tail; readers load with
 * acquire. So who has copied a word of a later message sees the later number, and who sees that sees the later tail [Y1].
 *
 * All other messages are nodes, counted: the ring has one reference, each reader one while it looks. A node is taken out of the
 * ring, under the lock, when all groups have passed it, or by the send that overwrites it.
 *
 * A group's `passed` is the position that no member is before. It is what the channel needs to know of it: for the room of those
 * who wait, and for the life of nodes.
 *
 * Edges, and those of hub.h:
 *   [Y1] slot     number and words stored with release, under the lock; loaded with acquire by readers, without it
 *   [Y4] passed   stored with release by a group's thread; loaded under the lock by who looks for room
 *   [Y5] waits    set under the lock before passed is loaded by who is going to wait; loaded after an exchange of passed by the
 *                 group. All four are seq_cst: so either who waits sees the room, or the group sees that somebody waits */
#ifndef UVCH_SRC_BROADCAST_H
#define UVCH_SRC_BROADCAST_H

#include <uvch/broadcast.h>

#include "group.h"

#define UVCH__INLINE_MAX 128 /* bytes of a message that lies in its slot */

struct uvch__broadcast {
  struct uvch__hub hub;
  char* slots;
  uint32_t words; /* of a message in its slot; one more for its number, or for the node */
  uint32_t capacity;
  unsigned char policy;
  unsigned char has_nodes;
  unsigned char settles;       /* groups tell how far they are: somebody may wait for room, or messages are nodes */
  atomic_uchar waits;          /* somebody waits for room; changed under the lock */
  uint32_t at_min;             /* how many groups were at min; under the lock, as the rest */
  atomic_uint_least64_t place; /* of the tail: the lower half of its position, and its index; in one, for a fork */
  uint64_t kept;
  uint64_t min;                 /* no group was before it when it was last looked at */
  struct uvch__bgroup* slowest; /* one that was there; NULL: it has gone */
  struct uvch__list waiters;    /* for room */
};

/* A group, and how far it is. */
struct uvch__bgroup {
  struct uvch__group group;
  atomic_uint_least64_t passed; /* changed by its thread, under the lock where it goes back */
  uint64_t settled;             /* passed, as the core last saw it; under the lock */

  /* its thread's */
  uint64_t second;    /* no other member is before this */
  uint64_t told;      /* passed, as it was settled last */
  uint32_t at_passed; /* members that are there */
  uint32_t dry_index; /* of dry_at */
};

/* For tests: the position of the first message of channels that are made from now on. */
extern uint64_t uvch__broadcast_first;

static inline struct uvch__broadcast* uvch__broadcast_at(struct uvch__hub* h) {
  return (struct uvch__broadcast*) h; /* its first member */
}

static inline struct uvch__bgroup* uvch__bgroup_at(struct uvch__group* g) {
  return (struct uvch__bgroup*) g; /* its first member */
}

/* The group's, and the receiver's. */
static inline struct uvch__broadcast* uvch__bgroup_core(const struct uvch__bgroup* g) {
  return uvch__broadcast_at(g->group.hub);
}

/* The index of the tail. The lock is held. */
static inline uint32_t uvch__tail_index(struct uvch__broadcast* c) {
  return (uint32_t) atomic_load_explicit(&c->place, memory_order_relaxed); /* relaxed: the lock */
}

static inline void uvch__set_tail_index(struct uvch__broadcast* c, uint64_t tail, uint32_t index) {
  atomic_store_explicit(&c->place, tail << 32 | index, memory_order_relaxed); /* relaxed: the lock */
}

static inline struct uvch__broadcast* uvch__broadcast_of(const uvch_broadcast_sender_t* tx) {
  return tx != NULL ? uvch__ptr_load(&tx->core) : NULL;
}

/* The place `n` places further in the ring; n is at most the capacity. */
static inline uint32_t uvch__index_add(const struct uvch__broadcast* c, uint32_t index, uint32_t n) {
  index += n;
  return index >= c->capacity ? index - c->capacity : index;
}

/* broadcast.c: counts of senders; 0 for NULL. Any thread. */
size_t uvch__strong_count(struct uvch__broadcast* c);
size_t uvch__weak_count(struct uvch__broadcast* c);

/* broadcast_recv.c: what every way to a new receiver comes to. As uvch_broadcast_subscribe(). */
int uvch__subscribe(struct uvch__broadcast* c, uv_loop_t* loop, uvch_broadcast_receiver_t* rx);

/* broadcast_ring.c: the messages. */

/* uvch__node_new: with one reference; NULL: no memory. uvch__node_unref: the last one ends the value, which may run user code.
 * uvch__node_free: the value is the caller's again. */
struct uvch__node* uvch__node_new(struct uvch__broadcast* c, const void* item);
void uvch__node_unref(struct uvch__hub* h, struct uvch__node* node);
void uvch__node_free(struct uvch__node* node);

/* uvch__ring_put: the next message, in its slot or as a node that holds it already. The lock is held. */
void uvch__ring_put(struct uvch__broadcast* c, const void* item, struct uvch__node* node, struct uvch__due* due);

/* uvch__ring_release: takes out nodes that all groups have passed, a bounded number. The lock is held. 1: there are more. */
int uvch__ring_release(struct uvch__broadcast* c, struct uvch__due* due);

/* uvch__ring_refork: in a forked child: a send that another thread was in the middle of is taken back, or done. */
void uvch__ring_refork(struct uvch__broadcast* c);

/* A receiver's next message. */
enum uvch__found { UVCH__NOTHING, UVCH__FOUND, UVCH__GAP };

static inline uint64_t uvch__slot_number(uint64_t position) {
  return 2 * position + 2;
}

static inline size_t uvch__slot_size(const struct uvch__broadcast* c) {
  return (1 + (size_t) c->words) * 8;
}

static inline atomic_uint_least64_t* uvch__broadcast_slot(const struct uvch__broadcast* c, uint32_t index) {
  return (atomic_uint_least64_t*) (void*) (c->slots + (size_t) index * uvch__slot_size(c));
}

/* uvch__ring_has: whether there is a message, or was one, at that place. A line that readers touch anyway, if it can be. */
static inline int uvch__ring_has(struct uvch__broadcast* c, uint32_t index, uint64_t position) {
  uint64_t number;

  if (c->has_nodes)
    return uvch__tail_load(&c->hub) != position;
  number = atomic_load_explicit(uvch__broadcast_slot(c, index), memory_order_acquire); /* [Y1] */
  return (int64_t) (number - uvch__slot_number(position)) >= 0;
}

/* uvch__ring_read: copies the message that is `ahead` places further to `to`, in whole words. Without the lock, in the receiver's
 * thread. */
static inline enum uvch__found uvch__ring_read(const struct uvch__broadcast* c, const uvch_broadcast_receiver_t* rx,
                                               uint32_t ahead, uint64_t* to) {
  atomic_uint_least64_t* slot = uvch__broadcast_slot(c, uvch__index_add(c, rx->index, ahead));
  uint64_t want = uvch__slot_number(rx->cursor + ahead);
  uint64_t number = atomic_load_explicit(slot, memory_order_acquire); /* [Y1] */
  uint32_t i;

  if (number != want)
    return (int64_t) (number - want) < 0 ? UVCH__NOTHING : UVCH__GAP;
  if (c->words == 1)
    to[0] = atomic_load_explicit(&slot[1], memory_order_acquire); /* [Y1] */
  for (i = 0; c->words > 1 && i < c->words; i++)
    to[i] = atomic_load_explicit(&slot[1 + i], memory_order_acquire);                        /* [Y1] */
  return atomic_load_explicit(slot, memory_order_acquire) == want ? UVCH__FOUND : UVCH__GAP; /* [Y1] */
}

/* uvch__ring_pin: a reference to each of the next messages, which are nodes, `*count` at most; how many is in `count`. Takes the
 * lock. */
enum uvch__found uvch__ring_pin(struct uvch__broadcast* c, const uvch_broadcast_receiver_t* rx, struct uvch__node** nodes,
                                uint32_t* count);

/* uvch__ring_gap: how many messages a receiver has missed that has found a gap; at least 1. */
uint64_t uvch__ring_gap(struct uvch__broadcast* c, const uvch_broadcast_receiver_t* rx);

/* broadcast_send.c */

/* uvch__serve: who waits for room, or for the end of the receivers, gets it if it is there; nodes that all have passed go. `g` is
 * a group that has got on, or lost a member, in its thread, or NULL. Takes the lock; may run user code. */
void uvch__serve(struct uvch__broadcast* c, struct uvch__bgroup* g);

/* uvch__bwait: as if its message were sent, but instead of UV_EAGAIN the waiter queues, and will be told, and is a sender until
 * then if it is a request. uvch__bwait_cancel: 1: it will not be told. */
int uvch__bwait(struct uvch__hub* h, struct uvch__waiter* waiter);
int uvch__bwait_cancel(struct uvch__hub* h, struct uvch__waiter* waiter);

/* uvch__broadcast_refork: in a forked child: what another thread was in the middle of, and no threads that wait for room. */
void uvch__broadcast_refork(struct uvch__hub* h);

/* broadcast_group.c: how far groups are. */

void uvch__bgroup_join(struct uvch__group* g, uvch_handle_t* member);
void uvch__bgroup_move(struct uvch__group* g, struct uvch__group* to, uvch_handle_t* member);
void uvch__bgroup_link(struct uvch__group* g);
void uvch__bgroup_unlink(struct uvch__group* g);

/* uvch__bgroup_remove: a member leaves; what it has not read is not for it any more, which uvch__serve() has to know, with its
 * group. uvch__bgroup_leave: both. May run user code. */
void uvch__bgroup_remove(uvch_broadcast_receiver_t* rx);
void uvch__bgroup_leave(uvch_broadcast_receiver_t* rx);

/* uvch__bgroup_advance: a member has had `n` messages, or missed them. */
void uvch__bgroup_passed(struct uvch__bgroup* g);
static inline void uvch__bgroup_advance(struct uvch__bgroup* g, uvch_broadcast_receiver_t* rx, uint64_t n) {
  struct uvch__broadcast* c = uvch__bgroup_core(g);
  uint64_t passed = atomic_load_explicit(&g->passed, memory_order_relaxed); /* relaxed: our own */
  int is_slowest = rx->cursor == passed;

  rx->cursor += n;
  rx->index = uvch__index_add(c, rx->index, n < c->capacity ? (uint32_t) n : (uint32_t) (n % c->capacity));
  if (!is_slowest)
    return;
  if (--g->at_passed > 0) {
    if ((int64_t) (g->second - rx->cursor) > 0)
      g->second = rx->cursor;
  } else if ((int64_t) (g->second - rx->cursor) > 0) {
    g->at_passed = 1;
    atomic_store_explicit(&g->passed, rx->cursor, memory_order_release); /* [Y4] */
  } else {
    uvch__bgroup_passed(g);
  }
}

/* uvch__bgroup_gap: a member has found a gap: it goes on behind it, or, if that is the policy, it is removed. What it is to be
 * told: how many messages it has missed, or UV_ECONNABORTED. */
int uvch__bgroup_gap(uvch_broadcast_receiver_t* rx);

/* uvch__bgroup_settle: the core is told how far the group is, if it wants to know. May run user code. */
void uvch__bgroup_settle(struct uvch__group* g);

/* uvch__bgroup_note: the same, without more. The lock is held. */
void uvch__bgroup_note(struct uvch__bgroup* g);

/* uvch__bgroup_look: how far the slowest group is. The lock is held. Any thread. */
void uvch__bgroup_look(struct uvch__broadcast* c);

/* broadcast_turn.c */
int uvch__broadcast_deliver(struct uvch__turn* t, uvch_handle_t* member);
void uvch__broadcast_dry(struct uvch__group* g, const uvch_handle_t* member);
int uvch__broadcast_has_more(struct uvch__group* g);
int uvch__broadcast_linger(struct uvch__turn* t);

#endif
