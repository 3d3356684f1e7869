/* SPDX-License-Identifier: MIT
 *
 * Watched values without loops: what a look costs at one that stays, that has just changed, and that another thread changes all
 * the time; what each way to change it costs; and what memory it takes. */
#include "watch.h"

#include <stdatomic.h>
#include <string.h>

#define CHUNK 256

void watched_open(struct watched* w, const struct setup* setup, int with_receiver, struct result* result) {
  struct value first;

  memset(&first, 0, sizeof(first));
  if (setup->variant == BASELINE)
    check(result, byhand_board_init(&w->board, setup->size, &first, setup->manner == READ_WRITE_LOCK), "byhand_board_init");
  else
    check(result, uvch_watch_init(NULL, with_receiver ? &w->rx : NULL, &w->tx, setup->size, &first), "uvch_watch_init");
}

static inline void watched_send(struct watched* w, const struct setup* setup, const struct value* value, struct result* result) {
  if (setup->variant == BASELINE)
    check(result, byhand_board_send(&w->board, value), "byhand_board_send");
  else
    check(result, uvch_watch_send(&w->tx, value), "uvch_watch_send");
}

/* Looks at a value that stays. Each loop is compiled for one kind; the sum is that of all values seen. */

static uint64_t borrow_each(struct watched* w, uint64_t n) {
  uint64_t sum = 0;

  while (n-- > 0)
    sum += *(const uint64_t*) uvch_watch_borrow(&w->rx);
  return sum;
}

static uint64_t update_each(struct watched* w, uint64_t n) {
  uint64_t sum = 0;

  while (n-- > 0)
    sum += *(const uint64_t*) uvch_watch_borrow_and_update(&w->rx);
  return sum;
}

static uint64_t borrow_each_from_sender(struct watched* w, uint64_t n) {
  uint64_t sum = 0;

  while (n-- > 0)
    sum += *(const uint64_t*) uvch_watch_sender_borrow(&w->tx);
  return sum;
}

/* 1 each time: it has changed, and that is not taken notice of. */
static uint64_t ask_each(struct watched* w, uint64_t n) {
  uint64_t sum = 0;

  while (n-- > 0)
    sum += (uint64_t) uvch_watch_has_changed(&w->rx);
  return sum;
}

static uint64_t copy_each(struct watched* w, uint64_t n) {
  struct value value;
  uint64_t sum = 0;

  while (n-- > 0) {
    byhand_board_read(&w->board, &value);
    sum += value.words[0];
  }
  return sum;
}

static uint64_t ask_board_each(struct watched* w, uint64_t n) {
  uint64_t sum = 0;

  while (n-- > 0)
    sum += byhand_board_version(&w->board);
  return sum;
}

/* What any call into a shared library takes. */
static uint64_t call_each(uint64_t n) {
  uint64_t sum = 0;

  while (n-- > 0)
    sum += uv_version() == UV_VERSION_HEX;
  return sum;
}

static uint64_t look_each(struct watched* w, const struct setup* setup, uint64_t n) {
  if (setup->manner == BARE_CALL)
    return call_each(n);
  if (setup->variant == BASELINE)
    return setup->manner == HAS_CHANGED ? ask_board_each(w, n) : copy_each(w, n);
  switch (setup->manner) {
    case BORROW_AND_UPDATE:
      return update_each(w, n);
    case SENDER_BORROW:
      return borrow_each_from_sender(w, n);
    case HAS_CHANGED:
      return ask_each(w, n);
    default:
      return borrow_each(w, n);
  }
}

void run_watch_look(const struct setup* setup, struct result* result) {
  static struct watched w;
  static struct value value;
  struct meter meter;
  uint64_t sum;

  watched_open(&w, setup, 1, result);
  value_set(&value, setup->size, 1);
  watched_send(&w, setup, &value, result);
  place(0);
  look_each(&w, setup, setup->count / 5);
  meter_start(&meter);
  sum = look_each(&w, setup, setup->count);
  meter_stop(&meter, result);
  if (sum != setup->count)
    fail(result, "a look did not see the value");
  result->messages = setup->count;
  result->value = (double) result->wall_ns / (double) setup->count;
}

