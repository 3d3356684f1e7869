/* SPDX-License-Identifier: MIT
 *
 * No memory: every public function that allocates, with each of its allocations failing in turn, and every other one, which must
 * not allocate. What is in neither list fails the last test. */
#include "calls.h"

#include <stdio.h>

static void arm(size_t n, bool for_good) {
  support_alloc_mark();
  if (for_good)
    support_alloc_fail_from(n);
  else
    support_alloc_fail(n);
}

static void disarm(void) {
  support_alloc_fail(0);
}

static const fault_t memory = {"allocation", UV_ENOMEM, arm, disarm, support_alloc_failed, true};

START_TEST(a_call_without_memory_says_so_and_changes_nothing) {
  const row_t* row = &rows[_i / MANNERS];
  manner_t manner = (manner_t) (_i % MANNERS);
  size_t failed = run_row_through(row, &memory, manner);

  ck_assert_msg(failed > 0 || (manner == GIVE_UP && row->help != NULL), "%s allocates nothing", row->name);
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
  ck_assert_int_eq(uvch_mpsc_send(&w->loop, &w->send, &w->e.tx, w->e.messages, on_sent), 0);
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

  for (i = 0; i < row_count; i++)
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
  ck_assert_int_eq(uvch_mpsc_closed(&w->loop, &w->closed, &w->e.tx, on_closed), 0);
  ck_assert_int_eq(uvch_broadcast_queue_send(&w->loop, &w->bsend, &w->e.btx, w->e.messages, on_broadcast_sent), 0);
  ck_assert_int_eq(uvch_watch_closed(&w->loop, &w->wclosed, &w->e.wtx, on_watch_closed), 0);
  ck_assert_int_eq(uvch_broadcast_closed(&w->loop, &w->bclosed, &w->e.btx, on_broadcast_closed), 0);
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

  tcase_add_unchecked_fixture(tcase, settle, NULL);
  tcase_add_loop_test(tcase, a_call_without_memory_says_so_and_changes_nothing, 0, (int) (row_count * MANNERS));
  tcase_add_test(tcase, of_many_broadcast_messages_those_go_in_for_which_there_is_memory);
  tcase = support_case(suite, "others");
  tcase_add_loop_test(tcase, the_other_functions_allocate_nothing, 0, (int) COUNT(quiet_ones));
  tcase_add_test(tcase, every_public_function_is_tested_here);
  tcase_add_test(tcase, a_loop_delivers_without_taking_memory);
  return support_main(suite);
}
