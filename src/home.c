/* SPDX-License-Identifier: MIT */
#include "home.h"

/* A parker's address has its lowest bit set; a port's has not; no port lies at address 2. */
enum { NONE = 0, POSTED = 1, GONE = 2, PARKER = 1 };

static int is_port(uintptr_t home) {
  return home > GONE && (home & PARKER) == 0;
}

void uvch__post(struct uvch__home* home, struct uvch__endpoint* ep) {
  uintptr_t h = atomic_load_explicit(&home->word, memory_order_acquire); /* [E1] a port is there to stay */

  while (!is_port(h)) {
    if (h == GONE) {
      ep->ops->drop(ep);
      return;
    }
    if (atomic_compare_exchange_weak_explicit(&home->word, &h, POSTED, memory_order_acq_rel, memory_order_acquire)) { /* [E1] */
      if (h != NONE) {
        struct uvch__parker* p = (struct uvch__parker*) (h & ~(uintptr_t) PARKER);
        uvch__parker_wake(p);
        uvch__parker_unref(p);
      }
      return;
    }
  }
  uvch__port_push((struct uvch__port*) h, ep);
}

static int move(struct uvch__home* home, uintptr_t to) {
  return atomic_exchange_explicit(&home->word, to, memory_order_acq_rel) == POSTED; /* [E2] */
}

int uvch__home_attach(struct uvch__home* home, struct uvch__port* port) {
  uvch__port_ref(port);
  return move(home, (uintptr_t) port);
}

int uvch__home_leave(struct uvch__home* home) {
  return move(home, GONE);
}

int uvch__home_arm(struct uvch__home* home, struct uvch__parker* p) {
  return move(home, (uintptr_t) p | PARKER);
}

int uvch__home_disarm(struct uvch__home* home) {
  return move(home, NONE);
}

struct uvch__port* uvch__home_port(struct uvch__home* home) {
  uintptr_t h = atomic_load_explicit(&home->word, memory_order_acquire); /* [E2] of attach */
  return is_port(h) ? (struct uvch__port*) h : NULL;
}
