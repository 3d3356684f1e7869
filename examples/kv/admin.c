/* SPDX-License-Identifier: MIT
 *
 * Commands about the server: CONFIG, COMMAND, SHUTDOWN. */
#include <string.h>

#include "client.h"
#include "info.h"

/*
 * CONFIG
 */

static void config_get(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  settings_get(settings_borrow(&c->server->settings), argv + 2, argc - 2, reply);
}

static void config_set(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  settings_set(&c->server->settings_tx, argv + 2, argc - 2, reply);
}

static const struct command config_commands[] = {
    {.name = "config|get", .arity = -3, .flags = COMMAND_BARRIER, .serve = config_get},
    {.name = "config|set", .arity = -4, .flags = COMMAND_BARRIER, .serve = config_set},
    {0}};

/*
 * COMMAND
 */

/* What clients route by: name, arity, flags, and where the keys are. */
static void describe(const struct command* command, struct buf* reply) {
  int has_key = command->spread == SPREAD_KEY || command->spread == SPREAD_SUM || command->spread == SPREAD_ARRAY ||
                command->spread == SPREAD_PAIRS;
  int is_many = has_key && command->spread != SPREAD_KEY;

  reply_array(reply, 6);
  reply_bulk_text(reply, command->name);
  reply_integer(reply, command->arity);
  reply_array(reply, command->run == NULL ? 0 : 1);
  if (command->run != NULL)
    reply_status(reply, (command->flags & COMMAND_WRITES) != 0 ? "write" : "readonly");
  reply_integer(reply, has_key);
  reply_integer(reply, is_many ? -1 : has_key);
  reply_integer(reply, command->spread == SPREAD_PAIRS ? 2 : has_key);
}

static void add_description(const struct command* command, void* arg) {
  describe(command, arg);
}

static void count_one(const struct command* command, void* arg) {
  (void) command;
  ++*(size_t*) arg;
}

static size_t count_all(void) {
  size_t count = 0;

  commands_each(count_one, &count);
  return count;
}

static void command_count(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  (void) c;
  (void) argv;
  (void) argc;
  reply_integer(reply, (long long) count_all());
}

/* There are none: redis-cli goes on with its own. */
static void command_docs(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  (void) c;
  (void) argv;
  (void) argc;
  reply_array(reply, 0);
}

static void command_info(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  size_t i;

  (void) c;
  reply_array(reply, argc == 2 ? count_all() : argc - 2);
  if (argc == 2)
    commands_each(add_description, reply);
  for (i = 2; i < argc; i++) {
    const struct command* command = commands_find(argv[i]);
    if (command == NULL)
      reply_nil(reply);
    else
      describe(command, reply);
  }
}

static const struct command command_commands[] = {{.name = "command|count", .arity = 2, .serve = command_count},
                                                  {.name = "command|docs", .arity = -2, .serve = command_docs},
                                                  {.name = "command|info", .arity = -2, .serve = command_info},
                                                  {0}};

static void serve_command(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  command_info(c, argv, argc + 1, reply); /* all, as without names */
}

/*
 * The others
 */

static void serve_info(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  struct buf text = {0};

  info(c->server->kv, settings_borrow(&c->server->settings), argv + 1, argc - 1, &text);
  reply_bulk(reply, text.data, text.len);
  reply->failed |= text.failed;
  buf_free(&text);
}

/* What was changed goes to the disk in any case, with an append-only file; without one there is nothing to save. */
static void serve_shutdown(struct client* c, const struct slice* argv, size_t argc, struct buf* reply) {
  if (argc > 2 || (argc == 2 && !slice_is(argv[1], "save") && !slice_is(argv[1], "nosave"))) {
    reply_error(reply, "ERR syntax error");
    return;
  }
  say(LEVEL_NOTICE, "client %llu has asked for the end", (unsigned long long) c->number);
  c->ending = 1;
  phase_raise(&c->server->phase_tx, PHASE_ENDING);
}

const struct command admin_commands[] = {
    {.name = "config", .arity = -2, .subcommands = config_commands},
    {.name = "command", .arity = -1, .serve = serve_command, .subcommands = command_commands},
    {.name = "info", .arity = -1, .flags = COMMAND_BARRIER, .serve = serve_info},
    {.name = "shutdown", .arity = -1, .flags = COMMAND_BARRIER, .serve = serve_shutdown},
    {0}};
