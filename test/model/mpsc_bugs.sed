# SPDX-License-Identifier: MIT
# Puts bugs into copies of the sources of mpsc channels, each off unless steps_bug says so, see steps.h. A line that does not fit the
# sources any more shows as a bug that is not found. Those that make a load and a store of one operation are in mpsc_steps.c.

# send.c, core.h, take.c: what is copied out of the caller's memory, and into a slot or out of it, is a step. No bug.
s/uvch__item_copy(uvch__slot_item(c, s), \(item\|uvch__item_at(items, i, c->item_size)\),/(void) steps_at(\1, STEPS_READ, __func__), (void) steps_at(uvch__slot_item(c, s), STEPS_WRITE, __func__), &/
s/uvch__item_copy((char\*) items/(void) steps_at(uvch__slot_item(c, s), STEPS_READ, __func__), &/

# Statistics are numbers that nothing goes by; they are left out. No bug.
/^static inline void uvch__note_depth/,/^}/{
  s/^  unsigned int high = .*/  (void) c;\n  (void) depth;/
  s/^  unsigned int now = .*//
  /^  while/,/{}$/d
}
/^static inline int uvch__ring_full/,/^}/s/^  atomic_fetch_add.*/  (void) c;/
/^void uvch__note_wakeup/,/^}/{
  /^  if (c->is_parked)/,/;$/d
}

# deliver.c, linger.h, parker.c: turns are as short as the program says. Who lingers, spins or polls does so for a look or two, or, if
# the program says so, spins until there is something. No bug.
s/^#define TURN_MESSAGES .*/extern uint32_t mpsc_turn;\n#define TURN_MESSAGES mpsc_turn/
s/^#define ASK_EVERY .*/extern uint32_t mpsc_ask_every;\n#define ASK_EVERY mpsc_ask_every/
s/^#define UVCH__LINGER_STREAM .*/extern uint32_t mpsc_stream;\n#define UVCH__LINGER_STREAM mpsc_stream/
s/^#define UVCH__SPIN_LOOKS .*/#define UVCH__SPIN_LOOKS 2/
s/^#define POLLS .*/#define POLLS 1/
/^static inline int uvch__linger(/,/^}/s/while ((now = uv_hrtime()) < until)/while ((now = until) < until)/
/^static inline int uvch__spin(/i void mpsc_steps_spin(struct uvch__port* port, struct uvch__slot* slot);\nint mpsc_steps_spins_on(struct uvch__port* port, struct uvch__slot* slot);
/^static inline int uvch__spin(/,/^}/{
  s/uvch__relax();/mpsc_steps_spin(port, slot);/
  s/while (uv_hrtime() < until)/while (uv_hrtime() < until \&\& mpsc_steps_spins_on(port, slot))/
}
/^static int wait_hot(/,/^}/s/while (now < deadline && uvch__hot_poll(&p->hot, now))/while (now > began \&\& now < deadline)/

# slot.h
s/return state == UVCH__READY || (state == UVCH__FOLLOW && before)/return state == UVCH__READY || (state == UVCH__FOLLOW \&\& (before || steps_has(STEPS_FOLLOW_IS_A_MESSAGE)))/

# Memory orders, in slot.h, receiver.h, ring.c, core.c.
/^static inline unsigned int uvch__slot_publish/,/^}/s/memory_order_acq_rel/steps_order(STEPS_MPSC_PUBLISH_IS_RELAXED, &)/
/^static inline int uvch__slot_is_ready/,/^}/s/memory_order_acquire/steps_order(STEPS_MPSC_FRONT_IS_RELAXED, &)/
/^static inline void uvch__give_room/,/^}/s/memory_order_release/steps_order(STEPS_HEAD_IS_RELAXED, &)/
/^int uvch__ring_make/,/^}/s/memory_order_acq_rel/steps_order(STEPS_RING_IS_RELAXED, &)/
/^void uvch__core_unref/,/^}/s/memory_order_acq_rel/steps_order(STEPS_MPSC_UNREF_IS_RELAXED, &)/

