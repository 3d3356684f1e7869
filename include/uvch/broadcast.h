/* SPDX-License-Identifier: MIT
 *
 * broadcast: many senders, many receivers, and every receiver sees every message that is sent while it is subscribed. News,
 * events, lines of a chat.
 *
 * The channel keeps the last `capacity` messages, exactly, for those who have not read them yet. All sends are in one order, and
 * each receiver sees its part of it. What happens to a receiver that is more than `capacity` messages behind is the channel's
 * policy:
 *
 *   UVCH_BROADCAST_LAG         it is told how many messages it has missed, once, where they would have come, and goes on with
 *                              the oldest that is kept. Nobody ever waits for it.
 *   UVCH_BROADCAST_WAIT        no receiver is: senders find no room (UV_EAGAIN), or wait for it, until the slowest has read on.
 *   UVCH_BROADCAST_DISCONNECT  it gets UV_ECONNABORTED and no more messages; the others go on.
 *
 *   state of a receiver                             try_recv           callback
 *   it has read everything, a sender is open        UV_EAGAIN          waits
 *   a message is there                              0                  status 0, item
 *   it has missed n messages (LAG)                  n                  status n, then the oldest that is kept
 *   it has missed some (DISCONNECT)                 UV_ECONNABORTED    status UV_ECONNABORTED once, then the handle is inactive;
 *                                                                      not if a try_recv has said it
 *   it has read everything, no sender is left       UV_EOF             status UV_EOF once, then the handle is inactive
 *
 * A number of missed messages above INT_MAX is INT_MAX; uvch_broadcast_receiver_missed() has all of it.
 *
 * A send costs by the loops that have receivers, not by the receivers: each loop is posted once, and hands the message around
 * itself. */
#ifndef UVCH_BROADCAST_H
#define UVCH_BROADCAST_H

#include <uvch/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The largest capacity, 33,554,431 messages, and the largest message, 1 GiB. Of type size_t without a cast. */
#define UVCH_BROADCAST_CAPACITY_MAX ((sizeof(char) << 25) - 1)
#define UVCH_BROADCAST_ITEM_MAX (sizeof(char) << 30)

/* What happens to a receiver that falls behind. */
typedef enum {
  UVCH_BROADCAST_LAG = 0,
  UVCH_BROADCAST_WAIT,
  UVCH_BROADCAST_DISCONNECT
} uvch_broadcast_policy;

/* uvch_broadcast_recv_cb: a message, a gap, or the end.
 *
 * status 0: `item` points to one message, aligned as its size asks, good until the callback returns, whatever that closes or
 * runs. Other receivers see the same bytes: they are not to be changed. status above 0: so many messages were missed before the
 * next one (all above INT_MAX are INT_MAX); `item` is NULL. UV_EOF, UV_ECONNABORTED: no more will come; `item` is NULL. Comes
 * once. */
typedef void (*uvch_broadcast_recv_cb)(uvch_broadcast_receiver_t* rx, int status, const void* item);

/* uvch_broadcast_recv_many_cb: several messages, a gap, or the end.
 *
 * status 0: `count` messages, at least 1; the first is at `first`, each next one `stride` bytes further, good as above. Any other
 * status as above; `first` is NULL, `count` 0. */
typedef void (*uvch_broadcast_recv_many_cb)(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride,
                                            size_t count);

/* uvch_broadcast_send_cb: a request is done. status above 0: the message is in, and so many receivers were subscribed then.
 * UV_EPIPE (no receiver is left), UV_ECANCELED (uvch_cancel): it is the caller's again. */
typedef void (*uvch_broadcast_send_cb)(uvch_broadcast_send_t* req, int status);

/* uvch_broadcast_closed_cb: a request is done. status 0: there was no receiver just now. UV_ECANCELED: uvch_cancel. */
typedef void (*uvch_broadcast_closed_cb)(uvch_broadcast_closed_t* req, int status);

/* Rare settings of a channel. Set all to 0 first.
 *
 * Messages that own things: the channel keeps one value of each message; receive callbacks see that one, and calls that copy a
 * message out make a value of their own with `copy`. `drop` ends the channel's value once the last receiver that was subscribed
 * when it was sent has read it, gone, or missed it; where callbacks read it, after the messages that are delivered to that
 * receiver together. None is called under a lock, and both may call every function. */
