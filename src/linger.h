/* SPDX-License-Identifier: MIT
 *
 * Two short waits of a loop that has delivered everything, before anything parks. Both only as long as they pay.
 *
 * Lingering: a receiver has caught up with a stream of messages. If it went on looking where a sender is about to write, the two
 * would pull that line of memory to and fro with every message, and if it went to sleep, every message would have to post it. So
 * it lets some come together first, without a look.
 *
 * Spinning: there was no stream, but the next message may be the answer to what the callback just sent. It is looked for in its
 * slot: who parks there makes its sender post, and the post costs more lines of memory than the message. And in the port's head,
 * where all else comes. A look at the kernel instead, as in the hot window, takes as long as the way there and back. Other events
 * wait meanwhile, so a pass of the loop begins no spin after its first 50 us. */
#ifndef UVCH_SRC_LINGER_H
#define UVCH_SRC_LINGER_H

#include "atomic.h"
#include "port.h"
#include "slot.h"

#define UVCH__LINGER_STREAM 4 /* messages in a row that make a stream */
#define UVCH__LINGER_MAX 4000 /* ns */
#define UVCH__LINGER_EACH 8   /* ns for each message of a bounded channel: a sender fills it in about that time */
#define UVCH__SPIN_MAX 2000   /* ns */
#define UVCH__SPIN_PASS 50000 /* ns */
#define UVCH__SPIN_LOOKS 4    /* between two looks at the clock */

/* uvch__linger: the receiver has had `n` messages in a row. 0: it does not pay. 1: some time has gone by; the caller looks, and
 * tells port->linger whether it was a hit. UVCH__LATE: the same, but the thread was taken off its processor meanwhile.
 * `capacity`: 0 without a bound. */
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

/* uvch__spin: nothing is there yet. 1: a message is in `slot`, or if that is NULL something was posted to the port. */
static inline int uvch__spin(struct uvch__port* port, struct uvch__slot* slot) {
  uint64_t now;
  uint64_t until;
  int i;

  if (port->hot.ceiling == 0 || !port->hot.is_near || port->live == 0 || port->closing != NULL || uvch__port_is_posted(port) ||
      uvch__backoff_skip(&port->spin))
    return 0;
  now = uv_hrtime();
  if (now > port->budget.spin_until)
    return 0;
  until = now + (port->hot.ceiling < UVCH__SPIN_MAX ? port->hot.ceiling : UVCH__SPIN_MAX);
  do {
    for (i = 0; i < UVCH__SPIN_LOOKS; i++) {
      int is_here = slot != NULL && uvch__slot_is_ready(slot);
      if (is_here || uvch__port_is_posted(port)) {
        uvch__backoff_hit(&port->spin);
        return is_here || slot == NULL;
      }
      uvch__relax();
    }
  } while (uv_hrtime() < until);
  uvch__backoff_miss(&port->spin);
  return 0;
}

#endif
