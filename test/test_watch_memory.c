/* SPDX-License-Identifier: MIT
 *
 * Watch channels and memory: values that own things and when they end, sizes, how much is taken, and what happens when there is
 * none. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch_support.h"


#define NO_TIME_BUDGET UINT64_C(1000000000000)

/* A channel of values that own something; value 0 is there from the beginning. */

static void open_owning(uvch_watch_sender_t* tx, watch_owner_t* owner, uvch_copy_cb copy) {
  watch_open_owning(NULL, NULL, tx, owner, copy, 0);
}

static void put(const uvch_watch_sender_t* tx, watch_owner_t* owner, uint64_t number) {
  support_check_eq(watch_put_owned(tx, owner, number), 0);
}

static size_t dropped(watch_owner_t* owner) {
  return atomic_load(&owner->dropped);
}

/* So many have ended, and the last one was this, on this thread. */
static void check_dropped(watch_owner_t* owner, size_t count, uint64_t last) {
  support_check_eq(dropped(owner), count);
  support_check_eq(atomic_load(&owner->last), last);
  support_check_eq(atomic_load(&owner->thread), support_thread_number());
}

/* It has not ended. */
static uint64_t whole(const void* value) {
  support_check(value != NULL);
  support_check(watch_owned_is_whole(value));
  return watch_number(value);
}

/* On a loop with an endless time budget, so that a turn brings all. */
static void subscribe(uv_loop_t* loop, uvch_watch_receiver_t* rx, const uvch_watch_sender_t* tx) {
  watch_subscribe(loop, rx, tx);
  if (loop != NULL) {
    support_check_eq(uvch_loop_configure(loop, UVCH_LOOP_BUDGET_TIME, NO_TIME_BUDGET), 0);
  }
}

static void whole_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  size_t* count = rx->data;

  support_check(status == 0 || status == UV_EOF);
  if (status == 0) {
    whole(value);
    *count += 1;
  }
}

static void on_closed(uvch_watch_closed_t* req, int status) {
  int* told = req->data;

  *told = status;
}

/* When a value ends. */

START_TEST(a_value_ends_in_the_send_that_replaces_it_if_nobody_looks_at_it) {
  uvch_watch_receiver_t rx[4];
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  size_t count = 0;
  uv_loop_t loop;
  uint64_t i;
  size_t k;

  support_loop_init(&loop);
  open_owning(&tx, &owner, _i % 2 == 0 ? watch_owned_copy : NULL);
  for (k = 0; k < COUNT(rx) && _i / 2 > 0; k++) {
    subscribe(k == 0 ? NULL : &loop, &rx[k], &tx);
    rx[k].data = &count;
    if (k >= 2) {
      ck_assert_int_eq(uvch_watch_start(&rx[k], whole_cb, 0), 0);
    }
  }
  for (i = 1; i <= 30; i++) {
    put(&tx, &owner, i);
    check_dropped(&owner, i, i - 1);
    if (i % 3 == 0 && _i / 2 == 2) {
      watch_turn(&loop); /* they have had it, and do not look at it any more */
    }
  }
  ck_assert_uint_eq(count, _i / 2 == 2 ? 20 : 0);
  ck_assert_uint_eq(atomic_load(&owner.copied), 0);
  watch_drop_sender(&tx);
  for (k = 0; k < COUNT(rx) && _i / 2 > 0; k++) {
    ck_assert_uint_eq(dropped(&owner), 30);
    watch_close(&rx[k]);
  }
  check_dropped(&owner, 31, 30);
  support_loop_end(&loop);
  watch_owner_check(&owner);
}
END_TEST

/* The senders first or the receivers, one on a loop or without; not the close callback, and a request does not matter. */
START_TEST(the_last_value_ends_in_the_call_that_closes_the_last_end) {
  bool senders_first = _i % 2 == 0;
  uvch_watch_receiver_t rx[2];
  uvch_watch_sender_t tx[2];
  uvch_watch_closed_t req;
  watch_owner_t owner;
  int told = WATCH_NOT_DONE;
  uv_loop_t loop;

  support_loop_init(&loop);
  open_owning(&tx[0], &owner, NULL);
  watch_clone_sender(&tx[0], &tx[1]);
  subscribe(_i / 2 % 2 == 0 ? &loop : NULL, &rx[0], &tx[0]);
  subscribe(NULL, &rx[1], &tx[0]);
  put(&tx[0], &owner, 1);
  req.data = &told;
  if (_i / 4 == 1) {
    ck_assert_int_eq(uvch_watch_closed(&loop, &req, &tx[0], on_closed), 0);
  }
  if (senders_first) {
    watch_drop_sender(&tx[0]);
    watch_drop_sender(&tx[1]);
    watch_close(&rx[1]);
    ck_assert_uint_eq(dropped(&owner), 1);
    watch_close(&rx[0]);
  } else {
    watch_close(&rx[0]);
    watch_drop_sender(&tx[0]);
    watch_close(&rx[1]);
    ck_assert_uint_eq(dropped(&owner), 1);
    watch_drop_sender(&tx[1]);
  }
  check_dropped(&owner, 2, 1);
  support_loop_end(&loop);
  ck_assert_int_eq(told, _i / 4 == 1 ? 0 : WATCH_NOT_DONE);
  ck_assert_uint_eq(dropped(&owner), 2);
  watch_owner_check(&owner);
}
END_TEST

START_TEST(a_channel_without_receivers_keeps_its_value_for_those_who_come) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  uint64_t i;

  open_owning(&tx, &owner, NULL);
  for (i = 1; i <= 5; i++) {
    put(&tx, &owner, i);
    subscribe(NULL, &rx, &tx);
    ck_assert_uint_eq(whole(uvch_watch_borrow(&rx)), i);
    watch_close(&rx);
    check_dropped(&owner, i, i - 1);
  }
  watch_drop_sender(&tx);
  check_dropped(&owner, 6, 5);
  watch_owner_check(&owner);
}
END_TEST

/* Ways to let a borrowed value go. */

static int any_value(const void* value, void* arg) {
  (void) arg;
  whole(value);
  return 1;
}

enum { BY_BORROW, BY_UPDATE, BY_WAIT_FOR, BY_TIMED_WAIT_FOR, BY_CLOSE, WAYS };

static void let_go(int way, uvch_watch_receiver_t* rx, uint64_t newest) {
  const void* value = NULL;

  if (way == BY_BORROW) {
    value = uvch_watch_borrow(rx);
  } else if (way == BY_UPDATE) {
    value = uvch_watch_borrow_and_update(rx);
  } else if (way == BY_WAIT_FOR) {
    support_check_eq(uvch_watch_wait_for_wait(rx, any_value, NULL, &value), 0);
  } else if (way == BY_TIMED_WAIT_FOR) {
    support_check_eq(uvch_watch_wait_for_timedwait(rx, any_value, NULL, &value, 1000), 0);
  } else {
    watch_close(rx);
    return;
  }
  support_check_eq(whole(value), newest);
}

START_TEST(a_borrowed_value_ends_when_it_is_let_go) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  const void* value;
  uint64_t i;

  open_owning(&tx, &owner, NULL);
  subscribe(NULL, &rx, &tx);
  value = _i / WAYS == 0 ? uvch_watch_borrow(&rx) : uvch_watch_borrow_and_update(&rx);
  for (i = 1; i <= 5; i++) {
    put(&tx, &owner, i);
    ck_assert_uint_eq(whole(value), 0);
    ck_assert_uint_eq(dropped(&owner), i - 1); /* the others have ended */
  }
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 1); /* none of these lets go */
  ck_assert_int_eq(uvch_watch_mark_unchanged(&rx), 0);
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0);
  ck_assert_uint_eq(whole(value), 0);
  let_go(_i % WAYS, &rx, 5);
  check_dropped(&owner, 5, 0);
  put(&tx, &owner, 6);
  if (_i % WAYS == BY_CLOSE) {
    check_dropped(&owner, 6, 5);
  } else {
    ck_assert_uint_eq(dropped(&owner), 5); /* now that one is kept */
    watch_close(&rx);
    check_dropped(&owner, 6, 5);
  }
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

START_TEST(a_value_that_a_sender_has_borrowed_ends_when_it_is_let_go) {
  uvch_watch_sender_t clone;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  const void* value;

  open_owning(&tx, &owner, NULL);
  value = uvch_watch_sender_borrow(&tx);
  ck_assert_ptr_eq(uvch_watch_sender_borrow(&tx), value);
  watch_clone_sender(&tx, &clone); /* has nothing borrowed */
  put(&tx, &owner, 1);
  put(&clone, &owner, 2);
  ck_assert_uint_eq(whole(value), 0);
  ck_assert_uint_eq(whole(uvch_watch_sender_borrow(&clone)), 2);
  check_dropped(&owner, 1, 1);
  if (_i == 0) {
    ck_assert_uint_eq(whole(uvch_watch_sender_borrow(&tx)), 2);
    check_dropped(&owner, 2, 0);
  }
  watch_drop_sender(&tx);
  check_dropped(&owner, 2, 0);
  put(&clone, &owner, 3);
  ck_assert_uint_eq(dropped(&owner), 2);
  watch_drop_sender(&clone); /* the borrowed one and the last one */
  ck_assert_uint_eq(dropped(&owner), 4);
  watch_owner_check(&owner);
}
END_TEST

/* Several look at one value; whoever is last, in whichever order. */
START_TEST(a_value_ends_with_the_last_one_who_looks_at_it) {
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  const void* value;
  uv_loop_t loop;
  size_t k;

  support_loop_init(&loop);
  open_owning(&tx, &owner, NULL);
  value = uvch_watch_sender_borrow(&tx);
  for (k = 0; k < COUNT(rx); k++) {
    subscribe(k == 1 ? &loop : NULL, &rx[k], &tx);
    ck_assert_ptr_eq(uvch_watch_borrow(&rx[k]), value); /* the same bytes */
  }
  put(&tx, &owner, 1);
  for (k = 0; k <= COUNT(rx); k++) {
    size_t who = (k + (size_t) _i) % (COUNT(rx) + 1);

    ck_assert_uint_eq(whole(value), 0);
    ck_assert_uint_eq(dropped(&owner), 0);
    if (who == COUNT(rx)) {
      ck_assert_uint_eq(whole(uvch_watch_sender_borrow(&tx)), 1);
    } else if (who % 2 == 0) {
      watch_close(&rx[who]);
    } else {
      ck_assert_uint_eq(whole(uvch_watch_borrow(&rx[who])), 1);
    }
  }
  check_dropped(&owner, 1, 0);
  watch_close(&rx[1]);
  watch_drop_sender(&tx);
  check_dropped(&owner, 2, 1);
  support_loop_end(&loop);
  watch_owner_check(&owner);
}
END_TEST

