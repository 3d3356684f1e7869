/* SPDX-License-Identifier: MIT
 *
 * Weak senders: what they keep open and what not, how many of each kind there are, and upgrades at the moment of the end. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "core.h"
#include "support.h"

#include <signal.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#endif

/* Whether a thread can be stopped after each instruction. The thread sanitizer does not stand that. */
#if defined(__x86_64__) && defined(__linux__) && !defined(WITH_TSAN)
#define WITH_STEPS 1
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const size_t capacities[] = {1, 2, 64, UVCH_UNBOUNDED};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))
#define add_for_every_bound(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities) - 1)

static void open_channel(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t capacity) {
  support_check_eq(uvch_mpsc_init(loop, rx, tx, sizeof(uint64_t), capacity), 0);
}

static uvch_mpsc_weak_sender_t weaken(const uvch_mpsc_sender_t* tx) {
  uvch_mpsc_weak_sender_t weak;

  memset(&weak, 0xa5, sizeof(weak));
  support_check_eq(uvch_mpsc_sender_downgrade(tx, &weak), 0);
  return weak;
}

static void drop_weak(uvch_mpsc_weak_sender_t* weak) {
  support_check_eq(uvch_mpsc_weak_sender_close(weak), 0);
}

static void check_upgrade_fails(const uvch_mpsc_weak_sender_t* weak) {
  uvch_mpsc_sender_t tx;
  int i;

  memset(&tx, 0x5a, sizeof(tx));
  for (i = 0; i < 3; i++) {
    support_check_eq(uvch_mpsc_weak_sender_upgrade(weak, &tx), UV_EPIPE);
  }
  for (i = 0; i < (int) sizeof(tx); i++) {
    support_check_eq(((unsigned char*) &tx)[i], 0x5a);
  }
}

static void check_try_recv(uvch_mpsc_receiver_t* rx, int result) {
  uint64_t value;

  support_check_eq(uvch_mpsc_try_recv(rx, &value), result);
}

/* Each kind of end says the same. */
static void check_counts(const uvch_mpsc_sender_t* tx, const uvch_mpsc_weak_sender_t* weak, const uvch_mpsc_receiver_t* rx,
                         size_t strong, size_t weaks) {
  if (tx != NULL) {
    ck_assert_uint_eq(uvch_mpsc_sender_strong_count(tx), strong);
    ck_assert_uint_eq(uvch_mpsc_sender_weak_count(tx), weaks);
  }
  if (weak != NULL) {
    ck_assert_uint_eq(uvch_mpsc_weak_sender_strong_count(weak), strong);
    ck_assert_uint_eq(uvch_mpsc_weak_sender_weak_count(weak), weaks);
  }
  if (rx != NULL) {
    ck_assert_uint_eq(uvch_mpsc_receiver_strong_count(rx), strong);
    ck_assert_uint_eq(uvch_mpsc_receiver_weak_count(rx), weaks);
  }
}

/* One thread. */

START_TEST(a_closed_weak_sender_answers_every_call_and_changes_nothing) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_weak_sender_t copy;
  uvch_mpsc_weak_sender_t before;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t other;

  open_channel(NULL, &rx, &tx, CAPACITY);
  weak = weaken(&tx);
  ck_assert_int_eq(uvch_mpsc_weak_sender_close(&weak), 0);
  ck_assert_int_eq(uvch_mpsc_weak_sender_close(&weak), UV_EBADF);
  memset(&copy, 0x5a, sizeof(copy));
  before = copy;
  memset(&other, 0x5a, sizeof(other));
  ck_assert_int_eq(uvch_mpsc_weak_sender_clone(&weak, &copy), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &other), UV_EBADF);
  ck_assert_mem_eq(&copy, &before, sizeof(copy));
  ck_assert_mem_eq(&other, &before, sizeof(copy));
  ck_assert_uint_eq(uvch_mpsc_weak_sender_strong_count(&weak), 0);
  ck_assert_uint_eq(uvch_mpsc_weak_sender_weak_count(&weak), 0);
  check_counts(&tx, NULL, &rx, 1, 0);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_sender_downgrade(&tx, &copy), UV_EBADF);
  ck_assert_mem_eq(&copy, &before, sizeof(copy));
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&tx), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_weak_count(&tx), 0);
  support_close(&rx);
  ck_assert_uint_eq(uvch_mpsc_receiver_strong_count(&rx), 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_weak_count(&rx), 0);
}
END_TEST

