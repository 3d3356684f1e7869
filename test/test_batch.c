/* SPDX-License-Identifier: MIT
 *
 * Batches: several messages that are sent, wait, and are received together. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "core.h"
#include "support.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { NOT_DONE = 1 }; /* no status is positive */

static const size_t capacities[] = {1, 2, 63, 64, 65, 1000, 1024, UVCH_UNBOUNDED};
static const size_t sizes[] = {0, 1, 4, 8, 24, 100};
static const size_t maxes[] = {1, 3, 64, 1000, SIZE_MAX};

#define CAPACITY (capacities[_i])
#define add_for_every_capacity(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities))
#define add_for_every_bound(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(capacities) - 1)

/* A shape is a capacity and a size of messages. */
#define SHAPE_CAPACITY (capacities[(size_t) _i / COUNT(sizes)])
#define SHAPE_SIZE (sizes[(size_t) _i % COUNT(sizes)])
#define add_for_every_shape(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) (COUNT(capacities) * COUNT(sizes)))
#define add_for_every_bounded_shape(tcase, test) \
  tcase_add_loop_test(tcase, test, 0, (int) ((COUNT(capacities) - 1) * COUNT(sizes)))

static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

static void nap(void) {
  struct timespec time = {0, 50000};

  (void) nanosleep(&time, NULL);
}

/* Messages of any size: each byte follows from the message's number; one of its size is the number. */

#define MANY 6000 /* most messages in one call */

static _Alignas(max_align_t) unsigned char outgoing[MANY * 100];
static _Alignas(max_align_t) unsigned char incoming[MANY * 100 + 1];

static unsigned char byte_of(uint64_t number, size_t place, size_t size) {
  if (size == sizeof(number))
    return ((const unsigned char*) &number)[place];
  return (unsigned char) (place < sizeof(number) ? number >> (8 * place) : number * 7 + place);
}

static void write_items(unsigned char* items, size_t size, uint64_t number, size_t count) {
  size_t i;
  size_t j;

  for (i = 0; i < count; i++)
    for (j = 0; j < size; j++)
      items[i * size + j] = byte_of(number + i, j, size);
}

static bool are_items(const void* first, size_t stride, size_t size, uint64_t number, size_t count) {
  size_t i;
  size_t j;

  for (i = 0; i < count; i++)
    for (j = 0; j < size; j++)
      if (((const unsigned char*) first)[i * stride + j] != byte_of(number + i, j, size))
        return false;
  return true;
}

static size_t align_of(size_t size) {
  size_t align = 1;

  while (size > 0 && align < _Alignof(max_align_t) && size % (2 * align) == 0)
    align *= 2;
  return align;
}

/* A channel whose messages have the numbers 0, 1, 2 ... */
typedef struct batch_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  size_t capacity;
  size_t size;
  size_t max;        /* of the receiver */
  uint64_t sent;     /* the next number to send */
  uint64_t received; /* the next number that is due */
  uint64_t total;    /* how many to send */
  size_t callbacks;
  size_t largest;
  size_t ends;
  size_t dropped;
  int depth;
  bool closed;
} batch_t;

static void on_drop(void* item, void* arg) {
  batch_t* batch = arg;

  support_check(batch->closed);
  support_check(are_items(item, 0, batch->size, batch->received + batch->dropped, 1));
  batch->dropped++;
}

static void batch_init(batch_t* batch, bool on_loop, size_t capacity, size_t size) {
  uvch_mpsc_options_t options;

  memset(batch, 0, sizeof(*batch));
  memset(&options, 0, sizeof(options));
  options.drop = on_drop;
  options.arg = batch;
  batch->capacity = capacity;
  batch->size = size;
  support_loop_init(&batch->loop);
  ck_assert_int_eq(uvch_mpsc_init_ex(on_loop ? &batch->loop : NULL, &batch->rx, &batch->tx, size, capacity, &options), 0);
  batch->rx.data = batch;
}

static void batch_close(batch_t* batch) {
  batch->closed = true;
  support_close(&batch->rx);
}

static void batch_end(batch_t* batch) {
  if (!batch->closed)
    batch_close(batch);
  uvch_mpsc_sender_close(&batch->tx);
  support_loop_end(&batch->loop);
}

/* Sends up to `count` more; what try_send_many says. */
static int put_many(batch_t* batch, size_t count) {
  int n;

  support_check(count <= MANY);
  write_items(outgoing, batch->size, batch->sent, count);
  n = uvch_mpsc_try_send_many(&batch->tx, outgoing, count);
  batch->sent += n > 0 ? (uint64_t) n : 0;
  return n;
}

/* Takes up to `max`, which must be the ones that are due; what try_recv_many says. Nothing behind them is written. */
static int take_many(batch_t* batch, size_t max) {
  size_t end;
  int n;

  support_check(max <= MANY);
  memset(incoming, 0xee, sizeof(incoming));
  n = uvch_mpsc_try_recv_many(&batch->rx, incoming, max);
  support_check(n <= (int) max);
  end = n > 0 ? (size_t) n * batch->size : 0;
  support_check_eq(incoming[end], 0xee);
  if (n > 0) {
    support_check(are_items(incoming, batch->size, batch->size, batch->received, (size_t) n));
    batch->received += (uint64_t) n;
  }
  return n;
}

static void check_batch(batch_t* batch, const void* first, size_t stride, size_t count) {
  size_t align = align_of(batch->size);

  support_check(first != NULL && (uintptr_t) first % align == 0);
  support_check(stride >= batch->size && stride % align == 0);
  support_check(count > 0 && count <= batch->max);
  support_check(batch->capacity == UVCH_UNBOUNDED || count <= least(batch->capacity, 64));
}

/* What every callback does first. 0: the end, the receiver is closed. */
static int take_batch(batch_t* batch, int status, const void* first, size_t stride, size_t count) {
  if (status == UV_EOF) {
    support_check(first == NULL && count == 0);
    batch->ends++;
    batch_close(batch);
    return 0;
  }
  support_check_eq(status, 0);
  check_batch(batch, first, stride, count);
  support_check(are_items(first, stride, batch->size, batch->received, count));
  batch->received += count;
  batch->callbacks++;
  batch->largest = count > batch->largest ? count : batch->largest;
  return 1;
}

static void start_many(batch_t* batch, size_t max, uvch_mpsc_recv_many_cb cb) {
  batch->max = max;
  ck_assert_int_eq(uvch_mpsc_recv_many_start(&batch->rx, max, cb), 0);
}

static void run_a_while(batch_t* batch) {
  int i;

  for (i = 0; i < 30; i++)
    uv_run(&batch->loop, UV_RUN_NOWAIT);
}

/* Requests. */

typedef struct job_s {
  uvch_mpsc_send_t req;
  int status;
  size_t calls;
  size_t turn; /* its place among all callbacks of the test, from 1 */
} job_t;

static size_t turns;

static void on_sent(uvch_mpsc_send_t* req, int status) {
  job_t* job = req->data;

  job->status = status;
  job->calls++;
  job->turn = ++turns;
}

/* The request's memory is garbage before. */
static int try_job(uv_loop_t* loop, job_t* job, const uvch_mpsc_sender_t* tx, const void* items, size_t count) {
  memset(job, 0xa5, sizeof(*job));
  job->req.data = job;
  job->status = NOT_DONE;
  job->calls = 0;
  return uvch_mpsc_send_many(loop, &job->req, tx, items, count, on_sent);
}

/* A request for the next `count` messages, which stay at `items`. */
static void request(batch_t* batch, job_t* job, unsigned char* items, size_t count) {
  write_items(items, batch->size, batch->sent, count);
  batch->sent += count;
  support_check_eq(try_job(&batch->loop, job, &batch->tx, items, count), 0);
  support_check_eq(job->calls, 0);
}

static int cancel(job_t* job) {
  return uvch_cancel((uvch_req_t*) &job->req);
}

static void check_done(const job_t* job, int status, size_t sent) {
  support_check_eq(job->calls, 1);
  support_check_eq(job->status, status);
  support_check_eq(job->req.sent, sent);
}

static void check_waits(batch_t* batch, const job_t* job) {
  int i;

  for (i = 0; i < 3; i++) {
    support_check(uv_run(&batch->loop, UV_RUN_NOWAIT) != 0);
    support_check_eq(job->calls, 0);
  }
}

/* try_send_many. */

START_TEST(all_that_have_room_go_in_in_order) {
  static const size_t counts[] = {1, 2, 3, 16, 17, 63, 64, 65, 999, 1000, 3000, 5};
  batch_t batch;
  size_t i;

  batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
  for (i = 0; i < 3 * COUNT(counts); i++) {
    size_t count = least(counts[i % COUNT(counts)], batch.capacity);
    ck_assert_int_eq(put_many(&batch, count), (int) count);
    ck_assert_uint_eq(uvch_mpsc_sender_len(&batch.tx), count);
    ck_assert_int_eq(take_many(&batch, MANY), (int) count);
    ck_assert_int_eq(take_many(&batch, 1), UV_EAGAIN);
  }
  batch_end(&batch);
}
END_TEST

START_TEST(a_part_goes_in_as_far_as_there_is_room) {
  batch_t batch;
  size_t k;
  int i;

  batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
  for (i = 0; i < 4; i++) {
    k = i == 0 ? 0 : i == 1 ? 1 : i == 2 ? batch.capacity / 2 : batch.capacity - 1;
    if (k == batch.capacity)
      continue;
    ck_assert_int_eq(put_many(&batch, k), (int) k);
    ck_assert_int_eq(put_many(&batch, batch.capacity + 5), (int) (batch.capacity - k));
    ck_assert_int_eq(put_many(&batch, 3), UV_EAGAIN);
    ck_assert_uint_eq(uvch_mpsc_sender_len(&batch.tx), batch.capacity);
    ck_assert_uint_eq(uvch_mpsc_sender_capacity(&batch.tx), 0);
    ck_assert_int_eq(take_many(&batch, MANY), (int) batch.capacity);
  }
  batch_end(&batch);
}
END_TEST

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  *(int*) req->data = status;
}

START_TEST(none_go_in_while_others_wait) {
  uvch_mpsc_permit_t permit = {NULL, 0};
  uvch_mpsc_reserve_t req;
  int reserved = NOT_DONE;
  batch_t batch;
  job_t job;

  batch_init(&batch, false, 4, 8);
  ck_assert_int_eq(put_many(&batch, 4), 4);
  request(&batch, &job, outgoing, 1);
  ck_assert_int_eq(uvch_mpsc_try_send_many(&batch.tx, outgoing, 2), UV_EAGAIN);
  ck_assert_int_eq(take_many(&batch, 1), 1);
  support_loop_run(&batch.loop);
  check_done(&job, 0, 1);
  ck_assert_int_eq(take_many(&batch, 1), 1); /* room for one, but somebody waits who needs two */
  ck_assert_int_eq(uvch_mpsc_reserve(&batch.loop, &req, &batch.tx, 2, &permit, on_reserved), 0);
  req.data = &reserved;
  ck_assert_int_eq(put_many(&batch, 1), UV_EAGAIN);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), 0);
  ck_assert_int_eq(put_many(&batch, 2), 1);
  support_loop_run(&batch.loop);
  ck_assert_int_eq(reserved, UV_ECANCELED);
  batch_end(&batch);
}
END_TEST

