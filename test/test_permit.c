/* SPDX-License-Identifier: MIT
 *
 * Permits: places first, messages later. Who gets them, what they hold open, and how they come back. */
#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOT_DONE = 1 }; /* no status is positive */

static const size_t capacities[] = {1, 2, 3, 7, 64};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))

static size_t turns;

static void open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  turns = 0;
  ck_assert_int_eq(uvch_mpsc_init(loop, rx, tx, sizeof(uint64_t), capacity), 0);
}

static void close_channel(uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx) {
  support_drop_sender(tx);
  support_close(rx);
}

/* Put 0, 1, 2 ... as many as fit. */
static void fill(const uvch_mpsc_sender_t* tx) {
  size_t n = uvch_mpsc_sender_capacity(tx);
  size_t i;

  for (i = 0; i < n; i++) {
    support_put(tx, i);
  }
}

static void hold(const uvch_mpsc_sender_t* tx, size_t n, uvch_mpsc_permit_t* permit) {
  memset(permit, 0xa5, sizeof(*permit));
  support_check_eq(uvch_mpsc_try_reserve(tx, n, permit), 0);
  support_check_eq(uvch_mpsc_permit_count(permit), n);
}

static void permit_put(uvch_mpsc_permit_t* permit, uint64_t value) {
  support_check_eq(uvch_mpsc_permit_send(permit, &value), 0);
}

static void release(uvch_mpsc_permit_t* permit) {
  support_check_eq(uvch_mpsc_permit_release(permit), 0);
  support_check_eq(uvch_mpsc_permit_count(permit), 0);
}

static void check_empty(uvch_mpsc_permit_t* permit) {
  uint64_t value = 0;

  support_check_eq(uvch_mpsc_permit_count(permit), 0);
  support_check_eq(uvch_mpsc_permit_send(permit, &value), UV_EBADF);
  support_check_eq(uvch_mpsc_permit_release(permit), UV_EBADF);
}

static void check_try_recv(uvch_mpsc_receiver_t* rx, int result) {
  uint64_t value;

  support_check_eq(uvch_mpsc_try_recv(rx, &value), result);
}

/* What a channel says of itself, by both ends. */
static void check_counts(const uvch_mpsc_receiver_t* rx, const uvch_mpsc_sender_t* tx, size_t len, size_t capacity, size_t reserved,
                         size_t strong) {
  uvch_stats_t stats;

  support_check_eq(uvch_mpsc_receiver_len(rx), len);
  support_check_eq(uvch_mpsc_sender_len(tx), len);
  support_check_eq(uvch_mpsc_receiver_is_empty(rx), len == 0);
  support_check_eq(uvch_mpsc_receiver_capacity(rx), capacity);
  support_check_eq(uvch_mpsc_sender_capacity(tx), capacity);
  support_check_eq(uvch_mpsc_receiver_strong_count(rx), strong);
  support_check_eq(uvch_mpsc_sender_strong_count(tx), strong);
  support_check_eq(uvch_mpsc_sender_get_stats(tx, &stats), 0);
  support_check_eq(stats.depth, len);
  support_check_eq(stats.reserved, reserved);
  support_check(stats.depth + stats.reserved <= stats.capacity);
}

/* Requests with what came of them. Their memory is garbage before; the library must not look at it. */

typedef struct reserver_s {
  uvch_mpsc_reserve_t req;
  uvch_mpsc_permit_t permit;
  int status;
  size_t calls;
  size_t turn; /* its place among all callbacks of the test, from 1 */
} reserver_t;

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  reserver_t* reserver = req->data;

  reserver->status = status;
  reserver->calls += 1;
  reserver->turn = ++turns;
}

static int try_request(uv_loop_t* loop, reserver_t* reserver, const uvch_mpsc_sender_t* tx, size_t n) {
  memset(reserver, 0xa5, sizeof(*reserver));
  reserver->req.data = reserver;
  reserver->status = NOT_DONE;
  reserver->calls = 0;
  reserver->turn = 0;
  return uvch_mpsc_reserve(loop, &reserver->req, tx, n, &reserver->permit, on_reserved);
}

static void request(uv_loop_t* loop, reserver_t* reserver, const uvch_mpsc_sender_t* tx, size_t n) {
  support_check_eq(try_request(loop, reserver, tx, n), 0);
  support_check_eq(reserver->calls, 0); /* never from inside the call */
  support_check(reserver->req.data == reserver && reserver->req.loop == loop);
  support_check_eq(reserver->req.type, UVCH_MPSC_RESERVE);
}

static int cancel(reserver_t* reserver) {
  return uvch_cancel((uvch_req_t*) &reserver->req);
}

static void check_granted(reserver_t* reserver, size_t n) {
  support_check_eq(reserver->calls, 1);
  support_check_eq(reserver->status, 0);
  support_check_eq(uvch_mpsc_permit_count(&reserver->permit), n);
}

/* A request that got nothing leaves its permit alone. */
static void check_refused(const reserver_t* reserver, int status) {
  uvch_mpsc_permit_t untouched;

  memset(&untouched, 0xa5, sizeof(untouched));
  support_check_eq(reserver->calls, 1);
  support_check_eq(reserver->status, status);
  support_check(memcmp(&reserver->permit, &untouched, sizeof(untouched)) == 0);
}

/* A few passes in which nothing may come. */
static void check_waits(uv_loop_t* loop, const reserver_t* reserver) {
  int i;

  for (i = 0; i < 3; i++) {
    ck_assert_int_ne(uv_run(loop, UV_RUN_NOWAIT), 0); /* it keeps the loop alive */
    ck_assert_uint_eq(reserver->calls, 0);
  }
}

typedef struct waiter_s {
  uvch_mpsc_send_t req;
  uint64_t value;
  int status;
  size_t calls;
  size_t turn;
} waiter_t;

static void on_sent(uvch_mpsc_send_t* req, int status) {
  waiter_t* waiter = req->data;

  waiter->status = status;
  waiter->calls += 1;
  waiter->turn = ++turns;
}

static int try_send_request(uv_loop_t* loop, waiter_t* waiter, const uvch_mpsc_sender_t* tx, uint64_t value) {
  memset(waiter, 0xa5, sizeof(*waiter));
  waiter->req.data = waiter;
  waiter->value = value;
  waiter->status = NOT_DONE;
  waiter->calls = 0;
  waiter->turn = 0;
  return uvch_mpsc_send(loop, &waiter->req, tx, &waiter->value, on_sent);
}

static void send_request(uv_loop_t* loop, waiter_t* waiter, const uvch_mpsc_sender_t* tx, uint64_t value) {
  support_check_eq(try_send_request(loop, waiter, tx, value), 0);
  support_check_eq(waiter->calls, 0);
}

static void check_sent(const waiter_t* waiter, int status) {
  support_check_eq(waiter->calls, 1);
  support_check_eq(waiter->status, status);
}

/* A thread that makes one blocking call: a send if n is 0, else a reservation. */
typedef struct blocked_s {
  uvch_mpsc_sender_t tx;
  uvch_mpsc_permit_t permit;
  uv_thread_t thread;
  size_t n;
  uint64_t value;
  uint64_t timeout; /* 0: without one */
  int answer;
  _Atomic(long) number;
} blocked_t;

static void block(void* arg) {
  blocked_t* blocked = arg;

  atomic_store(&blocked->number, support_thread_number());
  if (blocked->n == 0) {
    blocked->answer = uvch_mpsc_send_wait(&blocked->tx, &blocked->value);
  } else if (blocked->timeout == 0) {
    blocked->answer = uvch_mpsc_reserve_wait(&blocked->tx, blocked->n, &blocked->permit);
  } else {
    blocked->answer = uvch_mpsc_reserve_timedwait(&blocked->tx, blocked->n, &blocked->permit, blocked->timeout);
  }
  uvch_mpsc_sender_close(&blocked->tx);
}

static void blocked_begin(blocked_t* blocked, const uvch_mpsc_sender_t* tx, size_t n, uint64_t value, uint64_t timeout) {
  memset(blocked, 0, sizeof(*blocked));
  ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &blocked->tx), 0);
  blocked->n = n;
  blocked->value = value;
  blocked->timeout = timeout;
  blocked->answer = NOT_DONE;
  support_spawn(&blocked->thread, block, blocked);
}

/* Return once it waits. */
static void blocked_start(blocked_t* blocked, const uvch_mpsc_sender_t* tx, size_t n, uint64_t value) {
  blocked_begin(blocked, tx, n, value, 0);
  support_until_blocked(&blocked->number);
}

static void blocked_join(blocked_t* blocked, int answer) {
  support_join(&blocked->thread);
  ck_assert_int_eq(blocked->answer, answer);
  ck_assert_uint_eq(uvch_mpsc_permit_count(&blocked->permit), answer == 0 ? blocked->n : 0);
}

/* Reserving without waiting. */

/* The answer of try_reserve, which changes nothing: what it holds is released. */
static void check_try(const uvch_mpsc_receiver_t* rx, const uvch_mpsc_sender_t* tx, size_t n, int result) {
  size_t capacity = uvch_mpsc_sender_capacity(tx);
  size_t strong = uvch_mpsc_sender_strong_count(tx);
  size_t len = uvch_mpsc_sender_len(tx);
  uvch_mpsc_permit_t untouched;
  uvch_mpsc_permit_t permit;

  memset(&permit, 0xa5, sizeof(permit));
  memset(&untouched, 0xa5, sizeof(untouched));
  support_check_eq(uvch_mpsc_try_reserve(tx, n, &permit), result);
  if (result != 0) {
    support_check(memcmp(&permit, &untouched, sizeof(permit)) == 0);
  } else {
    support_check_eq(uvch_mpsc_permit_count(&permit), n);
    support_check_eq(uvch_mpsc_sender_strong_count(tx), strong + n);
    if (n > 0) {
      support_check_eq(uvch_mpsc_sender_capacity(tx), capacity - n);
      release(&permit);
    }
    check_empty(&permit);
  }
  support_check_eq(uvch_mpsc_sender_capacity(tx), capacity);
  support_check_eq(uvch_mpsc_sender_strong_count(tx), strong);
  support_check_eq(uvch_mpsc_sender_len(tx), len);
  if (!uvch_is_closing((const uvch_handle_t*) rx)) {
    support_check_eq(uvch_mpsc_receiver_len(rx), len);
  }
}

START_TEST(try_reserve_gets_all_places_or_none) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t used;
  size_t n;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (used = 0; used <= CAPACITY; used++) {
    for (n = 0; n <= CAPACITY + 1; n++) {
      check_try(&rx, &tx, n, n <= CAPACITY - used ? 0 : UV_EAGAIN);
    }
    check_try(&rx, &tx, SIZE_MAX, UV_EAGAIN);
    check_try(&rx, &tx, UVCH_MPSC_CAPACITY_MAX + 1, UV_EAGAIN);
    if (used < CAPACITY) {
      support_put(&tx, used);
    }
  }
  for (used = 0; used < CAPACITY; used++) {
    ck_assert_uint_eq(support_take(&rx), used);
  }
  for (used = 0; used <= CAPACITY; used++) { /* the same with places that a permit has */
    if (used > 0) {
      hold(&tx, used, &permit);
    }
    for (n = 0; n <= CAPACITY + 1; n++) {
      check_try(&rx, &tx, n, n <= CAPACITY - used ? 0 : UV_EAGAIN);
    }
    if (used > 0) {
      release(&permit);
    }
  }
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(try_reserve_does_not_pass_those_who_wait) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  waiter_t waiter;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  send_request(&loop, &waiter, &tx, CAPACITY);
  check_try(&rx, &tx, 0, 0);
  check_try(&rx, &tx, 1, UV_EAGAIN);
  ck_assert_uint_eq(support_take(&rx), 0); /* its room is the waiter's, which has not run yet */
  check_try(&rx, &tx, 0, 0);
  check_try(&rx, &tx, 1, UV_EAGAIN);
  request(&loop, &reserver, &tx, CAPACITY);
  check_try(&rx, &tx, 0, 0);
  check_try(&rx, &tx, 1, UV_EAGAIN);
  while (uvch_mpsc_sender_len(&tx) > 0) {
    support_take(&rx);
    check_try(&rx, &tx, 1, UV_EAGAIN);
  }
  check_try(&rx, &tx, 0, 0);
  support_loop_run(&loop);
  check_sent(&waiter, 0);
  check_granted(&reserver, CAPACITY);
  release(&reserver.permit);
  check_try(&rx, &tx, CAPACITY, 0);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(try_reserve_on_a_closed_channel_says_so_for_all_that_could_fit) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  int gone;

  for (gone = 0; gone < 2; gone++) {
    open_channel(NULL, &rx, &tx, CAPACITY);
    support_put(&tx, 1);
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
    if (gone) {
      support_close(&rx);
      ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), CAPACITY);
    }
    check_try(&rx, &tx, 0, UV_EPIPE);
    check_try(&rx, &tx, 1, UV_EPIPE);
    check_try(&rx, &tx, CAPACITY, UV_EPIPE);
    check_try(&rx, &tx, CAPACITY + 1, UV_EAGAIN); /* looked at first */
    check_try(&rx, &tx, SIZE_MAX, UV_EAGAIN);
    support_drop_sender(&tx);
    if (!gone) {
      support_close(&rx);
    }
  }
}
END_TEST

