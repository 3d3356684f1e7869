/* SPDX-License-Identifier: MIT
 *
 * What a call takes from the system fails: descriptors, locks, threads, memory of libuv's own. The functions that give them are
 * replaced here by ones that fail when told, for the library and for libuv; and descriptors run out for real. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is replaced. */

enum { EVENTFD, EPOLL_CTL, MUTEX_INIT, COND_INIT, SEM_INIT, KEY_CREATE, THREAD_CREATE, LIBUV_MEMORY, SITES };

typedef struct site_s {
  size_t fail_in; /* the n-th one from now on; 0: none */
  bool for_good;
  size_t failed;
  size_t calls;
  int error;
} site_t;

/* The rows' own thread makes the calls; their helpers begin after the fault is off. */
static site_t sites[SITES];

static int fails(int site) {
  site_t* s = &sites[site];

  s->calls += 1;
  if (s->fail_in == 0 || (s->fail_in > 1 && s->fail_in-- > 1))
    return 0;
  if (!s->for_good)
    s->fail_in = 0;
  s->failed += 1;
  return s->error;
}

/* libuv is to find them, too. */
#define REPLACES __attribute__((visibility("default")))

/* The function of the next library that has it. */
static void find(void* function, const char* name) {
  void* address = dlsym(RTLD_NEXT, name);

  memcpy(function, &address, sizeof(address));
}

REPLACES int eventfd(unsigned int count, int flags) {
  static int (*next)(unsigned int, int);
  int fd;

  errno = fails(EVENTFD);
  if (errno != 0)
    return -1;
  if (next == NULL)
    find(&next, "eventfd");
  fd = next(count, flags);
  if (fd < 0 && sites[EVENTFD].error == 0) /* a real one: the limit of the process */
    sites[EVENTFD].failed += 1;
  return fd;
}

REPLACES int epoll_ctl(int epoll, int operation, int fd, struct epoll_event* event) {
  static int (*next)(int, int, int, struct epoll_event*);

  errno = operation == EPOLL_CTL_ADD ? fails(EPOLL_CTL) : 0;
  if (errno != 0)
    return -1;
  if (next == NULL)
    find(&next, "epoll_ctl");
  return next(epoll, operation, fd, event);
}

REPLACES int pthread_mutex_init(pthread_mutex_t* mutex, const pthread_mutexattr_t* attributes) {
  static int (*next)(pthread_mutex_t*, const pthread_mutexattr_t*);
  int err = fails(MUTEX_INIT);

  if (err != 0)
    return err;
  if (next == NULL)
    find(&next, "pthread_mutex_init");
  return next(mutex, attributes);
}

REPLACES int pthread_cond_init(pthread_cond_t* cond, const pthread_condattr_t* attributes) {
  static int (*next)(pthread_cond_t*, const pthread_condattr_t*);
  int err = fails(COND_INIT);

  if (err != 0)
    return err;
  if (next == NULL)
    find(&next, "pthread_cond_init");
  return next(cond, attributes);
}

REPLACES int sem_init(sem_t* semaphore, int shared, unsigned int value) {
  static int (*next)(sem_t*, int, unsigned int);

  errno = fails(SEM_INIT);
  if (errno != 0)
    return -1;
  if (next == NULL)
    find(&next, "sem_init");
  return next(semaphore, shared, value);
}

REPLACES int pthread_key_create(pthread_key_t* key, void (*destructor)(void*)) {
  static int (*next)(pthread_key_t*, void (*)(void*));
  int err = fails(KEY_CREATE);

  if (err != 0)
    return err;
  if (next == NULL)
    find(&next, "pthread_key_create");
  return next(key, destructor);
}

REPLACES int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*entry)(void*), void* arg) {
  static int (*next)(pthread_t*, const pthread_attr_t*, void* (*) (void*), void*);
  int err = fails(THREAD_CREATE);

  if (err != 0)
    return err;
  if (next == NULL)
    find(&next, "pthread_create");
  return next(thread, attributes, entry, arg);
}

/* libuv's memory. */

