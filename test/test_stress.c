/* SPDX-License-Identifier: MIT
 *
 * Invariants under load: every message once, in the order of its sender, whatever the mixture of calls, whoever comes and
 * goes. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <stdio.h>
#include <time.h>

/* What a sender does that finds no room: it goes away for a moment. Threads that only yield pass the processor round among
 * themselves, and on a busy machine the receiver waits for long. */
static void nap(void) {
  struct timespec time = {0, 50000};

  (void) nanosleep(&time, NULL);
}

/* Sixteen senders to one receiver. Each sender numbers its messages and takes another kind of call for each. */

#define SENDERS 16

typedef struct parcel_s {
  uint32_t sender;
  uint32_t number;
  uint64_t sum; /* tells a torn or mixed-up message */
} parcel_t;

static parcel_t parcel_make(size_t sender, size_t number) {
  parcel_t parcel;

  parcel.sender = (uint32_t) sender;
  parcel.number = (uint32_t) number;
  parcel.sum = ((uint64_t) sender << 32 ^ number) * UINT64_C(0x9e3779b97f4a7c15) + 1;
  return parcel;
}

static bool parcel_is_sound(const parcel_t* parcel) {
  parcel_t wanted = parcel_make(parcel->sender, parcel->number);

  return parcel->sender < SENDERS && wanted.sum == parcel->sum;
}

typedef enum { TRY, WAIT, TIMED, REQUEST, MIXED } how_t;

typedef struct many_case_s {
  const char* name;
  size_t capacity;
  how_t how;
  bool on_loop;
  size_t count; /* messages of each sender */
} many_case_t;

static const many_case_t many_cases[] = {
    {"capacity 1 to a loop, mixed", 1, MIXED, true, 600},
    {"capacity 3 to a loop, mixed", 3, MIXED, true, 800},
    {"capacity 64 to a loop, mixed", 64, MIXED, true, 1500},
    {"capacity 1024 to a loop, mixed", 1024, MIXED, true, 1500},
    {"unbounded to a loop, mixed", UVCH_UNBOUNDED, MIXED, true, 1500},
    {"capacity 1 to a thread, mixed", 1, MIXED, false, 600},
    {"capacity 3 to a thread, mixed", 3, MIXED, false, 800},
    {"capacity 64 to a thread, mixed", 64, MIXED, false, 1500},
    {"capacity 1024 to a thread, mixed", 1024, MIXED, false, 1500},
    {"unbounded to a thread, mixed", UVCH_UNBOUNDED, MIXED, false, 1500},
    {"capacity 3 to a loop, try_send", 3, TRY, true, 1500},
    {"capacity 64 to a thread, try_send", 64, TRY, false, 3000},
    {"unbounded to a loop, try_send", UVCH_UNBOUNDED, TRY, true, 5000},
    {"unbounded to a thread, try_send", UVCH_UNBOUNDED, TRY, false, 5000},
    {"capacity 1 to a loop, send_wait", 1, WAIT, true, 600},
    {"capacity 3 to a thread, send_wait", 3, WAIT, false, 800},
    {"capacity 1 to a loop, send_timedwait", 1, TIMED, true, 600},
    {"capacity 3 to a thread, send_timedwait", 3, TIMED, false, 800},
    {"capacity 1 to a loop, requests", 1, REQUEST, true, 600},
    {"capacity 64 to a thread, requests", 64, REQUEST, false, 1500},
};

typedef struct many_s many_t;

typedef struct many_sender_s {
  many_t* many;
  size_t index;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  uvch_mpsc_send_t req;
  parcel_t parcel; /* of the request */
  int status; /* 1: not called yet */
  uv_thread_t thread;
} many_sender_t;

struct many_s {
  const many_case_t* params;
  size_t count;
  many_sender_t senders[SENDERS];
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uint32_t next[SENDERS];
  size_t received;
  size_t ends;
  size_t wrong;
  support_result_t result;
};

static void many_on_send(uvch_mpsc_send_t* req, int status) {
  many_sender_t* self = req->data;

  support_expect_eq(&self->many->result, self->status, 1);
  self->status = status;
}

