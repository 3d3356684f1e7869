/* SPDX-License-Identifier: MIT
 *
 * Broadcast between threads. Whoever subscribes, reads, stops, and leaves while others send: there is one order, each receiver
 * has its part of it without a hole that it was not told of, no message is torn, none is dropped twice or never, and nobody
 * sleeps on. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <limits.h>
#include <time.h>

#include "broadcast.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOT_DONE = INT_MIN }; /* no status is that low */

static const uvch_broadcast_policy policies[] = {UVCH_BROADCAST_LAG, UVCH_BROADCAST_WAIT, UVCH_BROADCAST_DISCONNECT};

#define POLICY (policies[(size_t) _i % COUNT(policies)])
#define CHOICE ((size_t) _i / COUNT(policies))
#define add_for_every_policy(tcase, test, choices) tcase_add_loop_test(tcase, test, 0, (int) (COUNT(policies) * (choices)))

static uint64_t draw(uint64_t* random, uint64_t below) {
  *random = *random * 6364136223846793005u + 1442695040888963407u;
  return (*random >> 33) % below;
}

static void dawdle(uint64_t turns) {
  volatile uint64_t n = turns;

  while (n > 0) {
    n -= 1;
  }
}

/* Away for a moment: threads that only yield pass the processor round among themselves. */
static void nap(void) {
  struct timespec time = {0, 50000};

  (void) nanosleep(&time, NULL);
}

/* The fair: senders call out numbered messages, visitors on threads and guests on loops come, listen for a while and go. Each
 * visit keeps what it heard, and how many there were before since it came; in the end all visits are laid over each other. */

enum { SENDERS_MAX = 8, VISITORS = 3, HALLS = 2, PLACES = 3, ITEM_MAX = 1000, BURST = 5, REFUSED = 17 };

typedef struct fair_case_s {
  uvch_broadcast_policy policy;
  size_t capacity;
  size_t size;
  bool owned; /* messages have a block of memory, so copy and drop functions */
  size_t senders;
  size_t each; /* messages of each sender */
} fair_case_t;

static const fair_case_t fair_cases[] = {
    {UVCH_BROADCAST_LAG, 1, 8, false, 8, 2500},           {UVCH_BROADCAST_LAG, 2, 24, false, 8, 2500},
    {UVCH_BROADCAST_LAG, 3, 200, false, 8, 2000},         {UVCH_BROADCAST_LAG, 1, 1000, false, 8, 1500},
    {UVCH_BROADCAST_LAG, 1000, 24, false, 8, 2500},       {UVCH_BROADCAST_LAG, 1000, 1000, false, 1, 6000},
    {UVCH_BROADCAST_LAG, 3, 8, false, 1, 10000},          {UVCH_BROADCAST_LAG, 1, 8, true, 8, 2000},
    {UVCH_BROADCAST_LAG, 3, 24, true, 8, 2000},           {UVCH_BROADCAST_LAG, 1000, 200, true, 8, 1500},
    {UVCH_BROADCAST_WAIT, 1, 8, false, 8, 120},           {UVCH_BROADCAST_WAIT, 2, 1000, false, 8, 200},
    {UVCH_BROADCAST_WAIT, 3, 24, false, 1, 1200},         {UVCH_BROADCAST_WAIT, 1000, 200, false, 8, 1500},
    {UVCH_BROADCAST_WAIT, 1, 24, true, 1, 800},           {UVCH_BROADCAST_WAIT, 3, 8, true, 8, 200},
    {UVCH_BROADCAST_WAIT, 1000, 8, true, 8, 1500},        {UVCH_BROADCAST_DISCONNECT, 1, 8, false, 8, 2500},
    {UVCH_BROADCAST_DISCONNECT, 3, 200, false, 8, 2000},  {UVCH_BROADCAST_DISCONNECT, 1000, 24, false, 8, 2500},
    {UVCH_BROADCAST_DISCONNECT, 2, 1000, false, 1, 6000}, {UVCH_BROADCAST_DISCONNECT, 3, 8, true, 8, 2000},
    {UVCH_BROADCAST_DISCONNECT, 1000, 24, true, 8, 1500},
};

typedef struct heard_s {
  uint32_t id;
  uint32_t place; /* of the message among those since the visit began */
} heard_t;

typedef struct visit_s visit_t;

struct visit_s {
  visit_t* next;
  heard_t* heard;
  size_t count;
  size_t room;
  uint64_t places; /* messages, gaps, and copies that failed */
  bool from_start;
  int end;                           /* 0: it left */
  uint32_t done_before[SENDERS_MAX]; /* sends that were over when it came */
  uint32_t begun_after[SENDERS_MAX]; /* those that had begun once it was there */
  uint64_t offset;
  bool placed;
};

typedef struct fair_s fair_t;

typedef struct caller_s {
  fair_t* fair;
  uvch_broadcast_sender_t tx;
  uint32_t index;
  uint32_t next;
  _Atomic(uint32_t) begun;
  _Atomic(uint32_t) done;
  uint64_t items[BURST][ITEM_MAX / 8];
  uint64_t random;
  uv_loop_t loop;
  uv_timer_t again;
  uvch_broadcast_send_t req;
  bool cancelled;
  uv_thread_t thread;
} caller_t;

typedef struct visitor_s {
  fair_t* fair;
  uvch_broadcast_weak_sender_t weak;
  uvch_broadcast_receiver_t receivers[2];
  uvch_broadcast_receiver_t* rx; /* the one of them that is in use */
  visit_t* visits;
  uint64_t random;
  bool stays;
  uv_thread_t thread;
} visitor_t;

typedef struct guest_s guest_t;

typedef struct hall_s {
  fair_t* fair;
  uvch_broadcast_weak_sender_t weak;
  uv_loop_t loop;
  uv_timer_t again; /* starts those that stopped */
  visit_t* visits;
  guest_t* stopped;
  size_t places;
  int depth;
  uint64_t random;
  uv_thread_t thread;
} hall_t;

struct guest_s {
  uvch_broadcast_receiver_t rx; /* first, so that the handle is the guest */
  hall_t* hall;
  visit_t* visit;
  guest_t* next_stopped;
  size_t left; /* messages until it goes */
  bool stays;
  bool by_many;
};

/* Of each message. */
typedef struct mark_s {
  _Atomic(unsigned char) dropped;
} mark_t;

struct fair_s {
  fair_case_t params;
  bool anchored; /* somebody is there from the beginning to the end */
  caller_t callers[SENDERS_MAX];
  visitor_t visitors[VISITORS];
  hall_t halls[HALLS];
  mark_t* marks;
  _Atomic(size_t) copies;
  support_result_t result;
};

/* Messages. The first word is the number of the message with a sum over it, or points to a block with that; the others follow
 * from it. */

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15) + 1;
  x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
  return x ^ x >> 32;
}

static uint64_t tag_of(uint32_t id) {
  return (uint64_t) id << 32 | (uint32_t) (mix(id) >> 20);
}

static bool item_make(const fair_t* fair, uint64_t* words, uint32_t id) {
  uint64_t tag = tag_of(id);
  uint64_t* block;
  size_t i;

  words[0] = tag;
  if (fair->params.owned) {
    block = malloc(sizeof(*block));
    if (block == NULL) {
      return false;
    }
    *block = tag;
    memcpy(words, &block, sizeof(block));
  }
  for (i = 1; i < fair->params.size / 8; i++) {
    words[i] = mix(tag + i);
  }
  return true;
}

static uint64_t* item_block(const uint64_t* words) {
  uint64_t* block;

  memcpy(&block, words, sizeof(block));
  return block;
}

static void item_end(const fair_t* fair, const uint64_t* words) {
  if (fair->params.owned) {
    free(item_block(words));
  }
}

/* The number of a message that is whole, UINT32_MAX for any other. */
static uint32_t item_read(const fair_t* fair, const void* item) {
  const uint64_t* words = item;
  uint64_t tag = fair->params.owned ? *item_block(words) : words[0];
  uint32_t id = (uint32_t) (tag >> 32);
  size_t i;

  if ((uintptr_t) item % sizeof(uint64_t) != 0 || tag != tag_of(id) || id >= fair->params.senders * fair->params.each) {
    return UINT32_MAX;
  }
  for (i = 1; i < fair->params.size / 8; i++) {
    if (words[i] != mix(tag + i)) {
      return UINT32_MAX;
    }
  }
  return id;
}

static bool copy_fails(uint32_t id) {
  return id % REFUSED == 3;
}

static int fair_copy(void* to, const void* from, void* arg) {
  fair_t* fair = arg;
  uint32_t id = item_read(fair, from);

  if (!support_expect(&fair->result, id != UINT32_MAX) || copy_fails(id)) {
    return UV_ENOBUFS;
  }
  if (!item_make(fair, to, id)) {
    return UV_ENOMEM;
  }
  atomic_fetch_add(&fair->copies, 1);
  return 0;
}

static void fair_drop(void* item, void* arg) {
  fair_t* fair = arg;
  uint32_t id = item_read(fair, item);

  if (support_expect(&fair->result, id != UINT32_MAX)) {
    support_expect_eq(&fair->result, atomic_fetch_add(&fair->marks[id].dropped, 1), 0);
    item_end(fair, item);
  }
}

