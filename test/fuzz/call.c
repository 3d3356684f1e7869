/* SPDX-License-Identifier: MIT
 *
 * Calls through a channel, bounded or not, against a table of what has become of each message: in the line of those who wait, in
 * the channel, with the actor, or done. */
#include "walk.h"

#include "../support.h"

enum { CALLS = 5, SENDERS = 2, HELD = 4, DEEP = 3, MESSAGES = 3000 };

enum { LIE_CANCEL = 1, LIE_SENT };

static const char* const lies[] = {"a call that was cancelled gets its reply", "a call that waits for room is sent", NULL};

#define NO_LOOP WALK_LOOPS
#define NO_TIMEOUT 0
#define LONG_TIMEOUT (UINT64_C(3600) * 1000000000)

typedef struct message_s {
  uint64_t number;
  uvch_oneshot_sender_t reply;
} message_t;

/* A call: its callback is to come while it is used. */
typedef struct caller_s {
  uvch_call_t req;
  bool used;
  bool waits; /* for room, or a reply */
  bool in_line;
  int status; /* once it does not wait any more */
  bool is_sent;
  size_t loop;
  message_t message;
} caller_t;

/* A message, by its number. */
typedef struct record_s {
  caller_t* caller; /* NULL: nobody waits for the reply any more */
  bool drops;       /* replies that come too late */
} record_t;

/* A message that the actor has. */
typedef struct held_s {
  message_t message;
  bool used;
} held_t;

typedef struct model_s {
  walk_t* walk;
  walk_calls_t calls;
  size_t capacity;
  size_t reply_size;
  uvch_mpsc_sender_t tx[SENDERS];
  bool has_tx[SENDERS];
  caller_t callers[CALLS];
  caller_t* line[CALLS];
  size_t waiting;
  record_t records[MESSAGES];
  uint64_t made;
  uint64_t order[MESSAGES]; /* the messages that are in */
  uint64_t sent;
  uint64_t taken;
  uint64_t given; /* of those, the ones whose room is given back */
  int in_hand;    /* receive callbacks */
  held_t held[HELD];
  uint64_t replying; /* the reply that may be dropped now, UINT64_MAX: none */
  uint64_t drops;
  uvch_mpsc_receiver_t rx;
  size_t loop;
  bool open;
  bool closing;
  bool started;
  bool shut;
  bool unsure; /* who of those in the line has been served in this pass */
} model_t;

/* The model. */

static size_t strong(const model_t* m) {
  size_t n = m->waiting;
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    n += m->has_tx[i];
  }
  return n;
}

static bool is_closed(const model_t* m) {
  return m->shut || !m->open || strong(m) == 0;
}

static bool has_room(const model_t* m) {
  return m->sent - m->given < m->capacity;
}

/* The call has its outcome. */
static void settle(caller_t* c, int status) {
  c->waits = false;
  c->status = status;
}

static void leave_line(model_t* m, caller_t* c) {
  size_t at = 0;

  while (m->line[at] != c) {
    at++;
  }
  m->waiting -= 1;
  memmove(&m->line[at], &m->line[at + 1], (m->waiting - at) * sizeof(m->line[0]));
  c->in_line = false;
}

static void model_sent(model_t* m, caller_t* c) {
  c->is_sent = true;
  m->order[m->sent++] = c->message.number;
}

static void serve_one(model_t* m) {
  caller_t* c = m->line[0];
  bool is_refused = is_closed(m);

  leave_line(m, c);
  if (is_refused) {
    m->records[c->message.number].caller = NULL;
    settle(c, UV_EPIPE);
  } else {
    model_sent(m, c);
  }
}

static void serve(model_t* m) {
  while (m->waiting > 0 && (is_closed(m) || has_room(m))) {
    serve_one(m);
  }
}

/* In a pass of a loop the library may not have got so far. */
static void serve_early(model_t* m) {
  m->unsure = m->unsure || m->waiting > 0;
  while (m->waiting > 0 && m->taken == m->sent) {
    serve_one(m);
  }
}

static void check_model(const model_t* m) {
  size_t i;

  for (i = 0; i < SENDERS; i++) {
    if (m->has_tx[i] && !m->unsure) {
      want(m, uvch_mpsc_sender_is_closed(&m->tx[i]), is_closed(m));
      want(m, uvch_mpsc_sender_strong_count(&m->tx[i]), strong(m));
      want(m, uvch_mpsc_sender_len(&m->tx[i]), m->open ? m->sent - m->given : 0);
    }
  }
  for (i = 0; i < HELD; i++) {
    if (m->held[i].used)
      want(m, uvch_oneshot_sender_is_closed(&m->held[i].message.reply), m->records[m->held[i].message.number].caller == NULL);
  }
}

/* Calling. */

