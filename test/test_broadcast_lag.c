/* SPDX-License-Identifier: MIT
 *
 * Broadcast channels: the states of a receiver, and how many messages it is told to have missed, in small rings, again and again,
 * and where positions wrap around. In brackets the rows of the table of channel features that a case is about. */
#include "broadcast.h"
#include "support.h"

#include <limits.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const size_t capacities[] = {1, 2, 3, 5, 7, 8};

/* Where positions begin: from 0 on, and so that they pass the end of 32 bits, and the middle and the end of 64. A number of a
 * slot may count in halves, so that it wraps around in the middle. */
static const uint64_t firsts[] = {
    0,
    1,
    UINT32_MAX - 3,
    UINT64_MAX / 2 - 9,
    UINT64_MAX / 2 - 3,
    UINT64_MAX / 2 - 1,
    UINT64_MAX / 2,
    UINT64_MAX / 2 + 1,
    UINT64_MAX - 9,
    UINT64_MAX - 3,
    UINT64_MAX - 1,
    UINT64_MAX,
};

#define CAPACITY (capacities[(size_t) _i % COUNT(capacities)])
#define FIRST (firsts[(size_t) _i / COUNT(capacities)])
#define add_for_every_ring(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) (COUNT(capacities) * COUNT(firsts)))

/* A channel of numbers that counts what was sent. */
typedef struct channel_s {
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  size_t capacity;
  uint64_t sent; /* also the number of the next message */
} channel_t;

static void drop_nothing(void* item, void* arg) {
  (void) item;
  (void) arg;
}

static int copy_number(void* to, const void* from, void* arg) {
  (void) arg;
  memcpy(to, from, sizeof(uint64_t));
  return 0;
}

/* With functions of its own a channel keeps its messages in another way. */
static void open_ex(channel_t* ch, uv_loop_t* loop, size_t capacity, uvch_broadcast_policy policy, bool owning, uint64_t first) {
  uvch_broadcast_options_t options;

  memset(&options, 0, sizeof(options));
  options.policy = policy;
  options.copy = owning ? copy_number : NULL;
  options.drop = owning ? drop_nothing : NULL;
  memset(ch, 0xa5, sizeof(*ch));
  ch->capacity = capacity;
  ch->sent = 0;
  uvch__broadcast_first = first;
  support_check_eq(uvch_broadcast_init_ex(loop, &ch->rx, &ch->tx, sizeof(uint64_t), capacity, &options), 0);
  uvch__broadcast_first = 0;
}

static void open_channel(channel_t* ch, uv_loop_t* loop, size_t capacity, uint64_t first) {
  open_ex(ch, loop, capacity, UVCH_BROADCAST_LAG, false, first);
}

static void subscribe(channel_t* ch, uvch_broadcast_receiver_t* rx) {
  memset(rx, 0xa5, sizeof(*rx));
  support_check_eq(uvch_broadcast_subscribe(NULL, rx, &ch->tx), 0);
}

static void drop_sender(channel_t* ch) {
  support_check_eq(uvch_broadcast_sender_close(&ch->tx), 0);
}

static void close_rx(uvch_broadcast_receiver_t* rx) {
  support_check_eq(uvch_close((uvch_handle_t*) rx, NULL), 0);
}

static void put(channel_t* ch, uint64_t count) {
  for (; count > 0; count--) {
    support_check(uvch_broadcast_send(&ch->tx, &ch->sent) >= 1);
    ch->sent += 1;
  }
}

static void put_many(channel_t* ch, uint64_t count) {
  uint64_t items[64];
  size_t i;

  support_check(count <= COUNT(items));
  for (i = 0; i < count; i++) {
    items[i] = ch->sent + i;
  }
  support_check_eq(uvch_broadcast_send_many(&ch->tx, items, (size_t) count), count);
  ch->sent += count;
}

static int try_take(uvch_broadcast_receiver_t* rx) {
  uint64_t value = 0x5a5a5a5a;
  int answer = uvch_broadcast_try_recv(rx, &value);

  support_check(answer == 0 || value == 0x5a5a5a5a);
  return answer;
}

static uint64_t take(uvch_broadcast_receiver_t* rx) {
  uint64_t value = UINT64_MAX;

  support_check_eq(uvch_broadcast_try_recv(rx, &value), 0);
  return value;
}

/* `from` up to, but not with, `until`. */
static void take_range(uvch_broadcast_receiver_t* rx, uint64_t from, uint64_t until) {
  for (; from < until; from++) {
    support_check_eq(take(rx), from);
  }
}

/* The next answer is that so many were missed. */
static void take_gap(uvch_broadcast_receiver_t* rx, uint64_t missed) {
  support_check_eq(try_take(rx), missed);
  support_check_eq(uvch_broadcast_receiver_missed(rx), missed);
}

static void check_len(const uvch_broadcast_receiver_t* rx, uint64_t len) {
  support_check_eq(uvch_broadcast_receiver_len(rx), len < SIZE_MAX ? len : SIZE_MAX);
  support_check_eq(uvch_broadcast_receiver_is_empty(rx), len == 0);
}

static void check_sender_len(const channel_t* ch, uint64_t len) {
  support_check_eq(uvch_broadcast_sender_len(&ch->tx), len);
  support_check_eq(uvch_broadcast_sender_is_empty(&ch->tx), len == 0);
}

/* What callbacks brought. */
typedef struct heard_s {
  uvch_broadcast_receiver_t* rx;
  uint64_t next; /* the number that is due */
  uint64_t count;
  uint64_t missed;
  size_t gaps;
  size_t ends;
  int end;
  channel_t* feeds; /* where the callback sends more messages, so many for the n-th callback */
  const unsigned char* feed;
  size_t feed_count;
  size_t calls;
} heard_t;

static void heard_feed(heard_t* heard) {
  if (heard->calls < heard->feed_count) {
    put(heard->feeds, heard->feed[heard->calls]);
  }
  heard->calls += 1;
}

static void heard_gap(heard_t* heard, int status) {
  support_check(status == INT_MAX || uvch_broadcast_receiver_missed(heard->rx) == (uint64_t) status);
  heard->gaps += 1;
  heard->missed += (uint64_t) status;
  heard->next += (uint64_t) status;
}

