/* SPDX-License-Identifier: MIT
 *
 * Who sends to an mpsc channel: on a thread with all calls that are there, or on a loop with requests. */
#include "mpsc.h"

#define SOME 8     /* messages that are sent together */
#define REQUESTS 4 /* that wait at the same time */

struct sender {
  struct player* self;
  struct mpsc_scene* scene;
  size_t part;
  struct tally* sent;
  uvch_mpsc_sender_t tx;
  uint64_t number; /* of the next message */
  uint64_t asked;  /* messages that requests have in hand */
  bool is_gone;    /* UV_EPIPE has come */
};

/* Messages that are still to be sent, and are in no request. */
static uint64_t left(const struct sender* me) {
  return me->is_gone ? 0 : me->scene->base.quota - me->sent->count - me->asked;
}

/* Makes the next messages. Those that do not get in are lost, and their numbers with them. */
static size_t prepare(struct sender* me, char* items, uint64_t most) {
  size_t size = me->scene->size;
  size_t n = (size_t) (1 + draw(me->self, most));
  size_t i;

  for (i = 0; i < n; i++)
    parcel_make(items + i * size, size, me->scene->base.number, me->part, me->number++);
  return n;
}

/* `result`: 0 or above is the number that got in; UV_EPIPE or `other` that none did. */
static void account(struct sender* me, const char* items, int result, int other) {
  if (result < 0)
    expect_in(result, UV_EPIPE, other);
  me->is_gone |= result == UV_EPIPE;
  if (result > 0)
    tally_sent(me->sent, items, me->scene->size, (size_t) result);
  now_in(me->self, "sends");
}

static int one(int err) {
  return err == 0 ? 1 : err;
}

/* A thread. */

static void send_one(struct sender* me) {
  char item[ITEM_MAX];

  prepare(me, item, 1);
  switch (draw(me->self, 3)) {
    case 0:
      account(me, item, one(uvch_mpsc_try_send(&me->tx, item)), UV_EAGAIN);
      break;
    case 1:
      now_in(me->self, "uvch_mpsc_send_wait");
      account(me, item, one(uvch_mpsc_send_wait(&me->tx, item)), UV_EPIPE);
      break;
    default:
      now_in(me->self, "uvch_mpsc_send_timedwait");
      account(me, item, one(uvch_mpsc_send_timedwait(&me->tx, item, draw_time(me->self))), UV_ETIMEDOUT);
      break;
  }
}

static void send_burst(struct sender* me) {
  uint64_t n = draw_size(me->self, 256);
  char item[ITEM_MAX];
  int err = 0;

  for (n = n < left(me) ? n : left(me); n > 0 && err == 0; n--) {
    prepare(me, item, 1);
    err = uvch_mpsc_try_send(&me->tx, item);
    account(me, item, one(err), UV_EAGAIN);
  }
}

static void send_many(struct sender* me) {
  char items[SOME * ITEM_MAX];
  size_t n = prepare(me, items, left(me) < SOME ? left(me) : SOME);

  switch (draw(me->self, 3)) {
    case 0:
      account(me, items, uvch_mpsc_try_send_many(&me->tx, items, n), UV_EAGAIN);
      break;
    case 1:
      now_in(me->self, "uvch_mpsc_send_many_wait");
      account(me, items, uvch_mpsc_send_many_wait(&me->tx, items, n), UV_EPIPE);
      break;
    default:
      now_in(me->self, "uvch_mpsc_send_many_timedwait");
      account(me, items, uvch_mpsc_send_many_timedwait(&me->tx, items, n, draw_time(me->self)), UV_ETIMEDOUT);
      break;
  }
}

/* Sends through a permit as long as it has places and somebody gets it, and gives the rest back. */
static void use_permit(struct sender* me, uvch_mpsc_permit_t* permit) {
  char item[ITEM_MAX];
  int err = 0;

  while (uvch_mpsc_permit_count(permit) > 0 && left(me) > 0 && draw(me->self, 8) > 0) {
    prepare(me, item, 1);
    err = uvch_mpsc_permit_send(permit, item);
    account(me, item, one(err), UV_EPIPE);
  }
  if (uvch_mpsc_permit_count(permit) > 0)
    expect_eq(uvch_mpsc_permit_release(permit), 0);
}

