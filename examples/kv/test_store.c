/* SPDX-License-Identifier: MIT
 *
 * The table against a plain list; the commands on the keys of shards, without threads: what they answer, SCAN while the table grows
 * and shrinks, times, the log, and no memory. */
#include <stdio.h>
#include <sys/resource.h>

#include "keyspace.h"
#include "support.h"

/* The same numbers in every run. */
static uint32_t dice(uint32_t sides) {
  static uint64_t state = 1;

  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t) (state >> 33) % sides;
}

/*
 * The table
 */

/* Keys of all lengths up to 20 bytes, with 0 among them. */
static struct slice key_of(uint32_t number, char text[32]) {
  size_t len;

  memset(text, 0, 32);
  len = 4 + number % 16;
  memcpy(text + len - 4, &number, 4);
  return (struct slice){text, len};
}

/* What the table must have: for each key the length of its value, and what its bytes are; -1: no such key. */
enum { KEYS = 20000, VALUE_MAX = 200 };
struct plain {
  int len[KEYS];
  unsigned char fill[KEYS];
  size_t count;
};

static void fill(struct entry* entry, size_t from, unsigned char byte) {
  memset(entry->bytes + entry->key_len + from, byte, entry->len - from);
}

static void change_one(struct table* table, struct plain* plain, uint32_t adds) {
  char text[32];
  uint32_t i = dice(KEYS);
  struct slice key = key_of(i, text);
  uint32_t hash = table_hash(table, key);
  struct entry** at = table_find(table, key, hash);
  struct entry* entry;
  int len = (int) dice(VALUE_MAX);

  support_check((at != NULL) == (plain->len[i] >= 0));
  if (dice(100) >= adds) {
    if (at != NULL) {
      table_remove(table, at);
      plain->len[i] = -1;
      plain->count--;
    }
    return;
  }
  if (at != NULL) { /* what it was has to stay, as far as there is room */
    int kept = len < plain->len[i] ? len : plain->len[i];
    entry = table_resize(table, at, (size_t) len, dice(50));
    support_check(entry != NULL && (kept == 0 || entry_value(entry).data[kept - 1] == (char) plain->fill[i]));
  } else {
    entry = table_add(table, key, hash, (size_t) len);
    support_check(entry != NULL && entry->expires == 0);
    plain->count++;
  }
  plain->len[i] = len;
  plain->fill[i] = (unsigned char) dice(256);
  fill(entry, 0, plain->fill[i]);
}

static int is_filled(struct slice value, int len, unsigned char byte) {
  size_t i;

  if (value.len != (size_t) len)
    return 0;
  for (i = 0; i < value.len; i++)
    if ((unsigned char) value.data[i] != byte)
      return 0;
  return 1;
}

static int count_one(struct entry* entry, void* arg) {
  uint32_t number;

  memcpy(&number, entry->bytes + entry->key_len - 4, 4);
  ((int*) arg)[number]++;
  return 0;
}

static void check_same(struct table* table, const struct plain* plain) {
  static int seen[KEYS];
  char text[32];
  uint64_t cursor = 0;
  uint32_t i;

  memset(seen, 0, sizeof(seen));
  do {
    cursor = table_scan(table, cursor, count_one, seen);
  } while (cursor != 0);
  support_check(table->count == plain->count);
  for (i = 0; i < KEYS; i++) {
    struct slice key = key_of(i, text);
    struct entry** at;
    support_check(seen[i] == (plain->len[i] >= 0));
    at = table_find(table, key, table_hash(table, key));
    support_check((at != NULL) == (plain->len[i] >= 0));
    support_check(at == NULL || is_filled(entry_value(*at), plain->len[i], plain->fill[i]));
  }
}