static void heard_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  heard_t* heard = rx->data;

  support_check((status == 0) == (item != NULL));
  support_check_eq(heard->ends, 0);
  if (status > 0) {
    heard_gap(heard, status);
  } else if (status < 0) {
    heard->ends += 1;
    heard->end = status;
  }
  heard_feed(heard);
  if (item != NULL) { /* good until here, whatever was sent meanwhile */
    support_check_eq(*(const uint64_t*) item, heard->next);
    heard->next += 1;
    heard->count += 1;
  }
}

static void heard_many_cb(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  heard_t* heard = rx->data;
  size_t i;

  support_check((status == 0) == (first != NULL));
  support_check((status == 0) == (count >= 1));
  if (status != 0) {
    heard_cb(rx, status, NULL);
    return;
  }
  support_check_eq(heard->ends, 0);
  heard_feed(heard);
  for (i = 0; i < count; i++) {
    support_check_eq(*(const uint64_t*) (const void*) ((const char*) first + i * stride), heard->next);
    heard->next += 1;
    heard->count += 1;
  }
}

/* `max` 0: one message a callback. */
static void listen_to(uvch_broadcast_receiver_t* rx, heard_t* heard, uint64_t next, size_t max) {
  memset(heard, 0, sizeof(*heard));
  heard->rx = rx;
  heard->next = next;
  rx->data = heard;
  support_check_eq(max == 0 ? uvch_broadcast_recv_start(rx, heard_cb) : uvch_broadcast_recv_many_start(rx, max, heard_many_cb),
                   0);
}

/* The states. */

enum { MISSED = 1 }; /* an answer above 0: as many as are lost */

/* Behind by `rings` times the capacity and `more` messages. */
typedef struct state_s {
  const char* name;
  uvch_broadcast_policy policy;
  uint64_t rings;
  uint64_t more;
  bool ended;
  int answer;
} state_t;

#define EVERY_POLICY(name, rings, more, ended, answer)                                                               \
  {name, UVCH_BROADCAST_LAG, rings, more, ended, answer}, {name, UVCH_BROADCAST_WAIT, rings, more, ended, answer}, { \
    name, UVCH_BROADCAST_DISCONNECT, rings, more, ended, answer                                                      \
  }

static const state_t states[] = {
    EVERY_POLICY("it has read everything, a sender is open", 0, 0, false, UV_EAGAIN),
    EVERY_POLICY("a message is there", 0, 1, false, 0),
    EVERY_POLICY("a message is there, no sender is left", 0, 1, true, 0),
    EVERY_POLICY("all that are kept are there", 1, 0, false, 0),
    EVERY_POLICY("all that are kept are there, no sender is left", 1, 0, true, 0),
    EVERY_POLICY("it has read everything, no sender is left", 0, 0, true, UV_EOF),
    {"it has missed 1 message", UVCH_BROADCAST_LAG, 1, 1, false, MISSED},
    {"it has missed 1 message, no sender is left", UVCH_BROADCAST_LAG, 1, 1, true, MISSED},
    {"it has missed as many as are kept", UVCH_BROADCAST_LAG, 2, 0, false, MISSED},
    {"it has missed as many as are kept and 1", UVCH_BROADCAST_LAG, 2, 1, false, MISSED},
    {"it has missed many messages", UVCH_BROADCAST_LAG, 5, 3, false, MISSED},
    {"it has missed many messages, no sender is left", UVCH_BROADCAST_LAG, 5, 3, true, MISSED},
    {"it has missed some, and is cut off", UVCH_BROADCAST_DISCONNECT, 1, 1, false, UV_ECONNABORTED},
    {"it has missed some, and is cut off, no sender is left", UVCH_BROADCAST_DISCONNECT, 1, 1, true, UV_ECONNABORTED},
    {"it has missed many, and is cut off", UVCH_BROADCAST_DISCONNECT, 5, 3, false, UV_ECONNABORTED},
};

#define add_for_every_state(tcase, test) tcase_add_loop_test(tcase, test, 0, (int) COUNT(states))

/* A receiver in some state, and what it must say. */
typedef struct case_s {
  const state_t* state;
  channel_t ch;
  uint64_t begin; /* the first number that it has not read */
  uint64_t behind;
  uint64_t missed;
  uint64_t kept; /* and still to be read by it */
} case_t;

static uint64_t at_most(uint64_t n, uint64_t most) {
  return n < most ? n : most;
}

/* `warm` messages were sent and read before. */
static void reach(case_t* c, const state_t* state, uv_loop_t* loop, size_t capacity, uint64_t first, uint64_t warm, bool owning) {
  c->state = state;
  open_ex(&c->ch, loop, capacity, state->policy, owning, first);
  for (c->begin = 0; c->begin < warm; c->begin++) {
    put(&c->ch, 1);
    support_check_eq(take(&c->ch.rx), c->begin);
  }
  c->behind = state->rings * capacity + state->more;
  c->missed = state->answer == MISSED ? c->behind - capacity : 0;
  c->kept = state->answer == UV_ECONNABORTED ? 0 : at_most(c->behind, capacity);
  put(&c->ch, c->behind);
  if (state->ended) {
    drop_sender(&c->ch);
  }
}

static int wanted_answer(const case_t* c) {
  return c->state->answer == MISSED ? (int) c->missed : c->state->answer;
}

/* What can be asked without a change. */
static void check_state(const case_t* c) {
  const uvch_broadcast_receiver_t* rx = &c->ch.rx;

  check_len(rx, c->state->answer == UV_ECONNABORTED ? 0 : c->behind);
  support_check_eq(uvch_broadcast_receiver_is_closed(rx), c->state->ended || c->state->answer == UV_ECONNABORTED);
  support_check_eq(uvch_broadcast_receiver_missed(rx), 0);
  if (!c->state->ended && c->state->answer != UV_ECONNABORTED) {
    check_sender_len(&c->ch, c->kept);
  }
}

