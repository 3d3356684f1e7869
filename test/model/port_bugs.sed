# SPDX-License-Identifier: MIT
# Puts bugs into copies of src/port.c and of what lies around it, each off unless steps_bug says so, see steps.h. A line that does not fit
# the sources any more shows as a bug that is not found.

# What is done after a fork is not done by the other actors. No bug.
1i\
#define steps_at fake_at\
#define steps_load fake_load\
#define steps_look fake_look

# registry.[ch]: what each thread has, each actor has. No bug.
s/^extern UVCH__THREAD_LOCAL \(.*\) uvch__registry_cache;/extern \1 uvch__registry_cache[STEPS_ACTORS + 1];/
s/^UVCH__THREAD_LOCAL \(.*\) uvch__registry_cache;/\1 uvch__registry_cache[STEPS_ACTORS + 1];/
s/= &uvch__registry_cache;/= \&uvch__registry_cache[fake_actor()];/
s/^  uvch__registry_cache = /  uvch__registry_cache[fake_actor()] = /

# registry.c: a sequence that is not run to its end leaves ports behind. No bug.
/^static struct shard\* shard_of(/,/^}/s/^}/}\n\nvoid steps_forget_ports(void) {\n  memset(shards, 0, sizeof shards);\n  atomic_init(\&uvch__registry_version, 0);\n\
  memset(uvch__registry_cache, 0, sizeof uvch__registry_cache);\n  make_locks();\n}/

