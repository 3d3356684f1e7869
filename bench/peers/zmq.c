/* SPDX-License-Identifier: MIT
 *
 * Peer `zeromq`: sockets within the process (inproc). `stream` and `pair`: PUSH and PULL, a PUSH for each producer, as sockets are
 * not for several threads; the high-water marks of both ends of a connection add up to the capacity, which so is at least 2, and
 * is that of each producer. `pingpong`: PAIR. `request`: DEALER and ROUTER, so that the actor could serve many. `broadcast`: XPUB
 * with ZMQ_XPUB_NODROP, which makes the sender wait for the slowest; a SUB for each receiver. `idle`: zmq_poll() with a PULL for
 * each channel, as many as there are descriptors.
 *
 * cc -O2 -DNDEBUG -o zmq zmq.c threads.c peer.c $(pkg-config --cflags --libs libzmq) -pthread */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zmq.h>

#include "threads.h"

#define ADDRESS_MAX 32
#define MARK 512     /* either end, where any capacity will do */
#define OWN_FILES 64 /* descriptors for other things than sockets */
#define CAPACITY_MAX 1000000
#define SOCKETS_MAX 65535 /* the most that the library can have */

static void check(int ok, const char* what) {
  if (!ok)
    peer_fail("%s: %s", what, zmq_strerror(zmq_errno()));
}

/* One for the process. Without input and output threads, since nothing leaves it. */
static void* context(void) {
  static void* ctx;

  if (ctx != NULL)
    return ctx;
  ctx = zmq_ctx_new();
  check(ctx != NULL, "zmq_ctx_new");
  check(zmq_ctx_set(ctx, ZMQ_IO_THREADS, 0) == 0, "ZMQ_IO_THREADS");
  check(zmq_ctx_set(ctx, ZMQ_MAX_SOCKETS, SOCKETS_MAX) == 0, "ZMQ_MAX_SOCKETS");
  return ctx;
}

/* Each socket has a descriptor. */
static void sockets_reserve(size_t n) {
  struct rlimit files;

  if (n >= SOCKETS_MAX)
    peer_none("a context cannot have so many sockets");
  if (getrlimit(RLIMIT_NOFILE, &files) != 0)
    peer_fail("getrlimit: %s", strerror(errno));
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (n + OWN_FILES > files.rlim_max)
    peer_none("the process may not have so many descriptors");
}

static void* socket_new(int type, int mark) {
  void* socket = zmq_socket(context(), type);

  check(socket != NULL, "zmq_socket");
  check(zmq_setsockopt(socket, ZMQ_SNDHWM, &mark, sizeof(mark)) == 0, "ZMQ_SNDHWM");
  check(zmq_setsockopt(socket, ZMQ_RCVHWM, &mark, sizeof(mark)) == 0, "ZMQ_RCVHWM");
  return socket;
}

static void* socket_bind(int type, int mark, const char* address) {
  void* socket = socket_new(type, mark);

  check(zmq_bind(socket, address) == 0, "zmq_bind");
  return socket;
}

static void* socket_connect(int type, int mark, const char* address) {
  void* socket = socket_new(type, mark);

  check(zmq_connect(socket, address) == 0, "zmq_connect");
  return socket;
}

static void address_of(char* address, size_t n) {
  snprintf(address, ADDRESS_MAX, "inproc://%zu", n);
}

/* The messages. They are written where they lie, and not copied. */

static inline void put(void* socket, size_t size, unsigned int number, uint64_t place) {
  zmq_msg_t message;

  check(zmq_msg_init_size(&message, size) == 0, "zmq_msg_init_size");
  peer_fill(zmq_msg_data(&message), size, number, place);
  while (zmq_msg_send(&message, socket, 0) < 0)
    check(errno == EINTR, "zmq_msg_send");
}

