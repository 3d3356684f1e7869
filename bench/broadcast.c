/* SPDX-License-Identifier: MIT
 *
 * Broadcasts: how much a thread delivers to receivers on two loops, and what memory a channel and a receiver take. */
#include "stage.h"

#define PHASES 2 /* the first one warms up */

/* Deliveries: a fixed number of sends; the clock stops when the last receiver is at the end. */

static void stop(struct side* side) {
  side->end = uv_hrtime();
  uv_stop(&side->loop);
}

static uint64_t phase_size(const struct setup* setup, int phase) {
  return phase == PHASES - 1 ? setup->count : setup->count / 5 + 1;
}

static void deliver(void* arg) {
  struct side* side = (struct side*) arg;
  int phase;

  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      place(side->number);
    side->left = side->count * phase_size(side->stage->setup, phase);
    side->missed = 0;
    uv_barrier_wait(&side->stage->barrier);
    uv_run(&side->loop, UV_RUN_DEFAULT);
  }
  uv_run(&side->loop, UV_RUN_NOWAIT);
}

/* The gaps that the peer's receivers saw are those that its sender made. */
static void check_missed(struct stage* stage) {
  const struct side* side;
  size_t i;

  for (side = stage->sides; side < stage->sides + stage->loops; side++) {
    for (i = 0; i < side->count; i++) {
      if (byhand_missed(&stage->topic, &side->listeners[i].sub) != side->listeners[i].missed)
        fail(stage->result, "a message is missing");
    }
  }
}

void run_broadcast(const struct setup* setup, struct result* result) {
  static struct stage stage;
  uint64_t message = 0, start = 0, end = 0;
  struct meter meter;
  unsigned int i;
  int phase;

  stage_open(&stage, setup, result, stop);
  start_sides(&stage, deliver);
  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1) {
      place(stage.loops);
      meter_start(&meter);
    }
    uv_barrier_wait(&stage.barrier);
    start = uv_hrtime();
    send_all(&stage, message, message + phase_size(setup, phase));
    message += phase_size(setup, phase);
  }
  join_sides(&stage);
  meter_stop(&meter, result);
  if (setup->variant == BASELINE)
    check_missed(&stage);
  for (i = 0; i < stage.loops; i++) {
    result->missed += stage.sides[i].missed;
    if (stage.sides[i].end > end)
      end = stage.sides[i].end;
  }
  result->wall_ns = end - start;
  result->messages = setup->count * setup->receivers - result->missed;
  result->value = (double) result->messages * 1000 / (double) result->wall_ns;
}

/* Memory. */

static void unexpected(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  (void) item;
  fail((struct result*) rx->data, "an unexpected callback, status %d", status);
}

static void unexpected_byhand(baseline_t* queue, uint64_t message) {
  (void) message;
  fail((struct result*) queue->data, "an unexpected callback");
}

static void on_first(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  (void) item;
  check((struct result*) rx->data, status, "receive");
}

static void idle_open(uvch_broadcast_receiver_t* rx, uv_loop_t* loop, const uvch_broadcast_sender_t* tx,
                      uvch_broadcast_recv_cb cb, struct result* result) {
  check(result, uvch_broadcast_subscribe(loop, rx, tx), "uvch_broadcast_subscribe");
  rx->data = result;
  if (loop != NULL)
    check(result, uvch_broadcast_recv_start(rx, cb), "uvch_broadcast_recv_start");
}

static double byhand_heap(const struct setup* setup, struct result* result) {
  byhand_topic_t topic;
  byhand_sub_t sub = {.queue = {.data = result}};
  uv_loop_t loop;

  check(result, uv_loop_init(&loop), "uv_loop_init");
  check(result, byhand_topic_init(&topic), "byhand_topic_init");
  check(result, byhand_subscribe(&loop, &topic, &sub, setup->capacity, unexpected_byhand), "byhand_subscribe");
  return (double) baseline_heap(&sub.queue);
}

/* Beside others on its loop: two others are there, and one channel. Alone there, or on a plain thread: a channel for each, but
 * that is not counted. What a loop needs once is not counted either. */
void run_broadcast_receiver_heap(const struct setup* setup, struct result* result) {
  size_t i, before, n = setup->channels;
  size_t channels = setup->manner == BESIDE_OTHERS ? 1 : n;
  uvch_broadcast_sender_t* tx = (uvch_broadcast_sender_t*) xcalloc(result, channels + 1, sizeof(*tx));
  uvch_broadcast_receiver_t* rx = (uvch_broadcast_receiver_t*) xcalloc(result, n + 2, sizeof(*rx));
  uv_loop_t loop;

  if (setup->variant == BASELINE) {
    result->value = byhand_heap(setup, result);
    return;
  }
  heap_count(result);
  check(result, uv_loop_init(&loop), "uv_loop_init");
  for (i = 0; i <= channels; i++)
    open_channel(&tx[i], setup, result);
  for (i = 0; i < 2; i++)
    idle_open(&rx[n + i], &loop, &tx[channels - (setup->manner == BESIDE_OTHERS)], unexpected, result);
  before = heap_bytes();
  for (i = 0; i < n; i++)
    idle_open(&rx[i], setup->manner == WITHOUT_LOOP ? NULL : &loop, &tx[i % channels], unexpected, result);
  uv_run(&loop, UV_RUN_NOWAIT);
  result->value = (double) (heap_bytes() - before) / (double) n;
}

void run_broadcast_receiver_struct(const struct setup* setup, struct result* result) {
  result->value = (double) (setup->variant == BASELINE ? sizeof(byhand_sub_t) : sizeof(uvch_broadcast_receiver_t));
}

/* All of a channel that has one receiver and has had one message. */
void run_broadcast_channel_heap(const struct setup* setup, struct result* result) {
  size_t i, before = 0, n = setup->channels + 1;
  uvch_broadcast_sender_t* tx = (uvch_broadcast_sender_t*) xcalloc(result, n, sizeof(*tx));
  uvch_broadcast_receiver_t* rx = (uvch_broadcast_receiver_t*) xcalloc(result, n, sizeof(*rx));
  uint64_t message = 0;
  uv_loop_t loop;

  if (setup->variant == BASELINE) {
    result->value = byhand_heap(setup, result);
    return;
  }
  heap_count(result);
  check(result, uv_loop_init(&loop), "uv_loop_init");
  for (i = 0; i < n; i++) {
    if (i == 1)
      before = heap_bytes();
    open_channel(&tx[i], setup, result);
    idle_open(&rx[i], &loop, &tx[i], on_first, result);
    if (uvch_broadcast_send(&tx[i], &message) != 1)
      fail(result, "send");
  }
  result->value = (double) (heap_bytes() - before) / (double) setup->channels;
}
