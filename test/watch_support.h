/* SPDX-License-Identifier: MIT
 *
 * What all programs about watch channels share: channels of numbers, what a receiver's callback got, loops that turn, values that
 * own something, and values of any size that show when they are torn.
 *
 * What says "any thread" does not call ck_assert. */
#ifndef UVCH_TEST_WATCH_SUPPORT_H
#define UVCH_TEST_WATCH_SUPPORT_H

#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { WATCH_NOT_DONE = 1000 }; /* no status is this */

/* Ends of channels of 8-byte values. Their memory is garbage before; the library must not look at it. */

static inline void watch_open_ex(uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx, size_t size,
                                 const void* initial, const uvch_watch_options_t* options) {
  if (rx != NULL) {
    memset(rx, 0xa5, sizeof(*rx));
  }
  memset(tx, 0xa5, sizeof(*tx));
  support_check_eq(uvch_watch_init_ex(loop, rx, tx, size, initial, options), 0);
}

static inline void watch_open(uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx, uint64_t initial) {
  watch_open_ex(loop, rx, tx, sizeof(initial), &initial, NULL);
}

static inline void watch_subscribe(uv_loop_t* loop, uvch_watch_receiver_t* rx, const uvch_watch_sender_t* tx) {
  memset(rx, 0xa5, sizeof(*rx));
  support_check_eq(uvch_watch_subscribe(loop, rx, tx), 0);
}

static inline void watch_clone(uv_loop_t* loop, uvch_watch_receiver_t* rx, const uvch_watch_receiver_t* source) {
  memset(rx, 0xa5, sizeof(*rx));
  support_check_eq(uvch_watch_receiver_clone(loop, rx, source), 0);
}

static inline void watch_clone_sender(const uvch_watch_sender_t* tx, uvch_watch_sender_t* copy) {
  memset(copy, 0xa5, sizeof(*copy));
  support_check_eq(uvch_watch_sender_clone(tx, copy), 0);
}

static inline void watch_attach(uv_loop_t* loop, uvch_watch_receiver_t* rx) {
  support_check_eq(uvch_attach(loop, (uvch_handle_t*) rx), 0);
}

