/* SPDX-License-Identifier: MIT
 *
 * Fairness: a flooded channel starves neither timers nor other channels. Work is counted in messages and passes; where a clock is
 * needed, it is that of the processor time which the loop's thread has had. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <stdio.h>
#include <time.h>
#ifdef __linux__
#include <sched.h>
#endif

#define PASS_MESSAGES 4096 /* the budget that a loop has to begin with */
#define NO_TIME_BUDGET UINT64_C(1000000000000)

static void close_uv(uv_handle_t* handle) {
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

/* A timer on a flooded loop. */

#define TICK_MS 10
#define TICKS 100

typedef struct flood_s {
  uv_loop_t loop;
  uv_timer_t timer;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  size_t backlog; /* the producer keeps about that much queued */
  size_t ticks;
  size_t received;
  uint64_t begin_cpu;
  uint64_t begin_wall;
  double wanted;
  _Atomic(bool) over;
  support_result_t result;
} flood_t;

static uint64_t thread_time(void) {
  struct timespec now;

  ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
  return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static void flood_produce(void* arg) {
  flood_t* flood = arg;
  size_t value = 0;
  int err;

  while (!atomic_load(&flood->over)) {
    if (value % 64 == 0 && uvch_mpsc_sender_len(&flood->tx) > flood->backlog) {
      support_yield();
      continue;
    }
    err = uvch_mpsc_try_send(&flood->tx, &value);
    if (err == UV_EAGAIN) {
      support_yield();
    } else if (!support_expect_eq(&flood->result, err, 0)) {
      break;
    }
    value += err == 0;
  }
  support_expect_eq(&flood->result, uvch_mpsc_sender_close(&flood->tx), 0);
}

static void flood_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  flood_t* flood = rx->data;

  (void) item;
  if (status == UV_EOF) {
    support_close(rx);
  } else {
    flood->received += 1;
  }
}

/* Over when the thread has had the processor for as long as 100 ticks take, or after three times that. Time in which the thread
 * did not run, because others had the processor or because there was nothing to do, starves nobody and does not count. */
static void flood_on_tick(uv_timer_t* timer) {
  flood_t* flood = timer->data;
  double wall = (double) (uv_hrtime() - flood->begin_wall);
  double cpu = (double) (thread_time() - flood->begin_cpu);

  flood->ticks += 1;
  flood->wanted = (cpu < wall ? cpu : wall) / (TICK_MS * 1e6);
  if (flood->wanted >= TICKS || wall > 3e6 * TICK_MS * TICKS) {
    atomic_store(&flood->over, true);
    close_uv((uv_handle_t*) timer);
  }
}

static double flood_run(size_t capacity) {
  static flood_t flood;

  memset(&flood, 0, sizeof(flood));
  flood.backlog = 200000;
  support_loop_init(&flood.loop);
  uv_timer_init(&flood.loop, &flood.timer);
  flood.timer.data = &flood;
  ck_assert_int_eq(uvch_mpsc_init(&flood.loop, &flood.rx, &flood.tx, sizeof(size_t), capacity), 0);
  flood.rx.data = &flood;
  ck_assert_int_eq(uvch_mpsc_recv_start(&flood.rx, flood_on_recv), 0);
  support_spawn(&flood.thread, flood_produce, &flood);
  flood.begin_wall = uv_hrtime();
  flood.begin_cpu = thread_time();
  uv_timer_start(&flood.timer, flood_on_tick, TICK_MS, TICK_MS);
  support_loop_end(&flood.loop);
  support_join(&flood.thread);
  support_result_check(&flood.result);
  ck_assert_uint_gt(flood.received, 0);
  return (double) flood.ticks / flood.wanted;
}

START_TEST(a_timer_on_a_flooded_loop_keeps_80_of_100_ticks) {
  static const size_t capacities[] = {1024, UVCH_UNBOUNDED};
  double best = 0;
  double share;
  size_t i;

  for (i = 0; i < 3 && best < 0.8; i++) {
    share = flood_run(capacities[_i]);
    best = share > best ? share : best;
  }
  ck_assert_msg(best >= 0.8, "%.0f of 100 ticks", 100 * best);
}
END_TEST

/* What comes between two passes of the loop. */

typedef struct gauge_s {
  uv_loop_t loop;
  uv_check_t check;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t slow; /* nanoseconds that each callback takes */
  size_t received;
  size_t last;
  size_t most;
  size_t passes;
} gauge_t;

static void gauge_on_check(uv_check_t* check) {
  gauge_t* gauge = check->data;
  size_t taken = gauge->received - gauge->last;

  gauge->last = gauge->received;
  gauge->passes += 1;
  if (taken > gauge->most) {
    gauge->most = taken;
  }
}

static void burn(uint64_t time) {
  uint64_t begin = uv_hrtime();

  while (uv_hrtime() - begin < time) {
  }
}

static void gauge_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  gauge_t* gauge = rx->data;
  size_t value;

  if (status == UV_EOF) {
    support_close(rx);
    close_uv((uv_handle_t*) &gauge->check);
    return;
  }
  memcpy(&value, item, sizeof(value));
  ck_assert_uint_eq(value, gauge->received);
  gauge->received += 1;
  if (gauge->slow > 0) {
    burn(gauge->slow);
  }
}

