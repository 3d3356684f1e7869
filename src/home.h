/* SPDX-License-Identifier: MIT
 *
 * Where an endpoint is posted: to its loop, or to the thread that waits at it.
 *
 * The token. The right to post an endpoint lies in exactly one place: in its park, with the poster who took the park away, in the
 * port (ready list, FIFO, hand), or with the receiver. Only its holder posts. The token has a reference to the endpoint's memory.
 *
 * Home, one word, so that a post and a move to another home cannot miss each other:
 *
 *   NONE --attach--> port            the loop gets every post from now on
 *   NONE --arm--> parker             a thread sleeps there
 *   NONE, parker --post--> POSTED    the token is back with the receiver; a parker is woken
 *   NONE, parker, POSTED --leave--> GONE      the receiver is closed; a later post drops the token
 *
 * Edges:
 *   [E1] post    CAS of home, acq_rel: what the poster did is seen by who finds POSTED [E2]
 *   [E2] attach, arm, disarm, leave   exchange of home, acq_rel: finds [E1], or makes it find what is new */
#ifndef UVCH_SRC_HOME_H
#define UVCH_SRC_HOME_H

#include "parker.h"
#include "port.h"

struct uvch__home {
  atomic_uintptr_t word;
};

/* uvch__post: give the endpoint's token to its home. Any thread. The caller need hold nothing but the token, and the pool's owner
 * where a parker has a pool. */
void uvch__post(struct uvch__home* home, struct uvch__endpoint* ep);

/* The receiver's side, one thread at a time. Each returns 1 if a post had come, so that the token is the receiver's; else 0. */
int uvch__home_attach(struct uvch__home* home, struct uvch__port* port);
int uvch__home_leave(struct uvch__home* home);

/* uvch__home_arm: the next post wakes `p` and lets go of one reference to it. */
int uvch__home_arm(struct uvch__home* home, struct uvch__parker* p);

/* uvch__home_disarm: not any more. 0: the parker was still there, and the reference is the caller's again. */
int uvch__home_disarm(struct uvch__home* home);

/* uvch__home_port: the port, or NULL. Any thread that holds the memory. */
struct uvch__port* uvch__home_port(struct uvch__home* home);

#endif
