/* SPDX-License-Identifier: MIT
 *
 * Oneshot channels between threads. Whatever races, each channel has one outcome: the receiver has the value, or its drop function
 * had it, or the sender has it back; and a receiver that is open knows which. */
#include "oneshot_support.h"

static uint64_t draw(uint64_t* random, uint64_t below) {
  *random = *random * 6364136223846793005u + 1442695040888963407u;
  return (*random >> 33) % below;
}

static void dawdle(uint64_t turns) {
  volatile uint64_t n = turns;

  while (n > 0) {
    n -= 1;
  }
}

/* Duels: on one side the sender, in a thread of its own, on the other the receiver, on the case's thread, which also runs the
 * loop. They are made in batches; for each duel the two wait for each other a little, but not for long, as on a busy machine only
 * one of them runs. */

enum { BATCH = 250 };

typedef struct duel_s {
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uint64_t value;
  int sent;     /* what the sender's call said, and */
  bool gave_up; /* whether that was a close */
  size_t got;   /* what the receiver had */
  size_t ends;
  size_t dropped;
  bool closed;
  bool waits;
  _Atomic(unsigned) met;
} duel_t;

typedef struct arena_s arena_t;

typedef void (*duel_cb)(arena_t* arena, duel_t* duel);

struct arena_s {
  duel_t* duels;
  uv_loop_t loop;
  uv_loop_t far; /* of the sender's thread */
  size_t rounds;
  duel_cb sender;
  duel_cb receiver;
  duel_cb far_end; /* after each batch, in the sender's thread */
  uint64_t random; /* the receiver's */
  uint64_t far_random;
  uv_barrier_t barrier;
  uv_thread_t thread;
  long home; /* the thread of the receivers */
  support_result_t result;
};

static void meet(duel_t* duel, uint64_t* random) {
  int n;

  atomic_fetch_add(&duel->met, 1);
  for (n = 0; n < 1000 && atomic_load(&duel->met) < 2; n++) {}
  dawdle(draw(random, 60));
}

static void far_side(void* arg) {
  arena_t* arena = arg;
  size_t round;
  size_t i;

  for (round = 0; round < arena->rounds; round++) {
    uv_barrier_wait(&arena->barrier);
    for (i = 0; i < BATCH; i++) {
      meet(&arena->duels[i], &arena->far_random);
      arena->sender(arena, &arena->duels[i]);
    }
    if (arena->far_end != NULL) {
      arena->far_end(arena, NULL);
    }
    uv_barrier_wait(&arena->barrier);
  }
}

static void duel_on_drop(void* item, void* arg) {
  arena_t* arena = arg;
  uint64_t value;

  memcpy(&value, item, sizeof(value));
  if (support_expect_eq(&arena->result, support_thread_number(), arena->home) && support_expect(&arena->result, value < BATCH)) {
    arena->duels[value].dropped += 1;
  }
}

static void duel_on_recv(uvch_oneshot_receiver_t* rx, int status, void* item) {
  duel_t* duel = rx->data;

  duel->waits = false;
  support_check(!duel->closed);
  if (status == 0) {
    support_check_eq(memcmp(item, &duel->value, sizeof(duel->value)), 0);
    duel->got += 1;
    return;
  }
  support_check_eq(status, UV_EOF);
  duel->ends += 1;
}

static void duel_took(duel_t* duel, int answer, uint64_t value) {
  if (answer == 0) {
    support_check_eq(value, duel->value);
    duel->got += 1;
  } else if (answer == UV_EOF) {
    duel->ends += 1;
  } else {
    support_check_eq(answer, UV_EAGAIN);
  }
}

static void duel_try(duel_t* duel) {
  uint64_t value = UINT64_MAX;
  int answer = uvch_oneshot_try_recv(&duel->rx, &value);

  duel_took(duel, answer, value);
}

