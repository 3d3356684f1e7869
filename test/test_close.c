/* SPDX-License-Identifier: MIT
 *
 * Ends of life: whoever goes first, in whatever place, each message that was taken is delivered once or dropped once, everybody
 * is told, and nothing stays. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <stdio.h>
#include <time.h>

/* What a sender does that finds no room: it goes away for a moment. Threads that only yield pass the processor round among
 * themselves, and on a busy machine the receiver waits for long. */
static void nap(void) {
  struct timespec time = {0, 50000};

  (void) nanosleep(&time, NULL);
}

static uvch_mpsc_options_t options_with(uvch_drop_cb drop, void* arg) {
  uvch_mpsc_options_t options;

  memset(&options, 0, sizeof(options));
  options.drop = drop;
  options.arg = arg;
  return options;
}

/* The usual drop function here: counts, and checks that the messages come in order and on the thread that closes. */
typedef struct drops_s {
  size_t count;
  size_t next;
  size_t wrong;
  long thread;
} drops_t;

static void drop_in_order(void* item, void* arg) {
  drops_t* drops = arg;
  size_t value;

  memcpy(&value, item, sizeof(value));
  if (value != drops->next || support_thread_number() != drops->thread) {
    drops->wrong += 1;
  }
  drops->next = value + 1;
  drops->count += 1;
}

/* Senders against the end of everything. In each round eight threads use their own sender, and one that they all share, while the
 * receiver and its loop close and their memory goes. They go on until they are told, and then a little longer. */

#define RACE_THREADS 8
#define SENDS_AFTER_THE_END 20
#define BACKLOG 200 /* above it senders give the processor away, so that a slow machine does not drown in messages */

typedef struct race_s race_t;

typedef struct race_thread_s {
  race_t* race;
  size_t index;
  uvch_mpsc_sender_t tx;
  size_t accepted;
  uv_thread_t thread;
} race_thread_t;

struct race_s {
  race_thread_t threads[RACE_THREADS];
  uvch_mpsc_sender_t shared;
  uv_barrier_t begin;
  uv_barrier_t end;
  bool over;
  bool may_block;
  _Atomic(size_t) dropped;
  size_t delivered;
  size_t late; /* callbacks after the close callback */
  bool closed;
  bool freed;
  support_result_t result;
};

/* Two of them stay close to the end, the others leave room for it to come. */
static void race_pause(const race_thread_t* self) {
  if (self->index < 2) {
    support_yield();
  } else {
    nap();
  }
}

static int race_send(race_thread_t* self, const uvch_mpsc_sender_t* tx, size_t turn) {
  size_t value = turn;
  int err;

  if (uvch_mpsc_sender_len(tx) > BACKLOG) {
    race_pause(self);
  }
  if (self->race->may_block && self->index == 0) {
    err = uvch_mpsc_send_wait(tx, &value);
    support_expect(&self->race->result, err != UV_EAGAIN);
  } else if (self->race->may_block && self->index == 1) {
    err = uvch_mpsc_send_timedwait(tx, &value, 50000);
    support_expect(&self->race->result, err != UV_EAGAIN);
    err = err == UV_ETIMEDOUT ? UV_EAGAIN : err;
  } else {
    err = uvch_mpsc_try_send(tx, &value);
  }
  if (err == 0) {
    self->accepted += 1;
  } else if (err == UV_EAGAIN) {
    race_pause(self);
  } else {
    support_expect_eq(&self->race->result, err, UV_EPIPE);
  }
  return err;
}

static void race_round(race_thread_t* self) {
  support_result_t* result = &self->race->result;
  uvch_mpsc_sender_t copy;
  size_t turn;
  size_t after = 0;
  int err;

  for (turn = 0; after < SENDS_AFTER_THE_END; turn++) {
    err = race_send(self, turn % 3 == 0 ? &self->race->shared : &self->tx, turn);
    if (after > 0) {
      support_expect_eq(result, err, UV_EPIPE);
    }
    after += err == UV_EPIPE;
    if (turn % 4 == 0) {
      memset(&copy, 0, sizeof(copy));
      if (support_expect_eq(result, uvch_mpsc_sender_clone(&self->tx, &copy), 0)) {
        err = race_send(self, &copy, turn);
        after += err == UV_EPIPE;
        support_expect(result, uvch_mpsc_sender_same_channel(&copy, &self->tx) == 1);
        support_expect_eq(result, uvch_mpsc_sender_close(&copy), 0);
        support_expect_eq(result, uvch_mpsc_sender_close(&copy), UV_EBADF);
      }
    }
    if (turn % 8 == 0) {
      (void) uvch_mpsc_sender_len(&self->tx);
      (void) uvch_mpsc_sender_capacity(&self->tx);
    }
  }
  support_expect_eq(result, uvch_mpsc_sender_is_closed(&self->tx), 1);
  support_expect_eq(result, uvch_mpsc_sender_close(&self->tx), 0);
}

static void race_work(void* arg) {
  race_thread_t* self = arg;

  for (;;) {
    uv_barrier_wait(&self->race->begin);
    if (self->race->over) {
      return;
    }
    race_round(self);
    uv_barrier_wait(&self->race->end);
  }
}

static void race_on_drop(void* item, void* arg) {
  race_t* race = arg;

  (void) item;
  atomic_fetch_add(&race->dropped, 1);
}

static void race_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  race_t* race = rx->data;

  ck_assert_int_eq(status, 0);
  ck_assert_ptr_nonnull(item);
  race->late += race->closed;
  race->delivered += 1;
}

static void race_on_close(uvch_handle_t* handle) {
  race_t* race = handle->data;

  ck_assert(!race->closed);
  race->closed = true;
  memset(handle, 0xdd, sizeof(uvch_mpsc_receiver_t));
  free(handle);
}

/* One receiver and one loop, in memory of their own that is overwritten when they are gone. */
static void race_live_and_die(race_t* race, size_t round) {
  static const size_t capacities[] = {1, 3, 64, UVCH_UNBOUNDED};
  uvch_mpsc_options_t options = options_with(race_on_drop, race);
  uvch_mpsc_receiver_t* rx = malloc(sizeof(*rx));
  uv_loop_t* loop = malloc(sizeof(*loop));
  size_t i;

  ck_assert(rx != NULL && loop != NULL);
  support_loop_init(loop);
  ck_assert_int_eq(uvch_mpsc_init_ex(loop, rx, &race->shared, sizeof(size_t), capacities[round % 4], &options), 0);
  rx->data = race;
  race->closed = false;
  ck_assert_int_eq(uvch_mpsc_recv_start(rx, race_on_recv), 0);
  for (i = 0; i < RACE_THREADS; i++) {
    ck_assert_int_eq(uvch_mpsc_sender_clone(&race->shared, &race->threads[i].tx), 0);
  }
  uv_barrier_wait(&race->begin);
  for (i = 0; i < (round / 4) % 8; i++) {
    ck_assert_int_ne(uv_run(loop, UV_RUN_NOWAIT), 0);
  }
  if (round % 5 == 4) {
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(rx), 0);
  }
  ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, race_on_close), 0);
  support_loop_end(loop);
  ck_assert(race->closed);
  memset(loop, 0xdd, sizeof(*loop));
  free(loop);
  uv_barrier_wait(&race->end);
  ck_assert_int_eq(uvch_mpsc_sender_close(&race->shared), 0);
}

