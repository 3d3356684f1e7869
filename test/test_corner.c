/* SPDX-License-Identifier: MIT
 *
 * Corners in which the library has been wrong once, and random walks through the calls. Each test fails without its fix, but for one that
 * says so. */
#include "core.h"
#include "support.h"

typedef struct corner_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t capacity;
  bool nest;
  uint64_t next; /* the number that is due */
  size_t ends;
  size_t blocks; /* at the end */
} corner_t;

static void corner_init(corner_t* corner, size_t capacity) {
  memset(corner, 0, sizeof(*corner));
  corner->capacity = capacity;
  support_loop_init(&corner->loop);
  ck_assert_int_eq(uvch_mpsc_init(&corner->loop, &corner->rx, &corner->tx, sizeof(uint64_t), capacity), 0);
  corner->rx.data = corner;
}

static void corner_end(uvch_mpsc_receiver_t* rx) {
  corner_t* corner = rx->data;

  corner->ends++;
  corner->blocks = support_alloc_blocks();
  support_close(rx);
}

/* A message in its callback, and a ring with no slot to spare. */

static void refill_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  corner_t* corner = rx->data;
  uint64_t value;
  size_t i;

  if (status == UV_EOF) {
    corner_end(rx);
    return;
  }
  support_check_eq(*(uint64_t*) item, corner->next);
  if (corner->next++ > 0)
    return;
  for (i = 1; i <= corner->capacity; i++)
    support_put(&corner->tx, i);
  if (corner->nest) {
    uv_run(&corner->loop, UV_RUN_NOWAIT);
    uv_run(&corner->loop, UV_RUN_NOWAIT);
  } else {
    for (i = 1; i <= corner->capacity; i++)
      support_check_eq(support_take(rx), corner->next++);
  }
  support_check_eq(uvch_mpsc_try_recv(rx, &value), UV_EAGAIN);
  support_check_eq(uvch_mpsc_receiver_len(rx), 0);
  support_check_eq(*(uint64_t*) item, 0); /* still good */
  support_drop_sender(&corner->tx);
}

START_TEST(a_message_in_its_callback_is_not_taken_again) {
  static const size_t capacities[] = {1, 2, 3, 7, 8};
  corner_t corner;

  corner_init(&corner, capacities[_i / 2]);
  corner.nest = _i % 2 == 1;
  ck_assert_int_eq(uvch_mpsc_recv_start(&corner.rx, refill_on_recv), 0);
  support_put(&corner.tx, 0);
  support_loop_end(&corner.loop);
  ck_assert_uint_eq(corner.next, corner.capacity + 1);
  ck_assert_uint_eq(corner.ends, 1);
}
END_TEST

/* Blocks of a drained burst. */

#define BURST 20000

static void count_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  corner_t* corner = rx->data;

  if (status == UV_EOF) {
    corner_end(rx);
    return;
  }
  support_check_eq(*(uint64_t*) item, corner->next++);
}

/* A channel with a burst in it; the blocks of memory that it had before. */
static size_t burst_init(corner_t* corner) {
  size_t fresh;
  uint64_t i;

  corner_init(corner, UVCH_UNBOUNDED);
  fresh = support_alloc_blocks();
  for (i = 0; i < BURST; i++)
    support_put(&corner->tx, i);
  ck_assert_uint_gt(support_alloc_blocks(), fresh + 10);
  return fresh;
}

START_TEST(blocks_of_a_drained_burst_come_back_before_the_end) {
  corner_t corner;
  size_t fresh = burst_init(&corner);

  support_drop_sender(&corner.tx);
  ck_assert_int_eq(uvch_mpsc_recv_start(&corner.rx, count_on_recv), 0);
  support_loop_end(&corner.loop);
  ck_assert_uint_eq(corner.next, BURST);
  ck_assert_uint_le(corner.blocks, fresh + 1);
}
END_TEST

static void nest_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  corner_t* corner = rx->data;

  count_on_recv(rx, status, item);
  if (status == 0 && !corner->nest) {
    corner->nest = true;
    while (corner->next < BURST)
      uv_run(&corner->loop, UV_RUN_NOWAIT);
  }
}

