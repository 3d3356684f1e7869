/* SPDX-License-Identifier: MIT
 *
 * Oneshots, several at once on two loops or none, against the flags that tell what has become of each. test_oneshot_model.c goes
 * through every short row of calls with one of them; this goes far, through a few. */
#include "walk.h"

#include "../support.h"

enum { RECEIVERS = 3, SENDERS = 5, WATCHERS = 3, DEEP = 3, NONE = 99 };

enum { LIE_SHUTDOWN = 1, LIE_RENEW, LIE_REPLY };

static const char* const lies[] = {"a shutdown loses the value", "a renewed receiver has had its outcome",
                                   "a late reply is not dropped", NULL};

#define NO_LOOP WALK_LOOPS

typedef struct receiver_s {
  uvch_oneshot_receiver_t rx;
  bool open;
  bool closing; /* its close callback is to come */
  bool waits;   /* for a callback */
  bool shut;
  bool gave_up; /* its sender did */
  bool value;   /* in, not taken */
  bool taken;
  bool has_ref;
  size_t loop;
  size_t size;
  bool drops;
  uint64_t number; /* of the value */
} receiver_t;

typedef struct sender_s {
  uvch_oneshot_sender_t tx;
  bool open;
  size_t receiver; /* NONE: that is closed, or has another sender */
  size_t size;
  bool drops;
  bool was_on_loop;
} sender_t;

/* A wait for the end of a receiver. */
typedef struct watcher_s {
  uvch_oneshot_closed_t req;
  bool used;  /* its callback is to come */
  bool waits; /* and nothing has happened yet */
  int status;
  size_t sender;
  size_t loop;
} watcher_t;

typedef struct model_s {
  walk_t* walk;
  walk_calls_t calls;
  receiver_t receivers[RECEIVERS];
  sender_t senders[SENDERS];
  watcher_t watchers[WATCHERS];
  uint64_t made;
  uint64_t dropping; /* the value that may be dropped now, UINT64_MAX: none */
  size_t dropping_size;
  uint64_t drops;
} model_t;

/* The model. */

static bool has_outcome(const receiver_t* r) {
  return r->value || r->shut || r->gave_up;
}

static bool is_refused(const model_t* m, const sender_t* s) {
  return s->receiver == NONE || m->receivers[s->receiver].shut;
}

/* Those who wait at this sender are told. */
static void tell(model_t* m, size_t sender, int status) {
  size_t i;

  for (i = 0; i < WATCHERS; i++) {
    watcher_t* w = &m->watchers[i];
    if (w->waits && w->sender == sender) {
      w->waits = false;
      w->status = status;
    }
  }
}

/* The receiver's sender, or NONE. */
static size_t sender_of(const model_t* m, size_t receiver) {
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    if (m->senders[i].open && m->senders[i].receiver == receiver)
      return i;
  }
  return NONE;
}

static void use_up(model_t* m, size_t sender) {
  m->senders[sender].open = false;
  tell(m, sender, UV_ECANCELED);
}

static int take_answer(const receiver_t* r) {
  if (!r->open)
    return UV_EBADF;
  if (r->waits)
    return UV_EALREADY;
  if (r->taken)
    return UV_EOF;
  return r->value ? 0 : has_outcome(r) ? UV_EOF : UV_EAGAIN;
}

static void check_model(const model_t* m) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    const receiver_t* r = &m->receivers[i];
    if (!r->open)
      continue;
    want(m, uvch_oneshot_receiver_is_empty(&r->rx), !r->value);
    want(m, uvch_oneshot_receiver_is_terminated(&r->rx), r->taken);
    want(m, uvch_is_active((const uvch_handle_t*) &r->rx), r->waits);
    want(m, uvch_has_ref((const uvch_handle_t*) &r->rx), r->has_ref);
    want(m, uvch_is_closing((const uvch_handle_t*) &r->rx), 0);
  }
  for (i = 0; i < SENDERS; i++) {
    const sender_t* s = &m->senders[i];
    want(m, uvch_oneshot_sender_is_closed(&s->tx), !s->open || is_refused(m, s));
  }
}

/* Making them. */

