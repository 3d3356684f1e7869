/* SPDX-License-Identifier: MIT
 *
 * A scene of one broadcast channel. The parts up to `readers` receive, on a thread or a loop, to the end or not; the others send.
 * All receivers are there before the first message, so each that stays has seen all messages or was told how many it missed. Now and
 * then one takes another receiver in the place of its own, which has seen only what came since.
 *
 * With a drop function the messages are counted that end: each does so once. */
#include "stress.h"

#include <stdio.h>

#define SOME 8

struct broadcast_scene {
  struct scene base;
  size_t size;
  size_t capacity;
  uvch_broadcast_policy policy;
  bool has_drop;
  size_t readers;
  atomic_uint_least64_t made;    /* values: sent and copied */
  atomic_uint_least64_t dropped; /* values: ended by the channel, and copies by who has them */
  struct reader {
    struct broadcast_scene* scene;
    struct player* self;
    uvch_broadcast_receiver_t rx[2];
    size_t current;
    size_t made; /* receivers */
    struct tally got[PARTS_MAX];
    uint64_t delivered;
    uint64_t missed;
    uint64_t leave_at; /* messages after which it leaves */
    bool is_late;      /* has not seen all from the beginning */
    bool is_ended;
    bool is_cut; /* it left before the end, or was disconnected */
    bool is_closed;
  } all[PARTS_MAX];
  uvch_broadcast_sender_t tx[PARTS_MAX];
};

/* Values. */

static int on_copy(void* to, const void* from, void* arg) {
  struct broadcast_scene* s = arg;

  memcpy(to, from, s->size);
  atomic_fetch_add(&s->made, 1);
  return 0;
}

static void on_drop(void* item, void* arg) {
  struct broadcast_scene* s = arg;

  (void) parcel_open(item, s->size, s->base.number);
  atomic_fetch_add(&s->dropped, 1);
}

/* Receivers. */

static uvch_broadcast_receiver_t* rx_of(struct reader* r) {
  return &r->rx[r->current];
}

static void close_it(struct reader* r) {
  r->is_ended = r->is_closed = true;
  expect_eq(uvch_close((uvch_handle_t*) rx_of(r), NULL), 0);
}

static void leave_maybe(struct reader* r) {
  if (!r->is_ended && r->delivered >= r->leave_at) {
    r->is_cut = true;
    close_it(r);
  }
}

static void take(struct reader* r, const void* item) {
  tally_got(r->got, item, r->scene->size, r->scene->base.number);
  r->delivered++;
  now_in(r->self, "reads");
}

/* What is no message. */
static void take_status(struct reader* r, int status) {
  if (status > 0) {
    expect(r->scene->policy == UVCH_BROADCAST_LAG);
    expect_eq(uvch_broadcast_receiver_missed(rx_of(r)), status);
    r->missed += (uint64_t) status;
    return;
  }
  if (status == UV_ECONNABORTED) {
    expect(r->scene->policy == UVCH_BROADCAST_DISCONNECT);
    r->is_cut = true;
  } else {
    expect_eq(status, UV_EOF);
  }
  r->is_ended = true;
}

/* Another receiver in the place of this one; it can be done once. */
static void change_receiver(struct reader* r, uv_loop_t* loop) {
  uvch_broadcast_receiver_t* next = &r->rx[1];

  if (r->current != 0 || r->is_ended)
    return;
  expect_eq(uvch_broadcast_resubscribe(loop, next, rx_of(r)), 0);
  expect_eq(uvch_broadcast_receiver_same_channel(next, rx_of(r)), 1);
  expect_eq(uvch_close((uvch_handle_t*) rx_of(r), NULL), 0);
  next->data = r;
  r->current = 1;
  r->is_late = true;
}

/* On a loop. */

static void recv_start(struct reader* r);