/* After the first answer: the rest, and what comes for ever then. */
static void check_rest(case_t* c, uint64_t read) {
  uvch_broadcast_receiver_t* rx = &c->ch.rx;
  int last = c->state->answer == UV_ECONNABORTED ? UV_ECONNABORTED : c->state->ended ? UV_EOF : UV_EAGAIN;
  int i;

  support_check_eq(uvch_broadcast_receiver_missed(rx), c->missed);
  check_len(rx, c->kept - read); /* right after a gap: all that are kept */
  take_range(rx, c->begin + c->missed + read, c->begin + c->missed + c->kept);
  for (i = 0; i < 3; i++) {
    support_check_eq(try_take(rx), last);
    check_len(rx, 0);
  }
  support_check_eq(uvch_broadcast_receiver_missed(rx), c->missed); /* of the last gap still */
  support_check_eq(uvch_broadcast_receiver_is_closed(rx), last != UV_EAGAIN);
}

static void end_case(case_t* c, uv_loop_t* loop) {
  close_rx(&c->ch.rx);
  if (!c->state->ended) {
    check_sender_len(&c->ch, 0);
    support_check_eq(uvch_broadcast_sender_receiver_count(&c->ch.tx), 0);
    drop_sender(&c->ch);
  }
  support_check_eq(uv_run(loop, UV_RUN_DEFAULT), 0); /* then the memory is free */
}

enum { BY_TRY, BY_WAIT, BY_TIMED_WAIT, BY_TIMED_WAIT_OF_0, BY_TRY_ON_LOOP, HANDS };

/* The ways that would sleep are not gone. */
static int first_answer(int hand, uvch_broadcast_receiver_t* rx, uint64_t* value, int wanted) {
  switch (hand) {
    case BY_WAIT:
      return wanted == UV_EAGAIN ? UV_EAGAIN : uvch_broadcast_recv_wait(rx, value);
    case BY_TIMED_WAIT:
      return wanted == UV_EAGAIN ? UV_EAGAIN : uvch_broadcast_recv_timedwait(rx, value, UINT64_MAX);
    case BY_TIMED_WAIT_OF_0:
      return uvch_broadcast_recv_timedwait(rx, value, 0);
    default:
      return uvch_broadcast_try_recv(rx, value);
  }
}

static void answer_by_hand(const state_t* state, uv_loop_t* loop, size_t capacity, uint64_t first, uint64_t warm, int hand,
                           bool owning) {
  uint64_t value = 0x5a5a5a5a;
  int wanted;
  case_t c;

  reach(&c, state, hand == BY_TRY_ON_LOOP ? loop : NULL, capacity, first, warm, owning);
  check_state(&c);
  wanted = wanted_answer(&c);
  if (hand == BY_TIMED_WAIT_OF_0 && wanted == UV_EAGAIN) {
    wanted = UV_ETIMEDOUT;
  }
  support_check_eq(first_answer(hand, &c.ch.rx, &value, wanted), wanted);
  support_check_eq(value, wanted == 0 ? c.begin : 0x5a5a5a5a);
  check_rest(&c, wanted == 0);
  end_case(&c, loop);
}

/* [FC11, FC12, FC13, FC14, FC16, FC17, FC18, FC23, FC24, FC30, FC31] */
START_TEST(every_state_answers_try_recv_and_a_thread_as_the_header_says) {
  uv_loop_t loop;
  size_t i;
  size_t k;
  uint64_t warm;
  int hand;

  support_loop_init(&loop);
  for (i = 0; i < COUNT(capacities); i++) {
    for (k = 0; k < COUNT(firsts); k++) {
      for (warm = 0; warm <= capacities[i]; warm += capacities[i] < 4 ? 1 : 3) {
        for (hand = 0; hand < HANDS; hand++) {
          answer_by_hand(&states[_i], &loop, capacities[i], firsts[k], warm, hand, false);
          answer_by_hand(&states[_i], &loop, capacities[i], firsts[k], warm, hand, true);
        }
      }
    }
  }
  support_loop_end(&loop);
}
END_TEST

/* The loop ends only if the receiver is inactive. */
static void run_to_end(uv_loop_t* loop, const case_t* c) {
  int i;

  if (c->state->ended || c->state->answer == UV_ECONNABORTED) {
    support_check_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
    return;
  }
  for (i = 0; i < 3; i++) {
    support_check(uv_run(loop, UV_RUN_NOWAIT) != 0);
  }
}

static void answer_by_callback(const state_t* state, uv_loop_t* loop, size_t capacity, uint64_t first, uint64_t warm, size_t max,
                               bool later) {
  uvch_handle_t* handle;
  heard_t heard;
  int again;
  int end;
  case_t c;

  reach(&c, state, later ? NULL : loop, capacity, first, warm, false);
  handle = (uvch_handle_t*) &c.ch.rx;
  if (later) {
    support_check_eq(uvch_attach(loop, handle), 0);
  }
  check_state(&c);
  listen_to(&c.ch.rx, &heard, c.begin, max);
  check_state(&c); /* nothing is read before the callback */
  run_to_end(loop, &c);
  end = state->answer == UV_ECONNABORTED ? UV_ECONNABORTED : UV_EOF;
  for (again = 0;; again++) {
    support_check_eq(heard.gaps, c.missed > 0 && again == 0);
    support_check_eq(heard.missed, again == 0 ? c.missed : 0);
    support_check_eq(heard.count, again == 0 ? c.kept : 0);
    support_check_eq(heard.ends, state->ended || end != UV_EOF);
    support_check_eq(heard.end, heard.ends > 0 ? end : 0);
    support_check_eq(uvch_is_active(handle), heard.ends == 0);
    support_check_eq(uvch_broadcast_receiver_missed(&c.ch.rx), c.missed);
    check_len(&c.ch.rx, 0);
    if (again == 2 || heard.ends == 0 || end != UV_EOF) {
      break;
    }
    listen_to(&c.ch.rx, &heard, c.begin, max); /* UV_EOF comes once for every start */
    run_to_end(loop, &c);
  }
  end_case(&c, loop);
}

/* [FC10, FC11, FC12, FC13, FC14, FC16, FC31] */
START_TEST(every_state_answers_callbacks_as_the_header_says) {
  static const size_t most[] = {0, 1, 2, 100};
  uv_loop_t loop;
  size_t i;
  size_t k;
  size_t n;

  support_loop_init(&loop);
  for (i = 0; i < COUNT(capacities); i++) {
    for (k = 0; k < COUNT(firsts); k++) {
      for (n = 0; n < COUNT(most); n++) {
        answer_by_callback(&states[_i], &loop, capacities[i], firsts[k], k % 3, most[n], false);
        answer_by_callback(&states[_i], &loop, capacities[i], firsts[k], k % 3, most[n], true);
      }
    }
  }
  support_loop_end(&loop);
}
END_TEST

