/* SPDX-License-Identifier: MIT */
#include "alloc.h"

#include <stdlib.h>
#include <uvch/alloc.h>

/* Set before the library is used, see uvch_replace_allocator(); read only from then on. realloc is kept for the day that it is
 * needed. */
static struct {
  uv_malloc_func malloc;
  uv_realloc_func realloc;
  uv_calloc_func calloc;
  uv_free_func free;
} hooks = {malloc, realloc, calloc, free};

int uvch_replace_allocator(uv_malloc_func malloc_func, uv_realloc_func realloc_func, uv_calloc_func calloc_func,
                           uv_free_func free_func) {
  if (malloc_func == NULL || realloc_func == NULL || calloc_func == NULL || free_func == NULL)
    return UV_EINVAL;
  hooks.malloc = malloc_func;
  hooks.realloc = realloc_func;
  hooks.calloc = calloc_func;
  hooks.free = free_func;
  return 0;
}

void* uvch__malloc(size_t size) {
  return hooks.malloc(size);
}

void* uvch__calloc(size_t count, size_t size) {
  return hooks.calloc(count, size);
}

void uvch__free(void* ptr) {
  if (ptr != NULL)
    hooks.free(ptr);
}
