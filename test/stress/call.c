/* SPDX-License-Identifier: MIT
 *
 * A scene of an actor and its callers: commands through an mpsc channel, replies through oneshots. Part 0 is the actor: it replies
 * at once, later, or not at all. The others call, on a thread or a loop, with and without a time limit, and give calls up; or they
 * put the sender of a oneshot of their own into the command.
 *
 * Each call has one outcome; a reply is that of its command; replies that were taken have come to the caller or to the drop
 * function. */
#include "stress.h"

#include <stdio.h>

#define KEPT 8  /* commands that the actor has not replied to yet */
#define CALLS 4 /* that wait at the same time */

struct command {
  struct parcel parcel;
  uvch_oneshot_sender_t reply;
};

struct call_scene {
  struct scene base;
  size_t capacity;
  bool on_loop; /* the actor */
  bool closes;
  uint64_t close_at;
  uvch_mpsc_sender_t tx[PARTS_MAX];

  /* Replies, whoever counts them. */
  atomic_uint_least64_t taken;
  atomic_uint_least64_t got;
  atomic_uint_least64_t dropped;

  /* The actor's. */
  struct player* self;
  uvch_mpsc_receiver_t rx;
  struct tally tallies[PARTS_MAX];
  uint64_t delivered;
  struct command kept[KEPT];
  size_t kept_count;
  bool is_ended;
  bool is_closed;
};

/* The actor. */

static void on_reply_drop(void* item, void* arg) {
  struct call_scene* s = arg;

  (void) parcel_open(item, sizeof(struct parcel), s->base.number);
  atomic_fetch_add(&s->dropped, 1);
}

static void answer(struct call_scene* s, struct command* command) {
  struct parcel* reply = &command->parcel;
  int err;

  switch (draw(s->self, 8)) {
    case 0:
      expect_eq(uvch_oneshot_sender_close(&command->reply), 0);
      return;
    case 1:
    case 2:
      err = uvch_oneshot_send(&command->reply, reply);
      break;
    case 3:
      expect_in(uvch_oneshot_closed_timedwait(&command->reply, draw_time(s->self) / 16), 0, UV_ETIMEDOUT);
      err = uvch_reply(&command->reply, reply);
      break;
    default:
      err = uvch_reply(&command->reply, reply);
      break;
  }
  if (err != UV_EPIPE) {
    expect_in(err, 0, 1);
    atomic_fetch_add(&s->taken, 1);
  }
}

static void answer_kept(struct call_scene* s) {
  while (s->kept_count > 0)
    answer(s, &s->kept[--s->kept_count]);
}

static void serve(struct call_scene* s, const void* item) {
  struct command command;

  memcpy(&command, item, sizeof command);
  tally_got(s->tallies, &command.parcel, sizeof command.parcel, s->base.number);
  s->delivered++;
  now_in(s->self, "serves");
  if (draw(s->self, 4) == 0)
    s->kept[s->kept_count++] = command;
  else
    answer(s, &command);
  if (s->kept_count == KEPT || draw(s->self, 8) == 0)
    answer_kept(s);
}

static void on_drop(void* item, void* arg) {
  struct call_scene* s = arg;
  struct command command;

  memcpy(&command, item, sizeof command);
  tally_got(s->tallies, &command.parcel, sizeof command.parcel, s->base.number);
  expect_eq(uvch_oneshot_sender_close(&command.reply), 0);
}

static void end_maybe(struct call_scene* s, bool is_end) {
  s->is_ended |= is_end;
  if (s->is_closed || !(is_end || (s->closes && s->delivered >= s->close_at)))
    return;
  s->is_ended = s->is_closed = true;
  answer_kept(s);
  expect_eq(uvch_close((uvch_handle_t*) &s->rx, NULL), 0);
}

static void on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct call_scene* s = rx->data;

  if (status == 0)
    serve(s, item);
  else
    expect_eq(status, UV_EOF);
  end_maybe(s, status == UV_EOF);
}

/* Callers wait for what the actor has kept, so it does not sleep over that. */
static void on_prepare(uv_prepare_t* prepare) {
  struct call_scene* s = prepare->data;

  answer_kept(s);
  if (s->is_ended)
    uv_close((uv_handle_t*) prepare, NULL);
}

static void act_on_loop(struct call_scene* s) {
  uv_prepare_t prepare;

  expect_eq(uv_prepare_init(&s->self->loop, &prepare), 0);
  prepare.data = s;
  expect_eq(uv_prepare_start(&prepare, on_prepare), 0);
  expect_eq(uvch_mpsc_recv_start(&s->rx, on_recv), 0);
  end_maybe(s, false);
  now_in(s->self, "uv_run, serving");
  expect_eq(player_run(s->self, UV_RUN_DEFAULT), 0);
}

