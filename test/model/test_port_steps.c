/* SPDX-License-Identifier: MIT
 *
 * Every interleaving of what posters and loops do with a port, on the real sources of the port and of what lies around it, see
 * steps.h, over a libuv that is made small, see fake_uv.h; one is run of those that differ only in the order of steps that do not see
 * each other. Each program is run with both wake sources, each with the libuv it is made for. After each sequence: what was sent
 * has come or was dropped with its channel; every token is in one place, or ended once; no loop sleeps with work in its list; every
 * libuv handle and descriptor is closed, and every loop could be closed; all memory is given back once. And each of the bugs that
 * port_bugs.sed puts into the sources is found.
 *
 * The channels are as small as they can be: a word with a bit for each message, in which the token parks.
 *
 * For a failure, or one program alone: see runner.h. */
#include "alloc.h"
#include "core.h"
#include "fake_uv.h"
#include "handle.h"
#include "home.h"
#include "hot.h"
#include "port.h"
#include "queue.h"
#include "registry.h"
#include "request.h"
#include "runner.h"
#include "sleep.h"

#define steps_at fake_at
#define steps_load fake_load
#define steps_look fake_look

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define CHANNELS 4

/* The actors. Loop i is run by actor i. */
enum { FIRST, SECOND, THIRD, FOURTH };

/* Variants: the program's own bits. */
enum { OLD_LIBUV, NEW_LIBUV, VARIANTS };

/* Programs are run in every order, and one load of a sequence may read an old value. But in a program's `is_long`, unless
 * UVCH_TEST_SCALE is more than 1: FRESH: no old values; LARGE, HUGE: nor orders in which more than twice, or once, another actor goes
 * on than one that could. FORKS: always four times at most. */
enum { FRESH = 1, LARGE, HUGE, FORKS };

enum steps_bug steps_bug;
static uint64_t hot;

uint64_t uvch__hot_default(void) {
  return hot;
}

/* Others may have run, as they may before each step. */
int uvch__give_way(struct uvch__hot* h) {
  return h->gives_way ? 1 : 0;
}

int steps_is_torn(const char* who) {
  return steps_is(STEPS_PORT_UNREF_BY_STORE, who, "uvch__port_unref") || steps_is(STEPS_PUSH_BY_STORE, who, "uvch__port_push") ||
         steps_is(STEPS_COLLECT_BY_STORE, who, "collect") || steps_is(STEPS_LATE_BY_STORE, who, "push_on_asleep") ||
         steps_is(STEPS_HOME_POST_BY_STORE, who, "uvch__post") || steps_is(STEPS_HOME_MOVE_BY_STORE, who, "move");
}

/* Handles of other kinds are not in these programs. */
const struct uvch__handle_ops uvch__oneshot_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__broadcast_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__watch_handle = {NULL, NULL, NULL};

/* Nor are the library's channels. */
struct uvch__slot* uvch__blocks_slot(struct uvch__core* c, struct uvch__block_head** block, uint64_t index) {
  (void) c;
  (void) block;
  (void) index;
  return NULL;
}

void uvch__blocks_refork(struct uvch__core* c) {
  (void) c;
}

void uvch__queue_refork(struct uvch__core* c) {
  (void) c;
}

/* Channels. */

enum { BUSY = 1, DEAD = 2, MESSAGE = 4 }; /* in a word; BUSY: the token is not parked there; then a bit for each message */
#define MESSAGES (~(unsigned int) (BUSY | DEAD))

struct channel {
  struct uvch__endpoint ep;
  struct uvch__home home;
  atomic_uint word;
  atomic_uint refs;   /* the receiver, the token, each sender */
  unsigned int taken; /* messages; from here on the receiver's */
  uvch_handle_t* handle;
  int turns; /* that it is in, one in the callback of the other */
  int has_token;
  int is_closed;
};

/* What became of it. */
static struct {
  struct channel* core;
  uvch_handle_t* handle;
  unsigned int sent;
  unsigned int got;
  unsigned int wanted; /* when these have come the receiver closes */
  int ends;            /* of the token */
  int is_cut;          /* closed, or its port was, before all has come */
  int close_callbacks;
} records[CHANNELS];

static void (*on_message)(int channel, unsigned int message);
static void (*after_close)(int channel);

static struct channel* channel_of(struct uvch__endpoint* ep) {
  return UVCH__CONTAINER(ep, struct channel, ep);
}

static int index_of(const struct channel* c) {
  int i = 0;

  while (records[i].core != c)
    i++;
  return i;
}

static void let_go(struct channel* c) {
  struct uvch__port* port;

  if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
    return;
  port = uvch__home_port(&c->home);
  if (port != NULL)
    uvch__port_unref(port);
  uvch__free(c);
}

static void end_token(struct channel* c) {
  steps_expect(++records[index_of(c)].ends == 1);
  let_go(c);
}

static void drop(struct uvch__endpoint* ep) {
  records[index_of(channel_of(ep))].is_cut = 1;
  end_token(channel_of(ep));
}

static void on_closed(uvch_handle_t* handle) {
  int i = index_of(handle->core);

  records[i].handle = NULL;
  records[i].close_callbacks++;
  steps_free(handle);
  if (after_close != NULL)
    after_close(i);
}

static void close_it(int i) {
  if (records[i].handle != NULL && !uvch_is_closing(records[i].handle))
    steps_expect(uvch_close(records[i].handle, on_closed) == 0);
}

static void take(struct channel* c, unsigned int message) {
  int i = index_of(c);

  c->taken |= message;
  steps_expect((records[i].got & message) == 0 && !c->is_closed);
  records[i].got |= message;
  if (on_message != NULL)
    on_message(i, message);
  if (records[i].wanted != 0 && (records[i].got & records[i].wanted) == records[i].wanted)
    close_it(i);
}

