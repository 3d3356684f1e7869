/* SPDX-License-Identifier: MIT
 *
 * Channels of one C type, checked by the compiler. It costs nothing: each function is inline and only calls the untyped one (but
 * see watch below).
 *
 *   UVCH_MPSC_DEFINE(lines, struct line);
 *
 * once, outside of functions, in a source file or a header, makes for messages of type `struct line`:
 *
 *   lines_item_t                                       the type itself
 *   lines_sender_t, lines_weak_sender_t,               the ends, each a struct with the untyped one in its only member `base`;
 *   lines_permit_t, lines_receiver_t                   a sender of another channel type cannot be passed for a lines_sender_t
 *   lines_recv_cb, lines_recv_many_cb                  receive callbacks that get a lines_receiver_t* and messages as struct line*
 *   lines_init(loop, &rx, &tx, capacity), lines_init_ex(loop, &rx, &tx, capacity, options)
 *   lines_attach(loop, &rx), lines_close(&rx, cb)      uvch_attach(), uvch_close()
 *   lines_recv_at(first, stride, i)                    in a lines_recv_many_cb: the i-th message, from 0
 *   lines_try_send(), lines_send_wait(), ...           for every other uvch_mpsc_X() a lines_X() with the same arguments, in the
 *                                                      same order and with the same results, documented in <uvch/mpsc.h>
 *
 *   UVCH_ONESHOT_DEFINE(answers, struct answer);
 *
 * does the same for oneshots whose value is a `struct answer`, and for calls whose reply is one:
 *
 *   answers_item_t, answers_sender_t, answers_receiver_t, answers_recv_cb
 *   answers_init(loop, &rx, &tx), answers_init_ex(loop, &rx, &tx, options)
 *   answers_attach(loop, &rx), answers_close(&rx, cb)
 *   answers_send(), answers_recv(), ...                for every other uvch_oneshot_X() an answers_X(), see <uvch/oneshot.h>
 *   answers_call_t, answers_call_cb                    a struct with the untyped request in its only member `base`; a callback
 *                                                      that gets an answers_call_t* and the reply as struct answer*
 *   answers_call(loop, &req, &tx, &message, &message.reply, cb), answers_call_ex(..., options, cb)
 *   answers_call_wait(&tx, &message, &message.reply, &answer), answers_call_timedwait(..., &answer, timeout, &is_sent)
 *   answers_reply(&message->reply, &answer)            uvch_call() and so on without the size, see <uvch/call.h>
 *
 * `message.reply` is an answers_sender_t, so the reply is checked on both sides, where it is awaited and where it is sent. The
 * channel that the message goes through is any: `tx` is an untyped sender, `&lines_tx.base` of a typed one, and the message is
 * not checked against it.
 *
 *   UVCH_BROADCAST_DEFINE(news, struct headline);
 *
 * does it for broadcast channels whose messages are a `struct headline`:
 *
 *   news_item_t, news_sender_t, news_weak_sender_t, news_receiver_t
 *   news_recv_cb, news_recv_many_cb                    receive callbacks that get a news_receiver_t* and messages as
 *                                                      const struct headline*: other receivers see the same ones
 *   news_init(loop, &rx, &tx, capacity), news_init_ex(loop, &rx, &tx, capacity, options)
 *   news_attach(loop, &rx), news_close(&rx, cb), news_recv_at(first, stride, i)
 *   news_subscribe(), news_send(), ...                 for every other uvch_broadcast_X() a news_X(), see <uvch/broadcast.h>
 *
 *   UVCH_WATCH_DEFINE(config, struct settings);
 *
 * does it for watch channels whose value is a `struct settings`:
 *
 *   config_value_t, config_sender_t, config_receiver_t
 *   config_cb                                          a callback that gets a config_receiver_t* and a const struct settings*
 *   config_modify_cb, config_predicate_cb              get the value as struct settings*, and as const struct settings*
 *   config_wait_for_t, config_wait_for_cb              a struct with the untyped request in its member `base`; a callback that
 *                                                      gets a config_wait_for_t* and a const struct settings*
 *   config_init(loop, &rx, &tx, &initial), config_init_ex(loop, &rx, &tx, &initial, options)
 *   config_attach(loop, &rx), config_close(&rx, cb)
 *   config_send(), config_borrow(), ...                for every other uvch_watch_X() a config_X(), see <uvch/watch.h>
 *
 * The functions that are given to config_modify(), config_modify_if() and the three config_wait_for are called by way of a small
 * one that knows their type: one call more, which is all that this front ever costs.
 *
 * Other requests, their callbacks, options, drop and copy functions are the untyped ones. For what works on any handle or
 * request, a pointer to a typed receiver may be cast to uvch_handle_t*, one to a typed call or config_wait_for_t to uvch_req_t*,
 * and their `data` is rx.base.data and req.base.data. To go over to the untyped calls, or to a library that uses them, pass
 * &tx.base.
 *
 * `type` is any complete type that can be written before a name: give function pointers and arrays a typedef or put them into a
 * struct. It is copied by bytes, so C++ refuses one that is not trivially copyable. One larger than UVCH_MPSC_ITEM_MAX,
 * UVCH_ONESHOT_ITEM_MAX, UVCH_BROADCAST_ITEM_MAX or UVCH_WATCH_VALUE_MAX does not compile. Messages of size 0, pure signals, have
 * no C type: use the untyped calls.
 *
 * C++ refuses a wrong type. In C it is an error since gcc 14, while older compilers only warn: -Werror=incompatible-pointer-types
 * makes it one. A void* passes for any message in C.
 *
 * Callbacks that get a message are cast: the library calls a lines_recv_cb as the uvch_mpsc_recv_cb that differs from it in what
 * two of its pointers point to. Where indirect calls are checked for the exact type (-fsanitize=cfi-icall, -fsanitize=function),
 * give uvch_mpsc_recv_start(&rx.base, cb), uvch_mpsc_recv_many_start(), the two of broadcast, uvch_oneshot_recv(), uvch_call(),
 * uvch_call_ex() and uvch_watch_start() untyped callbacks instead; the rest can stay typed. */
#ifndef UVCH_TYPED_H
#define UVCH_TYPED_H

#include <uvch/core.h>
#include <uvch/mpsc.h>
#include <uvch/oneshot.h>
#include <uvch/broadcast.h>
#include <uvch/watch.h>
#include <uvch/call.h>

