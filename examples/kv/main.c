/* SPDX-License-Identifier: MIT
 *
 * kv: sets up all threads and channels, waits for the end, and takes them down in the order in which things flow: servers, shards, log.
 * Whatever fails at the start, what there is until then ends in the same way. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "accept.h"
#include "commands.h"
#include "restore.h"
#include "status.h"
#include "worker.h"

enum {
  SIGNALS = 2,
  PUBLISHED = 4096 /* messages between servers */,
  DEADLINE = 10000 /* ms for clients to read their replies */
};

struct program {
  struct settings settings;
  struct kv kv;
  uv_loop_t loop;
  struct acceptor acceptor;
  struct status status;
  uv_signal_t signals[SIGNALS];
  uv_timer_t deadline;
  phase_receiver_t phase;
  settings_receiver_t followed;
  uvch_watch_closed_t ended;
  records_sender_t records;
  health_sender_t health;
  struct worker* workers;
  size_t worker_count;
  size_t shards_open;
  size_t servers_open;
};

/*
 * The end
 */

static void on_deadline(uv_timer_t* timer) {
  struct program* p = timer->data;

  say(LEVEL_WARNING, "some clients do not read their replies: they are closed");
  phase_raise(&p->kv.phase, PHASE_ENDED);
}

/* No server follows the phase any more. */
static void on_servers_ended(uvch_watch_closed_t* req, int status) {
  struct program* p = req->data;
  int i;

  (void) status;
  for (i = 0; i < SIGNALS; i++)
    uv_close((uv_handle_t*) &p->signals[i], NULL);
  uv_close((uv_handle_t*) &p->deadline, NULL);
}

static void on_phase(phase_receiver_t* rx, int status, const enum phase* phase) {
  struct program* p = rx->base.data;

  must(status, "phase");
  if (*phase == PHASE_RUNNING)
    return;
  status_stop(&p->status);
  acceptor_close(&p->acceptor);
  must(uv_timer_start(&p->deadline, on_deadline, DEADLINE, 0), "deadline");
  uvch_close((uvch_handle_t*) rx, NULL);
  uvch_close((uvch_handle_t*) &p->followed, NULL);
  must(phase_closed(&p->loop, &p->ended, &p->kv.phase, on_servers_ended), "end");
}

static void on_settings(settings_receiver_t* rx, int status, const struct settings* settings) {
  (void) rx;
  must(status, "settings");
  say_from(settings->loglevel);
}

/* The first: in order. The second: at once. */
static void on_signal(uv_signal_t* handle, int number) {
  struct program* p = handle->data;
  const enum phase* now = phase_sender_borrow(&p->kv.phase);

  (void) number;
  phase_raise(&p->kv.phase, *now == PHASE_RUNNING ? PHASE_ENDING : PHASE_ENDED);
}

/*
 * The start
 */

/* So that no client has to be refused for want of a descriptor. */
static void get_descriptors(struct settings* settings) {
  size_t room = settings_room(settings);

  if (room == settings->maxclients)
    return;
  say(LEVEL_WARNING, "maxclients is %zu and not %zu: the system does not allow more descriptors; see ulimit -n", room,
      settings->maxclients);
  settings->maxclients = room;
}

static void start_control(struct program* p) {
  static const int numbers[SIGNALS] = {SIGINT, SIGTERM};
  int i;

  must(phase_subscribe(&p->loop, &p->phase, &p->kv.phase), "phase");
  p->phase.base.data = p->ended.data = p->deadline.data = p;
  must(phase_start(&p->phase, on_phase, UVCH_WATCH_CURRENT), "phase");
  must(settings_subscribe(&p->loop, &p->followed, &p->kv.settings), "settings");
  must(settings_start(&p->followed, on_settings, 0), "settings");
  must(uv_timer_init(&p->loop, &p->deadline), "deadline");
  for (i = 0; i < SIGNALS; i++) {
    must(uv_signal_init(&p->loop, &p->signals[i]), "signal");
    p->signals[i].data = p;
    must(uv_signal_start(&p->signals[i], on_signal, numbers[i]), "signal");
  }
  status_start(&p->status, &p->kv, &p->loop);
}

