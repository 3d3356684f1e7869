/* SPDX-License-Identifier: MIT
 *
 * Edges:
 *   [K1] wake   exchange of state with WOKEN, acq_rel: everything before it is seen by the sleeper [K2]
 *   [K2] wait   load of state, acquire
 *   [K3] sleep  CAS of state, EMPTY to SLEEPING, under the mutex: either [K1] came before and it fails, or [K1] finds SLEEPING
 *               and signals under the mutex, which the sleeper gives up only inside uv_cond_wait()
 *   [K4] pool   CAS of top, release, by who pushes; acquire by who pops */
#include "parker.h"

#include "alloc.h"
#include "thread.h"

enum { EMPTY, SLEEPING, WOKEN };

#define POLLS 64                             /* looks at the state between two looks at the clock */
#define SLICE ((uint64_t) 3600 * 1000000000) /* ns; uv_cond_timedwait() adds without a check */

/* Whether waiting hot pays for this thread: what the parkers without a pool have found out, which live for one wait each. */
static UVCH__THREAD_LOCAL struct uvch__hot own_hot;

static struct uvch__parker* make(struct uvch__parker_pool* pool) {
  struct uvch__parker* p = uvch__calloc(1, sizeof *p);

  if (p == NULL)
    return NULL;
  if (uv_mutex_init(&p->mutex) != 0) {
    uvch__free(p);
    return NULL;
  }
  if (uv_cond_init(&p->cond) != 0) {
    uv_mutex_destroy(&p->mutex);
    uvch__free(p);
    return NULL;
  }
  p->pool = pool;
  return p;
}

static void destroy(struct uvch__parker* p) {
  uv_cond_destroy(&p->cond);
  uv_mutex_destroy(&p->mutex);
  uvch__free(p);
}

static struct uvch__parker* begin(struct uvch__parker* p, unsigned int refs) {
  atomic_store_explicit(&p->state, EMPTY, memory_order_relaxed); /* relaxed: whoever wakes it gets it from us by a later step */
  atomic_store_explicit(&p->refs, refs, memory_order_relaxed);   /* relaxed: as above */
  return p;
}

struct uvch__parker* uvch__parker_new(void) {
  struct uvch__parker* p = make(NULL);

  if (p == NULL)
    return NULL;
  if (own_hot.ceiling == 0 && !own_hot.is_alone)
    uvch__hot_init(&own_hot);
  p->hot = own_hot;
  return begin(p, 1);
}

void uvch__parker_ref(struct uvch__parker* p) {
  atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed); /* relaxed: the caller has one */
}

struct uvch__parker* uvch__parker_get(struct uvch__parker_pool* pool) {
  struct uvch__parker* p = atomic_load_explicit(&pool->top, memory_order_acquire); /* [K4] */

  while (p != NULL &&
         !atomic_compare_exchange_weak_explicit(&pool->top, &p, p->next, memory_order_acquire, memory_order_acquire)) {}
  return p != NULL ? begin(p, 2) : NULL;
}

struct uvch__parker* uvch__parker_make(struct uvch__parker_pool* pool) {
  struct uvch__parker* p = make(pool);

  if (p == NULL)
    return NULL;
  uvch__hot_init(&p->hot);
  return begin(p, 2);
}

void uvch__parker_unref(struct uvch__parker* p) {
  struct uvch__parker_pool* pool = p->pool;

  if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1) /* the last one sees what the other did */
    return;
  if (pool == NULL) {
    destroy(p);
    return;
  }
  p->next = atomic_load_explicit(&pool->top, memory_order_relaxed); /* relaxed: the CAS checks it */
  while (!atomic_compare_exchange_weak_explicit(&pool->top, &p->next, p, memory_order_release, memory_order_relaxed)) { /* [K4] */
  }
}

void uvch__parker_wake(struct uvch__parker* p) {
  if (atomic_exchange_explicit(&p->state, WOKEN, memory_order_acq_rel) != SLEEPING) /* [K1] */
    return;
  uv_mutex_lock(&p->mutex); /* the sleeper waits, or has seen WOKEN */
  uv_mutex_unlock(&p->mutex);
  uv_cond_signal(&p->cond); /* now, so that it does not run into the mutex */
}

static int is_woken(struct uvch__parker* p) {
  return atomic_load_explicit(&p->state, memory_order_acquire) == WOKEN; /* [K2] */
}

static int give_way(struct uvch__parker* p) {
  int way = uvch__give_way(&p->hot);

  if (!is_woken(p))
    return 0;
  if (way == 1)
    uvch__backoff_hit(&p->hot.backoff);
  return 1;
}

static int wait_hot(struct uvch__parker* p, uint64_t began, uint64_t deadline) {
  uint64_t now = began;
  int i;

  if (!uvch__hot_open(&p->hot, began))
    return is_woken(p) || give_way(p);
  do {
    for (i = 0; i < POLLS; i++) {
      if (is_woken(p))
        return 1;
      uvch__relax();
    }
    now = uv_hrtime();
  } while (now < deadline && uvch__hot_poll(&p->hot, now));
  return is_woken(p);
}

static void sleep_until(struct uvch__parker* p, uint64_t deadline) {
  unsigned int state = EMPTY;
  uint64_t now;

  uv_mutex_lock(&p->mutex);
  if (atomic_compare_exchange_strong_explicit(&p->state, &state, SLEEPING, memory_order_acq_rel,
                                              memory_order_acquire)) { /* [K3] */
    while (!is_woken(p)) {
      if (deadline == UINT64_MAX) {
        uv_cond_wait(&p->cond, &p->mutex);
        continue;
      }
      now = uv_hrtime();
      if (now >= deadline)
        break;
      uv_cond_timedwait(&p->cond, &p->mutex, deadline - now < SLICE ? deadline - now : SLICE);
    }
    state = SLEEPING; /* a later wait starts from EMPTY; a failure means WOKEN */
    atomic_compare_exchange_strong_explicit(&p->state, &state, EMPTY, memory_order_acq_rel, memory_order_acquire);
  }
  uv_mutex_unlock(&p->mutex);
}

int uvch__parker_wait(struct uvch__parker* p, uint64_t deadline) {
  uint64_t began = uv_hrtime();

  if (wait_hot(p, began, deadline)) {
    uvch__hot_hit(&p->hot, 0);
  } else {
    sleep_until(p, deadline);
    if (is_woken(p))
      uvch__hot_hit(&p->hot, uv_hrtime() - began);
  }
  if (p->pool == NULL)
    own_hot = p->hot;
  return is_woken(p) ? 0 : UV_ETIMEDOUT;
}

uint64_t uvch__parker_deadline(uint64_t timeout) {
  uint64_t now;

  if (timeout == UINT64_MAX)
    return timeout;
  now = uv_hrtime();
  return timeout < UINT64_MAX - now ? now + timeout : UINT64_MAX;
}

void uvch__parker_pool_free(struct uvch__parker_pool* pool) {
  struct uvch__parker* p = atomic_load_explicit(&pool->top, memory_order_acquire); /* [K4] */
  struct uvch__parker* next;

  for (; p != NULL; p = next) {
    next = p->next;
    destroy(p);
  }
}
