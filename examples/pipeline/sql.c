/* SPDX-License-Identifier: MIT
 *
 * sql: look into a database where the sqlite3 shell is not installed. It serves the tests and tools/demo.
 *
 *   sql FILE STATEMENT...   run the statements, print their rows
 *   sql FILE                the same with each line of standard input; print "ok" after each, or "error: ..."
 *
 * Columns are separated by |, NULL is empty. Exit code 0, or 1 after an error. */
#include <stdio.h>
#include <string.h>
#include <sqlite3.h>

static int print_row(void* arg, int columns, char** values, char** names) {
  int i;

  (void) arg;
  (void) names;
  for (i = 0; i < columns; i++)
    printf("%s%s", i == 0 ? "" : "|", values[i] == NULL ? "" : values[i]);
  return putchar('\n') == EOF;
}

static int run(sqlite3* db, const char* statement) {
  return sqlite3_exec(db, statement, print_row, NULL, NULL) == SQLITE_OK ? 0 : 1;
}

static int run_lines(sqlite3* db) {
  char line[4096];
  int failed = 0;

  while (fgets(line, sizeof(line), stdin) != NULL) {
    int r = run(db, line);
    printf("%s%s\n", r == 0 ? "ok" : "error: ", r == 0 ? "" : sqlite3_errmsg(db));
    failed |= r;
    if (fflush(stdout) != 0)
      return 1;
  }
  return failed;
}

int main(int argc, char** argv) {
  sqlite3* db = NULL;
  int failed;
  int i;

  if (argc < 2) {
    fprintf(stderr, "usage: sql FILE [STATEMENT...]\n");
    return 2;
  }
  failed = sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK;
  if (!failed)
    sqlite3_busy_timeout(db, 5000);
  for (i = 2; !failed && i < argc; i++)
    failed = run(db, argv[i]);
  if (failed)
    fprintf(stderr, "sql: %s: %s\n", argv[1], db == NULL ? "out of memory" : sqlite3_errmsg(db));
  if (!failed && argc == 2)
    failed = run_lines(db);
  if (sqlite3_close(db) != SQLITE_OK || fflush(stdout) != 0)
    failed = 1;
  return failed;
}
