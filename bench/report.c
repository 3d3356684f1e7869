/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#define NONE (-1.0) /* no number */

const char* variant_name(enum variant variant) {
  static const char* const names[VARIANTS] = {"uvch", "hot-off", "baseline"};

  return names[variant];
}

static double metric_of(const struct result* result, enum metric metric) {
  double messages = (double) result->messages;

  switch (metric) {
    case VALUE:
      return result->value;
    case P99:
      return result->p99;
    case CPU:
      return (double) result->cpu_ns / messages;
    case SYSCALLS:
      return result->syscalls < 0 ? NONE : (double) result->syscalls * 1000 / messages;
    case INSTRUCTIONS:
      return result->instructions < 0 ? NONE : (double) result->instructions / messages;
    case LINE:
      return result->line_ns == 0 ? NONE : (double) result->line_ns;
    case MISSED:
      return (double) result->missed * 100 / (messages + (double) result->missed);
    case FOUND:
      return result->looks == 0 ? NONE : (double) result->found * 100 / (double) result->looks;
  }
  return NONE;
}

static int compare(const void* a, const void* b) {
  double x = *(const double*) a;
  double y = *(const double*) b;

  return (x > y) - (x < y);
}

/* The median over the rounds; no number if one of them failed. `spread` gets (greatest - least) / median. */
static double median(const struct cell* cell, enum metric metric, double* spread) {
  double* values;
  double m;
  unsigned int i, n = cell->count;

  *spread = 0;
  if (metric == SYSCALLS || metric == INSTRUCTIONS)
    return cell->counted.done ? metric_of(&cell->counted, metric) : NONE;
  if (n == 0)
    return NONE;
  values = (double*) calloc(n, sizeof(*values));
  if (values == NULL)
    return NONE;
  for (i = 0; i < n; i++) {
    if (!cell->rounds[i].done) {
      free(values);
      return NONE;
    }
    values[i] = metric_of(&cell->rounds[i], metric);
  }
  qsort(values, n, sizeof(*values), compare);
  m = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  if (m > 0)
    *spread = (values[n - 1] - values[0]) / m;
  free(values);
  return m;
}

static const char* number(char* buffer, size_t size, double value) {
  if (value < 0)
    snprintf(buffer, size, "-");
  else if (value >= 100)
    snprintf(buffer, size, "%.0f", value);
  else if (value >= 10)
    snprintf(buffer, size, "%.1f", value);
  else
    snprintf(buffer, size, "%.2f", value);
  return buffer;
}

static const char* times(char* buffer, size_t size, double ratio) {
  number(buffer, size, ratio);
  if (ratio >= 0)
    strcat(buffer, "x");
  return buffer;
}

/* How many times as good as `peer`; more than 1 is better. */
static double gain(double value, double peer, int more_is_better) {
  if (value <= 0 || peer <= 0)
    return NONE;
  return more_is_better ? value / peer : peer / value;
}

/* What a target compares with its limit. */
static double measured(const struct target* target, const double* row, const double* first, int more_is_better) {
  double value = row[target->variant];
  double other = 1;

  if (target->kind == TIMES_BASELINE)
    return gain(value, row[BASELINE], more_is_better);
  if (target->kind == AT_MOST_TIMES)
    other = row[BASELINE];
  else if (target->kind == TIMES_FIRST)
    other = first[target->variant];
  else if (target->kind == TIMES_COLD)
    other = row[COLD];
  return value >= 0 && other > 0 ? value / other : NONE;
}

/* Print one target and what came of it. Returns 0 not met, 1 met, 2 unknown. */
static unsigned int print_target(FILE* out, const struct section* section, const struct target* target, const double* row,
                                 const double* first) {
  static const char* const verdicts[] = {"NOT MET", "met", "no number"};
  static const char* const units[] = {[TIMES_BASELINE] = "x",
                                      [AT_MOST_TIMES] = "x of the baseline",
                                      [TIMES_FIRST] = "x of the first row",
                                      [TIMES_COLD] = "x of hot off",
                                      [GOAL] = ""};
  int is_least = target->kind == TIMES_BASELINE || target->kind == GOAL;
  double got = measured(target, row, first, section->more_is_better);
  unsigned int verdict = 2;
  char buffer[32];

  if (got >= 0)
    verdict = is_least ? got >= target->limit : got <= target->limit;
  fprintf(out, "%s%s%s %g%s: %s", target->kind == GOAL ? "goal " : "", target->variant == COLD ? "hot off " : "",
          is_least ? ">=" : "<=", target->limit, units[target->kind] != NULL ? units[target->kind] : "", verdicts[verdict]);
  if (target->kind == AT_MOST_TIMES || target->kind == TIMES_FIRST || target->kind == TIMES_COLD)
    fprintf(out, " (%s)", times(buffer, sizeof(buffer), got));
  return verdict;
}

static void print_row(FILE* out, const struct bench_case* c, const double* row, double spread, int more_is_better) {
  char text[VARIANTS][32];
  char ratio[32];
  char cold_ratio[32];
  size_t v;

  for (v = 0; v < VARIANTS; v++)
    number(text[v], sizeof(text[v]), row[v]);
  times(ratio, sizeof(ratio), gain(row[UVCH], row[BASELINE], more_is_better));
  times(cold_ratio, sizeof(cold_ratio), gain(row[COLD], row[BASELINE], more_is_better));
  fprintf(out, "  %-40s %8s %8s %8s %8s %8s", c->name, text[UVCH], text[COLD], text[BASELINE], ratio, cold_ratio);
  if (spread >= 0)
    fprintf(out, " %6.0f%%", spread * 100);
}

