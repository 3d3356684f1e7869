/* SPDX-License-Identifier: MIT
 *
 * glob.c and pubsub.h, with subscribers that are no clients: what they are written is looked at. */
#include "support.h"

#include <stdio.h>

#include "pubsub.h"

static struct slice slice(const char* text) {
  return (struct slice){text, strlen(text)};
}

static uint32_t next_random(uint64_t* seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t) (*seed >> 33);
}

/*
 * Patterns
 */

/* The set at `pattern`, behind its [, as a list of who is in. Returns how long it is. */
static size_t read_set(struct slice pattern, char in[256]) {
  size_t i = 0;
  int negated = pattern.len > 0 && pattern.data[0] == '^';
  int c;

  memset(in, negated, 256);
  for (i = (size_t) negated; i < pattern.len && pattern.data[i] != ']';) {
    const char* p = pattern.data + i;
    if (p[0] == '\\' && i + 1 < pattern.len) {
      in[(unsigned char) p[1]] = !negated;
      i += 2;
    } else if (i + 2 < pattern.len && p[1] == '-') {
      for (c = -128; c < 128; c++)
        if ((c >= (signed char) p[0] && c <= (signed char) p[2]) || (c >= (signed char) p[2] && c <= (signed char) p[0]))
          in[(unsigned char) c] = !negated;
      i += 3;
    } else {
      in[(unsigned char) p[0]] = !negated;
      i++;
    }
  }
  return i < pattern.len ? i + 1 : i;
}

static struct slice behind(struct slice slice, size_t count) {
  return (struct slice){slice.data + count, slice.len - count};
}

/* What glob_match() says, found by trying all there is; nothing is odd here about a text that is empty. */
static int plain_match(struct slice pattern, struct slice text) {
  char in[256];
  size_t len;

  if (pattern.len == 0)
    return text.len == 0;
  if (pattern.data[0] == '*')
    return plain_match(behind(pattern, 1), text) || (text.len > 0 && plain_match(pattern, behind(text, 1)));
  if (text.len == 0)
    return 0;
  if (pattern.data[0] == '?')
    return plain_match(behind(pattern, 1), behind(text, 1));
  if (pattern.data[0] == '[') {
    len = 1 + read_set(behind(pattern, 1), in);
    return in[(unsigned char) text.data[0]] && plain_match(behind(pattern, len), behind(text, 1));
  }
  if (pattern.data[0] == '\\' && pattern.len > 1)
    pattern = behind(pattern, 1);
  return pattern.data[0] == text.data[0] && plain_match(behind(pattern, 1), behind(text, 1));
}

/* As redis-server 7.0.15 said. */
START_TEST(patterns_are_as_with_redis) {
  static const struct {
    const char* pattern;
    const char* text;
    int fits;
  } cases[] = {
      {"", "", 1},         {"", "a", 0},        {"*", "", 0},       {"**", "", 0},        {"*", "a", 1},
      {"a*", "a", 1},      {"*a", "a", 1},      {"a**", "a", 1},    {"a*b", "ab", 1},     {"a*b", "axxb", 1},
      {"a*b", "axxbc", 0}, {"?", "", 0},        {"?", "a", 1},      {"?*?", "a", 0},      {"?*?", "ab", 1},
      {"[", "[", 0},       {"[^", "a", 1},      {"[^", "", 0},      {"[a", "a", 1},       {"[]", "a", 0},
      {"[^]", "a", 1},     {"[abc]", "b", 1},   {"[^abc]", "b", 0}, {"[^abc]", "d", 1},   {"[a-c]", "b", 1},
      {"[c-a]", "b", 1},   {"[a-]", "_", 1},    {"[a-]", "-", 0},   {"[-a]", "-", 1},     {"[\\]a]", "]", 1},
      {"[\\a-c]", "b", 0}, {"[\\a-c]", "-", 1}, {"[\\", "\\", 1},   {"\\", "\\", 1},      {"\\*", "*", 1},
      {"\\*", "a", 0},     {"\\a", "a", 1},     {"a\\", "a\\", 1},  {"[a-\xff]", "A", 1}, {"[a-\xff]", "z", 0},
  };
  size_t i;

  for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    if (glob_match(slice(cases[i].pattern), slice(cases[i].text)) != cases[i].fits)
      ck_abort_msg("'%s' and '%s': not %d", cases[i].pattern, cases[i].text, cases[i].fits);
}
END_TEST

/* Each in a block of its own length, for the address sanitizer. */
static struct slice random_slice(uint64_t* seed, const char* letters, size_t letter_count, size_t len) {
  char* data = malloc(len);
  size_t i;