/* Counting. */

/* [FC12, FC16, FC23] */
START_TEST(exactly_full_is_no_lag_and_each_further_message_is_one) {
  uint64_t over;
  channel_t ch;

  for (over = 0; over <= 3 * CAPACITY + 1; over++) {
    open_channel(&ch, NULL, CAPACITY, FIRST);
    put(&ch, CAPACITY);
    check_len(&ch.rx, CAPACITY);
    put(&ch, over);
    check_len(&ch.rx, CAPACITY + over);
    check_sender_len(&ch, CAPACITY);
    if (over > 0) {
      take_gap(&ch.rx, over);
    }
    check_len(&ch.rx, CAPACITY);
    take_range(&ch.rx, over, ch.sent);
    support_check_eq(try_take(&ch.rx), UV_EAGAIN);
    drop_sender(&ch);
    close_rx(&ch.rx);
  }
}
END_TEST

/* [FC12] */
START_TEST(one_that_has_read_some_misses_only_what_it_has_not_read) {
  uint64_t had;
  uint64_t over;
  channel_t ch;

  for (had = 0; had <= CAPACITY; had++) {
    for (over = 0; over <= CAPACITY + 1; over++) {
      open_channel(&ch, NULL, CAPACITY, FIRST);
      put(&ch, CAPACITY);
      take_range(&ch.rx, 0, had);
      put(&ch, over);
      check_len(&ch.rx, CAPACITY - had + over);
      if (over > had) {
        take_gap(&ch.rx, over - had);
        take_range(&ch.rx, over, ch.sent);
      } else {
        take_range(&ch.rx, had, ch.sent);
        support_check_eq(uvch_broadcast_receiver_missed(&ch.rx), 0);
      }
      support_check_eq(try_take(&ch.rx), UV_EAGAIN);
      drop_sender(&ch);
      close_rx(&ch.rx);
    }
  }
}
END_TEST

/* [FC13] */
START_TEST(after_a_gap_the_next_one_is_counted_from_there) {
  uint64_t begin = 0;
  uint64_t more;
  channel_t ch;

  open_channel(&ch, NULL, CAPACITY, FIRST);
  for (more = 0; more <= 2 * CAPACITY + 1; more++) {
    put(&ch, CAPACITY + 2);
    take_gap(&ch.rx, 2);
    begin += 2;
    put(&ch, more); /* before it reads on */
    check_len(&ch.rx, CAPACITY + more);
    if (more > 0) {
      take_gap(&ch.rx, more);
      begin += more;
      put(&ch, 1);
      take_gap(&ch.rx, 1); /* and again */
      begin += 1;
    }
    take_range(&ch.rx, begin, ch.sent);
    begin = ch.sent;
    support_check_eq(try_take(&ch.rx), UV_EAGAIN);
  }
  drop_sender(&ch);
  support_check_eq(try_take(&ch.rx), UV_EOF);
  close_rx(&ch.rx);
}
END_TEST

/* [FC13] */
START_TEST(a_gap_in_the_middle_of_what_follows_a_gap_is_counted_from_there) {
  uint64_t read;
  uint64_t more;
  channel_t ch;

  for (read = 0; read <= CAPACITY; read++) {
    for (more = 0; more <= CAPACITY + 1; more++) {
      uint64_t missed = more > read ? more - read : 0;

      open_channel(&ch, NULL, CAPACITY, FIRST);
      put(&ch, CAPACITY + 3);
      take_gap(&ch.rx, 3);
      take_range(&ch.rx, 3, 3 + read);
      put_many(&ch, more);
      if (missed > 0) {
        take_gap(&ch.rx, missed);
      } else {
        support_check_eq(uvch_broadcast_receiver_missed(&ch.rx), 3);
      }
      take_range(&ch.rx, 3 + read + missed, ch.sent);
      support_check_eq(try_take(&ch.rx), UV_EAGAIN);
      drop_sender(&ch);
      close_rx(&ch.rx);
    }
  }
}
END_TEST

/* [FC14, FC31] */
START_TEST(the_end_comes_after_the_gap_and_all_that_are_kept) {
  uint64_t sent;
  channel_t ch;

  for (sent = 1; sent <= 3 * CAPACITY; sent++) {
    open_channel(&ch, NULL, CAPACITY, FIRST);
    put(&ch, sent);
    drop_sender(&ch); /* takes no place: nothing is lost by it, with a capacity of 1, either */
    check_len(&ch.rx, sent);
    if (sent > CAPACITY) {
      take_gap(&ch.rx, sent - CAPACITY);
      take_range(&ch.rx, sent - CAPACITY, sent);
    } else {
      take_range(&ch.rx, 0, sent);
    }
    support_check_eq(try_take(&ch.rx), UV_EOF);
    support_check_eq(try_take(&ch.rx), UV_EOF);
    close_rx(&ch.rx);
  }
}
END_TEST

/* [FC15] */
START_TEST(each_receiver_lags_on_its_own) {
  enum { RECEIVERS = 5 };
  uvch_broadcast_receiver_t rx[RECEIVERS];
  uint64_t next[RECEIVERS]; /* the number that is due */
  uint64_t got[RECEIVERS];
  uint64_t lost[RECEIVERS];
  size_t round;
  size_t i;
  size_t k;
  channel_t ch;

  open_channel(&ch, NULL, CAPACITY, FIRST);
  for (i = 0; i < RECEIVERS; i++) {
    subscribe(&ch, &rx[i]);
    next[i] = got[i] = lost[i] = 0;
  }
  close_rx(&ch.rx);
  for (round = 0; round < 20 * CAPACITY; round++) {
    put(&ch, 1 + round % 3);
    for (i = 0; i < RECEIVERS; i++) {
      for (k = 0; k < i; k++) { /* the first never reads, each next one reads quicker */
        uint64_t behind = ch.sent - next[i];

        check_len(&rx[i], behind);
        if (behind == 0) {
          support_check_eq(try_take(&rx[i]), UV_EAGAIN);
        } else if (behind > CAPACITY) {
          take_gap(&rx[i], behind - CAPACITY);
          lost[i] += behind - CAPACITY;
          next[i] += behind - CAPACITY;
        } else {
          support_check_eq(take(&rx[i]), next[i]);
          got[i] += 1;
          next[i] += 1;
        }
      }
      support_check_eq(got[i] + lost[i] + uvch_broadcast_receiver_len(&rx[i]), ch.sent);
    }
  }
  drop_sender(&ch);
  take_gap(&rx[0], ch.sent - CAPACITY);
  for (i = 0; i < RECEIVERS; i++) {
    close_rx(&rx[i]);
  }
}
END_TEST

