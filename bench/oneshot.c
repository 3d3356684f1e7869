/* SPDX-License-Identifier: MIT
 *
 * Oneshots on one thread: the price of making one, sending through it, taking the value and closing it, the allocations of that,
 * and the memory of one that waits. */
#include "bench.h"
#include "byhand.h"

#define TURN 64 /* round trips, then a turn of the loop for receivers that close on one */

struct trips {
  struct result* result;
  uv_loop_t loop;
  struct chan anchor; /* the loop of a program has other handles too */
  uvch_oneshot_receiver_t rx[TURN];
  uvch_oneshot_sender_t tx;
  uint64_t closed;
};

/* One turn: 64 round trips with the values from `first` on. */
typedef void (*turn_fn)(struct trips* t, uint64_t first);

static void on_closed(uvch_handle_t* handle) {
  ((struct trips*) handle->data)->closed++;
}

static inline void send_and_take(struct trips* t, uvch_oneshot_receiver_t* rx, uint64_t value) {
  uint64_t got;

  if (uvch_oneshot_send(&t->tx, &value) != 0 || uvch_oneshot_try_recv(rx, &got) != 0 || got != value)
    fail(t->result, "value %llu did not come through", (unsigned long long) value);
}

static void turn_with_loop(struct trips* t, uint64_t first) {
  uvch_oneshot_receiver_t* rx;
  uint64_t i;

  t->closed = 0;
  for (i = 0; i < TURN; i++) {
    rx = &t->rx[i];
    rx->data = t;
    if (uvch_oneshot_init(&t->loop, rx, &t->tx, sizeof(uint64_t)) != 0)
      fail(t->result, "uvch_oneshot_init");
    send_and_take(t, rx, first + i);
    if (uvch_close((uvch_handle_t*) rx, on_closed) != 0)
      fail(t->result, "uvch_close");
  }
  while (t->closed != TURN)
    uv_run(&t->loop, UV_RUN_NOWAIT);
}

static void turn_without_loop(struct trips* t, uint64_t first) {
  uint64_t i;

  for (i = 0; i < TURN; i++) {
    if (uvch_oneshot_init(NULL, t->rx, &t->tx, sizeof(uint64_t)) != 0)
      fail(t->result, "uvch_oneshot_init");
    send_and_take(t, t->rx, first + i);
    if (uvch_close((uvch_handle_t*) t->rx, NULL) != 0)
      fail(t->result, "uvch_close");
  }
}

static void turn_renewed(struct trips* t, uint64_t first) {
  uint64_t i;

  for (i = 0; i < TURN; i++) {
    if (uvch_oneshot_renew(t->rx, &t->tx) != 0)
      fail(t->result, "uvch_oneshot_renew");
    send_and_take(t, t->rx, first + i);
  }
}

static void turn_byhand(struct trips* t, uint64_t first) {
  byhand_slot_t* slot;
  uint64_t i, got;

  for (i = 0; i < TURN; i++) {
    slot = byhand_slot_new();
    if (slot == NULL)
      fail(t->result, "out of memory");
    byhand_slot_send(slot, first + i);
    if (byhand_slot_try_recv(slot, &got) != 0 || got != first + i)
      fail(t->result, "value %llu did not come through", (unsigned long long) (first + i));
  }
}

static void turn_byhand_with_loop(struct trips* t, uint64_t first) {
  turn_byhand(t, first);
  uv_run(&t->loop, UV_RUN_NOWAIT);
}

/* A receiver that has had its outcome. */
static turn_fn open_renewed(struct trips* t, uv_loop_t* loop) {
  check(t->result, uvch_oneshot_init(loop, t->rx, &t->tx, sizeof(uint64_t)), "uvch_oneshot_init");
  send_and_take(t, t->rx, 0);
  return turn_renewed;
}

