/* SPDX-License-Identifier: MIT
 *
 * Watch between threads. Whoever subscribes, looks, stops and leaves while others send: there is one order of versions, nobody goes
 * back in it, no value is torn, none is lost to who replaces or changes it, the last one comes to all before the end, and nobody
 * sleeps on.
 *
 * Ten million rounds of the last value and the end: CK_RUN_CASE="the last value" UVCH_TEST_SCALE=100 test/test_watch_race */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch_support.h"

#include <limits.h>
#include <time.h>

enum { NOT_DONE = INT_MIN }; /* no status is that low */

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

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15) + 1;
  x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
  return x ^ x >> 32;
}

/* The market: writers put numbered values, visitors on threads and guests on loops look at them, each for a while or to the end.
 * Each visit keeps what it saw; in the end all are laid over the one order, which who replaces or modifies a value tells: he gets
 * the one before. */

enum { WRITERS_MAX = 4, VISITORS = 3, HALLS = 2, PLACES = 2, ITEM_MAX = 4096, WORDS_MAX = ITEM_MAX / 8 };

/* The visitor and the hall that get new receivers from a sender; the others clone those they have. */
enum { SUBSCRIBER = 1 };

#define UNKNOWN UINT32_MAX

typedef struct market_case_s {
  size_t size;
  bool owned;    /* values have a block of memory, so copy and drop functions */
  bool chain;    /* each value is put so that its writer gets to know the one before it */
  bool restless; /* receivers come and go */
  bool flood;    /* writers never pause, so that values come in faster than callbacks go out */
  size_t writers;
  size_t each; /* values of each writer */
} market_case_t;

static const market_case_t market_cases[] = {
    {64, false, false, false, false, 4, 4000}, {4096, false, false, false, false, 4, 2000},
    {64, true, false, false, false, 4, 2500},  {4096, true, false, false, false, 4, 1500},
    {64, false, true, false, false, 4, 4000},  {4096, false, true, false, false, 4, 2000},
    {64, true, true, false, false, 4, 2500},   {4096, true, true, false, false, 4, 1500},
    {64, false, false, true, false, 4, 4000},  {64, true, false, true, false, 4, 2500},
    {64, false, true, true, false, 4, 4000},   {4096, false, true, true, false, 4, 2000},
    {64, true, true, true, false, 4, 2500},    {4096, true, true, true, false, 4, 1500},
    {16, false, true, true, false, 1, 8000},   {16, true, true, true, false, 1, 6000},
    {16, false, false, true, true, 4, 100000}, {16, true, false, false, true, 3, 60000},
    {16, false, true, true, true, 2, 60000},
};

/* PEEK: a look that counts as none. NEWS: it has not been seen. SAME: it may have been. */
enum { PEEK, NEWS, SAME };

typedef struct look_s {
  uint32_t id;
  uint32_t floor; /* it is that one or a newer one */
  int kind;
} look_t;

typedef struct visit_s visit_t;

struct visit_s {
  visit_t* next;
  look_t* looks;
  size_t count;
  size_t room;
  uint32_t done_before[WRITERS_MAX]; /* sends that were over when it, or the one that it is a clone of, came */
  uint32_t news;                     /* the newest that counts as seen; UNKNOWN: of before it came */
  uint32_t after;                    /* what the one that it is a clone of had seen last */
  uint32_t last;                     /* of all looks */
  bool repeats;                      /* the next may be one that has been seen */
  bool blind;                        /* something has been marked seen without a look */
  bool ended;                        /* with UV_EOF */
  uint32_t end;                      /* the value that was there then */
};

typedef struct market_s market_t;

typedef struct writer_s {
  market_t* market;
  uvch_watch_sender_t tx;
  uint32_t index;
  uint32_t next;
  uint32_t wanted; /* what modify makes */
  uint32_t before; /* of what */
  int answer;      /* and what it says */
  _Atomic(uint32_t) done;
  uint64_t random;
  uv_thread_t thread;
} writer_t;

typedef struct visitor_s {
  market_t* market;
  uvch_watch_sender_t tx; /* of one that subscribes */
  bool subscribes;
  uvch_watch_receiver_t receivers[2];
  uvch_watch_receiver_t* rx; /* the one of them that is in use */
  visit_t* visits;
  visit_t* visit;   /* the one that goes on */
  const void* kept; /* what is borrowed, and which it is */
  uint32_t kept_id;
  uint32_t floor;
  uint64_t random;
  bool stays;
  uv_thread_t thread;
} visitor_t;

typedef struct guest_s guest_t;

typedef struct hall_s {
  market_t* market;
  uvch_watch_sender_t tx; /* of one that subscribes; open until the bell */
  bool open;
  uv_loop_t loop;
  uv_timer_t again; /* starts those that stopped */
  uv_async_t bell;
  visit_t* visits;
  guest_t* stopped;
  guest_t* asking; /* one of those that do */
  size_t places;
  int depth;
  uint32_t floor; /* of before this pass */
  uint64_t random;
  uv_thread_t thread;
} hall_t;

struct guest_s {
  uvch_watch_receiver_t rx; /* first, so that the handle is the guest */
  hall_t* hall;
  visit_t* visit;
  guest_t* next_stopped;
  uvch_watch_wait_for_t req;
  bool asks;
  bool first_test;
  bool cancelled;
  uint32_t tested;
  const void* kept;
  uint32_t kept_id;
  size_t left; /* changes until it goes; 0: it has gone */
  bool stays;
};

struct market_s {
  market_case_t params;
  uint32_t total; /* also the number of the first value, which nobody sent */
  writer_t writers[WRITERS_MAX];
  visitor_t visitors[VISITORS];
  hall_t halls[HALLS];
  uint32_t* before; /* of each value */
  _Atomic(size_t) alive;
  _Atomic(size_t) copies;
  _Atomic(size_t) writing;
  support_result_t result;
};

/* Values. The first word is the number with a sum over it, the second may point to a block with the same; the others follow. */

static uint64_t tag_of(uint32_t id) {
  return (uint64_t) id << 32 | (uint32_t) (mix(id) >> 20);
}

static bool item_make(market_t* market, void* item, uint32_t id) {
  uint64_t tag = tag_of(id);
  uint64_t* words = item;
  uint64_t* block;
  size_t i;

  words[0] = tag;
  words[1] = mix(tag + 1);
  if (market->params.owned) {
    block = malloc(sizeof(*block));
    if (block == NULL) {
      return false;
    }
    *block = tag;
    memcpy(&words[1], &block, sizeof(block));
    atomic_fetch_add(&market->alive, 1);
  }
  for (i = 2; i < market->params.size / 8; i++) {
    words[i] = mix(tag + i);
  }
  return true;
}

static uint64_t* item_block(const uint64_t* words) {
  uint64_t* block;

  memcpy(&block, &words[1], sizeof(block));
  return block;
}

static void item_end(market_t* market, const void* item) {
  uint64_t* block;

  if (market->params.owned) {
    block = item_block(item);
    *block = UINT64_MAX;
    free(block);
    atomic_fetch_sub(&market->alive, 1);
  }
}

/* The number of a value that is whole, UNKNOWN for any other. */
static uint32_t item_read(const market_t* market, const void* item) {
  const uint64_t* words = item;
  uint64_t tag = words[0];
  uint32_t id = (uint32_t) (tag >> 32);
  size_t i;

  if (tag != tag_of(id) || id > market->total) {
    return UNKNOWN;
  }
  if (market->params.owned ? *item_block(words) != tag : words[1] != mix(tag + 1)) {
    return UNKNOWN;
  }
  for (i = 2; i < market->params.size / 8; i++) {
    if (words[i] != mix(tag + i)) {
      return UNKNOWN;
    }
  }
  return id;
}

static int market_copy(void* to, const void* from, void* arg) {
  market_t* market = arg;
  uint32_t id = item_read(market, from);

  support_expect(&market->result, id != UNKNOWN);
  if (atomic_fetch_add(&market->copies, 1) % 17 == 3) {
    return UV_ENOBUFS;
  }
  return item_make(market, to, id) ? 0 : UV_ENOMEM;
}

static void market_drop(void* item, void* arg) {
  market_t* market = arg;

  if (support_expect(&market->result, item_read(market, item) != UNKNOWN)) {
    item_end(market, item);
  }
}

/* The last of so many values of a writer. */
static uint32_t writer_last(const market_t* market, size_t writer, uint32_t done) {
  return done == 0 ? market->total : (uint32_t) (writer * market->params.each) + done - 1;
}

/* The last one that some writer is done with: nobody sees an older one from now on. */
static uint32_t market_floor(market_t* market, uint64_t* random) {
  size_t writer = draw(random, market->params.writers);

  return writer_last(market, writer, atomic_load(&market->writers[writer].done));
}

/* Writers. */

static int writer_modify(void* value, void* arg) {
  writer_t* self = arg;
  market_t* market = self->market;

  self->before = item_read(market, value);
  support_expect(&market->result, self->before != UNKNOWN);
  if (draw(&self->random, 8) == 0) {
    dawdle(draw(&self->random, 2000));
  }
  if (self->answer > 0 || draw(&self->random, 2) == 0) { /* else it is given up; then it may stay as it was */
    item_end(market, value);
    support_expect(&market->result, item_make(market, value, self->wanted));
  }
  return self->answer;
}

/* 1: it is in. */
static int writer_modifies(writer_t* self, bool only_if) {
  support_result_t* result = &self->market->result;
  uint64_t choice = draw(&self->random, 10);
  int r;

  self->answer = choice == 0 ? UV_EAGAIN : choice == 1 && only_if ? 0 : 1 + (int) choice;
  r = only_if ? uvch_watch_modify_if(&self->tx, writer_modify, self) : uvch_watch_modify(&self->tx, writer_modify, self);
  if (r == UV_EBUSY || (r == UV_ENOBUFS && self->market->params.owned)) {
    return 0;
  }
  if (self->answer <= 0) {
    support_expect_eq(result, r, self->answer);
    return 0;
  }
  return support_expect_eq(result, r, only_if);
}

static int writer_replaces(writer_t* self) {
  uint64_t fresh[WORDS_MAX];
  uint64_t old[WORDS_MAX];
  market_t* market = self->market;
  int r;

  support_expect(&market->result, item_make(market, fresh, self->wanted));
  r = uvch_watch_send_replace(&self->tx, fresh, old);
  if (r != 0) {
    support_expect(&market->result, r == UV_ENOBUFS && market->params.owned);
    item_end(market, fresh);
    return 0;
  }
  self->before = item_read(market, old);
  if (support_expect(&market->result, self->before != UNKNOWN)) {
    item_end(market, old);
  }
  return 1;
}

