/* SPDX-License-Identifier: MIT */
#include "core.h"

int uvch_loop_fork(uv_loop_t* loop) {
  return loop == NULL ? UV_EINVAL : UV_ENOSYS;
}