static void gauge_start(gauge_t* gauge) {
  support_loop_init(&gauge->loop);
  uv_check_init(&gauge->loop, &gauge->check);
  gauge->check.data = gauge;
  uv_check_start(&gauge->check, gauge_on_check);
}

static void gauge_init(gauge_t* gauge, size_t capacity) {
  memset(gauge, 0, sizeof(*gauge));
  gauge_start(gauge);
  ck_assert_int_eq(uvch_mpsc_init(&gauge->loop, &gauge->rx, &gauge->tx, sizeof(size_t), capacity), 0);
  gauge->rx.data = gauge;
}

static void gauge_fill(gauge_t* gauge, size_t count) {
  size_t value;

  for (value = 0; value < count; value++) {
    ck_assert_int_eq(uvch_mpsc_try_send(&gauge->tx, &value), 0);
  }
  ck_assert_int_eq(uvch_mpsc_sender_close(&gauge->tx), 0);
}

static void gauge_end(gauge_t* gauge, size_t count) {
  ck_assert_int_eq(uvch_mpsc_recv_start(&gauge->rx, gauge_on_recv), 0);
  support_loop_end(&gauge->loop);
  ck_assert_uint_eq(gauge->received, count);
}

START_TEST(a_million_queued_messages_do_not_come_in_one_pass) {
  size_t count = support_scale(1000000);
  gauge_t gauge;

  gauge_init(&gauge, UVCH_UNBOUNDED);
  gauge_fill(&gauge, count);
  gauge_end(&gauge, count);
  ck_assert_uint_le(gauge.most, PASS_MESSAGES);
  ck_assert_uint_ge(gauge.passes, count / PASS_MESSAGES);
}
END_TEST

