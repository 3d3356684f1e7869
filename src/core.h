/* SPDX-License-Identifier: MIT
 *
 * The core of an mpsc channel: what both ends share. Private, on the heap, counted.
 *
 * The claim word
 *
 *    63                                   shift        4     3         2        1      0
 *   +------------------------------------+--------------+---------+---------+------+--------+
 *   | tail: index of the next message    | reserved     | AT_TAIL | WAITERS | DEAD | CLOSED |
 *   +------------------------------------+--------------+---------+---------+------+--------+
 *   CLOSED    nothing is claimed any more but by permits: no sender is left, or the receiver shut down or closed
 *   DEAD      nothing is claimed any more: the receiver closed
 *   WAITERS   senders wait for room: try_send does not pass them
 *   AT_TAIL   the receiver is parked at the tail; who clears the bit has its token, and posts it
 *   reserved  places that permits hold; as many bits as the capacity has, none without a bound
 *
 * A claim is one CAS: the tail moves on, AT_TAIL is cleared; what is queued and what is reserved together never exceed the
 * capacity. The receiver is at the end when its index is the tail, CLOSED is set and nothing is reserved; so a step that makes the
 * last two true takes AT_TAIL with it, and posts.
 *
 * Edges (slots [S], blocks [B], the port [H], homes [E], waiting senders [W] and counts of senders [N] have their own files):
 *   [C1] word    every change is an acq_rel read-modify-write; loads that decide are acquire, so that a claim sees what all
 *                before it did to the core
 *   [C2] head    stored with release by the receiver, after the slot before was given back; loaded with acquire by who claims
 *                that slot next
 *   [C3] cached  the head as some sender saw it: release and acquire, since it hands [C2] on to other senders
 *   [C4] refs    decremented acq_rel: who makes it 0 sees what all others did
 *   [C5] debt    add, acq_rel: who makes it even sees what all others did
 *   [C6] dropped stored with release by the receiver that closes, after its last head; loaded with acquire by statistics, which
 *                take the head of before or after the close together with it */
#ifndef UVCH_SRC_CORE_H
#define UVCH_SRC_CORE_H

#include <uvch/mpsc.h>

#include "atomic.h"
#include "block.h"
#include "home.h"
#include "slot.h"

#define UVCH__CLOSED ((uint64_t) 1)
#define UVCH__DEAD_WORD ((uint64_t) 2)
#define UVCH__WAITERS ((uint64_t) 4)
#define UVCH__AT_TAIL ((uint64_t) 8)
#define UVCH__RESERVED_SHIFT 4
#define UVCH__RESERVED_ONE ((uint64_t) 1 << UVCH__RESERVED_SHIFT)

/* Slots that both ends fetch before they need them: a line of slots comes from the other end's processor. */
#define UVCH__AHEAD 32

struct uvch__queue;

/* Three groups a line apart: what is only read on the way of a message, what senders write, what the receiver writes. On its way
 * to a message that is there the receiver touches nothing of the second, nor senders of the third: each touch would pull a line
 * away. */
struct uvch__core {
  uint32_t item_size;
  uint32_t stride;
  uint32_t capacity;    /* 0: unbounded */
  uint8_t offset;       /* of the message in its slot */
  uint8_t slack;        /* bytes between the allocation and this */
  uint8_t shift;        /* of the tail in the word */
  atomic_uchar watched; /* see queue.h; on this line since it is rarely set */
  struct uvch__home home;
  atomic_uint_least64_t dropped; /* once the receiver has closed and all of it is done: their number, plus 1 */
  union {
    struct {
      _Atomic(char*) slots; /* made with the first message, see ring.c */
      uint64_t mask;
    } ring;
    struct {
      struct uvch__block*
          oldest; /* the receiver's: the oldest block that it has read to the end and that is not given back yet */
      struct uvch__block_head before; /* the empty block before the first */
    } list;
  } u;

  _Alignas(UVCH__LINE) atomic_uint_least64_t word;
  atomic_uint_least64_t cached; /* bounded: the head as last seen; unbounded: the limit, see block.h */
  union {
    _Atomic(struct uvch__block_head*) hint; /* unbounded */
    atomic_uint_least64_t full;             /* bounded: how often somebody found no room */
  } s;
  _Atomic(struct uvch__block*) spare;
  atomic_int_least64_t debt;          /* see uvch__settle() */
  atomic_uint_least64_t strong;       /* see senders.c */
  atomic_uint weak;                   /* weak senders */
  atomic_uint refs;                   /* all strong ones together, the receiver, its token, and whoever looks in from outside */
  _Atomic(struct uvch__queue*) queue; /* made with the first wait */