/* UVCH_MPSC_DEFINE: define the typed channel `name` for messages of type `type`. Takes a semicolon. */
#define UVCH_MPSC_DEFINE(name, type)                            \
  UVCH_TYPED_ENDS_(name, mpsc, type, UVCH_TYPED_MUTABLE_)       \
  UVCH_TYPED_STREAM_ENDS_(name, mpsc, UVCH_TYPED_MUTABLE_)      \
  UVCH_TYPED_HANDLE_(name)                                      \
  UVCH_TYPED_SENDER_(name, mpsc)                                \
  UVCH_TYPED_RECEIVER_(name, mpsc)                              \
  UVCH_TYPED_ONE_RECEIVER_(name, mpsc)                          \
  UVCH_TYPED_STREAM_MAKING_(name, mpsc)                         \
  UVCH_TYPED_STREAM_SENDING_(name, mpsc)                        \
  UVCH_TYPED_STREAM_WEAK_(name, mpsc)                           \
  UVCH_TYPED_STREAM_SENDER_ASKS_(name, mpsc)                    \
  UVCH_TYPED_STREAM_RECEIVING_(name, mpsc, UVCH_TYPED_MUTABLE_) \
  UVCH_TYPED_STREAM_RECEIVER_ASKS_(name, mpsc)                  \
  UVCH_TYPED_MPSC_SENDING_(name)                                \
  UVCH_TYPED_MPSC_SENDING_MANY_(name)                           \
  UVCH_TYPED_MPSC_PERMITS_(name)                                \
  UVCH_TYPED_MPSC_RECEIVING_MANY_(name)                         \
  UVCH_TYPED_MPSC_CAPACITY_(name)                               \
  UVCH_TYPED_CHECKS_(type, UVCH_MPSC_ITEM_MAX)

/* UVCH_ONESHOT_DEFINE: define the typed oneshot `name` for a value of type `type`, and calls with such a reply. Takes a
 * semicolon. */
#define UVCH_ONESHOT_DEFINE(name, type)                      \
  UVCH_TYPED_ENDS_(name, oneshot, type, UVCH_TYPED_MUTABLE_) \
  UVCH_TYPED_HANDLE_(name)                                   \
  UVCH_TYPED_SENDER_(name, oneshot)                          \
  UVCH_TYPED_RECEIVER_(name, oneshot)                        \
  UVCH_TYPED_ONE_RECEIVER_(name, oneshot)                    \
  UVCH_TYPED_ONESHOT_(name)                                  \
  UVCH_TYPED_CALL_(name)                                     \
  UVCH_TYPED_CHECKS_(type, UVCH_ONESHOT_ITEM_MAX)

/* UVCH_BROADCAST_DEFINE: define the typed broadcast channel `name` for messages of type `type`. Takes a semicolon. */
#define UVCH_BROADCAST_DEFINE(name, type)              \
  UVCH_TYPED_ENDS_(name, broadcast, type, const)       \
  UVCH_TYPED_STREAM_ENDS_(name, broadcast, const)      \
  UVCH_TYPED_HANDLE_(name)                             \
  UVCH_TYPED_SENDER_(name, broadcast)                  \
  UVCH_TYPED_RECEIVER_(name, broadcast)                \
  UVCH_TYPED_STREAM_MAKING_(name, broadcast)           \
  UVCH_TYPED_STREAM_SENDING_(name, broadcast)          \
  UVCH_TYPED_STREAM_WEAK_(name, broadcast)             \
  UVCH_TYPED_STREAM_SENDER_ASKS_(name, broadcast)      \
  UVCH_TYPED_STREAM_RECEIVING_(name, broadcast, const) \
  UVCH_TYPED_STREAM_RECEIVER_ASKS_(name, broadcast)    \
  UVCH_TYPED_BROADCAST_(name)                          \
  UVCH_TYPED_CHECKS_(type, UVCH_BROADCAST_ITEM_MAX)

/* UVCH_WATCH_DEFINE: define the typed watch channel `name` for a value of type `type`. Takes a semicolon. */
#define UVCH_WATCH_DEFINE(name, type)   \
  UVCH_TYPED_WATCH_ENDS_(name, type)    \
  UVCH_TYPED_HANDLE_(name)              \
  UVCH_TYPED_SENDER_(name, watch)       \
  UVCH_TYPED_WATCH_MAKING_(name)        \
  UVCH_TYPED_WATCH_SENDING_(name)       \
  UVCH_TYPED_WATCH_SENDER_ASKS_(name)   \
  UVCH_TYPED_WATCH_MODIFYING_(name)     \
  UVCH_TYPED_WATCH_RECEIVING_(name)     \
  UVCH_TYPED_WATCH_RECEIVER_ASKS_(name) \
  UVCH_TYPED_WATCH_WAITING_(name)       \
  UVCH_TYPED_CHECKS_(type, UVCH_WATCH_VALUE_MAX)

/* All below is how it is done. Parameters end in _ because the program may have a variable of the plain name (-Wshadow). */

#ifdef __GNUC__
#define UVCH_TYPED_FN_ __attribute__((unused)) static inline
#else
#define UVCH_TYPED_FN_ static inline
#endif

/* Casts that a C++ compiler with -Wold-style-cast is content with too. */
#ifdef __cplusplus
#define UVCH_TYPED_CAST_(type, value) (reinterpret_cast<type>(value))
#else
#define UVCH_TYPED_CAST_(type, value) ((type) (value))
#endif

/* What stands for "not const" where a callback's messages are the receiver's own. */
#define UVCH_TYPED_MUTABLE_

/* The untyped end in a typed one; NULL stays NULL. */
#define UVCH_TYPED_BASE_(end) ((end) ? &(end)->base : NULL)

/* A typed callback as an untyped one. By way of the one function type that -Wcast-function-type takes for any. */
typedef void (*uvch_typed_any_cb_)(void);
#define UVCH_TYPED_CB_(type, cb) UVCH_TYPED_CAST_(type, UVCH_TYPED_CAST_(uvch_typed_any_cb_, cb))

/* What must hold for the type. Comes last: the program's semicolon ends it. */
#ifdef __cplusplus
#define UVCH_TYPED_CHECKS_(type, max)                                                                       \
  static_assert(__is_trivially_copyable(type), #type " cannot be a message: it is not trivially copyable"); \
  static_assert(sizeof(type) <= max, #type " is larger than " #max)
#else
#define UVCH_TYPED_CHECKS_(type, max) _Static_assert(sizeof(type) <= max, #type " is larger than " #max)
#endif

/*
 * What all kinds have; `kind` is mpsc, oneshot, broadcast or watch, `constness` of what callbacks get
 */

/* The types; watch has others. */
#define UVCH_TYPED_ENDS_(name, kind, type, constness) \
  typedef type name##_item_t;                         \
  typedef struct name##_sender_s {                    \
    uvch_##kind##_sender_t base;                      \
  } name##_sender_t;                                  \
  typedef struct name##_receiver_s {                  \
    uvch_##kind##_receiver_t base;                    \
  } name##_receiver_t;                                \
  typedef void (*name##_recv_cb)(name##_receiver_t * rx, int status, constness name##_item_t* item);

/* A receiver is a handle. */
#define UVCH_TYPED_HANDLE_(name)                                               \
  UVCH_TYPED_FN_ int name##_attach(uv_loop_t* loop_, name##_receiver_t* rx_) { \
    return uvch_attach(loop_, UVCH_TYPED_CAST_(uvch_handle_t*, rx_));          \
  }                                                                            \
  UVCH_TYPED_FN_ int name##_close(name##_receiver_t* rx_, uvch_close_cb cb_) { \
    return uvch_close(UVCH_TYPED_CAST_(uvch_handle_t*, rx_), cb_);             \
  }