START_TEST(null_is_refused_and_changes_nothing) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  open_channel(NULL, &rx, &tx, CAPACITY);
  weak = weaken(&tx);
  ck_assert_int_eq(uvch_mpsc_sender_downgrade(NULL, &weak), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_sender_downgrade(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_sender_downgrade(NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_weak_sender_clone(NULL, &weak), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_weak_sender_clone(&weak, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(NULL, &tx), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_weak_sender_close(NULL), UV_EINVAL);
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(NULL), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_weak_count(NULL), 0);
  ck_assert_uint_eq(uvch_mpsc_weak_sender_strong_count(NULL), 0);
  ck_assert_uint_eq(uvch_mpsc_weak_sender_weak_count(NULL), 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_strong_count(NULL), 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_weak_count(NULL), 0);
  check_counts(&tx, &weak, &rx, 1, 1);
  drop_weak(&weak);
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

START_TEST(a_weak_sender_does_not_keep_the_channel_open) {
  uvch_mpsc_weak_sender_t weak[3];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, CAPACITY);
  support_sink_start(&sink, &rx);
  weak[0] = weaken(&tx);
  weak[1] = weaken(&tx);
  ck_assert_int_eq(uvch_mpsc_weak_sender_clone(&weak[0], &weak[2]), 0);
  support_put(&tx, 0);
  uv_run(&loop, UV_RUN_NOWAIT);
  support_drop_sender(&tx);
  support_loop_end(&loop); /* the end comes, the loop too */
  support_sink_check(&sink, 1, 1);
  for (i = 0; i < COUNT(weak); i++) {
    check_upgrade_fails(&weak[i]);
    check_counts(NULL, &weak[i], NULL, 0, COUNT(weak) - i);
    drop_weak(&weak[i]);
  }
}
END_TEST

START_TEST(an_upgrade_makes_a_sender_like_any_other) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t other;
  uvch_mpsc_sender_t third;

  open_channel(NULL, &rx, &tx, CAPACITY);
  weak = weaken(&tx);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &other), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&tx, &other), 1);
  support_drop_sender(&tx);
  check_try_recv(&rx, UV_EAGAIN);
  support_put(&other, 7);
  ck_assert_uint_eq(support_take(&rx), 7);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &third), 0);
  support_drop_sender(&other);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
  support_put(&third, 8);
  support_drop_sender(&third);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 1);
  check_upgrade_fails(&weak); /* also while messages are queued */
  ck_assert_uint_eq(support_take(&rx), 8);
  check_try_recv(&rx, UV_EOF);
  check_upgrade_fails(&weak);
  support_close(&rx);
  check_upgrade_fails(&weak);
  drop_weak(&weak);
}
END_TEST

START_TEST(an_upgrade_succeeds_while_there_is_a_sender_though_the_receiver_is_gone) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t other;
  uint64_t value = 1;
  int shut;

  for (shut = 0; shut < 2; shut++) {
    open_channel(NULL, &rx, &tx, CAPACITY);
    weak = weaken(&tx);
    if (shut) {
      ck_assert_int_eq(uvch_mpsc_recv_shutdown(&rx), 0);
    } else {
      support_close(&rx);
    }
    ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &other), 0);
    ck_assert_int_eq(uvch_mpsc_sender_is_closed(&other), 1);
    ck_assert_int_eq(uvch_mpsc_try_send(&other, &value), UV_EPIPE);
    check_counts(&tx, &weak, NULL, 2, 1);
    support_drop_sender(&tx);
    ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &tx), 0);
    support_drop_sender(&tx);
    support_drop_sender(&other);
    check_upgrade_fails(&weak);
    check_counts(NULL, &weak, NULL, 0, 1);
    if (shut) {
      check_try_recv(&rx, UV_EOF);
      support_close(&rx);
    }
    drop_weak(&weak);
  }
}
END_TEST

START_TEST(an_upgrade_succeeds_while_a_permit_is_out) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t value = 5;
  int used;

  for (used = 0; used < 2; used++) {
    open_channel(NULL, &rx, &tx, CAPACITY);
    weak = weaken(&tx);
    ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), 0);
    support_drop_sender(&tx);
    check_counts(NULL, &weak, &rx, 1, 1);
    check_try_recv(&rx, UV_EAGAIN);
    ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
    ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &tx), 0);
    check_counts(&tx, &weak, &rx, 2, 1);
    support_drop_sender(&tx);
    ck_assert_int_eq(uvch_mpsc_permit_get_sender(&permit, &tx), 0);
    if (used) {
      ck_assert_int_eq(uvch_mpsc_permit_send(&permit, &value), 0);
    } else {
      ck_assert_int_eq(uvch_mpsc_permit_release(&permit), 0);
    }
    check_counts(&tx, &weak, &rx, 1, 1);
    ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
    ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, used && CAPACITY == 1 ? 0 : 1, &permit), 0);
    support_drop_sender(&tx);
    ck_assert_int_eq(uvch_mpsc_permit_release(&permit), used && CAPACITY == 1 ? UV_EBADF : 0);
    check_upgrade_fails(&weak);
    check_counts(NULL, &weak, &rx, 0, 1);
    if (used) {
      ck_assert_uint_eq(support_take(&rx), 5);
    }
    check_try_recv(&rx, UV_EOF);
    support_close(&rx);
    drop_weak(&weak);
  }
}
END_TEST

static void on_sent(uvch_mpsc_send_t* req, int status) {
  *(int*) req->data = status;
}

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  *(int*) req->data = status;
}

START_TEST(an_upgrade_succeeds_while_a_request_waits) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t req;
  uint64_t value = 9;
  int status = 1;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, CAPACITY);
  weak = weaken(&tx);
  for (i = 0; i < CAPACITY; i++) {
    support_put(&tx, i);
  }
  req.data = &status;
  ck_assert_int_eq(uvch_mpsc_send(&loop, &req, &tx, &value, on_sent), 0);
  check_counts(&tx, &weak, &rx, 2, 1);
  support_drop_sender(&tx);
  check_counts(NULL, &weak, &rx, 1, 1);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &tx), 0);
  check_counts(&tx, &weak, &rx, 2, 1);
  support_drop_sender(&tx);
  ck_assert_int_eq(uvch_mpsc_receiver_is_closed(&rx), 0);
  ck_assert_uint_eq(support_take(&rx), 0);
  check_counts(NULL, &weak, &rx, 0, 1); /* it is in, and so nobody is left */
  check_upgrade_fails(&weak);
  support_loop_run(&loop);
  ck_assert_int_eq(status, 0);
  for (i = 1; i < CAPACITY; i++) {
    ck_assert_uint_eq(support_take(&rx), i);
  }
  ck_assert_uint_eq(support_take(&rx), 9);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
  drop_weak(&weak);
  support_loop_close(&loop);
}
END_TEST

