/* SPDX-License-Identifier: MIT
 *
 * Commands about the connection itself. */
#include <string.h>

#include "client.h"

static int has_password(const struct client* c) {
  return settings_borrow(&c->server->settings)->requirepass[0] != '\0';
}

/* Does not tell by its time how much of a password is right. */
static int is_password(const struct client* c, struct slice given) {
  const char* password = settings_borrow(&c->server->settings)->requirepass;
  size_t len = strlen(password);
  unsigned int differs = given.len != len;
  size_t i;

  for (i = 0; i < given.len; i++)
    differs |= (unsigned int) (given.data[i] ^ password[len == 0 ? 0 : i % len]);
  return !differs;
}

/* AUTH and HELLO AUTH. Returns 0, or -1 with the reply. */
static int authenticate(struct client* c, struct slice user, struct slice password, struct buf* reply) {
  int is_default = user.len == 7 && memcmp(user.data, "default", 7) == 0;

  if (is_default && (!has_password(c) || is_password(c, password))) {
    c->authenticated = 1;
    return 0;
  }
  reply_error(reply, "WRONGPASS invalid username-password pair or user is disabled.");
  return -1;
}

static void serve_auth(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  static const struct slice nobody = {"default", 7};

  if (argc > 3) {
    reply_error(reply, "ERR syntax error");
  } else if (argc == 2 && !has_password(c)) {
    reply_error(reply,
                "ERR AUTH <password> called without any password configured for the default user. "
                "Are you sure your configuration is correct?");
  } else if (authenticate(c, argc == 3 ? argv[1] : nobody, argv[argc - 1], reply) == 0) {
    reply_status(reply, "OK");
  }
}

static void serve_ping(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  if (argc > 2) {
    reply_error(reply, "ERR wrong number of arguments for 'ping' command");
  } else if (c->subscriber.names + c->subscriber.patterns > 0) {
    reply_array(reply, 2);
    reply_bulk_text(reply, "pong");
    reply_bulk(reply, argc == 2 ? argv[1].data : "", argc == 2 ? argv[1].len : 0);
  } else if (argc == 2) {
    reply_bulk(reply, argv[1].data, argv[1].len);
  } else {
    reply_status(reply, "PONG");
  }
}

static void serve_echo(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  (void) c;
  (void) argc;
  reply_bulk(reply, argv[1].data, argv[1].len);
}

static void serve_select(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  long long index;

  (void) c;
  (void) argc;
  if (slice_integer(argv[1], &index) != 0)
    reply_error(reply, "ERR value is not an integer or out of range");
  else if (index < INT32_MIN || index > INT32_MAX)
    reply_error(reply, "ERR value is out of range, value must between %d and %d", INT32_MIN, INT32_MAX);
  else if (index != 0)
    reply_error(reply, "ERR DB index is out of range");
  else
    reply_status(reply, "OK");
}

static void serve_quit(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  (void) argv;
  (void) argc;
  reply_status(reply, "OK");
  c->ending = 1;
}

/* Returns 0, or -1 with the reply. */
static int set_name(struct client* c, struct slice name, struct buf* reply) {
  size_t i;

  for (i = 0; i < name.len; i++) {
    if (name.data[i] < '!' || name.data[i] > '~') {
      reply_error(reply, "ERR Client names cannot contain spaces, newlines or special characters.");
      return -1;
    }
  }
  if (name.len > CLIENT_NAME_LIMIT) {
    reply_error(reply, "ERR Client names have at most %d characters", (int) CLIENT_NAME_LIMIT);
    return -1;
  }
  memcpy(c->name, name.data, name.len);
  c->name[name.len] = '\0';
  return 0;
}

/*
 * HELLO
 */

