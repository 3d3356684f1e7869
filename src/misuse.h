/* SPDX-License-Identifier: MIT
 *
 * What a build with --enable-debug-checks says to mistakes of the program. Each is told on stderr with the threads it is about
 * and the calls that led there. One that the interface answers with an error code gets that code all the same; after one that it
 * cannot answer the program aborts, since anything could happen then. With UVCH_DEBUG=abort in the environment the first one
 * aborts, with UVCH_DEBUG=quiet nothing is said of those with a code.
 *
 * In any other build all of this is nothing. */
#ifndef UVCH_SRC_MISUSE_H
#define UVCH_SRC_MISUSE_H

#include <uv.h>
#include <uvch/core.h>

#include "atomic.h"

struct uvch__list;
struct uvch__port;

#if defined(UVCH_DEBUG_CHECKS) && !defined(UVCH_NO_MISUSE_CHECKS)
#define UVCH__MISUSE 1

/* What a port has for it: handles that tell when its loop waits for events; which thread does that, or runs callbacks of ours, or 0;
 * the process that the port was made for. */
struct uvch__guard;
struct uvch__misuse {
  struct uvch__guard* guard;
  atomic_ulong runs;
  uv_pid_t pid;
};

/* uvch__mistake: `object` is used wrongly, `mistake` says how. Returns `code`; with 0 it does not return. */
int uvch__mistake(const char* function, int code, const void* object, const char* mistake);

/* uvch__did: for later messages, what the calling thread has done to `object`. */
void uvch__did(const char* function, const void* object, const char* what);

/* uvch__thread_made: the calling thread has that number now, see thread.h. */
void uvch__thread_made(unsigned long number);

/* uvch__use: `handle` or its loop is used, unless `err` is an error already; UV_EBADF: it is closed. Returns `err`. */
int uvch__use(const uvch_handle_t* handle, int err);

/* uvch__use_port: `object` of the port is used, which its loop's thread may. uvch__use_here: which any thread of the process may. */
void uvch__use_port(const char* function, struct uvch__port* port, const void* object);
void uvch__use_here(const char* function, struct uvch__port* port, const void* object);

/* uvch__bound_elsewhere: UV_EPERM: another thread runs the loop. */
int uvch__bound_elsewhere(struct uvch__port* port);

/* uvch__lives, uvch__ends: in between a handle or request, known by its `queue`, must stay where it is, as it is. uvch__end_all:
 * those of `port`. */
void uvch__lives(struct uvch__port* port, const struct uvch__list* list, const void* queue);
void uvch__ends(const void* queue);
void uvch__end_all(struct uvch__port* port);

/* uvch__look_over: that those of `port` are as they were. The loop's thread. */
void uvch__look_over(struct uvch__port* port);

/* The guard: made with the port, on the loop's thread. It goes away by itself after uvch__guard_close(), or, if the program closed
 * its libuv handles, with the port, by uvch__guard_free(). */
void uvch__guard_open(struct uvch__port* port);
void uvch__guard_close(struct uvch__port* port);
void uvch__guard_free(struct uvch__port* port);
int uvch__guard_owns(const struct uvch__port* port, const uv_handle_t* handle);

/* uvch__guard_enter, uvch__guard_leave: around the port's callbacks. uvch__guard_refork: a forked child has called
 * uvch_loop_fork(). */
void uvch__guard_enter(struct uvch__port* port);
void uvch__guard_leave(struct uvch__port* port);
void uvch__guard_refork(struct uvch__port* port);

#define UVCH__MISTAKE(code, object, mistake) uvch__mistake(__func__, (code), (object), (mistake))
#define UVCH__DID(object, what) uvch__did(__func__, (object), (what))
#define UVCH__USE(handle, err) uvch__use((const uvch_handle_t*) (handle), (err))
#define UVCH__USE_PORT(port, object) uvch__use_port(__func__, (port), (object))
#define UVCH__USE_HERE(port, object) uvch__use_here(__func__, (port), (object))
#else
#define UVCH__MISTAKE(code, object, mistake) (code)
#define UVCH__DID(object, what) ((void) 0)
#define UVCH__USE(handle, err) (err)
#define UVCH__USE_PORT(port, object) ((void) 0)
#define UVCH__USE_HERE(port, object) ((void) 0)
#define uvch__thread_made(number) ((void) 0)
#define uvch__bound_elsewhere(port) UV_EPERM
#define uvch__lives(port, list, queue) ((void) 0)
#define uvch__ends(queue) ((void) 0)
#define uvch__end_all(port) ((void) 0)
#define uvch__look_over(port) ((void) 0)
#define uvch__guard_open(port) ((void) 0)
#define uvch__guard_close(port) ((void) 0)
#define uvch__guard_free(port) ((void) 0)
#define uvch__guard_owns(port, handle) 0
#define uvch__guard_enter(port) ((void) 0)
#define uvch__guard_leave(port) ((void) 0)
#define uvch__guard_refork(port) ((void) 0)
#endif

/* Those of more than one place. */
#define UVCH__IS_CLOSED "is used after it was closed"
#define UVCH__WAITS_FOR_ITSELF(object) \
  UVCH__MISTAKE(UV_EPERM, (object), "would be waited for by the thread that runs the receiver's loop")
#define UVCH__HAS_LOOP(rx) UVCH__MISTAKE(UV_EPERM, (rx), "has a loop, so a thread cannot wait for it")
#define UVCH__WAS_CLOSED(object) UVCH__MISTAKE(UV_EBADF, (object), UVCH__IS_CLOSED)

#endif