START_TEST(the_budget_of_messages_is_a_hard_cap) {
  static const size_t budgets[] = {1, 100, 5000};
  size_t budget = budgets[_i % 3];
  size_t count = budget < 100 ? 2000 : 50000;
  gauge_t gauge;

  gauge_init(&gauge, _i / 3 == 0 ? UVCH_UNBOUNDED : count);
  ck_assert_int_eq(uvch_loop_configure(&gauge.loop, UVCH_LOOP_BUDGET_MESSAGES, budget), 0);
  ck_assert_int_eq(uvch_loop_configure(&gauge.loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0);
  gauge_fill(&gauge, count);
  gauge_end(&gauge, count);
  ck_assert_uint_eq(gauge.most, budget);
}
END_TEST

/* Each callback takes at least a tenth of the budget, so the eleventh message of a pass would be one too many. */
START_TEST(the_budget_of_time_is_over_by_one_callback_at_most) {
  gauge_t gauge;

  gauge_init(&gauge, UVCH_UNBOUNDED);
  gauge.slow = 100000;
  ck_assert_int_eq(uvch_loop_configure(&gauge.loop, UVCH_LOOP_BUDGET_TIME, 1000000), 0);
  gauge_fill(&gauge, 300);
  gauge_end(&gauge, 300);
  ck_assert_uint_le(gauge.most, 11);
}
END_TEST

/* Many oneshots whose values are there before the loop runs. */

#define SHOTS 101
#define SHOT_TAKEN 50 /* not by its callback */

typedef struct volley_s {
  gauge_t gauge;
  uvch_oneshot_receiver_t rx[SHOTS];
  uvch_oneshot_sender_t tx[SHOTS];
} volley_t;

/* One that is due and has to wait for another pass can be taken by hand. */
static void volley_take_one(volley_t* volley) {
  uvch_oneshot_receiver_t* rx = &volley->rx[SHOT_TAKEN];
  size_t value = 0;

  ck_assert_int_eq(uvch_oneshot_recv_stop(rx), 0);
  ck_assert_int_eq(uvch_oneshot_try_recv(rx, &value), 0);
  ck_assert_uint_eq(value, SHOT_TAKEN);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

static void volley_on_recv(uvch_oneshot_receiver_t* rx, int status, void* item) {
  volley_t* volley = rx->data;

  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(*(const size_t*) item, (size_t) (rx - volley->rx));
  if (volley->gauge.received == 0) {
    volley_take_one(volley);
  }
  volley->gauge.received += 1;
  if (volley->gauge.received == SHOTS - 1) {
    close_uv((uv_handle_t*) &volley->gauge.check);
  }
  ck_assert_int_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

START_TEST(oneshots_beyond_the_budget_come_in_later_passes_and_can_be_taken_at_once) {
  volley_t volley;
  size_t i;

  memset(&volley, 0, sizeof(volley));
  gauge_start(&volley.gauge);
  for (i = 0; i < SHOTS; i++) {
    ck_assert_int_eq(uvch_oneshot_init(&volley.gauge.loop, &volley.rx[i], &volley.tx[i], sizeof(i)), 0);
    volley.rx[i].data = &volley;
    ck_assert_int_eq(uvch_oneshot_recv(&volley.rx[i], volley_on_recv), 0);
    ck_assert_int_eq(uvch_oneshot_send(&volley.tx[i], &i), 0);
  }
  ck_assert_int_eq(uvch_loop_configure(&volley.gauge.loop, UVCH_LOOP_BUDGET_MESSAGES, 10), 0);
  ck_assert_int_eq(uvch_loop_configure(&volley.gauge.loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0);
  support_loop_end(&volley.gauge.loop);
  ck_assert_uint_eq(volley.gauge.received, SHOTS - 1);
  ck_assert_uint_eq(volley.gauge.most, 10);
}
END_TEST

/* The budget is the loop's: many channels share it. */

typedef struct crowd_s crowd_t;

typedef struct member_s {
  crowd_t* crowd;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t received;
  size_t sent_in; /* pass */
} member_t;

#define MEMBERS 100

struct crowd_s {
  uv_loop_t loop;
  uv_check_t check;
  member_t members[MEMBERS];
  size_t received;
  size_t last;
  size_t most;
  size_t passes;
  size_t open;
  size_t first_done; /* what the others had when the first one had all */
  size_t latest;     /* passes from a send to its callback */
  size_t light_sent;
  size_t next_light;
};

static void crowd_on_check(uv_check_t* check) {
  crowd_t* crowd = check->data;
  size_t taken = crowd->received - crowd->last;

  crowd->last = crowd->received;
  crowd->passes += 1;
  if (taken > crowd->most) {
    crowd->most = taken;
  }
}

static void crowd_init(crowd_t* crowd, uv_check_cb on_check) {
  size_t i;

  memset(crowd, 0, sizeof(*crowd));
  support_loop_init(&crowd->loop);
  uv_check_init(&crowd->loop, &crowd->check);
  crowd->check.data = crowd;
  uv_check_start(&crowd->check, on_check);
  for (i = 0; i < MEMBERS; i++) {
    crowd->members[i].crowd = crowd;
    ck_assert_int_eq(
        uvch_mpsc_init(&crowd->loop, &crowd->members[i].rx, &crowd->members[i].tx, sizeof(size_t), UVCH_UNBOUNDED), 0);
    crowd->members[i].rx.data = &crowd->members[i];
  }
  crowd->open = MEMBERS;
}

static void member_end(member_t* member) {
  support_close(&member->rx);
  if (--member->crowd->open == 0) {
    close_uv((uv_handle_t*) &member->crowd->check);
  }
}

static void member_fill(member_t* member, size_t count) {
  size_t value;

  for (value = 0; value < count; value++) {
    ck_assert_int_eq(uvch_mpsc_try_send(&member->tx, &value), 0);
  }
}

#define EQUAL_COUNT 5000

static void equal_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  member_t* member = rx->data;
  crowd_t* crowd = member->crowd;
  size_t i;

  (void) item;
  if (status == UV_EOF) {
    member_end(member);
    return;
  }
  crowd->received += 1;
  if (++member->received == EQUAL_COUNT && crowd->first_done == 0) {
    crowd->first_done = EQUAL_COUNT;
    for (i = 0; i < MEMBERS; i++) {
      if (crowd->members[i].received < crowd->first_done) {
        crowd->first_done = crowd->members[i].received;
      }
    }
  }
}

START_TEST(a_hundred_equal_channels_get_equal_shares_of_one_budget) {
  static crowd_t crowd;
  size_t i;

  crowd_init(&crowd, crowd_on_check);
  for (i = 0; i < MEMBERS; i++) {
    ck_assert_int_eq(uvch_mpsc_recv_start(&crowd.members[i].rx, equal_on_recv), 0);
    member_fill(&crowd.members[i], EQUAL_COUNT);
    ck_assert_int_eq(uvch_mpsc_sender_close(&crowd.members[i].tx), 0);
  }
  support_loop_end(&crowd.loop);
  ck_assert_uint_eq(crowd.received, MEMBERS * EQUAL_COUNT);
  ck_assert_uint_le(crowd.most, PASS_MESSAGES);
  ck_assert_uint_ge(crowd.first_done, EQUAL_COUNT / 2);
}
END_TEST

/* Member 0 is saturated, the others get a message now and then, some in each pass. */

#define LIGHT_PASSES 300

static void light_send(crowd_t* crowd, size_t count) {
  size_t value = 0;
  size_t i;

  for (i = 0; i < count; i++) {
    member_t* member = &crowd->members[1 + crowd->next_light++ % (MEMBERS - 1)];

    member->sent_in = crowd->passes;
    ck_assert_int_eq(uvch_mpsc_try_send(&member->tx, &value), 0);
    crowd->light_sent += 1;
  }
}

static void light_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  member_t* member = rx->data;
  crowd_t* crowd = member->crowd;

  (void) item;
  if (status == UV_EOF) {
    member_end(member);
    return;
  }
  member->received += 1;
  if (crowd->passes - member->sent_in > crowd->latest) {
    crowd->latest = crowd->passes - member->sent_in;
  }
}

/* Keeps itself saturated: what it takes, it queues again. */
static void heavy_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  member_t* member = rx->data;
  crowd_t* crowd = member->crowd;

  if (status == UV_EOF) {
    member_end(member);
    return;
  }
  member->received += 1;
  if (crowd->passes < LIGHT_PASSES) {
    ck_assert_int_eq(uvch_mpsc_try_send(&member->tx, item), 0);
  }
}

static void light_on_check(uv_check_t* check) {
  crowd_t* crowd = check->data;
  size_t i;

  crowd->passes += 1;
  if (crowd->passes < LIGHT_PASSES) {
    if (crowd->passes % 4 == 0) {
      light_send(crowd, crowd->passes % 8 == 0 ? MEMBERS - 1 : 1);
    }
  } else if (crowd->passes == LIGHT_PASSES) {
    for (i = 0; i < MEMBERS; i++) {
      ck_assert_int_eq(uvch_mpsc_sender_close(&crowd->members[i].tx), 0);
    }
  }
}

START_TEST(light_channels_beside_a_saturated_one_are_served_within_two_passes) {
  static crowd_t crowd;
  size_t received = 0;
  size_t i;

  crowd_init(&crowd, light_on_check);
  ck_assert_int_eq(uvch_loop_configure(&crowd.loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0);
  if (_i == 1) {
    ck_assert_int_eq(uvch_loop_configure(&crowd.loop, UVCH_LOOP_BUDGET_MESSAGES, 4 * MEMBERS), 0);
  }
  ck_assert_int_eq(uvch_mpsc_recv_start(&crowd.members[0].rx, heavy_on_recv), 0);
  for (i = 1; i < MEMBERS; i++) {
    ck_assert_int_eq(uvch_mpsc_recv_start(&crowd.members[i].rx, light_on_recv), 0);
  }
  member_fill(&crowd.members[0], 10 * PASS_MESSAGES);
  support_loop_end(&crowd.loop);
  for (i = 1; i < MEMBERS; i++) {
    received += crowd.members[i].received;
  }
  ck_assert_uint_eq(received, crowd.light_sent);
  ck_assert_uint_gt(received, LIGHT_PASSES);
  ck_assert_uint_gt(crowd.members[0].received, LIGHT_PASSES * MEMBERS);
  ck_assert_uint_le(crowd.latest, 2);
}
END_TEST

/* A handler that posts to itself for ever, and the timer that would end it. */

typedef struct self_s {
  uv_loop_t loop;
  uv_timer_t timer;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t received;
  bool fired;
} self_t;

static void self_on_timer(uv_timer_t* timer) {
  self_t* self = timer->data;

  self->fired = true;
  ck_assert_int_eq(uvch_mpsc_sender_close(&self->tx), 0);
  close_uv((uv_handle_t*) timer);
}

static void self_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  self_t* self = rx->data;

  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  self->received += 1;
  if (!self->fired) {
    ck_assert_int_eq(uvch_mpsc_try_send(&self->tx, item), 0);
  }
}

START_TEST(a_handler_that_posts_to_itself_does_not_stop_a_timer) {
  static const size_t capacities[] = {1, 64, UVCH_UNBOUNDED};
  size_t value = 0;
  self_t self;

  memset(&self, 0, sizeof(self));
  support_loop_init(&self.loop);
  uv_timer_init(&self.loop, &self.timer);
  self.timer.data = &self;
  uv_timer_start(&self.timer, self_on_timer, 5, 0);
  ck_assert_int_eq(uvch_mpsc_init(&self.loop, &self.rx, &self.tx, sizeof(size_t), capacities[_i]), 0);
  self.rx.data = &self;
  ck_assert_int_eq(uvch_mpsc_recv_start(&self.rx, self_on_recv), 0);
  ck_assert_int_eq(uvch_mpsc_try_send(&self.tx, &value), 0);
  support_loop_end(&self.loop);
  ck_assert(self.fired);
  ck_assert_uint_ge(self.received, 1); /* a machine that stops for long lets the timer come first */
}
END_TEST

/* All on one processor: nobody may wait for somebody who does not run. */

#define PINNED_SENDERS 4

typedef struct pinned_s pinned_t;

typedef struct pinned_sender_s {
  pinned_t* pinned;
  uvch_mpsc_sender_t tx;
  size_t count;
  uv_thread_t thread;
} pinned_sender_t;

struct pinned_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  pinned_sender_t senders[PINNED_SENDERS];
  uvch_mpsc_send_t req;
  uvch_mpsc_sender_t req_tx;
  size_t req_value;
  size_t req_left;
  size_t received;
  size_t ends;
  support_result_t result;
};

