/* SPDX-License-Identifier: MIT
 *
 * Broadcast channels and receivers that fall behind: those that are waited for, those that are cut off, those that are told what
 * they have missed. */
#include "support.h"

#include <limits.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NO_TIME_BUDGET UINT64_C(1000000000000)

enum { NOT_DONE = INT_MAX }; /* no status of these tests */

/* Some channels have functions for their messages, which makes them keep those in another way. */
typedef struct shape_s {
  size_t capacity;
  bool owns;
} shape_t;

static const shape_t shapes[] = {{1, false}, {2, false}, {3, false}, {8, false}, {64, false}, {1, true}, {3, true}, {64, true}};
#define SHAPE (&shapes[_i % (int) COUNT(shapes)])
#define CAPACITY (SHAPE->capacity)
#define VARIANT ((size_t) _i / COUNT(shapes))
#define add_for_every_shape(tcase, test, variants) \
  tcase_add_loop_test(tcase, test, 0, (int) (COUNT(shapes) * (size_t) (variants)))

/* Channels of 8-byte numbers. */

static int copy_number(void* to, const void* from, void* arg) {
  (void) arg;
  memcpy(to, from, sizeof(uint64_t));
  return 0;
}

static void drop_number(void* item, void* arg) {
  (void) arg;
  support_check(item != NULL);
}

static void open_channel(uvch_broadcast_sender_t* tx, const shape_t* shape, uvch_broadcast_policy policy) {
  uvch_broadcast_options_t options;

  memset(&options, 0, sizeof(options));
  options.policy = policy;
  options.copy = shape->owns ? copy_number : NULL;
  options.drop = shape->owns ? drop_number : NULL;
  support_check_eq(uvch_broadcast_init_ex(NULL, NULL, tx, sizeof(uint64_t), shape->capacity, &options), 0);
}

