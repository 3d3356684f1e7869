/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int syscalls_fd = -1;
static int instructions_fd = -1;

void fail(struct result* result, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(result->why, sizeof(result->why), format, args);
  va_end(args);
  _exit(1);
}

void* xcalloc(struct result* result, size_t n, size_t size) {
  void* p = calloc(n, size);

  if (p == NULL)
    fail(result, "out of memory");
  return p;
}

static int free_placement;

void place_freely(void) {
  free_placement = 1;
}

/* On one of the processors that `process` may use. */
static void place_as(pid_t process, unsigned int n) {
  cpu_set_t allowed, one;
  int cpu = -1;

  if (free_placement || sched_getaffinity(process, sizeof(allowed), &allowed) != 0)
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

void place(unsigned int n) {
  place_as(getppid(), n);
}

/* The line that two threads write in turn: odd by the first, even by the second, LINE_END by the first when it is done. */
#define LINE_END UINT_MAX
#define LINE_TRIPS 200
#define LINE_TRIES 10

static struct {
  _Alignas(128) atomic_uint line;
  _Alignas(128) uint64_t best;
} court;

static void await_line(unsigned int value) {
  while (atomic_load_explicit(&court.line, memory_order_acquire) != value)
    ;
}

static void line_first(void* arg) {
  uint64_t start, spent;
  unsigned int i, k;

  (void) arg;
  place_as(getpid(), 0);
  for (k = 0; k < LINE_TRIES; k++) {
    start = uv_hrtime();
    for (i = 0; i < LINE_TRIPS; i++) {
      atomic_store_explicit(&court.line, 2 * i + 1, memory_order_release);
      await_line(2 * i + 2);
    }
    spent = (uv_hrtime() - start) / LINE_TRIPS;
    if (court.best == 0 || spent < court.best)
      court.best = spent;
    atomic_store_explicit(&court.line, 0, memory_order_release);
  }
  atomic_store_explicit(&court.line, LINE_END, memory_order_release);
}

static void line_second(void* arg) {
  unsigned int value;

  (void) arg;
  place_as(getpid(), 1);
  while ((value = atomic_load_explicit(&court.line, memory_order_acquire)) != LINE_END) {
    if (value % 2 == 1)
      atomic_store_explicit(&court.line, value + 1, memory_order_release);
  }
}

uint64_t line_time(void) {
  uv_thread_t first, second;
  cpu_set_t allowed;

  if (free_placement || sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) < 2)
    return 0;
  court.best = 0;
  atomic_store(&court.line, 0);
  if (uv_thread_create(&second, line_second, NULL) != 0)
    return 0;
  if (uv_thread_create(&first, line_first, NULL) == 0)
    uv_thread_join(&first);
  else
    atomic_store(&court.line, LINE_END);
  uv_thread_join(&second);
  return court.best;
}

static int open_counter(uint32_t type, uint64_t config) {
  struct perf_event_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.size = sizeof(attr);
  attr.type = type;
  attr.config = config;
  attr.disabled = 1;
  attr.inherit = 1;
  attr.exclude_kernel = type == PERF_TYPE_HARDWARE;
  return (int) syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* The number of the kernel's trace point at the entry of every system call, or -1. Only root may see it. */
static long tracepoint(void) {
  FILE* file = fopen("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "re");
  char line[32] = "-1";

  if (file == NULL)
    file = fopen("/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id", "re");
  if (file == NULL)
    return -1;
  if (fgets(line, sizeof(line), file) == NULL)
    strcpy(line, "-1");
  fclose(file);
  return strtol(line, NULL, 10);
}

unsigned int counters_open(void) {
  long id = tracepoint();

  if (id > 0)
    syscalls_fd = open_counter(PERF_TYPE_TRACEPOINT, (uint64_t) id);
  instructions_fd = open_counter(PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS);
  return (syscalls_fd >= 0 ? BIT(SYSCALLS) : 0) | (instructions_fd >= 0 ? BIT(INSTRUCTIONS) : 0);
}

static uint64_t cpu_time(void) {
  struct timespec ts;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
  return (uint64_t) ts.tv_sec * 1000000000U + (uint64_t) ts.tv_nsec;
}

static uint64_t switches(void) {
  struct rusage usage;

  getrusage(RUSAGE_SELF, &usage);
  return (uint64_t) usage.ru_nvcsw;
}

static void counter_do(int fd, unsigned long request) {
  if (fd >= 0)
    ioctl(fd, request, 0);
}

static int64_t counter_read(int fd) {
  uint64_t value;

  if (fd < 0 || read(fd, &value, sizeof(value)) != (ssize_t) sizeof(value))
    return -1;
  return (int64_t) value;
}

void meter_start(struct meter* meter) {
  counter_do(syscalls_fd, PERF_EVENT_IOC_ENABLE);
  counter_do(instructions_fd, PERF_EVENT_IOC_ENABLE);
  meter->switches = switches();
  meter->cpu = cpu_time();
  meter->wall = uv_hrtime();
}

void meter_stop(const struct meter* meter, struct result* result) {
  result->wall_ns = uv_hrtime() - meter->wall;
  result->cpu_ns = cpu_time() - meter->cpu;
  result->switches = switches() - meter->switches;
  counter_do(instructions_fd, PERF_EVENT_IOC_DISABLE);
  counter_do(syscalls_fd, PERF_EVENT_IOC_DISABLE);
  result->syscalls = counter_read(syscalls_fd);
  result->instructions = counter_read(instructions_fd);
}

int thread_page(struct result* result) {
  char path[64];
  int fd;

  snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", syscall(SYS_gettid));
  fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    fail(result, "cannot open %s", path);
  return fd;
}

/* The letter after the name in brackets. */
int thread_sleeps(int fd) {
  char line[128];
  ssize_t n = pread(fd, line, sizeof(line) - 1, 0);
  const char* p;

  if (n <= 0)
    return 0;
  line[n] = '\0';
  p = strrchr(line, ')');
  return p != NULL && p[1] == ' ' && p[2] == 'S';
}

uint64_t thread_switches(void) {
  struct rusage usage;

  getrusage(RUSAGE_THREAD, &usage);
  return (uint64_t) usage.ru_nvcsw;
}

static int compare(const void* a, const void* b) {
  uint64_t x = *(const uint64_t*) a;
  uint64_t y = *(const uint64_t*) b;

  return (x > y) - (x < y);
}

void set_percentiles(struct result* result, uint64_t* times, size_t n) {
  qsort(times, n, sizeof(*times), compare);
  result->value = (double) times[n / 2] / 1000;
  result->p99 = (double) times[n * 99 / 100] / 1000;
}

void chan_open(struct chan* ch, uv_loop_t* loop, const struct setup* setup, uvch_mpsc_recv_cb cb, baseline_cb base_cb, void* data,
               struct result* result) {
  ch->peer = setup->variant == BASELINE;
  if (ch->peer) {
    ch->base.data = data;
    check(result, baseline_init(loop, &ch->base, setup->capacity, base_cb), "baseline_init");
    return;
  }
  check(result, uvch_mpsc_init(loop, &ch->rx, &ch->tx, sizeof(uint64_t), setup->capacity), "uvch_mpsc_init");
  ch->rx.data = data;
  if (setup->variant == COLD)
    check(result, uvch_loop_configure(loop, UVCH_LOOP_HOT_MAX, 0), "uvch_loop_configure");
  if (cb != NULL)
    check(result, uvch_mpsc_recv_start(&ch->rx, cb), "uvch_mpsc_recv_start");
}
