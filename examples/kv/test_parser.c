/* SPDX-License-Identifier: MIT
 *
 * The parser of the protocol, and the replies. What is wanted here is what Redis 7.0.15 did with the same bytes, but for bytes of 0 in
 * lines. With arguments, FILE..., only these files, as a fuzzer has found them. */
#include "buf.h"
#include "fuzz_parser.h"
#include "parser.h"
#include "support.h"

#include <dirent.h>
#include <stdio.h>

enum { FILE_MAX = 1 << 16, LINE_MAX_LEN = 1 << 16 };

static const struct parser_limits usual = {512 << 20, 1 << 20, 0};
static const struct parser_limits anonymous = {512 << 20, 1 << 20, 1};

/* What came of some bytes: for each command "[a][b]", then "..." if more must come, or the error. */
static void describe(struct buf* out, const struct parser* parser, enum parser_result result) {
  size_t i;

  for (i = 0; result == PARSER_COMMAND && i < parser->argc; i++) {
    buf_add(out, "[", 1);
    buf_add(out, parser->argv[i].data, parser->argv[i].len);
    buf_add(out, "]", 1);
  }
  buf_add_text(out, result == PARSER_COMMAND ? ";" : result == PARSER_MORE ? "..." : parser->error);
}

/* All that can be made of the first `len` bytes. Each call has them in a block of its own, at whose end they end. */
static enum parser_result take(struct parser* parser, const char* data, size_t len, size_t* begin, struct buf* out,
                               const struct parser_limits* limits) {
  enum parser_result result;

  do {
    char* block = malloc(len - *begin + 1);
    char* exact = block + 1;

    ck_assert_ptr_nonnull(block);
    memcpy(exact, data + *begin, len - *begin);
    result = parser_next(parser, exact, len - *begin, limits);
    if (result == PARSER_COMMAND) {
      describe(out, parser, result);
      *begin += parser->len;
    }
    free(block);
  } while (result == PARSER_COMMAND);
  return result;
}

/* First `cut` bytes, then all. */
static void check_cut(const char* data, size_t len, size_t cut, const char* wanted, size_t wanted_len,
                      const struct parser_limits* limits) {
  struct parser parser = {0};
  struct buf out = {0};
  size_t begin = 0;
  enum parser_result result = take(&parser, data, cut, &begin, &out, limits);

  if (result != PARSER_ERROR) {
    result = take(&parser, data, len, &begin, &out, limits);
  }
  describe(&out, &parser, result);
  ck_assert_int_eq(out.failed, 0);
  if (out.len != wanted_len || memcmp(out.data, wanted, wanted_len) != 0) {
    ck_abort_msg("cut at %zu: %.*s, not %.*s", cut, (int) out.len, out.data, (int) wanted_len, wanted);
  }
  parser_free(&parser);
  buf_free(&out);
}

/* These bytes come to that, wherever they are cut. */
static void check_bytes(const char* data, size_t len, const char* wanted, size_t wanted_len, const struct parser_limits* limits) {
  size_t cut;

  for (cut = 0; cut <= len; cut++) {
    check_cut(data, len, cut, wanted, wanted_len, limits);
  }
}

#define check(data, wanted) check_bytes(data, sizeof(data) - 1, wanted, sizeof(wanted) - 1, &usual)
#define check_with(limits, data, wanted) check_bytes(data, sizeof(data) - 1, wanted, sizeof(wanted) - 1, limits)
#define check_error(data, text) check(data, "ERR Protocol error: " text)

START_TEST(arrays_are_commands) {
  check("*1\r\n$4\r\nPING\r\n", "[PING];...");
  check("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$12\r\nvalue\r\n\0\xff$*1\r\n", "[SET][key][value\r\n\0\xff$*1];...");
  check("*2\r\n$0\r\n\r\n$0\r\n\r\n", "[][];...");
  check("*10\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n",
        "[0][1][2][3][4][5][6][7][8][9];...");
  check("*1\rx$4\rxPINGxx*1\rx$1\rxaxx", "[PING];[a];...");
}
END_TEST

