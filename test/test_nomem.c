/* SPDX-License-Identifier: MIT
 *
 * No memory: every public function that allocates, with each of its allocations failing in turn, and every other one, which must
 * not allocate. What is in neither list fails the last test. */
#include "support.h"

#include <limits.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SHORT UINT64_C(1000) /* nanoseconds of a wait that is to end by its time */
#define CAPACITY 2
#define MESSAGE UINT64_C(0x1122334455667788)

/* A message of a channel of commands. */
typedef struct ask_s {
  uint64_t number;
  uvch_oneshot_sender_t reply;
} ask_t;

/* What must be as it was after a call that has failed. */
typedef struct ends_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_permit_t permit;
  uvch_oneshot_receiver_t orx;
  uvch_oneshot_sender_t otx;
  uvch_broadcast_receiver_t brx;
  uvch_broadcast_receiver_t brx2;
  uvch_broadcast_sender_t btx;
  uvch_watch_receiver_t wrx;
  uvch_watch_receiver_t wrx2;
  uvch_watch_sender_t wtx;
  uvch_inbox_t inbox;
  uint64_t messages[3 * 64]; /* more than a block has */
  uint64_t out[CAPACITY];
} ends_t;

/* What a call works on. What a row does not need stays 0. */
typedef struct world_s {
  uv_loop_t loop;
  bool has_loop;
  bool is_broken;
  ends_t e;
  uvch_mpsc_permit_t held;
  uvch_oneshot_sender_t old;
  ask_t ask;
  uvch_mpsc_send_t send;
  uvch_mpsc_reserve_t reserve;
  uvch_mpsc_closed_t closed;
  uvch_oneshot_closed_t oclosed;
  uvch_broadcast_send_t bsend;
  uvch_broadcast_closed_t bclosed;
  uvch_watch_wait_for_t wwait;
  uvch_watch_closed_t wclosed;
  uvch_call_t call;
  size_t told; /* callbacks of requests and of closed handles */
  _Atomic(size_t) dropped;
  _Atomic(long) number; /* of the calling thread, once it is about to call */
  support_result_t helped;
} world_t;

/* A row of the table: how it begins, the call, what it says when it works, and what another thread does once the calling thread
 * sleeps in it. Everything is ended by close_world(). */
typedef struct row_s {
  const char* name;
  void (*open)(world_t* w);
  int (*call)(world_t* w);
  int works;
  void (*help)(world_t* w);
} row_t;

static void on_drop(void* item, void* arg) {
  world_t* w = arg;

  ck_assert_ptr_nonnull(item);
  atomic_fetch_add(&w->dropped, 1);
}

static int on_copy(void* to, const void* from, void* arg) {
  (void) arg;
  memcpy(to, from, sizeof(uint64_t));
  return 0;
}

/* Beginnings. */

static void open_loop(world_t* w) {
  support_loop_init(&w->loop);
  w->has_loop = true;
}

static void fill(world_t* w, size_t count) {
  for (; count > 0; count--)
    support_put(&w->e.tx, MESSAGE);
}

static void open_mpsc(world_t* w) {
  ck_assert_int_eq(uvch_mpsc_init(NULL, &w->e.rx, &w->e.tx, sizeof(uint64_t), CAPACITY), 0);
}

static void open_mpsc_unbounded(world_t* w) {
  ck_assert_int_eq(uvch_mpsc_init(NULL, &w->e.rx, &w->e.tx, sizeof(uint64_t), UVCH_UNBOUNDED), 0);
}

static void open_mpsc_full(world_t* w) {
  open_mpsc(w);
  fill(w, CAPACITY);
}

static void open_mpsc_reserved(world_t* w) {
  open_mpsc(w);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&w->e.tx, CAPACITY, &w->held), 0);
}

static void open_mpsc_and_loop(world_t* w) {
  open_loop(w);
  open_mpsc(w);
}

static void open_mpsc_full_and_loop(world_t* w) {
  open_loop(w);
  open_mpsc_full(w);
}

static void open_mpsc_reserved_and_loop(world_t* w) {
  open_loop(w);
  open_mpsc_reserved(w);
}

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle))
    uv_close(handle, NULL);
}

/* The program has closed the library's own handles. */
static void open_mpsc_broken(world_t* w) {
  open_loop(w);
  ck_assert_int_eq(uvch_mpsc_init(&w->loop, &w->e.rx, &w->e.tx, sizeof(uint64_t), CAPACITY), 0);
  uv_walk(&w->loop, close_uv, NULL);
  w->is_broken = true;
}

static void open_mpsc_on_loop(world_t* w) {
  open_loop(w);
  ck_assert_int_eq(uvch_mpsc_init(&w->loop, &w->e.rx, &w->e.tx, sizeof(uint64_t), CAPACITY), 0);
}

static void open_oneshot(world_t* w) {
  ck_assert_int_eq(uvch_oneshot_init(NULL, &w->e.orx, &w->e.otx, sizeof(uint64_t)), 0);
}

static void open_oneshot_and_loop(world_t* w) {
  open_loop(w);
  open_oneshot(w);
}

static void open_oneshot_shut(world_t* w) { /* had its outcome, and the old sender is still there */
  open_oneshot(w);
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&w->e.orx), 0);
  ck_assert_int_eq(uvch_oneshot_try_recv(&w->e.orx, &w->e.out[0]), UV_EOF);
  w->old = w->e.otx;
  memset(&w->e.otx, 0, sizeof(w->e.otx));
}

/* Its messages are nodes, so that each of them takes memory. */
static void open_broadcast_without_receiver(world_t* w) {
  uvch_broadcast_options_t options;

  memset(&options, 0, sizeof(options));
  options.policy = UVCH_BROADCAST_WAIT;
  options.copy = on_copy;
  options.drop = on_drop;
  options.arg = w;
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, NULL, &w->e.btx, sizeof(uint64_t), CAPACITY, &options), 0);
}

static void open_broadcast(world_t* w) {
  open_broadcast_without_receiver(w);
  ck_assert_int_eq(uvch_broadcast_subscribe(NULL, &w->e.brx, &w->e.btx), 0);
}

static void open_broadcast_full(world_t* w) {
  size_t i;

  open_broadcast(w);
  for (i = 0; i < CAPACITY; i++)
    ck_assert_int_eq(uvch_broadcast_send(&w->e.btx, &w->e.messages[0]), 1);
}

static void open_broadcast_and_loop(world_t* w) {
  open_loop(w);
  open_broadcast(w);
}

static void open_broadcast_full_and_loop(world_t* w) {
  open_loop(w);
  open_broadcast_full(w);
}

static void open_watch(world_t* w) {
  uvch_watch_options_t options;

  memset(&options, 0, sizeof(options));
  options.copy = on_copy;
  options.drop = on_drop;
  options.arg = w;
  ck_assert_int_eq(uvch_watch_init_ex(NULL, &w->e.wrx, &w->e.wtx, sizeof(uint64_t), &w->e.messages[0], &options), 0);
  ck_assert_ptr_nonnull(uvch_watch_borrow(&w->e.wrx)); /* or the next value would have a node that is free */
}

