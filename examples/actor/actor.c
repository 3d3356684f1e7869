/* SPDX-License-Identifier: MIT
 *
 * The actor's side. Every command's reply sender is used up, once: by an answer, or closed if there will be none. */
#include <signal.h>
#include <string.h>

#include "actor.h"

static struct entry* find(struct actor* actor, const char* key) {
  size_t i;

  for (i = 0; i < actor->entry_count; i++)
    if (strcmp(actor->entries[i].key, key) == 0)
      return &actor->entries[i];
  return NULL;
}

int actor_get(struct actor* actor, const char* key, long* value) {
  const struct entry* entry = find(actor, key);

  if (entry == NULL)
    return UV_ENOENT;
  *value = entry->value;
  return 0;
}

int actor_put(struct actor* actor, const char* key, long value) {
  struct entry* entry = find(actor, key);

  if (entry == NULL) {
    if (actor->entry_count == ENTRIES)
      return UV_ENOSPC;
    entry = &actor->entries[actor->entry_count++];
    strncpy(entry->key, key, KEY_SIZE - 1);
    entry->key[KEY_SIZE - 1] = '\0';
  }
  entry->value = value;
  return 0;
}

static int erase(struct actor* actor, const char* key, long* value) {
  struct entry* entry = find(actor, key);

  if (entry == NULL)
    return UV_ENOENT;
  *value = entry->value;
  *entry = actor->entries[--actor->entry_count];
  return 0;
}

static int swap(struct actor* actor, const struct command* command, long* value) {
  int r = actor_get(actor, command->key, value);

  if (r != 0 || *value != command->expected)
    return r != 0 ? r : UV_EAGAIN;
  *value = command->value;
  return actor_put(actor, command->key, *value);
}

static struct answer execute(struct actor* actor, const struct command* command) {
  struct answer answer = {UV_ENOTSUP, command->value};

  switch (command->op) {
    case OP_GET:
      answer.status = actor_get(actor, command->key, &answer.value);
      break;
    case OP_SET:
      answer.status = actor_put(actor, command->key, answer.value);
      break;
    case OP_DELETE:
      answer.status = erase(actor, command->key, &answer.value);
      break;
    case OP_SWAP:
      answer.status = swap(actor, command, &answer.value);
      break;
    case OP_WATCH:
      answer.status = UV_ENOSPC; /* had there been room it would not be here */
      break;
  }
  return answer;
}

static void reply(struct actor* actor, struct command* command, struct answer answer) {
  int r = uvch_reply(&command->reply, &answer);

  /* Too late. An answer that owns something: with 1 the caller's drop function has got it, with UV_EPIPE it is ours again. */
  if (r == 1 || r == UV_EPIPE)
    actor->late++;
  else
    must(r, "reply");
}

/* Answer who watches `key`. With any change those who have given up go too, so that they do not pile up. */
static void tell_watchers(struct actor* actor, const char* key, struct answer answer) {
  size_t kept = 0;
  size_t i;

  for (i = 0; i < actor->watcher_count; i++) {
    struct command* watcher = &actor->watchers[i];
    if (strcmp(watcher->key, key) == 0 || uvch_oneshot_sender_is_closed(&watcher->reply))
      reply(actor, watcher, answer);
    else
      actor->watchers[kept++] = *watcher;
  }
  actor->watcher_count = kept;
}

/* No answer will come: the caller gets UV_EOF. Also what becomes of the commands that are queued when the receiver closes. */
static void drop_command(void* item, void* arg) {
  struct command* command = item;

  (void) arg;
  must(uvch_oneshot_sender_close(&command->reply), "drop");
}

static void stop(struct actor* actor) {
  size_t i;

  must(uvch_close((uvch_handle_t*) &actor->rx, NULL), "close");
  uv_close((uv_handle_t*) &actor->interrupt, NULL);
  for (i = 0; i < actor->watcher_count; i++)
    drop_command(&actor->watchers[i], NULL);
}

static void on_interrupt(uv_signal_t* interrupt, int number) {
  (void) number;
  stop(interrupt->data);
}

static void on_command(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct actor* actor = rx->data;
  struct command* command = item;
  struct answer answer;

  if (status == UV_EOF) { /* every caller has closed its sender */
    stop(actor);
    return;
  }
  if (command->op == OP_WATCH && actor->watcher_count < WATCHERS) {
    actor->watchers[actor->watcher_count++] = *command; /* the sender of the reply moves along: the answer comes later */
    return;
  }
  answer = execute(actor, command);
  reply(actor, command, answer);
  if (command->op != OP_GET && answer.status == 0)
    tell_watchers(actor, command->key, answer);
}

void actor_start(struct actor* actor, uv_loop_t* loop, uvch_mpsc_sender_t* tx) {
  uvch_mpsc_options_t options = {.drop = drop_command};

  must(uvch_mpsc_init_ex(loop, &actor->rx, tx, sizeof(struct command), CAPACITY, &options), "channel");
  actor->rx.data = actor;
  must(uvch_mpsc_recv_start(&actor->rx, on_command), "receive");
  must(uv_signal_init(loop, &actor->interrupt), "signal");
  actor->interrupt.data = actor;
  must(uv_signal_start(&actor->interrupt, on_interrupt, SIGINT), "signal");
}
