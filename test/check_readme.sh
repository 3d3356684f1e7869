#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The program in README.md is examples/hello.c, and its output is the expected one.
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}

block() { # block LANGUAGE: the first code block of that language
  awk -v start="\`\`\`$1" '$0 == start { inside = 1; next } /^```/ && inside { exit } inside' "$srcdir/README.md"
}
block c | diff - "$srcdir/examples/hello.c"
block text | diff - "$srcdir/examples/expected/hello.out"
