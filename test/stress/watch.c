/* SPDX-License-Identifier: MIT
 *
 * A scene of one watch channel. The parts up to `readers` look, on a thread or a loop; the others put values in. Nobody goes back:
 * the values of each sender come in their order. Who stays to the end has seen the last value. With a drop function the values are
 * counted that end: each does so once. */
#include "stress.h"

#include <stdio.h>

struct watch_scene {
  struct scene base;
  size_t size;
  bool has_drop;
  size_t readers;
  atomic_uint_least64_t made;    /* values: sent and copied */
  atomic_uint_least64_t dropped; /* values: ended by the channel, and those that came out, by who has them */
  struct reader {
    struct watch_scene* scene;
    struct player* self;
    uvch_watch_receiver_t rx;
    uint64_t newest[PARTS_MAX]; /* numbers */
    struct parcel last;         /* what it has seen last */
    uint64_t looks;
    uint64_t leave_at;
    uvch_watch_wait_for_t wait;
    bool is_ended;
    bool is_closed;
  } all[PARTS_MAX];
  uvch_watch_sender_t tx[PARTS_MAX];
};

/* Values. */

static int on_copy(void* to, const void* from, void* arg) {
  struct watch_scene* s = arg;

  memcpy(to, from, s->size);
  atomic_fetch_add(&s->made, 1);
  return 0;
}

static void on_drop(void* item, void* arg) {
  struct watch_scene* s = arg;

  (void) parcel_open(item, s->size, s->base.number);
  atomic_fetch_add(&s->dropped, 1);
}

/* Receivers. */

static void look_at(struct reader* r, const void* value) {
  struct parcel p = parcel_open(value, r->scene->size, r->scene->base.number);

  expect(p.number >= r->newest[p.source]);
  r->newest[p.source] = p.number;
  r->last = p;
  r->looks++;
  now_in(r->self, "looks");
}

/* After the end: the last value is the one that was seen last. */
static void look_at_last(struct reader* r) {
  struct parcel p = parcel_open(uvch_watch_borrow(&r->rx), r->scene->size, r->scene->base.number);

  expect_eq(p.source, r->last.source);
  expect_eq(p.number, r->last.number);
}

static void close_it(struct reader* r) {
  r->is_ended = r->is_closed = true;
  expect_eq(uvch_close((uvch_handle_t*) &r->rx, NULL), 0);
}

static void on_end(struct reader* r) {
  look_at_last(r);
  close_it(r);
}

static void leave_maybe(struct reader* r) {
  if (!r->is_ended && r->looks >= r->leave_at)
    close_it(r);
}

/* One value in two. */
static int is_wanted(const void* value, void* arg) {
  struct reader* r = arg;

  look_at(r, value);
  return r->last.number % 2 == 0;
}

/* On a loop. */

static void go_on(struct reader* r);

static void on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  struct reader* r = rx->data;

  if (status == UV_EOF) {
    on_end(r);
    return;
  }
  expect_eq(status, 0);
  look_at(r, value);
  leave_maybe(r);
  if (r->is_ended)
    return;
  switch (draw(r->self, 256)) {
    case 0:
      (void) uv_run(&r->self->loop, UV_RUN_NOWAIT);
      break;
    case 1:
      expect_eq(uvch_watch_mark_changed(rx), 0);
      break;
    case 2:
    case 3:
      expect_eq(uvch_watch_stop(rx), 0);
      go_on(r);
      break;
    case 4:
      look_at(r, uvch_watch_borrow(rx));
      break;
    default:
      break;
  }
}

static void on_wanted(uvch_watch_wait_for_t* req, int status, const void* value) {
  struct reader* r = req->data;

  if (r->is_closed) {
    expect(status == 0 || status == UV_ECANCELED || status == UV_EOF);
    return;
  }
  if (status == UV_EOF) {
    on_end(r);
    return;
  }
  expect_in(status, 0, UV_ECANCELED);
  if (status == 0)
    look_at(r, value);
  leave_maybe(r);
  if (!r->is_ended)
    go_on(r);
}