START_TEST(commands_come_one_after_the_other) {
  check("*1\r\n$1\r\na\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\nd e\r\n*1\r\n$1\r\nf\r\n", "[a];[b][c];[d][e];[f];...");
  check("a\nb\n\r\n\nc\n", "[a];[b];;;[c];...");
  check("*1\r\n$1\r\na\r\n*1\r\nx\r\n*1\r\n$1\r\nb\r\n", "[a];ERR Protocol error: expected '$', got 'x'");
}
END_TEST

START_TEST(an_array_of_nothing_is_nothing) {
  check("*0\r\n", ";...");
  check("*-1\r\nPING\r\n", ";[PING];...");
  check("*-9223372036854775808\r\n*0\r\nPING\r\n", ";;[PING];...");
}
END_TEST

START_TEST(wrong_counts_are_errors) {
  static const char* const counts[] = {"",
                                       "+5",
                                       "01",
                                       "00",
                                       "-0",
                                       "-",
                                       "1 ",
                                       " 1",
                                       "0x1",
                                       "1048577",
                                       "2147483648",
                                       "9223372036854775807",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "9999999999999999999",
                                       "18446744073709551617",
                                       "10000000000000000000000000",
                                       "a",
                                       "1:",
                                       "1/",
                                       "1\n"};
  char text[64];
  size_t i;

  for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
    int len = snprintf(text, sizeof(text), "*%s\r\n", counts[i]);
    static const char wanted[] = "ERR Protocol error: invalid multibulk length";

    check_bytes(text, (size_t) len, wanted, sizeof(wanted) - 1, &usual);
  }
  check_error("*1\0\r\n", "invalid multibulk length");
  check_error("*\r\r", "invalid multibulk length");
  check_error("*\r1\r", "invalid multibulk length");
}
END_TEST

START_TEST(wrong_lengths_are_errors) {
  static const char* const lengths[] = {"",
                                        "+5",
                                        "01",
                                        "00",
                                        "-0",
                                        "-",
                                        "-1",
                                        "4 ",
                                        " 4",
                                        "536870913",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "9999999999999999999",
                                        "18446744073709551617",
                                        "-9223372036854775808",
                                        "10000000000000000000000000",
                                        "a",
                                        "4\n"};
  char text[64];
  size_t i;

  for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
    int len = snprintf(text, sizeof(text), "*1\r\n$%s\r\n", lengths[i]);
    static const char wanted[] = "ERR Protocol error: invalid bulk length";

    check_bytes(text, (size_t) len, wanted, sizeof(wanted) - 1, &usual);
  }
  check_error("*1\r\n$\r\r", "invalid bulk length");
  check_error("*1\r\n$\r1\r", "invalid bulk length");
  check("*1\r\n$536870912\r\nabc", "...");
  check("*1048576\r\n", "...");
}
END_TEST

START_TEST(what_is_no_length_is_an_error) {
  check_error("*1\r\nx4\r\n", "expected '$', got 'x'");
  check_error("*1\r\n:4\r\n", "expected '$', got ':'");
  check_error("*2\r\n$1\r\na\r\n*1\r\n", "expected '$', got '*'");
  check_error("*1\r\n\r\n", "expected '$', got ' '");
  check_error("*1\r\n\n\r\n", "expected '$', got ' '");
  check_error("*1\r\n\0\r\n", "expected '$', got ' '");
  check_error("*1\r\n\xff\r\n", "expected '$', got '\xff'");
  check_error("*2\r\n$1\r\nabcd\r\n", "expected '$', got 'd'");
}
END_TEST

START_TEST(limits_are_kept) {
  static const struct parser_limits small = {5, 2, 0};
  static const struct parser_limits all = {SIZE_MAX, SIZE_MAX, 0};

  check_with(&small, "*2\r\n$5\r\nabcde\r\n$0\r\n\r\n", "[abcde][];...");
  check_with(&small, "*3\r\n", "ERR Protocol error: invalid multibulk length");
  check_with(&small, "*1\r\n$6\r\n", "ERR Protocol error: invalid bulk length");
  check_with(&all, "*9223372036854775807\r\n$9223372036854775807\r\nabc", "...");
  check_with(&all, "*9223372036854775808\r\n", "ERR Protocol error: invalid multibulk length");
}
END_TEST