typedef struct uvch_broadcast_options_s {
  uvch_broadcast_policy policy;
  uvch_copy_cb copy; /* makes a value of its own for try_recv and the like; NULL: the bytes are enough */
  uvch_drop_cb drop; /* ends the channel's value, on the thread of who read it last, closed, or overwrote it; NULL: needless */
  void* arg;         /* for copy and drop; good until drop has had every message */
  void* reserved[4];
} uvch_broadcast_options_t;

/* One way into a channel. May be moved by bytes, also inside a message. */
struct uvch_broadcast_sender_s {
  /* private */
  void* core;
};

/* A sender that keeps nothing open and cannot send: it can be made a sender again as long as there is another. May be moved by
 * bytes, also inside a message. */
struct uvch_broadcast_weak_sender_s {
  /* private */
  void* core;
};

/* One of the ways out of a channel. */
struct uvch_broadcast_receiver_s {
  UVCH_HANDLE_FIELDS
  /* private */
  uvch_broadcast_recv_cb recv_cb;
  uvch_broadcast_recv_many_cb recv_many_cb;
  uint64_t cursor;
  uint64_t missed;
  uint32_t index;
  uint32_t recv_max;
  void* reserved_recv[3];
};

/* A send that waits. */
struct uvch_broadcast_send_s {
  UVCH_REQ_FIELDS
  /* private */
  uvch_broadcast_send_cb cb;
};

/* A wait for the end of the last receiver. */
struct uvch_broadcast_closed_s {
  UVCH_REQ_FIELDS
  /* private */
  uvch_broadcast_closed_cb cb;
};

/* Making a channel. */

/* uvch_broadcast_init: make a channel of messages of `item_size` bytes that keeps the last `capacity` of them, 1 to
 * UVCH_BROADCAST_CAPACITY_MAX, a first sender, and a first receiver, unless `rx` is NULL.
 *
 * `loop` may be NULL: the receiver then serves a plain thread, or is bound later with uvch_attach(). Without `rx` it is not
 * looked at.
 *
 * Threads:  with a loop, the thread that runs it, or will; without, any.
 * Returns 0, UV_EINVAL (NULL for `tx`, capacity 0 or too large, message too large), UV_EPERM (another thread runs that loop),
 * UV_ENOMEM, UV_EMFILE (no descriptor left). On an error rx and tx are untouched. */
UVCH_EXTERN int uvch_broadcast_init(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx,
                                    size_t item_size, size_t capacity);

/* uvch_broadcast_init_ex: the same with options; NULL for none. UV_EINVAL also for an unknown policy. */
UVCH_EXTERN int uvch_broadcast_init_ex(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx,
                                       size_t item_size, size_t capacity, const uvch_broadcast_options_t* options);

/* uvch_broadcast_subscribe: make `rx` a receiver of everything that is sent from now on, also if there was none for a while.
 * `loop` as in uvch_broadcast_init().
 *
 * Threads:  with a loop, the thread that runs it, or will; without, any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed sender), UV_EPERM, UV_ENOMEM, UV_EMFILE. On an error rx is untouched. */
UVCH_EXTERN int uvch_broadcast_subscribe(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, const uvch_broadcast_sender_t* tx);

/* uvch_broadcast_resubscribe: the same from a receiver, which stays as it is: `rx` does not get what that one has not read yet.
 * If no sender is left, the new one is at its end at once.
 *
 * Threads:  the thread of `source`, and that of `loop`.
 * Returns as uvch_broadcast_subscribe(); UV_EINVAL also if both are the same, UV_EBADF if `source` is closed, UV_ECONNABORTED
 * if it was told that it is cut off. */
UVCH_EXTERN int uvch_broadcast_resubscribe(uv_loop_t* loop, uvch_broadcast_receiver_t* rx,
                                           const uvch_broadcast_receiver_t* source);

/* Sending. */

/* uvch_broadcast_sender_clone: make `copy` another sender of the same channel, with a life of its own.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 senders). */
UVCH_EXTERN int uvch_broadcast_sender_clone(const uvch_broadcast_sender_t* tx, uvch_broadcast_sender_t* copy);

/* uvch_broadcast_sender_close: give a sender up. After the last one, and when no request waits to send, each receiver gets what
 * it has not read, then UV_EOF.
 *
 * Threads:  any; not while another thread uses the same struct (clones do not matter).
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed before: harmless). */
UVCH_EXTERN int uvch_broadcast_sender_close(uvch_broadcast_sender_t* tx);

