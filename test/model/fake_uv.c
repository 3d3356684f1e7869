/* SPDX-License-Identifier: MIT */
#include "fake_uv.h"

#include <errno.h>
#include <setjmp.h>

#define DESCRIPTORS 8
#define FIRST_DESCRIPTOR 3
#define COUNTS 16
#define NOBODY (-1)

/* In a handle's flags. */
enum { ACTIVE = 1, REF = 2 };

_Alignas(4096) struct fake_loop fake_loops[FAKE_LOOPS];
_Static_assert(sizeof fake_loops <= 4096, "all are of one shard");
int fake_uv_is_new;
uint64_t fake_tick;
void (*fake_on_sleep)(struct fake_loop* loop);

static struct {
  int is_open;
  uint64_t count;
  struct fake_loop* loop; /* that polls it */
} descriptors[DESCRIPTORS];

static uint64_t clocks[STEPS_ACTORS + 1]; /* of each actor, and outside */
static int forker;
static const volatile void* counted[COUNTS];
static int counts;
static jmp_buf ends[STEPS_ACTORS];

/* Actors. */

int fake_actor(void) {
  int self = steps_self();
  return self >= 0 ? self : STEPS_ACTORS;
}

unsigned int fake_version(void) {
  return fake_uv_is_new ? 0x013000 : 0x012c02;
}

/* Of an actor that runs no loop the clock stands, so that it does not matter who looks first. */
uint64_t fake_hrtime(void) {
  int i;

  for (i = 0; i < FAKE_LOOPS; i++)
    if (fake_loops[i].depth > 0 && fake_loops[i].actor == fake_actor())
      clocks[fake_actor()] += fake_tick;
  return clocks[fake_actor()];
}

void fake_be(void (*actor)(void)) {
  if (_setjmp(ends[fake_actor()]) == 0)
    actor();
  steps_at(&forker, STEPS_WRITE, __func__); /* what it did was before the fork */
}

static int others_have_ended(void* arg) {
  (void) arg;
  return steps_others_are_done(forker);
}

void fake_fork(void) {
  steps_at(&forker, STEPS_WRITE, __func__);
  forker = fake_actor();
  steps_wait(&forker, STEPS_WRITE, __func__, others_have_ended, NULL);
}

void fake_count(const volatile void* where) {
  steps_expect(counts < COUNTS);
  counted[counts++] = where;
}

enum steps_kind fake_counting(const volatile void* where) {
  int i;

  for (i = 0; i < counts; i++)
    if (counted[i] == where)
      return STEPS_COUNT;
  return STEPS_WRITE;
}

static void end_if_forked(void) {
  if (forker != NOBODY && steps_self() >= 0 && forker != steps_self())
    _longjmp(ends[steps_self()], 1);
}

void fake_at(const volatile void* where, enum steps_kind kind, const char* who) {
  steps_at(where, kind, who);
  end_if_forked();
}

uint64_t fake_load(const volatile void* where, size_t size, int order, const char* who) {
  uint64_t bits = steps_load(where, size, order, who);

  end_if_forked();
  return bits;
}

uint64_t fake_look(const volatile void* where, size_t size, enum steps_kind kind, const char* who) {
  uint64_t bits = steps_look(where, size, kind, who);

  end_if_forked();
  return bits;
}

#define steps_at fake_at
#define steps_load fake_load
#define steps_look fake_look

/* Handles. */

static struct fake_loop* loop_of(uv_loop_t* loop) {
  return (struct fake_loop*) (void*) loop;
}

static void expect_owner(const struct fake_loop* l) {
  steps_expect(steps_self() < 0 || steps_self() == l->actor);
  steps_expect(l->is_open);
}

static struct fake_loop* owner_of(const void* handle) {
  struct fake_loop* l = loop_of(((const uv_handle_t*) handle)->loop);

  expect_owner(l);
  return l;
}