static void on_drop(void* item, void* arg) {
  model_t* m = arg;

  want(m, m->dropping != UINT64_MAX, 1);
  walk_check_item(m->walk, item, m->dropping_size, m->dropping);
  m->drops += 1;
}

static size_t free_sender(const model_t* m) {
  size_t i;

  for (i = 0; i < SENDERS && m->senders[i].open; i++) {}
  return i < SENDERS ? i : NONE;
}

static void begin_sender(model_t* m, size_t at, size_t receiver) {
  const receiver_t* r = &m->receivers[receiver];
  sender_t* s = &m->senders[at];

  s->open = true;
  s->receiver = receiver;
  s->size = r->size;
  s->drops = r->drops;
  s->was_on_loop = r->loop != NO_LOOP;
}

static void call_init(void* model) {
  static const size_t sizes[] = {8, 8, 0, 1, 20, WALK_ITEM_MAX};
  model_t* m = model;
  size_t at = walk_draw(m->walk, RECEIVERS);
  size_t sender = free_sender(m);
  receiver_t* r = &m->receivers[at];
  uvch_oneshot_options_t options;

  if (r->open || r->closing || sender == NONE)
    return;
  memset(r, 0, sizeof(*r));
  memset(&r->rx, 0xa5, sizeof(r->rx));
  r->loop = walk_draw(m->walk, WALK_LOOPS + 1);
  r->size = sizes[walk_draw(m->walk, COUNT(sizes))];
  r->drops = walk_chance(m->walk, 2);
  r->has_ref = true;
  memset(&options, 0, sizeof(options));
  options.drop = r->drops ? on_drop : NULL;
  options.arg = m;
  walk_note(m->walk, "... receiver %lld, of %lld bytes", (long long) at, (long long) r->size);
  if (!try_want(m,
                uvch_oneshot_init_ex(r->loop != NO_LOOP ? &m->walk->loops[r->loop] : NULL, &r->rx, &m->senders[sender].tx,
                                     r->size, &options),
                0))
    return;
  r->rx.data = m;
  r->open = true;
  begin_sender(m, sender, at);
}

static void call_renew(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, RECEIVERS);
  size_t sender = free_sender(m);
  receiver_t* r = &m->receivers[at];
  size_t before = sender_of(m, at);

  if (!r->open || sender == NONE)
    return;
  walk_note(m->walk, "... receiver %lld", (long long) at, 0);
  if (!try_want(m, uvch_oneshot_renew(&r->rx, &m->senders[sender].tx), r->taken ? 0 : UV_EBUSY) || !r->taken)
    return;
  if (before != NONE)
    m->senders[before].receiver = NONE;
  r->taken = walk_lie == LIE_RENEW;
  r->shut = false;
  r->gave_up = false;
  begin_sender(m, sender, at);
}

/* Sending. */

static void call_send(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, SENDERS);
  sender_t* s = &m->senders[at];
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];
  bool is_reply = walk_chance(m->walk, 3);
  uint64_t drops = m->drops;
  int wanted = !s->open ? UV_EBADF : is_refused(m, s) ? UV_EPIPE : 0;

  walk_note(m->walk, is_reply ? "... reply, sender %lld" : "... sender %lld", (long long) at, 0);
  walk_paint(item, s->open ? s->size : 0, m->made);
  m->dropping = m->made;
  m->dropping_size = s->size;
  if (is_reply && wanted == UV_EPIPE && s->drops) {
    want(m, uvch_reply(&s->tx, item), 1);
    drops += walk_lie != LIE_REPLY;
  } else {
    want(m, is_reply ? uvch_reply(&s->tx, item) : uvch_oneshot_send(&s->tx, item), wanted);
  }
  m->dropping = UINT64_MAX;
  want(m, m->drops, drops);
  if (wanted == 0) {
    m->receivers[s->receiver].value = true;
    m->receivers[s->receiver].number = m->made;
  }
  m->made += 1;
  use_up(m, at);
}

static void call_give_up(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, SENDERS);
  sender_t* s = &m->senders[at];

  walk_note(m->walk, "... sender %lld", (long long) at, 0);
  want(m, uvch_oneshot_sender_close(&s->tx), s->open ? 0 : UV_EBADF);
  if (s->open && s->receiver != NONE)
    m->receivers[s->receiver].gave_up = true;
  use_up(m, at);
}

