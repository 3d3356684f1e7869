/* SPDX-License-Identifier: MIT
 *
 * The port.
 *
 * Why one: libuv looks at every uv_async_t of a loop at every wake-up, and uv_async_send() is no memory barrier when it
 * coalesces. So a loop has one wake source, and who posts decides by an exchange of our own whether to signal.
 *
 *        any thread: push                               the loop's thread: run
 *
 *   head: ASLEEP <-- node <-- node   --- collect --->   FIFO: ep, ep, ep  --- turn by turn --->  callbacks
 *         AWAKE                                               |                  |
 *         CLOSED                                              +---- hand: ep <---+
 *
 * The head. Only the push that finds ASLEEP signals. AWAKE (the mark) is in the head only while the idle handle is active, so the
 * loop comes back by itself: run() starts that handle before it puts the mark in, and rest() stops it when it has taken the mark
 * out. Hence uv_stop, a pass cut by its budget, UV_RUN_NOWAIT and programs that poll uv_backend_fd lose nothing.
 *
 * Turns. An endpoint is popped into `hand` with its token and delivers from there. A nested uv_run() in a callback finds it there
 * and puts it back in the FIFO before it goes on; the outer turn then sees that the token is gone and ends. So nothing is
 * iterated across user code, and a nested run delivers everything, messages of the same channel too.
 *
 * Life. The port is made with the loop's first handle or request. When none is left it ends: CLOSED into the head, its libuv
 * handles closed as soon as no poster is late (between its push on ASLEEP and its signal), and the last handles' close callbacks
 * come from there. A port that was used for requests only stays to the end of the next pass without one, and so does one that is
 * given options; what a call has made that failed in the end goes with the next pass.
 *
 * Foreign close. A program may close our libuv handles in a walk over its loop. Our close callbacks never come then. Whoever sees
 * it first, a poster or the loop, puts CLOSED into the head; the next call on the loop's thread makes a new port. The old one's
 * memory must stay until libuv is done with its handles: that is when a later port on the same loop has seen three passes, since
 * libuv finishes in each pass all handles that were closed before (a program that runs its loop inside a close callback, three
 * times, right after such a walk, breaks that). Until then it is an orphan, reachable from the registry.
 *
 * Edges:
 *   [H1] push     CAS of head, acq_rel: publishes the node, and what its poster did, to collect [H2]
 *   [H2] collect  CAS of head, acq_rel: takes the nodes of [H1]; a push that finds ASLEEP afterwards signals
 *   [H3] rest     CAS of head, AWAKE to ASLEEP, acq_rel: a push before it makes it fail, a push after it finds ASLEEP
 *   [H4] kill     exchange of head with CLOSED, acq_rel: takes the nodes of [H1]; every push after it finds CLOSED
 *   [L1] late     counted before the CAS [H1] that finds ASLEEP (relaxed: that CAS publishes it to [H4]), counted off with
 *                 release after the signal; the port's look before it closes its handles is the acquire */
#include "port.h"

#include "alloc.h"
#include "debug.h"
#include "linger.h"
#include "registry.h"
#include "thread.h"

enum { ASLEEP = 0, AWAKE = 1, CLOSED = UVCH__PORT_CLOSED }; /* no node has such an address */
enum { OPEN, ENDING, ENDED, FOREIGN };

#define PASS_MESSAGES 4096
#define PASS_TIME 1000000 /* ns */
#define STRIDE_MAX 32
#define STRIDE_TIME 16000 /* ns; a stride that took longer is too long */
#define ORPHAN_PASSES 3

enum { BY_WAKE, BY_IDLE };

static void run(struct uvch__port* port, int by);

static void on_wake(struct uvch__wake* wake) {
  run(wake->data, BY_WAKE);
}

static void on_idle(uv_idle_t* idle) {
  run(UVCH__CONTAINER(idle, struct uvch__port, idle), BY_IDLE);
}

/* Handles that are the library's memory. */

_Static_assert(sizeof(struct uvch__list) <= sizeof(((uvch_handle_t*) 0)->reserved), "fits the public struct");

static struct uvch__list* owned_of(uvch_handle_t* handle) {
  return (struct uvch__list*) (void*) handle->reserved;
}

void uvch__port_own(struct uvch__port* port, uvch_handle_t* handle) {
  uvch__list_append(&port->owned, owned_of(handle));
}