static void reenter(model_t* m);

static const uvch_mpsc_sender_t* some_sender(model_t* m) {
  size_t at = walk_draw(m->walk, SENDERS);

  return m->has_tx[at] ? &m->tx[at] : m->has_tx[1 - at] ? &m->tx[1 - at] : NULL;
}

static void on_answer(uvch_call_t* req, int status, void* reply) {
  caller_t* c = (caller_t*) (void*) ((char*) req - offsetof(caller_t, req));
  model_t* m = req->data;
  uint64_t number = c->message.number;

  walk_note(m->walk, "a call is done: %lld, message %lld", status, (long long) number);
  serve_early(m);
  want(m, c->used && !c->waits, 1);
  want(m, status, c->status);
  want(m, req->is_sent, c->is_sent);
  want(m, reply != NULL, status == 0);
  want(m, c->message.reply.core == NULL, 1);
  c->used = false;
  if (status == 0)
    walk_check_item(m->walk, reply, m->reply_size, number);
  reenter(m);
  if (status == 0)
    walk_check_item(m->walk, reply, m->reply_size, number);
}

static void on_drop_reply(void* item, void* arg) {
  model_t* m = arg;

  walk_check_item(m->walk, item, m->reply_size, m->replying);
  m->drops += 1;
}

static void begin_call(model_t* m, caller_t* c, bool drops) {
  m->records[c->message.number].caller = c;
  m->records[c->message.number].drops = drops;
  c->used = true;
  c->waits = true;
  c->is_sent = false;
  if (m->waiting == 0 && has_room(m)) {
    model_sent(m, c);
  } else {
    c->in_line = true;
    c->is_sent = walk_lie == LIE_SENT;
    m->line[m->waiting++] = c;
  }
}

static void call_call(void* model) {
  model_t* m = model;
  caller_t* c = &m->callers[walk_draw(m->walk, CALLS)];
  const uvch_mpsc_sender_t* tx = some_sender(m);
  uvch_call_options_t options;
  int wanted;

  if (tx == NULL || c->used || m->made == MESSAGES)
    return;
  memset(&c->req, 0xa5, sizeof(c->req));
  memset(&options, 0, sizeof(options));
  options.timeout = walk_chance(m->walk, 3) ? LONG_TIMEOUT : NO_TIMEOUT;
  options.drop = walk_chance(m->walk, 2) ? on_drop_reply : NULL;
  options.arg = m;
  c->req.data = m;
  c->loop = walk_draw(m->walk, WALK_LOOPS);
  c->message.number = m->made++;
  walk_note(m->walk, "... message %lld, loop %lld", (long long) c->message.number, (long long) c->loop);
  wanted = is_closed(m) ? UV_EPIPE : 0;
  if (try_want(
          m,
          uvch_call_ex(&m->walk->loops[c->loop], &c->req, tx, &c->message, &c->message.reply, m->reply_size, &options, on_answer),
          wanted) &&
      wanted == 0)
    begin_call(m, c, options.drop != NULL);
  else
    want(m, c->message.reply.core == NULL, 1);
}

static void call_cancel(void* model) {
  model_t* m = model;
  caller_t* c = &m->callers[walk_draw(m->walk, CALLS)];

  if (!c->used)
    return;
  walk_note(m->walk, "... message %lld", (long long) c->message.number, 0);
  want(m, uvch_cancel((uvch_req_t*) &c->req), c->waits ? 0 : UV_EBUSY);
  if (!c->waits)
    return;
  if (c->in_line)
    leave_line(m, c);
  if (walk_lie != LIE_CANCEL)
    m->records[c->message.number].caller = NULL;
  settle(c, UV_ECANCELED);
}

/* By a thread that does not wait for the reply: it comes too late, if the message goes in. */
static void call_timedwait(void* model) {
  model_t* m = model;
  const uvch_mpsc_sender_t* tx = some_sender(m);
  _Alignas(max_align_t) unsigned char reply[WALK_ITEM_MAX];
  message_t message;
  bool fits = m->waiting == 0 && has_room(m) && !is_closed(m);
  int is_sent = 7;
  int answer;

  if (tx == NULL || m->made == MESSAGES)
    return;
  message.number = m->made++;
  answer = uvch_call_timedwait(tx, &message, &message.reply, reply, m->reply_size, 0, &is_sent);
  want(m, message.reply.core == NULL, 1);
  if (answer == UV_EPERM && m->loop != NO_LOOP && m->open) { /* the receiver's loop has run here */
    want(m, is_sent, 0);
    return;
  }
  want(m, answer, is_closed(m) ? UV_EPIPE : UV_ETIMEDOUT);
  want(m, is_sent, fits);
  if (fits) {
    m->records[message.number].caller = NULL;
    m->records[message.number].drops = false;
    m->order[m->sent++] = message.number;
  }
}

