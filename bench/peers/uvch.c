/* SPDX-License-Identifier: MIT
 *
 * Messages one way: from threads to a loop, to one channel of many, and on one thread. */
#include "uvch_peer.h"

#include <string.h>

#include "idle.h"

void loop_ready(const struct peer_args* args, uv_loop_t* loop) {
  if (strcmp(args->peer, "uvch-off") == 0)
    check(uvch_loop_configure(loop, UVCH_LOOP_HOT_MAX, 0), "uvch_loop_configure");
}

size_t mpsc_capacity(const struct peer_args* args) {
  return args->capacity == 0 ? UVCH_UNBOUNDED : args->capacity;
}

/* stream */

struct stream {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  _Alignas(LINE) struct stream_out out; /* apart from what the receiver writes */
  _Alignas(LINE) uint64_t left;         /* messages that have to come in this phase */
  struct peer_check check;
  struct peer_meter meter;
};

static void send_portion(void* channel, unsigned int producer, uint64_t place, uint64_t count) {
  const struct stream_out* out = (const struct stream_out*) channel;
  uint64_t message[PEER_SIZE_MAX / sizeof(uint64_t)] = {0};

  for (; count > 0; count--) {
    peer_fill(message, out->size, producer, place++);
    check(uvch_mpsc_try_send(&out->tx, message), "uvch_mpsc_try_send");
  }
}

static void send_portion_wait(void* channel, unsigned int producer, uint64_t place, uint64_t count) {
  const struct stream_out* out = (const struct stream_out*) channel;
  uint64_t message[PEER_SIZE_MAX / sizeof(uint64_t)] = {0};

  for (; count > 0; count--) {
    peer_fill(message, out->size, producer, place++);
    check(uvch_mpsc_send_wait(&out->tx, message), "uvch_mpsc_send_wait");
  }
}

producers_t* stream_produce(const struct peer_args* args, struct stream_out* out) {
  out->size = args->size;
  return producers_start(args, args->capacity == 0 ? send_portion : send_portion_wait, out);
}

static void stream_on_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct stream* s = (struct stream*) rx->data;

  check(status, "receive");
  peer_take(&s->check, item, s->out.size);
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

  s.check.producers = args->producers;
  check(uv_loop_init(&s.loop), "uv_loop_init");
  check(uvch_mpsc_init(&s.loop, &s.rx, &s.out.tx, args->size, mpsc_capacity(args)), "uvch_mpsc_init");
  s.rx.data = &s;
  loop_ready(args, &s.loop);
  check(uvch_mpsc_recv_start(&s.rx, stream_on_message), "uvch_mpsc_recv_start");
  producers = stream_produce(args, &s.out);
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
  uvch_mpsc_receiver_t* rx;
  uvch_mpsc_sender_t* tx;
};

static void idle_on_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct crowd* crowd = (struct crowd*) rx->data;

  check(status, "receive");
  if (idle_take(&crowd->idle, (size_t) (rx - crowd->rx), *(const uint64_t*) item))
    uv_stop(&crowd->loop);
}

static void idle_send(void* channels, size_t which, uint64_t message) {
  check(uvch_mpsc_try_send((const uvch_mpsc_sender_t*) channels + which, &message), "uvch_mpsc_try_send");
}

void run_idle(const struct peer_args* args) {
  static struct crowd crowd;
  size_t i;

  check(uv_loop_init(&crowd.loop), "uv_loop_init");
  idle_open(&crowd.idle, args);
  crowd.rx = (uvch_mpsc_receiver_t*) peer_xcalloc(args->channels, sizeof(*crowd.rx));
  crowd.tx = (uvch_mpsc_sender_t*) peer_xcalloc(args->channels, sizeof(*crowd.tx));
  for (i = 0; i < args->channels; i++) {
    check(uvch_mpsc_init(&crowd.loop, &crowd.rx[i], &crowd.tx[i], sizeof(uint64_t), SMALL_CAPACITY), "uvch_mpsc_init");
    crowd.rx[i].data = &crowd;
    check(uvch_mpsc_recv_start(&crowd.rx[i], idle_on_message), "uvch_mpsc_recv_start");
  }
  loop_ready(args, &crowd.loop);
  idle_start(&crowd.idle, idle_send, crowd.tx);
  uv_run(&crowd.loop, UV_RUN_DEFAULT);
  uv_run(&crowd.loop, UV_RUN_NOWAIT);
  idle_end(&crowd.idle);
}

/* pair */

void run_pair(const struct peer_args* args) {
  static uint64_t out[PEER_SIZE_MAX / sizeof(uint64_t)], in[PEER_SIZE_MAX / sizeof(uint64_t)];
  struct peer_check order = {.producers = 1};
  struct peer_meter meter = {0};
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t i, warm = args->messages / 5;

  check(uv_loop_init(&loop), "uv_loop_init");
  check(uvch_mpsc_init(&loop, &rx, &tx, args->size, mpsc_capacity(args)), "uvch_mpsc_init");
  for (i = 0; i < warm + args->messages; i++) {
    if (i == warm)
      peer_meter_start(&meter);
    peer_fill(out, args->size, 0, i);
    check(uvch_mpsc_try_send(&tx, out), "uvch_mpsc_try_send");
    check(uvch_mpsc_try_recv(&rx, in), "uvch_mpsc_try_recv");
    peer_take(&order, in, args->size);
  }
  peer_meter_stop(&meter);
  if (uvch_mpsc_try_recv(&rx, in) != UV_EAGAIN)
    peer_fail("more messages than were sent");
  peer_result(args->messages, &meter, NULL, 0);
}

static const struct peer_row rows[] = {
    {"uvch", "stream", run_stream},
    {"uvch", "pingpong", run_pingpong},
    {"uvch", "request", run_request},
    {"uvch", "broadcast", run_broadcast},
    {"uvch", "watch", run_watch},
    {"uvch", "idle", run_idle},
    {"uvch", "pair", run_pair},
    {"uvch-off", "stream", run_stream},
    {"uvch-off", "pingpong", run_pingpong},
    {"uvch-off", "request", run_request},
    {"uvch-off", "broadcast", run_broadcast},
    {"uvch-off", "watch", run_watch},
    {"uvch-off", "idle", run_idle},
    {"uvch-off", "pair", run_pair},
    {"uvch-thread", "stream", run_thread_stream},
    {"uvch-thread", "pingpong", run_thread_pingpong},
    {"uvch-thread", "request", run_thread_request},
    {NULL, NULL, NULL},
};

int main(int argc, char** argv) {
  return peer_main(argc, argv, rows);
}
