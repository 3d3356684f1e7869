/* SPDX-License-Identifier: MIT
 *
 * Every case, with the target that it has to meet. */
#include "bench.h"

/* clang-format off */

#define MANY (ALL_VARIANTS)
#define TWO (BIT(UVCH) | BIT(BASELINE))
#define MILLION 1000000

static const struct bench_case one_producer[] = {
  { .name = "unbounded", .run = run_flow, .variants = MANY, .capacity = UVCH_UNBOUNDED, .producers = 1, .count = 5 * MILLION,
    .targets = { { TIMES_BASELINE, UVCH, 2.5 }, { TIMES_BASELINE, COLD, 2.5 } } },
  { .name = "capacity 1,024", .run = run_flow, .variants = MANY, .capacity = 1024, .producers = 1, .count = 5 * MILLION,
    .targets = { { TIMES_BASELINE, UVCH, 1.8 }, { TIMES_BASELINE, COLD, 1.8 } } },
  { .name = "capacity 64", .run = run_flow, .variants = MANY, .capacity = 64, .producers = 1, .count = 5 * MILLION,
    .slow_count = MILLION / 2, .targets = { { TIMES_BASELINE, UVCH, 20 }, { TIMES_BASELINE, COLD, 2 } } },
};

static const struct bench_case more_producers[] = {
  { .name = "2 producers", .run = run_flow, .variants = MANY, .capacity = UVCH_UNBOUNDED, .producers = 2, .count = 4 * MILLION,
    .targets = { { TIMES_BASELINE, UVCH, 2 } } },
  { .name = "4 producers", .run = run_flow, .variants = MANY, .capacity = UVCH_UNBOUNDED, .producers = 4, .count = 4 * MILLION,
    .targets = { { TIMES_BASELINE, UVCH, 2 } } },
  { .name = "8 producers", .run = run_flow, .variants = MANY, .capacity = UVCH_UNBOUNDED, .producers = 8, .count = 4 * MILLION,
    .targets = { { TIMES_BASELINE, UVCH, 2 } } },
};

#define ONE_CALL(unit) .run = run_flow_ns, .variants = BIT(UVCH), .capacity = unit, .producers = 1, .count = 5 * MILLION

static const struct bench_case batches_bounded[] = {
  { .name = "one at a time", ONE_CALL(1024) },
  { .name = "64 at a time", ONE_CALL(1024), .manner = BATCHES, .portion = 64,
    .targets = { { TIMES_FIRST, UVCH, 0.5 } } },
};

static const struct bench_case batches_unbounded[] = {
  { .name = "one at a time", ONE_CALL(UVCH_UNBOUNDED) },
  { .name = "64 at a time", ONE_CALL(UVCH_UNBOUNDED), .manner = BATCHES, .portion = 64,
    .targets = { { TIMES_FIRST, UVCH, 0.5 } } },
};

static const struct bench_case permits[] = {
  { .name = "send_wait", ONE_CALL(1024) },
  { .name = "a permit for each message", ONE_CALL(1024), .manner = PERMITS, .portion = 1,
    .targets = { { TIMES_FIRST, UVCH, 1.5 } } },
  { .name = "a permit for 64", ONE_CALL(1024), .manner = PERMITS, .portion = 64,
    .targets = { { TIMES_FIRST, UVCH, 1.5 } } },
};

static const struct bench_case handing_over[] = {
  { .name = "a thread in send_wait, capacity 1", .run = run_flow_ns, .variants = BIT(UVCH) | BIT(COLD) | BIT(BASELINE), .capacity = 1,
    .producers = 1, .count = MILLION / 2, .slow_count = MILLION / 20 },
};

static const struct bench_case call_costs[] = {
  { .name = "try_send", .run = run_call_send, .variants = BIT(UVCH), .capacity = 1024, .count = 5 * MILLION },
  { .name = "try_reserve of 1, permit_send", .run = run_call_permit, .variants = BIT(UVCH), .capacity = 1024, .portion = 1,
    .count = 5 * MILLION, .targets = { { TIMES_FIRST, UVCH, 1.5 } } },
  { .name = "try_reserve of 64, permit_send 64 times", .run = run_call_permit, .variants = BIT(UVCH), .capacity = 1024,
    .portion = 64, .count = 5 * MILLION, .targets = { { TIMES_FIRST, UVCH, 1.5 } } },
  { .name = "try_send_many of 64", .run = run_call_many, .variants = BIT(UVCH), .capacity = 1024, .portion = 64,
    .count = 5 * MILLION, .targets = { { TIMES_FIRST, UVCH, 0.5 } } },
};

