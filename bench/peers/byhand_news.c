/* SPDX-License-Identifier: MIT
 *
 * Messages to many: a channel for each receiver, on two loops, and a value under a mutex. */
#include "../byhand.h"
#include "byhand_peer.h"

#define LOOPS 2
#define PHASES 2 /* the first one warms up */

static uint64_t phase_size(uint64_t messages, int phase) {
  return phase == PHASES - 1 ? messages : messages / 5 + 1;
}

/* broadcast */

struct news;

struct listener {
  struct side* side;
  uint64_t next; /* the message that it has to get */
  queue_t queue;
};

/* A loop with its receivers. */
struct side {
  _Alignas(LINE) uv_loop_t loop;
  struct news* news;
  unsigned int number;
  struct listener* listeners;
  size_t count;
  uint64_t left; /* messages that its receivers have to get in this phase, all together */
  uint64_t end;
  uv_thread_t thread;
};

struct news {
  const struct peer_args* args;
  uint64_t messages; /* that are sent */
  uv_mutex_t mutex;  /* of the list of receivers: they could come and go */
  struct side sides[LOOPS];
  unsigned int loops; /* that have receivers */
  uv_barrier_t barrier;
};

static void on_news(queue_t* q, const void* message) {
  struct listener* l = (struct listener*) q->data;
  struct side* side = l->side;

  if (*(const uint64_t*) message != l->next)
    peer_fail("a message is missing, doubled or out of order");
  l->next++;
  if (side->left == 0)
    peer_fail("more messages than were sent");
  if (--side->left == 0) {
    side->end = peer_now();
    uv_stop(&side->loop);
  }
}

static void side_open(struct side* side, struct news* news, unsigned int number) {
  const struct peer_args* args = news->args;
  struct listener* l;

  side->news = news;
  side->number = number;
  side->count = (args->receivers + number) / news->loops;
  side->listeners = (struct listener*) peer_xcalloc(side->count, sizeof(*side->listeners));
  check(uv_loop_init(&side->loop), "uv_loop_init");
  for (l = side->listeners; l < side->listeners + side->count; l++) {
    l->side = side;
    l->queue.data = l;
    check(queue_init(&side->loop, &l->queue, queue_kind(args), sizeof(uint64_t), args->capacity, on_news), "queue_init");
  }
}

static void serve(void* arg) {
  struct side* side = (struct side*) arg;
  struct news* news = side->news;
  int phase;

  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      peer_place(news->args, side->number);
    side->left = side->count * phase_size(news->messages, phase);
    uv_barrier_wait(&news->barrier);
    uv_run(&side->loop, UV_RUN_DEFAULT);
  }
  uv_run(&side->loop, UV_RUN_NOWAIT);
}

static void tell_all(struct news* news, uint64_t message) {
  struct side* side;
  size_t i;

  uv_mutex_lock(&news->mutex);
  for (side = news->sides; side < news->sides + news->loops; side++) {
    for (i = 0; i < side->count; i++)
      check(queue_send(&side->listeners[i].queue, &message), "queue_send");
  }
  uv_mutex_unlock(&news->mutex);
}

/* Everybody is done when the threads are; the clock stops with the last message. */
static void news_end(struct news* news, struct peer_meter* meter) {
  uint64_t start = meter->wall, end = 0;
  unsigned int i;

  for (i = 0; i < news->loops; i++) {
    uv_thread_join(&news->sides[i].thread);
    if (news->sides[i].end > end)
      end = news->sides[i].end;
  }
  peer_meter_stop(meter);
  meter->wall = end - start;
}

