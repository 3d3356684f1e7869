/* SPDX-License-Identifier: MIT */
#include "mpsc.h"

#include <stdio.h>

#include "steward.h"

#define SOME 16 /* messages that are taken together */

static void end_it(struct mpsc_scene* s) {
  s->is_ended = s->is_closed = true;
  expect_eq(uvch_close((uvch_handle_t*) &s->rx, NULL), 0);
}

/* The receiver ends the channel in its own way, when it has had enough. */
static void end_maybe(struct mpsc_scene* s) {
  if (s->is_ended || s->end == MPSC_DRAINS || s->delivered < s->end_at)
    return;
  if (s->end == MPSC_CLOSES) {
    end_it(s);
  } else if (!s->is_shut) {
    s->is_shut = true;
    expect_eq(uvch_mpsc_recv_shutdown(&s->rx), 0);
  }
}

static void take(struct mpsc_scene* s, const void* item) {
  tally_got(s->got, item, s->size, s->base.number);
  s->delivered++;
  now_in(s->self, "receives");
}

static void take_some(struct mpsc_scene* s, const void* items, size_t stride, size_t count) {
  size_t i;

  for (i = 0; i < count; i++)
    take(s, (const char*) items + i * stride);
}

static void on_drop(void* item, void* arg) {
  struct mpsc_scene* s = arg;

  tally_got(s->got, item, s->size, s->base.number);
}

/* 1: there was something. */
static int try_one(struct mpsc_scene* s) {
  char item[ITEM_MAX];
  int err = uvch_mpsc_try_recv(&s->rx, item);

  if (err == 0)
    take(s, item);
  else if (err == UV_EOF)
    s->is_ended = true;
  else
    expect_eq(err, UV_EAGAIN);
  return err == 0;
}

static int try_some(struct mpsc_scene* s) {
  char items[SOME * ITEM_MAX];
  int n = uvch_mpsc_try_recv_many(&s->rx, items, 1 + draw(s->self, SOME));

  if (n > 0)
    take_some(s, items, s->size, (size_t) n);
  else if (n == UV_EOF)
    s->is_ended = true;
  else
    expect_eq(n, UV_EAGAIN);
  return n > 0;
}

/* On a loop. */

static void recv_start(struct mpsc_scene* s);

/* What a callback may do, now and then. */
static void play_tricks(struct mpsc_scene* s) {
  switch (draw(s->self, 2048)) {
    case 0:
      now_in(s->self, "runs its loop in a callback");
      (void) uv_run(&s->self->loop, UV_RUN_NOWAIT);
      break;
    case 1:
    case 2:
      expect_eq(uvch_mpsc_recv_stop(&s->rx), 0);
      recv_start(s);
      break;
    case 3:
      expect_eq(uvch_mpsc_recv_stop(&s->rx), 0);
      s->rests = true;
      break;
    case 4:
      try_some(s);
      s->is_ended = false; /* the callback for that is still to come */
      break;
    case 5:
      uvch_unref((uvch_handle_t*) &s->rx);
      uvch_ref((uvch_handle_t*) &s->rx);
      break;
    default:
      break;
  }
}

/* With a steward the loop does not end by itself. A run in a callback uses up the stops of its own callbacks. */
static void after_callback(struct mpsc_scene* s) {
  end_maybe(s);
  if (!s->is_ended)
    play_tricks(s);
  if (s->is_ended || s->rests)
    uv_stop(&s->self->loop);
}

static void on_end(struct mpsc_scene* s) {
  s->is_ended = true;
  uv_stop(&s->self->loop);
}

static void on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct mpsc_scene* s = rx->data;

  if (status == UV_EOF) {
    on_end(s);
    return;
  }
  expect_eq(status, 0);
  take(s, item);
  after_callback(s);
}

static void on_recv_many(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  struct mpsc_scene* s = rx->data;

  if (status == UV_EOF) {
    on_end(s);
    return;
  }
  expect_eq(status, 0);
  expect(count > 0);
  take_some(s, first, stride, count);
  after_callback(s);
}