START_TEST(reserving_refuses_what_is_not_an_open_sender_of_a_bounded_channel) {
  uvch_mpsc_permit_t untouched;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  uv_loop_t loop;
  size_t n;

  memset(&permit, 0xa5, sizeof(permit));
  untouched = permit;
  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, UVCH_UNBOUNDED);
  for (n = 0; n < 2; n++) {
    ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, n, &permit), UV_EINVAL);
    ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, n, &permit), UV_EINVAL);
    ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, n, &permit, 0), UV_EINVAL);
    ck_assert_int_eq(try_request(&loop, &reserver, &tx, n), UV_EINVAL);
  }
  support_put(&tx, 7);
  ck_assert_uint_eq(support_take(&rx), 7);
  close_channel(&rx, &tx);

  open_channel(NULL, &rx, &tx, 4);
  ck_assert_int_eq(uvch_mpsc_try_reserve(NULL, 1, &permit), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_reserve_wait(NULL, 1, &permit), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, 1, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(NULL, 1, &permit, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 1, NULL, 1), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_reserve(NULL, &reserver.req, &tx, 1, &permit, on_reserved), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_reserve(&loop, NULL, &tx, 1, &permit, on_reserved), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_reserve(&loop, &reserver.req, NULL, 1, &permit, on_reserved), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_reserve(&loop, &reserver.req, &tx, 1, NULL, on_reserved), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_reserve(&loop, &reserver.req, &tx, 1, &permit, NULL), UV_EINVAL);
  check_counts(&rx, &tx, 0, 4, 0, 1);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 0, &permit), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 5, &permit), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, 1, &permit), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 1, &permit, 1), UV_EBADF);
  ck_assert_int_eq(try_request(&loop, &reserver, &tx, 1), UV_EBADF);
  ck_assert(memcmp(&permit, &untouched, sizeof(permit)) == 0);
  support_close(&rx);
  support_loop_end(&loop);
  ck_assert_uint_eq(reserver.calls, 0);
}
END_TEST

START_TEST(reserving_more_than_the_capacity_is_refused_as_it_would_wait_for_ever) {
  uvch_mpsc_permit_t permit = {NULL, 0};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  for (i = 0; i < 2; i++) {
    size_t n = i == 0 ? CAPACITY + 1 : SIZE_MAX;
    ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, n, &permit), UV_EPIPE);
    ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, n, &permit, 0), UV_EPIPE);
    ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, n, &permit, UINT64_MAX), UV_EPIPE);
    ck_assert_int_eq(try_request(&loop, &reserver, &tx, n), UV_EPIPE);
  }
  check_counts(&rx, &tx, 0, CAPACITY, 0, 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
  ck_assert_uint_eq(reserver.calls, 0);
}
END_TEST

START_TEST(reserving_nothing_succeeds_unless_the_channel_is_closed) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reservers[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  request(&loop, &reservers[0], &tx, 1); /* it waits */
  memset(&permit, 0xa5, sizeof(permit));
  ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, 0, &permit), 0);
  check_empty(&permit);
  memset(&permit, 0xa5, sizeof(permit));
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 0, &permit, 0), 0);
  check_empty(&permit);
  request(&loop, &reservers[1], &tx, 0);
  ck_assert_int_eq(cancel(&reservers[1]), UV_EBUSY);
  check_counts(&rx, &tx, CAPACITY, 0, 0, 2);
  uv_run(&loop, UV_RUN_NOWAIT);
  check_granted(&reservers[1], 0);
  check_empty(&reservers[1].permit);
  ck_assert_uint_eq(reservers[0].calls, 0);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, 0, &permit), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 0, &permit, 0), UV_EPIPE);
  ck_assert_int_eq(try_request(&loop, &reservers[1], &tx, 0), UV_EPIPE);
  support_loop_run(&loop);
  check_refused(&reservers[0], UV_EPIPE);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(what_permits_hold_is_not_free_and_counts_as_senders) {
  uvch_mpsc_permit_t permits[2];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 9;

  open_channel(NULL, &rx, &tx, 7);
  check_counts(&rx, &tx, 0, 7, 0, 1);
  hold(&tx, 3, &permits[0]);
  check_counts(&rx, &tx, 0, 4, 3, 4);
  hold(&tx, 2, &permits[1]);
  check_counts(&rx, &tx, 0, 2, 5, 6);
  support_put(&tx, 0);
  support_put(&tx, 1);
  check_counts(&rx, &tx, 2, 0, 5, 6);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
  permit_put(&permits[0], 2);
  check_counts(&rx, &tx, 3, 0, 4, 5);
  release(&permits[1]);
  check_counts(&rx, &tx, 3, 2, 2, 3);
  ck_assert_uint_eq(support_take(&rx), 0);
  check_counts(&rx, &tx, 2, 3, 2, 3);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&tx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&tx), 1);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  check_counts(&rx, &tx, 2, 3, 2, 3); /* also after closing */
  permit_put(&permits[0], 3);
  check_counts(&rx, &tx, 3, 3, 1, 2);
  support_close(&rx);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), 7);
  ck_assert_uint_eq(uvch_mpsc_sender_len(&tx), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&tx), 2);
  release(&permits[0]);
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&tx), 1);
  support_drop_sender(&tx);
}
END_TEST

/* Using permits. */

START_TEST(permit_functions_refuse_null_and_empty_permits) {
  uvch_mpsc_permit_t other = {NULL, 0};
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t got;
  uvch_mpsc_sender_t tx;
  uint64_t value = 1;

  open_channel(NULL, &rx, &tx, 4);
  hold(&tx, 2, &permit);
  ck_assert_int_eq(uvch_mpsc_permit_send(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_send(&permit, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_release(NULL), UV_EINVAL);
  ck_assert_uint_eq(uvch_mpsc_permit_count(NULL), 0);
  ck_assert_int_eq(uvch_mpsc_permit_split(NULL, 1, &other), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 1, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 1, &permit), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 0, &other), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 3, &other), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_split(&permit, SIZE_MAX, &other), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_get_sender(NULL, &got), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_get_sender(&permit, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel(NULL, &permit), 0);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel(&permit, NULL), 0);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel_as_sender(NULL, &tx), 0);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel_as_sender(&permit, NULL), 0);
  ck_assert_uint_eq(uvch_mpsc_permit_count(&other), 0);
  check_counts(&rx, &tx, 0, 2, 2, 3);
  release(&permit);
  check_empty(&permit);
  ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 1, &other), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_permit_get_sender(&permit, &got), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel(&permit, &permit), 0);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel_as_sender(&permit, &tx), 0);
  check_counts(&rx, &tx, 0, 4, 0, 1);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(permits_know_their_channel) {
  uvch_mpsc_permit_t permits[3];
  uvch_mpsc_receiver_t rx[2];
  uvch_mpsc_sender_t tx[2];

  open_channel(NULL, &rx[0], &tx[0], 3);
  open_channel(NULL, &rx[1], &tx[1], 3);
  hold(&tx[0], 1, &permits[0]);
  hold(&tx[0], 2, &permits[1]);
  hold(&tx[1], 1, &permits[2]);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel(&permits[0], &permits[0]), 1);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel(&permits[0], &permits[1]), 1);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel(&permits[0], &permits[2]), 0);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel_as_sender(&permits[1], &tx[0]), 1);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel_as_sender(&permits[1], &tx[1]), 0);
  support_drop_sender(&tx[0]);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel_as_sender(&permits[1], &tx[0]), 0);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel(&permits[0], &permits[1]), 1);
  release(&permits[0]);
  ck_assert_int_eq(uvch_mpsc_permit_same_channel(&permits[0], &permits[1]), 0);
  release(&permits[1]);
  release(&permits[2]);
  support_drop_sender(&tx[1]);
  support_close(&rx[0]);
  support_close(&rx[1]);
}
END_TEST

START_TEST(a_permit_sends_into_a_channel_that_looks_full) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 99;
  size_t round;
  size_t held;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  for (round = 0; round < 3 * CAPACITY; round++) { /* every place of the ring */
    held = 1 + round % CAPACITY;
    hold(&tx, held, &permit);
    for (i = 0; i + held < CAPACITY; i++) {
      support_put(&tx, i);
    }
    for (; i < CAPACITY; i++) {
      ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
      permit_put(&permit, i);
    }
    check_empty(&permit);
    ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
    for (i = 0; i < CAPACITY; i++) {
      ck_assert_uint_eq(support_take(&rx), i);
    }
    check_try_recv(&rx, UV_EAGAIN);
  }
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(whichever_permit_sends_first_is_received_first) {
  uvch_mpsc_permit_t early;
  uvch_mpsc_permit_t late;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, 7);
  hold(&tx, 2, &early);
  hold(&tx, 2, &late);
  permit_put(&late, 0);
  support_put(&tx, 1);
  check_try_recv(&rx, 0); /* nothing waits for the earlier permit */
  permit_put(&early, 2);
  permit_put(&late, 3);
  permit_put(&early, 4);
  ck_assert_uint_eq(support_take(&rx), 1);
  ck_assert_uint_eq(support_take(&rx), 2);
  ck_assert_uint_eq(support_take(&rx), 3);
  ck_assert_uint_eq(support_take(&rx), 4);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(permits_carry_messages_of_every_size) {
  static const size_t sizes[] = {0, 1, 3, 8, 24, 100, 4096};
  size_t size = sizes[_i];
  unsigned char in[4096];
  unsigned char out[4097];
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  int i;

  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, size, 5), 0);
  hold(&tx, 5, &permit);
  for (i = 1; i <= 5; i++) {
    memset(in, i, sizeof(in));
    ck_assert_int_eq(uvch_mpsc_permit_send(&permit, size == 0 ? NULL : in), 0);
  }
  for (i = 1; i <= 5; i++) {
    memset(in, i, sizeof(in));
    memset(out, 0, sizeof(out));
    ck_assert_int_eq(uvch_mpsc_try_recv(&rx, out), 0);
    ck_assert_int_eq(memcmp(out, in, size), 0);
    ck_assert_uint_eq(out[size], 0);
  }
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_split_permit_makes_two_that_live_by_themselves) {
  uvch_mpsc_permit_t parts[3];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, 7);
  hold(&tx, 6, &parts[0]);
  memset(&parts[1], 0xa5, sizeof(parts[1]));
  memset(&parts[2], 0xa5, sizeof(parts[2]));
  ck_assert_int_eq(uvch_mpsc_permit_split(&parts[0], 2, &parts[1]), 0);
  ck_assert_uint_eq(uvch_mpsc_permit_count(&parts[0]), 4);
  ck_assert_uint_eq(uvch_mpsc_permit_count(&parts[1]), 2);
  check_counts(&rx, &tx, 0, 1, 6, 7);
  ck_assert_int_eq(uvch_mpsc_permit_split(&parts[0], 4, &parts[2]), 0); /* all of it: it moves */
  check_empty(&parts[0]);
  ck_assert_uint_eq(uvch_mpsc_permit_count(&parts[2]), 4);
  check_counts(&rx, &tx, 0, 1, 6, 7);
  release(&parts[1]);
  check_counts(&rx, &tx, 0, 3, 4, 5);
  permit_put(&parts[2], 5);
  ck_assert_int_eq(uvch_mpsc_permit_split(&parts[2], 1, &parts[1]), 0);
  permit_put(&parts[1], 6);
  check_empty(&parts[1]);
  release(&parts[2]);
  check_counts(&rx, &tx, 2, 5, 0, 1);
  ck_assert_uint_eq(support_take(&rx), 5);
  ck_assert_uint_eq(support_take(&rx), 6);
  close_channel(&rx, &tx);
}
END_TEST

START_TEST(a_permit_sends_to_a_receiver_that_waits_on_its_loop) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  hold(&tx, CAPACITY, &permit);
  for (i = 0; i < CAPACITY; i++) {
    uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(sink.count, i);
    permit_put(&permit, i);
    uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(sink.count, i + 1);
  }
  support_drop_sender(&tx);
  support_loop_end(&loop);
  support_sink_check(&sink, CAPACITY, 1);
}
END_TEST

/* The end. */

START_TEST(a_permit_sends_after_shutdown_and_the_end_waits_for_it) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  hold(&tx, CAPACITY, &permit);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE);
  for (i = 0; i < CAPACITY; i++) {
    check_try_recv(&rx, UV_EAGAIN); /* not the end */
    ck_assert_int_eq(uvch_mpsc_recv_timedwait(&rx, &value, 1), UV_ETIMEDOUT);
    permit_put(&permit, i);
    ck_assert_uint_eq(support_take(&rx), i);
  }
  check_try_recv(&rx, UV_EOF);
  check_try_recv(&rx, UV_EOF);
  close_channel(&rx, &tx);
}
END_TEST

