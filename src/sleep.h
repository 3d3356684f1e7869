/* SPDX-License-Identifier: MIT
 *
 * A thread that waits in a channel's queue. */
#ifndef UVCH_SRC_SLEEP_H
#define UVCH_SRC_SLEEP_H

#include "queue.h"

/* uvch__may_sleep: 0, or UV_EPERM on the thread that runs the loop of a receiver that is open. */
int uvch__may_sleep(struct uvch__core* c);

/* uvch__sleep_queued: waits with `waiter`, whose kind, item and count are set, for at most `timeout` nanoseconds; UINT64_MAX: for
 * ever. The waiter's status; UV_ETIMEDOUT, UV_ENOMEM. What went in is in waiter->sent, whatever is returned. */
int uvch__sleep_queued(struct uvch__core* c, struct uvch__waiter* waiter, uint64_t timeout);

#endif