/* Returns 0, or -1 with the reply. */
static int take_hello_options(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  size_t i;

  for (i = 2; i < argc; i++) {
    if (slice_is(argv[i], "auth") && i + 2 < argc) {
      if (authenticate(c, argv[i + 1], argv[i + 2], reply) != 0)
        return -1;
      i += 2;
    } else if (slice_is(argv[i], "setname") && i + 1 < argc) {
      if (set_name(c, argv[i + 1], reply) != 0)
        return -1;
      i++;
    } else {
      reply_error(reply, "ERR Syntax error in HELLO option '%.*s'", slice_width(argv[i]), argv[i].data);
      return -1;
    }
  }
  return 0;
}

static void say_hello(const struct client* c, struct buf* reply) {
  reply_array(reply, 14);
  reply_bulk_text(reply, "server");
  reply_bulk_text(reply, "redis");
  reply_bulk_text(reply, "version");
  reply_bulk_text(reply, KV_REDIS_VERSION);
  reply_bulk_text(reply, "proto");
  reply_integer(reply, 2);
  reply_bulk_text(reply, "id");
  reply_integer(reply, (long long) c->number);
  reply_bulk_text(reply, "mode");
  reply_bulk_text(reply, "standalone");
  reply_bulk_text(reply, "role");
  reply_bulk_text(reply, "master");
  reply_bulk_text(reply, "modules");
  reply_array(reply, 0);
}

static void serve_hello(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  long long version = 2;

  if (argc > 1 && slice_integer(argv[1], &version) != 0)
    reply_error(reply, "ERR Protocol version is not an integer or out of range");
  else if (version != 2)
    reply_error(reply, "NOPROTO unsupported protocol version");
  else if (take_hello_options(c, argv, argc, reply) != 0)
    return;
  else if (!c->authenticated)
    reply_error(reply,
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH "
                "<user> <pass> option can be used to authenticate the client and select the RESP protocol version at the "
                "same time");
  else
    say_hello(c, reply);
}

/*
 * CLIENT
 */

static void client_id(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  (void) argv;
  (void) argc;
  reply_integer(reply, (long long) c->number);
}

static void client_info(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  struct buf text = {0};

  (void) argv;
  (void) argc;
  client_describe(c, &text);
  reply_bulk(reply, text.data, text.len);
  buf_free(&text);
}

static void client_getname(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  (void) argv;
  (void) argc;
  if (c->name[0] == '\0')
    reply_nil(reply);
  else
    reply_bulk_text(reply, c->name);
}

static void client_setname(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  (void) argc;
  if (set_name(c, argv[2], reply) == 0)
    reply_status(reply, "OK");
}

/* All clients of all servers: each is asked for its own. */
static void client_list(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  static const struct command ask = {.name = "client|list", .arity = 2, .spread = SPREAD_SERVERS};

  if (argc > 2)
    reply_error(reply, "ERR syntax error");
  else
    client_ask(c, &ask, argv, argc, reply);
}

static const struct command client_commands[] = {{.name = "client|id", .arity = 2, .serve = client_id},
                                                 {.name = "client|info", .arity = 2, .serve = client_info},
                                                 {.name = "client|getname", .arity = 2, .serve = client_getname},
                                                 {.name = "client|setname", .arity = 3, .serve = client_setname},
                                                 {.name = "client|list", .arity = -2, .serve = client_list},
                                                 {0}};

const struct command session_commands[] = {
    {.name = "ping", .arity = -1, .flags = COMMAND_LISTENER, .serve = serve_ping},
    {.name = "echo", .arity = 2, .serve = serve_echo},
    {.name = "select", .arity = 2, .serve = serve_select},
    {.name = "quit", .arity = -1, .flags = COMMAND_ANYBODY | COMMAND_LISTENER, .serve = serve_quit},
    {.name = "auth", .arity = -2, .flags = COMMAND_ANYBODY, .serve = serve_auth},
    {.name = "hello", .arity = -1, .flags = COMMAND_ANYBODY, .serve = serve_hello},
    {.name = "client", .arity = -2, .subcommands = client_commands},
    {0}};