static int many_request_once(many_sender_t* self, const parcel_t* parcel, bool give_up) {
  int err;

  self->parcel = *parcel;
  self->status = 1;
  self->req.data = self;
  err = uvch_mpsc_send(&self->loop, &self->req, &self->tx, &self->parcel, many_on_send);
  if (err != 0) {
    return err;
  }
  if (give_up) {
    err = uvch_cancel((uvch_req_t*) &self->req);
    support_expect(&self->many->result, err == 0 || err == UV_EBUSY);
  }
  support_expect_eq(&self->many->result, uv_run(&self->loop, UV_RUN_DEFAULT), 0);
  support_expect(&self->many->result, self->status != UV_ECANCELED || (give_up && err == 0));
  return self->status;
}

/* Every third request is given up at once, if that is still possible, and made again. */
static int many_request(many_sender_t* self, const parcel_t* parcel) {
  int err = many_request_once(self, parcel, parcel->number % 3 == 0);

  return err == UV_ECANCELED ? many_request_once(self, parcel, false) : err;
}

static int many_send_as(many_sender_t* self, how_t how, const parcel_t* parcel) {
  uint64_t timeout = 20000;
  int err;

  switch (how) {
    case TRY:
      while ((err = uvch_mpsc_try_send(&self->tx, parcel)) == UV_EAGAIN) {
        nap();
      }
      return err;
    case WAIT:
      return uvch_mpsc_send_wait(&self->tx, parcel);
    case TIMED:
      do {
        err = uvch_mpsc_send_timedwait(&self->tx, parcel, timeout);
        timeout *= 2;
      } while (err == UV_ETIMEDOUT);
      return err;
    default:
      return many_request(self, parcel);
  }
}

static void many_work(void* arg) {
  many_sender_t* self = arg;
  support_result_t* result = &self->many->result;
  size_t number;

  for (number = 0; number < self->many->count; number++) {
    parcel_t parcel = parcel_make(self->index, number);
    how_t how = self->many->params->how == MIXED ? (how_t) ((self->index + number / 7) % 4) : self->many->params->how;

    if (!support_expect_eq(result, many_send_as(self, how, &parcel), 0)) {
      break;
    }
    atomic_fetch_add(&result->done, 1);
  }
  support_expect_eq(result, uvch_mpsc_sender_close(&self->tx), 0);
}

static void many_take(many_t* many, const void* item) {
  parcel_t parcel;

  memcpy(&parcel, item, sizeof(parcel));
  if (!parcel_is_sound(&parcel) || parcel.number != many->next[parcel.sender]) {
    many->wrong += 1;
  } else {
    many->next[parcel.sender] += 1;
  }
  many->received += 1;
}

static void many_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  many_t* many = rx->data;

  if (status == UV_EOF) {
    many->ends += 1;
    support_numbers_check(&many->result, rx, many->received);
    support_close(rx);
  } else {
    many_take(many, item);
  }
}

/* Takes with a short time limit now and then: a message that comes at that moment must not be lost. */
static void many_drain(many_t* many) {
  parcel_t parcel;
  size_t turn;
  int err;

  for (turn = 0; many->ends == 0; turn++) {
    if (turn % 3 == 0) {
      err = uvch_mpsc_recv_timedwait(&many->rx, &parcel, 10000);
    } else if (turn % 3 == 1) {
      err = uvch_mpsc_recv_wait(&many->rx, &parcel);
    } else {
      err = uvch_mpsc_try_recv(&many->rx, &parcel);
    }
    if (err == 0) {
      many_take(many, &parcel);
    } else if (err == UV_EOF) {
      many->ends += 1;
    } else {
      ck_assert_int_eq(err, turn % 3 == 0 ? UV_ETIMEDOUT : UV_EAGAIN);
    }
  }
  support_numbers_check(&many->result, &many->rx, many->received);
  support_close(&many->rx);
}

START_TEST(sixteen_senders_each_message_once_and_in_order) {
  static many_t many;
  uvch_mpsc_sender_t tx;
  size_t i;

  memset(&many, 0, sizeof(many));
  many.params = &many_cases[_i];
  many.count = support_scale(many.params->count);
  if (many.params->on_loop) {
    support_loop_init(&many.loop);
  }
  ck_assert_int_eq(
      uvch_mpsc_init(many.params->on_loop ? &many.loop : NULL, &many.rx, &tx, sizeof(parcel_t), many.params->capacity), 0);
  many.rx.data = &many;
  for (i = 0; i < SENDERS; i++) {
    many.senders[i].many = &many;
    many.senders[i].index = i;
    ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &many.senders[i].tx), 0);
    support_loop_init(&many.senders[i].loop);
    support_spawn(&many.senders[i].thread, many_work, &many.senders[i]);
  }
  ck_assert_int_eq(uvch_mpsc_sender_close(&tx), 0);
  if (many.params->on_loop) {
    ck_assert_int_eq(uvch_mpsc_recv_start(&many.rx, many_on_recv), 0);
    support_loop_end(&many.loop);
  } else {
    many_drain(&many);
  }
  for (i = 0; i < SENDERS; i++) {
    support_join(&many.senders[i].thread);
    support_loop_close(&many.senders[i].loop);
    ck_assert_msg(many.next[i] == many.count, "%s: sender %zu: %u messages in order", many.params->name, i, many.next[i]);
  }
  support_result_check(&many.result);
  ck_assert_uint_eq(many.wrong, 0);
  ck_assert_uint_eq(many.received, many.count * SENDERS);
  ck_assert_uint_eq(many.ends, 1);
}
END_TEST