static void print_metric(FILE* out, const struct section* section, const struct cell* cells, enum metric metric,
                         unsigned int met[3]) {
  double first[VARIANTS] = {NONE, NONE, NONE};
  double row[VARIANTS];
  double spread, widest;
  const struct target* targets;
  unsigned int verdict;
  size_t i, v, t;

  for (i = 0; i < section->case_count; i++) {
    widest = 0;
    for (v = 0; v < VARIANTS; v++) {
      row[v] = median(&cells[i * VARIANTS + v], metric, &spread);
      if (i == 0)
        first[v] = row[v];
      if (spread > widest)
        widest = spread;
    }
    print_row(out, &section->cases[i], row, metric == VALUE ? widest : NONE, metric == VALUE && section->more_is_better);
    targets = section->cases[i].targets;
    for (t = 0; metric == VALUE && t < 2 && targets[t].kind != NO_TARGET; t++) {
      fputs(t == 0 ? "  " : "; ", out);
      verdict = print_target(out, section, &targets[t], row, first);
      if (targets[t].kind != GOAL)
        met[verdict]++;
    }
    fputc('\n', out);
  }
}

/* Before how many runs a cache line went there and back in less than LINE_NEAR, and the range. */
#define LINE_NEAR 120 /* ns */

static void print_line_time(FILE* out, const struct section* section, const struct cell* cells) {
  uint64_t ns, least = UINT64_MAX, most = 0;
  unsigned int runs = 0, near = 0, k;
  size_t i;

  for (i = 0; i < section->case_count * VARIANTS; i++) {
    for (k = 0; k < cells[i].count; k++) {
      ns = cells[i].rounds[k].line_ns;
      runs++;
      near += ns < LINE_NEAR;
      least = ns < least ? ns : least;
      most = ns > most ? ns : most;
    }
  }
  if (runs > 0 && least > 0)
    fprintf(out, " a cache line there and back before each run: %llu to %llu ns, below %d in %u runs of %u\n",
            (unsigned long long) least, (unsigned long long) most, LINE_NEAR, near, runs);
}

void print_section(FILE* out, const struct section* section, const struct cell* cells, unsigned int counters,
                   unsigned int met[3]) {
  static const struct {
    enum metric metric;
    const char* title;
  } more[] = {
      {P99, "99th percentile of the same, microseconds"},
      {MISSED, "messages missed, per cent of those that a receiver could have had"},
      {FOUND, "new values that a receiver saw, per cent of its looks, or of the changes that it was to be told of"},
      {CPU, "processor time of the whole process, nanoseconds per message"},
      {SYSCALLS, "system calls per 1,000 messages, in a run of their own"},
      {INSTRUCTIONS, "user instructions per message, in a run of their own"},
  };
  size_t i;

  fprintf(out, "\n%s%s\n", section->title, section->more_is_better ? " (more is better)" : "");
  fprintf(out, "  %-40s %8s %8s %8s %8s %8s %7s  %s\n", "", "uvch", "hot off", "baseline", "gain", "off gain", "spread",
          "target");
  print_metric(out, section, cells, VALUE, met);
  for (i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
    if ((section->metrics & BIT(more[i].metric)) == 0)
      continue;
    if ((more[i].metric == SYSCALLS || more[i].metric == INSTRUCTIONS) && (counters & BIT(more[i].metric)) == 0)
      continue;
    fprintf(out, " %s\n", more[i].title);
    print_metric(out, section, cells, more[i].metric, met);
  }
  if ((section->metrics & BIT(LINE)) != 0)
    print_line_time(out, section, cells);
  fflush(out);
}

void print_raw_header(FILE* out) {
  fprintf(
      out,
      "section\tcase\tvariant\tround\tvalue\tp99\tmessages\tmissed\tfound\tlooks\twall_ns\tcpu_ns\tswitches\tline_ns\tsyscalls\t"
      "instructions\tnote\n");
}

/* A number that was not counted is an empty field. */
static void print_count(FILE* out, int64_t count) {
  if (count >= 0)
    fprintf(out, "%lld", (long long) count);
  fputc('\t', out);
}

void print_raw(FILE* out, const struct section* section, const struct bench_case* c, enum variant variant, const char* round,
               const struct result* result) {
  fprintf(out, "%s\t%s\t%s\t%s\t", section->id, c->name, variant_name(variant), round);
  if (!result->done) {
    fprintf(out, "\t\t\t\t\t\t\t\t\t\t\t\t%s\n", result->why);
    return;
  }
  fprintf(out, "%.6g\t%.6g\t%llu\t%llu\t%llu\t%llu\t%llu\t%llu\t%llu\t%llu\t", result->value, result->p99,
          (unsigned long long) result->messages, (unsigned long long) result->missed, (unsigned long long) result->found,
          (unsigned long long) result->looks, (unsigned long long) result->wall_ns, (unsigned long long) result->cpu_ns,
          (unsigned long long) result->switches, (unsigned long long) result->line_ns);
  print_count(out, result->syscalls);
  print_count(out, result->instructions);
  fputc('\n', out);
}
