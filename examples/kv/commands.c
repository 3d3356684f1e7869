/* SPDX-License-Identifier: MIT
 *
 * A table with open addressing that is written once and then only read. */
#include "commands.h"

#include <string.h>

enum { SLOTS = 512, NAME_LIMIT = 32 };

static const struct command* slots[SLOTS];

/* Copies the name in small letters, and returns its place in the table. */
static size_t fold(struct slice name, char* folded) {
  uint32_t hash = 2166136261u;
  size_t i;

  for (i = 0; i < name.len; i++) {
    char c = name.data[i];
    folded[i] = c >= 'A' && c <= 'Z' ? (char) (c + 'a' - 'A') : c;
    hash = (hash ^ (unsigned char) folded[i]) * 16777619u;
  }
  return hash % SLOTS;
}

static void add_all(const struct command* commands) {
  char folded[NAME_LIMIT];

  for (; commands->name != NULL; commands++) {
    size_t at = fold((struct slice){commands->name, strlen(commands->name)}, folded);
    while (slots[at] != NULL)
      at = (at + 1) % SLOTS;
    slots[at] = commands;
  }
}

void commands_init(void) {
  add_all(store_commands);
  add_all(session_commands);
  add_all(admin_commands);
  add_all(pubsub_commands);
}

const struct command* commands_find(struct slice name) {
  char folded[NAME_LIMIT];
  size_t at;

  if (name.len >= NAME_LIMIT)
    return NULL;
  for (at = fold(name, folded); slots[at] != NULL; at = (at + 1) % SLOTS)
    if (strncmp(slots[at]->name, folded, name.len) == 0 && slots[at]->name[name.len] == '\0')
      return slots[at];
  return NULL;
}

const struct command* commands_find_sub(const struct command* subcommands, struct slice name) {
  for (; subcommands->name != NULL; subcommands++)
    if (slice_is(name, strchr(subcommands->name, '|') + 1))
      return subcommands;
  return NULL;
}

int command_takes(const struct command* command, size_t argc) {
  return command->arity >= 0 ? argc == (size_t) command->arity : argc >= (size_t) -command->arity;
}

void commands_each(void (*cb)(const struct command* command, void* arg), void* arg) {
  size_t i;

  for (i = 0; i < SLOTS; i++)
    if (slots[i] != NULL)
      cb(slots[i], arg);
}
