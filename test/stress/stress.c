/* SPDX-License-Identifier: MIT
 *
 * Threads that open, use and close channels and loops at random, on the library's own sources with random interruptions. See
 * stress.h for what is checked. */
#include "stress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

#define TICK 100000000 /* ns between two looks of the watchdog */
#define SCENES 64      /* so many of the largest ones make all messages, unless these are very many */
#define QUOTA_MAX 1000000

static const struct kind* const kinds[] = {&kind_mpsc, &kind_mpsc, &kind_call, &kind_broadcast, &kind_watch, &kind_inbox};

#define KINDS (sizeof kinds / sizeof kinds[0])

static struct {
  uint64_t messages;
  uint64_t seconds; /* 0: no limit */
  uint64_t seed;
  size_t threads;
  uint64_t yields;
  uint64_t patience; /* seconds without progress that are too many */
  const char* only;  /* one kind of scene */
} options = {200000, 0, 0, 8, 64, 120, NULL};

static struct player* players;
static volatile sig_atomic_t is_interrupted;
static atomic_int must_end;
static atomic_uint_least64_t messages; /* of scenes that are over */
static atomic_uint_least64_t scenes[KINDS];
static atomic_flag has_failed = ATOMIC_FLAG_INIT;

/* The scene that lacks players, if there is one. */
static uv_mutex_t lobby;
static struct scene* open_scene;
static atomic_uint open_number; /* of it; 0 none */
static uint32_t scene_count;

/* Failures. */

static size_t kind_index(const struct kind* kind) {
  size_t i = 0;

  while (kinds[i] != kind)
    i++;
  return i;
}

/* It may read a scene that goes on, or whose memory is used again: it is about to end the process. */
static void tell_all(void) {
  size_t i;

  for (i = 0; i < options.threads; i++) {
    struct player* p = &players[i];
    unsigned int number = atomic_load_explicit(&p->acts_in, memory_order_relaxed);
    const char* does = atomic_load_explicit(&p->does, memory_order_relaxed);
    char text[256] = "";
    if (number != 0 && p->scene != NULL)
      p->scene->kind->describe(p->scene, text, sizeof text);
    fprintf(stderr, "  thread %zu: scene %u part %u: %s: %s (%s)\n", i, number,
            atomic_load_explicit(&p->acts_as, memory_order_relaxed), number != 0 && p->scene != NULL ? p->scene->kind->name : "-",
            does != NULL ? does : "-", text);
  }
}

void stress_fail(const char* file, int line, const char* what, long long value) {
  if (atomic_flag_test_and_set(&has_failed))
    for (;;)
      pause(); /* the first one ends the process */
  fprintf(stderr, "%s:%d: %s: it is %lld\nseed %llu, %llu messages\n", file, line, what, value, (unsigned long long) options.seed,
          (unsigned long long) atomic_load(&messages));
  tell_all();
  fflush(NULL);
  _Exit(EXIT_FAILURE);
}

/* Players. */

uint64_t draw(struct player* self, uint64_t n) {
  self->random ^= self->random << 13;
  self->random ^= self->random >> 7;
  self->random ^= self->random << 17;
  return (self->random >> 16) % n;
}

uint64_t draw_size(struct player* self, uint64_t max) {
  uint64_t bound = 1;

  while (bound < max && draw(self, 8) > 0)
    bound *= 2;
  return 1 + draw(self, bound < max ? bound : max);
}

uint64_t draw_time(struct player* self) {
  return draw_size(self, 200000) - 1;
}

uv_loop_t* player_loop(struct player* self) {
  if (!self->has_loop) {
    expect_eq(uv_loop_init(&self->loop), 0);
    self->has_loop = true;
  }
  return &self->loop;
}

int player_run(struct player* self, uv_run_mode mode) {
  return uv_run(&self->loop, mode);
}

void player_done(struct player* self) {
  if (!self->has_loop || draw(self, 2) == 0)
    return;
  expect_eq(uv_run(&self->loop, UV_RUN_DEFAULT), 0);
  expect_eq(uv_loop_close(&self->loop), 0);
  self->has_loop = false;
}

/* Scenes. */

static int is_over(void) {
  return atomic_load_explicit(&must_end, memory_order_relaxed) != 0 ||
         atomic_load_explicit(&messages, memory_order_relaxed) >= options.messages;
}

static const struct kind* draw_kind(struct player* self) {
  size_t i;

  for (i = 0; options.only != NULL && i < KINDS; i++)
    if (strcmp(kinds[i]->name, options.only) == 0)
      return kinds[i];
  return kinds[draw(self, KINDS)];
}

static uint64_t quota_max(void) {
  uint64_t n = options.messages / SCENES;

  return n == 0 ? 1 : n < QUOTA_MAX ? n : QUOTA_MAX;
}

