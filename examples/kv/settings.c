/* SPDX-License-Identifier: MIT
 *
 * One table of all settings. The command line, CONFIG GET, CONFIG SET and --help do what its rows say. */
#include "settings.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/*
 * The table
 */

enum kind {
  KIND_BYTES,  /* a number with a unit, in a size_t */
  KIND_NUMBER, /* in 4 or 8 bytes, without a sign */
  KIND_CHOICE, /* one of `choices`, whose place in there is the value of an enum or an int */
  KIND_TEXT,   /* in an array of char */
  KIND_FIXED   /* nowhere: clients ask for it, and there is but one answer */
};

enum when { AT_START, ANY_TIME };

struct row {
  const char* name;
  enum kind kind;
  enum when when;
  const char* initial; /* NULL: depends on the machine, see settings_default() */
  const char* help;
  size_t place; /* in struct settings */
  size_t size;
  uint64_t min; /* KIND_BYTES, KIND_NUMBER */
  uint64_t max;
  const char* const* choices;               /* ends with NULL */
  const char* (*problem)(const char* text); /* KIND_TEXT: what is wrong with it, or NULL; no function: nothing can be */
};

static const char* address_problem(const char* text) {
  struct sockaddr_in6 ip6;
  struct sockaddr_in ip4;

  return uv_ip4_addr(text, 0, &ip4) == 0 || uv_ip6_addr(text, 0, &ip6) == 0 ? NULL : "argument must be an IPv4 or IPv6 address";
}

static const char* filename_problem(const char* text) {
  if (*text == '\0')
    return "argument can't be empty";
  return strpbrk(text, "/\\") == NULL ? NULL : "argument can't be a path, just a filename";
}

static const char* directory_problem(const char* text) {
  return *text != '\0' ? NULL : "argument can't be empty";
}

/* In the order of enum level, of enum shard_loops, of enum appendfsync, and of 0 and 1. */
static const char* const levels[] = {"debug", "verbose", "notice", "warning", NULL};
static const char* const places[] = {"shared", "own", NULL};
static const char* const policies[] = {"everysec", "always", "no", NULL};
static const char* const no_yes[] = {"no", "yes", NULL};

enum { LOOPS_LIMIT = 1024 };
#define KB ((uint64_t) 1024)
#define MB (KB * KB)
#define SIZE_HALF (SIZE_MAX / 2) /* as high as Redis lets limits go */

/* The columns of a row that say where it is; then those of its kind. */
#define AT(member) .place = offsetof(struct settings, member), .size = sizeof(((struct settings*) NULL)->member)
#define FROM_TO(min_, max_) .min = (min_), .max = (max_)
#define NOWHERE .size = 0

