/* SPDX-License-Identifier: MIT
 *
 * Peer `nng`: sockets within the process (inproc). `stream` and `pingpong`: PAIR version 1, whose sending end all producers share;
 * the buffers of both ends add up to the capacity (at least 2), and a few messages more are under way. PUSH and PULL have no buffer
 * to receive, and are several times slower. `request`: REQ, with a context for each request that is on its way, and REP.
 * `broadcast`: PUB drops for a slow SUB and cannot be told to wait, so a pair for each receiver. `idle`: the descriptors of all
 * sockets in one epoll.
 *
 * cc -O2 -DNDEBUG -o nng nng.c threads.c peer.c -lnng -pthread */
#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pair1/pair.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "threads.h"

#define ADDRESS_MAX 32
#define CAPACITY_MAX 16384 /* the library's own limit for both ends */
#define OWN_FILES 64       /* descriptors for other things than channels */
#define FILES_EACH 2       /* of a channel, once it is watched */
#define EVENTS_MAX 64

static void check(int rc, const char* what) {
  if (rc != 0)
    peer_fail("%s: %s", what, nng_strerror(rc));
}

static void join(nng_socket from, nng_socket to) {
  static unsigned int n;
  char address[ADDRESS_MAX];

  snprintf(address, sizeof(address), "inproc://%u", n++);
  check(nng_listen(to, address, NULL, 0), "nng_listen");
  check(nng_dial(from, address, NULL, 0), "nng_dial");
}

static inline nng_msg* message_new(size_t size, unsigned int number, uint64_t place) {
  nng_msg* message;

  check(nng_msg_alloc(&message, size), "nng_msg_alloc");
  peer_fill(nng_msg_body(message), size, number, place);
  return message;
}

static inline void message_take(nng_msg* message, struct peer_check* peer, size_t size) {
  if (nng_msg_len(message) != size)
    peer_fail("a message has another size");
  peer_take(peer, nng_msg_body(message), size);
  nng_msg_free(message);
}

struct end {
  nng_socket socket;
  size_t size;
  unsigned int number;
};

static void line_open(const struct threads_setup* setup, void** tx, void** rx) {
  struct end* ends = (struct end*) peer_xcalloc(setup->producers + 1, sizeof(*ends));
  size_t capacity = setup->capacity == THREADS_ANY ? 1024 : setup->capacity < 2 ? 2 : setup->capacity;
  nng_socket from, to;
  unsigned int i;

  check(nng_pair1_open(&from), "nng_pair1_open");
  check(nng_pair1_open(&to), "nng_pair1_open");
  check(nng_socket_set_int(from, NNG_OPT_SENDBUF, (int) (capacity / 2)), "NNG_OPT_SENDBUF");
  check(nng_socket_set_int(to, NNG_OPT_RECVBUF, (int) (capacity - capacity / 2)), "NNG_OPT_RECVBUF");
  join(from, to);
  for (i = 0; i < setup->producers; i++) {
    ends[i] = (struct end){from, setup->size, i};
    tx[i] = &ends[i];
  }
  ends[i] = (struct end){to, setup->size, i};
  *rx = &ends[i];
}

static inline void line_put(void* arg, uint64_t place) {
  const struct end* tx = (const struct end*) arg;

  check(nng_sendmsg(tx->socket, message_new(tx->size, tx->number, place), 0), "nng_sendmsg");
}

static inline void line_take(void* arg, struct peer_check* peer) {
  const struct end* rx = (const struct end*) arg;
  nng_msg* message;

  check(nng_recvmsg(rx->socket, &message, 0), "nng_recvmsg");
  message_take(message, peer, rx->size);
}

THREADS_PEER(line, .open = line_open);

/* request */

static unsigned int outstanding;

struct ask {
  nng_ctx ctx;
  nng_aio* aio;
};

struct talker {
  nng_socket socket;
  struct ask* asks;   /* NULL: this is the actor */
  unsigned int next;  /* to ask */
  unsigned int first; /* to be answered */
};

static void request_open_both(const struct threads_setup* setup, void** tx, void** rx) {
  struct talker* both = (struct talker*) peer_xcalloc(2, sizeof(*both));
  unsigned int i;

  (void) setup;
  check(nng_req0_open(&both[0].socket), "nng_req0_open");
  check(nng_rep0_open(&both[1].socket), "nng_rep0_open");
  join(both[0].socket, both[1].socket);
  both[0].asks = (struct ask*) peer_xcalloc(outstanding, sizeof(*both[0].asks));
  for (i = 0; i < outstanding; i++) {
    check(nng_ctx_open(&both[0].asks[i].ctx, both[0].socket), "nng_ctx_open");
    check(nng_aio_alloc(&both[0].asks[i].aio, NULL, NULL), "nng_aio_alloc");
  }
  tx[0] = rx[1] = &both[0];
  tx[1] = rx[0] = &both[1];
}