  for (i = 0; i < len; i++)
    data[i] = letters[next_random(seed) % letter_count];
  return (struct slice){data, len};
}

START_TEST(patterns_are_as_if_all_was_tried) {
  static const char letters[] = "ab*?[]^-\\\0\xff\x80";
  uint64_t seed = 1;
  size_t left = support_scale(300000);
  size_t fits = 0;

  for (; left > 0; left--) {
    struct slice pattern = random_slice(&seed, letters, sizeof(letters) - 1, 1 + next_random(&seed) % 9);
    struct slice text = random_slice(&seed, letters, 2 + next_random(&seed) % (sizeof(letters) - 2), 1 + next_random(&seed) % 6);
    int wanted = plain_match(pattern, text);
    support_check_eq(glob_match(pattern, text), wanted);
    fits += (size_t) wanted;
    free((void*) (uintptr_t) pattern.data);
    free((void*) (uintptr_t) text.data);
  }
  support_check(fits > 0);
}
END_TEST

/* Who tries all there is takes more than 2^100 steps. */
START_TEST(patterns_come_to_an_end) {
  char pattern[200];
  char text[1000];
  size_t i;

  for (i = 0; i < sizeof(pattern); i++)
    pattern[i] = i % 2 == 0 ? 'a' : '*';
  pattern[sizeof(pattern) - 1] = 'b';
  memset(text, 'a', sizeof(text));
  ck_assert_int_eq(glob_match((struct slice){pattern, sizeof(pattern)}, (struct slice){text, sizeof(text)}), 0);
  text[sizeof(text) - 1] = 'b';
  ck_assert_int_eq(glob_match((struct slice){pattern, sizeof(pattern)}, (struct slice){text, sizeof(text)}), 1);
}
END_TEST

/*
 * One thread
 */

/* A subscriber that keeps what it is written. */
struct keeper {
  struct subscriber subscriber;
  struct buf got;
  void (*then)(struct keeper* keeper); /* after each message */
  void* other;
};

static void keep(struct subscriber* subscriber, const char* data, size_t len) {
  struct keeper* keeper = (struct keeper*) subscriber;

  buf_add(&keeper->got, data, len);
  if (keeper->then != NULL)
    keeper->then(keeper);
}

static void keeper_init(struct keeper* keeper, struct pubsub_loop* loop) {
  memset(keeper, 0, sizeof(*keeper));
  keeper->subscriber.loop = loop;
  keeper->subscriber.write = keep;
}

static void keeper_end(struct keeper* keeper) {
  subscriber_leave(&keeper->subscriber);
  support_check_eq(keeper->subscriber.names + keeper->subscriber.patterns, 0);
  buf_free(&keeper->got);
}

static void check_bytes(struct buf* buf, const char* wanted) {
  buf_add(buf, "", 1);
  ck_assert_str_eq(buf->data, wanted);
  buf_clear(buf, 0);
}

/* One server, on a loop that the case runs. */
struct server {
  uv_loop_t uv;
  struct pubsub_loop* loop;
  size_t closed;
};

static void server_open(struct server* server, struct pubsub* pubsub) {
  memset(server, 0, sizeof(*server));
  support_loop_init(&server->uv);
  support_check_eq(pubsub_loop_open(&server->loop, pubsub, &server->uv), 0);
}

/* Until all has come: what is there is delivered in one pass, as it is little. */
static void server_turn(struct server* server) {
  int i;

  for (i = 0; i < 3; i++)
    uv_run(&server->uv, UV_RUN_NOWAIT);
}

static void on_closed(void* arg) {
  ++*(size_t*) arg;
}

static void server_close(struct server* server) {
  pubsub_loop_close(server->loop, on_closed, &server->closed);
  ck_assert_uint_eq(server->closed, 0);
  support_loop_end(&server->uv);
  ck_assert_uint_eq(server->closed, 1);
}

static void no_cb(struct publish* publish, int status, long long count) {
  (void) publish;
  ck_abort_msg("called with %d, %lld", status, count);
}

/* There is room for it. */
static long long put(struct server* server, const char* name, const char* text) {
  struct publish publish;

  memset(&publish, 0, sizeof(publish));
  return pubsub_publish(server->loop, &publish, slice(name), slice(text), no_cb);
}

static void add(struct keeper* keeper, int is_pattern, const char* name) {
  struct buf reply = {0};

  subscriber_add(&keeper->subscriber, is_pattern, slice(name), &reply);
  buf_free(&reply);
}

static void take_out(struct keeper* keeper, int is_pattern, const char* name) {
  struct buf reply = {0};

  subscriber_remove(&keeper->subscriber, is_pattern, slice(name), &reply);
  buf_free(&reply);
}

