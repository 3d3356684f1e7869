/* SPDX-License-Identifier: MIT
 *
 * A connection. At most one round is under way; while it is, or while the client does not read its replies, no other command is
 * taken, and when enough has come it is not read from: so what a client can make the server keep is bounded, whatever it does. */
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  READ_SIZE = 16384,  /* bytes */
  READ_AHEAD = 65536, /* bytes that may wait while a round is under way */
  ROUND_LIMIT = 1024  /* commands of one round */
};

static const struct settings* settings_of(const struct client* c) {
  return settings_borrow(&c->server->settings);
}

/*
 * The end
 */

static void end_round(struct client* c) {
  struct server* server = c->server;

  buf_clear(&c->round->in, 0);
  server_keep_round(server, c->round);
  c->round = NULL;
}

void client_use(struct client* c) {
  c->uses++;
}

void client_release(struct client* c) {
  struct server* server = c->server;

  if (--c->uses > 0)
    return;
  if (c->round != NULL)
    end_round(c);
  parser_free(&c->parser);
  buf_free(&c->in);
  buf_free(&c->out);
  buf_free(&c->writing);
  free(c);
  server_client_left(server);
}

static void on_closed(uv_handle_t* tcp) {
  client_release(tcp->data);
}

void client_close(struct client* c) {
  struct client** d;

  if (c->closing)
    return;
  c->closing = 1;
  subscriber_leave(&c->subscriber);
  *c->link = c->next;
  if (c->next != NULL)
    c->next->link = c->link;
  for (d = &c->server->dirty; c->is_dirty && *d != NULL; d = &(*d)->dirty_next) {
    if (*d == c) {
      *d = c->dirty_next;
      break;
    }
  }
  uv_close((uv_handle_t*) &c->tcp, on_closed);
}

int client_is_idle(const struct client* c) {
  return c->round == NULL && !c->publishing && c->out.len == 0 && c->writing.len == 0;
}

void client_end(struct client* c) {
  c->ending = 1;
  client_go_on(c);
}

/*
 * Output
 */

void client_dirty(struct client* c) {
  if (c->is_dirty || c->closing)
    return;
  c->is_dirty = 1;
  c->dirty_next = c->server->dirty;
  c->server->dirty = c;
}

static void on_written(uv_write_t* write, int status) {
  struct client* c = write->data;

  buf_clear(&c->writing, 0);
  if (c->closing)
    return;
  if (status != 0) {
    client_close(c);
    return;
  }
  client_flush(c);
}

static void write_rest(struct client* c, size_t written) {
  struct buf empty = {0};
  uv_buf_t rest = {.base = c->out.data + written, .len = c->out.len - written};

  c->writing = c->out;
  c->out = empty;
  if (uv_write(&c->write, (uv_stream_t*) &c->tcp, &rest, 1, on_written) != 0) {
    buf_free(&c->writing);
    client_close(c);
  }
}

/* What a subscriber is sent while it does not read. */
static int is_behind(const struct client* c) {
  return c->subscriber.names + c->subscriber.patterns > 0 && c->out.len + c->writing.len > settings_of(c)->subscriber_limit;
}

void client_flush(struct client* c) {
  uv_buf_t all = {.base = c->out.data, .len = c->out.len};
  int r = 0;

  if (c->out.failed || is_behind(c)) {
    say(LEVEL_NOTICE, "client %llu is closed: %s", (unsigned long long) c->number,
        c->out.failed ? "no memory for its replies" : "it does not read what it has subscribed to");
    client_close(c);
    return;
  }
  if (c->writing.len > 0)
    return;
  if (c->out.len > 0)
    r = uv_try_write((uv_stream_t*) &c->tcp, &all, 1);
  if (r < 0 && r != UV_EAGAIN) {
    client_close(c);
    return;
  }
  if (c->out.len > (r < 0 ? 0 : (size_t) r)) {
    write_rest(c, r < 0 ? 0 : (size_t) r);
    return;
  }
  buf_clear(&c->out, 0);
  client_go_on(c);
}

