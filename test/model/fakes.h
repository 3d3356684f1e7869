/* SPDX-License-Identifier: MIT
 *
 * What the sources under test stand on, made small enough to go through: loops and a timer here, parkers in fake_parker.c, an
 * mpsc channel of one place in fake_channel.h. Each has the contract of the real one in as few steps as it can; the real ones have
 * models and tests of their own. */
#ifndef UVCH_TEST_MODEL_FAKES_H
#define UVCH_TEST_MODEL_FAKES_H

#include <uvch.h>

#include "port.h"

#define FAKE_LOOPS 3

/* Loop i is run by actor i, if it is used at all. */
extern uv_loop_t fake_loops[FAKE_LOOPS];

/* fakes_set_up: before every sequence. Without a pool, memory of cores is freed at once, and so no late touch of it is missed. */
void fakes_set_up(int has_pool);

/* fakes_check: after every sequence. Nothing is left in the ports, and nothing is left of the library's memory. */
void fakes_check(void);

/* fake_turn_maybe: turns of what is in the loop, or not: each way. fake_turn_until: turns until `is_over(arg)`. fake_turn_all: to
 * the end of all actors. */
void fake_turn_maybe(int loop);
void fake_turn_until(int loop, int (*is_over)(void* arg), void* arg);
void fake_turn_all(int loop);

/* fake_turn_nested: as fake_turn_maybe, in a callback. */
void fake_turn_nested(int loop);

/* fake_drain: after all actors, turns of what is in any loop. */
void fake_drain(void);

/* fake_budget: messages in one turn. fake_hot: the ceiling of loops that wait hot, in nanoseconds; 0: never. fake_on_post: told when
 * a loop is given a token. */
extern unsigned int fake_budget;
extern uint64_t fake_hot;
extern void (*fake_on_post)(const struct uvch__endpoint* ep);

/* fake_abandon: the program has closed the loop's libuv handles, and the port has seen it. */
void fake_abandon(int loop);

/* fake_fire: the time of the only timer is over. 0: it does not run. */
int fake_fire(void);

#endif
