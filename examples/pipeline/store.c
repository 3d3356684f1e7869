/* SPDX-License-Identifier: MIT
 *
 * store: rows to the database, many in one transaction. SQLite blocks; the thread is there for that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS run ("
    " id INTEGER PRIMARY KEY, started TEXT, ended TEXT, state TEXT, lines INTEGER, rows INTEGER, malformed INTEGER);"
    "CREATE TABLE IF NOT EXISTS log ("
    " run INTEGER, source TEXT, line INTEGER, date TEXT, time TEXT, action TEXT, package TEXT, arch TEXT,"
    " old_version TEXT, new_version TEXT, state TEXT, file TEXT, detail TEXT);"
    "CREATE TABLE IF NOT EXISTS malformed (run INTEGER, source TEXT, line INTEGER, reason TEXT, text);";

static const char new_run[] =
    "INSERT INTO run (started, state, lines, rows, malformed) VALUES (datetime('now'), 'open', 0, 0, 0)";

static const char insert_log[] =
    "INSERT INTO log (run, source, line, date, time, action, package, arch, old_version, new_version, state, file, detail)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

static const char update_run[] =
    "UPDATE run SET lines = ?2 + ?3, rows = ?2, malformed = ?3, state = ?4,"
    " ended = CASE ?4 WHEN 'open' THEN NULL ELSE datetime('now') END WHERE id = ?1";

static const char* const sql_text[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_LOG] = insert_log,
    [SQL_MALFORMED] = "INSERT INTO malformed (run, source, line, reason, text) VALUES (?, ?, ?, ?, ?)",
    [SQL_RUN] = update_run};

/* Remember what went wrong, in the words of SQLite and of the system. */
static int fail(struct store* s, const char* what) {
  int error = s->db == NULL ? 0 : sqlite3_system_errno(s->db);
  int code = s->db == NULL ? SQLITE_NOMEM : sqlite3_errcode(s->db);
  const char* text = s->db == NULL ? "out of memory" : sqlite3_errmsg(s->db);

  if (error != 0 && (code == SQLITE_CANTOPEN || code == SQLITE_IOERR || code == SQLITE_READONLY))
    snprintf(s->error, sizeof(s->error), "%s: cannot %s: %s (%s)", s->options->db, what, text, strerror(error));
  else
    snprintf(s->error, sizeof(s->error), "%s: cannot %s: %s", s->options->db, what, text);
  return -1;
}

static int step(struct store* s, enum statement statement) {
  sqlite3_stmt* stmt = s->sql[statement];
  int r = sqlite3_step(stmt);

  if (r != SQLITE_DONE)
    fail(s, "write");
  sqlite3_reset(stmt);
  return r == SQLITE_DONE ? 0 : -1;
}

static int begin(struct store* s) {
  return sqlite3_get_autocommit(s->db) ? step(s, SQL_BEGIN) : 0;
}

/* Everything since the last commit, and the run's own numbers with it. */
static int commit(struct store* s, const char* state) {
  sqlite3_stmt* stmt = s->sql[SQL_RUN];
  int r;

  if (begin(s) != 0)
    return -1;
  r = sqlite3_bind_int64(stmt, 1, s->run);
  if (r == SQLITE_OK)
    r = sqlite3_bind_int64(stmt, 2, (sqlite3_int64) s->seen.rows);
  if (r == SQLITE_OK)
    r = sqlite3_bind_int64(stmt, 3, (sqlite3_int64) s->seen.malformed);
  if (r == SQLITE_OK)
    r = sqlite3_bind_text(stmt, 4, state, -1, SQLITE_STATIC);
  if (r != SQLITE_OK)
    return fail(s, "write");
  if (step(s, SQL_RUN) != 0 || step(s, SQL_COMMIT) != 0)
    return -1;
  s->stored = s->seen;
  s->open = 0;
  return 0;
}

static int bind_text(sqlite3_stmt* stmt, int column, const char* text, size_t len) {
  if (len == 0)
    return sqlite3_bind_null(stmt, column);
  return sqlite3_bind_text(stmt, column, text, (int) len, SQLITE_STATIC);
}

static int add_log(struct store* s, const struct batch* batch, const struct row* row) {
  sqlite3_stmt* stmt = s->sql[SQL_LOG];
  const char* source = s->options->sources[row->source];
  const char* text = batch->text + row->off;
  int r = sqlite3_bind_int64(stmt, 1, s->run);
  int i;

  if (r == SQLITE_OK)
    r = sqlite3_bind_text(stmt, 2, source, -1, SQLITE_STATIC);
  if (r == SQLITE_OK)
    r = sqlite3_bind_int64(stmt, 3, (sqlite3_int64) row->line);
  for (i = 0; r == SQLITE_OK && i < FIELD_COUNT; i++) {
    struct span span = row->record.field[i];
    r = bind_text(stmt, 4 + i, text + span.off, span.len);
  }
  if (r != SQLITE_OK)
    return fail(s, "write");
  s->seen.rows++;
  s->seen.by_action[row->record.action]++;
  return step(s, SQL_LOG);
}