START_TEST(a_table_has_what_a_plain_list_has) {
  static const uint32_t adds[] = {95, 50, 5, 70, 0, 100, 0};
  static struct plain plain;
  struct table table;
  size_t bytes;
  size_t phase;
  size_t i;

  memset(plain.len, -1, sizeof(plain.len));
  plain.count = 0;
  ck_assert_int_eq(table_init(&table), 0);
  bytes = table.bytes;
  for (phase = 0; phase < sizeof(adds) / sizeof(adds[0]); phase++) {
    for (i = 0; i < 40000; i++) {
      change_one(&table, &plain, adds[phase]);
      if (i % 4001 == 0)
        check_same(&table, &plain);
    }
    check_same(&table, &plain);
  }
  for (i = 0; i < KEYS * 20 && table.count > 0; i++)
    change_one(&table, &plain, 0);
  ck_assert_uint_eq(table.count, 0);
  while (table_tend(&table))
    continue;
  ck_assert_uint_eq(table.bytes, bytes);
  for (i = 0; i < 40000; i++)
    change_one(&table, &plain, 90);
  table_clear(&table);
  ck_assert_uint_eq(table.count, 0);
  ck_assert_uint_eq(table.bytes, bytes);
  table_free(&table);
}
END_TEST

static void put_number(struct table* table, uint32_t number, int wanted) {
  char text[32];
  struct slice key = key_of(number, text);
  uint32_t hash = table_hash(table, key);
  struct entry** at = table_find(table, key, hash);

  if (at != NULL && !wanted)
    table_remove(table, at);
  else if (at == NULL && wanted)
    support_check(table_add(table, key, hash, 1) != NULL);
}

/* Others come and go in such numbers that the table is moved to many sizes in the course of one scan. */
START_TEST(a_scan_shows_all_that_stays_while_the_table_grows_and_shrinks) {
  enum { STAYS = 100, ROUNDS = 200 };
  static int seen[KEYS];
  struct table table;
  size_t sizes = 0;
  int round;
  uint32_t i;

  ck_assert_int_eq(table_init(&table), 0);
  for (i = 0; i < STAYS; i++)
    put_number(&table, i, 1);
  for (round = 0; round < ROUNDS; round++) {
    uint32_t others = STAYS + dice(1u << dice(14));
    uint64_t cursor = 0;
    memset(seen, 0, sizeof(seen));
    do {
      size_t mask = table.mask;
      uint32_t to = STAYS + dice(1u << dice(14));
      for (i = dice(4) == 0 ? 0 : 10000; i < 10000; i++) {
        if (others < to)
          put_number(&table, others++, 1);
        else if (others > to)
          put_number(&table, --others, 0);
      }
      sizes += mask != table.mask;
      cursor = table_scan(&table, cursor, count_one, seen);
    } while (cursor != 0);
    for (i = 0; i < STAYS; i++)
      ck_assert_msg(seen[i] > 0, "round %d: key %u was not shown", round, i);
    for (i = STAYS; i < others; i++)
      put_number(&table, i, 0);
  }
  ck_assert_uint_gt(sizes, ROUNDS);
  table_free(&table);
}
END_TEST

/*
 * Shards, and commands on them
 */

enum { SHARDS_MAX = 5, WORDS_MAX = 12 };

struct shards {
  struct store* of[SHARDS_MAX];
  size_t count;
  int64_t now;
  struct buf* log; /* or NULL */
  struct buf reply;
};

static void shards_open(struct shards* s, size_t count, struct buf* log) {
  size_t i;

  memset(s, 0, sizeof(*s));
  s->count = count;
  s->now = 1000000;
  s->log = log;
  for (i = 0; i < count; i++) {
    s->of[i] = store_new(i, count);
    ck_assert_ptr_nonnull(s->of[i]);
  }
}

static void shards_close(struct shards* s) {
  size_t i;

  for (i = 0; i < s->count; i++)
    store_free(s->of[i]);
  buf_free(&s->reply);
}

static const struct command* command_of(struct slice name) {
  const struct command* command = store_commands;

  while (command->name != NULL && !slice_is(name, command->name))
    command++;
  support_check(command->name != NULL);
  return command;
}

static void run_on(struct shards* s, size_t shard, const struct slice* argv, size_t argc) {
  struct execution x = {s->of[shard], argv, argc, s->now, &s->reply, s->log};

  command_of(argv[0])->run(&x);
}

/* The reply; that of the last shard for what goes to all. */
static const char* call(struct shards* s, const struct slice* argv, size_t argc) {
  enum spread spread = command_of(argv[0])->spread;
  size_t i;

  s->reply.len = 0;
  if (spread == SPREAD_CURSOR) {
    run_on(s, shard_of_cursor(argv[1], s->count), argv, argc);
  } else if (spread == SPREAD_ALL_OK || spread == SPREAD_ALL_SUM || spread == SPREAD_ALL_JOIN) {
    for (i = 0; i < s->count; i++) {
      s->reply.len = 0;
      run_on(s, i, argv, argc);
    }
  } else {
    run_on(s, shard_of(argv[1], s->count), argv, argc);
  }
  buf_add(&s->reply, "", 1);
  support_check(!s->reply.failed);
  return s->reply.data;
}

