/* SPDX-License-Identifier: MIT */
#include "core.h"

#include "alloc.h"
#include "queue.h"

#define MANY (1u << 31)

static uint64_t ring_mask(size_t capacity) {
  uint64_t n = 1;

  while (n < capacity + 1)
    n *= 2;
  return n - 1;
}

/* The allocator aligns for every type, not for a line. */
static struct uvch__core* allocate(void) {
  size_t slack = UVCH__LINE - _Alignof(max_align_t);
  char* p = uvch__calloc(1, sizeof(struct uvch__core) + slack);
  struct uvch__core* c;

  if (p == NULL)
    return NULL;
  slack = (0 - (uintptr_t) p) & (UVCH__LINE - 1);
  c = (struct uvch__core*) (void*) (p + slack);
  c->slack = (uint16_t) slack;
  return c;
}

struct uvch__core* uvch__core_new(size_t item_size, size_t capacity, const uvch_mpsc_options_t* options) {
  struct uvch__core* c = allocate();

  if (c == NULL)
    return NULL;
  c->item_size = (uint32_t) item_size;
  c->stride = (uint32_t) uvch__slot_stride(item_size);
  c->offset = (uint16_t) uvch__slot_offset(item_size);
  c->ep.ops = &uvch__receiver_ops;
  c->has_token = 1;
  atomic_init(&c->strong, 1);
  atomic_init(&c->refs, 3); /* the senders, the receiver, the token */
  if (capacity == UVCH_UNBOUNDED) {
    atomic_init(&c->hint, &c->u.list.before);
    atomic_init(&c->first, &c->u.list.before);
  } else {
    c->capacity = (uint32_t) capacity;
    c->u.ring.mask = ring_mask(capacity);
  }
  if (options == NULL)
    return c;
  c->drop = options->drop;
  c->arg = options->arg;
  if (c->capacity > 0 && (options->flags & UVCH_PREALLOCATE) != 0 && uvch__ring_make(c) != 0) {
    uvch__free((char*) c - c->slack);
    return NULL;
  }
  return c;
}

void uvch__core_ref(struct uvch__core* c) {
  atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed); /* relaxed: the caller has one */
}

/* The receiver is closed by now, so nothing is queued. */
static void destroy(struct uvch__core* c) {
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2] */
  struct uvch__port* port = uvch__home_port(&c->home);

  if (c->capacity > 0)
    uvch__free(atomic_load_explicit(&c->u.ring.slots, memory_order_acquire)); /* [R1] */
  else
    uvch__blocks_free(c);
  if (q != NULL)
    uvch__queue_free(q);
  uvch__free((char*) c - c->slack);
  if (port != NULL)
    uvch__port_unref(port);
}

void uvch__core_unref(struct uvch__core* c) {
  if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) /* [C4] */
    destroy(c);
}

uint64_t uvch__core_set(struct uvch__core* c, uint64_t bits) {
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */

  while (!atomic_compare_exchange_weak_explicit(&c->word, &word, (word | bits) & ~UVCH__AT_TAIL, memory_order_acq_rel,
                                                memory_order_acquire)) { /* [C1] */
  }
  return word;
}

int uvch__strong_get(struct uvch__core* c) {
  if (atomic_fetch_add_explicit(&c->strong, 1, memory_order_relaxed) < MANY) /* relaxed: the caller has one */
    return 0;
  atomic_fetch_sub_explicit(&c->strong, 1, memory_order_relaxed); /* relaxed: as above */
  return UV_ENOMEM;
}

void uvch__strong_put(struct uvch__core* c) {
  if (atomic_fetch_sub_explicit(&c->strong, 1, memory_order_acq_rel) != 1) /* [C4] */
    return;
  if ((uvch__core_set(c, UVCH__CLOSED) & UVCH__AT_TAIL) != 0)
    uvch__post(&c->home, &c->ep);
  uvch__core_unref(c);
}
