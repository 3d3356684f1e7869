/* SPDX-License-Identifier: MIT
 *
 * Two sources. A uv_async_t is the plain one. Before libuv 1.45 it has three faults: a send that lands in the middle of the
 * loop's callback makes the loop spin for the sender, about 80 us where both share a processor; a send after the handle was
 * closed by somebody else's walk over the loop writes to whatever descriptor has the old number by then, or aborts; a fork
 * between the two steps of a send leaves the handle dead in the child. An eventfd of our own under a uv_poll_t has none of them:
 * a send is a write to a descriptor that lives as long as the port's memory. It is taken on Linux with such a libuv. */
#include "wake.h"

#include <errno.h>

#include "alloc.h"
#include "list.h"

static struct uvch__wake* from_handle(void* handle) {
  return UVCH__CONTAINER(handle, struct uvch__wake, u);
}

static void on_async(uv_async_t* async) {
  struct uvch__wake* wake = from_handle(async);
  wake->on_wake(wake);
}

static int async_open(struct uvch__wake* wake, uv_loop_t* loop) {
  return uv_async_init(loop, &wake->u.async, on_async);
}

static void async_signal(struct uvch__wake* wake) {
  uv_async_send(&wake->u.async);
}

/* libuv gives the child a descriptor of its own, and there is nothing to give back. */
static void async_nothing(struct uvch__wake* wake) {
  (void) wake;
}

const struct uvch__wake_ops uvch__wake_async = {async_open, async_signal, async_nothing, async_nothing};
const struct uvch__wake_ops* uvch__wake_chosen;

#ifdef __linux__
#include <sys/eventfd.h>
#include <unistd.h>

static void on_poll(uv_poll_t* poll, int status, int events) {
  struct uvch__wake* wake = from_handle(poll);
  uint64_t count;
  ssize_t n;

  (void) status; /* an error leaves the callback to find out what there is, as a wake-up does */
  (void) events;
  do
    n = read(wake->fd, &count, sizeof count);
  while (n < 0 && errno == EINTR);
  wake->on_wake(wake);
}

static int eventfd_open(struct uvch__wake* wake, uv_loop_t* loop) {
  int err;

  wake->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake->fd < 0)
    return uv_translate_sys_error(errno);
  err = uv_poll_init(loop, &wake->u.poll, wake->fd);
  if (err != 0)
    close(wake->fd);
  else
    uv_poll_start(&wake->u.poll, UV_READABLE, on_poll); /* fails only for a closing handle or wrong events */
  return err;
}

static void eventfd_signal(struct uvch__wake* wake) {
  const uint64_t one = 1;
  ssize_t n;

  do
    n = write(wake->fd, &one, sizeof one);
  while (n < 0 && errno == EINTR); /* EAGAIN: the count is at its end, so a wake-up is pending */
}

/* It waits for something that an eventfd never says: the handle stays active, so that its reference counts. */
static void eventfd_mute(struct uvch__wake* wake) {
  uv_poll_start(&wake->u.poll, UV_DISCONNECT, on_poll);
}

static void eventfd_release(struct uvch__wake* wake) {
  if (wake->fd >= 0)
    close(wake->fd);
  wake->fd = -1;
}

static const struct uvch__wake_ops wake_eventfd = {eventfd_open, eventfd_signal, eventfd_mute, eventfd_release};
#endif

static const struct uvch__wake_ops* choose(void) {
  if (uvch__wake_chosen != NULL)
    return uvch__wake_chosen;
#ifdef __linux__
  if (uv_version() < 0x012d00) /* 1.45.0 */
    return &wake_eventfd;
#endif
  return &uvch__wake_async;
}

int uvch__wake_new(struct uvch__wake** out, uv_loop_t* loop, uvch__wake_cb on_wake, void* data) {
  struct uvch__wake* wake = uvch__calloc(1, sizeof *wake);
  int err;

  if (wake == NULL)
    return UV_ENOMEM;
  wake->ops = choose();
  wake->on_wake = on_wake;
  wake->data = data;
  err = wake->ops->open(wake, loop);
  if (err != 0) {
    uvch__free(wake);
    return err;
  }
  uv_unref(&wake->u.handle);
  *out = wake;
  return 0;
}

void uvch__wake_signal(struct uvch__wake* wake) {
  int saved = errno;

  wake->ops->signal(wake);
  errno = saved;
}

void uvch__wake_mute(struct uvch__wake* wake) {
  wake->ops->mute(wake);
}

static void on_close(uv_handle_t* handle) {
  struct uvch__wake* wake = from_handle(handle);
  wake->on_close(wake);
}

void uvch__wake_close(struct uvch__wake* wake, uvch__wake_cb cb) {
  wake->on_close = cb;
  uv_close(&wake->u.handle, on_close);
}

void uvch__wake_release(struct uvch__wake* wake) {
  wake->ops->release(wake);
}

void uvch__wake_free(struct uvch__wake* wake) {
  uvch__wake_release(wake);
  uvch__free(wake);
}
