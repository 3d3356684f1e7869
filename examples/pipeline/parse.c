/* SPDX-License-Identifier: MIT
 *
 * parse: chunks of bytes to batches of rows. While a batch waits for room it takes no chunk, and the other channel fills up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"

/* The end: receiver and sender go, and with them everything that belongs to parse on its loop. */
static void end(struct parse* p, int status) {
  struct news news = {STAGE_PARSE, CODE_OK};

  if (status != 0 && status != UV_EPIPE) { /* UV_EPIPE: store has failed, and says so itself */
    news.code = CODE_OTHER;
    snprintf(p->error, sizeof(p->error), "parse: %s", uv_strerror(status));
  }
  free(p->chunk.data);
  free(p->batch);
  p->chunk.data = NULL;
  p->batch = NULL;
  uvch_close((uvch_handle_t*) &p->rx, NULL);
  uvch_mpsc_sender_close(&p->tx);
  uvch_mpsc_try_send(&p->news, &news); /* its channel has room for everybody's last words */
  uvch_mpsc_sender_close(&p->news);
}

static void go_on(struct parse* p);

static void on_sent(uvch_mpsc_send_t* req, int status) {
  struct parse* p = req->data;

  if (status != 0) {
    end(p, status);
    return;
  }
  p->batch = NULL;
  go_on(p);
}

/* Returns 0: sent, UV_EAGAIN: it waits for room and on_sent will come, another error: it is still ours. */
static int send_batch(struct parse* p) {
  int r;

  if (p->batch == NULL)
    return 0;
  r = uvch_mpsc_try_send(&p->tx, &p->batch);
  if (r == UV_EAGAIN) {
    p->req.data = p;
    r = uvch_mpsc_send(&p->loop, &p->req, &p->tx, &p->batch, on_sent);
    return r == 0 ? UV_EAGAIN : r;
  }
  if (r == 0)
    p->batch = NULL;
  return r;
}

static int has_room(const struct batch* batch) {
  return batch->rows < BATCH_ROWS && BATCH_TEXT - batch->used >= LINE_LIMIT;
}

/* How much of a line that is too long is kept: up to the limit, but no half character. */
static size_t cut_length(const char* text) {
  size_t len = line_utf8_prefix(text, LINE_LIMIT);

  return LINE_LIMIT - len < 4 ? len : LINE_LIMIT;
}

/* Add a line to the batch, which has room. */
static void add(struct parse* p, const char* text, size_t len, int cut) {
  struct batch* batch = p->batch;
  struct row* row = &batch->row[batch->rows++];

  if (!cut && len > 0 && text[len - 1] == '\r')
    len--;
  cut |= len > LINE_LIMIT;
  if (cut)
    len = cut_length(text);
  row->line = ++p->line;
  row->source = p->chunk.source;
  row->off = batch->used;
  row->len = len;
  memcpy(batch->text + batch->used, text, len);
  batch->used += len;
  row->reason = cut ? REASON_TOO_LONG : line_parse(text, len, &row->record);
  atomic_fetch_add_explicit(&p->lines, 1, memory_order_relaxed); /* a number to look at; it orders nothing */
}

/* Keep a part of a line until the rest of it comes. */
static void keep(struct parse* p, const char* text, size_t len) {
  size_t room = sizeof(p->rest) - p->rest_len;

  if (len > room) {
    p->cut = 1;
    len = room;
  }
  if (len > 0)
    memcpy(p->rest + p->rest_len, text, len);
  p->rest_len += len;
}

/* Take the next line from the chunk. */
static void take_line(struct parse* p) {
  const char* text = p->chunk.data + p->pos;
  size_t left = p->chunk.len - p->pos;
  const char* newline = memchr(text, '\n', left);
  size_t len = newline == NULL ? left : (size_t) (newline - text);

  p->pos += newline == NULL ? len : len + 1;
  if (newline != NULL && p->rest_len == 0) {
    add(p, text, len, 0);
    return;
  }
  keep(p, text, len);
  if (newline == NULL)
    return;
  add(p, p->rest, p->rest_len, p->cut);
  p->rest_len = 0;
  p->cut = 0;
}

/* What the end of a source means for a line without a newline, and for the count. */
static void end_source(struct parse* p) {
  if (p->chunk.end == CHUNK_END && p->rest_len > 0)
    add(p, p->rest, p->rest_len, p->cut);
  p->rest_len = 0;
  p->cut = 0;
  p->line = 0;
  p->chunk.end = CHUNK_MORE;
}

/* A batch with room for a line. Returns as send_batch(), or UV_ENOMEM. */
static int make_room(struct parse* p) {
  int r = p->batch != NULL && !has_room(p->batch) ? send_batch(p) : 0;

  if (r != 0 || p->batch != NULL)
    return r;
  p->batch = malloc(sizeof(*p->batch));
  if (p->batch == NULL)
    return UV_ENOMEM;
  p->batch->rows = 0;
  p->batch->used = 0;
  return 0;
}

/* Use up the chunk. Returns as make_room(). */
static int take_chunk(struct parse* p) {
  int r;

  while (p->pos < p->chunk.len || p->chunk.end != CHUNK_MORE) {
    r = make_room(p);
    if (r != 0)
      return r;
    if (p->pos < p->chunk.len)
      take_line(p);
    else
      end_source(p);
  }
  free(p->chunk.data);
  p->chunk = (struct chunk){NULL, 0, 0, CHUNK_MORE};
  p->pos = 0;
  return 0;
}

static void on_chunk(uvch_mpsc_receiver_t* rx, int status, void* item) {
  struct parse* p = rx->data;

  if (status == UV_EOF)
    p->eof = 1; /* a line that was begun is not complete: its source did not end */
  else
    p->chunk = *(struct chunk*) item;
  go_on(p);
}

/* Work until there is nothing to do or no room for what was done. */
static void go_on(struct parse* p) {
  int r = take_chunk(p);

  /* A batch goes when it is full, or when there is nothing to fill it with now. */
  if (r == 0 && (p->eof || uvch_mpsc_receiver_is_empty(&p->rx)))
    r = send_batch(p);
  if (r == UV_EAGAIN) {
    uvch_mpsc_recv_stop(&p->rx);
    p->started = 0;
    return;
  }
  if (r == 0 && !p->eof && !p->started) {
    r = uvch_mpsc_recv_start(&p->rx, on_chunk);
    p->started = 1;
  }
  if (r != 0 || p->eof)
    end(p, r);
}

void parse_main(void* arg) {
  struct parse* p = arg;

  p->rx.data = p;
  p->chunk.end = CHUNK_MORE;
  go_on(p);
  uv_run(&p->loop, UV_RUN_DEFAULT);
}