static void subscribe(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, const uvch_broadcast_sender_t* tx) {
  memset(rx, 0xa5, sizeof(*rx));
  support_check_eq(uvch_broadcast_subscribe(loop, rx, tx), 0);
  if (loop != NULL) { /* turn() is to bring all, also on a slow machine */
    support_check_eq(uvch_loop_configure(loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0);
  }
}

static int try_put(const uvch_broadcast_sender_t* tx, uint64_t value) {
  return uvch_broadcast_send(tx, &value);
}

static void put(const uvch_broadcast_sender_t* tx, uint64_t value) {
  support_check(try_put(tx, value) > 0);
}

static void put_range(const uvch_broadcast_sender_t* tx, uint64_t from, uint64_t to) {
  for (; from < to; from++) {
    put(tx, from);
  }
}

static uint64_t take(uvch_broadcast_receiver_t* rx) {
  uint64_t value = UINT64_MAX;

  support_check_eq(uvch_broadcast_try_recv(rx, &value), 0);
  return value;
}

static void take_range(uvch_broadcast_receiver_t* rx, uint64_t from, uint64_t to) {
  for (; from < to; from++) {
    support_check_eq(take(rx), from);
  }
}

/* try_recv, of which only the answer matters; without a message nothing may be written. */
static int try_take(uvch_broadcast_receiver_t* rx) {
  uint64_t value = 0x5a5a5a5a;
  int answer = uvch_broadcast_try_recv(rx, &value);

  support_check(answer == 0 || value == 0x5a5a5a5a);
  return answer;
}

static void drop_sender(uvch_broadcast_sender_t* tx) {
  support_check_eq(uvch_broadcast_sender_close(tx), 0);
}

static void close_rx(uvch_broadcast_receiver_t* rx) {
  support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

static void keep_turning(uv_idle_t* idle) {
  (void) idle;
}

static void forget_prop(uv_handle_t* prop) {
  prop->data = NULL;
}

/* A few passes, also of a loop that nothing keeps alive. */
static void turn(uv_loop_t* loop) {
  uv_idle_t prop;
  int i;

  support_check_eq(uv_idle_init(loop, &prop), 0);
  support_check_eq(uv_idle_start(&prop, keep_turning), 0);
  prop.data = &prop;
  for (i = 0; i < 3; i++) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  uv_close((uv_handle_t*) &prop, forget_prop);
  while (prop.data != NULL) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
}

/* A request and what came of it. */
typedef struct asker_s {
  uvch_broadcast_send_t req;
  uint64_t value;
  int status;
  size_t calls;
  size_t* order; /* counts the callbacks of several */
  size_t place;
} asker_t;

static void asker_cb(uvch_broadcast_send_t* req, int status) {
  asker_t* asker = req->data;

  asker->status = status;
  asker->calls += 1;
  if (asker->order != NULL) {
    asker->place = (*asker->order)++;
  }
}

/* The request's memory is garbage before; the library must not look at it. */
static int try_ask(uv_loop_t* loop, asker_t* asker, const uvch_broadcast_sender_t* tx, uint64_t value) {
  memset(asker, 0xa5, sizeof(*asker));
  asker->req.data = asker;
  asker->value = value;
  asker->status = NOT_DONE;
  asker->calls = 0;
  asker->order = NULL;
  return uvch_broadcast_queue_send(loop, &asker->req, tx, &asker->value, asker_cb);
}

static void ask(uv_loop_t* loop, asker_t* asker, const uvch_broadcast_sender_t* tx, uint64_t value) {
  support_check_eq(try_ask(loop, asker, tx, value), 0);
  support_check_eq(asker->calls, 0); /* never from inside the call */
  support_check(asker->req.data == asker && asker->req.loop == loop);
  support_check_eq(asker->req.type, UVCH_BROADCAST_SEND);
}

static int cancel(asker_t* asker) {
  return uvch_cancel((uvch_req_t*) &asker->req);
}

static void check_done(const asker_t* asker, int status) {
  support_check_eq(asker->calls, 1);
  support_check_eq(asker->status, status);
}

/* A thread that sends one message, and is asleep by the time that start returns. */
typedef struct blocked_s {
  const uvch_broadcast_sender_t* tx;
  uint64_t value;
  uint64_t timeout; /* 0: send_wait */
  int answer;
  uv_thread_t thread;
  _Atomic(long) number;
} blocked_t;

static void blocked_send(void* arg) {
  blocked_t* blocked = arg;

  atomic_store(&blocked->number, support_thread_number());
  if (blocked->timeout == 0) {
    blocked->answer = uvch_broadcast_send_wait(blocked->tx, &blocked->value);
  } else {
    blocked->answer = uvch_broadcast_send_timedwait(blocked->tx, &blocked->value, blocked->timeout);
  }
}

static void blocked_begin(blocked_t* blocked, const uvch_broadcast_sender_t* tx, uint64_t value, uint64_t timeout) {
  memset(blocked, 0, sizeof(*blocked));
  blocked->tx = tx;
  blocked->value = value;
  blocked->timeout = timeout;
  blocked->answer = NOT_DONE;
  support_spawn(&blocked->thread, blocked_send, blocked);
}

static void blocked_start(blocked_t* blocked, const uvch_broadcast_sender_t* tx, uint64_t value) {
  blocked_begin(blocked, tx, value, 0);
  support_until_blocked(&blocked->number);
}

static void blocked_join(blocked_t* blocked, int answer) {
  support_join(&blocked->thread);
  ck_assert_int_eq(blocked->answer, answer);
}

/* What a receiver on a loop got: numbers from `next` on, without a gap. */
typedef struct sink_s {
  uvch_broadcast_receiver_t rx;
  uint64_t next;
  size_t count;
  int end;
  size_t ends;
} sink_t;

static void sink_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  sink_t* sink = rx->data;
  uint64_t value;

  if (status != 0) {
    support_check(item == NULL && status < 0);
    support_check_eq(uvch_is_active((uvch_handle_t*) rx), 0);
    sink->end = status;
    sink->ends += 1;
    return;
  }
  memcpy(&value, item, sizeof(value));
  support_check_eq(value, sink->next);
  sink->next += 1;
  sink->count += 1;
}

static void sink_open(sink_t* sink, uv_loop_t* loop, const uvch_broadcast_sender_t* tx, uint64_t next) {
  memset(sink, 0, sizeof(*sink));
  subscribe(loop, &sink->rx, tx);
  sink->rx.data = sink;
  sink->next = next;
}

static void sink_start(sink_t* sink) {
  support_check_eq(uvch_broadcast_recv_start(&sink->rx, sink_cb), 0);
}

/* Any row of calls, and a model that says what each must answer. Positions are the messages. */

#define MODEL_RECEIVERS 5

typedef struct model_s {
  uvch_broadcast_policy policy;
  uint64_t capacity;
  uint32_t seed;
  uvch_broadcast_sender_t tx;
  uint64_t tail; /* the next position */
  struct model_receiver_s {
    uvch_broadcast_receiver_t rx;
    bool open;
    bool noticed; /* that it is cut off */
    uint64_t cursor;
    uint64_t missed; /* in the last gap */
  } receivers[MODEL_RECEIVERS];
} model_t;

typedef struct model_receiver_s model_receiver_t;

static uint32_t model_random(model_t* m, uint32_t below) {
  m->seed = m->seed * 1664525u + 1013904223u;
  return (m->seed >> 8) % below;
}

static uint64_t model_behind(const model_t* m, const model_receiver_t* r) {
  return m->tail - r->cursor;
}

static bool model_is_cut(const model_t* m, const model_receiver_t* r) {
  return m->policy == UVCH_BROADCAST_DISCONNECT && (r->noticed || model_behind(m, r) > m->capacity);
}

static size_t model_count(const model_t* m) {
  size_t count = 0;
  size_t i;

  for (i = 0; i < MODEL_RECEIVERS; i++) {
    count += m->receivers[i].open && !m->receivers[i].noticed;
  }
  return count;
}

/* How far behind the slowest is of those that matter; `cut` is set if one is cut off and does not know it. */
static uint64_t model_slowest(const model_t* m, bool* cut) {
  uint64_t most = 0;
  size_t i;

  *cut = false;
  for (i = 0; i < MODEL_RECEIVERS; i++) {
    const model_receiver_t* r = &m->receivers[i];

    if (r->open && model_is_cut(m, r)) {
      *cut = *cut || !r->noticed;
    } else if (r->open && model_behind(m, r) > most) {
      most = model_behind(m, r);
    }
  }
  return most;
}

/* How many of `count` go in. */
static int model_accepts(const model_t* m, int count) {
  bool cut;
  uint64_t room = m->capacity - model_slowest(m, &cut);

  if (model_count(m) == 0) {
    return UV_EPIPE;
  }
  if (m->policy != UVCH_BROADCAST_WAIT || (uint64_t) count <= room) {
    return count;
  }
  return room > 0 ? (int) room : UV_EAGAIN;
}

static void model_send(model_t* m) {
  int wanted = model_accepts(m, 1);

  support_check_eq(try_put(&m->tx, m->tail), wanted == 1 ? (int) model_count(m) : wanted);
  m->tail += wanted == 1;
}

static void model_send_many(model_t* m) {
  uint64_t values[20];
  int count = (int) model_random(m, COUNT(values));
  int wanted = count == 0 ? 0 : model_accepts(m, count);
  int i;

  for (i = 0; i < count; i++) {
    values[i] = m->tail + (uint64_t) i;
  }
  support_check_eq(uvch_broadcast_send_many(&m->tx, values, (size_t) count), wanted);
  m->tail += wanted > 0 ? (uint64_t) wanted : 0;
}

static void model_receive(model_t* m, model_receiver_t* r) {
  uint64_t behind = model_behind(m, r);

  if (model_is_cut(m, r)) {
    support_check_eq(try_take(&r->rx), UV_ECONNABORTED);
    r->noticed = true;
  } else if (behind > m->capacity) {
    support_check_eq(try_take(&r->rx), (int) (behind - m->capacity));
    r->missed = behind - m->capacity;
    r->cursor += r->missed;
  } else if (behind == 0) {
    support_check_eq(try_take(&r->rx), UV_EAGAIN);
  } else {
    support_check_eq(take(&r->rx), r->cursor);
    r->cursor += 1;
  }
}

static void model_open(model_t* m, model_receiver_t* r) {
  model_receiver_t* source = &m->receivers[model_random(m, MODEL_RECEIVERS)];

  if (source->open && source != r && !source->noticed) {
    support_check_eq(uvch_broadcast_resubscribe(NULL, &r->rx, &source->rx), 0);
  } else {
    subscribe(NULL, &r->rx, &m->tx);
  }
  r->open = true;
  r->noticed = false;
  r->cursor = m->tail;
  r->missed = 0;
}

static void model_check(const model_t* m) {
  bool cut;
  uint64_t slowest = model_slowest(m, &cut);
  uint64_t kept = slowest < m->capacity ? slowest : m->capacity;
  size_t len = uvch_broadcast_sender_len(&m->tx);
  size_t i;

  support_check_eq(uvch_broadcast_sender_receiver_count(&m->tx), model_count(m));
  support_check(cut ? len >= kept && len <= m->capacity : len == kept);
  support_check_eq(uvch_broadcast_sender_is_empty(&m->tx), len == 0);
  for (i = 0; i < MODEL_RECEIVERS; i++) {
    const model_receiver_t* r = &m->receivers[i];

    if (r->open) {
      support_check_eq(uvch_broadcast_receiver_len(&r->rx), model_is_cut(m, r) ? 0 : model_behind(m, r));
      support_check_eq(uvch_broadcast_receiver_is_empty(&r->rx), model_is_cut(m, r) || model_behind(m, r) == 0);
      support_check_eq(uvch_broadcast_receiver_is_closed(&r->rx), model_is_cut(m, r));
      support_check_eq(uvch_broadcast_receiver_missed(&r->rx), r->missed);
    }
  }
}

static void model_step(model_t* m) {
  model_receiver_t* r = &m->receivers[model_random(m, MODEL_RECEIVERS)];
  uint32_t choice = model_random(m, 32);

  if (choice < 10) {
    model_send(m);
  } else if (choice == 10) {
    model_send_many(m);
  } else if (!r->open) {
    model_open(m, r);
  } else if (choice == 11) {
    close_rx(&r->rx);
    r->open = false;
  } else {
    model_receive(m, r);
  }
  model_check(m);
}

static void model_end(model_t* m) {
  size_t i;

  drop_sender(&m->tx);
  for (i = 0; i < MODEL_RECEIVERS; i++) {
    model_receiver_t* r = &m->receivers[i];

    if (r->open) {
      while (!model_is_cut(m, r) && model_behind(m, r) > 0) {
        model_receive(m, r);
      }
      support_check_eq(try_take(&r->rx), model_is_cut(m, r) ? UV_ECONNABORTED : UV_EOF);
      support_check_eq(try_take(&r->rx), model_is_cut(m, r) ? UV_ECONNABORTED : UV_EOF);
      close_rx(&r->rx);
    }
  }
}

START_TEST(any_row_of_calls_does_what_the_model_says) {
  size_t rounds = support_scale(60);
  size_t round;
  size_t i;

  for (round = 0; round < rounds; round++) {
    model_t m;

    memset(&m, 0, sizeof(m));
    m.policy = (uvch_broadcast_policy) VARIANT;
    m.capacity = CAPACITY;
    m.seed = (uint32_t) (round * 7919 + (size_t) _i);
    open_channel(&m.tx, SHAPE, m.policy);
    for (i = 0; i < 300; i++) {
      model_step(&m);
    }
    model_end(&m);
  }
}
END_TEST

/* WAIT: room. */

START_TEST(a_send_finds_no_room_exactly_while_the_slowest_has_not_read) {
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_receiver_t fast;
  uvch_broadcast_sender_t tx;
  uint64_t tail;
  uint64_t i;

  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &slow, &tx);
  subscribe(NULL, &fast, &tx);
  put_range(&tx, 0, CAPACITY);
  for (i = 0; i < 5 * CAPACITY; i++) { /* over the end of the ring more than once */
    tail = i + CAPACITY;
    ck_assert_int_eq(try_put(&tx, 0), UV_EAGAIN);
    take_range(&fast, i == 0 ? 0 : tail - 1, tail);
    ck_assert_int_eq(try_take(&fast), UV_EAGAIN);
    ck_assert_int_eq(try_put(&tx, 0), UV_EAGAIN); /* that does not help */
    ck_assert_uint_eq(uvch_broadcast_sender_len(&tx), CAPACITY);
    ck_assert_uint_eq(take(&slow), i);
    ck_assert_int_eq(try_put(&tx, tail), 2);
  }
  take_range(&slow, i, i + CAPACITY);
  ck_assert_int_eq(try_take(&slow), UV_EAGAIN);
  drop_sender(&tx);
  take_range(&fast, i + CAPACITY - 1, i + CAPACITY);
  ck_assert_int_eq(try_take(&fast), UV_EOF);
  close_rx(&slow);
  close_rx(&fast);
}
END_TEST

START_TEST(closing_the_slowest_makes_room_and_a_new_receiver_takes_none) {
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_receiver_t fast;
  uvch_broadcast_receiver_t fresh;
  uvch_broadcast_sender_t tx;
  uint64_t i;

  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &slow, &tx);
  subscribe(NULL, &fast, &tx);
  put_range(&tx, 0, CAPACITY);
  take_range(&fast, 0, CAPACITY);
  subscribe(NULL, &fresh, &tx);
  ck_assert_int_eq(try_put(&tx, 0), UV_EAGAIN);
  close_rx(&slow);
  ck_assert_uint_eq(uvch_broadcast_sender_len(&tx), 0);
  for (i = CAPACITY; i < 2 * CAPACITY; i++) {
    ck_assert_int_eq(try_put(&tx, i), 2);
  }
  ck_assert_int_eq(try_put(&tx, i), UV_EAGAIN);
  take_range(&fresh, CAPACITY, 2 * CAPACITY);
  take_range(&fast, CAPACITY, 2 * CAPACITY);
  ck_assert_int_eq(try_put(&tx, i), 2);
  drop_sender(&tx);
  close_rx(&fast);
  close_rx(&fresh);
}
END_TEST

