/* SPDX-License-Identifier: MIT
 *
 * SUBSCRIBE, PUBLISH and their like, for one client. */
#include "client.h"

static void serve_subscribe(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  size_t i;

  for (i = 1; i < argc; i++)
    subscriber_add(&c->subscriber, 0, argv[i], reply);
}

static void serve_psubscribe(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  size_t i;

  for (i = 1; i < argc; i++)
    subscriber_add(&c->subscriber, 1, argv[i], reply);
}

static void leave(struct client* c, int is_pattern, const struct slice* argv, size_t argc, struct buf* reply) {
  size_t i;

  if (argc == 1)
    subscriber_remove_all(&c->subscriber, is_pattern, reply);
  for (i = 1; i < argc; i++)
    subscriber_remove(&c->subscriber, is_pattern, argv[i], reply);
}

static void serve_unsubscribe(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  leave(c, 0, argv, argc, reply);
}

static void serve_punsubscribe(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  leave(c, 1, argv, argc, reply);
}

/*
 * PUBLISH
 */

static void on_published(struct publish* publish, int status, long long count) {
  struct client* c = publish->data;

  c->publishing = 0;
  if (!c->closing && status == 0) {
    reply_integer(&c->out, count);
    client_dirty(c);
    client_go_on(c);
  } else {
    client_close(c);
  }
  client_release(c);
}

/* While other servers are behind, the client waits, and its server does not. */
static void serve_publish(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  long long count = pubsub_publish(c->server->pubsub, &c->publish, argv[1], argv[2], on_published);

  (void) argc;
  if (count >= 0) {
    reply_integer(reply, count);
  } else if (count == UV_EAGAIN) {
    c->publishing = 1;
    client_use(c);
  } else {
    reply_error(reply, "ERR %s", uv_strerror((int) count));
  }
}

/*
 * PUBSUB
 */

static void pubsub_serve_channels(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  if (argc > 3)
    reply_error(reply, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try PUBSUB HELP.", slice_width(argv[1]),
                argv[1].data);
  else
    pubsub_channels(c->server->kv->pubsub, argc == 3 ? argv[2] : (struct slice){0}, reply);
}

static void pubsub_serve_numsub(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  pubsub_numsub(c->server->kv->pubsub, argv + 2, argc - 2, reply);
}

static void pubsub_serve_numpat(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  (void) argv;
  (void) argc;
  pubsub_numpat(c->server->kv->pubsub, reply);
}

static const struct command pubsub_subcommands[] = {
    {.name = "pubsub|channels", .arity = -2, .flags = COMMAND_BARRIER, .serve = pubsub_serve_channels},
    {.name = "pubsub|numsub", .arity = -2, .flags = COMMAND_BARRIER, .serve = pubsub_serve_numsub},
    {.name = "pubsub|numpat", .arity = 2, .flags = COMMAND_BARRIER, .serve = pubsub_serve_numpat},
    {0}};

enum { LISTENS = COMMAND_BARRIER | COMMAND_LISTENER };

const struct command pubsub_commands[] = {{.name = "subscribe", .arity = -2, .flags = LISTENS, .serve = serve_subscribe},
                                          {.name = "psubscribe", .arity = -2, .flags = LISTENS, .serve = serve_psubscribe},
                                          {.name = "unsubscribe", .arity = -1, .flags = LISTENS, .serve = serve_unsubscribe},
                                          {.name = "punsubscribe", .arity = -1, .flags = LISTENS, .serve = serve_punsubscribe},
                                          {.name = "publish", .arity = 3, .flags = COMMAND_BARRIER, .serve = serve_publish},
                                          {.name = "pubsub", .arity = -2, .subcommands = pubsub_subcommands},
                                          {0}};