START_TEST(who_is_anonymous_has_smaller_ones) {
  check_with(&anonymous, "*10\r\n$16384\r\n", "...");
  check_with(&anonymous, "*11\r\n", "ERR Protocol error: unauthenticated multibulk length");
  check_with(&anonymous, "*1\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length");
  check_with(&anonymous, "*2147483648\r\n", "ERR Protocol error: invalid multibulk length");
  check_with(&anonymous, "*1\r\n$536870913\r\n", "ERR Protocol error: invalid bulk length");
  check_with(&anonymous, "1 2 3 4 5 6 7 8 9 10 11\n", "[1][2][3][4][5][6][7][8][9][10][11];...");
}
END_TEST

START_TEST(lines_are_commands) {
  check("PING\r\n", "[PING];...");
  check("PING\n", "[PING];...");
  check("PING\r\r\n", "[PING];...");
  check("  SET\tkey \v\f value  \r\n", "[SET][key][value];...");
  check("a\rb\n", "[a][b];...");
  check("a\vb \vc\f\n", "[a\vb][c\f];...");
  check("a\0b\n", "[a\0b];...");
  check("\r\n", ";...");
  check(" \t\v\f\r\n", ";...");
  check("PING", "...");
  check("$4\r\n", "[$4];...");
  check("a *1\r\n", "[a][*1];...");
}
END_TEST

START_TEST(lines_have_quotes) {
  check("\"a b\" 'c d'\n", "[a b][c d];...");
  check("\"\" '' a\n", "[][][a];...");
  check("a\"b c\"\n", "[ab c];...");
  check("a'b c' d\n", "[ab c][d];...");
  check("\"'\" '\"'\n", "['][\"];...");
  check("\"\\n\\r\\t\\b\\a\\\\\\\"\\q\"\n", "[\n\r\t\b\a\\\"q];...");
  check("\"\\x41\\x00\\xfF\\xzz\\x4\"\n",
        "[A\0\xff"
        "xzzx4];...");
  check("'\\n\\x41\\'\\\\ '\n", "[\\n\\x41'\\\\ ];...");
  check("'\\\\'b'\n", "[\\'b];...");
  check("\\n \\x41\n", "[\\n][\\x41];...");
  check("\"a\"\vb\n", "[a][b];...");
  check("\"*1\"\n", "[*1];...");
}
END_TEST

START_TEST(quotes_that_do_not_end_are_errors) {
  check_error("\"\n", "unbalanced quotes in request");
  check_error("\"a\r\n", "unbalanced quotes in request");
  check_error("'a\r\n", "unbalanced quotes in request");
  check_error("a \"b\n", "unbalanced quotes in request");
  check_error("\"a\"b\r\n", "unbalanced quotes in request");
  check_error("'a'b\r\n", "unbalanced quotes in request");
  check_error("\"a\"\"b\"\r\n", "unbalanced quotes in request");
  check_error("\"a\\\r\n", "unbalanced quotes in request");
  check_error("\"a\\\"\n", "unbalanced quotes in request");
  check_error("'a\\'\n", "unbalanced quotes in request");
  check_error("\"\\x4\n", "unbalanced quotes in request");
}
END_TEST

/* Lines of that many bytes, first without their end: `begin`, then c again and again. */
static void check_long(const char* begin, char c, size_t len, const char* end, const char* wanted) {
  size_t size = len + strlen(end);
  char* data = malloc(size);
  size_t cuts[] = {0, len / 2, len - 1, len, size};
  size_t i;

  ck_assert_ptr_nonnull(data);
  memset(data, c, len);
  memcpy(data, begin, strlen(begin));
  memcpy(data + len, end, strlen(end));
  for (i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
    check_cut(data, size, cuts[i], wanted, strlen(wanted), &usual);
  }
  free(data);
}

