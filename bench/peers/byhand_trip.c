/* SPDX-License-Identifier: MIT
 *
 * Messages there and back: a ball between two loops, or two channels of one; requests and replies. */
#include "byhand_peer.h"

/* pingpong */

struct side;

typedef void (*side_fn)(struct side* side, uint64_t message);

/* The first one serves and keeps the times. */
struct side {
  _Alignas(LINE) const struct peer_args* args;
  uv_loop_t own_loop;
  uv_loop_t* loop;
  queue_t queue;
  bell_t bell;
  int is_bare;
  side_fn take;
  _Alignas(LINE) struct side* other;
  unsigned int number;
  uint64_t next; /* the message that it has to get */
  uint64_t warm;
  uint64_t total;
  uint64_t sent_at;
  uint64_t* times;
  struct peer_meter* meter;
};

static void hit(const struct side* side, uint64_t message) {
  if (side->is_bare)
    bell_ring(&side->other->bell, message);
  else
    check(queue_send(&side->other->queue, &message), "queue_send");
}

static void side_take(struct side* side, uint64_t message) {
  if (message != side->next || message >= side->total)
    peer_fail("a message is missing, doubled or out of order");
  side->take(side, message);
}

static void on_message(queue_t* q, const void* message) {
  side_take((struct side*) q->data, *(const uint64_t*) message);
}

static void on_bell(bell_t* bell, uint64_t message) {
  side_take((struct side*) bell->data, message);
}

/* The ball is back. */
static void take_back(struct side* side, uint64_t message) {
  if (message >= side->warm)
    side->times[message - side->warm] = peer_now() - side->sent_at;
  side->next++;
  if (side->next == side->total) {
    peer_meter_stop(side->meter);
    uv_stop(side->loop);
    return;
  }
  if (side->next == side->warm) {
    peer_place(side->args, side->number);
    peer_meter_start(side->meter);
  }
  side->sent_at = peer_now();
  hit(side, side->next);
}

static void take_and_return(struct side* side, uint64_t message) {
  if (message == side->warm)
    peer_place(side->args, side->number);
  hit(side, message);
  side->next++;
  if (side->next == side->total)
    uv_stop(side->loop);
}

/* On one loop: numbers are those of hops, each side gets every other one. */
static void take_hop(struct side* side, uint64_t message) {
  side->next += 2;
  message++;
  if (message == side->total) {
    peer_meter_stop(side->meter);
    uv_stop(side->loop);
    return;
  }
  if (message == side->warm)
    peer_meter_start(side->meter);
  hit(side, message);
}

static void side_open(struct side* side, const struct peer_args* args, uv_loop_t* loop, side_fn take) {
  side->args = args;
  side->loop = loop;
  side->take = take;
  side->is_bare = is_bare(args);
  side->warm = args->messages / 10 + 1;
  side->total = side->warm + args->messages;
  side->queue.data = side->bell.data = side;
  if (side->is_bare)
    bell_init(loop, &side->bell, on_bell);
  else
    check(queue_init(loop, &side->queue, queue_kind(args), sizeof(uint64_t), 0, on_message), "queue_init");
}

static void return_balls(void* arg) {
  uv_run(((struct side*) arg)->loop, UV_RUN_DEFAULT);
}

static void play_between_loops(struct side* sides, const struct peer_args* args) {
  uv_thread_t thread;

  check(uv_loop_init(&sides[1].own_loop), "uv_loop_init");
  side_open(&sides[0], args, &sides[0].own_loop, take_back);
  side_open(&sides[1], args, &sides[1].own_loop, take_and_return);
  sides[0].times = (uint64_t*) peer_xcalloc(args->messages, sizeof(uint64_t));
  check(uv_thread_create(&thread, return_balls, &sides[1]), "uv_thread_create");
  hit(&sides[0], 0);
  uv_run(sides[0].loop, UV_RUN_DEFAULT);
  uv_thread_join(&thread);
  peer_result(args->messages, sides[0].meter, sides[0].times, args->messages);
}

static void play_on_one_loop(struct side* sides, const struct peer_args* args) {
  side_open(&sides[0], args, &sides[0].own_loop, take_hop);
  side_open(&sides[1], args, &sides[0].own_loop, take_hop);
  sides[1].next = 1;
  peer_place(args, 0);
  hit(&sides[1], 0);
  uv_run(sides[0].loop, UV_RUN_DEFAULT);
  uv_run(sides[0].loop, UV_RUN_NOWAIT);
  peer_result(args->messages, sides[0].meter, NULL, 0);
}

void run_pingpong(const struct peer_args* args) {
  static struct side sides[2];
  struct peer_meter meter;

  check(uv_loop_init(&sides[0].own_loop), "uv_loop_init");
  sides[0].meter = sides[1].meter = &meter;
  sides[0].other = &sides[1];
  sides[1].other = &sides[0];
  sides[1].number = 1;
  if (args->one)
    play_on_one_loop(sides, args);
  else
    play_between_loops(sides, args);
}

