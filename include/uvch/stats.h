/* SPDX-License-Identifier: MIT
 *
 * What a channel has done so far. */
#ifndef UVCH_STATS_H
#define UVCH_STATS_H

#include <stdio.h>
#include <uvch/core.h>
#include <uvch/mpsc.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A snapshot. Each number is exact for some moment of the call; they are not of the same moment unless the channel is quiet. Then
 * sent = received + dropped + depth. What a receive callback takes itself is received when that returns.
 *
 * The depth is looked at by the receiver when it was waked and every 4,096 messages, by a sender that finds no room, and by this
 * call; high_water is the greatest that was seen so. */
typedef struct uvch_stats_s {
  char name[UVCH_NAME_MAX + 1]; /* as the channel's options said; "" for none */
  uint64_t depth;               /* messages queued and not taken yet */
  uint64_t capacity;            /* the bound, UINT64_MAX for none */
  uint64_t reserved;            /* places that permits hold */
  uint64_t high_water;          /* the greatest depth that was seen, see below */
  uint64_t sent;                /* messages taken by the channel */
  uint64_t received;            /* messages taken out of it */
  uint64_t dropped;             /* messages given to the drop function, or thrown away for want of one */
  uint64_t full;                /* how often a try_send or try_reserve found no room, or a send, reserve, ... began to wait */
  uint64_t waiting;             /* threads and requests that wait for room now, those of `closed` not counted */
  uint64_t wakeups;             /* how often the receiver was waked, by a post to its loop or to its thread */
  uint64_t budget_cuts;         /* how often a pass of its loop ended, for its budget, with something left */
  uint64_t more[8];             /* 0 */
} uvch_stats_t;

/* uvch_mpsc_sender_get_stats, uvch_mpsc_receiver_get_stats: a snapshot of the channel.
 *
 * Threads:  any that may use that end; a receiver's also while its loop runs on another thread, as long as nobody closes it.
 * Returns 0, UV_EINVAL (NULL), UV_EBADF (closed). */
UVCH_EXTERN int uvch_mpsc_sender_get_stats(const uvch_mpsc_sender_t* tx, uvch_stats_t* stats);
UVCH_EXTERN int uvch_mpsc_receiver_get_stats(const uvch_mpsc_receiver_t* rx, uvch_stats_t* stats);

/* uvch_print_all: one line to `stream` for each handle of `loop`, as uv_print_all_handles(): [R] it has a reference
 * (uvch_ref), [A] it is active, [C] it is closing; then its type, its address and the numbers of its channel, of a oneshot its
 * state. For people, the format may change. Nothing for a NULL.
 *
 * Threads:  the loop's. */
UVCH_EXTERN void uvch_print_all(uv_loop_t* loop, FILE* stream);

#ifdef __cplusplus
}
#endif
#endif
