/* SPDX-License-Identifier: MIT
 *
 * Every row of calls up to some length, on one thread, against a model of the channel that a few flags make up. */
#include "oneshot_support.h"

#include <stdio.h>

enum { SEND, GIVE_UP, RECV, STOP, SHUTDOWN, TAKE, RUN, CLOSE, RENEW, ATTACH, WATCH, CANCEL, CALLS };

static const char* const call_names[CALLS] = {"send", "give_up", "recv",  "stop",   "shutdown", "take",
                                              "run",  "close",   "renew", "attach", "watch",    "cancel"};

/* What a row may begin with, so that states which are far from the beginning are met, too; `more` calls of any kind follow. */
typedef struct start_s {
  size_t length;
  int row[5];
  size_t more;
} start_t;

static const start_t starts[] = {
    {0, {0}, 5},
    {2, {WATCH, RECV}, 4},
    {3, {RECV, SEND, STOP}, 4},
    {4, {RECV, RUN, SEND, STOP}, 4},
    {4, {RECV, SEND, STOP, TAKE}, 4}, /* the news of the outcome is on its way still */
    {4, {RECV, GIVE_UP, STOP, TAKE}, 4},
    {4, {RECV, RUN, STOP, SHUTDOWN}, 4},
    {5, {RECV, RUN, STOP, SHUTDOWN, TAKE}, 4},
    {5, {RECV, SEND, RUN, RENEW, RECV}, 3},
    {3, {SHUTDOWN, TAKE, RENEW}, 4}, /* with the sender of before */
};

enum { LONGEST = 12 };

/* What becomes of the request. */
enum { NO_REQUEST, WAITING, DUE, DONE };

typedef struct model_s {
  /* the channel */
  uv_loop_t* loop;
  uvch_oneshot_receiver_t rx;
  uvch_oneshot_sender_t tx;
  uvch_oneshot_sender_t old[LONGEST];
  outcome_t outcome;
  watcher_t watcher;
  drops_t drops;
  size_t closes;
  /* the model */
  bool attached;
  bool sender; /* open */
  bool gave_up;
  bool shut;
  bool value; /* in, not taken */
  bool taken;
  bool waits;
  bool closed;
  size_t sent; /* values, which are also their numbers */
  size_t dropped;
  size_t came; /* callbacks */
  size_t old_senders;
  int request;
  int request_status;
  /* the row */
  const int* row;
  size_t length;
  size_t at;
} model_t;

static void fail_row(const model_t* m, const char* what, long long value, long long wanted) {
  char text[200];
  size_t used = 0;
  size_t i;

  text[0] = '\0';
  for (i = 0; i < m->length && i <= m->at; i++) {
    used += (size_t) snprintf(text + used, sizeof(text) - used, " %s", call_names[m->row[i]]);
  }
  ck_abort_msg("after%s: %s is %lld, not %lld", text, what, value, wanted);
}