/* The line as it was: text if it is text, else bytes. */
static int add_malformed(struct store* s, const struct batch* batch, const struct row* row) {
  sqlite3_stmt* stmt = s->sql[SQL_MALFORMED];
  const char* text = batch->text + row->off;
  int is_text = line_utf8_prefix(text, row->len) == row->len && memchr(text, '\0', row->len) == NULL;
  int r = sqlite3_bind_int64(stmt, 1, s->run);

  if (r == SQLITE_OK)
    r = sqlite3_bind_text(stmt, 2, s->options->sources[row->source], -1, SQLITE_STATIC);
  if (r == SQLITE_OK)
    r = sqlite3_bind_int64(stmt, 3, (sqlite3_int64) row->line);
  if (r == SQLITE_OK)
    r = sqlite3_bind_text(stmt, 4, reason_name(row->reason), -1, SQLITE_STATIC);
  if (r == SQLITE_OK && is_text)
    r = sqlite3_bind_text(stmt, 5, text, (int) row->len, SQLITE_STATIC);
  if (r == SQLITE_OK && !is_text)
    r = sqlite3_bind_blob(stmt, 5, text, (int) row->len, SQLITE_STATIC);
  if (r != SQLITE_OK)
    return fail(s, "write");
  s->seen.malformed++;
  s->seen.by_reason[row->reason]++;
  return step(s, SQL_MALFORMED);
}

static int add_batch(struct store* s, const struct batch* batch) {
  size_t i;

  for (i = 0; i < batch->rows; i++) {
    const struct row* row = &batch->row[i];
    if (begin(s) != 0)
      return -1;
    if ((row->reason == REASON_NONE ? add_log(s, batch, row) : add_malformed(s, batch, row)) != 0)
      return -1;
    atomic_store_explicit(&s->rows, s->seen.rows, memory_order_relaxed);
    if (++s->open >= s->options->batch && commit(s, "open") != 0)
      return -1;
  }
  return 0;
}

/* The end. After a failure an open transaction is rolled back, what is queued goes to the drop function, senders get UV_EPIPE. */
static void end(struct store* s, int code) {
  struct news news = {STAGE_STORE, code};

  if (!sqlite3_get_autocommit(s->db))
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
  uvch_close((uvch_handle_t*) &s->rx, NULL);
  uv_close((uv_handle_t*) &s->timer, NULL);
  uvch_mpsc_try_send(&s->news, &news); /* its channel has room for everybody's last words */
  uvch_mpsc_sender_close(&s->news);
}

static void on_timer(uv_timer_t* timer) {
  struct store* s = timer->data;

  if (s->open > 0 && commit(s, "open") != 0)
    end(s, CODE_DATABASE);
}

static void on_batch(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct store* s = rx->data;
  struct batch* batch;
  int r;

  if (status == UV_EOF) {
    r = commit(s, atomic_load(&s->interrupted) ? "interrupted" : "complete");
    end(s, r == 0 ? CODE_OK : CODE_DATABASE);
    return;
  }
  batch = *(struct batch**) item;
  r = add_batch(s, batch);
  free(batch);
  if (r != 0) {
    end(s, CODE_DATABASE);
    return;
  }
  /* A slow input must not keep the database locked, nor its rows from being seen. */
  if (s->open > 0 && !uv_is_active((uv_handle_t*) &s->timer))
    uv_timer_start(&s->timer, on_timer, s->options->interval, 0);
}

void store_main(void* arg) {
  struct store* s = arg;

  s->rx.data = s;
  s->timer.data = s;
  uvch_mpsc_recv_start(&s->rx, on_batch);
  uv_run(&s->loop, UV_RUN_DEFAULT);
}

static int execute(struct store* s, const char* sql) {
  return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, "write");
}

static int prepare(struct store* s, enum statement first, enum statement last) {
  int i;

  for (i = (int) first; i <= (int) last; i++)
    if (sqlite3_prepare_v3(s->db, sql_text[i], -1, SQLITE_PREPARE_PERSISTENT, &s->sql[i], NULL) != SQLITE_OK)
      return fail(s, "use its tables");
  return 0;
}

static int set_up(struct store* s) {
  const struct options* options = s->options;
  char pragma[64];

  if (sqlite3_open_v2(options->db, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
    return fail(s, "open");
  sqlite3_busy_timeout(s->db, (int) options->timeout);
  snprintf(pragma, sizeof(pragma), "PRAGMA max_page_count = %llu", (unsigned long long) options->max_pages);
  if (options->max_pages > 0 && execute(s, pragma) != 0)
    return -1;
  /* The tables come with the run, or not at all. */
  if (prepare(s, SQL_BEGIN, SQL_COMMIT) != 0 || begin(s) != 0 || execute(s, schema) != 0)
    return -1;
  if (prepare(s, SQL_LOG, SQL_RUN) != 0 || execute(s, new_run) != 0)
    return -1;
  s->run = sqlite3_last_insert_rowid(s->db);
  return commit(s, "open");
}

int store_open(struct store* s, const struct options* options) {
  s->options = options;
  if (set_up(s) == 0)
    return 0;
  store_close(s);
  return -1;
}

void store_close(struct store* s) {
  int i;

  for (i = 0; i < SQL_COUNT; i++)
    sqlite3_finalize(s->sql[i]);
  sqlite3_close(s->db);
}