START_TEST(of_many_messages_as_many_go_in_as_there_is_room_for) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t values[200];
  uint64_t i;

  for (i = 0; i < COUNT(values); i++) {
    values[i] = i;
  }
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &rx, &tx);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, values, COUNT(values)), (int) CAPACITY);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, values, 1), UV_EAGAIN);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, values, 0), 0);
  ck_assert_uint_eq(take(&rx), 0);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, values + CAPACITY, 3), 1);
  take_range(&rx, 1, CAPACITY + 1);
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  close_rx(&rx);
  ck_assert_int_eq(uvch_broadcast_send_many(&tx, values, 1), UV_EPIPE);
  drop_sender(&tx);
}
END_TEST

START_TEST(a_stopped_receiver_of_a_loop_holds_the_senders_up_until_it_starts_again) {
  uvch_broadcast_sender_t tx;
  sink_t sinks[2];
  uv_loop_t loop;
  uint64_t sent;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  sink_open(&sinks[0], &loop, &tx, 0);
  sink_open(&sinks[1], &loop, &tx, 0);
  sink_start(&sinks[0]);
  put_range(&tx, 0, CAPACITY);
  turn(&loop);
  ck_assert_uint_eq(sinks[0].count, CAPACITY);
  ck_assert_int_eq(try_put(&tx, 0), UV_EAGAIN);
  sink_start(&sinks[1]);
  ck_assert_int_eq(try_put(&tx, 0), UV_EAGAIN);
  turn(&loop);
  ck_assert_uint_eq(sinks[1].count, CAPACITY);
  for (sent = CAPACITY; sent < 5 * CAPACITY; sent++) {
    put(&tx, sent);
    turn(&loop);
  }
  drop_sender(&tx);
  support_loop_run(&loop);
  ck_assert_uint_eq(sinks[0].count, sent);
  ck_assert_uint_eq(sinks[1].count, sent);
  ck_assert_int_eq(sinks[0].end, UV_EOF);
  ck_assert_int_eq(sinks[1].end, UV_EOF);
  close_rx(&sinks[0].rx);
  close_rx(&sinks[1].rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_receiver_that_is_behind_holds_the_senders_up_also_after_it_was_attached_beside_another) {
  uvch_broadcast_sender_t tx;
  asker_t asker;
  uv_loop_t loop;
  sink_t fast;
  sink_t slow;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  sink_open(&fast, &loop, &tx, 0);
  sink_open(&slow, NULL, &tx, 0);
  sink_start(&fast);
  put_range(&tx, 0, CAPACITY);
  turn(&loop);
  ck_assert_uint_eq(fast.count, CAPACITY);
  ck_assert_int_eq(uvch_attach(&loop, (uvch_handle_t*) &slow.rx), 0);
  ck_assert_int_eq(try_put(&tx, 0), UV_EAGAIN);
  ask(&loop, &asker, &tx, CAPACITY);
  turn(&loop);
  ck_assert_uint_eq(asker.calls, 0);
  if (VARIANT == 0) {
    ck_assert_uint_eq(take(&slow.rx), 0); /* one is enough */
    slow.next = 1;
  } else {
    sink_start(&slow);
  }
  turn(&loop);
  check_done(&asker, 2);
  if (VARIANT == 0) {
    sink_start(&slow);
  }
  drop_sender(&tx);
  support_loop_run(&loop);
  ck_assert_uint_eq(slow.next, CAPACITY + 1);
  ck_assert_uint_eq(fast.next, CAPACITY + 1);
  close_rx(&fast.rx);
  close_rx(&slow.rx);
  support_loop_end(&loop);
}
END_TEST

/* WAIT: requests. */

START_TEST(with_room_a_request_sends_at_once_and_calls_back_from_the_loop) {
  uvch_broadcast_receiver_t rx[2];
  uvch_broadcast_sender_t tx;
  asker_t asker;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, (uvch_broadcast_policy) VARIANT);
  subscribe(NULL, &rx[0], &tx);
  subscribe(NULL, &rx[1], &tx);
  ask(&loop, &asker, &tx, 5);
  ck_assert_int_eq(cancel(&asker), UV_EBUSY);
  ck_assert_int_ne(uv_loop_alive(&loop), 0);
  support_loop_run(&loop);
  check_done(&asker, 2);
  ck_assert_int_eq(cancel(&asker), UV_EBUSY);
  ck_assert_uint_eq(take(&rx[0]), 5);
  ck_assert_uint_eq(take(&rx[1]), 5);
  close_rx(&rx[0]);
  close_rx(&rx[1]);
  ck_assert_int_eq(try_ask(&loop, &asker, &tx, 6), UV_EPIPE);
  drop_sender(&tx);
  ck_assert_int_eq(try_ask(&loop, &asker, &tx, 6), UV_EBADF);
  support_loop_end(&loop);
  ck_assert_uint_eq(asker.calls, 0);
}
END_TEST

/* In LAG and DISCONNECT nobody waits, whatever is behind. */
START_TEST(where_nobody_is_waited_for_requests_and_blocking_sends_go_in_at_once) {
  uvch_broadcast_policy policy = VARIANT == 0 ? UVCH_BROADCAST_LAG : UVCH_BROADCAST_DISCONNECT;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  asker_t askers[4];
  uint64_t value;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, policy);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY);
  value = CAPACITY;
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, &value), 1);
  value = CAPACITY + 1;
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 0), 1);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx, CAPACITY + 2 + i);
  }
  support_loop_run(&loop);
  for (i = 0; i < COUNT(askers); i++) {
    check_done(&askers[i], 1);
  }
  if (policy == UVCH_BROADCAST_LAG) {
    ck_assert_int_eq(try_take(&rx), 6);
    take_range(&rx, 6, CAPACITY + 6);
    ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  } else {
    ck_assert_int_eq(try_take(&rx), UV_ECONNABORTED);
  }
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(waiting_requests_go_in_and_call_back_in_the_order_they_were_made) {
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_receiver_t fast;
  uvch_broadcast_sender_t tx;
  asker_t askers[10];
  size_t order = 0;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &slow, &tx);
  subscribe(NULL, &fast, &tx);
  put_range(&tx, 0, CAPACITY);
  take_range(&fast, 0, CAPACITY);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx, CAPACITY + i);
    askers[i].order = &order;
  }
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1 + COUNT(askers));
  ck_assert_int_ne(uv_run(&loop, UV_RUN_NOWAIT), 0);
  ck_assert_uint_eq(order, 0);
  for (i = 0; i < COUNT(askers) / 2; i++) { /* one place for each that is read */
    ck_assert_uint_eq(take(&slow), i);
    ck_assert_int_eq(try_put(&tx, 0), UV_EAGAIN);
    turn(&loop);
    ck_assert_uint_eq(order, i + 1);
    ck_assert_uint_eq(take(&fast), CAPACITY + i);
    ck_assert_int_eq(try_take(&fast), UV_EAGAIN);
  }
  close_rx(&fast);
  take_range(&slow, i, CAPACITY + COUNT(askers)); /* the others move up without their loop */
  support_loop_run(&loop);
  for (i = 0; i < COUNT(askers); i++) {
    check_done(&askers[i], i < COUNT(askers) / 2 ? 2 : 1);
    ck_assert_uint_eq(askers[i].place, i);
  }
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1);
  close_rx(&slow);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(nobody_passes_those_who_wait) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  asker_t askers[5];
  uint64_t value = 1000;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx, CAPACITY + i);
  }
  for (i = 0; i < COUNT(askers); i++) {
    ck_assert_uint_eq(take(&rx), i);
    ck_assert_int_eq(try_put(&tx, value), UV_EAGAIN);
    ck_assert_int_eq(uvch_broadcast_send_many(&tx, &value, 1), UV_EAGAIN);
    ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 0), UV_ETIMEDOUT);
  }
  ck_assert_uint_eq(take(&rx), i);
  ck_assert_int_eq(try_put(&tx, CAPACITY + COUNT(askers)), 1); /* nobody waits any more */
  take_range(&rx, i + 1, CAPACITY + COUNT(askers) + 1);
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  support_loop_run(&loop);
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* In the callback its message is read, so there is room, but not for those who come last. */
typedef struct pusher_s {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t next;
  uint64_t until; /* as long as that somebody waits */
} pusher_t;

static void pusher_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  pusher_t* pusher = rx->data;
  uint64_t value;

  support_check_eq(status, 0);
  memcpy(&value, item, sizeof(value));
  support_check_eq(value, pusher->next);
  pusher->next += 1;
  if (pusher->next <= pusher->until) {
    support_check_eq(try_put(&pusher->tx, 1000), UV_EAGAIN);
    support_check_eq(uvch_broadcast_send_timedwait(&pusher->tx, &value, 0), UV_ETIMEDOUT);
  }
}