static int writer_sends(writer_t* self) {
  uint64_t fresh[WORDS_MAX];

  self->before = UNKNOWN;
  support_expect(&self->market->result, item_make(self->market, fresh, self->wanted));
  support_expect_eq(&self->market->result, uvch_watch_send(&self->tx, fresh), 0);
  return 1;
}

static int writer_puts(writer_t* self) {
  uint64_t choice = draw(&self->random, self->market->params.chain ? 3 : 5);

  self->wanted = self->index * (uint32_t) self->market->params.each + self->next;
  return choice == 0 ? writer_replaces(self) : choice < 3 ? writer_modifies(self, choice == 1) : writer_sends(self);
}

static void writer_run(void* arg) {
  writer_t* self = arg;
  market_t* market = self->market;

  while (self->next < market->params.each) {
    if (!market->params.flood && draw(&self->random, 20) == 0) { /* nothing else lets receivers keep up */
      nap();
    }
    if (writer_puts(self)) {
      market->before[self->wanted] = self->before;
      self->next += 1;
      atomic_store(&self->done, self->next);
    }
  }
  atomic_fetch_sub(&market->writing, 1);
  support_expect_eq(&market->result, uvch_watch_sender_close(&self->tx), 0);
}

/* Visits. */

static visit_t* visit_begin(market_t* market, visit_t** list) {
  visit_t* visit = calloc(1, sizeof(*visit));
  size_t i;

  if (visit == NULL) {
    abort();
  }
  visit->next = *list;
  *list = visit;
  visit->news = UNKNOWN;
  visit->after = UNKNOWN;
  visit->last = UNKNOWN;
  visit->end = UNKNOWN;
  for (i = 0; i < market->params.writers; i++) {
    visit->done_before[i] = atomic_load(&market->writers[i].done);
  }
  return visit;
}

/* It goes on from where another is. */
static void visit_clone(visit_t* visit, const visit_t* source) {
  memcpy(visit->done_before, source->done_before, sizeof(visit->done_before));
  visit->after = source->news != UNKNOWN ? source->news : source->after;
  visit->repeats = source->repeats;
  visit->blind = source->blind;
}

static uint32_t visit_look(market_t* market, visit_t* visit, const void* value, uint32_t floor, int kind) {
  look_t look = {item_read(market, value), floor, kind == NEWS && visit->repeats ? SAME : kind};

  if (!support_expect(&market->result, look.id != UNKNOWN)) {
    return UNKNOWN;
  }
  if (kind != PEEK) {
    visit->repeats = false;
    visit->blind = false;
    visit->news = look.id;
  }
  visit->last = look.id;
  if (visit->count == visit->room) {
    visit->room = visit->room == 0 ? 64 : 2 * visit->room;
    visit->looks = realloc(visit->looks, visit->room * sizeof(look_t));
    if (visit->looks == NULL) {
      abort();
    }
  }
  visit->looks[visit->count] = look;
  visit->count += 1;
  return look.id;
}

static void visit_ends(market_t* market, visit_t* visit, const void* value) {
  visit->ended = true;
  visit->end = item_read(market, value);
  support_expect(&market->result, visit->end != UNKNOWN);
}

/* Visitors: threads with a receiver. */

static void visitor_keep(visitor_t* self, const void* value, uint32_t id) {
  self->kept = value;
  self->kept_id = id;
}

static void visitor_look(visitor_t* self, bool update, int kind) {
  const void* value;

  self->floor = market_floor(self->market, &self->random);
  value = update ? uvch_watch_borrow_and_update(self->rx) : uvch_watch_borrow(self->rx);
  visitor_keep(self, value, visit_look(self->market, self->visit, value, self->floor, kind));
}

/* What a wait for a change said; whether there was one. What is looked at may be newer than what has been marked. */
static bool visitor_told(visitor_t* self, int answer) {
  if (answer == 0) {
    bool update = draw(&self->random, 3) > 0;

    visitor_look(self, update, NEWS);
    self->visit->repeats = !update;
    return true;
  }
  if (answer == UV_EOF) {
    const void* value = uvch_watch_borrow(self->rx);

    visit_ends(self->market, self->visit, value);
    visitor_keep(self, value, self->visit->end);
  } else {
    support_expect_eq(&self->market->result, answer, UV_ETIMEDOUT);
  }
  return false;
}

/* The first test may be of what has been seen, each other one is of something new. */
typedef struct question_s {
  visitor_t* visitor;
  int kind;
  uint32_t last;
} question_t;

static int visitor_test(const void* value, void* arg) {
  question_t* question = arg;
  visitor_t* self = question->visitor;

  question->last = visit_look(self->market, self->visit, value, self->floor, question->kind);
  question->kind = NEWS;
  return question->last % 4 == 1;
}

static bool visitor_asks(visitor_t* self) {
  question_t question = {self, SAME, UNKNOWN};
  market_t* market = self->market;
  const void* value = NULL;
  int r;

  self->floor = market_floor(market, &self->random);
  if (self->subscribes || draw(&self->random, 2) == 0) {
    r = uvch_watch_wait_for_timedwait(self->rx, visitor_test, &question, &value, draw(&self->random, 20000));
  } else {
    r = uvch_watch_wait_for_wait(self->rx, visitor_test, &question, &value);
  }
  if (r != 0) {
    self->kept = NULL; /* it may have borrowed meanwhile */
    return visitor_told(self, r);
  }
  support_expect_eq(&market->result, item_read(market, value), question.last);
  visitor_keep(self, value, question.last);
  return true;
}

static bool visitor_marks(visitor_t* self) {
  support_result_t* result = &self->market->result;

  if (draw(&self->random, 2) == 0) {
    support_expect_eq(result, uvch_watch_mark_unchanged(self->rx), 0);
    self->visit->blind = true;
    return false;
  }
  support_expect_eq(result, uvch_watch_mark_changed(self->rx), 0);
  self->visit->repeats = true;
  return support_expect_eq(result, uvch_watch_changed_timedwait(self->rx, 0), 0) && visitor_told(self, 0);
}

static bool visitor_has_changed(visitor_t* self) {
  support_result_t* result = &self->market->result;
  int r = uvch_watch_has_changed(self->rx);

  if (r != 1) {
    support_expect(result, r == 0 || r == UV_EOF);
    return false;
  }
  return support_expect_eq(result, uvch_watch_changed_timedwait(self->rx, 0), 0) && visitor_told(self, 0);
}

static bool visitor_call(visitor_t* self) {
  switch (draw(&self->random, 10)) {
    case 0:
      return visitor_asks(self);
    case 1:
      return visitor_has_changed(self);
    case 2:
      return visitor_marks(self);
    case 3:
      visitor_look(self, false, PEEK);
      return true;
    case 4:
      visitor_look(self, true, SAME);
      return true;
    default:
      if (self->subscribes || draw(&self->random, 2) == 0) {
        return visitor_told(self, uvch_watch_changed_timedwait(self->rx, draw(&self->random, 20000)));
      }
      return visitor_told(self, uvch_watch_changed_wait(self->rx));
  }
}

static void visitor_listen(visitor_t* self, size_t count) {
  market_t* market = self->market;

  while (count > 0 && !self->visit->ended) {
    count -= visitor_call(self);
    if (draw(&self->random, 50) == 0) {
      dawdle(draw(&self->random, 20000));
    }
    if (self->kept != NULL) { /* whatever came meanwhile */
      support_expect_eq(&market->result, item_read(market, self->kept), self->kept_id);
    }
    if (self->subscribes && atomic_load(&market->writing) == 0) {
      return;
    }
  }
}

static void visitor_leave(visitor_t* self) {
  support_expect_eq(&self->market->result, uvch_close((uvch_handle_t*) self->rx, NULL), 0);
  self->kept = NULL;
}

/* The other receiver takes the place of this one, if there is memory for it. */
static void visitor_comes_back(visitor_t* self) {
  uvch_watch_receiver_t* other = &self->receivers[self->rx == &self->receivers[0]];
  support_result_t* result = &self->market->result;
  visit_t* visit = visit_begin(self->market, &self->visits);
  int r;

  if (self->subscribes) {
    r = uvch_watch_subscribe(NULL, other, &self->tx);
  } else {
    visit_clone(visit, self->visit);
    r = uvch_watch_receiver_clone(NULL, other, self->rx);
  }
  if (!support_expect_eq(result, r, 0)) {
    return;
  }
  support_expect_eq(result, uvch_watch_receiver_same_channel(other, self->rx), 1);
  visitor_leave(self);
  self->rx = other;
  self->visit = visit;
}

/* Who can subscribe keeps the channel open, so it must not wait for others. */
static void visitor_run(void* arg) {
  visitor_t* self = arg;
  market_t* market = self->market;

  while (!self->stays && !self->visit->ended && (!self->subscribes || atomic_load(&market->writing) > 0)) {
    visitor_listen(self, 1 + draw(&self->random, 60));
    if (!self->visit->ended) {
      visitor_comes_back(self);
    }
  }
  if (self->subscribes) {
    support_expect_eq(&market->result, uvch_watch_sender_close(&self->tx), 0);
    self->subscribes = false;
  }
  visitor_listen(self, SIZE_MAX);
  visitor_leave(self);
}

/* Guests: receivers on the loop of a hall. When one leaves, another comes, until the end. */

static void guest_on_change(uvch_watch_receiver_t* rx, int status, const void* value);
static void guest_leave(guest_t* guest);

static void guest_start(guest_t* guest) {
  unsigned int flags = draw(&guest->hall->random, 4) == 0 ? UVCH_WATCH_CURRENT : 0;

  guest->visit->repeats = guest->visit->repeats || flags != 0;
  support_expect_eq(&guest->hall->market->result, uvch_watch_start(&guest->rx, guest_on_change, flags), 0);
}

static void hall_place_ends(hall_t* hall) {
  hall->places -= 1;
  if (hall->places == 0) {
    uv_close((uv_handle_t*) &hall->again, NULL);
    uv_close((uv_handle_t*) &hall->bell, NULL);
  }
}

static guest_t* guest_make(hall_t* hall, bool stays) {
  guest_t* guest = calloc(1, sizeof(*guest));

  if (guest == NULL) {
    abort();
  }
  guest->hall = hall;
  guest->stays = stays;
  guest->left = stays ? SIZE_MAX : 1 + draw(&hall->random, 100);
  guest->visit = visit_begin(hall->market, &hall->visits);
  return guest;
}

/* On the loop from the start, or a moment later. */
static void guest_comes(guest_t* guest, const uvch_watch_sender_t* tx, const guest_t* source) {
  hall_t* hall = guest->hall;
  uv_loop_t* loop = draw(&hall->random, 3) == 0 ? NULL : &hall->loop;
  support_result_t* result = &hall->market->result;

  if (source == NULL) {
    support_expect_eq(result, uvch_watch_subscribe(loop, &guest->rx, tx), 0);
  } else {
    visit_clone(guest->visit, source->visit);
    support_expect_eq(result, uvch_watch_receiver_clone(loop, &guest->rx, &source->rx), 0);
  }
  if (loop == NULL) {
    support_expect_eq(result, uvch_attach(&hall->loop, (uvch_handle_t*) &guest->rx), 0);
  }
  guest_start(guest);
}

