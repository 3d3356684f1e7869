#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh PREFIX: a C and a C++ program against the library that is installed there, shared and static, found by pkg-config alone, and
# in other standards of the languages.
# One line for each check, "ok" or "not ok"; the exit code is 0 if all are ok.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=${1:?usage: run.sh PREFIX}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

PKG_CONFIG_PATH=$prefix/lib/pkgconfig
LD_LIBRARY_PATH=$prefix/lib
export PKG_CONFIG_PATH LD_LIBRARY_PATH

ok() { # ok NAME COMMAND...: run a command, its output only if it fails
  label=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    echo "ok      $label"
  else
    echo "not ok  $label"
    sed 's/^/        /' "$work/output"
    failed=1
  fi
}

# Called through ok.
# shellcheck disable=SC2317
{
  says_it() { test "$("$1")" = "1000 messages, sum 500500, 1 end"; }
  uses_shared() { ldd "$1" | grep -q "$prefix/lib/libuvch.so"; }
  uses_static() { ! ldd "$1" | grep -q libuvch; }
  pages() {
    for name in $(nm -D --defined-only "$prefix/lib/libuvch.so" | sed -n 's/.* T \(uvch_[a-z0-9_]*\).*/\1/p'); do
      test -r "$prefix/share/man/man3/$name.3" || { echo "no page for $name"; return 1; }
    done
    test -r "$prefix/share/man/man7/uvch.7"
  }
  one_version() {
    header=$(sed -n 's/^#define UVCH_VERSION_STRING "\(.*\)"/\1/p' "$prefix/include/uvch/version.h")
    test -n "$header" && test "$header" = "$(pkg-config --modversion uvch)"
  }
}

consumer() { # consumer NAME shared|static COMPILER...
  name=$1 kind=$2
  shift 2
  ok "$name: compile" "$@" -o "$work/consumer"
  ok "$name: links the $kind library" "uses_$kind" "$work/consumer"
  ok "$name: run" says_it "$work/consumer"
}

warnings="-Wall -Wextra -Wpedantic -Werror"
cflags=$(pkg-config --cflags uvch)
shared=$(pkg-config --libs uvch)
static="-L$prefix/lib -Wl,-Bstatic -luvch -Wl,-Bdynamic $(pkg-config --libs libuv)"
c="${CC:-cc} $warnings $cflags $here/consumer.c"
cxx="${CXX:-c++} -pthread $warnings $cflags $here/consumer.cc"

# These are several words each.
# shellcheck disable=SC2086
{
  consumer "C, shared" shared $c -std=gnu11 $shared
  consumer "C, static" static $c -std=gnu11 $static
  consumer "C++, shared" shared $cxx -std=c++17 $shared
  consumer "C++, static" static $cxx -std=c++17 $static
  for standard in c11 c17 c2x; do
    consumer "$standard" shared $c -D_POSIX_C_SOURCE=200809L -std=$standard $shared
  done
  for standard in c++11 c++14 c++20; do
    consumer "$standard" shared $cxx -std=$standard $shared
  done
}
ok "a man page for every function" pages
ok "one version in uvch.pc and version.h" one_version

exit $failed
