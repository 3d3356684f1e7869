/* SPDX-License-Identifier: MIT
 *
 * Taking apart and putting together. Each step knows how its replies become one; `where` says from which part each of them comes,
 * and within a part they come in order, so nothing has to be looked for. A shard stops when the reply of a part is long: what is
 * there is collected, and when the client has read it the rest is asked for. */
#include "round.h"

#include <stdlib.h>
#include <string.h>

enum { KEEP = 16384 /* bytes of a buffer, for the next round */ };

struct step {
  enum spread how;
  size_t subs; /* commands that it was taken apart into; for SPREAD_LOCAL, where its reply ends */
};

/* An array with a place more than `count`; NULL: no memory, and the old one is as it was. */
static void* grow(void* array, size_t item, size_t count, size_t* size) {
  size_t wanted = *size == 0 ? 16 : *size * 2;
  void* larger;

  if (count < *size)
    return array;
  larger = realloc(array, wanted * item);
  if (larger != NULL)
    *size = wanted;
  return larger;
}

struct round* round_new(size_t parts) {
  struct round* r = calloc(1, sizeof(*r));

  if (r == NULL)
    return NULL;
  r->part_count = parts;
  r->parts = calloc(parts, sizeof(*r->parts));
  if (r->parts != NULL)
    return r;
  free(r);
  return NULL;
}

void round_free(struct round* r) {
  size_t i;

  for (i = 0; i < r->part_count; i++) {
    buf_free(&r->parts[i].reply);
    free(r->parts[i].items);
  }
  buf_free(&r->in);
  buf_free(&r->local);
  buf_free(&r->error);
  free(r->parts);
  free(r->args);
  free(r->steps);
  free(r->where);
  free(r);
}

static void reset_part(struct part* part) {
  part->count = part->done = part->taken = part->at = 0;
  part->problem = 0;
  buf_clear(&part->reply, KEEP);
}

void round_reset(struct round* r) {
  size_t i;

  for (i = 0; i < r->part_count; i++)
    if (r->parts[i].count > 0)
      reset_part(&r->parts[i]);
  r->arg_count = r->step_count = r->where_count = 0;
  r->step = r->sub = r->next_where = 0;
  r->last = NULL;
  r->failed = 0;
  r->begun = 0;
  r->sum = 0;
  r->local_at = 0;
  buf_clear(&r->error, KEEP);
  buf_clear(&r->local, KEEP);
}

/*
 * Taking apart
 */

static int add_args(struct round* r, const struct slice* argv, size_t argc) {
  size_t i;

  for (i = 0; i < argc; i++) {
    struct slice* args = grow(r->args, sizeof(*args), r->arg_count, &r->arg_size);
    if (args == NULL)
      return UV_ENOMEM;
    r->args = args;
    args[r->arg_count++] = argv[i];
  }
  return 0;
}

/* The arguments from `first` on, for a shard or server. */
static int add_item(struct round* r, size_t to, const struct command* command, size_t first, size_t argc) {
  struct part* part = &r->parts[to];
  struct item* items = grow(part->items, sizeof(*items), part->count, &part->size);
  uint16_t* where = grow(r->where, sizeof(*where), r->where_count, &r->where_size);

  if (items != NULL)
    part->items = items;
  if (where != NULL)
    r->where = where;
  if (items == NULL || where == NULL)
    return UV_ENOMEM;
  items[part->count++] = (struct item){.command = command, .first = first, .argc = argc};
  where[r->where_count++] = (uint16_t) to;
  return 0;
}

static int add_step(struct round* r, enum spread how, size_t subs) {
  struct step* steps = grow(r->steps, sizeof(*steps), r->step_count, &r->step_size);

  if (steps == NULL)
    return UV_ENOMEM;
  r->steps = steps;
  steps[r->step_count++] = (struct step){.how = how, .subs = subs};
  return 0;
}

/* Each key by itself, with the name of the command before it, and its value after it. */
static int add_each(struct round* r, const struct command* command, const struct slice* argv, size_t argc, size_t shards) {
  size_t width = command->spread == SPREAD_PAIRS ? 2 : 1;
  int status = 0;
  size_t i;

  for (i = 1; i + width <= argc && status == 0; i += width) {
    size_t first = r->arg_count;
    status = add_args(r, argv, 1);
    if (status == 0)
      status = add_args(r, argv + i, width);
    if (status == 0)
      status = add_item(r, shard_of(argv[i], shards), command, first, 1 + width);
  }
  return status;
}