START_TEST(senders_in_eight_threads_survive_the_end_of_receiver_and_loop) {
  static race_t race;
  size_t rounds = support_scale(1500);
  size_t accepted = 0;
  size_t i;

  memset(&race, 0, sizeof(race));
  race.may_block = _i == 1;
  ck_assert_int_eq(uv_barrier_init(&race.begin, RACE_THREADS + 1), 0);
  ck_assert_int_eq(uv_barrier_init(&race.end, RACE_THREADS + 1), 0);
  for (i = 0; i < RACE_THREADS; i++) {
    race.threads[i].race = &race;
    race.threads[i].index = i;
    support_spawn(&race.threads[i].thread, race_work, &race.threads[i]);
  }
  for (i = 0; i < rounds; i++) {
    race_live_and_die(&race, i);
  }
  race.over = true;
  uv_barrier_wait(&race.begin);
  for (i = 0; i < RACE_THREADS; i++) {
    support_join(&race.threads[i].thread);
    accepted += race.threads[i].accepted;
  }
  uv_barrier_destroy(&race.begin);
  uv_barrier_destroy(&race.end);
  support_result_check(&race.result);
  ck_assert_uint_eq(race.late, 0);
  ck_assert_uint_eq(race.delivered + atomic_load(&race.dropped), accepted);
}
END_TEST

/* Senders, receiver and loop go in every order. A loop that still has a receiver says UV_EBUSY and lives on. */

typedef struct order_s {
  const char* name;
  const char* steps;
} order_t;

static const order_t orders[] = {
    {"sender, receiver, loop", "srl"}, {"receiver, sender, loop", "rsl"}, {"receiver, loop, sender", "rls"},
    {"loop, sender, receiver", "lsr"}, {"loop, receiver, sender", "lrs"}, {"sender, loop, receiver", "slr"},
};

typedef struct ends_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  drops_t drops;
  size_t received;
  size_t ends;
  size_t closes;
  size_t late;
  size_t wrong;
} ends_t;

static void ends_on_close(uvch_handle_t* handle) {
  ends_t* ends = handle->data;

  ends->closes += 1;
}

static void ends_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  ends_t* ends = rx->data;
  size_t value;

  ends->late += ends->closes;
  if (status == UV_EOF) {
    ends->ends += 1;
    return;
  }
  memcpy(&value, item, sizeof(value));
  ends->wrong += value != ends->received;
  ends->received += 1;
  ends->drops.next = value + 1;
}

static void ends_init(ends_t* ends, size_t capacity) {
  uvch_mpsc_options_t options;

  memset(ends, 0, sizeof(*ends));
  ends->drops.thread = support_thread_number();
  options = options_with(drop_in_order, &ends->drops);
  support_loop_init(&ends->loop);
  ck_assert_int_eq(uvch_mpsc_init_ex(&ends->loop, &ends->rx, &ends->tx, sizeof(size_t), capacity, &options), 0);
  ends->rx.data = ends;
}

static void send_values(const uvch_mpsc_sender_t* tx, size_t first, size_t count) {
  size_t value;

  for (value = first; value < first + count; value++) {
    ck_assert_int_eq(uvch_mpsc_try_send(tx, &value), 0);
  }
}

static void close_receiver_of(ends_t* ends) {
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &ends->rx, ends_on_close), 0);
}

START_TEST(ends_may_go_in_any_order) {
  static const size_t capacities[] = {16, UVCH_UNBOUNDED};
  const order_t* order = &orders[_i / 2];
  bool loop_closed = false;
  ends_t ends;
  const char* step;
  size_t value = 10;

  ends_init(&ends, capacities[_i % 2]);
  send_values(&ends.tx, 0, 10);
  for (step = order->steps; *step != '\0'; step++) {
    if (*step == 's') {
      ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
    } else if (*step == 'r') {
      close_receiver_of(&ends);
      ck_assert_uint_eq(ends.drops.count, 10);
    } else if (ends.drops.count == 0) {
      ck_assert_int_eq(uv_loop_close(&ends.loop), UV_EBUSY);
    } else {
      support_loop_end(&ends.loop);
      memset(&ends.loop, 0xdd, sizeof(ends.loop));
      loop_closed = true;
    }
  }
  if (order->steps[2] == 's') {
    ck_assert_int_eq(uvch_mpsc_try_send(&ends.tx, &value), UV_EBADF);
  }
  if (!loop_closed) {
    support_loop_end(&ends.loop);
  }
  ck_assert_uint_eq(ends.closes, 1);
  ck_assert_uint_eq(ends.drops.wrong, 0);
  ck_assert_msg(ends.drops.count == 10, "%s", order->name);
}
END_TEST

/* The same at the same time: two threads each close their sender while the receiver closes here. */

typedef struct pair_s {
  uvch_mpsc_sender_t tx;
  size_t accepted;
  size_t value;
  uv_barrier_t* begin;
  uv_barrier_t* end;
  const bool* over;
  support_result_t* result;
  uv_thread_t thread;
} pair_t;

static void pair_work(void* arg) {
  pair_t* pair = arg;
  int err;

  for (;;) {
    uv_barrier_wait(pair->begin);
    if (*pair->over) {
      return;
    }
    err = uvch_mpsc_try_send(&pair->tx, &pair->value);
    support_expect(pair->result, err == 0 || err == UV_EPIPE);
    pair->accepted += err == 0;
    support_expect_eq(pair->result, uvch_mpsc_sender_close(&pair->tx), 0);
    uv_barrier_wait(pair->end);
  }
}

typedef struct meet_s {
  size_t received;
  size_t ends;
  size_t closes;
  _Atomic(size_t) dropped;
} meet_t;

static void meet_on_drop(void* item, void* arg) {
  meet_t* meet = arg;

  (void) item;
  atomic_fetch_add(&meet->dropped, 1);
}