START_TEST(a_clone_has_nothing_borrowed) {
  uvch_watch_receiver_t clone;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;

  open_owning(&tx, &owner, NULL);
  subscribe(NULL, &rx, &tx);
  ck_assert_uint_eq(whole(uvch_watch_borrow(&rx)), 0);
  watch_clone(NULL, &clone, &rx);
  put(&tx, &owner, 1);
  watch_close(&rx);
  check_dropped(&owner, 1, 0);
  watch_close(&clone);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

/* The bytes of a sender may be moved, with what is borrowed through it. */
START_TEST(a_moved_sender_takes_what_it_has_borrowed_with_it) {
  uvch_watch_sender_t moved;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  const void* value;

  open_owning(&tx, &owner, NULL);
  value = uvch_watch_sender_borrow(&tx);
  memcpy(&moved, &tx, sizeof(moved));
  memset(&tx, 0xdd, sizeof(tx));
  put(&moved, &owner, 1);
  ck_assert_uint_eq(whole(value), 0);
  ck_assert_uint_eq(whole(uvch_watch_sender_borrow(&moved)), 1);
  check_dropped(&owner, 1, 0);
  watch_drop_sender(&moved);
  watch_owner_check(&owner);
}
END_TEST

/* In other threads. */

typedef struct other_s {
  uvch_watch_sender_t tx;
  uvch_watch_receiver_t rx;
  watch_owner_t* owner;
  size_t before; /* that had ended */
  uint64_t last; /* that has */
  support_result_t result;
} other_t;

static void other_check(other_t* o, size_t count, uint64_t last) {
  support_expect_eq(&o->result, atomic_load(&o->owner->dropped), count);
  support_expect_eq(&o->result, atomic_load(&o->owner->last), last);
  support_expect_eq(&o->result, atomic_load(&o->owner->thread), support_thread_number());
}

static void other_send(void* arg) {
  other_t* o = arg;
  uint64_t i;

  for (i = 1; i <= 5; i++) {
    support_expect_eq(&o->result, watch_put_owned(&o->tx, o->owner, i), 0);
    other_check(o, i, i - 1);
  }
}

static void other_close(void* arg) {
  other_t* o = arg;

  support_expect_eq(&o->result, uvch_close((uvch_handle_t*) &o->rx, NULL), 0);
  other_check(o, 6, 5);
}

START_TEST(a_value_ends_on_the_thread_that_replaced_it_or_was_done_with_it_last) {
  watch_owner_t owner;
  uv_thread_t thread;
  other_t other;

  memset(&other, 0, sizeof(other));
  open_owning(&other.tx, &owner, NULL);
  other.owner = &owner;
  support_spawn(&thread, other_send, &other);
  support_join(&thread);
  ck_assert_int_ne(atomic_load(&owner.thread), support_thread_number());
  subscribe(NULL, &other.rx, &other.tx);
  ck_assert_uint_eq(whole(uvch_watch_borrow(&other.rx)), 5);
  put(&other.tx, &owner, 6);
  ck_assert_uint_eq(dropped(&owner), 5);
  support_spawn(&thread, other_close, &other);
  support_join(&thread);
  support_result_check(&other.result);
  watch_drop_sender(&other.tx);
  check_dropped(&owner, 7, 6);
  watch_owner_check(&owner);
}
END_TEST

/* Callbacks. */

enum {
  DOES_NOTHING,
  SENDS_OVER_IT,
  BORROWS_ANOTHER,
  CLOSES_ITSELF,
  CLOSES_ALL,
  RUNS_THE_LOOP,
  CLOSES_AND_RUNS,
  ENDS_THE_CHANNEL,
  DEEDS
};

typedef struct scene_s {
  uv_loop_t loop;
  watch_owner_t owner;
  uvch_watch_sender_t tx;
  uvch_watch_receiver_t rx[3];
  uvch_watch_wait_for_t req;
  bool waits;   /* by a request, else started */
  bool in_test; /* the deed is done in the predicate */
  int deed;
  bool ended;
  size_t done;
  size_t told;
  uint64_t sent;
} scene_t;

static void scene_put(scene_t* scene, size_t count) {
  for (; count > 0; count--) {
    put(&scene->tx, &scene->owner, ++scene->sent);
  }
}

static void scene_do(scene_t* scene, uvch_watch_receiver_t* rx) {
  if (scene->done++ > 0) {
    return;
  }
  switch (scene->deed) {
    case SENDS_OVER_IT:
      scene_put(scene, 3);
      break;
    case BORROWS_ANOTHER:
      scene_put(scene, 1);
      support_check_eq(whole(uvch_watch_borrow(rx)), scene->sent);
      break;
    case CLOSES_ITSELF:
      watch_close(rx);
      break;
    case CLOSES_ALL:
      support_check_eq(uvch_close_all(&scene->loop), 3);
      break;
    case RUNS_THE_LOOP:
      scene_put(scene, 1);
      watch_turn(&scene->loop);
      break;
    case CLOSES_AND_RUNS:
      watch_close(rx);
      scene_put(scene, 3);
      watch_turn(&scene->loop);
      break;
    case ENDS_THE_CHANNEL:
      scene->ended = true;
      watch_drop_sender(&scene->tx);
      uvch_close_all(&scene->loop);
      watch_turn(&scene->loop);
      break;
    default:
      break;
  }
}

static void scene_look(scene_t* scene, uvch_watch_receiver_t* rx, const void* value, bool acts) {
  uint64_t number = whole(value);

  if (acts) {
    scene_do(scene, rx);
  }
  support_check_eq(whole(value), number);
}

static void scene_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  scene_t* scene = rx->data;

  support_check(status == 0 || status == UV_EOF);
  scene->told += 1;
  if (status == 0) {
    scene_look(scene, rx, value, true);
  }
}

static int scene_test(const void* value, void* arg) {
  scene_t* scene = arg;

  scene_look(scene, &scene->rx[1], value, scene->in_test);
  return 1;
}

static void scene_on_wait(uvch_watch_wait_for_t* req, int status, const void* value) {
  scene_t* scene = req->data;

  support_check(status == 0 || status == UV_ECANCELED);
  scene->told += 1;
  if (status == 0) {
    scene_look(scene, &scene->rx[1], value, !scene->in_test);
  }
}

static void scene_open(scene_t* scene, int deed, int form) {
  size_t i;

  memset(scene, 0, sizeof(*scene));
  support_loop_init(&scene->loop);
  open_owning(&scene->tx, &scene->owner, NULL);
  scene->deed = deed;
  scene->waits = form > 0;
  scene->in_test = form == 2;
  for (i = 0; i < COUNT(scene->rx); i++) {
    subscribe(&scene->loop, &scene->rx[i], &scene->tx);
    scene->rx[i].data = scene;
    if (scene->waits) {
      ck_assert_uint_eq(whole(uvch_watch_borrow(&scene->rx[i])), 0); /* it keeps an old one besides */
    } else {
      ck_assert_int_eq(uvch_watch_start(&scene->rx[i], scene_cb, 0), 0);
    }
  }
  scene_put(scene, 2);
  if (scene->waits) {
    scene->req.data = scene;
    ck_assert_int_eq(uvch_watch_wait_for(&scene->req, &scene->rx[1], scene_test, scene, scene_on_wait), 0);
  }
}

START_TEST(a_value_does_not_end_in_its_callback_or_predicate_whatever_that_does) {
  scene_t scene;
  size_t i;

  scene_open(&scene, _i % DEEDS, _i / DEEDS);
  watch_turn(&scene.loop);
  ck_assert_uint_ge(scene.done, 1);
  ck_assert_uint_ge(scene.told, 1);
  if (!scene.ended) {
    for (i = 0; i < COUNT(scene.rx); i++) { /* what they have borrowed */
      if (!uvch_is_closing((uvch_handle_t*) &scene.rx[i])) {
        ck_assert_uint_eq(whole(uvch_watch_borrow(&scene.rx[i])), scene.sent);
      }
    }
    ck_assert_uint_eq(dropped(&scene.owner), scene.sent); /* all but the newest */
    watch_drop_sender(&scene.tx);
    watch_turn(&scene.loop);
    uvch_close_all(&scene.loop);
  }
  check_dropped(&scene.owner, scene.sent + 1, scene.sent);
  support_loop_end(&scene.loop);
  watch_owner_check(&scene.owner);
}
END_TEST

/* A callback on another thread, over whose value this one sends. */
typedef struct far_s {
  support_latch_t there;
  support_latch_t go_on;
  watch_owner_t* owner;
  _Atomic(long) thread;
  support_result_t result;
} far_t;

static void far_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  far_t* far = rx->data;

  if (status != 0) {
    support_expect_eq(&far->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
    return;
  }
  if (watch_number(value) == 1) {
    atomic_store(&far->thread, support_thread_number());
    support_latch_arrive(&far->there);
    support_latch_wait(&far->go_on);
    support_expect_eq(&far->result, atomic_load(&far->owner->dropped), 3); /* 0, 2, and 3 */
  }
  support_expect(&far->result, watch_owned_is_whole(value));
}

START_TEST(a_value_ends_on_the_loops_thread_if_its_callback_is_the_last_that_looks_at_it) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  support_runner_t runner;
  watch_owner_t owner;
  uv_loop_t loop;
  far_t far;

  memset(&far, 0, sizeof(far));
  support_latch_init(&far.there, 1);
  support_latch_init(&far.go_on, 1);
  far.owner = &owner;
  support_loop_init(&loop);
  open_owning(&tx, &owner, NULL);
  subscribe(&loop, &rx, &tx);
  rx.data = &far;
  ck_assert_int_eq(uvch_watch_start(&rx, far_cb, 0), 0);
  put(&tx, &owner, 1);
  support_runner_start(&runner, &loop);
  support_latch_wait(&far.there);
  put(&tx, &owner, 2);
  put(&tx, &owner, 3);
  put(&tx, &owner, 4);
  check_dropped(&owner, 3, 3);
  support_latch_arrive(&far.go_on);
  support_until(dropped(&owner) == 4);
  ck_assert_uint_eq(atomic_load(&owner.last), 1);
  ck_assert_int_eq(atomic_load(&owner.thread), atomic_load(&far.thread));
  watch_drop_sender(&tx);
  support_runner_join(&runner);
  support_result_check(&far.result);
  ck_assert_uint_eq(dropped(&owner), 5);
  support_loop_end(&loop);
  support_latch_destroy(&far.there);
  support_latch_destroy(&far.go_on);
  watch_owner_check(&owner);
}
END_TEST

