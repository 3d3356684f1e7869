/* SPDX-License-Identifier: MIT
 *
 * Waiting hot: when it pays to poll for a short while before sleeping.
 *
 * A sleep and a wake-up cost tens of microseconds on a virtual machine, a poll costs less than one. So who runs out of work polls for at
 * most `ceiling` before it sleeps, but only if the last wait was short, and only as long as that has paid: every window that passes
 * in vain doubles the number of windows that are left out (up to 63), and one that was hit resets it. A window ends at once
 * when two polls are far apart: the thread was taken off its processor, and who polls is in the way of who works.
 * Never on one processor. Used by one thread at a time. */
#ifndef UVCH_SRC_HOT_H
#define UVCH_SRC_HOT_H

#include <stdint.h>
#include <uv.h>

#define UVCH__HOT_DEFAULT 50000    /* ns */
#define UVCH__HOT_MAX 1000000      /* ns */
#define UVCH__HOT_DESCHEDULED 100000 /* ns between two polls */
#define UVCH__HOT_BACKOFF_MAX 6

struct uvch__hot {
  uint64_t ceiling; /* ns; 0: never hot */
  uint64_t until;   /* end of the window, while open */
  uint64_t polled;  /* time of the last poll in it */
  unsigned char open;
  unsigned char is_near; /* the last wait was short */
  unsigned char backoff;
  unsigned char skip; /* windows to leave out */
};

static inline uint64_t uvch__hot_default(void) {
  return uv_available_parallelism() > 1 ? UVCH__HOT_DEFAULT : 0;
}

static inline void uvch__hot_init(struct uvch__hot* h) {
  *h = (struct uvch__hot){0};
  h->ceiling = uvch__hot_default();
  h->is_near = 1;
}

/* What was waited for is there, `waited` ns after the wait began. */
static inline void uvch__hot_hit(struct uvch__hot* h, uint64_t waited) {
  h->is_near = waited < 2 * h->ceiling;
  if (h->open)
    h->backoff = h->skip = 0;
  h->open = 0;
}

/* A wait begins: open a window? */
static inline int uvch__hot_open(struct uvch__hot* h, uint64_t now) {
  h->open = 0;
  if (h->ceiling == 0 || !h->is_near)
    return 0;
  if (h->skip > 0) {
    h->skip--;
    return 0;
  }
  h->until = now + h->ceiling;
  h->polled = now;
  h->open = 1;
  return 1;
}

/* Still nothing: poll on? */
static inline int uvch__hot_poll(struct uvch__hot* h, uint64_t now) {
  if (h->open && now < h->until && now - h->polled < UVCH__HOT_DESCHEDULED) {
    h->polled = now;
    return 1;
  }
  if (h->open && h->backoff < UVCH__HOT_BACKOFF_MAX)
    h->backoff++;
  if (h->open)
    h->skip = (unsigned char) ((1u << h->backoff) - 1);
  h->open = 0;
  return 0;
}

#endif
