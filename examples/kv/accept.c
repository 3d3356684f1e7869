/* SPDX-License-Identifier: MIT
 *
 * Connections are accepted when a server has a place for them: a permit. Until there is one they wait with the system, which is told
 * so by not accepting. A handle cannot go from one loop to another, a descriptor can. */
#include "accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Said once, until a connection is taken again. */
static void complain(struct acceptor* a, const char* why) {
  if (!a->refusing)
    say(LEVEL_WARNING, "takes no connection: %s", why);
  a->refusing = 1;
}

/* The server with the fewest clients. */
static struct server* choose(const struct acceptor* a) {
  struct server* best = a->kv->servers;
  size_t i;

  for (i = 1; i < a->kv->server_count; i++)
    if (atomic_load(&a->kv->servers[i].load) < atomic_load(&best->load))
      best = &a->kv->servers[i];
  return best;
}

/* A descriptor that outlives the handle. */
static int duplicate(const uv_tcp_t* tcp, int* fd) {
  uv_os_fd_t own;
  int r = uv_fileno((const uv_handle_t*) tcp, &own);

  if (r != 0)
    return r;
  *fd = fcntl(own, F_DUPFD_CLOEXEC, 0);
  return *fd < 0 ? uv_translate_sys_error(errno) : 0;
}

/* Returns 0, or an error, and then the permit is there as before. */
static int hand_over(struct acceptor* a) {
  struct kv* kv = a->kv;
  struct server* server = a->server;
  struct arrival arrival;
  int r = duplicate(&a->tcp, &arrival.fd);

  if (r != 0)
    return r;
  arrival.number = atomic_fetch_add(&kv->accepted, 1) + 1;
  atomic_fetch_add(&server->load, 1);
  atomic_fetch_add(&kv->clients, 1);
  r = arrivals_permit_send(&a->permit, &arrival);
  if (r == 0)
    return 0;
  close(arrival.fd); /* the server is at its end */
  atomic_fetch_sub(&server->load, 1);
  atomic_fetch_sub(&kv->clients, 1);
  return r;
}

static void refuse(struct acceptor* a, const char* text, const char* why) {
  char reply[64];
  uv_buf_t buf = {.base = reply, .len = (size_t) snprintf(reply, sizeof(reply), "-ERR %s\r\n", text)};

  complain(a, why);
  atomic_fetch_add(&a->kv->refused, 1);
  uv_try_write((uv_stream_t*) &a->tcp, &buf, 1); /* may fail: the connection is closed in any case */
}

/* Returns 1 if the permit has been used. */
static int pass_on(struct acceptor* a) {
  int r;

  if (atomic_load(&a->kv->clients) >= settings_borrow(&a->settings)->maxclients) {
    refuse(a, "max number of clients reached", "there are maxclients");
    return 0;
  }
  r = hand_over(a);
  if (r != 0)
    refuse(a, "the server has no room", uv_strerror(r));
  else
    a->refusing = 0;
  return r == 0;
}

static void find_room(struct acceptor* a);

static void on_closed(uv_handle_t* tcp) {
  struct acceptor* a = tcp->data;

  a->busy = 0;
  find_room(a);
}

/* There is a permit. */
static void take(struct acceptor* a) {
  int is_used = 0;
  int r;

  a->waiting = 0;
  a->busy = 1;
  must(uv_tcp_init(a->loop, &a->tcp), "connection");
  r = uv_accept((uv_stream_t*) &a->listener, (uv_stream_t*) &a->tcp);
  if (r == 0)
    is_used = pass_on(a);
  else
    complain(a, uv_strerror(r));
  uv_close((uv_handle_t*) &a->tcp, on_closed);
  if (!is_used)
    arrivals_permit_release(&a->permit);
}

static void on_room(uvch_mpsc_reserve_t* reserve, int status) {
  struct acceptor* a = reserve->data;

  a->reserving = 0;
  if (status != 0)
    return;
  if (uv_is_closing((uv_handle_t*) &a->listener))
    arrivals_permit_release(&a->permit);
  else
    take(a);
}

/* For the connection that waits, if there is one. */
static void find_room(struct acceptor* a) {
  int r;

  if (!a->waiting || a->busy || a->reserving || uv_is_closing((uv_handle_t*) &a->listener))
    return;
  a->server = choose(a);
  r = arrivals_try_reserve(&a->server->arrivals_tx, 1, &a->permit);
  if (r == 0) {
    take(a);
    return;
  }
  if (r == UV_EAGAIN)
    r = arrivals_reserve(a->loop, &a->reserve, &a->server->arrivals_tx, 1, &a->permit, on_room);
  a->reserving = r == 0;
  if (r != 0)
    complain(a, uv_strerror(r));
}

static void on_connection(uv_stream_t* listener, int status) {
  struct acceptor* a = listener->data;

  if (status != 0) {
    complain(a, uv_strerror(status));
    return;
  }
  a->waiting = 1;
  find_room(a);
}

static int address_of(const struct settings* settings, struct sockaddr_storage* address) {
  if (uv_ip4_addr(settings->bind, (int) settings->port, (struct sockaddr_in*) address) == 0)
    return 0;
  return uv_ip6_addr(settings->bind, (int) settings->port, (struct sockaddr_in6*) address);
}

static unsigned int port_of(const uv_tcp_t* listener) {
  struct sockaddr_storage address;
  int len = sizeof(address);

  must(uv_tcp_getsockname(listener, (struct sockaddr*) &address, &len), "address");
  if (address.ss_family == AF_INET6)
    return ntohs(((const struct sockaddr_in6*) &address)->sin6_port);
  return ntohs(((const struct sockaddr_in*) &address)->sin_port);
}

int acceptor_open(struct acceptor* a, struct kv* kv, uv_loop_t* loop) {
  struct sockaddr_storage address;
  int r;

  a->kv = kv;
  a->loop = loop;
  must(uv_tcp_init(loop, &a->listener), "listener");
  a->listener.data = a->tcp.data = a->reserve.data = a;
  r = settings_subscribe(loop, &a->settings, &kv->settings);
  if (r == 0)
    r = address_of(settings_borrow(&a->settings), &address);
  if (r == 0)
    r = uv_tcp_bind(&a->listener, (const struct sockaddr*) &address, 0);
  if (r == 0)
    r = uv_listen((uv_stream_t*) &a->listener, SOMAXCONN, on_connection);
  if (r == 0)
    kv->port = port_of(&a->listener);
  return r;
}

void acceptor_close(struct acceptor* a) {
  int r = 0;

  if (uv_is_closing((uv_handle_t*) &a->listener))
    return;
  uv_close((uv_handle_t*) &a->listener, NULL);
  if (a->reserving)
    r = uvch_cancel((uvch_req_t*) &a->reserve);
  must(r == UV_EBUSY ? 0 : r, "cancel"); /* it has just been done */
  uvch_close((uvch_handle_t*) &a->settings, NULL);
}