static void meet_on_close(uvch_handle_t* handle) {
  meet_t* meet = handle->data;

  meet->closes += 1;
}

static void meet_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  meet_t* meet = rx->data;

  (void) item;
  if (status == UV_EOF) {
    meet->ends += 1;
    ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, meet_on_close), 0);
  } else {
    meet->received += 1;
  }
}

START_TEST(senders_receiver_and_loop_may_go_at_the_same_time) {
  size_t rounds = support_scale(4000);
  uv_barrier_t begin;
  uv_barrier_t end;
  bool over = false;
  support_result_t result;
  uvch_mpsc_options_t options;
  uvch_mpsc_receiver_t rx;
  uv_loop_t loop;
  pair_t pairs[2];
  meet_t meet;
  size_t i;
  size_t k;

  memset(&result, 0, sizeof(result));
  memset(&meet, 0, sizeof(meet));
  memset(pairs, 0, sizeof(pairs));
  ck_assert_int_eq(uv_barrier_init(&begin, 3), 0);
  ck_assert_int_eq(uv_barrier_init(&end, 3), 0);
  for (k = 0; k < 2; k++) {
    pairs[k].begin = &begin;
    pairs[k].end = &end;
    pairs[k].over = &over;
    pairs[k].result = &result;
    support_spawn(&pairs[k].thread, pair_work, &pairs[k]);
  }
  options = options_with(meet_on_drop, &meet);
  for (i = 0; i < rounds; i++) {
    support_loop_init(&loop);
    ck_assert_int_eq(
        uvch_mpsc_init_ex(&loop, &rx, &pairs[0].tx, sizeof(size_t), i % 2 == 0 ? 2 : UVCH_UNBOUNDED, &options), 0);
    ck_assert_int_eq(uvch_mpsc_sender_clone(&pairs[0].tx, &pairs[1].tx), 0);
    rx.data = &meet;
    ck_assert_int_eq(uvch_mpsc_recv_start(&rx, meet_on_recv), 0);
    uv_barrier_wait(&begin);
    if (i % 3 == 0) {
      uv_run(&loop, UV_RUN_NOWAIT);
    }
    if (i % 3 != 2 && !uvch_is_closing((uvch_handle_t*) &rx)) {
      ck_assert_int_eq(uvch_close((uvch_handle_t*) &rx, meet_on_close), 0);
    }
    support_loop_end(&loop);
    uv_barrier_wait(&end);
  }
  over = true;
  uv_barrier_wait(&begin);
  for (k = 0; k < 2; k++) {
    support_join(&pairs[k].thread);
  }
  uv_barrier_destroy(&begin);
  uv_barrier_destroy(&end);
  support_result_check(&result);
  ck_assert_uint_eq(meet.closes, rounds);
  ck_assert_uint_eq(meet.received + atomic_load(&meet.dropped), pairs[0].accepted + pairs[1].accepted);
}
END_TEST

/* Closing in the callback. The handle lies on the heap and is freed in its close callback; the item stays good although all this
 * happens while it is looked at. */

#define ITEM_WORDS 40

typedef struct inside_s {
  uv_loop_t loop;
  uvch_mpsc_sender_t tx;
  size_t close_at;
  size_t words;
  size_t received;
  size_t closes;
  size_t dropped;
} inside_t;

static void inside_on_drop(void* item, void* arg) {
  inside_t* inside = arg;
  size_t value;

  memcpy(&value, item, sizeof(value));
  ck_assert_uint_eq(value, inside->close_at + 1 + inside->dropped);
  inside->dropped += 1;
}

static void inside_on_close(uvch_handle_t* handle) {
  inside_t* inside = handle->data;

  inside->closes += 1;
  memset(handle, 0xdd, sizeof(uvch_mpsc_receiver_t));
  free(handle);
}

static void inside_check_item(const inside_t* inside, const void* item) {
  size_t values[ITEM_WORDS];
  size_t i;

  memcpy(values, item, inside->words * sizeof(size_t));
  for (i = 0; i < inside->words; i++) {
    ck_assert_uint_eq(values[i], inside->received + i * 1000);
  }
}

static void inside_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  inside_t* inside = rx->data;

  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(inside->closes, 0);
  ck_assert_uint_le(inside->received, inside->close_at);
  inside_check_item(inside, item);
  if (inside->received == inside->close_at) {
    ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, inside_on_close), 0);
    ck_assert_uint_eq(inside->closes, 0);
    ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) rx), 1);
    ck_assert_int_eq(uvch_mpsc_try_send(&inside->tx, item), UV_EPIPE);
    inside_check_item(inside, item);
    if (inside->words > 1) {
      ck_assert_int_eq(uvch_mpsc_sender_close(&inside->tx), 0);
      inside_check_item(inside, item);
    }
  }
  inside->received += 1;
}

static void inside_send(inside_t* inside, size_t count) {
  size_t values[ITEM_WORDS];
  size_t i;
  size_t k;

  for (i = 0; i < count; i++) {
    for (k = 0; k < ITEM_WORDS; k++) {
      values[k] = i + k * 1000;
    }
    ck_assert_int_eq(uvch_mpsc_try_send(&inside->tx, values), 0);
  }
}

START_TEST(close_in_the_callback_of_any_message) {
  static const size_t places[] = {0, 1, 5, 31, 32, 33, 98, 99};
  uvch_mpsc_receiver_t* rx = malloc(sizeof(*rx));
  uvch_mpsc_options_t options;
  inside_t inside;

  ck_assert_ptr_nonnull(rx);
  memset(&inside, 0, sizeof(inside));
  inside.close_at = places[_i / 4];
  inside.words = _i % 2 == 0 ? 1 : ITEM_WORDS;
  options = options_with(inside_on_drop, &inside);
  support_loop_init(&inside.loop);
  ck_assert_int_eq(uvch_mpsc_init_ex(&inside.loop, rx, &inside.tx, inside.words * sizeof(size_t),
                                     _i / 2 % 2 == 0 ? 100 : UVCH_UNBOUNDED, &options),
                   0);
  rx->data = &inside;
  ck_assert_int_eq(uvch_mpsc_recv_start(rx, inside_on_recv), 0);
  inside_send(&inside, 100);
  support_loop_end(&inside.loop);
  if (inside.words == 1) {
    ck_assert_int_eq(uvch_mpsc_sender_close(&inside.tx), 0);
  }
  ck_assert_uint_eq(inside.received, inside.close_at + 1);
  ck_assert_uint_eq(inside.dropped, 100 - inside.received);
  ck_assert_uint_eq(inside.closes, 1);
}
END_TEST