static nng_aio* finished(nng_aio* aio, const char* what) {
  nng_aio_wait(aio);
  check(nng_aio_result(aio), what);
  return aio;
}

static void request_put(void* arg, uint64_t place) {
  struct talker* talker = (struct talker*) arg;
  nng_msg* message = message_new(sizeof(place), 0, place);
  struct ask* ask;

  if (talker->asks == NULL) {
    check(nng_sendmsg(talker->socket, message, 0), "nng_sendmsg");
    return;
  }
  ask = &talker->asks[talker->next++ % outstanding];
  nng_aio_set_msg(ask->aio, message);
  nng_ctx_send(ask->ctx, ask->aio);
  finished(ask->aio, "nng_ctx_send");
  nng_ctx_recv(ask->ctx, ask->aio);
}

static void request_take(void* arg, struct peer_check* peer) {
  struct talker* talker = (struct talker*) arg;
  nng_msg* message;

  if (talker->asks == NULL)
    check(nng_recvmsg(talker->socket, &message, 0), "nng_recvmsg");
  else
    message = nng_aio_get_msg(finished(talker->asks[talker->first++ % outstanding].aio, "nng_ctx_recv"));
  message_take(message, peer, sizeof(uint64_t));
}

THREADS_PEER(request, .open_both = request_open_both);

static const struct threads_peer* pick(const struct peer_args* args, const struct threads_setup* setup) {
  if (setup->capacity == 0)
    peer_none("its buffers have a bound");
  if (setup->capacity != THREADS_ANY && setup->capacity > CAPACITY_MAX)
    peer_none("its buffers hold at most 16384 messages");
  outstanding = args->outstanding;
  return strcmp(args->name, "request") == 0 ? &request_peer : &line_peer;
}

/* idle */

struct idle {
  int epoll;
  void** tx; /* struct end */
  void** rx; /* struct end */
};

static void idle_send(void* arg, size_t channel, uint64_t place) {
  const struct idle* idle = (const struct idle*) arg;

  line_put(idle->tx[channel], place);
}

static void files_reserve(size_t n) {
  struct rlimit files;

  if (getrlimit(RLIMIT_NOFILE, &files) != 0)
    peer_fail("getrlimit: %s", strerror(errno));
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (n + OWN_FILES > files.rlim_max)
    peer_none("the process may not have so many descriptors");
}

static void idle_open(struct idle* idle, size_t n) {
  struct threads_setup setup = {THREADS_ANY, sizeof(uint64_t), 1};
  struct epoll_event event = {.events = EPOLLIN};
  size_t i;
  int fd;

  idle->tx = (void**) peer_xcalloc(n, sizeof(*idle->tx));
  idle->rx = (void**) peer_xcalloc(n, sizeof(*idle->rx));
  for (i = 0; i < n; i++) {
    line_open(&setup, &idle->tx[i], &idle->rx[i]);
    check(nng_socket_get_int(((struct end*) idle->rx[i])->socket, NNG_OPT_RECVFD, &fd), "NNG_OPT_RECVFD");
    event.data.u64 = i;
    if (epoll_ctl(idle->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
      peer_fail("epoll_ctl: %s", strerror(errno));
  }
}

/* One turn of the receiver. Returns how many messages there were. */
static uint64_t idle_turn(const struct idle* idle, struct threads_idle* sender, struct peer_check* peer) {
  struct epoll_event events[EVENTS_MAX];
  int n = epoll_wait(idle->epoll, events, EVENTS_MAX, -1);
  int i;

  if (n < 0 && errno != EINTR)
    peer_fail("epoll_wait: %s", strerror(errno));
  for (i = 0; i < n; i++) {
    line_take(idle->rx[events[i].data.u64], peer);
    threads_idle_taken(sender);
  }
  return n < 0 ? 0 : (uint64_t) n;
}

static void run_idle(const struct peer_args* args) {
  static struct idle idle;
  struct threads_idle sender = {.send = idle_send, .arg = &idle, .args = args};
  struct peer_check peer = {.producers = 1};
  struct threads_thread* thread;
  nng_socket first;
  uint64_t got = 0;

  files_reserve(FILES_EACH * args->channels);
  idle.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (idle.epoll < 0)
    peer_fail("epoll_create1: %s", strerror(errno));
  check(nng_pair1_open(&first), "nng_pair1_open"); /* what the library needs once */
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
  static const struct threads_row peers[] = {{"nng", pick}, {NULL, NULL}};
  static const struct peer_row more[] = {{"nng", "idle", run_idle}, {NULL, NULL, NULL}};

  return threads_main(argc, argv, peers, more);
}
