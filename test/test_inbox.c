/* SPDX-License-Identifier: MIT
 *
 * Inboxes: calls posted to a loop from anywhere, and the stop that ends a loop from outside. */
#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What the calls of a loop find in loop->data. */
typedef struct desk_s {
  uv_loop_t loop;
  uvch_inbox_t inbox;
  size_t ran;
  size_t canceled;
  size_t wrong;        /* calls out of order */
  size_t next[8];      /* for each thread the number of its next call */
  _Atomic(size_t) all; /* for other threads to look at */
} desk_t;

static void desk_init(desk_t* desk) {
  memset(desk, 0, sizeof(*desk));
  support_loop_init(&desk->loop);
  desk->loop.data = desk;
  ck_assert_int_eq(uvch_inbox_init(&desk->loop, &desk->inbox), 0);
}

static void desk_close_inbox(desk_t* desk) {
  ck_assert_int_eq(uvch_inbox_close(&desk->inbox), 0);
}

/* A call's argument: which thread, and the how many-th of it. */
#define NUMBERS ((uintptr_t) 1 << 24)

static void* numbered(size_t thread, size_t number) {
  return (void*) (thread * NUMBERS + number);
}

static void note(uv_loop_t* loop, int status, void* arg) {
  desk_t* desk = loop->data;
  size_t thread = (size_t) ((uintptr_t) arg / NUMBERS);

  support_check(status == 0 || status == UV_ECANCELED);
  desk->wrong += desk->next[thread] != (uintptr_t) arg % NUMBERS;
  desk->wrong += status == 0 && desk->canceled > 0;
  desk->next[thread] += 1;
  desk->ran += status == 0;
  desk->canceled += status == UV_ECANCELED;
  atomic_fetch_add(&desk->all, 1);
}

static void post(const desk_t* desk, size_t first, size_t count) {
  size_t i;

  for (i = first; i < first + count; i++) {
    support_check_eq(uvch_post(&desk->inbox, note, numbered(0, i)), 0);
  }
}

static void check_calls(const desk_t* desk, size_t ran, size_t canceled) {
  ck_assert_uint_eq(desk->ran, ran);
  ck_assert_uint_eq(desk->canceled, canceled);
  ck_assert_uint_eq(desk->wrong, 0);
}

/* The handle of the loop's inbox, the last one found. */
static void find_inbox(uvch_handle_t* handle, void* arg) {
  if (uvch_handle_get_type(handle) == UVCH_INBOX) {
    *(uvch_handle_t**) arg = handle;
  }
}

static uvch_handle_t* handle_of(desk_t* desk) {
  uvch_handle_t* handle = NULL;

  uvch_walk(&desk->loop, find_inbox, &handle);
  ck_assert_ptr_nonnull(handle);
  return handle;
}

/* Posting. */

typedef struct poster_s {
  uvch_inbox_t* inbox;
  desk_t* desk;
  size_t index;
  size_t limit;
  size_t accepted;
  bool to_the_end; /* posts until it is told */
  support_result_t* result;
  uv_thread_t thread;
} poster_t;

#define BACKLOG 200 /* above it posters give the processor away, so that a slow machine does not drown in calls */

static void poster_work(void* arg) {
  poster_t* p = arg;
  int err = 0;

  while (err == 0 && (p->to_the_end || p->accepted < p->limit)) {
    err = uvch_post(p->inbox, note, numbered(p->index, p->accepted));
    p->accepted += err == 0;
    if (p->accepted > atomic_load(&p->desk->all) + BACKLOG) {
      support_yield();
    }
  }
  support_expect_eq(p->result, err, p->to_the_end ? UV_EPIPE : 0);
}

START_TEST(calls_come_once_and_in_the_order_of_each_thread) {
  support_runner_t runner;
  support_result_t result;
  uvch_inbox_t inboxes[4];
  poster_t posters[4];
  desk_t desk;
  size_t i;

  memset(&result, 0, sizeof(result));
  desk_init(&desk);
  for (i = 0; i < COUNT(posters); i++) {
    posters[i] = (poster_t){.desk = &desk, .index = i, .limit = support_scale(20000), .result = &result};
    posters[i].inbox = i < 2 ? &desk.inbox : &inboxes[i]; /* through one struct and through several */
    ck_assert_int_eq(uvch_inbox_clone(&desk.inbox, &inboxes[i]), 0);
    support_spawn(&posters[i].thread, poster_work, &posters[i]);
  }
  support_runner_start(&runner, &desk.loop);
  for (i = 0; i < COUNT(posters); i++) {
    support_join(&posters[i].thread);
    ck_assert_int_eq(uvch_inbox_close(&inboxes[i]), 0);
  }
  desk_close_inbox(&desk);
  support_runner_join(&runner);
  support_loop_close(&desk.loop);
  support_result_check(&result);
  check_calls(&desk, COUNT(posters) * support_scale(20000), 0);
}
END_TEST

