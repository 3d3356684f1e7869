/* SPDX-License-Identifier: MIT
 *
 * Callbacks on a loop: what a member of a group has in its turn. */
#include "broadcast.h"
#include "item.h"
#include "linger.h"

#define BATCH_MESSAGES 64
#define NODES_MAX 16 /* that a member holds at once */
#define BATCH_BYTES 4096

static struct uvch__broadcast* core_of(const struct uvch__turn* t) {
  return uvch__broadcast_at(t->g->hub);
}

static void advance(struct uvch__turn* t, uvch_broadcast_receiver_t* rx, uint32_t n) {
  uvch__bgroup_advance(uvch__bgroup_at(t->g), rx, n);
}

static int goes_on(const struct uvch__turn* t, const uvch_broadcast_receiver_t* rx) {
  return uvch__turn_goes_on(t, (const uvch_handle_t*) rx);
}

/* A callback, whatever it closes, stops or runs: it costs. 1: there may be more. */
static int call(struct uvch__turn* t, uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, uint32_t n) {
  int is_left;

  if (rx->recv_many_cb != NULL)
    rx->recv_many_cb(rx, status, first, stride, n);
  else
    rx->recv_cb(rx, status, first);
  is_left = uvch__turn_spend(t, n > 0 ? n : 1);
  return goes_on(t, rx) && is_left;
}

/* No message was found. 1: go on; the oldest that is kept comes after a gap, at once: a slow member might miss that too. */
static int tell(struct uvch__turn* t, uvch_broadcast_receiver_t* rx, enum uvch__found found) {
  int status;
  int more;

  if (found == UVCH__GAP) {
    status = uvch__bgroup_gap(rx);
    more = call(t, rx, status, NULL, 0, 0);
    if (status < 0)
      uvch__serve(core_of(t), uvch__bgroup_at(t->g));
    return more;
  }
  if (t->is_closed) {
    uvch__handle_set_active((uvch_handle_t*) rx, 0);
    call(t, rx, UV_EOF, NULL, 0, 0);
  }
  return 0;
}

/* Messages in slots. */