START_TEST(a_count_of_0_sends_nothing) {
  batch_t batch;

  batch_init(&batch, false, CAPACITY, 8);
  ck_assert_int_eq(uvch_mpsc_try_send_many(&batch.tx, NULL, 0), 0);
  ck_assert_int_eq(uvch_mpsc_send_many_wait(&batch.tx, NULL, 0), 0);
  ck_assert_int_eq(uvch_mpsc_send_many_timedwait(&batch.tx, NULL, 0, 0), 0);
  ck_assert_int_eq(put_many(&batch, least(CAPACITY, 100)), (int) least(CAPACITY, 100));
  ck_assert_int_eq(put_many(&batch, 0), 0); /* full or not */
  ck_assert_uint_eq(uvch_mpsc_sender_len(&batch.tx), least(CAPACITY, 100));
  if (_i % 2 == 0)
    ck_assert_int_eq(uvch_mpsc_recv_shutdown(&batch.rx), 0);
  else
    batch_close(&batch);
  ck_assert_int_eq(put_many(&batch, 0), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_send_many_wait(&batch.tx, NULL, 0), UV_EPIPE);
  batch_end(&batch);
}
END_TEST

START_TEST(what_cannot_be_sent_is_refused) {
  uint64_t items[2] = {1, 2};
  batch_t batch;
  job_t job;

  batch_init(&batch, false, CAPACITY, 8);
  ck_assert_int_eq(uvch_mpsc_try_send_many(NULL, items, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_send_many(&batch.tx, NULL, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_send_many(&batch.tx, items, (size_t) INT_MAX + 1), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_send_many(&batch.tx, items, SIZE_MAX), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send_many_wait(NULL, items, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send_many_wait(&batch.tx, NULL, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send_many_timedwait(&batch.tx, items, (size_t) INT_MAX + 1, 0), UV_EINVAL);
  ck_assert_int_eq(try_job(&batch.loop, &job, NULL, items, 2), UV_EINVAL);
  ck_assert_int_eq(try_job(&batch.loop, &job, &batch.tx, NULL, 2), UV_EINVAL);
  ck_assert_int_eq(try_job(&batch.loop, &job, &batch.tx, items, (size_t) INT_MAX + 1), UV_EINVAL);
  ck_assert_int_eq(try_job(NULL, &job, &batch.tx, items, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send_many(&batch.loop, NULL, &batch.tx, items, 2, on_sent), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_send_many(&batch.loop, &job.req, &batch.tx, items, 2, NULL), UV_EINVAL);
  support_drop_sender(&batch.tx);
  ck_assert_int_eq(uvch_mpsc_try_send_many(&batch.tx, items, 2), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_try_send_many(&batch.tx, items, 0), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_send_many_wait(&batch.tx, items, 2), UV_EBADF);
  ck_assert_int_eq(try_job(&batch.loop, &job, &batch.tx, items, 2), UV_EBADF);
  ck_assert_int_eq(take_many(&batch, 5), UV_EOF);
  batch_end(&batch);
}
END_TEST

START_TEST(messages_without_bytes_need_no_memory) {
  batch_t batch;
  job_t job;

  batch_init(&batch, false, CAPACITY, 0);
  ck_assert_int_eq(uvch_mpsc_try_send_many(&batch.tx, NULL, least(CAPACITY, 3)), (int) least(CAPACITY, 3));
  ck_assert_int_eq(uvch_mpsc_try_recv_many(&batch.rx, NULL, 10), (int) least(CAPACITY, 3));
  ck_assert_int_eq(uvch_mpsc_send_many_wait(&batch.tx, NULL, 1), 1);
  ck_assert_int_eq(uvch_mpsc_recv_many_wait(&batch.rx, NULL, 10), 1);
  ck_assert_int_eq(try_job(&batch.loop, &job, &batch.tx, NULL, least(CAPACITY, 100) + 2), 0);
  while (job.calls == 0) {
    support_check(uvch_mpsc_try_recv_many(&batch.rx, NULL, 1) <= 1);
    uv_run(&batch.loop, UV_RUN_NOWAIT);
  }
  check_done(&job, 0, least(CAPACITY, 100) + 2);
  batch_end(&batch);
}
END_TEST

START_TEST(a_closed_channel_takes_nothing_and_keeps_what_is_in_it) {
  size_t count = least(CAPACITY, 50);
  batch_t batch;
  job_t job;

  batch_init(&batch, false, CAPACITY, 8);
  ck_assert_int_eq(put_many(&batch, count), (int) count);
  ck_assert_int_eq(uvch_mpsc_recv_shutdown(&batch.rx), 0);
  ck_assert_int_eq(put_many(&batch, 5), UV_EPIPE);
  ck_assert_int_eq(uvch_mpsc_send_many_wait(&batch.tx, outgoing, 5), UV_EPIPE);
  ck_assert_int_eq(try_job(&batch.loop, &job, &batch.tx, outgoing, 5), UV_EPIPE);
  ck_assert_int_eq(take_many(&batch, 3 * count), (int) count);
  ck_assert_int_eq(take_many(&batch, 3), UV_EOF);
  batch_close(&batch);
  ck_assert_int_eq(put_many(&batch, 5), UV_EPIPE);
  ck_assert_uint_eq(batch.dropped, 0);
  batch_end(&batch);
}
END_TEST

START_TEST(a_close_drops_what_was_not_taken_in_order) {
  batch_t batch;
  int count;

  batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
  count = put_many(&batch, least(batch.capacity, 3000));
  ck_assert_int_eq(take_many(&batch, (size_t) count / 2), count / 2);
  ck_assert_int_eq(put_many(&batch, (size_t) count / 2), count / 2);
  batch_close(&batch);
  ck_assert_uint_eq(batch.dropped, (size_t) count);
  ck_assert_int_eq(put_many(&batch, 1), UV_EPIPE);
  batch_end(&batch);
}
END_TEST

/* A block of an unbounded channel has 16 to 512 messages, or one where they are large. */

static void over_blocks(size_t size, size_t most) {
  size_t count = 1;
  batch_t batch;
  size_t fresh;
  uint64_t i;

  batch_init(&batch, false, UVCH_UNBOUNDED, size);
  fresh = support_alloc_blocks();
  for (i = 0; batch.sent < 3 * most; i++) {
    count = count * 5 % 4999 % most + 1;
    support_check_eq(put_many(&batch, count), count);
    if (i % 3 == 1)
      support_check_eq(put_many(&batch, 1), 1);
    if (i % 4 == 3)
      support_check(take_many(&batch, count) > 0);
  }
  while (batch.received < batch.sent)
    support_check(take_many(&batch, 777 % most + 1) > 0);
  ck_assert_int_eq(take_many(&batch, 1), UV_EAGAIN);
  ck_assert_uint_le(support_alloc_blocks(), fresh + 1); /* the one in use */
  batch_end(&batch);
}

START_TEST(a_batch_goes_over_many_blocks) {
  over_blocks(sizes[_i], MANY);
}
END_TEST

START_TEST(a_batch_of_messages_that_have_a_block_each) {
  over_blocks(9000, 60);
}
END_TEST

/* The n-th allocation of one call fails, for every n that it has. */

START_TEST(a_batch_without_memory_claims_nothing) {
  size_t count = CAPACITY == UVCH_UNBOUNDED ? 1500 : CAPACITY;
  size_t before = CAPACITY == UVCH_UNBOUNDED ? 40 : 0;
  size_t failures = 0;
  batch_t batch;
  size_t n;
  int got;

  for (n = 1;; n += n < 10 ? 1 : 13) {
    batch_init(&batch, false, CAPACITY, 8);
    ck_assert_int_eq(put_many(&batch, before), (int) before);
    support_alloc_mark();
    support_alloc_fail(n);
    got = put_many(&batch, count);
    support_alloc_fail(0);
    if (got > 0) {
      batch_end(&batch);
      break;
    }
    failures++;
    support_check_eq(got, UV_ENOMEM);
    support_check_eq(uvch_mpsc_sender_len(&batch.tx), before);
    support_check_eq(put_many(&batch, count), count);
    support_check_eq(take_many(&batch, before + count), before + count);
    support_check_eq(take_many(&batch, 1), UV_EAGAIN);
    batch_end(&batch);
  }
  ck_assert_int_eq(got, (int) count);
  ck_assert_uint_ge(failures, CAPACITY == UVCH_UNBOUNDED ? 3 : 1);
}
END_TEST

/* send_many. */

START_TEST(more_messages_than_the_capacity_go_in_piece_by_piece) {
  batch_t batch;
  size_t count;
  job_t job;
  size_t i;

  batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
  count = 2 * batch.capacity + 3;
  request(&batch, &job, outgoing, count);
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&batch.tx), 2);
  for (i = 0; i < count - batch.capacity; i++) {
    support_check_eq(uvch_mpsc_sender_len(&batch.tx), batch.capacity);
    support_check_eq(uvch_mpsc_sender_capacity(&batch.tx), 0);
    support_check_eq(uvch_mpsc_try_send_many(&batch.tx, outgoing, 1), UV_EAGAIN);
    check_waits(&batch, &job);
    support_check_eq(take_many(&batch, 1), 1);
  }
  ck_assert_uint_eq(job.calls, 0);
  support_loop_run(&batch.loop);
  check_done(&job, 0, count);
  ck_assert_uint_eq(uvch_mpsc_sender_strong_count(&batch.tx), 1);
  ck_assert_int_eq(take_many(&batch, count), (int) batch.capacity);
  ck_assert_int_eq(take_many(&batch, 1), UV_EAGAIN);
  batch_end(&batch);
}
END_TEST

START_TEST(a_request_goes_on_as_batches_are_taken) {
  batch_t batch;
  size_t count;
  job_t job;

  batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
  count = 3 * least(batch.capacity, 1500) + 1;
  request(&batch, &job, outgoing, count);
  while (batch.received < count)
    support_check(take_many(&batch, 7) > 0);
  support_loop_run(&batch.loop);
  check_done(&job, 0, count);
  batch_end(&batch);
}
END_TEST

START_TEST(a_request_with_room_puts_all_in_at_once_and_calls_back_from_the_loop) {
  size_t count = least(CAPACITY, 200);
  batch_t batch;
  job_t job;

  batch_init(&batch, false, CAPACITY, 8);
  request(&batch, &job, outgoing, count);
  ck_assert_uint_eq(uvch_mpsc_sender_len(&batch.tx), count);
  ck_assert_int_eq(cancel(&job), UV_EBUSY);
  support_loop_run(&batch.loop);
  check_done(&job, 0, count);
  ck_assert_int_eq(take_many(&batch, count), (int) count);
  request(&batch, &job, outgoing, 0);
  support_loop_run(&batch.loop);
  check_done(&job, 0, 0);
  batch_end(&batch);
}
END_TEST

START_TEST(a_request_cancelled_in_the_middle_tells_how_many_are_in) {
  batch_t batch;
  size_t taken;
  job_t job;
  int i;

  batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
  for (i = 0; i < 3; i++) {
    taken = i == 0 ? 0 : i == 1 ? 1 : batch.capacity / 2;
    batch.sent = batch.received;
    request(&batch, &job, outgoing, 3 * batch.capacity);
    if (taken > 0)
      ck_assert_int_eq(take_many(&batch, taken), (int) taken);
    ck_assert_int_eq(cancel(&job), 0);
    ck_assert_int_eq(cancel(&job), UV_EBUSY);
    memset(outgoing, 0, sizeof(outgoing)); /* the rest is the caller's again */
    support_loop_run(&batch.loop);
    check_done(&job, UV_ECANCELED, batch.capacity + taken);
    ck_assert_int_eq(take_many(&batch, MANY), (int) batch.capacity);
    ck_assert_int_eq(take_many(&batch, 1), UV_EAGAIN);
    ck_assert_uint_eq(uvch_mpsc_sender_capacity(&batch.tx), batch.capacity);
  }
  batch_end(&batch);
}
END_TEST

START_TEST(a_request_whose_channel_closes_in_the_middle_tells_how_many_are_in) {
  size_t taken;
  batch_t batch;
  job_t behind;
  job_t job;
  int i;

  for (i = 0; i < 4; i++) {
    batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
    taken = i / 2 == 0 ? 0 : batch.capacity / 2 + 1;
    request(&batch, &job, outgoing, 3 * batch.capacity);
    ck_assert_int_eq(try_job(&batch.loop, &behind, &batch.tx, incoming, 2), 0);
    if (taken > 0)
      ck_assert_int_eq(take_many(&batch, taken), (int) taken);
    if (i % 2 == 0) {
      batch_close(&batch);
      ck_assert_uint_eq(batch.dropped, batch.capacity);
    } else {
      ck_assert_int_eq(uvch_mpsc_recv_shutdown(&batch.rx), 0);
      ck_assert_int_eq(take_many(&batch, MANY), (int) batch.capacity);
      ck_assert_int_eq(take_many(&batch, MANY), UV_EOF);
    }
    support_loop_run(&batch.loop);
    check_done(&job, UV_EPIPE, batch.capacity + taken);
    check_done(&behind, UV_EPIPE, 0);
    batch_end(&batch);
  }
}
END_TEST

START_TEST(who_waits_to_send_many_keeps_its_place_in_the_line) {
  static const size_t counts[] = {1, 10, 1, 6, 4, 1, 25, 1};
  size_t capacity = least(CAPACITY, 1000);
  batch_t batch;
  size_t total = 0;
  job_t jobs[COUNT(counts)];
  size_t i;

  turns = 0;
  batch_init(&batch, false, capacity, 8);
  ck_assert_int_eq(put_many(&batch, capacity), (int) capacity);
  for (i = 0; i < COUNT(counts); i++) {
    request(&batch, &jobs[i], outgoing + 8 * total, counts[i]);
    total += counts[i];
  }
  for (i = 0; batch.received < batch.sent; i++) {
    ck_assert_int_gt(take_many(&batch, i % 5 + 1), 0);
    if (batch.received + capacity < batch.sent)
      ck_assert_int_eq(uvch_mpsc_try_send_many(&batch.tx, incoming, 1), UV_EAGAIN);
    uv_run(&batch.loop, UV_RUN_NOWAIT);
  }
  support_loop_run(&batch.loop);
  for (i = 0; i < COUNT(counts); i++) {
    check_done(&jobs[i], 0, counts[i]);
    ck_assert_uint_eq(jobs[i].turn, i + 1);
  }
  batch_end(&batch);
}
END_TEST

START_TEST(who_cannot_wait_for_want_of_memory_sends_nothing) {
  batch_t batch;
  size_t n;
  job_t job;
  int err;

  for (n = 1;; n++) {
    support_loop_init(&batch.loop);
    ck_assert_int_eq(uvch_mpsc_init(NULL, &batch.rx, &batch.tx, 8, 4), 0);
    support_alloc_fail(n);
    if (_i == 0)
      err = try_job(&batch.loop, &job, &batch.tx, outgoing, 10);
    else
      err = uvch_mpsc_send_many_timedwait(&batch.tx, outgoing, 10, 1);
    support_alloc_fail(0);
    if (err != UV_ENOMEM)
      break;
    ck_assert_uint_eq(uvch_mpsc_receiver_len(&batch.rx), 0);
    support_close(&batch.rx);
    support_drop_sender(&batch.tx);
    support_loop_end(&batch.loop);
  }
  ck_assert_uint_gt(n, 2); /* the ring, the queue ... */
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&batch.rx), 4);
  support_close(&batch.rx);
  support_drop_sender(&batch.tx);
  support_loop_end(&batch.loop);
  ck_assert_int_eq(_i == 0 ? job.status : err, _i == 0 ? UV_EPIPE : 4);
}
END_TEST

/* Threads that wait. */

typedef struct sender_s {
  uvch_mpsc_sender_t* tx;
  const void* items;
  size_t count;
  uint64_t timeout;
  _Atomic(long) number;
  int result;
  uv_thread_t thread;
} sender_t;

static void sender_work(void* arg) {
  sender_t* sender = arg;

  atomic_store(&sender->number, support_thread_number());
  sender->result = uvch_mpsc_send_many_timedwait(sender->tx, sender->items, sender->count, sender->timeout);
}

static void sender_start(sender_t* sender, uvch_mpsc_sender_t* tx, const void* items, size_t count) {
  memset(sender, 0, sizeof(*sender));
  sender->tx = tx;
  sender->items = items;
  sender->count = count;
  sender->timeout = UINT64_MAX;
  support_spawn(&sender->thread, sender_work, sender);
}

static int sender_join(sender_t* sender) {
  support_join(&sender->thread);
  return sender->result;
}

START_TEST(a_thread_sends_more_messages_than_the_capacity) {
  batch_t batch;
  sender_t sender;
  size_t count;

  batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
  count = 3 * least(batch.capacity, 1500) + 2;
  write_items(outgoing, batch.size, 0, count);
  sender_start(&sender, &batch.tx, outgoing, count);
  while (batch.received < count) {
    int n = uvch_mpsc_recv_many_wait(&batch.rx, incoming, 100);
    support_check(n > 0 && n <= 100);
    support_check(are_items(incoming, batch.size, batch.size, batch.received, (size_t) n));
    batch.received += (size_t) n;
  }
  ck_assert_int_eq(sender_join(&sender), (int) count);
  ck_assert_int_eq(take_many(&batch, 1), UV_EAGAIN);
  batch_end(&batch);
}
END_TEST

START_TEST(a_thread_that_could_send_a_part_in_its_time_says_so) {
  batch_t batch;

  batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
  write_items(outgoing, batch.size, 0, 2 * batch.capacity);
  ck_assert_int_eq(uvch_mpsc_send_many_timedwait(&batch.tx, outgoing, 2 * batch.capacity, 0), (int) batch.capacity);
  ck_assert_int_eq(uvch_mpsc_send_many_timedwait(&batch.tx, outgoing, 1, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(uvch_mpsc_send_many_timedwait(&batch.tx, outgoing, 2, 1000000), UV_ETIMEDOUT);
  ck_assert_int_eq(take_many(&batch, 1), 1);
  write_items(outgoing, batch.size, batch.capacity, 3);
  ck_assert_int_eq(uvch_mpsc_send_many_timedwait(&batch.tx, outgoing, 3, 1000000), 1);
  ck_assert_int_eq(take_many(&batch, MANY), (int) batch.capacity);
  ck_assert_int_eq(take_many(&batch, 1), UV_EAGAIN);
  ck_assert_uint_eq(uvch_mpsc_sender_capacity(&batch.tx), batch.capacity);
  write_items(outgoing, batch.size, batch.received, batch.capacity);
  ck_assert_int_eq(uvch_mpsc_send_many_timedwait(&batch.tx, outgoing, batch.capacity, 0), (int) batch.capacity);
  ck_assert_int_eq(take_many(&batch, MANY), (int) batch.capacity);
  batch_end(&batch);
}
END_TEST

START_TEST(a_thread_that_a_close_wakes_says_how_many_are_in) {
  sender_t sender;
  batch_t batch;
  size_t taken;
  int i;

  for (i = 0; i < 4; i++) {
    batch_init(&batch, false, CAPACITY, 8);
    taken = i / 2 == 0 ? 0 : CAPACITY / 2 + 1;
    write_items(outgoing, 8, 0, 3 * CAPACITY);
    sender_start(&sender, &batch.tx, outgoing, 3 * CAPACITY);
    support_until_blocked(&sender.number);
    ck_assert_int_eq(take_many(&batch, taken), (int) taken);
    if (i % 2 == 0) {
      batch_close(&batch);
      ck_assert_uint_eq(batch.dropped, CAPACITY);
    } else {
      ck_assert_int_eq(uvch_mpsc_recv_shutdown(&batch.rx), 0);
    }
    ck_assert_int_eq(sender_join(&sender), (int) (CAPACITY + taken));
    batch_end(&batch);
  }
}
END_TEST

START_TEST(a_thread_that_a_close_wakes_with_none_in_gets_an_error) {
  sender_t sender;
  batch_t batch;
  int i;

  for (i = 0; i < 2; i++) {
    batch_init(&batch, false, CAPACITY, 8);
    ck_assert_int_eq(put_many(&batch, CAPACITY), (int) CAPACITY);
    sender_start(&sender, &batch.tx, incoming, 3);
    support_until_blocked(&sender.number);
    if (i == 0)
      batch_close(&batch);
    else
      ck_assert_int_eq(uvch_mpsc_recv_shutdown(&batch.rx), 0);
    ck_assert_int_eq(sender_join(&sender), UV_EPIPE);
    batch_end(&batch);
  }
}
END_TEST

static void send_wait_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;
  uint64_t value = 0;

  if (!take_batch(batch, status, first, stride, count))
    return;
  support_check_eq(uvch_mpsc_send_many_wait(&batch->tx, &value, 1), UV_EPERM);
  support_check_eq(uvch_mpsc_send_many_timedwait(&batch->tx, &value, 1, 0), UV_EPERM);
  support_drop_sender(&batch->tx);
}

START_TEST(the_receivers_own_loop_must_not_wait_to_send_many) {
  batch_t batch;

  batch_init(&batch, true, CAPACITY, 8);
  ck_assert_int_eq(put_many(&batch, 1), 1);
  start_many(&batch, 10, send_wait_on_recv);
  support_loop_run(&batch.loop);
  ck_assert_uint_eq(batch.received, 1);
  ck_assert_uint_eq(batch.ends, 1);
  batch_end(&batch);
}
END_TEST

/* recv_many_start. */

/* Sends on, in batches of many sizes, until the total is reached. */
static void feed(batch_t* batch) {
  while (batch->sent < batch->total) {
    uint64_t count = batch->sent * 7 % 37 + 1;
    if (put_many(batch, least(count, batch->total - batch->sent)) < (int) count)
      break;
    if (batch->capacity == UVCH_UNBOUNDED && batch->sent > batch->received + 400)
      return;
  }
  if (batch->sent == batch->total)
    uvch_mpsc_sender_close(&batch->tx);
}

/* For callbacks that may leave nothing behind that brings the next one. */
static void run_and_feed(batch_t* batch) {
  while (batch->ends == 0) {
    uv_run(&batch->loop, UV_RUN_NOWAIT);
    feed(batch);
  }
}

static void feed_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;

  if (take_batch(batch, status, first, stride, count))
    feed(batch);
}

START_TEST(a_receiver_of_batches_gets_every_message_once_and_in_order) {
  batch_t batch;
  size_t i;

  for (i = 0; i < COUNT(maxes); i++) {
    batch_init(&batch, true, SHAPE_CAPACITY, SHAPE_SIZE);
    batch.total = 4000;
    feed(&batch);
    start_many(&batch, maxes[i], feed_on_recv);
    support_loop_run(&batch.loop);
    ck_assert_uint_eq(batch.received, batch.total);
    ck_assert_uint_eq(batch.ends, 1);
    batch_end(&batch);
  }
}
END_TEST

static void refill_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;

  if (!take_batch(batch, status, first, stride, count))
    return;
  if (batch->sent < batch->total) {
    support_check_eq(uvch_mpsc_sender_capacity(&batch->tx), count);
    support_check_eq(put_many(batch, count + 1), count);
    support_check_eq(put_many(batch, 1), UV_EAGAIN);
    support_check(are_items(first, stride, batch->size, batch->received - count, count)); /* still good */
  } else {
    uvch_mpsc_sender_close(&batch->tx);
  }
}

