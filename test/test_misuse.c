/* SPDX-License-Identifier: MIT
 *
 * Mistakes of a program. Each is made in a forked child. A mistake with an error code gets that in every build; with
 * --enable-debug-checks it is named on stderr as well, with the threads. Those without one abort the program there, and are not made
 * in other builds, where anything may happen then. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_SECONDS 60 /* then it is taken to hang */
#define TEXT_MAX 16384

#define must(condition)                                                            \
  do {                                                                             \
    if (!(condition)) {                                                            \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);       \
      _exit(2);                                                                    \
    }                                                                              \
  } while (0)

/* What the children have. */

static uv_loop_t loop;
static uvch_mpsc_receiver_t rx;
static uvch_mpsc_sender_t tx;
static _Atomic(long) sleeper;

static void make(uv_loop_t* where, size_t capacity) {
  must(uv_loop_init(&loop) == 0);
  must(uvch_mpsc_init(where, &rx, &tx, sizeof(uint64_t), capacity) == 0);
}

static void in_thread(uv_thread_cb entry) {
  uv_thread_t thread;

  must(uv_thread_create(&thread, entry, NULL) == 0);
  must(uv_thread_join(&thread) == 0);
}

static void on_message(uvch_mpsc_receiver_t* from, int status, void* item) {
  (void) from;
  (void) status;
  (void) item;
}

static void on_sent(uvch_mpsc_send_t* req, int status) {
  (void) req;
  (void) status;
}

static void run_loop(void* arg) {
  (void) arg;
  sleeper = support_thread_number();
  uv_run(&loop, UV_RUN_DEFAULT);
}

static void send_one(void) {
  const uint64_t value = 1;

  uvch_mpsc_try_send(&tx, &value);
}

static void run_once(void) {
  uv_run(&loop, UV_RUN_NOWAIT);
}

/* Mistakes with a code. */

static void close_receiver(void* arg) {
  (void) arg;
  must(uvch_close((uvch_handle_t*) &rx, NULL) == 0);
}

static void close_sender(void* arg) {
  (void) arg;
  must(uvch_mpsc_sender_close(&tx) == 0);
}

static void closes_a_receiver_twice(void) {
  make(NULL, 4);
  in_thread(close_receiver);
  must(uvch_close((uvch_handle_t*) &rx, NULL) == UV_EALREADY);
}

static void uses_a_closed_receiver(void) {
  uint64_t value;

  make(NULL, 4);
  in_thread(close_receiver);
  must(uvch_mpsc_try_recv(&rx, &value) == UV_EBADF);
}

static void closes_a_sender_twice(void) {
  make(NULL, 4);
  in_thread(close_sender);
  must(uvch_mpsc_sender_close(&tx) == UV_EBADF);
}

static void sends_through_a_closed_sender(void) {
  const uint64_t value = 1;

  make(NULL, 4);
  in_thread(close_sender);
  must(uvch_mpsc_try_send(&tx, &value) == UV_EBADF);
}

static void uses_an_empty_permit(void) {
  const uint64_t value = 1;
  uvch_mpsc_permit_t permit;

  make(NULL, 4);
  must(uvch_mpsc_try_reserve(&tx, 1, &permit) == 0);
  must(uvch_mpsc_permit_send(&permit, &value) == 0);
  must(uvch_mpsc_permit_send(&permit, &value) == UV_EBADF);
}

static void replies_twice(void) {
  const uint64_t value = 1;
  uvch_oneshot_receiver_t reply_rx;
  uvch_oneshot_sender_t reply_tx;

  must(uvch_oneshot_init(NULL, &reply_rx, &reply_tx, sizeof value) == 0);
  must(uvch_oneshot_send(&reply_tx, &value) == 0);
  must(uvch_oneshot_send(&reply_tx, &value) == UV_EBADF);
}