/* On the loop or plain by turns; those on the loop have the memory of those before. */
static void duel_open(arena_t* arena, duel_t* duel, int kind) {
  uvch_oneshot_options_t options;

  memset(&options, 0, sizeof(options));
  options.drop = duel_on_drop;
  options.arg = arena;
  duel->value = (uint64_t) (duel - arena->duels);
  duel->got = duel->ends = duel->dropped = 0;
  duel->closed = duel->waits = duel->gave_up = false;
  duel->sent = NOT_DONE;
  atomic_store(&duel->met, 0);
  support_check_eq(uvch_oneshot_init_ex(kind == PLAIN ? NULL : &arena->loop, &duel->rx, &duel->tx, sizeof(uint64_t), &options),
                   0);
  duel->rx.data = duel;
  if (kind == ATTACHED) { /* it waits from the beginning */
    support_check_eq(uvch_oneshot_recv(&duel->rx, duel_on_recv), 0);
    duel->waits = true;
  }
}

static void duel_end(duel_t* duel) {
  bool taken;

  if (!duel->closed) {
    if (duel->got + duel->ends == 0) {
      support_check_eq(uvch_oneshot_recv_stop(&duel->rx), 0);
      duel_try(duel);
    }
    support_check_eq(duel->got + duel->ends, 1); /* the sender is through: no UV_EAGAIN */
    support_check_eq(uvch_oneshot_receiver_is_terminated(&duel->rx), 1);
    support_check_eq(try_take(&duel->rx), UV_EOF);
    close_rx(&duel->rx);
  } else {
    support_check_eq(duel->got + duel->ends <= 1, 1);
  }
  taken = !duel->gave_up && duel->sent == 0;
  support_check(duel->sent == 0 || (duel->sent == UV_EPIPE && !duel->gave_up));
  support_check_eq(duel->got + duel->dropped, taken);
  support_check(!taken || duel->ends == 0);
  support_check_eq(uvch_oneshot_sender_close(&duel->tx), UV_EBADF);
}

/* Runs the duels: `kind` is that of the receivers, ATTACHED those that wait before it begins. */
static void fight(arena_t* arena, int kind, size_t duels) {
  uvch_oneshot_receiver_t anchor;
  uvch_oneshot_sender_t anchor_tx;
  size_t round;
  size_t i;

  arena->rounds = (duels + BATCH - 1) / BATCH;
  arena->duels = calloc(BATCH, sizeof(duel_t));
  ck_assert_ptr_nonnull(arena->duels);
  arena->home = support_thread_number();
  arena->far_random = 77;
  support_loop_init(&arena->loop);
  support_loop_init(&arena->far);
  open_pair(&arena->loop, &anchor, &anchor_tx);
  ck_assert_int_eq(uv_barrier_init(&arena->barrier, 2), 0);
  support_spawn(&arena->thread, far_side, arena);
  for (round = 0; round < arena->rounds; round++) {
    for (i = 0; i < BATCH; i++) {
      duel_open(arena, &arena->duels[i], kind);
    }
    uv_barrier_wait(&arena->barrier);
    for (i = 0; i < BATCH; i++) {
      meet(&arena->duels[i], &arena->random);
      arena->receiver(arena, &arena->duels[i]);
    }
    uv_barrier_wait(&arena->barrier);
    for (i = 0; i < BATCH; i++) {
      duel_end(&arena->duels[i]);
    }
    support_check_eq(uv_run(&arena->loop, UV_RUN_DEFAULT), 0);
  }
  support_join(&arena->thread);
  support_result_check(&arena->result);
  uv_barrier_destroy(&arena->barrier);
  drop_sender(&anchor_tx);
  close_rx(&anchor);
  support_loop_end(&arena->loop);
  support_loop_end(&arena->far);
  free(arena->duels);
}

/* What the sender does. */

static void far_send(arena_t* arena, duel_t* duel) {
  uint64_t value = duel->value;

  (void) arena;
  duel->sent = uvch_oneshot_send(&duel->tx, &value);
}

