#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Each installed header compiles alone, twice in one file, as C with -pedantic and as C++17, without a warning.
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

compiles() { # compiles HEADER NAME-OF-SOURCE COMPILER FLAG...
  header=$1 source=$2
  shift 2
  printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$header" "$header" >"$work/$source"
  echo "$*: $header"
  "$@" -Werror -Wall -Wextra -Wundef -fsyntax-only -I"$srcdir/include" -Iinclude "$work/$source" || failed=1
}

for header in uvch.h $(cd "$srcdir/include" && ls uvch/*.h) uvch/version.h; do
  # CC and the like may hold several words.
  # shellcheck disable=SC2086
  {
    compiles "$header" header.c ${CC:-cc} ${LIBUV_CFLAGS:-} -std=c11 -D_POSIX_C_SOURCE=200809L -pedantic -Wstrict-prototypes
    [ -z "${CXX:-}" ] || compiles "$header" header.cc $CXX ${LIBUV_CFLAGS:-} -std=c++17 -pedantic
  }
done
[ -n "${CXX:-}" ] || echo "no C++ compiler: not tried as C++17"
exit $failed
