/* SPDX-License-Identifier: MIT
 *
 * The log's loop: records in, one write for all that have come, one fsync if clients wait for it, then all the replies. While it waits
 * for the disk more records come, so a slow disk makes larger groups, not longer queues. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "log_file.h"

/* CAPACITY: of the channel. GROUP: records in one write. INTERVAL: milliseconds from a write to its fsync with `everysec`, and from
 * a failure to the next attempt. */
enum { CAPACITY = 1024, GROUP = 1024, INTERVAL = 1000 };

struct log {
  uv_loop_t loop;
  uv_thread_t thread;
  records_receiver_t rx;
  settings_receiver_t settings;
  health_sender_t health;
  int told; /* its value */
  uv_timer_t timer;
  outcome_sender_t replies[GROUP]; /* of the records that are being written */
  size_t count;
  atomic_uint_fast64_t bytes;
  atomic_uint_fast64_t fsyncs;
  atomic_uint_fast64_t groups;
  int result;
  char* path;
  struct log_file file;
};

static enum appendfsync policy(struct log* log) {
  return settings_borrow(&log->settings)->appendfsync;
}

static void add_one(atomic_uint_fast64_t* counter) {
  atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/*
 * The disk
 */

static int sync_file(struct log* log) {
  if (log->file.lost == 0 && log->file.end != log->file.synced)
    add_one(&log->fsyncs);
  return log_file_sync(&log->file);
}

/* What was written before an error is worth its fsync all the same. */
static int save(struct log* log, int sync) {
  int written;
  int synced = 0;

  if (log->file.written < log->file.count)
    add_one(&log->groups);
  written = log_file_write(&log->file);
  if (sync)
    synced = sync_file(log);
  else if (policy(log) == APPENDFSYNC_NO)
    log_file_trust(&log->file);
  atomic_store_explicit(&log->bytes, log->file.end, memory_order_relaxed);
  return written != 0 ? written : synced;
}

/* Without memory for it the timer tries again. */
static void tell(struct log* log, int code) {
  if (code == log->told || health_send(&log->health, &code) != 0)
    return;
  log->told = code;
  if (code == 0)
    say(LEVEL_NOTICE, "%s: all is written, changes are possible again", log->path);
  else
    say(LEVEL_WARNING, "%s: cannot write: %s; changes are refused %s", log->path, uv_strerror(code),
        log->file.lost == 0 ? "until it is possible again" : "from now on");
}

static void on_timer(uv_timer_t* timer);

static int is_due(struct log* log, int code) {
  if (code != log->told)
    return 1;
  if (log->file.lost != 0)
    return 0;
  return code != 0 || (policy(log) == APPENDFSYNC_EVERYSEC && log->file.end != log->file.synced);
}

/* Save what there is, and let everybody know how that went. After a failure only an fsync says that all is well again. */
static int settle(struct log* log, int sync) {
  int code = save(log, sync || (log->told != 0 && policy(log) != APPENDFSYNC_NO));

  tell(log, code);
  if (is_due(log, code) && !uv_is_active((uv_handle_t*) &log->timer))
    must(uv_timer_start(&log->timer, on_timer, INTERVAL, 0), "timer");
  return code;
}

static void on_timer(uv_timer_t* timer) {
  struct log* log = timer->data;

  (void) settle(log, policy(log) != APPENDFSYNC_NO);
}

/*
 * Records
 */

static void take(struct log* log, const struct record* record) {
  if (record->is_asked)
    log->replies[log->count++] = record->reply;
  if (record->data != NULL)
    log_file_add(&log->file, record->data, record->len);
}

/* To those who wait. That somebody does not any more is no matter. */
static void reply(struct log* log, int code) {
  size_t i;

  for (i = 0; i < log->count; i++)
    (void) outcome_reply(&log->replies[i], &code);
  log->count = 0;
}

static void end(struct log* log) {
  log->result = save(log, 1);
  tell(log, log->result);
  uv_close((uv_handle_t*) &log->timer, NULL);
  must(uvch_close((uvch_handle_t*) &log->rx, NULL), "close");
  must(uvch_close((uvch_handle_t*) &log->settings, NULL), "close");
  must(health_sender_close(&log->health), "close");
}

/* A callback gets a part of what is queued; an fsync is to be for all of it. */
static void on_records(records_receiver_t* rx, int status, struct record* first, size_t stride, size_t count) {
  struct log* log = rx->base.data;
  struct record record;
  size_t i;

  if (status == UV_EOF) {
    end(log);
    return;
  }
  for (i = 0; i < count; i++)
    take(log, records_recv_at(first, stride, i));
  for (; count < GROUP && records_try_recv(rx, &record) == 0; count++)
    take(log, &record);
  reply(log, settle(log, policy(log) == APPENDFSYNC_ALWAYS || log_file_is_crowded(&log->file)));
}

/*
 * Start and end
 */

static void run(void* arg) {
  struct log* log = arg;

  must(uv_run(&log->loop, UV_RUN_DEFAULT), "run");
  must(uv_loop_close(&log->loop), "log's loop"); /* UV_EBUSY would mean that a handle was forgotten */
}

/* The file is open, and the loop is there. */
static int set_up(struct log* log, const settings_sender_t* settings, records_sender_t* tx, health_sender_t* health) {
  int zero = 0;
  int r = settings_subscribe(&log->loop, &log->settings, settings);

  if (r == 0)
    r = records_init(&log->loop, &log->rx, tx, CAPACITY);
  if (r == 0)
    r = health_init(NULL, NULL, health, &zero);
  if (r == 0)
    r = health_sender_clone(health, &log->health);
  if (r != 0)
    return r;
  log->rx.base.data = log->timer.data = log;
  must(records_recv_many_start(&log->rx, GROUP, on_records), "receive");
  atomic_store(&log->bytes, log->file.end);
  return uv_thread_create(&log->thread, run, log);
}

/* Of what set_up() came to. A sender that was not made says that it is closed. */
static void tear_down(struct log* log, records_sender_t* tx, health_sender_t* health) {
  (void) records_sender_close(tx);
  (void) health_sender_close(health);
  (void) health_sender_close(&log->health);
  must(uvch_close_all(&log->loop) < 0, "close");
  uv_close((uv_handle_t*) &log->timer, NULL);
  run(log);
}

static int start(struct log* log, const settings_sender_t* settings, records_sender_t* tx, health_sender_t* health) {
  records_sender_t new_tx = {0};
  health_sender_t new_health = {0};
  int r = uv_loop_init(&log->loop);

  if (r != 0)
    return r;
  must(uv_timer_init(&log->loop, &log->timer), "timer");
  r = set_up(log, settings, &new_tx, &new_health);
  if (r != 0) {
    tear_down(log, &new_tx, &new_health);
    return r;
  }
  *tx = new_tx;
  *health = new_health;
  return 0;
}

static void free_log(struct log* log) {
  if (log != NULL)
    free(log->path);
  free(log);
}

static struct log* new_log(const char* path) {
  struct log* log = calloc(1, sizeof(*log));

  if (log != NULL)
    log->path = strdup(path);
  if (log != NULL && log->path != NULL)
    return log;
  free_log(log);
  say(LEVEL_WARNING, "%s: %s", path, uv_strerror(UV_ENOMEM));
  return NULL;
}

int log_start(struct log** log, const char* path, const settings_sender_t* settings, records_sender_t* tx,
              health_sender_t* health) {
  struct log* l = new_log(path);
  int r;

  if (l == NULL)
    return UV_ENOMEM;
  r = log_file_open(&l->file, path);
  if (r == 0) {
    r = start(l, settings, tx, health);
    if (r != 0) {
      say(LEVEL_WARNING, "%s: cannot start its thread: %s", path, uv_strerror(r));
      log_file_close(&l->file);
    }
  }
  if (r == 0)
    *log = l;
  else
    free_log(l);
  return r;
}

int log_join(struct log* log) {
  int r;

  must(uv_thread_join(&log->thread), "join");
  r = log->result;
  if (r != 0)
    say(LEVEL_WARNING, "%s: %" PRIu64 " bytes could not be saved: %s", log->path, log_file_unsaved(&log->file), uv_strerror(r));
  log_file_close(&log->file);
  free_log(log);
  return r;
}

void log_count(const struct log* log, struct log_counts* counts) {
  counts->bytes = atomic_load_explicit(&log->bytes, memory_order_relaxed);
  counts->fsyncs = atomic_load_explicit(&log->fsyncs, memory_order_relaxed);
  counts->groups = atomic_load_explicit(&log->groups, memory_order_relaxed);
}
