/* SPDX-License-Identifier: MIT
 *
 * How far the groups of a broadcast channel are, see broadcast.h. */
#include <limits.h>

#include "broadcast.h"

#define FAR_AHEAD ((uint64_t) 1 << 62) /* of all positions that will ever be */

static uint64_t passed_of(struct uvch__bgroup* g) {
  return atomic_load_explicit(&g->passed, memory_order_relaxed); /* relaxed: our own, or the lock is held */
}

static uvch_broadcast_receiver_t* receiver(uvch_handle_t* member) {
  return (uvch_broadcast_receiver_t*) member;
}

/* One group. */

static void count_in(struct uvch__bgroup* g, uint64_t cursor, uint64_t* passed) {
  if (g->at_passed == 0 || (int64_t) (cursor - *passed) < 0) {
    g->second = g->at_passed == 0 ? cursor + FAR_AHEAD : *passed;
    *passed = cursor;
    g->at_passed = 1;
  } else if (cursor == *passed) {
    g->at_passed++;
  } else if ((int64_t) (cursor - g->second) < 0) {
    g->second = cursor;
  }
}

static void count_list(struct uvch__bgroup* g, struct uvch__list* list, uint64_t* passed) {
  struct uvch__list* l;

  for (l = list->next; l != list; l = l->next)
    count_in(g, receiver(uvch__member_at(l))->cursor, passed);
}

/* Looks at all members: the slowest ones have got on past another, or have left. */
void uvch__bgroup_passed(struct uvch__bgroup* g) {
  uint64_t passed = 0;

  g->at_passed = 0;
  if (g->group.hand != NULL)
    count_in(g, receiver(g->group.hand)->cursor, &passed);
  count_list(g, &g->group.ready, &passed);
  count_list(g, &g->group.idle, &passed);
  count_list(g, &g->group.stopped, &passed);
  atomic_store_explicit(&g->passed, passed, memory_order_release); /* [Y4] */
}

void uvch__bgroup_settle(struct uvch__group* group) {
  struct uvch__bgroup* g = uvch__bgroup_at(group);
  struct uvch__broadcast* c = uvch__bgroup_core(g);
  uint64_t passed = passed_of(g);

  if (!c->settles || g->told == passed)
    return;
  g->told = passed;
  if (!c->has_nodes) {                                                  /* they would have to be let go */
    atomic_exchange_explicit(&g->passed, passed, memory_order_seq_cst); /* [Y5] */
    if (!atomic_load_explicit(&c->waits, memory_order_seq_cst))         /* [Y5] */
      return;
  }
  uvch__serve(c, g);
}

/* All groups. The lock is held. */

void uvch__bgroup_look(struct uvch__broadcast* c) {
  struct uvch__group* group;

  c->at_min = 0;
  c->slowest = NULL;
  c->min = atomic_load_explicit(&c->hub.tail, memory_order_relaxed); /* relaxed: the lock is held */
  for (group = c->hub.groups; group != NULL; group = group->next) {
    struct uvch__bgroup* g = uvch__bgroup_at(group);
    g->settled = atomic_load_explicit(&g->passed, memory_order_seq_cst); /* [Y4] [Y5] */
    if ((int64_t) (g->settled - c->min) < 0) {
      c->min = g->settled;
      c->at_min = 0;
    }
    if (g->settled == c->min) {
      c->slowest = g;
      c->at_min++;
    }
  }
}

void uvch__bgroup_note(struct uvch__bgroup* g) {
  struct uvch__broadcast* c = uvch__bgroup_core(g);
  uint64_t was = g->settled;

  g->settled = passed_of(g);
  if (g->group.is_linked && was != g->settled && was == c->min && --c->at_min == 0)
    uvch__bgroup_look(c);
}

void uvch__bgroup_link(struct uvch__group* group) {
  struct uvch__bgroup* g = uvch__bgroup_at(group);
  struct uvch__broadcast* c = uvch__bgroup_core(g);

  g->settled = passed_of(g);
  if (group->next == NULL)
    uvch__bgroup_look(c);
  else if (g->settled == c->min)
    c->at_min++;
}

void uvch__bgroup_unlink(struct uvch__group* group) {
  struct uvch__bgroup* g = uvch__bgroup_at(group);
  struct uvch__broadcast* c = uvch__bgroup_core(g);

  if (c->slowest == g)
    c->slowest = NULL;
  if (g->settled == c->min && --c->at_min == 0)
    uvch__bgroup_look(c);
}

/* Members. */

/* The lock is held. */
static void add(struct uvch__bgroup* g, uint64_t cursor) {
  uint64_t passed = passed_of(g);

  count_in(g, cursor, &passed);
  if (passed != passed_of(g) || g->group.members == 0)
    atomic_store_explicit(&g->passed, passed, memory_order_release); /* [Y4] */
  if ((int64_t) (g->told - passed) > 0 || g->group.members == 0)
    g->told = passed;
}

void uvch__bgroup_join(struct uvch__group* g, uvch_handle_t* member) {
  uvch_broadcast_receiver_t* rx = receiver(member);

  rx->cursor = atomic_load_explicit(&g->hub->tail, memory_order_relaxed); /* relaxed: the lock is held */
  rx->index = uvch__tail_index(uvch__broadcast_at(g->hub));
  if (g->members == 0)
    g->dry_at = rx->cursor;
  add(uvch__bgroup_at(g), rx->cursor);
}

void uvch__bgroup_move(struct uvch__group* g, struct uvch__group* to, uvch_handle_t* member) {
  add(uvch__bgroup_at(to), receiver(member)->cursor);
  uvch__bgroup_look(uvch__broadcast_at(g->hub));
}

void uvch__bgroup_remove(uvch_broadcast_receiver_t* rx) {
  struct uvch__bgroup* g = rx->core;

  uvch__list_remove(uvch__member_link((uvch_handle_t*) rx));
  if (g->group.hand == (uvch_handle_t*) rx)
    g->group.hand = NULL;
  if (rx->cursor == passed_of(g) && --g->at_passed == 0 && g->group.members > 1)
    uvch__bgroup_passed(g);
  uvch__group_remove((uvch_handle_t*) rx);
}

void uvch__bgroup_leave(uvch_broadcast_receiver_t* rx) {
  struct uvch__bgroup* g = rx->core;

  uvch__group_ref(&g->group);
  uvch__bgroup_remove(rx);
  uvch__serve(uvch__bgroup_core(g), g);
  uvch__group_unref(&g->group);
}

int uvch__bgroup_gap(uvch_broadcast_receiver_t* rx) {
  struct uvch__bgroup* g = rx->core;
  struct uvch__broadcast* c = uvch__bgroup_core(g);
  uint64_t missed = uvch__ring_gap(c, rx);

  if (c->policy == UVCH_BROADCAST_DISCONNECT) {
    uvch__handle_set_active((uvch_handle_t*) rx, 0);
    rx->flags |= UVCH__CUT;
    uvch__bgroup_remove(rx);
    return UV_ECONNABORTED;
  }
  rx->missed = missed;
  uvch__bgroup_advance(g, rx, missed);
  return missed < INT_MAX ? (int) missed : INT_MAX;
}
