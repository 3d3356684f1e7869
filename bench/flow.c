/* SPDX-License-Identifier: MIT
 *
 * Threads send a fixed number of messages to one loop; the clock stops when the last one has been received. Several producers
 * share them out in portions, so that none is done while another still has far to go. A message carries the number of its
 * producer and its place in that producer's order; the receiver checks every one. */
#include <stdatomic.h>

#include "bench.h"

#define PRODUCERS_MAX 8
#define ID_SHIFT 56
#define PLACE_MASK (((uint64_t) 1 << ID_SHIFT) - 1)
#define PHASES 2 /* the first one warms up */
#define PORTION 4096
#define BATCH_MAX 64

struct sink {
  struct result* result;
  uv_loop_t* loop;
  uint64_t left;
  uint64_t end;
  unsigned int producers;
  uint64_t next[PRODUCERS_MAX];
};

struct producer {
  _Alignas(128) uint64_t id;
  uint64_t place;
  atomic_int_least64_t* left; /* messages that nobody has begun to send, for each phase */
  uint64_t start;
  int peer;
  int wait;
  const struct setup* setup;
  uvch_mpsc_sender_t tx;
  baseline_t* base;
  uv_barrier_t* barrier;
  struct result* result;
  uv_thread_t thread;
};

static inline void sink_take(struct sink* sink, uint64_t message) {
  uint64_t id = message >> ID_SHIFT;

  if (id >= sink->producers || (message & PLACE_MASK) != sink->next[id])
    fail(sink->result, "a message is missing, doubled or out of order");
  if (sink->left == 0)
    fail(sink->result, "more messages than were sent");
  sink->next[id]++;
  if (--sink->left == 0) {
    sink->end = uv_hrtime();
    uv_stop(sink->loop);
  }
}

static void on_uvch(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct sink* sink = (struct sink*) rx->data;

  check(sink->result, status, "receive");
  sink_take(sink, *(const uint64_t*) item);
}

static void on_uvch_many(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  struct sink* sink = (struct sink*) rx->data;
  size_t i;

  check(sink->result, status, "receive");
  for (i = 0; i < count; i++)
    sink_take(sink, *(const uint64_t*) (const void*) ((const char*) first + i * stride));
}

static void on_base(baseline_t* ch, uint64_t message) {
  sink_take((struct sink*) ch->data, message);
}

/* Called with constants, so that each loop is compiled for one kind of send. */
static inline void send_some(struct producer* p, uint64_t count, int peer, int wait) {
  uint64_t message = p->id << ID_SHIFT | p->place;
  uint64_t end = message + count;
  int rc;

  for (; message != end; message++) {
    if (peer)
      rc = wait ? baseline_send_wait(p->base, message) : baseline_try_send(p->base, message);
    else
      rc = wait ? uvch_mpsc_send_wait(&p->tx, &message) : uvch_mpsc_try_send(&p->tx, &message);
    if (rc != 0)
      fail(p->result, "send: %s", uv_strerror(rc));
  }
  p->place += count;
}

static void send_batches(struct producer* p, uint64_t count) {
  uint64_t messages[BATCH_MAX];
  uint64_t sent, i;

  for (sent = 0; sent < count; sent += i) {
    for (i = 0; i < p->setup->portion && sent + i < count; i++)
      messages[i] = p->id << ID_SHIFT | (p->place + sent + i);
    if (uvch_mpsc_send_many_wait(&p->tx, messages, (size_t) i) != (int) i)
      fail(p->result, "a batch did not go in");
  }
  p->place += count;
}

static void send_permits(struct producer* p, uint64_t count) {
  uvch_mpsc_permit_t permit = {0};
  uint64_t message = p->id << ID_SHIFT | p->place;
  uint64_t end = message + count;

  for (; message != end; message++) {
    if (uvch_mpsc_permit_count(&permit) == 0)
      check(p->result, uvch_mpsc_reserve_wait(&p->tx, p->setup->portion, &permit), "uvch_mpsc_reserve_wait");
    check(p->result, uvch_mpsc_permit_send(&permit, &message), "uvch_mpsc_permit_send");
  }
  uvch_mpsc_permit_release(&permit);
  p->place += count;
}

