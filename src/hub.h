/* SPDX-License-Identifier: MIT
 *
 * What the core of every channel with many receivers begins with: its lock, its ends, its groups of receivers (see group.h), and
 * who waits for the end of the receivers. Private, on the heap, counted.
 *
 * One lock, held for a bounded number of instructions, never over user code, an allocation or a system call. It orders all sends,
 * and a receiver that goes to sleep against them: senders take the groups that sleep out of the core under the lock, and post
 * them after it.
 *
 * `tail` is the position of the next message, or the version of the value. It wraps around.
 *
 * Edges:
 *   [Y2] tail     stored with release, under the lock; loaded with acquire by receivers without it
 *   [Y3] closed   stored with release, under the lock, after the last send; loaded with acquire by readers
 *   [Y6] refs     of cores, groups and broadcast's nodes: decremented acq_rel, who makes it 0 sees what all others did
 * and the lock. */
#ifndef UVCH_SRC_HUB_H
#define UVCH_SRC_HUB_H

#include <uv.h>
#include <uvch/core.h>

#include "atomic.h"
#include "endpoint.h"
#include "list.h"
#include "lock.h"

#define UVCH__SENDERS_MAX (1u << 30)

struct uvch__due;
struct uvch__group;
struct uvch__hub;
struct uvch__parker;
struct uvch__turn;
struct uvch__waiter;

/* A message or value on the heap, as the kind counts it. */
struct uvch__node {
  struct uvch__node* next;
  atomic_size_t refs;
  _Alignas(max_align_t) char item[];
};

/* What a kind does. */
struct uvch__hub_ops {
  size_t group_size; /* of the kind's own struct, which begins with a group */
  int has_rounds;    /* who has seen everything waits until all others have, before it is looked for more */

  /* Under the lock. */
  void (*join)(struct uvch__group* g, uvch_handle_t* member);                         /* a new member */
  void (*move)(struct uvch__group* g, struct uvch__group* to, uvch_handle_t* member); /* the only one of `g` is now in `to` */
  void (*link)(struct uvch__group* g);                                                /* a group has come */
  void (*unlink)(struct uvch__group* g);                                              /* a group has gone */

  /* Takes the lock. May run user code. */
  void (*serve)(struct uvch__hub* h);                           /* members have left: what waited for that */
  void (*let_go)(struct uvch__hub* h, struct uvch__node* node); /* the lock's holder was done with it */
  void (*free)(struct uvch__hub* h);                            /* nobody has it any more */

  /* For who waits for something else than the end of the receivers, see uvch__hub_wait(). */
  int (*wait)(struct uvch__hub* h, struct uvch__waiter* waiter);
  int (*cancel)(struct uvch__hub* h, struct uvch__waiter* waiter);
  void (*refork)(struct uvch__hub* h); /* a forked child: what other threads were in the middle of */

  void (*call)(uvch_req_t* req, int status); /* the callback of a request that has waited */

  /* The group's turn, on its thread, see group_turn.c. May run user code, but for `dry` and `has_more`.
   *
   *   deliver   a member's callbacks. 1: there is more
   *   settle    after that
   *   dry       a member has seen everything: where it has stopped, unless another one is behind it
   *   has_more  something has come since
   *   linger    lets some come together first. 0: it does not pay; below 0: the token is the group's until it wakes itself
   *   end_turn  the turn is over */
  int (*deliver)(struct uvch__turn* t, uvch_handle_t* member);
  void (*settle)(struct uvch__group* g);
  void (*dry)(struct uvch__group* g, const uvch_handle_t* member);
  int (*has_more)(struct uvch__group* g);
  int (*linger)(struct uvch__turn* t);
  void (*end_turn)(struct uvch__group* g);
};

/* Two lines, one that is read and one that is written, and what is rare. */
struct uvch__hub {
  const struct uvch__hub_ops* ops;
  uvch_copy_cb copy;
  uvch_drop_cb drop;
  void* arg;
  uint32_t item_size;
  uint32_t weak;              /* weak senders; under the lock, as all that is not atomic from here on */
  struct uvch__group* groups; /* linked by `next` */
  uint8_t slack;              /* bytes between the allocation and this */
  atomic_uchar closed;        /* no sender is left */
  unsigned char reserved[UVCH__LINE - 5 * sizeof(void*) - 2 * sizeof(uint32_t) - 2];

  atomic_uint_least64_t tail;
  struct uvch__group* parked; /* groups that sleep: their tokens are here */
  uint32_t receivers;
  uint32_t strong;      /* senders, and requests that wait to send */
  atomic_uint refs;     /* each sender, weak sender, group and request */
  uint32_t spare_count; /* these three are for a kind that has one value, see watch.h: they are written with the lock */
  struct uvch__node* current;
  struct uvch__node* spares;
  struct uvch__lock lock;     /* its word is in this line, the rest is rare */
  struct uvch__list watchers; /* who waits for the end of the receivers */
};