static void open_watch_and_loop(world_t* w) {
  open_loop(w);
  open_watch(w);
}

/* A channel of commands. They have a sender in them, which whoever drops one ends. */
static void drop_ask(void* item, void* arg) {
  ask_t ask;

  memcpy(&ask, item, sizeof(ask));
  uvch_oneshot_sender_close(&ask.reply);
  on_drop(item, arg);
}

static void open_commands(world_t* w) {
  uvch_mpsc_options_t options;

  memset(&options, 0, sizeof(options));
  options.drop = drop_ask;
  options.arg = w;
  w->ask.number = MESSAGE;
  ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &w->e.rx, &w->e.tx, sizeof(ask_t), 1, &options), 0);
}

static void open_commands_full(world_t* w) {
  ask_t note;

  open_commands(w);
  memset(&note, 0, sizeof(note));
  ck_assert_int_eq(uvch_mpsc_try_send(&w->e.tx, &note), 0);
}

static void open_commands_and_loop(world_t* w) {
  open_loop(w);
  open_commands(w);
}

static void open_commands_full_and_loop(world_t* w) {
  open_loop(w);
  open_commands_full(w);
}

static void open_inbox(world_t* w) {
  open_loop(w);
  ck_assert_int_eq(uvch_inbox_init(&w->loop, &w->e.inbox), 0);
}

/* Ends, whatever was begun. */

static void close_world(world_t* w);

static void close_handle(void* handle) {
  uvch_handle_t* h = handle;

  if (h->type != UVCH_UNKNOWN_HANDLE && !uvch_is_closing(h))
    ck_assert_int_eq(uvch_close(h, NULL), 0);
}

static void turn(world_t* w) {
  int i;

  for (i = 0; i < 3 && w->has_loop; i++)
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

/* What the library had to keep for a broken loop goes with a later one at the same address. */
static void sweep(world_t* w) {
  support_alloc_fail(0);
  w->is_broken = false;
  memset(&w->e, 0, sizeof(w->e));
  open_mpsc_on_loop(w);
  close_world(w);
}

static void close_world(world_t* w) {
  if (w->held.count > 0)
    ck_assert_int_eq(uvch_mpsc_permit_release(&w->held), 0);
  turn(w); /* a reservation that was granted is there */
  if (w->e.permit.count > 0)
    ck_assert_int_eq(uvch_mpsc_permit_release(&w->e.permit), 0);
  uvch_mpsc_sender_close(&w->e.tx);
  uvch_oneshot_sender_close(&w->old);
  uvch_oneshot_sender_close(&w->e.otx);
  uvch_broadcast_sender_close(&w->e.btx);
  uvch_watch_sender_close(&w->e.wtx);
  uvch_inbox_close(&w->e.inbox);
  close_handle(&w->e.rx);
  close_handle(&w->e.orx);
  close_handle(&w->e.brx);
  close_handle(&w->e.brx2);
  close_handle(&w->e.wrx);
  close_handle(&w->e.wrx2);
  if (w->has_loop)
    support_loop_end(&w->loop);
  if (w->is_broken)
    sweep(w);
}

/* Calls, by the names of the functions. */

#define CALL(name, ...)                \
  static int call_##name(world_t* w) { \
    return name(__VA_ARGS__);          \
  }

