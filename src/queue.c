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
  uvch__list_init(&mine->watchers);
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

static struct uvch__waiter* waiter_at(struct uvch__list* l) {
  return UVCH__CONTAINER(l, struct uvch__waiter, queue);
}

static void unlink_waiter(struct uvch__queue* q, struct uvch__waiter* waiter) {
  uvch__list_remove(&waiter->queue);
  if (waiter->kind != UVCH__WATCH)
    atomic_fetch_sub_explicit(&q->waiting, 1, memory_order_relaxed); /* relaxed: a number */
}

/* Places that a waiter needs to get on. */
static size_t need_of(const struct uvch__waiter* waiter) {
  return waiter->kind == UVCH__RESERVE ? waiter->count : 1;
}

/* What those who are in the queue wait for. */
struct left {
  size_t need; /* places of the first one; 0: nobody waits for room */
  int watched;
};

/* The lock is held. */
static struct left who_is_left(struct uvch__queue* q) {
  return (struct left){uvch__list_is_empty(&q->list) ? 0 : need_of(waiter_at(q->list.next)), !uvch__list_is_empty(&q->watchers)};
}

/* After the unlock: arms for who is left, and looks. 1: somebody can be served. */
static int arm(struct uvch__core* c, struct left left) {
  uint64_t word;
  uint64_t head;

  if (left.need == 0 && !left.watched)
    return 0;
  if (left.need > 0)
    atomic_exchange_explicit(&c->wanted, 1, memory_order_acq_rel); /* [W1] */
  if (left.watched)
    atomic_exchange_explicit(&c->watched, 1, memory_order_acq_rel); /* [W1] */
  word = atomic_load_explicit(&c->word, memory_order_acquire);      /* [C1] */
  head = atomic_load_explicit(&c->head, memory_order_acquire);      /* [C2] */
  return (word & UVCH__CLOSED) != 0 || (left.need > 0 && uvch__room(c, word, head) >= (int64_t) left.need);
}

/* Places that were claimed for the first waiter. */
struct places {
  uint64_t index;
  size_t count;
  int token;
};

/* Claims past WAITERS; the claim that is all for the last one clears that bit. The lock is held. 0, UV_EAGAIN, UV_EPIPE. */
static int claim(struct uvch__core* c, const struct uvch__waiter* waiter, int is_last, struct places* claimed) {
  uint64_t seen = atomic_load_explicit(&c->cached, memory_order_acquire); /* [C3] */
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire);   /* [C1] */
  uint64_t head;
  uint64_t after;
  size_t n;

  do {
    int64_t room;
    head = atomic_load_explicit(&c->head, memory_order_acquire); /* [C2] */
    room = uvch__room(c, word, head);
    n = 0;
    if ((word & UVCH__CLOSED) == 0) {
      if (room < (int64_t) need_of(waiter))
        return UV_EAGAIN;
      n = (int64_t) waiter->count < room ? waiter->count : (size_t) room;
    }
    if (waiter->kind == UVCH__RESERVE)
      after = word + n * UVCH__RESERVED_ONE;
    else
      after = n > 0 ? (word + n * uvch__tail_one(c)) & ~UVCH__AT_TAIL : word;
    if (is_last && (n == 0 || n == waiter->count))
      after &= ~UVCH__WAITERS;
  } while (!atomic_compare_exchange_weak_explicit(&c->word, &word, after, memory_order_acq_rel, memory_order_acquire)); /* [C1] */
  uvch__cache_head(c, seen, head);
  *claimed = (struct places){uvch__word_tail(c, word), n, ((word ^ after) & UVCH__AT_TAIL) != 0};
  return n > 0 ? 0 : UV_EPIPE;
}

static int move_in(struct uvch__core* c, struct uvch__waiter* waiter, const struct places* claimed) {
  int err = uvch__fill_ring(c, claimed->index, waiter->item, claimed->count, claimed->token);

  if (err == 0) {
    waiter->item = uvch__item_at(waiter->item, claimed->count, c->item_size);
    waiter->count -= claimed->count;
    waiter->sent += claimed->count;
  }
  return err;
}

/* The first one who can be told, out of the queue, with its claim; NULL if nobody can. The lock is held. */
static struct uvch__waiter* next(struct uvch__core* c, struct uvch__queue* q, struct places* claimed) {
  struct uvch__waiter* waiter;
  int err = 0;

  if (!uvch__list_is_empty(&q->list)) {
    waiter = waiter_at(q->list.next);
    err = claim(c, waiter, waiter->queue.next == &q->list, claimed);
    if (err == 0 && waiter->kind == UVCH__SEND && claimed->count < waiter->count) {
      waiter->state = UVCH__MOVING; /* for a fork */
      move_in(c, waiter, claimed);  /* a failure comes again, as CLOSED */
      waiter->state = UVCH__QUEUED;
      return NULL;
    }
    if (err == UV_EAGAIN)
      return NULL;
  } else if (!uvch__list_is_empty(&q->watchers) && uvch__is_closed(c)) {
    waiter = waiter_at(q->watchers.next);
  } else {
    return NULL;
  }
  if (waiter->kind != UVCH__SEND || err != 0)
    waiter->status = err; /* a send is not done yet: so says a fork in between */
  waiter->state = UVCH__MOVING;
  unlink_waiter(q, waiter);
  return waiter;
}