# core.h: claiming and filling.
/^UVCH__INLINE int uvch__ring_claim/,/^}/{
  s/if ((word & UVCH__CLOSED) != 0)$/if ((word \& UVCH__CLOSED) != 0 \&\& !steps_has(STEPS_CLAIM_IGNORES_END))/
  s/if ((word & UVCH__WAITERS) != 0)$/if ((word \& UVCH__WAITERS) != 0 \&\& !steps_has(STEPS_CLAIM_PASSES_WAITERS))/
  s/head = atomic_load_explicit(&c->head, memory_order_acquire);/head = steps_has(STEPS_CLAIM_BY_OLD_HEAD) ? head : atomic_load_explicit(\&c->head, memory_order_acquire);/
  s/int64_t room = uvch__room(c, word, head);/int64_t room = uvch__room(c, word, head) + steps_has(STEPS_CLAIM_OF_TOO_MANY);/
  s/room = uvch__room(c, word, head);$/room = uvch__room(c, word, head) + steps_has(STEPS_CLAIM_OF_TOO_MANY);/
  s/(word + n \* uvch__tail_one(c)) & ~UVCH__AT_TAIL/(word + n * uvch__tail_one(c)) \& ~(steps_has(STEPS_MPSC_CLAIM_LEAVES_PARK) ? 0 : UVCH__AT_TAIL)/
}
/^static inline int uvch__fill(/,/^}/{
  s/if (s != NULL) {/& if (steps_has(STEPS_PUBLISH_BEFORE_COPY)) state = uvch__slot_publish(s);/
  s/    state = uvch__slot_publish(s);$/    if (!steps_has(STEPS_PUBLISH_BEFORE_COPY)) state = uvch__slot_publish(s);/
  s/if (token || state == UVCH__PARKED)/if ((token \&\& !steps_has(STEPS_CLAIM_POSTS_NOBODY)) || (state == UVCH__PARKED \&\& !steps_has(STEPS_PUBLISH_POSTS_NOBODY)))/
  s/if (!is_held)/if (!is_held \&\& !steps_has(STEPS_PERMIT_POSTS_WITHOUT_REFERENCE))/
}

# core.c: the debt.
/^void uvch__settle(/,/^}/s/if (atomic/if (!steps_has(STEPS_DEBT_IS_NOT_PAID) \&\& atomic/
s/    uvch__core_ref(c);  *\/\* a ring goes/    if (!steps_has(STEPS_DEBT_HAS_NO_REFERENCE)) &/
/^static void end_storage/,/^}/s/    uvch__core_unref(c);/    { if (!steps_has(STEPS_DEBT_HAS_NO_REFERENCE)) uvch__core_unref(c); }/

# senders.c
/^static void end_senders/,/^}/{
  s/    uvch__post(/    if (!steps_has(STEPS_LAST_POSTS_NOBODY)) &/
  s/  uvch__ask_closed(/  if (!steps_has(STEPS_LAST_TELLS_NOBODY)) &/
}
/^int uvch__strong_revive/,/^}/{
  s/if ((strong & LIVE) == 0)/if ((strong \& LIVE) == 0 \&\& !steps_has(STEPS_UPGRADE_IGNORES_END))/
  s/? REVIVAL : 0/\&\& !steps_has(STEPS_REVIVAL_IS_NOT_COUNTED) &/
}
/^void uvch__permits_end/,/^}/s/uvch__word_reserved(c, word) == 0 &&/(steps_has(STEPS_LAST_IGNORES_PERMITS) || uvch__word_reserved(c, word) == 0) \&\&/
/^void uvch__strong_put/,/^}/s/    uvch__permits_end(c)/    if (!steps_has(STEPS_LAST_FORGETS_PERMITS)) &/
/^int uvch_mpsc_sender_close/,/^}/s/  uvch__core_\(un\)*ref(c)/  if (!steps_has(STEPS_SENDER_HAS_NO_REFERENCE)) &/

