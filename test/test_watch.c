/* SPDX-License-Identifier: MIT
 *
 * Watch channels: making, sending, modifying, borrowing, changes, waits for a value, clones, counts, closing, and what is
 * refused. In brackets the rows of the table of channel features that a case is about.
 *
 * All cases run with versions from 0 on, and with versions that wrap around on the way. */
#include "watch.h"
#include "watch_support.h"

/* Where a receiver lives. */
enum { PLAIN, ON_LOOP, ATTACHED, KINDS };

#define add_for_every_kind(tcase, test) tcase_add_loop_test(tcase, test, 0, KINDS)
#define add_for_every_kind_with_a_loop(tcase, test) tcase_add_loop_test(tcase, test, ON_LOOP, KINDS)

static void open_kind(int kind, uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx, uint64_t initial) {
  watch_open(kind == ON_LOOP ? loop : NULL, rx, tx, initial);
  if (kind == ATTACHED) {
    watch_attach(loop, rx);
  }
}

static void open_owning_kind(int kind, uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx,
                             watch_owner_t* owner) {
  watch_open_owning(kind == ON_LOOP ? loop : NULL, rx, tx, owner, watch_owned_copy, 1);
  if (kind == ATTACHED) {
    watch_attach(loop, rx);
  }
}

static uv_loop_t* loop_of(int kind, uv_loop_t* loop) {
  return kind == PLAIN ? NULL : loop;
}

static uvch_handle_t* handle_of(uvch_watch_receiver_t* rx) {
  return (uvch_handle_t*) rx;
}

/* Asking does not change the answer. */
static void check_changed(const uvch_watch_receiver_t* rx, int answer) {
  int i;

  for (i = 0; i < 3; i++) {
    support_check_eq(uvch_watch_has_changed(rx), answer);
  }
}

/* A receiver without a loop would have to wait, or is at its end. */
static void check_not_changed(uvch_watch_receiver_t* rx, int answer) {
  int i;

  for (i = 0; i < 3; i++) { /* every time */
    support_check_eq(uvch_watch_changed_timedwait(rx, 0), answer);
  }
}

/* The same receiver goes on: what it sees, and whether that is new to it. */
static void check_sees(uvch_watch_receiver_t* rx, uint64_t value, int is_new) {
  support_check_eq(watch_peek(rx), value);
  support_check_eq(uvch_watch_borrow_has_changed(rx), is_new);
}

static void check_bytes(const void* memory, unsigned char byte, size_t size) {
  const unsigned char* bytes = memory;
  size_t i;

  for (i = 0; i < size; i++) {
    support_check_eq(bytes[i], byte);
  }
}

static void check_counts(const uvch_watch_sender_t* tx, size_t receivers, size_t senders) {
  support_check_eq(uvch_watch_sender_receiver_count(tx), receivers);
  support_check_eq(uvch_watch_sender_sender_count(tx), senders);
  support_check_eq(uvch_watch_sender_is_closed(tx), receivers == 0);
}

static void count_closes(uvch_handle_t* handle) {
  *(size_t*) handle->data += 1;
}

/* Predicates: which values were tested, and what is said to them. */
typedef struct wish_s {
  uint64_t wanted;
  int fails; /* what is said to the wanted one, unless that is 0 */
  size_t calls;
  uint64_t tested[16];
  void (*then)(void* arg); /* what it does besides */
  void* arg;
} wish_t;

static int wish_cb(const void* value, void* arg) {
  wish_t* wish = arg;
  uint64_t number = watch_number(value);

  support_check(wish->calls < COUNT(wish->tested));
  wish->tested[wish->calls++] = number;
  if (wish->then != NULL) {
    wish->then(wish->arg);
  }
  support_check_eq(watch_number(value), number); /* whatever that did */
  if (number != wish->wanted) {
    return 0;
  }
  return wish->fails != 0 ? wish->fails : 1 + (int) (number % 3); /* above 0 */
}

static void wish_for(wish_t* wish, uint64_t wanted) {
  memset(wish, 0, sizeof(*wish));
  wish->wanted = wanted;
}

static void check_tested(const wish_t* wish, size_t at, uint64_t value) {
  support_check(at < wish->calls);
  support_check_eq(wish->tested[at], value);
}

/* Requests and what came of them. */

typedef struct waiting_s {
  uvch_watch_wait_for_t req;
  int status;
  uint64_t value;
  size_t calls;
} waiting_t;

static void waiting_cb(uvch_watch_wait_for_t* req, int status, const void* value) {
  waiting_t* waiting = req->data;

  support_check((status == 0) == (value != NULL));
  waiting->status = status;
  waiting->value = value != NULL ? watch_number(value) : 0;
  waiting->calls += 1;
}

/* The request's memory is garbage before; the library must not look at it. */
static int try_wait_for(waiting_t* waiting, uvch_watch_receiver_t* rx, wish_t* wish) {
  memset(waiting, 0xa5, sizeof(*waiting));
  waiting->req.data = waiting;
  waiting->status = WATCH_NOT_DONE;
  waiting->calls = 0;
  return uvch_watch_wait_for(&waiting->req, rx, wish_cb, wish, waiting_cb);
}

static void wait_for(waiting_t* waiting, uvch_watch_receiver_t* rx, wish_t* wish) {
  size_t before = wish->calls;

  support_check_eq(try_wait_for(waiting, rx, wish), 0);
  support_check_eq(waiting->calls, 0); /* never from inside the call */
  support_check_eq(wish->calls, before);
  support_check(waiting->req.data == waiting && waiting->req.loop == rx->loop);
  support_check_eq(waiting->req.type, UVCH_WATCH_WAIT_FOR);
}

static void check_waited(const waiting_t* waiting, int status, uint64_t value) {
  support_check_eq(waiting->calls, 1);
  support_check_eq(waiting->status, status);
  support_check_eq(waiting->value, value);
}

static int give_up(waiting_t* waiting) {
  return uvch_cancel((uvch_req_t*) &waiting->req);
}

typedef struct watcher_s {
  uvch_watch_closed_t req;
  int status;
  size_t calls;
} watcher_t;

static void watcher_cb(uvch_watch_closed_t* req, int status) {
  watcher_t* watcher = req->data;

  watcher->status = status;
  watcher->calls += 1;
}

static void watch(uv_loop_t* loop, watcher_t* watcher, const uvch_watch_sender_t* tx) {
  memset(watcher, 0xa5, sizeof(*watcher));
  watcher->req.data = watcher;
  watcher->status = WATCH_NOT_DONE;
  watcher->calls = 0;
  support_check_eq(uvch_watch_closed(loop, &watcher->req, tx, watcher_cb), 0);
  support_check_eq(watcher->calls, 0);
  support_check(watcher->req.data == watcher && watcher->req.loop == loop);
  support_check_eq(watcher->req.type, UVCH_WATCH_CLOSED);
}

static void check_told(const watcher_t* watcher, int status) {
  support_check_eq(watcher->calls, 1);
  support_check_eq(watcher->status, status);
}

static void never_waited(uvch_watch_wait_for_t* req, int status, const void* value) {
  (void) req;
  (void) value;
  ck_abort_msg("a callback that must not come, status %d", status);
}

static void never_closed(uvch_watch_closed_t* req, int status) {
  (void) req;
  ck_abort_msg("a callback that must not come, status %d", status);
}

static int never_tested(const void* value, void* arg) {
  (void) value;
  (void) arg;
  ck_abort_msg("a predicate that must not be asked");
  return 0;
}

static int never_modified(void* value, void* arg) {
  (void) value;
  (void) arg;
  ck_abort_msg("a function that must not be called");
  return 0;
}

/* Making. */

/* [FW01] */
START_TEST(a_new_channel_has_its_value_and_the_first_receiver_has_seen_it) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uint64_t initial = 17;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, initial);
  initial = 0; /* the channel has a copy */
  check_changed(&rx, 0);
  if (_i == PLAIN) {
    check_not_changed(&rx, UV_ETIMEDOUT);
  }
  check_sees(&rx, 17, 0);
  ck_assert_uint_eq(watch_sender_peek(&tx), 17);
  check_counts(&tx, 1, 1);
  ck_assert_int_eq(uvch_handle_get_type(handle_of(&rx)), UVCH_WATCH_RECEIVER);
  ck_assert_ptr_eq(uvch_handle_get_loop(handle_of(&rx)), loop_of(_i, &loop));
  ck_assert_int_eq(uvch_is_active(handle_of(&rx)), 0);
  ck_assert_int_eq(uvch_is_closing(handle_of(&rx)), 0);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FW02, FW24] */
START_TEST(a_channel_without_a_receiver_opens_with_the_first_one) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uint64_t initial = 4;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&tx, 0xa5, sizeof(tx));
  ck_assert_int_eq(uvch_watch_init((uv_loop_t*) &initial, NULL, &tx, sizeof(initial), &initial), 0); /* not looked at */
  check_counts(&tx, 0, 1);
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), 0);
  ck_assert_uint_eq(watch_sender_peek(&tx), 4);
  watch_subscribe(loop_of(_i, &loop), &rx, &tx);
  check_counts(&tx, 1, 1);
  check_sees(&rx, 4, 0);
  check_changed(&rx, 0);
  watch_close(&rx);
  check_counts(&tx, 0, 1);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_channel_that_never_has_a_receiver_leaves_nothing_behind) {
  watch_owner_t owner;
  uvch_watch_sender_t tx;
  size_t blocks = support_alloc_blocks();

  watch_open_owning(NULL, NULL, &tx, &owner, NULL, 1);
  ck_assert_int_eq(watch_put_owned(&tx, &owner, 2), 0);
  ck_assert_uint_eq(watch_owned_alive(&owner), 1);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
  ck_assert_uint_eq(support_alloc_blocks(), blocks);
}
END_TEST

START_TEST(making_one_refuses_what_it_cannot_be_and_leaves_both_ends_alone) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uint64_t initial = 4;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&rx, 0x5a, sizeof(rx));
  memset(&tx, 0x5a, sizeof(tx));
  ck_assert_int_eq(uvch_watch_init(&loop, &rx, NULL, 8, &initial), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_init(NULL, &rx, NULL, 8, &initial), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_init(&loop, &rx, &tx, 8, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_init(NULL, &rx, &tx, 1, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_init(NULL, &rx, &tx, UVCH_WATCH_VALUE_MAX + 1, &initial), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_init(NULL, &rx, &tx, SIZE_MAX, &initial), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_init(NULL, NULL, NULL, 8, &initial), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_init_ex(&loop, &rx, NULL, 8, &initial, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_init_ex(NULL, NULL, &tx, 8, NULL, NULL), UV_EINVAL);
  check_bytes(&rx, 0x5a, sizeof(rx));
  check_bytes(&tx, 0x5a, sizeof(tx));
  support_loop_end(&loop);
}
END_TEST

START_TEST(making_one_without_options_is_as_plain_as_with_none_set) {
  uvch_watch_options_t options;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uint64_t value = 3;
  uint64_t old = 0;

  memset(&options, 0, sizeof(options));
  watch_open_ex(NULL, &rx, &tx, sizeof(value), &value, _i == 0 ? &options : NULL);
  value = 4;
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &value, &old), 0); /* the bytes are enough */
  ck_assert_uint_eq(old, 3);
  ck_assert_uint_eq(watch_take(&rx), 4);
  watch_close(&rx);
  watch_drop_sender(&tx);
}
END_TEST

/* The value stays the caller's: neither copied nor dropped. */
START_TEST(without_memory_nothing_is_made_and_nothing_is_touched) {
  uvch_watch_options_t options;
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t more;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  watch_owned_t owned;
  uv_loop_t loop;
  size_t n;

  support_loop_init(&loop);
  memset(&owner, 0, sizeof(owner));
  memset(&options, 0, sizeof(options));
  options.copy = watch_owned_copy;
  options.drop = watch_owned_drop;
  options.arg = &owner;
  ck_assert(watch_owned_make(&owner, &owned, 1));
  for (n = 1;; n++) {
    memset(&rx, 0x5a, sizeof(rx));
    memset(&tx, 0x5a, sizeof(tx));
    support_alloc_mark();
    support_alloc_fail(n);
    if (uvch_watch_init_ex(_i == 0 ? NULL : &loop, &rx, &tx, sizeof(owned), &owned, &options) == 0) {
      break;
    }
    ck_assert_uint_eq(support_alloc_failed(), 1);
    ck_assert_uint_eq(watch_owned_alive(&owner), 1);
    check_bytes(&rx, 0x5a, sizeof(rx));
    check_bytes(&tx, 0x5a, sizeof(tx));
  }
  ck_assert_uint_gt(n, 1);
  for (n = 1;; n++) {
    memset(&more, 0x5a, sizeof(more));
    support_alloc_mark();
    support_alloc_fail(n);
    if (uvch_watch_subscribe(_i == 0 ? NULL : &loop, &more, &tx) == 0) {
      break;
    }
    ck_assert_uint_eq(support_alloc_failed(), 1);
    check_bytes(&more, 0x5a, sizeof(more));
    check_counts(&tx, 1, 1);
  }
  support_alloc_fail(0);
  check_sees(&more, 1, 0);
  watch_close(&rx);
  watch_close(&more);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  ck_assert_uint_eq(atomic_load(&owner.copied), 0);
  watch_owner_check(&owner);
}
END_TEST

static const size_t sizes[] = {1, 2, 3, 7, 8, 9, 12, 16, 24, 63, 64, 65, 100, 4096, 4097, 100000};

#define SIZE (sizes[_i])

typedef struct blob_s {
  size_t size;
  uint64_t number;
  size_t calls;
} blob_t;

static void check_blob(const void* value, const blob_t* blob) {
  support_check(value != NULL);
  support_check(watch_blob_is_aligned(value, blob->size));
  support_check(watch_blob_is(value, blob->size, blob->number));
}

static void blob_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  blob_t* blob = rx->data;

  support_check_eq(status, 0);
  check_blob(value, blob);
  blob->calls += 1;
}

static int blob_predicate(const void* value, void* arg) {
  check_blob(value, arg);
  return 1;
}

/* From one number to the next. */
static int blob_modify(void* value, void* arg) {
  blob_t* blob = arg;

  check_blob(value, blob);
  blob->number += 1;
  watch_blob_fill(value, blob->size, blob->number);
  return 0;
}

/* [FW03, FW05, FW09, FW10] */
START_TEST(a_value_of_any_size_comes_whole_and_aligned) {
  unsigned char* value = malloc(SIZE);
  unsigned char* old = malloc(SIZE + 1);
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t plain;
  uvch_watch_sender_t tx;
  const void* found = NULL;
  uv_loop_t loop;
  blob_t blob;

  memset(&blob, 0, sizeof(blob));
  blob.size = SIZE;
  ck_assert(value != NULL && old != NULL);
  old[SIZE] = 0x5a;
  support_loop_init(&loop);
  watch_blob_fill(value, SIZE, 0);
  watch_open_ex(&loop, &rx, &tx, SIZE, value, NULL);
  watch_subscribe(NULL, &plain, &tx);
  check_blob(uvch_watch_borrow(&plain), &blob);
  watch_blob_fill(value, SIZE, ++blob.number);
  ck_assert_int_eq(uvch_watch_send(&tx, value), 0);
  check_blob(uvch_watch_borrow(&plain), &blob);
  ck_assert_int_eq(uvch_watch_modify(&tx, blob_modify, &blob), 0);
  check_blob(uvch_watch_borrow_and_update(&plain), &blob);
  check_blob(uvch_watch_sender_borrow(&tx), &blob);
  rx.data = &blob;
  ck_assert_int_eq(uvch_watch_start(&rx, blob_cb, 0), 0);
  watch_pump(&loop, blob.calls == 1);
  watch_blob_fill(value, SIZE, blob.number + 1);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, value, old), 0);
  ck_assert(watch_blob_is(old, SIZE, blob.number));
  ck_assert_uint_eq(old[SIZE], 0x5a);
  blob.number += 1;
  ck_assert_int_eq(uvch_watch_wait_for_wait(&plain, blob_predicate, &blob, &found), 0);
  check_blob(found, &blob);
  watch_pump(&loop, blob.calls == 2);
  watch_close(&rx);
  check_blob(found, &blob);
  watch_close(&plain);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  free(value);
  free(old);
}
END_TEST

static int touch_nothing(void* value, void* arg) {
  (void) value;
  *(size_t*) arg += 1;
  return 1;
}

