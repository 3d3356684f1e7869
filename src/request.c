/* SPDX-License-Identifier: MIT */
#include "request.h"

_Static_assert(sizeof(struct uvch__endpoint) <= sizeof(((uvch_req_t*) 0)->endpoint), "fits the public struct");
_Static_assert(sizeof(struct uvch__list) == sizeof(((uvch_req_t*) 0)->queue), "fits the public struct");

int uvch__request_begin(uv_loop_t* loop, uvch_req_t* req, uvch_req_type type, const struct uvch__request_ops* ops) {
  struct uvch__port* port;
  int err = uvch__port_get(loop, &port);

  if (err != 0)
    return err;
  req->loop = loop;
  req->type = type;
  req->status = 0;
  req->port = port;
  *uvch__request_endpoint(req) = (struct uvch__endpoint){.ops = &ops->endpoint};
  uvch__port_add(port, &port->reqs, req->queue);
  uvch__port_hold(port);
  return 0;
}

void uvch__request_end(uvch_req_t* req) {
  struct uvch__port* port = req->port;

  req->port = NULL;
  uvch__port_remove(port, req->queue);
  uvch__port_release(port);
}

static const struct uvch__request_ops* ops_of(uvch_req_t* req) {
  return (const struct uvch__request_ops*) (const void*) uvch__request_endpoint(req)->ops;
}

int uvch_cancel(uvch_req_t* req) {
  if (req == NULL || req->type <= UVCH_UNKNOWN_REQ || req->type > UVCH_WATCH_CLOSED)
    return UV_EINVAL;
  if (req->port == NULL)
    return UV_EBUSY;
  UVCH__USE_PORT(req->port, req);
  return ops_of(req)->cancel(req);
}

void uvch__request_refork(uvch_req_t* req) {
  ops_of(req)->refork(req);
}