/* The end of a sender, and of the receivers as a sender sees it. */
#define UVCH_TYPED_SENDER_(name, kind)                                                                         \
  UVCH_TYPED_FN_ int name##_sender_close(name##_sender_t* tx_) {                                               \
    return uvch_##kind##_sender_close(UVCH_TYPED_BASE_(tx_));                                                  \
  }                                                                                                            \
  UVCH_TYPED_FN_ int name##_closed(uv_loop_t* loop_, uvch_##kind##_closed_t* req_, const name##_sender_t* tx_, \
                                   uvch_##kind##_closed_cb cb_) {                                              \
    return uvch_##kind##_closed(loop_, req_, UVCH_TYPED_BASE_(tx_), cb_);                                      \
  }                                                                                                            \
  UVCH_TYPED_FN_ int name##_closed_wait(const name##_sender_t* tx_) {                                          \
    return uvch_##kind##_closed_wait(UVCH_TYPED_BASE_(tx_));                                                   \
  }                                                                                                            \
  UVCH_TYPED_FN_ int name##_closed_timedwait(const name##_sender_t* tx_, uint64_t timeout_) {                  \
    return uvch_##kind##_closed_timedwait(UVCH_TYPED_BASE_(tx_), timeout_);                                    \
  }

/* Receiving one message. Not for watch, whose value stays. */
#define UVCH_TYPED_RECEIVER_(name, kind)                                                                      \
  UVCH_TYPED_FN_ int name##_recv_stop(name##_receiver_t* rx_) {                                               \
    return uvch_##kind##_recv_stop(UVCH_TYPED_BASE_(rx_));                                                    \
  }                                                                                                           \
  UVCH_TYPED_FN_ int name##_try_recv(name##_receiver_t* rx_, name##_item_t* item_) {                          \
    return uvch_##kind##_try_recv(UVCH_TYPED_BASE_(rx_), item_);                                              \
  }                                                                                                           \
  UVCH_TYPED_FN_ int name##_recv_wait(name##_receiver_t* rx_, name##_item_t* item_) {                         \
    return uvch_##kind##_recv_wait(UVCH_TYPED_BASE_(rx_), item_);                                             \
  }                                                                                                           \
  UVCH_TYPED_FN_ int name##_recv_timedwait(name##_receiver_t* rx_, name##_item_t* item_, uint64_t timeout_) { \
    return uvch_##kind##_recv_timedwait(UVCH_TYPED_BASE_(rx_), item_, timeout_);                              \
  }                                                                                                           \
  UVCH_TYPED_FN_ int name##_receiver_is_empty(const name##_receiver_t* rx_) {                                 \
    return uvch_##kind##_receiver_is_empty(UVCH_TYPED_BASE_(rx_));                                            \
  }

/* What there is only with one receiver: mpsc, oneshot. */
#define UVCH_TYPED_ONE_RECEIVER_(name, kind)                               \
  UVCH_TYPED_FN_ int name##_sender_is_closed(const name##_sender_t* tx_) { \
    return uvch_##kind##_sender_is_closed(UVCH_TYPED_BASE_(tx_));          \
  }                                                                        \
  UVCH_TYPED_FN_ int name##_recv_shutdown(name##_receiver_t* rx_) {        \
    return uvch_##kind##_recv_shutdown(UVCH_TYPED_BASE_(rx_));             \
  }

/*
 * What the kinds with many messages have; `kind` is mpsc or broadcast
 */

/* The other types. */
#define UVCH_TYPED_STREAM_ENDS_(name, kind, constness)                                                                   \
  typedef struct name##_weak_sender_s {                                                                                  \
    uvch_##kind##_weak_sender_t base;                                                                                    \
  } name##_weak_sender_t;                                                                                                \
  typedef void (*name##_recv_many_cb)(name##_receiver_t * rx, int status, constness name##_item_t* first, size_t stride, \
                                      size_t count);

/* Making a channel, and its senders. */
#define UVCH_TYPED_STREAM_MAKING_(name, kind)                                                                           \
  UVCH_TYPED_FN_ int name##_init(uv_loop_t* loop_, name##_receiver_t* rx_, name##_sender_t* tx_, size_t capacity_) {    \
    return uvch_##kind##_init(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(tx_), sizeof(name##_item_t), capacity_);   \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_init_ex(uv_loop_t* loop_, name##_receiver_t* rx_, name##_sender_t* tx_, size_t capacity_,   \
                                    const uvch_##kind##_options_t* options_) {                                          \
    return uvch_##kind##_init_ex(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(tx_), sizeof(name##_item_t), capacity_, \
                                 options_);                                                                             \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_sender_clone(const name##_sender_t* tx_, name##_sender_t* copy_) {                          \
    return uvch_##kind##_sender_clone(UVCH_TYPED_BASE_(tx_), UVCH_TYPED_BASE_(copy_));                                  \
  }

/* Sending as a thread that may wait. */
#define UVCH_TYPED_STREAM_SENDING_(name, kind)                                                                          \
  UVCH_TYPED_FN_ int name##_send_wait(const name##_sender_t* tx_, const name##_item_t* item_) {                         \
    return uvch_##kind##_send_wait(UVCH_TYPED_BASE_(tx_), item_);                                                       \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_send_timedwait(const name##_sender_t* tx_, const name##_item_t* item_, uint64_t timeout_) { \
    return uvch_##kind##_send_timedwait(UVCH_TYPED_BASE_(tx_), item_, timeout_);                                        \
  }

