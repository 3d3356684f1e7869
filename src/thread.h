/* SPDX-License-Identifier: MIT
 *
 * What a thread has of its own. */
#ifndef UVCH_SRC_THREAD_H
#define UVCH_SRC_THREAD_H

#include <stddef.h>

/* In a shared library a thread's variable costs a call, unless it lies in the part that every thread has from the start. glibc
 * keeps some room there for libraries that dlopen() loads later, of which this one needs about 100 bytes. */
#ifdef __GLIBC__
#define UVCH__THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define UVCH__THREAD_LOCAL _Thread_local
#endif

extern UVCH__THREAD_LOCAL unsigned long uvch__thread_number;

unsigned long uvch__thread_new(void);

/* uvch__thread_self: the calling thread's number, never 0, never used twice (a uv_thread_t is reused). */
static inline unsigned long uvch__thread_self(void) {
  return uvch__thread_number != 0 ? uvch__thread_number : uvch__thread_new();
}

#endif