START_TEST(a_post_from_the_loops_own_thread_comes_later) {
  desk_t desk;

  desk_init(&desk);
  post(&desk, 0, 3);
  check_calls(&desk, 0, 0);
  uv_run(&desk.loop, UV_RUN_NOWAIT);
  post(&desk, 3, 2);
  check_calls(&desk, 3, 0);
  desk_close_inbox(&desk);
  support_loop_end(&desk.loop);
  check_calls(&desk, 5, 0);
}
END_TEST

static void post_inside(uv_loop_t* loop, int status, void* arg) {
  desk_t* desk = loop->data;

  ck_assert_int_eq(status, 0);
  post(desk, 0, 3);
  check_calls(desk, 0, 0);
  *(int*) arg += 1;
}

START_TEST(a_post_from_inside_a_call_comes_after_it) {
  desk_t desk;
  int ran = 0;

  desk_init(&desk);
  ck_assert_int_eq(uvch_post(&desk.inbox, post_inside, &ran), 0);
  while (desk.ran < 3) {
    uv_run(&desk.loop, UV_RUN_ONCE);
  }
  desk_close_inbox(&desk);
  support_loop_end(&desk.loop);
  ck_assert_int_eq(ran, 1);
  check_calls(&desk, 3, 0);
}
END_TEST

static void see_value(uv_loop_t* loop, int status, void* arg) {
  (void) loop;
  ck_assert_int_eq(status, 0);
  ck_assert_ptr_null(arg);
}

START_TEST(a_call_needs_no_argument) {
  desk_t desk;

  desk_init(&desk);
  ck_assert_int_eq(uvch_post(&desk.inbox, see_value, NULL), 0);
  desk_close_inbox(&desk);
  support_loop_end(&desk.loop);
}
END_TEST

/* Posts itself, for ever if it may. */
static void post_again(uv_loop_t* loop, int status, void* arg) {
  desk_t* desk = loop->data;

  desk->ran += status == 0;
  desk->canceled += status == UV_ECANCELED;
  if (status == 0) {
    int err = uvch_post(&desk->inbox, post_again, arg);
    support_check(err == 0 || err == UV_EPIPE);
  }
}

static void tick(uv_timer_t* timer) {
  desk_t* desk = timer->loop->data;
  size_t* ticks = timer->data;

  *ticks += 1;
  if (*ticks == 10) {
    ck_assert_int_eq(uvch_inbox_stop(&desk->inbox), 0);
    uv_close((uv_handle_t*) timer, NULL);
  }
}

START_TEST(a_call_that_posts_itself_for_ever_does_not_stop_a_timer) {
  uv_timer_t timer;
  size_t ticks = 0;
  desk_t desk;

  desk_init(&desk);
  ck_assert_int_eq(uv_timer_init(&desk.loop, &timer), 0);
  timer.data = &ticks;
  ck_assert_int_eq(uv_timer_start(&timer, tick, 1, 1), 0);
  ck_assert_int_eq(uvch_post(&desk.inbox, post_again, NULL), 0);
  support_loop_end(&desk.loop);
  ck_assert_uint_eq(ticks, 10);
  ck_assert_uint_eq(desk.canceled, 1);
  desk_close_inbox(&desk);
}
END_TEST

/* Stopping. */

START_TEST(calls_behind_a_stop_come_canceled_and_later_posts_are_refused) {
  desk_t desk;

  desk_init(&desk);
  post(&desk, 0, 3);
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), 0);
  post(&desk, 3, 5);
  support_loop_end(&desk.loop);
  check_calls(&desk, 3, 5);
  ck_assert_int_eq(uvch_post(&desk.inbox, note, numbered(0, 8)), UV_EPIPE);
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), UV_EPIPE);
  desk_close_inbox(&desk);
  check_calls(&desk, 3, 5);
}
END_TEST

