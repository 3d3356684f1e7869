/* SPDX-License-Identifier: MIT
 *
 * What walks share; see walk.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "walk.h"

#include <stdio.h>

#include "../support.h"

size_t walk_lie;

const walk_kind_t* const walk_kinds[] = {&kind_mpsc_bounded, &kind_mpsc_unbounded, &kind_call,  &kind_inbox,
                                         &kind_oneshot,      &kind_broadcast,      &kind_watch, NULL};

const walk_kind_t* walk_kind(const char* name) {
  size_t i;

  for (i = 0; walk_kinds[i] != NULL && strcmp(walk_kinds[i]->name, name) != 0; i++) {}
  return walk_kinds[i];
}

/* Bytes. */

bool walk_is_over(const walk_t* w) {
  return w->at >= w->size || w->step >= WALK_STEPS;
}

static size_t next_byte(walk_t* w) {
  return w->at < w->size ? w->data[w->at++] : 0;
}

size_t walk_draw(walk_t* w, size_t below) {
  size_t drawn = 0;

  if (below > 1)
    drawn = next_byte(w);
  if (below > 256)
    drawn = drawn << 8 | next_byte(w);
  return below > 1 ? drawn % below : 0;
}

uint64_t walk_draw_64(walk_t* w) {
  uint64_t drawn = 0;
  size_t i;

  for (i = 0; i < sizeof(drawn); i++) {
    drawn = drawn << 8 | next_byte(w);
  }
  return drawn;
}

bool walk_chance(walk_t* w, size_t n) {
  return walk_draw(w, n) == n - 1;
}

uint64_t walk_draw_timeout(walk_t* w) {
  return walk_chance(w, 8);
}

uint64_t walk_draw_first(walk_t* w) {
  static const uint64_t ends[] = {UINT32_MAX, UINT64_MAX / 2, UINT64_MAX};
  size_t at = walk_draw(w, COUNT(ends) + 2);

  if (at == 0)
    return 0;
  return at <= COUNT(ends) ? ends[at - 1] - walk_draw(w, 60) : walk_draw_64(w);
}

/* Words. */

void walk_note(walk_t* w, const char* words, long long a, long long b) {
  size_t at = w->noted++ % COUNT(w->notes);

  w->notes[at].words = words;
  w->notes[at].numbers[0] = a;
  w->notes[at].numbers[1] = b;
  w->notes[at].depth = w->depth;
}

static void print_notes(const walk_t* w) {
  size_t i = w->noted > COUNT(w->notes) ? w->noted - COUNT(w->notes) : 0;

  for (; i < w->noted; i++) {
    size_t at = i % COUNT(w->notes);
    fprintf(stderr, "  %*s", 2 * w->notes[at].depth, "");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    fprintf(stderr, w->notes[at].words, w->notes[at].numbers[0], w->notes[at].numbers[1]);
#pragma GCC diagnostic pop
    fputc('\n', stderr);
  }
}

_Noreturn void walk_fail(const walk_t* w, const char* what, long long value, long long wanted) {
  size_t i;

  fprintf(stderr, "%s: a walk that does not go as its model says:\n", w->kind->name);
  print_notes(w);
  fprintf(stderr, "%s is %lld, not %lld\n", what, value, wanted);
  fprintf(stderr, "To see it again: xxd -r -p >FILE <<<'");
  for (i = 0; i < w->size; i++) {
    fprintf(stderr, "%02x", w->data[i]);
  }
  fprintf(stderr, "'; test/fuzz/test_fuzz %s FILE\n", w->kind->name);
  abort();
}

/* Memory. */

void walk_scarce(walk_t* w) {
  support_alloc_mark();
  if (walk_chance(w, 16))
    support_alloc_fail(1 + walk_draw(w, 4));
}

bool walk_answer(const walk_t* w, const char* what, long long value, long long wanted) {
  support_alloc_fail(0);
  if (value == UV_ENOMEM && support_alloc_failed() > 0)
    return false;
  walk_want(w, what, value, wanted);
  return true;
}

/* Messages. */

static unsigned char byte_of(uint64_t number, size_t i) {
  return (unsigned char) ((number + 1) * 131 + i * 7 + (number >> (i % 4 * 8)));
}