static inline void take(void* socket, zmq_msg_t* message, struct peer_check* peer) {
  while (zmq_msg_recv(message, socket, 0) < 0)
    check(errno == EINTR, "zmq_msg_recv");
  peer_take(peer, zmq_msg_data(message), zmq_msg_size(message));
}

struct tx {
  void* socket;
  size_t size;
  unsigned int number;
};

struct rx {
  void* socket;
  zmq_msg_t message;
};

static struct rx* rx_new(void* socket) {
  struct rx* rx = (struct rx*) peer_xcalloc(1, sizeof(*rx));

  rx->socket = socket;
  zmq_msg_init(&rx->message);
  return rx;
}

static inline void line_put(void* arg, uint64_t place) {
  const struct tx* tx = (const struct tx*) arg;

  put(tx->socket, tx->size, tx->number, place);
}

static inline void line_take(void* arg, struct peer_check* peer) {
  struct rx* rx = (struct rx*) arg;

  take(rx->socket, &rx->message, peer);
}

static int mark_of(size_t capacity, int half) {
  if (capacity == 0)
    return 0;
  if (capacity == THREADS_ANY)
    return MARK;
  return capacity < 2 ? 1 : (int) ((capacity + (half ? 1 : 0)) / 2);
}

static void line_open(const struct threads_setup* setup, void** tx, void** rx) {
  static size_t lines;
  struct tx* ends = (struct tx*) peer_xcalloc(setup->producers, sizeof(*ends));
  char address[ADDRESS_MAX];
  unsigned int i;

  address_of(address, lines++);
  *rx = rx_new(socket_bind(ZMQ_PULL, mark_of(setup->capacity, 0), address));
  for (i = 0; i < setup->producers; i++) {
    ends[i] = (struct tx){socket_connect(ZMQ_PUSH, mark_of(setup->capacity, 1), address), setup->size, i};
    tx[i] = &ends[i];
  }
}

/* A publisher learns of its subscribers by messages, and with the option of each one. */
static void line_open_all(const struct threads_setup* setup, unsigned int receivers, void** tx, void** rx) {
  struct tx* end = (struct tx*) peer_xcalloc(1, sizeof(*end));
  int on = 1;
  char byte;
  unsigned int i;

  sockets_reserve(receivers + 1);
  *end = (struct tx){socket_bind(ZMQ_XPUB, mark_of(setup->capacity, 0), "inproc://all"), setup->size, 0};
  check(zmq_setsockopt(end->socket, ZMQ_XPUB_NODROP, &on, sizeof(on)) == 0, "ZMQ_XPUB_NODROP");
  check(zmq_setsockopt(end->socket, ZMQ_XPUB_VERBOSE, &on, sizeof(on)) == 0, "ZMQ_XPUB_VERBOSE");
  for (i = 0; i < receivers; i++) {
    void* socket = socket_connect(ZMQ_SUB, mark_of(setup->capacity, 1), "inproc://all");
    check(zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0) == 0, "ZMQ_SUBSCRIBE");
    rx[i] = rx_new(socket);
  }
  for (i = 0; i < receivers; i++)
    check(zmq_recv(end->socket, &byte, sizeof(byte), 0) == 1, "a subscription");
  *tx = end;
}

THREADS_PEER(line, .open = line_open, .open_all = line_open_all);

/* request. What comes out of a ROUTER begins with the address of the asker, and so does what goes in. */

struct end {
  void* socket;
  int router;
  zmq_msg_t asker;
  zmq_msg_t message;
};

static struct end* end_new(void* socket, int router) {
  struct end* end = (struct end*) peer_xcalloc(1, sizeof(*end));

  *end = (struct end){.socket = socket, .router = router};
  zmq_msg_init(&end->asker);
  zmq_msg_init(&end->message);
  return end;
}

static void request_open_both(const struct threads_setup* setup, void** tx, void** rx) {
  struct end* actor = end_new(socket_bind(ZMQ_ROUTER, mark_of(setup->capacity, 0), "inproc://actor"), 1);
  struct end* asker = end_new(socket_connect(ZMQ_DEALER, mark_of(setup->capacity, 1), "inproc://actor"), 0);

  tx[0] = rx[1] = asker;
  tx[1] = rx[0] = actor;
}

