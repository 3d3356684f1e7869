/* SPDX-License-Identifier: MIT
 *
 * oneshot: one value, once, from any thread to a loop or to a thread. A reply, a result, the end of a job.
 *
 * The sender is used up by its one send. Whatever races, there is exactly one outcome: the receiver gets the value, or it gets
 * UV_EOF because none will come, and then a send says UV_EPIPE and its value stays the sender's.
 *
 *   state                                   try_recv    recv's callback   send       is_empty   is_terminated
 *   nothing sent, the sender is open        UV_EAGAIN   waits             0          1          0
 *   sent, not taken yet                     0           status 0, item    -          0          0
 *   sent, then recv_shutdown                0           status 0, item    -          0          0
 *   the sender was closed without a send    UV_EOF      status UV_EOF     -          1          0
 *   recv_shutdown before a send             UV_EOF      status UV_EOF     UV_EPIPE   1          0
 *   the outcome was taken, value or UV_EOF  UV_EOF      recv: UV_EOF      as before  1          1
 *
 * For a request that is sent through an mpsc channel and waits for its reply: <uvch/call.h>. */
#ifndef UVCH_ONESHOT_H
#define UVCH_ONESHOT_H

#include <uvch/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The largest value, 1 GiB. Of type size_t without a cast. */
#define UVCH_ONESHOT_ITEM_MAX (sizeof(char) << 30)

/* uvch_oneshot_recv_cb: the outcome, once.
 *
 * status 0: `item` points to the value, aligned as its size asks, good until the callback returns, whatever that closes or runs.
 * status UV_EOF: none will come; `item` is NULL. The handle is inactive by then, and may be renewed. */
typedef void (*uvch_oneshot_recv_cb)(uvch_oneshot_receiver_t* rx, int status, void* item);

/* uvch_oneshot_closed_cb: a request is done. status 0: nobody waits for the value any more. UV_ECANCELED: uvch_cancel, or the
 * sender was used up. */
typedef void (*uvch_oneshot_closed_cb)(uvch_oneshot_closed_t* req, int status);

/* Rare settings. Set all to 0 first. */
typedef struct uvch_oneshot_options_s {
  uvch_drop_cb drop; /* gets a value that was sent and will not be delivered; NULL: it needs nothing */
  void* arg;         /* for drop; good until the sender is used up */
  void* reserved[4];
} uvch_oneshot_options_t;

/* The way in. May be moved by bytes, also inside a message. A copy that stays behind must not be used. As a help against
 * mistakes it mostly gets UV_EBADF: as long as the receiver's loop keeps the memory for the next oneshot. */
struct uvch_oneshot_sender_s {
  /* private */
  void* core;
  uint32_t item_size;
  uint32_t generation;
};

/* The way out. */
struct uvch_oneshot_receiver_s {
  UVCH_HANDLE_FIELDS
  /* private */
  uvch_oneshot_recv_cb recv_cb;
  size_t item_size;
  void* reserved_recv[2];
};

/* A wait for the end of the receiver. */
struct uvch_oneshot_closed_s {
  UVCH_REQ_FIELDS
  /* private */
  uvch_oneshot_closed_cb cb;
};

/* Making one. */

/* uvch_oneshot_init: make a channel for one value of `item_size` bytes: its receiver and its sender. Receivers of one loop share
 * the memory of those that are done, up to 64 of each size, as long as the loop has uvch handles or requests. So a steady exchange
 * of values of up to 464 bytes allocates nothing.
 *
 * `loop` may be NULL: the receiver then serves a plain thread, or is bound later with uvch_attach().
 *
 * Threads:  with a loop, the thread that runs it, or will; without, any.
 * Returns 0, UV_EINVAL (NULL, value too large), UV_EPERM (another thread runs that loop), UV_ENOMEM, UV_EMFILE (no descriptor
 * left). On an error rx and tx are untouched. */
UVCH_EXTERN int uvch_oneshot_init(uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx, size_t item_size);

/* uvch_oneshot_init_ex: the same with options; NULL for none. */
UVCH_EXTERN int uvch_oneshot_init_ex(uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx, size_t item_size,
                                     const uvch_oneshot_options_t* options);

/* uvch_oneshot_renew: use a receiver again that has had its outcome: `tx` is the sender of a new channel, of the same value size
 * and options. Cheaper than another receiver, and without a loop the way that allocates nothing.
 *
 * Threads:  the receiver's.
 * Returns 0, UV_EBUSY (it has had none yet), UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM. On an error both are as before. */
UVCH_EXTERN int uvch_oneshot_renew(uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx);

/* Sending. One thread at a time for one struct. */

/* uvch_oneshot_send: send a copy of `item`. It uses the sender up, unless it says UV_EINVAL; never waits and allocates nothing.
 *
 * Threads:   any.
 * Ordering:  what the caller did before a send that returns 0 happens before the callback or call that takes the value.
 * Ownership: 0, the receiver owns the value: it is taken, or given to the drop function where the receiver is closed, never by
 *            this call. On an error it is the caller's.
 * Returns 0, UV_EPIPE (the receiver is closed or shut down), UV_EBADF (used up or closed before), UV_EINVAL (NULL; `item` may be
 * NULL if the value has size 0). */
