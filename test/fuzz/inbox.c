/* SPDX-License-Identifier: MIT
 *
 * Inboxes, one for each loop, against rows of what was posted. Each loop also has a receiver, and a request that waits, which a
 * stop of the loop has to close and to cancel. */
#include "walk.h"

#include "../support.h"

enum { WAYS = 3, OTHERS = 32, DEEP = 3, POSTS = 3000 };

enum { LIE_ORDER = 1, LIE_STOP };

static const char* const lies[] = {"the last post comes first", "a stop closes nothing", NULL};

/* A receiver on the loop, and a request that waits for its end. */
typedef struct other_s {
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;
  uvch_mpsc_closed_t req;
  size_t box;
  bool open;
  bool used;   /* the request's callback is to come */
  int outcome; /* with this, once it is closed */
} other_t;

/* The loop's inbox is open as long as nobody has closed its handle. */
typedef struct box_s {
  uvch_inbox_t ways[WAYS];
  bool has_way[WAYS];
  bool open;
  int status;        /* of the posts that come now */
  size_t row[POSTS]; /* the numbers of posts that are queued; STOP: one that stops the loop */
  size_t first;
  size_t last;
  other_t others[OTHERS];
  size_t made;
} box_t;

#define STOP SIZE_MAX

typedef struct model_s model_t;

/* What a post brings with it. */
typedef struct post_s {
  model_t* model;
  size_t box;
} post_t;

struct model_s {
  walk_t* walk;
  walk_calls_t calls;
  box_t boxes[WALK_LOOPS];
  post_t posts[POSTS];
  size_t made;
};

static void reenter(model_t* m);

/* The model. */

static size_t ways(const box_t* b) {
  size_t n = 0;
  size_t i;

  for (i = 0; i < WAYS; i++) {
    n += b->has_way[i];
  }
  return n;
}

/* The handle closes itself after the last post. */
static bool has_handle(const box_t* b) {
  return b->open && (ways(b) > 0 || b->first < b->last);
}

static size_t open_others(const box_t* b) {
  size_t n = 0;
  size_t i;

  for (i = 0; i < b->made; i++) {
    n += b->others[i].open;
  }
  return n;
}

static void close_others(box_t* b, int outcome) {
  size_t i;

  for (i = 0; i < b->made; i++) {
    if (b->others[i].open)
      b->others[i].outcome = outcome;
    b->others[i].open = false;
  }
}

/* A stop is at the front, and its turn has come: the posts after it are cancelled. */
static void model_stop(box_t* b) {
  b->first += 1;
  if (b->status != 0 || walk_lie == LIE_STOP)
    return;
  close_others(b, UV_ECANCELED);
  b->status = UV_ECANCELED;
  b->open = false;
}

static uv_loop_t* loop_of(model_t* m, const box_t* b) {
  return &m->walk->loops[b - m->boxes];
}

/* Stops at the front that nobody sees when they come. */
static void skip_stops(box_t* b) {
  while (b->first < b->last && b->row[b->first] == STOP) {
    model_stop(b);
  }
}

/* Handles that are not closing. */
typedef struct handles_s {
  size_t all;
  size_t inboxes;
} handles_t;

static void count(uvch_handle_t* handle, void* arg) {
  handles_t* handles = arg;

  handles->all += !uvch_is_closing(handle);
  handles->inboxes += !uvch_is_closing(handle) && uvch_handle_get_type(handle) == UVCH_INBOX;
}

static handles_t handles_of(model_t* m, const box_t* b) {
  handles_t handles = {0, 0};

  uvch_walk(loop_of(m, b), count, &handles);
  return handles;
}

/* Whether a stop that is next has come shows in what it has closed. */
static void catch_up(model_t* m, box_t* b) {
  if (b->first < b->last && b->row[b->first] == STOP && handles_of(m, b).inboxes == 0)
    skip_stops(b);
}