/* uvch_broadcast_send: send a copy of `item` to all receivers. It never waits.
 *
 * Threads:   any; many at once, through one sender or several.
 * Ordering:  all sends have one order. What the caller did before a send that succeeds happens before the callbacks for it.
 * Ownership: 0 or above, the channel owns the message; on an error the caller still does. The oldest message, if it has to go, is
 *            given to the drop function by this call.
 * Returns how many receivers are subscribed, at least 1; they may go before they read it, and one that DISCONNECT has cut off
 * counts until its own loop or thread has noticed. UV_EPIPE (no receiver: nothing is kept; a later send may succeed, after a
 * subscribe), UV_EAGAIN (WAIT: no room, or others wait), UV_ENOMEM, UV_EINVAL (NULL; `item` may be NULL if messages have size 0),
 * UV_EBADF (closed sender). */
UVCH_EXTERN int uvch_broadcast_send(const uvch_broadcast_sender_t* tx, const void* item);

/* uvch_broadcast_send_many: send copies of `count` messages that lie one after the other at `items`, without waiting, as many as
 * there is room for. Cheaper than one by one; messages of other senders may come between them.
 *
 * Threads, ordering:  as uvch_broadcast_send().
 * Ownership: the first n are the channel's if n is returned, the rest is the caller's; on an error all are the caller's.
 * Returns how many went in, 0 only for a count of 0; less than `count` if the last receiver went, room (WAIT) or memory ran out.
 * An error as uvch_broadcast_send() if none went in; UV_EINVAL also for a count above INT_MAX. */
UVCH_EXTERN int uvch_broadcast_send_many(const uvch_broadcast_sender_t* tx, const void* items, size_t count);

/* uvch_broadcast_queue_send: send a copy of `item`, waiting for room without blocking: `cb` comes on `loop` once the message is
 * in. First come, first served, together with threads that wait; only with WAIT there is anything to wait for, else the callback
 * comes at once, but never from inside the call.
 *
 * `item` stays put and unchanged until the callback. The request keeps `loop` alive, and counts as a sender: `tx` may be closed
 * meanwhile.
 *
 * Threads:   the thread that runs `loop`, or will.
 * Ownership: 0, as the callback's status says; on error the caller's. Returns 0, UV_EPIPE, UV_ENOMEM, UV_EBADF as
 * uvch_broadcast_send(), UV_EINVAL (that, or NULL for another argument), UV_EPERM (another thread runs that loop), UV_EMFILE. */
UVCH_EXTERN int uvch_broadcast_queue_send(uv_loop_t* loop, uvch_broadcast_send_t* req, const uvch_broadcast_sender_t* tx,
                                          const void* item, uvch_broadcast_send_cb cb);

/* uvch_broadcast_send_wait: send a copy of `item`; the thread sleeps while there is no room (WAIT).
 *
 * Threads:  any; where it would have to sleep, any but those that run a receiver's loop.
 * Returns as uvch_broadcast_send(), never UV_EAGAIN; UV_EPERM (it would have to sleep on a receiver's loop). */
UVCH_EXTERN int uvch_broadcast_send_wait(const uvch_broadcast_sender_t* tx, const void* item);

/* uvch_broadcast_send_timedwait: the same for at most `timeout` nanoseconds. The send is tried before the clock is looked at.
 *
 * Returns as uvch_broadcast_send_wait(), UV_ETIMEDOUT: the message is the caller's, its place in the queue is lost. */
UVCH_EXTERN int uvch_broadcast_send_timedwait(const uvch_broadcast_sender_t* tx, const void* item, uint64_t timeout);

/* Weak senders, and how many of each there are. */

/* uvch_broadcast_sender_downgrade: make `weak` a weak sender of the same channel. `tx` stays as it is.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 weak senders). */
UVCH_EXTERN int uvch_broadcast_sender_downgrade(const uvch_broadcast_sender_t* tx, uvch_broadcast_weak_sender_t* weak);

/* uvch_broadcast_weak_sender_upgrade: make `tx` a sender if there is another one, or a request that waits to send; whether there
 * are receivers does not matter. `weak` stays as it is. Once it said UV_EPIPE it says so for ever.
 *
 * Threads:  any.
 * Returns 0, UV_EPIPE (no sender is left), UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 senders). */
UVCH_EXTERN int uvch_broadcast_weak_sender_upgrade(const uvch_broadcast_weak_sender_t* weak, uvch_broadcast_sender_t* tx);

