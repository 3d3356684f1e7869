/* SPDX-License-Identifier: MIT
 *
 * The log and its file: what comes back from it, what a crash leaves of it, and what a bad disk does to it. The disk is full where the
 * size of files is limited, and fails where fdatasync() below says so. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "log_file.h"

/*
 * What the server has elsewhere
 */

static uv_mutex_t said_mutex;
static char said[512]; /* the last message */

void say(enum level level, const char* format, ...) {
  va_list args;

  (void) level;
  uv_mutex_lock(&said_mutex);
  va_start(args, format);
  vsnprintf(said, sizeof(said), format, args);
  va_end(args);
  uv_mutex_unlock(&said_mutex);
}

void must(int r, const char* what) {
  if (r == 0)
    return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(r));
  abort();
}

static void ck_said(const char* text) {
  uv_mutex_lock(&said_mutex);
  if (strstr(said, text) == NULL)
    ck_abort_msg("'%s' is not in '%s'", text, said);
  said[0] = '\0';
  uv_mutex_unlock(&said_mutex);
}

/*
 * The disk: libuv calls this one instead of that of the system
 */

static struct {
  atomic_size_t calls;
  atomic_int fails;      /* 1: from now on, until it is 0 */
  atomic_long lost_from; /* then what the file has from there on is lost */
  atomic_int holds;      /* 1: the next call says that it is `held`, and waits for `let_go` */
  uv_sem_t held;
  uv_sem_t let_go;
} disk;

static void lose(int fd) {
  struct stat st;
  off_t at;

  if (fstat(fd, &st) == 0)
    for (at = atomic_load(&disk.lost_from); at < st.st_size; at++)
      if (pwrite(fd, "", 1, at) != 1)
        abort();
}

__attribute__((visibility("default"))) int fdatasync(int fd) {
  atomic_fetch_add(&disk.calls, 1);
  if (atomic_exchange(&disk.holds, 0)) {
    uv_sem_post(&disk.held);
    uv_sem_wait(&disk.let_go);
  }
  if (atomic_load(&disk.fails) > 0) {
    lose(fd);
    errno = EIO;
    return -1;
  }
  return (int) syscall(SYS_fdatasync, fd);
}

/* What getrlimit() takes: an enumeration with glibc, an int elsewhere. */
#ifdef __GLIBC__
typedef __rlimit_resource_t limit_kind;
#else
typedef int limit_kind;
#endif

static struct rlimit limit_of(limit_kind resource) {
  struct rlimit limit;

  support_check_eq(getrlimit(resource, &limit), 0);
  return limit;
}

/* check's own file is limited as well, and ck_assert writes to it; support_check only when it fails. */
static void set_limit(limit_kind resource, rlim_t value) {
  struct rlimit limit = limit_of(resource);

  limit.rlim_cur = value;
  support_check_eq(setrlimit(resource, &limit), 0);
}

/*
 * The file
 */

static char directory[64];
static char path[128];

static void make_directory(void) {
  ck_assert_int_eq(uv_mutex_init(&said_mutex), 0);
  ck_assert_int_eq(uv_sem_init(&disk.held, 0), 0);
  ck_assert_int_eq(uv_sem_init(&disk.let_go, 0), 0);
  atomic_store(&disk.calls, 0);
  atomic_store(&disk.lost_from, LONG_MAX);
  signal(SIGXFSZ, SIG_IGN);
  snprintf(directory, sizeof(directory), "/tmp/test_log.XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(directory));
  snprintf(path, sizeof(path), "%s/file", directory);
}

static void remove_directory(void) {
  unlink(path);
  ck_assert_int_eq(rmdir(directory), 0);
  uv_sem_destroy(&disk.held);
  uv_sem_destroy(&disk.let_go);
  uv_mutex_destroy(&said_mutex);
}

static struct buf read_file(void) {
  struct buf buf = {0};
  FILE* file = fopen(path, "rb");
  size_t n;

  support_check(file != NULL);
  while ((n = fread(buf_room(&buf, 4096), 1, 4096, file)) > 0)
    buf_used(&buf, n);
  support_check_eq(fclose(file), 0);
  return buf;
}

static void write_file(const struct buf* buf) {
  FILE* file = fopen(path, "wb");

  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(buf->data, 1, buf->len, file), buf->len);
  ck_assert_int_eq(fclose(file), 0);
}

