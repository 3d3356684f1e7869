/* SPDX-License-Identifier: MIT */
#include "mpsc_steps.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "handle.h"
#include "hot.h"
#include "memory.h"

enum steps_bug steps_bug;
struct world w;
static int variant;
static int has_end; /* see ENDS */

/* What is linked and not used. */

const struct uvch__handle_ops uvch__oneshot_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__broadcast_handle = {NULL, NULL, NULL};
const struct uvch__handle_ops uvch__watch_handle = {NULL, NULL, NULL};

void uvch__core_refork(struct uvch__core* c) {
  (void) c;
}

/* For deliver.c and linger.h. */
uint32_t mpsc_turn;
uint32_t mpsc_ask_every;
uint32_t mpsc_stream;

uint64_t uvch__hot_default(void) {
  return fake_hot;
}

/* Others may have run, as they may before each step. */
int uvch__give_way(struct uvch__hot* h) {
  return h->gives_way ? 1 : 0;
}

int steps_is_torn(const char* who) {
  return steps_is(STEPS_MPSC_PUBLISH_BY_STORE, who, "uvch__slot_publish") ||
         steps_is(STEPS_PARK_BY_STORE, who, "uvch__slot_park") || steps_is(STEPS_MPSC_KILL_BY_STORE, who, "uvch__slot_kill") ||
         steps_is(STEPS_RING_BY_STORE, who, "uvch__ring_make") || steps_is(STEPS_MPSC_CLAIM_BY_STORE, who, "uvch__ring_claim") ||
         steps_is(STEPS_STRONG_BY_STORE, who, "uvch__strong_put") || steps_is(STEPS_REFS_BY_STORE, who, "uvch__core_unref") ||
         steps_is(STEPS_ASK_BY_STORE, who, "uvch__ask") || steps_is(STEPS_DEBT_BY_STORE, who, "uvch__settle") ||
         steps_is(STEPS_HOME_BY_STORE, who, "uvch__post") || steps_is(STEPS_GIVE_BACK_BY_STORE, who, "uvch__give_back") ||
         steps_is(STEPS_SET_BY_STORE, who, "uvch__core_set") || steps_is(STEPS_TRY_PARK_BY_STORE, who, "try_park") ||
         steps_is(STEPS_QUEUE_BY_STORE, who, "uvch__queue_get") || steps_is(STEPS_WAKE_BY_STORE, who, "uvch__parker_wake") ||
         steps_is(STEPS_UNPARK_BY_STORE, who, "uvch__unpark");
}

int has_functions(void) {
  return variant == 0;
}

static int self(void) {
  return steps_self() < 0 ? FIRST : steps_self();
}

static uv_loop_t* own_loop(void) {
  return &fake_loops[self()];
}

/* Messages. */

struct content {
  uint64_t what;  /* which message */
  uint64_t again; /* of one that owns something */
};

static size_t item_size(void) {
  return has_functions() ? sizeof(struct content) : sizeof(uint64_t);
}

static void write_content(void* to, int id) {
  struct content c = {(uint64_t) id, ~(uint64_t) id};

  memcpy(to, &c, item_size());
}

static int read_content(const void* item) {
  struct content c;

  steps_plain(item, item_size(), STEPS_READ, __func__);
  memcpy(&c, item, item_size());
  steps_expect(c.what < (uint64_t) w.count && (!has_functions() || c.again == ~c.what));
  return (int) c.what;
}

/* New ones, in the memory of the call; the first. */
static int begin_send(void* items, int count, int is_permits) {
  int first = w.count;
  int i;

  steps_expect(w.count + count <= MESSAGES);
  for (i = 0; i < count; i++) {
    w.messages[w.count] = (struct message){.whose = BEING_SENT, .begun = ++w.now, .is_permits = is_permits};
    write_content((char*) items + (size_t) i * item_size(), w.count++);
  }
  return first;
}

static int queued_now(void) {
  int n = 0;
  int i;

  for (i = 0; i < w.count; i++)
    n += w.messages[i].whose == QUEUED;
  return n;
}