static void far_give_up(arena_t* arena, duel_t* duel) {
  (void) arena;
  duel->gave_up = true;
  duel->sent = uvch_oneshot_sender_close(&duel->tx);
}

static void far_send_or_give_up(arena_t* arena, duel_t* duel) {
  if (draw(&arena->far_random, 2) == 0) {
    far_send(arena, duel);
  } else {
    far_give_up(arena, duel);
  }
}

/* What the receiver does. */

static void near_close(arena_t* arena, duel_t* duel) {
  (void) arena;
  duel->closed = true;
  duel->waits = false;
  close_rx(&duel->rx);
}

static void near_shut_down(arena_t* arena, duel_t* duel) {
  (void) arena;
  support_check_eq(uvch_oneshot_recv_shutdown(&duel->rx), 0);
  if (!duel->waits) {
    duel_try(duel);
    support_check_eq(duel->got + duel->ends, 1); /* it is decided here and now */
  }
}

static void near_try(arena_t* arena, duel_t* duel) {
  int n;

  (void) arena;
  if (duel->waits) {
    return;
  }
  for (n = 0; n < 20 && duel->got + duel->ends == 0; n++) {
    duel_try(duel);
  }
}

/* Starts and stops as it comes, and now and then a pass of the loop between. */
static void near_stop_and_try(arena_t* arena, duel_t* duel) {
  int n;

  for (n = 0; n < 4 && duel->got + duel->ends == 0; n++) {
    if (draw(&arena->random, 4) == 0) {
      uv_run(&arena->loop, UV_RUN_NOWAIT);
    }
    support_check_eq(uvch_oneshot_recv_stop(&duel->rx), 0);
    if (duel->got + duel->ends == 0) {
      duel_try(duel);
    }
    if (duel->got + duel->ends == 0 && draw(&arena->random, 2) == 0) {
      support_check_eq(uvch_oneshot_recv(&duel->rx, duel_on_recv), 0);
    }
  }
}

/* The loop may sleep in it: somebody sends. */
static void near_run(arena_t* arena, duel_t* duel) {
  if (!duel->waits && duel->got + duel->ends == 0) {
    support_check_eq(uvch_oneshot_recv(&duel->rx, duel_on_recv), 0);
    duel->waits = true;
  }
  while (duel->waits) {
    uv_run(&arena->loop, UV_RUN_ONCE);
  }
}

static void near_wait(arena_t* arena, duel_t* duel) {
  uint64_t value = UINT64_MAX;
  int answer = UV_ETIMEDOUT;

  if (draw(&arena->random, 2) == 0) {
    answer = uvch_oneshot_recv_wait(&duel->rx, &value);
  }
  while (answer == UV_ETIMEDOUT) { /* what comes at the deadline comes now or next time */
    support_check_eq(value, UINT64_MAX);
    answer = uvch_oneshot_recv_timedwait(&duel->rx, &value, draw(&arena->random, 3000));
  }
  duel_took(duel, answer, value);
}

/* A time-out, then no more: the value is in, or its sender has it back. */
static void near_wait_then_shut_down(arena_t* arena, duel_t* duel) {
  uint64_t value = UINT64_MAX;
  int answer = uvch_oneshot_recv_timedwait(&duel->rx, &value, draw(&arena->random, 1500));

  if (answer == UV_ETIMEDOUT) {
    near_shut_down(arena, duel);
  } else {
    duel_took(duel, answer, value);
  }
}

static void near_attach(arena_t* arena, duel_t* duel) {
  support_check_eq(uvch_attach(&arena->loop, (uvch_handle_t*) &duel->rx), 0);
  near_run(arena, duel);
}

enum { DUELS = 100000 };

START_TEST(a_send_that_races_with_a_close_is_dropped_here_or_given_back) {
  arena_t arena = {.sender = far_send, .receiver = near_close};

  fight(&arena, _i, support_scale(DUELS));
}
END_TEST