START_TEST(a_callback_does_not_pass_those_who_wait) {
  enum { MANY = 200 };
  static asker_t askers[MANY];
  pusher_t pusher;
  uv_loop_t loop;
  uv_loop_t far;
  size_t i;

  memset(&pusher, 0, sizeof(pusher));
  support_loop_init(&loop);
  support_loop_init(&far);
  open_channel(&pusher.tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(&loop, &pusher.rx, &pusher.tx);
  pusher.rx.data = &pusher;
  pusher.until = MANY - CAPACITY;
  put_range(&pusher.tx, 0, CAPACITY);
  for (i = 0; i < MANY; i++) {
    ask(VARIANT == 0 ? &loop : &far, &askers[i], &pusher.tx, CAPACITY + i);
  }
  ck_assert_int_eq(uvch_broadcast_recv_start(&pusher.rx, pusher_cb), 0);
  while (pusher.next < CAPACITY + MANY) {
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  turn(&loop);
  support_loop_run(&far);
  for (i = 0; i < MANY; i++) {
    check_done(&askers[i], 1);
  }
  close_rx(&pusher.rx);
  drop_sender(&pusher.tx);
  support_loop_end(&loop);
  support_loop_end(&far);
}
END_TEST

START_TEST(a_cancelled_request_gives_its_message_back_and_the_others_keep_their_order) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  asker_t askers[6];
  uint64_t gone = VARIANT; /* the first, one in the middle, the last */
  uint64_t due = 0;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx, CAPACITY + i);
  }
  ck_assert_int_eq(cancel(&askers[gone]), 0);
  ck_assert_int_eq(cancel(&askers[gone]), UV_EBUSY);
  ck_assert_uint_eq(askers[gone].calls, 0);
  turn(&loop);
  check_done(&askers[gone], UV_ECANCELED);
  ck_assert_uint_eq(askers[gone].value, CAPACITY + gone);
  ck_assert_int_eq(cancel(&askers[gone]), UV_EBUSY);
  for (i = 0; i < CAPACITY + COUNT(askers) - 1; i++) {
    due += due == CAPACITY + gone;
    ck_assert_uint_eq(take(&rx), due++);
  }
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  support_loop_run(&loop);
  for (i = 0; i < COUNT(askers); i++) {
    check_done(&askers[i], i == gone ? UV_ECANCELED : 1);
  }
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(cancelling_all_who_wait_opens_the_channel_again) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  asker_t askers[3];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx, 100 + i);
  }
  for (i = COUNT(askers); i-- > 0;) {
    ck_assert_int_eq(cancel(&askers[i]), 0);
  }
  ck_assert_int_eq(try_put(&tx, 0), UV_EAGAIN); /* it is full still */
  ck_assert_uint_eq(take(&rx), 0);
  ck_assert_int_eq(try_put(&tx, CAPACITY), 1);
  support_loop_run(&loop);
  for (i = 0; i < COUNT(askers); i++) {
    check_done(&askers[i], UV_ECANCELED);
  }
  take_range(&rx, 1, CAPACITY + 1);
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_request_counts_as_a_sender) {
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t again;
  uvch_broadcast_sender_t tx;
  asker_t asker;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY);
  ck_assert_int_eq(uvch_broadcast_sender_downgrade(&tx, &weak), 0);
  ask(&loop, &asker, &tx, CAPACITY);
  drop_sender(&tx);
  ck_assert_uint_eq(uvch_broadcast_receiver_strong_count(&rx), 1);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 0);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &again), 0);
  drop_sender(&again);
  if (VARIANT == 0) {
    take_range(&rx, 0, CAPACITY + 1);
  } else {
    ck_assert_int_eq(cancel(&asker), 0);
    take_range(&rx, 0, CAPACITY);
  }
  ck_assert_int_eq(try_take(&rx), UV_EOF);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 1);
  ck_assert_int_eq(uvch_broadcast_weak_sender_upgrade(&weak, &again), UV_EPIPE);
  support_loop_run(&loop);
  check_done(&asker, VARIANT == 0 ? 1 : UV_ECANCELED);
  ck_assert_int_eq(uvch_broadcast_weak_sender_close(&weak), 0);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(the_end_comes_to_a_loop_after_the_message_of_the_last_request) {
  uvch_broadcast_sender_t tx;
  asker_t askers[3];
  uv_loop_t loop;
  sink_t sink;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  sink_open(&sink, &loop, &tx, 0);
  put_range(&tx, 0, CAPACITY);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx, CAPACITY + i);
  }
  drop_sender(&tx);
  sink_start(&sink);
  support_loop_run(&loop);
  ck_assert_uint_eq(sink.count, CAPACITY + COUNT(askers));
  ck_assert_uint_eq(sink.ends, 1);
  ck_assert_int_eq(sink.end, UV_EOF);
  for (i = 0; i < COUNT(askers); i++) {
    check_done(&askers[i], 1);
  }
  close_rx(&sink.rx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(closing_the_slowest_lets_in_those_who_wait) {
  uvch_broadcast_receiver_t fast;
  uvch_broadcast_sender_t tx;
  asker_t askers[3];
  blocked_t blocked;
  uint64_t value;
  uv_loop_t loop;
  sink_t slow;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  sink_open(&slow, VARIANT == 0 ? NULL : &loop, &tx, 0);
  subscribe(NULL, &fast, &tx);
  put_range(&tx, 0, CAPACITY);
  take_range(&fast, 0, CAPACITY);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx, CAPACITY + i);
  }
  blocked_start(&blocked, &tx, CAPACITY + i);
  close_rx(&slow.rx);
  ck_assert_uint_ge(uvch_broadcast_receiver_len(&fast), CAPACITY < COUNT(askers) ? CAPACITY : COUNT(askers));
  for (i = 0; i < COUNT(askers) + 1; i++) {
    ck_assert_int_eq(uvch_broadcast_recv_wait(&fast, &value), 0);
    ck_assert_uint_eq(value, CAPACITY + i);
  }
  blocked_join(&blocked, 1);
  support_loop_run(&loop);
  for (i = 0; i < COUNT(askers); i++) {
    check_done(&askers[i], 1); /* without the one that has gone */
  }
  close_rx(&fast);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(when_the_last_receiver_goes_all_who_wait_are_told_and_keep_their_messages) {
  uvch_broadcast_receiver_t fresh;
  uvch_broadcast_sender_t tx;
  blocked_t blocked[2];
  asker_t askers[3];
  size_t order = 0;
  uv_loop_t loop;
  sink_t sink;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  sink_open(&sink, VARIANT == 0 ? NULL : &loop, &tx, 0);
  put_range(&tx, 0, CAPACITY);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx, 100 + i);
    askers[i].order = &order;
  }
  blocked_start(&blocked[0], &tx, 200);
  blocked_begin(&blocked[1], &tx, 201, UINT64_MAX);
  support_until_blocked(&blocked[1].number);
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1 + COUNT(askers));
  close_rx(&sink.rx);
  ck_assert_uint_eq(order, 0); /* never from inside the call */
  blocked_join(&blocked[0], UV_EPIPE);
  blocked_join(&blocked[1], UV_EPIPE);
  ck_assert_int_eq(cancel(&askers[1]), UV_EBUSY);
  ck_assert_int_eq(try_put(&tx, 0), UV_EPIPE);
  subscribe(NULL, &fresh, &tx); /* does not take it back */
  ck_assert_int_eq(try_put(&tx, 7), 1);
  support_loop_run(&loop);
  for (i = 0; i < COUNT(askers); i++) {
    check_done(&askers[i], UV_EPIPE);
    ck_assert_uint_eq(askers[i].place, i);
    ck_assert_uint_eq(askers[i].value, 100 + i);
  }
  ck_assert_uint_eq(take(&fresh), 7);
  ck_assert_int_eq(try_take(&fresh), UV_EAGAIN);
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1);
  close_rx(&fresh);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

static void never_asked(uvch_broadcast_send_t* req, int status) {
  (void) req;
  ck_abort_msg("a refused request has called back with %d", status);
}

typedef struct stranger_s {
  uv_loop_t* loop;
  uvch_broadcast_sender_t* tx;
  uvch_broadcast_send_t req;
  uint64_t value;
  support_result_t result;
} stranger_t;

static void come_as_stranger(void* arg) {
  stranger_t* s = arg;

  support_expect_eq(&s->result, uvch_broadcast_queue_send(s->loop, &s->req, s->tx, &s->value, never_asked), UV_EPERM);
}

START_TEST(a_refused_request_never_calls_back) {
  uvch_broadcast_sender_t tx;
  uvch_broadcast_send_t req;
  stranger_t stranger;
  uv_thread_t thread;
  uint64_t value = 0;
  uv_loop_t loop;
  sink_t sink;

  memset(&req, 0, sizeof(req));
  memset(&stranger, 0, sizeof(stranger));
  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  sink_open(&sink, &loop, &tx, 0);
  turn(&loop); /* from now on it is this thread's */
  put_range(&tx, 0, CAPACITY);
  ck_assert_int_eq(uvch_broadcast_queue_send(NULL, &req, &tx, &value, never_asked), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_queue_send(&loop, NULL, &tx, &value, never_asked), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_queue_send(&loop, &req, NULL, &value, never_asked), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_queue_send(&loop, &req, &tx, NULL, never_asked), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_queue_send(&loop, &req, &tx, &value, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_wait(NULL, &value), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(NULL, &value, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, NULL, 0), UV_EINVAL);
  stranger.loop = &loop;
  stranger.tx = &tx;
  support_spawn(&thread, come_as_stranger, &stranger);
  support_join(&thread);
  support_result_check(&stranger.result);
  ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1);
  sink_start(&sink);
  turn(&loop);
  ck_assert_uint_eq(sink.count, CAPACITY);
  drop_sender(&tx);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, &value), UV_EBADF);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 0), UV_EBADF);
  close_rx(&sink.rx);
  support_loop_end(&loop);
}
END_TEST

