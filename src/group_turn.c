/* SPDX-License-Identifier: MIT
 *
 * Callbacks on a loop: the turns of a group. */
#include "group.h"

#define TURN_MESSAGES 256  /* then the next endpoint of the loop has its turn */
#define MEMBER_MESSAGES 64 /* then the next member has, and never more in one callback */

/* A member. */

int uvch__turn_goes_on(const struct uvch__turn* t, const uvch_handle_t* member) {
  return t->port->hand == &t->g->ep && t->g->hand == member && uvch__member_is_started(member);
}

int uvch__turn_spend(struct uvch__turn* t, uint32_t n) {
  t->left = t->left > n ? t->left - n : 0;
  t->member_left = t->member_left > n ? t->member_left - n : 0;
  return uvch__budget_spend(t->port, n) && t->left > 0 && t->member_left > 0;
}

static int deliver(struct uvch__turn* t, uvch_handle_t* member) {
  struct uvch__hub* h = t->g->hub;

  if (!uvch__member_is_started(member))
    return 0;
  t->member_left = MEMBER_MESSAGES;
  t->is_closed = uvch__hub_is_closed(h);
  return h->ops->deliver(t, member);
}

static void put_back(struct uvch__group* g, uvch_handle_t* member, int more) {
  g->hand = NULL;
  if (!uvch__member_is_started(member) || more) {
    uvch__list_append(uvch__member_is_started(member) ? &g->ready : &g->stopped, uvch__member_link(member));
    return;
  }
  uvch__list_append(&g->idle, uvch__member_link(member));
  g->hub->ops->dry(g, member);
  g->is_dry = 1;
}

/* The group. */

/* Nobody is ready. 1: now somebody is. */
static int rest(struct uvch__turn* t) {
  struct uvch__group* g = t->g;
  int is_parked;
  int lingered;

  if (!g->is_dry) { /* nobody is started */
    t->port->hand = NULL;
    g->has_token = 1;
    return 0;
  }
  lingered = g->hub->ops->linger(t);
  if (lingered < 0)
    return 0;
  if (lingered > 0) {
    t->from = g->dry_at;
    if (g->hub->ops->has_more(g)) {
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
  return g->is_dry && (g->hub->ops->has_more(g) || uvch__hub_is_closed(g->hub));
}

static void run(struct uvch__turn* t) {
  struct uvch__group* g = t->g;

  while (t->port->hand == &g->ep && t->left > 0 && t->port->budget.left > 0) {
    uvch_handle_t* member;
    int more;
    if (uvch__port_is_foreign(t->port)) {
      t->port->budget.left = 0; /* the pass is over, and after it the port */
      return;
    }
    if (uvch__list_is_empty(&g->ready)) {
      if (!rest(t))
        return;
      continue;
    }
    if (!g->hub->ops->has_rounds && idle_have_more(g))
      uvch__group_all_ready(g);
    member = uvch__member_at(g->ready.next);
    uvch__list_remove(uvch__member_link(member));
    g->hand = member;
    more = deliver(t, member);
    g->hub->ops->settle(g); /* the first touch of the group that may be stale */
    if (g->hand == member && t->port->hand == &g->ep)
      put_back(g, member, more);
  }
}

void uvch__group_turn(struct uvch__endpoint* ep, struct uvch__port* port) {
  struct uvch__turn t = {.g = UVCH__CONTAINER(ep, struct uvch__group, ep), .port = port, .left = TURN_MESSAGES};

  if (t.g->members == 0) {
    port->hand = NULL;
    uvch__group_unref(t.g); /* the token's */
    return;
  }
  uvch__group_ref(t.g);  /* the last member may close */
  if (t.g->hand != NULL) /* of a turn whose callback runs the loop */
    uvch__list_append(&t.g->ready, uvch__member_link(t.g->hand));
  t.g->hand = NULL;
  t.from = t.g->dry_at;
  if (idle_have_more(t.g)) /* others may be ready for ever */
    uvch__group_all_ready(t.g);
  run(&t);
  t.g->hub->ops->end_turn(t.g);
  uvch__group_unref(t.g);
}
