/* SPDX-License-Identifier: MIT
 *
 * A worker: numbers in, results out. While the printer has no room for a result it takes no number, so a slow output slows down
 * everything above it. */
#include <inttypes.h>
#include <stdio.h>

#include "shutdown.h"

/* How many divisions to do before the phase is looked at. */
enum { STRETCH = 4096 };

static void append(struct result* result, uint64_t prime) {
  int n = snprintf(result->text + result->len, sizeof(result->text) - result->len, " %" PRIu64, prime);

  result->len += (size_t) n;
}

int factors(struct member* member, uint64_t number, struct result* result) {
  uint64_t rest = number;
  uint64_t d = 2;
  int stretch = STRETCH;

  result->len = (size_t) snprintf(result->text, sizeof(result->text), "%" PRIu64 ":", number);
  while (d <= UINT32_MAX && d * d <= rest) {
    if (rest % d == 0) {
      append(result, d);
      rest /= d;
    } else {
      d += d == 2 ? 1 : 2;
    }
    if (--stretch == 0) {
      stretch = STRETCH;
      if (member_forced(member))
        return -1;
    }
  }
  if (rest > 1)
    append(result, rest);
  result->text[result->len++] = '\n';
  return 0;
}

/* All of it at once: what is still queued goes to drop_number. */
static void end(struct worker* worker) {
  if (uvch_is_closing((uvch_handle_t*) &worker->numbers))
    return;
  if (worker->sending) {
    int r = uvch_cancel((uvch_req_t*) &worker->send);
    must(r == UV_EBUSY ? 0 : r, "cancel"); /* on_sent comes in any case */
  }
  must(uvch_close((uvch_handle_t*) &worker->numbers, NULL), "close");
  must(uvch_mpsc_sender_close(&worker->results), "close");
  member_leave(&worker->member);
}

static void drop_number(void* item, void* arg) {
  struct worker* worker = arg;

  (void) item;
  worker->queued++;
}

static void on_number(uvch_mpsc_receiver_t* rx, int status, void* item);

static void on_sent(uvch_mpsc_send_t* send, int status) {
  struct worker* worker = send->data;

  worker->sending = 0;
  if (status != 0)
    worker->unsent++;
  if (status == UV_EPIPE) /* the printer has closed its receiver */
    end(worker);
  else if (!uvch_is_closing((uvch_handle_t*) &worker->numbers))
    must(uvch_mpsc_recv_start(&worker->numbers, on_number), "receive");
}

/* Most of the time there is room, and no request is needed. */
static void send_result(struct worker* worker) {
  int r = uvch_mpsc_try_send(&worker->results, &worker->result);

  if (r == UV_EAGAIN) {
    must(uvch_mpsc_recv_stop(&worker->numbers), "receive");
    r = uvch_mpsc_send(&worker->member.loop, &worker->send, &worker->results, &worker->result, on_sent);
    worker->sending = r == 0;
  }
  if (r == UV_EPIPE) {
    worker->unsent++;
    end(worker);
  } else {
    must(r, "send");
  }
}

static void on_number(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct worker* worker = rx->data;

  if (status == UV_EOF) {
    end(worker);
  } else if (factors(&worker->member, *(const uint64_t*) item, &worker->result) == 0) {
    send_result(worker);
  } else {
    worker->begun++;
    end(worker);
  }
}

static void on_phase(uvch_watch_receiver_t* rx, int status, const void* value) {
  struct worker* worker = rx->data;
  const enum phase* phase = value;

  must(status, "phase");
  if (*phase == PHASE_DRAINING)
    must(uvch_mpsc_recv_shutdown(&worker->numbers), "shutdown"); /* what is queued still comes, then UV_EOF */
  else if (*phase == PHASE_FORCED)
    end(worker);
}

void worker_init(struct worker* worker, const uvch_watch_sender_t* phase, uvch_mpsc_sender_t* numbers, size_t capacity,
                 uvch_mpsc_sender_t results) {
  uvch_mpsc_options_t options = {.drop = drop_number, .arg = worker};

  member_init(&worker->member, phase, on_phase);
  must(uvch_mpsc_init_ex(&worker->member.loop, &worker->numbers, numbers, sizeof(uint64_t), capacity, &options), "numbers");
  worker->results = results; /* a sender moves by its bytes */
  worker->member.phase.data = worker->numbers.data = worker->send.data = worker;
  must(uvch_mpsc_recv_start(&worker->numbers, on_number), "receive");
}
