/* SPDX-License-Identifier: MIT */
#include "threads.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PORTION 4096
#define PHASES 2 /* the first one warms up */
#define LOOPS 2  /* threads of receivers in `broadcast` */
#define SETTLE_US 200

static const struct threads_row* table;

static const struct threads_peer* pick(const struct peer_args* args, const struct threads_setup* setup) {
  const struct threads_row* row = table;

  while (strcmp(row->peer, args->peer) != 0)
    row++;
  return row->pick(args, setup);
}

struct threads_thread {
  pthread_t id;
  void (*run)(void*);
  void* arg;
};

static void* enter(void* arg) {
  struct threads_thread* thread = (struct threads_thread*) arg;

  thread->run(thread->arg);
  return NULL;
}

struct threads_thread* threads_start(void (*run)(void*), void* arg) {
  struct threads_thread* thread = (struct threads_thread*) peer_xcalloc(1, sizeof(*thread));

  thread->run = run;
  thread->arg = arg;
  if (pthread_create(&thread->id, NULL, enter, thread) != 0)
    peer_fail("pthread_create failed");
  return thread;
}

void threads_join(struct threads_thread* thread) {
  pthread_join(thread->id, NULL);
  free(thread);
}

static void barrier_init(pthread_barrier_t* barrier, unsigned int n) {
  if (pthread_barrier_init(barrier, NULL, n) != 0)
    peer_fail("pthread_barrier_init failed");
}

/* stream */

struct producer {
  const struct peer_args* args;
  const struct threads_peer* peer;
  pthread_barrier_t* barrier;
  int64_t* left; /* messages that nobody has begun to send, for each phase */
  unsigned int number;
  void* tx;
  uint64_t start;
};

static void produce(void* arg) {
  struct producer* p = (struct producer*) arg;
  uint64_t place = 0;
  int64_t left;
  int phase;

  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      peer_place(p->args, p->number + 1);
    pthread_barrier_wait(p->barrier);
    p->start = peer_now();
    while ((left = __atomic_fetch_sub(&p->left[phase], PORTION, __ATOMIC_RELAXED)) > 0) {
      uint64_t count = left < PORTION ? (uint64_t) left : PORTION;
      p->peer->send(p->tx, place, count);
      place += count;
    }
  }
}

static void run_stream(const struct peer_args* args) {
  static struct producer producers[PEER_PRODUCERS_MAX];
  struct threads_thread* threads[PEER_PRODUCERS_MAX];
  struct threads_setup setup = {args->capacity, args->size, args->producers};
  const struct threads_peer* peer = pick(args, &setup);
  struct peer_check check = {.producers = args->producers};
  int64_t left[PHASES] = {(int64_t) (args->messages / 5 + 1), (int64_t) args->messages};
  size_t counts[PHASES] = {(size_t) left[0], (size_t) left[1]};
  void* tx[PEER_PRODUCERS_MAX];
  void* rx;
  pthread_barrier_t barrier;
  struct peer_meter meter;
  uint64_t before = 0;
  uint64_t start = UINT64_MAX;
  unsigned int i;
  int phase;

  peer->open(&setup, tx, &rx);
  barrier_init(&barrier, args->producers + 1);
  for (i = 0; i < args->producers; i++) {
    producers[i] = (struct producer){args, peer, &barrier, left, i, tx[i], 0};
    threads[i] = threads_start(produce, &producers[i]);
  }
  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      peer_place(args, 0);
    peer_meter_start(&meter);
    before = meter.wall;
    pthread_barrier_wait(&barrier);
    peer->recv(rx, &check, counts[phase]);
  }
  peer_meter_stop(&meter);
  for (i = 0; i < args->producers; i++) {
    threads_join(threads[i]);
    if (producers[i].start < start)
      start = producers[i].start;
  }
  meter.wall -= start - before;
  peer_result(args->messages, &meter, NULL, 0);
}

/* pingpong and request: one line there and one back. */

struct line {
  void* tx;
  void* rx;
  struct peer_check check;
};

