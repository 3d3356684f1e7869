/* SPDX-License-Identifier: MIT
 *
 * What all channels share: handles, requests, the loop. */
#ifndef UVCH_CORE_H
#define UVCH_CORE_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include <uvch/version.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Handle types. */
typedef enum {
  UVCH_UNKNOWN_HANDLE = 0,
  UVCH_MPSC_RECEIVER,
  UVCH_INBOX,
  UVCH_ONESHOT_RECEIVER,
  UVCH_BROADCAST_RECEIVER,
  UVCH_WATCH_RECEIVER,
} uvch_handle_type;

/* Request types. */
typedef enum {
  UVCH_UNKNOWN_REQ = 0,
  UVCH_MPSC_SEND,
  UVCH_MPSC_RESERVE,
  UVCH_MPSC_CLOSED,
  UVCH_ONESHOT_CLOSED,
  UVCH_CALL,
  UVCH_BROADCAST_SEND,
  UVCH_BROADCAST_CLOSED,
  UVCH_WATCH_WAIT_FOR,
  UVCH_WATCH_CLOSED,
} uvch_req_type;

/* What can be set for a loop, see uvch_loop_configure(). */
typedef enum {
  UVCH_LOOP_BUDGET_MESSAGES = 1, /* messages delivered in one pass of the loop; 4,096 to begin with, at least 1 */
  UVCH_LOOP_BUDGET_TIME,         /* nanoseconds of delivering in one pass of the loop; 1,000,000 to begin with, at least 1 */
  UVCH_LOOP_HOT_MAX              /* longest time in nanoseconds that an idle loop polls for the next message before it sleeps,
                                    after a first look of at most 2,000; 0: never; at most 1,000,000. On one processor it never
                                    polls, and instead lets others run once, if this is not 0 */
} uvch_loop_option;

/* How a channel is made; flags for its options. */
enum {
  UVCH_PREALLOCATE = 1 /* make the storage of a bounded channel at once, not with the first message */
};

/* The longest name of a channel, without the 0 at its end. */
#define UVCH_NAME_MAX 31

/* Handle types. */
typedef struct uvch_handle_s uvch_handle_t;
typedef struct uvch_mpsc_sender_s uvch_mpsc_sender_t;
typedef struct uvch_mpsc_weak_sender_s uvch_mpsc_weak_sender_t;
typedef struct uvch_mpsc_permit_s uvch_mpsc_permit_t;
typedef struct uvch_mpsc_receiver_s uvch_mpsc_receiver_t;
typedef struct uvch_oneshot_sender_s uvch_oneshot_sender_t;
typedef struct uvch_oneshot_receiver_s uvch_oneshot_receiver_t;
typedef struct uvch_broadcast_sender_s uvch_broadcast_sender_t;
typedef struct uvch_broadcast_weak_sender_s uvch_broadcast_weak_sender_t;
typedef struct uvch_broadcast_receiver_s uvch_broadcast_receiver_t;
typedef struct uvch_watch_sender_s uvch_watch_sender_t;
typedef struct uvch_watch_receiver_s uvch_watch_receiver_t;

/* Request types. */
typedef struct uvch_req_s uvch_req_t;
typedef struct uvch_mpsc_send_s uvch_mpsc_send_t;
typedef struct uvch_mpsc_reserve_s uvch_mpsc_reserve_t;
typedef struct uvch_mpsc_closed_s uvch_mpsc_closed_t;
typedef struct uvch_oneshot_closed_s uvch_oneshot_closed_t;
typedef struct uvch_call_s uvch_call_t;
typedef struct uvch_broadcast_send_s uvch_broadcast_send_t;
typedef struct uvch_broadcast_closed_s uvch_broadcast_closed_t;
typedef struct uvch_watch_wait_for_s uvch_watch_wait_for_t;
typedef struct uvch_watch_closed_s uvch_watch_closed_t;

/* Callbacks. */
typedef void (*uvch_close_cb)(uvch_handle_t* handle);
typedef void (*uvch_walk_cb)(uvch_handle_t* handle, void* arg);

/* uvch_drop_cb: gets a message that was taken and will not be delivered; `arg` is the channel's. It is called without any lock on
 * the thread that closes the receiver, and on no other, but for a reply that comes too late: that is dropped on the thread that
 * calls uvch_reply(). `item` is good until it returns. Where a channel keeps one value for many receivers it ends that value, on
 * the thread of who is done with it last, see uvch_broadcast_options_t and uvch_watch_options_t. */
