/* SPDX-License-Identifier: MIT
 *
 * An allocator that counts, for the library. */
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"

static atomic_size_t bytes;
static atomic_uint_fast64_t allocations;

static void* count_malloc(size_t size) {
  void* p = malloc(size);

  atomic_fetch_add(&allocations, 1);
  atomic_fetch_add(&bytes, malloc_usable_size(p));
  return p;
}

static void* count_calloc(size_t n, size_t size) {
  void* p = calloc(n, size);

  atomic_fetch_add(&allocations, 1);
  atomic_fetch_add(&bytes, malloc_usable_size(p));
  return p;
}

static void* count_realloc(void* old, size_t size) {
  size_t before = malloc_usable_size(old);
  void* p = realloc(old, size);

  atomic_fetch_add(&allocations, 1);
  if (p != NULL || size == 0) {
    atomic_fetch_sub(&bytes, before);
    atomic_fetch_add(&bytes, malloc_usable_size(p));
  }
  return p;
}

static void count_free(void* p) {
  atomic_fetch_sub(&bytes, malloc_usable_size(p));
  free(p);
}

void heap_count(struct result* result) {
  check(result, uvch_replace_allocator(count_malloc, count_realloc, count_calloc, count_free), "uvch_replace_allocator");
}

size_t heap_bytes(void) {
  return atomic_load(&bytes);
}

uint64_t heap_allocations(void) {
  return atomic_load(&allocations);
}