/* A sender may be moved by bytes. */
static void call_move(void* model) {
  model_t* m = model;
  size_t from = walk_draw(m->walk, SENDERS);
  size_t to = free_sender(m);
  size_t i;

  if (to == NONE || !m->senders[from].open)
    return;
  walk_note(m->walk, "... sender %lld is %lld", (long long) from, (long long) to);
  m->senders[to] = m->senders[from];
  memset(&m->senders[from].tx, 0, sizeof(m->senders[from].tx));
  m->senders[from].open = false;
  for (i = 0; i < WATCHERS; i++) {
    if (m->watchers[i].sender == from)
      m->watchers[i].sender = to;
  }
}

/* Waits for the end of the receiver. */

static void reenter(model_t* m);

static void on_closed(uvch_oneshot_closed_t* req, int status) {
  watcher_t* w = (watcher_t*) (void*) ((char*) req - offsetof(watcher_t, req));
  model_t* m = req->data;

  walk_note(m->walk, "a wait for the end is done: %lld", status, 0);
  want(m, w->used && !w->waits, 1);
  want(m, status, w->status);
  w->used = false;
  reenter(m);
}

static void call_watch(void* model) {
  model_t* m = model;
  watcher_t* w = &m->watchers[walk_draw(m->walk, WATCHERS)];
  size_t at = walk_draw(m->walk, SENDERS);
  const sender_t* s = &m->senders[at];

  if (w->used)
    return;
  walk_note(m->walk, "... sender %lld", (long long) at, 0);
  memset(&w->req, 0xa5, sizeof(w->req));
  w->req.data = m;
  w->loop = walk_draw(m->walk, WALK_LOOPS);
  if (!try_want(m, uvch_oneshot_closed(&m->walk->loops[w->loop], &w->req, &s->tx, on_closed), s->open ? 0 : UV_EBADF) || !s->open)
    return;
  w->used = true;
  w->waits = !is_refused(m, s);
  w->status = 0;
  w->sender = at;
}

static void call_cancel(void* model) {
  model_t* m = model;
  watcher_t* w = &m->watchers[walk_draw(m->walk, WATCHERS)];

  if (!w->used)
    return;
  want(m, uvch_cancel((uvch_req_t*) &w->req), w->waits ? 0 : UV_EBUSY);
  w->status = w->waits ? UV_ECANCELED : w->status;
  w->waits = false;
}

/* A call that would have to sleep is refused on the loop of the receiver, once that has run. */
static void call_watch_wait(void* model) {
  model_t* m = model;
  const sender_t* s = &m->senders[walk_draw(m->walk, SENDERS)];
  int answer = uvch_oneshot_closed_timedwait(&s->tx, walk_draw_timeout(m->walk));

  if (answer != UV_EPERM || !s->open || !s->was_on_loop || is_refused(m, s))
    want(m, answer, !s->open ? UV_EBADF : is_refused(m, s) ? 0 : UV_ETIMEDOUT);
}

/* Receiving. */

static void call_take(void* model) {
  model_t* m = model;
  receiver_t* r = &m->receivers[walk_draw(m->walk, RECEIVERS)];
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];
  size_t way = walk_draw(m->walk, 4);
  int answer = take_answer(r);
  int wanted = answer;

  if (!r->open)
    return;
  if (way == 0 && r->loop == NO_LOOP && answer != UV_EAGAIN) {
    want(m, uvch_oneshot_recv_wait(&r->rx, item), wanted);
  } else if (way == 1) {
    wanted = r->loop != NO_LOOP ? UV_EPERM : answer == UV_EAGAIN ? UV_ETIMEDOUT : answer;
    want(m, uvch_oneshot_recv_timedwait(&r->rx, item, walk_draw_timeout(m->walk)), wanted);
  } else {
    want(m, uvch_oneshot_try_recv(&r->rx, r->size > 0 ? item : NULL), wanted);
  }
  if (wanted == 0)
    walk_check_item(m->walk, item, r->size, r->number);
  r->value = r->value && wanted != 0;
  r->taken = r->taken || wanted == 0 || wanted == UV_EOF;
}

