/* SPDX-License-Identifier: MIT
 *
 * A circular list, linked both ways through its members. */
#ifndef UVCH_SRC_LIST_H
#define UVCH_SRC_LIST_H

#include <stddef.h>

struct uvch__list {
  struct uvch__list* next;
  struct uvch__list* prev;
};

#define UVCH__CONTAINER(ptr, type, member) ((type*) (void*) ((char*) (ptr) -offsetof(type, member)))

static inline void uvch__list_init(struct uvch__list* l) {
  l->next = l;
  l->prev = l;
}

static inline int uvch__list_is_empty(const struct uvch__list* l) {
  return l->next == l;
}

static inline void uvch__list_append(struct uvch__list* l, struct uvch__list* node) {
  node->next = l;
  node->prev = l->prev;
  l->prev->next = node;
  l->prev = node;
}

/* Everything of `from` goes to the end of `to`. */
static inline void uvch__list_splice(struct uvch__list* to, struct uvch__list* from) {
  if (uvch__list_is_empty(from))
    return;
  from->next->prev = to->prev;
  to->prev->next = from->next;
  from->prev->next = to;
  to->prev = from->prev;
  uvch__list_init(from);
}

static inline void uvch__list_remove(struct uvch__list* node) {
  node->prev->next = node->next;
  node->next->prev = node->prev;
  uvch__list_init(node);
}

#endif
