/* SPDX-License-Identifier: MIT
 *
 * Making a channel, its senders, and what can be asked of it. */
#include "core.h"
#include "handle.h"

static int check_options(const uvch_mpsc_options_t* options) {
  return options != NULL && (options->flags & ~(unsigned int) UVCH_PREALLOCATE) != 0 ? UV_EINVAL : 0;
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
  if (port != NULL)
    uvch__receiver_attach(rx, port);
  return 0;
}

int uvch_mpsc_init(uv_loop_t* loop, uvch_mpsc_receiver_t* rx, uvch_mpsc_sender_t* tx, size_t item_size, size_t capacity) {
  return uvch_mpsc_init_ex(loop, rx, tx, item_size, capacity, NULL);
}

/* Senders. */

static struct uvch__core* core_of(const uvch_mpsc_sender_t* tx) {
  return tx != NULL ? uvch__ptr_load(&tx->core) : NULL;
}

int uvch_mpsc_sender_clone(const uvch_mpsc_sender_t* tx, uvch_mpsc_sender_t* copy) {
  struct uvch__core* c = core_of(tx);
  int err;

  if (tx == NULL || copy == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UV_EBADF;
  err = uvch__strong_get(c);
  if (err == 0)
    copy->core = c;
  return err;
}

int uvch_mpsc_sender_close(uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = tx != NULL ? uvch__ptr_take(&tx->core) : NULL;

  if (c == NULL)
    return tx == NULL ? UV_EINVAL : UV_EBADF;
  uvch__strong_put(c);
  return 0;
}

/* What both ends can ask. */

static int is_closed(struct uvch__core* c) {
  return (atomic_load_explicit(&c->word, memory_order_acquire) & UVCH__CLOSED) != 0; /* [C1] */
}

/* The head is loaded first: it never passes a tail that is loaded later. */
static size_t len(struct uvch__core* c) {
  uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire);                  /* [C2] */
  uint64_t tail = uvch__word_tail(atomic_load_explicit(&c->word, memory_order_acquire)); /* [C1] */
  uint64_t n = (tail - head) & UVCH__TAIL_MASK;

  return (size_t) (c->capacity > 0 && n > c->capacity ? c->capacity : n);
}

static size_t capacity(struct uvch__core* c) {
  if (c->capacity == 0)
    return UVCH_UNBOUNDED;
  if ((atomic_load_explicit(&c->word, memory_order_acquire) & UVCH__WAITERS) != 0) /* [C1] */
    return 0;
  return c->capacity - len(c);
}

static size_t max_capacity(const struct uvch__core* c) {
  return c->capacity == 0 ? UVCH_UNBOUNDED : c->capacity;
}

int uvch_mpsc_sender_is_closed(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = core_of(tx);
  return c == NULL || is_closed(c);
}

size_t uvch_mpsc_sender_len(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = core_of(tx);
  return c != NULL ? len(c) : 0;
}

size_t uvch_mpsc_sender_capacity(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = core_of(tx);
  return c != NULL ? capacity(c) : 0;
}

size_t uvch_mpsc_sender_max_capacity(const uvch_mpsc_sender_t* tx) {
  struct uvch__core* c = core_of(tx);
  return c != NULL ? max_capacity(c) : 0;
}

int uvch_mpsc_sender_same_channel(const uvch_mpsc_sender_t* a, const uvch_mpsc_sender_t* b) {
  struct uvch__core* c = core_of(a);
  return c != NULL && c == core_of(b);
}

static struct uvch__core* open_core(const uvch_mpsc_receiver_t* rx) {
  return rx != NULL && rx->type == UVCH_MPSC_RECEIVER && (rx->flags & UVCH__CLOSING) == 0 ? rx->core : NULL;
}

int uvch_mpsc_receiver_is_closed(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = open_core(rx);
  return c == NULL || is_closed(c);
}

int uvch_mpsc_receiver_is_empty(const uvch_mpsc_receiver_t* rx) {
  return uvch_mpsc_receiver_len(rx) == 0;
}

/* The receiver knows better than the head what it has taken. */
size_t uvch_mpsc_receiver_len(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = open_core(rx);

  if (c == NULL)
    return 0;
  return (size_t) ((uvch__word_tail(atomic_load_explicit(&c->word, memory_order_acquire)) - c->next) &
                   UVCH__TAIL_MASK); /* [C1] */
}

size_t uvch_mpsc_receiver_capacity(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = open_core(rx);
  return c != NULL ? capacity(c) : 0;
}

size_t uvch_mpsc_receiver_max_capacity(const uvch_mpsc_receiver_t* rx) {
  struct uvch__core* c = open_core(rx);
  return c != NULL ? max_capacity(c) : 0;
}
