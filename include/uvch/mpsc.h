/* SPDX-License-Identifier: MIT
 *
 * mpsc: many senders, one receiver, every message once and in order.
 *
 * A bounded channel holds at most `capacity` messages: try_send then says UV_EAGAIN, and send, send_wait and send_timedwait wait
 * for room, first come, first served; nobody passes those who wait. It never discards, neither the oldest nor the newest: who
 * wants the newest to win and the lost ones counted takes a broadcast channel with one receiver.
 *
 *   state                                        try_recv    callback
 *   nothing queued, a sender is open             UV_EAGAIN   waits
 *   a message is queued                          0           status 0, item
 *   the first one is just being put in           UV_EAGAIN   waits; its sender wakes the receiver
 *   no sender is left, or recv_shutdown:
 *     something is queued                        0           status 0, item
 *     nothing is queued, a permit is out         UV_EAGAIN   waits (only after recv_shutdown)
 *     nothing is queued, no permit is out        UV_EOF      status UV_EOF once, then the handle is inactive
 */
#ifndef UVCH_MPSC_H
#define UVCH_MPSC_H

#include <uvch/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The capacity of a channel without a bound. */
#define UVCH_UNBOUNDED SIZE_MAX

/* The largest bound, 33,554,431 messages, and the largest message, 1 GiB. Of type size_t without a cast. */
#define UVCH_MPSC_CAPACITY_MAX ((sizeof(char) << 25) - 1)
#define UVCH_MPSC_ITEM_MAX (sizeof(char) << 30)

/* uvch_mpsc_recv_cb: a message, or the end.
 *
 * status 0: `item` points to one message, aligned as its size asks, good until the callback returns, whatever that closes or
 * runs. status UV_EOF: no more will come; `item` is NULL. Comes once. */
typedef void (*uvch_mpsc_recv_cb)(uvch_mpsc_receiver_t* rx, int status, void* item);

/* uvch_mpsc_recv_many_cb: several messages, or the end.
 *
 * status 0: `count` messages, at least 1; the first is at `first`, each next one `stride` bytes further, aligned as their size
 * asks, all good until the callback returns, whatever that closes or runs. status UV_EOF: no more will come; `first` is NULL,
 * `count` 0. Comes once. */
typedef void (*uvch_mpsc_recv_many_cb)(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count);

/* uvch_mpsc_send_cb: a request is done. status 0: all is in. UV_EPIPE (the receiver is gone or shut down), UV_ECANCELED
 * (uvch_cancel): the message is the caller's again; of several, the first `req->sent` are in and the rest is the caller's. */
typedef void (*uvch_mpsc_send_cb)(uvch_mpsc_send_t* req, int status);

/* uvch_mpsc_reserve_cb: a request is done. status 0: the permit is there. UV_EPIPE, UV_ECANCELED: it is not. */
typedef void (*uvch_mpsc_reserve_cb)(uvch_mpsc_reserve_t* req, int status);

/* uvch_mpsc_closed_cb: a request is done. status 0: the channel is closed. UV_ECANCELED: uvch_cancel. */
typedef void (*uvch_mpsc_closed_cb)(uvch_mpsc_closed_t* req, int status);

/* Rare settings of a channel. Set all to 0 first. */
typedef struct uvch_mpsc_options_s {
  unsigned int flags; /* UVCH_PREALLOCATE */
  uvch_drop_cb drop;  /* gets messages that were taken and will not be delivered; NULL: they need nothing */
  void* arg;          /* for drop */
  const char* name;   /* for statistics, at most UVCH_NAME_MAX bytes, copied; NULL: none */
  void* reserved[4];
} uvch_mpsc_options_t;

/* One way into a channel. May be moved by bytes, also inside a message. */
struct uvch_mpsc_sender_s {
  /* private */
  void* core;
};

/* A sender that keeps nothing open and cannot send: it can be made a sender again as long as there is another. May be moved by
 * bytes, also inside a message. */
struct uvch_mpsc_weak_sender_s {
  /* private */
  void* core;
};

/* The right to put messages in later: places of a bounded channel that nobody else gets. May be moved by bytes, also to another
 * thread or inside a message. */
struct uvch_mpsc_permit_s {
  /* private */
  void* core;
  size_t count;
};

/* The one way out of a channel. */
struct uvch_mpsc_receiver_s {
  UVCH_HANDLE_FIELDS
  /* private */
  uvch_mpsc_recv_cb recv_cb;
  uvch_mpsc_recv_many_cb recv_many_cb;
  size_t recv_max;
  void* reserved_recv[3];
};

