/* SPDX-License-Identifier: MIT
 *
 * Waiting on one processor: who has nothing to do lets others run before it sleeps. sched_yield() is this program's own: it counts,
 * and does what another thread could do meanwhile. Each test puts its process on one processor. */
#define _GNU_SOURCE /* sched_setaffinity */
#include "support.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <time.h>

#define MS 1000000
#define ROUNDS 100

static struct way {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  void (*meanwhile)(void);
  size_t yields;
  size_t received;
} way;

int sched_yield(void);

int sched_yield(void) {
  way.yields += 1;
  if (way.meanwhile != NULL)
    way.meanwhile();
  return 0;
}

static void put_one(void) {
  uint64_t value = 1;

  way.meanwhile = NULL;
  support_check_eq(uvch_mpsc_try_send(&way.tx, &value), 0);
}

/* Others have the processor: this process uses none of it. */
static void be_away(void) {
  const struct timespec time = {0, 20 * MS};

  way.meanwhile = NULL;
  nanosleep(&time, NULL);
}

static void on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) rx;
  (void) item;
  ck_assert_int_eq(status, 0);
  way.received += 1;
}

/* False: this system cannot put a process on one processor. */
static bool be_alone(void) {
#ifdef __linux__
  cpu_set_t set;
  size_t i;

  if (sched_getaffinity(0, sizeof(set), &set) != 0)
    return false;
  for (i = 0; i < CPU_SETSIZE && !CPU_ISSET(i, &set); i++) {}
  CPU_ZERO(&set);
  CPU_SET(i, &set);
  return sched_setaffinity(0, sizeof(set), &set) == 0 && uv_available_parallelism() == 1;
#else
  return false;
#endif
}

static bool open_way(bool on_loop) {
  if (!be_alone())
    return false;
  memset(&way, 0, sizeof(way));
  support_loop_init(&way.loop);
  ck_assert_int_eq(uvch_mpsc_init(on_loop ? &way.loop : NULL, &way.rx, &way.tx, sizeof(uint64_t), 8), 0);
  if (on_loop)
    ck_assert_int_eq(uvch_mpsc_recv_start(&way.rx, on_recv), 0);
  return true;
}

static void close_way(void) {
  support_drop_sender(&way.tx);
  support_close(&way.rx);
  support_loop_end(&way.loop);
}

/* A message, and the passes that deliver it. How often others were let run: not at all where a busy machine was late before. */
static size_t round_of_one(void) {
  size_t before = way.yields;
  size_t received = way.received;
  uint64_t value = 0;

  ck_assert_int_eq(uvch_mpsc_try_send(&way.tx, &value), 0);
  while (way.received == received)
    uv_run(&way.loop, UV_RUN_NOWAIT);
  uv_run(&way.loop, UV_RUN_NOWAIT); /* has nothing to do */
  return way.yields - before;
}

/* Until others are let run. Returns when the round began. */
static uint64_t round_that_yields(void) {
  uint64_t began;
  size_t yields;

  do {
    began = uv_hrtime();
    yields = round_of_one();
  } while (yields == 0);
  ck_assert_uint_eq(yields, 1);
  return began;
}

START_TEST(a_loop_lets_others_run_once_before_it_sleeps) {
  if (!open_way(true))
    return;
  uv_run(&way.loop, UV_RUN_NOWAIT);
  way.yields = 0;
  uv_run(&way.loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(way.yields, 0); /* nothing was delivered */
  round_that_yields();
  close_way();
}
END_TEST

START_TEST(what_comes_meanwhile_is_delivered_in_the_same_pass) {
  if (!open_way(true))
    return;
  ck_assert_int_eq(uvch_loop_configure(&way.loop, UVCH_LOOP_BUDGET_TIME, UINT64_MAX), 0);
  do {
    way.received = way.yields = 0;
    put_one();
    way.meanwhile = put_one;
    while (way.received == 0)
      uv_run(&way.loop, UV_RUN_NOWAIT);
  } while (way.yields == 0);
  ck_assert_uint_eq(way.received, 2);
  close_way();
}
END_TEST

START_TEST(it_does_so_seldom_where_nothing_comes_of_it) {
  size_t yields = 0;
  size_t i;

  if (!open_way(true))
    return;
  for (i = 0; i < ROUNDS || yields == 0; i++)
    yields += round_of_one();
  ck_assert_uint_le(yields, 7); /* after 1, 3, 7, 15 ... rounds without */
  close_way();
}
END_TEST

START_TEST(not_where_it_may_not_wait_hot) {
  if (!open_way(true))
    return;
  ck_assert_int_eq(uvch_loop_configure(&way.loop, UVCH_LOOP_HOT_MAX, 0), 0);
  ck_assert_uint_eq(round_of_one(), 0);
  ck_assert_int_eq(uvch_loop_configure(&way.loop, UVCH_LOOP_HOT_MAX, 1), 0);
  round_that_yields();
  close_way();
}
END_TEST

START_TEST(a_thread_that_waits_finds_what_came_meanwhile) {
  uint64_t value = 0;
  int err;

  if (!open_way(false))
    return;
  way.meanwhile = put_one;
  while ((err = uvch_mpsc_recv_timedwait(&way.rx, &value, MS)) != 0)
    ck_assert_int_eq(err, UV_ETIMEDOUT);
  ck_assert_uint_eq(value, 1);
  ck_assert_uint_eq(way.yields, 1);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(&way.rx, &value, MS), UV_ETIMEDOUT);
  close_way();
}
END_TEST

/* It pays for 64 times as long as that took; the rounds here take far less. */
START_TEST(not_for_a_while_after_another_process_had_the_processor) {
  uint64_t began;
  size_t yields = 0;
  size_t i;

  if (!open_way(true))
    return;
  way.meanwhile = be_away;
  began = round_that_yields();
  for (i = 0; i < ROUNDS; i++)
    yields += round_of_one();
  if (uv_hrtime() - began < (uint64_t) 64 * 20 * MS)
    ck_assert_uint_eq(yields, 0);
  close_way();
}
END_TEST

int main(void) {
  Suite* suite = suite_create("give_way");
  TCase* tcase = support_case(suite, "give_way");

  tcase_add_test(tcase, a_loop_lets_others_run_once_before_it_sleeps);
  tcase_add_test(tcase, what_comes_meanwhile_is_delivered_in_the_same_pass);
  tcase_add_test(tcase, it_does_so_seldom_where_nothing_comes_of_it);
  tcase_add_test(tcase, not_where_it_may_not_wait_hot);
  tcase_add_test(tcase, a_thread_that_waits_finds_what_came_meanwhile);
  tcase_add_test(tcase, not_for_a_while_after_another_process_had_the_processor);
  return support_main(suite);
}
