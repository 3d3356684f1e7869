/* SPDX-License-Identifier: MIT
 *
 * One client. What is bounded: the input is a buffer of fixed size, and of output there is at most one request with BATCH lines.
 * While that is under way the client's receiver is stopped, so that it falls behind in its room instead of filling our memory;
 * and a line of its that asks for an answer waits, and all behind it, in the end in its own socket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat.h"

/* A place in a room. */
struct seat {
  uvch_broadcast_receiver_t rx;
  struct room* room;
};

struct client {
  struct server* server;
  struct client* next;
  struct client** link; /* what points here */
  uv_tcp_t tcp;
  struct seat seats[2]; /* two, as one is needed while the last one is being closed */
  struct seat* seat;    /* the current one */
  int handles;          /* open, or being closed */
  int moving;           /* the other seat is being closed */
  int closing;
  int leaving;    /* takes no more input */
  uint64_t to_go; /* then: lines of the room that it still gets */
  int eof;
  int too_long; /* the rest of a line that filled the input is passed over */
  size_t used;  /* bytes of input */
  uv_write_t write;
  size_t writing; /* lines that the request holds */
  struct line* lines[BATCH];
  char name[NAME_LIMIT + 1];
  char input[INPUT_SIZE];
};

static void on_lines(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count);
static void go_on(struct client* c);

/*
 * The end
 */

static void handle_closed(struct client* c) {
  if (--c->handles > 0)
    return;
  atomic_fetch_sub(&c->server->load, 1);
  free(c);
}

static void on_tcp_closed(uv_handle_t* tcp) {
  handle_closed(tcp->data);
}

static void on_seat_closed(uvch_handle_t* rx) {
  struct client* c = rx->data;

  if (!c->closing) {
    c->moving = 0;
    go_on(c);
  }
  handle_closed(c);
}

static void give_up_seat(struct client* c, struct seat* seat) {
  must(uvch_close((uvch_handle_t*) &seat->rx, on_seat_closed), "seat");
  room_leave(c->server->rooms, seat->room);
}

static void close_client(struct client* c) {
  if (c->closing)
    return;
  c->closing = 1;
  *c->link = c->next;
  if (c->next != NULL)
    c->next->link = c->link;
  if (c->seat != NULL)
    give_up_seat(c, c->seat);
  uv_close((uv_handle_t*) &c->tcp, on_tcp_closed);
}

/*
 * Output
 */

static void release_lines(struct client* c) {
  while (c->writing > 0)
    line_drop(&c->lines[--c->writing], NULL);
}

static void on_written(uv_write_t* write, int status) {
  struct client* c = write->data;

  release_lines(c);
  if (c->closing)
    return;
  if (status != 0) {
    close_client(c);
    return;
  }
  must(uvch_broadcast_recv_many_start(&c->seat->rx, BATCH, on_lines), "receive");
  go_on(c);
}

/* What the socket does not take at once. Until it has, the client is not fed. */
static void write_rest(struct client* c, struct line* const* lines, const uv_buf_t* bufs, unsigned int count) {
  int r = uv_write(&c->write, (uv_stream_t*) &c->tcp, bufs, count, on_written);

  if (r != 0) {
    close_client(c);
    return;
  }
  for (; c->writing < count; c->writing++)
    must(line_copy(&c->lines[c->writing], &lines[c->writing], NULL), "line");
  must(uvch_broadcast_recv_stop(&c->seat->rx), "stop");
}

/* Only while no write is under way. */
static void put(struct client* c, struct line* const* lines, unsigned int count) {
  uv_buf_t bufs[BATCH] = {0};
  unsigned int first = 0;
  unsigned int i;
  size_t sent;
  int r;

  for (i = 0; i < count; i++)
    bufs[i] = uv_buf_init(lines[i]->text, (unsigned int) lines[i]->len);
  r = uv_try_write((uv_stream_t*) &c->tcp, bufs, count);
  if (r < 0 && r != UV_EAGAIN) {
    close_client(c); /* it has gone */
    return;
  }
  for (sent = r < 0 ? 0 : (size_t) r; first < count && sent >= bufs[first].len; first++)
    sent -= bufs[first].len;
  if (first == count)
    return;
  bufs[first].base += sent;
  bufs[first].len -= sent;
  write_rest(c, lines + first, bufs + first, count - first);
}

/* Takes the line. Without memory for it the client has to go. */
static void put_line(struct client* c, struct line* line) {
  if (line == NULL) {
    close_client(c);
    return;
  }
  put(c, &line, 1);
  line_drop(&line, NULL);
}

