/* SPDX-License-Identifier: MIT
 *
 * The core of a oneshot, and its sender. */
#include "oneshot.h"

#include <string.h>
#include <uvch/call.h>

#include "alloc.h"
#include "item.h"

#define CLASS_MAX UVCH__SPARES_CLASSES /* cores of this class are not kept */

/* Life. */

static size_t size_of(unsigned int class) {
  return sizeof(struct uvch__oneshot) << class;
}

static unsigned int class_for(size_t item_size) {
  unsigned int class = 0;

  while (class < CLASS_MAX && item_size > size_of(class) - offsetof(struct uvch__oneshot, item))
    class ++;
  return class;
}

/* calloc() took glibc twice the time of malloc(). */
UVCH__NOINLINE struct uvch__oneshot* allocate(size_t item_size, unsigned int class) {
  uint8_t slack;
  struct uvch__oneshot* c =
      uvch__malloc_line(class < CLASS_MAX ? size_of(class) : offsetof(struct uvch__oneshot, item) + item_size, &slack);

  if (c == NULL)
    return NULL;
  memset(c, 0, offsetof(struct uvch__oneshot, item));
  c->class = (uint8_t) class;
  c->slack = slack;
  return c;
}

/* What is rare; NULL: nothing is. */
static struct uvch__oneshot_side* side_of(struct uvch__oneshot* c) {
  return atomic_load_explicit(&c->side, memory_order_acquire); /* [O2] */
}

/* Frees a core that nobody uses. */
UVCH__NOINLINE void release(struct uvch__oneshot* c) {
  struct uvch__port* port = uvch__home_port(&c->home);

  uvch__free(side_of(c));
  uvch__free((char*) c - c->slack);
  if (port != NULL)
    uvch__port_unref(port);
}

static void drop_spare(struct uvch__endpoint* ep) {
  release(uvch__oneshot_of(ep));
}

static const struct uvch__endpoint_ops spare_ops = {.drop = drop_spare};

/* Sorts what other threads have given back. */
UVCH__NOINLINE struct uvch__oneshot* take_returned(struct uvch__port* port, unsigned int class) {
  struct uvch__endpoint* ep = uvch__spares_take(&port->spares);

  while (ep != NULL) {
    struct uvch__oneshot* c = uvch__oneshot_of(ep);
    ep = (struct uvch__endpoint*) ep->next;
    if (!uvch__spares_put(&port->spares, &c->ep, c->class))
      release(c);
  }
  ep = uvch__spares_get(&port->spares, class);
  return ep != NULL ? uvch__oneshot_of(ep) : NULL;
}

static struct uvch__oneshot* get_spare(struct uvch__port* port, unsigned int class) {
  struct uvch__endpoint* ep;

  if (class == CLASS_MAX)
    return NULL;
  ep = uvch__spares_get(&port->spares, class);
  return ep != NULL ? uvch__oneshot_of(ep) : take_returned(port, class);
}

void uvch__oneshot_begin(struct uvch__oneshot* c) {
  uint32_t state = (uvch__oneshot_load(c) | (UVCH__GENERATION - 1)) + 1;

  atomic_store_explicit(&c->state, state, memory_order_release); /* [O1]: seen by a copy of an older sender, which may look */
  c->has_token = 1;
  c->is_taken = 0;
}

struct uvch__oneshot* uvch__oneshot_new(struct uvch__port* port, const struct uvch__endpoint_ops* ops, size_t item_size) {
  unsigned int class = class_for(item_size);
  struct uvch__oneshot* c = port != NULL ? get_spare(port, class) : NULL;

  if (c == NULL) {
    c = allocate(item_size, class);
    if (c == NULL)
      return NULL;
    if (port != NULL)
      uvch__home_attach(&c->home, port);
  }
  c->ep.ops = ops;
  uvch__oneshot_begin(c);
  return c;
}

/* The state stays as it is until the next generation: a sender's copy that is used too late finds TX_GONE. */
static void recycle(struct uvch__oneshot* c, struct uvch__port* port) {
  struct uvch__oneshot_side* side = side_of(c);
  int is_kept = 0;

  if (side != NULL) {
    uvch__watchers_free(&side->watchers);
    side->drop = NULL;
  }
  c->ep.ops = &spare_ops;
  if (c->class < CLASS_MAX && port != NULL)
    is_kept = uvch__spares_put(&port->spares, &c->ep, c->class);
  else if (c->class < CLASS_MAX && uvch__home_port(&c->home) != NULL)
    is_kept = uvch__spares_give(&uvch__home_port(&c->home)->spares, &c->ep);
  if (!is_kept)
    release(c);
}

