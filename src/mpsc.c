/* SPDX-License-Identifier: MIT
 *
 * Making a channel, and what can be asked of it. */
#include <string.h>

#include "receiver.h"

static int check_options(const uvch_mpsc_options_t* options) {
  if (options == NULL)
    return 0;
  if ((options->flags & ~(unsigned int) UVCH_PREALLOCATE) != 0)
    return UV_EINVAL;
  return options->name != NULL && strlen(options->name) > UVCH_NAME_MAX ? UV_EINVAL : 0;
}

int uvch_mpsc_init_ex(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t item_size, size_t capacity,
                      const uvch_mpsc_options_t* options) {
  struct uvch__port* port = NULL;
  struct uvch__core* c;
  int err = check_options(options);

  if (rx == NULL || tx == NULL || item_size > UVCH_MPSC_ITEM_MAX || capacity == 0 ||
      (capacity > UVCH_MPSC_CAPACITY_MAX && capacity != UVCH_UNBOUNDED))
    err = UV_EINVAL;
  if (err == 0 && loop != NULL)
    err = uvch__port_get(loop, &port);
  if (err != 0)
    return err;
  c = uvch__core_new(item_size, capacity, options);
  if (c == NULL)
    return UV_ENOMEM;
  c->rx = rx;
  tx->core = c;
  uvch__handle_init((uvch_handle_t*) rx, UVCH_MPSC_RECEIVER, c);
  rx->recv_cb = NULL;
  rx->recv_many_cb = NULL;
  if (port != NULL)
    uvch__mpsc_handle.attach((uvch_handle_t*) rx, port);
  return 0;
}

int uvch_mpsc_init(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t item_size, size_t capacity) {
  return uvch_mpsc_init_ex(loop, rx, tx, item_size, capacity, NULL);
}

struct uvch__core* uvch__sender_core(const uvch_mpsc_sender_t* tx) {
  return tx != NULL ? uvch__ptr_load(&tx->core) : NULL;
}

struct uvch__core* uvch__receiver_core(const uvch_mpsc_receiver_t* rx) {
  return rx != NULL && rx->type == UVCH_MPSC_RECEIVER && (uvch__flags_load(&rx->flags) & UVCH__CLOSING) == 0 ? rx->core : NULL;
}

/* What both ends can ask. */

/* The head is loaded first: it never passes a tail that is loaded later. */
size_t uvch__len(struct uvch__core* c) {
  uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire); /* [C2] */
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
  uint64_t n = uvch__distance(c, head, uvch__word_tail(c, word));

  if ((word & UVCH__DEAD_WORD) != 0)
    return 0;
  return (size_t) (c->capacity > 0 && n > c->capacity ? c->capacity : n);
}

static size_t capacity(struct uvch__core* c) {
  uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire); /* [C2] */
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire); /* [C1] */
  int64_t room = uvch__room(c, word, head);

  if (c->capacity == 0)
    return UVCH_UNBOUNDED;
  if ((word & UVCH__DEAD_WORD) != 0)
    return c->capacity;
  return (word & UVCH__WAITERS) != 0 || room < 0 ? 0 : (size_t) room;
}

static size_t max_capacity(const struct uvch__core* c) {
  return c->capacity == 0 ? UVCH_UNBOUNDED : c->capacity;
}

int uvch_mpsc_sender_is_closed(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = uvch__sender_core(tx);
  return c == NULL || uvch__is_closed(c);
}

size_t uvch_mpsc_sender_len(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = uvch__sender_core(tx);
  return c != NULL ? uvch__len(c) : 0;
}

size_t uvch_mpsc_sender_capacity(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = uvch__sender_core(tx);
  return c != NULL ? capacity(c) : 0;
}

size_t uvch_mpsc_sender_max_capacity(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = uvch__sender_core(tx);
  return c != NULL ? max_capacity(c) : 0;
}

int uvch_mpsc_sender_same_channel(const uvch_mpsc_sender_t* a, const uvch_mpsc_sender_t* b) {
  struct uvch__core* c = uvch__sender_core(a);
  return c != NULL && c == uvch__sender_core(b);
}

int uvch_mpsc_receiver_is_closed(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = uvch__receiver_core(rx);
  return c == NULL || uvch__is_closed(c);
}

int uvch_mpsc_receiver_is_empty(const uvch_mpsc_receiver_t* rx) {
  return uvch_mpsc_receiver_len(rx) == 0;
}

/* The receiver knows better than the head what it has taken. */
size_t uvch_mpsc_receiver_len(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = uvch__receiver_core(rx);

  return c != NULL ? (size_t) uvch__depth(c) : 0;
}

size_t uvch_mpsc_receiver_capacity(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = uvch__receiver_core(rx);
  return c != NULL ? capacity(c) : 0;
}

size_t uvch_mpsc_receiver_max_capacity(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = uvch__receiver_core(rx);
  return c != NULL ? max_capacity(c) : 0;
}
