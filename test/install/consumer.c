/* SPDX-License-Identifier: MIT
 *
 * A program as a user of the installed library writes it: a thread sends, the loop adds up and gives the thread the sum. */
#include <stdio.h>
#include <uvch.h>

enum { COUNT = 1000 };

struct sum {
  long total;
  int messages;
  int ends;
  uvch_oneshot_sender_t answer;
};

/* What the thread has: a way in, and the receiver of the answer. */
struct worker {
  uvch_mpsc_sender_t tx;
  uvch_oneshot_receiver_t answer;
  long answered;
};

static void work(void* arg) {
  struct worker* worker = arg;
  long i;

  for (i = 1; i <= COUNT; i++) {
    if (uvch_mpsc_send_wait(&worker->tx, &i) != 0) {
      break;
    }
  }
  if (uvch_mpsc_sender_close(&worker->tx) != 0) {
    fprintf(stderr, "consumer: closing the sender failed\n");
  }
  if (uvch_oneshot_recv_wait(&worker->answer, &worker->answered) != 0) {
    fprintf(stderr, "consumer: no answer\n");
  }
}

static void on_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct sum* sum = rx->data;

  if (status == UV_EOF) {
    sum->ends += uvch_close((uvch_handle_t*) rx, NULL) == 0 && uvch_oneshot_send(&sum->answer, &sum->total) == 0;
    return;
  }
  sum->total += *(const long*) item;
  sum->messages++;
}

int main(void) {
  struct sum sum = {0};
  struct worker worker = {0};
  uv_loop_t loop;
  uv_thread_t thread;
  uvch_mpsc_receiver_t rx;

  if (uvch_version() != UVCH_VERSION_HEX) {
    fprintf(stderr, "consumer: headers are %s, the library is %s\n", UVCH_VERSION_STRING, uvch_version_string());
    return 1;
  }
  if (uv_loop_init(&loop) != 0 || uvch_mpsc_init(&loop, &rx, &worker.tx, sizeof(long), 16) != 0 ||
      uvch_oneshot_init(NULL, &worker.answer, &sum.answer, sizeof(long)) != 0) {
    return 1;
  }
  rx.data = &sum;
  if (uvch_mpsc_recv_start(&rx, on_message) != 0 || uv_thread_create(&thread, work, &worker) != 0) {
    return 1;
  }
  if (uv_run(&loop, UV_RUN_DEFAULT) != 0 || uv_thread_join(&thread) != 0 || uv_loop_close(&loop) != 0) {
    return 1;
  }
  if (uvch_close((uvch_handle_t*) &worker.answer, NULL) != 0 || worker.answered != sum.total) {
    fprintf(stderr, "consumer: the thread was told %ld\n", worker.answered);
    return 1;
  }
  printf("%d messages, sum %ld, %d end\n", sum.messages, sum.total, sum.ends);
  return 0;
}