/* Nobody else can touch it any more if all but our own bits are set, so no read-modify-write is needed then. */
void uvch__oneshot_let_go(struct uvch__oneshot* c, uint32_t bits, struct uvch__port* port) {
  uint32_t state = uvch__oneshot_load(c);

  if (((state | bits) & UVCH__ALL_GONE) != UVCH__ALL_GONE)
    state = atomic_fetch_or_explicit(&c->state, bits, memory_order_acq_rel); /* [O1] */
  if (((state | bits) & UVCH__ALL_GONE) != UVCH__ALL_GONE)
    return;
  atomic_store_explicit(&c->state, state | bits, memory_order_release); /* [O1]: seen by a copy of the sender, which may look */
  recycle(c, port);
}

struct uvch__oneshot_side* uvch__oneshot_side(struct uvch__oneshot* c) {
  struct uvch__oneshot_side* side = side_of(c);
  struct uvch__oneshot_side* mine;

  if (side != NULL)
    return side;
  mine = uvch__calloc(1, sizeof *mine);
  if (mine == NULL)
    return NULL;
  if (atomic_compare_exchange_strong_explicit(&c->side, &side, mine, memory_order_acq_rel, memory_order_acquire)) /* [O2] */
    return mine;
  uvch__free(mine);
  return side;
}

int uvch__oneshot_on_drop(struct uvch__oneshot* c, uvch_drop_cb drop, void* arg) {
  struct uvch__oneshot_side* side;

  if (drop == NULL)
    return 0;
  side = uvch__oneshot_side(c);
  if (side == NULL)
    return UV_ENOMEM;
  side->drop = drop;
  side->arg = arg;
  return 0;
}

int uvch__oneshot_drop_item(struct uvch__oneshot* c) {
  struct uvch__oneshot_side* side = side_of(c);

  if (side == NULL || side->drop == NULL)
    return 0;
  side->drop(c->item, side->arg);
  return 1;
}

/* The receiver's steps. */

uint32_t uvch__oneshot_shut(struct uvch__oneshot* c) {
  uint32_t state = uvch__oneshot_load(c);
  uint32_t after;

  do {
    if ((state & UVCH__TX_GONE) != 0 && (state & UVCH__IN_PARK) == 0)
      return state; /* nobody is left who could be refused */
    after = state | UVCH__SHUT;
    if ((state & UVCH__SENDING) == 0)
      after &= ~UVCH__IN_PARK;
  } while (
      !atomic_compare_exchange_weak_explicit(&c->state, &state, after, memory_order_acq_rel, memory_order_acquire)); /* [O1] */
  if ((state & (UVCH__WATCHED | UVCH__TX_GONE)) == UVCH__WATCHED)
    uvch__watchers_tell(&side_of(c)->watchers, 0);
  return state;
}

int uvch__oneshot_park(struct uvch__oneshot* c) {
  uint32_t state = uvch__oneshot_load(c);

  do {
    if (uvch__oneshot_is_done(state))
      return 0;
  } while (!atomic_compare_exchange_weak_explicit(&c->state, &state, state | UVCH__IN_PARK, memory_order_acq_rel,
                                                  memory_order_acquire)); /* [O1] */
  return 1;
}

int uvch__oneshot_unpark(struct uvch__oneshot* c) {
  uint32_t before = atomic_fetch_and_explicit(&c->state, ~UVCH__IN_PARK, memory_order_acq_rel); /* [O1] */

  return (before & UVCH__IN_PARK) != 0;
}

/* The sender. */

struct uvch__oneshot* uvch__oneshot_core(const uvch_oneshot_sender_t* tx) {
  struct uvch__oneshot* c = tx != NULL ? tx->core : NULL;
  uint32_t state;

  if (c == NULL)
    return NULL;
  state = uvch__oneshot_load(c);
  return (state & ~(UVCH__GENERATION - 1)) == tx->generation && (state & UVCH__TX_GONE) == 0 ? c : NULL;
}

/* Those who wait for the end of the receiver are told that the sender does not any more. */
static uint32_t end_watch(struct uvch__oneshot* c) {
  uvch__watchers_tell(&side_of(c)->watchers, UV_ECANCELED);
  return atomic_fetch_and_explicit(&c->state, ~UVCH__WATCHED, memory_order_acq_rel) & ~UVCH__WATCHED; /* [O1] */
}