static void guest_on_close(uvch_handle_t* handle) {
  guest_t* guest = (guest_t*) (void*) handle;

  support_expect_eq(&guest->hall->market->result, guest->left, 0);
  memset(guest, 0xdd, sizeof(*guest));
  free(guest);
}

static void guest_leave(guest_t* guest) {
  hall_t* hall = guest->hall;
  guest_t** link = &hall->stopped;

  while (*link != NULL && *link != guest) {
    link = &(*link)->next_stopped;
  }
  if (*link == guest) {
    *link = guest->next_stopped;
  }
  hall->asking = hall->asking == guest ? NULL : hall->asking;
  guest->left = 0;
  support_expect_eq(&hall->market->result, uvch_close((uvch_handle_t*) &guest->rx, guest_on_close), 0);
}

static void guest_gives_way(guest_t* guest) {
  guest_t* other = guest_make(guest->hall, guest->stays);
  hall_t* hall = guest->hall;

  if (hall->open && draw(&hall->random, 3) > 0) {
    guest_comes(other, &hall->tx, NULL);
  } else {
    guest_comes(other, NULL, guest);
  }
  guest_leave(guest);
}

static void guest_ends(guest_t* guest) {
  visit_ends(guest->hall->market, guest->visit, uvch_watch_borrow(&guest->rx));
  hall_place_ends(guest->hall);
  guest_leave(guest);
}

/* Waiting for a value of its own. */

static int guest_test(const void* value, void* arg) {
  guest_t* guest = arg;
  hall_t* hall = guest->hall;

  support_expect(&hall->market->result, guest->left > 0);
  guest->tested = visit_look(hall->market, guest->visit, value, hall->floor, guest->first_test ? SAME : NEWS);
  guest->first_test = false;
  return guest->tested % 4 == 1;
}

static void guest_on_value(uvch_watch_wait_for_t* req, int status, const void* value) {
  guest_t* guest = req->data;
  market_t* market = guest->hall->market;

  support_expect(&market->result, guest->asks);
  support_expect_eq(&market->result, status == UV_ECANCELED, guest->cancelled || guest->left == 0);
  support_expect_eq(&market->result, status == 0, value != NULL);
  guest->asks = false;
  guest->hall->asking = guest->hall->asking == guest ? NULL : guest->hall->asking;
  if (guest->left == 0) {
    return;
  }
  if (status == 0) {
    support_expect_eq(&market->result, item_read(market, value), guest->tested);
  } else if (status == UV_EOF) {
    guest_ends(guest);
    return;
  } else {
    support_expect_eq(&market->result, status, UV_ECANCELED);
  }
  guest_start(guest);
  if (value != NULL) {
    support_expect_eq(&market->result, item_read(market, value), guest->tested);
  }
}

static void guest_asks(guest_t* guest) {
  support_result_t* result = &guest->hall->market->result;

  support_expect_eq(result, uvch_watch_stop(&guest->rx), 0);
  guest->kept = NULL; /* the wait borrows */
  guest->asks = true;
  guest->first_test = true;
  guest->cancelled = false;
  guest->req.data = guest;
  support_expect_eq(result, uvch_watch_wait_for(&guest->req, &guest->rx, guest_test, guest, guest_on_value), 0);
  guest->hall->asking = guest;
}

static void hall_cancels(hall_t* hall) {
  guest_t* guest = hall->asking;
  int r;

  if (guest != NULL && !guest->stays && draw(&hall->random, 3) == 0) {
    guest_gives_way(guest);
  } else if (guest != NULL) {
    r = uvch_cancel((uvch_req_t*) &guest->req);
    support_expect(&hall->market->result, r == 0 || r == UV_EBUSY);
    guest->cancelled = guest->cancelled || r == 0;
  }
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
  support_expect_eq(&guest->hall->market->result, uvch_watch_stop(&guest->rx), 0);
  guest->next_stopped = guest->hall->stopped;
  guest->hall->stopped = guest;
  uv_timer_start(&guest->hall->again, hall_on_again, draw(&guest->hall->random, 2), 0);
}

static void hall_nest(hall_t* hall) {
  if (hall->depth < 2) {
    hall->depth += 1;
    uv_run(&hall->loop, UV_RUN_NOWAIT);
    hall->depth -= 1;
  }
}

static void guest_marks(guest_t* guest) {
  support_result_t* result = &guest->hall->market->result;

  if (draw(&guest->hall->random, 2) == 0) {
    support_expect_eq(result, uvch_watch_mark_changed(&guest->rx), 0);
    guest->visit->repeats = true;
  } else {
    support_expect_eq(result, uvch_watch_mark_unchanged(&guest->rx), 0);
    guest->visit->blind = true;
  }
}

static void guest_borrows(guest_t* guest) {
  bool update = draw(&guest->hall->random, 2) == 0;
  hall_t* hall = guest->hall;
  uint32_t floor;

  if (guest->kept != NULL) {
    support_expect_eq(&hall->market->result, item_read(hall->market, guest->kept), guest->kept_id);
  }
  floor = market_floor(hall->market, &hall->random);
  guest->kept = update ? uvch_watch_borrow_and_update(&guest->rx) : uvch_watch_borrow(&guest->rx);
  guest->kept_id = visit_look(hall->market, guest->visit, guest->kept, floor, update ? SAME : PEEK);
}

/* The guest may be no more after it. */
static void guest_does_something(guest_t* guest) {
  hall_t* hall = guest->hall;

  switch (draw(&hall->random, 40)) {
    case 0:
      guest_stop(guest);
      return;
    case 1:
      support_expect_eq(&hall->market->result, uvch_watch_stop(&guest->rx), 0);
      guest_start(guest);
      return;
    case 2:
      guest_marks(guest);
      return;
    case 3:
    case 4:
      hall_nest(hall);
      return;
    case 5:
      guest_asks(guest);
      return;
    case 6:
    case 7:
      hall_cancels(hall);
      return;
    case 8:
    case 9:
    case 10:
      guest_borrows(guest);
      return;
    case 11:
      if (!guest->stays) {
        guest_gives_way(guest);
        hall_nest(hall);
      }
      return;
    default:
      dawdle(draw(&hall->random, 300));
  }
}

/* What it got stays whole to the end of the callback. */
static void guest_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  guest_t* guest = (guest_t*) (void*) rx;
  market_t* market = guest->hall->market;
  uint32_t id;

  support_expect_eq(&market->result, status == 0, value != NULL);
  if (!support_expect(&market->result, guest->left > 0 && !guest->asks)) { /* it has left, or waits for something else */
    return;
  }
  if (status != 0) {
    support_expect_eq(&market->result, status, UV_EOF);
    support_expect_eq(&market->result, uvch_is_active((uvch_handle_t*) rx), 0);
    guest_ends(guest);
    return;
  }
  id = visit_look(market, guest->visit, value, guest->hall->floor, NEWS);
  guest->left -= 1;
  if (guest->left == 0) {
    guest_gives_way(guest);
  } else {
    guest_does_something(guest);
  }
  support_expect_eq(&market->result, item_read(market, value), id);
}

static void hall_on_bell(uv_async_t* bell) {
  hall_t* hall = bell->data;

  hall->open = false;
  support_expect_eq(&hall->market->result, uvch_watch_sender_close(&hall->tx), 0);
}

static void hall_run(void* arg) {
  hall_t* hall = arg;
  int alive = 1;

  while (alive != 0) {
    hall->floor = market_floor(hall->market, &hall->random);
    alive = uv_run(&hall->loop, UV_RUN_ONCE);
  }
}

/* In the end. */

typedef struct ledger_s {
  market_t* market;
  uint32_t* place; /* of each value in the whole order; UNKNOWN where that is not known */
  uint32_t final;
} ledger_t;

/* Each value is what was there before exactly one other; the last one is not. */
static void ledger_fill(ledger_t* ledger) {
  market_t* market = ledger->market;
  uint32_t* after = malloc((market->total + 1) * sizeof(after[0]));
  uint32_t place;
  uint32_t at;
  uint32_t id;

  ck_assert_ptr_nonnull(after);
  memset(after, 0xff, (market->total + 1) * sizeof(after[0]));
  for (id = 0; id < market->total; id++) {
    if (market->before[id] != UNKNOWN) {
      support_check(market->before[id] != id);
      support_check_eq(after[market->before[id]], UNKNOWN);
      after[market->before[id]] = id;
    }
  }
  for (at = market->total, place = 0; market->params.chain && at != UNKNOWN; at = after[at], place++) {
    support_check_eq(ledger->place[at], UNKNOWN);
    ledger->place[at] = place;
    support_check(after[at] != UNKNOWN || at == ledger->final);
  }
  support_check(!market->params.chain || place == market->total + 1);
  free(after);
}

/* Whether `a` may come when `b` has been seen; `strict`: and is another one. Of one writer the numbers tell. */
static bool ledger_follows(const ledger_t* ledger, uint32_t b, uint32_t a, bool strict) {
  const market_t* market = ledger->market;

  if (b == UNKNOWN) {
    return true;
  }
  if (market->params.chain) {
    return ledger->place[a] >= ledger->place[b] + strict;
  }
  if (a == b || a == market->total) {
    return !strict && a == b;
  }
  return b == market->total || a / market->params.each != b / market->params.each || a > b;
}

/* Also per writer, where nothing else is known. */
static void visit_check_writers(const ledger_t* ledger, const visit_t* visit) {
  const market_t* market = ledger->market;
  uint32_t newest[WRITERS_MAX];
  size_t i;

  memset(newest, 0xff, sizeof(newest));
  for (i = 0; i < visit->count; i++) {
    uint32_t id = visit->looks[i].id;

    if (id != market->total) {
      uint32_t* last = &newest[id / market->params.each];

      support_check(*last == UNKNOWN || id >= *last);
      *last = id;
    }
  }
}

static void visit_check(const ledger_t* ledger, const visit_t* visit) {
  const market_t* market = ledger->market;
  uint32_t news = visit->after;
  uint32_t last = visit->after;
  size_t k;
  size_t i;

  for (i = 0; i < visit->count; i++) {
    const look_t* look = &visit->looks[i];

    support_check(ledger_follows(ledger, last, look->id, false));
    support_check(ledger_follows(ledger, look->floor, look->id, false));
    support_check(look->kind == PEEK || ledger_follows(ledger, news, look->id, look->kind == NEWS));
    for (k = 0; news == UNKNOWN && look->kind == NEWS && k < market->params.writers; k++) { /* it had seen what was there */
      support_check(ledger_follows(ledger, writer_last(market, k, visit->done_before[k]), look->id, true));
    }
    news = look->kind == PEEK ? news : look->id;
    last = look->id;
  }
  visit_check_writers(ledger, visit);
  if (visit->ended) {
    support_check_eq(visit->end, ledger->final);
    support_check(visit->blind || news == UNKNOWN || news == ledger->final); /* also of a clone that has seen nothing itself */
  }
}