static void close_at_the_end(uvch_mpsc_receiver_t* rx, int status, void* item) {
  ends_t* ends = rx->data;

  ends_on_recv(rx, status, item);
  if (status == UV_EOF) {
    close_receiver_of(ends);
  }
}

START_TEST(close_in_the_callback_of_the_end) {
  ends_t ends;

  ends_init(&ends, 4);
  ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, close_at_the_end), 0);
  send_values(&ends.tx, 0, 3);
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
  support_loop_end(&ends.loop);
  ck_assert_uint_eq(ends.received, 3);
  ck_assert_uint_eq(ends.ends, 1);
  ck_assert_uint_eq(ends.closes, 1);
  ck_assert_uint_eq(ends.drops.count, 0);
  ck_assert_uint_eq(ends.late + ends.wrong, 0);
}
END_TEST

static void stop_at_five(uvch_mpsc_receiver_t* rx, int status, void* item) {
  ends_t* ends = rx->data;

  ends_on_recv(rx, status, item);
  if (status == 0 && ends->received % 5 == 0) {
    ck_assert_int_eq(uvch_mpsc_recv_stop(rx), 0);
    ck_assert_int_eq(uvch_is_active((uvch_handle_t*) rx), 0);
  }
}

START_TEST(recv_stop_in_the_callback_stops_at_that_message) {
  static const size_t capacities[] = {20, UVCH_UNBOUNDED};
  ends_t ends;
  size_t i;

  ends_init(&ends, capacities[_i]);
  send_values(&ends.tx, 0, 20);
  for (i = 1; i <= 4; i++) {
    ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, stop_at_five), 0);
    support_loop_run(&ends.loop);
    ck_assert_uint_eq(ends.received, 5 * i);
    ck_assert_uint_eq(uvch_mpsc_receiver_len(&ends.rx), 20 - 5 * i);
  }
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, stop_at_five), 0);
  support_loop_run(&ends.loop);
  ck_assert_uint_eq(ends.ends, 1);
  ck_assert_uint_eq(ends.wrong, 0);
  support_close(&ends.rx);
  support_loop_end(&ends.loop);
}
END_TEST

static void stop_and_start_each_time(uvch_mpsc_receiver_t* rx, int status, void* item) {
  ends_on_recv(rx, status, item);
  if (status == 0) {
    ck_assert_int_eq(uvch_mpsc_recv_stop(rx), 0);
    ck_assert_int_eq(uvch_mpsc_recv_start(rx, stop_and_start_each_time), 0);
  }
}

START_TEST(stop_and_start_in_the_callback_loses_nothing) {
  static const size_t capacities[] = {100, UVCH_UNBOUNDED};
  ends_t ends;

  ends_init(&ends, capacities[_i]);
  ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, stop_and_start_each_time), 0);
  send_values(&ends.tx, 0, 100);
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
  support_loop_run(&ends.loop);
  ck_assert_uint_eq(ends.received, 100);
  ck_assert_uint_eq(ends.ends, 1);
  ck_assert_uint_eq(ends.wrong, 0);
  support_close(&ends.rx);
  support_loop_end(&ends.loop);
}
END_TEST

static void close_sender_at_five(uvch_mpsc_receiver_t* rx, int status, void* item) {
  ends_t* ends = rx->data;

  ends_on_recv(rx, status, item);
  if (status == 0 && ends->received == 5) {
    ck_assert_int_eq(uvch_mpsc_sender_close(&ends->tx), 0);
    ck_assert_int_eq(uvch_mpsc_sender_close(&ends->tx), UV_EBADF);
  }
}

START_TEST(the_last_sender_may_close_inside_the_callback) {
  static const size_t capacities[] = {8, UVCH_UNBOUNDED};
  size_t count = _i / 2 == 0 ? 8 : 5;
  ends_t ends;

  ends_init(&ends, capacities[_i % 2]);
  ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, close_sender_at_five), 0);
  send_values(&ends.tx, 0, count);
  support_loop_run(&ends.loop);
  ck_assert_uint_eq(ends.received, count);
  ck_assert_uint_eq(ends.ends, 1);
  ck_assert_uint_eq(ends.wrong, 0);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &ends.rx), 0);
  support_close(&ends.rx);
  support_loop_end(&ends.loop);
}
END_TEST

START_TEST(the_second_close_says_so_and_changes_nothing) {
  ends_t ends;
  size_t value;

  ends_init(&ends, 4);
  ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, ends_on_recv), 0);
  send_values(&ends.tx, 0, 3);
  close_receiver_of(&ends);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &ends.rx, ends_on_close), UV_EALREADY);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &ends.rx, NULL), UV_EALREADY);
  ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, ends_on_recv), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_recv_stop(&ends.rx), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&ends.rx), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_try_recv(&ends.rx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_attach(&ends.loop, (uvch_handle_t*) &ends.rx), UV_EBADF);
  ck_assert_uint_eq(ends.drops.count, 3);
  ck_assert_uint_eq(ends.closes, 0);
  support_loop_end(&ends.loop);
  ck_assert_uint_eq(ends.closes, 1);
  ck_assert_uint_eq(ends.drops.count, 3);
  ck_assert_uint_eq(ends.received + ends.ends, 0);
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
}
END_TEST

/* A closed receiver keeps nothing of the other side: the messages go at once, though a sender stays. */

START_TEST(close_drops_what_is_queued_while_a_sender_lives_on) {
  static const size_t capacities[] = {60000, UVCH_UNBOUNDED};
  size_t queued = 50000;
  size_t idle;
  size_t value = 0;
  ends_t ends;

  ends_init(&ends, capacities[_i]);
  idle = support_alloc_bytes();
  ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, ends_on_recv), 0);
  send_values(&ends.tx, 0, queued);
  ck_assert_uint_ge(support_alloc_bytes(), idle + queued * sizeof(size_t));
  close_receiver_of(&ends);
  ck_assert_uint_eq(ends.drops.count, queued);
  ck_assert_uint_eq(ends.drops.wrong, 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&ends.tx, &value), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&ends.tx), 1);
  ck_assert_uint_eq(uvch_mpsc_sender_len(&ends.tx), 0);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&ends.tx), capacities[_i]);
  ck_assert_uint_eq(uvch_mpsc_sender_max_capacity(&ends.tx), capacities[_i]);
  support_loop_end(&ends.loop);
  if (capacities[_i] == UVCH_UNBOUNDED) {
    ck_assert_uint_lt(support_alloc_bytes(), idle + queued);
  }
  ck_assert_uint_eq(ends.closes, 1);
  ck_assert_uint_eq(ends.drops.count, queued);
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
}
END_TEST

