/* SPDX-License-Identifier: MIT
 *
 * The protocol of clients: arrays of bulk strings, and lines for people ("inline commands"). */
#ifndef KV_PARSER_H
#define KV_PARSER_H

#include "kv.h"

struct parser_limits {
  size_t bulk;      /* bytes of one argument, 512 MiB with Redis */
  size_t arguments; /* of one command, 1,048,576 */
  int anonymous;    /* 1: nobody has said who he is: 10 arguments and 16,384 bytes each */
};

/* All 0 is one at the begin of a command. It keeps where it is in a command that has not come to its end, so that many small
 * pieces of a large command cost no more than the whole. */
struct parser {
  /* read-only: the command, after PARSER_COMMAND. Good until the next call, but for what the slices point to. */
  struct slice* argv;
  size_t argc;       /* 0: there was nothing in it, as in an empty line */
  size_t len;        /* bytes that it took */
  const char* error; /* after PARSER_ERROR: the reply, as "ERR Protocol error: ..." */
  size_t need; /* after PARSER_MORE: so many more bytes, at least, complete the argument that has been announced; 0: not known */
  /* private */
  size_t size; /* places in argv */
  size_t at;   /* so far everything has been taken in */
  size_t seen; /* so many bytes behind that do not end a line */
  size_t left; /* arguments still to come */
  size_t bulk; /* length of the argument at `at`, once it has been announced */
  int state;
  char text[80];
};

enum parser_result { PARSER_MORE, PARSER_COMMAND, PARSER_ERROR };

/* parser_next: the command at `data`. PARSER_MORE: it is not complete; the next call gets the same bytes, perhaps at another
 * address, and more after them. PARSER_COMMAND: there it is; the next call begins `len` bytes further. The slices point into `data`;
 * the bytes of an inline command may be changed (quotes and escapes go). PARSER_ERROR: nothing can be made of it, and of nothing
 * that comes after it. No memory is such an error, too.
 *
 * An announced length costs nothing: memory grows with what has come. */
enum parser_result parser_next(struct parser* parser, char* data, size_t len, const struct parser_limits* limits);

/* parser_free: all 0 again, and nothing allocated. Between two commands it is a way to give memory back: a large command's argv
 * stays until the next call. */
void parser_free(struct parser* parser);

#endif
