/* SPDX-License-Identifier: MIT
 *
 * The scheduler of the steps, and their memory. */
#undef _FORTIFY_SOURCE /* it takes going to another stack for a mistake */
#include "memory.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "alloc.h"

#define OUTSIDE (-1)
#define DEPTH_MAX 1024
#define STACK_SIZE ((size_t) 256 * 1024)
#define CLASSES_MAX 65536
#define FREED 0xdd /* no address has that in all its bytes */
#define DIGITS "0123456789"

/* Running an actor. */

struct actor {
  jmp_buf context;
  jmp_buf top; /* where it begins anew */
  int has_top;
  const volatile void* where;
  const char* who;
  int (*is_ready)(void* arg);
  void* arg;
  enum steps_kind kind;
  int is_done;
  int has_failed_weakly;
  int holds;  /* mutexes */
  int before; /* its last step; an index of `past` */
  uint64_t time;
};

/* A choice that was made, and, if it is one between actors, what is left of it. Sets are masks. */
struct choice {
  unsigned char taken;
  unsigned char count; /* 0: actors */
  unsigned char ready;
  unsigned char asleep; /* their next step was tried before, in another order with what came since */
  unsigned char tried;
  unsigned char wanted; /* to be tried */
};

struct past {
  const volatile void* where;
  const char* who;
  enum steps_kind kind;
  int stale; /* how many stores ago */
  int actor;
  int choice; /* that let it go */
  int seen
      [STEPS_ACTORS]; /* of each actor, how much of `past` is sure to come before this step, in every order that is the same */
};

const volatile void* steps_counted;
static const struct steps_program* program;
static struct steps_report own_report;
static struct steps_report* report = &own_report;
static struct actor actors[STEPS_ACTORS];
static int count;
int steps_current = OUTSIDE;
static int is_starting;
static int is_cut; /* by the reduction: the rest was run already, in another order */
static int how;
static int is_quiet;
static jmp_buf outside;
static int is_choosing;
static int preemptions_left;
static void* stacks[STEPS_ACTORS];

static struct choice path[DEPTH_MAX];
static int depth; /* choices made in this sequence */
static int known; /* of them, those that are given */
static int last;  /* the last one between actors */
static unsigned int asleep;
static struct past past[DEPTH_MAX];
static int past_count;
static uint64_t classes[CLASSES_MAX];

/* Memory. */

static char* pages;
static size_t page_size;
static int pages_used;
static int pages_lost;
static struct {
  size_t size;
  char is_freed;
  char is_library;
} blocks[STEPS_BLOCKS];
static int library_blocks;

/* Which block; -1: none. */
int steps_block_of(const volatile void* p) {
  uintptr_t offset = (uintptr_t) p - (uintptr_t) pages;

  return pages != NULL && offset < STEPS_BLOCKS * page_size ? (int) (offset / page_size) : -1;
}

size_t steps_block_offset(const volatile void* where) {
  return ((uintptr_t) where - (uintptr_t) pages) % page_size;
}

const void* steps_pages(size_t* size) {
  *size = STEPS_BLOCKS * page_size;
  return pages;
}

const void* steps_stack(int actor, size_t* size) {
  *size = STACK_SIZE;
  return stacks[actor];
}

void* steps_calloc(size_t size) {
  char* p = pages + (size_t) pages_used * page_size;

  steps_expect(size <= page_size);
  steps_expect(pages_used < STEPS_BLOCKS);
  blocks[pages_used].is_freed = 0;
  blocks[pages_used].is_library = 0;
  blocks[pages_used].size = size;
  races_allocate(pages_used);
  pages_used++;
  memset(p, 0, size);
  return p;
}

static void free_block(void* ptr, const void* pc) {
  int block = steps_block_of(ptr);

  steps_expect(block >= 0);
  steps_expect(!blocks[block].is_freed);
  races_free(block, ptr, blocks[block].size, pc);
  blocks[block].is_freed = 1;
  memset(ptr, FREED, blocks[block].size);
  if (races_are_told)
    return; /* who touches it is found out anyway, and this takes time */
  pages_lost = 1;
  if (mprotect(pages + (size_t) block * page_size, page_size, PROT_NONE) != 0)
    abort();
}