/* Of `count` from `first` on the first `sent` are in, the others are the caller's again. */
static void end_send(int first, int count, int sent) {
  int i;

  for (i = 0; i < count; i++) {
    struct message* m = &w.messages[first + i];
    if (i >= sent)
      steps_expect(m->whose == BEING_SENT);
    if (m->whose == BEING_SENT)
      m->whose = i < sent ? QUEUED : REFUSED;
    if (m->whose == REFUSED)
      m->gone = ++w.now;
    if (m->queued == 0)
      m->queued = ++w.now;
    m->waits = 0;
  }
  steps_expect(queued_now() + w.places <= w.capacity + w.taking || w.is_over);
}

/* There was room all the time since the send of this one began. */
static int has_room_for(int id) {
  int n = w.held;
  int i;

  for (i = 0; i < w.count; i++)
    n += i != id && (w.messages[i].gone == 0 || w.messages[i].gone > w.messages[id].begun);
  return n < w.capacity && w.then == NULL;
}

static int result(int first, int count, int n) {
  end_send(first, count, n < 0 ? 0 : count == 1 ? 1 : n);
  steps_expect(n <= count);
  steps_expect(n >= 0 || n == UV_EAGAIN || n == UV_EPIPE || n == UV_ETIMEDOUT);
  steps_expect(n != UV_EPIPE || w.is_over);
  steps_expect(n != UV_EAGAIN || !has_room_for(first));
  return n;
}

/* Who was in, or in the line, before another one began, comes before that one, but for a permit's message, which has its place
 * already. */
static void expect_order(const struct message* m) {
  int i;

  for (i = 0; i < w.delivered_count; i++) {
    const struct message* before = &w.messages[w.delivered[i]];
    steps_expect(m->queued == 0 || m->queued > before->begun || (m->waits && before->is_permits));
  }
}

/* A reservation that is in the line since before a message began is not passed by it. */
static void expect_no_reservation_before(const struct message* m) {
  int i;

  for (i = 0; i < w.request_count; i++) {
    const struct request* r = &w.requests[i];
    if (r->req != NULL && r->req->type == UVCH_MPSC_RESERVE && r->begun != 0 && r->begun < m->begun && !m->is_permits)
      steps_expect(((struct uvch__waiter*) (void*) r->req->waiter)->state != UVCH__QUEUED);
  }
}

static void note_delivered(int id) {
  struct message* m = &w.messages[id];

  steps_expect(m->whose == BEING_SENT || m->whose == QUEUED);
  steps_expect(w.end == 0);
  expect_order(m);
  expect_no_reservation_before(m);
  m->whose = DELIVERED;
  m->gone = ++w.now;
  w.delivered[w.delivered_count++] = id;
}

static void note_end(void) {
  steps_expect((w.senders == 0 || w.is_over) && w.places == 0 && queued_now() == 0);
  w.end = UV_EOF;
}

/* Only who closes drops. */
static void on_drop(void* item, void* arg) {
  struct message* m = &w.messages[read_content(item)];

  steps_expect(arg == &w && steps_holds() == 0 && w.rx == NULL && self() == FIRST);
  steps_expect(m->whose == BEING_SENT || m->whose == QUEUED);
  m->whose = DROPPED;
}

/* The token is nowhere else if a loop is given it. */
static void on_post(const struct uvch__endpoint* ep) {
  if (w.core != NULL && ep == &w.core->ep)
    steps_expect(!w.core->has_token && (w.core->word & UVCH__AT_TAIL) == 0);
}

/* Set-up. */

static void reset_asides(void);