struct talk {
  const struct peer_args* args;
  const struct threads_peer* peer;
  struct line there;
  struct line back;
  uint64_t change;         /* answer less message */
  size_t counts[PHASES];   /* of messages */
  uint64_t* times;         /* of the second phase; may be NULL */
  unsigned int in_advance; /* messages that are on their way */
};

static void open_line(struct line* line, const struct threads_peer* peer, const struct threads_setup* setup) {
  peer->open(setup, &line->tx, &line->rx);
  line->check.producers = 1;
}

static void talk_open(struct talk* talk, const struct peer_args* args, uint64_t change) {
  struct threads_setup setup = {THREADS_ANY, sizeof(uint64_t), 1};
  void* tx[2];
  void* rx[2];

  talk->args = args;
  talk->peer = pick(args, &setup);
  if (talk->peer->open_both != NULL) {
    talk->peer->open_both(&setup, tx, rx);
  } else {
    talk->peer->open(&setup, &tx[0], &rx[0]);
    talk->peer->open(&setup, &tx[1], &rx[1]);
  }
  talk->there = (struct line){tx[0], rx[0], {.producers = 1}};
  talk->back = (struct line){tx[1], rx[1], {.producers = 1, .next = {change}}};
  talk->change = change;
  talk->counts[0] = args->messages / 10 + 1;
  talk->counts[1] = args->messages;
  if (args->outstanding == 1)
    talk->times = (uint64_t*) peer_xcalloc(args->messages, sizeof(uint64_t));
}

static void answer(void* arg) {
  struct talk* talk = (struct talk*) arg;
  const struct threads_peer* peer = talk->peer;
  uint64_t place = talk->change;
  uint64_t end = place;
  int phase;

  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      peer_place(talk->args, 1);
    for (end += talk->counts[phase]; place < end; place++) {
      peer->recv(talk->there.rx, &talk->there.check, 1);
      peer->send(talk->back.tx, place, 1);
    }
  }
}

static void ask(struct talk* talk, uint64_t first, size_t count, uint64_t* times) {
  const struct threads_peer* peer = talk->peer;
  size_t sent = talk->in_advance < count ? talk->in_advance : count;
  uint64_t then = peer_now();
  uint64_t now;
  size_t got;

  peer->send(talk->there.tx, first, sent);
  for (got = 0; got < count; got++) {
    peer->recv(talk->back.rx, &talk->back.check, 1);
    if (times != NULL) {
      now = peer_now();
      times[got] = now - then;
      then = now;
    }
    if (sent < count)
      peer->send(talk->there.tx, first + sent++, 1);
  }
}

static void talk_run(struct talk* talk) {
  struct threads_thread* thread = threads_start(answer, talk);
  struct peer_meter meter;

  ask(talk, 0, talk->counts[0], NULL);
  peer_place(talk->args, 0);
  peer_meter_start(&meter);
  ask(talk, talk->counts[0], talk->counts[1], talk->times);
  peer_meter_stop(&meter);
  threads_join(thread);
  peer_result(talk->args->messages, &meter, talk->times, talk->times == NULL ? 0 : talk->counts[1]);
}

static void run_pingpong(const struct peer_args* args) {
  static struct talk talk;

  if (args->one)
    peer_none("it has no event loop");
  talk_open(&talk, args, 0);
  talk.in_advance = 1;
  talk_run(&talk);
}

static void run_request(const struct peer_args* args) {
  static struct talk talk;

  if (args->outstanding > 1024)
    peer_none("its channels could fill up in both directions");
  talk_open(&talk, args, 1);
  talk.in_advance = args->outstanding;
  talk_run(&talk);
}

/* broadcast. A thread takes from its receivers in turn, which does not wait in vain, as every message goes to each of them. */

struct crowd {
  const struct peer_args* args;
  const struct threads_peer* peer;
  pthread_barrier_t barrier;
  struct line* lines;   /* one for each receiver */
  unsigned int senders; /* of the lines, how many have a sending end */
  size_t counts[PHASES];
  struct peer_meter meter;
};

