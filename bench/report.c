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

/* Print one target and what came of it. Returns 0 not met, 1 met, 2 unknown. */
static unsigned int print_target(FILE* out, const struct section* section, const struct target* target, const double* row,
                                 const double* first) {
  static const char* const verdicts[] = {"NOT MET", "met", "no number"};
  double value = row[target->variant];
  double got = NONE;
  unsigned int verdict = 2;
  const char* suffix = "";
  char buffer[32];

  switch (target->kind) {
    case NO_TARGET:
      return 2;
    case TIMES_BASELINE:
      got = gain(value, row[BASELINE], section->more_is_better);
      suffix = "x";
      break;
    case AT_MOST:
      got = value;
      break;
    case TIMES_FIRST:
      got = value >= 0 && first[target->variant] > 0 ? value / first[target->variant] : NONE;
      suffix = "x of the first row";
      break;
    case TIMES_COLD:
      got = value >= 0 && row[COLD] > 0 ? value / row[COLD] : NONE;
      suffix = "x of hot off";
      break;
  }
  if (got >= 0)
    verdict = target->kind == TIMES_BASELINE ? got >= target->limit : got <= target->limit;
  fprintf(out, "%s%s %g%s: %s", target->variant == COLD ? "hot off " : "",
          target->kind == TIMES_BASELINE ? ">=" : "<=", target->limit, suffix, verdicts[verdict]);
  if (target->kind == TIMES_FIRST || target->kind == TIMES_COLD)
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
      met[print_target(out, section, &targets[t], row, first)]++;
    }
    fputc('\n', out);
  }
}

void print_section(FILE* out, const struct section* section, const struct cell* cells, unsigned int counters,
                   unsigned int met[3]) {
  static const struct {
    enum metric metric;
    const char* title;
  } more[] = {
      {P99, "99th percentile of the same, microseconds"},
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
  fflush(out);
}

void print_raw_header(FILE* out) {
  fprintf(out, "section\tcase\tvariant\tround\tvalue\tp99\tmessages\twall_ns\tcpu_ns\tswitches\tsyscalls\tinstructions\tnote\n");
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
    fprintf(out, "\t\t\t\t\t\t\t\t%s\n", result->why);
    return;
  }
  fprintf(out, "%.6g\t%.6g\t%llu\t%llu\t%llu\t%llu\t", result->value, result->p99, (unsigned long long) result->messages,
          (unsigned long long) result->wall_ns, (unsigned long long) result->cpu_ns, (unsigned long long) result->switches);
  print_count(out, result->syscalls);
  print_count(out, result->instructions);
  fputc('\n', out);
}
