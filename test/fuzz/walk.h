/* SPDX-License-Identifier: MIT
 *
 * Walks: rows of calls that bytes decide, on one thread, each answer compared with that of a plain model. The bytes come from a
 * seed, a file or a fuzzer. Each kind of channel has a file with its calls and its model; this is what they share: bytes, words
 * for what was done, loops, messages, and allocations that fail.
 *
 * A mismatch prints what was done, in words, and the bytes, and aborts. */
#ifndef UVCH_TEST_FUZZ_WALK_H
#define UVCH_TEST_FUZZ_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <uvch.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { WALK_LOOPS = 2, WALK_STEPS = 2000, WALK_ITEM_MAX = 200 };

/* A kind of walk. */
typedef struct walk_kind_s {
  const char* name;
  void (*run)(const uint8_t* data, size_t size);
  const char* const* lies; /* ways in which its model can be made to be wrong, NULL at the end */
} walk_kind_t;

extern const walk_kind_t kind_broadcast;
extern const walk_kind_t kind_call;
extern const walk_kind_t kind_inbox;
extern const walk_kind_t kind_mpsc_bounded;
extern const walk_kind_t kind_mpsc_unbounded;
extern const walk_kind_t kind_oneshot;
extern const walk_kind_t kind_watch;

/* All of them, NULL at the end. */
extern const walk_kind_t* const walk_kinds[];

/* walk_kind: that of a name, or NULL. */
const walk_kind_t* walk_kind(const char* name);

/* The number of the lie that models tell, from 1 on, so that a test can see that it is found out; 0: none. */
extern size_t walk_lie;

/* A walk under way. */
typedef struct walk_s {
  const walk_kind_t* kind;
  const uint8_t* data;
  size_t size;
  size_t at; /* bytes that are used up */
  size_t step;
  int depth; /* of callbacks that walk on */
  uv_loop_t loops[WALK_LOOPS];
  uv_timer_t props[WALK_LOOPS]; /* one for each, so that it turns whatever is on it */
  size_t blocks;                /* of memory, before */
  size_t noted;
  struct {
    const char* words;
    long long numbers[2];
    int depth;
  } notes[8192]; /* the last ones */
} walk_t;

/* walk_set_up: once, where support_main() does not do it: memory comes from an allocator that counts. */
void walk_set_up(void);

/* walk_begin: a walk along these bytes, with loops that are open. walk_end: runs the loops to their end; nothing may be left on
 * them nor of the library's memory. */
walk_t* walk_begin(const walk_kind_t* kind, const uint8_t* data, size_t size);
void walk_end(walk_t* w);

/* walk_is_over: the bytes are used up, or there were steps enough. */
bool walk_is_over(const walk_t* w);

/* walk_draw: the next bytes decide for a number below `below`; 0 when they are used up. */
size_t walk_draw(walk_t* w, size_t below);
uint64_t walk_draw_64(walk_t* w);

/* walk_chance: true in one of `n` cases, never when the bytes are used up. */
bool walk_chance(walk_t* w, size_t n);

/* walk_draw_timeout: mostly 0, sometimes 1: then a thread goes to sleep, and nobody wakes it. */
uint64_t walk_draw_timeout(walk_t* w);

/* walk_draw_first: a position to count from: 0, right before the end of 32 bits, the middle or the end of 64, or anywhere. */
uint64_t walk_draw_first(walk_t* w);

/* walk_note: says what is done; `words` may have two %lld. */
void walk_note(walk_t* w, const char* words, long long a, long long b);

/* walk_fail: prints it all and aborts. */
_Noreturn void walk_fail(const walk_t* w, const char* what, long long value, long long wanted);

static inline void walk_want(const walk_t* w, const char* what, long long value, long long wanted) {
  if (value != wanted)
    walk_fail(w, what, value, wanted);
}

/* want: what the library says must be what the model says, which is looked at after the call. Models have a `walk`. */
#define want(m, value, wanted)                                  \
  do {                                                          \
    long long value_ = (long long) (value);                     \
    walk_want((m)->walk, #value, value_, (long long) (wanted)); \
  } while (0)

/* try_want: the same for a call that may lack memory, which it sometimes does here. False if it has said so; then nothing may
 * have happened. `wanted` must be known before. */
#define try_want(m, value, wanted) \
  (walk_scarce((m)->walk), walk_answer((m)->walk, #value, (long long) (value), (long long) (wanted)))
void walk_scarce(walk_t* w);
bool walk_answer(const walk_t* w, const char* what, long long value, long long wanted);

/* Messages: any size, all bytes follow from the number, which those of 8 bytes and more have in front. */
void walk_paint(void* item, size_t size, uint64_t number);
uint64_t walk_number(const void* item);
void walk_check_item(const walk_t* w, const void* item, size_t size, uint64_t number);

/* walk_pass: one pass of one loop, of all loops. */
void walk_pass(walk_t* w, size_t loop);
void walk_pass_all(walk_t* w);

/* walk_is_alive: whether something of the library keeps the loop alive. */
bool walk_is_alive(walk_t* w, size_t loop);

/* A call of a walk. The bytes at the beginning of a walk give each one a weight, at most `weight`. */
typedef struct walk_call_s {
  const char* name;
  void (*run)(void* model);
  size_t weight;
} walk_call_t;

enum { WALK_CALLS_MAX = 48 };

typedef struct walk_calls_s {
  const walk_call_t* calls;
  size_t count;
  size_t weights[WALK_CALLS_MAX];
  size_t sum;
} walk_calls_t;

void walk_calls_begin(walk_t* w, walk_calls_t* calls, const walk_call_t* all, size_t count);

/* walk_call: draws one and runs it. */
void walk_call(walk_t* w, const walk_calls_t* calls, void* model);

#endif