START_TEST(a_send_that_races_with_a_shutdown_is_taken_or_given_back) {
  arena_t arena = {.sender = far_send, .receiver = near_shut_down};

  fight(&arena, _i, support_scale(DUELS));
}
END_TEST

START_TEST(a_send_that_races_with_recv_stop_and_try_recv_comes_once) {
  arena_t arena = {.sender = far_send_or_give_up, .receiver = near_stop_and_try};

  fight(&arena, _i, support_scale(DUELS));
}
END_TEST

START_TEST(a_send_that_races_with_try_recv_comes_once) {
  arena_t arena = {.sender = far_send_or_give_up, .receiver = near_try};

  fight(&arena, _i, support_scale(DUELS));
}
END_TEST

START_TEST(a_sender_that_goes_while_the_receiver_begins_to_wait_ends_the_wait) {
  arena_t arena = {.sender = _i / 2 == 0 ? far_give_up : far_send_or_give_up, .receiver = near_run};

  fight(&arena, _i % 2 == 0 ? ON_LOOP : ATTACHED, support_scale(DUELS));
}
END_TEST

START_TEST(a_sender_that_goes_while_a_thread_begins_to_sleep_ends_the_sleep) {
  arena_t arena = {.sender = far_send_or_give_up, .receiver = near_wait};

  fight(&arena, PLAIN, support_scale(DUELS));
}
END_TEST

START_TEST(a_send_that_races_with_a_timeout_and_a_shutdown_is_taken_or_given_back) {
  arena_t arena = {.sender = far_send_or_give_up, .receiver = near_wait_then_shut_down};

  fight(&arena, PLAIN, support_scale(DUELS));
}
END_TEST

START_TEST(a_send_that_races_with_attach_comes_on_the_loop) {
  arena_t arena = {.sender = far_send_or_give_up, .receiver = near_attach};

  fight(&arena, PLAIN, support_scale(DUELS));
}
END_TEST

/* Those who watch. The sender's thread has the requests on a loop of its own, two for each duel. */

enum { PER_DUEL = 2 };

typedef struct gallery_s {
  arena_t arena;
  watcher_t watchers[BATCH][PER_DUEL];
  int cancelled[BATCH];
} gallery_t;

/* Several timed waits in a row: most of them time out at about the moment of the end. */
static void far_sleep(arena_t* arena, duel_t* duel) {
  int answer = UV_ETIMEDOUT;

  if (draw(&arena->far_random, 2) == 0) {
    answer = uvch_oneshot_closed_wait(&duel->tx);
  }
  while (answer == UV_ETIMEDOUT) {
    answer = uvch_oneshot_closed_timedwait(&duel->tx, draw(&arena->far_random, 2000));
  }
  support_expect_eq(&arena->result, answer, 0);
}

static void far_watch(arena_t* arena, duel_t* duel) {
  gallery_t* gallery = (gallery_t*) (void*) arena;
  size_t number = (size_t) (duel - arena->duels);
  uint64_t choice = draw(&arena->far_random, 4);
  size_t i;

  for (i = 0; i < PER_DUEL; i++) {
    support_expect_eq(&arena->result, try_watch(&arena->far, &gallery->watchers[number][i], &duel->tx), 0);
  }
  gallery->cancelled[number] = UV_EINVAL;
  dawdle(draw(&arena->far_random, 100));
  if (choice == 0) {
    gallery->cancelled[number] = cancel(&gallery->watchers[number][0]);
    support_expect(&arena->result, gallery->cancelled[number] == 0 || gallery->cancelled[number] == UV_EBUSY);
  }
  if (choice <= 1) {
    far_send_or_give_up(arena, duel);
  } else if (choice == 2) {
    far_sleep(arena, duel);
  }
}