/* The bit that others read, in a place that nothing else uses. */
static uintptr_t* closing_of(const uv_handle_t* handle) {
  return (uintptr_t*) (uintptr_t) &handle->u.reserved[3];
}

static int is_closing(const uv_handle_t* handle) {
  return *closing_of(handle) != 0;
}

static void add(uv_loop_t* loop, void* p, uv_handle_type type, unsigned int flags) {
  struct fake_loop* l = loop_of(loop);
  uv_handle_t* h = p;
  int i;

  expect_owner(l);
  h->loop = loop;
  h->type = type;
  h->flags = flags | REF;
  atomic_init(closing_of(h), 0);
  for (i = 0; i < FAKE_HANDLES && l->handles[i] != NULL; i++) {}
  steps_expect(i < FAKE_HANDLES);
  l->handles[i] = h;
  l->times[i]++;
}

static int is(const void* handle, unsigned int flag) {
  return (((const uv_handle_t*) handle)->flags & flag) != 0;
}

static void set(void* handle, unsigned int flag, int on) {
  uv_handle_t* h = handle;

  owner_of(h);
  steps_expect(!is_closing(h));
  h->flags = on ? h->flags | flag : h->flags & ~flag;
}

void fake_ref(uv_handle_t* handle) {
  set(handle, REF, 1);
}

void fake_unref(uv_handle_t* handle) {
  set(handle, REF, 0);
}

/* Any thread. */
int steps_is_closing(const uv_handle_t* handle) {
  return atomic_load_explicit(closing_of(handle), memory_order_relaxed) != 0;
}

static int nobody_sends(void* async) {
  return ((uv_async_t*) async)->u.fd == 0;
}

/* A send that finds it pending has nothing to do; who is in the middle of one is waited for. */
static void stop_async(uv_async_t* async) {
  atomic_store_explicit(&async->pending, 1, memory_order_seq_cst);
  steps_wait(&async->u.fd, STEPS_WRITE, __func__, nobody_sends, async);
}

void fake_handle_close(uv_handle_t* handle, uv_close_cb cb) {
  struct fake_loop* l = owner_of(handle);

  steps_expect(!is_closing(handle));
  atomic_store_explicit(closing_of(handle), 1, memory_order_relaxed);
  handle->close_cb = cb;
  if (handle->type == UV_ASYNC)
    stop_async((uv_async_t*) handle);
  handle->flags &= ~(unsigned int) ACTIVE;
  handle->next_closing = l->closing;
  l->closing = handle;
}

static void close_handles(struct fake_loop* l) {
  uv_handle_t* h = l->closing;
  int i;

  l->closing = NULL;
  while (h != NULL) {
    uv_handle_t* next = h->next_closing;
    for (i = 0; l->handles[i] != h; i++) {}
    l->handles[i] = NULL;
    if (h->close_cb != NULL)
      h->close_cb(h);
    h = next;
  }
}

/* Going over handles, while callbacks make and close them. */
static void all_of(struct fake_loop* l, unsigned int* times) {
  memcpy(times, l->times, sizeof l->times);
}

static void* same(struct fake_loop* l, const unsigned int* times, int i, uv_handle_type type) {
  uv_handle_t* h = l->handles[i];
  return h != NULL && l->times[i] == times[i] && h->type == type && is(h, ACTIVE) ? h : NULL;
}

void fake_walk(uv_loop_t* loop, uv_walk_cb cb, void* arg) {
  struct fake_loop* l = loop_of(loop);
  unsigned int times[FAKE_HANDLES];
  int i;

  expect_owner(l);
  all_of(l, times);
  for (i = 0; i < FAKE_HANDLES; i++)
    if (l->handles[i] != NULL && l->times[i] == times[i])
      cb(l->handles[i], arg);
}

/* What wakes a loop. */

int fake_async_init(uv_loop_t* loop, uv_async_t* async, uv_async_cb cb) {
  add(loop, async, UV_ASYNC, ACTIVE);
  async->async_cb = cb;
  atomic_init(&async->pending, 0);
  atomic_init(&async->u.fd, 0); /* sends in the middle */
  return 0;
}

