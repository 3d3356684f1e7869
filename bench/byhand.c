/* SPDX-License-Identifier: MIT */
#include "byhand.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

struct byhand_slot_s {
  uv_mutex_t mutex;
  int is_full;
  int owners;
  uint64_t value;
};

byhand_slot_t* byhand_slot_new(void) {
  byhand_slot_t* slot = (byhand_slot_t*) malloc(sizeof(*slot));

  if (slot == NULL)
    return NULL;
  if (uv_mutex_init(&slot->mutex) != 0) {
    free(slot);
    return NULL;
  }
  slot->is_full = 0;
  slot->owners = 2;
  return slot;
}

static void unlock_and_leave(byhand_slot_t* slot) {
  int is_last = --slot->owners == 0;

  uv_mutex_unlock(&slot->mutex);
  if (!is_last)
    return;
  uv_mutex_destroy(&slot->mutex);
  free(slot);
}

void byhand_slot_send(byhand_slot_t* slot, uint64_t value) {
  uv_mutex_lock(&slot->mutex);
  slot->value = value;
  slot->is_full = 1;
  unlock_and_leave(slot);
}

int byhand_slot_try_recv(byhand_slot_t* slot, uint64_t* value) {
  uv_mutex_lock(&slot->mutex);
  if (!slot->is_full) {
    uv_mutex_unlock(&slot->mutex);
    return UV_EAGAIN;
  }
  *value = slot->value;
  unlock_and_leave(slot);
  return 0;
}

size_t byhand_slot_heap(byhand_slot_t* slot) {
  return malloc_usable_size(slot);
}

static void on_async(uv_async_t* async) {
  byhand_box_t* box = (byhand_box_t*) async->data;
  byhand_request_t* req;
  byhand_request_t* next;

  uv_mutex_lock(&box->mutex);
  req = box->first;
  box->first = NULL;
  box->last = NULL;
  uv_mutex_unlock(&box->mutex);

  for (; req != NULL; req = next) {
    next = req->next; /* the callback may send it again */
    if (box->cb != NULL)
      box->cb(box, req);
    else
      req->cb(req);
  }
}

int byhand_box_init(uv_loop_t* loop, byhand_box_t* box, byhand_box_cb cb) {
  void* data = box->data;
  int rc;

  *box = (byhand_box_t){.data = data, .cb = cb};
  rc = uv_mutex_init(&box->mutex);
  if (rc == 0)
    rc = uv_async_init(loop, &box->async, on_async);
  box->async.data = box;
  return rc;
}

/* Only the first one rings; outside the mutex, as in baseline.c. */
static int put(byhand_box_t* box, byhand_request_t* req) {
  int first;

  req->next = NULL;
  uv_mutex_lock(&box->mutex);
  first = box->first == NULL;
  if (first)
    box->first = req;
  else
    box->last->next = req;
  box->last = req;
  uv_mutex_unlock(&box->mutex);
  return first ? uv_async_send(&box->async) : 0;
}

int byhand_send(byhand_box_t* box, byhand_request_t* req, byhand_box_t* home, byhand_reply_cb cb) {
  req->home = home;
  req->cb = cb;
  return put(box, req);
}

int byhand_wait(byhand_box_t* box, byhand_request_t* req) {
  int rc;

  req->home = NULL;
  rc = put(box, req);
  if (rc == 0)
    uv_sem_wait(&req->done);
  return rc;
}

int byhand_reply(byhand_request_t* req) {
  if (req->home != NULL)
    return put(req->home, req);
  uv_sem_post(&req->done);
  return 0;
}

int byhand_topic_init(byhand_topic_t* topic) {
  topic->first = NULL;
  return uv_mutex_init(&topic->mutex);
}

int byhand_subscribe(uv_loop_t* loop, byhand_topic_t* topic, byhand_sub_t* sub, size_t capacity, baseline_cb cb) {
  int rc = baseline_init(loop, &sub->queue, capacity, cb);

  if (rc != 0)
    return rc;
  sub->missed = 0;
  uv_mutex_lock(&topic->mutex);
  sub->next = topic->first;
  topic->first = sub;
  uv_mutex_unlock(&topic->mutex);
  return 0;
}

int byhand_publish(byhand_topic_t* topic, uint64_t message) {
  byhand_sub_t* sub;
  int rc = 0;

  uv_mutex_lock(&topic->mutex);
  for (sub = topic->first; sub != NULL && rc == 0; sub = sub->next) {
    rc = baseline_try_send(&sub->queue, message);
    if (rc == UV_EAGAIN) {
      sub->missed++;
      rc = 0;
    }
  }
  uv_mutex_unlock(&topic->mutex);
  return rc;
}

int byhand_publish_wait(byhand_topic_t* topic, uint64_t message) {
  byhand_sub_t* sub;
  int rc = 0;

  uv_mutex_lock(&topic->mutex);
  for (sub = topic->first; sub != NULL && rc == 0; sub = sub->next)
    rc = baseline_send_wait(&sub->queue, message);
  uv_mutex_unlock(&topic->mutex);
  return rc;
}

