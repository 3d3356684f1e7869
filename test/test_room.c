/* SPDX-License-Identifier: MIT
 *
 * Who waits for room is told when the receiver stops taking messages for now, though its loop may stand still from then on. On one
 * processor, where nobody is told in the middle of a turn: the whole program is bound to one before anything asks how many there
 * are. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <stdio.h>
#ifdef __linux__
#include <sched.h>
#endif

#define TURN_MESSAGES 256 /* then another channel of the loop has its turn */
#define CAPACITY_MAX (TURN_MESSAGES + 44)

enum { REQUEST, THREAD, WAITERS };

typedef struct end_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t received;
} end_t;

typedef struct room_s {
  uv_loop_t loop;  /* the receivers' */
  end_t full;      /* somebody waits for room in that one */
  end_t others[2]; /* channels of the same loop */
  void (*then)(struct room_s* room);
  int waiter;
  uint64_t last; /* the message of who waits */
  uv_loop_t own; /* the request's, which runs at the end only */
  uvch_mpsc_send_t req;
  int status;
  uv_thread_t thread;
  _Atomic(long) number;
  support_result_t result;
} room_t;

static uint64_t waiting(const room_t* room) {
  uvch_stats_t stats;

  ck_assert_int_eq(uvch_mpsc_receiver_get_stats(&room->full.rx, &stats), 0);
  return stats.waiting;
}

/* Ends. */

static void on_full(uvch_mpsc_receiver_t* rx, int status, void* item) {
  room_t* room = rx->data;
  void (*then)(struct room_s * room) = room->then;
  uint64_t value;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  memcpy(&value, item, sizeof(value));
  support_check_eq(value, room->full.received);
  room->full.received += 1;
  room->then = NULL;
  if (then != NULL) {
    then(room);
  }
}

static void on_other(uvch_mpsc_receiver_t* rx, int status, void* item) {
  end_t* end = rx->data;

  (void) item;
  if (status == UV_EOF) {
    support_close(rx);
  } else {
    end->received += 1;
  }
}

static void other_open(room_t* room, end_t* end, uvch_mpsc_recv_cb cb) {
  ck_assert_int_eq(uvch_mpsc_init(&room->loop, &end->rx, &end->tx, sizeof(uint64_t), 1), 0);
  end->rx.data = end;
  support_put(&end->tx, 0);
  support_drop_sender(&end->tx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&end->rx, cb), 0);
}

/* Who waits. */

static void on_send(uvch_mpsc_send_t* req, int status) {
  room_t* room = req->data;

  room->status = status;
}

static void send_and_wait(void* arg) {
  room_t* room = arg;

  atomic_store(&room->number, support_thread_number());
  support_expect_eq(&room->result, uvch_mpsc_send_wait(&room->full.tx, &room->last), 0);
  support_expect_eq(&room->result, uvch_mpsc_sender_close(&room->full.tx), 0);
}

static void wait_for_room(room_t* room, int waiter) {
  room->waiter = waiter;
  if (waiter == REQUEST) {
    support_loop_init(&room->own);
    room->req.data = room;
    room->status = 1;
    ck_assert_int_eq(uvch_mpsc_send(&room->own, &room->req, &room->full.tx, &room->last, on_send), 0);
    support_drop_sender(&room->full.tx);
  } else {
    support_spawn(&room->thread, send_and_wait, room);
    support_until_blocked(&room->number);
  }
  ck_assert_uint_eq(waiting(room), 1);
}

/* Called while the receivers' loop stands still. */
static void expect_told(room_t* room) {
  ck_assert_uint_eq(waiting(room), 0);
  if (room->waiter == REQUEST) {
    support_loop_end(&room->own);
    ck_assert_int_eq(room->status, 0);
  } else {
    support_join(&room->thread);
    support_result_check(&room->result);
  }
}

/* A channel with all its places taken, and who waits for one. */
static void room_begin(room_t* room, size_t capacity, int waiter) {
  uint64_t value;

  memset(room, 0, sizeof(*room));
  support_loop_init(&room->loop);
  ck_assert_int_eq(uvch_mpsc_init(&room->loop, &room->full.rx, &room->full.tx, sizeof(uint64_t), capacity), 0);
  room->full.rx.data = room;
  for (value = 0; value < capacity; value++) {
    support_put(&room->full.tx, value);
  }
  room->last = capacity;
  wait_for_room(room, waiter);
  ck_assert_int_eq(uvch_mpsc_recv_start(&room->full.rx, on_full), 0);
}

static void room_end(room_t* room) {
  support_loop_end(&room->loop);
  ck_assert_uint_eq(room->full.received, room->last + 1);
}

