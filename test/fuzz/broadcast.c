/* SPDX-License-Identifier: MIT
 *
 * Broadcast channels against a model that a few numbers make up: how many messages were sent, and how many of them each receiver
 * has behind it. After each call everything that can be asked is asked.
 * [FC04 to FC09, FC11 to FC17, FC19 to FC28, FC30, FC31, FC33] */
#include "walk.h"

#include "../support.h"
#include "broadcast.h"

enum { RECEIVERS = 5, SENDERS = 3, WEAKS = 2, SENDINGS = 3, WATCHERS = 2, BATCH_MAX = 40, DEEP = 3, MESSAGES = 6000 };

enum { LIE_KEEPS = 1, LIE_MISSED, LIE_COUNT };

static const char* const lies[] = {"one message more is kept", "a gap is one message shorter", "who is cut off still counts",
                                   NULL};

typedef struct reader_s {
  uvch_broadcast_receiver_t rx;
  bool open;
  bool attached;
  bool started;
  bool cut;        /* it was too slow, and that is the policy */
  bool told;       /* and it knows */
  bool closing;    /* its memory is not free yet */
  uint64_t first;  /* the message that was next when it came */
  uint64_t cursor; /* the next one that it has not read */
  uint64_t missed; /* in the last gap that it was told of */
  /* what the library said, added up */
  uint64_t got;
  uint64_t lost;
} reader_t;

/* A request to send. */
typedef struct sending_s {
  uvch_broadcast_send_t req;
  bool used;  /* its callback is still to come */
  int status; /* once it is out of the queue */
  uint64_t number;
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];
} sending_t;

/* A wait for the end of the receivers. */
typedef struct watcher_s {
  uvch_broadcast_closed_t req;
  bool used;
  bool told; /* there was a moment without receivers, so that it is on its way perhaps */
  bool cancelled;
} watcher_t;

/* What a walk's channel is like. */
typedef struct form_s {
  uvch_broadcast_policy policy;
  size_t capacity;
  size_t item_size;
  bool copies; /* messages have a copy function */
  bool drops;
} form_t;

typedef struct model_s {
  form_t form;
  walk_t* walk;
  walk_calls_t calls;
  uvch_broadcast_sender_t tx[SENDERS];
  uvch_broadcast_weak_sender_t weak[WEAKS];
  bool has_tx[SENDERS];
  bool has_weak[WEAKS];
  reader_t readers[RECEIVERS];
  sending_t sendings[SENDINGS];
  watcher_t watchers[WATCHERS];
  sending_t* queue[SENDINGS]; /* those that wait for room, the first one first */
  size_t queued;
  uint64_t made; /* messages, also such as were refused */
  uint64_t sent;
  uint64_t order[MESSAGES]; /* the numbers of those that were sent */
  /* values that own things */
  unsigned char dropped[MESSAGES];
  size_t drops;
  uint64_t ended;    /* all messages before this one must have been dropped */
  size_t copies_out; /* copies that were made and not ended */
  int copy_fails;
  bool unsure; /* which requests have been served in this pass of the loop: that is done once in a while only */
} model_t;

static void on_drop(void* item, void* arg) {
  model_t* m = arg;
  uint64_t number = walk_number(item);

  want(m, number < m->made, 1);
  want(m, m->dropped[number], 0);
  m->dropped[number] = 1;
  m->drops += 1;
}

static int on_copy(void* to, const void* from, void* arg) {
  model_t* m = arg;

  want(m, m->dropped[walk_number(from)], 0);
  if (m->copy_fails != 0) {
    return m->copy_fails;
  }
  memcpy(to, from, m->form.item_size);
  m->copies_out += 1;
  return 0;
}

/* The model. */

static size_t senders(const model_t* m) {
  size_t n = 0;
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    n += m->has_tx[i];
  }
  return n + m->queued;
}

static size_t weaks(const model_t* m) {
  size_t n = 0;
  size_t i;

  for (i = 0; i < WEAKS; i++) {
    n += m->has_weak[i];
  }
  return n;
}

/* One that was told that it is cut off has left. */
static bool is_subscribed(const reader_t* r) {
  return r->open && (!r->told || walk_lie == LIE_COUNT);
}

