/* SPDX-License-Identifier: MIT
 *
 * watch: one current value, many senders, many receivers. Configuration, state, shutdown.
 *
 * A receiver does not get every value: it learns that the value has changed, and then sees the newest one. Who is slow, or
 * sleeps, skips what came between, and holds nobody back.
 *
 * Each value has a version; every send is a new one, also of an equal value. A receiver has *seen* a version or not; a new
 * one has seen the value that is there. The last value reaches every receiver before UV_EOF.
 *
 *   state of a receiver                   has_changed   changed_wait          callback              wait_for
 *   it has seen the newest value          0             waits                 waits                 tests it once, then waits
 *   it has not                            1             0, and it has now     status 0, the value   tests it, and it has now
 *   no sender is left, it has not seen
 *     the last value                      UV_EOF        0, and it has now     status 0, the value   tests it, and it has now
 *   no sender is left, and it has         UV_EOF        UV_EOF                UV_EOF once; then     tests it once, then UV_EOF
 *                                                                             the handle is inactive
 *
 * Values do not change while anybody looks at them: a send puts a new one in the place of the old one, which stays until nobody
 * looks at it any more. So a borrowed value may be kept while others send, and one may send while holding one; nothing blocks.
 * A receiver or sender holds at most one borrowed value: it is good until the next borrow through that handle, or its close. */
#ifndef UVCH_WATCH_H
#define UVCH_WATCH_H

#include <uvch/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The largest value, 1 GiB. Of type size_t without a cast. */
#define UVCH_WATCH_VALUE_MAX (sizeof(char) << 30)

/* Flags for uvch_watch_start(). */
enum {
  UVCH_WATCH_CURRENT = 1 /* the value that is there counts as a change, also if it has been seen */
};

/* uvch_watch_cb: the value has changed, or the end.
 *
 * status 0: `value` is the newest value (if values come in faster than callbacks go out, one that was the newest a moment
 * ago, and another callback comes), aligned for every type its size allows, good until the callback returns, whatever that
 * closes, sends or runs. It counts as seen. Others look at the same bytes: they are not to be changed. UV_EOF: no sender is
 * left, and the last value has been seen; `value` is NULL. Comes once. */
typedef void (*uvch_watch_cb)(uvch_watch_receiver_t* rx, int status, const void* value);

/* uvch_watch_modify_cb: change `value`, which is a copy of the current one that nobody else sees yet; `arg` is the caller's.
 * It is called without any lock and may call everything.
 *
 * Returns, for uvch_watch_modify(): 0 or above: store it. For uvch_watch_modify_if(): above 0: store it; 0: leave the current
 * one. A negative libuv code gives up: nothing changes, and the caller gets that code. */
typedef int (*uvch_watch_modify_cb)(void* value, void* arg);

/* uvch_watch_predicate_cb: is this the value that is waited for? Not to be changed, good until this returns; `arg` is the
 * caller's. It is called without any lock and may call everything.
 *
 * Returns above 0: yes; 0: no; a negative libuv code ends the wait with that code. */
typedef int (*uvch_watch_predicate_cb)(const void* value, void* arg);

/* uvch_watch_wait_for_cb: a request is done. status 0: `value` is the one that the predicate said yes to, good until the
 * callback returns. Else `value` is NULL: UV_EOF (no sender is left, and the predicate said no to the last value), UV_ECANCELED
 * (uvch_cancel, or the receiver was closed; then it comes before the close callback), or what the predicate said. */
typedef void (*uvch_watch_wait_for_cb)(uvch_watch_wait_for_t* req, int status, const void* value);

/* uvch_watch_closed_cb: a request is done. status 0: there was no receiver just now. UV_ECANCELED: uvch_cancel. */
typedef void (*uvch_watch_closed_cb)(uvch_watch_closed_t* req, int status);

