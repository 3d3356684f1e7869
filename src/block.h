/* SPDX-License-Identifier: MIT
 *
 * The slots of an unbounded channel, in linked blocks.
 *
 *     before      oldest                first                      hint
 *    [ empty ]   [ read, not yet ] -> [ the receiver reads ] -> [ senders begin here ] -> NULL, PARKED or KILLED
 *                [ given back    ]
 *
 * Blocks cover all indices without a gap, from `base` on; the core holds an empty one before the first, so that the first is
 * linked, parked at and killed like the others. They grow from 16 slots to 512 while a channel is used.
 *
 * Sender: make sure, from the word and then the limit, that the blocks in its hand cover its index; claim; only then load the
 * hint. If that block lies past its index, start at the receiver's block, which cannot pass an unpublished slot. Walk, link what
 * is missing, raise the limit, move the hint, publish, and give back what is left in the hand. So a failed allocation claims
 * nothing, and nobody waits for a sender that was preempted. Who needs another block while the receiver is far behind first lets
 * other threads run.
 *
 * Receiver, at the end of a block whose next is linked: its own block, then the hint, then the tail by a read-modify-write, in
 * this order. A sender that could still hold the old pointer has claimed an index below that tail; so once the receiver has read
 * up to it, all of them have published, and the block goes to the next sender as the spare, or is freed.
 *
 * Close: KILLED into the missing next, DEAD into the slots. The debt (core.h) counts indices that the receiver found unpublished;
 * each sender that finds DEAD or KILLED counts its own off, and who makes it even frees the blocks.
 *
 * Edges:
 *   [B1] link    CAS of next, acq_rel: the block and its base are seen by who walks [B2]; finds the receiver parked
 *   [B2] walk    load of next, acquire
 *   [B3] limit   CAS, release, after [B1]; acquire by who reads it
 *   [B4] hint    CAS, release; load, acquire, after the claim [C1]: the retiring read of the word forbids an older one
 *   [B5] first   store, release, by the receiver; load, acquire, after the claim
 *   [B6] spare   exchange or CAS, acq_rel: a block changes hands */
#ifndef UVCH_SRC_BLOCK_H
#define UVCH_SRC_BLOCK_H

#include <stddef.h>

#include "atomic.h"

struct uvch__core;
struct uvch__slot;
struct uvch__sweep;

struct uvch__block_head {
  atomic_uintptr_t next; /* 0, PARKED, KILLED, or the next block's address */
  uint64_t base;
  uint64_t count;
};

struct uvch__block {
  struct uvch__block_head head;
  union {
    uint64_t retired_at;       /* read to its end: given back when the receiver has read this far */
    struct uvch__block* below; /* in a sender's hand */
  } u;
  _Alignas(max_align_t) char slots[];
};

/* uvch__blocks_try_send, _many: all in, 0; UV_EPIPE or UV_ENOMEM, none. */
int uvch__blocks_try_send(struct uvch__core* c, const void* item);
int uvch__blocks_try_send_many(struct uvch__core* c, const void* items, size_t count);

/* The receiver's. */

/* uvch__blocks_next: the receiver has read its block to the end: goes to the next one; NULL if that is not linked yet. */
struct uvch__block_head* uvch__blocks_next(struct uvch__core* c, struct uvch__block_head* h);

/* uvch__blocks_park: parks at the next message, which is claimed and not published. 0: something has come. */
int uvch__blocks_park(struct uvch__core* c);

/* uvch__blocks_unpark: takes that park back. 0: somebody else has it. */
int uvch__blocks_unpark(struct uvch__core* c);

/* uvch__blocks_trim: frees the spare; the receiver is at the tail. */
void uvch__blocks_trim(struct uvch__core* c);

/* uvch__blocks_sweep: the receiver closes: drops what is there up to `tail`. 1: it was parked, the token is the caller's. */
int uvch__blocks_sweep(struct uvch__core* c, uint64_t tail, struct uvch__sweep* sweep);

/* uvch__blocks_end: frees all blocks; nobody touches them any more. */
void uvch__blocks_end(struct uvch__core* c);

/* For a forked child: the slot of `index`, searched from `*block` on, or NULL if it has none; and the list made consistent after
 * the tail was set back. */
struct uvch__slot* uvch__blocks_slot(struct uvch__core* c, struct uvch__block_head** block, uint64_t index);
void uvch__blocks_refork(struct uvch__core* c);

/* uvch__blocks_free: the core goes. */
void uvch__blocks_free(struct uvch__core* c);

#endif