static void pinned_send(void* arg) {
  pinned_sender_t* self = arg;
  size_t value;
  int err;

  for (value = 0; value < self->count; value++) {
    do {
      err = value % 3 == 0 ? uvch_mpsc_send_timedwait(&self->tx, &value, 100000) : uvch_mpsc_send_wait(&self->tx, &value);
    } while (err == UV_ETIMEDOUT);
    if (!support_expect_eq(&self->pinned->result, err, 0)) {
      break;
    }
  }
  support_expect_eq(&self->pinned->result, uvch_mpsc_sender_close(&self->tx), 0);
}

static void pinned_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  pinned_t* pinned = rx->data;

  (void) item;
  if (status == UV_EOF) {
    pinned->ends += 1;
    support_close(rx);
  } else {
    pinned->received += 1;
  }
}

static void pinned_on_send(uvch_mpsc_send_t* req, int status) {
  pinned_t* pinned = req->data;

  ck_assert_int_eq(status, 0);
  if (--pinned->req_left > 0) {
    ck_assert_int_eq(uvch_mpsc_send(&pinned->loop, req, &pinned->req_tx, &pinned->req_value, pinned_on_send), 0);
  } else {
    ck_assert_int_eq(uvch_mpsc_sender_close(&pinned->req_tx), 0);
  }
}