static void close_uv(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

START_TEST(values_end_also_when_a_program_closes_the_librarys_handles) {
  uvch_watch_receiver_t plain;
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  size_t count = 0;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  open_owning(&tx, &owner, NULL);
  subscribe(NULL, &plain, &tx);
  for (i = 0; i < COUNT(rx); i++) {
    subscribe(&loop, &rx[i], &tx);
    rx[i].data = &count;
    if (i < 2) {
      ck_assert_int_eq(uvch_watch_start(&rx[i], whole_cb, 0), 0);
    }
  }
  put(&tx, &owner, 1);
  watch_turn(&loop);
  ck_assert_uint_eq(whole(uvch_watch_borrow(&rx[1])), 1);
  ck_assert_uint_eq(whole(uvch_watch_borrow(&rx[2])), 1);
  put(&tx, &owner, 2);
  uv_walk(&loop, close_uv, NULL);
  support_loop_end(&loop);
  put(&tx, &owner, 3);
  ck_assert_uint_eq(count, 2);
  check_dropped(&owner, 2, 2);
  for (i = 0; i < COUNT(rx); i++) { /* with the last of these what they had borrowed */
    watch_close(&rx[i]);
  }
  check_dropped(&owner, 3, 1);
  watch_close(&plain);
  watch_drop_sender(&tx);
  check_dropped(&owner, 4, 3);
  support_loop_init(&loop); /* what stayed for the old one goes with it */
  watch_open(&loop, &plain, &tx, 0);
  watch_turn(&loop);
  watch_close(&plain);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  watch_owner_check(&owner);
}
END_TEST

/* Copies. */

static int keep_cb(void* value, void* arg) {
  whole(value);
  return *(int*) arg;
}

/* A new value that owns something, in place of the copy. */
typedef struct renew_s {
  watch_owner_t* owner;
  uint64_t number;
  const uvch_watch_sender_t* rival; /* sends in between, as long as there is one */
  size_t calls;
  int answer;
} renew_t;

static int renew_cb(void* value, void* arg) {
  renew_t* renew = arg;
  watch_owned_t* owned = value;

  whole(value);
  renew->calls += 1;
  if (renew->rival != NULL) {
    put(renew->rival, renew->owner, 1000 + renew->calls);
  }
  if (renew->answer < 0) {
    return renew->answer;
  }
  owned->number = renew->number;
  owned->box[0] = renew->number;
  owned->box[1] = ~renew->number;
  return renew->answer;
}

START_TEST(modify_makes_a_copy_and_the_old_value_ends_as_in_a_send) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  renew_t renew;
  size_t i;

  open_owning(&tx, &owner, watch_owned_copy);
  subscribe(NULL, &rx, &tx);
  memset(&renew, 0, sizeof(renew));
  renew.owner = &owner;
  renew.answer = 1;
  for (i = 1; i <= 5; i++) {
    renew.number = i;
    if (i % 2 == 0) {
      ck_assert_int_eq(uvch_watch_modify(&tx, renew_cb, &renew), 0);
    } else {
      ck_assert_int_eq(uvch_watch_modify_if(&tx, renew_cb, &renew), 1);
    }
    check_dropped(&owner, i, i - 1);
    ck_assert_uint_eq(atomic_load(&owner.copied), i);
  }
  ck_assert_uint_eq(whole(uvch_watch_borrow(&rx)), 5);
  renew.number = 6;
  ck_assert_int_eq(uvch_watch_modify(&tx, renew_cb, &renew), 0);
  ck_assert_uint_eq(dropped(&owner), 5); /* it is looked at */
  ck_assert_uint_eq(whole(uvch_watch_borrow(&rx)), 6);
  check_dropped(&owner, 6, 5);
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

START_TEST(a_copy_that_is_given_up_ends_and_nothing_has_changed) {
  static const int answers[] = {0, UV_EIO, UV_ENOMEM, UV_EOF};
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  const void* value;
  size_t i;

  open_owning(&tx, &owner, watch_owned_copy);
  subscribe(NULL, &rx, &tx);
  value = uvch_watch_borrow(&rx);
  for (i = 0; i < COUNT(answers); i++) {
    int answer = answers[i];

    ck_assert_int_eq(uvch_watch_modify_if(&tx, keep_cb, &answer), answer);
    check_dropped(&owner, i + 1, 0); /* the copy */
    ck_assert_uint_eq(atomic_load(&owner.copied), i + 1);
    ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
    ck_assert_ptr_eq(uvch_watch_borrow(&rx), value);
  }
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

START_TEST(each_copy_of_a_modify_that_comes_too_late_ends) {
  uvch_watch_sender_t tx;
  watch_owner_t owner;
  renew_t renew;

  open_owning(&tx, &owner, watch_owned_copy);
  memset(&renew, 0, sizeof(renew));
  renew.owner = &owner;
  renew.number = 7;
  renew.rival = &tx;
  renew.answer = 1;
  if (_i == 0) {
    ck_assert_int_eq(uvch_watch_modify(&tx, renew_cb, &renew), UV_EBUSY);
  } else {
    ck_assert_int_eq(uvch_watch_modify_if(&tx, renew_cb, &renew), UV_EBUSY);
  }
  ck_assert_uint_eq(renew.calls, 8);
  ck_assert_uint_eq(atomic_load(&owner.copied), 8);
  ck_assert_uint_eq(watch_owned_alive(&owner), 1);
  ck_assert_uint_eq(whole(uvch_watch_sender_borrow(&tx)), 1008);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

START_TEST(a_copy_function_that_fails_fails_the_call_and_nothing_has_changed) {
  static const int codes[] = {UV_ENOMEM, UV_EIO, UV_EINVAL, UV_EOF};
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owned_t fresh;
  watch_owned_t old;
  watch_owner_t owner;
  const void* value;
  renew_t renew;
  size_t i;

  open_owning(&tx, &owner, watch_owned_copy);
  subscribe(NULL, &rx, &tx);
  value = uvch_watch_borrow(&rx);
  memset(&renew, 0, sizeof(renew));
  ck_assert_int_eq(watch_owned_make(&owner, &fresh, 1), 1);
  for (i = 0; i < COUNT(codes); i++) {
    memset(&old, 0x5a, sizeof(old));
    atomic_store(&owner.copy_fails, codes[i]);
    ck_assert_int_eq(uvch_watch_modify(&tx, renew_cb, &renew), codes[i]);
    atomic_store(&owner.copy_fails, codes[i]);
    ck_assert_int_eq(uvch_watch_modify_if(&tx, renew_cb, &renew), codes[i]);
    atomic_store(&owner.copy_fails, codes[i]);
    ck_assert_int_eq(uvch_watch_send_replace(&tx, &fresh, &old), codes[i]);
    ck_assert_int_eq(atomic_load(&owner.copy_fails), 0); /* it was called */
    ck_assert_uint_eq(renew.calls, 0);
    ck_assert_uint_eq(dropped(&owner), 0);
    ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
    ck_assert_ptr_eq(uvch_watch_borrow(&rx), value);
    ck_assert_ptr_eq(uvch_watch_sender_borrow(&tx), value);
  }
  ck_assert_int_eq(uvch_watch_send(&tx, &fresh), 0); /* was the caller's all the time */
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

START_TEST(the_value_that_a_send_replaced_is_the_callers) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owned_t fresh;
  watch_owned_t old;
  watch_owner_t owner;
  const void* value;
  uint64_t i;

  open_owning(&tx, &owner, watch_owned_copy);
  subscribe(NULL, &rx, &tx);
  for (i = 1; i <= 5; i++) { /* nobody looks: by its bytes */
    ck_assert_int_eq(watch_owned_make(&owner, &fresh, i), 1);
    ck_assert_int_eq(uvch_watch_send_replace(&tx, &fresh, &old), 0);
    ck_assert_uint_eq(whole(&old), i - 1);
    ck_assert_uint_eq(dropped(&owner), i - 1);
    watch_owned_drop(&old, &owner);
  }
  ck_assert_uint_eq(atomic_load(&owner.copied), 0);
  value = uvch_watch_borrow(&rx);
  ck_assert_int_eq(watch_owned_make(&owner, &fresh, 6), 1);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &fresh, &old), 0);
  ck_assert_uint_eq(whole(&old), 5);
  ck_assert_uint_eq(whole(value), 5);
  ck_assert_ptr_ne(old.box, ((const watch_owned_t*) value)->box); /* a copy of its own */
  ck_assert_uint_eq(atomic_load(&owner.copied), 1);
  ck_assert_uint_eq(dropped(&owner), 5);
  watch_owned_drop(&old, &owner);
  ck_assert_uint_eq(whole(value), 5);
  ck_assert_uint_eq(whole(uvch_watch_borrow(&rx)), 6);
  check_dropped(&owner, 7, 5);
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

START_TEST(without_a_copy_function_values_that_own_things_are_not_copied) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  watch_owned_t fresh;
  watch_owned_t old;
  watch_owned_t untouched;
  watch_owner_t owner;
  renew_t renew;

  open_owning(&tx, &owner, NULL);
  subscribe(NULL, &rx, &tx);
  memset(&renew, 0, sizeof(renew));
  memset(&old, 0x5a, sizeof(old));
  memcpy(&untouched, &old, sizeof(old));
  if (_i == 1) {
    ck_assert_uint_eq(whole(uvch_watch_borrow(&rx)), 0);
  }
  ck_assert_int_eq(watch_owned_make(&owner, &fresh, 1), 1);
  ck_assert_int_eq(uvch_watch_modify(&tx, renew_cb, &renew), UV_ENOTSUP);
  ck_assert_int_eq(uvch_watch_modify_if(&tx, renew_cb, &renew), UV_ENOTSUP);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &fresh, &old), UV_ENOTSUP);
  ck_assert_uint_eq(renew.calls, 0);
  ck_assert_mem_eq(&old, &untouched, sizeof(old));
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 0);
  ck_assert_uint_eq(dropped(&owner), 0);
  ck_assert_int_eq(uvch_watch_send(&tx, &fresh), 0);
  ck_assert_uint_eq(whole(uvch_watch_borrow_and_update(&rx)), 1);
  check_dropped(&owner, 1, 0);
  watch_close(&rx);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