void channel(uv_loop_t* loop, size_t capacity, int senders) {
  uvch_mpsc_options_t options = {.flags = UVCH_PREALLOCATE};
  int a;

  memset(&w, 0, sizeof w);
  for (a = 0; a < ACTORS; a++)
    w.status[a] = NONE;
  reset_asides();
  fakes_set_up(1);
  mpsc_turn = 256;
  mpsc_ask_every = 32;
  mpsc_stream = 4;
  if (has_functions())
    options = (uvch_mpsc_options_t){.drop = on_drop, .arg = &w};
  w.rx = steps_calloc(sizeof *w.rx);
  steps_expect(uvch_mpsc_init_ex(loop, w.rx, &w.tx[FIRST], item_size(), capacity, &options) == 0);
  w.core = w.tx[FIRST].core;
  w.capacity = (int) capacity;
  fake_on_post = on_post;
  if (!has_end)
    uvch__core_ref(w.core);
  steps_counted = has_end ? NULL : &w.core->refs;
  for (a = FIRST + 1; a < ACTORS; a++)
    if ((senders & 1 << a) != 0)
      steps_expect(uvch_mpsc_sender_clone(&w.tx[FIRST], &w.tx[a]) == 0);
  if ((senders & 1 << FIRST) == 0)
    steps_expect(uvch_mpsc_sender_close(&w.tx[FIRST]) == 0);
  for (a = 0; a < ACTORS; a++)
    w.senders += w.tx[a].core != NULL;
}

/* What receivers do. */

static void then(const void* item, size_t size) {
  char before[sizeof(struct content) * MESSAGES];

  if (w.then == NULL)
    return;
  steps_expect(size <= sizeof before);
  memcpy(before, item, size);
  w.then();
  steps_plain(item, size, STEPS_READ, __func__);
  steps_expect(memcmp(before, item, size) == 0);
}

static void on_message(uvch_mpsc_receiver_t* rx, int status, void* item) {
  steps_expect(rx == w.rx && steps_holds() == 0 && self() == FIRST && (item != NULL) == (status == 0));
  steps_expect(status == 0 || status == UV_EOF);
  if (status == 0)
    note_delivered(read_content(item));
  else
    note_end();
  if (status == 0)
    then(item, item_size());
}

static void on_messages(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  int ids[MESSAGES];
  size_t i;

  steps_expect(rx == w.rx && steps_holds() == 0 && self() == FIRST && (first != NULL) == (status == 0));
  if (status != 0) {
    steps_expect(status == UV_EOF && count == 0);
    note_end();
    return;
  }
  steps_expect(count > 0 && count <= (size_t) w.capacity);
  w.taking = (int) count;
  for (i = 0; i < count; i++)
    ids[i] = read_content((char*) first + i * stride);
  for (i = 0; i < count; i++)
    note_delivered(ids[i]);
  w.taking = 0;
  then(first, (count - 1) * stride + item_size());
}

void start(void) {
  steps_expect(uvch_mpsc_recv_start(w.rx, on_message) == 0);
}

void start_many(size_t max) {
  steps_expect(uvch_mpsc_recv_many_start(w.rx, max, on_messages) == 0);
}

void stop(void) {
  steps_expect(uvch_mpsc_recv_stop(w.rx) == 0);
}

void shut(void) {
  w.is_over = 1;
  steps_expect(uvch_mpsc_recv_shutdown(w.rx) == 0);
}

void close_receiver(void) {
  uvch_mpsc_receiver_t* rx = w.rx;

  w.is_over = 1;
  w.rx = NULL;
  steps_expect(uvch_close((uvch_handle_t*) rx, NULL) == 0);
  steps_free(rx);
}

void lose_loop(int loop) {
  int i;

  if (loop == FIRST)
    w.is_over = 1;
  w.has_gone[loop] = 1;
  fake_abandon(loop);
  for (i = 0; i < w.request_count; i++)
    if (w.requests[i].req != NULL && w.requests[i].req->loop == &fake_loops[loop])
      w.requests[i].status = UV_ECANCELED;
}

void attach(void) {
  steps_expect(uvch_attach(&fake_loops[FIRST], (uvch_handle_t*) w.rx) == 0);
}

static int taken(const void* items, int n) {
  int i;

  for (i = 0; i < n; i++)
    note_delivered(read_content((const char*) items + (size_t) i * item_size()));
  w.taking = 0;
  if (n == UV_EOF && w.end == 0)
    note_end();
  steps_expect(w.end == 0 || n < 0);
  return n;
}

int try_take_many(int max) {
  struct content items[MESSAGES];
  int n;

  w.taking = max;
  n = taken(items, uvch_mpsc_try_recv_many(w.rx, items, (size_t) max));
  steps_expect(n > 0 || n == UV_EAGAIN || n == UV_EOF);
  return n;
}