static const struct bench_case pairs[] = {
  { .name = "capacity 1,024", .run = run_pairs, .variants = TWO, .capacity = 1024, .count = 5 * MILLION,
    .targets = { { AT_MOST, UVCH, 20 } } },
  { .name = "unbounded", .run = run_pairs, .variants = TWO, .capacity = UVCH_UNBOUNDED, .count = 5 * MILLION,
    .targets = { { AT_MOST, UVCH, 20 } } },
};

static const struct bench_case bursts[] = {
  { .name = "from a prepare callback, capacity 1,024", .run = run_burst_prepare, .variants = MANY, .capacity = 1024,
    .count = 2 * MILLION, .targets = { { AT_MOST, UVCH, 30 }, { AT_MOST, COLD, 30 } } },
  { .name = "from a prepare callback, unbounded", .run = run_burst_prepare, .variants = MANY, .capacity = UVCH_UNBOUNDED,
    .count = 2 * MILLION, .targets = { { AT_MOST, UVCH, 30 }, { AT_MOST, COLD, 30 } } },
  { .name = "from the receive callback, unbounded", .run = run_burst_callback, .variants = MANY, .capacity = UVCH_UNBOUNDED,
    .count = 2 * MILLION, .targets = { { AT_MOST, UVCH, 30 } } },
};

static const struct bench_case wake_local[] = {
  { .name = "1 channel", .run = run_wake_local, .variants = MANY, .capacity = 64, .channels = 1, .count = 20000 },
  { .name = "1,000", .run = run_wake_local, .variants = MANY, .capacity = 64, .channels = 1000, .count = 20000 },
  { .name = "10,000", .run = run_wake_local, .variants = MANY, .capacity = 64, .channels = 10000, .count = 2000 },
  { .name = "100,000", .run = run_wake_local, .variants = MANY, .capacity = 64, .channels = 100000, .count = 20000,
    .slow_count = 300, .targets = { { TIMES_FIRST, UVCH, 1.5 }, { TIMES_FIRST, COLD, 1.5 } } },
};

static const struct bench_case wake_thread[] = {
  { .name = "1 channel", .run = run_wake_thread, .variants = TWO, .capacity = 64, .channels = 1, .count = 2000 },
  { .name = "1,000", .run = run_wake_thread, .variants = TWO, .capacity = 64, .channels = 1000, .count = 2000 },
  { .name = "10,000", .run = run_wake_thread, .variants = TWO, .capacity = 64, .channels = 10000, .count = 1000 },
  { .name = "100,000", .run = run_wake_thread, .variants = TWO, .capacity = 64, .channels = 100000, .count = 2000,
    .slow_count = 200, .targets = { { TIMES_FIRST, UVCH, 1.5 } } },
};

static const struct bench_case memory[] = {
  { .name = "heap, capacity 1", .run = run_heap, .variants = TWO, .capacity = 1, .channels = 10000,
    .targets = { { AT_MOST, UVCH, 256 } } },
  { .name = "heap, capacity 64", .run = run_heap, .variants = TWO, .capacity = 64, .channels = 10000,
    .targets = { { AT_MOST, UVCH, 256 } } },
  { .name = "heap, capacity 1,024", .run = run_heap, .variants = TWO, .capacity = 1024, .channels = 1000,
    .targets = { { AT_MOST, UVCH, 256 } } },
  { .name = "heap, capacity 1,000,000", .run = run_heap, .variants = TWO, .capacity = MILLION, .channels = 100,
    .targets = { { AT_MOST, UVCH, 256 } } },
  { .name = "heap, unbounded", .run = run_heap, .variants = TWO, .capacity = UVCH_UNBOUNDED, .channels = 10000,
    .targets = { { AT_MOST, UVCH, 256 } } },
  { .name = "the caller's structs", .run = run_caller_memory, .variants = TWO },
  { .name = "oneshot heap, receiver with a loop", .run = run_oneshot_heap, .variants = TWO, .manner = WITH_LOOP,
    .channels = 10000, .targets = { { AT_MOST, UVCH, 128 } } },
  { .name = "oneshot heap, receiver without a loop", .run = run_oneshot_heap, .variants = TWO, .manner = WITHOUT_LOOP,
    .channels = 10000, .targets = { { AT_MOST, UVCH, 128 } } },
  { .name = "oneshot, the caller's structs", .run = run_oneshot_caller_memory, .variants = TWO },
};

