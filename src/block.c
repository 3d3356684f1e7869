/* SPDX-License-Identifier: MIT
 *
 * See block.h for the protocol. */
#include "block.h"

#include <sched.h>

#include "alloc.h"
#include "core.h"
#include "hot.h"

enum { NOTHING = 0, PARKED = 1, KILLED = 2 }; /* no block has such an address */

#define COUNT_MIN 16
#define COUNT_MAX 512
#define BYTES_MAX 16384 /* of slots, where one slot is not larger */
#define BEHIND 262144   /* bytes of slots */

/* Blocks that a sender has made sure of before its claim. */
struct hand {
  struct uvch__block* top;
  uint64_t slots;
};

static struct uvch__block* block_of(struct uvch__block_head* h) {
  return UVCH__CONTAINER(h, struct uvch__block, head);
}

static uint64_t count_at(const struct uvch__core* c, uint64_t limit) {
  uint64_t count = limit < COUNT_MIN ? COUNT_MIN : limit > COUNT_MAX ? COUNT_MAX : limit;
  uint64_t most = c->stride < BYTES_MAX ? BYTES_MAX / c->stride : 1;

  return count < most ? count : most;
}

static struct uvch__block* take_spare(struct uvch__core* c) {
  if (atomic_load_explicit(&c->spare, memory_order_relaxed) == NULL) /* relaxed: saves the exchange, which decides */
    return NULL;
  return atomic_exchange_explicit(&c->spare, NULL, memory_order_acq_rel); /* [B6] */
}

/* A block that was used before, with its slots EMPTY again; NULL if there is none. */
static struct uvch__block* reuse(struct uvch__core* c) {
  struct uvch__block* b = take_spare(c);
  uint64_t i;

  for (i = 0; b != NULL && i < b->head.count; i++) /* relaxed: [B1] publishes them */
    atomic_store_explicit(&uvch__block_slot(c, &b->head, b->head.base + i)->state, UVCH__EMPTY, memory_order_relaxed);
  return b;
}

/* A block becomes the spare, or is freed. */
static void give(struct uvch__core* c, struct uvch__block* b) {
  struct uvch__block* none = NULL;

  if (!atomic_compare_exchange_strong_explicit(&c->spare, &none, b, memory_order_acq_rel, memory_order_relaxed)) /* [B6] */
    uvch__free(b);
}

/* The sender's side. */

/* If the receiver is far behind, whoever else wants this processor may have it: that receiver, or a sender that comes here as well.
 * Else, with more threads than processors, senders use up their time by queueing what has to be fetched from memory later, page
 * by page. Before the claim: nobody waits for this sender. Not on one processor: there the receiver would have its turn
 * too often, each time for too little. Nor on the receiver's own loop, which would leave the processor to other senders. */
static void ease(struct uvch__core* c, uint64_t limit) {
  uint64_t head = atomic_load_explicit(&c->head, memory_order_relaxed); /* relaxed: a number */
  struct uvch__port* port;

  if (limit <= head || limit - head <= BEHIND / c->stride || uvch__hot_default() == 0)
    return;
  port = uvch__home_port(&c->home);
  if (port == NULL || !uvch__port_runs_here(port))
    sched_yield();
}

static int grow(struct uvch__core* c, struct hand* hand, uint64_t limit, uint64_t need) {
  ease(c, limit);
  while (hand->slots < need) {
    struct uvch__block* b = reuse(c);
    if (b == NULL) {
      uint64_t count = count_at(c, limit + hand->slots);
      b = uvch__calloc(1, sizeof *b + (size_t) count * c->stride); /* all EMPTY */
      if (b == NULL)
        return UV_ENOMEM;
      b->head.count = count;
    }
    b->u.below = hand->top;
    hand->top = b;
    hand->slots += b->head.count;
  }
  return 0;
}

static void empty_hand(struct uvch__core* c, struct hand* hand) {
  while (hand->top != NULL) {
    struct uvch__block* b = hand->top;
    hand->top = b->u.below;
    give(c, b);
  }
}

static void raise_limit(struct uvch__core* c, uint64_t to) {
  uint64_t limit = atomic_load_explicit(&c->cached, memory_order_relaxed); /* relaxed: the CAS checks it */

  while (limit < to &&
         !atomic_compare_exchange_weak_explicit(&c->cached, &limit, to, memory_order_release, memory_order_relaxed)) { /* [B3] */
  }
}

/* The block after `h`, linked from the hand if it is missing; NULL once killed. */
static struct uvch__block_head* advance(struct uvch__core* c, struct uvch__block_head* h, struct hand* hand) {
  uintptr_t next = atomic_load_explicit(&h->next, memory_order_acquire); /* [B2] */

  while (next <= PARKED) {
    struct uvch__block* b = hand->top;
    struct uvch__block* below = b->u.below; /* once linked, the receiver may write there */
    b->head.base = h->base + h->count;
    atomic_store_explicit(&b->head.next, NOTHING, memory_order_relaxed); /* relaxed: [B1] publishes it */
    if (!atomic_compare_exchange_strong_explicit(&h->next, &next, (uintptr_t) &b->head, memory_order_acq_rel,
                                                 memory_order_acquire)) /* [B1] */
      continue;
    hand->top = below;
    if (next == PARKED)
      uvch__post(&c->home, &c->ep);
    raise_limit(c, b->head.base + b->head.count);
    return &b->head;
  }
  return next == KILLED ? NULL : (struct uvch__block_head*) next;
}