/* Sends with the same request again and again from its own callback, on the loop that also receives. */
typedef struct chain_s {
  uvch_broadcast_send_t req;
  uvch_broadcast_sender_t tx;
  uv_loop_t* loop;
  uint64_t value;
  uint64_t end;
  support_result_t* result;
} chain_t;

static void chain_next(chain_t* chain);

static void chain_cb(uvch_broadcast_send_t* req, int status) {
  chain_t* chain = req->data;

  support_expect(chain->result, status > 0);
  chain->value += 1;
  chain_next(chain);
}

static void chain_next(chain_t* chain) {
  if (chain->value == chain->end) {
    support_expect_eq(chain->result, uvch_broadcast_sender_close(&chain->tx), 0);
    return;
  }
  chain->req.data = chain;
  support_expect_eq(chain->result, uvch_broadcast_queue_send(chain->loop, &chain->req, &chain->tx, &chain->value, chain_cb), 0);
}

START_TEST(a_request_can_be_used_again_in_its_callback) {
  support_result_t result;
  uv_loop_t loop;
  chain_t chain;
  sink_t sink;

  memset(&result, 0, sizeof(result));
  memset(&chain, 0, sizeof(chain));
  support_loop_init(&loop);
  open_channel(&chain.tx, SHAPE, UVCH_BROADCAST_WAIT);
  sink_open(&sink, &loop, &chain.tx, 0);
  chain.loop = &loop;
  chain.end = 500;
  chain.result = &result;
  chain_next(&chain);
  sink_start(&sink);
  support_loop_run(&loop);
  support_result_check(&result);
  ck_assert_uint_eq(sink.count, 500);
  ck_assert_int_eq(sink.end, UV_EOF);
  close_rx(&sink.rx);
  support_loop_end(&loop);
}
END_TEST

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

/* Of a program that closed the library's handles under its requests: they are never told, but they may be cancelled before, and
 * what they were to send may still go in. What stays for the old loop goes with a later one at its address. */
START_TEST(a_program_may_close_the_librarys_handles_under_a_request) {
  size_t before = support_alloc_blocks();
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  asker_t askers[3];
  uv_loop_t loop;
  sink_t sink;
  int answer;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY);
  for (i = 0; i < COUNT(askers); i++) {
    ask(&loop, &askers[i], &tx, CAPACITY + i);
  }
  turn(&loop);
  ck_assert_int_eq(cancel(&askers[1]), 0);
  turn(&loop);
  check_done(&askers[1], UV_ECANCELED);
  uv_walk(&loop, close_uv, NULL);
  support_loop_end(&loop);
  memset(&loop, 0xdd, sizeof(loop));
  if (VARIANT == 0) {
    take_range(&rx, 0, CAPACITY);
    while ((answer = try_take(&rx)) == 0) {}
    ck_assert_int_eq(answer, UV_EAGAIN);
  }
  close_rx(&rx);
  drop_sender(&tx);
  ck_assert_uint_eq(askers[0].calls + askers[2].calls, 0);
  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  sink_open(&sink, &loop, &tx, 0);
  sink_start(&sink);
  put(&tx, 0);
  drop_sender(&tx);
  support_loop_run(&loop);
  ck_assert_uint_eq(sink.count, 1);
  close_rx(&sink.rx);
  support_loop_end(&loop);
  ck_assert_uint_eq(support_alloc_blocks(), before);
}
END_TEST

/* WAIT: threads. */

START_TEST(a_blocked_send_goes_in_when_the_slowest_reads) {
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_receiver_t fast;
  uvch_broadcast_sender_t tx;
  blocked_t blocked;

  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &slow, &tx);
  subscribe(NULL, &fast, &tx);
  put_range(&tx, 0, CAPACITY);
  blocked_begin(&blocked, &tx, CAPACITY, VARIANT == 0 ? 0 : UINT64_MAX - VARIANT + 1);
  support_until_blocked(&blocked.number);
  take_range(&fast, 0, CAPACITY);
  ck_assert_int_eq(try_take(&fast), UV_EAGAIN);
  ck_assert_uint_eq(take(&slow), 0);
  blocked_join(&blocked, 2);
  ck_assert_uint_eq(take(&fast), CAPACITY);
  take_range(&slow, 1, CAPACITY + 1);
  close_rx(&slow);
  close_rx(&fast);
  drop_sender(&tx);
}
END_TEST

START_TEST(threads_and_requests_wait_in_one_line) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  blocked_t blocked[3];
  asker_t askers[3];
  uint64_t value;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY);
  for (i = 0; i < 3; i++) {
    ask(&loop, &askers[i], &tx, CAPACITY + 2 * i);
    blocked_start(&blocked[i], &tx, CAPACITY + 2 * i + 1);
  }
  for (i = 0; i < CAPACITY + 6; i++) {
    if (i < 6) { /* as many are in the line, or it is full again */
      ck_assert_int_eq(try_put(&tx, 1000), UV_EAGAIN);
    }
    ck_assert_int_eq(uvch_broadcast_recv_wait(&rx, &value), 0);
    ck_assert_uint_eq(value, i);
  }
  support_loop_run(&loop);
  for (i = 0; i < 3; i++) {
    check_done(&askers[i], 1);
    blocked_join(&blocked[i], 1);
  }
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  close_rx(&rx);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(a_timed_send_waits_at_least_its_time_and_sends_nothing) {
  static const uint64_t times[] = {0, 1, 1000, 1000000, 20000000};
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 1000;
  uint64_t began;
  size_t i;

  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY - 1);
  value = CAPACITY - 1;
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 0), 1); /* with room the clock is not looked at */
  value = 1000;
  for (i = 0; i < COUNT(times); i++) {
    began = uv_hrtime();
    ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, times[i]), UV_ETIMEDOUT);
    ck_assert_uint_ge(uv_hrtime() - began, times[i]);
    ck_assert_uint_eq(uvch_broadcast_sender_strong_count(&tx), 1);
  }
  ck_assert_uint_eq(take(&rx), 0);
  ck_assert_int_eq(try_put(&tx, CAPACITY), 1); /* nobody waits */
  take_range(&rx, 1, CAPACITY + 1);
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  close_rx(&rx);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 0), UV_EPIPE); /* before the time */
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, &value), UV_EPIPE);
  drop_sender(&tx);
}
END_TEST

START_TEST(a_thread_that_gives_up_loses_its_place_and_the_next_is_served) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  blocked_t second;
  blocked_t first;

  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY);
  blocked_begin(&first, &tx, 1000, 50000000);
  support_until(atomic_load(&first.number) != 0);
  blocked_start(&second, &tx, CAPACITY);
  blocked_join(&first, UV_ETIMEDOUT);
  ck_assert_uint_eq(take(&rx), 0);
  blocked_join(&second, 1);
  take_range(&rx, 1, CAPACITY + 1);
  ck_assert_int_eq(try_take(&rx), UV_EAGAIN);
  close_rx(&rx);
  drop_sender(&tx);
}
END_TEST

START_TEST(the_sender_of_a_blocked_thread_keeps_the_channel_open) {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t clone;
  uvch_broadcast_sender_t tx;
  blocked_t blocked;

  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, &clone), 0);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY);
  blocked_start(&blocked, &clone, CAPACITY);
  drop_sender(&tx);
  ck_assert_uint_eq(uvch_broadcast_receiver_strong_count(&rx), 1);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&rx), 0);
  ck_assert_uint_eq(take(&rx), 0);
  blocked_join(&blocked, 1);
  drop_sender(&clone);
  take_range(&rx, 1, CAPACITY + 1);
  ck_assert_int_eq(try_take(&rx), UV_EOF);
  close_rx(&rx);
}
END_TEST

/* The loop that would have to make room is the one that would sleep. */
static void blocking_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  uvch_broadcast_sender_t* tx = rx->data;
  uint64_t value = 1;

  (void) item;
  support_check_eq(status, 0);
  while (try_put(tx, 1) > 0) {}
  support_check_eq(uvch_broadcast_send_wait(tx, &value), UV_EPERM);
  support_check_eq(uvch_broadcast_send_timedwait(tx, &value, UINT64_MAX), UV_EPERM);
  close_rx(rx);
}

START_TEST(sleeping_is_refused_on_the_loop_of_a_receiver) {
  uvch_broadcast_receiver_t plain;
  uvch_broadcast_receiver_t far;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  uint64_t value = 1;
  uv_loop_t loop;
  uv_loop_t other;

  support_loop_init(&loop);
  support_loop_init(&other);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_WAIT);
  subscribe(NULL, &plain, &tx);
  subscribe(&other, &far, &tx); /* nobody has run that one */
  subscribe(&loop, &rx, &tx);
  rx.data = &tx;
  ck_assert_int_eq(uvch_broadcast_recv_start(&rx, blocking_cb), 0);
  turn(&loop);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, &value), 3); /* with room it does not have to sleep */
  support_loop_run(&loop);
  ck_assert_int_eq(uvch_broadcast_send_timedwait(&tx, &value, 1000), UV_ETIMEDOUT); /* it has no receiver now */
  close_rx(&plain);
  close_rx(&far);
  ck_assert_int_eq(uvch_broadcast_send_wait(&tx, &value), UV_EPIPE);
  drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&other);
}
END_TEST

