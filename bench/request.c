/* SPDX-License-Identifier: MIT
 *
 * Requests and replies: a caller on one loop, or a plain thread, and an actor on another loop that answers each request at once.
 * The actor checks the order of the requests, the caller that each request gets its own reply, once. */
#include "bench.h"
#include "byhand.h"

#define ANSWER(number) (~(number))
#define SPARE 8192 /* receivers that are closing: at most what one pass of the loop may deliver, 4,096, and some */

struct message {
  uint64_t number;
  uvch_oneshot_sender_t reply;
};

struct actor {
  struct result* result;
  uv_loop_t own_loop;
  uv_loop_t* loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  byhand_box_t box;
  byhand_request_t last;
  uint64_t received;
  int replies; /* to calls, else to oneshots */
  uv_thread_t thread;
};

struct caller;

/* One request that is on its way. */
struct slot {
  struct caller* caller;
  struct slot* next;
  uint64_t number;
  uint64_t sent_at;
  int is_out;
  struct message message;
  uvch_call_t call;
  uvch_oneshot_receiver_t rx;
  byhand_request_t request;
};

typedef void (*ask_fn)(struct slot* slot);

struct caller {
  struct result* result;
  uv_loop_t loop;
  struct actor* actor;
  struct chan anchor; /* the loop of a program has other handles too */
  byhand_box_t home;
  struct slot* slots;
  struct slot* spare;
  ask_fn ask;
  uint64_t sent;
  uint64_t received;
  uint64_t warm;
  uint64_t total;
  uint64_t* times; /* or NULL */
  struct meter meter;
};

/* The actor. */

static void actor_take(struct actor* actor, uint64_t number) {
  if (number != actor->received)
    fail(actor->result, "a request is missing, doubled or out of order");
  actor->received++;
}

static void actor_on_uvch(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct actor* actor = (struct actor*) rx->data;
  struct message* message = (struct message*) item;
  uint64_t answer;

  if (status == UV_EOF) {
    uvch_close((uvch_handle_t*) rx, NULL);
    return;
  }
  check(actor->result, status, "receive");
  actor_take(actor, message->number);
  answer = ANSWER(message->number);
  if (actor->replies)
    check(actor->result, uvch_reply(&message->reply, &answer), "uvch_reply");
  else
    check(actor->result, uvch_oneshot_send(&message->reply, &answer), "uvch_oneshot_send");
}

static void actor_on_byhand(byhand_box_t* box, byhand_request_t* req) {
  struct actor* actor = (struct actor*) box->data;

  if (req == &actor->last) {
    uv_close((uv_handle_t*) &box->async, NULL);
    return;
  }
  actor_take(actor, req->value);
  req->value = ANSWER(req->value);
  check(actor->result, byhand_reply(req), "byhand_reply");
}

/* On a loop of its own unless there is one. */
static void actor_open(struct actor* actor, uv_loop_t* loop, const struct setup* setup, struct result* result) {
  actor->result = result;
  actor->loop = loop;
  if (loop == NULL) {
    actor->loop = &actor->own_loop;
    check(result, uv_loop_init(actor->loop), "uv_loop_init");
  }
  if (setup->variant == BASELINE) {
    actor->box.data = actor;
    check(result, byhand_box_init(actor->loop, &actor->box, actor_on_byhand), "byhand_box_init");
    return;
  }
  actor->replies = setup->manner == CALLS || setup->manner == LOCAL_CALLS;
  actor->rx.data = actor;
  check(result, uvch_mpsc_init(actor->loop, &actor->rx, &actor->tx, sizeof(struct message), setup->capacity), "uvch_mpsc_init");
  if (setup->variant == COLD)
    check(result, uvch_loop_configure(actor->loop, UVCH_LOOP_HOT_MAX, 0), "uvch_loop_configure");
  check(result, uvch_mpsc_recv_start(&actor->rx, actor_on_uvch), "uvch_mpsc_recv_start");
}

static void actor_main(void* arg) {
  struct actor* actor = (struct actor*) arg;

  place(1);
  uv_run(actor->loop, UV_RUN_DEFAULT);
}

/* Its loop ends then, or the channel on the caller's. */
static void actor_end(struct actor* actor, const struct setup* setup) {
  if (setup->variant == BASELINE)
    check(actor->result, byhand_send(&actor->box, &actor->last, NULL, NULL), "byhand_send");
  else
    check(actor->result, uvch_mpsc_sender_close(&actor->tx), "uvch_mpsc_sender_close");
}

/* The caller. */