/* Sixty-four threads sleep, one after the other, for the same place. The first round is served as they came, nobody is passed by
 * one who comes again, and all of them get on to their end. */

#define CROWD 64

typedef struct crowd_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint32_t count;
  uint32_t got[CROWD];
  size_t received;
  size_t passed; /* messages of the first round that came out of turn */
  size_t wrong;
  support_result_t result;
} crowd_t;

typedef struct crowd_sender_s {
  crowd_t* crowd;
  uvch_mpsc_sender_t tx;
  uint32_t index;
  _Atomic(long) number;
  uv_thread_t thread;
} crowd_sender_t;

static void crowd_work(void* arg) {
  crowd_sender_t* self = arg;
  support_result_t* result = &self->crowd->result;
  uint32_t message[2];

  message[0] = self->index;
  atomic_store(&self->number, support_thread_number());
  for (message[1] = 0; message[1] < self->crowd->count; message[1]++) {
    support_expect_eq(result, uvch_mpsc_send_wait(&self->tx, message), 0);
  }
  support_expect_eq(result, uvch_mpsc_sender_close(&self->tx), 0);
}

static void crowd_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  crowd_t* crowd = rx->data;
  uint32_t message[2];

  if (status == UV_EOF) {
    support_numbers_check(&crowd->result, rx, crowd->received + 1);
    support_close(rx);
    return;
  }
  memcpy(message, item, sizeof(message));
  if (message[0] >= CROWD) { /* the one that filled the channel */
    crowd->wrong += crowd->received != 0;
    return;
  }
  crowd->passed += crowd->received < CROWD && crowd->received != message[0];
  crowd->wrong += crowd->got[message[0]] != message[1];
  crowd->got[message[0]] += 1;
  crowd->received += 1;
}

START_TEST(sixty_four_blocked_senders_are_served_in_turn) {
  static crowd_sender_t senders[CROWD];
  uint32_t filler[2] = {CROWD, 0};
  static crowd_t crowd;
  size_t i;

  memset(&crowd, 0, sizeof(crowd));
  memset(senders, 0, sizeof(senders));
  crowd.count = (uint32_t) support_scale(200);
  support_loop_init(&crowd.loop);
  ck_assert_int_eq(uvch_mpsc_init(&crowd.loop, &crowd.rx, &crowd.tx, sizeof(filler), 1), 0);
  crowd.rx.data = &crowd;
  ck_assert_int_eq(uvch_mpsc_try_send(&crowd.tx, filler), 0);
  for (i = 0; i < CROWD; i++) {
    senders[i].crowd = &crowd;
    senders[i].index = (uint32_t) i;
    ck_assert_int_eq(uvch_mpsc_sender_clone(&crowd.tx, &senders[i].tx), 0);
    support_spawn(&senders[i].thread, crowd_work, &senders[i]);
    support_until_blocked(&senders[i].number);
  }
  ck_assert_int_eq(uvch_mpsc_sender_close(&crowd.tx), 0);
  ck_assert_int_eq(uvch_mpsc_recv_start(&crowd.rx, crowd_on_recv), 0);
  support_loop_end(&crowd.loop);
  for (i = 0; i < CROWD; i++) {
    support_join(&senders[i].thread);
    ck_assert_uint_eq(crowd.got[i], crowd.count);
  }
  support_result_check(&crowd.result);
  ck_assert_uint_eq(crowd.wrong, 0);
  ck_assert_uint_eq(crowd.passed, 0);
}
END_TEST

/* A ring of loops, each in its thread: tokens go round until their hops are used up. Who gets the last one closes the sender to
 * its neighbour, and the end goes round once as well. */