/* One answer each, and one that fits what became of the send. */
static void far_tell(arena_t* arena, duel_t* none) {
  gallery_t* gallery = (gallery_t*) (void*) arena;
  size_t k;
  size_t i;

  (void) none;
  support_expect_eq(&arena->result, uv_run(&arena->far, UV_RUN_DEFAULT), 0);
  for (k = 0; k < BATCH; k++) {
    duel_t* duel = &arena->duels[k];

    for (i = 0; i < PER_DUEL; i++) {
      watcher_t* watcher = &gallery->watchers[k][i];
      bool cancelled = i == 0 && gallery->cancelled[k] == 0;

      support_expect_eq(&arena->result, watcher->calls, 1);
      if (cancelled || (duel->sent == 0 && !duel->gave_up)) { /* or the send was first */
        support_expect_eq(&arena->result, watcher->status, UV_ECANCELED);
      } else if (duel->sent == NOT_DONE) {
        support_expect_eq(&arena->result, watcher->status, 0);
      } else {
        support_expect(&arena->result, watcher->status == 0 || watcher->status == UV_ECANCELED);
      }
    }
    if (duel->sent == NOT_DONE) {
      far_send(arena, duel);
      support_expect_eq(&arena->result, duel->sent, UV_EPIPE);
    }
  }
}

START_TEST(whoever_watches_is_told_once_whatever_races) {
  gallery_t* gallery = calloc(1, sizeof(*gallery));

  ck_assert_ptr_nonnull(gallery);
  gallery->arena.sender = far_watch;
  gallery->arena.far_end = far_tell;
  gallery->arena.receiver = _i / KINDS == 0 ? near_close : near_shut_down;
  fight(&gallery->arena, _i % KINDS, support_scale(DUELS));
  free(gallery);
}
END_TEST

/* Replies to a loop that sleeps, and to a thread, one after the other with the same receiver: each must wake it. */

typedef struct echo_s {
  uvch_oneshot_sender_t tx;
  _Atomic(uint64_t) asked; /* the rounds that have a sender */
  uint64_t rounds;
  support_result_t result;
} echo_t;

static void echo_work(void* arg) {
  echo_t* echo = arg;
  uint64_t random = 5;
  uint64_t round;

  for (round = 1; round <= echo->rounds; round++) {
    uvch_oneshot_sender_t tx;

    support_until(atomic_load(&echo->asked) == round);
    tx = echo->tx;
    dawdle(draw(&random, 200));
    support_expect_eq(&echo->result, uvch_oneshot_send(&tx, &round), 0);
  }
}

START_TEST(each_reply_wakes_who_waits_for_it) {
  echo_t echo = {.rounds = support_scale(DUELS)};
  uvch_oneshot_receiver_t rx;
  outcome_t outcome;
  uv_thread_t thread;
  uv_loop_t loop;
  uint64_t round;
  uint64_t value;

  support_loop_init(&loop);
  if (_i == 2) { /* no time of polling before it sleeps */
    ck_assert_int_eq(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 0), 0);
  }
  open_pair(_i == 0 ? NULL : &loop, &rx, &echo.tx);
  support_spawn(&thread, echo_work, &echo);
  for (round = 1; round <= echo.rounds; round++) {
    if (_i > 0) {
      await(&rx, &outcome);
    }
    atomic_store(&echo.asked, round);
    if (_i > 0) {
      support_check_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
      check_value(&outcome, round);
    } else {
      support_check_eq(uvch_oneshot_recv_wait(&rx, &value), 0);
      support_check_eq(value, round);
    }
    support_check_eq(uvch_oneshot_renew(&rx, &echo.tx), 0);
  }
  support_join(&thread);
  support_result_check(&echo.result);
  drop_sender(&echo.tx);
  close_rx(&rx);
  support_loop_end(&loop);
}
END_TEST

/* The value comes as close to the deadline as it can, a little before or after: it is taken now or can be taken later. */

typedef struct aim_s {
  uvch_oneshot_sender_t tx;
  uint64_t rounds;
  _Atomic(uint64_t) round; /* the one that began; the first is 1 */
  _Atomic(uint64_t) answered;
  _Atomic(uint64_t) moment;
  int sent;
  support_result_t result;
} aim_t;

