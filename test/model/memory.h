/* SPDX-License-Identifier: MIT
 *
 * What the parts of the model know of each other: clocks, atomic places, plain memory. Programs need steps.h only. */
#ifndef UVCH_TEST_MODEL_MEMORY_H
#define UVCH_TEST_MODEL_MEMORY_H

#include "steps.h"

/* How much of each actor comes before something. An actor's own part grows with each of its steps; it begins with 1. */
struct clock {
  uint16_t at[STEPS_ACTORS];
};

/* Atomic operations on a place, and locks; the last of each actor. */
struct touches {
  struct clock clock;
  const char* who[STEPS_ACTORS];
};

/* memory.c */

extern struct clock memory_clocks[STEPS_ACTORS];

/* memory_begin: before every sequence; how many loads of it may be stale. memory_join: what that actor did comes before what the
 * one that runs does from now on. */
void memory_begin(int stale);
void memory_join(int actor);

/* A step is over: what it orders, if it has no value that the model knows. STEPS_READ as an acquire, STEPS_WRITE as an acq_rel. */
void memory_step(const volatile void* where, enum steps_kind kind, const char* who);

/* The same, if it orders nothing. */
void memory_pass(const volatile void* where, enum steps_kind kind, const char* who);

const struct touches* memory_reads(int place);
const struct touches* memory_writes(int place);
void memory_is_overwritten(int place); /* by a plain store */

/* races.c */

extern int races_are_told; /* of plain accesses, by the compiler */

void races_begin(void);

/* races_place: where the number of the place that lies there is kept; 0: none. */
uint16_t* races_place(const volatile void* where);

void races_plain(const volatile void* where, size_t size, int is_write, const void* pc);
void races_atomic(const volatile void* where, size_t size, const char* who);
void races_allocate(int block);
void races_free(int block, const volatile void* where, size_t size, const void* pc);

/* steps.c */

extern int steps_current; /* which actor runs; -1: none */

static inline struct clock* memory_now(void) {
  return &memory_clocks[steps_current];
}

/* steps_step: a step, without what it orders. */
void steps_step(const volatile void* where, enum steps_kind kind, const char* who);
void steps_is_stale(int by); /* the last step has read an older value */
int steps_block_of(const volatile void* where);
size_t steps_block_offset(const volatile void* where);
const void* steps_pages(size_t* size);
const void* steps_stack(int actor, size_t* size);

/* names.c: which function of the program, and where in it. */
void name_of(uint32_t pc, char* name, size_t size);
uint32_t pc_of(const void* pc);
const char* image_begin(void); /* NULL: it is not known */
const char* image_end(void);

#endif
