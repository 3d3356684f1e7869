/* SPDX-License-Identifier: MIT
 *
 * Watch channels against a model that a few numbers make up: the values there have been, and which of them each receiver has seen
 * and each end has borrowed. After each call everything that can be asked is asked. [FW03 to FW34] */
#include "walk.h"

#include "../support.h"
#include "watch.h"

enum {
  RECEIVERS = 5,
  SENDERS = 3,
  WATCHERS = 2,
  DEEP = 3,
  HELD_MAX = 16,
  NESTED_MAX = 40,
  NUMBERS = 6000, /* a walk makes no more values */
  MARGIN = 200
};

enum { LIE_SEEN = 1, LIE_ALIVE, LIE_CLONE };

static const char* const lies[] = {"a send counts as seen", "what is borrowed is not kept", "a clone has seen all", NULL};

/* A version that there is not: it has seen none, it has borrowed none. */
#define NONE UINT64_MAX

typedef struct reader_s reader_t;

/* A request that waits for a value. */
typedef struct waiting_s {
  uvch_watch_wait_for_t req;
  uint64_t divisor; /* the wish: a number that leaves `rest` */
  uint64_t rest;
  int fails;         /* what the predicate says then, unless that is 0 */
  uint64_t tested;   /* the last version */
  bool is_answered;  /* the predicate has said something that ends it */
  size_t asking;     /* how often the predicate is being called */
  uint64_t id;       /* each wait has one of its own */
  uint64_t agreed;   /* the version that it said yes to */
  bool is_cancelled; /* its callback must say so */
} waiting_t;

struct reader_s {
  uvch_watch_receiver_t rx;
  waiting_t waiting;
  bool open;
  bool started;
  bool waits;   /* its request's callback is still to come */
  bool closing; /* its memory is not free yet */
  size_t busy;  /* calls that it is in */
  size_t looks; /* borrows so far */
  size_t holds; /* its memory is not to be used for another one */
  uv_loop_t* loop;
  uint64_t seen;   /* a version */
  uint64_t latest; /* the newest one that it was ever shown */
  uint64_t borrowed;
  bool was_new; /* what is borrowed, then */
  const void* value;
};

typedef struct writer_s {
  uvch_watch_sender_t tx;
  bool open;
  size_t busy;   /* calls that it is in */
  size_t counts; /* those of them that count as a sender */
  uint64_t borrowed;
  const void* value;
} writer_t;

/* A wait for the end of the receivers. */
typedef struct watcher_s {
  uvch_watch_closed_t req;
  bool used;
  bool told; /* there was a moment without receivers, so that it is on its way perhaps */
  bool cancelled;
} watcher_t;

/* What a walk's channel is like. */
typedef struct form_s {
  size_t size;
  bool copies; /* values have a copy function */
  bool drops;
} form_t;

typedef struct model_s {
  form_t form;
  walk_t* walk;
  walk_calls_t calls;
  writer_t writers[SENDERS];
  reader_t readers[RECEIVERS];
  watcher_t watchers[WATCHERS];
  uint64_t made;                /* values, also such as were given up */
  uint64_t current;             /* the version; from 0 on */
  uint64_t versions[NUMBERS];   /* the number of each one's value */
  uint64_t version_of[NUMBERS]; /* and the other way round */
  uint64_t held[HELD_MAX];      /* versions that callbacks which are running have */
  size_t helds;
  /* values that own things, by number */
  int alive[NUMBERS];
  size_t alive_all;
  size_t loose; /* those that are alive and not in the channel */
  size_t copied;
  int copy_fails;
  uint64_t waits;  /* so far */
  size_t eager;    /* how many calls a function of the user makes at most */
  size_t nested;   /* such calls in this step */
  bool drops_call; /* the model is up to date, so that drop functions may make calls, too */
} model_t;

static void reenter(model_t* m);

/* Values. */

static bool is_full(const model_t* m) {
  return m->made + MARGIN > NUMBERS;
}

/* A new one, which is not in the channel yet. */
static uint64_t make(model_t* m, void* value) {
  uint64_t number = m->made++;

  want(m, number < NUMBERS, 1);
  walk_paint(value, m->form.size, number);
  m->alive[number] = 1;
  m->alive_all += 1;
  m->loose += 1;
  return number;
}

static void check_value(const model_t* m, const void* value, uint64_t number) {
  walk_check_item(m->walk, value, m->form.size, number);
}

static void end_value(model_t* m, uint64_t number) {
  want(m, number < m->made, 1);
  want(m, m->alive[number] > 0, 1);
  m->alive[number] -= 1;
  m->alive_all -= 1;
}

static void on_drop(void* value, void* arg) {
  model_t* m = arg;
  uint64_t number = walk_number(value);

  check_value(m, value, number);
  end_value(m, number);
  if (m->drops_call) {
    reenter(m);
  }
}