/* Weak senders. */
#define UVCH_TYPED_STREAM_WEAK_(name, kind)                                                                     \
  UVCH_TYPED_FN_ int name##_sender_downgrade(const name##_sender_t* tx_, name##_weak_sender_t* weak_) {         \
    return uvch_##kind##_sender_downgrade(UVCH_TYPED_BASE_(tx_), UVCH_TYPED_BASE_(weak_));                      \
  }                                                                                                             \
  UVCH_TYPED_FN_ int name##_weak_sender_upgrade(const name##_weak_sender_t* weak_, name##_sender_t* tx_) {      \
    return uvch_##kind##_weak_sender_upgrade(UVCH_TYPED_BASE_(weak_), UVCH_TYPED_BASE_(tx_));                   \
  }                                                                                                             \
  UVCH_TYPED_FN_ int name##_weak_sender_clone(const name##_weak_sender_t* weak_, name##_weak_sender_t* copy_) { \
    return uvch_##kind##_weak_sender_clone(UVCH_TYPED_BASE_(weak_), UVCH_TYPED_BASE_(copy_));                   \
  }                                                                                                             \
  UVCH_TYPED_FN_ int name##_weak_sender_close(name##_weak_sender_t* weak_) {                                    \
    return uvch_##kind##_weak_sender_close(UVCH_TYPED_BASE_(weak_));                                            \
  }                                                                                                             \
  UVCH_TYPED_FN_ size_t name##_weak_sender_strong_count(const name##_weak_sender_t* weak_) {                    \
    return uvch_##kind##_weak_sender_strong_count(UVCH_TYPED_BASE_(weak_));                                     \
  }                                                                                                             \
  UVCH_TYPED_FN_ size_t name##_weak_sender_weak_count(const name##_weak_sender_t* weak_) {                      \
    return uvch_##kind##_weak_sender_weak_count(UVCH_TYPED_BASE_(weak_));                                       \
  }

/* What a sender can ask. */
#define UVCH_TYPED_STREAM_SENDER_ASKS_(name, kind)                                                      \
  UVCH_TYPED_FN_ size_t name##_sender_len(const name##_sender_t* tx_) {                                 \
    return uvch_##kind##_sender_len(UVCH_TYPED_BASE_(tx_));                                             \
  }                                                                                                     \
  UVCH_TYPED_FN_ size_t name##_sender_capacity(const name##_sender_t* tx_) {                            \
    return uvch_##kind##_sender_capacity(UVCH_TYPED_BASE_(tx_));                                        \
  }                                                                                                     \
  UVCH_TYPED_FN_ int name##_sender_same_channel(const name##_sender_t* a_, const name##_sender_t* b_) { \
    return uvch_##kind##_sender_same_channel(UVCH_TYPED_BASE_(a_), UVCH_TYPED_BASE_(b_));               \
  }                                                                                                     \
  UVCH_TYPED_FN_ size_t name##_sender_strong_count(const name##_sender_t* tx_) {                        \
    return uvch_##kind##_sender_strong_count(UVCH_TYPED_BASE_(tx_));                                    \
  }                                                                                                     \
  UVCH_TYPED_FN_ size_t name##_sender_weak_count(const name##_sender_t* tx_) {                          \
    return uvch_##kind##_sender_weak_count(UVCH_TYPED_BASE_(tx_));                                      \
  }

/* Receiving with callbacks. Between the messages of one callback there may be more than their size: recv_at finds them. */
#define UVCH_TYPED_STREAM_RECEIVING_(name, kind, constness)                                                               \
  UVCH_TYPED_FN_ int name##_recv_start(name##_receiver_t* rx_, name##_recv_cb cb_) {                                      \
    return uvch_##kind##_recv_start(UVCH_TYPED_BASE_(rx_), UVCH_TYPED_CB_(uvch_##kind##_recv_cb, cb_));                   \
  }                                                                                                                       \
  UVCH_TYPED_FN_ int name##_recv_many_start(name##_receiver_t* rx_, size_t max_, name##_recv_many_cb cb_) {               \
    return uvch_##kind##_recv_many_start(UVCH_TYPED_BASE_(rx_), max_, UVCH_TYPED_CB_(uvch_##kind##_recv_many_cb, cb_));   \
  }                                                                                                                       \
  UVCH_TYPED_FN_ constness name##_item_t* name##_recv_at(constness name##_item_t* first_, size_t stride_, size_t i_) {    \
    return UVCH_TYPED_CAST_(constness name##_item_t*,                                                                     \
                            UVCH_TYPED_CAST_(constness void*, UVCH_TYPED_CAST_(constness char*, first_) + stride_ * i_)); \
  }

/* What a receiver can ask. */
#define UVCH_TYPED_STREAM_RECEIVER_ASKS_(name, kind)                                 \
  UVCH_TYPED_FN_ int name##_receiver_is_closed(const name##_receiver_t* rx_) {       \
    return uvch_##kind##_receiver_is_closed(UVCH_TYPED_BASE_(rx_));                  \
  }                                                                                  \
  UVCH_TYPED_FN_ size_t name##_receiver_len(const name##_receiver_t* rx_) {          \
    return uvch_##kind##_receiver_len(UVCH_TYPED_BASE_(rx_));                        \
  }                                                                                  \
  UVCH_TYPED_FN_ size_t name##_receiver_strong_count(const name##_receiver_t* rx_) { \
    return uvch_##kind##_receiver_strong_count(UVCH_TYPED_BASE_(rx_));               \
  }                                                                                  \
  UVCH_TYPED_FN_ size_t name##_receiver_weak_count(const name##_receiver_t* rx_) {   \
    return uvch_##kind##_receiver_weak_count(UVCH_TYPED_BASE_(rx_));                 \
  }

/*
 * mpsc
 */

/* Sending. */
#define UVCH_TYPED_MPSC_SENDING_(name)                                                                 \
  UVCH_TYPED_FN_ int name##_try_send(const name##_sender_t* tx_, const name##_item_t* item_) {         \
    return uvch_mpsc_try_send(UVCH_TYPED_BASE_(tx_), item_);                                           \
  }                                                                                                    \
  UVCH_TYPED_FN_ int name##_send(uv_loop_t* loop_, uvch_mpsc_send_t* req_, const name##_sender_t* tx_, \
                                 const name##_item_t* item_, uvch_mpsc_send_cb cb_) {                  \
    return uvch_mpsc_send(loop_, req_, UVCH_TYPED_BASE_(tx_), item_, cb_);                             \
  }

