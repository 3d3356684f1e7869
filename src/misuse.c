/* SPDX-License-Identifier: MIT
 *
 * Misuse, see misuse.h.
 *
 * What is known of the program's objects: a tree of the handles and requests that live, under a lock which is never held over
 * anything else, and the last calls that closed something, without one.
 *
 * Edges:
 *   [M1] runs  stored and loaded relaxed: who sees that another thread is in the loop has made the mistake, whatever else it sees */
#include "misuse.h"

#ifdef UVCH__MISUSE

#ifdef __GLIBC__
#include <execinfo.h>
#endif
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handle.h"
#include "port.h"
#include "thread.h"

#define CALLS 256
#define FRAMES 12
#define THREADS 1024
#define MESSAGES_MAX 200 /* a program that goes on wrongly for ever */
#define LOOKS_MAX 256    /* objects that are looked over in a pass */

struct object {
  const void* queue;
  const void* at;
  struct uvch__port* port;
  unsigned long thread;
  const char* what;
};

struct call {
  atomic_uintptr_t object;
  atomic_ulong thread;
  _Atomic(const char*) function;
  _Atomic(const char*) what;
};

struct uvch__guard {
  uv_prepare_t prepare;
  uv_check_t check;
  struct uvch__port* port;
  int open; /* handles that are not closed */
};

static uv_once_t once = UV_ONCE_INIT;
static uv_mutex_t lock;
static int has_lock;
static uv_pid_t lock_of; /* the process */
static void* objects;    /* of tsearch() */
static struct call calls[CALLS];
static atomic_uint next_call;
static unsigned int messages;
static atomic_uintptr_t threads[THREADS]; /* as debuggers name them, by number */

void uvch__thread_made(unsigned long number) {
  /* relaxed: who knows the number has it from somewhere */
  atomic_store_explicit(&threads[number % THREADS], (uintptr_t) uv_thread_self(), memory_order_relaxed);
}

static void* thread_of(unsigned long number) {
  return (void*) atomic_load_explicit(&threads[number % THREADS], memory_order_relaxed); /* relaxed: as above */
}

/* Without it mistakes are told less surely. */
static void make_lock(void) {
  has_lock = uv_mutex_init(&lock) == 0;
  lock_of = uv_os_getpid();
}

/* In a forked child another thread may have had it, for ever. */
static void take_lock_over(void) {
  if (!has_lock || uv_mutex_trylock(&lock) != 0) {
    make_lock();
    return;
  }
  uv_mutex_unlock(&lock);
  lock_of = uv_os_getpid();
}

static void enter(void) {
  uv_once(&once, make_lock);
  if (lock_of != uv_os_getpid())
    take_lock_over();
  if (has_lock)
    uv_mutex_lock(&lock);
}

static void leave(void) {
  if (has_lock)
    uv_mutex_unlock(&lock);
}

/* Telling. */

/* Where the C library can say. */
static void tell_calls(void) {
#ifdef __GLIBC__
  void* frames[FRAMES];
  int count = backtrace(frames, FRAMES);

  backtrace_symbols_fd(frames, count, STDERR_FILENO);
#endif
}

static int is_wished(const char* what) {
  const char* wish = getenv("UVCH_DEBUG");

  return wish != NULL && strcmp(wish, what) == 0;
}

static int must_abort(int code) {
  return code == 0 || is_wished("abort");
}

/* `other`: a thread that has to do with it, or 0. */
static void tell(const char* function, int code, const void* object, const char* mistake, unsigned long other) {
  unsigned long self = uvch__thread_self();

  fflush(stdout);
  fprintf(stderr, "uvch: %s: %p %s", function, object, mistake);
  if (other != 0)
    fprintf(stderr, " %lu (%p)", other, thread_of(other));
  if (code != 0)
    fprintf(stderr, " (%s)", uv_err_name(code));
  fprintf(stderr, "; here is thread %lu (%p)\n", self, thread_of(self));
}

/* relaxed, all of it: one that is just written down by another thread may be told wrongly */
static void tell_last_call(const void* object) {
  unsigned int last = atomic_load_explicit(&next_call, memory_order_relaxed);
  unsigned int i;

  for (i = 1; i <= CALLS; i++) {
    struct call* c = &calls[(last - i) % CALLS];
    unsigned long thread = atomic_load_explicit(&c->thread, memory_order_relaxed);
    if (atomic_load_explicit(&c->object, memory_order_relaxed) != (uintptr_t) object)
      continue;
    fprintf(stderr, "uvch:   it was %s by %s on thread %lu (%p)\n", atomic_load_explicit(&c->what, memory_order_relaxed),
            atomic_load_explicit(&c->function, memory_order_relaxed), thread, thread_of(thread));
    return;
  }
}

