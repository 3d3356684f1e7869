/* SPDX-License-Identifier: MIT
 *
 * Which port a loop has. Touched when a handle is made, never when a message is sent.
 *
 * A thread mostly asks for one loop, its own, again and again. What it was told holds until any port comes or goes.
 *
 * Edges:
 *   [G1] version  counted up with release, under the lock, by every change; loaded with acquire by who was told before */
#ifndef UVCH_SRC_REGISTRY_H
#define UVCH_SRC_REGISTRY_H

#include <uv.h>

#include "atomic.h"
#include "thread.h"

struct uvch__port;

struct uvch__registry_cache {
  const uv_loop_t* loop;
  struct uvch__port* port;
  unsigned long version;
};

extern UVCH__THREAD_LOCAL struct uvch__registry_cache uvch__registry_cache;
extern atomic_ulong uvch__registry_version;

struct uvch__port* uvch__registry_search(const uv_loop_t* loop, unsigned long now);

/* uvch__registry_find: the port of `loop` or NULL. Any thread; it is safe to use on the loop's thread, or while the loop does not
 * run. */
static inline struct uvch__port* uvch__registry_find(const uv_loop_t* loop) {
  unsigned long now = atomic_load_explicit(&uvch__registry_version, memory_order_acquire); /* [G1] */
  const struct uvch__registry_cache* cache = &uvch__registry_cache;

  return cache->loop == loop && cache->version == now ? cache->port : uvch__registry_search(loop, now);
}

/* uvch__registry_add: the port of port->loop, which has none. It also takes over the orphans of that loop, see port.c. */
void uvch__registry_add(struct uvch__port* port);

/* uvch__registry_stranded: one of the loop's ports that end and whose handles the program has closed meanwhile, or NULL. The loop's
 * thread. */
struct uvch__port* uvch__registry_stranded(const uv_loop_t* loop);

/* uvch__registry_retire: the port ends; it is not found any more, but still owns its handles. */
void uvch__registry_retire(struct uvch__port* port);

/* uvch__registry_remove: it is gone. */
void uvch__registry_remove(struct uvch__port* port);

/* uvch__registry_owns: 1 if `handle` is one of some port's on its loop. */
int uvch__registry_owns(const uv_handle_t* handle);

/* uvch__registry_orphan: move a port that is in the registry to the orphans. */
void uvch__registry_orphan(struct uvch__port* port);

/* uvch__registry_refork: in a forked child: locks that other threads held are free, and no poster is late any more at the ports
 * of `loop` that end. */
void uvch__registry_refork(const uv_loop_t* loop);

#endif