/* The sender's last step, which sets `bits` unless it finds SHUT. The state as it was. It has the core no more, but for the token
 * where that is due. */
UVCH__INLINE uint32_t finish(struct uvch__oneshot* c, uint32_t bits) {
  uint32_t state = uvch__oneshot_load(c);
  uint32_t after;
  int token;

  do {
    if ((state & UVCH__WATCHED) != 0)
      state = end_watch(c);
    if ((state & UVCH__SHUT) != 0)
      return state;
    token = (state & (UVCH__IN_PARK | UVCH__SENDING)) == UVCH__IN_PARK;
    after = (token ? state & ~UVCH__IN_PARK : state) | bits;
  } while (
      !atomic_compare_exchange_weak_explicit(&c->state, &state, after, memory_order_acq_rel, memory_order_acquire)); /* [O1] */
  if (token)
    uvch__post(&c->home, &c->ep);
  return state;
}

/* 0, UV_EBADF, or UV_EPIPE: then the caller is still to let go of the core. */
UVCH__INLINE int put_in(uvch_oneshot_sender_t* tx, const void* item, struct uvch__oneshot** out) {
  struct uvch__oneshot* c;

  if (tx == NULL || (item == NULL && tx->core != NULL && tx->item_size > 0))
    return UV_EINVAL;
  c = uvch__oneshot_core(tx);
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  *out = c;
  tx->core = NULL;
  UVCH__DID(tx, "used up");
  uvch__item_copy(c->item, item, tx->item_size);
  return (finish(c, UVCH__VALUE | UVCH__TX_GONE) & UVCH__SHUT) != 0 ? UV_EPIPE : 0;
}

int uvch_oneshot_send(uvch_oneshot_sender_t* tx, const void* item) {
  struct uvch__oneshot* c;
  int err = put_in(tx, item, &c);

  if (err == UV_EPIPE)
    uvch__oneshot_let_go(c, UVCH__TX_GONE, NULL);
  return err;
}

int uvch_oneshot_sender_close(uvch_oneshot_sender_t* tx) {
  struct uvch__oneshot* c;

  if (tx == NULL)
    return UV_EINVAL;
  c = uvch__oneshot_core(tx);
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  tx->core = NULL;
  UVCH__DID(tx, "closed");
  if ((finish(c, UVCH__TX_GONE) & UVCH__SHUT) != 0)
    uvch__oneshot_let_go(c, UVCH__TX_GONE, NULL);
  return 0;
}

int uvch_oneshot_sender_is_closed(const uvch_oneshot_sender_t* tx) {
  struct uvch__oneshot* c = uvch__oneshot_core(tx);

  return c == NULL || (uvch__oneshot_load(c) & UVCH__SHUT) != 0;
}

int uvch_reply(uvch_oneshot_sender_t* tx, const void* item) {
  struct uvch__oneshot* c;
  int err = put_in(tx, item, &c);

  if (err != UV_EPIPE)
    return err;
  if (uvch__oneshot_drop_item(c)) /* the copy: nobody else looks at it */
    err = 1;
  uvch__oneshot_let_go(c, UVCH__TX_GONE, NULL);
  return err;
}

/* A call's message. */

void uvch__oneshot_unsend(struct uvch__oneshot* c, uint32_t bits) {
  uint32_t state = uvch__oneshot_load(c) & ~(UVCH__SENDING | UVCH__IN_PARK);

  atomic_store_explicit(&c->state, state | bits, memory_order_release); /* [O1] */
}

void uvch__oneshot_sent(struct uvch__oneshot* c, uint32_t bits) {
  uint32_t state = uvch__oneshot_load(c);
  uint32_t after;
  int token;

  do {
    after = (state & ~UVCH__SENDING) | bits;
    token = uvch__oneshot_is_done(after);
    if (token)
      after &= ~UVCH__IN_PARK;
  } while (
      !atomic_compare_exchange_weak_explicit(&c->state, &state, after, memory_order_acq_rel, memory_order_acquire)); /* [O1] */
  if (token)
    uvch__post(&c->home, &c->ep);
}

/* After a fork. */

void uvch__oneshot_refork(struct uvch__oneshot* c) {
  struct uvch__oneshot_side* side = side_of(c);

  if (side != NULL)
    uvch__watchers_refork(&side->watchers);
}
