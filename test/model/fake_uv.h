/* SPDX-License-Identifier: MIT
 *
 * libuv, made small enough to go through: loops that actors run, and the handles, descriptors and clocks of the loop's port. It is
 * put in front of each source after steps.h. Each function does what the real one does, in its order: the phases of a pass, who keeps
 * a loop running, what a send may coalesce with, close callbacks at the end of a pass, the last handle first.
 *
 * Where threads meet there are steps: a send and the look for it, a descriptor that is written and read, and the bit of a handle that
 * closes. All else is the loop's own. */
#ifndef UVCH_TEST_MODEL_FAKE_UV_H
#define UVCH_TEST_MODEL_FAKE_UV_H

#include <unistd.h>

#include "steps.h"
#include "thread.h"

#define FAKE_LOOPS 2
#define FAKE_HANDLES 10
#define FAKE_NEVER 1000000 /* ms: a timer that takes longer does not fire; any other may fire at any time */

struct fake_loop {
  _Alignas(256) uv_loop_t loop; /* of this only the address is used, whose lower bits say which shard of the registry it is of */
  uv_handle_t* handles[FAKE_HANDLES];
  unsigned int times[FAKE_HANDLES]; /* handles that were ever there */
  uv_handle_t* closing;             /* the newest first */
  int is_sent;                      /* to some uv_async_t */
  atomic_uint events;               /* the place of all that wakes the loop */
  int is_open;
  int stops;
  int is_late; /* it slept until a timer was due */
  uint64_t now;
  int actor; /* that runs it */
  int depth; /* of uv_run() */
};

extern struct fake_loop fake_loops[FAKE_LOOPS]; /* all of one shard */

/* fake_uv_set_up: before every sequence. fake_uv_check: after it: all loops and descriptors are closed. */
void fake_uv_set_up(void);
void fake_uv_check(void);

/* fake_uv_is_new: libuv 1.45 or later. fake_tick: nanoseconds between two looks at the clock by who runs a loop. */
extern int fake_uv_is_new;
extern uint64_t fake_tick;

/* fake_on_sleep: told before a loop sleeps. */
extern void (*fake_on_sleep)(struct fake_loop* loop);

/* fake_fork: the calling actor is the only one left: the others end before their next step. fake_be: what an actor does that may
 * end so. The others: the functions of steps.h that see to it, which the copies of the sources use instead. */
void fake_fork(void);
void fake_be(void (*actor)(void));
void fake_at(const volatile void* where, enum steps_kind kind, const char* who);
uint64_t fake_load(const volatile void* where, size_t size, int order, const char* who);
uint64_t fake_look(const volatile void* where, size_t size, enum steps_kind kind, const char* who);

/* fake_count: a count of which nobody makes use while actors run, or the program has one, see STEPS_COUNT. */
void fake_count(const volatile void* where);
enum steps_kind fake_counting(const volatile void* where);
#define steps_counting fake_counting

/* fake_wait_backend: sleeps, if a pass may sleep, until the loop's descriptor says that there is something. */
void fake_wait_backend(uv_loop_t* loop);

/* What is per thread is per actor. */
int fake_actor(void);
static inline unsigned long fake_thread_self(void) {
  return (unsigned long) fake_actor() + 1;
}
#define uvch__thread_self fake_thread_self

/* The functions. */

unsigned int fake_version(void);
uint64_t fake_hrtime(void);
int fake_loop_init(uv_loop_t* loop);
int fake_loop_close(uv_loop_t* loop);
int fake_run(uv_loop_t* loop, uv_run_mode mode);
void fake_stop(uv_loop_t* loop);
int fake_loop_fork(uv_loop_t* loop);
uint64_t fake_now(const uv_loop_t* loop);
void fake_walk(uv_loop_t* loop, uv_walk_cb cb, void* arg);
int fake_async_init(uv_loop_t* loop, uv_async_t* async, uv_async_cb cb);
int fake_async_send(uv_async_t* async);
int fake_poll_init(uv_loop_t* loop, uv_poll_t* poll, int fd);
int fake_poll_start(uv_poll_t* poll, int events, uv_poll_cb cb);
int fake_idle_init(uv_loop_t* loop, uv_idle_t* idle);
int fake_idle_start(uv_idle_t* idle, uv_idle_cb cb);
int fake_idle_stop(uv_idle_t* idle);
int fake_timer_init(uv_loop_t* loop, uv_timer_t* timer);
int fake_timer_start(uv_timer_t* timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
void fake_handle_close(uv_handle_t* handle, uv_close_cb cb);
void fake_ref(uv_handle_t* handle);
void fake_unref(uv_handle_t* handle);
int fake_cond_timedwait(uv_cond_t* cond, uv_mutex_t* mutex, uint64_t timeout);

#undef uv_cond_timedwait
#undef uv_hrtime
#define uv_version fake_version
#define uv_hrtime fake_hrtime
#define uv_loop_init fake_loop_init
#define uv_loop_close fake_loop_close
#define uv_run fake_run
#define uv_stop fake_stop
#define uv_loop_fork fake_loop_fork
#define uv_now fake_now
#define uv_walk fake_walk
#define uv_async_init fake_async_init
#define uv_async_send fake_async_send
#define uv_poll_init fake_poll_init
#define uv_poll_start fake_poll_start
#define uv_idle_init fake_idle_init
#define uv_idle_start fake_idle_start
#define uv_idle_stop fake_idle_stop
#define uv_timer_init fake_timer_init
#define uv_timer_start fake_timer_start
#define uv_close fake_handle_close
#define uv_ref fake_ref
#define uv_unref fake_unref
#define uv_cond_timedwait fake_cond_timedwait

/* steps_forget_ports: the registry is as it was at first. In its copy. */
void steps_forget_ports(void);

/* steps_look_late: what a port does before it looks for late posters, in the copy of port.c. The test's own. */
struct uvch__port;
void steps_look_late(struct uvch__port* port);

/* steps_spin, steps_spins_on: between the two looks of a spin, and after them, in the copy of linger.h. The test's own. */
void steps_spin(struct uvch__port* port);
int steps_spins_on(struct uvch__port* port);

/* Descriptors, which wake.c uses by these names in its copy. */
int fake_eventfd(unsigned int count, int flags);
ssize_t fake_read(int fd, void* buffer, size_t size);
ssize_t fake_write(int fd, const void* buffer, size_t size);
int fake_close(int fd);

#endif