int try_take(void) {
  struct content item;
  int err;

  w.taking = 1;
  err = uvch_mpsc_try_recv(w.rx, &item);
  taken(&item, err == 0 ? 1 : err);
  steps_expect(err == 0 || err == UV_EAGAIN || err == UV_EOF);
  return err;
}

int take_many_wait(int max, uint64_t timeout) {
  struct content items[MESSAGES];
  int n;

  w.taking = max;
  n = taken(items, uvch_mpsc_recv_many_timedwait(w.rx, items, (size_t) max, timeout));
  steps_expect(n > 0 || n == UV_EOF || (n == UV_ETIMEDOUT && timeout != UINT64_MAX));
  w.status[self()] = n;
  return n;
}

int take_wait(uint64_t timeout) {
  struct content item;
  int err;

  w.taking = 1;
  err = uvch_mpsc_recv_timedwait(w.rx, &item, timeout);
  taken(&item, err == 0 ? 1 : err);
  steps_expect(err == 0 || err == UV_EOF || (err == UV_ETIMEDOUT && timeout != UINT64_MAX));
  w.status[self()] = err;
  return err;
}

int has_ended(void* arg) {
  (void) arg;
  return w.end != 0;
}

int has_got(void* count) {
  return w.delivered_count >= *(int*) count || w.end != 0;
}

static int is_something_there(const struct uvch__port* port, const struct uvch__slot* slot) {
  return slot->state >= UVCH__READY || port->head > UVCH__PORT_CLOSED;
}

static int is_spun_out(void* slot) {
  return is_something_there(uvch__port_find(&fake_loops[FIRST]), slot) || steps_others_are_done(FIRST);
}

void mpsc_steps_spin(struct uvch__port* port, struct uvch__slot* slot) {
  steps_expect(self() == FIRST && port->first == NULL);
  if (w.spins_long)
    steps_wait(&w.spins_long, STEPS_READ, __func__, is_spun_out, slot);
}

/* A long one has seen what there was. */
int mpsc_steps_spins_on(struct uvch__port* port, struct uvch__slot* slot) {
  steps_expect(!w.spins_long || !is_something_there(port, slot));
  return 0;
}

/* Another endpoint of the receiver's loop. */

static struct uvch__endpoint other;

static void end_other(struct uvch__endpoint* ep) {
  steps_expect(ep == &other);
  steps_at(&w.other_turns, STEPS_WRITE, __func__);
  w.other_turns++;
}

static void turn_of_other(struct uvch__endpoint* ep, struct uvch__port* port) {
  port->hand = NULL;
  end_other(ep);
}

static const struct uvch__endpoint_ops other_ops = {turn_of_other, end_other, NULL};

void append_other(void) {
  other.ops = &other_ops;
  uvch__port_append(uvch__port_find(&fake_loops[FIRST]), &other);
}

void post_other(void) {
  other.ops = &other_ops;
  uvch__port_push(uvch__port_find(&fake_loops[FIRST]), &other);
}

static int has_other_ended(void* arg) {
  (void) arg;
  return w.other_turns > 0;
}

void wait_for_other(void) {
  steps_wait(&w.other_turns, STEPS_WRITE, __func__, has_other_ended, NULL);
}

/* What senders do. */

int try_send(void) {
  struct content item;
  int id = begin_send(&item, 1, 0);

  return result(id, 1, uvch_mpsc_try_send(&w.tx[self()], &item));
}

int try_send_many(int count) {
  struct content items[MESSAGES];
  int first = begin_send(items, count, 0);

  return result(first, count, uvch_mpsc_try_send_many(&w.tx[self()], items, (size_t) count));
}

void mpsc_steps_queued(void) {
  int id = w.in_line[self()] - 1;

  if (id < 0 || w.messages[id].queued != 0)
    return;
  w.messages[id].queued = ++w.now;
  w.messages[id].waits = 1;
}

/* The messages' memory is the caller's again. */
static int end_wait(const void* items, int first, int count, int n, uint64_t timeout) {
  steps_at(items, STEPS_WRITE, __func__);
  w.in_line[self()] = 0;
  steps_expect(n != UV_EAGAIN && (n != UV_ETIMEDOUT || timeout != UINT64_MAX));
  w.status[self()] = n;
  return result(first, count, n);
}

