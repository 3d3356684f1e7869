/* SPDX-License-Identifier: MIT
 *
 * The command line. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shutdown.h"

static const char usage[] =
    "usage: shutdown [options] FIRST [LAST]\n"
    "\n"
    "Print the prime factors of the numbers from FIRST to LAST (without it, to the largest there is, 18446744073709551615), in\n"
    "the order in which they are found.\n"
    "\n"
    "SIGINT (Ctrl-C) or SIGTERM drains: no more numbers are taken, and those that were are finished and printed. A second "
    "signal,\n"
    "or the deadline, forces the end: what is left undone then is counted, and told.\n"
    "\n"
    "  --workers N     workers, each a loop on a thread of its own (3)\n"
    "  --capacity N    numbers that wait for each worker, and results that wait to be printed (16)\n"
    "  --deadline MS   drain for so long at most; 0: as long as it takes (10000)\n"
    "  --help          this text\n"
    "  --version       the version\n"
    "\n"
    "exit code: 0 every number that was taken is printed; 1 a failure, such as an output that is full; 2 wrong usage; 3 "
    "forced.\n";

enum { OPT_WORKERS = 1, OPT_CAPACITY, OPT_DEADLINE, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
    {"workers", required_argument, NULL, OPT_WORKERS},   {"capacity", required_argument, NULL, OPT_CAPACITY},
    {"deadline", required_argument, NULL, OPT_DEADLINE}, {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},         {NULL, 0, NULL, 0}};

void say(const char* format, ...) {
  char text[512];
  va_list args;

  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  fprintf(stderr, "shutdown: %s\n", text);
}

static int number(const char* name, const char* text, uint64_t min, uint64_t max, uint64_t* value) {
  char* end;

  errno = 0;
  *value = strtoull(text, &end, 10);
  if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *value >= min && *value <= max)
    return 0;
  say("%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, name, text, min, max);
  return -1;
}

static int answer(const char* text) {
  if (fputs(text, stdout) != EOF && fflush(stdout) != EOF)
    return CODE_OK;
  say("cannot write to standard output: %s", strerror(errno));
  return CODE_FAILED;
}

static int take_numbers(struct options* options, int count, char** arguments) {
  if (count < 1 || count > 2) {
    say(count < 1 ? "FIRST is missing" : "takes two numbers at most");
    return -1;
  }
  options->last = UINT64_MAX;
  if (number("FIRST", arguments[0], 1, UINT64_MAX, &options->first) != 0)
    return -1;
  return count == 2 ? number("LAST", arguments[1], options->first, UINT64_MAX, &options->last) : 0;
}

int options_parse(struct options* options, int argc, char** argv, int* code) {
  uint64_t workers = 3;
  uint64_t capacity = 16;
  int opt;
  int r = 0;

  *options = (struct options){.deadline = 10000};
  *code = CODE_USAGE;
  while (r == 0 && (opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
    switch (opt) {
      case OPT_WORKERS:
        r = number("--workers", optarg, 1, 256, &workers);
        break;
      case OPT_CAPACITY:
        r = number("--capacity", optarg, 1, 1000000, &capacity);
        break;
      case OPT_DEADLINE:
        r = number("--deadline", optarg, 0, 86400000, &options->deadline);
        break;
      case OPT_HELP:
        *code = answer(usage);
        return -1;
      case OPT_VERSION:
        *code = answer("shutdown, an example of uvch " UVCH_VERSION_STRING "\n");
        return -1;
      default:
        r = -1;
        break; /* getopt_long has said what is wrong */
    }
  }
  if (r == 0)
    r = take_numbers(options, argc - optind, argv + optind);
  if (r != 0)
    say("see shutdown --help");
  options->workers = (size_t) workers;
  options->capacity = (size_t) capacity;
  return r;
}