static size_t visits_check(ledger_t* ledger, visit_t* visits) {
  size_t looks = 0;

  while (visits != NULL) {
    visit_t* visit = visits;

    visits = visit->next;
    visit_check(ledger, visit);
    looks += visit->count;
    free(visit->looks);
    free(visit);
  }
  return looks;
}

static void market_check(market_t* market, uint32_t final) {
  ledger_t ledger = {.market = market, .final = final};
  size_t looks = 0;
  size_t i;

  ledger.place = malloc((market->total + 1) * sizeof(ledger.place[0]));
  ck_assert_ptr_nonnull(ledger.place);
  memset(ledger.place, 0xff, (market->total + 1) * sizeof(ledger.place[0]));
  ledger_fill(&ledger);
  for (i = 0; i < VISITORS; i++) {
    looks += visits_check(&ledger, market->visitors[i].visits);
  }
  for (i = 0; i < HALLS; i++) {
    looks += visits_check(&ledger, market->halls[i].visits);
  }
  ck_assert_uint_gt(looks, 0);
  free(ledger.place);
}

static void market_open(market_t* market, uvch_watch_sender_t* tx) {
  uvch_watch_options_t options;
  uint64_t first[WORDS_MAX];

  memset(&options, 0, sizeof(options));
  if (market->params.owned) {
    options.copy = market_copy;
    options.drop = market_drop;
    options.arg = market;
  }
  market->total = (uint32_t) (market->params.writers * market->params.each);
  market->before = malloc(market->total * sizeof(market->before[0]));
  ck_assert_ptr_nonnull(market->before);
  memset(market->before, 0xff, market->total * sizeof(market->before[0]));
  ck_assert(item_make(market, first, market->total));
  watch_open_ex(NULL, NULL, tx, market->params.size, first, &options);
}

static void market_let_in(market_t* market, const uvch_watch_sender_t* tx) {
  bool restless = market->params.restless;
  size_t i;
  size_t k;

  for (i = 0; i < VISITORS; i++) {
    visitor_t* visitor = &market->visitors[i];

    visitor->market = market;
    visitor->random = 100 + i;
    visitor->stays = i == 0 || !restless;
    visitor->subscribes = i == SUBSCRIBER && restless;
    visitor->rx = &visitor->receivers[0];
    visitor->visit = visit_begin(market, &visitor->visits);
    if (visitor->subscribes) {
      watch_clone_sender(tx, &visitor->tx);
    }
    watch_subscribe(NULL, visitor->rx, tx);
  }
  for (i = 0; i < HALLS; i++) {
    hall_t* hall = &market->halls[i];

    hall->market = market;
    hall->random = 200 + i;
    hall->places = PLACES;
    hall->open = i == SUBSCRIBER && restless;
    support_loop_init(&hall->loop);
    ck_assert_int_eq(uv_timer_init(&hall->loop, &hall->again), 0);
    ck_assert_int_eq(uv_async_init(&hall->loop, &hall->bell, hall_on_bell), 0);
    hall->again.data = hall;
    hall->bell.data = hall;
    if (hall->open) {
      watch_clone_sender(tx, &hall->tx);
    }
    for (k = 0; k < PLACES; k++) {
      guest_comes(guest_make(hall, k == 0 || !restless), tx, NULL);
    }
  }
}

static void market_write(market_t* market, const uvch_watch_sender_t* tx) {
  size_t i;

  for (i = 0; i < market->params.writers; i++) {
    writer_t* writer = &market->writers[i];

    writer->market = market;
    writer->index = (uint32_t) i;
    writer->random = 3 + i;
    watch_clone_sender(tx, &writer->tx);
    support_spawn(&writer->thread, writer_run, writer);
  }
}

START_TEST(each_receiver_sees_whole_values_of_one_order_to_the_last) {
  static market_t market;
  uvch_watch_sender_t tx;
  uint32_t final;
  size_t i;

  memset(&market, 0, sizeof(market));
  market.params = market_cases[_i];
  market.params.each = support_scale(market.params.each);
  atomic_store(&market.writing, market.params.writers);
  market_open(&market, &tx);
  market_let_in(&market, &tx);
  ck_assert_uint_eq(uvch_watch_sender_receiver_count(&tx), VISITORS + HALLS * PLACES);
  for (i = 0; i < VISITORS; i++) {
    support_spawn(&market.visitors[i].thread, visitor_run, &market.visitors[i]);
  }
  for (i = 0; i < HALLS; i++) {
    support_spawn(&market.halls[i].thread, hall_run, &market.halls[i]);
  }
  market_write(&market, &tx);
  for (i = 0; i < market.params.writers; i++) {
    support_join(&market.writers[i].thread);
  }
  if (market.params.restless) {
    ck_assert_int_eq(uv_async_send(&market.halls[SUBSCRIBER].bell), 0);
  }
  final = item_read(&market, uvch_watch_sender_borrow(&tx));
  watch_drop_sender(&tx);
  for (i = 0; i < VISITORS; i++) {
    support_join(&market.visitors[i].thread);
  }
  for (i = 0; i < HALLS; i++) {
    support_join(&market.halls[i].thread);
    support_loop_close(&market.halls[i].loop);
  }
  support_result_check(&market.result);
  market_check(&market, final);
  ck_assert_uint_eq(atomic_load(&market.alive), 0);
  free(market.before);
}
END_TEST

/* A counter that threads count up by modify. In each value is how many there were before it, so that the values themselves tell
 * what is newer. */

enum { COUNTERS = 4, COUNT_LOOPS = 2, COUNT_READERS = 2 };

typedef struct tally_case_s {
  size_t size;
  bool owned;
  size_t each;
} tally_case_t;

static const tally_case_t tally_cases[] = {{8, false, 20000}, {64, false, 20000}, {4096, false, 4000}, {16, true, 8000}};

typedef struct tally_s tally_t;

typedef struct tally_counter_s {
  tally_t* tally;
  uvch_watch_sender_t tx;
  uint64_t stored;
  uint64_t seen; /* what modify was given last */
  size_t runs;   /* of modify in one call */
  bool declines; /* even numbers, if it may */
  uint64_t random;
  uv_thread_t thread;
} tally_counter_t;

typedef struct tally_reader_s {
  tally_t* tally;
  uvch_watch_receiver_t rx;
  uv_loop_t loop;
  uint64_t floor; /* of before this pass of the loop */
  uint64_t last;
  uint64_t changes;
  size_t ends;
  uv_thread_t thread;
} tally_reader_t;

struct tally_s {
  tally_case_t params;
  uint64_t each;
  tally_counter_t counters[COUNTERS];
  tally_reader_t readers[COUNT_LOOPS + COUNT_READERS];
  _Atomic(uint64_t) highest; /* that is in for sure */
  watch_owner_t owner;
  support_result_t result;
};

static bool tally_is_whole(const tally_t* tally, const void* value) {
  return tally->params.owned ? watch_owned_is_whole(value) : watch_blob_is_whole(value, tally->params.size);
}

static int tally_modify(void* value, void* arg) {
  tally_counter_t* self = arg;
  watch_owned_t* owned = value;
  tally_t* tally = self->tally;

  self->runs += 1;
  self->seen = watch_number(value);
  support_expect(&tally->result, tally_is_whole(tally, value));
  if (draw(&self->random, 20) == 0) {
    support_yield();
  }
  if (tally->params.owned) {
    owned->number = self->seen + 1;
    owned->box[0] = owned->number;
    owned->box[1] = ~owned->number;
  } else {
    watch_blob_fill(value, tally->params.size, self->seen + 1);
  }
  return !self->declines || self->seen % 2 == 1;
}

static void tally_is_in(tally_t* tally, uint64_t number) {
  uint64_t highest = atomic_load(&tally->highest);

  while (highest < number && !atomic_compare_exchange_weak(&tally->highest, &highest, number)) {}
}

static void tally_count(void* arg) {
  tally_counter_t* self = arg;
  tally_t* tally = self->tally;
  uint64_t before;
  int r;

  while (self->stored < tally->each) {
    bool only_if = draw(&self->random, 3) == 0;

    self->declines = only_if && draw(&self->random, 3) == 0;
    self->runs = 0;
    before = atomic_load(&tally->highest);
    r = only_if ? uvch_watch_modify_if(&self->tx, tally_modify, self) : uvch_watch_modify(&self->tx, tally_modify, self);
    support_expect(&tally->result, self->runs >= 1 && self->runs <= 8 && self->seen >= before);
    if (r == UV_EBUSY) {
      support_expect_eq(&tally->result, self->runs, 8);
    } else if (self->declines && self->seen % 2 == 0) {
      support_expect_eq(&tally->result, r, 0);
    } else if (support_expect_eq(&tally->result, r, only_if)) {
      self->stored += 1;
      tally_is_in(tally, self->seen + 1);
    }
    if (draw(&self->random, 200) == 0) {
      nap();
    }
  }
  support_expect_eq(&tally->result, uvch_watch_sender_close(&self->tx), 0);
}

/* A value that is there now: none that is in already may be newer. `changed`: it is another one. */
static void tally_look(tally_reader_t* self, const void* value, uint64_t floor, bool changed) {
  tally_t* tally = self->tally;
  uint64_t number = watch_number(value);

  support_expect(&tally->result, tally_is_whole(tally, value));
  support_expect(&tally->result, number >= floor);
  support_expect(&tally->result, number >= self->last + changed);
  self->last = number;
}

/* Looks again: what it finds is news if it is not what has been seen. */
static void tally_look_again(tally_reader_t* self, uint64_t seen, bool update) {
  uint64_t floor = atomic_load(&self->tally->highest);
  const void* value = update ? uvch_watch_borrow_and_update(&self->rx) : uvch_watch_borrow(&self->rx);

  tally_look(self, value, floor, false);
  support_expect_eq(&self->tally->result, uvch_watch_borrow_has_changed(&self->rx), self->last != seen);
}

static void tally_read(void* arg) {
  tally_reader_t* self = arg;
  uint64_t floor;
  uint64_t seen;
  int r = 0;

  while (r == 0) {
    r = uvch_watch_changed_wait(&self->rx);
    floor = atomic_load(&self->tally->highest);
    tally_look(self, uvch_watch_borrow_and_update(&self->rx), floor, r == 0);
    self->changes += r == 0;
    seen = self->last;
    tally_look_again(self, seen, false);
    tally_look_again(self, seen, true);
  }
  self->ends += r == UV_EOF;
}

