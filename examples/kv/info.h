/* SPDX-License-Identifier: MIT
 *
 * What the server has done so far, in text. */
#ifndef KV_INFO_H
#define KV_INFO_H

#include "server.h"

/* info: the sections of INFO that are named; none named: all. Any thread. */
void info(const struct kv* kv, const struct settings* settings, const struct slice* sections, size_t count, struct buf* text);

/* What a status line shows. Any thread. */
struct totals {
  size_t clients;
  uint64_t commands;
  size_t keys;
  size_t expires;
  size_t bytes;
  uint64_t hits;
  uint64_t misses;
  uint64_t expired;
  uint64_t waiting;    /* requests that wait for a shard, now */
  uint64_t high_water; /* the most that were seen to wait for one shard */
};
void totals(const struct kv* kv, struct totals* sum);

#endif
