/* SPDX-License-Identifier: MIT
 *
 * Broadcast channels: making, sending, subscribing, reading, counts, closing, and what is refused. In brackets the rows of the
 * table of channel features that a case is about. Lag is in test_broadcast_lag.c.
 *
 * All cases run with positions from 0 on, and with positions that wrap around on the way. */
#include "broadcast.h"
#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOT_DONE = -1000000 }; /* no status is this */

static const size_t capacities[] = {1, 2, 3, 5, 7, 8, 13, 100};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))

/* Where a receiver lives. */
enum { PLAIN, ON_LOOP, ATTACHED, KINDS };

#define add_for_every_kind(tcase, test) tcase_add_loop_test(tcase, test, 0, KINDS)

/* Ends. Their memory is garbage before; the library must not look at it. */

static void open_ex(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t capacity,
                    const uvch_broadcast_options_t* options) {
  if (rx != NULL) {
    memset(rx, 0xa5, sizeof(*rx));
  }
  memset(tx, 0xa5, sizeof(*tx));
  support_check_eq(uvch_broadcast_init_ex(loop, rx, tx, sizeof(uint64_t), capacity, options), 0);
}

static void open_channel(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t capacity) {
  open_ex(loop, rx, tx, capacity, NULL);
}

static void open_policy(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t capacity,
                        uvch_broadcast_policy policy) {
  uvch_broadcast_options_t options;

  memset(&options, 0, sizeof(options));
  options.policy = policy;
  open_ex(loop, rx, tx, capacity, &options);
  memset(&options, 0xa5, sizeof(options)); /* gone */
}

static void attach(uv_loop_t* loop, uvch_broadcast_receiver_t* rx) {
  support_check_eq(uvch_attach(loop, (uvch_handle_t*) rx), 0);
}

static void open_kind(int kind, uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t capacity) {
  open_channel(kind == ON_LOOP ? loop : NULL, rx, tx, capacity);
  if (kind == ATTACHED) {
    attach(loop, rx);
  }
}

static void subscribe_on(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, const uvch_broadcast_sender_t* tx) {
  memset(rx, 0xa5, sizeof(*rx));
  support_check_eq(uvch_broadcast_subscribe(loop, rx, tx), 0);
}

static void subscribe(uvch_broadcast_receiver_t* rx, const uvch_broadcast_sender_t* tx) {
  subscribe_on(NULL, rx, tx);
}

static void resubscribe(uvch_broadcast_receiver_t* rx, const uvch_broadcast_receiver_t* source) {
  memset(rx, 0xa5, sizeof(*rx));
  support_check_eq(uvch_broadcast_resubscribe(NULL, rx, source), 0);
}

static void clone_sender(const uvch_broadcast_sender_t* tx, uvch_broadcast_sender_t* copy) {
  memset(copy, 0xa5, sizeof(*copy));
  support_check_eq(uvch_broadcast_sender_clone(tx, copy), 0);
}

static void weaken(const uvch_broadcast_sender_t* tx, uvch_broadcast_weak_sender_t* weak) {
  memset(weak, 0xa5, sizeof(*weak));
  support_check_eq(uvch_broadcast_sender_downgrade(tx, weak), 0);
}

static void drop_sender(uvch_broadcast_sender_t* tx) {
  support_check_eq(uvch_broadcast_sender_close(tx), 0);
}

static void drop_weak(uvch_broadcast_weak_sender_t* weak) {
  support_check_eq(uvch_broadcast_weak_sender_close(weak), 0);
}

static void close_rx(uvch_broadcast_receiver_t* rx) {
  support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

/* Messages. */

static int try_put(const uvch_broadcast_sender_t* tx, uint64_t value) {
  return uvch_broadcast_send(tx, &value);
}

static void put(const uvch_broadcast_sender_t* tx, uint64_t value, int receivers) {
  support_check_eq(try_put(tx, value), receivers);
}

/* `from` up to, but not with, `until`. */
static void put_range(const uvch_broadcast_sender_t* tx, uint64_t from, uint64_t until, int receivers) {
  for (; from < until; from++) {
    put(tx, from, receivers);
  }
}

static uint64_t take(uvch_broadcast_receiver_t* rx) {
  uint64_t value = UINT64_MAX;

  support_check_eq(uvch_broadcast_try_recv(rx, &value), 0);
  return value;
}

static void take_range(uvch_broadcast_receiver_t* rx, uint64_t from, uint64_t until) {
  for (; from < until; from++) {
    support_check_eq(take(rx), from);
  }
}

/* try_recv, of which only the answer matters; without a message nothing may be written. */
static int try_take(uvch_broadcast_receiver_t* rx) {
  uint64_t value = 0x5a5a5a5a;
  int answer = uvch_broadcast_try_recv(rx, &value);

  support_check(answer == 0 || value == 0x5a5a5a5a);
  return answer;
}

static void check_refused(uvch_broadcast_receiver_t* rx, int answer) {
  int i;

  for (i = 0; i < 3; i++) { /* every time */
    support_check_eq(try_take(rx), answer);
  }
}

/* A receiver that has nothing to read, for now or for good. */
static void check_idle(const uvch_broadcast_receiver_t* rx, int is_closed) {
  support_check_eq(uvch_broadcast_receiver_len(rx), 0);
  support_check_eq(uvch_broadcast_receiver_is_empty(rx), 1);
  support_check_eq(uvch_broadcast_receiver_is_closed(rx), is_closed);
}

static void check_len(const uvch_broadcast_receiver_t* rx, size_t len) {
  support_check_eq(uvch_broadcast_receiver_len(rx), len);
  support_check_eq(uvch_broadcast_receiver_is_empty(rx), len == 0);
}

static void check_sender_len(const uvch_broadcast_sender_t* tx, size_t len) {
  support_check_eq(uvch_broadcast_sender_len(tx), len);
  support_check_eq(uvch_broadcast_sender_is_empty(tx), len == 0);
}

static size_t receivers_of(const uvch_broadcast_sender_t* tx) {
  return uvch_broadcast_sender_receiver_count(tx);
}

/* Each kind of end says the same. */
static void check_counts(const uvch_broadcast_sender_t* tx, const uvch_broadcast_weak_sender_t* weak,
                         const uvch_broadcast_receiver_t* rx, size_t strong, size_t weaks) {
  if (tx != NULL) {
    support_check_eq(uvch_broadcast_sender_strong_count(tx), strong);
    support_check_eq(uvch_broadcast_sender_weak_count(tx), weaks);
  }
  if (weak != NULL) {
    support_check_eq(uvch_broadcast_weak_sender_strong_count(weak), strong);
    support_check_eq(uvch_broadcast_weak_sender_weak_count(weak), weaks);
  }
  if (rx != NULL) {
    support_check_eq(uvch_broadcast_receiver_strong_count(rx), strong);
    support_check_eq(uvch_broadcast_receiver_weak_count(rx), weaks);
  }
}

static void check_bytes(const void* memory, unsigned char byte, size_t size) {
  const unsigned char* bytes = memory;
  size_t i;

  for (i = 0; i < size; i++) {
    support_check_eq(bytes[i], byte);
  }
}

/* Loops. */

static void prop_on_idle(uv_idle_t* prop) {
  (void) prop;
}

static void prop_on_close(uv_handle_t* prop) {
  prop->data = NULL;
}

/* A few passes, also of a loop that nothing keeps alive. */
static void turn(uv_loop_t* loop) {
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

/* What a receiver's callback got: messages, or other statuses. */
typedef struct heard_s {
  size_t count;
  struct {
    int status;
    uint64_t value;
  } got[64];
} heard_t;

static void heard_add(heard_t* heard, int status, const void* item) {
  support_check((status == 0) == (item != NULL));
  support_check(heard->count < COUNT(heard->got));
  heard->got[heard->count].status = status;
  heard->got[heard->count].value = 0;
  if (item != NULL) {
    memcpy(&heard->got[heard->count].value, item, sizeof(uint64_t));
  }
  heard->count += 1;
}

static void heard_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  heard_add(rx->data, status, item);
}

static void heard_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  size_t i;

  if (status != 0) {
    support_check_eq(count, 0);
    heard_add(rx->data, status, first);
    return;
  }
  support_check(count >= 1);
  for (i = 0; i < count; i++) {
    heard_add(rx->data, 0, (const char*) first + i * stride);
  }
}

static void listen_to(uvch_broadcast_receiver_t* rx, heard_t* heard) {
  memset(heard, 0, sizeof(*heard));
  rx->data = heard;
  support_check_eq(uvch_broadcast_recv_start(rx, heard_cb), 0);
  support_check_eq(heard->count, 0); /* never from inside the call */
}

static void check_heard(const heard_t* heard, size_t at, int status, uint64_t value) {
  support_check(at < heard->count);
  support_check_eq(heard->got[at].status, status);
  support_check_eq(heard->got[at].value, value);
}

/* The messages `from` up to `until`, then nothing, or UV_EOF once. */
static void check_heard_range(const heard_t* heard, uint64_t from, uint64_t until, int is_ended) {
  size_t count = (size_t) (until - from);
  size_t i;

  support_check_eq(heard->count, count + (size_t) is_ended);
  for (i = 0; i < count; i++) {
    check_heard(heard, i, 0, from + i);
  }
  if (is_ended) {
    check_heard(heard, count, UV_EOF, 0);
  }
}

static void never(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  (void) rx;
  (void) item;
  ck_abort_msg("a callback that must not come, status %d", status);
}

static void never_many(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  (void) stride;
  (void) count;
  never(rx, status, first);
}

static void never_sent(uvch_broadcast_send_t* req, int status) {
  (void) req;
  ck_abort_msg("a callback that must not come, status %d", status);
}

static void never_closed(uvch_broadcast_closed_t* req, int status) {
  (void) req;
  ck_abort_msg("a callback that must not come, status %d", status);
}

static void count_closes(uvch_handle_t* handle) {
  *(size_t*) handle->data += 1;
}

/* Requests and what came of them. */

typedef struct sending_s {
  uvch_broadcast_send_t req;
  uint64_t value;
  int status;
  size_t calls;
} sending_t;

static void sending_cb(uvch_broadcast_send_t* req, int status) {
  sending_t* sending = req->data;

  sending->status = status;
  sending->calls += 1;
}

static int try_queue(uv_loop_t* loop, sending_t* sending, const uvch_broadcast_sender_t* tx, uint64_t value) {
  memset(sending, 0xa5, sizeof(*sending));
  sending->req.data = sending;
  sending->value = value;
  sending->status = NOT_DONE;
  sending->calls = 0;
  return uvch_broadcast_queue_send(loop, &sending->req, tx, &sending->value, sending_cb);
}

static void queue_send(uv_loop_t* loop, sending_t* sending, const uvch_broadcast_sender_t* tx, uint64_t value) {
  support_check_eq(try_queue(loop, sending, tx, value), 0);
  support_check_eq(sending->calls, 0); /* never from inside the call */
  support_check(sending->req.data == sending && sending->req.loop == loop);
  support_check_eq(sending->req.type, UVCH_BROADCAST_SEND);
}

static void check_sent(const sending_t* sending, int status) {
  support_check_eq(sending->calls, 1);
  support_check_eq(sending->status, status);
}

typedef struct watcher_s {
  uvch_broadcast_closed_t req;
  int status;
  size_t calls;
} watcher_t;

static void watcher_cb(uvch_broadcast_closed_t* req, int status) {
  watcher_t* watcher = req->data;

  watcher->status = status;
  watcher->calls += 1;
}

static void watch(uv_loop_t* loop, watcher_t* watcher, const uvch_broadcast_sender_t* tx) {
  memset(watcher, 0xa5, sizeof(*watcher));
  watcher->req.data = watcher;
  watcher->status = NOT_DONE;
  watcher->calls = 0;
  support_check_eq(uvch_broadcast_closed(loop, &watcher->req, tx, watcher_cb), 0);
  support_check_eq(watcher->calls, 0);
  support_check(watcher->req.data == watcher && watcher->req.loop == loop);
  support_check_eq(watcher->req.type, UVCH_BROADCAST_CLOSED);
}

static void check_told(const watcher_t* watcher, int status) {
  support_check_eq(watcher->calls, 1);
  support_check_eq(watcher->status, status);
}

/* Values that own something: which ones the channel has, and which ones were copied out. */
typedef struct owned_s {
  size_t dropped;
  uint64_t last;
  size_t copied;
  int copy_fails; /* the next copy answers this, unless it is 0 */
} owned_t;