enum { AIM_TIMEOUT = 30000, AIM_SPREAD = 8000 };

static void send_at_deadline(void* arg) {
  aim_t* aim = arg;
  uint64_t round;

  for (round = 1; round <= aim->rounds; round++) {
    support_until(atomic_load(&aim->round) == round);
    while (uv_hrtime() < atomic_load(&aim->moment)) {}
    aim->sent = uvch_oneshot_send(&aim->tx, &round);
    atomic_store(&aim->answered, round);
  }
}

START_TEST(a_value_that_comes_at_the_deadline_is_taken_or_can_still_be_taken) {
  aim_t aim = {.rounds = support_scale(5000)};
  uvch_oneshot_receiver_t rx;
  uv_thread_t thread;
  uint64_t round;
  uint64_t value;
  int r;

  open_pair(NULL, &rx, &aim.tx);
  support_spawn(&thread, send_at_deadline, &aim);
  for (round = 1; round <= aim.rounds; round++) {
    value = 0;
    atomic_store(&aim.moment, uv_hrtime() + AIM_TIMEOUT - AIM_SPREAD + round * 7919 % (2 * AIM_SPREAD));
    atomic_store(&aim.round, round);
    r = uvch_oneshot_recv_timedwait(&rx, &value, AIM_TIMEOUT);
    support_check(r == 0 || r == UV_ETIMEDOUT);
    support_check_eq(value, r == 0 ? round : 0);
    if (r == UV_ETIMEDOUT && _i == 0) { /* it is on its way still */
      support_check_eq(uvch_oneshot_recv_wait(&rx, &value), 0);
      support_check_eq(value, round);
      r = 0;
    } else if (r == UV_ETIMEDOUT) { /* or is not wanted any more */
      support_check_eq(uvch_oneshot_recv_shutdown(&rx), 0);
      r = uvch_oneshot_try_recv(&rx, &value);
      support_check(r == 0 || r == UV_EOF);
    }
    support_until(atomic_load(&aim.answered) == round);
    support_check_eq(aim.sent, r == 0 ? 0 : UV_EPIPE);
    support_check_eq(uvch_oneshot_renew(&rx, &aim.tx), 0);
  }
  support_join(&thread);
  drop_sender(&aim.tx);
  close_rx(&rx);
}
END_TEST

/* Memory that goes round between a loop and threads: many requests are out, whose senders go through an mpsc channel to threads
 * that reply or do not. */

typedef struct ask_s {
  uint64_t number;
  uvch_oneshot_sender_t reply;
} ask_t;

typedef struct server_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  support_result_t result;
} server_t;

static void serve(void* arg) {
  server_t* server = arg;
  uvch_oneshot_sender_t stale;
  uint64_t wrong = 99;
  ask_t ask;
  int err;

  while ((err = uvch_mpsc_recv_wait(&server->rx, &ask)) == 0) {
    stale = ask.reply;
    if (ask.number % 8 == 7) {
      err = uvch_oneshot_sender_close(&ask.reply);
    } else {
      err = uvch_oneshot_send(&ask.reply, &ask.number);
    }
    support_expect(&server->result, err == 0 || (err == UV_EPIPE && ask.number % 8 != 7));
    support_expect_eq(&server->result, uvch_oneshot_send(&stale, &wrong), UV_EBADF); /* whoever has that memory by now */
  }
  support_expect_eq(&server->result, err, UV_EOF);
}

typedef struct client_s {
  uvch_oneshot_receiver_t rx;
  struct office_s* office;
  uint64_t number;
} client_t;

typedef struct office_s {
  uv_loop_t loop;
  server_t servers[2];
  client_t clients[32]; /* so that the loop keeps the memory of them all, and finds out stale copies */
  uint64_t asked;
  uint64_t done;
  uint64_t limit;
} office_t;

static void client_ask(client_t* client);

static void client_on_close(uvch_handle_t* handle) {
  client_t* client = handle->data;

  client->office->done += 1;
  client_ask(client);
}

