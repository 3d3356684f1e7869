/* SPDX-License-Identifier: MIT
 *
 * A watch channel: its core, and its senders. */
#include "watch.h"

#include "alloc.h"

#define SERVE_MAX 8 /* waiters that are told after one hold of the lock */

uint64_t uvch__watch_first;

/* Groups. The lock is held. */

static void join(struct uvch__group* g, uvch_handle_t* member) {
  uvch_watch_receiver_t* rx = (uvch_watch_receiver_t*) member;

  rx->seen = atomic_load_explicit(&g->hub->tail, memory_order_relaxed); /* relaxed: the lock is held */
  uvch__watch_at(g->hub)->open++;
  if (g->members == 0)
    g->dry_at = rx->seen;
}

static void move(struct uvch__group* g, struct uvch__group* to, uvch_handle_t* member) {
  (void) g;
  (void) to;
  (void) member;
}

static void nothing(struct uvch__group* g) {
  (void) g;
}

/* Life. */

static void serve(struct uvch__hub* h) {
  struct uvch__due due;
  int n;

  do {
    uvch__due_init(&due);
    uvch__lock(&h->lock);
    n = uvch__watchers_are_due(h, SERVE_MAX, &due);
    uvch__unlock(&h->lock);
    uvch__due_do(h, &due);
  } while (n == SERVE_MAX);
}

static void free_core(struct uvch__hub* h) {
  struct uvch__watch* c = uvch__watch_at(h);

  while (c->hub.spares != NULL) {
    struct uvch__node* node = c->hub.spares;
    c->hub.spares = node->next;
    uvch__free(node);
  }
  uvch__hub_delete(h);
}

static void call(uvch_req_t* req, int status) {
  ((uvch_watch_closed_t*) req)->cb((uvch_watch_closed_t*) req, status);
}

static void refork(struct uvch__hub* h) {
  (void) h;
}

static const struct uvch__hub_ops watch_ops = {
    .group_size = sizeof(struct uvch__wgroup),
    .has_rounds = 1,
    .join = join,
    .move = move,
    .link = nothing,
    .unlink = nothing,
    .serve = serve,
    .let_go = uvch__value_let_go,
    .free = free_core,
    .refork = refork,
    .call = call,
    .deliver = uvch__watch_deliver,
    .settle = nothing,
    .dry = uvch__watch_dry,
    .has_more = uvch__watch_has_more,
    .end_turn = uvch__watch_end_turn,
    .linger = uvch__watch_linger,
};

/* The caller is its sender. */
static struct uvch__watch* core_new(size_t value_size, const void* initial, const uvch_watch_options_t* options) {
  struct uvch__watch* c = uvch__hub_new(sizeof *c, &watch_ops);

  if (c == NULL)
    return NULL;
  c->hub.item_size = (uint32_t) value_size;
  if (options != NULL) {
    c->hub.copy = options->copy;
    c->hub.drop = options->drop;
    c->hub.arg = options->arg;
  }
  c->hub.current = uvch__value_new(c, initial);
  if (c->hub.current == NULL) {
    uvch__hub_delete(&c->hub);
    return NULL;
  }
  atomic_init(&c->hub.current->refs, 1);
  atomic_init(&c->hub.tail, uvch__watch_first);
  return c;
}

int uvch_watch_init_ex(uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx, size_t value_size,
                       const void* initial, const uvch_watch_options_t* options) {
  struct uvch__watch* c;
  int err = 0;

  if (tx == NULL || value_size > UVCH_WATCH_VALUE_MAX || (initial == NULL && value_size > 0))
    return UV_EINVAL;
  c = core_new(value_size, initial, options);
  if (c == NULL)
    return UV_ENOMEM;
  if (rx != NULL)
    err = uvch__watch_subscribe(c, loop, rx);
  if (err != 0) {
    uvch__free(c->hub.current); /* the value is the caller's */
    uvch__hub_unref(&c->hub);
    return err;
  }
  tx->borrowed = NULL;
  tx->core = c;
  return 0;
}

int uvch_watch_init(uv_loop_t* loop, uvch_watch_receiver_t* rx, uvch_watch_sender_t* tx, size_t value_size, const void* initial) {
  return uvch_watch_init_ex(loop, rx, tx, value_size, initial, NULL);
}

