/* SPDX-License-Identifier: MIT
 *
 * Callbacks on a loop: the turns of a group. */
#include "group.h"
#include "handle.h"
#include "item.h"
#include "linger.h"

#define TURN_MESSAGES 256  /* then the next endpoint of the loop has its turn */
#define MEMBER_MESSAGES 64 /* then the next member has, and never more in one callback */
#define NODES_MAX 16       /* that a member holds at once */
#define BATCH_BYTES 4096

enum outcome { DRY, MORE };

/* What is left of a turn. */
struct turn {
  struct uvch__group* g;
  struct uvch__port* port;
  uint64_t from;        /* where it began, or lingered last */
  int is_closed;        /* before the member's first look: nothing comes after what it finds */
  uint32_t left;        /* messages of the group's */
  uint32_t member_left; /* messages of the member's */
};

static int is_started(const uvch_broadcast_receiver_t* rx) {
  return (rx->flags & UVCH__ACTIVE) != 0;
}

/* After user code: whether the member, if it still is one, goes on. */
static int goes_on(const struct turn* t, const uvch_broadcast_receiver_t* rx) {
  return t->port->hand == &t->g->ep && t->g->hand == rx && is_started(rx);
}

static int spend(struct turn* t, uint32_t n) {
  t->left = t->left > n ? t->left - n : 0;
  t->member_left = t->member_left > n ? t->member_left - n : 0;
  return uvch__budget_spend(t->port, n) && t->left > 0 && t->member_left > 0;
}

/* A callback, whatever it closes, stops or runs: it costs. 1: there may be more. */
static int call(struct turn* t, uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, uint32_t n) {
  int is_left;

  if (rx->recv_many_cb != NULL)
    rx->recv_many_cb(rx, status, first, stride, n);
  else
    rx->recv_cb(rx, status, first);
  is_left = spend(t, n > 0 ? n : 1);
  return goes_on(t, rx) && is_left;
}

/* No message was found. 1: go on; the oldest that is kept comes after a gap, at once: a slow member might miss that too. */
static int tell(struct turn* t, uvch_broadcast_receiver_t* rx, enum uvch__found found) {
  int status;
  int more;

  if (found == UVCH__GAP) {
    status = uvch__group_gap(rx);
    more = call(t, rx, status, NULL, 0, 0);
    if (status < 0)
      uvch__serve(t->g->core, NULL);
    return more;
  }
  if (t->is_closed) {
    uvch__handle_set_active((uvch_handle_t*) rx, 0);
    call(t, rx, UV_EOF, NULL, 0, 0);
  }
  return 0;
}

static enum outcome outcome_of(enum uvch__found found) {
  return found == UVCH__NOTHING ? DRY : MORE;
}

/* Messages in slots. */

static uint32_t least(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

/* How many go before the budget is asked: it looks at the clock then. */
static uint32_t at_once(const struct turn* t) {
  const struct uvch__budget* b = &t->port->budget;
  uint32_t n = least(least(t->left, t->member_left), least(b->left, b->until_clock));

  return n > 0 ? n : 1;
}

static enum outcome deliver_one_by_one(struct turn* t, uvch_broadcast_receiver_t* rx) {
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
      found = uvch__ring_read(t->g->core, rx, 0, item);
      if (found != UVCH__FOUND)
        break;
      uvch__group_advance(t->g, rx, 1);
      rx->recv_cb(rx, 0, item);
      more = goes_on(t, rx) && rx->recv_many_cb == NULL;
    }
    is_left = spend(t, n);
    more = more && is_left;
    if (more && found != UVCH__FOUND)
      more = tell(t, rx, found) && rx->recv_many_cb == NULL;
  } while (more);
  return outcome_of(found);
}

static uint32_t batch_max(const struct turn* t, const uvch_broadcast_receiver_t* rx, size_t size) {
  uint32_t most = least(least(rx->recv_max, t->member_left), t->port->budget.left);
  size_t fit = size > 0 ? BATCH_BYTES / size : MEMBER_MESSAGES;

  return least(most, fit > 0 ? (uint32_t) fit : 1);
}

static enum outcome deliver_batches(struct turn* t, uvch_broadcast_receiver_t* rx) {
  struct uvch__broadcast* c = t->g->core;
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
      uvch__group_advance(t->g, rx, n);
      more = call(t, rx, 0, items, (size_t) c->words * 8, n);
    }
  } while (more && rx->recv_many_cb != NULL);
  return outcome_of(found);
}

/* Messages that are nodes. */

static void unref_all(struct uvch__broadcast* c, struct uvch__node** nodes, uint32_t n) {
  uint32_t i;

  for (i = 0; i < n; i++)
    uvch__node_unref(c, nodes[i]);
}

/* They do not lie together, so several are put together by their bytes. */
static int call_with_all(struct turn* t, uvch_broadcast_receiver_t* rx, struct uvch__node** nodes, uint32_t n) {
  struct uvch__broadcast* c = t->g->core;
  _Alignas(max_align_t) char items[BATCH_BYTES];
  uint32_t i;
  int more;

  for (i = 0; n > 1 && i < n; i++)
    uvch__item_copy(items + (size_t) i * c->item_size, nodes[i]->item, c->item_size);
  uvch__group_advance(t->g, rx, n);
  more = call(t, rx, 0, n > 1 ? items : nodes[0]->item, c->item_size, n);
  unref_all(c, nodes, n);
  return more && goes_on(t, rx);
}