static void free_owned(struct uvch__list* q) {
  uvch__list_remove(q);
  uvch__free(UVCH__CONTAINER(q, uvch_handle_t, reserved));
}

/* Reference counts. */

void uvch__port_ref(struct uvch__port* port) {
  atomic_fetch_add_explicit(&port->refs, 1, memory_order_relaxed); /* relaxed: the caller has one */
}

void uvch__port_unref(struct uvch__port* port) {
  if (atomic_fetch_sub_explicit(&port->refs, 1, memory_order_acq_rel) != 1) /* the last one sees what all others did */
    return;
  while (!uvch__list_is_empty(&port->owned))
    free_owned(port->owned.next);
  uvch__wake_free(port->wake);
  uvch__guard_free(port);
  uvch__free(port);
}

/* The loop's reference. */
static void let_go(struct uvch__port* port) {
  if (port->pins > 0)
    port->is_let_go = 1;
  else
    uvch__port_unref(port);
}

void uvch__port_unpin(struct uvch__port* port) {
  if (--port->pins == 0 && port->is_let_go)
    uvch__port_unref(port);
}

/* The FIFO. */

static void put(struct uvch__port* port, struct uvch__endpoint* ep) {
  ep->next = 0;
  if (port->first == NULL)
    port->first = ep;
  else
    port->last->next = (uintptr_t) ep;
  port->last = ep;
}

static struct uvch__endpoint* pop(struct uvch__port* port) {
  struct uvch__endpoint* ep = port->first;

  if (ep != NULL)
    port->first = (struct uvch__endpoint*) ep->next;
  return ep;
}

static void drop_chain(uintptr_t h) {
  while (h > CLOSED) {
    struct uvch__endpoint* ep = (struct uvch__endpoint*) h;
    h = ep->next;
    ep->ops->drop(ep);
  }
}

/* No token is taken in any more, and those in the ready list end. Any thread that holds the port. */
static void kill_head(struct uvch__port* port) {
  drop_chain(atomic_exchange_explicit(&port->head, CLOSED, memory_order_acq_rel)); /* [H4] */
}

/* The same for the FIFO and the hand. */
static void kill_fifo(struct uvch__port* port) {
  struct uvch__endpoint* ep = port->hand;

  port->hand = NULL;
  if (ep != NULL)
    ep->ops->drop(ep);
  while ((ep = pop(port)) != NULL)
    ep->ops->drop(ep);
}

/* Posting. */

int uvch__port_is_broken(struct uvch__port* port) {
  return uvch__port_is_foreign(port) || (port->timers.is_made && uv_is_closing((uv_handle_t*) &port->timers.handle));
}

int uvch__port_is_stranded(struct uvch__port* port) {
  return port->state == ENDING && uvch__port_is_broken(port);
}

/* Once the endpoint is pushed it may be done, and the port with it. */
static int push_on_asleep(struct uvch__port* port, struct uvch__endpoint* ep) {
  uintptr_t h = ASLEEP;
  int done;

  uvch__port_ref(port);
  atomic_fetch_add_explicit(&port->late, 1, memory_order_relaxed); /* [L1] */
  ep->next = ASLEEP;
  done = atomic_compare_exchange_strong_explicit(&port->head, &h, (uintptr_t) ep, memory_order_acq_rel, /* [H1] */
                                                 memory_order_relaxed);
  if (done) {
    atomic_store_explicit(&port->signalled_at, uv_hrtime(), memory_order_relaxed); /* relaxed: a measurement */
    uvch__wake_signal(port->wake);
  }
  atomic_fetch_sub_explicit(&port->late, 1, memory_order_release); /* [L1] */
  uvch__port_unref(port);
  return done;
}

void uvch__port_push(struct uvch__port* port, struct uvch__endpoint* ep) {
  uintptr_t h = atomic_load_explicit(&port->head, memory_order_relaxed); /* relaxed: a CAS checks it, or it is final */

  UVCH__USE_HERE(port, port->loop);
  while (h != CLOSED && !uvch__port_is_foreign(port)) {
    if (h == ASLEEP) {
      if (push_on_asleep(port, ep))
        return;
      h = atomic_load_explicit(&port->head, memory_order_relaxed); /* relaxed: as above */
      continue;
    }
    ep->next = h;
    if (atomic_compare_exchange_weak_explicit(&port->head, &h, (uintptr_t) ep, memory_order_acq_rel,
                                              memory_order_relaxed)) /* [H1] */
      return;
  }
  kill_head(port);
  ep->ops->drop(ep);
}