static int mistake_with(const char* function, int code, const void* object, const char* mistake, unsigned long other) {
  enter();
  if (must_abort(code) || (messages++ < MESSAGES_MAX && !is_wished("quiet"))) {
    tell(function, code, object, mistake, other);
    if (other == 0)
      tell_last_call(object);
    tell_calls();
  }
  leave();
  if (must_abort(code))
    abort();
  return code;
}

int uvch__mistake(const char* function, int code, const void* object, const char* mistake) {
  return mistake_with(function, code, object, mistake, 0);
}

/* Without the lock: it is called wherever something is closed, in signal handlers of tests, too. relaxed: see above */
void uvch__did(const char* function, const void* object, const char* what) {
  struct call* c = &calls[atomic_fetch_add_explicit(&next_call, 1, memory_order_relaxed) % CALLS];

  atomic_store_explicit(&c->object, 0, memory_order_relaxed);
  atomic_store_explicit(&c->thread, uvch__thread_self(), memory_order_relaxed);
  atomic_store_explicit(&c->function, function, memory_order_relaxed);
  atomic_store_explicit(&c->what, what, memory_order_relaxed);
  atomic_store_explicit(&c->object, (uintptr_t) object, memory_order_relaxed);
}

/* Threads and processes. */

void uvch__use_here(const char* function, struct uvch__port* port, const void* object) {
  if (port->misuse.pid != uv_os_getpid())
    uvch__mistake(function, 0, object, "is used in a forked child without uvch_loop_fork()");
}

void uvch__use_port(const char* function, struct uvch__port* port, const void* object) {
  unsigned long runs = atomic_load_explicit(&port->misuse.runs, memory_order_relaxed); /* [M1] */

  uvch__use_here(function, port, object);
  if (runs != 0 && runs != uvch__thread_self())
    mistake_with(function, 0, object, "belongs to a loop that is being run by thread", runs);
}

int uvch__use(const uvch_handle_t* handle, int err) {
  if (err == UV_EBADF)
    return uvch__mistake(uvch__handle_name(handle->type), err, handle, UVCH__IS_CLOSED);
  if (err != UV_EINVAL && handle->port != NULL)
    uvch__use_port(uvch__handle_name(handle->type), handle->port, handle);
  return err;
}

int uvch__bound_elsewhere(struct uvch__port* port) {
  unsigned long thread = atomic_load_explicit(&port->thread, memory_order_relaxed); /* relaxed: see uvch__port_runs_here */

  return mistake_with("bind", UV_EPERM, port->loop, "is a loop that is run by thread", thread);
}

/* What lives. */

static int compare(const void* a, const void* b) {
  uintptr_t x = (uintptr_t) ((const struct object*) a)->queue;
  uintptr_t y = (uintptr_t) ((const struct object*) b)->queue;

  return (x > y) - (x < y);
}

static struct object* find(const void* queue) {
  struct object key = {.queue = queue};
  struct object** found = tfind(&key, &objects, compare);

  return found != NULL ? *found : NULL;
}

static void take_out(struct object* o) {
  tdelete(o, &objects, compare);
  free(o);
}

/* Who made what was there already; 0: nothing was. */
static unsigned long put_in(const struct object* is) {
  struct object* o = find(is->queue);
  unsigned long before = o != NULL ? o->thread : 0;

  if (o != NULL) {
    *o = *is;
    return before;
  }
  o = malloc(sizeof *o);
  if (o == NULL) /* then it is not watched */
    return 0;
  *o = *is;
  if (tsearch(o, &objects, compare) == NULL)
    free(o);
  return 0;
}

void uvch__lives(struct uvch__port* port, const struct uvch__list* list, const void* queue) {
  int is_req = list == &port->reqs;
  const char* p = queue;
  struct object is = {queue, p - (is_req ? offsetof(uvch_req_t, queue) : offsetof(uvch_handle_t, queue)), port,
                      uvch__thread_self(), is_req ? "request" : "handle"};
  unsigned long before;

  enter();
  before = put_in(&is);
  leave();
  if (before != 0)
    mistake_with(is.what, 0, is.at, "is made or begun again while it is in use; first by thread", before);
}

void uvch__ends(const void* queue) {
  struct object* o;

  enter();
  o = find(queue);
  if (o != NULL)
    take_out(o);
  leave();
}

/* For twalk(), which passes nothing on. Under the lock. */
static struct uvch__port* sought;
static struct object* found_one;

static void find_of_port(const void* node, VISIT visit, int depth) {
  struct object* o = *(struct object* const*) node;

  (void) depth;
  if ((visit == preorder || visit == leaf) && o->port == sought)
    found_one = o;
}

