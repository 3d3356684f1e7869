/* SPDX-License-Identifier: MIT
 *
 * The loop that accepts. */
#ifndef KV_ACCEPT_H
#define KV_ACCEPT_H

#include "server.h"

struct acceptor {
  struct kv* kv;
  uv_loop_t* loop;
  uv_tcp_t listener;
  uv_tcp_t tcp; /* just accepted, and closed as soon as it has been handed over */
  settings_receiver_t settings;
  struct server* server; /* that has, or will have, a place for the connection that waits */
  arrivals_permit_t permit;
  uvch_mpsc_reserve_t reserve;
  int waiting;   /* a connection does */
  int busy;      /* `tcp` is in use */
  int reserving; /* on_room is to come */
  int refusing;  /* the last connection was refused */
};

/* acceptor_open: listen on the address of the settings; the port that it is, is put into `kv`. Returns 0, or an error;
 * acceptor_close() in any case. */
int acceptor_open(struct acceptor* acceptor, struct kv* kv, uv_loop_t* loop);

/* acceptor_close: no more connections. */
void acceptor_close(struct acceptor* acceptor);

#endif
