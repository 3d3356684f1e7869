/* SPDX-License-Identifier: MIT
 *
 * A parker: where one thread sleeps until another wakes it. Counted, since who wakes may go on touching it after the sleeper has
 * left: the sleeper has one reference, who will wake has the other. Kept in a pool, if it has one, for the next sleeper. */
#ifndef UVCH_SRC_PARKER_H
#define UVCH_SRC_PARKER_H

#include <uv.h>

#include "atomic.h"
#include "hot.h"

struct uvch__parker;

/* A stack; pushed by any thread, popped under a lock of the owner, so that a node cannot go and come back between load and CAS.
 * */
struct uvch__parker_pool {
  _Atomic(struct uvch__parker*) top;
};

struct uvch__parker {
  atomic_uint state; /* EMPTY, SLEEPING, WOKEN */
  atomic_uint refs;
  uv_mutex_t mutex;
  uv_cond_t cond;
  struct uvch__hot hot;
  struct uvch__parker_pool* pool;
  struct uvch__parker* next;
};

/* uvch__parker_new: a parker of no pool, with one reference, nobody woken; for one wait. NULL: no memory. */
struct uvch__parker* uvch__parker_new(void);
void uvch__parker_ref(struct uvch__parker* p);

/* uvch__parker_get: a parker of the pool's with two references, nobody woken. The pool's lock is held. NULL: there is none.
 * uvch__parker_make: then a new one; not under a lock, since the allocator is the program's. NULL: no memory. */
struct uvch__parker* uvch__parker_get(struct uvch__parker_pool* pool);
struct uvch__parker* uvch__parker_make(struct uvch__parker_pool* pool);

/* uvch__parker_unref: one reference less; the last one gives it back to its pool, whose owner is held by the caller, or frees it. */
void uvch__parker_unref(struct uvch__parker* p);

/* uvch__parker_wake: what the caller did before happens before the end of the sleeper's wait. Once per get. Any thread. */
void uvch__parker_wake(struct uvch__parker* p);

/* uvch__parker_wait: until woken, or until uv_hrtime() is `deadline`; UINT64_MAX is never. Polls a while before it sleeps, see
 * hot.h. 0 or UV_ETIMEDOUT. */
int uvch__parker_wait(struct uvch__parker* p, uint64_t deadline);

/* uvch__parker_deadline: `timeout` nanoseconds from now, without overflow; UINT64_MAX is never, and looks at no clock. */
uint64_t uvch__parker_deadline(uint64_t timeout);

/* uvch__parker_pool_free: all of them; none is in use. */
void uvch__parker_pool_free(struct uvch__parker_pool* pool);

#endif