START_TEST(the_counts_follow_every_step) {
  uvch_mpsc_weak_sender_t weak[3];
  uvch_mpsc_permit_t permit;
  uvch_mpsc_permit_t other;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx[3];

  open_channel(NULL, &rx, &tx[0], CAPACITY);
  check_counts(&tx[0], NULL, &rx, 1, 0);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx[0], &tx[1]), 0);
  check_counts(&tx[1], NULL, &rx, 2, 0);
  weak[0] = weaken(&tx[1]);
  check_counts(&tx[0], &weak[0], &rx, 2, 1);
  ck_assert_int_eq(uvch_mpsc_weak_sender_clone(&weak[0], &weak[1]), 0);
  check_counts(&tx[0], &weak[1], &rx, 2, 2);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak[1], &tx[2]), 0);
  check_counts(&tx[2], &weak[0], &rx, 3, 2);
  support_put(&tx[2], 1);
  check_counts(&tx[2], &weak[0], &rx, 3, 2); /* messages are none */
  support_take(&rx);
  if (CAPACITY == UVCH_UNBOUNDED) {
    ck_assert_int_eq(uvch_mpsc_try_reserve(&tx[0], 1, &permit), UV_EINVAL);
    check_counts(&tx[0], &weak[0], &rx, 3, 2);
  } else {
    ck_assert_int_eq(uvch_mpsc_try_reserve(&tx[0], CAPACITY, &permit), 0);
    check_counts(&tx[0], &weak[0], &rx, 3 + CAPACITY, 2); /* each place is one */
    if (CAPACITY > 1) {
      ck_assert_int_eq(uvch_mpsc_permit_split(&permit, 1, &other), 0);
      check_counts(&tx[0], &weak[0], &rx, 3 + CAPACITY, 2);
      ck_assert_int_eq(uvch_mpsc_permit_release(&other), 0);
      check_counts(&tx[0], &weak[0], &rx, 2 + CAPACITY, 2);
    }
    ck_assert_int_eq(uvch_mpsc_permit_release(&permit), 0);
    check_counts(&tx[0], &weak[0], &rx, 3, 2);
  }
  drop_weak(&weak[0]);
  check_counts(&tx[0], &weak[1], &rx, 3, 1);
  support_drop_sender(&tx[0]);
  support_drop_sender(&tx[2]);
  check_counts(&tx[1], &weak[1], &rx, 1, 1);
  support_drop_sender(&tx[1]);
  check_counts(NULL, &weak[1], &rx, 0, 1);
  weak[2] = weak[1]; /* moved */
  check_counts(NULL, &weak[2], &rx, 0, 1);
  support_close(&rx);
  check_counts(NULL, &weak[2], NULL, 0, 1);
  drop_weak(&weak[2]);
}
END_TEST

START_TEST(a_reservation_that_waits_counts_once_and_each_of_its_places_when_it_is_there) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_reserve_t req;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  int status = 1;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(NULL, &rx, &tx, 4);
  weak = weaken(&tx);
  support_put(&tx, 0);
  req.data = &status;
  ck_assert_int_eq(uvch_mpsc_reserve(&loop, &req, &tx, 4, &permit, on_reserved), 0);
  support_drop_sender(&tx);
  check_counts(NULL, &weak, &rx, 1, 1);
  support_take(&rx);
  check_counts(NULL, &weak, &rx, 4, 1);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &tx), 0);
  check_counts(&tx, &weak, &rx, 5, 1);
  support_drop_sender(&tx);
  support_loop_run(&loop);
  ck_assert_int_eq(status, 0);
  check_counts(NULL, &weak, &rx, 4, 1);
  ck_assert_int_eq(uvch_mpsc_permit_release(&permit), 0);
  check_counts(NULL, &weak, &rx, 0, 1);
  check_upgrade_fails(&weak);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
  drop_weak(&weak);
  support_loop_close(&loop);
}
END_TEST

START_TEST(the_channel_goes_with_its_last_weak_sender) {
  size_t before = support_alloc_blocks();
  uvch_mpsc_weak_sender_t weak[2];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  int first;

  for (first = 0; first < 2; first++) {
    support_loop_init(&loop);
    open_channel(&loop, &rx, &tx, CAPACITY);
    weak[0] = weaken(&tx);
    support_put(&tx, 3);
    if (first) {
      support_close(&rx);
      support_drop_sender(&tx);
    } else {
      support_drop_sender(&tx);
      support_close(&rx);
    }
    support_loop_end(&loop);
    ck_assert_uint_gt(support_alloc_blocks(), before);
    ck_assert_int_eq(uvch_mpsc_weak_sender_clone(&weak[0], &weak[1]), 0);
    drop_weak(&weak[0]);
    check_upgrade_fails(&weak[1]);
    check_counts(NULL, &weak[1], NULL, 0, 1);
    ck_assert_uint_gt(support_alloc_blocks(), before);
    drop_weak(&weak[1]);
    ck_assert_uint_eq(support_alloc_blocks(), before);
  }
}
END_TEST

static void drop_weak_item(void* item, void* arg) {
  uvch_mpsc_weak_sender_t weak;

  memcpy(&weak, item, sizeof(weak));
  support_check_eq(uvch_mpsc_weak_sender_close(&weak), 0);
  *(size_t*) arg += 1;
}

