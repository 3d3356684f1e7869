/* SPDX-License-Identifier: MIT
 *
 * Peers of Concurrency Kit. Nothing in them can wake anybody: a receiver without a message, and a sender without room, look again
 * and again, and after a hundred times let other threads have the processor. So they have no `idle`, and the processor time is
 * part of the price.
 *
 * `ck_ring`: the ring, for one or several producers, with messages by value. The number of places is a power of two, at least the
 * capacity, and one of them stays empty. Producers finish in the order in which they began, each spins until the one before it is
 * done, and the ring has no way to let that one run. With more producers than processors a run takes minutes, and so is refused.
 *
 * `ck_fifo`: queues without a bound, which move pointers. With one producer ck_fifo_spsc, which gives the producer its entries
 * back. With several ck_hp_fifo: ck_fifo_mpmc is the same queue, but leaves open when the memory of an entry may be used again. A
 * message of 8 bytes travels as the pointer itself, a larger one is allocated and freed.
 *
 * cc -O2 -DNDEBUG -o ck ck.c threads.c peer.c $(pkg-config --cflags --libs ck) -pthread */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <ck_fifo.h>
#include <ck_hp.h>
#include <ck_hp_fifo.h>
#include <ck_ring.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "threads.h"

#define LINE 64

static void* lines_alloc(size_t n, size_t size) {
  size_t all = (n * size + LINE - 1) / LINE * LINE;
  void* p = aligned_alloc(LINE, all);

  if (p == NULL)
    peer_fail("out of memory");
  return memset(p, 0, all);
}

/* ck_ring */

struct ring {
  ck_ring_t ring;
  void* places;
};

struct ring_tx {
  _Alignas(LINE) struct ring* ring;
  unsigned int number;
};

static void ring_open(const struct threads_setup* setup, void** tx, void** rx) {
  struct ring* ring = (struct ring*) lines_alloc(1, sizeof(*ring));
  struct ring_tx* ends = (struct ring_tx*) lines_alloc(setup->producers, sizeof(*ends));
  size_t wanted = setup->capacity == THREADS_ANY ? 1024 : setup->capacity;
  size_t n = 2;
  unsigned int i;

  while (n < wanted)
    n *= 2;
  ring->places = lines_alloc(n, setup->size);
  ck_ring_init(&ring->ring, (unsigned int) n);
  for (i = 0; i < setup->producers; i++) {
    ends[i] = (struct ring_tx){ring, i};
    tx[i] = &ends[i];
  }
  *rx = ring;
}