static void uses_a_closed_broadcast_sender(void) {
  const uint64_t value = 1;
  uvch_broadcast_receiver_t news_rx;
  uvch_broadcast_sender_t news_tx;

  must(uvch_broadcast_init(NULL, &news_rx, &news_tx, sizeof value, 4) == 0);
  must(uvch_broadcast_sender_close(&news_tx) == 0);
  must(uvch_broadcast_send(&news_tx, &value) == UV_EBADF);
}

static void uses_a_closed_watch_receiver(void) {
  const uint64_t value = 1;
  uvch_watch_receiver_t state_rx;
  uvch_watch_sender_t state_tx;

  must(uvch_watch_init(NULL, &state_rx, &state_tx, sizeof value, &value) == 0);
  must(uvch_close((uvch_handle_t*) &state_rx, NULL) == 0);
  must(uvch_watch_changed_wait(&state_rx) == UV_EBADF);
}

static void waits_at_a_receiver_that_has_a_loop(void) {
  uint64_t value;

  make(&loop, 4);
  must(uvch_mpsc_recv_wait(&rx, &value) == UV_EPERM);
}

static void fill_and_wait(uvch_mpsc_receiver_t* from, int status, void* item) {
  const uint64_t value = 1;

  (void) item;
  if (status != 0)
    return;
  while (uvch_mpsc_try_send(&tx, &value) == 0) {}
  must(uvch_mpsc_send_wait(&tx, &value) == UV_EPERM);
  must(uvch_close((uvch_handle_t*) from, NULL) == 0);
}

static void waits_for_room_that_it_makes_itself(void) {
  const uint64_t value = 1;

  make(&loop, 1);
  must(uvch_mpsc_recv_start(&rx, fill_and_wait) == 0);
  must(uvch_mpsc_try_send(&tx, &value) == 0);
  must(uv_run(&loop, UV_RUN_DEFAULT) == 0);
}

static void bind_again(void* arg) {
  uvch_mpsc_receiver_t other_rx;
  uvch_mpsc_sender_t other_tx;

  (void) arg;
  must(uvch_mpsc_init(&loop, &other_rx, &other_tx, 8, 4) == UV_EPERM);
}

static void binds_to_a_loop_that_another_thread_runs(void) {
  make(&loop, 4);
  send_one();
  must(uvch_mpsc_recv_start(&rx, on_message) == 0);
  run_once();
  in_thread(bind_again);
}

/* Those without. */

static void start_in_thread(void) {
  uv_thread_t thread;

  must(uvch_mpsc_recv_start(&rx, on_message) == 0);
  must(uv_thread_create(&thread, run_loop, NULL) == 0);
  support_until_blocked(&sleeper);
}

static void stops_a_receiver_of_a_running_loop(void) {
  make(&loop, 4);
  start_in_thread();
  uvch_mpsc_recv_stop(&rx);
}

static void closes_a_receiver_of_a_running_loop(void) {
  make(&loop, 4);
  start_in_thread();
  uvch_close((uvch_handle_t*) &rx, NULL);
}

static void lets_a_running_loop_go(void) {
  make(&loop, 4);
  start_in_thread();
  uvch_unref((uvch_handle_t*) &rx);
}

static void cancels_a_request_of_a_running_loop(void) {
  static uvch_mpsc_send_t req;
  const uint64_t value = 1;
  uv_thread_t thread;

  make(&loop, 1);
  must(uvch_mpsc_try_send(&tx, &value) == 0);
  must(uvch_mpsc_send(&loop, &req, &tx, &value, on_sent) == 0);
  must(uv_thread_create(&thread, run_loop, NULL) == 0);
  support_until_blocked(&sleeper);
  uvch_cancel((uvch_req_t*) &req);
}

static void begins_a_request_twice(void) {
  static uvch_mpsc_send_t req;
  const uint64_t value = 1;

  make(&loop, 1);
  must(uvch_mpsc_try_send(&tx, &value) == 0);
  must(uvch_mpsc_send(&loop, &req, &tx, &value, on_sent) == 0);
  uvch_mpsc_send(&loop, &req, &tx, &value, on_sent);
}

