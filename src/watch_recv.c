/* SPDX-License-Identifier: MIT
 *
 * The receiver of a watch channel: its loop, start and stop, looking at the value, waiting for it as a thread, close. */
#include "parker.h"
#include "watch.h"

/* 0, UV_EINVAL (not a receiver), UV_EBADF (closed). */
static int check(const uvch_watch_receiver_t* rx) {
  if (rx == NULL || rx->type != UVCH_WATCH_RECEIVER)
    return UV_EINVAL;
  return UVCH__USE(rx, (rx->flags & UVCH__CLOSING) != 0 ? UV_EBADF : 0);
}

static uint64_t newest(const uvch_watch_receiver_t* rx) {
  return uvch__tail_load(rx->channel);
}

/* Making one. */

int uvch__watch_subscribe(struct uvch__watch* c, uv_loop_t* loop, uvch_watch_receiver_t* rx) {
  int err = uvch__group_subscribe(&c->hub, loop, (uvch_handle_t*) rx, UVCH_WATCH_RECEIVER);

  if (err != 0)
    return err;
  rx->cb = NULL;
  rx->channel = c;
  rx->borrowed = NULL;
  rx->waits = NULL;
  rx->was_unseen = 0;
  return 0;
}

int uvch_watch_subscribe(uv_loop_t* loop, uvch_watch_receiver_t* rx, const uvch_watch_sender_t* tx) {
  struct uvch__watch* c = uvch__watch_of(tx);

  if (rx == NULL || tx == NULL)
    return UV_EINVAL;
  return c != NULL ? uvch__watch_subscribe(c, loop, rx) : UVCH__WAS_CLOSED(tx);
}

int uvch_watch_receiver_clone(uv_loop_t* loop, uvch_watch_receiver_t* rx, const uvch_watch_receiver_t* source) {
  int err = rx == NULL || rx == source ? UV_EINVAL : check(source);

  if (err == 0)
    err = uvch__watch_subscribe(source->channel, loop, rx);
  if (err == 0)
    rx->seen = source->seen;
  return err;
}

static void attach(uvch_handle_t* handle, struct uvch__port* port) {
  uvch__group_attach(handle, port);
  uvch__handle_attach(handle, port);
}

static void close_receiver(uvch_handle_t* handle) {
  uvch_watch_receiver_t* rx = (uvch_watch_receiver_t*) handle;
  struct uvch__watch* c = rx->channel;
  struct uvch__group* g = rx->core;
  void* borrowed = rx->borrowed;

  uvch__hub_ref(&c->hub);
  uvch__wait_closing(rx);
  rx->channel = NULL;
  rx->borrowed = NULL;
  if (g->members == 1)
    uvch__watch_stop_nap(g);
  uvch__group_remove(handle); /* who sees that it is not counted may use its memory, if it has no loop */
  if (borrowed != NULL)
    uvch__value_unpin(c, borrowed);
  c->hub.ops->serve(&c->hub);
  uvch__watch_leave(c);
  uvch__hub_unref(&c->hub);
}

const struct uvch__handle_ops uvch__watch_handle = {attach, close_receiver, uvch__group_refork};

/* Callbacks. */

int uvch_watch_start(uvch_watch_receiver_t* rx, uvch_watch_cb cb, unsigned int flags) {
  int err = cb == NULL || (flags & ~(unsigned int) UVCH_WATCH_CURRENT) != 0 ? UV_EINVAL : check(rx);

  if (err != 0)
    return err;
  if (rx->loop == NULL)
    return UV_EINVAL;
  if (uvch__member_is_started((uvch_handle_t*) rx))
    return UV_EALREADY;
  if ((flags & UVCH_WATCH_CURRENT) != 0)
    rx->seen = newest(rx) - 1;
  rx->cb = cb;
  uvch__handle_set_active((uvch_handle_t*) rx, 1);
  uvch__group_start((uvch_handle_t*) rx);
  return 0;
}

