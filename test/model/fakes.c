/* SPDX-License-Identifier: MIT */
#include "fakes.h"

#include "handle.h"
#include "registry.h"

/* Ports. The list of what others push is `chain`, that of what the loop has collected is the port's own. */

uv_loop_t fake_loops[FAKE_LOOPS];
static struct uvch__port ports[FAKE_LOOPS];
static struct uvch__endpoint* chains[FAKE_LOOPS]; /* oldest first */
static uvch_handle_t* closing[FAKE_LOOPS];        /* its close callback is due */
static int is_dead[FAKE_LOOPS];
static struct uvch__wake no_wake;
unsigned int fake_budget = 1000;
uint64_t fake_hot;
void (*fake_on_post)(const struct uvch__endpoint* ep);

static int index_of(const struct uvch__port* port) {
  return (int) (port - ports);
}

/* Only its own thread may touch what is the loop's. */
static void expect_owner(const struct uvch__port* port) {
  steps_expect(steps_self() < 0 || steps_self() == index_of(port));
}

static void put_last(struct uvch__endpoint** first, struct uvch__endpoint* ep) {
  struct uvch__endpoint* last = *first;

  ep->next = 0;
  if (last == NULL) {
    *first = ep;
    return;
  }
  while (last->next != 0)
    last = (struct uvch__endpoint*) last->next;
  last->next = (uintptr_t) ep;
}

static void expect_absent(const struct uvch__endpoint* list, const struct uvch__endpoint* ep) {
  for (; list != NULL; list = (const struct uvch__endpoint*) list->next)
    steps_expect(list != ep);
}

/* Who parks in a turn takes it out of the hand after that, when somebody else may have it already. */
static void expect_only_token(const struct uvch__endpoint* ep) {
  int i;

  for (i = 0; i < FAKE_LOOPS; i++) {
    expect_absent(chains[i], ep);
    expect_absent(ports[i].first, ep);
    steps_expect(ports[i].hand != ep || steps_self() != i);
  }
  if (fake_on_post != NULL)
    fake_on_post(ep);
}

int uvch__port_is_broken(struct uvch__port* port) {
  return uvch__port_is_foreign(port);
}

int uvch__port_get(uv_loop_t* loop, struct uvch__port** port) {
  *port = &ports[loop - fake_loops];
  expect_owner(*port);
  return 0;
}

struct uvch__port* uvch__port_find(uv_loop_t* loop) {
  return &ports[loop - fake_loops];
}

/* The handle is its port's, which is all that is asked for. */
int steps_is_closing(const uv_handle_t* handle) {
  int i;

  for (i = 0; i < FAKE_LOOPS; i++)
    if (handle == (const uv_handle_t*) &ports[i].idle)
      return is_dead[i];
  return 0;
}

/* No steps: these ports do not go away. */
void uvch__port_ref(struct uvch__port* port) {
  port->refs++;
}

void uvch__port_unref(struct uvch__port* port) {
  steps_expect(port->refs > 1);
  port->refs--;
}

void uvch__port_unpin(struct uvch__port* port) {
  port->pins--;
}

void uvch__port_push(struct uvch__port* port, struct uvch__endpoint* ep) {
  steps_at(&port->head, STEPS_WRITE, __func__);
  expect_only_token(ep);
  if (is_dead[index_of(port)]) {
    ep->ops->drop(ep);
    return;
  }
  put_last(&chains[index_of(port)], ep);
  port->head = (uintptr_t) ep;
}

void uvch__port_append(struct uvch__port* port, struct uvch__endpoint* ep) {
  expect_owner(port);
  expect_only_token(ep);
  if (is_dead[index_of(port)])
    ep->ops->drop(ep);
  else
    put_last(&port->first, ep);
}

void uvch__port_hold(struct uvch__port* port) {
  expect_owner(port);
  port->alive++;
}

void uvch__port_release(struct uvch__port* port) {
  expect_owner(port);
  steps_expect(port->alive > 0);
  port->alive--;
}

void uvch__port_add(struct uvch__port* port, struct uvch__list* list, void* queue) {
  expect_owner(port);
  uvch__list_append(list, queue);
  port->live++;
}

void uvch__port_remove(struct uvch__port* port, void* queue) {
  expect_owner(port);
  uvch__list_remove(queue);
  port->live--;
}

/* Without a close callback the handle is closed at once: what is left of the channel does not need it. */
void uvch__port_close_handle(struct uvch__port* port, uvch_handle_t* handle) {
  uvch__port_remove(port, handle->queue);
  if (handle->close_cb == NULL)
    return;
  steps_expect(closing[index_of(port)] == NULL);
  closing[index_of(port)] = handle;
}

void uvch__port_own(struct uvch__port* port, uvch_handle_t* handle) {
  (void) port;
  (void) handle;
}

int uvch__port_runs_here(struct uvch__port* port) {
  return steps_self() == index_of(port);
}

int uvch__budget_look(struct uvch__port* port) {
  (void) port;
  return 1;
}

static int is_pending(void* port) {
  struct uvch__port* p = port;

  return p->first != NULL || chains[index_of(p)] != NULL || closing[index_of(p)] != NULL;
}

static void close_handle(uvch_handle_t** at) {
  uvch_handle_t* handle = *at;

  *at = NULL;
  handle->close_cb(handle);
}