/* To each of some parts. */
static int add_all(struct round* r, const struct command* command, const struct slice* argv, size_t argc, size_t from,
                   size_t to) {
  size_t first = r->arg_count;
  int status = add_args(r, argv, argc);
  size_t i;

  for (i = from; i < to && status == 0; i++)
    status = add_item(r, i, command, first, argc);
  return status;
}

int round_add(struct round* r, const struct command* command, const struct slice* argv, size_t argc, size_t shards) {
  size_t before = r->where_count;
  size_t one;
  int status = 0;

  switch (command->spread) {
    case SPREAD_LOCAL:
      return UV_EINVAL;
    case SPREAD_KEY:
      one = shard_of(argv[1], shards);
      status = add_all(r, command, argv, argc, one, one + 1);
      break;
    case SPREAD_CURSOR:
      one = shard_of_cursor(argv[1], shards);
      status = add_all(r, command, argv, argc, one, one + 1);
      break;
    case SPREAD_SUM:
    case SPREAD_ARRAY:
    case SPREAD_PAIRS:
      status = add_each(r, command, argv, argc, shards);
      break;
    case SPREAD_ALL_SUM:
    case SPREAD_ALL_OK:
    case SPREAD_ALL_JOIN:
      status = add_all(r, command, argv, argc, 0, shards);
      break;
    case SPREAD_SERVERS:
      status = add_all(r, command, argv, argc, shards, r->part_count);
      break;
  }
  return status == 0 ? add_step(r, command->spread, r->where_count - before) : status;
}

int round_add_local(struct round* r, const char* reply, size_t len) {
  buf_add(&r->local, reply, len);
  return r->local.failed ? UV_ENOMEM : add_step(r, SPREAD_LOCAL, r->local.len);
}

int round_add_last(struct round* r, const struct command* command, const struct slice* argv, size_t argc) {
  r->last = command;
  r->last_first = r->arg_count;
  return add_args(r, argv, argc);
}

/*
 * Calls
 */

static void on_outcome(outcome_call_t* call, int status, int* outcome) {
  struct part* part = call->base.data;
  struct round* r = part->round;

  if (status != 0)
    r->failed = 1;
  else
    part->problem = *outcome;
  if (part->reply.failed)
    r->failed = 1;
  if (--r->calls == 0)
    r->done(r);
}

size_t round_send(struct round* r, uv_loop_t* loop, const requests_sender_t* to, size_t limit) {
  size_t i;

  for (i = 0; i < r->part_count; i++) {
    struct part* part = &r->parts[i];
    if (part->taken < part->done || part->done == part->count)
      continue;
    buf_clear(&part->reply, KEEP);
    part->at = 0;
    part->args = r->args;
    part->limit = limit;
    part->round = r;
    part->call.base.data = part;
    part->message.part = part;
    if (outcome_call(loop, &part->call, &to[i].base, &part->message, &part->message.reply, on_outcome) == 0)
      r->calls++;
    else
      r->failed = 1;
  }
  return r->calls;
}

/*
 * Putting together
 */

/* The next reply of the step, or an error instead of it; *from is the part that it is of. Returns 0 if it is not there yet. */
static int take(struct round* r, struct slice* reply, struct part** from) {
  struct part* part = &r->parts[r->where[r->next_where]];
  const struct item* item = &part->items[part->taken];

  if (part->taken == part->done)
    return 0;
  *from = part;
  *reply = (struct slice){"", item->end - part->at};
  if (reply->len > 0)
    reply->data = part->reply.data + part->at;
  part->at = item->end;
  part->taken++;
  r->next_where++;
  r->sub++;
  return 1;
}

/* What a client is told whose change may not be on the disk. */
static int is_unsafe(const struct part* part) {
  return part->problem != 0 && (part->items[part->taken - 1].command->flags & COMMAND_WRITES) != 0;
}

static void add_problem(const struct part* part, struct buf* out) {
  reply_error(out, "MISCONF Errors writing to the AOF file: %s", uv_strerror(part->problem));
}