static void owned_drop(void* item, void* arg) {
  owned_t* owned = arg;

  memcpy(&owned->last, item, sizeof(owned->last));
  owned->dropped += 1;
}

static int owned_copy(void* to, const void* from, void* arg) {
  owned_t* owned = arg;
  int answer = owned->copy_fails;

  owned->copy_fails = 0;
  if (answer != 0) {
    return answer;
  }
  memcpy(to, from, sizeof(uint64_t));
  owned->copied += 1;
  return 0;
}

static void open_owning(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t capacity,
                        owned_t* owned, uvch_copy_cb copy) {
  uvch_broadcast_options_t options;

  memset(owned, 0, sizeof(*owned));
  memset(&options, 0, sizeof(options));
  options.copy = copy;
  options.drop = owned_drop;
  options.arg = owned;
  open_ex(loop, rx, tx, capacity, &options);
  memset(&options, 0xa5, sizeof(options)); /* gone */
}

/* Making. */

/* [FC01] */
START_TEST(a_new_channel_has_one_sender_one_receiver_and_nothing_to_read) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;
  int mark;

  support_loop_init(&loop);
  memset(&rx, 0xa5, sizeof(rx));
  rx.data = &mark;
  ck_assert_int_eq(uvch_broadcast_init(_i == ON_LOOP ? &loop : NULL, &rx, &tx, sizeof(uint64_t), 3), 0);
  ck_assert_ptr_eq(uvch_handle_get_loop(handle), _i == ON_LOOP ? &loop : NULL);
  if (_i == ATTACHED) {
    attach(&loop, &rx);
    ck_assert_ptr_eq(uvch_handle_get_loop(handle), &loop);
  }
  ck_assert_ptr_eq(uvch_handle_get_data(handle), &mark);
  ck_assert_int_eq(uvch_handle_get_type(handle), UVCH_BROADCAST_RECEIVER);
  ck_assert_int_eq(uvch_has_ref(handle), 1);
  ck_assert_int_eq(uvch_is_active(handle), 0);
  ck_assert_int_eq(uvch_is_closing(handle), 0);
  ck_assert_uint_eq(uvch_broadcast_sender_capacity(&tx), 3);
  ck_assert_uint_eq(receivers_of(&tx), 1);
  check_counts(&tx, NULL, &rx, 1, 0);
  check_sender_len(&tx, 0);
  check_idle(&rx, 0);
  ck_assert_uint_eq(uvch_broadcast_receiver_missed(&rx), 0);
  check_refused(&rx, UV_EAGAIN);
  drop_sender(&tx);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* [FC03, FC05, FC29] */
START_TEST(a_channel_without_a_receiver_opens_with_the_first_one) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t items[2] = {1, 2};

  open_channel(NULL, NULL, &tx, CAPACITY);
  ck_assert_uint_eq(receivers_of(&tx), 0);
  ck_assert_uint_eq(uvch_broadcast_sender_capacity(&tx), CAPACITY);
  check_counts(&tx, NULL, NULL, 1, 0);
  ck_assert_int_eq(try_put(&tx, 1), UV_EPIPE);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, items, 2), UV_EPIPE);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, items), UV_EPIPE);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, items, 0), UV_EPIPE);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), 0);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), 0);
  check_sender_len(&tx, 0);
  subscribe(&rx, &tx);
  ck_assert_uint_eq(receivers_of(&tx), 1);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  check_refused(&rx, UV_EAGAIN);
  put(&tx, 7, 1);
  ck_assert_uint_eq(take(&rx), 7);
  drop_sender(&tx);
  check_refused(&rx, UV_EOF);
  close_rx(&rx);
}
END_TEST

START_TEST(a_channel_that_never_has_a_receiver_leaves_nothing_behind) {
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, NULL, &tx, 4); /* the loop is not looked at */
  ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
  drop_sender(&tx);
  support_loop_close(&loop);
}
END_TEST

/* [FC02] */
START_TEST(making_one_refuses_what_it_cannot_be_and_leaves_both_ends_alone) {
  uvch_broadcast_options_t options;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  memset(&rx, 0x5a, sizeof(rx));
  memset(&tx, 0x5a, sizeof(tx));
  memset(&options, 0, sizeof(options));
  for (i = 0; i < 4; i++) {
    uv_loop_t* where = i % 2 == 0 ? NULL : &loop;
    uvch_broadcast_receiver_t* first = i < 2 ? NULL : &rx;

    ck_assert_int_eq(uvch_broadcast_init(where, first, NULL, 8, 1), UV_EINVAL);
    ck_assert_int_eq(uvch_broadcast_init(where, first, &tx, 8, 0), UV_EINVAL);
    ck_assert_int_eq(uvch_broadcast_init(where, first, &tx, 8, UVCH_BROADCAST_CAPACITY_MAX + 1), UV_EINVAL);
    ck_assert_int_eq(uvch_broadcast_init(where, first, &tx, 8, SIZE_MAX), UV_EINVAL);
    ck_assert_int_eq(uvch_broadcast_init(where, first, &tx, UVCH_BROADCAST_ITEM_MAX + 1, 1), UV_EINVAL);
    ck_assert_int_eq(uvch_broadcast_init(where, first, &tx, SIZE_MAX, 1), UV_EINVAL);
    ck_assert_int_eq(uvch_broadcast_init_ex(where, first, NULL, 8, 1, NULL), UV_EINVAL);
    ck_assert_int_eq(uvch_broadcast_init_ex(where, first, &tx, 8, 0, &options), UV_EINVAL);
    options.policy = (uvch_broadcast_policy) (UVCH_BROADCAST_DISCONNECT + 1);
    ck_assert_int_eq(uvch_broadcast_init_ex(where, first, &tx, 8, 1, &options), UV_EINVAL);
    options.policy = UVCH_BROADCAST_LAG;
    support_alloc_fail_from(1);
    ck_assert_int_eq(uvch_broadcast_init(where, first, &tx, 8, UVCH_BROADCAST_CAPACITY_MAX), UV_ENOMEM); /* not too many */
    ck_assert_int_eq(uvch_broadcast_init(where, first, &tx, UVCH_BROADCAST_ITEM_MAX, 1), UV_ENOMEM);     /* not too large */
    ck_assert_int_eq(uvch_broadcast_init_ex(where, first, &tx, 0, 1, &options), UV_ENOMEM);
    support_alloc_fail_from(0);
  }
  check_bytes(&rx, 0x5a, sizeof(rx));
  check_bytes(&tx, 0x5a, sizeof(tx));
  support_loop_end(&loop);
}
END_TEST

START_TEST(making_one_without_options_is_as_plain_as_with_none_set) {
  uvch_broadcast_options_t options;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;

  memset(&options, 0, sizeof(options));
  open_ex(NULL, &rx, &tx, CAPACITY, _i % 2 == 0 ? &options : NULL);
  put_range(&tx, 0, CAPACITY + 2, 1);
  ck_assert_int_eq(try_take(&rx), 2); /* lag is what comes of no policy */
  take_range(&rx, 2, CAPACITY + 2);
  check_refused(&rx, UV_EAGAIN);
  put(&tx, 5, 1); /* without a drop function it just goes */
  close_rx(&rx);
  drop_sender(&tx);
}
END_TEST

START_TEST(without_memory_nothing_is_made_and_nothing_is_touched) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t more;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  size_t n = 1;

  support_loop_init(&loop);
  for (;; n++) {
    memset(&rx, 0x5a, sizeof(rx));
    memset(&tx, 0x5a, sizeof(tx));
    support_alloc_mark();
    support_alloc_fail(n);
    if (uvch_broadcast_init(_i == 0 ? NULL : &loop, &rx, &tx, 8, 4) == 0) {
      break;
    }
    ck_assert_uint_eq(support_alloc_failed(), 1);
    check_bytes(&rx, 0x5a, sizeof(rx));
    check_bytes(&tx, 0x5a, sizeof(tx));
  }
  ck_assert_uint_gt(n, 1);
  ck_assert_uint_eq(support_alloc_failed(), 0);
  support_alloc_fail(0);
  for (n = 1;; n++) {
    memset(&more, 0x5a, sizeof(more));
    support_alloc_mark();
    support_alloc_fail(n);
    if (uvch_broadcast_subscribe(_i == 0 ? NULL : &loop, &more, &tx) == 0) {
      break;
    }
    ck_assert_uint_eq(support_alloc_failed(), 1);
    check_bytes(&more, 0x5a, sizeof(more));
    ck_assert_uint_eq(receivers_of(&tx), 1);
  }
  support_alloc_fail(0);
  put(&tx, 3, 2);
  ck_assert_uint_eq(take(&rx), 3);
  ck_assert_uint_eq(take(&more), 3);
  close_rx(&rx);
  close_rx(&more);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* Sending. */

/* [FC04, FC25] */
START_TEST(a_send_says_how_many_receivers_are_subscribed) {
  uvch_broadcast_receiver_t rx[6];
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t copy;
  uint64_t value = 9;
  int i;

  open_channel(NULL, &rx[0], &tx, CAPACITY);
  clone_sender(&tx, &copy);
  for (i = 1; i < (int) COUNT(rx); i++) {
    put(&tx, 1, i);
    put(&copy, 2, i); /* whichever sender */
    ck_assert_int_eq(uvch_broadcast_send_wait(&copy, &value), i);
    ck_assert_int_eq(uvch_broadcast_send_timedwait(&copy, &value, 0), i);
    ck_assert_int_eq(uvch_broadcast_send_timedwait(&copy, &value, UINT64_MAX), i);
    ck_assert_uint_eq(receivers_of(&tx), (size_t) i);
    subscribe(&rx[i], &tx);
  }
  for (i = (int) COUNT(rx); i > 0; i--) {
    put(&tx, 3, i);
    ck_assert_uint_eq(receivers_of(&copy), (size_t) i);
    close_rx(&rx[i - 1]);
  }
  ck_assert_int_eq(try_put(&tx, 4), UV_EPIPE);
  ck_assert_uint_eq(receivers_of(&tx), 0);
  drop_sender(&tx);
  drop_sender(&copy);
}
END_TEST

/* [FC05, FC08, FA11] */
START_TEST(what_is_sent_to_nobody_is_not_kept_and_takes_no_place) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t items[3] = {70, 71, 72};
  uint64_t round;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (round = 0; round < 3; round++) {
    put_range(&tx, 0, CAPACITY + round, 1); /* left unread, with and without lag */
    check_sender_len(&tx, CAPACITY);
    close_rx(&rx);
    check_sender_len(&tx, 0);
    for (i = 0; i < 2 * CAPACITY + 1; i++) {
      ck_assert_int_eq(try_put(&tx, 7), UV_EPIPE); /* every time */
    }
    ck_assert_int_eq(uvch_broadcast_send_many(&tx, items, 3), UV_EPIPE);
    check_sender_len(&tx, 0);
    subscribe(&rx, &tx);
    check_idle(&rx, 0);
    check_refused(&rx, UV_EAGAIN);
    put_range(&tx, 10, 10 + CAPACITY, 1); /* no place was used: this is no lag */
    check_len(&rx, CAPACITY);
    take_range(&rx, 10, 10 + CAPACITY);
    check_refused(&rx, UV_EAGAIN);
    ck_assert_uint_eq(uvch_broadcast_receiver_missed(&rx), 0);
  }
  close_rx(&rx);
  drop_sender(&tx);
}
END_TEST

/* [FC01, FC07, FC16] */
START_TEST(the_channel_keeps_the_last_messages_exactly_as_many_as_its_capacity) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t extra;

  for (extra = 0; extra <= CAPACITY + 1; extra++) {
    open_channel(NULL, &rx, &tx, CAPACITY);
    put_range(&tx, 0, CAPACITY + extra, 1);
    check_sender_len(&tx, CAPACITY);
    if (extra > 0) {
      ck_assert_int_eq(try_take(&rx), (int) extra);
    }
    check_len(&rx, CAPACITY);
    take_range(&rx, extra, CAPACITY + extra);
    check_refused(&rx, UV_EAGAIN);
    drop_sender(&tx);
    close_rx(&rx);
  }
}
END_TEST

