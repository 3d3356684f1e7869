# SPDX-License-Identifier: MIT
# Puts bugs into copies of src/broadcast*.[ch] and of what watch channels have as well, src/group*.[ch] and src/hub*.[ch], each off
# unless steps_bug says so, see steps.h. A line that does not fit the sources any more shows as a bug that is not found.

# group.c: a group that goes to sleep, and one that ends.
s/atomic_load_explicit(&h->tail, memory_order_relaxed) == g->dry_at/(steps_has(STEPS_PARK_IGNORES_TAIL) || &)/
s/\(!uvch__hub_is_closed(h)\); /(steps_has(STEPS_PARK_IGNORES_END) || \1); /
/^static void cut(/,/^}/{
  s/h->ops->serve(/if (!steps_has(STEPS_CUT_SERVES_NOBODY)) &/
  s/h->receivers -= g->members/h->receivers -= steps_has(STEPS_CUT_COUNTS_ON) ? 0 : g->members/
}
/^static int unpark(/,/^}/s/unlink_from_parked(/if (!steps_has(STEPS_LEAVE_FORGETS_PARK)) &/
/^void uvch__group_wake(/,/^}/s/take_back(g))/(steps_has(STEPS_WAKE_HAS_NO_TOKEN) || &)/
/^void uvch__group_attach(/,/^}/s/g->has_token = 1/g->has_token = !steps_has(STEPS_ATTACH_LOSES_TOKEN)/
/^int uvch__group_sleep(/,/^}/{
  /uvch__home_disarm(/,/else/s/g->has_token = 1/g->has_token = !steps_has(STEPS_DISARM_LOSES_TOKEN)/
}

# hub.c
/^void uvch__put_strong(/,/^}/s/uvch__take_parked(/if (!steps_has(STEPS_END_WAKES_NOBODY)) &/
/^void uvch__take_all_parked(/,/^}/s/g->is_parked = 0/g->is_parked = steps_has(STEPS_TAKEN_STAYS_PARKED) ? 1 : 0/

# hub_wait.c: who waits for the end of the receivers.
/^static int wait_for_end(/,/^}/s/waits = h->receivers > 0/waits = h->receivers > 0 || steps_has(STEPS_WATCHER_DOES_NOT_LOOK)/
/^static int cancel_for_end(/,/^}/s/found = waiter->is_queued/found = waiter->is_queued || steps_has(STEPS_CANCEL_IGNORES_QUEUE)/
/^static int waits_on(/,/^}/s/if (!waiter_of(req)->is_watcher/if (steps_has(STEPS_WATCHER_DOES_NOT_LOOK_AGAIN) || !waiter_of(req)->is_watcher/

# broadcast_group.c: how far groups are.
/^void uvch__bgroup_settle(/,/^}/s/  uvch__serve(/  if (!steps_has(STEPS_GOT_ON_SERVES_NOBODY)) uvch__serve(/
/^void uvch__bgroup_leave(/,/^}/s/uvch__serve(/if (!steps_has(STEPS_LEAVE_SERVES_NOBODY)) &/

# broadcast.h
/^static inline void uvch__bgroup_advance/,/^}/s/else if (\(.*\)) {/else if (steps_has(STEPS_SECOND_IS_FORGOTTEN) || \1) {/
s/return \(atomic_load_explicit(slot, memory_order_acquire) == want\)/return steps_has(STEPS_READ_LOOKS_ONCE) || \1/

# broadcast_ring.c
/^void uvch__ring_put/,/^}/{
  s/atomic_store_explicit(&c->hub.tail, p + 1, memory_order_release);  /if (!steps_has(STEPS_TAIL_AFTER_SLOT)) &/
  s/atomic_store_explicit(slot, uvch__slot_number(p) - 1/if (!steps_has(STEPS_NO_ODD_NUMBER)) &/
  s/atomic_store_explicit(slot, uvch__slot_number(p), .*/&\n    if (steps_has(STEPS_TAIL_AFTER_SLOT)) atomic_store_explicit(\&c->hub.tail, p + 1, memory_order_release);/
}
s/atomic_fetch_add_explicit(&nodes\[i\]->refs/if (!steps_has(STEPS_PIN_HAS_NO_REFERENCE)) &/

s/uint64_t until = c->hub.groups != NULL ? c->min/uint64_t until = c->hub.groups != NULL ? c->min + (uint64_t) steps_has(STEPS_LETS_GO_TOO_FAR)/

# broadcast_send.c
/^static int put(/,/^}/s/uvch__take_parked(/if (!steps_has(STEPS_SEND_WAKES_NOBODY)) &/
/^static int has_room(/,/^}/s/uvch__bgroup_look(/if (!steps_has(STEPS_ROOM_IS_NOT_LOOKED_FOR)) &/
/^static int may_put(/,/^}/s/!has_room(c)/(!steps_has(STEPS_OVERWRITES_UNREAD) \&\& &)/
s/int waits = !/int waits = !steps_has(STEPS_WAITS_IS_CLEARED) \&\& !/
s/uvch__bgroup_note(g);/if (!steps_has(STEPS_GOT_ON_IS_NOT_NOTED)) &/
/^int uvch__bwait(/,/^}/s/atomic_store_explicit(&c->waits, 1/if (!steps_has(STEPS_WAITS_IS_NOT_SET)) &/
/^static int is_sender(/,/^}/s/return /return !steps_has(STEPS_WAITER_IS_NO_SENDER) \&\& /
/^int uvch__bwait_cancel(/,/^}/s/found = waiter->is_queued/found = waiter->is_queued || steps_has(STEPS_CANCEL_IGNORES_QUEUE)/

# broadcast_turn.c
/^static int tell(/,/^}/s/if (t->is_closed)/if (t->is_closed || (steps_has(STEPS_END_IS_SEEN_LATE) \&\& uvch__hub_is_closed(t->g->hub)))/

# broadcast_recv.c
s/return is_closed ? UV_EOF/return is_closed || (steps_has(STEPS_TAKE_SEES_END_LATE) \&\& uvch__hub_is_closed(g->group.hub)) ? UV_EOF/

# Memory orders.
/^void uvch__ring_put/,/^}/s/\(uvch__slot_number(p), \)memory_order_release/\1steps_order(STEPS_SLOT_IS_RELAXED, memory_order_release)/
/^static void store_words(/,/^}/s/memory_order_release/steps_order(STEPS_WORDS_ARE_RELAXED, &)/
/^static inline enum uvch__found uvch__ring_read(/,/^}/{
  /number = /s/memory_order_acquire/steps_order(STEPS_NUMBER_IS_RELAXED, &)/
  /to\[/s/memory_order_acquire/steps_order(STEPS_COPY_IS_RELAXED, &)/
}
/^void uvch__bgroup_settle(/,/^}/s/memory_order_seq_cst/(steps_has(STEPS_WAITS_IS_ACQ_REL) ? memory_order_acq_rel : &)/
/^int uvch__bwait(/,/^}/s/memory_order_seq_cst/(steps_has(STEPS_WAITS_IS_ACQ_REL) ? memory_order_release : &)/
/^void uvch__node_unref(/,/^}/s/memory_order_acq_rel/(steps_has(STEPS_NODE_UNREF_IS_RELEASE) ? memory_order_release : &)/
/^void uvch__group_unref(/,/^}/s/memory_order_acq_rel/(steps_has(STEPS_GROUP_UNREF_IS_RELEASE) ? memory_order_release : &)/
/^static inline void uvch__lock(/,/^}/s/memory_order_acquire/steps_order(STEPS_LOCK_IS_RELAXED, &)/
/^static inline void uvch__unlock(/,/^}/s/memory_order_release/steps_order(STEPS_UNLOCK_IS_RELAXED, &)/
s/\(h->closed, 1, \)memory_order_release/\1steps_order(STEPS_CLOSED_IS_RELAXED, memory_order_release)/