static size_t subscribed(const model_t* m) {
  size_t n = 0;
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    n += is_subscribed(&m->readers[i]);
  }
  return n;
}

static uint64_t behind(const model_t* m, const reader_t* r) {
  return m->sent - r->cursor;
}

/* Messages that somebody may still want. */
static uint64_t kept(const model_t* m) {
  uint64_t most = 0;
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (is_subscribed(&m->readers[i]) && behind(m, &m->readers[i]) > most) {
      most = behind(m, &m->readers[i]);
    }
  }
  return most < m->form.capacity ? most : m->form.capacity;
}

static uint64_t room(const model_t* m) {
  return m->form.policy == UVCH_BROADCAST_WAIT ? m->form.capacity - kept(m) : UINT64_MAX;
}

/* The first ones of a row of numbers are in. */
static void model_sent(model_t* m, uint64_t number, uint64_t count) {
  size_t i;

  for (i = 0; i < count; i++) {
    m->order[m->sent++] = number + i;
  }
  for (i = 0; i < RECEIVERS && m->form.policy == UVCH_BROADCAST_DISCONNECT; i++) {
    reader_t* r = &m->readers[i];
    r->cut = r->cut || (r->open && behind(m, r) > m->form.capacity);
  }
}

/* What the next call that takes a message must say; 0: the message at the cursor. */
static int next_answer(const model_t* m, const reader_t* r) {
  if (r->cut) {
    return UV_ECONNABORTED;
  }
  if (behind(m, r) > m->form.capacity + (walk_lie == LIE_KEEPS)) {
    return (int) (behind(m, r) - m->form.capacity - (walk_lie == LIE_MISSED && behind(m, r) > m->form.capacity + 1));
  }
  return behind(m, r) > 0 ? 0 : senders(m) > 0 ? UV_EAGAIN : UV_EOF;
}

/* That is what it was told. */
static void model_told(reader_t* r, int answer) {
  if (answer > 0) {
    r->missed = (uint64_t) answer;
    r->lost += (uint64_t) answer;
    r->cursor += (uint64_t) answer;
  } else if (answer == 0) {
    r->got += 1;
    r->cursor += 1;
  } else if (answer == UV_ECONNABORTED) {
    r->told = true;
    r->started = false;
  }
}

/* One in the queue has its answer. */
static void model_unqueue(model_t* m, size_t at, int status) {
  m->queue[at]->status = status;
  m->queued -= 1;
  memmove(&m->queue[at], &m->queue[at + 1], (m->queued - at) * sizeof(m->queue[0]));
}

/* Requests get what they wait for. */
static void model_serve(model_t* m) {
  size_t i;

  while (m->queued > 0 && (subscribed(m) == 0 || room(m) > 0)) {
    if (subscribed(m) > 0) {
      model_sent(m, m->queue[0]->number, 1);
    }
    model_unqueue(m, 0, subscribed(m) > 0 ? (int) subscribed(m) : UV_EPIPE);
  }
  for (i = 0; i < WATCHERS; i++) {
    m->watchers[i].told = m->watchers[i].told || subscribed(m) == 0;
  }
}

/* The same inside a pass of the loop, where the library may not have got so far. */
static void model_serve_early(model_t* m) {
  m->unsure = m->unsure || m->queued > 0;
  model_serve(m);
}

/* Asking. */

static void check_sender(const model_t* m, const uvch_broadcast_sender_t* tx) {
  uint64_t len = kept(m);
  size_t i;

  want(m, uvch_broadcast_sender_len(tx), len);
  want(m, uvch_broadcast_sender_is_empty(tx), len == 0);
  want(m, uvch_broadcast_sender_capacity(tx), m->form.capacity);
  want(m, uvch_broadcast_sender_receiver_count(tx), subscribed(m));
  want(m, uvch_broadcast_sender_strong_count(tx), senders(m));
  want(m, uvch_broadcast_sender_weak_count(tx), weaks(m));
  want(m, uvch_broadcast_closed_timedwait(tx, 0), subscribed(m) == 0 ? 0 : UV_ETIMEDOUT);
  for (i = 0; i < SENDERS; i++) {
    want(m, uvch_broadcast_sender_same_channel(tx, &m->tx[i]), m->has_tx[i]);
  }
}