START_TEST(a_value_of_size_0_is_a_signal) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  size_t calls = 0;
  char old = 0x5a;

  watch_open_ex(NULL, &rx, &tx, 0, NULL, NULL);
  check_changed(&rx, 0);
  ck_assert_ptr_nonnull(uvch_watch_borrow(&rx));
  ck_assert_ptr_nonnull(uvch_watch_sender_borrow(&tx));
  ck_assert_int_eq(uvch_watch_send(&tx, NULL), 0);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0);
  ck_assert_int_eq(uvch_watch_send(&tx, &old), 0);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0);
  check_not_changed(&rx, UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, NULL, &old), 0);
  ck_assert_int_eq(old, 0x5a);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, NULL, NULL), 0);
  check_changed(&rx, 1);
  ck_assert_ptr_nonnull(uvch_watch_borrow_and_update(&rx));
  ck_assert_int_eq(uvch_watch_modify(&tx, touch_nothing, &calls), 0);
  check_changed(&rx, 1);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, touch_nothing, &calls), 1);
  ck_assert_uint_eq(calls, 2);
  watch_drop_sender(&tx);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0);
  check_not_changed(&rx, UV_EOF);
  watch_close(&rx);
}
END_TEST

/* Sending. */

/* [FW03, FW18] */
START_TEST(each_send_is_a_change_also_of_an_equal_value) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uv_loop_t loop;
  int i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 7);
  for (i = 0; i < 5; i++) {
    watch_put(&tx, 7);
    check_changed(&rx, 1);
    check_sees(&rx, 7, 1);
    ck_assert_uint_eq(watch_take(&rx), 7);
    check_changed(&rx, 0);
    check_sees(&rx, 7, 0);
  }
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FW03, FW32] */
START_TEST(the_old_value_is_dropped_by_the_send_that_replaces_it) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_owning_kind(_i, &loop, &rx, &tx, &owner);
  for (i = 2; i < 10; i++) {
    ck_assert_int_eq(watch_put_owned(&tx, &owner, i), 0);
    ck_assert_uint_eq(atomic_load(&owner.dropped), i - 1);
    ck_assert_uint_eq(atomic_load(&owner.last), i - 1);
    ck_assert_int_eq(atomic_load(&owner.thread), support_thread_number());
  }
  ck_assert_uint_eq(watch_owned_alive(&owner), 1); /* only the newest is kept */
  watch_close(&rx);
  ck_assert_uint_eq(watch_owned_alive(&owner), 1);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  ck_assert_uint_eq(atomic_load(&owner.copied), 0);
  watch_owner_check(&owner);
}
END_TEST

/* [FW04], which is different here: it is stored. */
START_TEST(what_is_sent_to_nobody_is_there_for_those_who_come_later) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t second;
  uvch_watch_sender_t tx;
  uv_loop_t loop;
  int i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_close(&rx);
  check_counts(&tx, 0, 1);
  for (i = 2; i < 5; i++) {
    watch_put(&tx, (uint64_t) i);
    ck_assert_uint_eq(watch_sender_peek(&tx), (uint64_t) i);
  }
  watch_subscribe(loop_of(_i, &loop), &second, &tx);
  check_sees(&second, 4, 0);
  check_changed(&second, 0);
  watch_put(&tx, 5);
  check_changed(&second, 1);
  check_sees(&second, 5, 1);
  watch_close(&second);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* A send without memory changes nothing, and the value stays the caller's. */
START_TEST(a_send_without_memory_leaves_no_trace) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  watch_owned_t owned;
  watch_owned_t old;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_owning_kind(_i, &loop, &rx, &tx, &owner);
  ck_assert(watch_owned_make(&owner, &owned, 2));
  memset(&old, 0x5a, sizeof(old));
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_watch_send(&tx, &owned), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &owned, &old), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_modify(&tx, never_modified, NULL), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, never_modified, NULL), UV_ENOMEM);
  support_alloc_fail_from(0);
  check_bytes(&old, 0x5a, sizeof(old));
  ck_assert_uint_eq(watch_owned_alive(&owner), 2);
  check_changed(&rx, 0);
  check_sees(&rx, 1, 0);
  ck_assert_int_eq(uvch_watch_send(&tx, &owned), 0);
  check_changed(&rx, 1);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  watch_owner_check(&owner);
}
END_TEST

/* [FW30] */
START_TEST(the_values_of_all_senders_have_one_order) {
  uvch_watch_sender_t tx[3];
  uvch_watch_receiver_t rx[2];
  uint64_t old;
  uint64_t i;

  watch_open(NULL, &rx[0], &tx[0], 0);
  watch_clone_sender(&tx[0], &tx[1]);
  watch_clone_sender(&tx[1], &tx[2]);
  watch_subscribe(NULL, &rx[1], &tx[2]);
  check_counts(&tx[0], 2, 3);
  for (i = 1; i < 20; i++) {
    ck_assert_int_eq(uvch_watch_send_replace(&tx[i % 3], &i, &old), 0);
    ck_assert_uint_eq(old, i - 1);
    ck_assert_uint_eq(watch_take(&rx[0]), i);
    check_sees(&rx[1], i, 1);
    ck_assert_uint_eq(watch_sender_peek(&tx[(i + 1) % 3]), i);
  }
  for (i = 0; i < 3; i++) {
    watch_drop_sender(&tx[i]);
  }
  watch_close(&rx[0]);
  watch_close(&rx[1]);
}
END_TEST

/* [FW09] */
START_TEST(send_replace_gives_out_each_value_that_was_there_before) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uint64_t value;
  uint64_t old;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 0);
  for (value = 1; value < 10; value++) {
    if (value == 5) {
      watch_close(&rx); /* it works with nobody there, too */
    }
    ck_assert_int_eq(uvch_watch_send_replace(&tx, &value, &old), 0);
    ck_assert_uint_eq(old, value - 1);
    if (value < 5) {
      check_changed(&rx, 1);
      ck_assert_uint_eq(watch_take(&rx), value);
    }
  }
  old = 77;
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &old, &old), 0); /* the same place for both */
  ck_assert_uint_eq(old, 9);
  ck_assert_uint_eq(watch_sender_peek(&tx), 77);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FW09] */
START_TEST(send_replace_gives_the_value_itself_if_nobody_looks_and_else_a_copy) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  watch_owned_t value;
  watch_owned_t old;
  const watch_owned_t* seen;
  uint64_t* box;

  watch_open_owning(NULL, &rx, &tx, &owner, watch_owned_copy, 1);
  ck_assert(watch_owned_make(&owner, &value, 2));
  box = value.box;
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &value, &old), 0);
  ck_assert_uint_eq(old.number, 1);
  ck_assert_uint_eq(atomic_load(&owner.copied) + atomic_load(&owner.dropped), 0);
  watch_owned_drop(&old, &owner);
  seen = _i == 0 ? uvch_watch_borrow(&rx) : uvch_watch_sender_borrow(&tx); /* either of them looks at it */
  ck_assert(watch_owned_make(&owner, &value, 3));
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &value, &old), 0);
  ck_assert_uint_eq(old.number, 2);
  ck_assert_ptr_ne(old.box, box);
  ck_assert_ptr_eq(seen->box, box);
  ck_assert(watch_owned_is_whole(seen) && watch_owned_is_whole(&old));
  ck_assert_uint_eq(atomic_load(&owner.copied), 1);
  ck_assert_uint_eq(atomic_load(&owner.dropped), 1);
  watch_owned_drop(&old, &owner);
  ck_assert(watch_owned_is_whole(seen)); /* each is its own */
  (void) (_i == 0 ? uvch_watch_borrow(&rx) : uvch_watch_sender_borrow(&tx));
  ck_assert_uint_eq(atomic_load(&owner.dropped), 3);
  ck_assert_uint_eq(watch_owned_alive(&owner), 1);
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

/* [FW09] */
START_TEST(send_replace_changes_nothing_if_there_can_be_no_copy) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  watch_owned_t value;
  watch_owned_t old;

  watch_open_owning(NULL, &rx, &tx, &owner, _i == 0 ? watch_owned_copy : NULL, 1);
  ck_assert_uint_eq(watch_peek(&rx), 1);
  ck_assert(watch_owned_make(&owner, &value, 2));
  memset(&old, 0x5a, sizeof(old));
  atomic_store(&owner.copy_fails, UV_EIO);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &value, &old), _i == 0 ? UV_EIO : UV_ENOTSUP);
  atomic_store(&owner.copy_fails, 0);
  check_bytes(&old, 0x5a, sizeof(old));
  check_changed(&rx, 0);
  check_sees(&rx, 1, 0);
  ck_assert_uint_eq(atomic_load(&owner.dropped), 0);
  ck_assert(watch_owned_is_whole(&value)); /* the caller's still */
  if (_i == 0) {
    ck_assert_int_eq(uvch_watch_send_replace(&tx, &value, &old), 0);
    ck_assert_uint_eq(old.number, 1);
    watch_owned_drop(&old, &owner);
  } else {
    ck_assert_int_eq(uvch_watch_send(&tx, &value), 0);
  }
  check_changed(&rx, 1);
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

/* Modifying. */

typedef struct change_s {
  uvch_watch_sender_t* tx;
  size_t disturbs; /* so many calls of the function send another value */
  uint64_t sends;  /* the next one */
  int answer;
  size_t calls;
} change_t;

/* Ten more; another value comes in between sometimes. */
static int change_cb(void* value, void* arg) {
  change_t* change = arg;
  uint64_t number = watch_number(value) + 10;

  memcpy(value, &number, sizeof(number));
  if (change->calls++ < change->disturbs) {
    watch_put(change->tx, change->sends++);
  }
  support_check_eq(watch_number(value), number); /* nobody else sees it */
  return change->answer;
}

static void change_init(change_t* change, uvch_watch_sender_t* tx, size_t disturbs, int answer) {
  memset(change, 0, sizeof(*change));
  change->tx = tx;
  change->disturbs = disturbs;
  change->sends = 100;
  change->answer = answer;
}

/* [FW05] */
START_TEST(modify_changes_a_copy_and_stores_it) {
  static const int answers[] = {0, 1, 5};
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  const void* before;
  change_t change;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  for (i = 0; i < COUNT(answers); i++) {
    before = uvch_watch_borrow_and_update(&rx);
    change_init(&change, &tx, 0, answers[i]);
    ck_assert_int_eq(uvch_watch_modify(&tx, change_cb, &change), 0);
    ck_assert_uint_eq(change.calls, 1);
    ck_assert_uint_eq(watch_number(before), 1 + 10 * i);
    check_changed(&rx, 1);
    check_sees(&rx, 11 + 10 * i, 1);
  }
  watch_close(&rx);
  change_init(&change, &tx, 0, 0);
  ck_assert_int_eq(uvch_watch_modify(&tx, change_cb, &change), 0); /* with nobody there, too */
  ck_assert_uint_eq(watch_sender_peek(&tx), 41);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FW06, FW07], which are different here: what is not stored was never there. */
START_TEST(modify_if_stores_only_what_the_function_says_is_modified) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  const void* before;
  change_t change;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  before = uvch_watch_borrow(&rx);
  change_init(&change, &tx, 0, 0);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, change_cb, &change), 0);
  ck_assert_uint_eq(change.calls, 1);
  check_changed(&rx, 0);
  ck_assert_ptr_eq(uvch_watch_borrow(&rx), before); /* not even by a new value of the same bytes */
  ck_assert_uint_eq(watch_number(before), 1);
  ck_assert_uint_eq(watch_sender_peek(&tx), 1);
  change_init(&change, &tx, 0, 7);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, change_cb, &change), 1);
  check_changed(&rx, 1);
  ck_assert_uint_eq(watch_take(&rx), 11);
  watch_close(&rx);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, change_cb, &change), 1); /* with nobody there, too */
  ck_assert_uint_eq(watch_sender_peek(&tx), 21);
  change_init(&change, &tx, 0, 0);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, change_cb, &change), 0);
  ck_assert_uint_eq(watch_sender_peek(&tx), 21);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

typedef int (*modify_fn)(const uvch_watch_sender_t* tx, uvch_watch_modify_cb modify, void* arg);

static const modify_fn modifies[] = {uvch_watch_modify, uvch_watch_modify_if};

/* [FW08], which is different here: there are no partial changes. */
START_TEST(a_function_that_fails_leaves_the_value_as_it_is) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  const void* before;
  change_t change;

  watch_open(NULL, &rx, &tx, 1);
  before = uvch_watch_borrow(&rx);
  change_init(&change, &tx, 0, UV_ECONNRESET);
  ck_assert_int_eq(modifies[_i](&tx, change_cb, &change), UV_ECONNRESET);
  ck_assert_uint_eq(change.calls, 1);
  check_changed(&rx, 0);
  ck_assert_ptr_eq(uvch_watch_borrow(&rx), before);
  watch_put(&tx, 2); /* later ones go through */
  change_init(&change, &tx, 0, 1);
  ck_assert_int_eq(modifies[_i](&tx, change_cb, &change), _i);
  ck_assert_uint_eq(watch_take(&rx), 12);
  watch_close(&rx);
  watch_drop_sender(&tx);
}
END_TEST

/* [FW05, FW33] */
START_TEST(modify_begins_again_when_another_value_came_first_8_times_at_most) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  change_t change;
  size_t n;

  watch_open(NULL, &rx, &tx, 1);
  for (n = 0; n <= 9; n++) {
    bool fits = n < 8;
    change_init(&change, &tx, n, 1);
    ck_assert_int_eq(modifies[_i](&tx, change_cb, &change), fits ? _i : UV_EBUSY);
    ck_assert_uint_eq(change.calls, fits ? n + 1 : 8);
    ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0);
    if (n > 0) { /* ten more than the last one that came first, or just that one */
      check_sees(&rx, fits ? 100 + n - 1 + 10 : 107, 0);
    }
  }
  watch_close(&rx);
  watch_drop_sender(&tx);
}
END_TEST

/* [FW06, FW08] */
START_TEST(what_is_not_to_be_stored_is_not_tried_again) {
  static const int answers[] = {0, UV_EIO};
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  change_t change;

  watch_open(NULL, &rx, &tx, 1);
  change_init(&change, &tx, 3, answers[_i]);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, change_cb, &change), answers[_i]);
  ck_assert_uint_eq(change.calls, 1);
  ck_assert_uint_eq(watch_take(&rx), 100);
  change_init(&change, &tx, 3, UV_EIO);
  ck_assert_int_eq(uvch_watch_modify(&tx, change_cb, &change), UV_EIO);
  ck_assert_uint_eq(change.calls, 1);
  ck_assert_uint_eq(watch_take(&rx), 100);
  watch_close(&rx);
  watch_drop_sender(&tx);
}
END_TEST

typedef struct owned_change_s {
  uvch_watch_sender_t* tx;
  watch_owner_t* owner;
  size_t disturbs;
  int answer;
  size_t calls;
} owned_change_t;

static int owned_change_cb(void* value, void* arg) {
  owned_change_t* change = arg;
  watch_owned_t* owned = value;

  support_check(watch_owned_is_whole(owned));
  owned->number += 10;
  owned->box[0] = owned->number;
  owned->box[1] = ~owned->number;
  if (change->calls++ < change->disturbs) {
    support_check_eq(watch_put_owned(change->tx, change->owner, 100 + change->calls), 0);
  }
  return change->answer;
}

