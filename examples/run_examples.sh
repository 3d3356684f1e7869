#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run every example that has an expected output and compare: examples/NAME, or examples/NAME/NAME, against
# examples/expected/NAME.out.
# By `make check`, or by hand in the build directory.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
bin=${top_builddir:-.}/examples
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

for expected in "$here"/expected/*.out; do
  name=$(basename "$expected" .out)
  program=$bin/$name
  [ ! -d "$program" ] || program=$program/$name
  "$program" >"$work/out" 2>"$work/err"
  code=$?
  if [ $code -eq 0 ] && [ ! -s "$work/err" ] && cmp -s "$expected" "$work/out"; then
    echo "ok - $name"
    continue
  fi
  echo "not ok - $name: exit code $code"
  cat "$work/err"
  diff -u "$expected" "$work/out"
  failed=$((failed + 1))
done
[ $failed -eq 0 ] || echo "$failed failed"
[ $failed -eq 0 ]