/* The actor. */

static void give_up(model_t* m, message_t* message) {
  caller_t* c = m->records[message->number].caller;

  want(m, uvch_oneshot_sender_close(&message->reply), 0);
  if (c != NULL)
    settle(c, UV_EOF);
  m->records[message->number].caller = NULL;
}

static void reply(model_t* m, message_t* message, bool is_reply) {
  const record_t* r = &m->records[message->number];
  _Alignas(max_align_t) unsigned char item[WALK_ITEM_MAX];
  uint64_t drops = m->drops;
  int wanted = r->caller != NULL ? 0 : is_reply && r->drops ? 1 : UV_EPIPE;

  walk_note(m->walk, "... to message %lld", (long long) message->number, 0);
  walk_paint(item, m->reply_size, message->number);
  m->replying = message->number;
  want(m, is_reply ? uvch_reply(&message->reply, item) : uvch_oneshot_send(&message->reply, item), wanted);
  m->replying = UINT64_MAX;
  want(m, m->drops, drops + (wanted == 1));
  want(m, uvch_reply(&message->reply, item), UV_EBADF);
  if (r->caller != NULL)
    settle(r->caller, 0);
  m->records[message->number].caller = NULL;
}

/* The room of messages that are taken inside of a callback comes back when that returns. */
static void give_room(model_t* m) {
  if (m->in_hand == 0)
    m->given = m->taken;
}

/* The next message is with the actor. */
static void take(model_t* m, const message_t* message) {
  held_t* h = &m->held[walk_draw(m->walk, HELD)];

  want(m, message->number, m->order[m->taken]);
  m->taken += 1;
  give_room(m);
  if (h->used)
    reply(m, &h->message, true);
  h->message = *message;
  h->used = true;
}

static void call_recv(void* model) {
  model_t* m = model;
  message_t message;
  int wanted = !m->open ? UV_EBADF : m->taken < m->sent ? 0 : is_closed(m) ? UV_EOF : UV_EAGAIN;

  want(m, uvch_mpsc_try_recv(&m->rx, &message), wanted);
  if (wanted == 0)
    take(m, &message);
}

static void on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  model_t* m = rx->data;

  walk_note(m->walk, "a receive callback: %lld", status, 0);
  serve_early(m);
  want(m, m->open && m->started, 1);
  want(m, status, m->taken < m->sent ? 0 : UV_EOF);
  if (status == 0)
    take(m, item);
  else
    m->started = false;
  m->in_hand += 1;
  reenter(m);
  m->in_hand -= 1;
  give_room(m);
}

static void call_reply(void* model) {
  model_t* m = model;
  held_t* h = &m->held[walk_draw(m->walk, HELD)];

  if (h->used)
    reply(m, &h->message, !walk_chance(m->walk, 3));
  h->used = false;
}

static void call_give_up(void* model) {
  model_t* m = model;
  held_t* h = &m->held[walk_draw(m->walk, HELD)];

  if (h->used)
    give_up(m, &h->message);
  h->used = false;
}

