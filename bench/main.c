/* SPDX-License-Identifier: MIT
 *
 * Runs the cases, each in a process of its own so that none sees the heap, threads or mistakes of another, and prints the
 * tables. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_MAX 99
#define LIMIT_S 60 /* for one run of one case */
#define COUNT_MIN 20

struct options {
  unsigned int rounds;
  int quick;
  int tsv;
  const char* only;
  const char* raw;
};

static struct result* shared;
static FILE* raw;
static unsigned int failures;

static const char usage_text[] =
    "usage: uvch_bench [options]\n"
    "  --rounds N    rounds of every case, 1 to 99 (7)\n"
    "  --quick       3 rounds of a tenth of the messages\n"
    "  --only ID     one section only\n"
    "  --no-pin      let the scheduler place the threads\n"
    "  --list        the sections\n"
    "  --tsv         every single run on standard output instead of the tables\n"
    "  --raw FILE    every single run in FILE, besides the tables\n"
    "  --help        this text\n";

static void usage_error(const char* what, const char* argument) {
  fprintf(stderr, "uvch_bench: %s: %s\n%s", what, argument, usage_text);
  exit(2);
}

static const struct section* find_section(const char* id) {
  size_t i;

  for (i = 0; i < section_count; i++) {
    if (strcmp(sections[i].id, id) == 0)
      return &sections[i];
  }
  return NULL;
}

static unsigned int parse_rounds(const char* text) {
  char* end;
  unsigned long n = strtoul(text, &end, 10);

  if (*text < '0' || *text > '9' || *end != '\0' || n < 1 || n > ROUNDS_MAX)
    usage_error("not a number of rounds", text);
  return (unsigned int) n;
}

static void list_sections(void) {
  size_t i;

  for (i = 0; i < section_count; i++)
    printf("%-17s %s\n", sections[i].id, sections[i].title);
}

static const char* option_value(int argc, char** argv, int* i) {
  if (*i + 1 >= argc)
    usage_error("a value is missing after", argv[*i]);
  return argv[++*i];
}

static void parse(struct options* options, int argc, char** argv) {
  int i;

  for (i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--rounds") == 0) {
      options->rounds = parse_rounds(option_value(argc, argv, &i));
    } else if (strcmp(argv[i], "--quick") == 0) {
      options->quick = 1;
    } else if (strcmp(argv[i], "--only") == 0) {
      options->only = option_value(argc, argv, &i);
      if (find_section(options->only) == NULL)
        usage_error("no such section", options->only);
    } else if (strcmp(argv[i], "--list") == 0) {
      list_sections();
      exit(0);
    } else if (strcmp(argv[i], "--no-pin") == 0) {
      place_freely();
    } else if (strcmp(argv[i], "--tsv") == 0) {
      options->tsv = 1;
    } else if (strcmp(argv[i], "--raw") == 0) {
      options->raw = option_value(argc, argv, &i);
    } else if (strcmp(argv[i], "--help") == 0) {
      fputs(usage_text, stdout);
      exit(0);
    } else {
      usage_error("unknown option", argv[i]);
    }
  }
  if (options->tsv && options->raw != NULL)
    usage_error("not together with --tsv", "--raw");
  if (options->rounds == 0)
    options->rounds = options->quick ? 3 : 7;
}

static struct setup setup_of(const struct bench_case* c, enum variant variant, int quick) {
  struct setup setup = {.variant = variant,
                        .manner = c->manner,
                        .portion = c->portion,
                        .capacity = c->capacity,
                        .producers = c->producers,
                        .channels = c->channels,
                        .receivers = c->receivers,
                        .lags = c->lags,
                        .size = c->size};

  setup.count = variant != UVCH && c->slow_count != 0 ? c->slow_count : c->count;
  if (quick)
    setup.count = setup.count / 10 < COUNT_MIN ? COUNT_MIN : setup.count / 10;
  return setup;
}

static void child(const struct bench_case* c, const struct setup* setup, int counting) {
  alarm(LIMIT_S);
  if (counting)
    counters_open();
  c->run(setup, shared);
  shared->done = 1;
  _exit(0);
}

static void parent(pid_t pid) {
  int status = 0;

  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    ;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    snprintf(shared->why, sizeof(shared->why), "not done after %d s", LIMIT_S);
  else if (WIFSIGNALED(status))
    snprintf(shared->why, sizeof(shared->why), "killed by signal %d", WTERMSIG(status));
  else if (WEXITSTATUS(status) != 0 || !shared->done)
    shared->done = 0;
  if (shared->done == 0 && shared->why[0] == '\0')
    snprintf(shared->why, sizeof(shared->why), "exit code %d", WEXITSTATUS(status));
}

