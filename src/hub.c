/* SPDX-License-Identifier: MIT */
#include "hub.h"

#include <string.h>

#include "alloc.h"
#include "group.h"

_Static_assert(offsetof(struct uvch__hub, tail) == UVCH__LINE, "what is written has a line of its own");
_Static_assert(offsetof(struct uvch__hub, lock.word) < 2 * UVCH__LINE, "and no more than one");

/* Life. */

void* uvch__hub_new(size_t size, const struct uvch__hub_ops* ops) {
  uint8_t slack;
  struct uvch__hub* h = uvch__malloc_line(size, &slack);

  if (h == NULL)
    return NULL;
  memset(h, 0, size);
  h->ops = ops;
  h->slack = slack;
  h->strong = 1;
  atomic_init(&h->refs, 1);
  uvch__list_init(&h->watchers);
  if (uvch__lock_init(&h->lock) == 0)
    return h;
  uvch__free((char*) h - slack);
  return NULL;
}

void uvch__hub_delete(struct uvch__hub* h) {
  uvch__lock_destroy(&h->lock);
  uvch__free((char*) h - h->slack);
}

void uvch__hub_ref(struct uvch__hub* h) {
  atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed); /* relaxed: the caller has one */
}

void uvch__hub_unref(struct uvch__hub* h) {
  if (atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1) /* [Y6] */
    h->ops->free(h);
}

/* Counts. */

int uvch__hub_add(struct uvch__hub* h, uint32_t* count, int needs_one) {
  int err = 0;

  uvch__lock(&h->lock);
  if (needs_one && *count == 0)
    err = UV_EPIPE;
  else if (*count >= UVCH__SENDERS_MAX)
    err = UV_ENOMEM;
  else
    ++*count;
  uvch__unlock(&h->lock);
  if (err == 0)
    uvch__hub_ref(h);
  return err;
}

void uvch__put_strong(struct uvch__hub* h, struct uvch__due* due) {
  if (--h->strong > 0)
    return;
  atomic_store_explicit(&h->closed, 1, memory_order_release); /* [Y3] */
  uvch__take_parked(h, due);
}

void uvch__hub_put(struct uvch__hub* h, uint32_t* count) {
  struct uvch__due due;

  uvch__due_init(&due);
  uvch__lock(&h->lock);
  if (count == &h->strong)
    uvch__put_strong(h, &due);
  else
    --*count;
  uvch__unlock(&h->lock);
  uvch__due_do(h, &due);
  uvch__hub_unref(h);
}

size_t uvch__hub_count(struct uvch__hub* h, const uint32_t* count) {
  size_t n;

  uvch__lock(&h->lock);
  n = *count;
  uvch__unlock(&h->lock);
  return n;
}

/* What comes after the lock. */

void uvch__due_do_all(struct uvch__hub* h, struct uvch__due* due) {
  struct uvch__group* g;
  struct uvch__node* node;
  struct uvch__waiter* waiter;

  while ((g = due->groups) != NULL) {
    due->groups = uvch__next_parked(g);
    uvch__post(&g->home, &g->ep);
  }
  while (!uvch__list_is_empty(&due->told)) {
    waiter = UVCH__CONTAINER(due->told.next, struct uvch__waiter, queue);
    uvch__list_remove(&waiter->queue);
    waiter->tell(waiter);
  }
  while ((node = due->nodes) != NULL) {
    due->nodes = node->next;
    h->ops->let_go(h, node);
  }
}

void uvch__take_all_parked(struct uvch__hub* h, struct uvch__due* due) {
  struct uvch__group* g;

  for (g = h->parked; g != NULL; g = uvch__next_parked(g))
    g->is_parked = 0;
  due->groups = h->parked;
  h->parked = NULL;
}