static void call_start(void* model) {
  model_t* m = model;
  int wanted = !m->open ? UV_EBADF : m->loop == NO_LOOP ? UV_EINVAL : m->started ? UV_EALREADY : 0;

  want(m, uvch_mpsc_recv_start(&m->rx, on_recv), wanted);
  m->started = m->started || wanted == 0;
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

static void on_close(uvch_handle_t* handle) {
  model_t* m = handle->data;

  want(m, m->closing, 1);
  m->closing = false;
}

/* Messages that nobody will see, in their order: their callers are to know. */
static void on_drop_message(void* item, void* arg) {
  model_t* m = arg;
  message_t message;

  memcpy(&message, item, sizeof(message));
  want(m, message.number, m->order[m->taken]);
  m->taken += 1;
  give_up(m, &message);
}

static void close_receiver(model_t* m) {
  want(m, uvch_close((uvch_handle_t*) &m->rx, m->loop != NO_LOOP ? on_close : NULL), m->open ? 0 : UV_EALREADY);
  if (!m->open)
    return;
  want(m, m->taken, m->sent);
  m->given = m->taken;
  m->open = false;
  m->started = false;
  m->closing = m->loop != NO_LOOP;
}

static void call_close(void* model) {
  model_t* m = model;

  if (walk_chance(m->walk, 8))
    close_receiver(m);
}

static void call_sender(void* model) {
  model_t* m = model;
  size_t at = walk_draw(m->walk, SENDERS);

  if (m->has_tx[at] && (m->has_tx[1 - at] || walk_chance(m->walk, 8))) {
    want(m, uvch_mpsc_sender_close(&m->tx[at]), 0);
    m->has_tx[at] = false;
  } else if (!m->has_tx[at] && m->has_tx[1 - at]) {
    want(m, uvch_mpsc_sender_clone(&m->tx[1 - at], &m->tx[at]), 0);
    m->has_tx[at] = true;
  }
}

/* Running. */

static void passed(model_t* m) {
  if (m->walk->depth == 0) {
    serve(m);
    m->unsure = false;
  }
}

static void call_pass(void* model) {
  model_t* m = model;

  walk_pass(m->walk, walk_draw(m->walk, WALK_LOOPS));
  passed(m);
}

static bool is_busy(const model_t* m) {
  size_t i;

  for (i = 0; i < CALLS; i++) {
    if (m->callers[i].used && !m->callers[i].waits)
      return true;
  }
  return m->closing || (m->started && (m->taken < m->sent || is_closed(m)));
}

static void call_run(void* model) {
  model_t* m = model;
  size_t passes;

  if (m->walk->depth > 0)
    return;
  for (passes = 0; is_busy(m); passes++) {
    want(m, passes < 10000, 1);
    walk_pass_all(m->walk);
    passed(m);
  }
}

/* Walks. */

static const walk_call_t calls[] = {
    {"call", call_call, 16},  {"cancel", call_cancel, 5}, {"call_timedwait", call_timedwait, 3},
    {"recv", call_recv, 8},   {"reply", call_reply, 10},  {"give up", call_give_up, 4},
    {"start", call_start, 8}, {"stop", call_stop, 3},     {"shutdown", call_shutdown, 2},
    {"close", call_close, 2}, {"sender", call_sender, 3}, {"pass", call_pass, 12},
    {"run", call_run, 4},
};

static void step(model_t* m) {
  walk_call(m->walk, &m->calls, m);
  if (!m->unsure)
    serve(m);
  check_model(m);
}

static void reenter(model_t* m) {
  size_t n = walk_chance(m->walk, 3) ? 1 + walk_draw(m->walk, 3) : 0;

  m->walk->depth += 1;
  for (; n > 0 && !walk_is_over(m->walk) && m->walk->depth <= DEEP && !m->unsure && m->waiting == 0; n--) {
    m->walk->step += 1;
    step(m);
  }
  m->walk->depth -= 1;
}

static void begin(model_t* m) {
  static const size_t capacities[] = {1, 2, 4, UVCH_UNBOUNDED};
  static const size_t sizes[] = {8, 0, 1, 20, WALK_ITEM_MAX};
  uvch_mpsc_options_t options;

  memset(&options, 0, sizeof(options));
  options.drop = on_drop_message;
  options.arg = m;
  m->capacity = capacities[walk_draw(m->walk, COUNT(capacities))];
  m->reply_size = sizes[walk_draw(m->walk, COUNT(sizes))];
  m->loop = walk_draw(m->walk, WALK_LOOPS + 1);
  m->replying = UINT64_MAX;
  walk_note(m->walk, "a channel of %lld messages, replies of %lld bytes", (long long) m->capacity, (long long) m->reply_size);
  while (!try_want(m,
                   uvch_mpsc_init_ex(m->loop != NO_LOOP ? &m->walk->loops[m->loop] : NULL, &m->rx, &m->tx[0], sizeof(message_t),
                                     m->capacity, &options),
                   0)) {}
  m->rx.data = m;
  m->open = true;
  m->has_tx[0] = true;
}

static void end(model_t* m, bool actor_first) {
  size_t i;

  walk_note(m->walk, "the end", 0, 0);
  if (actor_first && m->open)
    close_receiver(m);
  serve(m);
  for (i = 0; i < HELD; i++) {
    if (m->held[i].used)
      give_up(m, &m->held[i].message);
    m->held[i].used = false;
  }
  for (i = 0; i < SENDERS; i++) {
    want(m, uvch_mpsc_sender_close(&m->tx[i]), m->has_tx[i] ? 0 : UV_EBADF);
    m->has_tx[i] = false;
  }
  if (m->open)
    close_receiver(m);
  serve(m);
  check_model(m);
  call_run(m);
  for (i = 0; i < CALLS; i++) {
    want(m, m->callers[i].used, 0);
  }
}

static void run(const uint8_t* data, size_t size) {
  model_t* m = calloc(1, sizeof(*m));
  bool actor_first;

  if (m == NULL)
    abort();
  m->walk = walk_begin(&kind_call, data, size);
  walk_calls_begin(m->walk, &m->calls, calls, COUNT(calls));
  actor_first = walk_chance(m->walk, 2);
  begin(m);
  for (; !walk_is_over(m->walk); m->walk->step++) {
    step(m);
  }
  end(m, actor_first);
  walk_end(m->walk);
  free(m);
}

const walk_kind_t kind_call = {"call", run, lies};