static int on_copy(void* to, const void* from, void* arg) {
  model_t* m = arg;
  uint64_t number = walk_number(from);

  check_value(m, from, number);
  want(m, m->alive[number] > 0, 1);
  if (m->copy_fails != 0) {
    return m->copy_fails;
  }
  memcpy(to, from, m->form.size);
  m->alive[number] += 1;
  m->alive_all += 1;
  m->copied += 1;
  return 0;
}

/* One that was made, or came out, is given up by the walk. */
static void give_up(model_t* m, uint64_t number) {
  m->loose -= 1;
  end_value(m, number);
}

/* The model. */

static size_t senders(const model_t* m) {
  size_t n = 0;
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    n += m->writers[i].open;
  }
  return n;
}

static size_t receivers(const model_t* m) {
  size_t n = 0;
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    n += m->readers[i].open;
  }
  return n;
}

static bool is_unseen(const model_t* m, const reader_t* r) {
  return r->seen != m->current;
}

/* It has its value and its status, or is about to get them. */
static bool is_done(const model_t* m, const reader_t* r) {
  const waiting_t* w = &r->waiting;

  return w->is_cancelled || w->is_answered || !r->open || (senders(m) == 0 && w->tested == m->current);
}

/* The value with this number is the current one now. */
static void model_sent(model_t* m, uint64_t number) {
  size_t i;

  for (i = 0; i < RECEIVERS && walk_lie == LIE_SEEN; i++) {
    m->readers[i].seen += m->readers[i].seen == m->current;
  }
  m->versions[++m->current] = number;
  m->version_of[number] = m->current;
  m->loose -= 1;
}

static void model_receivers(model_t* m) {
  size_t i;

  for (i = 0; i < WATCHERS; i++) {
    m->watchers[i].told = m->watchers[i].told || receivers(m) == 0;
  }
}

static void hold(model_t* m, uint64_t version) {
  want(m, m->helds < HELD_MAX, 1);
  m->held[m->helds++] = version;
}

static void let_go(model_t* m) {
  m->helds -= 1;
}

/* Somebody looks at this version. */
static bool is_looked_at(const model_t* m, uint64_t version) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (m->readers[i].open && m->readers[i].borrowed == version) {
      return true;
    }
  }
  for (i = 0; i < SENDERS; i++) {
    if (m->writers[i].open && m->writers[i].borrowed == version) {
      return true;
    }
  }
  for (i = 0; i < m->helds; i++) {
    if (m->held[i] == version) {
      return true;
    }
  }
  return false;
}

/* A value that a predicate has said yes to is on its way to a callback. */
static bool is_any_on_its_way(const model_t* m) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (m->readers[i].waits && (m->readers[i].waiting.is_answered || m->readers[i].waiting.asking > 0)) {
      return true;
    }
  }
  return false;
}

/* A call counts as a sender while it runs functions of the user. */
static size_t calls_of_senders(const model_t* m) {
  size_t n = 0;
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    n += m->writers[i].counts;
  }
  return n;
}

/* Asking. */

static void check_writer(const model_t* m, const writer_t* w) {
  size_t i;

  want(m, uvch_watch_sender_receiver_count(&w->tx), receivers(m));
  want(m, uvch_watch_sender_sender_count(&w->tx), senders(m) + calls_of_senders(m));
  want(m, uvch_watch_sender_is_closed(&w->tx), receivers(m) == 0);
  want(m, uvch_watch_closed_timedwait(&w->tx, 0), receivers(m) == 0 ? 0 : UV_ETIMEDOUT);
  for (i = 0; i < SENDERS; i++) {
    want(m, uvch_watch_sender_same_channel(&w->tx, &m->writers[i].tx), m->writers[i].open);
  }
  if (w->borrowed != NONE) {
    check_value(m, w->value, m->versions[w->borrowed]);
  }
}

static void check_reader(const model_t* m, const reader_t* r) {
  want(m, uvch_watch_has_changed(&r->rx), senders(m) == 0 ? UV_EOF : is_unseen(m, r));
  want(m, uvch_watch_borrow_has_changed(&r->rx), r->borrowed != NONE && r->was_new);
  if (!r->waits) {
    want(m, uvch_is_active((const uvch_handle_t*) &r->rx), r->started);
  }
  if (r->borrowed != NONE && r->value != NULL) {
    check_value(m, r->value, m->versions[r->borrowed]);
  }
}

/* Exactly those values have been ended that nobody can look at any more. While a loop delivers it may look at one itself. */
static void check_alive(const model_t* m) {
  uint64_t seen[RECEIVERS + SENDERS + HELD_MAX + 1];
  size_t count = 0;
  size_t different = 0;
  size_t i;
  size_t k;

  if (!m->form.drops || is_any_on_its_way(m)) {
    return;
  }
  seen[count++] = m->current;
  for (i = 0; i < RECEIVERS; i++) {
    seen[count++] =
        m->readers[i].open && m->readers[i].borrowed != NONE && walk_lie != LIE_ALIVE ? m->readers[i].borrowed : m->current;
  }
  for (i = 0; i < SENDERS; i++) {
    seen[count++] = m->writers[i].open && m->writers[i].borrowed != NONE ? m->writers[i].borrowed : m->current;
  }
  for (i = 0; i < m->helds; i++) {
    seen[count++] = m->held[i];
  }
  for (i = 0; i < count; i++) {
    for (k = 0; k < i && seen[k] != seen[i]; k++) {}
    different += k == i;
    want(m, m->alive[m->versions[seen[i]]] > 0, 1);
  }
  want(m, m->alive_all >= different + m->loose, 1);
  if (m->walk->depth == 0) {
    want(m, m->alive_all, different + m->loose);
  }
}

