/* SPDX-License-Identifier: MIT
 *
 * The channel, and who has subscribed to what on all loops together. */
#include <stdlib.h>
#include <string.h>

#include "audience.h"

struct pubsub {
  messages_sender_t tx;
  uv_mutex_t mutex;
  struct hash topics[2]; /* names, patterns */
  uint64_t number;       /* of the last message */
};

/*
 * Messages
 */

static void message_free(struct message* message) {
  struct copy* copy;

  while ((copy = message->copies) != NULL) {
    message->copies = copy->next;
    buf_free(&copy->bytes);
    free(copy);
  }
  free(message);
}

static void message_drop(void* item, void* arg) {
  (void) arg;
  message_free(*(struct message**) item);
}

/* The copy for a topic, up to the topic's name. NULL: no memory. */
static struct copy* copy_new(int is_pattern, const struct topic* topic) {
  struct copy* copy = calloc(1, sizeof(*copy));

  if (copy == NULL)
    return NULL;
  copy->is_pattern = is_pattern;
  copy->name_len = topic->node.key.len;
  reply_array(&copy->bytes, is_pattern ? 4 : 3);
  reply_bulk_text(&copy->bytes, is_pattern ? "pmessage" : "message");
  reply_bulk(&copy->bytes, topic->name, copy->name_len);
  copy->name = copy->bytes.len - copy->name_len - strlen("\r\n");
  return copy;
}

/* Adds its copy at the end of the list, and its subscribers to *count. */
static struct copy** add_copy(struct copy** end, int is_pattern, const struct topic* topic, long long* count) {
  *end = copy_new(is_pattern, topic);
  if (*end == NULL) {
    *count = UV_ENOMEM;
    return end;
  }
  *count += (long long) topic->subscribers;
  return &(*end)->next;
}

/* A copy for each topic that a message of that name is for. Returns how many will get it, or UV_ENOMEM. Under the mutex. */
static long long add_copies(const struct pubsub* pubsub, struct slice name, struct copy** end) {
  const struct hash_node* node = hash_find(&pubsub->topics[0], name);
  long long count = 0;

  if (node != NULL)
    end = add_copy(end, 0, (const struct topic*) node, &count);
  for (node = hash_next(&pubsub->topics[1], NULL); node != NULL && count >= 0; node = hash_next(&pubsub->topics[1], node))
    if (glob_match(node->key, name))
      end = add_copy(end, 1, (const struct topic*) node, &count);
  return count;
}

/* The rest of each copy. Returns 0, UV_ENOMEM. */
static int end_copies(struct copy* copy, struct slice name, struct slice text) {
  for (; copy != NULL; copy = copy->next) {
    if (copy->is_pattern)
      reply_bulk(&copy->bytes, name.data, name.len);
    reply_bulk(&copy->bytes, text.data, text.len);
    if (copy->bytes.failed)
      return UV_ENOMEM;
  }
  return 0;
}

/* Returns how many will get it, or UV_ENOMEM; above 0 there is a message. */
static long long message_new(struct pubsub* pubsub, struct slice name, struct slice text, struct message** message) {
  struct message* made = calloc(1, sizeof(*made));
  long long count;

  if (made == NULL)
    return UV_ENOMEM;
  uv_mutex_lock(&pubsub->mutex);
  count = add_copies(pubsub, name, &made->copies);
  if (count > 0)
    made->number = ++pubsub->number;
  uv_mutex_unlock(&pubsub->mutex);
  if (count > 0 && end_copies(made->copies, name, text) != 0)
    count = UV_ENOMEM;
  if (count > 0)
    *message = made;
  else
    message_free(made);
  return count;
}

/*
 * Topics
 */

static struct topic* topic_new(struct hash* topics, struct slice name) {
  struct topic* topic = malloc(sizeof(*topic) + name.len);

  if (topic == NULL)
    return NULL;
  topic->subscribers = 0;
  if (name.len > 0)
    memcpy(topic->name, name.data, name.len);
  topic->node.key = (struct slice){topic->name, name.len};
  if (hash_add(topics, &topic->node) == 0)
    return topic;
  free(topic);
  return NULL;
}

int topic_enter(struct pubsub* pubsub, int is_pattern, struct slice name, struct topic** topic, uint64_t* since) {
  struct hash* topics = &pubsub->topics[is_pattern];

  uv_mutex_lock(&pubsub->mutex);
  *topic = (struct topic*) hash_find(topics, name);
  if (*topic == NULL)
    *topic = topic_new(topics, name);
  if (*topic != NULL)
    (*topic)->subscribers++;
  *since = pubsub->number;
  uv_mutex_unlock(&pubsub->mutex);
  return *topic == NULL ? UV_ENOMEM : 0;
}

void topic_leave(struct pubsub* pubsub, int is_pattern, struct topic* topic) {
  uv_mutex_lock(&pubsub->mutex);
  if (--topic->subscribers == 0) {
    hash_remove(&pubsub->topics[is_pattern], &topic->node);
    free(topic);
  }
  uv_mutex_unlock(&pubsub->mutex);
}

/*
 * Publishing
 */

static void loop_end_if_closed(struct pubsub_loop* loop) {
  if (!loop->rx_closed || loop->waiting != NULL)
    return;
  if (loop->cb != NULL)
    loop->cb(loop->arg);
  free(loop);
}

static void waits(struct publish* publish, struct pubsub_loop* loop) {
  publish->loop = loop;
  publish->next = loop->waiting;
  publish->link = &loop->waiting;
  if (publish->next != NULL)
    publish->next->link = &publish->next;
  loop->waiting = publish;
}