void steps_free(void* ptr) {
  free_block(ptr, __builtin_return_address(0));
}

int steps_blocks(void) {
  return library_blocks;
}

static void reset_memory(void) {
  if (pages == NULL) {
    page_size = (size_t) sysconf(_SC_PAGESIZE);
    pages = mmap(NULL, STEPS_BLOCKS * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
      abort();
  }
  if (pages_lost && mprotect(pages, (size_t) pages_used * page_size, PROT_READ | PROT_WRITE) != 0)
    abort();
  pages_used = 0;
  pages_lost = 0;
  library_blocks = 0;
}

/* Never under a lock, as with freeing. */
void* uvch__malloc(size_t size) {
  void* p = steps_calloc(size);

  steps_expect(steps_holds() == 0);
  blocks[steps_block_of(p)].is_library = 1;
  library_blocks++;
  return p;
}

void* uvch__calloc(size_t n, size_t size) {
  return uvch__malloc(n * size);
}

void uvch__free(void* ptr) {
  if (ptr == NULL)
    return;
  steps_expect(steps_holds() == 0);
  steps_step(ptr, STEPS_FREE, __func__);
  steps_expect(steps_block_of(ptr) >= 0 && blocks[steps_block_of(ptr)].is_library);
  free_block(ptr, __builtin_return_address(0));
  library_blocks--;
}

/* Failures. */

static void print_past(void) {
  static const char* const kinds[] = {"load", "change", "free", "lock", "unlock", "count"};
  int i;

  for (i = 0; i < past_count; i++) {
    const struct past* p = &past[i];
    int block = steps_block_of(p->where);
    fprintf(stderr, "  actor %d  %-6s in %-24s", p->actor, kinds[p->kind], p->who);
    if (block >= 0)
      fprintf(stderr, " block %d + %zu", block, steps_block_offset(p->where));
    else
      fprintf(stderr, " %p", (void*) (uintptr_t) p->where);
    if (p->stale > 0)
      fprintf(stderr, ", %d stores ago", p->stale);
    putc('\n', stderr);
  }
}

static void print_choices(void) {
  int i;

  for (i = 0; i < depth; i++)
    putc(DIGITS[path[i].taken], stderr);
}

_Noreturn void steps_fail(const char* file, int line, const char* what) {
  snprintf(report->failure, sizeof report->failure, "%s:%d: %s", file, line, what);
  if (!is_quiet) {
    print_past();
    fprintf(stderr, "%s: %s\nseen by actor %d; again with UVCH_STEPS='%s:%d:", program->name, report->failure, steps_current,
            program->name, how);
    print_choices();
    fprintf(stderr, "'\n");
  }
  _exit(1);
}

static void on_fault(int signal, siginfo_t* info, void* context) {
  char what[64];
  int block = steps_block_of(info->si_addr);

  (void) context;
  snprintf(what, sizeof what, "signal %d", signal);
  if (block >= 0)
    snprintf(what, sizeof what, "block %d is touched after it was freed", block);
  steps_fail(__FILE__, __LINE__, what);
}

void steps_be_quiet(void) {
  is_quiet = 1;
}

/* Choosing. */

static int is_ready(const struct actor* a) {
  return !a->is_done && (a->is_ready == NULL || a->is_ready(a->arg));
}

/* Whether two steps may change places with nobody noticing. */
static int is_apart(const volatile void* a, enum steps_kind a_kind, const volatile void* b, enum steps_kind b_kind) {
  if (a_kind == STEPS_FREE || b_kind == STEPS_FREE)
    return steps_block_of(a) < 0 || steps_block_of(a) != steps_block_of(b);
  return a != b || (a_kind == b_kind && (a_kind == STEPS_READ || a_kind == STEPS_COUNT));
}

static unsigned int ready_now(void) {
  unsigned int ready = 0;
  int i;

  is_choosing = 1;
  for (i = 0; i < count; i++)
    ready |= is_ready(&actors[i]) ? 1u << i : 0;
  is_choosing = 0;
  return ready;
}

static struct choice* next_choice(void) {
  steps_expect(depth < DEPTH_MAX);
  return &path[depth++];
}

/* The actor that goes on runs already, if it can; else the first one. */
static int first_of(unsigned int set) {
  int i = 0;

  if (steps_current != OUTSIDE && (set & 1u << steps_current) != 0)
    return steps_current;
  while ((set & 1u << i) == 0)
    i++;
  return i;
}

static int all_are_done(void) {
  int i;

  for (i = 0; i < count; i++)
    if (!actors[i].is_done)
      return 0;
  return 1;
}

/* Those that stay asleep after the step of `taken`. */
static unsigned int still_asleep(const struct choice* at) {
  unsigned int set = 0;
  int i;

  for (i = 0; i < count; i++)
    if (i != at->taken && ((at->asleep | at->tried) & 1u << i) != 0 &&
        is_apart(actors[i].where, actors[i].kind, actors[at->taken].where, actors[at->taken].kind))
      set |= 1u << i;
  return set;
}

static int pick(void) {
  struct choice* at;
  unsigned int ready;
  int can_go_on;

  if (all_are_done())
    return OUTSIDE;
  ready = ready_now();
  if (ready == 0)
    steps_fail(__FILE__, __LINE__, "everybody waits for ever");
  can_go_on = steps_current != OUTSIDE && (ready & 1u << steps_current) != 0;
  if (can_go_on && preemptions_left == 0)
    ready = 1u << steps_current;
  at = next_choice();
  if (depth > known) {
    *at = (struct choice){.ready = (unsigned char) ready, .asleep = (unsigned char) (asleep & ready)};
    if ((ready & ~asleep) == 0) {
      is_cut = 1;
      depth--;
      return OUTSIDE;
    }
    at->taken = (unsigned char) first_of(ready & ~asleep);
    at->wanted = (unsigned char) ((how & STEPS_REDUCED) != 0 ? 1u << at->taken : ready);
    known = depth;
  }
  last = depth - 1;
  steps_expect((ready & 1u << at->taken) != 0);
  if ((how & STEPS_REDUCED) != 0)
    asleep = still_asleep(at);
  if (can_go_on && at->taken != steps_current)
    preemptions_left--;
  return at->taken;
}

int steps_choose(int n) {
  struct choice* at;

  if (steps_current == OUTSIDE)
    return 0;
  at = next_choice();
  if (depth > known) {
    *at = (struct choice){.count = (unsigned char) n};
    known = depth;
  }
  return at->taken;
}

/* The next sequence. 0: there is none. */
static int advance(void) {
  for (; known > 0; known--) {
    struct choice* at = &path[known - 1];
    unsigned int left;
    if (at->count > 0) {
      if (at->taken + 1 < at->count) {
        at->taken++;
        return 1;
      }
      continue;
    }
    at->tried |= (unsigned char) (1u << at->taken);
    left = at->wanted & ~(unsigned int) at->asleep & ~(unsigned int) at->tried;
    if (left != 0) {
      int i = 0;
      while ((left & 1u << i) == 0)
        i++;
      at->taken = (unsigned char) i;
      return 1;
    }
  }
  return 0;
}

/* Going on. */

static void* context_of(int actor) {
  return actor == OUTSIDE ? outside : actors[actor].context;
}

static void go_to(int next) {
  int self = steps_current;

  steps_current = next;
  if (next != self && _setjmp(context_of(self)) == 0)
    _longjmp(context_of(next), 1);
}

static void hand_over(void) {
  go_to(is_starting ? OUTSIDE : pick());
}

static void see_all(int* seen, const int* more) {
  int i;

  for (i = 0; i < STEPS_ACTORS; i++)
    seen[i] = seen[i] > more[i] ? seen[i] : more[i];
}

static void see(int* seen, const struct past* p) {
  see_all(seen, p->seen);
}

static int is_seen(const int* seen, const struct past* p) {
  return p - past < seen[p->actor];
}

/* Of the steps from `p` to `now` those that need not come after `p`: who could begin with them instead of it. Of `now` itself `seen`
 * is what has to come before it. */
static unsigned int could_begin(const struct past* p, const struct past* now, const int* seen) {
  unsigned int begins = 0;
  unsigned int others = 0;
  const struct past* e;
  const struct past* k;

  for (e = p + 1; e <= now; e++) {
    unsigned int self = 1u << e->actor;
    if (e->actor == p->actor || ((begins | others) & self) != 0 || (e < now && is_seen(e->seen, p)))
      continue;
    for (k = p + 1; k < e && (is_seen(k->seen, p) || !is_seen(e < now ? e->seen : seen, k)); k++) {}
    if (k == e)
      begins |= self;
    else
      others |= self;
  }
  return begins & path[p->choice].ready;
}

static int is_let_go(const struct past* p, const struct past* now) {
  return p->kind == STEPS_UNLOCK && now->kind == STEPS_LOCK;
}

static int may_change_places(const struct past* p, const struct past* now) {
  return p->actor != now->actor && !is_apart(p->where, p->kind, now->where, now->kind);
}

/* The step that is taken now could have come before each step of another actor that it does not go with, but for the unlocking that
 * let it go on. If its actor could not go on there, or sleeps there, any of the others may have to bring that about. */
static void want_other_orders(const struct past* now) {
  const struct past* p;

  for (p = past; p < now; p++) {
    struct choice* at = &path[p->choice];
    unsigned int self = 1u << now->actor & at->ready & ~(unsigned int) at->asleep;
    if (may_change_places(p, now) && !is_let_go(p, now))
      at->wanted |= (unsigned char) (self != 0 ? self : at->ready);
  }
}

/* The same, unless that step was before another one in between which was before this one: then the order of those two is changed
 * first. But a step that had to wait may have been let go on by the one in between. */
static void want_few_orders(struct past* now, int had_to_wait) {
  int seen[STEPS_ACTORS]; /* with what let it go on */
  const struct past* p;

  memcpy(seen, now->seen, sizeof seen);
  for (p = now; p-- > past;) {
    struct choice* at = &path[p->choice];
    unsigned int begin;
    if (is_seen(now->seen, p) || !may_change_places(p, now))
      continue;
    if (!is_let_go(p, now)) {
      begin = could_begin(p, now, seen);
      if (begin == 0)
        at->wanted |= at->ready;
      else if ((begin & (at->wanted | at->asleep)) == 0)
        at->wanted |= (unsigned char) (begin & (~begin + 1));
      if (!had_to_wait)
        see(now->seen, p);
    }
    see(seen, p);
  }
  memcpy(now->seen, seen, sizeof seen);
}

/* `before`: the last step of the same actor, or -1. */
static void reduce(struct past* now, int before, int had_to_wait) {
  if ((how & STEPS_SHORT) == 0) {
    want_other_orders(now);
    return;
  }
  if (before >= 0)
    see(now->seen, &past[before]);
  want_few_orders(now, had_to_wait);
  now->seen[now->actor] = (int) (now - past) + 1;
}

static void step(const volatile void* where, enum steps_kind kind, const char* who, int (*ready)(void* arg), void* arg) {
  struct actor* a;

  if (steps_current == OUTSIDE)
    return;
  a = &actors[steps_current];
  a->where = where;
  a->kind = kind;
  a->who = who;
  a->is_ready = ready;
  a->arg = arg;
  hand_over();
  steps_expect(past_count < DEPTH_MAX);
  past[past_count] = (struct past){.where = where, .who = who, .kind = kind, .actor = steps_current, .choice = last};
  a->is_ready = NULL;
  if ((how & STEPS_REDUCED) != 0)
    reduce(&past[past_count], a->before, ready != NULL && kind != STEPS_LOCK);
  a->before = past_count++;
}

void steps_step(const volatile void* where, enum steps_kind kind, const char* who) {
  step(where, kind, who, NULL, NULL);
}

void steps_at(const volatile void* where, enum steps_kind kind, const char* who) {
  step(where, kind, who, NULL, NULL);
  if (steps_current != OUTSIDE)
    memory_step(where, kind, who);
}

/* What it has waited for is asked once more, so that it is known to come before. */
void steps_wait(const volatile void* where, enum steps_kind kind, const char* who, int (*ready)(void* arg), void* arg) {
  step(where, kind, who, ready, arg);
  if (steps_current == OUTSIDE)
    return;
  memory_step(where, kind, who);
  if (ready != NULL)
    (void) ready(arg);
}

void steps_is_stale(int by) {
  past[past_count - 1].stale = by;
}

int steps_self(void) {
  return steps_current;
}

int steps_is_done(int actor) {
  if (actors[actor].is_done && steps_current != OUTSIDE && !is_choosing)
    memory_join(actor);
  return actors[actor].is_done;
}

int steps_others_are_done(int actor) {
  int i;

  for (i = 0; i < count; i++)
    if (i != actor && !steps_is_done(i))
      return 0;
  return 1;
}

/* Mutexes: who holds one, plus 2; 0: nobody. */

static int* owner_of(uv_mutex_t* mutex) {
  return (int*) (void*) mutex;
}

static int* after_owner(uv_mutex_t* mutex) {
  return owner_of(mutex) + 1;
}

int steps_mutex_init(uv_mutex_t* mutex) {
  *owner_of(mutex) = 0;
  *after_owner(mutex) = 0;
  return 0;
}

void steps_mutex_destroy(uv_mutex_t* mutex) {
  steps_expect(*owner_of(mutex) == 0);
}

static int is_free(void* mutex) {
  return *owner_of(mutex) == 0;
}

static void count_holds(int n) {
  if (steps_current != OUTSIDE)
    actors[steps_current].holds += n;
}

void steps_lock(uv_mutex_t* mutex, const char* who) {
  steps_wait(mutex, STEPS_LOCK, who, is_free, mutex);
  steps_expect(is_free(mutex));
  *owner_of(mutex) = steps_current + 2;
  count_holds(1);
}

int steps_trylock(uv_mutex_t* mutex, const char* who) {
  steps_step(mutex, STEPS_WRITE, who);
  if (!is_free(mutex)) {
    if (steps_current != OUTSIDE)
      memory_pass(mutex, STEPS_READ, who);
    return UV_EBUSY;
  }
  if (steps_current != OUTSIDE)
    memory_step(mutex, STEPS_WRITE, who);
  *owner_of(mutex) = steps_current + 2;
  count_holds(1);
  return 0;
}

void steps_unlock(uv_mutex_t* mutex, const char* who) {
  steps_at(mutex, STEPS_UNLOCK, who);
  steps_expect(*owner_of(mutex) == steps_current + 2);
  *owner_of(mutex) = 0;
  count_holds(-1);
  steps_step(after_owner(mutex), STEPS_READ, who);
  if (steps_current != OUTSIDE)
    memory_pass(after_owner(mutex), STEPS_READ, who);
  steps_expect(*after_owner(mutex) == 0);
}

/* How many wait there, and how many of them may go on. */
struct cond {
  int waiting;
  int signalled;
};

_Static_assert(sizeof(struct cond) <= sizeof(uv_cond_t), "fits");

static struct cond* cond_of(uv_cond_t* cond) {
  return (struct cond*) (void*) cond;
}

int steps_cond_init(uv_cond_t* cond) {
  *cond_of(cond) = (struct cond){0, 0};
  return 0;
}

static int is_signalled(void* cond) {
  return ((struct cond*) cond)->signalled > 0;
}

void steps_cond_wait(uv_cond_t* cond, uv_mutex_t* mutex, const char* who) {
  cond_of(cond)->waiting++;
  steps_unlock(mutex, who);
  steps_wait(cond, STEPS_WRITE, who, is_signalled, cond);
  cond_of(cond)->waiting--;
  cond_of(cond)->signalled--;
  steps_lock(mutex, who);
}

int steps_cond_timedwait(uv_cond_t* cond, uv_mutex_t* mutex, uint64_t timeout, const char* who) {
  int is_late;

  cond_of(cond)->waiting++;
  steps_unlock(mutex, who);
  steps_at(cond, STEPS_WRITE, who);
  is_late = !is_signalled(cond);
  cond_of(cond)->waiting--;
  if (is_late)
    actors[steps_current].time += timeout;
  else
    cond_of(cond)->signalled--;
  steps_lock(mutex, who);
  return is_late ? UV_ETIMEDOUT : 0;
}

uint64_t steps_hrtime(void) {
  return steps_current != OUTSIDE ? actors[steps_current].time : 0;
}

void steps_cond_signal(uv_cond_t* cond, const char* who) {
  steps_at(cond, STEPS_WRITE, who);
  if (cond_of(cond)->signalled < cond_of(cond)->waiting)
    cond_of(cond)->signalled++;
}

int steps_holds(void) {
  return steps_current != OUTSIDE ? actors[steps_current].holds : 0;
}

int steps_weak_fails(void) {
  if (steps_current == OUTSIDE || (how & STEPS_WEAK << steps_current) == 0 || actors[steps_current].has_failed_weakly ||
      !steps_choose(2))
    return 0;
  actors[steps_current].has_failed_weakly = 1;
  return 1;
}

static void actor_main(void) {
  actors[steps_current].has_top = 1;
  (void) _setjmp(actors[steps_current].top);
  program->actors[steps_current]();
  actors[steps_current].is_done = 1;
  hand_over();
  abort(); /* nobody comes back here, but to the top */
}

/* Sequences. */

static void make_stacks(void) {
  int i;

  for (i = 0; i < STEPS_ACTORS; i++) {
    if (stacks[i] == NULL)
      stacks[i] = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stacks[i] == MAP_FAILED)
      abort();
  }
}