START_TEST(the_room_of_a_batch_is_given_back_before_its_callback) {
  batch_t batch;
  size_t i;

  for (i = 0; i < COUNT(maxes); i++) {
    batch_init(&batch, true, SHAPE_CAPACITY, SHAPE_SIZE);
    batch.total = 5 * batch.capacity + 200;
    ck_assert_int_eq(put_many(&batch, batch.capacity), (int) batch.capacity);
    start_many(&batch, maxes[i], refill_on_recv);
    support_loop_run(&batch.loop);
    ck_assert_uint_eq(batch.received, batch.sent);
    ck_assert_uint_ge(batch.received, batch.total);
    ck_assert_uint_eq(batch.largest, least(least(maxes[i], batch.capacity), 64)); /* what may come does come */
    batch_end(&batch);
  }
}
END_TEST

static void where_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;
  struct uvch__core* c = rx->core;
  uint64_t begin;

  if (!take_batch(batch, status, first, stride, count))
    return;
  support_check_eq(c->next, batch->received);
  begin = c->next - count;
  if (batch->capacity != UVCH_UNBOUNDED) {
    support_check((begin & c->u.ring.mask) + count <= c->u.ring.mask + 1);
  } else {
    struct uvch__block_head* h = atomic_load(&c->first);
    support_check(begin >= h->base && begin + count <= h->base + h->count);
  }
  feed(batch);
}