#define RING 5
#define TOKENS 12

typedef struct ring_s ring_t;

typedef struct token_s {
  uint64_t id;
  uint64_t hops;
} token_t;

typedef struct pass_s {
  uvch_mpsc_send_t req;
  token_t token;
} pass_t;

typedef struct station_s {
  ring_t* ring;
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t next;
  bool next_closed;
  size_t hops;
  size_t waiting; /* requests on their way */
  size_t ends;
  support_runner_t runner;
} station_t;

struct ring_s {
  station_t stations[RING];
  _Atomic(size_t) left;
  support_result_t result;
};

static void station_let_go(station_t* station) {
  if (!station->next_closed) {
    station->next_closed = true;
    support_expect_eq(&station->ring->result, uvch_mpsc_sender_close(&station->next), 0);
  }
}

static void station_on_sent(uvch_mpsc_send_t* req, int status) {
  pass_t* pass = req->data;
  station_t* station = pass->req.loop->data;

  support_expect_eq(&station->ring->result, status, 0);
  station->waiting -= 1;
  free(pass);
}

static void station_pass_on(station_t* station, const token_t* token) {
  pass_t* pass;

  if (token->id % 2 == 0 && uvch_mpsc_try_send(&station->next, token) == 0) {
    return;
  }
  pass = malloc(sizeof(*pass));
  if (!support_expect(&station->ring->result, pass != NULL)) {
    return;
  }
  pass->req.data = pass;
  pass->token = *token;
  station->waiting += 1;
  support_expect_eq(&station->ring->result,
                    uvch_mpsc_send(&station->loop, &pass->req, &station->next, &pass->token, station_on_sent), 0);
}

static void station_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  station_t* station = rx->data;
  token_t token;

  if (status == UV_EOF) {
    station->ends += 1;
    support_numbers_check(&station->ring->result, rx, station->hops);
    station_let_go(station);
    support_expect_eq(&station->ring->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
    return;
  }
  memcpy(&token, item, sizeof(token));
  station->hops += 1;
  if (--token.hops > 0) {
    station_pass_on(station, &token);
  } else if (atomic_fetch_sub(&station->ring->left, 1) == 1) {
    station_let_go(station);
  }
}

START_TEST(tokens_go_round_a_ring_of_loops) {
  static const size_t capacities[] = {3, 16, UVCH_UNBOUNDED};
  uint64_t hops = support_scale(8000);
  static ring_t ring;
  size_t total = 0;
  token_t token;
  size_t i;

  memset(&ring, 0, sizeof(ring));
  atomic_store(&ring.left, TOKENS);
  for (i = 0; i < RING; i++) {
    station_t* station = &ring.stations[i];
    station_t* before = &ring.stations[(i + RING - 1) % RING];

    station->ring = &ring;
    support_loop_init(&station->loop);
    station->loop.data = station;
    ck_assert_int_eq(uvch_mpsc_init(&station->loop, &station->rx, &before->next, sizeof(token_t), capacities[_i]), 0);
    station->rx.data = station;
    ck_assert_int_eq(uvch_mpsc_recv_start(&station->rx, station_on_recv), 0);
  }
  for (i = 0; i < TOKENS; i++) {
    token.id = i;
    token.hops = hops + i;
    total += token.hops;
    ck_assert_int_eq(uvch_mpsc_try_send(&ring.stations[i % RING].next, &token), 0);
  }
  for (i = 0; i < RING; i++) {
    support_runner_start(&ring.stations[i].runner, &ring.stations[i].loop);
  }
  for (i = 0; i < RING; i++) {
    support_runner_join(&ring.stations[i].runner);
    support_loop_close(&ring.stations[i].loop);
    ck_assert_uint_eq(ring.stations[i].ends, 1);
    ck_assert_uint_eq(ring.stations[i].waiting, 0);
    total -= ring.stations[i].hops;
  }
  support_result_check(&ring.result);
  ck_assert_uint_eq(total, 0);
}
END_TEST

/* Ten loops feed one slow loop of capacity 1, only by requests; nobody waits in a call. */

#define FEEDERS 10
#define FEEDER_REQS 3

typedef struct feeder_s feeder_t;

typedef struct portion_s {
  feeder_t* feeder;
  uvch_mpsc_send_t req;
  uint32_t message[2];
} portion_t;