/* Nothing is lost, whoever waits how, and all receivers see one order. */

#define WIDE_SENDERS 4
#define WIDE_RECEIVERS 5

typedef struct wide_s wide_t;

/* Which of the senders came in what order, folded into one number. */
typedef struct reader_s {
  wide_t* wide;
  uvch_broadcast_receiver_t rx;
  uint64_t next[WIDE_SENDERS + 1];
  uint64_t count;
  uint64_t trace;
  size_t turn;
  uv_thread_t thread;
} reader_t;

typedef struct writer_s {
  wide_t* wide;
  uvch_broadcast_sender_t tx;
  size_t index;
  uv_thread_t thread;
} writer_t;

struct wide_s {
  uv_loop_t loop;
  uv_loop_t far;
  reader_t readers[WIDE_RECEIVERS]; /* the last two are on threads */
  writer_t writers[WIDE_SENDERS];
  chain_t chain;
  uint64_t each;
  support_result_t result;
};

static void reader_note(reader_t* reader, const void* item) {
  uint64_t value;
  size_t sender;

  memcpy(&value, item, sizeof(value));
  sender = (size_t) (value >> 32);
  if (!support_expect(&reader->wide->result, sender <= WIDE_SENDERS)) {
    return;
  }
  support_expect_eq(&reader->wide->result, value & UINT32_MAX, reader->next[sender]);
  reader->next[sender] += 1;
  reader->count += 1;
  reader->trace = reader->trace * 31 + value + 1;
}

static void reader_end(reader_t* reader, int status) {
  support_expect_eq(&reader->wide->result, status, UV_EOF);
  support_expect_eq(&reader->wide->result, uvch_close((uvch_handle_t*) &reader->rx, NULL), 0);
}

static void reader_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  reader_t* reader = rx->data;

  if (status != 0) {
    reader_end(reader, status);
  } else {
    reader_note(reader, item);
  }
}

static void reader_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  reader_t* reader = rx->data;
  size_t i;

  if (status != 0) {
    reader_end(reader, status);
  }
  for (i = 0; i < count; i++) {
    reader_note(reader, (const char*) first + i * stride);
  }
}

static void read_asleep(void* arg) {
  reader_t* reader = arg;
  uint64_t value;
  int err;

  do {
    if (reader->turn++ % 2 == 0) {
      err = uvch_broadcast_recv_wait(&reader->rx, &value);
    } else {
      err = uvch_broadcast_recv_timedwait(&reader->rx, &value, 20000);
    }
    if (err == 0) {
      reader_note(reader, &value);
    }
  } while (err == 0 || err == UV_ETIMEDOUT);
  reader_end(reader, err);
}

static int write_one(writer_t* writer, const uint64_t* value) {
  int answer;

  if (writer->index == 0) {
    return uvch_broadcast_send_wait(&writer->tx, value);
  }
  do {
    if (writer->index == 1) {
      answer = uvch_broadcast_send_timedwait(&writer->tx, value, 20000);
    } else if (writer->index == 2) {
      answer = uvch_broadcast_send_many(&writer->tx, value, 1);
    } else {
      answer = uvch_broadcast_send(&writer->tx, value);
    }
    if (answer == UV_EAGAIN) {
      support_yield();
    }
  } while (answer == UV_EAGAIN || answer == UV_ETIMEDOUT);
  return answer;
}

static void write_all(void* arg) {
  writer_t* writer = arg;
  uint64_t value;
  uint64_t i;

  for (i = 0; i < writer->wide->each; i++) {
    value = (uint64_t) writer->index << 32 | i;
    if (!support_expect(&writer->wide->result, write_one(writer, &value) > 0)) {
      break;
    }
  }
  support_expect_eq(&writer->wide->result, uvch_broadcast_sender_close(&writer->tx), 0);
}

static void wide_open(wide_t* w, const shape_t* shape) {
  uvch_broadcast_sender_t tx;
  size_t i;

  support_loop_init(&w->loop);
  support_loop_init(&w->far);
  open_channel(&tx, shape, UVCH_BROADCAST_WAIT);
  for (i = 0; i < WIDE_RECEIVERS; i++) {
    w->readers[i].wide = w;
    subscribe(i < 3 ? &w->loop : NULL, &w->readers[i].rx, &tx);
    w->readers[i].rx.data = &w->readers[i];
  }
  for (i = 0; i < WIDE_SENDERS; i++) {
    w->writers[i].wide = w;
    w->writers[i].index = i;
    ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, &w->writers[i].tx), 0);
  }
  w->chain.tx = tx;
  w->chain.loop = &w->far;
  w->chain.value = (uint64_t) WIDE_SENDERS << 32;
  w->chain.end = w->chain.value + w->each;
  w->chain.result = &w->result;
}

static void wide_start(wide_t* w, support_runner_t* runner) {
  size_t i;

  ck_assert_int_eq(uvch_broadcast_recv_start(&w->readers[0].rx, reader_cb), 0);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&w->readers[1].rx, 64, reader_many_cb), 0);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&w->readers[2].rx, 3, reader_many_cb), 0);
  support_spawn(&w->readers[3].thread, read_asleep, &w->readers[3]);
  support_spawn(&w->readers[4].thread, read_asleep, &w->readers[4]);
  chain_next(&w->chain);
  support_runner_start(runner, &w->far);
  for (i = 0; i < WIDE_SENDERS; i++) {
    support_spawn(&w->writers[i].thread, write_all, &w->writers[i]);
  }
}

START_TEST(nothing_is_ever_lost_and_all_receivers_see_one_order) {
  support_runner_t runner;
  static wide_t w;
  size_t i;

  memset(&w, 0, sizeof(w));
  w.each = support_scale(1000);
  wide_open(&w, SHAPE);
  wide_start(&w, &runner);
  support_loop_end(&w.loop);
  for (i = 0; i < WIDE_SENDERS; i++) {
    support_join(&w.writers[i].thread);
  }
  support_runner_join(&runner);
  support_join(&w.readers[3].thread);
  support_join(&w.readers[4].thread);
  support_result_check(&w.result);
  for (i = 0; i < WIDE_RECEIVERS; i++) {
    ck_assert_uint_eq(w.readers[i].count, (WIDE_SENDERS + 1) * w.each);
    ck_assert_uint_eq(w.readers[i].trace, w.readers[0].trace);
  }
  support_loop_end(&w.far);
}
END_TEST

/* DISCONNECT. */

START_TEST(who_has_missed_a_message_is_cut_off_for_good_and_the_others_go_on) {
  uvch_broadcast_receiver_t slow;
  uvch_broadcast_receiver_t fast;
  uvch_broadcast_sender_t tx;
  uint64_t value;
  uint64_t i;

  open_channel(&tx, SHAPE, UVCH_BROADCAST_DISCONNECT);
  subscribe(NULL, &slow, &tx);
  subscribe(NULL, &fast, &tx);
  for (i = 0; i < CAPACITY; i++) {
    ck_assert_int_eq(try_put(&tx, i), 2);
    ck_assert_uint_eq(take(&fast), i);
  }
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&slow), 0); /* nothing is lost yet */
  ck_assert_uint_eq(uvch_broadcast_receiver_len(&slow), CAPACITY);
  ck_assert_uint_eq(take(&slow), 0);
  put(&tx, CAPACITY);
  put(&tx, CAPACITY + 1);
  take_range(&fast, CAPACITY, CAPACITY == 1 ? CAPACITY : CAPACITY + 2);
  ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&slow), 1);
  ck_assert_uint_eq(uvch_broadcast_receiver_len(&slow), 0);
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), 2); /* nobody has noticed */
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(try_take(&slow), UV_ECONNABORTED);
    ck_assert_int_eq(uvch_broadcast_recv_wait(&slow, &value), UV_ECONNABORTED);
    ck_assert_int_eq(uvch_broadcast_recv_timedwait(&slow, &value, 0), UV_ECONNABORTED);
  }
  if (CAPACITY > 1) { /* else this one is cut off, too */
    ck_assert_int_eq(try_put(&tx, CAPACITY + 2), 1);
    ck_assert_uint_eq(take(&fast), CAPACITY + 2);
    ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), 1);
  } else {
    ck_assert_int_eq(try_take(&fast), UV_ECONNABORTED);
    ck_assert_int_eq(try_put(&tx, 0), UV_EPIPE);
  }
  drop_sender(&tx);
  ck_assert_int_eq(try_take(&slow), UV_ECONNABORTED); /* still not the end */
  ck_assert_int_eq(try_take(&fast), CAPACITY > 1 ? UV_EOF : UV_ECONNABORTED);
  close_rx(&slow);
  close_rx(&fast);
}
END_TEST