static void check_reader(const model_t* m, const reader_t* r) {
  uint64_t len = r->cut ? 0 : behind(m, r);

  want(m, uvch_broadcast_receiver_len(&r->rx), len);
  want(m, uvch_broadcast_receiver_is_empty(&r->rx), len == 0);
  want(m, uvch_broadcast_receiver_is_closed(&r->rx), r->cut || senders(m) == 0);
  want(m, uvch_broadcast_receiver_missed(&r->rx), r->missed);
  want(m, uvch_is_active((const uvch_handle_t*) &r->rx), r->started);
  if (!r->told) {
    want(m, uvch_broadcast_receiver_strong_count(&r->rx), senders(m));
    want(m, uvch_broadcast_receiver_weak_count(&r->rx), weaks(m));
  }
  if (!r->cut) { /* whatever the model thinks: nothing comes twice, nothing is lost without a word */
    want(m, r->got + r->lost + uvch_broadcast_receiver_len(&r->rx), m->sent - r->first);
  }
}

/* Exactly those values have been ended that nobody can want any more. */
static void check_drops(model_t* m) {
  uint64_t until = m->sent - kept(m);

  if (m->form.drops && m->walk->depth == 0) { /* a callback still has its messages */
    for (; m->ended < until; m->ended++) {
      want(m, m->dropped[m->order[m->ended]], 1);
    }
    want(m, m->drops, until);
  }
  want(m, m->copies_out, 0);
}

static void check_model(model_t* m) {
  size_t i;

  if (m->unsure) {
    return;
  }
  for (i = 0; i < SENDERS; i++) {
    if (m->has_tx[i]) {
      check_sender(m, &m->tx[i]);
    }
  }
  for (i = 0; i < WEAKS; i++) {
    if (m->has_weak[i]) {
      want(m, uvch_broadcast_weak_sender_strong_count(&m->weak[i]), senders(m));
      want(m, uvch_broadcast_weak_sender_weak_count(&m->weak[i]), weaks(m));
    }
  }
  for (i = 0; i < RECEIVERS; i++) {
    if (m->readers[i].open) {
      check_reader(m, &m->readers[i]);
    }
  }
  check_drops(m);
}

static uv_loop_t* some_loop(model_t* m) {
  return &m->walk->loops[walk_draw(m->walk, WALK_LOOPS)];
}

/* Sending. */

static const uvch_broadcast_sender_t* some_sender(model_t* m) {
  size_t at = walk_draw(m->walk, SENDERS);
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    if (m->has_tx[(at + i) % SENDERS]) {
      return &m->tx[(at + i) % SENDERS];
    }
  }
  return NULL;
}

static void call_send(void* model) {
  model_t* m = model;
  const uvch_broadcast_sender_t* tx = some_sender(m);
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];
  int wanted = subscribed(m) == 0 ? UV_EPIPE : room(m) == 0 ? UV_EAGAIN : (int) subscribed(m);

  if (tx == NULL || m->made == MESSAGES) {
    return;
  }
  walk_paint(item, m->form.item_size, m->made);
  if (!walk_chance(m->walk, 4)) {
    if (!try_want(m, uvch_broadcast_send(tx, item), wanted)) {
      m->made += 1;
      return;
    }
  } else if (wanted == UV_EAGAIN) {
    want(m, uvch_broadcast_send_timedwait(tx, item, 0), UV_ETIMEDOUT);
  } else {
    want(m, uvch_broadcast_send_wait(tx, item), wanted);
  }
  model_sent(m, m->made, wanted > 0);
  m->made += 1;
}

