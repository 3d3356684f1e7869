/* SPDX-License-Identifier: MIT
 *
 * Backpressure: two loops on two threads. The producer's loop sends with requests: while the channel is full the callback does
 * not come, nothing more is produced, and the loop is free for other work. The consumer starts when the channel is full. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>
#include <uvch.h>

enum { MESSAGES = 1000, CAPACITY = 8 };

struct producer {
  uv_loop_t loop;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_send_t req;
  int next; /* the message in the request; it stays put until the callback */
};

struct consumer {
  uvch_mpsc_receiver_t rx;
  uv_timer_t timer;
  int received;
  int disorder;
  size_t deepest;
};

static void must(int r, const char* what) {
  if (r == 0)
    return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(r));
  exit(1);
}

static void on_sent(uvch_mpsc_send_t* req, int status) {
  struct producer* producer = req->data;

  must(status, "send");
  if (++producer->next < MESSAGES)
    must(uvch_mpsc_send(&producer->loop, req, &producer->tx, &producer->next, on_sent), "send");
  else
    must(uvch_mpsc_sender_close(&producer->tx), "close");
}

static void produce(void* arg) {
  struct producer* producer = arg;

  must(uvch_mpsc_send(&producer->loop, &producer->req, &producer->tx, &producer->next, on_sent), "send");
  must(uv_run(&producer->loop, UV_RUN_DEFAULT), "run");
  must(uv_loop_close(&producer->loop), "loop");
}

static void on_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct consumer* consumer = rx->data;
  size_t depth = uvch_mpsc_receiver_len(rx);

  if (status == UV_EOF) {
    must(uvch_close((uvch_handle_t*) rx, NULL), "close");
    return;
  }
  if (depth > consumer->deepest)
    consumer->deepest = depth;
  if (*(int*) item != consumer->received)
    consumer->disorder++;
  consumer->received++;
}

static void on_timer(uv_timer_t* timer) {
  struct consumer* consumer = timer->data;

  consumer->deepest = uvch_mpsc_receiver_len(&consumer->rx);
  if (consumer->deepest < CAPACITY)
    return;
  printf("full: %zu messages are queued, the producer waits\n", consumer->deepest);
  uv_close((uv_handle_t*) timer, NULL);
  must(uvch_mpsc_recv_start(&consumer->rx, on_message), "receive");
}

int main(void) {
  static struct producer producer;
  static struct consumer consumer;
  uv_loop_t loop;
  uv_thread_t thread;

  must(uv_loop_init(&loop), "loop");
  must(uv_loop_init(&producer.loop), "loop");
  must(uvch_mpsc_init(&loop, &consumer.rx, &producer.tx, sizeof(int), CAPACITY), "channel");
  must(uv_timer_init(&loop, &consumer.timer), "timer");
  must(uv_timer_start(&consumer.timer, on_timer, 1, 1), "timer");
  consumer.rx.data = consumer.timer.data = &consumer;
  producer.req.data = &producer;
  must(uv_thread_create(&thread, produce, &producer), "thread");
  must(uv_run(&loop, UV_RUN_DEFAULT), "run");
  must(uv_thread_join(&thread), "join");
  printf("received %d messages, %d out of order, at most %zu queued\n", consumer.received, consumer.disorder, consumer.deepest);
  must(uv_loop_close(&loop), "loop");
  return 0;
}