/* 1: the token is parked. */
static int park(struct channel* c) {
  unsigned int word = atomic_load_explicit(&c->word, memory_order_acquire);

  steps_expect((word & BUSY) != 0 && (word & DEAD) == 0);
  return (word & MESSAGES & ~c->taken) == 0 &&
         atomic_compare_exchange_strong_explicit(&c->word, &word, word & ~(unsigned int) BUSY, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

static unsigned int first_of(unsigned int set) {
  return set & (~set + 1);
}

static void deliver(struct channel* c, struct uvch__port* port) {
  int may_go_on;

  do {
    unsigned int fresh = atomic_load_explicit(&c->word, memory_order_acquire) & MESSAGES & ~c->taken;
    if (fresh == 0) {
      if (park(c))
        port->hand = NULL;
      continue;
    }
    may_go_on = uvch__budget_spend(port, 1);
    take(c, first_of(fresh));
    if (!may_go_on)
      return;
  } while (port->hand == &c->ep);
}

static void turn(struct uvch__endpoint* ep, struct uvch__port* port) {
  struct channel* c = channel_of(ep);

  steps_expect(port->hand == ep);
  if (c->is_closed) {
    port->hand = NULL;
    end_token(c);
    return;
  }
  c->turns++;
  deliver(c, port);
  if (--c->turns == 0 && c->is_closed)
    let_go(c);
}

/* Messages that nobody has had go with it. */
static void close_channel(uvch_handle_t* handle) {
  struct channel* c = handle->core;
  struct uvch__port* port = handle->port;
  unsigned int old = atomic_fetch_or_explicit(&c->word, DEAD | BUSY, memory_order_acq_rel);
  int token = (old & BUSY) == 0 || c->has_token;

  records[index_of(c)].is_cut |= records[index_of(c)].got != records[index_of(c)].wanted;
  c->is_closed = 1;
  if (port == NULL) {
    token |= uvch__home_leave(&c->home);
  } else if (port->hand == &c->ep) {
    port->hand = NULL;
    token = 1;
  }
  if (token)
    end_token(c);
  if (c->turns == 0)
    let_go(c);
}

static void use_token(struct channel* c) {
  if (!c->has_token || (c->handle->flags & UVCH__ACTIVE) == 0)
    return;
  c->has_token = 0;
  if (!park(c))
    uvch__port_append(uvch__home_port(&c->home), &c->ep);
}

static void attach_channel(uvch_handle_t* handle, struct uvch__port* port) {
  struct channel* c = handle->core;

  if (uvch__home_attach(&c->home, port))
    c->has_token = 1;
  uvch__handle_attach(handle, port);
}

/* Nobody else exists, and the token is nowhere else any more. */
static void refork_channel(uvch_handle_t* handle) {
  struct channel* c = handle->core;

  atomic_fetch_or_explicit(&c->word, BUSY, memory_order_relaxed);
  c->has_token = 1;
  use_token(c);
}

const struct uvch__handle_ops uvch__mpsc_handle = {attach_channel, close_channel, refork_channel};

static const struct uvch__endpoint_ops channel_ops = {turn, drop, NULL};

/* A channel without a loop. */
static void make_channel(int i, unsigned int senders, unsigned int wanted) {
  struct channel* c = uvch__calloc(1, sizeof *c);

  c->ep.ops = &channel_ops;
  atomic_init(&c->word, BUSY);
  atomic_init(&c->refs, 2 + senders);
  c->has_token = 1;
  c->handle = steps_calloc(sizeof *c->handle);
  uvch__handle_init(c->handle, UVCH_MPSC_RECEIVER, c);
  memset(&records[i], 0, sizeof records[i]);
  records[i].core = c;
  records[i].handle = c->handle;
  records[i].wanted = wanted;
}

static uv_loop_t* loop_at(int i) {
  return &fake_loops[i].loop;
}

static void start_channel(int i, int loop) {
  steps_expect(uvch_attach(loop_at(loop), records[i].handle) == 0);
  uvch__handle_set_active(records[i].handle, 1);
  use_token(records[i].core);
}

/* Where many push: the program has references of its own, so that counts tell nobody anything. */

static struct uvch__port* held_port;
static int held_channels;

static void hold_all(int channels) {
  int i;

  held_port = uvch__port_find(loop_at(FIRST));
  uvch__port_ref(held_port);
  fake_count(&held_port->refs);
  fake_count(&held_port->late);
  held_channels = channels;
  for (i = 0; i < channels; i++) {
    records[i].core->refs++;
    fake_count(&records[i].core->refs);
  }
}

static void let_all_go(void) {
  int i;

  for (i = 0; i < held_channels; i++)
    let_go(records[i].core);
  if (held_port != NULL)
    uvch__port_unref(held_port);
}

static void open_channel(int i, int loop, unsigned int senders, unsigned int wanted) {
  make_channel(i, senders, wanted);
  start_channel(i, loop);
}

static void send_to(int i, unsigned int message) {
  struct channel* c = records[i].core;
  unsigned int old = atomic_fetch_or_explicit(&c->word, message | BUSY, memory_order_acq_rel);

  if ((old & DEAD) == 0)
    records[i].sent |= message;
  if ((old & BUSY) == 0)
    uvch__post(&c->home, &c->ep);
}

static void end_sender(int i) {
  let_go(records[i].core);
}

/* A port that waits for late posters looks for them in every pass. From the second look on the loop's actor waits for them: what it
 * would do meanwhile it has done once. See port_bugs.sed. */

static int looks[STEPS_ACTORS + 1];

static int nobody_is_late(void* port) {
  return ((struct uvch__port*) port)->late == 0;
}

void steps_look_late(struct uvch__port* port) {
  if (looks[fake_actor()]++ > 0)
    steps_wait(&port->late, STEPS_READ, __func__, nobody_is_late, port);
  if (nobody_is_late(port))
    looks[fake_actor()] = 0;
}

/* A spin, in programs that say so, lasts until something is posted, or nobody else goes on. */

static int spins_long;

static int is_spun_out(void* port) {
  return ((struct uvch__port*) port)->head > UVCH__PORT_CLOSED || steps_others_are_done(fake_actor());
}

void steps_spin(struct uvch__port* port) {
  if (spins_long)
    steps_wait(&spins_long, STEPS_READ, __func__, is_spun_out, port);
}

/* A long one has seen what there was. */
int steps_spins_on(struct uvch__port* port) {
  steps_expect(!spins_long || port->head <= UVCH__PORT_CLOSED);
  return 1;
}

/* The program's own timer, which fires at any time. */

static uv_timer_t timers[FAKE_LOOPS];

static void on_timer_closed(uv_handle_t* handle) {
  (void) handle;
}

static void start_timer(int loop, uv_timer_cb cb) {
  uv_timer_init(loop_at(loop), &timers[loop]);
  uv_timer_start(&timers[loop], cb, 0, 0);
}

static void end_timer(uv_timer_t* timer) {
  uv_close((uv_handle_t*) timer, on_timer_closed);
}

/* Loops. */

static void run(int loop) {
  uv_run(loop_at(loop), UV_RUN_DEFAULT);
}

static void run_to_the_end(int loop) {
  run(loop);
  steps_expect(uv_loop_close(loop_at(loop)) == 0);
}

/* A loop sleeps only if whatever is in the list has a poster who has not signalled yet. */
static void expect_rest(struct fake_loop* l) {
  struct uvch__port* port = uvch__registry_find(&l->loop);

  if (port == NULL || uvch__port_is_broken(port))
    return;
  steps_expect(port->first == NULL && port->hand == NULL && port->closing == NULL);
  steps_expect(l->depth > 1 || port->depth == 0);
  steps_expect((port->alive > 0 || port->live == 0) == port->is_reffed);
}

static void set_up(void) {
  int i;

  fake_uv_set_up();
  memset(records, 0, sizeof records);
  memset(looks, 0, sizeof looks);
  held_port = NULL;
  held_channels = 0;
  on_message = NULL;
  after_close = NULL;
  hot = 0;
  spins_long = 0;
  fake_on_sleep = expect_rest;
  steps_forget_ports();
  for (i = 0; i < FAKE_LOOPS; i++)
    uv_loop_init(loop_at(i));
}

static void close_unused(void) {
  int i;

  for (i = 0; i < FAKE_LOOPS; i++)
    if (fake_loops[i].is_open)
      steps_expect(uv_loop_close(loop_at(i)) == 0);
}

static void check_all(void) {
  int i;

  let_all_go();
  close_unused();
  fake_uv_check();
  for (i = 0; i < CHANNELS; i++) {
    if (records[i].core == NULL)
      continue;
    steps_expect(records[i].ends == 1);
    steps_expect((records[i].got & ~records[i].sent) == 0);
    steps_expect(records[i].is_cut || records[i].got == records[i].sent);
    steps_expect(records[i].handle == NULL && records[i].close_callbacks == 1);
  }
  steps_expect(steps_blocks() == 0);
}

/* A later port on the loop finds libuv done with those whose handles the program has closed. Outside of actors. */
static void sweep(int i) {
  if (!fake_loops[i].is_open)
    uv_loop_init(loop_at(i));
  open_channel(CHANNELS - 1, i, 1, MESSAGE);
  send_to(CHANNELS - 1, MESSAGE);
  end_sender(CHANNELS - 1);
  run_to_the_end(i);
}

/* Requests: what another thread completes, or its own cancels. */

static uvch_req_t* request;
static uvch_req_t completed; /* what the other thread has of it */
static atomic_uint request_is_done;
static int requests; /* that are to be made after it */
static int request_ends;

static void start_request(void);

static void end_request(uvch_req_t* req) {
  steps_expect(req == request);
  request = NULL;
  request_ends++;
  steps_free(req);
}

static void on_request(struct uvch__endpoint* ep, struct uvch__port* port) {
  uvch_req_t* req = uvch__request_of(ep);
  struct uvch__port* own = req->port;

  port->hand = NULL;
  uvch__request_end(req);
  uvch__port_unref(own);
  end_request(req);
  if (requests-- > 0)
    start_request();
}

static void forget_request(struct uvch__endpoint* ep) {
  uvch_req_t* req = uvch__request_of(ep);

  uvch__port_unref(req->port);
  end_request(req);
}

static int cancel_request(uvch_req_t* req) {
  if (atomic_exchange_explicit(&request_is_done, 1, memory_order_acq_rel) != 0)
    return UV_EBUSY;
  uvch__port_append(req->port, uvch__request_endpoint(req));
  return 0;
}

static const struct uvch__request_ops request_ops = {{on_request, forget_request, NULL}, cancel_request, NULL};

static void start_request(void) {
  request = steps_calloc(sizeof *request);
  steps_expect(uvch__request_begin(loop_at(FIRST), request, UVCH_MPSC_SEND, &request_ops) == 0);
  uvch__port_ref(request->port);
  completed = *request;
}

static void complete_request(void) {
  if (atomic_exchange_explicit(&request_is_done, 1, memory_order_acq_rel) == 0)
    uvch__port_push(completed.port, uvch__request_endpoint(request));
}

/* Programs. */

enum { A = MESSAGE, B = 2 * MESSAGE, C = 4 * MESSAGE };

static void one_channel(void) {
  set_up();
  open_channel(0, FIRST, 1, A);
}

static void one_channel_of_two(void) {
  set_up();
  open_channel(0, FIRST, 1, A | B);
}

static void two_senders(void) {
  set_up();
  open_channel(0, FIRST, 2, A | B);
  hold_all(1);
}

static void two_channels(void) {
  set_up();
  open_channel(0, FIRST, 1, A);
  open_channel(1, FIRST, 1, A);
}

static void two_channels_of_two(void) {
  two_channels();
  hold_all(2);
}

static void runs(void) {
  run_to_the_end(FIRST);
}

static void sends(void) {
  send_to(0, A);
  end_sender(0);
}

/* As the last sender of a channel does: from then on only the token keeps it. */
static void sends_and_lets_go_first(void) {
  struct channel* c = records[0].core;
  unsigned int old = atomic_fetch_or_explicit(&c->word, A | BUSY, memory_order_acq_rel);

  if ((old & DEAD) == 0)
    records[0].sent |= A;
  end_sender(0);
  if ((old & BUSY) == 0)
    uvch__post(&c->home, &c->ep);
}

static void sends_twice(void) {
  send_to(0, A);
  send_to(0, B);
  end_sender(0);
}

static void sends_second(void) {
  send_to(0, B);
  end_sender(0);
}

static void sends_to_second(void) {
  send_to(1, A);
  end_sender(1);
}

static void sends_to_both(void) {
  sends();
  sends_to_second();
}

static void close_first(uv_timer_t* timer) {
  end_timer(timer);
  close_it(0);
}

static void close_both(uv_timer_t* timer) {
  end_timer(timer);
  close_it(0);
  close_it(1);
}

static void runs_and_closes(void) {
  start_timer(FIRST, close_first);
  runs();
}

static void runs_and_closes_both(void) {
  start_timer(FIRST, close_both);
  runs();
}

/* Another channel of the same loop, in the last callback of the first: the loop's port ends, or goes on. */
static void open_another(int i) {
  if (i != 0)
    return;
  open_channel(1, FIRST, 1, A);
  send_to(1, A);
  end_sender(1);
}

static void open_on_timer(uv_timer_t* timer) {
  end_timer(timer);
  open_another(0);
}

static void runs_and_opens(void) {
  start_timer(FIRST, open_on_timer);
  runs();
}

static void runs_closes_and_opens(void) {
  after_close = open_another;
  runs_and_closes();
}

static void close_all(uv_timer_t* timer) {
  end_timer(timer);
  uvch_close_all(loop_at(FIRST));
}

static void runs_and_closes_all(void) {
  start_timer(FIRST, close_all);
  runs();
}

/* The end of what has no close callback. */
static void check_closed_all(void) {
  int i;

  for (i = 0; i < CHANNELS; i++) {
    if (records[i].handle == NULL)
      continue;
    steps_expect(uvch_is_closing(records[i].handle));
    on_closed(records[i].handle);
  }
  check_all();
}

/* A run in a callback. */

static int nested_left;

static void run_inside(int i, unsigned int message) {
  (void) i;
  (void) message;
  if (nested_left > 0 && steps_choose(2)) {
    nested_left--;
    uv_run(loop_at(FIRST), UV_RUN_NOWAIT);
  }
}

static void runs_inside(void) {
  on_message = run_inside;
  nested_left = 1;
  runs();
}

static void runs_inside_and_closes(void) {
  start_timer(FIRST, close_first);
  runs_inside();
}

static void runs_inside_and_closes_both(void) {
  start_timer(FIRST, close_both);
  runs_inside();
}

/* Other ways to run a loop. */

static void stop_it(int i, unsigned int message) {
  (void) i;
  (void) message;
  uv_stop(loop_at(FIRST));
}

static void runs_and_stops(void) {
  on_message = stop_it;
  while (uv_run(loop_at(FIRST), UV_RUN_DEFAULT)) {}
  steps_expect(uv_loop_close(loop_at(FIRST)) == 0);
}

static void runs_once(void) {
  while (uv_run(loop_at(FIRST), UV_RUN_ONCE)) {}
  steps_expect(uv_loop_close(loop_at(FIRST)) == 0);
}

static void runs_when_the_backend_says_so(void) {
  while (uv_run(loop_at(FIRST), UV_RUN_NOWAIT))
    fake_wait_backend(loop_at(FIRST));
  steps_expect(uv_loop_close(loop_at(FIRST)) == 0);
}

/* With nothing that keeps it running, and with it again. */
static void runs_without_and_with(void) {
  uvch_unref(records[0].handle);
  run(FIRST);
  if (records[0].handle != NULL) {
    uvch_ref(records[0].handle);
    run(FIRST);
  }
  steps_expect(uv_loop_close(loop_at(FIRST)) == 0);
}

/* A handle that is closed does not keep it running, nor does one without a reference. */
static void runs_with_one_of_two(void) {
  uvch_unref(records[1].handle);
  records[1].wanted = A | B; /* so it stays open */
  start_timer(FIRST, close_first);
  run(FIRST);
  close_it(1);
  runs();
}

/* Budgets and windows. */

static void close_both_at_once(int i, unsigned int message) {
  (void) i;
  (void) message;
  close_it(0);
  close_it(1);
}

static void runs_and_closes_both_at_once(void) {
  on_message = close_both_at_once;
  runs();
}

static void small_budget(void) {
  two_channels();
  records[0].wanted = A | B;
  steps_expect(uvch_loop_configure(loop_at(FIRST), UVCH_LOOP_BUDGET_MESSAGES, 1) == 0);
}

static void sends_twice_and_to_second(void) {
  sends_twice();
  sends_to_second();
}

static void hot_channel(void) {
  set_up();
  hot = 50000;
  fake_tick = 20000;
  open_channel(0, FIRST, 1, A | B);
}

static void hot_senders(void) {
  set_up();
  hot = 50000;
  fake_tick = 20000;
  open_channel(0, FIRST, 2, A | B);
  hold_all(1);
}

/* Spins that last, and what they do not hold back. */

static int has_fired;

static void spin_channel(void) {
  hot_channel();
  spins_long = 1;
}

static void spin_channels(void) {
  spin_channel();
  records[0].wanted = A;
  open_channel(1, FIRST, 1, A);
}

static void slow_spin_channel(void) {
  spin_channel();
  fake_tick = 60000; /* so a pass that delivers takes too long for a spin */
  has_fired = 0;
}

static int is_closed(void* arg) {
  (void) arg;
  return records[0].close_callbacks > 0;
}

static void sends_to_second_after_the_close(void) {
  sends();
  steps_wait(&records[0].close_callbacks, STEPS_READ, __func__, is_closed, NULL);
  sends_to_second();
}

static void note_fired(uv_timer_t* timer) {
  end_timer(timer);
  has_fired = 1;
}

static void runs_and_fires(void) {
  start_timer(FIRST, note_fired);
  runs();
}

static int is_fired(void* arg) {
  (void) arg;
  return has_fired;
}

static void sends_before_and_after_the_timer(void) {
  send_to(0, A);
  steps_wait(&has_fired, STEPS_READ, __func__, is_fired, NULL);
  sends_second();
}

/* The program closes the library's handles itself. */

enum { ALL, NOT_IDLE, ONLY_TIMER, ONLY_IDLE, FOREIGN_WAYS };

static struct uvch__timer long_timer;
static int foreign_way;

static int is_chosen(const uv_handle_t* handle) {
  return foreign_way == ALL || (foreign_way == NOT_IDLE && handle->type != UV_IDLE) ||
         (foreign_way == ONLY_IDLE && handle->type == UV_IDLE) || (foreign_way == ONLY_TIMER && handle->type == UV_TIMER);
}

static void close_foreign(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (uvch_owns_handle(handle) && !uv_is_closing(handle) && is_chosen(handle))
    uv_close(handle, NULL);
}

static void cut(int i) {
  if (records[i].handle != NULL)
    records[i].is_cut = 1;
}

/* The idle handle is what brings a port that ends back to its posters, so that one is not closed alone. */
static void break_port(uv_timer_t* timer) {
  int ends = uvch__registry_find(loop_at(FIRST)) == NULL;

  end_timer(timer);
  foreign_way = steps_choose(ends ? ONLY_IDLE : FOREIGN_WAYS);
  uv_walk(loop_at(FIRST), close_foreign, NULL);
  cut(0);
}

static void break_and_close(uv_timer_t* timer) {
  break_port(timer);
  close_it(0);
}

static void break_and_go(uv_timer_t* timer) {
  break_port(timer);
  if (records[0].handle != NULL && !uvch_is_closing(records[0].handle))
    steps_expect(uvch_close(records[0].handle, NULL) == 0);
}

static void break_close_and_open(uv_timer_t* timer) {
  break_and_close(timer);
  open_another(0);
}

static void never(struct uvch__timer* timer) {
  (void) timer;
  steps_expect(0);
}

static void with_a_timer(uv_timer_cb cb) {
  uvch__timer_start(uvch__port_find(loop_at(FIRST)), &long_timer, UINT64_MAX, never);
  start_timer(FIRST, cb);
}

static void runs_and_breaks(void) {
  with_a_timer(break_and_close);
  runs();
}

static void runs_and_breaks_without_callback(void) {
  with_a_timer(break_and_go);
  runs();
}

static void runs_breaks_and_opens(void) {
  with_a_timer(break_close_and_open);
  runs();
}

static void check_broken(void) {
  int i;

  sweep(FIRST);
  for (i = 0; i < CHANNELS; i++)
    if (records[i].handle != NULL)
      on_closed(records[i].handle);
  check_all();
}

/* Two loops. */

static void ping_pong(void) {
  set_up();
  open_channel(0, FIRST, 1, A | B);
  open_channel(1, SECOND, 1, A);
}

static void send_back(int i, unsigned int message) {
  if (i == 0 && message == A)
    sends_to_second();
  else if (i == 1)
    sends_second();
}

static void runs_and_answers(void) {
  on_message = send_back;
  runs();
}

static void starts_and_answers(void) {
  on_message = send_back;
  send_to(0, A);
  run_to_the_end(SECOND);
}

/* Ports that come and go. */

static void two_lives(void) {
  set_up();
}

static void live(int i, int loop) {
  open_channel(i, loop, 1, A);
  send_to(i, A);
  end_sender(i);
  run_to_the_end(loop);
}

static void lives(void) {
  live(0, FIRST);
}

static void lives_beside(void) {
  live(1, SECOND);
}

/* A channel on a loop that was closed, and on another one at its address. */
static void runs_and_lives_again(void) {
  runs();
  uv_loop_init(loop_at(FIRST));
  live(1, FIRST);
}

/* A loop that goes from thread to thread. */

static atomic_int whose;

static int is_first_again(void* arg) {
  (void) arg;
  return whose == 2;
}

static int is_seconds(void* arg) {
  (void) arg;
  return whose == 1;
}

static void hand_on(int to) {
  atomic_store_explicit(&whose, to, memory_order_release);
}

static void lives_twice(void) {
  live(0, FIRST);
  hand_on(1);
  steps_wait(&whose, STEPS_READ, __func__, is_first_again, NULL);
  uv_loop_init(loop_at(FIRST));
  live(2, FIRST);
}

static void lives_in_between(void) {
  steps_wait(&whose, STEPS_READ, __func__, is_seconds, NULL);
  uv_loop_init(loop_at(FIRST));
  fake_loops[FIRST].actor = SECOND;
  live(1, FIRST);
  hand_on(2);
}

static void lives_with_the_other(void) {
  fake_loops[SECOND].actor = THIRD;
  live(3, SECOND);
}

static void one_loop_for_two(void) {
  set_up();
  whose = 0;
}

/* Homes: a receiver without a loop, then with one. */

static void no_loop(void) {
  set_up();
  make_channel(0, 1, A);
  records[0].core->has_token = !park(records[0].core);
}

static void no_loop_of_two(void) {
  no_loop();
  records[0].wanted = A | B;
}

static void attaches_and_runs(void) {
  start_channel(0, FIRST);
  runs();
}

static int unpark(struct channel* c) {
  return (atomic_fetch_or_explicit(&c->word, BUSY, memory_order_acq_rel) & BUSY) == 0;
}

static void take_all(struct channel* c) {
  unsigned int fresh;

  while ((fresh = atomic_load_explicit(&c->word, memory_order_acquire) & MESSAGES & ~c->taken) != 0) {
    c->taken |= first_of(fresh);
    records[index_of(c)].got |= first_of(fresh);
  }
}

/* As a channel's own `_wait` does: until posted. */
static void sleep_at(struct channel* c, uint64_t timeout) {
  struct uvch__parker* p = uvch__parker_new();

  uvch__parker_ref(p);
  if (uvch__home_arm(&c->home, p))
    c->has_token = 1;
  if (c->has_token)
    c->has_token = !park(c);
  if (!c->has_token && uvch__parker_wait(p, uvch__parker_deadline(timeout)) != 0 && unpark(c))
    c->has_token = 1;
  if (uvch__home_disarm(&c->home))
    c->has_token = 1;
  else
    uvch__parker_unref(p);
  uvch__parker_unref(p);
}

static void close_without_loop(void) {
  uvch_handle_t* handle = records[0].handle;

  steps_expect(uvch_close(handle, NULL) == 0);
  on_closed(handle);
}

static void sleeps(void) {
  struct channel* c = records[0].core;

  take_all(c);
  while (records[0].got != records[0].wanted) {
    sleep_at(c, UINT64_MAX);
    take_all(c);
  }
  close_without_loop();
}

static void sleeps_a_while(void) {
  sleep_at(records[0].core, 5);
  take_all(records[0].core);
  close_without_loop();
}

static void sleeps_a_while_and_attaches(void) {
  struct channel* c = records[0].core;

  sleep_at(c, 5);
  take_all(c);
  start_channel(0, FIRST);
  if (records[0].got == records[0].wanted)
    close_it(0);
  runs();
}

static void closes_without_loop(void) {
  close_without_loop();
}

/* Requests. */

static void one_request(void) {
  set_up();
  request_is_done = 0;
  requests = 0;
  request_ends = 0;
  start_request();
}

static void hot_request(void) {
  set_up();
  hot = 50000;
  fake_tick = 20000;
  spins_long = 1;
  request_is_done = 0;
  requests = 0;
  request_ends = 0;
  start_request();
}

static int is_loop_closed(void* arg) {
  (void) arg;
  return !fake_loops[FIRST].is_open;
}

static void completes_and_sees_the_end(void) {
  complete_request();
  steps_wait(&fake_loops[FIRST].is_open, STEPS_READ, __func__, is_loop_closed, NULL);
}

static void cancel_it(uv_timer_t* timer) {
  end_timer(timer);
  if (request != NULL)
    uvch_cancel(request);
}

static void runs_and_cancels(void) {
  start_timer(FIRST, cancel_it);
  runs();
}

static void break_only(uv_timer_t* timer) {
  end_timer(timer);
  foreign_way = ALL;
  uv_walk(loop_at(FIRST), close_foreign, NULL);
}

static void runs_and_breaks_request(void) {
  with_a_timer(break_only);
  runs();
}

static void check_request(void) {
  steps_expect(request == NULL && request_ends == 1);
  check_all();
}

static void check_broken_request(void) {
  sweep(FIRST);
  check_request();
}

/* A thread in a channel's queue, which is a place for one here. */

static struct uvch__core core;
static struct uvch__waiter* waiting;
static int has_served;
static int answer;

enum { SERVED = 7 };

struct uvch__queue* uvch__queue_get(struct uvch__core* c) {
  return (struct uvch__queue*) (void*) c; /* any address */
}

struct uvch__parker* uvch__queue_parker(struct uvch__core* c, struct uvch__queue* q) {
  struct uvch__parker* p = uvch__parker_new();

  (void) c;
  (void) q;
  uvch__parker_ref(p);
  return p;
}

int uvch__queue_wait(struct uvch__core* c, struct uvch__queue* q, struct uvch__waiter* waiter) {
  (void) q;
  steps_at(&waiting, STEPS_WRITE, __func__);
  steps_expect(c == &core);
  waiter->state = UVCH__QUEUED;
  waiting = waiter;
  return 0;
}

int uvch__queue_cancel(struct uvch__core* c, struct uvch__waiter* waiter) {
  steps_at(&waiting, STEPS_WRITE, __func__);
  steps_expect(c == &core);
  if (waiting != waiter)
    return 0;
  waiter->state = UVCH__IDLE;
  waiting = NULL;
  return 1;
}

static void one_queue(void) {
  set_up();
  waiting = NULL;
  has_served = 0;
}

/* The frame of who waits, which is gone when it goes on. */
static void waits_in_queue(uint64_t timeout) {
  struct uvch__waiter* waiter = steps_calloc(sizeof *waiter);

  answer = uvch__sleep_queued(&core, waiter, timeout);
  steps_free(waiter);
}

static void waits(void) {
  waits_in_queue(UINT64_MAX);
}

static void waits_a_while(void) {
  waits_in_queue(5);
}

static int is_waiting(void* arg) {
  (void) arg;
  return waiting != NULL || steps_is_done(FIRST);
}

static void serves(void) {
  struct uvch__waiter* waiter;

  steps_wait(&waiting, STEPS_WRITE, __func__, is_waiting, NULL);
  waiter = waiting;
  waiting = NULL;
  if (waiter == NULL)
    return;
  has_served = 1;
  waiter->state = UVCH__MOVING;
  steps_plain(&waiter->status, sizeof waiter->status, STEPS_WRITE, __func__);
  waiter->status = SERVED;
  waiter->tell(waiter, &core);
}

static void check_queue(void) {
  steps_expect(answer == (has_served ? SERVED : UV_ETIMEDOUT));
  check_all();
}

/* A forked child. */

static void forked_channel(void) {
  set_up();
  open_channel(0, FIRST, 1, C);
}

static void forks(void) {
  uv_run(loop_at(FIRST), UV_RUN_NOWAIT);
  fake_fork();
  uv_loop_fork(loop_at(FIRST));
  steps_expect(uvch_loop_fork(loop_at(FIRST)) == 0);
  send_to(0, C);
  runs();
}

static void sends_until_the_fork(void) {
  fake_be(sends);
}

/* What others held is lost. */
static void check_child(void) {
  close_unused();
  fake_uv_check();
  steps_expect(records[0].got == records[0].sent && records[0].close_callbacks == 1);
}

static const struct steps_program programs[] = {
    {"send", one_channel, {runs, sends}, check_all, 0},
    {"send and let go first", one_channel, {runs, sends_and_lets_go_first}, check_all, 0},
    {"send twice", one_channel_of_two, {runs, sends_twice}, check_all, 0},
    {"two send", two_senders, {runs, sends, sends_second}, check_all, 0},
    {"send to two", two_channels, {runs, sends_to_both}, check_all, FRESH},
    {"two send to two", two_channels_of_two, {runs, sends, sends_to_second}, check_all, HUGE},

    {"send, close", one_channel, {runs_and_closes, sends}, check_all, 0},
    {"send and let go first, close", one_channel, {runs_and_closes, sends_and_lets_go_first}, check_all, 0},
    {"send twice, close", one_channel_of_two, {runs_and_closes, sends_twice}, check_all, LARGE},
    {"send to two, close both", two_channels, {runs_and_closes_both, sends_to_both}, check_all, LARGE},
    {"send to two, close all", two_channels, {runs_and_closes_all, sends_to_both}, check_closed_all, LARGE},
    {"send, close, another without a reference", two_channels, {runs_with_one_of_two, sends_to_both}, check_all, LARGE},
    {"send, open another", one_channel, {runs_and_opens, sends}, check_all, LARGE},
    {"send, close, open another", one_channel, {runs_closes_and_opens, sends}, check_all, 0},
    {"two send, close", two_senders, {runs_and_closes, sends, sends_second}, check_all, HUGE},
    {"two send to two, close both", two_channels_of_two, {runs_and_closes_both, sends, sends_to_second}, check_all, HUGE},

    {"send twice, a run inside", one_channel_of_two, {runs_inside, sends_twice}, check_all, FRESH},
    {"send to two, a run inside", two_channels, {runs_inside, sends_to_both}, check_all, LARGE},
    {"two send, a run inside", two_senders, {runs_inside, sends, sends_second}, check_all, HUGE},
    {"send twice, a run inside, close", one_channel_of_two, {runs_inside_and_closes, sends_twice}, check_all, LARGE},
    {"send to two, a run inside, close both", two_channels, {runs_inside_and_closes_both, sends_to_both}, check_all, LARGE},

    {"send twice, stop", one_channel_of_two, {runs_and_stops, sends_twice}, check_all, 0},
    {"send twice, run once", one_channel_of_two, {runs_once, sends_twice}, check_all, 0},
    {"send twice, the backend's descriptor", one_channel_of_two, {runs_when_the_backend_says_so, sends_twice}, check_all, 0},
    {"send, unref and ref", one_channel, {runs_without_and_with, sends}, check_all, 0},

    {"send three, a budget of one", small_budget, {runs, sends_twice_and_to_second}, check_all, LARGE},
    {"send to two, a budget of one, the callback closes both",
     small_budget,
     {runs_and_closes_both_at_once, sends_to_both},
     check_all,
     0},
    {"send three, a budget of one, close both",
     small_budget,
     {runs_and_closes_both, sends_twice_and_to_second},
     check_all,
     LARGE},
    {"send three, a run inside, a budget of one", small_budget, {runs_inside, sends_twice_and_to_second}, check_all, LARGE},
    {"send twice, hot", hot_channel, {runs, sends_twice}, check_all, FRESH},
    {"two send, hot", hot_senders, {runs, sends, sends_second}, check_all, FRESH},
    {"send twice, hot, close", hot_channel, {runs_and_closes, sends_twice}, check_all, LARGE},

    {"send twice, a spin that lasts", spin_channel, {runs, sends_twice}, check_all, FRESH},
    {"send to two, no spin before a close", spin_channels, {runs, sends_to_second_after_the_close}, check_all, FRESH},
    {"send twice, no spin late in a pass",
     slow_spin_channel,
     {runs_and_fires, sends_before_and_after_the_timer},
     check_all,
     FRESH},
    {"request, no spin before the end", hot_request, {runs, completes_and_sees_the_end}, check_request, FRESH},

    {"send, foreign close", one_channel, {runs_and_breaks, sends}, check_broken, FRESH},
    {"send and let go first, foreign close", one_channel, {runs_and_breaks, sends_and_lets_go_first}, check_broken, FRESH},
    {"send twice, foreign close", one_channel_of_two, {runs_and_breaks, sends_twice}, check_broken, HUGE},
    {"send, foreign close, no callback", one_channel, {runs_and_breaks_without_callback, sends}, check_broken, FRESH},
    {"send, foreign close, open another", one_channel, {runs_breaks_and_opens, sends}, check_broken, FRESH},
    {"two send, foreign close", two_senders, {runs_and_breaks, sends, sends_second}, check_broken, HUGE},

    {"loops that send to each other", ping_pong, {runs_and_answers, starts_and_answers}, check_all, LARGE},
    {"ports of two threads", two_lives, {lives, lives_beside}, check_all, 0},
    {"send, a loop at the same address", one_channel, {runs_and_lives_again, sends}, check_all, 0},
    {"a loop that goes from thread to thread",
     one_loop_for_two,
     {lives_twice, lives_in_between, lives_with_the_other},
     check_all,
     HUGE},

    {"send, attach", no_loop, {attaches_and_runs, sends}, check_all, 0},
    {"send twice, attach", no_loop_of_two, {attaches_and_runs, sends_twice}, check_all, 0},
    {"send, wait", no_loop, {sleeps, sends}, check_all, 0},
    {"send twice, wait", no_loop_of_two, {sleeps, sends_twice}, check_all, 0},
    {"send, timedwait", no_loop, {sleeps_a_while, sends}, check_all, 0},
    {"send twice, timedwait", no_loop_of_two, {sleeps_a_while, sends_twice}, check_all, 0},
    {"send, timedwait, attach", no_loop, {sleeps_a_while_and_attaches, sends}, check_all, 0},
    {"send twice, timedwait, attach", no_loop_of_two, {sleeps_a_while_and_attaches, sends_twice}, check_all, LARGE},
    {"send, close without a loop", no_loop, {closes_without_loop, sends}, check_all, 0},

    {"request", one_request, {runs, complete_request}, check_request, 0},
    {"request, cancel", one_request, {runs_and_cancels, complete_request}, check_request, 0},
    {"request, foreign close", one_request, {runs_and_breaks_request, complete_request}, check_broken_request, 0},

    {"wait in a queue", one_queue, {waits, serves}, check_queue, 0},
    {"timedwait in a queue", one_queue, {waits_a_while, serves}, check_queue, 0},

    {"send, fork", forked_channel, {forks, sends_until_the_fork}, check_child, FORKS},
};

/* Running them. */

static void prepare(const struct steps_program* program, int how) {
  (void) program;
  fake_uv_is_new = how / STEPS_OWN == NEW_LIBUV;
}

static int ways_of(const struct steps_program* program, enum steps_bug bug) {
  (void) program;
  (void) bug;
  return VARIANTS;
}

/* Who forks is seen by every step of the others, so there is no reduction. */
static int how_in(const struct steps_program* program, enum steps_bug bug, int way) {
  int how = way * STEPS_OWN;
  int size = steps_scale() > 1 && program->is_long != FORKS ? 0 : program->is_long;

  (void) bug;
  if (size >= LARGE)
    return how + STEPS_AT_MOST(size == FORKS ? 4 : size == LARGE ? 2 : 1);
  return how + STEPS_REDUCED + STEPS_SHORT + (size == FRESH ? 0 : STEPS_STALE);
}

static const struct steps_wrong bugs[] = {
    {STEPS_PUSH_WAKES_NOBODY, "a push on ASLEEP does not signal", "send"},
    {STEPS_PUSH_WAKES_FIRST, "it signals before it pushes", "send"},
    {STEPS_PUSH_HAS_NO_REFERENCE, "it has no reference to the port", "send and let go first, foreign close"},
    {STEPS_PUSH_IS_NOT_COUNTED, "it is not counted", "send"},
    {STEPS_PUSH_IS_COUNTED_OFF_EARLY, "it is counted off before it signals", "send"},
    {STEPS_PUSH_KEEPS_TOKEN, "a push on CLOSED keeps the token", "send, close"},
    {STEPS_PUSH_BY_STORE, "a push is a load and a store", "two send to two"},
    {STEPS_LATE_BY_STORE, "so is a count of who pushes", "two send to two"},
    {STEPS_COLLECT_BY_STORE, "so is what takes the list", "send to two"},
    {STEPS_PORT_UNREF_BY_STORE, "so is a reference less", "send"},

    {STEPS_REST_BY_STORE, "the mark is taken out by a store", "send"},
    {STEPS_REST_STOPS_FIRST, "the idle handle is stopped, and the mark stays", "send"},
    {STEPS_REST_STOPS_ANYWAY, "it is stopped though something came", "send"},
    {STEPS_RUN_LEAVES_IDLE, "the mark is put in without it", "send three, a budget of one"},
    {STEPS_RESTS_WITH_WORK, "the port rests with something in its FIFO", "send three, a budget of one"},
    {STEPS_NESTED_LEAVES_HAND, "a run inside leaves the hand alone", "send to two, a run inside"},
    {STEPS_APPEND_LEAVES_IDLE, "what the loop's thread posts does not start the idle handle", "request, cancel"},
    {STEPS_CLOSE_LEAVES_IDLE, "a close does not", "send, close"},
    {STEPS_HOLD_IS_LOST, "what keeps the loop running is not told", "send"},
    {STEPS_RELEASE_IS_LOST, "nor is that it does not any more", "send, unref and ref"},
    {STEPS_CLOSED_HOLDS_ON, "a closed handle keeps it running", "send, close, another without a reference"},

    {STEPS_PORT_SPIN_IGNORES_POSTS, "a spin does not see a post", "send twice, a spin that lasts"},
    {STEPS_SPIN_IGNORES_CLOSE, "it holds back a close callback", "send to two, no spin before a close"},
    {STEPS_SPIN_IGNORES_END, "or the end of the port", "request, no spin before the end"},
    {STEPS_SPIN_BEGINS_LATE, "or begins late in a pass, and holds back a timer", "send twice, no spin late in a pass"},
    {STEPS_REST_BY_STORE, "the mark is taken out by a store after it", "send twice, hot"},
    {STEPS_COLLECT_IS_RELAXED, "or the list is taken relaxed", "send twice, a spin that lasts"},

    {STEPS_END_IGNORES_LATE, "the port ends before late posters have signalled", "send"},
    {STEPS_END_KEEPS_LIST, "it ends with tokens in its list", "send, close"},
    {STEPS_END_KEEPS_FIFO, "or in its FIFO", "send to two, a budget of one, the callback closes both"},
    {STEPS_END_IS_NOT_RETIRED, "a port that ends is given out", "send, open another"},
    {STEPS_END_STAYS_KNOWN, "and one that is gone", "send, close, open another"},
    {STEPS_END_LETS_GO_TWICE, "the loop lets go twice", "send"},
    {STEPS_ORPHAN_TAKES_POSTS, "a port of closed handles takes posts", "send, foreign close"},
    {STEPS_ORPHAN_IS_LET_GO, "it is let go at once", "send, foreign close"},
    {STEPS_ORPHAN_HAS_NO_TIME, "or before libuv is done with it", "send, foreign close"},
    {STEPS_STRANDED_IS_LEFT, "one that was ending is in two lists", "send, foreign close, open another"},
    {STEPS_END_KEEPS_ORPHANS, "or never", "send, foreign close"},
    {STEPS_BROKEN_IGNORES_TIMER, "only its timer was closed, and it goes on", "send, foreign close"},

    {STEPS_REGISTRY_HAS_NO_LOCK, "the registry has no lock", "ports of two threads"},
    {STEPS_REGISTRY_TELLS_NOBODY, "a thread is told of a port that is gone", "send, close, open another"},

    {STEPS_HOME_ATTACH_LOSES_TOKEN, "an attach loses the token", "send, attach"},
    {STEPS_HOME_ARM_LOSES_TOKEN, "who goes to sleep does", "send twice, timedwait, attach"},
    {STEPS_HOME_DISARM_LOSES_TOKEN, "who wakes up does", "send twice, wait"},
    {STEPS_HOME_LEAVE_LOSES_TOKEN, "who leaves does", "send, close without a loop"},
    {STEPS_HOME_POST_BY_STORE, "a post is a load and a store", "send, attach"},
    {STEPS_HOME_MOVE_BY_STORE, "so is an attach", "send, attach"},
    {STEPS_POST_WAKES_NOBODY, "a post does not wake the thread", "send, wait"},
    {STEPS_SLEEP_BY_STORE, "a thread goes to sleep without a look", "send, wait"},
    {STEPS_WAKE_HAS_NO_LOCK, "it is signalled without the mutex", "send, wait"},
    {STEPS_WAKE_IS_READ_LATE, "the descriptor is read after the callback", "send twice"},

    {STEPS_FORK_KEEPS_LATE, "it waits for who is not there any more", "send, fork"},

    {STEPS_PUSH_IS_RELAXED, "a push on ASLEEP is relaxed", "send"},
    {STEPS_PUSH_ON_NODES_IS_RELAXED, "so is one on other nodes", "two send to two"},
    {STEPS_COLLECT_IS_RELAXED, "so is what takes the list", "send"},
    {STEPS_PORT_KILL_IS_RELAXED, "and what takes it at the end", "send, close"},
    {STEPS_LATE_IS_RELAXED, "a poster is counted off relaxed", "send"},
    {STEPS_END_IS_RELAXED, "the port looks for late ones relaxed", "send"},
    {STEPS_PORT_UNREF_IS_RELEASE, "who frees a port has not seen what others did", "send"},
    {STEPS_HOME_POST_IS_RELAXED, "a post to nobody is relaxed", "send, attach"},
    {STEPS_HOME_LOAD_IS_RELAXED, "who posts has not seen what the port is", "send, attach"},
    {STEPS_HOME_MOVE_IS_RELAXED, "nor was it shown", "send, attach"},
    {STEPS_PARKER_UNREF_IS_RELEASE, "who frees a parker has not seen what the other did", "send, wait"},
    {STEPS_PARKER_WAKE_IS_RELAXED, "a thread is woken relaxed", "wait in a queue"},
    {STEPS_WOKEN_IS_RELAXED, "it looks relaxed", "wait in a queue"},
};

int main(void) {
  static const struct steps_suite suite = {
      .name = "port_steps",
      .legend = "Sequences: with a descriptor, with a uv_async_t",
      .programs = programs,
      .program_count = COUNT(programs),
      .bugs = bugs,
      .bug_count = COUNT(bugs),
      .ways = ways_of,
      .how = how_in,
      .prepare = prepare,
  };

  return steps_main(&suite);
}