START_TEST(a_line_has_64_kib_at_most) {
  check_long("*", '1', LINE_MAX_LEN, "", "...");
  check_long("*", '1', LINE_MAX_LEN + 1, "", "ERR Protocol error: too big mbulk count string");
  check_long("*", '1', LINE_MAX_LEN, "\r\n", "ERR Protocol error: invalid multibulk length");
  check_long("*", '1', LINE_MAX_LEN + 1, "\r\n", "ERR Protocol error: too big mbulk count string");
  check_long("*1\r\n$", '1', LINE_MAX_LEN + 4, "", "...");
  check_long("*1\r\n$", '1', LINE_MAX_LEN + 5, "", "ERR Protocol error: too big bulk count string");
  check_long("*1\r\n$", '1', LINE_MAX_LEN + 4, "\r\n", "ERR Protocol error: invalid bulk length");
  check_long("*1\r\n$", '1', LINE_MAX_LEN + 5, "\r\n", "ERR Protocol error: too big bulk count string");
  check_long("", 'a', LINE_MAX_LEN, "", "...");
  check_long("", 'a', LINE_MAX_LEN + 1, "", "ERR Protocol error: too big inline request");
  check_long("", ' ', LINE_MAX_LEN, "\n", ";...");
  check_long("", ' ', LINE_MAX_LEN + 1, "\n", "ERR Protocol error: too big inline request");
}
END_TEST

START_TEST(a_line_is_looked_at_once) {
  struct parser parser = {0};
  char data[] = "PING PING PING";

  ck_assert_int_eq(parser_next(&parser, data, 10, &usual), PARSER_MORE);
  ck_assert_uint_eq(parser.seen, 10);
  parser_free(&parser);
  ck_assert_int_eq(parser_next(&parser, memcpy(data, "*1\r\n$1234", 9), 9, &usual), PARSER_MORE);
  ck_assert_uint_eq(parser.at + parser.seen, 9);
  parser_free(&parser);
}
END_TEST

START_TEST(an_error_stays) {
  struct parser parser = {0};
  char data[] = "*x\r\n*0\r\n";
  const char* error;

  ck_assert_int_eq(parser_next(&parser, data, 4, &usual), PARSER_ERROR);
  error = parser.error;
  ck_assert_int_eq(parser_next(&parser, data + 4, 4, &usual), PARSER_ERROR);
  ck_assert_str_eq(parser.error, error);
  parser_free(&parser);
  ck_assert_int_eq(parser_next(&parser, data + 4, 4, &usual), PARSER_COMMAND);
  ck_assert_uint_eq(parser.len, 4);
  parser_free(&parser);
}
END_TEST

START_TEST(what_is_needed_is_told) {
  struct parser parser = {0};
  char data[] = "*2\r\n$5\r\nhello\r\n$512000000\r\nabc";
  size_t len = sizeof(data) - 1;
  size_t i;

  for (i = 0; i <= len; i++) {
    size_t wanted = i >= 8 && i < 15 ? 15 - i : i >= 27 ? 512000002 - (i - 27) : 0;

    ck_assert_int_eq(parser_next(&parser, data, i, &usual), PARSER_MORE);
    ck_assert_uint_eq(parser.need, wanted);
  }
  parser_free(&parser);
}
END_TEST

START_TEST(what_is_announced_takes_no_memory) {
  struct parser parser = {0};
  char data[] = "*1048576\r\n$1\r\na\r\n$536870912\r\nabc";

  ck_assert_int_eq(parser_next(&parser, data, sizeof(data) - 1, &usual), PARSER_MORE);
  ck_assert_uint_eq(parser.argc, 1);
  ck_assert_uint_le(parser.size, 8);
  parser_free(&parser);
}
END_TEST

START_TEST(places_grow_and_go_again) {
  enum { MANY = 5000 };
  struct parser parser = {0};
  struct buf buf = {0};
  char ping[] = "PING\n";
  struct slice* argv;
  size_t i;

  reply_array(&buf, MANY);
  for (i = 0; i < MANY; i++) {
    reply_bulk(&buf, &i, sizeof(i));
  }
  for (i = 0; i < buf.len; i += 1000) {
    ck_assert_int_eq(parser_next(&parser, buf.data, i, &usual), PARSER_MORE);
  }
  ck_assert_int_eq(parser_next(&parser, buf.data, buf.len, &usual), PARSER_COMMAND);
  ck_assert_uint_eq(parser.argc, MANY);
  for (i = 0; i < MANY; i++) {
    support_check_eq(parser.argv[i].len, sizeof(i));
    support_check_eq(memcmp(parser.argv[i].data, &i, sizeof(i)), 0);
  }
  ck_assert_int_eq(parser_next(&parser, ping, 5, &usual), PARSER_COMMAND);
  ck_assert_uint_le(parser.size, 8);
  argv = parser.argv;
  ck_assert_int_eq(parser_next(&parser, ping, 5, &usual), PARSER_COMMAND);
  ck_assert_ptr_eq(parser.argv, argv);
  parser_free(&parser);
  buf_free(&buf);
}
END_TEST

