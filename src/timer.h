/* SPDX-License-Identifier: MIT
 *
 * Times at which something is to happen on a loop: one uv_timer_t for all of a port's. It is made with the first one, keeps no
 * loop alive, and is not stopped when nothing waits for it: it fires once more, for nothing. All on the loop's thread. */
#ifndef UVCH_SRC_TIMER_H
#define UVCH_SRC_TIMER_H

#include <uv.h>

struct uvch__port;

/* A node of a pairing heap. */
struct uvch__timer {
  struct uvch__timer* child;
  struct uvch__timer* next;
  struct uvch__timer** link;               /* what points to it; NULL: it is not started */
  uint64_t at;                             /* ms, as uv_now() */
  void (*fire)(struct uvch__timer* timer); /* runs no user code */
};

/* A port's. */
struct uvch__timers {
  uv_timer_t handle;
  struct uvch__timer* first; /* the heap */
  uint64_t set_for;          /* when the handle fires; UINT64_MAX: it is not started */
  int is_made;
};

/* uvch__timer_start: `fire` is called in `timeout` nanoseconds, rounded up to milliseconds; of those that are due at once the
 * earlier first. uvch__timer_stop: it is not; harmless after it was, and on one that is all 0. */
void uvch__timer_start(struct uvch__port* port, struct uvch__timer* timer, uint64_t timeout,
                       void (*fire)(struct uvch__timer* timer));
void uvch__timer_stop(struct uvch__port* port, struct uvch__timer* timer);

void uvch__timers_init(struct uvch__timers* timers);

#endif