static void makes_a_handle_again_that_is_in_use(void) {
  make(&loop, 4);
  uvch_mpsc_init(&loop, &rx, &tx, 8, 4);
}

static void frees_a_handle_before_its_close_callback(void) {
  make(&loop, 4);
  must(uvch_close((uvch_handle_t*) &rx, NULL) == 0);
  memset(&rx, 0, sizeof rx);
  uv_run(&loop, UV_RUN_DEFAULT);
}

static void frees_a_handle_that_is_open(void) {
  const uint64_t value = 1;

  make(&loop, 4);
  must(uvch_mpsc_recv_start(&rx, on_message) == 0);
  memset(&rx, 0x5a, sizeof rx);
  uvch_mpsc_try_send(&tx, &value);
  uv_run(&loop, UV_RUN_NOWAIT);
}

static void as_child(void (*act)(void)) {
  pid_t child = fork();
  int status = 0;

  must(child >= 0);
  if (child == 0) {
    act();
    _exit(0);
  }
  must(waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
    abort();
}

static void sends_in_a_child_without_loop_fork(void) {
  make(&loop, 4);
  must(uvch_mpsc_recv_start(&rx, on_message) == 0);
  run_once();
  as_child(send_one);
}

static void runs_a_loop_in_a_child_without_loop_fork(void) {
  make(&loop, 4);
  send_one();
  must(uvch_mpsc_recv_start(&rx, on_message) == 0);
  as_child(run_once);
}

static void asks_to_be_stopped_at_the_first_mistake(void) {
  setenv("UVCH_DEBUG", "abort", 1);
  make(NULL, 4);
  close_sender(NULL);
  uvch_mpsc_sender_close(&tx);
}

/* No mistake. */

static void on_closed(uvch_handle_t* handle) {
  memset(handle, 0x5a, sizeof(uvch_mpsc_receiver_t));
}

static void take_over(void) {
  must(uv_loop_fork(&loop) == 0);
  must(uvch_loop_fork(&loop) == 0);
  send_one();
  uv_run(&loop, UV_RUN_NOWAIT);
}

/* Hands the loop to a thread, takes it back after that has ended, forks, and uses the memory again once it may. */
static void makes_no_mistake(void) {
  int i;

  for (i = 0; i < 2; i++) {
    make(&loop, 4);
    must(uvch_mpsc_recv_start(&rx, on_message) == 0);
    send_one();
    uvch_unref((uvch_handle_t*) &rx);
    in_thread(run_loop);
    uvch_ref((uvch_handle_t*) &rx);
    as_child(take_over);
    must(uvch_mpsc_recv_stop(&rx) == 0);
    must(uvch_mpsc_receiver_is_closed(&rx) == 0);
    must(uvch_close((uvch_handle_t*) &rx, on_closed) == 0);
    must(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    must(uv_loop_close(&loop) == 0);
    must(uvch_mpsc_sender_close(&tx) == 0);
  }
}

static const struct mistake {
  const char* name;
  void (*make)(void);
  int has_code;
  const char* says[3];
} mistakes[] = {
#define CODE(function, ...) {#function, function, 1, {__VA_ARGS__}}
#define FATAL(function, ...) {#function, function, 0, {__VA_ARGS__}}
    CODE(closes_a_receiver_twice, "closed twice (EALREADY); here is thread 2", "closed by uvch_close on thread 1"),
    CODE(uses_a_closed_receiver, "used after it was closed (EBADF); here is thread 2", "closed by uvch_close on thread 1"),
    CODE(closes_a_sender_twice, "used after it was closed (EBADF)", "closed by uvch_mpsc_sender_close on thread"),
    CODE(sends_through_a_closed_sender, "used after it was closed (EBADF)", "closed by uvch_mpsc_sender_close on thread"),
    CODE(uses_an_empty_permit, "is empty (EBADF)", "used up by"),
    CODE(replies_twice, "used after it was closed (EBADF)", "used up by"),
    CODE(uses_a_closed_broadcast_sender, "used after it was closed (EBADF)", "closed by uvch_broadcast_sender_close on thread"),
    CODE(uses_a_closed_watch_receiver, "used after it was closed (EBADF)", "closed by uvch_close on thread"),
    CODE(waits_at_a_receiver_that_has_a_loop, "has a loop, so a thread cannot wait for it (EPERM)"),
    CODE(waits_for_room_that_it_makes_itself, "waited for by the thread that runs the receiver's loop (EPERM)"),
    CODE(binds_to_a_loop_that_another_thread_runs, "is a loop that is run by thread 1 (", "EPERM); here is thread 2"),
    FATAL(stops_a_receiver_of_a_running_loop, "a loop that is being run by thread 2 (", "here is thread 1 ("),
    FATAL(closes_a_receiver_of_a_running_loop, "a loop that is being run by thread 2 (", "here is thread 1 ("),
    FATAL(lets_a_running_loop_go, "a loop that is being run by thread 2 (", "here is thread 1 ("),
    FATAL(cancels_a_request_of_a_running_loop, "a loop that is being run by thread 2 (", "here is thread 1 ("),
    FATAL(begins_a_request_twice, "request: ", "begun again while it is in use; first by thread 1"),
    FATAL(makes_a_handle_again_that_is_in_use, "handle: ", "made or begun again while it is in use; first by thread 1"),
    FATAL(frees_a_handle_before_its_close_callback, "handle: ", "freed or overwritten before its last callback"),
    FATAL(frees_a_handle_that_is_open, "handle: ", "freed or overwritten before its last callback"),
    FATAL(sends_in_a_child_without_loop_fork, "in a forked child without uvch_loop_fork()"),
    FATAL(runs_a_loop_in_a_child_without_loop_fork, "uv_run: ", "in a forked child without uvch_loop_fork()"),
    FATAL(asks_to_be_stopped_at_the_first_mistake, "used after it was closed (EBADF)"),
};

/* The child's status; `text` is what it has written to stderr. */
static int make_mistake(void (*act)(void), char* text) {
  FILE* out = tmpfile();
  int status = 0;
  size_t size;
  pid_t child;

  ck_assert_ptr_nonnull(out);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    signal(SIGALRM, SIG_DFL);
    alarm(CHILD_SECONDS);
    dup2(fileno(out), STDERR_FILENO);
    unsetenv("UVCH_DEBUG");
    act();
    fflush(NULL);
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  rewind(out);
  size = fread(text, 1, TEXT_MAX - 1, out);
  text[size] = '\0';
  fclose(out);
  return status;
}

START_TEST(a_mistake_is_answered_and_named) {
  const struct mistake* m = &mistakes[_i];
  char text[TEXT_MAX];
  size_t i;
  int status;

#ifndef UVCH_DEBUG_CHECKS
  if (!m->has_code)
    return;
#endif
  status = make_mistake(m->make, text);
  if (m->has_code)
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: status %d: %s", m->name, status, text);
  else
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s: status %d: %s", m->name, status, text);
#ifdef UVCH_DEBUG_CHECKS
  for (i = 0; i < sizeof m->says / sizeof m->says[0] && m->says[i] != NULL; i++)
    ck_assert_msg(strstr(text, m->says[i]) != NULL, "%s: it says nothing of '%s': %s", m->name, m->says[i], text);
#else
  (void) i;
  ck_assert_str_eq(text, "");
#endif
}
END_TEST

START_TEST(a_program_without_mistakes_is_told_nothing) {
  char text[TEXT_MAX];
  int status = make_mistake(makes_no_mistake, text);

  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d: %s", status, text);
  ck_assert_str_eq(text, "");
}
END_TEST

int main(void) {
  Suite* suite = suite_create("misuse");
  TCase* tcase = support_case(suite, "misuse");

  tcase_add_loop_test(tcase, a_mistake_is_answered_and_named, 0, (int) (sizeof mistakes / sizeof mistakes[0]));
  tcase_add_test(tcase, a_program_without_mistakes_is_told_nothing);
  return support_main(suite);
}
