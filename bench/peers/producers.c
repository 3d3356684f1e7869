/* SPDX-License-Identifier: MIT */
#include "producers.h"

#include <pthread.h>
#include <stdatomic.h>

#define PORTION 4096

struct producer {
  _Alignas(128) producers_t* all;
  unsigned int id;
  uint64_t place;
  uint64_t start; /* of the last phase */
  pthread_t thread;
};

struct producers_s {
  struct producer each[PEER_PRODUCERS_MAX];
  const struct peer_args* args;
  producers_send_fn send;
  void* channel;
  int phase; /* of the receiver */
  uint64_t start;
  pthread_barrier_t barrier;
  _Alignas(128) atomic_int_least64_t left[PRODUCERS_PHASES]; /* messages that nobody has begun to send */
};

static int is_last(int phase) {
  return phase == PRODUCERS_PHASES - 1;
}

static void* produce(void* arg) {
  struct producer* p = (struct producer*) arg;
  producers_t* all = p->all;
  int64_t left;
  int phase;

  for (phase = 0; phase < PRODUCERS_PHASES; phase++) {
    if (is_last(phase))
      peer_place(all->args, p->id + 1);
    pthread_barrier_wait(&all->barrier);
    p->start = peer_now();
    while ((left = atomic_fetch_sub(&all->left[phase], PORTION)) > 0) {
      uint64_t count = left < PORTION ? (uint64_t) left : PORTION;
      all->send(all->channel, p->id, p->place, count);
      p->place += count;
    }
  }
  return NULL;
}

uint64_t producers_count(const producers_t* producers, int phase) {
  uint64_t messages = producers->args->messages;

  return is_last(phase) ? messages : messages / 5 + 1;
}

producers_t* producers_start(const struct peer_args* args, producers_send_fn send, void* channel) {
  static producers_t producers;
  unsigned int i;
  int phase;

  producers.args = args;
  producers.send = send;
  producers.channel = channel;
  for (phase = 0; phase < PRODUCERS_PHASES; phase++)
    atomic_store(&producers.left[phase], (int64_t) producers_count(&producers, phase));
  pthread_barrier_init(&producers.barrier, NULL, args->producers + 1);
  for (i = 0; i < args->producers; i++) {
    producers.each[i].all = &producers;
    producers.each[i].id = i;
    if (pthread_create(&producers.each[i].thread, NULL, produce, &producers.each[i]) != 0)
      peer_fail("no thread for a producer");
  }
  return &producers;
}

void producers_go(producers_t* producers, struct peer_meter* meter) {
  if (is_last(producers->phase++))
    peer_place(producers->args, 0);
  peer_meter_start(meter);
  producers->start = meter->wall;
  pthread_barrier_wait(&producers->barrier);
}

void producers_end(producers_t* producers, struct peer_meter* meter) {
  uint64_t start = UINT64_MAX;
  unsigned int i;

  for (i = 0; i < producers->args->producers; i++) {
    pthread_join(producers->each[i].thread, NULL);
    if (producers->each[i].start < start)
      start = producers->each[i].start;
  }
  meter->wall -= start - producers->start;
}