static void call_send_many(void* model) {
  model_t* m = model;
  const uvch_broadcast_sender_t* tx = some_sender(m);
  _Alignas(max_align_t) unsigned char items[BATCH_MAX * WALK_ITEM_MAX];
  size_t count = walk_draw(m->walk, (2 * m->form.capacity + 2 < BATCH_MAX ? 2 * m->form.capacity + 2 : BATCH_MAX) + 1);
  uint64_t fits = count < room(m) ? count : room(m);
  int answer;
  size_t i;

  if (tx == NULL || m->made + count > MESSAGES || (count == 0 && subscribed(m) == 0)) {
    return;
  }
  for (i = 0; i < count; i++) {
    walk_paint(items + i * m->form.item_size, m->form.item_size, m->made + i);
  }
  m->made += count; /* some go in and out again in the call */
  if (subscribed(m) == 0) {
    want(m, uvch_broadcast_send_many(tx, items, count), UV_EPIPE);
    return;
  }
  walk_scarce(m->walk);
  answer = uvch_broadcast_send_many(tx, items, count);
  if (support_alloc_failed() > 0 && answer != UV_EAGAIN) { /* as many as there was memory for */
    want(m, answer == UV_ENOMEM || (answer > 0 && (uint64_t) answer <= fits), 1);
    fits = answer > 0 ? (uint64_t) answer : 0;
  } else {
    want(m, answer, fits == 0 && count > 0 ? UV_EAGAIN : (int) fits);
  }
  support_alloc_fail(0);
  model_sent(m, m->made - count, fits);
}

static void on_sent(uvch_broadcast_send_t* req, int status) {
  sending_t* sending = (sending_t*) (void*) ((char*) req - offsetof(sending_t, req));
  model_t* m = req->data;

  model_serve_early(m);
  want(m, sending->used, 1);
  want(m, status, sending->status);
  sending->used = false;
}

static void call_queue_send(void* model) {
  model_t* m = model;
  const uvch_broadcast_sender_t* tx = some_sender(m);
  sending_t* sending = &m->sendings[walk_draw(m->walk, SENDINGS)];
  int wanted = subscribed(m) == 0 ? UV_EPIPE : 0;

  if (tx == NULL || sending->used || m->made == MESSAGES) {
    return;
  }
  memset(&sending->req, 0xa5, sizeof(sending->req));
  sending->req.data = m;
  sending->number = m->made++;
  walk_paint(sending->item, m->form.item_size, sending->number);
  if (!try_want(m, uvch_broadcast_queue_send(some_loop(m), &sending->req, tx, sending->item, on_sent), wanted)) {
    return;
  }
  sending->used = wanted == 0;
  sending->status = (int) subscribed(m);
  if (wanted != 0) {
    return;
  }
  if (room(m) > 0 && m->queued == 0) {
    model_sent(m, sending->number, 1);
  } else {
    m->queue[m->queued++] = sending;
  }
}

static void call_cancel_send(void* model) {
  model_t* m = model;
  sending_t* sending = &m->sendings[walk_draw(m->walk, SENDINGS)];
  size_t at = 0;

  if (!sending->used) {
    return;
  }
  while (at < m->queued && m->queue[at] != sending) {
    at++;
  }
  want(m, uvch_cancel((uvch_req_t*) &sending->req), at < m->queued ? 0 : UV_EBUSY);
  if (at < m->queued) {
    model_unqueue(m, at, UV_ECANCELED);
  }
}

/* Waits for the end of the receivers. */

static void on_closed(uvch_broadcast_closed_t* req, int status) {
  watcher_t* watcher = (watcher_t*) (void*) ((char*) req - offsetof(watcher_t, req));
  model_t* m = req->data;

  want(m, watcher->used, 1);
  want(m, status, watcher->cancelled ? UV_ECANCELED : 0);
  want(m, watcher->cancelled || subscribed(m) == 0, 1);
  watcher->used = false;
}

static void call_watch(void* model) {
  model_t* m = model;
  const uvch_broadcast_sender_t* tx = some_sender(m);
  watcher_t* watcher = &m->watchers[walk_draw(m->walk, WATCHERS)];

  if (tx == NULL || watcher->used) {
    return;
  }
  memset(&watcher->req, 0xa5, sizeof(watcher->req));
  watcher->req.data = m;
  if (!try_want(m, uvch_broadcast_closed(some_loop(m), &watcher->req, tx, on_closed), 0)) {
    return;
  }
  watcher->used = true;
  watcher->told = subscribed(m) == 0;
  watcher->cancelled = false;
}

static void call_cancel_watch(void* model) {
  model_t* m = model;
  watcher_t* watcher = &m->watchers[walk_draw(m->walk, WATCHERS)];
  int answer;

  if (!watcher->used) {
    return;
  }
  answer = uvch_cancel((uvch_req_t*) &watcher->req);
  if (answer != UV_EBUSY || !(watcher->told || watcher->cancelled)) {
    want(m, answer, watcher->cancelled ? UV_EBUSY : 0);
    watcher->cancelled = true;
  }
}

