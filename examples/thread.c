/* SPDX-License-Identifier: MIT
 *
 * A thread without a loop: it makes blocking calls and wants no callbacks. Its receiver has no loop either, and recv_wait sleeps
 * until the main thread's loop has sent something. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>
#include <uvch.h>

enum { JOBS = 5 };

struct feeder {
  uvch_mpsc_sender_t tx;
  int next;
};

static void must(int r, const char* what) {
  if (r == 0)
    return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(r));
  exit(1);
}

static void work(void* arg) {
  uvch_mpsc_receiver_t* rx = arg;
  int job;
  int r;

  while ((r = uvch_mpsc_recv_wait(rx, &job)) == 0)
    printf("job %d: the square is %d\n", job, job * job);
  printf("no more jobs: %s\n", uv_err_name(r));
  must(uvch_close((uvch_handle_t*) rx, NULL), "close"); /* at once, as there is no loop to wait for */
}

static void on_timer(uv_timer_t* timer) {
  struct feeder* feeder = timer->data;

  if (feeder->next <= JOBS) {
    int r = uvch_mpsc_try_send(&feeder->tx, &feeder->next);
    if (r == UV_EAGAIN)
      return; /* full: the thread is behind, try again with the next tick */
    must(r, "send");
    feeder->next++;
    return;
  }
  must(uvch_mpsc_sender_close(&feeder->tx), "close");
  uv_close((uv_handle_t*) timer, NULL);
}

int main(void) {
  struct feeder feeder = {.next = 1};
  uvch_mpsc_receiver_t rx;
  uv_timer_t timer;
  uv_loop_t loop;
  uv_thread_t thread;

  must(uv_loop_init(&loop), "loop");
  must(uvch_mpsc_init(NULL, &rx, &feeder.tx, sizeof(int), 2), "channel");
  must(uv_thread_create(&thread, work, &rx), "thread");
  must(uv_timer_init(&loop, &timer), "timer");
  timer.data = &feeder;
  must(uv_timer_start(&timer, on_timer, 1, 1), "timer");
  must(uv_run(&loop, UV_RUN_DEFAULT), "run");
  must(uv_thread_join(&thread), "join");
  must(uv_loop_close(&loop), "loop");
  return 0;
}
