/* SPDX-License-Identifier: MIT
 *
 * A client: bytes to commands, commands to rounds, replies to bytes. */
#ifndef KV_CLIENT_H
#define KV_CLIENT_H

#include "commands.h"
#include "parser.h"
#include "server.h"

enum { CLIENT_NAME_LIMIT = 63 };

struct client {
  uv_tcp_t tcp;
  uv_write_t write;
  struct server* server;
  struct client* next;
  struct client** link;
  struct client* dirty_next;
  uint64_t number;
  uint64_t since;  /* uv_now() */
  uint64_t last;   /* the same, when it was last read from */
  uint64_t parted; /* the same, when all was written that there will be; 0: not yet */
  char name[CLIENT_NAME_LIMIT + 1];
  const struct command* command; /* the last one */
  struct parser parser;
  struct buf in; /* what has come and is no command yet, or has to wait */
  struct round* round;
  struct buf out;     /* to be written */
  struct buf writing; /* is being written: it stays where it is */
  struct subscriber subscriber;
  struct publish publish;
  unsigned int uses; /* of this memory: the handle, a round that is under way, a message that waits */
  unsigned char authenticated;
  unsigned char publishing; /* its next command waits for that */
  unsigned char unsent;     /* the round has to be sent again, once the client has read what there is */
  unsigned char is_dirty;
  unsigned char eof;    /* it sends no more */
  unsigned char ending; /* no more commands; it is closed when all is written */
  unsigned char closing;
};

/* client_start: serve this connection. */
void client_start(struct server* server, const struct arrival* arrival);

/* client_end: take no more commands; what was taken is answered, then the connection is closed. client_close: at once. */
void client_end(struct client* client);
void client_close(struct client* client);

/* client_flush: write what there is. */
void client_flush(struct client* client);

/* client_is_idle: nothing is under way. */
int client_is_idle(const struct client* client);

/* client_describe: a line of CLIENT LIST. */
void client_describe(const struct client* client, struct buf* text);

/* client_ask: for a command that is being served: all servers answer it (SPREAD_SERVERS), as a part of the client's round. */
void client_ask(struct client* client, const struct command* command, const struct slice* argv, size_t argc, struct buf* reply);

/* client_use, client_release: its memory stays for one more who uses it, for one less. */
void client_use(struct client* client);
void client_release(struct client* client);

/* client_go_on: after anything that the next command may have waited for. */
void client_go_on(struct client* client);

/* client_send: a client's round, to the shards. */
void client_send(struct round* round);

/* client_dirty: something was added to `out`. */
void client_dirty(struct client* client);

#endif
