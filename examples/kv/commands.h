/* SPDX-License-Identifier: MIT
 *
 * All commands by their names. */
#ifndef KV_COMMANDS_H
#define KV_COMMANDS_H

#include "store.h"

/* Those that a server answers itself. Each ends with a name of NULL. */
extern const struct command session_commands[]; /* PING, HELLO, AUTH, CLIENT ... */
extern const struct command admin_commands[];   /* CONFIG, INFO, COMMAND, SHUTDOWN */
extern const struct command pubsub_commands[];  /* SUBSCRIBE, PUBLISH ... */

/* commands_init: once, before the first thread. */
void commands_init(void);

/* commands_find: the command of that name, or one of some subcommands. NULL: there is none. Any thread. */
const struct command* commands_find(struct slice name);
const struct command* commands_find_sub(const struct command* subcommands, struct slice name);

/* command_takes: whether it may have so many arguments, its name included. */
int command_takes(const struct command* command, size_t argc);

/* commands_each: all of them, in no order. */
void commands_each(void (*cb)(const struct command* command, void* arg), void* arg);

#endif