static void check_model(model_t* m) {
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    if (m->writers[i].open) {
      check_writer(m, &m->writers[i]);
    }
  }
  for (i = 0; i < RECEIVERS; i++) {
    if (m->readers[i].open) {
      check_reader(m, &m->readers[i]);
    }
  }
  if (senders(m) + receivers(m) > 0) {
    check_alive(m);
  }
}

/* Senders. */

static writer_t* some_writer(model_t* m) {
  size_t at = walk_draw(m->walk, SENDERS);
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    if (m->writers[(at + i) % SENDERS].open) {
      return &m->writers[(at + i) % SENDERS];
    }
  }
  return NULL;
}

static void call_send(void* model) {
  model_t* m = model;
  writer_t* w = some_writer(m);
  _Alignas(max_align_t) unsigned char value[WALK_ITEM_MAX];
  uint64_t number;

  if (w == NULL || is_full(m)) {
    return;
  }
  number = make(m, value);
  model_sent(m, number);
  w->busy += 1;
  m->drops_call = true;
  if (!try_want(m, uvch_watch_send(&w->tx, value), 0)) {
    m->current -= 1;
    m->loose += 1;
    give_up(m, number);
  }
  m->drops_call = false;
  w->busy -= 1;
}

/* What a change needs, and why there can be none. */
static int draw_failure(model_t* m) {
  m->copy_fails = m->form.copies && walk_draw(m->walk, 8) == 0 ? UV_EIO : 0;
  return m->form.drops && !m->form.copies ? UV_ENOTSUP : m->copy_fails;
}

static void call_send_replace(void* model) {
  model_t* m = model;
  writer_t* w = some_writer(m);
  _Alignas(max_align_t) unsigned char value[WALK_ITEM_MAX];
  _Alignas(max_align_t) unsigned char old[WALK_ITEM_MAX];
  size_t copied = m->copied;
  uint64_t number;
  bool copies;
  int wanted;

  if (w == NULL || is_full(m) || is_any_on_its_way(m)) {
    return;
  }
  number = make(m, value);
  copies = is_looked_at(m, m->current) && m->form.copies;
  wanted = draw_failure(m);
  if (wanted != UV_ENOTSUP && !copies) { /* so none fails, either; but a loop that delivers may look at it */
    m->copy_fails = m->walk->depth == 0 ? m->copy_fails : 0;
    wanted = 0;
  }
  memset(old, 0x5a, sizeof(old));
  want(m, uvch_watch_send_replace(&w->tx, value, old), wanted);
  m->copy_fails = 0;
  if (copies || m->walk->depth == 0) {
    want(m, m->copied - copied, copies && wanted == 0);
  }
  if (wanted != 0) {
    want(m, old[0] == 0x5a && old[m->form.size - 1] == 0x5a, 1);
    give_up(m, number);
    return;
  }
  check_value(m, old, m->versions[m->current]);
  if (m->form.size < WALK_ITEM_MAX) {
    want(m, old[m->form.size], 0x5a);
  }
  m->loose += 1;
  model_sent(m, number);
  if (m->form.drops) {
    give_up(m, m->versions[m->current - 1]);
  } else {
    m->loose -= 1;
  }
}

/* Changing a copy. */

typedef struct modifying_s {
  model_t* m;
  size_t disturbs; /* so many calls send another value */
  int answer;
  size_t calls;
  uint64_t number; /* of the last changed copy */
  bool fits;       /* no other value came meanwhile */
} modifying_t;

static int on_modify(void* value, void* arg) {
  modifying_t* x = arg;
  model_t* m = x->m;
  uint64_t before = m->current;

  check_value(m, value, m->versions[before]);
  if (m->form.drops) {
    end_value(m, m->versions[before]);
  }
  x->number = make(m, value);
  hold(m, before); /* the call looks at it until it is done */
  if (x->calls++ < x->disturbs) {
    call_send(m);
  } else {
    reenter(m);
  }
  check_model(m);
  check_value(m, value, x->number);
  let_go(m);
  m->loose -= 1; /* it is the library's again */
  x->fits = m->current == before;
  return x->answer;
}

