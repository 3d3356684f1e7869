/* SPDX-License-Identifier: MIT
 *
 * Clients of kv that are written with hiredis, Redis's own client library: calls that wait, and its adapter for libuv.
 *
 *   hiredis_client PORT    prints "ok - CASE" and ends with 0, or with 1 after what did not hold */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <async.h>
#include <hiredis.h>
#include <adapters/libuv.h>
#pragma GCC diagnostic pop

static int port;

#define NEED(condition) need((condition), #condition, __LINE__)

static void need(int holds, const char* text, int line) {
  if (holds)
    return;
  printf("not ok - hiredis_client.c:%d: %s\n", line, text);
  exit(1);
}

/*
 * Calls that wait
 */

static redisContext* connected(void) {
  redisContext* c = redisConnect("127.0.0.1", port);

  NEED(c != NULL && c->err == 0);
  return c;
}

static int is_status(const redisReply* reply, const char* text) {
  return reply != NULL && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, text) == 0;
}

static int is_text(const redisReply* reply, const void* text, size_t len) {
  return reply != NULL && reply->type == REDIS_REPLY_STRING && (size_t) reply->len == len && memcmp(reply->str, text, len) == 0;
}

static void call_ok(redisContext* c, const char* command) {
  redisReply* reply = redisCommand(c, command);

  NEED(is_status(reply, "OK"));
  freeReplyObject(reply);
}

static long long call_integer(redisContext* c, const char* command) {
  redisReply* reply = redisCommand(c, command);
  long long value;

  NEED(reply != NULL && reply->type == REDIS_REPLY_INTEGER);
  value = reply->integer;
  freeReplyObject(reply);
  return value;
}

static void binary(void) {
  enum { LARGE = 1024 * 1024 };
  redisContext* c = connected();
  char* bytes = malloc(LARGE);
  redisReply* reply;
  size_t len;
  size_t i;

  NEED(bytes != NULL);
  for (i = 0; i < LARGE; i++)
    bytes[i] = (char) (i * 7 + i / 256);
  for (len = 0; len <= LARGE; len = len == 0 ? 1 : len * 16) {
    reply = redisCommand(c, "SET %b %b", bytes, (size_t) 256, bytes, len);
    NEED(is_status(reply, "OK"));
    freeReplyObject(reply);
    reply = redisCommand(c, "GET %b", bytes, (size_t) 256);
    NEED(is_text(reply, bytes, len));
    freeReplyObject(reply);
  }
  free(bytes);
  redisFree(c);
  printf("ok - keys and values of any bytes, up to 1 MiB\n");
}

static void pipelining(void) {
  enum { COUNT = 10000 };
  redisContext* c = connected();
  redisReply* reply;
  int i;

  call_ok(c, "SET counter 0");
  for (i = 0; i < COUNT; i++)
    NEED(redisAppendCommand(c, i % 2 == 0 ? "INCR counter" : "ECHO %d", i) == REDIS_OK);
  for (i = 0; i < COUNT; i++) {
    char text[20];
    NEED(redisGetReply(c, (void**) &reply) == REDIS_OK);
    snprintf(text, sizeof(text), "%d", i);
    if (i % 2 == 0)
      NEED(reply->type == REDIS_REPLY_INTEGER && reply->integer == i / 2 + 1);
    else
      NEED(is_text(reply, text, strlen(text)));
    freeReplyObject(reply);
  }
  redisFree(c);
  printf("ok - 10,000 commands in a pipeline: each is done once, and each has its reply, in order\n");
}

static void kinds(void) {
  redisContext* c = connected();
  redisReply* reply = redisCommand(c, "NOSUCH");

  NEED(reply != NULL && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "ERR unknown command", 19) == 0);
  freeReplyObject(reply);
  call_ok(c, "MSET one 1 two 2 three 3");
  reply = redisCommand(c, "MGET one nosuch two three");
  NEED(reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 4);
  NEED(is_text(reply->element[0], "1", 1) && reply->element[1]->type == REDIS_REPLY_NIL);
  NEED(is_text(reply->element[2], "2", 1) && is_text(reply->element[3], "3", 1));
  freeReplyObject(reply);
  NEED(call_integer(c, "DEL one two three four") == 3);
  NEED(c->err == 0);
  redisFree(c);
  printf("ok - errors, nil, arrays and integers are what they are, and after an error it goes on\n");
}