/* [FC04, FC07] */
START_TEST(all_receivers_see_the_messages_of_all_senders_in_one_order) {
  uvch_broadcast_receiver_t rx[3];
  uvch_broadcast_sender_t tx[3];
  uint64_t i;
  size_t k;

  open_channel(NULL, &rx[0], &tx[0], CAPACITY);
  clone_sender(&tx[0], &tx[1]);
  clone_sender(&tx[1], &tx[2]);
  subscribe(&rx[1], &tx[1]);
  subscribe(&rx[2], &tx[2]);
  for (i = 0; i < 10 * CAPACITY; i++) {
    put(&tx[i * 7 % 3], i, 3);
    ck_assert_uint_eq(take(&rx[0]), i);
    if ((i + 1) % CAPACITY == 0) { /* these two only now */
      take_range(&rx[1], i + 1 - CAPACITY, i + 1);
      take_range(&rx[2], i + 1 - CAPACITY, i + 1);
    }
  }
  for (k = 0; k < 3; k++) {
    check_refused(&rx[k], UV_EAGAIN);
    drop_sender(&tx[k]);
  }
  for (k = 0; k < 3; k++) {
    check_refused(&rx[k], UV_EOF);
    close_rx(&rx[k]);
  }
}
END_TEST

START_TEST(a_batch_is_sent_as_one_by_one) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  uint64_t items[300];
  uint64_t sent = 0;
  size_t n;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  subscribe(&other, &tx);
  for (n = 0; n <= 2 * CAPACITY + 1; n++) {
    for (i = 0; i < n; i++) {
      items[i] = sent + i;
    }
    ck_assert_int_eq(uvch_broadcast_send_many(&tx, items, n), (int) n); /* nobody waits for anybody */
    memset(items, 0xa5, sizeof(items));
    sent += n;
    check_len(&rx, n);
    check_sender_len(&tx, n < CAPACITY ? n : CAPACITY);
    if (n > CAPACITY) {
      ck_assert_int_eq(try_take(&rx), (int) (n - CAPACITY));
      ck_assert_int_eq(try_take(&other), (int) (n - CAPACITY));
    }
    take_range(&rx, sent - (n < CAPACITY ? n : CAPACITY), sent);
    take_range(&other, sent - (n < CAPACITY ? n : CAPACITY), sent);
    check_refused(&rx, UV_EAGAIN);
  }
  drop_sender(&tx);
  close_rx(&rx);
  close_rx(&other);
}
END_TEST

START_TEST(a_batch_of_none_changes_nothing) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 5;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, &value, 0), 0);
  check_idle(&rx, 0);
  put(&tx, 1, 1);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, &value, 0), 0);
  check_len(&rx, 1);
  ck_assert_uint_eq(take(&rx), 1);
  close_rx(&rx);
  drop_sender(&tx);
}
END_TEST

START_TEST(with_wait_a_full_channel_refuses_until_the_slowest_has_read) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_sender_t tx;
  uint64_t items[300];
  uint64_t value = 1234;
  size_t i;

  for (i = 0; i < COUNT(items); i++) {
    items[i] = CAPACITY + i;
  }
  open_policy(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_WAIT);
  subscribe(&slow, &tx);
  put_range(&tx, 0, CAPACITY, 2); /* exactly so many */
  take_range(&rx, 0, CAPACITY);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(try_put(&tx, 1234), UV_EAGAIN);
    ck_assert_int_eq(uvch_broadcast_send_many(&tx, &value, 1), UV_EAGAIN);
    ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, i), UV_ETIMEDOUT);
  }
  check_sender_len(&tx, CAPACITY);
  check_idle(&rx, 0);
  take_range(&slow, 0, (CAPACITY + 1) / 2);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, items, COUNT(items)),
                   (int) (CAPACITY + 1) / 2); /* as many as there is room for */
  ck_assert_int_eq(try_put(&tx, 1234), UV_EAGAIN);
  take_range(&slow, (CAPACITY + 1) / 2, CAPACITY + (CAPACITY + 1) / 2);
  take_range(&rx, CAPACITY, CAPACITY + (CAPACITY + 1) / 2);
  check_refused(&slow, UV_EAGAIN);
  put_range(&tx, 0, CAPACITY, 2);
  close_rx(&slow); /* one that does not read any more, and holds up nobody */
  ck_assert_int_eq(try_put(&tx, 1234), UV_EAGAIN);
  close_rx(&rx);
  ck_assert_int_eq(try_put(&tx, 1234), UV_EPIPE);
  drop_sender(&tx);
}
END_TEST

START_TEST(a_message_may_be_a_sender_of_its_own_channel_or_of_another) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t far;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t far_tx;
  uvch_broadcast_sender_t moved;
  uvch_broadcast_sender_t own;

  ck_assert_int_eq(uvch_broadcast_init(NULL, &rx, &tx, sizeof(tx), 2), 0);
  open_channel(NULL, &far, &far_tx, 2);
  clone_sender(&tx, &own);
  ck_assert_int_eq(uvch_broadcast_send(&tx, &far_tx), 1);
  ck_assert_int_eq(uvch_broadcast_send(&tx, &own), 1);
  memset(&far_tx, 0, sizeof(far_tx));
  memset(&own, 0, sizeof(own));
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &moved), 0);
  put(&moved, 8, 1);
  ck_assert_uint_eq(take(&far), 8);
  drop_sender(&moved);
  ck_assert_int_eq(try_take(&far), UV_EOF);
  drop_sender(&tx);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &moved), 0);
  ck_assert_int_eq(uvch_broadcast_send(&moved, &moved), 1); /* a sender still */
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &own), 0);
  ck_assert_mem_eq(&own, &moved, sizeof(own));
  drop_sender(&own);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &own), UV_EOF);
  close_rx(&rx);
  close_rx(&far);
}
END_TEST

/* Subscribing. */

/* [FC08] */
START_TEST(a_subscriber_gets_what_is_sent_from_then_on) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t late[20];
  uvch_broadcast_sender_t tx;
  size_t n = CAPACITY < COUNT(late) ? CAPACITY : COUNT(late);
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 0; i < n; i++) {
    put(&tx, i, (int) i + 1);
    if (i % 2 == 1) { /* read or not by the first one */
      take(&rx);
    }
    subscribe(&late[i], &tx);
    check_idle(&late[i], 0);
    check_refused(&late[i], UV_EAGAIN);
    ck_assert_uint_eq(uvch_broadcast_receiver_missed(&late[i]), 0);
  }
  drop_sender(&tx);
  for (i = 0; i < n; i++) {
    check_len(&late[i], n - i - 1);
    take_range(&late[i], i + 1, n);
    check_refused(&late[i], UV_EOF);
    close_rx(&late[i]);
  }
  take_range(&rx, n / 2, n);
  check_refused(&rx, UV_EOF);
  close_rx(&rx);
}
END_TEST

/* [FC09] */
START_TEST(resubscribing_starts_at_the_tail_and_leaves_the_source_alone) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t again;
  uvch_broadcast_receiver_t third;
  uvch_broadcast_sender_t tx;
  uint64_t lag;

  for (lag = 0; lag < 3; lag++) {
    open_channel(NULL, &rx, &tx, CAPACITY);
    put_range(&tx, 0, CAPACITY + lag, 1);
    resubscribe(&again, &rx);
    ck_assert_uint_eq(receivers_of(&tx), 2);
    check_idle(&again, 0);
    check_refused(&again, UV_EAGAIN);
    check_len(&rx, CAPACITY + lag);
    if (lag > 0) {
      ck_assert_int_eq(try_take(&rx), (int) lag); /* for the source only */
    }
    resubscribe(&third, &rx);
    ck_assert_uint_eq(uvch_broadcast_receiver_missed(&third), 0);
    take_range(&rx, lag, CAPACITY + lag);
    put(&tx, 50, 3);
    ck_assert_uint_eq(take(&again), 50);
    ck_assert_uint_eq(take(&rx), 50);
    ck_assert_uint_eq(take(&third), 50);
    drop_sender(&tx);
    check_refused(&again, UV_EOF);
    close_rx(&rx);
    check_refused(&third, UV_EOF); /* it has a life of its own */
    close_rx(&again);
    close_rx(&third);
  }
}
END_TEST

/* [FC09, FC11, FC30] */
START_TEST(resubscribing_after_the_last_sender_gives_a_receiver_that_is_at_its_end) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t again;
  uvch_broadcast_receiver_t listener;
  uvch_broadcast_sender_t tx;
  heard_t heard;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  put_range(&tx, 0, CAPACITY, 1);
  drop_sender(&tx);
  resubscribe(&again, &rx);
  check_idle(&again, 1);
  check_refused(&again, UV_EOF);
  ck_assert_int_eq(uvch_broadcast_resubscribe(&loop, &listener, &again), 0);
  listen_to(&listener, &heard);
  support_loop_run(&loop);
  check_heard_range(&heard, 0, 0, 1);
  check_len(&rx, CAPACITY); /* that one has it all still */
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 1);
  take_range(&rx, 0, CAPACITY);
  check_refused(&rx, UV_EOF);
  close_rx(&rx);
  check_refused(&again, UV_EOF);
  close_rx(&again);
  close_rx(&listener);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_subscriber_on_a_loop_hears_what_comes_after_it) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t late;
  uvch_broadcast_receiver_t last;
  uvch_broadcast_sender_t tx;
  heard_t heard[3];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 8);
  put_range(&tx, 0, 3, 1);
  subscribe_on(&loop, &late, &tx);
  put_range(&tx, 3, 5, 2);
  memset(&last, 0xa5, sizeof(last));
  ck_assert_int_eq(uvch_broadcast_resubscribe(&loop, &last, &late), 0);
  put(&tx, 5, 3);
  if (_i != PLAIN) {
    listen_to(&rx, &heard[0]);
  }
  listen_to(&late, &heard[1]);
  listen_to(&last, &heard[2]);
  turn(&loop);
  put(&tx, 6, 3);
  drop_sender(&tx);
  support_loop_run(&loop);
  if (_i != PLAIN) {
    check_heard_range(&heard[0], 0, 7, 1);
  } else {
    take_range(&rx, 0, 7);
    check_refused(&rx, UV_EOF);
  }
  check_heard_range(&heard[1], 3, 7, 1);
  check_heard_range(&heard[2], 5, 7, 1);
  close_rx(&rx);
  close_rx(&late);
  close_rx(&last);
  support_loop_end(&loop);
}
END_TEST

/* Receivers that get their loop later. */

enum { NOBODY_THERE, SOMEBODY_FIRST, SOMEBODY_STARTED, SOMEBODY_LATER, COMPANIES };

/* One channel, one receiver that is attached after `behind` messages, and perhaps another one on that loop. */
static void attach_behind(size_t capacity, size_t behind, int company) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  uint64_t missed = behind > capacity ? behind - capacity : 0;
  uint64_t kept = behind - missed;
  heard_t heard;
  heard_t heard_other;
  uv_loop_t loop;
  size_t at = missed > 0;

  memset(&heard_other, 0, sizeof(heard_other));
  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, capacity);
  put(&tx, 1000, 1);
  ck_assert_uint_eq(take(&rx), 1000); /* not at the first place */
  if (company == SOMEBODY_FIRST || company == SOMEBODY_STARTED) {
    subscribe_on(&loop, &other, &tx);
  }
  if (company == SOMEBODY_STARTED) {
    listen_to(&other, &heard_other);
    turn(&loop);
  }
  put_range(&tx, 0, behind, company == SOMEBODY_FIRST || company == SOMEBODY_STARTED ? 2 : 1);
  attach(&loop, &rx);
  check_len(&rx, behind); /* it is where it was */
  check_sender_len(&tx, (size_t) kept);
  if (company == SOMEBODY_LATER) {
    subscribe_on(&loop, &other, &tx);
    check_idle(&other, 0);
  }
  if (company == SOMEBODY_FIRST || company == SOMEBODY_LATER) {
    listen_to(&other, &heard_other);
  }
  ck_assert_uint_eq(receivers_of(&tx), company == NOBODY_THERE ? 1 : 2);
  listen_to(&rx, &heard);
  turn(&loop);
  ck_assert_uint_eq(heard.count, at + kept);
  put(&tx, behind, company == NOBODY_THERE ? 1 : 2);
  drop_sender(&tx);
  support_loop_run(&loop);
  ck_assert_uint_eq(heard.count, at + kept + 2);
  if (missed > 0) {
    check_heard(&heard, 0, (int) missed, 0);
  }
  for (; at < heard.count - 1; at++) {
    check_heard(&heard, at, 0, behind + 2 + at - heard.count);
  }
  check_heard(&heard, at, UV_EOF, 0);
  if (company == SOMEBODY_LATER) {
    check_heard_range(&heard_other, behind, behind + 1, 1);
  } else if (company == SOMEBODY_FIRST || company == SOMEBODY_STARTED) {
    ck_assert_uint_eq(heard_other.count, heard.count);
    ck_assert_mem_eq(heard_other.got, heard.got, heard.count * sizeof(heard.got[0]));
  }
  if (company != NOBODY_THERE) {
    close_rx(&other);
  }
  close_rx(&rx);
  support_loop_end(&loop);
}