/* No lock is held over a drop function: it may use the channel that is just going, close another receiver, and close senders that
 * were on their way in a message. */

typedef struct cargo_s {
  uvch_mpsc_sender_t tx;
  size_t value;
} cargo_t;

typedef struct busy_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_receiver_t other_rx;
  uvch_mpsc_sender_t other_tx;
  size_t dropped;
} busy_t;

static void busy_on_drop(void* item, void* arg) {
  busy_t* busy = arg;
  uvch_mpsc_sender_t copy;
  cargo_t cargo;
  size_t value = 1;

  memcpy(&cargo, item, sizeof(cargo));
  ck_assert_int_eq(uvch_mpsc_try_send(&busy->tx, &cargo), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_send_wait(&busy->tx, &cargo), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_sender_is_closed(&busy->tx), 1);
  ck_assert_uint_eq(uvch_mpsc_sender_max_capacity(&busy->tx), 8);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&cargo.tx, &copy), 0);
  ck_assert_int_eq(uvch_mpsc_sender_same_channel(&copy, cargo.value == 0 ? &busy->other_tx : &busy->tx), 1);
  ck_assert_int_eq(uvch_mpsc_try_send(&copy, &value), UV_EPIPE - (cargo.value == 0) * UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_sender_close(&copy), 0);
  ck_assert_int_eq(uvch_mpsc_sender_close(&cargo.tx), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &busy->rx, NULL), UV_EALREADY);
  if (cargo.value == 2) {
    ck_assert_int_eq(uvch_mpsc_try_recv(&busy->other_rx, &value), 0);
    support_close(&busy->other_rx);
  }
  busy->dropped += 1;
}

START_TEST(a_drop_function_may_call_everything) {
  uvch_mpsc_options_t options;
  busy_t busy;
  cargo_t cargo;
  size_t i;

  memset(&busy, 0, sizeof(busy));
  memset(&cargo, 0, sizeof(cargo));
  options = options_with(busy_on_drop, &busy);
  support_loop_init(&busy.loop);
  ck_assert_int_eq(uvch_mpsc_init_ex(&busy.loop, &busy.rx, &busy.tx, sizeof(cargo_t), 8, &options), 0);
  ck_assert_int_eq(uvch_mpsc_init(&busy.loop, &busy.other_rx, &busy.other_tx, sizeof(size_t), 8), 0);
  for (i = 0; i < 5; i++) {
    cargo.value = i;
    ck_assert_int_eq(uvch_mpsc_sender_clone(i == 0 ? &busy.other_tx : &busy.tx, &cargo.tx), 0);
    ck_assert_int_eq(uvch_mpsc_try_send(&busy.tx, &cargo), 0);
  }
  support_close(&busy.rx);
  ck_assert_uint_eq(busy.dropped, 5);
  ck_assert_int_eq(uvch_mpsc_sender_close(&busy.tx), 0);
  ck_assert_int_eq(uvch_mpsc_sender_close(&busy.other_tx), 0);
  support_loop_end(&busy.loop);
}
END_TEST

/* Without a loop a close is over when it returns. */

static void never_called(uvch_handle_t* handle) {
  (void) handle;
  ck_abort_msg("a receiver without a loop has no close callback");
}

START_TEST(a_receiver_without_a_loop_closes_at_once) {
  static const size_t capacities[] = {8, UVCH_UNBOUNDED};
  size_t before = support_alloc_blocks();
  uvch_mpsc_receiver_t* rx = malloc(sizeof(*rx));
  uvch_mpsc_options_t options;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_sender_t copy;
  drops_t drops = {0};
  size_t value = 7;

  ck_assert_ptr_nonnull(rx);
  drops.thread = support_thread_number();
  options = options_with(drop_in_order, &drops);
  ck_assert_int_eq(uvch_mpsc_init_ex(NULL, rx, &tx, sizeof(size_t), capacities[_i], &options), 0);
  ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &copy), 0);
  send_values(&copy, 0, 8);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, never_called), UV_EINVAL);
  ck_assert_uint_eq(drops.count, 0);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(rx), 8);
  support_close(rx);
  ck_assert_uint_eq(drops.count, 8);
  ck_assert_uint_eq(drops.wrong, 0);
  ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) rx), 1);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, NULL), UV_EALREADY);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(rx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_wait(rx, &value), UV_EBADF);
  memset(rx, 0xdd, sizeof(*rx));
  free(rx);
  ck_assert_int_eq(uvch_mpsc_try_send(&tx, &value), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_send_wait(&copy, &value), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_send_timedwait(&copy, &value, 0), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_sender_close(&tx), 0);
  ck_assert_int_eq(uvch_mpsc_sender_close(&copy), 0);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

/* What is left on a loop after the last close: nothing, and without one more pass. */

START_TEST(a_loop_closes_right_after_its_run) {
  ends_t ends;
  int alive;

  ends_init(&ends, 4);
  ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, ends_on_recv), 0);
  send_values(&ends.tx, 0, 4);
  if (_i % 2 == 0) {
    uv_run(&ends.loop, UV_RUN_NOWAIT);
  }
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
  close_receiver_of(&ends);
  if (_i / 2 == 0) {
    support_loop_run(&ends.loop);
  } else {
    do {
      alive = uv_run(&ends.loop, _i / 2 == 1 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    } while (alive != 0);
  }
  ck_assert_uint_eq(ends.closes, 1);
  ck_assert_int_eq(uv_loop_alive(&ends.loop), 0);
  support_loop_close(&ends.loop);
}
END_TEST

START_TEST(a_loop_closes_though_nobody_asked_for_a_close_callback) {
  ends_t ends;

  ends_init(&ends, UVCH_UNBOUNDED);
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
  support_close(&ends.rx);
  support_loop_end(&ends.loop);
}
END_TEST

START_TEST(a_loop_closes_after_many_receivers_and_their_ends) {
  enum { COUNT = 50 };
  static ends_t all[COUNT];
  uv_loop_t loop;
  size_t i;

  memset(all, 0, sizeof(all));
  support_loop_init(&loop);
  for (i = 0; i < COUNT; i++) {
    ck_assert_int_eq(uvch_mpsc_init(&loop, &all[i].rx, &all[i].tx, sizeof(size_t), i % 2 == 0 ? 8 : UVCH_UNBOUNDED), 0);
    all[i].rx.data = &all[i];
    ck_assert_int_eq(uvch_mpsc_recv_start(&all[i].rx, close_at_the_end), 0);
    send_values(&all[i].tx, 0, i % 8);
    ck_assert_int_eq(uvch_mpsc_sender_close(&all[i].tx), 0);
  }
  support_loop_end(&loop);
  for (i = 0; i < COUNT; i++) {
    ck_assert_uint_eq(all[i].received, i % 8);
    ck_assert_uint_eq(all[i].ends, 1);
    ck_assert_uint_eq(all[i].closes, 1);
  }
}
END_TEST

