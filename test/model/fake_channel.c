/* SPDX-License-Identifier: MIT */
#include "fake_channel.h"

#include "handle.h"
#include "queue.h"
#include "sleep.h"

struct uvch__core fake_channel;
const uvch_mpsc_sender_t fake_sender = {&fake_channel};
static struct fake_message place;
static int has_message;
static int is_full;
static int is_over;
static struct uvch__waiter* waiting;
static int held;
static int senders;

void fake_channel_set_full(int full) {
  is_full = full;
}

void uvch__core_ref(struct uvch__core* c) {
  steps_expect(c == &fake_channel);
  held++;
}

void uvch__core_unref(struct uvch__core* c) {
  steps_expect(c == &fake_channel && held > 0);
  held--;
}

int uvch__strong_get(struct uvch__core* c) {
  steps_expect(c == &fake_channel);
  senders++;
  return 0;
}

void uvch__strong_put(struct uvch__core* c) {
  steps_expect(c == &fake_channel && senders > 0);
  senders--;
}

int uvch__check_send(const uvch_mpsc_sender_t* tx, const void* items, size_t count, struct uvch__core** c) {
  (void) items;
  (void) count;
  *c = tx->core;
  return 0;
}

static void put(const void* item) {
  steps_expect(!has_message);
  memcpy(&place, item, sizeof place);
  has_message = 1;
}

int uvch__try_send(struct uvch__core* c, const void* item) {
  steps_at(&c->word, STEPS_WRITE, __func__);
  if (is_full)
    return UV_EAGAIN;
  put(item);
  return 0;
}

int uvch_mpsc_send_wait(const uvch_mpsc_sender_t* tx, const void* item) {
  return uvch__try_send(tx->core, item);
}

int uvch_mpsc_send_timedwait(const uvch_mpsc_sender_t* tx, const void* item, uint64_t timeout) {
  (void) timeout;
  return uvch__try_send(tx->core, item);
}

int uvch__may_sleep(struct uvch__core* c) {
  (void) c;
  return 0;
}

struct uvch__queue* uvch__queue_get(struct uvch__core* c) {
  return (struct uvch__queue*) (void*) c; /* any address */
}

int uvch__queue_wait(struct uvch__core* c, struct uvch__queue* q, struct uvch__waiter* waiter) {
  (void) q;
  steps_at(&c->word, STEPS_WRITE, __func__);
  waiter->state = UVCH__QUEUED;
  waiting = waiter;
  return 0;
}

int uvch__queue_cancel(struct uvch__core* c, struct uvch__waiter* waiter) {
  steps_at(&c->word, STEPS_WRITE, __func__);
  if (waiter->state != UVCH__QUEUED)
    return 0;
  waiter->state = UVCH__IDLE;
  waiting = NULL;
  return 1;
}

static int is_waiting_or_over(void* arg) {
  (void) arg;
  return waiting != NULL || is_over;
}

int fake_serve(enum fake_serve how) {
  struct uvch__waiter* waiter;

  steps_wait(&fake_channel.word, STEPS_WRITE, __func__, is_waiting_or_over, NULL);
  waiter = waiting;
  if (waiter == NULL)
    return 0;
  waiting = NULL;
  waiter->state = UVCH__MOVING;
  steps_at(&fake_channel.word, STEPS_WRITE, __func__);
  if (how == FAKE_MOVE_IN)
    put(waiter->item);
  steps_at(&waiter->status, STEPS_WRITE, __func__);
  waiter->status = how == FAKE_MOVE_IN ? 0 : UV_EPIPE;
  waiter->tell(waiter, &fake_channel);
  return 1;
}

static int has_message_or_is_over(void* arg) {
  (void) arg;
  return has_message || is_over;
}

int fake_take(struct fake_message* message) {
  steps_wait(&fake_channel.word, STEPS_WRITE, __func__, has_message_or_is_over, NULL);
  if (!has_message)
    return 0;
  *message = place;
  has_message = 0;
  return 1;
}

void fake_no_more(void) {
  steps_at(&fake_channel.word, STEPS_WRITE, __func__);
  is_over = 1;
}

/* Before and after. */

void fake_channel_set_up(void) {
  fake_channel.item_size = sizeof(struct fake_message);
  has_message = is_full = is_over = held = senders = 0;
  waiting = NULL;
}

void fake_channel_check(void) {
  steps_expect(waiting == NULL && held == 0 && senders == 0);
}

/* What handle.c knows of and nothing here uses. */
const struct uvch__handle_ops uvch__mpsc_handle = {NULL, NULL, NULL};
