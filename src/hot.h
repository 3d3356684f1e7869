/* SPDX-License-Identifier: MIT
 *
 * Waiting hot: when it pays to poll for a short while before sleeping.
 *
 * A sleep and a wake-up cost tens of microseconds on a virtual machine, a poll costs less than one. So who runs out of work polls
 * for at most `ceiling` before it sleeps, but only if the last wait was short, and only as long as that has paid. A window ends
 * at once when two polls are far apart: the thread was taken off its processor, and who polls is in the way of who works.
 *
 * On one processor nobody polls. Who runs out of work gives way once before it sleeps: those who have a message for it may run,
 * and then it need neither sleep nor be woken. Only as long as that pays; and not for a while once another process had the
 * processor meanwhile. Used by one thread at a time. */
#ifndef UVCH_SRC_HOT_H
#define UVCH_SRC_HOT_H

#include <stdint.h>
#include <uv.h>

#define UVCH__HOT_MAX 1000000        /* ns */
#define UVCH__HOT_DESCHEDULED 100000 /* ns between two polls */
#define UVCH__BACKOFF_MAX 6

/* Whether something that costs a little pays: after the n-th miss in a row the next 2^n - 1 occasions are left out. */
struct uvch__backoff {
  unsigned char misses;
  unsigned char skip;
};

static inline int uvch__backoff_skip(struct uvch__backoff* b) {
  return b->skip > 0 && b->skip-- > 0;
}

static inline void uvch__backoff_hit(struct uvch__backoff* b) {
  b->misses = b->skip = 0;
}

static inline void uvch__backoff_miss(struct uvch__backoff* b) {
  if (b->misses < UVCH__BACKOFF_MAX)
    b->misses++;
  b->skip = (unsigned char) ((1u << b->misses) - 1);
}

struct uvch__hot {
  uint64_t ceiling; /* ns; 0: never hot */
  uint64_t until;   /* end of the window, while open */
  uint64_t polled;  /* time of the last poll in it */
  unsigned char open;
  unsigned char is_near;   /* the last wait was short */
  unsigned char is_alone;  /* there is one processor */
  unsigned char gives_way; /* there, instead of polling */
  struct uvch__backoff backoff;
};

/* uvch__hot_default: the ceiling to begin with; 0 where the process has one processor. */
uint64_t uvch__hot_default(void);

static inline void uvch__hot_init(struct uvch__hot* h) {
  *h = (struct uvch__hot){0};
  h->ceiling = uvch__hot_default();
  h->is_alone = h->gives_way = h->ceiling == 0;
  h->is_near = 1;
}

/* uvch__hot_limit: wait hot for at most `most` ns, or on one processor give way; 0: neither. */
static inline void uvch__hot_limit(struct uvch__hot* h, uint64_t most) {
  if (h->is_alone)
    h->gives_way = most > 0;
  else
    h->ceiling = most;
}

/* uvch__give_way: let others run, if there is one processor and it pays. 0: it does not. 1: others may have run; UVCH__LATE: the
 * same, for too long. The caller looks, and says uvch__backoff_hit(&h->backoff) if what it waits for is there, and not late. */
enum { UVCH__LATE = 2 };
int uvch__give_way(struct uvch__hot* h);

/* What was waited for is there, `waited` ns after the wait began. */
static inline void uvch__hot_hit(struct uvch__hot* h, uint64_t waited) {
  h->is_near = waited < 2 * h->ceiling;
  if (h->open)
    uvch__backoff_hit(&h->backoff);
  h->open = 0;
}

/* A wait begins: open a window? */
static inline int uvch__hot_open(struct uvch__hot* h, uint64_t now) {
  h->open = 0;
  if (h->ceiling == 0 || !h->is_near || uvch__backoff_skip(&h->backoff))
    return 0;
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
  if (h->open)
    uvch__backoff_miss(&h->backoff);
  h->open = 0;
  return 0;
}

#endif