START_TEST(a_receiver_attached_to_a_loop_goes_on_from_where_it_was) {
  static const size_t few[] = {1, 2, 3, 8};
  size_t i;
  size_t behind;

  for (i = 0; i < COUNT(few); i++) {
    for (behind = 0; behind <= 2 * few[i] + 1; behind++) {
      attach_behind(few[i], behind, _i);
    }
  }
}
END_TEST

/* The group of its loop is ahead of it then. */
START_TEST(a_receiver_attached_beside_one_that_is_ahead_gives_its_room_when_it_reads) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  sending_t sending;
  uv_loop_t loop;
  uint64_t i;

  support_loop_init(&loop);
  open_policy(NULL, &rx, &tx, CAPACITY, UVCH_BROADCAST_WAIT);
  subscribe_on(&loop, &other, &tx);
  put_range(&tx, 0, CAPACITY, 2);
  take_range(&other, 0, CAPACITY);
  queue_send(&loop, &sending, &tx, CAPACITY);
  attach(&loop, &rx);
  turn(&loop);
  ck_assert_uint_eq(sending.calls, 0);
  ck_assert_uint_eq(take(&rx), 0);
  turn(&loop);
  check_sent(&sending, 2);
  for (i = 1; i <= CAPACITY; i++) {
    ck_assert_int_eq(try_put(&tx, 1234), UV_EAGAIN);
    ck_assert_uint_eq(take(&rx), i);
    ck_assert_uint_eq(take(&other), CAPACITY + i - 1);
    put(&tx, CAPACITY + i, 2);
  }
  close_rx(&rx);
  close_rx(&other);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(an_attached_receiver_may_still_be_read_by_hand) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  uint64_t value = 5;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 4);
  subscribe_on(_i == 0 ? NULL : &loop, &other, &tx);
  put_range(&tx, 0, 3, 2);
  ck_assert_uint_eq(take(&rx), 0);
  attach(&loop, &rx);
  ck_assert_uint_eq(take(&rx), 1);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_EPERM); /* not any more */
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_EPERM);
  ck_assert_uint_eq(value, 5);
  ck_assert_uint_eq(take(&other), 0); /* each has a place of its own */
  ck_assert_uint_eq(take(&rx), 2);
  check_refused(&rx, UV_EAGAIN);
  check_sender_len(&tx, 2);
  take_range(&other, 1, 3);
  check_sender_len(&tx, 0);
  drop_sender(&tx);
  check_refused(&rx, UV_EOF);
  check_refused(&other, UV_EOF);
  close_rx(&rx);
  close_rx(&other);
  support_loop_end(&loop);
}
END_TEST

START_TEST(attach_refuses_what_cannot_be_attached) {
  uvch_broadcast_receiver_t alone;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  uv_loop_t other;

  support_loop_init(&loop);
  support_loop_init(&other);
  open_channel(NULL, &rx, &tx, 4);
  ck_assert_int_eq(uvch_attach(NULL, (uvch_handle_t*) &rx), UV_EINVAL);
  ck_assert_int_eq(uvch_attach(&loop, NULL), UV_EINVAL);
  ck_assert_ptr_null(uvch_handle_get_loop((uvch_handle_t*) &rx));
  attach(&loop, &rx);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx), UV_EALREADY);
  ck_assert_int_eq(uvch_attach(&other, (uvch_handle_t*) &rx), UV_EALREADY);
  ck_assert_ptr_eq(uvch_handle_get_loop((uvch_handle_t*) &rx), &loop);
  close_rx(&rx);
  ck_assert_int_eq(uvch_attach(&other, (uvch_handle_t*) &rx), UV_EBADF);
  subscribe(&alone, &tx);
  close_rx(&alone);
  ck_assert_int_eq(uvch_attach(&other, (uvch_handle_t*) &alone), UV_EBADF);
  drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&other);
}
END_TEST

START_TEST(a_receiver_attached_at_its_end_hears_of_it) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  heard_t heard;
  uv_loop_t loop;
  int i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 4);
  put_range(&tx, 0, 2, 1);
  drop_sender(&tx);
  if (_i == 1) { /* it has had the end already */
    take_range(&rx, 0, 2);
    check_refused(&rx, UV_EOF);
  }
  attach(&loop, &rx);
  for (i = 0; i < 3; i++) { /* once for every start */
    listen_to(&rx, &heard);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 1);
    support_loop_run(&loop);
    check_heard_range(&heard, 0, i == 0 && _i == 0 ? 2 : 0, 1);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
  }
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* Reading. */

/* [FC10, FC17] */
START_TEST(a_receiver_reads_by_hand_wherever_it_lives) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 4);
  check_refused(&rx, UV_EAGAIN);
  put_range(&tx, 0, 4, 1);
  take_range(&rx, 0, 2);
  check_len(&rx, 2);
  put_range(&tx, 4, 6, 1);
  take_range(&rx, 2, 6);
  check_refused(&rx, UV_EAGAIN);
  put_range(&tx, 6, 11, 1);
  ck_assert_int_eq(try_take(&rx), 1);
  take_range(&rx, 7, 11);
  drop_sender(&tx);
  check_refused(&rx, UV_EOF);
  check_idle(&rx, 1);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* [FC18] */
START_TEST(a_thread_does_not_sleep_where_there_is_something) {
  static const uint64_t times[] = {0, 1, UINT64_MAX - 1, UINT64_MAX};
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 5;
  size_t i;

  for (i = 0; i <= COUNT(times); i++) {
    int (*wait)(uvch_broadcast_receiver_t*, void*) = uvch_broadcast_recv_wait;

    open_channel(NULL, &rx, &tx, 2);
    ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, i % 2), UV_ETIMEDOUT);
    put_range(&tx, 0, 5, 1);
#define RECV(item) (i < COUNT(times) ? uvch_broadcast_recv_timedwait(&rx, item, times[i]) : wait(&rx, item))
    ck_assert_int_eq(RECV(&value), 3);
    ck_assert_uint_eq(value, 5);
    ck_assert_uint_eq(uvch_broadcast_receiver_missed(&rx), 3);
    ck_assert_int_eq(RECV(&value), 0);
    ck_assert_uint_eq(value, 3);
    drop_sender(&tx);
    ck_assert_int_eq(RECV(&value), 0);
    ck_assert_uint_eq(value, 4);
    value = 5;
    ck_assert_int_eq(RECV(&value), UV_EOF);
    ck_assert_int_eq(RECV(&value), UV_EOF);
#undef RECV
    ck_assert_uint_eq(value, 5);
    close_rx(&rx);
  }
}
END_TEST

/* [FC18] */
START_TEST(a_receiver_with_a_loop_does_not_sleep) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 5;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i == 0 ? ON_LOOP : ATTACHED, &loop, &rx, &tx, 2);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_EPERM);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_EPERM);
  put(&tx, 1, 1);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_EPERM); /* whatever there is */
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, UINT64_MAX), UV_EPERM);
  ck_assert_uint_eq(value, 5);
  ck_assert_uint_eq(take(&rx), 1);
  drop_sender(&tx);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* [FC10] */
START_TEST(callbacks_bring_what_is_sent_and_the_end_once) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  heard_t heard;
  uv_loop_t loop;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;

  support_loop_init(&loop);
  open_kind(_i % 2 == 0 ? ON_LOOP : ATTACHED, &loop, &rx, &tx, 4);
  memset(&heard, 0, sizeof(heard));
  rx.data = &heard;
  put(&tx, 0, 1);
  if (_i < 2) {
    ck_assert_int_eq(uvch_broadcast_recv_start(&rx, heard_cb), 0);
    ck_assert_int_eq(uvch_broadcast_recv_start(&rx, never), UV_EALREADY);
  } else {
    ck_assert_int_eq(uvch_broadcast_recv_many_start(&rx, 3, heard_many_cb), 0);
  }
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&rx, 3, never_many), UV_EALREADY);
  ck_assert_int_eq(uvch_is_active(handle), 1);
  ck_assert_uint_eq(heard.count, 0);
  turn(&loop);
  check_heard_range(&heard, 0, 1, 0);
  put_range(&tx, 1, 5, 1);
  turn(&loop);
  check_heard_range(&heard, 0, 5, 0);
  check_idle(&rx, 0);
  ck_assert_int_eq(uvch_is_active(handle), 1);
  put(&tx, 5, 1);
  drop_sender(&tx);
  support_loop_run(&loop);
  check_heard_range(&heard, 0, 6, 1);
  ck_assert_int_eq(uvch_is_active(handle), 0);
  turn(&loop);
  check_heard_range(&heard, 0, 6, 1); /* not again */
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* [FC32] */
START_TEST(a_receiver_that_is_not_started_gets_no_callback_and_stays_subscribed) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  heard_t heard;
  heard_t heard_other;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i == 0 ? ON_LOOP : ATTACHED, &loop, &rx, &tx, 3);
  subscribe_on(&loop, &other, &tx);
  memset(&heard, 0, sizeof(heard));
  rx.data = &heard;
  listen_to(&other, &heard_other);
  ck_assert_int_eq(uvch_broadcast_recv_stop(&rx), 0); /* harmless */
  put_range(&tx, 0, 2, 2);
  turn(&loop);
  ck_assert_uint_eq(heard.count, 0);
  check_heard_range(&heard_other, 0, 2, 0);
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, heard_cb), 0);
  turn(&loop);
  check_heard_range(&heard, 0, 2, 0);
  ck_assert_int_eq(uvch_broadcast_recv_stop(&rx), 0);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
  put(&tx, 2, 2);
  turn(&loop);
  put_range(&tx, 3, 6, 2);
  turn(&loop);
  check_heard_range(&heard, 0, 2, 0);
  check_heard_range(&heard_other, 0, 6, 0);
  check_len(&rx, 4);
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, heard_cb), 0);
  turn(&loop);
  ck_assert_uint_eq(heard.count, 6);
  check_heard(&heard, 2, 1, 0); /* it has fallen behind */
  check_heard(&heard, 3, 0, 3);
  check_heard(&heard, 5, 0, 5);
  ck_assert_int_eq(uvch_broadcast_recv_stop(&rx), 0);
  drop_sender(&tx);
  support_loop_run(&loop);
  ck_assert_uint_eq(heard.count, 6); /* not of the end, either */
  check_heard_range(&heard_other, 0, 6, 1);
  check_refused(&rx, UV_EOF);
  close_rx(&rx);
  close_rx(&other);
  support_loop_end(&loop);
}
END_TEST

static const size_t sizes[] = {0, 1, 2, 3, 4, 8, 12, 16, 17, 24, 48, 100, 120, 127, 128, 129, 136, 200, 4096, 65536, 100001};

static void paint(unsigned char* bytes, size_t size, size_t seed) {
  size_t i;

  for (i = 0; i < size; i++) {
    bytes[i] = (unsigned char) (seed * 31 + i * 7 + 3);
  }
}

static void check_painted(const void* item, size_t size, size_t seed) {
  const unsigned char* bytes = item;
  size_t i;

  for (i = 0; i < size; i++) {
    if (bytes[i] != (unsigned char) (seed * 31 + i * 7 + 3)) {
      ck_abort_msg("byte %zu of %zu of message %zu is wrong", i, size, seed);
    }
  }
}

typedef struct blobs_s {
  size_t size;
  size_t next; /* number of the message that is due */
} blobs_t;

static void blobs_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  blobs_t* blobs = rx->data;
  size_t align = blobs->size == 0 ? 1 : blobs->size & (~blobs->size + 1);

  support_check_eq(status, 0);
  support_check(item != NULL);
  if (align > _Alignof(max_align_t)) {
    align = _Alignof(max_align_t);
  }
  support_check_eq((uintptr_t) item % align, 0);
  check_painted(item, blobs->size, blobs->next);
  blobs->next += 1;
}