/* Who is leaving gets what was said before, and then no more. */
static uint64_t due(struct client* c, uint64_t count) {
  if (!c->leaving)
    return count;
  if (count > c->to_go)
    count = c->to_go;
  c->to_go -= count;
  return count;
}

static void put_missed(struct client* c, uint64_t missed) {
  c->server->missed += missed;
  put_line(c, line_new("* you missed %llu line%s\n", (unsigned long long) missed, missed == 1 ? "" : "s"));
}

static void put_said(struct client* c, const void* first, size_t stride, size_t count) {
  struct line* lines[BATCH];
  size_t i;

  for (i = 0; i < count; i++)
    lines[i] = *(struct line* const*) ((const char*) first + i * stride);
  put(c, lines, (unsigned int) count);
}

/* From the room. It never comes to an end while it has members. */
static void on_lines(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  struct client* c = rx->data;

  must(status < 0 ? status : 0, "room");
  if (status > 0)
    put_missed(c, due(c, uvch_broadcast_receiver_missed(rx)));
  else
    put_said(c, first, stride, (size_t) due(c, count));
  if (c->leaving)
    go_on(c);
}

/*
 * Input
 */

/* Whether there is a place for an answer, and for a new seat. */
static int is_ready(const struct client* c) {
  return c->writing == 0 && !c->moving;
}

static int take_seat(struct client* c, const char* room) {
  struct seat* old = c->seat;
  struct seat* seat = old == &c->seats[0] ? &c->seats[1] : &c->seats[0];
  int r = room_enter(c->server->rooms, room, &seat->room);

  if (r != 0)
    return r;
  r = uvch_broadcast_subscribe(&c->server->loop, &seat->rx, &seat->room->tx);
  if (r != 0) {
    room_leave(c->server->rooms, seat->room);
    return r;
  }
  seat->rx.data = c;
  must(uvch_broadcast_recv_many_start(&seat->rx, BATCH, on_lines), "receive");
  c->handles++;
  c->seat = seat;
  if (old == NULL)
    return 0;
  c->moving = 1;
  give_up_seat(c, old);
  return 0;
}

static void leave(struct client* c) {
  c->leaving = 1;
  c->to_go = uvch_broadcast_receiver_len(&c->seat->rx);
}

static void command_nick(struct client* c, const char* name) {
  memcpy(c->name, name, strlen(name) + 1);
  put_line(c, line_new("* you are %s\n", name));
}

static void command_join(struct client* c, const char* room) {
  int r = strcmp(room, c->seat->room->name) == 0 ? 0 : take_seat(c, room);

  if (r == 0)
    put_line(c, line_new("* you are in %s\n", room));
  else
    put_line(c, line_new("* you cannot join %s: %s\n", room, uv_strerror(r)));
}

static void command_quit(struct client* c, const char* name) {
  (void) name;
  leave(c);
}

static const struct command {
  const char* verb;
  int takes_name;
  void (*run)(struct client* c, const char* name);
} commands[] = {{"/nick", 1, command_nick}, {"/join", 1, command_join}, {"/quit", 0, command_quit}};

static const struct command* find_command(const char* verb, size_t len) {
  size_t i;

  for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
    if (len == strlen(commands[i].verb) && memcmp(verb, commands[i].verb, len) == 0)
      return &commands[i];
  return NULL;
}

static void take_command(struct client* c, const char* text, size_t len) {
  const char* end = text + len;
  const char* space = memchr(text, ' ', len);
  const char* verb_end = space == NULL ? end : space;
  const char* rest = space == NULL ? end : space + 1;
  const struct command* command = find_command(text, (size_t) (verb_end - text));
  char name[NAME_LIMIT + 1] = "";

  if (command == NULL) {
    put_line(c, line_new("* there is no such command; there are /nick NAME, /join ROOM and /quit\n"));
  } else if (command->takes_name && !name_ok(rest, (size_t) (end - rest))) {
    put_line(c, line_new("* %s takes a name: 1 to %d of a-z A-Z 0-9 - _\n", command->verb, (int) NAME_LIMIT));
  } else if (!command->takes_name && space != NULL) {
    put_line(c, line_new("* %s takes nothing\n", command->verb));
  } else {
    memcpy(name, rest, (size_t) (end - rest));
    command->run(c, name);
  }
}

/* Returns 0 if the line has to wait. */
static int take_line(struct client* c, const char* text, size_t len, const char* problem) {
  if (problem == NULL && len == 0)
    return 1;
  if (problem == NULL && text[0] != '/') {
    if (room_say(c->seat->room, c->name, text, len) == 0)
      c->server->lines++;
    else
      close_client(c);
    return 1;
  }
  if (!is_ready(c))
    return 0;
  if (problem == NULL)
    take_command(c, text, len);
  else
    put_line(c, line_new("* your line was not sent: %s\n", problem));
  return 1;
}

