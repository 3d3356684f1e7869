/* SPDX-License-Identifier: MIT
 *
 * Lists in slots, about one node in each. */
#include <stdlib.h>
#include <string.h>

#include "hash.h"

enum { SIZE_MIN = 8 }; /* a power of 2, as all sizes */

/* The factor is a secret of the table: nobody can choose keys that meet in one slot. At the end all bits have a part in the low
 * ones. */
static uint64_t hash_of(const struct hash* hash, struct slice key) {
  uint64_t h = key.len;
  size_t i;

  for (i = 0; i < key.len; i++)
    h = (h ^ (unsigned char) key.data[i]) * hash->factor;
  h = (h ^ (h >> 32)) * 0x9e3779b97f4a7c15;
  return h ^ (h >> 32);
}

static struct hash_node** slot_of(const struct hash* hash, uint64_t h) {
  return &hash->slots[h & (hash->size - 1)];
}

static int is_key(const struct hash_node* node, struct slice key) {
  return node->key.len == key.len && (key.len == 0 || memcmp(node->key.data, key.data, key.len) == 0);
}

static int resize(struct hash* hash, size_t size) {
  struct hash old = *hash;
  struct hash_node** slots = calloc(size, sizeof(struct hash_node*));
  struct hash_node* node;
  struct hash_node** slot;
  size_t i;

  if (slots == NULL)
    return UV_ENOMEM;
  hash->slots = slots;
  hash->size = size;
  for (i = 0; i < old.size; i++) {
    while ((node = old.slots[i]) != NULL) {
      old.slots[i] = node->next;
      slot = slot_of(hash, node->hash);
      node->next = *slot;
      *slot = node;
    }
  }
  free(old.slots);
  return 0;
}

struct hash_node* hash_find(const struct hash* hash, struct slice key) {
  struct hash_node* node;
  uint64_t h;

  if (hash->count == 0)
    return NULL;
  h = hash_of(hash, key);
  node = *slot_of(hash, h);
  while (node != NULL && !(node->hash == h && is_key(node, key)))
    node = node->next;
  return node;
}

static int begin(struct hash* hash) {
  int r = uv_random(NULL, NULL, &hash->factor, sizeof(hash->factor), 0, NULL);

  hash->factor |= 1; /* an even one would lose bits */
  return r == 0 ? resize(hash, SIZE_MIN) : r;
}

int hash_add(struct hash* hash, struct hash_node* node) {
  struct hash_node** slot;
  int r = hash->size == 0 ? begin(hash) : 0;

  if (r != 0)
    return r;
  if (hash->count == hash->size)
    resize(hash, 2 * hash->size); /* if there is no memory, lists only get longer */
  node->hash = hash_of(hash, node->key);
  slot = slot_of(hash, node->hash);
  node->next = *slot;
  *slot = node;
  hash->count++;
  return 0;
}

void hash_remove(struct hash* hash, struct hash_node* node) {
  struct hash_node** link = slot_of(hash, node->hash);

  while (*link != node)
    link = &(*link)->next;
  *link = node->next;
  if (--hash->count == 0) {
    free(hash->slots);
    *hash = (struct hash){0};
  } else if (hash->size > SIZE_MIN && hash->count < hash->size / 8) {
    resize(hash, hash->size / 2); /* so that a walk costs by what is in */
  }
}

struct hash_node* hash_next(const struct hash* hash, const struct hash_node* node) {
  size_t i = 0;

  if (node != NULL && node->next != NULL)
    return node->next;
  if (node != NULL)
    i = (node->hash & (hash->size - 1)) + 1;
  while (i < hash->size && hash->slots[i] == NULL)
    i++;
  return i < hash->size ? hash->slots[i] : NULL;
}
