/* SPDX-License-Identifier: MIT
 *
 * What all handles share. A handle keeps its loop running while it is active and has a reference, and while it closes. */
#ifndef UVCH_SRC_HANDLE_H
#define UVCH_SRC_HANDLE_H

#include <uvch/core.h>

#include "port.h"

/* In flags; 8 is UVCH__OWNED, which belongs to the port, 16 and 32 are those of group.h. */
enum { UVCH__ACTIVE = 1, UVCH__REF = 2, UVCH__CLOSING = 4 };

/* What a handle of some type does. All on the loop's thread; without a loop, on the thread that has the handle. */
struct uvch__handle_ops {
  void (*attach)(uvch_handle_t* handle, struct uvch__port* port);
  void (*close)(uvch_handle_t* handle);  /* may run user code */
  void (*refork)(uvch_handle_t* handle); /* a forked child: its token is with it again, wherever it was */
};

extern const struct uvch__handle_ops uvch__mpsc_handle;      /* receive.c; inboxes too */
extern const struct uvch__handle_ops uvch__oneshot_handle;   /* oneshot_recv.c */
extern const struct uvch__handle_ops uvch__broadcast_handle; /* broadcast_recv.c */
extern const struct uvch__handle_ops uvch__watch_handle;     /* watch_recv.c */

/* uvch__handle_init: a handle without a loop. */
void uvch__handle_init(uvch_handle_t* handle, uvch_handle_type type, void* core);

/* uvch__handle_attach: it is one of the port's. */
void uvch__handle_attach(uvch_handle_t* handle, struct uvch__port* port);

/* uvch__handle_set_active: the loop's thread. */
void uvch__handle_set_active(uvch_handle_t* handle, int active);

/* uvch__handle_name: what kind it is, for people. */
const char* uvch__handle_name(uvch_handle_type type);

/* uvch__handle_refork: nothing for one that is closing. */
void uvch__handle_refork(uvch_handle_t* handle);

#endif
