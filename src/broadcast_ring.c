/* SPDX-License-Identifier: MIT
 *
 * The last `capacity` messages, see broadcast.h. */
#include "alloc.h"
#include "broadcast.h"
#include "item.h"

#define AHEAD 16       /* slots */
#define RELEASE_MAX 64 /* nodes that are taken out in one hold of the lock */

/* Nodes. */

struct uvch__node* uvch__node_new(struct uvch__broadcast* c, const void* item) {
  struct uvch__node* node = uvch__malloc(sizeof *node + c->hub.item_size);

  if (node == NULL)
    return NULL;
  atomic_init(&node->refs, 1);
  uvch__item_copy(node->item, item, c->hub.item_size);
  return node;
}

void uvch__node_free(struct uvch__node* node) {
  uvch__free(node);
}

void uvch__node_unref(struct uvch__hub* h, struct uvch__node* node) {
  if (atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) != 1) /* [Y6] */
    return;
  if (h->drop != NULL)
    h->drop(node->item, h->arg);
  uvch__free(node);
}

static struct uvch__node** node_at(const struct uvch__broadcast* c, uint32_t index) {
  return (struct uvch__node**) (void*) (c->slots + (size_t) index * uvch__slot_size(c));
}

static void take_out(struct uvch__node** place, struct uvch__due* due) {
  struct uvch__node* node = *place;

  *place = NULL;
  uvch__due_add_node(due, node);
}

/* Putting in. */

static void store_words(const struct uvch__broadcast* c, atomic_uint_least64_t* words, const void* item) {
  const char* from = item;
  uint32_t whole = c->hub.item_size / 8;
  uint64_t word = 0;
  uint32_t i;

  if (c->hub.item_size == 8) {
    memcpy(&word, item, 8);
    atomic_store_explicit(&words[0], word, memory_order_release); /* [Y1] */
    return;
  }
  for (i = 0; i < whole; i++) {
    memcpy(&word, from + (size_t) i * 8, 8);
    atomic_store_explicit(&words[i], word, memory_order_release); /* [Y1] */
  }
  if (c->hub.item_size % 8 == 0)
    return;
  word = 0;
  memcpy(&word, from + (size_t) i * 8, c->hub.item_size % 8);
  atomic_store_explicit(&words[i], word, memory_order_release); /* [Y1] */
}

/* The slot that a sender writes a little later is fetched: else the next locked operation waits until the line has come. Not with
 * WAIT, where receivers may be reading it. */
static void fetch_ahead(struct uvch__broadcast* c, uint32_t index, uint64_t p) {
  if (c->capacity > AHEAD && (c->policy != UVCH_BROADCAST_WAIT || (int64_t) (c->min + c->capacity - p) > AHEAD))
    uvch__prefetch_to_write(uvch__broadcast_slot(c, uvch__index_add(c, index, AHEAD)));
}

/* A fork may find a sender at any line of this, see uvch__ring_refork(). So the place goes first: the order of the stores is that
 * of the lines. */
void uvch__ring_put(struct uvch__broadcast* c, const void* item, struct uvch__node* node, struct uvch__due* due) {
  uint64_t p = atomic_load_explicit(&c->hub.tail, memory_order_relaxed); /* relaxed: the lock is held */
  uint32_t index = uvch__tail_index(c);
  struct uvch__node** place = node_at(c, index);
  atomic_uint_least64_t* slot = uvch__broadcast_slot(c, index);

  uvch__set_tail_index(c, p + 1, uvch__index_add(c, index, 1));
  if (c->has_nodes) {
    if (p - c->kept == c->capacity) {
      c->kept++;
      take_out(place, due);
    }
    *place = node;
    atomic_store_explicit(&c->hub.tail, p + 1, memory_order_release); /* [Y2] */
  } else {
    fetch_ahead(c, index, p);
    atomic_store_explicit(&c->hub.tail, p + 1, memory_order_release);            /* [Y2] */
    atomic_store_explicit(slot, uvch__slot_number(p) - 1, memory_order_release); /* [Y1] */
    store_words(c, slot + 1, item);
    atomic_store_explicit(slot, uvch__slot_number(p), memory_order_release); /* [Y1] */
  }
}

