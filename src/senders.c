/* SPDX-License-Identifier: MIT
 *
 * Who keeps a channel open: senders, requests that wait to send or reserve, and permits. Weak senders do not.
 *
 *    63                      32 31                    1         0
 *   +--------------------------+----------------------+----------+
 *   | revivals                 | senders and requests | PERMITS  |
 *   +--------------------------+----------------------+----------+
 *   PERMITS   somebody reserved, ever: all permits together count as a sender as long as something is reserved
 *
 * So a permit needs no count of its own; what is reserved stands in the claim word. Who makes one of the two conditions true,
 * no sender or nothing reserved, looks for the other and ends the channel if both hold. Neither can miss: both steps are followed
 * or made by a read-modify-write of the word, and the later one sees the earlier.
 *
 * Between the two looks a sender may be made again, by an upgrade or from a permit, reserve, and be closed. That is what the
 * revivals are for: each time the count leaves "permits only" they go up, so that the last step, a CAS of what was seen, fails.
 * While it does not fail there was no sender, hence nobody to reserve, hence nothing reserved since it was seen. At 0 it stays.
 *
 * Edges:
 *   [N1] strong  decrements and the last CAS are acq_rel: who ends sees what all others did */
#include "core.h"
#include "queue.h"

#define LIVE ((uint64_t) UINT32_MAX)
#define REVIVAL ((uint64_t) 1 << 32)
#define MANY ((uint64_t) 1 << 31)

static void end_senders(struct uvch__core* c) {
  if ((uvch__core_set(c, UVCH__CLOSED) & UVCH__AT_TAIL) != 0)
    uvch__post(&c->home, &c->ep);
  uvch__ask_closed(c);
  uvch__core_unref(c); /* theirs */
}

int uvch__strong_get(struct uvch__core* c) {
  uint64_t strong = atomic_fetch_add_explicit(&c->strong, UVCH__SENDER, memory_order_relaxed); /* relaxed: the caller has one */

  if ((strong & LIVE) < MANY)
    return 0;
  atomic_fetch_sub_explicit(&c->strong, UVCH__SENDER, memory_order_relaxed); /* relaxed: as above */
  return UV_ENOMEM;
}

int uvch__strong_revive(struct uvch__core* c) {
  uint64_t strong = atomic_load_explicit(&c->strong, memory_order_relaxed); /* relaxed: the CAS checks it */
  uint64_t after;

  do {
    if ((strong & LIVE) == 0)
      return UV_EPIPE;
    if ((strong & LIVE) >= MANY)
      return UV_ENOMEM;
    after = strong + UVCH__SENDER + ((strong & LIVE) == UVCH__PERMITS ? REVIVAL : 0);
  } while (
      !atomic_compare_exchange_weak_explicit(&c->strong, &strong, after, memory_order_acq_rel, memory_order_relaxed)); /* [N1] */
  return 0;
}

void uvch__permits_begin(struct uvch__core* c) {
  if ((atomic_load_explicit(&c->strong, memory_order_relaxed) & UVCH__PERMITS) == 0) /* relaxed: once set it stays */
    atomic_fetch_or_explicit(&c->strong, UVCH__PERMITS, memory_order_acq_rel);       /* [N1] */
}

void uvch__permits_end(struct uvch__core* c) {
  uint64_t strong = atomic_load_explicit(&c->strong, memory_order_acquire); /* [N1] */
  uint64_t word;

  if ((strong & LIVE) != UVCH__PERMITS)
    return;
  word = atomic_fetch_or_explicit(&c->word, 0, memory_order_acq_rel); /* [C1] a read-modify-write: nobody misses it */
  if (uvch__word_reserved(c, word) == 0 &&
      atomic_compare_exchange_strong_explicit(&c->strong, &strong, strong - UVCH__PERMITS, memory_order_acq_rel,
                                              memory_order_relaxed)) /* [N1] */
    end_senders(c);
}

void uvch__strong_put(struct uvch__core* c) {
  uint64_t left = (atomic_fetch_sub_explicit(&c->strong, UVCH__SENDER, memory_order_acq_rel) & LIVE) - UVCH__SENDER; /* [N1] */

  if (left == 0)
    end_senders(c);
  else if (left == UVCH__PERMITS)
    uvch__permits_end(c);
}

/* Senders. */

