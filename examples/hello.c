/* SPDX-License-Identifier: MIT
 *
 * A worker thread sends three numbers to the loop of the main thread. */
#include <stdio.h>
#include <stdlib.h>
#include <uvch.h>

static void check(int result) {
  if (result < 0) {
    fprintf(stderr, "hello: %s\n", uv_strerror(result));
    exit(1);
  }
}

/* On the worker's thread, which sleeps while the channel is full. */
static void work(void* arg) {
  uvch_mpsc_sender_t* tx = arg;
  int i;

  for (i = 1; i <= 3; i++) {
    check(uvch_mpsc_send_wait(tx, &i));
  }
  check(uvch_mpsc_sender_close(tx));
}

/* On the loop's thread: once for every message, then once for the end. */
static void on_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  if (status == UV_EOF) {
    check(uvch_close((uvch_handle_t*) rx, NULL));
    return;
  }
  check(printf("message %d\n", *(const int*) item) < 0 ? UV_EIO : 0);
}

int main(void) {
  uv_loop_t loop;
  uv_thread_t worker;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  check(uv_loop_init(&loop));
  check(uvch_mpsc_init(&loop, &rx, &tx, sizeof(int), 2)); /* room for two messages */
  check(uvch_mpsc_recv_start(&rx, on_message));
  check(uv_thread_create(&worker, work, &tx));
  check(uv_run(&loop, UV_RUN_DEFAULT));
  check(uv_thread_join(&worker));
  check(uv_loop_close(&loop));
  return 0;
}