START_TEST(blocks_of_a_burst_that_nested_runs_drained_come_back) {
  corner_t corner;
  size_t fresh = burst_init(&corner);

  ck_assert_int_eq(uvch_mpsc_recv_start(&corner.rx, nest_on_recv), 0);
  while (corner.next < BURST)
    uv_run(&corner.loop, UV_RUN_NOWAIT);
  ck_assert_uint_le(support_alloc_blocks(), fresh + 1);
  support_drop_sender(&corner.tx);
  support_loop_end(&corner.loop);
}
END_TEST

/* A receiver that is parked at the last slot of a block while the next block is claimed and missing. Two senders in the middle of their
 * calls are played by moving the word on; settling their indices is what they would do when they find the channel closed. */

START_TEST(a_close_finds_the_park_before_a_missing_block) {
  struct uvch__core* c;
  corner_t corner;
  uint64_t i;

  corner_init(&corner, UVCH_UNBOUNDED);
  c = corner.tx.core;
  ck_assert_int_eq(uvch_mpsc_recv_start(&corner.rx, count_on_recv), 0);
  for (i = 0; i < 15; i++) /* the first block has 16 slots */
    support_put(&corner.tx, i);
  atomic_fetch_add(&c->word, 2 * uvch__tail_one(c));
  atomic_fetch_and(&c->word, ~UVCH__AT_TAIL);
  while (corner.next < 15 || c->has_token != 0)
    uv_run(&corner.loop, UV_RUN_NOWAIT);
  for (i = 0; i < 100; i++)
    uv_run(&corner.loop, UV_RUN_NOWAIT);
  support_close(&corner.rx);
  ck_assert_uint_eq(atomic_load(&c->refs), 1); /* the sender's */
  uvch__settle(c, 2);
  support_drop_sender(&corner.tx);
  support_loop_end(&corner.loop);
}
END_TEST

/* Messages so large that a block holds one: senders link several blocks in one call, and the receiver is close behind. A sender that reads
 * its hand after it has linked a block is wrong here, but only if it is stopped at that place: few runs would show it. */

#define LARGE 9000
#define LARGE_SENDERS 4

typedef struct large_s {
  uvch_mpsc_sender_t tx;
  uint32_t index;
  uint32_t count;
  support_result_t* result;
  uv_thread_t thread;
} large_t;

typedef struct large_sum_s {
  uint32_t next[LARGE_SENDERS];
  size_t wrong;
} large_sum_t;

static void large_work(void* arg) {
  static _Thread_local uint32_t item[LARGE / sizeof(uint32_t)];
  large_t* large = arg;

  item[0] = large->index;
  for (item[1] = 0; item[1] < large->count; item[1]++) {
    item[LARGE / sizeof(uint32_t) - 1] = item[1];
    support_expect_eq(large->result, uvch_mpsc_try_send(&large->tx, item), 0);
  }
  support_expect_eq(large->result, uvch_mpsc_sender_close(&large->tx), 0);
}

static void large_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  const uint32_t* words = item;
  large_sum_t* sum = rx->data;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  sum->wrong += words[1] != sum->next[words[0]]++ || words[1] != words[LARGE / sizeof(uint32_t) - 1];
}

START_TEST(large_messages_keep_order_while_blocks_come_and_go) {
  large_t large[LARGE_SENDERS];
  support_result_t result;
  uvch_mpsc_receiver_t rx;
  large_sum_t sum;
  uv_loop_t loop;
  uint32_t i;

  memset(&result, 0, sizeof(result));
  memset(&sum, 0, sizeof(sum));
  support_loop_init(&loop);
  ck_assert_int_eq(uvch_mpsc_init(&loop, &rx, &large[0].tx, LARGE, UVCH_UNBOUNDED), 0);
  rx.data = &sum;
  for (i = 1; i < LARGE_SENDERS; i++)
    ck_assert_int_eq(uvch_mpsc_sender_clone(&large[0].tx, &large[i].tx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&rx, large_on_recv), 0);
  for (i = 0; i < LARGE_SENDERS; i++) {
    large[i].index = i;
    large[i].count = (uint32_t) support_scale(3000);
    large[i].result = &result;
    support_spawn(&large[i].thread, large_work, &large[i]);
  }
  support_loop_end(&loop);
  for (i = 0; i < LARGE_SENDERS; i++) {
    support_join(&large[i].thread);
    ck_assert_uint_eq(sum.next[i], large[i].count);
  }
  support_result_check(&result);
  ck_assert_uint_eq(sum.wrong, 0);
}
END_TEST

