/* SPDX-License-Identifier: MIT
 *
 * Memory, through the functions that the program chose. */
#ifndef UVCH_SRC_ALLOC_H
#define UVCH_SRC_ALLOC_H

#include <stddef.h>

void* uvch__malloc(size_t size);
void* uvch__calloc(size_t count, size_t size);
void uvch__free(void* ptr);

#endif
