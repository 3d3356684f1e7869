/* SPDX-License-Identifier: MIT
 *
 * Plain memory as the sources under test touch it: the compiler tells the model of it. */
#ifndef UVCH_TEST_MODEL_PLAIN_H
#define UVCH_TEST_MODEL_PLAIN_H

struct plain {
  int a;
  char b;
  char c;
  int rest[8];
};

void plain_store(int* at, int value);
int plain_load(const int* at);
void plain_store_byte(char* at, char value);
void plain_copy(struct plain* to, const struct plain* from);
void plain_assign(struct plain* to, const struct plain* from);
void plain_clear(struct plain* at);

#endif