/* [FW05, FW06, FW08] */
START_TEST(copies_that_modify_makes_are_stored_or_given_up) {
  static const struct {
    size_t disturbs;
    int answer;
  } ways[] = {{0, 1}, {3, 1}, {7, 1}, {8, 1}, {0, 0}, {0, UV_EIO}, {2, UV_EIO}};
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  owned_change_t change;
  watch_owner_t owner;
  size_t way = (size_t) _i % COUNT(ways);
  modify_fn modify = modifies[(size_t) _i / COUNT(ways)];
  int stores = ways[way].answer > 0 || (ways[way].answer == 0 && modify == uvch_watch_modify);
  int wanted = !stores ? ways[way].answer : ways[way].disturbs == 8 ? UV_EBUSY : modify == uvch_watch_modify_if;

  watch_open_owning(NULL, &rx, &tx, &owner, watch_owned_copy, 1);
  ck_assert_ptr_nonnull(uvch_watch_borrow(&rx)); /* and one looks at it */
  memset(&change, 0, sizeof(change));
  change.tx = &tx;
  change.owner = &owner;
  change.disturbs = ways[way].disturbs;
  change.answer = ways[way].answer;
  ck_assert_int_eq(modify(&tx, owned_change_cb, &change), wanted);
  ck_assert_uint_eq(atomic_load(&owner.copied), change.calls);
  ck_assert_ptr_nonnull(uvch_watch_borrow(&rx)); /* it looks at the newest one now */
  ck_assert_uint_eq(watch_owned_alive(&owner), 1);
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

START_TEST(modify_needs_copies_and_says_what_the_copy_function_says) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;

  watch_open_owning(NULL, &rx, &tx, &owner, NULL, 1);
  ck_assert_int_eq(modifies[_i](&tx, never_modified, NULL), UV_ENOTSUP);
  check_changed(&rx, 0);
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
  watch_open_owning(NULL, &rx, &tx, &owner, watch_owned_copy, 1);
  atomic_store(&owner.copy_fails, UV_EMFILE);
  ck_assert_int_eq(modifies[_i](&tx, never_modified, NULL), UV_EMFILE);
  check_changed(&rx, 0);
  ck_assert_uint_eq(atomic_load(&owner.dropped), 0);
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

typedef struct nest_s {
  uvch_watch_sender_t* tx;
  size_t depth;
  size_t calls;
} nest_t;

/* Each level does one of its own first. */
static int nest_cb(void* value, void* arg) {
  nest_t* nest = arg;
  uint64_t number = watch_number(value) + 1;

  nest->calls += 1;
  if (nest->depth > 0) {
    nest->depth -= 1;
    support_check_eq(uvch_watch_modify(nest->tx, nest_cb, nest), 0);
  }
  memcpy(value, &number, sizeof(number));
  return 1;
}

/* [FW33] */
START_TEST(modify_may_modify) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  nest_t nest;

  watch_open(NULL, &rx, &tx, 0);
  nest.tx = &tx;
  nest.depth = 5;
  nest.calls = 0;
  ck_assert_int_eq(modifies[_i](&tx, nest_cb, &nest), _i);
  ck_assert_uint_eq(nest.calls, 11); /* all but the innermost twice */
  ck_assert_uint_eq(watch_take(&rx), 6);
  watch_close(&rx);
  watch_drop_sender(&tx);
}
END_TEST

/* Borrowing. */

/* [FW10, FW11, FW13] */
START_TEST(a_borrow_leaves_a_value_unseen_and_an_update_marks_it) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_put(&tx, 2);
  ck_assert_uint_eq(watch_peek(&rx), 2);
  ck_assert_uint_eq(watch_peek(&rx), 2);
  check_changed(&rx, 1);
  ck_assert_uint_eq(watch_take(&rx), 2);
  check_changed(&rx, 0);
  watch_put(&tx, 3); /* exactly the version that it showed */
  check_changed(&rx, 1);
  watch_drop_sender(&tx);
  check_changed(&rx, UV_EOF);
  ck_assert_uint_eq(watch_peek(&rx), 3); /* also after the end */
  check_sees(&rx, 3, 1);
  ck_assert_uint_eq(watch_take(&rx), 3);
  check_sees(&rx, 3, 0);
  check_changed(&rx, UV_EOF);
  watch_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* [FW12] */
START_TEST(a_borrow_tells_whether_its_value_had_been_seen) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0); /* nothing is borrowed */
  watch_put(&tx, 2);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0);
  check_sees(&rx, 2, 1);
  check_sees(&rx, 2, 1); /* a borrow does not see it */
  ck_assert_int_eq(uvch_watch_mark_unchanged(&rx), 0);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 1); /* that one had not been seen then */
  check_sees(&rx, 2, 0);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0);
  ck_assert_uint_eq(watch_take(&rx), 2);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 1);
  ck_assert_uint_eq(watch_take(&rx), 2);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0);
  watch_put(&tx, 3);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0); /* of what is borrowed, not of what is there */
  watch_drop_sender(&tx);
  ck_assert_uint_eq(watch_take(&rx), 3);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 1); /* the end is no error here */
  watch_close(&rx);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(NULL), 0);
  support_loop_end(&loop);
}
END_TEST

/* [FW10, FW26] */
START_TEST(a_borrow_while_nothing_has_changed_returns_the_same_pointer) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uvch_watch_sender_t other;
  const void* value;
  const void* sent;
  uv_loop_t loop;
  uint64_t i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 0);
  watch_clone_sender(&tx, &other);
  for (i = 0; i < 5; i++) {
    value = uvch_watch_borrow(&rx);
    sent = uvch_watch_sender_borrow(&tx);
    ck_assert_ptr_eq(uvch_watch_borrow(&rx), value);
    ck_assert_ptr_eq(uvch_watch_borrow_and_update(&rx), value);
    ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
    ck_assert_ptr_eq(uvch_watch_borrow_and_update(&rx), value);
    ck_assert_ptr_eq(uvch_watch_sender_borrow(&tx), sent);
    watch_put(&other, i + 1);
    ck_assert_ptr_ne(uvch_watch_borrow(&rx), value); /* what is looked at stays in its place */
    ck_assert_ptr_ne(uvch_watch_sender_borrow(&tx), sent);
  }
  value = uvch_watch_borrow(&rx);
  watch_drop_sender(&tx);
  watch_drop_sender(&other);
  ck_assert_ptr_eq(uvch_watch_borrow(&rx), value); /* the end is no change */
  watch_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* [FW33], which is different here: a borrow holds nobody back. */
START_TEST(a_borrowed_value_stays_while_others_send_and_borrow) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t other;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  const watch_owned_t* first;
  const watch_owned_t* second;
  const watch_owned_t* third;
  uv_loop_t loop;
  uint64_t i;

  support_loop_init(&loop);
  open_owning_kind(_i, &loop, &rx, &tx, &owner);
  watch_subscribe(NULL, &other, &tx);
  first = uvch_watch_borrow(&rx);
  ck_assert_int_eq(watch_put_owned(&tx, &owner, 2), 0); /* sending while holding one */
  second = uvch_watch_sender_borrow(&tx);
  ck_assert_int_eq(watch_put_owned(&tx, &owner, 3), 0);
  third = uvch_watch_borrow_and_update(&other);
  for (i = 4; i < 20; i++) {
    ck_assert_int_eq(watch_put_owned(&tx, &owner, i), 0);
    ck_assert_uint_eq(watch_owned_alive(&owner), 4); /* those that are looked at, and the newest */
  }
  ck_assert(watch_owned_is_whole(first) && watch_owned_is_whole(second) && watch_owned_is_whole(third));
  ck_assert_uint_eq(first->number, 1);
  ck_assert_uint_eq(second->number, 2);
  ck_assert_uint_eq(third->number, 3);
  ck_assert_uint_eq(watch_take(&rx), 19); /* the next borrow is the end of the last */
  ck_assert_uint_eq(watch_owned_alive(&owner), 3);
  ck_assert_uint_eq(atomic_load(&owner.last), 1);
  ck_assert_uint_eq(watch_sender_peek(&tx), 19);
  ck_assert_uint_eq(watch_owned_alive(&owner), 2);
  ck_assert_uint_eq(atomic_load(&owner.last), 2);
  watch_close(&other); /* so is a close */
  ck_assert_uint_eq(watch_owned_alive(&owner), 1);
  ck_assert_uint_eq(atomic_load(&owner.last), 3);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  watch_owner_check(&owner);
}
END_TEST

/* [FW26, FW32] */
START_TEST(what_a_sender_has_borrowed_goes_with_that_sender) {
  uvch_watch_sender_t tx;
  uvch_watch_sender_t other;
  uvch_watch_sender_t moved;
  watch_owner_t owner;
  const watch_owned_t* first;

  watch_open_owning(NULL, NULL, &tx, &owner, watch_owned_copy, 1);
  first = uvch_watch_sender_borrow(&tx);
  watch_clone_sender(&tx, &other); /* has nothing borrowed */
  ck_assert_int_eq(watch_put_owned(&other, &owner, 2), 0);
  moved = tx; /* a move, with what is borrowed */
  memset(&tx, 0xa5, sizeof(tx));
  watch_drop_sender(&other);
  ck_assert(watch_owned_is_whole(first));
  ck_assert_uint_eq(watch_owned_alive(&owner), 2);
  watch_clone_sender(&moved, &other);
  ck_assert_uint_eq(watch_sender_peek(&other), 2);
  watch_drop_sender(&moved);
  ck_assert_uint_eq(watch_owned_alive(&owner), 1);
  ck_assert_uint_eq(atomic_load(&owner.last), 1);
  ck_assert_uint_eq(watch_sender_peek(&other), 2);
  watch_drop_sender(&other);
  watch_owner_check(&owner);
}
END_TEST

/* [FW32] */
START_TEST(the_last_value_goes_with_the_last_end_whichever_that_is) {
  uvch_watch_receiver_t rx[2];
  uvch_watch_sender_t tx[2];
  watch_owner_t owner;
  size_t before = support_alloc_blocks();
  uint64_t i;

  for (i = 0; i < 24; i++) {
    size_t first = (size_t) i % 4;
    size_t k;
    watch_open_owning(NULL, &rx[0], &tx[0], &owner, watch_owned_copy, 1);
    watch_clone_sender(&tx[0], &tx[1]);
    watch_clone(NULL, &rx[1], &rx[0]);
    ck_assert_int_eq(watch_put_owned(&tx[1], &owner, 2), 0);
    if (i >= 12) { /* also a value that was looked at */
      ck_assert_uint_eq(watch_peek(&rx[0]), 2);
      ck_assert_uint_eq(watch_sender_peek(&tx[1]), 2);
    }
    for (k = 0; k < 4; k++) {
      size_t at = i % 8 < 4 ? (first + k) % 4 : (first + 4 - k) % 4;
      ck_assert_uint_eq(watch_owned_alive(&owner), 1);
      if (at < 2) {
        watch_close(&rx[at]);
      } else {
        watch_drop_sender(&tx[at - 2]);
      }
    }
    watch_owner_check(&owner);
    ck_assert_uint_eq(support_alloc_blocks(), before);
  }
}
END_TEST

/* Changes. */

/* [FW14] */
START_TEST(mark_changed_makes_the_value_count_as_not_seen) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uv_loop_t loop;
  int i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  for (i = 0; i < 3; i++) { /* from the very first value on, and again and again */
    ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
    ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
    check_changed(&rx, 1);
    check_sees(&rx, 1, 1);
    ck_assert_uint_eq(watch_take(&rx), 1);
    check_changed(&rx, 0);
  }
  watch_put(&tx, 2);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0); /* it is anyway */
  check_changed(&rx, 1);
  ck_assert_uint_eq(watch_take(&rx), 2);
  watch_drop_sender(&tx);
  if (_i == PLAIN) {
    check_not_changed(&rx, UV_EOF);
    ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
    ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0); /* once more before the end */
    check_not_changed(&rx, UV_EOF);
  }
  check_changed(&rx, UV_EOF);
  watch_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* [FW15] */
START_TEST(mark_unchanged_marks_the_value_as_seen) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_put(&tx, 2);
  watch_put(&tx, 3);
  ck_assert_int_eq(uvch_watch_mark_unchanged(&rx), 0);
  check_changed(&rx, 0);
  check_sees(&rx, 3, 0);
  watch_put(&tx, 4);
  check_changed(&rx, 1);
  watch_drop_sender(&tx);
  ck_assert_int_eq(uvch_watch_mark_unchanged(&rx), 0);
  check_changed(&rx, UV_EOF);
  if (_i == PLAIN) {
    check_not_changed(&rx, UV_EOF);
  }
  watch_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* [FW16, FW17, FW18, FW36] */
START_TEST(a_thread_waits_for_changes_and_gets_one_for_all_that_came) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;

  watch_open(NULL, &rx, &tx, 1);
  check_not_changed(&rx, UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 1000), UV_ETIMEDOUT);
  watch_put(&tx, 2);
  watch_put(&tx, 3);
  check_changed(&rx, 1);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0);
  check_changed(&rx, 0); /* it has it now */
  check_sees(&rx, 3, 0);
  check_not_changed(&rx, UV_ETIMEDOUT);
  watch_put(&tx, 4);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), 0); /* before the clock */
  watch_put(&tx, 5);
  watch_drop_sender(&tx);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, UINT64_MAX), 0); /* the last value before the end */
  check_sees(&rx, 5, 0);
  check_not_changed(&rx, UV_EOF);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_EOF);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, UINT64_MAX), UV_EOF);
  watch_close(&rx);
}
END_TEST

/* The four rows of the table of states. */
enum { SEEN, UNSEEN, LAST_UNSEEN, LAST_SEEN, STATES };

#define add_for_every_state(tcase, test) tcase_add_loop_test(tcase, test, 0, STATES* KINDS)
#define STATE (_i / KINDS)
#define KIND (_i % KINDS)

/* The value is 2 in all of them. */
static void open_state(int state, int kind, uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx) {
  open_kind(kind, loop, rx, tx, 1);
  watch_put(tx, 2);
  if (state == SEEN || state == LAST_SEEN) {
    support_check_eq(watch_take(rx), 2);
  }
  if (state == LAST_SEEN || state == LAST_UNSEEN) {
    watch_drop_sender(tx);
  }
}

static int has_ended(int state) {
  return state == LAST_SEEN || state == LAST_UNSEEN;
}

static int is_unseen(int state) {
  return state == UNSEEN || state == LAST_UNSEEN;
}

static void close_state(int state, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx) {
  watch_close(rx);
  if (!has_ended(state)) {
    watch_drop_sender(tx);
  }
}

/* [FW13, FW17, X5] */
START_TEST(has_changed_is_as_the_table_says) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_state(STATE, KIND, &loop, &rx, &tx);
  check_changed(&rx, has_ended(STATE) ? UV_EOF : is_unseen(STATE));
  check_sees(&rx, 2, is_unseen(STATE)); /* the end or not */
  close_state(STATE, &rx, &tx);
  support_loop_end(&loop);
}
END_TEST

/* [FW16, FW17, X5] */
START_TEST(changed_wait_is_as_the_table_says) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_state(STATE, KIND, &loop, &rx, &tx);
  if (KIND != PLAIN) {
    check_not_changed(&rx, UV_EPERM);
    ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_EPERM);
    check_sees(&rx, 2, is_unseen(STATE));
  } else {
    if (is_unseen(STATE)) {
      ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0);
      check_sees(&rx, 2, 0);
    }
    check_not_changed(&rx, has_ended(STATE) ? UV_EOF : UV_ETIMEDOUT);
    if (has_ended(STATE)) {
      ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_EOF);
    }
  }
  close_state(STATE, &rx, &tx);
  support_loop_end(&loop);
}
END_TEST

/* What callbacks come, with UVCH_WATCH_CURRENT or not; of the receivers without a loop there is nothing to see. [FW17, X5] */
static void check_callbacks(int state, int kind, unsigned int flags) {
  size_t values = is_unseen(state) || flags == UVCH_WATCH_CURRENT;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_log_t log;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_state(state, kind, &loop, &rx, &tx);
  watch_listen(&rx, &log, flags, false);
  ck_assert_int_eq(uvch_is_active(handle_of(&rx)), 1);
  watch_turn(&loop);
  watch_heard_all(&log, values + (size_t) has_ended(state), (size_t) has_ended(state));
  if (values > 0) {
    watch_heard(&log, 0, 0, 2);
  }
  ck_assert_int_eq(uvch_is_active(handle_of(&rx)), !has_ended(state));
  if (!has_ended(state)) {
    check_changed(&rx, 0);
    watch_put(&tx, 3);
    watch_pump(&loop, atomic_load(&log.count) == values + 1);
    watch_heard(&log, values, 0, 3);
  }
  close_state(state, &rx, &tx);
  support_loop_end(&loop);
}

START_TEST(callbacks_are_as_the_table_says) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  if (KIND != PLAIN) {
    check_callbacks(STATE, KIND, 0);
    check_callbacks(STATE, KIND, UVCH_WATCH_CURRENT);
    return;
  }
  support_loop_init(&loop);
  open_state(STATE, KIND, &loop, &rx, &tx);
  ck_assert_int_eq(uvch_watch_start(&rx, watch_never, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_start(&rx, watch_never, UVCH_WATCH_CURRENT), UV_EINVAL);
  check_sees(&rx, 2, is_unseen(STATE));
  close_state(STATE, &rx, &tx);
  support_loop_end(&loop);
}
END_TEST

/* The same answers for threads and for loops, wherever that is: with a wish for the value that is there, and for none. */

static void wait_for_by_request(int state, uvch_watch_receiver_t* rx, uv_loop_t* loop, wish_t* wish, int status) {
  waiting_t waiting;

  wait_for(&waiting, rx, wish);
  watch_turn(loop);
  support_check_eq(wish->calls, 1);
  check_tested(wish, 0, 2);
  if (status == WATCH_NOT_DONE) {
    support_check_eq(waiting.calls, 0);
    support_check_eq(give_up(&waiting), 0);
    support_check_eq(waiting.calls, 0);
    watch_pump(loop, waiting.calls == 1);
    check_waited(&waiting, UV_ECANCELED, 0);
  } else {
    check_waited(&waiting, status, status == 0 ? 2 : 0);
  }
  check_changed(rx, has_ended(state) ? UV_EOF : 0); /* what was tested counts as seen */
  support_check_eq(wish->calls, 1);
}