/* Ways for the last place to go, the request's or the permit's. */
enum { SENT, RELEASED, SPLIT, PARTLY_USED, CANCELLED, GRANTED, WAYS };

/* Makes the last place go. */
static void give_up(uv_loop_t* loop, int way, uvch_mpsc_permit_t* permit, reserver_t* reserver) {
  uvch_mpsc_permit_t part;

  switch (way) {
  case SENT:
    permit_put(permit, 0);
    permit_put(permit, 1);
    break;
  case RELEASED:
    release(permit);
    break;
  case SPLIT:
    ck_assert_int_eq(uvch_mpsc_permit_split(permit, 1, &part), 0);
    release(permit);
    uv_run(loop, UV_RUN_NOWAIT);
    release(&part);
    break;
  case PARTLY_USED:
    permit_put(permit, 0);
    uv_run(loop, UV_RUN_NOWAIT);
    release(permit);
    break;
  case CANCELLED:
    release(permit);
    if (reserver->calls == 0) {
      ck_assert_int_eq(cancel(reserver), UV_EBUSY); /* it was granted, or refused */
    }
    uv_run(loop, UV_RUN_NOWAIT);
    break;
  default:
    uv_run(loop, UV_RUN_NOWAIT);
  }
}

static size_t messages_of(int way) {
  return way == SENT ? 2 : way == PARTLY_USED ? 1 : 0;
}

/* _i: the way, whether the channel ends by shutdown or by the last sender, and whether the receiver is parked by then. */
START_TEST(the_end_comes_once_whichever_way_the_last_place_goes) {
  int by_shutdown = _i / WAYS % 2;
  int is_parked = _i / WAYS / 2;
  int way = _i % WAYS;
  uvch_mpsc_permit_t permit = {NULL, 0};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, 2);
  support_sink_start(&sink, &rx);
  if (is_parked) {
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  if (way == GRANTED) {
    request(&loop, &reserver, &tx, 2);
  } else {
    hold(&tx, 2, &permit);
    if (way == CANCELLED) {
      request(&loop, &reserver, &tx, 1);
    }
  }
  if (by_shutdown) {
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  } else {
    support_drop_sender(&tx);
  }
  if (way == CANCELLED && !by_shutdown && is_parked) {
    ck_assert_int_eq(cancel(&reserver), 0);
  }
  if (way != GRANTED) {
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(sink.ends, 0);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &rx), 1);
  }
  give_up(&loop, way, &permit, &reserver);
  if (way >= CANCELLED) {
    ck_assert_uint_eq(reserver.calls, 1);
    if (reserver.status == 0) {
      ck_assert_uint_eq(sink.ends, 0);
      release(&reserver.permit);
    } else {
      check_refused(&reserver, by_shutdown ? UV_EPIPE : UV_ECANCELED);
    }
  }
  support_loop_end(&loop);
  support_sink_check(&sink, messages_of(way), 1);
  if (by_shutdown) {
    support_drop_sender(&tx);
  }
}
END_TEST

START_TEST(a_blocked_receiver_wakes_when_the_last_place_goes) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  support_runner_t runner;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, 3);
  hold(&tx, 2, &permit);
  support_sink_start(&sink, &rx);
  if (_i % 2 == 0) {
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  } else {
    support_drop_sender(&tx);
  }
  support_runner_start(&runner, &loop); /* it would sleep for ever */
  permit_put(&permit, 0);
  if (_i / 2 == 0) {
    release(&permit);
  } else {
    permit_put(&permit, 1);
  }
  support_runner_join(&runner);
  support_sink_check(&sink, _i / 2 == 0 ? 1 : 2, 1);
  if (_i % 2 == 0) {
    support_drop_sender(&tx);
  }
  support_loop_close(&loop);
}
END_TEST

static void count_drop(void* item, void* arg) {
  size_t* dropped = arg;

  (void) item;
  *dropped += 1;
}

/* _i: what becomes of the permit, and whether the last sender goes before it. */
START_TEST(a_receiver_may_close_under_permits) {
  uvch_mpsc_options_t options;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  size_t dropped = 0;
  uint64_t value = 5;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&options, 0, sizeof(options));
  options.drop = count_drop;
  options.arg = &dropped;
  ck_assert_int_eq(uvch_mpsc_init_ex(&loop, &rx, &tx, sizeof(uint64_t), 3, &options), 0);
  hold(&tx, 3, &permit);
  request(&loop, &reserver, &tx, 2);
  permit_put(&permit, 0);
  if (_i % 4 == 3) {
    permit_put(&permit, 1);
  }
  if (_i / 4 == 1) {
    support_drop_sender(&tx);
  }
  support_close(&rx);
  ck_assert_uint_eq(dropped, _i % 4 == 3 ? 2 : 1);
  if (_i / 4 == 0) {
    ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), 3);
  }
  switch (_i % 4) {
  case 0:
    ck_assert_int_eq(uvch_mpsc_permit_send(&permit, &value), UV_EPIPE); /* the message is ours, the place is used up */
    ck_assert_uint_eq(uvch_mpsc_permit_count(&permit), 1);
    ck_assert_int_eq(uvch_mpsc_permit_send(&permit, &value), UV_EPIPE);
    break;
  case 1:
    release(&permit);
    break;
  case 2:
    ck_assert_int_eq(cancel(&reserver), UV_EBUSY); /* it is refused already */
    ck_assert_int_eq(uvch_mpsc_permit_send(&permit, &value), UV_EPIPE);
    release(&permit);
    break;
  default:
    ck_assert_int_eq(uvch_mpsc_permit_send(&permit, &value), UV_EPIPE);
  }
  check_empty(&permit);
  if (_i / 4 == 0) {
    ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&tx), 1);
    support_drop_sender(&tx);
  }
  support_loop_end(&loop);
  check_refused(&reserver, UV_EPIPE);
  ck_assert_uint_eq(dropped, _i % 4 == 3 ? 2 : 1); /* nothing more */
}
END_TEST

START_TEST(a_request_that_was_cancelled_leaves_nothing_when_the_receiver_closes) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  hold(&tx, CAPACITY, &permit);
  request(&loop, &reserver, &tx, 1);
  ck_assert_int_eq(cancel(&reserver), 0);
  ck_assert_int_eq(cancel(&reserver), UV_EBUSY);
  support_close(&rx);
  support_drop_sender(&tx);
  release(&permit); /* the last one */
  support_loop_end(&loop);
  check_refused(&reserver, UV_ECANCELED);
}
END_TEST

START_TEST(a_permit_granted_before_the_close_still_comes_and_can_be_given_up) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  uint64_t value = 1;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  request(&loop, &reserver, &tx, CAPACITY);
  ck_assert_int_eq(cancel(&reserver), UV_EBUSY);
  support_drop_sender(&tx);
  support_close(&rx);
  support_loop_run(&loop);
  check_granted(&reserver, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_permit_send(&reserver.permit, &value), UV_EPIPE);
  ck_assert_uint_eq(uvch_mpsc_permit_count(&reserver.permit), CAPACITY - 1);
  if (CAPACITY > 1) {
    release(&reserver.permit);
  }
  check_empty(&reserver.permit);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_permit_keeps_the_channel_open_after_the_last_sender) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  hold(&tx, CAPACITY, &permit);
  support_drop_sender(&tx);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
    ck_assert_uint_eq(uvch_mpsc_receiver_strong_count(&rx), CAPACITY - i);
    check_try_recv(&rx, UV_EAGAIN);
    if (i + 1 == CAPACITY && _i % 2 == 0) {
      release(&permit);
      break;
    }
    permit_put(&permit, i);
    ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), i + 1 == CAPACITY);
    ck_assert_uint_eq(support_take(&rx), i);
  }
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  ck_assert_uint_eq(uvch_mpsc_receiver_strong_count(&rx), 0);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
}
END_TEST

START_TEST(a_sender_can_be_made_from_a_permit_that_alone_keeps_the_channel_open) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t got;
  size_t round;

  open_channel(NULL, &rx, &tx, 2);
  hold(&tx, 1, &permit);
  ck_assert_int_eq(uvch_mpsc_permit_get_sender(&permit, &got), 0); /* beside another one */
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&tx, &got), 1);
  ck_assert_uint_eq(uvch_mpsc_receiver_strong_count(&rx), 3);
  support_drop_sender(&got);
  support_drop_sender(&tx);
  for (round = 0; round < 5; round++) {
    ck_assert_int_eq(uvch_mpsc_permit_get_sender(&permit, &got), 0);
    ck_assert_int_eq(uvch_mpsc_permit_same_channel_as_sender(&permit, &got), 1);
    ck_assert_uint_eq(uvch_mpsc_receiver_strong_count(&rx), 2);
    support_put(&got, round);
    ck_assert_uint_eq(support_take(&rx), round);
    if (round % 2 == 0) { /* the sender takes over, and reserves anew */
      release(&permit);
      ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
      check_try_recv(&rx, UV_EAGAIN);
      hold(&got, 1, &permit);
    }
    support_drop_sender(&got);
    ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
    check_try_recv(&rx, UV_EAGAIN);
  }
  permit_put(&permit, 7);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  ck_assert_uint_eq(support_take(&rx), 7);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
}
END_TEST

START_TEST(a_weak_sender_can_be_upgraded_while_only_a_permit_is_out) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, 2);
  ck_assert_int_eq(uvch_mpsc_sender_downgrade(&tx, &weak), 0);
  hold(&tx, 2, &permit);
  support_drop_sender(&tx);
  ck_assert_uint_eq(uvch_mpsc_weak_sender_strong_count(&weak), 2);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &tx), 0);
  ck_assert_uint_eq(uvch_mpsc_weak_sender_strong_count(&weak), 3);
  permit_put(&permit, 0);
  if (_i % 2 == 0) {
    support_close(&rx); /* upgrading goes on */
  }
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &tx), 0);
  support_drop_sender(&tx);
  release(&permit);
  ck_assert_uint_eq(uvch_mpsc_weak_sender_strong_count(&weak), 0);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &tx), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &tx), UV_EPIPE);
  if (_i % 2 == 1) {
    ck_assert_uint_eq(support_take(&rx), 0);
    check_try_recv(&rx, UV_EOF);
    support_close(&rx);
  }
  ck_assert_int_eq(uvch_mpsc_weak_sender_close(&weak), 0);
}
END_TEST

START_TEST(a_try_that_failed_holds_nothing_open) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uvch_mpsc_sender_downgrade(&tx, &weak), 0);
  fill(&tx);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), UV_EAGAIN);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 1, &permit, 1000), UV_ETIMEDOUT);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &tx), UV_EPIPE);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
  ck_assert_int_eq(uvch_mpsc_weak_sender_close(&weak), 0);
}
END_TEST

/* Waiting. */