static void tally_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  tally_reader_t* self = rx->data;

  if (status == 0) {
    tally_look(self, value, self->floor, true);
    self->changes += 1;
  } else {
    self->ends += status == UV_EOF;
    tally_look(self, uvch_watch_borrow(rx), self->last, false);
    support_expect_eq(&self->tally->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
  }
}

static void tally_run(void* arg) {
  tally_reader_t* self = arg;
  int alive = 1;

  while (alive != 0) {
    self->floor = atomic_load(&self->tally->highest);
    alive = uv_run(&self->loop, UV_RUN_ONCE);
  }
}

static void tally_open(tally_t* tally, uvch_watch_sender_t* tx) {
  uint64_t first[WORDS_MAX];

  if (tally->params.owned) {
    watch_open_owning(NULL, NULL, tx, &tally->owner, watch_owned_copy, 0);
  } else {
    watch_blob_fill(first, tally->params.size, 0);
    watch_open_ex(NULL, NULL, tx, tally->params.size, first, NULL);
  }
}

static void tally_readers(tally_t* tally, const uvch_watch_sender_t* tx) {
  size_t i;

  for (i = 0; i < COUNT(tally->readers); i++) {
    tally_reader_t* reader = &tally->readers[i];

    reader->tally = tally;
    support_loop_init(&reader->loop);
    watch_subscribe(i < COUNT_LOOPS ? &reader->loop : NULL, &reader->rx, tx);
    reader->rx.data = reader;
    if (i < COUNT_LOOPS) {
      ck_assert_int_eq(uvch_watch_start(&reader->rx, tally_on_change, 0), 0);
    }
    support_spawn(&reader->thread, i < COUNT_LOOPS ? tally_run : tally_read, reader);
  }
}

START_TEST(no_count_of_many_threads_is_lost) {
  static tally_t tally;
  uvch_watch_sender_t tx;
  uint64_t stored = 0;
  size_t i;

  memset(&tally, 0, sizeof(tally));
  tally.params = tally_cases[_i];
  tally.each = support_scale(tally.params.each);
  tally_open(&tally, &tx);
  tally_readers(&tally, &tx);
  for (i = 0; i < COUNTERS; i++) {
    tally.counters[i].tally = &tally;
    tally.counters[i].random = 11 + i;
    watch_clone_sender(&tx, &tally.counters[i].tx);
    support_spawn(&tally.counters[i].thread, tally_count, &tally.counters[i]);
  }
  for (i = 0; i < COUNTERS; i++) {
    support_join(&tally.counters[i].thread);
    stored += tally.counters[i].stored;
  }
  ck_assert_uint_eq(stored, COUNTERS * tally.each);
  ck_assert_uint_eq(watch_sender_peek(&tx), stored);
  watch_drop_sender(&tx);
  for (i = 0; i < COUNT(tally.readers); i++) {
    tally_reader_t* reader = &tally.readers[i];

    support_join(&reader->thread);
    ck_assert_uint_eq(reader->ends, 1);
    ck_assert_uint_eq(reader->last, stored);
    ck_assert(reader->changes >= 1 && reader->changes <= stored);
    if (i >= COUNT_LOOPS) {
      watch_close(&reader->rx);
    }
    support_loop_close(&reader->loop);
  }
  support_result_check(&tally.result);
  watch_owner_check(&tally.owner);
}
END_TEST

/* The last value and the end. In each round a channel with a receiver on a loop, one on a thread, and a sender on another thread
 * that sends and goes at once: each of the two sees the last value, then the end, once. In batches, as threads that wait for each
 * other in every round take longer than the rounds. */

enum { BATCH = 128, LAST_ROUNDS = 20000 };

/* How receivers wait. POLLING: the thread never sleeps, so that it can be stopped anywhere. TWO: there is another sender in its
 * place. */
enum { STARTED, LATE, ASKING, POLLING, TWO, LAST_KINDS };

typedef struct last_s last_t;

typedef struct last_round_s {
  last_t* last;
  uvch_watch_receiver_t rx;
  uvch_watch_receiver_t plain;
  uvch_watch_sender_t tx;
  uvch_watch_sender_t second;
  uvch_watch_wait_for_t req;
  uint64_t sent; /* the last one */
  uint64_t got;  /* on the loop, and by the thread */
  uint64_t plain_got;
  unsigned int news; /* callbacks with a value */
  unsigned int ends;
  unsigned int plain_ends;
} last_round_t;

struct last_s {
  int kind;
  size_t batches;
  size_t open; /* receivers on the loop that have not been closed */
  uv_loop_t loop;
  last_round_t* rounds;
  uint64_t far_random;
  uint64_t third_random;
  uint64_t random;
  uv_barrier_t barrier;
  support_result_t result;
};

/* `value` grows; whatever puts it. */
static int last_modify(void* value, void* arg) {
  memcpy(value, arg, sizeof(uint64_t));
  return 1;
}

static void last_put(last_t* last, const uvch_watch_sender_t* tx, uint64_t value, uint64_t* random) {
  uint64_t old = UINT64_MAX;

  switch (draw(random, 4)) {
    case 0:
      support_expect_eq(&last->result, uvch_watch_send_replace(tx, &value, &old), 0);
      support_expect(&last->result, last->kind == TWO || old < value);
      break;
    case 1:
      support_expect_eq(&last->result, uvch_watch_modify(tx, last_modify, &value), 0);
      break;
    default:
      support_expect_eq(&last->result, uvch_watch_send(tx, &value), 0);
  }
}

static void far_last(last_t* last, last_round_t* round) {
  uint64_t count = 1 + draw(&last->far_random, 2);
  uint64_t i;

  for (i = 1; i <= count; i++) {
    last_put(last, &round->tx, i, &last->far_random);
  }
  round->sent = count;
  support_expect_eq(&last->result, uvch_watch_sender_close(&round->tx), 0);
}

static void far_run(void* arg) {
  last_t* last = arg;
  size_t batch;
  size_t i;

  for (batch = 0; batch < last->batches; batch++) {
    uv_barrier_wait(&last->barrier);
    for (i = 0; i < BATCH; i++) {
      far_last(last, &last->rounds[i]);
      dawdle(draw(&last->far_random, 100));
    }
    uv_barrier_wait(&last->barrier);
  }
}

/* The end has to be told for what is not the last value. */
static int last_test(const void* value, void* arg) {
  last_round_t* round = arg;

  round->plain_got = watch_number(value);
  return 0;
}

static int third_call(last_t* last, last_round_t* round) {
  if (last->kind == POLLING) {
    return uvch_watch_changed_timedwait(&round->plain, 0);
  }
  return draw(&last->third_random, 4) == 0 ? uvch_watch_changed_timedwait(&round->plain, 500)
                                           : uvch_watch_changed_wait(&round->plain);
}

static void third_waits(last_t* last, last_round_t* round) {
  int r = 0;

  if (last->kind == ASKING) {
    r = uvch_watch_wait_for_wait(&round->plain, last_test, round, NULL);
  }
  while (r == 0 || r == UV_ETIMEDOUT) {
    r = third_call(last, round);
    if (r == 0) {
      round->plain_got = watch_number(uvch_watch_borrow(&round->plain));
    }
  }
  round->plain_ends += r == UV_EOF;
  support_expect_eq(&last->result, uvch_close((uvch_handle_t*) &round->plain, NULL), 0);
}

static void third_run(void* arg) {
  last_t* last = arg;
  size_t batch;
  size_t i;

  for (batch = 0; batch < last->batches; batch++) {
    uv_barrier_wait(&last->barrier);
    for (i = 0; i < BATCH; i++) {
      if (last->kind == TWO) {
        last_put(last, &last->rounds[i].second, 1000, &last->third_random);
        support_expect_eq(&last->result, uvch_watch_sender_close(&last->rounds[i].second), 0);
        dawdle(draw(&last->third_random, 100));
      } else {
        third_waits(last, &last->rounds[i]);
      }
    }
    uv_barrier_wait(&last->barrier);
  }
}

static void last_on_close(uvch_handle_t* handle) {
  last_round_t* round = handle->data;

  round->last->open -= 1;
}

static void last_ends(last_round_t* round, int status) {
  round->ends += 1;
  support_check_eq(status, UV_EOF);
  support_check_eq(uvch_close((uvch_handle_t*) &round->rx, last_on_close), 0);
}

static void last_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  last_round_t* round = rx->data;

  if (status == 0) {
    round->news += 1;
    round->got = watch_number(value);
  } else {
    last_ends(round, status);
  }
}

static int last_loop_test(const void* value, void* arg) {
  last_round_t* round = arg;

  round->news += 1;
  round->got = watch_number(value);
  return 0;
}

static void last_on_value(uvch_watch_wait_for_t* req, int status, const void* value) {
  support_check(value == NULL);
  last_ends(req->data, status);
}

static void last_wait(last_t* last, last_round_t* round) {
  round->rx.data = round;
  round->req.data = round;
  if (last->kind == ASKING) {
    support_check_eq(uvch_watch_wait_for(&round->req, &round->rx, last_loop_test, round, last_on_value), 0);
  } else {
    support_check_eq(uvch_watch_start(&round->rx, last_on_change, 0), 0);
  }
}

static void last_open(last_t* last, last_round_t* round) {
  uint64_t first = 0;

  round->last = last;
  round->got = UINT64_MAX;
  round->plain_got = UINT64_MAX;
  round->news = 0;
  round->ends = 0;
  round->plain_ends = 0;
  support_check_eq(uvch_watch_init(&last->loop, &round->rx, &round->tx, sizeof(first), &first), 0);
  support_check_eq(uvch_watch_subscribe(NULL, &round->plain, &round->tx), 0);
  if (last->kind == TWO) {
    support_check_eq(uvch_watch_sender_clone(&round->tx, &round->second), 0);
  }
  if (last->kind != LATE) {
    last_wait(last, round);
  }
}

/* Of two senders nobody knows who is the last, but the value has to be one and the same. */
static void last_check(last_t* last, last_round_t* round) {
  if (last->kind == TWO) {
    third_waits(last, round);
    support_check(round->got == 1000 || round->got == round->sent);
    support_check_eq(round->plain_got, round->got);
  } else {
    support_check_eq(round->got, round->sent);
    support_check_eq(round->plain_got, round->sent);
  }
  support_check_eq(round->ends, 1);
  support_check_eq(round->plain_ends, 1);
  support_check(round->news >= 1 && round->news <= 3);
}

/* The first one that has not ended looks again. */
static void last_poll(last_t* last) {
  size_t i = 0;

  while (i < BATCH && last->rounds[i].ends > 0) {
    i += 1;
  }
  if (i < BATCH) {
    support_check_eq(uvch_watch_stop(&last->rounds[i].rx), 0);
    last_wait(last, &last->rounds[i]);
  }
}