/* Servers have the first ones; shards live with them, or have the others. */
static int open_workers(struct program* p) {
  size_t count = p->kv.server_count + (p->settings.shard_loops == SHARD_LOOPS_OWN ? p->kv.shard_count : 0);
  int r = 0;

  p->workers = calloc(count, sizeof(*p->workers));
  if (p->workers == NULL)
    return UV_ENOMEM;
  while (r == 0 && p->worker_count < count) {
    r = worker_open(&p->workers[p->worker_count]);
    p->worker_count += r == 0;
  }
  return r;
}

static int open_shards(struct program* p) {
  struct kv* kv = &p->kv;
  size_t first = p->settings.shard_loops == SHARD_LOOPS_OWN ? kv->server_count : 0;
  int r = 0;

  while (r == 0 && p->shards_open < kv->shard_count) {
    size_t i = p->shards_open;
    struct worker* worker = &p->workers[first + i % (p->worker_count - first)];
    r = shard_open(&kv->shards[i], &worker->loop, kv->shards, i, kv->shard_count, &kv->settings);
    p->shards_open += r == 0;
  }
  return r;
}

static int open_log(struct program* p) {
  struct kv* kv = &p->kv;
  char path[sizeof(p->settings.dir) + sizeof(p->settings.appendfilename)];
  size_t i;
  int r;

  if (!p->settings.appendonly)
    return 0;
  snprintf(path, sizeof(path), "%s/%s", p->settings.dir, p->settings.appendfilename);
  r = restore(kv, path);
  if (r == 0)
    r = log_start(&kv->log, path, &kv->settings, &p->records, &p->health);
  for (i = 0; i < kv->shard_count && r == 0; i++)
    r = shard_log(&kv->shards[i], &p->records, &p->health);
  return r;
}

static int open_servers(struct program* p) {
  struct kv* kv = &p->kv;
  size_t i;
  int r = 0;

  kv->pubsub = pubsub_new(PUBLISHED);
  if (kv->pubsub == NULL)
    return UV_ENOMEM;
  while (r == 0 && p->servers_open < kv->server_count) {
    r = server_open(&kv->servers[p->servers_open], &p->workers[p->servers_open].loop, kv, p->servers_open);
    p->servers_open += r == 0;
  }
  for (i = 0; i < kv->server_count && r == 0; i++)
    r = server_connect(&kv->servers[i]);
  return r;
}

static int start_workers(struct program* p) {
  size_t i;
  int r = 0;

  for (i = 0; i < p->worker_count && r == 0; i++)
    r = worker_start(&p->workers[i]);
  return r;
}

static int announce(const struct program* p) {
  const struct settings* s = &p->settings;

  if (printf("kv: listening on %s port %u, %zu loops, %zu shards%s\n", s->bind, p->kv.port, s->servers, s->shards,
             s->appendonly ? ", append-only file" : "") >= 0 &&
      fflush(stdout) == 0)
    return 0;
  say(LEVEL_WARNING, "cannot write to standard output: %s", uv_strerror(uv_translate_sys_error(errno)));
  return UV_EIO;
}

/* Each step says what it was when it fails. */
static int start(struct program* p) {
  static const struct step {
    int (*run)(struct program* p);
    const char* what;
  } steps[] = {{open_workers, "make the loops"},
               {open_shards, "make the shards"},
               {open_log, "use the append-only file"},
               {open_servers, "make the servers"}};
  size_t i;
  int r = 0;

  for (i = 0; i < sizeof(steps) / sizeof(*steps) && r == 0; i++) {
    r = steps[i].run(p);
    if (r != 0)
      say(LEVEL_WARNING, "cannot %s: %s", steps[i].what, uv_strerror(r));
  }
  if (r != 0)
    return r;
  r = acceptor_open(&p->acceptor, &p->kv, &p->loop);
  if (r != 0) {
    say(LEVEL_WARNING, "cannot listen on %s port %u: %s", p->settings.bind, p->settings.port, uv_strerror(r));
    acceptor_close(&p->acceptor);
    return r;
  }
  return 0;
}