/* [FC08, FC09, FC12] */
START_TEST(what_was_sent_before_a_receiver_came_is_none_of_its_lag) {
  uvch_broadcast_receiver_t late;
  uvch_broadcast_receiver_t again;
  uint64_t before;
  channel_t ch;

  for (before = 0; before <= 2 * CAPACITY + 1; before++) {
    open_channel(&ch, NULL, CAPACITY, FIRST);
    put(&ch, before);
    subscribe(&ch, &late);
    put(&ch, CAPACITY);
    memset(&again, 0xa5, sizeof(again));
    support_check_eq(uvch_broadcast_resubscribe(NULL, &again, &ch.rx), 0);
    check_len(&late, CAPACITY);
    check_len(&again, 0);
    put(&ch, CAPACITY + 2);
    take_gap(&again, 2);
    take_gap(&late, CAPACITY + 2);
    take_gap(&ch.rx, before + CAPACITY + 2);
    take_range(&again, before + CAPACITY + 2, ch.sent);
    take_range(&late, before + CAPACITY + 2, ch.sent);
    take_range(&ch.rx, before + CAPACITY + 2, ch.sent);
    drop_sender(&ch);
    support_check_eq(try_take(&again), UV_EOF);
    support_check_eq(try_take(&late), UV_EOF);
    support_check_eq(try_take(&ch.rx), UV_EOF);
    close_rx(&again);
    close_rx(&late);
    close_rx(&ch.rx);
  }
}
END_TEST

/* [FC12, FC15, FC33] */
START_TEST(small_rings_wrap_around_with_every_step) {
  uvch_broadcast_receiver_t quick;
  uint64_t step;
  channel_t ch;

  for (step = 1; step <= 2 * CAPACITY + 1; step++) {
    uint64_t missed = step > CAPACITY ? step - CAPACITY : 0;
    uint64_t round;

    open_channel(&ch, NULL, CAPACITY, FIRST);
    subscribe(&ch, &quick);
    for (round = 0; round < 4 * CAPACITY + 2; round++) {
      uint64_t begin = ch.sent;

      for (; ch.sent < begin + step;) {
        put(&ch, 1);
        support_check_eq(take(&quick), ch.sent - 1);
      }
      check_len(&ch.rx, step);
      check_sender_len(&ch, at_most(step, CAPACITY));
      if (missed > 0) {
        take_gap(&ch.rx, missed);
      }
      take_range(&ch.rx, begin + missed, ch.sent);
      support_check_eq(try_take(&ch.rx), UV_EAGAIN);
      support_check_eq(try_take(&quick), UV_EAGAIN);
    }
    drop_sender(&ch);
    close_rx(&quick);
    close_rx(&ch.rx);
  }
}
END_TEST

/* [FC12, FC33] */
START_TEST(batches_wrap_around_as_single_messages_do) {
  uint64_t step;
  channel_t ch;

  for (step = 1; step <= 2 * CAPACITY + 1; step++) {
    uint64_t missed = step > CAPACITY ? step - CAPACITY : 0;
    uint64_t round;

    open_ex(&ch, NULL, CAPACITY, UVCH_BROADCAST_LAG, step % 2 == 0, FIRST);
    for (round = 0; round < 4 * CAPACITY + 2; round++) {
      uint64_t begin = ch.sent;

      put_many(&ch, step);
      check_len(&ch.rx, step);
      if (missed > 0) {
        take_gap(&ch.rx, missed);
      }
      take_range(&ch.rx, begin + missed, ch.sent);
      support_check_eq(try_take(&ch.rx), UV_EAGAIN);
    }
    drop_sender(&ch);
    close_rx(&ch.rx);
  }
}
END_TEST

/* [FC04, FC16] */
START_TEST(with_wait_room_is_counted_exactly_wherever_the_ring_is) {
  uint64_t begin = 0;
  uint64_t round;
  channel_t ch;

  open_ex(&ch, NULL, CAPACITY, UVCH_BROADCAST_WAIT, false, FIRST);
  put(&ch, CAPACITY);
  for (round = 0; round < 4 * CAPACITY + 2; round++) {
    uint64_t n = 1 + round % CAPACITY;
    uint64_t items[64];

    memset(items, 0xa5, sizeof(items));
    support_check_eq(uvch_broadcast_send(&ch.tx, items), UV_EAGAIN);
    support_check_eq(uvch_broadcast_send_many(&ch.tx, items, 2), UV_EAGAIN);
    take_range(&ch.rx, begin, begin + n);
    begin += n;
    check_sender_len(&ch, CAPACITY - n);
    if (round % 2 == 0) {
      put(&ch, n);
    } else {
      put_many(&ch, n);
    }
    check_len(&ch.rx, CAPACITY);
  }
  support_check_eq(uvch_broadcast_receiver_missed(&ch.rx), 0);
  drop_sender(&ch);
  take_range(&ch.rx, begin, ch.sent);
  support_check_eq(try_take(&ch.rx), UV_EOF);
  close_rx(&ch.rx);
}
END_TEST

