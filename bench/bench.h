/* SPDX-License-Identifier: MIT
 *
 * What the files of the benchmark share: a case, what it measures, and a channel of either kind. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <uv.h>
#include <uvch.h>

#include "baseline.h"

/* Who is measured: the library as it comes, the library on loops that never poll for the next message, the peer. */
enum variant { UVCH, COLD, BASELINE, VARIANTS };

#define BIT(variant) (1U << (variant))
#define ALL_VARIANTS (BIT(UVCH) | BIT(COLD) | BIT(BASELINE))

/* How messages go in and come out in flow.c and stage.c, which receivers oneshot.c and broadcast.c make, how request.c asks: by
 * calls to another loop or to its own, or with such receivers; and in watch.c and watch_send.c how a value is looked at and
 * changed, whether the peer has a read-write lock or just calls, and whether the sender shares a processor. */
enum manner {
  SINGLE,
  BATCHES,
  RECEIVE_BATCHES,
  PERMITS,
  WITH_LOOP,
  WITHOUT_LOOP,
  RENEWED_WITH_LOOP,
  RENEWED_WITHOUT_LOOP,
  BESIDE_OTHERS,
  CALLS,
  LOCAL_CALLS,
  BORROW_AND_UPDATE,
  SENDER_BORROW,
  HAS_CHANGED,
  REPLACE,
  MODIFY,
  MODIFY_IF,
  MODIFY_NOTHING,
  READ_WRITE_LOCK,
  BARE_CALL,
  BESIDE_A_LOOP
};

struct setup {
  enum variant variant;
  enum manner manner;
  unsigned int portion; /* messages in a batch, places in a permit, requests that are on their way at a time */
  size_t capacity;
  unsigned int producers;
  size_t channels;
  size_t receivers;
  int lags;       /* who falls behind misses messages, else senders wait */
  size_t size;    /* of a watched value, in bytes */
  uint64_t count; /* messages, or rounds */
};

/* Written by the process that runs one case, read by its parent. */
struct result {
  int done;
  double value; /* in the section's unit */
  double p99;   /* the same where the value is a median of many, else 0 */
  uint64_t messages;
  uint64_t missed; /* as receivers were told */
  uint64_t found;  /* how often a receiver saw a new value */
  uint64_t looks;  /* how often it could have */
  uint64_t wall_ns;
  uint64_t cpu_ns;      /* of the whole process */
  uint64_t switches;    /* times that a thread gave its processor up to wait */
  int64_t syscalls;     /* -1: not counted */
  int64_t instructions; /* in user code; -1: not counted */
  uint64_t line_ns;     /* see line_time() */
  char why[160];        /* why there is no value */
};

/* Sets the value, p99 and messages, or calls fail(). It runs in a process of its own and may leave everything open. */
typedef void (*run_fn)(const struct setup* setup, struct result* result);

enum target_kind {
  NO_TARGET,
  TIMES_BASELINE, /* at least `limit` times as good as the baseline */
  AT_MOST,        /* a value of at most `limit` */
  AT_MOST_TIMES,  /* a value of at most `limit` times the baseline's */
  TIMES_FIRST,    /* a value of at most `limit` times that of the section's first case */
  TIMES_COLD,     /* a value of at most `limit` times that without the hot window */
  GOAL            /* a value of at least `limit`, on the machine that it was set for: not counted */
};

struct target {
  enum target_kind kind;
  enum variant variant;
  double limit;
};

struct bench_case {
  const char* name;
  run_fn run;
  unsigned int variants; /* bits */
  enum manner manner;
  unsigned int portion;
  size_t capacity;
  unsigned int producers;
  size_t channels;
  size_t receivers;
  int lags;
  size_t size;
  uint64_t count;
  uint64_t slow_count; /* for the variants that wait in the kernel, or 0: the same */
  struct target targets[2];
};

enum metric { VALUE, P99, CPU, SYSCALLS, INSTRUCTIONS, LINE, MISSED, FOUND };

struct section {
  const char* id;
  const char* title;
  int more_is_better;
  unsigned int rounds;  /* at most; 0: no limit */
  unsigned int metrics; /* what to show besides the value, bits of enum metric */
  const struct bench_case* cases;
  size_t case_count;
};

/* cases.c */
extern const struct section sections[];
extern const size_t section_count;

/* flow.c: threads send to one loop; million messages per second, or nanoseconds per message. */
void run_flow(const struct setup* setup, struct result* result);
void run_flow_ns(const struct setup* setup, struct result* result);

/* local.c: everything on one thread; nanoseconds. */
void run_pairs(const struct setup* setup, struct result* result);
void run_call_send(const struct setup* setup, struct result* result);
void run_call_permit(const struct setup* setup, struct result* result);
void run_call_many(const struct setup* setup, struct result* result);
void run_burst_prepare(const struct setup* setup, struct result* result);
void run_burst_callback(const struct setup* setup, struct result* result);

/* wake.c: medians in microseconds. */
void run_wake_local(const struct setup* setup, struct result* result);
void run_wake_thread(const struct setup* setup, struct result* result);
void run_pingpong(const struct setup* setup, struct result* result);
void run_pingpong_bare(const struct setup* setup, struct result* result);

/* oneshot.c: one thread; nanoseconds, allocations per round trip, bytes. */
void run_oneshots(const struct setup* setup, struct result* result);
void run_oneshot_allocations(const struct setup* setup, struct result* result);
void run_oneshot_heap(const struct setup* setup, struct result* result);
void run_oneshot_caller_memory(const struct setup* setup, struct result* result);

