/* SPDX-License-Identifier: MIT
 *
 * Memory orders: what an atomic operation may see, and what it puts in order. See steps.h. */
#include "memory.h"

#include <stdlib.h>

#define STORES_MAX 8 /* of one place, that a load can choose from; a digit in the choices */
#define PLACES_MAX 1024
#define OUTSIDE (-1)

/* Which stores of a place an actor may still read is a matter of what it knows: none before one that it has seen, or that comes
 * before it does in any way. */
struct store {
  uint64_t bits;
  struct clock release; /* what who reads it with acquire knows from then on */
  struct clock seen;    /* by each actor, first: it wrote or read it */
  int is_seq_cst;
};

struct place {
  const volatile void* where;
  size_t size; /* 0: not known yet, so the values are not */
  int count;   /* of stores; the last STORES_MAX are there */
  struct store stores[STORES_MAX];
  struct touches reads;
  struct touches writes;
};

struct clock memory_clocks[STEPS_ACTORS];
static struct place places[PLACES_MAX];
static int places_used;
static int stale_left;

int steps_stale(int n) {
  const char* wanted = getenv("UVCH_STEPS_STALE");
  int more = wanted != NULL ? atoi(wanted) : 0;

  n = more > n ? more : n;
  return STEPS_STALE * (n < STEPS_STALE_MAX ? n : STEPS_STALE_MAX - 1);
}

void memory_begin(int stale) {
  int i;

  memset(memory_clocks, 0, sizeof memory_clocks);
  for (i = 0; i < STEPS_ACTORS; i++)
    memory_clocks[i].at[i] = 1;
  places_used = 0;
  stale_left = stale;
}

static void join(struct clock* to, const struct clock* from) {
  int i;

  for (i = 0; i < STEPS_ACTORS; i++)
    if (to->at[i] < from->at[i])
      to->at[i] = from->at[i];
}

void memory_join(int actor) {
  join(memory_now(), &memory_clocks[actor]);
}

static void tick(void) {
  memory_now()->at[steps_current]++;
}

static int is_acquire(int order) {
  return order == memory_order_acquire || order == memory_order_consume || order == memory_order_acq_rel ||
         order == memory_order_seq_cst;
}

static int is_release(int order) {
  return order == memory_order_release || order == memory_order_acq_rel || order == memory_order_seq_cst;
}

/* Values. */

static uint64_t bits_at(const volatile void* where, size_t size) {
  uint64_t bits = 0;

  memcpy(&bits, (const void*) (uintptr_t) where, size);
  return bits;
}

static void set_bits(volatile void* where, size_t size, uint64_t bits) {
  memcpy((void*) (uintptr_t) where, &bits, size);
}

/* Places. */

static struct store* store_at(struct place* p, int i) {
  return &p->stores[i % STORES_MAX];
}

static struct store* newest(struct place* p) {
  return store_at(p, p->count - 1);
}

static int oldest(const struct place* p) {
  return p->count > STORES_MAX ? p->count - STORES_MAX : 0;
}

static void make_place(struct place* p, const volatile void* where) {
  memset(&p->reads, 0, sizeof p->reads);
  memset(&p->writes, 0, sizeof p->writes);
  memset(&p->stores[0], 0, sizeof p->stores[0]);
  p->where = where;
  p->size = 0;
  p->count = 1;
}

static struct place* place_of(const volatile void* where) {
  uint16_t* number = races_place(where);

  if (*number == 0) {
    steps_expect(places_used < PLACES_MAX);
    make_place(&places[places_used], where);
    *number = (uint16_t) ++places_used;
  }
  return &places[*number - 1];
}

const struct touches* memory_reads(int place) {
  return &places[place - 1].reads;
}

const struct touches* memory_writes(int place) {
  return &places[place - 1].writes;
}

static void touch(struct touches* t, const char* who) {
  t->clock.at[steps_current] = memory_now()->at[steps_current];
  t->who[steps_current] = who;
}

/* What was there before is as good as gone: who does not know of the plain store races with it. */
void memory_is_overwritten(int place) {
  struct place* p = &places[place - 1];

  p->count = 1;
  memset(&p->stores[0], 0, sizeof p->stores[0]);
}

/* The newest value is what lies there: a plain store, or a fake, may have changed it. */
static struct place* place_with(const volatile void* where, size_t size) {
  struct place* p = place_of(where);

  if (p->size != size) {
    struct store last = *newest(p);
    p->size = size;
    p->count = 1;
    p->stores[0] = last;
  }
  newest(p)->bits = bits_at(where, size);
  return p;
}

static void see(struct store* s) {
  uint16_t* seen = &s->seen.at[steps_current];

  if (*seen == 0)
    *seen = memory_now()->at[steps_current];
}

