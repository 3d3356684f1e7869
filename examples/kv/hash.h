/* SPDX-License-Identifier: MIT
 *
 * A hash table of structs that begin with their node. It owns none of them; one thread at a time. */
#ifndef KV_HASH_H
#define KV_HASH_H

#include "kv.h"

struct hash_node {
  struct slice key; /* the owner's bytes; they stay as they are while it is in */
  /* private */
  struct hash_node* next;
  uint64_t hash;
};

/* All 0 is an empty one, and nothing is allocated for an empty one. */
struct hash {
  /* read-only */
  size_t count;
  /* private */
  size_t size;
  struct hash_node** slots;
  uint64_t factor;
};

/* hash_find: the node with this key, or NULL. */
struct hash_node* hash_find(const struct hash* hash, struct slice key);

/* hash_add: put it in; its key is not there yet. Returns 0, or a negative libuv code. */
int hash_add(struct hash* hash, struct hash_node* node);

/* hash_remove: take out a node that is in. */
void hash_remove(struct hash* hash, struct hash_node* node);

/* hash_next: the one after `node`, in no special order, the first one for NULL; NULL at the end. Nothing may be added or removed
 * on the way. */
struct hash_node* hash_next(const struct hash* hash, const struct hash_node* node);

#endif
