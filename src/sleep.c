/* SPDX-License-Identifier: MIT */
#include "sleep.h"

int uvch__may_sleep(struct uvch__core* c) {
  struct uvch__port* port = uvch__home_port(&c->home);

  if (port == NULL || !uvch__port_runs_here(port))
    return 0;
  if ((atomic_load_explicit(&c->word, memory_order_relaxed) & UVCH__DEAD_WORD) != 0) /* relaxed: this thread has closed it */
    return 0;
  return UVCH__WAITS_FOR_ITSELF(port->loop);
}

static void tell(struct uvch__waiter* waiter, struct uvch__core* c) {
  struct uvch__parker* p = waiter->parker;

  (void) c;
  uvch__parker_wake(p); /* [K1] the waiter's frame may be gone from here on */
  uvch__parker_unref(p);
}

int uvch__sleep_queued(struct uvch__core* c, struct uvch__waiter* waiter, uint64_t timeout) {
  struct uvch__queue* q;
  int err;

  if (timeout == 0)
    return UV_ETIMEDOUT;
  q = uvch__queue_get(c);
  waiter->tell = tell;
  waiter->parker = q != NULL ? uvch__queue_parker(c, q) : NULL;
  if (waiter->parker == NULL)
    return UV_ENOMEM;
  err = uvch__queue_wait(c, q, waiter);
  if (err == 0) {
    if (uvch__parker_wait(waiter->parker, uvch__parker_deadline(timeout)) == 0) {
      err = waiter->status;
    } else if (uvch__queue_cancel(c, waiter)) {
      err = UV_ETIMEDOUT;
    } else {
      uvch__parker_wait(waiter->parker, UINT64_MAX); /* too late: it is being served */
      err = waiter->status;
    }
  }
  if (waiter->state == UVCH__IDLE)
    uvch__parker_unref(waiter->parker); /* nobody will wake it */
  uvch__parker_unref(waiter->parker);
  return err;
}