/* [FC10, FC19] */
START_TEST(a_message_of_any_size_comes_whole_and_aligned) {
  size_t size = sizes[_i];
  unsigned char* bytes = malloc(3 * size + 1);
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_sender_t tx;
  blobs_t blobs = {size, 0};
  uv_loop_t loop;
  size_t round;
  size_t i;

  ck_assert_ptr_nonnull(bytes);
  support_loop_init(&loop);
  ck_assert_int_eq(uvch_broadcast_init(&loop, &rx, &tx, size, 3), 0);
  subscribe(&plain, &tx);
  rx.data = &blobs;
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, blobs_cb), 0);
  for (round = 0; round < 4; round++) {
    for (i = 0; i < 2; i++) {
      paint(bytes + i * size, size, 3 * round + i);
    }
    ck_assert_int_eq(uvch_broadcast_send_many(&tx, bytes, 2), 2);
    paint(bytes, size, 3 * round + 2);
    ck_assert_int_eq(uvch_broadcast_send(&tx, bytes), 2);
    memset(bytes, 0xa5, 3 * size + 1);
    turn(&loop);
    ck_assert_uint_eq(blobs.next, 3 * round + 3);
    for (i = 0; i < 3; i++) {
      ck_assert_int_eq(uvch_broadcast_try_recv(&plain, bytes), 0);
      check_painted(bytes, size, 3 * round + i);
      check_bytes(bytes + size, 0xa5, 1); /* and no more than that */
    }
  }
  drop_sender(&tx);
  close_rx(&rx);
  close_rx(&plain);
  support_loop_end(&loop);
  free(bytes);
}
END_TEST

START_TEST(a_message_of_size_0_needs_no_place) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  int i;

  ck_assert_int_eq(uvch_broadcast_init(NULL, &rx, &tx, 0, 3), 0);
  ck_assert_int_eq(uvch_broadcast_send(&tx, NULL), 1);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, NULL, 3), 3);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, NULL), 1);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, NULL), 0);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, NULL, 0), 0);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, NULL), 0);
  for (i = 0; i < 2; i++) {
    ck_assert_int_eq(uvch_broadcast_try_recv(&rx, NULL), UV_EAGAIN);
  }
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, NULL), 1);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, NULL, 0), 1);
  drop_sender(&tx);
  check_len(&rx, 2);
  close_rx(&rx);
}
END_TEST

/* Lengths and counts. */

/* [FC23, FC24] */
START_TEST(lengths_are_of_what_is_not_read_and_of_what_is_kept) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_sender_t tx;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  subscribe(&slow, &tx);
  for (i = 1; i <= 2 * CAPACITY + 1; i++) {
    put(&tx, i, 2);
    check_len(&slow, i); /* what is lost to it, too */
    check_len(&rx, 1);
    check_sender_len(&tx, i < CAPACITY ? i : CAPACITY);
    ck_assert_uint_eq(take(&rx), i);
    check_len(&rx, 0);
    check_sender_len(&tx, i < CAPACITY ? i : CAPACITY); /* the slowest one counts */
  }
  ck_assert_int_eq(try_take(&slow), (int) CAPACITY + 1);
  check_len(&slow, CAPACITY);
  for (i = CAPACITY; i > 0; i--) {
    check_sender_len(&tx, i);
    take(&slow);
    check_len(&slow, i - 1);
  }
  check_sender_len(&tx, 0);
  put_range(&tx, 0, CAPACITY, 2);
  take(&rx);
  close_rx(&slow); /* what only that one had not read is not kept any more */
  check_sender_len(&tx, CAPACITY - 1);
  drop_sender(&tx);
  check_sender_len(&tx, 0);
  check_len(&rx, CAPACITY - 1);
  close_rx(&rx);
  check_idle(&rx, 1);
}
END_TEST

/* [FC26, FC27] */
START_TEST(the_counts_follow_every_step) {
  uvch_broadcast_weak_sender_t weak[3];
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx[3];

  open_channel(NULL, &rx, &tx[0], CAPACITY);
  check_counts(&tx[0], NULL, &rx, 1, 0);
  clone_sender(&tx[0], &tx[1]);
  check_counts(&tx[1], NULL, &rx, 2, 0);
  weaken(&tx[1], &weak[0]);
  check_counts(&tx[0], &weak[0], &rx, 2, 1);
  memset(&weak[1], 0xa5, sizeof(weak[1]));
  ck_assert_int_eq(uvch_broadcast_weak_sender_clone(&weak[0], &weak[1]), 0);
  check_counts(&tx[0], &weak[1], &rx, 2, 2);
  memset(&tx[2], 0xa5, sizeof(tx[2]));
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak[1], &tx[2]), 0);
  check_counts(&tx[2], &weak[0], &rx, 3, 2);
  put(&tx[2], 1, 1);
  subscribe(&other, &tx[2]);
  check_counts(&tx[2], &weak[0], &other, 3, 2); /* neither messages nor receivers are any */
  ck_assert_uint_eq(take(&rx), 1);
  drop_weak(&weak[0]);
  check_counts(&tx[0], &weak[1], &rx, 3, 1);
  drop_sender(&tx[0]);
  drop_sender(&tx[2]);
  check_counts(&tx[1], &weak[1], &rx, 1, 1);
  check_refused(&rx, UV_EAGAIN); /* one is enough */
  drop_sender(&tx[1]);
  check_counts(NULL, &weak[1], &rx, 0, 1);
  weak[2] = weak[1]; /* moved */
  check_counts(NULL, &weak[2], &other, 0, 1);
  check_refused(&rx, UV_EOF);
  close_rx(&rx);
  close_rx(&other);
  check_counts(NULL, &weak[2], NULL, 0, 1);
  drop_weak(&weak[2]);
}
END_TEST

/* [FC26] */
START_TEST(there_may_be_two_to_the_30_of_each_and_no_more) {
  const uint32_t most = UINT32_C(1) << 30;
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_weak_sender_t other;
  uvch_broadcast_weak_sender_t refused;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t copy;
  uvch_broadcast_sender_t none;
  struct uvch__broadcast* c;

  open_channel(NULL, &rx, &tx, 1);
  weaken(&tx, &weak);
  c = tx.core;
  memset(&none, 0x5a, sizeof(none));
  memset(&refused, 0x5a, sizeof(refused));
  c->hub.strong += most - 2; /* nobody else is there */
  clone_sender(&tx, &copy);
  check_counts(&tx, &weak, &rx, most, 1);
  ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, &none), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &none), UV_ENOMEM);
  check_bytes(&none, 0x5a, sizeof(none));
  check_counts(&tx, &weak, &rx, most, 1);
  c->hub.strong -= most - 2;
  drop_sender(&copy);
  c->hub.weak += most - 2;
  ck_assert_int_eq(uvch_broadcast_weak_sender_clone(&weak, &other), 0);
  ck_assert_int_eq(uvch_broadcast_weak_sender_clone(&weak, &refused), UV_ENOMEM);
  ck_assert_int_eq(uvch_broadcast_sender_downgrade(&tx, &refused), UV_ENOMEM);
  check_bytes(&refused, 0x5a, sizeof(refused));
  check_counts(&tx, &weak, &rx, 1, most);
  c->hub.weak -= most - 2;
  drop_weak(&other);
  drop_weak(&weak);
  check_counts(&tx, NULL, &rx, 1, 0);
  drop_sender(&tx);
  check_refused(&rx, UV_EOF);
  close_rx(&rx);
}
END_TEST

/* [FC27, FC11] */
START_TEST(a_weak_sender_does_not_keep_the_channel_open) {
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t again;
  int i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  weaken(&tx, &weak);
  put(&tx, 1, 1);
  drop_sender(&tx);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 1);
  memset(&again, 0x5a, sizeof(again));
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &again), UV_EPIPE); /* for ever */
  }
  check_bytes(&again, 0x5a, sizeof(again));
  ck_assert_uint_eq(take(&rx), 1);
  check_refused(&rx, UV_EOF);
  if (_i % 2 == 0) {
    close_rx(&rx);
    ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &again), UV_EPIPE);
    drop_weak(&weak);
  } else {
    drop_weak(&weak);
    check_refused(&rx, UV_EOF);
    close_rx(&rx);
  }
}
END_TEST

/* [FC27] */
START_TEST(an_upgrade_needs_another_sender_and_no_receiver) {
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t more;

  open_channel(NULL, NULL, &tx, CAPACITY);
  weaken(&tx, &weak);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &more), 0);
  drop_sender(&tx);
  ck_assert_int_eq(uvch_broadcast_sender_same_channel(&more, &tx), 0);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &tx), 0);
  ck_assert_int_eq(uvch_broadcast_sender_same_channel(&more, &tx), 1);
  subscribe(&rx, &more);
  put(&tx, 3, 1);
  put(&more, 4, 1);
  close_rx(&rx);
  ck_assert_int_eq(try_put(&tx, 5), UV_EPIPE);
  drop_sender(&more);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &more), 0);
  drop_sender(&more);
  drop_sender(&tx);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &more), UV_EPIPE);
  drop_weak(&weak);
}
END_TEST

/* [FC28] */
START_TEST(ends_know_whether_they_are_of_one_channel) {
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_receiver_t again[2];
  uvch_broadcast_sender_t tx[2];
  uvch_broadcast_sender_t copy[2];
  int i;
  int k;

  for (i = 0; i < 2; i++) {
    open_channel(NULL, &rx[i], &tx[i], CAPACITY);
    clone_sender(&tx[i], &copy[i]);
    resubscribe(&again[i], &rx[i]);
  }
  for (i = 0; i < 2; i++) {
    for (k = 0; k < 2; k++) {
      ck_assert_int_eq(uvch_broadcast_sender_same_channel(&tx[i], &tx[k]), i == k);
      ck_assert_int_eq(uvch_broadcast_sender_same_channel(&tx[i], &copy[k]), i == k);
      ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&rx[i], &rx[k]), i == k);
      ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&rx[i], &again[k]), i == k);
    }
    ck_assert_int_eq(uvch_broadcast_sender_same_channel(&tx[i], NULL), 0);
    ck_assert_int_eq(uvch_broadcast_sender_same_channel(NULL, &tx[i]), 0);
    ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&rx[i], NULL), 0);
    ck_assert_int_eq(uvch_broadcast_receiver_same_channel(NULL, &rx[i]), 0);
  }
  ck_assert_int_eq(uvch_broadcast_sender_same_channel(NULL, NULL), 0);
  ck_assert_int_eq(uvch_broadcast_receiver_same_channel(NULL, NULL), 0);
  for (i = 0; i < 2; i++) {
    drop_sender(&tx[i]);
    ck_assert_int_eq(uvch_broadcast_sender_same_channel(&tx[i], &copy[i]), 0); /* closed */
    ck_assert_int_eq(uvch_broadcast_sender_same_channel(&copy[i], &tx[i]), 0);
    ck_assert_int_eq(uvch_broadcast_sender_same_channel(&tx[i], &tx[i]), 0);
    drop_sender(&copy[i]);
    ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&rx[i], &again[i]), 1); /* without a sender, too */
    close_rx(&rx[i]);
    ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&rx[i], &again[i]), 0);
    ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&again[i], &rx[i]), 0);
    ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&rx[i], &rx[i]), 0);
    close_rx(&again[i]);
  }
  ck_assert_int_eq(uvch_broadcast_sender_same_channel(&tx[0], &tx[1]), 0);
}
END_TEST

/* The end of the senders. */

/* [FC11, FC30, FC31] */
START_TEST(after_the_last_sender_each_receiver_reads_on_to_its_end) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t half;
  uvch_broadcast_receiver_t done;
  uvch_broadcast_sender_t tx[3];

  open_channel(NULL, &rx, &tx[0], CAPACITY);
  clone_sender(&tx[0], &tx[1]);
  clone_sender(&tx[0], &tx[2]);
  subscribe(&half, &tx[0]);
  subscribe(&done, &tx[0]);
  put_range(&tx[1], 0, CAPACITY, 3);
  take_range(&half, 0, CAPACITY / 2);
  take_range(&done, 0, CAPACITY);
  drop_sender(&tx[1]);
  drop_sender(&tx[0]);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 0); /* one is left */
  check_refused(&done, UV_EAGAIN);
  drop_sender(&tx[2]);
  check_idle(&done, 1);
  check_refused(&done, UV_EOF);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 1); /* whatever there is to read */
  check_len(&rx, CAPACITY);
  take_range(&rx, 0, CAPACITY);
  check_refused(&rx, UV_EOF);
  take_range(&half, CAPACITY / 2, CAPACITY);
  check_refused(&half, UV_EOF);
  close_rx(&half);
  check_refused(&rx, UV_EOF);
  close_rx(&rx);
  check_refused(&done, UV_EOF);
  close_rx(&done);
}
END_TEST