static void call_modify(void* model) {
  model_t* m = model;
  static const int answers[] = {1, 1, 1, 3, 0, 0, UV_EINTR};
  writer_t* w = some_writer(m);
  bool always = walk_draw(m->walk, 2) == 0;
  modifying_t x = {m, 0, answers[walk_draw(m->walk, COUNT(answers))], 0, 0, true};
  int wanted;
  int answer;

  if (w == NULL || is_full(m)) {
    return;
  }
  x.disturbs = walk_draw(m->walk, 3) == 0 ? walk_draw(m->walk, 10) : 0;
  wanted = draw_failure(m);
  w->busy += 1;
  w->counts += 1;
  if (wanted == 0) { /* nested calls make copies, too */
    m->copy_fails = 0;
  }
  answer = always ? uvch_watch_modify(&w->tx, on_modify, &x) : uvch_watch_modify_if(&w->tx, on_modify, &x);
  w->busy -= 1;
  w->counts -= 1;
  m->copy_fails = 0;
  if (wanted != 0) {
    want(m, x.calls, 0);
  } else if (x.answer < 0 || (x.answer == 0 && !always)) {
    wanted = x.answer;
    want(m, x.calls, 1);
  } else if (x.fits) {
    wanted = !always;
    m->loose += 1;
    model_sent(m, x.number);
  } else {
    wanted = UV_EBUSY;
    want(m, x.calls, 8);
  }
  want(m, answer, wanted);
}

static void call_sender_borrow(void* model) {
  model_t* m = model;
  writer_t* w = some_writer(m);
  const void* value;

  if (w == NULL) {
    return;
  }
  value = uvch_watch_sender_borrow(&w->tx);
  check_value(m, value, m->versions[m->current]);
  if (w->borrowed == m->current) {
    want(m, value == w->value, 1);
  }
  w->borrowed = m->current;
  w->value = value;
}

static void begin_writer(writer_t* w) {
  w->open = true;
  w->busy = 0;
  w->counts = 0;
  w->borrowed = NONE;
}

static void call_clone_sender(void* model) {
  model_t* m = model;
  writer_t* w = some_writer(m);
  size_t i;

  for (i = 0; w != NULL && i < SENDERS; i++) {
    if (!m->writers[i].open) {
      memset(&m->writers[i].tx, 0xa5, sizeof(m->writers[i].tx));
      want(m, uvch_watch_sender_clone(&w->tx, &m->writers[i].tx), 0);
      begin_writer(&m->writers[i]);
      return;
    }
  }
}

/* The last one stays most of the time. */
static void call_close_sender(void* model) {
  model_t* m = model;
  writer_t* w = &m->writers[walk_draw(m->walk, SENDERS)];

  if (w->busy > 0 || (senders(m) == 1 && walk_draw(m->walk, 8) > 0)) {
    return;
  }
  want(m, uvch_watch_sender_close(&w->tx), w->open ? 0 : UV_EBADF);
  w->open = false;
  want(m, uvch_watch_send(&w->tx, w), UV_EBADF);
}

/* Waits for the end of the receivers. */

static void on_closed(uvch_watch_closed_t* req, int status) {
  watcher_t* watcher = (watcher_t*) (void*) ((char*) req - offsetof(watcher_t, req));
  model_t* m = req->data;

  want(m, watcher->used, 1);
  want(m, status, watcher->cancelled ? UV_ECANCELED : 0);
  want(m, watcher->cancelled || receivers(m) == 0, 1);
  watcher->used = false;
  reenter(m);
}

static void call_watch(void* model) {
  model_t* m = model;
  writer_t* w = some_writer(m);
  watcher_t* watcher = &m->watchers[walk_draw(m->walk, WATCHERS)];

  if (w == NULL || watcher->used) {
    return;
  }
  memset(&watcher->req, 0xa5, sizeof(watcher->req));
  watcher->req.data = m;
  if (!try_want(m, uvch_watch_closed(&m->walk->loops[walk_draw(m->walk, WALK_LOOPS)], &watcher->req, &w->tx, on_closed), 0)) {
    return;
  }
  watcher->used = true;
  watcher->told = receivers(m) == 0;
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

/* Receivers. */

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

static void model_borrowed(model_t* m, reader_t* r, const void* value, uint64_t version, bool is_new) {
  check_value(m, value, m->versions[version]);
  if (r->borrowed == version && r->value != NULL) {
    want(m, value == r->value, 1);
  }
  r->borrowed = version;
  r->was_new = is_new;
  r->value = value;
  r->latest = version;
  r->looks += 1;
}

/* The version of a value that has come by itself; it may have been replaced a moment ago. */
static uint64_t version_of(const model_t* m, const void* value) {
  uint64_t number = walk_number(value);
  uint64_t version;

  want(m, number < m->made, 1);
  check_value(m, value, number);
  version = m->version_of[number];
  want(m, m->versions[version], number);
  return version;
}

static void borrow(model_t* m, bool is_update) {
  reader_t* r = some_reader(m);
  uint64_t version = m->current;
  const void* before;
  const void* value;
  size_t looks;

  if (r == NULL) {
    return;
  }
  before = r->borrowed == version ? r->value : NULL;
  r->was_new = is_unseen(m, r);
  r->borrowed = version;
  r->value = NULL; /* not known yet */
  r->latest = version;
  r->seen = is_update ? version : r->seen;
  looks = ++r->looks;
  r->holds += 1;
  m->drops_call = true;
  value = is_update ? uvch_watch_borrow_and_update(&r->rx) : uvch_watch_borrow(&r->rx);
  m->drops_call = false;
  r->holds -= 1;
  if (!r->open || r->looks != looks) { /* a drop function has done that */
    return;
  }
  check_value(m, value, m->versions[version]);
  if (before != NULL) {
    want(m, value == before, 1);
  }
  r->value = value;
}

static void call_borrow(void* model) {
  model_t* m = model;
  borrow(m, false);
}

static void call_update(void* model) {
  model_t* m = model;
  borrow(m, true);
}

static void call_mark(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);

  if (r == NULL) {
    return;
  }
  if (walk_draw(m->walk, 3) > 0) {
    want(m, uvch_watch_mark_changed(&r->rx), 0);
    r->seen = NONE;
    r->latest = r->waits ? r->latest : m->current; /* a predicate is asked about what it has not tested, no matter what */
  } else {
    want(m, uvch_watch_mark_unchanged(&r->rx), 0);
    r->seen = m->current;
    r->latest = m->current;
  }
}