START_TEST(a_batch_ends_where_the_storage_ends) {
  batch_t batch;
  size_t i;

  for (i = 0; i < COUNT(maxes); i++) {
    batch_init(&batch, true, CAPACITY, 8);
    batch.total = 5000;
    feed(&batch);
    start_many(&batch, maxes[i], where_on_recv);
    support_loop_run(&batch.loop);
    ck_assert_uint_eq(batch.received, batch.total);
    batch_end(&batch);
  }
}
END_TEST

/* What a callback may do. */

static void one_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item);

static void swap_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;

  if (!take_batch(batch, status, first, stride, count))
    return;
  support_check_eq(uvch_mpsc_recv_many_start(rx, 3, swap_on_recv), UV_EALREADY);
  support_check_eq(uvch_mpsc_recv_stop(rx), 0);
  support_check_eq(uvch_mpsc_recv_start(rx, one_on_recv), 0);
  feed(batch);
  support_check(are_items(first, stride, batch->size, batch->received - count, count));
}

static void one_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  batch_t* batch = rx->data;

  if (status == UV_EOF) {
    support_check(item == NULL);
    batch->ends++;
    batch_close(batch);
    return;
  }
  support_check(are_items(item, 0, batch->size, batch->received, 1));
  batch->received++;
  if (batch->received % 3 != 0)
    return;
  support_check_eq(uvch_mpsc_recv_stop(rx), 0);
  support_check_eq(uvch_mpsc_recv_many_start(rx, batch->max, swap_on_recv), 0);
}

START_TEST(a_callback_may_start_the_other_form) {
  batch_t batch;
  size_t i;

  for (i = 0; i < COUNT(maxes); i++) {
    batch_init(&batch, true, SHAPE_CAPACITY, SHAPE_SIZE);
    batch.total = 1000;
    feed(&batch);
    start_many(&batch, maxes[i], swap_on_recv);
    run_and_feed(&batch);
    ck_assert_uint_eq(batch.received, batch.total);
    batch_end(&batch);
  }
}
END_TEST

static void stop_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;

  support_check_eq(status, 0);
  take_batch(batch, status, first, stride, count);
  support_check_eq(uvch_mpsc_recv_stop(rx), 0);
}

START_TEST(a_callback_may_stop_and_the_rest_stays) {
  size_t count = least(CAPACITY, 200);
  batch_t batch;
  size_t left;
  size_t i;

  batch_init(&batch, true, CAPACITY, 8);
  ck_assert_int_eq(put_many(&batch, count), (int) count);
  for (i = 1; batch.received < count; i++) {
    uint64_t before = batch.received;
    start_many(&batch, i, stop_on_recv);
    support_loop_run(&batch.loop); /* nothing is active once it stopped */
    ck_assert_uint_eq(batch.callbacks, i);
    ck_assert_uint_gt(batch.received, before);
    ck_assert_uint_eq(uvch_mpsc_receiver_len(&batch.rx), count - batch.received);
    left = count - batch.received;
    if (i == 3 && left > 0)
      ck_assert_int_eq(take_many(&batch, 2), (int) least(2, left));
  }
  batch_end(&batch);
}
END_TEST

static void close_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;

  support_check_eq(status, 0);
  take_batch(batch, status, first, stride, count);
  if (batch->callbacks < 3 && batch->received < batch->sent)
    return;
  if (batch->depth++ == 0 && batch->received < batch->sent)
    uv_run(&batch->loop, UV_RUN_NOWAIT); /* a batch in a batch */
  if (!batch->closed)
    batch_close(batch);
  support_check_eq(put_many(batch, 1), UV_EPIPE);
  support_check_eq(uvch_mpsc_sender_capacity(&batch->tx), batch->capacity);
}

static void close_and_look_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;
  uint64_t number = batch->received;

  close_on_recv(rx, status, first, stride, count);
  support_check(are_items(first, stride, batch->size, number, count)); /* good until the return */
}

START_TEST(a_callback_may_close_and_its_messages_stay_good) {
  batch_t batch;
  size_t i;

  for (i = 0; i < COUNT(maxes); i++) {
    batch_init(&batch, true, SHAPE_CAPACITY, SHAPE_SIZE);
    ck_assert_int_gt(put_many(&batch, least(batch.capacity, 1000)), 0);
    start_many(&batch, maxes[i], close_and_look_on_recv);
    support_loop_run(&batch.loop);
    ck_assert(batch.closed);
    ck_assert_uint_eq(batch.received + batch.dropped, batch.sent);
    batch_end(&batch);
  }
}
END_TEST

static void shutdown_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;

  if (take_batch(batch, status, first, stride, count)) {
    support_check_eq(uvch_mpsc_recv_shutdown(rx), 0);
    support_check_eq(put_many(batch, 1), UV_EPIPE);
  }
}

START_TEST(a_callback_may_shut_down_and_the_rest_still_comes) {
  size_t count = least(CAPACITY, 300);
  batch_t batch;
  size_t i;

  for (i = 0; i < COUNT(maxes); i++) {
    batch_init(&batch, true, CAPACITY, 8);
    ck_assert_int_eq(put_many(&batch, count), (int) count);
    start_many(&batch, maxes[i], shutdown_on_recv);
    support_loop_run(&batch.loop);
    ck_assert_uint_eq(batch.received, count);
    ck_assert_uint_eq(batch.ends, 1);
    batch_end(&batch);
  }
}
END_TEST

static void nest_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;
  uint64_t number = batch->received;

  if (!take_batch(batch, status, first, stride, count))
    return;
  feed(batch);
  if (batch->depth < 3) {
    batch->depth++;
    uv_run(&batch->loop, UV_RUN_NOWAIT);
    uv_run(&batch->loop, UV_RUN_NOWAIT);
    batch->depth--;
  }
  support_check(are_items(first, stride, batch->size, number, count));
}

START_TEST(a_callback_may_run_the_loop_and_its_messages_stay_good) {
  batch_t batch;
  size_t i;

  for (i = 0; i < COUNT(maxes); i++) {
    batch_init(&batch, true, SHAPE_CAPACITY, SHAPE_SIZE);
    batch.total = 2000;
    feed(&batch);
    start_many(&batch, maxes[i], nest_on_recv);
    run_and_feed(&batch);
    ck_assert_uint_eq(batch.received, batch.total);
    ck_assert_uint_eq(batch.ends, 1);
    batch_end(&batch);
  }
}
END_TEST

static void take_more_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;
  uint64_t number = batch->received;
  unsigned char item[100];
  int n;

  if (!take_batch(batch, status, first, stride, count))
    return;
  feed(batch);
  n = take_many(batch, batch->callbacks % 100 + 1);
  support_check(n > 0 || n == UV_EAGAIN || n == UV_EOF);
  n = uvch_mpsc_try_recv(rx, item);
  support_check(n == 0 || n == UV_EAGAIN || n == UV_EOF);
  if (n == 0)
    support_check(are_items(item, 0, batch->size, batch->received++, 1));
  feed(batch);
  support_check(are_items(first, stride, batch->size, number, count));
}

START_TEST(a_callback_may_take_more_and_its_messages_stay_good) {
  batch_t batch;
  size_t i;

  for (i = 0; i < COUNT(maxes); i++) {
    batch_init(&batch, true, SHAPE_CAPACITY, SHAPE_SIZE);
    batch.total = 4000;
    feed(&batch);
    start_many(&batch, maxes[i], take_more_on_recv);
    run_and_feed(&batch);
    ck_assert_uint_eq(batch.received, batch.total);
    batch_end(&batch);
  }
}
END_TEST

static void end_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  batch_t* batch = rx->data;

  (void) stride;
  support_check_eq(status, UV_EOF);
  support_check(first == NULL && count == 0);
  support_check_eq(uvch_is_active((uvch_handle_t*) rx), 0);
  batch->ends++;
}

START_TEST(the_end_comes_once_for_every_start) {
  batch_t batch;
  size_t i;

  batch_init(&batch, true, CAPACITY, 8);
  support_drop_sender(&batch.tx);
  for (i = 1; i < 4; i++) {
    start_many(&batch, i, end_on_recv);
    support_loop_run(&batch.loop);
    ck_assert_uint_eq(batch.ends, i);
  }
  batch_end(&batch);
}
END_TEST

START_TEST(a_receiver_of_batches_that_cannot_start_is_refused) {
  batch_t batch;
  batch_t plain;

  batch_init(&batch, true, CAPACITY, 8);
  batch_init(&plain, false, CAPACITY, 8);
  ck_assert_int_eq(uvch_mpsc_recv_many_start(&batch.rx, 0, feed_on_recv), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_many_start(&batch.rx, 5, NULL), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_many_start(NULL, 5, feed_on_recv), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_many_start(&plain.rx, 5, feed_on_recv), UV_EINVAL);
  ck_assert_int_eq(uvch_is_active((uvch_handle_t*) &batch.rx), 0);
  start_many(&batch, 5, feed_on_recv);
  ck_assert_int_eq(uvch_mpsc_recv_many_start(&batch.rx, 5, feed_on_recv), UV_EALREADY);
  ck_assert_int_eq(uvch_mpsc_recv_start(&batch.rx, one_on_recv), UV_EALREADY);
  batch_close(&batch);
  ck_assert_int_eq(uvch_mpsc_recv_many_start(&batch.rx, 5, feed_on_recv), UV_EBADF);
  batch_end(&batch);
  batch_end(&plain);
}
END_TEST

/* Room and who waits for it. */

START_TEST(as_many_as_a_batch_took_are_served_in_turn) {
  enum { JOBS = 6, TAKEN = 3 };
  size_t capacity = CAPACITY;
  size_t taken = least(TAKEN, capacity);
  job_t jobs[JOBS];
  batch_t batch;
  size_t i;

  turns = 0;
  batch_init(&batch, false, capacity, 8);
  ck_assert_int_eq(put_many(&batch, capacity), (int) capacity);
  for (i = 0; i < JOBS; i++)
    request(&batch, &jobs[i], outgoing + 8 * i, 1);
  ck_assert_int_eq(take_many(&batch, taken), (int) taken);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&batch.rx), capacity);
  run_a_while(&batch);
  for (i = 0; i < JOBS; i++) {
    ck_assert_uint_eq(jobs[i].calls, i < taken ? 1 : 0);
    if (i < taken)
      ck_assert_uint_eq(jobs[i].turn, i + 1);
  }
  while (batch.received < batch.sent)
    ck_assert_int_gt(take_many(&batch, TAKEN), 0);
  support_loop_run(&batch.loop);
  for (i = 0; i < JOBS; i++)
    check_done(&jobs[i], 0, 1);
  batch_end(&batch);
}
END_TEST

