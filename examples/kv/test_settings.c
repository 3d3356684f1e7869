/* SPDX-License-Identifier: MIT
 *
 * The settings of kv: every one on the command line, in CONFIG GET and in CONFIG SET, what is refused, and changes from several
 * threads; and the small parts that all of kv shares. */
#include "settings.h"
#include "support.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { WORDS = 16 };

static struct slice slice_of(const char* text) {
  return (struct slice){text, strlen(text)};
}

/*
 * A channel of settings, and what clients ask of it
 */

struct fixture {
  settings_sender_t tx;
  struct buf reply;
};

static void fixture_open(struct fixture* f) {
  struct settings settings;

  memset(f, 0, sizeof(*f));
  settings_default(&settings);
  ck_assert_int_eq(settings_init(NULL, NULL, &f->tx, &settings), 0);
}

static void fixture_close(struct fixture* f) {
  ck_assert_int_eq(settings_sender_close(&f->tx), 0);
  buf_free(&f->reply);
}

/* What is said between blanks becomes the slices; '' is the empty one. Returns how many. `copy` keeps the bytes. */
static size_t split(const char* words, char* copy, size_t size, struct slice* slices) {
  size_t count = 0;
  char* word;

  ck_assert_uint_lt(strlen(words), size);
  strcpy(copy, words);
  for (word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
    ck_assert_uint_lt(count, WORDS);
    slices[count++] = slice_of(strcmp(word, "''") == 0 ? "" : word);
  }
  return count;
}

/* The reply as text, good until the next one. */
static const char* reply_text(struct fixture* f) {
  buf_add(&f->reply, "", 1);
  ck_assert_int_eq(f->reply.failed, 0);
  return f->reply.data;
}

static const char* config_set(struct fixture* f, const char* words) {
  struct slice slices[WORDS];
  char copy[1024];
  size_t count = split(words, copy, sizeof(copy), slices);

  buf_clear(&f->reply, SIZE_MAX);
  settings_set(&f->tx, slices, count, &f->reply);
  return reply_text(f);
}

static const char* config_get(struct fixture* f, const char* words) {
  struct slice slices[WORDS];
  char copy[1024];
  size_t count = split(words, copy, sizeof(copy), slices);

  buf_clear(&f->reply, SIZE_MAX);
  settings_get(settings_sender_borrow(&f->tx), slices, count, &f->reply);
  return reply_text(f);
}