START_TEST(a_reservation_with_room_holds_its_places_at_once_and_calls_back_from_the_loop) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  request(&loop, &reserver, &tx, CAPACITY);
  check_counts(&rx, &tx, 0, 0, CAPACITY, 1 + CAPACITY);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  support_loop_run(&loop);
  check_granted(&reserver, CAPACITY);
  check_counts(&rx, &tx, 0, 0, CAPACITY, 1 + CAPACITY);
  permit_put(&reserver.permit, 3);
  ck_assert_uint_eq(support_take(&rx), 3);
  if (CAPACITY > 1) {
    release(&reserver.permit);
  }
  check_counts(&rx, &tx, 0, CAPACITY, 0, 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_reservation_waits_until_all_its_places_are_free) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  request(&loop, &reserver, &tx, CAPACITY);
  for (i = 0; i < CAPACITY; i++) {
    check_waits(&loop, &reserver);
    check_counts(&rx, &tx, CAPACITY - i, 0, 0, 2); /* the request is a sender; what is free is held for it */
    ck_assert_uint_eq(support_take(&rx), i);
  }
  check_counts(&rx, &tx, 0, 0, CAPACITY, 1 + CAPACITY);
  support_loop_run(&loop);
  check_granted(&reserver, CAPACITY);
  release(&reserver.permit);
  check_counts(&rx, &tx, 0, CAPACITY, 0, 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_waiting_reservation_counts_as_a_sender) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 2);
  hold(&tx, 1, &permit);
  request(&loop, &reserver, &tx, 2);
  support_drop_sender(&tx);
  permit_put(&permit, 0); /* the request alone keeps it open */
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_strong_count(&rx), 1);
  if (_i % 2 == 0) {
    ck_assert_uint_eq(support_take(&rx), 0);
    ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
    support_loop_run(&loop);
    check_granted(&reserver, 2);
    permit_put(&reserver.permit, 1);
    ck_assert_uint_eq(support_take(&rx), 1);
    check_try_recv(&rx, UV_EAGAIN);
    release(&reserver.permit);
  } else {
    ck_assert_int_eq(cancel(&reserver), 0);
    support_loop_run(&loop);
    check_refused(&reserver, UV_ECANCELED);
    ck_assert_uint_eq(support_take(&rx), 0);
  }
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_release_hands_its_places_to_those_who_wait_in_order) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_permit_t part;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reservers[2];
  waiter_t waiters[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 4);
  hold(&tx, 4, &permit);
  send_request(&loop, &waiters[0], &tx, 0);
  request(&loop, &reservers[0], &tx, 2);
  send_request(&loop, &waiters[1], &tx, 1);
  request(&loop, &reservers[1], &tx, 1);
  check_counts(&rx, &tx, 0, 0, 4, 9);
  if (_i == 0) { /* one by one */
    ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 1, &part), 0);
    release(&part);
    check_counts(&rx, &tx, 1, 0, 3, 7); /* the first send is in */
    ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 1, &part), 0);
    release(&part);
    check_counts(&rx, &tx, 1, 0, 2, 6); /* one place free, the reservation needs two */
    ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 1, &part), 0);
    release(&part);
    check_counts(&rx, &tx, 1, 0, 3, 6); /* it has them */
  }
  release(&permit);
  check_counts(&rx, &tx, 2, 0, 2, 4); /* both sends and the first reservation */
  check_waits(&loop, &reservers[1]);
  check_granted(&reservers[0], 2);
  check_sent(&waiters[0], 0);
  check_sent(&waiters[1], 0);
  ck_assert_uint_eq(waiters[0].turn, 1);
  ck_assert_uint_eq(reservers[0].turn, 2);
  ck_assert_uint_eq(waiters[1].turn, 3);
  release(&reservers[0].permit);
  check_counts(&rx, &tx, 2, 1, 1, 2);
  support_loop_run(&loop);
  check_granted(&reservers[1], 1);
  permit_put(&reservers[1].permit, 2);
  ck_assert_uint_eq(support_take(&rx), 0);
  ck_assert_uint_eq(support_take(&rx), 1);
  ck_assert_uint_eq(support_take(&rx), 2);
  check_counts(&rx, &tx, 0, 4, 0, 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

static void check_nobody_passes(const uvch_mpsc_sender_t* tx) {
  uvch_mpsc_permit_t permit;
  uint64_t value = 99;

  ck_assert_uint_eq(uvch_mpsc_sender_capacity(tx), 0);
  ck_assert_int_eq(uvch_mpsc_try_send(tx, &value), UV_EAGAIN);
  ck_assert_int_eq(uvch_mpsc_try_reserve(tx, 1, &permit), UV_EAGAIN);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(tx, &value, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(tx, 1, &permit, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(tx, 1, &permit, 1), UV_ETIMEDOUT);
}

START_TEST(nobody_passes_a_reservation_that_needs_more_than_is_free) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reservers[2];
  waiter_t waiter;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 8);
  for (i = 0; i < 5; i++) {
    support_put(&tx, i);
  }
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&tx), 3);
  request(&loop, &reservers[0], &tx, 5);
  check_nobody_passes(&tx);
  send_request(&loop, &waiter, &tx, 5);
  request(&loop, &reservers[1], &tx, 1);
  check_waits(&loop, &reservers[0]);
  check_waits(&loop, &reservers[1]);
  ck_assert_uint_eq(support_take(&rx), 0);
  check_nobody_passes(&tx);
  check_waits(&loop, &reservers[0]);
  ck_assert_uint_eq(waiter.calls, 0);
  ck_assert_uint_eq(support_take(&rx), 1); /* the fifth place */
  check_counts(&rx, &tx, 3, 0, 5, 8);
  check_waits(&loop, &reservers[1]);
  check_granted(&reservers[0], 5);
  ck_assert_uint_eq(waiter.calls, 0);
  check_nobody_passes(&tx);
  release(&reservers[0].permit);
  support_loop_run(&loop);
  check_sent(&waiter, 0);
  check_granted(&reservers[1], 1);
  check_counts(&rx, &tx, 4, 3, 1, 2);
  release(&reservers[1].permit);
  for (i = 2; i < 6; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(when_the_first_is_cancelled_those_behind_it_go_on_at_once) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reservers[3];
  waiter_t waiter;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 8);
  for (i = 0; i < 5; i++) {
    support_put(&tx, i);
  }
  request(&loop, &reservers[0], &tx, 5);
  send_request(&loop, &waiter, &tx, 5);
  request(&loop, &reservers[1], &tx, 2);
  request(&loop, &reservers[2], &tx, 1);
  check_counts(&rx, &tx, 5, 0, 0, 5);
  ck_assert_int_eq(cancel(&reservers[0]), 0);
  check_counts(&rx, &tx, 6, 0, 2, 4); /* before any callback */
  check_waits(&loop, &reservers[2]);
  check_refused(&reservers[0], UV_ECANCELED);
  check_sent(&waiter, 0);
  check_granted(&reservers[1], 2);
  ck_assert_int_eq(cancel(&reservers[2]), 0); /* the last one: nobody waits */
  support_loop_run(&loop);
  check_refused(&reservers[2], UV_ECANCELED);
  check_nobody_passes(&tx); /* full, that is */
  release(&reservers[1].permit);
  check_counts(&rx, &tx, 6, 2, 0, 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(when_the_first_times_out_those_behind_it_go_on_at_once) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  blocked_t blocked;
  waiter_t waiter;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 8);
  for (i = 0; i < 5; i++) {
    support_put(&tx, i);
  }
  blocked_begin(&blocked, &tx, 5, 0, 100000000);
  support_until(uvch_mpsc_sender_capacity(&tx) == 0); /* it waits */
  send_request(&loop, &waiter, &tx, 5);
  request(&loop, &reserver, &tx, 2);
  blocked_join(&blocked, UV_ETIMEDOUT);
  check_counts(&rx, &tx, 6, 0, 2, 3);
  support_loop_run(&loop);
  check_sent(&waiter, 0);
  check_granted(&reserver, 2);
  release(&reserver.permit);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(threads_and_requests_that_send_or_reserve_wait_in_one_line) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reservers[2];
  blocked_t senders[2];
  blocked_t holders[2];
  waiter_t waiters[2];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 2);
  fill(&tx);
  for (i = 0; i < 2; i++) {
    send_request(&loop, &waiters[i], &tx, 2 + 4 * i);
    blocked_start(&senders[i], &tx, 0, 3 + 4 * i);
    request(&loop, &reservers[i], &tx, 1);
    blocked_start(&holders[i], &tx, 1, 0);
  }
  for (i = 0; i < 2; i++) {
    ck_assert_uint_eq(support_take(&rx), 4 * i);
    ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 2); /* its room has the next one's message */
    ck_assert_uint_eq(support_take(&rx), 4 * i + 1);
    blocked_join(&senders[i], 0);
    check_nobody_passes(&tx);
    ck_assert_uint_eq(support_take(&rx), 4 * i + 2);
    uv_run(&loop, UV_RUN_NOWAIT);
    check_sent(&waiters[i], 0);
    check_granted(&reservers[i], 1);
    ck_assert_uint_eq(support_take(&rx), 4 * i + 3);
    blocked_join(&holders[i], 0);
    check_try_recv(&rx, UV_EAGAIN);
    ck_assert_uint_eq(uvch_mpsc_receiver_capacity(&rx), 0);
    permit_put(&holders[i].permit, 4 * i + 4); /* in the order of sending */
    permit_put(&reservers[i].permit, 4 * i + 5);
    if (i == 0) {
      ck_assert_uint_eq(waiters[1].calls, 0);
    }
  }
  /* the second round began with the places of the first one's messages: all of the line has been served */
  ck_assert_uint_eq(support_take(&rx), 8);
  ck_assert_uint_eq(support_take(&rx), 9);
  support_loop_run(&loop);
  check_counts(&rx, &tx, 0, 2, 0, 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(of_a_hundred_who_wait_the_one_that_is_not_cancelled_gets_its_permit) {
  enum { WAITERS = 100 };
  reserver_t* reservers = calloc(WAITERS, sizeof(*reservers));
  uint64_t random = 12345 + (uint64_t) _i;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t order[WAITERS];
  uv_loop_t loop;
  size_t i;
  size_t k;

  ck_assert_ptr_nonnull(reservers);
  support_loop_init(&loop);
  ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_BUDGET_TIME, UINT64_C(1000000000000)), 0); /* one pass brings all */
  open_channel(NULL, &rx, &tx, CAPACITY);
  hold(&tx, CAPACITY, &permit);
  for (i = 0; i < WAITERS; i++) {
    request(&loop, &reservers[i], &tx, 1 + i % CAPACITY);
    order[i] = i;
  }
  for (i = WAITERS - 1; i > 0; i--) {
    size_t swapped = order[i];
    random = random * 6364136223846793005u + 1442695040888963407u;
    k = (random >> 33) % (i + 1);
    order[i] = order[k];
    order[k] = swapped;
  }
  for (i = 1; i < WAITERS; i++) {
    ck_assert_int_eq(cancel(&reservers[order[i]]), 0);
    if (i % 10 == 0) {
      uv_run(&loop, UV_RUN_NOWAIT);
      check_refused(&reservers[order[i]], UV_ECANCELED);
    }
  }
  check_counts(&rx, &tx, 0, 0, CAPACITY, 2 + CAPACITY);
  check_waits(&loop, &reservers[order[0]]);
  release(&permit);
  support_loop_run(&loop);
  for (i = 1; i < WAITERS; i++) {
    check_refused(&reservers[order[i]], UV_ECANCELED);
  }
  check_granted(&reservers[order[0]], 1 + order[0] % CAPACITY);
  release(&reservers[order[0]].permit);
  check_counts(&rx, &tx, 0, CAPACITY, 0, 1);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
  free(reservers);
}
END_TEST

START_TEST(shutdown_refuses_those_who_wait_to_reserve_in_order) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reservers[5];
  blocked_t blocked;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  hold(&tx, CAPACITY, &permit);
  for (i = 0; i < COUNT(reservers); i++) {
    request(&loop, &reservers[i], &tx, 1);
  }
  blocked_start(&blocked, &tx, CAPACITY, 0);
  if (_i % 2 == 0) {
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  } else {
    support_close(&rx);
  }
  blocked_join(&blocked, UV_EPIPE);
  support_loop_run(&loop);
  for (i = 0; i < COUNT(reservers); i++) {
    check_refused(&reservers[i], UV_EPIPE);
    ck_assert_uint_eq(reservers[i].turn, i + 1);
  }
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&tx), 1 + CAPACITY);
  if (_i % 2 == 0) {
    permit_put(&permit, 0);
    ck_assert_uint_eq(support_take(&rx), 0);
    check_try_recv(&rx, CAPACITY == 1 ? UV_EOF : UV_EAGAIN);
  }
  if (uvch_mpsc_permit_count(&permit) > 0) {
    release(&permit);
  }
  if (_i % 2 == 0) {
    check_try_recv(&rx, UV_EOF);
    support_close(&rx);
  }
  support_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_timed_reservation_waits_at_least_its_time_and_holds_nothing) {
  uint64_t times[] = {0, 1, 1000, 3000000};
  uvch_mpsc_permit_t untouched;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t before;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  fill(&tx);
  memset(&permit, 0xa5, sizeof(permit));
  untouched = permit;
  for (i = 0; i < COUNT(times); i++) {
    before = uv_hrtime();
    ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, CAPACITY, &permit, times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - before, times[i]);
    ck_assert(memcmp(&permit, &untouched, sizeof(permit)) == 0);
    check_counts(&rx, &tx, CAPACITY, 0, 0, 1);
  }
  while (uvch_mpsc_receiver_len(&rx) > 0) {
    support_take(&rx);
  }
  check_counts(&rx, &tx, 0, CAPACITY, 0, 1);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, CAPACITY, &permit, 0), 0); /* tried before the clock is looked at */
  check_counts(&rx, &tx, 0, 0, CAPACITY, 1 + CAPACITY);
  release(&permit);
  ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, CAPACITY, &permit), 0);
  release(&permit);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 1, &permit, UINT64_MAX - 1), 0);
  release(&permit);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 1, &permit, 0), UV_EPIPE); /* closed before the time */
  close_channel(&rx, &tx);
}
END_TEST

typedef struct inside_s {
  uvch_mpsc_sender_t tx;
  size_t calls;
} inside_t;

static void inside_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  uvch_mpsc_permit_t permit = {NULL, 0};
  inside_t* inside = rx->data;

  (void) item;
  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  inside->calls += 1;
  ck_assert_int_eq(uvch_mpsc_reserve_wait(&inside->tx, 1, &permit), UV_EPERM); /* full or not, it is the same */
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&inside->tx, 1, &permit, 0), UV_EPERM);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&inside->tx, 1, &permit, 1000000), UV_EPERM);
  ck_assert_uint_eq(uvch_mpsc_permit_count(&permit), 0);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&inside->tx, 1, &permit), 0); /* this never waits */
  if (inside->calls < 4) {
    permit_put(&permit, inside->calls);
  } else {
    release(&permit);
    support_drop_sender(&inside->tx);
  }
}

