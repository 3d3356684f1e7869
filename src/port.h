/* SPDX-License-Identifier: MIT
 *
 * The port: one wake-up per loop, whatever the number of channels on it. See port.c for how it works. */
#ifndef UVCH_SRC_PORT_H
#define UVCH_SRC_PORT_H

#include <uv.h>
#include <uvch/core.h>

#include "atomic.h"
#include "endpoint.h"
#include "hot.h"
#include "list.h"
#include "misuse.h"
#include "spares.h"
#include "timer.h"
#include "wake.h"

/* In a handle's flags: it is the library's memory. The port that brings its close callback frees it then; if none will come, as
 * the program closed the port's libuv handles, with itself. */
enum { UVCH__OWNED = 8 };

/* How much may be delivered in a pass. The clock is read once in `stride` messages: every time while callbacks are slow, every 32
 * while they are fast, so that a pass is over time by one slow callback and the clock costs little. */
struct uvch__budget {
  uint32_t left;
  uint32_t until_clock;
  uint64_t read_at;
  uint64_t deadline;
  uint64_t spin_until; /* see linger.h */
};

/* Three groups with a line between them: what posters write, what they only read, what the loop's thread writes. A loop that makes
 * a handle or request reads the second while posters write the first. */
struct uvch__port {
  atomic_uintptr_t head; /* the ready list: ASLEEP, AWAKE, CLOSED, or the newest of a chain of nodes that ends in one of the
                            first two */
  atomic_uint late;      /* posters from before a push on ASLEEP to the end of their signal */
  atomic_uint refs;      /* the loop, a run, every receiver that has its home here, and every request */
  atomic_uint_least64_t signalled_at;
  struct uvch__spares spares; /* others give back to them */

  char pad[UVCH__LINE];
  uv_loop_t* loop;
  struct uvch__wake* wake;
  atomic_ulong thread; /* which thread runs the loop; 0 until a callback has run */
  uv_idle_t idle;

  char another_pad[UVCH__LINE];
  struct uvch__endpoint* first; /* the FIFO */
  struct uvch__endpoint* last;
  struct uvch__endpoint* hand; /* the endpoint that is delivering */
  struct uvch__budget budget;
  uint32_t stride;
  uint32_t pass_messages;
  uint64_t pass_time;
  uint32_t left_messages; /* what the idle callback left for a wake-up in the same pass */
  uint64_t left_time;
  struct uvch__hot hot;
  struct uvch__backoff linger; /* see linger.h, both */
  struct uvch__backoff spin;
  uint64_t rested_at;
  atomic_uint_least64_t budget_cuts; /* passes that ended with something left */
  struct uvch__timers timers;
  struct uvch__list handles; /* until their close callback */
  struct uvch__list reqs;
  struct uvch__list owned; /* closed handles that are to be freed, by `reserved` */
  uvch_handle_t* closing;  /* oldest first */
  uvch_handle_t** closing_end;
  size_t closed;            /* handles that were ever put there */
  size_t delivered;         /* and their callbacks */
  struct uvch__walk* walks; /* see handle.c; innermost first */
  size_t live;              /* handles that are not closing, and requests */
  size_t alive;             /* what keeps the loop running */
  unsigned int depth;
  unsigned int pins;
  unsigned int passes;
  unsigned char state;
  unsigned char is_kept; /* it has new options: the next pass without handles and requests does not end it */
  unsigned char is_reffed;
  unsigned char is_let_go; /* by the loop, while it was pinned */
  unsigned char is_deaf;   /* in a forked child that has not got what it needs: it delivers close callbacks only */
  unsigned char to_close;  /* libuv handles whose close callback is due */
  struct uvch__port* orphans;
#ifdef UVCH__MISUSE
  struct uvch__misuse misuse;
#endif

  /* the registry's */
  struct uvch__port* next;
  int is_retired;
};

/* uvch__port_get: the loop's port, made if there is none. The loop's thread.
 * UV_EPERM: another thread runs the loop. UV_ENOMEM, UV_EMFILE. */
int uvch__port_get(uv_loop_t* loop, struct uvch__port** port);