/* Sending many. */
#define UVCH_TYPED_MPSC_SENDING_MANY_(name)                                                                             \
  UVCH_TYPED_FN_ int name##_try_send_many(const name##_sender_t* tx_, const name##_item_t* items_, size_t count_) {     \
    return uvch_mpsc_try_send_many(UVCH_TYPED_BASE_(tx_), items_, count_);                                              \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_send_many(uv_loop_t* loop_, uvch_mpsc_send_t* req_, const name##_sender_t* tx_,             \
                                      const name##_item_t* items_, size_t count_, uvch_mpsc_send_cb cb_) {              \
    return uvch_mpsc_send_many(loop_, req_, UVCH_TYPED_BASE_(tx_), items_, count_, cb_);                                \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_send_many_wait(const name##_sender_t* tx_, const name##_item_t* items_, size_t count_) {    \
    return uvch_mpsc_send_many_wait(UVCH_TYPED_BASE_(tx_), items_, count_);                                             \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_send_many_timedwait(const name##_sender_t* tx_, const name##_item_t* items_, size_t count_, \
                                                uint64_t timeout_) {                                                    \
    return uvch_mpsc_send_many_timedwait(UVCH_TYPED_BASE_(tx_), items_, count_, timeout_);                              \
  }

/* Permits. */
#define UVCH_TYPED_MPSC_PERMITS_(name)                                                                                  \
  typedef struct name##_permit_s {                                                                                      \
    uvch_mpsc_permit_t base;                                                                                            \
  } name##_permit_t;                                                                                                    \
  UVCH_TYPED_FN_ int name##_try_reserve(const name##_sender_t* tx_, size_t n_, name##_permit_t* permit_) {              \
    return uvch_mpsc_try_reserve(UVCH_TYPED_BASE_(tx_), n_, UVCH_TYPED_BASE_(permit_));                                 \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_reserve(uv_loop_t* loop_, uvch_mpsc_reserve_t* req_, const name##_sender_t* tx_, size_t n_, \
                                    name##_permit_t* permit_, uvch_mpsc_reserve_cb cb_) {                               \
    return uvch_mpsc_reserve(loop_, req_, UVCH_TYPED_BASE_(tx_), n_, UVCH_TYPED_BASE_(permit_), cb_);                   \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_reserve_wait(const name##_sender_t* tx_, size_t n_, name##_permit_t* permit_) {             \
    return uvch_mpsc_reserve_wait(UVCH_TYPED_BASE_(tx_), n_, UVCH_TYPED_BASE_(permit_));                                \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_reserve_timedwait(const name##_sender_t* tx_, size_t n_, name##_permit_t* permit_,          \
                                              uint64_t timeout_) {                                                      \
    return uvch_mpsc_reserve_timedwait(UVCH_TYPED_BASE_(tx_), n_, UVCH_TYPED_BASE_(permit_), timeout_);                 \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_permit_send(name##_permit_t* permit_, const name##_item_t* item_) {                         \
    return uvch_mpsc_permit_send(UVCH_TYPED_BASE_(permit_), item_);                                                     \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_permit_release(name##_permit_t* permit_) {                                                  \
    return uvch_mpsc_permit_release(UVCH_TYPED_BASE_(permit_));                                                         \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_permit_split(name##_permit_t* permit_, size_t n_, name##_permit_t* other_) {                \
    return uvch_mpsc_permit_split(UVCH_TYPED_BASE_(permit_), n_, UVCH_TYPED_BASE_(other_));                             \
  }                                                                                                                     \
  UVCH_TYPED_FN_ size_t name##_permit_count(const name##_permit_t* permit_) {                                           \
    return uvch_mpsc_permit_count(UVCH_TYPED_BASE_(permit_));                                                           \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_permit_get_sender(const name##_permit_t* permit_, name##_sender_t* tx_) {                   \
    return uvch_mpsc_permit_get_sender(UVCH_TYPED_BASE_(permit_), UVCH_TYPED_BASE_(tx_));                               \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_permit_same_channel(const name##_permit_t* a_, const name##_permit_t* b_) {                 \
    return uvch_mpsc_permit_same_channel(UVCH_TYPED_BASE_(a_), UVCH_TYPED_BASE_(b_));                                   \
  }                                                                                                                     \
  UVCH_TYPED_FN_ int name##_permit_same_channel_as_sender(const name##_permit_t* permit_, const name##_sender_t* tx_) { \
    return uvch_mpsc_permit_same_channel_as_sender(UVCH_TYPED_BASE_(permit_), UVCH_TYPED_BASE_(tx_));                   \
  }

/* Receiving many by hand. */
#define UVCH_TYPED_MPSC_RECEIVING_MANY_(name)                                                                                    \
  UVCH_TYPED_FN_ int name##_try_recv_many(name##_receiver_t* rx_, name##_item_t* items_, size_t max_) {                          \
    return uvch_mpsc_try_recv_many(UVCH_TYPED_BASE_(rx_), items_, max_);                                                         \
  }                                                                                                                              \
  UVCH_TYPED_FN_ int name##_recv_many_wait(name##_receiver_t* rx_, name##_item_t* items_, size_t max_) {                         \
    return uvch_mpsc_recv_many_wait(UVCH_TYPED_BASE_(rx_), items_, max_);                                                        \
  }                                                                                                                              \
  UVCH_TYPED_FN_ int name##_recv_many_timedwait(name##_receiver_t* rx_, name##_item_t* items_, size_t max_, uint64_t timeout_) { \
    return uvch_mpsc_recv_many_timedwait(UVCH_TYPED_BASE_(rx_), items_, max_, timeout_);                                         \
  }

/* What is said about the bound. */
#define UVCH_TYPED_MPSC_CAPACITY_(name)                                              \
  UVCH_TYPED_FN_ size_t name##_sender_max_capacity(const name##_sender_t* tx_) {     \
    return uvch_mpsc_sender_max_capacity(UVCH_TYPED_BASE_(tx_));                     \
  }                                                                                  \
  UVCH_TYPED_FN_ size_t name##_receiver_capacity(const name##_receiver_t* rx_) {     \
    return uvch_mpsc_receiver_capacity(UVCH_TYPED_BASE_(rx_));                       \
  }                                                                                  \
  UVCH_TYPED_FN_ size_t name##_receiver_max_capacity(const name##_receiver_t* rx_) { \
    return uvch_mpsc_receiver_max_capacity(UVCH_TYPED_BASE_(rx_));                   \
  }

/*
 * oneshot and calls
 */