static const struct bench_case rest[] = {
  { .name = "descriptors added", .run = run_descriptors, .variants = TWO, .capacity = 64, .channels = 100000,
    .targets = { { AT_MOST, UVCH, 1.05 } } },
  { .name = "processor use, % of one", .run = run_rest, .variants = TWO, .capacity = 64, .channels = 100000, .count = 1000,
    .targets = { { AT_MOST, UVCH, 0.05 } } },
};

static const struct bench_case pingpong[] = {
  { .name = "over channels", .run = run_pingpong, .variants = MANY, .capacity = 64, .count = 20000, .slow_count = 3000 },
  { .name = "over bare uv_async_send()", .run = run_pingpong_bare, .variants = BIT(BASELINE), .count = 3000 },
};

static const struct bench_case oneshots[] = {
  { .name = "receiver with a loop, 64 to a turn", .run = run_oneshots, .variants = TWO, .manner = WITH_LOOP,
    .count = 2 * MILLION, .targets = { { AT_MOST, UVCH, 45 } } },
  { .name = "receiver without a loop", .run = run_oneshots, .variants = TWO, .manner = WITHOUT_LOOP, .count = 2 * MILLION },
  { .name = "renewed, with a loop", .run = run_oneshots, .variants = BIT(UVCH), .manner = RENEWED_WITH_LOOP,
    .count = 2 * MILLION, .targets = { { AT_MOST, UVCH, 45 } } },
  { .name = "renewed, without a loop", .run = run_oneshots, .variants = BIT(UVCH), .manner = RENEWED_WITHOUT_LOOP,
    .count = 2 * MILLION, .targets = { { AT_MOST, UVCH, 45 } } },
};

#define ALLOCATIONS .run = run_oneshot_allocations, .variants = BIT(UVCH), .count = MILLION / 10
#define NO_ALLOCATION .targets = { { AT_MOST, UVCH, 0 } }

static const struct bench_case oneshot_allocations[] = {
  { .name = "receiver with a loop, 64 to a turn", ALLOCATIONS, .manner = WITH_LOOP, NO_ALLOCATION },
  { .name = "receiver without a loop", ALLOCATIONS, .manner = WITHOUT_LOOP },
  { .name = "renewed, with a loop", ALLOCATIONS, .manner = RENEWED_WITH_LOOP, NO_ALLOCATION },
  { .name = "renewed, without a loop", ALLOCATIONS, .manner = RENEWED_WITHOUT_LOOP, NO_ALLOCATION },
};

#define REQUESTS(n) .capacity = 1024, .portion = n
#define NO_BASELINE (BIT(UVCH) | BIT(COLD))

static const struct bench_case requests_64[] = {
  { .name = "uvch_call", .run = run_requests, .variants = MANY, REQUESTS(64), .manner = CALLS, .count = MILLION,
    .slow_count = MILLION / 4, .targets = { { TIMES_BASELINE, UVCH, 3 }, { GOAL, UVCH, 4.5 } } },
  { .name = "oneshots, closed and made again", .run = run_requests, .variants = NO_BASELINE, REQUESTS(64), .manner = WITH_LOOP,
    .count = MILLION, .slow_count = MILLION / 4 },
  { .name = "oneshots, renewed", .run = run_requests, .variants = NO_BASELINE, REQUESTS(64), .manner = RENEWED_WITH_LOOP,
    .count = MILLION, .slow_count = MILLION / 4 },
  { .name = "uvch_call to an actor on the same loop", .run = run_requests, .variants = NO_BASELINE, REQUESTS(64),
    .manner = LOCAL_CALLS, .count = MILLION },
};

