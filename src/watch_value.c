/* SPDX-License-Identifier: MIT
 *
 * The value of a watch channel: its nodes, and the sends that replace it. */
#include "alloc.h"
#include "item.h"
#include "watch.h"

#define SPARES_MAX 4      /* nodes that are kept */
#define SPARE_MAX 65536   /* bytes of one */
#define COPIED_LOCKED 128 /* bytes that are copied under the lock */
#define MODIFY_TRIES 8

/* Counts, which are changed under the lock; relaxed: that orders them. */

static size_t refs_of(struct uvch__node* node) {
  return atomic_load_explicit(&node->refs, memory_order_relaxed);
}

static void set_refs(struct uvch__node* node, size_t refs) {
  atomic_store_explicit(&node->refs, refs, memory_order_relaxed);
}

/* Spare nodes. The lock is held. */

static struct uvch__node* take_spare(struct uvch__watch* c) {
  struct uvch__node* node = c->hub.spares;

  if (node == NULL)
    return NULL;
  c->hub.spares = node->next;
  c->hub.spare_count--;
  return node;
}

/* 0: there are enough. */
static int keep_spare(struct uvch__watch* c, struct uvch__node* node) {
  if (c->hub.spare_count >= SPARES_MAX || c->hub.item_size > SPARE_MAX)
    return 0;
  node->next = c->hub.spares;
  atomic_signal_fence(memory_order_release); /* a fork may come in between */
  c->hub.spares = node;
  c->hub.spare_count++;
  return 1;
}

/* Nodes. */

static struct uvch__node* node_new(struct uvch__watch* c) {
  return uvch__malloc(sizeof(struct uvch__node) + c->hub.item_size);
}

static struct uvch__node* node_get(struct uvch__watch* c) {
  struct uvch__node* node;

  uvch__lock(&c->hub.lock);
  node = take_spare(c);
  uvch__unlock(&c->hub.lock);
  return node != NULL ? node : node_new(c);
}

struct uvch__node* uvch__value_new(struct uvch__watch* c, const void* value) {
  struct uvch__node* node = node_get(c);

  if (node != NULL)
    uvch__item_copy(node->item, value, c->hub.item_size);
  return node;
}

void uvch__value_free(struct uvch__watch* c, struct uvch__node* node) {
  int is_kept;

  uvch__lock(&c->hub.lock);
  is_kept = keep_spare(c, node);
  uvch__unlock(&c->hub.lock);
  if (!is_kept)
    uvch__free(node);
}

void uvch__value_let_go(struct uvch__hub* h, struct uvch__node* node) {
  if (h->drop == NULL) {
    uvch__free(node);
    return;
  }
  uvch__hub_ref(h); /* it may close whatever there is */
  h->drop(node->item, h->arg);
  uvch__value_free(uvch__watch_at(h), node);
  uvch__hub_unref(h);
}

void uvch__value_release(struct uvch__watch* c, struct uvch__node* node, struct uvch__due* due) {
  size_t refs = refs_of(node) - 1;

  set_refs(node, refs);
  if (refs == 0 && (c->hub.drop != NULL || !keep_spare(c, node)))
    uvch__due_add_node(due, node);
}

/* Looking at it. */

void uvch__value_pin(struct uvch__watch* c, void** pin, uint64_t* version, struct uvch__due* due) {
  struct uvch__node* before = *pin;
  struct uvch__node* node;

  uvch__due_init(due);
  uvch__lock(&c->hub.lock);
  node = c->hub.current;
  set_refs(node, refs_of(node) + 1);
  *pin = node;
  *version = atomic_load_explicit(&c->hub.tail, memory_order_relaxed); /* relaxed: the lock is held */
  if (before != NULL)
    uvch__value_release(c, before, due);
  uvch__unlock(&c->hub.lock);
}

void uvch__value_unpin(struct uvch__watch* c, struct uvch__node* node) {
  struct uvch__due due;

  uvch__due_init(&due);
  uvch__lock(&c->hub.lock);
  uvch__value_release(c, node, &due);
  uvch__unlock(&c->hub.lock);
  uvch__due_do(&c->hub, &due);
}

const void* uvch_watch_sender_borrow(uvch_watch_sender_t* tx) {
  struct uvch__watch* c = uvch__watch_of(tx);
  struct uvch__due due;
  const void* value;

  if (c == NULL)
    return NULL;
  if (tx->borrowed != NULL && uvch__tail_load(&c->hub) == tx->version)
    return uvch__value_of(tx->borrowed);
  uvch__value_pin(c, &tx->borrowed, &tx->version, &due);
  value = uvch__value_of(tx->borrowed);
  uvch__due_do(&c->hub, &due);
  return value;
}