int uvch_watch_stop(uvch_watch_receiver_t* rx) {
  int err = check(rx);

  if (err == 0)
    uvch__handle_set_active((uvch_handle_t*) rx, 0);
  return err;
}

/* Looking. */

/* Nothing is borrowed, or not the newest value. */
UVCH__NOINLINE const void* fetch(uvch_watch_receiver_t* rx, int is_update) {
  struct uvch__watch* c;
  struct uvch__due due;
  const void* value;

  if (check(rx) != 0)
    return NULL;
  c = rx->channel;
  uvch__value_pin(c, &rx->borrowed, &rx->version, &due);
  rx->was_unseen = rx->seen != rx->version;
  if (is_update)
    rx->seen = rx->version;
  value = uvch__value_of(rx->borrowed);
  uvch__due_do(&c->hub, &due); /* a drop function may close the receiver */
  return value;
}

/* Most calls need no more than this: what is closed has nothing borrowed. */
static inline const void* look(uvch_watch_receiver_t* rx, int is_update) {
  if (__builtin_expect(rx == NULL || rx->borrowed == NULL || newest(rx) != rx->version, 0))
    return fetch(rx, is_update);
  rx->was_unseen = rx->seen != rx->version;
  if (is_update)
    rx->seen = rx->version;
  return ((struct uvch__node*) rx->borrowed)->item;
}

const void* uvch_watch_borrow(uvch_watch_receiver_t* rx) {
  return look(rx, 0);
}

const void* uvch_watch_borrow_and_update(uvch_watch_receiver_t* rx) {
  return look(rx, 1);
}

int uvch_watch_borrow_has_changed(const uvch_watch_receiver_t* rx) {
  return check(rx) == 0 && rx->borrowed != NULL && rx->was_unseen;
}

int uvch_watch_has_changed(const uvch_watch_receiver_t* rx) {
  int err = check(rx);

  if (err != 0)
    return err;
  return uvch__hub_is_closed(rx->channel) ? UV_EOF : newest(rx) != rx->seen;
}

int uvch_watch_mark_changed(uvch_watch_receiver_t* rx) {
  int err = check(rx);

  if (err != 0)
    return err;
  rx->seen = newest(rx) - 1;
  if (uvch__member_is_started((uvch_handle_t*) rx))
    uvch__group_start((uvch_handle_t*) rx);
  return 0;
}

int uvch_watch_mark_unchanged(uvch_watch_receiver_t* rx) {
  int err = check(rx);

  if (err == 0)
    rx->seen = newest(rx);
  return err;
}

int uvch_watch_receiver_same_channel(const uvch_watch_receiver_t* a, const uvch_watch_receiver_t* b) {
  return check(a) == 0 && check(b) == 0 && a->channel == b->channel;
}

/* Waiting, as a thread. */

static int check_thread(const uvch_watch_receiver_t* rx) {
  int err = check(rx);

  return err == 0 && rx->loop != NULL ? UVCH__HAS_LOOP(rx) : err;
}

/* Until the version is not `from` any more; what is there at the end of the time is not left behind. */
static int wait_moved(uvch_watch_receiver_t* rx, uint64_t from, uint64_t timeout, uint64_t deadline) {
  int slept = timeout > 0 ? 0 : UV_ETIMEDOUT;

  for (;;) {
    int is_closed = uvch__hub_is_closed(rx->channel); /* before the look: nothing comes after it */
    if (newest(rx) != from)
      return 0;
    if (is_closed)
      return UV_EOF;
    if (slept != 0)
      return slept;
    slept = uvch__group_sleep(rx->core, from, deadline);
  }
}

int uvch_watch_changed_timedwait(uvch_watch_receiver_t* rx, uint64_t timeout) {
  int err = check_thread(rx);

  if (err == 0)
    err = wait_moved(rx, rx->seen, timeout, uvch__parker_deadline(timeout));
  if (err == 0)
    rx->seen = newest(rx);
  return err;
}