static void begin_actor(int i) {
  ucontext_t context;

  if (actors[i].has_top)
    _longjmp(actors[i].top, 1);
  if (getcontext(&context) != 0)
    abort();
  context.uc_stack.ss_sp = stacks[i];
  context.uc_stack.ss_size = STACK_SIZE;
  context.uc_link = NULL;
  makecontext(&context, actor_main, 0);
  setcontext(&context);
  abort();
}

/* Up to its first step. */
static void start(int i) {
  struct actor* a = &actors[i];

  a->is_done = 0;
  a->has_failed_weakly = 0;
  a->is_ready = NULL;
  a->holds = 0;
  a->before = -1;
  a->time = 0;
  steps_current = i;
  if (_setjmp(outside) == 0)
    begin_actor(i);
}

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

/* A number for what all sequences have in common that differ only in the order of steps which do not see each other: for each
 * step, whose it is and which ones were before it that it does see. */
static uint64_t class_of_past(void) {
  static uint64_t numbers[DEPTH_MAX];
  uint64_t sum = 0;
  int i, k;

  for (i = 0; i < past_count; i++) {
    uint64_t before = 0;
    for (k = 0; k < i; k++)
      if (past[k].actor == past[i].actor || !is_apart(past[k].where, past[k].kind, past[i].where, past[i].kind))
        before += numbers[k];
    numbers[i] = mix(before + (uint64_t) past[i].actor + 1);
    sum += numbers[i];
  }
  return sum;
}