START_TEST(a_weak_sender_can_travel_in_its_own_channel) {
  uvch_mpsc_options_t options;
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_weak_sender_t got;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t dropped = 0;

  memset(&options, 0, sizeof(options));
  options.drop = drop_weak_item;
  options.arg = &dropped;
  ck_assert_int_eq(uvch_mpsc_init_ex(NULL, &rx, &tx, sizeof(weak), 4, &options), 0);
  weak = weaken(&tx);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &weak), 0);
  ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &got), 0);
  check_counts(&tx, &got, &rx, 1, 1);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &got), 0);
  support_drop_sender(&tx);
  support_close(&rx); /* the last one goes inside its own channel */
  ck_assert_uint_eq(dropped, 1);
}
END_TEST

/* 2^30 of each cannot be made here, so the count is set. */
START_TEST(there_may_be_two_to_the_30_of_each_and_no_more) {
  const size_t most = (size_t) 1 << 30;
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_weak_sender_t other;
  uvch_mpsc_weak_sender_t refused;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t copy;
  struct uvch__core* c;

  open_channel(NULL, &rx, &tx, 1);
  weak = weaken(&tx);
  ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &permit), 0);
  c = tx.core;
  atomic_fetch_add(&c->strong, (most - 2) * UVCH__SENDER);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &copy), 0);
  check_counts(&tx, &weak, &rx, most + 1, 1);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &copy), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak, &copy), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_permit_get_sender(&permit, &copy), UV_ENOMEM);
  check_counts(&tx, &weak, &rx, most + 1, 1);
  atomic_fetch_sub(&c->strong, (most - 1) * UVCH__SENDER);
  atomic_fetch_add(&c->weak, (unsigned int) most - 2);
  ck_assert_int_eq(uvch_mpsc_weak_sender_clone(&weak, &other), 0);
  ck_assert_int_eq(uvch_mpsc_weak_sender_clone(&weak, &refused), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_sender_downgrade(&tx, &refused), UV_ENOMEM);
  check_counts(&tx, &weak, &rx, 2, most);
  atomic_fetch_sub(&c->weak, (unsigned int) most - 2);
  drop_weak(&other);
  drop_weak(&weak);
  ck_assert_int_eq(uvch_mpsc_permit_release(&permit), 0);
  check_counts(&tx, NULL, &rx, 1, 0);
  support_drop_sender(&tx);
  check_try_recv(&rx, UV_EOF);
  support_close(&rx);
}
END_TEST