static const struct bench_case requests_1[] = {
  { .name = "uvch_call; baseline: bare uv_async_send", .run = run_requests_bare, .variants = MANY, REQUESTS(1), .manner = CALLS,
    .count = 20000, .slow_count = 3000, .targets = { { AT_MOST_TIMES, COLD, 1.15 }, { TIMES_BASELINE, UVCH, 20 } } },
  { .name = "baseline: request and reply by hand", .run = run_requests_us, .variants = BIT(BASELINE), REQUESTS(1),
    .manner = CALLS, .count = 3000 },
  { .name = "uvch_call_wait on a plain thread", .run = run_requests_thread, .variants = MANY, REQUESTS(1), .manner = CALLS,
    .count = 20000, .slow_count = 3000 },
  { .name = "uvch_call to an actor on the same loop", .run = run_requests_us, .variants = NO_BASELINE, REQUESTS(1),
    .manner = LOCAL_CALLS, .count = 20000 },
};

#define DELIVERIES(n, messages, slowly) \
  .run = run_broadcast, .capacity = 1024, .receivers = n, .count = messages, .slow_count = slowly
#define TO_RECEIVERS(n, goal, messages, slowly) \
  { .name = "senders wait", DELIVERIES(n, messages, slowly), .variants = MANY, \
    .targets = { { TIMES_BASELINE, UVCH, 1 }, { GOAL, UVCH, goal } } }, \
  { .name = "senders wait, recv_many", DELIVERIES(n, messages, slowly), .variants = NO_BASELINE, .manner = RECEIVE_BATCHES, \
    .portion = 64, .targets = { { GOAL, UVCH, goal } } }, \
  { .name = "senders wait, send_many and recv_many", DELIVERIES(n, messages, slowly), .variants = NO_BASELINE, \
    .manner = BATCHES, .portion = 64 }, \
  { .name = "receivers lag", DELIVERIES(n, messages, slowly), .variants = MANY, .lags = 1 }, \
  { .name = "receivers lag, recv_many", DELIVERIES(n, messages, slowly), .variants = NO_BASELINE, .lags = 1, \
    .manner = RECEIVE_BATCHES, .portion = 64 }

static const struct bench_case broadcast_1[] = {
  TO_RECEIVERS(1, 20, 4 * MILLION, MILLION),
  { .name = "for comparison: an mpsc channel", .run = run_flow, .variants = MANY, .capacity = 1024, .producers = 1,
    .count = 4 * MILLION },
};

static const struct bench_case broadcast_4[] = { TO_RECEIVERS(4, 40, 2 * MILLION, MILLION / 4) };
static const struct bench_case broadcast_16[] = { TO_RECEIVERS(16, 60, MILLION, MILLION / 20) };

#define SENDS(n, times) .variants = TWO, .capacity = 1024, .lags = 1, .receivers = n, .portion = times
#define FLAT .targets = { { TIMES_FIRST, UVCH, 1.5 } }

static const struct bench_case broadcast_send[] = {
  { .name = "2 receivers", .run = run_broadcast_send, SENDS(2, 256), .count = 4000 },
  { .name = "1,000", .run = run_broadcast_send, SENDS(1000, 256), .count = 100, .slow_count = 20, FLAT },
};

static const struct bench_case broadcast_awake[] = {
  { .name = "2 receivers", .run = run_broadcast_awake, SENDS(2, 1), .count = 20000 },
  { .name = "1,000", .run = run_broadcast_awake, SENDS(1000, 1), .count = 20000, .slow_count = 500, FLAT },
};

static const struct bench_case broadcast_asleep[] = {
  { .name = "2 receivers", .run = run_broadcast_asleep, SENDS(2, 1), .count = 1000 },
  { .name = "1,000", .run = run_broadcast_asleep, SENDS(1000, 1), .count = 1000, .slow_count = 200, FLAT },
};

