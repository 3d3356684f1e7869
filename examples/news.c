/* SPDX-License-Identifier: MIT
 *
 * News: one broadcast channel, and everybody who is subscribed sees every headline. The loop reads each one before it sends the
 * next. A thread reads along as fast as it can. Another one looks only when all has been sent: the channel has kept the last four,
 * and tells it how many it has missed. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>
#include <uvch.h>

enum { HEADLINES = 100, KEPT = 4 };

/* A reader of headlines, which are just numbers: 1, 2, 3 ... */
struct reader {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t* tx; /* the loop's reader is the editor, too */
  int read;
  int missed;
  int disorder;
  int result;
};

static void must(int r, const char* what) {
  if (r >= 0)
    return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(r));
  exit(1);
}

/* status 0: a headline. Above 0: so many are missing here. */
static void take(struct reader* reader, int status, int headline) {
  if (status > 0)
    reader->missed += status;
  else if (headline != ++reader->read + reader->missed)
    reader->disorder++;
}

/* A reader without a loop. */
static void read_all(void* arg) {
  struct reader* reader = arg;
  int headline = 0;
  int r;

  while ((r = uvch_broadcast_recv_wait(&reader->rx, &headline)) >= 0)
    take(reader, r, headline);
  reader->result = r == UV_EOF ? uvch_close((uvch_handle_t*) &reader->rx, NULL) : r;
}

/* The reader on the loop. A callback may send to its own channel. */
static void on_headline(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  struct reader* reader = rx->data;
  int next;

  if (status < 0) {
    must(status == UV_EOF ? 0 : status, "receive");
    must(uvch_close((uvch_handle_t*) rx, NULL), "close");
    return;
  }
  take(reader, status, status == 0 ? *(const int*) item : 0);
  next = reader->read + 1;
  if (next <= HEADLINES)
    must(uvch_broadcast_send(reader->tx, &next), "send");
  else
    must(uvch_broadcast_sender_close(reader->tx), "close");
}

int main(void) {
  struct reader editor = {.read = 0};
  struct reader along = {.read = 0};
  struct reader late = {.read = 0};
  uvch_broadcast_sender_t tx;
  uv_thread_t thread;
  uv_loop_t loop;
  int first = 1;
  int readers;

  must(uv_loop_init(&loop), "loop");
  must(uvch_broadcast_init(&loop, &editor.rx, &tx, sizeof(int), KEPT), "channel");
  must(uvch_broadcast_subscribe(NULL, &along.rx, &tx), "subscribe");
  must(uvch_broadcast_subscribe(NULL, &late.rx, &tx), "subscribe");
  must(uv_thread_create(&thread, read_all, &along), "thread");
  editor.tx = &tx;
  editor.rx.data = &editor;
  must(uvch_broadcast_recv_start(&editor.rx, on_headline), "receive");
  readers = uvch_broadcast_send(&tx, &first);
  must(readers, "send");
  must(uv_run(&loop, UV_RUN_DEFAULT), "run");
  must(uv_thread_join(&thread), "join");
  must(along.result, "thread");
  must(uv_thread_create(&thread, read_all, &late), "thread");
  must(uv_thread_join(&thread), "join");
  must(late.result, "thread");
  must(uv_loop_close(&loop), "loop");
  printf("the first headline went to %d readers\n", readers);
  printf("loop: %d read, %d missed\n", editor.read, editor.missed);
  printf("late: %d read, %d missed\n", late.read, late.missed);
  printf("along: %d read or missed\n", along.read + along.missed);
  printf("%d out of order\n", editor.disorder + late.disorder + along.disorder);
  return 0;
}
