/* SPDX-License-Identifier: MIT
 *
 * The slots of a bounded channel: a ring of a power of two. It has more slots than the capacity, by as many as one callback may
 * get, because their room is given back before the callback, and their bytes are good until that returns. Made by the first sender
 * before its claim, so that a failed allocation claims nothing, and permits need none.
 *
 * Edge:
 *   [R1] slots  CAS, release, before the claim [C1]; acquire by everybody else. After a claim the ring is there. */
#include "alloc.h"
#include "core.h"

int uvch__ring_make(struct uvch__core* c) {
  char* slots = uvch__calloc((size_t) c->u.ring.mask + 1, c->stride); /* all EMPTY */
  char* other = NULL;

  if (slots == NULL)
    return UV_ENOMEM;
  if (!atomic_compare_exchange_strong_explicit(&c->u.ring.slots, &other, slots, memory_order_acq_rel,
                                               memory_order_acquire)) /* [R1] */
    uvch__free(slots);
  return 0;
}
