/* SPDX-License-Identifier: MIT
 *
 * What the programs about oneshot channels share: channels of 8-byte values, what a receiver got, what was dropped. */
#ifndef UVCH_TEST_ONESHOT_SUPPORT_H
#define UVCH_TEST_ONESHOT_SUPPORT_H

#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOT_DONE = 1 }; /* no status is positive */

/* What a drop function got. */
typedef struct drops_s {
  size_t count;
  uint64_t last;
  long thread; /* of the last one */
} drops_t;

static inline void drops_cb(void* item, void* arg) {
  drops_t* drops = arg;

  memcpy(&drops->last, item, sizeof(drops->last));
  drops->count += 1;
  drops->thread = support_thread_number();
}

static inline void open_pair(uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx) {
  support_check_eq(uvch_oneshot_init(loop, rx, tx, sizeof(uint64_t)), 0);
}

/* The options are gone afterwards; the library must not look at them. */
static inline void open_dropping(uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx, drops_t* drops) {
  uvch_oneshot_options_t options;

  memset(&options, 0, sizeof(options));
  options.drop = drops_cb;
  options.arg = drops;
  support_check_eq(uvch_oneshot_init_ex(loop, rx, tx, sizeof(uint64_t), &options), 0);
  memset(&options, 0xa5, sizeof(options));
}

static inline void put(uvch_oneshot_sender_t* tx, uint64_t value) {
  support_check_eq(uvch_oneshot_send(tx, &value), 0);
}

static inline int try_put(uvch_oneshot_sender_t* tx) {
  uint64_t value = 1234;

  return uvch_oneshot_send(tx, &value);
}

static inline uint64_t take(uvch_oneshot_receiver_t* rx) {
  uint64_t value = UINT64_MAX;

  support_check_eq(uvch_oneshot_try_recv(rx, &value), 0);
  return value;
}

/* try_recv, of which only the answer matters; without a value nothing may be written. */
static inline int try_take(uvch_oneshot_receiver_t* rx) {
  uint64_t value = 0x5a5a5a5a;
  int answer = uvch_oneshot_try_recv(rx, &value);

  support_check(answer == 0 || value == 0x5a5a5a5a);
  return answer;
}

static inline void drop_sender(uvch_oneshot_sender_t* tx) {
  support_check_eq(uvch_oneshot_sender_close(tx), 0);
}

static inline void close_rx(uvch_oneshot_receiver_t* rx) {
  support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

static inline void never(uvch_oneshot_receiver_t* rx, int status, void* item) {
  (void) rx;
  (void) item;
  ck_abort_msg("a callback that must not come, status %d", status);
}

/* Where a receiver lives. */
enum { PLAIN, ON_LOOP, ATTACHED, KINDS };

static inline void open_kind(int kind, uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx, drops_t* drops) {
  memset(drops, 0, sizeof(*drops));
  open_dropping(kind == ON_LOOP ? loop : NULL, rx, tx, drops);
  if (kind == ATTACHED) {
    ck_assert_int_eq(uvch_attach(loop, (uvch_handle_t*) rx), 0);
  }
}

/* Bytes that can be told from others. */
static inline void fill(unsigned char* bytes, size_t size) {
  size_t i;

  for (i = 0; i < size; i++) {
    bytes[i] = (unsigned char) (3 + i * 7);
  }
}

/* They are whole and aligned. */
static inline void check_blob(const void* item, size_t size) {
  size_t align = size == 0 ? 1 : size & (~size + 1);
  const unsigned char* bytes = item;
  size_t i;

  if (align > _Alignof(max_align_t)) {
    align = _Alignof(max_align_t);
  }
  support_check_eq((uintptr_t) item % align, 0);
  for (i = 0; i < size; i++) {
    if (bytes[i] != (unsigned char) (3 + i * 7)) {
      ck_abort_msg("byte %zu of %zu is wrong", i, size);
    }
  }
}

/* What a receiver's callback got. */
typedef struct outcome_s {
  size_t calls;
  int status;
  uint64_t value;
} outcome_t;

static inline void outcome_cb(uvch_oneshot_receiver_t* rx, int status, void* item) {
  outcome_t* outcome = rx->data;

  support_check((status == 0) == (item != NULL));
  outcome->calls += 1;
  outcome->status = status;
  if (item != NULL) {
    memcpy(&outcome->value, item, sizeof(outcome->value));
  }
}

static inline void await(uvch_oneshot_receiver_t* rx, outcome_t* outcome) {
  memset(outcome, 0, sizeof(*outcome));
  outcome->status = NOT_DONE;
  rx->data = outcome;
  support_check_eq(uvch_oneshot_recv(rx, outcome_cb), 0);
  support_check_eq(outcome->calls, 0); /* never from inside the call */
}

static inline void check_value(const outcome_t* outcome, uint64_t value) {
  support_check_eq(outcome->calls, 1);
  support_check_eq(outcome->status, 0);
  support_check_eq(outcome->value, value);
}

static inline void check_end(const outcome_t* outcome) {
  support_check_eq(outcome->calls, 1);
  support_check_eq(outcome->status, UV_EOF);
}

static inline void prop_on_idle(uv_idle_t* prop) {
  (void) prop;
}

static inline void prop_on_close(uv_handle_t* prop) {
  prop->data = NULL;
}

/* A few passes, also of a loop that nothing keeps alive. */
static inline void turn(uv_loop_t* loop) {
  uv_idle_t prop;
  int i;

  support_check_eq(uv_idle_init(loop, &prop), 0);
  support_check_eq(uv_idle_start(&prop, prop_on_idle), 0);
  prop.data = &prop;
  for (i = 0; i < 3; i++) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  uv_close((uv_handle_t*) &prop, prop_on_close);
  while (prop.data != NULL) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
}

/* A few passes in which nothing may come, with something that keeps the loop alive. */
static inline void check_waits(uv_loop_t* loop, const size_t* calls) {
  int i;

  for (i = 0; i < 3; i++) {
    support_check(uv_run(loop, UV_RUN_NOWAIT) != 0);
    support_check_eq(*calls, 0);
  }
}

/* A request and what came of it. */
typedef struct watcher_s {
  uvch_oneshot_closed_t req;
  int status;
  size_t calls;
} watcher_t;

static inline void watcher_cb(uvch_oneshot_closed_t* req, int status) {
  watcher_t* watcher = req->data;

  watcher->status = status;
  watcher->calls += 1;
}

/* The request's memory is garbage before; the library must not look at it. */
static inline int try_watch(uv_loop_t* loop, watcher_t* watcher, const uvch_oneshot_sender_t* tx) {
  memset(watcher, 0xa5, sizeof(*watcher));
  watcher->req.data = watcher;
  watcher->status = NOT_DONE;
  watcher->calls = 0;
  return uvch_oneshot_closed(loop, &watcher->req, tx, watcher_cb);
}

static inline void watch(uv_loop_t* loop, watcher_t* watcher, const uvch_oneshot_sender_t* tx) {
  support_check_eq(try_watch(loop, watcher, tx), 0);
  support_check_eq(watcher->calls, 0); /* never from inside the call */
  support_check(watcher->req.data == watcher && watcher->req.loop == loop);
  support_check_eq(watcher->req.type, UVCH_ONESHOT_CLOSED);
}

static inline int cancel(watcher_t* watcher) {
  return uvch_cancel((uvch_req_t*) &watcher->req);
}

static inline void check_told(const watcher_t* watcher, int status) {
  support_check_eq(watcher->calls, 1);
  support_check_eq(watcher->status, status);
}

#endif