static void recv_start(struct mpsc_scene* s) {
  if (draw(s->self, 2) == 0)
    expect_eq(uvch_mpsc_recv_start(&s->rx, on_recv), 0);
  else
    expect_eq(uvch_mpsc_recv_many_start(&s->rx, (size_t) draw_size(s->self, 300), on_recv_many), 0);
}

/* With a steward there is always something to do, so such a loop never sleeps; the others do. */
static void receive_on_loop(struct mpsc_scene* s) {
  struct player* self = s->self;
  struct steward steward;
  uint64_t mode;

  if (s->has_steward)
    steward_start(&steward, self, &s->delivered);
  end_maybe(s);
  while (!s->is_ended) {
    if (uvch_is_active((uvch_handle_t*) &s->rx) == 0)
      recv_start(s);
    s->rests = false;
    now_in(self, "uv_run, receiving");
    mode = draw(self, 8);
    (void) player_run(self, mode < 6 ? UV_RUN_DEFAULT : mode == 6 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    while (!s->is_ended && s->rests && draw(self, 4) > 0)
      try_one(s);
    end_maybe(s);
  }
  if (s->has_steward)
    steward_stop(&steward);
  if (!s->is_closed)
    end_it(s);
  now_in(self, "uv_run, closing");
  (void) player_run(self, UV_RUN_NOWAIT); /* uses up the stop */
  expect_eq(player_run(self, UV_RUN_DEFAULT), 0);
}

/* On a thread. */

static void wait_for_one(struct mpsc_scene* s, int is_timed) {
  char item[ITEM_MAX];
  int err;

  now_in(s->self, is_timed ? "uvch_mpsc_recv_timedwait" : "uvch_mpsc_recv_wait");
  err = is_timed ? uvch_mpsc_recv_timedwait(&s->rx, item, draw_time(s->self)) : uvch_mpsc_recv_wait(&s->rx, item);
  if (err == 0)
    take(s, item);
  else if (err == UV_EOF)
    s->is_ended = true;
  else
    expect(is_timed && err == UV_ETIMEDOUT);
}

static void wait_for_some(struct mpsc_scene* s, int is_timed) {
  size_t most = 1 + (size_t) draw(s->self, SOME);
  char items[SOME * ITEM_MAX];
  int n;

  now_in(s->self, is_timed ? "uvch_mpsc_recv_many_timedwait" : "uvch_mpsc_recv_many_wait");
  n = is_timed ? uvch_mpsc_recv_many_timedwait(&s->rx, items, most, draw_time(s->self))
               : uvch_mpsc_recv_many_wait(&s->rx, items, most);
  if (n > 0)
    take_some(s, items, s->size, (size_t) n);
  else if (n == UV_EOF)
    s->is_ended = true;
  else
    expect(is_timed && n == UV_ETIMEDOUT);
}

static void receive_on_thread(struct mpsc_scene* s, uint64_t move_at) {
  end_maybe(s);
  while (!s->is_ended && s->delivered < move_at) {
    switch (draw(s->self, 6)) {
      case 0:
        while (!s->is_ended && s->delivered < move_at && try_one(s))
          end_maybe(s);
        break;
      case 1:
        try_some(s);
        break;
      case 2:
        wait_for_one(s, 0);
        break;
      case 3:
        wait_for_one(s, 1);
        break;
      case 4:
        wait_for_some(s, 0);
        break;
      default:
        wait_for_some(s, 1);
        break;
    }
    end_maybe(s);
  }
}

static void receive(struct player* self, struct mpsc_scene* s) {
  uint64_t move_at = UINT64_MAX;

  if (s->way == MPSC_LOOP) {
    receive_on_loop(s);
    return;
  }
  if (s->way == MPSC_MOVES)
    move_at = draw(self, 1 + (s->end == MPSC_DRAINS ? s->base.quota : s->end_at));
  receive_on_thread(s, move_at);
  if (s->way == MPSC_MOVES && !s->is_ended) {
    expect_eq(uvch_attach(player_loop(self), (uvch_handle_t*) &s->rx), 0);
    receive_on_loop(s);
  } else if (!s->is_closed) {
    end_it(s);
  }
}

/* The scene. */

static size_t draw_capacity(struct player* self) {
  static const size_t some[] = {1, 1, 2, 3, 16, 64, 1024, UVCH_UNBOUNDED, UVCH_UNBOUNDED};

  return some[draw(self, sizeof some / sizeof some[0])];
}

/* With little room each message is a change of threads. */
static uint64_t fit_quota(uint64_t quota, size_t capacity) {
  uint64_t most = capacity <= 3 ? 2048 : capacity <= 64 ? 16384 : UINT64_MAX;

  return quota < most ? quota : most;
}

static size_t draw_item_size(struct player* self) {
  static const size_t some[] = {sizeof(struct parcel), 32, 56, ITEM_MAX};

  return some[draw(self, sizeof some / sizeof some[0])];
}

static void make(struct player* self, struct scene* scene) {
  struct mpsc_scene* s = (struct mpsc_scene*) scene;
  uvch_mpsc_options_t options;
  size_t senders = 0;
  size_t i;

  s->self = self;
  s->capacity = draw_capacity(self);
  scene->quota = fit_quota(scene->quota, s->capacity);
  s->size = draw_item_size(self);
  s->way = (enum mpsc_way) draw(self, 3);
  s->end = (enum mpsc_end) draw(self, 3);
  s->has_steward = s->way != MPSC_THREAD && draw(self, 6) == 0;
  for (i = 1; i < scene->parts; i++) {
    s->watches[i] = i > 1 && s->end != MPSC_DRAINS && draw(self, 6) == 0;
    senders += !s->watches[i];
  }
  s->end_at = draw_size(self, scene->quota * senders + 1) - 1;
  memset(&options, 0, sizeof options);
  options.drop = on_drop;
  options.arg = s;
  options.flags = draw(self, 4) == 0 ? UVCH_PREALLOCATE : 0;
  expect_eq(uvch_mpsc_init_ex(s->way == MPSC_LOOP ? player_loop(self) : NULL, &s->rx, &s->tx[0], s->size, s->capacity, &options),
            0);
  s->rx.data = s;
  for (i = 1; i < scene->parts; i++)
    expect_eq(uvch_mpsc_sender_clone(&s->tx[0], &s->tx[i]), 0);
  expect_eq(uvch_mpsc_sender_close(&s->tx[0]), 0);
}

static void play(struct player* self, struct scene* scene, size_t part) {
  struct mpsc_scene* s = (struct mpsc_scene*) scene;

  if (part == 0) {
    receive(self, s);
  } else if (s->watches[part]) {
    now_in(self, "uvch_mpsc_closed_wait");
    expect_eq(uvch_mpsc_closed_wait(&s->tx[part]), 0);
    expect_eq(uvch_mpsc_sender_close(&s->tx[part]), 0);
  } else {
    mpsc_send(self, s, part);
  }
}

static uint64_t check(struct scene* scene) {
  struct mpsc_scene* s = (struct mpsc_scene*) scene;
  size_t i;

  for (i = 1; i < scene->parts && s->end == MPSC_DRAINS; i++)
    expect_eq(scene->sent[i].count, scene->quota);
  return tally_compare(scene->sent, s->got);
}

static void describe(const struct scene* scene, char* text, size_t size) {
  static const char* const ways[] = {"on a thread", "on a loop", "on a thread, then on a loop"};
  static const char* const ends[] = {"to the end", "shuts down", "closes"};
  const struct mpsc_scene* s = (const struct mpsc_scene*) scene;
  char capacity[32] = "unbounded";

  if (s->capacity != UVCH_UNBOUNDED)
    snprintf(capacity, sizeof capacity, "%zu places", s->capacity);
  snprintf(text, size, "%s, %zu bytes, received %s%s, %s after %llu", capacity, s->size, ways[s->way],
           s->has_steward ? " with others" : "", ends[s->end], (unsigned long long) s->end_at);
}

const struct kind kind_mpsc = {"mpsc", sizeof(struct mpsc_scene), 2, make, play, check, describe};