/* The block of a claimed index; NULL once killed. */
static struct uvch__block_head* find(struct uvch__core* c, uint64_t index, struct hand* hand) {
  struct uvch__block_head* seen = atomic_load_explicit(&c->s.hint, memory_order_acquire); /* [B4] */
  struct uvch__block_head* h = seen;

  if (h->base > index)
    h = atomic_load_explicit(&c->first, memory_order_acquire); /* [B5] */
  while (h != NULL && index - h->base >= h->count)
    h = advance(c, h, hand);
  if (h != NULL && seen->base < h->base)
    atomic_compare_exchange_strong_explicit(&c->s.hint, &seen, h, memory_order_release, memory_order_relaxed); /* [B4] */
  return h;
}

/* Claims `n` indices, the first of which comes out of the word as it was. The hand covers them. */
UVCH__INLINE int claim(struct uvch__core* c, size_t n, struct hand* hand, uint64_t* out) {
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
  int err = 0;

  do {
    uint64_t limit = atomic_load_explicit(&c->cached, memory_order_acquire); /* [B3], after the word */
    uint64_t end = uvch__word_tail(c, word) + n;
    if ((word & UVCH__CLOSED) != 0)
      err = UV_EPIPE;
    else if (end > limit && end - limit > hand->slots)
      err = grow(c, hand, limit, end - limit);
    if (err != 0) {
      empty_hand(c, hand);
      return err;
    }
  } while (!atomic_compare_exchange_weak_explicit(&c->word, &word, (word + n * uvch__tail_one(c)) & ~UVCH__AT_TAIL,
                                                  memory_order_acq_rel, memory_order_acquire)); /* [C1] */
  *out = word;
  return 0;
}

/* Puts in all messages of a claim but the first, which publishes them; 0 once killed. */
static int follow(struct uvch__core* c, struct uvch__block_head* h, uint64_t index, const void* items, size_t n,
                  struct hand* hand) {
  size_t i;

  for (i = 1; i < n; i++) {
    struct uvch__slot* s;
    while (h != NULL && index + i - h->base >= h->count)
      h = advance(c, h, hand);
    if (h == NULL)
      return 0;
    s = uvch__block_slot(c, h, index + i);
    uvch__item_copy(uvch__slot_item(c, s), uvch__item_at(items, i, c->item_size), c->item_size);
    uvch__slot_follow(s);
  }
  return 1;
}

UVCH__INLINE int try_send(struct uvch__core* c, const void* items, size_t n) {
  struct hand hand = {NULL, 0};
  struct uvch__block_head* h;
  uint64_t word;
  uint64_t index;
  int err = claim(c, n, &hand, &word);

  if (err != 0)
    return err;
  index = uvch__word_tail(c, word);
  h = find(c, index, &hand);
  if (h != NULL && n > 1 && !follow(c, h, index, items, n, &hand))
    h = NULL;
  err = uvch__fill(c, h != NULL ? uvch__block_slot(c, h, index) : NULL, items, (word & UVCH__AT_TAIL) != 0, 1);
  if (hand.top != NULL)
    empty_hand(c, &hand);
  if (err != 0)
    uvch__settle(c, (int64_t) n);
  return err;
}

int uvch__blocks_try_send(struct uvch__core* c, const void* item) {
  return try_send(c, item, 1);
}

int uvch__blocks_try_send_many(struct uvch__core* c, const void* items, size_t count) {
  return try_send(c, items, count);
}

/* The receiver's side. */

/* What no sender can hold any more. Not while a callback has a message in a block. */
static void recycle(struct uvch__core* c) {
  struct uvch__block_head* first = atomic_load_explicit(&c->first, memory_order_relaxed); /* relaxed: the receiver's own */

  while (c->in_hand == 0 && c->u.list.oldest != NULL && c->u.list.oldest->u.retired_at <= c->next) {
    struct uvch__block* b = c->u.list.oldest;
    uintptr_t next = atomic_load_explicit(&b->head.next, memory_order_relaxed); /* relaxed: the receiver has been there */
    c->u.list.oldest = next == (uintptr_t) first ? NULL : block_of((struct uvch__block_head*) next);
    give(c, b);
  }
}

static void retire(struct uvch__core* c, struct uvch__block_head* h, struct uvch__block_head* next) {
  struct uvch__block_head* seen = h;
  uint64_t word;

  atomic_store_explicit(&c->first, next, memory_order_release);                                                 /* [B5] */
  atomic_compare_exchange_strong_explicit(&c->s.hint, &seen, next, memory_order_acq_rel, memory_order_relaxed); /* [B4] */
  word = atomic_fetch_or_explicit(&c->word, 0, memory_order_acq_rel); /* [C1] a read-modify-write: no claim before it is missed */
  if (h != &c->u.list.before) {
    block_of(h)->u.retired_at = uvch__word_tail(c, word);
    if (c->u.list.oldest == NULL)
      c->u.list.oldest = block_of(h);
  }
  recycle(c);
}