START_TEST(a_loop_is_told_once_that_a_receiver_is_cut_off) {
  uvch_broadcast_receiver_t other;
  uvch_broadcast_sender_t tx;
  sink_t sinks[3];
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_DISCONNECT);
  for (i = 0; i < COUNT(sinks); i++) {
    sink_open(&sinks[i], &loop, &tx, 0);
    if (i < 2) {
      sink_start(&sinks[i]);
    }
  }
  turn(&loop);
  for (i = 0; i < CAPACITY + 1; i++) {
    put(&tx, i);
    if (VARIANT == 0) {
      turn(&loop); /* those who are started keep up */
    }
  }
  if (VARIANT == 1) {
    support_loop_run(&loop); /* nothing keeps it alive then */
  }
  ck_assert_uint_eq(sinks[0].ends, VARIANT);
  ck_assert_uint_eq(sinks[2].ends, 0); /* not started */
  sink_start(&sinks[2]);
  turn(&loop);
  ck_assert_uint_eq(sinks[2].ends, 1);
  ck_assert_uint_eq(sinks[2].count, 0);
  ck_assert_int_eq(sinks[2].end, UV_ECONNABORTED);
  ck_assert_int_eq(try_take(&sinks[2].rx), UV_ECONNABORTED);
  subscribe(NULL, &other, &tx);
  ck_assert_int_eq(try_put(&tx, i), VARIANT == 0 ? 3 : 1); /* the ones that are cut off do not count any more */
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), VARIANT == 0 ? 3 : 1);
  turn(&loop);
  drop_sender(&tx);
  support_loop_run(&loop);
  for (i = 0; i < COUNT(sinks); i++) {
    ck_assert_uint_eq(sinks[i].ends, 1);
    ck_assert_int_eq(sinks[i].end, VARIANT == 0 && i < 2 ? UV_EOF : UV_ECONNABORTED);
    ck_assert_uint_eq(sinks[i].count, VARIANT == 0 && i < 2 ? CAPACITY + 2 : 0);
    close_rx(&sinks[i].rx);
  }
  close_rx(&other);
  support_loop_end(&loop);
}
END_TEST

START_TEST(who_was_told_that_it_is_cut_off_cannot_start_again) {
  uvch_broadcast_sender_t tx;
  uv_loop_t loop;
  sink_t sink;

  support_loop_init(&loop);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_DISCONNECT);
  sink_open(&sink, &loop, &tx, 0);
  put_range(&tx, 0, CAPACITY + 1);
  if (VARIANT == 0) {
    sink_start(&sink);
    support_loop_run(&loop);
    ck_assert_int_eq(sink.end, UV_ECONNABORTED);
  } else {
    ck_assert_int_eq(try_take(&sink.rx), UV_ECONNABORTED);
  }
  ck_assert_int_eq(uvch_broadcast_recv_start(&sink.rx, sink_cb), UV_ECONNABORTED);
  turn(&loop);
  ck_assert_uint_eq(sink.ends, 1 - VARIANT);
  ck_assert_int_eq(try_put(&tx, 0), UV_EPIPE);
  ck_assert_uint_eq(uvch_broadcast_receiver_strong_count(&sink.rx), 0);
  close_rx(&sink.rx);
  drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

START_TEST(one_that_is_cut_off_can_subscribe_again_under_another_handle) {
  uvch_broadcast_receiver_t again;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;

  open_channel(&tx, SHAPE, UVCH_BROADCAST_DISCONNECT);
  subscribe(NULL, &rx, &tx);
  put_range(&tx, 0, CAPACITY + 1);
  if (VARIANT == 0) { /* before it was told */
    ck_assert_int_eq(uvch_broadcast_resubscribe(NULL, &again, &rx), 0);
    ck_assert_int_eq(try_take(&rx), UV_ECONNABORTED);
  } else {
    ck_assert_int_eq(try_take(&rx), UV_ECONNABORTED);
    ck_assert_int_eq(uvch_broadcast_resubscribe(NULL, &again, &rx), UV_ECONNABORTED);
    subscribe(NULL, &again, &tx);
  }
  ck_assert_int_eq(try_put(&tx, 9), 1);
  ck_assert_uint_eq(take(&again), 9);
  ck_assert_int_eq(try_take(&rx), UV_ECONNABORTED);
  close_rx(&rx);
  close_rx(&again);
  drop_sender(&tx);
}
END_TEST

typedef struct watcher_s {
  uvch_broadcast_closed_t req;
  int status;
  size_t calls;
} watcher_t;

static void watcher_cb(uvch_broadcast_closed_t* req, int status) {
  watcher_t* watcher = req->data;

  watcher->status = status;
  watcher->calls += 1;
}

START_TEST(who_watches_is_told_when_the_last_one_is_cut_off) {
  uvch_broadcast_sender_t tx;
  watcher_t watcher;
  uv_loop_t loop;
  uv_loop_t far;
  sink_t sink;

  memset(&watcher, 0, sizeof(watcher));
  support_loop_init(&loop);
  support_loop_init(&far);
  open_channel(&tx, SHAPE, UVCH_BROADCAST_DISCONNECT);
  sink_open(&sink, VARIANT == 0 ? NULL : &loop, &tx, 0);
  watcher.req.data = &watcher;
  ck_assert_int_eq(uvch_broadcast_closed(&far, &watcher.req, &tx, watcher_cb), 0);
  put_range(&tx, 0, CAPACITY + 1);
  turn(&far);
  ck_assert_uint_eq(watcher.calls, 0);
  if (VARIANT == 0) {
    ck_assert_int_eq(try_take(&sink.rx), UV_ECONNABORTED);
  } else {
    sink_start(&sink);
    support_loop_run(&loop);
  }
  support_loop_run(&far);
  ck_assert_uint_eq(watcher.calls, 1);
  ck_assert_int_eq(watcher.status, 0);
  ck_assert_int_eq(uvch_broadcast_closed_timedwait(&tx, 0), 0);
  close_rx(&sink.rx); /* changes nothing */
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), 0);
  drop_sender(&tx);
  support_loop_end(&loop);
  support_loop_end(&far);
}
END_TEST

/* Each gets the messages from the first one on without a gap, then the end of one kind or the other. */

typedef struct racer_s {
  uvch_broadcast_receiver_t rx;
  uint64_t next;
  int end;
  uv_thread_t thread;
  support_result_t* result;
} racer_t;

static void racer_note(racer_t* racer, uint64_t value) {
  support_expect_eq(racer->result, value, racer->next);
  racer->next += 1;
}

static void racer_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  racer_t* racer = rx->data;

  if (status == 0) {
    racer_note(racer, *(const uint64_t*) item);
    return;
  }
  support_expect_eq(racer->result, racer->end, 0);
  racer->end = status;
}

static void race_asleep(void* arg) {
  racer_t* racer = arg;
  uint64_t value;

  while ((racer->end = uvch_broadcast_recv_wait(&racer->rx, &value)) == 0) {
    racer_note(racer, value);
  }
  support_expect_eq(racer->result, uvch_broadcast_recv_wait(&racer->rx, &value), racer->end);
}

typedef struct course_s {
  uvch_broadcast_sender_t tx;
  uint64_t count;
  size_t pause; /* sends between two yields */
  support_result_t* result;
} course_t;

static void run_course(void* arg) {
  course_t* course = arg;
  uint64_t i;
  int answer;

  for (i = 0; i < course->count; i++) {
    answer = uvch_broadcast_send(&course->tx, &i);
    if (answer == UV_EPIPE) { /* all are cut off and know it */
      break;
    }
    support_expect(course->result, answer > 0);
    if (i % course->pause == 0) {
      support_yield();
    }
  }
  support_expect_eq(course->result, uvch_broadcast_sender_close(&course->tx), 0);
}

START_TEST(whoever_is_too_slow_has_seen_a_whole_beginning) {
  enum { ON_LOOP = 2, RACERS = 4 };
  support_result_t result;
  racer_t racers[RACERS];
  uv_thread_t thread;
  course_t course;
  uv_loop_t loop;
  size_t round;
  size_t i;

  for (round = 0; round < support_scale(20); round++) {
    memset(&result, 0, sizeof(result));
    memset(racers, 0, sizeof(racers));
    memset(&course, 0, sizeof(course));
    course.count = 2000;
    course.pause = 1 + round % 7;
    course.result = &result;
    support_loop_init(&loop);
    open_channel(&course.tx, SHAPE, UVCH_BROADCAST_DISCONNECT);
    for (i = 0; i < RACERS; i++) {
      subscribe(i < ON_LOOP ? &loop : NULL, &racers[i].rx, &course.tx);
      racers[i].rx.data = &racers[i];
      racers[i].result = &result;
    }
    for (i = 0; i < RACERS; i++) {
      if (i < ON_LOOP) {
        support_check_eq(uvch_broadcast_recv_start(&racers[i].rx, racer_cb), 0);
      } else {
        support_spawn(&racers[i].thread, race_asleep, &racers[i]);
      }
    }
    support_spawn(&thread, run_course, &course);
    support_loop_run(&loop);
    support_join(&thread);
    for (i = 0; i < RACERS; i++) {
      if (i >= ON_LOOP) {
        support_join(&racers[i].thread);
      }
      support_check(racers[i].end == UV_EOF || racers[i].end == UV_ECONNABORTED);
      support_check(racers[i].end == UV_ECONNABORTED || racers[i].next == course.count);
      support_check_eq(try_take(&racers[i].rx), racers[i].end);
      close_rx(&racers[i].rx);
    }
    support_result_check(&result);
    support_loop_end(&loop);
  }
}
END_TEST

