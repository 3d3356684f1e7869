/* SPDX-License-Identifier: MIT
 *
 * The command line. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"

static const char usage[] =
    "usage: chat [options]\n"
    "\n"
    "A chat server for TCP; talk to it with nc. Ctrl-C ends it.\n"
    "\n"
    "  --host ADDRESS      listen on this IPv4 or IPv6 address (127.0.0.1)\n"
    "  --port N            listen on this port; 0: any that is free (4040)\n"
    "  --clients N         serve so many at a time (500)\n"
    "  --loops N           loops that serve, each on a thread of its own (one for each processor, at least 2)\n"
    "  --capacity N        lines that a room keeps for those who are behind (256)\n"
    "  --send-buffer N     bytes that the system keeps for a client who is behind (65536)\n"
    "  --help              this text\n"
    "  --version           the version\n"
    "\n"
    "exit code: 0 ended by SIGINT or SIGTERM; 1 a failure, such as a port that is in use; 2 wrong usage.\n";

enum { OPT_HOST = 1, OPT_PORT, OPT_CLIENTS, OPT_LOOPS, OPT_CAPACITY, OPT_SEND_BUFFER, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {{"host", required_argument, NULL, OPT_HOST},
                                             {"port", required_argument, NULL, OPT_PORT},
                                             {"clients", required_argument, NULL, OPT_CLIENTS},
                                             {"loops", required_argument, NULL, OPT_LOOPS},
                                             {"capacity", required_argument, NULL, OPT_CAPACITY},
                                             {"send-buffer", required_argument, NULL, OPT_SEND_BUFFER},
                                             {"help", no_argument, NULL, OPT_HELP},
                                             {"version", no_argument, NULL, OPT_VERSION},
                                             {NULL, 0, NULL, 0}};

void say(const char* format, ...) {
  va_list args;

  va_start(args, format);
  fputs("chat: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
}

static int number(const char* name, const char* text, unsigned long min, unsigned long max, unsigned long* value) {
  char* end;

  errno = 0;
  *value = strtoul(text, &end, 10);
  if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *value >= min && *value <= max)
    return 0;
  say("--%s: '%s' is not a number from %lu to %lu", name, text, min, max);
  return -1;
}

static int set_address(struct options* options, const char* host, int port) {
  if (uv_ip4_addr(host, port, (struct sockaddr_in*) &options->address) == 0)
    return 0;
  if (uv_ip6_addr(host, port, (struct sockaddr_in6*) &options->address) == 0)
    return 0;
  say("--host: '%s' is not an IPv4 or IPv6 address", host);
  return -1;
}

static int answer(const char* text) {
  if (fputs(text, stdout) != EOF && fflush(stdout) != EOF)
    return CODE_OK;
  say("cannot write to standard output: %s", strerror(errno));
  return CODE_FAILED;
}

int options_parse(struct options* options, int argc, char** argv, int* code) {
  const char* host = "127.0.0.1";
  unsigned long port = 4040;
  unsigned long clients = 500;
  unsigned long loops = uv_available_parallelism();
  unsigned long capacity = 256;
  unsigned long send_buffer = 65536;
  int opt;
  int r = 0;

  *options = (struct options){0};
  *code = CODE_USAGE;
  loops = loops < 2 ? 2 : loops;
  while (r == 0 && (opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
    switch (opt) {
      case OPT_HOST:
        host = optarg;
        break;
      case OPT_PORT:
        r = number("port", optarg, 0, 65535, &port);
        break;
      case OPT_CLIENTS:
        r = number("clients", optarg, 1, 1000000, &clients);
        break;
      case OPT_LOOPS:
        r = number("loops", optarg, 1, 1024, &loops);
        break;
      case OPT_CAPACITY:
        r = number("capacity", optarg, 1, 1000000, &capacity);
        break;
      case OPT_SEND_BUFFER:
        r = number("send-buffer", optarg, 1, 1073741823, &send_buffer);
        break;
      case OPT_HELP:
        *code = answer(usage);
        return -1;
      case OPT_VERSION:
        *code = answer("chat, an example of uvch " UVCH_VERSION_STRING "\n");
        return -1;
      default:
        r = -1;
        break; /* getopt_long has said what is wrong */
    }
  }
  if (r == 0 && optind < argc) {
    say("takes options only: '%s'", argv[optind]);
    r = -1;
  }
  if (r == 0)
    r = set_address(options, host, (int) port);
  if (r != 0)
    say("see chat --help");
  options->clients = clients;
  options->loops = loops;
  options->capacity = capacity;
  options->send_buffer = (int) send_buffer;
  return r;
}