/* [FC31] */
START_TEST(only_the_last_sender_ends_what_waits_on_a_loop) {
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx[2];
  heard_t heard[2];
  uv_loop_t loop;
  int i;

  support_loop_init(&loop);
  open_channel(&loop, &rx[0], &tx[0], 4);
  clone_sender(&tx[0], &tx[1]);
  subscribe_on(&loop, &rx[1], &tx[1]);
  for (i = 0; i < 2; i++) {
    listen_to(&rx[i], &heard[i]);
  }
  turn(&loop);
  drop_sender(&tx[1]);
  turn(&loop);
  for (i = 0; i < 2; i++) {
    ck_assert_uint_eq(heard[i].count, 0);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx[i]), 1);
  }
  drop_sender(&tx[0]);
  support_loop_run(&loop);
  for (i = 0; i < 2; i++) {
    check_heard_range(&heard[i], 0, 0, 1);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx[i]), 0);
    close_rx(&rx[i]);
  }
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_channel_goes_with_its_last_end_whichever_that_is) {
  size_t before = support_alloc_blocks();
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  int k;

  for (k = 0; k < 4; k++) {
    int i;

    open_channel(NULL, &rx, &tx, 4);
    weaken(&tx, &weak);
    subscribe(&other, &tx);
    put(&tx, 1, 2);
    for (i = 1; i <= 4; i++) { /* from another one each time */
      ck_assert_uint_gt(support_alloc_blocks(), before);
      if ((i + k) % 4 == 0) {
        drop_sender(&tx);
      } else if ((i + k) % 4 == 1) {
        drop_weak(&weak);
      } else {
        close_rx((i + k) % 4 == 2 ? &rx : &other);
      }
    }
    ck_assert_uint_eq(support_alloc_blocks(), before);
  }
}
END_TEST

/* The end of the receivers. */

/* [FC22, FC25] */
START_TEST(a_receiver_that_closes_takes_nothing_from_the_others) {
  uvch_broadcast_receiver_t rx[4];
  uvch_broadcast_sender_t tx;
  size_t i;

  open_channel(NULL, &rx[0], &tx, CAPACITY);
  for (i = 1; i < COUNT(rx); i++) {
    subscribe(&rx[i], &tx);
  }
  put_range(&tx, 0, CAPACITY, 4);
  take_range(&rx[1], 0, CAPACITY / 2);
  take_range(&rx[2], 0, CAPACITY);
  close_rx(&rx[0]); /* the slowest, one between, the quickest */
  check_sender_len(&tx, CAPACITY);
  put(&tx, CAPACITY, 3);
  close_rx(&rx[2]);
  close_rx(&rx[1]);
  ck_assert_uint_eq(receivers_of(&tx), 1);
  ck_assert_int_eq(try_take(&rx[3]), 1);
  take_range(&rx[3], 1, CAPACITY + 1);
  check_refused(&rx[3], UV_EAGAIN);
  close_rx(&rx[3]);
  check_sender_len(&tx, 0);
  drop_sender(&tx);
}
END_TEST

START_TEST(a_closed_receiver_answers_every_call_and_changes_nothing) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t none;
  uvch_broadcast_sender_t tx;
  uint64_t value = 5;
  uv_loop_t loop;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 4);
  put(&tx, 1, 1);
  close_rx(&rx);
  memset(&none, 0x5a, sizeof(none));
  ck_assert_int_eq(uvch_close(handle, NULL), UV_EALREADY);
  ck_assert_int_eq(uvch_is_closing(handle), 1);
  ck_assert_int_eq(uvch_is_active(handle), 0);
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, never), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&rx, 1, never_many), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_recv_stop(&rx), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &value), UV_EBADF);
  if (_i == PLAIN) {
    ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_EBADF);
    ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_EBADF);
    ck_assert_int_eq(uvch_attach(&loop, handle), UV_EBADF);
  }
  ck_assert_int_eq(uvch_broadcast_resubscribe(NULL, &none, &rx), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_resubscribe(&loop, &none, &rx), UV_EBADF);
  check_bytes(&none, 0x5a, sizeof(none));
  check_idle(&rx, 1);
  check_counts(NULL, NULL, &rx, 0, 0);
  ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&rx, &rx), 0);
  ck_assert_uint_eq(value, 5);
  ck_assert_uint_eq(receivers_of(&tx), 0);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_close_callback_comes_once_and_last_and_only_with_a_loop) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  size_t closes = 0;
  heard_t heard;
  uv_loop_t loop;
  uvch_handle_t* handle = (uvch_handle_t*) &rx;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 4);
  put(&tx, 1, 1);
  if (_i == PLAIN) {
    ck_assert_int_eq(uvch_close(handle, count_closes), UV_EINVAL);
    ck_assert_int_eq(uvch_is_closing(handle), 0);
    ck_assert_uint_eq(take(&rx), 1); /* it is open still */
    close_rx(&rx);
  } else {
    listen_to(&rx, &heard);
    rx.data = &closes; /* nothing comes there any more */
    ck_assert_int_eq(uvch_close(handle, count_closes), 0);
    ck_assert_int_eq(uvch_close(handle, count_closes), UV_EALREADY);
    ck_assert_int_eq(uvch_close(handle, NULL), UV_EALREADY);
    ck_assert_int_eq(try_put(&tx, 2), UV_EPIPE);
    ck_assert_uint_eq(closes, 0);
    support_loop_run(&loop);
    ck_assert_uint_eq(closes, 1);
    ck_assert_uint_eq(heard.count, 0);
  }
  ck_assert_int_eq(uvch_close(NULL, NULL), UV_EINVAL);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

static void count_receivers(uvch_handle_t* handle, void* arg) {
  *(size_t*) arg += uvch_handle_get_type(handle) == UVCH_BROADCAST_RECEIVER;
}

START_TEST(a_walk_visits_receivers_and_close_all_closes_them) {
  uvch_broadcast_receiver_t rx[3];
  uvch_broadcast_sender_t tx;
  size_t visited = 0;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx[0], &tx, 4);
  subscribe_on(&loop, &rx[1], &tx);
  subscribe(&rx[2], &tx);
  uvch_walk(&loop, count_receivers, &visited);
  ck_assert_uint_eq(visited, 2);
  attach(&loop, &rx[2]);
  visited = 0;
  uvch_walk(&loop, count_receivers, &visited);
  ck_assert_uint_eq(visited, 3);
  close_rx(&rx[1]);
  ck_assert_int_eq(uvch_close_all(&loop), 2);
  ck_assert_int_eq(try_put(&tx, 1), UV_EPIPE);
  support_loop_run(&loop);
  visited = 0;
  uvch_walk(&loop, count_receivers, &visited);
  ck_assert_uint_eq(visited, 0);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FC29] */
START_TEST(a_wait_for_the_end_of_the_receivers_ends_when_there_is_none) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  watcher_t watcher[3];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 2);
  subscribe(&other, &tx);
  watch(&loop, &watcher[0], &tx);
  watch(&loop, &watcher[1], &tx);
  check_counts(&tx, NULL, &rx, 1, 0); /* these are no senders */
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  close_rx(&rx);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_uint_eq(watcher[0].calls + watcher[1].calls, 0); /* one receiver is left */
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  close_rx(&other);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), 0);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), 0);
  ck_assert_uint_eq(watcher[0].calls + watcher[1].calls, 0);
  watch(&loop, &watcher[2], &tx); /* it is so already */
  support_loop_run(&loop);
  for (i = 0; i < 3; i++) {
    check_told(&watcher[i], 0);
    ck_assert_int_eq(uvch_cancel((uvch_req_t*) &watcher[i].req), UV_EBUSY);
  }
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* [FC29] */
START_TEST(a_new_subscriber_keeps_who_waits_for_the_end_waiting) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  int i;

  support_loop_init(&loop);
  open_channel(NULL, _i == 0 ? &rx : NULL, &tx, 2);
  watch(&loop, &watcher, &tx);
  for (i = _i; i < 3; i++) {
    if (i > 0) {
      subscribe(&rx, &tx);
    }
    ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
    ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
    ck_assert_uint_eq(watcher.calls, 0);
    close_rx(&rx); /* for a moment */
  }
  drop_sender(&tx); /* the request needs it no more */
  support_loop_run(&loop);
  check_told(&watcher, 0);
  support_loop_close(&loop);
}
END_TEST

/* [FC29] */
START_TEST(a_wait_for_the_end_of_the_receivers_can_be_given_up) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  watcher_t watcher[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 2);
  watch(&loop, &watcher[0], &tx);
  watch(&loop, &watcher[1], &tx);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &watcher[0].req), 0);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &watcher[0].req), UV_EBUSY);
  ck_assert_uint_eq(watcher[0].calls, 0); /* never from inside the call */
  close_rx(&rx);
  support_loop_run(&loop);
  check_told(&watcher[0], UV_ECANCELED);
  check_told(&watcher[1], 0);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &watcher[0].req), UV_EBUSY);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* Requests to send. */

START_TEST(a_request_to_send_is_done_at_once_where_nobody_waits) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  sending_t sending[4];
  uv_loop_t loop;
  int i;

  support_loop_init(&loop);
  open_policy(NULL, &rx, &tx, 2, (uvch_broadcast_policy) _i);
  subscribe(&other, &tx);
  for (i = 0; i < 2; i++) {
    queue_send(&loop, &sending[i], &tx, (uint64_t) i);
    ck_assert_uint_eq(take(&rx), (uint64_t) i); /* it is in when the call returns */
  }
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &sending[0].req), UV_EBUSY);
  drop_sender(&tx);
  support_loop_run(&loop);
  for (i = 0; i < 2; i++) {
    check_sent(&sending[i], 2);
    ck_assert_uint_eq(take(&other), (uint64_t) i);
    ck_assert_int_eq(uvch_cancel((uvch_req_t*) &sending[i].req), UV_EBUSY);
  }
  check_refused(&rx, UV_EOF);
  check_refused(&other, UV_EOF);
  close_rx(&rx);
  close_rx(&other);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_request_to_send_waits_for_the_slowest_and_counts_as_a_sender) {
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_sender_t tx;
  sending_t sending[3];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_policy(NULL, &rx, &tx, 1, UVCH_BROADCAST_WAIT);
  subscribe(&slow, &tx);
  weaken(&tx, &weak);
  put(&tx, 0, 2);
  for (i = 0; i < 3; i++) {
    queue_send(&loop, &sending[i], &tx, i + 1);
  }
  check_counts(&tx, &weak, &rx, 4, 1);
  drop_sender(&tx);
  check_counts(NULL, &weak, &rx, 3, 1);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 0);
  ck_assert_uint_eq(take(&rx), 0);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_uint_eq(sending[0].calls, 0);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &sending[1].req), 0);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &sending[1].req), UV_EBUSY);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &tx), 0); /* a request is enough */
  ck_assert_int_eq(try_put(&tx, 9), UV_EAGAIN);
  ck_assert_uint_eq(take(&slow), 0);
  turn(&loop);
  check_sent(&sending[0], 2);
  check_sent(&sending[1], UV_ECANCELED);
  ck_assert_uint_eq(sending[2].calls, 0);
  ck_assert_uint_eq(take(&rx), 1);
  check_refused(&rx, UV_EAGAIN);
  ck_assert_uint_eq(take(&slow), 1);
  ck_assert_uint_eq(take(&slow), 3); /* the second was given back */
  drop_sender(&tx);
  support_loop_run(&loop);
  check_sent(&sending[2], 2);
  check_counts(NULL, &weak, &rx, 0, 1);
  ck_assert_uint_eq(take(&rx), 3);
  check_refused(&rx, UV_EOF);
  check_refused(&slow, UV_EOF);
  drop_weak(&weak);
  close_rx(&rx);
  close_rx(&slow);
  support_loop_close(&loop);
}
END_TEST

typedef struct overtaker_s {
  heard_t heard; /* of the receiver */
  const uvch_broadcast_sender_t* tx;
} overtaker_t;

static void overtake_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  overtaker_t* overtaker = rx->data;

  heard_add(&overtaker->heard, status, item);
  if (overtaker->heard.count == 1) {
    support_check_eq(try_put(overtaker->tx, 1234), UV_EAGAIN);
    support_check_eq(uvch_broadcast_send_timedwait(overtaker->tx, &overtaker->heard.got[0].value, 0), UV_ETIMEDOUT);
    support_check_eq(uvch_broadcast_send_wait(overtaker->tx, &overtaker->heard.got[0].value), UV_EPERM);
  }
}