START_TEST(as_many_as_a_callback_got_are_served_in_turn) {
  enum { JOBS = 6, TAKEN = 3 };
  size_t capacity = CAPACITY;
  size_t taken = least(TAKEN, capacity);
  job_t jobs[JOBS];
  batch_t batch;
  size_t i;

  turns = 0;
  batch_init(&batch, true, capacity, 8);
  ck_assert_int_eq(put_many(&batch, capacity), (int) capacity);
  for (i = 0; i < JOBS; i++)
    request(&batch, &jobs[i], outgoing + 8 * i, 1);
  start_many(&batch, TAKEN, stop_on_recv);
  run_a_while(&batch);
  ck_assert_uint_eq(batch.received, taken);
  ck_assert_uint_eq(uvch_mpsc_receiver_len(&batch.rx), capacity);
  for (i = 0; i < JOBS; i++) {
    ck_assert_uint_eq(jobs[i].calls, i < taken ? 1 : 0);
    if (i < taken)
      ck_assert_uint_eq(jobs[i].turn, i + 1);
  }
  batch_close(&batch);
  support_loop_run(&batch.loop);
  for (i = taken; i < JOBS; i++)
    check_done(&jobs[i], UV_EPIPE, 0);
  batch_end(&batch);
}
END_TEST

/* try_recv_many and recv_many_wait. */

START_TEST(a_limit_of_0_gives_0_in_every_state) {
  batch_t batch;
  int i;

  batch_init(&batch, false, CAPACITY, 8);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(uvch_mpsc_try_recv_many(&batch.rx, NULL, 0), 0);
    ck_assert_int_eq(uvch_mpsc_recv_many_wait(&batch.rx, NULL, 0), 0);
    ck_assert_int_eq(uvch_mpsc_recv_many_timedwait(&batch.rx, NULL, 0, 0), 0);
    if (i == 0) {
      ck_assert_int_eq(put_many(&batch, 1), 1);
    } else if (i == 1) {
      support_drop_sender(&batch.tx);
      ck_assert_int_eq(take_many(&batch, 0), 0);
      ck_assert_int_eq(take_many(&batch, 5), 1);
    }
  }
  ck_assert_int_eq(take_many(&batch, 1), UV_EOF);
  batch_end(&batch);
}
END_TEST

START_TEST(a_limit_takes_a_part_and_the_end_stays_the_end) {
  batch_t batch;
  size_t count;
  int i;

  batch_init(&batch, false, SHAPE_CAPACITY, SHAPE_SIZE);
  ck_assert_int_eq(take_many(&batch, 10), UV_EAGAIN);
  count = least(batch.capacity, 1100);
  ck_assert_int_eq(put_many(&batch, count), (int) count);
  while (batch.received < count) {
    size_t left = count - batch.received;
    support_check_eq(take_many(&batch, 13), least(left, 13));
    support_check_eq(uvch_mpsc_receiver_len(&batch.rx), left - least(left, 13));
  }
  ck_assert_int_eq(take_many(&batch, 10), UV_EAGAIN);
  ck_assert_int_eq(put_many(&batch, 1), 1);
  support_drop_sender(&batch.tx);
  ck_assert_int_eq(take_many(&batch, 10), 1);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(take_many(&batch, 10), UV_EOF);
    ck_assert_int_eq(uvch_mpsc_recv_many_wait(&batch.rx, incoming, 10), UV_EOF);
    ck_assert_int_eq(uvch_mpsc_recv_many_timedwait(&batch.rx, incoming, 10, 0), UV_EOF);
  }
  batch_end(&batch);
}
END_TEST

START_TEST(what_cannot_be_taken_is_refused) {
  uint64_t items[2];
  batch_t batch;
  batch_t bound;

  batch_init(&batch, false, CAPACITY, 8);
  batch_init(&bound, true, CAPACITY, 8);
  ck_assert_int_eq(uvch_mpsc_try_recv_many(NULL, items, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_recv_many(&batch.rx, NULL, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_try_recv_many(&batch.rx, items, (size_t) INT_MAX + 1), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_many_wait(NULL, items, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_many_wait(&batch.rx, NULL, 2), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_many_timedwait(&batch.rx, items, SIZE_MAX, 0), UV_EINVAL);
  ck_assert_int_eq(uvch_mpsc_recv_many_wait(&bound.rx, items, 2), UV_EPERM);
  ck_assert_int_eq(uvch_mpsc_recv_many_timedwait(&bound.rx, items, 2, 0), UV_EPERM);
  batch_close(&batch);
  ck_assert_int_eq(uvch_mpsc_try_recv_many(&batch.rx, items, 2), UV_EBADF);
  ck_assert_int_eq(uvch_mpsc_recv_many_wait(&batch.rx, items, 2), UV_EBADF);
  batch_end(&batch);
  batch_end(&bound);
}
END_TEST

typedef struct taker_s {
  uvch_mpsc_receiver_t* rx;
  uint64_t items[8];
  _Atomic(long) number;
  int result;
  uv_thread_t thread;
} taker_t;

static void taker_work(void* arg) {
  taker_t* taker = arg;

  atomic_store(&taker->number, support_thread_number());
  taker->result = uvch_mpsc_recv_many_wait(taker->rx, taker->items, COUNT(taker->items));
}

START_TEST(a_waiting_receiver_waits_for_one_and_not_for_more) {
  batch_t batch;
  taker_t taker;

  batch_init(&batch, false, CAPACITY, 8);
  memset(&taker, 0, sizeof(taker));
  taker.rx = &batch.rx;
  support_spawn(&taker.thread, taker_work, &taker);
  support_until_blocked(&taker.number);
  ck_assert_int_eq(put_many(&batch, 1), 1);
  support_join(&taker.thread);
  ck_assert_int_eq(taker.result, 1);
  ck_assert_uint_eq(taker.items[0], 0);
  batch.received = 1;
  if (CAPACITY >= 3) {
    ck_assert_int_eq(put_many(&batch, 3), 3);
    taker_work(&taker);
    ck_assert_int_eq(taker.result, 3);
    ck_assert_uint_eq(taker.items[2], 3);
    batch.received = 4;
  }
  if (CAPACITY >= 20) {
    ck_assert_int_eq(put_many(&batch, 20), 20);
    taker_work(&taker);
    ck_assert_int_eq(taker.result, 8);
    batch.received += 8;
    ck_assert_int_eq(take_many(&batch, 20), 12);
  }
  batch_end(&batch);
}
END_TEST

START_TEST(a_waiting_receiver_of_batches_is_told_the_end) {
  batch_t batch;
  taker_t taker;

  batch_init(&batch, false, CAPACITY, 8);
  memset(&taker, 0, sizeof(taker));
  taker.rx = &batch.rx;
  support_spawn(&taker.thread, taker_work, &taker);
  support_until_blocked(&taker.number);
  support_drop_sender(&batch.tx);
  support_join(&taker.thread);
  ck_assert_int_eq(taker.result, UV_EOF);
  batch_end(&batch);
}
END_TEST

START_TEST(a_timed_receiver_of_batches_takes_what_is_there_before_it_looks_at_the_clock) {
  uint64_t begin;
  batch_t batch;
  int count;

  batch_init(&batch, false, CAPACITY, 8);
  ck_assert_int_eq(uvch_mpsc_recv_many_timedwait(&batch.rx, incoming, 5, 0), UV_ETIMEDOUT);
  begin = uv_hrtime();
  ck_assert_int_eq(uvch_mpsc_recv_many_timedwait(&batch.rx, incoming, 5, 5000000), UV_ETIMEDOUT);
  ck_assert_uint_ge(uv_hrtime() - begin, 5000000);
  count = put_many(&batch, least(CAPACITY, 4));
  ck_assert_int_eq(uvch_mpsc_recv_many_timedwait(&batch.rx, incoming, 5, 0), count);
  ck_assert(are_items(incoming, 8, 8, 0, (size_t) count));
  ck_assert_int_eq(take_many(&batch, 5), UV_EAGAIN);
  batch.received = batch.sent;
  batch_end(&batch);
}
END_TEST

START_TEST(a_receiver_of_batches_without_memory_to_sleep_takes_nothing) {
  batch_t batch;

  support_loop_init(&batch.loop);
  ck_assert_int_eq(uvch_mpsc_init(NULL, &batch.rx, &batch.tx, 8, CAPACITY), 0);
  support_alloc_fail_from(1);
  ck_assert_int_eq(uvch_mpsc_recv_many_wait(&batch.rx, incoming, 5), UV_ENOMEM);
  ck_assert_int_eq(uvch_mpsc_recv_many_timedwait(&batch.rx, incoming, 5, 1000000), UV_ENOMEM);
  support_alloc_fail_from(0);
  support_put(&batch.tx, 3);
  ck_assert_int_eq(uvch_mpsc_recv_many_wait(&batch.rx, incoming, 5), 1);
  support_close(&batch.rx);
  support_drop_sender(&batch.tx);
  support_loop_close(&batch.loop);
}
END_TEST

/* Fairness. */

typedef struct gauge_s {
  batch_t batch;
  uv_check_t check;
  size_t last;
  size_t most;
} gauge_t;

static void gauge_on_check(uv_check_t* check) {
  gauge_t* gauge = check->data;
  size_t taken = gauge->batch.received - gauge->last;

  gauge->last = gauge->batch.received;
  gauge->most = taken > gauge->most ? taken : gauge->most;
}

static void gauge_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  gauge_t* gauge = rx->data;

  if (!take_batch(&gauge->batch, status, first, stride, count))
    uv_close((uv_handle_t*) &gauge->check, NULL);
}

START_TEST(the_budget_of_a_pass_cuts_batches) {
  size_t capacity = _i == 0 ? 1000 : UVCH_UNBOUNDED;
  gauge_t gauge;

  batch_init(&gauge.batch, true, capacity, 8);
  gauge.last = gauge.most = 0;
  gauge.batch.rx.data = &gauge;
  uv_check_init(&gauge.batch.loop, &gauge.check);
  gauge.check.data = &gauge;
  uv_check_start(&gauge.check, gauge_on_check);
  ck_assert_int_eq(uvch_loop_configure(&gauge.batch.loop, UVCH_LOOP_BUDGET_MESSAGES, 10), 0);
  ck_assert_int_eq(uvch_loop_configure(&gauge.batch.loop, UVCH_LOOP_BUDGET_TIME, UINT64_C(1000000000000)), 0);
  ck_assert_int_eq(put_many(&gauge.batch, 1000), 1000);
  support_drop_sender(&gauge.batch.tx);
  start_many(&gauge.batch, 1000, gauge_on_recv);
  support_loop_run(&gauge.batch.loop);
  ck_assert_uint_eq(gauge.batch.received, 1000);
  ck_assert_uint_eq(gauge.most, 10);
  ck_assert_uint_le(gauge.batch.largest, 10);
  batch_end(&gauge.batch);
}
END_TEST

/* A timer on a loop that batches flood. Time in which the thread did not run starves nobody and does not count. */

#define TICK_MS 10
#define TICKS 50

typedef struct flood_s {
  uv_loop_t loop;
  uv_timer_t timer;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uv_thread_t thread;
  size_t ticks;
  size_t received;
  uint64_t begin_cpu;
  uint64_t begin_wall;
  double wanted;
  _Atomic(bool) over;
  support_result_t result;
} flood_t;

static uint64_t thread_time(void) {
  struct timespec now;

  ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
  return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static void flood_produce(void* arg) {
  static uint64_t items[100];
  flood_t* flood = arg;
  int n;

  while (!atomic_load(&flood->over)) {
    if (uvch_mpsc_sender_len(&flood->tx) > 200000) {
      support_yield();
      continue;
    }
    n = uvch_mpsc_try_send_many(&flood->tx, items, COUNT(items));
    if (n == UV_EAGAIN)
      support_yield();
    else if (!support_expect(&flood->result, n > 0))
      break;
  }
  support_expect_eq(&flood->result, uvch_mpsc_sender_close(&flood->tx), 0);
}

static void flood_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  flood_t* flood = rx->data;

  (void) first;
  (void) stride;
  flood->received += count;
  if (status == UV_EOF)
    support_close(rx);
}

static void flood_on_tick(uv_timer_t* timer) {
  flood_t* flood = timer->data;
  double wall = (double) (uv_hrtime() - flood->begin_wall);
  double cpu = (double) (thread_time() - flood->begin_cpu);

  flood->ticks++;
  flood->wanted = (cpu < wall ? cpu : wall) / (TICK_MS * 1e6);
  if (flood->wanted >= TICKS || wall > 3e6 * TICK_MS * TICKS) {
    atomic_store(&flood->over, true);
    if (!uv_is_closing((uv_handle_t*) timer))
      uv_close((uv_handle_t*) timer, NULL);
  }
}

static double flood_run(size_t capacity) {
  static flood_t flood;

  memset(&flood, 0, sizeof(flood));
  support_loop_init(&flood.loop);
  uv_timer_init(&flood.loop, &flood.timer);
  flood.timer.data = &flood;
  ck_assert_int_eq(uvch_mpsc_init(&flood.loop, &flood.rx, &flood.tx, sizeof(uint64_t), capacity), 0);
  flood.rx.data = &flood;
  ck_assert_int_eq(uvch_mpsc_recv_many_start(&flood.rx, 1000, flood_on_recv), 0);
  support_spawn(&flood.thread, flood_produce, &flood);
  flood.begin_wall = uv_hrtime();
  flood.begin_cpu = thread_time();
  uv_timer_start(&flood.timer, flood_on_tick, TICK_MS, TICK_MS);
  support_loop_end(&flood.loop);
  support_join(&flood.thread);
  support_result_check(&flood.result);
  ck_assert_uint_gt(flood.received, 0);
  return (double) flood.ticks / flood.wanted;
}

START_TEST(a_timer_on_a_loop_flooded_by_batches_keeps_80_of_100_ticks) {
  static const size_t bounds[] = {1024, UVCH_UNBOUNDED};
  double best = 0;
  double share;
  int i;

  for (i = 0; i < 3 && best < 0.8; i++) {
    share = flood_run(bounds[_i]);
    best = share > best ? share : best;
  }
  ck_assert_msg(best >= 0.8, "%.0f of 100 ticks", 100 * best);
}
END_TEST

/* Random walks: any call of batches at any time, in callbacks and nested runs too. The numbers of the messages go up in the order
 * of the calls; calls that did not put all in leave gaps. */

#define WALK_DEPTH 3
#define WALK_ITEMS 12

typedef struct walk_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint32_t seed;
  int depth;
  bool closed;
  uint64_t number; /* of the next message */
  uint64_t last;   /* received or dropped */
  size_t sent;
  size_t received;
  size_t dropped;
  size_t requests;
  size_t answers;
} walk_t;

typedef struct walk_req_s {
  uvch_mpsc_send_t req;
  uint64_t items[WALK_ITEMS];
  size_t count;
  walk_t* walk;
} walk_req_t;

static uint32_t walk_random(walk_t* walk, uint32_t below) {
  walk->seed = walk->seed * 1664525u + 1013904223u;
  return (walk->seed >> 8) % below;
}

static size_t walk_number(walk_t* walk, uint64_t* items) {
  size_t count = walk_random(walk, WALK_ITEMS) + 1;
  size_t i;

  for (i = 0; i < count; i++)
    items[i] = ++walk->number;
  return count;
}

static void walk_got(walk_t* walk, const void* items, size_t stride, size_t count) {
  size_t i;

  for (i = 0; i < count; i++) {
    uint64_t number = *(const uint64_t*) (const void*) ((const char*) items + i * stride);
    support_check(number > walk->last && number <= walk->number);
    walk->last = number;
  }
}

static void walk_step(walk_t* walk);

static void walk_nest(walk_t* walk) {
  if (walk->depth == WALK_DEPTH)
    return;
  walk->depth++;
  uv_run(&walk->loop, UV_RUN_NOWAIT);
  walk->depth--;
}

static void walk_on_drop(void* item, void* arg) {
  walk_t* walk = arg;

  walk_got(walk, item, 0, 1);
  walk->dropped++;
  if (walk_random(walk, 4) == 0)
    walk_nest(walk);
}

static void walk_on(walk_t* walk) {
  if (walk->depth == WALK_DEPTH)
    return;
  walk->depth++;
  walk_step(walk);
  walk_step(walk);
  walk->depth--;
}

static void walk_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  walk_t* walk = rx->data;

  support_check(!walk->closed);
  if (status == 0)
    walk_got(walk, item, 0, 1);
  walk->received += status == 0;
  walk_on(walk);
}

