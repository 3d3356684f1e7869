/* SPDX-License-Identifier: MIT */
#include "phase.h"

static int raise_to(enum phase* phase, void* arg) {
  enum phase wanted = *(enum phase*) arg;

  if (*phase >= wanted)
    return 0;
  *phase = wanted;
  return 1;
}

void phase_raise(const phase_sender_t* tx, enum phase phase) {
  int r;

  do {
    r = phase_modify_if(tx, raise_to, &phase);
  } while (r == UV_EBUSY); /* others raised it meanwhile, which they do at most twice */
  must(r < 0 ? r : 0, "phase");
}