static void client_on_reply(uvch_oneshot_receiver_t* rx, int status, void* item) {
  client_t* client = rx->data;
  bool wanted = client->number % 8 != 7;

  support_check_eq(status, wanted ? 0 : UV_EOF);
  support_check(!wanted || memcmp(item, &client->number, sizeof(client->number)) == 0);
  support_check_eq(uvch_close((uvch_handle_t*) rx, client_on_close), 0);
}

/* One in eleven is closed at once, and its reply comes too late. */
static void client_ask(client_t* client) {
  office_t* office = client->office;
  ask_t ask;

  if (office->asked == office->limit) {
    return;
  }
  client->number = office->asked++;
  ask.number = client->number;
  open_pair(&office->loop, &client->rx, &ask.reply);
  client->rx.data = client;
  support_check_eq(uvch_oneshot_recv(&client->rx, client_on_reply), 0);
  support_check_eq(uvch_mpsc_try_send(&office->servers[ask.number % 2].tx, &ask), 0);
  if (ask.number % 11 == 10) {
    support_check_eq(uvch_close((uvch_handle_t*) &client->rx, client_on_close), 0);
  }
}

START_TEST(memory_goes_round_between_threads_and_every_reply_is_right) {
  office_t* office = calloc(1, sizeof(*office));
  uvch_oneshot_receiver_t anchor; /* keeps what the loop keeps until the last sender is used up */
  uvch_oneshot_sender_t anchor_tx;
  size_t i;

  ck_assert_ptr_nonnull(office);
  office->limit = support_scale(2 * DUELS);
  support_loop_init(&office->loop);
  for (i = 0; i < COUNT(office->servers); i++) {
    server_t* server = &office->servers[i];

    ck_assert_int_eq(uvch_mpsc_init(NULL, &server->rx, &server->tx, sizeof(ask_t), 1024), 0);
    support_spawn(&server->thread, serve, server);
  }
  open_pair(&office->loop, &anchor, &anchor_tx);
  for (i = 0; i < COUNT(office->clients); i++) {
    office->clients[i].office = office;
    client_ask(&office->clients[i]);
  }
  support_loop_run(&office->loop);
  ck_assert_uint_eq(office->done, office->limit);
  for (i = 0; i < COUNT(office->servers); i++) {
    support_drop_sender(&office->servers[i].tx);
    support_join(&office->servers[i].thread);
    support_result_check(&office->servers[i].result);
    support_close(&office->servers[i].rx);
  }
  drop_sender(&anchor_tx);
  close_rx(&anchor);
  support_loop_end(&office->loop);
  free(office);
}
END_TEST

/* The receiver, its loop, and all their memory go while the senders send. */

typedef struct straggler_s {
  uvch_oneshot_sender_t tx[4];
  uv_barrier_t barrier;
  size_t rounds;
  size_t accepted;
  support_result_t result;
} straggler_t;

static void straggle(void* arg) {
  straggler_t* straggler = arg;
  uint64_t random = 3;
  size_t round;
  size_t i;

  for (round = 0; round < straggler->rounds; round++) {
    uv_barrier_wait(&straggler->barrier);
    for (i = 0; i < COUNT(straggler->tx); i++) {
      int answer;

      dawdle(draw(&random, 1000));
      answer = i == 3 ? uvch_oneshot_sender_close(&straggler->tx[i]) : try_put(&straggler->tx[i]);
      support_expect(&straggler->result, answer == 0 || (answer == UV_EPIPE && i < 3));
      straggler->accepted += answer == 0 && i < 3;
    }
    uv_barrier_wait(&straggler->barrier);
  }
}

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