/* Receiving. */

static reader_t* some_reader(model_t* m) {
  size_t at = walk_draw(m->walk, RECEIVERS);
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (m->readers[(at + i) % RECEIVERS].open) {
      return &m->readers[(at + i) % RECEIVERS];
    }
  }
  return NULL;
}

static int receive_in_some_way(model_t* m, reader_t* r, void* item, int* wanted) {
  size_t way = walk_draw(m->walk, 6);

  if (way == 0 && !r->attached && *wanted != UV_EAGAIN) {
    return uvch_broadcast_recv_wait(&r->rx, item);
  }
  if (way == 1 && !(r->attached && r->told)) {
    if (r->attached) {
      *wanted = UV_EPERM;
    } else if (*wanted == UV_EAGAIN) {
      *wanted = UV_ETIMEDOUT;
    }
    return uvch_broadcast_recv_timedwait(&r->rx, item, walk_draw_timeout(m->walk));
  }
  return uvch_broadcast_try_recv(&r->rx, item);
}

static void receive(model_t* m, reader_t* r) {
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];
  unsigned char before[WALK_ITEM_MAX];
  int answer = next_answer(m, r);
  int wanted = answer;

  memset(item, 0x5a, sizeof(item));
  memset(before, 0x5a, sizeof(before));
  if (m->form.drops && !m->form.copies) { /* only callbacks can see them */
    want(m, uvch_broadcast_try_recv(&r->rx, item), r->told ? answer : UV_ENOTSUP);
    return;
  }
  want(m, receive_in_some_way(m, r, item, &wanted), wanted);
  if (wanted == UV_EPERM) {
    answer = UV_EPERM;
  }
  if (answer == 0) {
    walk_check_item(m->walk, item, m->form.item_size, m->order[r->cursor]);
    m->copies_out -= m->form.copies;
    memset(item, 0x5a, m->form.item_size);
  }
  want(m, memcmp(item, before, sizeof(item)), 0); /* not a byte more, and none without a message */
  model_told(r, answer);
  model_serve(m);
}

static void close_reader(model_t* m, reader_t* r);

static void call_receive(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);

  if (r == NULL) {
    return;
  }
  receive(m, r);
  if (r->told && walk_draw(m->walk, 3) == 0) { /* else most would be in the way */
    close_reader(m, r);
  }
}

static void call_drain(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);
  size_t n = walk_draw(m->walk, m->form.capacity + 2);

  for (; r != NULL && n > 0; n--) {
    receive(m, r);
    check_model(m);
  }
}

/* The message is read, though there is no copy of it. */
static void call_receive_badly(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];

  if (!m->form.copies || r == NULL || next_answer(m, r) != 0) {
    return;
  }
  m->copy_fails = UV_EIO;
  want(m, uvch_broadcast_try_recv(&r->rx, item), UV_EIO);
  m->copy_fails = 0;
  model_told(r, 0);
}

/* Callbacks: what comes must be what the model's next answer is. */

static void reenter(model_t* m);

static void told_by_callback(model_t* m, reader_t* r, int status, const void* item) {
  if (behind(m, r) == 0) { /* the message of a request, then */
    model_serve_early(m);
  }
  want(m, r->open && r->started && r->attached, 1);
  want(m, status, next_answer(m, r));
  want(m, item != NULL, status == 0);
  if (status == 0) {
    walk_check_item(m->walk, item, m->form.item_size, m->order[r->cursor]);
  }
  if (status == UV_EOF) {
    r->started = false;
  }
  model_told(r, status);
}

static reader_t* reader_of(uvch_broadcast_receiver_t* rx) {
  return (reader_t*) (void*) ((char*) rx - offsetof(reader_t, rx));
}

static void on_recv(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  reader_t* r = reader_of(rx);
  model_t* m = rx->data;
  uint64_t number = r->cursor;

  told_by_callback(m, r, status, item);
  reenter(m);
  if (status == 0) {
    walk_check_item(m->walk, item, m->form.item_size, m->order[number]); /* still good */
  }
}

