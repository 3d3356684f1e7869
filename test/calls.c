/* SPDX-License-Identifier: MIT
 *
 * See calls.h. */
#include "calls.h"

#include <dirent.h>

void on_drop(void* item, void* arg) {
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

void open_loop(world_t* w) {
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

void open_mpsc_full(world_t* w) {
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

void open_mpsc_full_and_loop(world_t* w) {
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

void open_mpsc_on_loop(world_t* w) {
  open_loop(w);
  ck_assert_int_eq(uvch_mpsc_init(&w->loop, &w->e.rx, &w->e.tx, sizeof(uint64_t), CAPACITY), 0);
}

/* As in a child. */
static void open_mpsc_forked(world_t* w) {
  open_mpsc_on_loop(w);
  ck_assert_int_eq(uv_loop_fork(&w->loop), 0);
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

void open_broadcast(world_t* w) {
  open_broadcast_without_receiver(w);
  ck_assert_int_eq(uvch_broadcast_subscribe(NULL, &w->e.brx, &w->e.btx), 0);
}

void open_broadcast_full(world_t* w) {
  size_t i;

  open_broadcast(w);
  for (i = 0; i < CAPACITY; i++)
    ck_assert_int_eq(uvch_broadcast_send(&w->e.btx, &w->e.messages[0]), 1);
}

static void open_broadcast_and_loop(world_t* w) {
  open_loop(w);
  open_broadcast(w);
}

void open_broadcast_full_and_loop(world_t* w) {
  open_loop(w);
  open_broadcast_full(w);
}

void open_watch(world_t* w) {
  uvch_watch_options_t options;

  memset(&options, 0, sizeof(options));
  options.copy = on_copy;
  options.drop = on_drop;
  options.arg = w;
  ck_assert_int_eq(uvch_watch_init_ex(NULL, &w->e.wrx, &w->e.wtx, sizeof(uint64_t), &w->e.messages[0], &options), 0);
  ck_assert_ptr_nonnull(uvch_watch_borrow(&w->e.wrx)); /* or the next value would have a node that is free */
}

void open_watch_and_loop(world_t* w) {
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

void open_inbox(world_t* w) {
  open_loop(w);
  ck_assert_int_eq(uvch_inbox_init(&w->loop, &w->e.inbox), 0);
}

/* Ends, whatever was begun. */

static void close_handle(void* handle) {
  uvch_handle_t* h = handle;

  if (h->type != UVCH_UNKNOWN_HANDLE && !uvch_is_closing(h))
    ck_assert_int_eq(uvch_close(h, NULL), 0);
}

void turn(world_t* w) {
  int i;

  for (i = 0; i < 3 && w->has_loop; i++)
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

void close_world(world_t* w) {
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
}

/* Calls, by the names of the functions. */

#define CALL(name, ...)                \
  static int call_##name(world_t* w) { \
    return name(__VA_ARGS__);          \
  }

void on_sent(uvch_mpsc_send_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

void on_closed(uvch_mpsc_closed_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

static void on_oneshot_closed(uvch_oneshot_closed_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

void on_broadcast_sent(uvch_broadcast_send_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

void on_broadcast_closed(uvch_broadcast_closed_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

void on_watch_closed(uvch_watch_closed_t* req, int status) {
  (void) status;
  ((world_t*) req->data)->told += 1;
}

void on_waited(uvch_watch_wait_for_t* req, int status, const void* value) {
  (void) status;
  (void) value;
  ((world_t*) req->data)->told += 1;
}

void on_reply(uvch_call_t* req, int status, void* reply) {
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

int is_other(const void* value, void* arg) {
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
CALL(uvch_loop_fork, &w->loop)
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

const row_t rows[] = {
    ROW(uvch_attach, open_mpsc_and_loop, 0),
    ROW(uvch_close, open_mpsc_broken, 0),
    ROW(uvch_loop_configure, open_loop, 0),
    ROW(uvch_loop_fork, open_mpsc_forked, 0),
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

const size_t row_count = COUNT(rows);

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

void open_world(world_t* w, const row_t* row) {
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
  const fault_t* fault;
  world_t* w;
  uv_thread_t thread;
} helper_t;

/* Its own calls are not those that are to fail. */
static void help(void* arg) {
  helper_t* helper = arg;

  support_until_blocked(&helper->w->number);
  helper->fault->disarm();
  helper->row->help(helper->w);
}

static void count_handle(uv_handle_t* handle, void* arg) {
  (void) handle;
  *(size_t*) arg += 1;
}

static size_t handles(world_t* w) {
  size_t n = 0;

  if (w->has_loop)
    uv_walk(&w->loop, count_handle, &n);
  return n;
}

/* Nothing has happened; then the same call succeeds, or is given up. What a first call leaves on its loop goes with the next pass. */
static void after_failure(world_t* w, const row_t* row, manner_t manner, const ends_t* ends, const state_t* before,
                          bool is_first) {
  state_t after = state_of(w);

  if (is_first && manner != AGAIN_AT_ONCE) {
    uv_run(&w->loop, UV_RUN_NOWAIT);
    ck_assert_msg(handles(w) == 0, "%s has failed, and after a pass the loop has %zu handles", row->name, handles(w));
  }
  ck_assert_msg(memcmp(&w->e, ends, sizeof(*ends)) == 0, "%s has failed and changed something", row->name);
  ck_assert_msg(memcmp(&after, before, sizeof(after)) == 0, "%s has failed and left something in the channel", row->name);
  if (manner != AGAIN_AT_ONCE)
    turn(w);
  ck_assert_msg(w->told == 0, "%s has failed and called its callback", row->name);
  if (manner != GIVE_UP)
    ck_assert_int_eq(row->call(w), row->works);
}

/* What the library had to keep for a broken loop goes with a later one at the same address. */
static void sweep(world_t* w) {
  memset(&w->e, 0, sizeof(w->e));
  open_mpsc_on_loop(w);
  close_world(w);
}

static size_t descriptors(void) {
  DIR* directory = opendir("/proc/self/fd");
  size_t n = 0;

  while (directory != NULL && readdir(directory) != NULL)
    n += 1;
  if (directory != NULL)
    closedir(directory);
  return n;
}

void settle(void) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_mpsc_init(&loop, &rx, &tx, sizeof(uint64_t), CAPACITY), 0);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_end(&loop);
}

bool run_row(const row_t* row, const fault_t* fault, manner_t manner, size_t n) {
  helper_t helper = {.row = row, .fault = fault};
  size_t blocks = support_alloc_blocks();
  size_t opened = descriptors();
  state_t before;
  world_t w;
  ends_t ends;
  bool failed;
  bool is_first;
  int result;

  open_world(&w, row);
  is_first = w.has_loop && handles(&w) == 0;
  helper.w = &w;
  if (row->help != NULL)
    support_spawn(&helper.thread, help, &helper);
  before = state_of(&w);
  memcpy(&ends, &w.e, sizeof(ends));
  fault->arm(n, manner == GIVE_UP);
  atomic_store(&w.number, support_thread_number());
  result = row->call(&w);
  failed = fault->failed() > 0;
  fault->disarm();
  ck_assert_msg(result == (failed ? fault->code : row->works), "%s says %d, with %s %zu %s", row->name, result, fault->name, n,
                failed ? "failing" : "not used");
  if (failed)
    after_failure(&w, row, manner, &ends, &before, is_first);
  if (row->help != NULL) {
    support_join(&helper.thread);
    support_result_check(&w.helped);
  }
  if (failed && manner == GIVE_UP && fault->in_the_end)
    fault->arm(1, true);
  close_world(&w);
  fault->disarm();
  if (w.is_broken)
    sweep(&w);
  ck_assert_msg(support_alloc_blocks() == blocks, "%s has left %zu blocks", row->name, support_alloc_blocks() - blocks);
  ck_assert_msg(descriptors() == opened, "%s has left a descriptor", row->name);
  return failed;
}

size_t run_row_through(const row_t* row, const fault_t* fault, manner_t manner) {
  size_t n = 1;

  if (row->help != NULL && manner == GIVE_UP) /* it would wait for its help for ever */
    return 0;
  while (run_row(row, fault, manner, n))
    n += 1;
  return n - 1;
}
