/* SPDX-License-Identifier: MIT
 *
 * What the peers in C and C++ share: arguments, clocks, placement, the check of messages, the result. README.md in this directory
 * says what a peer has to do. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEER_PRODUCERS_MAX 64
#define PEER_SIZE_MAX 4096

struct peer_args {
  const char* peer;
  const char* name; /* of the case */
  uint64_t messages;
  size_t capacity; /* 0: no bound */
  size_t size;
  unsigned int producers;
  unsigned int receivers;
  unsigned int outstanding;
  size_t channels;
  int split; /* place=split */
  int one;   /* where=one */
  int read;  /* op=read */
};

/* A case of a peer: runs, and calls peer_result() once. */
typedef void (*peer_fn)(const struct peer_args* args);

struct peer_row {
  const char* peer;
  const char* name;
  peer_fn run;
};

/* peer_main: parse, find the row, run it. Rows end with one of NULLs. */
int peer_main(int argc, char** argv, const struct peer_row* rows);

/* peer_fail: the run went wrong; exits with 1. peer_none: nothing for this case; exits with 3. From any thread. */
void peer_fail(const char* format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void peer_none(const char* why) __attribute__((noreturn));

/* peer_place: keep the calling thread on the n-th allowed processor, counted round, if place=split. */
void peer_place(const struct peer_args* args, unsigned int n);

/* Wall clock and processor time of the process, in nanoseconds. */
uint64_t peer_now(void);
uint64_t peer_cpu(void);

/* A measured part. peer_meter_start() and peer_meter_stop() may be called by different threads. */
struct peer_meter {
  uint64_t wall;
  uint64_t cpu;
};

void peer_meter_start(struct peer_meter* meter);
void peer_meter_stop(struct peer_meter* meter); /* leaves the spans in it */

/* peer_result: the line. Times may be NULL; else p50 and p99 of `n` of them, which are sorted. */
void peer_result(uint64_t messages, const struct peer_meter* meter, uint64_t* times, size_t n);

/* peer_result_more: the same with one more key. */
void peer_result_more(uint64_t messages, const struct peer_meter* meter, uint64_t* times, size_t n, const char* key,
                      uint64_t value);

/* Messages of `stream`, written and checked in line, as users' own code is. */
#define PEER_ID_SHIFT 56

/* peer_fill: write the message of a producer. */
static inline void peer_fill(void* message, size_t size, unsigned int producer, uint64_t place) {
  uint64_t* words = (uint64_t*) message;

  words[0] = (uint64_t) producer << PEER_ID_SHIFT | place;
  if (size > sizeof(*words))
    words[size / sizeof(*words) - 1] = ~words[0];
}

/* The receiver's check: place of the next message from each producer. */
struct peer_check {
  unsigned int producers;
  uint64_t next[PEER_PRODUCERS_MAX];
};

/* peer_take: fail unless it is the next message of its producer. */
static inline void peer_take(struct peer_check* check, const void* message, size_t size) {
  const uint64_t* words = (const uint64_t*) message;
  uint64_t id = words[0] >> PEER_ID_SHIFT;

  if (id >= check->producers || (words[0] & (((uint64_t) 1 << PEER_ID_SHIFT) - 1)) != check->next[id])
    peer_fail("a message is missing, doubled or out of order");
  if (size > sizeof(*words) && words[size / sizeof(*words) - 1] != ~words[0])
    peer_fail("a message has changed on its way");
  check->next[id]++;
}

/* peer_xcalloc: zeroed memory, or fail. */
void* peer_xcalloc(size_t n, size_t size);

/* peer_resident: bytes of memory that the process has in use. */
uint64_t peer_resident(void);

/* peer_page: open the kernel's page about the calling thread. peer_sleeps: whether the thread of that page sleeps. */
int peer_page(void);
int peer_sleeps(int page);

/* peer_random: the next of a fixed row of pseudo-random numbers. */
uint64_t peer_random(uint64_t* state);

#ifdef __cplusplus
}
#endif

#endif
