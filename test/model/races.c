/* SPDX-License-Identifier: MIT
 *
 * Data races: two accesses of the same byte by two actors, one of them a store, one of them not atomic, with nothing that puts
 * them in order. The compiler tells of each plain access in the sources under test: they are compiled with -fsanitize=thread, but
 * its library is not linked; what it would be called for is here.
 *
 * For each byte of the model's memory, of the program's image, and of the actors' stacks is kept who stored there last, who has
 * loaded it since, and when. */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#undef memcpy
#undef memmove
#undef memset

#define OUTSIDE (-1)
#define ELSEWHERE_MAX 64

struct cell {
  uint32_t sequence; /* of an older one: there is nothing here */
  uint16_t place;    /* its number, if an atomic lies here */
  uint16_t writer;
  uint16_t written; /* 0: not yet */
  uint16_t read[STEPS_ACTORS];
  uint32_t write_pc;
  uint32_t read_pc[STEPS_ACTORS];
};

struct region {
  const char* begin;
  size_t size;
  struct cell* cells;
};

enum { PAGES, IMAGE, STACKS, REGIONS = STACKS + STEPS_ACTORS };

int races_are_told;
static struct region regions[REGIONS];
static size_t block_size;
static uint32_t sequence;
static struct {
  const volatile void* where;
  struct cell cell;
} elsewhere[ELSEWHERE_MAX];

/* Who has a block from the allocator, or has freed it. */
static struct {
  uint16_t when;
  uint16_t actor;
  int is_freed;
  uint32_t pc; /* of who has freed it */
} made[STEPS_BLOCKS];