/* uvch__port_find: the same, but NULL if there is none, and any thread if the loop does not run. */
struct uvch__port* uvch__port_find(uv_loop_t* loop);

/* uvch__port_is_foreign: 1 if the program closed the port's libuv handles itself. Any thread that holds the port. It reads libuv's
 * flags there: there is no other way to see a close that is not ours. The answer may be old; then a signal goes nowhere and the
 * next push sees it. */
static inline int uvch__port_is_foreign(struct uvch__port* port) {
  return uv_is_closing(&port->wake->u.handle) || uv_is_closing((uv_handle_t*) &port->idle);
}

/* uvch__port_is_broken: the same with the handle that only the loop's thread knows. That thread. */
int uvch__port_is_broken(struct uvch__port* port);

/* uvch__port_is_stranded: 1 if it did so while the port was about to. The loop's thread. */
int uvch__port_is_stranded(struct uvch__port* port);

void uvch__port_ref(struct uvch__port* port);
void uvch__port_unref(struct uvch__port* port);

/* uvch__port_pin, uvch__port_unpin: in between the loop does not let go of its reference, whatever user code does, if it has not
 * yet. The loop's thread. */
static inline void uvch__port_pin(struct uvch__port* port) {
  port->pins++;
}
void uvch__port_unpin(struct uvch__port* port);

/* uvch__port_push: hand an endpoint with its token to the loop. Any thread, signal handlers too; the caller need hold nothing but
 * the token. */
void uvch__port_push(struct uvch__port* port, struct uvch__endpoint* ep);

/* uvch__port_append: the same on the loop's own thread: no atomic operation, no system call. */
void uvch__port_append(struct uvch__port* port, struct uvch__endpoint* ep);

/* uvch__port_hold, uvch__port_release: one more, one less thing keeps the loop running. The loop's thread. */
void uvch__port_hold(struct uvch__port* port);
void uvch__port_release(struct uvch__port* port);

/* uvch__port_add, uvch__port_remove: a handle or request of the port. The loop's thread. */
void uvch__port_add(struct uvch__port* port, struct uvch__list* list, void* queue);
void uvch__port_remove(struct uvch__port* port, void* queue);

/* uvch__port_close_handle: the close callback of one of its handles will come. The loop's thread. */
void uvch__port_close_handle(struct uvch__port* port, uvch_handle_t* handle);

/* uvch__port_own: a closed handle with UVCH__OWNED whose close callback will not come is freed with the port. The loop's thread. */
void uvch__port_own(struct uvch__port* port, uvch_handle_t* handle);

/* uvch__port_runs_here: 1 if the calling thread is known to run the loop. It serves refusals only. Any thread that holds the
 * port. */
int uvch__port_runs_here(struct uvch__port* port);

/* uvch__port_owns: 1 if a libuv handle is this port's. */
int uvch__port_owns(const struct uvch__port* port, const uv_handle_t* handle);

/* uvch__port_refork: for a forked child: a new wake source, an empty ready list and FIFO; what was in them comes out as a chain,
 * whose tokens are the caller's to give out again or to drop. On an error it delivers nothing until it is called again. */
int uvch__port_refork(struct uvch__port* port, struct uvch__endpoint** chain);

/* uvch__port_forget: for a forked child: what is in the ready list is not, since its tokens are given out again. */
void uvch__port_forget(struct uvch__port* port);

/* uvch__port_is_posted: whether an endpoint is in the ready list. */
#define UVCH__PORT_CLOSED 2 /* the largest word that is no endpoint, see port.c */
static inline int uvch__port_is_posted(struct uvch__port* port) {
  return atomic_load_explicit(&port->head, memory_order_relaxed) > UVCH__PORT_CLOSED; /* relaxed: who collects acquires */
}

/* uvch__budget_spend: n messages are delivered; 1 if there may be more in this pass. */
int uvch__budget_look(struct uvch__port* port);
static inline int uvch__budget_spend(struct uvch__port* port, uint32_t n) {
  struct uvch__budget* b = &port->budget;

  b->left = b->left > n ? b->left - n : 0;
  if (b->left == 0)
    return 0;
  if (b->until_clock > n) {
    b->until_clock -= n;
    return 1;
  }
  return uvch__budget_look(port);
}

#endif