START_TEST(a_send_does_not_overtake_a_request_that_waits) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  overtaker_t overtaker;
  sending_t sending[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_policy(&loop, &rx, &tx, 1, UVCH_BROADCAST_WAIT);
  memset(&overtaker, 0, sizeof(overtaker));
  overtaker.tx = &tx;
  rx.data = &overtaker;
  put(&tx, 0, 1);
  queue_send(&loop, &sending[0], &tx, 1);
  queue_send(&loop, &sending[1], &tx, 2);
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, overtake_cb), 0);
  while (overtaker.heard.count < 3) {
    ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  }
  drop_sender(&tx);
  support_loop_run(&loop);
  check_heard_range(&overtaker.heard, 0, 3, 1);
  check_sent(&sending[0], 1);
  check_sent(&sending[1], 1);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_request_to_send_is_given_back_when_the_last_receiver_goes) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  sending_t sending[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_policy(_i == PLAIN ? NULL : &loop, &rx, &tx, 1, UVCH_BROADCAST_WAIT);
  put(&tx, 0, 1);
  queue_send(&loop, &sending[0], &tx, 1);
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  close_rx(&rx);
  ck_assert_int_eq(try_queue(&loop, &sending[1], &tx, 2), UV_EPIPE);
  support_loop_run(&loop);
  check_sent(&sending[0], UV_EPIPE);
  ck_assert_uint_eq(sending[1].calls, 0); /* an error is answer enough */
  subscribe(&rx, &tx);
  queue_send(&loop, &sending[0], &tx, 5); /* the memory may be used again */
  support_loop_run(&loop);
  check_sent(&sending[0], 1);
  ck_assert_uint_eq(take(&rx), 5);
  check_refused(&rx, UV_EAGAIN);
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_close(&loop);
}
END_TEST

/* Values that own things. */

/* [FC06, FC21, FC22] */
START_TEST(a_value_is_dropped_when_its_last_receiver_has_it_or_goes_or_when_it_is_overwritten) {
  uvch_broadcast_receiver_t rx[3];
  uvch_broadcast_sender_t tx;
  owned_t owned;
  size_t i;

  open_owning(NULL, &rx[0], &tx, 2, &owned, owned_copy);
  subscribe(&rx[1], &tx);
  put(&tx, 0, 2);
  subscribe(&rx[2], &tx); /* this one is not asked */
  ck_assert_uint_eq(take(&rx[0]), 0);
  ck_assert_uint_eq(owned.dropped, 0);
  ck_assert_uint_eq(take(&rx[1]), 0);
  ck_assert_uint_eq(owned.dropped, 1); /* as soon as that */
  put_range(&tx, 1, 3, 3);
  ck_assert_uint_eq(owned.dropped, 1);
  put(&tx, 3, 3);
  ck_assert_uint_eq(owned.dropped, 2); /* by the send */
  ck_assert_uint_eq(owned.last, 1);
  for (i = 0; i < 2; i++) {
    ck_assert_int_eq(try_take(&rx[i]), 1);
    take_range(&rx[i], 2, 4);
  }
  ck_assert_uint_eq(owned.dropped, 2);
  close_rx(&rx[2]);
  ck_assert_uint_eq(owned.dropped, 4); /* by the close */
  put(&tx, 4, 2);
  close_rx(&rx[0]);
  ck_assert_uint_eq(owned.dropped, 4);
  drop_sender(&tx);
  ck_assert_uint_eq(owned.dropped, 4);
  close_rx(&rx[1]);
  ck_assert_uint_eq(owned.dropped, 5);
  ck_assert_uint_eq(owned.copied, 6);
}
END_TEST

/* [FA03, FA13] */
START_TEST(a_value_that_is_refused_stays_with_the_caller) {
  uvch_broadcast_options_t options;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t items[3] = {1, 2, 3};
  owned_t owned;

  memset(&owned, 0, sizeof(owned));
  memset(&options, 0, sizeof(options));
  options.policy = UVCH_BROADCAST_WAIT;
  options.copy = owned_copy;
  options.drop = owned_drop;
  options.arg = &owned;
  open_ex(NULL, &rx, &tx, 2, &options);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, items, 3), 2);
  ck_assert_int_eq(try_put(&tx, 3), UV_EAGAIN);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, items, 0), UV_ETIMEDOUT);
  ck_assert_uint_eq(owned.dropped, 0);
  close_rx(&rx);
  ck_assert_uint_eq(owned.dropped, 2);
  ck_assert_int_eq(try_put(&tx, 3), UV_EPIPE);
  drop_sender(&tx);
  ck_assert_int_eq(try_put(&tx, 3), UV_EBADF);
  ck_assert_uint_eq(owned.dropped, 2);
}
END_TEST

/* [FC19, FC20] */
START_TEST(a_message_whose_copy_fails_counts_as_read) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  uint64_t value = 5;
  owned_t owned;

  open_owning(NULL, &rx, &tx, 4, &owned, owned_copy);
  subscribe(&other, &tx);
  put_range(&tx, 0, 4, 2);
  ck_assert_uint_eq(take(&rx), 0);
  owned.copy_fails = UV_EIO;
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, &value), UV_EIO);
  check_len(&rx, 2);
  owned.copy_fails = UV_ENOMEM;
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_ENOMEM);
  ck_assert_uint_eq(value, 5);
  ck_assert_uint_eq(take(&rx), 3);
  check_refused(&rx, UV_EAGAIN);
  ck_assert_uint_eq(owned.dropped, 0); /* the other one has a copy of each, too */
  owned.copy_fails = UV_EIO;
  ck_assert_int_eq(try_take(&other), UV_EIO);
  ck_assert_uint_eq(owned.dropped, 1);
  take_range(&other, 1, 4);
  ck_assert_uint_eq(owned.dropped, 4);
  ck_assert_uint_eq(owned.copied, 5);
  close_rx(&rx);
  close_rx(&other);
  drop_sender(&tx);
}
END_TEST

/* [FC19] */
START_TEST(values_that_cannot_be_copied_are_for_callbacks_only) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t loud;
  uvch_broadcast_sender_t tx;
  uint64_t value = 5;
  heard_t heard;
  owned_t owned;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_owning(NULL, &rx, &tx, 4, &owned, NULL);
  subscribe_on(&loop, &loud, &tx);
  put(&tx, 1, 2);
  check_refused(&rx, UV_ENOTSUP);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), UV_ENOTSUP);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, &value, 0), UV_ENOTSUP);
  ck_assert_int_eq(uvch_broadcast_try_recv(&loud, &value), UV_ENOTSUP);
  ck_assert_uint_eq(value, 5);
  check_len(&rx, 1); /* nothing is taken */
  check_len(&loud, 1);
  listen_to(&loud, &heard);
  turn(&loop);
  check_heard_range(&heard, 1, 2, 0);
  ck_assert_uint_eq(owned.dropped, 0);
  attach(&loop, &rx);
  listen_to(&rx, &heard);
  turn(&loop);
  check_heard_range(&heard, 1, 2, 0);
  ck_assert_uint_eq(owned.dropped, 1);
  close_rx(&rx);
  close_rx(&loud);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* What is refused. */

/* A receiver's calls, with what each says to one that is none. */
static void check_no_receiver(uvch_broadcast_receiver_t* what) {
  uvch_broadcast_receiver_t fresh;
  uint64_t value = 5;

  memset(&fresh, 0x5a, sizeof(fresh));
  ck_assert_int_eq(uvch_broadcast_recv_start(what, never), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(what, 1, never_many), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_stop(what), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_try_recv(what, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_wait(what, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_timedwait(what, &value, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_resubscribe(NULL, &fresh, what), UV_EINVAL);
  ck_assert_uint_eq(uvch_broadcast_receiver_missed(what), 0);
  check_idle(what, 1);
  check_counts(NULL, NULL, what, 0, 0);
  ck_assert_int_eq(uvch_broadcast_receiver_same_channel(what, what), 0);
  ck_assert_uint_eq(value, 5);
  check_bytes(&fresh, 0x5a, sizeof(fresh));
}

START_TEST(null_and_what_is_no_broadcast_receiver_are_refused) {
  union {
    uvch_broadcast_receiver_t all;
    uvch_mpsc_receiver_t many;
    uvch_oneshot_receiver_t one;
  } rx;
  uvch_mpsc_sender_t many_tx;
  uvch_oneshot_sender_t one_tx;
  uint64_t value = 6;

  check_no_receiver(NULL);
  memset(&rx, 0, sizeof(rx));
  check_no_receiver(&rx.all);
  memset(&rx, 0xa5, sizeof(rx)); /* what lies behind it is not looked at */
  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx.many, &many_tx, sizeof(value), 4), 0);
  check_no_receiver(&rx.all);
  support_put(&many_tx, 6); /* no harm done */
  ck_assert_uint_eq(support_take(&rx.many), 6);
  support_drop_sender(&many_tx);
  support_close(&rx.many);
  memset(&rx, 0xa5, sizeof(rx));
  ck_assert_int_eq(uvch_oneshot_init(NULL, &rx.one, &one_tx, sizeof(value)), 0);
  check_no_receiver(&rx.all);
  ck_assert_int_eq(uvch_oneshot_send(&one_tx, &value), 0);
  ck_assert_int_eq(uvch_oneshot_try_recv(&rx.one, &value), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx.one, NULL), 0);
}
END_TEST

START_TEST(the_calls_of_other_channels_refuse_a_broadcast_receiver) {
  union {
    uvch_broadcast_receiver_t all;
    uvch_mpsc_receiver_t many;
    uvch_oneshot_receiver_t one;
  } rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 5;

  memset(&rx, 0, sizeof(rx));
  ck_assert_int_eq(uvch_broadcast_init(NULL, &rx.all, &tx, sizeof(value), 4), 0);
  put(&tx, 6, 1);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx.many, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_wait(&rx.many, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&rx.many), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx.many), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_try_recv(&rx.one, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_recv_wait(&rx.one, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_recv_stop(&rx.one), UV_EINVAL);
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&rx.one), UV_EINVAL);
  ck_assert_uint_eq(value, 5);
  ck_assert_uint_eq(take(&rx.all), 6);
  close_rx(&rx.all);
  drop_sender(&tx);
}
END_TEST

