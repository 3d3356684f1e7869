/* SPDX-License-Identifier: MIT
 *
 * Messages there and back: a ball between two loops, or two receivers of one; requests and replies. */
#include "uvch_peer.h"

/* pingpong */

/* The first one serves and keeps the times. */
struct side {
  _Alignas(LINE) const struct peer_args* args;
  uv_loop_t own_loop;
  uv_loop_t* loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t to_other;
  struct side* other;
  unsigned int number;
  uint64_t next; /* the message that it has to get */
  uint64_t warm;
  uint64_t total;
  uint64_t sent_at;
  uint64_t* times;
  struct peer_meter* meter;
};

static void hit(const struct side* side, uint64_t message) {
  check(uvch_mpsc_try_send(&side->to_other, &message), "uvch_mpsc_try_send");
}

static void take(const struct side* side, uint64_t message) {
  if (message != side->next || message >= side->total)
    peer_fail("a message is missing, doubled or out of order");
}

/* The ball is back. */
static void on_return(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct side* side = (struct side*) rx->data;

  check(status, "receive");
  take(side, *(const uint64_t*) item);
  if (side->next >= side->warm)
    side->times[side->next - side->warm] = peer_now() - side->sent_at;
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

static void on_ball(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct side* side = (struct side*) rx->data;

  check(status, "receive");
  take(side, *(const uint64_t*) item);
  if (side->next == side->warm)
    peer_place(side->args, side->number);
  hit(side, side->next);
  side->next++;
  if (side->next == side->total)
    uv_stop(side->loop);
}

/* On one loop: numbers are those of hops, each side gets every other one. */
static void on_hop(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct side* side = (struct side*) rx->data;
  uint64_t message = *(const uint64_t*) item;

  check(status, "receive");
  take(side, message);
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

static void side_open(struct side* side, const struct peer_args* args, uv_loop_t* loop, uvch_mpsc_recv_cb cb) {
  side->args = args;
  side->loop = loop;
  side->warm = args->messages / 10 + 1;
  side->total = side->warm + args->messages;
  check(uvch_mpsc_init(loop, &side->rx, &side->other->to_other, sizeof(uint64_t), SMALL_CAPACITY), "uvch_mpsc_init");
  side->rx.data = side;
  loop_ready(args, loop);
  check(uvch_mpsc_recv_start(&side->rx, cb), "uvch_mpsc_recv_start");
}

static void return_balls(void* arg) {
  uv_run(((struct side*) arg)->loop, UV_RUN_DEFAULT);
}

static void play_between_loops(struct side* sides, const struct peer_args* args) {
  uv_thread_t thread;

  check(uv_loop_init(&sides[1].own_loop), "uv_loop_init");
  side_open(&sides[0], args, &sides[0].own_loop, on_return);
  side_open(&sides[1], args, &sides[1].own_loop, on_ball);
  sides[0].times = (uint64_t*) peer_xcalloc(args->messages, sizeof(uint64_t));
  check(uv_thread_create(&thread, return_balls, &sides[1]), "uv_thread_create");
  hit(&sides[0], 0);
  uv_run(sides[0].loop, UV_RUN_DEFAULT);
  uv_thread_join(&thread);
  peer_result(args->messages, sides[0].meter, sides[0].times, args->messages);
}

static void play_on_one_loop(struct side* sides, const struct peer_args* args) {
  side_open(&sides[0], args, &sides[0].own_loop, on_hop);
  side_open(&sides[1], args, &sides[0].own_loop, on_hop);
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

/* request */

struct actor {
  _Alignas(LINE) const struct peer_args* args;
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uint64_t warm;
  uint64_t received;
};

struct asker {
  _Alignas(LINE) const struct peer_args* args;
  uv_loop_t loop;
  uvch_mpsc_receiver_t other_rx; /* the loop of a program has other handles, too */
  uvch_mpsc_sender_t other_tx;
  uvch_mpsc_sender_t tx; /* to the actor */
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
  struct request request;
  uvch_call_t call;
};

static void actor_on_request(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct actor* actor = (struct actor*) rx->data;
  struct request* request = (struct request*) item;
  uint64_t answer;

  if (status == UV_EOF) {
    check(uvch_close((uvch_handle_t*) rx, NULL), "uvch_close");
    return;
  }
  check(status, "receive");
  if (request->number != actor->received)
    peer_fail("a request is missing, doubled or out of order");
  if (actor->received++ == actor->warm)
    peer_place(actor->args, 0);
  answer = request->number + 1;
  check(uvch_reply(&request->reply, &answer), "uvch_reply");
}

static void actor_open(struct actor* actor, uvch_mpsc_sender_t* tx, const struct peer_args* args) {
  actor->args = args;
  actor->warm = args->messages / 10 + 1;
  check(uv_loop_init(&actor->loop), "uv_loop_init");
  check(uvch_mpsc_init(&actor->loop, &actor->rx, tx, sizeof(struct request), REQUEST_CAPACITY), "uvch_mpsc_init");
  actor->rx.data = actor;
  loop_ready(args, &actor->loop);
  check(uvch_mpsc_recv_start(&actor->rx, actor_on_request), "uvch_mpsc_recv_start");
}

static void actor_main(void* arg) {
  uv_run(&((struct actor*) arg)->loop, UV_RUN_DEFAULT);
}

static void on_reply(uvch_call_t* call, int status, void* reply);

static void ask(struct slot* slot) {
  struct asker* asker = slot->asker;
  struct request* request = &slot->request;

  slot->number = request->number = asker->sent++;
  if (asker->times != NULL)
    slot->sent_at = peer_now();
  check(uvch_call(&asker->loop, &slot->call, &asker->tx, request, &request->reply, sizeof(uint64_t), on_reply), "uvch_call");
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

static void on_reply(uvch_call_t* call, int status, void* reply) {
  struct slot* slot = (struct slot*) call->data;

  check(status, "call");
  if (*(const uint64_t*) reply != slot->number + 1)
    peer_fail("a reply is of another request");
  answered(slot->asker, slot);
  if (slot->asker->sent < slot->asker->total)
    ask(slot);
}

static void asker_open(struct asker* asker, const struct peer_args* args) {
  asker->args = args;
  asker->warm = args->messages / 10 + 1;
  asker->total = asker->warm + args->messages;
  if (args->outstanding == 1)
    asker->times = (uint64_t*) peer_xcalloc(args->messages, sizeof(*asker->times));
  check(uv_loop_init(&asker->loop), "uv_loop_init");
  check(uvch_mpsc_init(&asker->loop, &asker->other_rx, &asker->other_tx, sizeof(uint64_t), SMALL_CAPACITY), "uvch_mpsc_init");
  loop_ready(args, &asker->loop);
}

void run_request(const struct peer_args* args) {
  static struct actor actor;
  static struct asker asker;
  struct slot* slots = (struct slot*) peer_xcalloc(args->outstanding, sizeof(*slots));
  uv_thread_t thread;
  unsigned int i;

  actor_open(&actor, &asker.tx, args);
  asker_open(&asker, args);
  check(uv_thread_create(&thread, actor_main, &actor), "uv_thread_create");
  for (i = 0; i < args->outstanding && asker.sent < asker.total; i++) {
    slots[i].asker = &asker;
    slots[i].call.data = &slots[i];
    ask(&slots[i]);
  }
  uv_run(&asker.loop, UV_RUN_DEFAULT);
  check(uvch_mpsc_sender_close(&asker.tx), "uvch_mpsc_sender_close");
  uv_thread_join(&thread);
  if (asker.received != asker.total || actor.received != asker.total)
    peer_fail("requests are missing or doubled");
  peer_result(args->messages, &asker.meter, asker.times, args->messages);
}