START_TEST(with_disconnect_one_message_too_many_cuts_off_and_the_others_go_on) {
  uvch_broadcast_receiver_t quick;
  uint64_t had;
  channel_t ch;

  for (had = 0; had <= CAPACITY; had++) {
    open_ex(&ch, NULL, CAPACITY, UVCH_BROADCAST_DISCONNECT, had % 2 == 1, FIRST);
    subscribe(&ch, &quick);
    put(&ch, CAPACITY);
    take_range(&ch.rx, 0, had);
    take_range(&quick, 0, CAPACITY);
    put(&ch, had);
    check_len(&ch.rx, CAPACITY); /* it could go on from here */
    support_check_eq(uvch_broadcast_receiver_is_closed(&ch.rx), 0);
    take_range(&quick, CAPACITY, ch.sent);
    put(&ch, 1);
    check_len(&ch.rx, 0);
    support_check_eq(uvch_broadcast_receiver_is_closed(&ch.rx), 1);
    support_check_eq(try_take(&ch.rx), UV_ECONNABORTED);
    support_check_eq(uvch_broadcast_sender_receiver_count(&ch.tx), 1); /* it has been told */
    support_check_eq(uvch_broadcast_send(&ch.tx, &ch.sent), 1);
    ch.sent += 1;
    support_check_eq(try_take(&ch.rx), UV_ECONNABORTED);
    support_check_eq(uvch_broadcast_receiver_missed(&ch.rx), 0); /* there was no gap */
    if (CAPACITY > 1) {
      take_range(&quick, ch.sent - 2, ch.sent);
      check_sender_len(&ch, 0);
    } else {
      support_check_eq(try_take(&quick), UV_ECONNABORTED);
      support_check_eq(uvch_broadcast_send(&ch.tx, &ch.sent), UV_EPIPE);
    }
    drop_sender(&ch);
    support_check_eq(try_take(&ch.rx), UV_ECONNABORTED);
    close_rx(&quick);
    close_rx(&ch.rx);
  }
}
END_TEST

START_TEST(one_that_is_cut_off_counts_until_it_is_told) {
  uvch_broadcast_receiver_t again;
  channel_t ch;
  size_t i;

  open_ex(&ch, NULL, CAPACITY, UVCH_BROADCAST_DISCONNECT, false, FIRST);
  put(&ch, CAPACITY + 1);
  for (i = 0; i < 3; i++) { /* asking tells nothing */
    check_len(&ch.rx, 0);
    support_check_eq(uvch_broadcast_receiver_is_closed(&ch.rx), 1);
    support_check_eq(uvch_broadcast_receiver_strong_count(&ch.rx), 1);
    support_check_eq(uvch_broadcast_sender_receiver_count(&ch.tx), 1);
    support_check_eq(uvch_broadcast_send(&ch.tx, &ch.sent), 1);
    ch.sent += 1;
  }
  memset(&again, 0xa5, sizeof(again));
  support_check_eq(uvch_broadcast_resubscribe(NULL, &again, &ch.rx), 0); /* a new start */
  support_check_eq(uvch_broadcast_receiver_same_channel(&again, &ch.rx), 1);
  put(&ch, 1);
  support_check_eq(take(&again), ch.sent - 1);
  support_check_eq(try_take(&ch.rx), UV_ECONNABORTED);
  support_check_eq(uvch_broadcast_sender_receiver_count(&ch.tx), 1);
  close_rx(&again);
  support_check_eq(uvch_broadcast_send(&ch.tx, &ch.sent), UV_EPIPE);
  support_check_eq(uvch_broadcast_closed_timedwait(&ch.tx, 0), 0);
  close_rx(&ch.rx);
  drop_sender(&ch);
}
END_TEST

static void never(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  (void) rx;
  (void) item;
  ck_abort_msg("a callback that must not come, status %d", status);
}

static void never_many(uvch_broadcast_receiver_t* rx, int status, const void* first, size_t stride, size_t count) {
  (void) stride;
  (void) count;
  never(rx, status, first);
}

/* One way or the other: by hand, by hand though it is started, by its callback. */
enum { TOLD_PLAIN, TOLD_ON_LOOP, TOLD_STARTED, TOLD_BY_CALLBACK, TOLD };

static void tell_that_it_is_cut_off(channel_t* ch, uv_loop_t* loop, int way) {
  heard_t heard;

  if (way == TOLD_STARTED) {
    support_check_eq(uvch_broadcast_recv_start(&ch->rx, never), 0);
  } else if (way == TOLD_BY_CALLBACK) {
    listen_to(&ch->rx, &heard, 0, 0);
    support_loop_run(loop);
    support_check_eq(heard.ends, 1);
    support_check_eq(heard.end, UV_ECONNABORTED);
  }
  support_check_eq(try_take(&ch->rx), UV_ECONNABORTED);
}

START_TEST(one_that_was_told_that_it_is_cut_off_answers_every_call) {
  uvch_broadcast_receiver_t none;
  uvch_broadcast_receiver_t other;
  uvch_handle_t* handle;
  uint64_t value = 5;
  uv_loop_t loop;
  channel_t ch;
  size_t i;

  support_loop_init(&loop);
  open_ex(&ch, _i == TOLD_PLAIN ? NULL : &loop, 2, UVCH_BROADCAST_DISCONNECT, false, 0);
  handle = (uvch_handle_t*) &ch.rx;
  put(&ch, 3);
  subscribe(&ch, &other);
  memset(&none, 0x5a, sizeof(none));
  tell_that_it_is_cut_off(&ch, &loop, _i);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(uvch_broadcast_try_recv(&ch.rx, &value), UV_ECONNABORTED);
    ck_assert_int_eq(uvch_broadcast_resubscribe(NULL, &none, &ch.rx), UV_ECONNABORTED);
    if (_i == TOLD_PLAIN) {
      ck_assert_int_eq(uvch_broadcast_recv_wait(&ch.rx, &value), UV_ECONNABORTED);
      ck_assert_int_eq(uvch_broadcast_recv_timedwait(&ch.rx, &value, 0), UV_ECONNABORTED);
    } else {
      ck_assert_int_eq(uvch_broadcast_recv_start(&ch.rx, never), UV_ECONNABORTED);
      ck_assert_int_eq(uvch_broadcast_recv_many_start(&ch.rx, 1, never_many), UV_ECONNABORTED);
    }
    ck_assert_int_eq(uvch_broadcast_recv_stop(&ch.rx), 0);
    ck_assert_int_eq(uvch_is_active(handle), 0);
    ck_assert_int_eq(uvch_is_closing(handle), 0); /* it is the program that closes it */
    ck_assert_int_eq(uvch_broadcast_receiver_is_closed(&ch.rx), 1);
    ck_assert_uint_eq(uvch_broadcast_receiver_missed(&ch.rx), 0);
    ck_assert_uint_eq(uvch_broadcast_receiver_strong_count(&ch.rx), 0);
    ck_assert_uint_eq(uvch_broadcast_receiver_weak_count(&ch.rx), 0);
    ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&ch.rx, &other), 0);
    ck_assert_int_eq(uvch_broadcast_receiver_same_channel(&other, &ch.rx), 0);
    check_len(&ch.rx, 0);
    put(&ch, 1);
    ck_assert_uint_eq(take(&other), ch.sent - 1);
  }
  ck_assert_uint_eq(value, 5);
  for (i = 0; i < sizeof(none); i++) {
    ck_assert_uint_eq(((const unsigned char*) &none)[i], 0x5a);
  }
  ck_assert_uint_eq(uvch_broadcast_sender_receiver_count(&ch.tx), 1);
  support_loop_run(&loop); /* nothing keeps it alive, and no callback comes */
  close_rx(&ch.rx);
  close_rx(&other);
  drop_sender(&ch);
  support_loop_end(&loop);
}
END_TEST