typedef void (*uvch_drop_cb)(void* item, void* arg);

/* uvch_copy_cb: makes `to` a value of its own out of `from`, which stays as it is; `arg` is the channel's. `to` has room for a
 * message, and nothing in it yet. It is called without any lock, perhaps on several threads at once for the same `from`.
 *
 * Returns 0, or a negative libuv code: nothing was made. */
typedef int (*uvch_copy_cb)(void* to, const void* from, void* arg);

#define UVCH_HANDLE_FIELDS     \
  /* public */                 \
  void* data;                  \
  /* read-only */              \
  uv_loop_t* loop;             \
  uvch_handle_type type;       \
  /* private */                \
  unsigned int flags;          \
  void* queue[2];              \
  uvch_close_cb close_cb;      \
  uvch_handle_t* closing_next; \
  void* core;                  \
  void* port;                  \
  void* reserved[3];

/* The base of every handle. */
struct uvch_handle_s {
  UVCH_HANDLE_FIELDS
};

#define UVCH_REQ_FIELDS \
  /* public */          \
  void* data;           \
  /* read-only */       \
  uv_loop_t* loop;      \
  uvch_req_type type;   \
  /* private */         \
  int status;           \
  void* core;           \
  void* port;           \
  void* queue[2];       \
  void* endpoint[3];    \
  uint64_t waiter[8];   \
  void* reserved[4];

/* The base of every request. */
struct uvch_req_s {
  UVCH_REQ_FIELDS
};

/* uvch_attach: bind a receiver that was made without a loop to `loop`, once.
 *
 * Threads:  the thread that runs the loop, or will. It must not be in use elsewhere.
 * Returns 0, UV_EINVAL (NULL), UV_EALREADY (it has a loop), UV_EBADF (closed), UV_EPERM (another thread runs that loop),
 * UV_ENOMEM, UV_EMFILE (no descriptor left).
 *
 * Where a function of the library may say UV_EMFILE it says UV_ENFILE or UV_ENOSPC if that is what the system has told it. When
 * the first call on a loop has failed, that may have the library's handles until its next pass: before uv_loop_close() run it
 * once, with UV_RUN_NOWAIT. */
UVCH_EXTERN int uvch_attach(uv_loop_t* loop, uvch_handle_t* handle);

/* uvch_close: close a handle. What is queued goes to the channel's drop function before this returns; senders get UV_EPIPE from
 * now on. One of several receivers of a broadcast channel takes with it only what nobody else has to read, and senders get
 * UV_EPIPE when it was the last. That of a watch channel gives up what it has borrowed, and its wait_for request ends with
 * UV_ECANCELED; sends go on to succeed. `cb` may be NULL; it comes later, from the loop, as the last callback of the handle. The
 * handle keeps its loop alive until then.
 *
 * A receiver without a loop is closed at once; its `cb` must be NULL.
 *
 * If the program closed the library's own handles in a walk over the loop, `cb` needs a loop that is still open; without one,
 * pass NULL.
 *
 * Threads:  the loop's.
 * Returns 0, UV_EINVAL (NULL, not a handle, or a callback without a loop), UV_EALREADY (closed before), UV_ENOMEM and
 * UV_EMFILE (only after such a walk, and only with a callback: nothing is closed then). */
UVCH_EXTERN int uvch_close(uvch_handle_t* handle, uvch_close_cb cb);

/* uvch_close_all: uvch_close(handle, NULL) for every handle of `loop` that is not closing yet.
 *
 * Threads:  the loop's, or any while the loop does not run.
 * Returns how many it closed, UV_EINVAL (NULL). */
UVCH_EXTERN int uvch_close_all(uv_loop_t* loop);

/* uvch_walk: call `cb` for every handle of `loop`, closing ones included. The callback may close, make and attach handles, and
 * walk; those that are made during the walk are not visited.
 *
 * Threads:  the loop's, or any while the loop does not run. */
UVCH_EXTERN void uvch_walk(uv_loop_t* loop, uvch_walk_cb cb, void* arg);

/* uvch_ref, uvch_unref: whether the handle keeps its loop alive while it is active. On to begin with; calling one twice changes
 * nothing.
 *
 * Threads:  the loop's. */
UVCH_EXTERN void uvch_ref(uvch_handle_t* handle);
UVCH_EXTERN void uvch_unref(uvch_handle_t* handle);