/* Rare settings. Set all to 0 first.
 *
 * Values that own things: the channel owns one value of each version; who looks at it sees that one. `copy` makes values of
 * their own for uvch_watch_modify() and uvch_watch_send_replace(). `drop` ends a value that has been replaced once nobody
 * looks at it any more, and the last one when all senders and receivers are closed. None is called under a lock, and both may
 * call every function. */
typedef struct uvch_watch_options_s {
  uvch_copy_cb copy; /* NULL: the bytes are enough */
  uvch_drop_cb drop; /* on the thread that replaced the value or, if it was looked at then, that was done with it last; NULL:
                        needless */
  void* arg;         /* for copy and drop; good until drop has had every value */
  void* reserved[4];
} uvch_watch_options_t;

/* A way to set the value. May be moved by bytes, also inside a message. */
struct uvch_watch_sender_s {
  /* private */
  void* core;
  void* borrowed;
  uint64_t version;
};

/* A way to see it. */
struct uvch_watch_receiver_s {
  UVCH_HANDLE_FIELDS
  /* private */
  uvch_watch_cb cb;
  uint64_t seen;
  uint64_t version;
  void* channel;
  void* borrowed;
  uvch_watch_wait_for_t* waits;
  uvch_close_cb closed_cb;
  unsigned char was_unseen;
  unsigned char reserved_watch[7];
};

/* A wait for a value. */
struct uvch_watch_wait_for_s {
  UVCH_REQ_FIELDS
  /* private */
  uvch_watch_predicate_cb predicate;
  void* arg;
  uvch_watch_wait_for_cb cb;
};

/* A wait for the end of the last receiver. */
struct uvch_watch_closed_s {
  UVCH_REQ_FIELDS
  /* private */
  uvch_watch_closed_cb cb;
};

/* Making a channel. */

/* uvch_watch_init: make a channel whose value has `value_size` bytes and is a copy of `initial` to begin with, a first
 * sender, and a first receiver, unless `rx` is NULL. The receiver has seen that value.
 *
 * `loop` may be NULL: the receiver then serves a plain thread, or is bound later with uvch_attach(). Without `rx` it is not
 * looked at.
 *
 * Threads:   with a loop, the thread that runs it, or will; without, any.
 * Ownership: 0, the channel owns the value; on an error the caller still does.
 * Returns 0, UV_EINVAL (NULL for `tx`, or for `initial` unless the size is 0; value too large), UV_EPERM (another thread runs
 * that loop), UV_ENOMEM, UV_EMFILE (no descriptor left). On an error rx and tx are untouched. */
UVCH_EXTERN int uvch_watch_init(uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx, size_t value_size,
                                const void* initial);

/* uvch_watch_init_ex: the same with options; NULL for none. */
UVCH_EXTERN int uvch_watch_init_ex(uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx, size_t value_size,
                                   const void* initial, const uvch_watch_options_t* options);

/* uvch_watch_subscribe: make `rx` another receiver, also if there was none for a while. It has seen the value that is there;
 * for a callback with it, start with UVCH_WATCH_CURRENT. `loop` as in uvch_watch_init().
 *
 * Threads:  with a loop, the thread that runs it, or will; without, any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed sender), UV_EPERM, UV_ENOMEM, UV_EMFILE. On an error rx is untouched. */
UVCH_EXTERN int uvch_watch_subscribe(uv_loop_t* loop, uvch_watch_receiver_t* rx, const uvch_watch_sender_t* tx);

/* uvch_watch_receiver_clone: the same from a receiver: `rx` has seen what `source` has seen, and goes its own way from then on.
 *
 * Threads:  the thread of `source`, and that of `loop`.
 * Returns as uvch_watch_subscribe(); UV_EINVAL also if both are the same, UV_EBADF if `source` is closed. */
UVCH_EXTERN int uvch_watch_receiver_clone(uv_loop_t* loop, uvch_watch_receiver_t* rx, const uvch_watch_receiver_t* source);

/* Senders. */