struct feeder_s {
  uv_loop_t loop;
  uvch_mpsc_sender_t tx;
  portion_t portions[FEEDER_REQS];
  uint32_t index;
  uint32_t next;
  uint32_t count;
  size_t open;
  support_result_t* result;
  support_runner_t runner;
};

typedef struct slow_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uint32_t got[FEEDERS];
  size_t received;
  size_t wrong;
  size_t ends;
  support_result_t* result;
} slow_t;

static void slow_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  slow_t* slow = rx->data;
  volatile unsigned int pause;
  uint32_t message[2];

  if (status == UV_EOF) {
    slow->ends += 1;
    support_numbers_check(slow->result, rx, slow->received);
    support_close(rx);
    return;
  }
  memcpy(message, item, sizeof(message));
  slow->received += 1;
  slow->wrong += message[0] >= FEEDERS || slow->got[message[0] % FEEDERS] != message[1];
  slow->got[message[0] % FEEDERS] += 1;
  for (pause = 2000; pause > 0; pause--) {
  }
}

static void feeder_on_sent(uvch_mpsc_send_t* req, int status);

static void feeder_send(portion_t* portion) {
  feeder_t* feeder = portion->feeder;

  portion->message[0] = feeder->index;
  portion->message[1] = feeder->next++;
  support_expect_eq(feeder->result,
                    uvch_mpsc_send(&feeder->loop, &portion->req, &feeder->tx, portion->message, feeder_on_sent), 0);
}

static void feeder_on_sent(uvch_mpsc_send_t* req, int status) {
  portion_t* portion = req->data;
  feeder_t* feeder = portion->feeder;

  support_expect_eq(feeder->result, status, 0);
  if (feeder->next < feeder->count) {
    feeder_send(portion);
  } else if (--feeder->open == 0) {
    support_expect_eq(feeder->result, uvch_mpsc_sender_close(&feeder->tx), 0);
  }
}

START_TEST(ten_loops_feed_one_slow_loop_of_capacity_1) {
  static feeder_t feeders[FEEDERS];
  uvch_mpsc_sender_t tx;
  support_result_t result;
  static slow_t slow;
  size_t i;
  size_t k;

  memset(&slow, 0, sizeof(slow));
  memset(&result, 0, sizeof(result));
  memset(feeders, 0, sizeof(feeders));
  support_loop_init(&slow.loop);
  ck_assert_int_eq(uvch_mpsc_init(&slow.loop, &slow.rx, &tx, 8, 1), 0);
  slow.rx.data = &slow;
  slow.result = &result;
  ck_assert_int_eq(uvch_mpsc_recv_start(&slow.rx, slow_on_recv), 0);
  for (i = 0; i < FEEDERS; i++) {
    feeders[i].index = (uint32_t) i;
    feeders[i].count = (uint32_t) support_scale(1500);
    feeders[i].open = FEEDER_REQS;
    feeders[i].result = &result;
    support_loop_init(&feeders[i].loop);
    ck_assert_int_eq(uvch_mpsc_sender_clone(&tx, &feeders[i].tx), 0);
    for (k = 0; k < FEEDER_REQS; k++) {
      feeders[i].portions[k].feeder = &feeders[i];
      feeders[i].portions[k].req.data = &feeders[i].portions[k];
      feeder_send(&feeders[i].portions[k]);
    }
    support_runner_start(&feeders[i].runner, &feeders[i].loop);
  }
  ck_assert_int_eq(uvch_mpsc_sender_close(&tx), 0);
  support_loop_end(&slow.loop);
  for (i = 0; i < FEEDERS; i++) {
    support_runner_join(&feeders[i].runner);
    support_loop_close(&feeders[i].loop);
    ck_assert_uint_eq(slow.got[i], feeders[i].next);
  }
  support_result_check(&result);
  ck_assert_uint_eq(slow.wrong, 0);
  ck_assert_uint_eq(slow.ends, 1);
}
END_TEST

/* Channels are made, joined up and closed at random by eight threads. Each has a mailbox in which the others put senders; it
 * sends through what it holds, receives from what it owns, on its loop or without. In the end every message that was taken must
 * have been delivered or dropped. */

#define RANDOM_THREADS 8
#define HELD 12
#define OWNED 6

typedef struct chaos_s {
  uvch_mpsc_sender_t mailboxes[RANDOM_THREADS];
  _Atomic(size_t) accepted;
  _Atomic(size_t) delivered;
  _Atomic(size_t) dropped;
  _Atomic(size_t) carried; /* senders that went through a mailbox */
  _Atomic(size_t) closed_on_the_way;
  support_latch_t ready;
  support_result_t result;
} chaos_t;

