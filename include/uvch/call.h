/* SPDX-License-Identifier: MIT
 *
 * Calls: a message through an mpsc channel, and a reply. For the actor pattern: one loop owns a state, the others send it
 * commands.
 *
 *   struct get {
 *     char key[32];
 *     uvch_oneshot_sender_t reply;
 *   };
 *
 *   caller   uvch_call(loop, &call, &commands, &get, &get.reply, sizeof(struct answer), on_answer);
 *   actor    uvch_reply(&get->reply, &answer);
 *
 * The caller's message has a place for the sender of the reply, which the call fills in. The actor takes the sender out of the
 * message and replies at once or later, from any thread. It must use it up: a command channel should have a drop function that
 * closes the senders in commands that are not delivered, so that their callers get UV_EOF and do not wait for ever.
 *
 * Take a call for a request with one reply: it needs no handle and no close, waits for room by itself, and has a timeout. Take
 * a oneshot of your own where the receiver lives on without a request, is made on one thread and attached on another, or is
 * renewed. */
#ifndef UVCH_CALL_H
#define UVCH_CALL_H

#include <uvch/core.h>
#include <uvch/mpsc.h>
#include <uvch/oneshot.h>

#ifdef __cplusplus
extern "C" {
#endif

/* uvch_call_cb: a call is done, once.
 *
 * status 0: `reply` points to the reply, aligned as its size asks, good until the callback returns. Else `reply` is NULL.
 * UV_EOF: the message was taken, and there will be no reply. UV_EPIPE: the channel closed while the call waited for room;
 * the message is the caller's. UV_ECANCELED (uvch_cancel), UV_ETIMEDOUT: nobody waits for the reply any more;
 * `req->is_sent` tells whether the message was taken, else it is the caller's again. */
typedef void (*uvch_call_cb)(uvch_call_t* req, int status, void* reply);

/* Rare settings of a call. Set all to 0 first. */
typedef struct uvch_call_options_s {
  uint64_t timeout;  /* nanoseconds from uv_now() until UV_ETIMEDOUT, rounded up to milliseconds; 0: never */
  uvch_drop_cb drop; /* gets a reply that nobody will get, also a late one, see uvch_reply(); NULL: there is none */
  void* arg;         /* for drop; good as long as a reply may come */
  void* reserved[4];
} uvch_call_options_t;

/* A call that waits for its reply. */
struct uvch_call_s {
  UVCH_REQ_FIELDS
  /* read-only */
  int is_sent; /* 1 if the channel has taken the message, good from the callback on */
  /* private */
  int end;
  uvch_call_cb cb;
  uvch_oneshot_sender_t* reply;
  void* oneshot;
  uint64_t timer[5];
  void* reserved_call[1];
};

/* uvch_call: send `message` through `tx`, waiting for room if it is full, and let the reply come to `cb` on `loop`.
 *
 * `reply` is a place inside the message, where the sender of a oneshot for `reply_size` bytes is put. When the call has failed,
 * and from the callback on, the caller's copy of it is used up, so that the message may be given to the channel's drop function.
 * `message` stays put and unchanged until the callback. The request keeps `loop` alive; while it waits for room it counts as a
 * sender, and waits in one line with those who send. uvch_cancel() ends it with UV_ECANCELED, also when the message has been
 * taken; UV_EBUSY if the reply is there already.
 *
 * Threads:   the thread that runs `loop`, or will.
 * Ownership: 0, the message is the channel's or, until there is room, the call's; on an error it is the caller's.
 * Returns 0, UV_EPIPE, UV_ENOMEM, UV_EBADF as uvch_mpsc_try_send(), UV_EINVAL (NULL, a reply that is too large, or
 * `reply` is not inside the message), UV_EPERM (another thread runs that loop), UV_EMFILE. */
UVCH_EXTERN int uvch_call(uv_loop_t* loop, uvch_call_t* req, const uvch_mpsc_sender_t* tx, void* message,
                          uvch_oneshot_sender_t* reply, size_t reply_size, uvch_call_cb cb);

/* uvch_call_ex: the same with options; NULL for none. */
UVCH_EXTERN int uvch_call_ex(uv_loop_t* loop, uvch_call_t* req, const uvch_mpsc_sender_t* tx, void* message,
                             uvch_oneshot_sender_t* reply, size_t reply_size, const uvch_call_options_t* options, uvch_call_cb cb);

/* uvch_call_wait: send `message`; the thread sleeps until the reply is there, which is copied to `item`, of `reply_size` bytes.
 *
 * Threads:  any but the one that runs the channel's receiver.
 * Returns 0, UV_EOF (the message was taken, there will be no reply), UV_EPERM (called on the receiver's loop), UV_EPIPE,
 * UV_ENOMEM, UV_EBADF as uvch_mpsc_send_wait(), UV_EINVAL as uvch_call(). */
UVCH_EXTERN int uvch_call_wait(const uvch_mpsc_sender_t* tx, void* message, uvch_oneshot_sender_t* reply, void* item,
                               size_t reply_size);

/* uvch_call_timedwait: the same for at most `timeout` nanoseconds. UV_ETIMEDOUT: nobody waits for the reply any more; the message
 * was taken if `is_sent`, which may be NULL, is set to 1, else it is the caller's. There is no drop function: a late uvch_reply()
 * says UV_EPIPE. */
UVCH_EXTERN int uvch_call_timedwait(const uvch_mpsc_sender_t* tx, void* message, uvch_oneshot_sender_t* reply, void* item,
                                    size_t reply_size, uint64_t timeout, int* is_sent);

/* uvch_reply: send a reply. One that comes too late, since the call was cancelled or timed out, is given to the drop function of
 * the call or oneshot, on this thread, so that the actor need not care; without such a function it is as uvch_oneshot_send().
 *
 * Threads:   any.
 * Ownership: with 0 and 1 the value is not the caller's any more; on an error it is.
 * Returns 0 (the receiver owns the reply), 1 (too late: it was dropped), UV_EPIPE (too late, and there is no drop function),
 * UV_EBADF (used up or closed before), UV_EINVAL (NULL; `item` may be NULL if the reply has size 0). */
UVCH_EXTERN int uvch_reply(uvch_oneshot_sender_t* tx, const void* item);

#ifdef __cplusplus
}
#endif
#endif