/* Requests that wait when the receiver goes. */

#define WAITING 6

typedef struct waiting_s {
  uvch_mpsc_send_t req;
  size_t value;
  size_t calls;
  int status;
  size_t* turn;
  size_t place;
} waiting_t;

static void waiting_on_send(uvch_mpsc_send_t* req, int status) {
  waiting_t* waiting = req->data;

  waiting->calls += 1;
  waiting->status = status;
  waiting->place = (*waiting->turn)++;
}

static void waiting_start(waiting_t* waiting, size_t* turn, uv_loop_t* loop, const uvch_mpsc_sender_t* tx, size_t first) {
  size_t i;

  memset(waiting, 0, WAITING * sizeof(*waiting));
  for (i = 0; i < WAITING; i++) {
    waiting[i].req.data = &waiting[i];
    waiting[i].value = first + i;
    waiting[i].turn = turn;
    ck_assert_int_eq(uvch_mpsc_send(loop, &waiting[i].req, tx, &waiting[i].value, waiting_on_send), 0);
  }
}

START_TEST(close_tells_every_waiting_request) {
  waiting_t waiting[WAITING];
  size_t turn = 0;
  ends_t ends;
  size_t i;

  ends_init(&ends, 1);
  send_values(&ends.tx, 0, 1);
  waiting_start(waiting, &turn, &ends.loop, &ends.tx, 1);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &waiting[2].req), 0);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &waiting[2].req), UV_EBUSY);
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
  if (_i == 0) {
    ck_assert_int_ne(uv_run(&ends.loop, UV_RUN_NOWAIT), 0);
    ck_assert_uint_eq(turn, 1);
  }
  close_receiver_of(&ends);
  ck_assert_uint_eq(turn, _i == 0);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &waiting[0].req), UV_EBUSY);
  support_loop_end(&ends.loop);
  for (i = 0; i < WAITING; i++) {
    ck_assert_uint_eq(waiting[i].calls, 1);
    ck_assert_int_eq(waiting[i].status, i == 2 ? UV_ECANCELED : UV_EPIPE);
    ck_assert_uint_eq(waiting[i].value, 1 + i);
  }
  ck_assert_uint_eq(ends.closes, 1);
  ck_assert_uint_eq(ends.drops.count, 1);
  ck_assert_uint_eq(ends.drops.wrong, 0);
}
END_TEST

/* A request's callback closes the receiver that it was for. */

static void close_on_send(uvch_mpsc_send_t* req, int status) {
  ends_t* ends = req->data;

  ck_assert_int_eq(status, 0);
  close_receiver_of(ends);
  memset(req, 0xdd, sizeof(*req));
  free(req);
}

START_TEST(a_request_callback_may_close_the_receiver_and_free_the_request) {
  uvch_mpsc_send_t* req = malloc(sizeof(*req));
  size_t value = 0;
  ends_t ends;

  ck_assert_ptr_nonnull(req);
  ends_init(&ends, 1);
  req->data = &ends;
  ck_assert_int_eq(uvch_mpsc_send(&ends.loop, req, &ends.tx, &value, close_on_send), 0);
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
  support_loop_end(&ends.loop);
  ck_assert_uint_eq(ends.drops.count, 1);
  ck_assert_uint_eq(ends.closes, 1);
}
END_TEST

/* Threads that sleep in a send when the receiver goes. */

typedef struct sleeper_s {
  uvch_mpsc_sender_t tx;
  _Atomic(long) number;
  bool timed;
  support_result_t* result;
  uv_thread_t thread;
} sleeper_t;

static void sleeper_work(void* arg) {
  sleeper_t* sleeper = arg;
  size_t value = 1;
  int err;

  atomic_store(&sleeper->number, support_thread_number());
  err = sleeper->timed ? uvch_mpsc_send_timedwait(&sleeper->tx, &value, UINT64_MAX) : uvch_mpsc_send_wait(&sleeper->tx, &value);
  support_expect_eq(sleeper->result, err, UV_EPIPE);
  support_expect_eq(sleeper->result, uvch_mpsc_sender_close(&sleeper->tx), 0);
  atomic_fetch_add(&sleeper->result->done, 1);
}

START_TEST(close_and_shutdown_wake_threads_that_wait) {
  enum { SLEEPERS = 4 };
  sleeper_t sleepers[SLEEPERS];
  support_result_t result;
  ends_t ends;
  size_t i;

  memset(&result, 0, sizeof(result));
  memset(sleepers, 0, sizeof(sleepers));
  ends_init(&ends, 1);
  send_values(&ends.tx, 0, 1);
  for (i = 0; i < SLEEPERS; i++) {
    sleepers[i].result = &result;
    sleepers[i].timed = i % 2 == 1;
    ck_assert_int_eq(uvch_mpsc_sender_clone(&ends.tx, &sleepers[i].tx), 0);
    support_spawn(&sleepers[i].thread, sleeper_work, &sleepers[i]);
    support_until_blocked(&sleepers[i].number);
  }
  ck_assert_int_eq(uvch_mpsc_sender_close(&ends.tx), 0);
  if (_i == 1) {
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&ends.rx), 0);
  } else {
    close_receiver_of(&ends);
  }
  for (i = 0; i < SLEEPERS; i++) {
    support_join(&sleepers[i].thread);
  }
  support_result_check(&result);
  ck_assert_uint_eq(atomic_load(&result.done), SLEEPERS);
  if (_i == 1) {
    ck_assert_int_eq(uvch_mpsc_recv_start(&ends.rx, close_at_the_end), 0);
  }
  support_loop_end(&ends.loop);
  ck_assert_uint_eq(ends.closes, 1);
  ck_assert_uint_eq(ends.received, _i == 1);
  ck_assert_uint_eq(ends.drops.count, _i == 0);
}
END_TEST

/* Shutdown against senders: what was taken comes, all of it, and then the end. */

typedef struct flood_s {
  uvch_mpsc_sender_t tx;
  size_t accepted;
  _Atomic(size_t)* running;
  support_result_t* result;
  uv_thread_t thread;
} flood_t;

