/* SPDX-License-Identifier: MIT
 *
 * The loop of a shard. Commands that changed something go on to the log, together with the sender of their reply if the client is to
 * wait for the disk: then the log answers. While the log is full the shard takes no more requests. */
#include "shard.h"

#include <string.h>

enum { REQUESTS = 1024 /* that wait for a shard */, EXPIRE_EVERY = 100 /* ms */, EXPIRE_BUDGET = 1000000 /* ns */ };

void request_drop(void* item, void* arg) {
  struct request* request = item;

  (void) arg;
  outcome_sender_close(&request->reply);
}

/*
 * Running commands
 */

static void publish_counts(struct shard* s, size_t commands) {
  struct store_counts now;

  store_count(s->store, &now);
  atomic_store_explicit(&s->counts.keys, now.keys, memory_order_relaxed); /* relaxed: numbers for people, each by itself */
  atomic_store_explicit(&s->counts.expires, now.expires, memory_order_relaxed);
  atomic_store_explicit(&s->counts.bytes, now.bytes, memory_order_relaxed);
  atomic_store_explicit(&s->counts.hits, now.hits, memory_order_relaxed);
  atomic_store_explicit(&s->counts.misses, now.misses, memory_order_relaxed);
  atomic_store_explicit(&s->counts.expired, now.expired, memory_order_relaxed);
  if (commands > 0)
    atomic_fetch_add_explicit(&s->counts.commands, commands, memory_order_relaxed);
}

/* What all keys take; of other shards, when they last told. */
static size_t bytes_of_all(const struct shard* s) {
  struct store_counts own;
  size_t sum;
  size_t i;

  store_count(s->store, &own);
  sum = own.bytes;
  for (i = 0; i < s->count; i++)
    if (i != s->index)
      sum += atomic_load_explicit(&s->all[i].counts.bytes, memory_order_relaxed); /* relaxed: as above */
  return sum;
}

/* Returns 1 if the command may not be run, with the reply. */
static int is_refused(struct shard* s, const struct item* item, struct execution* x, size_t maxmemory) {
  int health = 0;

  if ((item->command->flags & COMMAND_WRITES) == 0)
    return 0;
  if (x->log != NULL)
    health = *health_borrow(&s->health);
  if (health != 0) {
    reply_error(x->reply, "MISCONF Errors writing to the AOF file: %s", uv_strerror(health));
    return 1;
  }
  if ((item->command->flags & COMMAND_GROWS) == 0 || maxmemory == 0 || bytes_of_all(s) < maxmemory)
    return 0;
  reply_error(x->reply, "OOM command not allowed when used memory > 'maxmemory'.");
  return 1;
}

static void run(struct shard* s, struct part* part, struct buf* log) {
  const struct settings* settings = settings_borrow(&s->settings);
  struct execution x = {.store = s->store, .now = wall_clock(), .reply = &part->reply, .log = log};
  size_t before = part->done;

  while (part->done < part->count && part->reply.len < part->limit) {
    struct item* item = &part->items[part->done++];
    x.argv = part->args + item->first;
    x.argc = item->argc;
    if (!is_refused(s, item, &x, settings->maxmemory))
      item->command->run(&x);
    item->end = part->reply.len;
  }
  publish_counts(s, part->done - before);
}

/*
 * To the log
 */

static void on_request(requests_receiver_t* rx, int status, struct request* request);

static void on_recorded(uvch_mpsc_send_t* send, int status) {
  struct shard* s = send->data;

  s->sending = 0;
  must(status, "log"); /* it is there as long as a shard is */
  must(requests_recv_start(&s->rx, on_request), "receive");
}

