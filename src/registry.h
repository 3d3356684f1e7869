/* SPDX-License-Identifier: MIT
 *
 * Which port a loop has. Touched when a handle is made, never when a message is sent. */
#ifndef UVCH_SRC_REGISTRY_H
#define UVCH_SRC_REGISTRY_H

#include <uv.h>

struct uvch__port;

/* uvch__registry_find: the port of `loop` or NULL. Any thread; it is safe to use on the loop's thread, or while the loop does not
 * run. */
struct uvch__port* uvch__registry_find(const uv_loop_t* loop);

/* uvch__registry_add: the port of port->loop, which has none. It also takes over the orphans of that loop, see port.c. */
void uvch__registry_add(struct uvch__port* port);

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
