/* SPDX-License-Identifier: MIT
 *
 * An inbox: any thread lets a loop run a function. */
#ifndef UVCH_INBOX_H
#define UVCH_INBOX_H

#include <uvch/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* uvch_post_cb: a call that was posted to `loop`, on its thread. status 0: do it. UV_ECANCELED: the inbox was closed before its
 * turn came; only give back what `arg` holds. Each call that uvch_post() took comes exactly once, with one or the other. */
typedef void (*uvch_post_cb)(uv_loop_t* loop, int status, void* arg);

/* One way into a loop's inbox: a sender of calls. May be moved by bytes. */
typedef struct uvch_inbox_s {
  /* private */
  void* core;
} uvch_inbox_t;

/* uvch_inbox_init: make an inbox for `loop`. The loop has a handle of type UVCH_INBOX for it, which is the library's memory; it
 * keeps the loop alive until the last uvch_inbox_t of it is closed, uvch_inbox_stop(), or a uvch_close() of that handle (in a
 * walk, or by uvch_close_all()). A program that closes the library's own handles, see uvch_owns_handle(), calls uvch_close_all()
 * before, else the calls that are queued never come.
 *
 * Threads:  the thread that runs `loop`, or will.
 * Returns 0, UV_EINVAL (NULL), UV_EPERM (another thread runs that loop), UV_ENOMEM, UV_EMFILE (no descriptor left). */
UVCH_EXTERN int uvch_inbox_init(uv_loop_t* loop, uvch_inbox_t* inbox);

/* uvch_inbox_clone: make `copy` another way into the same inbox, with a life of its own.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 of them). */
UVCH_EXTERN int uvch_inbox_clone(const uvch_inbox_t* inbox, uvch_inbox_t* copy);

/* uvch_inbox_close: give one up. After the last one the calls that were posted still come, then the loop's handle closes itself.
 *
 * Threads:  any; not while another thread uses the same struct.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed before: harmless). */
UVCH_EXTERN int uvch_inbox_close(uvch_inbox_t* inbox);

/* uvch_post: let the loop call `fn` with `arg`, in the order of the posts of each thread, under the loop's budget. Never waits,
 * and works on the loop's own thread too: the call comes later, never from inside this one.
 *
 * Threads:  any; many at once, through one struct or several.
 * Ordering: what the caller did before happens before the call.
 * Returns 0, UV_EPIPE (the inbox is closed on the loop's side), UV_ENOMEM, UV_EINVAL (NULL), UV_EBADF (closed). On an error `fn`
 * is not called. */
UVCH_EXTERN int uvch_post(const uvch_inbox_t* inbox, uvch_post_cb fn, void* arg);

/* uvch_inbox_stop: stop the loop in order, from any thread. Once the calls that were posted before have come, every uvch handle
 * of the loop is closed and its waiting requests are cancelled, so that uv_run() returns and uv_loop_close() gives 0, as far as
 * uvch is what keeps the loop alive. Later posts get UV_EPIPE; those in between come with UV_ECANCELED.
 *
 * Threads:  any. Twice is harmless.
 * Returns as uvch_post(). */
UVCH_EXTERN int uvch_inbox_stop(const uvch_inbox_t* inbox);

#ifdef __cplusplus
}
#endif
#endif
