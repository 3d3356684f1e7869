/* SPDX-License-Identifier: MIT
 *
 * A scene of one inbox: part 0 runs the loop, the others post calls to it. */
#include "stress.h"

#include <stdio.h>

struct inbox_scene {
  struct scene base;
  bool stops; /* somebody stops the loop before all is posted */
  uint64_t stop_at;
  struct player* self;
  uvch_inbox_t inboxes[PARTS_MAX];
  struct tally got[PARTS_MAX];
};

struct call {
  struct inbox_scene* scene;
  struct parcel parcel;
};

static void on_call(uv_loop_t* loop, int status, void* arg) {
  struct call* call = arg;
  struct inbox_scene* s = call->scene;

  expect(loop == &s->self->loop);
  expect_in(status, 0, UV_ECANCELED);
  expect(status == 0 || s->stops);
  tally_got(s->got, &call->parcel, sizeof call->parcel, s->base.number);
  now_in(s->self, "calls");
  if (status == 0 && draw(s->self, 2048) == 0)
    (void) uv_run(loop, UV_RUN_NOWAIT);
  free(call);
}

static void post(struct player* self, struct inbox_scene* s, size_t part) {
  uvch_inbox_t* inbox = &s->inboxes[part];
  uvch_inbox_t copy;
  uint64_t number;
  int err = 0;

  for (number = 0; number < s->base.quota && err == 0; number++) {
    struct call* call = malloc(sizeof *call);
    struct parcel parcel;
    expect(call != NULL);
    parcel_make(&parcel, sizeof parcel, s->base.number, part, number);
    *call = (struct call){s, parcel};
    if (s->stops && part == 1 && number == s->stop_at)
      expect_eq(uvch_inbox_stop(inbox), 0);
    err = uvch_post(inbox, on_call, call);
    if (err != 0) {
      expect(err == UV_EPIPE && s->stops);
      free(call);
    } else {
      tally_sent(&s->base.sent[part], &parcel, sizeof parcel, 1);
    }
    now_in(self, "posts");
    if (draw(self, 128) == 0) {
      expect_eq(uvch_inbox_clone(inbox, &copy), 0);
      expect_eq(uvch_inbox_close(inbox), 0);
      *inbox = copy;
    }
  }
  expect_eq(uvch_inbox_close(inbox), 0);
}

static void make(struct player* self, struct scene* scene) {
  struct inbox_scene* s = (struct inbox_scene*) scene;
  size_t i;

  s->self = self;
  s->stops = draw(self, 2) == 0;
  s->stop_at = draw(self, scene->quota);
  expect_eq(uvch_inbox_init(player_loop(self), &s->inboxes[0]), 0);
  for (i = 1; i < scene->parts; i++)
    expect_eq(uvch_inbox_clone(&s->inboxes[0], &s->inboxes[i]), 0);
  expect_eq(uvch_inbox_close(&s->inboxes[0]), 0);
}

static void play(struct player* self, struct scene* scene, size_t part) {
  if (part > 0) {
    post(self, (struct inbox_scene*) scene, part);
    return;
  }
  now_in(self, "uv_run, with an inbox");
  expect_eq(player_run(self, UV_RUN_DEFAULT), 0);
}

static uint64_t check(struct scene* scene) {
  return tally_compare(scene->sent, ((struct inbox_scene*) scene)->got);
}

static void describe(const struct scene* scene, char* text, size_t size) {
  const struct inbox_scene* s = (const struct inbox_scene*) scene;

  snprintf(text, size, "%llu posts each, %s", (unsigned long long) scene->quota, s->stops ? "stopped" : "to the end");
}

const struct kind kind_inbox = {"inbox", sizeof(struct inbox_scene), 2, make, play, check, describe};