/* Replies. */

static void check_buf(struct buf* buf, const char* wanted, size_t len) {
  ck_assert_int_eq(buf->failed, 0);
  ck_assert_uint_eq(buf->len, len);
  ck_assert_mem_eq(buf->data, wanted, len);
  buf_clear(buf, 1000);
}

#define check_reply(buf, wanted) check_buf(buf, wanted, sizeof(wanted) - 1)

START_TEST(replies_are_of_the_protocol) {
  struct slice argv[] = {{"SET", 3}, {"a\0\r\n", 4}, {NULL, 0}};
  struct buf buf = {0};

  reply_status(&buf, "OK");
  check_reply(&buf, "+OK\r\n");
  reply_status(&buf, "a\r\nb");
  check_reply(&buf, "+a  b\r\n");
  reply_error(&buf, "ERR %d '%s'", 5, "a\nb\r");
  check_reply(&buf, "-ERR 5 'a b '\r\n");
  reply_bulk(&buf, "a\0\r\n", 4);
  check_reply(&buf, "$4\r\na\0\r\n\r\n");
  reply_bulk(&buf, NULL, 0);
  check_reply(&buf, "$0\r\n\r\n");
  reply_bulk_text(&buf, "hello world");
  check_reply(&buf, "$11\r\nhello world\r\n");
  reply_nil(&buf);
  check_reply(&buf, "$-1\r\n");
  reply_array(&buf, 0);
  reply_array(&buf, 1048576);
  check_reply(&buf, "*0\r\n*1048576\r\n");
  reply_command(&buf, argv, 3);
  check_reply(&buf, "*3\r\n$3\r\nSET\r\n$4\r\na\0\r\n\r\n$0\r\n\r\n");
  buf_free(&buf);
}
END_TEST

START_TEST(integers_are_printed_as_printf_does) {
  static const long long some[] = {0, 1, -1, 9, 10, 99, 100, -100, INT64_MAX, INT64_MAX - 1, INT64_MIN, INT64_MIN + 1};
  struct buf buf = {0};
  long long power = 1;
  char text[32];
  size_t i;

  for (i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
    reply_integer(&buf, some[i]);
    check_buf(&buf, text, (size_t) snprintf(text, sizeof(text), ":%lld\r\n", some[i]));
  }
  for (i = 0; i < 18; i++, power *= 10) {
    reply_integer(&buf, power - 1);
    check_buf(&buf, text, (size_t) snprintf(text, sizeof(text), ":%lld\r\n", power - 1));
    reply_integer(&buf, -power);
    check_buf(&buf, text, (size_t) snprintf(text, sizeof(text), ":%lld\r\n", -power));
  }
  buf_free(&buf);
}
END_TEST

START_TEST(a_buffer_grows_and_is_consumed) {
  struct buf buf = {0};
  uint32_t sum = 0;
  uint32_t i;

  for (i = 0; i < 100000; i++) {
    buf_add(&buf, &i, sizeof(i));
  }
  ck_assert_uint_eq(buf.len, 400000);
  while (buf.len > 0) {
    uint32_t first;

    memcpy(&first, buf.data, sizeof(first));
    support_check_eq(first, sum);
    sum += 1000;
    buf_consume(&buf, 4000);
  }
  ck_assert_uint_eq(sum, 100000);
  ck_assert_uint_ge(buf.size, 400000);
  buf_print(&buf, "%0600d%s", 1, "x");
  ck_assert_uint_eq(buf.len, 601);
  ck_assert_mem_eq(buf.data + 598, "01x", 3);
  buf_clear(&buf, 1 << 20);
  ck_assert_uint_ge(buf.size, 400000);
  ck_assert_uint_eq(buf.len, 0);
  buf_clear(&buf, 1000);
  ck_assert_uint_le(buf.size, 1000);
  buf_print(&buf, "%0512d", 1); /* with room for the 0 behind it */
  ck_assert_uint_gt(buf.size, buf.len);
  buf_free(&buf);
}
END_TEST