/* Programs that close the library's own handles. What has to stay for the old loop goes with a later port on it. */

static void close_any(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle))
    uv_close(handle, NULL);
}

static void another_port(uv_loop_t* loop) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  int i;

  ck_assert_int_eq(uvch_mpsc_init(loop, &rx, &tx, 8, 1), 0);
  for (i = 0; i < 5; i++)
    uv_run(loop, UV_RUN_NOWAIT);
  support_close(&rx);
  support_drop_sender(&tx);
  for (i = 0; i < 5; i++)
    uv_run(loop, UV_RUN_NOWAIT);
}

static void never_sent(uvch_mpsc_send_t* req, int status) {
  (void) req;
  ck_abort_msg("a callback came with status %d", status);
}

static void never_received(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) rx;
  (void) item;
  ck_abort_msg("a callback came with status %d", status);
}

START_TEST(a_request_outlives_the_port_it_waits_for) {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t req;
  uint64_t value = 1;
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, sizeof(value), 1), 0);
  support_put(&tx, 0);
  ck_assert_int_eq(uvch_mpsc_send(&loop, &req, &tx, &value, never_sent), 0);
  uv_walk(&loop, close_any, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  another_port(&loop);
  if (_i == 0) {
    ck_assert_uint_eq(support_take(&rx), 0);
    ck_assert_uint_eq(support_take(&rx), 1); /* its server moved it in */
  } else {
    ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), 0);
  }
  support_close(&rx);
  support_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_receiver_outlives_the_port_it_had) {
  corner_t corner;

  corner_init(&corner, 4);
  uv_walk(&corner.loop, close_any, NULL);
  uv_run(&corner.loop, UV_RUN_DEFAULT);
  another_port(&corner.loop);
  support_drop_sender(&corner.tx);
  support_close(&corner.rx);
  support_loop_end(&corner.loop);
}
END_TEST

static void bury_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  corner_t* corner = rx->data;

  (void) item;
  support_check_eq(status, 0);
  support_drop_sender(&corner->tx);
  uv_walk(&corner->loop, close_any, NULL);
  support_close(rx);
  another_port(&corner->loop);
  corner->ends++;
}

START_TEST(a_callback_outlives_the_port_that_called_it) {
  corner_t corner;

  corner_init(&corner, 4);
  ck_assert_int_eq(uvch_mpsc_recv_start(&corner.rx, bury_on_recv), 0);
  support_put(&corner.tx, 1);
  support_loop_end(&corner.loop);
  ck_assert_uint_eq(corner.ends, 1);
}
END_TEST

/* Random walks: any call at any time, in callbacks and nested runs too, on one channel; the books balance at the end. */

#define DEPTH 3

typedef struct walk_s {
  corner_t corner;
  uint32_t seed;
  unsigned int depth;
  bool closed;
  bool gone; /* the close callback has come */
  size_t sent;
  size_t received;
  size_t dropped;
  size_t requests;
  size_t answers;
} walk_t;

typedef struct walk_req_s {
  uvch_mpsc_send_t req;
  uint64_t value;
  walk_t* walk;
} walk_req_t;

static uint32_t walk_random(walk_t* walk, uint32_t below) {
  walk->seed = walk->seed * 1664525u + 1013904223u;
  return (walk->seed >> 8) % below;
}

static void walk_step(walk_t* walk);

static void walk_nest(walk_t* walk) {
  if (walk->depth == DEPTH)
    return;
  walk->depth++;
  uv_run(&walk->corner.loop, UV_RUN_NOWAIT);
  walk->depth--;
}

static void walk_on_drop(void* item, void* arg) {
  walk_t* walk = arg;

  (void) item;
  walk->dropped++;
  if (walk_random(walk, 4) == 0)
    walk_nest(walk);
}

static void walk_on_close(uvch_handle_t* handle) {
  walk_t* walk = handle->data;

  support_check(walk->closed && !walk->gone);
  walk->gone = true;
}

