/* SPDX-License-Identifier: MIT
 *
 * pipeline: a package manager's log into a database. Three loops on three threads, joined by two bounded channels:
 *
 *   fetch  main thread    bytes of files, pipes, terminals
 *     |    chunks         bounded: fetch stops reading while it is full
 *   parse  own thread     lines to rows
 *     |    batches        bounded: parse takes no chunk while it is full
 *   store  own thread     rows to SQLite, which blocks this thread and nobody else
 *
 * A third, small channel tells the main thread that parse or store has ended.
 *
 * The end travels down as UV_EOF: fetch closes its sender, parse uses up what is queued, sends its last batch and closes its
 * own, store commits. A failure travels up as UV_EPIPE: who fails closes its receiver, and the drop function frees what
 * is queued there. */
#ifndef PIPELINE_H
#define PIPELINE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>
#include <uv.h>
#include <uvch.h>

#define CHUNK_SIZE ((size_t) 65536) /* bytes that are read at once */
#define LINE_LIMIT ((size_t) 8192)  /* longest line in bytes, without its line end */
#define BATCH_ROWS ((size_t) 512)   /* rows that travel together */
#define BATCH_TEXT ((size_t) 65536) /* their text; at least one line fits */

/* Exit codes. After signal number n: 128 + n. */
enum { CODE_OK = 0, CODE_INPUT = 1, CODE_USAGE = 2, CODE_DATABASE = 3, CODE_OTHER = 4, CODE_SIGNAL = 128 };

struct options {
  const char* db;
  char** sources; /* "-" is standard input */
  size_t source_count;
  size_t capacity;    /* of both channels */
  uint64_t batch;     /* lines in one transaction */
  uint64_t interval;  /* milliseconds that a transaction stays open without being full */
  uint64_t timeout;   /* milliseconds to wait for a locked database */
  uint64_t max_pages; /* of the database; 0: as many as there are */
};

/* options_parse: 0 to go on, -1 to leave with *code. What is wrong, and the answer to --help, is printed. */
int options_parse(struct options* options, int argc, char** argv, int* code);

/* One line, taken apart. */

enum action {
  ACTION_STARTUP,
  ACTION_STATUS,
  ACTION_INSTALL,
  ACTION_UPGRADE,
  ACTION_CONFIGURE,
  ACTION_TRIGPROC,
  ACTION_DISAPPEAR,
  ACTION_REMOVE,
  ACTION_PURGE,
  ACTION_CONFFILE,
  ACTION_COUNT
};

enum reason {
  REASON_NONE, /* the line is well-formed */
  REASON_EMPTY,
  REASON_TOO_LONG,
  REASON_NUL,
  REASON_CONTROL,
  REASON_UTF8,
  REASON_DATE,
  REASON_TIME,
  REASON_ACTION,
  REASON_MISSING,
  REASON_EXTRA,
  REASON_STARTUP,
  REASON_STATE,
  REASON_PACKAGE,
  REASON_ARCH,
  REASON_VERSION,
  REASON_FILE,
  REASON_DECISION,
  REASON_COUNT
};

/* Parts of a well-formed line; the columns of the table `log` from `date` on. */
enum field {
  FIELD_DATE,
  FIELD_TIME,
  FIELD_ACTION,
  FIELD_PACKAGE,
  FIELD_ARCH,
  FIELD_OLD_VERSION,
  FIELD_NEW_VERSION,
  FIELD_STATE,
  FIELD_FILE,
  FIELD_DETAIL,
  FIELD_COUNT
};

/* A part of a line; length 0: it has no such part. */
struct span {
  uint16_t off;
  uint16_t len;
};

struct record {
  enum action action;
  struct span field[FIELD_COUNT];
};

/* line_parse: take a line without its line end apart. Returns REASON_NONE, or what is wrong with it. */
enum reason line_parse(const char* text, size_t len, struct record* record);

/* line_utf8_prefix: how many bytes from the front are whole UTF-8 characters. */
size_t line_utf8_prefix(const char* text, size_t len);

const char* action_name(enum action action);
const char* reason_name(enum reason reason);

/* Messages. Those that own memory are freed by their receiver, or by the channel's drop function. */

enum chunk_end {
  CHUNK_MORE, /* the source goes on */
  CHUNK_END,  /* the source ends here, and with it its last line */
  CHUNK_CUT   /* the source cannot be read any further; the line that was begun does not count */
};