static const struct bench_case broadcast_wakes[] = {
  { .name = "2 receivers", .run = run_broadcast_wakes, SENDS(2, 64), .count = 1000, .targets = { { AT_MOST, UVCH, 1.05 } } },
  { .name = "16", .run = run_broadcast_wakes, SENDS(16, 64), .count = 1000, .slow_count = 300,
    .targets = { { AT_MOST, UVCH, 1.05 } } },
  { .name = "1,000", .run = run_broadcast_wakes, SENDS(1000, 64), .count = 1000, .slow_count = 50,
    .targets = { { AT_MOST, UVCH, 1.05 } } },
};

#define RECEIVER_HEAP .run = run_broadcast_receiver_heap, .capacity = 1024
#define CHANNEL_HEAP(n) .run = run_broadcast_channel_heap, .variants = TWO, .capacity = n

static const struct bench_case broadcast_memory[] = {
  { .name = "receiver beside others, heap", RECEIVER_HEAP, .variants = TWO, .manner = BESIDE_OTHERS, .channels = 10000,
    .targets = { { AT_MOST, UVCH, 160 } } },
  { .name = "receiver alone on its loop, heap", RECEIVER_HEAP, .variants = BIT(UVCH), .manner = WITH_LOOP, .channels = 1000 },
  { .name = "receiver on a plain thread, heap", RECEIVER_HEAP, .variants = BIT(UVCH), .manner = WITHOUT_LOOP, .channels = 1000 },
  { .name = "receiver, the caller's struct", .run = run_broadcast_receiver_struct, .variants = TWO },
  { .name = "channel and 1 receiver, heap, capacity 1", CHANNEL_HEAP(1), .channels = 1000 },
  { .name = "the same, capacity 1,024", CHANNEL_HEAP(1024), .channels = 1000 },
  { .name = "the same, capacity 100,000", CHANNEL_HEAP(100000), .channels = 10 },
};

#define LOOKS(bytes) .run = run_watch_look, .size = bytes, .count = 20 * MILLION, .slow_count = 5 * MILLION
#define BY_RWLOCK .variants = BIT(BASELINE), .manner = READ_WRITE_LOCK

static const struct bench_case watch_look[] = {
  { .name = "borrow, 8 bytes", LOOKS(8), .variants = TWO, .targets = { { AT_MOST, UVCH, 2 } } },
  { .name = "borrow, 64 bytes", LOOKS(64), .variants = TWO, .targets = { { AT_MOST, UVCH, 2 } } },
  { .name = "borrow, 4,096 bytes", LOOKS(4096), .variants = TWO, .targets = { { AT_MOST, UVCH, 2 } } },
  { .name = "borrow_and_update, 8 bytes", LOOKS(8), .variants = TWO, .manner = BORROW_AND_UPDATE,
    .targets = { { AT_MOST, UVCH, 2 } } },
  { .name = "has_changed", LOOKS(8), .variants = TWO, .manner = HAS_CHANGED, .targets = { { AT_MOST, UVCH, 2 } } },
  { .name = "a sender's borrow, 8 bytes", LOOKS(8), .variants = TWO, .manner = SENDER_BORROW },
  { .name = "baseline: a read-write lock, 8 bytes", LOOKS(8), BY_RWLOCK },
  { .name = "baseline: just a call, uv_version()", LOOKS(8), .variants = BIT(BASELINE), .manner = BARE_CALL },
};

#define CHANGES(bytes) .run = run_watch_changing, .size = bytes, .count = MILLION

static const struct bench_case watch_changing[] = {
  { .name = "borrow, 8 bytes", CHANGES(8), .variants = TWO, .targets = { { AT_MOST, UVCH, 30 } } },
  { .name = "borrow, 64 bytes", CHANGES(64), .variants = TWO, .targets = { { AT_MOST, UVCH, 30 } } },
  { .name = "borrow, 4,096 bytes", CHANGES(4096), .variants = TWO, .targets = { { AT_MOST, UVCH, 30 } } },
  { .name = "borrow_and_update, 8 bytes", CHANGES(8), .variants = TWO, .manner = BORROW_AND_UPDATE,
    .targets = { { AT_MOST, UVCH, 30 } } },
  { .name = "baseline: a read-write lock, 8 bytes", CHANGES(8), BY_RWLOCK },
};