static void call_changed(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);

  if (r == NULL) {
    return;
  }
  if (r->loop != NULL) {
    want(m, uvch_watch_changed_wait(&r->rx), UV_EPERM);
    want(m, uvch_watch_changed_timedwait(&r->rx, 0), UV_EPERM);
  } else if (is_unseen(m, r)) {
    want(m, walk_draw(m->walk, 2) == 0 ? uvch_watch_changed_wait(&r->rx) : uvch_watch_changed_timedwait(&r->rx, 0), 0);
    r->seen = m->current;
  } else if (senders(m) == 0) {
    want(m, walk_draw(m->walk, 2) == 0 ? uvch_watch_changed_wait(&r->rx) : uvch_watch_changed_timedwait(&r->rx, 0), UV_EOF);
  } else {
    want(m, uvch_watch_changed_timedwait(&r->rx, walk_draw_timeout(m->walk)), UV_ETIMEDOUT);
  }
}

/* Waits for a value. */

static void draw_wish(model_t* m, waiting_t* w) {
  w->divisor = 1 + walk_draw(m->walk, 4);
  w->rest = walk_draw(m->walk, w->divisor);
  w->fails = walk_draw(m->walk, 8) == 0 ? UV_EILSEQ : 0;
  w->tested = NONE;
  w->is_answered = false;
  w->asking = 0;
  w->agreed = NONE;
  w->id = ++m->waits;
  w->is_cancelled = false;
}

static int answer_of(const waiting_t* w, uint64_t number) {
  return number % w->divisor != w->rest ? 0 : w->fails != 0 ? w->fails : 1 + (int) (number % 5);
}

typedef struct asking_s {
  model_t* m;
  reader_t* r;
  waiting_t* w;
  uint64_t first; /* the version that was tested first; NONE: there was none yet */
  bool was_new;   /* and it had not been seen */
} asking_t;

static int on_predicate(const void* value, void* arg) {
  asking_t* a = arg;
  model_t* m = a->m;
  waiting_t* w = a->w;
  uint64_t version = version_of(m, value);
  int answer = answer_of(w, m->versions[version]);
  uint64_t id = w->id;

  want(m, w->is_cancelled || w->is_answered || !a->r->open, 0);
  want(m, w->tested == NONE || w->tested < version, 1); /* not twice */
  if (w->tested == NONE && !m->form.drops) {            /* the one that is there, if no drop function sends another one */
    want(m, version, m->current);
  }
  if (a->first == NONE) {
    a->first = version;
    a->was_new = is_unseen(m, a->r);
  }
  want(m, version >= a->r->latest || m->form.drops, 1); /* a drop function may have shown it a newer one */
  w->tested = version;
  if (version >= a->r->latest) {
    a->r->seen = version;
    a->r->latest = version;
  }
  w->asking += 1;
  hold(m, version);
  reenter(m);
  check_value(m, value, m->versions[version]);
  let_go(m);
  if (w->id != id) { /* a nested run has asked for a newer one, and that was it */
    return answer;
  }
  w->asking -= 1;
  if (answer != 0) {
    w->is_answered = true;
    w->agreed = version;
  }
  return answer;
}

/* For a thread that does not have to wait. */
static void wait_by_thread(model_t* m, reader_t* r) {
  const void* value = m;
  waiting_t w;
  asking_t a = {m, r, &w, NONE, false};
  int wanted;
  int answer;

  draw_wish(m, &w);
  r->busy += 1;
  answer = uvch_watch_wait_for_timedwait(&r->rx, on_predicate, &a, &value, 0);
  r->busy -= 1;
  want(m, a.first != NONE, 1);
  if (w.is_answered) {
    wanted = w.fails;
  } else if (senders(m) == 0 && w.tested == m->current && (w.tested == a.first || answer == UV_EOF)) {
    wanted = UV_EOF;
  } else { /* another value may have come that it has not tested, or the end after one that it has: the time was up */
    wanted = UV_ETIMEDOUT;
  }
  want(m, answer, wanted);
  if (wanted == 0) {
    model_borrowed(m, r, value, w.tested, a.was_new && a.first == w.tested);
  } else {
    want(m, value == m, 1);
  }
}

