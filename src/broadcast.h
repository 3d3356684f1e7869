/* SPDX-License-Identifier: MIT
 *
 * The core of a broadcast channel: what all ends share. Private, on the heap, counted.
 *
 * One lock, held for a bounded number of instructions, never over user code, an allocation or a system call. It orders all sends,
 * and a receiver that goes to sleep against them: senders take the groups that sleep out of the core under the lock, and post
 * them after it. Receivers of small messages read without it.
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
 * Edges:
 *   [Y1] slot     number and words stored with release, under the lock; loaded with acquire by readers, without it
 *   [Y2] tail     stored with release before [Y1], under the lock; loaded with acquire by readers that have missed something
 *   [Y3] closed   stored with release, under the lock, after the last send; loaded with acquire by readers
 *   [Y4] passed   stored with release by a group's thread; loaded under the lock by who looks for room
 *   [Y5] waits    set under the lock before passed is loaded by who is going to wait; loaded after an exchange of passed by the
 *                 group. All four are seq_cst: so either who waits sees the room, or the group sees that somebody waits
 *   [Y6] refs     of cores, groups and nodes: decremented acq_rel, who makes it 0 sees what all others did
 * and the lock. */
#ifndef UVCH_SRC_BROADCAST_H
#define UVCH_SRC_BROADCAST_H

#include <uv.h>
#include <uvch/broadcast.h>

#include "atomic.h"
#include "list.h"
#include "lock.h"

#define UVCH__INLINE_MAX 128 /* bytes of a message that lies in its slot */
#define UVCH__SENDERS_MAX (1u << 30)

struct uvch__group;
struct uvch__parker;

/* A message that is not in its slot. */
struct uvch__node {
  struct uvch__node* next; /* of those that are to be let go */
  atomic_size_t refs;
  _Alignas(max_align_t) char item[];
};

struct uvch__broadcast {
  char* slots;
  uint32_t item_size;
  uint32_t words; /* of a message in its slot; one more for its number, or for the node */
  uint32_t capacity;
  unsigned char policy;
  unsigned char has_nodes;
  unsigned char settles; /* groups tell how far they are: somebody may wait for room, or messages are nodes */
  uint8_t slack;         /* bytes between the allocation and this */
  atomic_uchar closed;   /* no sender is left */
  atomic_uchar waits;    /* somebody waits for room; changed under the lock */
  uint32_t weak;         /* weak senders; under the lock */
  uvch_copy_cb copy;
  uvch_drop_cb drop;
  void* arg;
  struct uvch__group* groups; /* under the lock, as all that is not atomic from here on */

  _Alignas(UVCH__LINE) atomic_uint_least64_t tail;
  atomic_uint_least64_t place; /* of the tail: the lower half of its position, and its index; in one, for a fork */
  struct uvch__group* parked;  /* groups that sleep: their tokens are here */
  uint64_t kept;
  uint64_t min;                /* no group was before it when it was last looked at */
  struct uvch__group* slowest; /* one that was there; NULL: it has gone */
  uint32_t receivers;
  uint32_t at_min; /* how many groups were at min */
  struct uvch__lock lock;
  uint32_t strong;            /* senders, and requests that wait to send */
  atomic_uint refs;           /* each sender, weak sender, group and request */
  struct uvch__list waiters;  /* for room */
  struct uvch__list watchers; /* for the end of the receivers */
};

/* Who waits for room, or for the end of the receivers: a request or a thread. */
struct uvch__bwaiter {
  struct uvch__list queue;
  void (*tell)(struct uvch__bwaiter* waiter); /* status is set; its last touch */
  const void* item;
  struct uvch__node* node;     /* the message, if it is one */
  struct uvch__parker* parker; /* of a thread; NULL: it is a request */
  int status;
  unsigned char is_watcher;   /* waits for the end */
  unsigned char is_queued;    /* under the lock */
  unsigned char is_cancelled; /* of a request, its loop's */
};