/* Looks at a value that has just changed: what a change and a look take, less what a change takes. */

static inline uint64_t look_new(struct watched* w, const struct setup* setup, struct value* copy, struct result* result) {
  if (setup->variant == BASELINE) {
    byhand_board_read(&w->board, copy);
    return value_number(copy, setup->size, result);
  }
  if (setup->manner == BORROW_AND_UPDATE)
    return value_number(uvch_watch_borrow_and_update(&w->rx), setup->size, result);
  return value_number(uvch_watch_borrow(&w->rx), setup->size, result);
}

/* Returns how long CHUNK changes took, each with a look or none. */
static inline uint64_t change_chunk(struct watched* w, const struct setup* setup, uint64_t* number, int looks,
                                    struct result* result) {
  static struct value value, copy;
  uint64_t start = uv_hrtime();
  uint64_t end = *number + CHUNK;

  while (*number != end) {
    value_set(&value, setup->size, ++*number);
    watched_send(w, setup, &value, result);
    if (looks && look_new(w, setup, &copy, result) != *number)
      fail(result, "a look did not see the value");
  }
  return uv_hrtime() - start;
}

void run_watch_changing(const struct setup* setup, struct result* result) {
  static struct watched w;
  size_t i, n = setup->count / CHUNK + 1;
  uint64_t* with = (uint64_t*) xcalloc(result, n, sizeof(*with));
  uint64_t* without = (uint64_t*) xcalloc(result, n, sizeof(*without));
  struct result changes;
  uint64_t number = 0;

  watched_open(&w, setup, 1, result);
  place(0);
  for (i = 0; i < n; i++) {
    without[i] = change_chunk(&w, setup, &number, 0, result);
    with[i] = change_chunk(&w, setup, &number, 1, result);
  }
  set_percentiles(&changes, without, n);
  set_percentiles(result, with, n);
  result->messages = n * CHUNK;
  result->value = (result->value - changes.value) * 1000 / CHUNK;
  result->p99 = 0;
}

/* Looks at a value that another thread changes as fast as it can. */

struct race {
  const struct setup* setup;
  struct result* result;
  struct watched w;
  uv_barrier_t barrier;
  _Alignas(128) atomic_int over;
  _Alignas(128) uint64_t sent;
};

static void change_on(void* arg) {
  struct race* race = (struct race*) arg;
  static struct value value;
  uint64_t number = 0;

  place(1);
  uv_barrier_wait(&race->barrier);
  while (!atomic_load_explicit(&race->over, memory_order_relaxed)) {
    value_set(&value, race->setup->size, ++number);
    watched_send(&race->w, race->setup, &value, race->result);
  }
  race->sent = number;
}

/* What the one that looks has seen. */
struct seen {
  uint64_t last;  /* the number */
  uint64_t looks; /* how often it has looked */
  uint64_t found; /* and found another value */
};

static void look_on(struct race* race, struct seen* seen, uint64_t looks) {
  static struct value copy;
  uint64_t number;

  seen->looks += looks;
  while (looks-- > 0) {
    number = look_new(&race->w, race->setup, &copy, race->result);
    if (number < seen->last)
      fail(race->result, "an older value than before");
    seen->found += number != seen->last;
    seen->last = number;
  }
}

/* So many looks at least, and so many that a thousandth of them has found a new value: the other thread may have slept. */
static void look_often(struct race* race, struct seen* seen, uint64_t looks) {
  uint64_t chunk = looks / 100 + 1;

  while (seen->looks < looks || seen->found < looks / 1000 + 1)
    look_on(race, seen, chunk);
}

