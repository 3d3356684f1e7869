/* SPDX-License-Identifier: MIT
 *
 * The allocator that the library takes its memory from. */
#ifndef UVCH_ALLOC_H
#define UVCH_ALLOC_H

#include <uv.h>
#include <uvch/version.h>

#ifdef __cplusplus
extern "C" {
#endif

/* uvch_replace_allocator: take all memory from these functions, as uv_replace_allocator() does for libuv.
 *
 * Threads:  call it before any other uvch function, while no other thread uses the library. The functions themselves are called
 *           from any thread, many at once.
 * Memory must be aligned for every type, as malloc() does.
 * Returns 0, UV_EINVAL (one of them is NULL). */
UVCH_EXTERN int uvch_replace_allocator(uv_malloc_func malloc_func, uv_realloc_func realloc_func, uv_calloc_func calloc_func,
                                       uv_free_func free_func);

#ifdef __cplusplus
}
#endif
#endif