static void last_batch(last_t* last) {
  size_t i;

  for (i = 0; i < BATCH; i++) {
    last_open(last, &last->rounds[i]);
  }
  last->open = BATCH;
  uv_barrier_wait(&last->barrier);
  for (i = 0; last->kind == LATE && i < BATCH; i++) {
    last_wait(last, &last->rounds[i]);
    if (draw(&last->random, 8) == 0) {
      uv_run(&last->loop, UV_RUN_NOWAIT);
    }
  }
  while (last->open > 0) {
    if (last->kind == POLLING) {
      last_poll(last);
    }
    uv_run(&last->loop, last->kind == POLLING ? UV_RUN_NOWAIT : UV_RUN_ONCE);
  }
  uv_barrier_wait(&last->barrier);
  for (i = 0; i < BATCH; i++) {
    last_check(last, &last->rounds[i]);
  }
}

/* An anchor keeps what the library has for the loop. */
START_TEST(every_receiver_sees_the_last_value_and_then_the_end) {
  uvch_watch_receiver_t anchor;
  uvch_watch_sender_t anchor_tx;
  uv_thread_t threads[2];
  static last_t last;
  size_t batch;

  memset(&last, 0, sizeof(last));
  last.kind = _i;
  last.batches = support_scale(LAST_ROUNDS) / BATCH + 1;
  last.far_random = 5;
  last.third_random = 6;
  last.random = 7;
  last.rounds = calloc(BATCH, sizeof(last.rounds[0]));
  ck_assert_ptr_nonnull(last.rounds);
  support_loop_init(&last.loop);
  watch_open(&last.loop, &anchor, &anchor_tx, 0);
  ck_assert_int_eq(uv_barrier_init(&last.barrier, 3), 0);
  support_spawn(&threads[0], far_run, &last);
  support_spawn(&threads[1], third_run, &last);
  for (batch = 0; batch < last.batches; batch++) {
    last_batch(&last);
  }
  support_join(&threads[0]);
  support_join(&threads[1]);
  support_result_check(&last.result);
  uv_barrier_destroy(&last.barrier);
  watch_drop_sender(&anchor_tx);
  watch_close(&anchor);
  support_loop_end(&last.loop);
  free(last.rounds);
}
END_TEST

/* Falling asleep: the near side, on the case's thread, begins to wait for what the far side, in a thread of its own, does at that
 * moment, and nothing else comes after it. They wait for each other a little, but not for long, as on a busy machine only one of
 * them runs. */

enum { DUELS = 3000 };

/* What the near side waits in, and what for. */
enum { FOR_CHANGE, FOR_VALUE, FOR_CALLBACK, FOR_REQUEST, FOR_NOBODY, FOR_NOBODY_ON_LOOP, DUEL_KINDS };

typedef struct duel_s {
  int kind;
  size_t duels;
  uvch_watch_receiver_t rx; /* the near side's, or what it waits for the end of */
  uvch_watch_sender_t tx;
  uvch_watch_sender_t far_tx;
  uvch_watch_wait_for_t req;
  uvch_watch_closed_t closed;
  uv_loop_t loop;
  uint64_t at; /* this duel */
  uint64_t got;
  _Atomic(size_t) near_at; /* the duel that each side is ready for */
  _Atomic(size_t) far_at;
  _Atomic(size_t) done; /* and the one that it is through with */
  _Atomic(size_t) far_done;
  uint64_t random;
  uint64_t far_random;
  support_result_t result;
  uv_thread_t thread;
} duel_t;

static void meet(_Atomic(size_t)* own, const _Atomic(size_t)* other, size_t at, uint64_t* random) {
  int n;

  atomic_store(own, at);
  for (n = 0; n < 1000 && atomic_load(other) < at; n++) {}
  dawdle(draw(random, 400));
}

static bool duel_is_for_nobody(const duel_t* duel) {
  return duel->kind == FOR_NOBODY || duel->kind == FOR_NOBODY_ON_LOOP;
}

static void far_duels(void* arg) {
  duel_t* duel = arg;
  uint64_t at;

  for (at = 1; at <= duel->duels; at++) {
    support_until(atomic_load(&duel->done) == at - 1);
    if (duel_is_for_nobody(duel)) {
      support_until(atomic_load(&duel->near_at) == at); /* the receiver is there */
    }
    meet(&duel->far_at, &duel->near_at, at, &duel->far_random);
    if (duel_is_for_nobody(duel)) {
      support_expect_eq(&duel->result, uvch_close((uvch_handle_t*) &duel->rx, NULL), 0);
    } else {
      support_expect_eq(&duel->result, uvch_watch_send(&duel->far_tx, &at), 0);
    }
    atomic_store(&duel->far_done, at);
  }
}

static int duel_test(const void* value, void* arg) {
  duel_t* duel = arg;

  return watch_number(value) == duel->at;
}

static void duel_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  duel_t* duel = rx->data;

  support_check_eq(status, 0);
  duel->got = watch_number(value);
  support_check_eq(uvch_watch_stop(rx), 0);
}

static void duel_on_value(uvch_watch_wait_for_t* req, int status, const void* value) {
  duel_t* duel = req->data;

  support_check_eq(status, 0);
  duel->got = watch_number(value);
}

static void duel_on_closed(uvch_watch_closed_t* req, int status) {
  duel_t* duel = req->data;

  support_check_eq(status, 0);
  duel->got = duel->at;
}

static void near_waits(duel_t* duel) {
  const void* value = NULL;

  switch (duel->kind) {
    case FOR_CHANGE:
      support_check_eq(uvch_watch_changed_wait(&duel->rx), 0);
      duel->got = watch_number(uvch_watch_borrow(&duel->rx));
      break;
    case FOR_VALUE:
      support_check_eq(uvch_watch_wait_for_wait(&duel->rx, duel_test, duel, &value), 0);
      duel->got = watch_number(value);
      break;
    case FOR_CALLBACK:
      support_check_eq(uvch_watch_start(&duel->rx, duel_on_change, 0), 0);
      break;
    case FOR_REQUEST:
      support_check_eq(uvch_watch_wait_for(&duel->req, &duel->rx, duel_test, duel, duel_on_value), 0);
      break;
    case FOR_NOBODY:
      support_check_eq(uvch_watch_closed_wait(&duel->tx), 0);
      duel->got = duel->at;
      break;
    default:
      support_check_eq(uvch_watch_closed(&duel->loop, &duel->closed, &duel->tx, duel_on_closed), 0);
  }
  while (duel->got != duel->at) {
    uv_run(&duel->loop, UV_RUN_ONCE);
  }
}

static void duel_open(duel_t* duel, bool hot) {
  support_loop_init(&duel->loop);
  watch_open(NULL, NULL, &duel->tx, 0);
  watch_clone_sender(&duel->tx, &duel->far_tx);
  if (!duel_is_for_nobody(duel)) {
    watch_subscribe(duel->kind < FOR_CALLBACK ? NULL : &duel->loop, &duel->rx, &duel->tx);
    duel->rx.data = duel;
  }
  duel->req.data = duel;
  duel->closed.data = duel;
  duel->random = 5;
  duel->far_random = 77;
  if (!hot) {
    ck_assert_int_eq(uvch_loop_configure(&duel->loop, UVCH_LOOP_HOT_MAX, 0), 0);
  }
}

/* An anchor keeps what the library has for the loop. */
START_TEST(what_comes_while_somebody_falls_asleep_wakes_him) {
  uvch_watch_receiver_t anchor;
  uvch_watch_sender_t anchor_tx;
  static duel_t duel;

  memset(&duel, 0, sizeof(duel));
  duel.kind = _i % DUEL_KINDS;
  duel.duels = support_scale(DUELS);
  duel_open(&duel, _i / DUEL_KINDS == 0);
  watch_open(&duel.loop, &anchor, &anchor_tx, 0);
  support_spawn(&duel.thread, far_duels, &duel);
  for (duel.at = 1; duel.at <= duel.duels; duel.at++) {
    if (duel_is_for_nobody(&duel)) {
      watch_subscribe(NULL, &duel.rx, &duel.tx);
    }
    meet(&duel.near_at, &duel.far_at, duel.at, &duel.random);
    near_waits(&duel);
    support_until(atomic_load(&duel.far_done) == duel.at); /* the receiver is to be used again */
    atomic_store(&duel.done, duel.at);
  }
  support_join(&duel.thread);
  support_result_check(&duel.result);
  if (!duel_is_for_nobody(&duel)) {
    watch_close(&duel.rx);
  }
  watch_drop_sender(&duel.tx);
  watch_drop_sender(&duel.far_tx);
  watch_drop_sender(&anchor_tx);
  watch_close(&anchor);
  support_loop_end(&duel.loop);
}
END_TEST

/* Ping-pong: two channels, two players. Each answers what comes on the one by a send on the other, so there is never more than one
 * value on its way, and who is not woken stops the game. No timer is there to help. */

enum { BY_CALLBACK, BY_REQUEST, BY_CHANGE, BY_VALUE, PLAYER_KINDS };

typedef struct player_s {
  int kind;
  uvch_watch_receiver_t rx;
  uvch_watch_sender_t tx;
  uvch_watch_wait_for_t req;
  uv_loop_t loop;
  uint64_t last; /* that came */
  uint64_t rounds;
  uint64_t random;
  support_result_t result;
  uv_thread_t thread;
} player_t;

static int player_modify(void* value, void* arg) {
  memcpy(value, arg, sizeof(uint64_t));
  return 1;
}

/* The other one is asleep, or is just about to be. */
static void player_answers(player_t* self, uint64_t value) {
  uint64_t old;
  int r;

  if (draw(&self->random, 4) == 0) {
    dawdle(draw(&self->random, 3000));
  }
  switch (draw(&self->random, 3)) {
    case 0:
      r = uvch_watch_send_replace(&self->tx, &value, &old);
      break;
    case 1:
      r = uvch_watch_modify(&self->tx, player_modify, &value);
      break;
    default:
      r = uvch_watch_send(&self->tx, &value);
  }
  support_expect_eq(&self->result, r, 0);
  if (draw(&self->random, 2) == 0) { /* so that the answer comes when this one falls asleep */
    dawdle(draw(&self->random, 10000));
  }
}

/* The next one has come, none may be left out. Who has sent one behind the last one has no sender any more. */
static void player_got(player_t* self, uint64_t value) {
  support_expect(&self->result, self->last == 0 || value == self->last + 2);
  self->last = value;
  if (value <= self->rounds + 1) {
    player_answers(self, value + 1);
  }
  if (value == self->rounds || value == self->rounds + 1) {
    support_expect_eq(&self->result, uvch_watch_sender_close(&self->tx), 0);
  }
}

