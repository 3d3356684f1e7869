/* SPDX-License-Identifier: MIT
 *
 * A program as a user of the installed library writes it: a thread sends, the loop adds up and gives the thread the sum. Then the
 * sum is news for a loop and a thread, and at last the value of a watch channel that they look at. */
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

/* A subscriber to the sum; `told` is the last thing that came. */
struct subscriber {
  uvch_broadcast_receiver_t rx;
  long told;
  int ends;
};

static void on_news(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  struct subscriber* subscriber = rx->data;

  if (status == UV_EOF) {
    subscriber->ends += uvch_close((uvch_handle_t*) rx, NULL) == 0;
  } else if (status == 0) {
    subscriber->told = *(const long*) item;
  }
}

static void read_news(void* arg) {
  struct subscriber* subscriber = arg;
  int result;

  while ((result = uvch_broadcast_recv_wait(&subscriber->rx, &subscriber->told)) >= 0) {}
  subscriber->ends += result == UV_EOF && uvch_close((uvch_handle_t*) &subscriber->rx, NULL) == 0;
}

static int tell_all(uv_loop_t* loop, long total) {
  struct subscriber on_loop = {0};
  struct subscriber on_thread = {0};
  uvch_broadcast_sender_t tx;
  uv_thread_t thread;

  if (uvch_broadcast_init(loop, &on_loop.rx, &tx, sizeof(long), 4) != 0 ||
      uvch_broadcast_subscribe(NULL, &on_thread.rx, &tx) != 0) {
    return 0;
  }
  on_loop.rx.data = &on_loop;
  if (uvch_broadcast_recv_start(&on_loop.rx, on_news) != 0 || uv_thread_create(&thread, read_news, &on_thread) != 0) {
    return 0;
  }
  if (uvch_broadcast_send(&tx, &total) != 2 || uvch_broadcast_sender_close(&tx) != 0 || uv_run(loop, UV_RUN_DEFAULT) != 0 ||
      uv_thread_join(&thread) != 0) {
    return 0;
  }
  return on_loop.told == total && on_loop.ends == 1 && on_thread.told == total && on_thread.ends == 1;
}

/* Who looks at the value; `seen` is what it was last. */
struct viewer {
  uvch_watch_receiver_t rx;
  long wanted;
  long seen;
  int ends;
};

static void on_value(uvch_watch_receiver_t* rx, int status, const void* value) {
  struct viewer* viewer = rx->data;

  if (status == UV_EOF) {
    viewer->ends += uvch_close((uvch_handle_t*) rx, NULL) == 0;
  } else if (status == 0) {
    viewer->seen = *(const long*) value;
  }
}

static int is_wanted(const void* value, void* arg) {
  const struct viewer* viewer = arg;

  return *(const long*) value == viewer->wanted;
}

static void wait_for_it(void* arg) {
  struct viewer* viewer = arg;
  const void* value;

  if (uvch_watch_wait_for_wait(&viewer->rx, is_wanted, viewer, &value) == 0) {
    viewer->seen = *(const long*) value;
  }
  viewer->ends += uvch_close((uvch_handle_t*) &viewer->rx, NULL) == 0;
}

static int add(void* value, void* arg) {
  *(long*) value += *(const long*) arg;
  return 0;
}

/* 0 first, then the total, sent once and added to once. */
static int show_all(uv_loop_t* loop, long total) {
  struct viewer on_loop = {0};
  struct viewer on_thread = {0};
  uvch_watch_sender_t tx;
  uv_thread_t thread;
  long value = 0;

  if (uvch_watch_init(loop, &on_loop.rx, &tx, sizeof(long), &value) != 0 || uvch_watch_subscribe(NULL, &on_thread.rx, &tx) != 0) {
    return 0;
  }
  on_loop.rx.data = &on_loop;
  on_thread.wanted = total;
  if (uvch_watch_start(&on_loop.rx, on_value, 0) != 0 || uv_thread_create(&thread, wait_for_it, &on_thread) != 0) {
    return 0;
  }
  value = 1;
  total -= value;
  if (uvch_watch_send(&tx, &value) != 0 || uvch_watch_modify(&tx, add, &total) != 0 ||
      *(const long*) uvch_watch_sender_borrow(&tx) != on_thread.wanted || uvch_watch_sender_close(&tx) != 0 ||
      uv_run(loop, UV_RUN_DEFAULT) != 0 || uv_thread_join(&thread) != 0) {
    return 0;
  }
  return on_loop.seen == on_thread.wanted && on_loop.ends == 1 && on_thread.seen == on_thread.wanted && on_thread.ends == 1;
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
  if (uv_run(&loop, UV_RUN_DEFAULT) != 0 || uv_thread_join(&thread) != 0) {
    return 1;
  }
  if (!tell_all(&loop, sum.total)) {
    fprintf(stderr, "consumer: the sum did not come to all\n");
    return 1;
  }
  if (!show_all(&loop, sum.total)) {
    fprintf(stderr, "consumer: not all saw the sum\n");
    return 1;
  }
  if (uv_loop_close(&loop) != 0) {
    return 1;
  }
  if (uvch_close((uvch_handle_t*) &worker.answer, NULL) != 0 || worker.answered != sum.total) {
    fprintf(stderr, "consumer: the thread was told %ld\n", worker.answered);
    return 1;
  }
  printf("%d messages, sum %ld, %d end\n", sum.messages, sum.total, sum.ends);
  return 0;
}