/* uvch_watch_sender_clone: make `copy` another sender of the same channel, with a life of its own, and nothing borrowed.
 *
 * Threads:  any.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (2^30 senders). */
UVCH_EXTERN int uvch_watch_sender_clone(const uvch_watch_sender_t* tx, uvch_watch_sender_t* copy);

/* uvch_watch_sender_close: give a sender up, and what is borrowed through it. After the last one each receiver gets the last
 * value, if it has not seen it, then UV_EOF.
 *
 * Threads:  any; not while another thread uses the same struct (clones do not matter).
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed before: harmless). */
UVCH_EXTERN int uvch_watch_sender_close(uvch_watch_sender_t* tx);

/* uvch_watch_send: a copy of `value` is the current value from now on, whether there are receivers or not. It never waits.
 *
 * Threads:   any; many at once, through one sender or several.
 * Ordering:  all sends have one order. What the caller did before a send that succeeds happens before whoever sees that value.
 * Ownership: 0, the channel owns the value; on an error the caller still does. The old value is given to the drop function by
 *            this call, unless somebody looks at it.
 * Returns 0, UV_ENOMEM, UV_EINVAL (NULL; `value` may be NULL if values have size 0), UV_EBADF (closed sender). */
UVCH_EXTERN int uvch_watch_send(const uvch_watch_sender_t* tx, const void* value);

/* uvch_watch_send_replace: the same, and the value that was there before comes out into `old`: by its bytes if nobody looks
 * at it, else as a copy, made with the channel's copy function, if that has one. If another value comes in while
 * that copies, it copies again. The call counts as a sender until it returns.
 *
 * Threads, ordering:  as uvch_watch_send().
 * Ownership: 0, `old` is the caller's; on an error nothing has changed.
 * Returns as uvch_watch_send(); UV_EINVAL also for NULL for `old`, unless values have size 0; UV_ENOTSUP (values have a drop
 * function and none to copy); what the copy function says if it fails. */
UVCH_EXTERN int uvch_watch_send_replace(const uvch_watch_sender_t* tx, const void* value, void* old);

/* uvch_watch_modify: let `modify` change a copy of the current value, and store it. If another value came in meanwhile, that
 * copy is given up, and it is done again with a copy of the new one, at most 8 times; so `modify` may run more than once.
 * The call counts as a sender until it returns, whatever `modify` closes.
 *
 * Threads, ordering:  as uvch_watch_send(). `modify` is called in this call.
 * Ownership: copies are made with the channel's copy function, and given up with its drop function, if it has them.
 * Returns 0, UV_EBUSY (8 times another value came first: nothing was stored), UV_ENOMEM, UV_EINVAL (NULL), UV_EBADF (closed
 * sender), UV_ENOTSUP (values have a drop function and none to copy); what `modify` or the copy function says if it fails. */
UVCH_EXTERN int uvch_watch_modify(const uvch_watch_sender_t* tx, uvch_watch_modify_cb modify, void* arg);

/* uvch_watch_modify_if: the same, but only if `modify` says so the copy is stored; else it is given up, and nothing has
 * changed for anybody.
 *
 * Returns 1 (stored), 0 (not), or an error as uvch_watch_modify(). */
UVCH_EXTERN int uvch_watch_modify_if(const uvch_watch_sender_t* tx, uvch_watch_modify_cb modify, void* arg);

/* uvch_watch_sender_borrow: the current value. It is good until the next borrow through this sender, or its close, and is
 * kept as long; a borrow while nothing has changed returns the same pointer.
 *
 * Threads:  any; one at a time for one struct: clone it for others.
 * Returns NULL for NULL, and for a closed sender. */
UVCH_EXTERN const void* uvch_watch_sender_borrow(uvch_watch_sender_t* tx);

/* What a sender can ask. Others change it meanwhile. Threads: any. */

/* uvch_watch_sender_receiver_count, _sender_count: open receivers, open senders; 0 for a closed sender. */
UVCH_EXTERN size_t uvch_watch_sender_receiver_count(const uvch_watch_sender_t* tx);
UVCH_EXTERN size_t uvch_watch_sender_sender_count(const uvch_watch_sender_t* tx);

