/* SPDX-License-Identifier: MIT
 *
 * What the log tells, back into the shards; before their threads start. */
#ifndef KV_RESTORE_H
#define KV_RESTORE_H

#include "server.h"

/* restore: Returns 0, or a negative libuv code, with a message. */
int restore(struct kv* kv, const char* path);

#endif