/* The ring for messages of one size, which is known when this is compiled, for one (spsc) or several (mpsc) producers. */
#define RING_KIND(size, kind)                                                                \
  static inline void ring_##size##_##kind##_put(void* arg, uint64_t place) {                 \
    const struct ring_tx* tx = (const struct ring_tx*) arg;                                  \
    struct message_##size message;                                                           \
    unsigned int turns = 0;                                                                  \
                                                                                             \
    peer_fill(&message, sizeof(message), tx->number, place);                                 \
    while (!ck_ring_enqueue_##kind##_of_##size(&tx->ring->ring, tx->ring->places, &message)) \
      threads_pause(&turns);                                                                 \
  }                                                                                          \
  static inline void ring_##size##_##kind##_take(void* arg, struct peer_check* check) {      \
    struct ring* ring = (struct ring*) arg;                                                  \
    struct message_##size message;                                                           \
    unsigned int turns = 0;                                                                  \
                                                                                             \
    while (!ck_ring_dequeue_##kind##_of_##size(&ring->ring, ring->places, &message))         \
      threads_pause(&turns);                                                                 \
    peer_take(check, &message, sizeof(message));                                             \
  }                                                                                          \
  THREADS_PEER(ring_##size##_##kind, .open = ring_open, .spins = 1)

#define RING(size)                             \
  struct message_##size {                      \
    uint64_t words[(size) / 8];                \
  };                                           \
  CK_RING_PROTOTYPE(of_##size, message_##size) \
  RING_KIND(size, spsc);                       \
  RING_KIND(size, mpsc)

RING(8);
RING(64);
RING(256);
RING(1024);
RING(4096);

static const struct threads_peer* ring_pick(const struct peer_args* args, const struct threads_setup* setup) {
  int many = setup->producers > 1;
  cpu_set_t allowed;

  (void) args;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    peer_fail("sched_getaffinity failed");
  if (setup->capacity == 0)
    peer_none("a ck_ring has a bound");
  if (many && CPU_COUNT(&allowed) < (int) setup->producers)
    peer_none("with more producers than processors they spin for those that cannot run");
  switch (setup->size) {
    case 8:
      return many ? &ring_8_mpsc_peer : &ring_8_spsc_peer;
    case 64:
      return many ? &ring_64_mpsc_peer : &ring_64_spsc_peer;
    case 256:
      return many ? &ring_256_mpsc_peer : &ring_256_spsc_peer;
    case 1024:
      return many ? &ring_1024_mpsc_peer : &ring_1024_spsc_peer;
    case 4096:
      return many ? &ring_4096_mpsc_peer : &ring_4096_spsc_peer;
    default:
      peer_none("its program has rings for messages of 8, 64, 256, 1024 and 4096 bytes");
  }
}

/* ck_fifo */

static inline void* wrap(size_t size, unsigned int number, uint64_t place) {
  uint64_t word;
  void* message;

  if (size == sizeof(word)) {
    peer_fill(&word, sizeof(word), number, place);
    return (void*) (uintptr_t) word;
  }
  message = malloc(size);
  if (message == NULL)
    peer_fail("out of memory");
  peer_fill(message, size, number, place);
  return message;
}

static inline void unwrap(size_t size, void* message, struct peer_check* check) {
  uint64_t word = (uint64_t) (uintptr_t) message;

  peer_take(check, size == sizeof(word) ? &word : message, size);
  if (size != sizeof(word))
    free(message);
}

static inline void* entry_new(size_t size) {
  void* entry = malloc(size);

  if (entry == NULL)
    peer_fail("out of memory");
  return entry;
}

struct fifo {
  ck_fifo_spsc_t fifo;
  _Alignas(LINE) size_t size;
};

static void fifo_open(const struct threads_setup* setup, void** tx, void** rx) {
  struct fifo* fifo = (struct fifo*) lines_alloc(1, sizeof(*fifo));

  ck_fifo_spsc_init(&fifo->fifo, (ck_fifo_spsc_entry_t*) entry_new(sizeof(ck_fifo_spsc_entry_t)));
  fifo->size = setup->size;
  *tx = *rx = fifo;
}

static inline void fifo_put(void* arg, uint64_t place) {
  struct fifo* fifo = (struct fifo*) arg;
  ck_fifo_spsc_entry_t* entry = ck_fifo_spsc_recycle(&fifo->fifo);

  if (entry == NULL)
    entry = (ck_fifo_spsc_entry_t*) entry_new(sizeof(*entry));
  ck_fifo_spsc_enqueue(&fifo->fifo, entry, wrap(fifo->size, 0, place));
}

static inline void fifo_take(void* arg, struct peer_check* check) {
  struct fifo* fifo = (struct fifo*) arg;
  unsigned int turns = 0;
  void* message;

  while (!ck_fifo_spsc_dequeue(&fifo->fifo, &message))
    threads_pause(&turns);
  unwrap(fifo->size, message, check);
}

THREADS_PEER(fifo, .open = fifo_open, .spins = 1);

#define PENDING 128 /* entries that wait to be freed */

struct hp_fifo {
  _Alignas(LINE) ck_hp_fifo_t fifo;
  _Alignas(LINE) ck_hp_t hp;
  size_t size;
};

struct hp_end {
  ck_hp_record_t record;
  void* pointers[CK_HP_FIFO_SLOTS_COUNT];
  struct hp_fifo* fifo;
  unsigned int number;
};

static void hp_open(const struct threads_setup* setup, void** tx, void** rx) {
  struct hp_fifo* fifo = (struct hp_fifo*) lines_alloc(1, sizeof(*fifo));
  struct hp_end* ends = (struct hp_end*) lines_alloc(setup->producers + 1, sizeof(*ends));
  unsigned int i;

  ck_hp_init(&fifo->hp, CK_HP_FIFO_SLOTS_COUNT, PENDING, free);
  ck_hp_fifo_init(&fifo->fifo, (ck_hp_fifo_entry_t*) entry_new(sizeof(ck_hp_fifo_entry_t)));
  fifo->size = setup->size;
  for (i = 0; i <= setup->producers; i++) {
    ends[i].fifo = fifo;
    ends[i].number = i;
    ck_hp_register(&fifo->hp, &ends[i].record, ends[i].pointers);
    *(i < setup->producers ? &tx[i] : rx) = &ends[i];
  }
}

static inline void hp_put(void* arg, uint64_t place) {
  struct hp_end* end = (struct hp_end*) arg;
  ck_hp_fifo_entry_t* entry = (ck_hp_fifo_entry_t*) entry_new(sizeof(*entry));

  ck_hp_fifo_enqueue_mpmc(&end->record, &end->fifo->fifo, entry, wrap(end->fifo->size, end->number, place));
}

static inline void hp_take(void* arg, struct peer_check* check) {
  struct hp_end* end = (struct hp_end*) arg;
  ck_hp_fifo_entry_t* old;
  unsigned int turns = 0;
  void* message;

  while ((old = ck_hp_fifo_dequeue_mpmc(&end->record, &end->fifo->fifo, &message)) == NULL)
    threads_pause(&turns);
  ck_hp_free(&end->record, &old->hazard, old, old);
  unwrap(end->fifo->size, message, check);
}

THREADS_PEER(hp, .open = hp_open, .spins = 1);

static const struct threads_peer* fifo_pick(const struct peer_args* args, const struct threads_setup* setup) {
  (void) args;
  if (setup->capacity != 0 && setup->capacity != THREADS_ANY)
    peer_none("a ck_fifo has no bound");
  return setup->producers > 1 ? &hp_peer : &fifo_peer;
}

int main(int argc, char** argv) {
  static const struct threads_row peers[] = {{"ck_ring", ring_pick}, {"ck_fifo", fifo_pick}, {NULL, NULL}};

  return threads_main(argc, argv, peers, NULL);
}