static void crowd_open(struct crowd* crowd) {
  const struct peer_args* args = crowd->args;
  struct threads_setup setup = {args->capacity, sizeof(uint64_t), 1};
  void** rx;
  unsigned int i;

  crowd->peer = pick(args, &setup);
  crowd->lines = (struct line*) peer_xcalloc(args->receivers, sizeof(*crowd->lines));
  if (crowd->peer->open_all == NULL) {
    crowd->senders = args->receivers;
    for (i = 0; i < args->receivers; i++)
      open_line(&crowd->lines[i], crowd->peer, &setup);
    return;
  }
  rx = (void**) peer_xcalloc(args->receivers, sizeof(*rx));
  crowd->senders = 1;
  crowd->peer->open_all(&setup, args->receivers, &crowd->lines[0].tx, rx);
  for (i = 0; i < args->receivers; i++) {
    crowd->lines[i].rx = rx[i];
    crowd->lines[i].check.producers = 1;
  }
  free(rx);
}

struct loop {
  struct crowd* crowd;
  unsigned int number;
  struct line* lines;
  size_t n;
  uint64_t end;
};

static void listen_all(void* arg) {
  struct loop* loop = (struct loop*) arg;
  struct crowd* crowd = loop->crowd;
  size_t message, i;
  int phase;

  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      peer_place(crowd->args, loop->number);
    pthread_barrier_wait(&crowd->barrier);
    for (message = 0; message < crowd->counts[phase]; message++) {
      for (i = 0; i < loop->n; i++)
        crowd->peer->recv(loop->lines[i].rx, &loop->lines[i].check, 1);
    }
  }
  loop->end = peer_now();
}

/* Returns when the measured part began. */
static uint64_t send_all(struct crowd* crowd, unsigned int number) {
  uint64_t place = 0;
  uint64_t end = 0;
  unsigned int i;
  int phase;

  for (phase = 0; phase < PHASES; phase++) {
    if (phase == PHASES - 1)
      peer_place(crowd->args, number);
    pthread_barrier_wait(&crowd->barrier);
    peer_meter_start(&crowd->meter);
    for (end += crowd->counts[phase]; place < end; place++) {
      for (i = 0; i < crowd->senders; i++)
        crowd->peer->send(crowd->lines[i].tx, place, 1);
    }
  }
  return crowd->meter.wall;
}

static void run_broadcast(const struct peer_args* args) {
  static struct crowd crowd;
  unsigned int n = args->receivers == 1 ? 1 : LOOPS;
  unsigned int half = args->receivers / n;
  size_t sends = (args->messages + args->receivers - 1) / args->receivers;
  struct loop loops[LOOPS];
  struct threads_thread* threads[LOOPS];
  uint64_t start;
  uint64_t end = 0;
  unsigned int i;

  crowd.args = args;
  crowd.counts[0] = sends / 5 + 1;
  crowd.counts[1] = sends;
  crowd_open(&crowd);
  barrier_init(&crowd.barrier, n + 1);
  for (i = 0; i < n; i++) {
    loops[i] = (struct loop){&crowd, i, crowd.lines + i * half, i == n - 1 ? args->receivers - i * half : half, 0};
    threads[i] = threads_start(listen_all, &loops[i]);
  }
  start = send_all(&crowd, n);
  for (i = 0; i < n; i++) {
    threads_join(threads[i]);
    if (loops[i].end > end)
      end = loops[i].end;
  }
  peer_meter_stop(&crowd.meter);
  crowd.meter.wall = end - start;
  free(crowd.lines);
  peer_result(sends * args->receivers, &crowd.meter, NULL, 0);
}

/* idle */

void threads_idle_taken(struct threads_idle* idle) {
  __atomic_store_n(&idle->taken, peer_now(), __ATOMIC_RELEASE);
}

static void settle(const struct threads_idle* idle) {
  unsigned int turns = 0;

  if (idle->page == -1) {
    usleep(SETTLE_US);
    return;
  }
  while (!peer_sleeps(idle->page))
    threads_pause(&turns);
}

