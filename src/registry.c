/* SPDX-License-Identifier: MIT */
#include "registry.h"

#include <stdint.h>

#include "port.h"

#define SHARDS 16

/* Ports by loop. Orphans stay reachable from here until another port on the same loop finds libuv done with them. */
static struct shard {
  uv_mutex_t lock;
  struct uvch__port* ports;
  struct uvch__port* orphans;
} shards[SHARDS];

UVCH__THREAD_LOCAL struct uvch__registry_cache uvch__registry_cache;
atomic_ulong uvch__registry_version;

static uv_once_t once = UV_ONCE_INIT;

static void make_locks(void) {
  int i;

  for (i = 0; i < SHARDS; i++)
    uv_mutex_init(&shards[i].lock); /* a plain mutex: cannot fail where libuv runs */
}

static struct shard* shard_of(const uv_loop_t* loop) {
  uintptr_t x = (uintptr_t) loop;

  uv_once(&once, make_locks);
  return &shards[(x >> 4 ^ x >> 12) % SHARDS];
}

/* The lock is held. */
static void change(void) {
  atomic_fetch_add_explicit(&uvch__registry_version, 1, memory_order_release); /* [G1] */
}

static void take_out(struct uvch__port** list, struct uvch__port* port) {
  while (*list != NULL && *list != port)
    list = &(*list)->next;
  if (*list != NULL)
    *list = port->next;
}

struct uvch__port* uvch__registry_search(const uv_loop_t* loop, unsigned long now) {
  struct shard* s = shard_of(loop);
  struct uvch__port* port;

  uv_mutex_lock(&s->lock);
  for (port = s->ports; port != NULL && (port->loop != loop || port->is_retired); port = port->next) {}
  uv_mutex_unlock(&s->lock);
  uvch__registry_cache = (struct uvch__registry_cache){loop, port, now};
  return port;
}

/* Moves the ports of port->loop that only wait for libuv to port->orphans. */
static void adopt(struct uvch__port* port, struct uvch__port** list) {
  while (*list != NULL) {
    struct uvch__port* other = *list;
    if (other->loop != port->loop) {
      list = &other->next;
      continue;
    }
    *list = other->next;
    other->next = port->orphans;
    port->orphans = other;
  }
}

void uvch__registry_add(struct uvch__port* port) {
  struct shard* s = shard_of(port->loop);

  uv_mutex_lock(&s->lock);
  adopt(port, &s->orphans);
  change();
  port->next = s->ports;
  s->ports = port;
  uv_mutex_unlock(&s->lock);
}

struct uvch__port* uvch__registry_stranded(const uv_loop_t* loop) {
  struct shard* s = shard_of(loop);
  struct uvch__port* port;

  uv_mutex_lock(&s->lock);
  for (port = s->ports; port != NULL && (port->loop != loop || !uvch__port_is_stranded(port)); port = port->next) {}
  uv_mutex_unlock(&s->lock);
  return port;
}

void uvch__registry_retire(struct uvch__port* port) {
  struct shard* s = shard_of(port->loop);

  uv_mutex_lock(&s->lock);
  change();
  port->is_retired = 1;
  uv_mutex_unlock(&s->lock);
}

int uvch__registry_owns(const uv_handle_t* handle) {
  uv_loop_t* loop = uv_handle_get_loop(handle);
  struct shard* s = shard_of(loop);
  struct uvch__port* port;

  uv_mutex_lock(&s->lock);
  for (port = s->ports; port != NULL; port = port->next)
    if (port->loop == loop && uvch__port_owns(port, handle))
      break;
  uv_mutex_unlock(&s->lock);
  return port != NULL;
}

void uvch__registry_remove(struct uvch__port* port) {
  struct shard* s = shard_of(port->loop);

  uv_mutex_lock(&s->lock);
  change();
  take_out(&s->ports, port);
  uv_mutex_unlock(&s->lock);
}

void uvch__registry_orphan(struct uvch__port* port) {
  struct shard* s = shard_of(port->loop);
  struct uvch__port* last;

  uv_mutex_lock(&s->lock);
  change();
  take_out(&s->ports, port);
  port->next = port->orphans; /* its own orphans with it */
  port->orphans = NULL;
  for (last = port; last->next != NULL; last = last->next) {}
  last->next = s->orphans;
  s->orphans = port;
  uv_mutex_unlock(&s->lock);
}

void uvch__registry_refork(const uv_loop_t* loop) {
  struct uvch__port* port;

  uv_once(&once, make_locks);
  make_locks();
  for (port = shard_of(loop)->ports; port != NULL; port = port->next)
    if (port->loop == loop && port->is_retired)
      atomic_store_explicit(&port->late, 0, memory_order_relaxed); /* relaxed: no other thread exists */
}
