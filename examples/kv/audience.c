/* SPDX-License-Identifier: MIT
 *
 * The subscribers of one server. */
#include <stdlib.h>

#include "audience.h"

/* Who has subscribed to a topic here; never empty. */
struct audience {
  struct hash_node node; /* by the topic's own name */
  struct topic* topic;
  struct subscription* first;
  struct subscription* last;
};

struct pair {
  struct subscriber* subscriber;
  struct audience* audience;
};

struct subscription {
  struct hash_node node; /* by the pair */
  struct pair pair;
  uint64_t since;
  struct subscription* prev; /* of the audience */
  struct subscription* next;
  struct subscription* own_prev; /* of the subscriber */
  struct subscription* own_next;
};

static struct slice pair_key(const struct pair* pair) {
  return (struct slice){(const char*) pair, sizeof(*pair)};
}

static struct subscription* find(struct subscriber* subscriber, int is_pattern, struct slice name) {
  struct pubsub_loop* loop = subscriber->loop;
  struct pair pair = {subscriber, (struct audience*) hash_find(&loop->audiences[is_pattern], name)};

  return pair.audience == NULL ? NULL : (struct subscription*) hash_find(&loop->subscriptions, pair_key(&pair));
}

static size_t* count_of(struct subscriber* subscriber, int is_pattern) {
  return is_pattern ? &subscriber->patterns : &subscriber->names;
}

/*
 * In and out
 */

/* The audience of a topic, empty if it was just made. */
static struct audience* audience_of(struct pubsub_loop* loop, int is_pattern, struct topic* topic) {
  struct audience* audience = (struct audience*) hash_find(&loop->audiences[is_pattern], topic->node.key);

  if (audience != NULL)
    return audience;
  audience = calloc(1, sizeof(*audience));
  if (audience == NULL)
    return NULL;
  audience->topic = topic;
  audience->node.key = topic->node.key;
  if (hash_add(&loop->audiences[is_pattern], &audience->node) == 0)
    return audience;
  free(audience);
  return NULL;
}

static void audience_end_if_empty(struct pubsub_loop* loop, int is_pattern, struct audience* audience) {
  if (audience->first != NULL)
    return;
  hash_remove(&loop->audiences[is_pattern], &audience->node);
  free(audience);
}

static void link_in(struct subscription* s, int is_pattern) {
  struct audience* audience = s->pair.audience;
  struct subscriber* subscriber = s->pair.subscriber;

  s->prev = audience->last;
  *(s->prev == NULL ? &audience->first : &s->prev->next) = s;
  audience->last = s;
  s->own_prev = subscriber->last[is_pattern];
  *(s->own_prev == NULL ? &subscriber->first[is_pattern] : &s->own_prev->own_next) = s;
  subscriber->last[is_pattern] = s;
  ++*count_of(subscriber, is_pattern);
}

static void link_out(struct subscription* s, int is_pattern) {
  struct audience* audience = s->pair.audience;
  struct subscriber* subscriber = s->pair.subscriber;

  if (subscriber->loop->next == s)
    subscriber->loop->next = s->next;
  *(s->prev == NULL ? &audience->first : &s->prev->next) = s->next;
  *(s->next == NULL ? &audience->last : &s->next->prev) = s->prev;
  *(s->own_prev == NULL ? &subscriber->first[is_pattern] : &s->own_prev->own_next) = s->own_next;
  *(s->own_next == NULL ? &subscriber->last[is_pattern] : &s->own_next->own_prev) = s->own_prev;
  --*count_of(subscriber, is_pattern);
}

/* The topic has counted the subscriber already. */
static int join(struct subscriber* subscriber, int is_pattern, struct topic* topic, uint64_t since) {
  struct pubsub_loop* loop = subscriber->loop;
  struct subscription* s = calloc(1, sizeof(*s));
  struct audience* audience = s == NULL ? NULL : audience_of(loop, is_pattern, topic);

  if (audience == NULL) {
    free(s);
    return UV_ENOMEM;
  }
  s->pair = (struct pair){subscriber, audience};
  s->node.key = pair_key(&s->pair);
  s->since = since;
  if (hash_add(&loop->subscriptions, &s->node) != 0) {
    audience_end_if_empty(loop, is_pattern, audience);
    free(s);
    return UV_ENOMEM;
  }
  link_in(s, is_pattern);
  return 0;
}