START_TEST(a_loop_may_be_stopped_twice_and_before_it_runs) {
  desk_t desk;

  desk_init(&desk);
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), 0);
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), 0);
  desk_close_inbox(&desk);
  support_loop_end(&desk.loop);
  check_calls(&desk, 0, 0);
}
END_TEST

START_TEST(a_stop_through_one_inbox_cancels_the_calls_of_the_others) {
  uvch_inbox_t others[3];
  desk_t desk;
  size_t i;

  desk_init(&desk);
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), 0);
  for (i = 0; i < COUNT(others); i++) {
    ck_assert_int_eq(uvch_inbox_init(&desk.loop, &others[i]), 0);
    ck_assert_int_eq(uvch_post(&others[i], note, numbered(i, 0)), 0);
  }
  support_loop_end(&desk.loop);
  check_calls(&desk, 0, COUNT(others));
  for (i = 0; i < COUNT(others); i++) {
    ck_assert_int_eq(uvch_inbox_stop(&others[i]), UV_EPIPE);
    ck_assert_int_eq(uvch_inbox_close(&others[i]), 0);
  }
  desk_close_inbox(&desk);
}
END_TEST

START_TEST(each_accepted_call_comes_once_while_threads_post_and_another_stops) {
  size_t rounds = support_scale(60);
  support_runner_t runner;
  support_result_t result;
  poster_t posters[4];
  desk_t desk;
  size_t accepted;
  size_t round;
  size_t i;

  memset(&result, 0, sizeof(result));
  for (round = 0; round < rounds; round++) {
    desk_init(&desk);
    for (i = 0; i < COUNT(posters); i++) {
      posters[i] = (poster_t){.inbox = &desk.inbox, .desk = &desk, .index = i, .to_the_end = true, .result = &result};
      support_spawn(&posters[i].thread, poster_work, &posters[i]);
    }
    support_runner_start(&runner, &desk.loop);
    support_until(atomic_load(&desk.all) >= round % 4 * 100);
    ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), 0);
    accepted = 0;
    for (i = 0; i < COUNT(posters); i++) {
      support_join(&posters[i].thread);
    }
    support_runner_join(&runner);
    support_loop_close(&desk.loop);
    support_result_check(&result);
    for (i = 0; i < COUNT(posters); i++) {
      ck_assert_uint_eq(desk.next[i], posters[i].accepted);
      accepted += posters[i].accepted;
    }
    check_calls(&desk, desk.ran, accepted - desk.ran);
    desk_close_inbox(&desk);
  }
}
END_TEST

/* A loop with all that the library can have on it. */

typedef struct flood_s {
  uvch_mpsc_sender_t tx;
  bool blocks;
  _Atomic(size_t)* running;
  support_result_t* result;
  uv_thread_t thread;
} flood_t;

static void flood_work(void* arg) {
  flood_t* flood = arg;
  uint64_t i;
  int err = 0;

  for (i = 0; err == 0 || err == UV_EAGAIN; i++) {
    if (flood->blocks) {
      err = uvch_mpsc_send_wait(&flood->tx, &i);
    } else if ((err = uvch_mpsc_try_send(&flood->tx, &i)) == UV_EAGAIN || uvch_mpsc_sender_len(&flood->tx) > BACKLOG) {
      support_yield();
    }
    if (i == 10) {
      atomic_fetch_add(flood->running, 1);
    }
  }
  if (i <= 10) {
    atomic_fetch_add(flood->running, 1);
  }
  support_expect_eq(flood->result, err, UV_EPIPE);
  support_expect_eq(flood->result, uvch_mpsc_sender_close(&flood->tx), 0);
}

static void ignore_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) rx;
  (void) item;
  ck_assert_int_eq(status, 0);
}

typedef struct waiting_s {
  uvch_mpsc_send_t req;
  uint64_t value;
  int status;
  size_t calls;
} waiting_t;

static void on_sent(uvch_mpsc_send_t* req, int status) {
  waiting_t* waiting = req->data;

  waiting->status = status;
  waiting->calls += 1;
}

static void wait_to_send(desk_t* desk, waiting_t* waiting, const uvch_mpsc_sender_t* tx) {
  memset(waiting, 0, sizeof(*waiting));
  waiting->req.data = waiting;
  ck_assert_int_eq(uvch_mpsc_send(&desk->loop, &waiting->req, tx, &waiting->value, on_sent), 0);
}