static void flood_work(void* arg) {
  flood_t* flood = arg;
  size_t value = 0;
  int err;

  atomic_fetch_add(flood->running, 1);
  do {
    err = uvch_mpsc_try_send(&flood->tx, &value);
    flood->accepted += err == 0;
    while (err != UV_EPIPE && uvch_mpsc_sender_len(&flood->tx) >= BACKLOG && !uvch_mpsc_sender_is_closed(&flood->tx)) {
      nap();
    }
    if (err == UV_EAGAIN) {
      nap();
    }
  } while (err == 0 || err == UV_EAGAIN);
  support_expect_eq(flood->result, err, UV_EPIPE);
  support_expect_eq(flood->result, uvch_mpsc_sender_close(&flood->tx), 0);
}

typedef struct drain_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  size_t shut_at;
  size_t received;
  size_t ends;
  size_t dropped;
} drain_t;

static void drain_on_drop(void* item, void* arg) {
  drain_t* drain = arg;

  (void) item;
  drain->dropped += 1;
}

static void drain_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  drain_t* drain = rx->data;

  (void) item;
  if (status == UV_EOF) {
    drain->ends += 1;
    support_close(rx);
    return;
  }
  ck_assert_uint_eq(drain->ends, 0);
  if (++drain->received == drain->shut_at) {
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(rx), 0);
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(rx), 0);
    ck_assert_int_eq(uvch_mpsc_receiver_is_closed(rx), 1);
  }
}

START_TEST(shutdown_delivers_all_that_was_taken_then_the_end) {
  enum { FLOODS = 4 };
  static const size_t capacities[] = {1, 64, UVCH_UNBOUNDED};
  size_t rounds = support_scale(60);
  _Atomic(size_t) running;
  flood_t floods[FLOODS];
  support_result_t result;
  uvch_mpsc_options_t options;
  uvch_mpsc_sender_t tx;
  drain_t drain;
  size_t accepted;
  size_t i;
  size_t k;

  memset(&result, 0, sizeof(result));
  for (i = 0; i < rounds; i++) {
    memset(&drain, 0, sizeof(drain));
    memset(floods, 0, sizeof(floods));
    atomic_store(&running, 0);
    options = options_with(drain_on_drop, &drain);
    drain.shut_at = 1 + i % 60 * 7;
    support_loop_init(&drain.loop);
    ck_assert_int_eq(uvch_mpsc_init_ex(&drain.loop, &drain.rx, &tx, sizeof(size_t), capacities[_i], &options), 0);
    drain.rx.data = &drain;
    ck_assert_int_eq(uvch_mpsc_recv_start(&drain.rx, drain_on_recv), 0);
    for (k = 0; k < FLOODS; k++) {
      floods[k].running = &running;
      floods[k].result = &result;
      ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &floods[k].tx), 0);
      support_spawn(&floods[k].thread, flood_work, &floods[k]);
    }
    ck_assert_int_eq(uvch_mpsc_sender_close(&tx), 0);
    support_loop_end(&drain.loop);
    accepted = 0;
    for (k = 0; k < FLOODS; k++) {
      support_join(&floods[k].thread);
      accepted += floods[k].accepted;
    }
    support_result_check(&result);
    ck_assert_uint_eq(drain.received, accepted);
    ck_assert_uint_eq(drain.ends, 1);
    ck_assert_uint_eq(drain.dropped, 0);
  }
}
END_TEST

/* The end comes once, after everything, however many senders close at the same time. */

typedef struct many_s {
  uvch_mpsc_sender_t tx;
  uv_barrier_t* begin;
  support_result_t* result;
  uv_thread_t thread;
} many_t;

static void many_work(void* arg) {
  many_t* many = arg;
  size_t value;

  uv_barrier_wait(many->begin);
  for (value = 0; value < 10; value++) {
    support_expect_eq(many->result, uvch_mpsc_try_send(&many->tx, &value), 0);
  }
  support_expect_eq(many->result, uvch_mpsc_sender_close(&many->tx), 0);
}

START_TEST(the_end_comes_once_when_many_senders_close_together) {
  enum { SENDERS = 8 };
  size_t rounds = support_scale(200);
  support_result_t result;
  many_t many[SENDERS];
  uvch_mpsc_sender_t tx;
  uv_barrier_t begin;
  drain_t drain;
  size_t i;
  size_t k;

  memset(&result, 0, sizeof(result));
  ck_assert_int_eq(uv_barrier_init(&begin, SENDERS + 1), 0);
  for (i = 0; i < rounds; i++) {
    memset(&drain, 0, sizeof(drain));
    memset(many, 0, sizeof(many));
    support_loop_init(&drain.loop);
    ck_assert_int_eq(uvch_mpsc_init(&drain.loop, &drain.rx, &tx, sizeof(size_t), i % 2 == 0 ? 80 : UVCH_UNBOUNDED), 0);
    drain.rx.data = &drain;
    ck_assert_int_eq(uvch_mpsc_recv_start(&drain.rx, drain_on_recv), 0);
    for (k = 0; k < SENDERS; k++) {
      many[k].begin = &begin;
      many[k].result = &result;
      ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &many[k].tx), 0);
      support_spawn(&many[k].thread, many_work, &many[k]);
    }
    ck_assert_int_eq(uvch_mpsc_sender_close(&tx), 0);
    uv_barrier_wait(&begin);
    support_loop_end(&drain.loop);
    for (k = 0; k < SENDERS; k++) {
      support_join(&many[k].thread);
    }
    support_result_check(&result);
    ck_assert_uint_eq(drain.received, 10 * SENDERS);
    ck_assert_uint_eq(drain.ends, 1);
  }
  uv_barrier_destroy(&begin);
}
END_TEST

/* Closing all of a loop. */

START_TEST(close_all_closes_what_is_open) {
  enum { COUNT = 10 };
  static ends_t all[COUNT];
  uv_loop_t loop;
  size_t i;

  memset(all, 0, sizeof(all));
  support_loop_init(&loop);
  ck_assert_int_eq(uvch_close_all(&loop), 0);
  ck_assert_int_eq(uvch_close_all(NULL), UV_EINVAL);
  for (i = 0; i < COUNT; i++) {
    ck_assert_int_eq(uvch_mpsc_init(&loop, &all[i].rx, &all[i].tx, sizeof(size_t), 4), 0);
    all[i].rx.data = &all[i];
    if (i % 2 == 0) {
      ck_assert_int_eq(uvch_mpsc_recv_start(&all[i].rx, ends_on_recv), 0);
    }
  }
  close_receiver_of(&all[3]);
  ck_assert_int_eq(uvch_close_all(&loop), COUNT - 1);
  ck_assert_int_eq(uvch_close_all(&loop), 0);
  for (i = 0; i < COUNT; i++) {
    ck_assert_int_eq(uvch_is_closing((uvch_handle_t*) &all[i].rx), 1);
    ck_assert_int_eq(uvch_mpsc_try_send(&all[i].tx, &i), UV_EPIPE);
    ck_assert_int_eq(uvch_mpsc_sender_close(&all[i].tx), 0);
  }
  support_loop_end(&loop);
  ck_assert_uint_eq(all[3].closes, 1);
}
END_TEST