int uvch_mpsc_sender_clone(const uvch_mpsc_sender_t* tx, uvch_mpsc_sender_t* copy) {
  struct uvch__core* c = uvch__sender_core(tx);
  int err;

  if (tx == NULL || copy == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  err = uvch__strong_get(c);
  if (err == 0)
    copy->core = c;
  return err;
}

int uvch_mpsc_sender_close(uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = tx != NULL ? uvch__ptr_take(&tx->core) : NULL;

  if (c == NULL)
    return tx == NULL ? UV_EINVAL : UVCH__WAS_CLOSED(tx);
  UVCH__DID(tx, "closed");
  uvch__core_ref(c); /* while it looks for permits the last one of them may go */
  uvch__strong_put(c);
  uvch__core_unref(c);
  return 0;
}

/* Weak senders. Each holds the core. */

static struct uvch__core* weak_core(const uvch_mpsc_weak_sender_t* weak) {
  return weak != NULL ? uvch__ptr_load(&weak->core) : NULL;
}

static int make_weak(struct uvch__core* c, uvch_mpsc_weak_sender_t* weak) {
  if (atomic_fetch_add_explicit(&c->weak, 1, memory_order_relaxed) >= MANY / 2) { /* relaxed: a number, [C4] keeps the memory */
    atomic_fetch_sub_explicit(&c->weak, 1, memory_order_relaxed);                 /* relaxed: as above */
    return UV_ENOMEM;
  }
  uvch__core_ref(c);
  weak->core = c;
  return 0;
}

int uvch_mpsc_sender_downgrade(const uvch_mpsc_sender_t* tx, uvch_mpsc_weak_sender_t* weak) {
  struct uvch__core* c = uvch__sender_core(tx);

  if (tx == NULL || weak == NULL)
    return UV_EINVAL;
  return c == NULL ? UVCH__WAS_CLOSED(tx) : make_weak(c, weak);
}

int uvch_mpsc_weak_sender_clone(const uvch_mpsc_weak_sender_t* weak, uvch_mpsc_weak_sender_t* copy) {
  struct uvch__core* c = weak_core(weak);

  if (weak == NULL || copy == NULL)
    return UV_EINVAL;
  return c == NULL ? UVCH__WAS_CLOSED(weak) : make_weak(c, copy);
}

int uvch_mpsc_weak_sender_upgrade(const uvch_mpsc_weak_sender_t* weak, uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = weak_core(weak);
  int err;

  if (weak == NULL || tx == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__WAS_CLOSED(weak);
  err = uvch__strong_revive(c);
  if (err == 0)
    tx->core = c;
  return err;
}

int uvch_mpsc_weak_sender_close(uvch_mpsc_weak_sender_t* weak) {
  struct uvch__core* c = weak != NULL ? uvch__ptr_take(&weak->core) : NULL;

  if (c == NULL)
    return weak == NULL ? UV_EINVAL : UVCH__WAS_CLOSED(weak);
  UVCH__DID(weak, "closed");
  atomic_fetch_sub_explicit(&c->weak, 1, memory_order_relaxed); /* relaxed: a number */
  uvch__core_unref(c);
  return 0;
}

/* Counts. */

static size_t strong_count(struct uvch__core* c) {
  uint64_t strong = atomic_load_explicit(&c->strong, memory_order_relaxed) & LIVE; /* relaxed: a number */
  uint64_t word = atomic_load_explicit(&c->word, memory_order_relaxed);            /* relaxed: a number */

  return (size_t) (strong / UVCH__SENDER + (strong > 0 ? uvch__word_reserved(c, word) : 0));
}

static size_t weak_count(struct uvch__core* c) {
  return atomic_load_explicit(&c->weak, memory_order_relaxed); /* relaxed: a number */
}

size_t uvch_mpsc_sender_strong_count(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = uvch__sender_core(tx);
  return c != NULL ? strong_count(c) : 0;
}

size_t uvch_mpsc_sender_weak_count(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = uvch__sender_core(tx);
  return c != NULL ? weak_count(c) : 0;
}

size_t uvch_mpsc_weak_sender_strong_count(const uvch_mpsc_weak_sender_t* weak) {
  struct uvch__core* c = weak_core(weak);
  return c != NULL ? strong_count(c) : 0;
}

size_t uvch_mpsc_weak_sender_weak_count(const uvch_mpsc_weak_sender_t* weak) {
  struct uvch__core* c = weak_core(weak);
  return c != NULL ? weak_count(c) : 0;
}

size_t uvch_mpsc_receiver_strong_count(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = uvch__receiver_core(rx);
  return c != NULL ? strong_count(c) : 0;
}

size_t uvch_mpsc_receiver_weak_count(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = uvch__receiver_core(rx);
  return c != NULL ? weak_count(c) : 0;
}