START_TEST(a_send_may_race_with_the_end_of_receiver_and_loop) {
  straggler_t straggler = {.rounds = support_scale(5000)};
  uv_loop_t* loop = malloc(sizeof(*loop));
  uvch_oneshot_receiver_t rx[4];
  outcome_t outcomes[4];
  uv_thread_t thread;
  drops_t drops = {.count = 0};
  size_t got = 0;
  size_t round;
  size_t i;

  ck_assert_ptr_nonnull(loop);
  ck_assert_int_eq(uv_barrier_init(&straggler.barrier, 2), 0);
  support_spawn(&thread, straggle, &straggler);
  for (round = 0; round < straggler.rounds; round++) {
    support_loop_init(loop);
    for (i = 0; i < COUNT(rx); i++) {
      open_dropping(loop, &rx[i], &straggler.tx[i], &drops);
      await(&rx[i], &outcomes[i]);
    }
    uv_barrier_wait(&straggler.barrier);
    dawdle(round % 13 * 100);
    if (_i == 1) { /* the program closes the library's handles */
      uv_walk(loop, close_uv, NULL);
    }
    uv_run(loop, UV_RUN_NOWAIT);
    if (_i == 0) {
      support_check(uvch_close_all(loop) == COUNT(rx));
    }
    support_check_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
    support_loop_close(loop);
    memset(loop, 0xdd, sizeof(*loop));
    for (i = 0; i < COUNT(rx); i++) {
      if (_i == 1) {
        close_rx(&rx[i]);
      }
      support_check(outcomes[i].calls <= 1);
      got += outcomes[i].calls == 1 && outcomes[i].status == 0;
    }
    memset(rx, 0xdd, sizeof(rx));
    uv_barrier_wait(&straggler.barrier);
  }
  support_join(&thread);
  support_result_check(&straggler.result);
  uv_barrier_destroy(&straggler.barrier);
  ck_assert_uint_eq(got + drops.count, straggler.accepted);
  ck_assert(drops.count == 0 || drops.thread == support_thread_number());
  support_loop_init(loop); /* what was kept for a loop that the program took apart goes with the next one there */
  open_pair(loop, &rx[0], &straggler.tx[0]);
  put(&straggler.tx[0], 1);
  close_rx(&rx[0]);
  support_loop_end(loop);
  free(loop);
}
END_TEST

static void add_duels(Suite* suite) {
  TCase* tcase = support_case(suite, "duels");

  tcase_add_loop_test(tcase, a_send_that_races_with_a_close_is_dropped_here_or_given_back, 0, KINDS);
  tcase_add_loop_test(tcase, a_send_that_races_with_a_shutdown_is_taken_or_given_back, 0, KINDS);
  tcase_add_loop_test(tcase, a_send_that_races_with_recv_stop_and_try_recv_comes_once, ON_LOOP, KINDS);
  tcase_add_loop_test(tcase, a_send_that_races_with_try_recv_comes_once, PLAIN, ATTACHED);
  tcase_add_loop_test(tcase, a_sender_that_goes_while_the_receiver_begins_to_wait_ends_the_wait, 0, 4);
  tcase_add_test(tcase, a_sender_that_goes_while_a_thread_begins_to_sleep_ends_the_sleep);
  tcase_add_test(tcase, a_send_that_races_with_a_timeout_and_a_shutdown_is_taken_or_given_back);
  tcase_add_test(tcase, a_send_that_races_with_attach_comes_on_the_loop);
  tcase_add_loop_test(tcase, whoever_watches_is_told_once_whatever_races, 0, 2 * KINDS);
}

static void add_rounds(Suite* suite) {
  TCase* tcase = support_case(suite, "rounds");

  tcase_add_loop_test(tcase, each_reply_wakes_who_waits_for_it, 0, 3);
  tcase_add_loop_test(tcase, a_value_that_comes_at_the_deadline_is_taken_or_can_still_be_taken, 0, 2);
  tcase_add_test(tcase, memory_goes_round_between_threads_and_every_reply_is_right);
  tcase_add_loop_test(tcase, a_send_may_race_with_the_end_of_receiver_and_loop, 0, 2);
}

int main(void) {
  Suite* suite = suite_create("oneshot_race");

  add_duels(suite);
  add_rounds(suite);
  return support_main(suite);
}
