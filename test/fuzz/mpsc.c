/* SPDX-License-Identifier: MIT
 *
 * mpsc channels against a model: the messages in one row with three marks in it (sent, taken, and taken with their room given
 * back), the places that are reserved, and the line of those who wait. */
#include "walk.h"

#include <stdio.h>

enum {
  SENDERS = 3,
  WEAKS = 2,
  PERMITS = 3,
  SENDINGS = 3,
  RESERVINGS = 2,
  WATCHERS = 2,
  BATCH_MAX = 6,
  MANY_MAX = 40,
  DEEP = 3,
  MESSAGES = 6000
};

#define NO_LOOP WALK_LOOPS

enum { LIE_ROOM = 1, LIE_PERMITS, LIE_PASSING };
enum { LIE_ORDER = 1, LIE_LEN };

static const char* const bounded_lies[] = {"one message more fits in", "a permit keeps nothing open", "those who wait are passed",
                                           NULL};
static const char* const unbounded_lies[] = {"a batch goes in backwards", "what a callback holds is queued", NULL};

typedef enum what_e { SENDING, RESERVING, WATCHING } what_t;

/* A request: its callback is to come while it is used. */
typedef struct request_s {
  union {
    uvch_req_t base;
    uvch_mpsc_send_t send;
    uvch_mpsc_reserve_t reserve;
    uvch_mpsc_closed_t closed;
  } req;
  what_t what;
  bool used;
  bool waits; /* in the line, or for the end */
  int status; /* once it does not wait any more */
  size_t loop;
  uint64_t number; /* of the first message that is not in */
  size_t left;     /* messages, or places */
  size_t sent;
  uvch_mpsc_permit_t permit;
  _Alignas(max_align_t) unsigned char items[BATCH_MAX * WALK_ITEM_MAX];
} request_t;

typedef struct model_s {
  walk_t* walk;
  walk_calls_t calls;
  size_t item_size;
  size_t capacity;
  bool drops;
  const char* name;
  uvch_mpsc_sender_t tx[SENDERS];
  bool has_tx[SENDERS];
  uvch_mpsc_weak_sender_t weak[WEAKS];
  bool has_weak[WEAKS];
  uvch_mpsc_permit_t permits[PERMITS];
  size_t places[PERMITS];
  request_t requests[SENDINGS + RESERVINGS + WATCHERS];
  request_t* line[SENDINGS + RESERVINGS]; /* those that wait for room, the first one first */
  size_t waiting;
  uint64_t made;            /* messages, also such as were refused */
  uint64_t order[MESSAGES]; /* those that were sent */
  uint64_t sent;
  uint64_t taken;
  uint64_t given;
  uint64_t dropped;
  uint64_t reserved;
  uint64_t full;
  uint64_t high;
  /* the receiver */
  uvch_mpsc_receiver_t rx;
  size_t loop;
  bool open;
  bool closing; /* its close callback is to come */
  bool shut;
  bool started;
  bool has_ref;
  size_t many;   /* of one callback; 0: the one for single messages */
  int in_hand;   /* receive callbacks */
  int callbacks; /* of all kinds */
} model_t;

/* The model. */

static bool is_bounded(const model_t* m) {
  return m->capacity != UVCH_UNBOUNDED;
}

static bool lies(const model_t* m, size_t bounded, size_t unbounded) {
  return walk_lie != 0 && walk_lie == (is_bounded(m) ? bounded : unbounded);
}

static size_t strong(const model_t* m) {
  size_t n = m->waiting + (lies(m, LIE_PERMITS, 0) ? 0 : m->reserved);
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    n += m->has_tx[i];
  }
  return n;
}

static size_t weaks(const model_t* m) {
  size_t n = 0;
  size_t i;

  for (i = 0; i < WEAKS; i++) {
    n += m->has_weak[i];
  }
  return n;
}

static bool is_closed(const model_t* m) {
  return m->shut || !m->open || strong(m) == 0;
}

/* The room of what is taken inside of a callback comes back later. */
static uint64_t queued(const model_t* m) {
  uint64_t n = m->sent - m->given;

  return !m->open ? 0 : n < m->capacity ? n : m->capacity;
}

static uint64_t room(const model_t* m) {
  uint64_t used = m->sent - m->given + m->reserved;

  if (!is_bounded(m))
    return UINT64_MAX;
  return (used < m->capacity ? m->capacity - used : 0) + lies(m, LIE_ROOM, 0);
}

static uint64_t free_places(const model_t* m) {
  return !is_bounded(m) ? UVCH_UNBOUNDED : !m->open ? m->capacity : m->waiting > 0 ? 0 : room(m);
}

/* What is said to who wants `n` places at once. */
static int claim_answer(model_t* m, uint64_t n) {
  if (is_closed(m))
    return UV_EPIPE;
  if ((m->waiting == 0 || lies(m, LIE_PASSING, 0)) && room(m) >= n)
    return 0;
  m->full += 1;
  return UV_EAGAIN;
}

static void model_sent(model_t* m, uint64_t number, uint64_t count) {
  uint64_t i;

  for (i = 0; i < count; i++) {
    m->order[m->sent++] = number + (lies(m, 0, LIE_ORDER) ? count - 1 - i : i);
  }
}

