/* SPDX-License-Identifier: MIT
 *
 * Messages one way: from threads to a loop, to one channel of many, and on one thread. */
#include "byhand_peer.h"

#include <string.h>

#include "idle.h"
#include "producers.h"

static void on_bell(uv_async_t* async) {
  bell_t* bell = (bell_t*) async->data;

  bell->cb(bell, atomic_load_explicit(&bell->message, memory_order_acquire));
}

void bell_init(uv_loop_t* loop, bell_t* bell, bell_cb cb) {
  bell->cb = cb;
  check(uv_async_init(loop, &bell->async, on_bell), "uv_async_init");
  bell->async.data = bell;
}

void bell_ring(bell_t* bell, uint64_t message) {
  atomic_store_explicit(&bell->message, message, memory_order_release);
  check(uv_async_send(&bell->async), "uv_async_send");
}

int is_bare(const struct peer_args* args) {
  return strcmp(args->peer, "bare") == 0;
}

enum queue_kind queue_kind(const struct peer_args* args) {
  return strcmp(args->peer, "list") == 0 ? QUEUE_LIST : QUEUE_RING;
}

/* stream */

struct stream {
  uv_loop_t loop;
  queue_t queue;
  size_t size;
  _Alignas(LINE) uint64_t left; /* messages that have to come in this phase */
  struct peer_check check;
  struct peer_meter meter;
};

static void send_portion(void* channel, unsigned int producer, uint64_t place, uint64_t count) {
  struct stream* s = (struct stream*) channel;
  uint64_t message[PEER_SIZE_MAX / sizeof(uint64_t)] = {0};

  for (; count > 0; count--) {
    peer_fill(message, s->size, producer, place++);
    check(queue_send(&s->queue, message), "queue_send");
  }
}

static void stream_on_message(queue_t* q, const void* message) {
  struct stream* s = (struct stream*) q->data;

  peer_take(&s->check, message, s->size);
  if (s->left == 0)
    peer_fail("more messages than were sent");
  if (--s->left == 0) {
    peer_meter_stop(&s->meter);
    uv_stop(&s->loop);
  }
}

void run_stream(const struct peer_args* args) {
  static struct stream s;
  producers_t* producers;
  int phase;

  s.size = args->size;
  s.check.producers = args->producers;
  s.queue.data = &s;
  check(uv_loop_init(&s.loop), "uv_loop_init");
  check(queue_init(&s.loop, &s.queue, queue_kind(args), s.size, args->capacity, stream_on_message), "queue_init");
  producers = producers_start(args, send_portion, &s);
  for (phase = 0; phase < PRODUCERS_PHASES; phase++) {
    s.left = producers_count(producers, phase);
    producers_go(producers, &s.meter);
    uv_run(&s.loop, UV_RUN_DEFAULT);
  }
  producers_end(producers, &s.meter);
  uv_run(&s.loop, UV_RUN_NOWAIT);
  peer_result(args->messages, &s.meter, NULL, 0);
}

/* idle */

struct crowd {
  uv_loop_t loop;
  idle_t idle;
  queue_t* queues;
  bell_t* bells;
};

static void idle_took(struct crowd* crowd, size_t which, uint64_t message) {
  if (idle_take(&crowd->idle, which, message))
    uv_stop(&crowd->loop);
}

static void idle_on_message(queue_t* q, const void* message) {
  struct crowd* crowd = (struct crowd*) q->data;

  idle_took(crowd, (size_t) (q - crowd->queues), *(const uint64_t*) message);
}

static void idle_on_bell(bell_t* bell, uint64_t message) {
  struct crowd* crowd = (struct crowd*) bell->data;

  idle_took(crowd, (size_t) (bell - crowd->bells), message);
}

static void idle_send(void* channels, size_t which, uint64_t message) {
  check(queue_send((queue_t*) channels + which, &message), "queue_send");
}

static void idle_ring(void* channels, size_t which, uint64_t message) {
  bell_ring((bell_t*) channels + which, message);
}

static void open_queues(struct crowd* crowd, const struct peer_args* args) {
  size_t i;

  crowd->queues = (queue_t*) peer_xcalloc(args->channels, sizeof(*crowd->queues));
  for (i = 0; i < args->channels; i++) {
    crowd->queues[i].data = crowd;
    check(queue_init(&crowd->loop, &crowd->queues[i], queue_kind(args), sizeof(uint64_t), 0, idle_on_message), "queue_init");
  }
}

static void open_bells(struct crowd* crowd, const struct peer_args* args) {
  size_t i;

  crowd->bells = (bell_t*) peer_xcalloc(args->channels, sizeof(*crowd->bells));
  for (i = 0; i < args->channels; i++) {
    crowd->bells[i].data = crowd;
    bell_init(&crowd->loop, &crowd->bells[i], idle_on_bell);
  }
}

void run_idle(const struct peer_args* args) {
  static struct crowd crowd;

  check(uv_loop_init(&crowd.loop), "uv_loop_init");
  idle_open(&crowd.idle, args);
  if (is_bare(args)) {
    open_bells(&crowd, args);
    idle_start(&crowd.idle, idle_ring, crowd.bells);
  } else {
    open_queues(&crowd, args);
    idle_start(&crowd.idle, idle_send, crowd.queues);
  }
  uv_run(&crowd.loop, UV_RUN_DEFAULT);
  idle_end(&crowd.idle);
  uv_run(&crowd.loop, UV_RUN_NOWAIT);
}

/* pair */

void run_pair(const struct peer_args* args) {
  static uint64_t out[PEER_SIZE_MAX / sizeof(uint64_t)], in[PEER_SIZE_MAX / sizeof(uint64_t)];
  struct peer_check order = {.producers = 1};
  struct peer_meter meter = {0};
  uv_loop_t loop;
  queue_t q;
  uint64_t i, warm = args->messages / 5;

  check(uv_loop_init(&loop), "uv_loop_init");
  check(queue_init(&loop, &q, queue_kind(args), args->size, args->capacity, NULL), "queue_init");
  for (i = 0; i < warm + args->messages; i++) {
    if (i == warm)
      peer_meter_start(&meter);
    peer_fill(out, args->size, 0, i);
    check(queue_send(&q, out), "queue_send");
    check(queue_try_recv(&q, in), "queue_try_recv");
    peer_take(&order, in, args->size);
  }
  peer_meter_stop(&meter);
  if (queue_try_recv(&q, in) != UV_EAGAIN)
    peer_fail("more messages than were sent");
  peer_result(args->messages, &meter, NULL, 0);
}

static const struct peer_row rows[] = {
    {"bare", "pingpong", run_pingpong},
    {"bare", "idle", run_idle},
    {"list", "stream", run_stream},
    {"list", "pingpong", run_pingpong},
    {"list", "request", run_request},
    {"list", "broadcast", run_broadcast},
    {"list", "watch", run_watch},
    {"list", "idle", run_idle},
    {"list", "pair", run_pair},
    {"ring", "stream", run_stream},
    {"ring", "pingpong", run_pingpong},
    {"ring", "request", run_request},
    {"ring", "broadcast", run_broadcast},
    {"ring", "watch", run_watch},
    {"ring", "idle", run_idle},
    {"ring", "pair", run_pair},
    {NULL, NULL, NULL},
};

int main(int argc, char** argv) {
  return peer_main(argc, argv, rows);
}
