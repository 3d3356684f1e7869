#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The first program in README.md is examples/hello.c, and its output is the expected one. The actor, the chat and the settings in it
# compile without a warning.
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}

block() { # block LANGUAGE [HEADING]: the first code block of that language, from that heading on
  awk -v start="\`\`\`$1" -v heading="${2:-# uvch}" '
    $0 == heading { seen = 1 } seen && $0 == start { inside = 1; next } /^```/ && inside { exit } inside' "$srcdir/README.md"
}
block c | diff - "$srcdir/examples/hello.c"
block text | diff - "$srcdir/examples/expected/hello.out"

compiles() { # compiles HEADING FUNCTION: the first code below that heading, which calls that function
  code=$(block c "$1")
  case $code in *"$2("*) ;; *) echo "README.md: no call of $2 below $1"; exit 1 ;; esac
  # CC and the like may hold several words.
  # shellcheck disable=SC2086
  printf '#include <stdio.h>\n#include <uvch.h>\n%s\n' "$code" |
    ${CC:-cc} ${LIBUV_CFLAGS:-} -std=c11 -D_POSIX_C_SOURCE=200809L -I"$srcdir/include" -Iinclude \
      -Werror -Wall -Wextra -Wpedantic -fsyntax-only -xc -
}
compiles '## Request and reply' uvch_call
compiles '## News for all' uvch_broadcast_subscribe
compiles '## The newest value, everywhere' uvch_watch_subscribe