static void on_recv(uvch_oneshot_receiver_t* rx, int status, void* item) {
  receiver_t* r = (receiver_t*) (void*) ((char*) rx - offsetof(receiver_t, rx));
  model_t* m = rx->data;
  uint64_t number = r->number;
  size_t size = r->size;

  walk_note(m->walk, "a receive callback: %lld, receiver %lld", status, (long long) (r - m->receivers));
  want(m, r->open && r->waits && has_outcome(r), 1);
  want(m, status, r->value ? 0 : UV_EOF);
  want(m, item != NULL, status == 0);
  r->waits = false;
  r->value = false;
  r->taken = true;
  check_model(m);
  reenter(m);
  if (status == 0)
    walk_check_item(m->walk, item, size, number); /* still good */
}

static void call_recv(void* model) {
  model_t* m = model;
  receiver_t* r = &m->receivers[walk_draw(m->walk, RECEIVERS)];
  int wanted = r->loop == NO_LOOP ? UV_EINVAL : r->waits ? UV_EALREADY : r->taken ? UV_EOF : 0;

  if (!r->open)
    return;
  want(m, uvch_oneshot_recv(&r->rx, on_recv), wanted);
  r->waits = r->waits || wanted == 0;
}

static void call_stop(void* model) {
  model_t* m = model;
  receiver_t* r = &m->receivers[walk_draw(m->walk, RECEIVERS)];

  if (!r->open)
    return;
  want(m, uvch_oneshot_recv_stop(&r->rx), 0);
  r->waits = false;
}

static void call_shutdown(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, RECEIVERS);
  receiver_t* r = &m->receivers[at];
  size_t sender = sender_of(m, at);

  if (!r->open)
    return;
  want(m, uvch_oneshot_recv_shutdown(&r->rx), 0);
  if (walk_lie == LIE_SHUTDOWN)
    r->value = false;
  if (sender != NONE) {
    r->shut = true;
    tell(m, sender, 0);
  }
}

static void call_attach(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, RECEIVERS);
  receiver_t* r = &m->receivers[at];
  size_t loop = walk_draw(m->walk, WALK_LOOPS);
  size_t sender = sender_of(m, at);
  int wanted = r->loop != NO_LOOP ? UV_EALREADY : 0;

  if (!r->open || !try_want(m, uvch_attach(&m->walk->loops[loop], (uvch_handle_t*) &r->rx), wanted) || wanted != 0)
    return;
  r->loop = loop;
  if (sender != NONE)
    m->senders[sender].was_on_loop = true;
}

static void call_ref(void* model) {
  model_t* m = model;
  receiver_t* r = &m->receivers[walk_draw(m->walk, RECEIVERS)];

  if (!r->open)
    return;
  r->has_ref = walk_chance(m->walk, 2);
  (r->has_ref ? uvch_ref : uvch_unref)((uvch_handle_t*) &r->rx);
}

static void on_close(uvch_handle_t* handle) {
  receiver_t* r = (receiver_t*) (void*) ((char*) handle - offsetof(receiver_t, rx));
  model_t* m = handle->data;

  want(m, r->closing, 1);
  r->closing = false;
}

static void close_receiver(model_t* m, size_t at) {
  receiver_t* r = &m->receivers[at];
  size_t sender = sender_of(m, at);
  uint64_t drops = m->drops;

  m->dropping = r->value ? r->number : UINT64_MAX;
  m->dropping_size = r->size;
  want(m, uvch_close((uvch_handle_t*) &r->rx, r->loop != NO_LOOP ? on_close : NULL), 0);
  m->dropping = UINT64_MAX;
  want(m, m->drops, drops + (r->value && r->drops));
  want(m, uvch_close((uvch_handle_t*) &r->rx, NULL), UV_EALREADY);
  want(m, uvch_oneshot_receiver_is_terminated(&r->rx), 1);
  r->open = false;
  r->waits = false;
  r->closing = r->loop != NO_LOOP;
  if (sender != NONE) {
    m->senders[sender].receiver = NONE;
    tell(m, sender, 0);
  }
}