/* A pass that is cut. */

static void stop_the_loop(room_t* room) {
  uv_stop(&room->loop);
}

/* Until its clock has moved on. */
static void use_up_the_time(room_t* room) {
  uint64_t begin = uv_hrtime();

  stop_the_loop(room);
  while (uv_hrtime() - begin < 2) {}
}

START_TEST(who_waits_is_told_when_a_pass_is_cut_and_the_loop_stopped) {
  static room_t room;

  room_begin(&room, 2, _i % WAITERS);
  if (_i / WAITERS == 0) {
    ck_assert_int_eq(uvch_loop_configure(&room.loop, UVCH_LOOP_BUDGET_MESSAGES, 1), 0);
    room.then = stop_the_loop;
  } else {
    ck_assert_int_eq(uvch_loop_configure(&room.loop, UVCH_LOOP_BUDGET_TIME, 1), 0);
    room.then = use_up_the_time;
  }
  ck_assert_int_ne(uv_run(&room.loop, UV_RUN_DEFAULT), 0);
  ck_assert_uint_eq(room.full.received, 1);
  expect_told(&room);
  room_end(&room);
}
END_TEST

/* Another channel's turn. */

static room_t turns;

static void on_others_turn(uvch_mpsc_receiver_t* rx, int status, void* item) {
  if (status == 0) {
    ck_assert_uint_lt(turns.full.received, turns.last); /* else its receiver had all */
    expect_told(&turns);
  }
  on_other(rx, status, item);
}

START_TEST(who_waits_is_told_before_another_channel_has_its_turn) {
  room_begin(&turns, CAPACITY_MAX, _i);
  other_open(&turns, &turns.others[0], on_others_turn);
  room_end(&turns);
  ck_assert_uint_eq(turns.others[0].received, 1);
}
END_TEST

/* A turn whose callback runs the loop. The token is behind the others then, and the budgets of both passes are spent on those. */

static void run_nested(room_t* room) {
  uv_run(&room->loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(room->full.received, 1);
  ck_assert_uint_eq(room->others[0].received, 1);
}

START_TEST(who_waits_is_told_when_a_nested_run_does_not_come_to_the_channel) {
  static room_t room;

  room_begin(&room, 2, _i);
  ck_assert_int_eq(uvch_loop_configure(&room.loop, UVCH_LOOP_BUDGET_MESSAGES, 1), 0);
  other_open(&room, &room.others[0], on_other);
  other_open(&room, &room.others[1], on_other);
  room.then = run_nested;
  ck_assert_int_ne(uv_run(&room.loop, UV_RUN_NOWAIT), 0);
  ck_assert_uint_eq(room.full.received, 1);
  ck_assert_uint_eq(room.others[1].received, 1);
  expect_told(&room);
  room_end(&room);
}
END_TEST

/* A receiver that is stopped. */

static void stop_the_receiver(room_t* room) {
  ck_assert_int_eq(uvch_mpsc_recv_stop(&room->full.rx), 0);
}

START_TEST(who_waits_is_told_when_the_receiver_is_stopped_in_its_callback) {
  static room_t room;

  room_begin(&room, 2, _i);
  room.then = stop_the_receiver;
  uv_run(&room.loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(room.full.received, 1);
  expect_told(&room);
  ck_assert_int_eq(uvch_mpsc_recv_start(&room.full.rx, on_full), 0);
  room_end(&room);
}
END_TEST

static void bind_to_one_processor(void) {
#ifdef __linux__
  cpu_set_t set;
  cpu_set_t one;
  size_t cpu = 0;

  if (sched_getaffinity(0, sizeof(set), &set) != 0) {
    return;
  }
  while (!CPU_ISSET(cpu, &set)) {
    cpu += 1;
  }
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  if (sched_setaffinity(0, sizeof(one), &one) == 0) {
    return;
  }
#endif
  fprintf(stderr, "a process cannot be bound to a processor here: with all of them\n");
}

int main(void) {
  Suite* suite = suite_create("room");
  TCase* tcase = support_case(suite, "room");

  bind_to_one_processor();
  tcase_add_loop_test(tcase, who_waits_is_told_when_a_pass_is_cut_and_the_loop_stopped, 0, 2 * WAITERS);
  tcase_add_loop_test(tcase, who_waits_is_told_before_another_channel_has_its_turn, 0, WAITERS);
  tcase_add_loop_test(tcase, who_waits_is_told_when_a_nested_run_does_not_come_to_the_channel, 0, WAITERS);
  tcase_add_loop_test(tcase, who_waits_is_told_when_the_receiver_is_stopped_in_its_callback, 0, WAITERS);
  return support_main(suite);
}