/* Callbacks for every change, or a request for one value. */
static void go_on(struct reader* r) {
  if (draw(r->self, 4) > 0) {
    expect_eq(uvch_watch_start(&r->rx, on_change, draw(r->self, 2) == 0 ? UVCH_WATCH_CURRENT : 0), 0);
    return;
  }
  r->wait.data = r;
  expect_eq(uvch_watch_wait_for(&r->wait, &r->rx, is_wanted, r, on_wanted), 0);
  if (draw(r->self, 4) == 0)
    expect_in(uvch_cancel((uvch_req_t*) &r->wait), 0, UV_EBUSY);
}

static void read_on_loop(struct reader* r) {
  expect_eq(uvch_attach(player_loop(r->self), (uvch_handle_t*) &r->rx), 0);
  go_on(r);
  now_in(r->self, "uv_run, looking");
  expect_eq(player_run(r->self, UV_RUN_DEFAULT), 0);
  expect(r->is_ended);
}

/* On a thread. */

static int wait_for_value(struct reader* r) {
  const void* value;

  switch (draw(r->self, 4)) {
    case 0:
      now_in(r->self, "uvch_watch_changed_wait");
      return uvch_watch_changed_wait(&r->rx);
    case 1:
      now_in(r->self, "uvch_watch_changed_timedwait");
      return uvch_watch_changed_timedwait(&r->rx, draw_time(r->self));
    case 2:
      now_in(r->self, "uvch_watch_wait_for_wait");
      return uvch_watch_wait_for_wait(&r->rx, is_wanted, r, &value);
    default:
      now_in(r->self, "uvch_watch_wait_for_timedwait");
      return uvch_watch_wait_for_timedwait(&r->rx, is_wanted, r, &value, draw_time(r->self));
  }
}

static void read_on_thread(struct reader* r) {
  while (!r->is_ended) {
    int err = wait_for_value(r);
    if (err == UV_EOF) {
      on_end(r);
    } else {
      expect_in(err, 0, UV_ETIMEDOUT);
      look_at(r, draw(r->self, 2) == 0 ? uvch_watch_borrow(&r->rx) : uvch_watch_borrow_and_update(&r->rx));
      leave_maybe(r);
    }
  }
}

/* Senders. */

struct sender {
  struct player* self;
  struct watch_scene* scene;
  size_t part;
  struct tally* sent;
  uvch_watch_sender_t tx;
  uint64_t number;
  int changes; /* what modify_if is to do */
};

static void make_value(const struct sender* me, void* value) {
  parcel_make(value, me->scene->size, me->scene->base.number, me->part, me->number);
}

static int on_modify(void* value, void* arg) {
  const struct sender* me = arg;

  (void) parcel_open(value, me->scene->size, me->scene->base.number);
  make_value(me, value);
  return me->changes;
}

static void is_put(struct sender* me) {
  char value[ITEM_MAX];

  make_value(me, value);
  tally_sent(me->sent, value, me->scene->size, 1);
  me->number++;
}

static void put_new(struct sender* me) {
  char value[ITEM_MAX];
  char old[ITEM_MAX];

  make_value(me, value);
  if (me->scene->has_drop)
    atomic_fetch_add(&me->scene->made, 1);
  if (draw(me->self, 2) == 0) {
    expect_eq(uvch_watch_send(&me->tx, value), 0);
  } else {
    expect_eq(uvch_watch_send_replace(&me->tx, value, old), 0);
    (void) parcel_open(old, me->scene->size, me->scene->base.number);
    if (me->scene->has_drop)
      on_drop(old, me->scene);
  }
  is_put(me);
}

static void modify(struct sender* me) {
  int result;

  me->changes = (int) draw(me->self, 2);
  if (draw(me->self, 2) == 0) {
    result = uvch_watch_modify(&me->tx, on_modify, me);
    if (result == 0)
      is_put(me);
  } else {
    result = uvch_watch_modify_if(&me->tx, on_modify, me);
    if (result > 0)
      is_put(me);
    if (result >= 0)
      expect_eq(result, me->changes);
  }
  expect(result >= 0 || result == UV_EBUSY);
}

