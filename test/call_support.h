/* SPDX-License-Identifier: MIT
 *
 * What the programs about calls share: an actor that is called, a caller, loops for both, and what is checked of them. */
#ifndef UVCH_TEST_CALL_SUPPORT_H
#define UVCH_TEST_CALL_SUPPORT_H

#include "box.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOT_DONE 1 /* no status is 1 */

static const uint64_t millisecond = 1000000;
static const uint64_t hour = UINT64_C(3600) * 1000000000;

extern books_t replies; /* of the case that runs */

/* call_case: support_case() with books of its own, which are checked after each test. */
TCase* call_case(Suite* suite, const char* name);

/* The message. Its place for the reply's sender is in its middle, as it may be. */
typedef struct ask_s {
  uint64_t value;
  uvch_oneshot_sender_t reply;
  uint32_t is_note; /* no reply is wanted */
} ask_t;

/* The reply to a value is a box with the next one. */
int answer(uvch_oneshot_sender_t* tx, uint64_t value);

/* The same, but the reply comes back if it is too late. */
int answer_in_time(uvch_oneshot_sender_t* tx, uint64_t value);

/* What a late reply meets: with uvch_oneshot_send it comes back, with uvch_reply it is dropped at once. */
void check_too_late(uvch_oneshot_sender_t* tx, bool by_send);

/* The actor: what is called. */

#define KEPT 64

typedef enum { ANSWER, KEEP, GIVE_UP } manner_t;

typedef struct actor_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  manner_t manner;
  uint64_t got[KEPT]; /* in the order in which they came */
  size_t count;
  uvch_oneshot_sender_t kept[KEPT];
  uint64_t values[KEPT];
  size_t kept_count;
  size_t dropped;
  size_t ends;
  bool has_sender;
} actor_t;

int actor_try_open(actor_t* actor, uv_loop_t* loop, size_t capacity);
void actor_open(actor_t* actor, uv_loop_t* loop, size_t capacity);
void actor_start(actor_t* actor, manner_t manner);
void actor_on_recv(uvch_mpsc_receiver_t* rx, int status, void* item);
void actor_drop_sender(actor_t* actor);
void actor_close(actor_t* actor);

/* Takes one message by hand. */
void actor_turn(actor_t* actor);

/* It has got 0, 1, 2 ... `count` of them. */
void actor_check_got(const actor_t* actor, size_t count);

/* A message that wants no reply. */
void put_note(const actor_t* actor, uint64_t value);

/* The caller. */

typedef struct caller_s {
  uvch_call_t req;
  ask_t ask;
  uv_loop_t* loop;
  int calls;
  int status;
  uint64_t value;
  uint64_t started; /* as uv_now() says it */
  uint64_t done;
  size_t* turns; /* counts the callbacks of several */
  size_t turn;
} caller_t;

void on_reply(uvch_call_t* req, int status, void* reply);
void caller_init(caller_t* c, uv_loop_t* loop, uint64_t value);
int caller_try(caller_t* c, const actor_t* actor, uint64_t timeout);
void call_timed(uv_loop_t* loop, caller_t* c, const actor_t* actor, uint64_t value, uint64_t timeout);
void call(uv_loop_t* loop, caller_t* c, const actor_t* actor, uint64_t value);
int cancel(caller_t* c);

void check_waits(const caller_t* c);

/* The caller's copy of the sender is used up, so the message may be given back like any other. */
void check_sender_is_used_up(caller_t* c);

void check_reply(caller_t* c);
void check_status(caller_t* c, int status, int is_sent);

/* A call that is refused leaves no sender behind, whatever it was refused for. The look inside comes first: closing what was left
 * there would end the program. */
#define check_refused(ask, call, error)                                   \
  do {                                                                    \
    memset(&(ask)->reply, 0xdd, sizeof((ask)->reply));                    \
    ck_assert_int_eq(call, error);                                        \
    ck_assert_ptr_null((ask)->reply.core);                                \
    ck_assert_int_eq(uvch_oneshot_sender_close(&(ask)->reply), UV_EBADF); \
  } while (0)

/* A caller's loop and an actor, on that same loop or on one of its own, which this thread runs as well. */
typedef struct world_s {
  uv_loop_t here;
  uv_loop_t there;
  bool two;
  actor_t actor;
} world_t;

void world_init(world_t* w, bool two, size_t capacity);

/* Whether something is left alive. */
bool world_turn(world_t* w);

/* A few turns. */
void world_turns(world_t* w);

#define world_until(w, condition) \
  do {                            \
    while (!(condition)) {        \
      world_turn(w);              \
    }                             \
  } while (0)

/* Runs the loops to their end. */
void world_close_loops(world_t* w);
void world_end(world_t* w); /* the actor first */

/* Sizes of replies, and bytes that can be told from others. */

extern const size_t sizes[15];

void paint(unsigned char* bytes, size_t size, size_t seed);
bool is_painted(const unsigned char* bytes, size_t size, size_t seed);

/* Odds and ends. */

/* A generator of numbers that are the same in each run. */
size_t draw(uint64_t* seed, size_t below);

/* As if the loop's thread had been busy for so long. */
void let_pass(uv_loop_t* loop, uint64_t milliseconds);

/* A thread's work: its argument is a uvch_mpsc_permit_t. */
void release_permit(void* arg);

#endif