/* Senders. */

static void caller_make(caller_t* self, size_t count) {
  size_t size = self->fair->params.size;
  size_t i;

  for (i = 0; i < count; i++) {
    uint64_t* words = (uint64_t*) (void*) ((char*) self->items + i * size);

    support_expect(&self->fair->result,
                   item_make(self->fair, words, self->index * (uint32_t) self->fair->params.each + self->next + (uint32_t) i));
  }
  atomic_store(&self->begun, self->next + (uint32_t) count);
}

/* What became of `count` messages that were made; all that were not taken are made again. */
static void caller_made(caller_t* self, size_t count, size_t taken) {
  size_t i;

  for (i = taken; i < count; i++) {
    item_end(self->fair, (const uint64_t*) (void*) ((char*) self->items + i * self->fair->params.size));
  }
  self->next += (uint32_t) taken;
  atomic_store(&self->done, self->next);
}

static size_t caller_left(const caller_t* self) {
  return self->fair->params.each - self->next;
}

static void caller_refused(caller_t* self, int answer) {
  bool full = answer == UV_EAGAIN || answer == UV_ETIMEDOUT;

  support_expect(&self->fair->result,
                 full ? self->fair->params.policy == UVCH_BROADCAST_WAIT : answer == UV_EPIPE && !self->fair->anchored);
}

static int caller_try(caller_t* self, bool many) {
  size_t count = many ? 1 + draw(&self->random, BURST) : 1;
  int r;

  count = count < caller_left(self) ? count : caller_left(self);
  caller_make(self, count);
  if (many) {
    r = uvch_broadcast_send_many(&self->tx, self->items, count);
    support_expect(&self->fair->result, r <= (int) count && r != 0);
  } else {
    r = draw(&self->random, 2) == 0 ? uvch_broadcast_send(&self->tx, self->items)
                                    : uvch_broadcast_send_timedwait(&self->tx, self->items, 0);
  }
  caller_made(self, count, r < 0 ? 0 : many ? (size_t) r : 1);
  if (r < 0) {
    caller_refused(self, r);
  }
  return r;
}

static void caller_wait(caller_t* self) {
  int r;

  caller_make(self, 1);
  r = draw(&self->random, 2) == 0 ? uvch_broadcast_send_wait(&self->tx, self->items)
                                  : uvch_broadcast_send_timedwait(&self->tx, self->items, draw(&self->random, 30000));
  caller_made(self, 1, r >= 1);
  if (r < 0) {
    caller_refused(self, r);
  }
  if (r == UV_EPIPE) {
    nap();
  }
}

static void caller_on_thread(void* arg) {
  caller_t* self = arg;
  bool waits = self->fair->params.policy == UVCH_BROADCAST_WAIT;

  while (caller_left(self) > 0) {
    if (!waits && draw(&self->random, 4) == 0) { /* nothing else lets receivers keep up */
      nap();
    }
    if (draw(&self->random, 3) == 0) {
      caller_wait(self);
    } else if (caller_try(self, draw(&self->random, 2) == 0) < 0) {
      nap();
    }
  }
  support_expect_eq(&self->fair->result, uvch_broadcast_sender_close(&self->tx), 0);
}

static void caller_go_on(caller_t* self);

static void caller_on_again(uv_timer_t* timer) {
  caller_go_on(timer->data);
}

static void caller_on_sent(uvch_broadcast_send_t* req, int status) {
  caller_t* self = req->data;

  support_expect_eq(&self->fair->result, status == UV_ECANCELED, self->cancelled);
  caller_made(self, 1, status >= 1);
  if (status < 0 && status != UV_ECANCELED) {
    caller_refused(self, status);
  }
  if (status == UV_EPIPE) {
    uv_timer_start(&self->again, caller_on_again, 1, 0);
  } else {
    caller_go_on(self);
  }
}

static void caller_request(caller_t* self) {
  int r;

  caller_make(self, 1);
  self->req.data = self;
  self->cancelled = false;
  r = uvch_broadcast_queue_send(&self->loop, &self->req, &self->tx, self->items, caller_on_sent);
  if (r < 0) {
    caller_made(self, 1, 0);
    caller_refused(self, r);
    uv_timer_start(&self->again, caller_on_again, 1, 0);
  } else if (draw(&self->random, 3) == 0) {
    dawdle(draw(&self->random, 2000));
    r = uvch_cancel((uvch_req_t*) &self->req);
    self->cancelled = r == 0;
    support_expect(&self->fair->result, r == 0 || r == UV_EBUSY);
  }
}

/* Some messages, then the loop has its turn. */
static void caller_go_on(caller_t* self) {
  int n;

  for (n = 0; n < 8 && caller_left(self) > 0; n++) {
    if (draw(&self->random, 4) == 0 || caller_try(self, draw(&self->random, 2) == 0) < 0) {
      caller_request(self);
      return;
    }
  }
  if (caller_left(self) > 0) {
    uv_timer_start(&self->again, caller_on_again, draw(&self->random, 2), 0);
  } else {
    support_expect_eq(&self->fair->result, uvch_broadcast_sender_close(&self->tx), 0);
    uv_close((uv_handle_t*) &self->again, NULL);
  }
}

static void caller_on_loop(void* arg) {
  caller_t* self = arg;

  caller_go_on(self);
  support_expect_eq(&self->fair->result, uv_run(&self->loop, UV_RUN_DEFAULT), 0);
}

/* Visits. */

static visit_t* visit_begin(fair_t* fair, visit_t** list) {
  visit_t* visit = calloc(1, sizeof(*visit));
  size_t i;

  if (!support_expect(&fair->result, visit != NULL)) {
    abort();
  }
  visit->next = *list;
  *list = visit;
  for (i = 0; i < fair->params.senders; i++) {
    visit->done_before[i] = atomic_load(&fair->callers[i].done);
  }
  return visit;
}

static void visit_begun(fair_t* fair, visit_t* visit) {
  size_t i;

  for (i = 0; i < fair->params.senders; i++) {
    visit->begun_after[i] = atomic_load(&fair->callers[i].begun);
  }
}

static void visit_hear(visit_t* visit, uint32_t id) {
  if (visit->count == visit->room) {
    visit->room = visit->room == 0 ? 64 : 2 * visit->room;
    visit->heard = realloc(visit->heard, visit->room * sizeof(heard_t));
    if (visit->heard == NULL) {
      abort();
    }
  }
  visit->heard[visit->count].id = id;
  visit->heard[visit->count].place = (uint32_t) visit->places;
  visit->count += 1;
  visit->places += 1;
}

static void visit_item(fair_t* fair, visit_t* visit, const void* item) {
  uint32_t id = item_read(fair, item);

  if (support_expect(&fair->result, id != UINT32_MAX)) {
    visit_hear(visit, id);
  }
}

static void visit_gap(fair_t* fair, visit_t* visit, const uvch_broadcast_receiver_t* rx, int missed) {
  support_expect_eq(&fair->result, fair->params.policy, UVCH_BROADCAST_LAG);
  support_expect_eq(&fair->result, uvch_broadcast_receiver_missed(rx), missed);
  visit->places += (uint64_t) missed;
}

/* What try_recv and the like said; whether there was something. */
static bool visit_answer(fair_t* fair, visit_t* visit, const uvch_broadcast_receiver_t* rx, int answer, const uint64_t* item) {
  if (answer == 0) {
    visit_item(fair, visit, item);
    if (fair->params.owned) {
      atomic_fetch_sub(&fair->copies, 1);
      item_end(fair, item);
    }
  } else if (answer > 0) {
    visit_gap(fair, visit, rx, answer);
  } else if (answer == UV_ENOBUFS) {
    support_expect(&fair->result, fair->params.owned);
    visit->places += 1;
  } else if (answer == UV_EOF || answer == UV_ECONNABORTED) {
    support_expect(&fair->result, answer == UV_EOF || fair->params.policy == UVCH_BROADCAST_DISCONNECT);
    visit->end = answer;
    return false;
  } else {
    support_expect(&fair->result, answer == UV_EAGAIN || answer == UV_ETIMEDOUT);
    return false;
  }
  return true;
}

static bool subscribe_by(fair_t* fair, uv_loop_t* loop, const uvch_broadcast_weak_sender_t* weak, uvch_broadcast_receiver_t* rx) {
  uvch_broadcast_sender_t tx;
  int r = uvch_broadcast_weak_sender_upgrade(weak, &tx);

  if (r != 0) {
    support_expect_eq(&fair->result, r, UV_EPIPE);
    return false;
  }
  support_expect_eq(&fair->result, uvch_broadcast_subscribe(loop, rx, &tx), 0);
  support_expect_eq(&fair->result, uvch_broadcast_sender_close(&tx), 0);
  return true;
}

/* Visitors: threads with a receiver. */

static int visitor_call(visitor_t* self, uint64_t* item) {
  switch (draw(&self->random, 4)) {
    case 0:
      return uvch_broadcast_recv_timedwait(self->rx, item, draw(&self->random, 20000));
    case 1:
      return uvch_broadcast_try_recv(self->rx, item);
    default:
      return uvch_broadcast_recv_wait(self->rx, item);
  }
}