static void produce(void* arg) {
  struct producer* p = (struct producer*) arg;
  int64_t left;
  int phase;

  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      place((unsigned int) p->id + 1);
    uv_barrier_wait(p->barrier);
    p->start = uv_hrtime();
    while ((left = atomic_fetch_sub(&p->left[phase], PORTION)) > 0) {
      uint64_t count = left < PORTION ? (uint64_t) left : PORTION;
      if (p->setup->manner == BATCHES)
        send_batches(p, count);
      else if (p->setup->manner == PERMITS)
        send_permits(p, count);
      else if (p->peer && p->wait)
        send_some(p, count, 1, 1);
      else if (p->peer)
        send_some(p, count, 1, 0);
      else if (p->wait)
        send_some(p, count, 0, 1);
      else
        send_some(p, count, 0, 0);
    }
  }
}

static void start_producers(struct producer* producers, const struct setup* setup, struct chan* ch, uv_barrier_t* barrier,
                            atomic_int_least64_t* left, struct result* result) {
  struct producer* p;
  unsigned int i;

  for (i = 0; i < setup->producers; i++) {
    p = &producers[i];
    p->id = i;
    p->left = left;
    p->setup = setup;
    p->peer = ch->peer;
    p->wait = setup->capacity != UVCH_UNBOUNDED;
    p->base = &ch->base;
    p->barrier = barrier;
    p->result = result;
    if (!ch->peer)
      check(result, uvch_mpsc_sender_clone(&ch->tx, &p->tx), "uvch_mpsc_sender_clone");
    check(result, uv_thread_create(&p->thread, produce, p), "uv_thread_create");
  }
}

void run_flow(const struct setup* setup, struct result* result) {
  static struct producer producers[PRODUCERS_MAX];
  static struct chan ch;
  atomic_int_least64_t left[PHASES] = {(int64_t) setup->count / 5 + 1, (int64_t) setup->count};
  struct sink sink = {.result = result, .producers = setup->producers};
  struct meter meter;
  uv_barrier_t barrier;
  uv_loop_t loop;
  uint64_t start;
  unsigned int i;
  int phase;

  check(result, uv_loop_init(&loop), "uv_loop_init");
  check(result, uv_barrier_init(&barrier, setup->producers + 1), "uv_barrier_init");
  sink.loop = &loop;
  chan_open(&ch, &loop, setup, on_uvch, on_base, &sink, result);
  if (setup->manner == BATCHES) {
    check(result, uvch_mpsc_recv_stop(&ch.rx), "uvch_mpsc_recv_stop");
    check(result, uvch_mpsc_recv_many_start(&ch.rx, setup->portion, on_uvch_many), "uvch_mpsc_recv_many_start");
  }
  start_producers(producers, setup, &ch, &barrier, left, result);

  for (phase = 0; phase < PHASES; phase++) {
    sink.left = phase == PHASES - 1 ? setup->count : setup->count / 5 + 1;
    result->messages = sink.left;
    if (phase == PHASES - 1) {
      place(0);
      meter_start(&meter);
    }
    uv_barrier_wait(&barrier);
    uv_run(&loop, UV_RUN_DEFAULT);
  }
  meter_stop(&meter, result);

  start = UINT64_MAX;
  for (i = 0; i < setup->producers; i++) {
    uv_thread_join(&producers[i].thread);
    if (producers[i].start < start)
      start = producers[i].start;
  }
  uv_run(&loop, UV_RUN_NOWAIT);
  result->wall_ns = sink.end - start;
  result->value = (double) result->messages * 1000 / (double) result->wall_ns;
}

void run_flow_ns(const struct setup* setup, struct result* result) {
  run_flow(setup, result);
  result->value = 1000 / result->value;
}