/* Senders. */

int uvch__watch_get(struct uvch__watch* c) {
  return uvch__hub_add(&c->hub, &c->hub.strong, 0);
}

/* In the hold of the lock in which one less was counted, so once. */
static void end_if_last(struct uvch__watch* c, struct uvch__due* due) {
  if (c->hub.strong == 0 && c->open == 0) {
    uvch__value_release(c, c->hub.current, due);
    c->hub.current = NULL;
  }
}

void uvch__watch_put(struct uvch__watch* c) {
  struct uvch__due due;

  uvch__due_init(&due);
  uvch__lock(&c->hub.lock);
  uvch__put_strong(&c->hub, &due);
  end_if_last(c, &due);
  uvch__unlock(&c->hub.lock);
  uvch__due_do(&c->hub, &due);
  uvch__hub_unref(&c->hub);
}

void uvch__watch_leave(struct uvch__watch* c) {
  struct uvch__due due;

  uvch__due_init(&due);
  uvch__lock(&c->hub.lock);
  c->open--;
  end_if_last(c, &due);
  uvch__unlock(&c->hub.lock);
  uvch__due_do(&c->hub, &due);
}

int uvch_watch_sender_clone(const uvch_watch_sender_t* tx, uvch_watch_sender_t* copy) {
  struct uvch__watch* c = uvch__watch_of(tx);
  int err;

  if (tx == NULL || copy == NULL)
    return UV_EINVAL;
  err = c != NULL ? uvch__watch_get(c) : UVCH__WAS_CLOSED(tx);
  if (err != 0)
    return err;
  copy->borrowed = NULL;
  copy->core = c;
  return 0;
}

int uvch_watch_sender_close(uvch_watch_sender_t* tx) {
  struct uvch__watch* c;
  void* borrowed;

  if (tx == NULL)
    return UV_EINVAL;
  c = uvch__ptr_take(&tx->core);
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  UVCH__DID(tx, "closed");
  borrowed = tx->borrowed;
  tx->borrowed = NULL;
  if (borrowed != NULL)
    uvch__value_unpin(c, borrowed);
  uvch__watch_put(c);
  return 0;
}

/* What a sender can ask. */

size_t uvch_watch_sender_receiver_count(const uvch_watch_sender_t* tx) {
  struct uvch__watch* c = uvch__watch_of(tx);

  return c != NULL ? uvch__hub_count(&c->hub, &c->hub.receivers) : 0;
}

size_t uvch_watch_sender_sender_count(const uvch_watch_sender_t* tx) {
  struct uvch__watch* c = uvch__watch_of(tx);

  return c != NULL ? uvch__hub_count(&c->hub, &c->hub.strong) : 0;
}

int uvch_watch_sender_is_closed(const uvch_watch_sender_t* tx) {
  return uvch_watch_sender_receiver_count(tx) == 0;
}

int uvch_watch_sender_same_channel(const uvch_watch_sender_t* a, const uvch_watch_sender_t* b) {
  struct uvch__watch* c = uvch__watch_of(a);

  return c != NULL && c == uvch__watch_of(b);
}

/* The end of the receivers. */

int uvch_watch_closed(uv_loop_t* loop, uvch_watch_closed_t* req, const uvch_watch_sender_t* tx, uvch_watch_closed_cb cb) {
  struct uvch__watch* c = uvch__watch_of(tx);

  if (loop == NULL || req == NULL || tx == NULL || cb == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  req->cb = cb;
  return uvch__hub_request(loop, (uvch_req_t*) req, UVCH_WATCH_CLOSED, &c->hub, (struct uvch__waiter){.is_watcher = 1});
}

int uvch_watch_closed_timedwait(const uvch_watch_sender_t* tx, uint64_t timeout) {
  struct uvch__watch* c = uvch__watch_of(tx);

  if (tx == NULL)
    return UV_EINVAL;
  return c != NULL ? uvch__hub_closed_wait(&c->hub, timeout) : UVCH__WAS_CLOSED(tx);
}

int uvch_watch_closed_wait(const uvch_watch_sender_t* tx) {
  return uvch_watch_closed_timedwait(tx, UINT64_MAX);
}