/* The other one has gone, who has sent the last one before. */
static void player_is_left(player_t* self, int status) {
  support_expect_eq(&self->result, status, UV_EOF);
  support_expect(&self->result, self->last > self->rounds);
}

static void player_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  player_t* self = rx->data;

  if (status == 0) {
    player_got(self, watch_number(value));
  } else {
    player_is_left(self, status);
    support_expect_eq(&self->result, uvch_close((uvch_handle_t*) rx, NULL), 0);
  }
}

static int player_test(const void* value, void* arg) {
  player_t* self = arg;

  return watch_number(value) > self->last;
}

static void player_on_value(uvch_watch_wait_for_t* req, int status, const void* value) {
  player_t* self = req->data;

  if (status != 0) {
    player_is_left(self, status);
    support_expect_eq(&self->result, uvch_close((uvch_handle_t*) &self->rx, NULL), 0);
    return;
  }
  player_got(self, watch_number(value));
  support_expect_eq(&self->result, uvch_watch_wait_for(req, &self->rx, player_test, self, player_on_value), 0);
}

static void player_on_thread(player_t* self) {
  const void* value = NULL;
  int r = 0;

  while (r == 0) {
    if (self->kind == BY_VALUE) {
      r = uvch_watch_wait_for_wait(&self->rx, player_test, self, &value);
    } else {
      r = uvch_watch_changed_wait(&self->rx);
      value = uvch_watch_borrow(&self->rx);
    }
    if (r == 0) {
      player_got(self, watch_number(value));
    }
  }
  player_is_left(self, r);
  support_expect_eq(&self->result, uvch_close((uvch_handle_t*) &self->rx, NULL), 0);
}

static void player_run(void* arg) {
  player_t* self = arg;

  if (self->kind >= BY_CHANGE) {
    player_on_thread(self);
  } else {
    support_expect_eq(&self->result, uv_run(&self->loop, UV_RUN_DEFAULT), 0);
  }
}

static void player_open(player_t* self, uvch_watch_sender_t* tx) {
  support_loop_init(&self->loop);
  self->random = 40 + (uint64_t) self->kind;
  self->req.data = self;
  watch_open(self->kind < BY_CHANGE ? &self->loop : NULL, &self->rx, tx, 0);
  self->rx.data = self;
  if (self->kind == BY_CALLBACK) {
    ck_assert_int_eq(uvch_watch_start(&self->rx, player_on_change, 0), 0);
  } else if (self->kind == BY_REQUEST) {
    ck_assert_int_eq(uvch_watch_wait_for(&self->req, &self->rx, player_test, self, player_on_value), 0);
  }
}

START_TEST(two_that_answer_each_other_never_sleep_on) {
  static player_t players[2];
  uint64_t serve = 1;
  size_t i;

  memset(players, 0, sizeof(players));
  for (i = 0; i < 2; i++) {
    players[i].kind = i == 0 ? _i % PLAYER_KINDS : _i / PLAYER_KINDS % PLAYER_KINDS;
    players[i].rounds = support_scale(3000);
    player_open(&players[i], &players[1 - i].tx);
    if (_i / (PLAYER_KINDS * PLAYER_KINDS) == 1 && players[i].kind < BY_CHANGE) {
      ck_assert_int_eq(uvch_loop_configure(&players[i].loop, UVCH_LOOP_HOT_MAX, 0), 0);
    }
  }
  ck_assert_int_eq(uvch_watch_send(&players[1].tx, &serve), 0); /* before the other one owns it */
  for (i = 0; i < 2; i++) {
    support_spawn(&players[i].thread, player_run, &players[i]);
  }
  for (i = 0; i < 2; i++) {
    support_join(&players[i].thread);
    support_result_check(&players[i].result);
    support_loop_close(&players[i].loop);
  }
  ck_assert_uint_eq(players[0].last + players[1].last, 2 * players[0].rounds + 3); /* one has the last one, one that before it */
}
END_TEST

/* Rounds: one number for all, and everybody answers by counting up another channel's value. Who is not woken never answers. */

enum { ECHO_THREADS = 2, ECHO_LOOPS = 2, ECHO_PER_LOOP = 2, ECHOES = ECHO_THREADS + ECHO_LOOPS * ECHO_PER_LOOP };

typedef struct echo_s {
  uvch_watch_receiver_t rx;
  uvch_watch_wait_for_t req;
  uvch_watch_sender_t back;
  uint64_t last;
  size_t ends;
  support_result_t* result;
  uv_thread_t thread;
} echo_t;

typedef struct choir_s {
  uvch_watch_sender_t tx;
  uvch_watch_receiver_t back;
  echo_t echoes[ECHOES];
  uv_loop_t loops[ECHO_LOOPS];
  support_runner_t runners[ECHO_LOOPS];
  support_result_t result;
} choir_t;

static int echo_count_up(void* value, void* arg) {
  uint64_t number = watch_number(value) + 1;

  (void) arg;
  memcpy(value, &number, sizeof(number));
  return 1;
}

static void echo_got(echo_t* echo, const void* value) {
  int r;

  support_expect_eq(echo->result, watch_number(value), echo->last + 1);
  echo->last = watch_number(value);
  do {
    r = uvch_watch_modify(&echo->back, echo_count_up, NULL);
  } while (r == UV_EBUSY);
  support_expect_eq(echo->result, r, 0);
}

static void echo_ends(echo_t* echo, int status) {
  support_expect_eq(echo->result, status, UV_EOF);
  support_expect_eq(echo->result, uvch_watch_sender_close(&echo->back), 0);
  support_expect_eq(echo->result, uvch_close((uvch_handle_t*) &echo->rx, NULL), 0);
  echo->ends += 1;
}

static void echo_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  echo_t* echo = rx->data;

  if (status == 0) {
    echo_got(echo, value);
  } else {
    echo_ends(echo, status);
  }
}

static int echo_test(const void* value, void* arg) {
  echo_t* echo = arg;

  return watch_number(value) > echo->last;
}

static void echo_on_value(uvch_watch_wait_for_t* req, int status, const void* value) {
  echo_t* echo = req->data;

  if (status == 0) {
    echo_got(echo, value);
    support_expect_eq(echo->result, uvch_watch_wait_for(req, &echo->rx, echo_test, echo, echo_on_value), 0);
  } else {
    echo_ends(echo, status);
  }
}

static void echo_run(void* arg) {
  echo_t* echo = arg;
  int r;

  while ((r = uvch_watch_changed_wait(&echo->rx)) == 0) {
    echo_got(echo, uvch_watch_borrow(&echo->rx));
  }
  echo_ends(echo, r);
}

/* The first ones are on threads. */
static void choir_start(choir_t* choir, uvch_watch_sender_t* back) {
  size_t i;

  for (i = 0; i < ECHO_LOOPS; i++) {
    support_loop_init(&choir->loops[i]);
  }
  for (i = 0; i < ECHOES; i++) {
    echo_t* echo = &choir->echoes[i];

    echo->result = &choir->result;
    watch_clone_sender(back, &echo->back);
    watch_subscribe(i < ECHO_THREADS ? NULL : &choir->loops[i % ECHO_LOOPS], &echo->rx, &choir->tx);
    echo->rx.data = echo;
    echo->req.data = echo;
    if (i < ECHO_THREADS) {
      support_spawn(&echo->thread, echo_run, echo);
    } else if (i % 3 == 0) {
      ck_assert_int_eq(uvch_watch_wait_for(&echo->req, &echo->rx, echo_test, echo, echo_on_value), 0);
    } else {
      ck_assert_int_eq(uvch_watch_start(&echo->rx, echo_on_change, 0), 0);
    }
  }
  for (i = 0; i < ECHO_LOOPS; i++) {
    support_runner_start(&choir->runners[i], &choir->loops[i]);
  }
}

static int choir_is_full(const void* value, void* arg) {
  uint64_t* wanted = arg;

  return watch_number(value) == *wanted;
}

START_TEST(everybody_answers_every_number) {
  static choir_t choir;
  size_t rounds = support_scale(3000);
  uvch_watch_sender_t back;
  uint64_t random = 9;
  uint64_t wanted;
  uint64_t round;
  size_t i;

  memset(&choir, 0, sizeof(choir));
  watch_open(NULL, NULL, &choir.tx, 0);
  watch_open(NULL, &choir.back, &back, 0);
  choir_start(&choir, &back);
  watch_drop_sender(&back);
  for (round = 1; round <= rounds; round++) {
    watch_put(&choir.tx, round);
    wanted = round * ECHOES;
    support_check_eq(uvch_watch_wait_for_wait(&choir.back, choir_is_full, &wanted, NULL), 0);
    dawdle(draw(&random, 2000));
    if (draw(&random, 10) == 0) { /* long enough for all to sleep */
      nap();
    }
  }
  watch_drop_sender(&choir.tx);
  wanted = 0;
  ck_assert_int_eq(uvch_watch_wait_for_wait(&choir.back, choir_is_full, &wanted, NULL), UV_EOF);
  watch_close(&choir.back);
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
    ck_assert_uint_eq(choir.echoes[i].last, rounds);
  }
}
END_TEST

/* A flood: values come in faster than callbacks go out, and there are more threads than processors. */

enum { FLOODERS = 4, FLOOD_LOOPS = 2, FLOOD_PER_LOOP = 3 };

typedef struct flood_s flood_t;

typedef struct flooder_s {
  flood_t* flood;
  uvch_watch_sender_t tx;
  uint64_t index;
  uv_thread_t thread;
} flooder_t;

typedef struct swimmer_s {
  uvch_watch_receiver_t rx;
  uvch_watch_wait_for_t req;
  flood_t* flood;
  uint64_t next[FLOODERS]; /* the lowest that may come from each */
  uint64_t last;
  uint64_t heard;
  size_t ends;
  uint64_t random;
} swimmer_t;

struct flood_s {
  uint64_t each;
  flooder_t flooders[FLOODERS];
  swimmer_t swimmers[FLOOD_LOOPS][FLOOD_PER_LOOP];
  uv_loop_t loops[FLOOD_LOOPS];
  support_runner_t runners[FLOOD_LOOPS];
  support_result_t result;
};

static void flooder_run(void* arg) {
  flooder_t* self = arg;
  flood_t* flood = self->flood;
  uint64_t value;
  uint64_t i;

  for (i = 0; i < flood->each; i++) {
    value = self->index << 32 | i;
    support_expect_eq(&flood->result, uvch_watch_send(&self->tx, &value), 0);
  }
  support_expect_eq(&flood->result, uvch_watch_sender_close(&self->tx), 0);
}

