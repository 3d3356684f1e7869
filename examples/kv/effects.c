/* SPDX-License-Identifier: MIT
 *
 * What changes leave in the log: commands that Redis takes, too. Times are absolute. */
#include <stdio.h>

#include "keyspace.h"

/* Bytes of an effect beside its key and value: the form, a name, two numbers. */
enum { EFFECT_FRAME = 160 };

enum { NUMBER_SIZE = 24 };

static struct slice number(char text[NUMBER_SIZE], long long value) {
  int len = snprintf(text, NUMBER_SIZE, "%lld", value);

  return (struct slice){text, (size_t) len};
}

int effect_room(struct buf* log, size_t len) {
  int failed;

  if (log == NULL)
    return 0;
  failed = log->failed;
  if (buf_room(log, len + 2 * EFFECT_FRAME) != NULL)
    return 0;
  log->failed = failed; /* what does not go in is not done, so nothing is lost */
  return -1;
}

void effect_set(struct buf* log, const struct entry* entry) {
  struct slice argv[5] = {{"SET", 3}, entry_key(entry), entry_value(entry), {"PXAT", 4}};
  char text[NUMBER_SIZE];

  if (log == NULL)
    return;
  if (entry->expires != 0)
    argv[4] = number(text, entry->expires);
  reply_command(log, argv, entry->expires != 0 ? 5 : 3);
}

void effect_delete(struct buf* log, struct slice key) {
  struct slice argv[2] = {{"DEL", 3}, key};

  if (log != NULL)
    reply_command(log, argv, 2);
}

void effect_expire(struct buf* log, const struct entry* entry) {
  struct slice argv[3] = {{"PERSIST", 7}, entry_key(entry)};
  char text[NUMBER_SIZE];

  if (log == NULL)
    return;
  if (entry->expires != 0) {
    argv[0] = (struct slice){"PEXPIREAT", 9};
    argv[2] = number(text, entry->expires);
  }
  reply_command(log, argv, entry->expires != 0 ? 3 : 2);
}

void effect_add(struct buf* log, struct slice key, long long delta) {
  char text[NUMBER_SIZE];
  struct slice argv[3] = {{"INCRBY", 6}, key};

  if (log == NULL)
    return;
  argv[2] = number(text, delta);
  reply_command(log, argv, 3);
}

void effect_append(struct buf* log, struct slice key, struct slice value) {
  struct slice argv[3] = {{"APPEND", 6}, key, value};

  if (log != NULL)
    reply_command(log, argv, 3);
}