/* The lock is held, so that no other scene is made meanwhile; it is short. */
static struct scene* make_scene(struct player* self) {
  const struct kind* kind = draw_kind(self);
  struct scene* s = calloc(1, kind->size);
  size_t most = options.threads < PARTS_MAX ? options.threads : PARTS_MAX;

  expect(s != NULL);
  s->kind = kind;
  s->number = ++scene_count;
  s->parts = kind->parts_min + (size_t) draw(self, most - kind->parts_min + 1);
  s->quota = draw_size(self, quota_max());
  self->scene = s;
  kind->make(self, s);
  atomic_store(&open_number, s->number);
  return s;
}

/* The next part that is free; NULL if it is over and nobody waits for one. */
static struct scene* take_part(struct player* self, size_t* part) {
  struct scene* s;

  uv_mutex_lock(&lobby);
  if (open_scene == NULL && !is_over())
    open_scene = make_scene(self);
  s = open_scene;
  if (s != NULL) {
    *part = s->taken++;
    if (s->taken == s->parts) {
      open_scene = NULL;
      atomic_store(&open_number, 0);
    }
  }
  uv_mutex_unlock(&lobby);
  return s;
}

static void leave_scene(struct scene* s) {
  bool is_last;

  uv_mutex_lock(&lobby);
  is_last = ++s->played == s->parts;
  uv_mutex_unlock(&lobby);
  if (!is_last)
    return;
  atomic_fetch_add(&messages, s->kind->check(s));
  atomic_fetch_add(&scenes[kind_index(s->kind)], 1);
  free(s);
}

static void play(void* arg) {
  struct player* self = arg;
  struct scene* s;

  while ((s = take_part(self, &self->part)) != NULL) {
    self->scene = s;
    atomic_store(&self->acts_in, s->number);
    atomic_store(&self->acts_as, (unsigned int) self->part);
    now_in(self, "begins");
    s->kind->play(self, s, self->part);
    now_in(self, "is done");
    player_done(self);
    atomic_store(&self->acts_in, 0);
    self->scene = NULL;
    leave_scene(s);
  }
  if (self->has_loop) {
    expect_eq(uv_run(&self->loop, UV_RUN_DEFAULT), 0);
    expect_eq(uv_loop_close(&self->loop), 0);
  }
  now_in(self, "has ended");
}

/* The watchdog. A part may wait for long, but in each scene that has all its players something has to go on. */

struct watched {
  unsigned int scene;
  uint64_t beats; /* of all who play in it */
  uint64_t ticks; /* since they have changed */
};

static uint64_t beats_of(unsigned int scene) {
  uint64_t beats = 0;
  size_t i;

  for (i = 0; i < options.threads; i++)
    if (atomic_load_explicit(&players[i].acts_in, memory_order_relaxed) == scene)
      beats += 1 + atomic_load_explicit(&players[i].beats, memory_order_relaxed);
  return beats;
}

static void watch(struct watched* w, unsigned int scene) {
  uint64_t beats = scene != 0 ? beats_of(scene) : 0;

  w->ticks = scene != 0 && scene != atomic_load(&open_number) && w->scene == scene && w->beats == beats ? w->ticks + 1 : 0;
  w->scene = scene;
  w->beats = beats;
  if (w->ticks * TICK > options.patience * 1000000000)
    stress_fail(__FILE__, __LINE__, "nothing goes on in a scene", scene);
}

static int all_have_ended(void) {
  size_t i;

  for (i = 0; i < options.threads; i++) {
    const char* does = atomic_load_explicit(&players[i].does, memory_order_relaxed);
    if (does == NULL || strcmp(does, "has ended") != 0)
      return 0;
  }
  return 1;
}

static void watch_until_over(void) {
  static struct watched watched[64];
  struct timespec tick = {0, TICK};
  uint64_t began = uv_hrtime();
  size_t i;

  while (!all_have_ended()) {
    for (i = 0; i < options.threads; i++)
      watch(&watched[i], atomic_load_explicit(&players[i].acts_in, memory_order_relaxed));
    if (is_interrupted || (options.seconds > 0 && uv_hrtime() - began >= options.seconds * 1000000000))
      atomic_store(&must_end, 1);
    (void) nanosleep(&tick, NULL);
  }
}

/* The program. */