static void on_message(struct subscriber* subscriber, const char* data, size_t len) {
  struct client* c = (struct client*) (void*) ((char*) subscriber - offsetof(struct client, subscriber));

  buf_add(&c->out, data, len);
  client_dirty(c);
}

/*
 * Replies that are known at once
 */

/* As Redis shows what it does not know: a part of the name, and a part of the arguments. */
static void refuse_unknown(const struct slice* argv, size_t argc, struct buf* reply) {
  enum { SHOWN = 128 };
  struct buf args = {0};
  size_t i;

  for (i = 1; i < argc && args.len < SHOWN; i++) {
    size_t room = SHOWN - args.len;
    buf_add_text(&args, "'");
    buf_add(&args, argv[i].data, strnlen(argv[i].data, argv[i].len < room ? argv[i].len : room));
    buf_add_text(&args, "' ");
  }
  reply_error(reply, "ERR unknown command '%.*s', with args beginning with: %.*s",
              argv[0].len < SHOWN ? (int) argv[0].len : SHOWN, argv[0].data, (int) args.len, args.len > 0 ? args.data : "");
  reply->failed |= args.failed;
  buf_free(&args);
}

static void refuse_unknown_sub(const struct command* command, struct slice name, struct buf* reply) {
  char capitals[32] = "";
  size_t i;

  for (i = 0; command->name[i] != '\0' && i + 1 < sizeof(capitals); i++)
    capitals[i] = (char) (command->name[i] - 'a' + 'A');
  reply_error(reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int) (name.len < 128 ? name.len : 128), name.data, capitals);
}

