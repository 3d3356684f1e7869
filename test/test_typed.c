/* SPDX-License-Identifier: MIT
 *
 * Typed channels: what they define does what the untyped calls do. What the compiler refuses is in check_typed.sh. */
#include "support.h"

typedef struct line_s {
  size_t length;
  char text[20];
} line_t;

typedef struct point_s {
  double x;
  double y;
  uint8_t color;
} point_t;

typedef void (*job_t)(size_t* counter);

UVCH_MPSC_DEFINE(lines, line_t);
UVCH_MPSC_DEFINE(points, point_t);
UVCH_MPSC_DEFINE(jobs, job_t);
UVCH_MPSC_DEFINE(names, const char*);
UVCH_ONESHOT_DEFINE(answers, line_t);
UVCH_ONESHOT_DEFINE(spots, point_t);
UVCH_BROADCAST_DEFINE(news, line_t);
UVCH_BROADCAST_DEFINE(sights, point_t);
UVCH_BROADCAST_DEFINE(rumours, const char*);
UVCH_WATCH_DEFINE(titles, line_t);
UVCH_WATCH_DEFINE(places, point_t);
UVCH_WATCH_DEFINE(mottos, const char*);

/* A command whose reply is the line of that number, or with `spot` the point. */
typedef struct command_s {
  size_t number;
  bool spot;
  answers_sender_t line;
  spots_sender_t point;
} command_t;

UVCH_MPSC_DEFINE(commands, command_t);

#define COUNT 100

static line_t line_of(size_t i) {
  line_t line = {i % sizeof(line.text), ""};

  memset(line.text, 'a' + (int) (i % 26), line.length);
  return line;
}

static bool is_line(const line_t* line, size_t i) {
  line_t want = line_of(i);

  return line->length == want.length && memcmp(line->text, want.text, sizeof(want.text)) == 0;
}

static point_t point_of(size_t i) {
  point_t point = {(double) i, -(double) i, (uint8_t) i};

  return point;
}

static bool is_point(const point_t* point, size_t i) {
  return point->x >= (double) i && point->x <= (double) i && point->y >= -(double) i && point->y <= -(double) i &&
         point->color == (uint8_t) i;
}

/* A receiver's program: messages must be those that line_of() and point_of() tell, in order. */
typedef struct sink_s {
  size_t count;
  size_t ends;
  size_t closes;
} sink_t;

static void on_line(lines_receiver_t* rx, int status, line_t* line) {
  sink_t* sink = rx->base.data;

  if (status == UV_EOF) {
    ck_assert_ptr_null(line);
    sink->ends++;
    ck_assert_int_eq(lines_close(rx, NULL), 0);
    return;
  }
  ck_assert_int_eq(status, 0);
  ck_assert(is_line(line, sink->count));
  sink->count++;
}

static void on_point(points_receiver_t* rx, int status, point_t* point) {
  sink_t* sink = rx->base.data;

  if (status == UV_EOF) {
    ck_assert_ptr_null(point);
    sink->ends++;
    ck_assert_int_eq(points_close(rx, NULL), 0);
    return;
  }
  ck_assert_int_eq(status, 0);
  ck_assert(is_point(point, sink->count));
  sink->count++;
}

static void on_closed(uvch_handle_t* handle) {
  sink_t* sink = handle->data;

  sink->closes++;
}