static void ck_file(const struct buf* wanted) {
  struct buf buf = read_file();

  support_check_eq(buf.len, wanted->len);
  support_check(buf.len == 0 || memcmp(buf.data, wanted->data, buf.len) == 0);
  buf_free(&buf);
}

/* Command number i: one to three arguments of all bytes, some of them as the file itself, some empty. */
static void add_command(struct buf* buf, size_t i) {
  static const char text[] = "*1\r\n$3\r\nSET\r\n\0\0\xff";
  char name[32];
  struct slice argv[3] = {{"SET", 3}, {name, 0}, {text, i % sizeof(text)}};

  argv[1].len = (size_t) snprintf(name, sizeof(name), "key:%zu", i);
  reply_command(buf, argv, 1 + (i + 2) % 3);
  support_check_eq(buf->failed, 0);
}

static void add_commands(struct buf* buf, size_t first, size_t count) {
  size_t i;

  for (i = first; i < first + count; i++)
    add_command(buf, i);
}

/* What log_load() gives, as it was. */
struct loaded {
  struct buf buf;
  size_t count;
  size_t refused; /* number of the command that is; 0: none */
};

static int on_command(const struct slice* argv, size_t argc, void* arg) {
  struct loaded* loaded = arg;

  loaded->count++;
  if (loaded->count == loaded->refused)
    return UV_ENOTSUP;
  reply_command(&loaded->buf, argv, argc);
  return 0;
}

static void ck_loaded(struct loaded* loaded, const struct buf* wanted, size_t len) {
  ck_assert_uint_eq(loaded->buf.len, len);
  ck_assert(len == 0 || memcmp(loaded->buf.data, wanted->data, len) == 0);
  buf_free(&loaded->buf);
}

/* All of it, and nothing is wrong with it. */
static void ck_loads(const struct buf* wanted) {
  struct loaded loaded = {0};

  said[0] = '\0';
  ck_assert_int_eq(log_load(path, on_command, &loaded), 0);
  ck_assert_str_eq(said, "");
  ck_loaded(&loaded, wanted, wanted->len);
  ck_file(wanted);
}

/*
 * The log
 */

static settings_sender_t settings;
static records_sender_t tx;
static health_receiver_t health;
static struct log* kv_log;

static void set_policy(enum appendfsync policy) {
  static struct settings value;

  value.appendfsync = policy;
  ck_assert_int_eq(settings_send(&settings, &value), 0);
}

static void start(enum appendfsync policy) {
  struct settings value = {.appendfsync = policy};
  health_sender_t sender;

  ck_assert_int_eq(settings_init(NULL, NULL, &settings, &value), 0);
  ck_assert_int_eq(log_start(&kv_log, path, &settings, &tx, &sender), 0);
  ck_assert_int_eq(health_subscribe(NULL, &health, &sender), 0);
  ck_assert_int_eq(health_sender_close(&sender), 0);
}

static int stop(void) {
  int r;

  support_check_eq(records_sender_close(&tx), 0);
  r = log_join(kv_log);
  support_check_eq(health_close(&health, NULL), 0);
  support_check_eq(settings_sender_close(&settings), 0);
  return r;
}

static struct record record_of(size_t i) {
  struct buf buf = {0};

  add_command(&buf, i);
  return (struct record){.data = buf.data, .len = buf.len};
}

static void put(size_t i) {
  struct record record = record_of(i);

  support_check_eq(records_send_wait(&tx, &record), 0);
}

static int ask_with(struct record record) {
  int outcome = 1;

  record.is_asked = 1;
  support_check_eq(outcome_call_wait(&tx.base, &record, &record.reply, &outcome), 0);
  return outcome;
}

static int ask(size_t i) {
  return ask_with(record_of(i));
}

/* For its place in the order only. */
static int ask_nothing(void) {
  return ask_with((struct record){0});
}

static int is_good(const int* code, void* arg) {
  (void) arg;
  return *code == 0;
}

static void wait_for_health(void) {
  ck_assert_int_eq(health_wait_for_wait(&health, is_good, NULL, NULL), 0);
}

static struct log_counts counts(void) {
  struct log_counts result;

  log_count(kv_log, &result);
  return result;
}

/*
 * What comes back
 */

