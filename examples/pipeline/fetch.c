/* SPDX-License-Identifier: MIT
 *
 * fetch: bytes of one source after the other into the channel of chunks. While a chunk waits for room, nothing is read. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"

static void next_source(struct fetch* f);
static void read_on(struct fetch* f);
static void close_source(struct fetch* f);

static const char* source_name(const struct fetch* f) {
  const char* name = f->options->sources[f->chunk.source];

  return strcmp(name, "-") == 0 ? "standard input" : name;
}

/* The chunk is in the channel, or (status < 0) parse is gone and the chunk is still ours. */
static void sent(struct fetch* f, int status) {
  if (status < 0) {
    free(f->chunk.data);
    f->stopping = 1; /* parse or store has failed, and says so itself */
  }
  f->chunk.data = NULL;
  if (f->stopping || f->chunk.end != CHUNK_MORE)
    close_source(f);
  else
    read_on(f);
}

static void on_sent(uvch_mpsc_send_t* req, int status) {
  sent(req->data, status);
}

static void send_chunk(struct fetch* f, size_t len, enum chunk_end end) {
  int r;

  f->chunk.len = len;
  f->chunk.end = end;
  r = uvch_mpsc_try_send(&f->tx, &f->chunk);
  if (r == UV_EAGAIN) {
    /* Full: this is where a slow disk slows the reader down. The request waits, the loop does not. */
    if (f->is_reading)
      uv_read_stop(&f->in.stream);
    f->is_reading = 0;
    f->req.data = f;
    r = uvch_mpsc_send(f->loop, &f->req, &f->tx, &f->chunk, on_sent);
    if (r == 0)
      return;
  }
  sent(f, r);
}

static void source_failed(struct fetch* f, const char* what, int code) {
  say("%s: %s", source_name(f), what);
  f->code = code;
  if (code == CODE_OTHER)
    f->stopping = 1;
}

/* n bytes came, or the end, or an error. */
static void got(struct fetch* f, ssize_t n) {
  char* smaller;

  if (n > 0) {
    /* A chunk waits with the memory that it needs, also if the bytes come in drops. */
    if ((size_t) n < CHUNK_SIZE / 2 && (smaller = realloc(f->chunk.data, (size_t) n)) != NULL)
      f->chunk.data = smaller;
    send_chunk(f, (size_t) n, CHUNK_MORE);
    return;
  }
  free(f->chunk.data);
  f->chunk.data = NULL;
  if (n < 0 && n != UV_EOF)
    source_failed(f, uv_strerror((int) n), CODE_INPUT);
  send_chunk(f, 0, n == 0 || n == UV_EOF ? CHUNK_END : CHUNK_CUT);
}

/* Somewhere to read to; what an earlier read left unused is used first. */
static int take_buffer(struct fetch* f) {
  if (f->chunk.data == NULL)
    f->chunk.data = malloc(CHUNK_SIZE);
  f->buf = uv_buf_init(f->chunk.data, f->chunk.data == NULL ? 0 : (unsigned int) CHUNK_SIZE);
  return f->chunk.data == NULL ? UV_ENOMEM : 0;
}

/* The source cannot go on for a reason that is not its own: end the line that was begun, and all the rest. */
static void give_up(struct fetch* f, int error) {
  source_failed(f, uv_strerror(error), CODE_OTHER);
  send_chunk(f, 0, CHUNK_CUT);
}

static void on_file_read(uv_fs_t* fs) {
  struct fetch* f = fs->data;
  ssize_t n = fs->result;

  uv_fs_req_cleanup(fs);
  if (f->stopping)
    close_source(f);
  else
    got(f, n);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  struct fetch* f = handle->data;

  (void) suggested;
  take_buffer(f); /* without memory the buffer is empty, and on_stream_read gets UV_ENOBUFS */
  *buf = f->buf;
}

static void on_stream_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  struct fetch* f = stream->data;

  (void) buf;
  if (n == 0)
    return; /* nothing yet */
  if (n < 0) {
    uv_read_stop(stream);
    f->is_reading = 0;
  }
  if (n == UV_ENOBUFS)
    give_up(f, UV_ENOMEM);
  else
    got(f, n);
}