/* Behind what all have passed. */
int uvch__ring_release(struct uvch__broadcast* c, struct uvch__due* due) {
  uint64_t tail = atomic_load_explicit(&c->hub.tail, memory_order_relaxed); /* relaxed: the lock is held */
  uint64_t until = c->hub.groups != NULL ? c->min : tail;
  uint32_t back = (uint32_t) (tail - c->kept);
  uint32_t index = uvch__index_add(c, uvch__tail_index(c), c->capacity - back);
  int n = 0;

  if (!c->has_nodes)
    return 0;
  while ((int64_t) (until - c->kept) > 0 && n++ < RELEASE_MAX) {
    c->kept++;
    take_out(node_at(c, index), due);
    index = uvch__index_add(c, index, 1);
  }
  return (int64_t) (until - c->kept) > 0;
}

/* Taking out. */

enum uvch__found uvch__ring_pin(struct uvch__broadcast* c, const uvch_broadcast_receiver_t* rx, struct uvch__node** nodes,
                                uint32_t* count) {
  enum uvch__found found = UVCH__FOUND;
  uint64_t there;
  uint32_t i;

  uvch__lock(&c->hub.lock);
  there = atomic_load_explicit(&c->hub.tail, memory_order_relaxed) - rx->cursor; /* relaxed: the lock is held */
  if (there == 0)
    found = UVCH__NOTHING;
  else if ((int64_t) (c->kept - rx->cursor) > 0)
    found = UVCH__GAP;
  else
    *count = there < *count ? (uint32_t) there : *count;
  for (i = 0; found == UVCH__FOUND && i < *count; i++) {
    nodes[i] = *node_at(c, uvch__index_add(c, rx->index, i));
    uvch__prefetch_to_write(nodes[i]); /* all lines at once, not one after the other */
  }
  for (i = 0; found == UVCH__FOUND && i < *count; i++)
    atomic_fetch_add_explicit(&nodes[i]->refs, 1, memory_order_relaxed); /* relaxed: the ring has one, under the lock */
  uvch__unlock(&c->hub.lock);
  return found;
}

uint64_t uvch__ring_gap(struct uvch__broadcast* c, const uvch_broadcast_receiver_t* rx) {
  uint64_t missed;

  if (c->has_nodes) {
    uvch__lock(&c->hub.lock);
    missed = c->kept - rx->cursor;
    uvch__unlock(&c->hub.lock);
    return missed;
  }
  missed = uvch__tail_load(&c->hub) - c->capacity - rx->cursor;
  return missed > 0 ? missed : 1; /* 0: a fork has cut off the send that was overwriting this one */
}

/* After a fork. */

/* relaxed: no other thread exists. What the send was overwriting is lost: a reader that comes to it finds a number that is too
 * great, or that it is not kept. A node that was not counted yet is leaked, as whatever else that thread had. */
void uvch__ring_refork(struct uvch__broadcast* c) {
  uint64_t tail = atomic_load_explicit(&c->hub.tail, memory_order_relaxed);
  uint64_t place = atomic_load_explicit(&c->place, memory_order_relaxed);
  uint32_t before = uvch__index_add(c, (uint32_t) place, c->capacity - 1);

  if (place >> 32 != (tail & UINT32_MAX))
    uvch__set_tail_index(c, tail, before);     /* it had done no more than that, or has a node that is not counted */
  else if (!c->has_nodes && tail != c->kept && /* where that stays, so something was sent */
           atomic_load_explicit(uvch__broadcast_slot(c, before), memory_order_relaxed) != uvch__slot_number(tail - 1)) {
    atomic_store_explicit(&c->hub.tail, tail - 1, memory_order_relaxed);
    uvch__set_tail_index(c, tail - 1, before);
  }
}