START_TEST(a_stop_from_another_thread_ends_a_loop_with_traffic) {
  static const size_t capacities[] = {1, 64, UVCH_UNBOUNDED};
  size_t rounds = support_scale(60);
  _Atomic(size_t) running;
  support_runner_t runner;
  support_result_t result;
  uvch_mpsc_receiver_t drains[3];
  flood_t floods[3];
  uvch_mpsc_receiver_t idle; /* never started, and full */
  uvch_mpsc_sender_t to_idle;
  uvch_mpsc_receiver_t away; /* not of this loop, and full */
  uvch_mpsc_sender_t to_away;
  waiting_t waiting[4];
  waiting_t done;
  desk_t desk;
  size_t i;

  memset(&result, 0, sizeof(result));
  for (; rounds > 0; rounds--) {
    atomic_store(&running, 0);
    desk_init(&desk);
    ck_assert_int_eq(uvch_mpsc_init(&desk.loop, &idle, &to_idle, sizeof(uint64_t), 1), 0);
    ck_assert_int_eq(uvch_mpsc_init(NULL, &away, &to_away, sizeof(uint64_t), 1), 0);
    support_put(&to_idle, 0);
    wait_to_send(&desk, &done, &to_away);
    for (i = 0; i < COUNT(waiting); i++) {
      wait_to_send(&desk, &waiting[i], i % 2 == 0 ? &to_idle : &to_away);
    }
    for (i = 0; i < COUNT(floods); i++) {
      floods[i] = (flood_t){.blocks = i == 0, .running = &running, .result = &result};
      ck_assert_int_eq(uvch_mpsc_init(&desk.loop, &drains[i], &floods[i].tx, sizeof(uint64_t), capacities[i]), 0);
      ck_assert_int_eq(uvch_mpsc_recv_start(&drains[i], ignore_message), 0);
      support_spawn(&floods[i].thread, flood_work, &floods[i]);
    }
    support_runner_start(&runner, &desk.loop);
    support_until(atomic_load(&running) == COUNT(floods));
    ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), 0);
    support_runner_join(&runner);
    support_loop_close(&desk.loop);
    for (i = 0; i < COUNT(floods); i++) {
      support_join(&floods[i].thread);
    }
    support_result_check(&result);
    for (i = 0; i < COUNT(waiting); i++) {
      ck_assert_uint_eq(waiting[i].calls, 1);
      ck_assert_int_eq(waiting[i].status, UV_ECANCELED);
    }
    ck_assert_uint_eq(done.calls, 1);
    ck_assert_int_eq(done.status, 0);
    ck_assert_uint_eq(uvch_mpsc_sender_len(&to_away), 1);
    support_drop_sender(&to_idle);
    support_drop_sender(&to_away);
    support_close(&away);
    desk_close_inbox(&desk);
    ck_assert_uint_eq(support_alloc_blocks(), 0);
  }
}
END_TEST

/* A request that is done when the stop comes is not cancelled. */
START_TEST(a_stop_leaves_requests_that_are_done_alone) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiting_t waiting;
  desk_t desk;

  desk_init(&desk);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, sizeof(uint64_t), 1), 0);
  support_put(&tx, 7);
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), 0);
  wait_to_send(&desk, &waiting, &tx);
  ck_assert_uint_eq(support_take(&rx), 7);
  support_loop_end(&desk.loop);
  ck_assert_uint_eq(waiting.calls, 1);
  ck_assert_int_eq(waiting.status, 0);
  ck_assert_uint_eq(support_take(&rx), 0);
  desk_close_inbox(&desk);
  support_drop_sender(&tx);
  support_close(&rx);
}
END_TEST

/* The end by the last close. */

START_TEST(after_the_last_close_pending_calls_come_and_the_loop_ends) {
  size_t pending = (size_t) _i * 10;
  uvch_inbox_t copy;
  desk_t desk;

  desk_init(&desk);
  ck_assert_int_eq(uvch_inbox_clone(&desk.inbox, &copy), 0);
  desk_close_inbox(&desk);
  ck_assert_int_ne(uv_run(&desk.loop, UV_RUN_NOWAIT), 0);
  desk.inbox = copy; /* moved by bytes */
  post(&desk, 0, pending);
  desk_close_inbox(&desk);
  support_loop_end(&desk.loop);
  check_calls(&desk, pending, 0);
}
END_TEST

