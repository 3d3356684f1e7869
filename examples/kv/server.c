/* SPDX-License-Identifier: MIT
 *
 * A server: connections in, its clients, and its part of the end. */
#include "server.h"

#include <stdlib.h>
#include <unistd.h>

#include "client.h"

enum {
  ARRIVALS = 128,    /* connections that wait for a server */
  REQUESTS = 16,     /* CLIENT LISTs that do */
  KEEP_ROUNDS = 256, /* that are not in use */
  TICK = 1000,       /* ms */
  PARTING = 10000    /* ms for a client to take its last replies */
};

/*
 * The end
 */

/* Nothing is left to do: the loop comes to its end, and with the senders to the shards they do. */
static void finish(struct server* s) {
  size_t i;

  uvch_close((uvch_handle_t*) &s->requests, NULL);
  uvch_close((uvch_handle_t*) &s->phase, NULL);
  uvch_close((uvch_handle_t*) &s->settings, NULL);
  uv_close((uv_handle_t*) &s->flush, NULL);
  uv_close((uv_handle_t*) &s->check, NULL);
  uv_close((uv_handle_t*) &s->timer, NULL);
  if (s->pubsub != NULL)
    pubsub_loop_close(s->pubsub, NULL, NULL);
  for (i = 0; i < s->to_count; i++)
    requests_sender_close(&s->to[i]);
  settings_sender_close(&s->settings_tx);
  phase_sender_close(&s->phase_tx);
}

static void finish_if_empty(struct server* s) {
  if (s->ending && s->client_count == 0)
    finish(s);
}

static void for_all_clients(struct server* s, void (*cb)(struct client* client)) {
  struct client* c;
  struct client* next;

  for (c = s->clients; c != NULL; c = next) {
    next = c->next;
    cb(c);
  }
}

static void on_phase(phase_receiver_t* rx, int status, const enum phase* phase) {
  struct server* s = rx->base.data;

  must(status, "phase"); /* there is a sender as long as there is a server */
  if (*phase == PHASE_RUNNING)
    return;
  if (!s->ending)
    uvch_close((uvch_handle_t*) &s->arrivals, NULL);
  for_all_clients(s, *phase == PHASE_ENDING ? client_end : client_close);
  if (s->ending)
    return;
  s->ending = 1;
  finish_if_empty(s);
}

void server_client_left(struct server* s) {
  atomic_fetch_sub(&s->load, 1);
  atomic_fetch_sub(&s->kv->clients, 1);
  s->client_count--;
  finish_if_empty(s);
}

/*
 * Connections
 */

static void drop_arrival(void* item, void* arg) {
  struct server* s = arg;

  close(((struct arrival*) item)->fd);
  atomic_fetch_sub(&s->load, 1);
  atomic_fetch_sub(&s->kv->clients, 1);
}

static void on_arrival(arrivals_receiver_t* rx, int status, struct arrival* arrival) {
  struct server* s = rx->base.data;

  must(status, "arrival"); /* the acceptor's sender is open as long as a server is */
  s->client_count++;
  client_start(s, arrival);
}

/* A shard with a loop to itself is woken once for all of them. */
static void send_rounds(struct server* s) {
  while (s->unsent != NULL) {
    struct round* round = s->unsent;
    s->unsent = round->next;
    client_send(round);
  }
}

static void on_check(uv_check_t* check) {
  send_rounds(check->data);
}

/* Once in a turn of the loop, right before it waits. */
static void on_flush(uv_prepare_t* prepare) {
  struct server* s = prepare->data;

  while (s->dirty != NULL) {
    struct client* c = s->dirty;
    s->dirty = c->dirty_next;
    c->is_dirty = 0;
    client_flush(c);
  }
  send_rounds(s);
}

static void on_tick(uv_timer_t* timer) {
  struct server* s = timer->data;
  uint64_t timeout = settings_borrow(&s->settings)->timeout * 1000;
  struct client* c;
  struct client* next;

  for (c = s->clients; c != NULL; c = next) {
    next = c->next;
    if (c->parted != 0) {
      if (uv_now(s->loop) - c->parted > PARTING)
        client_close(c);
      else
        client_go_on(c);
      continue;
    }
    if (timeout > 0 && uv_now(s->loop) - c->last > timeout && client_is_idle(c) &&
        c->subscriber.names + c->subscriber.patterns == 0)
      client_close(c);
  }
}

/*
 * Requests of other servers
 */

