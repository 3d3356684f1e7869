/* SPDX-License-Identifier: MIT */
#include "baseline.h"

#include <malloc.h>
#include <stdlib.h>

#define FIRST_SIZE 64

/* Take what is queued; the buffer that was worked off becomes the one that senders fill. Returns 0 if nothing was there. */
static int swap(baseline_t* ch) {
  uint64_t* buffer = ch->out;
  size_t size = ch->out_size;
  unsigned int waiting;

  uv_mutex_lock(&ch->mutex);
  ch->out = ch->in;
  ch->out_size = ch->in_size;
  ch->out_head = 0;
  ch->out_count = ch->in_count;
  ch->in = buffer;
  ch->in_size = size;
  ch->in_count = 0;
  waiting = ch->waiting;
  uv_mutex_unlock(&ch->mutex);

  if (waiting != 0)
    uv_cond_broadcast(&ch->room);
  return ch->out_count != 0;
}

static void on_async(uv_async_t* async) {
  baseline_t* ch = (baseline_t*) async->data;
  baseline_cb cb = ch->cb;
  size_t i, n;

  if (!swap(ch))
    return;
  n = ch->out_count;
  for (i = 0; i < n; i++)
    cb(ch, ch->out[i]);
  ch->out_head = n;
}

/* With the mutex held. */
static int grow(baseline_t* ch) {
  size_t size = ch->in_size == 0 ? FIRST_SIZE : ch->in_size * 2;
  uint64_t* buffer = (uint64_t*) realloc(ch->in, size * sizeof(*buffer));

  if (buffer == NULL)
    return UV_ENOMEM;
  ch->in = buffer;
  ch->in_size = size;
  return 0;
}

/* With the mutex held, which it gives up. The receiver takes everything when it is rung, so only the first message rings.
 * Outside the mutex this is sound: the flag inside uv_async_send() is read after the mutex was taken, thus after the swap
 * before it. */
static int put(baseline_t* ch, uint64_t message) {
  int first, rc;

  if (ch->in_count == ch->in_size) {
    rc = grow(ch);
    if (rc != 0) {
      uv_mutex_unlock(&ch->mutex);
      return rc;
    }
  }
  first = ch->in_count == 0;
  ch->in[ch->in_count++] = message;
  uv_mutex_unlock(&ch->mutex);
  return first ? uv_async_send(&ch->async) : 0;
}

int baseline_init(uv_loop_t* loop, baseline_t* ch, size_t capacity, baseline_cb cb) {
  void* data = ch->data;
  int rc;

  *ch = (baseline_t){.data = data, .cb = cb, .capacity = capacity};
  if (capacity != BASELINE_UNBOUNDED) {
    ch->in = (uint64_t*) malloc(capacity * sizeof(*ch->in));
    ch->out = (uint64_t*) malloc(capacity * sizeof(*ch->out));
    if (ch->in == NULL || ch->out == NULL) {
      free(ch->in);
      free(ch->out);
      return UV_ENOMEM;
    }
    ch->in_size = capacity;
    ch->out_size = capacity;
  }
  rc = uv_mutex_init(&ch->mutex);
  if (rc == 0)
    rc = uv_cond_init(&ch->room);
  if (rc == 0)
    rc = uv_async_init(loop, &ch->async, on_async);
  ch->async.data = ch;
  return rc;
}

int baseline_try_send(baseline_t* ch, uint64_t message) {
  uv_mutex_lock(&ch->mutex);
  if (ch->in_count == ch->capacity) {
    uv_mutex_unlock(&ch->mutex);
    return UV_EAGAIN;
  }
  return put(ch, message);
}

int baseline_send_wait(baseline_t* ch, uint64_t message) {
  uv_mutex_lock(&ch->mutex);
  while (ch->in_count == ch->capacity) {
    ch->waiting++;
    uv_cond_wait(&ch->room, &ch->mutex);
    ch->waiting--;
  }
  return put(ch, message);
}

int baseline_try_recv(baseline_t* ch, uint64_t* message) {
  if (ch->out_head == ch->out_count && !swap(ch))
    return UV_EAGAIN;
  *message = ch->out[ch->out_head++];
  return 0;
}

size_t baseline_heap(const baseline_t* ch) {
  return malloc_usable_size(ch->in) + malloc_usable_size(ch->out);
}