UVCH_EXTERN int uvch_oneshot_send(uvch_oneshot_sender_t* tx, const void* item);

/* uvch_oneshot_sender_close: give the sender up without a value: the receiver gets UV_EOF.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (used up or closed before: harmless). */
UVCH_EXTERN int uvch_oneshot_sender_close(uvch_oneshot_sender_t* tx);

/* uvch_oneshot_sender_is_closed: 1 if a send is certain to fail (receiver closed or shut down, or the sender is used up, closed
 * or NULL), else 0. Threads: any. */
UVCH_EXTERN int uvch_oneshot_sender_is_closed(const uvch_oneshot_sender_t* tx);

/* uvch_oneshot_closed: `cb` comes on `loop` once nobody waits for the value any more: the receiver was closed or shut down. So
 * work whose result nobody wants can stop. Using the sender up ends the wait with UV_ECANCELED. The request keeps `loop` alive.
 * Any number may wait, on any loops; all are told. If it is closed already the callback comes all the same.
 *
 * Threads:  the thread that runs `loop`, or will.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (used up or closed), UV_ENOMEM, UV_EPERM (another thread runs that loop), UV_EMFILE. */
UVCH_EXTERN int uvch_oneshot_closed(uv_loop_t* loop, uvch_oneshot_closed_t* req, const uvch_oneshot_sender_t* tx,
                                    uvch_oneshot_closed_cb cb);

/* uvch_oneshot_closed_wait: the thread sleeps until nobody waits for the value any more.
 *
 * Threads:  any but the one that runs the receiver's loop.
 * Returns 0, UV_EPERM (called on the receiver's loop), UV_EINVAL (NULL), UV_EBADF (used up or closed), UV_ENOMEM. */
UVCH_EXTERN int uvch_oneshot_closed_wait(const uvch_oneshot_sender_t* tx);

/* uvch_oneshot_closed_timedwait: the same for at most `timeout` nanoseconds; UV_ETIMEDOUT if it is still open then. */
UVCH_EXTERN int uvch_oneshot_closed_timedwait(const uvch_oneshot_sender_t* tx, uint64_t timeout);

/* Receiving. One thread at a time: the loop's, or without a loop the thread that owns the receiver. */

/* uvch_oneshot_recv: let the outcome come to `cb`. The handle is active until then, recv_stop, or close.
 *
 * Returns 0, UV_EOF (the outcome was taken before: `cb` does not come), UV_EINVAL (NULL, or no loop), UV_EALREADY (it waits
 * already), UV_EBADF (closed). */
UVCH_EXTERN int uvch_oneshot_recv(uvch_oneshot_receiver_t* rx, uvch_oneshot_recv_cb cb);

/* uvch_oneshot_recv_stop: no callback until the next recv; nothing is lost. Harmless when it does not wait.
 *
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_oneshot_recv_stop(uvch_oneshot_receiver_t* rx);

/* uvch_oneshot_recv_shutdown: no send can succeed from now on. A value that is in stays and can be taken; if there is none the
 * outcome is UV_EOF, which a callback that waits gets.
 *
 * Returns 0 (also the second time), UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_oneshot_recv_shutdown(uvch_oneshot_receiver_t* rx);

/* uvch_oneshot_try_recv: copy the value to `item` without waiting.
 *
 * Returns 0, UV_EAGAIN (nothing yet), UV_EOF (none will come, or it was taken; every time), UV_EALREADY (a callback waits for
 * it), UV_EINVAL (NULL; `item` may be NULL if the value has size 0), UV_EBADF (closed). */
UVCH_EXTERN int uvch_oneshot_try_recv(uvch_oneshot_receiver_t* rx, void* item);

/* uvch_oneshot_recv_wait: copy the value to `item`; the thread sleeps until it is there. Only for a receiver without a loop.
 *
 * Returns 0, UV_EOF as uvch_oneshot_try_recv(), UV_EPERM (the receiver has a loop), UV_EINVAL, UV_EBADF, UV_ENOMEM (cannot
 * sleep). */
UVCH_EXTERN int uvch_oneshot_recv_wait(uvch_oneshot_receiver_t* rx, void* item);

/* uvch_oneshot_recv_timedwait: the same for at most `timeout` nanoseconds; a value that is there is taken before the clock is
 * looked at.
 *
 * Returns as uvch_oneshot_recv_wait(), UV_ETIMEDOUT: nothing was taken, the value can still come. */
UVCH_EXTERN int uvch_oneshot_recv_timedwait(uvch_oneshot_receiver_t* rx, void* item, uint64_t timeout);

/* uvch_oneshot_receiver_is_terminated: 1 once the outcome was taken, value or UV_EOF, or the receiver was closed, or for NULL;
 * else 0. */
UVCH_EXTERN int uvch_oneshot_receiver_is_terminated(const uvch_oneshot_receiver_t* rx);

/* uvch_oneshot_receiver_is_empty: 0 if a value is there that can be taken, else 1. */
UVCH_EXTERN int uvch_oneshot_receiver_is_empty(const uvch_oneshot_receiver_t* rx);

#ifdef __cplusplus
}
#endif
#endif
