/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { FAILED = 1, WRONG = 2, NONE = 3 };

/* Of the process as it was started. */
static cpu_set_t allowed;

void peer_fail(const char* format, ...) {
  va_list args;

  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  _exit(FAILED);
}

void peer_none(const char* why) {
  fprintf(stderr, "%s\n", why);
  _exit(NONE);
}

static int wrong(const char* what) {
  fprintf(stderr, "wrong argument: %s\n", what);
  return WRONG;
}

/* One KEY=VALUE. Returns 0 or WRONG. */
static int parse(struct peer_args* args, const char* arg) {
  const char* value = strchr(arg, '=');
  size_t key = value == NULL ? 0 : (size_t) (value - arg);
  char* end;
  uint64_t n;

  if (value == NULL)
    return wrong(arg);
  value++;
#define IS(name) (key == strlen(name) && strncmp(arg, name, key) == 0)
  if (IS("place")) {
    args->split = strcmp(value, "split") == 0;
    return args->split || strcmp(value, "free") == 0 ? 0 : wrong(arg);
  }
  if (IS("where")) {
    args->one = strcmp(value, "one") == 0;
    return args->one || strcmp(value, "threads") == 0 ? 0 : wrong(arg);
  }
  if (IS("op")) {
    args->read = strcmp(value, "read") == 0;
    return args->read || strcmp(value, "send") == 0 ? 0 : wrong(arg);
  }
  errno = 0;
  n = strtoull(value, &end, 10);
  if (errno != 0 || end == value || *end != '\0' || n > (uint64_t) 1 << 40)
    return wrong(arg);
  if (IS("messages"))
    args->messages = n;
  else if (IS("capacity"))
    args->capacity = (size_t) n;
  else if (IS("size"))
    args->size = (size_t) n;
  else if (IS("producers"))
    args->producers = (unsigned int) n;
  else if (IS("receivers"))
    args->receivers = (unsigned int) n;
  else if (IS("outstanding"))
    args->outstanding = (unsigned int) n;
  else if (IS("channels"))
    args->channels = (size_t) n;
  else
    return wrong(arg);
#undef IS
  return 0;
}

int peer_main(int argc, char** argv, const struct peer_row* rows) {
  struct peer_args args = {.messages = 1000000, .size = 8, .producers = 1, .receivers = 1, .outstanding = 1, .channels = 1};
  int i;

  if (argc < 3)
    return wrong("PEER CASE [KEY=VALUE...]");
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    peer_fail("sched_getaffinity: %s", strerror(errno));
  args.peer = argv[1];
  args.name = argv[2];
  for (i = 3; i < argc; i++) {
    if (parse(&args, argv[i]) != 0)
      return WRONG;
  }
  if (args.messages == 0 || args.size < 8 || args.size > PEER_SIZE_MAX || args.size % 8 != 0 || args.producers == 0 ||
      args.producers > PEER_PRODUCERS_MAX || args.receivers == 0 || args.outstanding == 0 || args.channels == 0)
    return wrong("a number out of its range");
  for (; rows->peer != NULL; rows++) {
    if (strcmp(rows->peer, args.peer) == 0 && strcmp(rows->name, args.name) == 0) {
      rows->run(&args);
      return 0;
    }
  }
  peer_none("it has no such case");
}

void peer_place(const struct peer_args* args, unsigned int n) {
  cpu_set_t one;
  int cpu = -1;

  if (!args->split)
    return;
  n %= (unsigned int) CPU_COUNT(&allowed);
  do {
    if (CPU_ISSET((size_t) ++cpu, &allowed) && n-- == 0)
      break;
  } while (cpu < CPU_SETSIZE - 1);
  CPU_ZERO(&one);
  CPU_SET((size_t) cpu, &one);
  sched_setaffinity(0, sizeof(one), &one);
}

static uint64_t clock_ns(clockid_t clock) {
  struct timespec ts;

  clock_gettime(clock, &ts);
  return (uint64_t) ts.tv_sec * 1000000000U + (uint64_t) ts.tv_nsec;
}

uint64_t peer_now(void) {
  return clock_ns(CLOCK_MONOTONIC);
}

uint64_t peer_cpu(void) {
  return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void peer_meter_start(struct peer_meter* meter) {
  meter->cpu = peer_cpu();
  meter->wall = peer_now();
}

void peer_meter_stop(struct peer_meter* meter) {
  meter->wall = peer_now() - meter->wall;
  meter->cpu = peer_cpu() - meter->cpu;
}

static int compare(const void* a, const void* b) {
  uint64_t x = *(const uint64_t*) a;
  uint64_t y = *(const uint64_t*) b;

  return (x > y) - (x < y);
}

void peer_result_more(uint64_t messages, const struct peer_meter* meter, uint64_t* times, size_t n, const char* key,
                      uint64_t value) {
  printf("messages=%" PRIu64 " wall_ns=%" PRIu64 " cpu_ns=%" PRIu64, messages, meter->wall, meter->cpu);
  if (times != NULL) {
    qsort(times, n, sizeof(*times), compare);
    printf(" p50_ns=%" PRIu64 " p99_ns=%" PRIu64, times[n / 2], times[n * 99 / 100]);
  }
  if (key != NULL)
    printf(" %s=%" PRIu64, key, value);
  putchar('\n');
}

void peer_result(uint64_t messages, const struct peer_meter* meter, uint64_t* times, size_t n) {
  peer_result_more(messages, meter, times, n, NULL, 0);
}

void* peer_xcalloc(size_t n, size_t size) {
  void* p = calloc(n, size);

  if (p == NULL)
    peer_fail("out of memory");
  return p;
}

uint64_t peer_resident(void) {
  FILE* file = fopen("/proc/self/statm", "re");
  uint64_t pages = 0;

  if (file == NULL || fscanf(file, "%*u %" SCNu64, &pages) != 1)
    peer_fail("cannot read /proc/self/statm");
  fclose(file);
  return pages * (uint64_t) sysconf(_SC_PAGESIZE);
}

int peer_page(void) {
  char path[64];
  int fd;

  snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", syscall(SYS_gettid));
  fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    peer_fail("cannot open %s", path);
  return fd;
}

/* The letter after the name in brackets. */
int peer_sleeps(int page) {
  char line[128];
  ssize_t n = pread(page, line, sizeof(line) - 1, 0);
  const char* p;

  if (n <= 0)
    return 0;
  line[n] = '\0';
  p = strrchr(line, ')');
  return p != NULL && p[1] == ' ' && p[2] == 'S';
}

uint64_t peer_random(uint64_t* state) {
  *state += 0x9e3779b97f4a7c15U;
  uint64_t z = *state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}
