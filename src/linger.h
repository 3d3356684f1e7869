/* SPDX-License-Identifier: MIT
 *
 * A receiver on a loop that has caught up with a stream of messages. If it went on looking where a sender is about to write,
 * the two would pull that line of memory to and fro with every message, and if it went to sleep, every message would have to
 * post it. So it lets some come together first, without a look, and only as long as that pays. */
#ifndef UVCH_SRC_LINGER_H
#define UVCH_SRC_LINGER_H

#include "atomic.h"
#include "port.h"

#define UVCH__LINGER_STREAM 4 /* messages in a row that make a stream */
#define UVCH__LINGER_MAX 4000 /* ns */
#define UVCH__LINGER_EACH 8   /* ns for each message of a bounded channel: a sender fills it in about that time */

/* uvch__linger: the receiver has had `n` messages in a row. 0: it does not pay. 1: some time has gone by; the caller looks, and
 * tells port->linger whether it was a hit. UVCH__LATE: the same, but the thread was taken off its processor meanwhile.
 * `capacity`: 0 without a bound. */
enum { UVCH__LATE = 2 };

static inline int uvch__linger(struct uvch__port* port, uint64_t n, uint32_t capacity) {
  uint64_t until;
  uint64_t now;

  if (n < UVCH__LINGER_STREAM || uvch__hot_default() == 0 || uvch__backoff_skip(&port->linger))
    return 0;
  until = capacity > 0 && capacity < UVCH__LINGER_MAX / UVCH__LINGER_EACH ? capacity * UVCH__LINGER_EACH : UVCH__LINGER_MAX;
  until += uv_hrtime();
  do
    uvch__relax();
  while ((now = uv_hrtime()) < until);
  return now - until < UVCH__HOT_DESCHEDULED ? 1 : UVCH__LATE;
}

#endif