static int count_copy(void* to, const void* from, void* arg) {
  *(size_t*) arg += 1;
  memcpy(to, from, sizeof(uint64_t));
  return 0;
}

static int add_one(void* value, void* arg) {
  uint64_t number = watch_number(value) + 1;

  (void) arg;
  memcpy(value, &number, sizeof(number));
  return 1;
}

START_TEST(a_channel_may_have_a_copy_function_alone) {
  uvch_watch_options_t options;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uint64_t value = 5;
  uint64_t old = 0;
  size_t copies = 0;

  memset(&options, 0, sizeof(options));
  options.copy = count_copy;
  options.arg = &copies;
  watch_open_ex(NULL, &rx, &tx, sizeof(value), &value, &options);
  ck_assert_int_eq(uvch_watch_modify(&tx, add_one, NULL), 0);
  ck_assert_uint_eq(copies, 1);
  ck_assert_uint_eq(watch_peek(&rx), 6);
  ck_assert_int_eq(uvch_watch_send_replace(&tx, &value, &old), 0); /* somebody looks at that one */
  ck_assert_uint_eq(old, 6);
  ck_assert_uint_eq(copies, 2);
  watch_close(&rx);
  watch_drop_sender(&tx);
  ck_assert_uint_eq(copies, 2);
}
END_TEST

/* Copy and drop functions that use the library. None is called under a lock, so the same channel is allowed. */

enum {
  ACT_SEND,
  ACT_REPLACE,
  ACT_MODIFY,
  ACT_BORROW,
  ACT_SUBSCRIBE,
  ACT_CLOSE_OTHER,
  ACT_CLOSE_SELF,
  ACT_CLOSE_CLONE,
  ACT_CLOSE_SENDER,
  ACT_CLOSE_ALL,
  ACT_START_AND_STOP,
  ACT_COUNTERS,
  ACTS
};

typedef struct actor_s {
  uv_loop_t loop;
  watch_owner_t owner;
  uvch_watch_receiver_t rx[3]; /* plain, plain, on the loop */
  bool closed[3];
  uvch_watch_receiver_t fresh[2];
  uvch_watch_sender_t tx[2];
  bool gone[2];
  bool replaces;
  int act;
  bool on; /* from now on it acts */
  size_t acted;
} actor_t;

/* The first value is replaced while it is looked at, if it is to end when the callback returns. */
static void actor_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  actor_t* actor = rx->data;

  support_check(status == 0 || status == UV_EOF);
  if (status == 0 && actor->replaces) {
    actor->replaces = false;
    put(&actor->tx[0], &actor->owner, 2);
    actor->on = true;
  }
  if (status == 0) {
    whole(value);
  }
}

static void actor_close(actor_t* actor, size_t i) {
  if (!actor->closed[i]) {
    actor->closed[i] = true;
    watch_close(&actor->rx[i]);
  }
}

static void actor_drop_sender(actor_t* actor, size_t i) {
  if (!actor->gone[i]) {
    actor->gone[i] = true;
    watch_drop_sender(&actor->tx[i]);
  }
}

/* Through the first sender, or the second if that is gone. */
static const uvch_watch_sender_t* actor_sender(actor_t* actor) {
  return &actor->tx[actor->gone[0] ? 1 : 0];
}

static void actor_send(actor_t* actor) {
  int wanted = actor->gone[0] && actor->gone[1] ? UV_EBADF : 0;

  support_check_eq(watch_put_owned(actor_sender(actor), &actor->owner, 500), wanted);
}

static void actor_replace(actor_t* actor) {
  watch_owned_t fresh;
  watch_owned_t old;

  support_check(watch_owned_make(&actor->owner, &fresh, 600));
  support_check_eq(uvch_watch_send_replace(actor_sender(actor), &fresh, &old), 0);
  whole(&old);
  watch_owned_drop(&old, &actor->owner);
}

static void actor_borrow(actor_t* actor) {
  size_t i;

  for (i = 0; i < COUNT(actor->rx); i++) {
    support_check((uvch_watch_borrow(&actor->rx[i]) != NULL) != actor->closed[i]);
    if (!actor->closed[i]) {
      whole(uvch_watch_borrow_and_update(&actor->rx[i]));
      support_check(uvch_watch_has_changed(&actor->rx[i]) <= 0);
    }
  }
  if (!actor->gone[0]) {
    whole(uvch_watch_sender_borrow(&actor->tx[0]));
  }
}

static void actor_subscribe(actor_t* actor) {
  if (actor->gone[0] && actor->gone[1]) {
    return;
  }
  watch_subscribe(NULL, &actor->fresh[0], actor_sender(actor));
  watch_clone(&actor->loop, &actor->fresh[1], &actor->fresh[0]);
  whole(uvch_watch_borrow(&actor->fresh[1]));
  watch_close(&actor->fresh[0]);
  watch_close(&actor->fresh[1]);
}

static void actor_counters(actor_t* actor) {
  uvch_watch_sender_t clone;

  if (actor->gone[0]) {
    return;
  }
  support_check(uvch_watch_sender_receiver_count(&actor->tx[0]) <= COUNT(actor->rx));
  watch_clone_sender(&actor->tx[0], &clone);
  support_check_eq(uvch_watch_sender_same_channel(&actor->tx[0], &clone), 1);
  watch_drop_sender(&clone);
  support_check_eq(uvch_watch_closed_timedwait(&actor->tx[0], 0), uvch_watch_sender_is_closed(&actor->tx[0]) ? 0 : UV_ETIMEDOUT);
}

static void actor_restart(actor_t* actor) {
  if (!actor->closed[2]) {
    support_check_eq(uvch_watch_stop(&actor->rx[2]), 0);
    support_check_eq(uvch_watch_start(&actor->rx[2], actor_cb, UVCH_WATCH_CURRENT), 0);
  }
}

static void actor_modify(actor_t* actor) {
  renew_t renew;

  memset(&renew, 0, sizeof(renew));
  renew.owner = &actor->owner;
  renew.number = 700;
  renew.answer = 1;
  support_check_eq(uvch_watch_modify(actor_sender(actor), renew_cb, &renew), 0);
}

static void actor_do(void* arg) {
  actor_t* actor = arg;
  bool has_sender = !actor->gone[0] || !actor->gone[1];
  size_t i;

  if (!actor->on || actor->acted++ > 0) { /* what it does may call it again */
    return;
  }
  switch (actor->act) {
    case ACT_SEND:
      actor_send(actor);
      break;
    case ACT_REPLACE:
      if (has_sender) {
        actor_replace(actor);
      }
      break;
    case ACT_MODIFY:
      if (has_sender) {
        actor_modify(actor);
      }
      break;
    case ACT_BORROW:
      actor_borrow(actor);
      break;
    case ACT_SUBSCRIBE:
      actor_subscribe(actor);
      break;
    case ACT_CLOSE_OTHER:
      actor_close(actor, 1);
      actor_close(actor, 2);
      break;
    case ACT_CLOSE_SELF:
      actor_close(actor, 0);
      break;
    case ACT_CLOSE_CLONE:
      actor_drop_sender(actor, 1);
      break;
    case ACT_CLOSE_SENDER:
      actor_drop_sender(actor, 0);
      actor_drop_sender(actor, 1);
      break;
    case ACT_CLOSE_ALL:
      for (i = 0; i < COUNT(actor->rx); i++) {
        actor_close(actor, i);
      }
      actor_drop_sender(actor, 0);
      actor_drop_sender(actor, 1);
      break;
    case ACT_START_AND_STOP:
      actor_restart(actor);
      break;
    default:
      actor_counters(actor);
  }
}

static void actor_open(actor_t* actor, int act) {
  size_t i;

  memset(actor, 0, sizeof(*actor));
  support_loop_init(&actor->loop);
  open_owning(&actor->tx[0], &actor->owner, watch_owned_copy);
  watch_clone_sender(&actor->tx[0], &actor->tx[1]);
  for (i = 0; i < COUNT(actor->rx); i++) {
    subscribe(i < 2 ? NULL : &actor->loop, &actor->rx[i], &actor->tx[0]);
    actor->rx[i].data = actor;
  }
  actor->owner.arg = actor;
  actor->act = act;
}

static void actor_end(actor_t* actor) {
  size_t i;

  ck_assert_uint_ge(actor->acted, 1);
  for (i = 0; i < COUNT(actor->rx); i++) {
    actor_close(actor, i);
  }
  actor_drop_sender(actor, 0);
  actor_drop_sender(actor, 1);
  support_loop_end(&actor->loop);
  watch_owner_check(&actor->owner);
}

/* What makes a value end: a send, a borrow, closes, a callback that returns, the last close of all. */
enum {
  CAUSE_SEND,
  CAUSE_BORROW,
  CAUSE_WAIT_FOR,
  CAUSE_SENDER_BORROW,
  CAUSE_CLOSE,
  CAUSE_SENDER_CLOSE,
  CAUSE_CALLBACK,
  CAUSE_END,
  CAUSES
};

static void actor_cause(actor_t* actor, int cause) {
  const void* value = NULL;
  int answer;

  switch (cause) {
    case CAUSE_SEND:
      put(&actor->tx[0], &actor->owner, 2);
      break;
    case CAUSE_BORROW: /* what is returned is good, whatever was done meanwhile */
      value = uvch_watch_borrow(&actor->rx[0]);
      support_check(actor->closed[0] || value != NULL);
      break;
    case CAUSE_WAIT_FOR:
      answer = uvch_watch_wait_for_wait(&actor->rx[0], any_value, NULL, &value);
      support_check(answer == 0 || (answer == UV_EBADF && actor->closed[0]));
      break;
    case CAUSE_SENDER_BORROW:
      value = uvch_watch_sender_borrow(&actor->tx[0]);
      support_check(actor->gone[0] || value != NULL);
      break;
    case CAUSE_CLOSE:
      actor_close(actor, 0);
      break;
    case CAUSE_SENDER_CLOSE:
      actor_drop_sender(actor, 0);
      break;
    default:
      break;
  }
  if (value != NULL && !(cause == CAUSE_SENDER_BORROW ? actor->gone[0] : actor->closed[0])) {
    whole(value);
  }
}