static void walk_on_recv_many(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  walk_t* walk = rx->data;
  uint64_t begin;
  uint64_t end;

  support_check(!walk->closed);
  support_check((status == 0) == (first != NULL) && (status == 0) == (count > 0));
  walk_got(walk, first, stride, count);
  walk->received += count;
  begin = count > 0 ? *(uint64_t*) first : 0;
  end = walk->last;
  walk_on(walk);
  if (count > 0)
    support_check(*(uint64_t*) first == begin && *(uint64_t*) (void*) ((char*) first + (count - 1) * stride) == end);
}

static void walk_on_send(uvch_mpsc_send_t* base, int status) {
  walk_req_t* req = base->data;

  support_check(status == 0 || status == UV_EPIPE || status == UV_ECANCELED);
  support_check(base->sent <= req->count && (status != 0 || base->sent == req->count));
  req->walk->sent += base->sent;
  req->walk->answers++;
  free(req);
}

static void walk_request(walk_t* walk) {
  walk_req_t* req = calloc(1, sizeof(*req));

  support_check(req != NULL);
  req->walk = walk;
  req->count = walk_number(walk, req->items);
  req->req.data = req;
  if (uvch_mpsc_send_many(&walk->loop, &req->req, &walk->tx, req->items, req->count, walk_on_send) != 0) {
    free(req);
    return;
  }
  walk->requests++;
  if (walk_random(walk, 3) == 0)
    uvch_cancel((uvch_req_t*) &req->req);
}

static void walk_close(walk_t* walk) {
  if (walk->closed)
    return;
  walk->closed = true;
  support_close(&walk->rx);
}

static void walk_take(walk_t* walk) {
  uint64_t items[WALK_ITEMS];
  int n = uvch_mpsc_try_recv_many(&walk->rx, items, walk_random(walk, WALK_ITEMS) + 1);

  if (n > 0) {
    walk_got(walk, items, sizeof(items[0]), (size_t) n);
    walk->received += (size_t) n;
  }
}

static void walk_step(walk_t* walk) {
  uint64_t items[WALK_ITEMS];
  int n;

  switch (walk_random(walk, 14)) {
    case 0:
    case 1:
    case 2:
      n = uvch_mpsc_try_send_many(&walk->tx, items, walk_number(walk, items));
      walk->sent += n > 0 ? (size_t) n : 0;
      break;
    case 3:
      walk_number(walk, items);
      walk->sent += uvch_mpsc_try_send(&walk->tx, items) == 0;
      break;
    case 4:
    case 5:
      walk_request(walk);
      break;
    case 6:
      walk_take(walk);
      break;
    case 7:
      walk_nest(walk);
      break;
    case 8:
      uvch_mpsc_recv_stop(&walk->rx);
      break;
    case 9:
      uvch_mpsc_recv_start(&walk->rx, walk_on_recv);
      break;
    case 10:
    case 11:
      uvch_mpsc_recv_many_start(&walk->rx, walk_random(walk, 2 * WALK_ITEMS) + 1, walk_on_recv_many);
      break;
    case 12:
      if (walk_random(walk, 30) == 0)
        uvch_mpsc_recv_shutdown(&walk->rx);
      else if (walk_random(walk, 30) == 0)
        uvch_mpsc_sender_close(&walk->tx);
      break;
    default:
      if (walk_random(walk, 30) == 0)
        walk_close(walk);
  }
}

static void walk_once(size_t capacity, uint32_t seed) {
  uvch_mpsc_options_t options = {.drop = walk_on_drop};
  walk_t walk = {.seed = seed};
  int i;

  support_loop_init(&walk.loop);
  options.arg = &walk;
  support_check_eq(uvch_mpsc_init_ex(&walk.loop, &walk.rx, &walk.tx, sizeof(uint64_t), capacity, &options), 0);
  walk.rx.data = &walk;
  support_check_eq(uvch_loop_configure(&walk.loop, UVCH_LOOP_HOT_MAX, 0), 0);
  for (i = 0; i < 300; i++)
    walk_step(&walk);
  uvch_mpsc_sender_close(&walk.tx);
  walk_close(&walk);
  support_loop_end(&walk.loop);
  support_check_eq(walk.answers, walk.requests);
  support_check_eq(walk.received + walk.dropped, walk.sent);
}

START_TEST(random_walks_with_batches_keep_the_books_and_the_order) {
  static const size_t bounds[] = {1, 2, 3, 8, 64, UVCH_UNBOUNDED};
  size_t rounds = support_scale(500);
  size_t i;

  for (i = 0; i < rounds; i++)
    walk_once(bounds[_i], (uint32_t) i * 7919 + (uint32_t) _i);
}
END_TEST

/* Several threads. Each call's messages have its number and their places in it; the receiver sees whether anything came
 * between. */

#define SENDERS 8
#define LOT 40 /* most messages of a call */

enum { BY_TRY = 1, BY_TRY_MANY = 2, BY_WAIT = 4, BY_TIMED_WAIT = 8, BY_REQUEST = 16 };

typedef struct piece_s {
  uint32_t sender;
  uint32_t call;
  uint32_t place;
  uint32_t number;
} piece_t;

typedef struct crowd_s crowd_t;

typedef struct member_s {
  crowd_t* crowd;
  uint32_t index;
  uint32_t random;
  uint32_t accepted; /* messages; also the number of the next one */
  uint32_t calls;
  uvch_mpsc_sender_t tx;
  uv_loop_t loop;
  int status;
  uv_thread_t thread;
} member_t;

struct crowd_s {
  member_t members[SENDERS];
  size_t count; /* of members */
  unsigned int how;
  size_t wanted; /* messages of each member; SIZE_MAX: until the channel closes */
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uint32_t next[SENDERS];
  piece_t last;
  size_t received;
  size_t dropped;
  size_t ends;
  size_t wrong;
  support_latch_t ready;
  support_result_t result;
};

static uint32_t member_random(member_t* member, uint32_t below) {
  member->random = member->random * 1664525u + 1013904223u;
  return (member->random >> 8) % below;
}

static size_t member_write(member_t* member, piece_t* pieces, size_t count) {
  size_t i;

  if (member->crowd->wanted - member->accepted < count)
    count = member->crowd->wanted - member->accepted;
  member->calls++;
  for (i = 0; i < count; i++)
    pieces[i] = (piece_t){member->index, member->calls, (uint32_t) i, member->accepted + (uint32_t) i};
  return count;
}

static void member_on_sent(uvch_mpsc_send_t* req, int status) {
  member_t* member = req->data;

  support_expect_eq(&member->crowd->result, member->status, NOT_DONE);
  member->status = req->sent > 0 ? (int) req->sent : status;
  if (status == 0 && req->sent == 0)
    support_result_fail(&member->crowd->result, "a request is done without a message", 0);
}

