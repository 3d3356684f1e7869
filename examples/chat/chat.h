/* SPDX-License-Identifier: MIT
 *
 * chat: a chat server for TCP. One loop accepts, the others serve, each on a thread of its own:
 *
 *   acceptor   main thread   takes connections and hands them over, in turn
 *     |  |     arrivals      an mpsc channel to each server, bounded: while it is full nothing is accepted
 *   server ... own threads   clients: lines in, lines out
 *     |  |     room          a broadcast channel: from any client to a receiver for each, on the loop of its server
 *
 * The end travels down as UV_EOF: the acceptor closes its senders, each server closes its clients and its receiver, and its loop
 * has nothing left to run for. */
#ifndef CHAT_H
#define CHAT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include <uvch.h>

/* Exit codes. */
enum { CODE_OK = 0, CODE_FAILED = 1, CODE_USAGE = 2 };

/* BATCH: so many lines a client that does not read holds at most. */
enum { LINE_LIMIT = 1000 /* bytes of text */, NAME_LIMIT = 16, INPUT_SIZE = 4096, BATCH = 64, ARRIVALS = 16 };

struct options {
  struct sockaddr_storage address;
  size_t clients;  /* at a time */
  size_t loops;    /* that serve */
  size_t capacity; /* of a room, in lines */
  int send_buffer; /* bytes */
};

/* options_parse: 0 to go on, -1 to leave with *code. What is wrong, and the answer to --help, is printed. */
int options_parse(struct options* options, int argc, char** argv, int* code);

/* say: a message on standard error. */
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));

/* must: end the program if `r` is an error; for what only a mistake in it can bring about. */
void must(int r, const char* what);

/* A line for many readers. It travels as a pointer, and every such pointer counts. */
struct line {
  atomic_uint refs;
  size_t len;
  char text[];
};

/* line_new: one pointer to a new line; NULL: no memory. */
struct line* line_new(const char* format, ...) __attribute__((format(printf, 1, 2)));

/* line_copy, line_drop: one pointer more, one less; for a channel, and for all others. */
int line_copy(void* to, const void* from, void* arg);
void line_drop(void* item, void* arg);

/* text_problem: why nobody should be shown this text; NULL: it is fine. */
const char* text_problem(const char* text, size_t len);

/* name_ok: whether a client or a room may be called so. */
int name_ok(const char* name, size_t len);

/* A room exists as long as it has members. */
struct room {
  struct room* next;
  uvch_broadcast_sender_t tx; /* all members send through this one */
  size_t members;
  char name[NAME_LIMIT + 1];
};

/* All of them, for all threads. The mutex is for those who come and go; what is said goes past it. */
struct rooms {
  uv_mutex_t mutex;
  struct room* first;
  size_t capacity;
};

/* room_enter: become a member of the room of that name, the first one perhaps. Returns 0, UV_ENOMEM. */
int room_enter(struct rooms* rooms, const char* name, struct room** room);

/* room_leave: a room without members goes. */
void room_leave(struct rooms* rooms, struct room* room);

/* room_say: for members. Returns 0, UV_ENOMEM. */
int room_say(struct room* room, const char* name, const char* text, size_t len);

/* A connection on its way from the acceptor to a server. Who gets it closes it. */
struct arrival {
  int fd;
  uint64_t number;
};

struct client;

/* A loop that serves. */
struct server {
  uv_loop_t loop;
  uv_thread_t thread;
  uvch_mpsc_receiver_t arrivals;
  uvch_mpsc_sender_t tx; /* the acceptor's: closing it ends the server */
  struct rooms* rooms;
  int send_buffer;
  struct client* clients;
  atomic_size_t load; /* clients, those on their way too: counted up by the acceptor, down by the server */
  uint64_t served;    /* clients */
  uint64_t lines;     /* they said */
  uint64_t missed;    /* they were told that they missed */
};

/* server_start: start a thread that serves until `tx` is closed. Returns 0, or an error, and then there is nothing to join. */
int server_start(struct server* server, struct rooms* rooms, const struct options* options);

/* client_start: serve this connection. */
void client_start(struct server* server, const struct arrival* arrival);

/* client_end: the server ends. */
void client_end(struct client* client);

enum { SIGNALS = 2 };

/* The loop that accepts. */
struct acceptor {
  uv_loop_t loop;
  uv_tcp_t listener;
  uv_signal_t signals[SIGNALS];
  struct server* servers;
  size_t server_count; /* that run */
  size_t limit;        /* of clients */
  uint64_t accepted;
  uv_tcp_t tcp;           /* just accepted, and closed as soon as it has been handed over */
  struct arrival arrival; /* stays put until on_handed_over */
  uvch_mpsc_send_t send;
  int busy;     /* what of the two is in use; the next connection takes their place when none is */
  int sending;  /* on_handed_over is to come */
  int waiting;  /* the listener holds a connection, and takes no other until it has been accepted */
  int refusing; /* the last connection was refused */
  int stopping;
};

/* acceptor_open: listen on the address of `options`. Returns 0, or an error; acceptor_stop() in any case. */
int acceptor_open(struct acceptor* acceptor, const struct options* options);

/* acceptor_stop: let all loops come to their end, this one too. */
void acceptor_stop(struct acceptor* acceptor);

#endif
