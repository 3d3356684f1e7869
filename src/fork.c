/* SPDX-License-Identifier: MIT
 *
 * A loop in a forked child. Only the thread that forked exists there, so everything may be written plainly; what the others were
 * in the middle of is taken back:
 *   a claimed index that was not published   the messages behind it move up, and the tail comes back
 *   a thread that waits for room             leaves the queue, whose lock is made new, since it may have been held
 *   a token on its way                       is given to the receiver again, from wherever it was
 *   a request that was being served          completes with what its server had noted, UV_ECANCELED to begin with; if the
 *                                            server was between publishing and noting, the message is delivered all the same */
#include "core.h"
#include "handle.h"
#include "queue.h"
#include "registry.h"
#include "request.h"

/* A place in the channel that only moves forward. */
struct cursor {
  struct uvch__block_head* block;
  uint64_t index;
};

static struct uvch__slot* slot_at(struct uvch__core* c, struct cursor* at) {
  /* relaxed, here and below: no other thread exists */
  if (c->capacity > 0)
    return uvch__ring_slot(c, atomic_load_explicit(&c->u.ring.slots, memory_order_relaxed), at->index);
  return uvch__blocks_slot(c, &at->block, at->index);
}

static void close_gaps(struct uvch__core* c) {
  uint64_t word = atomic_load_explicit(&c->word, memory_order_relaxed);
  uint64_t end = c->next + uvch__distance(c, c->next, uvch__word_tail(c, word));
  struct cursor from = {atomic_load_explicit(&c->first, memory_order_relaxed), c->next};
  struct cursor to = from;
  struct uvch__slot* s;
  int before = 1;

  for (; from.index < end && (s = slot_at(c, &from)) != NULL; from.index++) {
    unsigned int state = atomic_load_explicit(&s->state, memory_order_relaxed);
    atomic_store_explicit(&s->state, UVCH__EMPTY, memory_order_relaxed);
    before = state == UVCH__READY || (state == UVCH__FOLLOW && before);
    if (before) {
      struct uvch__slot* t = slot_at(c, &to);
      if (t != s)
        uvch__item_copy(uvch__slot_item(c, t), uvch__slot_item(c, s), c->item_size);
      atomic_store_explicit(&t->state, UVCH__READY, memory_order_relaxed);
      to.index++;
    }
  }
  word &= uvch__tail_one(c) - 1;
  atomic_store_explicit(&c->word, (to.index << c->shift | word) & ~UVCH__AT_TAIL, memory_order_relaxed);
  if (c->capacity > 0)
    atomic_store_explicit(&c->cached, atomic_load_explicit(&c->head, memory_order_relaxed), memory_order_relaxed);
  else
    uvch__blocks_refork(c);
}

void uvch__core_refork(struct uvch__core* c) {
  close_gaps(c);
  uvch__queue_refork(c);
}

static void refork_requests(struct uvch__port* port) {
  struct uvch__list* q;

  for (q = port->reqs.next; q != &port->reqs; q = q->next)
    uvch__request_refork(UVCH__CONTAINER(q, uvch_req_t, queue));
}

static void refork_receivers(struct uvch__port* port) {
  struct uvch__list* q;

  for (q = port->handles.next; q != &port->handles; q = q->next)
    uvch__handle_refork(UVCH__CONTAINER(q, uvch_handle_t, queue));
}

/* Tokens that were in the port: those of closed receivers end, the others are given again below. */
static void drop_dead(struct uvch__endpoint* ep) {
  while (ep != NULL) {
    struct uvch__endpoint* next = (struct uvch__endpoint*) ep->next;
    if (ep->ops->is_dead != NULL && ep->ops->is_dead(ep))
      ep->ops->drop(ep);
    ep = next;
  }
}

int uvch_loop_fork(uv_loop_t* loop) {
  struct uvch__endpoint* chain;
  struct uvch__port* port;
  int err;

  if (loop == NULL)
    return UV_EINVAL;
  uvch__registry_refork(loop);
  port = uvch__registry_find(loop);
  if (port == NULL || uvch__port_is_foreign(port))
    return 0;
  err = uvch__port_refork(port, &chain);
  if (err != 0)
    return err;
  drop_dead(chain);
  refork_requests(port);
  uvch__port_forget(port); /* a last sender that ended there may have posted a receiver */
  refork_receivers(port);
  return 0;
}
