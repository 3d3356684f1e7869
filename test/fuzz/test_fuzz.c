/* SPDX-License-Identifier: MIT
 *
 * Walks from seeds, and from the files of the corpus. With arguments, KIND FILE..., these files only. */
#include "../support.h"
#include "walk.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LENGTH_MAX = 1500, FILE_MAX = 1 << 16 };

/* splitmix64. */
static uint64_t next_random(uint64_t* state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static void walk_seed(const walk_kind_t* kind, uint64_t seed) {
  uint8_t bytes[LENGTH_MAX];
  uint64_t state = seed;
  size_t size = 50 + next_random(&state) % (LENGTH_MAX - 50);
  size_t i;

  for (i = 0; i < size; i++) {
    bytes[i] = (uint8_t) (next_random(&state) >> 56);
  }
  kind->run(bytes, size);
}

static bool walk_file(const walk_kind_t* kind, const char* path) {
  uint8_t* bytes = malloc(FILE_MAX); /* so that a sanitizer sees who reads past the end, it shrinks to what is there */
  FILE* file = fopen(path, "rb");
  uint8_t* exact;
  size_t size;

  if (file == NULL || bytes == NULL) {
    free(bytes);
    return false;
  }
  size = fread(bytes, 1, FILE_MAX, file);
  fclose(file);
  exact = realloc(bytes, size > 0 ? size : 1);
  kind->run(exact != NULL ? exact : bytes, size);
  free(exact != NULL ? exact : bytes);
  return true;
}

START_TEST(walks_from_seeds_go_as_the_model_says) {
  const walk_kind_t* kind = walk_kinds[_i];
  uint64_t first = (uint64_t) (_i + 1) * 1000000;
  uint64_t count = support_scale(400);
  uint64_t i;

  printf("%s: seeds %" PRIu64 " to %" PRIu64 "\n", kind->name, first, first + count - 1);
  fflush(stdout);
  for (i = 0; i < count; i++) {
    walk_seed(kind, first + i);
  }
}
END_TEST

/* Files that a fuzzer has found, each for calls that no other one makes. */
START_TEST(walks_from_the_corpus_go_as_the_model_says) {
  const walk_kind_t* kind = walk_kinds[_i];
  const char* top = getenv("srcdir");
  char folder[1024];
  char path[2048];
  struct dirent* entry;
  size_t count = 0;
  DIR* dir;

  snprintf(folder, sizeof(folder), "%s/test/fuzz/corpus/%s", top != NULL ? top : ".", kind->name);
  dir = opendir(folder);
  ck_assert_msg(dir != NULL, "cannot open %s", folder);
  while ((entry = readdir(dir)) != NULL) {
    if (entry->d_name[0] != '.') {
      snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
      ck_assert_msg(walk_file(kind, path), "cannot read %s", path);
      count += 1;
    }
  }
  closedir(dir);
  ck_assert_uint_gt(count, 0);
}
END_TEST

/* In a process of its own, since who finds it aborts. */
static bool is_found_out(const walk_kind_t* kind, size_t lie) {
  uint64_t seed;
  int status;
  pid_t child = fork();

  ck_assert_int_ge(child, 0);
  if (child == 0) {
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
    walk_lie = lie;
    for (seed = 1; seed <= 400; seed++) {
      walk_seed(kind, seed);
    }
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

START_TEST(a_model_that_is_wrong_is_found_out) {
  const walk_kind_t* kind = walk_kinds[_i];
  size_t i;

  for (i = 0; kind->lies[i] != NULL; i++) {
    ck_assert_msg(is_found_out(kind, i + 1), "%s: nobody finds out that %s", kind->name, kind->lies[i]);
  }
  ck_assert_uint_gt(i, 1);
}
END_TEST

static int walk_files(char** arguments) {
  const walk_kind_t* kind = walk_kind(arguments[0]);
  size_t i;

  if (kind == NULL || arguments[1] == NULL) {
    fprintf(stderr, "Usage: test_fuzz [KIND FILE...]\nKinds:");
    for (i = 0; walk_kinds[i] != NULL; i++) {
      fprintf(stderr, " %s", walk_kinds[i]->name);
    }
    fputc('\n', stderr);
    return 2;
  }
  for (i = 1; arguments[i] != NULL; i++) {
    if (!walk_file(kind, arguments[i])) {
      fprintf(stderr, "cannot read %s\n", arguments[i]);
      return 2;
    }
  }
  return EXIT_SUCCESS;
}

int main(int argc, char** argv) {
  Suite* suite;
  TCase* tcase;
  int kinds = 0;

  if (argc > 1) {
    walk_set_up();
    return walk_files(argv + 1);
  }
  while (walk_kinds[kinds] != NULL) {
    kinds++;
  }
  suite = suite_create("fuzz");
  tcase = support_case(suite, "walks");
  tcase_add_loop_test(tcase, walks_from_seeds_go_as_the_model_says, 0, kinds);
  tcase_add_loop_test(tcase, walks_from_the_corpus_go_as_the_model_says, 0, kinds);
  tcase_add_loop_test(tcase, a_model_that_is_wrong_is_found_out, 0, kinds);
  return support_main(suite);
}
