/* SPDX-License-Identifier: MIT
 *
 * mpsc: many senders, one receiver, every message once and in order.
 *
 * A bounded channel holds at most `capacity` messages: try_send then says UV_EAGAIN, and send, send_wait and send_timedwait wait
 * for room, first come, first served; nobody passes those who wait. It never discards: who wants the newest to win takes another
 * kind.
 *
 *   state                                        try_recv    callback
 *   nothing queued, a sender is open             UV_EAGAIN   waits
 *   a message is queued                          0           status 0, item
 *   the first one is just being put in           UV_EAGAIN   waits; its sender wakes the receiver
 *   no sender is left, or recv_shutdown:
 *     something is queued                        0           status 0, item
 *     nothing is queued                          UV_EOF      status UV_EOF once, then the handle is inactive
 */
#ifndef UVCH_MPSC_H
#define UVCH_MPSC_H

#include <uvch/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The capacity of a channel without a bound. */
#define UVCH_UNBOUNDED SIZE_MAX

/* The largest bound, 33,554,431 messages, and the largest message, 1 GiB. */
#define UVCH_MPSC_CAPACITY_MAX (((size_t) 1 << 25) - 1)
#define UVCH_MPSC_ITEM_MAX ((size_t) 1 << 30)

/* uvch_mpsc_recv_cb: a message, or the end.
 *
 * status 0: `item` points to one message, aligned as its size asks, good until the callback returns, whatever that closes or
 * runs. status UV_EOF: no more will come; `item` is NULL. Comes once. */
typedef void (*uvch_mpsc_recv_cb)(uvch_mpsc_receiver_t* rx, int status, void* item);

/* uvch_mpsc_send_cb: a request is done. status 0: the message is in. UV_EPIPE (the receiver is gone or shut down), UV_ECANCELED
 * (uvch_cancel), UV_ENOMEM: the message is the caller's again. */
typedef void (*uvch_mpsc_send_cb)(uvch_mpsc_send_t* req, int status);

/* Rare settings of a channel. Set all to 0 first. */
typedef struct uvch_mpsc_options_s {
  unsigned int flags; /* UVCH_PREALLOCATE */
  uvch_drop_cb drop;  /* gets messages that were taken and will not be delivered; NULL: they need nothing */
  void* arg;          /* for drop */
  void* reserved[5];
} uvch_mpsc_options_t;

/* One way into a channel. May be moved by bytes, also inside a message. */
struct uvch_mpsc_sender_s {
  /* private */
  void* core;
};

/* The one way out of a channel. */
struct uvch_mpsc_receiver_s {
  UVCH_HANDLE_FIELDS
  /* private */
  uvch_mpsc_recv_cb recv_cb;
  void* reserved_recv[3];
};

/* A send that waits. */
struct uvch_mpsc_send_s {
  UVCH_REQ_FIELDS
  /* private */
  uvch_mpsc_send_cb cb;
};

/* Making a channel. */

/* uvch_mpsc_init: make a channel of messages of `item_size` bytes, its receiver, and a first sender.
 *
 * `capacity` is the bound, 1 to UVCH_MPSC_CAPACITY_MAX, or UVCH_UNBOUNDED. Storage comes with the first message.
 * `loop` may be NULL: the receiver then serves a plain thread, or is bound later with uvch_attach().
 *
 * Threads:  with a loop, the thread that runs it, or will; without, any.
 * Returns 0, UV_EINVAL (NULL, capacity 0 or too large, message too large), UV_EPERM (another thread runs that loop), UV_ENOMEM,
 * UV_EMFILE (no descriptor left). On an error rx and tx are untouched. */
UVCH_EXTERN int uvch_mpsc_init(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t item_size,
                               size_t capacity);

/* uvch_mpsc_init_ex: the same with options; NULL for none. UV_EINVAL also for an unknown flag. */
UVCH_EXTERN int uvch_mpsc_init_ex(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t item_size,
                                  size_t capacity, const uvch_mpsc_options_t* options);

/* Sending. */

/* uvch_mpsc_sender_clone: make `copy` another sender of the same channel, with a life of its own.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^31 senders). */
UVCH_EXTERN int uvch_mpsc_sender_clone(const uvch_mpsc_sender_t* tx, uvch_mpsc_sender_t* copy);

