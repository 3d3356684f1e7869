// SPDX-License-Identifier: MIT
//
// Peers `moodycamel` (ConcurrentQueue) and `moodycamel-blocking` (BlockingConcurrentQueue), without a bound and with messages by
// value. Each end has a token, as their author advises. ConcurrentQueue cannot wake anybody: a receiver without a message looks
// again and again, and after a hundred times lets other threads have the processor. So it has no `idle`, and the processor time is
// part of the price.
//
// cc -O2 -DNDEBUG -o moodycamel moodycamel.cc threads.c peer.c -lstdc++ -pthread
#include <concurrentqueue/blockingconcurrentqueue.h>

#include "threads.h"

namespace {

template <size_t size>
struct message {
  uint64_t words[size / sizeof(uint64_t)];
};

// The two kinds of queue differ in how a receiver waits.
template <typename T>
void take(moodycamel::ConcurrentQueue<T>& queue, moodycamel::ConsumerToken& token, T& item) {
  unsigned int turns = 0;

  while (!queue.try_dequeue(token, item))
    threads_pause(&turns);
}

template <typename T>
void take(moodycamel::BlockingConcurrentQueue<T>& queue, moodycamel::ConsumerToken& token, T& item) {
  queue.wait_dequeue(token, item);
}

template <typename Queue>
struct alignas(64) sender {
  sender(Queue& to, unsigned int n) : queue(to), token(to), number(n) {}

  Queue& queue;
  moodycamel::ProducerToken token;
  unsigned int number;
};

template <typename Queue>
struct alignas(64) receiver {
  explicit receiver(Queue& from) : queue(from), token(from) {}

  Queue& queue;
  moodycamel::ConsumerToken token;
};

// The functions of threads.h for one kind of queue and one size of message. What is opened stays until the process ends.
template <template <typename, typename> class Kind, size_t size>
struct channel {
  using T = message<size>;
  using Queue = Kind<T, moodycamel::ConcurrentQueueDefaultTraits>;
  using Sender = sender<Queue>;
  using Receiver = receiver<Queue>;

  static void open(const threads_setup* setup, void** tx, void** rx) {
    Queue* queue = new Queue;

    for (unsigned int i = 0; i < setup->producers; i++)
      tx[i] = new Sender(*queue, i);
    *rx = new Receiver(*queue);
  }

  static void put(Sender& tx, uint64_t place) {
    T item;

    peer_fill(&item, size, tx.number, place);
    if (!tx.queue.enqueue(tx.token, item))
      peer_fail("enqueue: out of memory");
  }

  static void take_one(Receiver& rx, peer_check* check) {
    T item;

    take(rx.queue, rx.token, item);
    peer_take(check, &item, size);
  }

  static void send(void* tx, uint64_t place, size_t count) {
    for (; count > 0; count--)
      put(*static_cast<Sender*>(tx), place++);
  }

  static void recv(void* rx, peer_check* check, size_t count) {
    for (; count > 0; count--)
      take_one(*static_cast<Receiver*>(rx), check);
  }

  static void pair(void* tx, void* rx, uint64_t place, peer_check* check, size_t count) {
    for (; count > 0; count--) {
      put(*static_cast<Sender*>(tx), place++);
      take_one(*static_cast<Receiver*>(rx), check);
    }
  }

  static const threads_peer* get(int spins) {
    static const threads_peer functions = {open, nullptr, nullptr, send, recv, pair, spins};
    return &functions;
  }
};

template <template <typename, typename> class Kind, int spins>
const threads_peer* pick(const peer_args*, const threads_setup* setup) {
  if (setup->capacity != 0 && setup->capacity != THREADS_ANY)
    peer_none("its queue has no bound");
  switch (setup->size) {
    case 8:
      return channel<Kind, 8>::get(spins);
    case 64:
      return channel<Kind, 64>::get(spins);
    case 256:
      return channel<Kind, 256>::get(spins);
    case 1024:
      return channel<Kind, 1024>::get(spins);
    case 4096:
      return channel<Kind, 4096>::get(spins);
    default:
      peer_none("its program has queues for messages of 8, 64, 256, 1024 and 4096 bytes");
  }
}

} // namespace

int main(int argc, char** argv) {
  static const threads_row peers[] = {
      {"moodycamel", pick<moodycamel::ConcurrentQueue, 1>},
      {"moodycamel-blocking", pick<moodycamel::BlockingConcurrentQueue, 0>},
      {nullptr, nullptr},
  };

  return threads_main(argc, argv, peers, nullptr);
}