static inline void watch_close(uvch_watch_receiver_t* rx) {
  support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

static inline void watch_drop_sender(uvch_watch_sender_t* tx) {
  support_check_eq(uvch_watch_sender_close(tx), 0);
}

/* Numbers. */

static inline void watch_put(const uvch_watch_sender_t* tx, uint64_t value) {
  support_check_eq(uvch_watch_send(tx, &value), 0);
}

/* Any thread. */
static inline uint64_t watch_number(const void* value) {
  uint64_t number;

  memcpy(&number, value, sizeof(number));
  return number;
}

static inline uint64_t watch_peek(uvch_watch_receiver_t* rx) {
  const void* value = uvch_watch_borrow(rx);

  support_check(value != NULL);
  return watch_number(value);
}

static inline uint64_t watch_take(uvch_watch_receiver_t* rx) {
  const void* value = uvch_watch_borrow_and_update(rx);

  support_check(value != NULL);
  return watch_number(value);
}

static inline uint64_t watch_sender_peek(uvch_watch_sender_t* tx) {
  const void* value = uvch_watch_sender_borrow(tx);

  support_check(value != NULL);
  return watch_number(value);
}

/* What a receiver's callback got, of values whose first 8 bytes are a number. Any thread may run the loop; the thread that looks
 * at it meanwhile reads `count` and `ends` only. */
typedef struct watch_log_s {
  _Atomic(size_t) count; /* of callbacks */
  _Atomic(size_t) ends;  /* of those with UV_EOF */
  uint64_t last;         /* the newest number */
  struct {
    int status;
    uint64_t value; /* 0 without one */
  } got[64];        /* the first ones */
  bool closes;      /* the receiver is closed at UV_EOF */
  support_result_t result;
} watch_log_t;

static inline void watch_log_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  watch_log_t* log = rx->data;
  size_t at = atomic_load(&log->count);

  support_expect(&log->result, status == 0 || status == UV_EOF);
  support_expect(&log->result, (status == 0) == (value != NULL));
  support_expect_eq(&log->result, atomic_load(&log->ends), 0);
  if (value != NULL) {
    log->last = watch_number(value);
  }
  if (at < COUNT(log->got)) {
    log->got[at].status = status;
    log->got[at].value = value != NULL ? log->last : 0;
  }
  if (status != 0) {
    atomic_fetch_add(&log->ends, 1);
    support_expect(&log->result, !uvch_is_active((uvch_handle_t*) rx));
    if (log->closes) {
      support_expect_eq(&log->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
    }
  }
  atomic_fetch_add(&log->count, 1);
}

/* Start `rx` with an empty log. */
static inline void watch_listen(uvch_watch_receiver_t* rx, watch_log_t* log, unsigned int flags, bool closes) {
  memset(log, 0, sizeof(*log));
  log->closes = closes;
  rx->data = log;
  support_check_eq(uvch_watch_start(rx, watch_log_cb, flags), 0);
  support_check_eq(atomic_load(&log->count), 0); /* never from inside the call */
}

/* Callback number `at` brought that. */
static inline void watch_heard(watch_log_t* log, size_t at, int status, uint64_t value) {
  support_result_check(&log->result);
  support_check(at < atomic_load(&log->count) && at < COUNT(log->got));
  support_check_eq(log->got[at].status, status);
  support_check_eq(log->got[at].value, value);
}

/* There were `count` callbacks, the last `ends` of them UV_EOF. */
static inline void watch_heard_all(watch_log_t* log, size_t count, size_t ends) {
  support_result_check(&log->result);
  support_check_eq(atomic_load(&log->count), count);
  support_check_eq(atomic_load(&log->ends), ends);
}

static inline void watch_never(uvch_watch_receiver_t* rx, int status, const void* value) {
  (void) rx;
  (void) value;
  ck_abort_msg("a callback that must not come, status %d", status);
}

/* Loops. */

/* Run `loop` until `condition` holds; it must hold before nothing is left alive there. */
#define watch_pump(loop, condition)                                   \
  do {                                                                \
    while (!(condition)) {                                            \
      if (uv_run((loop), UV_RUN_ONCE) == 0 && !(condition)) {         \
        ck_abort_msg("nothing is left that could bring " #condition); \
      }                                                               \
    }                                                                 \
  } while (0)

static inline void watch_prop_on_idle(uv_idle_t* prop) {
  (void) prop;
}

static inline void watch_prop_on_close(uv_handle_t* prop) {
  prop->data = NULL;
}

/* A few passes, also of a loop that nothing keeps alive. */
static inline void watch_turn(uv_loop_t* loop) {
  uv_idle_t prop;
  int i;

  support_check_eq(uv_idle_init(loop, &prop), 0);
  support_check_eq(uv_idle_start(&prop, watch_prop_on_idle), 0);
  prop.data = &prop;
  for (i = 0; i < 3; i++) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  uv_close((uv_handle_t*) &prop, watch_prop_on_close);
  while (prop.data != NULL) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
}

/* Values that own something: a number and a block of memory of its own. An owner counts them. Any thread. */

typedef struct watch_owner_s {
  _Atomic(size_t) made;
  _Atomic(size_t) copied;
  _Atomic(size_t) dropped;
  _Atomic(size_t) bad;        /* copied or dropped when they were not whole */
  _Atomic(uint64_t) last;     /* the number that was dropped last */
  _Atomic(long) thread;       /* where that was */
  _Atomic(int) copy_fails;    /* the next copy answers this, unless it is 0 */
  void (*on_drop)(void* arg); /* called from the drop function, and from the copy function; NULL: not */
  void (*on_copy)(void* arg);
  void* arg;
} watch_owner_t;

typedef struct watch_owned_s {
  uint64_t number;
  uint64_t* box; /* has the number too; of malloc(), so that the library's memory can be made to fail without it */
} watch_owned_t;

static inline int watch_owned_is_whole(const watch_owned_t* owned) {
  return owned->box != NULL && owned->box[0] == owned->number && owned->box[1] == ~owned->number;
}

/* Make one; 0 if there is no memory. */
static inline int watch_owned_make(watch_owner_t* owner, watch_owned_t* owned, uint64_t number) {
  owned->number = number;
  owned->box = malloc(2 * sizeof(*owned->box));
  if (owned->box == NULL) {
    return 0;
  }
  owned->box[0] = number;
  owned->box[1] = ~number;
  atomic_fetch_add(&owner->made, 1);
  return 1;
}

static inline void watch_owned_drop(void* item, void* arg) {
  watch_owner_t* owner = arg;
  watch_owned_t* owned = item;

  atomic_fetch_add(&owner->bad, !watch_owned_is_whole(owned));
  atomic_store(&owner->last, owned->number);
  atomic_store(&owner->thread, support_thread_number());
  free(owned->box);
  owned->box = NULL;
  atomic_fetch_add(&owner->dropped, 1);
  if (owner->on_drop != NULL) {
    owner->on_drop(owner->arg);
  }
}

static inline int watch_owned_copy(void* to, const void* from, void* arg) {
  watch_owner_t* owner = arg;
  const watch_owned_t* owned = from;
  int answer = atomic_exchange(&owner->copy_fails, 0);

  atomic_fetch_add(&owner->bad, !watch_owned_is_whole(owned));
  if (owner->on_copy != NULL) {
    owner->on_copy(owner->arg);
  }
  if (answer != 0) {
    return answer;
  }
  if (!watch_owned_make(owner, to, owned->number)) {
    return UV_ENOMEM;
  }
  atomic_fetch_add(&owner->copied, 1);
  return 0;
}

/* Values that were made and not dropped yet. */
static inline size_t watch_owned_alive(watch_owner_t* owner) {
  size_t dropped = atomic_load(&owner->dropped); /* first, so that it is not the larger one */

  return atomic_load(&owner->made) - dropped;
}

/* The end of a case: all values were whole, and all are gone. */
static inline void watch_owner_check(watch_owner_t* owner) {
  support_check_eq(atomic_load(&owner->bad), 0);
  support_check_eq(atomic_load(&owner->made), atomic_load(&owner->dropped));
}

/* A channel of them, whose first value has `number`. The options are gone afterwards; the library must not look at them. */
static inline void watch_open_owning(uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx, watch_owner_t* owner,
                                     uvch_copy_cb copy, uint64_t number) {
  uvch_watch_options_t options;
  watch_owned_t owned;

  memset(owner, 0, sizeof(*owner));
  memset(&options, 0, sizeof(options));
  options.copy = copy;
  options.drop = watch_owned_drop;
  options.arg = owner;
  support_check(watch_owned_make(owner, &owned, number));
  watch_open_ex(loop, rx, tx, sizeof(owned), &owned, &options);
  memset(&options, 0xa5, sizeof(options));
}

/* Send a new one; what the send says. If it fails the value is given up here. Any thread. */
static inline int watch_put_owned(const uvch_watch_sender_t* tx, watch_owner_t* owner, uint64_t number) {
  watch_owned_t owned;
  int answer;

  if (!watch_owned_make(owner, &owned, number)) {
    return UV_ENOMEM;
  }
  answer = uvch_watch_send(tx, &owned);
  if (answer != 0) {
    free(owned.box);
    atomic_fetch_add(&owner->dropped, 1);
  }
  return answer;
}

/* Values of any size, made of a number: each byte follows from it and its place, so that bytes of two values do not go together.
 * From 8 bytes on the number is in front. Any thread. */

static inline unsigned char watch_blob_byte(uint64_t number, size_t at) {
  uint64_t mixed = (number + at) * UINT64_C(0x9e3779b97f4a7c15);

  return (unsigned char) (mixed >> 56);
}

static inline void watch_blob_fill(void* value, size_t size, uint64_t number) {
  unsigned char* bytes = value;
  size_t at = 0;

  if (size >= sizeof(number)) {
    memcpy(bytes, &number, sizeof(number));
    at = sizeof(number);
  }
  for (; at < size; at++) {
    bytes[at] = watch_blob_byte(number, at);
  }
}

/* Whether it is the one made of `number`, whole. */
static inline int watch_blob_is(const void* value, size_t size, uint64_t number) {
  const unsigned char* bytes = value;
  size_t at = 0;

  if (size >= sizeof(number)) {
    if (watch_number(value) != number) {
      return 0;
    }
    at = sizeof(number);
  }
  for (; at < size; at++) {
    if (bytes[at] != watch_blob_byte(number, at)) {
      return 0;
    }
  }
  return 1;
}

/* Whether it is one, whole, of the number in front; size 8 and above. */
static inline int watch_blob_is_whole(const void* value, size_t size) {
  return watch_blob_is(value, size, watch_number(value));
}

/* Aligned for every type that its size allows. */
static inline int watch_blob_is_aligned(const void* value, size_t size) {
  size_t align = size == 0 ? 1 : size & (~size + 1);

  if (align > _Alignof(max_align_t)) {
    align = _Alignof(max_align_t);
  }
  return (uintptr_t) value % align == 0;
}

#endif