static void walk_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  walk_t* walk = rx->data;

  support_check(!walk->closed);
  support_check((status == 0) == (item != NULL));
  walk->received += status == 0;
  if (walk->depth < DEPTH) {
    walk->depth++;
    walk_step(walk);
    walk->depth--;
  }
}

static void walk_on_send(uvch_mpsc_send_t* base, int status) {
  walk_req_t* req = base->data;

  support_check(status == 0 || status == UV_EPIPE || status == UV_ECANCELED);
  support_check_eq(uvch_cancel((uvch_req_t*) base), UV_EBUSY);
  req->walk->sent += status == 0;
  req->walk->answers++;
  free(req);
}

static void walk_request(walk_t* walk) {
  walk_req_t* req = calloc(1, sizeof(*req));

  support_check(req != NULL);
  req->walk = walk;
  req->req.data = req;
  if (uvch_mpsc_send(&walk->corner.loop, &req->req, &walk->corner.tx, &req->value, walk_on_send) != 0) {
    free(req);
    return;
  }
  walk->requests++;
  if (walk_random(walk, 3) == 0)
    uvch_cancel((uvch_req_t*) &req->req);
}

static void walk_close(walk_t* walk) {
  if (walk->closed)
    return;
  walk->closed = true;
  support_check_eq(uvch_close((uvch_handle_t*) &walk->corner.rx, walk_on_close), 0);
}

static void walk_step(walk_t* walk) {
  uvch_mpsc_receiver_t* rx = &walk->corner.rx;
  uint64_t value = 0;

  switch (walk_random(walk, 12)) {
    case 0:
    case 1:
    case 2: walk->sent += uvch_mpsc_try_send(&walk->corner.tx, &value) == 0; break;
    case 3:
    case 4: walk_request(walk); break;
    case 5: walk->received += uvch_mpsc_try_recv(rx, &value) == 0; break;
    case 6: walk_nest(walk); break;
    case 7: uvch_mpsc_recv_stop(rx); break;
    case 8:
    case 9: uvch_mpsc_recv_start(rx, walk_on_recv); break;
    case 10:
      if (walk_random(walk, 30) == 0)
        uvch_mpsc_recv_shutdown(rx);
      else if (walk_random(walk, 30) == 0)
        uvch_mpsc_sender_close(&walk->corner.tx);
      break;
    default:
      if (walk_random(walk, 30) == 0)
        walk_close(walk);
  }
}

static void walk_once(size_t capacity, uint32_t seed) {
  uvch_mpsc_options_t options = {.drop = walk_on_drop};
  walk_t walk = {.seed = seed};
  int i;

  support_loop_init(&walk.corner.loop);
  options.arg = &walk;
  support_check_eq(uvch_mpsc_init_ex(&walk.corner.loop, &walk.corner.rx, &walk.corner.tx, sizeof(uint64_t), capacity, &options), 0);
  walk.corner.rx.data = &walk;
  support_check_eq(uvch_loop_configure(&walk.corner.loop, UVCH_LOOP_HOT_MAX, 0), 0);
  for (i = 0; i < 300; i++)
    walk_step(&walk);
  uvch_mpsc_sender_close(&walk.corner.tx);
  walk_close(&walk);
  support_loop_end(&walk.corner.loop);
  support_check(walk.gone);
  support_check_eq(walk.answers, walk.requests);
  support_check_eq(walk.received + walk.dropped, walk.sent);
}

START_TEST(random_walks_keep_the_books) {
  static const size_t capacities[] = {1, 2, 3, 4, 16, UVCH_UNBOUNDED};
  size_t rounds = support_scale(500);
  size_t i;

  for (i = 0; i < rounds; i++)
    walk_once(capacities[_i], (uint32_t) i * 7919 + (uint32_t) _i);
}
END_TEST

/* Walks and closes in each other. */

static void close_all_in_walk(uvch_handle_t* handle, void* arg) {
  size_t* visits = arg;

  if (visits[0]++ == 0)
    ck_assert_int_eq(uvch_close_all(uvch_handle_get_loop(handle)), 3);
  else
    ck_assert(uvch_is_closing(handle));
}