static void wait_for_by_thread(int state, uvch_watch_receiver_t* rx, wish_t* wish, int status) {
  const void* value = wish;

  if (status == WATCH_NOT_DONE) {
    support_check_eq(uvch_watch_wait_for_timedwait(rx, wish_cb, wish, &value, 0), UV_ETIMEDOUT);
  } else {
    support_check_eq(uvch_watch_wait_for_wait(rx, wish_cb, wish, &value), status);
  }
  support_check_eq(wish->calls, 1);
  check_tested(wish, 0, 2);
  if (status == 0) {
    support_check_eq(watch_number(value), 2);
    support_check_eq(uvch_watch_borrow_has_changed(rx), is_unseen(state)); /* [FW12] */
    support_check(uvch_watch_borrow(rx) == value);
  }
  check_changed(rx, has_ended(state) ? UV_EOF : 0);
  check_sees(rx, 2, 0);
}

/* [FW19, FW20, FW21, X5] */
START_TEST(wait_for_is_as_the_table_says) {
  uint64_t wanted;

  for (wanted = 2; wanted <= 3; wanted++) {
    int status = wanted == 2 ? 0 : has_ended(STATE) ? UV_EOF : WATCH_NOT_DONE;
    uvch_watch_receiver_t rx;
    uvch_watch_sender_t tx;
    uv_loop_t loop;
    wish_t wish;
    support_loop_init(&loop);
    open_state(STATE, KIND, &loop, &rx, &tx);
    wish_for(&wish, wanted);
    if (KIND == PLAIN) {
      wait_for_by_thread(STATE, &rx, &wish, status);
    } else {
      wait_for_by_request(STATE, &rx, &loop, &wish, status);
    }
    close_state(STATE, &rx, &tx);
    support_loop_end(&loop);
  }
}
END_TEST

START_TEST(a_wait_for_a_value_is_refused_where_it_cannot_be) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  const void* value = &rx;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  open_state(STATE, KIND, &loop, &rx, &tx);
  wish_for(&wish, 2);
  if (KIND == PLAIN) {
    ck_assert_int_eq(try_wait_for(&waiting, &rx, &wish), UV_EINVAL);
  } else {
    ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, never_tested, NULL, &value), UV_EPERM);
    ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, never_tested, NULL, &value, 0), UV_EPERM);
  }
  ck_assert_ptr_eq(value, &rx);
  watch_turn(&loop);
  ck_assert_uint_eq(wish.calls, 0);
  check_sees(&rx, 2, is_unseen(STATE));
  close_state(STATE, &rx, &tx);
  support_loop_end(&loop);
}
END_TEST

/* Callbacks. */

/* [FW16, FW18] */
START_TEST(callbacks_bring_the_newest_value_and_skip_what_came_between) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_log_t log;
  uv_loop_t loop;
  uint64_t value = 1;
  size_t round;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_listen(&rx, &log, 0, true);
  watch_turn(&loop);
  watch_heard_all(&log, 0, 0); /* it has seen the value that was there */
  for (round = 0; round < 6; round++) {
    size_t i;
    for (i = 0; i <= round; i++) {
      watch_put(&tx, ++value);
    }
    check_changed(&rx, 1);
    watch_turn(&loop);
    watch_heard_all(&log, round + 1, 0);
    watch_heard(&log, round, 0, value);
    check_changed(&rx, 0);
  }
  watch_put(&tx, ++value);
  watch_drop_sender(&tx);
  support_loop_run(&loop);
  watch_heard_all(&log, 8, 1);
  watch_heard(&log, 6, 0, value);
  watch_heard(&log, 7, UV_EOF, 0);
  support_loop_end(&loop);
}
END_TEST

START_TEST(what_is_seen_by_hand_has_no_callback) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_log_t log;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_listen(&rx, &log, 0, false);
  watch_put(&tx, 2);
  ck_assert_uint_eq(watch_take(&rx), 2);
  watch_turn(&loop);
  watch_put(&tx, 3);
  ck_assert_int_eq(uvch_watch_mark_unchanged(&rx), 0);
  watch_turn(&loop);
  watch_heard_all(&log, 0, 0);
  watch_put(&tx, 4);
  ck_assert_uint_eq(watch_peek(&rx), 4); /* that does not see it */
  watch_turn(&loop);
  watch_heard_all(&log, 1, 0);
  watch_heard(&log, 0, 0, 4);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
  watch_heard_all(&log, 1, 0); /* not from inside the call */
  watch_turn(&loop);
  watch_heard_all(&log, 2, 0);
  watch_heard(&log, 1, 0, 4);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_stopped_receiver_has_no_callback_until_it_starts_again) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_log_t log;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  ck_assert_int_eq(uvch_watch_stop(&rx), 0); /* harmless */
  watch_listen(&rx, &log, 0, false);
  ck_assert_int_eq(uvch_watch_start(&rx, watch_never, 0), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_start(&rx, watch_never, UVCH_WATCH_CURRENT), UV_EALREADY);
  watch_put(&tx, 2);
  ck_assert_int_eq(uvch_watch_stop(&rx), 0);
  ck_assert_int_eq(uvch_watch_stop(&rx), 0);
  ck_assert_int_eq(uvch_is_active(handle_of(&rx)), 0);
  watch_turn(&loop);
  watch_heard_all(&log, 0, 0);
  check_changed(&rx, 1); /* it stays unseen */
  watch_put(&tx, 3);
  watch_turn(&loop);
  watch_listen(&rx, &log, 0, false);
  watch_turn(&loop);
  watch_heard_all(&log, 1, 0);
  watch_heard(&log, 0, 0, 3);
  ck_assert_int_eq(uvch_watch_stop(&rx), 0);
  watch_put(&tx, 4);
  watch_drop_sender(&tx);
  watch_turn(&loop);
  watch_heard_all(&log, 1, 0);
  watch_listen(&rx, &log, 0, true);
  support_loop_run(&loop);
  watch_heard_all(&log, 2, 1);
  watch_heard(&log, 0, 0, 4);
  support_loop_end(&loop);
}
END_TEST

/* [FW17] */
START_TEST(each_start_on_a_channel_that_has_ended_brings_the_end_once) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_log_t log;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_put(&tx, 2);
  watch_drop_sender(&tx);
  for (i = 0; i < 4; i++) {
    size_t values = i != 1;
    if (i == 3) {
      ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
    }
    watch_listen(&rx, &log, i == 2 ? UVCH_WATCH_CURRENT : 0, false);
    support_loop_run(&loop); /* nothing keeps it alive after the end */
    watch_heard_all(&log, values + 1, 1);
    if (values > 0) {
      watch_heard(&log, 0, 0, 2);
    }
    watch_heard(&log, values, UV_EOF, 0);
    ck_assert_int_eq(uvch_is_active(handle_of(&rx)), 0);
  }
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0); /* not started any more */
  watch_turn(&loop);
  watch_heard_all(&log, 2, 1);
  watch_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_started_receiver_keeps_its_loop_alive_unless_it_is_not_to) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_log_t log;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  ck_assert_int_eq(uv_run(&loop, UV_RUN_NOWAIT), 0);
  watch_listen(&rx, &log, 0, true);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  uvch_unref(handle_of(&rx));
  ck_assert_int_eq(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_int_eq(uvch_is_active(handle_of(&rx)), 1);
  uvch_ref(handle_of(&rx));
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  watch_drop_sender(&tx);
  support_loop_run(&loop);
  watch_heard_all(&log, 1, 1);
  support_loop_end(&loop);
}
END_TEST

/* A callback that does things. The value must stay as it is whatever that is. */
enum { SENDS, BORROWS, MARKS, STOPS, CLOSES, RUNS, ENDS, DEEDS };

typedef struct doing_s {
  int what;
  uvch_watch_receiver_t* rx;
  uvch_watch_sender_t* tx;
  watch_owner_t* owner;
  size_t calls;
  size_t ends;
  uint64_t last;
} doing_t;

static void do_it(doing_t* doing, uvch_watch_receiver_t* rx) {
  switch (doing->what) {
    case SENDS: /* that is another change */
      support_check_eq(watch_put_owned(doing->tx, doing->owner, 50), 0);
      check_changed(rx, 1);
      break;
    case BORROWS:
      support_check_eq(watch_put_owned(doing->tx, doing->owner, 50), 0);
      support_check_eq(watch_take(rx), 50);
      check_changed(rx, 0);
      break;
    case MARKS:
      support_check_eq(uvch_watch_mark_changed(rx), 0);
      check_changed(rx, 1);
      break;
    case STOPS:
      support_check_eq(watch_put_owned(doing->tx, doing->owner, 50), 0);
      support_check_eq(uvch_watch_stop(rx), 0);
      break;
    case CLOSES:
      support_check_eq(watch_put_owned(doing->tx, doing->owner, 50), 0);
      watch_close(rx);
      watch_drop_sender(doing->tx);
      break;
    case RUNS:
      support_check_eq(watch_put_owned(doing->tx, doing->owner, 50), 0);
      uv_run(rx->loop, UV_RUN_NOWAIT);
      uv_run(rx->loop, UV_RUN_NOWAIT);
      support_check_eq(doing->last, 50); /* which came in there */
      break;
    default:
      watch_drop_sender(doing->tx);
      break;
  }
}

static void doing_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  const watch_owned_t* owned = value;
  doing_t* doing = rx->data;
  watch_owned_t before;

  if (status == UV_EOF) {
    doing->ends += 1;
    return;
  }
  support_check_eq(status, 0);
  before = *owned;
  doing->last = owned->number;
  check_changed(rx, 0); /* it counts as seen */
  if (doing->calls++ == 0) {
    do_it(doing, rx);
  }
  support_check(memcmp(owned, &before, sizeof(before)) == 0);
  support_check(watch_owned_is_whole(owned));
}

/* [FW16, FW33] */
START_TEST(the_value_is_good_until_the_callback_returns_whatever_that_does) {
  static const size_t calls[DEEDS] = {2, 1, 2, 1, 1, 2, 1};
  int what = _i / KINDS;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  doing_t doing;
  uv_loop_t loop;

  if (KIND == PLAIN) {
    return;
  }
  support_loop_init(&loop);
  open_owning_kind(KIND, &loop, &rx, &tx, &owner);
  memset(&doing, 0, sizeof(doing));
  doing.what = what;
  doing.rx = &rx;
  doing.tx = &tx;
  doing.owner = &owner;
  rx.data = &doing;
  ck_assert_int_eq(watch_put_owned(&tx, &owner, 2), 0);
  ck_assert_int_eq(uvch_watch_start(&rx, doing_cb, 0), 0);
  watch_turn(&loop);
  ck_assert_uint_eq(doing.calls, calls[what]);
  ck_assert_uint_eq(doing.ends, what == ENDS);
  ck_assert_uint_eq(watch_owned_alive(&owner), what == CLOSES ? 0 : 1);
  if (what != CLOSES) {
    watch_close(&rx);
  }
  if (what != CLOSES && what != ENDS) {
    watch_drop_sender(&tx);
  }
  support_loop_end(&loop);
  watch_owner_check(&owner);
}
END_TEST

/* A callback has its value for itself: what was borrowed before is good as long as it would be without. */
START_TEST(a_callback_leaves_what_is_borrowed) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  const watch_owned_t* first;
  watch_log_t log;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_owning_kind(_i, &loop, &rx, &tx, &owner);
  first = uvch_watch_borrow(&rx);
  watch_listen(&rx, &log, 0, false);
  ck_assert_int_eq(watch_put_owned(&tx, &owner, 2), 0);
  watch_turn(&loop);
  watch_heard_all(&log, 1, 0);
  ck_assert_uint_eq(watch_owned_alive(&owner), 2);
  ck_assert(watch_owned_is_whole(first));
  ck_assert_uint_eq(first->number, 1);
  check_sees(&rx, 2, 0); /* and that is its end */
  ck_assert_uint_eq(watch_owned_alive(&owner), 1);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  watch_owner_check(&owner);
}
END_TEST

/* [FW35] */
START_TEST(all_receivers_are_told_wherever_they_are) {
  uvch_watch_receiver_t rx[20];
  uvch_watch_receiver_t plain;
  watch_log_t logs[COUNT(rx)];
  uvch_watch_sender_t tx;
  uv_loop_t loops[2];
  size_t i;

  support_loop_init(&loops[0]);
  support_loop_init(&loops[1]);
  watch_open(NULL, &plain, &tx, 1);
  for (i = 0; i < COUNT(rx); i++) {
    watch_subscribe(&loops[i % 2], &rx[i], &tx);
    watch_listen(&rx[i], &logs[i], i % 3 == 0 ? UVCH_WATCH_CURRENT : 0, true);
  }
  watch_turn(&loops[0]);
  watch_put(&tx, 2); /* the second loop has not run before */
  watch_turn(&loops[0]);
  watch_turn(&loops[1]);
  ck_assert_int_eq(uvch_watch_changed_wait(&plain), 0);
  watch_put(&tx, 3);
  watch_drop_sender(&tx);
  support_loop_end(&loops[1]);
  support_loop_end(&loops[0]);
  for (i = 0; i < COUNT(rx); i++) {
    size_t at = i % 3 == 0 && i % 2 == 0;
    watch_heard_all(&logs[i], at + 3, 1);
    watch_heard(&logs[i], 0, 0, at > 0 ? 1 : 2);
    watch_heard(&logs[i], at, 0, 2);
    watch_heard(&logs[i], at + 1, 0, 3);
    watch_heard(&logs[i], at + 2, UV_EOF, 0);
  }
  ck_assert_int_eq(uvch_watch_changed_wait(&plain), 0);
  check_not_changed(&plain, UV_EOF);
  watch_close(&plain);
}
END_TEST

/* The loop lets go of a value between two callbacks, and its drop function changes what the second one is about. */
enum { D_STOPS, D_WAITS, D_CLOSES, D_UPDATES, D_SENDS, D_DEEDS };

typedef struct between_s {
  uvch_watch_receiver_t rx[2];
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  waiting_t waiting;
  wish_t wish;
  size_t calls[2];
  uint64_t last; /* of the second one */
  int what;
  bool done;
} between_t;

static void between_on_drop(void* arg) {
  between_t* between = arg;
  uvch_watch_receiver_t* rx = &between->rx[1];

  if (between->calls[0] != 1 || between->done) {
    return;
  }
  between->done = true;
  if (between->what == D_CLOSES) {
    watch_close(rx);
  } else if (between->what == D_UPDATES) {
    support_check_eq(watch_take(rx), 3);
  } else if (between->what == D_SENDS) {
    support_check_eq(watch_put_owned(&between->tx, &between->owner, 4), 0);
  } else {
    support_check_eq(uvch_watch_stop(rx), 0);
  }
  if (between->what == D_WAITS) {
    wait_for(&between->waiting, rx, &between->wish);
  }
}

static void between_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  between_t* between = rx->data;
  size_t at = (size_t) (rx - between->rx);

  support_check_eq(status, 0);
  support_check(watch_owned_is_whole(value));
  support_check(at == 0 || between->what == D_SENDS || !between->done);
  between->last = at == 1 ? watch_number(value) : between->last;
  if (between->calls[at]++ == 0 && at == 0) {
    support_check_eq(watch_put_owned(&between->tx, &between->owner, 3), 0);
  }
}

START_TEST(a_drop_function_between_two_callbacks_may_call_everything) {
  between_t between;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  memset(&between, 0, sizeof(between));
  between.what = _i;
  wish_for(&between.wish, 3);
  watch_open_owning(&loop, &between.rx[0], &between.tx, &between.owner, watch_owned_copy, 1);
  watch_subscribe(&loop, &between.rx[1], &between.tx);
  for (i = 0; i < 2; i++) {
    between.rx[i].data = &between;
    ck_assert_int_eq(uvch_watch_start(&between.rx[i], between_cb, 0), 0);
  }
  ck_assert_int_eq(watch_put_owned(&between.tx, &between.owner, 2), 0);
  between.owner.on_drop = between_on_drop;
  between.owner.arg = &between;
  watch_turn(&loop);
  ck_assert(between.done);
  ck_assert_uint_ge(between.calls[0], 2);
  if (_i == D_SENDS) {
    ck_assert_uint_eq(between.last, 4);
  }
  if (_i == D_WAITS) {
    check_waited(&between.waiting, 0, 3);
  }
  watch_close(&between.rx[0]);
  if (_i != D_CLOSES) {
    watch_close(&between.rx[1]);
  }
  watch_drop_sender(&between.tx);
  support_loop_end(&loop);
  watch_owner_check(&between.owner);
}
END_TEST