/* As long as the callback takes none itself, and does not overrun its receiver. */
static int call_with_each(struct turn* t, uvch_broadcast_receiver_t* rx, struct uvch__node** nodes, uint32_t n) {
  struct uvch__broadcast* c = t->g->core;
  uint64_t first = rx->cursor;
  int more = 1;
  uint32_t i;

  for (i = 0; i < n && more && rx->cursor == first + i && uvch__tail_load(c) - rx->cursor <= c->capacity; i++) {
    uvch__group_advance(t->g, rx, 1);
    more = call(t, rx, 0, nodes[i]->item, c->item_size, 1);
    uvch__node_unref(c, nodes[i]);
    more = more && goes_on(t, rx) && rx->recv_many_cb == NULL;
  }
  unref_all(c, nodes + i, n - i);
  return more && goes_on(t, rx);
}

static enum outcome deliver_nodes(struct turn* t, uvch_broadcast_receiver_t* rx) {
  struct uvch__node* nodes[NODES_MAX];
  enum uvch__found found;
  uint32_t n;
  int many;
  int more;

  do {
    many = rx->recv_many_cb != NULL;
    n = least(NODES_MAX, many ? batch_max(t, rx, t->g->core->item_size) : least(t->member_left, t->port->budget.left));
    found = uvch__ring_pin(t->g->core, rx, nodes, &n);
    if (found != UVCH__FOUND)
      more = tell(t, rx, found);
    else
      more = many ? call_with_all(t, rx, nodes, n) : call_with_each(t, rx, nodes, n);
  } while (more);
  return outcome_of(found);
}

/* A member. */

static enum outcome deliver(struct turn* t, uvch_broadcast_receiver_t* rx) {
  if (!is_started(rx))
    return DRY;
  t->member_left = MEMBER_MESSAGES;
  t->is_closed = uvch__broadcast_is_closed(t->g->core);
  if (t->g->core->has_nodes)
    return deliver_nodes(t, rx);
  return rx->recv_many_cb != NULL ? deliver_batches(t, rx) : deliver_one_by_one(t, rx);
}

static void put_back(struct uvch__group* g, uvch_broadcast_receiver_t* rx, enum outcome outcome) {
  g->hand = NULL;
  if (!is_started(rx) || outcome == MORE) {
    uvch__list_append(is_started(rx) ? &g->ready : &g->stopped, uvch__member_link(rx));
    return;
  }
  uvch__list_append(&g->idle, uvch__member_link(rx));
  if (g->is_dry && (int64_t) (g->dry_at - rx->cursor) <= 0)
    return;
  g->is_dry = 1;
  g->dry_at = rx->cursor;
  g->dry_index = rx->index;
}

/* The group. */

/* Nobody is ready. 1: now somebody is. */
static int rest(struct turn* t) {
  struct uvch__group* g = t->g;
  int is_parked;

  if (!g->is_dry) { /* nobody is started */
    t->port->hand = NULL;
    g->has_token = 1;
    return 0;
  }
  if (uvch__linger(t->port, g->dry_at - t->from, g->core->capacity)) {
    t->from = g->dry_at;
    if (uvch__ring_has(g->core, g->dry_index, g->dry_at)) {
      uvch__backoff_hit(&t->port->linger);
      uvch__group_all_ready(g);
      return 1;
    }
    uvch__backoff_miss(&t->port->linger);
  }
  is_parked = uvch__group_park(g);
  uvch__group_all_ready(g);
  if (is_parked)
    t->port->hand = NULL;
  return !is_parked;
}

/* Those that are idle have something, though others are not through yet. */
static int idle_have_more(struct uvch__group* g) {
  return g->is_dry && (uvch__ring_has(g->core, g->dry_index, g->dry_at) || uvch__broadcast_is_closed(g->core));
}

static void run(struct turn* t) {
  struct uvch__group* g = t->g;

  while (t->port->hand == &g->ep && t->left > 0 && t->port->budget.left > 0) {
    uvch_broadcast_receiver_t* rx;
    enum outcome outcome;
    if (uvch__port_is_foreign(t->port)) {
      t->port->budget.left = 0; /* the pass is over, and after it the port */
      return;
    }
    if (uvch__list_is_empty(&g->ready)) {
      if (!rest(t))
        return;
      continue;
    }
    if (idle_have_more(g))
      uvch__group_all_ready(g);
    rx = uvch__member_at(g->ready.next);
    uvch__list_remove(uvch__member_link(rx));
    g->hand = rx;
    outcome = deliver(t, rx);
    uvch__group_settle(g); /* the first touch of the group that may be stale */
    if (g->hand == rx && t->port->hand == &g->ep)
      put_back(g, rx, outcome);
  }
}

static void turn(struct uvch__endpoint* ep, struct uvch__port* port) {
  struct turn t = {.g = uvch__group_of(ep), .port = port, .left = TURN_MESSAGES};

  if (t.g->members == 0) {
    port->hand = NULL;
    uvch__group_unref(t.g); /* the token's */
    return;
  }
  uvch__group_ref(t.g);  /* the last member may close */
  if (t.g->hand != NULL) /* of a turn whose callback runs the loop */
    uvch__list_append(&t.g->ready, uvch__member_link(t.g->hand));
  t.g->hand = NULL;
  t.from = atomic_load_explicit(&t.g->passed, memory_order_relaxed); /* relaxed: our own */
  run(&t);
  uvch__group_unref(t.g);
}

static void drop(struct uvch__endpoint* ep) {
  uvch__group_cut(uvch__group_of(ep));
}

/* It is dropped next, for which its core must be fit. */
static int is_dead(struct uvch__endpoint* ep) {
  struct uvch__group* g = uvch__group_of(ep);

  if (g->members == 0)
    uvch__broadcast_refork(g->core);
  return g->members == 0;
}

const struct uvch__endpoint_ops uvch__group_ops = {turn, drop, is_dead};
