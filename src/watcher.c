/* SPDX-License-Identifier: MIT */
#include "watcher.h"

#include "alloc.h"

enum { FREE, TAKEN, WAITING };

static int move(struct uvch__watcher* node, unsigned int from, unsigned int to) {
  return atomic_compare_exchange_strong_explicit(&node->state, &from, to, memory_order_acq_rel, memory_order_relaxed); /* [V1] */
}

static struct uvch__watcher* first(struct uvch__watchers* w) {
  return atomic_load_explicit(&w->first, memory_order_acquire); /* [V2] */
}

/* A node that is claimed, with a reference for who waits and one for the list. */
static struct uvch__watcher* claim(struct uvch__watchers* w) {
  struct uvch__watcher* node;

  for (node = first(w); node != NULL; node = node->next) {
    if (move(node, FREE, TAKEN)) {
      atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed); /* relaxed: the list has one */
      return node;
    }
  }
  node = uvch__calloc(1, sizeof *node);
  if (node == NULL)
    return NULL;
  atomic_init(&node->state, TAKEN);
  atomic_init(&node->refs, 2);
  node->next = first(w);
  while (!atomic_compare_exchange_weak_explicit(&w->first, &node->next, node, memory_order_release, memory_order_acquire)) {
  } /* [V2] */
  return node;
}

struct uvch__watcher* uvch__watch_new(struct uvch__watchers* w, void (*tell)(void* who, int status), void* who, int is_thread) {
  struct uvch__watcher* node = claim(w);

  if (node == NULL)
    return NULL;
  node->tell = tell;
  node->who = who;
  node->is_thread = is_thread;
  return node;
}

void uvch__watch(struct uvch__watcher* node) {
  atomic_exchange_explicit(&node->state, WAITING, memory_order_acq_rel); /* [V1] */
}

static void unref(struct uvch__watcher* node) {
  if (atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) == 1) /* the last one sees what the other did */
    uvch__free(node);
}

void uvch__unwatch(struct uvch__watcher* node) {
  atomic_exchange_explicit(&node->state, FREE, memory_order_acq_rel); /* [V1] */
  unref(node);
}

int uvch__watch_cancel(struct uvch__watcher* node) {
  return move(node, WAITING, TAKEN);
}

int uvch__watch_is_on(struct uvch__watcher* node) {
  return atomic_load_explicit(&node->state, memory_order_relaxed) == WAITING; /* relaxed: no other thread exists */
}

void uvch__watchers_refork(struct uvch__watchers* w) {
  struct uvch__watcher* node;

  for (node = first(w); node != NULL; node = node->next)
    if (node->is_thread && move(node, WAITING, TAKEN))
      uvch__unwatch(node);
}

/* The node may be another's as soon as its watcher is told; it stays in the list all the same. */
void uvch__watchers_tell(struct uvch__watchers* w, int status) {
  struct uvch__watcher* node;

  for (node = first(w); node != NULL; node = node->next)
    if (move(node, WAITING, TAKEN))
      node->tell(node->who, status);
}

void uvch__watchers_free(struct uvch__watchers* w) {
  struct uvch__watcher* node = first(w);

  atomic_store_explicit(&w->first, NULL, memory_order_relaxed); /* relaxed: nobody else has it any more */
  while (node != NULL) {
    struct uvch__watcher* next = node->next;
    unref(node);
    node = next;
  }
}