/* Run one case once. `round` names the run; counting runs give no times. */
static struct result measure(const struct section* section, const struct bench_case* c, enum variant variant, int quick,
                             const char* round, int counting) {
  struct setup setup = setup_of(c, variant, quick);
  uint64_t line = line_time();
  pid_t pid;

  memset(shared, 0, sizeof(*shared));
  shared->line_ns = line;
  shared->syscalls = -1;
  shared->instructions = -1;
  fflush(NULL);
  pid = fork();
  if (pid == 0)
    child(c, &setup, counting);
  if (pid < 0)
    snprintf(shared->why, sizeof(shared->why), "fork: %s", strerror(errno));
  else
    parent(pid);
  if (!shared->done) {
    failures++;
    fprintf(stderr, "no number: %s, %s, %s, round %s: %s\n", section->id, c->name, variant_name(variant), round, shared->why);
  }
  if (raw != NULL)
    print_raw(raw, section, c, variant, round, shared);
  return *shared;
}

static unsigned int rounds_of(const struct section* section, const struct options* options) {
  return section->rounds != 0 && section->rounds < options->rounds ? section->rounds : options->rounds;
}

/* All rounds of a section: every case and variant once, then all of them again. */
static void run_rounds(const struct section* section, struct cell* cells, const struct options* options, unsigned int rounds) {
  const struct bench_case* c;
  struct cell* cell;
  unsigned int round, v;
  size_t i;
  char name[16];

  for (round = 0; round < rounds; round++) {
    snprintf(name, sizeof(name), "%u", round + 1);
    for (i = 0; i < section->case_count; i++) {
      c = &section->cases[i];
      for (v = 0; v < VARIANTS; v++) {
        if ((c->variants & BIT(v)) == 0)
          continue;
        cell = &cells[i * VARIANTS + v];
        cell->rounds[cell->count++] = measure(section, c, (enum variant) v, options->quick, name, 0);
      }
    }
  }
}

static void run_counted(const struct section* section, struct cell* cells, const struct options* options) {
  size_t i;
  unsigned int v;

  for (i = 0; i < section->case_count; i++) {
    for (v = 0; v < VARIANTS; v++) {
      if ((section->cases[i].variants & BIT(v)) != 0)
        cells[i * VARIANTS + v].counted = measure(section, &section->cases[i], (enum variant) v, options->quick, "counted", 1);
    }
  }
}

static void run_section(const struct section* section, const struct options* options, unsigned int counters,
                        unsigned int met[3]) {
  size_t i, n = section->case_count * VARIANTS;
  unsigned int rounds = rounds_of(section, options);
  struct cell* cells = (struct cell*) calloc(n, sizeof(*cells));
  struct result* results = (struct result*) calloc(n * rounds, sizeof(*results));

  if (cells == NULL || results == NULL) {
    fprintf(stderr, "uvch_bench: out of memory\n");
    exit(1);
  }
  for (i = 0; i < n; i++)
    cells[i].rounds = &results[i * rounds];
  run_rounds(section, cells, options, rounds);
  if ((section->metrics & counters) != 0)
    run_counted(section, cells, options);
  if (!options->tsv)
    print_section(stdout, section, cells, counters, met);
  free(results);
  free(cells);
}

/* What can be counted here; asked in a process that then ends. */
static unsigned int probe_counters(void) {
  pid_t pid = fork();

  if (pid == 0)
    _exit((int) counters_open());
  if (pid > 0) {
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
      ;
    return WIFEXITED(status) ? (unsigned int) WEXITSTATUS(status) : 0;
  }
  return 0;
}

static void open_raw(const struct options* options) {
  if (options->tsv)
    raw = stdout;
  if (options->raw != NULL) {
    raw = fopen(options->raw, "we");
    if (raw == NULL) {
      fprintf(stderr, "uvch_bench: cannot write %s: %s\n", options->raw, strerror(errno));
      exit(1);
    }
  }
  if (raw != NULL)
    print_raw_header(raw);
}

static void close_raw(const struct options* options) {
  int bad;

  if (raw == NULL)
    return;
  bad = ferror(raw);
  if (options->raw != NULL)
    bad |= fclose(raw);
  if (bad != 0) {
    fprintf(stderr, "uvch_bench: cannot write %s\n", options->raw != NULL ? options->raw : "to standard output");
    exit(1);
  }
}

int main(int argc, char** argv) {
  struct options options = {0};
  unsigned int met[3] = {0, 0, 0};
  unsigned int counters;
  size_t i;

  parse(&options, argc, argv);
  shared = (struct result*) mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    perror("uvch_bench: mmap");
    return 1;
  }
  open_raw(&options);
  counters = probe_counters();
  for (i = 0; i < section_count; i++) {
    if (options.only == NULL || strcmp(options.only, sections[i].id) == 0)
      run_section(&sections[i], &options, counters, met);
  }
  if (!options.tsv)
    printf("\n%u targets: %u met, %u not met, %u without a number.\n", met[0] + met[1] + met[2], met[1], met[0], met[2]);
  close_raw(&options);
  return failures == 0 ? 0 : 1;
}