START_TEST(null_arguments_of_a_sender_are_refused_and_change_nothing) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t fresh;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t copy;
  uvch_broadcast_send_t send;
  uvch_broadcast_closed_t closed;
  uint64_t value = 5;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 4);
  memset(&fresh, 0x5a, sizeof(fresh));
  memset(&copy, 0x5a, sizeof(copy));
  ck_assert_int_eq(uvch_broadcast_subscribe(NULL, NULL, &tx), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_subscribe(&loop, NULL, &tx), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_subscribe(NULL, &fresh, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_subscribe(&loop, &fresh, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_resubscribe(NULL, NULL, &rx), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_resubscribe(NULL, &rx, &rx), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_sender_clone(NULL, &copy), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_sender_close(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_many(NULL, &value, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, NULL, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, &value, (size_t) INT_MAX + 1), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, &value, SIZE_MAX), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_wait(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(NULL, &value, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, NULL, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_queue_send(NULL, &send, &tx, &value, never_sent), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_queue_send(&loop, NULL, &tx, &value, never_sent), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_queue_send(&loop, &send, NULL, &value, never_sent), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_queue_send(&loop, &send, &tx, NULL, never_sent), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_queue_send(&loop, &send, &tx, &value, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed(NULL, &closed, &tx, never_closed), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed(&loop, NULL, &tx, never_closed), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed(&loop, &closed, NULL, never_closed), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed(&loop, &closed, &tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed_wait(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(NULL, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_cancel(NULL), UV_EINVAL);
  check_bytes(&fresh, 0x5a, sizeof(fresh));
  check_bytes(&copy, 0x5a, sizeof(copy));
  ck_assert_uint_eq(receivers_of(NULL), 0);
  ck_assert_uint_eq(uvch_broadcast_sender_capacity(NULL), 0);
  check_sender_len(NULL, 0);
  check_counts(&tx, NULL, &rx, 1, 0);
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(NULL), 0);
  ck_assert_uint_eq(uvch_broadcast_sender_weak_count(NULL), 0);
  ck_assert_uint_eq(receivers_of(&tx), 1);
  check_idle(&rx, 0);
  ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_close(&loop);
}
END_TEST

START_TEST(null_arguments_of_a_receiver_or_a_weak_sender_are_refused_and_change_nothing) {
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_weak_sender_t none;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t fresh;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, 4);
  put(&tx, 6, 1);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, NULL), UV_EINVAL);
  if (_i == PLAIN) {
    ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, NULL), UV_EINVAL);
    ck_assert_int_eq(uvch_broadcast_recv_timedwait(&rx, NULL, 0), UV_EINVAL);
    ck_assert_int_eq(uvch_broadcast_recv_start(&rx, never), UV_EINVAL); /* a callback needs a loop */
    ck_assert_int_eq(uvch_broadcast_recv_many_start(&rx, 1, never_many), UV_EINVAL);
  }
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&rx, 1, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&rx, 0, never_many), UV_EINVAL);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 0);
  memset(&none, 0x5a, sizeof(none));
  memset(&fresh, 0x5a, sizeof(fresh));
  weaken(&tx, &weak);
  ck_assert_int_eq(uvch_broadcast_sender_downgrade(NULL, &none), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_sender_downgrade(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_weak_sender_clone(NULL, &none), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_weak_sender_clone(&weak, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(NULL, &fresh), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_weak_sender_close(NULL), UV_EINVAL);
  ck_assert_uint_eq(uvch_broadcast_weak_sender_strong_count(NULL), 0);
  ck_assert_uint_eq(uvch_broadcast_weak_sender_weak_count(NULL), 0);
  check_bytes(&none, 0x5a, sizeof(none));
  check_bytes(&fresh, 0x5a, sizeof(fresh));
  check_counts(&tx, &weak, &rx, 1, 1);
  ck_assert_uint_eq(take(&rx), 6); /* nothing was taken */
  close_rx(&rx);
  drop_weak(&weak);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_closed_sender_answers_every_call_and_changes_nothing) {
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t fresh;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t other;
  uvch_broadcast_sender_t copy;
  uvch_broadcast_send_t send;
  uvch_broadcast_closed_t closed;
  uint64_t value = 5;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 4);
  clone_sender(&tx, &other);
  put(&tx, 1, 1);
  drop_sender(&tx);
  memset(&fresh, 0x5a, sizeof(fresh));
  memset(&copy, 0x5a, sizeof(copy));
  memset(&weak, 0x5a, sizeof(weak));
  ck_assert_int_eq(uvch_broadcast_sender_close(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, &copy), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_sender_downgrade(&tx, &weak), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_subscribe(NULL, &fresh, &tx), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_subscribe(&loop, &fresh, &tx), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_send(&tx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, &value, 1), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 0), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_queue_send(&loop, &send, &tx, &value, never_sent), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_closed(&loop, &closed, &tx, never_closed), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_closed_wait(&tx), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), UV_EBADF);
  ck_assert_uint_eq(receivers_of(&tx), 0);
  ck_assert_uint_eq(uvch_broadcast_sender_capacity(&tx), 0);
  check_sender_len(&tx, 0);
  check_counts(&tx, NULL, NULL, 0, 0);
  check_counts(&other, NULL, &rx, 1, 0);
  check_bytes(&fresh, 0x5a, sizeof(fresh));
  check_bytes(&copy, 0x5a, sizeof(copy));
  check_bytes(&weak, 0x5a, sizeof(weak));
  ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
  ck_assert_uint_eq(take(&rx), 1);
  check_refused(&rx, UV_EAGAIN);
  close_rx(&rx);
  drop_sender(&other);
  support_loop_close(&loop);
}
END_TEST

START_TEST(a_closed_weak_sender_answers_every_call_and_changes_nothing) {
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_weak_sender_t copy;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_sender_t other;

  open_channel(NULL, &rx, &tx, CAPACITY);
  weaken(&tx, &weak);
  drop_weak(&weak);
  memset(&copy, 0x5a, sizeof(copy));
  memset(&other, 0x5a, sizeof(other));
  ck_assert_int_eq(uvch_broadcast_weak_sender_close(&weak), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_weak_sender_clone(&weak, &copy), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &other), UV_EBADF);
  check_bytes(&copy, 0x5a, sizeof(copy));
  check_bytes(&other, 0x5a, sizeof(other));
  check_counts(NULL, &weak, NULL, 0, 0);
  check_counts(&tx, NULL, &rx, 1, 0);
  drop_sender(&tx);
  close_rx(&rx);
}
END_TEST

/* Where positions begin. */

static void at_0(void) {
  uvch__broadcast_first = 0;
}

static void near_32_bits(void) {
  uvch__broadcast_first = UINT32_MAX - 2;
}

static void near_the_middle(void) {
  uvch__broadcast_first = UINT64_MAX / 2 - 2;
}

static void near_the_end(void) {
  uvch__broadcast_first = UINT64_MAX - 2;
}

static TCase* positioned_case(Suite* suite, const char* name, void (*begin)(void)) {
  TCase* tcase = support_case(suite, name);

  tcase_add_checked_fixture(tcase, begin, at_0);
  return tcase;
}

static void add_making(TCase* tcase) {
  add_for_every_kind(tcase, a_new_channel_has_one_sender_one_receiver_and_nothing_to_read);
  add_for_every_capacity(tcase, a_channel_without_a_receiver_opens_with_the_first_one);
  tcase_add_test(tcase, a_channel_that_never_has_a_receiver_leaves_nothing_behind);
  tcase_add_test(tcase, making_one_refuses_what_it_cannot_be_and_leaves_both_ends_alone);
  add_for_every_capacity(tcase, making_one_without_options_is_as_plain_as_with_none_set);
  tcase_add_loop_test(tcase, without_memory_nothing_is_made_and_nothing_is_touched, 0, 2);
}

static void add_sending(TCase* tcase) {
  add_for_every_capacity(tcase, a_send_says_how_many_receivers_are_subscribed);
  add_for_every_capacity(tcase, what_is_sent_to_nobody_is_not_kept_and_takes_no_place);
  add_for_every_capacity(tcase, the_channel_keeps_the_last_messages_exactly_as_many_as_its_capacity);
  add_for_every_capacity(tcase, all_receivers_see_the_messages_of_all_senders_in_one_order);
  add_for_every_capacity(tcase, a_batch_is_sent_as_one_by_one);
  add_for_every_capacity(tcase, a_batch_of_none_changes_nothing);
  add_for_every_capacity(tcase, with_wait_a_full_channel_refuses_until_the_slowest_has_read);
  tcase_add_test(tcase, a_message_may_be_a_sender_of_its_own_channel_or_of_another);
}

static void add_subscribing(TCase* tcase) {
  add_for_every_capacity(tcase, a_subscriber_gets_what_is_sent_from_then_on);
  add_for_every_capacity(tcase, resubscribing_starts_at_the_tail_and_leaves_the_source_alone);
  add_for_every_capacity(tcase, resubscribing_after_the_last_sender_gives_a_receiver_that_is_at_its_end);
  add_for_every_kind(tcase, a_subscriber_on_a_loop_hears_what_comes_after_it);
  tcase_add_loop_test(tcase, a_receiver_attached_to_a_loop_goes_on_from_where_it_was, 0, COMPANIES);
  add_for_every_capacity(tcase, a_receiver_attached_beside_one_that_is_ahead_gives_its_room_when_it_reads);
  tcase_add_loop_test(tcase, an_attached_receiver_may_still_be_read_by_hand, 0, 2);
  tcase_add_test(tcase, attach_refuses_what_cannot_be_attached);
  tcase_add_loop_test(tcase, a_receiver_attached_at_its_end_hears_of_it, 0, 2);
}

static void add_reading(TCase* tcase) {
  add_for_every_kind(tcase, a_receiver_reads_by_hand_wherever_it_lives);
  tcase_add_test(tcase, a_thread_does_not_sleep_where_there_is_something);
  tcase_add_loop_test(tcase, a_receiver_with_a_loop_does_not_sleep, 0, 2);
  tcase_add_loop_test(tcase, callbacks_bring_what_is_sent_and_the_end_once, 0, 4);
  tcase_add_loop_test(tcase, a_receiver_that_is_not_started_gets_no_callback_and_stays_subscribed, 0, 2);
  tcase_add_loop_test(tcase, a_message_of_any_size_comes_whole_and_aligned, 0, (int) COUNT(sizes));
  tcase_add_test(tcase, a_message_of_size_0_needs_no_place);
}

static void add_counting(TCase* tcase) {
  add_for_every_capacity(tcase, lengths_are_of_what_is_not_read_and_of_what_is_kept);
  add_for_every_capacity(tcase, the_counts_follow_every_step);
  tcase_add_test(tcase, there_may_be_two_to_the_30_of_each_and_no_more);
  add_for_every_capacity(tcase, a_weak_sender_does_not_keep_the_channel_open);
  add_for_every_capacity(tcase, an_upgrade_needs_another_sender_and_no_receiver);
  add_for_every_capacity(tcase, ends_know_whether_they_are_of_one_channel);
}

static void add_ending(TCase* tcase) {
  add_for_every_capacity(tcase, after_the_last_sender_each_receiver_reads_on_to_its_end);
  tcase_add_test(tcase, only_the_last_sender_ends_what_waits_on_a_loop);
  tcase_add_test(tcase, a_channel_goes_with_its_last_end_whichever_that_is);
  add_for_every_capacity(tcase, a_receiver_that_closes_takes_nothing_from_the_others);
  add_for_every_kind(tcase, a_closed_receiver_answers_every_call_and_changes_nothing);
  add_for_every_kind(tcase, a_close_callback_comes_once_and_last_and_only_with_a_loop);
  tcase_add_test(tcase, a_walk_visits_receivers_and_close_all_closes_them);
}

static void add_requests(TCase* tcase) {
  add_for_every_kind(tcase, a_wait_for_the_end_of_the_receivers_ends_when_there_is_none);
  tcase_add_loop_test(tcase, a_new_subscriber_keeps_who_waits_for_the_end_waiting, 0, 2);
  add_for_every_kind(tcase, a_wait_for_the_end_of_the_receivers_can_be_given_up);
  tcase_add_loop_test(tcase, a_request_to_send_is_done_at_once_where_nobody_waits, UVCH_BROADCAST_LAG,
                      UVCH_BROADCAST_DISCONNECT + 1);
  tcase_add_test(tcase, a_request_to_send_waits_for_the_slowest_and_counts_as_a_sender);
  tcase_add_test(tcase, a_send_does_not_overtake_a_request_that_waits);
  tcase_add_loop_test(tcase, a_request_to_send_is_given_back_when_the_last_receiver_goes, 0, 2);
}

static void add_owning(TCase* tcase) {
  tcase_add_test(tcase, a_value_is_dropped_when_its_last_receiver_has_it_or_goes_or_when_it_is_overwritten);
  tcase_add_test(tcase, a_value_that_is_refused_stays_with_the_caller);
  tcase_add_test(tcase, a_message_whose_copy_fails_counts_as_read);
  tcase_add_test(tcase, values_that_cannot_be_copied_are_for_callbacks_only);
}

static void add_refusals(TCase* tcase) {
  tcase_add_test(tcase, null_and_what_is_no_broadcast_receiver_are_refused);
  tcase_add_test(tcase, the_calls_of_other_channels_refuse_a_broadcast_receiver);
  tcase_add_test(tcase, null_arguments_of_a_sender_are_refused_and_change_nothing);
  add_for_every_kind(tcase, null_arguments_of_a_receiver_or_a_weak_sender_are_refused_and_change_nothing);
  tcase_add_test(tcase, a_closed_sender_answers_every_call_and_changes_nothing);
  add_for_every_capacity(tcase, a_closed_weak_sender_answers_every_call_and_changes_nothing);
}

static void add_all(TCase* tcase) {
  add_making(tcase);
  add_sending(tcase);
  add_subscribing(tcase);
  add_reading(tcase);
  add_counting(tcase);
  add_ending(tcase);
  add_requests(tcase);
  add_owning(tcase);
  add_refusals(tcase);
}

int main(void) {
  Suite* suite = suite_create("broadcast");

  add_all(positioned_case(suite, "from 0", at_0));
  add_all(positioned_case(suite, "across 32 bits", near_32_bits));
  add_all(positioned_case(suite, "across the middle", near_the_middle));
  add_all(positioned_case(suite, "across the end", near_the_end));
  return support_main(suite);
}