/* Replacing it. */

/* The lock is held. The old one, with its reference, is the caller's. */
static struct uvch__node* put(struct uvch__watch* c, struct uvch__node* node, struct uvch__due* due) {
  struct uvch__node* old = c->hub.current;
  uint64_t version = atomic_load_explicit(&c->hub.tail, memory_order_relaxed) + 1; /* relaxed: the lock is held */

  set_refs(node, 1);
  atomic_store_explicit(&c->hub.tail, version, memory_order_release); /* [Y2] */
  c->hub.current = node;
  uvch__take_parked(&c->hub, due);
  return old;
}

static int check_sender(const uvch_watch_sender_t* tx, struct uvch__watch** c) {
  if (tx == NULL)
    return UV_EINVAL;
  *c = uvch__watch_of(tx);
  return *c == NULL ? UVCH__WAS_CLOSED(tx) : 0;
}

static int check_value(const uvch_watch_sender_t* tx, const void* value, struct uvch__watch** c) {
  int err = check_sender(tx, c);

  return err == 0 && value == NULL && (*c)->hub.item_size > 0 ? UV_EINVAL : err;
}

/* Values that can only be moved cannot be changed in a copy. */
static int check_copy(const struct uvch__watch* c) {
  return c->hub.drop != NULL && c->hub.copy == NULL ? UV_ENOTSUP : 0;
}

static int is_small(const struct uvch__watch* c) {
  return c->hub.item_size <= COPIED_LOCKED;
}

/* All in one hold of the lock, if the value is small. `old`, unless it is NULL, gets the bytes of a small one that was there. */
UVCH__INLINE int send_now(struct uvch__watch* c, const void* value, void* old) {
  struct uvch__node* node = NULL;
  struct uvch__due due;

  uvch__due_init(&due);
  if (!is_small(c) && (node = uvch__value_new(c, value)) == NULL)
    return UV_ENOMEM;
  uvch__lock(&c->hub.lock);
  if (is_small(c) && (node = take_spare(c)) == NULL) {
    uvch__unlock(&c->hub.lock);
    node = node_new(c);
    if (node == NULL)
      return UV_ENOMEM;
    uvch__lock(&c->hub.lock);
  }
  if (is_small(c))
    uvch__item_copy(node->item, value, c->hub.item_size);
  if (old != NULL)
    uvch__item_copy(old, c->hub.current->item, c->hub.item_size);
  uvch__value_release(c, put(c, node, &due), &due);
  uvch__unlock(&c->hub.lock);
  uvch__due_do(&c->hub, &due);
  return 0;
}

int uvch_watch_send(const uvch_watch_sender_t* tx, const void* value) {
  struct uvch__watch* c;
  int err = check_value(tx, value, &c);

  return err != 0 ? err : send_now(c, value, NULL);
}

/* Puts `node` in the place of `from`, if that is the current one, and lets go of the caller's reference to `from`. 1: it did. */
static int put_after(struct uvch__watch* c, struct uvch__node* from, struct uvch__node* node) {
  struct uvch__due due;
  int done;

  uvch__due_init(&due);
  uvch__lock(&c->hub.lock);
  done = c->hub.current == from; /* it is counted, so it has not come back */
  if (done)
    uvch__value_release(c, put(c, node, &due), &due);
  uvch__value_release(c, from, &due);
  uvch__unlock(&c->hub.lock);
  uvch__due_do(&c->hub, &due);
  return done;
}

/* A value of its own out of a node's. */
static int copy_value(struct uvch__watch* c, void* to, const struct uvch__node* from) {
  int err = 0;

  if (c->hub.copy != NULL)
    err = c->hub.copy(to, from->item, c->hub.arg);
  else
    uvch__item_copy(to, from->item, c->hub.item_size);
  return err > 0 ? UV_EINVAL : err;
}

static void drop_copy(struct uvch__watch* c, void* value) {
  if (c->hub.drop != NULL)
    c->hub.drop(value, c->hub.arg);
}

/* The old value out, by its bytes, if nobody looks at it, or the bytes are enough. 1: done. 0: `from` refers to it, with a
 * reference of the caller's. */
