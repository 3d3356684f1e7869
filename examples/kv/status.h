/* SPDX-License-Identifier: MIT
 *
 * A line on the terminal that tells how the server is doing. */
#ifndef KV_STATUS_H
#define KV_STATUS_H

#include "server.h"

struct status {
  uv_timer_t timer;
  const struct kv* kv;
  uint64_t last_commands;
  uint64_t last_time; /* uv_hrtime() */
  int width;          /* of the line that is shown */
};

/* status_start: once in a second, if standard output is a terminal. status_stop: and the line goes. */
void status_start(struct status* status, const struct kv* kv, uv_loop_t* loop);
void status_stop(struct status* status);

#endif