/* Values that come in faster than callbacks go out: each callback sends one, and does something with the next receiver. */
enum { ONLY_SENDS, UPDATES, PEEKS, MARKS_SEEN, MARKS_UNSEEN, RESTARTS, WAITS, STORMS };

enum { STORM_SENDS = 200 };

typedef struct storm_s {
  uvch_watch_receiver_t rx[5];
  uint64_t above[5]; /* what comes is newer than that */
  uvch_watch_wait_for_t req;
  bool waits; /* one at a time */
  uvch_watch_sender_t* tx;
  uint64_t sent;
  int what;
} storm_t;

static void storm_cb(uvch_watch_receiver_t* rx, int status, const void* value);

static int storm_predicate(const void* value, void* arg) {
  uvch_watch_receiver_t* rx = arg;
  storm_t* storm = rx->data;

  support_check(watch_number(value) > storm->above[rx - storm->rx]);
  return 1;
}

static void storm_waited(uvch_watch_wait_for_t* req, int status, const void* value) {
  uvch_watch_receiver_t* rx = req->data;
  storm_t* storm = rx->data;

  support_check_eq(status, 0);
  storm->above[rx - storm->rx] = watch_number(value);
  storm->waits = false;
  support_check_eq(uvch_watch_start(rx, storm_cb, 0), 0);
}

static void storm_wait(storm_t* storm, size_t at) {
  uvch_watch_receiver_t* rx = &storm->rx[at];

  if (storm->waits) {
    return;
  }
  storm->waits = true;
  storm->above[at] = storm->sent - 1; /* the one that is there is tested first */
  storm->req.data = rx;
  support_check_eq(uvch_watch_stop(rx), 0);
  support_check_eq(uvch_watch_wait_for(&storm->req, rx, storm_predicate, rx, storm_waited), 0);
}

static void storm_do(storm_t* storm, size_t at) {
  uvch_watch_receiver_t* rx = &storm->rx[at];

  if (storm->what == UPDATES) {
    support_check_eq(watch_take(rx), storm->sent);
    storm->above[at] = storm->sent;
  } else if (storm->what == PEEKS) {
    support_check_eq(watch_peek(rx), storm->sent);
    storm->above[at] = storm->sent - 1;
  } else if (storm->what == MARKS_SEEN) {
    support_check_eq(uvch_watch_mark_unchanged(rx), 0);
    storm->above[at] = storm->sent;
  } else if (storm->what == MARKS_UNSEEN) {
    support_check_eq(uvch_watch_mark_changed(rx), 0);
    storm->above[at] = storm->sent - 1;
  } else if (storm->what == RESTARTS) {
    support_check_eq(uvch_watch_stop(rx), 0);
    support_check_eq(uvch_watch_start(rx, storm_cb, UVCH_WATCH_CURRENT), 0);
    storm->above[at] = storm->sent - 1;
  } else if (storm->what == WAITS) {
    storm_wait(storm, at);
  }
}

static void storm_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  storm_t* storm = rx->data;
  size_t at = (size_t) (rx - storm->rx);

  support_check_eq(status, 0);
  support_check(watch_number(value) > storm->above[at]);
  support_check(watch_number(value) <= storm->sent);
  storm->above[at] = watch_number(value);
  if (storm->sent < STORM_SENDS) {
    watch_put(storm->tx, ++storm->sent);
    storm_do(storm, (at + 1 + storm->sent % 3) % COUNT(storm->rx));
  }
}

static bool storm_is_over(const storm_t* storm) {
  size_t i;

  for (i = 0; i < COUNT(storm->rx); i++) {
    if (storm->above[i] != STORM_SENDS) {
      return false;
    }
  }
  return !storm->waits;
}

/* [FW18] */
START_TEST(nothing_comes_that_is_older_than_what_the_receiver_has_seen_and_the_newest_comes_at_last) {
  uvch_watch_sender_t tx;
  storm_t storm;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  memset(&storm, 0, sizeof(storm));
  storm.tx = &tx;
  storm.what = _i;
  watch_open(&loop, &storm.rx[0], &tx, 0);
  for (i = 0; i < COUNT(storm.rx); i++) {
    if (i > 0) {
      watch_subscribe(&loop, &storm.rx[i], &tx);
    }
    storm.rx[i].data = &storm;
    ck_assert_int_eq(uvch_watch_start(&storm.rx[i], storm_cb, 0), 0);
  }
  watch_put(&tx, ++storm.sent);
  watch_pump(&loop, storm_is_over(&storm));
  watch_turn(&loop);
  ck_assert(storm_is_over(&storm));
  for (i = 0; i < COUNT(storm.rx); i++) {
    check_sees(&storm.rx[i], STORM_SENDS, 0);
    watch_close(&storm.rx[i]);
  }
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [X5] */
START_TEST(a_clone_that_has_not_seen_the_value_is_told_once) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t clone;
  uvch_watch_sender_t tx;
  watch_log_t log;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_put(&tx, 2);
  watch_clone(&loop, &clone, &rx);
  watch_listen(&clone, &log, 0, true);
  watch_turn(&loop);
  watch_turn(&loop);
  watch_heard_all(&log, 1, 0);
  watch_heard(&log, 0, 0, 2);
  check_changed(&rx, 1);
  watch_drop_sender(&tx);
  support_loop_run(&loop);
  watch_heard_all(&log, 2, 1);
  watch_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Waiting for a value. */

/* [FW19, FW20] */
START_TEST(a_wait_tests_the_value_that_is_there_and_then_the_newest_after_each_change) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  wish_for(&wish, 7);
  wait_for(&waiting, &rx, &wish);
  watch_turn(&loop);
  ck_assert_uint_eq(wish.calls, 1); /* also one that had been seen */
  watch_put(&tx, 2);
  watch_put(&tx, 7); /* skipped */
  watch_put(&tx, 3);
  check_changed(&rx, 1);
  watch_turn(&loop);
  ck_assert_uint_eq(wish.calls, 2);
  check_changed(&rx, 0);
  watch_put(&tx, 3); /* an equal one is another one */
  watch_turn(&loop);
  watch_turn(&loop);
  ck_assert_uint_eq(wish.calls, 3);
  watch_put(&tx, 7);
  watch_pump(&loop, waiting.calls == 1);
  check_waited(&waiting, 0, 7);
  check_changed(&rx, 0);
  check_tested(&wish, 0, 1);
  check_tested(&wish, 1, 3);
  check_tested(&wish, 2, 3);
  check_tested(&wish, 3, 7);
  ck_assert_uint_eq(wish.calls, 4);
  watch_put(&tx, 7);
  watch_turn(&loop);
  ck_assert_uint_eq(wish.calls, 4); /* it is over */
  ck_assert_int_eq(give_up(&waiting), UV_EBUSY);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FW20, FA09] */
START_TEST(a_wait_that_is_given_up_has_seen_what_it_tested) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  wish_for(&wish, 7);
  watch_put(&tx, 2);
  wait_for(&waiting, &rx, &wish);
  ck_assert_int_eq(give_up(&waiting), 0);
  ck_assert_int_eq(give_up(&waiting), UV_EBUSY);
  ck_assert_uint_eq(waiting.calls, 0); /* never from inside the call */
  support_loop_run(&loop);
  check_waited(&waiting, UV_ECANCELED, 0);
  ck_assert_uint_eq(wish.calls, 0);
  check_changed(&rx, 1); /* it tested none */
  wait_for(&waiting, &rx, &wish);
  watch_turn(&loop);
  ck_assert_uint_eq(wish.calls, 1);
  ck_assert_int_eq(give_up(&waiting), 0);
  support_loop_run(&loop);
  check_waited(&waiting, UV_ECANCELED, 0);
  check_changed(&rx, 0);
  watch_put(&tx, 3);
  check_changed(&rx, 1);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FW21] */
START_TEST(a_wait_tests_the_last_value_once_before_the_end) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  wish_for(&wish, 7);
  wait_for(&waiting, &rx, &wish);
  watch_turn(&loop);
  watch_drop_sender(&tx); /* that value has been tested */
  support_loop_run(&loop);
  check_waited(&waiting, UV_EOF, 0);
  ck_assert_uint_eq(wish.calls, 1);
  wait_for(&waiting, &rx, &wish); /* another wait tests it again */
  support_loop_run(&loop);
  check_waited(&waiting, UV_EOF, 0);
  ck_assert_uint_eq(wish.calls, 2);
  watch_close(&rx);
  support_loop_run(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  wish_for(&wish, 7);
  wait_for(&waiting, &rx, &wish);
  watch_turn(&loop);
  watch_put(&tx, 7);
  watch_drop_sender(&tx);
  support_loop_run(&loop);
  check_waited(&waiting, 0, 7);
  ck_assert_uint_eq(wish.calls, 2);
  watch_close(&rx);
  support_loop_end(&loop);
}
END_TEST

/* [FW22] */
START_TEST(a_predicate_that_fails_ends_the_wait_with_what_it_says) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t plain;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  const void* value = &rx;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_subscribe(NULL, &plain, &tx);
  watch_put(&tx, 2);
  wish_for(&wish, 2);
  wish.fails = UV_EILSEQ;
  wait_for(&waiting, &rx, &wish);
  support_loop_run(&loop);
  check_waited(&waiting, UV_EILSEQ, 0);
  ck_assert_uint_eq(wish.calls, 1);
  check_changed(&rx, 0);
  ck_assert_int_eq(uvch_watch_wait_for_wait(&plain, wish_cb, &wish, &value), UV_EILSEQ);
  ck_assert_ptr_eq(value, &rx); /* nothing came out */
  check_changed(&plain, 0);
  watch_put(&tx, 3); /* nothing is locked */
  wish_for(&wish, 3);
  ck_assert_int_eq(uvch_watch_wait_for_wait(&plain, wish_cb, &wish, &value), 0);
  ck_assert_uint_eq(watch_number(value), 3);
  wait_for(&waiting, &rx, &wish);
  support_loop_run(&loop);
  check_waited(&waiting, 0, 3);
  watch_close(&rx);
  watch_close(&plain);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(one_wait_at_a_time_and_only_while_it_is_not_started) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  waiting_t second;
  watch_log_t log;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  wish_for(&wish, 7);
  watch_listen(&rx, &log, 0, false);
  ck_assert_int_eq(try_wait_for(&second, &rx, &wish), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_stop(&rx), 0);
  wait_for(&waiting, &rx, &wish);
  ck_assert_int_eq(try_wait_for(&second, &rx, &wish), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_start(&rx, watch_never, 0), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_start(&rx, watch_never, UVCH_WATCH_CURRENT), UV_EALREADY);
  ck_assert_int_eq(uvch_watch_stop(&rx), 0); /* it is not started, so that does nothing */
  watch_turn(&loop);
  ck_assert_uint_eq(wish.calls, 1);
  watch_put(&tx, 7);
  support_loop_run(&loop);
  check_waited(&waiting, 0, 7);
  watch_listen(&rx, &log, 0, true); /* there is room for either again */
  watch_drop_sender(&tx);
  support_loop_run(&loop);
  watch_heard_all(&log, 1, 1);
  ck_assert_uint_eq(second.calls, 0);
  support_loop_end(&loop);
}
END_TEST

typedef struct order_s {
  size_t waits;
  size_t closes;
} order_t;

static void order_wait_cb(uvch_watch_wait_for_t* req, int status, const void* value) {
  order_t* order = req->data;

  support_check_eq(status, UV_ECANCELED);
  support_check(value == NULL);
  support_check_eq(order->closes, 0);
  order->waits += 1;
}

static void order_close_cb(uvch_handle_t* handle) {
  order_t* order = handle->data;

  support_check_eq(order->waits, 1);
  order->closes += 1;
}

START_TEST(closing_the_receiver_gives_its_wait_up_before_the_close_callback) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uvch_watch_wait_for_t req;
  order_t order;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  wish_for(&wish, 7);
  memset(&order, 0, sizeof(order));
  req.data = &order;
  rx.data = &order;
  ck_assert_int_eq(uvch_watch_wait_for(&req, &rx, wish_cb, &wish, order_wait_cb), 0);
  watch_turn(&loop);
  watch_put(&tx, 7); /* and it is too late for that */
  ck_assert_int_eq(uvch_close(handle_of(&rx), order_close_cb), 0);
  ck_assert_uint_eq(order.waits + order.closes, 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(order.waits, 1);
  ck_assert_uint_eq(order.closes, 1);
  ck_assert_uint_eq(wish.calls, 1);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(mark_changed_does_not_test_a_value_twice) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  wish_for(&wish, 7);
  wait_for(&waiting, &rx, &wish);
  watch_turn(&loop);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
  watch_turn(&loop);
  ck_assert_uint_eq(wish.calls, 1);
  watch_put(&tx, 7);
  support_loop_run(&loop);
  check_waited(&waiting, 0, 7);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_wait_tests_each_change_also_what_its_receiver_has_seen_by_hand) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  wish_for(&wish, 7);
  wait_for(&waiting, &rx, &wish);
  watch_turn(&loop);
  watch_put(&tx, 2);
  ck_assert_uint_eq(watch_take(&rx), 2);
  watch_turn(&loop);
  ck_assert_uint_eq(wish.calls, 2);
  watch_put(&tx, 7);
  ck_assert_int_eq(uvch_watch_mark_unchanged(&rx), 0);
  support_loop_run(&loop);
  check_waited(&waiting, 0, 7);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* What a predicate does besides. */
typedef struct meddler_s {
  uvch_watch_receiver_t* rx;
  uvch_watch_sender_t* tx;
  waiting_t* waiting;
  int what;
  int answer;
  size_t calls;
} meddler_t;

enum { SENDS_WANTED, GIVES_UP, CLOSES_RX, ENDS_ALL, MEDDLES };

static void meddle(void* arg) {
  meddler_t* meddler = arg;

  if (meddler->calls++ > 0) {
    return;
  }
  if (meddler->what == SENDS_WANTED) {
    watch_put(meddler->tx, 7);
  } else if (meddler->what == GIVES_UP) {
    meddler->answer = give_up(meddler->waiting);
  } else if (meddler->what == CLOSES_RX) {
    watch_close(meddler->rx);
  } else {
    watch_drop_sender(meddler->tx);
  }
}

/* [FW19, FW33] */
START_TEST(a_predicate_may_call_everything) {
  int what = _i % MEDDLES;
  uint64_t wanted = _i / MEDDLES == 0 ? 7 : 1; /* it says no or yes to the value that is there */
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  meddler_t meddler;
  uv_loop_t loop;
  wish_t wish;

  support_loop_init(&loop);
  watch_open(&loop, &rx, &tx, 1);
  wish_for(&wish, wanted);
  memset(&meddler, 0, sizeof(meddler));
  meddler.rx = &rx;
  meddler.tx = &tx;
  meddler.waiting = &waiting;
  meddler.what = what;
  wish.then = meddle;
  wish.arg = &meddler;
  wait_for(&waiting, &rx, &wish);
  support_loop_run(&loop);
  ck_assert_uint_eq(waiting.calls, 1);
  if (what == SENDS_WANTED) {
    check_waited(&waiting, 0, wanted);
    ck_assert_uint_eq(wish.calls, wanted == 7 ? 2 : 1);
  } else {
    ck_assert_uint_eq(wish.calls, 1);
  }
  if (what == ENDS_ALL) {
    check_waited(&waiting, wanted == 1 ? 0 : UV_EOF, wanted == 1 ? 1 : 0);
  }
  if (what == GIVES_UP) { /* it is as the answer said */
    ck_assert(meddler.answer == 0 || (meddler.answer == UV_EBUSY && wanted == 1));
    ck_assert_int_eq(waiting.status, meddler.answer == 0 ? UV_ECANCELED : 0);
  }
  if (what == CLOSES_RX && wanted == 7) {
    check_waited(&waiting, UV_ECANCELED, 0);
  }
  if (what != CLOSES_RX) {
    watch_close(&rx);
  }
  if (what != ENDS_ALL) {
    watch_drop_sender(&tx);
  }
  support_loop_end(&loop);
}
END_TEST