START_TEST(a_close_on_another_thread_ends_a_sleeping_loop) {
  support_runner_t runner;
  desk_t desk;

  desk_init(&desk);
  post(&desk, 0, 1);
  support_runner_start(&runner, &desk.loop);
  support_until(atomic_load(&desk.all) == 1);
  desk_close_inbox(&desk);
  support_runner_join(&runner);
  support_loop_close(&desk.loop);
}
END_TEST

/* The handle. */

static void count_close(uvch_handle_t* handle) {
  ck_assert_int_eq(uvch_handle_get_type(handle), UVCH_INBOX);
  ck_assert_int_eq(uvch_is_closing(handle), 1);
  *(size_t*) handle->data += 1;
}

START_TEST(a_walk_finds_the_handle_which_is_no_receiver) {
  size_t closes = 0;
  uint64_t value;
  uvch_handle_t* handle;
  uvch_mpsc_receiver_t* rx;
  desk_t desk;

  desk_init(&desk);
  handle = handle_of(&desk);
  rx = (uvch_mpsc_receiver_t*) handle;
  ck_assert_ptr_eq(uvch_handle_get_loop(handle), &desk.loop);
  ck_assert_ptr_null(uvch_handle_get_data(handle));
  ck_assert_int_eq(uvch_is_active(handle), 1);
  ck_assert_int_eq(uvch_has_ref(handle), 1);
  ck_assert_int_eq(uvch_is_closing(handle), 0);
  ck_assert_int_eq(uvch_attach(&desk.loop, handle), UV_EALREADY);
  ck_assert_int_eq(uvch_mpsc_recv_start(rx, ignore_message), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_stop(rx), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(rx), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_recv(rx, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_wait(rx, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_timedwait(rx, &value, 1), UV_EINVAL);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(rx), 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_capacity(rx), 0);
  uvch_handle_set_data(handle, &closes);
  post(&desk, 0, 3);
  ck_assert_int_eq(uvch_close(handle, count_close), 0);
  check_calls(&desk, 0, 3); /* before it returned */
  ck_assert_int_eq(uvch_close(handle, count_close), UV_EALREADY);
  ck_assert_int_eq(uvch_post(&desk.inbox, note, NULL), UV_EPIPE);
  ck_assert_uint_eq(closes, 0);
  support_loop_end(&desk.loop);
  ck_assert_uint_eq(closes, 1);
  desk_close_inbox(&desk);
}
END_TEST

static void close_in_walk(uvch_handle_t* handle, void* arg) {
  uvch_handle_set_data(handle, arg);
  ck_assert_int_eq(uvch_close(handle, arg != NULL ? count_close : NULL), 0);
}

START_TEST(inboxes_may_be_closed_in_a_walk) {
  uvch_inbox_t others[5];
  size_t closes = 0;
  desk_t desk;
  size_t i;

  desk_init(&desk);
  post(&desk, 0, 3);
  for (i = 0; i < COUNT(others); i++) {
    ck_assert_int_eq(uvch_inbox_init(&desk.loop, &others[i]), 0);
  }
  if (_i % 2 == 1) {
    uv_run(&desk.loop, UV_RUN_NOWAIT);
  }
  uvch_walk(&desk.loop, close_in_walk, _i / 2 == 1 ? &closes : NULL);
  check_calls(&desk, _i % 2 == 1 ? 3 : 0, _i % 2 == 1 ? 0 : 3);
  support_loop_end(&desk.loop);
  ck_assert_uint_eq(closes, _i / 2 == 1 ? COUNT(others) + 1 : 0);
  for (i = 0; i < COUNT(others); i++) {
    ck_assert_int_eq(uvch_inbox_close(&others[i]), 0);
  }
  desk_close_inbox(&desk);
}
END_TEST

START_TEST(close_all_closes_an_inbox) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  desk_t desk;

  desk_init(&desk);
  ck_assert_int_eq(uvch_mpsc_init(&desk.loop, &rx, &tx, 0, 1), 0);
  post(&desk, 0, 3);
  ck_assert_int_eq(uvch_close_all(&desk.loop), 2);
  check_calls(&desk, 0, 3);
  ck_assert_int_eq(uvch_close_all(&desk.loop), 0);
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), UV_EPIPE);
  support_loop_end(&desk.loop);
  support_drop_sender(&tx);
  desk_close_inbox(&desk);
}
END_TEST