  _Alignas(UVCH__LINE) struct uvch__endpoint ep;
  atomic_uint_least64_t head;              /* messages taken, as far as their room is given back */
  uint64_t next;                           /* the receiver's: messages taken */
  uvch_mpsc_receiver_t* rx;                /* the receiver's: NULL once closed */
  _Atomic(struct uvch__block_head*) first; /* unbounded: the block that the receiver reads */
  atomic_uint_least64_t wakeups;           /* statistics, written by the receiver */
  atomic_uint high_water;                  /* the same */
  uint16_t in_hand;                        /* the receiver's: callbacks that have not returned */
  atomic_uchar wanted;                     /* see queue.h */
  unsigned char has_token : 1;             /* the receiver's: the token is here, not in a park nor on its way */
  unsigned char is_parked : 1;             /* the receiver's: it parked, and has had no turn since */
};

_Static_assert(sizeof(struct uvch__core) == 3 * UVCH__LINE, "an idle channel is small");

static inline struct uvch__core* uvch__core_of(struct uvch__endpoint* ep) {
  return UVCH__CONTAINER(ep, struct uvch__core, ep);
}

static inline uint64_t uvch__tail_one(const struct uvch__core* c) {
  return (uint64_t) 1 << c->shift;
}

static inline uint64_t uvch__word_tail(const struct uvch__core* c, uint64_t word) {
  return word >> c->shift;
}

static inline uint64_t uvch__word_reserved(const struct uvch__core* c, uint64_t word) {
  return (word & (uvch__tail_one(c) - 1)) >> UVCH__RESERVED_SHIFT;
}

/* From an index to a later one, of which the word may have kept the lower bits only. */
static inline uint64_t uvch__distance(const struct uvch__core* c, uint64_t from, uint64_t to) {
  return (to - from) << c->shift >> c->shift;
}

/* Places that are free. The head may be from later than the word, and past its tail: there was room then. */
static inline int64_t uvch__room(const struct uvch__core* c, uint64_t word, uint64_t head) {
  int64_t queued = (int64_t) ((uvch__word_tail(c, word) - head) << c->shift) >> c->shift;
  return (int64_t) c->capacity - (int64_t) uvch__word_reserved(c, word) - queued;
}

static inline int uvch__is_closed(struct uvch__core* c) {
  return (atomic_load_explicit(&c->word, memory_order_acquire) & UVCH__CLOSED) != 0; /* [C1] */
}

static inline void* uvch__slot_item(const struct uvch__core* c, struct uvch__slot* s) {
  return (char*) s + c->offset;
}

/* mpsc.c: what an end belongs to; NULL if it is closed. */
struct uvch__core* uvch__sender_core(const uvch_mpsc_sender_t* tx);
struct uvch__core* uvch__receiver_core(const uvch_mpsc_receiver_t* rx);

/* uvch__len: messages queued and not taken yet. Any thread. */
size_t uvch__len(struct uvch__core* c);

/* block.h: the slots of an unbounded channel. */
static inline struct uvch__slot* uvch__block_slot(const struct uvch__core* c, struct uvch__block_head* h, uint64_t index) {
  struct uvch__block* b = UVCH__CONTAINER(h, struct uvch__block, head);
  return (struct uvch__slot*) (void*) (b->slots + (index - h->base) * c->stride);
}

/* The receiver's: the slot of the next message; NULL if its block is not linked yet. */
static inline struct uvch__slot* uvch__blocks_front(struct uvch__core* c) {
  struct uvch__block_head* h = atomic_load_explicit(&c->first, memory_order_relaxed); /* relaxed: the receiver's own */

  if (c->next - h->base >= h->count)
    h = uvch__blocks_next(c, h);
  return h != NULL ? uvch__block_slot(c, h, c->next) : NULL;
}

/* core.c: life. */
struct uvch__core* uvch__core_new(size_t item_size, size_t capacity, const uvch_mpsc_options_t* options);
void uvch__core_ref(struct uvch__core* c);
void uvch__core_unref(struct uvch__core* c);

/* uvch__core_set: sets bits of the word and takes AT_TAIL out. The word as it was: with AT_TAIL in it the token is the caller's.
 * */
uint64_t uvch__core_set(struct uvch__core* c, uint64_t bits);