static void act_on_thread(struct call_scene* s) {
  struct command command;
  int err;

  for (end_maybe(s, false); !s->is_ended; end_maybe(s, err == UV_EOF)) {
    err = uvch_mpsc_try_recv(&s->rx, &command);
    if (err == UV_EAGAIN) {
      answer_kept(s);
      now_in(s->self, "uvch_mpsc_recv_wait");
      err = uvch_mpsc_recv_wait(&s->rx, &command);
    }
    if (err == 0)
      serve(s, &command);
    else
      expect_eq(err, UV_EOF);
  }
}

/* Callers. */

struct caller {
  struct player* self;
  struct call_scene* scene;
  size_t part;
  uvch_mpsc_sender_t tx;
  uint64_t number;
  bool is_gone;
};

static bool wants_more(const struct caller* me) {
  return !me->is_gone && me->number < me->scene->base.quota;
}

static void prepare_command(struct caller* me, struct command* command) {
  memset(command, 0, sizeof *command);
  parcel_make(&command->parcel, sizeof command->parcel, me->scene->base.number, me->part, me->number++);
}

static void is_sent(struct caller* me, const struct command* command) {
  tally_sent(&me->scene->base.sent[me->part], &command->parcel, sizeof command->parcel, 1);
}

static void got_reply(struct caller* me, const struct command* command, const void* item) {
  struct parcel reply = parcel_open(item, sizeof reply, me->scene->base.number);

  expect_eq(reply.source, me->part);
  expect_eq(reply.number, command->parcel.number);
  atomic_fetch_add(&me->scene->got, 1);
}

static void account(struct caller* me, const struct command* command, const void* reply, int err, int sent) {
  if (sent)
    is_sent(me, command);
  if (err == 0)
    got_reply(me, command, reply);
  me->is_gone |= err == UV_EPIPE;
  expect(err == 0 || err == UV_EOF || err == UV_ETIMEDOUT || me->is_gone);
}

static void call_and_wait(struct caller* me) {
  struct command command;
  struct parcel reply;
  int sent = 0;
  int err;

  prepare_command(me, &command);
  if (draw(me->self, 2) == 0) {
    now_in(me->self, "uvch_call_wait");
    err = uvch_call_wait(&me->tx, &command, &command.reply, &reply, sizeof reply);
    sent = err == 0 || err == UV_EOF;
  } else {
    now_in(me->self, "uvch_call_timedwait");
    err = uvch_call_timedwait(&me->tx, &command, &command.reply, &reply, sizeof reply, draw_time(me->self), &sent);
  }
  account(me, &command, &reply, err, sent);
}

static int wait_for_outcome(struct caller* me, uvch_oneshot_receiver_t* rx, struct parcel* reply) {
  switch (draw(me->self, 4)) {
    case 0:
      now_in(me->self, "uvch_oneshot_recv_wait");
      return uvch_oneshot_recv_wait(rx, reply);
    case 1:
      now_in(me->self, "uvch_oneshot_recv_timedwait");
      return uvch_oneshot_recv_timedwait(rx, reply, draw_time(me->self));
    case 2:
      expect_eq(uvch_oneshot_recv_shutdown(rx), 0);
      return uvch_oneshot_try_recv(rx, reply);
    default:
      return UV_ETIMEDOUT; /* it closes without a look */
  }
}

static void use_oneshot(struct caller* me) {
  uvch_oneshot_options_t options;
  uvch_oneshot_receiver_t rx;
  struct command command;
  struct parcel reply;
  int err;

  memset(&options, 0, sizeof options);
  options.drop = on_reply_drop;
  options.arg = me->scene;
  prepare_command(me, &command);
  expect_eq(uvch_oneshot_init_ex(NULL, &rx, &command.reply, sizeof reply, &options), 0);
  now_in(me->self, "uvch_mpsc_send_wait");
  err = uvch_mpsc_send_wait(&me->tx, &command);
  if (err == 0)
    account(me, &command, &reply, wait_for_outcome(me, &rx, &reply), 1);
  else
    account(me, &command, NULL, err, 0);
  if (err != 0)
    expect_eq(uvch_oneshot_sender_close(&command.reply), 0);
  expect_eq(uvch_close((uvch_handle_t*) &rx, NULL), 0);
}

static void call_on_thread(struct caller* me) {
  while (wants_more(me))
    if (draw(me->self, 2) == 0)
      call_and_wait(me);
    else
      use_oneshot(me);
  expect_eq(uvch_mpsc_sender_close(&me->tx), 0);
}

/* Calls on a loop. */