static void leave_line(model_t* m, request_t* r, int status) {
  size_t at = 0;

  while (m->line[at] != r) {
    at++;
  }
  m->waiting -= 1;
  memmove(&m->line[at], &m->line[at + 1], (m->waiting - at) * sizeof(m->line[0]));
  r->waits = false;
  r->status = status;
}

/* The first one in the line gets one step further: a message, or all of its places. */
static void serve_one(model_t* m) {
  request_t* r = m->line[0];

  if (r->what == RESERVING) {
    m->reserved += r->left;
    leave_line(m, r, 0);
    return;
  }
  model_sent(m, r->number, 1);
  r->number += 1;
  r->sent += 1;
  r->left -= 1;
  if (r->left == 0)
    leave_line(m, r, 0);
}

/* All that there is room for. */
static void serve_all(model_t* m) {
  while (m->waiting > 0 && room(m) >= (m->line[0]->what == RESERVING ? m->line[0]->left : 1)) {
    serve_one(m);
  }
}

static int get_stats(const model_t* m, uvch_stats_t* stats) {
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    if (m->has_tx[i])
      return uvch_mpsc_sender_get_stats(&m->tx[i], stats);
  }
  return uvch_mpsc_receiver_get_stats(&m->rx, stats);
}

/* In a callback the library may not have got so far: those who wait are served at the end of a run at the latest. */
static void catch_up(model_t* m) {
  uvch_stats_t stats;

  if (m->waiting == 0 || get_stats(m, &stats) != 0)
    return;
  while (m->waiting > 0 && (m->sent < stats.sent || m->reserved < stats.reserved)) {
    serve_one(m);
  }
  want(m, stats.sent, m->sent);
  want(m, stats.reserved, m->reserved);
  want(m, m->sent - m->given + m->reserved <= m->capacity, 1);
}

/* Who waits gets what there is. */
static void serve(model_t* m) {
  size_t i;

  while (m->waiting > 0 && is_closed(m)) {
    leave_line(m, m->line[0], UV_EPIPE);
  }
  if (m->callbacks > 0)
    catch_up(m);
  else
    serve_all(m);
  for (i = 0; i < COUNT(m->requests); i++) {
    request_t* r = &m->requests[i];
    if (r->what == WATCHING && r->waits && is_closed(m)) {
      r->waits = false;
      r->status = 0;
    }
  }
}

/* What the next call that takes a message says. */
static int next_answer(const model_t* m) {
  return m->taken < m->sent ? 0 : is_closed(m) && m->reserved == 0 ? UV_EOF : UV_EAGAIN;
}

static void model_took(model_t* m, uint64_t count) {
  m->taken += count;
  if (m->in_hand == 0)
    m->given = m->taken;
}

/* Asking. */

static void check_stats(model_t* m) {
  uvch_stats_t stats;

  if (get_stats(m, &stats) != 0)
    return;
  m->high = queued(m) > m->high ? queued(m) : m->high;
  want(m, strcmp(stats.name, m->name != NULL ? m->name : ""), 0);
  want(m, stats.depth, queued(m));
  want(m, stats.capacity, is_bounded(m) ? m->capacity : UINT64_MAX);
  want(m, stats.reserved, m->reserved);
  want(m, stats.high_water >= m->high && stats.high_water <= m->sent && stats.high_water <= m->capacity, 1);
  want(m, stats.sent, m->sent);
  want(m, stats.received, m->given);
  want(m, stats.dropped, m->dropped);
  want(m, stats.full, m->full);
  want(m, stats.waiting, m->waiting);
}

static void check_sender(const model_t* m, size_t at) {
  const uvch_mpsc_sender_t* tx = &m->tx[at];
  size_t i;

  want(m, uvch_mpsc_sender_is_closed(tx), is_closed(m));
  want(m, uvch_mpsc_sender_len(tx), queued(m));
  want(m, uvch_mpsc_sender_capacity(tx), free_places(m));
  want(m, uvch_mpsc_sender_max_capacity(tx), m->capacity);
  want(m, uvch_mpsc_sender_strong_count(tx), strong(m));
  want(m, uvch_mpsc_sender_weak_count(tx), weaks(m));
  for (i = 0; i < SENDERS; i++) {
    want(m, uvch_mpsc_sender_same_channel(tx, &m->tx[i]), m->has_tx[i]);
  }
}

static void check_receiver(const model_t* m) {
  uint64_t len = m->open ? m->sent - m->taken + (m->in_hand > 0 && lies(m, 0, LIE_LEN)) : 0;

  want(m, uvch_mpsc_receiver_is_closed(&m->rx), is_closed(m));
  want(m, uvch_mpsc_receiver_len(&m->rx), len);
  want(m, uvch_mpsc_receiver_is_empty(&m->rx), len == 0);
  want(m, uvch_mpsc_receiver_capacity(&m->rx), m->open ? free_places(m) : 0);
  want(m, uvch_mpsc_receiver_max_capacity(&m->rx), m->open ? m->capacity : 0);
  want(m, uvch_mpsc_receiver_strong_count(&m->rx), m->open ? strong(m) : 0);
  want(m, uvch_mpsc_receiver_weak_count(&m->rx), m->open ? weaks(m) : 0);
  want(m, uvch_is_active((const uvch_handle_t*) &m->rx), m->started);
  want(m, uvch_is_closing((const uvch_handle_t*) &m->rx), !m->open);
  want(m, uvch_has_ref((const uvch_handle_t*) &m->rx), m->has_ref);
}