static void pinned_begin(pinned_t* pinned, const uvch_mpsc_sender_t* tx, size_t count) {
  size_t i;

  for (i = 0; i < PINNED_SENDERS; i++) {
    pinned->senders[i].pinned = pinned;
    pinned->senders[i].count = count;
    ck_assert_int_eq(uvch_mpsc_sender_clone(tx, &pinned->senders[i].tx), 0);
    support_spawn(&pinned->senders[i].thread, pinned_send, &pinned->senders[i]);
  }
}

static void pinned_join(pinned_t* pinned) {
  size_t i;

  for (i = 0; i < PINNED_SENDERS; i++) {
    support_join(&pinned->senders[i].thread);
  }
  support_result_check(&pinned->result);
}

static void pinned_to_loop(size_t capacity, size_t count) {
  static pinned_t pinned;

  memset(&pinned, 0, sizeof(pinned));
  support_loop_init(&pinned.loop);
  ck_assert_int_eq(uvch_mpsc_init(&pinned.loop, &pinned.rx, &pinned.req_tx, sizeof(size_t), capacity), 0);
  pinned.rx.data = &pinned;
  pinned.req.data = &pinned;
  pinned.req_left = count;
  ck_assert_int_eq(uvch_mpsc_recv_start(&pinned.rx, pinned_on_recv), 0);
  pinned_begin(&pinned, &pinned.req_tx, count);
  ck_assert_int_eq(uvch_mpsc_send(&pinned.loop, &pinned.req, &pinned.req_tx, &pinned.req_value, pinned_on_send), 0);
  support_loop_end(&pinned.loop);
  pinned_join(&pinned);
  ck_assert_uint_eq(pinned.received, count * (PINNED_SENDERS + 1));
  ck_assert_uint_eq(pinned.ends, 1);
}

