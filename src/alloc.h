/* SPDX-License-Identifier: MIT
 *
 * Memory, through the functions that the program chose. */
#ifndef UVCH_SRC_ALLOC_H
#define UVCH_SRC_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#include "atomic.h"

void* uvch__malloc(size_t size);
void* uvch__calloc(size_t count, size_t size);
void uvch__free(void* ptr);

/* uvch__malloc_line: memory that begins a line, see atomic.h; the allocator aligns for every type only. uvch__free() gets the
 * pointer less `slack` bytes. */
static inline void* uvch__malloc_line(size_t size, uint8_t* slack) {
  char* p = uvch__malloc(size + UVCH__LINE - _Alignof(max_align_t));

  if (p == NULL)
    return NULL;
  *slack = (uint8_t) ((0 - (uintptr_t) p) & (UVCH__LINE - 1));
  return p + *slack;
}

#endif