#define want(m, value, wanted)                \
  do {                                        \
    long long value_ = (long long) (value);   \
    long long wanted_ = (long long) (wanted); \
    if (value_ != wanted_) {                  \
      fail_row((m), #value, value_, wanted_); \
    }                                         \
  } while (0)

static void model_on_close(uvch_handle_t* handle) {
  model_t* m = (model_t*) (void*) ((char*) handle - offsetof(model_t, rx));

  m->closes += 1;
}

static bool has_end(const model_t* m) {
  return m->shut || m->gave_up;
}

static void tell(model_t* m, int status) {
  if (m->request == WAITING) {
    m->request = DUE;
    m->request_status = status;
  }
}

static void call_send(model_t* m) {
  uint64_t value = m->sent + 1;
  int wanted = !m->sender ? UV_EBADF : m->closed || m->shut ? UV_EPIPE : 0;

  want(m, uvch_oneshot_send(&m->tx, &value), wanted);
  if (wanted == 0) {
    m->value = true;
    m->sent += 1;
  }
  m->sender = false;
  tell(m, UV_ECANCELED);
}

static void call_give_up(model_t* m) {
  want(m, uvch_oneshot_sender_close(&m->tx), m->sender ? 0 : UV_EBADF);
  m->gave_up = m->gave_up || m->sender;
  m->sender = false;
  tell(m, UV_ECANCELED);
}

static void call_recv(model_t* m) {
  int wanted = m->closed ? UV_EBADF : !m->attached ? UV_EINVAL : m->waits ? UV_EALREADY : m->taken ? UV_EOF : 0;

  want(m, uvch_oneshot_recv(&m->rx, outcome_cb), wanted);
  m->waits = m->waits || wanted == 0;
}

static void call_stop(model_t* m) {
  want(m, uvch_oneshot_recv_stop(&m->rx), m->closed ? UV_EBADF : 0);
  m->waits = false;
}

static void call_shutdown(model_t* m) {
  want(m, uvch_oneshot_recv_shutdown(&m->rx), m->closed ? UV_EBADF : 0);
  if (!m->closed && m->sender) {
    m->shut = true;
    tell(m, 0);
  }
}

static void call_take(model_t* m) {
  uint64_t value = 0;
  int wanted = m->closed ? UV_EBADF : m->waits ? UV_EALREADY : m->taken ? UV_EOF : m->value ? 0 : has_end(m) ? UV_EOF : UV_EAGAIN;

  want(m, uvch_oneshot_try_recv(&m->rx, &value), wanted);
  want(m, value, wanted == 0 ? m->sent : 0);
  m->taken = m->taken || wanted == 0 || wanted == UV_EOF;
  m->value = m->value && wanted != 0;
}

static void call_run(model_t* m) {
  turn(m->loop);
  if (m->waits && (m->value || has_end(m))) {
    m->came += 1;
    want(m, m->outcome.status, m->value ? 0 : UV_EOF);
    want(m, m->outcome.value, m->value ? m->sent : m->outcome.value);
    m->waits = false;
    m->value = false;
    m->taken = true;
  }
  if (m->request == DUE) {
    m->request = DONE;
    want(m, m->watcher.calls, 1);
    want(m, m->watcher.status, m->request_status);
  }
  want(m, m->closes, m->closed && m->attached);
}

static void call_close(model_t* m) {
  int wanted = m->closed ? UV_EALREADY : 0;

  want(m, uvch_close((uvch_handle_t*) &m->rx, m->attached ? model_on_close : NULL), wanted);
  if (wanted == 0 && m->value) {
    m->dropped += 1;
    want(m, m->drops.last, m->sent);
    m->value = false;
  }
  m->closed = true;
  m->waits = false;
  tell(m, 0);
}

static void call_renew(model_t* m) {
  uvch_oneshot_sender_t fresh = {NULL, 0, 0};
  int wanted = m->closed ? UV_EBADF : !m->taken ? UV_EBUSY : 0;

  want(m, uvch_oneshot_renew(&m->rx, &fresh), wanted);
  if (wanted != 0) {
    return;
  }
  if (m->sender) {
    m->old[m->old_senders++] = m->tx;
  }
  m->tx = fresh;
  m->sender = true;
  m->gave_up = false;
  m->shut = false;
  m->taken = false;
}

static void call_attach(model_t* m) {
  int wanted = m->closed ? UV_EBADF : m->attached ? UV_EALREADY : 0;

  want(m, uvch_attach(m->loop, (uvch_handle_t*) &m->rx), wanted);
  m->attached = m->attached || wanted == 0;
}

static void call_watch(model_t* m) {
  if (m->request == WAITING || m->request == DUE) { /* one at a time */
    return;
  }
  want(m, try_watch(m->loop, &m->watcher, &m->tx), m->sender ? 0 : UV_EBADF);
  want(m, m->watcher.calls, 0);
  m->request = m->sender ? WAITING : NO_REQUEST;
  if (m->closed || m->shut) {
    tell(m, 0);
  }
}

static void call_cancel(model_t* m) {
  want(m, cancel(&m->watcher), m->request == NO_REQUEST ? UV_EINVAL : m->request == WAITING ? 0 : UV_EBUSY);
  tell(m, UV_ECANCELED);
}

static void (*const calls[CALLS])(model_t*) = {call_send, call_give_up, call_recv,  call_stop,   call_shutdown, call_take,
                                               call_run,  call_close,   call_renew, call_attach, call_watch,    call_cancel};

static void check_model(const model_t* m) {
  want(m, uvch_oneshot_receiver_is_empty(&m->rx), !m->value);
  want(m, uvch_oneshot_receiver_is_terminated(&m->rx), m->taken || m->closed);
  want(m, uvch_oneshot_sender_is_closed(&m->tx), !m->sender || m->closed || m->shut);
  want(m, uvch_is_active((const uvch_handle_t*) &m->rx), m->waits);
  want(m, uvch_is_closing((const uvch_handle_t*) &m->rx), m->closed);
  want(m, m->outcome.calls, m->came);
  want(m, m->drops.count, m->dropped);
}

static void end_row(model_t* m) {
  size_t i;

  m->at = m->length;
  if (!m->closed) {
    call_close(m);
  }
  call_run(m);
  check_model(m);
  want(m, uv_run(m->loop, UV_RUN_DEFAULT), 0); /* nothing is left */
  if (m->sender) {
    want(m, try_put(&m->tx), UV_EPIPE);
  }
  for (i = 0; i < m->old_senders; i++) {
    want(m, try_put(&m->old[i]), UV_EPIPE);
  }
  want(m, m->outcome.calls, m->came);
  want(m, m->drops.count, m->dropped);
}

static void try_row(uv_loop_t* loop, bool on_loop, const int* row, size_t length) {
  model_t m;

  memset(&m, 0, sizeof(m));
  m.loop = loop;
  m.row = row;
  m.length = length;
  m.sender = true;
  m.attached = on_loop;
  open_dropping(on_loop ? loop : NULL, &m.rx, &m.tx, &m.drops);
  m.rx.data = &m.outcome;
  for (m.at = 0; m.at < length; m.at++) {
    calls[row[m.at]](&m);
    check_model(&m);
  }
  end_row(&m);
}

/* All rows that go on from the first `at` calls. */
static void try_rows(uv_loop_t* loop, bool on_loop, int* row, size_t at, size_t length) {
  if (at == length) {
    try_row(loop, on_loop, row, length);
    return;
  }
  for (row[at] = 0; row[at] < CALLS; row[at]++) {
    try_rows(loop, on_loop, row, at + 1, length);
  }
}

/* Another receiver on the loop keeps what the loop's channels share, so that each row gets the memory of the one before. */
START_TEST(any_row_of_calls_does_what_the_model_says) {
  const start_t* start = &starts[_i / 2];
  bool on_loop = _i % 2 == 1;
  size_t work = support_scale(100);
  size_t length = start->length + (work >= 1000 ? start->more + 1 : work >= 100 ? start->more : start->more - 1);
  uvch_oneshot_receiver_t anchor;
  uvch_oneshot_sender_t anchor_tx;
  int row[LONGEST];
  uv_loop_t loop;

  support_loop_init(&loop);
  open_pair(&loop, &anchor, &anchor_tx);
  memcpy(row, start->row, start->length * sizeof(row[0]));
  try_rows(&loop, on_loop, row, start->length, length);
  drop_sender(&anchor_tx);
  close_rx(&anchor);
  support_loop_end(&loop);
}
END_TEST

START_TEST(any_row_of_calls_does_so_alone_on_its_loop) {
  int row[LONGEST];
  uv_loop_t loop;

  support_loop_init(&loop);
  try_rows(&loop, _i == 1, row, 0, support_scale(100) >= 100 ? 4 : 3);
  support_loop_end(&loop);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("oneshot_model");
  TCase* tcase = support_case(suite, "rows");

  tcase_add_loop_test(tcase, any_row_of_calls_does_what_the_model_says, 0, 2 * (int) COUNT(starts));
  tcase_add_loop_test(tcase, any_row_of_calls_does_so_alone_on_its_loop, 0, 2);
  return support_main(suite);
}