/* More than an int holds. */

static const uint64_t many[] = {
    INT_MAX - 1, INT_MAX, (uint64_t) INT_MAX + 1, UINT32_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 33) + 5, UINT64_C(1) << 61,
};

#define MANY (many[(size_t) _i % COUNT(many)])

/* As if so many messages had been sent that nobody has read. */
static void pretend(channel_t* ch, uint64_t count) {
  struct uvch__broadcast* c = ch->tx.core;
  uint64_t tail = uvch__tail_load(&c->hub) + count;
  uint32_t ahead = (uint32_t) (count % ch->capacity);

  uvch__set_tail_index(c, tail, uvch__index_add(c, uvch__tail_index(c), ahead));
  atomic_store(&c->hub.tail, tail);
  ch->sent += count;
}

/* [FC12, FC33] */
START_TEST(a_gap_of_more_than_an_int_holds_is_told_by_another_call) {
  static const size_t few[] = {1, 3, 8};
  size_t capacity = few[(size_t) _i / COUNT(many) % COUNT(few)];
  int told = MANY < INT_MAX ? (int) MANY : INT_MAX;
  heard_t heard;
  uv_loop_t loop;
  channel_t ch;
  size_t i;

  support_loop_init(&loop);
  for (i = 0; i < COUNT(firsts); i++) {
    open_channel(&ch, i % 2 == 0 ? NULL : &loop, capacity, firsts[i]);
    put(&ch, 1);
    pretend(&ch, MANY - 1);
    put(&ch, capacity); /* these are kept */
    check_len(&ch.rx, MANY + capacity);
    check_sender_len(&ch, capacity);
    if (i % 2 == 0) {
      support_check_eq(try_take(&ch.rx), told);
      check_len(&ch.rx, capacity);
      take_range(&ch.rx, MANY, ch.sent);
      support_check_eq(try_take(&ch.rx), UV_EAGAIN);
      drop_sender(&ch);
    } else {
      listen_to(&ch.rx, &heard, MANY - (uint64_t) told, 0);
      drop_sender(&ch);
      support_loop_run(&loop);
      support_check_eq(heard.gaps, 1);
      support_check_eq(heard.missed, told);
      support_check_eq(heard.count, capacity);
    }
    support_check_eq(uvch_broadcast_receiver_missed(&ch.rx), MANY);
    close_rx(&ch.rx);
    support_loop_run(&loop);
  }
  support_loop_close(&loop);
}
END_TEST

/* The same without pretending. It takes a while, so it is for great scales only; else it goes as far as 1 message in 256.
 * [FC12] */
START_TEST(a_gap_of_really_so_many_messages_is_counted_to_the_last_one) {
  size_t count = support_scale(10) >= 100 ? INT_MAX : INT_MAX / 256;
  uvch_broadcast_receiver_t rx;
  uvch_broadcast_sender_t tx;
  size_t i;

  uvch__broadcast_first = UINT64_MAX - 1000;
  ck_assert_int_eq(uvch_broadcast_init(NULL, &rx, &tx, 0, 3), 0);
  uvch__broadcast_first = 0;
  for (i = 0; i < 2; i++) {
    ck_assert_int_eq(uvch_broadcast_send_many(&tx, NULL, count), (int) count);
  }
  ck_assert_uint_eq(uvch_broadcast_receiver_len(&rx), 2 * count);
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, NULL), count < INT_MAX ? (int) (2 * count - 3) : INT_MAX);
  ck_assert_uint_eq(uvch_broadcast_receiver_missed(&rx), 2 * count - 3);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(uvch_broadcast_try_recv(&rx, NULL), 0);
  }
  ck_assert_int_eq(uvch_broadcast_try_recv(&rx, NULL), UV_EAGAIN);
  close_rx(&rx);
  ck_assert_int_eq(uvch_broadcast_sender_close(&tx), 0);
}
END_TEST

/* Lag that comes up in callbacks. */

/* [FC13, FC15] */
START_TEST(what_a_callback_sends_is_delivered_or_counted) {
  unsigned char feed[60];
  size_t max;
  size_t i;
  heard_t heard;
  uv_loop_t loop;
  channel_t ch;

  support_loop_init(&loop);
  for (max = 0; max <= CAPACITY + 1; max++) {
    for (i = 0; i < COUNT(feed); i++) {
      feed[i] = (unsigned char) ((i * 7 + max) % (2 * CAPACITY + 2));
    }
    open_channel(&ch, &loop, CAPACITY, FIRST);
    listen_to(&ch.rx, &heard, 0, max);
    heard.feeds = &ch;
    heard.feed = feed;
    heard.feed_count = COUNT(feed);
    put(&ch, CAPACITY + 1);
    while (uvch_broadcast_receiver_len(&ch.rx) > 0) {
      uv_run(&loop, UV_RUN_NOWAIT);
      support_check(heard.next <= ch.sent);
    }
    drop_sender(&ch);
    support_loop_run(&loop);
    support_check_eq(heard.end, UV_EOF);
    support_check_eq(heard.count + heard.missed, ch.sent);
    support_check(heard.gaps > 0 && heard.count >= CAPACITY);
    close_rx(&ch.rx);
    support_loop_run(&loop); /* then the memory is free */
  }
  support_loop_close(&loop);
}
END_TEST