static void on_waited(uvch_watch_wait_for_t* req, int status, const void* value) {
  reader_t* r = (reader_t*) (void*) ((char*) req - offsetof(reader_t, waiting.req));
  asking_t* a = req->data;
  model_t* m = a->m;
  waiting_t* w = &r->waiting;
  uint64_t agreed = w->agreed;

  want(m, r->waits, 1);
  want(m, value != NULL, status == 0);
  if (w->is_cancelled) {
    want(m, status, UV_ECANCELED);
  } else if (w->is_answered) {
    want(m, status == w->fails || (!r->open && status == UV_ECANCELED), 1);
  } else if (!r->open) {
    want(m, status, UV_ECANCELED);
  } else {
    want(m, status, UV_EOF);
    want(m, senders(m), 0);
    want(m, w->tested, m->current);
  }
  free(a);
  r->waits = false;
  w->id = 0;
  if (status == 0) {
    hold(m, agreed);
    check_value(m, value, m->versions[agreed]);
    reenter(m);
    check_value(m, value, m->versions[agreed]);
    let_go(m);
  } else {
    reenter(m);
  }
}

static void wait_by_request(model_t* m, reader_t* r) {
  asking_t* a = malloc(sizeof(*a));
  int wanted = r->loop == NULL ? UV_EINVAL : r->started ? UV_EALREADY : 0;

  want(m, a != NULL, 1);
  a->m = m;
  a->r = r;
  a->w = &r->waiting;
  a->first = NONE;
  memset(&r->waiting, 0xa5, sizeof(r->waiting));
  draw_wish(m, &r->waiting);
  r->waiting.req.data = a;
  r->waits = try_want(m, uvch_watch_wait_for(&r->waiting.req, &r->rx, on_predicate, a, on_waited), wanted) && wanted == 0;
  if (!r->waits) {
    free(a);
  }
}

static void call_wait_for(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);

  if (r == NULL || is_full(m)) {
    return;
  }
  if (r->waits) { /* unless that one is over and not told yet */
    uvch_watch_wait_for_t req;
    if (!is_done(m, r)) {
      want(m, uvch_watch_wait_for(&req, &r->rx, on_predicate, NULL, on_waited), UV_EALREADY);
    }
  } else if (r->loop == NULL && walk_draw(m->walk, 8) > 0) {
    wait_by_thread(m, r);
  } else {
    wait_by_request(m, r);
  }
}

static void call_cancel_wait(void* model) {
  model_t* m = model;
  reader_t* r = &m->readers[walk_draw(m->walk, RECEIVERS)];
  int answer;

  if (!r->waits) {
    return;
  }
  answer = uvch_cancel((uvch_req_t*) &r->waiting.req);
  if (answer == UV_EBUSY && (r->waiting.asking > 0 || is_done(m, r))) {
    return;
  }
  want(m, answer, r->waiting.is_cancelled || !r->open ? UV_EBUSY : 0);
  r->waiting.is_cancelled = true;
}

/* Callbacks. */

static reader_t* reader_of(uvch_watch_receiver_t* rx) {
  return (reader_t*) (void*) ((char*) rx - offsetof(reader_t, rx));
}

static void on_change(uvch_watch_receiver_t* rx, int status, const void* value) {
  reader_t* r = reader_of(rx);
  model_t* m = rx->data;
  uint64_t version;

  want(m, r->open && r->started, 1);
  want(m, value != NULL, status == 0);
  if (status != 0) {
    want(m, status, UV_EOF);
    want(m, senders(m), 0);
    want(m, is_unseen(m, r), 0);
    r->started = false;
    reenter(m);
    return;
  }
  version = version_of(m, value);
  want(m, version != r->seen, 1);
  want(m, version >= r->latest, 1); /* no older than what it had before */
  r->seen = version;
  r->latest = version;
  hold(m, version);
  reenter(m);
  check_value(m, value, m->versions[version]); /* still good */
  let_go(m);
}

static void call_start(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);
  unsigned int flags = walk_draw(m->walk, 3) == 0 ? UVCH_WATCH_CURRENT : 0;
  int wanted;

  if (r == NULL || (r->waits && is_done(m, r))) {
    return;
  }
  wanted = r->loop == NULL ? UV_EINVAL : r->started || r->waits ? UV_EALREADY : 0;
  r->rx.data = m;
  want(m, uvch_watch_start(&r->rx, on_change, flags), wanted);
  if (wanted == 0) {
    r->started = true;
    if (flags == UVCH_WATCH_CURRENT) { /* the value that is there */
      r->seen = NONE;
      r->latest = m->current;
    }
  }
}