/* What the loop does for us. */

static void turn_idle_on(struct uvch__port* port) {
  uv_idle_start(&port->idle, on_idle); /* fails only without a callback */
}

/* An unused port keeps the loop running too, until it is gone. */
static void update_ref(struct uvch__port* port) {
  int want = port->alive > 0 || port->live == 0;

  if (want == port->is_reffed || port->state == ENDED || port->state == FOREIGN)
    return;
  port->is_reffed = (unsigned char) want;
  if (want)
    uv_ref(&port->wake->u.handle);
  else
    uv_unref(&port->wake->u.handle);
}

void uvch__port_hold(struct uvch__port* port) {
  port->alive++;
  update_ref(port);
}

void uvch__port_release(struct uvch__port* port) {
  UVCH__CHECK(port->alive > 0);
  port->alive--;
  update_ref(port);
}

void uvch__port_add(struct uvch__port* port, struct uvch__list* list, void* queue) {
  uvch__lives(port, list, queue);
  uvch__list_append(list, queue);
  port->live++;
  update_ref(port);
}

void uvch__port_remove(struct uvch__port* port, void* queue) {
  UVCH__CHECK(port->live > 0);
  uvch__ends(queue);
  uvch__list_remove(queue);
  port->live--;
  if (port->live == 0 && !uvch__port_is_foreign(port))
    turn_idle_on(port);
  update_ref(port);
}

void uvch__port_close_handle(struct uvch__port* port, uvch_handle_t* handle) {
  handle->closing_next = NULL;
  *port->closing_end = handle;
  port->closing_end = &handle->closing_next;
  port->closed++;
  port->live--;
  if ((handle->flags & UVCH__OWNED) != 0)
    uvch__port_own(port, handle);
  uvch__port_hold(port);
  if (port->closing == handle) /* else it is on, and stays so as long as one is left */
    turn_idle_on(port);
}

void uvch__port_append(struct uvch__port* port, struct uvch__endpoint* ep) {
  if (uvch__port_is_foreign(port)) {
    ep->ops->drop(ep);
    return;
  }
  put(port, ep);
  turn_idle_on(port);
}

int uvch__port_runs_here(struct uvch__port* port) {
  /* relaxed: a thread asks only whether it was itself that wrote it */
  return atomic_load_explicit(&port->thread, memory_order_relaxed) == uvch__thread_self();
}

/* The end. */

/* The last close callbacks of handles come from the close callbacks of the port's own, so that uv_loop_close() succeeds after
 * them. */
static void deliver_closed(struct uvch__port* port) {
  size_t until = port->closed; /* not those that close meanwhile */
  uvch_handle_t* handle;
  int is_owned;

  while (port->delivered < until) {
    handle = port->closing;
    port->closing = handle->closing_next;
    if (port->closing == NULL)
      port->closing_end = &port->closing;
    port->delivered++;
    uvch__ends(handle->queue);
    uvch__list_remove((struct uvch__list*) (void*) handle->queue);
    uvch__port_release(port);
    is_owned = (handle->flags & UVCH__OWNED) != 0; /* others may be gone after the callback */
    if (handle->close_cb != NULL)
      handle->close_cb(handle);
    if (is_owned)
      free_owned(owned_of(handle));
  }
}

static void free_orphans(struct uvch__port* port) {
  struct uvch__port* orphan;

  while ((orphan = port->orphans) != NULL) {
    port->orphans = orphan->next;
    let_go(orphan);
  }
}

static void on_handle_closed(struct uvch__port* port) {
  if (--port->to_close > 0)
    return;
  uvch__registry_remove(port);
  uvch__wake_release(port->wake);
  free_orphans(port);
  deliver_closed(port);
  let_go(port);
}

static void on_wake_closed(struct uvch__wake* wake) {
  on_handle_closed(wake->data);
}

static void on_idle_closed(uv_handle_t* idle) {
  on_handle_closed(UVCH__CONTAINER(idle, struct uvch__port, idle));
}