struct chunk {
  char* data; /* owned */
  size_t len;
  size_t source; /* index */
  enum chunk_end end;
};

struct row {
  uint64_t line;
  size_t source;
  size_t off; /* of the line in the batch's text */
  size_t len;
  enum reason reason;
  struct record record; /* if reason is REASON_NONE */
};

/* Travels as a pointer. */
struct batch {
  size_t rows;
  size_t used; /* of text */
  struct row row[BATCH_ROWS];
  char text[BATCH_TEXT];
};

enum stage { STAGE_PARSE, STAGE_STORE };

struct news {
  enum stage stage;
  int code; /* CODE_OK, or the stage has failed and its `error` says why */
};

/* fetch. All of it on the main thread. */

struct fetch {
  uv_loop_t* loop;
  const struct options* options;
  uvch_mpsc_sender_t tx; /* chunks */
  uvch_mpsc_send_t req;
  struct chunk chunk; /* being read or sent */
  uv_buf_t buf;
  uv_fs_t fs;
  uv_file fd;
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tty_t tty;
  } in;
  int is_stream;
  int is_reading; /* a stream, between uv_read_start and uv_read_stop */
  int stopping;
  int code; /* CODE_INPUT: a source could not be read; CODE_OTHER: out of memory */
};

void fetch_start(struct fetch* fetch);

/* fetch_stop: read no more; what was read and sent stays sent. */
void fetch_stop(struct fetch* fetch);

/* parse */

struct parse {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx; /* chunks */
  uvch_mpsc_sender_t tx;   /* batches */
  uvch_mpsc_sender_t news;
  uvch_mpsc_send_t req;
  struct chunk chunk;  /* being taken apart */
  size_t pos;          /* in it */
  struct batch* batch; /* being filled, or waiting for room in the channel */
  uint64_t line;       /* lines seen of the current source */
  int started;
  int eof;
  int cut; /* the unfinished line is longer than `rest` holds */
  size_t rest_len;
  char rest[LINE_LIMIT + 2]; /* the unfinished line at the end of a chunk; 2: room for CR, and for one too many */
  char error[256];
  _Atomic uint64_t lines; /* of all sources; read by the progress line */
};

/* parse_main: the thread. */
void parse_main(void* parse);

/* store */

struct tally {
  uint64_t rows;
  uint64_t malformed;
  uint64_t by_action[ACTION_COUNT];
  uint64_t by_reason[REASON_COUNT];
};

enum statement { SQL_BEGIN, SQL_COMMIT, SQL_LOG, SQL_MALFORMED, SQL_RUN, SQL_COUNT };

struct store {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx; /* batches */
  uvch_mpsc_sender_t news;
  uv_timer_t timer;
  const struct options* options;
  sqlite3* db;
  sqlite3_stmt* sql[SQL_COUNT];
  sqlite3_int64 run;
  uint64_t open; /* lines in the open transaction */
  struct tally seen;
  struct tally stored; /* committed */
  char error[512];
  _Atomic uint64_t rows;   /* committed or not; read by the progress line */
  _Atomic int interrupted; /* set by a signal, before fetch stops */
};

/* store_open: open the database, make what is missing in it, and register this run. Returns 0, or -1 with store->error set and
 * nothing left open. */
int store_open(struct store* store, const struct options* options);

/* store_close: before the thread was started, or after it was joined. Not committed: rolled back. */
void store_close(struct store* store);

/* store_main: the thread. */
void store_main(void* store);

/* What a person sees. Main thread. */

struct progress {
  uv_timer_t timer;
  struct fetch* fetch;
  struct parse* parse;
  struct store* store;
  uvch_mpsc_sender_t batches; /* for its length; while it is open the channel does not end */
  uint64_t last_time;
  uint64_t last_rows;
};

/* progress_start: a line on standard error if that is a terminal and the run takes long. */
int progress_start(struct progress* progress, uv_loop_t* loop);

/* progress_stop: take the line away for good. */
void progress_stop(struct progress* progress);

/* progress_interrupted: tell somebody at the terminal that Ctrl-C has worked. */
void progress_interrupted(void);

/* say: a message on standard error. */
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));

/* summary_print: the table at the end. Returns 0, or -1 if standard output cannot be written. */
int summary_print(const struct tally* stored, uint64_t lines, uint64_t nanoseconds);

#endif