void walk_paint(void* item, size_t size, uint64_t number) {
  unsigned char* bytes = item;
  size_t i;

  for (i = 0; i < size; i++) {
    bytes[i] = byte_of(number, i);
  }
  if (size >= sizeof(number))
    memcpy(item, &number, sizeof(number));
}

uint64_t walk_number(const void* item) {
  uint64_t number;

  memcpy(&number, item, sizeof(number));
  return number;
}

void walk_check_item(const walk_t* w, const void* item, size_t size, uint64_t number) {
  size_t align = size == 0 ? 1 : size & (~size + 1);
  const unsigned char* bytes = item;
  size_t i;

  walk_want(w, "whether there is an item", item != NULL, 1);
  walk_want(w, "how far the item is from its alignment",
            (long long) ((uintptr_t) item % (align < _Alignof(max_align_t) ? align : _Alignof(max_align_t))), 0);
  if (size >= sizeof(number))
    walk_want(w, "the number of the item", (long long) walk_number(item), (long long) number);
  for (i = size >= sizeof(number) ? sizeof(number) : 0; i < size; i++) {
    if (bytes[i] != byte_of(number, i)) {
      walk_fail(w, "a byte of the item", bytes[i], byte_of(number, i));
    }
  }
}

/* Loops. */

void walk_pass(walk_t* w, size_t loop) {
  uv_run(&w->loops[loop], UV_RUN_NOWAIT);
}

void walk_pass_all(walk_t* w) {
  size_t i;

  for (i = 0; i < WALK_LOOPS; i++) {
    walk_pass(w, i);
  }
}

bool walk_is_alive(walk_t* w, size_t loop) {
  bool alive;

  uv_unref((uv_handle_t*) &w->props[loop]);
  alive = uv_loop_alive(&w->loops[loop]) != 0;
  uv_ref((uv_handle_t*) &w->props[loop]);
  return alive;
}

static void never(uv_timer_t* prop) {
  (void) prop;
}

void walk_set_up(void) {
  setenv("UVCH_DEBUG", "quiet", 0); /* walks make mistakes to see their codes */
  if (uvch_replace_allocator(support_malloc, support_realloc, support_calloc, support_free) != 0)
    abort();
}

walk_t* walk_begin(const walk_kind_t* kind, const uint8_t* data, size_t size) {
  walk_t* w = malloc(sizeof(*w));
  size_t i;

  if (w == NULL) {
    abort();
  }
  w->kind = kind;
  w->data = data;
  w->size = size;
  w->at = 0;
  w->step = 0;
  w->depth = 0;
  w->noted = 0;
  for (i = 0; i < WALK_LOOPS; i++) {
    walk_want(w, "uv_loop_init()", uv_loop_init(&w->loops[i]), 0);
    walk_want(w, "uv_timer_init()", uv_timer_init(&w->loops[i], &w->props[i]), 0);
    walk_want(w, "uv_timer_start()", uv_timer_start(&w->props[i], never, UINT32_MAX, 0), 0);
  }
  w->blocks = support_alloc_blocks();
  return w;
}

void walk_end(walk_t* w) {
  size_t i;

  for (i = 0; i < WALK_LOOPS; i++) {
    uv_close((uv_handle_t*) &w->props[i], NULL);
    walk_want(w, "uv_run()", uv_run(&w->loops[i], UV_RUN_DEFAULT), 0);
    walk_want(w, "uv_loop_close()", uv_loop_close(&w->loops[i]), 0);
  }
  walk_want(w, "blocks of memory", (long long) support_alloc_blocks(), (long long) w->blocks);
  free(w);
}

/* Calls. */

void walk_calls_begin(walk_t* w, walk_calls_t* calls, const walk_call_t* all, size_t count) {
  size_t i;

  calls->calls = all;
  calls->count = count;
  calls->sum = 0;
  for (i = 0; i < count; i++) {
    calls->weights[i] = 1 + walk_draw(w, all[i].weight);
    calls->sum += calls->weights[i];
  }
}

void walk_call(walk_t* w, const walk_calls_t* calls, void* model) {
  size_t at = walk_draw(w, calls->sum);
  size_t i;

  for (i = 0; at >= calls->weights[i]; i++) {
    at -= calls->weights[i];
  }
  walk_note(w, calls->calls[i].name, 0, 0);
  calls->calls[i].run(model);
}