/* uvch_watch_sender_is_closed: 1 if there is no receiver, or the sender is closed; else 0. Subscribing makes it 0 again. */
UVCH_EXTERN int uvch_watch_sender_is_closed(const uvch_watch_sender_t* tx);

/* uvch_watch_sender_same_channel: 1 if both are open senders of one channel, else 0. */
UVCH_EXTERN int uvch_watch_sender_same_channel(const uvch_watch_sender_t* a, const uvch_watch_sender_t* b);

/* The end of the receivers. */

/* uvch_watch_closed: `cb` comes on `loop` when there is no receiver: it is looked again right before the callback, so a new
 * one in between keeps it waiting. The request does not count as a sender. It keeps `loop` alive. Any number may wait, on any
 * loops; all are told.
 *
 * Threads:  the thread that runs `loop`, or will.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed sender), UV_ENOMEM, UV_EPERM (another thread runs that loop), UV_EMFILE. */
UVCH_EXTERN int uvch_watch_closed(uv_loop_t* loop, uvch_watch_closed_t* req, const uvch_watch_sender_t* tx,
                                  uvch_watch_closed_cb cb);

/* uvch_watch_closed_wait: the thread sleeps until there is no receiver.
 *
 * Threads:  any; where it would have to sleep, any but those that run a receiver's loop.
 * Returns 0, UV_EPERM (it would have to sleep on a receiver's loop), UV_EINVAL (NULL), UV_EBADF (closed sender), UV_ENOMEM. */
UVCH_EXTERN int uvch_watch_closed_wait(const uvch_watch_sender_t* tx);

/* uvch_watch_closed_timedwait: the same for at most `timeout` nanoseconds; UV_ETIMEDOUT if there was always one. */
UVCH_EXTERN int uvch_watch_closed_timedwait(const uvch_watch_sender_t* tx, uint64_t timeout);

/* Receiving. One thread at a time for one receiver: the loop's, or without a loop the thread that owns it. */

/* uvch_watch_start: let `cb` know of changes, from the loop, never from inside this call. A change that has not been seen yet
 * counts. The handle is active until stop, the end or close. On a channel that has ended, `cb` gets UV_EOF once for every
 * start. While values come by the hundred between two callbacks, and the loop has to share its processor, the next callback may
 * come a millisecond later than it could.
 *
 * flags: 0 or UVCH_WATCH_CURRENT.
 * Returns 0, UV_EINVAL (NULL, no loop, unknown flag), UV_EALREADY (started, or a request waits), UV_EBADF (closed). */
UVCH_EXTERN int uvch_watch_start(uvch_watch_receiver_t* rx, uvch_watch_cb cb, unsigned int flags);

/* uvch_watch_stop: no more callbacks until the next start. Harmless when not started.
 *
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_watch_stop(uvch_watch_receiver_t* rx);

/* uvch_watch_borrow: the current value, also after the last sender has gone; whether it has been seen stays as it is. It is
 * good until the next borrow through this receiver (of these two and wait_for), or its close, and is kept as long. While
 * nothing has changed this is a load and a comparison, and returns the same pointer.
 *
 * Returns NULL for NULL, and for a closed receiver. */
UVCH_EXTERN const void* uvch_watch_borrow(uvch_watch_receiver_t* rx);

/* uvch_watch_borrow_and_update: the same, and exactly the version that it returns counts as seen. */
UVCH_EXTERN const void* uvch_watch_borrow_and_update(uvch_watch_receiver_t* rx);

/* uvch_watch_borrow_has_changed: 1 if the value that was borrowed last had not been seen by this receiver before, else 0. For
 * that of a wait: if the first value that it tested had not been seen, and was the one. 0 if nothing is borrowed. */
UVCH_EXTERN int uvch_watch_borrow_has_changed(const uvch_watch_receiver_t* rx);

