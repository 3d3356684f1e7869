# SPDX-License-Identifier: MIT
# Puts bugs into copies of src/oneshot*.[ch], and of what other channels have as well, src/home.c, src/spares.c and src/watcher.c,
# each off unless steps_bug says so, see steps.h. A line that does not fit the sources any more shows as a bug that is not found.

# oneshot.h: every look at the state.
/^static inline uint32_t uvch__oneshot_load/,/^}/s/memory_order_acquire/steps_order(STEPS_LOAD_IS_RELAXED, &)/

# oneshot.c: the sender.
/^UVCH__INLINE uint32_t finish(/,/^}/{
  s/(state & UVCH__WATCHED)/(!steps_has(STEPS_SEND_LEAVES_WATCHERS) ? state \& UVCH__WATCHED : 0)/
  s/(state & UVCH__SHUT)/(!steps_has(STEPS_SEND_IGNORES_SHUT) ? state \& UVCH__SHUT : 0)/
  s/UVCH__IN_PARK | UVCH__SENDING/UVCH__IN_PARK | (!steps_has(STEPS_REPLY_IGNORES_SENDING) ? UVCH__SENDING : 0)/
  s/(token ? /(token \&\& !steps_has(STEPS_SEND_LEAVES_PARK) ? /
  s/memory_order_acq_rel/steps_order(STEPS_SEND_IS_RELAXED, &)/
}
/^void uvch__oneshot_sent(/,/^}/s/token = /token = !steps_has(STEPS_SENT_DOES_NOT_LOOK) \&\& /

# oneshot.c: the receiver.
/^uint32_t uvch__oneshot_shut(/,/^}/{
  s/after &= ~UVCH__IN_PARK/after \&= ~(!steps_has(STEPS_SHUTDOWN_LEAVES_PARK) ? UVCH__IN_PARK : 0)/
  s/^  if ((state/  if (!steps_has(STEPS_SHUTDOWN_TELLS_NOBODY) \&\& (state/
  s/^  return state/  return steps_has(STEPS_SHUTDOWN_LEAVES_PARK) ? state \& ~UVCH__IN_PARK : state/
}
/^int uvch__oneshot_park(/,/^}/s/if (uvch__oneshot_is_done/if (!steps_has(STEPS_PARK_DOES_NOT_LOOK) \&\& uvch__oneshot_is_done/
/^int uvch__oneshot_unpark(/,/^}/s/return /return steps_has(STEPS_TAKES_TOKEN_FOR_GRANTED) || /

# oneshot.c: the core.
/^void uvch__oneshot_begin(/,/^}/s/uvch__oneshot_load(c)/(!steps_has(STEPS_SAME_GENERATION) ? & : 0)/
/^void uvch__oneshot_let_go(/,/^}/s/memory_order_acq_rel/(steps_has(STEPS_LET_GO_IS_RELEASE) ? memory_order_release : &)/

# oneshot_recv.c
/^static void leave(/,/^}/s/& UVCH__VALUE/\& (!steps_has(STEPS_CLOSE_IGNORES_VALUE) ? UVCH__VALUE : 0)/

# oneshot_closed.c
/^static int is_over(/,/^}/s/& UVCH__SHUT/\& (!steps_has(STEPS_CLOSED_DOES_NOT_LOOK) ? UVCH__SHUT : 0)/

# home.c
/^void uvch__post(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_POST_IS_RELAXED, &)/

# spares.c
/^int uvch__spares_give(/,/^}/s/memory_order_release/steps_order(STEPS_GIVE_IS_RELAXED, &)/

# watcher.c
/^static struct uvch__watcher\* first(/,/^}/s/memory_order_acquire/steps_order(STEPS_FIRST_IS_RELAXED, &)/
/^void uvch__watch(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_WATCH_IS_RELAXED, &)/
/^static void unref(/,/^}/s/memory_order_acq_rel/(steps_has(STEPS_WATCHER_UNREF_IS_RELEASE) ? memory_order_release : &)/