void run_broadcast(const struct peer_args* args) {
  static struct news news;
  struct peer_meter meter = {0};
  uint64_t message = 0, count;
  unsigned int i;
  int phase;

  news.args = args;
  news.messages = (args->messages + args->receivers - 1) / args->receivers;
  news.loops = args->receivers < LOOPS ? 1 : LOOPS;
  check(uv_mutex_init(&news.mutex), "uv_mutex_init");
  check(uv_barrier_init(&news.barrier, news.loops + 1), "uv_barrier_init");
  for (i = 0; i < news.loops; i++)
    side_open(&news.sides[i], &news, i);
  for (i = 0; i < news.loops; i++)
    check(uv_thread_create(&news.sides[i].thread, serve, &news.sides[i]), "uv_thread_create");
  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      peer_place(args, news.loops);
    uv_barrier_wait(&news.barrier);
    peer_meter_start(&meter);
    for (count = phase_size(news.messages, phase); count > 0; count--)
      tell_all(&news, message++);
  }
  news_end(&news, &meter);
  peer_result(news.messages * args->receivers, &meter, NULL, 0);
}

/* watch: a value needs no queue, so that both peers have the same. */

static void run_read(const struct peer_args* args) {
  uint64_t first = 0, value = 1, seen;
  uint64_t i, warm = args->messages / 5;
  byhand_board_t board;
  struct peer_meter meter = {0};

  check(byhand_board_init(&board, sizeof(value), &first, 0), "byhand_board_init");
  check(byhand_board_send(&board, &value), "byhand_board_send");
  peer_place(args, 0);
  for (i = 0; i < warm + args->messages; i++) {
    if (i == warm)
      peer_meter_start(&meter);
    byhand_board_read(&board, &seen);
    if (seen != value)
      peer_fail("another value than was sent");
  }
  peer_meter_stop(&meter);
  peer_result(args->messages, &meter, NULL, 0);
}

struct watch {
  const struct peer_args* args;
  uv_loop_t loop;
  byhand_board_t board;
  byhand_spot_t spot;
  byhand_viewer_t viewer;
  _Alignas(LINE) uint64_t seen; /* the value that it saw last */
  uint64_t last;                /* of the phase */
  uint64_t found;
  uv_barrier_t barrier;
  struct peer_meter meter; /* the sender's */
};

static void on_value(byhand_viewer_t* viewer, const void* value) {
  struct watch* watch = (struct watch*) viewer->data;
  uint64_t number = *(const uint64_t*) value;

  if (number <= watch->seen || number > watch->last)
    peer_fail("a value that was not sent, an older one than before, or the same twice");
  watch->seen = number;
  watch->found++;
  if (number == watch->last)
    uv_stop(&watch->loop);
}

static void change(void* arg) {
  struct watch* watch = (struct watch*) arg;
  uint64_t number = 0, end = 0;
  int phase;

  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      peer_place(watch->args, 1);
    end += phase_size(watch->args->messages, phase);
    uv_barrier_wait(&watch->barrier);
    peer_meter_start(&watch->meter);
    while (number != end) {
      number++;
      check(byhand_board_send(&watch->board, &number), "byhand_board_send");
    }
    peer_meter_stop(&watch->meter);
  }
}

static void run_send(const struct peer_args* args) {
  static struct watch watch;
  uint64_t first = 0;
  uv_thread_t thread;
  int phase;

  watch.args = args;
  watch.viewer.data = &watch;
  check(uv_loop_init(&watch.loop), "uv_loop_init");
  check(byhand_board_init(&watch.board, sizeof(first), &first, 0), "byhand_board_init");
  check(byhand_board_follow(&watch.loop, &watch.board, &watch.spot), "byhand_board_follow");
  byhand_board_view(&watch.spot, &watch.viewer, on_value);
  check(uv_barrier_init(&watch.barrier, 2), "uv_barrier_init");
  check(uv_thread_create(&thread, change, &watch), "uv_thread_create");
  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      peer_place(args, 0);
    watch.last += phase_size(args->messages, phase);
    watch.found = 0;
    uv_barrier_wait(&watch.barrier);
    uv_run(&watch.loop, UV_RUN_DEFAULT);
  }
  uv_thread_join(&thread);
  uv_run(&watch.loop, UV_RUN_NOWAIT);
  peer_result_more(args->messages, &watch.meter, NULL, 0, "found", watch.found);
}

void run_watch(const struct peer_args* args) {
  if (args->read)
    run_read(args);
  else
    run_send(args);
}
