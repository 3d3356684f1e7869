/* SPDX-License-Identifier: MIT
 *
 * The command line. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"

static const char usage[] =
    "usage: pipeline [options] --db FILE [LOG...]\n"
    "\n"
    "Store the lines of package manager logs (the format of /var/log/dpkg.log) in an SQLite database.\n"
    "Without LOG, or where LOG is -, read standard input.\n"
    "\n"
    "  --db FILE        the database; made if missing, else the lines are added as another run\n"
    "  --batch N        lines in one transaction (10000)\n"
    "  --capacity N     capacity of the two channels, in chunks and in batches (16)\n"
    "  --interval MS    commit at least this often while lines come slowly (500)\n"
    "  --timeout MS     how long to wait for a database that another program has locked (5000)\n"
    "  --max-pages N    let the database grow to N pages at most (no limit)\n"
    "  --help           this text\n"
    "  --version        the version\n"
    "\n"
    "exit code: 0 all lines are stored, malformed ones in the table of that name; 1 an input cannot be read;\n"
    "2 wrong usage; 3 the database cannot be opened or written; 4 another failure; 128 + N after signal N.\n"
    "Whatever the code, the database holds whole transactions only.\n";

enum { OPT_DB = 1, OPT_BATCH, OPT_CAPACITY, OPT_INTERVAL, OPT_TIMEOUT, OPT_MAX_PAGES, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {{"db", required_argument, NULL, OPT_DB},
                                             {"batch", required_argument, NULL, OPT_BATCH},
                                             {"capacity", required_argument, NULL, OPT_CAPACITY},
                                             {"interval", required_argument, NULL, OPT_INTERVAL},
                                             {"timeout", required_argument, NULL, OPT_TIMEOUT},
                                             {"max-pages", required_argument, NULL, OPT_MAX_PAGES},
                                             {"help", no_argument, NULL, OPT_HELP},
                                             {"version", no_argument, NULL, OPT_VERSION},
                                             {NULL, 0, NULL, 0}};

static int number(const char* name, const char* text, uint64_t min, uint64_t max, uint64_t* value) {
  char* end;

  errno = 0;
  *value = strtoull(text, &end, 10);
  if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *value >= min && *value <= max)
    return 0;
  say("--%s: '%s' is not a number from %llu to %llu", name, text, (unsigned long long) min, (unsigned long long) max);
  return -1;
}

/* Everything asked for goes out, or the exit code says that it did not. */
static int answer(const char* text) {
  if (fputs(text, stdout) == EOF || fflush(stdout) == EOF) {
    say("cannot write to standard output: %s", strerror(errno));
    return CODE_OTHER;
  }
  return CODE_OK;
}

static int check(const struct options* options) {
  size_t i;
  int stdins = 0;

  if (options->db == NULL || options->db[0] == '\0') {
    say("--db FILE is missing");
    return -1;
  }
  for (i = 0; i < options->source_count; i++)
    stdins += strcmp(options->sources[i], "-") == 0;
  if (stdins > 1) {
    say("standard input can be read only once");
    return -1;
  }
  return 0;
}

int options_parse(struct options* options, int argc, char** argv, int* code) {
  static char stdin_name[] = "-";
  static char* stdin_only[] = {stdin_name, NULL};
  uint64_t capacity = 16;
  int opt;
  int r = 0;

  *options = (struct options){.batch = 10000, .interval = 500, .timeout = 5000};
  *code = CODE_USAGE;
  while (r == 0 && (opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
    switch (opt) {
      case OPT_DB:
        options->db = optarg;
        break;
      case OPT_BATCH:
        r = number("batch", optarg, 1, 100000000, &options->batch);
        break;
      case OPT_CAPACITY:
        r = number("capacity", optarg, 1, 1024, &capacity);
        break;
      case OPT_INTERVAL:
        r = number("interval", optarg, 1, 86400000, &options->interval);
        break;
      case OPT_TIMEOUT:
        r = number("timeout", optarg, 0, 86400000, &options->timeout);
        break;
      case OPT_MAX_PAGES:
        r = number("max-pages", optarg, 1, 1000000000, &options->max_pages);
        break;
      case OPT_HELP:
        *code = answer(usage);
        return -1;
      case OPT_VERSION:
        *code = answer("pipeline, an example of uvch " UVCH_VERSION_STRING "\n");
        return -1;
      default:
        r = -1;
        break; /* getopt_long has said what is wrong */
    }
  }
  options->capacity = (size_t) capacity;
  options->sources = optind < argc ? argv + optind : stdin_only;
  options->source_count = optind < argc ? (size_t) (argc - optind) : 1;
  if (r == 0)
    r = check(options);
  if (r != 0)
    say("see pipeline --help");
  return r;
}
