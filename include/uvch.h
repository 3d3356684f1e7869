/* uvch: channels for libuv programs.
 *
 * SPDX-License-Identifier: MIT
 *
 * A channel moves messages between threads and event loops. Its receiver is a handle on a `uv_loop_t`: messages come as callbacks
 * on the loop's own thread. Its senders sit on any thread, with or without a loop.
 *
 *   mpsc       many senders, one receiver: work queues and commands. Bounded with backpressure, or unbounded. <uvch/mpsc.h>
 *   oneshot    one value, once: a result, the end of a job.                                                   <uvch/oneshot.h>
 *   broadcast  many senders, many receivers, each sees every message; who falls behind is told by how much.   <uvch/broadcast.h>
 *   watch      one current value, its senders, and receivers that learn when it has changed.                   <uvch/watch.h>
 *   call       a message through an mpsc channel and its reply, as one request: commands to a loop's state.   <uvch/call.h>
 *   inbox      any thread lets a loop call a function, or stops it.                                           <uvch/inbox.h>
 *
 * Channels of one C type, checked by the compiler: <uvch/typed.h>. What a channel has done so far: <uvch/stats.h>.
 *
 * Rules that hold for every call
 *
 *   Results     0 or a count, or a negative libuv code; uv_strerror() knows every one of them.
 *   Callbacks   A call that returns an error never calls its callback. One that returns 0 calls it exactly once, from the loop,
 *               never from inside the call. After a handle's close callback no other callback of that handle comes. Functions
 *               that copy, drop, change or test a value are called as it needs them, and are no callbacks in this sense.
 *   Memory      Handles and requests are the caller's and do not move; the handle of an inbox is the library's. A handle's
 *               memory may be reused in or after its close callback, a request's from its callback on. Senders are small structs
 *               that may be copied by bytes, as a move, also inside a message; weak senders, permits and inboxes too.
 *   Messages    Values of a size fixed at creation, copied in and out. A pointer is an 8-byte value; size 0 is a pure signal.
 *               An answer >= 0 takes the message (of several as many, from the first); any error leaves it with the caller.
 *               What was taken is delivered once, or is given once to the channel's drop function. A broadcast channel keeps
 *               one value for all: each receiver sees it once, or is told that it missed it, and who is done with it last
 *               gives it once to the drop function. A watch channel has one value in all, which the next send replaces, seen or
 *               not; it goes to the drop function when it is replaced and nobody looks at it. A oneshot sender inside a message
 *               goes with it: who drops the message closes that sender.
 *   Order       FIFO per sender. What a sender did before a send that succeeded happens before the callback for that message.
 *               UV_EOF never overtakes a message, nor the last value of a watch channel.
 *   Locks       None is held over user code: a callback may call every function, close its own handle, and run its loop
 *               with UV_RUN_NOWAIT.
 *   Waiting     The name tells: _wait and _timedwait, the calling thread sleeps. Else a function with a callback waits on a
 *               loop, and one without, a try_ or the send of a oneshot, broadcast or watch, does its work at once.
 *
 * Which thread may call what
 *
 *                                       loop's thread      any other thread
 *   init, subscribe without a loop           yes                yes
 *   init, subscribe with a loop, attach      yes                no: UV_EPERM once the loop has run
 *   receiver: recv_*, close, ref, walk       yes                no
 *   watch receiver: start, borrow, mark_*    yes                no
 *   receiver without a loop                  one thread at a time
 *   sender: try_send, clone, counters        yes                yes, many at once through one struct
 *   broadcast sender: send, send_many        yes                yes, many at once through one struct
 *   watch sender: send*, modify*             yes                yes, many at once through one struct
 *   watch sender: borrow                     yes                yes; one thread at a time for one struct
 *   receiver: resubscribe, clone             on the thread of the receiver that is there, and that of the new one's loop
 *   any sender, call: *_wait                 not on the loop of a receiver: UV_EPERM; elsewhere yes
 *   oneshot sender: send, close, reply       yes                yes; one thread at a time for one struct
 *   sender, weak sender, inbox: close        yes                yes; excludes other uses of that same struct
 *   permit: send, release, split             yes                yes; one thread at a time for one struct
 *   requests: send, reserve, call, closed,
 *     wait_for                               on the loop that the request is made for; uvch_cancel too
 *   a broadcast's copy and drop functions    are called by every thread that sends to it, receives from it, or closes
 *   those of a watch                         are called by every thread that sends, modifies, looks at values, or closes
 *   inbox: init                              yes                no: UV_EPERM once the loop has run
 *   inbox: post, stop, clone                 yes                yes, many at once through one struct
 *   statistics                               yes                yes, as long as nobody closes that end
 *   from a signal handler                    only uvch_mpsc_try_send(), on some channels, see there
 */
#ifndef UVCH_H
#define UVCH_H

#include <uvch/version.h>
#include <uvch/alloc.h>
#include <uvch/core.h>
#include <uvch/mpsc.h>
#include <uvch/oneshot.h>
#include <uvch/broadcast.h>
#include <uvch/watch.h>
#include <uvch/call.h>
#include <uvch/inbox.h>
#include <uvch/stats.h>
#include <uvch/typed.h>

#endif
