/* SPDX-License-Identifier: MIT
 *
 * Peer `glib`: GAsyncQueue, which has no bound and moves pointers. A message of 8 bytes travels as the pointer itself, plus one, as
 * NULL cannot be sent; a larger one is allocated and freed.
 *
 * cc -O2 -DNDEBUG -o glib glib.c threads.c peer.c $(pkg-config --cflags --libs glib-2.0) -pthread */
#include <glib.h>
#include <stdlib.h>

#include "threads.h"

struct tx {
  GAsyncQueue* queue;
  size_t size;
  unsigned int number;
};

struct rx {
  GAsyncQueue* queue;
  size_t size;
};

static void glib_open(const struct threads_setup* setup, void** tx, void** rx) {
  GAsyncQueue* queue = g_async_queue_new();
  struct tx* ends = (struct tx*) peer_xcalloc(setup->producers, sizeof(*ends));
  struct rx* end = (struct rx*) peer_xcalloc(1, sizeof(*end));
  unsigned int i;

  for (i = 0; i < setup->producers; i++) {
    ends[i] = (struct tx){queue, setup->size, i};
    tx[i] = &ends[i];
  }
  *end = (struct rx){queue, setup->size};
  *rx = end;
}

static inline void glib_put(void* arg, uint64_t place) {
  const struct tx* tx = (const struct tx*) arg;
  uint64_t word;
  void* message;

  if (tx->size == sizeof(word)) {
    peer_fill(&word, sizeof(word), tx->number, place);
    message = GSIZE_TO_POINTER(word + 1);
  } else {
    message = g_malloc(tx->size);
    peer_fill(message, tx->size, tx->number, place);
  }
  g_async_queue_push(tx->queue, message);
}

static inline void glib_take(void* arg, struct peer_check* check) {
  const struct rx* rx = (const struct rx*) arg;
  void* message = g_async_queue_pop(rx->queue);
  uint64_t word;

  if (rx->size == sizeof(word)) {
    word = GPOINTER_TO_SIZE(message) - 1;
    peer_take(check, &word, sizeof(word));
  } else {
    peer_take(check, message, rx->size);
    g_free(message);
  }
}

THREADS_PEER(glib, .open = glib_open);

static const struct threads_peer* pick(const struct peer_args* args, const struct threads_setup* setup) {
  (void) args;
  if (setup->capacity != 0 && setup->capacity != THREADS_ANY)
    peer_none("a GAsyncQueue has no bound");
  return &glib_peer;
}

int main(int argc, char** argv) {
  static const struct threads_row peers[] = {{"glib", pick}, {NULL, NULL}};

  return threads_main(argc, argv, peers, NULL);
}