int uvch_watch_changed_wait(uvch_watch_receiver_t* rx) {
  return uvch_watch_changed_timedwait(rx, UINT64_MAX);
}

/* A thread's wait for a value. */
struct wait {
  struct uvch__watch* channel;
  struct uvch__snapshot snapshot; /* what the predicate gets */
  uint64_t first;                 /* the first version that it got */
  int was_unseen;                 /* that one */
  uvch_watch_predicate_cb predicate;
  void* arg;
};

/* User code may have closed it, made it another's, or given it a loop. */
static int check_wait(const uvch_watch_receiver_t* rx, const struct wait* w) {
  int err = check_thread(rx);

  return err == 0 && rx->channel != w->channel ? UV_EBADF : err;
}

/* What the predicate says to the newest value, or an error. */
static int test(uvch_watch_receiver_t* rx, struct wait* w) {
  struct uvch__due due;
  int answer = 0;
  int err;

  uvch__value_pin(w->channel, &w->snapshot.pin, &w->snapshot.version, &due);
  if ((int64_t) (w->snapshot.version - rx->seen) > 0)
    rx->seen = w->snapshot.version;
  uvch__due_do(&w->channel->hub, &due);
  if (check_wait(rx, w) == 0)
    answer = w->predicate(uvch__value_of(w->snapshot.pin), w->arg);
  err = check_wait(rx, w);
  return err != 0 ? err : answer;
}

static int test_first(uvch_watch_receiver_t* rx, struct wait* w) {
  uint64_t seen = rx->seen;
  int answer = test(rx, w);

  w->first = w->snapshot.version;
  w->was_unseen = w->first != seen;
  return answer;
}

/* Above 0, or an error. What is there when the time is over is tested once more. */
static int wait_until(uvch_watch_receiver_t* rx, struct wait* w, uint64_t timeout) {
  uint64_t deadline = uvch__parker_deadline(timeout);
  int answer = test_first(rx, w);

  while (answer == 0) {
    int is_over = timeout == 0 || (deadline != UINT64_MAX && uv_hrtime() >= deadline);
    int err = wait_moved(rx, w->snapshot.version, timeout, deadline);
    if (err != 0)
      return err;
    answer = test(rx, w);
    if (answer == 0 && is_over)
      return UV_ETIMEDOUT;
  }
  return answer;
}

/* It is what the receiver has borrowed from now on. */
static void borrow_that(uvch_watch_receiver_t* rx, struct wait* w) {
  void* before = rx->borrowed;

  rx->borrowed = w->snapshot.pin;
  rx->version = w->snapshot.version;
  rx->was_unseen = w->was_unseen && w->first == w->snapshot.version;
  w->snapshot.pin = before;
}

int uvch_watch_wait_for_timedwait(uvch_watch_receiver_t* rx, uvch_watch_predicate_cb predicate, void* arg, const void** value,
                                  uint64_t timeout) {
  struct wait w = {.predicate = predicate, .arg = arg};
  int answer = predicate == NULL ? UV_EINVAL : check_thread(rx);

  if (answer != 0)
    return answer;
  w.channel = rx->channel;
  uvch__hub_ref(&w.channel->hub); /* the predicate may close the receiver */
  answer = wait_until(rx, &w, timeout);
  if (answer > 0 && value != NULL) {
    borrow_that(rx, &w);
    *value = uvch__value_of(rx->borrowed);
  }
  if (w.snapshot.pin != NULL)
    uvch__value_unpin(w.channel, w.snapshot.pin);
  uvch__hub_unref(&w.channel->hub);
  return answer > 0 ? 0 : answer;
}

int uvch_watch_wait_for_wait(uvch_watch_receiver_t* rx, uvch_watch_predicate_cb predicate, void* arg, const void** value) {
  return uvch_watch_wait_for_timedwait(rx, predicate, arg, value, UINT64_MAX);
}