/* Serves from the front while there is room. The lock is held, and given up. It goes on only while others free room and cannot
 * serve themselves because of this lock; any cut that leaves out a last look leaves somebody waiting beside free room.
 *
 * A reservation whose loop is gone gives its places back while it is told, and there may be many of them. So it is told unarmed:
 * the places are for the next round, not for a call inside this one. */
static void serve(struct uvch__core* c, struct uvch__queue* q) {
  int more;

  do {
    struct places claimed = {0, 0, 0};
    struct uvch__waiter* waiter = next(c, q, &claimed);
    int is_unarmed = waiter != NULL && waiter->kind == UVCH__RESERVE;
    struct left left = who_is_left(q);
    if (is_unarmed)
      atomic_exchange_explicit(&c->wanted, 0, memory_order_acq_rel); /* [W1] */
    uv_mutex_unlock(&q->lock);
    if (is_unarmed) {
      waiter->tell(waiter, c);
      waiter = NULL;
    }
    more = arm(c, left);
    if (waiter != NULL) {
      if (waiter->kind == UVCH__SEND && claimed.count > 0)
        waiter->status = move_in(c, waiter, &claimed);
      waiter->tell(waiter, c);
    }
  } while (more && uv_mutex_trylock(&q->lock) == 0);
}

static void try_serve(struct uvch__core* c) {
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2]; there is one, since somebody armed */

  if (uv_mutex_trylock(&q->lock) == 0)
    serve(c, q);
}

void uvch__ask(struct uvch__core* c) {
  if (atomic_exchange_explicit(&c->wanted, 0, memory_order_acq_rel) != 0) /* [W1] */
    try_serve(c);
}

void uvch__ask_closed(struct uvch__core* c) {
  unsigned int wanted = atomic_exchange_explicit(&c->wanted, 0, memory_order_acq_rel); /* [W1] */

  wanted |= atomic_exchange_explicit(&c->watched, 0, memory_order_acq_rel); /* [W1] */
  if (wanted != 0)
    try_serve(c);
}

/* Every unlock but those of serve(). */
static void unlock_and_serve(struct uvch__core* c, struct uvch__queue* q) {
  struct left left = who_is_left(q);

  uv_mutex_unlock(&q->lock);
  if (arm(c, left) && uv_mutex_trylock(&q->lock) == 0)
    serve(c, q);
}

struct uvch__parker* uvch__queue_parker(struct uvch__core* c, struct uvch__queue* q) {
  struct uvch__parker* p;

  uv_mutex_lock(&q->lock);
  p = uvch__parker_get(&q->parkers);
  unlock_and_serve(c, q);
  return p != NULL ? p : uvch__parker_make(&q->parkers);
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
  if (waiter->kind == UVCH__WATCH)
    err = uvch__is_closed(c) ? UV_EPIPE : 0;
  else
    err = set_waiters(c, 1);
  if (err == 0) {
    waiter->state = UVCH__QUEUED;
    uvch__list_append(waiter->kind == UVCH__WATCH ? &q->watchers : &q->list, &waiter->queue);
    if (waiter->kind != UVCH__WATCH)
      atomic_fetch_add_explicit(&q->waiting, 1, memory_order_relaxed); /* relaxed: a number */
  }
  unlock_and_serve(c, q);
  return err;
}

int uvch__queue_cancel(struct uvch__core* c, struct uvch__waiter* waiter) {
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2] */
  int found;

  uv_mutex_lock(&q->lock);
  found = waiter->state == UVCH__QUEUED;
  if (found) {
    waiter->state = UVCH__IDLE;
    unlink_waiter(q, waiter);
    if (uvch__list_is_empty(&q->list))
      set_waiters(c, 0);
  }
  unlock_and_serve(c, q);
  return found;
}

/* The requests of a list; only the way forward is sure: a thread may have been in the middle of a change. */
static unsigned int keep_requests(struct uvch__list* list) {
  struct uvch__list* l = list->next;
  unsigned int n = 0;

  uvch__list_init(list);
  while (l != list) {
    struct uvch__waiter* waiter = waiter_at(l);
    l = l->next;
    if (waiter->parker == NULL && waiter->state == UVCH__QUEUED) {
      uvch__list_append(list, &waiter->queue);
      n++;
    }
  }
  return n;
}

void uvch__queue_refork(struct uvch__core* c) {
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2] */
  unsigned int waiting;

  if (q == NULL)
    return;
  uv_mutex_init(&q->lock); /* cannot fail where it did not before */
  waiting = keep_requests(&q->list);
  keep_requests(&q->watchers);
  /* relaxed: no other thread exists */
  atomic_store_explicit(&q->waiting, waiting, memory_order_relaxed);
  atomic_store_explicit(&c->wanted, 1, memory_order_relaxed);
  atomic_store_explicit(&c->watched, 1, memory_order_relaxed);
  set_waiters(c, 0);
  if (waiting > 0)
    set_waiters(c, 1); /* fails once CLOSED, where the bit means nothing */
  uvch__ask_closed(c);
}
