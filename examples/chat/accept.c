/* SPDX-License-Identifier: MIT
 *
 * The loop that accepts, and that hands each connection to one of the others, as a descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "chat.h"

static void take(struct acceptor* a);

static void done(struct acceptor* a) {
  if (--a->busy == 0 && a->waiting && !a->stopping)
    take(a);
}

static void on_tcp_closed(uv_handle_t* tcp) {
  done(tcp->data);
}

static void on_handed_over(uvch_mpsc_send_t* send, int status) {
  struct acceptor* a = send->data;

  a->sending = 0;
  if (status != 0) /* cancelled: it is ours again */
    close(a->arrival.fd);
  done(a);
}

/* A descriptor that outlives the handle: that one belongs to this loop, and cannot go to another. */
static int duplicate(const uv_tcp_t* tcp, int* fd) {
  uv_os_fd_t own;
  int r = uv_fileno((const uv_handle_t*) tcp, &own);

  if (r != 0)
    return r;
  *fd = fcntl(own, F_DUPFD_CLOEXEC, 0);
  return *fd < 0 ? uv_translate_sys_error(errno) : 0;
}

/* The server with the fewest clients; NULL if all together have as many as they may. */
static struct server* choose(const struct acceptor* a) {
  struct server* best = NULL;
  size_t least = SIZE_MAX;
  size_t sum = 0;
  size_t i;

  for (i = 0; i < a->server_count; i++) {
    size_t load = atomic_load(&a->servers[i].load);
    sum += load;
    if (load < least) {
      least = load;
      best = &a->servers[i];
    }
  }
  return sum < a->limit ? best : NULL;
}

static int hand_over(struct acceptor* a, struct server* server) {
  int r = duplicate(&a->tcp, &a->arrival.fd);

  if (r != 0)
    return r;
  a->arrival.number = ++a->accepted;
  atomic_fetch_add(&server->load, 1);
  r = uvch_mpsc_send(&a->loop, &a->send, &server->tx, &a->arrival, on_handed_over); /* waits while the server is behind */
  if (r != 0) {
    close(a->arrival.fd);
    atomic_fetch_sub(&server->load, 1);
    return r;
  }
  a->sending = 1;
  a->busy++;
  return 0;
}

/* Said once, until a connection is taken again. */
static void complain(struct acceptor* a, const char* why) {
  if (!a->refusing)
    say("takes no connection: %s", why);
  a->refusing = 1;
}

static void refuse(struct acceptor* a, const char* why) {
  static char text[] = "* the server is full\n";
  uv_buf_t buf = uv_buf_init(text, sizeof(text) - 1);

  complain(a, why);
  uv_try_write((uv_stream_t*) &a->tcp, &buf, 1); /* may fail: the connection is closed in any case */
}

static void pass_on(struct acceptor* a) {
  struct server* server = choose(a);
  int r = server == NULL ? 0 : hand_over(a, server);

  if (server == NULL)
    refuse(a, "there are as many clients as there may be");
  else if (r != 0)
    refuse(a, uv_strerror(r));
  else
    a->refusing = 0;
}

static void take(struct acceptor* a) {
  int r;

  a->waiting = 0;
  must(uv_tcp_init(&a->loop, &a->tcp), "connection");
  a->tcp.data = a;
  a->busy = 1;
  r = uv_accept((uv_stream_t*) &a->listener, (uv_stream_t*) &a->tcp);
  if (r == 0)
    pass_on(a);
  else
    complain(a, uv_strerror(r));
  uv_close((uv_handle_t*) &a->tcp, on_tcp_closed);
}

static void on_connection(uv_stream_t* listener, int status) {
  struct acceptor* a = listener->data;

  if (status != 0) {
    complain(a, uv_strerror(status));
    return;
  }
  a->waiting = 1;
  if (a->busy == 0)
    take(a);
}

static void on_signal(uv_signal_t* handle, int number) {
  (void) number;
  acceptor_stop(handle->data);
}

int acceptor_open(struct acceptor* a, const struct options* options) {
  static const int numbers[SIGNALS] = {SIGINT, SIGTERM};
  int r;
  int i;

  must(uv_tcp_init(&a->loop, &a->listener), "listener");
  a->listener.data = a->send.data = a;
  a->limit = options->clients;
  for (i = 0; i < SIGNALS; i++) {
    must(uv_signal_init(&a->loop, &a->signals[i]), "signal");
    a->signals[i].data = a;
  }
  r = uv_tcp_bind(&a->listener, (const struct sockaddr*) &options->address, 0);
  if (r == 0)
    r = uv_listen((uv_stream_t*) &a->listener, SOMAXCONN, on_connection); /* none comes before uv_run() */
  for (i = 0; i < SIGNALS && r == 0; i++)
    r = uv_signal_start(&a->signals[i], on_signal, numbers[i]);
  return r;
}

void acceptor_stop(struct acceptor* a) {
  size_t i;
  int r;

  if (a->stopping)
    return;
  a->stopping = 1;
  uv_close((uv_handle_t*) &a->listener, NULL);
  for (i = 0; i < SIGNALS; i++)
    uv_close((uv_handle_t*) &a->signals[i], NULL);
  if (a->sending) {
    r = uvch_cancel((uvch_req_t*) &a->send);
    must(r == UV_EBUSY ? 0 : r, "cancel"); /* too late to cancel is fine: the server has got it */
  }
  for (i = 0; i < a->server_count; i++)
    must(uvch_mpsc_sender_close(&a->servers[i].tx), "close");
}