/* uvch_watch_has_changed: whether there is a value that this receiver has not seen. It does not count as seen by that.
 *
 * Returns 1, 0, UV_EOF (no sender is left, whatever has been seen), UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_watch_has_changed(const uvch_watch_receiver_t* rx);

/* uvch_watch_mark_changed, uvch_watch_mark_unchanged: the current value counts as not seen; as seen. A started receiver has a
 * callback for the first.
 *
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_watch_mark_changed(uvch_watch_receiver_t* rx);
UVCH_EXTERN int uvch_watch_mark_unchanged(uvch_watch_receiver_t* rx);

/* uvch_watch_wait_for: `cb` comes on the receiver's loop with the first value that `predicate` says yes to: the current one is
 * tested first, also if it has been seen, then the newest after each change; values may be skipped. Each value that is tested
 * counts as seen. The predicate is called from the loop, never from inside this call, and not twice for one version. The
 * request keeps the loop alive. Only while the receiver is not started, one at a time.
 *
 * Returns 0, UV_EINVAL (NULL, or no loop), UV_EALREADY (started, or another request waits), UV_EBADF (closed, or the program has
 * closed the library's own handles of that loop). */
UVCH_EXTERN int uvch_watch_wait_for(uvch_watch_wait_for_t* req, uvch_watch_receiver_t* rx, uvch_watch_predicate_cb predicate,
                                    void* arg, uvch_watch_wait_for_cb cb);

/* uvch_watch_wait_for_wait: the same for a thread, which sleeps. Only for a receiver without a loop. On 0 `value`, unless
 * it is NULL, gets the value that the predicate said yes to, borrowed as by uvch_watch_borrow(); else it is left alone. The
 * predicate may do with the receiver what it likes, but its memory stays the receiver's until this returns.
 *
 * Returns 0, UV_EOF (no sender is left, and the predicate said no to the last value), what the predicate said, UV_EPERM (the
 * receiver has a loop), UV_EINVAL (NULL), UV_EBADF (closed, also by the predicate), UV_ENOMEM (cannot sleep). */
UVCH_EXTERN int uvch_watch_wait_for_wait(uvch_watch_receiver_t* rx, uvch_watch_predicate_cb predicate, void* arg,
                                         const void** value);

/* uvch_watch_wait_for_timedwait: the same for at most `timeout` nanoseconds; what is there is tested before the clock is
 * looked at.
 *
 * Returns as uvch_watch_wait_for_wait(), UV_ETIMEDOUT. */
UVCH_EXTERN int uvch_watch_wait_for_timedwait(uvch_watch_receiver_t* rx, uvch_watch_predicate_cb predicate, void* arg,
                                              const void** value, uint64_t timeout);

/* uvch_watch_changed_wait: the thread sleeps until there is a value that has not been seen, and marks it seen. Only for a
 * receiver without a loop.
 *
 * Returns 0, UV_EOF (no sender is left, and the last value has been seen; every time), UV_EPERM (the receiver has a loop),
 * UV_EINVAL (NULL), UV_EBADF (closed), UV_ENOMEM (cannot sleep). */
UVCH_EXTERN int uvch_watch_changed_wait(uvch_watch_receiver_t* rx);

/* uvch_watch_changed_timedwait: the same for at most `timeout` nanoseconds; what is there is taken before the clock is looked
 * at.
 *
 * Returns as uvch_watch_changed_wait(), UV_ETIMEDOUT: nothing counts as seen. */
UVCH_EXTERN int uvch_watch_changed_timedwait(uvch_watch_receiver_t* rx, uint64_t timeout);

/* uvch_watch_receiver_same_channel: 1 if neither is closed, and both are of one channel; else 0. */
UVCH_EXTERN int uvch_watch_receiver_same_channel(const uvch_watch_receiver_t* a, const uvch_watch_receiver_t* b);

#ifdef __cplusplus
}
#endif
#endif