static int member_request(member_t* member, const piece_t* pieces, size_t count) {
  uvch_mpsc_send_t req;
  int err;

  req.data = member;
  member->status = NOT_DONE;
  err = uvch_mpsc_send_many(&member->loop, &req, &member->tx, pieces, count, member_on_sent);
  if (err != 0)
    return err;
  if (member_random(member, 4) == 0)
    uvch_cancel((uvch_req_t*) &req);
  support_expect_eq(&member->crowd->result, uv_run(&member->loop, UV_RUN_DEFAULT), 0);
  return member->status;
}

/* How many went in, or an error. */
static int member_send(member_t* member, size_t* asked) {
  piece_t pieces[LOT];
  unsigned int how;
  int n;

  do
    how = 1u << member_random(member, 5);
  while ((member->crowd->how & how) == 0);
  *asked = member_write(member, pieces, how == BY_TRY ? 1 : member_random(member, LOT) + 1);
  switch (how) {
    case BY_TRY:
      n = uvch_mpsc_try_send(&member->tx, pieces);
      return n == 0 ? 1 : n;
    case BY_TRY_MANY:
      return uvch_mpsc_try_send_many(&member->tx, pieces, *asked);
    case BY_WAIT:
      n = uvch_mpsc_send_many_wait(&member->tx, pieces, *asked);
      support_expect(&member->crowd->result, n == (int) *asked || member->crowd->wanted == SIZE_MAX);
      return n;
    case BY_TIMED_WAIT:
      return uvch_mpsc_send_many_timedwait(&member->tx, pieces, *asked, member_random(member, 100000));
    default:
      return member_request(member, pieces, *asked);
  }
}

static void member_work(void* arg) {
  member_t* member = arg;
  support_result_t* result = &member->crowd->result;
  size_t asked;
  int n;

  support_latch_arrive(&member->crowd->ready);
  support_latch_wait(&member->crowd->ready);
  while (member->accepted < member->crowd->wanted) {
    n = member_send(member, &asked);
    if (n > 0) {
      support_expect(result, n <= (int) asked);
      member->accepted += (uint32_t) n;
    } else if (n == UV_EAGAIN || n == UV_ETIMEDOUT || n == UV_ECANCELED) {
      nap();
    } else {
      support_expect_eq(result, n, UV_EPIPE);
      support_expect(result, member->crowd->wanted == SIZE_MAX);
      break;
    }
  }
  support_expect_eq(result, uvch_mpsc_sender_close(&member->tx), 0);
}

static void crowd_take(crowd_t* crowd, const void* item) {
  piece_t piece;

  memcpy(&piece, item, sizeof(piece));
  if (piece.sender >= crowd->count || piece.number != crowd->next[piece.sender]++)
    crowd->wrong++;
  else if (piece.place > 0 &&
           (piece.sender != crowd->last.sender || piece.call != crowd->last.call || piece.place != crowd->last.place + 1))
    crowd->wrong++;
  crowd->last = piece;
}

static void crowd_on_drop(void* item, void* arg) {
  crowd_t* crowd = arg;

  crowd_take(crowd, item);
  crowd->dropped++;
}

static void crowd_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  crowd_t* crowd = rx->data;
  size_t i;

  if (status == UV_EOF) {
    crowd->ends++;
    support_close(rx);
    return;
  }
  for (i = 0; i < count; i++)
    crowd_take(crowd, (char*) first + i * stride);
  crowd->received += count;
}

static void crowd_init(crowd_t* crowd, size_t count, unsigned int how, size_t wanted, bool on_loop, size_t capacity,
                       uint32_t seed) {
  uvch_mpsc_options_t options = {.drop = crowd_on_drop, .arg = crowd};
  size_t i;

  memset(crowd, 0, sizeof(*crowd));
  crowd->count = count;
  crowd->how = how;
  crowd->wanted = wanted;
  support_latch_init(&crowd->ready, count);
  support_loop_init(&crowd->loop);
  ck_assert_int_eq(
      uvch_mpsc_init_ex(on_loop ? &crowd->loop : NULL, &crowd->rx, &crowd->members[0].tx, sizeof(piece_t), capacity, &options),
      0);
  crowd->rx.data = crowd;
  for (i = 1; i < count; i++)
    ck_assert_int_eq(uvch_mpsc_sender_clone(&crowd->members[0].tx, &crowd->members[i].tx), 0);
  for (i = 0; i < count; i++) {
    member_t* member = &crowd->members[i];
    member->crowd = crowd;
    member->index = (uint32_t) i;
    member->random = (uint32_t) i * 2654435761u + seed;
    support_loop_init(&member->loop);
    support_spawn(&member->thread, member_work, member);
  }
}

/* The receiver is closed by now. */
static void crowd_end(crowd_t* crowd) {
  size_t accepted = 0;
  size_t i;

  support_loop_run(&crowd->loop);
  for (i = 0; i < crowd->count; i++) {
    support_join(&crowd->members[i].thread);
    support_loop_end(&crowd->members[i].loop);
    support_check_eq(crowd->next[i], crowd->members[i].accepted);
    accepted += crowd->members[i].accepted;
  }
  support_result_check(&crowd->result);
  support_loop_close(&crowd->loop);
  support_latch_destroy(&crowd->ready);
  support_check_eq(crowd->wrong, 0);
  support_check_eq(crowd->received + crowd->dropped, accepted);
}

/* Receives to the end, on a loop or on this thread. */
static void crowd_receive(crowd_t* crowd, bool on_loop) {
  piece_t pieces[100];
  int n;

  if (on_loop) {
    ck_assert_int_eq(uvch_mpsc_recv_many_start(&crowd->rx, 1000, crowd_on_recv), 0);
    support_loop_run(&crowd->loop);
    return;
  }
  while ((n = uvch_mpsc_recv_many_wait(&crowd->rx, pieces, COUNT(pieces))) > 0)
    crowd_on_recv(&crowd->rx, 0, pieces, sizeof(pieces[0]), (size_t) n);
  ck_assert_int_eq(n, UV_EOF);
  crowd_on_recv(&crowd->rx, UV_EOF, NULL, 0, 0);
}

static void crowd_run(size_t capacity, bool on_loop, unsigned int how, size_t wanted) {
  static crowd_t crowd;

  crowd_init(&crowd, 4, how, wanted, on_loop, capacity, (uint32_t) capacity);
  crowd_receive(&crowd, on_loop);
  crowd_end(&crowd);
  ck_assert_uint_eq(crowd.received, 4 * wanted);
  ck_assert_uint_eq(crowd.ends, 1);
}

static size_t crowd_wanted(size_t capacity) {
  return support_scale(capacity < 10 ? 2000 : 20000);
}

START_TEST(no_other_message_comes_between_those_of_one_try_send_many) {
  size_t capacity = capacities[_i / 2];

  crowd_run(capacity, _i % 2 == 0, BY_TRY | BY_TRY_MANY, crowd_wanted(capacity));
}
END_TEST

START_TEST(nobody_gets_between_the_messages_of_one_send_many) {
  size_t capacity = capacities[_i / 2];

  crowd_run(capacity, _i % 2 == 0, BY_TRY | BY_TRY_MANY | BY_WAIT | BY_REQUEST | BY_TIMED_WAIT, crowd_wanted(capacity));
}
END_TEST

/* A receiver that takes some, then closes or shuts down while all send. */
static void crowd_close(size_t capacity, unsigned int how, size_t round) {
  static crowd_t crowd;
  piece_t pieces[50];
  size_t enough = round * 37 % 400;
  int n;

  crowd_init(&crowd, SENDERS, how, SIZE_MAX, false, capacity, (uint32_t) round);
  while (crowd.received < enough) {
    n = uvch_mpsc_try_recv_many(&crowd.rx, pieces, round % COUNT(pieces) + 1);
    if (n > 0)
      crowd_on_recv(&crowd.rx, 0, pieces, sizeof(pieces[0]), (size_t) n);
    else
      support_yield();
  }
  if (round % 4 == 3)
    support_check_eq(uvch_mpsc_recv_shutdown(&crowd.rx), 0);
  while (round % 4 == 3 && (n = uvch_mpsc_recv_many_wait(&crowd.rx, pieces, COUNT(pieces))) > 0)
    crowd_on_recv(&crowd.rx, 0, pieces, sizeof(pieces[0]), (size_t) n);
  support_close(&crowd.rx);
  crowd_end(&crowd);
}

START_TEST(a_close_while_eight_threads_try_to_send_many_loses_and_doubles_nothing) {
  size_t rounds = support_scale(200);
  size_t i;

  for (i = 0; i < rounds; i++)
    crowd_close(CAPACITY, BY_TRY_MANY, i);
}
END_TEST

START_TEST(a_close_while_eight_threads_send_many_in_every_way_loses_and_doubles_nothing) {
  size_t rounds = support_scale(100);
  size_t i;

  for (i = 0; i < rounds; i++)
    crowd_close(CAPACITY, BY_TRY | BY_TRY_MANY | BY_WAIT | BY_TIMED_WAIT | BY_REQUEST, i);
}
END_TEST

/* A batch that is half published: a sender in the middle of its call is played by hand. All but the first message lie in their
 * slots. */

static const size_t two_kinds[] = {64, UVCH_UNBOUNDED};

typedef struct hand_s {
  struct uvch__core* core;
  struct uvch__slot* first;
  uint64_t index;
  size_t count;
  int token;
  uint64_t items[8];
} hand_t;

static struct uvch__slot* hand_slot(struct uvch__core* c, uint64_t index) {
  struct uvch__block_head* h;

  if (c->capacity > 0)
    return uvch__ring_slot(c, atomic_load(&c->u.ring.slots), index);
  for (h = atomic_load(&c->first); index - h->base >= h->count;)
    h = (struct uvch__block_head*) atomic_load(&h->next);
  return uvch__block_slot(c, h, index);
}

/* The channel has storage for them. */
static void hand_claim(hand_t* hand, batch_t* batch, size_t count) {
  struct uvch__core* c = batch->tx.core;
  uint64_t word = atomic_load(&c->word);

  while (!atomic_compare_exchange_weak(&c->word, &word, (word + count * uvch__tail_one(c)) & ~UVCH__AT_TAIL)) {}
  hand->core = c;
  hand->count = count;
  hand->token = (word & UVCH__AT_TAIL) != 0;
  hand->index = uvch__word_tail(c, word);
  hand->first = hand_slot(c, hand->index);
  write_items((unsigned char*) hand->items, 8, batch->sent, count);
  batch->sent += count;
}

static void hand_follow(hand_t* hand) {
  size_t i;

  for (i = 1; i < hand->count; i++) {
    struct uvch__slot* s = hand_slot(hand->core, hand->index + i);
    uvch__item_copy(uvch__slot_item(hand->core, s), &hand->items[i], 8);
    uvch__slot_follow(s);
  }
}

static int hand_publish(hand_t* hand) {
  int err = uvch__fill(hand->core, hand->first, hand->items, hand->token, 1);

  if (err != 0)
    uvch__settle(hand->core, (int64_t) hand->count);
  return err;
}

/* A channel that has storage for 15 more at least, with `taken` of a batch of 3 taken. */
static void hand_init(batch_t* batch, size_t capacity, size_t taken) {
  batch_init(batch, true, capacity, 8);
  ck_assert_int_eq(uvch_loop_configure(&batch->loop, UVCH_LOOP_HOT_MAX, 0), 0);
  ck_assert_int_eq(put_many(batch, 20), 20);
  ck_assert_int_eq(take_many(batch, 20), 20);
  if (taken > 0) {
    ck_assert_int_eq(put_many(batch, 3), 3);
    ck_assert_int_eq(take_many(batch, taken), (int) taken);
  }
}

