/* SPDX-License-Identifier: MIT */
#include "plain.h"

#include <string.h>

void plain_store(int* at, int value) {
  *at = value;
}

int plain_load(const int* at) {
  return *at;
}

void plain_store_byte(char* at, char value) {
  *at = value;
}

void plain_copy(struct plain* to, const struct plain* from) {
  memcpy(to, from, sizeof *to);
}

void plain_assign(struct plain* to, const struct plain* from) {
  *to = *from;
}

void plain_clear(struct plain* at) {
  memset(at, 0, sizeof *at);
}
