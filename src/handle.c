/* SPDX-License-Identifier: MIT
 *
 * Handles, and the functions of their loop that walk over them. */
#include "handle.h"

#include "list.h"
#include "registry.h"

static const struct uvch__handle_ops* const ops[] = {
    [UVCH_MPSC_RECEIVER] = &uvch__mpsc_handle,
    [UVCH_INBOX] = &uvch__mpsc_handle,
    [UVCH_ONESHOT_RECEIVER] = &uvch__oneshot_handle,
    [UVCH_BROADCAST_RECEIVER] = &uvch__broadcast_handle,
    [UVCH_WATCH_RECEIVER] = &uvch__watch_handle,
};

const char* uvch__handle_name(uvch_handle_type type) {
  static const char* const names[] = {
      [UVCH_MPSC_RECEIVER] = "mpsc",           [UVCH_INBOX] = "inbox",         [UVCH_ONESHOT_RECEIVER] = "oneshot",
      [UVCH_BROADCAST_RECEIVER] = "broadcast", [UVCH_WATCH_RECEIVER] = "watch"};

  return names[type];
}

static int is_handle(const uvch_handle_t* handle) {
  return handle != NULL && handle->type > UVCH_UNKNOWN_HANDLE && handle->type < sizeof ops / sizeof ops[0];
}

void uvch__handle_init(uvch_handle_t* handle, uvch_handle_type type, void* core) {
  handle->loop = NULL;
  handle->type = type;
  handle->flags = UVCH__REF;
  handle->close_cb = NULL;
  handle->core = core;
  handle->port = NULL;
  uvch__list_init((struct uvch__list*) (void*) handle->queue);
}

void uvch__handle_attach(uvch_handle_t* handle, struct uvch__port* port) {
  handle->loop = port->loop;
  handle->port = port;
  uvch__port_add(port, &port->handles, handle->queue);
}

/* Changes flags and tells the port when that changes what keeps the loop running. */
static void set_flags(uvch_handle_t* handle, unsigned int flags) {
  int before = (handle->flags & (UVCH__ACTIVE | UVCH__REF)) == (UVCH__ACTIVE | UVCH__REF);
  int after = (flags & (UVCH__ACTIVE | UVCH__REF)) == (UVCH__ACTIVE | UVCH__REF);

  if ((handle->flags & UVCH__CLOSING) == 0) /* else its port may be gone */
    (void) UVCH__USE(handle, 0);
  uvch__flags_store(&handle->flags, flags);
  if (before != after && after)
    uvch__port_hold(handle->port);
  else if (before != after)
    uvch__port_release(handle->port);
}

void uvch__handle_set_active(uvch_handle_t* handle, int active) {
  set_flags(handle, active ? handle->flags | UVCH__ACTIVE : handle->flags & ~(unsigned int) UVCH__ACTIVE);
}

void uvch_ref(uvch_handle_t* handle) {
  if (is_handle(handle))
    set_flags(handle, handle->flags | UVCH__REF);
}

void uvch_unref(uvch_handle_t* handle) {
  if (is_handle(handle))
    set_flags(handle, handle->flags & ~(unsigned int) UVCH__REF);
}

int uvch_has_ref(const uvch_handle_t* handle) {
  return is_handle(handle) && (handle->flags & UVCH__REF) != 0;
}

int uvch_is_active(const uvch_handle_t* handle) {
  return is_handle(handle) && (handle->flags & UVCH__ACTIVE) != 0;
}

int uvch_is_closing(const uvch_handle_t* handle) {
  return is_handle(handle) && (handle->flags & UVCH__CLOSING) != 0;
}

uv_loop_t* uvch_handle_get_loop(const uvch_handle_t* handle) {
  return handle->loop;
}

uvch_handle_type uvch_handle_get_type(const uvch_handle_t* handle) {
  return handle->type;
}

void* uvch_handle_get_data(const uvch_handle_t* handle) {
  return handle->data;
}

void uvch_handle_set_data(uvch_handle_t* handle, void* data) {
  handle->data = data;
}

int uvch_attach(uv_loop_t* loop, uvch_handle_t* handle) {
  struct uvch__port* port;
  int err;

  if (loop == NULL || !is_handle(handle))
    return UV_EINVAL;
  if ((handle->flags & UVCH__CLOSING) != 0)
    return UVCH__WAS_CLOSED(handle);
  if (handle->loop != NULL)
    return UV_EALREADY;
  err = uvch__port_get(loop, &port);
  if (err == 0)
    ops[handle->type]->attach(handle, port);
  return err;
}

/* The port that brings the close callback: the handle's own, or after a foreign close a new one; NULL: nobody. */
static int closing_port(uvch_handle_t* handle, uvch_close_cb cb, struct uvch__port** port) {
  *port = handle->port;
  if (*port == NULL)
    return cb != NULL ? UV_EINVAL : 0;
  if (!uvch__port_is_broken(*port))
    return 0;
  *port = NULL;
  if (cb != NULL)
    return uvch__port_get(handle->loop, port);
  uvch__port_find(handle->loop); /* sees the foreign close, if nobody has yet */
  return 0;
}