static void visitor_listen(visitor_t* self, visit_t* visit, size_t count) {
  uint64_t item[ITEM_MAX / 8];

  while (count > 0 && visit->end == 0) {
    if (visit_answer(self->fair, visit, self->rx, visitor_call(self, item), item)) {
      count -= 1;
    }
    if (draw(&self->random, 50) == 0) {
      dawdle(draw(&self->random, 20000));
    }
  }
}

static void visitor_leave(visitor_t* self) {
  support_expect_eq(&self->fair->result, uvch_close((uvch_handle_t*) self->rx, NULL), 0);
}

/* Another receiver takes the place of this one, which may be at its end. NULL: it was cut off, and nobody can come from there. */
static visit_t* visitor_turn_round(visitor_t* self, int end) {
  uvch_broadcast_receiver_t* other = &self->receivers[self->rx == &self->receivers[0]];
  visit_t* visit = visit_begin(self->fair, &self->visits);
  int r = uvch_broadcast_resubscribe(NULL, other, self->rx);

  if (r != 0) {
    support_expect_eq(&self->fair->result, r, UV_ECONNABORTED);
    support_expect_eq(&self->fair->result, end, UV_ECONNABORTED);
    return NULL;
  }
  visit_begun(self->fair, visit);
  support_expect_eq(&self->fair->result, uvch_broadcast_receiver_same_channel(other, self->rx), 1);
  visitor_leave(self);
  self->rx = other;
  return visit;
}

/* NULL: there is nobody to listen to any more. */
static visit_t* visitor_come_back(visitor_t* self, int end) {
  visit_t* visit = draw(&self->random, 3) == 0 ? visitor_turn_round(self, end) : NULL;

  if (visit != NULL) {
    return visit;
  }
  visitor_leave(self);
  visit = visit_begin(self->fair, &self->visits);
  if (!subscribe_by(self->fair, NULL, &self->weak, self->rx)) {
    return NULL;
  }
  visit_begun(self->fair, visit);
  return visit;
}

static void visitor_run(void* arg) {
  visitor_t* self = arg;
  visit_t* visit = self->visits; /* it has begun */

  while (visit != NULL) {
    visitor_listen(self, visit, self->stays ? SIZE_MAX : draw(&self->random, 120));
    visit = visitor_come_back(self, visit->end);
  }
  support_expect_eq(&self->fair->result, uvch_broadcast_weak_sender_close(&self->weak), 0);
}

/* Guests: receivers on the loop of a hall. When one leaves, another comes, until there is nobody to listen to. */

static void guest_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item);
static void guest_on_recv_many(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count);

static void guest_start(guest_t* guest) {
  int r = guest->by_many ? uvch_broadcast_recv_many_start(&guest->rx, 1 + draw(&guest->hall->random, 10), guest_on_recv_many)
                         : uvch_broadcast_recv_start(&guest->rx, guest_on_recv);

  support_expect_eq(&guest->hall->fair->result, r, 0);
}

static void hall_place_ends(hall_t* hall) {
  hall->places -= 1;
  if (hall->places == 0) {
    uv_close((uv_handle_t*) &hall->again, NULL);
    support_expect_eq(&hall->fair->result, uvch_broadcast_weak_sender_close(&hall->weak), 0);
  }
}

/* On the loop from the start, or a moment later. */
static void hall_admit(hall_t* hall, bool stays) {
  bool on_loop = draw(&hall->random, 3) > 0;
  guest_t* guest = calloc(1, sizeof(*guest));

  if (!support_expect(&hall->fair->result, guest != NULL)) {
    abort();
  }
  guest->hall = hall;
  guest->stays = stays;
  guest->left = 1 + draw(&hall->random, 200);
  guest->by_many = draw(&hall->random, 2) == 0;
  guest->visit = visit_begin(hall->fair, &hall->visits);
  if (!subscribe_by(hall->fair, on_loop ? &hall->loop : NULL, &hall->weak, &guest->rx)) {
    free(guest);
    hall_place_ends(hall);
    return;
  }
  visit_begun(hall->fair, guest->visit);
  if (!on_loop) {
    support_expect_eq(&hall->fair->result, uvch_attach(&hall->loop, (uvch_handle_t*) &guest->rx), 0);
  }
  guest_start(guest);
}

static void guest_on_close(uvch_handle_t* handle) {
  guest_t* guest = (guest_t*) (void*) handle;
  hall_t* hall = guest->hall;
  bool stays = guest->stays;

  memset(guest, 0xdd, sizeof(*guest));
  free(guest);
  hall_admit(hall, stays);
}

static void guest_leave(guest_t* guest) {
  guest_t** link = &guest->hall->stopped;

  while (*link != NULL && *link != guest) {
    link = &(*link)->next_stopped;
  }
  if (*link == guest) {
    *link = guest->next_stopped;
  }
  guest->left = 0;
  support_expect_eq(&guest->hall->fair->result, uvch_close((uvch_handle_t*) &guest->rx, guest_on_close), 0);
}

static void hall_on_again(uv_timer_t* timer) {
  hall_t* hall = timer->data;

  while (hall->stopped != NULL) {
    guest_t* guest = hall->stopped;

    hall->stopped = guest->next_stopped;
    guest_start(guest);
  }
}

static void guest_stop(guest_t* guest) {
  support_expect_eq(&guest->hall->fair->result, uvch_broadcast_recv_stop(&guest->rx), 0);
  guest->next_stopped = guest->hall->stopped;
  guest->hall->stopped = guest;
  uv_timer_start(&guest->hall->again, hall_on_again, draw(&guest->hall->random, 2), 0);
}

/* The end comes to the callback all the same; who is told here that he is cut off has stopped. */
static void guest_try(guest_t* guest) {
  fair_t* fair = guest->hall->fair;
  uint64_t item[ITEM_MAX / 8];
  int r = uvch_broadcast_try_recv(&guest->rx, item);

  if (r == UV_EOF) {
    return;
  }
  visit_answer(fair, guest->visit, &guest->rx, r, item);
  if (guest->visit->end != 0) {
    support_expect_eq(&fair->result, uvch_is_active((uvch_handle_t*) &guest->rx), 0);
    guest_leave(guest);
  }
}

static void hall_nest(hall_t* hall) {
  if (hall->depth < 2) {
    hall->depth += 1;
    uv_run(&hall->loop, UV_RUN_NOWAIT);
    hall->depth -= 1;
  }
}

/* The guest may be no more after it. */
static void guest_does_something(guest_t* guest) {
  hall_t* hall = guest->hall;

  switch (draw(&hall->random, 100)) {
    case 0:
      guest_stop(guest);
      return;
    case 1:
      support_expect_eq(&hall->fair->result, uvch_broadcast_recv_stop(&guest->rx), 0);
      guest_start(guest);
      return;
    case 2:
    case 3:
      guest_try(guest);
      return;
    case 4:
    case 5:
      hall_nest(hall);
      return;
    case 6:
      if (!guest->stays) {
        guest_leave(guest);
        hall_nest(hall);
      }
      return;
    default:
      dawdle(draw(&hall->random, 300));
  }
}

/* A gap, or the end. */
static void guest_told(guest_t* guest, int status, const void* item) {
  fair_t* fair = guest->hall->fair;

  support_expect(&fair->result, item == NULL);
  if (status > 0) {
    visit_gap(fair, guest->visit, &guest->rx, status);
    return;
  }
  support_expect(&fair->result, status == UV_EOF || status == UV_ECONNABORTED);
  support_expect(&fair->result, status == UV_EOF || fair->params.policy == UVCH_BROADCAST_DISCONNECT);
  support_expect_eq(&fair->result, uvch_is_active((uvch_handle_t*) &guest->rx), 0);
  guest->visit->end = status;
  guest_leave(guest);
}

static void guest_heard(guest_t* guest, size_t count) {
  if (guest->stays) {
    if (draw(&guest->hall->random, 4) == 0) {
      guest_does_something(guest);
    }
  } else if (guest->left <= count) {
    guest_leave(guest);
  } else {
    guest->left -= count;
    guest_does_something(guest);
  }
}

static void guest_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  guest_on_recv_many(rx, status, item, 0, status == 0);
}

/* What it got stays whole to the end of the callback, and is dropped later. */
static void guest_on_recv_many(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  guest_t* guest = (guest_t*) (void*) rx;
  fair_t* fair = guest->hall->fair;
  const char* item = first;
  uint32_t id;
  size_t i;

  support_expect_eq(&fair->result, status == 0, count > 0);
  if (!support_expect(&fair->result, guest->left > 0)) { /* it has left, or is at its end */
    return;
  }
  if (status != 0) {
    guest_told(guest, status, first);
    return;
  }
  for (i = 0; i < count; i++) {
    visit_item(fair, guest->visit, item + i * stride);
  }
  guest_heard(guest, count);
  for (i = 0; i < count; i++) {
    id = item_read(fair, item + i * stride);
    support_expect(&fair->result, id != UINT32_MAX && (!fair->params.owned || atomic_load(&fair->marks[id].dropped) == 0));
  }
}

static void hall_run(void* arg) {
  hall_t* hall = arg;

  support_expect_eq(&hall->fair->result, uv_run(&hall->loop, UV_RUN_DEFAULT), 0);
}