static void use_split(struct sender* me, uvch_mpsc_permit_t* permit) {
  uvch_mpsc_permit_t other;

  if (uvch_mpsc_permit_count(permit) > 1 && draw(me->self, 2) == 0) {
    expect_eq(uvch_mpsc_permit_split(permit, 1, &other), 0);
    use_permit(me, &other);
  }
  use_permit(me, permit);
}

static size_t draw_places(struct sender* me) {
  return (size_t) draw_size(me->self, me->scene->capacity < 4 ? me->scene->capacity : 4);
}

static void send_reserved(struct sender* me) {
  size_t n = draw_places(me);
  uvch_mpsc_permit_t permit;
  int other = UV_EPIPE;
  int err;

  switch (draw(me->self, 3)) {
    case 0:
      err = uvch_mpsc_try_reserve(&me->tx, n, &permit);
      other = UV_EAGAIN;
      break;
    case 1:
      now_in(me->self, "uvch_mpsc_reserve_wait");
      err = uvch_mpsc_reserve_wait(&me->tx, n, &permit);
      break;
    default:
      now_in(me->self, "uvch_mpsc_reserve_timedwait");
      err = uvch_mpsc_reserve_timedwait(&me->tx, n, &permit, draw_time(me->self));
      other = UV_ETIMEDOUT;
      break;
  }
  if (err == 0)
    use_split(me, &permit);
  else
    account(me, NULL, err, other);
}

/* Another sender in the place of this one, in one of the ways to come by one. */
static void change_sender(struct sender* me) {
  uvch_mpsc_weak_sender_t other_weak;
  uvch_mpsc_weak_sender_t weak;
  uvch_mpsc_sender_t tx;

  if (draw(me->self, 2) == 0) {
    expect_eq(uvch_mpsc_sender_clone(&me->tx, &tx), 0);
  } else {
    expect_eq(uvch_mpsc_sender_downgrade(&me->tx, &weak), 0);
    expect_eq(uvch_mpsc_weak_sender_clone(&weak, &other_weak), 0);
    expect_eq(uvch_mpsc_weak_sender_close(&weak), 0);
    expect_eq(uvch_mpsc_weak_sender_upgrade(&other_weak, &tx), 0);
    expect_eq(uvch_mpsc_weak_sender_close(&other_weak), 0);
  }
  expect_eq(uvch_mpsc_sender_same_channel(&tx, &me->tx), 1);
  expect_eq(uvch_mpsc_sender_close(&me->tx), 0);
  me->tx = tx;
}

static void look(struct sender* me) {
  uvch_stats_t stats;

  expect_eq(uvch_mpsc_sender_get_stats(&me->tx, &stats), 0);
  expect(stats.sent >= me->sent->count);
  expect(uvch_mpsc_sender_strong_count(&me->tx) > 0);
  now_in(me->self, "uvch_mpsc_closed_timedwait");
  expect_in(uvch_mpsc_closed_timedwait(&me->tx, draw_time(me->self) / 16), 0, UV_ETIMEDOUT);
}

static void send_on_thread(struct sender* me) {
  bool is_bounded = me->scene->capacity != UVCH_UNBOUNDED;

  while (left(me) > 0) {
    uint64_t what = draw(me->self, 64);
    if (what < 16)
      send_one(me);
    else if (what < 32)
      send_burst(me);
    else if (what < 48)
      send_many(me);
    else if (what < 60 && is_bounded)
      send_reserved(me);
    else if (what == 62)
      change_sender(me);
    else if (what == 63)
      look(me);
  }
  expect_eq(uvch_mpsc_sender_close(&me->tx), 0);
}

/* A loop. Requests of a part are served in their order, so the numbers go up; those of permits do when they send. */

struct on_loop;

struct request {
  struct on_loop* of;
  uvch_mpsc_send_t send;
  uvch_mpsc_reserve_t reserve;
  uvch_mpsc_permit_t permit;
  size_t count;
  char items[SOME * ITEM_MAX];
};

struct on_loop {
  struct sender me;
  struct request requests[REQUESTS];
  size_t many; /* requests that are used */
  bool reserves;
  size_t waiting; /* requests */
  uvch_mpsc_closed_t closed;
  bool has_closed;
  bool is_done;
};