/* LAG. */

typedef struct laggard_s {
  uvch_broadcast_receiver_t rx;
  uint64_t next;
  uint64_t count;
  uint64_t missed;
  size_t turn;
  bool exact; /* there is one sender, so that the numbers of the messages are known */
  uv_thread_t thread;
  support_result_t* result;
} laggard_t;

static void laggard_note(laggard_t* laggard, const void* item) {
  uint64_t value;

  memcpy(&value, item, sizeof(value));
  if (laggard->exact) {
    support_expect_eq(laggard->result, value, laggard->next);
  }
  laggard->next += 1;
  laggard->count += 1;
}

static void laggard_gap(laggard_t* laggard, int status) {
  support_expect_eq(laggard->result, uvch_broadcast_receiver_missed(&laggard->rx), status);
  laggard->next += (uint64_t) status;
  laggard->missed += (uint64_t) status;
}

static void laggard_rest(laggard_t* laggard, int status) {
  if (status > 0) {
    laggard_gap(laggard, status);
    return;
  }
  support_expect_eq(laggard->result, status, UV_EOF);
  support_expect_eq(laggard->result, uvch_close((uvch_handle_t*) &laggard->rx, NULL), 0);
}

static void laggard_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  laggard_t* laggard = rx->data;

  if (status == 0) {
    laggard_note(laggard, item);
  } else {
    laggard_rest(laggard, status);
  }
}

static void laggard_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  laggard_t* laggard = rx->data;
  size_t i;

  for (i = 0; i < count; i++) {
    laggard_note(laggard, (const char*) first + i * stride);
  }
  if (status != 0) {
    laggard_rest(laggard, status);
  }
}

static void lag_asleep(void* arg) {
  laggard_t* laggard = arg;
  uint64_t value;
  int status;

  while ((status = uvch_broadcast_recv_wait(&laggard->rx, &value)) >= 0) {
    if (status == 0) {
      laggard_note(laggard, &value);
    } else {
      laggard_gap(laggard, status);
    }
    if (++laggard->turn % 50 == 0) {
      support_yield();
    }
  }
  laggard_rest(laggard, status);
}

START_TEST(what_a_receiver_got_and_what_it_missed_is_all_that_was_sent) {
  enum { LAGGARDS = 4, SENDERS = 3 };
  size_t senders = VARIANT == 0 ? 1 : SENDERS;
  laggard_t laggards[LAGGARDS];
  uv_thread_t threads[SENDERS];
  course_t courses[SENDERS];
  support_result_t result;
  uv_loop_t loop;
  size_t i;

  memset(&result, 0, sizeof(result));
  memset(laggards, 0, sizeof(laggards));
  memset(courses, 0, sizeof(courses));
  support_loop_init(&loop);
  open_channel(&courses[0].tx, SHAPE, UVCH_BROADCAST_LAG);
  for (i = 0; i < LAGGARDS; i++) {
    subscribe(i < 2 ? &loop : NULL, &laggards[i].rx, &courses[0].tx);
    laggards[i].rx.data = &laggards[i];
    laggards[i].exact = senders == 1;
    laggards[i].result = &result;
  }
  ck_assert_int_eq(uvch_broadcast_recv_start(&laggards[0].rx, laggard_cb), 0);
  ck_assert_int_eq(uvch_broadcast_recv_many_start(&laggards[1].rx, 64, laggard_many_cb), 0);
  for (i = 0; i < senders; i++) {
    if (i > 0) {
      ck_assert_int_eq(uvch_broadcast_sender_clone(&courses[0].tx, &courses[i].tx), 0);
    }
    courses[i].count = support_scale(20000);
    courses[i].pause = 100;
    courses[i].result = &result;
  }
  support_spawn(&laggards[2].thread, lag_asleep, &laggards[2]);
  support_spawn(&laggards[3].thread, lag_asleep, &laggards[3]);
  for (i = 0; i < senders; i++) {
    support_spawn(&threads[i], run_course, &courses[i]);
  }
  support_loop_end(&loop);
  for (i = 0; i < senders; i++) {
    support_join(&threads[i]);
  }
  support_join(&laggards[2].thread);
  support_join(&laggards[3].thread);
  support_result_check(&result);
  for (i = 0; i < LAGGARDS; i++) {
    ck_assert_uint_eq(laggards[i].count + laggards[i].missed, senders * courses[0].count);
    ck_assert_uint_ge(laggards[i].count, CAPACITY); /* what was kept at the end */
  }
}
END_TEST

static void add_requests(Suite* suite) {
  TCase* tcase = support_case(suite, "requests");

  add_for_every_shape(tcase, with_room_a_request_sends_at_once_and_calls_back_from_the_loop, 3);
  add_for_every_shape(tcase, where_nobody_is_waited_for_requests_and_blocking_sends_go_in_at_once, 2);
  add_for_every_shape(tcase, waiting_requests_go_in_and_call_back_in_the_order_they_were_made, 1);
  add_for_every_shape(tcase, nobody_passes_those_who_wait, 1);
  add_for_every_shape(tcase, a_callback_does_not_pass_those_who_wait, 2);
  add_for_every_shape(tcase, a_cancelled_request_gives_its_message_back_and_the_others_keep_their_order, 6);
  add_for_every_shape(tcase, cancelling_all_who_wait_opens_the_channel_again, 1);
  add_for_every_shape(tcase, a_request_counts_as_a_sender, 2);
  add_for_every_shape(tcase, the_end_comes_to_a_loop_after_the_message_of_the_last_request, 1);
  add_for_every_shape(tcase, closing_the_slowest_lets_in_those_who_wait, 2);
  add_for_every_shape(tcase, when_the_last_receiver_goes_all_who_wait_are_told_and_keep_their_messages, 2);
  add_for_every_shape(tcase, a_refused_request_never_calls_back, 1);
  add_for_every_shape(tcase, a_request_can_be_used_again_in_its_callback, 1);
  add_for_every_shape(tcase, a_program_may_close_the_librarys_handles_under_a_request, 2);
}

static void add_wait(Suite* suite) {
  TCase* room = support_case(suite, "room");
  TCase* threads = support_case(suite, "threads");

  add_for_every_shape(room, any_row_of_calls_does_what_the_model_says, 3);
  add_for_every_shape(room, a_send_finds_no_room_exactly_while_the_slowest_has_not_read, 1);
  add_for_every_shape(room, closing_the_slowest_makes_room_and_a_new_receiver_takes_none, 1);
  add_for_every_shape(room, of_many_messages_as_many_go_in_as_there_is_room_for, 1);
  add_for_every_shape(room, a_stopped_receiver_of_a_loop_holds_the_senders_up_until_it_starts_again, 1);
  add_for_every_shape(room, a_receiver_that_is_behind_holds_the_senders_up_also_after_it_was_attached_beside_another, 2);
  add_for_every_shape(threads, a_blocked_send_goes_in_when_the_slowest_reads, 3);
  add_for_every_shape(threads, threads_and_requests_wait_in_one_line, 1);
  add_for_every_shape(threads, a_timed_send_waits_at_least_its_time_and_sends_nothing, 1);
  add_for_every_shape(threads, a_thread_that_gives_up_loses_its_place_and_the_next_is_served, 1);
  add_for_every_shape(threads, the_sender_of_a_blocked_thread_keeps_the_channel_open, 1);
  add_for_every_shape(threads, sleeping_is_refused_on_the_loop_of_a_receiver, 1);
  add_for_every_shape(threads, nothing_is_ever_lost_and_all_receivers_see_one_order, 1);
}

static void add_rest(Suite* suite) {
  TCase* disconnect = support_case(suite, "disconnect");
  TCase* lag = support_case(suite, "lag");

  add_for_every_shape(disconnect, who_has_missed_a_message_is_cut_off_for_good_and_the_others_go_on, 1);
  add_for_every_shape(disconnect, a_loop_is_told_once_that_a_receiver_is_cut_off, 2);
  add_for_every_shape(disconnect, who_was_told_that_it_is_cut_off_cannot_start_again, 2);
  add_for_every_shape(disconnect, one_that_is_cut_off_can_subscribe_again_under_another_handle, 2);
  add_for_every_shape(disconnect, who_watches_is_told_when_the_last_one_is_cut_off, 2);
  add_for_every_shape(disconnect, whoever_is_too_slow_has_seen_a_whole_beginning, 1);
  add_for_every_shape(lag, what_a_receiver_got_and_what_it_missed_is_all_that_was_sent, 2);
}

int main(void) {
  Suite* suite = suite_create("broadcast_policy");

  add_wait(suite);
  add_requests(suite);
  add_rest(suite);
  return support_main(suite);
}
