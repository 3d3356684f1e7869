/* SPDX-License-Identifier: MIT
 *
 * Messages and values: bytes of a fixed size. */
#ifndef UVCH_SRC_ITEM_H
#define UVCH_SRC_ITEM_H

#include <stddef.h>
#include <string.h>

/* It is aligned to the largest power of two that divides its size, up to max_align_t. */
static inline size_t uvch__item_align(size_t size) {
  size_t align = size & (~size + 1);
  return size == 0 ? 1 : align < _Alignof(max_align_t) ? align : _Alignof(max_align_t);
}

/* The sizes that most channels have, without a call. */
static inline void uvch__item_copy(void* to, const void* from, size_t size) {
  if (size == 8)
    memcpy(to, from, 8);
  else if (size == 16)
    memcpy(to, from, 16);
  else if (size > 0)
    memcpy(to, from, size);
}

/* The i-th of several messages in the caller's memory, which may be NULL where they have no bytes. */
static inline const void* uvch__item_at(const void* items, size_t i, size_t size) {
  return size > 0 ? (const char*) items + i * size : items;
}

#endif