/* [FW12, FW19, FW20, FW36] */
START_TEST(a_thread_waits_for_a_value_and_gets_exactly_that_one) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  const void* value = NULL;
  const void* before;
  wish_t wish;

  watch_open_owning(NULL, &rx, &tx, &owner, NULL, 1);
  ck_assert_int_eq(watch_put_owned(&tx, &owner, 2), 0);
  before = uvch_watch_borrow(&rx);
  wish_for(&wish, 2);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, wish_cb, &wish, &value, 0), 0);
  ck_assert_ptr_eq(value, before); /* borrowed as by uvch_watch_borrow() */
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 1);
  ck_assert_int_eq(watch_put_owned(&tx, &owner, 3), 0);
  ck_assert_uint_eq(watch_number(value), 2); /* and kept */
  ck_assert_uint_eq(watch_owned_alive(&owner), 2);
  wish_for(&wish, 9);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, wish_cb, &wish, NULL, 1000), UV_ETIMEDOUT);
  ck_assert_uint_eq(wish.calls, 1);
  check_tested(&wish, 0, 3);
  check_changed(&rx, 0); /* it was tested */
  wish_for(&wish, 3);
  ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, wish_cb, &wish, &value), 0);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0);
  ck_assert_uint_eq(watch_owned_alive(&owner), 1);
  ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, wish_cb, &wish, NULL), 0);
  watch_drop_sender(&tx);
  wish_for(&wish, 9);
  before = value;
  ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, wish_cb, &wish, &value), UV_EOF);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, wish_cb, &wish, &value, UINT64_MAX), UV_EOF);
  ck_assert_ptr_eq(value, before);
  ck_assert_uint_eq(wish.calls, 2); /* once for each wait */
  watch_close(&rx);
  watch_owner_check(&owner);
}
END_TEST

/* The same for a thread. What is done when 2 is tested, which had not been seen. */
enum { T_SENDS, T_MARKS, T_UPDATES, T_CLOSES, T_ENDS, T_BORROWS, T_DEEDS };

typedef struct thread_meddler_s {
  uvch_watch_receiver_t* rx;
  uvch_watch_sender_t* tx;
  int what;
  size_t calls;
} thread_meddler_t;

static void thread_meddle(void* arg) {
  thread_meddler_t* meddler = arg;

  if (meddler->calls++ > 0) {
    return;
  }
  if (meddler->what == T_SENDS) {
    watch_put(meddler->tx, 7);
  } else if (meddler->what == T_MARKS) {
    support_check_eq(uvch_watch_mark_changed(meddler->rx), 0);
  } else if (meddler->what == T_UPDATES) {
    watch_put(meddler->tx, 7);
    support_check_eq(watch_take(meddler->rx), 7);
  } else if (meddler->what == T_CLOSES) {
    watch_close(meddler->rx);
  } else if (meddler->what == T_ENDS) {
    watch_drop_sender(meddler->tx);
  } else {
    support_check_eq(watch_peek(meddler->rx), 2);
  }
}

/* [FW12, FW19, FW21, FW33] */
START_TEST(the_predicate_of_a_thread_may_call_everything) {
  static const int no[T_DEEDS] = {0, UV_ETIMEDOUT, 0, UV_EBADF, UV_EOF, UV_ETIMEDOUT};
  int what = _i % T_DEEDS;
  uint64_t wanted = _i / T_DEEDS == 0 ? 7 : 2; /* it says no or yes to the value that is there */
  int status = wanted == 7 ? no[what] : what == T_CLOSES ? UV_EBADF : 0;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  thread_meddler_t meddler = {&rx, &tx, what, 0};
  const void* value = &rx;
  wish_t wish;

  watch_open(NULL, &rx, &tx, 1);
  watch_put(&tx, 2);
  wish_for(&wish, wanted);
  wish.then = thread_meddle;
  wish.arg = &meddler;
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, wish_cb, &wish, &value, 1), status);
  check_tested(&wish, 0, 2);
  ck_assert_uint_eq(wish.calls, wanted == 7 && status == 0 ? 2 : 1);
  if (status == 0) {
    ck_assert_uint_eq(watch_number(value), wanted);
    ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), wanted == 2); /* it is the first one that was tested, or not */
  } else {
    ck_assert_ptr_eq(value, &rx);
  }
  if (what == T_MARKS) {
    check_changed(&rx, 1);
  }
  if (what != T_CLOSES) {
    watch_close(&rx);
  }
  if (what != T_ENDS) {
    watch_drop_sender(&tx);
  }
}
END_TEST

typedef struct sleeper_s {
  uvch_watch_receiver_t rx;
  _Atomic(long) number;
  int until; /* it waits for this value; 0: for any change */
  support_result_t result;
} sleeper_t;

static int is_until(const void* value, void* arg) {
  return watch_number(value) == (uint64_t) * (int*) arg;
}

static void sleeper_run(void* arg) {
  sleeper_t* s = arg;
  const void* value = NULL;

  atomic_store(&s->number, support_thread_number());
  if (s->until == 0) {
    support_expect_eq(&s->result, uvch_watch_changed_wait(&s->rx), 0);
    value = uvch_watch_borrow(&s->rx);
  } else {
    support_expect_eq(&s->result, uvch_watch_wait_for_wait(&s->rx, is_until, &s->until, &value), 0);
    support_expect_eq(&s->result, uvch_watch_borrow_has_changed(&s->rx), 0); /* the first one was not it */
  }
  if (support_expect(&s->result, value != NULL)) {
    support_expect_eq(&s->result, watch_number(value), 5);
  }
  support_expect_eq(&s->result, uvch_watch_changed_wait(&s->rx), UV_EOF);
}

/* [FW16, FW19, FW36] */
START_TEST(a_thread_that_sleeps_is_woken_by_the_value_and_by_the_end) {
  uvch_watch_sender_t tx;
  uv_thread_t thread;
  sleeper_t sleeper;

  memset(&sleeper, 0, sizeof(sleeper));
  sleeper.until = _i * 5;
  watch_open(NULL, &sleeper.rx, &tx, 1);
  support_spawn(&thread, sleeper_run, &sleeper);
  support_until_blocked(&sleeper.number);
  watch_put(&tx, 5);
  support_until_blocked(&sleeper.number);
  watch_drop_sender(&tx);
  support_join(&thread);
  support_result_check(&sleeper.result);
  watch_close(&sleeper.rx);
}
END_TEST

/* Receivers. */

/* [FW23] */
START_TEST(a_clone_has_seen_what_its_source_has_and_goes_its_own_way) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t seen;
  uvch_watch_receiver_t unseen;
  uvch_watch_receiver_t late;
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_clone(NULL, &seen, &rx);
  check_changed(&seen, 0);
  watch_put(&tx, 2);
  check_sees(&rx, 2, 1);
  watch_clone(loop_of(_i, &loop), &unseen, &rx);
  check_counts(&tx, 3, 1);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&unseen), 0); /* nothing borrowed */
  check_changed(&unseen, 1);
  ck_assert_uint_eq(watch_take(&rx), 2);
  check_changed(&unseen, 1);
  check_changed(&seen, 1);
  ck_assert_uint_eq(watch_take(&unseen), 2);
  check_changed(&unseen, 0);
  check_changed(&seen, 1);
  watch_put(&tx, 3);
  watch_drop_sender(&tx);
  watch_clone(NULL, &late, &rx); /* also after the end */
  check_changed(&late, UV_EOF);
  ck_assert_int_eq(uvch_watch_changed_wait(&late), 0);
  check_sees(&late, 3, 0);
  check_not_changed(&late, UV_EOF);
  watch_close(&rx); /* and without the source */
  watch_close(&seen);
  watch_clone(NULL, &seen, &late);
  check_not_changed(&seen, UV_EOF);
  check_sees(&seen, 3, 0);
  watch_close(&seen);
  watch_close(&late);
  watch_close(&unseen);
  support_loop_end(&loop);
}
END_TEST

/* [FW24] */
START_TEST(a_subscriber_has_seen_the_value_that_is_there_and_chooses_to_be_told) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t current;
  uvch_watch_receiver_t changes;
  uvch_watch_sender_t tx;
  watch_log_t logs[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_put(&tx, 2);
  watch_subscribe(&loop, &current, &tx);
  watch_subscribe(&loop, &changes, &tx);
  check_changed(&rx, 1);
  check_changed(&current, 0);
  check_sees(&current, 2, 0);
  watch_listen(&current, &logs[0], UVCH_WATCH_CURRENT, true);
  watch_listen(&changes, &logs[1], 0, true);
  watch_turn(&loop);
  watch_heard_all(&logs[0], 1, 0);
  watch_heard(&logs[0], 0, 0, 2);
  watch_heard_all(&logs[1], 0, 0);
  watch_put(&tx, 3);
  watch_turn(&loop);
  watch_heard_all(&logs[0], 2, 0);
  watch_heard_all(&logs[1], 1, 0);
  watch_heard(&logs[1], 0, 0, 3);
  watch_drop_sender(&tx);
  watch_close(&rx);
  support_loop_end(&loop);
  watch_heard_all(&logs[0], 3, 1);
  watch_heard_all(&logs[1], 2, 1);
}
END_TEST

/* [FW25] */
START_TEST(ends_know_whether_they_are_of_one_channel) {
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx[3];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx[0], &tx[0], 1);
  watch_clone_sender(&tx[0], &tx[1]);
  watch_clone(NULL, &rx[1], &rx[0]);
  watch_open(NULL, &rx[2], &tx[2], 1);
  ck_assert_int_eq(uvch_watch_sender_same_channel(&tx[0], &tx[1]), 1);
  ck_assert_int_eq(uvch_watch_sender_same_channel(&tx[0], &tx[0]), 1);
  ck_assert_int_eq(uvch_watch_sender_same_channel(&tx[0], &tx[2]), 0);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(&rx[0], &rx[1]), 1);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(&rx[1], &rx[1]), 1);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(&rx[1], &rx[2]), 0);
  ck_assert_int_eq(uvch_watch_sender_same_channel(&tx[0], NULL), 0);
  ck_assert_int_eq(uvch_watch_sender_same_channel(NULL, NULL), 0);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(NULL, &rx[1]), 0);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(NULL, NULL), 0);
  for (i = 0; i < 3; i++) {
    watch_drop_sender(&tx[i]);
  }
  ck_assert_int_eq(uvch_watch_sender_same_channel(&tx[0], &tx[1]), 0);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(&rx[0], &rx[1]), 1); /* also after the end */
  watch_close(&rx[0]);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(&rx[0], &rx[1]), 0);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(&rx[0], &rx[0]), 0);
  watch_close(&rx[1]);
  watch_close(&rx[2]);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_receiver_attached_to_a_loop_goes_on_from_where_it_was) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  const void* value;
  watch_log_t log;
  uv_loop_t loop;
  uv_loop_t other;

  support_loop_init(&loop);
  support_loop_init(&other);
  open_state(_i, PLAIN, NULL, &rx, &tx);
  value = uvch_watch_borrow(&rx);
  ck_assert_int_eq(uvch_attach(NULL, handle_of(&rx)), UV_EINVAL);
  ck_assert_ptr_null(uvch_handle_get_loop(handle_of(&rx)));
  watch_attach(&loop, &rx);
  ck_assert_int_eq(uvch_attach(&loop, handle_of(&rx)), UV_EALREADY);
  ck_assert_int_eq(uvch_attach(&other, handle_of(&rx)), UV_EALREADY);
  ck_assert_ptr_eq(uvch_handle_get_loop(handle_of(&rx)), &loop);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), is_unseen(_i));
  ck_assert_ptr_eq(uvch_watch_borrow(&rx), value);
  check_not_changed(&rx, UV_EPERM); /* not any more */
  watch_listen(&rx, &log, 0, false);
  watch_turn(&loop);
  watch_heard_all(&log, (size_t) is_unseen(_i) + (size_t) has_ended(_i), (size_t) has_ended(_i));
  close_state(_i, &rx, &tx);
  ck_assert_int_eq(uvch_attach(&other, handle_of(&rx)), UV_EBADF);
  support_loop_end(&loop);
  support_loop_end(&other);
}
END_TEST

/* Senders. */

/* [FW27, FW29] */
START_TEST(the_counts_follow_every_step) {
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx[3];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx[0], &tx[0], 1);
  check_counts(&tx[0], 1, 1);
  watch_clone_sender(&tx[0], &tx[1]);
  watch_clone_sender(&tx[1], &tx[2]);
  check_counts(&tx[2], 1, 3);
  watch_clone(NULL, &rx[1], &rx[0]);
  watch_subscribe(NULL, &rx[2], &tx[1]);
  check_counts(&tx[0], 3, 3);
  watch_drop_sender(&tx[0]);
  check_counts(&tx[1], 3, 2);
  watch_close(&rx[0]);
  watch_close(&rx[2]);
  check_counts(&tx[1], 1, 2);
  watch_close(&rx[1]);
  check_counts(&tx[1], 0, 2); /* closed */
  watch_subscribe(loop_of(_i, &loop), &rx[1], &tx[1]);
  check_counts(&tx[1], 1, 2); /* and open again */
  watch_drop_sender(&tx[1]);
  check_counts(&tx[2], 1, 1);
  watch_drop_sender(&tx[2]);
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&tx[2]), 0);
  ck_assert_uint_eq(uvch_watch_sender_sender_count(&tx[2]), 0);
  ck_assert_int_eq(uvch_watch_sender_is_closed(&tx[2]), 1);
  watch_close(&rx[1]);
  support_loop_end(&loop);
}
END_TEST

/* [FW31] */
START_TEST(only_the_last_sender_ends_the_channel) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t plain;
  uvch_watch_sender_t tx;
  uvch_watch_sender_t other;
  watch_log_t log;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_clone_sender(&tx, &other);
  watch_subscribe(NULL, &plain, &tx);
  watch_listen(&rx, &log, 0, true);
  watch_drop_sender(&tx);
  watch_turn(&loop);
  watch_heard_all(&log, 0, 0);
  check_changed(&plain, 0);
  check_not_changed(&plain, UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_watch_sender_close(&tx), UV_EBADF); /* harmless */
  check_changed(&plain, 0);
  watch_drop_sender(&other);
  check_changed(&plain, UV_EOF);
  check_not_changed(&plain, UV_EOF);
  support_loop_end(&loop);
  watch_heard_all(&log, 1, 1);
  watch_close(&plain);
}
END_TEST

/* [FW28] */
START_TEST(a_wait_for_the_end_of_the_receivers_ends_when_there_is_none) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t other;
  uvch_watch_sender_t tx;
  watcher_t watcher[3];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_subscribe(NULL, &other, &tx);
  watch(&loop, &watcher[0], &tx);
  watch(&loop, &watcher[1], &tx);
  check_counts(&tx, 2, 1); /* none of them counts */
  watch_close(&rx);
  watch_turn(&loop);
  ck_assert_uint_eq(watcher[0].calls + watcher[1].calls, 0);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  watch_close(&other);
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 0), 0);
  ck_assert_uint_eq(watcher[0].calls + watcher[1].calls, 0);
  support_loop_run(&loop);
  watch(&loop, &watcher[2], &tx); /* there is none already */
  support_loop_run(&loop);
  for (i = 0; i < COUNT(watcher); i++) {
    check_told(&watcher[i], 0);
  }
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FW28] */
START_TEST(a_new_subscriber_keeps_who_waits_for_the_end_waiting) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t second;
  uvch_watch_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch(&loop, &watcher, &tx);
  watch_close(&rx);
  watch_subscribe(NULL, &second, &tx); /* before the loop has looked */
  watch_turn(&loop);
  ck_assert_uint_eq(watcher.calls, 0);
  watch_drop_sender(&tx); /* the request goes on without its sender */
  watch_turn(&loop);
  ck_assert_uint_eq(watcher.calls, 0);
  check_changed(&second, UV_EOF); /* and keeps nothing open */
  watch_close(&second);
  support_loop_run(&loop);
  check_told(&watcher, 0);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_wait_for_the_end_of_the_receivers_can_be_given_up) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch(&loop, &watcher, &tx);
  watch_turn(&loop);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0); /* it keeps the loop alive */
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &watcher.req), 0);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &watcher.req), UV_EBUSY);
  ck_assert_uint_eq(watcher.calls, 0);
  support_loop_run(&loop);
  check_told(&watcher, UV_ECANCELED);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FW34] */
START_TEST(a_receiver_that_looks_once_in_a_while_misses_no_change) {
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx;
  uint64_t i;

  watch_open(NULL, &rx[0], &tx, 0);
  watch_subscribe(NULL, &rx[1], &tx);
  watch_subscribe(NULL, &rx[2], &tx);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx[2]), 0); /* below the first version */
  for (i = 1; i < 200; i++) {                           /* each of them looks on either side of the end of the numbers */
    watch_put(&tx, i);
    check_changed(&rx[0], 1);
    ck_assert_int_eq(uvch_watch_changed_wait(&rx[0]), 0);
    check_changed(&rx[0], 0);
    check_changed(&rx[1], 1);
    check_changed(&rx[2], 1);
    if (i % 7 == 0) {
      check_sees(&rx[1], i, 1);
      ck_assert_uint_eq(watch_take(&rx[1]), i);
    }
  }
  check_sees(&rx[2], 199, 1);
  watch_drop_sender(&tx);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(uvch_watch_changed_wait(&rx[i]), i == 0 ? UV_EOF : 0);
    check_not_changed(&rx[i], UV_EOF);
    watch_close(&rx[i]);
  }
}
END_TEST