/* In the end. */

typedef struct ledger_s {
  fair_t* fair;
  uint64_t* where; /* place of each message in the whole order */
  uint32_t* at;    /* and the other way round */
  uint64_t sent;
} ledger_t;

#define UNKNOWN UINT32_MAX

static bool visit_is_real(const visit_t* visit) {
  return visit->places > 0 || visit->end != 0;
}

static void ledger_place(ledger_t* ledger, visit_t* visit, uint64_t offset) {
  size_t i;

  visit->offset = offset;
  visit->placed = true;
  for (i = 0; i < visit->count; i++) {
    uint64_t place = offset + visit->heard[i].place;
    uint32_t id = visit->heard[i].id;

    support_check(ledger->where[id] == UINT64_MAX || ledger->where[id] == place);
    ledger->where[id] = place;
    if (place < ledger->sent) {
      support_check(ledger->at[place] == UNKNOWN || ledger->at[place] == id);
      ledger->at[place] = id;
    }
  }
}

/* Those whose place is known by itself. */
static void ledger_place_sure(ledger_t* ledger, visit_t* visit) {
  if (visit->end == UV_EOF) {
    support_check(visit->places <= ledger->sent);
    support_check(!visit->from_start || visit->places == ledger->sent); /* messages and missed ones are all there were */
    ledger_place(ledger, visit, ledger->sent - visit->places);
  } else if (visit->from_start) {
    ledger_place(ledger, visit, 0);
  }
}

/* Those that have a message in common with one that is placed. */
static bool ledger_place_joined(ledger_t* ledger, visit_t* visit) {
  size_t i;

  for (i = 0; i < visit->count && !visit->placed; i++) {
    uint64_t place = ledger->where[visit->heard[i].id];

    if (place != UINT64_MAX) {
      support_check(place >= visit->heard[i].place);
      ledger_place(ledger, visit, place - visit->heard[i].place);
      return true;
    }
  }
  return false;
}

static void ledger_place_all(ledger_t* ledger, visit_t* visits) {
  uint64_t elsewhere = UINT64_C(1) << 40; /* nobody else heard what they did */
  bool more = true;
  visit_t* visit;

  for (visit = visits; visit != NULL; visit = visit->next) {
    ledger_place_sure(ledger, visit);
  }
  while (more) {
    more = false;
    for (visit = visits; visit != NULL; visit = visit->next) {
      more = ledger_place_joined(ledger, visit) || more;
    }
    for (visit = visits; !more && visit != NULL; visit = visit->next) {
      if (!visit->placed && visit->count > 0) {
        ledger_place(ledger, visit, elsewhere);
        elsewhere += UINT64_C(1) << 40;
        more = true;
      }
    }
  }
}

/* It began where it began, and heard each sender in order; where nothing may be lost, without a hole. */
static void visit_check(const ledger_t* ledger, const visit_t* visit) {
  const fair_case_t* params = &ledger->fair->params;
  bool whole = params->policy != UVCH_BROADCAST_LAG && !params->owned;
  uint64_t next[SENDERS_MAX];
  uint64_t done = 0;
  uint64_t begun = 0;
  size_t i;

  memset(next, 0xff, sizeof(next));
  for (i = 0; i < params->senders; i++) {
    done += visit->done_before[i];
    begun += visit->begun_after[i];
  }
  if (visit->placed && visit->offset < ledger->sent) {
    support_check(visit->offset >= done);
    support_check(visit->offset <= begun);
  }
  for (i = 0; i < visit->count; i++) {
    uint64_t sender = visit->heard[i].id / params->each;
    uint64_t number = visit->heard[i].id % params->each;

    if (next[sender] == UINT64_MAX) {
      support_check(number >= visit->done_before[sender]);
      support_check(!whole || number <= visit->begun_after[sender]);
    } else {
      support_check(whole ? number == next[sender] : number >= next[sender]);
    }
    next[sender] = number + 1;
    if (params->senders == 1) { /* the number is the place */
      support_check_eq(number - visit->heard[i].place, (uint64_t) visit->heard[0].id - visit->heard[0].place);
    }
  }
}

/* What is kept when the last sender goes comes to everybody. */
static void visit_check_end(const fair_case_t* params, const visit_t* visit) {
  size_t kept = visit->places < params->capacity ? (size_t) visit->places : params->capacity;
  size_t i;

  support_check(visit->count >= kept);
  for (i = 1; i <= kept; i++) {
    support_check_eq(visit->heard[visit->count - i].place, visit->places - i);
  }
}

static void visits_move(visit_t** from, visit_t** to) {
  while (*from != NULL) {
    visit_t* visit = *from;

    *from = visit->next;
    if (visit_is_real(visit)) {
      visit->next = *to;
      *to = visit;
    } else {
      free(visit->heard);
      free(visit);
    }
  }
}

static void fair_check(fair_t* fair) {
  uint64_t total = fair->params.senders * fair->params.each;
  ledger_t ledger = {.fair = fair, .sent = total};
  visit_t* visits = NULL;
  visit_t* visit;
  size_t heard = 0;
  size_t i;

  for (i = 0; i < VISITORS; i++) {
    visits_move(&fair->visitors[i].visits, &visits);
  }
  for (i = 0; i < HALLS; i++) {
    visits_move(&fair->halls[i].visits, &visits);
  }
  ledger.where = malloc(total * sizeof(ledger.where[0]));
  ledger.at = malloc(total * sizeof(ledger.at[0]));
  ck_assert(ledger.where != NULL && ledger.at != NULL);
  memset(ledger.where, 0xff, total * sizeof(ledger.where[0]));
  memset(ledger.at, 0xff, total * sizeof(ledger.at[0]));
  ledger_place_all(&ledger, visits);
  while (visits != NULL) {
    visit = visits;
    visits = visit->next;
    visit_check(&ledger, visit);
    if (visit->end == UV_EOF && !fair->params.owned) { /* else copies may have failed */
      visit_check_end(&fair->params, visit);
    }
    heard += visit->count;
    free(visit->heard);
    free(visit);
  }
  ck_assert(heard > 0 || fair->params.policy == UVCH_BROADCAST_DISCONNECT); /* there all may have been too slow */
  for (i = 0; i < total; i++) {
    support_check_eq(atomic_load(&fair->marks[i].dropped), fair->params.owned);
    support_check(fair->params.policy != UVCH_BROADCAST_WAIT || fair->params.owned || ledger.at[i] != UNKNOWN);
  }
  ck_assert_uint_eq(atomic_load(&fair->copies), 0);
  free(ledger.where);
  free(ledger.at);
}

/* With positions that begin at 0, or that come to the end of their 64 bits soon. */
static void fair_open(fair_t* fair, uvch_broadcast_sender_t* tx, bool wraps) {
  uvch_broadcast_options_t options;
  size_t i;

  memset(&options, 0, sizeof(options));
  options.policy = fair->params.policy;
  if (fair->params.owned) {
    options.copy = fair_copy;
    options.drop = fair_drop;
    options.arg = fair;
  }
  uvch__broadcast_first = wraps ? UINT64_MAX - 300 : 0;
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, NULL, tx, fair->params.size, fair->params.capacity, &options), 0);
  uvch__broadcast_first = 0;
  fair->marks = calloc(fair->params.senders * fair->params.each, sizeof(fair->marks[0]));
  ck_assert_ptr_nonnull(fair->marks);
  for (i = 0; i < fair->params.senders; i++) {
    fair->callers[i].fair = fair;
    fair->callers[i].index = (uint32_t) i;
    fair->callers[i].random = 3 + i;
    support_loop_init(&fair->callers[i].loop);
    if (i % 2 == 1) {
      ck_assert_int_eq(uv_timer_init(&fair->callers[i].loop, &fair->callers[i].again), 0);
      fair->callers[i].again.data = &fair->callers[i];
    }
    ck_assert_int_eq(uvch_broadcast_sender_clone(tx, &fair->callers[i].tx), 0);
  }
}

static void fair_let_in(fair_t* fair, const uvch_broadcast_sender_t* tx) {
  size_t i;
  size_t k;

  for (i = 0; i < VISITORS; i++) {
    visitor_t* visitor = &fair->visitors[i];

    visitor->fair = fair;
    visitor->random = 100 + i;
    visitor->stays = i == 0;
    visitor->rx = &visitor->receivers[0];
    visit_begin(fair, &visitor->visits)->from_start = true;
    ck_assert_int_eq(uvch_broadcast_sender_downgrade(tx, &visitor->weak), 0);
    ck_assert_int_eq(uvch_broadcast_subscribe(NULL, visitor->rx, tx), 0);
  }
  for (i = 0; i < HALLS; i++) {
    hall_t* hall = &fair->halls[i];

    hall->fair = fair;
    hall->random = 200 + i;
    hall->places = PLACES;
    support_loop_init(&hall->loop);
    ck_assert_int_eq(uv_timer_init(&hall->loop, &hall->again), 0);
    hall->again.data = hall;
    ck_assert_int_eq(uvch_broadcast_sender_downgrade(tx, &hall->weak), 0);
    for (k = 0; k < PLACES; k++) {
      hall_admit(hall, k == 0);
      hall->visits->from_start = true;
    }
  }
}

