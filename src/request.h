/* SPDX-License-Identifier: MIT
 *
 * What all requests share. A request keeps its loop running until its callback. */
#ifndef UVCH_SRC_REQUEST_H
#define UVCH_SRC_REQUEST_H

#include <uvch/core.h>

#include "port.h"

/* What a request of some type does, on the loop's thread. */
struct uvch__request_ops {
  struct uvch__endpoint_ops endpoint; /* of the request; it has the first call only if it is the one that is posted */
  int (*cancel)(uvch_req_t* req);     /* 0 or UV_EBUSY */
  void (*refork)(uvch_req_t* req);    /* a forked child: done, unless it still waits */
};

static inline struct uvch__endpoint* uvch__request_endpoint(uvch_req_t* req) {
  return (struct uvch__endpoint*) (void*) req->endpoint;
}

static inline uvch_req_t* uvch__request_of(struct uvch__endpoint* ep) {
  return UVCH__CONTAINER(ep, uvch_req_t, endpoint);
}

/* uvch__request_begin: one of `loop`'s requests from now on. 0, UV_EPERM, UV_ENOMEM, UV_EMFILE. */
int uvch__request_begin(uv_loop_t* loop, uvch_req_t* req, uvch_req_type type, const struct uvch__request_ops* ops);

/* uvch__request_end: not any more. */
void uvch__request_end(uvch_req_t* req);

/* uvch__request_refork: see above. */
void uvch__request_refork(uvch_req_t* req);

#endif