static void ask(struct slot* slot) {
  struct caller* caller = slot->caller;

  slot->is_out = 1;
  slot->number = slot->message.number = caller->sent++;
  if (caller->times != NULL)
    slot->sent_at = uv_hrtime();
  caller->ask(slot);
}

static void answered(struct slot* slot, uint64_t answer) {
  struct caller* caller = slot->caller;

  if (!slot->is_out || answer != ANSWER(slot->number))
    fail(caller->result, "a reply is doubled or of another request");
  slot->is_out = 0;
  if (caller->times != NULL && slot->number >= caller->warm)
    caller->times[slot->number - caller->warm] = uv_hrtime() - slot->sent_at;
  caller->received++;
  if (caller->received == caller->warm)
    meter_start(&caller->meter);
  if (caller->received == caller->total)
    uv_stop(&caller->loop);
}

static int has_more(const struct caller* caller) {
  return caller->sent < caller->total;
}

static void on_call(uvch_call_t* call, int status, void* reply) {
  struct slot* slot = (struct slot*) call->data;

  check(slot->caller->result, status, "call");
  answered(slot, *(const uint64_t*) reply);
  if (has_more(slot->caller))
    ask(slot);
}

static void ask_by_call(struct slot* slot) {
  struct caller* caller = slot->caller;

  check(
      caller->result,
      uvch_call(&caller->loop, &slot->call, &caller->actor->tx, &slot->message, &slot->message.reply, sizeof(uint64_t), on_call),
      "uvch_call");
}

static void send_message(struct slot* slot, uvch_oneshot_recv_cb cb) {
  struct caller* caller = slot->caller;

  check(caller->result, uvch_mpsc_try_send(&caller->actor->tx, &slot->message), "uvch_mpsc_try_send");
  check(caller->result, uvch_oneshot_recv(&slot->rx, cb), "uvch_oneshot_recv");
}

static void on_renewed(uvch_oneshot_receiver_t* rx, int status, void* item) {
  struct slot* slot = (struct slot*) rx->data;

  check(slot->caller->result, status, "receive");
  answered(slot, *(const uint64_t*) item);
  if (has_more(slot->caller))
    ask(slot);
}

static void ask_renewed(struct slot* slot) {
  if (slot->rx.type == UVCH_UNKNOWN_HANDLE)
    check(slot->caller->result, uvch_oneshot_init(&slot->caller->loop, &slot->rx, &slot->message.reply, sizeof(uint64_t)),
          "uvch_oneshot_init");
  else
    check(slot->caller->result, uvch_oneshot_renew(&slot->rx, &slot->message.reply), "uvch_oneshot_renew");
  send_message(slot, on_renewed);
}

static void on_slot_closed(uvch_handle_t* handle) {
  struct slot* slot = (struct slot*) handle->data;

  slot->next = slot->caller->spare;
  slot->caller->spare = slot;
}

static void ask_spare(struct caller* caller) {
  struct slot* slot = caller->spare;

  if (slot == NULL)
    fail(caller->result, "no spare receiver");
  caller->spare = slot->next;
  ask(slot);
}

static void on_own(uvch_oneshot_receiver_t* rx, int status, void* item) {
  struct slot* slot = (struct slot*) rx->data;

  check(slot->caller->result, status, "receive");
  answered(slot, *(const uint64_t*) item);
  check(slot->caller->result, uvch_close((uvch_handle_t*) rx, on_slot_closed), "uvch_close");
  if (has_more(slot->caller))
    ask_spare(slot->caller);
}

static void ask_own(struct slot* slot) {
  check(slot->caller->result, uvch_oneshot_init(&slot->caller->loop, &slot->rx, &slot->message.reply, sizeof(uint64_t)),
        "uvch_oneshot_init");
  send_message(slot, on_own);
}

static void on_byhand(byhand_request_t* req) {
  struct slot* slot = (struct slot*) req->data;

  answered(slot, req->value);
  if (has_more(slot->caller))
    ask(slot);
}

static void ask_byhand(struct slot* slot) {
  struct caller* caller = slot->caller;

  slot->request.value = slot->number;
  check(caller->result, byhand_send(&caller->actor->box, &slot->request, &caller->home, on_byhand), "byhand_send");
}