void run_watch_racing(const struct setup* setup, struct result* result) {
  static struct race race;
  struct meter meter;
  uv_thread_t thread;
  struct seen warm = {0}, seen = {0}, after = {0};

  race.setup = setup;
  race.result = result;
  watched_open(&race.w, setup, 1, result);
  check(result, uv_barrier_init(&race.barrier, 2), "uv_barrier_init");
  check(result, uv_thread_create(&thread, change_on, &race), "uv_thread_create");
  place(0);
  uv_barrier_wait(&race.barrier);
  look_often(&race, &warm, setup->count / 5);
  seen.last = warm.last;
  meter_start(&meter);
  look_often(&race, &seen, setup->count);
  meter_stop(&meter, result);
  atomic_store(&race.over, 1);
  uv_thread_join(&thread);
  look_on(&race, &after, 1);
  if (after.last != race.sent)
    fail(result, "the last value was not seen");
  result->messages = seen.looks;
  result->found = seen.found;
  result->looks = seen.looks;
  result->value = (double) result->wall_ns / (double) (setup->portion == 0 ? seen.looks : seen.last - warm.last);
}

/* Ways to change it, with a receiver that does not look. */

static int stores(const struct setup* setup) {
  return setup->manner != MODIFY_NOTHING;
}

static void add_one_byhand(void* value, void* arg) {
  const struct setup* setup = *(const struct setup**) arg;
  struct value* v = (struct value*) value;

  value_set(v, setup->size, v->words[0] + 1);
}

static int add_one(void* value, void* arg) {
  add_one_byhand(value, arg);
  return stores(*(const struct setup**) arg);
}

static inline void change_byhand(struct watched* w, const struct setup* setup, struct value* value, struct value* old,
                                 struct result* result) {
  if (setup->manner == REPLACE)
    check(result, byhand_board_replace(&w->board, value, old), "byhand_board_replace");
  else if (setup->manner == MODIFY)
    check(result, byhand_board_modify(&w->board, add_one_byhand, &setup), "byhand_board_modify");
  else
    check(result, byhand_board_send(&w->board, value), "byhand_board_send");
}

static inline void change(struct watched* w, const struct setup* setup, struct value* value, struct value* old,
                          struct result* result) {
  int rc;

  switch (setup->manner) {
    case REPLACE:
      check(result, uvch_watch_send_replace(&w->tx, value, old), "uvch_watch_send_replace");
      break;
    case MODIFY:
      check(result, uvch_watch_modify(&w->tx, add_one, &setup), "uvch_watch_modify");
      break;
    case MODIFY_IF:
    case MODIFY_NOTHING:
      rc = uvch_watch_modify_if(&w->tx, add_one, &setup);
      if (rc != stores(setup))
        fail(result, "uvch_watch_modify_if: %d", rc);
      break;
    default:
      check(result, uvch_watch_send(&w->tx, value), "uvch_watch_send");
  }
}

static void change_each(struct watched* w, const struct setup* setup, uint64_t number, uint64_t end, struct result* result) {
  static struct value value, old;

  for (; number != end; number++) {
    value_set(&value, setup->size, number + 1);
    if (setup->variant == BASELINE)
      change_byhand(w, setup, &value, &old, result);
    else
      change(w, setup, &value, &old, result);
    if (setup->manner == REPLACE && value_number(&old, setup->size, result) != number)
      fail(result, "not the value before");
  }
}

void run_watch_calls(const struct setup* setup, struct result* result) {
  static struct watched w;
  static struct value copy;
  uint64_t warm = setup->count / 5 + 1;
  struct meter meter;

  watched_open(&w, setup, 1, result);
  place(0);
  change_each(&w, setup, 0, warm, result);
  meter_start(&meter);
  change_each(&w, setup, warm, warm + setup->count, result);
  meter_stop(&meter, result);
  if (look_new(&w, setup, &copy, result) != (stores(setup) ? warm + setup->count : 0))
    fail(result, "not the last value");
  result->messages = setup->count;
  result->value = (double) result->wall_ns / (double) setup->count;
}

/* Memory. */

static void unexpected(uvch_watch_receiver_t* rx, int status, const void* value) {
  (void) value;
  fail((struct result*) rx->data, "an unexpected callback, status %d", status);
}