START_TEST(a_blocking_reservation_on_the_own_loop_is_refused) {
  inside_t inside = {.calls = 0};
  uvch_mpsc_receiver_t rx;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &inside.tx, CAPACITY);
  rx.data = &inside;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, inside_on_recv), 0);
  support_put(&inside.tx, 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(inside.calls, 4);
}
END_TEST

/* A request that is used again and again, with a permit that sends all it has in the callback. */
typedef struct stream_s {
  uvch_mpsc_reserve_t req;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_sender_t tx;
  size_t capacity;
  uint64_t next;
  uint64_t last;
} stream_t;

static void stream_on_reserved(uvch_mpsc_reserve_t* req, int status) {
  stream_t* stream = req->data;

  support_check_eq(status, 0);
  while (uvch_mpsc_permit_count(&stream->permit) > 0) {
    if (stream->next == stream->last) {
      release(&stream->permit);
      support_drop_sender(&stream->tx);
      return;
    }
    permit_put(&stream->permit, stream->next++);
  }
  support_check_eq(uvch_mpsc_reserve(req->loop, req, &stream->tx, 1 + stream->next % stream->capacity, &stream->permit,
                                     stream_on_reserved),
                   0);
}

START_TEST(a_reservation_can_be_used_again_in_its_callback) {
  stream_t stream = {.last = support_scale(20000), .capacity = CAPACITY};
  uvch_mpsc_receiver_t rx;
  support_sink_t sink;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &stream.tx, CAPACITY);
  support_sink_start(&sink, &rx);
  stream.req.data = &stream;
  ck_assert_int_eq(uvch_mpsc_reserve(&loop, &stream.req, &stream.tx, 1, &stream.permit, stream_on_reserved), 0);
  support_loop_end(&loop);
  support_sink_check(&sink, stream.last, 1);
}
END_TEST

/* Loops that are closed by force. */

static void close_by_force(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

/* What the library had to keep for the old loop goes with a later one at the same address. */
static void use_again(uv_loop_t* loop) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;

  support_loop_init(loop);
  open_channel(loop, &rx, &tx, 1);
  support_sink_start(&sink, &rx);
  support_put(&tx, 0);
  support_drop_sender(&tx);
  support_loop_end(loop);
  support_sink_check(&sink, 1, 1);
}

START_TEST(a_loop_closed_by_force_under_a_granted_reservation_gives_the_places_back) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reservers[3];
  reserver_t behind;
  uv_loop_t other;
  uv_loop_t loop;

  support_loop_init(&loop);
  support_loop_init(&other);
  open_channel(NULL, &rx, &tx, 4);
  request(&loop, &reservers[0], &tx, 2); /* granted at once */
  hold(&tx, 2, &permit);
  request(&loop, &reservers[1], &tx, 2); /* waits, and will be granted to a loop that is gone */
  request(&loop, &reservers[2], &tx, 1);
  request(&other, &behind, &tx, 2);
  uv_walk(&loop, close_by_force, NULL);
  support_loop_end(&loop);
  check_waits(&other, &behind);
  release(&permit);
  support_loop_end(&other);
  check_granted(&behind, 2);
  check_counts(&rx, &tx, 0, 0, 4, 5);
  use_again(&loop);
  check_counts(&rx, &tx, 0, 2, 2, 3);
  release(&behind.permit);
  check_counts(&rx, &tx, 0, 4, 0, 1);
  ck_assert_uint_eq(reservers[0].calls + reservers[1].calls + reservers[2].calls, 0);
  if (_i % 2 == 0) {
    support_drop_sender(&tx);
    check_try_recv(&rx, UV_EOF);
    support_close(&rx);
  } else {
    close_channel(&rx, &tx);
  }
}
END_TEST

START_TEST(a_granted_reservation_of_such_a_loop_does_not_keep_the_channel_open) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  request(&loop, &reserver, &tx, CAPACITY);
  support_drop_sender(&tx);
  if (_i % 2 == 0) {
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
  }
  uv_walk(&loop, close_by_force, NULL);
  support_loop_end(&loop);
  use_again(&loop);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
  ck_assert_uint_eq(reserver.calls, 0);
}
END_TEST

START_TEST(a_long_line_of_reservations_of_such_a_loop_comes_to_its_end) {
  size_t n = support_scale(100000);
  reserver_t* reservers = calloc(n, sizeof(*reservers));
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  size_t i;

  ck_assert_ptr_nonnull(reservers);
  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 1);
  hold(&tx, 1, &permit);
  for (i = 0; i < n; i++) {
    request(&loop, &reservers[i], &tx, 1);
  }
  uv_walk(&loop, close_by_force, NULL);
  support_loop_end(&loop);
  release(&permit); /* to each of them in turn, and back */
  check_counts(&rx, &tx, 0, 1, 0, 1);
  use_again(&loop);
  close_channel(&rx, &tx);
  free(reservers);
}
END_TEST

/* Memory. */

START_TEST(a_reservation_without_memory_claims_nothing) {
  uvch_mpsc_permit_t untouched;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  uint64_t value = 1;
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(&permit, 0xa5, sizeof(permit));
  untouched = permit;
  open_channel(NULL, &rx, &tx, CAPACITY);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), UV_ENOMEM); /* the storage */
  ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, 1, &permit), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 1, &permit, 1000), UV_ENOMEM);
  ck_assert_int_eq(try_request(&loop, &reserver, &tx, 1), UV_ENOMEM);
  check_counts(&rx, &tx, 0, CAPACITY, 0, 1);
  support_alloc_fail_from(2); /* the port, then the storage */
  ck_assert_int_eq(try_request(&loop, &reserver, &tx, 1), UV_ENOMEM);
  check_counts(&rx, &tx, 0, CAPACITY, 0, 1);
  support_alloc_fail_from(0);
  fill(&tx);
  support_alloc_fail_from(1); /* the line */
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), UV_EAGAIN);
  ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, 1, &permit), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 1, &permit, 1000), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_reserve_timedwait(&tx, 1, &permit, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(try_request(&loop, &reserver, &tx, 1), UV_ENOMEM);
  check_counts(&rx, &tx, CAPACITY, 0, 0, 1);
  ck_assert_uint_eq(support_take(&rx), 0);
  support_put(&tx, 0); /* nobody waits */
  support_alloc_fail_from(2); /* the line, then what a thread sleeps on */
  ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, 1, &permit), UV_ENOMEM);
  support_alloc_fail_from(0);
  check_counts(&rx, &tx, CAPACITY, 0, 0, 1);
  ck_assert(memcmp(&permit, &untouched, sizeof(permit)) == 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(reserver.calls, 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EAGAIN);
  support_drop_sender(&tx); /* the attempts hold nothing open */
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  support_close(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(permits_and_handing_over_take_no_memory_once_the_storage_is_there) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_permit_t part;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t got;
  uvch_mpsc_sender_t tx;
  reserver_t reserver;
  waiter_t waiter;
  uv_loop_t loop;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  for (round = 0; round < 20; round++) {
    hold(&tx, CAPACITY, &permit);
    send_request(&loop, &waiter, &tx, 0); /* the first round makes the line */
    request(&loop, &reserver, &tx, CAPACITY);
    ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 1, &part), 0);
    ck_assert_int_eq(uvch_mpsc_permit_get_sender(&part, &got), 0);
    support_drop_sender(&got);
    release(&part);
    ck_assert_uint_eq(uvch_mpsc_receiver_len(&rx), 1);
    for (i = 1; i < CAPACITY; i++) {
      permit_put(&permit, i);
    }
    for (i = 0; i < CAPACITY; i++) {
      ck_assert_uint_eq(support_take(&rx), i);
    }
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    check_sent(&waiter, 0);
    check_granted(&reserver, CAPACITY);
    release(&reserver.permit);
    if (round == 0) {
      support_alloc_mark();
    }
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  close_channel(&rx, &tx);
  support_loop_end(&loop);
}
END_TEST

/* Threads. */

/* Gets a permit in a message, and sends with it what it has places for. */
typedef struct worker_s {
  uvch_mpsc_receiver_t work;
  uv_thread_t thread;
  support_result_t result;
  uint64_t number;
} worker_t;

static void work(void* arg) {
  worker_t* worker = arg;
  uvch_mpsc_permit_t permit;
  uint64_t next = 0;
  uint64_t value;
  int r;

  while ((r = uvch_mpsc_recv_wait(&worker->work, &permit)) == 0) {
    size_t n = uvch_mpsc_permit_count(&permit);
    support_expect(&worker->result, n > 0);
    for (; n > (next % 3 == 0 ? 1u : 0u); n--) {
      value = worker->number << 32 | next++;
      support_expect_eq(&worker->result, uvch_mpsc_permit_send(&permit, &value), 0);
    }
    if (n > 0) {
      support_expect_eq(&worker->result, uvch_mpsc_permit_release(&permit), 0);
    }
    support_expect_eq(&worker->result, uvch_mpsc_permit_release(&permit), UV_EBADF);
  }
  support_expect_eq(&worker->result, r, UV_EOF);
  support_expect_eq(&worker->result, uvch_close((uvch_handle_t*) &worker->work, NULL), 0);
  atomic_store(&worker->result.done, next);
}

enum { THREADS = 8 };

/* The messages of each thread come in order. */
typedef struct order_s {
  uint64_t next[THREADS];
  uint64_t count;
  size_t ends;
  uint64_t close_at; /* 0: at the end */
} order_t;

static void check_order(uvch_mpsc_receiver_t* rx, int status, void* item) {
  order_t* order = rx->data;
  uint64_t value;

  if (status == UV_EOF) {
    order->ends += 1;
    support_close(rx);
    return;
  }
  memcpy(&value, item, sizeof(value));
  support_check(value >> 32 < THREADS);
  support_check_eq(value & UINT32_MAX, order->next[value >> 32]);
  order->next[value >> 32] += 1;
  order->count += 1;
  if (order->count == order->close_at) {
    support_close(rx);
  }
}

START_TEST(permits_move_to_other_threads_in_messages) {
  size_t rounds = support_scale(500);
  uvch_mpsc_sender_t work_tx[4];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  worker_t workers[4];
  order_t order = {.count = 0};
  support_runner_t runner;
  uint64_t sent = 0;
  uv_loop_t loop;
  size_t i;
  size_t k;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, 16);
  rx.data = &order;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, check_order), 0);
  memset(workers, 0, sizeof(workers));
  for (i = 0; i < COUNT(workers); i++) {
    workers[i].number = i;
    ck_assert_int_eq(uvch_mpsc_init(NULL, &workers[i].work, &work_tx[i], sizeof(uvch_mpsc_permit_t), 2), 0);
    support_spawn(&workers[i].thread, work, &workers[i]);
  }
  support_runner_start(&runner, &loop);
  for (i = 0; i < rounds; i++) {
    uvch_mpsc_permit_t permit;
    uvch_mpsc_permit_t part;

    ck_assert_int_eq(uvch_mpsc_reserve_wait(&tx, 12, &permit), 0);
    for (k = 0; k < COUNT(workers); k++) {
      ck_assert_int_eq(uvch_mpsc_permit_split(&permit, k == 3 ? uvch_mpsc_permit_count(&permit) : 1 + (i + k) % 3, &part), 0);
      ck_assert_int_eq(uvch_mpsc_send_wait(&work_tx[k], &part), 0);
    }
    check_empty(&permit);
  }
  support_drop_sender(&tx); /* the permits keep it open */
  for (i = 0; i < COUNT(workers); i++) {
    support_drop_sender(&work_tx[i]);
    support_join(&workers[i].thread);
    support_result_check(&workers[i].result);
    sent += workers[i].result.done;
  }
  support_runner_join(&runner);
  ck_assert_uint_eq(order.count, sent);
  ck_assert_uint_eq(order.ends, 1);
  support_loop_close(&loop);
}
END_TEST

static uint64_t next_random(uint64_t* random, uint64_t below) {
  *random = *random * 6364136223846793005u + 1442695040888963407u;
  return (*random >> 33) % below;
}

/* A thread that reserves and sends until it has sent enough, or the receiver is gone. */
typedef struct user_s {
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  support_result_t result;
  uint64_t number;
  uint64_t random;
  uint64_t most;
  uint64_t sent;
  size_t capacity;
  int closes; /* the receiver, some time */
  int ended;
} user_t;