static void usage(FILE* stream) {
  fprintf(stream,
          "Usage: stress [OPTION...]\n"
          "\n"
          "Threads open, use and close channels and loops at random; what was sent must come out once, and each wait must end.\n"
          "\n"
          "  --messages N    end after so many messages, %llu if not given\n"
          "  --seconds N     or after that time\n"
          "  --threads N     2 to 64, %zu if not given\n"
          "  --seed N        of all that is drawn; UVCH_TEST_SEED in the environment does the same; else from the clock\n"
          "  --yields N      one interruption in N steps of the library, %llu if not given; 0: none\n"
          "  --patience N    seconds without any progress that count as a hang, %llu if not given\n"
          "  --only KIND     only mpsc, call, broadcast, watch or inbox\n"
          "  -h, --help      this text\n"
          "\n"
          "Ctrl-C ends it in order. The exit code is 0 if nothing was wrong.\n",
          (unsigned long long) options.messages, options.threads, (unsigned long long) options.yields,
          (unsigned long long) options.patience);
}

static _Noreturn void refuse(const char* what) {
  fprintf(stderr, "stress: wrong argument: %s (see stress --help)\n", what);
  exit(2);
}

static uint64_t to_number(const char* text) {
  char* end;
  unsigned long long n;

  errno = 0;
  n = strtoull(text, &end, 10);
  if (errno != 0 || *text < '0' || *text > '9' || *end != '\0')
    refuse(text);
  return n;
}

static uint64_t to_number_within(const char* text, uint64_t least, uint64_t most) {
  uint64_t n = to_number(text);

  if (n < least || n > most)
    refuse(text);
  return n;
}

static void set_option(const char* name, const char* value) {
  if (strcmp(name, "--messages") == 0)
    options.messages = to_number_within(value, 1, UINT64_MAX);
  else if (strcmp(name, "--seconds") == 0)
    options.seconds = to_number_within(value, 1, 1000000000);
  else if (strcmp(name, "--threads") == 0)
    options.threads = (size_t) to_number_within(value, 2, 64);
  else if (strcmp(name, "--seed") == 0)
    options.seed = to_number(value);
  else if (strcmp(name, "--yields") == 0)
    options.yields = to_number_within(value, 0, UINT32_MAX / 2);
  else if (strcmp(name, "--patience") == 0)
    options.patience = to_number_within(value, 1, 1000000);
  else if (strcmp(name, "--only") == 0)
    options.only = value;
  else
    refuse(name);
}

static void check_only(void) {
  size_t i;

  for (i = 0; options.only != NULL && i < KINDS; i++)
    if (strcmp(kinds[i]->name, options.only) == 0)
      return;
  if (options.only != NULL)
    refuse(options.only);
}

static void read_options(int argc, char** argv) {
  const char* seed = getenv("UVCH_TEST_SEED");
  int i;

  options.seed = seed != NULL ? to_number(seed) : uv_hrtime() ^ (uint64_t) time(NULL) << 32;
  for (i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
      usage(stdout);
      exit(EXIT_SUCCESS);
    }
    if (i + 1 == argc)
      refuse(argv[i]);
    set_option(argv[i], argv[i + 1]);
  }
  check_only();
}

static void on_interrupt(int number) {
  (void) number;
  is_interrupted = 1;
}

static void print_totals(uint64_t began) {
  uint64_t all = 0;
  size_t i;

  printf("%llu messages in %.1f s", (unsigned long long) atomic_load(&messages), (double) (uv_hrtime() - began) / 1e9);
  for (i = 0; i < KINDS; i++) {
    all += atomic_load(&scenes[i]);
    if (atomic_load(&scenes[i]) > 0)
      printf(", %s %llu", kinds[i]->name, (unsigned long long) atomic_load(&scenes[i]));
  }
  printf(", %llu scenes in all%s\n", (unsigned long long) all, is_interrupted ? " (interrupted)" : "");
}

int main(int argc, char** argv) {
  uint64_t began = uv_hrtime();
  size_t i;

  read_options(argc, argv);
  yields_bug = getenv("UVCH_TEST_BUG");
  yields_start(options.seed, (uint32_t) options.yields);
  expect_eq(uvch_replace_allocator(support_malloc, support_realloc, support_calloc, support_free), 0);
  expect_eq(uv_mutex_init(&lobby), 0);
  signal(SIGINT, on_interrupt);
  printf("seed %llu\n", (unsigned long long) options.seed);
  fflush(stdout);
  players = calloc(options.threads, sizeof *players);
  expect(players != NULL);
  for (i = 0; i < options.threads; i++) {
    players[i].index = i;
    players[i].random = (options.seed + i) * UINT64_C(0xbf58476d1ce4e5b9) | 1;
    expect_eq(uv_thread_create(&players[i].thread, play, &players[i]), 0);
  }
  watch_until_over();
  for (i = 0; i < options.threads; i++)
    expect_eq(uv_thread_join(&players[i].thread), 0);
  expect_eq(support_alloc_blocks(), 0);
  print_totals(began);
  uv_mutex_destroy(&lobby);
  free(players);
  return EXIT_SUCCESS;
}
