#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The stress program: a short run, what it says to wrong arguments and to Ctrl-C, and whether it finds bugs that are put in. By
# `make check`, or by hand in the build directory.
#
#   UVCH_TEST_SCALE   makes the run so many times as long
#   UVCH_TEST_SEED    the seed of all that is drawn
set -u
export LC_ALL=C

program=$(cd "${top_builddir:-.}" && pwd)/test/stress/stress
messages=$(awk -v scale="${UVCH_TEST_SCALE:-1}" 'BEGIN { n = int(120000 * scale); print n < 2000 ? 2000 : n }')

limit_seconds=${UVCH_TEST_TIMEOUT:-600}
. "$(dirname "$0")/../drive.sh" || exit 1

# run ARGUMENT...: the program to its end, its output in out and err, its exit code in $code.
run() {
  ${limit[@]+"${limit[@]}"} "$program" "$@" >out 2>err
  code=$?
}

run --messages "$messages"
cat out
if [ "$code" = 0 ] && [ ! -s err ]; then
  ok "all that is sent comes out once, and each wait ends"
else
  not_ok "all that is sent comes out once, and each wait ends" "exit code $code"
fi
taken=$(sed -n 's/^\([0-9]*\) messages in .*/\1/p' out)
is "it goes on until there are as many messages as it was told" "$((${taken:-0} >= messages))" 1

run --help
is "--help tells what there is" "$code $(grep -c '^Usage: stress' out)" "0 1"

for wrong in "--messages 0" "--messages x" "--threads 1" "--threads" "--only oneshot" "--loud 1"; do
  # The words of it are apart.
  # shellcheck disable=SC2086
  run $wrong
  is "it refuses $wrong" "$code $(grep -c 'stress: wrong argument' err)" "2 1"
done

"$program" --messages 1000000000000 >out 2>err &
pids+=($!)
until_true in_file '^seed' out
kill -INT "${pids[0]}"
wait "${pids[0]}"
is "Ctrl-C ends it with the totals" "$? $(grep -c 'messages in .*(interrupted)' out)" "0 1"

# finds BUG SENTENCE: operations in that function are torn, see yields.h. A message may be lost, and a wake-up.
finds() {
  UVCH_TEST_BUG=$1 run --messages 1000000000 --patience 2 --only mpsc
  if [ "$code" = 1 ] && grep -q '^ *thread 0: ' err; then
    ok "it finds $2"
  else
    not_ok "it finds $2" "exit code $code"
  fi
}

finds uvch__slot_publish "that publishing overlooks a receiver that parks"
finds uv_cond_signal "that a wake-up of a thread gets lost now and then"

echo "$((passed + failed)) checks, $failed failed"
[ "$failed" -eq 0 ]