# wake.c: descriptors that wake a loop of fake_uv.c. No bug.
/^static void on_poll(/,/^}/s/ read(/ fake_read(/
/^static int eventfd_open(/,/^}/{
  s/ eventfd(/ fake_eventfd(/
  s/ close(/ fake_close(/
}
/^static void eventfd_signal(/,/^}/s/ write(/ fake_write(/
/^static void eventfd_release(/,/^}/s/ close(/ fake_close(/

# port.c: when a signal was sent matters to who waits hot only. No bug.
s/atomic_store_explicit(&port->signalled_at/if (port->hot.ceiling > 0) &/
s/^    note_hit(port);/    if (port->hot.ceiling > 0) note_hit(port);/

# linger.h: a spin is two looks, or, if the program says so, lasts until there is something. No bug.
s/^#define UVCH__SPIN_LOOKS .*/#define UVCH__SPIN_LOOKS 2/
/^static inline int uvch__spin(/,/^}/{
  s/uvch__relax();/steps_spin(port);/
  s/while (uv_hrtime() < until)/while (steps_spins_on(port) \&\& uv_hrtime() < until)/
}

# linger.h: the port spins.
/^static inline int uvch__spin(/,/^}/{
  s/port->live == 0/(port->live == 0 \&\& !steps_has(STEPS_SPIN_IGNORES_END))/
  s/port->closing != NULL/(port->closing != NULL \&\& !steps_has(STEPS_SPIN_IGNORES_CLOSE))/
  s/if (now > port->budget.spin_until)/if (now > port->budget.spin_until \&\& !steps_has(STEPS_SPIN_BEGINS_LATE))/
  s/if (is_here || uvch__port_is_posted(port))/if (is_here || (uvch__port_is_posted(port) \&\& !steps_has(STEPS_PORT_SPIN_IGNORES_POSTS)))/
}

# port.c: its end. That the loop's actor waits instead of looking again and again is no bug.
/^static void try_end(/,/^}/s/^  if (port->state != ENDING/  if (port->state == ENDING)\n    steps_look_late(port);\n&/

# port.c: who pushes.
/^static int push_on_asleep(/,/^}/{
  s/uvch__port_ref(port)/if (!steps_has(STEPS_PUSH_HAS_NO_REFERENCE)) &/
  s/uvch__port_unref(port)/if (!steps_has(STEPS_PUSH_HAS_NO_REFERENCE)) &/
  s/atomic_fetch_\(add\|sub\)_explicit(&port->late/if (!steps_has(STEPS_PUSH_IS_NOT_COUNTED)) &/
  s/^  ep->next = ASLEEP;/  if (steps_has(STEPS_PUSH_WAKES_FIRST)) uvch__wake_signal(port->wake);\n&/
  s/uvch__wake_signal(port->wake);$/if (!steps_has(STEPS_PUSH_WAKES_NOBODY) \&\& !steps_has(STEPS_PUSH_WAKES_FIRST)) &/
  s/^  if (done) {/  if (steps_has(STEPS_PUSH_IS_COUNTED_OFF_EARLY)) atomic_fetch_sub_explicit(\&port->late, 1, memory_order_release);\n&/
  s/^  if (!steps_has(STEPS_PUSH_IS_NOT_COUNTED)) atomic_fetch_sub/  if (!steps_has(STEPS_PUSH_IS_NOT_COUNTED) \&\& !steps_has(STEPS_PUSH_IS_COUNTED_OFF_EARLY)) atomic_fetch_sub/
}
/^void uvch__port_push(/,/^}/{
  s/  ep->ops->drop(ep);/  if (!steps_has(STEPS_PUSH_KEEPS_TOKEN)) &/
}
/^static void kill_head(/,/^}/s/  drop_chain(\(.*\)); /  uintptr_t h = \1;\n  if (!steps_has(STEPS_END_KEEPS_LIST)) drop_chain(h); /
/^static void kill_fifo(/,/^}/{
  s/while ((ep/while (!steps_has(STEPS_END_KEEPS_FIFO) \&\& (ep/
}

# port.c: what keeps the loop going.
/^void uvch__port_hold(/,/^}/s/update_ref(/if (!steps_has(STEPS_HOLD_IS_LOST)) &/
/^void uvch__port_release(/,/^}/s/update_ref(/if (!steps_has(STEPS_RELEASE_IS_LOST)) &/
/^void uvch__port_append(/,/^}/s/turn_idle_on(/if (!steps_has(STEPS_APPEND_LEAVES_IDLE)) &/
/^void uvch__port_close_handle(/,/^}/s/    turn_idle_on(/    if (!steps_has(STEPS_CLOSE_LEAVES_IDLE)) turn_idle_on(/

# port.c: its end.
/^static void try_end(/,/^}/s/atomic_load_explicit(&port->late, memory_order_acquire) > 0/(!steps_has(STEPS_END_IGNORES_LATE) \&\& &)/
/^static void on_handle_closed(/,/^}/{
  s/free_orphans(/if (!steps_has(STEPS_END_KEEPS_ORPHANS)) &/
  s/uvch__registry_remove(/if (!steps_has(STEPS_END_STAYS_KNOWN)) &/
  s/  let_go(port);/  if (steps_has(STEPS_END_LETS_GO_TWICE)) let_go(port);\n&/
}
/^static void end(/,/^}/s/uvch__registry_retire(/if (!steps_has(STEPS_END_IS_NOT_RETIRED)) &/
/^static void orphan(/,/^}/{
  s/kill_head(/if (!steps_has(STEPS_ORPHAN_TAKES_POSTS)) &/
  s/^  uvch__registry_orphan(port);/  if (steps_has(STEPS_ORPHAN_IS_LET_GO)) { uvch__registry_remove(port); let_go(port); } else uvch__registry_orphan(port);/
}
/^int uvch__port_is_broken(/,/^}/s/port->timers.is_made/!steps_has(STEPS_BROKEN_IGNORES_TIMER) \&\& &/
/^static int make(/,/^}/s/while ((stranded/while (!steps_has(STEPS_STRANDED_IS_LEFT) \&\& (stranded/
s/^#define ORPHAN_PASSES 3/#define ORPHAN_PASSES (steps_has(STEPS_ORPHAN_HAS_NO_TIME) ? 0u : 3u)/

# port.c: a pass.
/^static void rest(/,/^}/{
  s/^  if (!atomic/  if (steps_has(STEPS_REST_BY_STORE)) atomic_store_explicit(\&port->head, ASLEEP, memory_order_relaxed);\n  else if (steps_has(STEPS_REST_STOPS_FIRST)) { uv_idle_stop(\&port->idle); return; }\n  else if (steps_has(STEPS_REST_STOPS_ANYWAY)) atomic_compare_exchange_strong_explicit(\&port->head, \&h, ASLEEP, memory_order_acq_rel, memory_order_relaxed);\n  else if (!atomic/
}
/^static void settle(/,/^}/{
  s/else if (port->first == NULL)/else if (port->first == NULL || steps_has(STEPS_RESTS_WITH_WORK))/
}
/^static void run(/,/^}/{
  s/  turn_idle_on(/  if (!steps_has(STEPS_RUN_LEAVES_IDLE)) turn_idle_on(/
  s/if (port->hand != NULL)/if (port->hand != NULL \&\& !steps_has(STEPS_NESTED_LEAVES_HAND))/
}
/^static void deliver_closed(/,/^}/s/uvch__port_release(/if (!steps_has(STEPS_CLOSED_HOLDS_ON)) &/
/^int uvch__port_refork(/,/^}/{
  s/atomic_store_explicit(&port->late/if (!steps_has(STEPS_FORK_KEEPS_LATE)) &/
}

# registry.c
/^void uvch__registry_\(add\|remove\|retire\)(/,/^}/s/uv_mutex_\(un\)*lock(/if (!steps_has(STEPS_REGISTRY_HAS_NO_LOCK)) &/
/^struct uvch__port\* uvch__registry_search(/,/^}/s/uv_mutex_\(un\)*lock(/if (!steps_has(STEPS_REGISTRY_HAS_NO_LOCK)) &/
/^static void change(/,/^}/s/atomic_fetch_add/if (!steps_has(STEPS_REGISTRY_TELLS_NOBODY)) &/

# home.c, parker.c, wake.c
/^int uvch__home_attach(/,/^}/s/return move(\(.*\));/{ int was = move(\1); return was \&\& !steps_has(STEPS_HOME_ATTACH_LOSES_TOKEN); }/
/^int uvch__home_arm(/,/^}/s/return move(\(.*\));/{ int was = move(\1); return was \&\& !steps_has(STEPS_HOME_ARM_LOSES_TOKEN); }/
/^int uvch__home_disarm(/,/^}/s/return move(\(.*\));/{ int was = move(\1); return was \&\& !steps_has(STEPS_HOME_DISARM_LOSES_TOKEN); }/
/^int uvch__home_leave(/,/^}/s/return move(\(.*\));/{ int was = move(\1); return was \&\& !steps_has(STEPS_HOME_LEAVE_LOSES_TOKEN); }/
/^void uvch__post(/,/^}/s/        uvch__parker_wake(p);/        if (!steps_has(STEPS_POST_WAKES_NOBODY)) uvch__parker_wake(p);/
/^void uvch__parker_wake(/,/^}/s/uv_mutex_\(un\)*lock(/if (!steps_has(STEPS_WAKE_HAS_NO_LOCK)) &/
/^static void sleep_until(/,/^}/s/if (atomic_compare_exchange_strong_explicit(&p->state, &state, SLEEPING, memory_order_acq_rel,/if (steps_has(STEPS_SLEEP_BY_STORE) ? ((void) atomic_store_explicit(\&p->state, SLEEPING, memory_order_release), 1) : atomic_compare_exchange_strong_explicit(\&p->state, \&state, SLEEPING, memory_order_acq_rel,/
/^static void sleep_until(/,/^}/s/        uv_cond_wait(/        steps_at(\&p->cond, STEPS_READ, __func__); \/* a thread may be stopped before it waits; no bug *\/\n&/
/^static void on_poll(/,/^}/{
  s/^  do$/  if (steps_has(STEPS_WAKE_IS_READ_LATE)) wake->on_wake(wake);\n&/
  s/^  wake->on_wake/  if (!steps_has(STEPS_WAKE_IS_READ_LATE)) wake->on_wake/
}

# Memory orders.
/^static int push_on_asleep(/,/^}/{
  s/memory_order_acq_rel/steps_order(STEPS_PUSH_IS_RELAXED, &)/
  s/memory_order_release/steps_order(STEPS_LATE_IS_RELAXED, &)/
}
/^void uvch__port_push(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_PUSH_ON_NODES_IS_RELAXED, &)/
/^static void collect(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_COLLECT_IS_RELAXED, &)/
/^static void kill_head(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_PORT_KILL_IS_RELAXED, &)/
/^static void try_end(/,/^}/s/memory_order_acquire/steps_order(STEPS_END_IS_RELAXED, &)/
/^void uvch__port_unref(/,/^}/s/memory_order_acq_rel/(steps_has(STEPS_PORT_UNREF_IS_RELEASE) ? memory_order_release : &)/
/^void uvch__post(/,/^}/{
  s/memory_order_acq_rel/steps_order(STEPS_HOME_POST_IS_RELAXED, &)/
  s/ = atomic_load_explicit(\(.*\), memory_order_acquire)/ = atomic_load_explicit(\1, steps_order(STEPS_HOME_LOAD_IS_RELAXED, memory_order_acquire))/
}
/^static int move(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_HOME_MOVE_IS_RELAXED, &)/
/^void uvch__parker_unref(/,/^}/s/memory_order_acq_rel/(steps_has(STEPS_PARKER_UNREF_IS_RELEASE) ? memory_order_release : &)/
/^void uvch__parker_wake(/,/^}/s/memory_order_acq_rel/steps_order(STEPS_PARKER_WAKE_IS_RELAXED, &)/
/^static int is_woken(/,/^}/s/memory_order_acquire/steps_order(STEPS_WOKEN_IS_RELAXED, &)/