/* uvch__settle: once the receiver closed, the debt is twice the number of claimed indices that it found unpublished, plus 1. Each
 * sender that finds its index DEAD counts it off; who makes the debt 1 ends the storage. Until then a sender that has claimed an
 * index may touch the core without holding it, which permits rely on. uvch__settle_begin: the receiver's side. */
void uvch__settle(struct uvch__core* c, int64_t indices);
void uvch__settle_begin(struct uvch__core* c, int64_t unpublished);

/* senders.c: who keeps the channel open. */
#define UVCH__PERMITS ((uint64_t) 1)
#define UVCH__SENDER ((uint64_t) 2)

/* uvch__strong_get: one more sender, the caller has one; UV_ENOMEM if there are too many. uvch__strong_put: one less, the last one
 * closes; the caller holds the core by something else, since once this one is off the last permit may end all of them.
 * uvch__strong_revive: one more, if there is a sender or a permit; UV_EPIPE if not. */
int uvch__strong_get(struct uvch__core* c);
void uvch__strong_put(struct uvch__core* c);
int uvch__strong_revive(struct uvch__core* c);

/* uvch__permits_only: whether nobody but permits keeps the channel open. */
static inline int uvch__permits_only(struct uvch__core* c) {
  return (uint32_t) atomic_load_explicit(&c->strong, memory_order_acquire) == UVCH__PERMITS; /* [N1] */
}

/* uvch__permits_begin: permits count as a sender from now on; the caller has one. uvch__permits_end: the last place was sent or
 * given back. The caller holds the core in both. */
void uvch__permits_begin(struct uvch__core* c);
void uvch__permits_end(struct uvch__core* c);

/* permit.c: gives `n` reserved places back, the one way for those that are not sent. Any thread that has them; nothing else need
 * hold the core. */
void uvch__give_back(struct uvch__core* c, size_t n);

/* uvch__check_reserve: what every reservation checks first. */
int uvch__check_reserve(const uvch_mpsc_sender_t* tx, const uvch_mpsc_permit_t* permit, struct uvch__core** c);

/* uvch__try_reserve: 0, UV_EAGAIN, UV_EPIPE or UV_ENOMEM; `n` is at most the capacity. */
int uvch__try_reserve(struct uvch__core* c, size_t n, uvch_mpsc_permit_t* permit);

/* ring.c: the slots of a bounded channel. */
int uvch__ring_make(struct uvch__core* c);

static inline struct uvch__slot* uvch__ring_slot(const struct uvch__core* c, char* slots, uint64_t index) {
  return (struct uvch__slot*) (void*) (slots + (index & c->u.ring.mask) * c->stride);
}

/* uvch__batch_max: the most messages that one callback of a bounded channel gets. */
static inline size_t uvch__batch_max(size_t capacity) {
  return capacity < 64 ? capacity : 64;
}

/* The head as last seen is another now. Only forward: who was preempted for long must not bring an old one back. */
static inline void uvch__cache_head(struct uvch__core* c, uint64_t seen, uint64_t head) {
  if (seen != head)
    atomic_compare_exchange_strong_explicit(&c->cached, &seen, head, memory_order_release, memory_order_relaxed); /* [C3] */
}

/* Statistics: so many messages are queued. relaxed: a number */
static inline void uvch__note_depth(struct uvch__core* c, uint64_t depth) {
  unsigned int high = atomic_load_explicit(&c->high_water, memory_order_relaxed);
  unsigned int now = depth < UINT32_MAX ? (unsigned int) depth : UINT32_MAX;

  while (now > high &&
         !atomic_compare_exchange_weak_explicit(&c->high_water, &high, now, memory_order_relaxed, memory_order_relaxed)) {}
}

/* What somebody is told who finds no room; relaxed: a number. */
static inline int uvch__ring_full(struct uvch__core* c) {
  atomic_fetch_add_explicit(&c->s.full, 1, memory_order_relaxed);
  return UV_EAGAIN;
}

/* uvch__ring_claim: the one way to places that are free; nobody who waits is passed. Claims at least `least` and at most `most`
 * of them, for as many messages, or for permits. How many; UV_EAGAIN, UV_EPIPE, UV_ENOMEM (claims nothing). The word as it was
 * before is in `word`; the ring is there. */
enum uvch__purpose { UVCH__TO_SEND, UVCH__TO_RESERVE };