START_TEST(a_drop_function_may_use_its_channel) {
  int cause = _i / ACTS;
  actor_t actor;
  size_t i;

  actor_open(&actor, _i % ACTS);
  actor.owner.on_drop = actor_do;
  if (cause == CAUSE_BORROW || cause == CAUSE_WAIT_FOR || cause == CAUSE_CLOSE) {
    whole(uvch_watch_borrow(&actor.rx[0]));
  } else if (cause == CAUSE_SENDER_BORROW || cause == CAUSE_SENDER_CLOSE) {
    whole(uvch_watch_sender_borrow(&actor.tx[0]));
  }
  put(&actor.tx[0], &actor.owner, 1); /* the old one ends here, or is kept by one of these */
  if (cause == CAUSE_CALLBACK) {
    actor.replaces = true;
    ck_assert_int_eq(uvch_watch_start(&actor.rx[2], actor_cb, 0), 0);
    watch_turn(&actor.loop);
  } else if (cause == CAUSE_END) {
    for (i = 0; i < COUNT(actor.rx); i++) {
      actor_close(&actor, i);
    }
    actor_drop_sender(&actor, 1);
    actor.on = true;
    actor_drop_sender(&actor, 0);
  } else {
    actor.on = true;
    actor_cause(&actor, cause);
  }
  ck_assert_uint_ge(actor.acted, 1);
  if (!actor.gone[0]) { /* all works on */
    put(&actor.tx[0], &actor.owner, 3);
  }
  watch_turn(&actor.loop);
  actor_end(&actor);
}
END_TEST

START_TEST(a_copy_function_may_use_its_channel) {
  watch_owned_t fresh;
  watch_owned_t old;
  renew_t renew;
  actor_t actor;
  int answer;

  actor_open(&actor, _i % ACTS);
  actor.owner.on_copy = actor_do;
  put(&actor.tx[0], &actor.owner, 1);
  whole(uvch_watch_borrow(&actor.rx[0])); /* so that it is copied */
  actor.on = true;
  if (_i / ACTS < 2) {
    memset(&renew, 0, sizeof(renew));
    renew.owner = &actor.owner;
    renew.number = 2;
    renew.answer = 1;
    answer =
        _i / ACTS == 0 ? uvch_watch_modify(&actor.tx[0], renew_cb, &renew) : uvch_watch_modify_if(&actor.tx[0], renew_cb, &renew);
    ck_assert(answer == _i / ACTS || (actor.gone[0] && answer == UV_EBADF));
  } else {
    ck_assert_int_eq(watch_owned_make(&actor.owner, &fresh, 2), 1);
    answer = uvch_watch_send_replace(&actor.tx[0], &fresh, &old);
    ck_assert(answer == 0 || (actor.gone[0] && answer == UV_EBADF));
    watch_owned_drop(answer == 0 ? &old : &fresh, &actor.owner);
  }
  if (!actor.gone[0]) {
    ck_assert_uint_eq(whole(uvch_watch_sender_borrow(&actor.tx[0])), 2);
  }
  watch_turn(&actor.loop);
  actor_end(&actor);
}
END_TEST

/* Under load. */

enum { BUSY_SENDERS = 2, BUSY_READERS = 2 };

typedef struct busy_s {
  watch_owner_t owner;
  uv_loop_t loop;
  uvch_watch_receiver_t rx[2]; /* on the loop */
  uvch_watch_receiver_t readers[BUSY_READERS];
  uvch_watch_sender_t tx[BUSY_SENDERS];
  uvch_watch_sender_t churn_tx;
  uint64_t each;
  _Atomic(uint64_t) next;
  _Atomic(bool) over;
  support_result_t result;
} busy_t;

typedef struct busy_self_s {
  busy_t* busy;
  size_t index;
  uv_thread_t thread;
} busy_self_t;

static void busy_replace(busy_t* b, uvch_watch_sender_t* tx, uint64_t number) {
  watch_owned_t fresh;
  watch_owned_t old;

  if (support_expect(&b->result, watch_owned_make(&b->owner, &fresh, number))) {
    support_expect_eq(&b->result, uvch_watch_send_replace(tx, &fresh, &old), 0);
    support_expect(&b->result, watch_owned_is_whole(&old));
    watch_owned_drop(&old, &b->owner);
  }
}

static int busy_change(void* value, void* arg) {
  busy_t* b = arg;
  watch_owned_t* owned = value;

  support_expect(&b->result, watch_owned_is_whole(owned));
  owned->number += 1;
  owned->box[0] = owned->number;
  owned->box[1] = ~owned->number;
  return owned->number % 3 != 0;
}

static void busy_send(void* arg) {
  busy_self_t* self = arg;
  busy_t* b = self->busy;
  uvch_watch_sender_t* tx = &b->tx[self->index];
  uint64_t i;
  int answer;

  for (i = 0; i < b->each; i++) {
    if (i % 4 < 2) {
      support_expect_eq(&b->result, watch_put_owned(tx, &b->owner, atomic_fetch_add(&b->next, 1)), 0);
    } else if (i % 4 == 2) {
      busy_replace(b, tx, atomic_fetch_add(&b->next, 1));
    } else {
      answer = uvch_watch_modify_if(tx, busy_change, b);
      support_expect(&b->result, answer == 0 || answer == 1 || answer == UV_EBUSY);
    }
    if (i % 16 == 0) {
      support_expect(&b->result, watch_owned_is_whole(uvch_watch_sender_borrow(tx)));
      support_yield();
    }
  }
  support_expect_eq(&b->result, uvch_watch_sender_close(tx), 0);
}

static void busy_read(void* arg) {
  busy_self_t* self = arg;
  busy_t* b = self->busy;
  uvch_watch_receiver_t* rx = &b->readers[self->index];
  const void* before = NULL;
  const void* value;

  while (uvch_watch_changed_wait(rx) == 0) {
    support_expect(&b->result, before == NULL || watch_owned_is_whole(before)); /* borrowed the last time */
    value = uvch_watch_borrow(rx);
    support_expect(&b->result, watch_owned_is_whole(value));
    before = value;
  }
  support_expect(&b->result, watch_owned_is_whole(uvch_watch_borrow(rx)));
  support_expect_eq(&b->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
}

/* Comes and goes, with something borrowed. */
static void busy_churn(void* arg) {
  busy_self_t* self = arg;
  busy_t* b = self->busy;
  uvch_watch_receiver_t rx;

  while (!atomic_load(&b->over)) {
    if (!support_expect_eq(&b->result, uvch_watch_subscribe(NULL, &rx, &b->churn_tx), 0)) {
      break;
    }
    support_expect(&b->result, watch_owned_is_whole(uvch_watch_borrow(&rx)));
    support_yield();
    support_expect(&b->result, watch_owned_is_whole(uvch_watch_borrow_and_update(&rx)));
    support_expect_eq(&b->result, uvch_close((uvch_handle_t*) &rx, NULL), 0);
  }
  support_expect_eq(&b->result, uvch_watch_sender_close(&b->churn_tx), 0);
}

static void busy_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  if (status == 0) {
    whole(value);
    whole(uvch_watch_borrow(rx));
    whole(value);
  } else {
    watch_close(rx);
  }
}

/* Ends the one that comes and goes, once the senders are done. */
static void busy_wait(void* arg) {
  busy_self_t* senders = arg;
  size_t i;

  for (i = 0; i < BUSY_SENDERS; i++) {
    support_expect_eq(&senders->busy->result, uv_thread_join(&senders[i].thread), 0);
  }
  atomic_store(&senders->busy->over, true);
}

static void busy_open(busy_t* b) {
  size_t i;

  support_loop_init(&b->loop);
  open_owning(&b->tx[0], &b->owner, watch_owned_copy);
  for (i = 1; i < BUSY_SENDERS; i++) {
    watch_clone_sender(&b->tx[0], &b->tx[i]);
  }
  watch_clone_sender(&b->tx[0], &b->churn_tx);
  for (i = 0; i < COUNT(b->rx); i++) {
    subscribe(&b->loop, &b->rx[i], &b->tx[0]);
    ck_assert_int_eq(uvch_watch_start(&b->rx[i], busy_cb, 0), 0);
  }
  for (i = 0; i < BUSY_READERS; i++) {
    subscribe(NULL, &b->readers[i], &b->tx[0]);
  }
}

START_TEST(each_value_of_a_busy_channel_ends_once_and_not_while_somebody_looks_at_it) {
  busy_self_t senders[BUSY_SENDERS];
  busy_self_t readers[BUSY_READERS];
  busy_self_t churn;
  uv_thread_t waiter;
  static busy_t b;
  size_t i;

  memset(&b, 0, sizeof(b));
  b.each = support_scale(10000);
  busy_open(&b);
  churn.busy = &b;
  support_spawn(&churn.thread, busy_churn, &churn);
  for (i = 0; i < BUSY_READERS; i++) {
    readers[i].busy = &b;
    readers[i].index = i;
    support_spawn(&readers[i].thread, busy_read, &readers[i]);
  }
  for (i = 0; i < BUSY_SENDERS; i++) {
    senders[i].busy = &b;
    senders[i].index = i;
    support_spawn(&senders[i].thread, busy_send, &senders[i]);
  }
  support_spawn(&waiter, busy_wait, senders);
  support_loop_end(&b.loop);
  support_join(&waiter);
  support_join(&churn.thread);
  for (i = 0; i < BUSY_READERS; i++) {
    support_join(&readers[i].thread);
  }
  support_result_check(&b.result);
  watch_owner_check(&b.owner);
}
END_TEST

/* Sizes. */

static const size_t sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 128, 129, 4096, 1 << 20};
#define SIZE (sizes[_i % (int) COUNT(sizes)])
#define SIZE_VARIANT ((size_t) _i / COUNT(sizes))
#define add_for_every_size(tcase, test, variants) tcase_add_loop_test(tcase, test, 0, (int) (COUNT(sizes) * (size_t) (variants)))

