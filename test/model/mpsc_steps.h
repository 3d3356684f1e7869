/* SPDX-License-Identifier: MIT
 *
 * What the programs on bounded mpsc channels have in common: a channel, what its ends do, what must be so after that, and how the
 * programs are run. */
#ifndef UVCH_TEST_MODEL_MPSC_STEPS_H
#define UVCH_TEST_MODEL_MPSC_STEPS_H

#include <uvch.h>

#include "core.h"
#include "fakes.h"
#include "queue.h"
#include "runner.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SOME_TIME 5
#define NONE 1000 /* no status */

/* The actors. Loop i is run by actor i, but for the last one, who has none. The receiver is the first one's. */
enum { FIRST, SECOND, THIRD, FOURTH, ACTORS };

/* Variants: the program's own bits. Messages of bytes alone come with a ring that is there from the start. */
enum { ONLY_BYTES = 1, VARIANTS };

/* In a program's `is_long`. LONG: it is run with bytes only. LONGER: and only if UVCH_TEST_SCALE is at least 10. ENDS: the core may
 * go while others run. WEAK: also with a weak compare-exchange of the second actor that fails for no reason. */
enum { LONG = 1, LONGER = 2, ENDS = 4, WEAK = 8 };

/* Messages of one sequence. */
#define MESSAGES 12
#define REQUESTS 6

enum whose { NOBODYS, BEING_SENT, QUEUED, DELIVERED, DROPPED, REFUSED };

struct message {
  enum whose whose;
  int begun;  /* the time at which its send began */
  int queued; /* the time from which on it was in, or in the line */
  int gone;   /* the time at which it was out, or the caller's again */
  int is_permits;
  int waits; /* in the line */
};

struct request {
  uvch_req_t* req; /* NULL: called back, or forgotten */
  uvch_mpsc_permit_t permit;
  int first; /* message */
  int count; /* messages, or places */
  int status;
  int begun;
};

struct world {
  struct uvch__core* core;
  uvch_mpsc_receiver_t* rx;
  int capacity;
  uvch_mpsc_sender_t tx[ACTORS];
  uvch_mpsc_weak_sender_t weak[ACTORS];
  uvch_mpsc_permit_t permits[ACTORS];
  struct message messages[MESSAGES];
  int count; /* of them */
  int delivered[MESSAGES];
  int delivered_count;
  struct request requests[REQUESTS];
  int request_count;
  int in_line[ACTORS]; /* the message of a thread that is about to wait, plus 1 */
  int now;
  int senders;              /* whose close has not begun */
  int places;               /* that permits hold */
  int held;                 /* places that were ever asked for */
  int taking;               /* messages that a call may have taken already */
  int end;                  /* UV_EOF */
  int is_over;              /* some call has begun to close or shut down */
  int has_gone[FAKE_LOOPS]; /* that loop */
  int status[ACTORS];       /* of the last call that waited */
  void (*then)(void);       /* what a callback does */
  int spins_long;           /* a spin lasts until there is something, or nobody else goes on */
  int other_turns;          /* see post_other() */
};

extern struct world w;

/* Set-up: a channel with `senders`, a set of actors; `loop` may be NULL. */
void channel(uv_loop_t* loop, size_t capacity, int senders);
int has_functions(void); /* messages own something */

/* What receivers do. */
void start(void);
void start_many(size_t max);
void stop(void);
void shut(void);
void close_receiver(void);
void lose_loop(int loop);
void attach(void);
int try_take(void);                            /* 0 or an error */
int try_take_many(int max);                    /* how many, or an error */
int take_wait(uint64_t timeout);               /* 0 or an error */
int take_many_wait(int max, uint64_t timeout); /* how many, or an error */
int has_ended(void* arg);                      /* the callback has had UV_EOF */
int has_got(void* count);                      /* so many messages, or UV_EOF */

/* Turns. mpsc_turn: messages in one. mpsc_ask_every: messages after which who waits for room is told, with several processors: a power
 * of two. mpsc_stream: messages in a row after which the receiver lingers. As in the sources, but if a program changes them. */
extern uint32_t mpsc_turn;
extern uint32_t mpsc_ask_every;
extern uint32_t mpsc_stream;

/* Another endpoint of the receiver's loop, which has one turn: from that loop's own actor, from any, and waiting for that turn. */
void append_other(void);
void post_other(void);
void wait_for_other(void);

/* From a copy of the library's: between the two looks of a spin, and after them. */
void mpsc_steps_spin(struct uvch__port* port, struct uvch__slot* slot);
int mpsc_steps_spins_on(struct uvch__port* port, struct uvch__slot* slot);

/* What senders do. Each is the actor's that runs; 0 or a count, or an error that is allowed there. */
int try_send(void);
int try_send_many(int count);
int send_wait(uint64_t timeout);
int send_many_wait(int count, uint64_t timeout);
int try_reserve(int count);
int reserve_wait(int count, uint64_t timeout);
int permit_send(void);
void permit_release(void);
void permit_give(int to, int count); /* the actor's permit is split, before they run */
void permit_take_sender(void);       /* the actor's sender is made from its permit */
int watch_wait(uint64_t timeout);
void close_sender(void);
void clone_sender(int to);
int upgrade(void);
void close_weak(void);

/* Requests, on the actor's loop. -1: it was refused, UV_EPIPE; else which one. */
int send_request(int count);
int reserve_request(int count);
int watch_request(void);
int is_told(void* request); /* an int */
void cancel(int request);

/* What threads do is done on a stack of its own, which nobody can touch after that. */
void aside(void (*what)(void));

/* From a copy of the library's: the thread is in the line. */
void mpsc_steps_queued(void);

/* Checks: of all that is left, which is then closed. */
void check_all(void);
void check_end(void); /* and UV_EOF came */

/* Running them: what main() returns. */
int run_all(const char* name, const struct steps_program* programs, size_t count, const struct steps_wrong* bugs,
            size_t bug_count);

#endif