static void check_permit(const model_t* m, size_t at) {
  const uvch_mpsc_permit_t* permit = &m->permits[at];
  size_t i;

  want(m, uvch_mpsc_permit_count(permit), m->places[at]);
  for (i = 0; i < PERMITS; i++) {
    want(m, uvch_mpsc_permit_same_channel(permit, &m->permits[i]), m->places[at] > 0 && m->places[i] > 0);
  }
  for (i = 0; i < SENDERS; i++) {
    want(m, uvch_mpsc_permit_same_channel_as_sender(permit, &m->tx[i]), m->places[at] > 0 && m->has_tx[i]);
  }
}

static void check_model(model_t* m) {
  size_t i;

  check_stats(m);
  for (i = 0; i < SENDERS; i++) {
    if (m->has_tx[i])
      check_sender(m, i);
  }
  for (i = 0; i < WEAKS; i++) {
    want(m, uvch_mpsc_weak_sender_strong_count(&m->weak[i]), m->has_weak[i] ? strong(m) : 0);
    want(m, uvch_mpsc_weak_sender_weak_count(&m->weak[i]), m->has_weak[i] ? weaks(m) : 0);
  }
  for (i = 0; i < PERMITS; i++) {
    check_permit(m, i);
  }
  check_receiver(m);
}

/* Calls. */

/* A call has said that there is no memory, perhaps before it looked whether there is room. */
static void out_of_memory(model_t* m) {
  uvch_stats_t stats;

  want(m, get_stats(m, &stats), 0);
  want(m, stats.full == m->full || stats.full + 1 == m->full, 1);
  m->full = stats.full;
}

static const uvch_mpsc_sender_t* some_sender(model_t* m) {
  size_t at = walk_draw(m->walk, SENDERS);
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    if (m->has_tx[(at + i) % SENDERS])
      return &m->tx[(at + i) % SENDERS];
  }
  return NULL;
}

static request_t* free_request(model_t* m, what_t what) {
  size_t i;

  for (i = 0; i < COUNT(m->requests); i++) {
    request_t* r = &m->requests[i];
    if (r->what == what && !r->used) {
      memset(&r->req, 0xa5, sizeof(r->req));
      memset(&r->permit, 0, sizeof(r->permit));
      r->req.base.data = m;
      r->loop = walk_draw(m->walk, WALK_LOOPS);
      r->sent = 0;
      return r;
    }
  }
  return NULL;
}

/* Whether there are messages left to make; `count` of them. */
static bool make(model_t* m, unsigned char* items, size_t count) {
  size_t i;

  if (m->made + count > MESSAGES)
    return false;
  for (i = 0; i < count; i++) {
    walk_paint(items + i * m->item_size, m->item_size, m->made++);
  }
  return true;
}

/* A call that would have to sleep is refused on the receiver's loop, as soon as that has run. */
static bool is_refused(const model_t* m, int answer) {
  return answer == UV_EPERM && m->loop != NO_LOOP && m->open;
}

static void call_send(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];
  int wanted;

  if (tx == NULL || !make(m, item, 1))
    return;
  wanted = claim_answer(m, 1);
  if (!try_want(m, uvch_mpsc_try_send(tx, m->item_size > 0 ? item : NULL), wanted)) {
    out_of_memory(m);
    return;
  }
  model_sent(m, m->made - 1, wanted == 0);
}

static void call_send_wait(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];
  uint64_t full = m->full;
  int wanted;
  int answer;

  if (tx == NULL || !make(m, item, 1))
    return;
  wanted = claim_answer(m, 1);
  answer = wanted == UV_EAGAIN ? uvch_mpsc_send_timedwait(tx, item, walk_draw_timeout(m->walk)) : uvch_mpsc_send_wait(tx, item);
  if (is_refused(m, answer)) {
    m->full = full;
    return;
  }
  want(m, answer, wanted == UV_EAGAIN ? UV_ETIMEDOUT : wanted);
  model_sent(m, m->made - 1, wanted == 0);
}