/* CONFIG GET of one name says this value, and nothing else. */
static void check_value(const struct settings* settings, const char* name, const char* value) {
  const struct slice pattern = slice_of(name);
  struct buf reply = {0};
  struct buf wanted = {0};

  settings_get(settings, &pattern, 1, &reply);
  buf_print(&wanted, "*2\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(name), name, strlen(value), value);
  ck_assert_msg(reply.len == wanted.len && memcmp(reply.data, wanted.data, wanted.len) == 0, "%s: %.*s, not %s", name,
                (int) reply.len, reply.data, value);
  buf_free(&reply);
  buf_free(&wanted);
}

/*
 * What is printed, out of the way into a file
 */

struct capture {
  int fd;
  int saved;
  FILE* file;
  char text[8192];
};

static void capture_begin(struct capture* capture, int fd) {
  fflush(NULL);
  capture->fd = fd;
  capture->saved = dup(fd);
  capture->file = tmpfile();
  ck_assert_int_ge(capture->saved, 0);
  ck_assert_ptr_nonnull(capture->file);
  ck_assert_int_ge(dup2(fileno(capture->file), fd), 0);
}

static void capture_end(struct capture* capture) {
  size_t len;

  fflush(NULL);
  ck_assert_int_ge(dup2(capture->saved, capture->fd), 0);
  close(capture->saved);
  rewind(capture->file);
  len = fread(capture->text, 1, sizeof(capture->text) - 1, capture->file);
  capture->text[len] = '\0';
  fclose(capture->file);
}

/* `b` and `c` may be NULL. */
static int parse(struct settings* settings, const char* a, const char* b, const char* c, int* code) {
  const char* words[] = {"kv", a, b, c, NULL};
  char copies[4][128];
  char* argv[5] = {NULL};
  int argc;

  for (argc = 0; words[argc] != NULL; argc++) {
    snprintf(copies[argc], sizeof(copies[argc]), "%s", words[argc]);
    argv[argc] = copies[argc];
  }
  optind = 0; /* all over again, with what an error left behind */
  *code = -1;
  return settings_parse(settings, argc, argv, code);
}

/*
 * The table, told once more
 */

static const struct {
  const char* name;
  const char* initial; /* NULL: depends on the machine */
  const char* given;
  const char* shown;
  const char* bad;   /* NULL: only what is too long is */
  const char* error; /* for `bad`; NULL: cannot be changed */
} table[] = {
    {"bind", "127.0.0.1", "::1", "::1", "localhost", NULL},
    {"port", "6379", "0", "0", "65536", NULL},
    {"io-loops", NULL, "7", "7", "0", NULL},
    {"shards", NULL, "5", "5", "1025", NULL},
    {"shard-loops", "shared", "own", "own", "both", NULL},
    {"databases", "1", "1", "1", "16", NULL},
    {"maxmemory", "0", "100mb", "104857600", "abc", "argument must be a memory value"},
    {"maxclients", "10000", "17", "17", "0", "argument must be between 1 and 4294967295 inclusive"},
    {"timeout", "0", "2147483647", "2147483647", "-1", "argument must be between 0 and 2147483647 inclusive"},
    {"requirepass", "", "secret", "secret", NULL, NULL},
    {"loglevel", "notice", "DEBUG", "debug", "loud", "argument(s) must be one of the following: debug, verbose, notice, warning"},
    {"appendonly", "no", "yes", "yes", "maybe", NULL},
    {"appendfilename", "appendonly.aof", "x.aof", "x.aof", "a/b", NULL},
    {"dir", ".", "/tmp", "/tmp", "", NULL},
    {"appendfsync", "everysec", "always", "always", "never", "argument(s) must be one of the following: everysec, always, no"},
    {"save", "", "", "", "3600", "argument must be ''"},
    {"proto-max-bulk-len", "536870912", "1mb", "1048576", "1",
     "argument must be between 1048576 and 9223372036854775807 inclusive"},
    {"client-query-buffer-limit", "1073741824", "2m", "2000000", "1.5gb", "argument must be a memory value"},
    {"client-output-buffer-limit-normal", "1048576", "64kb", "65536", "1",
     "argument must be between 1024 and 9223372036854775807 inclusive"},
    {"client-output-buffer-limit-pubsub", "33554432", "1g", "1000000000", "1kbb", "argument must be a memory value"},
};

static int can_change(size_t i) {
  return table[i].error != NULL || strcmp(table[i].name, "requirepass") == 0;
}

START_TEST(get_star_shows_every_row_once_in_order) {
  struct fixture f;
  const char* at;
  char head[80];
  size_t i;

  fixture_open(&f);
  at = config_get(&f, "* *a* maxmemory");
  snprintf(head, sizeof(head), "*%zu\r\n", 2 * COUNT(table));
  ck_assert(strncmp(at, head, strlen(head)) == 0);
  for (i = 0; i < COUNT(table); i++) {
    snprintf(head, sizeof(head), "\r\n$%zu\r\n%s\r\n", strlen(table[i].name), table[i].name);
    at = strstr(at, head);
    ck_assert_msg(at != NULL, "%s", table[i].name);
    ck_assert_ptr_null(strstr(at + 1, head));
  }
  fixture_close(&f);
}
END_TEST

START_TEST(get_takes_patterns_of_any_case) {
  struct fixture f;

  fixture_open(&f);
  ck_assert_str_eq(config_get(&f, "nosuch"), "*0\r\n");
  ck_assert_str_eq(config_get(&f, "TIME* t?meout nosuch [R-T]imeout"), "*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
  ck_assert_str_eq(config_get(&f, "appendonly Save"), "*4\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$4\r\nSave\r\n$0\r\n\r\n");
  ck_assert_str_eq(config_get(&f, "TimeOut timeout TIME*"), "*2\r\n$7\r\nTimeOut\r\n$1\r\n0\r\n");
  fixture_close(&f);
}
END_TEST

START_TEST(defaults_hold) {
  struct settings settings;
  size_t i;

  settings_default(&settings);
  for (i = 0; i < COUNT(table); i++)
    if (table[i].initial != NULL)
      check_value(&settings, table[i].name, table[i].initial);
  ck_assert_uint_eq(settings.servers, uv_available_parallelism());
  ck_assert_uint_eq(settings.shards, settings.servers);
}
END_TEST

/* Once as two words, once as one. */
START_TEST(command_line_sets_every_row) {
  struct settings settings;
  char word[128];
  int code;
  size_t i;
  size_t j;

  for (i = 0; i < COUNT(table); i++) {
    snprintf(word, sizeof(word), "--%s", table[i].name);
    ck_assert_int_eq(parse(&settings, word, table[i].given, NULL, &code), 0);
    check_value(&settings, table[i].name, table[i].shown);
    for (j = 0; j < COUNT(table); j++)
      if (j != i && table[j].initial != NULL)
        check_value(&settings, table[j].name, table[j].initial);
    snprintf(word, sizeof(word), "--%s=%s", table[i].name, table[i].given);
    ck_assert_int_eq(parse(&settings, word, NULL, NULL, &code), 0);
    check_value(&settings, table[i].name, table[i].shown);
  }
}
END_TEST

START_TEST(command_line_refuses_what_is_wrong) {
  struct settings settings;
  struct capture err;
  char word[128];
  int code;
  size_t i;
  int r;

  for (i = 0; i < COUNT(table); i++) {
    if (table[i].bad == NULL)
      continue;
    snprintf(word, sizeof(word), "--%s", table[i].name);
    capture_begin(&err, STDERR_FILENO);
    r = parse(&settings, word, table[i].bad, NULL, &code);
    capture_end(&err);
    ck_assert_int_eq(r, -1);
    ck_assert_int_eq(code, CODE_USAGE);
    ck_assert_msg(strncmp(err.text, "kv: --", 6) == 0 && strstr(err.text, table[i].name) != NULL, "%s", err.text);
    if (table[i].error != NULL)
      ck_assert_msg(strstr(err.text, table[i].error) != NULL, "%s", err.text);
  }
}
END_TEST

START_TEST(command_line_refuses_other_words) {
  static const char* const lines[][3] = {
      {"--nosuch", "1", NULL}, {"--timeout", NULL, NULL}, {"file", NULL, NULL}, {"--port", "1", "file"}, {"--m", "1", NULL}};
  struct settings settings;
  struct capture err;
  int code;
  size_t i;
  int r;

  for (i = 0; i < COUNT(lines); i++) {
    capture_begin(&err, STDERR_FILENO);
    r = parse(&settings, lines[i][0], lines[i][1], lines[i][2], &code);
    capture_end(&err);
    ck_assert_int_eq(r, -1);
    ck_assert_int_eq(code, CODE_USAGE);
    ck_assert_msg(strstr(err.text, "kv: see kv --help\n") > err.text, "%s", err.text);
  }
}
END_TEST

START_TEST(help_names_every_row_on_a_line) {
  struct settings settings;
  struct capture out;
  char line[128];
  int code;
  size_t i;
  int r;

  capture_begin(&out, STDOUT_FILENO);
  r = parse(&settings, "--help", NULL, NULL, &code);
  capture_end(&out);
  ck_assert_int_eq(r, -1);
  ck_assert_int_eq(code, CODE_OK);
  for (i = 0; i < COUNT(table); i++) {
    snprintf(line, sizeof(line), "\n  --%s ", table[i].name);
    ck_assert_msg(strstr(out.text, line) != NULL, "%s", table[i].name);
  }
  capture_begin(&out, STDOUT_FILENO);
  r = parse(&settings, "--version", NULL, NULL, &code);
  capture_end(&out);
  ck_assert_int_eq(r, -1);
  ck_assert_int_eq(code, CODE_OK);
  ck_assert_ptr_nonnull(strstr(out.text, UVCH_VERSION_STRING "\n"));
}
END_TEST

START_TEST(set_changes_every_row_that_can_be) {
  struct fixture f;
  char words[256];
  size_t i;

  fixture_open(&f);
  for (i = 0; i < COUNT(table); i++) {
    snprintf(words, sizeof(words), "%s %s", table[i].name, *table[i].given == '\0' ? "''" : table[i].given);
    if (can_change(i)) {
      ck_assert_str_eq(config_set(&f, words), "+OK\r\n");
      check_value(settings_sender_borrow(&f.tx), table[i].name, table[i].shown);
      continue;
    }
    ck_assert_ptr_nonnull(strstr(config_set(&f, words), "') - can't set immutable config\r\n"));
    if (table[i].initial != NULL)
      check_value(settings_sender_borrow(&f.tx), table[i].name, table[i].initial);
  }
  fixture_close(&f);
}
END_TEST

/* A good pair before and one after it stay undone, too. */
START_TEST(a_bad_value_changes_nothing) {
  struct fixture f;
  struct settings before;
  char words[256];
  char wanted[256];
  size_t i;

  fixture_open(&f);
  before = *settings_sender_borrow(&f.tx);
  for (i = 0; i < COUNT(table); i++) {
    const char* other = strcmp(table[i].name, "timeout") == 0 ? "maxclients" : "timeout";
    if (table[i].error == NULL)
      continue;
    snprintf(words, sizeof(words), "%s 77 %s %s requirepass x", other, table[i].name, table[i].bad);
    snprintf(wanted, sizeof(wanted), "-ERR CONFIG SET failed (possibly related to argument '%s') - %s\r\n", table[i].name,
             table[i].error);
    ck_assert_str_eq(config_set(&f, words), wanted);
    ck_assert(memcmp(settings_sender_borrow(&f.tx), &before, sizeof(before)) == 0);
  }
  fixture_close(&f);
}
END_TEST

/* As redis-server 7.0.15 has them. */
#define FAILED(name, why) "-ERR CONFIG SET failed (possibly related to argument '" name "') - " why "\r\n"
#define UNKNOWN(name) "-ERR Unknown option or number of arguments for CONFIG SET - '" name "'\r\n"
static const char* const errors[][2] = {
    {"nosuch 1", UNKNOWN("nosuch")},
    {"NoSuch 1 timeout x", UNKNOWN("NoSuch")},
    {"timeout x nosuch 1", UNKNOWN("nosuch")},
    {"timeout x port", "-ERR syntax error\r\n"},
    {"TIMEOUT x maxmemory y", FAILED("timeout", "argument couldn't be parsed into an integer")},
    {"timeout ''", FAILED("timeout", "argument couldn't be parsed into an integer")},
    {"timeout 05", FAILED("timeout", "argument couldn't be parsed into an integer")},
    {"timeout 5kb", FAILED("timeout", "argument couldn't be parsed into an integer")},
    {"timeout 99999999999999999999999", FAILED("timeout", "argument couldn't be parsed into an integer")},
    {"timeout 2147483648", FAILED("timeout", "argument must be between 0 and 2147483647 inclusive")},
    {"maxmemory -1", FAILED("maxmemory", "argument must be a memory value")},
    {"maxmemory 10%", FAILED("maxmemory", "argument must be a memory value")},
    {"proto-max-bulk-len 99999999999999999999",
     FAILED("proto-max-bulk-len", "argument must be between 1048576 and 9223372036854775807 inclusive")},
    {"timeout x databases 2", FAILED("databases", "can't set immutable config")},
    {"databases 3 nosuch 1", FAILED("databases", "can't set immutable config")},
    {"nosuch 1 databases 3", UNKNOWN("nosuch")},
    {"timeout 3 TIMEOUT 3 databases 3", FAILED("timeout", "duplicate parameter")},
};

START_TEST(set_fails_with_the_texts_of_redis) {
  struct fixture f;
  size_t i;

  fixture_open(&f);
  for (i = 0; i < COUNT(errors); i++)
    ck_assert_str_eq(config_set(&f, errors[i][0]), errors[i][1]);
  check_value(settings_sender_borrow(&f.tx), "timeout", "0");
  fixture_close(&f);
}
END_TEST

START_TEST(bytes_have_units) {
  static const char* const units[][2] = {
      {"7", "7"},
      {"7b", "7"},
      {"7k", "7000"},
      {"7kb", "7168"},
      {"7K", "7000"},
      {"7M", "7000000"},
      {"7Mb", "7340032"},
      {"7g", "7000000000"},
      {"7GB", "7516192768"},
      {"00005", "5"},
      {"''", "0"},
      {"kb", "0"},
      {"18446744073709551615", "18446744073709551615"},
      {"18446744073709551616", "18446744073709551615"},
      {"17179869184gb", "18446744073709551615"},
  };
  static const char* const bad[] = {"1kk", "1tb", "+1", "1.5mb", "0x10", "1kbx"};
  struct fixture f;
  char words[80];
  size_t i;

  fixture_open(&f);
  for (i = 0; i < COUNT(units); i++) {
    snprintf(words, sizeof(words), "maxmemory %s", units[i][0]);
    ck_assert_str_eq(config_set(&f, words), "+OK\r\n");
    check_value(settings_sender_borrow(&f.tx), "maxmemory", units[i][1]);
  }
  for (i = 0; i < COUNT(bad); i++) {
    snprintf(words, sizeof(words), "maxmemory %s", bad[i]);
    ck_assert_str_eq(config_set(&f, words), FAILED("maxmemory", "argument must be a memory value"));
  }
  fixture_close(&f);
}
END_TEST

START_TEST(texts_keep_to_their_place) {
  char text[PASSWORD_LIMIT + 2];
  struct slice pair[2] = {slice_of("requirepass"), {text, PASSWORD_LIMIT}};
  struct fixture f;

  fixture_open(&f);
  memset(text, 'x', sizeof(text));
  settings_set(&f.tx, pair, 2, &f.reply);
  ck_assert_str_eq(reply_text(&f), "+OK\r\n");
  ck_assert_uint_eq(strlen(settings_sender_borrow(&f.tx)->requirepass), PASSWORD_LIMIT);
  buf_clear(&f.reply, 0);
  pair[1].len++;
  settings_set(&f.tx, pair, 2, &f.reply);
  ck_assert_str_eq(reply_text(&f), FAILED("requirepass", "argument must have at most 511 bytes"));
  buf_clear(&f.reply, 0);
  pair[1] = (struct slice){"a\0b", 3};
  settings_set(&f.tx, pair, 2, &f.reply);
  ck_assert_str_eq(reply_text(&f), FAILED("requirepass", "argument must not have a byte 0"));
  ck_assert_uint_eq(strlen(settings_sender_borrow(&f.tx)->requirepass), PASSWORD_LIMIT);
  ck_assert_str_eq(config_set(&f, "requirepass ''"), "+OK\r\n");
  ck_assert_str_eq(settings_sender_borrow(&f.tx)->requirepass, "");
  fixture_close(&f);
}
END_TEST

START_TEST(no_memory_is_an_answer) {
  struct fixture f;

  fixture_open(&f);
  support_alloc_fail_from(1);
  config_set(&f, "timeout 5");
  support_alloc_fail_from(0);
  ck_assert_str_eq(f.reply.data, "-ERR CONFIG SET failed - not enough memory\r\n");
  ck_assert_uint_eq(settings_sender_borrow(&f.tx)->timeout, 0);
  fixture_close(&f);
}
END_TEST

/*
 * Changes from several threads
 */

enum { THREADS = 4 };

struct changer {
  settings_sender_t tx;
  const char* name;
  size_t rounds;
  size_t lost; /* own values that another thread's change has taken away; and replies that are not +OK */
  uv_thread_t thread;
};

/* Nobody else sets this name, so what was set last is there until the next time. */
static void changer_run(void* arg) {
  struct changer* changer = arg;
  const struct slice pattern = slice_of(changer->name);
  struct buf reply = {0};
  struct buf wanted = {0};
  char value[24];
  size_t i;

  for (i = 1; i <= changer->rounds; i++) {
    struct slice pair[2] = {pattern, {value, 0}};
    pair[1].len = (size_t) snprintf(value, sizeof(value), "%zu", i + 1048576);
    buf_clear(&reply, SIZE_MAX);
    settings_set(&changer->tx, pair, 2, &reply);
    changer->lost += reply.len != 5 || memcmp(reply.data, "+OK\r\n", 5) != 0;
    buf_clear(&reply, SIZE_MAX);
    buf_clear(&wanted, SIZE_MAX);
    settings_get(settings_sender_borrow(&changer->tx), &pattern, 1, &reply);
    reply_array(&wanted, 2);
    reply_bulk_text(&wanted, changer->name);
    reply_bulk_text(&wanted, value);
    changer->lost += reply.len != wanted.len || memcmp(reply.data, wanted.data, wanted.len) != 0;
  }
  buf_free(&reply);
  buf_free(&wanted);
}

START_TEST(changes_of_different_names_are_all_kept) {
  static const char* const names[THREADS] = {"maxmemory", "proto-max-bulk-len", "timeout", "client-query-buffer-limit"};
  struct changer changers[THREADS];
  struct fixture f;
  char value[24];
  size_t i;

  fixture_open(&f);
  for (i = 0; i < THREADS; i++) {
    changers[i] = (struct changer){.name = names[i], .rounds = support_scale(5000)};
    ck_assert_int_eq(settings_sender_clone(&f.tx, &changers[i].tx), 0);
  }
  for (i = 0; i < THREADS; i++)
    support_spawn(&changers[i].thread, changer_run, &changers[i]);
  for (i = 0; i < THREADS; i++)
    support_join(&changers[i].thread);
  for (i = 0; i < THREADS; i++) {
    ck_assert_uint_eq(changers[i].lost, 0);
    snprintf(value, sizeof(value), "%zu", changers[i].rounds + 1048576);
    check_value(settings_sender_borrow(&f.tx), names[i], value);
    ck_assert_int_eq(settings_sender_close(&changers[i].tx), 0);
  }
  fixture_close(&f);
}
END_TEST

/*
 * What all parts share
 */

START_TEST(integers_are_those_of_redis) {
  static const struct {
    const char* text;
    long long value;
  } good[] = {
      {"0", 0}, {"7", 7}, {"-1", -1}, {"10", 10}, {"9223372036854775807", LLONG_MAX}, {"-9223372036854775808", LLONG_MIN}};
  static const char* const bad[] = {"",
                                    "-",
                                    "+1",
                                    "-0",
                                    "01",
                                    "-01",
                                    " 1",
                                    "1 ",
                                    "1a",
                                    "a",
                                    "--1",
                                    "1-",
                                    "/",
                                    ":",
                                    "\xb1",
                                    "9223372036854775808",
                                    "-9223372036854775809",
                                    "18446744073709551616",
                                    "99999999999999999999",
                                    "00000000000000000000000001"};
  long long value;
  size_t i;

  for (i = 0; i < COUNT(good); i++) {
    ck_assert_msg(slice_integer(slice_of(good[i].text), &value) == 0, "%s", good[i].text);
    ck_assert_int_eq(value, good[i].value);
  }
  for (i = 0; i < COUNT(bad); i++)
    ck_assert_msg(slice_integer(slice_of(bad[i]), &value) == -1, "'%s'", bad[i]);
  ck_assert_int_eq(slice_integer((struct slice){"12\0", 3}, &value), -1);
}
END_TEST

START_TEST(names_have_any_case) {
  ck_assert(slice_is(slice_of("GeT"), "get") && slice_is(slice_of("get"), "GET") && slice_is(slice_of(""), ""));
  ck_assert(!slice_is(slice_of("get"), "gets") && !slice_is(slice_of("gets"), "get") && !slice_is(slice_of("{"), "["));
  ck_assert(!slice_is((struct slice){"get\0", 4}, "get") && !slice_is((struct slice){"\0", 1}, ""));
}
END_TEST

START_TEST(messages_are_lines_of_a_level) {
  struct capture err;
  char large[10000];

  memset(large, 'x', sizeof(large) - 1);
  large[sizeof(large) - 1] = '\0';
  capture_begin(&err, STDERR_FILENO);
  say(LEVEL_VERBOSE, "not yet");
  say(LEVEL_NOTICE, "%s is %d", "one", 1);
  say_from(LEVEL_DEBUG);
  say(LEVEL_DEBUG, "a\nb\033c");
  say_from(LEVEL_WARNING);
  say(LEVEL_NOTICE, "no more");
  say(LEVEL_WARNING, "last");
  capture_end(&err);
  say_from(LEVEL_NOTICE);
  ck_assert_str_eq(err.text, "kv: one is 1\nkv: a b c\nkv: last\n");
  capture_begin(&err, STDERR_FILENO);
  say(LEVEL_WARNING, "%s", large);
  capture_end(&err);
  ck_assert_uint_eq(strcspn(err.text, "\n"), strlen(err.text) - 1);
}
END_TEST

START_TEST(the_clock_is_in_milliseconds) {
  int64_t now = (int64_t) time(NULL) * 1000;

  ck_assert_int_ge(wall_clock(), now - 1000);
  ck_assert_int_le(now, wall_clock());
}
END_TEST

int main(void) {
  Suite* suite = suite_create("kv settings");
  TCase* tc = support_case(suite, "settings");

  tcase_add_test(tc, get_star_shows_every_row_once_in_order);
  tcase_add_test(tc, get_takes_patterns_of_any_case);
  tcase_add_test(tc, defaults_hold);
  tcase_add_test(tc, command_line_sets_every_row);
  tcase_add_test(tc, command_line_refuses_what_is_wrong);
  tcase_add_test(tc, command_line_refuses_other_words);
  tcase_add_test(tc, help_names_every_row_on_a_line);
  tcase_add_test(tc, set_changes_every_row_that_can_be);
  tcase_add_test(tc, a_bad_value_changes_nothing);
  tcase_add_test(tc, set_fails_with_the_texts_of_redis);
  tcase_add_test(tc, bytes_have_units);
  tcase_add_test(tc, texts_keep_to_their_place);
  tcase_add_test(tc, no_memory_is_an_answer);
  tcase_add_test(tc, changes_of_different_names_are_all_kept);
  tcase_add_test(tc, integers_are_those_of_redis);
  tcase_add_test(tc, names_have_any_case);
  tcase_add_test(tc, messages_are_lines_of_a_level);
  tcase_add_test(tc, the_clock_is_in_milliseconds);
  return support_main(suite);
}