static void read_on(struct fetch* f) {
  int r;

  if (f->is_reading)
    return;
  if (f->is_stream) {
    r = uv_read_start(&f->in.stream, on_alloc, on_stream_read);
    f->is_reading = r == 0;
  } else {
    r = take_buffer(f);
    if (r == 0)
      r = uv_fs_read(f->loop, &f->fs, f->fd, &f->buf, 1, -1, on_file_read);
  }
  if (r != 0)
    give_up(f, r);
}

static void on_file_closed(uv_fs_t* fs) {
  uv_fs_req_cleanup(fs);
  next_source(fs->data);
}

static void on_stream_closed(uv_handle_t* handle) {
  next_source(handle->data);
}

static void close_source(struct fetch* f) {
  free(f->chunk.data);
  f->chunk.data = NULL;
  f->chunk.source++;
  f->is_reading = 0;
  if (f->is_stream) {
    uv_stream_set_blocking(&f->in.stream, 1); /* others may share this pipe with us, and go on to use it */
    uv_close(&f->in.handle, on_stream_closed);
    f->is_stream = 0;
  } else if (f->fd <= 0 || uv_fs_close(f->loop, &f->fs, f->fd, on_file_closed) != 0) {
    next_source(f);
  }
}

/* Open as a stream what is one. Returns 1: it is not one but a file. */
static int open_stream(struct fetch* f) {
  int r;

  switch (uv_guess_handle(f->fd)) {
    case UV_FILE:
      return 1;
    case UV_TTY:
      r = uv_tty_init(f->loop, &f->in.tty, f->fd, 0);
      break;
    case UV_NAMED_PIPE:
      r = uv_pipe_init(f->loop, &f->in.pipe, 0);
      break;
    default:
      return UV_EINVAL;
  }
  if (r != 0)
    return r;
  f->is_stream = 1;
  f->in.handle.data = f;
  return f->in.handle.type == UV_NAMED_PIPE ? uv_pipe_open(&f->in.pipe, f->fd) : 0;
}

static void read_source(struct fetch* f) {
  int r = open_stream(f);

  if (r >= 0) {
    read_on(f);
    return;
  }
  source_failed(f, r == UV_EINVAL ? "not a file, a pipe or a terminal" : uv_strerror(r), CODE_INPUT);
  close_source(f);
}

static void on_open(uv_fs_t* fs) {
  struct fetch* f = fs->data;
  ssize_t result = fs->result;

  uv_fs_req_cleanup(fs);
  f->fd = result < 0 ? -1 : (uv_file) result;
  if (f->fd >= 0 && !f->stopping) {
    read_source(f);
    return;
  }
  if (result < 0)
    source_failed(f, uv_strerror((int) result), CODE_INPUT);
  close_source(f);
}

static void next_source(struct fetch* f) {
  const char* name;
  int r;

  if (f->stopping || f->chunk.source == f->options->source_count) {
    uvch_mpsc_sender_close(&f->tx); /* parse gets what is queued, then UV_EOF */
    return;
  }
  name = f->options->sources[f->chunk.source];
  f->fs.data = f;
  f->fd = 0;
  if (strcmp(name, "-") == 0) {
    read_source(f);
    return;
  }
  /* Not blocking: a named pipe without a writer must not hold a thread of libuv's pool. */
  r = uv_fs_open(f->loop, &f->fs, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0, on_open);
  if (r == 0)
    return;
  f->fd = -1;
  source_failed(f, uv_strerror(r), CODE_OTHER);
  close_source(f);
}

void fetch_start(struct fetch* f) {
  next_source(f);
}

void fetch_stop(struct fetch* f) {
  if (f->stopping)
    return;
  f->stopping = 1;
  /* A stream may be silent for hours. All else ends by itself, and looks at `stopping` then. */
  if (f->is_reading)
    close_source(f);
}