int send_wait(uint64_t timeout) {
  struct content item;
  int id = begin_send(&item, 1, 0);

  w.in_line[self()] = id + 1;
  return end_wait(&item, id, 1, uvch_mpsc_send_timedwait(&w.tx[self()], &item, timeout), timeout);
}

int send_many_wait(int count, uint64_t timeout) {
  struct content items[MESSAGES];
  int first = begin_send(items, count, 0);

  w.in_line[self()] = first + 1;
  return end_wait(items, first, count, uvch_mpsc_send_many_timedwait(&w.tx[self()], items, (size_t) count, timeout), timeout);
}

static int reserved(int count, int err) {
  steps_expect(err == 0 || err == UV_EAGAIN || err == UV_EPIPE || err == UV_ETIMEDOUT);
  steps_expect(err != UV_EPIPE || w.is_over);
  if (err == 0)
    w.places += count;
  return err;
}

int try_reserve(int count) {
  w.held += count;
  return reserved(count, uvch_mpsc_try_reserve(&w.tx[self()], (size_t) count, &w.permits[self()]));
}

int reserve_wait(int count, uint64_t timeout) {
  int err;

  w.held += count;
  err = reserved(count, uvch_mpsc_reserve_timedwait(&w.tx[self()], (size_t) count, &w.permits[self()], timeout));
  steps_expect(err != UV_EAGAIN && (err != UV_ETIMEDOUT || timeout != UINT64_MAX));
  w.status[self()] = err;
  return err;
}

int permit_send(void) {
  struct content item;
  int id = begin_send(&item, 1, 1);

  w.places--;
  return result(id, 1, uvch_mpsc_permit_send(&w.permits[self()], &item));
}

void permit_release(void) {
  w.places -= (int) uvch_mpsc_permit_count(&w.permits[self()]);
  steps_expect(uvch_mpsc_permit_release(&w.permits[self()]) == 0);
}

void permit_give(int to, int count) {
  steps_expect(uvch_mpsc_permit_split(&w.permits[self()], (size_t) count, &w.permits[to]) == 0);
}

void permit_take_sender(void) {
  w.senders++;
  steps_expect(uvch_mpsc_permit_get_sender(&w.permits[self()], &w.tx[self()]) == 0);
}

int watch_wait(uint64_t timeout) {
  int err = uvch_mpsc_closed_timedwait(&w.tx[self()], timeout);

  steps_expect((err == 0 && w.is_over) || (err == UV_ETIMEDOUT && timeout != UINT64_MAX));
  w.status[self()] = err;
  return err;
}

void close_sender(void) {
  w.senders--;
  steps_expect(uvch_mpsc_sender_close(&w.tx[self()]) == 0);
}

void clone_sender(int to) {
  w.senders++;
  steps_expect(uvch_mpsc_sender_clone(&w.tx[self()], &w.tx[to]) == 0);
}

int upgrade(void) {
  int err = uvch_mpsc_weak_sender_upgrade(&w.weak[self()], &w.tx[self()]);

  steps_expect(err == 0 || (err == UV_EPIPE && w.senders == 0));
  w.senders += err == 0;
  return err;
}

void close_weak(void) {
  steps_expect(uvch_mpsc_weak_sender_close(&w.weak[self()]) == 0);
}

/* Requests. */

static struct request* request_of(const void* req) {
  int i;

  for (i = 0; w.requests[i].req != req; i++)
    steps_expect(i < w.request_count - 1);
  return &w.requests[i];
}

/* Its memory goes at once. */
static void told(struct request* r, int status) {
  uvch_req_t* req = r->req;

  steps_expect(steps_holds() == 0 && r->status == NONE);
  steps_expect(&fake_loops[self()] == req->loop || steps_self() < 0);
  steps_expect(status == 0 || status == UV_ECANCELED || (status == UV_EPIPE && w.is_over));
  r->req = NULL;
  r->status = status;
  steps_free(req);
}