/* uvch_has_ref: 1 if the handle would keep its loop alive while active, else 0.
 *
 * Threads:  the loop's. */
UVCH_EXTERN int uvch_has_ref(const uvch_handle_t* handle);

/* uvch_is_active: 1 if the handle waits for something: a receiver between recv_start, recv_many_start or start and its
 * stop, end or close, a oneshot's receiver between uvch_oneshot_recv and its callback. Else 0.
 *
 * Threads:  the loop's. */
UVCH_EXTERN int uvch_is_active(const uvch_handle_t* handle);

/* uvch_is_closing: 1 from uvch_close() on, else 0.
 *
 * Threads:  the loop's. */
UVCH_EXTERN int uvch_is_closing(const uvch_handle_t* handle);

/* uvch_handle_get_loop, _get_type, _get_data, _set_data: the fields, for languages that cannot read them. The loop is NULL before
 * uvch_attach().
 *
 * Threads:  the loop's. */
UVCH_EXTERN uv_loop_t* uvch_handle_get_loop(const uvch_handle_t* handle);
UVCH_EXTERN uvch_handle_type uvch_handle_get_type(const uvch_handle_t* handle);
UVCH_EXTERN void* uvch_handle_get_data(const uvch_handle_t* handle);
UVCH_EXTERN void uvch_handle_set_data(uvch_handle_t* handle, void* data);

/* uvch_cancel: give up a request that waits. Its callback comes with UV_ECANCELED; what it has not sent is the caller's again. A
 * call is given up also when its message was taken.
 *
 * Threads:  the request's loop.
 * Returns 0, UV_EINVAL (NULL, not a request), UV_EBUSY (done, or just being served: the callback comes with another status). */
UVCH_EXTERN int uvch_cancel(uvch_req_t* req);

/* uvch_owns_handle: 1 if `handle` is one that the library keeps on the loop for itself, else 0. For programs that walk their loop
 * with uv_walk() and close what they find: leave these alone, they close themselves with the last uvch handle and request. A
 * program that closes them all the same, and then all of them, gets no callbacks of the library on that loop any more, close
 * callbacks that were due included (in a receive callback: but for messages that were being delivered to that receiver
 * together); senders get UV_EPIPE, but those of a watch channel only have a receiver less. It cancels its waiting requests
 * before, not after, and runs the loop until their callbacks have come (a reservation that has just been granted holds its
 * places until then), closes its inboxes before, and uvch_close()s its receivers before or after. The request of a call that was
 * not cancelled must stay where it is until the reply's sender is used up, and a reply is dropped on that sender's thread.
 *
 * Threads:  the loop's. */
UVCH_EXTERN int uvch_owns_handle(const uv_handle_t* handle);

/* uvch_loop_configure: set `option` of `loop` to `value`, see uvch_loop_option. It holds as long as the loop has a uvch handle or
 * request; on a loop without one it holds until the end of the loop's next pass, so make the handles before running it.
 *
 * While an idle loop polls, uv_run() with UV_RUN_ONCE may return without having waited, prepare and check callbacks run more
 * often, and uv_metrics_idle_time() does not count the time.
 *
 * Threads:  the loop's.
 * Returns 0, UV_EINVAL (NULL, unknown option, value out of range), UV_EPERM (another thread runs that loop), UV_ENOMEM,
 * UV_EMFILE. */
UVCH_EXTERN int uvch_loop_configure(uv_loop_t* loop, uvch_loop_option option, uint64_t value);

/* uvch_loop_fork: make the loop's channels work in a forked child; call it there after uv_loop_fork(), for every loop that goes
 * on, before any other function of the library. Fork on the loop's own thread, or while that runs no callback. Messages that were
 * in the channels are delivered in both processes. Threads other than the one that forked do not exist in the child: what they
 * were about to send is not there, and senders that only they knew stay open, so such a channel gets no UV_EOF in the child. A
 * request that one of them was serving may end with UV_ECANCELED though its message has been delivered, and places that one of
 * them was about to grant stay reserved. Receivers of a broadcast or watch channel that other threads had stay there; and such a
 * channel without any receiver or request on such a loop must not be used in the child.
 *
 * Threads:  the only one there is.
 * Returns 0 (also for a loop without uvch handles), UV_EINVAL (NULL), UV_ENOMEM, UV_EMFILE. On an error nothing is delivered; it
 * can be called again. */
UVCH_EXTERN int uvch_loop_fork(uv_loop_t* loop);

#ifdef __cplusplus
}
#endif
#endif
