/* SPDX-License-Identifier: MIT */
#include "idle.h"

#include <sched.h>

#define SEED 1

static void* poke(void* arg) {
  idle_t* idle = (idle_t*) arg;
  uint64_t i, state = SEED;
  size_t which;

  peer_place(idle->args, 1);
  for (i = 0; i < idle->args->messages; i++) {
    while (atomic_load(&idle->received) != i || !peer_sleeps(idle->page))
      sched_yield();
    which = (size_t) (peer_random(&state) % idle->args->channels);
    atomic_store(&idle->which, which);
    atomic_store(&idle->sent_at, peer_now());
    idle->send(idle->channels, which, i);
  }
  return NULL;
}

void idle_open(idle_t* idle, const struct peer_args* args) {
  idle->args = args;
  idle->page = peer_page();
  idle->times = (uint64_t*) peer_xcalloc(args->messages, sizeof(*idle->times));
  idle->before = peer_resident();
}

void idle_start(idle_t* idle, idle_send_fn send, void* channels) {
  uint64_t after = peer_resident();

  idle->bytes = after > idle->before ? (after - idle->before) / idle->args->channels : 0;
  idle->send = send;
  idle->channels = channels;
  peer_place(idle->args, 0);
  peer_meter_start(&idle->meter);
  if (pthread_create(&idle->thread, NULL, poke, idle) != 0)
    peer_fail("no thread that sends");
}

int idle_take(idle_t* idle, size_t which, uint64_t message) {
  uint64_t now = peer_now();
  uint64_t received = atomic_load_explicit(&idle->received, memory_order_relaxed);
  int is_last = received + 1 == idle->args->messages;

  if (message != received || received == idle->args->messages)
    peer_fail("a message is missing, doubled or out of order");
  if (which != atomic_load(&idle->which))
    peer_fail("a message has come out of another channel");
  idle->times[received] = now - atomic_load(&idle->sent_at);
  if (is_last)
    peer_meter_stop(&idle->meter);
  atomic_store(&idle->received, received + 1);
  return is_last;
}

void idle_end(idle_t* idle) {
  pthread_join(idle->thread, NULL);
  if (atomic_load(&idle->received) != idle->args->messages)
    peer_fail("messages are missing");
  peer_result_more(idle->args->messages, &idle->meter, idle->times, idle->args->messages, "bytes", idle->bytes);
}
