/* SPDX-License-Identifier: MIT
 *
 * For libFuzzer: walks of the kind that UVCH_FUZZ_KIND names. */
#include "walk.h"

#include <stdio.h>

int LLVMFuzzerInitialize(int* argc, char*** argv);
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static const walk_kind_t* kind;

int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const char* name = getenv("UVCH_FUZZ_KIND");

  (void) argc;
  (void) argv;
  kind = name != NULL ? walk_kind(name) : NULL;
  if (kind == NULL) {
    fprintf(stderr, "UVCH_FUZZ_KIND is not the name of a kind\n");
    exit(2);
  }
  walk_set_up();
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kind->run(data, size);
  return 0;
}
