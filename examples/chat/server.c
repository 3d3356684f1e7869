/* SPDX-License-Identifier: MIT
 *
 * A loop that serves: connections come in through a channel, and with its end the clients are closed. */
#include <unistd.h>

#include "chat.h"

static void drop_arrival(void* item, void* arg) {
  (void) arg;
  close(((struct arrival*) item)->fd);
}

static void on_arrival(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct server* server = rx->data;

  if (status == 0) {
    client_start(server, item);
    return;
  }
  while (server->clients != NULL)
    client_end(server->clients);
  must(uvch_close((uvch_handle_t*) rx, NULL), "close");
}

static void run(void* arg) {
  struct server* server = arg;

  must(uv_run(&server->loop, UV_RUN_DEFAULT), "run");
  must(uv_loop_close(&server->loop), "server's loop"); /* UV_EBUSY would mean that a handle was forgotten */
}

int server_start(struct server* server, struct rooms* rooms, const struct options* options) {
  uvch_mpsc_options_t arrivals = {.drop = drop_arrival};
  int r = uv_loop_init(&server->loop);

  if (r != 0)
    return r;
  server->rooms = rooms;
  server->send_buffer = options->send_buffer;
  r = uvch_mpsc_init_ex(&server->loop, &server->arrivals, &server->tx, sizeof(struct arrival), ARRIVALS, &arrivals);
  if (r != 0) {
    must(uv_loop_close(&server->loop), "server's loop");
    return r;
  }
  server->arrivals.data = server;
  must(uvch_mpsc_recv_start(&server->arrivals, on_arrival), "receive");
  r = uv_thread_create(&server->thread, run, server);
  if (r != 0) {
    must(uvch_mpsc_sender_close(&server->tx), "close");
    run(server); /* here; it ends at once */
  }
  return r;
}