/* The next line of the input, from `pos` on. Returns where the one after it begins; `pos` if there is none yet or it has to wait,
 * and then *waits tells which. */
static size_t next_line(struct client* c, size_t pos, int* waits) {
  const char* text = c->input + pos;
  size_t left = c->used - pos;
  const char* end = left == 0 ? NULL : memchr(text, '\n', left);
  size_t len = end == NULL ? left : (size_t) (end - text);
  size_t cr = len > 0 && text[len - 1] == '\r';
  const char* problem = NULL;

  if (end == NULL && !(c->eof && (left > 0 || c->too_long)))
    return pos;
  if (c->too_long || len - cr > LINE_LIMIT)
    problem = "it is too long";
  else if (end == NULL)
    problem = "it has no end";
  else
    problem = text_problem(text, len - cr);
  *waits = !take_line(c, text, len - cr, problem);
  if (*waits)
    return pos;
  c->too_long = 0;
  return pos + len + (end != NULL);
}

/* Returns 0 if the client should not be read from now. */
static int take_lines(struct client* c) {
  size_t pos = 0;
  size_t next = 0;
  int waits = 0;

  do {
    pos = next;
    if (!c->closing && !c->leaving)
      next = next_line(c, pos, &waits);
  } while (next != pos);
  c->used -= pos;
  memmove(c->input, c->input + pos, c->used);
  if (c->used == INPUT_SIZE && !waits) {
    c->too_long = 1;
    c->used = 0;
  }
  if (c->eof && !waits && !c->closing && !c->leaving)
    leave(c);
  return !waits && !c->closing && !c->leaving;
}

static void on_alloc(uv_handle_t* tcp, size_t suggested, uv_buf_t* buf) {
  struct client* c = tcp->data;

  (void) suggested;
  *buf = uv_buf_init(c->input + c->used, (unsigned int) (INPUT_SIZE - c->used)); /* never 0 while it is read from */
}

static void on_read(uv_stream_t* tcp, ssize_t n, const uv_buf_t* buf) {
  struct client* c = tcp->data;

  (void) buf;
  if (n < 0 && n != UV_EOF) {
    close_client(c);
    return;
  }
  if (n < 0)
    c->eof = 1;
  else
    c->used += (size_t) n;
  go_on(c);
}

/* After anything that the client may have waited for. */
static void go_on(struct client* c) {
  uv_stream_t* tcp = (uv_stream_t*) &c->tcp;
  int r = take_lines(c) ? uv_read_start(tcp, on_alloc, on_read) : uv_read_stop(tcp);

  if (c->closing)
    return;
  if ((r != 0 && r != UV_EALREADY) || (c->leaving && c->to_go == 0 && c->writing == 0))
    close_client(c);
}

/*
 * The start
 */

static int set_up(struct client* c, int fd) {
  int size = c->server->send_buffer;
  int r = uv_tcp_open(&c->tcp, fd);

  if (r != 0) {
    close(fd);
    return r;
  }
  r = uv_tcp_nodelay(&c->tcp, 1);
  if (r == 0)
    r = uv_tcp_keepalive(&c->tcp, 1, 60); /* who vanishes without a word is found out */
  if (r == 0)
    r = uv_send_buffer_size((uv_handle_t*) &c->tcp, &size);
  return r == 0 ? take_seat(c, "lobby") : r;
}

void client_start(struct server* server, const struct arrival* arrival) {
  struct client* c = calloc(1, sizeof(*c));

  if (c == NULL) {
    close(arrival->fd);
    atomic_fetch_sub(&server->load, 1);
    return;
  }
  c->server = server;
  c->link = &server->clients;
  c->next = server->clients;
  if (c->next != NULL)
    c->next->link = &c->next;
  server->clients = c;
  server->served++;
  must(uv_tcp_init(&server->loop, &c->tcp), "client");
  c->handles = 1;
  c->tcp.data = c->write.data = c;
  snprintf(c->name, sizeof(c->name), "guest%llu", (unsigned long long) (arrival->number % 10000000000));
  if (set_up(c, arrival->fd) != 0) {
    close_client(c);
    return;
  }
  put_line(c, line_new("* you are %s, in lobby; there are /nick NAME, /join ROOM and /quit\n", c->name));
  go_on(c);
}

void client_end(struct client* c) {
  static char text[] = "* the server ends\n";
  uv_buf_t buf = uv_buf_init(text, sizeof(text) - 1);

  if (c->writing == 0)
    uv_try_write((uv_stream_t*) &c->tcp, &buf, 1); /* may fail: it is closed in any case */
  close_client(c);
}
