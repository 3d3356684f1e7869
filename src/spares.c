/* SPDX-License-Identifier: MIT */
#include "spares.h"

#include "port.h"

enum { NONE = 0, CLOSED = 1 }; /* no node has such an address */

/* relaxed, the count: it is a bound, not exact */
int uvch__spares_give(struct uvch__spares* s, struct uvch__endpoint* ep) {
  uintptr_t h = atomic_load_explicit(&s->returned, memory_order_relaxed); /* relaxed: the CAS checks it, or it is final */

  if (atomic_fetch_add_explicit(&s->count_returned, 1, memory_order_relaxed) >= UVCH__SPARES_MAX)
    h = CLOSED;
  while (h != CLOSED) {
    ep->next = h;
    if (atomic_compare_exchange_weak_explicit(&s->returned, &h, (uintptr_t) ep, memory_order_release,
                                              memory_order_relaxed)) /* [P1] */
      return 1;
  }
  atomic_fetch_sub_explicit(&s->count_returned, 1, memory_order_relaxed);
  return 0;
}

struct uvch__endpoint* uvch__spares_take(struct uvch__spares* s) {
  uintptr_t to = s->is_closed ? CLOSED : NONE;
  uintptr_t h = atomic_load_explicit(&s->returned, memory_order_relaxed); /* relaxed: the exchange acquires */
  struct uvch__endpoint* ep;
  unsigned int n = 0;

  if (h == to)
    return NULL;
  h = atomic_exchange_explicit(&s->returned, to, memory_order_acq_rel); /* [P2] */
  for (ep = (struct uvch__endpoint*) h; ep != NULL; ep = (struct uvch__endpoint*) ep->next)
    n++;
  atomic_fetch_sub_explicit(&s->count_returned, n, memory_order_relaxed);
  return (struct uvch__endpoint*) h;
}

static void free_chain(struct uvch__endpoint* ep) {
  while (ep != NULL) {
    struct uvch__endpoint* next = (struct uvch__endpoint*) ep->next;
    ep->ops->drop(ep);
    ep = next;
  }
}

void uvch__spares_close(struct uvch__spares* s) {
  unsigned int i;

  s->is_closed = 1;
  for (i = 0; i < UVCH__SPARES_CLASSES; i++) {
    free_chain(s->own[i]);
    s->own[i] = NULL;
  }
  free_chain(uvch__spares_take(s));
}