static void after_callback(struct reader* r) {
  leave_maybe(r);
  if (r->is_ended)
    return;
  switch (draw(r->self, 2048)) {
    case 0:
      (void) uv_run(&r->self->loop, UV_RUN_NOWAIT);
      break;
    case 1:
      expect_eq(uvch_broadcast_recv_stop(rx_of(r)), 0);
      recv_start(r);
      break;
    case 2:
      change_receiver(r, &r->self->loop);
      if (uvch_is_active((uvch_handle_t*) rx_of(r)) == 0)
        recv_start(r);
      break;
    default:
      break;
  }
}

static void end_on_loop(struct reader* r, int status) {
  take_status(r, status);
  if (r->is_ended && !r->is_closed)
    close_it(r);
}

static void on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  struct reader* r = rx->data;

  if (status != 0) {
    end_on_loop(r, status);
    return;
  }
  take(r, item);
  after_callback(r);
}

static void on_recv_many(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  struct reader* r = rx->data;
  size_t i;

  if (status != 0) {
    end_on_loop(r, status);
    return;
  }
  expect(count > 0);
  for (i = 0; i < count; i++)
    take(r, (const char*) first + i * stride);
  after_callback(r);
}

static void recv_start(struct reader* r) {
  if (draw(r->self, 2) == 0)
    expect_eq(uvch_broadcast_recv_start(rx_of(r), on_recv), 0);
  else
    expect_eq(uvch_broadcast_recv_many_start(rx_of(r), 1 + (size_t) draw(r->self, 100), on_recv_many), 0);
}

static void read_on_loop(struct reader* r) {
  uv_loop_t* loop = player_loop(r->self);

  expect_eq(uvch_attach(loop, (uvch_handle_t*) rx_of(r)), 0);
  recv_start(r);
  leave_maybe(r);
  now_in(r->self, "uv_run, reading");
  expect_eq(player_run(r->self, UV_RUN_DEFAULT), 0);
  expect(r->is_ended);
}

/* On a thread. */

static int receive(struct reader* r, void* item) {
  switch (draw(r->self, 3)) {
    case 0:
      return uvch_broadcast_try_recv(rx_of(r), item);
    case 1:
      now_in(r->self, "uvch_broadcast_recv_timedwait");
      return uvch_broadcast_recv_timedwait(rx_of(r), item, draw_time(r->self));
    default:
      now_in(r->self, "uvch_broadcast_recv_wait");
      return uvch_broadcast_recv_wait(rx_of(r), item);
  }
}

static void read_on_thread(struct reader* r) {
  char item[ITEM_MAX];
  int err;

  for (leave_maybe(r); !r->is_ended; leave_maybe(r)) {
    err = receive(r, item);
    if (err == 0) {
      take(r, item);
      if (r->scene->has_drop)
        on_drop(item, r->scene); /* a copy */
    } else if (err != UV_EAGAIN && err != UV_ETIMEDOUT) {
      take_status(r, err);
    }
    if (draw(r->self, 2048) == 0)
      change_receiver(r, NULL);
  }
  if (!r->is_closed)
    close_it(r);
}

/* Senders. */

struct sender {
  struct player* self;
  struct broadcast_scene* scene;
  size_t part;
  struct tally* sent;
  uvch_broadcast_sender_t tx;
  uint64_t number;
  size_t count; /* of the messages in hand */
  char items[SOME * ITEM_MAX];
  uvch_broadcast_send_t send;
  bool is_gone;
};

static bool wants_more(const struct sender* me) {
  return !me->is_gone && me->sent->count < me->scene->base.quota;
}

static void prepare(struct sender* me, size_t count) {
  size_t size = me->scene->size;
  size_t i;

  me->count = count;
  for (i = 0; i < count; i++)
    parcel_make(me->items + i * size, size, me->scene->base.number, me->part, me->number++);
}

/* A value counts before it can end. */
static void begin(struct sender* me, size_t count) {
  prepare(me, count);
  if (me->scene->has_drop)
    atomic_fetch_add(&me->scene->made, count);
}