static void on_sent(uvch_mpsc_send_t* req, int status) {
  struct request* r = request_of(req);

  steps_expect((int) req->sent <= r->count && ((int) req->sent == r->count || status != 0));
  end_send(r->first, r->count, (int) req->sent);
  told(r, status);
}

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  struct request* r = request_of(req);
  uvch_mpsc_permit_t permit = r->permit;

  if (status == 0) {
    steps_expect(permit.core == w.core && (int) permit.count == r->count);
    w.permits[self()] = permit;
    w.places += r->count;
  }
  told(r, status);
}

static void on_closed(uvch_mpsc_closed_t* req, int status) {
  steps_expect(status == UV_ECANCELED || (status == 0 && (w.is_over || w.senders == 0)));
  told(request_of(req), status);
}

static int new_request(int first, int count, size_t size) {
  steps_expect(w.request_count < REQUESTS);
  w.requests[w.request_count] = (struct request){.req = steps_calloc(size), .first = first, .count = count, .status = NONE};
  return w.request_count++;
}

static int begun(int i, int err) {
  struct request* r = &w.requests[i];

  steps_expect(err == 0 || (err == UV_EPIPE && w.is_over));
  r->begun = ++w.now;
  if (err != 0) {
    steps_free(r->req);
    r->req = NULL;
    r->status = err;
  }
  return err == 0 ? i : -1;
}

int send_request(int count) {
  struct content* items = steps_calloc(MESSAGES * sizeof *items);
  int first = begin_send(items, count, 0);
  int i = new_request(first, count, sizeof(uvch_mpsc_send_t));
  uvch_mpsc_send_t* req = (uvch_mpsc_send_t*) w.requests[i].req;
  int err = uvch_mpsc_send_many(own_loop(), req, &w.tx[self()], items, (size_t) count, on_sent);
  int k;

  if (err != 0)
    end_send(first, count, 0);
  for (k = 0; k < count && err == 0; k++) {
    w.messages[first + k].queued = ++w.now;
    w.messages[first + k].waits = 1;
  }
  return begun(i, err);
}

int reserve_request(int count) {
  int i = new_request(0, count, sizeof(uvch_mpsc_reserve_t));
  struct request* r = &w.requests[i];

  w.held += count;
  return begun(
      i, uvch_mpsc_reserve(own_loop(), (uvch_mpsc_reserve_t*) r->req, &w.tx[self()], (size_t) count, &r->permit, on_reserved));
}

int watch_request(void) {
  int i = new_request(0, 0, sizeof(uvch_mpsc_closed_t));

  return begun(i, uvch_mpsc_closed(own_loop(), (uvch_mpsc_closed_t*) w.requests[i].req, &w.tx[self()], on_closed));
}

int is_told(void* request) {
  int i = *(int*) request;
  return i < 0 || w.requests[i].status != NONE;
}

void cancel(int request) {
  int err;

  if (request < 0 || w.requests[request].req == NULL)
    return;
  err = uvch_cancel(w.requests[request].req);
  steps_expect(err == 0 || err == UV_EBUSY);
}

/* A stack for what a thread does. */

#define ASIDE_SIZE ((size_t) 64 * 1024)
#define ASIDES 8

static struct aside {
  void* stack;
  ucontext_t there;
  ucontext_t back;
  int is_lost;
} asides[ASIDES];
static int aside_count;

static void reset_asides(void) {
  for (; aside_count > 0; aside_count--)
    if (asides[aside_count - 1].is_lost && mprotect(asides[aside_count - 1].stack, ASIDE_SIZE, PROT_READ | PROT_WRITE) != 0)
      abort();
}