/* Values of which the whole program knows the newest one. */
typedef struct parcel_s {
  size_t size;
  uint64_t newest;
  unsigned char* bytes; /* one more than the size, to see that it is not written */
  size_t got;
  size_t tested;
  size_t copied;
  size_t dropped;
} parcel_t;

static void parcel_check(const parcel_t* parcel, const void* value, uint64_t number) {
  support_check(value != NULL);
  support_check(watch_blob_is(value, parcel->size, number));
  support_check(watch_blob_is_aligned(value, parcel->size));
}

static void parcel_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  parcel_t* parcel = rx->data;

  support_check_eq(status, 0);
  parcel_check(parcel, value, parcel->newest);
  parcel->got += 1;
}

static int parcel_test(const void* value, void* arg) {
  parcel_t* parcel = arg;

  parcel_check(parcel, value, parcel->newest);
  parcel->tested += 1;
  return 1;
}

static void parcel_on_wait(uvch_watch_wait_for_t* req, int status, const void* value) {
  parcel_t* parcel = req->data;

  support_check_eq(status, 0);
  parcel_check(parcel, value, parcel->newest);
  parcel->got += 1;
}

static int parcel_modify(void* value, void* arg) {
  parcel_t* parcel = arg;

  parcel_check(parcel, value, parcel->newest);
  watch_blob_fill(value, parcel->size, parcel->newest + 1);
  return 1;
}

static int parcel_copy(void* to, const void* from, void* arg) {
  parcel_t* parcel = arg;

  support_check(watch_blob_is_aligned(from, parcel->size));
  memcpy(to, from, parcel->size);
  parcel->copied += 1;
  return 0;
}

static void parcel_drop(void* value, void* arg) {
  parcel_t* parcel = arg;

  support_check(value != NULL);
  support_check(parcel->size < sizeof(uint64_t) || watch_blob_is_whole(value, parcel->size));
  support_check(watch_blob_is_aligned(value, parcel->size));
  parcel->dropped += 1;
}

/* The next one in one of the ways there are; the bytes that it was sent with are gone afterwards. */
static void parcel_next(parcel_t* parcel, const uvch_watch_sender_t* tx) {
  size_t size = parcel->size;
  unsigned char* old;

  watch_blob_fill(parcel->bytes, size, parcel->newest + 1);
  if (parcel->newest % 3 == 0) {
    support_check_eq(uvch_watch_send(tx, size == 0 ? NULL : parcel->bytes), 0);
  } else if (parcel->newest % 3 == 1) {
    support_check_eq(uvch_watch_modify(tx, parcel_modify, parcel), 0);
  } else {
    old = malloc(size + 1);
    support_check(old != NULL);
    old[size] = 0xee;
    support_check_eq(uvch_watch_send_replace(tx, parcel->bytes, old), 0);
    support_check(watch_blob_is(old, size, parcel->newest));
    support_check_eq(old[size], 0xee); /* and not a byte more */
    free(old);
  }
  memset(parcel->bytes, 0xdd, size + 1);
  parcel->newest += 1;
}

START_TEST(values_of_every_size_are_whole_and_aligned) {
  uvch_watch_options_t options;
  uvch_watch_receiver_t plain;
  uvch_watch_receiver_t rx[2];
  uvch_watch_sender_t tx;
  uvch_watch_wait_for_t req;
  parcel_t parcel;
  const void* value;
  uv_loop_t loop;
  size_t round;
  size_t i;

  memset(&parcel, 0, sizeof(parcel));
  parcel.size = SIZE;
  parcel.bytes = malloc(SIZE + 1);
  ck_assert_ptr_nonnull(parcel.bytes);
  memset(&options, 0, sizeof(options));
  options.copy = SIZE_VARIANT == 1 ? parcel_copy : NULL;
  options.drop = SIZE_VARIANT == 1 ? parcel_drop : NULL;
  options.arg = &parcel;
  support_loop_init(&loop);
  watch_blob_fill(parcel.bytes, SIZE, 0);
  watch_open_ex(NULL, &plain, &tx, SIZE, SIZE == 0 ? NULL : parcel.bytes, &options);
  memset(parcel.bytes, 0xdd, SIZE + 1); /* the channel has its own */
  for (i = 0; i < 2; i++) {
    subscribe(&loop, &rx[i], &tx);
    rx[i].data = &parcel;
  }
  parcel_check(&parcel, uvch_watch_borrow(&plain), 0);
  req.data = &parcel;
  ck_assert_int_eq(uvch_watch_start(&rx[0], parcel_cb, 0), 0);
  for (round = 1; round <= (SIZE < 4096 ? 12 : 4); round++) {
    value = uvch_watch_sender_borrow(&tx);
    parcel_next(&parcel, &tx);
    parcel_check(&parcel, value, parcel.newest - 1); /* is kept */
    ck_assert_int_eq(uvch_watch_wait_for(&req, &rx[1], parcel_test, &parcel, parcel_on_wait), 0);
    watch_turn(&loop);
    ck_assert_uint_eq(parcel.got, 2 * round);
    ck_assert_uint_eq(parcel.tested, 2 * round - 1);
    ck_assert_int_eq(uvch_watch_wait_for_wait(&plain, parcel_test, &parcel, &value), 0);
    parcel_check(&parcel, value, parcel.newest);
    parcel_check(&parcel, uvch_watch_borrow(&rx[1]), parcel.newest);
  }
  watch_close(&plain);
  watch_close(&rx[0]);
  watch_close(&rx[1]);
  watch_drop_sender(&tx);
  if (SIZE_VARIANT == 1) { /* what came out of a send_replace was not dropped, but its copy was */
    ck_assert_uint_eq(parcel.dropped, parcel.newest + 1);
    ck_assert_uint_ge(parcel.copied, parcel.newest / 3);
  }
  support_loop_end(&loop);
  free(parcel.bytes);
}
END_TEST

/* How much. Values are plain numbers here. */

static void any_number_cb(uvch_watch_receiver_t* rx, int status, const void* value) {
  size_t* count = rx->data;

  support_check(status == 0 && value != NULL);
  *count += 1;
}

static int no_number(const void* value, void* arg) {
  (void) arg;
  support_check(value != NULL);
  return 0;
}

static int any_number(const void* value, void* arg) {
  (void) arg;
  support_check(value != NULL);
  return 1;
}

static void on_waited(uvch_watch_wait_for_t* req, int status, const void* value) {
  int* told = req->data;

  support_check((status == 0) == (value != NULL));
  *told = status;
}

