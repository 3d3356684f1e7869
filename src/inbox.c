/* SPDX-License-Identifier: MIT
 *
 * An inbox is an unbounded mpsc channel of calls. Its receiver is the library's own memory, which the port frees. */
#include <uvch/inbox.h>
#include <uvch/mpsc.h>

#include "alloc.h"
#include "atomic.h"
#include "handle.h"

struct call {
  uvch_post_cb fn;
  void* arg;
};

/* The call may close the inbox and run the loop, so that `rx` is gone when it returns. */
static void on_call(uvch_mpsc_receiver_t* rx, int status, void* item) {
  const struct call* call = item;

  if (status == 0)
    call->fn(rx->loop, 0, call->arg);
  else
    uvch_close((uvch_handle_t*) rx, NULL); /* nobody can post any more */
}

static void drop(void* item, void* loop) {
  const struct call* call = item;

  call->fn(loop, UV_ECANCELED, call->arg);
}

int uvch_inbox_init(uv_loop_t* loop, uvch_inbox_t* inbox) {
  uvch_mpsc_options_t options = {.drop = drop, .arg = loop};
  uvch_mpsc_receiver_t* rx;
  uvch_mpsc_sender_t tx;
  int err;

  if (loop == NULL || inbox == NULL)
    return UV_EINVAL;
  rx = uvch__calloc(1, sizeof *rx);
  if (rx == NULL)
    return UV_ENOMEM;
  err = uvch_mpsc_init_ex(loop, rx, &tx, sizeof(struct call), UVCH_UNBOUNDED, &options);
  if (err != 0) {
    uvch__free(rx);
    return err;
  }
  uvch_mpsc_recv_start(rx, on_call); /* cannot fail */
  rx->type = UVCH_INBOX;             /* from now on no call for receivers takes it */
  rx->flags |= UVCH__OWNED;
  inbox->core = tx.core;
  return 0;
}

/* The senders' calls do the rest. */

static uvch_mpsc_sender_t sender_of(const uvch_inbox_t* inbox) {
  return (uvch_mpsc_sender_t){uvch__ptr_load(&inbox->core)};
}

int uvch_inbox_clone(const uvch_inbox_t* inbox, uvch_inbox_t* copy) {
  uvch_mpsc_sender_t from;
  uvch_mpsc_sender_t to;
  int err;

  if (inbox == NULL || copy == NULL)
    return UV_EINVAL;
  from = sender_of(inbox);
  err = uvch_mpsc_sender_clone(&from, &to);
  if (err == 0)
    copy->core = to.core;
  return err;
}

int uvch_inbox_close(uvch_inbox_t* inbox) {
  uvch_mpsc_sender_t tx;

  if (inbox == NULL)
    return UV_EINVAL;
  tx.core = uvch__ptr_take(&inbox->core);
  return uvch_mpsc_sender_close(&tx);
}

int uvch_post(const uvch_inbox_t* inbox, uvch_post_cb fn, void* arg) {
  const struct call call = {fn, arg};
  uvch_mpsc_sender_t tx;

  if (inbox == NULL || fn == NULL)
    return UV_EINVAL;
  tx = sender_of(inbox);
  return uvch_mpsc_try_send(&tx, &call);
}

/* Stopping. */

/* Those that are done already, or are just being served, get their callback by themselves. */
static void cancel_requests(struct uvch__port* port) {
  struct uvch__list* next;
  struct uvch__list* q;

  for (q = port->reqs.next; q != &port->reqs; q = next) {
    next = q->next;
    uvch_cancel(UVCH__CONTAINER(q, uvch_req_t, queue));
  }
}

/* The requests first, as long as their channels are open: they are told that they were cancelled, wherever they wait. */
static void stop(uv_loop_t* loop, int status, void* arg) {
  struct uvch__port* port = status == 0 ? uvch__port_find(loop) : NULL;

  (void) arg;
  if (port == NULL)
    return; /* the inbox was closed before */
  cancel_requests(port);
  uvch_close_all(loop);
}

int uvch_inbox_stop(const uvch_inbox_t* inbox) {
  return uvch_post(inbox, stop, NULL);
}
