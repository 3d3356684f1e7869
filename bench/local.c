/* SPDX-License-Identifier: MIT
 *
 * Everything on one thread: the price of the calls themselves, and of a delivery by the loop. */
#include "bench.h"

#define BURST 64

struct burst {
  struct result* result;
  uv_loop_t* loop;
  struct chan ch;
  uint64_t count;
  uint64_t sent;
  uint64_t received;
  int again; /* the receive callback sends the next burst */
};

void run_pairs(const struct setup* setup, struct result* result) {
  static struct chan ch;
  struct meter meter;
  uv_loop_t loop;
  uint64_t i, message, count = setup->count;

  check(result, uv_loop_init(&loop), "uv_loop_init");
  chan_open(&ch, &loop, setup, NULL, NULL, NULL, result);
  place(0);
  for (i = 0; i < count + count / 5; i++) {
    if (i == count / 5)
      meter_start(&meter);
    if (chan_try_send(&ch, i) != 0 || chan_try_recv(&ch, &message) != 0 || message != i)
      fail(result, "pair %llu went wrong", (unsigned long long) i);
  }
  meter_stop(&meter, result);
  if (chan_try_recv(&ch, &message) != UV_EAGAIN)
    fail(result, "more messages than were sent");
  result->messages = count;
  result->value = (double) result->wall_ns / (double) count;
}

/* Rounds of 512 messages; the time in which they are taken out again does not count. */
#define ROUND 512

typedef void (*round_fn)(const struct setup* setup, struct chan* ch, struct result* result);

static void run_calls(const struct setup* setup, struct result* result, round_fn put_in) {
  static struct chan ch;
  uint64_t taken[ROUND];
  uint64_t start, spent = 0, rounds = setup->count / ROUND, i;
  struct meter meter;
  uv_loop_t loop;

  check(result, uv_loop_init(&loop), "uv_loop_init");
  chan_open(&ch, &loop, setup, NULL, NULL, NULL, result);
  place(0);
  meter_start(&meter);
  for (i = 0; i < rounds; i++) {
    start = uv_hrtime();
    put_in(setup, &ch, result);
    spent += uv_hrtime() - start;
    if (uvch_mpsc_try_recv_many(&ch.rx, taken, ROUND) != ROUND)
      fail(result, "messages are missing");
  }
  meter_stop(&meter, result);
  result->messages = rounds * ROUND;
  result->value = (double) spent / (double) result->messages;
}

static void put_single(const struct setup* setup, struct chan* ch, struct result* result) {
  uint64_t i;

  (void) setup;
  for (i = 0; i < ROUND; i++)
    if (uvch_mpsc_try_send(&ch->tx, &i) != 0)
      fail(result, "no room");
}

static void put_permits(const struct setup* setup, struct chan* ch, struct result* result) {
  uvch_mpsc_permit_t permit = {0};
  uint64_t i;

  for (i = 0; i < ROUND; i++) {
    if (i % setup->portion == 0 && uvch_mpsc_try_reserve(&ch->tx, setup->portion, &permit) != 0)
      fail(result, "no room");
    if (uvch_mpsc_permit_send(&permit, &i) != 0)
      fail(result, "a permit failed");
  }
}

static void put_batches(const struct setup* setup, struct chan* ch, struct result* result) {
  uint64_t messages[ROUND] = {0};
  uint64_t i;

  for (i = 0; i < ROUND; i += setup->portion)
    if (uvch_mpsc_try_send_many(&ch->tx, messages, setup->portion) != (int) setup->portion)
      fail(result, "no room");
}

void run_call_send(const struct setup* setup, struct result* result) {
  run_calls(setup, result, put_single);
}

void run_call_permit(const struct setup* setup, struct result* result) {
  run_calls(setup, result, put_permits);
}

void run_call_many(const struct setup* setup, struct result* result) {
  run_calls(setup, result, put_batches);
}

static void send_burst(struct burst* b) {
  int i;

  for (i = 0; i < BURST; i++)
    check(b->result, chan_try_send(&b->ch, b->sent++), "send");
}

static inline void burst_take(struct burst* b, uint64_t message) {
  if (message != b->received)
    fail(b->result, "a message is missing, doubled or out of order");
  if (++b->received == b->count)
    uv_stop(b->loop);
  else if (b->again && b->received == b->sent)
    send_burst(b);
}

static void on_uvch(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct burst* b = (struct burst*) rx->data;

  check(b->result, status, "receive");
  burst_take(b, *(const uint64_t*) item);
}

static void on_base(baseline_t* ch, uint64_t message) {
  burst_take((struct burst*) ch->data, message);
}

static void on_prepare(uv_prepare_t* handle) {
  struct burst* b = (struct burst*) handle->data;

  if (b->sent == b->received && b->sent < b->count)
    send_burst(b);
}

/* Run the loop until `count` more messages have come. */
static void deliver(struct burst* b, uint64_t count) {
  b->count += count / BURST * BURST;
  if (b->again)
    send_burst(b);
  uv_run(b->loop, UV_RUN_DEFAULT);
}

static void run_burst(const struct setup* setup, struct result* result, int again) {
  static struct burst b;
  struct meter meter;
  uv_prepare_t prepare;
  uv_loop_t loop;

  check(result, uv_loop_init(&loop), "uv_loop_init");
  b.result = result;
  b.loop = &loop;
  b.again = again;
  chan_open(&b.ch, &loop, setup, on_uvch, on_base, &b, result);
  place(0);
  if (!again) {
    check(result, uv_prepare_init(&loop, &prepare), "uv_prepare_init");
    prepare.data = &b;
    check(result, uv_prepare_start(&prepare, on_prepare), "uv_prepare_start");
  }
  deliver(&b, setup->count / 5);
  result->messages = b.received;
  meter_start(&meter);
  deliver(&b, setup->count);
  meter_stop(&meter, result);
  uv_run(&loop, UV_RUN_NOWAIT);
  if (b.received != b.count || b.sent != b.count)
    fail(result, "%llu messages sent, %llu received", (unsigned long long) b.sent, (unsigned long long) b.received);
  result->messages = b.received - result->messages;
  result->value = (double) result->wall_ns / (double) result->messages;
}

void run_burst_prepare(const struct setup* setup, struct result* result) {
  run_burst(setup, result, 0);
}

void run_burst_callback(const struct setup* setup, struct result* result) {
  run_burst(setup, result, 1);
}
