/* SPDX-License-Identifier: MIT
 *
 * A broadcast channel: its core, and its senders. */
#include "broadcast.h"

#include <string.h>

#include "alloc.h"
#include "group.h"

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
  c->item_size = (uint32_t) item_size;
  if (options != NULL) {
    c->policy = (unsigned char) options->policy;
    c->copy = options->copy;
    c->drop = options->drop;
    c->arg = options->arg;
  }
  c->has_nodes = item_size > UVCH__INLINE_MAX || c->copy != NULL || c->drop != NULL;
  c->settles = c->has_nodes || c->policy == UVCH_BROADCAST_WAIT;
  c->words = c->has_nodes ? 0 : (c->item_size + 7) / 8;
}

static void release(struct uvch__broadcast* c) {
  uvch__free(c->slots);
  uvch__free((char*) c - c->slack);
}

/* The caller is its sender. */
static struct uvch__broadcast* core_new(size_t item_size, size_t capacity, const uvch_broadcast_options_t* options) {
  uint8_t slack;
  struct uvch__broadcast* c = uvch__malloc_line(sizeof *c, &slack);

  if (c == NULL)
    return NULL;
  memset(c, 0, sizeof *c);
  c->slack = slack;
  c->capacity = (uint32_t) capacity;
  set_form(c, item_size, options);
  if (make_slots(c) != 0 || uvch__lock_init(&c->lock) != 0) {
    release(c);
    return NULL;
  }
  atomic_init(&c->tail, uvch__broadcast_first);
  uvch__set_tail_index(c, uvch__broadcast_first, 0);
  c->kept = uvch__broadcast_first;
  c->min = uvch__broadcast_first;
  c->strong = 1;
  atomic_init(&c->refs, 1);
  uvch__list_init(&c->waiters);
  uvch__list_init(&c->watchers);
  return c;
}

void uvch__broadcast_ref(struct uvch__broadcast* c) {
  atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed); /* relaxed: the caller has one */
}

void uvch__broadcast_unref(struct uvch__broadcast* c) {
  if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) /* [Y6] */
    return;
  uvch__lock_destroy(&c->lock);
  release(c);
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
    uvch__broadcast_unref(c);
  else
    tx->core = c;
  return err;
}

int uvch_broadcast_init(uv_loop_t* loop, uvch_broadcast_receiver_t* rx, uvch_broadcast_sender_t* tx, size_t item_size,
                        size_t capacity) {
  return uvch_broadcast_init_ex(loop, rx, tx, item_size, capacity, NULL);
}

/* Senders. */

/* One more of some count, and a reference, if there are not too many, and there is one already if `needs_one`. */
static int add(struct uvch__broadcast* c, uint32_t* count, int needs_one) {
  int err = 0;

  uvch__lock(&c->lock);
  if (needs_one && *count == 0)
    err = UV_EPIPE;
  else if (*count >= UVCH__SENDERS_MAX)
    err = UV_ENOMEM;
  else
    ++*count;
  uvch__unlock(&c->lock);
  if (err == 0)
    uvch__broadcast_ref(c);
  return err;
}

/* One less of the weak ones, or of the others. */
static void put(struct uvch__broadcast* c, int is_weak) {
  struct uvch__due due;

  uvch__due_init(&due);
  uvch__lock(&c->lock);
  if (is_weak)
    c->weak--;
  else
    uvch__put_strong(c, &due);
  uvch__unlock(&c->lock);
  uvch__due_do(c, &due);
  uvch__broadcast_unref(c);
}

int uvch_broadcast_sender_clone(const uvch_broadcast_sender_t* tx, uvch_broadcast_sender_t* copy) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);
  int err;

  if (tx == NULL || copy == NULL)
    return UV_EINVAL;
  err = c != NULL ? add(c, &c->strong, 0) : UV_EBADF;
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
    return UV_EBADF;
  put(c, 0);
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
  err = c != NULL ? add(c, &c->weak, 0) : UV_EBADF;
  if (err == 0)
    weak->core = c;
  return err;
}

int uvch_broadcast_weak_sender_upgrade(const uvch_broadcast_weak_sender_t* weak, uvch_broadcast_sender_t* tx) {
  struct uvch__broadcast* c = weak_core(weak);
  int err;

  if (weak == NULL || tx == NULL)
    return UV_EINVAL;
  err = c != NULL ? add(c, &c->strong, 1) : UV_EBADF;
  if (err == 0)
    tx->core = c;
  return err;
}

int uvch_broadcast_weak_sender_clone(const uvch_broadcast_weak_sender_t* weak, uvch_broadcast_weak_sender_t* copy) {
  struct uvch__broadcast* c = weak_core(weak);
  int err;

  if (weak == NULL || copy == NULL)
    return UV_EINVAL;
  err = c != NULL ? add(c, &c->weak, 0) : UV_EBADF;
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
    return UV_EBADF;
  put(c, 1);
  return 0;
}

/* What can be asked. */

static size_t read_count(struct uvch__broadcast* c, const uint32_t* count) {
  size_t n;

  uvch__lock(&c->lock);
  n = *count;
  uvch__unlock(&c->lock);
  return n;
}

size_t uvch__strong_count(struct uvch__broadcast* c) {
  return c != NULL ? read_count(c, &c->strong) : 0;
}

size_t uvch__weak_count(struct uvch__broadcast* c) {
  return c != NULL ? read_count(c, &c->weak) : 0;
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

  return c != NULL ? read_count(c, &c->receivers) : 0;
}

size_t uvch_broadcast_sender_len(const uvch_broadcast_sender_t* tx) {
  struct uvch__broadcast* c = uvch__broadcast_of(tx);
  uint64_t n;

  if (c == NULL)
    return 0;
  uvch__lock(&c->lock);
  uvch__group_look(c);
  n = atomic_load_explicit(&c->tail, memory_order_relaxed) - c->min; /* relaxed: the lock is held */
  uvch__unlock(&c->lock);
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