static void count_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  take_batch(rx->data, status, first, stride, count);
}

START_TEST(a_half_published_batch_is_waited_for) {
  batch_t batch;
  hand_t hand;

  hand_init(&batch, two_kinds[_i % 2], 0);
  start_many(&batch, 100, count_on_recv);
  if (_i / 2 % 2 == 0)
    run_a_while(&batch); /* it is parked at the tail */
  hand_claim(&hand, &batch, 5);
  if (_i / 4 % 2 == 0) {
    run_a_while(&batch); /* it is parked at the slot */
    ck_assert_int_eq(take_many(&batch, 3), UV_EAGAIN);
  }
  hand_follow(&hand);
  run_a_while(&batch);
  ck_assert_int_eq(take_many(&batch, 3), UV_EAGAIN);
  ck_assert_int_eq(put_many(&batch, 4), 4);
  run_a_while(&batch);
  ck_assert_int_eq(take_many(&batch, 3), UV_EAGAIN);
  ck_assert_uint_eq(batch.received, 20);
  ck_assert_int_eq(hand_publish(&hand), 0);
  support_drop_sender(&batch.tx);
  support_loop_run(&batch.loop);
  ck_assert_uint_eq(batch.received, 29);
  ck_assert_uint_eq(batch.ends, 1);
  batch_end(&batch);
}
END_TEST

static size_t hand_drops;
static uint64_t hand_dropped[32];

static void hand_on_drop(void* item, void* arg) {
  (void) arg;
  memcpy(&hand_dropped[hand_drops++], item, sizeof(uint64_t));
}

START_TEST(a_close_leaves_a_half_published_batch_to_its_sender) {
  uvch_mpsc_options_t options = {.drop = hand_on_drop};
  uint64_t i;
  batch_t batch;
  hand_t hands[2];

  memset(&batch, 0, sizeof(batch));
  batch.size = 8;
  support_loop_init(&batch.loop);
  ck_assert_int_eq(uvch_mpsc_init_ex(&batch.loop, &batch.rx, &batch.tx, 8, two_kinds[_i % 2], &options), 0);
  batch.rx.data = &batch;
  hand_drops = 0;
  ck_assert_int_eq(put_many(&batch, 20), 20);
  ck_assert_int_eq(take_many(&batch, 20), 20);
  ck_assert_int_eq(put_many(&batch, 3), 3);
  ck_assert_int_eq(take_many(&batch, 1), 1); /* the next slot follows one that is gone: it is published */
  hand_claim(&hands[0], &batch, 4);
  hand_follow(&hands[0]);
  ck_assert_int_eq(put_many(&batch, 2), 2);
  hand_claim(&hands[1], &batch, 3);
  if (_i / 2 == 0)
    hand_follow(&hands[1]);
  support_close(&batch.rx);
  for (i = 0; i < hand_drops; i++)
    ck_assert_uint_eq(hand_dropped[i], i < 2 ? 21 + i : 25 + i);
  ck_assert_uint_eq(hand_drops, 4);
  if (_i / 2 == 1)
    hand_follow(&hands[1]);
  ck_assert_int_eq(hand_publish(&hands[1]), UV_EPIPE);
  ck_assert_int_eq(hand_publish(&hands[0]), UV_EPIPE);
  ck_assert_uint_eq(hand_drops, 4);
  support_drop_sender(&batch.tx);
  support_loop_end(&batch.loop);
}
END_TEST

/* Forking. */

#define CHILD_SECONDS 60

#define child_expect(condition)                                                     \
  do {                                                                              \
    if (!(condition)) {                                                             \
      fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                     \
    }                                                                               \
  } while (0)

static size_t fork_count;
static uint64_t fork_got[64];

static void fork_on_recv(uvch_mpsc_receiver_t* rx, int status, void* first, size_t stride, size_t count) {
  size_t i;

  if (status == UV_EOF) {
    uvch_close((uvch_handle_t*) rx, NULL);
    return;
  }
  for (i = 0; i < count && fork_count < COUNT(fork_got); i++)
    memcpy(&fork_got[fork_count++], (char*) first + i * stride, sizeof(uint64_t));
}

START_TEST(a_forked_child_gets_nothing_of_a_half_published_batch) {
  batch_t batch;
  hand_t hands[2];
  int status = -1;
  uint64_t i;
  pid_t child;

  fork_count = 0;
  hand_init(&batch, two_kinds[_i], 1);
  hand_claim(&hands[0], &batch, 4); /* 23 to 26 */
  hand_follow(&hands[0]);
  ck_assert_int_eq(put_many(&batch, 3), 3); /* 27 to 29 */
  hand_claim(&hands[1], &batch, 2);
  hand_follow(&hands[1]);
  start_many(&batch, 100, fork_on_recv);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    signal(SIGALRM, SIG_DFL);
    alarm(CHILD_SECONDS);
    child_expect(uv_loop_fork(&batch.loop) == 0);
    child_expect(uvch_loop_fork(&batch.loop) == 0);
    batch.sent = 30;
    child_expect(put_many(&batch, 5) == 5); /* 30 to 34 */
    child_expect(uvch_mpsc_sender_close(&batch.tx) == 0);
    child_expect(uv_run(&batch.loop, UV_RUN_DEFAULT) == 0);
    child_expect(fork_count == 10);
    for (i = 0; i < fork_count; i++)
      child_expect(fork_got[i] == (i < 2 ? 21 + i : 25 + i));
    child_expect(uv_loop_close(&batch.loop) == 0);
    _exit(0);
  }
  ck_assert_int_eq(hand_publish(&hands[0]), 0);
  ck_assert_int_eq(hand_publish(&hands[1]), 0);
  support_drop_sender(&batch.tx);
  support_loop_end(&batch.loop);
  ck_assert_uint_eq(fork_count, 11);
  for (i = 0; i < fork_count; i++)
    ck_assert_uint_eq(fork_got[i], 21 + i);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child has failed, status %d", status);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("batch");
  TCase* try_many = support_case(suite, "try_send_many");
  TCase* send = support_case(suite, "send_many");
  TCase* wait = support_case(suite, "send_many_wait");
  TCase* start = support_case(suite, "recv_many_start");
  TCase* take = support_case(suite, "try_recv_many");
  TCase* fair = support_case(suite, "fair");
  TCase* walks = support_case(suite, "walks");
  TCase* crowds = support_case(suite, "crowds");
  TCase* halves = support_case(suite, "halves");

  add_for_every_shape(try_many, all_that_have_room_go_in_in_order);
  add_for_every_bounded_shape(try_many, a_part_goes_in_as_far_as_there_is_room);
  tcase_add_test(try_many, none_go_in_while_others_wait);
  add_for_every_capacity(try_many, a_count_of_0_sends_nothing);
  add_for_every_capacity(try_many, what_cannot_be_sent_is_refused);
  add_for_every_capacity(try_many, messages_without_bytes_need_no_memory);
  add_for_every_capacity(try_many, a_closed_channel_takes_nothing_and_keeps_what_is_in_it);
  add_for_every_shape(try_many, a_close_drops_what_was_not_taken_in_order);
  tcase_add_loop_test(try_many, a_batch_goes_over_many_blocks, 0, (int) COUNT(sizes));
  tcase_add_test(try_many, a_batch_of_messages_that_have_a_block_each);
  add_for_every_capacity(try_many, a_batch_without_memory_claims_nothing);

  add_for_every_bounded_shape(send, more_messages_than_the_capacity_go_in_piece_by_piece);
  add_for_every_shape(send, a_request_goes_on_as_batches_are_taken);
  add_for_every_capacity(send, a_request_with_room_puts_all_in_at_once_and_calls_back_from_the_loop);
  add_for_every_bounded_shape(send, a_request_cancelled_in_the_middle_tells_how_many_are_in);
  add_for_every_bounded_shape(send, a_request_whose_channel_closes_in_the_middle_tells_how_many_are_in);
  add_for_every_bound(send, who_waits_to_send_many_keeps_its_place_in_the_line);
  tcase_add_loop_test(send, who_cannot_wait_for_want_of_memory_sends_nothing, 0, 2);

  add_for_every_shape(wait, a_thread_sends_more_messages_than_the_capacity);
  add_for_every_bounded_shape(wait, a_thread_that_could_send_a_part_in_its_time_says_so);
  add_for_every_bound(wait, a_thread_that_a_close_wakes_says_how_many_are_in);
  add_for_every_bound(wait, a_thread_that_a_close_wakes_with_none_in_gets_an_error);
  add_for_every_capacity(wait, the_receivers_own_loop_must_not_wait_to_send_many);

  add_for_every_shape(start, a_receiver_of_batches_gets_every_message_once_and_in_order);
  add_for_every_bounded_shape(start, the_room_of_a_batch_is_given_back_before_its_callback);
  add_for_every_capacity(start, a_batch_ends_where_the_storage_ends);
  add_for_every_shape(start, a_callback_may_start_the_other_form);
  add_for_every_capacity(start, a_callback_may_stop_and_the_rest_stays);
  add_for_every_shape(start, a_callback_may_close_and_its_messages_stay_good);
  add_for_every_capacity(start, a_callback_may_shut_down_and_the_rest_still_comes);
  add_for_every_shape(start, a_callback_may_run_the_loop_and_its_messages_stay_good);
  add_for_every_shape(start, a_callback_may_take_more_and_its_messages_stay_good);
  add_for_every_capacity(start, the_end_comes_once_for_every_start);
  add_for_every_capacity(start, a_receiver_of_batches_that_cannot_start_is_refused);
  add_for_every_bound(start, as_many_as_a_callback_got_are_served_in_turn);

  add_for_every_bound(take, as_many_as_a_batch_took_are_served_in_turn);
  add_for_every_capacity(take, a_limit_of_0_gives_0_in_every_state);
  add_for_every_shape(take, a_limit_takes_a_part_and_the_end_stays_the_end);
  add_for_every_capacity(take, what_cannot_be_taken_is_refused);
  add_for_every_capacity(take, a_waiting_receiver_waits_for_one_and_not_for_more);
  add_for_every_capacity(take, a_waiting_receiver_of_batches_is_told_the_end);
  add_for_every_capacity(take, a_timed_receiver_of_batches_takes_what_is_there_before_it_looks_at_the_clock);
  add_for_every_capacity(take, a_receiver_of_batches_without_memory_to_sleep_takes_nothing);

  tcase_add_loop_test(fair, the_budget_of_a_pass_cuts_batches, 0, 2);
  tcase_add_loop_test(fair, a_timer_on_a_loop_flooded_by_batches_keeps_80_of_100_ticks, 0, 2);

  tcase_add_loop_test(walks, random_walks_with_batches_keep_the_books_and_the_order, 0, 6);

  tcase_add_loop_test(crowds, no_other_message_comes_between_those_of_one_try_send_many, 0, 2 * (int) COUNT(capacities));
  tcase_add_loop_test(crowds, nobody_gets_between_the_messages_of_one_send_many, 0, 2 * (int) COUNT(capacities));
  add_for_every_capacity(crowds, a_close_while_eight_threads_try_to_send_many_loses_and_doubles_nothing);
  add_for_every_capacity(crowds, a_close_while_eight_threads_send_many_in_every_way_loses_and_doubles_nothing);

  tcase_add_loop_test(halves, a_half_published_batch_is_waited_for, 0, 8);
  tcase_add_loop_test(halves, a_close_leaves_a_half_published_batch_to_its_sender, 0, 4);
  tcase_add_loop_test(halves, a_forked_child_gets_nothing_of_a_half_published_batch, 0, 2);
  return support_main(suite);
}