START_TEST(an_idle_receiver_takes_at_most_160_bytes_and_none_of_the_heap) {
  enum { MANY = 1000 };
  uvch_watch_receiver_t* rx = calloc(MANY, sizeof(*rx));
  uvch_watch_receiver_t anchor;
  uvch_watch_sender_t tx;
  size_t count = 0;
  uv_loop_t loop;
  size_t i;

  ck_assert_ptr_nonnull(rx);
  ck_assert_uint_le(sizeof(rx[0]), 160);
  support_loop_init(&loop);
  watch_open(&loop, &anchor, &tx, 0); /* makes what they share */
  support_alloc_mark();
  for (i = 0; i < MANY; i++) {
    if (i % 2 == 0) {
      watch_subscribe(&loop, &rx[i], &tx);
    } else {
      watch_clone(&loop, &rx[i], &rx[i - 1]);
    }
    rx[i].data = &count;
    if (_i >= 1) {
      ck_assert_int_eq(uvch_watch_start(&rx[i], any_number_cb, 0), 0); /* waiting takes no more */
    }
    if (_i == 2) {
      support_check(uvch_watch_borrow(&rx[i]) != NULL); /* nor does looking at it */
    }
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  if (_i >= 1) {
    support_alloc_mark();
    watch_put(&tx, 1);
    while (count < MANY) /* as many passes as the time budget makes of it */
      watch_turn(&loop);
    ck_assert_uint_eq(count, MANY);
    ck_assert_uint_le(support_alloc_calls(), 1); /* for the value, at most */
  }
  for (i = 0; i < MANY; i++) {
    watch_close(&rx[i]);
  }
  watch_close(&anchor);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  free(rx);
}
END_TEST

START_TEST(receivers_and_requests_that_come_and_go_leave_no_memory_behind) {
  uvch_watch_receiver_t rx[20];
  uvch_watch_wait_for_t req;
  uvch_watch_sender_t clone;
  uvch_watch_sender_t tx;
  uvch_watch_receiver_t anchor;
  int told;
  uv_loop_t loop;
  size_t blocks = 0;
  size_t bytes = 0;
  size_t round;
  size_t i;

  support_loop_init(&loop);
  watch_open(&loop, &anchor, &tx, 0);
  for (round = 0; round < support_scale(200); round++) {
    watch_clone_sender(&tx, &clone);
    for (i = 0; i < COUNT(rx); i++) {
      watch_subscribe(i % 2 == 0 ? NULL : &loop, &rx[i], &tx);
      if (i % 3 == 0) {
        support_check(uvch_watch_borrow(&rx[i]) != NULL);
      }
      watch_put(&clone, i);
    }
    support_check(uvch_watch_sender_borrow(&clone) != NULL);
    req.data = &told;
    told = WATCH_NOT_DONE;
    ck_assert_int_eq(uvch_watch_wait_for(&req, &rx[1], no_number, NULL, on_waited), 0);
    for (i = 0; i < COUNT(rx); i++) {
      watch_close(&rx[i * 7 % COUNT(rx)]);
    }
    watch_drop_sender(&clone);
    watch_turn(&loop);
    ck_assert_int_eq(told, UV_ECANCELED);
    if (round == 2) {
      blocks = support_alloc_blocks();
      bytes = support_alloc_bytes();
    }
    if (round >= 2) {
      ck_assert_uint_eq(support_alloc_blocks(), blocks);
      ck_assert_uint_eq(support_alloc_bytes(), bytes);
    }
  }
  watch_close(&anchor);
  watch_drop_sender(&tx);
  support_loop_end(&loop);
}
END_TEST

/* One to three of them, on the loop and without, which look at each value or at some. */
START_TEST(a_steady_stream_takes_no_memory) {
  static const size_t steady_sizes[] = {8, 64, 200, 4096};
  size_t receivers = 1 + (size_t) _i % 3;
  size_t size = steady_sizes[_i / 3 % (int) COUNT(steady_sizes)];
  bool lazy = _i / 3 / (int) COUNT(steady_sizes) == 1;
  uvch_watch_receiver_t rx[3];
  uvch_watch_sender_t tx;
  unsigned char* value = calloc(1, size);
  size_t count = 0;
  uv_loop_t loop;
  uint64_t number;
  size_t k;

  ck_assert_ptr_nonnull(value);
  support_loop_init(&loop);
  watch_open_ex(NULL, NULL, &tx, size, value, NULL);
  for (k = 0; k < receivers; k++) {
    subscribe(k == 1 ? &loop : NULL, &rx[k], &tx);
  }
  if (receivers > 1) {
    rx[1].data = &count;
    ck_assert_int_eq(uvch_watch_start(&rx[1], any_number_cb, 0), 0);
  }
  for (number = 1; number <= 200; number++) {
    if (number == 20) {
      support_alloc_mark();
    }
    memcpy(value, &number, sizeof(number));
    if (number % 10 == 0) {
      ck_assert_int_eq(uvch_watch_modify(&tx, add_one, NULL), 0);
    } else {
      ck_assert_int_eq(uvch_watch_send(&tx, value), 0);
    }
    watch_turn(&loop);
    for (k = 0; k < receivers; k++) {
      if (!lazy || (number + k) % 3 == 0) {
        ck_assert_uint_eq(watch_take(&rx[k]), number);
      }
    }
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  ck_assert_uint_eq(count, receivers > 1 ? 200 : 0);
  for (k = 0; k < receivers; k++) {
    watch_close(&rx[k]);
  }
  watch_drop_sender(&tx);
  support_loop_end(&loop);
  free(value);
}
END_TEST

START_TEST(what_is_kept_for_later_does_not_grow_with_what_was_looked_at) {
  enum { MANY = 100 };
  static uvch_watch_receiver_t rx[MANY];
  uvch_watch_sender_t tx;
  size_t round;
  size_t blocks = 0;
  size_t i;

  watch_open(NULL, NULL, &tx, 0);
  for (i = 0; i < MANY; i++) {
    watch_subscribe(NULL, &rx[i], &tx);
  }
  for (round = 0; round < 20; round++) {
    for (i = 0; i < MANY; i++) { /* a value of their own for each */
      watch_put(&tx, round * MANY + i);
      ck_assert_uint_eq(watch_take(&rx[i]), round * MANY + i);
    }
    if (round == 1) {
      blocks = support_alloc_blocks();
    }
    ck_assert(round == 0 || support_alloc_blocks() <= blocks + 1);
  }
  for (i = 0; i < MANY; i++) {
    watch_close(&rx[i]);
  }
  watch_drop_sender(&tx);
}
END_TEST

START_TEST(borrows_clones_and_counters_take_no_memory) {
  uvch_watch_sender_t clones[20];
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  size_t i;

  watch_open(NULL, &rx, &tx, 0);
  watch_put(&tx, 1);
  support_alloc_mark();
  support_alloc_fail_from(1);
  for (i = 0; i < COUNT(clones); i++) {
    watch_clone_sender(&tx, &clones[i]);
    ck_assert_uint_eq(watch_sender_peek(&clones[i]), 1);
  }
  ck_assert_uint_eq(uvch_watch_sender_sender_count(&tx), 1 + COUNT(clones));
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&tx), 1);
  ck_assert_int_eq(uvch_watch_sender_is_closed(&tx), 0);
  ck_assert_int_eq(uvch_watch_sender_same_channel(&tx, &clones[0]), 1);
  ck_assert_int_eq(uvch_watch_has_changed(&rx), 1);
  ck_assert_uint_eq(watch_peek(&rx), 1);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0); /* does not sleep */
  ck_assert_int_eq(uvch_watch_mark_changed(&rx), 0);
  ck_assert_int_eq(uvch_watch_mark_unchanged(&rx), 0);
  ck_assert_uint_eq(watch_take(&rx), 1);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_ETIMEDOUT);
  for (i = 0; i < COUNT(clones); i++) {
    watch_drop_sender(&clones[i]);
  }
  ck_assert_uint_eq(support_alloc_calls(), 0);
  watch_close(&rx);
  watch_drop_sender(&tx);
  support_alloc_fail_from(0);
}
END_TEST

/* None left. A program that makes every call that may need memory, run again and again with another allocation failing each
 * time. */

enum { OWNED, PLAIN, BIG, CHANNELS };
enum { RECEIVERS = 8 };

typedef struct big_s {
  watch_owned_t owned;
  unsigned char more[1000];
} big_t;

typedef struct program_s {
  uv_loop_t loop;
  bool for_good; /* once memory is out, it stays so: the first UV_ENOMEM ends the program */
  uvch_watch_sender_t tx[CHANNELS];
  bool open[CHANNELS];
  uvch_watch_receiver_t rx[RECEIVERS];
  bool subscribed[RECEIVERS];
  uvch_watch_wait_for_t reqs[2];
  bool asked[2];
  int answers[2];
  uvch_watch_closed_t closed_req;
  bool watched;
  int closed_status;
  watch_owner_t owner;
  size_t count;
} program_t;

/* 1: it worked. 0: no memory, which must be true. */
static int worked(int result) {
  if (result == UV_ENOMEM) {
    ck_assert_uint_gt(support_alloc_failed(), 0);
    return 0;
  }
  support_check(result >= 0);
  return 1;
}

/* A call that has failed for a single allocation works the next time. */
#define TRY(program, call) (worked(call) || (!(program)->for_good && worked(call)))

/* A wait that ends by its time, if it can begin. */
static int timed_out(int result) {
  return result == UV_ETIMEDOUT ? 0 : result;
}

/* What a call that fails must leave alone. */
typedef struct state_s {
  const void* value;
  uint64_t number;
  size_t receivers;
  size_t senders;
  size_t dropped;
  size_t blocks;
} state_t;

static state_t state_of(program_t* p, size_t channel) {
  uvch_watch_sender_t* tx = &p->tx[channel];
  state_t state = {.blocks = support_alloc_blocks()};

  state.value = uvch_watch_sender_borrow(tx);
  state.number = watch_number(state.value);
  state.receivers = uvch_watch_sender_receiver_count(tx);
  state.senders = uvch_watch_sender_sender_count(tx);
  state.dropped = dropped(&p->owner);
  return state;
}

static void state_check(program_t* p, size_t channel, const state_t* before) {
  state_t after = state_of(p, channel);

  support_check(after.value == before->value);
  support_check_eq(after.number, before->number);
  support_check_eq(after.receivers, before->receivers);
  support_check_eq(after.senders, before->senders);
  support_check_eq(after.dropped, before->dropped);
}

static size_t program_size(size_t channel) {
  return channel == OWNED ? sizeof(watch_owned_t) : channel == BIG ? sizeof(big_t) : sizeof(uint64_t);
}

/* A value, which is the caller's. */
static void program_value(program_t* p, size_t channel, uint64_t number, big_t* value) {
  memset(value, 0, sizeof(*value));
  if (channel == PLAIN) {
    memcpy(value, &number, sizeof(number));
  } else {
    support_check(watch_owned_make(&p->owner, &value->owned, number));
  }
}

static void program_give_up(program_t* p, size_t channel, big_t* value) {
  if (channel != PLAIN) {
    watch_owned_drop(&value->owned, &p->owner);
  }
}

static int program_copy_big(void* to, const void* from, void* arg) {
  memcpy(to, from, sizeof(big_t));
  return watch_owned_copy(to, from, arg);
}

/* A call that makes a receiver, and perhaps a sender: without memory both stay as they were. */
static int program_make(program_t* p, size_t channel, size_t receiver, uv_loop_t* loop, int way) {
  uvch_watch_receiver_t rx = p->rx[receiver];
  uvch_watch_sender_t tx = p->tx[channel];
  uvch_watch_options_t options;
  big_t value;
  int answer;

  memset(&options, 0, sizeof(options));
  options.copy = channel == OWNED ? watch_owned_copy : channel == BIG ? program_copy_big : NULL;
  options.drop = channel == PLAIN ? NULL : watch_owned_drop;
  options.arg = &p->owner;
  if (way == 0) {
    program_value(p, channel, 0, &value);
    answer = uvch_watch_init_ex(loop, &p->rx[receiver], &p->tx[channel], program_size(channel), &value, &options);
    if (answer != 0) {
      program_give_up(p, channel, &value); /* is the caller's */
    }
  } else if (way == 1) {
    answer = uvch_watch_subscribe(loop, &p->rx[receiver], &p->tx[channel]);
  } else {
    answer = uvch_watch_receiver_clone(loop, &p->rx[receiver], &p->rx[channel]);
  }
  if (!worked(answer)) {
    support_check_eq(memcmp(&rx, &p->rx[receiver], sizeof(rx)), 0);
    support_check_eq(memcmp(&tx, &p->tx[channel], sizeof(tx)), 0);
    return UV_ENOMEM;
  }
  p->rx[receiver].data = &p->count;
  p->subscribed[receiver] = true;
  p->open[channel] = true;
  return 0;
}

static int program_store(void* value, void* arg) {
  (void) value;
  (void) arg;
  return 1;
}

enum { STORE_SEND, STORE_REPLACE, STORE_MODIFY, STORE_MODIFY_IF, STORES };

/* A new value. Without memory nothing has changed, and what was to be sent is the caller's. */
static int program_store_by(program_t* p, size_t channel, uint64_t number, int way) {
  state_t before = state_of(p, channel);
  big_t value;
  big_t old;
  int answer;

  if (way == STORE_MODIFY) {
    answer = uvch_watch_modify(&p->tx[channel], program_store, NULL);
  } else if (way == STORE_MODIFY_IF) {
    answer = uvch_watch_modify_if(&p->tx[channel], program_store, NULL);
  } else {
    program_value(p, channel, number, &value);
    if (way == STORE_SEND) {
      answer = uvch_watch_send(&p->tx[channel], &value);
    } else {
      answer = uvch_watch_send_replace(&p->tx[channel], &value, &old);
    }
    if (answer != 0) {
      before.dropped += channel != PLAIN;
      program_give_up(p, channel, &value);
    } else if (way == STORE_REPLACE) {
      program_give_up(p, channel, &old);
    }
  }
  if (!worked(answer)) {
    state_check(p, channel, &before);
    return UV_ENOMEM;
  }
  return 0;
}

