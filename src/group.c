/* SPDX-License-Identifier: MIT */
#include "group.h"

#include "alloc.h"

/* Life. */

static struct uvch__group* group_new(struct uvch__hub* h, struct uvch__port* port) {
  struct uvch__group* g = uvch__calloc(1, h->ops->group_size);

  if (g == NULL)
    return NULL;
  g->ep.ops = &uvch__group_ops;
  g->hub = h;
  atomic_init(&g->refs, 2); /* the members, the token */
  g->has_token = 1;
  uvch__list_init(&g->ready);
  uvch__list_init(&g->idle);
  uvch__list_init(&g->stopped);
  uvch__hub_ref(h);
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
  uvch__hub_unref(g->hub);
  uvch__free(g);
  if (port != NULL)
    uvch__port_unref(port);
}

/* Which groups a channel has. The lock is held. */

static struct uvch__group* find(struct uvch__hub* h, struct uvch__port* port) {
  struct uvch__group* g = h->groups;

  while (g != NULL && uvch__home_port(&g->home) != port)
    g = g->next;
  return g;
}

static void link_in(struct uvch__group* g) {
  struct uvch__hub* h = g->hub;

  g->next = h->groups;
  h->groups = g;
  g->is_linked = 1;
  h->ops->link(g);
}

static void unlink_from(struct uvch__group* g) {
  struct uvch__hub* h = g->hub;
  struct uvch__group** at = &h->groups;

  if (!g->is_linked)
    return;
  while (*at != g)
    at = &(*at)->next;
  *at = g->next;
  g->is_linked = 0;
  h->ops->unlink(g);
}