static void on_post(uv_loop_t* loop, int status, void* arg) {
  post_t* post = arg;
  model_t* m = post->model;
  box_t* b = &m->boxes[post->box];

  walk_note(m->walk, "a post comes: %lld with %lld", (long long) (post - m->posts), status);
  want(m, loop == &m->walk->loops[post->box], 1);
  skip_stops(b);
  want(m, b->first < b->last, 1);
  want(m, (size_t) (post - m->posts), b->row[walk_lie == LIE_ORDER ? b->last - 1 : b->first]);
  want(m, status, b->status);
  b->first += 1;
  if (status == 0)
    reenter(m);
}

/* Calls. */

static box_t* some_box(model_t* m) {
  box_t* b = &m->boxes[walk_draw(m->walk, WALK_LOOPS)];

  catch_up(m, b);
  return b;
}

static void call_init(void* model) {
  model_t* m = model;
  box_t* b = some_box(m);

  if (ways(b) > 0 || b->first < b->last)
    return;
  if (!try_want(m, uvch_inbox_init(loop_of(m, b), &b->ways[0]), 0))
    return;
  b->has_way[0] = true;
  b->open = true;
  b->status = 0;
  b->first = 0;
  b->last = 0;
}

/* A post can be made only while there is a place for it in the model. */
static void call_post(void* model) {
  model_t* m = model;
  box_t* b = some_box(m);
  size_t at = walk_draw(m->walk, WAYS);
  int wanted = !b->has_way[at] ? UV_EBADF : b->open ? 0 : UV_EPIPE;

  if (m->made == POSTS || b->last == POSTS)
    return;
  walk_note(m->walk, "... %lld to loop %lld", (long long) m->made, (long long) (b - m->boxes));
  m->posts[m->made].model = m;
  m->posts[m->made].box = (size_t) (b - m->boxes);
  if (try_want(m, uvch_post(&b->ways[at], on_post, &m->posts[m->made]), wanted) && wanted == 0)
    b->row[b->last++] = m->made;
  m->made += 1;
}

static void call_stop(void* model) {
  model_t* m = model;
  box_t* b = some_box(m);
  size_t at = walk_draw(m->walk, WAYS);
  int wanted = !b->has_way[at] ? UV_EBADF : b->open ? 0 : UV_EPIPE;

  if (b->last == POSTS)
    return;
  if (try_want(m, uvch_inbox_stop(&b->ways[at]), wanted) && wanted == 0)
    b->row[b->last++] = STOP;
}

static void call_clone(void* model) {
  model_t* m = model;
  box_t* b = some_box(m);
  size_t from = walk_draw(m->walk, WAYS);
  size_t to = walk_draw(m->walk, WAYS);

  if (b->has_way[to])
    return;
  want(m, uvch_inbox_clone(&b->ways[from], &b->ways[to]), b->has_way[from] ? 0 : UV_EBADF);
  b->has_way[to] = b->has_way[from];
}

static void close_way(model_t* m, box_t* b, size_t at) {
  want(m, uvch_inbox_close(&b->ways[at]), b->has_way[at] ? 0 : UV_EBADF);
  b->has_way[at] = false;
}

static void call_close(void* model) {
  model_t* m = model;
  box_t* b = some_box(m);

  close_way(m, b, walk_draw(m->walk, WAYS));
}

/* All handles of a loop: what is queued comes at once, and is not to be done. */
static void call_close_all(void* model) {
  model_t* m = model;
  box_t* b = some_box(m);
  size_t handles = handles_of(m, b).all;

  if (!walk_chance(m->walk, 4))
    return;
  want(m, handles >= has_handle(b) + open_others(b), 1); /* and inboxes before this one that have not seen their end */
  close_others(b, 0);
  b->status = UV_ECANCELED;
  b->open = false;
  want(m, uvch_close_all(loop_of(m, b)), handles);
  skip_stops(b);
  want(m, b->first, b->last);
  want(m, uvch_close_all(loop_of(m, b)), 0);
}

/* The others. */

static void on_closed(uvch_mpsc_closed_t* req, int status) {
  other_t* o = (other_t*) (void*) ((char*) req - offsetof(other_t, req));
  model_t* m = req->data;

  walk_note(m->walk, "a wait on loop %lld is done: %lld", (long long) o->box, status);
  catch_up(m, &m->boxes[o->box]);
  want(m, o->used && !o->open, 1);
  want(m, status, o->outcome);
  want(m, uvch_mpsc_sender_close(&o->tx), 0);
  o->used = false;
  reenter(m);
}