static void on_recv_many(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  reader_t* r = reader_of(rx);
  model_t* m = rx->data;
  uint64_t number = r->cursor;
  size_t i;

  want(m, count > 0, status == 0);
  if (status != 0) {
    told_by_callback(m, r, status, first);
  }
  for (i = 0; i < count; i++) {
    told_by_callback(m, r, 0, (const char*) first + i * stride);
  }
  reenter(m);
  for (i = 0; i < count; i++) {
    walk_check_item(m->walk, (const char*) first + i * stride, m->form.item_size, m->order[number + i]);
  }
}

static void call_attach(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);

  if (r == NULL || r->told) {
    return;
  }
  if (try_want(m, uvch_attach(some_loop(m), (uvch_handle_t*) &r->rx), r->attached ? UV_EALREADY : 0)) {
    r->attached = true;
  }
}

static void call_start(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);
  int wanted;

  if (r == NULL) {
    return;
  }
  wanted = r->told ? UV_ECONNABORTED : !r->attached ? UV_EINVAL : r->started ? UV_EALREADY : 0;
  r->rx.data = m;
  if (walk_draw(m->walk, 2) == 0) {
    want(m, uvch_broadcast_recv_start(&r->rx, on_recv), wanted);
  } else {
    want(m, uvch_broadcast_recv_many_start(&r->rx, 1 + walk_draw(m->walk, 5), on_recv_many), wanted);
  }
  r->started = r->started || wanted == 0;
}

static void call_stop(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);

  if (r != NULL) {
    want(m, uvch_broadcast_recv_stop(&r->rx), 0);
    r->started = false;
  }
}

/* Somebody has something to come on the loop. */
static bool is_busy(const model_t* m) {
  size_t waiting = 0;
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    const reader_t* r = &m->readers[i];
    if (r->closing || (r->open && r->started && next_answer(m, r) != UV_EAGAIN)) {
      return true;
    }
  }
  for (i = 0; i < SENDINGS; i++) {
    waiting += m->sendings[i].used;
  }
  for (i = 0; i < WATCHERS; i++) {
    const watcher_t* w = &m->watchers[i];
    if (w->used && (w->cancelled || subscribed(m) == 0)) {
      return true;
    }
  }
  return waiting > m->queued;
}

/* After a pass or more; there may be more to come. */
static void passed(model_t* m) {
  if (m->walk->depth == 0) {
    model_serve(m);
    m->unsure = false;
  }
}

static void call_pass(void* model) {
  model_t* m = model;

  walk_pass(m->walk, walk_draw(m->walk, WALK_LOOPS));
  passed(m);
}

/* Everything comes, and then nothing any more. */
static void call_run(void* model) {
  model_t* m = model;
  size_t passes;
  int i;

  if (m->walk->depth > 0) {
    return;
  }
  for (passes = 0; is_busy(m); passes++) {
    want(m, passes < 10000, 1);
    walk_pass_all(m->walk);
    passed(m);
  }
  for (i = 0; i < 3; i++) {
    walk_pass_all(m->walk);
  }
}

/* Receivers come and go. */

static reader_t* free_reader(model_t* m) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (!m->readers[i].open && !m->readers[i].closing) {
      return &m->readers[i];
    }
  }
  return NULL;
}

static void begin_reader(model_t* m, reader_t* r, bool attached) {
  r->open = true;
  r->attached = attached;
  r->cursor = m->sent;
  r->first = m->sent;
}

static void call_subscribe(void* model) {
  model_t* m = model;
  const uvch_broadcast_sender_t* tx = some_sender(m);
  reader_t* r = free_reader(m);
  bool attached = walk_draw(m->walk, 4) == 0;

  if (tx == NULL || r == NULL) {
    return;
  }
  memset(r, 0, sizeof(*r));
  memset(&r->rx, 0xa5, sizeof(r->rx));
  if (!try_want(m, uvch_broadcast_subscribe(attached ? some_loop(m) : NULL, &r->rx, tx), 0)) {
    return;
  }
  begin_reader(m, r, attached);
}

