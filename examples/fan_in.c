/* SPDX-License-Identifier: MIT
 *
 * Fan-in: five threads with ten messages each, one loop. Every thread has a sender of its own; after the last one is closed the
 * loop gets what is queued, then UV_EOF. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>
#include <uvch.h>

enum { THREADS = 5, MESSAGES = 10 };

struct message {
  int thread;
  int value;
};

struct worker {
  uv_thread_t id;
  uvch_mpsc_sender_t tx;
  int number;
  int result;
};

struct totals {
  int count[THREADS];
  int sum[THREADS];
  int last[THREADS]; /* the newest value; a thread sends 1, 2, 3 ... */
  int disorder;
};

static void must(int r, const char* what) {
  if (r == 0)
    return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(r));
  exit(1);
}

static void work(void* arg) {
  struct worker* worker = arg;
  struct message message = {worker->number, 1};

  for (; worker->result == 0 && message.value <= MESSAGES; message.value++)
    worker->result = uvch_mpsc_send_wait(&worker->tx, &message); /* sleeps while the channel is full */
  uvch_mpsc_sender_close(&worker->tx);
}

static void on_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct totals* totals = rx->data;
  const struct message* message = item;

  if (status == UV_EOF) {
    must(uvch_close((uvch_handle_t*) rx, NULL), "close");
    return;
  }
  if (message->value != totals->last[message->thread] + 1)
    totals->disorder++;
  totals->last[message->thread] = message->value;
  totals->count[message->thread]++;
  totals->sum[message->thread] += message->value;
}

int main(void) {
  struct worker workers[THREADS];
  struct totals totals = {{0}, {0}, {0}, 0};
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  int total = 0;
  int i;

  must(uv_loop_init(&loop), "loop");
  must(uvch_mpsc_init(&loop, &rx, &tx, sizeof(struct message), 4), "channel");
  rx.data = &totals;
  must(uvch_mpsc_recv_start(&rx, on_message), "receive");
  for (i = 0; i < THREADS; i++) {
    workers[i].number = i;
    workers[i].result = 0;
    must(uvch_mpsc_sender_clone(&tx, &workers[i].tx), "clone");
    must(uv_thread_create(&workers[i].id, work, &workers[i]), "thread");
  }
  must(uvch_mpsc_sender_close(&tx), "close");
  must(uv_run(&loop, UV_RUN_DEFAULT), "run");
  for (i = 0; i < THREADS; i++) {
    must(uv_thread_join(&workers[i].id), "join");
    must(workers[i].result, "send");
    printf("thread %d: %d messages, sum %d\n", i, totals.count[i], totals.sum[i]);
    total += totals.count[i];
  }
  printf("%d messages, %d out of order\n", total, totals.disorder);
  must(uv_loop_close(&loop), "loop");
  return 0;
}