/* A command as a line of words. */
static const char* say_to(struct shards* s, const char* line) {
  struct slice argv[WORDS_MAX];
  size_t argc = 0;

  while (*line != 0) {
    size_t len = strcspn(line, " ");
    support_check(argc < WORDS_MAX);
    argv[argc++] = (struct slice){line, len};
    line += len + (line[len] == ' ');
  }
  return call(s, argv, argc);
}

#define check_reply(s, line, reply) ck_assert_str_eq(say_to(s, line), reply "\r\n")

START_TEST(commands_answer_as_redis_does) {
  struct shards s;

  shards_open(&s, 1, NULL);
  check_reply(&s, "GET k", "$-1");
  check_reply(&s, "SET k v", "+OK");
  check_reply(&s, "get k", "$1\r\nv");
  check_reply(&s, "SET k w NX", "$-1");
  check_reply(&s, "SET k w XX GET", "$1\r\nv");
  check_reply(&s, "SET k w NX XX", "-ERR syntax error");
  check_reply(&s, "SET k w EX", "-ERR syntax error");
  check_reply(&s, "SET k w EX 1 PX 1", "-ERR syntax error");
  check_reply(&s, "SET k w EX 0", "-ERR invalid expire time in 'set' command");
  check_reply(&s, "SET k w EX x", "-ERR value is not an integer or out of range");
  check_reply(&s, "SETEX k 9223372036854775807 v", "-ERR invalid expire time in 'setex' command");
  check_reply(&s, "SET none w XX", "$-1");
  check_reply(&s, "SETNX k x", ":0");
  check_reply(&s, "SETNX l x", ":1");
  check_reply(&s, "INCR k", "-ERR value is not an integer or out of range");
  check_reply(&s, "SET k 9223372036854775806", "+OK");
  check_reply(&s, "INCR k", ":9223372036854775807");
  check_reply(&s, "INCR k", "-ERR increment or decrement would overflow");
  check_reply(&s, "DECRBY k -9223372036854775808", "-ERR decrement would overflow");
  check_reply(&s, "DECRBY k 7", ":9223372036854775800");
  check_reply(&s, "GETSET k ab", "$19\r\n9223372036854775800");
  check_reply(&s, "APPEND k cd", ":4");
  check_reply(&s, "STRLEN k", ":4");
  check_reply(&s, "EXPIRE k 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible");
  check_reply(&s, "EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible");
  check_reply(&s, "EXPIRE k 10 up", "-ERR Unsupported option up");
  check_reply(&s, "EXPIRE k 10 GT", ":0");
  check_reply(&s, "EXPIRE k 10 LT", ":1");
  check_reply(&s, "TTL k", ":10");
  check_reply(&s, "GETEX k PERSIST", "$4\r\nabcd");
  check_reply(&s, "TTL k", ":-1");
  check_reply(&s, "TTL none", ":-2");
  check_reply(&s, "TYPE k", "+string");
  check_reply(&s, "TYPE none", "+none");
  check_reply(&s, "SCAN x", "-ERR invalid cursor");
  check_reply(&s, "SCAN 0 COUNT 0", "-ERR syntax error");
  check_reply(&s, "SCAN 0 TYPE list", "*2\r\n$1\r\n0\r\n*0");
  check_reply(&s, "SCAN 0 MATCH l*", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nl");
  check_reply(&s, "KEYS l", "*1\r\n$1\r\nl");
  check_reply(&s, "DBSIZE", ":2");
  check_reply(&s, "GETDEL k", "$4\r\nabcd");
  check_reply(&s, "EXISTS k", ":0");
  check_reply(&s, "DEL l", ":1");
  check_reply(&s, "DEL l", ":0");
  check_reply(&s, "FLUSHALL later", "-ERR syntax error");
  check_reply(&s, "FLUSHALL ASYNC", "+OK");
  shards_close(&s);
}
END_TEST

/* Refused before it is looked at: there are no such bytes. */
START_TEST(a_value_ends_at_512_mib) {
  static const char* const names[] = {"SET", "SETNX", "GETSET", "MSET", "APPEND"};
  struct shards s;
  size_t i;

  shards_open(&s, 1, NULL);
  check_reply(&s, "SET k v", "+OK");
  for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    struct slice argv[3] = {
        {names[i], strlen(names[i])}, {i == 1 ? "new" : "k", i == 1 ? 3 : 1}, {"", (size_t) STRING_LIMIT + (i < 4)}};
    ck_assert_str_eq(call(&s, argv, 3), "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
  }
  check_reply(&s, "GET k", "$1\r\nv");
  check_reply(&s, "DBSIZE", ":1");
  shards_close(&s);
}
END_TEST

/*
 * SCAN
 */

/* The reply: *2, the cursor as a bulk string, the keys. */
static size_t scan_all(struct shards* s, int* seen) {
  char line[64];
  unsigned long long cursor = 0;
  size_t shown = 0;

  do {
    const char* at;
    snprintf(line, sizeof(line), "SCAN %llu COUNT 3", cursor);
    at = strchr(say_to(s, line), '$');
    cursor = strtoull(strchr(at, '\n') + 1, NULL, 10);
    while ((at = strstr(at, "key:")) != NULL) {
      at += 4;
      seen[atoi(at)]++;
      shown++;
    }
  } while (cursor != 0);
  return shown;
}

START_TEST(a_scan_goes_through_all_shards_and_shows_nothing_whose_time_has_come) {
  enum { COUNT = 3000 };
  static int seen[COUNT];
  struct shards s;
  char line[64];
  int i;

  memset(seen, 0, sizeof(seen));
  shards_open(&s, (size_t) _i, NULL);
  for (i = 0; i < COUNT; i++) {
    snprintf(line, sizeof(line), "SET key:%d x%s", i, i % 3 == 0 ? " PX 50" : "");
    check_reply(&s, line, "+OK");
  }
  s.now += 51;
  ck_assert_uint_eq(scan_all(&s, seen), COUNT - COUNT / 3);
  for (i = 0; i < COUNT; i++)
    ck_assert_int_eq(seen[i], i % 3 != 0);
  shards_close(&s);
}
END_TEST

/*
 * Times
 */

START_TEST(a_key_is_there_until_its_time_and_not_after_it) {
  struct shards s;
  struct store_counts counts;

  shards_open(&s, 1, NULL);
  check_reply(&s, "SET k v PX 100", "+OK");
  s.now += 100;
  check_reply(&s, "PTTL k", ":0");
  check_reply(&s, "GET k", "$1\r\nv");
  s.now += 1;
  check_reply(&s, "DBSIZE", ":1");
  check_reply(&s, "KEYS *", "*0");
  check_reply(&s, "GET k", "$-1");
  check_reply(&s, "DBSIZE", ":0");
  check_reply(&s, "SET k v PXAT 1", "+OK");
  check_reply(&s, "DBSIZE", ":0");
  check_reply(&s, "SET k v PX 100", "+OK");
  check_reply(&s, "APPEND k w", ":2");
  check_reply(&s, "PTTL k", ":100");
  check_reply(&s, "SET k 1 KEEPTTL", "+OK");
  check_reply(&s, "INCR k", ":2");
  check_reply(&s, "PTTL k", ":100");
  check_reply(&s, "SET l v PX 100", "+OK");
  check_reply(&s, "SET l v", "+OK");
  check_reply(&s, "PTTL l", ":-1");
  s.now += 101;
  check_reply(&s, "INCR k", ":1");
  check_reply(&s, "PTTL k", ":-1");
  check_reply(&s, "EXPIRE k -1", ":1");
  check_reply(&s, "EXISTS k", ":0");
  store_count(s.of[0], &counts);
  ck_assert_uint_eq(counts.expired, 2);
  ck_assert_uint_eq(counts.expires, 0);
  shards_close(&s);
}
END_TEST

START_TEST(expiry_removes_all_whose_time_has_come_in_bounded_steps) {
  enum { COUNT = 50000 };
  struct buf log = {0};
  struct shards s;
  struct store_counts counts;
  char line[64];
  size_t calls = 0;
  size_t before;
  int i;

  shards_open(&s, 1, NULL);
  ck_assert_int_eq(store_expire(s.of[0], s.now, 0, NULL), 0);
  store_count(s.of[0], &counts);
  before = counts.bytes;
  for (i = 0; i < COUNT; i++) {
    snprintf(line, sizeof(line), "SET key:%d x%s", i, i % 2 == 0 ? " PX 50" : " PX 1000");
    check_reply(&s, line, "+OK");
  }
  ck_assert_int_eq(store_expire(s.of[0], s.now + 50, UINT64_MAX, &log), 0);
  ck_assert_uint_eq(log.len, 0);
  do { /* no time at all: one batch of buckets each */
    store_count(s.of[0], &counts);
    calls++;
    store_expire(s.of[0], s.now + 51, 0, &log);
    ck_assert_uint_lt(calls, COUNT);
  } while (counts.keys > COUNT / 2);
  ck_assert_uint_gt(calls, COUNT / 1000);
  ck_assert_uint_eq(counts.expired, COUNT / 2);
  ck_assert_uint_eq(counts.expires, COUNT / 2);
  while (store_expire(s.of[0], s.now + 1001, 1000000, &log))
    continue;
  for (i = 0; i < 100; i++)
    store_expire(s.of[0], s.now + 1001, UINT64_MAX, &log);
  store_count(s.of[0], &counts);
  ck_assert_uint_eq(counts.keys, 0);
  ck_assert_uint_eq(counts.expires, 0);
  ck_assert_uint_eq(counts.bytes, before);
  buf_free(&log);
  shards_close(&s);
}
END_TEST

/*
 * The log
 */

static struct slice next_bulk(const char** at) {
  size_t len = strtoul(*at + 1, NULL, 10);
  const char* data = strchr(*at, '\n') + 1;

  support_check(**at == '$');
  *at = data + len + 2;
  return (struct slice){data, len};
}

static void replay(struct shards* s, const struct buf* log) {
  const char* at = log->data;

  s->now = 0;
  while (at < log->data + log->len) {
    struct slice argv[256];
    size_t argc = strtoul(at + 1, NULL, 10);
    size_t i;
    support_check(*at == '*' && argc < 256);
    at = strchr(at, '\n') + 1;
    for (i = 0; i < argc; i++)
      argv[i] = next_bulk(&at);
    if (slice_is(argv[0], "DEL")) {
      for (i = 1; i < argc; i++)
        support_check(call(s, (struct slice[]){argv[0], argv[i]}, 2)[0] != '-');
    } else {
      support_check(call(s, argv, argc)[0] != '-');
    }
  }
}

enum { NAMES = 300 };

static void check_same_keys(struct shards* a, struct shards* b) {
  static const char* const asks[] = {"GET", "PTTL"};
  char line[64];
  size_t ask;
  int i;

  a->now = 0; /* so that times are seen as they are, and nothing goes */
  b->now = 0;
  for (i = 0; i < NAMES; i++)
    for (ask = 0; ask < 2; ask++) {
      snprintf(line, sizeof(line), "%s key:%d", asks[ask], i);
      ck_assert_str_eq(say_to(a, line), say_to(b, line));
    }
}

static size_t keys_of(const struct shards* s) {
  size_t sum = 0;
  size_t i;

  for (i = 0; i < s->count; i++)
    sum += s->of[i]->table.count;
  return sum;
}

/* A command on a key; a number if it has a value; the rest. */
static const struct form {
  const char* name;
  int has_value;
  const char* rest;
} forms[] = {
    {"SET", 1, ""},
    {"SET", 1, " PX 40"},
    {"SET", 1, " EX 1"},
    {"SET", 1, " KEEPTTL"},
    {"SET", 1, " NX PX 30"},
    {"SET", 1, " XX GET"},
    {"SET", 1, " PXAT 5"},
    {"SETNX", 1, ""},
    {"SETEX", 0, " 1 7"},
    {"PSETEX", 0, " 20 7"},
    {"GETSET", 1, ""},
    {"MSET", 1, ""},
    {"INCR", 0, ""},
    {"DECR", 0, ""},
    {"INCRBY", 1, ""},
    {"DECRBY", 1, ""},
    {"APPEND", 1, ""},
    {"GETDEL", 0, ""},
    {"DEL", 0, ""},
    {"UNLINK", 0, ""},
    {"GETEX", 0, " PX 25"},
    {"GETEX", 0, " PERSIST"},
    {"GETEX", 0, " PXAT 7"},
    {"PEXPIRE", 0, " 35"},
    {"EXPIRE", 0, " 1 GT"},
    {"PEXPIRE", 0, " 15 LT"},
    {"EXPIRE", 0, " 1 NX"},
    {"PEXPIRE", 0, " 20 XX"},
    {"EXPIRE", 0, " -1"},
    {"PEXPIREAT", 0, " 999"},
    {"EXPIREAT", 0, " 999999"},
    {"PERSIST", 0, ""},
    {"GET", 0, ""},
    {"EXISTS", 0, ""},
    {"STRLEN", 0, ""},
    {"TTL", 0, ""},
};

static void change_at_random(struct shards* s) {
  const struct form* form = &forms[dice(sizeof(forms) / sizeof(forms[0]))];
  char line[96];
  int len = snprintf(line, sizeof(line), "%s key:%d", form->name, (int) dice(NAMES));

  if (form->has_value)
    len += snprintf(line + len, sizeof(line) - (size_t) len, " %d", (int) dice(1000));
  snprintf(line + len, sizeof(line) - (size_t) len, "%s", form->rest);
  say_to(s, line);
}

START_TEST(the_log_brings_other_stores_to_the_same_state) {
  struct buf log = {0};
  struct shards s;
  struct shards other;
  int i;

  shards_open(&s, 2, &log);
  for (i = 0; i < 40000; i++) {
    change_at_random(&s);
    if (dice(20) == 0)
      s.now += dice(10);
    if (dice(500) == 0)
      store_expire(s.of[dice(2)], s.now, 1000000, &log);
    if (dice(3000) == 0)
      check_reply(&s, "FLUSHALL", "+OK");
  }
  ck_assert_int_eq(log.failed, 0);
  shards_open(&other, (size_t) _i, NULL);
  replay(&other, &log);
  ck_assert_uint_eq(keys_of(&other), keys_of(&s));
  ck_assert_uint_gt(keys_of(&s), 10);
  check_same_keys(&s, &other);
  shards_close(&other);
  shards_close(&s);
  buf_free(&log);
}
END_TEST

static void check_log(struct shards* s, const char* line, const char* log) {
  s->log->len = 0;
  say_to(s, line);
  buf_add(s->log, "", 1);
  ck_assert_str_eq(s->log->data, log);
}

START_TEST(the_log_has_plain_commands_and_only_what_changed) {
  struct buf log = {0};
  struct shards s;

  shards_open(&s, 1, &log);
  check_log(&s, "set k v EX 5", "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$4\r\nPXAT\r\n$7\r\n1005000\r\n");
  check_log(&s, "GETEX k PX 9", "*3\r\n$9\r\nPEXPIREAT\r\n$1\r\nk\r\n$7\r\n1000009\r\n");
  check_log(&s, "PERSIST k", "*2\r\n$7\r\nPERSIST\r\n$1\r\nk\r\n");
  check_log(&s, "PERSIST k", "");
  check_log(&s, "GETEX k PERSIST", "");
  check_log(&s, "GET k", "");
  check_log(&s, "SET k v NX", "");
  check_log(&s, "INCR k", "");
  check_log(&s, "DECR n", "*3\r\n$6\r\nINCRBY\r\n$1\r\nn\r\n$2\r\n-1\r\n");
  check_log(&s, "APPEND k w", "*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$1\r\nw\r\n");
  check_log(&s, "GETDEL k", "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
  check_log(&s, "DEL k", "");
  check_log(&s, "SET none v PXAT 5", "");
  check_log(&s, "FLUSHALL", "*2\r\n$3\r\nDEL\r\n$1\r\nn\r\n");
  check_log(&s, "SET k v", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
  check_log(&s, "PEXPIRE k 10", "*3\r\n$9\r\nPEXPIREAT\r\n$1\r\nk\r\n$7\r\n1000010\r\n");
  s.now += 11;
  check_log(&s, "EXISTS k", "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
  shards_close(&s);
  buf_free(&log);
}
END_TEST

/*
 * No memory: the kernel gives no more. Sanitizers need far more addresses than that.
 */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
enum { HUGE_LEN = 128 * 1024 * 1024 };

/* What the commands do to "k", which is short, and to "big", while there is no room for anything that large. */
static const char* const without_memory[][2] = {
    {"SET", "k"}, {"SET", "new"}, {"APPEND", "k"}, {"APPEND", "new"}, {"GETSET", "k"}, {"SETNX", "new"}, {"MSET", "k"},
};

START_TEST(without_memory_nothing_changes_and_the_reply_says_so) {
  enum { COUNT = sizeof(without_memory) / sizeof(without_memory[0]) };
  struct buf log = {0};
  struct shards s;
  struct store_counts before;
  struct store_counts after;
  struct rlimit old;
  struct rlimit none;
  char* huge = calloc(1, HUGE_LEN);
  char replies[COUNT + 1][80];
  int refused = 0;
  size_t log_len;
  size_t i;

  shards_open(&s, 1, _i == 0 ? NULL : &log);
  check_reply(&s, "SET k v PX 1000", "+OK");
  call(&s, (struct slice[]){{"SET", 3}, {huge, HUGE_LEN / 2}, {"x", 1}}, 3); /* FLUSHALL has to log that key */
  if (s.log != NULL) {                                                       /* what it has grown to is given back */
    buf_free(&log);
    buf_add(&log, "before", 6);
  }
  log_len = log.len;
  store_count(s.of[0], &before);
  ck_assert_int_eq(getrlimit(RLIMIT_AS, &old), 0);
  none = old;
  none.rlim_cur = HUGE_LEN;
  ck_assert_int_eq(setrlimit(RLIMIT_AS, &none), 0);
  for (i = 0; i < COUNT; i++) {
    struct slice argv[3] = {{without_memory[i][0], strlen(without_memory[i][0])},
                            {without_memory[i][1], strlen(without_memory[i][1])},
                            {huge, HUGE_LEN - 1}};
    snprintf(replies[i], sizeof(replies[i]), "%s", call(&s, argv, 3));
  }
  replies[COUNT][0] = 0;
  if (s.log != NULL)
    snprintf(replies[COUNT], sizeof(replies[COUNT]), "%s", say_to(&s, "FLUSHALL"));
  {
    void* volatile more = malloc(HUGE_LEN);
    refused = more == NULL;
    free(more);
  }
  ck_assert_int_eq(setrlimit(RLIMIT_AS, &old), 0);
  if (refused) { /* else this system has no such limit */
    for (i = 0; i < COUNT + (s.log != NULL); i++)
      ck_assert_str_eq(replies[i], "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    store_count(s.of[0], &after);
    ck_assert_uint_eq(before.keys, after.keys);
    ck_assert_uint_eq(before.bytes, after.bytes);
    ck_assert_uint_eq(before.expires, after.expires);
    ck_assert_uint_eq(log.len, log_len);
    ck_assert_int_eq(log.failed, 0);
    check_reply(&s, "GET k", "$1\r\nv");
    check_reply(&s, "PTTL k", ":1000");
  }
  free(huge);
  shards_close(&s);
  buf_free(&log);
}
END_TEST
#endif

int main(void) {
  Suite* suite = suite_create("store");
  TCase* tcase = support_case(suite, "table");

  tcase_add_test(tcase, a_table_has_what_a_plain_list_has);
  tcase_add_test(tcase, a_scan_shows_all_that_stays_while_the_table_grows_and_shrinks);
  tcase = support_case(suite, "commands");
  tcase_add_test(tcase, commands_answer_as_redis_does);
  tcase_add_test(tcase, a_value_ends_at_512_mib);
  tcase_add_loop_test(tcase, a_scan_goes_through_all_shards_and_shows_nothing_whose_time_has_come, 1, SHARDS_MAX + 1);
  tcase = support_case(suite, "times");
  tcase_add_test(tcase, a_key_is_there_until_its_time_and_not_after_it);
  tcase_add_test(tcase, expiry_removes_all_whose_time_has_come_in_bounded_steps);
  tcase = support_case(suite, "log");
  tcase_add_loop_test(tcase, the_log_brings_other_stores_to_the_same_state, 1, SHARDS_MAX + 1);
  tcase_add_test(tcase, the_log_has_plain_commands_and_only_what_changed);
#ifndef SANITIZED
  tcase = support_case(suite, "memory");
  tcase_add_loop_test(tcase, without_memory_nothing_changes_and_the_reply_says_so, 0, 2);
#endif
  return support_main(suite);
}