#define UVCH_TYPED_ONESHOT_(name)                                                                                      \
  UVCH_TYPED_FN_ int name##_init(uv_loop_t* loop_, name##_receiver_t* rx_, name##_sender_t* tx_) {                     \
    return uvch_oneshot_init(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(tx_), sizeof(name##_item_t));              \
  }                                                                                                                    \
  UVCH_TYPED_FN_ int name##_init_ex(uv_loop_t* loop_, name##_receiver_t* rx_, name##_sender_t* tx_,                    \
                                    const uvch_oneshot_options_t* options_) {                                          \
    return uvch_oneshot_init_ex(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(tx_), sizeof(name##_item_t), options_); \
  }                                                                                                                    \
  UVCH_TYPED_FN_ int name##_renew(name##_receiver_t* rx_, name##_sender_t* tx_) {                                      \
    return uvch_oneshot_renew(UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(tx_));                                           \
  }                                                                                                                    \
  UVCH_TYPED_FN_ int name##_send(name##_sender_t* tx_, const name##_item_t* item_) {                                   \
    return uvch_oneshot_send(UVCH_TYPED_BASE_(tx_), item_);                                                            \
  }                                                                                                                    \
  UVCH_TYPED_FN_ int name##_recv(name##_receiver_t* rx_, name##_recv_cb cb_) {                                         \
    return uvch_oneshot_recv(UVCH_TYPED_BASE_(rx_), UVCH_TYPED_CB_(uvch_oneshot_recv_cb, cb_));                        \
  }                                                                                                                    \
  UVCH_TYPED_FN_ int name##_receiver_is_terminated(const name##_receiver_t* rx_) {                                     \
    return uvch_oneshot_receiver_is_terminated(UVCH_TYPED_BASE_(rx_));                                                 \
  }

#define UVCH_TYPED_CALL_(name)                                                                                                   \
  typedef struct name##_call_s {                                                                                                 \
    uvch_call_t base;                                                                                                            \
  } name##_call_t;                                                                                                               \
  typedef void (*name##_call_cb)(name##_call_t * req, int status, name##_item_t* reply);                                         \
  UVCH_TYPED_FN_ int name##_call(uv_loop_t* loop_, name##_call_t* req_, const uvch_mpsc_sender_t* tx_, void* message_,           \
                                 name##_sender_t* reply_, name##_call_cb cb_) {                                                  \
    return uvch_call(loop_, UVCH_TYPED_BASE_(req_), tx_, message_, UVCH_TYPED_BASE_(reply_), sizeof(name##_item_t),              \
                     UVCH_TYPED_CB_(uvch_call_cb, cb_));                                                                         \
  }                                                                                                                              \
  UVCH_TYPED_FN_ int name##_call_ex(uv_loop_t* loop_, name##_call_t* req_, const uvch_mpsc_sender_t* tx_, void* message_,        \
                                    name##_sender_t* reply_, const uvch_call_options_t* options_, name##_call_cb cb_) {          \
    return uvch_call_ex(loop_, UVCH_TYPED_BASE_(req_), tx_, message_, UVCH_TYPED_BASE_(reply_), sizeof(name##_item_t), options_, \
                        UVCH_TYPED_CB_(uvch_call_cb, cb_));                                                                      \
  }                                                                                                                              \
  UVCH_TYPED_FN_ int name##_call_wait(const uvch_mpsc_sender_t* tx_, void* message_, name##_sender_t* reply_,                    \
                                      name##_item_t* item_) {                                                                    \
    return uvch_call_wait(tx_, message_, UVCH_TYPED_BASE_(reply_), item_, sizeof(name##_item_t));                                \
  }                                                                                                                              \
  UVCH_TYPED_FN_ int name##_call_timedwait(const uvch_mpsc_sender_t* tx_, void* message_, name##_sender_t* reply_,               \
                                           name##_item_t* item_, uint64_t timeout_, int* is_sent_) {                             \
    return uvch_call_timedwait(tx_, message_, UVCH_TYPED_BASE_(reply_), item_, sizeof(name##_item_t), timeout_, is_sent_);       \
  }                                                                                                                              \
  UVCH_TYPED_FN_ int name##_reply(name##_sender_t* tx_, const name##_item_t* item_) {                                            \
    return uvch_reply(UVCH_TYPED_BASE_(tx_), item_);                                                                             \
  }

/*
 * broadcast
 */

#define UVCH_TYPED_BROADCAST_(name)                                                                                   \
  UVCH_TYPED_FN_ int name##_subscribe(uv_loop_t* loop_, name##_receiver_t* rx_, const name##_sender_t* tx_) {         \
    return uvch_broadcast_subscribe(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(tx_));                             \
  }                                                                                                                   \
  UVCH_TYPED_FN_ int name##_resubscribe(uv_loop_t* loop_, name##_receiver_t* rx_, const name##_receiver_t* source_) { \
    return uvch_broadcast_resubscribe(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(source_));                       \
  }                                                                                                                   \
  UVCH_TYPED_FN_ int name##_send(const name##_sender_t* tx_, const name##_item_t* item_) {                            \
    return uvch_broadcast_send(UVCH_TYPED_BASE_(tx_), item_);                                                         \
  }                                                                                                                   \
  UVCH_TYPED_FN_ int name##_send_many(const name##_sender_t* tx_, const name##_item_t* items_, size_t count_) {       \
    return uvch_broadcast_send_many(UVCH_TYPED_BASE_(tx_), items_, count_);                                           \
  }                                                                                                                   \
  UVCH_TYPED_FN_ int name##_queue_send(uv_loop_t* loop_, uvch_broadcast_send_t* req_, const name##_sender_t* tx_,     \
                                       const name##_item_t* item_, uvch_broadcast_send_cb cb_) {                      \
    return uvch_broadcast_queue_send(loop_, req_, UVCH_TYPED_BASE_(tx_), item_, cb_);                                 \
  }                                                                                                                   \
  UVCH_TYPED_FN_ size_t name##_sender_receiver_count(const name##_sender_t* tx_) {                                    \
    return uvch_broadcast_sender_receiver_count(UVCH_TYPED_BASE_(tx_));                                               \
  }                                                                                                                   \
  UVCH_TYPED_FN_ int name##_sender_is_empty(const name##_sender_t* tx_) {                                             \
    return uvch_broadcast_sender_is_empty(UVCH_TYPED_BASE_(tx_));                                                     \
  }                                                                                                                   \
  UVCH_TYPED_FN_ uint64_t name##_receiver_missed(const name##_receiver_t* rx_) {                                      \
    return uvch_broadcast_receiver_missed(UVCH_TYPED_BASE_(rx_));                                                     \
  }                                                                                                                   \
  UVCH_TYPED_FN_ int name##_receiver_same_channel(const name##_receiver_t* a_, const name##_receiver_t* b_) {         \
    return uvch_broadcast_receiver_same_channel(UVCH_TYPED_BASE_(a_), UVCH_TYPED_BASE_(b_));                          \
  }

/*
 * watch
 */