static const struct row rows[] = {
    {"bind", KIND_TEXT, AT_START, "127.0.0.1", "listen on this IPv4 or IPv6 address", AT(bind), .problem = address_problem},
    {"port", KIND_NUMBER, AT_START, "6379", "listen on this port; 0: any that is free", AT(port), FROM_TO(0, 65535)},
    {"io-loops", KIND_NUMBER, AT_START, NULL, "loops that own connections", AT(servers), FROM_TO(1, LOOPS_LIMIT)},
    {"shards", KIND_NUMBER, AT_START, NULL, "actors that own keys", AT(shards), FROM_TO(1, LOOPS_LIMIT)},
    {"shard-loops", KIND_CHOICE, AT_START, "shared", "where they live: with connections, or each on a loop to itself",
     AT(shard_loops), .choices = places},
    {"databases", KIND_FIXED, AT_START, "1", "only this", NOWHERE},
    {"maxmemory", KIND_BYTES, ANY_TIME, "0", "of all keys; 0: no limit", AT(maxmemory), FROM_TO(0, SIZE_MAX)},
    {"maxclients", KIND_NUMBER, ANY_TIME, "10000", "clients at a time", AT(maxclients), FROM_TO(1, UINT32_MAX)},
    {"timeout", KIND_NUMBER, ANY_TIME, "0", "seconds for which a client may be idle; 0: for ever", AT(timeout),
     FROM_TO(0, INT_MAX)},
    {"requirepass", KIND_TEXT, ANY_TIME, "", "the password of AUTH; empty: none", AT(requirepass)},
    {"loglevel", KIND_CHOICE, ANY_TIME, "notice", "messages of this level and above", AT(loglevel), .choices = levels},
    {"appendonly", KIND_CHOICE, AT_START, "no", "keep what is changed in a file", AT(appendonly), .choices = no_yes},
    {"appendfilename", KIND_TEXT, AT_START, "appendonly.aof", "its name", AT(appendfilename), .problem = filename_problem},
    {"dir", KIND_TEXT, AT_START, ".", "its directory", AT(dir), .problem = directory_problem},
    {"appendfsync", KIND_CHOICE, ANY_TIME, "everysec", "when it goes to the disk", AT(appendfsync), .choices = policies},
    {"save", KIND_FIXED, ANY_TIME, "", "only this: there are no snapshots", NOWHERE},
    {"proto-max-bulk-len", KIND_BYTES, ANY_TIME, "512mb", "of one argument", AT(proto_max_bulk_len), FROM_TO(MB, SIZE_HALF)},
    {"client-query-buffer-limit", KIND_BYTES, ANY_TIME, "1gb", "of commands of a client that wait", AT(query_buffer_limit),
     FROM_TO(MB, SIZE_HALF)},
    {"client-output-buffer-limit-normal", KIND_BYTES, ANY_TIME, "1mb", "of replies at which a client is not read from",
     AT(output_limit), FROM_TO(KB, SIZE_HALF)},
    {"client-output-buffer-limit-pubsub", KIND_BYTES, ANY_TIME, "32mb", "of messages at which a subscriber is closed",
     AT(subscriber_limit), FROM_TO(KB, SIZE_HALF)},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const struct row* row_find(struct slice name) {
  size_t i;

  for (i = 0; i < ROWS; i++)
    if (slice_is(name, rows[i].name))
      return &rows[i];
  return NULL;
}

/*
 * A value out of text
 */

/* What is wrong, in Redis's words. */
struct problem {
  char text[160];
};

static int wrong(struct problem* problem, const char* format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct problem* problem, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(problem->text, sizeof(problem->text), format, args);
  va_end(args);
  return -1;
}

/* The place of a row, whose number is as wide as its member. */
static void put_number(const struct row* row, struct settings* settings, uint64_t value) {
  char* place = (char*) settings + row->place;
  uint32_t half = (uint32_t) value;

  if (row->size == sizeof(value))
    memcpy(place, &value, sizeof(value));
  else
    memcpy(place, &half, sizeof(half));
}

static uint64_t get_number(const struct row* row, const struct settings* settings) {
  const char* place = (const char*) settings + row->place;
  uint64_t value;
  uint32_t half;

  if (row->size == sizeof(value)) {
    memcpy(&value, place, sizeof(value));
    return value;
  }
  memcpy(&half, place, sizeof(half));
  return half;
}

static uint64_t times(uint64_t value, uint64_t factor) {
  return value > UINT64_MAX / factor ? UINT64_MAX : value * factor;
}

/* The factor of a unit; 0: there is no such unit. */
static uint64_t unit_of(struct slice text) {
  static const struct {
    const char* name;
    uint64_t factor;
  } units[] = {{"", 1},        {"b", 1}, {"k", 1000}, {"kb", KB}, {"m", 1000 * 1000}, {"mb", MB}, {"g", 1000 * 1000 * 1000},
               {"gb", KB * MB}};
  size_t i;

  for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
    if (slice_is(text, units[i].name))
      return units[i].factor;
  return 0;
}

/* No digits are 0, as with Redis. Returns 0, or -1 if it is no number of bytes. */
static int parse_bytes(struct slice text, uint64_t* value) {
  struct slice unit = text;
  uint64_t factor;

  for (*value = 0; unit.len > 0 && *unit.data >= '0' && *unit.data <= '9'; unit.data++, unit.len--) {
    uint64_t digit = (uint64_t) (*unit.data - '0');
    *value = *value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *value * 10 + digit;
  }
  factor = unit_of(unit);
  if (factor == 0)
    return -1;
  *value = times(*value, factor);
  return 0;
}

static int set_within(const struct row* row, struct settings* settings, uint64_t value, struct problem* problem) {
  if (value < row->min || value > row->max)
    return wrong(problem, "argument must be between %llu and %llu inclusive", (unsigned long long) row->min,
                 (unsigned long long) row->max);
  put_number(row, settings, value);
  return 0;
}

static int set_bytes(const struct row* row, struct settings* settings, struct slice text, struct problem* problem) {
  uint64_t value;

  if (parse_bytes(text, &value) != 0)
    return wrong(problem, "argument must be a memory value");
  return set_within(row, settings, value, problem);
}

/* No limit is above INT64_MAX, so a number below 0 is one too large. */
static int set_number(const struct row* row, struct settings* settings, struct slice text, struct problem* problem) {
  long long value;

  if (slice_integer(text, &value) != 0)
    return wrong(problem, "argument couldn't be parsed into an integer");
  return set_within(row, settings, (uint64_t) value, problem);
}

static int set_choice(const struct row* row, struct settings* settings, struct slice text, struct problem* problem) {
  char known[100] = "";
  size_t i;

  for (i = 0; row->choices[i] != NULL; i++) {
    size_t len = strlen(known);
    if (slice_is(text, row->choices[i])) {
      put_number(row, settings, i);
      return 0;
    }
    snprintf(known + len, sizeof(known) - len, "%s%s", i == 0 ? "" : ", ", row->choices[i]);
  }
  return wrong(problem, "argument(s) must be one of the following: %s", known);
}

static int set_text(const struct row* row, struct settings* settings, struct slice text, struct problem* problem) {
  char* place = (char*) settings + row->place;
  const char* found;

  if (text.len >= row->size)
    return wrong(problem, "argument must have at most %zu bytes", row->size - 1);
  if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
    return wrong(problem, "argument must not have a byte 0");
  memset(place, 0, row->size);
  if (text.len > 0)
    memcpy(place, text.data, text.len);
  found = row->problem == NULL ? NULL : row->problem(place);
  return found == NULL ? 0 : wrong(problem, "%s", found);
}

/* Returns 0, or -1 with `problem`; then the place of this row may have changed, too. */
static int row_set(const struct row* row, struct settings* settings, struct slice text, struct problem* problem) {
  switch (row->kind) {
    case KIND_BYTES:
      return set_bytes(row, settings, text, problem);
    case KIND_NUMBER:
      return set_number(row, settings, text, problem);
    case KIND_CHOICE:
      return set_choice(row, settings, text, problem);
    case KIND_TEXT:
      return set_text(row, settings, text, problem);
    default:
      return slice_is(text, row->initial) ? 0 : wrong(problem, "argument must be '%s'", row->initial);
  }
}

/*
 * Text out of a value
 */

enum { NUMBER_SIZE = 24 };

/* It is good as long as `settings` and `number` are. */
static const char* row_get(const struct row* row, const struct settings* settings, char number[NUMBER_SIZE]) {
  switch (row->kind) {
    case KIND_CHOICE:
      return row->choices[get_number(row, settings)];
    case KIND_TEXT:
      return (const char*) settings + row->place;
    case KIND_FIXED:
      return row->initial;
    default:
      snprintf(number, NUMBER_SIZE, "%llu", (unsigned long long) get_number(row, settings));
      return number;
  }
}

/*
 * CONFIG
 */

static int is_name(struct slice pattern) {
  size_t i;

  for (i = 0; i < pattern.len; i++)
    if (memchr("*?[", pattern.data[i], 3) != NULL)
      return 0;
  return 1;
}

/* Names are small letters; patterns need not be. Which rows one of them describes, each by its name. As with Redis, a name that is
 * asked for is shown as it was typed. */
static int match(const struct slice* patterns, size_t count, struct slice matched[ROWS]) {
  struct buf small = {0};
  size_t i;
  size_t j;

  for (i = 0; i < count && !small.failed; i++) {
    const struct row* row = is_name(patterns[i]) ? row_find(patterns[i]) : NULL;

    if (row != NULL && matched[row - rows].data == NULL)
      matched[row - rows] = patterns[i];
    if (is_name(patterns[i]))
      continue;
    buf_clear(&small, SIZE_MAX);
    buf_add(&small, patterns[i].data, patterns[i].len);
    for (j = 0; j < small.len; j++)
      if (small.data[j] >= 'A' && small.data[j] <= 'Z')
        small.data[j] = (char) (small.data[j] - 'A' + 'a');
    for (j = 0; j < ROWS; j++) {
      struct slice name = {rows[j].name, strlen(rows[j].name)};

      if (matched[j].data == NULL && glob_match((struct slice){small.data, small.len}, name))
        matched[j] = name;
    }
  }
  i = (size_t) small.failed;
  buf_free(&small);
  return i == 0 ? 0 : UV_ENOMEM;
}

void settings_get(const struct settings* settings, const struct slice* patterns, size_t count, struct buf* reply) {
  struct slice matched[ROWS] = {{NULL, 0}};
  char number[NUMBER_SIZE];
  size_t found = 0;
  size_t i;

  if (match(patterns, count, matched) != 0) {
    reply_error(reply, "ERR CONFIG GET failed - %s", uv_strerror(UV_ENOMEM));
    return;
  }
  for (i = 0; i < ROWS; i++)
    found += matched[i].data != NULL;
  reply_array(reply, 2 * found);
  for (i = 0; i < ROWS; i++)
    if (matched[i].data != NULL) {
      reply_bulk(reply, matched[i].data, matched[i].len);
      reply_bulk_text(reply, row_get(&rows[i], settings, number));
    }
}

static void reply_failed(struct buf* reply, const struct row* row, const char* text) {
  reply_error(reply, "ERR CONFIG SET failed (possibly related to argument '%s') - %s", row->name, text);
}

/* Before any value is looked at, as with Redis. Returns 0, or -1 with the reply. */
static int check_names(const struct slice* pairs, size_t count, struct buf* reply) {
  char seen[ROWS] = {0};
  size_t i;

  for (i = 0; i < count; i += 2) {
    const struct row* row = row_find(pairs[i]);
    if (row == NULL) {
      reply_error(reply, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'", slice_width(pairs[i]),
                  pairs[i].data);
      return -1;
    }
    if (row->when == AT_START || seen[row - rows]) {
      reply_failed(reply, row, row->when == AT_START ? "can't set immutable config" : "duplicate parameter");
      return -1;
    }
    seen[row - rows] = 1;
  }
  return 0;
}

size_t settings_room(const struct settings* settings) {
  const rlim_t own = 8 * (settings->servers + settings->shards + 2) + 32; /* a loop has up to 8 */
  const rlim_t need = settings->maxclients + own;
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
    return settings->maxclients;
  limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || need < limit.rlim_max ? need : limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return settings->maxclients;
  if (limit.rlim_cur >= need)
    return settings->maxclients;
  return limit.rlim_cur > own ? (size_t) (limit.rlim_cur - own) : 1;
}

struct change {
  const struct slice* pairs;
  size_t count;
  const struct row* row; /* the one with the problem */
  struct problem problem;
};

static int check_room(const struct settings* settings, struct problem* problem) {
  size_t room = settings_room(settings);

  if (room == settings->maxclients)
    return 0;
  return wrong(problem, "The operating system is not able to handle the specified number of clients, try with %zu", room);
}

/* On a copy, which is given up if a value is wrong. Perhaps more than once: see settings_set(). */
static int on_modify(struct settings* settings, void* arg) {
  struct change* change = arg;
  size_t i;

  for (i = 0; i < change->count; i += 2) {
    change->row = row_find(change->pairs[i]);
    if (row_set(change->row, settings, change->pairs[i + 1], &change->problem) != 0)
      return UV_EINVAL;
    if (slice_is(change->pairs[i], "maxclients") && check_room(settings, &change->problem) != 0)
      return UV_EINVAL;
  }
  return 0;
}

void settings_set(const settings_sender_t* tx, const struct slice* pairs, size_t count, struct buf* reply) {
  struct change change = {.pairs = pairs, .count = count};
  int r;

  if (count % 2 != 0) {
    reply_error(reply, "ERR syntax error");
    return;
  }
  if (check_names(pairs, count, reply) != 0)
    return;
  do {
    r = settings_modify(tx, on_modify, &change);
  } while (r == UV_EBUSY); /* each time others have got theirs in */
  if (r == 0)
    reply_status(reply, "OK");
  else if (r == UV_EINVAL)
    reply_failed(reply, change.row, change.problem.text);
  else
    reply_error(reply, "ERR CONFIG SET failed - %s", uv_strerror(r));
}

/*
 * The command line
 */

void settings_default(struct settings* settings) {
  const unsigned int processors = uv_available_parallelism();
  struct problem problem;
  size_t i;

  memset(settings, 0, sizeof(*settings));
  settings->servers = processors < LOOPS_LIMIT ? processors : LOOPS_LIMIT;
  settings->shards = settings->servers;
  for (i = 0; i < ROWS; i++)
    if (rows[i].initial != NULL)
      must(row_set(&rows[i], settings, (struct slice){rows[i].initial, strlen(rows[i].initial)}, &problem), rows[i].name);
}

/* To standard output. Returns the exit code. */
static int answer(struct buf* text) {
  int r = text->failed ? UV_ENOMEM : 0;

  if (r == 0 && (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0))
    r = uv_translate_sys_error(errno);
  buf_free(text);
  if (r != 0)
    say(LEVEL_WARNING, "cannot write to standard output: %s", uv_strerror(r));
  return r == 0 ? CODE_OK : CODE_FAILED;
}

/* What stands behind the name in a row of --help. */
static void describe_value(const struct row* row, char* text, size_t size) {
  size_t i;

  snprintf(text, size, "%s", row->kind == KIND_BYTES ? "BYTES" : row->kind == KIND_NUMBER ? "N" : "TEXT");
  for (i = 0; row->choices != NULL && row->choices[i] != NULL; i++) {
    size_t len = i == 0 ? 0 : strlen(text);
    snprintf(text + len, size - len, "%s%s", i == 0 ? "" : "|", row->choices[i]);
  }
}

static int help(void) {
  struct settings settings;
  struct buf text = {0};
  char number[NUMBER_SIZE];
  char value[60];
  size_t i;

  settings_default(&settings);
  buf_add_text(&text,
               "usage: kv [options]\n\n"
               "An in-memory key-value server that speaks the Redis protocol. Ctrl-C ends it.\n\n");
  for (i = 0; i < ROWS; i++) {
    const char* initial = rows[i].initial != NULL ? rows[i].initial : row_get(&rows[i], &settings, number);
    describe_value(&rows[i], value, sizeof(value));
    buf_print(&text, "  --%s %-*s  %s (%s)\n", rows[i].name, (int) (40 - strlen(rows[i].name)), value, rows[i].help,
              *initial == '\0' ? "''" : initial);
  }
  buf_print(&text, "  --%-41s  this text\n  --%-41s  the version\n\n", "help", "version");
  buf_add_text(&text,
               "BYTES may end in kb, mb, gb (1024), or k, m, g (1000).\n"
               "exit code: 0 ended as it was told; 1 a failure, such as a port that is in use; 2 wrong usage.\n");
  return answer(&text);
}

static int version(void) {
  struct buf text = {0};

  buf_add_text(&text, "kv, an example of uvch " UVCH_VERSION_STRING "\n");
  return answer(&text);
}

/* Above all characters: getopt_long() has its own meaning for one. A row's is OPT_FIRST and its index. */
enum { OPT_FIRST = 256, OPT_HELP = OPT_FIRST + ROWS, OPT_VERSION };

static void make_options(struct option options[ROWS + 3]) {
  size_t i;

  for (i = 0; i < ROWS; i++)
    options[i] = (struct option){rows[i].name, required_argument, NULL, OPT_FIRST + (int) i};
  options[ROWS] = (struct option){"help", no_argument, NULL, OPT_HELP};
  options[ROWS + 1] = (struct option){"version", no_argument, NULL, OPT_VERSION};
  options[ROWS + 2] = (struct option){NULL, 0, NULL, 0};
}

static int set_option(const struct row* row, struct settings* settings, const char* text) {
  struct problem problem;

  if (row_set(row, settings, (struct slice){text, strlen(text)}, &problem) == 0)
    return 0;
  say(LEVEL_WARNING, "--%s '%s': %s", row->name, text, problem.text);
  return -1;
}

int settings_parse(struct settings* settings, int argc, char** argv, int* code) {
  struct option options[ROWS + 3];
  int opt;
  int r = 0;

  settings_default(settings);
  make_options(options);
  while (r == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (opt == OPT_HELP || opt == OPT_VERSION) {
      *code = opt == OPT_HELP ? help() : version();
      return -1;
    }
    r = opt < OPT_FIRST ? -1 : set_option(&rows[opt - OPT_FIRST], settings, optarg); /* below: it has said what is wrong */
  }
  if (r == 0 && optind < argc) {
    say(LEVEL_WARNING, "takes options only: '%s'", argv[optind]);
    r = -1;
  }
  if (r != 0) {
    say(LEVEL_WARNING, "see kv --help");
    *code = CODE_USAGE;
  }
  return r;
}