static int user_reserve(user_t* user, size_t n, uvch_mpsc_permit_t* permit) {
  int r;

  switch (next_random(&user->random, 4)) {
  case 0:
    r = uvch_mpsc_try_reserve(&user->tx, n, permit);
    break;
  case 1:
    r = uvch_mpsc_reserve_timedwait(&user->tx, n, permit, next_random(&user->random, 50000));
    break;
  default:
    r = uvch_mpsc_reserve_wait(&user->tx, n, permit);
    support_expect(&user->result, r == 0 || r == UV_EPIPE);
  }
  support_expect(&user->result, r == 0 || r == UV_EPIPE || r == UV_EAGAIN || r == UV_ETIMEDOUT);
  return r;
}

static void user_use(user_t* user, uvch_mpsc_permit_t* permit) {
  size_t n = next_random(&user->random, uvch_mpsc_permit_count(permit) + 1);
  uvch_mpsc_permit_t part;
  uint64_t value;
  int r;

  for (; n > 0 && user->sent < user->most; n--) {
    value = user->number << 32 | user->sent;
    r = uvch_mpsc_permit_send(permit, &value);
    if (r == 0) {
      support_expect(&user->result, !user->ended); /* once it is gone it stays gone */
      user->sent += 1;
    } else {
      support_expect_eq(&user->result, r, UV_EPIPE);
      support_expect(&user->result, user->closes);
      user->ended = 1;
    }
  }
  if (uvch_mpsc_permit_count(permit) > 1) {
    support_expect_eq(&user->result, uvch_mpsc_permit_split(permit, 1, &part), 0);
    support_expect_eq(&user->result, uvch_mpsc_permit_release(&part), 0);
  }
  if (uvch_mpsc_permit_count(permit) > 0) {
    support_expect_eq(&user->result, uvch_mpsc_permit_release(permit), 0);
  }
}

static void user_run(void* arg) {
  user_t* user = arg;
  uvch_mpsc_permit_t permit;
  int r;

  while (user->sent < user->most && !user->ended) {
    r = user_reserve(user, 1 + next_random(&user->random, user->capacity < 6 ? user->capacity : 6), &permit);
    if (r == UV_EPIPE) {
      support_expect(&user->result, user->closes);
      break;
    }
    if (r != 0) {
      support_yield();
      continue;
    }
    if (next_random(&user->random, 8) == 0) { /* the permit is a sender by itself */
      support_expect_eq(&user->result, uvch_mpsc_sender_close(&user->tx), 0);
      support_expect_eq(&user->result, uvch_mpsc_permit_get_sender(&permit, &user->tx), 0);
    }
    user_use(user, &permit);
  }
  if (uvch_mpsc_try_reserve(&user->tx, 1, &permit) == 0) { /* some end with a permit */
    support_expect_eq(&user->result, uvch_mpsc_sender_close(&user->tx), 0);
    support_expect_eq(&user->result, uvch_mpsc_permit_release(&permit), 0);
  } else {
    support_expect_eq(&user->result, uvch_mpsc_sender_close(&user->tx), 0);
  }
}

static void users_start(user_t* users, uvch_mpsc_sender_t* tx, size_t capacity, uint64_t most, int closes, uint64_t seed) {
  size_t i;

  memset(users, 0, THREADS * sizeof(*users));
  for (i = 0; i < THREADS; i++) {
    users[i].number = i;
    users[i].random = seed * 7919 + i;
    users[i].most = most;
    users[i].capacity = capacity;
    users[i].closes = closes;
    ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &users[i].tx), 0);
  }
  support_drop_sender(tx);
  for (i = 0; i < THREADS; i++) {
    support_spawn(&users[i].thread, user_run, &users[i]);
  }
}

static uint64_t users_join(user_t* users) {
  uint64_t sent = 0;
  size_t i;

  for (i = 0; i < THREADS; i++) {
    support_join(&users[i].thread);
    support_result_check(&users[i].result);
    sent += users[i].sent;
  }
  return sent;
}

START_TEST(eight_threads_with_permits_each_message_once_and_in_order) {
  uint64_t each = support_scale(3000);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  user_t users[THREADS];
  order_t order = {.count = 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  rx.data = &order;
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, check_order), 0);
  users_start(users, &tx, CAPACITY, each, 0, (uint64_t) _i);
  support_loop_end(&loop);
  ck_assert_uint_eq(users_join(users), each * THREADS);
  ck_assert_uint_eq(order.count, each * THREADS);
  ck_assert_uint_eq(order.ends, 1);
}
END_TEST

START_TEST(the_receiver_may_close_while_eight_threads_use_permits) {
  size_t rounds = support_scale(60);
  uvch_mpsc_options_t options;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  user_t users[THREADS];
  size_t dropped;
  uv_loop_t loop;
  size_t round;

  for (round = 0; round < rounds; round++) {
    size_t blocks = support_alloc_blocks();
    order_t order = {.close_at = 1 + round * 37 % 500};

    dropped = 0;
    support_loop_init(&loop);
    memset(&options, 0, sizeof(options));
    options.drop = count_drop;
    options.arg = &dropped;
    ck_assert_int_eq(uvch_mpsc_init_ex(&loop, &rx, &tx, sizeof(uint64_t), CAPACITY, &options), 0);
    rx.data = &order;
    ck_assert_int_eq(uvch_mpsc_recv_start(&rx, check_order), 0);
    users_start(users, &tx, CAPACITY, UINT32_MAX, 1, round * 31 + (uint64_t) _i);
    support_loop_end(&loop);
    ck_assert_uint_eq(users_join(users), order.count + dropped);
    ck_assert_uint_eq(order.ends, 0);
    ck_assert_uint_eq(support_alloc_blocks(), blocks);
  }
}
END_TEST

START_TEST(the_receiver_may_shut_down_while_eight_threads_use_permits) {
  size_t rounds = support_scale(30);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  user_t users[THREADS];
  uv_loop_t loop;
  size_t round;
  size_t i;

  for (round = 0; round < rounds; round++) {
    order_t order = {.count = 0};

    support_loop_init(&loop);
    open_channel(&loop, &rx, &tx, CAPACITY);
    rx.data = &order;
    ck_assert_int_eq(uvch_mpsc_recv_start(&rx, check_order), 0);
    users_start(users, &tx, CAPACITY, UINT32_MAX, 1, round * 31 + (uint64_t) _i);
    for (i = 0; i < 1 + round % 10; i++) {
      uv_run(&loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
    support_loop_end(&loop); /* to the end, which comes after every permit */
    ck_assert_uint_eq(users_join(users), order.count);
    ck_assert_uint_eq(order.ends, 1);
  }
}
END_TEST

/* Threads that all take what they can get; then nobody moves, and it is counted. */
typedef struct taker_s {
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  support_result_t result;
  uv_barrier_t* barrier;
  uint64_t random;
  size_t rounds;
  size_t capacity;
  size_t held;
  size_t sent;
} taker_t;

static void take_some(taker_t* taker, uvch_mpsc_permit_t* permit) {
  uint64_t value = 0;
  size_t n = 1 + next_random(&taker->random, taker->capacity);
  size_t i;
  int r;

  taker->held = 0;
  taker->sent = 0;
  *permit = (uvch_mpsc_permit_t){NULL, 0};
  for (i = 0; i < 20; i++) {
    r = uvch_mpsc_try_reserve(&taker->tx, n, permit);
    if (r == 0) {
      break;
    }
    support_expect_eq(&taker->result, r, UV_EAGAIN);
    n = (n + 1) / 2;
  }
  for (i = next_random(&taker->random, uvch_mpsc_permit_count(permit) + 1); i > 0; i--) {
    support_expect_eq(&taker->result, uvch_mpsc_permit_send(permit, &value), 0);
    taker->sent += 1;
  }
  r = uvch_mpsc_try_send(&taker->tx, &value);
  support_expect(&taker->result, r == 0 || r == UV_EAGAIN);
  taker->sent += r == 0;
  taker->held = uvch_mpsc_permit_count(permit);
}

static void take_rounds(void* arg) {
  taker_t* taker = arg;
  uvch_mpsc_permit_t permit;
  size_t round;

  for (round = 0; round < taker->rounds; round++) {
    uv_barrier_wait(taker->barrier);
    take_some(taker, &permit);
    uv_barrier_wait(taker->barrier); /* now it is counted */
    uv_barrier_wait(taker->barrier);
    support_expect_eq(&taker->result, uvch_mpsc_permit_release(&permit), taker->held > 0 ? 0 : UV_EBADF);
  }
  support_expect_eq(&taker->result, uvch_mpsc_sender_close(&taker->tx), 0);
}

START_TEST(eight_threads_never_get_more_places_than_there_are) {
  size_t rounds = support_scale(200);
  taker_t takers[THREADS];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_barrier_t barrier;
  size_t round;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  ck_assert_int_eq(uv_barrier_init(&barrier, THREADS + 1), 0);
  memset(takers, 0, sizeof(takers));
  for (i = 0; i < THREADS; i++) {
    takers[i].barrier = &barrier;
    takers[i].random = i;
    takers[i].rounds = rounds;
    takers[i].capacity = CAPACITY;
    ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &takers[i].tx), 0);
    support_spawn(&takers[i].thread, take_rounds, &takers[i]);
  }
  for (round = 0; round < rounds; round++) {
    size_t before = uvch_mpsc_receiver_len(&rx);
    size_t sent = 0;
    size_t held = 0;

    ck_assert_uint_eq(before, 0);
    uv_barrier_wait(&barrier);
    uv_barrier_wait(&barrier);
    for (i = 0; i < THREADS; i++) {
      sent += takers[i].sent;
      held += takers[i].held;
    }
    ck_assert_uint_le(sent + held, CAPACITY);
    check_counts(&rx, &tx, sent, CAPACITY - sent - held, held, 1 + THREADS + held);
    for (i = 0; i < sent; i++) {
      support_take(&rx);
    }
    check_try_recv(&rx, UV_EAGAIN);
    uv_barrier_wait(&barrier);
  }
  for (i = 0; i < THREADS; i++) {
    support_join(&takers[i].thread);
    support_result_check(&takers[i].result);
  }
  check_counts(&rx, &tx, 0, CAPACITY, 0, 1);
  close_channel(&rx, &tx);
  uv_barrier_destroy(&barrier);
}
END_TEST

/* The ends of a channel, each given up by a thread of its own at about the same time. */
typedef struct last_s {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_sender_t tx;
  uv_barrier_t barrier;
  support_result_t result;
  int sends;
} last_t;

static void last_release(void* arg) {
  last_t* last = arg;
  uint64_t value = 1;
  int r;

  uv_barrier_wait(&last->barrier);
  if (last->sends) {
    r = uvch_mpsc_permit_send(&last->permit, &value);
    support_expect(&last->result, r == 0 || r == UV_EPIPE);
    atomic_fetch_add(&last->result.done, r == 0);
  } else {
    support_expect_eq(&last->result, uvch_mpsc_permit_release(&last->permit), 0);
  }
}

/* Makes a sender again, if there is still something, which reserves. */
static void last_upgrade(void* arg) {
  last_t* last = arg;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_sender_t tx;
  int r;

  uv_barrier_wait(&last->barrier);
  r = uvch_mpsc_weak_sender_upgrade(&last->weak, &tx);
  if (r == 0) {
    r = uvch_mpsc_try_reserve(&tx, 1, &permit);
    support_expect(&last->result, r == 0 || r == UV_EPIPE);
    support_expect_eq(&last->result, uvch_mpsc_sender_close(&tx), 0);
    if (r == 0) {
      support_expect_eq(&last->result, uvch_mpsc_permit_release(&permit), 0);
    }
  }
  support_expect(&last->result, r == 0 || r == UV_EPIPE);
  support_expect_eq(&last->result, uvch_mpsc_weak_sender_close(&last->weak), 0);
}

/* _i: the permit sends or is released; the receiver was closed before, closes at the same time, or stays; an upgrade joins in. */
START_TEST(the_last_sender_and_the_last_permit_may_go_at_the_same_time) {
  size_t rounds = support_scale(400);
  int receiver = _i / 2 % 3;
  int upgrades = _i / 6;
  uvch_mpsc_options_t options;
  uvch_mpsc_receiver_t rx;
  uv_thread_t threads[2];
  size_t round;

  memset(&options, 0, sizeof(options));
  for (round = 0; round < rounds; round++) {
    size_t blocks = support_alloc_blocks();
    size_t dropped = 0;
    last_t last = {.sends = _i % 2};

    options.drop = count_drop;
    options.arg = &dropped;
    ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &rx, &last.tx, sizeof(uint64_t), 4, &options), 0);
    hold(&last.tx, 1, &last.permit);
    ck_assert_int_eq(uvch_mpsc_sender_downgrade(&last.tx, &last.weak), 0);
    ck_assert_int_eq(uv_barrier_init(&last.barrier, upgrades ? 3 : 2), 0);
    if (receiver == 0) {
      support_close(&rx);
    }
    if (upgrades) {
      support_spawn(&threads[1], last_upgrade, &last);
    } else {
      ck_assert_int_eq(uvch_mpsc_weak_sender_close(&last.weak), 0);
    }
    support_spawn(&threads[0], last_release, &last);
    uv_barrier_wait(&last.barrier);
    if (receiver == 1 && round % 2 == 0) {
      support_close(&rx);
    }
    support_drop_sender(&last.tx);
    if (receiver == 1 && round % 2 == 1) {
      support_close(&rx);
    }
    support_join(&threads[0]);
    if (upgrades) {
      support_join(&threads[1]);
    }
    support_result_check(&last.result);
    if (receiver == 2) {
      ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
      if (last.sends) {
        ck_assert_uint_eq(support_take(&rx), 1);
      }
      check_try_recv(&rx, UV_EOF);
      support_close(&rx);
    } else {
      ck_assert_uint_eq(dropped, last.result.done);
    }
    uv_barrier_destroy(&last.barrier);
    ck_assert_uint_eq(support_alloc_blocks(), blocks);
  }
}
END_TEST

