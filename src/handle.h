/* SPDX-License-Identifier: MIT
 *
 * What all handles share. A handle keeps its loop running while it is active and has a reference, and while it closes. */
#ifndef UVCH_SRC_HANDLE_H
#define UVCH_SRC_HANDLE_H

#include <uvch/core.h>

#include "port.h"

/* In flags; 8 is UVCH__OWNED, which belongs to the port. */
enum { UVCH__ACTIVE = 1, UVCH__REF = 2, UVCH__CLOSING = 4 };

/* uvch__handle_init: a handle without a loop. */
void uvch__handle_init(uvch_handle_t* handle, uvch_handle_type type, void* core);

/* uvch__handle_attach: it is one of the port's. */
void uvch__handle_attach(uvch_handle_t* handle, struct uvch__port* port);

/* uvch__handle_set_active: the loop's thread. */
void uvch__handle_set_active(uvch_handle_t* handle, int active);

#endif
