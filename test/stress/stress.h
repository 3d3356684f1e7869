/* SPDX-License-Identifier: MIT
 *
 * What the parts of the stress program share.
 *
 * A *scene* is one channel with those who use it: a few parts, each played by one thread, and everything about it drawn at random.
 * Each thread takes the next part that is free; if there is none it makes a scene and plays the first part of that. So at most one
 * scene lacks players, and those of all others come to their end without it. A scene is made so that each wait in it ends; one that
 * does not is a wake-up that was lost, and the watchdog says who waits for what.
 *
 * Each message has its sender, a number that only goes up, and a sum over both. The messages that were taken and those that came
 * out are counted and added up for each sender, and when the last part has been played these must be the same. */
#ifndef UVCH_TEST_STRESS_STRESS_H
#define UVCH_TEST_STRESS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <uvch.h>

#define PARTS_MAX 8
#define ITEM_MAX 128

/* Messages. */

struct parcel {
  uint32_t scene;
  uint32_t source; /* the part whose message it is */
  uint64_t number;
  uint64_t sum;
};

/* A message is a parcel, and bytes behind it that follow from it. */
void parcel_make(void* item, size_t size, uint32_t scene, size_t source, uint64_t number);

/* parcel_open: the parcel of a message, which must be whole and of that scene. */
struct parcel parcel_open(const void* item, size_t size, uint32_t scene);

/* One side's account of one source. */
struct tally {
  uint64_t count;
  uint64_t sum;
  uint64_t next; /* the lowest number that may come */
};

void tally_sent(struct tally* tally, const void* items, size_t size, size_t count);

/* tally_got: a message has come out, on time. */
void tally_got(struct tally tallies[PARTS_MAX], const void* item, size_t size, uint32_t scene);

/* tally_compare: after the end: whatever was taken has come out, and nothing else. Returns how many. */
uint64_t tally_compare(const struct tally sent[PARTS_MAX], const struct tally got[PARTS_MAX]);

/* Threads. */

struct scene;

struct player {
  size_t index;
  uint64_t random;
  uv_loop_t loop;
  bool has_loop;
  struct scene* scene;
  size_t part;

  /* What the watchdog looks at. */
  atomic_uint_least64_t beats;
  atomic_uint acts_in; /* number of the scene; 0 none */
  atomic_uint acts_as;
  _Atomic(const char*) does;
  uv_thread_t thread;
};

/* draw: 0 to n - 1. draw_size: small numbers as often as large ones, 1 to max. draw_time: nanoseconds for a wait, 0 to 200 us. */
uint64_t draw(struct player* self, uint64_t n);
uint64_t draw_size(struct player* self, uint64_t max);
uint64_t draw_time(struct player* self);

/* now_in: what the thread does from now on, for the watchdog. */
static inline void now_in(struct player* self, const char* what) {
  /* relaxed: only the watchdog looks, and only whether they change */
  atomic_store_explicit(&self->does, what, memory_order_relaxed);
  atomic_store_explicit(&self->beats, atomic_load_explicit(&self->beats, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* player_loop: the player's own loop, opened if it has none. player_run: uv_run to its end, or in another way. player_done: nothing
 * is left on it; it is closed, or stays for the next scene. */
uv_loop_t* player_loop(struct player* self);
int player_run(struct player* self, uv_run_mode mode);
void player_done(struct player* self);

/* Scenes. */

struct kind {
  const char* name;
  size_t size; /* of what begins with a struct scene */
  size_t parts_min;
  /* Draws everything, and makes the channel: `scene->parts` is how many will play. Part 0 is played by who makes it. */
  void (*make)(struct player* self, struct scene* scene);
  void (*play)(struct player* self, struct scene* scene, size_t part);
  /* After the last part: all accounts. Returns how many messages were taken. */
  uint64_t (*check)(struct scene* scene);
  void (*describe)(const struct scene* scene, char* text, size_t size);
};

struct scene {
  const struct kind* kind;
  uint32_t number; /* from 1 on */
  size_t parts;
  size_t taken;   /* under the lock */
  size_t played;  /* the same */
  uint64_t quota; /* messages that each sending part wants to get rid of */
  struct tally sent[PARTS_MAX];
};

extern const struct kind kind_mpsc;
extern const struct kind kind_call;
extern const struct kind kind_broadcast;
extern const struct kind kind_watch;
extern const struct kind kind_inbox;

/* Checking. A failure is told with the seed and who did what, and ends the program. */

_Noreturn void stress_fail(const char* file, int line, const char* what, long long value);

#define expect(condition) ((condition) ? (void) 0 : stress_fail(__FILE__, __LINE__, #condition, 0))
#define expect_eq(value, wanted)                                      \
  do {                                                                \
    long long value_ = (long long) (value);                           \
    if (value_ != (long long) (wanted))                               \
      stress_fail(__FILE__, __LINE__, #value " == " #wanted, value_); \
  } while (0)

/* expect_in: one of the two, too. */
#define expect_in(value, one, other)                                             \
  do {                                                                           \
    long long value_ = (long long) (value);                                      \
    if (value_ != (long long) (one) && value_ != (long long) (other))            \
      stress_fail(__FILE__, __LINE__, #value " is " #one " or " #other, value_); \
  } while (0)

#endif