typedef struct owned_s {
  uvch_mpsc_receiver_t rx; /* first, so that the handle is the thing */
  bool on_loop;
} owned_t;

typedef struct worker_s {
  chaos_t* chaos;
  size_t index;
  size_t steps;
  uint64_t random;
  uv_loop_t loop;
  uvch_mpsc_receiver_t mailbox;
  uvch_mpsc_sender_t held[HELD];
  size_t held_count;
  owned_t* owned[OWNED];
  size_t owned_count;
  size_t requests;
  uv_thread_t thread;
} worker_t;

typedef struct errand_s {
  uvch_mpsc_send_t req;
  uint64_t value;
  worker_t* worker;
} errand_t;

static size_t worker_random(worker_t* worker, size_t n) {
  worker->random ^= worker->random << 13;
  worker->random ^= worker->random >> 7;
  worker->random ^= worker->random << 17;
  return (size_t) (worker->random % n);
}

static void chaos_on_drop(void* item, void* arg) {
  chaos_t* chaos = arg;

  (void) item;
  atomic_fetch_add(&chaos->dropped, 1);
}

static void chaos_on_mail_drop(void* item, void* arg) {
  chaos_t* chaos = arg;
  uvch_mpsc_sender_t tx;

  memcpy(&tx, item, sizeof(tx));
  support_expect_eq(&chaos->result, uvch_mpsc_sender_close(&tx), 0);
  atomic_fetch_add(&chaos->closed_on_the_way, 1);
}

static void owned_on_close(uvch_handle_t* handle) {
  memset(handle, 0xdd, sizeof(owned_t));
  free(handle);
}

static void owned_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  worker_t* worker = rx->data;

  (void) item;
  if (status == 0) {
    atomic_fetch_add(&worker->chaos->delivered, 1);
  } else {
    support_expect_eq(&worker->chaos->result, status, UV_EOF);
  }
}

static void worker_make(worker_t* worker) {
  static const size_t capacities[] = {1, 2, 16, UVCH_UNBOUNDED};
  chaos_t* chaos = worker->chaos;
  uvch_mpsc_options_t options;
  uvch_mpsc_sender_t tx;
  owned_t* owned;

  if (worker->owned_count == OWNED || worker->held_count == HELD) {
    return;
  }
  owned = malloc(sizeof(*owned));
  if (!support_expect(&chaos->result, owned != NULL)) {
    return;
  }
  memset(owned, 0, sizeof(*owned));
  memset(&options, 0, sizeof(options));
  options.drop = chaos_on_drop;
  options.arg = chaos;
  options.flags = worker_random(worker, 4) == 0 ? UVCH_PREALLOCATE : 0;
  owned->on_loop = worker_random(worker, 2) == 0;
  if (!support_expect_eq(&chaos->result,
                         uvch_mpsc_init_ex(owned->on_loop ? &worker->loop : NULL, &owned->rx, &tx, sizeof(uint64_t),
                                           capacities[worker_random(worker, 4)], &options),
                         0)) {
    free(owned);
    return;
  }
  owned->rx.data = worker;
  if (owned->on_loop) {
    support_expect_eq(&chaos->result, uvch_mpsc_recv_start(&owned->rx, owned_on_recv), 0);
  }
  worker->owned[worker->owned_count++] = owned;
  worker->held[worker->held_count++] = tx;
}

static void worker_close_owned(worker_t* worker, size_t which) {
  owned_t* owned = worker->owned[which];
  int err = uvch_close((uvch_handle_t*) &owned->rx, owned->on_loop ? owned_on_close : NULL);

  support_expect_eq(&worker->chaos->result, err, 0);
  if (!owned->on_loop) {
    owned_on_close((uvch_handle_t*) &owned->rx);
  }
  worker->owned[which] = worker->owned[--worker->owned_count];
}

static void worker_close_held(worker_t* worker, size_t which) {
  support_expect_eq(&worker->chaos->result, uvch_mpsc_sender_close(&worker->held[which]), 0);
  worker->held[which] = worker->held[--worker->held_count];
}