START_TEST(inboxes_made_and_closed_again_and_again_do_not_add_up) {
  size_t rounds = support_scale(200);
  uvch_inbox_t other;
  size_t most = 0;
  desk_t desk;
  size_t i;
  size_t k;

  desk_init(&desk);
  for (i = 0; i < rounds + 2; i++) {
    ck_assert_int_eq(uvch_inbox_init(&desk.loop, &other), 0);
    ck_assert_int_eq(uvch_inbox_close(&other), 0);
    for (k = 0; k < 4; k++) {
      uv_run(&desk.loop, UV_RUN_NOWAIT);
    }
    if (i == 0) {
      most = support_alloc_blocks();
    }
    support_check(support_alloc_blocks() <= most);
  }
  desk_close_inbox(&desk);
  support_loop_end(&desk.loop);
}
END_TEST

START_TEST(an_unreffed_inbox_does_not_keep_its_loop) {
  uvch_handle_t* handle;
  desk_t desk;

  desk_init(&desk);
  handle = handle_of(&desk);
  uvch_unref(handle);
  ck_assert_int_eq(uvch_has_ref(handle), 0);
  support_loop_run(&desk.loop);
  post(&desk, 0, 2);
  uvch_ref(handle);
  ck_assert_int_ne(uv_run(&desk.loop, UV_RUN_NOWAIT), 0);
  uvch_unref(handle);
  support_loop_run(&desk.loop);
  check_calls(&desk, 2, 0);
  desk_close_inbox(&desk);
  ck_assert_int_eq(uvch_close_all(&desk.loop), 1);
  support_loop_end(&desk.loop);
}
END_TEST

/* Calls that do the most they can. */

static void close_post_and_run(uv_loop_t* loop, int status, void* arg) {
  desk_t* desk = loop->data;
  size_t i;

  ck_assert_int_eq(status, 0);
  post(desk, 1, 1);
  desk_close_inbox(desk);
  ck_assert_int_eq(uvch_post(&desk->inbox, note, NULL), UV_EBADF);
  for (i = 0; i < 5; i++) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  check_calls(desk, 2, 0); /* the one that was queued behind this, and the one from here */
  *(int*) arg += 1;
}

START_TEST(a_call_may_post_again_close_the_inbox_and_run_the_loop_to_its_end) {
  desk_t desk;
  int ran = 0;

  desk_init(&desk);
  ck_assert_int_eq(uvch_post(&desk.inbox, close_post_and_run, &ran), 0);
  post(&desk, 0, 1);
  support_loop_end(&desk.loop);
  ck_assert_int_eq(ran, 1);
}
END_TEST

static void close_handle_and_run(uv_loop_t* loop, int status, void* arg) {
  desk_t* desk = loop->data;
  size_t closes = 0;
  size_t i;

  ck_assert_int_eq(status, 0);
  uvch_walk(loop, close_in_walk, &closes);
  check_calls(desk, 0, 2);
  for (i = 0; i < 5; i++) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  ck_assert_uint_eq(closes, 1); /* the handle's memory is gone */
  ck_assert_int_eq(uvch_post(&desk->inbox, note, NULL), UV_EPIPE);
  *(int*) arg += 1;
}

START_TEST(a_call_may_close_the_handle_and_run_the_loop_to_its_end) {
  desk_t desk;
  int ran = 0;

  desk_init(&desk);
  ck_assert_int_eq(uvch_post(&desk.inbox, close_handle_and_run, &ran), 0);
  post(&desk, 0, 2);
  support_loop_end(&desk.loop);
  ck_assert_int_eq(ran, 1);
  desk_close_inbox(&desk);
}
END_TEST

/* Is cancelled, and uses the library all the same. */
static void use_while_canceled(uv_loop_t* loop, int status, void* arg) {
  desk_t* desk = loop->data;
  uvch_inbox_t* fresh = arg;

  ck_assert_int_eq(status, UV_ECANCELED);
  ck_assert_int_eq(uvch_post(&desk->inbox, note, NULL), UV_EPIPE);
  ck_assert_int_eq(uvch_inbox_init(loop, fresh), 0);
  ck_assert_int_eq(uvch_post(fresh, note, numbered(0, 0)), 0);
  desk_close_inbox(desk);
}

START_TEST(a_call_that_comes_canceled_may_call_everything) {
  uvch_inbox_t fresh;
  desk_t desk;

  desk_init(&desk);
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), 0);
  ck_assert_int_eq(uvch_post(&desk.inbox, use_while_canceled, &fresh), 0);
  while (desk.ran == 0) {
    uv_run(&desk.loop, UV_RUN_ONCE);
  }
  ck_assert_int_eq(uvch_inbox_close(&fresh), 0);
  support_loop_end(&desk.loop);
  check_calls(&desk, 1, 0);
}
END_TEST

