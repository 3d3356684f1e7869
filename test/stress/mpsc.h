/* SPDX-License-Identifier: MIT
 *
 * A scene of one mpsc channel: part 0 receives, the others send, or wait for the end. */
#ifndef UVCH_TEST_STRESS_MPSC_H
#define UVCH_TEST_STRESS_MPSC_H

#include "stress.h"

enum mpsc_way { MPSC_THREAD, MPSC_LOOP, MPSC_MOVES };
enum mpsc_end { MPSC_DRAINS, MPSC_SHUTS, MPSC_CLOSES };

struct mpsc_scene {
  struct scene base;
  size_t capacity;
  size_t size;
  enum mpsc_way way;
  enum mpsc_end end;
  uint64_t end_at; /* messages after which the receiver brings the end about; so many come for sure */
  bool has_steward;
  bool watches[PARTS_MAX]; /* the part waits for the end, and does not send */
  uvch_mpsc_sender_t tx[PARTS_MAX];

  /* The receiver's. */
  struct player* self;
  uvch_mpsc_receiver_t rx;
  struct tally got[PARTS_MAX];
  uint64_t delivered;
  bool is_ended; /* UV_EOF has come, or it is closed */
  bool is_closed;
  bool is_shut;
  bool rests; /* it was stopped to go on outside of uv_run() */
};

/* mpsc_send: a part that sends, on a thread or on its loop. */
void mpsc_send(struct player* self, struct mpsc_scene* scene, size_t part);

#endif
