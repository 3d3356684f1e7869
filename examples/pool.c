/* SPDX-License-Identifier: MIT
 *
 * A pool of loops, each on a thread of its own. Main posts jobs to their inboxes in turn; the results come back to main's loop
 * through a channel. With the last result main stops the workers, and their uv_run() returns. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>
#include <uvch.h>

enum { WORKERS = 4, JOBS = 40 };

struct worker {
  uv_loop_t loop;
  uv_thread_t thread;
  uvch_inbox_t inbox;
  uvch_mpsc_sender_t results;
  int done; /* jobs */
};

struct job {
  int number;
  long sum;
};

struct pool {
  struct worker workers[WORKERS];
  struct job jobs[JOBS];
  int done;
  long sum;
};

static void must(int r, const char* what) {
  if (r == 0)
    return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(r));
  exit(1);
}

/* On a worker's loop. */
static void add_up(uv_loop_t* loop, int status, void* arg) {
  struct worker* worker = loop->data;
  struct job* job = arg;
  int i;

  if (status == UV_ECANCELED)
    return; /* stopped before its turn: a job that was allocated would be freed here */
  for (i = 1; i <= job->number; i++)
    job->sum += i;
  worker->done++;
  must(uvch_mpsc_try_send(&worker->results, &job), "result"); /* has no bound, so it never needs to wait */
}

static void run(void* arg) {
  struct worker* worker = arg;

  must(uv_run(&worker->loop, UV_RUN_DEFAULT), "worker");
  must(uvch_mpsc_sender_close(&worker->results), "close");
  must(uv_loop_close(&worker->loop), "worker's loop");
}

static void start(struct worker* worker, const uvch_mpsc_sender_t* results) {
  must(uv_loop_init(&worker->loop), "worker's loop");
  worker->loop.data = worker;
  must(uvch_inbox_init(&worker->loop, &worker->inbox), "inbox");
  must(uvch_mpsc_sender_clone(results, &worker->results), "clone");
  must(uv_thread_create(&worker->thread, run, worker), "thread");
}

static void stop(struct worker* worker) {
  must(uvch_inbox_stop(&worker->inbox), "stop");
  must(uvch_inbox_close(&worker->inbox), "close");
}

/* On main's loop; UV_EOF once every worker has closed its sender. */
static void on_result(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct pool* pool = rx->data;
  int i;

  if (status == UV_EOF) {
    must(uvch_close((uvch_handle_t*) rx, NULL), "close");
    return;
  }
  pool->sum += (*(struct job**) item)->sum;
  if (++pool->done == JOBS)
    for (i = 0; i < WORKERS; i++)
      stop(&pool->workers[i]);
}

int main(void) {
  static struct pool pool;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  int i;

  must(uv_loop_init(&loop), "loop");
  must(uvch_mpsc_init(&loop, &rx, &tx, sizeof(struct job*), UVCH_UNBOUNDED), "channel");
  rx.data = &pool;
  must(uvch_mpsc_recv_start(&rx, on_result), "receive");
  for (i = 0; i < WORKERS; i++)
    start(&pool.workers[i], &tx);
  must(uvch_mpsc_sender_close(&tx), "close"); /* the workers have theirs */
  for (i = 0; i < JOBS; i++) {
    pool.jobs[i].number = i;
    must(uvch_post(&pool.workers[i % WORKERS].inbox, add_up, &pool.jobs[i]), "post");
  }
  must(uv_run(&loop, UV_RUN_DEFAULT), "run");
  must(uv_loop_close(&loop), "loop");
  for (i = 0; i < WORKERS; i++) {
    must(uv_thread_join(&pool.workers[i].thread), "join");
    printf("worker %d: %d jobs\n", i, pool.workers[i].done);
  }
  printf("%d results, together %ld\n", pool.done, pool.sum);
  return 0;
}