static uint64_t wait_taken(const struct threads_idle* idle) {
  unsigned int turns = 0;
  uint64_t taken;

  while ((taken = __atomic_load_n(&idle->taken, __ATOMIC_ACQUIRE)) == 0)
    threads_pause(&turns);
  return taken;
}

static void idle_send(void* arg) {
  struct threads_idle* idle = (struct threads_idle*) arg;
  const struct peer_args* args = idle->args;
  uint64_t* times = (uint64_t*) peer_xcalloc(args->messages, sizeof(*times));
  struct peer_meter meter;
  uint64_t state = 0;
  uint64_t i, start;
  size_t channel;

  peer_place(args, 1);
  peer_meter_start(&meter);
  for (i = 0; i < args->messages; i++) {
    channel = peer_random(&state) % args->channels;
    settle(idle);
    __atomic_store_n(&idle->taken, 0, __ATOMIC_RELAXED);
    start = peer_now();
    idle->send(idle->arg, channel, i);
    times[i] = wait_taken(idle) - start;
  }
  peer_meter_stop(&meter);
  peer_result_more(args->messages, &meter, times, args->messages, "bytes", idle->bytes / args->channels);
  free(times);
}

struct threads_thread* threads_idle_start(struct threads_idle* idle) {
  return threads_start(idle_send, idle);
}

struct alone {
  const struct threads_peer* peer;
  struct line line;
};

static void alone_send(void* arg, size_t channel, uint64_t place) {
  struct alone* alone = (struct alone*) arg;

  (void) channel;
  alone->peer->send(alone->line.tx, place, 1);
}

/* A thread can wait for one channel only. */
static void run_idle(const struct peer_args* args) {
  static struct alone alone;
  struct threads_setup setup = {THREADS_ANY, sizeof(uint64_t), 1};
  struct threads_idle idle = {.send = alone_send, .arg = &alone, .args = args};
  struct threads_thread* thread;
  uint64_t i;

  alone.peer = pick(args, &setup);
  if (alone.peer->spins)
    peer_none("its receiver cannot sleep");
  if (args->channels != 1)
    peer_none("a thread cannot wait for several of its channels");
  idle.bytes = peer_resident();
  open_line(&alone.line, alone.peer, &setup);
  idle.bytes = peer_resident() - idle.bytes;
  idle.page = peer_page();
  peer_place(args, 0);
  thread = threads_idle_start(&idle);
  for (i = 0; i < args->messages; i++) {
    alone.peer->recv(alone.line.rx, &alone.line.check, 1);
    threads_idle_taken(&idle);
  }
  threads_join(thread);
}

static void run_pair(const struct peer_args* args) {
  struct threads_setup setup = {args->capacity, args->size, 1};
  const struct threads_peer* peer = pick(args, &setup);
  struct peer_meter meter;
  struct line line = {0};
  size_t warm = args->messages / 10 + 1;

  open_line(&line, peer, &setup);
  peer->pair(line.tx, line.rx, 0, &line.check, warm);
  peer_meter_start(&meter);
  peer->pair(line.tx, line.rx, warm, &line.check, args->messages);
  peer_meter_stop(&meter);
  peer_result(args->messages, &meter, NULL, 0);
}

int threads_main(int argc, char** argv, const struct threads_row* peers, const struct peer_row* more) {
  static const struct peer_row cases[] = {
      {NULL, "stream", run_stream},       {NULL, "pingpong", run_pingpong}, {NULL, "request", run_request},
      {NULL, "broadcast", run_broadcast}, {NULL, "idle", run_idle},         {NULL, "pair", run_pair},
  };
  static struct peer_row rows[64];
  struct peer_row* row = rows;
  size_t i;

  table = peers;
  for (; more != NULL && more->peer != NULL; more++)
    *row++ = *more;
  for (; peers->peer != NULL; peers++) {
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
      *row = cases[i];
      row++->peer = peers->peer;
    }
  }
  return peer_main(argc, argv, rows);
}