static int is_known(const struct store* s) {
  int i;

  for (i = 0; i < STEPS_ACTORS; i++)
    if (s->seen.at[i] != 0 && s->seen.at[i] <= memory_now()->at[i])
      return 1;
  return 0;
}

/* The oldest store that the actor may read. */
static int first_visible(struct place* p, int order) {
  int i;

  for (i = p->count - 1; i > oldest(p); i--)
    if (is_known(store_at(p, i)) || (order == memory_order_seq_cst && store_at(p, i)->is_seq_cst))
      break;
  return i;
}

static struct store* choose_store(struct place* p, int order) {
  int n = stale_left > 0 ? p->count - first_visible(p, order) : 1;
  int back = n > 1 ? steps_choose(n) : 0;

  if (back > 0) {
    stale_left--;
    steps_is_stale(back);
  }
  return store_at(p, p->count - 1 - back);
}

/* A change keeps what the one before it has released; a store does not. */
static void add_store(struct place* p, uint64_t bits, int order, int is_change) {
  struct clock release = is_change ? newest(p)->release : (struct clock){{0}};
  struct store* s;

  if (is_release(order))
    join(&release, memory_now());
  p->count++;
  s = newest(p);
  *s = (struct store){.bits = bits, .release = release, .is_seq_cst = order == memory_order_seq_cst};
  see(s);
}

/* Operations. */

__attribute__((weak)) int steps_is_torn(const char* who) {
  (void) who;
  return 0;
}

__attribute__((weak)) void steps_bend(const char* who, void* word, void* seen) {
  (void) who;
  (void) word;
  (void) seen;
}

uint64_t steps_load(const volatile void* where, size_t size, int order, const char* who) {
  struct place* p;
  struct store* s;

  steps_step(where, STEPS_READ, who);
  if (steps_current == OUTSIDE)
    return bits_at(where, size);
  races_atomic(where, size, who);
  p = place_with(where, size);
  touch(&p->reads, who);
  s = choose_store(p, order);
  see(s);
  if (is_acquire(order))
    join(memory_now(), &s->release);
  tick();
  return s->bits;
}

void steps_store(volatile void* where, size_t size, uint64_t bits, int order, const char* who) {
  steps_step(where, STEPS_WRITE, who);
  if (steps_current != OUTSIDE) {
    struct place* p;
    races_atomic(where, size, who);
    p = place_with(where, size);
    touch(&p->writes, who);
    add_store(p, bits, order, 0);
    tick();
  }
  set_bits(where, size, bits);
}

uint64_t steps_look(const volatile void* where, size_t size, enum steps_kind kind, const char* who) {
  steps_step(where, kind, who);
  if (steps_current != OUTSIDE)
    races_atomic(where, size, who);
  return bits_at(where, size);
}

uint64_t steps_changed(volatile void* where, size_t size, uint64_t was, uint64_t bits, int order, const char* who) {
  struct place* p;

  if (steps_current == OUTSIDE) {
    set_bits(where, size, bits);
    return was;
  }
  if (steps_bug != STEPS_NO_BUG && steps_is_torn(who))
    steps_step(where, STEPS_WRITE, who);
  p = place_with(where, size);
  touch(&p->writes, who);
  if (is_acquire(order) && where != steps_counted)
    join(memory_now(), &newest(p)->release);
  set_bits(where, size, bits);
  if (steps_bug != STEPS_NO_BUG)
    steps_bend(who, (void*) (uintptr_t) where, &was);
  add_store(p, bits_at(where, size), order, 1);
  tick();
  return was;
}

void steps_kept(const volatile void* where, size_t size, int order, const char* who) {
  struct place* p;

  if (steps_current == OUTSIDE)
    return;
  p = place_with(where, size);
  touch(&p->reads, who);
  see(newest(p));
  if (is_acquire(order))
    join(memory_now(), &newest(p)->release);
  tick();
}

void steps_init(volatile void* where, size_t size, uint64_t bits) {
  races_plain(where, size, 1, __builtin_return_address(0));
  set_bits(where, size, bits);
}

void memory_step(const volatile void* where, enum steps_kind kind, const char* who) {
  struct place* p;

  races_atomic(where, 0, who);
  if (kind != STEPS_FREE) {
    p = place_of(where);
    touch(kind == STEPS_READ ? &p->reads : &p->writes, who);
    see(newest(p));
    if (kind != STEPS_UNLOCK && where != steps_counted)
      join(memory_now(), &newest(p)->release);
    if (kind != STEPS_READ && kind != STEPS_LOCK)
      add_store(p, newest(p)->bits, memory_order_release, 1);
  }
  tick();
}

void memory_pass(const volatile void* where, enum steps_kind kind, const char* who) {
  struct place* p = place_of(where);

  races_atomic(where, 0, who);
  touch(kind == STEPS_READ ? &p->reads : &p->writes, who);
  tick();
}