/* A step that may wake the loop. It is relaxed: nothing may rest on what a system call orders. */
static void touch(struct fake_loop* l) {
  atomic_fetch_or_explicit(&l->events, 1, memory_order_relaxed);
}

int fake_async_send(uv_async_t* async) {
  struct fake_loop* l;
  int was_pending = atomic_load_explicit(&async->pending, memory_order_relaxed);

  if (was_pending)
    return 0;
  atomic_fetch_add_explicit(&async->u.fd, 1, memory_order_seq_cst);
  was_pending = atomic_exchange_explicit(&async->pending, 1, memory_order_seq_cst);
  if (!was_pending) {
    l = loop_of(async->loop);
    touch(l);
    steps_expect(l->is_open);
    l->is_sent = 1;
  }
  atomic_fetch_sub_explicit(&async->u.fd, 1, memory_order_seq_cst);
  return 0;
}

int fake_poll_init(uv_loop_t* loop, uv_poll_t* poll, int fd) {
  add(loop, poll, UV_POLL, 0);
  poll->io_watcher.fd = fd;
  descriptors[fd - FIRST_DESCRIPTOR].loop = loop_of(loop);
  return 0;
}

int fake_poll_start(uv_poll_t* poll, int events, uv_poll_cb cb) {
  (void) events;
  set(poll, ACTIVE, 1);
  poll->poll_cb = cb;
  return 0;
}

int fake_eventfd(unsigned int count, int flags) {
  int i;

  (void) flags;
  for (i = 0; i < DESCRIPTORS && descriptors[i].is_open; i++) {}
  steps_expect(i < DESCRIPTORS);
  descriptors[i].is_open = 1;
  descriptors[i].count = count;
  return i + FIRST_DESCRIPTOR;
}

/* A step at the descriptor, of which something is then the case for the loop. */
static int at_descriptor(int fd) {
  int i = fd - FIRST_DESCRIPTOR;

  touch(descriptors[i].loop);
  steps_expect(descriptors[i].is_open);
  return i;
}

ssize_t fake_write(int fd, const void* buffer, size_t size) {
  int i = at_descriptor(fd);

  (void) buffer;
  descriptors[i].count++;
  return (ssize_t) size;
}

ssize_t fake_read(int fd, void* buffer, size_t size) {
  int i = at_descriptor(fd);

  if (descriptors[i].count == 0) {
    errno = EAGAIN;
    return -1;
  }
  memcpy(buffer, &descriptors[i].count, size);
  descriptors[i].count = 0;
  return (ssize_t) size;
}

/* Nobody may poll what is closed. */
int fake_close(int fd) {
  int i = at_descriptor(fd);
  struct fake_loop* l = descriptors[i].loop;
  int k;

  for (k = 0; k < FAKE_HANDLES; k++)
    steps_expect(l->handles[k] == NULL || l->handles[k]->type != UV_POLL || !is(l->handles[k], ACTIVE) ||
                 ((uv_poll_t*) l->handles[k])->io_watcher.fd != fd);
  descriptors[i].is_open = 0;
  return 0;
}

/* What else a loop has. */

int fake_idle_init(uv_loop_t* loop, uv_idle_t* idle) {
  add(loop, idle, UV_IDLE, 0);
  return 0;
}

/* libuv does not look whether it closes. */
int fake_idle_start(uv_idle_t* idle, uv_idle_cb cb) {
  set(idle, ACTIVE, 1);
  idle->idle_cb = cb;
  return 0;
}

int fake_idle_stop(uv_idle_t* idle) {
  set(idle, ACTIVE, 0);
  return 0;
}

int fake_timer_init(uv_loop_t* loop, uv_timer_t* timer) {
  add(loop, timer, UV_TIMER, 0);
  return 0;
}

