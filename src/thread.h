/* SPDX-License-Identifier: MIT
 *
 * A number for every thread, never used twice (a uv_thread_t is reused). */
#ifndef UVCH_SRC_THREAD_H
#define UVCH_SRC_THREAD_H

/* uvch__thread_self: the calling thread's number, never 0. */
unsigned long uvch__thread_self(void);

#endif