static void on_timer_closed(uv_handle_t* timer) {
  on_handle_closed(UVCH__CONTAINER(timer, struct uvch__port, timers.handle));
}

/* Closes the libuv handles once no poster is late; until then the idle handle brings us here again. */
static void try_end(struct uvch__port* port) {
  if (port->state != ENDING || atomic_load_explicit(&port->late, memory_order_acquire) > 0) /* [L1] */
    return;
  port->state = ENDED;
  port->to_close = 2;
  uvch__wake_close(port->wake, on_wake_closed);
  uv_close((uv_handle_t*) &port->idle, on_idle_closed);
  if (port->timers.is_made) {
    port->to_close++;
    uv_close((uv_handle_t*) &port->timers.handle, on_timer_closed);
  }
  uvch__guard_close(port);
}

static void end(struct uvch__port* port) {
  UVCH__CHECK(port->live == 0 && port->depth == 0);
  port->state = ENDING;
  uvch__registry_retire(port);
  kill_head(port);
  kill_fifo(port);
  uvch__spares_close(&port->spares);
  try_end(port);
}

static void ignore(struct uvch__wake* wake) {
  (void) wake;
}

/* The program closed the libuv handles. It may have left one of them alone. Its list of handles is not touched any more: some
 * of them may be freed by now. */
static void orphan(struct uvch__port* port) {
  if (port->state == FOREIGN)
    return;
  port->state = FOREIGN;
  uvch__end_all(port);
  uvch__registry_orphan(port);
  kill_head(port);
  kill_fifo(port);
  uvch__spares_close(&port->spares);
  if (!uv_is_closing((uv_handle_t*) &port->idle))
    uv_close((uv_handle_t*) &port->idle, NULL);
  if (port->timers.is_made && !uv_is_closing((uv_handle_t*) &port->timers.handle))
    uv_close((uv_handle_t*) &port->timers.handle, NULL);
  if (!uv_is_closing(&port->wake->u.handle))
    uvch__wake_close(port->wake, ignore);
  uvch__guard_close(port);
}

/* A pass. */

int uvch__budget_look(struct uvch__port* port) {
  struct uvch__budget* b = &port->budget;
  uint64_t now = uv_hrtime();

  if (now - b->read_at > STRIDE_TIME)
    port->stride = 1;
  else if (port->stride < STRIDE_MAX)
    port->stride *= 2;
  b->read_at = now;
  b->until_clock = port->stride;
  if (now >= b->deadline)
    b->left = 0;
  return b->left > 0;
}

static void collect(struct uvch__port* port) {
  uintptr_t h = atomic_load_explicit(&port->head, memory_order_relaxed); /* relaxed: the CAS acquires */
  struct uvch__endpoint* oldest = NULL;
  struct uvch__endpoint* newest;

  do {
    if (h == AWAKE || h == CLOSED)
      return;
  } while (!atomic_compare_exchange_weak_explicit(&port->head, &h, AWAKE, memory_order_acq_rel, memory_order_relaxed)); /* [H2] */
  if (h == ASLEEP)
    return;
  newest = (struct uvch__endpoint*) h;
  while (h > CLOSED) { /* the list has the newest first, the FIFO the oldest */
    struct uvch__endpoint* ep = (struct uvch__endpoint*) h;
    h = ep->next;
    ep->next = (uintptr_t) oldest;
    oldest = ep;
  }
  if (port->first == NULL)
    port->first = oldest;
  else
    port->last->next = (uintptr_t) oldest;
  port->last = newest;
}

/* The next one, also of those that were posted meanwhile: a pass costs more than a message. A nested run may have stopped the idle
 * handle. */
static struct uvch__endpoint* next(struct uvch__port* port) {
  if (port->first == NULL && uvch__port_is_posted(port) && !uvch__port_is_foreign(port)) {
    turn_idle_on(port);
    collect(port);
  }
  return pop(port);
}

/* On one processor: true if others have run and posted something, and there is time for it in this pass. */
static int give_way(struct uvch__port* port) {
  int way;

  if (port->live == 0 || port->closing != NULL || (way = uvch__give_way(&port->hot)) == 0 || !uvch__port_is_posted(port))
    return 0;
  if (way == 1)
    uvch__backoff_hit(&port->hot.backoff);
  return uvch__budget_look(port);
}

