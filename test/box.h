/* SPDX-License-Identifier: MIT
 *
 * Boxes: values with memory of their own, sent as pointers. Whoever ends up with one frees it and enters it in the books of its
 * kind, so a box that is lost, or comes to two, shows: in the books, and to a sanitizer. No step here orders anything between
 * threads: that is what the library has to do. */
#ifndef UVCH_TEST_BOX_H
#define UVCH_TEST_BOX_H

#include "support.h"

/* Where the boxes of a kind have gone to. Set all to 0 first. */
typedef struct books_s {
  _Atomic(size_t) made;
  _Atomic(size_t) delivered; /* to who they were for */
  _Atomic(size_t) dropped;   /* given to a drop function */
  _Atomic(size_t) back;      /* kept by who made them */
} books_t;

typedef struct box_s {
  books_t* books;
  uint64_t value;
  _Atomic(int) is_live;
} box_t;

static inline box_t* box_make(books_t* books, uint64_t value) {
  box_t* box = malloc(sizeof(*box));

  if (box == NULL) {
    abort();
  }
  box->books = books;
  box->value = value;
  atomic_store_explicit(&box->is_live, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&books->made, 1, memory_order_relaxed);
  return box;
}

static inline uint64_t box_free(box_t* box, _Atomic(size_t) * entry) {
  uint64_t value = box->value;

  if (!atomic_exchange_explicit(&box->is_live, 0, memory_order_relaxed)) {
    abort(); /* it came to two */
  }
  free(box);
  atomic_fetch_add_explicit(entry, 1, memory_order_relaxed);
  return value;
}

static inline uint64_t box_open(box_t* box) {
  return box_free(box, &box->books->delivered);
}

static inline void box_keep(box_t* box) {
  box_free(box, &box->books->back);
}

/* box_drop: a drop function; `item` is the pointer to the box. */
static inline void box_drop(void* item, void* arg) {
  box_t* box;

  (void) arg;
  memcpy(&box, item, sizeof(box));
  box_free(box, &box->books->dropped);
}

static inline void books_check(books_t* books) {
  ck_assert_uint_eq(atomic_load(&books->made),
                    atomic_load(&books->delivered) + atomic_load(&books->dropped) + atomic_load(&books->back));
}

#endif
