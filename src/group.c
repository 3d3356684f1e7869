/* SPDX-License-Identifier: MIT */
#include "group.h"

#include <limits.h>

#include "alloc.h"
#include "handle.h"

static uint64_t passed_of(struct uvch__group* g) {
  return atomic_load_explicit(&g->passed, memory_order_relaxed); /* relaxed: our own, or the lock is held */
}

/* Life. */

static struct uvch__group* group_new(struct uvch__broadcast* c, struct uvch__port* port) {
  struct uvch__group* g = uvch__calloc(1, sizeof *g);

  if (g == NULL)
    return NULL;
  g->ep.ops = &uvch__group_ops;
  g->core = c;
  atomic_init(&g->refs, 2); /* the members, the token */
  g->has_token = 1;
  uvch__list_init(&g->ready);
  uvch__list_init(&g->idle);
  uvch__list_init(&g->stopped);
  uvch__broadcast_ref(c);
  if (port != NULL)
    uvch__home_attach(&g->home, port);
  return g;
}

void uvch__group_ref(struct uvch__group* g) {
  atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed); /* relaxed: the caller has one */
}

void uvch__group_unref(struct uvch__group* g) {
  struct uvch__port* port;

  if (atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1) /* [Y6] */
    return;
  port = uvch__home_port(&g->home);
  uvch__broadcast_unref(g->core);
  uvch__free(g);
  if (port != NULL)
    uvch__port_unref(port);
}

/* How far groups are. */

#define FAR_AHEAD ((uint64_t) 1 << 62) /* of all positions that will ever be */