START_TEST(each_receiver_hears_its_part_of_one_order) {
  static fair_t fair;
  uvch_broadcast_sender_t tx;
  size_t i;

  memset(&fair, 0, sizeof(fair));
  fair.params = fair_cases[_i];
  fair.params.each = support_scale(fair.params.each);
  fair.anchored = fair.params.policy != UVCH_BROADCAST_DISCONNECT;
  fair_open(&fair, &tx, _i % 2 == 1);
  fair_let_in(&fair, &tx);
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&tx), VISITORS + HALLS * PLACES);
  for (i = 0; i < VISITORS; i++) {
    support_spawn(&fair.visitors[i].thread, visitor_run, &fair.visitors[i]);
  }
  for (i = 0; i < HALLS; i++) {
    support_spawn(&fair.halls[i].thread, hall_run, &fair.halls[i]);
  }
  for (i = 0; i < fair.params.senders; i++) {
    support_spawn(&fair.callers[i].thread, i % 2 == 0 ? caller_on_thread : caller_on_loop, &fair.callers[i]);
  }
  ck_assert_int_eq(uvch_broadcast_sender_close(&tx), 0);
  for (i = 0; i < fair.params.senders; i++) {
    support_join(&fair.callers[i].thread);
    support_loop_close(&fair.callers[i].loop);
  }
  for (i = 0; i < VISITORS; i++) {
    support_join(&fair.visitors[i].thread);
  }
  for (i = 0; i < HALLS; i++) {
    support_join(&fair.halls[i].thread);
    support_loop_close(&fair.halls[i].loop);
  }
  support_result_check(&fair.result);
  fair_check(&fair);
  free(fair.marks);
}
END_TEST

/* Duels: the near side, on the case's thread, has the receiver and its loop, the far side, in a thread of its own, the sender and
 * another loop. They are made in batches; for each duel the two wait for each other a little, but not for long, as on a busy
 * machine only one of them runs. */

enum { BATCH = 100, FAR_MAX = 3 };

/* Where the receiver lives, and from when on it waits. */
enum { PLAIN, ON_LOOP, WAITING, ATTACHED, KINDS };

typedef struct arena_s arena_t;

typedef struct ask_s {
  uvch_broadcast_send_t req;
  uint64_t value;
  int status;
} ask_t;

typedef struct duel_s {
  arena_t* arena;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_receiver_t second;
  uvch_broadcast_sender_t tx;
  uvch_broadcast_weak_sender_t weak;
  ask_t asks[2];
  uvch_broadcast_closed_t watch;
  int watched; /* what the request was told */
  int cancelled;
  uint64_t taken; /* messages that the channel took */
  uint64_t next;  /* the one that comes, or is missed, next */
  uint64_t got;
  int end;
  size_t ends;
  bool closed;
  _Atomic(size_t) dropped;
  _Atomic(unsigned) met;
} duel_t;

typedef void (*duel_cb)(arena_t* arena, duel_t* duel);

struct arena_s {
  uvch_broadcast_policy policy;
  size_t capacity; /* 0: as it comes */
  int kind;
  bool owned; /* with a drop function, so that each message is a value of its own */
  duel_cb prepare;
  duel_cb near_side;
  duel_cb far_side;
  duel_cb far_end; /* after each batch, in that thread */
  duel_cb end;     /* after each batch, in the case's thread */
  duel_t* duels;
  size_t rounds;
  uv_loop_t loop;
  uv_loop_t far;
  uint64_t random;
  uint64_t far_random;
  uv_barrier_t barrier;
  uv_thread_t thread;
  support_result_t result;
};

static void meet(duel_t* duel, uint64_t* random) {
  int n;

  atomic_fetch_add(&duel->met, 1);
  for (n = 0; n < 1000 && atomic_load(&duel->met) < 2; n++) {}
  dawdle(draw(random, 100));
}

static void far_run(void* arg) {
  arena_t* arena = arg;
  size_t round;
  size_t i;

  for (round = 0; round < arena->rounds; round++) {
    uv_barrier_wait(&arena->barrier);
    for (i = 0; i < BATCH; i++) {
      meet(&arena->duels[i], &arena->far_random);
      arena->far_side(arena, &arena->duels[i]);
    }
    if (arena->far_end != NULL) {
      arena->far_end(arena, NULL);
    }
    uv_barrier_wait(&arena->barrier);
  }
}

static int number_copy(void* to, const void* from, void* arg) {
  (void) arg;
  memcpy(to, from, sizeof(uint64_t));
  return 0;
}

static void number_drop(void* item, void* arg) {
  duel_t* duel = arg;
  uint64_t value;

  memcpy(&value, item, sizeof(value));
  support_expect(&duel->arena->result, value <= FAR_MAX);
  atomic_fetch_add(&duel->dropped, 1);
}

static void duel_took(duel_t* duel, int answer, uint64_t value) {
  if (answer == 0) {
    support_check_eq(value, duel->next);
    duel->next += 1;
    duel->got += 1;
  } else if (answer > 0) {
    support_check_eq(duel->arena->policy, UVCH_BROADCAST_LAG);
    duel->next += (uint64_t) answer;
  } else if (answer == UV_EOF || answer == UV_ECONNABORTED) {
    duel->end = answer;
    duel->ends += 1;
  } else {
    support_check(answer == UV_EAGAIN || answer == UV_ETIMEDOUT);
  }
}

static void duel_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  duel_t* duel = rx->data;
  uint64_t value = UINT64_MAX;

  support_check(!duel->closed);
  support_check_eq(status == 0, item != NULL);
  if (item != NULL) {
    memcpy(&value, item, sizeof(value));
  }
  duel_took(duel, status, value);
}

static void duel_try(duel_t* duel) {
  uint64_t value = UINT64_MAX;
  int r = uvch_broadcast_try_recv(&duel->rx, &value);

  duel_took(duel, r, value);
}

static void duel_start(duel_t* duel) {
  support_check_eq(uvch_broadcast_recv_start(&duel->rx, duel_on_recv), 0);
}

static void duel_close(duel_t* duel) {
  duel->closed = true;
  support_check_eq(uvch_close((uvch_handle_t*) &duel->rx, NULL), 0);
}

static void duel_open(arena_t* arena, duel_t* duel) {
  uv_loop_t* loop = arena->kind == PLAIN || arena->kind == ATTACHED ? NULL : &arena->loop;
  size_t capacity = arena->capacity != 0 ? arena->capacity : 1 + draw(&arena->random, 4);
  uvch_broadcast_options_t options;

  memset(duel, 0, sizeof(*duel));
  memset(&options, 0, sizeof(options));
  options.policy = arena->policy;
  if (arena->owned) {
    options.copy = number_copy;
    options.drop = number_drop;
    options.arg = duel;
  }
  duel->arena = arena;
  support_check_eq(uvch_broadcast_init_ex(loop, &duel->rx, &duel->tx, sizeof(uint64_t), capacity, &options), 0);
  duel->rx.data = duel;
  if (arena->kind == WAITING) {
    duel_start(duel);
  }
  if (arena->prepare != NULL) {
    arena->prepare(arena, duel);
  }
}

static void duels_run(arena_t* arena) {
  size_t i;

  for (i = 0; i < BATCH; i++) {
    duel_open(arena, &arena->duels[i]);
  }
  uv_barrier_wait(&arena->barrier);
  for (i = 0; i < BATCH; i++) {
    meet(&arena->duels[i], &arena->random);
    arena->near_side(arena, &arena->duels[i]);
  }
  uv_barrier_wait(&arena->barrier);
  for (i = 0; i < BATCH; i++) {
    arena->end(arena, &arena->duels[i]);
  }
  support_check_eq(uv_run(&arena->loop, UV_RUN_DEFAULT), 0);
  for (i = 0; i < BATCH; i++) {
    support_check(!arena->owned || atomic_load(&arena->duels[i].dropped) == arena->duels[i].taken);
  }
}

/* An anchor keeps what the library has for the loop. */
static void fight(arena_t* arena, size_t duels) {
  uvch_broadcast_receiver_t anchor;
  uvch_broadcast_sender_t anchor_tx;
  size_t round;

  arena->rounds = (duels + BATCH - 1) / BATCH;
  arena->duels = calloc(BATCH, sizeof(duel_t));
  ck_assert_ptr_nonnull(arena->duels);
  arena->random = 5;
  arena->far_random = 77;
  support_loop_init(&arena->loop);
  support_loop_init(&arena->far);
  ck_assert_int_eq(uvch_broadcast_init(&arena->loop, &anchor, &anchor_tx, 8, 1), 0);
  ck_assert_int_eq(uv_barrier_init(&arena->barrier, 2), 0);
  support_spawn(&arena->thread, far_run, arena);
  for (round = 0; round < arena->rounds; round++) {
    duels_run(arena);
  }
  support_join(&arena->thread);
  support_result_check(&arena->result);
  uv_barrier_destroy(&arena->barrier);
  ck_assert_int_eq(uvch_broadcast_sender_close(&anchor_tx), 0);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &anchor, NULL), 0);
  support_loop_end(&arena->loop);
  support_loop_end(&arena->far);
  free(arena->duels);
}