static void worker_send(worker_t* worker) {
  uint64_t value = worker->random;
  size_t burst = 1 + worker_random(worker, 5);
  const uvch_mpsc_sender_t* tx;
  int err;

  if (worker->held_count == 0) {
    return;
  }
  tx = &worker->held[worker_random(worker, worker->held_count)];
  while (burst-- > 0 && uvch_mpsc_sender_len(tx) < 1000) {
    err = worker_random(worker, 4) == 0 ? uvch_mpsc_send_timedwait(tx, &value, 2000) : uvch_mpsc_try_send(tx, &value);
    if (err == 0) {
      atomic_fetch_add(&worker->chaos->accepted, 1);
    } else {
      support_expect(&worker->chaos->result, err == UV_EAGAIN || err == UV_ETIMEDOUT || err == UV_EPIPE || err == UV_EPERM);
    }
  }
}

static void errand_done(uvch_mpsc_send_t* req, int status) {
  errand_t* errand = req->data;

  if (status == 0) {
    atomic_fetch_add(&errand->worker->chaos->accepted, 1);
  } else {
    support_expect(&errand->worker->chaos->result, status == UV_EPIPE || status == UV_ECANCELED);
  }
  errand->worker->requests -= 1;
  free(errand);
}

static void worker_request(worker_t* worker) {
  errand_t* errand;
  int err;

  if (worker->held_count == 0 || worker->requests > 20) {
    return;
  }
  errand = malloc(sizeof(*errand));
  if (!support_expect(&worker->chaos->result, errand != NULL)) {
    return;
  }
  errand->req.data = errand;
  errand->value = worker->random;
  errand->worker = worker;
  worker->requests += 1;
  err = uvch_mpsc_send(&worker->loop, &errand->req, &worker->held[worker_random(worker, worker->held_count)], &errand->value,
                       errand_done);
  if (err != 0) {
    support_expect_eq(&worker->chaos->result, err, UV_EPIPE);
    worker->requests -= 1;
    free(errand);
  } else if (worker_random(worker, 3) == 0) {
    err = uvch_cancel((uvch_req_t*) &errand->req);
    support_expect(&worker->chaos->result, err == 0 || err == UV_EBUSY);
  }
}

static void worker_receive(worker_t* worker) {
  uint64_t value;
  owned_t* owned;
  int err;

  if (worker->owned_count == 0) {
    return;
  }
  owned = worker->owned[worker_random(worker, worker->owned_count)];
  if (!owned->on_loop && worker_random(worker, 8) == 0) {
    support_expect_eq(&worker->chaos->result, uvch_attach(&worker->loop, (uvch_handle_t*) &owned->rx), 0);
    support_expect_eq(&worker->chaos->result, uvch_mpsc_recv_start(&owned->rx, owned_on_recv), 0);
    owned->on_loop = true;
    return;
  }
  err = owned->on_loop || worker_random(worker, 2) == 0 ? uvch_mpsc_try_recv(&owned->rx, &value)
                                                        : uvch_mpsc_recv_timedwait(&owned->rx, &value, 2000);
  if (err == 0) {
    atomic_fetch_add(&worker->chaos->delivered, 1);
  } else {
    support_expect(&worker->chaos->result, err == UV_EAGAIN || err == UV_ETIMEDOUT || err == UV_EOF);
  }
}

static void worker_give(worker_t* worker) {
  const uvch_mpsc_sender_t* mailbox = &worker->chaos->mailboxes[worker_random(worker, RANDOM_THREADS)];
  uvch_mpsc_sender_t copy;
  int err;

  if (worker->held_count == 0) {
    return;
  }
  err = uvch_mpsc_sender_clone(&worker->held[worker_random(worker, worker->held_count)], &copy);
  if (!support_expect_eq(&worker->chaos->result, err, 0)) {
    return;
  }
  err = uvch_mpsc_try_send(mailbox, &copy);
  if (err == 0) {
    atomic_fetch_add(&worker->chaos->carried, 1);
  } else {
    support_expect(&worker->chaos->result, err == UV_EAGAIN || err == UV_EPIPE);
    support_expect_eq(&worker->chaos->result, uvch_mpsc_sender_close(&copy), 0);
  }
}

static void worker_take(worker_t* worker) {
  if (worker->held_count == HELD) {
    worker_close_held(worker, worker_random(worker, HELD));
  }
  if (uvch_mpsc_try_recv(&worker->mailbox, &worker->held[worker->held_count]) == 0) {
    worker->held_count += 1;
  }
}