/* The types. A request for a value has place for its typed functions. */
#define UVCH_TYPED_WATCH_ENDS_(name, type)                                                              \
  typedef type name##_value_t;                                                                          \
  typedef struct name##_sender_s {                                                                      \
    uvch_watch_sender_t base;                                                                           \
  } name##_sender_t;                                                                                    \
  typedef struct name##_receiver_s {                                                                    \
    uvch_watch_receiver_t base;                                                                         \
  } name##_receiver_t;                                                                                  \
  typedef struct name##_wait_for_s name##_wait_for_t;                                                   \
  typedef void (*name##_cb)(name##_receiver_t * rx, int status, const name##_value_t* value);           \
  typedef int (*name##_modify_cb)(name##_value_t * value, void* arg);                                   \
  typedef int (*name##_predicate_cb)(const name##_value_t* value, void* arg);                           \
  typedef void (*name##_wait_for_cb)(name##_wait_for_t * req, int status, const name##_value_t* value); \
  struct name##_wait_for_s {                                                                            \
    uvch_watch_wait_for_t base;                                                                         \
    name##_predicate_cb predicate;                                                                      \
    void* arg;                                                                                          \
    name##_wait_for_cb cb;                                                                              \
  };

/* Making a channel, its receivers, and its senders. */
#define UVCH_TYPED_WATCH_MAKING_(name)                                                                                          \
  UVCH_TYPED_FN_ int name##_init(uv_loop_t* loop_, name##_receiver_t* rx_, name##_sender_t* tx_,                                \
                                 const name##_value_t* initial_) {                                                              \
    return uvch_watch_init(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(tx_), sizeof(name##_value_t), initial_);              \
  }                                                                                                                             \
  UVCH_TYPED_FN_ int name##_init_ex(uv_loop_t* loop_, name##_receiver_t* rx_, name##_sender_t* tx_,                             \
                                    const name##_value_t* initial_, const uvch_watch_options_t* options_) {                     \
    return uvch_watch_init_ex(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(tx_), sizeof(name##_value_t), initial_, options_); \
  }                                                                                                                             \
  UVCH_TYPED_FN_ int name##_subscribe(uv_loop_t* loop_, name##_receiver_t* rx_, const name##_sender_t* tx_) {                   \
    return uvch_watch_subscribe(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(tx_));                                           \
  }                                                                                                                             \
  UVCH_TYPED_FN_ int name##_receiver_clone(uv_loop_t* loop_, name##_receiver_t* rx_, const name##_receiver_t* source_) {        \
    return uvch_watch_receiver_clone(loop_, UVCH_TYPED_BASE_(rx_), UVCH_TYPED_BASE_(source_));                                  \
  }                                                                                                                             \
  UVCH_TYPED_FN_ int name##_sender_clone(const name##_sender_t* tx_, name##_sender_t* copy_) {                                  \
    return uvch_watch_sender_clone(UVCH_TYPED_BASE_(tx_), UVCH_TYPED_BASE_(copy_));                                             \
  }

/* Setting the value, and seeing it through a sender. */
#define UVCH_TYPED_WATCH_SENDING_(name)                                                                                    \
  UVCH_TYPED_FN_ int name##_send(const name##_sender_t* tx_, const name##_value_t* value_) {                               \
    return uvch_watch_send(UVCH_TYPED_BASE_(tx_), value_);                                                                 \
  }                                                                                                                        \
  UVCH_TYPED_FN_ int name##_send_replace(const name##_sender_t* tx_, const name##_value_t* value_, name##_value_t* old_) { \
    return uvch_watch_send_replace(UVCH_TYPED_BASE_(tx_), value_, old_);                                                   \
  }                                                                                                                        \
  UVCH_TYPED_FN_ const name##_value_t* name##_sender_borrow(name##_sender_t* tx_) {                                        \
    return UVCH_TYPED_CAST_(const name##_value_t*, uvch_watch_sender_borrow(UVCH_TYPED_BASE_(tx_)));                       \
  }

/* What a sender can ask. */
#define UVCH_TYPED_WATCH_SENDER_ASKS_(name)                                                             \
  UVCH_TYPED_FN_ size_t name##_sender_receiver_count(const name##_sender_t* tx_) {                      \
    return uvch_watch_sender_receiver_count(UVCH_TYPED_BASE_(tx_));                                     \
  }                                                                                                     \
  UVCH_TYPED_FN_ size_t name##_sender_sender_count(const name##_sender_t* tx_) {                        \
    return uvch_watch_sender_sender_count(UVCH_TYPED_BASE_(tx_));                                       \
  }                                                                                                     \
  UVCH_TYPED_FN_ int name##_sender_is_closed(const name##_sender_t* tx_) {                              \
    return uvch_watch_sender_is_closed(UVCH_TYPED_BASE_(tx_));                                          \
  }                                                                                                     \
  UVCH_TYPED_FN_ int name##_sender_same_channel(const name##_sender_t* a_, const name##_sender_t* b_) { \
    return uvch_watch_sender_same_channel(UVCH_TYPED_BASE_(a_), UVCH_TYPED_BASE_(b_));                  \
  }

/* Changing the value. The call is over when these return, so what the untyped function gets may lie on the stack. */
#define UVCH_TYPED_WATCH_MODIFYING_(name)                                                                 \
  struct name##_modify_s {                                                                                \
    name##_modify_cb modify;                                                                              \
    void* arg;                                                                                            \
  };                                                                                                      \
  UVCH_TYPED_FN_ int name##_call_modify_(void* value_, void* arg_) {                                      \
    const struct name##_modify_s* call_ = UVCH_TYPED_CAST_(const struct name##_modify_s*, arg_);          \
    return call_->modify(UVCH_TYPED_CAST_(name##_value_t*, value_), call_->arg);                          \
  }                                                                                                       \
  UVCH_TYPED_FN_ int name##_modify(const name##_sender_t* tx_, name##_modify_cb modify_, void* arg_) {    \
    struct name##_modify_s call_ = {modify_, arg_};                                                       \
    return uvch_watch_modify(UVCH_TYPED_BASE_(tx_), modify_ ? name##_call_modify_ : NULL, &call_);        \
  }                                                                                                       \
  UVCH_TYPED_FN_ int name##_modify_if(const name##_sender_t* tx_, name##_modify_cb modify_, void* arg_) { \
    struct name##_modify_s call_ = {modify_, arg_};                                                       \
    return uvch_watch_modify_if(UVCH_TYPED_BASE_(tx_), modify_ ? name##_call_modify_ : NULL, &call_);     \
  }

/* Receiving. */
#define UVCH_TYPED_WATCH_RECEIVING_(name)                                                                \
  UVCH_TYPED_FN_ int name##_start(name##_receiver_t* rx_, name##_cb cb_, unsigned int flags_) {          \
    return uvch_watch_start(UVCH_TYPED_BASE_(rx_), UVCH_TYPED_CB_(uvch_watch_cb, cb_), flags_);          \
  }                                                                                                      \
  UVCH_TYPED_FN_ int name##_stop(name##_receiver_t* rx_) {                                               \
    return uvch_watch_stop(UVCH_TYPED_BASE_(rx_));                                                       \
  }                                                                                                      \
  UVCH_TYPED_FN_ const name##_value_t* name##_borrow(name##_receiver_t* rx_) {                           \
    return UVCH_TYPED_CAST_(const name##_value_t*, uvch_watch_borrow(UVCH_TYPED_BASE_(rx_)));            \
  }                                                                                                      \
  UVCH_TYPED_FN_ const name##_value_t* name##_borrow_and_update(name##_receiver_t* rx_) {                \
    return UVCH_TYPED_CAST_(const name##_value_t*, uvch_watch_borrow_and_update(UVCH_TYPED_BASE_(rx_))); \
  }                                                                                                      \
  UVCH_TYPED_FN_ int name##_changed_wait(name##_receiver_t* rx_) {                                       \
    return uvch_watch_changed_wait(UVCH_TYPED_BASE_(rx_));                                               \
  }                                                                                                      \
  UVCH_TYPED_FN_ int name##_changed_timedwait(name##_receiver_t* rx_, uint64_t timeout_) {               \
    return uvch_watch_changed_timedwait(UVCH_TYPED_BASE_(rx_), timeout_);                                \
  }