/* A program that closes the library's libuv handles. What stays of them goes with a later use of the same loop. */

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

START_TEST(an_inbox_closed_before_or_after_the_librarys_handles_leaves_nothing) {
  bool before = _i / 2 == 0;
  uvch_handle_t* handle;
  uvch_inbox_t later;
  size_t closes = 0;
  desk_t desk;
  size_t i;

  desk_init(&desk);
  handle = handle_of(&desk);
  uvch_handle_set_data(handle, &closes);
  post(&desk, 0, 3);
  if (_i % 2 == 1) {
    uv_run(&desk.loop, UV_RUN_NOWAIT);
  }
  if (before) {
    ck_assert_int_eq(uvch_close(handle, count_close), 0);
  }
  uv_walk(&desk.loop, close_uv, NULL);
  support_loop_run(&desk.loop);
  if (!before) {
    ck_assert_int_eq(uvch_close(handle, _i / 4 == 1 ? count_close : NULL), 0);
    ck_assert_int_eq(uvch_is_closing(handle), 1);
  }
  check_calls(&desk, _i % 2 == 1 ? 3 : 0, _i % 2 == 1 ? 0 : 3);
  ck_assert_int_eq(uvch_post(&desk.inbox, note, NULL), UV_EPIPE);
  desk_close_inbox(&desk);
  ck_assert_int_eq(uvch_inbox_init(&desk.loop, &later), 0);
  for (i = 0; i < 5; i++) {
    uv_run(&desk.loop, UV_RUN_NOWAIT);
  }
  ck_assert_int_eq(uvch_inbox_close(&later), 0);
  support_loop_end(&desk.loop);
  ck_assert_uint_eq(closes, _i / 4 == 1 && !before ? 1 : 0);
}
END_TEST

/* Refusals. */