static void call_resubscribe(void* model) {
  model_t* m = model;
  reader_t* source = some_reader(m);
  reader_t* r = free_reader(m);
  bool attached = walk_draw(m->walk, 4) == 0;

  if (source == NULL || r == NULL) {
    return;
  }
  if (source->told) {
    want(m, uvch_broadcast_resubscribe(NULL, &r->rx, &source->rx), UV_ECONNABORTED);
    return;
  }
  memset(r, 0, sizeof(*r));
  memset(&r->rx, 0xa5, sizeof(r->rx));
  if (!try_want(m, uvch_broadcast_resubscribe(attached ? some_loop(m) : NULL, &r->rx, &source->rx), 0)) {
    return;
  }
  begin_reader(m, r, attached);
  want(m, uvch_broadcast_receiver_same_channel(&source->rx, &r->rx), 1);
}

static void on_close(uvch_handle_t* handle) {
  reader_t* r = reader_of((uvch_broadcast_receiver_t*) handle);

  r->closing = false;
}

static void close_reader(model_t* m, reader_t* r) {
  uvch_handle_t* handle = (uvch_handle_t*) &r->rx;

  want(m, uvch_close(handle, r->attached ? on_close : NULL), 0);
  want(m, uvch_close(handle, NULL), UV_EALREADY);
  r->open = false;
  r->started = false;
  r->closing = r->attached;
  model_serve(m);
}

static void call_close(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);

  if (r != NULL) {
    close_reader(m, r);
  }
}

/* Senders come and go. The last one stays most of the time. */

static void call_clone(void* model) {
  model_t* m = model;
  const uvch_broadcast_sender_t* tx = some_sender(m);
  size_t i;

  for (i = 0; tx != NULL && i < SENDERS; i++) {
    if (!m->has_tx[i]) {
      want(m, uvch_broadcast_sender_clone(tx, &m->tx[i]), 0);
      m->has_tx[i] = true;
      return;
    }
  }
}

static void call_close_sender(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, SENDERS);

  if (senders(m) == 1 && walk_draw(m->walk, 8) > 0) {
    return;
  }
  want(m, uvch_broadcast_sender_close(&m->tx[at]), m->has_tx[at] ? 0 : UV_EBADF);
  m->has_tx[at] = false;
  want(m, uvch_broadcast_send(&m->tx[at], &at), UV_EBADF);
}

static void call_weaken(void* model) {
  model_t* m = model;
  const uvch_broadcast_sender_t* tx = some_sender(m);
  size_t at = walk_draw(m->walk, WEAKS);

  if (m->has_weak[at]) {
    want(m, uvch_broadcast_weak_sender_close(&m->weak[at]), 0);
    m->has_weak[at] = false;
  } else if (m->has_weak[1 - at] && walk_draw(m->walk, 2) == 0) {
    want(m, uvch_broadcast_weak_sender_clone(&m->weak[1 - at], &m->weak[at]), 0);
    m->has_weak[at] = true;
  } else if (tx != NULL) {
    want(m, uvch_broadcast_sender_downgrade(tx, &m->weak[at]), 0);
    m->has_weak[at] = true;
  }
}

static void call_upgrade(void* model) {
  model_t* m = model;
  size_t from = walk_draw(m->walk, WEAKS);
  size_t at = walk_draw(m->walk, SENDERS);
  int wanted = senders(m) > 0 ? 0 : UV_EPIPE;

  if (!m->has_weak[from] || m->has_tx[at]) {
    return;
  }
  want(m, uvch_broadcast_weak_sender_upgrade(&m->weak[from], &m->tx[at]), wanted);
  m->has_tx[at] = wanted == 0;
}

/* Walks. */

static const walk_call_t calls[] = {
    {"send", call_send, 15},
    {"send_many", call_send_many, 15},
    {"receive", call_receive, 15},
    {"drain", call_drain, 15},
    {"run", call_run, 15},
    {"pass", call_pass, 6},
    {"receive_badly", call_receive_badly, 2},
    {"queue_send", call_queue_send, 6},
    {"cancel_send", call_cancel_send, 2},
    {"watch", call_watch, 2},
    {"cancel_watch", call_cancel_watch, 2},
    {"attach", call_attach, 2},
    {"start", call_start, 4},
    {"stop", call_stop, 2},
    {"subscribe", call_subscribe, 6},
    {"resubscribe", call_resubscribe, 4},
    {"close", call_close, 4},
    {"clone", call_clone, 4},
    {"close_sender", call_close_sender, 4},
    {"weaken", call_weaken, 4},
    {"upgrade", call_upgrade, 4},
};

