/* SPDX-License-Identifier: MIT
 *
 * A wake source: how a sleeping loop is woken from another thread. Behind a small table of functions, because libuv before 1.45
 * has faults in uv_async_send() that a descriptor of our own does not have, see wake.c. */
#ifndef UVCH_SRC_WAKE_H
#define UVCH_SRC_WAKE_H

#include <uv.h>

struct uvch__wake;
typedef void (*uvch__wake_cb)(struct uvch__wake* wake);

struct uvch__wake_ops {
  int (*open)(struct uvch__wake* wake, uv_loop_t* loop);
  void (*signal)(struct uvch__wake* wake);
  void (*mute)(struct uvch__wake* wake);
  void (*release)(struct uvch__wake* wake); /* twice does no harm */
};

struct uvch__wake {
  const struct uvch__wake_ops* ops;
  void* data;
  uvch__wake_cb on_wake;
  uvch__wake_cb on_close;
  int fd;
  union {
    uv_handle_t handle;
    uv_async_t async;
    uv_poll_t poll;
  } u;
};

extern const struct uvch__wake_ops uvch__wake_async;
extern const struct uvch__wake_ops* uvch__wake_chosen; /* NULL: what fits the libuv that runs; set by tests only */

/* uvch__wake_new: a source on `loop` that does not keep it alive; on_wake comes on the loop's thread. The loop's thread.
 * UV_ENOMEM, UV_EMFILE or what libuv says. */
int uvch__wake_new(struct uvch__wake** wake, uv_loop_t* loop, uvch__wake_cb on_wake, void* data);

/* uvch__wake_signal: on_wake will come. Any thread, signal handlers too; errno is kept. No memory barrier: see [H1]. */
void uvch__wake_signal(struct uvch__wake* wake);

/* uvch__wake_mute: in a forked child: leave to the parent what is signalled there. on_wake may still come. The loop's thread. */
void uvch__wake_mute(struct uvch__wake* wake);

/* uvch__wake_close: on_close comes from the loop, last. The loop's thread. */
void uvch__wake_close(struct uvch__wake* wake, uvch__wake_cb on_close);

/* uvch__wake_release: give descriptors back; nobody signals any more. uvch__wake_free: that, and the memory, once libuv is done
 * with the handle. Any thread. */
void uvch__wake_release(struct uvch__wake* wake);
void uvch__wake_free(struct uvch__wake* wake);

#endif
