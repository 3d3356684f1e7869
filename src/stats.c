/* SPDX-License-Identifier: MIT
 *
 * What a channel has done so far. The claim word and the head count most of it. */
#include <string.h>
#include <uvch/broadcast.h>
#include <uvch/stats.h>
#include <uvch/watch.h>

#include "core.h"
#include "handle.h"
#include "oneshot.h"
#include "queue.h"

/* relaxed, in all of it: numbers */
static void fill_in(struct uvch__core* c, uvch_stats_t* stats) {
  struct uvch__queue* q = atomic_load_explicit(&c->queue, memory_order_acquire); /* [W2] */
  uint64_t dropped = atomic_load_explicit(&c->dropped, memory_order_acquire);    /* [C6] */
  uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire);          /* [C2] */
  uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire);          /* [C1] */
  struct uvch__port* port = uvch__home_port(&c->home);

  memset(stats, 0, sizeof *stats);
  stats->depth = uvch__len(c);
  stats->capacity = c->capacity > 0 ? c->capacity : UINT64_MAX;
  stats->reserved = uvch__word_reserved(c, word);
  stats->received = head;
  stats->dropped = dropped > 0 ? dropped - 1 : 0;
  /* Once the receiver has closed what was claimed but neither received nor dropped was refused. The tail may have lost upper bits.
   * */
  stats->sent = head + (dropped > 0 ? stats->dropped : uvch__distance(c, head, uvch__word_tail(c, word)));
  uvch__note_depth(c, stats->depth);
  stats->high_water = atomic_load_explicit(&c->high_water, memory_order_relaxed);
  stats->wakeups = atomic_load_explicit(&c->wakeups, memory_order_relaxed);
  if (c->capacity > 0)
    stats->full = atomic_load_explicit(&c->s.full, memory_order_relaxed);
  if (port != NULL)
    stats->budget_cuts = atomic_load_explicit(&port->budget_cuts, memory_order_relaxed);
  if (q != NULL) {
    stats->waiting = atomic_load_explicit(&q->waiting, memory_order_relaxed);
    memcpy(stats->name, q->name, sizeof stats->name);
  }
}

int uvch_mpsc_sender_get_stats(const uvch_mpsc_sender_t* tx, uvch_stats_t* stats) {
  struct uvch__core* c = uvch__sender_core(tx);

  if (tx == NULL || stats == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__WAS_CLOSED(tx);
  fill_in(c, stats);
  return 0;
}

int uvch_mpsc_receiver_get_stats(const uvch_mpsc_receiver_t* rx, uvch_stats_t* stats) {
  struct uvch__core* c = uvch__receiver_core(rx);

  if (rx == NULL || stats == NULL)
    return UV_EINVAL;
  if (c == NULL)
    return UVCH__WAS_CLOSED(rx);
  fill_in(c, stats);
  return 0;
}

static void print_mpsc(const uvch_handle_t* handle, FILE* stream) {
  uvch_stats_t stats = {0};
  char capacity[24] = "-";

  fill_in(handle->core, &stats);
  if (stats.capacity != UINT64_MAX)
    snprintf(capacity, sizeof capacity, "%llu", (unsigned long long) stats.capacity);
  fprintf(stream, " %s depth %llu/%s high %llu sent %llu received %llu reserved %llu full %llu waiting %llu wakeups %llu",
          stats.name[0] != 0 ? stats.name : "-", (unsigned long long) stats.depth, capacity,
          (unsigned long long) stats.high_water, (unsigned long long) stats.sent, (unsigned long long) stats.received,
          (unsigned long long) stats.reserved, (unsigned long long) stats.full, (unsigned long long) stats.waiting,
          (unsigned long long) stats.wakeups);
}

static void print_oneshot(uvch_handle_t* handle, FILE* stream) {
  const uvch_oneshot_receiver_t* rx = (const uvch_oneshot_receiver_t*) handle;

  fputs(uvch_oneshot_receiver_is_terminated(rx)                   ? " taken"
        : !uvch_oneshot_receiver_is_empty(rx)                     ? " sent"
        : uvch__oneshot_is_done(uvch__oneshot_load(handle->core)) ? " ended"
                                                                  : " open",
        stream);
}

static void print_broadcast(const uvch_handle_t* handle, FILE* stream) {
  const uvch_broadcast_receiver_t* rx = (const uvch_broadcast_receiver_t*) handle;

  fprintf(stream, " behind %llu missed %llu", (unsigned long long) uvch_broadcast_receiver_len(rx),
          (unsigned long long) uvch_broadcast_receiver_missed(rx));
}

static void print_watch(const uvch_handle_t* handle, FILE* stream) {
  int changed = uvch_watch_has_changed((const uvch_watch_receiver_t*) handle);

  fputs(changed == 1 ? " changed" : changed == 0 ? " seen" : " ended", stream);
}

static void print_one(uvch_handle_t* handle, void* arg) {
  FILE* stream = arg;

  fprintf(stream, "[%c%c%c] %-9s %p", (handle->flags & UVCH__REF) != 0 ? 'R' : '-',
          (handle->flags & UVCH__ACTIVE) != 0 ? 'A' : '-', (handle->flags & UVCH__CLOSING) != 0 ? 'C' : '-',
          uvch__handle_name(handle->type), (void*) handle);
  if ((handle->flags & UVCH__CLOSING) == 0) { /* then its channel may be gone */
    if (handle->type == UVCH_ONESHOT_RECEIVER)
      print_oneshot(handle, stream);
    else if (handle->type == UVCH_BROADCAST_RECEIVER)
      print_broadcast(handle, stream);
    else if (handle->type == UVCH_WATCH_RECEIVER)
      print_watch(handle, stream);
    else
      print_mpsc(handle, stream);
  }
  fputc('\n', stream);
}

void uvch_print_all(uv_loop_t* loop, FILE* stream) {
  if (stream != NULL)
    uvch_walk(loop, print_one, stream);
}