static void call_send_many(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  _Alignas(max_align_t) unsigned char items[MANY_MAX * WALK_ITEM_MAX];
  size_t count = walk_draw(m->walk, walk_chance(m->walk, 4) ? MANY_MAX + 1 : BATCH_MAX);
  uint64_t first = m->made;
  bool by_thread = walk_chance(m->walk, 3);
  uint64_t fits;
  int wanted;
  int answer;

  if (tx == NULL || !make(m, items, count))
    return;
  walk_note(m->walk, "... %lld messages", (long long) count, 0);
  fits = count < room(m) ? count : room(m);
  if (by_thread) {
    answer = uvch_mpsc_send_many_timedwait(tx, items, count, 0);
    if (is_refused(m, answer))
      return;
  }
  wanted = count > 0 ? claim_answer(m, 1) : is_closed(m) ? UV_EPIPE : 0;
  if (by_thread)
    want(m, answer, wanted == UV_EAGAIN ? (int) UV_ETIMEDOUT : wanted == 0 ? (int) fits : wanted);
  else if (!try_want(m, uvch_mpsc_try_send_many(tx, items, count), wanted == 0 ? (int) fits : wanted)) {
    out_of_memory(m);
    return;
  }
  if (wanted == 0)
    model_sent(m, first, fits);
}

/* What a callback finds, and does. */

static void reenter(model_t* m);

static void enter(model_t* m) {
  m->callbacks += 1;
  serve(m);
}

static void leave(model_t* m) {
  reenter(m);
  m->callbacks -= 1;
}

static request_t* request_of(void* req) {
  return (request_t*) (void*) ((char*) req - offsetof(request_t, req));
}

static void on_sent(uvch_mpsc_send_t* req, int status) {
  request_t* r = request_of(req);
  model_t* m = req->data;

  enter(m);
  walk_note(m->walk, "a send is done: %lld, %lld of its messages are in", status, (long long) req->sent);
  want(m, r->used && !r->waits, 1);
  want(m, status, r->status);
  want(m, req->sent, r->sent);
  r->used = false;
  leave(m);
}

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  request_t* r = request_of(req);
  model_t* m = req->data;
  size_t i;

  enter(m);
  walk_note(m->walk, "a reservation is done: %lld", status, 0);
  want(m, r->used && !r->waits, 1);
  want(m, status, r->status);
  want(m, uvch_mpsc_permit_count(&r->permit), status == 0 ? r->left : 0);
  r->used = false;
  for (i = 0; i < PERMITS && m->places[i] > 0; i++) {}
  if (i < PERMITS && status == 0) { /* a permit may be moved by bytes */
    m->permits[i] = r->permit;
    m->places[i] = r->left;
  } else if (status == 0 && r->left > 0) {
    m->reserved -= r->left;
    want(m, uvch_mpsc_permit_release(&r->permit), 0);
    serve(m);
  }
  leave(m);
}

static void on_closed(uvch_mpsc_closed_t* req, int status) {
  request_t* r = request_of(req);
  model_t* m = req->data;

  enter(m);
  walk_note(m->walk, "a wait for the end is done: %lld", status, 0);
  want(m, r->used && !r->waits, 1);
  want(m, status, r->status);
  r->used = false;
  leave(m);
}

/* A request was taken: it is done, or waits. */
static void begin_request(model_t* m, request_t* r, int answer) {
  r->used = true;
  r->waits = answer == UV_EAGAIN;
  r->status = 0;
  if (r->waits && r->what != WATCHING)
    m->line[m->waiting++] = r;
}

static void call_queue_send(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  request_t* r = free_request(m, SENDING);
  size_t count = walk_draw(m->walk, BATCH_MAX);
  int answer;

  if (tx == NULL || r == NULL || !make(m, r->items, count))
    return;
  walk_note(m->walk, "... %lld messages, on loop %lld", (long long) count, (long long) r->loop);
  r->number = m->made - count;
  answer = count > 0 ? claim_answer(m, count) : is_closed(m) ? UV_EPIPE : 0;
  if (!try_want(m, uvch_mpsc_send_many(&m->walk->loops[r->loop], &r->req.send, tx, r->items, count, on_sent),
                answer == UV_EAGAIN ? 0 : answer)) {
    out_of_memory(m);
    return;
  }
  if (answer == UV_EPIPE)
    return;
  r->left = count;
  if (answer == 0) {
    model_sent(m, r->number, count);
    r->sent = count;
  }
  begin_request(m, r, answer);
}

static void call_reserve(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  request_t* r = free_request(m, RESERVING);
  size_t n = walk_draw(m->walk, (m->capacity < 6 ? m->capacity : 6) + 2);
  int answer;

  if (tx == NULL || r == NULL)
    return;
  walk_note(m->walk, "... %lld places, on loop %lld", (long long) n, (long long) r->loop);
  if (!is_bounded(m))
    answer = UV_EINVAL;
  else if (n > m->capacity || (n == 0 && is_closed(m)))
    answer = UV_EPIPE;
  else
    answer = n > 0 ? claim_answer(m, n) : 0;
  if (!try_want(m, uvch_mpsc_reserve(&m->walk->loops[r->loop], &r->req.reserve, tx, n, &r->permit, on_reserved),
                answer == UV_EAGAIN ? 0 : answer)) {
    out_of_memory(m);
    return;
  }
  if (answer != 0 && answer != UV_EAGAIN)
    return;
  r->left = n;
  m->reserved += answer == 0 ? n : 0;
  begin_request(m, r, answer);
}

static void call_watch(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  request_t* r = free_request(m, WATCHING);

  if (tx == NULL || r == NULL)
    return;
  if (try_want(m, uvch_mpsc_closed(&m->walk->loops[r->loop], &r->req.closed, tx, on_closed), 0))
    begin_request(m, r, is_closed(m) ? 0 : UV_EAGAIN);
}