START_TEST(there_may_be_two_to_the_30_senders_and_no_more) {
  const uint32_t most = UINT32_C(1) << 30;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uvch_watch_sender_t copy;
  uvch_watch_sender_t none;
  struct uvch__watch* c;

  watch_open(NULL, &rx, &tx, 1);
  memset(&none, 0x5a, sizeof(none));
  c = tx.core;
  c->hub.strong += most - 2; /* nobody else is there */
  watch_clone_sender(&tx, &copy);
  check_counts(&tx, 1, most);
  ck_assert_int_eq(uvch_watch_sender_clone(&tx, &none), UV_ENOMEM);
  check_bytes(&none, 0x5a, sizeof(none));
  check_counts(&tx, 1, most);
  c->hub.strong -= most - 2;
  watch_drop_sender(&copy);
  watch_drop_sender(&tx);
  check_not_changed(&rx, UV_EOF);
  watch_close(&rx);
}
END_TEST

/* Closing. */

START_TEST(a_receiver_that_closes_takes_nothing_from_the_others) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t other;
  uvch_watch_sender_t tx;
  watch_log_t log;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_subscribe(&loop, &other, &tx);
  watch_listen(&other, &log, 0, true);
  watch_put(&tx, 2);
  watch_close(&rx);
  watch_turn(&loop);
  watch_heard_all(&log, 1, 0);
  watch_put(&tx, 3);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  watch_heard_all(&log, 3, 1);
  watch_heard(&log, 1, 0, 3);
}
END_TEST

START_TEST(a_closed_receiver_answers_every_call_and_changes_nothing) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t none;
  uvch_watch_sender_t tx;
  uvch_watch_wait_for_t req;
  const void* value = &rx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_put(&tx, 2);
  ck_assert_ptr_nonnull(uvch_watch_borrow(&rx));
  watch_close(&rx);
  memset(&none, 0x5a, sizeof(none));
  ck_assert_int_eq(uvch_close(handle_of(&rx), NULL), UV_EALREADY);
  ck_assert_int_eq(uvch_is_closing(handle_of(&rx)), 1);
  ck_assert_int_eq(uvch_is_active(handle_of(&rx)), 0);
  ck_assert_int_eq(uvch_watch_start(&rx, watch_never, 0), UV_EBADF);
  ck_assert_int_eq(uvch_watch_stop(&rx), UV_EBADF);
  ck_assert_ptr_null(uvch_watch_borrow(&rx));
  ck_assert_ptr_null(uvch_watch_borrow_and_update(&rx));
  ck_assert_int_eq(uvch_watch_borrow_has_changed(&rx), 0);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_mark_unchanged(&rx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &rx, never_tested, NULL, never_waited), UV_EBADF);
  ck_assert_int_eq(uvch_watch_receiver_clone(NULL, &none, &rx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_receiver_clone(&loop, &none, &rx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(&rx, &rx), 0);
  if (_i == PLAIN) {
    ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, never_tested, NULL, &value), UV_EBADF);
    ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, never_tested, NULL, &value, 0), UV_EBADF);
    ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_EBADF);
    ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_EBADF);
    ck_assert_int_eq(uvch_attach(&loop, handle_of(&rx)), UV_EBADF);
  }
  check_bytes(&none, 0x5a, sizeof(none));
  ck_assert_ptr_eq(value, &rx);
  check_counts(&tx, 0, 1);
  watch_put(&tx, 3);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_close_callback_comes_once_and_last_and_only_with_a_loop) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_log_t log;
  size_t closes = 0;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  watch_put(&tx, 2);
  if (_i == PLAIN) {
    ck_assert_int_eq(uvch_close(handle_of(&rx), count_closes), UV_EINVAL);
    ck_assert_int_eq(uvch_is_closing(handle_of(&rx)), 0);
    check_changed(&rx, 1); /* it is open still */
    watch_close(&rx);
  } else {
    watch_listen(&rx, &log, UVCH_WATCH_CURRENT, false);
    rx.data = &closes; /* nothing comes there any more */
    ck_assert_int_eq(uvch_close(handle_of(&rx), count_closes), 0);
    ck_assert_int_eq(uvch_close(handle_of(&rx), count_closes), UV_EALREADY);
    ck_assert_int_eq(uvch_close(handle_of(&rx), NULL), UV_EALREADY);
    check_counts(&tx, 0, 1);
    ck_assert_uint_eq(closes, 0);
    support_loop_run(&loop);
    ck_assert_uint_eq(closes, 1);
    watch_heard_all(&log, 0, 0);
  }
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

static void count_receivers(uvch_handle_t* handle, void* arg) {
  *(size_t*) arg += uvch_handle_get_type(handle) == UVCH_WATCH_RECEIVER;
}

static size_t receivers_on(uv_loop_t* loop) {
  size_t visited = 0;

  uvch_walk(loop, count_receivers, &visited);
  return visited;
}

START_TEST(a_walk_visits_receivers_and_close_all_closes_them) {
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  watch_open(&loop, &rx[0], &tx, 1);
  watch_subscribe(&loop, &rx[1], &tx);
  watch_subscribe(NULL, &rx[2], &tx);
  ck_assert_uint_eq(receivers_on(&loop), 2);
  watch_attach(&loop, &rx[2]);
  ck_assert_uint_eq(receivers_on(&loop), 3);
  watch_close(&rx[1]);
  ck_assert_int_eq(uvch_close_all(&loop), 2);
  check_counts(&tx, 0, 1);
  support_loop_run(&loop);
  ck_assert_uint_eq(receivers_on(&loop), 0);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* Whatever is borrowed, started or waiting when it ends: nothing stays behind. */
START_TEST(a_channel_closes_in_any_state) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  waiting_t waiting;
  watcher_t watcher;
  watch_owner_t owner;
  watch_log_t log;
  uv_loop_t loop;
  wish_t wish;
  int way;

  for (way = 0; way < 16; way++) {
    support_loop_init(&loop);
    open_owning_kind(_i, &loop, &rx, &tx, &owner);
    watch(&loop, &watcher, &tx);
    wish_for(&wish, 7);
    waiting.calls = 1;
    if (way % 2 == 0) {
      watch_listen(&rx, &log, 0, false);
    } else {
      wait_for(&waiting, &rx, &wish);
    }
    watch_turn(&loop);
    ck_assert_ptr_nonnull(uvch_watch_borrow(&rx));
    ck_assert_ptr_nonnull(uvch_watch_sender_borrow(&tx));
    ck_assert_int_eq(watch_put_owned(&tx, &owner, 2), 0);
    if (way & 2) {
      watch_turn(&loop);
    }
    if (way & 4) {
      watch_drop_sender(&tx);
    }
    if (way & 8) {
      uv_run(&loop, UV_RUN_NOWAIT);
    }
    watch_close(&rx);
    if (!(way & 4)) {
      watch_drop_sender(&tx);
    }
    support_loop_end(&loop);
    check_told(&watcher, 0);
    ck_assert_uint_eq(waiting.calls, 1);
    watch_owner_check(&owner);
  }
}
END_TEST

/* No lock is held over what is the user's: each function may call every one, of the same channel and of another one. [I5] */

typedef struct world_s {
  uvch_watch_sender_t* tx;
  watch_owner_t* owner;
  uv_loop_t* loop;
  int busy; /* calls are not nested */
  size_t rounds;
} world_t;

static int keep(void* value, void* arg) {
  (void) value;
  (void) arg;
  return 0;
}

static int any_value(const void* value, void* arg) {
  (void) value;
  (void) arg;
  return 1;
}

static void call_senders(world_t* world) {
  uvch_watch_sender_t tx;
  watch_owned_t value;
  watch_owned_t old;

  watch_clone_sender(world->tx, &tx);
  support_check(uvch_watch_sender_same_channel(&tx, world->tx));
  support_check_eq(watch_put_owned(&tx, world->owner, 70), 0);
  support_check(watch_owned_make(world->owner, &value, 71));
  support_check_eq(uvch_watch_send_replace(&tx, &value, &old), 0);
  support_check_eq(old.number, 70);
  watch_owned_drop(&old, world->owner);
  support_check_eq(uvch_watch_modify_if(&tx, keep, NULL), 0);
  support_check_eq(uvch_watch_modify(&tx, keep, NULL), 0);
  support_check_eq(watch_sender_peek(&tx), 71);
  support_check(uvch_watch_sender_receiver_count(&tx) + uvch_watch_sender_sender_count(&tx) > 1);
  support_check_eq(uvch_watch_closed_timedwait(&tx, 0), uvch_watch_sender_is_closed(&tx) ? 0 : UV_ETIMEDOUT);
  watch_drop_sender(&tx);
}

static void call_receivers(world_t* world) {
  uvch_watch_receiver_t plain;
  uvch_watch_receiver_t clone;
  const void* value;

  watch_subscribe(NULL, &plain, world->tx);
  support_check_eq(uvch_watch_mark_changed(&plain), 0);
  watch_clone(NULL, &clone, &plain);
  support_check_eq(watch_take(&plain), 71);
  support_check_eq(uvch_watch_has_changed(&clone), 1);
  support_check_eq(uvch_watch_changed_wait(&clone), 0);
  support_check_eq(uvch_watch_wait_for_wait(&clone, any_value, NULL, &value), 0);
  support_check_eq(uvch_watch_mark_unchanged(&clone), 0);
  watch_attach(world->loop, &plain);
  support_check_eq(uvch_watch_start(&plain, watch_never, UVCH_WATCH_CURRENT), 0);
  support_check_eq(uvch_watch_stop(&plain), 0);
  watch_close(&clone);
  watch_close(&plain);
  uv_run(world->loop, UV_RUN_NOWAIT); /* `plain` is gone */
}

static void call_everything(void* arg) {
  world_t* world = arg;
  uvch_watch_receiver_t other_rx;
  uvch_watch_sender_t other;

  if (world->busy) {
    return;
  }
  world->busy = 1;
  watch_open(NULL, &other_rx, &other, 1);
  watch_put(&other, 2);
  support_check_eq(watch_take(&other_rx), 2);
  watch_drop_sender(&other);
  watch_close(&other_rx);
  call_senders(world);
  call_receivers(world);
  world->rounds += 1;
  world->busy = 0;
}

static int everything_modify(void* value, void* arg) {
  world_t* world = arg;

  (void) value;
  if (world->rounds == 0) { /* else it would never be done */
    call_everything(arg);
  }
  return 1;
}

static int everything_predicate(const void* value, void* arg) {
  call_everything(arg);
  return watch_number(value) > 0;
}

static void everything_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  world_t* world = rx->data;

  (void) value;
  if (status == 0 && world->rounds == 0) {
    call_everything(world);
  }
}

static void everything_waited(uvch_watch_wait_for_t* req, int status, const void* value) {
  support_check_eq(status, 0);
  support_check(value != NULL);
  call_everything(req->data);
}

static void everything_closed(uvch_watch_closed_t* req, int status) {
  support_check_eq(status, 0);
  call_everything(req->data);
}

enum { IN_MODIFY, IN_MODIFY_IF, IN_COPY, IN_DROP, IN_CALLBACK, IN_PREDICATE, IN_WAITED, IN_CLOSED, PLACES };

static void call_in(int place, world_t* world, uvch_watch_receiver_t* rx, uvch_watch_wait_for_t* wait,
                    uvch_watch_closed_t* closed) {
  switch (place) {
    case IN_MODIFY:
      support_check_eq(uvch_watch_modify(world->tx, everything_modify, world), 0);
      break;
    case IN_MODIFY_IF:
      support_check_eq(uvch_watch_modify_if(world->tx, everything_modify, world), 1);
      break;
    case IN_COPY:
      world->owner->on_copy = call_everything;
      support_check_eq(uvch_watch_modify_if(world->tx, keep, NULL), 0);
      break;
    case IN_DROP:
      world->owner->on_drop = call_everything;
      support_check_eq(watch_put_owned(world->tx, world->owner, 9), 0);
      break;
    case IN_CALLBACK:
      support_check_eq(uvch_watch_start(rx, everything_cb, UVCH_WATCH_CURRENT), 0);
      break;
    case IN_PREDICATE:
      support_check_eq(uvch_watch_wait_for(wait, rx, everything_predicate, world, everything_waited), 0);
      break;
    case IN_WAITED:
      support_check_eq(uvch_watch_wait_for(wait, rx, any_value, NULL, everything_waited), 0);
      break;
    default:
      watch_close(rx);
      support_check_eq(uvch_watch_closed(world->loop, closed, world->tx, everything_closed), 0);
      break;
  }
}

START_TEST(every_function_of_the_user_may_call_every_function) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uvch_watch_wait_for_t wait;
  uvch_watch_closed_t closed;
  watch_owner_t owner;
  world_t world;
  uv_loop_t loop;

  support_loop_init(&loop);
  watch_open_owning(&loop, &rx, &tx, &owner, watch_owned_copy, 1);
  memset(&world, 0, sizeof(world));
  world.tx = &tx;
  world.owner = &owner;
  world.loop = &loop;
  owner.arg = &world;
  rx.data = &world;
  wait.data = &world;
  closed.data = &world;
  call_in(_i, &world, &rx, &wait, &closed);
  watch_turn(&loop);
  ck_assert_uint_ge(world.rounds, 1);
  owner.on_copy = NULL;
  owner.on_drop = NULL;
  if (_i != IN_CLOSED) {
    watch_close(&rx);
  }
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  watch_owner_check(&owner);
}
END_TEST

/* What is refused. */

/* A receiver's calls, with what each says to one that is none. */
static void check_no_receiver(uvch_watch_receiver_t* what) {
  uvch_watch_wait_for_t req;
  uvch_watch_receiver_t fresh;
  const void* value = &fresh;

  memset(&fresh, 0x5a, sizeof(fresh));
  ck_assert_int_eq(uvch_watch_start(what, watch_never, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_stop(what), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_borrow_has_changed(what), 0);
  ck_assert_int_eq(uvch_watch_has_changed(what), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_mark_changed(what), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_mark_unchanged(what), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for(&req, what, never_tested, NULL, never_waited), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for_wait(what, never_tested, NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(what, never_tested, NULL, &value, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_changed_wait(what), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_changed_timedwait(what, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_receiver_clone(NULL, &fresh, what), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_receiver_same_channel(what, what), 0);
  ck_assert_ptr_eq(value, &fresh);
  check_bytes(&fresh, 0x5a, sizeof(fresh));
}

typedef union any_receiver_u {
  uvch_watch_receiver_t watch;
  uvch_broadcast_receiver_t all;
  uvch_mpsc_receiver_t many;
  uvch_oneshot_receiver_t one;
} any_receiver_t;

START_TEST(null_and_what_is_no_watch_receiver_are_refused) {
  any_receiver_t rx;
  uvch_broadcast_sender_t all_tx;
  uvch_mpsc_sender_t many_tx;
  uint64_t value = 6;

  check_no_receiver(NULL);
  ck_assert_ptr_null(uvch_watch_borrow(NULL));
  ck_assert_ptr_null(uvch_watch_borrow_and_update(NULL));
  memset(&rx, 0, sizeof(rx));
  check_no_receiver(&rx.watch);
  memset(&rx, 0xa5, sizeof(rx)); /* what lies behind it is not looked at */
  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx.many, &many_tx, sizeof(value), 4), 0);
  check_no_receiver(&rx.watch);
  support_put(&many_tx, 6); /* no harm done */
  ck_assert_uint_eq(support_take(&rx.many), 6);
  support_drop_sender(&many_tx);
  support_close(&rx.many);
  memset(&rx, 0xa5, sizeof(rx));
  ck_assert_int_eq(uvch_broadcast_init(NULL, &rx.all, &all_tx, sizeof(value), 4), 0);
  check_no_receiver(&rx.watch);
  ck_assert_int_eq(uvch_broadcast_send(&all_tx, &value), 1);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx.all, &value), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx.all, NULL), 0);
  ck_assert_int_eq(uvch_broadcast_sender_close(&all_tx), 0);
}
END_TEST