static void swimmer_look(swimmer_t* self, const void* value) {
  uint64_t number = watch_number(value);
  uint64_t index = number >> 32;

  if (support_expect(&self->flood->result, index < FLOODERS)) {
    support_expect(&self->flood->result, (number & UINT32_MAX) >= self->next[index]);
    self->next[index] = (number & UINT32_MAX) + 1;
  }
  self->last = number;
  self->heard += 1;
}

static void swimmer_ends(swimmer_t* self, int status) {
  support_expect_eq(&self->flood->result, status, UV_EOF);
  support_expect_eq(&self->flood->result, uvch_close((uvch_handle_t*) &self->rx, NULL), 0);
  self->ends += 1;
}

static void swimmer_on_change(uvch_watch_receiver_t* rx, int status, const void* value);

static void swimmer_start(swimmer_t* self) {
  support_expect_eq(&self->flood->result, uvch_watch_start(&self->rx, swimmer_on_change, 0), 0);
}

/* What has been seen comes once more at first. */
static int swimmer_test(const void* value, void* arg) {
  swimmer_t* self = arg;

  return watch_number(value) != self->last;
}

static void swimmer_on_value(uvch_watch_wait_for_t* req, int status, const void* value) {
  swimmer_t* self = req->data;

  if (status == 0) {
    swimmer_look(self, value);
    swimmer_start(self);
  } else {
    swimmer_ends(self, status);
  }
}

static void swimmer_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  swimmer_t* self = rx->data;
  support_result_t* result = &self->flood->result;

  if (status != 0) {
    swimmer_ends(self, status);
    return;
  }
  swimmer_look(self, value);
  dawdle(draw(&self->random, 2000));
  if (draw(&self->random, 20) == 0) {
    support_expect_eq(result, uvch_watch_stop(rx), 0);
    if (draw(&self->random, 2) == 0) {
      swimmer_start(self);
    } else {
      support_expect_eq(result, uvch_watch_wait_for(&self->req, rx, swimmer_test, self, swimmer_on_value), 0);
    }
  }
}

static void flood_open(flood_t* flood, const uvch_watch_sender_t* tx) {
  size_t i;
  size_t k;

  for (i = 0; i < FLOOD_LOOPS; i++) {
    support_loop_init(&flood->loops[i]);
    for (k = 0; k < FLOOD_PER_LOOP; k++) {
      swimmer_t* swimmer = &flood->swimmers[i][k];

      swimmer->flood = flood;
      swimmer->random = 10 * i + k;
      watch_subscribe(&flood->loops[i], &swimmer->rx, tx);
      swimmer->rx.data = swimmer;
      swimmer->req.data = swimmer;
      ck_assert_int_eq(uvch_watch_start(&swimmer->rx, swimmer_on_change, 0), 0);
    }
    support_runner_start(&flood->runners[i], &flood->loops[i]);
  }
}

START_TEST(a_flood_ends_with_its_last_value_for_all) {
  static flood_t flood;
  uvch_watch_sender_t tx;
  uint64_t last;
  size_t i;
  size_t k;

  memset(&flood, 0, sizeof(flood));
  flood.each = support_scale(500000);
  watch_open(NULL, NULL, &tx, 0);
  flood_open(&flood, &tx);
  for (i = 0; i < FLOODERS; i++) {
    flood.flooders[i].flood = &flood;
    flood.flooders[i].index = i;
    watch_clone_sender(&tx, &flood.flooders[i].tx);
    support_spawn(&flood.flooders[i].thread, flooder_run, &flood.flooders[i]);
  }
  for (i = 0; i < FLOODERS; i++) {
    support_join(&flood.flooders[i].thread);
  }
  last = watch_sender_peek(&tx);
  watch_drop_sender(&tx);
  ck_assert_uint_eq(last & UINT32_MAX, flood.each - 1);
  for (i = 0; i < FLOOD_LOOPS; i++) {
    support_runner_join(&flood.runners[i]);
    support_loop_close(&flood.loops[i]);
    for (k = 0; k < FLOOD_PER_LOOP; k++) {
      ck_assert_uint_eq(flood.swimmers[i][k].last, last);
      ck_assert_uint_eq(flood.swimmers[i][k].ends, 1);
      ck_assert_uint_gt(flood.swimmers[i][k].heard, 0);
    }
  }
  support_result_check(&flood.result);
}
END_TEST

/* Loops come and go with all their receivers under senders that never stop. */

enum { STREAMS = 2, SEATS = 3 };

typedef struct stream_s {
  uvch_watch_sender_t tx;
  watch_owner_t* owner; /* NULL: plain numbers */
  uint64_t sent;
  bool pauses;
  _Atomic(bool)* over;
  support_result_t* result;
  uv_thread_t thread;
} stream_t;

static void stream_run(void* arg) {
  stream_t* stream = arg;

  while (!atomic_load(stream->over)) {
    stream->sent += 1;
    if (stream->owner != NULL) {
      support_expect_eq(stream->result, watch_put_owned(&stream->tx, stream->owner, stream->sent), 0);
    } else {
      support_expect_eq(stream->result, uvch_watch_send(&stream->tx, &stream->sent), 0);
    }
    if (stream->pauses && stream->sent % 64 == 0) {
      support_yield();
    }
  }
}

/* Long enough for many values to come in. */
static void seat_on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  size_t* heard = rx->data;

  dawdle(2000);
  support_check_eq(status, 0);
  support_check(value != NULL);
  *heard += 1;
}

typedef struct seat_request_s {
  uvch_watch_wait_for_t req;
  uvch_watch_closed_t closed;
  int status;
  int closed_status;
} seat_request_t;

static int seat_never(const void* value, void* arg) {
  (void) value;
  (void) arg;
  return 0;
}

static void seat_on_value(uvch_watch_wait_for_t* req, int status, const void* value) {
  seat_request_t* request = req->data;

  support_check(value == NULL);
  request->status = request->status == NOT_DONE ? status : NOT_DONE;
}

static void seat_on_closed(uvch_watch_closed_t* req, int status) {
  seat_request_t* request = req->data;

  request->closed_status = request->closed_status == NOT_DONE ? status : NOT_DONE;
}

static size_t seat_passes(size_t round) {
  return round % 50 == 49 ? 400 : round % 5;
}

/* One of the seats is attached by turns, one waits for a value that never comes, or has not begun to; and somebody waits for the
 * end of the receivers, who sees it only where nobody else is there. */
static size_t loop_comes_and_goes(const uvch_watch_sender_t* tx, size_t round) {
  uvch_watch_receiver_t* rx = calloc(SEATS, sizeof(*rx));
  seat_request_t* request = calloc(1, sizeof(*request));
  uv_loop_t* loop = malloc(sizeof(*loop));
  size_t heard = 0;
  size_t i;

  ck_assert(rx != NULL && loop != NULL && request != NULL);
  support_loop_init(loop);
  request->status = NOT_DONE;
  request->closed_status = NOT_DONE;
  request->req.data = request;
  request->closed.data = request;
  for (i = 0; i < SEATS; i++) {
    support_check_eq(uvch_watch_subscribe(i == round % SEATS ? NULL : loop, &rx[i], tx), 0);
    rx[i].data = &heard;
    if (i == round % SEATS) {
      support_check_eq(uvch_attach(loop, (uvch_handle_t*) &rx[i]), 0);
    }
    if (i > round % 2) {
      support_check_eq(uvch_watch_start(&rx[i], seat_on_change, 0), 0);
    }
  }
  support_check_eq(uvch_watch_closed(loop, &request->closed, tx, seat_on_closed), 0);
  if (round % 3 > 0) {
    support_check_eq(uvch_watch_wait_for(&request->req, &rx[0], seat_never, NULL, seat_on_value), 0);
  }
  for (i = 0; i < seat_passes(round); i++) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  support_check_eq(request->closed_status, NOT_DONE);
  support_check_eq(uvch_close_all(loop), SEATS);
  support_check_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
  support_check_eq(request->status, round % 3 > 0 ? UV_ECANCELED : NOT_DONE);
  support_check_eq(request->closed_status, 0);
  support_loop_close(loop);
  memset(rx, 0xdd, SEATS * sizeof(*rx));
  free(request);
  free(rx);
  free(loop);
  return heard;
}

START_TEST(loops_come_and_go_with_their_receivers_under_the_senders) {
  size_t rounds = support_scale(2000);
  _Atomic(bool) over = false;
  stream_t streams[STREAMS];
  uvch_watch_sender_t tx;
  support_result_t result;
  watch_owner_t owner;
  size_t heard = 0;
  size_t i;

  memset(&result, 0, sizeof(result));
  memset(&owner, 0, sizeof(owner));
  if (_i % 2 == 0) {
    watch_open(NULL, NULL, &tx, 0);
  } else {
    watch_open_owning(NULL, NULL, &tx, &owner, NULL, 0); /* a drop function is enough for that */
  }
  for (i = 0; i < STREAMS; i++) {
    memset(&streams[i], 0, sizeof(streams[i]));
    streams[i].over = &over;
    streams[i].result = &result;
    streams[i].owner = _i % 2 == 0 ? NULL : &owner;
    streams[i].pauses = _i / 2 == 0;
    watch_clone_sender(&tx, &streams[i].tx);
    support_spawn(&streams[i].thread, stream_run, &streams[i]);
  }
  for (i = 0; i < rounds || heard == 0; i++) {
    heard += loop_comes_and_goes(&tx, i);
  }
  atomic_store(&over, true);
  for (i = 0; i < STREAMS; i++) {
    support_join(&streams[i].thread);
    watch_drop_sender(&streams[i].tx);
  }
  support_result_check(&result);
  watch_drop_sender(&tx);
  watch_owner_check(&owner);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("watch: races");
  TCase* market = support_case(suite, "market");
  TCase* counts = support_case(suite, "counting");
  TCase* last = support_case(suite, "the last value");
  TCase* rounds = support_case(suite, "rounds");
  TCase* loops = support_case(suite, "loops");

  tcase_add_loop_test(market, each_receiver_sees_whole_values_of_one_order_to_the_last, 0, (int) COUNT(market_cases));
  tcase_add_loop_test(counts, no_count_of_many_threads_is_lost, 0, (int) COUNT(tally_cases));
  tcase_add_loop_test(last, every_receiver_sees_the_last_value_and_then_the_end, 0, LAST_KINDS);
  tcase_add_loop_test(rounds, what_comes_while_somebody_falls_asleep_wakes_him, 0, 2 * DUEL_KINDS);
  tcase_add_loop_test(rounds, two_that_answer_each_other_never_sleep_on, 0, 2 * PLAYER_KINDS * PLAYER_KINDS);
  tcase_add_test(rounds, everybody_answers_every_number);
  tcase_add_test(loops, a_flood_ends_with_its_last_value_for_all);
  tcase_add_loop_test(loops, loops_come_and_go_with_their_receivers_under_the_senders, 0, 4);
  return support_main(suite);
}