/* The far side sends a little and goes. The near side hears all of it, then the end, once. */

static void far_gives_up(arena_t* arena, duel_t* duel) {
  support_expect_eq(&arena->result, uvch_broadcast_sender_close(&duel->tx), 0);
}

static int far_send(arena_t* arena, duel_t* duel, uint64_t value) {
  int r = UV_EAGAIN;

  switch (draw(&arena->far_random, 3)) {
    case 0:
      r = uvch_broadcast_send_many(&duel->tx, &value, 1);
      break;
    case 1:
      r = uvch_broadcast_send(&duel->tx, &value);
      break;
    default:
      break;
  }
  if (r == UV_EAGAIN) {
    r = uvch_broadcast_send_wait(&duel->tx, &value);
  }
  if (r != UV_EPIPE && support_expect_eq(&arena->result, r, 1)) {
    duel->taken += 1;
  }
  return r;
}

static void far_sends_and_goes(arena_t* arena, duel_t* duel) {
  uint64_t count = draw(&arena->far_random, FAR_MAX + 1);
  uint64_t value;

  for (value = 0; value < count; value++) {
    if (far_send(arena, duel, value) == UV_EPIPE) { /* nobody is there: it was cut off and has noticed */
      support_expect_eq(&arena->result, arena->policy, UVCH_BROADCAST_DISCONNECT);
      break;
    }
    dawdle(draw(&arena->far_random, 60));
  }
  far_gives_up(arena, duel);
}

/* The loop may sleep in it. */
static void near_runs(arena_t* arena, duel_t* duel) {
  while (duel->ends == 0) {
    uv_run(&arena->loop, UV_RUN_ONCE);
  }
}

static void near_sleeps(arena_t* arena, duel_t* duel) {
  uint64_t value;
  int r;

  while (duel->ends == 0) {
    value = UINT64_MAX;
    r = draw(&arena->random, 2) == 0 ? uvch_broadcast_recv_wait(&duel->rx, &value)
                                     : uvch_broadcast_recv_timedwait(&duel->rx, &value, draw(&arena->random, 3000));
    duel_took(duel, r, value);
  }
}

static void near_listens(arena_t* arena, duel_t* duel) {
  switch (arena->kind) {
    case PLAIN:
      near_sleeps(arena, duel);
      return;
    case ATTACHED:
      support_check_eq(uvch_attach(&arena->loop, (uvch_handle_t*) &duel->rx), 0);
      duel_start(duel);
      break;
    case ON_LOOP:
      duel_start(duel);
      break;
    default:
      break;
  }
  near_runs(arena, duel);
}

/* Starts, stops, and takes as it comes. */
static void near_is_fickle(arena_t* arena, duel_t* duel) {
  int r;

  if (arena->kind == ATTACHED) {
    duel_try(duel);
    if (duel->ends == 0) {
      support_check_eq(uvch_attach(&arena->loop, (uvch_handle_t*) &duel->rx), 0);
    }
  }
  while (duel->ends == 0) {
    switch (draw(&arena->random, 4)) {
      case 0:
        duel_try(duel);
        break;
      case 1:
        support_check_eq(uvch_broadcast_recv_stop(&duel->rx), 0);
        break;
      case 2:
        r = uvch_broadcast_recv_start(&duel->rx, duel_on_recv);
        support_check(arena->kind == PLAIN ? r == UV_EINVAL : r == 0 || r == UV_EALREADY);
        break;
      default:
        uv_run(&arena->loop, UV_RUN_NOWAIT);
    }
  }
  support_check_eq(uvch_broadcast_recv_stop(&duel->rx), 0); /* a try_recv may have had the end before the callback */
}

static void heard_all(arena_t* arena, duel_t* duel) {
  uint64_t value = UINT64_MAX;

  support_check_eq(duel->ends, 1);
  if (duel->end == UV_EOF) {
    support_check_eq(duel->next, duel->taken);
  } else {
    support_check_eq(arena->policy, UVCH_BROADCAST_DISCONNECT);
    support_check(duel->next < duel->taken);
  }
  support_check_eq(uvch_broadcast_try_recv(&duel->rx, &value), duel->end);
  support_check_eq(uvch_broadcast_receiver_is_closed(&duel->rx), 1);
  support_check_eq(uvch_broadcast_receiver_len(&duel->rx), 0);
  support_check_eq(uvch_is_active((uvch_handle_t*) &duel->rx), 0);
  duel_close(duel);
}

enum { DUELS = 3000 };

START_TEST(a_sender_that_goes_while_a_receiver_begins_to_wait_ends_it_once) {
  arena_t arena = {.near_side = near_listens, .far_side = far_sends_and_goes, .end = heard_all};

  arena.policy = POLICY;
  arena.kind = (int) (CHOICE % KINDS);
  arena.owned = CHOICE / KINDS == 1;
  fight(&arena, support_scale(DUELS));
}
END_TEST

START_TEST(a_receiver_that_starts_and_stops_while_others_send_hears_all_and_the_end_once) {
  arena_t arena = {.near_side = near_is_fickle, .far_side = far_sends_and_goes, .end = heard_all};

  arena.policy = POLICY;
  arena.kind = (int) (CHOICE % KINDS);
  arena.owned = CHOICE / KINDS == 1;
  fight(&arena, support_scale(DUELS));
}
END_TEST

/* The near side goes. What was sent before is dropped, once, and nothing is taken after it. */

static void far_sends_to_the_last(arena_t* arena, duel_t* duel) {
  uint64_t values[FAR_MAX] = {0, 1, 2};
  int r = uvch_broadcast_send_many(&duel->tx, values, 1 + draw(&arena->far_random, FAR_MAX));

  support_expect(&arena->result, r >= 1 || r == UV_EPIPE);
  duel->taken += r > 0 ? (uint64_t) r : 0;
  while (duel->taken < FAR_MAX && r != UV_EPIPE) {
    r = far_send(arena, duel, duel->taken);
  }
  if (r == UV_EPIPE) {
    support_expect_eq(&arena->result, uvch_broadcast_send(&duel->tx, values), UV_EPIPE);
    support_expect_eq(&arena->result, uvch_broadcast_send_wait(&duel->tx, values), UV_EPIPE);
    support_expect_eq(&arena->result, uvch_broadcast_send_many(&duel->tx, values, 2), UV_EPIPE);
    support_expect_eq(&arena->result, uvch_broadcast_sender_receiver_count(&duel->tx), 0);
  }
}

static void near_goes(arena_t* arena, duel_t* duel) {
  if (draw(&arena->random, 2) == 0) {
    duel_try(duel);
  } else if (arena->kind != PLAIN && draw(&arena->random, 2) == 0) {
    uv_run(&arena->loop, UV_RUN_NOWAIT);
  }
  duel_close(duel);
}

static void all_dropped(arena_t* arena, duel_t* duel) {
  support_check_eq(uvch_broadcast_sender_receiver_count(&duel->tx), 0);
  support_check_eq(uvch_broadcast_sender_len(&duel->tx), 0);
  support_check_eq(atomic_load(&duel->dropped), arena->owned ? duel->taken : 0);
  support_check_eq(uvch_broadcast_sender_close(&duel->tx), 0);
}

START_TEST(a_send_that_races_with_the_last_close_is_dropped_or_given_back) {
  arena_t arena = {.near_side = near_goes, .far_side = far_sends_to_the_last, .end = all_dropped};

  arena.policy = POLICY;
  arena.kind = (int) (CHOICE % 3); /* all but ATTACHED */
  arena.owned = CHOICE / 3 == 1;
  fight(&arena, support_scale(DUELS));
}
END_TEST

/* Requests of the far side. The channel is full; of two that wait the first is cancelled while the near side makes room, or
 * goes. */

static void ask_on_sent(uvch_broadcast_send_t* req, int status) {
  ask_t* ask = (ask_t*) (void*) req;
  duel_t* duel = req->data;

  support_expect_eq(&duel->arena->result, ask->status, NOT_DONE);
  ask->status = status;
  duel->taken += status >= 1;
}

static void far_asks_and_cancels(arena_t* arena, duel_t* duel) {
  size_t i;

  for (i = 0; i < COUNT(duel->asks); i++) {
    ask_t* ask = &duel->asks[i];
    int r;

    ask->req.data = duel;
    ask->value = i + 1;
    ask->status = NOT_DONE;
    r = uvch_broadcast_queue_send(&arena->far, &ask->req, &duel->tx, &ask->value, ask_on_sent);
    if (r != 0) { /* its receiver has gone */
      support_expect_eq(&arena->result, r, UV_EPIPE);
      ask->status = r;
    }
  }
  dawdle(draw(&arena->far_random, 200));
  duel->cancelled = UV_EBUSY;
  if (duel->asks[0].status == NOT_DONE) {
    duel->cancelled = uvch_cancel((uvch_req_t*) &duel->asks[0].req);
    support_expect(&arena->result, duel->cancelled == 0 || duel->cancelled == UV_EBUSY);
  }
  while (duel->asks[0].status == NOT_DONE || duel->asks[1].status == NOT_DONE) {
    uv_run(&arena->far, UV_RUN_ONCE);
  }
}