static int subscribe(struct subscriber* subscriber, int is_pattern, struct slice name) {
  struct pubsub* pubsub = subscriber->loop->pubsub;
  struct topic* topic;
  uint64_t since;
  int r = topic_enter(pubsub, is_pattern, name, &topic, &since);

  if (r != 0)
    return r;
  r = join(subscriber, is_pattern, topic, since);
  if (r != 0)
    topic_leave(pubsub, is_pattern, topic);
  return r;
}

static void unsubscribe(struct subscription* s, int is_pattern) {
  struct pubsub_loop* loop = s->pair.subscriber->loop;
  struct audience* audience = s->pair.audience;
  struct topic* topic = audience->topic;

  link_out(s, is_pattern);
  hash_remove(&loop->subscriptions, &s->node);
  audience_end_if_empty(loop, is_pattern, audience);
  topic_leave(loop->pubsub, is_pattern, topic);
  free(s);
}

/*
 * With replies
 */

static void reply_begin(struct buf* reply, int is_pattern, const char* kind) {
  reply_array(reply, 3);
  reply_bulk_text(reply, is_pattern ? kind : kind + 1); /* without the p */
}

static void reply_end(struct buf* reply, const struct subscriber* subscriber) {
  reply_integer(reply, (long long) (subscriber->names + subscriber->patterns));
}

void subscriber_add(struct subscriber* subscriber, int is_pattern, struct slice name, struct buf* reply) {
  is_pattern = is_pattern != 0;
  if (find(subscriber, is_pattern, name) == NULL && subscribe(subscriber, is_pattern, name) != 0) {
    reply_error(reply, "ERR out of memory");
    return;
  }
  reply_begin(reply, is_pattern, "psubscribe");
  reply_bulk(reply, name.data, name.len);
  reply_end(reply, subscriber);
}

void subscriber_remove(struct subscriber* subscriber, int is_pattern, struct slice name, struct buf* reply) {
  struct subscription* s = find(subscriber, is_pattern != 0, name);

  reply_begin(reply, is_pattern, "punsubscribe");
  reply_bulk(reply, name.data, name.len); /* before its bytes may go */
  if (s != NULL)
    unsubscribe(s, is_pattern != 0);
  reply_end(reply, subscriber);
}

void subscriber_remove_all(struct subscriber* subscriber, int is_pattern, struct buf* reply) {
  struct subscription* s = subscriber->first[is_pattern != 0];

  if (s == NULL) {
    reply_begin(reply, is_pattern, "punsubscribe");
    reply_nil(reply);
    reply_end(reply, subscriber);
  }
  while ((s = subscriber->first[is_pattern != 0]) != NULL)
    subscriber_remove(subscriber, is_pattern, s->pair.audience->node.key, reply);
}

void subscriber_leave(struct subscriber* subscriber) {
  int is_pattern;

  for (is_pattern = 0; is_pattern < 2; is_pattern++)
    while (subscriber->first[is_pattern] != NULL)
      unsubscribe(subscriber->first[is_pattern], is_pattern);
}

/*
 * Messages
 */

/* Any subscription may go in `write`: loop->next steps past those. New ones come behind, and are too new for the message. */
static void write_copy(struct pubsub_loop* loop, const struct copy* copy, uint64_t number) {
  struct slice name = {copy->bytes.data + copy->name, copy->name_len};
  const struct audience* audience = (const struct audience*) hash_find(&loop->audiences[copy->is_pattern], name);
  struct subscription* s;

  loop->next = audience == NULL ? NULL : audience->first;
  while ((s = loop->next) != NULL) {
    loop->next = s->next;
    if (s->since < number)
      s->pair.subscriber->write(s->pair.subscriber, copy->bytes.data, copy->bytes.len);
  }
}

void audience_write(struct pubsub_loop* loop, const struct message* message) {
  const struct copy* copy;

  for (copy = message->copies; copy != NULL; copy = copy->next)
    write_copy(loop, copy, message->number);
}