/* uvch_mpsc_sender_close: give a sender up. After the last one the receiver gets what is queued, then UV_EOF.
 *
 * Threads:  any; not while another thread uses the same struct (clones do not matter).
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed before: harmless). */
UVCH_EXTERN int uvch_mpsc_sender_close(uvch_mpsc_sender_t* tx);

/* uvch_mpsc_try_send: queue a copy of `item` without waiting.
 *
 * Threads:   any; many at once, through one sender or several.
 * Ordering:  what the caller did before a send that returns 0 happens before the receive callback for it.
 * Ownership: 0, the channel owns the message; on error the caller still does. Returns 0, UV_EAGAIN (full, or others wait),
 * UV_EPIPE (receiver gone or shut down), UV_ENOMEM (no storage), UV_EINVAL (NULL; `item` may be NULL if messages have size 0),
 * UV_EBADF (closed sender). */
UVCH_EXTERN int uvch_mpsc_try_send(const uvch_mpsc_sender_t* tx, const void* item);

/* uvch_mpsc_send: queue a copy of `item`, waiting for room without blocking: `cb` comes on `loop` once the message is in.
 *
 * `item` stays put and unchanged until the callback, as a buffer of uv_write(). The request keeps `loop` alive, and counts as a
 * sender: `tx` may be closed meanwhile. An unbounded channel, and a bounded one with room, takes the message at once; the
 * callback comes all the same.
 *
 * Threads:   the thread that runs `loop`, or will.
 * Ownership: 0, as the callback's status says; on error the caller's. Returns 0, UV_EPIPE, UV_ENOMEM, UV_EBADF as
 * uvch_mpsc_try_send(), UV_EINVAL (that, or NULL for another argument), UV_EPERM (another thread runs that loop), UV_EMFILE. */
UVCH_EXTERN int uvch_mpsc_send(uv_loop_t* loop, uvch_mpsc_send_t* req, const uvch_mpsc_sender_t* tx, const void* item,
                               uvch_mpsc_send_cb cb);

/* uvch_mpsc_send_wait: queue a copy of `item`; the thread sleeps while the channel is full.
 *
 * A receive callback must not wait for a thread that sits in this call on its own channel: those who wait are told when it
 * returns.
 *
 * Threads:   any but the one that runs the receiver's loop.
 * Returns 0, UV_EPERM (called on the receiver's loop), UV_EPIPE, UV_ENOMEM, UV_EINVAL, UV_EBADF as uvch_mpsc_try_send(). */
UVCH_EXTERN int uvch_mpsc_send_wait(const uvch_mpsc_sender_t* tx, const void* item);

/* uvch_mpsc_send_timedwait: the same for at most `timeout` nanoseconds. The send is tried before the clock is looked at.
 *
 * Returns as uvch_mpsc_send_wait(), UV_ETIMEDOUT: the message is the caller's, its place in the queue is lost. */
UVCH_EXTERN int uvch_mpsc_send_timedwait(const uvch_mpsc_sender_t* tx, const void* item, uint64_t timeout);

/* uvch_mpsc_sender_is_closed: 1 if a send is certain to fail (receiver gone or shut down, or the sender is closed or NULL), else
 * 0. Threads: any. */
UVCH_EXTERN int uvch_mpsc_sender_is_closed(const uvch_mpsc_sender_t* tx);

/* uvch_mpsc_sender_len: messages queued and not taken yet; 0 for a closed sender. Others change it meanwhile. Threads: any. */
UVCH_EXTERN size_t uvch_mpsc_sender_len(const uvch_mpsc_sender_t* tx);

/* uvch_mpsc_sender_capacity: messages that would go in now; 0 while others wait, UVCH_UNBOUNDED without a bound, 0 for a closed
 * sender. The full capacity again once the receiver is gone. Threads: any. */
UVCH_EXTERN size_t uvch_mpsc_sender_capacity(const uvch_mpsc_sender_t* tx);

/* uvch_mpsc_sender_max_capacity: the bound that the channel was made with, or UVCH_UNBOUNDED; 0 for a closed sender. Threads:
 * any. */