uint64_t byhand_missed(byhand_topic_t* topic, const byhand_sub_t* sub) {
  uint64_t missed;

  uv_mutex_lock(&topic->mutex);
  missed = sub->missed;
  uv_mutex_unlock(&topic->mutex);
  return missed;
}

static void lock_to_read(byhand_board_t* board) {
  if (board->is_shared)
    uv_rwlock_rdlock(&board->rwlock);
  else
    uv_mutex_lock(&board->mutex);
}

static void unlock_read(byhand_board_t* board) {
  if (board->is_shared)
    uv_rwlock_rdunlock(&board->rwlock);
  else
    uv_mutex_unlock(&board->mutex);
}

static void lock_to_write(byhand_board_t* board) {
  if (board->is_shared)
    uv_rwlock_wrlock(&board->rwlock);
  else
    uv_mutex_lock(&board->mutex);
}

static void unlock_write(byhand_board_t* board) {
  if (board->is_shared)
    uv_rwlock_wrunlock(&board->rwlock);
  else
    uv_mutex_unlock(&board->mutex);
}

int byhand_board_init(byhand_board_t* board, size_t size, const void* value, int is_shared) {
  int rc;

  *board = (byhand_board_t){.size = size, .is_shared = is_shared};
  board->value = malloc(size);
  if (board->value == NULL)
    return UV_ENOMEM;
  memcpy(board->value, value, size);
  rc = is_shared ? uv_rwlock_init(&board->rwlock) : uv_mutex_init(&board->mutex);
  if (rc != 0)
    free(board->value);
  return rc;
}

/* Who sets is_rung will ring, so nobody else needs to; and it is cleared in the hold of the lock in which the loop looks. A
 * read-write lock is taken to write for that. */
static void on_board(uv_async_t* async) {
  byhand_spot_t* spot = (byhand_spot_t*) async->data;
  byhand_board_t* board = spot->board;
  byhand_viewer_t* viewer;
  int is_new;

  lock_to_write(board);
  spot->is_rung = 0;
  is_new = spot->version != board->version;
  if (is_new) {
    spot->version = board->version;
    memcpy(spot->value, board->value, board->size);
  }
  unlock_write(board);
  for (viewer = spot->first; is_new && viewer != NULL; viewer = viewer->next)
    viewer->cb(viewer, spot->value);
}

int byhand_board_follow(uv_loop_t* loop, byhand_board_t* board, byhand_spot_t* spot) {
  int rc;

  *spot = (byhand_spot_t){.board = board};
  spot->value = malloc(board->size);
  if (spot->value == NULL)
    return UV_ENOMEM;
  rc = uv_async_init(loop, &spot->async, on_board);
  if (rc != 0) {
    free(spot->value);
    return rc;
  }
  spot->async.data = spot;
  lock_to_write(board);
  spot->version = board->version;
  spot->next = board->first;
  board->first = spot;
  unlock_write(board);
  return 0;
}

void byhand_board_view(byhand_spot_t* spot, byhand_viewer_t* viewer, byhand_board_cb cb) {
  viewer->cb = cb;
  viewer->next = spot->first;
  spot->first = viewer;
}

/* The value has been changed, under the lock, which it gives up. */
static int tell_spots(byhand_board_t* board) {
  byhand_spot_t* rung = NULL;
  byhand_spot_t* spot;
  int rc = 0;

  board->version++;
  for (spot = board->first; spot != NULL; spot = spot->next) {
    if (spot->is_rung)
      continue;
    spot->is_rung = 1;
    spot->next_rung = rung;
    rung = spot;
  }
  unlock_write(board);
  while ((spot = rung) != NULL && rc == 0) {
    rung = spot->next_rung; /* it may be rung by another after this */
    rc = uv_async_send(&spot->async);
  }
  return rc;
}

int byhand_board_send(byhand_board_t* board, const void* value) {
  lock_to_write(board);
  memcpy(board->value, value, board->size);
  return tell_spots(board);
}

int byhand_board_replace(byhand_board_t* board, const void* value, void* old) {
  lock_to_write(board);
  memcpy(old, board->value, board->size);
  memcpy(board->value, value, board->size);
  return tell_spots(board);
}

int byhand_board_modify(byhand_board_t* board, byhand_modify_cb modify, void* arg) {
  lock_to_write(board);
  modify(board->value, arg);
  return tell_spots(board);
}

uint64_t byhand_board_read(byhand_board_t* board, void* value) {
  uint64_t version;

  lock_to_read(board);
  memcpy(value, board->value, board->size);
  version = board->version;
  unlock_read(board);
  return version;
}

uint64_t byhand_board_version(byhand_board_t* board) {
  uint64_t version;

  lock_to_read(board);
  version = board->version;
  unlock_read(board);
  return version;
}

size_t byhand_board_heap(const byhand_board_t* board) {
  return malloc_usable_size(board->value);
}

size_t byhand_spot_heap(const byhand_spot_t* spot) {
  return malloc_usable_size(spot->value);
}