int fake_timer_start(uv_timer_t* timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat) {
  uint64_t now = owner_of(timer)->now;

  steps_expect(repeat == 0);
  set(timer, ACTIVE, 1);
  timer->timer_cb = cb;
  timer->timeout = timeout < FAKE_NEVER ? now + timeout : UINT64_MAX;
  return 0;
}

uint64_t fake_now(const uv_loop_t* loop) {
  return ((const struct fake_loop*) (const void*) loop)->now;
}

/* A pass. */

static uv_timer_t* timer_at(struct fake_loop* l, int i) {
  uv_timer_t* timer = (uv_timer_t*) l->handles[i];
  return timer != NULL && timer->type == UV_TIMER && is(timer, ACTIVE) && timer->timeout != UINT64_MAX ? timer : NULL;
}

static void run_timers(struct fake_loop* l) {
  int i;

  for (i = 0; i < FAKE_HANDLES; i++) {
    uv_timer_t* timer = timer_at(l, i);
    if (timer == NULL || !(l->is_late || steps_choose(2)))
      continue;
    l->is_late = 0;
    if (l->now < timer->timeout)
      l->now = timer->timeout;
    set(timer, ACTIVE, 0);
    timer->timer_cb(timer);
  }
}

static void run_idle(struct fake_loop* l) {
  unsigned int times[FAKE_HANDLES];
  unsigned int set_of = 0;
  uv_idle_t* idle;
  int i;

  all_of(l, times);
  for (i = 0; i < FAKE_HANDLES; i++)
    set_of |= same(l, times, i, UV_IDLE) != NULL ? 1u << i : 0;
  for (i = 0; i < FAKE_HANDLES; i++)
    if ((set_of & 1u << i) != 0 && (idle = same(l, times, i, UV_IDLE)) != NULL)
      idle->idle_cb(idle);
}

static int is_alive(const struct fake_loop* l) {
  int i;

  for (i = 0; i < FAKE_HANDLES; i++)
    if (l->handles[i] != NULL && is(l->handles[i], ACTIVE) && is(l->handles[i], REF))
      return 1;
  return l->closing != NULL;
}

static int may_sleep(const struct fake_loop* l, uv_run_mode mode) {
  int i;

  for (i = 0; i < FAKE_HANDLES; i++)
    if (l->handles[i] != NULL && l->handles[i]->type == UV_IDLE && is(l->handles[i], ACTIVE))
      return 0;
  return mode != UV_RUN_NOWAIT && !l->stops && l->closing == NULL && is_alive(l);
}

static int is_readable(struct fake_loop* l, int i) {
  uv_poll_t* poll = (uv_poll_t*) l->handles[i];
  return poll != NULL && poll->type == UV_POLL && is(poll, ACTIVE) &&
         descriptors[poll->io_watcher.fd - FIRST_DESCRIPTOR].count > 0;
}

static int has_event(struct fake_loop* l) {
  int i;

  for (i = 0; i < FAKE_HANDLES; i++)
    if (is_readable(l, i))
      return 1;
  return l->is_sent;
}

static int is_woken(void* arg) {
  struct fake_loop* l = arg;
  int i;

  for (i = 0; i < FAKE_HANDLES; i++)
    if (timer_at(l, i) != NULL)
      return 1;
  return has_event(l);
}

static void run_asyncs(struct fake_loop* l, const unsigned int* times) {
  uv_async_t* async;
  int i;

  for (i = 0; i < FAKE_HANDLES; i++)
    if ((async = same(l, times, i, UV_ASYNC)) != NULL && atomic_exchange_explicit(&async->pending, 0, memory_order_seq_cst))
      async->async_cb(async);
}

