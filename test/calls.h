/* SPDX-License-Identifier: MIT
 *
 * A table of every public call that takes something from the system: memory, a descriptor, a lock. What it takes is made to fail,
 * the first time, the second, and so on: by test_nomem for memory, by test_limits for the rest. */
#ifndef UVCH_TEST_CALLS_H
#define UVCH_TEST_CALLS_H

#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CAPACITY 2           /* of every channel here that has a bound */
#define SHORT UINT64_C(1000) /* nanoseconds of a wait that is to end by its time */
#define MESSAGE UINT64_C(0x1122334455667788)

/* A message of a channel of commands. */
typedef struct ask_s {
  uint64_t number;
  uvch_oneshot_sender_t reply;
} ask_t;

/* What must be as it was after a call that has failed. */
typedef struct ends_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_permit_t permit;
  uvch_oneshot_receiver_t orx;
  uvch_oneshot_sender_t otx;
  uvch_broadcast_receiver_t brx;
  uvch_broadcast_receiver_t brx2;
  uvch_broadcast_sender_t btx;
  uvch_watch_receiver_t wrx;
  uvch_watch_receiver_t wrx2;
  uvch_watch_sender_t wtx;
  uvch_inbox_t inbox;
  uint64_t messages[3 * 64]; /* more than a block has */
  uint64_t out[CAPACITY];
} ends_t;

/* What a call works on. What a row does not need stays 0. */
typedef struct world_s {
  uv_loop_t loop;
  bool has_loop;
  bool is_broken;
  ends_t e;
  uvch_mpsc_permit_t held;
  uvch_oneshot_sender_t old;
  ask_t ask;
  uvch_mpsc_send_t send;
  uvch_mpsc_reserve_t reserve;
  uvch_mpsc_closed_t closed;
  uvch_oneshot_closed_t oclosed;
  uvch_broadcast_send_t bsend;
  uvch_broadcast_closed_t bclosed;
  uvch_watch_wait_for_t wwait;
  uvch_watch_closed_t wclosed;
  uvch_call_t call;
  size_t told; /* callbacks of requests and of closed handles */
  _Atomic(size_t) dropped;
  _Atomic(long) number; /* of the calling thread, once it is about to call */
  support_result_t helped;
} world_t;

/* A row of the table: how it begins, the call, what it says when it works, and what another thread does once the calling thread
 * sleeps in it. Everything is ended by close_world(). */
typedef struct row_s {
  const char* name;
  void (*open)(world_t* w);
  int (*call)(world_t* w);
  int works;
  void (*help)(world_t* w);
} row_t;

extern const row_t rows[];
extern const size_t row_count;

/* What fails. */
typedef struct fault_s {
  const char* name;
  int code;                             /* what a call says then */
  void (*arm)(size_t n, bool for_good); /* the n-th one from now on, or that and all after it */
  void (*disarm)(void);
  size_t (*failed)(void); /* how many have since arm */
  bool in_the_end;        /* all is closed without it, too */
} fault_t;

/* run_row: whether something has failed when the row's call was made with the n-th of it failing. The call must have said so and
 * changed nothing; then it is made again, at once or after a pass of the loop, which must work, or all is given up. In the end
 * nothing may be left. */
typedef enum { AGAIN_AT_ONCE, AGAIN_AFTER_A_PASS, GIVE_UP, MANNERS } manner_t;
bool run_row(const row_t* row, const fault_t* fault, manner_t manner, size_t n);

/* run_row_through: with n = 1, 2, ... until nothing has failed; how many have. */
size_t run_row_through(const row_t* row, const fault_t* fault, manner_t manner);

/* settle: let libuv and the library make what they make once in a process. An
 * unchecked fixture of every case with rows. */
void settle(void);

/* open_world, close_world: begin one with the row's function; end whatever is open in it. turn: a few passes of its loop. */
void open_world(world_t* w, const row_t* row);
void close_world(world_t* w);
void turn(world_t* w);

/* Beginnings. */
void open_loop(world_t* w);
void open_mpsc_full(world_t* w);
void open_mpsc_on_loop(world_t* w);
void open_mpsc_full_and_loop(world_t* w);
void open_broadcast(world_t* w);
void open_broadcast_full(world_t* w);
void open_broadcast_full_and_loop(world_t* w);
void open_watch(world_t* w);
void open_watch_and_loop(world_t* w);
void open_inbox(world_t* w);

/* Callbacks: they count. on_drop counts drops; its argument is the world. */
void on_drop(void* item, void* arg);
void on_sent(uvch_mpsc_send_t* req, int status);
void on_waited(uvch_watch_wait_for_t* req, int status, const void* value);
void on_reply(uvch_call_t* req, int status, void* reply);
void on_closed(uvch_mpsc_closed_t* req, int status);
void on_broadcast_sent(uvch_broadcast_send_t* req, int status);
void on_broadcast_closed(uvch_broadcast_closed_t* req, int status);
void on_watch_closed(uvch_watch_closed_t* req, int status);

/* is_other: a predicate: the value is not MESSAGE. */
int is_other(const void* value, void* arg);

#endif