static const enum appendfsync policies[] = {APPENDFSYNC_NO, APPENDFSYNC_EVERYSEC, APPENDFSYNC_ALWAYS};

START_TEST(records_come_back_in_order) {
  enum { RECORDS = 3000 };
  struct buf wanted = {0};
  size_t i;
  int round;

  add_commands(&wanted, 0, 2 * RECORDS);
  for (round = 0; round < 2; round++) { /* the second time they go behind what is there */
    start(policies[_i]);
    for (i = 0; i < RECORDS; i++)
      put((size_t) round * RECORDS + i);
    ck_assert_int_eq(ask_nothing(), 0);
    ck_assert_int_eq(stop(), 0);
  }
  ck_loads(&wanted);
  buf_free(&wanted);
}
END_TEST

START_TEST(what_is_answered_is_in_the_file) {
  struct buf wanted = {0};
  size_t i;

  start(policies[_i]);
  for (i = 0; i < 20; i++) {
    add_command(&wanted, i);
    ck_assert_int_eq(ask(i), 0);
    ck_file(&wanted);
    ck_assert_uint_eq(counts().bytes, wanted.len);
  }
  if (policies[_i] == APPENDFSYNC_ALWAYS)
    ck_assert_uint_eq(counts().fsyncs, 20);
  ck_assert_int_eq(stop(), 0);
  if (policies[_i] == APPENDFSYNC_NO)
    ck_assert_uint_eq(atomic_load(&disk.calls), 1); /* at the end */
  buf_free(&wanted);
}
END_TEST

START_TEST(a_large_record_comes_back) {
  static char value[3 << 20];
  const struct slice argv[2] = {{"X", 1}, {value, sizeof(value)}};
  struct buf wanted = {0};
  struct buf copy = {0};

  reply_command(&wanted, argv, 2);
  reply_command(&copy, argv, 2);
  start(APPENDFSYNC_ALWAYS);
  ck_assert_int_eq(ask_with((struct record){.data = copy.data, .len = copy.len}), 0);
  ck_assert_int_eq(ask(1), 0);
  ck_assert_int_eq(stop(), 0);
  add_command(&wanted, 1);
  ck_loads(&wanted);
  buf_free(&wanted);
}
END_TEST