static void worker_step(worker_t* worker) {
  size_t what = worker_random(worker, 100);

  if (what < 8) {
    worker_make(worker);
  } else if (what < 38) {
    worker_send(worker);
  } else if (what < 48) {
    worker_request(worker);
  } else if (what < 68) {
    worker_receive(worker);
  } else if (what < 78) {
    worker_give(worker);
  } else if (what < 86) {
    worker_take(worker);
  } else if (what < 90 && worker->held_count > 0) {
    worker_close_held(worker, worker_random(worker, worker->held_count));
  } else if (what < 92 && worker->owned_count > 0) {
    worker_close_owned(worker, worker_random(worker, worker->owned_count));
  } else if (what < 93 && worker->owned_count > 0) {
    owned_t* owned = worker->owned[worker_random(worker, worker->owned_count)];

    support_expect_eq(&worker->chaos->result, uvch_mpsc_recv_shutdown(&owned->rx), 0);
  } else {
    uv_run(&worker->loop, UV_RUN_NOWAIT);
  }
}

static void worker_run(void* arg) {
  worker_t* worker = arg;

  support_latch_arrive(&worker->chaos->ready);
  support_latch_wait(&worker->chaos->ready);
  while (worker->steps-- > 0) {
    worker_step(worker);
  }
  support_expect_eq(&worker->chaos->result, uvch_close((uvch_handle_t*) &worker->mailbox, NULL), 0);
  while (worker->owned_count > 0) {
    worker_close_owned(worker, 0);
  }
  while (worker->held_count > 0) {
    worker_close_held(worker, 0);
  }
  support_expect_eq(&worker->chaos->result, uv_run(&worker->loop, UV_RUN_DEFAULT), 0);
  support_expect_eq(&worker->chaos->result, worker->requests, 0);
}

START_TEST(eight_threads_open_join_and_close_channels_at_random) {
  static worker_t workers[RANDOM_THREADS];
  uvch_mpsc_options_t options;
  static chaos_t chaos;
  size_t i;

  memset(&chaos, 0, sizeof(chaos));
  memset(workers, 0, sizeof(workers));
  memset(&options, 0, sizeof(options));
  options.drop = chaos_on_mail_drop;
  options.arg = &chaos;
  support_latch_init(&chaos.ready, RANDOM_THREADS);
  for (i = 0; i < RANDOM_THREADS; i++) {
    workers[i].chaos = &chaos;
    workers[i].index = i;
    workers[i].steps = support_scale(50000);
    workers[i].random = UINT64_C(0x9e3779b97f4a7c15) * (i + 1 + 100 * (size_t) _i);
    support_loop_init(&workers[i].loop);
    ck_assert_int_eq(
        uvch_mpsc_init_ex(NULL, &workers[i].mailbox, &chaos.mailboxes[i], sizeof(uvch_mpsc_sender_t), 32, &options), 0);
  }
  for (i = 0; i < RANDOM_THREADS; i++) {
    support_spawn(&workers[i].thread, worker_run, &workers[i]);
  }
  for (i = 0; i < RANDOM_THREADS; i++) {
    support_join(&workers[i].thread);
    support_loop_close(&workers[i].loop);
  }
  for (i = 0; i < RANDOM_THREADS; i++) {
    ck_assert_int_eq(uvch_mpsc_sender_close(&chaos.mailboxes[i]), 0);
  }
  support_latch_destroy(&chaos.ready);
  support_result_check(&chaos.result);
  ck_assert_uint_gt(atomic_load(&chaos.accepted), 0);
  ck_assert_uint_gt(atomic_load(&chaos.carried), 0);
  ck_assert_uint_eq(atomic_load(&chaos.delivered) + atomic_load(&chaos.dropped), atomic_load(&chaos.accepted));
}
END_TEST

int main(void) {
  Suite* suite = suite_create("stress");
  TCase* many = support_case(suite, "many");
  TCase* loops = support_case(suite, "loops");
  TCase* chaos = support_case(suite, "chaos");

  tcase_add_loop_test(many, sixteen_senders_each_message_once_and_in_order, 0,
                      (int) (sizeof(many_cases) / sizeof(many_cases[0])));
  tcase_add_test(many, sixty_four_blocked_senders_are_served_in_turn);
  tcase_add_loop_test(loops, tokens_go_round_a_ring_of_loops, 0, 3);
  tcase_add_test(loops, ten_loops_feed_one_slow_loop_of_capacity_1);
  tcase_add_loop_test(chaos, eight_threads_open_join_and_close_channels_at_random, 0, 3);
  return support_main(suite);
}
