/* SPDX-License-Identifier: MIT
 *
 * Putting messages in: claim, copy, publish. */
#include <limits.h>

#include "core.h"
#include "queue.h"
#include "sleep.h"

/* Filling a ring. */

static struct uvch__slot* slot_at(struct uvch__core* c, uint64_t index) {
  return uvch__ring_slot(c, atomic_load_explicit(&c->u.ring.slots, memory_order_acquire), index); /* [R1] */
}

static int settled(struct uvch__core* c, int err, size_t n) {
  if (err != 0)
    uvch__settle(c, (int64_t) n);
  return err;
}

int uvch__fill_ring(struct uvch__core* c, uint64_t index, const void* items, size_t n, int token) {
  size_t i;

  for (i = 1; i < n; i++) {
    struct uvch__slot* s = slot_at(c, index + i);
    uvch__item_copy(uvch__slot_item(c, s), uvch__item_at(items, i, c->item_size), c->item_size);
    uvch__slot_follow(s);
  }
  return settled(c, uvch__fill(c, slot_at(c, index), items, token, 1), n);
}

/* At once. */

UVCH__NOINLINE int ring_try_send(struct uvch__core* c, const void* item) {
  uint64_t word;
  int n = uvch__ring_claim(c, 1, 1, UVCH__TO_SEND, &word);

  if (n < 0)
    return n;
  return settled(c, uvch__fill(c, slot_at(c, uvch__word_tail(c, word)), item, (word & UVCH__AT_TAIL) != 0, 1), 1);
}

int uvch__try_send(struct uvch__core* c, const void* item) {
  return c->capacity > 0 ? ring_try_send(c, item) : uvch__blocks_try_send(c, item);
}

/* At least `least` of them. */
static int send_some(struct uvch__core* c, const void* items, size_t least, size_t count) {
  uint64_t word;
  int n = (int) count;
  int err;

  if (count == 0)
    return uvch__is_closed(c) ? UV_EPIPE : 0;
  if (c->capacity == 0) {
    err = uvch__blocks_try_send_many(c, items, count);
  } else {
    n = uvch__ring_claim(c, least, count, UVCH__TO_SEND, &word);
    if (n < 0)
      return n;
    err = uvch__fill_ring(c, uvch__word_tail(c, word), items, (size_t) n, (word & UVCH__AT_TAIL) != 0);
  }
  return err != 0 ? err : n;
}

int uvch__try_send_many(struct uvch__core* c, const void* items, size_t count) {
  return send_some(c, items, 1, count);
}

int uvch__try_send_all(struct uvch__core* c, const void* items, size_t count) {
  int n = send_some(c, items, count, count);
  return n < 0 ? n : 0;
}

int uvch__check_send(const uvch_mpsc_sender_t* tx, const void* items, size_t count, struct uvch__core** c) {
  if (tx == NULL || count > INT_MAX)
    return UV_EINVAL;
  *c = uvch__ptr_load(&tx->core);
  if (*c == NULL)
    return UVCH__WAS_CLOSED(tx);
  return items == NULL && count > 0 && (*c)->item_size > 0 ? UV_EINVAL : 0;
}

int uvch_mpsc_try_send(const uvch_mpsc_sender_t* tx, const void* item) {
  struct uvch__core* c;
  int err = uvch__check_send(tx, item, 1, &c);

  return err != 0 ? err : uvch__try_send(c, item);
}

int uvch_mpsc_try_send_many(const uvch_mpsc_sender_t* tx, const void* items, size_t count) {
  struct uvch__core* c;
  int err = uvch__check_send(tx, items, count, &c);

  return err != 0 ? err : uvch__try_send_many(c, items, count);
}

/* Threads that wait. */

/* How many went in, or an error if none did. */
static int wait_for_room(struct uvch__core* c, const void* items, size_t count, uint64_t timeout) {
  struct uvch__waiter waiter = {.kind = UVCH__SEND, .item = items, .count = count};
  int err = uvch__sleep_queued(c, &waiter, timeout);

  return waiter.sent > 0 ? (int) waiter.sent : err;
}

static int send_many_wait(const uvch_mpsc_sender_t* tx, const void* items, size_t count, uint64_t timeout) {
  struct uvch__core* c;
  int err = uvch__check_send(tx, items, count, &c);

  if (err == 0)
    err = uvch__may_sleep(c);
  if (err != 0)
    return err;
  if (timeout == 0) {
    err = uvch__try_send_many(c, items, count);
    return err == UV_EAGAIN ? UV_ETIMEDOUT : err;
  }
  err = uvch__try_send_all(c, items, count);
  if (err == UV_EAGAIN)
    return wait_for_room(c, items, count, timeout);
  return err == 0 ? (int) count : err;
}

static int send_wait(const uvch_mpsc_sender_t* tx, const void* item, uint64_t timeout) {
  struct uvch__core* c;
  int err = uvch__check_send(tx, item, 1, &c);

  if (err == 0)
    err = uvch__may_sleep(c);
  if (err == 0)
    err = uvch__try_send(c, item);
  if (err != UV_EAGAIN)
    return err;
  err = wait_for_room(c, item, 1, timeout);
  return err < 0 ? err : 0;
}

int uvch_mpsc_send_wait(const uvch_mpsc_sender_t* tx, const void* item) {
  return send_wait(tx, item, UINT64_MAX);
}

int uvch_mpsc_send_timedwait(const uvch_mpsc_sender_t* tx, const void* item, uint64_t timeout) {
  return send_wait(tx, item, timeout);
}

int uvch_mpsc_send_many_wait(const uvch_mpsc_sender_t* tx, const void* items, size_t count) {
  return send_many_wait(tx, items, count, UINT64_MAX);
}

int uvch_mpsc_send_many_timedwait(const uvch_mpsc_sender_t* tx, const void* items, size_t count, uint64_t timeout) {
  return send_many_wait(tx, items, count, timeout);
}

/* The end of the receiver. */

static int closed_wait(const uvch_mpsc_sender_t* tx, uint64_t timeout) {
  struct uvch__waiter waiter = {.kind = UVCH__WATCH};
  struct uvch__core* c;
  int err = uvch__check_send(tx, NULL, 0, &c);

  if (err == 0)
    err = uvch__may_sleep(c);
  if (err == 0 && !uvch__is_closed(c))
    err = uvch__sleep_queued(c, &waiter, timeout);
  return err == UV_EPIPE ? 0 : err; /* it closed on the way */
}

int uvch_mpsc_closed_wait(const uvch_mpsc_sender_t* tx) {
  return closed_wait(tx, UINT64_MAX);
}

int uvch_mpsc_closed_timedwait(const uvch_mpsc_sender_t* tx, uint64_t timeout) {
  return closed_wait(tx, timeout);
}