/* `count`: how many went in; or an error. */
static void account(struct sender* me, int count) {
  size_t in = count > 0 ? (size_t) count : 0;

  if (count < 0)
    expect(count == UV_EPIPE || count == UV_EAGAIN || count == UV_ETIMEDOUT || count == UV_ECANCELED);
  me->is_gone |= count == UV_EPIPE;
  tally_sent(me->sent, me->items, me->scene->size, in);
  if (me->scene->has_drop)
    atomic_fetch_sub(&me->scene->made, me->count - in);
  now_in(me->self, "sends");
}

/* From the number of receivers to that of messages. */
static int one(int result) {
  return result > 0 ? 1 : result;
}

static void change_sender(struct sender* me) {
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_sender_t tx;

  if (draw(me->self, 2) == 0) {
    expect_eq(uvch_broadcast_sender_clone(&me->tx, &tx), 0);
  } else {
    expect_eq(uvch_broadcast_sender_downgrade(&me->tx, &weak), 0);
    expect_eq(uvch_broadcast_weak_sender_upgrade(&weak, &tx), 0);
    expect_eq(uvch_broadcast_weak_sender_close(&weak), 0);
  }
  expect_eq(uvch_broadcast_sender_close(&me->tx), 0);
  me->tx = tx;
}

static size_t some(struct sender* me) {
  uint64_t left = me->scene->base.quota - me->sent->count;

  return 1 + (size_t) draw(me->self, left < SOME ? left : SOME);
}

static void send_on_thread(struct sender* me) {
  while (wants_more(me)) {
    switch (draw(me->self, 4)) {
      case 0:
        begin(me, 1);
        account(me, one(uvch_broadcast_send(&me->tx, me->items)));
        break;
      case 1:
        begin(me, some(me));
        account(me, uvch_broadcast_send_many(&me->tx, me->items, me->count));
        break;
      case 2:
        begin(me, 1);
        now_in(me->self, "uvch_broadcast_send_wait");
        account(me, one(uvch_broadcast_send_wait(&me->tx, me->items)));
        break;
      default:
        begin(me, 1);
        now_in(me->self, "uvch_broadcast_send_timedwait");
        account(me, one(uvch_broadcast_send_timedwait(&me->tx, me->items, draw_time(me->self))));
        break;
    }
    if (draw(me->self, 64) == 0)
      change_sender(me);
  }
}

static void next_send(struct sender* me);

static void on_sent(uvch_broadcast_send_t* req, int status) {
  struct sender* me = req->data;

  account(me, one(status));
  next_send(me);
}

static void next_send(struct sender* me) {
  int err;

  if (!wants_more(me))
    return;
  begin(me, 1);
  me->send.data = me;
  err = uvch_broadcast_queue_send(&me->self->loop, &me->send, &me->tx, me->items, on_sent);
  if (err != 0)
    account(me, err);
  else if (draw(me->self, 16) == 0)
    expect_in(uvch_cancel((uvch_req_t*) &me->send), 0, UV_EBUSY);
}

static void send_on_loop(struct sender* me) {
  (void) player_loop(me->self);
  now_in(me->self, "uv_run, sending");
  next_send(me);
  expect_eq(player_run(me->self, UV_RUN_DEFAULT), 0);
}

static void send_all(struct player* self, struct broadcast_scene* s, size_t part) {
  struct sender me;

  memset(&me, 0, sizeof me);
  me.self = self;
  me.scene = s;
  me.part = part;
  me.sent = &s->base.sent[part];
  me.tx = s->tx[part];
  if (draw(self, 3) > 0)
    send_on_thread(&me);
  else
    send_on_loop(&me);
  if (me.is_gone && part == s->readers) { /* who is gone for another reason does not see the end yet */
    now_in(self, "uvch_broadcast_closed_timedwait");
    expect_in(uvch_broadcast_closed_timedwait(&me.tx, draw_time(self)), 0, UV_ETIMEDOUT);
  }
  expect_eq(uvch_broadcast_sender_close(&me.tx), 0);
}

