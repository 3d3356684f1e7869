/* SPDX-License-Identifier: MIT
 *
 * The commands take the same way as those of clients, with a round that takes them apart; so how many shards there were when they were
 * written does not matter. */
#include "restore.h"

#include "commands.h"

struct restoring {
  struct kv* kv;
  struct round* round;
  size_t commands;
};

static int run_part(struct part* part, const struct slice* args, struct store* store) {
  struct execution x = {.store = store, .now = 0, .reply = &part->reply};
  size_t i;

  for (i = 0; i < part->count; i++) {
    const struct item* item = &part->items[i];
    x.argv = args + item->first;
    x.argc = item->argc;
    buf_clear(&part->reply, 0);
    item->command->run(&x);
    if (part->reply.failed)
      return UV_ENOMEM;
    if (part->reply.data[0] == '-')
      return UV_EINVAL;
  }
  return 0;
}

static int apply(const struct slice* argv, size_t argc, void* arg) {
  struct restoring* r = arg;
  const struct command* command = commands_find(argv[0]);
  size_t i;
  int status;

  if (command == NULL || !command_takes(command, argc) || (command->run == NULL && !slice_is(argv[0], "select")))
    return UV_EINVAL;
  if (command->run == NULL)
    return 0; /* a file of redis-server has it, for the one database that there is */
  status = round_add(r->round, command, argv, argc, r->kv->shard_count);
  for (i = 0; i < r->kv->shard_count && status == 0; i++)
    status = run_part(&r->round->parts[i], r->round->args, r->kv->shards[i].store);
  round_reset(r->round);
  r->commands++;
  return status;
}

int restore(struct kv* kv, const char* path) {
  struct restoring r = {.kv = kv, .round = round_new(kv->shard_count)};
  int status = r.round == NULL ? UV_ENOMEM : log_load(path, apply, &r);

  if (r.round != NULL)
    round_free(r.round);
  if (status == 0 && r.commands > 0)
    say(LEVEL_NOTICE, "%zu commands were read from %s", r.commands, path);
  return status;
}