static int drain(struct uvch__port* port) {
  struct uvch__endpoint* ep;
  int worked = 0;

  while (port->budget.left > 0 &&
         ((ep = next(port)) != NULL || (worked && (uvch__spin(port, NULL) || give_way(port)) && (ep = next(port)) != NULL))) {
    worked = 1;
    port->hand = ep;
    ep->ops->turn(ep, port);
    if (port->hand == ep) {
      port->hand = NULL;
      put(port, ep);
    }
  }
  return worked;
}

/* Nothing is left to do: wait hot, or sleep. */
static void rest(struct uvch__port* port, int worked, uint64_t now) {
  uintptr_t h = AWAKE;

  if (port->hot.ceiling > 0) {
    if (worked) {
      now = uv_hrtime();
      uvch__hot_open(&port->hot, now);
    } else if (port->hot.open) {
      uvch__hot_poll(&port->hot, now);
    }
    if (port->hot.open)
      return;
  }
  if (!atomic_compare_exchange_strong_explicit(&port->head, &h, ASLEEP, memory_order_acq_rel, memory_order_relaxed) && /* [H3] */
      h != ASLEEP) /* a nested run may have taken the mark out */
    return;
  uv_idle_stop(&port->idle);
  port->rested_at = now;
}

static void settle(struct uvch__port* port, int worked, uint64_t now) {
  if (port->live == 0 && port->depth == 0) {
    int stay = port->orphans != NULL ? port->passes < ORPHAN_PASSES : port->closing == NULL && (worked || port->is_kept);
    port->is_kept = 0;
    if (!stay)
      end(port);
    return;
  }
  if (port->live == 0 || port->closing != NULL)
    return;
  if (port->is_deaf)
    uv_idle_stop(&port->idle);
  else if (port->first == NULL)
    rest(port, worked, now);
}

static void note_hit(struct uvch__port* port) {
  uint64_t signalled = atomic_load_explicit(&port->signalled_at, memory_order_relaxed); /* relaxed: a measurement */

  uvch__hot_hit(&port->hot, signalled > port->rested_at ? signalled - port->rested_at : 0);
}

/* A pass of the loop may run both callbacks, the idle one first: what that left of the budget is what the other has. */
static void start_budget(struct uvch__port* port, int by, uint64_t now) {
  struct uvch__budget* b = &port->budget;
  uint64_t time = port->pass_time;

  b->left = port->pass_messages;
  if (by == BY_WAKE) {
    b->left = b->left < port->left_messages ? b->left : port->left_messages;
    time = time < port->left_time ? time : port->left_time;
  }
  b->until_clock = port->stride;
  b->read_at = now;
  b->deadline = time < UINT64_MAX - now ? now + time : UINT64_MAX;
  b->spin_until = time < UVCH__SPIN_PASS ? b->deadline : now + UVCH__SPIN_PASS;
}

static void end_budget(struct uvch__port* port, int by) {
  struct uvch__budget* b = &port->budget;

  port->left_messages = by == BY_WAKE ? UINT32_MAX : b->left;
  port->left_time = by == BY_WAKE ? UINT64_MAX : b->deadline > b->read_at ? b->deadline - b->read_at : 0;
}

static void run(struct uvch__port* port, int by) {
  struct uvch__budget outer = port->budget;
  uint64_t now;
  int worked;

  if (port->state != OPEN) {
    if (uvch__port_is_stranded(port))
      orphan(port);
    else
      try_end(port);
    return;
  }
  if (!uvch__port_runs_here(port))
    atomic_store_explicit(&port->thread, uvch__thread_self(), memory_order_relaxed); /* relaxed: see there */
  uvch__guard_enter(port);
  uvch__look_over(port);
  now = uv_hrtime();
  uvch__port_pin(port); /* a callback that closes our handles in a walk may see the port's end */
  port->passes++;
  port->depth++;
  turn_idle_on(port);
  if (port->hand != NULL) { /* of a turn whose callback runs the loop */
    put(port, port->hand);
    port->hand = NULL;
  }
  if (!port->is_deaf)
    collect(port);
  if (port->first != NULL)
    note_hit(port);
  start_budget(port, by, now);
  worked = !port->is_deaf && drain(port);
  /* Not the wake callback of a pass whose idle callback had all of it. relaxed: a number that only this thread changes */
  if (worked && port->first != NULL && port->budget.left == 0)
    atomic_store_explicit(&port->budget_cuts, atomic_load_explicit(&port->budget_cuts, memory_order_relaxed) + 1,
                          memory_order_relaxed);
  if (port->live > 0 || port->depth > 1)
    deliver_closed(port);
  end_budget(port, by);
  port->budget = outer;
  port->depth--;
  uvch__guard_leave(port);
  if (uvch__port_is_broken(port))
    orphan(port);
  else
    settle(port, worked, now);
  uvch__port_unpin(port);
}