UVCH__INLINE int uvch__ring_claim(struct uvch__core* c, size_t least, size_t most, enum uvch__purpose purpose, uint64_t* out) {
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire);   /* [C1] */
  uint64_t seen = atomic_load_explicit(&c->cached, memory_order_acquire); /* [C3] */
  uint64_t head = seen;
  uint64_t after;
  size_t n;

  if (atomic_load_explicit(&c->u.ring.slots, memory_order_acquire) == NULL && (word & UVCH__CLOSED) == 0 && /* [R1] */
      uvch__ring_make(c) != 0)
    return UV_ENOMEM;
  for (;;) {
    int64_t room = uvch__room(c, word, head);
    if ((word & UVCH__CLOSED) != 0)
      return UV_EPIPE;
    if ((word & UVCH__WAITERS) != 0)
      return uvch__ring_full(c);
    if (room < (int64_t) most) { /* as last seen; the real head counts only if the word has not changed meanwhile */
      uint64_t again;
      head = atomic_load_explicit(&c->head, memory_order_acquire);  /* [C2] */
      again = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
      room = uvch__room(c, word, head);
      if (again == word && room < (int64_t) least) {
        uvch__note_depth(c, uvch__distance(c, head, uvch__word_tail(c, word)));
        return uvch__ring_full(c);
      }
      uvch__cache_head(c, seen, head);
      seen = head;
      if (again != word) {
        word = again;
        continue;
      }
    }
    n = least < most && room < (int64_t) most ? (size_t) room : most; /* a constant, with constants */
    after = purpose == UVCH__TO_SEND ? (word + n * uvch__tail_one(c)) & ~UVCH__AT_TAIL : word + n * UVCH__RESERVED_ONE;
    if (atomic_compare_exchange_weak_explicit(&c->word, &word, after, memory_order_acq_rel, memory_order_acquire)) /* [C1] */
      break;
  }
  *out = word;
  return (int) n;
}

/* send.c: putting messages in. */

/* uvch__fill: copies a message to a claimed slot and publishes it; posts if the receiver was parked there, or if its token came
 * with the claim. `s` is NULL if the receiver closed before the slot was made. `is_held`, a constant: whether the caller holds the
 * core by more than the claimed index. 0 or UV_EPIPE. */
static inline int uvch__fill(struct uvch__core* c, struct uvch__slot* s, const void* item, int token, int is_held) {
  unsigned int state = UVCH__DEAD;

  if (s != NULL) {
    __builtin_prefetch((char*) s + UVCH__AHEAD * c->stride, 1);
    uvch__item_copy(uvch__slot_item(c, s), item, c->item_size);
    state = uvch__slot_publish(s);
  }
  if (token || state == UVCH__PARKED) {
    if (!is_held)
      uvch__core_ref(c); /* the token holds it up to here */
    uvch__post(&c->home, &c->ep);
    if (!is_held)
      uvch__core_unref(c);
  }
  return state == UVCH__DEAD ? UV_EPIPE : 0;
}

/* uvch__fill_ring: the same for `n` messages at the claimed indices from `index` on, all of them or none. */
int uvch__fill_ring(struct uvch__core* c, uint64_t index, const void* items, size_t n, int token);

/* uvch__check_send: what every send checks first. */
int uvch__check_send(const uvch_mpsc_sender_t* tx, const void* items, size_t count, struct uvch__core** c);

/* uvch__try_send: 0, UV_EAGAIN, UV_EPIPE or UV_ENOMEM. uvch__try_send_many: how many, 1 to `count`, or the same errors. */
int uvch__try_send(struct uvch__core* c, const void* item);
int uvch__try_send_many(struct uvch__core* c, const void* items, size_t count);

/* uvch__try_send_all: all or none: 0 or the same errors. What does not go in as a whole waits as a whole, so that nobody gets
 * between its parts. */
int uvch__try_send_all(struct uvch__core* c, const void* items, size_t count);

/* receive.c: taking messages out. */

/* What a receiver finds that closes. */
struct uvch__sweep {
  uvch_drop_cb drop;
  void* arg;
  int before; /* whether the slot before was published */
  int64_t unpublished;
  uint64_t dropped;
};

void uvch__sweep_slot(struct uvch__core* c, struct uvch__slot* s, struct uvch__sweep* sweep, int* parked);

extern const struct uvch__endpoint_ops uvch__receiver_ops;

/* fork.c: takes back what threads that do not exist any more were in the middle of. */
void uvch__core_refork(struct uvch__core* c);

#endif
