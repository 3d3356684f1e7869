/* SPDX-License-Identifier: MIT */
#include "byhand.h"

#include <malloc.h>
#include <stdlib.h>

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