START_TEST(weak_senders_take_no_memory) {
  uvch_mpsc_weak_sender_t weak[100];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t other;
  size_t i;

  open_channel(NULL, &rx, &tx, CAPACITY);
  support_alloc_mark();
  for (i = 0; i < COUNT(weak); i++) {
    weak[i] = weaken(&tx);
    ck_assert_int_eq(uvch_mpsc_weak_sender_upgrade(&weak[i], &other), 0);
    support_drop_sender(&other);
  }
  check_counts(&tx, &weak[0], &rx, 1, COUNT(weak));
  ck_assert_uint_eq(support_alloc_calls(), 0);
  for (i = 0; i < COUNT(weak); i++) {
    drop_weak(&weak[i]);
  }
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

/* Races. The same threads run many rounds, each with a channel of its own; all begin a round together. */

enum { MOST_THREADS = 4, MOST_EACH = 2 };

typedef struct race_s race_t;

typedef struct runner_s {
  race_t* race;
  uv_thread_t thread;
  void (*act)(struct runner_s* runner);
  uvch_mpsc_sender_t tx;
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_permit_t permit;
  uint64_t random;
  size_t sent;
  size_t upgraded;
  size_t refused;
  support_result_t result;
} runner_t;

struct race_s {
  runner_t runners[MOST_THREADS];
  size_t threads;
  size_t rounds;
  uv_barrier_t barrier; /* the threads and the case */
  _Atomic(size_t) ready;
  size_t round;
};

static uint64_t draw(runner_t* runner, uint64_t below) {
  runner->random = runner->random * 6364136223846793005u + 1442695040888963407u;
  return (runner->random >> 33) % below;
}

/* A short while of its own length, without giving the processor away. */
static void dawdle(runner_t* runner) {
  volatile uint64_t n = draw(runner, 2) == 0 ? 0 : draw(runner, 300);

  while (n > 0) {
    n -= 1;
  }
}

/* A barrier lets its threads go one by one; here they go when all of them run. */
static void line_up(race_t* race) {
  size_t all = race->threads * (race->round + 1);
  size_t n;

  atomic_fetch_add(&race->ready, 1);
  for (n = 0; atomic_load(&race->ready) < all; n++) {
    if (n % 64 == 63) {
      support_yield();
    }
  }
}

static void run_rounds(void* arg) {
  runner_t* runner = arg;
  race_t* race = runner->race;
  size_t i;

  for (i = 0; i < race->rounds; i++) {
    uv_barrier_wait(&race->barrier);
    line_up(race);
    dawdle(runner);
    runner->act(runner);
    uv_barrier_wait(&race->barrier);
  }
}

static void race_init(race_t* race, size_t rounds) {
  memset(race, 0, sizeof(*race));
  race->rounds = rounds;
}

static runner_t* race_add(race_t* race, void (*act)(runner_t* runner)) {
  runner_t* runner = &race->runners[race->threads++];

  runner->race = race;
  runner->act = act;
  runner->random = race->threads * 7919;
  return runner;
}

static void race_start(race_t* race) {
  size_t i;

  ck_assert_int_eq(uv_barrier_init(&race->barrier, (unsigned int) race->threads + 1), 0);
  for (i = 0; i < race->threads; i++) {
    support_spawn(&race->runners[i].thread, run_rounds, &race->runners[i]);
  }
}

static void race_begin_round(race_t* race) {
  size_t i;

  for (i = 0; i < race->threads; i++) {
    race->runners[i].sent = 0;
  }
  uv_barrier_wait(&race->barrier);
}

/* How many messages were taken in it. */
static size_t race_end_round(race_t* race) {
  size_t sent = 0;
  size_t i;

  uv_barrier_wait(&race->barrier);
  race->round += 1;
  for (i = 0; i < race->threads; i++) {
    sent += race->runners[i].sent;
  }
  return sent;
}

static void race_join(race_t* race) {
  size_t i;

  for (i = 0; i < race->threads; i++) {
    support_join(&race->runners[i].thread);
    support_result_check(&race->runners[i].result);
  }
  uv_barrier_destroy(&race->barrier);
}

static void act_close_sender(runner_t* runner) {
  support_expect_eq(&runner->result, uvch_mpsc_sender_close(&runner->tx), 0);
}

/* With a sender in the hand the channel is open whatever the others do. */
static void use_sender(runner_t* runner, uvch_mpsc_sender_t* tx) {
  uint64_t value = 0;

  dawdle(runner);
  support_expect_eq(&runner->result, uvch_mpsc_sender_is_closed(tx), 0);
  support_expect(&runner->result, uvch_mpsc_sender_strong_count(tx) > 0);
  if (support_expect_eq(&runner->result, uvch_mpsc_try_send(tx, &value), 0)) {
    runner->sent += 1;
  }
}

static void act_upgrade(runner_t* runner) {
  uvch_mpsc_sender_t tx;
  int n;

  for (n = 0; n < MOST_EACH; n++) {
    int err = uvch_mpsc_weak_sender_upgrade(&runner->weak, &tx);

    if (err != 0) {
      support_expect_eq(&runner->result, err, UV_EPIPE);
      runner->refused += 1;
      break;
    }
    runner->upgraded += 1;
    use_sender(runner, &tx);
    dawdle(runner);
    support_expect_eq(&runner->result, uvch_mpsc_sender_close(&tx), 0);
  }
  if (n < MOST_EACH) {
    support_expect_eq(&runner->result, uvch_mpsc_weak_sender_upgrade(&runner->weak, &tx), UV_EPIPE); /* for ever */
  }
}

/* Reserves with what it got, and keeps the permit longer than the sender. */
static void act_upgrade_and_reserve(runner_t* runner) {
  uvch_mpsc_permit_t permit;
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;
  int n;

  for (n = 0; n < MOST_EACH; n++) {
    int err = uvch_mpsc_weak_sender_upgrade(&runner->weak, &tx);

    if (err != 0) {
      support_expect_eq(&runner->result, err, UV_EPIPE);
      runner->refused += 1;
      return;
    }
    runner->upgraded += 1;
    if (!support_expect_eq(&runner->result, uvch_mpsc_try_reserve(&tx, 1, &permit), 0)) {
      uvch_mpsc_sender_close(&tx);
      return;
    }
    support_expect_eq(&runner->result, uvch_mpsc_sender_close(&tx), 0);
    dawdle(runner);
    if (draw(runner, 2) == 0) {
      support_expect_eq(&runner->result, uvch_mpsc_permit_send(&permit, &value), 0);
      runner->sent += 1;
    } else {
      support_expect_eq(&runner->result, uvch_mpsc_permit_release(&permit), 0);
    }
  }
}

static void act_use_permit(runner_t* runner) {
  uvch_mpsc_sender_t tx;
  uint64_t value = 0;
  int more = draw(runner, 4) == 0;

  if (more) {
    support_expect_eq(&runner->result, uvch_mpsc_permit_get_sender(&runner->permit, &tx), 0);
  }
  if (draw(runner, 2) == 0) {
    support_expect_eq(&runner->result, uvch_mpsc_permit_send(&runner->permit, &value), 0);
    runner->sent += 1;
  } else {
    support_expect_eq(&runner->result, uvch_mpsc_permit_release(&runner->permit), 0);
  }
  if (more) {
    use_sender(runner, &tx);
    support_expect_eq(&runner->result, uvch_mpsc_sender_close(&tx), 0);
  }
}

/* All have let go: what was sent, then the end, for ever. */
static void check_ended(uvch_mpsc_receiver_t* rx, const uvch_mpsc_weak_sender_t* weak, size_t sent) {
  uint64_t value;
  size_t i;

  support_check_eq(uvch_mpsc_receiver_is_closed(rx), 1);
  support_check_eq(uvch_mpsc_receiver_strong_count(rx), 0);
  for (i = 0; i < sent; i++) {
    support_check_eq(uvch_mpsc_try_recv(rx, &value), 0);
  }
  check_try_recv(rx, UV_EOF);
  check_upgrade_fails(weak);
}

static void count_cb(uvch_mpsc_receiver_t* rx, int status, void* item) {
  size_t* seen = rx->data;

  if (status == 0) {
    support_check(item != NULL);
    support_check_eq(seen[1], 0);
    seen[0] += 1;
    return;
  }
  support_check_eq(status, UV_EOF);
  seen[1] += 1;
  support_check_eq(uvch_mpsc_receiver_strong_count(rx), 0);
  support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

/* The rounds of a race in which the thread `closer` has the last sender, `holders` threads after it have a permit each, and all
 * others have a weak sender. With a loop the end has to come by itself while they run. */
static void run_race(race_t* race, size_t capacity, bool with_loop, size_t holders) {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  size_t seen[2];
  size_t sent;
  size_t i;

  if (with_loop) {
    support_loop_init(&loop);
  }
  race_start(race);
  while (race->round < race->rounds) {
    open_channel(with_loop ? &loop : NULL, &rx, &tx, capacity);
    weak = weaken(&tx);
    for (i = 0; i < race->threads; i++) {
      race->runners[i].weak = weaken(&tx);
    }
    for (i = 1; i <= holders; i++) {
      support_check_eq(uvch_mpsc_try_reserve(&tx, 1, &race->runners[i].permit), 0);
    }
    if (with_loop) {
      memset(seen, 0, sizeof(seen));
      rx.data = seen;
      support_check_eq(uvch_mpsc_recv_start(&rx, count_cb), 0);
      uv_run(&loop, UV_RUN_NOWAIT);
    }
    race->runners[0].tx = tx; /* moved */
    race_begin_round(race);
    if (with_loop) {
      support_check_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
      support_check_eq(seen[1], 1);
      check_upgrade_fails(&weak);
    }
    sent = race_end_round(race);
    if (with_loop) {
      support_check_eq(seen[0], sent);
    } else {
      check_ended(&rx, &weak, sent);
      support_close(&rx);
    }
    for (i = 0; i < race->threads; i++) {
      drop_weak(&race->runners[i].weak);
    }
    drop_weak(&weak);
  }
  race_join(race);
  if (with_loop) {
    support_loop_close(&loop);
  }
}

static const size_t race_capacities[] = {8, UVCH_UNBOUNDED};

#define ROUNDS 1000

START_TEST(an_upgrade_at_the_last_close_fails_or_keeps_the_channel_open) {
  race_t race;
  size_t i;

  race_init(&race, support_scale(ROUNDS));
  race_add(&race, act_close_sender);
  for (i = 0; i < 1 + (size_t) _i / 4 * 2; i++) { /* one, or three */
    race_add(&race, act_upgrade);
  }
  run_race(&race, race_capacities[_i % 2], _i / 2 % 2 == 1, 0);
}
END_TEST

START_TEST(an_upgrade_when_the_last_permit_goes_fails_or_keeps_the_channel_open) {
  race_t race;

  race_init(&race, support_scale(ROUNDS));
  race_add(&race, act_close_sender);
  race_add(&race, act_use_permit);
  race_add(&race, act_upgrade);
  race_add(&race, _i / 2 == 0 ? act_upgrade : act_upgrade_and_reserve);
  run_race(&race, 16, _i % 2 == 1, 1);
}
END_TEST

START_TEST(the_last_sender_and_two_permits_may_go_at_the_same_time) {
  race_t race;

  race_init(&race, support_scale(ROUNDS));
  race_add(&race, act_close_sender);
  race_add(&race, act_use_permit);
  race_add(&race, act_use_permit);
  race_add(&race, act_upgrade_and_reserve);
  run_race(&race, 16, _i == 1, 2);
}
END_TEST

/* Only permits are left, all the while: each upgrade leaves that state and comes back to it. */
typedef struct relay_s {
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_permit_t permit;
  uv_thread_t thread;
  size_t rounds;
  support_result_t result;
} relay_t;

/* Always takes the next permit before it gives the last one back. */
static void run_relay(void* arg) {
  relay_t* relay = arg;
  uvch_mpsc_permit_t next;
  uvch_mpsc_sender_t tx;
  size_t i;

  for (i = 0; i < relay->rounds; i++) {
    if (!support_expect_eq(&relay->result, uvch_mpsc_weak_sender_upgrade(&relay->weak, &tx), 0)) {
      break;
    }
    support_expect_eq(&relay->result, uvch_mpsc_try_reserve(&tx, 1, &next), 0);
    support_expect_eq(&relay->result, uvch_mpsc_sender_close(&tx), 0);
    support_expect_eq(&relay->result, uvch_mpsc_permit_release(&relay->permit), 0);
    relay->permit = next;
  }
  support_expect_eq(&relay->result, uvch_mpsc_weak_sender_close(&relay->weak), 0);
  support_expect_eq(&relay->result, uvch_mpsc_permit_release(&relay->permit), 0);
}

START_TEST(a_channel_never_ends_while_one_permit_follows_another) {
  relay_t relays[3];
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  support_sink_t sink;
  uv_loop_t loop;
  size_t i;

  memset(relays, 0, sizeof(relays));
  support_loop_init(&loop);
  open_channel(&loop, &rx, &tx, 2 * COUNT(relays));
  support_sink_start(&sink, &rx);
  for (i = 0; i < COUNT(relays); i++) {
    relays[i].rounds = support_scale(20000);
    relays[i].weak = weaken(&tx);
    ck_assert_int_eq(uvch_mpsc_try_reserve(&tx, 1, &relays[i].permit), 0);
  }
  support_drop_sender(&tx);
  for (i = 0; i < COUNT(relays); i++) {
    support_spawn(&relays[i].thread, run_relay, &relays[i]);
  }
  support_loop_end(&loop); /* the end comes with the last permit */
  for (i = 0; i < COUNT(relays); i++) {
    support_join(&relays[i].thread);
    support_result_check(&relays[i].result);
  }
  support_sink_check(&sink, 0, 1);
}
END_TEST

/* Weak senders that are cloned, upgraded and closed on threads while everything else goes. */
static void act_clone_and_close(runner_t* runner) {
  uvch_mpsc_weak_sender_t copy;
  uvch_mpsc_sender_t tx;

  support_expect_eq(&runner->result, uvch_mpsc_weak_sender_clone(&runner->weak, &copy), 0);
  support_expect_eq(&runner->result, uvch_mpsc_weak_sender_close(&runner->weak), 0);
  dawdle(runner);
  if (uvch_mpsc_weak_sender_upgrade(&copy, &tx) == 0) {
    support_expect_eq(&runner->result, uvch_mpsc_sender_close(&tx), 0);
  }
  support_expect_eq(&runner->result, uvch_mpsc_weak_sender_close(&copy), 0);
}

START_TEST(whoever_goes_last_frees_the_channel) {
  size_t before = support_alloc_blocks();
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  race_t race;
  size_t i;

  race_init(&race, support_scale(ROUNDS));
  race_add(&race, act_close_sender);
  for (i = 1; i < MOST_THREADS; i++) {
    race_add(&race, act_clone_and_close);
  }
  race_start(&race);
  while (race.round < race.rounds) {
    open_channel(NULL, &rx, &tx, race_capacities[_i]);
    for (i = 1; i < race.threads; i++) {
      race.runners[i].weak = weaken(&tx);
    }
    support_put(&tx, 1);
    race.runners[0].tx = tx;
    race_begin_round(&race);
    support_close(&rx);
    race_end_round(&race);
    support_check_eq(support_alloc_blocks(), before);
  }
  race_join(&race);
}
END_TEST

/* Stepping. One thread does what may end the channel, and after its n-th instruction somebody comes in between: for every n. */

#if defined(WITH_STEPS)

typedef struct step_s {
  size_t left; /* instructions before somebody comes */
  void (*intrude)(struct step_s* step);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_permit_t permit;
  uvch_mpsc_sender_t kept_tx; /* by who came in between */
  uvch_mpsc_permit_t kept;
  int upgraded; /* what the upgrade said; 1: there was none */
  int closed;   /* what a sender in the hand saw of the channel */
  int came;
  size_t sent;
  int wrong;
} step_t;

static step_t step;

enum { TRAP_FLAG = 0x100 };

static void on_step(int number, siginfo_t* info, void* context) {
  ucontext_t* at = context;

  (void) number;
  (void) info;
  if (--step.left > 0) {
    return;
  }
  at->uc_mcontext.gregs[REG_EFL] &= ~(greg_t) TRAP_FLAG;
  step.came = 1;
  step.intrude(&step);
}

static void steps_begin(void) {
  __asm__ __volatile__("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
}

static void steps_end(void) {
  __asm__ __volatile__("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
}

static void intrude_with_a_sender(step_t* s) {
  uint64_t value = 0;

  s->upgraded = uvch_mpsc_weak_sender_upgrade(&s->weak, &s->kept_tx);
  if (s->upgraded == 0) {
    s->closed = uvch_mpsc_sender_is_closed(&s->kept_tx);
    s->sent += uvch_mpsc_try_send(&s->kept_tx, &value) == 0;
  }
}

/* Leaves a permit behind, as it was before. */
static void intrude_with_a_permit(step_t* s) {
  uvch_mpsc_sender_t tx;

  s->upgraded = uvch_mpsc_weak_sender_upgrade(&s->weak, &tx);
  if (s->upgraded == 0) {
    s->closed = uvch_mpsc_sender_is_closed(&tx);
    s->wrong += uvch_mpsc_try_reserve(&tx, 1, &s->kept) != 0;
    s->wrong += uvch_mpsc_sender_close(&tx) != 0;
  }
}

/* Comes and goes, so that it is as if nobody had come. */
static void intrude_and_leave(step_t* s) {
  intrude_with_a_permit(s);
  if (s->kept.count > 0) {
    s->wrong += uvch_mpsc_permit_release(&s->kept) != 0;
  }
}

static void intrude_with_a_release(step_t* s) {
  s->wrong += uvch_mpsc_permit_release(&s->permit) != 0;
}

static void intrude_with_a_permit_and_a_release(step_t* s) {
  intrude_with_a_permit(s);
  intrude_with_a_release(s);
}

/* The other one who held it open goes. */
static void intrude_with_a_close(step_t* s) {
  s->wrong += uvch_mpsc_sender_close(&s->tx) != 0;
}

enum { END_BY_SENDER, END_BY_SENDER_BESIDE_A_PERMIT, END_BY_RELEASE, END_BY_PERMIT_SEND };

static const struct {
  int end;
  bool sender_stays; /* beside the permit; who comes in between closes it */
  void (*intrude)(step_t* step);
} steps[] = {
    {END_BY_SENDER, false, intrude_with_a_sender},
    {END_BY_SENDER, false, intrude_with_a_permit},
    {END_BY_SENDER, false, intrude_and_leave},
    {END_BY_SENDER_BESIDE_A_PERMIT, false, intrude_with_a_release},
    {END_BY_SENDER_BESIDE_A_PERMIT, false, intrude_with_a_permit_and_a_release},
    {END_BY_RELEASE, false, intrude_with_a_sender},
    {END_BY_RELEASE, false, intrude_with_a_permit},
    {END_BY_RELEASE, false, intrude_and_leave},
    {END_BY_RELEASE, true, intrude_with_a_close},
    {END_BY_PERMIT_SEND, false, intrude_with_a_sender},
    {END_BY_PERMIT_SEND, false, intrude_with_a_permit},
    {END_BY_PERMIT_SEND, false, intrude_and_leave},
    {END_BY_PERMIT_SEND, true, intrude_with_a_close},
};

static int step_end(int end) {
  uint64_t value = 0;
  int err;

  steps_begin();
  if (end <= END_BY_SENDER_BESIDE_A_PERMIT) {
    err = uvch_mpsc_sender_close(&step.tx);
  } else if (end == END_BY_RELEASE) {
    err = uvch_mpsc_permit_release(&step.permit);
  } else {
    err = uvch_mpsc_permit_send(&step.permit, &value);
  }
  steps_end();
  step.sent += end == END_BY_PERMIT_SEND;
  return err;
}

/* Whether somebody came: not if it took fewer instructions. */
static int step_round(size_t n, size_t i) {
  int kept;

  memset(&step, 0, sizeof(step));
  step.left = n;
  step.intrude = steps[i].intrude;
  step.upgraded = 1;
  open_channel(NULL, &step.rx, &step.tx, 4);
  step.weak = weaken(&step.tx);
  support_put(&step.tx, 0); /* the storage is there */
  support_take(&step.rx);
  if (steps[i].end != END_BY_SENDER) {
    support_check_eq(uvch_mpsc_try_reserve(&step.tx, 1, &step.permit), 0);
  }
  if (steps[i].end >= END_BY_RELEASE && !steps[i].sender_stays) {
    support_drop_sender(&step.tx);
  }
  support_check_eq(step_end(steps[i].end), 0);
  if (!step.came) {
    step.intrude(&step); /* right after it */
  }
  support_check_eq(step.wrong, 0);
  support_check(step.upgraded == 0 || step.upgraded == 1 || step.upgraded == UV_EPIPE);
  support_check_eq(step.closed, 0);
  kept = step.kept_tx.core != NULL || step.kept.count > 0;
  support_check_eq(uvch_mpsc_receiver_is_closed(&step.rx), !kept);
  for (; step.sent > 0; step.sent--) {
    support_take(&step.rx);
  }
  check_try_recv(&step.rx, kept ? UV_EAGAIN : UV_EOF);
  if (step.kept_tx.core != NULL) {
    support_drop_sender(&step.kept_tx);
  }
  if (step.kept.count > 0) {
    support_check_eq(uvch_mpsc_permit_release(&step.kept), 0);
  }
  check_ended(&step.rx, &step.weak, 0);
  support_close(&step.rx);
  drop_weak(&step.weak);
  return step.came;
}

START_TEST(whatever_comes_between_any_two_instructions_of_the_end_is_seen_or_refused) {
  struct sigaction action;
  struct sigaction before;
  size_t n = 1;

  memset(&action, 0, sizeof(action));
  action.sa_sigaction = on_step;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  ck_assert_int_eq(sigaction(SIGTRAP, &action, &before), 0);
  while (step_round(n, (size_t) _i)) {
    n += 1;
  }
  ck_assert_uint_gt(n, 20);
  ck_assert_int_eq(sigaction(SIGTRAP, &before, NULL), 0);
}
END_TEST

#else

static const int steps[1];

START_TEST(whatever_comes_between_any_two_instructions_of_the_end_is_seen_or_refused) {
  (void) steps;
}
END_TEST

#endif

static void add_one_thread(Suite* suite) {
  TCase* tcase = support_case(suite, "one thread");

  add_for_every_capacity(tcase, a_closed_weak_sender_answers_every_call_and_changes_nothing);
  add_for_every_capacity(tcase, null_is_refused_and_changes_nothing);
  add_for_every_capacity(tcase, a_weak_sender_does_not_keep_the_channel_open);
  add_for_every_capacity(tcase, an_upgrade_makes_a_sender_like_any_other);
  add_for_every_capacity(tcase, an_upgrade_succeeds_while_there_is_a_sender_though_the_receiver_is_gone);
  add_for_every_bound(tcase, an_upgrade_succeeds_while_a_permit_is_out);
  add_for_every_bound(tcase, an_upgrade_succeeds_while_a_request_waits);
  add_for_every_capacity(tcase, the_counts_follow_every_step);
  tcase_add_test(tcase, a_reservation_that_waits_counts_once_and_each_of_its_places_when_it_is_there);
  add_for_every_capacity(tcase, the_channel_goes_with_its_last_weak_sender);
  tcase_add_test(tcase, a_weak_sender_can_travel_in_its_own_channel);
  tcase_add_test(tcase, there_may_be_two_to_the_30_of_each_and_no_more);
  add_for_every_capacity(tcase, weak_senders_take_no_memory);
}

static void add_races(Suite* suite) {
  TCase* tcase = support_case(suite, "races");

  tcase_add_loop_test(tcase, an_upgrade_at_the_last_close_fails_or_keeps_the_channel_open, 0, 8);
  tcase_add_loop_test(tcase, an_upgrade_when_the_last_permit_goes_fails_or_keeps_the_channel_open, 0, 4);
  tcase_add_loop_test(tcase, the_last_sender_and_two_permits_may_go_at_the_same_time, 0, 2);
  tcase_add_test(tcase, a_channel_never_ends_while_one_permit_follows_another);
  tcase_add_loop_test(tcase, whatever_comes_between_any_two_instructions_of_the_end_is_seen_or_refused, 0, (int) COUNT(steps));
  tcase_add_loop_test(tcase, whoever_goes_last_frees_the_channel, 0, (int) COUNT(race_capacities));
}

int main(void) {
  Suite* suite = suite_create("weak");

  add_one_thread(suite);
  add_races(suite);
  return support_main(suite);
}