/* Who waits at a channel: a request or a thread. */
struct uvch__waiter {
  struct uvch__list queue;
  void (*tell)(struct uvch__waiter* waiter); /* status is set; its last touch */
  const void* item;                          /* to be sent */
  struct uvch__node* node;                   /* the same, if it is one */
  struct uvch__parker* parker;               /* of a thread; NULL: it is a request */
  int status;
  unsigned char is_watcher;   /* waits for the end of the receivers */
  unsigned char is_queued;    /* under the lock */
  unsigned char is_cancelled; /* of a request, its loop's */
};

static inline uint64_t uvch__tail_load(struct uvch__hub* h) {
  return atomic_load_explicit(&h->tail, memory_order_acquire); /* [Y2] */
}

static inline int uvch__hub_is_closed(struct uvch__hub* h) {
  return atomic_load_explicit(&h->closed, memory_order_acquire); /* [Y3] */
}

/* uvch__hub_new: all 0 but `ops` and what every channel has; the caller is its sender. `size`: of the kind's core, which begins
 * with a hub. uvch__hub_delete: its memory. uvch__hub_unref: the last one frees it. */
void* uvch__hub_new(size_t size, const struct uvch__hub_ops* ops);
void uvch__hub_delete(struct uvch__hub* h);
void uvch__hub_ref(struct uvch__hub* h);
void uvch__hub_unref(struct uvch__hub* h);

/* uvch__hub_add: one more of `count`, one of the hub's, and a reference, if there are not too many, and there is one already if
 * `needs_one`. uvch__hub_put: one less. uvch__hub_count: how many. Any thread. */
int uvch__hub_add(struct uvch__hub* h, uint32_t* count, int needs_one);
void uvch__hub_put(struct uvch__hub* h, uint32_t* count);
size_t uvch__hub_count(struct uvch__hub* h, const uint32_t* count);

/* uvch__put_strong: one sender less; the last one is the end. The lock is held. */
void uvch__put_strong(struct uvch__hub* h, struct uvch__due* due);

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

static inline void uvch__due_add_node(struct uvch__due* due, struct uvch__node* node) {
  node->next = NULL;
  *due->last = node;
  due->last = &node->next;
}

/* uvch__due_do: does it. May run user code. */
void uvch__due_do_all(struct uvch__hub* h, struct uvch__due* due);
static inline void uvch__due_do(struct uvch__hub* h, struct uvch__due* due) {
  if (due->groups != NULL || due->nodes != NULL || !uvch__list_is_empty(&due->told))
    uvch__due_do_all(h, due);
}

/* uvch__take_parked: groups that sleep are to be posted. The lock is held. */
void uvch__take_all_parked(struct uvch__hub* h, struct uvch__due* due);
static inline void uvch__take_parked(struct uvch__hub* h, struct uvch__due* due) {
  if (h->parked != NULL) /* or they are due already */
    uvch__take_all_parked(h, due);
}

/* hub_wait.c: those who wait. */

/* uvch__hub_wait: 0 or above: there is nothing to wait for; UV_EAGAIN: it queues, and will be told; another error.
 * uvch__hub_wait_cancel: 1: it will not be told. */
int uvch__hub_wait(struct uvch__hub* h, struct uvch__waiter* waiter);
int uvch__hub_wait_cancel(struct uvch__hub* h, struct uvch__waiter* waiter);

/* uvch__waiter_is_due: out of its queue, and told after the lock. The lock is held. */
void uvch__waiter_is_due(struct uvch__waiter* waiter, int status, struct uvch__due* due);

/* uvch__watchers_are_due: at most `max` of those who wait for the end of the receivers, if it is there. How many. The lock is
 * held. */
int uvch__watchers_are_due(struct uvch__hub* h, int max, struct uvch__due* due);

/* uvch__hub_sleep: the thread waits. What uvch__hub_wait() says, or how it was told; UV_ETIMEDOUT, UV_EPERM, UV_ENOMEM. */
int uvch__hub_sleep(struct uvch__hub* h, struct uvch__waiter* waiter, uint64_t deadline);

/* uvch__hub_request: a request waits; it has what it needs to know in `waiter`. 0 or an error. */
int uvch__hub_request(uv_loop_t* loop, uvch_req_t* req, uvch_req_type type, struct uvch__hub* h, struct uvch__waiter waiter);

/* uvch__hub_closed_wait: the thread sleeps until there is no receiver. */
int uvch__hub_closed_wait(struct uvch__hub* h, uint64_t timeout);

/* uvch__hub_refork: in a forked child: a new lock, and no threads that wait. uvch__keep_requests: not in that queue. */
void uvch__hub_refork(struct uvch__hub* h);
void uvch__keep_requests(struct uvch__list* queue);

#endif