START_TEST(a_reservation_is_cancelled_or_granted_never_both) {
  size_t rounds = support_scale(400);
  size_t granted = 0;
  uvch_mpsc_receiver_t rx;
  reserver_t reservers[2];
  uv_thread_t thread;
  uv_loop_t loop;
  size_t round;
  int r;

  support_loop_init(&loop);
  for (round = 0; round < rounds; round++) {
    last_t last = {.sends = 0};

    open_channel(NULL, &rx, &last.tx, 2);
    hold(&last.tx, 2, &last.permit);
    ck_assert_int_eq(uv_barrier_init(&last.barrier, 2), 0);
    request(&loop, &reservers[0], &last.tx, 2);
    request(&loop, &reservers[1], &last.tx, 1);
    support_spawn(&thread, last_release, &last);
    uv_barrier_wait(&last.barrier);
    if (round % 2 == 0) {
      support_yield();
    }
    r = cancel(&reservers[0]);
    support_join(&thread);
    support_result_check(&last.result);
    if (r == 0) {
      support_loop_run(&loop);
      check_refused(&reservers[0], UV_ECANCELED);
      check_granted(&reservers[1], 1);
      check_counts(&rx, &last.tx, 0, 1, 1, 2);
    } else {
      ck_assert_int_eq(r, UV_EBUSY);
      check_waits(&loop, &reservers[1]);
      check_granted(&reservers[0], 2);
      check_counts(&rx, &last.tx, 0, 0, 2, 4);
      release(&reservers[0].permit);
      support_loop_run(&loop);
      check_granted(&reservers[1], 1);
      granted += 1;
    }
    release(&reservers[1].permit);
    check_counts(&rx, &last.tx, 0, 2, 0, 1);
    close_channel(&rx, &last.tx);
    uv_barrier_destroy(&last.barrier);
  }
  ck_assert_uint_le(granted, rounds);
  support_loop_end(&loop);
}
END_TEST

START_TEST(places_freed_at_the_deadline_are_held_or_left_never_both) {
  size_t rounds = support_scale(200);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  blocked_t blocked;
  size_t round;

  open_channel(NULL, &rx, &tx, 3);
  for (round = 0; round < rounds; round++) {
    uvch_mpsc_permit_t permit;
    uint64_t until;
    int answer;

    hold(&tx, 3, &permit);
    blocked_begin(&blocked, &tx, 2, 0, 100000);
    support_until(atomic_load(&blocked.number) != 0);
    until = uv_hrtime() + 50000 + round % 10 * 10000;
    support_until(uv_hrtime() >= until);
    release(&permit);
    support_join(&blocked.thread);
    answer = blocked.answer;
    if (answer == 0) {
      check_counts(&rx, &tx, 0, 1, 2, 3);
      release(&blocked.permit);
    } else {
      ck_assert_int_eq(answer, UV_ETIMEDOUT);
      ck_assert_uint_eq(uvch_mpsc_permit_count(&blocked.permit), 0);
    }
    check_counts(&rx, &tx, 0, 3, 0, 1);
  }
  close_channel(&rx, &tx);
}
END_TEST

/* Random calls against a model of what a channel is: a queue, places that are held, and a line in front of them. */

enum { MODEL_WAITERS = 8, MODEL_PERMITS = 6, MODEL_SENDERS = 4, MODEL_QUEUE = 128 };

typedef struct model_waiter_s {
  reserver_t reserver;
  waiter_t waiter;
  size_t n;   /* places to reserve; of a send SIZE_MAX */
  int expect; /* the status to come; NOT_DONE: it waits */
  bool used;
} model_waiter_t;

typedef struct model_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_sender_t tx[MODEL_SENDERS];
  uvch_mpsc_permit_t permits[MODEL_PERMITS];
  size_t held[MODEL_PERMITS];
  bool open[MODEL_SENDERS];
  size_t senders;
  size_t capacity;
  size_t reserved; /* by permits, and by requests whose callback has not come */
  uint64_t random;
  uint64_t next;
  uint64_t queue[MODEL_QUEUE];
  size_t head;
  size_t tail;
  size_t line[MODEL_WAITERS]; /* who waits, by index, first come first */
  size_t waiting;
  model_waiter_t waiters[MODEL_WAITERS];
  bool closed;
} model_t;

static size_t model_pick(model_t* model, size_t below) {
  return (size_t) next_random(&model->random, below);
}

static size_t model_room(const model_t* model) {
  return model->capacity - (model->tail - model->head) - model->reserved;
}

static size_t model_strong(const model_t* model) {
  return model->senders + model->waiting + model->reserved;
}

static void model_push(model_t* model, uint64_t value) {
  model->queue[model->tail++ % MODEL_QUEUE] = value;
}

static void model_leave_line(model_t* model, size_t place) {
  model->waiting -= 1;
  memmove(&model->line[place], &model->line[place + 1], (model->waiting - place) * sizeof(model->line[0]));
}

static void model_close(model_t* model) {
  model->closed = true;
  while (model->waiting > 0) {
    model->waiters[model->line[0]].expect = UV_EPIPE;
    model_leave_line(model, 0);
  }
}

/* Who waits may get what was freed, and the channel may have ended. */
static void model_settle(model_t* model) {
  while (model->waiting > 0) {
    model_waiter_t* first = &model->waiters[model->line[0]];
    bool sends = first->n == SIZE_MAX;

    if (model_room(model) < (sends ? 1 : first->n)) {
      break;
    }
    if (sends) {
      model_push(model, first->waiter.value);
    } else {
      model->reserved += first->n;
    }
    first->expect = 0;
    model_leave_line(model, 0);
  }
  if (model_strong(model) == 0 && !model->closed) {
    model_close(model);
  }
}

/* An open sender, or NULL. */
static uvch_mpsc_sender_t* model_tx(model_t* model) {
  size_t i = model_pick(model, MODEL_SENDERS);
  size_t k;

  for (k = 0; k < MODEL_SENDERS; k++, i = (i + 1) % MODEL_SENDERS) {
    if (model->open[i]) {
      return &model->tx[i];
    }
  }
  return NULL;
}

static void model_try_send(model_t* model, const uvch_mpsc_sender_t* tx) {
  int want = model->closed ? UV_EPIPE : model->waiting == 0 && model_room(model) > 0 ? 0 : UV_EAGAIN;
  uint64_t value = model->next++;

  support_check_eq(uvch_mpsc_try_send(tx, &value), want);
  if (want == 0) {
    model_push(model, value);
  }
}

static void model_try_reserve(model_t* model, const uvch_mpsc_sender_t* tx) {
  size_t i = model_pick(model, MODEL_PERMITS);
  size_t n = model_pick(model, model->capacity + 2);
  uvch_mpsc_permit_t permit;
  int want = 0;

  if (model->held[i] > 0) {
    return;
  }
  if (n > model->capacity) {
    want = UV_EAGAIN;
  } else if (model->closed) {
    want = UV_EPIPE;
  } else if (n > 0 && (model->waiting > 0 || model_room(model) < n)) {
    want = UV_EAGAIN;
  }
  support_check_eq(uvch_mpsc_try_reserve(tx, n, &permit), want);
  if (want == 0) {
    model->permits[i] = permit;
    model->held[i] = n;
    model->reserved += n;
  }
}

static void model_request(model_t* model, const uvch_mpsc_sender_t* tx) {
  size_t i = model_pick(model, MODEL_WAITERS);
  model_waiter_t* w = &model->waiters[i];
  bool sends = model_pick(model, 2) == 0;
  int want = model->closed ? UV_EPIPE : 0;
  int got;

  if (w->used) {
    return;
  }
  w->n = sends ? SIZE_MAX : model_pick(model, model->capacity + 2);
  if (!sends && w->n > model->capacity) {
    want = UV_EPIPE;
  }
  if (sends) {
    got = try_send_request(&model->loop, &w->waiter, tx, model->next++);
  } else {
    got = try_request(&model->loop, &w->reserver, tx, w->n);
  }
  support_check_eq(got, want);
  if (want != 0) {
    return;
  }
  w->used = true;
  if (w->n == 0) {
    w->expect = 0;
    return;
  }
  w->expect = NOT_DONE;
  model->line[model->waiting++] = i;
}

static void model_cancel(model_t* model) {
  size_t i = model_pick(model, MODEL_WAITERS);
  model_waiter_t* w = &model->waiters[i];
  uvch_req_t* req = w->n == SIZE_MAX ? (uvch_req_t*) &w->waiter.req : (uvch_req_t*) &w->reserver.req;
  size_t place = 0;

  if (!w->used) {
    return;
  }
  support_check_eq(uvch_cancel(req), w->expect == NOT_DONE ? 0 : UV_EBUSY);
  if (w->expect == NOT_DONE) {
    w->expect = UV_ECANCELED;
    while (model->line[place] != i) {
      place += 1;
    }
    model_leave_line(model, place);
  }
}

static void model_permit_send(model_t* model) {
  size_t i = model_pick(model, MODEL_PERMITS);
  uint64_t value = model->next++;

  support_check_eq(uvch_mpsc_permit_send(&model->permits[i], &value), model->held[i] > 0 ? 0 : UV_EBADF);
  if (model->held[i] > 0) {
    model->held[i] -= 1;
    model->reserved -= 1;
    model_push(model, value);
  }
}

static void model_release(model_t* model, size_t i) {
  support_check_eq(uvch_mpsc_permit_release(&model->permits[i]), model->held[i] > 0 ? 0 : UV_EBADF);
  model->reserved -= model->held[i];
  model->held[i] = 0;
}

static void model_split(model_t* model) {
  size_t from = model_pick(model, MODEL_PERMITS);
  size_t to = model_pick(model, MODEL_PERMITS);
  size_t n = model_pick(model, model->held[from] + 2);
  int want = 0;

  if (model->held[to] > 0) {
    return;
  }
  if (from == to) {
    want = UV_EINVAL;
  } else if (model->held[from] == 0) {
    want = UV_EBADF;
  } else if (n == 0 || n > model->held[from]) {
    want = UV_EINVAL;
  }
  support_check_eq(uvch_mpsc_permit_split(&model->permits[from], n, &model->permits[to]), want);
  if (want == 0) {
    model->held[from] -= n;
    model->held[to] = n;
  }
}

/* A sender more: from another, from a permit, or from the weak one. */
static void model_open(model_t* model) {
  size_t i = model_pick(model, MODEL_SENDERS);
  size_t k = model_pick(model, MODEL_PERMITS);
  const uvch_mpsc_sender_t* tx = model_tx(model);
  uvch_mpsc_sender_t fresh;
  int want;

  if (model->open[i]) {
    return;
  }
  switch (model_pick(model, 3)) {
  case 0:
    want = tx != NULL ? 0 : UV_EINVAL;
    support_check_eq(uvch_mpsc_sender_clone(tx, &fresh), want);
    break;
  case 1:
    want = model->held[k] > 0 ? 0 : UV_EBADF;
    support_check_eq(uvch_mpsc_permit_get_sender(&model->permits[k], &fresh), want);
    break;
  default:
    want = model_strong(model) > 0 ? 0 : UV_EPIPE;
    support_check_eq(uvch_mpsc_weak_sender_upgrade(&model->weak, &fresh), want);
  }
  if (want == 0) {
    model->tx[i] = fresh;
    model->open[i] = true;
    model->senders += 1;
  }
}

static void model_drop(model_t* model, size_t i) {
  support_check_eq(uvch_mpsc_sender_close(&model->tx[i]), model->open[i] ? 0 : UV_EBADF);
  model->senders -= model->open[i];
  model->open[i] = false;
}

static void model_try_recv(model_t* model) {
  uint64_t value;

  if (model->tail == model->head) {
    support_check_eq(uvch_mpsc_try_recv(&model->rx, &value), model->closed && model->reserved == 0 ? UV_EOF : UV_EAGAIN);
    return;
  }
  support_check_eq(support_take(&model->rx), model->queue[model->head++ % MODEL_QUEUE]);
}

