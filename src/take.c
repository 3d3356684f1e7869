/* SPDX-License-Identifier: MIT
 *
 * Calls that take messages: at once, or on a plain thread that sleeps until there is one. */
#include <limits.h>

#include "receiver.h"

/* How many; UV_EAGAIN or UV_EOF if there is none. */
static inline int take(struct uvch__core* c, void* items, size_t max) {
  struct uvch__slot* s;
  uint64_t word;
  size_t n;

  for (n = 0; n < max && (s = uvch__front(c)) != NULL; n++) {
    if ((c->next & (UVCH__LOOK_EVERY - 1)) == 0)
      uvch__note_depth(c, uvch__depth(c));
    if (c->item_size > 0) /* else `items` may be NULL, to which nothing may be added */
      uvch__item_copy((char*) items + n * c->item_size, uvch__slot_item(c, s), c->item_size);
    uvch__free_slots(c, s, 1);
    c->next++;
  }
  if (n > 0) {
    if (c->in_hand == 0)
      uvch__give_room(c);
    uvch__ask_room(c);
    return (int) n;
  }
  word = uvch__load_word(c);
  if (!uvch__is_at(c, word))
    return UV_EAGAIN;
  uvch__trim(c);
  return uvch__is_end(c, word) ? UV_EOF : UV_EAGAIN;
}

static int check_items(const uvch_mpsc_receiver_t* rx, const void* items, size_t max) {
  int err = uvch__check_receiver(rx);

  if (err == 0 && (max > INT_MAX || (items == NULL && max > 0 && ((struct uvch__core*) rx->core)->item_size > 0)))
    err = UV_EINVAL;
  return err;
}

int uvch_mpsc_try_recv_many(uvch_mpsc_receiver_t* rx, void* items, size_t max) {
  int err = check_items(rx, items, max);

  return err != 0 || max == 0 ? err : take(rx->core, items, max);
}

/* One message, or what is said of none. */
static int one(int n) {
  return n < 0 ? n : 0;
}

int uvch_mpsc_try_recv(uvch_mpsc_receiver_t* rx, void* item) {
  int err = check_items(rx, item, 1);

  return err != 0 ? err : one(take(rx->core, item, 1));
}

/* Sleeps until posted. 0: look again. */
static int sleep_until(struct uvch__core* c, uint64_t deadline) {
  struct uvch__queue* q = uvch__queue_get(c);
  struct uvch__parker* p = q != NULL ? uvch__queue_parker(c, q) : NULL;
  int err = 0;

  if (p == NULL)
    return UV_ENOMEM;
  if (uvch__home_arm(&c->home, p))
    c->has_token = 1;
  if (c->has_token)
    c->has_token = uvch__park(c) != UVCH__IS_PARKED;
  if (!c->has_token) {
    err = uvch__parker_wait(p, deadline);
    if (err != 0 && uvch__unpark(c)) {
      c->has_token = 1;
      c->is_parked = 0;
    }
    uvch__note_wakeup(c);
    uvch__note_depth(c, uvch__depth(c));
  }
  if (uvch__home_disarm(&c->home))
    c->has_token = 1;
  else
    uvch__parker_unref(p); /* nobody will wake it */
  uvch__parker_unref(p);
  return err;
}

static int recv_wait(uvch_mpsc_receiver_t* rx, void* items, size_t max, uint64_t timeout) {
  int err = check_items(rx, items, max);
  uint64_t deadline;

  if (err == 0 && rx->loop != NULL)
    err = UVCH__HAS_LOOP(rx);
  if (err != 0 || max == 0)
    return err;
  err = take(rx->core, items, max);
  if (err != UV_EAGAIN)
    return err;
  if (timeout == 0)
    return UV_ETIMEDOUT;
  deadline = uvch__parker_deadline(timeout);
  for (;;) {
    int slept = sleep_until(rx->core, deadline);
    err = take(rx->core, items, max); /* also after the time: what came is not left behind */
    if (err != UV_EAGAIN)
      return err;
    if (slept != 0)
      return slept;
  }
}

int uvch_mpsc_recv_wait(uvch_mpsc_receiver_t* rx, void* item) {
  return one(recv_wait(rx, item, 1, UINT64_MAX));
}

int uvch_mpsc_recv_timedwait(uvch_mpsc_receiver_t* rx, void* item, uint64_t timeout) {
  return one(recv_wait(rx, item, 1, timeout));
}

int uvch_mpsc_recv_many_wait(uvch_mpsc_receiver_t* rx, void* items, size_t max) {
  return recv_wait(rx, items, max, UINT64_MAX);
}

int uvch_mpsc_recv_many_timedwait(uvch_mpsc_receiver_t* rx, void* items, size_t max, uint64_t timeout) {
  return recv_wait(rx, items, max, timeout);
}
