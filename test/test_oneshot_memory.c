/* SPDX-License-Identifier: MIT
 *
 * Oneshot channels and memory: how much, used again, none left; senders that outlive everything, stale copies of them, forks, and
 * programs that close the library's handles. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "oneshot_support.h"

#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* How much. */

START_TEST(an_idle_pair_takes_at_most_128_bytes) {
  enum { PAIRS = 200 };
  static uvch_oneshot_receiver_t rx[PAIRS];
  static uvch_oneshot_sender_t tx[PAIRS];
  uvch_oneshot_receiver_t anchor;
  uvch_oneshot_sender_t anchor_tx;
  outcome_t outcome;
  uv_loop_t loop;
  size_t before;
  size_t i;

  support_loop_init(&loop);
  open_pair(&loop, &anchor, &anchor_tx); /* the first one of a loop makes what they share */
  before = support_alloc_bytes();
  for (i = 0; i < PAIRS; i++) {
    open_pair(_i == ON_LOOP ? &loop : NULL, &rx[i], &tx[i]);
    if (_i == ATTACHED) {
      ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &rx[i]), 0);
    }
  }
  ck_assert_uint_le(support_alloc_bytes() - before, 128 * PAIRS);
  if (_i != PLAIN) {
    for (i = 0; i < PAIRS; i++) { /* waiting takes no more */
      await(&rx[i], &outcome);
    }
    ck_assert_uint_le(support_alloc_bytes() - before, 128 * PAIRS);
  }
  for (i = 0; i < PAIRS; i++) {
    drop_sender(&tx[i]);
    close_rx(&rx[i]);
  }
  drop_sender(&anchor_tx);
  close_rx(&anchor);
  support_loop_end(&loop);
}
END_TEST

/* Used again. */

/* The ways in which a channel comes to its end. */
enum { BY_CALLBACK, BY_TRY, BY_CLOSE, BY_GIVING_UP, BY_SENDER_LAST, ENDS };

static void exchange(int end, uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx, drops_t* drops) {
  outcome_t outcome;

  open_dropping(loop, rx, tx, drops);
  if (end == BY_CALLBACK) {
    await(rx, &outcome);
    put(tx, 3);
    support_check_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
    check_value(&outcome, 3);
  } else if (end == BY_TRY || end == BY_CLOSE) {
    put(tx, 3);
    support_check(end == BY_CLOSE || take(rx) == 3);
  } else if (end == BY_GIVING_UP) {
    drop_sender(tx);
    support_check_eq(try_take(rx), UV_EOF);
  }
  close_rx(rx);
  if (end == BY_SENDER_LAST) {
    support_check_eq(try_put(tx), UV_EPIPE);
  }
}