/* For tests: the position of the first message of channels that are made from now on. */
extern uint64_t uvch__broadcast_first;

static inline uint64_t uvch__tail_load(struct uvch__broadcast* c) {
  return atomic_load_explicit(&c->tail, memory_order_acquire); /* [Y2] */
}

static inline int uvch__broadcast_is_closed(struct uvch__broadcast* c) {
  return atomic_load_explicit(&c->closed, memory_order_acquire); /* [Y3] */
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

/* broadcast.c: life. */
void uvch__broadcast_ref(struct uvch__broadcast* c);
void uvch__broadcast_unref(struct uvch__broadcast* c);

/* Counts of senders; 0 for NULL. Any thread. */
size_t uvch__strong_count(struct uvch__broadcast* c);
size_t uvch__weak_count(struct uvch__broadcast* c);

/* broadcast_recv.c: what every way to a new receiver comes to. As uvch_broadcast_subscribe(). */
int uvch__subscribe(struct uvch__broadcast* c, uv_loop_t* loop, uvch_broadcast_receiver_t* rx);

/* What is to be done once the lock is given up. */
struct uvch__due {
  struct uvch__group* groups; /* to be posted */
  struct uvch__node* nodes;   /* to be let go, oldest first */
  struct uvch__node** last;
  struct uvch__list told; /* waiters to be told */
};

static inline void uvch__due_init(struct uvch__due* due) {
  due->groups = NULL;
  due->nodes = NULL;
  due->last = &due->nodes;
  uvch__list_init(&due->told);
}

/* uvch__due_do: does it. May run user code. */
void uvch__due_do_all(struct uvch__broadcast* c, struct uvch__due* due);
static inline void uvch__due_do(struct uvch__broadcast* c, struct uvch__due* due) {
  if (due->groups != NULL || due->nodes != NULL || !uvch__list_is_empty(&due->told))
    uvch__due_do_all(c, due);
}

/* broadcast_ring.c: the messages. */

/* uvch__node_new: with one reference; NULL: no memory. uvch__node_unref: the last one ends the value, which may run user code.
 * uvch__node_free: the value is the caller's again. */
struct uvch__node* uvch__node_new(struct uvch__broadcast* c, const void* item);
void uvch__node_unref(struct uvch__broadcast* c, struct uvch__node* node);
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
    return uvch__tail_load(c) != position;
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

/* broadcast_send.c: those who wait. */

/* uvch__serve: who waits for room, or for the end of the receivers, gets it if it is there; nodes that all have passed go. `g` is
 * a group that has got on, in its thread, or NULL. Takes the lock; may run user code. */
void uvch__serve(struct uvch__broadcast* c, struct uvch__group* g);

/* uvch__take_parked: groups that sleep are to be posted. The lock is held. */
void uvch__take_all_parked(struct uvch__broadcast* c, struct uvch__due* due);
static inline void uvch__take_parked(struct uvch__broadcast* c, struct uvch__due* due) {
  if (c->parked != NULL) /* or they are due already */
    uvch__take_all_parked(c, due);
}

/* uvch__put_strong: one sender less; the last one is the end. The lock is held. */
void uvch__put_strong(struct uvch__broadcast* c, struct uvch__due* due);

/* uvch__may_send: what a send would say now: 0 or an error. So a message that is to be a node is not made for nothing. Takes the
 * lock. */
int uvch__may_send(struct uvch__broadcast* c);

/* uvch__bwait: as if its message were sent, but instead of UV_EAGAIN the waiter queues, and will be told. A watcher queues if
 * there is a receiver, else 0. uvch__bwait_cancel: 1: it will not be told. */
int uvch__bwait(struct uvch__broadcast* c, struct uvch__bwaiter* waiter);
int uvch__bwait_cancel(struct uvch__broadcast* c, struct uvch__bwaiter* waiter);

/* uvch__broadcast_refork: in a forked child: a new lock, and no threads that wait. */
void uvch__broadcast_refork(struct uvch__broadcast* c);

#endif