static void duel_fill(arena_t* arena, duel_t* duel) {
  uint64_t value = 0;

  (void) arena;
  support_check_eq(uvch_broadcast_send(&duel->tx, &value), 1);
}

static uint64_t near_hears(duel_t* duel) {
  uint64_t value = UINT64_MAX;

  support_check_eq(uvch_broadcast_recv_wait(&duel->rx, &value), 0);
  duel->got += 1;
  return value;
}

static void near_makes_room(arena_t* arena, duel_t* duel) {
  uint64_t value = near_hears(duel);

  (void) arena;
  support_check_eq(value, 0);
  while (value < 2) { /* the second one always comes */
    uint64_t next = near_hears(duel);

    support_check(next > value);
    value = next;
  }
}

static void near_makes_room_and_goes(arena_t* arena, duel_t* duel) {
  if (draw(&arena->random, 2) == 0) {
    support_check_eq(near_hears(duel), 0);
  }
  dawdle(draw(&arena->random, 100));
  duel_close(duel);
}

static void asks_are_settled(arena_t* arena, duel_t* duel) {
  bool went = arena->near_side == near_makes_room_and_goes;
  size_t i;

  support_check_eq(duel->cancelled == 0, duel->asks[0].status == UV_ECANCELED);
  for (i = 0; i < COUNT(duel->asks); i++) {
    int status = duel->asks[i].status;

    support_check(status == 1 || (status == UV_EPIPE && went) || (status == UV_ECANCELED && i == 0));
  }
  duel->taken += 1; /* the one that filled it */
  support_check(went || duel->got == duel->taken);
  support_check_eq(uvch_broadcast_sender_strong_count(&duel->tx), 1);
  support_check_eq(uvch_broadcast_sender_close(&duel->tx), 0);
  if (!went) {
    duel_try(duel);
    support_check_eq(duel->end, UV_EOF);
    duel_close(duel);
  }
}

START_TEST(a_cancel_that_races_with_room_gives_the_message_back_or_is_too_late) {
  arena_t arena = {.prepare = duel_fill, .far_side = far_asks_and_cancels, .end = asks_are_settled};

  arena.policy = UVCH_BROADCAST_WAIT;
  arena.capacity = 1;
  arena.kind = PLAIN;
  arena.owned = _i % 2 == 1;
  arena.near_side = _i / 2 == 0 ? near_makes_room : near_makes_room_and_goes;
  fight(&arena, support_scale(DUELS));
}
END_TEST

/* A weak sender that becomes one while the last one goes: its message comes before the end, or it is too late for ever. */

static void duel_downgrade(arena_t* arena, duel_t* duel) {
  (void) arena;
  support_check_eq(uvch_broadcast_sender_downgrade(&duel->tx, &duel->weak), 0);
}

static void near_joins_in(arena_t* arena, duel_t* duel) {
  uvch_broadcast_sender_t tx;
  int r = uvch_broadcast_weak_sender_upgrade(&duel->weak, &tx);

  uint64_t value = 0;

  if (r == 0) {
    support_check_eq(uvch_broadcast_send(&tx, &value), 1);
    duel->taken = 1;
    support_check_eq(uvch_broadcast_sender_close(&tx), 0);
  } else {
    support_check_eq(r, UV_EPIPE);
  }
  near_listens(arena, duel);
}

static void it_is_too_late(arena_t* arena, duel_t* duel) {
  uvch_broadcast_sender_t tx;

  support_check_eq(uvch_broadcast_weak_sender_upgrade(&duel->weak, &tx), UV_EPIPE);
  support_check_eq(uvch_broadcast_weak_sender_close(&duel->weak), 0);
  heard_all(arena, duel);
}

START_TEST(a_weak_sender_that_races_with_the_last_one_sends_before_the_end_or_never) {
  arena_t arena = {.prepare = duel_downgrade, .near_side = near_joins_in, .far_side = far_gives_up, .end = it_is_too_late};

  arena.policy = POLICY;
  arena.kind = (int) CHOICE;
  arena.owned = CHOICE % 2 == 1;
  fight(&arena, support_scale(DUELS));
}
END_TEST

/* Requests that wait for the end of the receivers, made while the last one goes, and perhaps another comes and goes. */

static void watch_on_closed(uvch_broadcast_closed_t* req, int status) {
  duel_t* duel = req->data;

  support_expect_eq(&duel->arena->result, duel->watched, NOT_DONE);
  duel->watched = status;
}

static void far_watches(arena_t* arena, duel_t* duel) {
  duel->watch.data = duel;
  duel->watched = NOT_DONE;
  duel->cancelled = UV_EBUSY;
  support_expect_eq(&arena->result, uvch_broadcast_closed(&arena->far, &duel->watch, &duel->tx, watch_on_closed), 0);
  if (draw(&arena->far_random, 3) == 0) {
    uv_run(&arena->far, UV_RUN_NOWAIT);
  }
  if (draw(&arena->far_random, 4) == 0 && duel->watched == NOT_DONE) {
    duel->cancelled = uvch_cancel((uvch_req_t*) &duel->watch);
    support_expect(&arena->result, duel->cancelled == 0 || duel->cancelled == UV_EBUSY);
  }
}

static void far_hears_of_all(arena_t* arena, duel_t* none) {
  (void) none;
  support_expect_eq(&arena->result, uv_run(&arena->far, UV_RUN_DEFAULT), 0);
}

static void near_goes_and_comes(arena_t* arena, duel_t* duel) {
  uv_loop_t* loop = draw(&arena->random, 2) == 0 ? NULL : &arena->loop;
  bool comes = draw(&arena->random, 2) == 0;
  bool before = draw(&arena->random, 2) == 0;

  if (comes && before) {
    support_check_eq(uvch_broadcast_subscribe(loop, &duel->second, &duel->tx), 0);
  }
  duel_close(duel);
  if (comes && !before) {
    support_check_eq(uvch_broadcast_subscribe(loop, &duel->second, &duel->tx), 0);
  }
  if (comes) {
    dawdle(draw(&arena->random, 100));
    support_check_eq(uvch_close((uvch_handle_t*) &duel->second, NULL), 0);
  }
}

static void watch_is_told(arena_t* arena, duel_t* duel) {
  (void) arena;
  support_check_eq(duel->watched, duel->cancelled == 0 ? UV_ECANCELED : 0);
  support_check_eq(uvch_broadcast_sender_close(&duel->tx), 0);
}

START_TEST(who_waits_for_the_end_of_the_receivers_is_told_once_whoever_comes_and_goes) {
  arena_t arena = {.near_side = near_goes_and_comes, .far_side = far_watches, .far_end = far_hears_of_all, .end = watch_is_told};

  arena.policy = POLICY;
  arena.kind = (int) CHOICE;
  fight(&arena, support_scale(DUELS));
}
END_TEST

/* Rounds: a burst that fits into the channel, and everybody answers its last message. Who is not woken never answers. */

enum { ECHO_THREADS = 2, ECHO_LOOPS = 2, ECHO_PER_LOOP = 2, ECHOES = ECHO_THREADS + ECHO_LOOPS * ECHO_PER_LOOP };

typedef struct echo_s {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t back;
  uint64_t next;
  size_t ends;
  support_result_t* result;
  uv_thread_t thread;
} echo_t;

typedef struct choir_s {
  uvch_broadcast_sender_t tx;
  uvch_broadcast_receiver_t back;
  echo_t echoes[ECHOES];
  uv_loop_t loops[ECHO_LOOPS];
  support_runner_t runners[ECHO_LOOPS];
  support_result_t result;
} choir_t;

/* A message is a number, twice as large, and 1 more if it is the last of a burst. */
static void echo_got(echo_t* echo, uint64_t value) {
  support_expect_eq(echo->result, value / 2, echo->next);
  echo->next += 1;
  if (value % 2 == 1) {
    support_expect_eq(echo->result, uvch_broadcast_send(&echo->back, &value), 1);
  }
}

static void echo_ends(echo_t* echo, int status) {
  support_expect_eq(echo->result, status, UV_EOF);
  support_expect_eq(echo->result, uvch_broadcast_sender_close(&echo->back), 0);
  support_expect_eq(echo->result, uvch_close((uvch_handle_t*) &echo->rx, NULL), 0);
  echo->ends += 1;
}

static void echo_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  echo_t* echo = rx->data;
  uint64_t value;

  if (status != 0) {
    echo_ends(echo, status);
    return;
  }
  memcpy(&value, item, sizeof(value));
  echo_got(echo, value);
}

static void echo_on_recv_many(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  size_t i;

  if (status != 0) {
    echo_on_recv(rx, status, first);
  }
  for (i = 0; i < count; i++) {
    echo_on_recv(rx, 0, (const char*) first + i * stride);
  }
}

static void echo_run(void* arg) {
  echo_t* echo = arg;
  uint64_t value;
  int r;

  while ((r = uvch_broadcast_recv_wait(&echo->rx, &value)) == 0) {
    echo_got(echo, value);
  }
  echo_ends(echo, r);
}

static void open_with(uvch_broadcast_sender_t* tx, size_t capacity, uvch_broadcast_policy policy) {
  uvch_broadcast_options_t options;

  memset(&options, 0, sizeof(options));
  options.policy = policy;
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, NULL, tx, sizeof(uint64_t), capacity, &options), 0);
}