/* request: the reply comes through a channel of the asker's, and says whose it is. */

struct slot;

struct message {
  struct slot* slot; /* NULL: the end */
  uint64_t number;   /* of the request, then the reply */
};

struct actor {
  _Alignas(LINE) const struct peer_args* args;
  uv_loop_t loop;
  queue_t queue;
  queue_t* replies;
  _Alignas(LINE) uint64_t warm;
  uint64_t received;
};

struct asker {
  _Alignas(LINE) const struct peer_args* args;
  uv_loop_t loop;
  queue_t replies;
  _Alignas(LINE) struct actor* actor;
  uint64_t sent;
  uint64_t received;
  uint64_t warm;
  uint64_t total;
  uint64_t* times; /* or NULL */
  struct peer_meter meter;
};

/* One request that is on its way. */
struct slot {
  struct asker* asker;
  uint64_t number;
  uint64_t sent_at;
};

static void actor_on_message(queue_t* q, const void* item) {
  struct actor* actor = (struct actor*) q->data;
  struct message message = *(const struct message*) item;

  if (message.slot == NULL) {
    uv_stop(&actor->loop);
    return;
  }
  if (message.number != actor->received)
    peer_fail("a request is missing, doubled or out of order");
  if (actor->received++ == actor->warm)
    peer_place(actor->args, 0);
  message.number++;
  check(queue_send(actor->replies, &message), "queue_send");
}

static void ask(struct slot* slot) {
  struct asker* asker = slot->asker;
  struct message message = {slot, asker->sent};

  slot->number = asker->sent++;
  if (asker->times != NULL)
    slot->sent_at = peer_now();
  check(queue_send(&asker->actor->queue, &message), "queue_send");
}

static void answered(struct asker* asker, const struct slot* slot) {
  if (asker->times != NULL && slot->number >= asker->warm)
    asker->times[slot->number - asker->warm] = peer_now() - slot->sent_at;
  asker->received++;
  if (asker->received == asker->warm) {
    peer_place(asker->args, 1);
    peer_meter_start(&asker->meter);
  }
  if (asker->received == asker->total) {
    peer_meter_stop(&asker->meter);
    uv_stop(&asker->loop);
  }
}

static void on_reply(queue_t* q, const void* item) {
  struct asker* asker = (struct asker*) q->data;
  const struct message* message = (const struct message*) item;
  struct slot* slot = message->slot;

  if (message->number != slot->number + 1)
    peer_fail("a reply is of another request");
  answered(asker, slot);
  if (asker->sent < asker->total)
    ask(slot);
}

static void open_both(struct asker* asker, struct actor* actor, const struct peer_args* args) {
  enum queue_kind kind = queue_kind(args);

  asker->args = actor->args = args;
  asker->warm = actor->warm = args->messages / 10 + 1;
  asker->total = asker->warm + args->messages;
  asker->actor = actor;
  actor->replies = &asker->replies;
  asker->replies.data = asker;
  actor->queue.data = actor;
  if (args->outstanding == 1)
    asker->times = (uint64_t*) peer_xcalloc(args->messages, sizeof(*asker->times));
  check(uv_loop_init(&asker->loop), "uv_loop_init");
  check(uv_loop_init(&actor->loop), "uv_loop_init");
  check(queue_init(&actor->loop, &actor->queue, kind, sizeof(struct message), REQUEST_CAPACITY, actor_on_message), "queue_init");
  /* The actor must not wait for the asker. */
  check(queue_init(&asker->loop, &asker->replies, kind, sizeof(struct message), 0, on_reply), "queue_init");
}

static void actor_main(void* arg) {
  uv_run(&((struct actor*) arg)->loop, UV_RUN_DEFAULT);
}

void run_request(const struct peer_args* args) {
  static struct actor actor;
  static struct asker asker;
  struct slot* slots = (struct slot*) peer_xcalloc(args->outstanding, sizeof(*slots));
  struct message end = {NULL, 0};
  uv_thread_t thread;
  unsigned int i;

  if (args->outstanding > REQUEST_CAPACITY)
    peer_none("the asker's loop would wait for room");
  open_both(&asker, &actor, args);
  check(uv_thread_create(&thread, actor_main, &actor), "uv_thread_create");
  for (i = 0; i < args->outstanding && asker.sent < asker.total; i++) {
    slots[i].asker = &asker;
    ask(&slots[i]);
  }
  uv_run(&asker.loop, UV_RUN_DEFAULT);
  check(queue_send(&actor.queue, &end), "queue_send");
  uv_thread_join(&thread);
  if (asker.received != asker.total || actor.received != asker.total)
    peer_fail("requests are missing or doubled");
  peer_result(args->messages, &asker.meter, asker.times, args->messages);
}