/* Returns 1 if a command is not to be run, with the reply. */
static int is_refused(const struct client* c, const struct command* command, size_t argc, struct buf* reply) {
  if (!command_takes(command, argc) || (command->spread == SPREAD_PAIRS && argc % 2 == 0))
    reply_error(reply, "ERR wrong number of arguments for '%s' command", command->name);
  else if (!c->authenticated && (command->flags & COMMAND_ANYBODY) == 0)
    reply_error(reply, "NOAUTH Authentication required.");
  else if (c->subscriber.names + c->subscriber.patterns > 0 && (command->flags & COMMAND_LISTENER) == 0)
    reply_error(
        reply, "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        command->name);
  else
    return 0;
  return 1;
}

/* What the server itself answers. */
static void serve(struct client* c, const struct command* command, const struct slice* argv, size_t argc, struct buf* reply) {
  if (is_refused(c, command, argc, reply))
    return;
  c->command = command;
  command->serve(c, argv, argc, reply);
}

/*
 * Rounds
 */

static int has_steps(const struct client* c) {
  return c->round != NULL && c->round->step_count > 0;
}

/* The replies that are there go out; for the rest the round is sent again when the client has read them. */
static void collect(struct client* c) {
  struct round* round = c->round;
  int is_all = round_collect(round, &c->out);

  client_dirty(c);
  c->unsent = !is_all;
  if (!is_all)
    return;
  if (round->last != NULL)
    serve(c, round->last, round->args + round->last_first, round->arg_count - round->last_first, &c->out);
  end_round(c);
}

static void on_round(struct round* round) {
  struct client* c = round->owner;

  if (c->closing || round->failed) {
    end_round(c);
    client_close(c);
  } else {
    collect(c);
    client_go_on(c);
  }
  client_release(c);
}

/* Not at once: with those of other clients that have sent something, too. */
static void send_round(struct client* c) {
  struct server* server = c->server;

  c->unsent = 0;
  client_use(c);
  c->round->next = server->unsent;
  server->unsent = c->round;
}

void client_send(struct round* round) {
  struct client* c = round->owner;
  struct server* server = c->server;

  if (!c->closing && round_send(round, server->loop, server->to, settings_of(c)->output_limit) > 0)
    return;
  on_round(round);
}

/*
 * Commands
 */

/* Replies that are known at once, in their turn. */
static struct buf* begin_reply(struct client* c) {
  if (!has_steps(c))
    return &c->out;
  buf_clear(&c->server->scratch, READ_SIZE);
  return &c->server->scratch;
}

static void end_reply(struct client* c, struct buf* reply) {
  if (reply == &c->out)
    client_dirty(c);
  else if (reply->failed || (reply->len > 0 && round_add_local(c->round, reply->data, reply->len) != 0))
    c->round->failed = 1;
}

/* A command for shards, or one that has to wait for those before it: the last one of its round. Returns 0, or UV_ENOMEM. */
static int add_to_round(struct client* c, const struct command* command, const struct slice* argv, size_t argc) {
  if (command->serve != NULL)
    return round_add_last(c->round, command, argv, argc);
  if (c->round == NULL)
    c->round = server_round(c->server);
  if (c->round == NULL)
    return UV_ENOMEM;
  c->round->owner = c;
  c->round->done = on_round;
  return round_add(c->round, command, argv, argc, c->server->kv->shard_count);
}

void client_ask(struct client* c, const struct command* command, const struct slice* argv, size_t argc, struct buf* reply) {
  if (add_to_round(c, command, argv, argc) != 0)
    reply->failed = 1;
}

/* What comes from a browser, which a page can make post to any port: the lines after it must not become commands. */
static int is_web(struct slice name) {
  return slice_is(name, "post") || slice_is(name, "host:");
}

static void end_web(struct client* c) {
  say(LEVEL_VERBOSE, "client %llu is closed: it speaks HTTP", (unsigned long long) c->number);
  c->ending = 1;
}

/* The command, or its subcommand. NULL: there is none, with the reply. */
static const struct command* find_command(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  const struct command* command = commands_find(argv[0]);
  const struct command* sub = command;

  if (command == NULL && is_web(argv[0]))
    end_web(c);
  else if (command == NULL)
    refuse_unknown(argv, argc, reply);
  else if (command->subcommands != NULL && argc > 1)
    sub = commands_find_sub(command->subcommands, argv[1]);
  if (command != NULL && sub == NULL)
    refuse_unknown_sub(command, argv[1], reply);
  return sub;
}

static void take_command(struct client* c, const struct slice* argv, size_t argc) {
  struct buf* reply = begin_reply(c);
  const struct command* command = find_command(c, argv, argc, reply);
  int r = 0;

  if (command != NULL && has_steps(c) && (command->flags & COMMAND_BARRIER) != 0) {
    r = add_to_round(c, command, argv, argc);
  } else if (command != NULL && command->run == NULL) {
    serve(c, command, argv, argc, reply);
  } else if (command != NULL && !is_refused(c, command, argc, reply)) {
    c->command = command;
    r = add_to_round(c, command, argv, argc);
  }
  reply->failed |= r != 0;
  end_reply(c, reply);
}

/* Whether another command may be taken now. */
static int takes_more(const struct client* c, size_t count, const struct settings* settings) {
  return count < ROUND_LIMIT && !c->ending && !c->publishing && !c->closing && c->out.len < settings->output_limit &&
         (c->round == NULL || c->round->last == NULL);
}

/* What is left of the input stays with the client; what the round's arguments point into goes with the round. */
static void consume(struct client* c, size_t len) {
  struct buf all = c->in;

  if (!has_steps(c)) {
    buf_consume(&c->in, len);
    return;
  }
  c->in = (struct buf){0};
  if (len < all.len)
    buf_add(&c->in, all.data + len, all.len - len);
  c->round->in = all;
}

/* The next commands, as many as fit into a round. Returns how many. */
static size_t take_commands(struct client* c) {
  const struct settings* settings = settings_of(c);
  struct parser_limits limits = {.bulk = settings->proto_max_bulk_len, .arguments = 1048576};
  enum parser_result result = PARSER_MORE;
  struct buf* reply;
  size_t at = 0;
  size_t count = 0;

  while (at < c->in.len && takes_more(c, count, settings)) {
    limits.anonymous = !c->authenticated;
    result = parser_next(&c->parser, c->in.data + at, c->in.len - at, &limits);
    if (result != PARSER_COMMAND)
      break;
    at += c->parser.len;
    count++;
    if (c->parser.argc > 0)
      take_command(c, c->parser.argv, c->parser.argc);
  }
  if (result == PARSER_ERROR) {
    reply = begin_reply(c);
    reply_error(reply, "%s", c->parser.error);
    end_reply(c, reply);
    c->ending = 1;
  }
  if (count == 0)
    return 0;
  atomic_fetch_add_explicit(&c->server->commands, count, memory_order_relaxed); /* relaxed: a number for people */
  consume(c, at);
  if (c->in.failed)
    client_close(c);
  return count;
}

/*
 * Input
 */

static int is_busy(const struct client* c) {
  return (c->round != NULL && !c->unsent) || c->publishing || c->writing.len > 0;
}

static void on_alloc(uv_handle_t* tcp, size_t suggested, uv_buf_t* room) {
  struct client* c = tcp->data;
  struct server* server = c->server;

  (void) suggested;
  if (c->in.data == NULL && server->spare.data != NULL) {
    c->in = server->spare;
    server->spare = (struct buf){0};
  }
  room->base = buf_room(&c->in, READ_SIZE);
  room->len = room->base == NULL ? 0 : c->in.size - c->in.len;
}

/* An empty buffer is for the next who reads: an idle client has none. */
static void give_back(struct client* c) {
  if (c->in.len > 0)
    return;
  if (c->server->spare.data == NULL && c->in.size <= 2 * READ_SIZE)
    c->server->spare = c->in;
  else
    buf_free(&c->in);
  c->in = (struct buf){0};
}

static void on_read(uv_stream_t* tcp, ssize_t n, const uv_buf_t* room) {
  struct client* c = tcp->data;

  (void) room;
  if (n < 0 && n != UV_EOF) {
    client_close(c);
    return;
  }
  if (n < 0) {
    c->eof = 1;
  } else if (c->parted == 0) {
    buf_used(&c->in, (size_t) n);
    c->last = uv_now(c->server->loop);
  }
  client_go_on(c);
}

/* It is read from unless enough of it waits; of a command that is not complete, all of it is read. */
static void read_or_not(struct client* c) {
  uv_stream_t* tcp = (uv_stream_t*) &c->tcp;
  int r;

  if (c->in.len > settings_of(c)->query_buffer_limit) {
    say(LEVEL_NOTICE, "client %llu is closed: more than client-query-buffer-limit", (unsigned long long) c->number);
    client_close(c);
    return;
  }
  if (c->eof || c->ending || (c->in.len >= READ_AHEAD && (is_busy(c) || c->unsent)))
    r = uv_read_stop(tcp);
  else
    r = uv_read_start(tcp, on_alloc, on_read);
  if (r != 0 && r != UV_EALREADY)
    client_close(c);
}

/* Whether the other system does not have all replies yet; where nobody can tell, it has. */
static int is_on_the_way(const struct client* c, int fd) {
  int bytes = 0;

#ifdef TIOCOUTQ
  if (ioctl(fd, TIOCOUTQ, &bytes) != 0)
    bytes = 0;
#endif
  return bytes > 0 && !c->eof;
}

/* All is written. To close a socket on which more has come, or comes, throws away what is still on its way; so its last byte is said to
 * be that, and what comes is read for nothing, until the replies are there or the client closes. The server's timer ends it else. */
static void part(struct client* c) {
  uv_os_fd_t fd;

  if (uv_fileno((const uv_handle_t*) &c->tcp, &fd) != 0 || !is_on_the_way(c, fd)) {
    client_close(c);
    return;
  }
  if (c->parted != 0)
    return;
  c->parted = uv_now(c->server->loop);
  subscriber_leave(&c->subscriber);
  buf_free(&c->in);
  shutdown(fd, SHUT_WR); /* fails if the client has gone, which reading finds out */
  if (uv_read_start((uv_stream_t*) &c->tcp, on_alloc, on_read) == UV_EINVAL)
    client_close(c);
}

void client_go_on(struct client* c) {
  size_t taken;

  do {
    taken = 0;
    if (!c->closing && !is_busy(c) && c->unsent && c->out.len == 0)
      send_round(c);
    if (c->closing || is_busy(c) || c->unsent)
      break;
    if (!c->ending)
      taken = take_commands(c);
    if (!c->closing && has_steps(c))
      send_round(c);
  } while (taken > 0);
  if (c->closing)
    return;
  c->ending |= c->eof && client_is_idle(c); /* what it has sent before has been done */
  if (c->ending && client_is_idle(c)) {
    part(c);
    return;
  }
  give_back(c);
  read_or_not(c);
}

/*
 * The start
 */

static int set_up(struct client* c, int fd) {
  int r = uv_tcp_open(&c->tcp, fd);

  if (r != 0) {
    close(fd);
    return r;
  }
  r = uv_tcp_nodelay(&c->tcp, 1);
  return r == 0 ? uv_tcp_keepalive(&c->tcp, 1, 300) : r; /* who vanishes without a word is found out */
}

void client_start(struct server* server, const struct arrival* arrival) {
  struct client* c = calloc(1, sizeof(*c));

  if (c == NULL) {
    close(arrival->fd);
    server_client_left(server);
    return;
  }
  c->server = server;
  c->link = &server->clients;
  c->next = server->clients;
  if (c->next != NULL)
    c->next->link = &c->next;
  server->clients = c;
  c->number = arrival->number;
  c->since = c->last = uv_now(server->loop);
  c->authenticated = settings_of(c)->requirepass[0] == '\0';
  c->subscriber.loop = server->pubsub;
  c->subscriber.write = on_message;
  must(uv_tcp_init(server->loop, &c->tcp), "client");
  c->tcp.data = c->write.data = c->publish.data = c;
  c->uses = 1;
  if (set_up(c, arrival->fd) != 0)
    client_close(c);
  else
    client_go_on(c);
}

/*
 * CLIENT LIST
 */

/* The address of this end, or of the other one. */
static void add_address(const struct client* c, int own, struct buf* text) {
  struct sockaddr_storage address = {0};
  int len = sizeof(address);
  char host[INET6_ADDRSTRLEN] = "?";
  int r = own ? uv_tcp_getsockname(&c->tcp, (struct sockaddr*) &address, &len)
              : uv_tcp_getpeername(&c->tcp, (struct sockaddr*) &address, &len);

  if (r == 0 && address.ss_family == AF_INET6) {
    const struct sockaddr_in6* in6 = (const struct sockaddr_in6*) &address;
    uv_ip6_name(in6, host, sizeof(host));
    buf_print(text, "[%s]:%d", host, ntohs(in6->sin6_port));
  } else {
    const struct sockaddr_in* in = (const struct sockaddr_in*) &address;
    if (r == 0)
      uv_ip4_name(in, host, sizeof(host));
    buf_print(text, "%s:%d", host, ntohs(in->sin_port));
  }
}

void client_describe(const struct client* c, struct buf* text) {
  uint64_t now = uv_now(c->server->loop);
  uv_os_fd_t fd = -1;

  uv_fileno((const uv_handle_t*) &c->tcp, &fd);
  buf_print(text, "id=%llu addr=", (unsigned long long) c->number);
  add_address(c, 0, text);
  buf_add_text(text, " laddr=");
  add_address(c, 1, text);
  buf_print(text, " fd=%d name=%s age=%llu idle=%llu flags=%s db=0 sub=%zu psub=%zu multi=-1 qbuf=%zu obl=%zu loop=%zu cmd=%s\n",
            fd, c->name, (unsigned long long) (now - c->since) / 1000, (unsigned long long) (now - c->last) / 1000,
            c->subscriber.names + c->subscriber.patterns > 0 ? "P" : "N", c->subscriber.names, c->subscriber.patterns, c->in.len,
            c->out.len + c->writing.len, c->server->index, c->command == NULL ? "NULL" : c->command->name);
}
