/* SPDX-License-Identifier: MIT
 *
 * The feeder: each worker gets the next number as soon as it has room for one. A number is taken when its send is done with
 * status 0; if it is not, nobody has it, and it counts for nothing. */
#include "shutdown.h"

static void feed(struct lane* lane);

/* The workers have what they have, and get UV_EOF after it. */
static void end_if_done(struct feeder* feeder) {
  size_t i;

  if (!feeder->done || feeder->waiting > 0 || uvch_is_closing((uvch_handle_t*) &feeder->member.phase))
    return;
  for (i = 0; i < feeder->lane_count; i++)
    must(uvch_mpsc_sender_close(&feeder->lanes[i].tx), "close");
  member_leave(&feeder->member);
}

/* No more numbers. Those that wait for room come back, and with the last one it is the end. */
static void stop(struct feeder* feeder) {
  size_t i;

  feeder->done = 1;
  for (i = 0; i < feeder->lane_count; i++)
    if (feeder->lanes[i].waiting) {
      int r = uvch_cancel((uvch_req_t*) &feeder->lanes[i].send);
      must(r == UV_EBUSY ? 0 : r, "cancel"); /* it is in, or refused, and on_sent comes as well */
    }
  end_if_done(feeder);
}

static void on_sent(uvch_mpsc_send_t* send, int status) {
  struct lane* lane = send->data;
  struct feeder* feeder = lane->feeder;

  lane->waiting = 0;
  feeder->waiting--;
  if (status == 0)
    feeder->taken++;
  if (status == UV_EPIPE) /* the worker takes no more: whether we are told first, or it, is open */
    stop(feeder);
  else
    feed(lane);
}

static void feed(struct lane* lane) {
  struct feeder* feeder = lane->feeder;
  int r;

  if (feeder->done) {
    end_if_done(feeder);
    return;
  }
  lane->number = feeder->next;
  feeder->done = feeder->next == feeder->last;
  feeder->next++;
  r = uvch_mpsc_send(&feeder->member.loop, &lane->send, &lane->tx, &lane->number, on_sent);
  if (r == UV_EPIPE) {
    stop(feeder);
    return;
  }
  must(r, "send");
  lane->waiting = 1;
  feeder->waiting++;
}

static void on_phase(uvch_watch_receiver_t* rx, int status, const void* value) {
  struct feeder* feeder = rx->data;
  const enum phase* phase = value;
  size_t i;

  must(status, "phase"); /* control closes its sender after our receiver, so there is no UV_EOF */
  if (*phase != PHASE_RUNNING) {
    stop(feeder);
    return;
  }
  for (i = 0; i < feeder->lane_count; i++)
    feed(&feeder->lanes[i]);
}

void feeder_init(struct feeder* feeder, const uvch_watch_sender_t* phase, uint64_t first, uint64_t last) {
  size_t i;

  feeder->next = first;
  feeder->last = last;
  for (i = 0; i < feeder->lane_count; i++) {
    feeder->lanes[i].feeder = feeder;
    feeder->lanes[i].send.data = &feeder->lanes[i];
  }
  member_init(&feeder->member, phase, on_phase);
  feeder->member.phase.data = feeder;
}