/* Making one. */

static int make(uv_loop_t* loop, struct uvch__port** out) {
  struct uvch__port* port = uvch__calloc(1, sizeof *port);
  struct uvch__port* stranded;
  int err;

  if (port == NULL)
    return UV_ENOMEM;
  err = uvch__wake_new(&port->wake, loop, on_wake, port);
  if (err != 0) {
    uvch__free(port);
    return err;
  }
  uv_idle_init(loop, &port->idle); /* cannot fail */
  uv_unref((uv_handle_t*) &port->idle);
  atomic_init(&port->head, ASLEEP);
  atomic_init(&port->refs, 1);
  port->loop = loop;
  port->stride = 1;
  port->pass_messages = PASS_MESSAGES;
  port->pass_time = PASS_TIME;
  port->left_messages = UINT32_MAX;
  port->left_time = UINT64_MAX;
  uvch__hot_init(&port->hot);
  uvch__list_init(&port->handles);
  port->closing_end = &port->closing;
  uvch__list_init(&port->reqs);
  uvch__list_init(&port->owned);
  uvch__timers_init(&port->timers);
  while ((stranded = uvch__registry_stranded(loop)) != NULL)
    orphan(stranded);
  uvch__registry_add(port);
  turn_idle_on(port); /* an unused port goes away by itself */
  uvch__guard_open(port);
  update_ref(port);
  *out = port;
  return 0;
}

struct uvch__port* uvch__port_find(uv_loop_t* loop) {
  struct uvch__port* port = uvch__registry_find(loop);

  if (port == NULL || !uvch__port_is_broken(port))
    return port;
  orphan(port);
  return uvch__registry_find(loop); /* user code may have made another one meanwhile */
}

int uvch__port_get(uv_loop_t* loop, struct uvch__port** out) {
  unsigned long thread;

  *out = uvch__port_find(loop);
  if (*out == NULL)
    return make(loop, out);
  thread = atomic_load_explicit(&(*out)->thread, memory_order_relaxed); /* relaxed: see uvch__port_runs_here */
  if (thread != 0 && thread != uvch__thread_self())
    return uvch__bound_elsewhere(*out);
  UVCH__USE_PORT(*out, loop);
  return 0;
}

int uvch__port_owns(const struct uvch__port* port, const uv_handle_t* handle) {
  return handle == &port->wake->u.handle || handle == (const uv_handle_t*) &port->idle ||
         handle == (const uv_handle_t*) &port->timers.handle || uvch__guard_owns(port, handle);
}

/* After a fork. */

static void on_old_wake_closed(struct uvch__wake* wake) {
  uvch__wake_free(wake);
}

void uvch__port_forget(struct uvch__port* port) {
  atomic_store_explicit(&port->head, ASLEEP, memory_order_relaxed); /* relaxed: no other thread exists */
}

int uvch__port_refork(struct uvch__port* port, struct uvch__endpoint** chain) {
  struct uvch__wake* wake;
  int err = uvch__wake_new(&wake, port->loop, on_wake, port);

  uvch__guard_refork(port);
  /* relaxed, here and below: no other thread exists */
  atomic_store_explicit(&port->late, 0, memory_order_relaxed);
  atomic_store_explicit(&port->thread, 0, memory_order_relaxed);
  port->is_deaf = err != 0;
  if (err != 0) {
    uvch__wake_mute(port->wake);
    return err;
  }
  uvch__wake_close(port->wake, on_old_wake_closed);
  port->wake = wake;
  port->is_reffed = 0;
  update_ref(port);
  collect(port);
  if (port->hand != NULL)
    put(port, port->hand);
  *chain = port->first;
  port->first = NULL;
  port->hand = NULL;
  uvch__port_forget(port);
  turn_idle_on(port);
  return 0;
}
