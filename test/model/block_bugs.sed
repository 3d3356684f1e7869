# SPDX-License-Identifier: MIT
# Puts bugs into copies of the sources of unbounded mpsc channels, each off unless steps_bug says so, see steps.h. A line that does
# not fit the sources any more shows as a bug that is not found.

# block.c: no bugs. Blocks are as small as the program says, and there is memory if it says so.
s/^#define COUNT_MIN .*/extern uint64_t blocks_least;\n#define COUNT_MIN blocks_least/
s/^#define COUNT_MAX .*/extern uint64_t blocks_most;\nint blocks_have_memory(void);\n#define COUNT_MAX blocks_most/
/^static int grow(/,/^}/s/b = uvch__calloc(\(.*\));/b = blocks_have_memory() ? uvch__calloc(\1) : NULL;/
/^struct hand {/,/^}/s/^};/  struct uvch__block_head* early; \/* the hint before the claim *\/\n&/
s/struct hand hand = {NULL, 0};/struct hand hand = {NULL, 0, NULL};/

# linger.h: who spins looks twice, who lingers waits for no time. No bug.
s/^#define UVCH__SPIN_LOOKS .*/#define UVCH__SPIN_LOOKS 2/
/^static inline int uvch__spin(/,/^}/s/while (uv_hrtime() < until)/while (uv_hrtime() >= until)/
/^static inline int uvch__linger(/,/^}/s/while ((now = uv_hrtime()) < until)/while ((now = until) < until)/

# block.c: the sender's side.
/^static struct uvch__block\* reuse(/,/^}/s/b != NULL && i </b != NULL \&\& !steps_has(STEPS_SLOTS_STAY_READY) \&\& i </
/^static struct uvch__block_head\* advance(/,/^}/{
  s/^    if (!atomic_compare_exchange_strong/    if (steps_has(STEPS_LIMIT_BEFORE_LINK)) raise_limit(c, b->head.base + b->head.count);\n&/
  s/hand->top = below;/hand->top = steps_has(STEPS_BELOW_AFTER_LINK) ? b->u.below : below;/
  s/if (next == PARKED)/if (next == PARKED \&\& !steps_has(STEPS_LINK_WAKES_NOBODY))/
  s/return next == KILLED ? NULL/return next == KILLED \&\& !steps_has(STEPS_KILLED_IS_NOT_SEEN) ? NULL/
}
/^static struct uvch__block_head\* find(/,/^}/{
  s/seen = atomic_load_explicit(\(.*\));/seen = steps_has(STEPS_HINT_BEFORE_CLAIM) ? hand->early : atomic_load_explicit(\1);/
  s/if (h->base > index)/if (!steps_has(STEPS_LATE_GOES_ON_FROM_HINT) \&\& h->base > index)/
}
/ claim(struct uvch__core/,/^}/{
  s/if ((word & UVCH__CLOSED) != 0)/if ((word \& UVCH__CLOSED) != 0 \&\& !steps_has(STEPS_CLAIM_IGNORES_CLOSED))/
  s/& ~UVCH__AT_TAIL/\& ~(steps_has(STEPS_BLOCK_CLAIM_LEAVES_PARK) ? 0 : UVCH__AT_TAIL)/
  s/^      empty_hand(c, hand);/      if (!steps_has(STEPS_NO_MEMORY_LEAKS)) empty_hand(c, hand);/
  s/end - limit > hand->slots)/end - limit > hand->slots + (uint64_t) steps_has(STEPS_HAND_IS_SHORT))/
}
/ try_send(struct uvch__core/,/^}/{
  s/^  int err = claim(\(.*\));/  int err = ((void) (hand.early = steps_has(STEPS_HINT_BEFORE_CLAIM) ? atomic_load_explicit(\&c->s.hint, memory_order_acquire) : NULL), claim(\1));/
  s/^  if (hand.top != NULL)/  if (hand.top != NULL \&\& !steps_has(STEPS_HAND_IS_LOST))/
  s/(word & UVCH__AT_TAIL) != 0/(word \& UVCH__AT_TAIL) != 0 \&\& !steps_has(STEPS_CLAIM_WAKES_NOBODY)/
  s/uvch__settle(c, (int64_t) n)/uvch__settle(c, steps_has(STEPS_REST_IS_NOT_SETTLED) ? 1 : (int64_t) n)/
}

