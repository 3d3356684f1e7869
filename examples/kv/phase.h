/* SPDX-License-Identifier: MIT
 *
 * How far the server is on its way to its end: the value of a watch channel that every loop with clients follows. */
#ifndef KV_PHASE_H
#define KV_PHASE_H

#include "kv.h"

/* It only ever goes up. */
enum phase {
  PHASE_RUNNING,
  PHASE_ENDING, /* no new connections and no new commands; what was taken is answered, then connections are closed */
  PHASE_ENDED   /* connections are closed at once; what the shards have taken is done, and what they did is on the disk */
};

UVCH_WATCH_DEFINE(phase, enum phase);

/* phase_raise: go on to `phase`, unless it is there or further. Any thread. */
void phase_raise(const phase_sender_t* tx, enum phase phase);

#endif
