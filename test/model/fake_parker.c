/* SPDX-License-Identifier: MIT
 *
 * Parkers in as few steps as they can have, each with memory of its own, which goes when it is let go. One that may not wait for
 * ever gives up at any step before it is woken. */
#include "parker.h"

#include "alloc.h"

enum { EMPTY, WOKEN };

struct uvch__parker* uvch__parker_new(void) {
  struct uvch__parker* p = uvch__calloc(1, sizeof *p);

  p->state = EMPTY;
  p->refs = 1;
  return p;
}

/* None is kept. Those of a pool that are in use are in its list, and no memory of the library. */
struct uvch__parker* uvch__parker_get(struct uvch__parker_pool* pool) {
  (void) pool;
  return NULL;
}

struct uvch__parker* uvch__parker_make(struct uvch__parker_pool* pool) {
  struct uvch__parker* p = steps_calloc(sizeof *p);

  p->state = EMPTY;
  p->refs = 2;
  p->pool = pool;
  steps_at(&pool->top, STEPS_WRITE, __func__);
  p->next = pool->top;
  pool->top = p;
  return p;
}

void uvch__parker_ref(struct uvch__parker* p) {
  atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
}

static void take_out(struct uvch__parker_pool* pool, struct uvch__parker* p) {
  struct uvch__parker* other;

  steps_at(&pool->top, STEPS_WRITE, __func__);
  other = pool->top;
  if (other == p) {
    pool->top = p->next;
    return;
  }
  while (other->next != p)
    other = other->next;
  other->next = p->next;
}

void uvch__parker_unref(struct uvch__parker* p) {
  if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
    return;
  if (p->pool == NULL) {
    uvch__free(p);
    return;
  }
  take_out(p->pool, p);
  steps_at(p, STEPS_FREE, __func__);
  steps_free(p);
}

void uvch__parker_pool_free(struct uvch__parker_pool* pool) {
  steps_expect(pool->top == NULL);
}

void uvch__parker_wake(struct uvch__parker* p) {
  steps_expect(atomic_exchange_explicit(&p->state, WOKEN, memory_order_acq_rel) == EMPTY);
}

static int is_woken(void* p) {
  return ((struct uvch__parker*) p)->state == WOKEN;
}

int uvch__parker_wait(struct uvch__parker* p, uint64_t deadline) {
  steps_wait(&p->state, STEPS_READ, __func__, deadline == UINT64_MAX ? is_woken : NULL, p);
  return is_woken(p) ? 0 : UV_ETIMEDOUT;
}

uint64_t uvch__parker_deadline(uint64_t timeout) {
  return timeout;
}