static turn_fn open_trips(struct trips* t, const struct setup* setup, struct result* result) {
  struct setup anchor = {.variant = setup->variant, .capacity = 1};

  t->result = result;
  check(result, uv_loop_init(&t->loop), "uv_loop_init");
  chan_open(&t->anchor, &t->loop, &anchor, NULL, NULL, NULL, result);
  switch (setup->manner) {
    case WITH_LOOP:
      return setup->variant == BASELINE ? turn_byhand_with_loop : turn_with_loop;
    case WITHOUT_LOOP:
      return setup->variant == BASELINE ? turn_byhand : turn_without_loop;
    case RENEWED_WITH_LOOP:
      return open_renewed(t, &t->loop);
    default:
      return open_renewed(t, NULL);
  }
}

void run_oneshots(const struct setup* setup, struct result* result) {
  static struct trips t;
  turn_fn turn = open_trips(&t, setup, result);
  uint64_t i, turns = setup->count / TURN + 1;
  struct meter meter;

  place(0);
  for (i = 0; i < turns / 5; i++)
    turn(&t, i * TURN);
  meter_start(&meter);
  for (i = 0; i < turns; i++)
    turn(&t, i * TURN);
  meter_stop(&meter, result);
  result->messages = turns * TURN;
  result->value = (double) result->wall_ns / (double) result->messages;
}

void run_oneshot_allocations(const struct setup* setup, struct result* result) {
  static struct trips t;
  uint64_t i, before, turns = setup->count / TURN + 1;
  turn_fn turn;

  heap_count(result);
  turn = open_trips(&t, setup, result);
  for (i = 0; i < turns / 5 + 1; i++)
    turn(&t, i * TURN);
  before = heap_allocations();
  for (i = 0; i < turns; i++)
    turn(&t, i * TURN);
  result->messages = turns * TURN;
  result->value = (double) (heap_allocations() - before) / (double) result->messages;
}

static void unexpected(uvch_oneshot_receiver_t* rx, int status, void* item) {
  (void) item;
  fail((struct result*) rx->data, "a callback without a value, status %d", status);
}

static void open_idle(uv_loop_t* loop, uvch_oneshot_receiver_t* rx, uvch_oneshot_sender_t* tx, struct result* result) {
  check(result, uvch_oneshot_init(loop, rx, tx, sizeof(uint64_t)), "uvch_oneshot_init");
  rx->data = result;
  if (loop != NULL)
    check(result, uvch_oneshot_recv(rx, unexpected), "uvch_oneshot_recv");
}

static void run_idle_uvch(const struct setup* setup, struct result* result) {
  size_t i, before = 0, n = setup->channels + 1;
  uvch_oneshot_receiver_t* rx = (uvch_oneshot_receiver_t*) xcalloc(result, n, sizeof(*rx));
  uvch_oneshot_sender_t* tx = (uvch_oneshot_sender_t*) xcalloc(result, n, sizeof(*tx));
  uv_loop_t loop;

  heap_count(result);
  check(result, uv_loop_init(&loop), "uv_loop_init");
  for (i = 0; i < n; i++) {
    if (i == 1)
      before = heap_bytes();
    open_idle(setup->manner == WITH_LOOP ? &loop : NULL, &rx[i], &tx[i], result);
  }
  uv_run(&loop, UV_RUN_NOWAIT);
  result->value = (double) (heap_bytes() - before) / (double) setup->channels;
}

/* The first one brings what the loop needs once, and is not counted. */
void run_oneshot_heap(const struct setup* setup, struct result* result) {
  byhand_slot_t* slot;

  if (setup->variant != BASELINE) {
    run_idle_uvch(setup, result);
    return;
  }
  slot = byhand_slot_new();
  if (slot == NULL)
    fail(result, "out of memory");
  result->value = (double) byhand_slot_heap(slot);
}

void run_oneshot_caller_memory(const struct setup* setup, struct result* result) {
  size_t size =
      setup->variant == BASELINE ? 2 * sizeof(byhand_slot_t*) : sizeof(uvch_oneshot_receiver_t) + sizeof(uvch_oneshot_sender_t);

  result->value = (double) size;
}
