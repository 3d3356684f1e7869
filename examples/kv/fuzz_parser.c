/* SPDX-License-Identifier: MIT
 *
 * For libFuzzer (tools/fuzz kv_parser), and for the files of its corpus in test_parser: whatever comes, the parser makes the same of it
 * whole, in pieces and byte by byte; it reads no byte that is not there; arguments lie within their command; what a command is
 * written as is that command again; memory grows with what has come only.
 *
 * The first byte says which limits there are, and how many of the next ones are lengths of pieces. The rest is what a client sends. */
#include "buf.h"
#include "fuzz_parser.h"
#include "parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECES_MAX = 15, PLACES_MIN = 8 };

static const struct parser_limits no_limits = {SIZE_MAX / 2, SIZE_MAX / 2, 0};

#define want(condition) ((condition) ? (void) 0 : wrong(#condition, __LINE__))

static void wrong(const char* what, int line) {
  fprintf(stderr, "fuzz_parser.c:%d: not so: %s\n", line, what);
  abort();
}

/* Of its own for each call of the parser, and no byte longer, so that a sanitizer sees who reads on. */
static char* copy(const char* data, size_t len) {
  char* block = malloc(len > 0 ? len : 1);

  want(block != NULL);
  if (len > 0) {
    memcpy(block, data, len);
  }
  return block;
}

/* All arguments are inside of the command, one after the other. */
static void check_slices(const struct parser* parser, const char* data, size_t len) {
  const char* from = data;
  size_t i;

  want(parser->len > 0 && parser->len <= len);
  for (i = 0; i < parser->argc; i++) {
    const struct slice* slice = &parser->argv[i];

    want(slice->data >= from && slice->data <= data + parser->len);
    want(slice->len <= (size_t) (data + parser->len - slice->data));
    from = slice->data + slice->len;
  }
}

static void check_limits(const struct parser* parser, char first, const struct parser_limits* limits) {
  size_t i;

  if (first != '*') {
    return;
  }
  want(parser->argc <= limits->arguments && (!limits->anonymous || parser->argc <= 10));
  for (i = 0; i < parser->argc; i++) {
    want(parser->argv[i].len <= limits->bulk && (!limits->anonymous || parser->argv[i].len <= 16384));
  }
}

/* `text` is a command as the log has it; it must be those arguments. */
static void check_again(const char* text, size_t len, const struct slice* argv, size_t argc) {
  struct parser parser = {0};
  char* data = copy(text, len);
  size_t i;

  want(parser_next(&parser, data, len, &no_limits) == PARSER_COMMAND);
  want(parser.len == len && parser.argc == argc);
  for (i = 0; i < argc; i++) {
    want(parser.argv[i].len == argv[i].len);
    want(argv[i].len == 0 || memcmp(parser.argv[i].data, argv[i].data, argv[i].len) == 0);
  }
  parser_free(&parser);
  free(data);
}

/* A client: what it sends, in pieces, and what came of it. */
struct client {
  const struct parser_limits* limits;
  struct parser parser;
  const char* data;
  size_t begin; /* of the command that is to come */
  size_t len;   /* so much has been sent */
  size_t need;  /* as the parser said, of what was still to come then */
  struct buf commands;
  const char* error;
};

static void record(struct client* client, const char* data) {
  const struct parser* parser = &client->parser;
  size_t begin = client->commands.len;

  check_slices(parser, data, client->len - client->begin);
  check_limits(parser, client->data[client->begin], client->limits);
  reply_command(&client->commands, parser->argv, parser->argc);
  want(!client->commands.failed);
  check_again(client->commands.data + begin, client->commands.len - begin, parser->argv, parser->argc);
  buf_print(&client->commands, "%zu\r\n", parser->len);
}

static enum parser_result next(struct client* client) {
  size_t len = client->len - client->begin;
  char* data = copy(client->data + client->begin, len);
  enum parser_result result = parser_next(&client->parser, data, len, client->limits);

  want(client->parser.size <= PLACES_MIN + client->len);
  if (result == PARSER_COMMAND) {
    record(client, data);
    client->begin += client->parser.len;
  }
  free(data);
  return result;
}

/* `len` more bytes have come. */
static void come(struct client* client, size_t len) {
  enum parser_result result;

  client->len += len;
  do {
    result = next(client);
    want(client->need <= len || (result == PARSER_MORE && client->parser.need == client->need - len));
    client->need = 0;
  } while (result == PARSER_COMMAND);
  if (result == PARSER_MORE) {
    client->need = client->parser.need;
    want(client->need <= 2 || client->need - 2 <= client->limits->bulk);
  } else {
    client->error = client->parser.error;
    want(strlen(client->error) > 0 && next(client) == PARSER_ERROR && client->parser.error == client->error);
  }
}

static void client_free(struct client* client) {
  parser_free(&client->parser);
  buf_free(&client->commands);
}

/* All that it sends, in pieces of these lengths less 1, again and again. */
static void run(struct client* client, const char* data, size_t len, const uint8_t* pieces, size_t count) {
  size_t i;

  client->data = data;
  come(client, 0);
  for (i = 0; client->len < len && client->error == NULL; i = (i + 1) % count) {
    size_t piece = pieces[i] + (size_t) 1;

    come(client, piece < len - client->len ? piece : len - client->len);
  }
}

static void check_same(const struct client* a, const struct client* b) {
  want(a->commands.len == b->commands.len);
  want(a->commands.len == 0 || memcmp(a->commands.data, b->commands.data, a->commands.len) == 0);
  want((a->error == NULL) == (b->error == NULL));
  want(a->error == NULL || strcmp(a->error, b->error) == 0);
  want(a->begin == b->begin);
}

int LLVMFuzzerTestOneInput(const uint8_t* input, size_t size) {
  static const struct parser_limits all_limits[] = {
      {512 << 20, 1 << 20, 0}, {512 << 20, 1 << 20, 1}, {10, 3, 0}, {SIZE_MAX, SIZE_MAX, 0}};
  static const uint8_t ones[] = {0};
  const struct parser_limits* limits = &all_limits[size > 0 ? input[0] >> 4 & 3 : 0];
  struct client whole = {.limits = limits};
  struct client pieces = {.limits = limits};
  struct client bytes = {.limits = limits};
  size_t count = size > 0 ? input[0] & PIECES_MAX : 0;
  size_t head = 1 + count;
  const char* data;

  if (size < head) {
    return 0;
  }
  data = (const char*) input + head;
  whole.data = data;
  come(&whole, size - head);
  run(&bytes, data, size - head, ones, 1);
  check_same(&whole, &bytes);
  if (count > 0) {
    run(&pieces, data, size - head, input + 1, count);
    check_same(&whole, &pieces);
  }
  client_free(&whole);
  client_free(&pieces);
  client_free(&bytes);
  return 0;
}