static void pinned_to_thread(size_t capacity, size_t count) {
  static pinned_t pinned;
  size_t value;
  int err;

  memset(&pinned, 0, sizeof(pinned));
  ck_assert_int_eq(uvch_mpsc_init(NULL, &pinned.rx, &pinned.req_tx, sizeof(size_t), capacity), 0);
  pinned_begin(&pinned, &pinned.req_tx, count);
  ck_assert_int_eq(uvch_mpsc_sender_close(&pinned.req_tx), 0);
  while ((err = uvch_mpsc_recv_wait(&pinned.rx, &value)) == 0) {
    pinned.received += 1;
  }
  ck_assert_int_eq(err, UV_EOF);
  pinned_join(&pinned);
  ck_assert_uint_eq(pinned.received, count * PINNED_SENDERS);
  support_close(&pinned.rx);
}

START_TEST(all_goes_on_with_the_whole_process_on_one_processor) {
#ifdef __linux__
  static const size_t capacities[] = {1, 64, UVCH_UNBOUNDED};
  size_t capacity = capacities[_i / 2];
  size_t count = support_scale(capacity == 1 ? 2000 : 10000);
  cpu_set_t before;
  cpu_set_t one;
  int cpu = 0;

  ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
  while (!CPU_ISSET((size_t) cpu, &before)) {
    cpu += 1;
  }
  CPU_ZERO(&one);
  CPU_SET((size_t) cpu, &one);
  ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
  if (_i % 2 == 0) {
    pinned_to_loop(capacity, count);
  } else {
    pinned_to_thread(capacity, count);
  }
  ck_assert_int_eq(sched_setaffinity(0, sizeof(before), &before), 0);
#else
  fprintf(stderr, "a process cannot be bound to a processor here: skipped\n");
#endif
}
END_TEST

int main(void) {
  Suite* suite = suite_create("fair");
  TCase* timers = support_case(suite, "timers");
  TCase* passes = support_case(suite, "passes");
  TCase* channels = support_case(suite, "channels");
  TCase* pinned = support_case(suite, "pinned");

  tcase_add_loop_test(timers, a_timer_on_a_flooded_loop_keeps_80_of_100_ticks, 0, 2);
  tcase_add_loop_test(timers, a_handler_that_posts_to_itself_does_not_stop_a_timer, 0, 3);
  tcase_add_test(passes, a_million_queued_messages_do_not_come_in_one_pass);
  tcase_add_loop_test(passes, the_budget_of_messages_is_a_hard_cap, 0, 6);
  tcase_add_test(passes, the_budget_of_time_is_over_by_one_callback_at_most);
  tcase_add_test(passes, oneshots_beyond_the_budget_come_in_later_passes_and_can_be_taken_at_once);
  tcase_add_test(channels, a_hundred_equal_channels_get_equal_shares_of_one_budget);
  tcase_add_loop_test(channels, light_channels_beside_a_saturated_one_are_served_within_two_passes, 0, 2);
  tcase_add_loop_test(pinned, all_goes_on_with_the_whole_process_on_one_processor, 0, 6);
  return support_main(suite);
}
