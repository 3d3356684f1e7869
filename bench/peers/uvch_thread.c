/* SPDX-License-Identifier: MIT
 *
 * Receivers without a loop, on plain threads. */
#include "uvch_peer.h"

static void open_one(uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t size, size_t capacity) {
  check(uvch_mpsc_init(NULL, rx, tx, size, capacity), "uvch_mpsc_init");
}

/* stream */

static void receive_all(uvch_mpsc_receiver_t* rx, struct peer_check* order, size_t size, uint64_t count) {
  static uint64_t message[PEER_SIZE_MAX / sizeof(uint64_t)];

  for (; count > 0; count--) {
    check(uvch_mpsc_recv_wait(rx, message), "uvch_mpsc_recv_wait");
    peer_take(order, message, size);
  }
}

void run_thread_stream(const struct peer_args* args) {
  static _Alignas(LINE) struct stream_out out;
  static _Alignas(LINE) struct peer_check order;
  struct peer_meter meter;
  producers_t* producers;
  uvch_mpsc_receiver_t rx;
  int phase;

  order.producers = args->producers;
  open_one(&rx, &out.tx, args->size, mpsc_capacity(args));
  producers = stream_produce(args, &out);
  for (phase = 0; phase < PRODUCERS_PHASES; phase++) {
    producers_go(producers, &meter);
    receive_all(&rx, &order, args->size, producers_count(producers, phase));
    peer_meter_stop(&meter);
  }
  producers_end(producers, &meter);
  if (uvch_mpsc_receiver_len(&rx) != 0)
    peer_fail("more messages than were sent");
  peer_result(args->messages, &meter, NULL, 0);
}

/* pingpong */

struct side {
  _Alignas(LINE) uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t to_other;
  const struct peer_args* args;
  uint64_t warm;
};

static void hit(struct side* side, uint64_t message) {
  check(uvch_mpsc_send_wait(&side->to_other, &message), "uvch_mpsc_send_wait");
}

static void await(struct side* side, uint64_t expected) {
  uint64_t message;

  check(uvch_mpsc_recv_wait(&side->rx, &message), "uvch_mpsc_recv_wait");
  if (message != expected)
    peer_fail("a message is missing, doubled or out of order");
}

static void return_balls(void* arg) {
  struct side* side = (struct side*) arg;
  uint64_t i;

  for (i = 0; i < side->warm + side->args->messages; i++) {
    await(side, i);
    if (i == side->warm)
      peer_place(side->args, 1);
    hit(side, i);
  }
}

static void serve(struct side* side, uint64_t* times, struct peer_meter* meter) {
  uint64_t i, start;

  for (i = 0; i < side->warm + side->args->messages; i++) {
    if (i == side->warm) {
      peer_place(side->args, 0);
      peer_meter_start(meter);
    }
    start = peer_now();
    hit(side, i);
    await(side, i);
    if (i >= side->warm)
      times[i - side->warm] = peer_now() - start;
  }
  peer_meter_stop(meter);
}

void run_thread_pingpong(const struct peer_args* args) {
  static struct side sides[2];
  struct peer_meter meter = {0};
  uint64_t* times = (uint64_t*) peer_xcalloc(args->messages, sizeof(*times));
  uv_thread_t thread;
  int i;

  if (args->one)
    peer_none("a receiver without a loop is a thread's");
  for (i = 0; i < 2; i++) {
    sides[i].args = args;
    sides[i].warm = args->messages / 10 + 1;
    open_one(&sides[i].rx, &sides[1 - i].to_other, sizeof(uint64_t), SMALL_CAPACITY);
  }
  check(uv_thread_create(&thread, return_balls, &sides[1]), "uv_thread_create");
  serve(&sides[0], times, &meter);
  uv_thread_join(&thread);
  peer_result(args->messages, &meter, times, args->messages);
}

/* request */

struct actor {
  const struct peer_args* args;
  uvch_mpsc_receiver_t rx;
  uint64_t warm;
  uint64_t received;
  _Alignas(LINE) uvch_mpsc_sender_t tx; /* the asker's */
};

static void answer_all(void* arg) {
  struct actor* actor = (struct actor*) arg;
  struct request request;
  uint64_t answer;
  int rc;

  while ((rc = uvch_mpsc_recv_wait(&actor->rx, &request)) == 0) {
    if (request.number != actor->received)
      peer_fail("a request is missing, doubled or out of order");
    if (actor->received++ == actor->warm)
      peer_place(actor->args, 0);
    answer = request.number + 1;
    check(uvch_reply(&request.reply, &answer), "uvch_reply");
  }
  if (rc != UV_EOF)
    check(rc, "uvch_mpsc_recv_wait");
}

static void ask_all(struct actor* actor, uint64_t* times, struct peer_meter* meter) {
  struct request request;
  uint64_t i, start, answer, warm = actor->warm;

  for (i = 0; i < warm + actor->args->messages; i++) {
    if (i == warm) {
      peer_place(actor->args, 1);
      peer_meter_start(meter);
    }
    request.number = i;
    start = peer_now();
    check(uvch_call_wait(&actor->tx, &request, &request.reply, &answer, sizeof(answer)), "uvch_call_wait");
    if (answer != i + 1)
      peer_fail("a reply is of another request");
    if (i >= warm)
      times[i - warm] = peer_now() - start;
  }
  peer_meter_stop(meter);
}

void run_thread_request(const struct peer_args* args) {
  static struct actor actor;
  struct peer_meter meter = {0};
  uint64_t* times = (uint64_t*) peer_xcalloc(args->messages, sizeof(*times));
  uv_thread_t thread;

  if (args->outstanding != 1)
    peer_none("a thread that waits for its reply has one request on its way");
  actor.args = args;
  actor.warm = args->messages / 10 + 1;
  open_one(&actor.rx, &actor.tx, sizeof(struct request), REQUEST_CAPACITY);
  check(uv_thread_create(&thread, answer_all, &actor), "uv_thread_create");
  ask_all(&actor, times, &meter);
  check(uvch_mpsc_sender_close(&actor.tx), "uvch_mpsc_sender_close");
  uv_thread_join(&thread);
  if (actor.received != actor.warm + args->messages)
    peer_fail("requests are missing or doubled");
  peer_result(args->messages, &meter, times, args->messages);
}