/* Replies as they are. */
static int pass_on(struct round* r, const struct step* step, struct buf* out) {
  struct slice reply;
  struct part* part;

  while (r->sub < step->subs) {
    if (!take(r, &reply, &part))
      return 0;
    if (is_unsafe(part))
      add_problem(part, out);
    else
      buf_add(out, reply.data, reply.len);
  }
  return 1;
}

/* Integers become their sum, of +OK there remains one, and the first error is the reply of all. */
static int reduce(struct round* r, const struct step* step, struct buf* out) {
  struct slice reply;
  struct part* part;

  while (r->sub < step->subs) {
    if (!take(r, &reply, &part))
      return 0;
    if (r->error.len > 0)
      continue;
    if (is_unsafe(part))
      add_problem(part, &r->error);
    else if (reply.data[0] == '-')
      buf_add(&r->error, reply.data, reply.len);
    else if (reply.data[0] == ':')
      r->sum += strtoll(reply.data + 1, NULL, 10); /* it ends with the line */
  }
  if (r->error.len > 0)
    buf_add(out, r->error.data, r->error.len);
  else if (step->how == SPREAD_PAIRS || step->how == SPREAD_ALL_OK)
    reply_status(out, "OK");
  else
    reply_integer(out, r->sum);
  r->sum = 0;
  buf_clear(&r->error, KEEP);
  return 1;
}

/* Whether the replies of all that a step was taken apart into are there; each is from another part. */
static int all_are_there(const struct round* r, const struct step* step) {
  size_t i;

  for (i = 0; i < step->subs; i++) {
    const struct part* part = &r->parts[r->where[r->next_where + i]];
    if (part->taken == part->done)
      return 0;
  }
  return 1;
}

/* Arrays to one array. */
static int join(struct round* r, const struct step* step, struct buf* out) {
  struct buf all = {0};
  size_t count = 0;
  struct slice reply;
  struct part* part;

  if (!all_are_there(r, step))
    return 0;
  while (r->sub < step->subs && take(r, &reply, &part)) {
    const char* first = memchr(reply.data, '\n', reply.len);
    count += strtoull(reply.data + 1, NULL, 10);
    if (first != NULL)
      buf_add(&all, first + 1, reply.len - (size_t) (first + 1 - reply.data));
  }
  reply_array(out, count);
  buf_add(out, all.data, all.len);
  out->failed |= all.failed;
  buf_free(&all);
  return 1;
}

/* Texts to one string. */
static int join_texts(struct round* r, const struct step* step, struct buf* out) {
  struct buf all = {0};
  struct slice text;
  struct part* part;

  if (!all_are_there(r, step))
    return 0;
  while (r->sub < step->subs && take(r, &text, &part))
    buf_add(&all, text.data, text.len);
  reply_bulk(out, all.data, all.len);
  out->failed |= all.failed;
  buf_free(&all);
  return 1;
}

static int collect_local(struct round* r, const struct step* step, struct buf* out) {
  buf_add(out, r->local.data + r->local_at, step->subs - r->local_at);
  r->local_at = step->subs;
  return 1;
}

/* Returns 0 if something is not there yet. */
static int collect_step(struct round* r, const struct step* step, struct buf* out) {
  switch (step->how) {
    case SPREAD_LOCAL:
      return collect_local(r, step, out);
    case SPREAD_ARRAY:
      if (r->sub == 0 && !r->begun)
        reply_array(out, step->subs);
      r->begun = 1;
      return pass_on(r, step, out);
    case SPREAD_KEY:
    case SPREAD_CURSOR:
      return pass_on(r, step, out);
    case SPREAD_ALL_JOIN:
      return join(r, step, out);
    case SPREAD_SERVERS:
      return join_texts(r, step, out);
    case SPREAD_SUM:
    case SPREAD_PAIRS:
    case SPREAD_ALL_SUM:
    case SPREAD_ALL_OK:
      break;
  }
  return reduce(r, step, out);
}

int round_collect(struct round* r, struct buf* out) {
  while (r->step < r->step_count) {
    if (!collect_step(r, &r->steps[r->step], out))
      return 0;
    r->step++;
    r->sub = 0;
    r->begun = 0;
  }
  return 1;
}