static void call_watch_wait(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  int answer = uvch_mpsc_closed_timedwait(tx, walk_draw_timeout(m->walk));

  if (!is_refused(m, answer))
    want(m, answer, tx == NULL ? UV_EINVAL : is_closed(m) ? 0 : UV_ETIMEDOUT);
}

static void call_cancel(void* model) {
  model_t* m = model;
  request_t* r = &m->requests[walk_draw(m->walk, COUNT(m->requests))];

  if (!r->used)
    return;
  want(m, uvch_cancel(&r->req.base), r->waits ? 0 : UV_EBUSY);
  if (r->waits && r->what != WATCHING)
    leave_line(m, r, UV_ECANCELED);
  else if (r->waits)
    r->status = UV_ECANCELED;
  r->waits = false;
}

/* Permits. */

static void call_try_reserve(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  size_t at = walk_draw(m->walk, PERMITS);
  size_t n = walk_draw(m->walk, (m->capacity < 6 ? m->capacity : 6) + 2);
  bool by_thread = walk_chance(m->walk, 4);
  uint64_t full = m->full;
  int wanted;
  int answer;

  if (tx == NULL || m->places[at] > 0)
    return;
  walk_note(m->walk, "... %lld places", (long long) n, 0);
  if (!is_bounded(m))
    wanted = UV_EINVAL;
  else if (n > m->capacity)
    wanted = by_thread ? UV_EPIPE : UV_EAGAIN;
  else if (n == 0)
    wanted = is_closed(m) ? UV_EPIPE : 0;
  else
    wanted = claim_answer(m, n);
  if (by_thread) {
    answer = uvch_mpsc_reserve_timedwait(tx, n, &m->permits[at], walk_draw_timeout(m->walk));
    if (is_refused(m, answer)) {
      m->full = full;
      return;
    }
    want(m, answer, wanted == UV_EAGAIN ? UV_ETIMEDOUT : wanted);
  } else if (!try_want(m, uvch_mpsc_try_reserve(tx, n, &m->permits[at]), wanted)) {
    out_of_memory(m);
    return;
  }
  if (wanted == 0) {
    m->places[at] = n;
    m->reserved += n;
  }
}

static void call_permit_send(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, PERMITS);
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];

  if (!make(m, item, 1))
    return;
  want(m, uvch_mpsc_permit_send(&m->permits[at], item), m->places[at] == 0 ? UV_EBADF : m->open ? 0 : UV_EPIPE);
  if (m->places[at] == 0)
    return;
  m->places[at] -= 1;
  m->reserved -= 1;
  model_sent(m, m->made - 1, m->open);
}

static void call_permit_release(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, PERMITS);

  want(m, uvch_mpsc_permit_release(&m->permits[at]), m->places[at] == 0 ? UV_EBADF : 0);
  m->reserved -= m->places[at];
  m->places[at] = 0;
}

static void call_permit_split(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, PERMITS);
  size_t to = walk_draw(m->walk, PERMITS);
  size_t n = walk_draw(m->walk, 4);
  bool fits = to != at && n > 0 && n <= m->places[at];

  if (m->places[to] > 0 && to != at)
    return;
  want(m, uvch_mpsc_permit_split(&m->permits[at], n, &m->permits[to]),
       to == at             ? UV_EINVAL
       : m->places[at] == 0 ? UV_EBADF
       : fits               ? 0
                            : UV_EINVAL);
  if (fits) {
    m->places[at] -= n;
    m->places[to] = n;
  }
}

static void call_permit_get_sender(void* model) {
  model_t* m = model;
  size_t from = walk_draw(m->walk, PERMITS);
  size_t at = walk_draw(m->walk, SENDERS);

  if (m->has_tx[at])
    return;
  want(m, uvch_mpsc_permit_get_sender(&m->permits[from], &m->tx[at]), m->places[from] > 0 ? 0 : UV_EBADF);
  m->has_tx[at] = m->places[from] > 0;
}

/* Senders come and go. The last one stays most of the time. */

static void call_clone(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  size_t at = walk_draw(m->walk, SENDERS);

  if (tx == NULL || m->has_tx[at])
    return;
  want(m, uvch_mpsc_sender_clone(tx, &m->tx[at]), 0);
  m->has_tx[at] = true;
}

static void call_close_sender(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, SENDERS);

  if (strong(m) == 1 && !walk_chance(m->walk, 8))
    return;
  want(m, uvch_mpsc_sender_close(&m->tx[at]), m->has_tx[at] ? 0 : UV_EBADF);
  m->has_tx[at] = false;
  want(m, uvch_mpsc_try_send(&m->tx[at], &at), UV_EBADF);
}