/* A port that the program has broken has been let go by the loop perhaps, so that a pin holds nothing. */
static void hold(struct uvch__port* port, int is_foreign) {
  if (is_foreign)
    uvch__port_ref(port);
  else
    uvch__port_pin(port);
}

static void let_go(struct uvch__port* port, int is_foreign) {
  if (is_foreign)
    uvch__port_unref(port);
  else
    uvch__port_unpin(port);
}

int uvch_close(uvch_handle_t* handle, uvch_close_cb cb) {
  struct uvch__port* home;
  struct uvch__port* port;
  int err;

  if (!is_handle(handle))
    return UV_EINVAL;
  if ((handle->flags & UVCH__CLOSING) != 0)
    return UVCH__MISTAKE(UV_EALREADY, handle, "is closed twice");
  (void) UVCH__USE(handle, 0);
  err = closing_port(handle, cb, &port);
  if (err != 0)
    return err;
  handle->close_cb = cb;
  handle->flags |= UVCH__CLOSING;
  UVCH__DID(handle, "closed");
  home = handle->port;
  if (home != NULL)
    hold(home, port != home); /* the channel's reference may go with it */
  if ((handle->flags & UVCH__ACTIVE) != 0)
    uvch__handle_set_active(handle, 0);
  ops[handle->type]->close(handle); /* may run user code */
  if (port != NULL && port != home)
    uvch__port_add(port, &port->handles, handle->queue);
  if (port != NULL)
    uvch__port_close_handle(port, handle);
  else if (home != NULL && (handle->flags & UVCH__OWNED) != 0)
    uvch__port_own(home, handle); /* not freed at once: a walk may stand on it */
  if (home != NULL)
    let_go(home, port != home);
  return 0;
}

void uvch__handle_refork(uvch_handle_t* handle) {
  if ((handle->flags & UVCH__CLOSING) == 0)
    ops[handle->type]->refork(handle);
}

static void close_one(uvch_handle_t* handle, void* count) {
  if (uvch_close(handle, NULL) == 0)
    ++*(int*) count;
}

int uvch_close_all(uv_loop_t* loop) {
  int count = 0;

  if (loop == NULL)
    return UV_EINVAL;
  uvch_walk(loop, close_one, &count);
  return count;
}

/* A walk marks its place and its end in the list itself, so that handles may come and go, and other walks begin and end, in its
 * callbacks. */
struct uvch__walk {
  struct uvch__list place;
  struct uvch__list end;
  struct uvch__walk* outer;
};

static int is_mark(const struct uvch__walk* walk, const struct uvch__list* q) {
  while (walk != NULL && q != &walk->place && q != &walk->end)
    walk = walk->outer;
  return walk != NULL;
}

void uvch_walk(uv_loop_t* loop, uvch_walk_cb cb, void* arg) {
  struct uvch__port* port = loop != NULL && cb != NULL ? uvch__port_find(loop) : NULL;
  struct uvch__walk walk;

  if (port == NULL)
    return;
  UVCH__USE_PORT(port, loop);
  uvch__port_pin(port);                               /* a callback may bring its end */
  uvch__list_append(port->handles.next, &walk.place); /* before the first */
  uvch__list_append(&port->handles, &walk.end);
  walk.outer = port->walks;
  port->walks = &walk;
  while (walk.place.next != &walk.end) {
    struct uvch__list* q = walk.place.next;
    uvch__list_remove(&walk.place);
    uvch__list_append(q->next, &walk.place);
    if (!is_mark(&walk, q))
      cb(UVCH__CONTAINER(q, uvch_handle_t, queue), arg);
  }
  port->walks = walk.outer;
  uvch__list_remove(&walk.place);
  uvch__list_remove(&walk.end);
  uvch__port_unpin(port);
}

int uvch_owns_handle(const uv_handle_t* handle) {
  return handle != NULL && uvch__registry_owns(handle);
}

int uvch_loop_configure(uv_loop_t* loop, uvch_loop_option option, uint64_t value) {
  struct uvch__port* port;
  int err;

  if (loop == NULL)
    return UV_EINVAL;
  if (option == UVCH_LOOP_BUDGET_MESSAGES ? value == 0
      : option == UVCH_LOOP_BUDGET_TIME   ? value == 0
      : option == UVCH_LOOP_HOT_MAX       ? value > UVCH__HOT_MAX
                                          : 1)
    return UV_EINVAL;
  err = uvch__port_get(loop, &port);
  if (err != 0)
    return err;
  if (option == UVCH_LOOP_BUDGET_MESSAGES)
    port->pass_messages = value < UINT32_MAX ? (uint32_t) value : UINT32_MAX;
  else if (option == UVCH_LOOP_BUDGET_TIME)
    port->pass_time = value;
  else
    uvch__hot_limit(&port->hot, value);
  port->is_kept = 1;
  return 0;
}
