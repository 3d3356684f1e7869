/* SPDX-License-Identifier: MIT */
#include "core.h"

#include <string.h>

#include "alloc.h"
#include "hot.h"
#include "queue.h"

static uint64_t ring_mask(size_t capacity) {
  uint64_t n = 1;

  while (n < capacity + uvch__batch_max(capacity))
    n *= 2;
  return n - 1;
}

static unsigned int bits_of(size_t n) {
  unsigned int bits = 0;

  for (; n > 0; n >>= 1)
    bits++;
  return bits;
}

static struct uvch__core* allocate(void) {
  uint8_t slack;
  struct uvch__core* c = uvch__malloc_line(sizeof *c, &slack);

  if (c == NULL)
    return NULL;
  memset(c, 0, sizeof *c);
  c->slack = slack;
  return c;
}

/* The memory of a core that nobody uses. */
static void release(struct uvch__core* c) {
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2] */

  if (c->capacity > 0)
    uvch__free(atomic_load_explicit(&c->u.ring.slots, memory_order_acquire)); /* [R1] */
  else
    uvch__blocks_free(c);
  if (q != NULL)
    uvch__queue_free(q);
  uvch__free((char*) c - c->slack);
}

/* What most channels do not have lies with the queue. */
static int set_options(struct uvch__core* c, const uvch_mpsc_options_t* options) {
  struct uvch__queue* q;

  if (options->drop != NULL || options->name != NULL) {
    q = uvch__queue_get(c);
    if (q == NULL)
      return UV_ENOMEM;
    q->drop = options->drop;
    q->arg = options->arg;
    if (options->name != NULL)
      strcpy(q->name, options->name);
  }
  return c->capacity > 0 && (options->flags & UVCH_PREALLOCATE) != 0 ? uvch__ring_make(c) : 0;
}

struct uvch__core* uvch__core_new(size_t item_size, size_t capacity, const uvch_mpsc_options_t* options) {
  struct uvch__core* c = allocate();

  uvch__hot_default(); /* asked here first: the threads that use the channel may be pinned */
  if (c == NULL)
    return NULL;
  c->item_size = (uint32_t) item_size;
  c->stride = (uint32_t) uvch__slot_stride(item_size);
  c->offset = (uint8_t) uvch__slot_offset(item_size);
  c->shift = UVCH__RESERVED_SHIFT;
  c->ep.ops = &uvch__receiver_ops;
  c->has_token = 1;
  atomic_init(&c->strong, UVCH__SENDER);
  atomic_init(&c->refs, 3); /* the senders, the receiver, the token */
  if (capacity == UVCH_UNBOUNDED) {
    atomic_init(&c->s.hint, &c->u.list.before);
    atomic_init(&c->first, &c->u.list.before);
  } else {
    c->capacity = (uint32_t) capacity;
    c->u.ring.mask = ring_mask(capacity);
    c->shift = (uint8_t) (c->shift + bits_of(capacity));
  }
  if (options != NULL && set_options(c, options) != 0) {
    release(c);
    return NULL;
  }
  return c;
}

void uvch__core_ref(struct uvch__core* c) {
  atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed); /* relaxed: the caller has one */
}

/* The receiver is closed by now, so nothing is queued. */
static void destroy(struct uvch__core* c) {
  struct uvch__port* port = uvch__home_port(&c->home);

  release(c);
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

static void end_storage(struct uvch__core* c) {
  if (c->capacity > 0)
    uvch__core_unref(c); /* see uvch__settle_begin() */
  else
    uvch__blocks_end(c);
}

void uvch__settle(struct uvch__core* c, int64_t indices) {
  if (atomic_fetch_sub_explicit(&c->debt, 2 * indices, memory_order_acq_rel) - 2 * indices == 1) /* [C5] */
    end_storage(c);
}

void uvch__settle_begin(struct uvch__core* c, int64_t unpublished) {
  int64_t debt = 2 * unpublished + 1; /* the lowest bit tells that the sweep is over */

  if (c->capacity > 0)
    uvch__core_ref(c);                                                             /* a ring goes with the core */
  if (atomic_fetch_add_explicit(&c->debt, debt, memory_order_acq_rel) + debt == 1) /* [C5] */
    end_storage(c);
}