static void call_weaken(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  size_t at = walk_draw(m->walk, WEAKS);

  if (m->has_weak[at]) {
    want(m, uvch_mpsc_weak_sender_close(&m->weak[at]), 0);
    m->has_weak[at] = false;
  } else if (m->has_weak[1 - at] && walk_chance(m->walk, 2)) {
    want(m, uvch_mpsc_weak_sender_clone(&m->weak[1 - at], &m->weak[at]), 0);
    m->has_weak[at] = true;
  } else if (tx != NULL) {
    want(m, uvch_mpsc_sender_downgrade(tx, &m->weak[at]), 0);
    m->has_weak[at] = true;
  }
}

static void call_upgrade(void* model) {
  model_t* m = model;
  size_t from = walk_draw(m->walk, WEAKS);
  size_t at = walk_draw(m->walk, SENDERS);
  int wanted = !m->has_weak[from] ? UV_EBADF : strong(m) > 0 ? 0 : UV_EPIPE;

  if (m->has_tx[at])
    return;
  want(m, uvch_mpsc_weak_sender_upgrade(&m->weak[from], &m->tx[at]), wanted);
  m->has_tx[at] = wanted == 0;
}

/* Receiving. */

static void call_recv(void* model) {
  model_t* m = model;
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];
  size_t way = walk_draw(m->walk, 4);
  int wanted = m->open ? next_answer(m) : UV_EBADF;
  int answer;

  if (way == 0 && wanted != UV_EAGAIN && m->loop == NO_LOOP)
    answer = uvch_mpsc_recv_wait(&m->rx, item);
  else if (way == 1 && m->open) {
    wanted = m->loop != NO_LOOP ? UV_EPERM : wanted == UV_EAGAIN ? UV_ETIMEDOUT : wanted;
    answer = uvch_mpsc_recv_timedwait(&m->rx, item, walk_draw_timeout(m->walk));
  } else
    answer = uvch_mpsc_try_recv(&m->rx, m->item_size > 0 ? item : NULL);
  want(m, answer, wanted);
  if (wanted == 0) {
    walk_check_item(m->walk, item, m->item_size, m->order[m->taken]);
    model_took(m, 1);
  }
}

static void call_recv_many(void* model) {
  model_t* m = model;
  _Alignas(max_align_t) unsigned char items[MANY_MAX * WALK_ITEM_MAX];
  size_t max = walk_draw(m->walk, walk_chance(m->walk, 4) ? MANY_MAX + 1 : BATCH_MAX);
  bool by_thread = m->open && walk_chance(m->walk, 3);
  uint64_t count = m->sent - m->taken < max ? m->sent - m->taken : max;
  int wanted = !m->open ? UV_EBADF : max == 0 ? 0 : next_answer(m);
  size_t i;

  if (wanted == 0)
    wanted = (int) count;
  if (by_thread && m->loop != NO_LOOP)
    wanted = UV_EPERM;
  if (by_thread && wanted == UV_EAGAIN)
    wanted = UV_ETIMEDOUT;
  want(m,
       by_thread ? uvch_mpsc_recv_many_timedwait(&m->rx, items, max, walk_draw_timeout(m->walk))
                 : uvch_mpsc_try_recv_many(&m->rx, items, max),
       wanted);
  for (i = 0; wanted > 0 && i < count; i++) {
    walk_check_item(m->walk, items + i * m->item_size, m->item_size, m->order[m->taken + i]);
  }
  if (wanted > 0)
    model_took(m, count);
}

/* Callbacks get the messages in their order, and these stay good. */
static void told(model_t* m, int status, const char* first, size_t stride, size_t count) {
  uint64_t from = m->taken;
  size_t i;

  enter(m);
  walk_note(m->walk, "a receive callback: %lld, %lld messages", status, (long long) count);
  want(m, m->open && m->started && m->loop != NO_LOOP, 1);
  want(m, status, next_answer(m));
  want(m, first != NULL, status == 0);
  want(m, count <= m->sent - m->taken, 1);
  m->started = status == 0;
  model_took(m, count);
  m->in_hand += 1;
  for (i = 0; i < count; i++) {
    walk_check_item(m->walk, first + i * stride, m->item_size, m->order[from + i]);
  }
  check_model(m);
  leave(m);
  for (i = 0; i < count; i++) {
    walk_check_item(m->walk, first + i * stride, m->item_size, m->order[from + i]);
  }
  m->in_hand -= 1;
  model_took(m, 0);
}

static void on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  model_t* m = rx->data;

  want(m, m->many, 0);
  told(m, status, item, 0, status == 0);
}

static void on_recv_many(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  model_t* m = rx->data;

  want(m, count > 0, status == 0);
  want(m, count <= m->many && count <= 256, 1);
  want(m, !is_bounded(m) || count <= m->capacity, 1);
  told(m, status, first, stride, count);
}

static void call_attach(void* model) {
  model_t* m = model;
  size_t loop = walk_draw(m->walk, WALK_LOOPS);
  int wanted = !m->open ? UV_EBADF : m->loop != NO_LOOP ? UV_EALREADY : 0;

  if (try_want(m, uvch_attach(&m->walk->loops[loop], (uvch_handle_t*) &m->rx), wanted) && wanted == 0)
    m->loop = loop;
}

