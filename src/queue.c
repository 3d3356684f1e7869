/* SPDX-License-Identifier: MIT */
#include "queue.h"

#include "alloc.h"

struct uvch__queue* uvch__queue_get(struct uvch__core* c) {
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2] */
  struct uvch__queue* mine;

  if (q != NULL)
    return q;
  mine = uvch__calloc(1, sizeof *mine);
  if (mine == NULL)
    return NULL;
  if (uv_mutex_init(&mine->lock) != 0) {
    uvch__free(mine);
    return NULL;
  }
  uvch__list_init(&mine->list);
  if (atomic_compare_exchange_strong_explicit(&c->queue, &q, mine, memory_order_acq_rel, memory_order_acquire)) /* [W2] */
    return mine;
  uvch__queue_free(mine);
  return q;
}

void uvch__queue_free(struct uvch__queue* q) {
  uvch__parker_pool_free(&q->parkers);
  uv_mutex_destroy(&q->lock);
  uvch__free(q);
}

/* Room for one, or the end. */
static int look(struct uvch__core* c) {
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
  uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire); /* [C2] */

  return (word & UVCH__CLOSED) != 0 || uvch__has_room(c, word, head);
}

static void want(struct uvch__core* c) {
  atomic_exchange_explicit(&c->wanted, 1, memory_order_acq_rel); /* [W1] */
}

/* Claims for the first waiter, past WAITERS; the claim for the last one clears that bit. The lock is held. */
static int claim(struct uvch__core* c, int is_last, uint64_t* index, int* token) {
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
  uint64_t after;
  int err;

  do {
    uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire); /* [C2] */
    err = (word & UVCH__CLOSED) != 0 ? UV_EPIPE : 0;
    if (err == 0 && !uvch__has_room(c, word, head))
      return UV_EAGAIN;
    after = err != 0 ? word : (word + UVCH__TAIL_ONE) & ~UVCH__AT_TAIL;
    if (is_last)
      after &= ~UVCH__WAITERS;
  } while (!atomic_compare_exchange_weak_explicit(&c->word, &word, after, memory_order_acq_rel, memory_order_acquire)); /* [C1] */
  *index = uvch__word_tail(word);
  *token = (word & UVCH__AT_TAIL) != 0;
  return err;
}

static int move_in(struct uvch__core* c, const struct uvch__waiter* waiter, uint64_t index, int token) {
  char* slots = atomic_load_explicit(&c->u.ring.slots, memory_order_acquire); /* [R1] */

  return uvch__fill(c, uvch__ring_slot(c, slots, index), waiter->item, token);
}

/* Serves from the front while there is room. The lock is held, and given up. It goes on only while others free room and cannot
 * serve themselves because of this lock; any cut that leaves out a last look leaves somebody waiting beside free room. */
static void serve(struct uvch__core* c, struct uvch__queue* q) {
  while (!uvch__list_is_empty(&q->list)) {
    struct uvch__waiter* waiter = UVCH__CONTAINER(q->list.next, struct uvch__waiter, queue);
    uint64_t index = 0;
    int token = 0;
    int more = waiter->queue.next != &q->list;
    int err = claim(c, !more, &index, &token);

    if (err != UV_EAGAIN) {
      waiter->state = UVCH__MOVING; /* first, for a fork in between */
      uvch__list_remove(&waiter->queue);
    } else {
      more = 1;
    }
    uv_mutex_unlock(&q->lock);
    if (more)
      want(c);
    if (err != UV_EAGAIN) {
      waiter->status = err == 0 ? move_in(c, waiter, index, token) : err;
      waiter->tell(waiter, c);
    }
    if (!more || !look(c) || uv_mutex_trylock(&q->lock) != 0)
      return;
  }
  uv_mutex_unlock(&q->lock);
}

void uvch__ask(struct uvch__core* c) {
  struct uvch__queue* q;

  if (atomic_exchange_explicit(&c->wanted, 0, memory_order_acq_rel) == 0) /* [W1] */
    return;
  q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2]; there is one, since somebody armed */
  if (uv_mutex_trylock(&q->lock) == 0)
    serve(c, q);
}

/* Every unlock that may leave somebody queued, but those of serve(). */
static void unlock(struct uvch__core* c, struct uvch__queue* q) {
  int more = !uvch__list_is_empty(&q->list);

  uv_mutex_unlock(&q->lock);
  if (!more)
    return;
  want(c);
  if (look(c) && uv_mutex_trylock(&q->lock) == 0)
    serve(c, q);
}

struct uvch__parker* uvch__queue_parker(struct uvch__core* c, struct uvch__queue* q) {
  struct uvch__parker* p;

  uv_mutex_lock(&q->lock);
  p = uvch__parker_get(&q->parkers);
  unlock(c, q);
  return p;
}

/* Sets or clears WAITERS under the lock; setting fails once CLOSED. */
static int set_waiters(struct uvch__core* c, int on) {
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */

  do {
    if (on && (word & UVCH__CLOSED) != 0)
      return UV_EPIPE;
  } while (!atomic_compare_exchange_weak_explicit(&c->word, &word, on ? word | UVCH__WAITERS : word & ~UVCH__WAITERS,
                                                  memory_order_acq_rel, memory_order_acquire)); /* [C1] */
  return 0;
}

int uvch__queue_wait(struct uvch__core* c, struct uvch__queue* q, struct uvch__waiter* waiter) {
  int err;

  uv_mutex_lock(&q->lock);
  err = set_waiters(c, 1);
  if (err == 0) {
    waiter->state = UVCH__QUEUED;
    uvch__list_append(&q->list, &waiter->queue);
  }
  unlock(c, q);
  return err;
}

int uvch__queue_cancel(struct uvch__core* c, struct uvch__waiter* waiter) {
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2] */
  int found;

  uv_mutex_lock(&q->lock);
  found = waiter->state == UVCH__QUEUED;
  if (found) {
    waiter->state = UVCH__IDLE;
    uvch__list_remove(&waiter->queue);
    if (uvch__list_is_empty(&q->list))
      set_waiters(c, 0);
  }
  unlock(c, q);
  return found;
}

void uvch__queue_refork(struct uvch__core* c) {
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2] */
  struct uvch__list* l;

  if (q == NULL)
    return;
  uv_mutex_init(&q->lock); /* cannot fail where it did not before */
  /* Only the way forward is sure: a thread may have been in the middle of a change. */
  l = q->list.next;
  uvch__list_init(&q->list);
  while (l != &q->list) {
    struct uvch__waiter* waiter = UVCH__CONTAINER(l, struct uvch__waiter, queue);
    l = l->next;
    if (waiter->parker == NULL && waiter->state == UVCH__QUEUED)
      uvch__list_append(&q->list, &waiter->queue);
  }
  set_waiters(c, 0);
  atomic_store_explicit(&c->wanted, 1, memory_order_relaxed); /* relaxed: no other thread exists */
  if (!uvch__list_is_empty(&q->list))
    set_waiters(c, 1); /* fails once CLOSED, where the bit means nothing */
  uvch__ask(c);
}