static void idle_open(uvch_watch_receiver_t* rx, uv_loop_t* loop, const uvch_watch_sender_t* tx, struct result* result) {
  check(result, uvch_watch_subscribe(loop, rx, tx), "uvch_watch_subscribe");
  rx->data = result;
  if (loop != NULL)
    check(result, uvch_watch_start(rx, unexpected, 0), "uvch_watch_start");
}

/* As run_broadcast_receiver_heap(): beside others, two others are there, and one channel. */
static double receiver_heap(const struct setup* setup, struct result* result) {
  size_t i, before, n = setup->channels;
  size_t channels = setup->manner == BESIDE_OTHERS ? 1 : n;
  struct watched* w = (struct watched*) xcalloc(result, channels + 1, sizeof(*w));
  uvch_watch_receiver_t* rx = (uvch_watch_receiver_t*) xcalloc(result, n + 2, sizeof(*rx));
  uv_loop_t loop;

  heap_count(result);
  check(result, uv_loop_init(&loop), "uv_loop_init");
  for (i = 0; i <= channels; i++)
    watched_open(&w[i], setup, 0, result);
  for (i = 0; i < 2; i++)
    idle_open(&rx[n + i], &loop, &w[channels - (setup->manner == BESIDE_OTHERS)].tx, result);
  before = heap_bytes();
  for (i = 0; i < n; i++)
    idle_open(&rx[i], setup->manner == WITHOUT_LOOP ? NULL : &loop, &w[i % channels].tx, result);
  uv_run(&loop, UV_RUN_NOWAIT);
  return (double) (heap_bytes() - before) / (double) n;
}

static double spot_heap(const struct setup* setup, struct result* result) {
  static struct watched w;
  byhand_spot_t spot;
  uv_loop_t loop;

  watched_open(&w, setup, 0, result);
  check(result, uv_loop_init(&loop), "uv_loop_init");
  check(result, byhand_board_follow(&loop, &w.board, &spot), "byhand_board_follow");
  return (double) byhand_spot_heap(&spot) + sizeof(spot);
}

/* The peer's loops have a spot each, and its receivers there nothing but their struct. */
void run_watch_receiver_memory(const struct setup* setup, struct result* result) {
  if (setup->variant != BASELINE)
    result->value = receiver_heap(setup, result) + (double) sizeof(uvch_watch_receiver_t);
  else if (setup->manner == BESIDE_OTHERS)
    result->value = (double) sizeof(byhand_viewer_t);
  else
    result->value = spot_heap(setup, result) + (double) sizeof(byhand_viewer_t);
}

static void look_as_sender(struct watched* w, const struct setup* setup, uint64_t number, struct result* result) {
  struct value copy;
  const void* seen = &copy;

  if (setup->variant == BASELINE)
    byhand_board_read(&w->board, &copy);
  else
    seen = uvch_watch_sender_borrow(&w->tx);
  if (value_number(seen, setup->size, result) != number)
    fail(result, "a look did not see the value");
}

/* A channel without a receiver, whose sender has changed the value and looked at it twice. */
void run_watch_channel_memory(const struct setup* setup, struct result* result) {
  size_t i, before, n = setup->channels;
  struct watched* w = (struct watched*) xcalloc(result, n, sizeof(*w));
  struct value value;
  uint64_t number;

  if (setup->variant != BASELINE)
    heap_count(result);
  before = heap_bytes();
  for (i = 0; i < n; i++) {
    watched_open(&w[i], setup, 0, result);
    for (number = 1; number <= 2; number++) {
      value_set(&value, setup->size, number);
      watched_send(&w[i], setup, &value, result);
      look_as_sender(&w[i], setup, number, result);
    }
  }
  if (setup->variant == BASELINE)
    result->value = (double) (sizeof(byhand_board_t) + byhand_board_heap(&w->board));
  else
    result->value = (double) (heap_bytes() - before) / (double) n + (double) sizeof(uvch_watch_sender_t);
}