static void call_start(void* model) {
  model_t* m = model;
  int wanted = !m->open ? UV_EBADF : m->loop == NO_LOOP ? UV_EINVAL : m->started ? UV_EALREADY : 0;
  size_t many = walk_chance(m->walk, 2) ? 1 + walk_draw(m->walk, 6) : 0;

  if (many > 0)
    want(m, uvch_mpsc_recv_many_start(&m->rx, many, on_recv_many), wanted);
  else
    want(m, uvch_mpsc_recv_start(&m->rx, on_recv), wanted);
  if (wanted == 0) {
    m->started = true;
    m->many = many;
  }
}

static void call_stop(void* model) {
  model_t* m = model;

  want(m, uvch_mpsc_recv_stop(&m->rx), m->open ? 0 : UV_EBADF);
  m->started = false;
}

static void call_shutdown(void* model) {
  model_t* m = model;

  if (!walk_chance(m->walk, 4))
    return;
  want(m, uvch_mpsc_recv_shutdown(&m->rx), m->open ? 0 : UV_EBADF);
  m->shut = true;
}

static void call_ref(void* model) {
  model_t* m = model;

  if (!m->open && !m->closing)
    return; /* the handle is not the library's any more */
  m->has_ref = walk_chance(m->walk, 2);
  (m->has_ref ? uvch_ref : uvch_unref)((uvch_handle_t*) &m->rx);
}

static void on_close(uvch_handle_t* handle) {
  model_t* m = handle->data;

  walk_note(m->walk, "the close callback", 0, 0);
  want(m, m->closing, 1);
  m->closing = false;
}

/* What is queued is dropped in its order. */
static void on_drop(void* item, void* arg) {
  model_t* m = arg;

  want(m, m->taken + m->dropped < m->sent, 1);
  walk_check_item(m->walk, item, m->item_size, m->order[m->taken + m->dropped]);
  m->dropped += 1;
}

static void close_receiver(model_t* m) {
  uvch_handle_t* handle = (uvch_handle_t*) &m->rx;

  want(m, uvch_close(handle, m->loop != NO_LOOP ? on_close : NULL), m->open ? 0 : UV_EALREADY);
  if (!m->open)
    return;
  m->open = false;
  m->started = false;
  m->closing = m->loop != NO_LOOP;
  m->given = m->taken;
  want(m, m->dropped, m->drops ? m->sent - m->taken : 0);
  m->dropped = m->sent - m->taken;
}

static void call_close(void* model) {
  model_t* m = model;

  if (walk_chance(m->walk, 8))
    close_receiver(m);
}

/* Running. */

static void call_pass(void* model) {
  model_t* m = model;

  walk_pass(m->walk, walk_draw(m->walk, WALK_LOOPS));
}

/* Something is to come from the loops. */
static bool is_busy(const model_t* m) {
  size_t i;

  for (i = 0; i < COUNT(m->requests); i++) {
    if (m->requests[i].used && !m->requests[i].waits)
      return true;
  }
  return m->closing || (m->started && next_answer(m) != UV_EAGAIN);
}

/* Whether the loop has something to wait for. */
static bool is_alive(const model_t* m, size_t loop) {
  size_t i;

  for (i = 0; i < COUNT(m->requests); i++) {
    if (m->requests[i].used && m->requests[i].loop == loop)
      return true;
  }
  return m->loop == loop && m->started && m->has_ref;
}

static void run_all(model_t* m) {
  size_t passes;
  size_t i;

  for (passes = 0; is_busy(m); passes++) {
    want(m, passes < 10000, 1);
    walk_pass_all(m->walk);
    serve(m);
  }
  for (i = 0; i < 4; i++) {
    walk_pass_all(m->walk);
  }
}

/* Everything comes, and then nothing any more. */
static void call_run(void* model) {
  model_t* m = model;
  size_t i;

  if (m->walk->depth > 0)
    return;
  run_all(m);
  for (i = 0; i < WALK_LOOPS && !is_busy(m); i++) {
    want(m, walk_is_alive(m->walk, i), is_alive(m, i));
  }
}

static void call_configure(void* model) {
  model_t* m = model;
  uv_loop_t* loop = &m->walk->loops[walk_draw(m->walk, WALK_LOOPS)];

  if (walk_chance(m->walk, 2))
    try_want(m, uvch_loop_configure(loop, UVCH_LOOP_BUDGET_MESSAGES, 1 + walk_draw(m->walk, 6)), 0);
  else
    try_want(m, uvch_loop_configure(loop, UVCH_LOOP_HOT_MAX, 1000 * walk_draw(m->walk, 2)), 0);
}

/* Walks. */