static void next_request(struct request* r);

static void on_closed(uvch_mpsc_closed_t* req, int status) {
  struct on_loop* l = req->data;

  expect_in(status, 0, UV_ECANCELED);
  l->has_closed = false;
}

/* All is sent. The end of the channel may be waited for, or not any more. */
static void done(struct on_loop* l) {
  if (l->is_done || l->waiting > 0 || left(&l->me) > 0)
    return;
  l->is_done = true;
  expect_eq(uvch_mpsc_sender_close(&l->me.tx), 0);
  if (l->has_closed && draw(l->me.self, 2) == 0)
    expect_in(uvch_cancel((uvch_req_t*) &l->closed), 0, UV_EBUSY);
  now_in(l->me.self, "uv_run, all sent");
}

static void on_sent(uvch_mpsc_send_t* req, int status) {
  struct request* r = req->data;
  struct on_loop* l = r->of;

  l->waiting--;
  l->me.asked -= r->count;
  tally_sent(l->me.sent, r->items, l->me.scene->size, req->sent);
  if (status != 0)
    account(&l->me, NULL, status, UV_ECANCELED);
  now_in(l->me.self, "uv_run, sending");
  next_request(r);
}

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  struct request* r = req->data;
  struct on_loop* l = r->of;

  l->waiting--;
  if (status == 0)
    use_split(&l->me, &r->permit);
  else
    account(&l->me, NULL, status, UV_ECANCELED);
  now_in(l->me.self, "uv_run, reserving");
  next_request(r);
}

static int submit(struct request* r) {
  struct sender* me = &r->of->me;
  uv_loop_t* loop = &me->self->loop;
  int err;

  if (r->of->reserves)
    return uvch_mpsc_reserve(loop, &r->reserve, &me->tx, draw_places(me), &r->permit, on_reserved);
  r->count = prepare(me, r->items, left(me) < SOME ? left(me) : SOME);
  if (r->count == 1)
    err = uvch_mpsc_send(loop, &r->send, &me->tx, r->items, on_sent);
  else
    err = uvch_mpsc_send_many(loop, &r->send, &me->tx, r->items, r->count, on_sent);
  if (err == 0)
    me->asked += r->count;
  return err;
}

static void next_request(struct request* r) {
  struct on_loop* l = r->of;
  int err = UV_EPIPE;

  if (left(&l->me) > 0) {
    if (draw(l->me.self, 64) == 0)
      change_sender(&l->me);
    err = submit(r);
    if (err != 0)
      account(&l->me, NULL, err, UV_EPIPE);
  }
  if (err == 0) {
    l->waiting++;
    if (draw(l->me.self, 8) == 0)
      expect_in(uvch_cancel((uvch_req_t*) (l->reserves ? (void*) &r->reserve : (void*) &r->send)), 0, UV_EBUSY);
  }
  done(l);
}

static void send_on_loop(struct sender* me) {
  struct on_loop* l = calloc(1, sizeof *l);
  size_t i;

  expect(l != NULL);
  l->me = *me;
  (void) player_loop(me->self);
  l->many = 1 + (size_t) draw(me->self, REQUESTS);
  l->reserves = me->scene->capacity != UVCH_UNBOUNDED && draw(me->self, 3) == 0;
  if (draw(me->self, 3) == 0) {
    l->has_closed = true;
    l->closed.data = l;
    expect_eq(uvch_mpsc_closed(&me->self->loop, &l->closed, &l->me.tx, on_closed), 0);
  }
  now_in(me->self, "uv_run, sending");
  for (i = 0; i < l->many && !l->is_done; i++) {
    l->requests[i].of = l;
    l->requests[i].send.data = l->requests[i].reserve.data = &l->requests[i];
    next_request(&l->requests[i]);
  }
  expect_eq(player_run(me->self, UV_RUN_DEFAULT), 0);
  expect(l->is_done);
  expect(!l->has_closed);
  free(l);
}

void mpsc_send(struct player* self, struct mpsc_scene* scene, size_t part) {
  struct sender me = {self, scene, part, &scene->base.sent[part], scene->tx[part], 0, 0, false};

  if (draw(self, 2) == 0)
    send_on_thread(&me);
  else
    send_on_loop(&me);
}