static void call_stop(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);

  if (r != NULL) {
    want(m, uvch_watch_stop(&r->rx), 0);
    r->started = false;
  }
}

/* Somebody has something to come. */
static bool is_busy(const model_t* m) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    const reader_t* r = &m->readers[i];
    if (r->closing || (r->open && r->started && (is_unseen(m, r) || senders(m) == 0))) {
      return true;
    }
    if (r->waits && (is_done(m, r) || r->waiting.tested != m->current)) {
      return true;
    }
  }
  for (i = 0; i < WATCHERS; i++) {
    const watcher_t* w = &m->watchers[i];
    if (w->used && (w->cancelled || receivers(m) == 0)) {
      return true;
    }
  }
  return false;
}

/* One pass of one loop; there may be more to come after it. */
static void pass(model_t* m, size_t loop) {
  m->drops_call = true;
  walk_pass(m->walk, loop);
  m->drops_call = false;
}

static void call_pass(void* model) {
  model_t* m = model;
  pass(m, walk_draw(m->walk, WALK_LOOPS));
}

static void pass_all(model_t* m) {
  size_t i;

  for (i = 0; i < WALK_LOOPS; i++) {
    pass(m, i);
  }
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
    pass_all(m);
  }
  for (i = 0; i < 3; i++) {
    pass_all(m);
  }
}

/* Receivers come and go. */

static reader_t* free_reader(model_t* m) {
  size_t i;

  for (i = 0; i < RECEIVERS; i++) {
    if (!m->readers[i].open && !m->readers[i].closing && m->readers[i].holds == 0) {
      return &m->readers[i];
    }
  }
  return NULL;
}

static uv_loop_t* some_loop(model_t* m) {
  return walk_draw(m->walk, 3) == 0 ? NULL : &m->walk->loops[walk_draw(m->walk, WALK_LOOPS)];
}

static void begin_reader(reader_t* r, uv_loop_t* loop, uint64_t seen, uint64_t latest) {
  uvch_watch_receiver_t rx = r->rx;

  memset(r, 0, sizeof(*r));
  r->rx = rx;
  r->open = true;
  r->loop = loop;
  r->seen = seen;
  r->latest = latest;
  r->borrowed = NONE;
}

static void call_subscribe(void* model) {
  model_t* m = model;
  writer_t* w = some_writer(m);
  reader_t* r = free_reader(m);
  uv_loop_t* loop = some_loop(m);

  if (w == NULL || r == NULL) {
    return;
  }
  memset(&r->rx, 0xa5, sizeof(r->rx));
  if (!try_want(m, uvch_watch_subscribe(loop, &r->rx, &w->tx), 0)) {
    return;
  }
  begin_reader(r, loop, m->current, m->current);
}

static void call_clone(void* model) {
  model_t* m = model;
  reader_t* source = some_reader(m);
  reader_t* r = free_reader(m);
  uv_loop_t* loop = some_loop(m);

  if (source == NULL || r == NULL) {
    return;
  }
  memset(&r->rx, 0xa5, sizeof(r->rx));
  if (!try_want(m, uvch_watch_receiver_clone(loop, &r->rx, &source->rx), 0)) {
    return;
  }
  begin_reader(r, loop, walk_lie == LIE_CLONE ? m->current : source->seen, source->latest);
  want(m, uvch_watch_receiver_same_channel(&source->rx, &r->rx), 1);
}

static void call_attach(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);
  uv_loop_t* loop = &m->walk->loops[walk_draw(m->walk, WALK_LOOPS)];

  if (r == NULL || r->busy > 0) {
    return;
  }
  if (try_want(m, uvch_attach(loop, (uvch_handle_t*) &r->rx), r->loop != NULL ? UV_EALREADY : 0) && r->loop == NULL) {
    r->loop = loop;
  }
}

static void on_close(uvch_handle_t* handle) {
  reader_t* r = reader_of((uvch_watch_receiver_t*) handle);
  model_t* m = handle->data;

  want(m, r->closing, 1);
  want(m, r->waits, 0); /* that comes before */
  r->closing = false;
}

static void close_reader(model_t* m, reader_t* r) {
  uvch_handle_t* handle = (uvch_handle_t*) &r->rx;

  handle->data = m;
  r->open = false;
  r->started = false;
  r->closing = r->loop != NULL;
  model_receivers(m);
  r->holds += 1;
  m->drops_call = true;
  want(m, uvch_close(handle, r->loop != NULL ? on_close : NULL), 0);
  m->drops_call = false;
  want(m, uvch_close(handle, NULL), UV_EALREADY);
  r->holds -= 1;
}

static void call_close(void* model) {
  model_t* m = model;
  reader_t* r = some_reader(m);

  if (r != NULL && r->busy == 0) {
    close_reader(m, r);
  }
}

/* Walks. */