static void turn(struct uvch__port* port) {
  struct uvch__endpoint* ep;

  while (chains[index_of(port)] != NULL) {
    ep = chains[index_of(port)];
    chains[index_of(port)] = (struct uvch__endpoint*) ep->next;
    put_last(&port->first, ep);
  }
  port->head = 0;
  if (port->first == NULL) {
    close_handle(&closing[index_of(port)]);
    return;
  }
  ep = port->first;
  port->first = (struct uvch__endpoint*) ep->next;
  port->hand = ep;
  port->budget.left = port->budget.until_clock = fake_budget;
  port->budget.spin_until = UINT64_MAX;
  port->hot.ceiling = fake_hot;
  port->hot.is_near = 1;
  ep->ops->turn(ep, port);
  if (port->hand == ep) {
    port->hand = NULL;
    expect_absent(chains[index_of(port)], ep);
    put_last(&port->first, ep);
  }
}

void fake_turn_maybe(int loop) {
  struct uvch__port* port = &ports[loop];

  for (;;) {
    steps_at(&port->head, STEPS_WRITE, __func__);
    if (!is_pending(port) || steps_choose(2) == 0)
      return;
    turn(port);
  }
}

void fake_turn_nested(int loop) {
  struct uvch__port* port = &ports[loop];
  struct uvch__endpoint* ep = port->hand;

  port->hand = NULL;
  if (ep != NULL)
    put_last(&port->first, ep);
  fake_turn_maybe(loop);
}

void fake_turn_until(int loop, int (*is_over)(void* arg), void* arg) {
  struct uvch__port* port = &ports[loop];

  while (!is_over(arg)) {
    steps_wait(&port->head, STEPS_WRITE, __func__, is_pending, port);
    turn(port);
  }
}

static int is_pending_or_alone(void* port) {
  return is_pending(port) || steps_others_are_done(index_of(port));
}

void fake_turn_all(int loop) {
  struct uvch__port* port = &ports[loop];

  for (;;) {
    steps_wait(&port->head, STEPS_WRITE, __func__, is_pending_or_alone, port);
    if (!is_pending(port))
      return;
    turn(port);
  }
}

void fake_drain(void) {
  int left;
  int i;

  do {
    left = 0;
    for (i = 0; i < FAKE_LOOPS; i++)
      while (is_pending(&ports[i])) {
        turn(&ports[i]);
        left = 1;
      }
  } while (left);
}

static void drop_hand(struct uvch__port* port) {
  struct uvch__endpoint* ep = port->hand;

  port->hand = NULL;
  if (ep != NULL)
    ep->ops->drop(ep);
}

static void drop_list(struct uvch__endpoint** list) {
  struct uvch__endpoint* ep;

  while ((ep = *list) != NULL) {
    *list = (struct uvch__endpoint*) ep->next;
    ep->ops->drop(ep);
  }
}

void fake_abandon(int loop) {
  struct uvch__port* port = &ports[loop];

  steps_at(&port->head, STEPS_WRITE, __func__);
  is_dead[loop] = 1;
  drop_list(&chains[loop]);
  drop_hand(port);
  drop_list(&port->first);
  uvch__spares_close(&port->spares);
}

/* A timer. */

static struct uvch__timer* timer;

void uvch__timer_start(struct uvch__port* port, struct uvch__timer* t, uint64_t timeout, void (*fire)(struct uvch__timer* t)) {
  (void) timeout;
  expect_owner(port);
  t->fire = fire;
  timer = t;
}

void uvch__timer_stop(struct uvch__port* port, struct uvch__timer* t) {
  expect_owner(port);
  if (timer == t)
    timer = NULL;
}

int fake_fire(void) {
  struct uvch__timer* t = timer;

  timer = NULL;
  if (t != NULL)
    t->fire(t);
  return t != NULL;
}

/* All of it. */

void fakes_set_up(int has_pool) {
  int i;

  memset(ports, 0, sizeof ports);
  memset(chains, 0, sizeof chains);
  memset(closing, 0, sizeof closing);
  memset(is_dead, 0, sizeof is_dead);
  for (i = 0; i < FAKE_LOOPS; i++) {
    ports[i].loop = &fake_loops[i];
    ports[i].refs = 1;
    ports[i].wake = &no_wake;
    uvch__list_init(&ports[i].handles);
    uvch__list_init(&ports[i].reqs);
    if (!has_pool)
      uvch__spares_close(&ports[i].spares);
  }
  fake_budget = 1000;
  fake_hot = 0;
  fake_on_post = NULL;
  timer = NULL;
}

void fakes_check(void) {
  int i;

  for (i = 0; i < FAKE_LOOPS; i++) {
    uvch__spares_close(&ports[i].spares);
    steps_expect(ports[i].first == NULL && chains[i] == NULL && ports[i].hand == NULL && closing[i] == NULL);
    steps_expect((ports[i].alive == 0 && ports[i].live == 0) || is_dead[i]);
    steps_expect(ports[i].refs == 1 && ports[i].pins == 0);
  }
  steps_expect(timer == NULL);
  steps_expect(steps_blocks() == 0);
}

/* What handle.c knows of and nothing here uses. */
int uvch__registry_owns(const uv_handle_t* handle) {
  (void) handle;
  return 0;
}