static void waits_no_more(struct publish* publish) {
  *publish->link = publish->next;
  if (publish->next != NULL)
    publish->next->link = publish->link;
}

static void on_sent(uvch_broadcast_send_t* send, int status) {
  struct publish* publish = send->data;
  struct pubsub_loop* loop = publish->loop;

  waits_no_more(publish);
  if (status < 0)
    message_free(publish->message);
  publish->cb(publish, status == UV_ECANCELED ? status : 0, status > 0 ? publish->count : 0);
  loop_end_if_closed(loop);
}

/* Returns UV_EAGAIN if `cb` will come, or why not. */
static int send_later(struct pubsub_loop* loop, struct publish* publish, struct message* message, long long count) {
  int r;

  publish->message = message;
  publish->count = count;
  publish->send.data = publish;
  r = messages_queue_send(loop->uv, &publish->send, &loop->pubsub->tx, &publish->message, on_sent);
  if (r != 0)
    return r;
  waits(publish, loop);
  return UV_EAGAIN;
}

long long pubsub_publish(struct pubsub_loop* loop, struct publish* publish, struct slice name, struct slice text,
                         void (*cb)(struct publish* publish, int status, long long count)) {
  struct message* message = NULL;
  long long count = message_new(loop->pubsub, name, text, &message);
  int r;

  if (count <= 0)
    return count;
  publish->cb = cb;
  r = messages_send(&loop->pubsub->tx, &message);
  if (r == UV_EAGAIN)
    r = send_later(loop, publish, message, count);
  if (r >= 0)
    return count;
  if (r == UV_EAGAIN)
    return r;
  message_free(message);
  return r == UV_EPIPE ? 0 : r;
}

/*
 * A server's begin and end
 */

static void on_message(messages_receiver_t* rx, int status, struct message* const* message) {
  must(status, "messages");
  audience_write(rx->base.data, *message);
}

int pubsub_loop_open(struct pubsub_loop** loop, struct pubsub* pubsub, uv_loop_t* uv) {
  struct pubsub_loop* made = calloc(1, sizeof(*made));
  int r;

  if (made == NULL)
    return UV_ENOMEM;
  made->pubsub = pubsub;
  made->uv = uv;
  r = messages_subscribe(uv, &made->rx, &pubsub->tx);
  if (r != 0) {
    free(made);
    return r;
  }
  made->rx.base.data = made;
  must(messages_recv_start(&made->rx, on_message), "receive");
  *loop = made;
  return 0;
}

static void on_rx_closed(uvch_handle_t* rx) {
  struct pubsub_loop* loop = rx->data;

  loop->rx_closed = 1;
  loop_end_if_closed(loop);
}

void pubsub_loop_close(struct pubsub_loop* loop, void (*cb)(void* arg), void* arg) {
  struct publish* publish;

  loop->cb = cb;
  loop->arg = arg;
  for (publish = loop->waiting; publish != NULL; publish = publish->next)
    uvch_cancel((uvch_req_t*) &publish->send); /* or it has just been sent, which its callback tells */
  must(messages_close(&loop->rx, on_rx_closed), "close");
}

struct pubsub* pubsub_new(size_t capacity) {
  uvch_broadcast_options_t options = {.policy = UVCH_BROADCAST_WAIT, .drop = message_drop};
  struct pubsub* pubsub = calloc(1, sizeof(*pubsub));

  if (pubsub == NULL)
    return NULL;
  if (uv_mutex_init(&pubsub->mutex) != 0) {
    free(pubsub);
    return NULL;
  }
  if (messages_init_ex(NULL, NULL, &pubsub->tx, capacity, &options) == 0)
    return pubsub;
  uv_mutex_destroy(&pubsub->mutex);
  free(pubsub);
  return NULL;
}

void pubsub_free(struct pubsub* pubsub) {
  must(messages_sender_close(&pubsub->tx), "messages");
  uv_mutex_destroy(&pubsub->mutex);
  free(pubsub);
}

/*
 * PUBSUB
 */

void pubsub_channels(struct pubsub* pubsub, struct slice pattern, struct buf* reply) {
  const struct hash* names = &pubsub->topics[0];
  const struct hash_node* node;
  struct buf found = {0};
  size_t count = 0;

  uv_mutex_lock(&pubsub->mutex);
  for (node = hash_next(names, NULL); node != NULL; node = hash_next(names, node)) {
    if (pattern.data != NULL && !glob_match(pattern, node->key))
      continue;
    reply_bulk(&found, node->key.data, node->key.len);
    count++;
  }
  uv_mutex_unlock(&pubsub->mutex);
  reply_array(reply, count);
  buf_add(reply, found.data, found.len);
  reply->failed |= found.failed;
  buf_free(&found);
}

void pubsub_numsub(struct pubsub* pubsub, const struct slice* names, size_t count, struct buf* reply) {
  const struct topic* topic;
  size_t i;

  reply_array(reply, 2 * count);
  uv_mutex_lock(&pubsub->mutex);
  for (i = 0; i < count; i++) {
    topic = (const struct topic*) hash_find(&pubsub->topics[0], names[i]);
    reply_bulk(reply, names[i].data, names[i].len);
    reply_integer(reply, topic == NULL ? 0 : (long long) topic->subscribers);
  }
  uv_mutex_unlock(&pubsub->mutex);
}

void pubsub_numpat(struct pubsub* pubsub, struct buf* reply) {
  size_t count;

  uv_mutex_lock(&pubsub->mutex);
  count = pubsub->topics[1].count;
  uv_mutex_unlock(&pubsub->mutex);
  reply_integer(reply, (long long) count);
}