/* The log frees what it has taken. `reply` NULL: nobody waits for it. */
static void record(struct shard* s, struct buf* log, const outcome_sender_t* reply) {
  int r;

  s->record = (struct record){.data = log->data, .len = log->len, .is_asked = reply != NULL};
  if (reply != NULL)
    s->record.reply = *reply;
  *log = (struct buf){0};
  r = records_try_send(&s->records, &s->record);
  if (r != UV_EAGAIN) {
    must(r, "log");
    return;
  }
  s->sending = 1;
  must(records_send(s->loop, &s->send, &s->records, &s->record, on_recorded), "log");
  must(requests_recv_stop(&s->rx), "receive");
}

/*
 * Requests
 */

static void answer(outcome_sender_t* reply, int outcome) {
  outcome_reply(reply, &outcome); /* the client may have gone, and then its server does not wait: nothing is lost by that */
}

static void end(struct shard* s) {
  uvch_close((uvch_handle_t*) &s->rx, NULL);
  uvch_close((uvch_handle_t*) &s->settings, NULL);
  uv_close((uv_handle_t*) &s->timer, NULL);
  if (!s->logging)
    return;
  uvch_close((uvch_handle_t*) &s->health, NULL);
  records_sender_close(&s->records);
}

static void on_request(requests_receiver_t* rx, int status, struct request* request) {
  struct shard* s = rx->base.data;
  struct buf log = {0};

  if (status == UV_EOF) {
    end(s);
    return;
  }
  run(s, request->part, s->logging ? &log : NULL);
  if (log.failed) {
    answer(&request->reply, UV_ENOMEM); /* half of a command must not get into the file */
  } else if (s->logging && settings_borrow(&s->settings)->appendfsync == APPENDFSYNC_ALWAYS) {
    record(s, &log, &request->reply); /* readers wait too: what they are told is on the disk */
  } else {
    answer(&request->reply, 0);
    if (log.len > 0)
      record(s, &log, NULL);
  }
  buf_free(&log);
}

static void on_expire(uv_timer_t* timer) {
  struct shard* s = timer->data;
  struct buf log = {0};

  if (s->sending || (s->logging && *health_borrow(&s->health) != 0))
    return;
  store_expire(s->store, wall_clock(), EXPIRE_BUDGET, s->logging ? &log : NULL);
  if (log.len > 0 && !log.failed)
    record(s, &log, NULL);
  buf_free(&log);
  publish_counts(s, 0);
}

/*
 * The start
 */

static int open_channels(struct shard* s, const settings_sender_t* settings) {
  uvch_mpsc_options_t options = {.drop = request_drop, .name = "shard"};
  int r = requests_init_ex(s->loop, &s->rx, &s->tx, REQUESTS, &options);

  if (r == 0)
    r = settings_subscribe(s->loop, &s->settings, settings);
  if (r == 0)
    r = requests_recv_start(&s->rx, on_request);
  return r;
}

int shard_open(struct shard* s, uv_loop_t* loop, struct shard* all, size_t index, size_t count,
               const settings_sender_t* settings) {
  int r;

  s->loop = loop;
  s->all = all;
  s->index = index;
  s->count = count;
  s->timer.data = s->rx.base.data = s->send.data = s;
  s->store = store_new(index, count);
  if (s->store == NULL)
    return UV_ENOMEM;
  must(uv_timer_init(loop, &s->timer), "timer");
  must(uv_timer_start(&s->timer, on_expire, EXPIRE_EVERY, EXPIRE_EVERY), "timer");
  uv_unref((uv_handle_t*) &s->timer);
  r = open_channels(s, settings);
  if (r == 0)
    return 0;
  requests_sender_close(&s->tx);
  end(s);
  shard_free(s);
  return r;
}

int shard_log(struct shard* s, const records_sender_t* records, const health_sender_t* health) {
  int r = health_subscribe(s->loop, &s->health, health);

  if (r != 0)
    return r;
  r = records_sender_clone(records, &s->records);
  s->logging = r == 0;
  if (r != 0)
    uvch_close((uvch_handle_t*) &s->health, NULL);
  return r;
}

void shard_free(struct shard* s) {
  store_free(s->store);
}
