/* SPDX-License-Identifier: MIT
 *
 * Permits: places of a bounded channel that are held for later. A permit is nothing but its share of what is reserved in the claim
 * word, which also keeps the core, see senders.c: whoever gives the last share up may see the core go. Sending holds the core by
 * the index that it has claimed, until that is published, see uvch__settle(); giving back takes a reference first. */
#include "core.h"
#include "queue.h"
#include "sleep.h"

void uvch__give_back(struct uvch__core* c, size_t n) {
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
  uint64_t after;

  uvch__core_ref(c);
  do {
    after = word - n * UVCH__RESERVED_ONE;
    if ((word & UVCH__CLOSED) != 0 && uvch__word_reserved(c, after) == 0)
      after &= ~UVCH__AT_TAIL; /* the end */
  } while (!atomic_compare_exchange_weak_explicit(&c->word, &word, after, memory_order_acq_rel, memory_order_acquire)); /* [C1] */
  if (((word ^ after) & UVCH__AT_TAIL) != 0)
    uvch__post(&c->home, &c->ep);
  uvch__ask(c);
  if (uvch__word_reserved(c, after) == 0)
    uvch__permits_end(c);
  uvch__core_unref(c);
}

/* Reserving. */

int uvch__check_reserve(const uvch_mpsc_sender_t* tx, const uvch_mpsc_permit_t* permit, struct uvch__core** c) {
  if (tx == NULL || permit == NULL)
    return UV_EINVAL;
  *c = uvch__ptr_load(&tx->core);
  if (*c == NULL)
    return UVCH__WAS_CLOSED(tx);
  return (*c)->capacity == 0 ? UV_EINVAL : 0;
}

UVCH__INLINE int try_reserve(struct uvch__core* c, size_t n, uvch_mpsc_permit_t* permit) {
  uint64_t word;
  int got;

  if (n == 0) {
    if (uvch__is_closed(c))
      return UV_EPIPE;
    *permit = (uvch_mpsc_permit_t){NULL, 0};
    return 0;
  }
  uvch__permits_begin(c);
  got = uvch__ring_claim(c, n, n, UVCH__TO_RESERVE, &word);
  if (got < 0)
    return got;
  permit->core = c;
  permit->count = n;
  return 0;
}

int uvch__try_reserve(struct uvch__core* c, size_t n, uvch_mpsc_permit_t* permit) {
  return try_reserve(c, n, permit);
}

int uvch_mpsc_try_reserve(const uvch_mpsc_sender_t* tx, size_t n, uvch_mpsc_permit_t* permit) {
  struct uvch__core* c;
  int err = uvch__check_reserve(tx, permit, &c);

  if (err != 0)
    return err;
  if (n > c->capacity)
    return UV_EAGAIN;
  return try_reserve(c, n, permit);
}

static int reserve_wait(const uvch_mpsc_sender_t* tx, size_t n, uvch_mpsc_permit_t* permit, uint64_t timeout) {
  struct uvch__waiter waiter = {.kind = UVCH__RESERVE, .count = n};
  struct uvch__core* c;
  int err = uvch__check_reserve(tx, permit, &c);

  if (err == 0)
    err = uvch__may_sleep(c);
  if (err != 0)
    return err;
  if (n > c->capacity)
    return UV_EPIPE;
  err = uvch__try_reserve(c, n, permit);
  if (err != UV_EAGAIN)
    return err;
  err = uvch__sleep_queued(c, &waiter, timeout);
  if (err == 0)
    *permit = (uvch_mpsc_permit_t){c, n};
  return err;
}

int uvch_mpsc_reserve_wait(const uvch_mpsc_sender_t* tx, size_t n, uvch_mpsc_permit_t* permit) {
  return reserve_wait(tx, n, permit, UINT64_MAX);
}

int uvch_mpsc_reserve_timedwait(const uvch_mpsc_sender_t* tx, size_t n, uvch_mpsc_permit_t* permit, uint64_t timeout) {
  return reserve_wait(tx, n, permit, timeout);
}

/* Using a permit. */

static struct uvch__core* core_of(const uvch_mpsc_permit_t* permit) {
  return permit != NULL && permit->count > 0 ? permit->core : NULL;
}

static void use(uvch_mpsc_permit_t* permit, size_t n) {
  permit->count -= n;
  if (permit->count > 0)
    return;
  permit->core = NULL;
  UVCH__DID(permit, "used up");
}

int uvch_mpsc_permit_send(uvch_mpsc_permit_t* permit, const void* item) {
  struct uvch__core* c = core_of(permit);
  uint64_t word;
  uint64_t after;
  char* slots;
  int err;

  if (permit == NULL || (c != NULL && item == NULL && c->item_size > 0))
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__MISTAKE(UV_EBADF, permit, "is empty");
  use(permit, 1);
  word = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
  do {
    if ((word & UVCH__DEAD_WORD) != 0) {
      uvch__give_back(c, 1);
      return UV_EPIPE;
    }
    after = (word - UVCH__RESERVED_ONE + uvch__tail_one(c)) & ~UVCH__AT_TAIL;
  } while (!atomic_compare_exchange_weak_explicit(&c->word, &word, after, memory_order_acq_rel, memory_order_acquire)); /* [C1] */
  if (uvch__word_reserved(c, after) == 0 && uvch__permits_only(c))
    uvch__permits_end(c);
  slots = atomic_load_explicit(&c->u.ring.slots, memory_order_acquire); /* [R1] */
  err = uvch__fill(c, uvch__ring_slot(c, slots, uvch__word_tail(c, word)), item, (word & UVCH__AT_TAIL) != 0, 0);
  if (err != 0)
    uvch__settle(c, 1);
  return err;
}

int uvch_mpsc_permit_release(uvch_mpsc_permit_t* permit) {
  struct uvch__core* c = core_of(permit);
  size_t n;

  if (c == NULL)
    return permit == NULL ? UV_EINVAL : UVCH__MISTAKE(UV_EBADF, permit, "is empty");
  n = permit->count;
  use(permit, n);
  uvch__give_back(c, n);
  return 0;
}

int uvch_mpsc_permit_split(uvch_mpsc_permit_t* permit, size_t n, uvch_mpsc_permit_t* other) {
  struct uvch__core* c = core_of(permit);

  if (permit == NULL || other == NULL || permit == other)
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__MISTAKE(UV_EBADF, permit, "is empty");
  if (n == 0 || n > permit->count)
    return UV_EINVAL;
  use(permit, n);
  *other = (uvch_mpsc_permit_t){c, n};
  return 0;
}

size_t uvch_mpsc_permit_count(const uvch_mpsc_permit_t* permit) {
  return permit != NULL ? permit->count : 0;
}

int uvch_mpsc_permit_get_sender(const uvch_mpsc_permit_t* permit, uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = core_of(permit);
  int err;

  if (permit == NULL || tx == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__MISTAKE(UV_EBADF, permit, "is empty");
  err = uvch__strong_revive(c);
  if (err == 0)
    tx->core = c;
  return err;
}

int uvch_mpsc_permit_same_channel(const uvch_mpsc_permit_t* a, const uvch_mpsc_permit_t* b) {
  struct uvch__core* c = core_of(a);
  return c != NULL && c == core_of(b);
}

int uvch_mpsc_permit_same_channel_as_sender(const uvch_mpsc_permit_t* permit, const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = core_of(permit);
  return c != NULL && c == uvch__sender_core(tx);
}