static const walk_call_t calls[] = {
    {"send", call_send, 10},
    {"update", call_update, 10},
    {"borrow", call_borrow, 10},
    {"changed", call_changed, 10},
    {"run", call_run, 10},
    {"wait_for", call_wait_for, 10},
    {"start", call_start, 10},
    {"pass", call_pass, 6},
    {"send_replace", call_send_replace, 4},
    {"modify", call_modify, 4},
    {"sender_borrow", call_sender_borrow, 4},
    {"mark", call_mark, 4},
    {"cancel_wait", call_cancel_wait, 2},
    {"watch", call_watch, 2},
    {"cancel_watch", call_cancel_watch, 2},
    {"stop", call_stop, 2},
    {"attach", call_attach, 2},
    {"subscribe", call_subscribe, 6},
    {"clone", call_clone, 4},
    {"close", call_close, 6},
    {"clone_sender", call_clone_sender, 4},
    {"close_sender", call_close_sender, 4},
};

/* What a function of the user does sometimes: any call, also one pass of a loop, in which other callbacks come. */
static void reenter_once(model_t* m) {
  bool drops_call = m->drops_call;

  if (walk_is_over(m->walk) || m->walk->depth == DEEP || m->nested == NESTED_MAX || is_full(m)) {
    return;
  }
  support_alloc_fail(0); /* that was for the call outside */
  m->walk->step += 1;
  m->nested += 1;
  m->walk->depth += 1;
  m->drops_call = false;
  walk_call(m->walk, &m->calls, m);
  check_model(m);
  m->drops_call = drops_call;
  m->walk->depth -= 1;
}

static void reenter(model_t* m) {
  size_t n = m->eager > 1 ? walk_draw(m->walk, m->eager + 1) : walk_chance(m->walk, 4);

  for (; n > 0; n--) {
    reenter_once(m);
  }
}

static void draw_form(model_t* m) {
  static const size_t sizes[] = {8, 8, 8, 20, 64, 128, 129, WALK_ITEM_MAX};

  m->form.size = sizes[walk_draw(m->walk, COUNT(sizes))];
  m->form.copies = walk_chance(m->walk, 2);
  m->form.drops = walk_chance(m->walk, 2);
  m->eager = walk_chance(m->walk, 2) ? 4 : 1;
  walk_note(m->walk, "values of %lld bytes; 1 copy, 2 drop function: %lld", (long long) m->form.size,
            m->form.copies + 2 * m->form.drops);
}

static void begin_walk(model_t* m) {
  _Alignas(max_align_t) unsigned char value[WALK_ITEM_MAX];
  uv_loop_t* loop = some_loop(m);
  bool with_reader = !walk_chance(m->walk, 4);
  uvch_watch_options_t options;

  memset(&options, 0, sizeof(options));
  options.copy = m->form.copies ? on_copy : NULL;
  options.drop = m->form.drops ? on_drop : NULL;
  options.arg = m;
  uvch__watch_first = walk_draw_first(m->walk);
  make(m, value);
  m->loose = 0;
  m->current = 0;
  m->versions[0] = 0;
  while (!try_want(m,
                   uvch_watch_init_ex(with_reader ? loop : NULL, with_reader ? &m->readers[0].rx : NULL, &m->writers[0].tx,
                                      m->form.size, value, &options),
                   0)) {}
  if (with_reader) {
    begin_reader(&m->readers[0], loop, 0, 0);
  }
  begin_writer(&m->writers[0]);
  check_model(m);
}

/* Those whose bit is set. */
static void close_writers(model_t* m, size_t which) {
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    if (m->writers[i].open && (which & (size_t) 1 << i) != 0) {
      want(m, uvch_watch_sender_close(&m->writers[i].tx), 0);
      m->writers[i].open = false;
      check_model(m);
    }
  }
}

static void end_walk(model_t* m, size_t first) {
  size_t i;

  walk_note(m->walk, "the end", 0, 0);
  close_writers(m, first);
  for (i = 0; i < RECEIVERS; i++) {
    if (m->readers[i].open) {
      close_reader(m, &m->readers[i]);
      check_model(m);
    }
  }
  close_writers(m, SIZE_MAX);
  while (is_busy(m)) {
    pass_all(m);
  }
  if (m->form.drops) {
    want(m, m->alive_all, 0);
  }
}

static void run(const uint8_t* data, size_t size) {
  model_t* m = calloc(1, sizeof(*m));
  size_t first;

  if (m == NULL) {
    abort();
  }
  m->walk = walk_begin(&kind_watch, data, size);
  walk_calls_begin(m->walk, &m->calls, calls, COUNT(calls));
  first = walk_draw(m->walk, (size_t) 1 << SENDERS);
  draw_form(m);
  begin_walk(m);
  for (; !walk_is_over(m->walk); m->walk->step++) {
    m->nested = 0;
    walk_call(m->walk, &m->calls, m);
    check_model(m);
  }
  end_walk(m, first);
  walk_end(m->walk);
  uvch__watch_first = 0;
  free(m);
}

const walk_kind_t kind_watch = {"watch", run, lies};
