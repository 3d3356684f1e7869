/* SPDX-License-Identifier: MIT
 *
 * Messages to many: a broadcast channel with receivers on two loops, and a watched value. */
#include "uvch_peer.h"

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
  uvch_broadcast_receiver_t rx;
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
  uvch_broadcast_sender_t tx;
  struct side sides[LOOPS];
  unsigned int loops; /* that have receivers */
  uv_barrier_t barrier;
};

static void on_news(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  struct listener* l = (struct listener*) rx->data;
  struct side* side = l->side;

  check(status, "receive");
  if (status != 0 || *(const uint64_t*) item != l->next)
    peer_fail("a message is missing, doubled or out of order");
  l->next++;
  if (side->left == 0)
    peer_fail("more messages than were sent");
  if (--side->left == 0) {
    side->end = peer_now();
    uv_stop(&side->loop);
  }
}

static void listener_open(struct listener* l, struct side* side) {
  l->side = side;
  check(uvch_broadcast_subscribe(&side->loop, &l->rx, &side->news->tx), "uvch_broadcast_subscribe");
  l->rx.data = l;
  check(uvch_broadcast_recv_start(&l->rx, on_news), "uvch_broadcast_recv_start");
}

static void side_open(struct side* side, struct news* news, unsigned int number) {
  size_t i;

  side->news = news;
  side->number = number;
  side->count = (news->args->receivers + number) / news->loops;
  side->listeners = (struct listener*) peer_xcalloc(side->count, sizeof(*side->listeners));
  check(uv_loop_init(&side->loop), "uv_loop_init");
  for (i = 0; i < side->count; i++)
    listener_open(&side->listeners[i], side);
  loop_ready(news->args, &side->loop);
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

static void tell(struct news* news, uint64_t message, uint64_t end) {
  for (; message != end; message++) {
    if (uvch_broadcast_send_wait(&news->tx, &message) != (int) news->args->receivers)
      peer_fail("a send to less receivers than there are");
  }
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
  uvch_broadcast_options_t options = {.policy = UVCH_BROADCAST_WAIT};
  struct peer_meter meter = {0};
  uint64_t message = 0, count;
  unsigned int i;
  int phase;

  if (args->capacity == 0)
    peer_none("a broadcast channel has a bound");
  news.args = args;
  news.messages = (args->messages + args->receivers - 1) / args->receivers;
  news.loops = args->receivers < LOOPS ? 1 : LOOPS;
  check(uvch_broadcast_init_ex(NULL, NULL, &news.tx, sizeof(uint64_t), args->capacity, &options), "uvch_broadcast_init_ex");
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
    count = phase_size(news.messages, phase);
    tell(&news, message, message + count);
    message += count;
  }
  news_end(&news, &meter);
  peer_result(news.messages * args->receivers, &meter, NULL, 0);
}

/* watch */

static void run_read(const struct peer_args* args) {
  uint64_t first = 0, value = 1;
  uint64_t i, warm = args->messages / 5;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  struct peer_meter meter = {0};

  check(uvch_watch_init(NULL, &rx, &tx, sizeof(value), &first), "uvch_watch_init");
  check(uvch_watch_send(&tx, &value), "uvch_watch_send");
  peer_place(args, 0);
  for (i = 0; i < warm + args->messages; i++) {
    if (i == warm)
      peer_meter_start(&meter);
    if (*(const uint64_t*) uvch_watch_borrow(&rx) != value)
      peer_fail("another value than was sent");
  }
  peer_meter_stop(&meter);
  peer_result(args->messages, &meter, NULL, 0);
}

struct watch {
  const struct peer_args* args;
  uv_loop_t loop;
  uvch_watch_receiver_t rx;
  _Alignas(LINE) uvch_watch_sender_t tx;
  _Alignas(LINE) uint64_t seen; /* the value that it saw last */
  uint64_t last;                /* of the phase */
  uint64_t found;
  uv_barrier_t barrier;
  struct peer_meter meter; /* the sender's */
};

static void on_value(uvch_watch_receiver_t* rx, int status, const void* value) {
  struct watch* watch = (struct watch*) rx->data;
  uint64_t number;

  check(status, "watch");
  number = *(const uint64_t*) value;
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
      check(uvch_watch_send(&watch->tx, &number), "uvch_watch_send");
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
  check(uv_loop_init(&watch.loop), "uv_loop_init");
  check(uvch_watch_init(&watch.loop, &watch.rx, &watch.tx, sizeof(first), &first), "uvch_watch_init");
  watch.rx.data = &watch;
  loop_ready(args, &watch.loop);
  check(uvch_watch_start(&watch.rx, on_value, 0), "uvch_watch_start");
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