static void call_close(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, RECEIVERS);

  walk_note(m->walk, "... receiver %lld", (long long) at, 0);
  if (m->receivers[at].open)
    close_receiver(m, at);
}

/* Running. */

static void call_pass(void* model) {
  model_t* m = model;

  walk_pass(m->walk, walk_draw(m->walk, WALK_LOOPS));
}

/* Something is to come. */
static bool is_busy(const model_t* m) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    const receiver_t* r = &m->receivers[i];
    if (r->closing || (r->waits && has_outcome(r)))
      return true;
  }
  for (i = 0; i < WATCHERS; i++) {
    if (m->watchers[i].used && !m->watchers[i].waits)
      return true;
  }
  return false;
}

static bool is_alive(const model_t* m, size_t loop) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    const receiver_t* r = &m->receivers[i];
    if (r->waits && r->has_ref && r->loop == loop)
      return true;
  }
  for (i = 0; i < WATCHERS; i++) {
    if (m->watchers[i].used && m->watchers[i].loop == loop)
      return true;
  }
  return false;
}

static void call_run(void* model) {
  model_t* m = model;
  size_t passes;
  size_t i;

  if (m->walk->depth > 0)
    return;
  for (passes = 0; is_busy(m); passes++) {
    want(m, passes < 10000, 1);
    walk_pass_all(m->walk);
  }
  for (i = 0; i < 4; i++) {
    walk_pass_all(m->walk);
  }
  for (i = 0; i < WALK_LOOPS && !is_busy(m); i++) {
    want(m, walk_is_alive(m->walk, i), is_alive(m, i));
  }
}

/* Walks. */

static const walk_call_t calls[] = {
    {"init", call_init, 12},    {"renew", call_renew, 8},  {"send", call_send, 10},    {"close sender", call_give_up, 5},
    {"move", call_move, 2},     {"closed", call_watch, 6}, {"cancel", call_cancel, 4}, {"closed_wait", call_watch_wait, 2},
    {"take", call_take, 8},     {"recv", call_recv, 12},   {"stop", call_stop, 4},     {"shutdown", call_shutdown, 4},
    {"attach", call_attach, 4}, {"ref", call_ref, 2},      {"close", call_close, 5},   {"pass", call_pass, 10},
    {"run", call_run, 6},
};

static void step(model_t* m) {
  walk_call(m->walk, &m->calls, m);
  check_model(m);
}

static void reenter(model_t* m) {
  size_t n = walk_chance(m->walk, 3) ? 1 + walk_draw(m->walk, 3) : 0;

  m->walk->depth += 1;
  for (; n > 0 && !walk_is_over(m->walk) && m->walk->depth <= DEEP; n--) {
    m->walk->step += 1;
    step(m);
  }
  m->walk->depth -= 1;
}

static void close_receivers(model_t* m) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (m->receivers[i].open)
      close_receiver(m, i);
    check_model(m);
  }
}

static void run(const uint8_t* data, size_t size) {
  model_t* m = calloc(1, sizeof(*m));
  bool senders_first;
  size_t i;

  if (m == NULL)
    abort();
  m->walk = walk_begin(&kind_oneshot, data, size);
  m->dropping = UINT64_MAX;
  walk_calls_begin(m->walk, &m->calls, calls, COUNT(calls));
  senders_first = walk_chance(m->walk, 2);
  for (; !walk_is_over(m->walk); m->walk->step++) {
    step(m);
  }
  walk_note(m->walk, "the end", 0, 0);
  if (!senders_first)
    close_receivers(m);
  for (i = 0; i < SENDERS; i++) {
    const sender_t* s = &m->senders[i];
    if (s->open && s->receiver != NONE)
      m->receivers[s->receiver].gave_up = true;
    want(m, uvch_oneshot_sender_close(&m->senders[i].tx), s->open ? 0 : UV_EBADF);
    use_up(m, i);
    check_model(m);
  }
  close_receivers(m);
  call_run(m);
  walk_end(m->walk);
  free(m);
}

const walk_kind_t kind_oneshot = {"oneshot", run, lies};
