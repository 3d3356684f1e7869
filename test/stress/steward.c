/* SPDX-License-Identifier: MIT */
#include "steward.h"

/* A pass of the loop delivers 4,096 messages; a nested run in a callback as many once more, and then the rest of the outer pass. */
#define STARVED (3 * 4096)

static void on_timer(uv_timer_t* timer) {
  struct steward* steward = timer->data;

  expect(*steward->delivered - steward->at_timer <= STARVED);
  steward->at_timer = *steward->delivered;
}

/* Not in its own callback: some versions of libuv would call it again in the same pass, for ever. */
static void on_prepare(uv_prepare_t* prepare) {
  struct steward* steward = prepare->data;

  if (!uv_is_active((uv_handle_t*) &steward->timer))
    expect_eq(uv_timer_start(&steward->timer, on_timer, 0, 0), 0);
}

static void on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct steward* steward = rx->data;

  (void) item;
  expect_eq(status, 0);
  expect(*steward->delivered - steward->at_rival <= STARVED);
  steward->at_rival = *steward->delivered;
  expect_eq(uvch_mpsc_try_send(&steward->tx, NULL), 0);
}

void steward_start(struct steward* steward, struct player* self, const uint64_t* delivered) {
  uv_loop_t* loop = player_loop(self);

  memset(steward, 0, sizeof *steward);
  steward->self = self;
  steward->delivered = delivered;
  steward->at_timer = steward->at_rival = *delivered;
  expect_eq(uv_timer_init(loop, &steward->timer), 0);
  expect_eq(uv_prepare_init(loop, &steward->prepare), 0);
  steward->timer.data = steward->prepare.data = steward;
  expect_eq(uv_prepare_start(&steward->prepare, on_prepare), 0);
  expect_eq(uvch_mpsc_init(loop, &steward->rx, &steward->tx, 0, 1), 0);
  steward->rx.data = steward;
  expect_eq(uvch_mpsc_recv_start(&steward->rx, on_recv), 0);
  expect_eq(uvch_mpsc_try_send(&steward->tx, NULL), 0);
}

void steward_stop(struct steward* steward) {
  expect_eq(uvch_mpsc_sender_close(&steward->tx), 0);
  expect_eq(uvch_close((uvch_handle_t*) &steward->rx, NULL), 0);
  uv_close((uv_handle_t*) &steward->timer, NULL);
  uv_close((uv_handle_t*) &steward->prepare, NULL);
}