static void unlink_from_parked(struct uvch__group* g) {
  struct uvch__hub* h = g->hub;
  struct uvch__group* before = h->parked;

  if (before == g) {
    h->parked = uvch__next_parked(g);
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

int uvch__group_runs_here(struct uvch__hub* h) {
  struct uvch__group* g;
  struct uvch__port* port;
  int here = 0;

  uvch__lock(&h->lock);
  for (g = h->groups; g != NULL && !here; g = g->next) {
    port = uvch__home_port(&g->home);
    here = port != NULL && uvch__port_runs_here(port);
  }
  uvch__unlock(&h->lock);
  return here;
}

/* Members. */

/* The group of `port`, made if there is none; without a port always a new one. NULL: no memory. */
static struct uvch__group* group_get(struct uvch__hub* h, struct uvch__port* port) {
  struct uvch__group* g = NULL;

  if (port != NULL) { /* only this thread makes and ends its groups */
    uvch__lock(&h->lock);
    g = find(h, port);
    uvch__unlock(&h->lock);
  }
  return g != NULL ? g : group_new(h, port);
}

int uvch__group_subscribe(struct uvch__hub* h, uv_loop_t* loop, uvch_handle_t* member, uvch_handle_type type) {
  struct uvch__port* port = NULL;
  struct uvch__group* g;
  int err = loop != NULL ? uvch__port_get(loop, &port) : 0;

  if (err != 0)
    return err;
  g = group_get(h, port);
  if (g == NULL)
    return UV_ENOMEM;
  uvch__handle_init(member, type, g);
  uvch__lock(&h->lock);
  h->ops->join(g, member);
  if (g->members++ == 0)
    link_in(g);
  h->receivers++;
  uvch__unlock(&h->lock);
  uvch__list_append(&g->stopped, uvch__member_link(member));
  if (port != NULL)
    uvch__handle_attach(member, port);
  return 0;
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

void uvch__group_remove(uvch_handle_t* member) {
  struct uvch__group* g = member->core;
  struct uvch__hub* h = g->hub;
  int token = 0;
  int is_last;

  member->core = NULL;
  uvch__list_remove(uvch__member_link(member));
  if (g->hand == member)
    g->hand = NULL;
  uvch__lock(&h->lock);
  if (g->is_linked)
    h->receivers--;
  is_last = --g->members == 0;
  if (is_last) {
    unlink_from(g);
    token = unpark(g);
  }
  uvch__unlock(&h->lock);
  if (is_last)
    end(g, token);
}

/* From a group of its own to the one of the loop. The lock is held. 1: the token was in the core. */
static int move(struct uvch__group* g, struct uvch__group* to, uvch_handle_t* member) {
  to->members++;
  g->members = 0;
  unlink_from(g);
  g->hub->ops->move(g, to, member);
  return unpark(g);
}

void uvch__group_attach(uvch_handle_t* member, struct uvch__port* port) {
  struct uvch__group* g = member->core;
  struct uvch__group* to;
  int token = 0;

  uvch__lock(&g->hub->lock);
  to = find(g->hub, port);
  if (to != NULL)
    token = move(g, to, member);
  uvch__unlock(&g->hub->lock);
  if (to != NULL) {
    uvch__list_remove(uvch__member_link(member));
    uvch__list_append(&to->stopped, uvch__member_link(member));
    member->core = to;
    end(g, token);
  } else if (uvch__home_attach(&g->home, port)) {
    g->has_token = 1;
  }
}

/* Its loop is gone. Any thread. The token's reference is let go. */
static void cut(struct uvch__endpoint* ep) {
  struct uvch__group* g = UVCH__CONTAINER(ep, struct uvch__group, ep);
  struct uvch__hub* h = g->hub;

  uvch__lock(&h->lock);
  if (g->is_linked)
    h->receivers -= g->members;
  unlink_from(g);
  uvch__unlock(&h->lock);
  h->ops->serve(h);
  uvch__group_unref(g); /* the token's */
}

/* The token. */

int uvch__group_park(struct uvch__group* g) {
  struct uvch__hub* h = g->hub;
  int parks;

  uvch__lock(&h->lock);
  parks = atomic_load_explicit(&h->tail, memory_order_relaxed) == g->dry_at && !uvch__hub_is_closed(h); /* relaxed: the lock */
  if (parks) {
    g->ep.next = (uintptr_t) h->parked;
    h->parked = g;
    g->is_parked = 1;
  }
  uvch__unlock(&h->lock);
  return parks;
}

/* Takes it back. 0: a poster has it, or the port. */
static int take_back(struct uvch__group* g) {
  int token;

  uvch__lock(&g->hub->lock);
  token = unpark(g);
  uvch__unlock(&g->hub->lock);
  return token;
}

void uvch__group_wake(struct uvch__group* g) {
  if (!g->has_token && take_back(g))
    g->has_token = 1;
  if (!g->has_token)
    return;
  g->has_token = 0;
  uvch__port_append(uvch__home_port(&g->home), &g->ep);
}

void uvch__group_start(uvch_handle_t* member) {
  struct uvch__group* g = member->core;

  if (g->hand != member) { /* else it is in its callback */
    uvch__list_remove(uvch__member_link(member));
    uvch__list_append(&g->ready, uvch__member_link(member));
  }
  uvch__group_wake(g);
}

void uvch__group_all_ready(struct uvch__group* g) {
  g->is_dry = 0;
  uvch__list_splice(&g->ready, &g->idle);
}

int uvch__group_sleep(struct uvch__group* g, uint64_t at, uint64_t deadline) {
  struct uvch__parker* p = uvch__parker_new();
  int err = 0;

  if (p == NULL)
    return UV_ENOMEM;
  uvch__parker_ref(p);
  if (uvch__home_arm(&g->home, p))
    g->has_token = 1;
  g->dry_at = at;
  if (g->has_token)
    g->has_token = !uvch__group_park(g);
  if (!g->has_token) {
    err = uvch__parker_wait(p, deadline);
    if (err != 0 && take_back(g))
      g->has_token = 1;
  }
  if (uvch__home_disarm(&g->home))
    g->has_token = 1;
  else
    uvch__parker_unref(p); /* nobody will wake it */
  uvch__parker_unref(p);
  return err;
}

/* After a fork. */

/* It is dropped next, for which its core must be fit. */
static int is_dead(struct uvch__endpoint* ep) {
  struct uvch__group* g = UVCH__CONTAINER(ep, struct uvch__group, ep);

  if (g->members == 0)
    uvch__hub_refork(g->hub);
  return g->members == 0;
}

/* The member that stands for its group, the same one for each of them. */
static uvch_handle_t* first_member(struct uvch__group* g) {
  struct uvch__list* const lists[] = {&g->ready, &g->idle, &g->stopped};
  size_t i;

  for (i = 0; i < sizeof lists / sizeof lists[0]; i++)
    if (!uvch__list_is_empty(lists[i]))
      return uvch__member_at(lists[i]->next);
  return g->hand;
}

void uvch__group_refork(uvch_handle_t* member) {
  struct uvch__group* g = member->core;

  if (first_member(g) != member)
    return;
  uvch__hub_refork(g->hub);
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

const struct uvch__endpoint_ops uvch__group_ops = {uvch__group_turn, cut, is_dead};