UVCH_EXTERN size_t uvch_mpsc_sender_max_capacity(const uvch_mpsc_sender_t* tx);

/* uvch_mpsc_sender_same_channel: 1 if both are open senders of one channel, else 0. Threads: any. */
UVCH_EXTERN int uvch_mpsc_sender_same_channel(const uvch_mpsc_sender_t* a, const uvch_mpsc_sender_t* b);

/* Receiving. One thread at a time: the loop's, or without a loop the thread that owns the receiver. */

/* uvch_mpsc_recv_start: let messages come to `cb`, as uv_read_start(). The handle is active until recv_stop, UV_EOF or close. On
 * a channel that has ended, `cb` gets UV_EOF once for every start.
 *
 * Returns 0, UV_EINVAL (NULL, or no loop), UV_EALREADY (started), UV_EBADF (closed). */
UVCH_EXTERN int uvch_mpsc_recv_start(uvch_mpsc_receiver_t* rx, uvch_mpsc_recv_cb cb);

/* uvch_mpsc_recv_stop: no more callbacks until the next start; messages stay queued, and a bounded channel fills up. Harmless
 * when not started.
 *
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_mpsc_recv_stop(uvch_mpsc_receiver_t* rx);

/* uvch_mpsc_recv_shutdown: take no new messages; what is queued still comes, then UV_EOF. Those who wait to send get UV_EPIPE.
 *
 * Returns 0 (also the second time), UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_mpsc_recv_shutdown(uvch_mpsc_receiver_t* rx);

/* uvch_mpsc_try_recv: copy the next message to `item` without waiting. Works with a loop too, started or not. Inside a receive
 * callback of the same channel the room of what it takes is given back when that callback returns.
 *
 * Returns 0, UV_EAGAIN (nothing now), UV_EOF (the end, every time), UV_EINVAL (NULL; `item` may be NULL if messages have size 0),
 * UV_EBADF (closed). */
UVCH_EXTERN int uvch_mpsc_try_recv(uvch_mpsc_receiver_t* rx, void* item);

/* uvch_mpsc_recv_wait: copy the next message to `item`; the thread sleeps until there is one. Only for a receiver without a loop.
 *
 * Returns 0, UV_EOF, UV_EPERM (the receiver has a loop), UV_EINVAL and UV_EBADF as uvch_mpsc_try_recv(), UV_ENOMEM (cannot
 * sleep). */
UVCH_EXTERN int uvch_mpsc_recv_wait(uvch_mpsc_receiver_t* rx, void* item);

/* uvch_mpsc_recv_timedwait: the same for at most `timeout` nanoseconds; a message that is there is taken before the clock is
 * looked at.
 *
 * Returns as uvch_mpsc_recv_wait(), UV_ETIMEDOUT: no message was taken. */
UVCH_EXTERN int uvch_mpsc_recv_timedwait(uvch_mpsc_receiver_t* rx, void* item, uint64_t timeout);

/* uvch_mpsc_receiver_is_closed: 1 if no new message can come: no sender is left, shut down, or closed. Messages may still be
 * queued. */
UVCH_EXTERN int uvch_mpsc_receiver_is_closed(const uvch_mpsc_receiver_t* rx);

/* uvch_mpsc_receiver_is_empty: 1 if uvch_mpsc_receiver_len() is 0, else 0. */
UVCH_EXTERN int uvch_mpsc_receiver_is_empty(const uvch_mpsc_receiver_t* rx);

/* uvch_mpsc_receiver_len: messages queued and not taken yet; one that is just being put in may count. 0 once closed. */
UVCH_EXTERN size_t uvch_mpsc_receiver_len(const uvch_mpsc_receiver_t* rx);

/* uvch_mpsc_receiver_capacity, uvch_mpsc_receiver_max_capacity: as the sender's; 0 once closed. */
UVCH_EXTERN size_t uvch_mpsc_receiver_capacity(const uvch_mpsc_receiver_t* rx);
UVCH_EXTERN size_t uvch_mpsc_receiver_max_capacity(const uvch_mpsc_receiver_t* rx);

#ifdef __cplusplus
}
#endif
#endif