# receive.c
/^int uvch_mpsc_recv_shutdown/,/^}/{
  s/c->has_token = 1;/c->has_token = !steps_has(STEPS_MPSC_SHUTDOWN_LOSES_TOKEN);/
  s/  uvch__ask_closed(/  if (!steps_has(STEPS_SHUTDOWN_TELLS_NO_WAITER)) &/
}
/^static void close_receiver/,/^}/{
  s/(word & UVCH__AT_TAIL) != 0/(&\&\& !steps_has(STEPS_CLOSE_LOSES_TOKEN))/
  s/  uvch__ask_closed(/  if (!steps_has(STEPS_CLOSE_TELLS_NOBODY)) &/
  s/if (c->in_hand == 0)/if (c->in_hand == 0 || steps_has(STEPS_CLOSE_FREES_IN_HAND))/
  s/uint64_t tail = uvch__word_tail(c, word);/uint64_t tail = uvch__word_tail(c, word) - (steps_has(STEPS_CLOSE_SWEEPS_EARLY) \&\& uvch__word_tail(c, word) > c->next);/
}
s/if (uvch__home_attach(&c->home, port))/if (uvch__home_attach(\&c->home, port) \&\& !steps_has(STEPS_MPSC_ATTACH_LOSES_TOKEN))/

# receiver.h, park.c, take.c, deliver.c
/^static inline int uvch__is_end/,/^}/s/uvch__word_reserved(c, word) == 0/(steps_has(STEPS_END_IGNORES_PERMITS) || &)/
/^static enum uvch__park try_park/,/^}/{
  s/if (uvch__is_end(c, word))/if (uvch__is_end(c, word) \&\& !steps_has(STEPS_PARK_IGNORES_CLOSED))/
  s/      if (atomic_compare/      if (steps_has(STEPS_PARK_TAKES_ANY_WORD)) { atomic_fetch_or_explicit(\&c->word, UVCH__AT_TAIL, memory_order_acq_rel); return UVCH__IS_PARKED; }\n&/
}
/^int uvch__unpark/,/^}/s/uvch__slot_unpark(uvch__next_slot(c))/(uvch__slot_unpark(uvch__next_slot(c)) || steps_has(STEPS_UNPARK_IS_SURE))/
/^static inline int take(/,/^}/{
  s/    uvch__ask_room(c)/    if (!steps_has(STEPS_TAKE_ASKS_NOBODY)) &/
}
/^static int sleep_until(struct uvch__core/,/^}/{
  s/if (uvch__home_arm(&c->home, p))/if (uvch__home_arm(\&c->home, p) \&\& !steps_has(STEPS_MPSC_ARM_LOSES_TOKEN))/
  /uvch__home_disarm/,/else/s/c->has_token = 1/c->has_token = !steps_has(STEPS_MPSC_DISARM_LOSES_TOKEN)/
}
/^static void turn(/,/^}/{
  s/if (!more || asks_early() || port->first != NULL || port->budget.left == 0)/if ((!more \&\& !steps_has(STEPS_END_ASKS_NOBODY)) || asks_early() || (port->first != NULL \&\& !steps_has(STEPS_OTHERS_TURN_ASKS_NOBODY)) || (port->budget.left == 0 \&\& !steps_has(STEPS_CUT_ASKS_NOBODY)))/
  s/    uvch__ask_room(c);/    if (!steps_has(STEPS_TURN_ASKS_NOBODY)) &/
}
/^UVCH__INLINE int deliver_some(/,/^}/{
  s/^      uvch__ask_room(c); \/\* the nested/      if (!steps_has(STEPS_NESTED_ASKS_NOBODY)) &/
  s/    if ((n & (ASK_EVERY - 1)) < got && asks_early())/    if (!steps_has(STEPS_LONG_TURN_ASKS_NOBODY) \&\& (n \& (ASK_EVERY - 1)) < got \&\& asks_early())/
  s/      s = uvch__front(c);/      s = steps_has(STEPS_LINGER_IS_SURE) ? uvch__next_slot(c) : uvch__front(c);/
}
/^static int spin(struct uvch__core/,/^}/{
  s/port->first != NULL/(port->first != NULL \&\& !steps_has(STEPS_SPIN_IGNORES_FIFO))/
  s/    uvch__ask_room(c);/    if (!steps_has(STEPS_SPIN_ASKS_NOBODY)) &/
}
/^static inline int uvch__spin(/,/^}/{
  s/if (is_here || uvch__port_is_posted(port))/if (is_here || (uvch__port_is_posted(port) \&\& !steps_has(STEPS_SPIN_IGNORES_POSTS)))/
  s/int is_here = slot != NULL && uvch__slot_is_ready(slot);/int is_here = slot != NULL \&\& !steps_has(STEPS_SPIN_IGNORES_SLOT) \&\& uvch__slot_is_ready(slot);/
}
/^static void drop(/,/^}/s/  uvch__core_set(/  if (!steps_has(STEPS_DROP_LEAVES_OPEN)) &/

# queue.c
/^static size_t need_of/,/^}/s/waiter->kind == UVCH__RESERVE ?/!steps_has(STEPS_NEED_IS_ONE) \&\& &/
/^static int arm(/,/^}/{
  s/    atomic_exchange_explicit(&c->wanted/    if (!steps_has(STEPS_ARM_DOES_NOT_ASK)) &/
  s/  word = atomic_load/  if (steps_has(STEPS_ARM_DOES_NOT_LOOK)) return 0;\n&/
}
/^static int claim(/,/^}/{
  s/if (room < (int64_t) need_of(waiter))/if (!(steps_has(STEPS_CLAIM_IGNORES_NEED) \&\& room > 0) \&\& room < (int64_t) need_of(waiter))/
  s/after = word + n \* UVCH__RESERVED_ONE;/after = word + (n + (size_t) steps_has(STEPS_RESERVED_TWICE)) * UVCH__RESERVED_ONE;/
  s/if (is_last &&/if ((is_last || steps_has(STEPS_WAITERS_IS_CLEARED)) \&\&/
}
/^static int move_in(/,/^}/s/    waiter->item = /    if (!steps_has(STEPS_PART_FORGETS_ITEMS)) &/
/^static void serve(/,/^}/{
  s/    more = arm(c, left);/    if (waiter != NULL \&\& steps_has(STEPS_TOLD_BEFORE_IT_IS_IN)) { waiter->status = 0; waiter->tell(waiter, c); }\n&/
  s/      waiter->tell(waiter, c);$/      if (!steps_has(STEPS_TOLD_BEFORE_IT_IS_IN)) &/
  s/} while (more &&/} while (more \&\& !steps_has(STEPS_SERVE_ONE_ONLY) \&\&/
}
/^struct uvch__parker\* uvch__queue_parker/,/^}/s/  unlock_and_serve(c, q);/  if (steps_has(STEPS_PARKER_SERVES_NOBODY)) uv_mutex_unlock(\&q->lock); else\n&/
/^int uvch__queue_wait/,/^}/{
  s/err = set_waiters(c, 1);/err = steps_has(STEPS_WAITERS_IS_NOT_SET) || steps_has(STEPS_WAITERS_IS_SET_LATE) ? 0 : set_waiters(c, 1);/
  s/uvch__list_append(waiter->kind == UVCH__WATCH ? &q->watchers : &q->list,/uvch__list_append(waiter->kind == UVCH__WATCH ? \&q->watchers : steps_has(STEPS_LINE_IS_A_STACK) ? q->list.next : \&q->list,/
  s/  unlock_and_serve(c, q);/&\n  if (err == 0 \&\& waiter->kind != UVCH__WATCH \&\& steps_has(STEPS_WAITERS_IS_SET_LATE)) set_waiters(c, 1);/
}
/^int uvch__queue_cancel/,/^}/{
  s/found = waiter->state == UVCH__QUEUED;/found = waiter->state == UVCH__QUEUED || steps_has(STEPS_CANCEL_IGNORES_MOVING);/
  s/    unlink_waiter(/    if (!steps_has(STEPS_CANCEL_LEAVES_WAITER)) &/
  s/      set_waiters(c, 0)/      if (!steps_has(STEPS_CANCEL_LEAVES_WAITERS)) &/
  s/  unlock_and_serve(c, q);/  if (steps_has(STEPS_CANCEL_SERVES_NOBODY)) uv_mutex_unlock(\&q->lock); else\n&/
}

# sleep.c: the thread is in the line from here on. No bug.
/^int uvch__sleep_queued/i void mpsc_steps_queued(void);
/^int uvch__sleep_queued/,/^}/s/  err = uvch__queue_wait(c, q, waiter);$/&\n  if (err == 0) mpsc_steps_queued();/
/^static void tell(struct uvch__waiter\* waiter, struct uvch__core\* c) {/,/^}/{
  s/  uvch__parker_unref(p);/  uvch__parker_unref(steps_has(STEPS_TOUCH_AFTER_TELL) ? waiter->parker : p);/
}
/^int uvch__sleep_queued/,/^}/{
  s/  if (waiter->state == UVCH__IDLE)/  if (waiter->state == UVCH__IDLE \&\& !steps_has(STEPS_SLEEPER_KEEPS_PARKER))/
  s/      uvch__parker_wait(waiter->parker, UINT64_MAX);/      if (!steps_has(STEPS_LATE_SLEEPER_DOES_NOT_WAIT)) &/
}

# permit.c
/^void uvch__give_back/,/^}/{
  s/  uvch__core_\(un\)*ref(c);/  if (!steps_has(STEPS_GIVE_BACK_HAS_NO_REFERENCE)) &/
  s/    uvch__post(/    if (!steps_has(STEPS_GIVE_BACK_POSTS_NOBODY)) &/
  s/  uvch__ask(c);/  if (!steps_has(STEPS_GIVE_BACK_ASKS_NOBODY)) &/
  s/    uvch__permits_end(c);/    if (!steps_has(STEPS_GIVE_BACK_DOES_NOT_END)) &/
}
/^int uvch_mpsc_permit_send/,/^}/{
  s/if ((word & UVCH__DEAD_WORD) != 0) {/if ((word \& UVCH__DEAD_WORD) != 0 \&\& !steps_has(STEPS_PERMIT_IGNORES_DEAD)) {/
  s/    uvch__permits_end(c);/    if (!steps_has(STEPS_PERMIT_DOES_NOT_END)) &/
  s/(word - UVCH__RESERVED_ONE +/(word - (steps_has(STEPS_PERMIT_KEEPS_ITS_PLACE) ? 0 : UVCH__RESERVED_ONE) +/
}

# mpsc_request.c
/^static void forget/,/^}/s/    uvch__give_back(/    if (!steps_has(STEPS_FORGET_KEEPS_PLACES)) &/
/^static int cancel(/,/^}/s/if (waiter->kind != UVCH__WATCH)/if (waiter->kind != UVCH__WATCH \&\& !steps_has(STEPS_CANCEL_KEEPS_SENDER))/
/^static int enqueue/,/^}/s/int counts = /int counts = !steps_has(STEPS_REQUEST_IS_NO_SENDER) \&\& /
/^static void tell(/,/^}/s/  if (waiter->kind != UVCH__WATCH)/  if (waiter->kind != UVCH__WATCH \&\& !steps_has(STEPS_REQUEST_IS_NO_SENDER))/

# parker.c
/^static struct uvch__parker\* begin/,/^}/s/  atomic_store_explicit(&p->state/  if (!steps_has(STEPS_SLEEPER_IS_NOT_RESET)) &/