START_TEST(no_memory_is_remembered) {
  struct buf buf = {0};

  buf_add_text(&buf, "a");
  ck_assert_ptr_null(buf_room(&buf, SIZE_MAX));
  ck_assert_int_eq(buf.failed, 1);
  buf_add_text(&buf, "b");
  reply_bulk_text(&buf, "c");
  reply_integer(&buf, 1);
  reply_error(&buf, "ERR %s", "d");
  ck_assert_uint_eq(buf.len, 1);
  ck_assert_int_eq(buf.failed, 1);
  buf_clear(&buf, 1000);
  reply_nil(&buf);
  check_reply(&buf, "$-1\r\n");
  buf_free(&buf);
}
END_TEST

/* Files that a fuzzer has found. */

static bool run_file(const char* path) {
  uint8_t* bytes = malloc(FILE_MAX);
  FILE* file = fopen(path, "rb");
  size_t size = 0;

  if (file != NULL && bytes != NULL) {
    size = fread(bytes, 1, FILE_MAX, file);
    LLVMFuzzerTestOneInput(bytes, size);
  }
  if (file != NULL) {
    fclose(file);
  }
  free(bytes);
  return file != NULL;
}

START_TEST(the_corpus_is_parsed_as_it_must_be) {
  const char* top = getenv("srcdir");
  char folder[1024];
  char path[2048];
  struct dirent* entry;
  size_t count = 0;
  DIR* dir;

  snprintf(folder, sizeof(folder), "%s/test/fuzz/corpus/kv_parser", top != NULL ? top : ".");
  dir = opendir(folder);
  ck_assert_msg(dir != NULL, "cannot open %s", folder);
  while ((entry = readdir(dir)) != NULL) {
    if (entry->d_name[0] != '.') {
      snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
      ck_assert_msg(run_file(path), "cannot read %s", path);
      count += 1;
    }
  }
  closedir(dir);
  ck_assert_uint_gt(count, 0);
}
END_TEST

int main(int argc, char** argv) {
  Suite* suite = suite_create("kv parser");
  TCase* tcase;
  int i;

  for (i = 1; i < argc; i++) {
    if (!run_file(argv[i])) {
      fprintf(stderr, "cannot read %s\n", argv[i]);
      return 2;
    }
  }
  tcase = support_case(suite, "parser");
  tcase_add_test(tcase, arrays_are_commands);
  tcase_add_test(tcase, commands_come_one_after_the_other);
  tcase_add_test(tcase, an_array_of_nothing_is_nothing);
  tcase_add_test(tcase, wrong_counts_are_errors);
  tcase_add_test(tcase, wrong_lengths_are_errors);
  tcase_add_test(tcase, what_is_no_length_is_an_error);
  tcase_add_test(tcase, limits_are_kept);
  tcase_add_test(tcase, who_is_anonymous_has_smaller_ones);
  tcase_add_test(tcase, lines_are_commands);
  tcase_add_test(tcase, lines_have_quotes);
  tcase_add_test(tcase, quotes_that_do_not_end_are_errors);
  tcase_add_test(tcase, a_line_has_64_kib_at_most);
  tcase_add_test(tcase, a_line_is_looked_at_once);
  tcase_add_test(tcase, an_error_stays);
  tcase_add_test(tcase, what_is_needed_is_told);
  tcase_add_test(tcase, what_is_announced_takes_no_memory);
  tcase_add_test(tcase, places_grow_and_go_again);
  tcase = support_case(suite, "replies");
  tcase_add_test(tcase, replies_are_of_the_protocol);
  tcase_add_test(tcase, integers_are_printed_as_printf_does);
  tcase_add_test(tcase, a_buffer_grows_and_is_consumed);
  tcase_add_test(tcase, no_memory_is_remembered);
  tcase = support_case(suite, "fuzz");
  tcase_add_test(tcase, the_corpus_is_parsed_as_it_must_be);
  return argc > 1 ? EXIT_SUCCESS : support_main(suite);
}