static void call_other(void* model) {
  model_t* m = model;
  box_t* b = some_box(m);
  other_t* o = &b->others[b->made];

  if (b->made == OTHERS || !try_want(m, uvch_mpsc_init(loop_of(m, b), &o->rx, &o->tx, 8, 1), 0))
    return;
  b->made += 1;
  o->box = (size_t) (b - m->boxes);
  memset(&o->req, 0xa5, sizeof(o->req));
  o->req.data = m;
  o->used = try_want(m, uvch_mpsc_closed(loop_of(m, b), &o->req, &o->tx, on_closed), 0);
  o->open = o->used;
  if (!o->used) {
    want(m, uvch_close((uvch_handle_t*) &o->rx, NULL), 0);
    want(m, uvch_mpsc_sender_close(&o->tx), 0);
  }
}

/* Running. */

static void call_pass(void* model) {
  model_t* m = model;

  walk_pass(m->walk, walk_draw(m->walk, WALK_LOOPS));
}

static void check_quiet(model_t* m, const box_t* b) {
  size_t i;

  want(m, b->first, b->last);
  want(m, handles_of(m, b).all, has_handle(b) + open_others(b));
  for (i = 0; i < b->made; i++) {
    want(m, b->others[i].used, b->others[i].open);
  }
}

/* Everything comes: each pass has a budget, of far more than there is here. */
static void call_run(void* model) {
  model_t* m = model;
  size_t i;

  if (m->walk->depth > 0)
    return;
  for (i = 0; i < 20; i++) {
    walk_pass_all(m->walk);
  }
  for (i = 0; i < WALK_LOOPS; i++) {
    catch_up(m, &m->boxes[i]);
    check_quiet(m, &m->boxes[i]);
  }
}

static const walk_call_t calls[] = {
    {"init", call_init, 8},           {"post", call_post, 16},  {"stop", call_stop, 3},
    {"clone", call_clone, 6},         {"close", call_close, 4}, {"pass", call_pass, 10},
    {"close_all", call_close_all, 3}, {"other", call_other, 5}, {"run", call_run, 5},
};

static void reenter(model_t* m) {
  size_t n = walk_chance(m->walk, 3) ? 1 + walk_draw(m->walk, 3) : 0;

  m->walk->depth += 1;
  for (; n > 0 && !walk_is_over(m->walk) && m->walk->depth <= DEEP; n--) {
    m->walk->step += 1;
    walk_call(m->walk, &m->calls, m);
  }
  m->walk->depth -= 1;
}

static void end(model_t* m, bool ways_first) {
  size_t i;
  size_t k;

  walk_note(m->walk, "the end", 0, 0);
  for (i = 0; i < WALK_LOOPS; i++) {
    box_t* b = &m->boxes[i];
    for (k = 0; ways_first && k < WAYS; k++) {
      close_way(m, b, k);
    }
    catch_up(m, b);
    for (k = 0; k < b->made; k++) {
      if (b->others[k].open)
        want(m, uvch_close((uvch_handle_t*) &b->others[k].rx, NULL), 0);
    }
    close_others(b, 0);
    for (k = 0; k < WAYS; k++) {
      close_way(m, b, k);
    }
  }
  call_run(m);
}

static void run(const uint8_t* data, size_t size) {
  model_t* m = calloc(1, sizeof(*m));
  bool ways_first;

  if (m == NULL)
    abort();
  m->walk = walk_begin(&kind_inbox, data, size);
  walk_calls_begin(m->walk, &m->calls, calls, COUNT(calls));
  ways_first = walk_chance(m->walk, 2);
  for (; !walk_is_over(m->walk); m->walk->step++) {
    walk_call(m->walk, &m->calls, m);
  }
  end(m, ways_first);
  walk_end(m->walk);
  free(m);
}

const walk_kind_t kind_inbox = {"inbox", run, lies};