static void put(struct sender* me) {
  uvch_watch_sender_t tx;

  switch (draw(me->self, 64)) {
    case 0:
      (void) parcel_open(uvch_watch_sender_borrow(&me->tx), me->scene->size, me->scene->base.number);
      break;
    case 1:
      expect_eq(uvch_watch_sender_clone(&me->tx, &tx), 0);
      expect_eq(uvch_watch_sender_close(&me->tx), 0);
      me->tx = tx;
      break;
    case 2:
      now_in(me->self, "uvch_watch_closed_timedwait");
      expect_in(uvch_watch_closed_timedwait(&me->tx, draw_time(me->self)), 0, UV_ETIMEDOUT);
      break;
    default:
      if (draw(me->self, 2) == 0)
        put_new(me);
      else
        modify(me);
      break;
  }
  now_in(me->self, "puts values in");
}

static void on_closed(uvch_watch_closed_t* req, int status) {
  (void) req;
  expect_eq(status, 0);
}

static void send_all(struct player* self, struct watch_scene* s, size_t part) {
  struct sender me = {self, s, part, &s->base.sent[part], s->tx[part], 1, 0};
  uvch_watch_closed_t closed;
  bool waits = draw(self, 4) == 0;

  while (me.sent->count < s->base.quota)
    put(&me);
  if (waits)
    expect_eq(uvch_watch_closed(player_loop(self), &closed, &me.tx, on_closed), 0);
  expect_eq(uvch_watch_sender_close(&me.tx), 0);
  if (waits) {
    now_in(self, "uv_run, until all receivers are gone");
    expect_eq(player_run(self, UV_RUN_DEFAULT), 0);
  }
}

/* The scene. */

static void make(struct player* self, struct scene* scene) {
  static const size_t sizes[] = {sizeof(struct parcel), 56, ITEM_MAX};
  struct watch_scene* s = (struct watch_scene*) scene;
  uvch_watch_options_t options;
  char value[ITEM_MAX];
  size_t i;

  s->size = sizes[draw(self, 3)];
  s->has_drop = draw(self, 2) == 0;
  s->readers = 1 + (size_t) draw(self, scene->parts - 1);
  scene->quota = 1 + scene->quota / 4;
  memset(&options, 0, sizeof options);
  options.arg = s;
  if (s->has_drop) {
    options.copy = on_copy;
    options.drop = on_drop;
    atomic_store(&s->made, 1);
  }
  parcel_make(value, s->size, scene->number, 0, 0);
  expect_eq(uvch_watch_init_ex(NULL, &s->all[0].rx, &s->tx[s->readers], s->size, value, &options), 0);
  memcpy(&s->all[0].last, value, sizeof s->all[0].last);
  for (i = 0; i < s->readers; i++) {
    if (i > 0)
      expect_eq(uvch_watch_receiver_clone(NULL, &s->all[i].rx, &s->all[0].rx), 0);
    s->all[i].scene = s;
    s->all[i].rx.data = &s->all[i];
    s->all[i].last = s->all[0].last;
    s->all[i].leave_at = draw(self, 2) == 0 ? UINT64_MAX : draw_size(self, scene->quota);
  }
  for (i = s->readers + 1; i < scene->parts; i++)
    expect_eq(uvch_watch_sender_clone(&s->tx[s->readers], &s->tx[i]), 0);
}

static void play(struct player* self, struct scene* scene, size_t part) {
  struct watch_scene* s = (struct watch_scene*) scene;
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

static uint64_t check(struct scene* scene) {
  struct watch_scene* s = (struct watch_scene*) scene;
  uint64_t count = 0;
  size_t i;

  for (i = s->readers; i < scene->parts; i++) {
    expect_eq(scene->sent[i].count, scene->quota);
    count += scene->sent[i].count;
  }
  if (s->has_drop)
    expect_eq(atomic_load(&s->dropped), atomic_load(&s->made));
  return count;
}

static void describe(const struct scene* scene, char* text, size_t size) {
  const struct watch_scene* s = (const struct watch_scene*) scene;

  snprintf(text, size, "%zu bytes, %zu of %zu look, %llu values each%s", s->size, s->readers, scene->parts,
           (unsigned long long) scene->quota, s->has_drop ? ", with drop" : "");
}

const struct kind kind_watch = {"watch", sizeof(struct watch_scene), 2, make, play, check, describe};