START_TEST(a_steady_exchange_on_a_loop_takes_no_memory) {
  enum { AT_ONCE = 40 };
  uvch_oneshot_receiver_t anchor;
  uvch_oneshot_sender_t anchor_tx;
  uvch_oneshot_receiver_t rx[AT_ONCE];
  uvch_oneshot_sender_t tx[AT_ONCE];
  drops_t drops = {.count = 0};
  uv_loop_t loop;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  open_pair(&loop, &anchor, &anchor_tx);
  for (round = 0; round < 50; round++) {
    if (round == 2) {
      support_alloc_mark();
    }
    for (i = 0; i < AT_ONCE; i++) {
      exchange(_i, &loop, &rx[i], &tx[i], &drops);
    }
    support_loop_run(&loop);
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  ck_assert_uint_eq(drops.count, _i == BY_CLOSE ? 50 * AT_ONCE : 0);
  drop_sender(&anchor_tx);
  close_rx(&anchor);
  support_loop_end(&loop);
}
END_TEST

START_TEST(sizes_do_not_mix_when_memory_is_used_again) {
  static const size_t sizes[] = {8, 4096, 1, 100, 0, 64, 65, 9, 2048, 16};
  unsigned char* bytes = malloc(4096);
  uvch_oneshot_receiver_t anchor;
  uvch_oneshot_sender_t anchor_tx;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uv_loop_t loop;
  size_t round;

  ck_assert_ptr_nonnull(bytes);
  support_loop_init(&loop);
  open_pair(&loop, &anchor, &anchor_tx);
  for (round = 0; round < 10 * COUNT(sizes); round++) {
    size_t size = sizes[round * 7 % COUNT(sizes)];

    ck_assert_int_eq(uvch_oneshot_init(&loop, &rx, &tx, size), 0);
    fill(bytes, size);
    ck_assert_int_eq(uvch_oneshot_send(&tx, bytes), 0);
    memset(bytes, 0, size);
    ck_assert_int_eq(uvch_oneshot_try_recv(&rx, bytes), 0);
    check_blob(bytes, size);
    close_rx(&rx);
    support_loop_run(&loop);
  }
  free(bytes);
  drop_sender(&anchor_tx);
  close_rx(&anchor);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_drop_function_goes_with_its_channel) {
  uvch_oneshot_receiver_t anchor;
  uvch_oneshot_sender_t anchor_tx;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  drops_t drops[2] = {{.count = 0}, {.count = 0}};
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_pair(&loop, &anchor, &anchor_tx);
  for (i = 0; i < 6; i++) { /* all in the same memory: one with this function, one with none, one with that function */
    if (i % 2 == 0) {
      open_dropping(&loop, &rx, &tx, &drops[i / 2 % 2]);
    } else {
      open_pair(&loop, &rx, &tx);
    }
    put(&tx, i);
    close_rx(&rx);
    support_loop_run(&loop);
    ck_assert_uint_eq(drops[0].count, i < 4 ? 1 : 2);
    ck_assert_uint_eq(drops[1].count, i < 2 ? 0 : 1);
  }
  drop_sender(&anchor_tx);
  close_rx(&anchor);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_renewed_receiver_takes_no_memory) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;
  uv_loop_t loop;
  drops_t drops;
  uint64_t value;
  uint64_t i;

  support_loop_init(&loop);
  open_kind(_i, &loop, &rx, &tx, &drops);
  for (i = 0; i < 1000; i++) {
    if (i == 10) {
      support_alloc_mark();
    }
    if (_i != PLAIN) {
      await(&rx, &outcome);
      put(&tx, i);
      uv_run(&loop, UV_RUN_DEFAULT);
      check_value(&outcome, i);
    } else if (i % 3 == 0) {
      put(&tx, i);
      support_check_eq(uvch_oneshot_recv_wait(&rx, &value), 0);
      support_check_eq(value, i);
    } else if (i % 3 == 1) {
      put(&tx, i);
      support_check_eq(take(&rx), i);
    } else {
      drop_sender(&tx);
      support_check_eq(try_take(&rx), UV_EOF);
    }
    support_check_eq(uvch_oneshot_renew(&rx, &tx), 0);
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  drop_sender(&tx);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* The memory of 1,000 channels that end together is not all kept. */
START_TEST(of_1000_channels_that_end_together_only_some_memory_is_kept) {
  enum { MANY = 1000, SPARES = 64 };
  uvch_oneshot_receiver_t* rx = calloc(MANY, sizeof(*rx));
  uvch_oneshot_sender_t* tx = calloc(MANY, sizeof(*tx));
  uvch_oneshot_receiver_t anchor;
  uvch_oneshot_sender_t anchor_tx;
  uv_loop_t loop;
  size_t before;
  size_t round;
  size_t one;
  size_t i;

  ck_assert(rx != NULL && tx != NULL);
  support_loop_init(&loop);
  open_pair(&loop, &anchor, &anchor_tx);
  before = support_alloc_bytes();
  open_pair(&loop, &rx[0], &tx[0]);
  one = support_alloc_bytes() - before;
  drop_sender(&tx[0]);
  close_rx(&rx[0]);
  support_loop_run(&loop);
  for (round = 0; round < 6; round++) {
    for (i = 0; i < MANY; i++) {
      open_pair(&loop, &rx[i], &tx[i]);
    }
    for (i = 0; i < MANY; i++) {
      if (round % 2 == 0) {
        put(&tx[i], i);
        ck_assert_uint_eq(take(&rx[i]), i);
        close_rx(&rx[i]);
      } else { /* the sender last */
        close_rx(&rx[i]);
        ck_assert_int_eq(try_put(&tx[i]), UV_EPIPE);
      }
    }
    support_loop_run(&loop);
    ck_assert_uint_le(support_alloc_bytes(), before + 2 * SPARES * one); /* half of them as senders gave them back */
  }
  drop_sender(&anchor_tx);
  close_rx(&anchor);
  support_loop_end(&loop);
  free(rx);
  free(tx);
}
END_TEST

/* Copies of senders that were used up. */

static void check_stale(uv_loop_t* loop, const uvch_oneshot_sender_t* stale) {
  uvch_oneshot_sender_t copy = *stale;
  watcher_t watcher;

  support_check_eq(uvch_oneshot_sender_is_closed(&copy), 1);
  support_check_eq(try_watch(loop, &watcher, &copy), UV_EBADF);
  support_check_eq(uvch_oneshot_closed_timedwait(&copy, 0), UV_EBADF);
  support_check_eq(try_put(&copy), UV_EBADF);
  copy = *stale;
  support_check_eq(uvch_oneshot_sender_close(&copy), UV_EBADF);
}

/* Each is used up in another way. */
enum { STALE_SENT, STALE_GIVEN_UP, STALE_REFUSED, STALE_CLOSED_LATE, STALE_SHUT, STALES };

static void use_up(int way, uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx) {
  uvch_oneshot_sender_t stale = *tx;

  if (way == STALE_SENT) {
    put(tx, 5);
    check_stale(loop, &stale); /* with the value still in it */
    support_check_eq(take(rx), 5);
  } else if (way == STALE_GIVEN_UP) {
    drop_sender(tx);
    support_check_eq(try_take(rx), UV_EOF);
  } else if (way == STALE_SHUT) {
    support_check_eq(uvch_oneshot_recv_shutdown(rx), 0);
    support_check_eq(try_put(tx), UV_EPIPE);
    check_stale(loop, &stale);
    support_check_eq(try_take(rx), UV_EOF);
  } else {
    close_rx(rx);
    support_check_eq(way == STALE_REFUSED ? try_put(tx) : uvch_oneshot_sender_close(tx), way == STALE_REFUSED ? UV_EPIPE : 0);
  }
  check_stale(loop, &stale);
}

START_TEST(a_stale_copy_of_a_sender_cannot_touch_the_channels_that_come_after_it) {
  bool renews = _i / STALES == 1;
  uvch_oneshot_sender_t stale[100];
  uvch_oneshot_receiver_t anchor;
  uvch_oneshot_sender_t anchor_tx;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uv_loop_t loop;
  size_t i;
  size_t k;

  support_loop_init(&loop);
  open_pair(&loop, &anchor, &anchor_tx);
  open_pair(&loop, &rx, &tx);
  for (i = 0; i < COUNT(stale); i++) {
    stale[i] = tx;
    use_up(_i % STALES, &loop, &rx, &tx);
    if (renews && !uvch_is_closing((uvch_handle_t*) &rx)) {
      ck_assert_int_eq(uvch_oneshot_renew(&rx, &tx), 0);
    } else {
      (void) uvch_close((uvch_handle_t*) &rx, NULL); /* if it is not closed yet */
      support_loop_run(&loop);
      check_stale(&loop, &stale[i]);
      open_pair(&loop, &rx, &tx);
    }
    for (k = 0; k <= i; k++) {
      check_stale(&loop, &stale[k]);
    }
    ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
    ck_assert_int_eq(uvch_oneshot_sender_is_closed(&tx), 0);
  }
  drop_sender(&tx);
  close_rx(&rx);
  drop_sender(&anchor_tx);
  close_rx(&anchor);
  support_loop_end(&loop);
}
END_TEST

/* Senders that are left. */

/* On another thread: this one counts as that of the loop still. */
typedef struct mourner_s {
  uvch_oneshot_sender_t* tx;
  support_result_t result;
} mourner_t;

static void wait_for_the_dead(void* arg) {
  mourner_t* mourner = arg;

  support_expect_eq(&mourner->result, uvch_oneshot_closed_wait(mourner->tx), 0);
  support_expect_eq(&mourner->result, uvch_oneshot_closed_timedwait(mourner->tx, 0), 0);
}

START_TEST(a_sender_outlives_its_receiver_and_the_loop) {
  uvch_oneshot_receiver_t* rx = malloc(3 * sizeof(*rx));
  uvch_oneshot_sender_t tx[3];
  watcher_t watcher;
  uv_loop_t* loop = malloc(sizeof(*loop));
  uv_thread_t thread;
  mourner_t mourner;
  uv_loop_t other;
  drops_t drops;
  size_t i;

  ck_assert(rx != NULL && loop != NULL);
  support_loop_init(loop);
  for (i = 0; i < COUNT(tx); i++) {
    open_kind(_i, loop, &rx[i], &tx[i], &drops);
    close_rx(&rx[i]);
  }
  support_loop_end(loop);
  memset(rx, 0xdd, 3 * sizeof(*rx));
  memset(loop, 0xdd, sizeof(*loop));
  free(rx);
  free(loop);
  for (i = 0; i < COUNT(tx); i++) {
    ck_assert_int_eq(uvch_oneshot_sender_is_closed(&tx[i]), 1);
  }
  memset(&mourner, 0, sizeof(mourner));
  mourner.tx = &tx[2];
  support_spawn(&thread, wait_for_the_dead, &mourner);
  support_join(&thread);
  support_result_check(&mourner.result);
  support_loop_init(&other);
  watch(&other, &watcher, &tx[2]);
  support_loop_run(&other);
  check_told(&watcher, 0);
  support_loop_close(&other);
  ck_assert_int_eq(try_put(&tx[0]), UV_EPIPE);
  ck_assert_int_eq(try_put(&tx[0]), UV_EBADF);
  drop_sender(&tx[1]);
  drop_sender(&tx[2]);
  ck_assert_uint_eq(drops.count, 0);
}
END_TEST

START_TEST(ends_may_go_in_any_order) {
  static const char* const orders[] = {"srl", "rsl", "rls", "lsr", "lrs", "slr"};
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  bool loop_closed = false;
  const char* step;
  uv_loop_t loop;
  drops_t drops;
  bool closed = false;

  support_loop_init(&loop);
  open_kind(_i % KINDS, &loop, &rx, &tx, &drops);
  for (step = orders[_i / KINDS]; *step != '\0'; step++) {
    if (*step == 's') {
      ck_assert_int_eq(try_put(&tx), closed ? UV_EPIPE : 0);
    } else if (*step == 'r') {
      close_rx(&rx);
      closed = true;
    } else if (!closed && _i % KINDS != PLAIN) {
      ck_assert_int_eq(uv_loop_close(&loop), UV_EBUSY);
    } else {
      support_loop_end(&loop);
      memset(&loop, 0xdd, sizeof(loop));
      loop_closed = true;
    }
  }
  if (!loop_closed) {
    support_loop_end(&loop);
  }
  ck_assert_uint_eq(drops.count, strchr(orders[_i / KINDS], 's') < strchr(orders[_i / KINDS], 'r'));
}
END_TEST

/* A program that makes every call that may need memory, run again and again with another allocation failing each time. */

enum { DIRECT, THREADED, BOUND, CHANNELS };

typedef struct program_s {
  uv_loop_t loop;
  bool for_good; /* once memory is out, it stays so: the first UV_ENOMEM ends the program */
  uvch_oneshot_receiver_t rx[CHANNELS];
  uvch_oneshot_sender_t tx[CHANNELS];
  uvch_oneshot_sender_t old;
  bool open[CHANNELS];
  bool renewed;
  outcome_t outcomes[CHANNELS];
  watcher_t watchers[3];
  bool watched[3];
  drops_t drops;
  size_t sent;
  size_t got;
} program_t;

/* 1: it worked. 0: no memory, which must be true. */
static int worked(int result) {
  if (result == UV_ENOMEM) {
    ck_assert_uint_gt(support_alloc_failed(), 0);
    return 0;
  }
  support_check_eq(result, 0);
  return 1;
}

/* A call that has failed for a single allocation works the next time. */
#define TRY(program, call) (worked(call) || (!(program)->for_good && worked(call)))

/* A wait that ends by its time, if it can begin. */
static int timed_out(int result) {
  return result == UV_ETIMEDOUT ? 0 : result;
}

static int program_open(program_t* p, size_t i) {
  uvch_oneshot_options_t options;

  memset(&options, 0, sizeof(options));
  options.drop = drops_cb;
  options.arg = &p->drops;
  p->open[i] = TRY(p, uvch_oneshot_init_ex(i == DIRECT ? &p->loop : NULL, &p->rx[i], &p->tx[i], sizeof(uint64_t), &options));
  return p->open[i];
}

static int program_watch(program_t* p, size_t k, size_t i) {
  p->watched[k] = TRY(p, try_watch(&p->loop, &p->watchers[k], &p->tx[i]));
  return p->watched[k];
}

static int program_use(program_t* p) {
  uint64_t value;
  size_t i;

  for (i = 0; i < CHANNELS; i++) {
    if (!program_open(p, i)) {
      return 0;
    }
  }
  if (!program_watch(p, 0, DIRECT) || !program_watch(p, 1, DIRECT) || !program_watch(p, 2, THREADED) ||
      !TRY(p, timed_out(uvch_oneshot_recv_timedwait(&p->rx[THREADED], &value, 1000))) ||
      !TRY(p, timed_out(uvch_oneshot_closed_timedwait(&p->tx[THREADED], 1000)))) {
    return 0;
  }
  put(&p->tx[BOUND], 5);
  p->sent += 1;
  if (!TRY(p, uvch_attach(&p->loop, (uvch_handle_t*) &p->rx[BOUND]))) {
    return 0;
  }
  await(&p->rx[DIRECT], &p->outcomes[DIRECT]);
  await(&p->rx[BOUND], &p->outcomes[BOUND]);
  turn(&p->loop);
  support_check_eq(cancel(&p->watchers[1]), 0);
  support_check_eq(uvch_oneshot_recv_shutdown(&p->rx[THREADED]), 0);
  support_check_eq(try_take(&p->rx[THREADED]), UV_EOF);
  p->old = p->tx[THREADED]; /* still open, so that the next channel cannot have its memory */
  p->renewed = TRY(p, uvch_oneshot_renew(&p->rx[THREADED], &p->tx[THREADED]));
  if (!p->renewed) {
    return 0;
  }
  support_check_eq(try_put(&p->old), UV_EPIPE);
  put(&p->tx[THREADED], 6);
  put(&p->tx[DIRECT], 7);
  p->sent += 2;
  return 1;
}

/* Needs no memory. */
static void program_end(program_t* p) {
  size_t i;

  if (p->open[BOUND] && p->rx[BOUND].loop != NULL) {
    turn(&p->loop);
  }
  for (i = 0; i < CHANNELS; i++) {
    if (p->open[i]) {
      close_rx(&p->rx[i]);
      (void) uvch_oneshot_sender_close(&p->tx[i]); /* most are used up */
    }
  }
  support_loop_end(&p->loop);
  for (i = 0; i < CHANNELS; i++) {
    support_check(p->outcomes[i].calls <= 1);
    p->got += p->outcomes[i].calls == 1 && p->outcomes[i].status == 0;
  }
  for (i = 0; i < COUNT(p->watchers); i++) {
    support_check_eq(p->watched[i] ? p->watchers[i].calls : 0, p->watched[i]);
  }
  support_check_eq(p->got + p->drops.count, p->sent);
}

/* Whether an allocation failed. */
static bool program_run(size_t n, bool for_good) {
  size_t before = support_alloc_blocks();
  program_t p;
  int ok;

  memset(&p, 0, sizeof(p));
  p.for_good = for_good;
  support_loop_init(&p.loop);
  support_alloc_mark();
  if (for_good) {
    support_alloc_fail_from(n);
  } else {
    support_alloc_fail(n);
  }
  ok = program_use(&p);
  ck_assert(ok || for_good);
  program_end(&p);
  support_alloc_fail_from(0);
  ck_assert_uint_eq(support_alloc_blocks(), before);
  return support_alloc_failed() > 0;
}

START_TEST(any_allocation_may_fail_and_nothing_is_lost_or_leaked) {
  size_t n = 1;

  while (program_run(n, _i == 1)) {
    n += 1;
  }
  ck_assert_uint_gt(n, CHANNELS); /* each of them needed one */
}
END_TEST

START_TEST(an_error_for_memory_leaves_both_ends_as_they_were) {
  unsigned char before[sizeof(uvch_oneshot_receiver_t)];
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uvch_oneshot_sender_t old;
  uv_loop_t loop;
  uint64_t value = 5;
  size_t n;
  int err = UV_ENOMEM;

  support_loop_init(&loop);
  memset(before, 0x5a, sizeof(before));
  for (n = 1; err == UV_ENOMEM; n++) {
    memset(&rx, 0x5a, sizeof(rx));
    memset(&tx, 0x5a, sizeof(tx));
    support_alloc_fail(n);
    err = uvch_oneshot_init(_i == 0 ? NULL : &loop, &rx, &tx, sizeof(value));
    support_alloc_fail(0);
    ck_assert(err == 0 || (memcmp(&rx, before, sizeof(rx)) == 0 && memcmp(&tx, before, sizeof(tx)) == 0));
    support_loop_run(&loop);
  }
  ck_assert_int_eq(err, 0);
  ck_assert_uint_gt(n, 2);
  ck_assert_int_eq(uvch_oneshot_recv_shutdown(&rx), 0);
  ck_assert_int_eq(try_take(&rx), UV_EOF);
  old = tx;
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_oneshot_renew(&rx, &tx), UV_ENOMEM); /* the old sender is still there */
  ck_assert_mem_eq(&tx, &old, sizeof(tx));
  ck_assert_int_eq(try_take(&rx), UV_EOF);
  ck_assert_int_eq(uvch_oneshot_receiver_is_terminated(&rx), 1);
  support_alloc_fail_from(0);
  ck_assert_int_eq(uvch_oneshot_renew(&rx, &tx), 0);
  put(&tx, 6);
  ck_assert_uint_eq(take(&rx), 6);
  ck_assert_int_eq(try_put(&old), UV_EPIPE);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_thread_that_cannot_sleep_for_lack_of_memory_takes_what_is_there) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uint64_t value = 5;

  open_pair(NULL, &rx, &tx);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_oneshot_recv_wait(&rx, &value), UV_ENOMEM);
  ck_assert_int_eq(uvch_oneshot_recv_timedwait(&rx, &value, 1000000), UV_ENOMEM);
  ck_assert_int_eq(uvch_oneshot_recv_timedwait(&rx, &value, 0), UV_ETIMEDOUT); /* it does not sleep */
  ck_assert_int_eq(uvch_oneshot_closed_wait(&tx), UV_ENOMEM);
  ck_assert_int_eq(uvch_oneshot_closed_timedwait(&tx, 1000000), UV_ENOMEM);
  ck_assert_int_eq(uvch_oneshot_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  ck_assert_uint_eq(value, 5);
  put(&tx, 6);
  ck_assert_int_eq(uvch_oneshot_recv_wait(&rx, &value), 0);
  ck_assert_uint_eq(value, 6);
  support_alloc_fail_from(0);
  close_rx(&rx);
}
END_TEST