/* The scene. */

static void make(struct player* self, struct scene* scene) {
  static const size_t sizes[] = {sizeof(struct parcel), 56, ITEM_MAX};
  struct broadcast_scene* s = (struct broadcast_scene*) scene;
  uvch_broadcast_options_t options;
  size_t i;

  s->size = sizes[draw(self, 3)];
  s->capacity = (size_t) draw_size(self, 512);
  s->policy = (uvch_broadcast_policy) draw(self, 3);
  s->has_drop = draw(self, 2) == 0;
  s->readers = 1 + (size_t) draw(self, scene->parts - 1);
  scene->quota = 1 + scene->quota / (s->policy == UVCH_BROADCAST_WAIT && s->capacity < 16 ? 64 : 8);
  memset(&options, 0, sizeof options);
  options.policy = s->policy;
  options.arg = s;
  if (s->has_drop) {
    options.copy = on_copy;
    options.drop = on_drop;
  }
  expect_eq(uvch_broadcast_init_ex(NULL, &s->all[0].rx[0], &s->tx[s->readers], s->size, s->capacity, &options), 0);
  for (i = 1; i < s->readers; i++)
    expect_eq(uvch_broadcast_subscribe(NULL, &s->all[i].rx[0], &s->tx[s->readers]), 0);
  for (i = 0; i < s->readers; i++) {
    s->all[i].scene = s;
    s->all[i].rx[0].data = &s->all[i];
    s->all[i].leave_at = draw(self, 2) == 0 ? UINT64_MAX : draw_size(self, scene->quota * (scene->parts - s->readers));
  }
  for (i = s->readers + 1; i < scene->parts; i++)
    expect_eq(uvch_broadcast_sender_clone(&s->tx[s->readers], &s->tx[i]), 0);
}

static void play(struct player* self, struct scene* scene, size_t part) {
  struct broadcast_scene* s = (struct broadcast_scene*) scene;
  struct reader* r = &s->all[part];

  if (part >= s->readers) {
    send_all(self, s, part);
    return;
  }
  r->self = self;
  if (draw(self, 2) == 0)
    read_on_loop(r);
  else
    read_on_thread(r);
}

/* Who was there all the time has had all messages, but for those that it was told it missed. */
static void check_reader(const struct broadcast_scene* s, const struct reader* r, uint64_t count) {
  expect(r->delivered + r->missed <= count);
  if (r->is_late || r->is_cut)
    return;
  expect_eq(r->delivered + r->missed, count);
  if (r->missed == 0)
    (void) tally_compare(s->base.sent, r->got);
}

static uint64_t check(struct scene* scene) {
  struct broadcast_scene* s = (struct broadcast_scene*) scene;
  uint64_t count = 0;
  size_t i;

  for (i = s->readers; i < scene->parts; i++)
    count += scene->sent[i].count;
  for (i = 0; i < s->readers; i++)
    check_reader(s, &s->all[i], count);
  if (s->has_drop)
    expect_eq(atomic_load(&s->dropped), atomic_load(&s->made));
  return count;
}

static void describe(const struct scene* scene, char* text, size_t size) {
  static const char* const policies[] = {"lag", "wait", "disconnect"};
  const struct broadcast_scene* s = (const struct broadcast_scene*) scene;

  snprintf(text, size, "%zu places, %zu bytes, %s, %zu of %zu receive, %llu each%s", s->capacity, s->size, policies[s->policy],
           s->readers, scene->parts, (unsigned long long) scene->quota, s->has_drop ? ", with drop" : "");
}

const struct kind kind_broadcast = {"broadcast", sizeof(struct broadcast_scene), 2, make, play, check, describe};
