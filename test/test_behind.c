/* SPDX-License-Identifier: MIT
 *
 * A receiver that is far behind in a channel without a bound: whose senders let other threads run. sched_yield() is this program's
 * own, which counts. */
#include "support.h"

#include <time.h>

#define MESSAGES 100000 /* of 8 bytes: far more than 256 KiB of slots */

static _Thread_local size_t yields;

int sched_yield(void);

int sched_yield(void) {
  const struct timespec none = {0, 0};

  yields += 1;
  return nanosleep(&none, NULL);
}

typedef struct behind_s {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uint64_t received;
  size_t yields; /* of who sent */
  bool sends;    /* in the first callback */
  support_result_t result;
} behind_t;

static void send_all(void* arg) {
  behind_t* behind = arg;
  size_t before = yields;
  uint64_t i;

  for (i = 0; i < MESSAGES; i++) {
    if (!support_expect_eq(&behind->result, uvch_mpsc_try_send(&behind->tx, &i), 0)) {
      break;
    }
  }
  support_expect_eq(&behind->result, uvch_mpsc_sender_close(&behind->tx), 0);
  behind->yields = yields - before;
}

static void on_recv(uvch_mpsc_receiver_t* rx, int status, void* item) {
  behind_t* behind = rx->data;

  (void) item;
  if (status == UV_EOF) {
    support_close(rx);
    return;
  }
  behind->received += 1;
  if (behind->sends) {
    behind->sends = false;
    send_all(behind);
  }
}

static void behind_init(behind_t* behind) {
  memset(behind, 0, sizeof(*behind));
  support_loop_init(&behind->loop);
  ck_assert_int_eq(uvch_mpsc_init(&behind->loop, &behind->rx, &behind->tx, sizeof(uint64_t), UVCH_UNBOUNDED), 0);
  behind->rx.data = behind;
  ck_assert_int_eq(uvch_mpsc_recv_start(&behind->rx, on_recv), 0);
}

static void behind_end(behind_t* behind, uint64_t count) {
  support_loop_end(&behind->loop);
  support_result_check(&behind->result);
  ck_assert_uint_eq(behind->received, count);
}

START_TEST(a_thread_lets_others_run_where_there_are_several_processors) {
  static behind_t behind;
  uv_thread_t thread;

  behind_init(&behind);
  support_spawn(&thread, send_all, &behind);
  support_join(&thread);
  ck_assert_int_eq(behind.yields > 0, uv_available_parallelism() > 1);
  behind_end(&behind, MESSAGES);
}
END_TEST

START_TEST(a_callback_of_the_receivers_own_loop_does_not) {
  static behind_t behind;

  behind_init(&behind);
  behind.sends = true;
  support_put(&behind.tx, 0);
  behind_end(&behind, MESSAGES + 1);
  ck_assert_uint_eq(behind.yields, 0);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("behind");
  TCase* tcase = support_case(suite, "behind");

  tcase_add_test(tcase, a_thread_lets_others_run_where_there_are_several_processors);
  tcase_add_test(tcase, a_callback_of_the_receivers_own_loop_does_not);
  return support_main(suite);
}