static int replace_at_once(struct uvch__watch* c, struct uvch__node* node, void* old, struct uvch__node** from) {
  struct uvch__due due;
  int is_ours;

  uvch__due_init(&due);
  uvch__lock(&c->hub.lock);
  *from = c->hub.current;
  is_ours = refs_of(*from) == 1 || (c->hub.copy == NULL && c->hub.drop == NULL);
  if (is_ours)
    put(c, node, &due);
  else
    set_refs(*from, refs_of(*from) + 1);
  uvch__unlock(&c->hub.lock);
  uvch__due_do(&c->hub, &due);
  if (is_ours)
    uvch__item_copy(old, (*from)->item, c->hub.item_size);
  return is_ours;
}

/* What is left of a node whose value has come out: others may look at its bytes, if those own nothing. */
static void end_replaced(struct uvch__watch* c, struct uvch__node* node) {
  if (c->hub.copy == NULL && c->hub.drop == NULL)
    uvch__value_unpin(c, node);
  else
    uvch__value_free(c, node);
}

static int replace(struct uvch__watch* c, const void* value, void* old) {
  struct uvch__node* node = uvch__value_new(c, value);
  struct uvch__node* from;
  int err = 0;

  if (node == NULL)
    return UV_ENOMEM;
  for (;;) {
    if (replace_at_once(c, node, old, &from)) {
      end_replaced(c, from);
      return 0;
    }
    err = copy_value(c, old, from);
    if (err != 0) {
      uvch__value_unpin(c, from);
      uvch__value_free(c, node);
      return err;
    }
    if (put_after(c, from, node))
      return 0;
    drop_copy(c, old);
  }
}

int uvch_watch_send_replace(const uvch_watch_sender_t* tx, const void* value, void* old) {
  struct uvch__watch* c;
  int err = check_value(tx, value, &c);

  if (err == 0)
    err = old == NULL && c->hub.item_size > 0 ? UV_EINVAL : check_copy(c);
  if (err == 0 && is_small(c) && c->hub.copy == NULL && c->hub.drop == NULL)
    return send_now(c, value, old); /* no function of the user's comes in between */
  if (err == 0)
    err = uvch__watch_get(c);
  if (err != 0)
    return err;
  err = replace(c, value, old);
  uvch__watch_put(c);
  return err;
}

enum outcome { DONE, LEFT, AGAIN };

/* Once. `outcome`: stored; not, as `modify` said; another value has come in. Or an error. */
static int try_modify(struct uvch__watch* c, struct uvch__node* node, uvch_watch_modify_cb modify, void* arg, int is_if,
                      enum outcome* outcome) {
  void* from = NULL;
  struct uvch__due none;
  uint64_t version;
  int answer;
  int err;

  *outcome = LEFT;
  uvch__value_pin(c, &from, &version, &none);
  err = copy_value(c, node->item, from);
  if (err != 0) {
    uvch__value_unpin(c, from);
    return err;
  }
  answer = modify(node->item, arg);
  if (answer > 0 || (answer == 0 && !is_if)) {
    *outcome = put_after(c, from, node) ? DONE : AGAIN;
    answer = 0;
  } else {
    uvch__value_unpin(c, from);
  }
  if (*outcome != DONE)
    drop_copy(c, node->item);
  return answer;
}

static int modify_value(struct uvch__watch* c, uvch_watch_modify_cb modify, void* arg, int is_if) {
  struct uvch__node* node = node_get(c);
  enum outcome outcome = AGAIN;
  int tries;
  int err = 0;

  if (node == NULL)
    return UV_ENOMEM;
  for (tries = 0; tries < MODIFY_TRIES && outcome == AGAIN; tries++)
    err = try_modify(c, node, modify, arg, is_if, &outcome);
  if (outcome == DONE)
    return 1;
  uvch__value_free(c, node);
  return outcome == AGAIN ? UV_EBUSY : err;
}

static int change(const uvch_watch_sender_t* tx, uvch_watch_modify_cb modify, void* arg, int is_if) {
  struct uvch__watch* c;
  int err = check_sender(tx, &c);

  if (tx == NULL || modify == NULL)
    return UV_EINVAL;
  if (err == 0)
    err = check_copy(c);
  if (err == 0)
    err = uvch__watch_get(c);
  if (err != 0)
    return err;
  err = modify_value(c, modify, arg, is_if);
  uvch__watch_put(c);
  return err;
}

int uvch_watch_modify_if(const uvch_watch_sender_t* tx, uvch_watch_modify_cb modify, void* arg) {
  return change(tx, modify, arg, 1);
}

int uvch_watch_modify(const uvch_watch_sender_t* tx, uvch_watch_modify_cb modify, void* arg) {
  int err = change(tx, modify, arg, 0);

  return err > 0 ? 0 : err;
}