START_TEST(a_walk_in_a_walk_sees_all_handles) {
  uvch_mpsc_receiver_t rx[3];
  uvch_mpsc_sender_t tx[3];
  size_t visits = 0;
  uv_loop_t loop;
  int i;

  support_loop_init(&loop);
  for (i = 0; i < 3; i++)
    ck_assert_int_eq(uvch_mpsc_init(&loop, &rx[i], &tx[i], 8, 1), 0);
  uvch_walk(&loop, close_all_in_walk, &visits);
  ck_assert_uint_eq(visits, 3);
  for (i = 0; i < 3; i++)
    support_drop_sender(&tx[i]);
  support_loop_end(&loop);
}
END_TEST

static void run_loop(void* loop) {
  uv_run(loop, UV_RUN_DEFAULT);
}

static void stop_at_once(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) item;
  support_check_eq(status, 0);
  support_check_eq(uvch_mpsc_recv_stop(rx), 0);
}

START_TEST(who_joined_the_loops_thread_may_close_all) {
  uv_thread_t thread;
  corner_t corner;

  corner_init(&corner, 4);
  ck_assert_int_eq(uvch_mpsc_recv_start(&corner.rx, stop_at_once), 0);
  support_put(&corner.tx, 1);
  support_spawn(&thread, run_loop, &corner.loop);
  support_join(&thread);
  ck_assert_int_eq(uvch_close_all(&corner.loop), 1);
  support_drop_sender(&corner.tx);
  support_loop_end(&corner.loop);
}
END_TEST

static void close_idle(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (uv_handle_get_type(handle) == UV_IDLE)
    uv_close(handle, NULL);
}

START_TEST(a_program_may_close_one_of_the_two_handles) {
  corner_t corner;

  corner_init(&corner, 4);
  ck_assert_int_eq(uvch_mpsc_recv_start(&corner.rx, never_received), 0);
  uv_walk(&corner.loop, close_idle, NULL);
  uvch_mpsc_try_send(&corner.tx, &corner.next);
  uv_run(&corner.loop, UV_RUN_NOWAIT);
  support_close(&corner.rx);
  ck_assert_int_eq(uvch_mpsc_try_send(&corner.tx, &corner.next), UV_EPIPE);
  support_drop_sender(&corner.tx);
  another_port(&corner.loop);
  support_loop_end(&corner.loop);
}
END_TEST

START_TEST(a_handle_freed_after_such_a_walk_is_not_touched) {
  uvch_mpsc_receiver_t* gone = malloc(sizeof(*gone));
  uvch_mpsc_sender_t tx;
  corner_t corner;

  ck_assert_ptr_nonnull(gone);
  corner_init(&corner, 4);
  ck_assert_int_eq(uvch_mpsc_init(&corner.loop, gone, &tx, 8, 1), 0);
  support_close(gone);
  uv_walk(&corner.loop, close_any, NULL);
  uv_run(&corner.loop, UV_RUN_DEFAULT);
  free(gone);
  support_close(&corner.rx);
  support_drop_sender(&corner.tx);
  support_drop_sender(&tx);
  another_port(&corner.loop);
  support_loop_end(&corner.loop);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("corner");
  TCase* corners = support_case(suite, "corners");
  TCase* foreign = support_case(suite, "foreign");
  TCase* walks = support_case(suite, "walks");

  tcase_add_loop_test(corners, a_message_in_its_callback_is_not_taken_again, 0, 10);
  tcase_add_test(corners, blocks_of_a_drained_burst_come_back_before_the_end);
  tcase_add_test(corners, blocks_of_a_burst_that_nested_runs_drained_come_back);
  tcase_add_test(corners, a_close_finds_the_park_before_a_missing_block);
  tcase_add_test(corners, large_messages_keep_order_while_blocks_come_and_go);
  tcase_add_loop_test(foreign, a_request_outlives_the_port_it_waits_for, 0, 2);
  tcase_add_test(foreign, a_receiver_outlives_the_port_it_had);
  tcase_add_test(foreign, a_callback_outlives_the_port_that_called_it);
  tcase_add_test(foreign, a_program_may_close_one_of_the_two_handles);
  tcase_add_test(foreign, a_handle_freed_after_such_a_walk_is_not_touched);
  tcase_add_test(corners, a_walk_in_a_walk_sees_all_handles);
  tcase_add_test(corners, who_joined_the_loops_thread_may_close_all);
  tcase_add_loop_test(walks, random_walks_keep_the_books, 0, 6);
  return support_main(suite);
}