/*
 * All of it
 */

/* Those that do not hear of the phase, since their loops have never run. */
static void close_servers(struct program* p) {
  size_t i;

  for (i = 0; i < p->servers_open; i++)
    if (!p->workers[i].is_running)
      server_close(&p->kv.servers[i]);
}

/* The servers are gone. With the last of its senders a shard is, too, and then the threads are. */
static void end_workers(struct program* p) {
  struct kv* kv = &p->kv;
  size_t i;

  for (i = 0; i < p->shards_open; i++)
    requests_sender_close(&kv->shards[i].tx);
  for (i = 0; i < p->worker_count; i++)
    worker_end(&p->workers[i]);
  for (i = 0; i < p->servers_open; i++)
    server_free(&kv->servers[i]);
  for (i = 0; i < p->shards_open; i++)
    shard_free(&kv->shards[i]);
  if (kv->pubsub != NULL)
    pubsub_free(kv->pubsub);
}

static int end_log(struct program* p) {
  if (p->kv.log == NULL)
    return 0;
  records_sender_close(&p->records);
  health_sender_close(&p->health);
  return log_join(p->kv.log);
}

/* With all handles set up, so that the end is the same wherever it comes from. */
static int serve(struct program* p) {
  int r;

  start_control(p);
  r = start_workers(p);
  if (r != 0)
    say(LEVEL_WARNING, "cannot start a thread: %s", uv_strerror(r));
  else
    r = announce(p);
  if (r == 0)
    return 0;
  phase_raise(&p->kv.phase, PHASE_ENDED);
  close_servers(p);
  return r;
}

static int run(struct program* p) {
  int log_status;
  int r = start(p);

  if (r == 0)
    r = serve(p);
  else
    close_servers(p);
  must(uv_run(&p->loop, UV_RUN_DEFAULT), "run");
  end_workers(p);
  log_status = end_log(p);
  return r == 0 ? log_status : r;
}

/* What all threads share. */
static int set_up(struct program* p) {
  static const enum phase phase = PHASE_RUNNING;
  struct kv* kv = &p->kv;
  int r;

  kv->shard_count = p->settings.shards;
  kv->server_count = p->settings.servers;
  kv->started = uv_hrtime();
  kv->shards = calloc(kv->shard_count, sizeof(*kv->shards));
  kv->servers = calloc(kv->server_count, sizeof(*kv->servers));
  r = kv->shards == NULL || kv->servers == NULL ? UV_ENOMEM : uv_loop_init(&p->loop);
  if (r == 0)
    r = settings_init(NULL, NULL, &kv->settings, &p->settings);
  if (r == 0)
    r = phase_init(NULL, NULL, &kv->phase, &phase);
  return r;
}

/* If they are closed, what is opened next gets their numbers, and messages go into the file, or to a client. These take their places,
 * and fail as closed ones do. */
static void fill_standard_files(void) {
  int fd;

  for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0)
      (void) open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* the lowest number that is free */
}

int main(int argc, char** argv) {
  static struct program program;
  struct program* p = &program;
  int code;
  int r;

  fill_standard_files();
  if (settings_parse(&p->settings, argc, argv, &code) != 0)
    return code;
  say_from(p->settings.loglevel);
  signal(SIGPIPE, SIG_IGN); /* a client that has gone is an error of its write */
  signal(SIGXFSZ, SIG_IGN); /* and a file that may not grow, too */
  get_descriptors(&p->settings);
  commands_init();
  must(set_up(p), "start");
  r = run(p);
  must(uv_loop_close(&p->loop), "main loop"); /* UV_EBUSY would mean that a handle was forgotten */
  settings_sender_close(&p->kv.settings);
  phase_sender_close(&p->kv.phase);
  free(p->kv.shards);
  free(p->kv.servers);
  free(p->workers);
  return r == 0 ? CODE_OK : CODE_FAILED;
}
