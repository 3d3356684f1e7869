/* SPDX-License-Identifier: MIT
 *
 * INFO. Numbers of the channels are from uvch's statistics. */
#include "info.h"

#include <unistd.h>

/* For people, each by itself: they need no order. */
#define LOAD(counter) atomic_load_explicit(&(counter), memory_order_relaxed)

void totals(const struct kv* kv, struct totals* sum) {
  uvch_stats_t stats;
  size_t i;

  *sum = (struct totals){.clients = LOAD(kv->clients)};
  for (i = 0; i < kv->server_count; i++)
    sum->commands += LOAD(kv->servers[i].commands);
  for (i = 0; i < kv->shard_count; i++) {
    struct shard_counts* counts = &kv->shards[i].counts;
    sum->keys += LOAD(counts->keys);
    sum->expires += LOAD(counts->expires);
    sum->bytes += LOAD(counts->bytes);
    sum->hits += LOAD(counts->hits);
    sum->misses += LOAD(counts->misses);
    sum->expired += LOAD(counts->expired);
    must(uvch_mpsc_sender_get_stats(&kv->shards[i].tx.base, &stats), "statistics");
    sum->waiting += stats.depth;
    sum->high_water = stats.high_water > sum->high_water ? stats.high_water : sum->high_water;
  }
}

static void add_server(const struct kv* kv, const struct settings* settings, struct buf* text) {
  uint64_t seconds = (uv_hrtime() - kv->started) / 1000000000;

  (void) settings;
  buf_print(text, "redis_version:%s\r\nredis_mode:standalone\r\nuvch_version:%s\r\nlibuv_version:%s\r\nprocess_id:%ld\r\n",
            KV_REDIS_VERSION, uvch_version_string(), uv_version_string(), (long) getpid());
  buf_print(text, "tcp_port:%u\r\nuptime_in_seconds:%llu\r\nio_loops:%zu\r\nshards:%zu\r\n", kv->port,
            (unsigned long long) seconds, kv->server_count, kv->shard_count);
}

static void add_clients(const struct kv* kv, const struct settings* settings, struct buf* text) {
  struct totals sum;

  totals(kv, &sum);
  buf_print(text, "connected_clients:%zu\r\nmaxclients:%zu\r\n", sum.clients, settings->maxclients);
}

static void add_memory(const struct kv* kv, const struct settings* settings, struct buf* text) {
  struct totals sum;
  size_t rss = 0;

  totals(kv, &sum);
  uv_resident_set_memory(&rss);
  buf_print(text, "used_memory:%zu\r\nused_memory_rss:%zu\r\nmaxmemory:%zu\r\nmaxmemory_policy:noeviction\r\n", sum.bytes, rss,
            settings->maxmemory);
}

static void add_persistence(const struct kv* kv, const struct settings* settings, struct buf* text) {
  static const char* const policies[] = {
      [APPENDFSYNC_EVERYSEC] = "everysec", [APPENDFSYNC_ALWAYS] = "always", [APPENDFSYNC_NO] = "no"};
  struct log_counts counts = {0};

  if (kv->log != NULL)
    log_count(kv->log, &counts);
  buf_print(text, "loading:0\r\naof_enabled:%d\r\n", kv->log != NULL);
  buf_print(text, "aof_policy:%s\r\naof_current_size:%llu\r\naof_groups:%llu\r\naof_fsyncs:%llu\r\n",
            policies[settings->appendfsync], (unsigned long long) counts.bytes, (unsigned long long) counts.groups,
            (unsigned long long) counts.fsyncs);
}

static void add_stats(const struct kv* kv, const struct settings* settings, struct buf* text) {
  struct totals sum;

  (void) settings;
  totals(kv, &sum);
  buf_print(text, "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\nrejected_connections:%llu\r\n",
            (unsigned long long) LOAD(kv->accepted), (unsigned long long) sum.commands, (unsigned long long) LOAD(kv->refused));
  buf_print(text, "keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\nexpired_keys:%llu\r\n", (unsigned long long) sum.hits,
            (unsigned long long) sum.misses, (unsigned long long) sum.expired);
}

static void add_channels(const struct kv* kv, const struct settings* settings, struct buf* text) {
  uvch_stats_t stats;
  size_t i;

  (void) settings;
  for (i = 0; i < kv->shard_count; i++) {
    must(uvch_mpsc_sender_get_stats(&kv->shards[i].tx.base, &stats), "statistics");
    buf_print(text, "shard%zu:depth=%llu,high_water=%llu,capacity=%llu,sent=%llu,wakeups=%llu,full=%llu\r\n", i,
              (unsigned long long) stats.depth, (unsigned long long) stats.high_water, (unsigned long long) stats.capacity,
              (unsigned long long) stats.sent, (unsigned long long) stats.wakeups, (unsigned long long) stats.full);
  }
}

static void add_keyspace(const struct kv* kv, const struct settings* settings, struct buf* text) {
  struct totals sum;

  (void) settings;
  totals(kv, &sum);
  if (sum.keys > 0)
    buf_print(text, "db0:keys=%zu,expires=%zu,avg_ttl=0\r\n", sum.keys, sum.expires);
}

static const struct section {
  const char* name;
  void (*add)(const struct kv* kv, const struct settings* settings, struct buf* text);
} sections[] = {{"Server", add_server}, {"Clients", add_clients},   {"Memory", add_memory},    {"Persistence", add_persistence},
                {"Stats", add_stats},   {"Channels", add_channels}, {"Keyspace", add_keyspace}};

static int is_wanted(const char* name, const struct slice* wanted, size_t count) {
  size_t i;

  for (i = 0; i < count; i++)
    if (slice_is(wanted[i], name) || slice_is(wanted[i], "all") || slice_is(wanted[i], "default") ||
        slice_is(wanted[i], "everything"))
      return 1;
  return count == 0;
}

void info(const struct kv* kv, const struct settings* settings, const struct slice* wanted, size_t count, struct buf* text) {
  size_t i;

  for (i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
    if (!is_wanted(sections[i].name, wanted, count))
      continue;
    buf_print(text, "%s# %s\r\n", text->len == 0 ? "" : "\r\n", sections[i].name);
    sections[i].add(kv, settings, text);
  }
}