/* All texts are those of redis-server 7.0.15. */
START_TEST(replies_are_as_with_redis) {
  struct pubsub* pubsub = pubsub_new(16);
  struct server server;
  struct keeper keeper;
  struct subscriber* s = &keeper.subscriber;
  struct slice names[] = {slice("a"), slice("b")};
  struct buf reply = {0};

  server_open(&server, pubsub);
  keeper_init(&keeper, server.loop);
  subscriber_add(s, 0, slice("a"), &reply);
  check_bytes(&reply, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
  subscriber_add(s, 0, slice("a"), &reply);
  check_bytes(&reply, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
  subscriber_add(s, 1, slice("a*"), &reply);
  subscriber_add(s, 1, slice("b*"), &reply);
  check_bytes(&reply, "*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:2\r\n*3\r\n$10\r\npsubscribe\r\n$2\r\nb*\r\n:3\r\n");
  subscriber_remove(s, 0, slice("zz"), &reply);
  check_bytes(&reply, "*3\r\n$11\r\nunsubscribe\r\n$2\r\nzz\r\n:3\r\n");

  ck_assert_int_eq(put(&server, "a", "hello"), 2);
  ck_assert_int_eq(put(&server, "", "x"), 0);
  pubsub_channels(pubsub, (struct slice){NULL, 0}, &reply);
  check_bytes(&reply, "*1\r\n$1\r\na\r\n");
  pubsub_channels(pubsub, slice("b*"), &reply);
  check_bytes(&reply, "*0\r\n");
  pubsub_numsub(pubsub, names, 2, &reply);
  check_bytes(&reply, "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n");
  pubsub_numsub(pubsub, NULL, 0, &reply);
  check_bytes(&reply, "*0\r\n");
  pubsub_numpat(pubsub, &reply);
  check_bytes(&reply, ":2\r\n");
  server_turn(&server);
  check_bytes(&keeper.got,
              "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"
              "*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$1\r\na\r\n$5\r\nhello\r\n");

  subscriber_remove_all(s, 0, &reply);
  check_bytes(&reply, "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n");
  subscriber_remove_all(s, 0, &reply);
  check_bytes(&reply, "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:2\r\n");
  subscriber_remove(s, 1, slice("a*"), &reply);
  subscriber_remove_all(s, 1, &reply);
  check_bytes(&reply, "*3\r\n$12\r\npunsubscribe\r\n$2\r\na*\r\n:1\r\n*3\r\n$12\r\npunsubscribe\r\n$2\r\nb*\r\n:0\r\n");
  subscriber_remove_all(s, 1, &reply);
  check_bytes(&reply, "*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n");
  ck_assert_int_eq(put(&server, "a", "nobody"), 0);

  keeper_end(&keeper);
  server_close(&server);
  pubsub_free(pubsub);
}
END_TEST

START_TEST(all_is_left_and_answered) {
  struct pubsub* pubsub = pubsub_new(1);
  struct server server;
  struct keeper keeper;
  struct buf reply = {0};
  char name[16];
  size_t i;
  size_t lines = 0;

  server_open(&server, pubsub);
  keeper_init(&keeper, server.loop);
  for (i = 0; i < 100; i++) {
    snprintf(name, sizeof(name), "%zu", i);
    add(&keeper, 0, name);
    add(&keeper, 1, name);
  }
  ck_assert_uint_eq(keeper.subscriber.names, 100);
  subscriber_remove_all(&keeper.subscriber, 0, &reply);
  for (i = 0; i < reply.len; i++)
    lines += reply.data[i] == '*';
  ck_assert_uint_eq(lines, 100);
  ck_assert_uint_eq(keeper.subscriber.names, 0);
  ck_assert_uint_eq(keeper.subscriber.patterns, 100);
  ck_assert_int_eq(put(&server, "7", "x"), 1);
  buf_free(&reply);
  keeper_end(&keeper);
  server_turn(&server);
  server_close(&server);
  pubsub_free(pubsub);
}
END_TEST

/* Against a table of who is where. */
START_TEST(many_come_and_go) {
  enum { NAMES = 500, KEEPERS = 6 };
  static unsigned char is_in[KEEPERS][NAMES];
  struct pubsub* pubsub = pubsub_new(8);
  struct server servers[2];
  struct keeper keepers[KEEPERS];
  uint64_t seed = 2;
  size_t left = support_scale(30000);
  size_t i;
  size_t k;
  char name[16];

  memset(is_in, 0, sizeof(is_in));
  for (i = 0; i < 2; i++)
    server_open(&servers[i], pubsub);
  for (i = 0; i < KEEPERS; i++)
    keeper_init(&keepers[i], servers[i % 2].loop);
  for (; left > 0; left--) {
    size_t fullness = left / 1000 % 3; /* they come, they go, and so on */
    size_t n = next_random(&seed) % NAMES;
    long long wanted = 0;
    k = next_random(&seed) % KEEPERS;
    snprintf(name, sizeof(name), "%zu", n);
    is_in[k][n] = next_random(&seed) % 3 < fullness;
    if (is_in[k][n])
      add(&keepers[k], 0, name);
    else
      take_out(&keepers[k], 0, name);
    for (i = 0; i < KEEPERS; i++) {
      buf_clear(&keepers[i].got, 4096);
      wanted += is_in[i][n];
    }
    support_check_eq(put(&servers[left % 2], name, "x"), wanted);
    server_turn(&servers[0]);
    server_turn(&servers[1]);
    for (i = 0; i < KEEPERS; i++)
      support_check_eq(keepers[i].got.len > 0, is_in[i][n]);
  }
  for (i = 0; i < KEEPERS; i++)
    keeper_end(&keepers[i]);
  for (i = 0; i < 2; i++)
    server_close(&servers[i]);
  pubsub_free(pubsub);
}
END_TEST

static void leave_and_come_back(struct keeper* keeper) {
  take_out(keeper, 0, "a");
  add(keeper, 0, "a");
}

static void put_out_other(struct keeper* keeper) {
  take_out(keeper->other, 0, "a");
  take_out(keeper, 0, "a");
}

static void bring_other(struct keeper* keeper) {
  add(keeper->other, 0, "a");
}

/* Four in a row: what the first does in `write` may be about the next one, and about itself. */
START_TEST(a_message_stands_what_write_does) {
  static void (*const thens[])(struct keeper*) = {leave_and_come_back, put_out_other, bring_other};
  static const char message[] = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n";
  struct pubsub* pubsub = pubsub_new(4);
  struct server server;
  struct keeper keepers[4];
  size_t i;
  int late = thens[_i] == bring_other;

  server_open(&server, pubsub);
  for (i = 0; i < 4; i++) {
    keeper_init(&keepers[i], server.loop);
    if (!(late && i == 1))
      add(&keepers[i], 0, "a");
  }
  keepers[0].then = thens[_i];
  keepers[0].other = &keepers[1];
  ck_assert_int_eq(put(&server, "a", "x"), late ? 3 : 4);
  server_turn(&server);
  for (i = 0; i < 4; i++) {
    if (i == 1 && thens[_i] != leave_and_come_back)
      ck_assert_uint_eq(keepers[i].got.len, 0);
    else
      check_bytes(&keepers[i].got, message);
  }
  keepers[0].then = NULL;
  ck_assert_int_eq(put(&server, "a", "x"), thens[_i] == put_out_other ? 2 : 4);
  for (i = 0; i < 4; i++)
    keeper_end(&keepers[i]);
  server_turn(&server);
  server_close(&server);
  pubsub_free(pubsub);
}
END_TEST

/* Out of an audience that so comes to its end, while another has got in. */
static void publish_and_leave(struct keeper* keeper) {
  keeper->then = NULL;
  support_check_eq(put(keeper->other, "a", "y"), 1);
  take_out(keeper, 0, "a");
}

START_TEST(write_may_publish) {
  struct pubsub* pubsub = pubsub_new(4);
  struct server server;
  struct keeper keeper;

  server_open(&server, pubsub);
  keeper_init(&keeper, server.loop);
  add(&keeper, 0, "a");
  keeper.then = publish_and_leave;
  keeper.other = &server;
  ck_assert_int_eq(put(&server, "a", "x"), 1);
  server_turn(&server);
  check_bytes(&keeper.got, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
  keeper_end(&keeper);
  server_close(&server);
  pubsub_free(pubsub);
}
END_TEST

/* A publish and what became of it. */
struct try {
  struct publish publish;
  size_t calls;
  int status;
  long long count;
};

static void on_tried(struct publish* publish, int status, long long count) {
  struct try* try = (struct try*) publish;

  try->calls++;
  try->status = status;
  try->count = count;
}

static long long try_put(struct try* try, struct server* server, const char* text) {
  memset(try, 0, sizeof(*try));
  return pubsub_publish(server->loop, &try->publish, slice("a"), slice(text), on_tried);
}

/* Two servers: one publishes, the other one does not turn at first. */
START_TEST(who_publishes_waits_for_the_slowest) {
  struct pubsub* pubsub = pubsub_new(1);
  struct server fast;
  struct server slow;
  struct keeper keeper;
  struct try tries[3];
  size_t i;

  server_open(&fast, pubsub);
  server_open(&slow, pubsub);
  keeper_init(&keeper, slow.loop);
  add(&keeper, 1, "?");
  ck_assert_int_eq(try_put(&tries[0], &fast, "1"), 1);
  ck_assert_int_eq(try_put(&tries[1], &fast, "2"), UV_EAGAIN);
  add(&keeper, 0, "a"); /* too late for those */
  ck_assert_int_eq(try_put(&tries[2], &fast, "3"), UV_EAGAIN);
  server_turn(&fast);
  ck_assert_uint_eq(tries[1].calls, 0);
  for (i = 0; i < 3; i++) {
    server_turn(&slow);
    server_turn(&fast);
  }
  ck_assert_uint_eq(tries[0].calls, 0);
  for (i = 1; i < 3; i++) {
    ck_assert_uint_eq(tries[i].calls, 1);
    ck_assert_int_eq(tries[i].status, 0);
    ck_assert_int_eq(tries[i].count, (long long) i);
  }
  check_bytes(&keeper.got,
              "*4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$1\r\n1\r\n"
              "*4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$1\r\n2\r\n"
              "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n3\r\n"
              "*4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$1\r\n3\r\n");
  keeper_end(&keeper);
  server_close(&fast);
  server_close(&slow);
  pubsub_free(pubsub);
}
END_TEST

static void check_tries(void* arg) {
  struct try* tries = arg;
  size_t i;

  for (i = 1; i < 4; i++) {
    ck_assert_uint_eq(tries[i].calls, 1);
    ck_assert_int_eq(tries[i].status, UV_ECANCELED);
  }
  tries[0].calls++;
}

START_TEST(closing_cancels_what_waits) {
  struct pubsub* pubsub = pubsub_new(1);
  struct server fast;
  struct server slow;
  struct keeper keeper;
  struct try tries[4];
  size_t i;

  server_open(&fast, pubsub);
  server_open(&slow, pubsub);
  keeper_init(&keeper, slow.loop);
  add(&keeper, 0, "a");
  ck_assert_int_eq(try_put(&tries[0], &fast, "1"), 1);
  for (i = 1; i < 4; i++)
    ck_assert_int_eq(try_put(&tries[i], &fast, "2"), UV_EAGAIN);
  pubsub_loop_close(fast.loop, check_tries, tries);
  ck_assert_uint_eq(tries[1].calls, 0);
  support_loop_end(&fast.uv);
  ck_assert_uint_eq(tries[0].calls, 1);
  server_turn(&slow);
  check_bytes(&keeper.got, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n");
  keeper_end(&keeper);
  server_close(&slow);
  pubsub_free(pubsub);
}
END_TEST

/* What is in the channel when the last server closes, and nobody has read. */
START_TEST(unread_messages_go_with_the_last_server) {
  struct pubsub* pubsub = pubsub_new(4);
  struct server server;
  struct keeper keeper;

  server_open(&server, pubsub);
  keeper_init(&keeper, server.loop);
  add(&keeper, 0, "a");
  ck_assert_int_eq(put(&server, "a", "x"), 1);
  keeper_end(&keeper);
  server_close(&server);
  pubsub_free(pubsub);
}
END_TEST

/*
 * Threads
 *
 * Servers publish in rounds, at most SLOTS at a time each, while listeners come. At the end of a round each publishes "end": who has
 * got all of those has got all that was published in it. Then listeners leave, and each publishes "left" before the next round.
 * In a wild scene listeners also leave while messages come.
 */

enum { SERVERS = 3, ROUNDS = 4, SLOTS = 3, NAMES = 5, COMING = 12 };

struct scene {
  struct pubsub* pubsub;
  size_t each; /* messages of a server in a round */
  int is_wild;
  _Atomic(size_t) begun[SERVERS]; /* publishes: before the call, */
  _Atomic(size_t) done[SERVERS];  /* and after it */
  support_result_t result;
  struct member* members;
};

/* What listeners subscribe to, and to which of the names n0 to n4 it is like. The first one gets all. */
static const struct topic_case {
  int is_pattern;
  const char* text;
  unsigned int names;
} topics[] = {{1, "n*", 31}, {1, "n[0-2]", 7}, {1, "*4", 16}, {0, "n0", 1},
              {0, "n1", 2},  {0, "n2", 4},     {0, "n3", 8},  {0, "n4", 16}};

/* A message is known by who has published it, and its number there. */
struct id {
  size_t server;
  size_t serial;
};

struct listener {
  struct subscriber subscriber;
  struct member* member;
  struct listener* next;
  const struct topic_case* topic;
  int has_left;
  size_t before[SERVERS]; /* what must not come */
  size_t sure[SERVERS];   /* from here on all must, */
  size_t until[SERVERS];  /* up to here if it has left in a pause */
  struct buf got;         /* of struct id */
};

struct post {
  struct publish publish;
  struct member* member;
  int in_use;
};

enum state { PUBLISHING, ENDING, LEAVING, PAUSE, OVER };

struct member {
  struct scene* scene;
  size_t index;
  uv_loop_t uv;
  uv_thread_t thread;
  uv_idle_t idle; /* its steps */
  struct pubsub_loop* loop;
  struct subscriber marker; /* of "end" and "left" */
  enum state state;
  size_t round;
  size_t published; /* in all */
  size_t coming;    /* listeners, still in this round */
  size_t ends;
  size_t lefts;
  uint64_t seed;
  struct post posts[SLOTS];
  struct listener* listeners; /* the last one is there for all of it */
  long long count;            /* what publishing has said in all */
  long long writes;
  size_t waits;
};

static unsigned int name_of(struct id id) {
  return (unsigned int) ((id.serial * 7 + id.serial / 5 + id.server) % NAMES);
}

static int message_text(char* to, size_t size, const struct topic_case* topic, struct id id) {
  char text[64];
  int len = snprintf(text, sizeof(text), "%zu %zu", id.server, id.serial);

  if (topic->is_pattern)
    return snprintf(to, size, "*4\r\n$8\r\npmessage\r\n$%zu\r\n%s\r\n$2\r\nn%u\r\n$%d\r\n%s\r\n", strlen(topic->text),
                    topic->text, name_of(id), len, text);
  return snprintf(to, size, "*3\r\n$7\r\nmessage\r\n$2\r\nn%u\r\n$%d\r\n%s\r\n", name_of(id), len, text);
}

static void on_listener_write(struct subscriber* subscriber, const char* data, size_t len) {
  struct listener* l = (struct listener*) subscriber;
  support_result_t* result = &l->member->scene->result;
  char wanted[200];
  char got[200] = "";
  char* at;
  struct id id = {SERVERS, 0};

  l->member->writes++;
  support_expect(result, !l->has_left);
  memcpy(got, data, len < sizeof(got) ? len : 0);
  for (at = got + (len > 2 ? len - 2 : 0); at > got && at[-1] != '\n'; at--) {}
  support_expect_eq(result, sscanf(at, "%zu %zu", &id.server, &id.serial), 2);
  support_expect_eq(result, message_text(wanted, sizeof(wanted), l->topic, id), len);
  support_expect(result, memcmp(wanted, data, len) == 0);
  if (support_expect(result, id.server < SERVERS))
    support_expect(result, id.serial >= l->before[id.server]);
  buf_add(&l->got, &id, sizeof(id));
}

static void listener_come(struct member* m, const struct topic_case* topic) {
  struct listener* l = calloc(1, sizeof(*l));
  struct scene* scene = m->scene;
  struct buf reply = {0};
  size_t i;

  l->subscriber.loop = m->loop;
  l->subscriber.write = on_listener_write;
  l->member = m;
  l->topic = topic;
  l->next = m->listeners;
  m->listeners = l;
  for (i = 0; i < SERVERS; i++) {
    l->before[i] = atomic_load(&scene->done[i]);
    l->until[i] = SIZE_MAX;
  }
  subscriber_add(&l->subscriber, topic->is_pattern, slice(topic->text), &reply);
  for (i = 0; i < SERVERS; i++)
    l->sure[i] = atomic_load(&scene->begun[i]);
  buf_free(&reply);
}

static void listener_leave(struct listener* l) {
  size_t i;

  if (l->has_left)
    return;
  l->has_left = 1;
  if (l->member->state != PUBLISHING)
    for (i = 0; i < SERVERS; i++)
      l->until[i] = atomic_load(&l->member->scene->begun[i]);
  subscriber_leave(&l->subscriber);
}

static void on_step(uv_idle_t* idle);

static void on_posted(struct publish* publish, int status, long long count) {
  struct post* post = (struct post*) publish;

  support_expect_eq(&post->member->scene->result, status, 0);
  post->in_use = 0;
  post->member->count += count;
  uv_idle_start(&post->member->idle, on_step);
}

static struct post* free_slot(struct member* m) {
  struct post* slot = m->posts;

  while (slot < m->posts + SLOTS && slot->in_use)
    slot++;
  return slot < m->posts + SLOTS ? slot : NULL;
}

/* There is a free slot. */
static void post(struct member* m, const char* name, const char* text) {
  struct post* slot = free_slot(m);
  long long r;

  if (!support_expect(&m->scene->result, slot != NULL))
    return;
  slot->member = m;
  r = pubsub_publish(m->loop, &slot->publish, slice(name), slice(text), on_posted);
  if (r == UV_EAGAIN) {
    slot->in_use = 1;
    m->waits++;
  } else if (support_expect(&m->scene->result, r >= 0)) {
    m->count += r;
  }
}

static int is_posting(const struct member* m) {
  size_t i;

  for (i = 0; i < SLOTS && !m->posts[i].in_use; i++) {}
  return i < SLOTS;
}

static void on_marker(struct subscriber* subscriber, const char* data, size_t len) {
  struct member* m = (struct member*) ((char*) subscriber - offsetof(struct member, marker));

  m->writes++;
  if (data[len - 3] == 'e')
    m->ends++;
  else
    m->lefts++;
  if (m->ends == SERVERS * (m->round + 1) && m->state == ENDING) {
    m->state = LEAVING;
    uv_idle_start(&m->idle, on_step);
  } else if (m->lefts == SERVERS * (m->round + 1)) {
    m->round++;
    m->coming = COMING;
    m->state = m->round == ROUNDS ? OVER : PUBLISHING;
    uv_idle_start(&m->idle, on_step);
  }
}

/* One more message. Returns 0 if it has to wait. */
static int publish_one(struct member* m) {
  struct id id = {m->index, m->published};
  char name[16];
  char text[64];

  if (free_slot(m) == NULL)
    return 0;
  snprintf(name, sizeof(name), "n%u", name_of(id));
  snprintf(text, sizeof(text), "%zu %zu", id.server, id.serial);
  atomic_store(&m->scene->begun[m->index], id.serial + 1);
  post(m, name, text);
  atomic_store(&m->scene->done[m->index], id.serial + 1);
  m->published++;
  return 1;
}

static void leave_some(struct member* m, uint32_t odds) {
  struct listener* l;

  for (l = m->listeners; l->next != NULL; l = l->next)
    if (next_random(&m->seed) % odds == 0)
      listener_leave(l);
}

static void step_publishing(struct member* m) {
  size_t all = m->scene->each * (m->round + 1);

  if (m->coming > 0 && next_random(&m->seed) % 4 == 0) {
    m->coming--;
    listener_come(m, &topics[next_random(&m->seed) % (sizeof(topics) / sizeof(*topics))]);
  }
  if (m->scene->is_wild)
    leave_some(m, 50);
  while (m->published < all && publish_one(m)) {}
  if (is_posting(m)) {
    uv_idle_stop(&m->idle); /* until on_posted() */
  } else if (m->published == all) {
    uv_idle_stop(&m->idle);
    m->state = ENDING;
    post(m, "end", "e");
  }
}

static void step_over(struct member* m) {
  struct listener* l;

  for (l = m->listeners; l != NULL; l = l->next)
    listener_leave(l);
  subscriber_leave(&m->marker);
  pubsub_loop_close(m->loop, NULL, NULL);
  uv_close((uv_handle_t*) &m->idle, NULL);
}

static void on_step(uv_idle_t* idle) {
  struct member* m = idle->data;

  if (m->state == PUBLISHING) {
    step_publishing(m);
  } else if (m->state == LEAVING && !is_posting(m)) {
    uv_idle_stop(idle);
    leave_some(m, 2);
    m->state = PAUSE;
    post(m, "left", "l");
  } else if (m->state == OVER && !is_posting(m)) {
    step_over(m);
  } else {
    uv_idle_stop(idle);
  }
}

static void member_init(struct member* m, struct scene* scene, size_t index) {
  struct buf reply = {0};

  m->scene = scene;
  m->index = index;
  m->seed = index + 3;
  m->coming = COMING;
  support_loop_init(&m->uv);
  support_check_eq(pubsub_loop_open(&m->loop, scene->pubsub, &m->uv), 0);
  m->marker.loop = m->loop;
  m->marker.write = on_marker;
  subscriber_add(&m->marker, 0, slice("end"), &reply);
  subscriber_add(&m->marker, 0, slice("left"), &reply);
  buf_free(&reply);
  listener_come(m, &topics[0]);
  uv_idle_init(&m->uv, &m->idle);
  m->idle.data = m;
  uv_idle_start(&m->idle, on_step);
}

static void member_run(void* arg) {
  struct member* m = arg;

  support_expect_eq(&m->scene->result, uv_run(&m->uv, UV_RUN_DEFAULT), 0);
}

/* The place of each message in the order in which the first listener has got them, which is all of them. */
static size_t* read_order(const struct scene* scene) {
  const struct listener* l = scene->members[0].listeners;
  size_t per_server = scene->each * ROUNDS;
  size_t* places = malloc(SERVERS * per_server * sizeof(*places));
  size_t next[SERVERS] = {0};
  const struct id* ids;
  size_t i;

  while (l->next != NULL)
    l = l->next;
  ids = (const struct id*) (const void*) l->got.data;
  support_check_eq(l->got.len / sizeof(*ids), SERVERS * per_server);
  for (i = 0; i < SERVERS * per_server; i++) {
    support_check_eq(ids[i].serial, next[ids[i].server]); /* each once, and those of one server in its order */
    next[ids[i].server]++;
    places[ids[i].server * per_server + ids[i].serial] = i;
  }
  return places;
}

/* All that had to come, once, in the one order. */
static void check_listener(const struct scene* scene, const struct listener* l, const size_t* places) {
  size_t per_server = scene->each * ROUNDS;
  const struct id* ids = (const struct id*) (const void*) l->got.data;
  size_t count = l->got.len / sizeof(*ids);
  char* has = calloc(SERVERS, per_server);
  size_t last = 0;
  size_t i;
  struct id id;

  for (i = 0; i < count; i++) {
    size_t at = ids[i].server * per_server + ids[i].serial;
    support_check((l->topic->names >> name_of(ids[i]) & 1) == 1);
    support_check(i == 0 || places[at] > last);
    last = places[at];
    has[at] = 1;
  }
  for (id.server = 0; id.server < SERVERS; id.server++) {
    size_t end = l->until[id.server] < per_server ? l->until[id.server] : per_server;
    for (id.serial = l->sure[id.server]; id.serial < end; id.serial++) {
      size_t at = id.server * per_server + id.serial;
      int left_before = l->until[id.server] == SIZE_MAX && (count == 0 || places[at] > last);
      if ((l->topic->names >> name_of(id) & 1) == 1 && !left_before)
        support_check(has[at]);
    }
  }
  free(has);
}

static void members_end(struct scene* scene, const size_t* places) {
  struct listener* l;
  size_t i;

  for (i = 0; i < SERVERS; i++) {
    struct member* m = &scene->members[i];
    support_loop_close(&m->uv);
    while ((l = m->listeners) != NULL) {
      check_listener(scene, l, places);
      m->listeners = l->next;
      buf_free(&l->got);
      free(l);
    }
  }
}

static void play(size_t capacity, int is_wild) {
  static struct member members[SERVERS];
  struct scene scene;
  size_t* places;
  long long count = 0;
  long long writes = 0;
  size_t i;

  memset(members, 0, sizeof(members));
  memset(&scene, 0, sizeof(scene));
  scene.pubsub = pubsub_new(capacity);
  scene.each = support_scale(500);
  scene.is_wild = is_wild;
  scene.members = members;
  for (i = 0; i < SERVERS; i++)
    member_init(&members[i], &scene, i);
  for (i = 0; i < SERVERS; i++)
    support_spawn(&members[i].thread, member_run, &members[i]);
  for (i = 0; i < SERVERS; i++) {
    support_join(&members[i].thread);
    count += members[i].count;
    writes += members[i].writes;
    if (capacity < SLOTS && scene.each >= SLOTS)
      support_check(members[i].waits > 0);
  }
  support_result_check(&scene.result);
  if (is_wild)
    support_check(writes <= count);
  else
    support_check_eq(writes, count);
  places = read_order(&scene);
  members_end(&scene, places);
  free(places);
  pubsub_free(scene.pubsub);
}

static const size_t capacities[] = {1, 2, 64};

START_TEST(the_count_is_what_is_written) {
  play(capacities[_i], 0);
}
END_TEST

START_TEST(listeners_leave_at_any_time) {
  play(capacities[_i], 1);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("kv pubsub");
  TCase* tcase = support_case(suite, "patterns");

  tcase_add_test(tcase, patterns_are_as_with_redis);
  tcase_add_test(tcase, patterns_are_as_if_all_was_tried);
  tcase_add_test(tcase, patterns_come_to_an_end);
  tcase = support_case(suite, "one thread");
  tcase_add_test(tcase, replies_are_as_with_redis);
  tcase_add_test(tcase, all_is_left_and_answered);
  tcase_add_test(tcase, many_come_and_go);
  tcase_add_loop_test(tcase, a_message_stands_what_write_does, 0, 3);
  tcase_add_test(tcase, write_may_publish);
  tcase_add_test(tcase, who_publishes_waits_for_the_slowest);
  tcase_add_test(tcase, closing_cancels_what_waits);
  tcase_add_test(tcase, unread_messages_go_with_the_last_server);
  tcase = support_case(suite, "threads");
  tcase_add_loop_test(tcase, the_count_is_what_is_written, 0, 3);
  tcase_add_loop_test(tcase, listeners_leave_at_any_time, 0, 3);
  return support_main(suite);
}
