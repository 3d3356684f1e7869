#!/bin/sh
# SPDX-License-Identifier: MIT
#
# doc/tokio-parity.md has a line for every row, once, and the functions and tests that it names exist. A row that still waits for
# its tests says "later".
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# function NAME, test PROGRAM:NAME
{
  sed -n '/global:/,/local:/s/^ *\(uvch_[a-z0-9_]*\);$/function \1/p' "$srcdir/src/uvch.map"
  for file in "$srcdir"/test/test_*.c "$srcdir"/test/fuzz/test_*.c; do
    program=$(basename "$file" .c)
    sed -n "s/^START_TEST(\([A-Za-z0-9_]*\)).*/test ${program#test_}:\1/p" "$file"
  done
} >"$work/names"

awk '
  function complain(row, text) {
    if (row in problems)
      text = problems[row] "; " text
    problems[row] = text
  }

  # Each name between backticks that looks like a function.
  function check_functions(row, cell,    part, n, i) {
    if (cell !~ /`uvch_/ && cell !~ /^ *none *$/)
      complain(row, "names no function")
    n = split(cell, part, "`")
    for (i = 2; i <= n; i += 2)
      if (part[i] ~ /^uvch_/ && !(("function " part[i]) in names))
        complain(row, part[i] " is not in src/uvch.map")
  }

  # PROGRAM: `NAME`, `NAME`; PROGRAM: `NAME`. Instead of all that: "none:" and why.
  function check_tests(row, cell,    group, groups, part, parts, program, i, k, found) {
    groups = split(cell, group, ";")
    for (i = 1; i <= groups; i++) {
      parts = split(group[i], part, "`")
      program = part[1]
      if (parts > 1 && program !~ /^ *[a-z0-9_]+: *$/)
        complain(row, "no program before " part[2])
      gsub(/[ :]/, "", program)
      for (k = 1; k <= parts; k++)
        if (k % 2 == 0 && ++found && !(("test " program ":" part[k]) in names))
          complain(row, "test_" program ".c has no test " part[k])
        else if (k % 2 == 1 && (" " part[k] " ") ~ /[^A-Za-z]later[^A-Za-z]/)
          complain(row, "tests come later")
    }
    if (!found && !(row in problems) && cell !~ /^ *none: /)
      complain(row, "names no test")
  }

  FNR == NR { names[$0]; next }
  !/^\|/ || /^\|-/ || /^\| row / { next }
  {
    n = split($0, cell, "|")
    row = cell[2]
    gsub(/ /, "", row)
    lines[row]++
    if (lines[row] > 1)
      complain(row, "is there twice")
    else if (n != 6 || cell[6] != "")
      complain(row, "has not 4 cells")
    else {
      check_functions(row, cell[4])
      check_tests(row, cell[5])
    }
  }

  function tell(row) {
    if (!(row in lines))
      complain(row, "is missing")
    if (row in problems)
      failed++
    print (row in problems ? "not ok - " row ": " problems[row] : "ok - " row)
    done[row]
  }

  END {
    split("FA 13 FB 53 FU 5 FO 17 FC 33 FW 36", kind, " ")
    for (k = 1; k in kind; k += 2)
      for (i = 1; i <= kind[k + 1]; i++)
        tell(kind[k] sprintf("%02d", i))
    for (row in lines)
      if (!(row in done)) {
        complain(row, "is no row")
        tell(row)
      }
    exit (failed > 0)
  }' "$work/names" "$srcdir/doc/tokio-parity.md"