/* uvch_broadcast_weak_sender_clone: make `copy` another one.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 weak senders). */
UVCH_EXTERN int uvch_broadcast_weak_sender_clone(const uvch_broadcast_weak_sender_t* weak, uvch_broadcast_weak_sender_t* copy);

/* uvch_broadcast_weak_sender_close: give a weak sender up.
 *
 * Threads:  any; not while another thread uses the same struct.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed before: harmless). */
UVCH_EXTERN int uvch_broadcast_weak_sender_close(uvch_broadcast_weak_sender_t* weak);

/* Counts of senders (open ones, and requests that wait to send), and of weak senders. 0 for a closed end, and for a receiver that
 * was told that it is cut off. Others change them meanwhile.
 *
 * Threads:  any; for a receiver its own. */
UVCH_EXTERN size_t uvch_broadcast_sender_strong_count(const uvch_broadcast_sender_t* tx);
UVCH_EXTERN size_t uvch_broadcast_sender_weak_count(const uvch_broadcast_sender_t* tx);
UVCH_EXTERN size_t uvch_broadcast_weak_sender_strong_count(const uvch_broadcast_weak_sender_t* weak);
UVCH_EXTERN size_t uvch_broadcast_weak_sender_weak_count(const uvch_broadcast_weak_sender_t* weak);
UVCH_EXTERN size_t uvch_broadcast_receiver_strong_count(const uvch_broadcast_receiver_t* rx);
UVCH_EXTERN size_t uvch_broadcast_receiver_weak_count(const uvch_broadcast_receiver_t* rx);

/* The end of the receivers. */

/* uvch_broadcast_closed: `cb` comes on `loop` when there is no receiver: it is looked again right before the callback, so a new
 * subscriber in between keeps it waiting. The request does not count as a sender. It keeps `loop` alive. Any number may wait, on
 * any loops; all are told.
 *
 * Threads:  the thread that runs `loop`, or will.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed sender), UV_ENOMEM, UV_EPERM (another thread runs that loop), UV_EMFILE. */
UVCH_EXTERN int uvch_broadcast_closed(uv_loop_t* loop, uvch_broadcast_closed_t* req, const uvch_broadcast_sender_t* tx,
                                      uvch_broadcast_closed_cb cb);

/* uvch_broadcast_closed_wait: the thread sleeps until there is no receiver.
 *
 * Threads:  any; where it would have to sleep, any but those that run a receiver's loop.
 * Returns 0, UV_EPERM (it would have to sleep on a receiver's loop), UV_EINVAL (NULL), UV_EBADF (closed sender), UV_ENOMEM. */
UVCH_EXTERN int uvch_broadcast_closed_wait(const uvch_broadcast_sender_t* tx);

/* uvch_broadcast_closed_timedwait: the same for at most `timeout` nanoseconds; UV_ETIMEDOUT if there was always one. */
UVCH_EXTERN int uvch_broadcast_closed_timedwait(const uvch_broadcast_sender_t* tx, uint64_t timeout);

/* What a sender can ask. */

/* uvch_broadcast_sender_receiver_count: receivers that are subscribed; 0 for a closed sender. Threads: any. */
UVCH_EXTERN size_t uvch_broadcast_sender_receiver_count(const uvch_broadcast_sender_t* tx);

/* uvch_broadcast_sender_len: messages that are kept because some receiver has not read them, at most the capacity; 0 for a closed
 * sender. Others change it meanwhile. Threads: any. */
UVCH_EXTERN size_t uvch_broadcast_sender_len(const uvch_broadcast_sender_t* tx);

/* uvch_broadcast_sender_is_empty: 1 if uvch_broadcast_sender_len() is 0, else 0. Threads: any. */
UVCH_EXTERN int uvch_broadcast_sender_is_empty(const uvch_broadcast_sender_t* tx);

/* uvch_broadcast_sender_capacity: what the channel was made with; 0 for a closed sender. Threads: any. */
UVCH_EXTERN size_t uvch_broadcast_sender_capacity(const uvch_broadcast_sender_t* tx);

/* uvch_broadcast_sender_same_channel: 1 if both are open senders of one channel, else 0. Threads: any. */
UVCH_EXTERN int uvch_broadcast_sender_same_channel(const uvch_broadcast_sender_t* a, const uvch_broadcast_sender_t* b);

/* Receiving. One thread at a time for one receiver: the loop's, or without a loop the thread that owns it. */