/* What a callback does sometimes: any call, also one pass of a loop, in which other callbacks come. */
static void reenter(model_t* m) {
  if (!walk_chance(m->walk, 4) || walk_is_over(m->walk) || m->walk->depth == DEEP || m->unsure || m->queued > 0) {
    return;
  }
  m->walk->step += 1;
  m->walk->depth += 1;
  walk_call(m->walk, &m->calls, m);
  check_model(m);
  m->walk->depth -= 1;
}

static void draw_form(model_t* m) {
  static const size_t sizes[] = {8, 8, 8, 20, 128, 129, WALK_ITEM_MAX};
  static const size_t capacities[] = {1, 2, 3, 4, 5, 7, 8, 16, 100};

  m->form.policy = (uvch_broadcast_policy) walk_draw(m->walk, UVCH_BROADCAST_DISCONNECT + 1);
  m->form.item_size = sizes[walk_draw(m->walk, COUNT(sizes))];
  m->form.capacity = capacities[walk_draw(m->walk, COUNT(capacities))];
  m->form.copies = !walk_chance(m->walk, 2);
  m->form.drops = !walk_chance(m->walk, m->form.copies ? 4 : 2);
  walk_note(m->walk, "policy %lld, a capacity of %lld", (long long) m->form.policy, (long long) m->form.capacity);
  walk_note(m->walk, "messages of %lld bytes; 1 copy, 2 drop function: %lld", (long long) m->form.item_size,
            m->form.copies + 2 * m->form.drops);
}

static void begin_walk(model_t* m) {
  uvch_broadcast_options_t options;
  bool with_reader;

  memset(&options, 0, sizeof(options));
  options.policy = m->form.policy;
  options.copy = m->form.copies ? on_copy : NULL;
  options.drop = m->form.drops ? on_drop : NULL;
  options.arg = m;
  uvch__broadcast_first = walk_draw_first(m->walk);
  with_reader = walk_chance(m->walk, 2);
  while (!try_want(m,
                   uvch_broadcast_init_ex(NULL, with_reader ? &m->readers[0].rx : NULL, &m->tx[0], m->form.item_size,
                                          m->form.capacity, &options),
                   0)) {}
  if (with_reader) {
    begin_reader(m, &m->readers[0], false);
  }
  m->has_tx[0] = true;
  check_model(m);
}

static void end_walk(model_t* m, size_t first) {
  size_t i;

  walk_note(m->walk, "the end", 0, 0);
  for (i = 0; i < SENDERS; i++) {
    if (m->has_tx[i] && (first & (size_t) 1 << i) != 0) {
      want(m, uvch_broadcast_sender_close(&m->tx[i]), 0);
      m->has_tx[i] = false;
      check_model(m);
    }
  }
  for (i = 0; i < RECEIVERS; i++) {
    if (m->readers[i].open) {
      close_reader(m, &m->readers[i]);
      check_model(m);
    }
  }
  for (i = 0; i < SENDERS; i++) {
    if (m->has_tx[i]) {
      want(m, uvch_broadcast_sender_close(&m->tx[i]), 0);
    }
  }
  for (i = 0; i < WEAKS; i++) {
    if (m->has_weak[i]) {
      want(m, uvch_broadcast_weak_sender_close(&m->weak[i]), 0);
    }
  }
  if (m->form.drops) {
    want(m, m->drops, m->sent);
  }
  while (is_busy(m)) {
    walk_pass_all(m->walk);
  }
}

static void run(const uint8_t* data, size_t size) {
  model_t* m = calloc(1, sizeof(*m));
  size_t first;

  if (m == NULL) {
    abort();
  }
  m->walk = walk_begin(&kind_broadcast, data, size);
  walk_calls_begin(m->walk, &m->calls, calls, COUNT(calls));
  first = walk_draw(m->walk, (size_t) 1 << SENDERS);
  draw_form(m);
  begin_walk(m);
  for (; !walk_is_over(m->walk); m->walk->step++) {
    walk_call(m->walk, &m->calls, m);
    model_serve(m);
    check_model(m);
  }
  end_walk(m, first);
  walk_end(m->walk);
  uvch__broadcast_first = 0;
  free(m);
}

const walk_kind_t kind_broadcast = {"broadcast", run, lies};