/* What a receiver can ask, and what it regards as seen. */
#define UVCH_TYPED_WATCH_RECEIVER_ASKS_(name)                                                                 \
  UVCH_TYPED_FN_ int name##_borrow_has_changed(const name##_receiver_t* rx_) {                                \
    return uvch_watch_borrow_has_changed(UVCH_TYPED_BASE_(rx_));                                              \
  }                                                                                                           \
  UVCH_TYPED_FN_ int name##_has_changed(const name##_receiver_t* rx_) {                                       \
    return uvch_watch_has_changed(UVCH_TYPED_BASE_(rx_));                                                     \
  }                                                                                                           \
  UVCH_TYPED_FN_ int name##_mark_changed(name##_receiver_t* rx_) {                                            \
    return uvch_watch_mark_changed(UVCH_TYPED_BASE_(rx_));                                                    \
  }                                                                                                           \
  UVCH_TYPED_FN_ int name##_mark_unchanged(name##_receiver_t* rx_) {                                          \
    return uvch_watch_mark_unchanged(UVCH_TYPED_BASE_(rx_));                                                  \
  }                                                                                                           \
  UVCH_TYPED_FN_ int name##_receiver_same_channel(const name##_receiver_t* a_, const name##_receiver_t* b_) { \
    return uvch_watch_receiver_same_channel(UVCH_TYPED_BASE_(a_), UVCH_TYPED_BASE_(b_));                      \
  }

/* Waiting for a value: as a thread as with modify, on a loop with the functions in the request. That is written only when the
 * untyped call has taken it, as it may be waiting already; nothing calls them before. */
#define UVCH_TYPED_WATCH_WAITING_(name)                                                                                     \
  struct name##_test_s {                                                                                                    \
    name##_predicate_cb predicate;                                                                                          \
    void* arg;                                                                                                              \
  };                                                                                                                        \
  UVCH_TYPED_FN_ int name##_call_predicate_(const void* value_, void* arg_) {                                               \
    const struct name##_test_s* call_ = UVCH_TYPED_CAST_(const struct name##_test_s*, arg_);                                \
    return call_->predicate(UVCH_TYPED_CAST_(const name##_value_t*, value_), call_->arg);                                   \
  }                                                                                                                         \
  UVCH_TYPED_FN_ int name##_wait_for_wait(name##_receiver_t* rx_, name##_predicate_cb predicate_, void* arg_,               \
                                          const name##_value_t** value_) {                                                  \
    struct name##_test_s call_ = {predicate_, arg_};                                                                        \
    const void* got_ = NULL;                                                                                                \
    int result_ = uvch_watch_wait_for_wait(UVCH_TYPED_BASE_(rx_), predicate_ ? name##_call_predicate_ : NULL, &call_,       \
                                           value_ ? &got_ : NULL);                                                          \
    if (result_ == 0 && value_) {                                                                                           \
      *value_ = UVCH_TYPED_CAST_(const name##_value_t*, got_);                                                              \
    }                                                                                                                       \
    return result_;                                                                                                         \
  }                                                                                                                         \
  UVCH_TYPED_FN_ int name##_wait_for_timedwait(name##_receiver_t* rx_, name##_predicate_cb predicate_, void* arg_,          \
                                               const name##_value_t** value_, uint64_t timeout_) {                          \
    struct name##_test_s call_ = {predicate_, arg_};                                                                        \
    const void* got_ = NULL;                                                                                                \
    int result_ = uvch_watch_wait_for_timedwait(UVCH_TYPED_BASE_(rx_), predicate_ ? name##_call_predicate_ : NULL, &call_,  \
                                                value_ ? &got_ : NULL, timeout_);                                           \
    if (result_ == 0 && value_) {                                                                                           \
      *value_ = UVCH_TYPED_CAST_(const name##_value_t*, got_);                                                              \
    }                                                                                                                       \
    return result_;                                                                                                         \
  }                                                                                                                         \
  UVCH_TYPED_FN_ int name##_call_test_(const void* value_, void* arg_) {                                                    \
    const name##_wait_for_t* req_ = UVCH_TYPED_CAST_(const name##_wait_for_t*, arg_);                                       \
    return req_->predicate(UVCH_TYPED_CAST_(const name##_value_t*, value_), req_->arg);                                     \
  }                                                                                                                         \
  UVCH_TYPED_FN_ void name##_call_done_(uvch_watch_wait_for_t* base_, int status_, const void* value_) {                    \
    name##_wait_for_t* req_ = UVCH_TYPED_CAST_(name##_wait_for_t*, base_);                                                  \
    req_->cb(req_, status_, UVCH_TYPED_CAST_(const name##_value_t*, value_));                                               \
  }                                                                                                                         \
  UVCH_TYPED_FN_ int name##_wait_for(name##_wait_for_t* req_, name##_receiver_t* rx_, name##_predicate_cb predicate_,       \
                                     void* arg_, name##_wait_for_cb cb_) {                                                  \
    int result_ = uvch_watch_wait_for(UVCH_TYPED_BASE_(req_), UVCH_TYPED_BASE_(rx_), predicate_ ? name##_call_test_ : NULL, \
                                      req_, cb_ ? name##_call_done_ : NULL);                                                \
    if (result_ == 0 && req_) { /* which compilers do not know */                                                           \
      req_->predicate = predicate_;                                                                                         \
      req_->arg = arg_;                                                                                                     \
      req_->cb = cb_;                                                                                                       \
    }                                                                                                                       \
    return result_;                                                                                                         \
  }

#endif