void aside(void (*what)(void)) {
  struct aside* a = &asides[aside_count++];

  steps_expect(aside_count <= ASIDES);
  if (a->stack == NULL)
    a->stack = mmap(NULL, ASIDE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (a->stack == MAP_FAILED || getcontext(&a->there) != 0)
    abort();
  a->there.uc_stack.ss_sp = a->stack;
  a->there.uc_stack.ss_size = ASIDE_SIZE;
  a->there.uc_link = &a->back;
  makecontext(&a->there, what, 0);
  if (swapcontext(&a->back, &a->there) != 0 || mprotect(a->stack, ASIDE_SIZE, PROT_NONE) != 0)
    abort();
  a->is_lost = 1;
}

/* Checks. All actors are done, so nothing is a step. */

static uint64_t word_now(void) {
  return w.core->word;
}

static int slots_parked(void) {
  char* slots = w.core->u.ring.slots;
  int n = 0;
  uint64_t i;

  for (i = 0; slots != NULL && i <= w.core->u.ring.mask; i++)
    n += uvch__ring_slot(w.core, slots, i)->state == UVCH__PARKED;
  return n;
}

/* Whatever has been posted was given a turn, or dropped with a loop that is gone, which closes the channel. */
static void expect_one_token(void) {
  struct uvch__core* c = w.core;
  int tokens = c->has_token + ((word_now() & UVCH__AT_TAIL) != 0) + slots_parked() + (c->home.word == 1);

  if (w.rx == NULL)
    return;
  steps_expect(tokens == 1 || (tokens == 0 && w.has_gone[FIRST] && (word_now() & UVCH__CLOSED) != 0));
}

/* Also those of a loop that is gone. */
static int requests_queued(int watch) {
  int n = 0;
  int i;

  for (i = 0; i < w.request_count; i++) {
    const uvch_req_t* req = w.requests[i].req;
    int is_queued = req != NULL && ((const struct uvch__waiter*) (const void*) req->waiter)->state == UVCH__QUEUED;
    steps_expect(is_queued || w.requests[i].status != NONE);
    n += is_queued && (req->type == UVCH_MPSC_CLOSED) == watch;
  }
  return n;
}

static int requests_that_wait(void) {
  return requests_queued(0);
}

static int being_sent_now(void) {
  int n = 0;
  int i;

  for (i = 0; i < w.count; i++)
    n += w.messages[i].whose == BEING_SENT;
  return n;
}

/* The word says what is so; who waits has a reason to. */
static void expect_balance(void) {
  struct uvch__core* c = w.core;
  struct uvch__queue* q = c->queue;
  uint64_t word = word_now();
  int waits = requests_that_wait();
  int is_closed = (word & UVCH__CLOSED) != 0;

  steps_expect(uvch__word_reserved(c, word) == (uint64_t) w.places);
  steps_expect(w.has_gone[FIRST] || is_closed == (w.is_over || (w.senders == 0 && w.places == 0 && waits == 0)));
  steps_expect(((word & UVCH__WAITERS) != 0) == (waits > 0) || is_closed);
  steps_expect(q == NULL || ((int) q->waiting == waits && uvch__list_is_empty(&q->list) == (waits == 0)));
  steps_expect((c->strong & UINT32_MAX) / UVCH__SENDER == (uint64_t) (w.senders + waits));
  if (waits > 0) {
    struct uvch__waiter* first = UVCH__CONTAINER(q->list.next, struct uvch__waiter, queue);
    int64_t need = first->kind == UVCH__RESERVE ? (int64_t) first->count : 1;
    steps_expect(!is_closed && uvch__room(c, word, c->head) < need);
  }
  steps_expect(!is_closed || requests_queued(1) == 0);
  if (w.rx != NULL) { /* a part of many messages may be in */
    int len = (int) uvch_mpsc_receiver_len(w.rx);
    steps_expect(len >= queued_now() && len <= queued_now() + being_sent_now());
  }
}

/* A receiver that is started has had everything. */
static void expect_received(void) {
  if (w.rx == NULL || w.has_gone[FIRST] || !(w.rx->loop != NULL && (uvch_is_active((uvch_handle_t*) w.rx) || w.end != 0)))
    return;
  steps_expect(queued_now() == 0);
  steps_expect((w.end != 0) == ((w.is_over || w.senders + requests_that_wait() == 0) && w.places == 0));
}

/* What is left comes, in its order; whoever waits gets in. */
static void take_the_rest(void) {
  int err;

  if (w.rx == NULL)
    return;
  do {
    err = try_take();
    fake_drain();
  } while (err == 0);
  steps_expect(queued_now() == 0);
  if (!w.has_gone[FIRST])
    steps_expect((err == UV_EOF) == ((w.is_over || w.senders + requests_that_wait() == 0) && w.places == 0));
}

static void close_all(void) {
  int i;

  for (i = 0; i < ACTORS; i++) {
    w.places -= (int) uvch_mpsc_permit_count(&w.permits[i]);
    uvch_mpsc_permit_release(&w.permits[i]);
  }
  fake_drain();
  w.senders = 0;
  for (i = 0; i < ACTORS; i++) {
    uvch_mpsc_sender_close(&w.tx[i]);
    uvch_mpsc_weak_sender_close(&w.weak[i]);
  }
  fake_drain();
  if (w.rx != NULL)
    close_receiver();
  fake_drain();
  for (i = 0; i < ACTORS; i++) /* what was granted just now */
    uvch_mpsc_permit_release(&w.permits[i]);
}

/* Plain bytes that were in when the receiver closed went without a word. */
static void expect_outcomes(void) {
  int i;

  for (i = 0; i < w.count; i++) {
    enum whose whose = w.messages[i].whose;
    steps_expect(whose == DELIVERED || whose == DROPPED || whose == REFUSED || (whose == QUEUED && !has_functions()));
  }
  for (i = 0; i < w.request_count; i++)
    steps_expect(w.requests[i].status != NONE);
}

/* The messages of requests whose loop is gone are anybody's: nobody can say what became of them. */
static void forget_lost(void) {
  int i;
  int k;

  for (i = 0; i < w.request_count; i++)
    if (w.requests[i].req != NULL && w.requests[i].status != NONE)
      for (k = 0; k < w.requests[i].count && w.requests[i].req->type == UVCH_MPSC_SEND; k++)
        if (w.messages[w.requests[i].first + k].whose == BEING_SENT)
          w.messages[w.requests[i].first + k].whose = REFUSED;
}

void check_all(void) {
  fake_drain();
  if (!has_end) {
    expect_one_token();
    expect_received();
    expect_balance();
    take_the_rest();
    expect_balance();
  }
  close_all();
  forget_lost();
  expect_outcomes();
  if (!has_end)
    uvch__core_unref(w.core);
  fakes_check();
}

void check_end(void) {
  fake_drain();
  steps_expect(w.end == UV_EOF && !uvch_is_active((uvch_handle_t*) w.rx));
  check_all();
}

/* Running them. */

static void prepare(const struct steps_program* program, int how) {
  variant = how / STEPS_OWN;
  has_end = (program->is_long & ENDS) != 0;
}

/* Those show as races on plain memory, of which not every compiler tells. */
static int is_of_orders(enum steps_bug bug) {
  return bug >= STEPS_MPSC_PUBLISH_IS_RELAXED;
}

static int is_left_out(const struct steps_program* program, enum steps_bug bug) {
  if (bug != STEPS_NO_BUG)
    return is_of_orders(bug) && !races_are_told;
  return (program->is_long & LONGER) != 0 && !steps_is_alone() && steps_scale() < 10;
}

static int ways_of(const struct steps_program* program, enum steps_bug bug) {
  if (is_left_out(program, bug))
    return 0;
  return (program->is_long & (LONG | LONGER)) != 0 ? 1 : VARIANTS + ((program->is_long & WEAK) != 0);
}

static int how_in(const struct steps_program* program, enum steps_bug bug, int way) {
  int how = STEPS_REDUCED | STEPS_SHORT;

  (void) bug;
  if ((program->is_long & (LONG | LONGER)) != 0)
    way = ONLY_BYTES;
  return how + (way < VARIANTS ? way * STEPS_OWN : ONLY_BYTES * STEPS_OWN + (STEPS_WEAK << SECOND));
}

int run_all(const char* name, const struct steps_program* programs, size_t count, const struct steps_wrong* bugs,
            size_t bug_count) {
  struct steps_suite suite = {
      .name = name,
      .legend = "Sequences: of messages that own things, of bytes; then with a weak compare-exchange that fails",
      .programs = programs,
      .program_count = count,
      .bugs = bugs,
      .bug_count = bug_count,
      .ways = ways_of,
      .how = how_in,
      .prepare = prepare,
  };

  return steps_main(&suite);
}
