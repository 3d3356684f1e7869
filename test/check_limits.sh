#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The short examples where a thread cannot be made, and where descriptors run out: an error message and an exit code, no signal and
# no waiting for ever. By `make check`, or by hand in the build directory.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
bin=$(cd "${top_builddir:-.}" && pwd)/examples || exit 1
limit_seconds=20
# shellcheck source=test/drive.sh
source "$here/drive.sh"

# shellcheck disable=SC2086
${CC:-cc} -shared -fPIC -o preload.so "$here/limits_preload.c" -ldl 2>err || { cat err; exit 77; }

# run PROGRAM VARIABLE=NUMBER: its exit code.
run() {
  env LD_PRELOAD="$work/preload.so" UVCH_LIMIT_PROGRAM="${1##*/}" "$2" ${limit[@]+"${limit[@]}"} "$1" >out 2>err </dev/null
}

# Another C library cannot use it, and under an emulator the linker of the emulator itself would get it.
env LD_PRELOAD="$work/preload.so" true 2>err
if [ -s err ]; then cat err; exit 77; fi
run "$bin/hello" UVCH_LIMIT_THREAD=0 || { echo "nothing can be preloaded into the programs" >&2; exit 77; }

# clear_error CODE: what a program that has failed should say.
clear_error() { [ "$1" -gt 0 ] && [ "$1" -lt 124 ] && [ -s err ]; }

# fails_clearly NAME PROGRAM VARIABLE FIRST: with VARIABLE = FIRST, FIRST + 1, ... until it works.
fails_clearly() {
  local n code errors=0
  for ((n = $4; n < $4 + 100; n++)); do
    code=0
    run "$2" "$3=$n" || code=$?
    [ $code -ne 0 ] || break
    errors=$((errors + 1))
    clear_error $code || { not_ok "$1, $n" "exit code $code"; return; }
  done
  is "$1: it failed, and then it works" "$((errors > 0)) $code" "1 0"
}

for expected in "$here"/../examples/expected/*.out; do
  name=$(basename "$expected" .out)
  program=$bin/$name
  [ ! -d "$program" ] || program=$program/$name
  fails_clearly "$name: a thread cannot be made" "$program" UVCH_LIMIT_THREAD 1
  # libuv itself aborts without its first three, or four since 1.45 (an io_uring), after the three that there always are.
  fails_clearly "$name: no more descriptors" "$program" UVCH_LIMIT_DESCRIPTORS 7
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
