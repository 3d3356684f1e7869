/* SPDX-License-Identifier: MIT
 *
 * Nobody on a loop starves while a channel there is flooded: a timer that is always due, and another channel that always has one
 * message, have their turns. Counted in messages of the flood, not in time. */
#ifndef UVCH_TEST_STRESS_STEWARD_H
#define UVCH_TEST_STRESS_STEWARD_H

#include "stress.h"

struct steward {
  struct player* self;
  const uint64_t* delivered; /* messages of the flood so far */
  uv_prepare_t prepare;
  uv_timer_t timer;
  uint64_t at_timer;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t at_rival;
};

void steward_start(struct steward* steward, struct player* self, const uint64_t* delivered);

/* steward_stop: on the loop's thread. Their close callbacks are still to come. */
void steward_stop(struct steward* steward);

#endif