static void count_class(void) {
  uint64_t number = class_of_past();
  uint64_t at = number % CLASSES_MAX;

  while (classes[at] != 0 && classes[at] != number)
    at = (at + 1) % CLASSES_MAX;
  if (classes[at] == 0) {
    classes[at] = number;
    report->classes++;
    steps_expect(report->classes < CLASSES_MAX / 2);
  }
}

static void run_once(void) {
  int i;

  depth = 0;
  asleep = 0;
  past_count = 0;
  is_cut = 0;
  preemptions_left = report->preemptions;
  reset_memory();
  memory_begin(how / STEPS_STALE % STEPS_STALE_MAX);
  races_begin();
  program->set_up();
  is_starting = 1;
  for (i = 0; i < count; i++)
    start(i);
  is_starting = 0;
  hand_over();
  if (is_cut)
    return;
  report->sequences++;
  if ((how & STEPS_CLASSES) != 0)
    count_class();
  program->check();
}

static void begin(const struct steps_program* p, int run_how) {
  struct sigaction action;

  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  make_stacks();
  program = p;
  how = run_how;
  report->preemptions = how / STEPS_AT_MOST(0) % STEPS_AT_MOST_MAX - 1;
  steps_expect(report->preemptions < 0 || (how & STEPS_REDUCED) == 0);
  for (count = 0; count < STEPS_ACTORS && p->actors[count] != NULL; count++) {}
  known = 0;
  memset(classes, 0, sizeof classes);
}

void steps_run(const struct steps_program* p, int run_how, struct steps_report* told) {
  report = told;
  begin(p, run_how);
  do {
    run_once();
  } while (advance());
}

void steps_replay(const struct steps_program* p, int run_how, const char* choices) {
  begin(p, run_how);
  for (; *choices != 0; choices++)
    path[known++] = (struct choice){.taken = (unsigned char) (*choices - '0'), .count = 1};
  run_once();
  print_past();
}
