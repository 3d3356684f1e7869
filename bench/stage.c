/* SPDX-License-Identifier: MIT */
#include "stage.h"

#include <limits.h>

#define BATCH_MAX 64

/* Receiving. */

static inline void side_count(struct side* side, uint64_t n) {
  if (n > side->left)
    fail(side->stage->result, "more messages than were sent");
  side->left -= n;
  if (side->left == 0)
    side->done(side);
}

static inline void listener_take(struct listener* l, uint64_t message) {
  if (message != l->next)
    fail(l->side->stage->result, "a message is missing, doubled or out of order");
  l->next++;
}

static void listener_miss(struct listener* l, uint64_t n) {
  if (!l->side->stage->setup->lags)
    fail(l->side->stage->result, "a message was missed");
  l->next += n;
  l->missed += n;
  l->side->missed += n;
  side_count(l->side, n);
}

static void on_gap(struct listener* l, int status) {
  uint64_t missed = uvch_broadcast_receiver_missed(&l->rx);

  check(l->side->stage->result, status < 0 ? status : 0, "receive");
  if (status != (missed < INT_MAX ? (int) missed : INT_MAX))
    fail(l->side->stage->result, "a gap of %d or %llu", status, (unsigned long long) missed);
  listener_miss(l, missed);
}

static void on_uvch(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  struct listener* l = (struct listener*) rx->data;

  if (status != 0) {
    on_gap(l, status);
    return;
  }
  listener_take(l, *(const uint64_t*) item);
  side_count(l->side, 1);
}

static void on_uvch_many(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  struct listener* l = (struct listener*) rx->data;
  size_t i;

  if (status != 0) {
    on_gap(l, status);
    return;
  }
  for (i = 0; i < count; i++)
    listener_take(l, *(const uint64_t*) (const void*) ((const char*) first + i * stride));
  side_count(l->side, count);
}

/* The peer does not tell of a gap: it is compared at the end, see broadcast.c. */
static void on_byhand(baseline_t* queue, uint64_t message) {
  struct listener* l = (struct listener*) queue->data;

  if (message > l->next)
    listener_miss(l, message - l->next);
  listener_take(l, message);
  side_count(l->side, 1);
}

/* Making. */

static void start_uvch(uvch_broadcast_receiver_t* rx, const struct setup* setup, struct result* result) {
  if (setup->manner == BATCHES || setup->manner == RECEIVE_BATCHES)
    check(result, uvch_broadcast_recv_many_start(rx, setup->portion, on_uvch_many), "uvch_broadcast_recv_many_start");
  else
    check(result, uvch_broadcast_recv_start(rx, on_uvch), "uvch_broadcast_recv_start");
}

static void listener_open(struct listener* l, struct side* side) {
  struct stage* stage = side->stage;
  const struct setup* setup = stage->setup;

  l->side = side;
  if (setup->variant == BASELINE) {
    l->sub.queue.data = l;
    check(stage->result, byhand_subscribe(&side->loop, &stage->topic, &l->sub, setup->capacity, on_byhand), "byhand_subscribe");
    return;
  }
  check(stage->result, uvch_broadcast_subscribe(&side->loop, &l->rx, &stage->tx), "uvch_broadcast_subscribe");
  l->rx.data = l;
  start_uvch(&l->rx, setup, stage->result);
}

static void side_open(struct side* side, struct stage* stage, unsigned int number, done_fn done) {
  size_t i;

  side->stage = stage;
  side->number = number;
  side->done = done;
  side->count = stage->setup->receivers / stage->loops;
  side->listeners = (struct listener*) xcalloc(stage->result, side->count, sizeof(*side->listeners));
  check(stage->result, uv_loop_init(&side->loop), "uv_loop_init");
  for (i = 0; i < side->count; i++)
    listener_open(&side->listeners[i], side);
  if (stage->setup->variant == COLD)
    check(stage->result, uvch_loop_configure(&side->loop, UVCH_LOOP_HOT_MAX, 0), "uvch_loop_configure");
}

void open_channel(uvch_broadcast_sender_t* tx, const struct setup* setup, struct result* result) {
  uvch_broadcast_options_t options = {.policy = setup->lags ? UVCH_BROADCAST_LAG : UVCH_BROADCAST_WAIT};

  check(result, uvch_broadcast_init_ex(NULL, NULL, tx, sizeof(uint64_t), setup->capacity, &options), "uvch_broadcast_init_ex");
}

void stage_open(struct stage* stage, const struct setup* setup, struct result* result, done_fn done) {
  unsigned int i;

  stage->setup = setup;
  stage->result = result;
  stage->loops = setup->receivers < LOOPS ? 1 : LOOPS;
  if (setup->variant == BASELINE)
    check(result, byhand_topic_init(&stage->topic), "byhand_topic_init");
  else
    open_channel(&stage->tx, setup, result);
  for (i = 0; i < stage->loops; i++)
    side_open(&stage->sides[i], stage, i, done);
  check(result, uv_barrier_init(&stage->barrier, stage->loops + 1), "uv_barrier_init");
}

void start_sides(struct stage* stage, uv_thread_cb serve) {
  unsigned int i;

  for (i = 0; i < stage->loops; i++)
    check(stage->result, uv_thread_create(&stage->sides[i].thread, serve, &stage->sides[i]), "uv_thread_create");
}

void join_sides(struct stage* stage) {
  unsigned int i;

  for (i = 0; i < stage->loops; i++)
    uv_thread_join(&stage->sides[i].thread);
}

/* Sending. */

static void check_sent(struct stage* stage, int rc) {
  check(stage->result, rc < 0 ? rc : 0, "send");
  if (rc != (int) stage->setup->receivers)
    fail(stage->result, "a send to %d receivers", rc);
}

/* Called with constants, so that each loop is compiled for one kind of send. */
static inline void send_each(struct stage* stage, uint64_t message, uint64_t end, int lags) {
  int rc, receivers = (int) stage->setup->receivers;

  for (; message != end; message++) {
    rc = lags ? uvch_broadcast_send(&stage->tx, &message) : uvch_broadcast_send_wait(&stage->tx, &message);
    if (rc != receivers)
      check_sent(stage, rc);
  }
}

static void send_batches(struct stage* stage, uint64_t message, uint64_t end) {
  uint64_t messages[BATCH_MAX];
  uint64_t n;
  int rc;

  while (message != end) {
    for (n = 0; n < stage->setup->portion && message + n != end; n++)
      messages[n] = message + n;
    rc = uvch_broadcast_send_many(&stage->tx, messages, n);
    if (rc == UV_EAGAIN) {
      check_sent(stage, uvch_broadcast_send_wait(&stage->tx, messages));
      rc = 1;
    }
    check(stage->result, rc < 0 ? rc : 0, "uvch_broadcast_send_many");
    message += (uint64_t) rc;
  }
}

/* The last one is missed by nobody, so that everybody knows the end. */
static void send_byhand(struct stage* stage, uint64_t message, uint64_t end) {
  int rc;

  for (; message != end; message++) {
    if (stage->setup->lags && message + 1 != end)
      rc = byhand_publish(&stage->topic, message);
    else
      rc = byhand_publish_wait(&stage->topic, message);
    check(stage->result, rc, "send");
  }
}

void send_all(struct stage* stage, uint64_t message, uint64_t end) {
  if (stage->setup->variant == BASELINE)
    send_byhand(stage, message, end);
  else if (stage->setup->manner == BATCHES)
    send_batches(stage, message, end);
  else if (stage->setup->lags)
    send_each(stage, message, end, 1);
  else
    send_each(stage, message, end, 0);
}
