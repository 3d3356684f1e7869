/* SPDX-License-Identifier: MIT
 *
 * The cases for peers in C and C++ that know channels and threads, but no event loop. A peer says how a channel is made and how one
 * message goes through it; threads.c does the rest. */
#ifndef BENCH_THREADS_H
#define BENCH_THREADS_H

#include <sched.h>

#include "peer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a channel is to be. */
#define THREADS_ANY SIZE_MAX /* capacity: as the peer likes, but at least 1024 */

struct threads_setup {
  size_t capacity; /* 0: no bound */
  size_t size;
  unsigned int producers;
};

/* The calls take as many messages as `count` says, one at a time, so that the cost of a call through a pointer is that of a whole
 * portion. */
struct threads_peer {
  /* Make a channel: a sending end for each producer and a receiving one. Any thread may use an end, one at a time. */
  void (*open)(const struct threads_setup* setup, void** tx, void** rx);
  /* Make one there and one back, for requests. NULL: two as above. */
  void (*open_both)(const struct threads_setup* setup, void** tx, void** rx);
  /* Make a channel that carries each message to every receiver. NULL: one as above for each. */
  void (*open_all)(const struct threads_setup* setup, unsigned int receivers, void** tx, void** rx);
  /* Send the messages of this producer from `place` on. Waits for room. */
  void (*send)(void* tx, uint64_t place, size_t count);
  /* Receive and check. Waits for each. */
  void (*recv)(void* rx, struct peer_check* check, size_t count);
  /* Both in turn, on one thread. */
  void (*pair)(void* tx, void* rx, uint64_t place, struct peer_check* check, size_t count);
  int spins; /* a receiver cannot sleep */
};

/* THREADS_PEER: the struct NAME_peer, from NAME_put and NAME_take, which move one message, and the other members. */
#define THREADS_PEER(name, ...)                                                                         \
  static void name##_send(void* tx, uint64_t place, size_t count) {                                     \
    for (; count > 0; count--)                                                                          \
      name##_put(tx, place++);                                                                          \
  }                                                                                                     \
  static void name##_recv(void* rx, struct peer_check* check, size_t count) {                           \
    for (; count > 0; count--)                                                                          \
      name##_take(rx, check);                                                                           \
  }                                                                                                     \
  static void name##_pair(void* tx, void* rx, uint64_t place, struct peer_check* check, size_t count) { \
    for (; count > 0; count--) {                                                                        \
      name##_put(tx, place++);                                                                          \
      name##_take(rx, check);                                                                           \
    }                                                                                                   \
  }                                                                                                     \
  static const struct threads_peer name##_peer = {.send = name##_send, .recv = name##_recv, .pair = name##_pair, __VA_ARGS__}

struct threads_row {
  const char* peer;
  /* Which functions suit the case and its channels; may call peer_none(). */
  const struct threads_peer* (*pick)(const struct peer_args* args, const struct threads_setup* setup);
};

/* threads_main: peer_main with the cases of threads.c for these peers, which end with a row of NULLs. The cases in `more` come
 * first; it may be NULL. */
int threads_main(int argc, char** argv, const struct threads_row* peers, const struct peer_row* more);

/* threads_start: run a function on a new thread, which is then the n-th of the peer. threads_join: wait for it. */
struct threads_thread;
struct threads_thread* threads_start(void (*run)(void*), void* arg);
void threads_join(struct threads_thread* thread);

/* The sender's part of the case `idle`, for peers that wait for many channels in a way of their own. */
struct threads_idle {
  void (*send)(void* arg, size_t channel, uint64_t place); /* one message to one of the channels */
  void* arg;
  int page;       /* of the thread that receives (peer_page()); -1: there are several */
  uint64_t bytes; /* of all channels */
  const struct peer_args* args;
  uint64_t taken; /* when the last message was received; 0: not yet */
};

/* threads_idle_start: start the sending thread, which also writes the result when it is done. threads_idle_taken: the message that
 * was sent last has been received and checked. */
struct threads_thread* threads_idle_start(struct threads_idle* idle);
void threads_idle_taken(struct threads_idle* idle);

/* threads_pause: a turn of a loop that spins. After a while the processor goes to other threads. */
#define THREADS_TURNS 100

static inline void threads_pause(unsigned int* turns) {
  if (++*turns > THREADS_TURNS) {
    sched_yield();
    return;
  }
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

#ifdef __cplusplus
}
#endif

#endif