START_TEST(no_file_is_an_empty_one) {
  struct loaded loaded = {0};

  ck_assert_int_eq(log_load(path, on_command, &loaded), 0);
  ck_assert_uint_eq(loaded.count, 0);
  ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/*
 * What a crash leaves
 */

enum { COMMANDS = 20 };

/* Every cut, and with zeros behind it; _i says how many. */
START_TEST(a_torn_end_is_cut_off) {
  static const size_t zeros[] = {0, 1, 7, 70000};
  struct buf all = {0};
  size_t whole = 0; /* bytes of whole commands before the cut */
  size_t ends[COMMANDS];
  size_t count = 0;
  size_t at;
  size_t i;

  for (i = 0; i < COMMANDS; i++) {
    add_command(&all, i);
    ends[i] = all.len;
  }
  for (at = 0; at <= all.len; at++) {
    struct loaded loaded = {0};
    struct buf file = {0};
    char text[64];
    if (count < COMMANDS && at == ends[count])
      whole = ends[count++];
    buf_add(&file, all.data, at);
    memset(buf_room(&file, zeros[_i]), 0, zeros[_i]);
    buf_used(&file, zeros[_i]);
    write_file(&file);
    said[0] = '\0';
    ck_assert_int_eq(log_load(path, on_command, &loaded), 0);
    ck_assert_uint_eq(loaded.count, count);
    ck_loaded(&loaded, &all, whole);
    snprintf(text, sizeof(text), "%zu bytes at offset %zu", file.len - whole, whole);
    if (file.len == whole)
      ck_assert_str_eq(said, "");
    else
      ck_said(text);
    file.len = whole;
    ck_file(&file);
    buf_free(&file);
  }
  ck_assert_uint_eq(count, COMMANDS);
  buf_free(&all);
}
END_TEST

START_TEST(the_log_goes_on_behind_a_cut) {
  struct loaded loaded = {0};
  struct buf wanted = {0};

  add_commands(&wanted, 0, 3);
  buf_add_text(&wanted, "*2\r\n$3");
  write_file(&wanted);
  wanted.len -= 6;
  ck_assert_int_eq(log_load(path, on_command, &loaded), 0);
  buf_free(&loaded.buf);
  start(APPENDFSYNC_ALWAYS);
  ck_assert_int_eq(ask(3), 0);
  ck_assert_int_eq(stop(), 0);
  add_command(&wanted, 3);
  ck_loads(&wanted);
  buf_free(&wanted);
}
END_TEST

static void ck_refused(const struct buf* file, size_t offset) {
  struct loaded loaded = {0};
  char text[64];

  write_file(file);
  snprintf(text, sizeof(text), "at offset %zu ", offset);
  ck_assert_int_eq(log_load(path, on_command, &loaded), UV_EILSEQ);
  ck_said(text);
  ck_loaded(&loaded, file, offset);
  ck_file(file);
}

static void ck_garbage(const char* text, size_t len) {
  struct buf file = {0};
  size_t offset;

  add_commands(&file, 0, 5);
  offset = file.len;
  buf_add(&file, text, len);
  add_commands(&file, 5, 5);
  ck_refused(&file, offset);
  buf_free(&file);
}

START_TEST(garbage_in_the_middle_is_refused) {
  static const char* const garbage[] = {
      "GET a\r\n",          "\r\n",    "*0\r\n", "*-1\r\n",          "*\r\n",  "hello",   "*1\n$1\na\n",
      "*1\r\n$1\r\nab\r\n", "*1\r\n$", "*2\r\n", "*1\r\n:1\r\n",     "*x\r\n", "+OK\r\n", "*01\r\n$1\r\na\r\n",
      "*1\r\n$-1\r\n",      "*1\r$1",  "*",      "*1\r\n$1\r\na\rb", "$"};
  static const char zeros[200000];
  size_t i;

  for (i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
    ck_garbage(garbage[i], strlen(garbage[i]));
  for (i = 1; i <= sizeof(zeros); i = i * 3 + 1)
    ck_garbage(zeros, i);
}
END_TEST

/* Of a command the bytes that are not its arguments, each with every other value. */
START_TEST(a_changed_byte_between_arguments_is_refused) {
  static const char command[] = "*2\r\n$3\r\nDEL\r\n$2\r\nab\r\n";
  struct buf file = {0};
  size_t offset;
  size_t i;
  int c;

  add_commands(&file, 0, 5);
  offset = file.len;
  buf_add_text(&file, command);
  add_commands(&file, 5, 5);
  for (i = 0; i < sizeof(command) - 1; i++) {
    if (strchr("DELab123", command[i]) != NULL) /* another number may be a whole file */
      continue;
    for (c = 0; c < 256; c++) {
      if ((char) c == command[i])
        continue;
      file.data[offset + i] = (char) c;
      ck_refused(&file, offset);
    }
    file.data[offset + i] = command[i];
  }
  buf_free(&file);
}
END_TEST

/* Nothing has been cut off that could have been somebody's. */
START_TEST(garbage_at_the_end_is_refused) {
  static const char* const garbage[] = {"x", "*1\r\n!", "*1\r\n$2\r\nabc", "*1\r\n$x", "*2\r!", "*1\r\n$1\r\na\r\n\nx"};
  size_t i;

  for (i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
    struct buf file = {0};
    size_t offset;
    add_commands(&file, 0, 5);
    offset = file.len;
    buf_add_text(&file, garbage[i]);
    if (strstr(garbage[i], "a\r\n\n") != NULL)
      offset += strlen("*1\r\n$1\r\na\r\n");
    ck_refused(&file, offset);
    buf_free(&file);
  }
}
END_TEST

START_TEST(a_command_that_cannot_be_carried_out_ends_it) {
  struct loaded loaded = {.refused = 4};
  struct buf file = {0};
  char text[64];
  size_t offset;

  add_commands(&file, 0, 3);
  offset = file.len;
  add_commands(&file, 3, 3);
  buf_add_text(&file, "*1\r\n");
  write_file(&file);
  ck_assert_int_eq(log_load(path, on_command, &loaded), UV_ENOTSUP);
  snprintf(text, sizeof(text), "at offset %zu ", offset);
  ck_said(text);
  ck_loaded(&loaded, &file, offset);
  ck_file(&file);
  buf_free(&file);
}
END_TEST

/*
 * A bad disk
 */

/* _i: bytes that still have room, so that the write ends in every place of a record. */
START_TEST(a_full_disk_is_told_and_nothing_is_lost) {
  rlim_t all = limit_of(RLIMIT_FSIZE).rlim_cur;
  struct buf wanted = {0};
  size_t i;

  start(APPENDFSYNC_ALWAYS);
  support_check_eq(ask(0), 0);
  add_command(&wanted, 0);
  set_limit(RLIMIT_FSIZE, wanted.len + (size_t) _i);
  support_check_eq(ask(8), UV_EFBIG); /* of 24 bytes */
  support_check_eq(*health_borrow(&health), UV_EFBIG);
  ck_said("changes are refused until");
  ck_file(&wanted); /* whole records only */
  support_check_eq(ask_nothing(), UV_EFBIG);
  for (i = 9; i < 100; i++)
    put(i);
  support_check_eq(ask(100), UV_EFBIG);
  ck_file(&wanted);
  set_limit(RLIMIT_FSIZE, all);
  if (_i % 8 == 0)
    wait_for_health(); /* it is tried again without anything new, too */
  else
    support_check_eq(ask_nothing(), 0);
  support_check_eq(*health_borrow(&health), 0);
  add_commands(&wanted, 8, 93);
  ck_file(&wanted);
  support_check_eq(ask(101), 0);
  support_check_eq(stop(), 0);
  add_command(&wanted, 101);
  ck_loads(&wanted);
  buf_free(&wanted);
}
END_TEST

/* Room for some whole records of a group: those are in, and the rest comes behind them. */
START_TEST(a_group_may_go_in_by_parts) {
  rlim_t all = limit_of(RLIMIT_FSIZE).rlim_cur;
  struct buf wanted = {0};
  size_t whole;
  size_t i;

  start(policies[_i]);
  add_commands(&wanted, 0, 50);
  whole = wanted.len;
  set_limit(RLIMIT_FSIZE, whole + 3);
  for (i = 0; i < 100; i++)
    put(i);
  support_check_eq(ask_nothing(), UV_EFBIG);
  ck_file(&wanted);
  set_limit(RLIMIT_FSIZE, all);
  support_check_eq(ask_nothing(), 0);
  support_check_eq(stop(), 0);
  add_commands(&wanted, 50, 50);
  ck_loads(&wanted);
  buf_free(&wanted);
}
END_TEST

START_TEST(what_is_not_saved_at_the_end_is_told) {
  rlim_t all = limit_of(RLIMIT_FSIZE).rlim_cur;
  struct buf wanted = {0};
  struct buf rest = {0};
  char text[64];

  start(policies[_i]);
  support_check_eq(ask(0), 0);
  add_command(&wanted, 0);
  set_limit(RLIMIT_FSIZE, wanted.len + 1);
  put(1);
  put(2);
  support_check_eq(stop(), UV_EFBIG);
  set_limit(RLIMIT_FSIZE, all);
  add_commands(&rest, 1, 2);
  snprintf(text, sizeof(text), " %zu bytes could not be saved", rest.len);
  ck_said(text);
  ck_loads(&wanted);
  buf_free(&wanted);
  buf_free(&rest);
}
END_TEST

/* Nobody should send so much while the disk is bad; who does gets no file with a gap, and no end of memory. */
START_TEST(there_is_a_limit_to_what_is_kept) {
  rlim_t all = limit_of(RLIMIT_FSIZE).rlim_cur;
  struct buf wanted = {0};
  size_t i;

  start(APPENDFSYNC_NO);
  support_check_eq(ask(0), 0);
  add_command(&wanted, 0);
  set_limit(RLIMIT_FSIZE, wanted.len);
  for (i = 0; i < KEPT_MAX + 1; i++)
    put(1);
  support_check_eq(ask(2), UV_ENOBUFS);
  set_limit(RLIMIT_FSIZE, all);
  support_check_eq(ask(3), UV_ENOBUFS);
  support_check_eq(*health_borrow(&health), UV_ENOBUFS);
  support_check_eq(stop(), UV_ENOBUFS);
  ck_loads(&wanted);
  buf_free(&wanted);
}
END_TEST

/* What the system then has thrown away is written again, whoever else was told that it is in the file. */
START_TEST(after_a_failed_fsync_all_is_written_again) {
  struct buf wanted = {0};
  struct stat st;

  start(APPENDFSYNC_ALWAYS);
  ck_assert_int_eq(ask(0), 0);
  ck_assert_int_eq(stat(path, &st), 0);
  atomic_store(&disk.lost_from, st.st_size);
  if (_i == 1) {
    set_policy(APPENDFSYNC_EVERYSEC);
    put(1);
    ck_assert_int_eq(ask(2), 0);
    set_policy(APPENDFSYNC_ALWAYS);
    atomic_store(&disk.fails, 1);
    ck_assert_int_eq(ask(3), UV_EIO);
  } else {
    atomic_store(&disk.fails, 1);
    ck_assert_int_eq(ask(1), UV_EIO);
    ck_assert_int_eq(ask(2), UV_EIO);
    put(3);
  }
  ck_assert_int_eq(ask_nothing(), UV_EIO);
  atomic_store(&disk.fails, 0);
  wait_for_health();
  ck_assert_int_eq(ask(4), 0);
  add_commands(&wanted, 0, 5);
  ck_file(&wanted);
  ck_assert_int_eq(stop(), 0);
  ck_loads(&wanted);
  buf_free(&wanted);
}
END_TEST

/* With `everysec` a write that succeeds after a failed fsync does not make the disk good again. */
START_TEST(only_an_fsync_makes_up_for_a_failed_one) {
  struct buf wanted = {0};

  start(APPENDFSYNC_EVERYSEC);
  atomic_store(&disk.fails, 1);
  ck_assert_int_eq(ask(0), 0);
  support_until(*health_borrow(&health) == UV_EIO);
  ck_assert_int_eq(ask(1), UV_EIO);
  atomic_store(&disk.fails, 0);
  wait_for_health();
  ck_assert_int_eq(stop(), 0);
  add_commands(&wanted, 0, 2);
  ck_loads(&wanted);
  buf_free(&wanted);
}
END_TEST

/* Written with `no`, and so no longer kept: nobody can bring it back. */
START_TEST(a_failed_fsync_for_what_is_not_kept_is_the_end) {
  start(APPENDFSYNC_NO);
  ck_assert_int_eq(ask(0), 0);
  set_policy(APPENDFSYNC_ALWAYS);
  atomic_store(&disk.fails, 1);
  ck_assert_int_eq(ask(1), UV_EIO);
  atomic_store(&disk.fails, 0);
  ck_said("changes are refused from now on");
  ck_assert_int_eq(ask(2), UV_EIO);
  ck_assert_int_eq(ask_nothing(), UV_EIO);
  ck_assert_int_eq(*health_borrow(&health), UV_EIO);
  ck_assert_int_eq(stop(), UV_EIO);
  ck_said("could not be saved");
}
END_TEST

/*
 * Groups, and when the disk is asked
 */

START_TEST(all_that_has_come_meanwhile_is_one_group) {
  enum { WAITING = 1000 };
  static struct record records[WAITING];
  static outcome_receiver_t rx[WAITING];
  struct buf wanted = {0};
  size_t i;

  start(APPENDFSYNC_ALWAYS);
  atomic_store(&disk.holds, 1);
  put(0);
  uv_sem_wait(&disk.held);
  for (i = 0; i < WAITING; i++) {
    records[i] = record_of(i + 1);
    records[i].is_asked = 1;
    ck_assert_int_eq(outcome_init(NULL, &rx[i], &records[i].reply), 0);
  }
  ck_assert_int_eq(records_try_send_many(&tx, records, WAITING), WAITING);
  uv_sem_post(&disk.let_go);
  for (i = 0; i < WAITING; i++) {
    int outcome = 1;
    ck_assert_int_eq(outcome_recv_wait(&rx[i], &outcome), 0);
    ck_assert_int_eq(outcome, 0);
    ck_assert_int_eq(outcome_close(&rx[i], NULL), 0);
  }
  ck_assert_uint_eq(counts().groups, 2);
  ck_assert_uint_eq(counts().fsyncs, 2);
  ck_assert_uint_eq(atomic_load(&disk.calls), 2);
  ck_assert_int_eq(stop(), 0);
  add_commands(&wanted, 0, WAITING + 1);
  ck_loads(&wanted);
  buf_free(&wanted);
}
END_TEST

/* Nothing new, but what is before it has to be safe. */
START_TEST(who_waits_for_order_only_waits_for_the_disk) {
  start(APPENDFSYNC_NO);
  ck_assert_int_eq(ask(0), 0);
  ck_assert_int_eq(ask_nothing(), 0);
  ck_assert_uint_eq(counts().fsyncs, 0);
  set_policy(APPENDFSYNC_ALWAYS);
  ck_assert_int_eq(ask_nothing(), 0);
  ck_assert_uint_eq(counts().fsyncs, 1);
  ck_assert_int_eq(ask_nothing(), 0);
  ck_assert_uint_eq(counts().fsyncs, 1);
  ck_assert_int_eq(stop(), 0);
}
END_TEST

START_TEST(everysec_brings_it_to_the_disk_by_itself) {
  start(APPENDFSYNC_EVERYSEC);
  ck_assert_int_eq(ask(0), 0);
  ck_assert_int_eq(ask(1), 0);
  support_until(counts().fsyncs == 1);
  ck_assert_int_eq(ask_nothing(), 0);
  ck_assert_int_eq(stop(), 0);
  ck_assert_uint_eq(atomic_load(&disk.calls), 1); /* nothing was left for the end */
}
END_TEST

/* What waits for it is kept in memory, so it does not wait for ever. */
START_TEST(everysec_does_not_wait_when_there_is_much) {
  size_t i;

  start(APPENDFSYNC_EVERYSEC);
  atomic_store(&disk.holds, 1);
  for (i = 0; i < KEPT_MAX / 2 + 1; i++)
    put(1);
  uv_sem_wait(&disk.held);
  uv_sem_post(&disk.let_go);
  ck_assert_int_eq(stop(), 0);
}
END_TEST

/*
 * The start
 */

/* `fails`: the allocation that does; 0: none. */
static int try_start_with(const char* where, size_t fails) {
  struct settings value = {.appendfsync = APPENDFSYNC_NO};
  health_sender_t sender;
  int r;

  ck_assert_int_eq(settings_init(NULL, NULL, &settings, &value), 0);
  support_alloc_fail(fails);
  r = log_start(&kv_log, where, &settings, &tx, &sender);
  support_alloc_fail(0);
  if (r == 0) {
    ck_assert_int_eq(records_sender_close(&tx), 0);
    ck_assert_int_eq(health_sender_close(&sender), 0);
    ck_assert_int_eq(log_join(kv_log), 0);
  }
  ck_assert_int_eq(settings_sender_close(&settings), 0);
  return r;
}

static int try_start(const char* where) {
  return try_start_with(where, 0);
}

START_TEST(a_file_that_cannot_be_opened_is_told) {
  struct loaded loaded = {0};
  char where[256];

  snprintf(where, sizeof(where), "%s/no/file", directory);
  ck_assert_int_eq(try_start(where), UV_ENOENT);
  ck_said("cannot open: no such file");
  ck_assert_int_eq(log_load(where, on_command, &loaded), 0);
  ck_assert_int_eq(try_start(directory), UV_EISDIR);
  ck_said("cannot open");
  ck_assert_int_eq(log_load(directory, on_command, &loaded), UV_EISDIR);
  ck_said("cannot open");
  ck_assert_int_eq(mkfifo(path, 0600), 0);
  ck_assert_int_eq(try_start(path), UV_ENXIO);
  ck_said("cannot open");
  ck_assert_int_eq(log_load(path, on_command, &loaded), UV_EFTYPE);
  ck_said("cannot open");
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(try_start("/dev/null"), UV_EFTYPE);
  ck_said("cannot open");
  if (geteuid() != 0) {
    ck_assert_int_eq(chmod(directory, 0500), 0);
    ck_assert_int_eq(try_start(path), UV_EACCES);
    ck_said("permission denied");
    ck_assert_int_eq(chmod(directory, 0700), 0);
  }
}
END_TEST

static int next_descriptor(void) {
  int fd = dup(0);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(close(fd), 0);
  return fd;
}

/* Two more each time: a loop that libuv cannot make for want of descriptors may keep one. */
START_TEST(a_start_without_descriptors_says_so) {
  rlim_t all = limit_of(RLIMIT_NOFILE).rlim_cur;
  int r = UV_EMFILE;
  int first;
  int n;

  ck_assert_int_eq(try_start(path), 0); /* libuv's very first loop has no way to fail */
  first = next_descriptor();
  for (n = first; r != 0 && n < first + 100; n += 2) {
    set_limit(RLIMIT_NOFILE, (rlim_t) n);
    r = try_start(path);
    ck_assert(r == 0 || r == UV_EMFILE);
    if (r != 0)
      ck_said(uv_strerror(r));
  }
  set_limit(RLIMIT_NOFILE, all);
  ck_assert_int_eq(r, 0);
  ck_assert_int_gt(n, first + 6);
}
END_TEST

START_TEST(a_start_without_memory_leaves_nothing) {
  int r = UV_ENOMEM;
  int first;
  size_t i;

  ck_assert_int_eq(try_start(path), 0);
  first = next_descriptor();
  for (i = 1; r != 0 && i < 50; i++) {
    r = try_start_with(path, i);
    ck_assert(r == 0 || r == UV_ENOMEM);
    if (r != 0)
      ck_said(uv_strerror(r));
    ck_assert_int_eq(next_descriptor(), first);
  }
  ck_assert_int_eq(r, 0);
  ck_assert_uint_gt(i, 4);
}
END_TEST

/* A thread's stack is as large as that of the program may be, and that is more than there are addresses for. */
START_TEST(a_start_without_a_thread_leaves_nothing) {
  struct rlimit limit = limit_of(RLIMIT_STACK);
  rlim_t most = (rlim_t) 1 << 62;
  int first;

  if (limit.rlim_max < most || sizeof(void*) < 8)
    return;
  ck_assert_int_eq(try_start(path), 0);
  first = next_descriptor();
  set_limit(RLIMIT_STACK, most);
  ck_assert_int_eq(try_start(path), UV_EAGAIN);
  ck_said("cannot start its thread");
  ck_assert_int_eq(next_descriptor(), first);
  set_limit(RLIMIT_STACK, limit.rlim_cur);
  ck_assert_int_eq(try_start(path), 0);
}
END_TEST

static void add_tests(Suite* suite) {
  TCase* tcase = support_case(suite, "log");

  tcase_add_checked_fixture(tcase, make_directory, remove_directory);
  tcase_add_loop_test(tcase, records_come_back_in_order, 0, 3);
  tcase_add_loop_test(tcase, what_is_answered_is_in_the_file, 0, 3);
  tcase_add_test(tcase, a_large_record_comes_back);
  tcase_add_test(tcase, no_file_is_an_empty_one);
  tcase_add_loop_test(tcase, a_torn_end_is_cut_off, 0, 4);
  tcase_add_test(tcase, the_log_goes_on_behind_a_cut);
  tcase_add_test(tcase, garbage_in_the_middle_is_refused);
  tcase_add_test(tcase, a_changed_byte_between_arguments_is_refused);
  tcase_add_test(tcase, garbage_at_the_end_is_refused);
  tcase_add_test(tcase, a_command_that_cannot_be_carried_out_ends_it);
  tcase_add_loop_test(tcase, a_full_disk_is_told_and_nothing_is_lost, 0, 24);
  tcase_add_loop_test(tcase, a_group_may_go_in_by_parts, 0, 3);
  tcase_add_loop_test(tcase, what_is_not_saved_at_the_end_is_told, 0, 3);
  tcase_add_test(tcase, there_is_a_limit_to_what_is_kept);
  tcase_add_loop_test(tcase, after_a_failed_fsync_all_is_written_again, 0, 2);
  tcase_add_test(tcase, only_an_fsync_makes_up_for_a_failed_one);
  tcase_add_test(tcase, a_failed_fsync_for_what_is_not_kept_is_the_end);
  tcase_add_test(tcase, all_that_has_come_meanwhile_is_one_group);
  tcase_add_test(tcase, who_waits_for_order_only_waits_for_the_disk);
  tcase_add_test(tcase, everysec_brings_it_to_the_disk_by_itself);
  tcase_add_test(tcase, everysec_does_not_wait_when_there_is_much);
  tcase_add_test(tcase, a_file_that_cannot_be_opened_is_told);
  tcase_add_test(tcase, a_start_without_descriptors_says_so);
  tcase_add_test(tcase, a_start_without_memory_leaves_nothing);
  tcase_add_test(tcase, a_start_without_a_thread_leaves_nothing);
}

int main(void) {
  Suite* suite = suite_create("kv log");

  add_tests(suite);
  return support_main(suite);
}
