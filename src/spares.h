/* SPDX-License-Identifier: MIT
 *
 * Spares: memory of short-lived endpoints that a port keeps for the next ones, in classes of size. Each keeps its reference to the
 * port, so that taking one and giving it back costs no count.
 *
 * The loop's thread has lists of its own. Other threads give back to a stack that the loop takes as a whole, so that no node can
 * go and come back between a load and a CAS.
 *
 * Edges:
 *   [P1] give   CAS of returned, release: what the giver did to the memory is seen by who takes it [P2]
 *   [P2] take   exchange of returned, acq_rel: with nothing, or at the end with CLOSED, which every later give finds */
#ifndef UVCH_SRC_SPARES_H
#define UVCH_SRC_SPARES_H

#include "atomic.h"
#include "endpoint.h"

#define UVCH__SPARES_CLASSES 4
#define UVCH__SPARES_MAX 64 /* of the loop's own of each class, and of those that were returned */

struct uvch__spares {
  atomic_uintptr_t returned; /* the newest; 0: none; CLOSED */
  atomic_uint count_returned;
  struct uvch__endpoint* own[UVCH__SPARES_CLASSES];
  unsigned int count[UVCH__SPARES_CLASSES];
  int is_closed;
};

/* uvch__spares_get: one of that class; NULL: there is none. uvch__spares_put: keep one. Its ops are those of a spare, whose `drop`
 * frees it. 0: it was not kept, and is the caller's to free. Both the loop's thread. */
static inline struct uvch__endpoint* uvch__spares_get(struct uvch__spares* s, unsigned int class) {
  struct uvch__endpoint* ep = s->own[class];

  if (ep != NULL) {
    s->own[class] = (struct uvch__endpoint*) ep->next;
    s->count[class]--;
  }
  return ep;
}

static inline int uvch__spares_put(struct uvch__spares* s, struct uvch__endpoint* ep, unsigned int class) {
  if (s->is_closed || s->count[class] >= UVCH__SPARES_MAX)
    return 0;
  ep->next = (uintptr_t) s->own[class];
  s->own[class] = ep;
  s->count[class]++;
  return 1;
}

/* uvch__spares_give: as put, from any thread. uvch__spares_take: all that were given, as a chain. The loop's thread. */
int uvch__spares_give(struct uvch__spares* s, struct uvch__endpoint* ep);
struct uvch__endpoint* uvch__spares_take(struct uvch__spares* s);

/* uvch__spares_close: frees all of them, and keeps none any more. The loop's thread. */
void uvch__spares_close(struct uvch__spares* s);

#endif
