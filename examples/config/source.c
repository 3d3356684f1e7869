/* SPDX-License-Identifier: MIT
 *
 * The file, without a blocking call. Two watches lead to one look at it: one on the file, for who writes into it, and one on its
 * directory, for who writes another file and renames it to this one; then the first watch sits on a file that has no name any
 * more, and is set up anew. A look reads all of it, in four steps, and tells only what is not the same as last time. So it does
 * not matter how many events a change makes, or whose they are. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "follow.h"

static void look(struct source* source);

/*
 * A look: open, fstat, read until the end, close
 */

static void tell(struct source* source) {
  if (source->known && source->error == source->last_error && source->len == source->last_len &&
      memcmp(source->text, source->last, source->len) == 0)
    return;
  source->known = 1;
  source->last_error = source->error;
  source->last_len = source->len;
  memcpy(source->last, source->text, source->len);
  source->cb(source, source->error, source->text, source->len);
}

static void finish(struct source* source) {
  source->reading = 0;
  if (source->error != NULL)
    source->len = 0;
  if (!source->stopping)
    tell(source);
  if (!source->stopping && source->again)
    look(source);
}

static void on_closed(uv_fs_t* req) {
  struct source* source = req->data;

  uv_fs_req_cleanup(req);
  finish(source);
}

static void close_file(struct source* source, const char* error) {
  source->error = error;
  must(uv_fs_close(source->loop, &source->req, source->fd, on_closed), "close");
}

static void on_read(uv_fs_t* req);

static void read_on(struct source* source) {
  uv_buf_t buf = uv_buf_init(source->text + source->len, (unsigned int) (sizeof(source->text) - source->len));

  must(uv_fs_read(source->loop, &source->req, source->fd, &buf, 1, -1, on_read), "read");
}

static void on_read(uv_fs_t* req) {
  struct source* source = req->data;
  ssize_t n = req->result;

  uv_fs_req_cleanup(req);
  if (n > 0)
    source->len += (size_t) n;
  if (n < 0)
    close_file(source, uv_strerror((int) n));
  else if (source->len > TEXT_LIMIT)
    close_file(source, "file is too large");
  else if (n == 0)
    close_file(source, NULL);
  else
    read_on(source);
}

static void on_stat(uv_fs_t* req) {
  struct source* source = req->data;
  ssize_t r = req->result;
  int is_file = r == 0 && S_ISREG(req->statbuf.st_mode);

  uv_fs_req_cleanup(req);
  if (r != 0)
    close_file(source, uv_strerror((int) r));
  else if (!is_file)
    close_file(source, "not a regular file");
  else
    read_on(source);
}

static void on_open(uv_fs_t* req) {
  struct source* source = req->data;
  ssize_t r = req->result;

  uv_fs_req_cleanup(req);
  if (r < 0) {
    source->error = uv_strerror((int) r);
    finish(source);
    return;
  }
  source->fd = (uv_file) r;
  must(uv_fs_fstat(source->loop, &source->req, source->fd, on_stat), "stat");
}

/*
 * When to look
 */

static void on_settled(uv_timer_t* timer) {
  look(timer->data);
}

/* A change seldom comes alone. It is waited for a little, but not again and again: who never stops writing is looked at, too. */
static void changed(struct source* source) {
  if (!uv_is_active((uv_handle_t*) &source->timer))
    must(uv_timer_start(&source->timer, on_settled, source->settle, 0), "timer");
}

static const char* name_of(const char* path) {
  const char* slash = strrchr(path, '/');

  return slash == NULL ? path : slash + 1;
}

static void on_file_event(uv_fs_event_t* event, const char* filename, int events, int status) {
  (void) filename;
  (void) events;
  (void) status; /* an error of the watch: looking sets it up anew */
  changed(event->data);
}

/* What is written into other files does not concern us. That they come, go and change their names does: the file may be a link. */
static void on_directory_event(uv_fs_event_t* event, const char* filename, int events, int status) {
  struct source* source = event->data;

  if (status == 0 && events == UV_CHANGE && filename != NULL && strcmp(filename, name_of(source->path)) != 0)
    return;
  changed(source);
}

/* The watch is there before the file is read, so what changes after that is not missed. Without a file there is none; then it is
 * the directory that tells when there is one. */
static void look(struct source* source) {
  source->again = source->reading;
  if (source->reading)
    return;
  source->reading = 1;
  source->len = 0;
  must(uv_fs_event_stop(&source->file_event), "watch");
  (void) uv_fs_event_start(&source->file_event, on_file_event, source->path, 0);
  must(uv_fs_open(source->loop, &source->req, source->path, UV_FS_O_RDONLY | UV_FS_O_NONBLOCK, 0, on_open), "open");
}

void source_read_again(struct source* source) {
  source->known = 0;
  look(source);
}

/*
 * Start and stop
 */

static char* directory_of(const char* path) {
  const char* slash = strrchr(path, '/');

  if (slash == NULL)
    return strdup(".");
  return strndup(path, slash == path ? 1 : (size_t) (slash - path));
}

static void on_directory_closed(uv_handle_t* handle) {
  struct source* source = handle->data;

  free(source->directory);
}

void source_stop(struct source* source) {
  if (source->stopping)
    return;
  source->stopping = 1; /* a look that is under way closes the file first */
  uv_close((uv_handle_t*) &source->file_event, NULL);
  uv_close((uv_handle_t*) &source->timer, NULL);
  uv_close((uv_handle_t*) &source->directory_event, on_directory_closed);
}

int source_start(struct source* source, uv_loop_t* loop, const char* path, uint64_t settle, source_cb cb) {
  int r;

  source->loop = loop;
  source->path = path;
  source->settle = settle;
  source->cb = cb;
  source->directory = directory_of(path);
  must(source->directory == NULL ? UV_ENOMEM : 0, "directory");
  must(uv_fs_event_init(loop, &source->file_event), "watch");
  must(uv_fs_event_init(loop, &source->directory_event), "watch");
  must(uv_timer_init(loop, &source->timer), "timer");
  source->file_event.data = source->directory_event.data = source->timer.data = source->req.data = source;
  r = uv_fs_event_start(&source->directory_event, on_directory_event, source->directory, 0);
  if (r == 0)
    look(source);
  else
    source_stop(source);
  return r;
}