/* A loop is stopped from outside, by a message, with traffic on its other channels. */

static void stop_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  (void) item;
  ck_assert_int_eq(status, 0);
  ck_assert_int_eq(uvch_close_all(rx->loop), 3);
}

START_TEST(a_message_stops_a_loop_with_traffic) {
  size_t rounds = support_scale(100);
  _Atomic(size_t) running;
  uvch_mpsc_receiver_t stop_rx;
  uvch_mpsc_sender_t stop_tx;
  support_runner_t runner;
  support_result_t result;
  drain_t drains[2];
  flood_t floods[2];
  uv_loop_t loop;
  size_t i;
  size_t k;

  memset(&result, 0, sizeof(result));
  for (i = 0; i < rounds; i++) {
    memset(drains, 0, sizeof(drains));
    memset(floods, 0, sizeof(floods));
    atomic_store(&running, 0);
    support_loop_init(&loop);
    ck_assert_int_eq(uvch_mpsc_init(&loop, &stop_rx, &stop_tx, 0, 1), 0);
    ck_assert_int_eq(uvch_mpsc_recv_start(&stop_rx, stop_on_recv), 0);
    for (k = 0; k < 2; k++) {
      floods[k].running = &running;
      floods[k].result = &result;
      ck_assert_int_eq(uvch_mpsc_init(&loop, &drains[k].rx, &floods[k].tx, sizeof(size_t), 64), 0);
      drains[k].rx.data = &drains[k];
      ck_assert_int_eq(uvch_mpsc_recv_start(&drains[k].rx, drain_on_recv), 0);
      support_spawn(&floods[k].thread, flood_work, &floods[k]);
    }
    support_runner_start(&runner, &loop);
    support_until(atomic_load(&running) == 2);
    ck_assert_int_eq(uvch_mpsc_try_send(&stop_tx, NULL), 0);
    ck_assert_int_eq(uvch_mpsc_sender_close(&stop_tx), 0);
    support_runner_join(&runner);
    support_loop_close(&loop);
    for (k = 0; k < 2; k++) {
      support_join(&floods[k].thread);
    }
    support_result_check(&result);
  }
}
END_TEST

/* A loop that only ever has single requests, each run to its end, for a receiver that lives elsewhere. */

START_TEST(single_requests_leave_nothing_on_their_loop) {
  size_t rounds = support_scale(2000);
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  waiting_t waiting;
  size_t most = 0;
  size_t turn = 0;
  size_t value;
  uv_loop_t loop;
  size_t i;

  memset(&waiting, 0, sizeof(waiting));
  waiting.req.data = &waiting;
  waiting.turn = &turn;
  ck_assert_int_eq(uvch_mpsc_init(NULL, &rx, &tx, sizeof(size_t), 1), 0);
  support_loop_init(&loop);
  for (i = 0; i < rounds; i++) {
    waiting.value = i;
    ck_assert_int_eq(uvch_mpsc_send(&loop, &waiting.req, &tx, &waiting.value, waiting_on_send), 0);
    ck_assert_uint_eq(waiting.calls, i);
    support_loop_run(&loop);
    ck_assert_uint_eq(waiting.calls, i + 1);
    ck_assert_int_eq(waiting.status, 0);
    ck_assert_int_eq(uvch_mpsc_try_recv(&rx, &value), 0);
    ck_assert_uint_eq(value, i);
    if (i == 3) {
      most = support_alloc_blocks();
    } else if (i > 3) {
      ck_assert_uint_le(support_alloc_blocks(), most);
    }
  }
  support_loop_close(&loop);
  ck_assert_int_eq(uvch_mpsc_sender_close(&tx), 0);
  support_close(&rx);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("close");
  TCase* races = support_case(suite, "races");
  TCase* order = support_case(suite, "order");
  TCase* inside = support_case(suite, "inside");
  TCase* rest = support_case(suite, "rest");
  TCase* waiters = support_case(suite, "waiters");

  tcase_add_loop_test(races, senders_in_eight_threads_survive_the_end_of_receiver_and_loop, 0, 2);
  tcase_add_test(races, senders_receiver_and_loop_may_go_at_the_same_time);
  tcase_add_loop_test(races, shutdown_delivers_all_that_was_taken_then_the_end, 0, 3);
  tcase_add_test(races, the_end_comes_once_when_many_senders_close_together);
  tcase_add_test(races, a_message_stops_a_loop_with_traffic);

  tcase_add_loop_test(order, ends_may_go_in_any_order, 0, 2 * (int) (sizeof(orders) / sizeof(orders[0])));
  tcase_add_test(order, the_second_close_says_so_and_changes_nothing);
  tcase_add_loop_test(order, close_drops_what_is_queued_while_a_sender_lives_on, 0, 2);
  tcase_add_test(order, a_drop_function_may_call_everything);
  tcase_add_loop_test(order, a_receiver_without_a_loop_closes_at_once, 0, 2);

  tcase_add_loop_test(inside, close_in_the_callback_of_any_message, 0, 8 * 4);
  tcase_add_test(inside, close_in_the_callback_of_the_end);
  tcase_add_loop_test(inside, recv_stop_in_the_callback_stops_at_that_message, 0, 2);
  tcase_add_loop_test(inside, stop_and_start_in_the_callback_loses_nothing, 0, 2);
  tcase_add_loop_test(inside, the_last_sender_may_close_inside_the_callback, 0, 4);

  tcase_add_loop_test(rest, a_loop_closes_right_after_its_run, 0, 6);
  tcase_add_test(rest, a_loop_closes_though_nobody_asked_for_a_close_callback);
  tcase_add_test(rest, a_loop_closes_after_many_receivers_and_their_ends);
  tcase_add_test(rest, close_all_closes_what_is_open);
  tcase_add_test(rest, single_requests_leave_nothing_on_their_loop);

  tcase_add_loop_test(waiters, close_tells_every_waiting_request, 0, 2);
  tcase_add_test(waiters, a_request_callback_may_close_the_receiver_and_free_the_request);
  tcase_add_loop_test(waiters, close_and_shutdown_wake_threads_that_wait, 0, 2);
  return support_main(suite);
}