static void poll(struct fake_loop* l, int sleeps) {
  unsigned int times[FAKE_HANDLES];
  unsigned int readable = 0;
  uv_poll_t* poll;
  int is_sent;
  int i;

  if (sleeps && fake_on_sleep != NULL)
    fake_on_sleep(l);
  steps_wait(&l->events, STEPS_WRITE, __func__, sleeps ? is_woken : NULL, l);
  l->is_late = sleeps && !has_event(l);
  is_sent = l->is_sent;
  l->is_sent = 0;
  all_of(l, times);
  for (i = 0; i < FAKE_HANDLES; i++)
    readable |= is_readable(l, i) ? 1u << i : 0;
  for (i = 0; i < FAKE_HANDLES; i++)
    if ((readable & 1u << i) != 0 && (poll = same(l, times, i, UV_POLL)) != NULL)
      poll->poll_cb(poll, 0, UV_READABLE);
  if (is_sent)
    run_asyncs(l, times);
}

int fake_run(uv_loop_t* loop, uv_run_mode mode) {
  struct fake_loop* l = loop_of(loop);
  int alive = is_alive(l);

  expect_owner(l);
  l->depth++;
  if (fake_uv_is_new && mode == UV_RUN_DEFAULT && alive && !l->stops)
    run_timers(l);
  while (alive && !l->stops) {
    if (!fake_uv_is_new)
      run_timers(l);
    run_idle(l);
    poll(l, may_sleep(l, mode));
    close_handles(l);
    if (fake_uv_is_new || mode == UV_RUN_ONCE)
      run_timers(l);
    alive = is_alive(l);
    if (mode != UV_RUN_DEFAULT)
      break;
  }
  l->stops = 0;
  l->depth--;
  return alive;
}

void fake_wait_backend(uv_loop_t* loop) {
  struct fake_loop* l = loop_of(loop);

  if (may_sleep(l, UV_RUN_DEFAULT))
    steps_wait(&l->events, STEPS_READ, __func__, is_woken, l);
}

void fake_stop(uv_loop_t* loop) {
  loop_of(loop)->stops = 1;
}

/* Loops. */

int fake_loop_init(uv_loop_t* loop) {
  struct fake_loop* l = loop_of(loop);

  steps_expect(!l->is_open);
  memset(l, 0, sizeof *l);
  l->is_open = 1;
  l->actor = (int) (l - fake_loops);
  return 0;
}

int fake_loop_close(uv_loop_t* loop) {
  struct fake_loop* l = loop_of(loop);
  int i;

  expect_owner(l);
  for (i = 0; i < FAKE_HANDLES; i++)
    if (l->handles[i] != NULL)
      return UV_EBUSY;
  l->is_open = 0;
  return 0;
}

/* Descriptors of the loop's own are new; those of others are as they were. */
int fake_loop_fork(uv_loop_t* loop) {
  struct fake_loop* l = loop_of(loop);
  int i;

  l->is_sent = 0;
  for (i = 0; i < FAKE_HANDLES; i++) {
    uv_async_t* async = (uv_async_t*) l->handles[i];
    if (async != NULL && async->type == UV_ASYNC) {
      atomic_init(&async->pending, 0);
      atomic_init(&async->u.fd, 0);
    }
  }
  return 0;
}

/* A wait that may be over at any time. */
int fake_cond_timedwait(uv_cond_t* cond, uv_mutex_t* mutex, uint64_t timeout) {
  steps_unlock(mutex, __func__);
  steps_at(cond, STEPS_READ, __func__);
  clocks[fake_actor()] += timeout;
  steps_lock(mutex, __func__);
  return UV_ETIMEDOUT;
}

/* All of it. */

void fake_uv_set_up(void) {
  memset(fake_loops, 0, sizeof fake_loops);
  memset(descriptors, 0, sizeof descriptors);
  memset(clocks, 0, sizeof clocks);
  forker = NOBODY;
  counts = 0;
  fake_tick = 0;
  fake_on_sleep = NULL;
}

void fake_uv_check(void) {
  int i;

  for (i = 0; i < FAKE_LOOPS; i++)
    steps_expect(!fake_loops[i].is_open);
  for (i = 0; i < DESCRIPTORS; i++)
    steps_expect(!descriptors[i].is_open);
}