void uvch__end_all(struct uvch__port* port) {
  enter();
  do {
    sought = port;
    found_one = NULL;
    twalk(objects, find_of_port);
    if (found_one != NULL)
      take_out(found_one);
  } while (found_one != NULL);
  leave();
}

/* Which loop it says to be on. */
static const uv_loop_t* loop_of(const struct object* o) {
  return strcmp(o->what, "request") == 0 ? ((const uvch_req_t*) o->at)->loop : ((const uvch_handle_t*) o->at)->loop;
}

/* The links are looked at before they are followed. What is not in the tree is the mark of a walk, see handle.c. */
static void look_over(struct uvch__port* port, const struct uvch__list* list) {
  const struct uvch__list* before = list;
  const struct uvch__list* q;
  int left = LOOKS_MAX;

  for (q = list->next; q != list && left > 0; before = q, q = q->next, left--) {
    struct object o = {.at = NULL};
    const struct object* found;
    enter();
    found = find(q);
    if (found != NULL)
      o = *found;
    leave();
    if (o.at != NULL && (q->prev != before || q->next == NULL || loop_of(&o) != port->loop))
      mistake_with(o.what, 0, o.at, "was freed or overwritten before its last callback; made or begun by thread", o.thread);
  }
}

void uvch__look_over(struct uvch__port* port) {
  look_over(port, &port->handles);
  look_over(port, &port->reqs);
}

/* The guard. */

static void on_prepare(uv_prepare_t* prepare) {
  struct uvch__guard* g = prepare->data;

  atomic_store_explicit(&g->port->misuse.runs, uvch__thread_self(), memory_order_relaxed); /* [M1] */
}

static void on_check(uv_check_t* check) {
  struct uvch__guard* g = check->data;

  atomic_store_explicit(&g->port->misuse.runs, 0, memory_order_relaxed); /* [M1] */
}

void uvch__guard_open(struct uvch__port* port) {
  struct uvch__guard* g = calloc(1, sizeof *g);

  port->misuse.pid = uv_os_getpid();
  if (g == NULL) /* then mistakes of threads are not seen */
    return;
  uv_prepare_init(port->loop, &g->prepare);
  uv_check_init(port->loop, &g->check);
  g->prepare.data = g;
  g->check.data = g;
  uv_prepare_start(&g->prepare, on_prepare);
  uv_check_start(&g->check, on_check);
  uv_unref((uv_handle_t*) &g->prepare);
  uv_unref((uv_handle_t*) &g->check);
  g->port = port;
  g->open = 2;
  port->misuse.guard = g;
}

static void on_closed(uv_handle_t* handle) {
  struct uvch__guard* g = handle->data;

  if (--g->open == 0)
    free(g);
}

void uvch__guard_close(struct uvch__port* port) {
  struct uvch__guard* g = port->misuse.guard;

  if (g == NULL)
    return;
  if (!uv_is_closing((uv_handle_t*) &g->prepare) && !uv_is_closing((uv_handle_t*) &g->check)) {
    port->misuse.guard = NULL;
    uv_close((uv_handle_t*) &g->prepare, on_closed);
    uv_close((uv_handle_t*) &g->check, on_closed);
    return;
  }
  if (!uv_is_closing((uv_handle_t*) &g->prepare))
    uv_close((uv_handle_t*) &g->prepare, NULL);
  if (!uv_is_closing((uv_handle_t*) &g->check))
    uv_close((uv_handle_t*) &g->check, NULL);
}

void uvch__guard_free(struct uvch__port* port) {
  free(port->misuse.guard);
}

int uvch__guard_owns(const struct uvch__port* port, const uv_handle_t* handle) {
  const struct uvch__guard* g = port->misuse.guard;

  return g != NULL && (handle == (const uv_handle_t*) &g->prepare || handle == (const uv_handle_t*) &g->check);
}

void uvch__guard_enter(struct uvch__port* port) {
  uvch__use_port("uv_run", port, port->loop);
  atomic_store_explicit(&port->misuse.runs, uvch__thread_self(), memory_order_relaxed); /* [M1] */
}

void uvch__guard_leave(struct uvch__port* port) {
  if (port->depth == 0)
    atomic_store_explicit(&port->misuse.runs, 0, memory_order_relaxed); /* [M1] */
}

void uvch__guard_refork(struct uvch__port* port) {
  port->misuse.pid = uv_os_getpid();
  atomic_store_explicit(&port->misuse.runs, 0, memory_order_relaxed); /* [M1] */
}

#else
typedef int uvch__not_empty; /* a source has something in it */
#endif