static inline void request_put(void* arg, uint64_t place) {
  struct end* end = (struct end*) arg;

  if (end->router)
    check(zmq_msg_send(&end->asker, end->socket, ZMQ_SNDMORE) >= 0, "zmq_msg_send");
  put(end->socket, sizeof(place), 0, place);
}

static inline void request_take(void* arg, struct peer_check* peer) {
  struct end* end = (struct end*) arg;

  if (end->router)
    check(zmq_msg_recv(&end->asker, end->socket, 0) >= 0, "zmq_msg_recv");
  take(end->socket, &end->message, peer);
}

THREADS_PEER(request, .open_both = request_open_both);

static const struct threads_peer* pick(const struct peer_args* args, const struct threads_setup* setup) {
  if (setup->capacity != THREADS_ANY && setup->capacity > CAPACITY_MAX)
    peer_none("its high-water marks are not that high");
  return strcmp(args->name, "request") == 0 ? &request_peer : &line_peer;
}

/* idle */

struct idle {
  size_t n;
  zmq_pollitem_t* items;
  void** tx; /* struct tx */
  void** rx; /* struct rx */
};

static void idle_send(void* arg, size_t channel, uint64_t place) {
  const struct idle* idle = (const struct idle*) arg;

  line_put(idle->tx[channel], place);
}

static void idle_open(struct idle* idle, size_t n) {
  struct threads_setup setup = {THREADS_ANY, sizeof(uint64_t), 1};
  size_t i;

  idle->n = n;
  idle->items = (zmq_pollitem_t*) peer_xcalloc(n, sizeof(*idle->items));
  idle->tx = (void**) peer_xcalloc(n, sizeof(*idle->tx));
  idle->rx = (void**) peer_xcalloc(n, sizeof(*idle->rx));
  for (i = 0; i < n; i++) {
    line_open(&setup, &idle->tx[i], &idle->rx[i]);
    idle->items[i] = (zmq_pollitem_t){((struct rx*) idle->rx[i])->socket, -1, ZMQ_POLLIN, 0};
  }
}

/* One turn of the receiver. Returns how many messages there were. */
static uint64_t idle_turn(struct idle* idle, struct threads_idle* sender, struct peer_check* peer) {
  int ready = zmq_poll(idle->items, (int) idle->n, -1);
  uint64_t got = 0;
  size_t i;

  check(ready >= 0 || errno == EINTR, "zmq_poll");
  for (i = 0; ready > 0; i++) {
    if ((idle->items[i].revents & ZMQ_POLLIN) == 0)
      continue;
    line_take(idle->rx[i], peer);
    threads_idle_taken(sender);
    got++;
    ready--;
  }
  return got;
}

static void run_idle(const struct peer_args* args) {
  static struct idle idle;
  struct threads_idle sender = {.send = idle_send, .arg = &idle, .args = args};
  struct peer_check peer = {.producers = 1};
  struct threads_thread* thread;
  uint64_t got = 0;

  sockets_reserve(2 * args->channels + 1);
  socket_new(ZMQ_PAIR, MARK); /* what the library needs once */
  sender.bytes = peer_resident();
  idle_open(&idle, args->channels);
  sender.bytes = peer_resident() - sender.bytes;
  sender.page = peer_page();
  peer_place(args, 0);
  thread = threads_idle_start(&sender);
  while (got < args->messages)
    got += idle_turn(&idle, &sender, &peer);
  threads_join(thread);
}

int main(int argc, char** argv) {
  static const struct threads_row peers[] = {{"zeromq", pick}, {NULL, NULL}};
  static const struct peer_row more[] = {{"zeromq", "idle", run_idle}, {NULL, NULL, NULL}};

  return threads_main(argc, argv, peers, more);
}