static int program_open(program_t* p) {
  return TRY(p, program_make(p, OWNED, OWNED, &p->loop, 0)) && TRY(p, program_make(p, PLAIN, PLAIN, NULL, 0)) &&
         TRY(p, program_make(p, BIG, BIG, &p->loop, 0)) && TRY(p, program_make(p, OWNED, 3, &p->loop, 1)) &&
         TRY(p, program_make(p, PLAIN, 4, &p->loop, 1)) && TRY(p, program_make(p, BIG, 5, NULL, 1)) &&
         TRY(p, program_make(p, PLAIN, 6, &p->loop, 2)) && TRY(p, program_make(p, OWNED, 7, NULL, 2)) &&
         TRY(p, uvch_loop_configure(&p->loop, UVCH_LOOP_BUDGET_MESSAGES, 100));
}

/* With old values kept, so that each new one needs its place. */
static int program_send_all(program_t* p) {
  uint64_t number = 1;
  size_t channel;
  size_t i;
  int way;

  for (i = 0; i < 3; i++) {
    for (channel = 0; channel < CHANNELS; channel++) {
      for (way = 0; way < STORES; way++) {
        if (!TRY(p, program_store_by(p, channel, number++, way))) {
          return 0;
        }
      }
      support_check(uvch_watch_borrow(&p->rx[i == 0 ? channel : i == 1 ? 3 + channel : 6 + channel % 2]) != NULL);
    }
  }
  return 1;
}

static void program_on_closed(uvch_watch_closed_t* req, int status) {
  program_t* p = req->data;

  p->closed_status = status;
}

static int program_ask(program_t* p, size_t k, size_t receiver) {
  p->answers[k] = WATCH_NOT_DONE;
  p->reqs[k].data = &p->answers[k];
  p->asked[k] = TRY(p, uvch_watch_wait_for(&p->reqs[k], &p->rx[receiver], no_number, NULL, on_waited));
  return p->asked[k];
}

static int program_wait(program_t* p) {
  p->closed_req.data = p;
  p->watched = TRY(p, uvch_watch_closed(&p->loop, &p->closed_req, &p->tx[PLAIN], program_on_closed));
  if (!p->watched || !TRY(p, timed_out(uvch_watch_closed_timedwait(&p->tx[OWNED], 1000)))) {
    return 0;
  }
  support_check(uvch_watch_borrow_and_update(&p->rx[PLAIN]) != NULL); /* so that it can sleep */
  return TRY(p, timed_out(uvch_watch_changed_timedwait(&p->rx[PLAIN], 1000))) &&
         TRY(p, timed_out(uvch_watch_wait_for_timedwait(&p->rx[PLAIN], no_number, NULL, NULL, 1000))) &&
         program_ask(p, 0, OWNED) && program_ask(p, 1, 4) && TRY(p, uvch_attach(&p->loop, (uvch_handle_t*) &p->rx[5])) &&
         TRY(p, uvch_attach(&p->loop, (uvch_handle_t*) &p->rx[7]));
}

static int program_receive(program_t* p) {
  static const size_t started[] = {BIG, 3, 5, 6, 7};
  size_t i;

  for (i = 0; i < COUNT(started); i++) {
    if (!TRY(p, uvch_watch_start(&p->rx[started[i]], any_number_cb, i % 2 == 0 ? UVCH_WATCH_CURRENT : 0))) {
      return 0;
    }
    uv_run(&p->loop, UV_RUN_NOWAIT);
  }
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &p->reqs[1]), 0);
  uv_run(&p->loop, UV_RUN_NOWAIT);
  return TRY(p, program_store_by(p, OWNED, 300, STORE_SEND)) && TRY(p, program_store_by(p, PLAIN, 300, STORE_SEND));
}

/* Needs no memory. */
static void program_end(program_t* p) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (p->subscribed[i]) {
      watch_close(&p->rx[i]);
    }
  }
  for (i = 0; i < CHANNELS; i++) {
    if (p->open[i]) {
      watch_drop_sender(&p->tx[i]);
    }
  }
  support_loop_end(&p->loop);
  for (i = 0; i < COUNT(p->asked); i++) {
    ck_assert(!p->asked[i] || p->answers[i] == UV_ECANCELED);
    ck_assert(p->asked[i] || p->answers[i] == 0 || p->answers[i] == WATCH_NOT_DONE);
  }
  ck_assert_int_eq(p->closed_status, p->watched ? 0 : WATCH_NOT_DONE);
}

/* Whether an allocation failed. */
static bool program_run(size_t n, bool for_good) {
  size_t before = support_alloc_blocks();
  program_t p;
  int ok;

  memset(&p, 0, sizeof(p));
  p.for_good = for_good;
  p.closed_status = WATCH_NOT_DONE;
  support_loop_init(&p.loop);
  support_alloc_mark();
  if (for_good) {
    support_alloc_fail_from(n);
  } else {
    support_alloc_fail(n);
  }
  ok = program_open(&p) && program_send_all(&p) && program_wait(&p) && program_receive(&p);
  ck_assert(ok || for_good);
  program_end(&p);
  support_alloc_fail_from(0);
  watch_owner_check(&p.owner);
  ck_assert_uint_eq(support_alloc_blocks(), before);
  return support_alloc_failed() > 0;
}

START_TEST(any_allocation_may_fail_and_nothing_is_lost_or_leaked) {
  size_t n = 1;

  while (program_run(n, _i == 1)) {
    n += 1;
  }
  ck_assert_uint_gt(n, CHANNELS); /* each of them needed one */
}
END_TEST

START_TEST(a_wait_without_memory_is_refused_and_does_not_sleep) {
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  const void* value = NULL;

  watch_open(NULL, &rx, &tx, 0);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 1000000), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_changed_timedwait(&rx, 0), UV_ETIMEDOUT); /* it does not sleep */
  ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, no_number, NULL, &value), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, no_number, NULL, &value, 1000000), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_wait_for_timedwait(&rx, no_number, NULL, &value, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_watch_wait_for_wait(&rx, any_number, NULL, &value), 0);
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), UV_ENOMEM);
  ck_assert_int_eq(uvch_watch_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  support_alloc_fail_from(0);
  watch_put(&tx, 1);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_watch_changed_wait(&rx), 0); /* nor for what is there */
  support_alloc_fail_from(0);
  watch_close(&rx);
  ck_assert_int_eq(uvch_watch_closed_wait(&tx), 0);
  watch_drop_sender(&tx);
}
END_TEST

static void add_ends(Suite* suite) {
  TCase* tcase = support_case(suite, "ends");

  tcase_add_loop_test(tcase, a_value_ends_in_the_send_that_replaces_it_if_nobody_looks_at_it, 0, 2 * 3);
  tcase_add_loop_test(tcase, the_last_value_ends_in_the_call_that_closes_the_last_end, 0, 2 * 2 * 2);
  tcase_add_test(tcase, a_channel_without_receivers_keeps_its_value_for_those_who_come);
  tcase_add_loop_test(tcase, a_borrowed_value_ends_when_it_is_let_go, 0, 2 * WAYS);
  tcase_add_loop_test(tcase, a_value_that_a_sender_has_borrowed_ends_when_it_is_let_go, 0, 2);
  tcase_add_loop_test(tcase, a_value_ends_with_the_last_one_who_looks_at_it, 0, 4);
  tcase_add_test(tcase, a_clone_has_nothing_borrowed);
  tcase_add_test(tcase, a_moved_sender_takes_what_it_has_borrowed_with_it);
  tcase_add_test(tcase, a_value_ends_on_the_thread_that_replaced_it_or_was_done_with_it_last);
  tcase_add_loop_test(tcase, a_value_does_not_end_in_its_callback_or_predicate_whatever_that_does, 0, 3 * DEEDS);
  tcase_add_test(tcase, a_value_ends_on_the_loops_thread_if_its_callback_is_the_last_that_looks_at_it);
  tcase_add_test(tcase, values_end_also_when_a_program_closes_the_librarys_handles);
}

static void add_functions(Suite* suite) {
  TCase* tcase = support_case(suite, "functions");

  tcase_add_test(tcase, modify_makes_a_copy_and_the_old_value_ends_as_in_a_send);
  tcase_add_test(tcase, a_copy_that_is_given_up_ends_and_nothing_has_changed);
  tcase_add_loop_test(tcase, each_copy_of_a_modify_that_comes_too_late_ends, 0, 2);
  tcase_add_test(tcase, a_copy_function_that_fails_fails_the_call_and_nothing_has_changed);
  tcase_add_test(tcase, the_value_that_a_send_replaced_is_the_callers);
  tcase_add_loop_test(tcase, without_a_copy_function_values_that_own_things_are_not_copied, 0, 2);
  tcase_add_test(tcase, a_channel_may_have_a_copy_function_alone);
  tcase_add_loop_test(tcase, a_drop_function_may_use_its_channel, 0, ACTS * CAUSES);
  tcase_add_loop_test(tcase, a_copy_function_may_use_its_channel, 0, ACTS * 3);
  tcase_add_test(tcase, each_value_of_a_busy_channel_ends_once_and_not_while_somebody_looks_at_it);
}

static void add_size(Suite* suite) {
  TCase* tcase = support_case(suite, "size");

  add_for_every_size(tcase, values_of_every_size_are_whole_and_aligned, 2);
  tcase_add_loop_test(tcase, an_idle_receiver_takes_at_most_160_bytes_and_none_of_the_heap, 0, 3);
  tcase_add_test(tcase, receivers_and_requests_that_come_and_go_leave_no_memory_behind);
  tcase_add_loop_test(tcase, a_steady_stream_takes_no_memory, 0, 3 * 4 * 2);
  tcase_add_test(tcase, what_is_kept_for_later_does_not_grow_with_what_was_looked_at);
  tcase_add_test(tcase, borrows_clones_and_counters_take_no_memory);
}

static void add_trouble(Suite* suite) {
  TCase* tcase = support_case(suite, "trouble");

  tcase_add_loop_test(tcase, any_allocation_may_fail_and_nothing_is_lost_or_leaked, 0, 2);
  tcase_add_test(tcase, a_wait_without_memory_is_refused_and_does_not_sleep);
}

int main(void) {
  Suite* suite = suite_create("watch_memory");

  add_ends(suite);
  add_functions(suite);
  add_size(suite);
  add_trouble(suite);
  return support_main(suite);
}