struct uvch__block_head* uvch__blocks_next(struct uvch__core* c, struct uvch__block_head* h) {
  uintptr_t next = atomic_load_explicit(&h->next, memory_order_acquire); /* [B2] */

  if (next <= PARKED)
    return NULL;
  retire(c, h, (struct uvch__block_head*) next);
  return (struct uvch__block_head*) next;
}

static int move_next(struct uvch__block_head* h, uintptr_t from, uintptr_t to) {
  return atomic_compare_exchange_strong_explicit(&h->next, &from, to, memory_order_acq_rel, memory_order_acquire); /* [B1] */
}

int uvch__blocks_park(struct uvch__core* c) {
  struct uvch__slot* s = uvch__blocks_front(c);

  if (s != NULL)
    return uvch__slot_park(s);
  return move_next(atomic_load_explicit(&c->first, memory_order_relaxed), NOTHING, PARKED); /* relaxed: the receiver's own */
}

int uvch__blocks_unpark(struct uvch__core* c) {
  struct uvch__block_head* h = atomic_load_explicit(&c->first, memory_order_relaxed); /* relaxed: the receiver's own */

  if (c->next - h->base < h->count)
    return uvch__slot_unpark(uvch__block_slot(c, h, c->next));
  return move_next(h, PARKED, NOTHING);
}

void uvch__blocks_trim(struct uvch__core* c) {
  recycle(c);
  uvch__free(take_spare(c));
}

/* Puts KILLED where the next block is missing. NULL: done; else the block, which has come. */
static struct uvch__block_head* kill_next(struct uvch__block_head* h, int* parked) {
  uintptr_t next = atomic_load_explicit(&h->next, memory_order_acquire); /* [B2] */

  while (next <= PARKED) {
    if (!atomic_compare_exchange_strong_explicit(&h->next, &next, KILLED, memory_order_acq_rel, memory_order_acquire)) /* [B1] */
      continue;
    *parked |= next == PARKED;
    return NULL;
  }
  return (struct uvch__block_head*) next;
}

int uvch__blocks_sweep(struct uvch__core* c, uint64_t tail, struct uvch__sweep* sweep) {
  struct uvch__block_head* h = atomic_load_explicit(&c->first, memory_order_relaxed); /* relaxed: the receiver's own */
  uint64_t i = c->next;
  int parked = 0;

  sweep->unpublished = c->in_hand; /* callbacks are settled as they return */
  while (i != tail) {
    if (i - h->base >= h->count) {
      struct uvch__block_head* next = kill_next(h, &parked);
      if (next == NULL) {
        sweep->unpublished += (int64_t) (tail - i);
        break;
      }
      h = next;
    } else {
      uvch__sweep_slot(c, uvch__block_slot(c, h, i++), sweep, &parked);
    }
  }
  return parked;
}

void uvch__blocks_end(struct uvch__core* c) {
  struct uvch__block_head* h = atomic_load_explicit(&c->first, memory_order_relaxed); /* relaxed: [C5] */

  if (c->u.list.oldest != NULL)
    h = &c->u.list.oldest->head;
  while (h != NULL) {
    uintptr_t next = atomic_load_explicit(&h->next, memory_order_relaxed); /* relaxed: [C5] */
    if (h != &c->u.list.before)
      uvch__free(block_of(h));
    h = next > KILLED ? (struct uvch__block_head*) next : NULL;
  }
}

/* relaxed, in these two: no other thread exists */
struct uvch__slot* uvch__blocks_slot(struct uvch__core* c, struct uvch__block_head** block, uint64_t index) {
  while (index - (*block)->base >= (*block)->count) {
    uintptr_t next = atomic_load_explicit(&(*block)->next, memory_order_relaxed);
    if (next <= KILLED)
      return NULL;
    *block = (struct uvch__block_head*) next;
  }
  return uvch__block_slot(c, *block, index);
}

void uvch__blocks_refork(struct uvch__core* c) {
  struct uvch__block_head* first = atomic_load_explicit(&c->first, memory_order_relaxed);
  struct uvch__block_head* h = first;
  struct uvch__block* b = c->u.list.oldest;
  uintptr_t next;

  while ((next = atomic_load_explicit(&h->next, memory_order_relaxed)) > KILLED)
    h = (struct uvch__block_head*) next;
  atomic_store_explicit(&h->next, NOTHING, memory_order_relaxed);
  atomic_store_explicit(&c->cached, h->base + h->count, memory_order_relaxed);
  atomic_store_explicit(&c->s.hint, first, memory_order_relaxed);
  while (b != NULL) { /* nobody else can hold them */
    b->u.retired_at = 0;
    next = atomic_load_explicit(&b->head.next, memory_order_relaxed);
    b = next == (uintptr_t) first ? NULL : block_of((struct uvch__block_head*) next);
  }
}

void uvch__blocks_free(struct uvch__core* c) {
  uvch__free(atomic_load_explicit(&c->spare, memory_order_acquire)); /* [B6] */
}