/* request.c: million requests per second, or the median of their times in microseconds. */
void run_requests(const struct setup* setup, struct result* result);
void run_requests_us(const struct setup* setup, struct result* result);
void run_requests_bare(const struct setup* setup, struct result* result); /* the baseline: two bare wake-ups */
void run_requests_thread(const struct setup* setup, struct result* result);

/* broadcast.c: million deliveries per second; bytes. */
void run_broadcast(const struct setup* setup, struct result* result);
void run_broadcast_receiver_heap(const struct setup* setup, struct result* result);
void run_broadcast_receiver_struct(const struct setup* setup, struct result* result);
void run_broadcast_channel_heap(const struct setup* setup, struct result* result);

/* broadcast_send.c: nanoseconds; medians in nanoseconds, and in microseconds; wake-ups for each loop and burst. */
void run_broadcast_send(const struct setup* setup, struct result* result);
void run_broadcast_awake(const struct setup* setup, struct result* result);
void run_broadcast_asleep(const struct setup* setup, struct result* result);
void run_broadcast_wakes(const struct setup* setup, struct result* result);

/* watch.c: nanoseconds; bytes. */
void run_watch_look(const struct setup* setup, struct result* result);
void run_watch_changing(const struct setup* setup, struct result* result);
void run_watch_racing(const struct setup* setup, struct result* result); /* for a look, or with a portion for a send */
void run_watch_calls(const struct setup* setup, struct result* result);
void run_watch_receiver_memory(const struct setup* setup, struct result* result);
void run_watch_channel_memory(const struct setup* setup, struct result* result);

/* watch_send.c: nanoseconds; wake-ups for each loop and burst. */
void run_watch_updates(const struct setup* setup, struct result* result);
void run_watch_wakes(const struct setup* setup, struct result* result);

/* rest.c: bytes, descriptors, per cent of one processor. */
void run_heap(const struct setup* setup, struct result* result);
void run_caller_memory(const struct setup* setup, struct result* result);
void run_descriptors(const struct setup* setup, struct result* result);
void run_rest(const struct setup* setup, struct result* result);
void run_steady(const struct setup* setup, struct result* result);

/* measure.c */

/* fail: give up this run, with the reason; from any thread. */
void fail(struct result* result, const char* format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* check: fail() unless `rc` is 0. */
static inline void check(struct result* result, int rc, const char* what) {
  if (rc != 0)
    fail(result, "%s: %s", what, uv_strerror(rc));
}

/* place: keep the calling thread on the n-th processor of those that the benchmark may use, counted round. Where the
 * scheduler puts two threads, on one processor or on two, decides more than what they run. Call it after chan_open(): the
 * library looks whether there is more than one processor. place_freely() makes it do nothing. */
void place(unsigned int n);
void place_freely(void);

/* line_time: nanoseconds in which a cache line goes from the first processor to the second and back; 0: not measured, as there is
 * one processor or the threads are not placed. Many numbers depend on it, and on virtual machines it changes from one second to
 * the next. */
uint64_t line_time(void);

/* counters_open: let meter_start() and meter_stop() count system calls and instructions, of threads made later too. Returns
 * the bits of the metrics that this machine can count. */
unsigned int counters_open(void);

struct meter {
  uint64_t wall;
  uint64_t cpu;
  uint64_t switches;
};

void meter_start(struct meter* meter);
void meter_stop(const struct meter* meter, struct result* result);

/* thread_page: open the kernel's page about the calling thread. thread_sleeps: whether the thread whose page that is sleeps. */
int thread_page(struct result* result);
int thread_sleeps(int page);

/* thread_switches: how often the calling thread has given its processor up to wait. */
uint64_t thread_switches(void);

/* set_percentiles: value and p99 in microseconds from `n` times in nanoseconds, which it sorts. */
void set_percentiles(struct result* result, uint64_t* times, size_t n);

/* xcalloc: zeroed memory, or fail(). */
void* xcalloc(struct result* result, size_t n, size_t size);

/* heap.c */

/* heap_count: let the library take its memory through functions that count; before anything else of it. */
void heap_count(struct result* result);

/* What it holds now, as malloc_usable_size() sees it, and how often it has asked. */
size_t heap_bytes(void);
uint64_t heap_allocations(void);

/* A channel of either kind. */
struct chan {
  int peer;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_receiver_t rx;
  baseline_t base;
};

/* chan_open: make it on `loop`, and start receiving unless the callbacks are NULL. They find `data` in their handle. */
void chan_open(struct chan* ch, uv_loop_t* loop, const struct setup* setup, uvch_mpsc_recv_cb cb, baseline_cb base_cb, void* data,
               struct result* result);

static inline int chan_try_send(struct chan* ch, uint64_t message) {
  return ch->peer ? baseline_try_send(&ch->base, message) : uvch_mpsc_try_send(&ch->tx, &message);
}

static inline int chan_try_recv(struct chan* ch, uint64_t* message) {
  return ch->peer ? baseline_try_recv(&ch->base, message) : uvch_mpsc_try_recv(&ch->rx, message);
}

/* report.c */
struct cell {
  struct result* rounds;
  unsigned int count;
  struct result counted; /* the run with counters, if any */
};

/* print_section: the table of a section; `cells` has VARIANTS for each case. Adds to met[0] (not met), met[1] (met), met[2]
 * (unknown). */
void print_section(FILE* out, const struct section* section, const struct cell* cells, unsigned int counters,
                   unsigned int met[3]);

void print_raw_header(FILE* out);
void print_raw(FILE* out, const struct section* section, const struct bench_case* c, enum variant variant, const char* round,
               const struct result* result);

const char* variant_name(enum variant variant);

#endif
