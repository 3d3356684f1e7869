/* SPDX-License-Identifier: MIT
 *
 * An endpoint is what a port delivers to: the receiving side of a channel, or a request that is done. The right to put it into the
 * port, its *token*, lies in exactly one place at a time, see home.h. */
#ifndef UVCH_SRC_ENDPOINT_H
#define UVCH_SRC_ENDPOINT_H

#include <stdint.h>

struct uvch__port;
struct uvch__endpoint;

struct uvch__endpoint_ops {
  /* Delivers, on the loop's thread, with the token in port->hand. User code that runs meanwhile may take it from there (a nested
   * run, a close); then the turn is over. To rest, or for its last callback, it takes the token out itself. A token left in the
   * hand on return means that there is more. */
  void (*turn)(struct uvch__endpoint* ep, struct uvch__port* port);

  /* The port is closed: the token ends here, on any thread. */
  void (*drop)(struct uvch__endpoint* ep);

  /* A forked child: whether the token is all that is left of it; NULL: never. */
  int (*is_dead)(struct uvch__endpoint* ep);
};

struct uvch__endpoint {
  uintptr_t next; /* the node below in the ready list, or the next in the FIFO; whoever has the token writes it */
  const struct uvch__endpoint_ops* ops;
};

#endif