static void on_sent(uvch_mpsc_send_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

static void on_closed(uvch_mpsc_closed_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

static void on_oneshot_closed(uvch_oneshot_closed_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

static void on_broadcast_sent(uvch_broadcast_send_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

static void on_broadcast_closed(uvch_broadcast_closed_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

static void on_watch_closed(uvch_watch_closed_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

static void on_waited(uvch_watch_wait_for_t* req, int status, const void* value) {
  (void) status;
  (void) value;
  ((world_t*) req->data)->told += 1;
}

static void on_reply(uvch_call_t* req, int status, void* reply) {
  (void) status;
  (void) reply;
  ((world_t*) req->data)->told += 1;
}

static void on_handle_closed(uvch_handle_t* handle) {
  ((world_t*) handle->data)->told += 1;
}

static void on_post(uv_loop_t* loop, int status, void* arg) {
  (void) loop;
  (void) status;
  (void) arg;
}

static int never(const void* value, void* arg) {
  (void) value;
  (void) arg;
  return 0;
}

static int is_other(const void* value, void* arg) {
  (void) arg;
  return memcmp(value, &(uint64_t){MESSAGE}, sizeof(uint64_t)) != 0;
}

static int increase(void* value, void* arg) {
  uint64_t number;

  (void) arg;
  memcpy(&number, value, sizeof(number));
  number += 1;
  memcpy(value, &number, sizeof(number));
  return 1;
}

CALL(uvch_mpsc_init, &w->loop, &w->e.rx, &w->e.tx, sizeof(uint64_t), CAPACITY)
CALL(uvch_mpsc_try_send, &w->e.tx, &w->e.messages[0])
CALL(uvch_mpsc_send, &w->loop, &w->send, &w->e.tx, &w->e.messages[0], on_sent)
CALL(uvch_mpsc_send_wait, &w->e.tx, &w->e.messages[0])
CALL(uvch_mpsc_send_timedwait, &w->e.tx, &w->e.messages[0], SHORT)
CALL(uvch_mpsc_try_send_many, &w->e.tx, w->e.messages, COUNT(w->e.messages))
CALL(uvch_mpsc_send_many, &w->loop, &w->send, &w->e.tx, w->e.messages, COUNT(w->e.messages), on_sent)
CALL(uvch_mpsc_send_many_wait, &w->e.tx, w->e.messages, 4 * CAPACITY)
CALL(uvch_mpsc_send_many_timedwait, &w->e.tx, w->e.messages, 4 * CAPACITY, SHORT)
CALL(uvch_mpsc_try_reserve, &w->e.tx, 1, &w->e.permit)
CALL(uvch_mpsc_reserve, &w->loop, &w->reserve, &w->e.tx, 1, &w->e.permit, on_reserved)
CALL(uvch_mpsc_reserve_wait, &w->e.tx, 1, &w->e.permit)
CALL(uvch_mpsc_reserve_timedwait, &w->e.tx, 1, &w->e.permit, SHORT)
CALL(uvch_mpsc_closed, &w->loop, &w->closed, &w->e.tx, on_closed)
CALL(uvch_mpsc_closed_wait, &w->e.tx)
CALL(uvch_mpsc_closed_timedwait, &w->e.tx, SHORT)
CALL(uvch_mpsc_recv_wait, &w->e.rx, &w->e.out[0])
CALL(uvch_mpsc_recv_timedwait, &w->e.rx, &w->e.out[0], SHORT)
CALL(uvch_mpsc_recv_many_wait, &w->e.rx, w->e.out, CAPACITY)
CALL(uvch_mpsc_recv_many_timedwait, &w->e.rx, w->e.out, CAPACITY, SHORT)
CALL(uvch_oneshot_init, &w->loop, &w->e.orx, &w->e.otx, sizeof(uint64_t))
CALL(uvch_oneshot_renew, &w->e.orx, &w->e.otx)
CALL(uvch_oneshot_closed, &w->loop, &w->oclosed, &w->e.otx, on_oneshot_closed)
CALL(uvch_oneshot_closed_wait, &w->e.otx)
CALL(uvch_oneshot_closed_timedwait, &w->e.otx, SHORT)
CALL(uvch_oneshot_recv_wait, &w->e.orx, &w->e.out[0])
CALL(uvch_oneshot_recv_timedwait, &w->e.orx, &w->e.out[0], SHORT)
CALL(uvch_broadcast_init, &w->loop, &w->e.brx, &w->e.btx, sizeof(uint64_t), CAPACITY)
CALL(uvch_broadcast_subscribe, &w->loop, &w->e.brx2, &w->e.btx)
CALL(uvch_broadcast_resubscribe, &w->loop, &w->e.brx2, &w->e.brx)
CALL(uvch_broadcast_send, &w->e.btx, &w->e.messages[0])
CALL(uvch_broadcast_queue_send, &w->loop, &w->bsend, &w->e.btx, &w->e.messages[0], on_broadcast_sent)
CALL(uvch_broadcast_send_wait, &w->e.btx, &w->e.messages[0])
CALL(uvch_broadcast_send_timedwait, &w->e.btx, &w->e.messages[0], SHORT)
CALL(uvch_broadcast_closed, &w->loop, &w->bclosed, &w->e.btx, on_broadcast_closed)
CALL(uvch_broadcast_closed_wait, &w->e.btx)
CALL(uvch_broadcast_closed_timedwait, &w->e.btx, SHORT)
CALL(uvch_broadcast_recv_wait, &w->e.brx, &w->e.out[0])
CALL(uvch_broadcast_recv_timedwait, &w->e.brx, &w->e.out[0], SHORT)
CALL(uvch_watch_init, &w->loop, &w->e.wrx, &w->e.wtx, sizeof(uint64_t), &w->e.messages[0])
CALL(uvch_watch_subscribe, &w->loop, &w->e.wrx2, &w->e.wtx)
CALL(uvch_watch_receiver_clone, &w->loop, &w->e.wrx2, &w->e.wrx)
CALL(uvch_watch_send, &w->e.wtx, &w->e.messages[0])
CALL(uvch_watch_send_replace, &w->e.wtx, &w->e.messages[0], &w->e.out[0])
CALL(uvch_watch_modify, &w->e.wtx, increase, NULL)
CALL(uvch_watch_modify_if, &w->e.wtx, increase, NULL)
CALL(uvch_watch_closed, &w->loop, &w->wclosed, &w->e.wtx, on_watch_closed)
CALL(uvch_watch_closed_wait, &w->e.wtx)
CALL(uvch_watch_closed_timedwait, &w->e.wtx, SHORT)
CALL(uvch_watch_wait_for_wait, &w->e.wrx, is_other, NULL, NULL)
CALL(uvch_watch_wait_for_timedwait, &w->e.wrx, never, NULL, NULL, SHORT)
CALL(uvch_watch_changed_wait, &w->e.wrx)
CALL(uvch_watch_changed_timedwait, &w->e.wrx, SHORT)
CALL(uvch_call, &w->loop, &w->call, &w->e.tx, &w->ask, &w->ask.reply, sizeof(uint64_t), on_reply)
CALL(uvch_call_wait, &w->e.tx, &w->ask, &w->ask.reply, &w->e.out[0], sizeof(uint64_t))
CALL(uvch_call_timedwait, &w->e.tx, &w->ask, &w->ask.reply, &w->e.out[0], sizeof(uint64_t), SHORT, NULL)
CALL(uvch_attach, &w->loop, (uvch_handle_t*) &w->e.rx)
CALL(uvch_close, (uvch_handle_t*) &w->e.rx, on_handle_closed)
CALL(uvch_loop_configure, &w->loop, UVCH_LOOP_HOT_MAX, 0)
CALL(uvch_inbox_init, &w->loop, &w->e.inbox)
CALL(uvch_post, &w->e.inbox, on_post, w)
CALL(uvch_inbox_stop, &w->e.inbox)

static int call_uvch_mpsc_init_ex(world_t* w) {
  uvch_mpsc_options_t options = {.flags = UVCH_PREALLOCATE, .drop = on_drop, .arg = w, .name = "name"};

  return uvch_mpsc_init_ex(&w->loop, &w->e.rx, &w->e.tx, sizeof(uint64_t), CAPACITY, &options);
}

static int call_uvch_oneshot_init_ex(world_t* w) {
  uvch_oneshot_options_t options = {.drop = on_drop, .arg = w};

  return uvch_oneshot_init_ex(&w->loop, &w->e.orx, &w->e.otx, sizeof(uint64_t), &options);
}

static int call_uvch_broadcast_init_ex(world_t* w) {
  uvch_broadcast_options_t options = {.policy = UVCH_BROADCAST_WAIT, .copy = on_copy, .drop = on_drop, .arg = w};

  return uvch_broadcast_init_ex(&w->loop, &w->e.brx, &w->e.btx, sizeof(uint64_t), CAPACITY, &options);
}

static int call_uvch_watch_init_ex(world_t* w) {
  uvch_watch_options_t options = {.copy = on_copy, .drop = on_drop, .arg = w};

  return uvch_watch_init_ex(&w->loop, &w->e.wrx, &w->e.wtx, sizeof(uint64_t), &w->e.messages[0], &options);
}

static int call_uvch_call_ex(world_t* w) {
  uvch_call_options_t options = {.timeout = UINT64_MAX, .drop = on_drop, .arg = w};

  return uvch_call_ex(&w->loop, &w->call, &w->e.tx, &w->ask, &w->ask.reply, sizeof(uint64_t), &options, on_reply);
}

static int call_uvch_loop_fork(world_t* w) {
  int err = uv_loop_fork(&w->loop);

  return err != 0 ? err : uvch_loop_fork(&w->loop);
}

/* Help, of another thread. */

#define helped(w, result, wanted) support_expect_eq(&(w)->helped, result, wanted)

static void help_take(world_t* w) {
  uint64_t value;

  helped(w, uvch_mpsc_try_recv(&w->e.rx, &value), 0);
}

static void help_take_many(world_t* w) {
  uint64_t value;
  size_t left = 3 * CAPACITY;

  while (left > 0) {
    left -= uvch_mpsc_try_recv(&w->e.rx, &value) == 0;
    support_yield();
  }
}

static void help_release(world_t* w) {
  helped(w, uvch_mpsc_permit_release(&w->held), 0);
}

static void help_shutdown(world_t* w) {
  helped(w, uvch_mpsc_recv_shutdown(&w->e.rx), 0);
}

static void help_send(world_t* w) {
  helped(w, uvch_mpsc_try_send(&w->e.tx, &w->e.messages[0]), 0);
}

static void help_oneshot_shutdown(world_t* w) {
  helped(w, uvch_oneshot_recv_shutdown(&w->e.orx), 0);
}

static void help_oneshot_send(world_t* w) {
  helped(w, uvch_oneshot_send(&w->e.otx, &w->e.messages[0]), 0);
}

static void help_broadcast_take(world_t* w) {
  uint64_t value;

  helped(w, uvch_broadcast_try_recv(&w->e.brx, &value), 0);
}

static void help_broadcast_close(world_t* w) {
  helped(w, uvch_close((uvch_handle_t*) &w->e.brx, NULL), 0);
}

static void help_broadcast_send(world_t* w) {
  helped(w, uvch_broadcast_send(&w->e.btx, &w->e.messages[0]), 1);
}

static void help_watch_close(world_t* w) {
  helped(w, uvch_close((uvch_handle_t*) &w->e.wrx, NULL), 0);
}

static void help_watch_send(world_t* w) {
  helped(w, uvch_watch_modify(&w->e.wtx, increase, NULL), 0);
}

static void help_reply(world_t* w) {
  ask_t ask;

  if (helped(w, uvch_mpsc_try_recv(&w->e.rx, &ask), 0))
    helped(w, uvch_reply(&ask.reply, &w->e.messages[0]), 0);
}

/* The table. */

#define ROW(function, open, works) \
  { #function, open, call_##function, works, NULL }
#define ROW_WITH(function, open, works, help) \
  { #function, open, call_##function, works, help }

static const row_t rows[] = {
    ROW(uvch_attach, open_mpsc_and_loop, 0),
    ROW(uvch_close, open_mpsc_broken, 0),
    ROW(uvch_loop_configure, open_loop, 0),
    ROW(uvch_loop_fork, open_mpsc_on_loop, 0),
    ROW(uvch_mpsc_init, open_loop, 0),
    ROW(uvch_mpsc_init_ex, open_loop, 0),
    ROW(uvch_mpsc_try_send, open_mpsc, 0),
    ROW(uvch_mpsc_try_send, open_mpsc_unbounded, 0),
    ROW(uvch_mpsc_send, open_mpsc_and_loop, 0),
    ROW(uvch_mpsc_send, open_mpsc_full_and_loop, 0),
    ROW(uvch_mpsc_send_wait, open_mpsc, 0),
    ROW_WITH(uvch_mpsc_send_wait, open_mpsc_full, 0, help_take),
    ROW(uvch_mpsc_send_timedwait, open_mpsc, 0),
    ROW(uvch_mpsc_send_timedwait, open_mpsc_full, UV_ETIMEDOUT),
    ROW(uvch_mpsc_try_send_many, open_mpsc, CAPACITY),
    ROW(uvch_mpsc_try_send_many, open_mpsc_unbounded, 3 * 64),
    ROW(uvch_mpsc_send_many, open_mpsc_and_loop, 0),
    ROW(uvch_mpsc_send_many, open_mpsc_full_and_loop, 0),
    ROW_WITH(uvch_mpsc_send_many_wait, open_mpsc, 4 * CAPACITY, help_take_many),
    ROW(uvch_mpsc_send_many_timedwait, open_mpsc, CAPACITY),
    ROW(uvch_mpsc_send_many_timedwait, open_mpsc_full, UV_ETIMEDOUT),
    ROW(uvch_mpsc_try_reserve, open_mpsc, 0),
    ROW(uvch_mpsc_reserve, open_mpsc_and_loop, 0),
    ROW(uvch_mpsc_reserve, open_mpsc_reserved_and_loop, 0),
    ROW_WITH(uvch_mpsc_reserve_wait, open_mpsc_reserved, 0, help_release),
    ROW(uvch_mpsc_reserve_timedwait, open_mpsc, 0),
    ROW(uvch_mpsc_reserve_timedwait, open_mpsc_reserved, UV_ETIMEDOUT),
    ROW(uvch_mpsc_closed, open_mpsc_and_loop, 0),
    ROW_WITH(uvch_mpsc_closed_wait, open_mpsc, 0, help_shutdown),
    ROW(uvch_mpsc_closed_timedwait, open_mpsc, UV_ETIMEDOUT),
    ROW_WITH(uvch_mpsc_recv_wait, open_mpsc, 0, help_send),
    ROW(uvch_mpsc_recv_timedwait, open_mpsc, UV_ETIMEDOUT),
    ROW_WITH(uvch_mpsc_recv_many_wait, open_mpsc_unbounded, 1, help_send),
    ROW(uvch_mpsc_recv_many_timedwait, open_mpsc_unbounded, UV_ETIMEDOUT),
    ROW(uvch_oneshot_init, open_loop, 0),
    ROW(uvch_oneshot_init_ex, open_loop, 0),
    ROW(uvch_oneshot_renew, open_oneshot_shut, 0),
    ROW(uvch_oneshot_closed, open_oneshot_and_loop, 0),
    ROW_WITH(uvch_oneshot_closed_wait, open_oneshot, 0, help_oneshot_shutdown),
    ROW(uvch_oneshot_closed_timedwait, open_oneshot, UV_ETIMEDOUT),
    ROW_WITH(uvch_oneshot_recv_wait, open_oneshot, 0, help_oneshot_send),
    ROW(uvch_oneshot_recv_timedwait, open_oneshot, UV_ETIMEDOUT),
    ROW(uvch_broadcast_init, open_loop, 0),
    ROW(uvch_broadcast_init_ex, open_loop, 0),
    ROW(uvch_broadcast_subscribe, open_broadcast_and_loop, 0),
    ROW(uvch_broadcast_resubscribe, open_broadcast_and_loop, 0),
    ROW(uvch_broadcast_send, open_broadcast, 1),
    ROW(uvch_broadcast_queue_send, open_broadcast_and_loop, 0),
    ROW(uvch_broadcast_queue_send, open_broadcast_full_and_loop, 0),
    ROW(uvch_broadcast_send_wait, open_broadcast, 1),
    ROW_WITH(uvch_broadcast_send_wait, open_broadcast_full, 1, help_broadcast_take),
    ROW(uvch_broadcast_send_timedwait, open_broadcast, 1),
    ROW(uvch_broadcast_send_timedwait, open_broadcast_full, UV_ETIMEDOUT),
    ROW(uvch_broadcast_closed, open_broadcast_and_loop, 0),
    ROW_WITH(uvch_broadcast_closed_wait, open_broadcast, 0, help_broadcast_close),
    ROW(uvch_broadcast_closed_timedwait, open_broadcast, UV_ETIMEDOUT),
    ROW_WITH(uvch_broadcast_recv_wait, open_broadcast, 0, help_broadcast_send),
    ROW(uvch_broadcast_recv_timedwait, open_broadcast, UV_ETIMEDOUT),
    ROW(uvch_watch_init, open_loop, 0),
    ROW(uvch_watch_init_ex, open_loop, 0),
    ROW(uvch_watch_subscribe, open_watch_and_loop, 0),
    ROW(uvch_watch_receiver_clone, open_watch_and_loop, 0),
    ROW(uvch_watch_send, open_watch, 0),
    ROW(uvch_watch_send_replace, open_watch, 0),
    ROW(uvch_watch_modify, open_watch, 0),
    ROW(uvch_watch_modify_if, open_watch, 1),
    ROW(uvch_watch_closed, open_watch_and_loop, 0),
    ROW_WITH(uvch_watch_closed_wait, open_watch, 0, help_watch_close),
    ROW(uvch_watch_closed_timedwait, open_watch, UV_ETIMEDOUT),
    ROW_WITH(uvch_watch_wait_for_wait, open_watch, 0, help_watch_send),
    ROW(uvch_watch_wait_for_timedwait, open_watch, UV_ETIMEDOUT),
    ROW_WITH(uvch_watch_changed_wait, open_watch, 0, help_watch_send),
    ROW(uvch_watch_changed_timedwait, open_watch, UV_ETIMEDOUT),
    ROW(uvch_call, open_commands_and_loop, 0),
    ROW(uvch_call, open_commands_full_and_loop, 0),
    ROW(uvch_call_ex, open_commands_and_loop, 0),
    ROW(uvch_call_ex, open_commands_full_and_loop, 0),
    ROW_WITH(uvch_call_wait, open_commands, 0, help_reply),
    ROW(uvch_call_timedwait, open_commands, UV_ETIMEDOUT),
    ROW(uvch_call_timedwait, open_commands_full, UV_ETIMEDOUT),
    ROW(uvch_inbox_init, open_loop, 0),
    ROW(uvch_post, open_inbox, 0),
    ROW(uvch_inbox_stop, open_inbox, 0),
};

/* Running a row. */

/* What can be asked of the channels. */
typedef struct state_s {
  size_t numbers[12];
} state_t;

static state_t state_of(const world_t* w) {
  const ends_t* e = &w->e;

  return (state_t){{uvch_mpsc_sender_len(&e->tx), uvch_mpsc_sender_capacity(&e->tx), uvch_mpsc_sender_strong_count(&e->tx),
                    (size_t) uvch_mpsc_sender_is_closed(&e->tx), (size_t) uvch_oneshot_sender_is_closed(&e->otx),
                    uvch_broadcast_sender_len(&e->btx), uvch_broadcast_sender_receiver_count(&e->btx),
                    uvch_broadcast_sender_strong_count(&e->btx), uvch_watch_sender_receiver_count(&e->wtx),
                    uvch_watch_sender_sender_count(&e->wtx), w->told, atomic_load(&w->dropped)}};
}

static void open_world(world_t* w, const row_t* row) {
  size_t i;

  memset(w, 0, sizeof(*w));
  w->send.data = w->reserve.data = w->closed.data = w->oclosed.data = w;
  w->bsend.data = w->bclosed.data = w->wwait.data = w->wclosed.data = w->call.data = w;
  for (i = 0; i < COUNT(w->e.messages); i++)
    w->e.messages[i] = MESSAGE;
  row->open(w);
  w->e.rx.data = w;
}

typedef struct helper_s {
  const row_t* row;
  world_t* w;
  uv_thread_t thread;
} helper_t;

/* Its own calls are not those that are to fail. */
static void help(void* arg) {
  helper_t* helper = arg;

  support_until_blocked(&helper->w->number);
  support_alloc_fail(0);
  helper->row->help(helper->w);
}

enum { AGAIN_AT_ONCE, AGAIN_AFTER_A_PASS, GIVE_UP, MANNERS };

/* Nothing has happened; then the same call succeeds, or is given up. */
static void after_failure(world_t* w, const row_t* row, int manner, const ends_t* ends, const state_t* before) {
  state_t after = state_of(w);

  ck_assert_msg(memcmp(&w->e, ends, sizeof(*ends)) == 0, "%s has failed and changed something", row->name);
  ck_assert_msg(memcmp(&after, before, sizeof(after)) == 0, "%s has failed and left something in the channel", row->name);
  if (manner != AGAIN_AT_ONCE)
    turn(w);
  ck_assert_msg(w->told == 0, "%s has failed and called its callback", row->name);
  if (manner != GIVE_UP)
    ck_assert_int_eq(row->call(w), row->works);
}

/* Whether an allocation has failed: the n-th, with GIVE_UP all from the n-th on. */
static bool run_row(const row_t* row, int manner, size_t n) {
  helper_t helper = {.row = row};
  size_t blocks = support_alloc_blocks();
  state_t before;
  world_t w;
  ends_t ends;
  bool failed;
  int result;

  open_world(&w, row);
  helper.w = &w;
  if (row->help != NULL)
    support_spawn(&helper.thread, help, &helper);
  before = state_of(&w);
  memcpy(&ends, &w.e, sizeof(ends));
  support_alloc_mark();
  if (manner == GIVE_UP)
    support_alloc_fail_from(n);
  else
    support_alloc_fail(n);
  atomic_store(&w.number, support_thread_number());
  result = row->call(&w);
  support_alloc_fail(0);
  failed = support_alloc_failed() > 0;
  ck_assert_msg(result == (failed ? UV_ENOMEM : row->works), "%s says %d, with allocation %zu %s", row->name, result, n,
                failed ? "failing" : "not made");
  if (failed)
    after_failure(&w, row, manner, &ends, &before);
  if (row->help != NULL) {
    support_join(&helper.thread);
    support_result_check(&w.helped);
  }
  if (failed && manner == GIVE_UP)
    support_alloc_fail_from(1); /* the end takes none */
  close_world(&w);
  support_alloc_fail(0);
  ck_assert_msg(support_alloc_blocks() == blocks, "%s has left %zu blocks", row->name, support_alloc_blocks() - blocks);
  return failed;
}

START_TEST(a_call_without_memory_says_so_and_changes_nothing) {
  const row_t* row = &rows[_i / MANNERS];
  size_t n = 1;

  if (row->help != NULL && _i % MANNERS == GIVE_UP) /* it would wait for its help for ever */
    return;
  while (run_row(row, _i % MANNERS, n))
    n += 1;
  ck_assert_msg(n > 1, "%s allocates nothing", row->name);
}
END_TEST

/* As many as there is memory for. */
START_TEST(of_many_broadcast_messages_those_go_in_for_which_there_is_memory) {
  world_t w;
  size_t n;
  row_t row = {.open = open_broadcast};

  for (n = 1; n <= CAPACITY + 1; n++) {
    open_world(&w, &row);
    support_alloc_fail(n);
    ck_assert_int_eq(uvch_broadcast_send_many(&w.e.btx, w.e.messages, CAPACITY), n == 1 ? UV_ENOMEM : (int) n - 1);
    support_alloc_fail(0);
    ck_assert_uint_eq(uvch_broadcast_sender_len(&w.e.btx), n - 1);
    close_world(&w);
    ck_assert_uint_eq(w.dropped, n - 1);
  }
}
END_TEST

/* The functions that allocate nothing, each where it has something to do. While they run every allocation fails. */

static const char* quiet_names[256];
static size_t quiet_count;

static void quiet(const char* name) {
  ck_assert_msg(support_alloc_calls() == 0, "%s allocates", name);
  ck_assert_uint_lt(quiet_count, COUNT(quiet_names));
  quiet_names[quiet_count++] = name;
}

/* Called for its answer, which must be `wanted`, or without one. */
#define QUIET(wanted, function, ...)                                                   \
  do {                                                                                 \
    intptr_t answer_ = (intptr_t) function(__VA_ARGS__);                               \
    quiet(#function);                                                                  \
    ck_assert_msg(answer_ == (intptr_t) (wanted), "%s has another answer", #function); \
  } while (0)
#define QUIET_VOID(function, ...) \
  do {                            \
    function(__VA_ARGS__);        \
    quiet(#function);             \
  } while (0)

static void begin_quiet(world_t* w, void (*open)(world_t* w)) {
  const row_t row = {.open = open};

  open_world(w, &row);
  support_alloc_mark();
  support_alloc_fail_from(1);
}

/* Also the end takes nothing. */
static void end_quiet(world_t* w) {
  close_world(w);
  ck_assert_uint_eq(support_alloc_calls(), 0);
  support_alloc_fail(0);
}

static void on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) item;
  ((world_t*) rx->data)->told += status == 0;
}

static void on_recv_many(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  (void) first;
  (void) stride;
  ((world_t*) rx->data)->told += status == 0 ? count : 0;
}

static void on_walk(uvch_handle_t* handle, void* arg) {
  (void) handle;
  *(size_t*) arg += 1;
}

static void quiet_handles(void) {
  uvch_handle_t* handle;
  FILE* nowhere = fopen("/dev/null", "w");
  size_t walked = 0;
  uv_idle_t idle;
  world_t w;

  begin_quiet(&w, open_mpsc_on_loop);
  handle = (uvch_handle_t*) &w.e.rx;
  QUIET_VOID(uvch_walk, &w.loop, on_walk, &walked);
  ck_assert_uint_eq(walked, 1);
  QUIET_VOID(uvch_unref, handle);
  QUIET(0, uvch_has_ref, handle);
  QUIET_VOID(uvch_ref, handle);
  QUIET(0, uvch_is_active, handle);
  QUIET(0, uvch_is_closing, handle);
  QUIET(&w.loop, uvch_handle_get_loop, handle);
  QUIET(UVCH_MPSC_RECEIVER, uvch_handle_get_type, handle);
  QUIET_VOID(uvch_handle_set_data, handle, &w);
  QUIET(&w, uvch_handle_get_data, handle);
  ck_assert_int_eq(uv_idle_init(&w.loop, &idle), 0);
  QUIET(0, uvch_owns_handle, (uv_handle_t*) &idle);
  uv_close((uv_handle_t*) &idle, NULL);
  ck_assert_ptr_nonnull(nowhere);
  QUIET_VOID(uvch_print_all, &w.loop, nowhere);
  fclose(nowhere);
  QUIET(1, uvch_close_all, &w.loop);
  QUIET(uvch_version_string(), uvch_version_string, );
  QUIET(uvch_version(), uvch_version, );
  QUIET(0, uvch_replace_allocator, support_malloc, support_realloc, support_calloc, support_free);
  end_quiet(&w);
}

static void quiet_mpsc_ends(void) {
  uvch_mpsc_weak_sender_t weak[2];
  uvch_mpsc_sender_t tx[2];
  uvch_stats_t stats;
  world_t w;

  begin_quiet(&w, open_mpsc_full);
  QUIET(0, uvch_mpsc_sender_clone, &w.e.tx, &tx[0]);
  QUIET(0, uvch_mpsc_sender_downgrade, &w.e.tx, &weak[0]);
  QUIET(0, uvch_mpsc_weak_sender_clone, &weak[0], &weak[1]);
  QUIET(0, uvch_mpsc_weak_sender_upgrade, &weak[1], &tx[1]);
  QUIET(3, uvch_mpsc_sender_strong_count, &w.e.tx);
  QUIET(2, uvch_mpsc_sender_weak_count, &w.e.tx);
  QUIET(3, uvch_mpsc_weak_sender_strong_count, &weak[0]);
  QUIET(2, uvch_mpsc_weak_sender_weak_count, &weak[0]);
  QUIET(3, uvch_mpsc_receiver_strong_count, &w.e.rx);
  QUIET(2, uvch_mpsc_receiver_weak_count, &w.e.rx);
  QUIET(1, uvch_mpsc_sender_same_channel, &tx[0], &tx[1]);
  QUIET(0, uvch_mpsc_sender_is_closed, &tx[0]);
  QUIET(CAPACITY, uvch_mpsc_sender_len, &tx[0]);
  QUIET(0, uvch_mpsc_sender_capacity, &tx[0]);
  QUIET(CAPACITY, uvch_mpsc_sender_max_capacity, &tx[0]);
  QUIET(0, uvch_mpsc_receiver_is_closed, &w.e.rx);
  QUIET(0, uvch_mpsc_receiver_is_empty, &w.e.rx);
  QUIET(CAPACITY, uvch_mpsc_receiver_len, &w.e.rx);
  QUIET(0, uvch_mpsc_receiver_capacity, &w.e.rx);
  QUIET(CAPACITY, uvch_mpsc_receiver_max_capacity, &w.e.rx);
  QUIET(0, uvch_mpsc_sender_get_stats, &tx[0], &stats);
  QUIET(0, uvch_mpsc_receiver_get_stats, &w.e.rx, &stats);
  QUIET(0, uvch_mpsc_try_recv, &w.e.rx, w.e.out);
  QUIET(1, uvch_mpsc_try_recv_many, &w.e.rx, w.e.out, CAPACITY);
  QUIET(0, uvch_mpsc_recv_shutdown, &w.e.rx);
  QUIET(0, uvch_mpsc_sender_close, &tx[0]);
  uvch_mpsc_sender_close(&tx[1]);
  QUIET(0, uvch_mpsc_weak_sender_close, &weak[0]);
  uvch_mpsc_weak_sender_close(&weak[1]);
  end_quiet(&w);
}

static void open_two_permits(world_t* w) {
  open_mpsc_on_loop(w);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&w->e.tx, 2, &w->held), 0);
}

static void quiet_mpsc_permits(void) {
  uvch_mpsc_sender_t tx;
  world_t w;

  begin_quiet(&w, open_two_permits);
  QUIET(0, uvch_mpsc_permit_split, &w.held, 1, &w.e.permit);
  QUIET(1, uvch_mpsc_permit_count, &w.e.permit);
  QUIET(1, uvch_mpsc_permit_same_channel, &w.held, &w.e.permit);
  QUIET(1, uvch_mpsc_permit_same_channel_as_sender, &w.held, &w.e.tx);
  QUIET(0, uvch_mpsc_permit_get_sender, &w.held, &tx);
  support_drop_sender(&tx);
  QUIET(0, uvch_mpsc_recv_start, &w.e.rx, on_recv);
  QUIET(0, uvch_mpsc_permit_send, &w.e.permit, w.e.messages);
  QUIET(0, uvch_mpsc_permit_release, &w.held);
  turn(&w);
  QUIET(0, uvch_mpsc_recv_stop, &w.e.rx);
  QUIET(0, uvch_mpsc_recv_many_start, &w.e.rx, 8, on_recv_many);
  ck_assert_uint_eq(w.told, 1);
  end_quiet(&w);
}

static void open_request(world_t* w) {
  open_mpsc_full_and_loop(w);
  ck_assert_int_eq(call_uvch_mpsc_send(w), 0);
}

static void quiet_cancel(void) {
  world_t w;

  begin_quiet(&w, open_request);
  QUIET(0, uvch_cancel, (uvch_req_t*) &w.send);
  end_quiet(&w);
  ck_assert_uint_eq(w.told, 1);
}

static void on_outcome(uvch_oneshot_receiver_t* rx, int status, void* item) {
  (void) rx;
  (void) status;
  (void) item;
}

static void open_oneshot_on_loop(world_t* w) {
  open_loop(w);
  ck_assert_int_eq(uvch_oneshot_init(&w->loop, &w->e.orx, &w->e.otx, sizeof(uint64_t)), 0);
}

static void quiet_oneshot(void) {
  world_t w;

  begin_quiet(&w, open_oneshot_on_loop);
  QUIET(0, uvch_oneshot_sender_is_closed, &w.e.otx);
  QUIET(0, uvch_oneshot_recv, &w.e.orx, on_outcome);
  QUIET(0, uvch_oneshot_recv_stop, &w.e.orx);
  QUIET(0, uvch_oneshot_send, &w.e.otx, w.e.messages);
  QUIET(0, uvch_oneshot_receiver_is_empty, &w.e.orx);
  QUIET(0, uvch_oneshot_try_recv, &w.e.orx, w.e.out);
  QUIET(1, uvch_oneshot_receiver_is_terminated, &w.e.orx);
  end_quiet(&w);
  begin_quiet(&w, open_oneshot_on_loop);
  QUIET(0, uvch_oneshot_recv_shutdown, &w.e.orx);
  QUIET(0, uvch_oneshot_sender_close, &w.e.otx);
  end_quiet(&w);
  begin_quiet(&w, open_oneshot_on_loop);
  QUIET(0, uvch_reply, &w.e.otx, w.e.messages);
  end_quiet(&w);
}

static void on_news(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  (void) rx;
  (void) status;
  (void) item;
}

static void on_many_news(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  (void) rx;
  (void) status;
  (void) first;
  (void) stride;
  (void) count;
}

static void open_broadcast_on_loop(world_t* w) {
  open_broadcast_full_and_loop(w);
  ck_assert_int_eq(uvch_attach(&w->loop, (uvch_handle_t*) &w->e.brx), 0);
}

static void quiet_broadcast(void) {
  uvch_broadcast_weak_sender_t weak[2];
  uvch_broadcast_sender_t tx[2];
  world_t w;

  begin_quiet(&w, open_broadcast_on_loop);
  QUIET(0, uvch_broadcast_sender_clone, &w.e.btx, &tx[0]);
  QUIET(0, uvch_broadcast_sender_downgrade, &w.e.btx, &weak[0]);
  QUIET(0, uvch_broadcast_weak_sender_clone, &weak[0], &weak[1]);
  QUIET(0, uvch_broadcast_weak_sender_upgrade, &weak[1], &tx[1]);
  QUIET(3, uvch_broadcast_sender_strong_count, &w.e.btx);
  QUIET(2, uvch_broadcast_sender_weak_count, &w.e.btx);
  QUIET(3, uvch_broadcast_weak_sender_strong_count, &weak[0]);
  QUIET(2, uvch_broadcast_weak_sender_weak_count, &weak[0]);
  QUIET(3, uvch_broadcast_receiver_strong_count, &w.e.brx);
  QUIET(2, uvch_broadcast_receiver_weak_count, &w.e.brx);
  QUIET(1, uvch_broadcast_sender_same_channel, &tx[0], &tx[1]);
  QUIET(1, uvch_broadcast_sender_receiver_count, &tx[0]);
  QUIET(CAPACITY, uvch_broadcast_sender_len, &tx[0]);
  QUIET(0, uvch_broadcast_sender_is_empty, &tx[0]);
  QUIET(CAPACITY, uvch_broadcast_sender_capacity, &tx[0]);
  QUIET(0, uvch_broadcast_receiver_missed, &w.e.brx);
  QUIET(CAPACITY, uvch_broadcast_receiver_len, &w.e.brx);
  QUIET(0, uvch_broadcast_receiver_is_empty, &w.e.brx);
  QUIET(0, uvch_broadcast_receiver_is_closed, &w.e.brx);
  QUIET(1, uvch_broadcast_receiver_same_channel, &w.e.brx, &w.e.brx);
  QUIET(0, uvch_broadcast_try_recv, &w.e.brx, w.e.out);
  QUIET(0, uvch_broadcast_recv_start, &w.e.brx, on_news);
  turn(&w);
  QUIET(0, uvch_broadcast_recv_stop, &w.e.brx);
  QUIET(0, uvch_broadcast_recv_many_start, &w.e.brx, 8, on_many_news);
  QUIET(0, uvch_broadcast_sender_close, &tx[0]);
  uvch_broadcast_sender_close(&tx[1]);
  QUIET(0, uvch_broadcast_weak_sender_close, &weak[0]);
  uvch_broadcast_weak_sender_close(&weak[1]);
  end_quiet(&w);
}

static void on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  (void) rx;
  (void) status;
  (void) value;
}

static void open_watch_on_loop(world_t* w) {
  open_watch_and_loop(w);
  ck_assert_int_eq(uvch_attach(&w->loop, (uvch_handle_t*) &w->e.wrx), 0);
}

static void quiet_watch(void) {
  uvch_watch_sender_t tx;
  const void* value;
  world_t w;

  begin_quiet(&w, open_watch_on_loop);
  QUIET(0, uvch_watch_sender_clone, &w.e.wtx, &tx);
  value = uvch_watch_borrow(&w.e.wrx);
  QUIET(value, uvch_watch_sender_borrow, &tx);
  QUIET(value, uvch_watch_borrow, &w.e.wrx);
  QUIET(value, uvch_watch_borrow_and_update, &w.e.wrx);
  QUIET(1, uvch_watch_sender_receiver_count, &tx);
  QUIET(2, uvch_watch_sender_sender_count, &tx);
  QUIET(0, uvch_watch_sender_is_closed, &tx);
  QUIET(1, uvch_watch_sender_same_channel, &tx, &w.e.wtx);
  QUIET(0, uvch_watch_borrow_has_changed, &w.e.wrx);
  QUIET(0, uvch_watch_mark_changed, &w.e.wrx);
  QUIET(1, uvch_watch_has_changed, &w.e.wrx);
  QUIET(0, uvch_watch_mark_unchanged, &w.e.wrx);
  QUIET(1, uvch_watch_receiver_same_channel, &w.e.wrx, &w.e.wrx);
  QUIET(0, uvch_watch_start, &w.e.wrx, on_change, UVCH_WATCH_CURRENT);
  turn(&w);
  QUIET(0, uvch_watch_stop, &w.e.wrx);
  QUIET(0, uvch_watch_wait_for, &w.wwait, &w.e.wrx, is_other, NULL, on_waited);
  QUIET(0, uvch_watch_sender_close, &tx);
  end_quiet(&w);
}

static void quiet_inbox(void) {
  uvch_inbox_t copy;
  world_t w;

  begin_quiet(&w, open_inbox);
  QUIET(0, uvch_inbox_clone, &w.e.inbox, &copy);
  QUIET(0, uvch_inbox_close, &copy);
  end_quiet(&w);
}

static void (*const quiet_ones[])(void) = {quiet_handles, quiet_mpsc_ends, quiet_mpsc_permits, quiet_cancel,
                                           quiet_oneshot, quiet_broadcast, quiet_watch,        quiet_inbox};

START_TEST(the_other_functions_allocate_nothing) {
  quiet_ones[_i]();
}
END_TEST

/* Every public function is above: the export map has their names. */

static bool is_row(const char* name) {
  size_t i;

  for (i = 0; i < COUNT(rows); i++)
    if (strcmp(rows[i].name, name) == 0)
      return true;
  return strcmp(name, "uvch_broadcast_send_many") == 0; /* has a test of its own */
}

static bool is_quiet(const char* name) {
  size_t i;

  for (i = 0; i < quiet_count; i++)
    if (strcmp(quiet_names[i], name) == 0)
      return true;
  return false;
}

START_TEST(every_public_function_is_tested_here) {
  FILE* map = fopen(UVCH_MAP, "r");
  char line[128];
  char name[sizeof(line)];
  size_t names = 0;
  size_t i;

  ck_assert_msg(map != NULL, "cannot read " UVCH_MAP);
  for (i = 0; i < COUNT(quiet_ones); i++)
    quiet_ones[i]();
  while (fgets(line, sizeof(line), map) != NULL) {
    if (sscanf(line, " %120[a-z0-9_];", name) != 1 || strncmp(name, "uvch_", strlen("uvch_")) != 0)
      continue;
    ck_assert_msg(is_row(name) || is_quiet(name), "%s is in neither list", name);
    names += 1;
  }
  fclose(map);
  ck_assert_uint_gt(names, COUNT(quiet_ones));
}
END_TEST

/* Callbacks. */

/* Nobody could be told of a failure in the middle of a delivery, so it must do without memory: what waits is served, timers end
 * calls, news reaches everybody, requests end. */
typedef struct delivery_s {
  world_t w;
  uvch_oneshot_receiver_t orx[100];
  uvch_oneshot_sender_t otx[100];
  uvch_mpsc_send_t sends[100];
  uvch_call_t calls[10];
  ask_t asks[10];
  uvch_mpsc_receiver_t commands;
  uvch_mpsc_sender_t to_commands;
} delivery_t;

static void on_command(uvch_mpsc_receiver_t* rx, int status, void* item) {
  ask_t ask;

  (void) rx;
  if (status != 0)
    return;
  memcpy(&ask, item, sizeof(ask));
  support_check(uvch_reply(&ask.reply, &ask.number) >= 0);
}

static void delivery_requests(delivery_t* d) {
  uvch_call_options_t options = {.timeout = SHORT, .drop = on_drop, .arg = &d->w};
  world_t* w = &d->w;
  size_t i;

  for (i = 0; i < COUNT(d->sends); i++) {
    d->sends[i].data = w;
    ck_assert_int_eq(uvch_mpsc_send(&w->loop, &d->sends[i], &w->e.tx, w->e.messages, on_sent), 0);
  }
  ck_assert_int_eq(uvch_mpsc_init(&w->loop, &d->commands, &d->to_commands, sizeof(ask_t), 1), 0);
  for (i = 0; i < COUNT(d->calls); i++) { /* the first one is in, the others wait; those with a time may miss theirs */
    d->calls[i].data = w;
    ck_assert_int_eq(uvch_call_ex(&w->loop, &d->calls[i], &d->to_commands, &d->asks[i], &d->asks[i].reply, sizeof(uint64_t),
                                  i % 2 == 0 ? &options : NULL, on_reply),
                     0);
  }
  ck_assert_int_eq(call_uvch_mpsc_closed(w), 0);
  ck_assert_int_eq(call_uvch_broadcast_queue_send(w), 0);
  ck_assert_int_eq(call_uvch_watch_closed(w), 0);
  ck_assert_int_eq(call_uvch_broadcast_closed(w), 0);
}

static void delivery_start(delivery_t* d) {
  world_t* w = &d->w;
  size_t i;

  for (i = 0; i < COUNT(d->orx); i++) {
    ck_assert_int_eq(uvch_oneshot_init(&w->loop, &d->orx[i], &d->otx[i], sizeof(uint64_t)), 0);
    ck_assert_int_eq(uvch_oneshot_recv(&d->orx[i], on_outcome), 0);
  }
  ck_assert_int_eq(uvch_attach(&w->loop, (uvch_handle_t*) &w->e.brx), 0);
  ck_assert_int_eq(uvch_attach(&w->loop, (uvch_handle_t*) &w->e.wrx), 0);
  ck_assert_int_eq(uvch_attach(&w->loop, (uvch_handle_t*) &w->e.rx), 0);
  ck_assert_int_eq(uvch_broadcast_recv_start(&w->e.brx, on_news), 0);
  ck_assert_int_eq(uvch_watch_start(&w->e.wrx, on_change, UVCH_WATCH_CURRENT), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&w->e.rx, on_recv), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&d->commands, on_command), 0);
}

static void delivery_open(world_t* w) {
  open_mpsc_full_and_loop(w);
  open_broadcast_full(w);
  open_watch(w);
}

START_TEST(a_loop_delivers_without_taking_memory) {
  const row_t row = {.open = delivery_open};
  const size_t requests = COUNT(((delivery_t*) 0)->sends) + COUNT(((delivery_t*) 0)->calls) + 1;
  delivery_t* d = calloc(1, sizeof(*d));
  world_t* w;
  size_t i;

  ck_assert_ptr_nonnull(d);
  w = &d->w;
  open_world(w, &row);
  delivery_requests(d);
  delivery_start(d);
  support_alloc_mark();
  support_alloc_fail_from(1);
  for (i = 0; i < COUNT(d->otx); i++)
    ck_assert_int_eq(i % 2 == 0 ? uvch_oneshot_send(&d->otx[i], w->e.messages) : uvch_oneshot_sender_close(&d->otx[i]), 0);
  while (w->told < CAPACITY + COUNT(d->sends) + requests) /* messages of rx, and all requests but those of `closed` */
    uv_run(&w->loop, UV_RUN_ONCE);
  support_drop_sender(&d->to_commands);
  uvch_close_all(&w->loop);
  close_world(w);
  ck_assert_uint_eq(w->told, CAPACITY + COUNT(d->sends) + requests + 3);
  ck_assert_uint_eq(support_alloc_calls(), 0);
  support_alloc_fail(0);
  free(d);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("nomem");
  TCase* tcase = support_case(suite, "calls");

  tcase_add_loop_test(tcase, a_call_without_memory_says_so_and_changes_nothing, 0, (int) (COUNT(rows) * MANNERS));
  tcase_add_test(tcase, of_many_broadcast_messages_those_go_in_for_which_there_is_memory);
  tcase = support_case(suite, "others");
  tcase_add_loop_test(tcase, the_other_functions_allocate_nothing, 0, (int) COUNT(quiet_ones));
  tcase_add_test(tcase, every_public_function_is_tested_here);
  tcase_add_test(tcase, a_loop_delivers_without_taking_memory);
  return support_main(suite);
}
