/* SPDX-License-Identifier: MIT
 *
 * For check_limits.sh, to be preloaded: in the program with the name UVCH_LIMIT_PROGRAM the thread with the number UVCH_LIMIT_THREAD
 * cannot be made, and there are descriptors up to the number UVCH_LIMIT_DESCRIPTORS only. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static unsigned long number(const char* name) {
  const char* program = getenv("UVCH_LIMIT_PROGRAM");
  const char* text = getenv(name);

  if (program == NULL || text == NULL || strcmp(program, program_invocation_short_name) != 0)
    return 0;
  return strtoul(text, NULL, 10);
}

__attribute__((constructor)) static void limit_descriptors(void) {
  struct rlimit limit;

  if (number("UVCH_LIMIT_DESCRIPTORS") == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return;
  limit.rlim_cur = number("UVCH_LIMIT_DESCRIPTORS");
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
    abort();
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*entry)(void*), void* arg) {
  static unsigned long threads; /* the programs make theirs on one */
  int (*next)(pthread_t*, const pthread_attr_t*, void* (*) (void*), void*);
  void* address = dlsym(RTLD_NEXT, "pthread_create");

  memcpy(&next, &address, sizeof(next));
  return ++threads == number("UVCH_LIMIT_THREAD") ? EAGAIN : next(thread, attributes, entry, arg);
}