static void add_region(int i, const void* begin, size_t size) {
  struct region* r = &regions[i];

  if (begin == NULL || r->cells != NULL)
    return;
  r->cells = mmap(NULL, size * sizeof *r->cells, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (r->cells == MAP_FAILED)
    abort();
  r->begin = begin;
  r->size = size;
}

void races_begin(void) {
  size_t size;
  const void* begin;
  int i;

  sequence++;
  begin = steps_pages(&size);
  add_region(PAGES, begin, size);
  block_size = size / STEPS_BLOCKS;
  add_region(IMAGE, image_begin(), (size_t) (image_end() - image_begin()));
  for (i = 0; i < STEPS_ACTORS; i++) {
    begin = steps_stack(i, &size);
    add_region(STACKS + i, begin, size);
  }
}

static struct cell* cell_in(const struct region* r, const volatile void* where) {
  size_t at = (uintptr_t) where - (uintptr_t) r->begin;

  return at < r->size ? &r->cells[at] : NULL;
}

/* Most accesses are to the actor's own stack. */
static struct cell* cell_at(const volatile void* where) {
  struct cell* c = steps_current != OUTSIDE ? cell_in(&regions[STACKS + steps_current], where) : NULL;
  int i;

  for (i = 0; c == NULL && i < REGIONS; i++)
    c = cell_in(&regions[i], where);
  return c;
}

/* As steps_block_of(), without a call. */
static int block_of(const volatile void* where) {
  size_t at = (uintptr_t) where - (uintptr_t) regions[PAGES].begin;

  return at < regions[PAGES].size ? (int) (at / block_size) : -1;
}

static void renew(struct cell* c) {
  if (c->sequence != sequence) {
    memset(c, 0, sizeof *c);
    c->sequence = sequence;
  }
}

uint16_t* races_place(const volatile void* where) {
  struct cell* c = cell_at(where);
  int i;

  for (i = 0; c == NULL && i < ELSEWHERE_MAX; i++) {
    if (elsewhere[i].where == NULL)
      elsewhere[i].where = where;
    if (elsewhere[i].where == where)
      c = &elsewhere[i].cell;
  }
  steps_expect(c != NULL);
  renew(c);
  return &c->place;
}

/* An access that is looked at: who is NULL if that is to be found out from pc. */
struct access {
  const volatile void* where;
  const char* what;
  const char* who;
  uint32_t pc;
};

/* Failing. */

static void name_place(const volatile void* where, char* name, size_t size) {
  int block = steps_block_of(where);

  if (block >= 0)
    snprintf(name, size, "block %d + %zu", block, steps_block_offset(where));
  else
    snprintf(name, size, "%p", (void*) (uintptr_t) where);
}

/* `before`, of `actor`, in the function `whom`, or at `pc` if that is NULL. */
_Noreturn static void fail(const struct access* a, const char* before, int actor, const char* whom, uint32_t pc) {
  char text[400];
  char place[40];
  char names[2][80];

  name_place(a->where, place, sizeof place);
  name_of(a->pc, names[0], sizeof names[0]);
  name_of(pc, names[1], sizeof names[1]);
  snprintf(text, sizeof text, "a race at %s: the %s in %s with the %s of actor %d in %s", place, a->what,
           a->who != NULL ? a->who : names[0], before, actor, whom != NULL ? whom : names[1]);
  steps_fail(__FILE__, __LINE__, text);
}

/* Looking. */

static int is_unknown(int actor, uint16_t when) {
  return when > memory_now()->at[actor];
}

static void expect_block(const struct access* a) {
  int block = block_of(a->where);

  if (block < 0)
    return;
  if (made[block].is_freed)
    fail(a, "free", made[block].actor, NULL, made[block].pc);
  if (is_unknown(made[block].actor, made[block].when))
    fail(a, "allocation", made[block].actor, "the allocator", 0);
}

static void expect_after_write(const struct cell* c, const struct access* a) {
  if (is_unknown(c->writer, c->written))
    fail(a, "store", c->writer, NULL, c->write_pc);
}

static void expect_after_reads(const struct cell* c, const struct access* a) {
  int i;

  for (i = 0; i < STEPS_ACTORS; i++)
    if (is_unknown(i, c->read[i]))
      fail(a, "load", i, NULL, c->read_pc[i]);
}

static void expect_after_touches(const struct touches* t, const struct access* a) {
  int i;

  for (i = 0; i < STEPS_ACTORS; i++)
    if (is_unknown(i, t->clock.at[i]))
      fail(a, "atomic operation", i, t->who[i], 0);
}

static void expect_before_store(const struct cell* c, const struct access* a) {
  expect_after_write(c, a);
  expect_after_reads(c, a);
  if (c->place == 0)
    return;
  expect_after_touches(memory_reads(c->place), a);
  expect_after_touches(memory_writes(c->place), a);
}

static void expect_before_load(const struct cell* c, const struct access* a) {
  expect_after_write(c, a);
  if (c->place != 0)
    expect_after_touches(memory_writes(c->place), a);
}

static void store(struct cell* c, const struct access* a) {
  expect_before_store(c, a);
  if (c->place != 0)
    memory_is_overwritten(c->place);
  c->writer = (uint16_t) steps_current;
  c->written = memory_now()->at[steps_current];
  c->write_pc = a->pc;
}

static void load(struct cell* c, const struct access* a) {
  expect_before_load(c, a);
  c->read[steps_current] = memory_now()->at[steps_current];
  c->read_pc[steps_current] = a->pc;
}

/* No other actor has run since the same one was here, so there is nothing new. */
static int is_done(const struct cell* c, int is_write) {
  int self = steps_current;
  uint16_t now = memory_now()->at[self];

  return c->place == 0 && ((c->writer == self && c->written == now) || (!is_write && c->read[self] == now));
}

void races_plain(const volatile void* where, size_t size, int is_write, const void* pc) {
  struct access a = {where, is_write ? "store" : "load", NULL, pc_of(pc)};
  struct cell* c;
  size_t i;

  if (steps_current == OUTSIDE || (c = cell_at(where)) == NULL)
    return;
  expect_block(&a);
  for (i = 0; i < size; i++, c++) {
    renew(c);
    a.where = (const volatile char*) where + i;
    if (is_done(c, is_write))
      continue;
    if (is_write)
      store(c, &a);
    else
      load(c, &a);
  }
}

void races_atomic(const volatile void* where, size_t size, const char* who) {
  struct access a = {where, "atomic operation", who, 0};
  struct cell* c = cell_at(where);
  size_t i;

  if (c == NULL)
    return;
  expect_block(&a);
  for (i = 0; i < size; i++, c++) {
    renew(c);
    expect_after_write(c, &a);
  }
}

void races_allocate(int block) {
  made[block].actor = (uint16_t) (steps_current == OUTSIDE ? 0 : steps_current);
  made[block].is_freed = 0;
  made[block].when = steps_current == OUTSIDE ? 0 : memory_now()->at[steps_current];
}

void races_free(int block, const volatile void* where, size_t size, const void* pc) {
  struct access a = {where, "free", NULL, pc_of(pc)};
  struct cell* c = cell_at(where);
  size_t i;

  made[block].pc = a.pc;
  if (steps_current == OUTSIDE) {
    made[block].is_freed = 1;
    return;
  }
  expect_block(&a);
  made[block].is_freed = 1;
  for (i = 0; i < size; i++, c++) {
    a.where = (const volatile char*) where + i;
    if (c->sequence == sequence)
      expect_before_store(c, &a);
  }
  made[block].actor = (uint16_t) steps_current;
}

void steps_plain(const volatile void* where, size_t size, enum steps_kind kind, const char* who) {
  if (!races_are_told) /* else it is found in any order */
    steps_step(where, kind, who);
  races_plain(where, size, kind != STEPS_READ, __builtin_return_address(0));
}

/* What compilers call. */

#define PC __builtin_return_address(0)

void* steps_memcpy(void* to, const void* from, size_t size) {
  races_plain(from, size, 0, PC);
  races_plain(to, size, 1, PC);
  return memcpy(to, from, size);
}

void* steps_memmove(void* to, const void* from, size_t size) {
  races_plain(from, size, 0, PC);
  races_plain(to, size, 1, PC);
  return memmove(to, from, size);
}

void* steps_memset(void* to, int value, size_t size) {
  races_plain(to, size, 1, PC);
  return memset(to, value, size);
}

#define HOOK(name, size, is_write)                                   \
  void name(void* where);                                            \
  void name(void* where) {                                           \
    races_plain(where, size, is_write, __builtin_return_address(0)); \
  }

#define HOOKS(size)                           \
  HOOK(__tsan_read##size, size, 0)            \
  HOOK(__tsan_write##size, size, 1)           \
  HOOK(__tsan_read_write##size, size, 1)      \
  HOOK(__tsan_unaligned_read##size, size, 0)  \
  HOOK(__tsan_unaligned_write##size, size, 1) \
  HOOK(__tsan_unaligned_read_write##size, size, 1)

HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

void __tsan_init(void);
void __tsan_init(void) {
  races_are_told = 1;
}

void __tsan_func_entry(void* caller);
void __tsan_func_entry(void* caller) {
  (void) caller;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void) {}

void __tsan_read_range(void* where, size_t size);
void __tsan_read_range(void* where, size_t size) {
  races_plain(where, size, 0, PC);
}

void __tsan_write_range(void* where, size_t size);
void __tsan_write_range(void* where, size_t size) {
  races_plain(where, size, 1, PC);
}

void* __tsan_memcpy(void* to, const void* from, size_t size);
void* __tsan_memcpy(void* to, const void* from, size_t size) {
  races_plain(from, size, 0, PC);
  races_plain(to, size, 1, PC);
  return memcpy(to, from, size);
}

void* __tsan_memmove(void* to, const void* from, size_t size);
void* __tsan_memmove(void* to, const void* from, size_t size) {
  races_plain(from, size, 0, PC);
  races_plain(to, size, 1, PC);
  return memmove(to, from, size);
}

void* __tsan_memset(void* to, int value, size_t size);
void* __tsan_memset(void* to, int value, size_t size) {
  races_plain(to, size, 1, PC);
  return memset(to, value, size);
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order) {
  (void) order;
}

/* The model has no fences; the library uses none. */
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order) {
  (void) order;
  steps_fail(__FILE__, __LINE__, "a fence, which the model does not know");
}
