/* SPDX-License-Identifier: MIT
 *
 * chat: sets up the loops, waits for the end, and tells what there was. Whatever fails at the start, what has been started until
 * then ends in the same way as after Ctrl-C. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "chat.h"

struct chat {
  struct options options;
  struct rooms rooms;
  struct acceptor acceptor;
  struct server* servers;
};

void must(int r, const char* what) {
  if (r == 0)
    return;
  say("%s: %s", what, uv_strerror(r));
  exit(CODE_FAILED);
}

static void address_of(const struct sockaddr_storage* address, char* host, size_t size, int* port) {
  if (address->ss_family == AF_INET6) {
    must(uv_ip6_name((const struct sockaddr_in6*) address, host, size), "address");
    *port = ntohs(((const struct sockaddr_in6*) address)->sin6_port);
  } else {
    must(uv_ip4_name((const struct sockaddr_in*) address, host, size), "address");
    *port = ntohs(((const struct sockaddr_in*) address)->sin_port);
  }
}

static int listen_there(struct chat* chat) {
  char host[INET6_ADDRSTRLEN];
  int port;
  int r = acceptor_open(&chat->acceptor, &chat->options);

  if (r == 0)
    return 0;
  address_of(&chat->options.address, host, sizeof(host), &port);
  say("cannot listen on %s port %d: %s", host, port, uv_strerror(r));
  return r;
}

/* So that no connection has to be refused for want of a descriptor. */
static int get_descriptors(const struct options* options) {
  rlim_t need = options->clients + 8 * (options->loops + 1) + 32; /* a loop has up to 8 of its own */
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
    return 0;
  limit.rlim_cur = need;
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
    return 0;
  say("%zu clients and %zu loops take %llu descriptors, and the system allows less; see ulimit -n, --clients and --loops",
      options->clients, options->loops, (unsigned long long) need);
  return -1;
}

static int start_servers(struct chat* chat) {
  struct acceptor* acceptor = &chat->acceptor;
  int r = 0;

  while (r == 0 && acceptor->server_count < chat->options.loops) {
    r = server_start(&chat->servers[acceptor->server_count], &chat->rooms, &chat->options);
    acceptor->server_count += r == 0;
  }
  if (r != 0)
    say("cannot start loop %zu of %zu: %s", acceptor->server_count + 1, chat->options.loops, uv_strerror(r));
  return r;
}

/* With the port that it is, for those who asked for any. */
static int announce(struct chat* chat) {
  struct sockaddr_storage address;
  int len = sizeof(address);
  char host[INET6_ADDRSTRLEN];
  int port;

  must(uv_tcp_getsockname(&chat->acceptor.listener, (struct sockaddr*) &address, &len), "address");
  address_of(&address, host, sizeof(host), &port);
  if (printf("chat: listening on %s port %d, %zu loops\n", host, port, chat->options.loops) >= 0 && fflush(stdout) == 0)
    return 0;
  say("cannot write to standard output");
  return -1;
}

static int start(struct chat* chat) {
  int r = listen_there(chat);

  if (r == 0)
    r = get_descriptors(&chat->options);
  if (r == 0)
    r = start_servers(chat);
  if (r == 0)
    r = announce(chat);
  return r;
}

/* Returns 0, or -1 if it cannot be told. */
static int summary(const struct chat* chat) {
  unsigned long long served = 0;
  unsigned long long lines = 0;
  unsigned long long missed = 0;
  size_t i;

  for (i = 0; i < chat->options.loops; i++) {
    served += chat->servers[i].served;
    lines += chat->servers[i].lines;
    missed += chat->servers[i].missed;
  }
  if (printf("chat: %llu clients, %llu lines said, %llu lines missed\n", served, lines, missed) >= 0 && fflush(stdout) == 0)
    return 0;
  say("cannot write to standard output");
  return -1;
}

static int run(struct chat* chat) {
  struct acceptor* acceptor = &chat->acceptor;
  size_t i;
  int r = uv_loop_init(&acceptor->loop);

  if (r != 0) {
    say("cannot make a loop: %s", uv_strerror(r));
    return r;
  }
  r = start(chat);
  if (r != 0)
    acceptor_stop(acceptor);
  must(uv_run(&acceptor->loop, UV_RUN_DEFAULT), "run");
  for (i = 0; i < acceptor->server_count; i++)
    must(uv_thread_join(&chat->servers[i].thread), "join");
  must(uv_loop_close(&acceptor->loop), "acceptor's loop"); /* UV_EBUSY would mean that a handle was forgotten */
  return r == 0 ? summary(chat) : r;
}

int main(int argc, char** argv) {
  static struct chat chat;
  int code;

  if (options_parse(&chat.options, argc, argv, &code) != 0)
    return code;
  signal(SIGPIPE, SIG_IGN); /* a client that has gone is an error of its write */
  chat.servers = chat.acceptor.servers = calloc(chat.options.loops, sizeof(*chat.servers));
  must(chat.servers == NULL ? UV_ENOMEM : 0, "servers");
  chat.rooms.capacity = chat.options.capacity;
  must(uv_mutex_init(&chat.rooms.mutex), "mutex");
  code = run(&chat) == 0 ? CODE_OK : CODE_FAILED;
  uv_mutex_destroy(&chat.rooms.mutex);
  free(chat.servers);
  return code;
}
