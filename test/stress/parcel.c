/* SPDX-License-Identifier: MIT */
#include "stress.h"

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15) + 1;
  x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
  return x ^ x >> 32;
}

static uint64_t sum_of(const struct parcel* p) {
  return mix(mix(p->number) ^ ((uint64_t) p->scene << 32 | p->source));
}

void parcel_make(void* item, size_t size, uint32_t scene, size_t source, uint64_t number) {
  struct parcel p = {scene, (uint32_t) source, number, 0};

  p.sum = sum_of(&p);
  memcpy(item, &p, sizeof p);
  memset((char*) item + sizeof p, (int) (p.sum & 0xff), size - sizeof p);
}

struct parcel parcel_open(const void* item, size_t size, uint32_t scene) {
  const unsigned char* bytes = item;
  struct parcel p;
  size_t i;

  memcpy(&p, item, sizeof p);
  expect_eq(p.scene, scene);
  expect(p.source < PARTS_MAX);
  expect(p.sum == sum_of(&p));
  for (i = sizeof p; i < size; i++)
    expect(bytes[i] == (p.sum & 0xff));
  return p;
}

void tally_sent(struct tally* tally, const void* items, size_t size, size_t count) {
  struct parcel p;
  size_t i;

  for (i = 0; i < count; i++) {
    memcpy(&p, (const char*) items + i * size, sizeof p);
    tally->sum += p.sum;
  }
  tally->count += count;
}

void tally_got(struct tally tallies[PARTS_MAX], const void* item, size_t size, uint32_t scene) {
  struct parcel p = parcel_open(item, size, scene);
  struct tally* tally = &tallies[p.source];

  expect(p.number >= tally->next);
  tally->next = p.number + 1;
  tally->count++;
  tally->sum += p.sum;
}

uint64_t tally_compare(const struct tally sent[PARTS_MAX], const struct tally got[PARTS_MAX]) {
  uint64_t count = 0;
  size_t i;

  for (i = 0; i < PARTS_MAX; i++) {
    expect_eq(got[i].count, sent[i].count);
    expect(got[i].sum == sent[i].sum);
    count += sent[i].count;
  }
  return count;
}