START_TEST(null_and_closed_are_refused) {
  uvch_inbox_t copy;
  desk_t desk;

  desk_init(&desk);
  ck_assert_int_eq(uvch_inbox_init(NULL, &copy), UV_EINVAL);
  ck_assert_int_eq(uvch_inbox_init(&desk.loop, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_inbox_clone(NULL, &copy), UV_EINVAL);
  ck_assert_int_eq(uvch_inbox_clone(&desk.inbox, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_inbox_close(NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_post(NULL, note, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_post(&desk.inbox, NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_inbox_stop(NULL), UV_EINVAL);
  desk_close_inbox(&desk);
  ck_assert_int_eq(uvch_inbox_close(&desk.inbox), UV_EBADF);
  ck_assert_int_eq(uvch_inbox_clone(&desk.inbox, &copy), UV_EBADF);
  ck_assert_int_eq(uvch_post(&desk.inbox, note, NULL), UV_EBADF);
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), UV_EBADF);
  support_loop_end(&desk.loop);
  check_calls(&desk, 0, 0);
}
END_TEST

START_TEST(another_thread_cannot_make_an_inbox_for_a_loop_that_runs) {
  support_runner_t runner;
  uvch_inbox_t other = {&runner};
  desk_t desk;

  desk_init(&desk);
  post(&desk, 0, 1);
  support_runner_start(&runner, &desk.loop);
  support_until(atomic_load(&desk.all) == 1);
  ck_assert_int_eq(uvch_inbox_init(&desk.loop, &other), UV_EPERM);
  ck_assert_ptr_eq(other.core, &runner); /* untouched */
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), 0);
  support_runner_join(&runner);
  support_loop_close(&desk.loop);
  desk_close_inbox(&desk);
}
END_TEST

START_TEST(init_without_memory_leaves_nothing) {
  uvch_inbox_t inbox;
  uv_loop_t loop;
  size_t n;
  int err = UV_ENOMEM;

  for (n = 1; err != 0; n++) {
    support_loop_init(&loop);
    inbox.core = &loop;
    support_alloc_fail(n);
    err = uvch_inbox_init(&loop, &inbox);
    support_alloc_fail(0);
    if (err == 0) {
      ck_assert_int_eq(uvch_inbox_close(&inbox), 0);
    } else {
      ck_assert_int_eq(err, UV_ENOMEM);
      ck_assert_ptr_eq(inbox.core, &loop); /* untouched */
    }
    support_loop_end(&loop);
    ck_assert_uint_eq(support_alloc_blocks(), 0);
  }
  ck_assert_uint_gt(n, 3); /* the handle, the channel, what the loop has */
}
END_TEST

START_TEST(a_post_without_memory_is_refused_and_the_others_come) {
  size_t refused = 0;
  desk_t desk;
  size_t i;

  desk_init(&desk);
  ck_assert_int_eq(uvch_loop_configure(&desk.loop, UVCH_LOOP_BUDGET_TIME, UINT64_C(1000000000000)), 0); /* one pass brings all */
  for (i = 0; i < 100;) {
    int err;
    support_alloc_fail(1);
    err = uvch_post(&desk.inbox, note, numbered(0, i));
    support_alloc_fail(0);
    if (err == 0) {
      i++;
    } else {
      ck_assert_int_eq(err, UV_ENOMEM);
      refused++;
      post(&desk, i, 1);
      i++;
    }
  }
  ck_assert_uint_gt(refused, 0);
  support_alloc_fail_from(1);
  ck_assert_int_ne(uv_run(&desk.loop, UV_RUN_NOWAIT), 0);
  check_calls(&desk, 100, 0);
  while (uvch_post(&desk.inbox, note, numbered(0, i)) == 0) {
    i++;
  }
  ck_assert_int_eq(uvch_inbox_stop(&desk.inbox), UV_ENOMEM);
  ck_assert_int_eq(uvch_close_all(&desk.loop), 1); /* an end needs no memory */
  support_loop_end(&desk.loop);
  support_alloc_fail_from(0);
  check_calls(&desk, 100, i - 100);
  desk_close_inbox(&desk);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("inbox");
  TCase* posts = support_case(suite, "posts");
  TCase* stops = support_case(suite, "stops");
  TCase* ends = support_case(suite, "ends");
  TCase* calls = support_case(suite, "calls");
  TCase* refusals = support_case(suite, "refusals");

  tcase_add_test(posts, calls_come_once_and_in_the_order_of_each_thread);
  tcase_add_test(posts, a_post_from_the_loops_own_thread_comes_later);
  tcase_add_test(posts, a_post_from_inside_a_call_comes_after_it);
  tcase_add_test(posts, a_call_needs_no_argument);
  tcase_add_test(posts, a_call_that_posts_itself_for_ever_does_not_stop_a_timer);

  tcase_add_test(stops, calls_behind_a_stop_come_canceled_and_later_posts_are_refused);
  tcase_add_test(stops, a_loop_may_be_stopped_twice_and_before_it_runs);
  tcase_add_test(stops, a_stop_through_one_inbox_cancels_the_calls_of_the_others);
  tcase_add_test(stops, each_accepted_call_comes_once_while_threads_post_and_another_stops);
  tcase_add_test(stops, a_stop_from_another_thread_ends_a_loop_with_traffic);
  tcase_add_test(stops, a_stop_leaves_requests_that_are_done_alone);

  tcase_add_loop_test(ends, after_the_last_close_pending_calls_come_and_the_loop_ends, 0, 2);
  tcase_add_test(ends, a_close_on_another_thread_ends_a_sleeping_loop);
  tcase_add_test(ends, a_walk_finds_the_handle_which_is_no_receiver);
  tcase_add_loop_test(ends, inboxes_may_be_closed_in_a_walk, 0, 4);
  tcase_add_test(ends, close_all_closes_an_inbox);
  tcase_add_test(ends, inboxes_made_and_closed_again_and_again_do_not_add_up);
  tcase_add_test(ends, an_unreffed_inbox_does_not_keep_its_loop);
  tcase_add_loop_test(ends, an_inbox_closed_before_or_after_the_librarys_handles_leaves_nothing, 0, 8);

  tcase_add_test(calls, a_call_may_post_again_close_the_inbox_and_run_the_loop_to_its_end);
  tcase_add_test(calls, a_call_may_close_the_handle_and_run_the_loop_to_its_end);
  tcase_add_test(calls, a_call_that_comes_canceled_may_call_everything);

  tcase_add_test(refusals, null_and_closed_are_refused);
  tcase_add_test(refusals, another_thread_cannot_make_an_inbox_for_a_loop_that_runs);
  tcase_add_test(refusals, init_without_memory_leaves_nothing);
  tcase_add_test(refusals, a_post_without_memory_is_refused_and_the_others_come);
  return support_main(suite);
}
