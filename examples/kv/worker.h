/* SPDX-License-Identifier: MIT
 *
 * A loop on a thread of its own. What lives on it is opened before the thread starts, and closes itself; then the thread ends. */
#ifndef KV_WORKER_H
#define KV_WORKER_H

#include <uv.h>

struct worker {
  uv_loop_t loop;
  uv_thread_t thread;
  int is_running;
};

/* worker_open: the loop. worker_start: the thread. Both return 0 or an error.
 * worker_end: wait until nothing is left on the loop; without a thread the caller runs it meanwhile. */
int worker_open(struct worker* worker);
int worker_start(struct worker* worker);
void worker_end(struct worker* worker);

#endif