/* A callback that gets its own receiver on, or behind: for the first message only. */
typedef struct upset_s {
  channel_t ch;
  uint64_t sends;
  uint64_t takes;
  uint64_t next;
  size_t calls;
  int second; /* the status of the second callback */
} upset_t;

static void upset_cb(uvch_broadcast_receiver_t* rx, int status, const void* item) {
  upset_t* upset = rx->data;
  uint64_t i;

  upset->calls += 1;
  if (upset->calls == 2) {
    upset->second = status;
  }
  if (status > 0) {
    upset->next += (uint64_t) status;
  }
  if (status == 0) {
    support_check_eq(*(const uint64_t*) item, upset->next);
    upset->next += 1;
  }
  if (upset->calls > 1) {
    return;
  }
  for (i = 0; i < upset->takes; i++) {
    support_check_eq(take(rx), upset->next);
    upset->next += 1;
  }
  put(&upset->ch, upset->sends);
}

static void upset_init(upset_t* upset, uv_loop_t* loop, size_t capacity, uvch_broadcast_policy policy, bool owning,
                       uint64_t first) {
  memset(upset, 0, sizeof(*upset));
  open_ex(&upset->ch, loop, capacity, policy, owning, first);
  upset->ch.rx.data = upset;
  put(&upset->ch, capacity);
  support_check_eq(uvch_broadcast_recv_start(&upset->ch.rx, upset_cb), 0);
}

static void upset_end(upset_t* upset, uv_loop_t* loop) {
  int i;

  for (i = 0; i < 3; i++) {
    uv_run(loop, UV_RUN_NOWAIT);
  }
  drop_sender(&upset->ch);
  support_loop_run(loop);
  close_rx(&upset->ch.rx);
  support_loop_run(loop);
}

START_TEST(what_a_callback_takes_by_hand_does_not_come_again) {
  uv_loop_t loop;
  upset_t upset;
  uint64_t takes;
  int owning;

  support_loop_init(&loop);
  for (takes = 0; takes < CAPACITY; takes++) {
    for (owning = 0; owning < 2; owning++) {
      upset_init(&upset, &loop, CAPACITY, UVCH_BROADCAST_LAG, owning, FIRST);
      upset.takes = takes;
      upset_end(&upset, &loop);
      support_check_eq(upset.next, CAPACITY);
      support_check_eq(upset.calls, CAPACITY - takes + 1);
      support_check_eq(uvch_broadcast_receiver_missed(&upset.ch.rx), 0);
    }
  }
  support_loop_close(&loop);
}
END_TEST

/* [FC12, FC16] */
START_TEST(a_callback_that_overruns_its_own_receiver_is_told_next) {
  uv_loop_t loop;
  upset_t upset;
  uint64_t sends;
  int owning;

  support_loop_init(&loop);
  for (sends = 0; sends <= 2 * CAPACITY; sends++) {
    uint64_t missed = sends > 1 ? sends - 1 : 0; /* it has room for the one in its hand */

    for (owning = 0; owning < 2; owning++) {
      upset_init(&upset, &loop, CAPACITY, UVCH_BROADCAST_LAG, owning, FIRST);
      upset.sends = sends;
      upset_end(&upset, &loop);
      support_check_eq(upset.next, CAPACITY + sends);
      support_check_eq(upset.second, missed > 0 ? (int) missed : CAPACITY + sends > 1 ? 0 : UV_EOF);
      upset_init(&upset, &loop, CAPACITY, UVCH_BROADCAST_DISCONNECT, owning, FIRST);
      upset.sends = sends;
      upset_end(&upset, &loop);
      support_check_eq(upset.second, missed > 0 ? UV_ECONNABORTED : CAPACITY + sends > 1 ? 0 : UV_EOF);
      support_check_eq(upset.calls, missed > 0 ? 2 : CAPACITY + sends + 1);
    }
  }
  support_loop_close(&loop);
}
END_TEST

int main(void) {
  Suite* suite = suite_create("broadcast_lag");
  TCase* tcase = support_case(suite, "states");

  add_for_every_state(tcase, every_state_answers_try_recv_and_a_thread_as_the_header_says);
  add_for_every_state(tcase, every_state_answers_callbacks_as_the_header_says);
  tcase = support_case(suite, "counting");
  add_for_every_ring(tcase, exactly_full_is_no_lag_and_each_further_message_is_one);
  add_for_every_ring(tcase, one_that_has_read_some_misses_only_what_it_has_not_read);
  add_for_every_ring(tcase, after_a_gap_the_next_one_is_counted_from_there);
  add_for_every_ring(tcase, a_gap_in_the_middle_of_what_follows_a_gap_is_counted_from_there);
  add_for_every_ring(tcase, the_end_comes_after_the_gap_and_all_that_are_kept);
  add_for_every_ring(tcase, each_receiver_lags_on_its_own);
  add_for_every_ring(tcase, what_was_sent_before_a_receiver_came_is_none_of_its_lag);
  add_for_every_ring(tcase, small_rings_wrap_around_with_every_step);
  add_for_every_ring(tcase, batches_wrap_around_as_single_messages_do);
  tcase = support_case(suite, "policies");
  add_for_every_ring(tcase, with_wait_room_is_counted_exactly_wherever_the_ring_is);
  add_for_every_ring(tcase, with_disconnect_one_message_too_many_cuts_off_and_the_others_go_on);
  add_for_every_ring(tcase, one_that_is_cut_off_counts_until_it_is_told);
  tcase_add_loop_test(tcase, one_that_was_told_that_it_is_cut_off_answers_every_call, 0, TOLD);
  tcase = support_case(suite, "many");
  tcase_add_loop_test(tcase, a_gap_of_more_than_an_int_holds_is_told_by_another_call, 0, 3 * (int) COUNT(many));
  tcase_add_test(tcase, a_gap_of_really_so_many_messages_is_counted_to_the_last_one);
  tcase = support_case(suite, "callbacks");
  add_for_every_ring(tcase, what_a_callback_sends_is_delivered_or_counted);
  add_for_every_ring(tcase, what_a_callback_takes_by_hand_does_not_come_again);
  add_for_every_ring(tcase, a_callback_that_overruns_its_own_receiver_is_told_next);
  return support_main(suite);
}