static uint32_t least(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

/* How many go before the budget is asked: it looks at the clock then. */
static uint32_t at_once(const struct uvch__turn* t) {
  const struct uvch__budget* b = &t->port->budget;
  uint32_t n = least(least(t->left, t->member_left), least(b->left, b->until_clock));

  return n > 0 ? n : 1;
}

static int deliver_one_by_one(struct uvch__turn* t, uvch_broadcast_receiver_t* rx) {
  _Alignas(max_align_t) uint64_t item[UVCH__INLINE_MAX / 8];
  enum uvch__found found = UVCH__FOUND;
  uint32_t most;
  uint32_t n;
  int more;
  int is_left;

  do {
    most = at_once(t);
    more = 1;
    for (n = 0; n < most && more; n++) {
      found = uvch__ring_read(core_of(t), rx, 0, item);
      if (found != UVCH__FOUND)
        break;
      advance(t, rx, 1);
      rx->recv_cb(rx, 0, item);
      more = goes_on(t, rx) && rx->recv_many_cb == NULL;
    }
    is_left = uvch__turn_spend(t, n);
    more = more && is_left;
    if (more && found != UVCH__FOUND)
      more = tell(t, rx, found) && rx->recv_many_cb == NULL;
  } while (more);
  return found != UVCH__NOTHING;
}

static uint32_t batch_max(const struct uvch__turn* t, const uvch_broadcast_receiver_t* rx, size_t size) {
  uint32_t most = least(least(rx->recv_max, t->member_left), t->port->budget.left);
  size_t fit = size > 0 ? BATCH_BYTES / size : BATCH_MESSAGES;

  return least(most, fit > 0 ? (uint32_t) fit : 1);
}

static int deliver_batches(struct uvch__turn* t, uvch_broadcast_receiver_t* rx) {
  struct uvch__broadcast* c = core_of(t);
  _Alignas(max_align_t) uint64_t items[BATCH_BYTES / 8];
  enum uvch__found found;
  uint32_t most;
  uint32_t n;
  int more;

  do {
    found = UVCH__FOUND;
    most = least(batch_max(t, rx, (size_t) c->words * 8), c->capacity);
    for (n = 0; n < most && found == UVCH__FOUND; n += found == UVCH__FOUND)
      found = uvch__ring_read(c, rx, n, items + (size_t) n * c->words);
    if (n == 0) {
      more = tell(t, rx, found);
    } else {
      found = UVCH__FOUND; /* what ended the batch is found again */
      advance(t, rx, n);
      more = call(t, rx, 0, items, (size_t) c->words * 8, n);
    }
  } while (more && rx->recv_many_cb != NULL);
  return found != UVCH__NOTHING;
}

/* Messages that are nodes. */

static void unref_all(struct uvch__hub* h, struct uvch__node** nodes, uint32_t n) {
  uint32_t i;

  for (i = 0; i < n; i++)
    uvch__node_unref(h, nodes[i]);
}

/* They do not lie together, so several are put together by their bytes. */
static int call_with_all(struct uvch__turn* t, uvch_broadcast_receiver_t* rx, struct uvch__node** nodes, uint32_t n) {
  struct uvch__broadcast* c = core_of(t);
  _Alignas(max_align_t) char items[BATCH_BYTES];
  uint32_t i;
  int more;

  for (i = 0; n > 1 && i < n; i++)
    uvch__item_copy(items + (size_t) i * c->hub.item_size, nodes[i]->item, c->hub.item_size);
  advance(t, rx, n);
  more = call(t, rx, 0, n > 1 ? items : nodes[0]->item, c->hub.item_size, n);
  unref_all(&c->hub, nodes, n);
  return more && goes_on(t, rx);
}

/* As long as the callback takes none itself, and does not overrun its receiver. */
static int call_with_each(struct uvch__turn* t, uvch_broadcast_receiver_t* rx, struct uvch__node** nodes, uint32_t n) {
  struct uvch__broadcast* c = core_of(t);
  uint64_t first = rx->cursor;
  int more = 1;
  uint32_t i;

  for (i = 0; i < n && more && rx->cursor == first + i && uvch__tail_load(&c->hub) - rx->cursor <= c->capacity; i++) {
    advance(t, rx, 1);
    more = call(t, rx, 0, nodes[i]->item, c->hub.item_size, 1);
    uvch__node_unref(&c->hub, nodes[i]);
    more = more && goes_on(t, rx) && rx->recv_many_cb == NULL;
  }
  unref_all(&c->hub, nodes + i, n - i);
  return more && goes_on(t, rx);
}

static int deliver_nodes(struct uvch__turn* t, uvch_broadcast_receiver_t* rx) {
  struct uvch__node* nodes[NODES_MAX];
  enum uvch__found found;
  uint32_t n;
  int many;
  int more;

  do {
    many = rx->recv_many_cb != NULL;
    n = least(NODES_MAX, many ? batch_max(t, rx, core_of(t)->hub.item_size) : least(t->member_left, t->port->budget.left));
    found = uvch__ring_pin(core_of(t), rx, nodes, &n);
    if (found != UVCH__FOUND)
      more = tell(t, rx, found);
    else
      more = many ? call_with_all(t, rx, nodes, n) : call_with_each(t, rx, nodes, n);
  } while (more);
  return found != UVCH__NOTHING;
}

/* For the group's turn. */

int uvch__broadcast_deliver(struct uvch__turn* t, uvch_handle_t* member) {
  uvch_broadcast_receiver_t* rx = (uvch_broadcast_receiver_t*) member;

  if (core_of(t)->has_nodes)
    return deliver_nodes(t, rx);
  return rx->recv_many_cb != NULL ? deliver_batches(t, rx) : deliver_one_by_one(t, rx);
}

void uvch__broadcast_dry(struct uvch__group* g, const uvch_handle_t* member) {
  const uvch_broadcast_receiver_t* rx = (const uvch_broadcast_receiver_t*) member;

  if (g->is_dry && (int64_t) (g->dry_at - rx->cursor) <= 0)
    return;
  g->dry_at = rx->cursor;
  uvch__bgroup_at(g)->dry_index = rx->index;
}

int uvch__broadcast_has_more(struct uvch__group* g) {
  return uvch__ring_has(uvch__broadcast_at(g->hub), uvch__bgroup_at(g)->dry_index, g->dry_at);
}

int uvch__broadcast_linger(struct uvch__turn* t) {
  return uvch__linger(t->port, t->g->dry_at - t->from, core_of(t)->capacity);
}