static void reconnecting(void) {
  redisContext* c = connected();
  redisReply* reply;

  call_ok(c, "SET kept yes");
  call_ok(c, "QUIT");
  NEED(redisCommand(c, "GET kept") == NULL && c->err != 0);
  NEED(redisReconnect(c) == REDIS_OK);
  reply = redisCommand(c, "GET kept");
  NEED(is_text(reply, "yes", 3));
  freeReplyObject(reply);
  redisFree(c);
  printf("ok - after QUIT the connection is gone, and another one finds what was set\n");
}

static void subscribing(void) {
  enum { COUNT = 1000 };
  redisContext* rx = connected();
  redisContext* tx = connected();
  redisReply* reply = redisCommand(rx, "SUBSCRIBE news");
  char text[20];
  int i;

  NEED(reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 && reply->element[2]->integer == 1);
  freeReplyObject(reply);
  for (i = 0; i < COUNT; i++) {
    snprintf(text, sizeof(text), "PUBLISH news %d", i);
    NEED(call_integer(tx, text) == 1);
  }
  for (i = 0; i < COUNT; i++) {
    NEED(redisGetReply(rx, (void**) &reply) == REDIS_OK);
    snprintf(text, sizeof(text), "%d", i);
    NEED(reply->elements == 3 && is_text(reply->element[1], "news", 4) && is_text(reply->element[2], text, strlen(text)));
    freeReplyObject(reply);
  }
  reply = redisCommand(rx, "UNSUBSCRIBE");
  NEED(reply != NULL && reply->elements == 3 && reply->element[2]->integer == 0);
  freeReplyObject(reply);
  NEED(call_integer(tx, "PUBLISH news last") == 0);
  redisFree(rx);
  redisFree(tx);
  printf("ok - a subscriber gets 1,000 messages once and in order, and none after it has left\n");
}

/*
 * On a loop
 */

enum { CLIENTS = 50, EACH = 400 };

struct async {
  redisAsyncContext* c;
  uv_loop_t* loop;
  int sent;
  int seen;
  long long last;
  int connects;
  int disconnects;
};

static void on_disconnect(const redisAsyncContext* c, int status) {
  struct async* a = c->data;

  (void) status;
  a->disconnects++;
}

static void on_connect(const redisAsyncContext* c, int status) {
  struct async* a = c->data;

  NEED(status == REDIS_OK);
  a->connects++;
}

static void async_open(struct async* a, uv_loop_t* loop, redisDisconnectCallback* end) {
  a->loop = loop;
  a->c = redisAsyncConnect("127.0.0.1", port);
  NEED(a->c != NULL && a->c->err == 0);
  a->c->data = a;
  NEED(redisLibuvAttach(a->c, loop) == REDIS_OK);
  NEED(redisAsyncSetConnectCallback(a->c, on_connect) == REDIS_OK);
  NEED(redisAsyncSetDisconnectCallback(a->c, end) == REDIS_OK);
}

/* Each one's numbers go up, as it is one client; those of others are between them. */
static void on_incremented(redisAsyncContext* c, void* data, void* arg) {
  struct async* a = c->data;
  redisReply* reply = data;

  NEED(reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer > a->last);
  NEED((int) (intptr_t) arg == a->seen);
  a->last = reply->integer;
  if (++a->seen == EACH)
    redisAsyncDisconnect(c);
}

static void many(void) {
  struct async all[CLIENTS] = {{0}};
  redisContext* c = connected();
  uv_loop_t loop;
  int i;
  int j;

  call_ok(c, "SET counter 0");
  NEED(uv_loop_init(&loop) == 0);
  for (i = 0; i < CLIENTS; i++) {
    async_open(&all[i], &loop, on_disconnect);
    for (j = 0; j < EACH; j++)
      NEED(redisAsyncCommand(all[i].c, on_incremented, (void*) (intptr_t) j, "INCR counter") == REDIS_OK);
  }
  NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  for (i = 0; i < CLIENTS; i++)
    NEED(all[i].seen == EACH && all[i].connects == 1 && all[i].disconnects == 1);
  NEED(uv_loop_close(&loop) == 0);
  NEED(call_integer(c, "INCRBY counter 0") == (long long) CLIENTS * EACH);
  redisFree(c);
  printf("ok - 50 clients on a loop: 20,000 increments are done once each, and answered in order\n");
}

