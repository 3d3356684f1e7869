/* SPDX-License-Identifier: MIT
 *
 * An mpsc channel of one place, for calls. */
#ifndef UVCH_TEST_MODEL_FAKE_CHANNEL_H
#define UVCH_TEST_MODEL_FAKE_CHANNEL_H

#include <uvch.h>

#include "core.h"

/* fake_channel_set_up, fake_channel_check: before and after every sequence. */
void fake_channel_set_up(void);
void fake_channel_check(void);

/* What is put in lies in its only place. */

struct fake_message {
  uint64_t what;
  uvch_oneshot_sender_t reply;
};

enum fake_serve { FAKE_MOVE_IN, FAKE_CLOSE };

extern struct uvch__core fake_channel;
extern const uvch_mpsc_sender_t fake_sender;

/* fake_channel_set_full: whether a message has to wait. fake_serve: somebody makes room for who waits, or closes the channel. 0:
 * nobody waits, nor will. */
void fake_channel_set_full(int is_full);
int fake_serve(enum fake_serve how);

/* fake_take: waits for a message; 0: there is none, and will be none. */
int fake_take(struct fake_message* message);

/* fake_no_more: nobody puts a message in any more. */
void fake_no_more(void);

#endif