/* A program that walks its loop and closes every handle, the library's too. */

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

/* What the library had to keep for the old loop goes with a later one at the same address. */
static void sweep(uv_loop_t* loop) {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  outcome_t outcome;

  support_loop_init(loop);
  open_pair(loop, &rx, &tx);
  await(&rx, &outcome);
  put(&tx, 12);
  support_loop_run(loop);
  check_value(&outcome, 12);
  close_rx(&rx);
  support_loop_end(loop);
}

START_TEST(a_program_may_close_the_librarys_handles) {
  enum { IDLE, WAITS, ON_ITS_WAY, SPENT, PAIRS };
  size_t before = support_alloc_blocks();
  uvch_oneshot_receiver_t rx[PAIRS];
  uvch_oneshot_sender_t tx[PAIRS];
  outcome_t outcomes[PAIRS];
  drops_t drops = {.count = 0};
  uv_loop_t loop;
  size_t accepted = 1;
  size_t i;
  int r;

  support_loop_init(&loop);
  for (i = 0; i < PAIRS; i++) {
    open_dropping(&loop, &rx[i], &tx[i], &drops);
  }
  await(&rx[WAITS], &outcomes[WAITS]);
  turn(&loop);
  put(&tx[SPENT], 1);
  ck_assert_uint_eq(take(&rx[SPENT]), 1);
  await(&rx[ON_ITS_WAY], &outcomes[ON_ITS_WAY]);
  put(&tx[ON_ITS_WAY], 2);
  uv_walk(&loop, close_uv, NULL);
  support_loop_end(&loop);
  memset(&loop, 0xdd, sizeof(loop));
  if (_i == 0) {
    for (i = 0; i <= WAITS; i++) { /* the first may be the one that finds out */
      r = try_put(&tx[i]);
      ck_assert(r == 0 || r == UV_EPIPE);
      accepted += r == 0;
    }
  }
  for (i = 0; i < PAIRS; i++) {
    close_rx(&rx[i]);
    ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx[i], NULL), UV_EALREADY);
  }
  if (_i == 1) {
    ck_assert_int_eq(try_put(&tx[IDLE]), UV_EPIPE);
    drop_sender(&tx[WAITS]);
  }
  ck_assert_uint_eq(drops.count, accepted);
  ck_assert_uint_eq(outcomes[WAITS].calls + outcomes[ON_ITS_WAY].calls, 0);
  sweep(&loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

static void on_recv_close_uv(uvch_oneshot_receiver_t* rx, int status, void* item) {
  outcome_t* outcome = rx->data;

  uv_walk(rx->loop, close_uv, NULL);
  turn(rx->loop);
  outcome_cb(rx, status, item); /* the value is still good */
  support_check_eq(outcome->value, 5);
}

START_TEST(a_callback_may_close_the_librarys_handles) {
  uvch_oneshot_receiver_t rx[2];
  uvch_oneshot_sender_t tx[2];
  outcome_t outcomes[2];
  uv_loop_t loop;

  support_loop_init(&loop);
  memset(outcomes, 0, sizeof(outcomes));
  open_pair(&loop, &rx[0], &tx[0]);
  open_pair(&loop, &rx[1], &tx[1]);
  rx[0].data = &outcomes[0];
  ck_assert_int_eq(uvch_oneshot_recv(&rx[0], on_recv_close_uv), 0);
  await(&rx[1], &outcomes[1]);
  put(&tx[0], 5);
  support_loop_run(&loop);
  check_value(&outcomes[0], 5);
  ck_assert_uint_eq(outcomes[1].calls, 0);
  close_rx(&rx[0]);
  close_rx(&rx[1]);
  ck_assert_int_eq(try_put(&tx[1]), UV_EPIPE);
  support_loop_close(&loop);
  sweep(&loop);
}
END_TEST

START_TEST(a_program_may_close_the_librarys_handles_under_a_request) {
  size_t before = support_alloc_blocks();
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  watcher_t watchers[3];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_pair(NULL, &rx, &tx);
  for (i = 0; i < COUNT(watchers); i++) {
    watch(&loop, &watchers[i], &tx);
  }
  check_waits(&loop, &watchers[0].calls);
  uv_walk(&loop, close_uv, NULL);
  ck_assert_int_eq(cancel(&watchers[1]), 0); /* nobody brings the callback */
  support_loop_end(&loop);
  memset(&loop, 0xdd, sizeof(loop));
  if (_i == 0) {
    close_rx(&rx);
    drop_sender(&tx);
  } else if (_i == 1) {
    put(&tx, 1);
    close_rx(&rx);
  } else {
    ck_assert_int_eq(uvch_oneshot_recv_shutdown(&rx), 0);
    ck_assert_int_eq(try_put(&tx), UV_EPIPE);
    close_rx(&rx);
  }
  ck_assert_uint_eq(watchers[0].calls + watchers[1].calls + watchers[2].calls, 0);
  ck_assert_uint_le(support_alloc_blocks(), before + 4);
  sweep(&loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

/* Forks. In a child: say what is wrong and be gone. */
#define child_expect(condition)                                                     \
  do {                                                                              \
    if (!(condition)) {                                                             \
      fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                     \
    }                                                                               \
  } while (0)

/* 0 in the child. */
static pid_t split(void) {
  pid_t child = fork();

  ck_assert_int_ge(child, 0);
  if (child == 0) {
    signal(SIGALRM, SIG_DFL); /* check has its own, for the whole group */
    alarm(60);
  }
  return child;
}

static void reap(pid_t child) {
  int status = -1;

  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child has failed, status %d", status);
}

/* What happens before the fork, and what in both processes after it. */
enum { SENT_AFTER, GIVEN_UP_AFTER, SENT_BEFORE, GIVEN_UP_BEFORE, SHUT_BEFORE, SENT_AND_STOPPED, FORKS };

typedef struct forked_s {
  uv_loop_t loop;
  uv_loop_t far;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uvch_oneshot_receiver_t watched;
  uvch_oneshot_sender_t watched_tx;
  outcome_t outcome;
  watcher_t watchers[2];
} forked_t;

static void forked_begin(forked_t* f, int way, bool turned) {
  memset(f, 0, sizeof(*f));
  support_loop_init(&f->loop);
  support_loop_init(&f->far);
  open_pair(&f->loop, &f->rx, &f->tx);
  open_pair(&f->loop, &f->watched, &f->watched_tx);
  watch(&f->loop, &f->watchers[0], &f->watched_tx);
  watch(&f->far, &f->watchers[1], &f->watched_tx);
  await(&f->rx, &f->outcome);
  if (turned) {
    turn(&f->loop);
    turn(&f->far);
  }
  if (way == SENT_BEFORE || way == SENT_AND_STOPPED) {
    put(&f->tx, 55);
  } else if (way == GIVEN_UP_BEFORE) {
    drop_sender(&f->tx);
  } else if (way == SHUT_BEFORE) {
    ck_assert_int_eq(uvch_oneshot_recv_shutdown(&f->rx), 0);
  }
  if (way == SENT_AND_STOPPED) {
    ck_assert_int_eq(uvch_oneshot_recv_stop(&f->rx), 0);
  }
  if (way >= SENT_BEFORE) { /* this news is on its way, too */
    close_rx(&f->watched);
  }
}

static bool forked_end(forked_t* f, int way) {
  uint64_t value = 55;
  bool good = true;

  if (way == SENT_AFTER) {
    good = good && uvch_oneshot_send(&f->tx, &value) == 0;
  } else if (way == GIVEN_UP_AFTER) {
    good = good && uvch_oneshot_sender_close(&f->tx) == 0;
  } else if (way == SENT_AND_STOPPED) {
    good = good && uv_run(&f->loop, UV_RUN_DEFAULT) == 0 && f->outcome.calls == 0;
    good = good && uvch_oneshot_recv(&f->rx, outcome_cb) == 0;
  }
  if (way < SENT_BEFORE) {
    good = good && uvch_close((uvch_handle_t*) &f->watched, NULL) == 0;
  }
  good = good && uv_run(&f->loop, UV_RUN_DEFAULT) == 0 && uv_run(&f->far, UV_RUN_DEFAULT) == 0;
  good = good && f->outcome.calls == 1 && f->watchers[0].calls == 1 && f->watchers[1].calls == 1;
  good = good && f->watchers[0].status == 0 && f->watchers[1].status == 0;
  if (way == SENT_AFTER || way == SENT_BEFORE || way == SENT_AND_STOPPED) {
    good = good && f->outcome.status == 0 && f->outcome.value == 55;
  } else {
    good = good && f->outcome.status == UV_EOF;
  }
  good = good && uvch_oneshot_sender_close(&f->tx) == (way == SHUT_BEFORE ? 0 : UV_EBADF);
  good = good && uvch_oneshot_renew(&f->rx, &f->tx) == 0 && uvch_oneshot_send(&f->tx, &value) == 0;
  good = good && uvch_oneshot_recv(&f->rx, outcome_cb) == 0 && uv_run(&f->loop, UV_RUN_DEFAULT) == 0;
  good = good && f->outcome.calls == 2 && f->outcome.status == 0;
  good = good && uvch_close((uvch_handle_t*) &f->rx, NULL) == 0 && uvch_oneshot_sender_close(&f->watched_tx) == 0;
  return good && uv_run(&f->loop, UV_RUN_DEFAULT) == 0;
}

START_TEST(a_channel_lives_on_in_a_forked_child_and_in_its_parent) {
  size_t blocks = support_alloc_blocks();
  int way = _i / 2;
  pid_t child;
  forked_t f;

  forked_begin(&f, way, _i % 2 == 1);
  child = split();
  if (child == 0) {
    child_expect(uv_loop_fork(&f.loop) == 0 && uvch_loop_fork(&f.loop) == 0);
    child_expect(uv_loop_fork(&f.far) == 0 && uvch_loop_fork(&f.far) == 0);
    child_expect(forked_end(&f, way));
    child_expect(uv_loop_close(&f.loop) == 0 && uv_loop_close(&f.far) == 0);
    child_expect(support_alloc_blocks() == blocks);
    _exit(0);
  }
  ck_assert(forked_end(&f, way));
  support_loop_close(&f.loop);
  support_loop_close(&f.far);
  reap(child);
}
END_TEST

/* The child has no such thread, and must not look for it. */
typedef struct watchman_s {
  uvch_oneshot_sender_t tx;
  int answer;
  _Atomic(long) number;
} watchman_t;

static void watch_asleep(void* arg) {
  watchman_t* watchman = arg;

  atomic_store(&watchman->number, support_thread_number());
  watchman->answer = uvch_oneshot_closed_wait(&watchman->tx);
}

START_TEST(a_thread_that_watches_in_the_parent_is_none_of_the_childs) {
  uvch_oneshot_receiver_t rx;
  watchman_t watchman;
  watcher_t watcher;
  uv_thread_t thread;
  uv_loop_t loop;
  pid_t child;

  memset(&watchman, 0, sizeof(watchman));
  watchman.answer = NOT_DONE;
  support_loop_init(&loop);
  open_pair(&loop, &rx, &watchman.tx);
  watch(&loop, &watcher, &watchman.tx);
  support_spawn(&thread, watch_asleep, &watchman);
  support_until_blocked(&watchman.number);
  child = split();
  if (child == 0) {
    child_expect(uv_loop_fork(&loop) == 0 && uvch_loop_fork(&loop) == 0);
    child_expect(_i == 0 ? uvch_oneshot_recv_shutdown(&rx) == 0 : uvch_close((uvch_handle_t*) &rx, NULL) == 0);
    child_expect(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    child_expect(watcher.calls == 1 && watcher.status == 0 && watchman.answer == NOT_DONE);
    child_expect(uvch_oneshot_sender_close(&watchman.tx) == 0);
    child_expect(_i == 1 || uvch_close((uvch_handle_t*) &rx, NULL) == 0);
    child_expect(uv_run(&loop, UV_RUN_DEFAULT) == 0 && uv_loop_close(&loop) == 0);
    _exit(0);
  }
  close_rx(&rx);
  support_join(&thread);
  ck_assert_int_eq(watchman.answer, 0);
  drop_sender(&watchman.tx);
  support_loop_end(&loop);
  check_told(&watcher, 0);
  reap(child);
}
END_TEST

static void add_memory(Suite* suite) {
  TCase* tcase = support_case(suite, "memory");

  tcase_add_loop_test(tcase, an_idle_pair_takes_at_most_128_bytes, 0, KINDS);
  tcase_add_loop_test(tcase, a_steady_exchange_on_a_loop_takes_no_memory, 0, ENDS);
  tcase_add_test(tcase, sizes_do_not_mix_when_memory_is_used_again);
  tcase_add_test(tcase, a_drop_function_goes_with_its_channel);
  tcase_add_loop_test(tcase, a_renewed_receiver_takes_no_memory, 0, KINDS);
  tcase_add_test(tcase, of_1000_channels_that_end_together_only_some_memory_is_kept);
  tcase_add_loop_test(tcase, a_stale_copy_of_a_sender_cannot_touch_the_channels_that_come_after_it, 0, 2 * STALES);
  tcase_add_loop_test(tcase, a_sender_outlives_its_receiver_and_the_loop, 0, KINDS);
  tcase_add_loop_test(tcase, ends_may_go_in_any_order, 0, 6 * KINDS);
}

static void add_trouble(Suite* suite) {
  TCase* tcase = support_case(suite, "trouble");

  tcase_add_loop_test(tcase, any_allocation_may_fail_and_nothing_is_lost_or_leaked, 0, 2);
  tcase_add_loop_test(tcase, an_error_for_memory_leaves_both_ends_as_they_were, 0, 2);
  tcase_add_test(tcase, a_thread_that_cannot_sleep_for_lack_of_memory_takes_what_is_there);
  tcase_add_loop_test(tcase, a_program_may_close_the_librarys_handles, 0, 2);
  tcase_add_test(tcase, a_callback_may_close_the_librarys_handles);
  tcase_add_loop_test(tcase, a_program_may_close_the_librarys_handles_under_a_request, 0, 3);
  tcase_add_loop_test(tcase, a_channel_lives_on_in_a_forked_child_and_in_its_parent, 0, 2 * FORKS);
  tcase_add_loop_test(tcase, a_thread_that_watches_in_the_parent_is_none_of_the_childs, 0, 2);
}

int main(void) {
  Suite* suite = suite_create("oneshot_memory");

  add_memory(suite);
  add_trouble(suite);
  return support_main(suite);
}