static const walk_call_t calls[] = {
    {"try_send", call_send, 16},
    {"try_send_many", call_send_many, 12},
    {"try_recv", call_recv, 12},
    {"try_recv_many", call_recv_many, 8},
    {"run", call_run, 8},
    {"pass", call_pass, 12},
    {"start", call_start, 8},
    {"send", call_queue_send, 8},
    {"reserve", call_reserve, 8},
    {"try_reserve", call_try_reserve, 8},
    {"permit_send", call_permit_send, 8},
    {"permit_release", call_permit_release, 4},
    {"permit_split", call_permit_split, 4},
    {"permit_get_sender", call_permit_get_sender, 2},
    {"send_wait", call_send_wait, 2},
    {"closed", call_watch, 3},
    {"closed_wait", call_watch_wait, 2},
    {"cancel", call_cancel, 6},
    {"clone", call_clone, 3},
    {"close_sender", call_close_sender, 4},
    {"weak sender", call_weaken, 3},
    {"upgrade", call_upgrade, 3},
    {"attach", call_attach, 3},
    {"stop", call_stop, 4},
    {"shutdown", call_shutdown, 2},
    {"close", call_close, 2},
    {"ref", call_ref, 2},
    {"configure", call_configure, 2},
};

static void step(model_t* m) {
  walk_call(m->walk, &m->calls, m);
  serve(m);
  check_model(m);
}

static void reenter(model_t* m) {
  size_t n = walk_chance(m->walk, 3) ? 1 + walk_draw(m->walk, 3) : 0;

  serve(m);
  m->walk->depth += 1;
  for (; n > 0 && !walk_is_over(m->walk) && m->walk->depth <= DEEP; n--) {
    m->walk->step += 1;
    step(m);
  }
  m->walk->depth -= 1;
}

static void begin(model_t* m, bool bounded) {
  static const size_t sizes[] = {8, 8, 0, 1, 4, 20, 128, WALK_ITEM_MAX};
  static const size_t capacities[] = {1, 2, 3, 4, 5, 8, 16, 100};
  uvch_mpsc_options_t options;
  size_t i;

  memset(&options, 0, sizeof(options));
  m->item_size = sizes[walk_draw(m->walk, COUNT(sizes))];
  m->capacity = bounded ? capacities[walk_draw(m->walk, COUNT(capacities))] : UVCH_UNBOUNDED;
  m->drops = walk_chance(m->walk, 2);
  m->name = walk_chance(m->walk, 2) ? "a channel with a name of length" : NULL;
  m->loop = walk_draw(m->walk, WALK_LOOPS + 1);
  options.flags = walk_chance(m->walk, 2) ? UVCH_PREALLOCATE : 0;
  options.drop = m->drops ? on_drop : NULL;
  options.arg = m;
  options.name = m->name;
  walk_note(m->walk, "a channel of %lld messages of %lld bytes", (long long) m->capacity, (long long) m->item_size);
  memset(&m->rx, 0xa5, sizeof(m->rx));
  while (!try_want(m,
                   uvch_mpsc_init_ex(m->loop != NO_LOOP ? &m->walk->loops[m->loop] : NULL, &m->rx, &m->tx[0], m->item_size,
                                     m->capacity, &options),
                   0)) {}
  m->rx.data = m;
  m->open = true;
  m->has_ref = true;
  m->has_tx[0] = true;
  for (i = 0; i < COUNT(m->requests); i++) {
    m->requests[i].what = i < SENDINGS ? SENDING : i < SENDINGS + RESERVINGS ? RESERVING : WATCHING;
  }
}

static void close_senders(model_t* m) {
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    if (m->has_tx[i])
      want(m, uvch_mpsc_sender_close(&m->tx[i]), 0);
    m->has_tx[i] = false;
    serve(m);
    check_model(m);
  }
}

static void end(model_t* m, bool senders_first) {
  size_t i;

  walk_note(m->walk, "the end", 0, 0);
  if (senders_first)
    close_senders(m);
  if (m->open)
    close_receiver(m);
  serve(m);
  check_model(m);
  close_senders(m);
  run_all(m); /* reservations that had been granted come */
  for (i = 0; i < PERMITS; i++) {
    want(m, uvch_mpsc_permit_release(&m->permits[i]), m->places[i] > 0 ? 0 : UV_EBADF);
    m->reserved -= m->places[i];
    m->places[i] = 0;
  }
  serve(m);
  check_model(m);
  for (i = 0; i < WEAKS; i++) {
    want(m, uvch_mpsc_weak_sender_close(&m->weak[i]), m->has_weak[i] ? 0 : UV_EBADF);
  }
  run_all(m);
}

static void run(const walk_kind_t* kind, const uint8_t* data, size_t size) {
  model_t* m = calloc(1, sizeof(*m));
  bool senders_first;

  if (m == NULL)
    abort();
  m->walk = walk_begin(kind, data, size);
  walk_calls_begin(m->walk, &m->calls, calls, COUNT(calls));
  senders_first = walk_chance(m->walk, 2);
  begin(m, kind == &kind_mpsc_bounded);
  for (; !walk_is_over(m->walk); m->walk->step++) {
    step(m);
  }
  end(m, senders_first);
  walk_end(m->walk);
  free(m);
}

static void run_bounded(const uint8_t* data, size_t size) {
  run(&kind_mpsc_bounded, data, size);
}

static void run_unbounded(const uint8_t* data, size_t size) {
  run(&kind_mpsc_unbounded, data, size);
}

const walk_kind_t kind_mpsc_bounded = {"mpsc_bounded", run_bounded, bounded_lies};
const walk_kind_t kind_mpsc_unbounded = {"mpsc_unbounded", run_unbounded, unbounded_lies};
