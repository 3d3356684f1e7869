/* SPDX-License-Identifier: MIT
 *
 * One thing, N times (a multiple of 64), on one thread and without a clock, for bench/instructions to count what it takes. It can be built with the headers
 * of any revision: what one does not have is left out. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvch.h>

enum { BURST = 64, RING = 1024 };

static uv_loop_t loop;
static uint64_t received;

static void check(int result) {
  if (result >= 0)
    return;
  fprintf(stderr, "instructions: %s\n", uv_strerror(result));
  exit(1);
}

/* What was asked for has to have happened. */
static void check_count(uint64_t count, uint64_t wanted) {
  if (count == wanted)
    return;
  fprintf(stderr, "instructions: %llu instead of %llu\n", (unsigned long long) count, (unsigned long long) wanted);
  exit(1);
}

/* Until the loop has delivered so many. */
static void deliver(uint64_t wanted) {
  while (received < wanted)
    uv_run(&loop, UV_RUN_NOWAIT);
}

/*
 * mpsc
 */

static uvch_mpsc_receiver_t rx;
static uvch_mpsc_sender_t tx;

static void pairs(uint64_t n, size_t capacity) {
  uint64_t i;
  uint64_t item;

  check(uvch_mpsc_init(&loop, &rx, &tx, sizeof(item), capacity));
  for (i = 0; i < n; i++) {
    check(uvch_mpsc_try_send(&tx, &i));
    check(uvch_mpsc_try_recv(&rx, &item));
    received += item == i;
  }
}

static void ring_pair(uint64_t n) {
  pairs(n, RING);
}

static void block_pair(uint64_t n) {
  pairs(n, UVCH_UNBOUNDED);
}

static void on_message(uvch_mpsc_receiver_t* receiver, int status, void* item) {
  (void) receiver;
  (void) item;
  check(status);
  received++;
}

static void bursts(uint64_t n, size_t capacity) {
  uint64_t i;

  check(uvch_mpsc_init(&loop, &rx, &tx, sizeof(i), capacity));
  check(uvch_mpsc_recv_start(&rx, on_message));
  for (i = 0; i < n; i++) {
    check(uvch_mpsc_try_send(&tx, &i));
    if (i % BURST == BURST - 1)
      deliver(i + 1);
  }
}

static void ring_loop(uint64_t n) {
  bursts(n, RING);
}

static void block_loop(uint64_t n) {
  bursts(n, UVCH_UNBOUNDED);
}

/* A pass of the loop for each. */
static void ring_single(uint64_t n) {
  uint64_t i;

  check(uvch_mpsc_init(&loop, &rx, &tx, sizeof(i), RING));
  check(uvch_mpsc_recv_start(&rx, on_message));
  for (i = 0; i < n; i++) {
    check(uvch_mpsc_try_send(&tx, &i));
    deliver(i + 1);
  }
}

/*
 * What came later
 */

#if __has_include(<uvch/call.h>)
static void oneshot(uint64_t n) {
  uvch_oneshot_receiver_t one;
  uvch_oneshot_sender_t reply;
  uint64_t i;
  uint64_t item;

  for (i = 0; i < n; i++) {
    check(uvch_oneshot_init(NULL, &one, &reply, sizeof(item)));
    check(uvch_oneshot_send(&reply, &i));
    check(uvch_oneshot_try_recv(&one, &item));
    check(uvch_close((uvch_handle_t*) &one, NULL));
    received += item == i;
  }
}

struct request {
  uint64_t number;
  uvch_oneshot_sender_t reply;
};

static void on_request(uvch_mpsc_receiver_t* receiver, int status, void* item) {
  struct request* request = item;

  (void) receiver;
  check(status);
  check(uvch_reply(&request->reply, &request->number));
}

static void on_reply(uvch_call_t* call, int status, void* item) {
  (void) call;
  (void) item;
  check(status);
  received++;
}

static void call(uint64_t n) {
  static uvch_call_t calls[BURST];
  struct request request;
  uint64_t i;

  check(uvch_mpsc_init(&loop, &rx, &tx, sizeof(request), RING));
  check(uvch_mpsc_recv_start(&rx, on_request));
  for (i = 0; i < n; i++) {
    request.number = i;
    check(uvch_call(&loop, &calls[i % BURST], &tx, &request, &request.reply, sizeof(i), on_reply));
    if (i % BURST == BURST - 1)
      deliver(i + 1);
  }
}
#endif

#if __has_include(<uvch/broadcast.h>)
static void on_news(uvch_broadcast_receiver_t* receiver, int status, const void* item) {
  (void) receiver;
  (void) item;
  check(status);
  received++;
}

static void broadcast(uint64_t n, size_t count) {
  static uvch_broadcast_receiver_t all[16];
  uvch_broadcast_sender_t news;
  uint64_t i;

  check(uvch_broadcast_init(&loop, &all[0], &news, sizeof(i), RING));
  for (i = 1; i < count; i++)
    check(uvch_broadcast_subscribe(&loop, &all[i], &news));
  for (i = 0; i < count; i++)
    check(uvch_broadcast_recv_start(&all[i], on_news));
  for (i = 0; i < n; i++) {
    check(uvch_broadcast_send(&news, &i));
    if (i % BURST == BURST - 1)
      deliver((i + 1) * count);
  }
  received /= count;
}

static void broadcast_1(uint64_t n) {
  broadcast(n, 1);
}

static void broadcast_16(uint64_t n) {
  broadcast(n, 16);
}
#endif

#if __has_include(<uvch/watch.h>)
static void watch_send(uint64_t n) {
  uvch_watch_receiver_t reader;
  uvch_watch_sender_t writer;
  uint64_t i = 0;

  check(uvch_watch_init(&loop, &reader, &writer, sizeof(i), &i));
  for (i = 0; i < n; i++) {
    check(uvch_watch_send(&writer, &i));
    received += *(const uint64_t*) uvch_watch_borrow(&reader) == i;
  }
}

static void watch_borrow(uint64_t n) {
  uvch_watch_receiver_t reader;
  uvch_watch_sender_t writer;
  uint64_t i = 1;

  check(uvch_watch_init(&loop, &reader, &writer, sizeof(i), &i));
  for (i = 0; i < n; i++)
    received += *(const uint64_t*) uvch_watch_borrow(&reader);
}
#endif

static const struct {
  const char* name;
  void (*run)(uint64_t n);
} cases[] = {
    {"ring_pair", ring_pair},     {"block_pair", block_pair},
    {"ring_loop", ring_loop},     {"block_loop", block_loop},
    {"ring_single", ring_single},
#if __has_include(<uvch/call.h>)
    {"oneshot", oneshot},         {"call", call},
#endif
#if __has_include(<uvch/broadcast.h>)
    {"broadcast_1", broadcast_1}, {"broadcast_16", broadcast_16},
#endif
#if __has_include(<uvch/watch.h>)
    {"watch_send", watch_send},   {"watch_borrow", watch_borrow},
#endif
};

/* instructions CASE N; without arguments the names of all. Nothing is closed: it is no example. */
int main(int argc, char** argv) {
  size_t i;

  for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    if (argc < 3) {
      puts(cases[i].name);
    } else if (strcmp(argv[1], cases[i].name) == 0) {
      check(uv_loop_init(&loop));
      check(uvch_loop_configure(&loop, UVCH_LOOP_HOT_MAX, 0));
      cases[i].run(strtoull(argv[2], NULL, 10));
      check_count(received, strtoull(argv[2], NULL, 10));
      return 0;
    }
  }
  return argc < 3 ? 0 : 2;
}