static void caller_open(struct caller* caller, struct actor* actor, const struct setup* setup, struct result* result) {
  struct setup anchor = {.variant = setup->variant, .capacity = 1};

  caller->result = result;
  caller->actor = actor;
  caller->warm = setup->count / 5;
  caller->total = caller->warm + setup->count;
  check(result, uv_loop_init(&caller->loop), "uv_loop_init");
  if (setup->variant == BASELINE) {
    check(result, byhand_box_init(&caller->loop, &caller->home, NULL), "byhand_box_init");
    caller->ask = ask_byhand;
    return;
  }
  chan_open(&caller->anchor, &caller->loop, &anchor, NULL, NULL, NULL, result);
  caller->ask = setup->manner == WITH_LOOP ? ask_own : setup->manner == RENEWED_WITH_LOOP ? ask_renewed : ask_by_call;
}

static void slots_open(struct caller* caller) {
  size_t i;

  caller->slots = (struct slot*) xcalloc(caller->result, SPARE, sizeof(*caller->slots));
  for (i = SPARE; i-- > 0;) {
    struct slot* slot = &caller->slots[i];
    slot->caller = caller;
    slot->call.data = slot->rx.data = slot->request.data = slot;
    slot->next = caller->spare;
    caller->spare = slot;
  }
}

static void ask_and_wait(struct caller* caller, unsigned int outstanding) {
  unsigned int i;

  for (i = 0; i < outstanding; i++)
    ask_spare(caller);
  uv_run(&caller->loop, UV_RUN_DEFAULT);
}

static void run_between(const struct setup* setup, struct result* result, int timed) {
  static struct caller caller;
  static struct actor actor;
  int is_local = setup->manner == LOCAL_CALLS;

  caller_open(&caller, &actor, setup, result);
  actor_open(&actor, is_local ? &caller.loop : NULL, setup, result);
  slots_open(&caller);
  if (timed)
    caller.times = (uint64_t*) xcalloc(result, setup->count, sizeof(uint64_t));
  place(0);
  if (!is_local)
    check(result, uv_thread_create(&actor.thread, actor_main, &actor), "uv_thread_create");
  ask_and_wait(&caller, setup->portion);
  meter_stop(&caller.meter, result);
  actor_end(&actor, setup);
  if (!is_local)
    uv_thread_join(&actor.thread);
  uv_run(&caller.loop, UV_RUN_NOWAIT);
  if (caller.received != caller.total || actor.received != caller.total)
    fail(result, "%llu requests, %llu replies, not %llu", (unsigned long long) actor.received,
         (unsigned long long) caller.received, (unsigned long long) caller.total);
  result->messages = setup->count;
  if (timed)
    set_percentiles(result, caller.times, setup->count);
  else
    result->value = (double) setup->count * 1000 / (double) result->wall_ns;
}

void run_requests(const struct setup* setup, struct result* result) {
  run_between(setup, result, 0);
}

void run_requests_us(const struct setup* setup, struct result* result) {
  run_between(setup, result, 1);
}

/* One request is a message there and one back. */
void run_requests_bare(const struct setup* setup, struct result* result) {
  if (setup->variant != BASELINE) {
    run_between(setup, result, 1);
    return;
  }
  run_pingpong_bare(setup, result);
  result->messages /= 2;
}

/* A plain thread. */

static uint64_t wait_for_reply(struct actor* actor, const struct setup* setup, byhand_request_t* req, uint64_t number) {
  struct message message = {.number = number};
  uint64_t answer = 0;

  if (setup->variant == BASELINE) {
    req->value = number;
    check(actor->result, byhand_wait(&actor->box, req), "byhand_wait");
    return req->value;
  }
  check(actor->result, uvch_call_wait(&actor->tx, &message, &message.reply, &answer, sizeof(answer)), "uvch_call_wait");
  return answer;
}

void run_requests_thread(const struct setup* setup, struct result* result) {
  static struct actor actor;
  uint64_t* times = (uint64_t*) xcalloc(result, setup->count, sizeof(*times));
  uint64_t i, start, warm = setup->count / 5;
  byhand_request_t req = {0};
  struct meter meter;

  actor_open(&actor, NULL, setup, result);
  check(result, uv_sem_init(&req.done, 0), "uv_sem_init");
  place(0);
  check(result, uv_thread_create(&actor.thread, actor_main, &actor), "uv_thread_create");
  for (i = 0; i < warm + setup->count; i++) {
    if (i == warm)
      meter_start(&meter);
    start = uv_hrtime();
    if (wait_for_reply(&actor, setup, &req, i) != ANSWER(i))
      fail(result, "a reply is of another request");
    if (i >= warm)
      times[i - warm] = uv_hrtime() - start;
  }
  meter_stop(&meter, result);
  actor_end(&actor, setup);
  uv_thread_join(&actor.thread);
  if (actor.received != warm + setup->count)
    fail(result, "requests are missing or doubled");
  result->messages = setup->count;
  set_percentiles(result, times, setup->count);
}