struct slot {
  struct callers* of;
  uvch_call_t call;
  struct command command;
};

struct callers {
  struct caller me;
  struct slot slots[CALLS];
  size_t waiting;
};

static void next_call(struct slot* slot);

static void on_call(uvch_call_t* req, int status, void* reply) {
  struct slot* slot = req->data;
  struct caller* me = &slot->of->me;

  slot->of->waiting--;
  expect((status == 0) == (reply != NULL));
  if (status == UV_ECANCELED)
    status = UV_ETIMEDOUT;
  if (status == 0 || status == UV_EOF)
    expect_eq(req->is_sent, 1);
  account(me, &slot->command, reply, status, req->is_sent);
  now_in(me->self, "uv_run, calling");
  next_call(slot);
}

static void next_call(struct slot* slot) {
  struct caller* me = &slot->of->me;
  uvch_call_options_t options;
  int err = UV_EPIPE;

  if (wants_more(me)) {
    memset(&options, 0, sizeof options);
    options.timeout = draw(me->self, 16) == 0 ? 1 + draw(me->self, 2000000) : 0;
    options.drop = on_reply_drop;
    options.arg = me->scene;
    prepare_command(me, &slot->command);
    slot->call.data = slot;
    err = uvch_call_ex(&me->self->loop, &slot->call, &me->tx, &slot->command, &slot->command.reply, sizeof(struct parcel),
                       &options, on_call);
    if (err != 0)
      account(me, &slot->command, NULL, err, 0);
  }
  if (err == 0) {
    slot->of->waiting++;
    if (draw(me->self, 16) == 0)
      expect_in(uvch_cancel((uvch_req_t*) &slot->call), 0, UV_EBUSY);
  }
}

static void call_on_loop(struct caller* me) {
  struct callers* c = calloc(1, sizeof *c);
  size_t i;

  expect(c != NULL);
  c->me = *me;
  (void) player_loop(me->self);
  now_in(me->self, "uv_run, calling");
  for (i = 0; i < CALLS; i++) {
    c->slots[i].of = c;
    next_call(&c->slots[i]);
  }
  expect_eq(player_run(me->self, UV_RUN_DEFAULT), 0);
  expect_eq(c->waiting, 0);
  expect(!wants_more(&c->me));
  expect_eq(uvch_mpsc_sender_close(&c->me.tx), 0);
  free(c);
}

/* The scene. */

static void make(struct player* self, struct scene* scene) {
  struct call_scene* s = (struct call_scene*) scene;
  uvch_mpsc_options_t options;
  size_t i;

  s->self = self;
  s->capacity = draw(self, 2) == 0 ? UVCH_UNBOUNDED : (size_t) draw_size(self, 64);
  scene->quota = 1 + scene->quota / 16;
  s->on_loop = draw(self, 2) == 0;
  s->closes = draw(self, 2) == 0;
  s->close_at = draw_size(self, scene->quota) - 1;
  memset(&options, 0, sizeof options);
  options.drop = on_drop;
  options.arg = s;
  expect_eq(
      uvch_mpsc_init_ex(s->on_loop ? player_loop(self) : NULL, &s->rx, &s->tx[0], sizeof(struct command), s->capacity, &options),
      0);
  s->rx.data = s;
  for (i = 1; i < scene->parts; i++)
    expect_eq(uvch_mpsc_sender_clone(&s->tx[0], &s->tx[i]), 0);
  expect_eq(uvch_mpsc_sender_close(&s->tx[0]), 0);
}

static void play(struct player* self, struct scene* scene, size_t part) {
  struct call_scene* s = (struct call_scene*) scene;
  struct caller me = {self, s, part, s->tx[part], 0, false};

  if (part == 0 && s->on_loop)
    act_on_loop(s);
  else if (part == 0)
    act_on_thread(s);
  else if (draw(self, 2) == 0)
    call_on_thread(&me);
  else
    call_on_loop(&me);
}

static uint64_t check(struct scene* scene) {
  struct call_scene* s = (struct call_scene*) scene;

  expect_eq(atomic_load(&s->taken), atomic_load(&s->got) + atomic_load(&s->dropped));
  return tally_compare(scene->sent, s->tallies) + atomic_load(&s->taken);
}

static void describe(const struct scene* scene, char* text, size_t size) {
  const struct call_scene* s = (const struct call_scene*) scene;

  snprintf(text, size, "%llu calls each, an actor on a %s, %s", (unsigned long long) scene->quota, s->on_loop ? "loop" : "thread",
           s->closes ? "closes" : "to the end");
}

const struct kind kind_call = {"call", sizeof(struct call_scene), 2, make, play, check, describe};
