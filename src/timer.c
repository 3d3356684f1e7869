/* SPDX-License-Identifier: MIT */
#include "timer.h"

#include "port.h"

#define MS 1000000u

/* The heap: every node is due no earlier than the one above it. The children of a node are a list, linked by `next`. */

/* Two heaps in one: the later becomes a child of the other. */
static struct uvch__timer* meld(struct uvch__timer* a, struct uvch__timer* b) {
  if (a == NULL || b == NULL)
    return a != NULL ? a : b;
  if (b->at < a->at) {
    struct uvch__timer* later = a;
    a = b;
    b = later;
  }
  b->next = a->child;
  if (b->next != NULL)
    b->next->link = &b->next;
  b->link = &a->child;
  a->child = b;
  return a;
}

/* A list of heaps in one: pairs from front to back, then all of these from back to front. */
static struct uvch__timer* meld_all(struct uvch__timer* list) {
  struct uvch__timer* pairs = NULL;
  struct uvch__timer* all = NULL;

  while (list != NULL) {
    struct uvch__timer* a = list;
    struct uvch__timer* b = a->next;
    list = b != NULL ? b->next : NULL;
    a->next = NULL;
    if (b != NULL)
      b->next = NULL;
    a = meld(a, b);
    a->next = pairs;
    pairs = a;
  }
  while (pairs != NULL) {
    struct uvch__timer* a = pairs;
    pairs = a->next;
    a->next = NULL;
    all = meld(all, a);
  }
  return all;
}

static void set_first(struct uvch__timers* timers, struct uvch__timer* first) {
  timers->first = first;
  if (first != NULL) {
    first->next = NULL;
    first->link = &timers->first;
  }
}

static void take_out(struct uvch__timers* timers, struct uvch__timer* timer) {
  struct uvch__timer* below = meld_all(timer->child);

  *timer->link = timer->next;
  if (timer->next != NULL)
    timer->next->link = timer->link;
  set_first(timers, meld(timers->first, below));
  timer->link = NULL;
}

/* The libuv handle. */

static void on_timer(uv_timer_t* handle);

/* It fires in time for the first one, or before. */
static void set(struct uvch__timers* timers) {
  struct uvch__timer* first = timers->first;
  uint64_t now;

  if (first == NULL || timers->set_for <= first->at || uv_is_closing((uv_handle_t*) &timers->handle))
    return;
  now = uv_now(uv_handle_get_loop((uv_handle_t*) &timers->handle));
  uv_timer_start(&timers->handle, on_timer, first->at > now ? first->at - now : 0, 0); /* fails only without a callback */
  timers->set_for = first->at;
}

static void on_timer(uv_timer_t* handle) {
  struct uvch__timers* timers = UVCH__CONTAINER(handle, struct uvch__timers, handle);
  uint64_t now = uv_now(uv_handle_get_loop((uv_handle_t*) handle));
  struct uvch__timer* timer;

  timers->set_for = UINT64_MAX;
  while ((timer = timers->first) != NULL && timer->at <= now) {
    take_out(timers, timer);
    timer->fire(timer);
  }
  set(timers);
}

void uvch__timers_init(struct uvch__timers* timers) {
  timers->set_for = UINT64_MAX;
}

void uvch__timer_start(struct uvch__port* port, struct uvch__timer* timer, uint64_t timeout,
                       void (*fire)(struct uvch__timer* timer)) {
  struct uvch__timers* timers = &port->timers;
  uint64_t now = uv_now(port->loop);
  uint64_t ms = timeout / MS + (timeout % MS != 0);

  if (!timers->is_made) {
    uv_timer_init(port->loop, &timers->handle); /* cannot fail */
    uv_unref((uv_handle_t*) &timers->handle);
    timers->is_made = 1;
  }
  *timer = (struct uvch__timer){.at = ms < UINT64_MAX - 1 - now ? now + ms : UINT64_MAX - 1, .fire = fire};
  set_first(timers, meld(timers->first, timer));
  set(timers);
}

void uvch__timer_stop(struct uvch__port* port, struct uvch__timer* timer) {
  if (timer->link != NULL)
    take_out(&port->timers, timer);
}
