/* SPDX-License-Identifier: MIT
 *
 * Callbacks on a loop: what a member of a group has in its turn. */
#include "linger.h"
#include "watch.h"

#define LOOKS_MAX 2        /* in a round */
#define FLOOD 64           /* versions in a round */
#define NAPS 64            /* before lingering is tried again */
#define NAP 1000000        /* ns */
#define MISSES 3           /* times in a row that lingering was in vain */
#define FLOOD_TIME 5000000 /* ns between two rests of a flood; a sender may have had all of its turn on the processor meanwhile */

int uvch__watch_naps;

/* The group's snapshot: what was the newest value when it was taken. A round of the members takes it again if the version has
 * moved, but not for ever: if values come in faster than callbacks go out, each look would take the line from the senders, so
 * the rest of the round goes by what it has, and another round follows. */

static struct uvch__snapshot* own_of(struct uvch__group* g) {
  return &uvch__wgroup_at(g)->snapshot;
}

/* The member has seen something newer, by itself, or is to begin with what is the newest now. */
static int is_ahead(const uvch_watch_receiver_t* rx, uint64_t version) {
  return (int64_t) (rx->seen - version) > 0 || (rx->borrowed != NULL && (int64_t) (rx->version - version) > 0) ||
         (rx->waits != NULL && uvch__wait_of(rx->waits)->is_first);
}

uint64_t uvch__watch_newest(const struct uvch__turn* t, const uvch_watch_receiver_t* rx) {
  struct uvch__snapshot* own = own_of(t->g);
  int goes_by_it = own->pin != NULL && uvch__wgroup_at(t->g)->looks >= LOOKS_MAX && !t->is_closed;

  return goes_by_it && !is_ahead(rx, own->version) ? own->version : uvch__tail_load(t->g->hub);
}

/* While a callback looks at it, it is the callback's: a nested run takes one of its own, and lets go of it. */

struct uvch__snapshot uvch__snapshot_take(const struct uvch__turn* t, const uvch_watch_receiver_t* rx) {
  struct uvch__snapshot* own = own_of(t->g);
  struct uvch__snapshot taken = *own;
  int is_old = taken.pin == NULL || taken.version != uvch__watch_newest(t, rx);
  struct uvch__due due;

  own->pin = NULL;
  if (is_old) {
    uvch__wgroup_at(t->g)->looks++;
    uvch__value_pin(uvch__watch_at(t->g->hub), &taken.pin, &taken.version, &due);
    uvch__due_do(t->g->hub, &due);
  }
  return taken;
}

void uvch__snapshot_give(const struct uvch__turn* t, struct uvch__snapshot snapshot) {
  *own_of(t->g) = snapshot;
}

static void begin_round(struct uvch__group* g) {
  uvch__wgroup_at(g)->looks = 0;
}

/* For the group's turn. */

/* 1: there is more. */
static int deliver_value(struct uvch__turn* t, uvch_watch_receiver_t* rx) {
  struct uvch__snapshot snapshot = uvch__snapshot_take(t, rx);

  if (uvch__turn_goes_on(t, (uvch_handle_t*) rx) && rx->waits == NULL && rx->seen != snapshot.version &&
      !is_ahead(rx, snapshot.version)) { /* or a drop function has changed that */
    rx->seen = snapshot.version;
    rx->cb(rx, 0, uvch__value_of(snapshot.pin));
  }
  uvch__turn_spend(t, 1);
  uvch__snapshot_give(t, snapshot);
  return uvch__turn_goes_on(t, (uvch_handle_t*) rx) && (rx->waits != NULL || rx->seen != uvch__watch_newest(t, rx));
}

int uvch__watch_deliver(struct uvch__turn* t, uvch_handle_t* member) {
  uvch_watch_receiver_t* rx = (uvch_watch_receiver_t*) member;

  if (rx->waits != NULL)
    return uvch__wait_deliver(t, rx);
  if (rx->seen != uvch__watch_newest(t, rx))
    return deliver_value(t, rx);
  if (!t->is_closed)
    return 0;
  uvch__handle_set_active(member, 0);
  rx->cb(rx, UV_EOF, NULL);
  uvch__turn_spend(t, 1);
  return 1;
}

void uvch__watch_dry(struct uvch__group* g, const uvch_handle_t* member) {
  const uvch_watch_receiver_t* rx = (const uvch_watch_receiver_t*) member;
  uint64_t at = rx->waits != NULL ? uvch__wait_of(rx->waits)->tested : rx->seen;

  if (!g->is_dry || (int64_t) (g->dry_at - at) > 0)
    g->dry_at = at;
}

int uvch__watch_has_more(struct uvch__group* g) {
  return uvch__tail_load(g->hub) != g->dry_at;
}

void uvch__watch_end_turn(struct uvch__group* g) {
  void* pin = own_of(g)->pin;

  begin_round(g);
  own_of(g)->pin = NULL;
  if (pin != NULL)
    uvch__value_unpin(uvch__watch_at(g->hub), pin);
}

/* Naps. If values come in faster than rounds go by, and the loop's thread has to share its processor, then neither lingering
 * helps, which takes the processor from a sender perhaps, nor sleeping in the core, where the next send would post the group
 * at once. So the group looks again after a moment that is short against what the scheduler hands out. */

static void on_nap(struct uvch__timer* timer) {
  uvch__group_wake(&UVCH__CONTAINER(timer, struct uvch__wgroup, timer)->group);
}

static void nap(struct uvch__turn* t) {
  struct uvch__wgroup* g = uvch__wgroup_at(t->g);

  g->naps--;
  uvch__group_all_ready(t->g);
  t->port->hand = NULL;
  t->g->has_token = 1;
  uvch__timer_stop(t->port, &g->timer);
  uvch__timer_start(t->port, &g->timer, NAP, on_nap);
}

void uvch__watch_stop_nap(struct uvch__group* group) {
  struct uvch__port* port = uvch__home_port(&group->home);

  if (port != NULL)
    uvch__timer_stop(port, &uvch__wgroup_at(group)->timer);
}

/* Lingering has been in vain several times, and yet there is a flood: the sender does not run while this thread does. It need
 * not have been taken off its processor: it sleeps too soon for that, and each send that wakes it takes the sender off. */
static int sleeps_in_vain(struct uvch__turn* t) {
  struct uvch__wgroup* g = uvch__wgroup_at(t->g);
  uint64_t before = g->rested_at;

  g->rested_at = uv_hrtime();
  return t->port->linger.misses >= MISSES && g->rested_at - before < FLOOD_TIME;
}

int uvch__watch_linger(struct uvch__turn* t) {
  struct uvch__wgroup* g = uvch__wgroup_at(t->g);
  uint64_t n = t->g->dry_at - t->from;
  int lingered;

  begin_round(t->g);
  if (uvch__watch_naps && n > 0)
    g->naps = 1;
  else if (n < FLOOD)
    g->naps = 0;
  else if (g->naps == 0 && sleeps_in_vain(t))
    g->naps = NAPS;
  if (g->naps > 0 && !uvch__hub_is_closed(t->g->hub)) {
    nap(t);
    return -1;
  }
  lingered = uvch__linger(t->port, n, 0);
  if (lingered == UVCH__LATE && n >= FLOOD)
    g->naps = NAPS;
  return lingered;
}