static void* uv_malloc_or_fail(size_t size) {
  return fails(LIBUV_MEMORY) != 0 ? NULL : malloc(size);
}

static void* uv_realloc_or_fail(void* old, size_t size) {
  return fails(LIBUV_MEMORY) != 0 ? NULL : realloc(old, size);
}

static void* uv_calloc_or_fail(size_t count, size_t size) {
  return fails(LIBUV_MEMORY) != 0 ? NULL : calloc(count, size);
}

/* As faults of the rows. */

static void arm_at(int site, int error, size_t n, bool for_good) {
  sites[site] = (site_t){.fail_in = n, .for_good = for_good, .error = error};
}

static void disarm(void) {
  size_t i;

  for (i = 0; i < SITES; i++)
    sites[i].fail_in = 0;
}

#define FAULT(number, site, error)                    \
  static void arm_##number(size_t n, bool for_good) { \
    arm_at(site, error, n, for_good);                 \
  }                                                   \
  static size_t failed_##number(void) {               \
    return sites[site].failed;                        \
  }
/* In the end libuv needs epoll. */
#define AS_FAULT(number, name, code) \
  { name, code, arm_##number, disarm, failed_##number, arm_##number != arm_enospc }

FAULT(emfile, EVENTFD, EMFILE)
FAULT(enfile, EVENTFD, ENFILE)
FAULT(enospc, EPOLL_CTL, ENOSPC)
FAULT(mutex, MUTEX_INIT, EAGAIN)
FAULT(cond, COND_INIT, EAGAIN)
FAULT(sem, SEM_INIT, ENOSPC)
FAULT(key, KEY_CREATE, EAGAIN)
FAULT(thread, THREAD_CREATE, EAGAIN)
FAULT(libuv, LIBUV_MEMORY, ENOMEM)

/* No descriptor is left. */

static struct rlimit limit;

static void lower_limit(size_t n, bool for_good) {
  struct rlimit low;
  int fd = dup(STDERR_FILENO); /* the lowest one that is free */

  (void) for_good;
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
  low = limit;
  low.rlim_cur = (rlim_t) fd + n - 1;
  close(fd);
  arm_at(EVENTFD, 0, 0, false);
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
}

static void raise_limit(void) {
  if (limit.rlim_cur != 0)
    setrlimit(RLIMIT_NOFILE, &limit);
}

static const fault_t faults[] = {
    {"descriptor", UV_EMFILE, lower_limit, raise_limit, failed_emfile, true},
    AS_FAULT(emfile, "eventfd", UV_EMFILE),
    AS_FAULT(enfile, "eventfd", UV_ENFILE),
    AS_FAULT(enospc, "epoll_ctl", UV_ENOSPC),
    AS_FAULT(mutex, "pthread_mutex_init", UV_ENOMEM),
    AS_FAULT(cond, "pthread_cond_init", UV_ENOMEM),
};

/* What the library does not use at all. */
static const fault_t unused[] = {
    AS_FAULT(sem, "sem_init", 0),
    AS_FAULT(key, "pthread_key_create", 0),
    AS_FAULT(thread, "pthread_create", 0),
    AS_FAULT(libuv, "allocation of libuv", 0),
};

/* The helpers look at the calling thread through a descriptor, and their rows need none. After a fork locks are made again, as if
 * that could not fail; it cannot where it did not before. */
static bool is_excused(const row_t* row, const fault_t* fault) {
  return (fault->arm == lower_limit && row->help != NULL) ||
         (fault->arm == arm_mutex && strcmp(row->name, "uvch_loop_fork") == 0);
}

/* Some of the rows meet each fault, but those of descriptors where libuv shares one between its asyncs. */
START_TEST(a_call_that_does_not_get_what_it_needs_says_so_and_changes_nothing) {
  const fault_t* fault = &faults[_i / MANNERS];
  size_t met = 0;
  size_t i;

  for (i = 0; i < row_count; i++)
    met += !is_excused(&rows[i], fault) && run_row_through(&rows[i], fault, (manner_t) (_i % MANNERS)) > 0;
  ck_assert_msg(met > 0 || uv_version() >= 0x012d00 || getenv("UVCH_TEST_WAKE") != NULL, "no row has met %s", fault->name);
}
END_TEST

START_TEST(no_call_makes_threads_keys_or_semaphores_or_lets_libuv_allocate) {
  size_t i;

  for (i = 0; i < row_count; i++)
    ck_assert_msg(run_row_through(&rows[i], &unused[_i], AGAIN_AT_ONCE) == 0, "%s uses %s", rows[i].name, unused[_i].name);
}
END_TEST

/* A second loop. */

static void on_count(uv_loop_t* loop, int status, void* arg) {
  (void) loop;
  *(size_t*) arg += status == 0;
}

START_TEST(a_loop_that_got_no_descriptor_does_not_harm_the_other) {
  uvch_inbox_t inbox[2];
  uv_loop_t loop[2];
  size_t count = 0;
  int answer;
  size_t i;

  support_loop_init(&loop[0]);
  support_loop_init(&loop[1]);
  ck_assert_int_eq(uvch_inbox_init(&loop[0], &inbox[0]), 0);
  lower_limit(1, true);
  answer = uvch_inbox_init(&loop[1], &inbox[1]);
  ck_assert_int_eq(answer, failed_emfile() > 0 ? UV_EMFILE : 0);
  ck_assert_int_eq(uvch_post(&inbox[0], on_count, &count), 0);
  while (count == 0)
    uv_run(&loop[0], UV_RUN_ONCE);
  raise_limit();
  if (answer != 0)
    ck_assert_int_eq(uvch_inbox_init(&loop[1], &inbox[1]), 0);
  ck_assert_int_eq(uvch_post(&inbox[1], on_count, &count), 0);
  for (i = 0; i < 2; i++) {
    ck_assert_int_eq(uvch_inbox_close(&inbox[i]), 0);
    support_loop_end(&loop[i]);
  }
  ck_assert_uint_eq(count, 2);
}
END_TEST

/* From the loop on: with 0, 1, 2, ... descriptors. */
START_TEST(a_program_that_runs_out_of_descriptors_anywhere_gets_the_error_and_can_go_on_later) {
  bool worked = false;
  uvch_inbox_t inbox;
  uv_loop_t loop;
  size_t count;
  size_t n;
  int err;

  for (n = 1; !worked; n++) {
    count = 0;
    lower_limit(n, true);
    err = uv_loop_init(&loop);
    if (err != 0) {
      ck_assert_int_eq(err, UV_EMFILE);
      raise_limit();
      continue;
    }
    err = uvch_inbox_init(&loop, &inbox);
    worked = err == 0;
    raise_limit();
    ck_assert_int_eq(err, worked ? 0 : UV_EMFILE);
    if (!worked)
      ck_assert_int_eq(uvch_inbox_init(&loop, &inbox), 0);
    ck_assert_int_eq(uvch_post(&inbox, on_count, &count), 0);
    ck_assert_int_eq(uvch_inbox_close(&inbox), 0);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_uint_eq(count, 1);
  }
  ck_assert_uint_gt(n, 3); /* epoll, and two more */
}
END_TEST

/* A real child. */

#define child_expect(condition)                                                     \
  do {                                                                              \
    if (!(condition)) {                                                             \
      fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                     \
    }                                                                               \
  } while (0)

static void go_on_in_child(uv_loop_t* loop, uvch_inbox_t* inbox, const size_t* count, bool for_memory) {
  int answer;

  signal(SIGALRM, SIG_DFL); /* check has its own, for the whole group */
  alarm(60);
  child_expect(uv_loop_fork(loop) == 0);
  if (for_memory) {
    support_alloc_fail(1);
    answer = uvch_loop_fork(loop);
    child_expect(answer == UV_ENOMEM);
  } else {
    lower_limit(1, true);
    answer = uvch_loop_fork(loop);
    raise_limit();
    child_expect(answer == (failed_emfile() > 0 ? UV_EMFILE : 0));
  }
  if (answer != 0) {
    uv_run(loop, UV_RUN_NOWAIT); /* nothing comes, and the parent's wake-up is left alone */
    child_expect(*count == 0);
    child_expect(uvch_loop_fork(loop) == 0);
  }
  child_expect(uvch_inbox_close(inbox) == 0);
  child_expect(uv_run(loop, UV_RUN_DEFAULT) == 0);
  child_expect(*count == 1);
  child_expect(uv_loop_close(loop) == 0);
  child_expect(support_alloc_blocks() == 0);
  _exit(0);
}

START_TEST(a_child_that_gets_nothing_may_ask_again) {
  uvch_inbox_t inbox;
  size_t count = 0;
  int status = -1;
  uv_loop_t loop;
  pid_t child;

  support_loop_init(&loop);
  ck_assert_int_eq(uvch_inbox_init(&loop, &inbox), 0);
  ck_assert_int_eq(uvch_post(&inbox, on_count, &count), 0);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0)
    go_on_in_child(&loop, &inbox, &count, _i == 0);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child has failed, status %d", status);
  ck_assert_int_eq(uvch_inbox_close(&inbox), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(count, 1);
}
END_TEST

/* Signals in the middle of waiting. */

static _Atomic(size_t) interrupted;

static void on_signal(int number) {
  (void) number;
  atomic_fetch_add(&interrupted, 1);
}

typedef struct pest_s {
  pthread_t whom;
  _Atomic(bool) stop;
  size_t most;
} pest_t;

static void pester(void* arg) {
  pest_t* pest = arg;
  size_t sent;

  for (sent = 0; sent < pest->most && !atomic_load(&pest->stop); sent++) {
    pthread_kill(pest->whom, SIGUSR1);
    support_yield();
  }
}

static void arm_nothing(size_t n, bool for_good) {
  (void) n;
  (void) for_good;
}

static void disarm_nothing(void) {}

static size_t failed_nothing(void) {
  return 0;
}

static const fault_t nothing = {"nothing", 0, arm_nothing, disarm_nothing, failed_nothing, false};

START_TEST(a_wait_that_signals_interrupt_goes_on) {
  struct sigaction action;
  uv_thread_t thread;
  pest_t pest;
  size_t i;

  memset(&action, 0, sizeof(action));
  action.sa_handler = on_signal; /* without SA_RESTART */
  ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
  for (i = 0; i < row_count; i++) {
    if (rows[i].help == NULL)
      continue;
    memset(&pest, 0, sizeof(pest));
    pest.whom = pthread_self();
    pest.most = support_scale(2000);
    support_spawn(&thread, pester, &pest);
    run_row(&rows[i], &nothing, AGAIN_AT_ONCE, 1);
    atomic_store(&pest.stop, true);
    support_join(&thread);
  }
  ck_assert_uint_gt(atomic_load(&interrupted), 0);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("limits");
  TCase* tcase = support_case(suite, "calls");

  if (uv_replace_allocator(uv_malloc_or_fail, uv_realloc_or_fail, uv_calloc_or_fail, free) != 0)
    return EXIT_FAILURE;
  tcase_add_unchecked_fixture(tcase, settle, NULL);
  tcase_add_loop_test(tcase, a_call_that_does_not_get_what_it_needs_says_so_and_changes_nothing, 0,
                      (int) (COUNT(faults) * MANNERS));
  tcase_add_loop_test(tcase, no_call_makes_threads_keys_or_semaphores_or_lets_libuv_allocate, 0, (int) COUNT(unused));
  tcase_add_test(tcase, a_wait_that_signals_interrupt_goes_on);
  tcase = support_case(suite, "descriptors");
  tcase_add_unchecked_fixture(tcase, settle, NULL);
  tcase_add_test(tcase, a_loop_that_got_no_descriptor_does_not_harm_the_other);
  tcase_add_test(tcase, a_program_that_runs_out_of_descriptors_anywhere_gets_the_error_and_can_go_on_later);
  tcase_add_loop_test(tcase, a_child_that_gets_nothing_may_ask_again, 0, 2);
  return support_main(suite);
}