#define RACING(bytes) .run = run_watch_racing, .size = bytes, .count = MILLION, .slow_count = MILLION / 10
#define SENDER_OF_RACING(bytes) RACING(bytes), .portion = 1

static const struct bench_case watch_racing[] = {
  { .name = "borrow, 8 bytes", RACING(8), .variants = TWO, .targets = { { AT_MOST, UVCH, 30 } } },
  { .name = "borrow, 64 bytes", RACING(64), .variants = TWO, .targets = { { AT_MOST, UVCH, 30 } } },
  { .name = "borrow, 4,096 bytes", RACING(4096), .variants = TWO, .targets = { { AT_MOST, UVCH, 30 } } },
  { .name = "baseline: a read-write lock, 8 bytes", RACING(8), BY_RWLOCK },
};

static const struct bench_case watch_racing_sends[] = {
  { .name = "8 bytes", SENDER_OF_RACING(8), .variants = TWO },
  { .name = "64 bytes", SENDER_OF_RACING(64), .variants = TWO },
  { .name = "4,096 bytes", SENDER_OF_RACING(4096), .variants = TWO },
  { .name = "baseline: a read-write lock, 8 bytes", SENDER_OF_RACING(8), BY_RWLOCK },
};

#define UPDATES(n, bytes) .run = run_watch_updates, .receivers = n, .size = bytes, .count = 5 * MILLION, .slow_count = MILLION
#define NO_SLOWER .targets = { { TIMES_FIRST, UVCH, 1.1 } }

static const struct bench_case watch_updates[] = {
  { .name = "1 receiver", UPDATES(1, 8), .variants = MANY, .targets = { { AT_MOST, UVCH, 18.18 } } },
  { .name = "100 receivers on 2 loops", UPDATES(100, 8), .variants = MANY, NO_SLOWER },
  { .name = "the same, the sender beside a loop", UPDATES(100, 8), .variants = MANY, .manner = BESIDE_A_LOOP },
  { .name = "no receiver", UPDATES(0, 8), .variants = TWO },
  { .name = "1 receiver, 64 bytes", UPDATES(1, 64), .variants = MANY },
  { .name = "1 receiver, 4,096 bytes", UPDATES(1, 4096), .variants = MANY },
  { .name = "baseline: a read-write lock, 1 receiver", UPDATES(1, 8), BY_RWLOCK },
};

#define CHANGE(bytes) .run = run_watch_calls, .size = bytes, .count = 2 * MILLION

static const struct bench_case watch_calls[] = {
  { .name = "send, 8 bytes", CHANGE(8), .variants = TWO },
  { .name = "send_replace, 8 bytes", CHANGE(8), .variants = TWO, .manner = REPLACE },
  { .name = "modify, 8 bytes", CHANGE(8), .variants = TWO, .manner = MODIFY },
  { .name = "modify_if that stores, 8 bytes", CHANGE(8), .variants = BIT(UVCH), .manner = MODIFY_IF },
  { .name = "modify_if that does not, 8 bytes", CHANGE(8), .variants = BIT(UVCH), .manner = MODIFY_NOTHING },
  { .name = "send, 64 bytes", CHANGE(64), .variants = TWO },
  { .name = "modify, 64 bytes", CHANGE(64), .variants = TWO, .manner = MODIFY },
  { .name = "send, 4,096 bytes", CHANGE(4096), .variants = TWO },
  { .name = "modify, 4,096 bytes", CHANGE(4096), .variants = TWO, .manner = MODIFY },
  { .name = "baseline: a read-write lock, 8 bytes", CHANGE(8), BY_RWLOCK },
};

#define BURSTS(n) .run = run_watch_wakes, .variants = TWO, .size = 8, .receivers = n, .portion = 64, .count = 1000

static const struct bench_case watch_wakes[] = {
  { .name = "2 receivers", BURSTS(2), .targets = { { AT_MOST, UVCH, 1.05 } } },
  { .name = "100", BURSTS(100), .targets = { { AT_MOST, UVCH, 1.05 } } },
  { .name = "1,000", BURSTS(1000), .targets = { { AT_MOST, UVCH, 1.05 } } },
};