/* uvch_broadcast_recv_start: let messages come to `cb`, as uv_read_start(). The handle is active until recv_stop, the end or
 * close. On a channel that has ended, `cb` gets UV_EOF once for every start.
 *
 * Returns 0, UV_EINVAL (NULL, or no loop), UV_EALREADY (started), UV_EBADF (closed), UV_ECONNABORTED (it was told before). */
UVCH_EXTERN int uvch_broadcast_recv_start(uvch_broadcast_receiver_t* rx, uvch_broadcast_recv_cb cb);

/* uvch_broadcast_recv_many_start: the same, with up to `max` messages in one callback: those that are there, it never waits for
 * more. Each counts as one for the loop's budget, which may cut a batch. A callback gets at most 64, of large messages fewer,
 * down to 1, and at most 16 of those that own something.
 *
 * Returns as uvch_broadcast_recv_start(); UV_EINVAL also for a max of 0. */
UVCH_EXTERN int uvch_broadcast_recv_many_start(uvch_broadcast_receiver_t* rx, size_t max, uvch_broadcast_recv_many_cb cb);

/* uvch_broadcast_recv_stop: no more callbacks until the next start. The receiver stays subscribed, and falls behind. Harmless
 * when not started.
 *
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_broadcast_recv_stop(uvch_broadcast_receiver_t* rx);

/* uvch_broadcast_try_recv: copy the next message to `item` without waiting. Works with a loop too, started or not.
 *
 * Ownership: the copy is the caller's; it was made with the channel's copy function, if that has one.
 * Returns 0; above 0, so many messages were missed, `item` is untouched, and the next call gets the oldest that is kept;
 * UV_EAGAIN (nothing now), UV_EOF (the end, every time), UV_ECONNABORTED (cut off, every time), UV_EINVAL (NULL;
 * `item` may be NULL if messages have size 0), UV_EBADF (closed), UV_ENOTSUP (messages have a drop function and none to copy:
 * only callbacks can see them; nothing is taken). What the copy function says if it fails: the message counts as read. */
UVCH_EXTERN int uvch_broadcast_try_recv(uvch_broadcast_receiver_t* rx, void* item);

/* uvch_broadcast_recv_wait: the same; the thread sleeps until there is something. Only for a receiver without a loop.
 *
 * Returns as uvch_broadcast_try_recv(), never UV_EAGAIN; UV_EPERM (the receiver has a loop), UV_ENOMEM (cannot sleep). */
UVCH_EXTERN int uvch_broadcast_recv_wait(uvch_broadcast_receiver_t* rx, void* item);

/* uvch_broadcast_recv_timedwait: the same for at most `timeout` nanoseconds; what is there is taken before the clock is looked
 * at.
 *
 * Returns as uvch_broadcast_recv_wait(), UV_ETIMEDOUT: nothing was taken. */
UVCH_EXTERN int uvch_broadcast_recv_timedwait(uvch_broadcast_receiver_t* rx, void* item, uint64_t timeout);

/* uvch_broadcast_receiver_missed: how many messages the last gap had that was reported to this receiver; 0 if there was none. */
UVCH_EXTERN uint64_t uvch_broadcast_receiver_missed(const uvch_broadcast_receiver_t* rx);

/* uvch_broadcast_receiver_len: messages sent and not read by this receiver, those that are lost to it and not reported yet
 * included: more than the capacity means that a gap comes next. 0 once closed or cut off. */
UVCH_EXTERN size_t uvch_broadcast_receiver_len(const uvch_broadcast_receiver_t* rx);

/* uvch_broadcast_receiver_is_empty: 1 if uvch_broadcast_receiver_len() is 0, else 0. */
UVCH_EXTERN int uvch_broadcast_receiver_is_empty(const uvch_broadcast_receiver_t* rx);

/* uvch_broadcast_receiver_is_closed: 1 if no sender is left, or it is cut off or closed: no new message can come. Messages may
 * still be there to read. */
UVCH_EXTERN int uvch_broadcast_receiver_is_closed(const uvch_broadcast_receiver_t* rx);

/* uvch_broadcast_receiver_same_channel: 1 if neither is closed, or told that it is cut off, and both are of one channel; else
 * 0. */
UVCH_EXTERN int uvch_broadcast_receiver_same_channel(const uvch_broadcast_receiver_t* a, const uvch_broadcast_receiver_t* b);

#ifdef __cplusplus
}
#endif
#endif