START_TEST(typed_messages_come_out_as_they_went_in) {
  lines_receiver_t line_rx;
  lines_sender_t line_tx;
  points_receiver_t point_rx;
  points_sender_t point_tx;
  line_t line;
  point_t point;
  size_t i;

  ck_assert_int_eq(lines_init(NULL, &line_rx, &line_tx, COUNT), 0);
  ck_assert_int_eq(points_init(NULL, &point_rx, &point_tx, UVCH_UNBOUNDED), 0);
  for (i = 0; i < COUNT; i++) {
    line = line_of(i);
    point = point_of(i);
    ck_assert_int_eq(lines_try_send(&line_tx, &line), 0);
    ck_assert_int_eq(points_try_send(&point_tx, &point), 0);
  }
  ck_assert_int_eq(lines_try_send(&line_tx, &line), UV_EAGAIN);
  for (i = 0; i < COUNT; i++) {
    ck_assert_int_eq(i % 2 == 0 ? lines_try_recv(&line_rx, &line) : lines_recv_wait(&line_rx, &line), 0);
    ck_assert(is_line(&line, i));
    ck_assert_int_eq(i % 2 == 0 ? points_try_recv(&point_rx, &point) : points_recv_timedwait(&point_rx, &point, 0), 0);
    ck_assert(is_point(&point, i));
  }
  ck_assert_int_eq(lines_try_recv(&line_rx, &line), UV_EAGAIN);
  ck_assert_int_eq(points_recv_timedwait(&point_rx, &point, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(lines_sender_close(&line_tx), 0);
  ck_assert_int_eq(points_sender_close(&point_tx), 0);
  ck_assert_int_eq(lines_try_recv(&line_rx, &line), UV_EOF);
  ck_assert_int_eq(points_recv_wait(&point_rx, &point), UV_EOF);
  ck_assert_int_eq(lines_close(&line_rx, NULL), 0);
  ck_assert_int_eq(points_close(&point_rx, NULL), 0);
}
END_TEST

START_TEST(typed_callbacks_get_their_receiver_and_every_message) {
  lines_receiver_t line_rx;
  lines_sender_t line_tx;
  points_receiver_t point_rx;
  points_sender_t point_tx;
  sink_t line_sink = {0, 0, 0};
  sink_t point_sink = {0, 0, 0};
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(lines_init(&loop, &line_rx, &line_tx, UVCH_UNBOUNDED), 0);
  ck_assert_int_eq(points_init(&loop, &point_rx, &point_tx, COUNT), 0);
  line_rx.base.data = &line_sink;
  point_rx.base.data = &point_sink;
  ck_assert_int_eq(lines_recv_start(&line_rx, on_line), 0);
  ck_assert_int_eq(lines_recv_start(&line_rx, on_line), UV_EALREADY);
  ck_assert_int_eq(points_recv_start(&point_rx, on_point), 0);
  for (i = 0; i < COUNT; i++) {
    line_t line = line_of(i);
    point_t point = point_of(i);

    ck_assert_int_eq(lines_try_send(&line_tx, &line), 0);
    ck_assert_int_eq(points_try_send(&point_tx, &point), 0);
  }
  ck_assert_int_eq(lines_sender_close(&line_tx), 0);
  ck_assert_int_eq(points_sender_close(&point_tx), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(line_sink.count, COUNT);
  ck_assert_uint_eq(line_sink.ends, 1);
  ck_assert_uint_eq(point_sink.count, COUNT);
  ck_assert_uint_eq(point_sink.ends, 1);
}
END_TEST

/* A thread that sends lines and points, and waits for room. */
typedef struct worker_s {
  lines_sender_t line_tx;
  points_sender_t point_tx;
  support_result_t result;
} worker_t;

static void work(void* arg) {
  worker_t* worker = arg;
  size_t i;

  for (i = 0; i < COUNT; i++) {
    line_t line = line_of(i);
    point_t point = point_of(i);

    support_expect_eq(&worker->result, lines_send_wait(&worker->line_tx, &line), 0);
    support_expect_eq(&worker->result, points_send_timedwait(&worker->point_tx, &point, UINT64_MAX), 0);
  }
  support_expect_eq(&worker->result, lines_sender_close(&worker->line_tx), 0);
  support_expect_eq(&worker->result, points_sender_close(&worker->point_tx), 0);
}

START_TEST(a_thread_sends_typed_messages_to_a_loop) {
  lines_receiver_t line_rx;
  points_receiver_t point_rx;
  worker_t worker;
  sink_t line_sink = {0, 0, 0};
  sink_t point_sink = {0, 0, 0};
  uv_thread_t thread;
  uv_loop_t loop;

  memset(&worker, 0, sizeof(worker));
  support_loop_init(&loop);
  ck_assert_int_eq(lines_init(NULL, &line_rx, &worker.line_tx, 2), 0);
  ck_assert_int_eq(lines_attach(&loop, &line_rx), 0);
  ck_assert_int_eq(points_init(&loop, &point_rx, &worker.point_tx, 3), 0);
  line_rx.base.data = &line_sink;
  point_rx.base.data = &point_sink;
  ck_assert_int_eq(lines_recv_start(&line_rx, on_line), 0);
  ck_assert_int_eq(points_recv_start(&point_rx, on_point), 0);
  support_spawn(&thread, work, &worker);
  support_loop_end(&loop);
  support_join(&thread);
  support_result_check(&worker.result);
  ck_assert_uint_eq(line_sink.count, COUNT);
  ck_assert_uint_eq(line_sink.ends, 1);
  ck_assert_uint_eq(point_sink.count, COUNT);
  ck_assert_uint_eq(point_sink.ends, 1);
}
END_TEST

static void on_sent(uvch_mpsc_send_t* req, int status) {
  size_t* sent = req->data;

  ck_assert_int_eq(status, 0);
  *sent += 1;
}

START_TEST(a_typed_request_waits_and_a_typed_receiver_stops_shuts_down_and_closes) {
  points_receiver_t rx;
  points_sender_t tx;
  uvch_mpsc_send_t reqs[2];
  point_t points[2];
  point_t point;
  sink_t sink = {0, 0, 0};
  size_t sent = 0;
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(points_init(&loop, &rx, &tx, 1), 0);
  rx.base.data = &sink;
  for (i = 0; i < 2; i++) {
    points[i] = point_of(i);
    reqs[i].data = &sent;
    ck_assert_int_eq(points_send(&loop, &reqs[i], &tx, &points[i], on_sent), 0);
  }
  ck_assert_int_eq(points_recv_start(&rx, on_point), 0);
  ck_assert_int_eq(points_recv_stop(&rx), 0);
  ck_assert_int_eq(points_try_recv(&rx, &point), 0);
  ck_assert(is_point(&point, 0));
  support_loop_run(&loop);
  ck_assert_uint_eq(sent, 2);
  ck_assert_uint_eq(sink.count, 0);
  ck_assert_int_eq(points_recv_shutdown(&rx), 0);
  ck_assert_int_eq(points_try_send(&tx, &point), UV_EPIPE);
  ck_assert_int_eq(points_try_recv(&rx, &point), 0);
  ck_assert(is_point(&point, 1));
  ck_assert_int_eq(points_try_recv(&rx, &point), UV_EOF);
  ck_assert_int_eq(points_sender_close(&tx), 0);
  ck_assert_int_eq(points_close(&rx, on_closed), 0);
  ck_assert_int_eq(points_close(&rx, on_closed), UV_EALREADY);
  support_loop_end(&loop);
  ck_assert_uint_eq(sink.closes, 1);
}
END_TEST

START_TEST(typed_senders_clone_and_tell_what_untyped_ones_tell) {
  lines_receiver_t rx;
  lines_receiver_t other_rx;
  lines_sender_t tx;
  lines_sender_t other_tx;
  lines_sender_t copy;
  line_t line = line_of(0);

  ck_assert_int_eq(lines_init(NULL, &rx, &tx, 3), 0);
  ck_assert_int_eq(lines_init(NULL, &other_rx, &other_tx, UVCH_UNBOUNDED), 0);
  ck_assert_int_eq(lines_sender_clone(&tx, &copy), 0);
  ck_assert_int_eq(lines_sender_same_channel(&tx, &copy), 1);
  ck_assert_int_eq(lines_sender_same_channel(&tx, &other_tx), 0);
  ck_assert_int_eq(lines_receiver_is_empty(&rx), 1);
  ck_assert_int_eq(lines_try_send(&copy, &line), 0);
  ck_assert_int_eq(lines_receiver_is_empty(&rx), 0);
  ck_assert_uint_eq(lines_sender_len(&tx), 1);
  ck_assert_uint_eq(lines_receiver_len(&rx), 1);
  ck_assert_uint_eq(lines_sender_capacity(&tx), 2);
  ck_assert_uint_eq(lines_receiver_capacity(&rx), 2);
  ck_assert_uint_eq(lines_sender_max_capacity(&tx), 3);
  ck_assert_uint_eq(lines_receiver_max_capacity(&rx), 3);
  ck_assert_uint_eq(lines_sender_max_capacity(&other_tx), UVCH_UNBOUNDED);
  ck_assert_int_eq(lines_sender_close(&tx), 0);
  ck_assert_int_eq(lines_sender_is_closed(&tx), 1);
  ck_assert_int_eq(lines_receiver_is_closed(&rx), 0);
  ck_assert_int_eq(lines_sender_is_closed(&copy), 0);
  ck_assert_int_eq(lines_close(&rx, NULL), 0);
  ck_assert_int_eq(lines_sender_is_closed(&copy), 1);
  ck_assert_int_eq(lines_sender_close(&copy), 0);
  ck_assert_int_eq(lines_sender_close(&other_tx), 0);
  ck_assert_int_eq(lines_receiver_is_closed(&other_rx), 1);
  ck_assert_int_eq(lines_close(&other_rx, NULL), 0);
}
END_TEST

static void count_up(size_t* counter) {
  *counter += 1;
}

START_TEST(pointers_are_messages_too) {
  static const char text[] = "name";
  jobs_receiver_t job_rx;
  jobs_sender_t job_tx;
  names_receiver_t name_rx;
  names_sender_t name_tx;
  job_t job = count_up;
  const char* name = text;
  size_t counter = 0;

  ck_assert_int_eq(jobs_init(NULL, &job_rx, &job_tx, 1), 0);
  ck_assert_int_eq(names_init(NULL, &name_rx, &name_tx, 1), 0);
  ck_assert_int_eq(jobs_try_send(&job_tx, &job), 0);
  ck_assert_int_eq(names_try_send(&name_tx, &name), 0);
  job = NULL;
  name = NULL;
  ck_assert_int_eq(jobs_try_recv(&job_rx, &job), 0);
  ck_assert_int_eq(names_try_recv(&name_rx, &name), 0);
  job(&counter);
  ck_assert_uint_eq(counter, 1);
  ck_assert_ptr_eq(name, text);
  ck_assert_int_eq(jobs_sender_close(&job_tx), 0);
  ck_assert_int_eq(names_sender_close(&name_tx), 0);
  ck_assert_int_eq(jobs_close(&job_rx, NULL), 0);
  ck_assert_int_eq(names_close(&name_rx, NULL), 0);
}
END_TEST

static void drop_line(void* item, void* arg) {
  size_t* dropped = arg;

  ck_assert(is_line(item, *dropped));
  *dropped += 1;
}

START_TEST(a_typed_channel_takes_options) {
  lines_receiver_t rx;
  lines_sender_t tx;
  uvch_mpsc_options_t options;
  size_t dropped = 0;
  size_t i;

  memset(&options, 0, sizeof(options));
  options.drop = drop_line;
  options.arg = &dropped;
  ck_assert_int_eq(lines_init_ex(NULL, &rx, &tx, 4, &options), 0);
  for (i = 0; i < 3; i++) {
    line_t line = line_of(i);

    ck_assert_int_eq(lines_try_send(&tx, &line), 0);
  }
  ck_assert_int_eq(lines_close(&rx, NULL), 0);
  ck_assert_uint_eq(dropped, 3);
  ck_assert_int_eq(lines_sender_close(&tx), 0);
}
END_TEST

START_TEST(typed_calls_refuse_null_as_the_untyped_ones_do) {
  lines_receiver_t rx;
  lines_sender_t tx;
  line_t line = line_of(0);

  ck_assert_int_eq(lines_init(NULL, NULL, &tx, 1), UV_EINVAL);
  ck_assert_int_eq(lines_init(NULL, &rx, NULL, 1), UV_EINVAL);
  ck_assert_int_eq(lines_init(NULL, &rx, &tx, 1), 0);
  ck_assert_int_eq(lines_try_send(NULL, &line), UV_EINVAL);
  ck_assert_int_eq(lines_try_send(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(lines_try_recv(NULL, &line), UV_EINVAL);
  ck_assert_int_eq(lines_recv_start(NULL, on_line), UV_EINVAL);
  ck_assert_int_eq(lines_recv_start(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(lines_sender_clone(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(lines_sender_is_closed(NULL), 1);
  ck_assert_int_eq(lines_attach(NULL, &rx), UV_EINVAL);
  ck_assert_int_eq(lines_close(NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(lines_sender_close(&tx), 0);
  ck_assert_int_eq(lines_close(&rx, NULL), 0);
}
END_TEST

START_TEST(the_messages_of_a_batch_are_found_by_their_stride) {
  struct wide {
    line_t line;
    uint64_t gap;
  } wide[3];
  size_t i;

  for (i = 0; i < 3; i++) {
    ck_assert_ptr_eq(lines_recv_at(&wide[0].line, sizeof(wide[0]), i), &wide[i].line);
  }
}
END_TEST

/* Many at once, permits, weak senders, the end of the receiver. */

static void on_lines(lines_receiver_t* rx, int status, line_t* first, size_t stride, size_t count) {
  sink_t* sink = rx->base.data;
  size_t i;

  if (status == UV_EOF) {
    ck_assert_ptr_null(first);
    ck_assert_uint_eq(count, 0);
    sink->ends++;
    ck_assert_int_eq(lines_close(rx, NULL), 0);
    return;
  }
  ck_assert_int_eq(status, 0);
  ck_assert_uint_ge(count, 1);
  ck_assert_uint_le(count, 4);
  for (i = 0; i < count; i++) {
    ck_assert(is_line(lines_recv_at(first, stride, i), sink->count));
    sink->count++;
  }
}

static void lines_of(line_t* lines, size_t count) {
  size_t i;

  for (i = 0; i < count; i++) {
    lines[i] = line_of(i);
  }
}

START_TEST(many_typed_messages_go_in_and_come_out_at_once) {
  lines_receiver_t rx;
  lines_sender_t tx;
  line_t sent[10];
  line_t got[10];
  int i;

  lines_of(sent, 10);
  ck_assert_int_eq(lines_init(NULL, &rx, &tx, 8), 0);
  ck_assert_int_eq(lines_try_send_many(&tx, sent, 10), 8);
  ck_assert_int_eq(lines_try_send_many(&tx, &sent[8], 2), UV_EAGAIN);
  ck_assert_int_eq(lines_try_recv_many(&rx, got, 3), 3);
  ck_assert_int_eq(lines_send_many_wait(&tx, &sent[8], 1), 1);
  ck_assert_int_eq(lines_send_many_timedwait(&tx, &sent[9], 1, 0), 1);
  ck_assert_int_eq(lines_recv_many_wait(&rx, &got[3], 1), 1);
  ck_assert_int_eq(lines_recv_many_timedwait(&rx, &got[4], 1, 0), 1);
  for (i = 5; i < 10;) {
    int n = lines_try_recv_many(&rx, &got[i], (size_t) (10 - i));

    ck_assert_int_ge(n, 1);
    i += n;
  }
  for (i = 0; i < 10; i++) {
    ck_assert(is_line(&got[i], (size_t) i));
  }
  ck_assert_int_eq(lines_recv_many_timedwait(&rx, got, 1, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(lines_sender_close(&tx), 0);
  ck_assert_int_eq(lines_try_recv_many(&rx, got, 1), UV_EOF);
  ck_assert_int_eq(lines_close(&rx, NULL), 0);
}
END_TEST

START_TEST(typed_callbacks_get_many_messages) {
  lines_receiver_t rx;
  lines_sender_t tx;
  uvch_mpsc_send_t req;
  line_t sent[20];
  sink_t sink = {0, 0, 0};
  size_t done = 0;
  uv_loop_t loop;

  lines_of(sent, 20);
  support_loop_init(&loop);
  ck_assert_int_eq(lines_init(&loop, &rx, &tx, 8), 0);
  rx.base.data = &sink;
  req.data = &done;
  ck_assert_int_eq(lines_recv_many_start(&rx, 4, on_lines), 0);
  ck_assert_int_eq(lines_send_many(&loop, &req, &tx, sent, 20, on_sent), 0);
  ck_assert_int_eq(lines_sender_close(&tx), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(done, 1);
  ck_assert_uint_eq(req.sent, 20);
  ck_assert_uint_eq(sink.count, 20);
  ck_assert_uint_eq(sink.ends, 1);
}
END_TEST

static void on_reserved(uvch_mpsc_reserve_t* req, int status) {
  size_t* reserved = req->data;

  ck_assert_int_eq(status, 0);
  *reserved += 1;
}

START_TEST(typed_permits_send_split_and_give_back) {
  points_receiver_t rx;
  points_sender_t tx;
  points_sender_t other_tx;
  points_permit_t permit;
  points_permit_t other;
  uvch_mpsc_reserve_t req;
  size_t reserved = 0;
  uv_loop_t loop;
  point_t point;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(points_init(NULL, &rx, &tx, 4), 0);
  ck_assert_int_eq(points_try_reserve(&tx, 4, &permit), 0);
  ck_assert_uint_eq(points_permit_count(&permit), 4);
  ck_assert_int_eq(points_try_reserve(&tx, 1, &other), UV_EAGAIN);
  ck_assert_int_eq(points_reserve_timedwait(&tx, 1, &other, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(points_permit_split(&permit, 3, &other), 0);
  ck_assert_uint_eq(points_permit_count(&permit), 1);
  ck_assert_uint_eq(points_permit_count(&other), 3);
  ck_assert_int_eq(points_permit_same_channel(&permit, &other), 1);
  ck_assert_int_eq(points_permit_same_channel_as_sender(&permit, &tx), 1);
  ck_assert_int_eq(points_permit_get_sender(&permit, &other_tx), 0);
  ck_assert_int_eq(points_sender_same_channel(&tx, &other_tx), 1);
  point = point_of(0);
  ck_assert_int_eq(points_permit_send(&permit, &point), 0);
  ck_assert_int_eq(points_permit_send(&permit, &point), UV_EBADF);
  ck_assert_int_eq(points_permit_release(&other), 0);
  ck_assert_uint_eq(points_sender_capacity(&tx), 3);
  ck_assert_int_eq(points_reserve_wait(&tx, 1, &permit), 0);
  req.data = &reserved;
  ck_assert_int_eq(points_reserve(&loop, &req, &other_tx, 2, &other, on_reserved), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(reserved, 1);
  ck_assert_uint_eq(points_permit_count(&other), 2);
  point = point_of(1);
  ck_assert_int_eq(points_permit_send(&permit, &point), 0);
  point = point_of(2);
  ck_assert_int_eq(points_permit_send(&other, &point), 0);
  ck_assert_int_eq(points_permit_release(&other), 0);
  ck_assert_int_eq(points_sender_close(&tx), 0);
  ck_assert_int_eq(points_sender_close(&other_tx), 0);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(points_try_recv(&rx, &point), 0);
    ck_assert(is_point(&point, i));
  }
  ck_assert_int_eq(points_try_recv(&rx, &point), UV_EOF);
  ck_assert_int_eq(points_close(&rx, NULL), 0);
}
END_TEST

START_TEST(typed_weak_senders_become_senders_while_there_is_one) {
  lines_receiver_t rx;
  lines_sender_t tx;
  lines_sender_t copy;
  lines_weak_sender_t weak;
  lines_weak_sender_t other;

  ck_assert_int_eq(lines_init(NULL, &rx, &tx, 4), 0);
  ck_assert_int_eq(lines_sender_downgrade(&tx, &weak), 0);
  ck_assert_int_eq(lines_weak_sender_clone(&weak, &other), 0);
  ck_assert_int_eq(lines_weak_sender_upgrade(&weak, &copy), 0);
  ck_assert_int_eq(lines_sender_same_channel(&tx, &copy), 1);
  ck_assert_uint_eq(lines_sender_strong_count(&tx), 2);
  ck_assert_uint_eq(lines_sender_weak_count(&tx), 2);
  ck_assert_uint_eq(lines_weak_sender_strong_count(&weak), 2);
  ck_assert_uint_eq(lines_weak_sender_weak_count(&weak), 2);
  ck_assert_uint_eq(lines_receiver_strong_count(&rx), 2);
  ck_assert_uint_eq(lines_receiver_weak_count(&rx), 2);
  ck_assert_int_eq(lines_sender_close(&tx), 0);
  ck_assert_int_eq(lines_sender_close(&copy), 0);
  ck_assert_int_eq(lines_weak_sender_upgrade(&weak, &tx), UV_EPIPE);
  ck_assert_int_eq(lines_weak_sender_close(&weak), 0);
  ck_assert_int_eq(lines_weak_sender_close(&other), 0);
  ck_assert_int_eq(lines_close(&rx, NULL), 0);
}
END_TEST

static void on_channel_closed(uvch_mpsc_closed_t* req, int status) {
  size_t* told = req->data;

  ck_assert_int_eq(status, 0);
  *told += 1;
}

START_TEST(a_typed_sender_is_told_that_its_channel_is_closed) {
  lines_receiver_t rx;
  lines_sender_t tx;
  uvch_mpsc_closed_t req;
  size_t told = 0;
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(lines_init(NULL, &rx, &tx, 4), 0);
  req.data = &told;
  ck_assert_int_eq(lines_closed(&loop, &req, &tx, on_channel_closed), 0);
  ck_assert_int_eq(lines_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(lines_close(&rx, NULL), 0);
  ck_assert_int_eq(lines_closed_wait(&tx), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(told, 1);
  ck_assert_int_eq(lines_sender_close(&tx), 0);
}
END_TEST

/* One value. */

START_TEST(a_typed_value_comes_out_as_it_went_in) {
  answers_receiver_t rx;
  answers_sender_t tx;
  line_t line = line_of(7);

  ck_assert_int_eq(answers_init(NULL, &rx, &tx), 0);
  ck_assert_int_eq(answers_receiver_is_empty(&rx), 1);
  ck_assert_int_eq(answers_try_recv(&rx, &line), UV_EAGAIN);
  ck_assert_int_eq(answers_recv_timedwait(&rx, &line, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(answers_sender_is_closed(&tx), 0);
  ck_assert_int_eq(answers_send(&tx, &line), 0);
  ck_assert_int_eq(answers_send(&tx, &line), UV_EBADF);
  ck_assert_int_eq(answers_receiver_is_empty(&rx), 0);
  ck_assert_int_eq(answers_receiver_is_terminated(&rx), 0);
  memset(&line, 0, sizeof(line));
  ck_assert_int_eq(answers_recv_wait(&rx, &line), 0);
  ck_assert(is_line(&line, 7));
  ck_assert_int_eq(answers_receiver_is_terminated(&rx), 1);
  ck_assert_int_eq(answers_renew(&rx, &tx), 0);
  ck_assert_int_eq(answers_receiver_is_terminated(&rx), 0);
  line = line_of(8);
  ck_assert_int_eq(answers_send(&tx, &line), 0);
  memset(&line, 0, sizeof(line));
  ck_assert_int_eq(answers_recv_timedwait(&rx, &line, 0), 0);
  ck_assert(is_line(&line, 8));
  ck_assert_int_eq(answers_renew(&rx, &tx), 0);
  ck_assert_int_eq(answers_sender_close(&tx), 0);
  ck_assert_int_eq(answers_try_recv(&rx, &line), UV_EOF);
  ck_assert_int_eq(answers_renew(&rx, &tx), 0);
  ck_assert_int_eq(answers_recv_shutdown(&rx), 0);
  ck_assert_int_eq(answers_sender_is_closed(&tx), 1);
  ck_assert_int_eq(answers_send(&tx, &line), UV_EPIPE);
  ck_assert_int_eq(answers_recv_wait(&rx, &line), UV_EOF);
  ck_assert_int_eq(answers_close(&rx, NULL), 0);
}
END_TEST

static void on_value(answers_receiver_t* rx, int status, line_t* line) {
  sink_t* sink = rx->base.data;

  ck_assert_int_eq(status, 0);
  ck_assert(is_line(line, 9));
  sink->count++;
  ck_assert_int_eq(answers_close(rx, on_closed), 0);
}

START_TEST(a_typed_callback_gets_its_receiver_and_its_value) {
  answers_receiver_t rx;
  answers_sender_t tx;
  line_t line = line_of(9);
  sink_t sink = {0, 0, 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(answers_init(NULL, &rx, &tx), 0);
  ck_assert_int_eq(answers_attach(&loop, &rx), 0);
  rx.base.data = &sink;
  ck_assert_int_eq(answers_recv(&rx, on_value), 0);
  ck_assert_int_eq(answers_recv(&rx, on_value), UV_EALREADY);
  ck_assert_int_eq(answers_recv_stop(&rx), 0);
  ck_assert_int_eq(answers_send(&tx, &line), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(sink.count, 0);
  ck_assert_int_eq(answers_recv(&rx, on_value), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(sink.count, 1);
  ck_assert_uint_eq(sink.closes, 1);
}
END_TEST

static void drop_point(void* item, void* arg) {
  size_t* dropped = arg;

  ck_assert(is_point(item, 3));
  *dropped += 1;
}

START_TEST(a_typed_oneshot_takes_options) {
  spots_receiver_t rx;
  spots_sender_t tx;
  uvch_oneshot_options_t options;
  point_t point = point_of(3);
  size_t dropped = 0;

  memset(&options, 0, sizeof(options));
  options.drop = drop_point;
  options.arg = &dropped;
  ck_assert_int_eq(spots_init_ex(NULL, &rx, &tx, &options), 0);
  ck_assert_int_eq(spots_send(&tx, &point), 0);
  ck_assert_uint_eq(dropped, 0);
  ck_assert_int_eq(spots_close(&rx, NULL), 0);
  ck_assert_uint_eq(dropped, 1);
}
END_TEST

static void on_oneshot_closed(uvch_oneshot_closed_t* req, int status) {
  int* told = req->data;

  *told = status;
}

START_TEST(a_typed_sender_is_told_that_nobody_waits_for_its_value) {
  spots_receiver_t rx;
  spots_sender_t tx;
  uvch_oneshot_closed_t req;
  int told = UV_EAGAIN;
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(spots_init(NULL, &rx, &tx), 0);
  req.data = &told;
  ck_assert_int_eq(spots_closed(&loop, &req, &tx, on_oneshot_closed), 0);
  ck_assert_int_eq(spots_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(spots_close(&rx, NULL), 0);
  ck_assert_int_eq(spots_closed_wait(&tx), 0);
  support_loop_end(&loop);
  ck_assert_int_eq(told, 0);
  ck_assert_int_eq(spots_sender_close(&tx), 0);
}
END_TEST

START_TEST(typed_oneshots_refuse_null_as_the_untyped_ones_do) {
  answers_receiver_t rx;
  answers_sender_t tx;
  line_t line = line_of(0);

  ck_assert_int_eq(answers_init(NULL, NULL, &tx), UV_EINVAL);
  ck_assert_int_eq(answers_init(NULL, &rx, NULL), UV_EINVAL);
  ck_assert_int_eq(answers_init(NULL, &rx, &tx), 0);
  ck_assert_int_eq(answers_send(NULL, &line), UV_EINVAL);
  ck_assert_int_eq(answers_send(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(answers_reply(NULL, &line), UV_EINVAL);
  ck_assert_int_eq(answers_try_recv(NULL, &line), UV_EINVAL);
  ck_assert_int_eq(answers_recv(NULL, on_value), UV_EINVAL);
  ck_assert_int_eq(answers_sender_is_closed(NULL), 1);
  ck_assert_int_eq(answers_attach(NULL, &rx), UV_EINVAL);
  ck_assert_int_eq(answers_close(NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(answers_sender_close(&tx), 0);
  ck_assert_int_eq(answers_close(&rx, NULL), 0);
}
END_TEST

/* Calls: an actor that answers with the line or the point of a command's number. */

static void on_command(commands_receiver_t* rx, int status, command_t* command) {
  sink_t* sink = rx->base.data;
  line_t line;
  point_t point;

  if (status == UV_EOF) {
    sink->ends++;
    ck_assert_int_eq(commands_close(rx, NULL), 0);
    return;
  }
  ck_assert_int_eq(status, 0);
  sink->count++;
  if (command->spot) {
    point = point_of(command->number);
    ck_assert_int_eq(spots_reply(&command->point, &point), 0);
  } else {
    line = line_of(command->number);
    ck_assert_int_eq(answers_reply(&command->line, &line), 0);
  }
}

/* What a caller waits for: its number, and what came. */
typedef struct asked_s {
  size_t number;
  size_t replies;
  int status;
} asked_t;

static void on_line_reply(answers_call_t* req, int status, line_t* reply) {
  asked_t* asked = req->base.data;

  asked->status = status;
  asked->replies++;
  ck_assert(status == 0 ? is_line(reply, asked->number) : reply == NULL);
}

static void on_point_reply(spots_call_t* req, int status, point_t* reply) {
  asked_t* asked = req->base.data;

  asked->status = status;
  asked->replies++;
  ck_assert(status == 0 ? is_point(reply, asked->number) : reply == NULL);
}

START_TEST(typed_calls_get_replies_of_their_types) {
  commands_receiver_t rx;
  commands_sender_t tx;
  answers_call_t line_call;
  spots_call_t point_call;
  command_t commands[2] = {{.number = 5, .spot = false}, {.number = 6, .spot = true}};
  asked_t asked[2] = {{5, 0, UV_EAGAIN}, {6, 0, UV_EAGAIN}};
  sink_t sink = {0, 0, 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(commands_init(&loop, &rx, &tx, 1), 0);
  rx.base.data = &sink;
  line_call.base.data = &asked[0];
  point_call.base.data = &asked[1];
  ck_assert_int_eq(commands_recv_start(&rx, on_command), 0);
  ck_assert_int_eq(answers_call(&loop, &line_call, &tx.base, &commands[0], &commands[0].line, on_line_reply), 0);
  ck_assert_int_eq(spots_call(&loop, &point_call, &tx.base, &commands[1], &commands[1].point, on_point_reply), 0);
  while (asked[0].replies + asked[1].replies < 2) {
    uv_run(&loop, UV_RUN_ONCE);
  }
  ck_assert_int_eq(commands_sender_close(&tx), 0);
  support_loop_end(&loop);
  ck_assert_int_eq(asked[0].status, 0);
  ck_assert_int_eq(asked[1].status, 0);
  ck_assert_uint_eq(sink.count, 2);
  ck_assert_uint_eq(sink.ends, 1);
}
END_TEST

START_TEST(a_typed_call_takes_options_and_can_be_cancelled) {
  commands_receiver_t rx;
  commands_sender_t tx;
  spots_call_t call;
  command_t command = {.number = 3, .spot = true};
  uvch_call_options_t options;
  point_t point = point_of(3);
  asked_t asked = {3, 0, UV_EAGAIN};
  size_t dropped = 0;
  uv_loop_t loop;

  memset(&options, 0, sizeof(options));
  options.drop = drop_point;
  options.arg = &dropped;
  support_loop_init(&loop);
  ck_assert_int_eq(commands_init(NULL, &rx, &tx, 1), 0);
  call.base.data = &asked;
  ck_assert_int_eq(spots_call_ex(&loop, &call, &tx.base, &command, &command.point, &options, on_point_reply), 0);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &call), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(asked.replies, 1);
  ck_assert_int_eq(asked.status, UV_ECANCELED);
  ck_assert_int_eq(call.base.is_sent, 1);
  ck_assert_int_eq(commands_try_recv(&rx, &command), 0);
  ck_assert_int_eq(spots_reply(&command.point, &point), 1);
  ck_assert_uint_eq(dropped, 1);
  ck_assert_int_eq(commands_sender_close(&tx), 0);
  ck_assert_int_eq(commands_close(&rx, NULL), 0);
}
END_TEST

/* A thread that calls and sleeps until the replies are there. */
typedef struct asker_s {
  commands_sender_t tx;
  support_result_t result;
} asker_t;

static void ask(void* arg) {
  asker_t* asker = arg;
  size_t i;

  for (i = 0; i < COUNT; i++) {
    command_t command = {.number = i, .spot = true};
    line_t line;
    point_t point;
    int is_sent = 0;

    support_expect_eq(&asker->result, spots_call_wait(&asker->tx.base, &command, &command.point, &point), 0);
    support_expect(&asker->result, is_point(&point, i));
    command.spot = false;
    support_expect_eq(&asker->result,
                      answers_call_timedwait(&asker->tx.base, &command, &command.line, &line, UINT64_MAX, &is_sent), 0);
    support_expect(&asker->result, is_line(&line, i));
    support_expect_eq(&asker->result, is_sent, 1);
  }
  support_expect_eq(&asker->result, commands_sender_close(&asker->tx), 0);
}

START_TEST(a_thread_waits_for_the_replies_to_typed_calls) {
  commands_receiver_t rx;
  asker_t asker;
  sink_t sink = {0, 0, 0};
  uv_thread_t thread;
  uv_loop_t loop;

  memset(&asker, 0, sizeof(asker));
  support_loop_init(&loop);
  ck_assert_int_eq(commands_init(&loop, &rx, &asker.tx, 1), 0);
  rx.base.data = &sink;
  ck_assert_int_eq(commands_recv_start(&rx, on_command), 0);
  support_spawn(&thread, ask, &asker);
  support_loop_end(&loop);
  support_join(&thread);
  support_result_check(&asker.result);
  ck_assert_uint_eq(sink.count, 2 * COUNT);
  ck_assert_uint_eq(sink.ends, 1);
}
END_TEST

/* News for all. */

START_TEST(typed_news_come_to_all_who_are_subscribed) {
  news_receiver_t rx[3];
  news_sender_t tx;
  line_t sent[4];
  line_t line;
  size_t i;

  lines_of(sent, 4);
  ck_assert_int_eq(news_init(NULL, &rx[0], &tx, 4), 0);
  ck_assert_uint_eq(news_sender_capacity(&tx), 4);
  ck_assert_int_eq(news_subscribe(NULL, &rx[1], &tx), 0);
  ck_assert_int_eq(news_receiver_same_channel(&rx[0], &rx[1]), 1);
  ck_assert_uint_eq(news_sender_receiver_count(&tx), 2);
  ck_assert_int_eq(news_try_recv(&rx[0], &line), UV_EAGAIN);
  ck_assert_int_eq(news_recv_timedwait(&rx[0], &line, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(news_sender_is_empty(&tx), 1);
  ck_assert_int_eq(news_send(&tx, &sent[0]), 2);
  ck_assert_int_eq(news_send_many(&tx, &sent[1], 2), 2);
  ck_assert_int_eq(news_sender_is_empty(&tx), 0);
  ck_assert_uint_eq(news_sender_len(&tx), 3);
  ck_assert_uint_eq(news_receiver_len(&rx[0]), 3);
  ck_assert_int_eq(news_receiver_is_empty(&rx[0]), 0);
  ck_assert_int_eq(news_resubscribe(NULL, &rx[2], &rx[0]), 0);
  ck_assert_int_eq(news_receiver_is_empty(&rx[2]), 1);
  ck_assert_int_eq(news_send_wait(&tx, &sent[3]), 3);
  ck_assert_int_eq(news_recv_wait(&rx[2], &line), 0);
  ck_assert(is_line(&line, 3));
  ck_assert_int_eq(news_sender_close(&tx), 0);
  for (i = 0; i < 4; i++) {
    ck_assert_int_eq(news_try_recv(&rx[0], &line), 0);
    ck_assert(is_line(&line, i));
    ck_assert_int_eq(i % 2 == 0 ? news_recv_wait(&rx[1], &line) : news_recv_timedwait(&rx[1], &line, 0), 0);
    ck_assert(is_line(&line, i));
  }
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(news_receiver_is_closed(&rx[i]), 1);
    ck_assert_int_eq(news_try_recv(&rx[i], &line), UV_EOF);
    ck_assert_uint_eq(news_receiver_missed(&rx[i]), 0);
    ck_assert_int_eq(news_close(&rx[i], NULL), 0);
  }
}
END_TEST

START_TEST(a_typed_receiver_that_is_behind_is_told_how_many_it_has_missed) {
  sights_receiver_t rx;
  sights_sender_t tx;
  point_t point;
  size_t i;

  ck_assert_int_eq(sights_init(NULL, &rx, &tx, 3), 0);
  for (i = 0; i < 10; i++) {
    point = point_of(i);
    ck_assert_int_eq(sights_send_timedwait(&tx, &point, 0), 1);
  }
  ck_assert_int_eq(sights_try_recv(&rx, &point), 7);
  ck_assert_uint_eq(sights_receiver_missed(&rx), 7);
  for (i = 7; i < 10; i++) {
    ck_assert_int_eq(sights_try_recv(&rx, &point), 0);
    ck_assert(is_point(&point, i));
  }
  ck_assert_int_eq(sights_sender_close(&tx), 0);
  ck_assert_int_eq(sights_close(&rx, NULL), 0);
}
END_TEST

/* A subscriber's program: it gets each line from `count` on, and is told of `missed` lines once. */
typedef struct reader_s {
  size_t count;
  size_t missed;
  size_t ends;
} reader_t;

/* Whether there is a message: else it was a gap or the end. */
static bool is_news(news_receiver_t* rx, int status) {
  reader_t* reader = rx->base.data;

  if (status == UV_EOF) {
    reader->ends++;
    ck_assert_int_eq(news_close(rx, NULL), 0);
  } else if (status > 0) {
    ck_assert_uint_eq(news_receiver_missed(rx), (uint64_t) status);
    reader->missed += (size_t) status;
    reader->count += (size_t) status;
  } else {
    ck_assert_int_eq(status, 0);
  }
  return status == 0;
}

static void on_news(news_receiver_t* rx, int status, const line_t* line) {
  reader_t* reader = rx->base.data;

  if (!is_news(rx, status)) {
    ck_assert_ptr_null(line);
    return;
  }
  ck_assert(is_line(line, reader->count));
  reader->count++;
}

static void on_many_news(news_receiver_t* rx, int status, const line_t* first, size_t stride, size_t count) {
  reader_t* reader = rx->base.data;
  size_t i;

  if (!is_news(rx, status)) {
    ck_assert_ptr_null(first);
    ck_assert_uint_eq(count, 0);
    return;
  }
  ck_assert_uint_ge(count, 1);
  ck_assert_uint_le(count, 4);
  for (i = 0; i < count; i++) {
    ck_assert(is_line(news_recv_at(first, stride, i), reader->count));
    reader->count++;
  }
}

START_TEST(typed_callbacks_get_the_news_and_the_gaps) {
  news_receiver_t rx[2];
  news_sender_t tx;
  reader_t readers[2] = {{0, 0, 0}, {0, 0, 0}};
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(news_init(NULL, NULL, &tx, 10), 0);
  for (i = 0; i < 2; i++) {
    ck_assert_int_eq(news_subscribe(NULL, &rx[i], &tx), 0);
    ck_assert_int_eq(news_attach(&loop, &rx[i]), 0);
    rx[i].base.data = &readers[i];
  }
  ck_assert_int_eq(news_recv_start(&rx[0], on_news), 0);
  ck_assert_int_eq(news_recv_stop(&rx[0]), 0);
  ck_assert_int_eq(news_recv_start(&rx[0], on_news), 0);
  ck_assert_int_eq(news_recv_many_start(&rx[1], 4, on_many_news), 0);
  ck_assert_int_eq(news_recv_many_start(&rx[1], 4, on_many_news), UV_EALREADY);
  for (i = 0; i < COUNT; i++) {
    line_t line = line_of(i);

    ck_assert_int_eq(news_send(&tx, &line), 2);
  }
  ck_assert_int_eq(news_sender_close(&tx), 0);
  support_loop_end(&loop);
  for (i = 0; i < 2; i++) {
    ck_assert_uint_eq(readers[i].count, COUNT);
    ck_assert_uint_eq(readers[i].missed, COUNT - 10);
    ck_assert_uint_eq(readers[i].ends, 1);
  }
}
END_TEST

static void on_news_sent(uvch_broadcast_send_t* req, int status) {
  size_t* sent = req->data;

  ck_assert_int_eq(status, 1);
  *sent += 1;
}

START_TEST(a_typed_request_waits_for_the_slowest_reader) {
  sights_receiver_t rx;
  sights_sender_t tx;
  uvch_broadcast_options_t options;
  uvch_broadcast_send_t req;
  point_t point = point_of(0);
  point_t next = point_of(1);
  size_t sent = 0;
  uv_loop_t loop;

  memset(&options, 0, sizeof(options));
  options.policy = UVCH_BROADCAST_WAIT;
  support_loop_init(&loop);
  ck_assert_int_eq(sights_init_ex(NULL, &rx, &tx, 1, &options), 0);
  ck_assert_int_eq(sights_send(&tx, &point), 1);
  req.data = &sent;
  ck_assert_int_eq(sights_queue_send(&loop, &req, &tx, &next, on_news_sent), 0);
  ck_assert_int_eq(sights_send(&tx, &next), UV_EAGAIN);
  ck_assert_int_eq(sights_send_timedwait(&tx, &next, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(sights_sender_close(&tx), 0);
  ck_assert_int_eq(sights_try_recv(&rx, &point), 0);
  ck_assert(is_point(&point, 0));
  support_loop_end(&loop);
  ck_assert_uint_eq(sent, 1);
  ck_assert_int_eq(sights_try_recv(&rx, &point), 0);
  ck_assert(is_point(&point, 1));
  ck_assert_int_eq(sights_try_recv(&rx, &point), UV_EOF);
  ck_assert_int_eq(sights_close(&rx, NULL), 0);
}
END_TEST

START_TEST(typed_news_have_clones_and_weak_senders) {
  news_receiver_t rx;
  news_receiver_t other_rx;
  news_sender_t tx;
  news_sender_t other_tx;
  news_sender_t copy;
  news_sender_t again;
  news_weak_sender_t weak;
  news_weak_sender_t other;

  ck_assert_int_eq(news_init(NULL, &rx, &tx, 4), 0);
  ck_assert_int_eq(news_init(NULL, &other_rx, &other_tx, 4), 0);
  ck_assert_int_eq(news_sender_clone(&tx, &copy), 0);
  ck_assert_int_eq(news_sender_downgrade(&tx, &weak), 0);
  ck_assert_int_eq(news_weak_sender_clone(&weak, &other), 0);
  ck_assert_int_eq(news_weak_sender_upgrade(&weak, &again), 0);
  ck_assert_int_eq(news_sender_same_channel(&copy, &again), 1);
  ck_assert_int_eq(news_sender_same_channel(&tx, &other_tx), 0);
  ck_assert_int_eq(news_receiver_same_channel(&rx, &other_rx), 0);
  ck_assert_uint_eq(news_sender_strong_count(&tx), 3);
  ck_assert_uint_eq(news_sender_weak_count(&tx), 2);
  ck_assert_uint_eq(news_weak_sender_strong_count(&weak), 3);
  ck_assert_uint_eq(news_weak_sender_weak_count(&weak), 2);
  ck_assert_uint_eq(news_receiver_strong_count(&rx), 3);
  ck_assert_uint_eq(news_receiver_weak_count(&rx), 2);
  ck_assert_int_eq(news_sender_close(&tx), 0);
  ck_assert_int_eq(news_sender_close(&copy), 0);
  ck_assert_int_eq(news_receiver_is_closed(&rx), 0);
  ck_assert_int_eq(news_sender_close(&again), 0);
  ck_assert_int_eq(news_receiver_is_closed(&rx), 1);
  ck_assert_int_eq(news_weak_sender_upgrade(&weak, &tx), UV_EPIPE);
  ck_assert_int_eq(news_weak_sender_close(&weak), 0);
  ck_assert_int_eq(news_weak_sender_close(&other), 0);
  ck_assert_int_eq(news_sender_close(&other_tx), 0);
  ck_assert_int_eq(news_close(&rx, NULL), 0);
  ck_assert_int_eq(news_close(&other_rx, NULL), 0);
}
END_TEST

static void on_news_closed(uvch_broadcast_closed_t* req, int status) {
  size_t* told = req->data;

  ck_assert_int_eq(status, 0);
  *told += 1;
}

START_TEST(a_typed_sender_is_told_that_no_reader_is_left) {
  news_receiver_t rx;
  news_sender_t tx;
  uvch_broadcast_closed_t req;
  line_t line = line_of(0);
  size_t told = 0;
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(news_init(NULL, &rx, &tx, 4), 0);
  req.data = &told;
  ck_assert_int_eq(news_closed(&loop, &req, &tx, on_news_closed), 0);
  ck_assert_int_eq(news_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(news_close(&rx, NULL), 0);
  ck_assert_int_eq(news_closed_wait(&tx), 0);
  ck_assert_int_eq(news_send(&tx, &line), UV_EPIPE);
  support_loop_end(&loop);
  ck_assert_uint_eq(told, 1);
  ck_assert_int_eq(news_sender_close(&tx), 0);
}
END_TEST

/* Names that are copied for each reader. */
typedef struct names_made_s {
  size_t copies;
  size_t drops;
} names_made_t;

static int copy_name(void* to, const void* from, void* arg) {
  const char* const* name = from;
  char** copy = to;
  names_made_t* made = arg;

  *copy = strdup(*name);
  made->copies++;
  return *copy == NULL ? UV_ENOMEM : 0;
}

static void drop_name(void* item, void* arg) {
  char** name = item;
  names_made_t* made = arg;

  ck_assert_uint_eq(made->copies, 2);
  made->drops++;
  free(*name);
}

START_TEST(a_typed_broadcast_takes_options_and_pointers) {
  rumours_receiver_t rx[2];
  rumours_sender_t tx;
  uvch_broadcast_options_t options;
  const char* name = strdup("name");
  const char* const mine = name;
  names_made_t made = {0, 0};
  size_t i;

  ck_assert_ptr_nonnull(name);
  memset(&options, 0, sizeof(options));
  options.copy = copy_name;
  options.drop = drop_name;
  options.arg = &made;
  ck_assert_int_eq(rumours_init_ex(NULL, &rx[0], &tx, 1, &options), 0);
  ck_assert_int_eq(rumours_subscribe(NULL, &rx[1], &tx), 0);
  ck_assert_int_eq(rumours_send(&tx, &name), 2);
  for (i = 0; i < 2; i++) {
    ck_assert_int_eq(rumours_try_recv(&rx[i], &name), 0);
    ck_assert_ptr_ne(name, mine);
    ck_assert_str_eq(name, "name");
    free((void*) (uintptr_t) name);
  }
  ck_assert_uint_eq(made.drops, 1);
  ck_assert_int_eq(rumours_sender_close(&tx), 0);
  ck_assert_int_eq(rumours_close(&rx[0], NULL), 0);
  ck_assert_int_eq(rumours_close(&rx[1], NULL), 0);
}
END_TEST

START_TEST(typed_news_refuse_null_as_the_untyped_ones_do) {
  news_receiver_t rx;
  news_receiver_t other;
  news_sender_t tx;
  line_t line = line_of(0);

  ck_assert_int_eq(news_init(NULL, &rx, NULL, 1), UV_EINVAL);
  ck_assert_int_eq(news_init(NULL, &rx, &tx, 1), 0);
  ck_assert_int_eq(news_subscribe(NULL, NULL, &tx), UV_EINVAL);
  ck_assert_int_eq(news_subscribe(NULL, &other, NULL), UV_EINVAL);
  ck_assert_int_eq(news_resubscribe(NULL, NULL, &rx), UV_EINVAL);
  ck_assert_int_eq(news_resubscribe(NULL, &other, NULL), UV_EINVAL);
  ck_assert_int_eq(news_send(NULL, &line), UV_EINVAL);
  ck_assert_int_eq(news_send(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(news_send_many(&tx, NULL, 1), UV_EINVAL);
  ck_assert_int_eq(news_try_recv(NULL, &line), UV_EINVAL);
  ck_assert_int_eq(news_recv_start(NULL, on_news), UV_EINVAL);
  ck_assert_int_eq(news_recv_start(&rx, NULL), UV_EINVAL);
  ck_assert_int_eq(news_sender_clone(&tx, NULL), UV_EINVAL);
  ck_assert_uint_eq(news_sender_receiver_count(&tx), 1);
  ck_assert_int_eq(news_attach(NULL, &rx), UV_EINVAL);
  ck_assert_int_eq(news_close(NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(news_sender_close(&tx), 0);
  ck_assert_int_eq(news_close(&rx, NULL), 0);
}
END_TEST

/* The value of the day. */

/* The number of a line, of those that line_of() makes without a repetition. */
static size_t title_number(const line_t* line) {
  size_t i = 0;

  while (i < sizeof(line->text) && !is_line(line, i)) {
    i++;
  }
  ck_assert_uint_lt(i, sizeof(line->text));
  return i;
}

START_TEST(a_typed_value_is_there_for_all_until_the_next_one) {
  titles_receiver_t rx[3];
  titles_sender_t tx;
  titles_sender_t copy;
  line_t lines[5];
  line_t old;

  lines_of(lines, 5);
  ck_assert_int_eq(titles_init(NULL, &rx[0], &tx, &lines[0]), 0);
  ck_assert(is_line(titles_borrow(&rx[0]), 0));
  ck_assert_int_eq(titles_borrow_has_changed(&rx[0]), 0);
  ck_assert_int_eq(titles_has_changed(&rx[0]), 0);
  ck_assert_int_eq(titles_send(&tx, &lines[1]), 0);
  ck_assert_int_eq(titles_has_changed(&rx[0]), 1);
  ck_assert_int_eq(titles_subscribe(NULL, &rx[1], &tx), 0);
  ck_assert_int_eq(titles_receiver_clone(NULL, &rx[2], &rx[0]), 0);
  ck_assert_int_eq(titles_has_changed(&rx[1]), 0);
  ck_assert_int_eq(titles_has_changed(&rx[2]), 1);
  ck_assert(is_line(titles_borrow(&rx[2]), 1));
  ck_assert_int_eq(titles_borrow_has_changed(&rx[2]), 1);
  ck_assert(is_line(titles_borrow_and_update(&rx[0]), 1));
  ck_assert_int_eq(titles_has_changed(&rx[0]), 0);
  ck_assert_int_eq(titles_has_changed(&rx[2]), 1);
  ck_assert_int_eq(titles_mark_unchanged(&rx[2]), 0);
  ck_assert_int_eq(titles_has_changed(&rx[2]), 0);
  ck_assert_int_eq(titles_mark_changed(&rx[1]), 0);
  ck_assert_int_eq(titles_has_changed(&rx[1]), 1);

  ck_assert_int_eq(titles_sender_clone(&tx, &copy), 0);
  ck_assert_int_eq(titles_send_replace(&copy, &lines[2], &old), 0);
  ck_assert(is_line(&old, 1));
  ck_assert(is_line(titles_sender_borrow(&tx), 2));
  ck_assert_ptr_eq(titles_sender_borrow(&copy), titles_borrow(&rx[0]));
  ck_assert_int_eq(titles_changed_wait(&rx[0]), 0);
  ck_assert_int_eq(titles_changed_timedwait(&rx[0], 0), UV_ETIMEDOUT);
  ck_assert_uint_eq(titles_sender_sender_count(&tx), 2);
  ck_assert_uint_eq(titles_sender_receiver_count(&tx), 3);
  ck_assert_int_eq(titles_sender_same_channel(&tx, &copy), 1);
  ck_assert_int_eq(titles_receiver_same_channel(&rx[0], &rx[2]), 1);
  ck_assert_int_eq(titles_sender_close(&copy), 0);
  ck_assert_int_eq(titles_send(&tx, &lines[3]), 0);
  ck_assert_int_eq(titles_close(&rx[1], NULL), 0);
  ck_assert_int_eq(titles_close(&rx[2], NULL), 0);
  ck_assert_int_eq(titles_sender_close(&tx), 0);
  ck_assert_int_eq(titles_has_changed(&rx[0]), UV_EOF);
  ck_assert_int_eq(titles_changed_timedwait(&rx[0], 0), 0);
  ck_assert(is_line(titles_borrow(&rx[0]), 3));
  ck_assert_int_eq(titles_changed_wait(&rx[0]), UV_EOF);
  ck_assert_int_eq(titles_close(&rx[0], NULL), 0);
}
END_TEST

START_TEST(typed_watches_of_two_types_go_side_by_side) {
  places_receiver_t rx;
  places_receiver_t other_rx;
  places_sender_t tx;
  places_sender_t other_tx;
  point_t point = point_of(7);

  ck_assert_int_eq(places_init(NULL, &rx, &tx, &point), 0);
  ck_assert_int_eq(places_init(NULL, &other_rx, &other_tx, &point), 0);
  point = point_of(8);
  ck_assert_int_eq(places_send(&other_tx, &point), 0);
  ck_assert(is_point(places_borrow(&rx), 7));
  ck_assert(is_point(places_borrow(&other_rx), 8));
  ck_assert_int_eq(places_sender_same_channel(&tx, &other_tx), 0);
  ck_assert_int_eq(places_receiver_same_channel(&rx, &other_rx), 0);
  ck_assert_int_eq(places_sender_close(&tx), 0);
  ck_assert_int_eq(places_sender_close(&other_tx), 0);
  ck_assert_int_eq(places_close(&rx, NULL), 0);
  ck_assert_int_eq(places_close(&other_rx, NULL), 0);
}
END_TEST

/* What a modify function is to make, and how it is to end. */
typedef struct edit_s {
  size_t from;
  size_t to;
  int result;
  size_t calls;
} edit_t;

static int edit_title(line_t* line, void* arg) {
  edit_t* edit = arg;

  ck_assert(is_line(line, edit->from));
  *line = line_of(edit->to);
  edit->calls++;
  return edit->result;
}

START_TEST(typed_functions_modify_the_value) {
  titles_receiver_t rx;
  titles_sender_t tx;
  line_t line = line_of(0);
  edit_t edit = {0, 1, 0, 0};

  ck_assert_int_eq(titles_init(NULL, &rx, &tx, &line), 0);
  ck_assert_int_eq(titles_modify(&tx, edit_title, &edit), 0);
  ck_assert(is_line(titles_borrow_and_update(&rx), 1));
  ck_assert_int_eq(titles_borrow_has_changed(&rx), 1);
  edit.from = 1;
  edit.to = 2;
  ck_assert_int_eq(titles_modify_if(&tx, edit_title, &edit), 0);
  ck_assert_int_eq(titles_has_changed(&rx), 0);
  ck_assert(is_line(titles_borrow(&rx), 1));
  edit.result = 1;
  ck_assert_int_eq(titles_modify_if(&tx, edit_title, &edit), 1);
  ck_assert_int_eq(titles_has_changed(&rx), 1);
  ck_assert(is_line(titles_borrow(&rx), 2));
  edit.from = 2;
  edit.result = UV_ERANGE;
  ck_assert_int_eq(titles_modify(&tx, edit_title, &edit), UV_ERANGE);
  ck_assert_int_eq(titles_modify_if(&tx, edit_title, &edit), UV_ERANGE);
  ck_assert(is_line(titles_borrow(&rx), 2));
  ck_assert_uint_eq(edit.calls, 5);
  ck_assert_int_eq(titles_modify(&tx, NULL, &edit), UV_EINVAL);
  ck_assert_int_eq(titles_modify_if(&tx, NULL, &edit), UV_EINVAL);
  ck_assert_int_eq(titles_sender_close(&tx), 0);
  ck_assert_int_eq(titles_close(&rx, NULL), 0);
}
END_TEST

/* A follower's program: `last` is the number of the line that it saw last. */
typedef struct follower_s {
  size_t last;
  size_t count;
  size_t ends;
} follower_t;

static void on_title(titles_receiver_t* rx, int status, const line_t* line) {
  follower_t* follower = rx->base.data;

  if (status == UV_EOF) {
    ck_assert_ptr_null(line);
    follower->ends++;
    ck_assert_int_eq(titles_close(rx, NULL), 0);
    return;
  }
  ck_assert_int_eq(status, 0);
  follower->last = title_number(line);
  follower->count++;
}

START_TEST(typed_callbacks_get_the_newest_value) {
  titles_receiver_t rx[2];
  titles_sender_t tx;
  follower_t followers[2] = {{0, 0, 0}, {0, 0, 0}};
  line_t line = line_of(3);
  uv_loop_t loop;
  size_t i;

  support_loop_init(&loop);
  ck_assert_int_eq(titles_init(NULL, NULL, &tx, &line), 0);
  for (i = 0; i < 2; i++) {
    ck_assert_int_eq(titles_subscribe(NULL, &rx[i], &tx), 0);
    ck_assert_int_eq(titles_attach(&loop, &rx[i]), 0);
    rx[i].base.data = &followers[i];
  }
  ck_assert_int_eq(titles_start(&rx[0], on_title, 0), 0);
  ck_assert_int_eq(titles_start(&rx[0], on_title, 0), UV_EALREADY);
  ck_assert_int_eq(titles_stop(&rx[0]), 0);
  ck_assert_int_eq(titles_start(&rx[0], on_title, 0), 0);
  ck_assert_int_eq(titles_start(&rx[1], on_title, UVCH_WATCH_CURRENT), 0);
  while (followers[1].count == 0) {
    ck_assert_int_eq(uv_run(&loop, UV_RUN_ONCE), 1);
  }
  ck_assert_uint_eq(followers[0].count, 0);
  ck_assert_uint_eq(followers[1].count, 1);
  ck_assert_uint_eq(followers[1].last, 3);
  for (i = 4; i < 9; i++) {
    line = line_of(i);
    ck_assert_int_eq(titles_send(&tx, &line), 0);
  }
  ck_assert_int_eq(titles_sender_close(&tx), 0);
  support_loop_end(&loop);
  for (i = 0; i < 2; i++) {
    ck_assert_uint_eq(followers[i].count, 1 + i);
    ck_assert_uint_eq(followers[i].last, 8);
    ck_assert_uint_eq(followers[i].ends, 1);
  }
}
END_TEST

/* What a predicate waits for, and what it has been shown. */
typedef struct wish_s {
  size_t number;
  size_t calls;
} wish_t;

static int is_wanted(const line_t* line, void* arg) {
  wish_t* wish = arg;

  wish->calls++;
  return title_number(line) == wish->number;
}

static int is_refused(const line_t* line, void* arg) {
  wish_t* wish = arg;

  ck_assert(is_line(line, wish->number));
  wish->calls++;
  return UV_ERANGE;
}

START_TEST(a_thread_waits_for_a_typed_value) {
  titles_receiver_t rx;
  titles_sender_t tx;
  wish_t wish = {5, 0};
  line_t line = line_of(5);
  const line_t* got = NULL;

  ck_assert_int_eq(titles_init(NULL, &rx, &tx, &line), 0);
  ck_assert_int_eq(titles_wait_for_wait(&rx, is_wanted, &wish, &got), 0);
  ck_assert_ptr_eq(got, titles_borrow(&rx));
  ck_assert(is_line(got, 5));
  wish.number = 6;
  ck_assert_int_eq(titles_wait_for_timedwait(&rx, is_wanted, &wish, &got, 0), UV_ETIMEDOUT);
  line = line_of(6);
  ck_assert_int_eq(titles_send(&tx, &line), 0);
  ck_assert_int_eq(titles_wait_for_timedwait(&rx, is_wanted, &wish, &got, 0), 0);
  ck_assert(is_line(got, 6));
  ck_assert_int_eq(titles_wait_for_wait(&rx, is_wanted, &wish, NULL), 0);
  ck_assert_int_eq(titles_wait_for_timedwait(&rx, is_wanted, &wish, NULL, 0), 0);
  ck_assert_uint_eq(wish.calls, 5);
  ck_assert_int_eq(titles_wait_for_wait(&rx, is_refused, &wish, &got), UV_ERANGE);
  ck_assert_int_eq(titles_wait_for_timedwait(&rx, is_refused, &wish, &got, 0), UV_ERANGE);
  ck_assert_uint_eq(wish.calls, 7);
  ck_assert_int_eq(titles_sender_close(&tx), 0);
  wish.number = 7;
  ck_assert_int_eq(titles_wait_for_wait(&rx, is_wanted, &wish, &got), UV_EOF);
  ck_assert_int_eq(titles_close(&rx, NULL), 0);
}
END_TEST

/* What a request for a value came to. */
typedef struct found_s {
  titles_wait_for_t* req;
  size_t number; /* of the line that is to be found */
  int status;
  size_t count;
} found_t;

static void on_found(titles_wait_for_t* req, int status, const line_t* line) {
  found_t* found = req->base.data;

  ck_assert_ptr_eq(req, found->req);
  ck_assert_int_eq(status, found->status);
  if (status == 0) {
    ck_assert(is_line(line, found->number));
  } else {
    ck_assert_ptr_null(line);
  }
  found->count++;
}

START_TEST(a_typed_request_waits_for_a_value) {
  titles_receiver_t rx;
  titles_sender_t tx;
  titles_wait_for_t req;
  titles_wait_for_t other;
  wish_t wish = {5, 0};
  wish_t never = {sizeof(((line_t*) NULL)->text), 0};
  found_t found = {&req, 5, 0, 0};
  line_t line = line_of(4);
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(titles_init(&loop, &rx, &tx, &line), 0);
  req.base.data = &found;
  ck_assert_int_eq(titles_wait_for(&req, &rx, is_wanted, &wish, on_found), 0);
  ck_assert_int_eq(titles_wait_for(&req, &rx, is_refused, &never, on_found), UV_EALREADY);
  ck_assert_int_eq(titles_wait_for(&other, &rx, is_refused, &never, on_found), UV_EALREADY);
  while (wish.calls == 0) {
    ck_assert_int_eq(uv_run(&loop, UV_RUN_ONCE), 1);
  }
  ck_assert_uint_eq(wish.calls, 1);
  ck_assert_uint_eq(found.count, 0);
  line = line_of(5);
  ck_assert_int_eq(titles_send(&tx, &line), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(wish.calls, 2);
  ck_assert_uint_eq(found.count, 1);

  found.status = UV_ERANGE;
  ck_assert_int_eq(titles_wait_for(&req, &rx, is_refused, &wish, on_found), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(wish.calls, 3);
  ck_assert_uint_eq(found.count, 2);

  found.status = UV_ECANCELED;
  ck_assert_int_eq(titles_wait_for(&req, &rx, is_wanted, &never, on_found), 0);
  ck_assert_int_eq(uvch_cancel((uvch_req_t*) &req), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(found.count, 3);

  found.status = UV_EOF;
  ck_assert_int_eq(titles_wait_for(&req, &rx, is_wanted, &never, on_found), 0);
  ck_assert_int_eq(titles_sender_close(&tx), 0);
  support_loop_run(&loop);
  ck_assert_uint_eq(found.count, 4);
  ck_assert_int_eq(titles_close(&rx, NULL), 0);
  support_loop_end(&loop);
}
END_TEST

static void on_titles_closed(uvch_watch_closed_t* req, int status) {
  size_t* told = req->data;

  ck_assert_int_eq(status, 0);
  *told += 1;
}

START_TEST(a_typed_sender_is_told_that_no_follower_is_left) {
  titles_receiver_t rx;
  titles_sender_t tx;
  uvch_watch_closed_t req;
  line_t line = line_of(0);
  size_t told = 0;
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(titles_init(NULL, &rx, &tx, &line), 0);
  req.data = &told;
  ck_assert_int_eq(titles_closed(&loop, &req, &tx, on_titles_closed), 0);
  ck_assert_int_eq(titles_closed_timedwait(&tx, 0), UV_ETIMEDOUT);
  ck_assert_int_eq(titles_sender_is_closed(&tx), 0);
  ck_assert_int_eq(titles_close(&rx, NULL), 0);
  ck_assert_int_eq(titles_sender_is_closed(&tx), 1);
  ck_assert_int_eq(titles_closed_wait(&tx), 0);
  support_loop_end(&loop);
  ck_assert_uint_eq(told, 1);
  ck_assert_int_eq(titles_sender_close(&tx), 0);
}
END_TEST

static void drop_motto(void* value, void* arg) {
  char** motto = value;
  names_made_t* made = arg;

  made->drops++;
  free(*motto);
}

START_TEST(a_typed_watch_takes_options_and_pointers) {
  mottos_receiver_t rx;
  mottos_sender_t tx;
  uvch_watch_options_t options;
  const char* motto = strdup("first");
  const char* next = strdup("second");
  const char* old = NULL;
  names_made_t made = {0, 0};

  ck_assert_ptr_nonnull(motto);
  ck_assert_ptr_nonnull(next);
  memset(&options, 0, sizeof(options));
  options.copy = copy_name;
  options.drop = drop_motto;
  options.arg = &made;
  ck_assert_int_eq(mottos_init_ex(NULL, &rx, &tx, &motto, &options), 0);
  ck_assert_str_eq(*mottos_borrow(&rx), "first");
  ck_assert_int_eq(mottos_send_replace(&tx, &next, &old), 0);
  ck_assert_str_eq(old, "first");
  ck_assert_ptr_ne(old, motto);
  ck_assert_uint_eq(made.copies, 1);
  ck_assert_uint_eq(made.drops, 0);
  free((void*) (uintptr_t) old);
  ck_assert_str_eq(*mottos_borrow(&rx), "second");
  ck_assert_uint_eq(made.drops, 1);
  ck_assert_int_eq(mottos_sender_close(&tx), 0);
  ck_assert_int_eq(mottos_close(&rx, NULL), 0);
  ck_assert_uint_eq(made.drops, 2);
}
END_TEST

START_TEST(typed_watches_refuse_null_as_the_untyped_ones_do) {
  titles_receiver_t rx;
  titles_receiver_t other;
  titles_sender_t tx;
  titles_wait_for_t req;
  line_t line = line_of(0);
  wish_t wish = {0, 0};
  uv_loop_t loop;

  support_loop_init(&loop);
  ck_assert_int_eq(titles_init(NULL, &rx, NULL, &line), UV_EINVAL);
  ck_assert_int_eq(titles_init(NULL, &rx, &tx, NULL), UV_EINVAL);
  ck_assert_int_eq(titles_init(&loop, &rx, &tx, &line), 0);
  ck_assert_int_eq(titles_subscribe(NULL, NULL, &tx), UV_EINVAL);
  ck_assert_int_eq(titles_subscribe(NULL, &other, NULL), UV_EINVAL);
  ck_assert_int_eq(titles_receiver_clone(NULL, &other, NULL), UV_EINVAL);
  ck_assert_int_eq(titles_send(NULL, &line), UV_EINVAL);
  ck_assert_int_eq(titles_send(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(titles_send_replace(&tx, &line, NULL), UV_EINVAL);
  ck_assert_ptr_null(titles_sender_borrow(NULL));
  ck_assert_ptr_null(titles_borrow(NULL));
  ck_assert_ptr_null(titles_borrow_and_update(NULL));
  ck_assert_int_eq(titles_start(NULL, on_title, 0), UV_EINVAL);
  ck_assert_int_eq(titles_start(&rx, NULL, 0), UV_EINVAL);
  ck_assert_int_eq(titles_wait_for(NULL, &rx, is_wanted, &wish, on_found), UV_EINVAL);
  ck_assert_int_eq(titles_wait_for(&req, NULL, is_wanted, &wish, on_found), UV_EINVAL);
  ck_assert_int_eq(titles_wait_for(&req, &rx, NULL, &wish, on_found), UV_EINVAL);
  ck_assert_int_eq(titles_wait_for(&req, &rx, is_wanted, &wish, NULL), UV_EINVAL);
  ck_assert_int_eq(titles_wait_for_wait(NULL, is_wanted, &wish, NULL), UV_EINVAL);
  ck_assert_int_eq(titles_sender_clone(&tx, NULL), UV_EINVAL);
  ck_assert_int_eq(titles_attach(NULL, &rx), UV_EINVAL);
  ck_assert_int_eq(titles_close(NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(titles_sender_close(&tx), 0);
  ck_assert_int_eq(titles_close(&rx, NULL), 0);
  support_loop_end(&loop);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("typed");
  TCase* tcase = support_case(suite, "typed");

  tcase_add_test(tcase, typed_messages_come_out_as_they_went_in);
  tcase_add_test(tcase, typed_callbacks_get_their_receiver_and_every_message);
  tcase_add_test(tcase, a_thread_sends_typed_messages_to_a_loop);
  tcase_add_test(tcase, a_typed_request_waits_and_a_typed_receiver_stops_shuts_down_and_closes);
  tcase_add_test(tcase, typed_senders_clone_and_tell_what_untyped_ones_tell);
  tcase_add_test(tcase, pointers_are_messages_too);
  tcase_add_test(tcase, a_typed_channel_takes_options);
  tcase_add_test(tcase, typed_calls_refuse_null_as_the_untyped_ones_do);
  tcase_add_test(tcase, the_messages_of_a_batch_are_found_by_their_stride);
  tcase_add_test(tcase, many_typed_messages_go_in_and_come_out_at_once);
  tcase_add_test(tcase, typed_callbacks_get_many_messages);
  tcase_add_test(tcase, typed_permits_send_split_and_give_back);
  tcase_add_test(tcase, typed_weak_senders_become_senders_while_there_is_one);
  tcase_add_test(tcase, a_typed_sender_is_told_that_its_channel_is_closed);
  tcase_add_test(tcase, a_typed_value_comes_out_as_it_went_in);
  tcase_add_test(tcase, a_typed_callback_gets_its_receiver_and_its_value);
  tcase_add_test(tcase, a_typed_oneshot_takes_options);
  tcase_add_test(tcase, a_typed_sender_is_told_that_nobody_waits_for_its_value);
  tcase_add_test(tcase, typed_oneshots_refuse_null_as_the_untyped_ones_do);
  tcase_add_test(tcase, typed_calls_get_replies_of_their_types);
  tcase_add_test(tcase, a_typed_call_takes_options_and_can_be_cancelled);
  tcase_add_test(tcase, a_thread_waits_for_the_replies_to_typed_calls);
  tcase_add_test(tcase, typed_news_come_to_all_who_are_subscribed);
  tcase_add_test(tcase, a_typed_receiver_that_is_behind_is_told_how_many_it_has_missed);
  tcase_add_test(tcase, typed_callbacks_get_the_news_and_the_gaps);
  tcase_add_test(tcase, a_typed_request_waits_for_the_slowest_reader);
  tcase_add_test(tcase, typed_news_have_clones_and_weak_senders);
  tcase_add_test(tcase, a_typed_sender_is_told_that_no_reader_is_left);
  tcase_add_test(tcase, a_typed_broadcast_takes_options_and_pointers);
  tcase_add_test(tcase, typed_news_refuse_null_as_the_untyped_ones_do);
  tcase_add_test(tcase, a_typed_value_is_there_for_all_until_the_next_one);
  tcase_add_test(tcase, typed_watches_of_two_types_go_side_by_side);
  tcase_add_test(tcase, typed_functions_modify_the_value);
  tcase_add_test(tcase, typed_callbacks_get_the_newest_value);
  tcase_add_test(tcase, a_thread_waits_for_a_typed_value);
  tcase_add_test(tcase, a_typed_request_waits_for_a_value);
  tcase_add_test(tcase, a_typed_sender_is_told_that_no_follower_is_left);
  tcase_add_test(tcase, a_typed_watch_takes_options_and_pointers);
  tcase_add_test(tcase, typed_watches_refuse_null_as_the_untyped_ones_do);
  return support_main(suite);
}