#define FOLLOWER .run = run_watch_receiver_memory, .size = 8
#define WATCHED(bytes) .run = run_watch_channel_memory, .variants = TWO, .size = bytes, .channels = 1000

static const struct bench_case watch_memory[] = {
  { .name = "receiver beside others, struct and heap", FOLLOWER, .variants = TWO, .manner = BESIDE_OTHERS, .channels = 10000,
    .targets = { { AT_MOST, UVCH, 160 } } },
  { .name = "the same, alone on its loop", FOLLOWER, .variants = TWO, .manner = WITH_LOOP, .channels = 1000 },
  { .name = "the same, on a plain thread", FOLLOWER, .variants = BIT(UVCH), .manner = WITHOUT_LOOP, .channels = 1000 },
  { .name = "channel and sender, 8 bytes", WATCHED(8) },
  { .name = "the same, 64 bytes", WATCHED(64) },
  { .name = "the same, 4,096 bytes", WATCHED(4096) },
};

static const struct bench_case steady[] = {
  { .name = "processor use, % of one", .run = run_steady, .variants = MANY, .capacity = UVCH_UNBOUNDED, .count = 1000,
    .targets = { { TIMES_COLD, UVCH, 1.1 } } },
};

#define CASES(array) .cases = array, .case_count = sizeof(array) / sizeof(array[0])
#define COUNTS (BIT(CPU) | BIT(SYSCALLS) | BIT(INSTRUCTIONS))
#define TWO_THREADS BIT(LINE)

