/* SPDX-License-Identifier: MIT
 *
 * The command line. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "follow.h"

static const char usage[] =
    "usage: config [options] FILE\n"
    "\n"
    "Three workers say a greeting, as FILE has it, and follow it when it changes:\n"
    "\n"
    "  # quiet, info (as here), or debug\n"
    "  log = info\n"
    "  # milliseconds, 1 to 3600000 (1000)\n"
    "  interval = 500\n"
    "  # how often each worker says it, up to 1000000; 0: no end (0)\n"
    "  limit = 0\n"
    "  greeting = Good morning\n"
    "  # at the end of the program (none)\n"
    "  farewell = Good night\n"
    "\n"
    "Only the greeting has to be there. If FILE is bad or gone later, the reason is printed, and the workers go on with what\n"
    "they have.\n"
    "\n"
    "  --settle MS   read FILE so long after the first sign of a change (50)\n"
    "  --help        this text\n"
    "  --version     the version\n"
    "\n"
    "signals: SIGINT and SIGTERM end it; SIGHUP reads FILE again; SIGUSR1 turns the log to the next of quiet, info and debug.\n"
    "exit code: 0 ended by a signal; 1 FILE is missing or bad at the start; 2 wrong usage; 3 another failure.\n";

enum { OPT_SETTLE = 1, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {{"settle", required_argument, NULL, OPT_SETTLE},
                                             {"help", no_argument, NULL, OPT_HELP},
                                             {"version", no_argument, NULL, OPT_VERSION},
                                             {NULL, 0, NULL, 0}};

/* In one piece, so that lines of several threads stay apart. */
void say(const char* format, ...) {
  char text[PROBLEM_SIZE + 4096];
  va_list args;

  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  fprintf(stderr, "config: %s\n", text);
}

static int number(const char* name, const char* text, unsigned long min, unsigned long max, uint64_t* value) {
  unsigned long n;
  char* end;

  errno = 0;
  n = strtoul(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n < min || n > max) {
    say("--%s: '%s' is not a number from %lu to %lu", name, text, min, max);
    return -1;
  }
  *value = n;
  return 0;
}

static int answer(const char* text) {
  if (fputs(text, stdout) != EOF && fflush(stdout) != EOF)
    return CODE_OK;
  say("cannot write to standard output: %s", strerror(errno));
  return CODE_OTHER;
}

static int take_file(struct options* options, int count, char** arguments) {
  if (count == 1 && arguments[0][0] != '\0') {
    options->path = arguments[0];
    return 0;
  }
  if (count > 1)
    say("takes one FILE: '%s'", arguments[1]);
  else
    say("FILE is missing");
  return -1;
}

int options_parse(struct options* options, int argc, char** argv, int* code) {
  int opt;
  int r = 0;

  *options = (struct options){.settle = 50};
  *code = CODE_USAGE;
  while (r == 0 && (opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
    switch (opt) {
      case OPT_SETTLE:
        r = number("settle", optarg, 0, 60000, &options->settle);
        break;
      case OPT_HELP:
        *code = answer(usage);
        return -1;
      case OPT_VERSION:
        *code = answer("config, an example of uvch " UVCH_VERSION_STRING "\n");
        return -1;
      default:
        r = -1;
        break; /* getopt_long has said what is wrong */
    }
  }
  if (r == 0)
    r = take_file(options, argc - optind, argv + optind);
  if (r != 0)
    say("see config --help");
  else
    *code = CODE_OK;
  return r;
}