START_TEST(the_calls_of_other_channels_refuse_a_watch_receiver) {
  any_receiver_t rx;
  uvch_watch_sender_t tx;
  uint64_t value = 5;

  memset(&rx, 0, sizeof(rx));
  ck_assert_int_eq(uvch_watch_init(NULL, &rx.watch, &tx, sizeof(value), &value), 0);
  watch_put(&tx, 6);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx.many, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx.many, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx.many), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx.many), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_try_recv(&rx.one, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_recv_wait(&rx.one, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_recv_stop(&rx.one), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx.all, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx.all, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_stop(&rx.all), UV_EINVAL);
  ck_assert_uint_eq(value, 5);
  check_changed(&rx.watch, 1);
  ck_assert_uint_eq(watch_take(&rx.watch), 6);
  watch_close(&rx.watch);
  watch_drop_sender(&tx);
}
END_TEST

START_TEST(null_arguments_of_a_sender_are_refused_and_change_nothing) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t fresh;
  uvch_watch_sender_t tx;
  uvch_watch_sender_t copy;
  uvch_watch_closed_t closed;
  uint64_t value = 5;
  uint64_t old = 6;
  uv_loop_t loop;

  support_loop_init(&loop);
  watch_open(NULL, &rx, &tx, 1);
  memset(&fresh, 0x5a, sizeof(fresh));
  memset(&copy, 0x5a, sizeof(copy));
  ck_assert_int_eq(uvch_watch_subscribe(NULL, NULL, &tx), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_subscribe(&loop, NULL, &tx), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_subscribe(NULL, &fresh, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_subscribe(&loop, &fresh, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_sender_clone(NULL, &copy), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_sender_clone(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_sender_close(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_send(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_send(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_send_replace(NULL, &value, &old), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, NULL, &old), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &value, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_modify(NULL, never_modified, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_modify(&tx, NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_modify_if(NULL, never_modified, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, NULL, NULL), UV_EINVAL);
  ck_assert_ptr_null(uvch_watch_sender_borrow(NULL));
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(NULL), 0);
  ck_assert_uint_eq(uvch_watch_sender_sender_count(NULL), 0);
  ck_assert_int_eq(uvch_watch_sender_is_closed(NULL), 1);
  ck_assert_int_eq(uvch_watch_closed(NULL, &closed, &tx, never_closed), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed(&loop, NULL, &tx, never_closed), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed(&loop, &closed, NULL, never_closed), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed(&loop, &closed, &tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed_wait(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_closed_timedwait(NULL, 0), UV_EINVAL);
  check_bytes(&fresh, 0x5a, sizeof(fresh));
  check_bytes(&copy, 0x5a, sizeof(copy));
  ck_assert_uint_eq(old, 6);
  check_counts(&tx, 1, 1);
  check_changed(&rx, 0);
  check_sees(&rx, 1, 0);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(null_arguments_of_a_receiver_are_refused_and_change_nothing) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t none;
  uvch_watch_sender_t tx;
  uvch_watch_wait_for_t req;
  const void* value = &rx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 1);
  memset(&none, 0x5a, sizeof(none));
  ck_assert_int_eq(uvch_watch_start(&rx, NULL, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_start(&rx, watch_never, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_start(&rx, watch_never, UVCH_WATCH_CURRENT | 0x80000000u), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for(NULL, &rx, never_tested, NULL, never_waited), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &rx, NULL, NULL, never_waited), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_wait_for(&req, &rx, never_tested, NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_receiver_clone(NULL, NULL, &rx), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_receiver_clone(NULL, &none, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_receiver_clone(NULL, &rx, &rx), UV_EINVAL);
  ck_assert_int_eq(uvch_watch_receiver_clone(&loop, &rx, &rx), UV_EINVAL);
  if (_i == PLAIN) {
    ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, NULL, NULL, &value), UV_EINVAL);
    ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, NULL, NULL, &value, 0), UV_EINVAL);
  }
  check_bytes(&none, 0x5a, sizeof(none));
  ck_assert_ptr_eq(value, &rx);
  ck_assert_int_eq(uvch_is_active(handle_of(&rx)), 0);
  check_counts(&tx, 1, 1);
  check_changed(&rx, 0);
  ck_assert_int_eq(uvch_cancel(NULL), UV_EINVAL);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_closed_sender_answers_every_call_and_changes_nothing) {
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t fresh;
  uvch_watch_sender_t tx;
  uvch_watch_sender_t other;
  uvch_watch_sender_t copy;
  uvch_watch_closed_t closed;
  uint64_t value = 5;
  uint64_t old = 6;
  uv_loop_t loop;

  support_loop_init(&loop);
  watch_open(NULL, &rx, &tx, 1);
  watch_clone_sender(&tx, &other);
  ck_assert_ptr_nonnull(uvch_watch_sender_borrow(&tx));
  watch_drop_sender(&tx);
  memset(&fresh, 0x5a, sizeof(fresh));
  memset(&copy, 0x5a, sizeof(copy));
  ck_assert_int_eq(uvch_watch_sender_close(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_subscribe(NULL, &fresh, &tx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_subscribe(&loop, &fresh, &tx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_sender_clone(&tx, &copy), UV_EBADF);
  ck_assert_int_eq(uvch_watch_send(&tx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &value, &old), UV_EBADF);
  ck_assert_int_eq(uvch_watch_modify(&tx, never_modified, NULL), UV_EBADF);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, never_modified, NULL), UV_EBADF);
  ck_assert_ptr_null(uvch_watch_sender_borrow(&tx));
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&tx), 0);
  ck_assert_uint_eq(uvch_watch_sender_sender_count(&tx), 0);
  ck_assert_int_eq(uvch_watch_sender_is_closed(&tx), 1);
  ck_assert_int_eq(uvch_watch_sender_same_channel(&tx, &other), 0);
  ck_assert_int_eq(uvch_watch_sender_same_channel(&other, &tx), 0);
  ck_assert_int_eq(uvch_watch_closed(&loop, &closed, &tx, never_closed), UV_EBADF);
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 0), UV_EBADF);
  check_bytes(&fresh, 0x5a, sizeof(fresh));
  check_bytes(&copy, 0x5a, sizeof(copy));
  ck_assert_uint_eq(old, 6);
  check_counts(&other, 1, 1);
  check_changed(&rx, 0);
  watch_close(&rx);
  watch_drop_sender(&other);
  support_loop_end(&loop);
}
END_TEST

/* Where versions begin. */

static void at_0(void) {
  uvch__watch_first = 0;
}

static void near_32_bits(void) {
  uvch__watch_first = UINT32_MAX - 2;
}

static void near_the_middle(void) {
  uvch__watch_first = UINT64_MAX / 2 - 2;
}

static void near_the_end(void) {
  uvch__watch_first = UINT64_MAX - 2;
}

static TCase* versioned_case(Suite* suite, const char* name, void (*begin)(void)) {
  TCase* tcase = support_case(suite, name);

  tcase_add_checked_fixture(tcase, begin, at_0);
  return tcase;
}

static void add_making(TCase* tcase) {
  add_for_every_kind(tcase, a_new_channel_has_its_value_and_the_first_receiver_has_seen_it);
  add_for_every_kind(tcase, a_channel_without_a_receiver_opens_with_the_first_one);
  tcase_add_test(tcase, a_channel_that_never_has_a_receiver_leaves_nothing_behind);
  tcase_add_test(tcase, making_one_refuses_what_it_cannot_be_and_leaves_both_ends_alone);
  tcase_add_loop_test(tcase, making_one_without_options_is_as_plain_as_with_none_set, 0, 2);
  tcase_add_loop_test(tcase, without_memory_nothing_is_made_and_nothing_is_touched, 0, 2);
  tcase_add_loop_test(tcase, a_value_of_any_size_comes_whole_and_aligned, 0, (int) COUNT(sizes));
  tcase_add_test(tcase, a_value_of_size_0_is_a_signal);
}

static void add_sending(TCase* tcase) {
  add_for_every_kind(tcase, each_send_is_a_change_also_of_an_equal_value);
  add_for_every_kind(tcase, the_old_value_is_dropped_by_the_send_that_replaces_it);
  add_for_every_kind(tcase, what_is_sent_to_nobody_is_there_for_those_who_come_later);
  add_for_every_kind(tcase, a_send_without_memory_leaves_no_trace);
  tcase_add_test(tcase, the_values_of_all_senders_have_one_order);
  add_for_every_kind(tcase, send_replace_gives_out_each_value_that_was_there_before);
  tcase_add_loop_test(tcase, send_replace_gives_the_value_itself_if_nobody_looks_and_else_a_copy, 0, 2);
  tcase_add_loop_test(tcase, send_replace_changes_nothing_if_there_can_be_no_copy, 0, 2);
}

static void add_modifying(TCase* tcase) {
  add_for_every_kind(tcase, modify_changes_a_copy_and_stores_it);
  add_for_every_kind(tcase, modify_if_stores_only_what_the_function_says_is_modified);
  tcase_add_loop_test(tcase, a_function_that_fails_leaves_the_value_as_it_is, 0, 2);
  tcase_add_loop_test(tcase, modify_begins_again_when_another_value_came_first_8_times_at_most, 0, 2);
  tcase_add_loop_test(tcase, what_is_not_to_be_stored_is_not_tried_again, 0, 2);
  tcase_add_loop_test(tcase, copies_that_modify_makes_are_stored_or_given_up, 0, 14);
  tcase_add_loop_test(tcase, modify_needs_copies_and_says_what_the_copy_function_says, 0, 2);
  tcase_add_loop_test(tcase, modify_may_modify, 0, 2);
}

static void add_borrowing(TCase* tcase) {
  add_for_every_kind(tcase, a_borrow_leaves_a_value_unseen_and_an_update_marks_it);
  add_for_every_kind(tcase, a_borrow_tells_whether_its_value_had_been_seen);
  add_for_every_kind(tcase, a_borrow_while_nothing_has_changed_returns_the_same_pointer);
  add_for_every_kind(tcase, a_borrowed_value_stays_while_others_send_and_borrow);
  tcase_add_test(tcase, what_a_sender_has_borrowed_goes_with_that_sender);
  tcase_add_test(tcase, the_last_value_goes_with_the_last_end_whichever_that_is);
}

static void add_changes(TCase* tcase) {
  add_for_every_kind(tcase, mark_changed_makes_the_value_count_as_not_seen);
  add_for_every_kind(tcase, mark_unchanged_marks_the_value_as_seen);
  tcase_add_test(tcase, a_thread_waits_for_changes_and_gets_one_for_all_that_came);
  add_for_every_state(tcase, has_changed_is_as_the_table_says);
  add_for_every_state(tcase, changed_wait_is_as_the_table_says);
  add_for_every_state(tcase, callbacks_are_as_the_table_says);
  add_for_every_state(tcase, wait_for_is_as_the_table_says);
  add_for_every_state(tcase, a_wait_for_a_value_is_refused_where_it_cannot_be);
}

static void add_callbacks(TCase* tcase) {
  add_for_every_kind_with_a_loop(tcase, callbacks_bring_the_newest_value_and_skip_what_came_between);
  add_for_every_kind_with_a_loop(tcase, what_is_seen_by_hand_has_no_callback);
  add_for_every_kind_with_a_loop(tcase, a_stopped_receiver_has_no_callback_until_it_starts_again);
  add_for_every_kind_with_a_loop(tcase, each_start_on_a_channel_that_has_ended_brings_the_end_once);
  add_for_every_kind_with_a_loop(tcase, a_started_receiver_keeps_its_loop_alive_unless_it_is_not_to);
  tcase_add_loop_test(tcase, the_value_is_good_until_the_callback_returns_whatever_that_does, 0, DEEDS * KINDS);
  add_for_every_kind_with_a_loop(tcase, a_callback_leaves_what_is_borrowed);
  tcase_add_test(tcase, all_receivers_are_told_wherever_they_are);
  tcase_add_loop_test(tcase, a_drop_function_between_two_callbacks_may_call_everything, 0, D_DEEDS);
  tcase_add_loop_test(tcase, nothing_comes_that_is_older_than_what_the_receiver_has_seen_and_the_newest_comes_at_last, 0, STORMS);
  add_for_every_kind(tcase, a_clone_that_has_not_seen_the_value_is_told_once);
}

static void add_waits(TCase* tcase) {
  add_for_every_kind_with_a_loop(tcase, a_wait_tests_the_value_that_is_there_and_then_the_newest_after_each_change);
  add_for_every_kind_with_a_loop(tcase, a_wait_that_is_given_up_has_seen_what_it_tested);
  add_for_every_kind_with_a_loop(tcase, a_wait_tests_the_last_value_once_before_the_end);
  add_for_every_kind_with_a_loop(tcase, a_predicate_that_fails_ends_the_wait_with_what_it_says);
  add_for_every_kind_with_a_loop(tcase, one_wait_at_a_time_and_only_while_it_is_not_started);
  add_for_every_kind_with_a_loop(tcase, closing_the_receiver_gives_its_wait_up_before_the_close_callback);
  add_for_every_kind_with_a_loop(tcase, mark_changed_does_not_test_a_value_twice);
  add_for_every_kind_with_a_loop(tcase, a_wait_tests_each_change_also_what_its_receiver_has_seen_by_hand);
  tcase_add_loop_test(tcase, a_predicate_may_call_everything, 0, 2 * MEDDLES);
  tcase_add_test(tcase, a_thread_waits_for_a_value_and_gets_exactly_that_one);
  tcase_add_loop_test(tcase, the_predicate_of_a_thread_may_call_everything, 0, 2 * T_DEEDS);
  tcase_add_loop_test(tcase, a_thread_that_sleeps_is_woken_by_the_value_and_by_the_end, 0, 2);
}

static void add_ends(TCase* tcase) {
  add_for_every_kind(tcase, a_clone_has_seen_what_its_source_has_and_goes_its_own_way);
  add_for_every_kind(tcase, a_subscriber_has_seen_the_value_that_is_there_and_chooses_to_be_told);
  add_for_every_kind(tcase, ends_know_whether_they_are_of_one_channel);
  tcase_add_loop_test(tcase, a_receiver_attached_to_a_loop_goes_on_from_where_it_was, 0, STATES);
  add_for_every_kind(tcase, the_counts_follow_every_step);
  add_for_every_kind_with_a_loop(tcase, only_the_last_sender_ends_the_channel);
  add_for_every_kind(tcase, a_wait_for_the_end_of_the_receivers_ends_when_there_is_none);
  add_for_every_kind(tcase, a_new_subscriber_keeps_who_waits_for_the_end_waiting);
  add_for_every_kind(tcase, a_wait_for_the_end_of_the_receivers_can_be_given_up);
  tcase_add_test(tcase, a_receiver_that_looks_once_in_a_while_misses_no_change);
  tcase_add_test(tcase, there_may_be_two_to_the_30_senders_and_no_more);
}

static void add_closing(TCase* tcase) {
  add_for_every_kind(tcase, a_receiver_that_closes_takes_nothing_from_the_others);
  add_for_every_kind(tcase, a_closed_receiver_answers_every_call_and_changes_nothing);
  add_for_every_kind(tcase, a_close_callback_comes_once_and_last_and_only_with_a_loop);
  tcase_add_test(tcase, a_walk_visits_receivers_and_close_all_closes_them);
  add_for_every_kind_with_a_loop(tcase, a_channel_closes_in_any_state);
}

static void add_refusals(TCase* tcase) {
  tcase_add_loop_test(tcase, every_function_of_the_user_may_call_every_function, 0, PLACES);
  tcase_add_test(tcase, null_and_what_is_no_watch_receiver_are_refused);
  tcase_add_test(tcase, the_calls_of_other_channels_refuse_a_watch_receiver);
  tcase_add_test(tcase, null_arguments_of_a_sender_are_refused_and_change_nothing);
  add_for_every_kind(tcase, null_arguments_of_a_receiver_are_refused_and_change_nothing);
  tcase_add_test(tcase, a_closed_sender_answers_every_call_and_changes_nothing);
}

static void add_all(TCase* tcase) {
  add_making(tcase);
  add_sending(tcase);
  add_modifying(tcase);
  add_borrowing(tcase);
  add_changes(tcase);
  add_callbacks(tcase);
  add_waits(tcase);
  add_ends(tcase);
  add_closing(tcase);
  add_refusals(tcase);
}

int main(void) {
  Suite* suite = suite_create("watch");

  add_all(versioned_case(suite, "from 0", at_0));
  add_all(versioned_case(suite, "across 32 bits", near_32_bits));
  add_all(versioned_case(suite, "across the middle", near_the_middle));
  add_all(versioned_case(suite, "across the end", near_the_end));
  return support_main(suite);
}