/* The first ones are on threads. */
static void choir_start(choir_t* choir, uvch_broadcast_sender_t* back) {
  size_t i;

  for (i = 0; i < ECHO_LOOPS; i++) {
    support_loop_init(&choir->loops[i]);
  }
  for (i = 0; i < ECHOES; i++) {
    echo_t* echo = &choir->echoes[i];
    uv_loop_t* loop = i < ECHO_THREADS ? NULL : &choir->loops[i % ECHO_LOOPS];

    echo->result = &choir->result;
    ck_assert_int_eq(uvch_broadcast_sender_clone(back, &echo->back), 0);
    ck_assert_int_eq(uvch_broadcast_subscribe(loop, &echo->rx, &choir->tx), 0);
    echo->rx.data = echo;
    if (loop == NULL) {
      support_spawn(&echo->thread, echo_run, echo);
    } else if (i % 3 == 0) {
      ck_assert_int_eq(uvch_broadcast_recv_many_start(&echo->rx, 5, echo_on_recv_many), 0);
    } else {
      ck_assert_int_eq(uvch_broadcast_recv_start(&echo->rx, echo_on_recv), 0);
    }
  }
  for (i = 0; i < ECHO_LOOPS; i++) {
    support_runner_start(&choir->runners[i], &choir->loops[i]);
  }
}

static void choir_round(choir_t* choir, uint64_t first, uint64_t burst) {
  uint64_t value;
  uint64_t i;

  for (i = 0; i < burst; i++) {
    value = 2 * (first + i) + (i == burst - 1);
    support_check_eq(uvch_broadcast_send(&choir->tx, &value), ECHOES); /* all have read all before it: there is room */
  }
  for (i = 0; i < ECHOES; i++) {
    support_check_eq(uvch_broadcast_recv_wait(&choir->back, &value), 0);
    support_check_eq(value, 2 * (first + burst - 1) + 1);
  }
}

START_TEST(everybody_answers_every_burst) {
  static const size_t capacities[] = {1, 2, 3, 64};
  static choir_t choir;
  size_t capacity = capacities[CHOICE];
  size_t rounds = support_scale(1500);
  uvch_broadcast_sender_t back;
  uint64_t random = 9;
  uint64_t sent = 0;
  uint64_t burst;
  uint64_t value;
  size_t i;

  memset(&choir, 0, sizeof(choir));
  open_with(&choir.tx, capacity, POLICY);
  open_with(&back, ECHOES, POLICY);
  ck_assert_int_eq(uvch_broadcast_subscribe(NULL, &choir.back, &back), 0);
  choir_start(&choir, &back);
  ck_assert_int_eq(uvch_broadcast_sender_close(&back), 0);
  for (i = 0; i < rounds; i++) {
    burst = 1 + draw(&random, capacity);
    choir_round(&choir, sent, burst);
    sent += burst;
    dawdle(draw(&random, 2000));
    if (draw(&random, 10) == 0) { /* long enough for all to sleep */
      nap();
    }
  }
  ck_assert_int_eq(uvch_broadcast_sender_close(&choir.tx), 0);
  ck_assert_int_eq(uvch_broadcast_recv_wait(&choir.back, &value), UV_EOF);
  ck_assert_int_eq(uvch_close((uvch_handle_t*) &choir.back, NULL), 0);
  for (i = 0; i < ECHO_THREADS; i++) {
    support_join(&choir.echoes[i].thread);
  }
  for (i = 0; i < ECHO_LOOPS; i++) {
    support_runner_join(&choir.runners[i]);
    support_loop_close(&choir.loops[i]);
  }
  support_result_check(&choir.result);
  for (i = 0; i < ECHOES; i++) {
    ck_assert_uint_eq(choir.echoes[i].ends, 1);
    ck_assert_uint_eq(choir.echoes[i].next, sent);
  }
}
END_TEST

/* Loops come and go with all their receivers under senders that never stop. */

enum { STREAMS = 2, SEATS = 3 };

typedef struct stream_s {
  uvch_broadcast_sender_t tx;
  uint64_t sent;
  _Atomic(bool)* over;
  support_result_t* result;
  uv_thread_t thread;
} stream_t;

static void stream_run(void* arg) {
  stream_t* stream = arg;
  int r;

  while (!atomic_load(stream->over)) {
    r = uvch_broadcast_send(&stream->tx, &stream->sent);
    if (r >= 1) {
      stream->sent += 1;
    } else {
      support_expect(stream->result, r == UV_EPIPE || r == UV_EAGAIN);
      support_yield();
    }
  }
}

static void seat_on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  size_t* heard = rx->data;

  (void) item;
  support_check(status >= 0 || status == UV_ECONNABORTED);
  *heard += 1;
}

static void count_drop(void* item, void* arg) {
  (void) item;
  atomic_fetch_add((_Atomic(uint64_t)*) arg, 1);
}

/* One of the seats is never started, another one by turns. */
static size_t loop_comes_and_goes(const uvch_broadcast_sender_t* tx, size_t round) {
  uvch_broadcast_receiver_t* rx = calloc(SEATS, sizeof(*rx));
  uv_loop_t* loop = malloc(sizeof(*loop));
  size_t heard = 0;
  size_t i;

  ck_assert(rx != NULL && loop != NULL);
  support_loop_init(loop);
  for (i = 0; i < SEATS; i++) {
    support_check_eq(uvch_broadcast_subscribe(i == round % SEATS ? NULL : loop, &rx[i], tx), 0);
    rx[i].data = &heard;
    if (i == round % SEATS) {
      support_check_eq(uvch_attach(loop, (uvch_handle_t*) &rx[i]), 0);
    }
    if (i > round % 2) {
      support_check_eq(uvch_broadcast_recv_start(&rx[i], seat_on_recv), 0);
    }
  }
  for (i = 0; i < round % 5; i++) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  support_check_eq(uvch_close_all(loop), SEATS);
  support_check_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
  support_loop_close(loop);
  memset(rx, 0xdd, SEATS * sizeof(*rx));
  free(rx);
  free(loop);
  return heard;
}

START_TEST(loops_come_and_go_with_their_receivers_under_the_senders) {
  uvch_broadcast_options_t options;
  _Atomic(uint64_t) dropped = 0;
  size_t rounds = support_scale(1000);
  _Atomic(bool) over = false;
  stream_t streams[STREAMS];
  uvch_broadcast_sender_t tx;
  support_result_t result;
  uint64_t sent = 0;
  size_t heard = 0;
  size_t i;

  memset(&result, 0, sizeof(result));
  memset(&options, 0, sizeof(options));
  options.policy = POLICY;
  options.drop = CHOICE == 0 ? NULL : count_drop;
  options.arg = &dropped;
  ck_assert_int_eq(uvch_broadcast_init_ex(NULL, NULL, &tx, sizeof(uint64_t), 4, &options), 0);
  for (i = 0; i < STREAMS; i++) {
    memset(&streams[i], 0, sizeof(streams[i]));
    streams[i].over = &over;
    streams[i].result = &result;
    ck_assert_int_eq(uvch_broadcast_sender_clone(&tx, &streams[i].tx), 0);
    support_spawn(&streams[i].thread, stream_run, &streams[i]);
  }
  for (i = 0; i < rounds || heard == 0; i++) {
    heard += loop_comes_and_goes(&tx, i);
  }
  atomic_store(&over, true);
  for (i = 0; i < STREAMS; i++) {
    support_join(&streams[i].thread);
    ck_assert_int_eq(uvch_broadcast_sender_close(&streams[i].tx), 0);
    sent += streams[i].sent;
  }
  support_result_check(&result);
  ck_assert_int_eq(uvch_broadcast_sender_close(&tx), 0);
  ck_assert_uint_eq(atomic_load(&dropped), CHOICE == 0 ? 0 : sent);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("broadcast: races");
  TCase* fair = support_case(suite, "fair");
  TCase* duels = support_case(suite, "duels");
  TCase* rounds = support_case(suite, "rounds");
  TCase* loops = support_case(suite, "loops");

  tcase_add_loop_test(fair, each_receiver_hears_its_part_of_one_order, 0, (int) COUNT(fair_cases));
  add_for_every_policy(duels, a_sender_that_goes_while_a_receiver_begins_to_wait_ends_it_once, 2 * KINDS);
  add_for_every_policy(duels, a_receiver_that_starts_and_stops_while_others_send_hears_all_and_the_end_once, 2 * KINDS);
  add_for_every_policy(duels, a_send_that_races_with_the_last_close_is_dropped_or_given_back, 6);
  tcase_add_loop_test(duels, a_cancel_that_races_with_room_gives_the_message_back_or_is_too_late, 0, 4);
  add_for_every_policy(duels, a_weak_sender_that_races_with_the_last_one_sends_before_the_end_or_never, KINDS);
  add_for_every_policy(duels, who_waits_for_the_end_of_the_receivers_is_told_once_whoever_comes_and_goes, 2);
  add_for_every_policy(rounds, everybody_answers_every_burst, 4);
  add_for_every_policy(loops, loops_come_and_go_with_their_receivers_under_the_senders, 2);
  return support_main(suite);
}