static void model_shutdown(model_t* model) {
  support_check_eq(uvch_mpsc_recv_shutdown(&model->rx), 0);
  model_close(model);
}

static size_t model_calls(const model_waiter_t* w) {
  return w->n == SIZE_MAX ? w->waiter.calls : w->reserver.calls;
}

static bool model_has_done(const model_t* model) {
  size_t i;

  for (i = 0; i < MODEL_WAITERS; i++) {
    const model_waiter_t* w = &model->waiters[i];
    if (w->used && w->expect != NOT_DONE && model_calls(w) == 0) {
      return true;
    }
  }
  return false;
}

/* What a request got goes to a permit that is empty, or back. */
static void model_keep(model_t* model, uvch_mpsc_permit_t* permit, size_t n) {
  size_t i;

  for (i = 0; i < MODEL_PERMITS && model->held[i] > 0; i++) {
  }
  if (n == 0) {
    check_empty(permit);
  } else if (i < MODEL_PERMITS) {
    model->permits[i] = *permit;
    model->held[i] = n;
  } else {
    release(permit);
    model->reserved -= n;
    model_settle(model);
  }
}

static void model_run(model_t* model) {
  size_t i;

  do {
    uv_run(&model->loop, UV_RUN_NOWAIT);
  } while (model_has_done(model));
  for (i = 0; i < MODEL_WAITERS; i++) {
    model_waiter_t* w = &model->waiters[i];
    if (!w->used || model_calls(w) == 0) {
      continue;
    }
    w->used = false;
    if (w->n == SIZE_MAX) {
      check_sent(&w->waiter, w->expect);
    } else if (w->expect != 0) {
      check_refused(&w->reserver, w->expect);
    } else {
      check_granted(&w->reserver, w->n);
      model_keep(model, &w->reserver.permit, w->n);
    }
  }
}

static void model_check(const model_t* model) {
  size_t capacity = model->waiting > 0 ? 0 : model_room(model);
  size_t len = model->tail - model->head;
  uvch_stats_t stats;
  size_t i;

  support_check_eq(uvch_mpsc_receiver_len(&model->rx), len);
  support_check_eq(uvch_mpsc_receiver_capacity(&model->rx), capacity);
  support_check_eq(uvch_mpsc_receiver_is_closed(&model->rx), model->closed);
  support_check_eq(uvch_mpsc_receiver_strong_count(&model->rx), model_strong(model));
  support_check_eq(uvch_mpsc_weak_sender_strong_count(&model->weak), model_strong(model));
  support_check_eq(uvch_mpsc_receiver_get_stats(&model->rx, &stats), 0);
  support_check_eq(stats.reserved, model->reserved);
  support_check_eq(stats.waiting, model->waiting);
  support_check_eq(stats.depth, len);
  support_check_eq(stats.sent, model->tail);
  support_check_eq(stats.received, model->head);
  support_check(stats.depth + stats.reserved <= model->capacity);
  for (i = 0; i < MODEL_SENDERS; i++) {
    if (model->open[i]) {
      support_check_eq(uvch_mpsc_sender_len(&model->tx[i]), len);
      support_check_eq(uvch_mpsc_sender_capacity(&model->tx[i]), capacity);
      support_check_eq(uvch_mpsc_sender_is_closed(&model->tx[i]), model->closed);
    }
  }
  for (i = 0; i < MODEL_PERMITS; i++) {
    support_check_eq(uvch_mpsc_permit_count(&model->permits[i]), model->held[i]);
  }
  for (i = 0; i < MODEL_WAITERS; i++) {
    const model_waiter_t* w = &model->waiters[i];
    support_check(!w->used || w->expect != NOT_DONE || model_calls(w) == 0);
  }
}

static void model_step(model_t* model, size_t wave) {
  size_t choice = model_pick(model, 32);
  const uvch_mpsc_sender_t* tx = model_tx(model);

  if (choice < 3) {
    model_run(model);
  } else if (choice < 5) {
    model_cancel(model);
  } else if (choice < (wave % 2 == 0 ? 9u : 14u)) {
    model_try_recv(model);
  } else if (choice < 18) {
    model_permit_send(model);
  } else if (choice < 20) {
    model_release(model, model_pick(model, MODEL_PERMITS));
  } else if (choice < 22) {
    model_split(model);
  } else if (choice < 24) {
    model_open(model);
  } else if (choice < 25) {
    model_drop(model, model_pick(model, MODEL_SENDERS));
  } else if (tx == NULL) {
    return;
  } else if (choice < 27) {
    model_try_send(model, tx);
  } else if (choice < 30) {
    model_try_reserve(model, tx);
  } else {
    model_request(model, tx);
  }
  model_settle(model);
  model_check(model);
}

/* Some rounds end by shutdown, some by the last sender and the last permit. */
static void model_end(model_t* model, bool by_shutdown) {
  size_t step;
  size_t i;

  if (by_shutdown) {
    model_shutdown(model);
    model_settle(model);
    model_check(model);
    for (step = 0; step < 200; step++) {
      model_step(model, 1);
    }
  }
  for (i = 0; i < MODEL_SENDERS; i++) {
    model_drop(model, i);
    model_settle(model);
    model_check(model);
  }
  while (model_strong(model) > 0 || model_has_done(model)) {
    model_run(model);
    model_cancel(model);
    model_settle(model);
    model_release(model, model_pick(model, MODEL_PERMITS));
    model_settle(model);
    model_check(model);
  }
  while (model->head < model->tail) {
    model_try_recv(model);
    model_settle(model);
  }
  model_try_recv(model); /* the end */
  model_check(model);
}

START_TEST(any_row_of_calls_does_what_the_model_says) {
  size_t rounds = support_scale(60);
  model_t* model = calloc(1, sizeof(*model));
  size_t round;
  size_t step;

  ck_assert_ptr_nonnull(model);
  for (round = 0; round < rounds; round++) {
    memset(model, 0, sizeof(*model));
    model->random = round * 7919 + (uint64_t) _i;
    model->capacity = CAPACITY;
    support_loop_init(&model->loop);
    open_channel(NULL, &model->rx, &model->tx[0], CAPACITY);
    ck_assert_int_eq(uvch_mpsc_sender_downgrade(&model->tx[0], &model->weak), 0);
    model->open[0] = true;
    model->senders = 1;
    for (step = 0; step < 1000; step++) {
      model_step(model, step / 50);
    }
    model_end(model, round % 2 == 0);
    ck_assert_int_eq(uvch_mpsc_weak_sender_close(&model->weak), 0);
    support_close(&model->rx);
    support_loop_end(&model->loop);
  }
  free(model);
}
END_TEST

static void add_reserving(Suite* suite) {
  TCase* tcase = support_case(suite, "reserving");

  add_for_every_capacity(tcase, try_reserve_gets_all_places_or_none);
  add_for_every_capacity(tcase, try_reserve_does_not_pass_those_who_wait);
  add_for_every_capacity(tcase, try_reserve_on_a_closed_channel_says_so_for_all_that_could_fit);
  tcase_add_test(tcase, reserving_refuses_what_is_not_an_open_sender_of_a_bounded_channel);
  add_for_every_capacity(tcase, reserving_more_than_the_capacity_is_refused_as_it_would_wait_for_ever);
  add_for_every_capacity(tcase, reserving_nothing_succeeds_unless_the_channel_is_closed);
  tcase_add_test(tcase, what_permits_hold_is_not_free_and_counts_as_senders);
}

static void add_using(Suite* suite) {
  TCase* tcase = support_case(suite, "using");

  tcase_add_test(tcase, permit_functions_refuse_null_and_empty_permits);
  tcase_add_test(tcase, permits_know_their_channel);
  add_for_every_capacity(tcase, a_permit_sends_into_a_channel_that_looks_full);
  tcase_add_test(tcase, whichever_permit_sends_first_is_received_first);
  tcase_add_loop_test(tcase, permits_carry_messages_of_every_size, 0, 7);
  tcase_add_test(tcase, a_split_permit_makes_two_that_live_by_themselves);
  add_for_every_capacity(tcase, a_permit_sends_to_a_receiver_that_waits_on_its_loop);
}

static void add_end(Suite* suite) {
  TCase* tcase = support_case(suite, "end");

  add_for_every_capacity(tcase, a_permit_sends_after_shutdown_and_the_end_waits_for_it);
  tcase_add_loop_test(tcase, the_end_comes_once_whichever_way_the_last_place_goes, 0, 4 * WAYS);
  tcase_add_loop_test(tcase, a_blocked_receiver_wakes_when_the_last_place_goes, 0, 4);
  tcase_add_loop_test(tcase, a_receiver_may_close_under_permits, 0, 8);
  add_for_every_capacity(tcase, a_request_that_was_cancelled_leaves_nothing_when_the_receiver_closes);
  add_for_every_capacity(tcase, a_permit_granted_before_the_close_still_comes_and_can_be_given_up);
  add_for_every_capacity(tcase, a_permit_keeps_the_channel_open_after_the_last_sender);
  tcase_add_test(tcase, a_sender_can_be_made_from_a_permit_that_alone_keeps_the_channel_open);
  tcase_add_loop_test(tcase, a_weak_sender_can_be_upgraded_while_only_a_permit_is_out, 0, 2);
  add_for_every_capacity(tcase, a_try_that_failed_holds_nothing_open);
}

static void add_waiting(Suite* suite) {
  TCase* tcase = support_case(suite, "waiting");

  add_for_every_capacity(tcase, a_reservation_with_room_holds_its_places_at_once_and_calls_back_from_the_loop);
  add_for_every_capacity(tcase, a_reservation_waits_until_all_its_places_are_free);
  tcase_add_loop_test(tcase, a_waiting_reservation_counts_as_a_sender, 0, 2);
  tcase_add_loop_test(tcase, a_release_hands_its_places_to_those_who_wait_in_order, 0, 2);
  tcase_add_test(tcase, nobody_passes_a_reservation_that_needs_more_than_is_free);
  tcase_add_test(tcase, when_the_first_is_cancelled_those_behind_it_go_on_at_once);
  tcase_add_test(tcase, when_the_first_times_out_those_behind_it_go_on_at_once);
  tcase_add_test(tcase, threads_and_requests_that_send_or_reserve_wait_in_one_line);
  add_for_every_capacity(tcase, of_a_hundred_who_wait_the_one_that_is_not_cancelled_gets_its_permit);
  add_for_every_capacity(tcase, shutdown_refuses_those_who_wait_to_reserve_in_order);
  add_for_every_capacity(tcase, a_timed_reservation_waits_at_least_its_time_and_holds_nothing);
  add_for_every_capacity(tcase, a_blocking_reservation_on_the_own_loop_is_refused);
  add_for_every_capacity(tcase, a_reservation_can_be_used_again_in_its_callback);
}

static void add_force(Suite* suite) {
  TCase* tcase = support_case(suite, "force");

  tcase_add_loop_test(tcase, a_loop_closed_by_force_under_a_granted_reservation_gives_the_places_back, 0, 2);
  add_for_every_capacity(tcase, a_granted_reservation_of_such_a_loop_does_not_keep_the_channel_open);
  tcase_add_test(tcase, a_long_line_of_reservations_of_such_a_loop_comes_to_its_end);
}

static void add_memory(Suite* suite) {
  TCase* tcase = support_case(suite, "memory");

  add_for_every_capacity(tcase, a_reservation_without_memory_claims_nothing);
  add_for_every_capacity(tcase, permits_and_handing_over_take_no_memory_once_the_storage_is_there);
}

static void add_threads(Suite* suite) {
  TCase* tcase = support_case(suite, "threads");

  tcase_add_test(tcase, permits_move_to_other_threads_in_messages);
  add_for_every_capacity(tcase, eight_threads_with_permits_each_message_once_and_in_order);
  add_for_every_capacity(tcase, the_receiver_may_close_while_eight_threads_use_permits);
  add_for_every_capacity(tcase, the_receiver_may_shut_down_while_eight_threads_use_permits);
  add_for_every_capacity(tcase, eight_threads_never_get_more_places_than_there_are);
  tcase_add_loop_test(tcase, the_last_sender_and_the_last_permit_may_go_at_the_same_time, 0, 12);
  tcase_add_test(tcase, a_reservation_is_cancelled_or_granted_never_both);
  tcase_add_test(tcase, places_freed_at_the_deadline_are_held_or_left_never_both);
}

static void add_model(Suite* suite) {
  TCase* tcase = support_case(suite, "model");

  add_for_every_capacity(tcase, any_row_of_calls_does_what_the_model_says);
}

int main(void) {
  Suite* suite = suite_create("permit");

  add_reserving(suite);
  add_using(suite);
  add_end(suite);
  add_waiting(suite);
  add_force(suite);
  add_memory(suite);
  add_threads(suite);
  add_model(suite);
  return support_main(suite);
}
