/* SPDX-License-Identifier: MIT
 *
 * A broadcast channel: its core, and its senders. */
#include "broadcast.h"

#include "alloc.h"

uint64_t uvch__broadcast_first;

/* Life. */

static int make_slots(struct uvch__broadcast* c) {
  uint64_t before = uvch__broadcast_first - c->capacity;
  uint32_t i;

  if (c->capacity > SIZE_MAX / uvch__slot_size(c))
    return UV_ENOMEM;
  c->slots = uvch__calloc(c->capacity, uvch__slot_size(c));
  if (c->slots == NULL)
    return UV_ENOMEM;
  if (c->has_nodes || uvch__broadcast_first == 0) /* 0 is a number from before the first */
    return 0;
  for (i = 0; i < c->capacity; i++) /* as if the round before were over */
    atomic_init(uvch__broadcast_slot(c, i), uvch__slot_number(before + i));
  return 0;
}

static void set_form(struct uvch__broadcast* c, size_t item_size, const uvch_broadcast_options_t* options) {
  c->hub.item_size = (uint32_t) item_size;
  if (options != NULL) {
    c->policy = (unsigned char) options->policy;
    c->hub.copy = options->copy;
    c->hub.drop = options->drop;
    c->hub.arg = options->arg;
  }
  c->has_nodes = item_size > UVCH__INLINE_MAX || c->hub.copy != NULL || c->hub.drop != NULL;
  c->settles = c->has_nodes || c->policy == UVCH_BROADCAST_WAIT;
  c->words = c->has_nodes ? 0 : (c->hub.item_size + 7) / 8;
}

static void free_core(struct uvch__hub* h) {
  uvch__free(uvch__broadcast_at(h)->slots);
  uvch__hub_delete(h);
}

static void serve(struct uvch__hub* h) {
  uvch__serve(uvch__broadcast_at(h), NULL);
}

static void call(uvch_req_t* req, int status) {
  if (req->type == UVCH_BROADCAST_SEND)
    ((uvch_broadcast_send_t*) req)->cb((uvch_broadcast_send_t*) req, status);
  else
    ((uvch_broadcast_closed_t*) req)->cb((uvch_broadcast_closed_t*) req, status);
}

static void nothing(struct uvch__group* g) {
  (void) g;
}

static const struct uvch__hub_ops broadcast_ops = {
    .group_size = sizeof(struct uvch__bgroup),
    .join = uvch__bgroup_join,
    .move = uvch__bgroup_move,
    .link = uvch__bgroup_link,
    .unlink = uvch__bgroup_unlink,
    .serve = serve,
    .let_go = uvch__node_unref,
    .free = free_core,
    .wait = uvch__bwait,
    .cancel = uvch__bwait_cancel,
    .refork = uvch__broadcast_refork,
    .call = call,
    .deliver = uvch__broadcast_deliver,
    .settle = uvch__bgroup_settle,
    .dry = uvch__broadcast_dry,
    .has_more = uvch__broadcast_has_more,
    .end_turn = nothing,
    .linger = uvch__broadcast_linger,
};

/* The caller is its sender. */
static struct uvch__broadcast* core_new(size_t item_size, size_t capacity, const uvch_broadcast_options_t* options) {
  struct uvch__broadcast* c = uvch__hub_new(sizeof *c, &broadcast_ops);

  if (c == NULL)
    return NULL;
  c->capacity = (uint32_t) capacity;
  set_form(c, item_size, options);
  if (make_slots(c) != 0) {
    uvch__hub_delete(&c->hub);
    return NULL;
  }
  atomic_init(&c->hub.tail, uvch__broadcast_first);
  uvch__set_tail_index(c, uvch__broadcast_first, 0);
  c->kept = uvch__broadcast_first;
  c->min = uvch__broadcast_first;
  uvch__list_init(&c->waiters);
  return c;
}

static int check_options(const uvch_broadcast_options_t* options) {
  return options != NULL && (unsigned int) options->policy > UVCH_BROADCAST_DISCONNECT ? UV_EINVAL : 0;
}

int uvch_broadcast_init_ex(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t item_size,
                           size_t capacity, const uvch_broadcast_options_t* options) {
  struct uvch__broadcast* c;
  int err = check_options(options);

  if (tx == NULL || item_size > UVCH_BROADCAST_ITEM_MAX || capacity == 0 || capacity > UVCH_BROADCAST_CAPACITY_MAX)
    err = UV_EINVAL;
  if (err != 0)
    return err;
  c = core_new(item_size, capacity, options);
  if (c == NULL)
    return UV_ENOMEM;
  if (rx != NULL)
    err = uvch__subscribe(c, loop, rx);
  if (err != 0)
    uvch__hub_unref(&c->hub);
  else
    tx->core = c;
  return err;
}

int uvch_broadcast_init(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t item_size,
                        size_t capacity) {
  return uvch_broadcast_init_ex(loop, rx, tx, item_size, capacity, NULL);
}

/* Senders. */