static void count_in(struct uvch__group* g, uint64_t cursor, uint64_t* passed) {
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

static void count_list(struct uvch__group* g, struct uvch__list* list, uint64_t* passed) {
  struct uvch__list* l;

  for (l = list->next; l != list; l = l->next)
    count_in(g, uvch__member_at(l)->cursor, passed);
}

/* Looks at all members: the slowest ones have got on past another, or have left. */
void uvch__group_passed(struct uvch__group* g) {
  uint64_t passed = 0;

  g->at_passed = 0;
  if (g->hand != NULL)
    count_in(g, g->hand->cursor, &passed);
  count_list(g, &g->ready, &passed);
  count_list(g, &g->idle, &passed);
  count_list(g, &g->stopped, &passed);
  atomic_store_explicit(&g->passed, passed, memory_order_release); /* [Y4] */
}

void uvch__group_look(struct uvch__broadcast* c) {
  struct uvch__group* g;

  c->at_min = 0;
  c->slowest = NULL;
  c->min = atomic_load_explicit(&c->tail, memory_order_relaxed); /* relaxed: the lock is held */
  for (g = c->groups; g != NULL; g = g->next) {
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

void uvch__group_note(struct uvch__group* g) {
  struct uvch__broadcast* c = g->core;
  uint64_t was = g->settled;

  g->settled = passed_of(g);
  if (g->is_linked && was != g->settled && was == c->min && --c->at_min == 0)
    uvch__group_look(c);
}

/* Which groups a channel has. The lock is held. */

static struct uvch__group* find(struct uvch__broadcast* c, struct uvch__port* port) {
  struct uvch__group* g = c->groups;

  while (g != NULL && uvch__home_port(&g->home) != port)
    g = g->next;
  return g;
}

static void link_in(struct uvch__group* g) {
  struct uvch__broadcast* c = g->core;

  g->settled = passed_of(g);
  g->next = c->groups;
  c->groups = g;
  g->is_linked = 1;
  if (g->next == NULL)
    uvch__group_look(c);
  else if (g->settled == c->min)
    c->at_min++;
}

static void unlink_from(struct uvch__group* g) {
  struct uvch__broadcast* c = g->core;
  struct uvch__group** at = &c->groups;

  if (!g->is_linked)
    return;
  while (*at != g)
    at = &(*at)->next;
  *at = g->next;
  g->is_linked = 0;
  if (c->slowest == g)
    c->slowest = NULL;
  if (g->settled == c->min && --c->at_min == 0)
    uvch__group_look(c);
}

static void unlink_from_parked(struct uvch__group* g) {
  struct uvch__broadcast* c = g->core;
  struct uvch__group* before = c->parked;

  if (before == g) {
    c->parked = uvch__next_parked(g);
    return;
  }
  while (before != NULL && uvch__next_parked(before) != g)
    before = uvch__next_parked(before);
  if (before != NULL)
    before->ep.next = g->ep.next;
}

/* 1: the token was in the core. */
static int unpark(struct uvch__group* g) {
  if (!g->is_parked)
    return 0;
  unlink_from_parked(g);
  g->is_parked = 0;
  return 1;
}

int uvch__group_runs_here(struct uvch__broadcast* c) {
  struct uvch__group* g;
  struct uvch__port* port;
  int here = 0;

  uvch__lock(&c->lock);
  for (g = c->groups; g != NULL && !here; g = g->next) {
    port = uvch__home_port(&g->home);
    here = port != NULL && uvch__port_runs_here(port);
  }
  uvch__unlock(&c->lock);
  return here;
}

/* Members. */

struct uvch__group* uvch__group_get(struct uvch__broadcast* c, struct uvch__port* port) {
  struct uvch__group* g = NULL;

  if (port != NULL) { /* only this thread makes and ends its groups */
    uvch__lock(&c->lock);
    g = find(c, port);
    uvch__unlock(&c->lock);
  }
  return g != NULL ? g : group_new(c, port);
}

void uvch__group_join(struct uvch__group* g, uvch_broadcast_receiver_t* rx) {
  struct uvch__broadcast* c = g->core;

  uint64_t passed;

  uvch__lock(&c->lock);
  rx->cursor = atomic_load_explicit(&c->tail, memory_order_relaxed); /* relaxed: the lock is held */
  rx->index = uvch__tail_index(c);
  passed = passed_of(g);
  count_in(g, rx->cursor, &passed);
  if (g->members++ == 0) {
    atomic_store_explicit(&g->passed, passed, memory_order_release); /* [Y4] */
    g->told = passed;
    link_in(g);
  }
  c->receivers++;
  uvch__unlock(&c->lock);
  uvch__list_append(&g->stopped, uvch__member_link(rx));
  rx->core = g;
}

/* The group has no members any more, and is not in the core. `token`: it was there. */
static void end(struct uvch__group* g, int token) {
  struct uvch__port* port = uvch__home_port(&g->home);

  token |= g->has_token;
  if (port == NULL) {
    token |= uvch__home_leave(&g->home);
  } else if (port->hand == &g->ep) {
    port->hand = NULL;
    token = 1;
  }
  if (token)
    uvch__group_unref(g);
  uvch__group_unref(g); /* the members' */
}

void uvch__group_remove(uvch_broadcast_receiver_t* rx) {
  struct uvch__group* g = rx->core;
  struct uvch__broadcast* c = g->core;
  int token = 0;
  int is_last;

  rx->core = NULL;
  uvch__list_remove(uvch__member_link(rx));
  if (g->hand == rx)
    g->hand = NULL;
  if (rx->cursor == passed_of(g) && --g->at_passed == 0 && g->members > 1)
    uvch__group_passed(g);
  uvch__lock(&c->lock);
  if (g->is_linked)
    c->receivers--;
  is_last = --g->members == 0;
  if (is_last) {
    unlink_from(g);
    token = unpark(g);
  } else {
    uvch__group_note(g);
  }
  uvch__unlock(&c->lock);
  if (is_last)
    end(g, token);
}

void uvch__group_leave(uvch_broadcast_receiver_t* rx) {
  struct uvch__group* g = rx->core;

  uvch__group_ref(g);
  uvch__group_remove(rx);
  uvch__serve(g->core, NULL);
  uvch__group_unref(g);
}

/* From a group of its own to the one of the loop. The lock is held. 1: the token was in the core. */
static int move(struct uvch__group* g, struct uvch__group* to, uvch_broadcast_receiver_t* rx) {
  uint64_t passed = passed_of(to);

  count_in(to, rx->cursor, &passed);
  atomic_store_explicit(&to->passed, passed, memory_order_release); /* [Y4] */
  if ((int64_t) (to->told - passed) > 0)
    to->told = passed;
  to->members++;
  g->members = 0;
  unlink_from(g);
  uvch__group_look(g->core);
  return unpark(g);
}

void uvch__group_attach(uvch_broadcast_receiver_t* rx, struct uvch__port* port) {
  struct uvch__group* g = rx->core;
  struct uvch__group* to;
  int token = 0;

  uvch__lock(&g->core->lock);
  to = find(g->core, port);
  if (to != NULL)
    token = move(g, to, rx);
  uvch__unlock(&g->core->lock);
  if (to != NULL) {
    uvch__list_remove(uvch__member_link(rx));
    uvch__list_append(&to->stopped, uvch__member_link(rx));
    rx->core = to;
    end(g, token);
  } else if (uvch__home_attach(&g->home, port)) {
    g->has_token = 1;
  }
}

int uvch__group_gap(uvch_broadcast_receiver_t* rx) {
  struct uvch__group* g = rx->core;
  uint64_t missed = uvch__ring_gap(g->core, rx);

  if (g->core->policy == UVCH_BROADCAST_DISCONNECT) {
    uvch__handle_set_active((uvch_handle_t*) rx, 0);
    rx->flags |= UVCH__CUT;
    uvch__group_remove(rx);
    return UV_ECONNABORTED;
  }
  rx->missed = missed;
  uvch__group_advance(g, rx, missed);
  return missed < INT_MAX ? (int) missed : INT_MAX;
}

void uvch__group_cut(struct uvch__group* g) {
  struct uvch__broadcast* c = g->core;

  uvch__lock(&c->lock);
  if (g->is_linked)
    c->receivers -= g->members;
  unlink_from(g);
  uvch__unlock(&c->lock);
  uvch__serve(c, NULL);
  uvch__group_unref(g); /* the token's */
}

/* The token. */

int uvch__group_park(struct uvch__group* g) {
  struct uvch__broadcast* c = g->core;
  int parks;

  uvch__lock(&c->lock);
  parks =
      atomic_load_explicit(&c->tail, memory_order_relaxed) == g->dry_at && !uvch__broadcast_is_closed(c); /* relaxed: the lock */
  if (parks) {
    g->ep.next = (uintptr_t) c->parked;
    c->parked = g;
    g->is_parked = 1;
  }
  uvch__unlock(&c->lock);
  return parks;
}

int uvch__group_unpark(struct uvch__group* g) {
  int token;

  uvch__lock(&g->core->lock);
  token = unpark(g);
  uvch__unlock(&g->core->lock);
  return token;
}

void uvch__group_wake(struct uvch__group* g) {
  if (!g->has_token && uvch__group_unpark(g))
    g->has_token = 1;
  if (!g->has_token)
    return;
  g->has_token = 0;
  uvch__port_append(uvch__home_port(&g->home), &g->ep);
}

void uvch__group_all_ready(struct uvch__group* g) {
  g->is_dry = 0;
  uvch__list_splice(&g->ready, &g->idle);
}

/* After a fork. */

/* The member that stands for its group, the same one for each of them. */
static uvch_broadcast_receiver_t* first_member(struct uvch__group* g) {
  struct uvch__list* const lists[] = {&g->ready, &g->idle, &g->stopped};
  size_t i;

  for (i = 0; i < sizeof lists / sizeof lists[0]; i++)
    if (!uvch__list_is_empty(lists[i]))
      return uvch__member_at(lists[i]->next);
  return g->hand;
}

void uvch__group_refork(uvch_broadcast_receiver_t* rx) {
  struct uvch__group* g = rx->core;

  if (first_member(g) != rx)
    return;
  uvch__broadcast_refork(g->core);
  unlink_from_parked(g); /* whatever is_parked says: a thread may have been in the middle of a change */
  g->is_parked = 0;
  if (g->hand != NULL)
    uvch__list_append(&g->stopped, uvch__member_link(g->hand));
  g->hand = NULL;
  g->has_token = 1;
  uvch__list_splice(&g->idle, &g->stopped); /* they are sorted again */
  uvch__group_all_ready(g);
  uvch__group_wake(g);
}
