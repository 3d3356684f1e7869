# SPDX-License-Identifier: MIT
# Puts bugs into copies of src/watch*.[ch], each off unless steps_bug says so, see steps.h; those in what broadcast channels have as
# well are in broadcast_bugs.sed. A line that does not fit the sources any more shows as a bug that is not found.

# watch_value.c: who looks at a value.
/^void uvch__value_pin(/,/^}/{
  s/struct uvch__node\* before = \*pin;/& struct uvch__node* early = steps_has(STEPS_PIN_LOOKS_EARLY) ? c->hub.current : NULL;/
  s/node = c->hub.current;/node = steps_has(STEPS_PIN_LOOKS_EARLY) ? early : c->hub.current;/
  s/set_refs(node, refs_of(node) + 1)/if (!steps_has(STEPS_PIN_HAS_NO_REFERENCE)) &/
  s/uvch__unlock(.*/&\n  if (steps_has(STEPS_PIN_LOOKS_LATE)) *version = atomic_load_explicit(\&c->hub.tail, memory_order_relaxed);/
}
/^void uvch__value_unpin(/,/^}/s/uvch__\(un\)*lock(/if (!steps_has(STEPS_UNPIN_HAS_NO_LOCK)) &/
/^void uvch__value_release(/,/^}/s/if (refs == 0 /if ((refs == 0 || steps_has(STEPS_NODE_IS_REUSED)) /

# watch_value.c: what replaces it.
/^static struct uvch__node\* put(/,/^}/{
  s/uvch__take_parked(/if (!steps_has(STEPS_SEND_WAKES_NOBODY)) &/
  s/atomic_store_explicit(&c->hub.tail/if (!steps_has(STEPS_VERSION_IS_LATE)) &/
  s/c->hub.current = node;/if (steps_has(STEPS_VALUE_IS_LATE)) { uvch__unlock(\&c->hub.lock); uvch__lock(\&c->hub.lock); }\n  &/
}
/^int uvch_watch_send(/,/^}/{
  s/uvch__due_do(/if (steps_has(STEPS_VERSION_IS_LATE)) atomic_fetch_add_explicit(\&c->hub.tail, 1, memory_order_release);\n  &/
}
/^static int put_after(/,/^}/s/done = /&steps_has(STEPS_REPLACE_IGNORES_OTHERS) || /
/^static int replace_at_once(/,/^}/s/is_ours = /&steps_has(STEPS_REPLACE_MOVES) || /

# watch.c: the end.
/^static void end_if_last(/,/^}/{
  s/c->hub.strong == 0/(steps_has(STEPS_VALUE_IGNORES_SENDERS) || &)/
  s/c->open == 0/(steps_has(STEPS_VALUE_IGNORES_RECEIVERS) || &)/
}
s/^  end_if_last(c, &due);/  if (steps_has(STEPS_VALUE_ENDS_TWICE)) { uvch__unlock(\&c->hub.lock); uvch__lock(\&c->hub.lock); }\n&/

# watch_recv.c
/^static void close_receiver(/,/^}/s/c->hub.ops->serve(/if (!steps_has(STEPS_LEAVE_SERVES_NOBODY)) &/
/^static inline const void\* look(/,/^}/s/newest(rx) != rx->version/(!steps_has(STEPS_LOOK_IS_OLD) \&\& &)/
s/rx->seen = rx->version;/rx->seen = steps_has(STEPS_UPDATE_SEES_NEWEST) ? newest(rx) : rx->version;/
/^int uvch_watch_mark_changed(/,/^}/s/if (uvch__member_is_started/if (!steps_has(STEPS_MARK_WAKES_NOBODY) \&\& uvch__member_is_started/
/^static int wait_moved(/,/^}/s/if (is_closed)/if (is_closed || (steps_has(STEPS_TAKE_SEES_END_LATE) \&\& uvch__hub_is_closed(rx->channel)))/

# watch_turn.c
/^static int is_ahead(/,/^}/s/  return /  if (steps_has(STEPS_ROUND_GOES_BACK)) return 0;\n&/
/^uint64_t uvch__watch_newest(/,/^}/s/ && !t->is_closed/ \&\& (steps_has(STEPS_ROUND_IGNORES_END) || !t->is_closed)/
/^static int deliver_value(/,/^}/s/rx->seen != snapshot.version/(steps_has(STEPS_TURN_GOES_BY_OLD) || &)/
/^struct uvch__snapshot uvch__snapshot_take(/,/^}/{
  s/|| \(taken.version != .*\);/|| (!steps_has(STEPS_TURN_GOES_BY_OLD) \&\& \1);/
  s/own->pin = NULL;/if (!steps_has(STEPS_SNAPSHOT_STAYS)) &/
}
/^int uvch__watch_deliver(/,/^}/s/if (!t->is_closed)/if (!t->is_closed \&\& !(steps_has(STEPS_END_IS_SEEN_LATE) \&\& uvch__hub_is_closed(t->g->hub)))/

# watch_wait.c
/^int uvch__wait_deliver(/,/^}/s/if (t->is_closed)/if (t->is_closed || (steps_has(STEPS_WAIT_SEES_END_LATE) \&\& uvch__hub_is_closed(t->g->hub)))/
/^static int cancel(/,/^}/s/uvch__group_start(/if (!steps_has(STEPS_CANCEL_WAKES_NOBODY)) &/