const struct section sections[] = {
  { .id = "one-producer", .title = "One producer thread to one loop: million messages per second", .more_is_better = 1,
    .metrics = COUNTS | TWO_THREADS, CASES(one_producer) },
  { .id = "producers", .title = "Several producer threads to one loop, unbounded: million messages per second",
    .more_is_better = 1, .metrics = COUNTS | TWO_THREADS, CASES(more_producers) },
  { .id = "pairs", .title = "try_send and try_recv on one thread, no loop turn: nanoseconds per pair",
    .metrics = BIT(CPU) | BIT(INSTRUCTIONS), CASES(pairs) },
  { .id = "batches", .title = "Batches, one producer thread to one loop, capacity 1,024: nanoseconds per message",
    .metrics = BIT(CPU) | BIT(SYSCALLS) | TWO_THREADS, CASES(batches_bounded) },
  { .id = "batches-unbounded", .title = "Batches, one producer thread to one loop, unbounded: nanoseconds per message",
    .metrics = BIT(CPU) | BIT(SYSCALLS) | TWO_THREADS, CASES(batches_unbounded) },
  { .id = "permits", .title = "Permits, one producer thread to one loop, capacity 1,024: nanoseconds per message",
    .metrics = BIT(CPU) | BIT(SYSCALLS) | TWO_THREADS, CASES(permits) },
  { .id = "calls", .title = "Calls that put messages in, one thread, into a channel with room: nanoseconds per message",
    .metrics = BIT(CPU), CASES(call_costs) },
  { .id = "hand-over", .title = "Hand-over, every message waits for the one before: nanoseconds per message",
    .metrics = BIT(CPU) | BIT(SYSCALLS) | TWO_THREADS, CASES(handing_over) },
  { .id = "bursts", .title = "Bursts of 64 sent and delivered on one loop: nanoseconds per message",
    .metrics = COUNTS, CASES(bursts) },
  { .id = "wake-local", .title = "Wake-up of one of N idle channels by a send on the loop's thread: microseconds, median",
    .metrics = BIT(SYSCALLS), CASES(wake_local) },
  { .id = "wake-thread", .title = "Wake-up of one of N idle channels on a sleeping loop by another thread: microseconds, median",
    .metrics = BIT(P99), CASES(wake_thread) },
  { .id = "memory", .title = "Bytes per idle channel", .rounds = 1, CASES(memory) },
  { .id = "rest", .title = "100,000 idle channels on a loop", .rounds = 3, CASES(rest) },
  { .id = "pingpong", .title = "Round trip between two loops on two threads: microseconds, median",
    .metrics = BIT(P99) | BIT(CPU) | BIT(SYSCALLS) | TWO_THREADS, CASES(pingpong) },
  { .id = "oneshots", .title = "Make, send, take and close a oneshot on one thread: nanoseconds",
    .metrics = BIT(CPU) | BIT(INSTRUCTIONS), CASES(oneshots) },
  { .id = "oneshot-allocs", .title = "Allocations of the same, per round trip", .rounds = 1, CASES(oneshot_allocations) },
  { .id = "requests-64", .title = "Requests and replies between two loops, 64 on their way: million requests per second",
    .more_is_better = 1, .metrics = COUNTS | TWO_THREADS, CASES(requests_64) },
  { .id = "requests-1", .title = "Requests and replies between two threads, one at a time: microseconds, median",
    .metrics = BIT(P99) | BIT(CPU) | BIT(SYSCALLS) | TWO_THREADS, CASES(requests_1) },
  { .id = "broadcast-1", .title = "Broadcast from a thread to 1 receiver: million deliveries per second", .more_is_better = 1,
    .metrics = COUNTS | TWO_THREADS | BIT(MISSED), CASES(broadcast_1) },
  { .id = "broadcast-4", .title = "Broadcast from a thread to 4 receivers on two loops: million deliveries per second",
    .more_is_better = 1, .metrics = COUNTS | TWO_THREADS | BIT(MISSED), CASES(broadcast_4) },
  { .id = "broadcast-16", .title = "Broadcast from a thread to 16 receivers on two loops: million deliveries per second",
    .more_is_better = 1, .metrics = COUNTS | TWO_THREADS | BIT(MISSED), CASES(broadcast_16) },
  { .id = "broadcast-send", .title = "A send to receivers on two loops that are not done with the last: nanoseconds",
    CASES(broadcast_send) },
  { .id = "broadcast-awake", .title = "A send to receivers on two busy loops that wait for it: nanoseconds, median",
    .metrics = TWO_THREADS, CASES(broadcast_awake) },
  { .id = "broadcast-asleep", .title = "A send to receivers on two loops that sleep: microseconds, median",
    .metrics = BIT(P99), CASES(broadcast_asleep) },
  { .id = "broadcast-wakes", .title = "Bursts of 64 to receivers on two loops that sleep: wake-ups for each loop and burst",
    .rounds = 3, CASES(broadcast_wakes) },
  { .id = "broadcast-memory", .title = "Broadcast: bytes", .rounds = 1, CASES(broadcast_memory) },
  { .id = "watch-look", .title = "A look at a watched value that stays, one thread: nanoseconds",
    .metrics = BIT(INSTRUCTIONS), CASES(watch_look) },
  { .id = "watch-changing", .title = "A look at a watched value that has just changed, one thread: nanoseconds",
    CASES(watch_changing) },
  { .id = "watch-racing", .title = "A look at a watched value that another thread keeps changing: nanoseconds",
    .metrics = BIT(FOUND) | TWO_THREADS, CASES(watch_racing) },
  { .id = "watch-racing-sends", .title = "The changes of that other thread meanwhile: nanoseconds",
    .metrics = TWO_THREADS, CASES(watch_racing_sends) },
  { .id = "watch-updates", .title = "Changes by a thread, followed by receivers on loops of other threads: nanoseconds",
    .metrics = BIT(FOUND) | BIT(CPU) | BIT(SYSCALLS) | TWO_THREADS, CASES(watch_updates) },
  { .id = "watch-calls", .title = "Calls that change a watched value, one thread: nanoseconds",
    .metrics = BIT(INSTRUCTIONS), CASES(watch_calls) },
  { .id = "watch-wakes", .title = "Bursts of 64 changes to receivers on two loops that sleep: wake-ups for each loop and burst",
    .rounds = 3, CASES(watch_wakes) },
  { .id = "watch-memory", .title = "Watch: bytes", .rounds = 1, CASES(watch_memory) },
  { .id = "steady", .title = "1,000 messages per second, evenly spaced, from another thread", .rounds = 5,
    .metrics = BIT(SYSCALLS), CASES(steady) },
};

const size_t section_count = sizeof(sections) / sizeof(sections[0]);