enum { MESSAGES = 2000 };

static void on_published(redisAsyncContext* c, void* data, void* arg) {
  struct async* tx = c->data;
  redisReply* reply = data;

  (void) arg;
  NEED(reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer == 2); /* as a name, and by a pattern */
  if (++tx->seen == MESSAGES)
    redisAsyncDisconnect(c);
}

/* Twice each, by the name and by the pattern: their numbers go up one by one in both rows. */
static void on_message(redisAsyncContext* c, void* data, void* arg) {
  struct async* rx = c->data;
  struct async* tx = arg;
  redisReply* reply = data;
  int row;
  int i;

  if (reply == NULL && rx->sent == MESSAGES && rx->seen == MESSAGES)
    return; /* redisAsyncFree() says so */
  NEED(reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements >= 3);
  if (strcmp(reply->element[0]->str, "psubscribe") == 0) { /* the second one: from now on all come */
    for (i = 0; i < MESSAGES; i++)
      NEED(redisAsyncCommand(tx->c, on_published, NULL, "PUBLISH async:news %d", i) == REDIS_OK);
    return;
  }
  if (strcmp(reply->element[0]->str, "subscribe") == 0)
    return;
  row = strcmp(reply->element[0]->str, "pmessage") == 0;
  NEED(row || strcmp(reply->element[0]->str, "message") == 0);
  i = atoi(reply->element[row ? 3 : 2]->str);
  NEED(i == (row ? rx->sent : rx->seen)); /* `sent` counts the second row */
  *(row ? &rx->sent : &rx->seen) += 1;
  if (rx->sent == MESSAGES && rx->seen == MESSAGES)
    redisAsyncFree(c); /* a subscriber has replies to wait for, for ever */
}

static void messages(void) {
  struct async rx = {0};
  struct async tx = {0};
  uv_loop_t loop;

  NEED(uv_loop_init(&loop) == 0);
  async_open(&rx, &loop, on_disconnect);
  async_open(&tx, &loop, on_disconnect);
  NEED(redisAsyncCommand(rx.c, on_message, &tx, "SUBSCRIBE async:news") == REDIS_OK);
  NEED(redisAsyncCommand(rx.c, on_message, &tx, "PSUBSCRIBE async:*") == REDIS_OK);
  NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  NEED(rx.seen == MESSAGES && rx.sent == MESSAGES && tx.seen == MESSAGES);
  NEED(uv_loop_close(&loop) == 0);
  printf("ok - on a loop, 2,000 messages to a name and to a pattern: all come, once and in order\n");
}

static void on_kept(redisAsyncContext* c, void* data, void* arg) {
  struct async* a = c->data;

  (void) arg;
  NEED(is_text(data, "yes", 3));
  a->seen++;
  redisAsyncDisconnect(c);
}

/* Once the server has closed the connection, another one. */
static void on_lost(const redisAsyncContext* c, int status) {
  struct async* a = c->data;

  (void) status;
  if (++a->disconnects > 1)
    return;
  async_open(a, a->loop, on_lost);
  NEED(redisAsyncCommand(a->c, on_kept, NULL, "GET kept") == REDIS_OK);
}

static void coming_back(void) {
  struct async a = {0};
  uv_loop_t loop;

  NEED(uv_loop_init(&loop) == 0);
  async_open(&a, &loop, on_lost);
  NEED(redisAsyncCommand(a.c, NULL, NULL, "SET kept yes") == REDIS_OK);
  NEED(redisAsyncCommand(a.c, NULL, NULL, "QUIT") == REDIS_OK);
  NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
  NEED(a.connects == 2 && a.disconnects == 2 && a.seen == 1);
  NEED(uv_loop_close(&loop) == 0);
  printf("ok - on a loop, a client whose connection was closed comes back\n");
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: hiredis_client PORT\n");
    return 2;
  }
  port = atoi(argv[1]);
  binary();
  pipelining();
  kinds();
  reconnecting();
  subscribing();
  many();
  messages();
  coming_back();
  return 0;
}
