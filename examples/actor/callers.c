/* SPDX-License-Identifier: MIT
 *
 * The callers' side, three times the same work. A command that times out is over: nobody waits for its answer, and one that
 * comes late is dropped. */
#include "actor.h"

/*
 * A loop, and uvch_call: no handle, no close, a timeout. The usual way.
 */

struct call_caller {
  struct work* work;
  uv_loop_t loop;
  uvch_call_t call;
};

static void call_next(struct call_caller* c);

static void on_reply(uvch_call_t* call, int status, void* reply) {
  struct call_caller* c = call->data;

  work_done(c->work, status, reply);
  call_next(c);
}

static void call_next(struct call_caller* c) {
  while (work_next(c->work)) {
    struct command* command = &c->work->command; /* stays put until on_reply */
    uvch_call_options_t options = {.timeout = c->work->timeout};
    int r = uvch_call_ex(&c->loop, &c->call, &c->work->tx, command, &command->reply, sizeof(struct answer), &options, on_reply);
    if (r == 0)
      return;
    work_done(c->work, r, NULL); /* an error: on_reply does not come */
  }
  must(uvch_mpsc_sender_close(&c->work->tx), "close");
}

void by_call(void* arg) {
  struct call_caller c = {.work = arg};

  must(uv_loop_init(&c.loop), "loop");
  c.call.data = &c;
  call_next(&c);
  must(uv_run(&c.loop, UV_RUN_DEFAULT), "run");
  must(uv_loop_close(&c.loop), "loop");
}

/*
 * A loop, and all by hand: an own oneshot and timer, a send that waits for room. It shows what uvch_call does, for those who need
 * the parts apart.
 */

struct hand_caller {
  struct work* work;
  uv_loop_t loop;
  uvch_mpsc_send_t send;
  uvch_oneshot_receiver_t rx;
  uv_timer_t timer;
  int in_use;     /* how many of these three are; the next command takes their memory when none is */
  int is_sending; /* on_sent is to come */
};

static void hand_next(struct hand_caller* c);

static void released(struct hand_caller* c) {
  if (--c->in_use == 0)
    hand_next(c);
}

static void on_receiver_closed(uvch_handle_t* rx) {
  released(rx->data);
}

static void on_timer_closed(uv_handle_t* timer) {
  released(timer->data);
}

static void on_sent(uvch_mpsc_send_t* send, int status) {
  struct hand_caller* c = send->data;

  c->is_sending = 0;
  if (status != 0) /* the command is ours again, the sender in it too; a receiver that still waits gets UV_EOF */
    must(uvch_oneshot_sender_close(&c->work->command.reply), "close");
  released(c);
}

/* The answer or the timer, whichever is first: closing both handles makes sure that the other one does not come any more. */
static void finish(struct hand_caller* c, int status, const struct answer* answer) {
  work_done(c->work, status, answer);
  if (c->is_sending) { /* perhaps it waits for room */
    int r = uvch_cancel((uvch_req_t*) &c->send);
    must(r == UV_EBUSY ? 0 : r, "cancel"); /* too late to cancel is fine: on_sent comes in any case */
  }
  must(uvch_close((uvch_handle_t*) &c->rx, on_receiver_closed), "close"); /* from now on the answer is refused */
  uv_close((uv_handle_t*) &c->timer, on_timer_closed);
}

static void on_answer(uvch_oneshot_receiver_t* rx, int status, void* item) {
  finish(rx->data, status, item);
}

static void on_timeout(uv_timer_t* timer) {
  finish(timer->data, UV_ETIMEDOUT, NULL);
}

static void hand_next(struct hand_caller* c) {
  struct command* command = &c->work->command; /* stays put until on_sent */
  int r;

  if (!work_next(c->work)) {
    must(uvch_mpsc_sender_close(&c->work->tx), "close");
    return;
  }
  must(uvch_oneshot_init(&c->loop, &c->rx, &command->reply, sizeof(struct answer)), "oneshot");
  must(uvch_oneshot_recv(&c->rx, on_answer), "receive");
  must(uv_timer_init(&c->loop, &c->timer), "timer");
  if (c->work->timeout != 0)
    must(uv_timer_start(&c->timer, on_timeout, c->work->timeout / 1000000, 0), "timer");
  c->send.data = c->rx.data = c->timer.data = c;
  c->in_use = 3;
  r = uvch_mpsc_send(&c->loop, &c->send, &c->work->tx, command, on_sent);
  c->is_sending = r == 0;
  if (r != 0)
    on_sent(&c->send, r); /* an error: it does not come by itself */
}

void by_hand(void* arg) {
  struct hand_caller c = {.work = arg};

  must(uv_loop_init(&c.loop), "loop");
  hand_next(&c);
  must(uv_run(&c.loop, UV_RUN_DEFAULT), "run");
  must(uv_loop_close(&c.loop), "loop");
}

/*
 * A thread without a loop.
 */

void by_wait(void* arg) {
  struct work* work = arg;
  struct command* command = &work->command;
  struct answer answer;

  while (work_next(work)) {
    int r;
    if (work->timeout == 0)
      r = uvch_call_wait(&work->tx, command, &command->reply, &answer, sizeof(answer));
    else
      r = uvch_call_timedwait(&work->tx, command, &command->reply, &answer, sizeof(answer), work->timeout, NULL);
    work_done(work, r, &answer);
  }
  must(uvch_mpsc_sender_close(&work->tx), "close");
}