/* A send that waits. */
struct uvch_mpsc_send_s {
  UVCH_REQ_FIELDS
  /* read-only */
  size_t sent; /* messages that are in, good from the callback on */
  /* private */
  uvch_mpsc_send_cb cb;
};

/* A reservation that waits. */
struct uvch_mpsc_reserve_s {
  UVCH_REQ_FIELDS
  /* private */
  uvch_mpsc_permit_t* permit;
  uvch_mpsc_reserve_cb cb;
};

/* A wait for the end of the receiver. */
struct uvch_mpsc_closed_s {
  UVCH_REQ_FIELDS
  /* private */
  uvch_mpsc_closed_cb cb;
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

/* uvch_mpsc_init_ex: the same with options; NULL for none. UV_EINVAL also for an unknown flag and a name that is too long. */
UVCH_EXTERN int uvch_mpsc_init_ex(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t item_size,
                                  size_t capacity, const uvch_mpsc_options_t* options);

/* Sending. */

/* uvch_mpsc_sender_clone: make `copy` another sender of the same channel, with a life of its own.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 senders). */
UVCH_EXTERN int uvch_mpsc_sender_clone(const uvch_mpsc_sender_t* tx, uvch_mpsc_sender_t* copy);

/* uvch_mpsc_sender_close: give a sender up. After the last one, and when no request waits and no permit is out, the receiver
 * gets what is queued, then UV_EOF.
 *
 * Threads:  any; not while another thread uses the same struct (clones do not matter).
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed before: harmless). */
UVCH_EXTERN int uvch_mpsc_sender_close(uvch_mpsc_sender_t* tx);

/* uvch_mpsc_try_send: queue a copy of `item` without waiting.
 *
 * While more than 256 KiB are queued in a channel without a bound, a sender that takes another block of memory first lets other
 * threads run that want its processor (sched_yield()), if there are several processors and it is not on the receiver's loop.
 *
 * Threads:   any; many at once, through one sender or several.
 * Ordering:  what the caller did before a send that returns 0 happens before the receive callback for it.
 * Ownership: 0, the channel owns the message; on error the caller still does. Returns 0, UV_EAGAIN (full, or others wait),
 * UV_EPIPE (receiver gone or shut down), UV_ENOMEM (no storage), UV_EINVAL (NULL; `item` may be NULL if messages have size 0),
 * UV_EBADF (closed sender).
 * Signals:   may be called from a signal handler if the channel is bounded, made with UVCH_PREALLOCATE, and its receiver has a
 * loop: then it takes no lock, allocates nothing and keeps errno. Nothing else of this library may be called
 * from a handler. */
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

/* Sending many. */

/* uvch_mpsc_try_send_many: queue copies of `count` messages that lie one after the other at `items`, as many as there is room
 * for, without waiting. Those that go in are together: no other sender's message comes between them, and one look at the
 * channel puts them all in.
 *
 * Threads, ordering:  as uvch_mpsc_try_send().
 * Ownership: the first n are the channel's if n is returned, the rest is the caller's; on an error all are the caller's.
 * Returns how many went in; 0 only for a count of 0, where only UV_EPIPE is looked for. Without a bound all or none go in.
 * UV_EAGAIN (no room for one, or others wait), UV_EPIPE, UV_ENOMEM, UV_EBADF as uvch_mpsc_try_send(), UV_EINVAL (that, or a
 * count above INT_MAX). */
UVCH_EXTERN int uvch_mpsc_try_send_many(const uvch_mpsc_sender_t* tx, const void* items, size_t count);

/* uvch_mpsc_send_many: queue copies of all `count` messages, waiting for room without blocking: `cb` comes on `loop` once all
 * are in, `req->sent` tells how many. They go in as room comes, so there may be more of them than the capacity; nobody who
 * waits since later gets between them (a permit that is out may send between them). A count of 0 is done at once; the callback
 * comes all the same.
 *
 * Otherwise as uvch_mpsc_send(). UV_EINVAL also for a count above INT_MAX. */
UVCH_EXTERN int uvch_mpsc_send_many(uv_loop_t* loop, uvch_mpsc_send_t* req, const uvch_mpsc_sender_t* tx, const void* items,
                                    size_t count, uvch_mpsc_send_cb cb);

/* uvch_mpsc_send_many_wait: queue copies of all `count` messages; the thread sleeps while the channel is full.
 *
 * Threads:  as uvch_mpsc_send_wait().
 * Returns how many went in: all of them, or less if the channel closed meanwhile. If none did, an error as uvch_mpsc_send_wait();
 * UV_EINVAL also for a count above INT_MAX. */
UVCH_EXTERN int uvch_mpsc_send_many_wait(const uvch_mpsc_sender_t* tx, const void* items, size_t count);

/* uvch_mpsc_send_many_timedwait: the same for at most `timeout` nanoseconds.
 *
 * Returns as uvch_mpsc_send_many_wait(), also less than `count` when the time is over; UV_ETIMEDOUT if none went in. */
UVCH_EXTERN int uvch_mpsc_send_many_timedwait(const uvch_mpsc_sender_t* tx, const void* items, size_t count, uint64_t timeout);

/* Permits: first a place, then a message. For work that must not be done if its result cannot be sent. A permit holds places of a
 * bounded channel until it has sent as many messages or is released; it holds no place in their order. After recv_shutdown it may
 * still send, and UV_EOF waits for it. While it is out the channel stays open without any sender. */

/* uvch_mpsc_try_reserve: reserve `n` places, all or none, without waiting. With n = 0 there is always room, and `permit` is
 * empty; UV_EPIPE on a closed channel. An n above the capacity is UV_EAGAIN, on a closed channel too.
 *
 * Threads:  any.
 * Returns 0, UV_EAGAIN (less than n are free, others wait, or n is above the capacity), UV_EPIPE (receiver gone or shut down),
 * UV_ENOMEM (no storage), UV_EINVAL (NULL, or a channel without a bound), UV_EBADF (closed sender). On an error `permit` is
 * untouched. */
UVCH_EXTERN int uvch_mpsc_try_reserve(const uvch_mpsc_sender_t* tx, size_t n, uvch_mpsc_permit_t* permit);

/* uvch_mpsc_reserve: reserve `n` places, waiting without blocking: `cb` comes on `loop`, and with status 0 `*permit` is there,
 * else it is untouched. It waits in one line with those who send. `permit` stays put until the callback. The request keeps
 * `loop` alive and counts as a sender.
 *
 * Threads:  the thread that runs `loop`, or will.
 * Returns 0, UV_EPIPE (receiver gone or shut down, or n above the capacity: it would wait for ever), UV_ENOMEM, UV_EBADF as
 * uvch_mpsc_try_reserve(), UV_EINVAL (that, or NULL for another argument), UV_EPERM (another thread runs that loop),
 * UV_EMFILE. */
UVCH_EXTERN int uvch_mpsc_reserve(uv_loop_t* loop, uvch_mpsc_reserve_t* req, const uvch_mpsc_sender_t* tx, size_t n,
                                  uvch_mpsc_permit_t* permit, uvch_mpsc_reserve_cb cb);

/* uvch_mpsc_reserve_wait: reserve `n` places; the thread sleeps until they are free.
 *
 * Threads:  as uvch_mpsc_send_wait().
 * Returns 0, UV_EPERM (called on the receiver's loop), UV_EPIPE as uvch_mpsc_reserve(), UV_ENOMEM, UV_EINVAL, UV_EBADF. */
UVCH_EXTERN int uvch_mpsc_reserve_wait(const uvch_mpsc_sender_t* tx, size_t n, uvch_mpsc_permit_t* permit);

/* uvch_mpsc_reserve_timedwait: the same for at most `timeout` nanoseconds; it is tried before the clock is looked at.
 * UV_ETIMEDOUT: nothing is held. */
UVCH_EXTERN int uvch_mpsc_reserve_timedwait(const uvch_mpsc_sender_t* tx, size_t n, uvch_mpsc_permit_t* permit, uint64_t timeout);

/* uvch_mpsc_permit_send: queue a copy of `item` in one of the permit's places. It never waits and finds room, also after
 * recv_shutdown. The last one empties the permit.
 *
 * Threads:   any, one at a time for one struct.
 * Ordering:  as uvch_mpsc_try_send(); which permit is older does not matter.
 * Returns 0, UV_EPIPE (the receiver is gone: the message is the caller's, the place is used up), UV_EBADF (an empty permit),
 * UV_EINVAL (NULL; `item` may be NULL if messages have size 0). */
UVCH_EXTERN int uvch_mpsc_permit_send(uvch_mpsc_permit_t* permit, const void* item);

/* uvch_mpsc_permit_release: give back the places that are left; those who wait get them at once. Empties the permit.
 *
 * Threads:  as uvch_mpsc_permit_send().
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (an empty permit: harmless). */
UVCH_EXTERN int uvch_mpsc_permit_release(uvch_mpsc_permit_t* permit);

/* uvch_mpsc_permit_split: move `n` of the places to `other`, a permit with a life of its own.
 *
 * Threads:  as uvch_mpsc_permit_send().
 * Returns 0, UV_EINVAL (NULL, the same struct twice, or n is 0 or above what is left), UV_EBADF (an empty permit). */
UVCH_EXTERN int uvch_mpsc_permit_split(uvch_mpsc_permit_t* permit, size_t n, uvch_mpsc_permit_t* other);

/* uvch_mpsc_permit_count: the places that are left; 0 for NULL. Threads: as uvch_mpsc_permit_send(). */
UVCH_EXTERN size_t uvch_mpsc_permit_count(const uvch_mpsc_permit_t* permit);

/* uvch_mpsc_permit_get_sender: make `tx` a sender of the permit's channel, also when that is shut down or its receiver is gone.
 *
 * Threads:  as uvch_mpsc_permit_send().
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (an empty permit), UV_ENOMEM (2^30 senders). */
UVCH_EXTERN int uvch_mpsc_permit_get_sender(const uvch_mpsc_permit_t* permit, uvch_mpsc_sender_t* tx);

/* uvch_mpsc_permit_same_channel, uvch_mpsc_permit_same_channel_as_sender: 1 if neither is empty or closed and both are of one
 * channel, else 0. Threads: as uvch_mpsc_permit_send(). */
UVCH_EXTERN int uvch_mpsc_permit_same_channel(const uvch_mpsc_permit_t* a, const uvch_mpsc_permit_t* b);
UVCH_EXTERN int uvch_mpsc_permit_same_channel_as_sender(const uvch_mpsc_permit_t* permit, const uvch_mpsc_sender_t* tx);

/* Weak senders, and how many of each there are. */

/* uvch_mpsc_sender_downgrade: make `weak` a weak sender of the same channel. `tx` stays as it is.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 weak senders). */
UVCH_EXTERN int uvch_mpsc_sender_downgrade(const uvch_mpsc_sender_t* tx, uvch_mpsc_weak_sender_t* weak);

/* uvch_mpsc_weak_sender_upgrade: make `tx` a sender if there is another one, a permit, or a request that waits. `weak` stays
 * as it is. It succeeds also when the receiver is gone; once it said UV_EPIPE it says so for ever.
 *
 * Threads:  any.
 * Returns 0, UV_EPIPE (no sender is left), UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 senders). */
UVCH_EXTERN int uvch_mpsc_weak_sender_upgrade(const uvch_mpsc_weak_sender_t* weak, uvch_mpsc_sender_t* tx);

/* uvch_mpsc_weak_sender_clone: make `copy` another one.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 weak senders). */
UVCH_EXTERN int uvch_mpsc_weak_sender_clone(const uvch_mpsc_weak_sender_t* weak, uvch_mpsc_weak_sender_t* copy);

/* uvch_mpsc_weak_sender_close: give a weak sender up.
 *
 * Threads:  any; not while another thread uses the same struct.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed before: harmless). */
UVCH_EXTERN int uvch_mpsc_weak_sender_close(uvch_mpsc_weak_sender_t* weak);

/* Counts of senders: open ones, requests that wait to send or reserve, and each place that a permit holds; of weak senders. 0 for
 * a closed end. Others change them meanwhile.
 *
 * Threads:  any; for a receiver its own. */
UVCH_EXTERN size_t uvch_mpsc_sender_strong_count(const uvch_mpsc_sender_t* tx);
UVCH_EXTERN size_t uvch_mpsc_sender_weak_count(const uvch_mpsc_sender_t* tx);
UVCH_EXTERN size_t uvch_mpsc_weak_sender_strong_count(const uvch_mpsc_weak_sender_t* weak);
UVCH_EXTERN size_t uvch_mpsc_weak_sender_weak_count(const uvch_mpsc_weak_sender_t* weak);
UVCH_EXTERN size_t uvch_mpsc_receiver_strong_count(const uvch_mpsc_receiver_t* rx);
UVCH_EXTERN size_t uvch_mpsc_receiver_weak_count(const uvch_mpsc_receiver_t* rx);

/* The end of the receiver. */

/* uvch_mpsc_closed: `cb` comes on `loop` once the channel is closed: the receiver was closed or shut down. The request does
 * not count as a sender; if the last sender goes the channel is closed as well. It keeps `loop` alive. Any number may wait, on
 * any loops; all are told. If it is closed already the callback comes all the same.
 *
 * Threads:  the thread that runs `loop`, or will.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed sender), UV_ENOMEM, UV_EPERM (another thread runs that loop), UV_EMFILE. */
UVCH_EXTERN int uvch_mpsc_closed(uv_loop_t* loop, uvch_mpsc_closed_t* req, const uvch_mpsc_sender_t* tx, uvch_mpsc_closed_cb cb);

/* uvch_mpsc_closed_wait: the thread sleeps until the channel is closed.
 *
 * Threads:  any but the one that runs the receiver's loop.
 * Returns 0, UV_EPERM (called on the receiver's loop), UV_EINVAL (NULL), UV_EBADF (closed sender), UV_ENOMEM. */
UVCH_EXTERN int uvch_mpsc_closed_wait(const uvch_mpsc_sender_t* tx);

/* uvch_mpsc_closed_timedwait: the same for at most `timeout` nanoseconds; UV_ETIMEDOUT if it is still open then. */
UVCH_EXTERN int uvch_mpsc_closed_timedwait(const uvch_mpsc_sender_t* tx, uint64_t timeout);

/* What a sender can ask. */

/* uvch_mpsc_sender_is_closed: 1 if a send is certain to fail (receiver gone or shut down, or the sender is closed or NULL), else
 * 0. Threads: any. */
UVCH_EXTERN int uvch_mpsc_sender_is_closed(const uvch_mpsc_sender_t* tx);

/* uvch_mpsc_sender_len: messages queued and not taken yet; what a receive callback takes itself counts until it returns. 0 for a
 * closed sender. Others change it meanwhile. Threads: any. */
UVCH_EXTERN size_t uvch_mpsc_sender_len(const uvch_mpsc_sender_t* tx);

/* uvch_mpsc_sender_capacity: places that are free: neither queued nor held by permits; 0 while others wait, UVCH_UNBOUNDED
 * without a bound, 0 for a closed sender. After recv_shutdown nobody can use them; the full capacity again once the receiver
 * is gone. Threads: any. */
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

/* uvch_mpsc_recv_many_start: the same, with up to `max` messages in one callback: those that are there, it never waits for
 * more. Their room is given back together, before the callback. Each counts as one for the loop's budget, which may cut a
 * batch. A callback gets less than there are where the storage ends, never more than 256, and of a bounded channel at most as
 * many as the capacity or 64, whichever is less.
 *
 * Returns as uvch_mpsc_recv_start(); UV_EINVAL also for a max of 0. */
UVCH_EXTERN int uvch_mpsc_recv_many_start(uvch_mpsc_receiver_t* rx, size_t max, uvch_mpsc_recv_many_cb cb);

/* uvch_mpsc_recv_stop: no more callbacks until the next start; messages stay queued, and a bounded channel fills up. Harmless
 * when not started.
 *
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_mpsc_recv_stop(uvch_mpsc_receiver_t* rx);

/* uvch_mpsc_recv_shutdown: take no new messages but those of permits that are out; what is queued still comes, then UV_EOF.
 * Those who wait to send get UV_EPIPE.
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

/* uvch_mpsc_try_recv_many: copy up to `max` messages to `items`, one after the other, without waiting. Their room is given
 * back together, inside a receive callback of the same channel when that returns.
 *
 * Returns how many, 0 only for a max of 0 on a receiver that is not closed; UV_EAGAIN (nothing now), UV_EOF (the end, every
 * time), UV_EINVAL (NULL, or a max above INT_MAX; `items` may be NULL if messages have size 0), UV_EBADF (closed). */
UVCH_EXTERN int uvch_mpsc_try_recv_many(uvch_mpsc_receiver_t* rx, void* items, size_t max);

/* uvch_mpsc_recv_many_wait: the same; the thread sleeps until there is one, and does not wait for more. Only for a receiver
 * without a loop.
 *
 * Returns how many, 0 only for a max of 0, at once; UV_EOF, UV_EPERM (the receiver has a loop), UV_EINVAL, UV_EBADF, UV_ENOMEM
 * (cannot sleep). */
UVCH_EXTERN int uvch_mpsc_recv_many_wait(uvch_mpsc_receiver_t* rx, void* items, size_t max);

/* uvch_mpsc_recv_many_timedwait: the same for at most `timeout` nanoseconds. UV_ETIMEDOUT: nothing was taken. */
UVCH_EXTERN int uvch_mpsc_recv_many_timedwait(uvch_mpsc_receiver_t* rx, void* items, size_t max, uint64_t timeout);

/* uvch_mpsc_receiver_is_closed: 1 if no sender is left, shut down, or closed: no new message can come but from permits
 * that are out. Messages may still be queued. */
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