int uvch_broadcast_sender_clone(const uvch_broadcast_sender_t* tx, uvch_broadcast_sender_t* copy) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);
  int err;

  if (tx == NULL || copy == NULL)
    return UV_EINVAL;
  err = c != NULL ? uvch__hub_add(&c->hub, &c->hub.strong, 0) : UVCH__WAS_CLOSED(tx);
  if (err == 0)
    copy->core = c;
  return err;
}

int uvch_broadcast_sender_close(uvch_broadcast_sender_t* tx) {
  struct uvch__broadcast* c;

  if (tx == NULL)
    return UV_EINVAL;
  c = uvch__ptr_take(&tx->core);
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  UVCH__DID(tx, "closed");
  uvch__hub_put(&c->hub, &c->hub.strong);
  return 0;
}

static struct uvch__broadcast* weak_core(const uvch_broadcast_weak_sender_t* weak) {
  return weak != NULL ? uvch__ptr_load(&weak->core) : NULL;
}

int uvch_broadcast_sender_downgrade(const uvch_broadcast_sender_t* tx, uvch_broadcast_weak_sender_t* weak) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);
  int err;

  if (tx == NULL || weak == NULL)
    return UV_EINVAL;
  err = c != NULL ? uvch__hub_add(&c->hub, &c->hub.weak, 0) : UVCH__WAS_CLOSED(tx);
  if (err == 0)
    weak->core = c;
  return err;
}

int uvch_broadcast_weak_sender_upgrade(const uvch_broadcast_weak_sender_t* weak, uvch_broadcast_sender_t* tx) {
  struct uvch__broadcast* c = weak_core(weak);
  int err;

  if (weak == NULL || tx == NULL)
    return UV_EINVAL;
  err = c != NULL ? uvch__hub_add(&c->hub, &c->hub.strong, 1) : UVCH__WAS_CLOSED(weak);
  if (err == 0)
    tx->core = c;
  return err;
}

int uvch_broadcast_weak_sender_clone(const uvch_broadcast_weak_sender_t* weak, uvch_broadcast_weak_sender_t* copy) {
  struct uvch__broadcast* c = weak_core(weak);
  int err;

  if (weak == NULL || copy == NULL)
    return UV_EINVAL;
  err = c != NULL ? uvch__hub_add(&c->hub, &c->hub.weak, 0) : UVCH__WAS_CLOSED(weak);
  if (err == 0)
    copy->core = c;
  return err;
}

int uvch_broadcast_weak_sender_close(uvch_broadcast_weak_sender_t* weak) {
  struct uvch__broadcast* c;

  if (weak == NULL)
    return UV_EINVAL;
  c = uvch__ptr_take(&weak->core);
  if (c == NULL)
    return UVCH__WAS_CLOSED(weak);
  UVCH__DID(weak, "closed");
  uvch__hub_put(&c->hub, &c->hub.weak);
  return 0;
}

/* What can be asked. */

size_t uvch__strong_count(struct uvch__broadcast* c) {
  return c != NULL ? uvch__hub_count(&c->hub, &c->hub.strong) : 0;
}

size_t uvch__weak_count(struct uvch__broadcast* c) {
  return c != NULL ? uvch__hub_count(&c->hub, &c->hub.weak) : 0;
}

size_t uvch_broadcast_sender_strong_count(const uvch_broadcast_sender_t* tx) {
  return uvch__strong_count(uvch__broadcast_of(tx));
}

size_t uvch_broadcast_sender_weak_count(const uvch_broadcast_sender_t* tx) {
  return uvch__weak_count(uvch__broadcast_of(tx));
}

size_t uvch_broadcast_weak_sender_strong_count(const uvch_broadcast_weak_sender_t* weak) {
  return uvch__strong_count(weak_core(weak));
}

size_t uvch_broadcast_weak_sender_weak_count(const uvch_broadcast_weak_sender_t* weak) {
  return uvch__weak_count(weak_core(weak));
}

size_t uvch_broadcast_sender_receiver_count(const uvch_broadcast_sender_t* tx) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);

  return c != NULL ? uvch__hub_count(&c->hub, &c->hub.receivers) : 0;
}

size_t uvch_broadcast_sender_len(const uvch_broadcast_sender_t* tx) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);
  uint64_t n;

  if (c == NULL)
    return 0;
  uvch__lock(&c->hub.lock);
  uvch__bgroup_look(c);
  n = atomic_load_explicit(&c->hub.tail, memory_order_relaxed) - c->min; /* relaxed: the lock is held */
  uvch__unlock(&c->hub.lock);
  return n < c->capacity ? (size_t) n : c->capacity;
}

int uvch_broadcast_sender_is_empty(const uvch_broadcast_sender_t* tx) {
  return uvch_broadcast_sender_len(tx) == 0;
}

size_t uvch_broadcast_sender_capacity(const uvch_broadcast_sender_t* tx) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);

  return c != NULL ? c->capacity : 0;
}

int uvch_broadcast_sender_same_channel(const uvch_broadcast_sender_t* a, const uvch_broadcast_sender_t* b) {
  struct uvch__broadcast* c = uvch__broadcast_of(a);

  return c != NULL && c == uvch__broadcast_of(b);
}