# block.c: the receiver's side.
/^static void recycle(/,/^}/{
  s/c->in_hand == 0/(c->in_hand == 0 || steps_has(STEPS_RECYCLE_IGNORES_CALLBACK))/
  s/c->u.list.oldest->u.retired_at <= c->next/(steps_has(STEPS_RECYCLE_DOES_NOT_WAIT) || &)/
}
/^static void retire(/,/^}/{
  s/^  uint64_t word;/  uint64_t early = steps_has(STEPS_TAIL_BEFORE_ALL) ? atomic_fetch_or_explicit(\&c->word, 0, memory_order_acq_rel) : c->next << c->shift;\n&/
  s/^  atomic_store_explicit(&c->first/  if (!steps_has(STEPS_FIRST_IS_LATE)) &/
  s/^  atomic_compare_exchange_strong_explicit(&c->s.hint/  if (steps_has(STEPS_TAIL_BEFORE_HINT)) early = atomic_fetch_or_explicit(\&c->word, 0, memory_order_acq_rel);\n  if (!steps_has(STEPS_HINT_STAYS_BACK)) &/
  s/word = atomic_fetch_or_explicit(\(.*\));\(.*\)$/word = steps_has(STEPS_TAIL_IS_NOT_READ) || steps_has(STEPS_TAIL_BEFORE_ALL) || steps_has(STEPS_TAIL_BEFORE_HINT) ? early : atomic_fetch_or_explicit(\1);\n  if (steps_has(STEPS_FIRST_IS_LATE)) atomic_store_explicit(\&c->first, next, memory_order_release);/
}
/^int uvch__blocks_park(/,/^}/s/return move_next/return steps_has(STEPS_PARKS_NOWHERE) || move_next/
/^static struct uvch__block_head\* kill_next(/,/^}/s/^  while (next <= PARKED) {/  if (steps_has(STEPS_NEXT_IS_NOT_KILLED) \&\& next <= PARKED) return NULL;\n&/
/^int uvch__blocks_sweep(/,/^}/{
  s/sweep->unpublished = c->in_hand;/sweep->unpublished = steps_has(STEPS_CLOSE_IGNORES_CALLBACK) ? 0 : c->in_hand;/
  s/sweep->unpublished += (int64_t) (tail - i);/if (!steps_has(STEPS_MISSING_ARE_NOT_COUNTED)) &/
}

# slot.h
/uvch__slot_follow(/,/^}/s/UVCH__FOLLOW, /steps_has(STEPS_FOLLOW_IS_READY) ? UVCH__READY : &/
/uvch__slot_kill(/,/^}/s/&& before)/\&\& (before || steps_has(STEPS_KILL_IGNORES_FIRST)))/

# core.h and core.c
/^static inline int uvch__fill(/,/^}/s/state == UVCH__PARKED) {/(state == UVCH__PARKED \&\& !steps_has(STEPS_PUBLISH_WAKES_NOBODY))) {/
/^uint64_t uvch__core_set(/,/^}/s/& ~UVCH__AT_TAIL/\& ~(steps_has(STEPS_SET_LEAVES_PARK) ? 0 : UVCH__AT_TAIL)/
/^void uvch__settle_begin(/,/^}/s/2 \* unpublished + 1/2 * (steps_has(STEPS_BLOCKS_END_AT_ONCE) ? 0 : unpublished) + 1/

# park.c
/^static enum uvch__park try_park(/,/^}/{
  s/if (uvch__front(c) != NULL)/if (!steps_has(STEPS_PARK_IGNORES_FRONT) \&\& uvch__front(c) != NULL)/
  s/if (!uvch__is_at(c, word))/if (!steps_has(STEPS_PARK_TAKES_ANY_FOR_TAIL) \&\& !uvch__is_at(c, word))/
  s/if (uvch__is_end(c, word))/if (!steps_has(STEPS_PARK_SEES_NO_END) \&\& uvch__is_end(c, word))/
}

# deliver.c, take.c, receive.c, senders.c
/^static void rest(/,/^}/s/if (p == UVCH__IS_READY/if (!steps_has(STEPS_REST_DOES_NOT_LOOK) \&\& p == UVCH__IS_READY/
/^static inline int take(/,/^}/{
  s/if (!uvch__is_at(c, word))/if (!(steps_has(STEPS_END_BEFORE_TAIL) \&\& uvch__is_end(c, word)) \&\& !uvch__is_at(c, word))/
}
/^static int sleep_until(struct uvch__core/,/^}/{
  /uvch__home_arm(/,/has_token = 1/s/has_token = 1/has_token = !steps_has(STEPS_BLOCK_ARM_LOSES_TOKEN)/
  s/err != 0 && uvch__unpark(c)/err != 0 \&\& (uvch__unpark(c) || steps_has(STEPS_LATE_HAS_TOKEN))/
  /uvch__home_disarm(/,/else/s/has_token = 1/has_token = !steps_has(STEPS_DISARM_LOSES_TOKEN)/
}
/^static void attach(uvch_handle_t/,/^}/s/c->has_token = 1/c->has_token = !steps_has(STEPS_ATTACH_LOSES_TOKEN)/
/^int uvch_mpsc_recv_shutdown(/,/^}/s/c->has_token = 1/c->has_token = !steps_has(STEPS_BLOCK_SHUTDOWN_LOSES_TOKEN)/
/^static void close_receiver(/,/^}/s/^    token = 1;/    token = !steps_has(STEPS_CLOSE_FORGETS_PARK);/
/^static void end_senders(/,/^}/s/UVCH__AT_TAIL) != 0)/UVCH__AT_TAIL) != 0 \&\& !steps_has(STEPS_END_WAKES_NOBODY))/

# Orders.
/^static struct uvch__block\* take_spare(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_SPARE_IS_NOT_ACQUIRED, &)/
/^static void give(struct uvch__core/,/^}/s/memory_order_acq_rel/steps_order(STEPS_SPARE_IS_RELAXED, &)/
/^static void raise_limit(/,/^}/s/memory_order_release/steps_order(STEPS_LIMIT_IS_RELAXED, &)/
/^static struct uvch__block_head\* advance(/,/^}/{
  /atomic_load/s/memory_order_acquire/steps_order(STEPS_SENDERS_WALK_IS_RELAXED, &)/
  s/memory_order_acq_rel/steps_order(STEPS_LINK_IS_RELAXED, &)/
}
/^static struct uvch__block_head\* find(/,/^}/{
  s/memory_order_acquire/steps_order(STEPS_HINT_IS_NOT_ACQUIRED, &)/
  s/memory_order_release/steps_order(STEPS_HINT_IS_RELAXED, &)/
}
/ claim(struct uvch__core/,/^}/{
  /c->cached/s/memory_order_acquire/steps_order(STEPS_LIMIT_IS_NOT_ACQUIRED, &)/
}
/^static void retire(/,/^}/{
  /fetch_or/s/memory_order_acq_rel/steps_order(STEPS_TAIL_READ_IS_RELAXED, &)/g
}
/^struct uvch__block_head\* uvch__blocks_next(/,/^}/s/memory_order_acquire/steps_order(STEPS_WALK_IS_RELAXED, &)/
/uvch__slot_publish(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_BLOCK_PUBLISH_IS_RELAXED, &)/
/uvch__slot_is_ready(/,/^}/s/memory_order_acquire/steps_order(STEPS_BLOCK_FRONT_IS_RELAXED, &)/
/uvch__slot_kill(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_BLOCK_KILL_IS_RELAXED, &)/
/^void uvch__settle(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_SETTLE_IS_RELAXED, &)/
/^void uvch__core_unref(/,/^}/s/memory_order_acq_rel/(steps_has(STEPS_CORE_UNREF_IS_RELEASE) ? memory_order_release : &)/