static void on_request(requests_receiver_t* rx, int status, struct request* request) {
  struct server* s = rx->base.data;
  struct part* part = request->part;
  int outcome = 0;
  struct client* c;

  must(status, "request"); /* a server has a sender to itself */
  for (; part->done < part->count; part->done++) {
    for (c = s->clients; c != NULL; c = c->next)
      client_describe(c, &part->reply);
    part->items[part->done].end = part->reply.len;
  }
  outcome_reply(&request->reply, &outcome);
}

/*
 * Rounds
 */

struct round* server_round(struct server* s) {
  struct round* round = s->rounds;

  if (round == NULL)
    return round_new(s->kv->shard_count + s->kv->server_count);
  s->rounds = round->next;
  s->round_count--;
  return round;
}

void server_keep_round(struct server* s, struct round* round) {
  if (s->round_count == KEEP_ROUNDS) {
    round_free(round);
    return;
  }
  round_reset(round);
  round->next = s->rounds;
  s->rounds = round;
  s->round_count++;
}

/*
 * The start
 */

static int open_channels(struct server* s) {
  uvch_mpsc_options_t arrivals = {.drop = drop_arrival, .arg = s, .name = "arrivals"};
  uvch_mpsc_options_t requests = {.drop = request_drop, .name = "server"};
  int r = arrivals_init_ex(s->loop, &s->arrivals, &s->arrivals_tx, ARRIVALS, &arrivals);

  if (r == 0)
    r = requests_init_ex(s->loop, &s->requests, &s->requests_tx, REQUESTS, &requests);
  if (r == 0)
    r = phase_subscribe(s->loop, &s->phase, &s->kv->phase);
  if (r == 0)
    r = phase_sender_clone(&s->kv->phase, &s->phase_tx);
  if (r == 0)
    r = settings_subscribe(s->loop, &s->settings, &s->kv->settings);
  if (r == 0)
    r = settings_sender_clone(&s->kv->settings, &s->settings_tx);
  if (r == 0)
    r = pubsub_loop_open(&s->pubsub, s->kv->pubsub, s->loop);
  s->arrivals.base.data = s->requests.base.data = s->phase.base.data = s;
  return r;
}

static int start(struct server* s) {
  int r = arrivals_recv_start(&s->arrivals, on_arrival);

  if (r == 0)
    r = requests_recv_start(&s->requests, on_request);
  if (r == 0)
    r = phase_start(&s->phase, on_phase, UVCH_WATCH_CURRENT);
  if (r == 0)
    r = uv_prepare_start(&s->flush, on_flush);
  if (r == 0)
    r = uv_check_start(&s->check, on_check);
  if (r == 0)
    r = uv_timer_start(&s->timer, on_tick, TICK, TICK);
  return r;
}

int server_open(struct server* s, uv_loop_t* loop, struct kv* kv, size_t index) {
  int r;

  s->loop = loop;
  s->kv = kv;
  s->index = index;
  must(uv_prepare_init(loop, &s->flush), "prepare");
  must(uv_check_init(loop, &s->check), "check");
  must(uv_timer_init(loop, &s->timer), "timer");
  s->flush.data = s->check.data = s->timer.data = s;
  r = open_channels(s);
  if (r == 0)
    r = start(s);
  if (r == 0)
    return 0;
  server_close(s);
  server_free(s);
  return r;
}

int server_connect(struct server* s) {
  struct kv* kv = s->kv;
  size_t i;
  int r = 0;

  s->to = calloc(kv->shard_count + kv->server_count, sizeof(*s->to));
  if (s->to == NULL)
    return UV_ENOMEM;
  for (i = 0; i < kv->shard_count + kv->server_count && r == 0; i++) {
    const requests_sender_t* tx = i < kv->shard_count ? &kv->shards[i].tx : &kv->servers[i - kv->shard_count].requests_tx;
    r = requests_sender_clone(tx, &s->to[i]);
    s->to_count += r == 0;
  }
  return r;
}

void server_close(struct server* s) {
  uvch_close((uvch_handle_t*) &s->arrivals, NULL);
  finish(s);
}

void server_free(struct server* s) {
  arrivals_sender_close(&s->arrivals_tx);
  requests_sender_close(&s->requests_tx);
  while (s->rounds != NULL) {
    struct round* round = s->rounds;
    s->rounds = round->next;
    round_free(round);
  }
  buf_free(&s->spare);
  buf_free(&s->scratch);
  free(s->to);
}
