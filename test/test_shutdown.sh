#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The shutdown example: to its own end, drained, and forced. By `make check`, or by hand in the build directory.
#
#   UVCH_SHUTDOWN_ROUNDS   how often it is drained at some moment or other (10)
#   UVCH_SHUTDOWN_RUN      a command to run the program with, say valgrind
set -u
export LC_ALL=C

rounds=${UVCH_SHUTDOWN_ROUNDS:-10}
read -r -a command <<<"${UVCH_SHUTDOWN_RUN:-}"
command+=("$(cd "${top_builddir:-.}" && pwd)/examples/shutdown/shutdown")

# A prime that takes long, the next number, which takes no time, and then many that take long.
prime=17509995351216488447
after_prime=17509995351216488448

limit_seconds=300
. "$(dirname "$0")/drive.sh" || exit 1

# run ARGUMENT...: the program to its end, its output in out and err, its exit code in $code.
run() {
  ${limit[@]+"${limit[@]}"} "${command[@]}" "$@" >out 2>err
  code=$?
}

# says SENTENCE CODE PATTERN ARGUMENT...: it ends by itself, with that exit code and that on standard error.
says() {
  local sentence=$1 wanted=$2 pattern=$3
  shift 3
  run "$@"
  if [ "$code" = "$wanted" ] && grep -q -- "$pattern" err && [ ! -s out ]; then
    ok "$sentence"
  else
    not_ok "$sentence" "got code $code" "wanted $wanted and: $pattern"
  fi
}

# start ARGUMENT...: it in the background as process $pid.
start() {
  : >out
  : >err
  "${command[@]}" "$@" >out 2>>err &
  pid=$!
  pids+=("$pid")
}

# await: its end; its exit code in $code.
await() {
  wait "$pid"
  code=$?
}

# taken: the numbers that it took, by its summary.
taken() { sed -n 's/^shutdown: \([0-9]*\) numbers taken,.*/\1/p' err; }

# adds_up FILE: whether the summary counts the lines of FILE as printed, and every number that was taken, some of them as undone.
adds_up() {
  sed -n 's/^shutdown: \([0-9]* numbers taken.*\)/\1/p' err | tr -d ',:' | awk -v lines="$(grep -c '^[0-9]*:.*$' "$1")" '
    NF == 17 && $4 == lines && $1 == $4 + $6 && $6 == $9 + $12 + $15 && $6 > 0 { good++ }
    END { print good + 0 }'
}

# right FILE: how many lines of FILE are wrong, or there a second time.
right() {
  sort -n "$1" >sorted
  cut -d: -f1 sorted | factor | cmp -s - sorted && [ "$(sort -u sorted | wc -l)" -eq "$(wc -l <sorted)" ]
  echo $?
}

#
# The command line
#

if [ ! -x "${command[-1]}" ]; then
  echo "not ok - ${command[-1]} is built"
  exit 1
fi
if [ "$(echo 12 | factor 2>/dev/null)" != "12: 2 2 3" ]; then
  echo "no factor here (GNU coreutils)"
  exit 77
fi

run --help
is "--help answers on standard output" "$code $(head -n 1 out) $(wc -c <err | tr -d ' ')" \
  "0 usage: shutdown [options] FIRST [LAST] 0"
run --version
is "--version answers on standard output" "$code $(wc -l <out | tr -d ' ') $(wc -c <err | tr -d ' ')" "0 1 0"
says "an unknown option is refused" 2 frobnicate --frobnicate 1
says "a number has to be there" 2 'FIRST is missing'
says "a third number is refused" 2 'takes two numbers at most' 1 2 3
for number in 0 -1 x 1x '' 18446744073709551616; do
  says "'$number' is no first number" 2 "FIRST: '$number' is not a number from 1 to 18446744073709551615" -- "$number"
done
says "the last number is not below the first" 2 "LAST: '4' is not a number from 5" 5 4
says "no workers are refused" 2 "--workers: '0' is not a number" --workers 0 1
says "a channel without room is refused" 2 "--capacity: '0' is not a number" --capacity 0 1
"${command[@]}" 1 2 >&- 2>err
is "a closed output is an error" "$? $(cat err)" "1 shutdown: standard output is nothing that can be written to"

#
# To the end
#

run 1 3000
is "all numbers are taken apart" "$code $(wc -l <out | tr -d ' ') $(right out) $(cat err)" \
  "0 3000 0 shutdown: 3000 numbers taken, none left undone"
run --workers 16 --capacity 1 1 3000
is "with many workers and little room as well" "$code $(wc -l <out | tr -d ' ') $(right out)" "0 3000 0"
run --workers 1 --capacity 1000000 3000 6000
is "with one worker and much room, too, and then the order stays" "$code $(wc -l <out | tr -d ' ') $(seq 3000 6000 | factor | cmp - out)" \
  "0 3001 "
run 7 7
is "one number for several workers" "$code $(cat out) $(taken)" "0 7: 7 1"
run 9223372036854775808 9223372036854775808
is "the number with the most primes" "$code $(factor <<<9223372036854775808 | cmp - out)" "0 "
run 18446744073709551615
is "the largest number" "$code $(cat out)" "0 18446744073709551615: 3 5 17 257 641 65537 6700417"
run 18446744065119617025 18446744065119617025
is "the largest square" "$code $(cat out)" "0 18446744065119617025: 3 3 5 5 17 17 257 257 65537 65537"
"${command[@]}" 1 3000 2>err | cat >out
is "the output may be a pipe" "${PIPESTATUS[0]} $(wc -l <out | tr -d ' ') $(right out) $(taken)" "0 3000 0 3000"
"${command[@]}" 1 100000 2>err | head -n 3 >out
is "a reader that goes is a failure, and the end" "${PIPESTATUS[0]} $(wc -l <out | tr -d ' ') $(grep -c 'broken pipe' err)" "1 3 1"
if [ -w /dev/full ]; then
  "${command[@]}" 1 100000 >/dev/full 2>err
  is "an output that is full is a failure, and the end" "$? $(grep -c 'no space left' err) $(adds_up /dev/null)" "1 1 1"
  # The one that takes long is at work already, or waits, when the next one cannot be written.
  ${limit[@]+"${limit[@]}"} "${command[@]}" --workers 2 $prime 2>err >/dev/full
  is "then nobody goes on to compute for nothing" "$? $(grep -c 'no space left' err) $(adds_up /dev/null)" "1 1 1"
fi

#
# Drained
#

some() { [ "$(wc -l <out)" -ge "$1" ]; }
drained=0
for ((round = 1; round <= rounds; round++)); do
  start --workers $((round % 4 + 1)) --capacity $((round * round)) 1
  until_true some $((round * 10))
  if ((round % 2)); then kill -TERM "$pid"; else kill -INT "$pid"; fi
  await
  if [ "$code $(right out) $(grep -c ': draining; ' err)" = "0 0 1" ] && [ "$(taken)" = "$(wc -l <out | tr -d ' ')" ] &&
    in_file 'none left undone' err; then
    drained=$((drained + 1))
  else
    not_ok "round $round is drained" "code $code, $(wc -l <out) lines"
  fi
done
is "the first signal drains: each number that was taken is printed" "$drained" "$rounds"

# drain_slowly ARGUMENT...: from a state where one worker has work for long, to the first signal.
drain_slowly() {
  start "$@" --workers 2 $prime
  until_true in_file "^$after_prime: " out
  kill -TERM "$pid"
  until_true in_file ': draining; ' err
}

# begun: how many numbers were begun and not finished.
begun() { sed -n 's/.* \([0-9]*\) not finished,.*/\1/p' err; }

drain_slowly
kill -INT "$pid"
await
unfinished=$(begun)
is "a second signal forces" "$code $(grep -c 'SIGINT: forced' err)" "3 1"
is "what is left undone is counted, exactly" "$(adds_up out)" "1"
is "what was printed is right" "$(right out)" "0"
drain_slowly --capacity 1 --deadline 0
kill -TERM "$pid"
await
unfinished=$((unfinished + $(begun)))
is "the same signal twice will do" "$code $(grep -c 'SIGTERM: forced' err) $(adds_up out)" "3 1 1"
drain_slowly --deadline 1
await
unfinished=$((unfinished + $(begun)))
is "the deadline forces" "$code $(grep -c 'the time is over: forced' err) $(adds_up out)" "3 1 1"
is "work that takes long is given up in the middle" "$((unfinished > 0))" "1"

#
# Forced, with an output that nobody reads
#

mkfifo pipe
exec 3<>pipe
: >err
"${command[@]}" --deadline 0 1 >pipe 2>>err 3>&- &
pid=$!
pids+=("$pid")
# is_full: whether the pipe has no room even for a line of ours.
is_full() { ! echo '#' | dd of=/dev/fd/3 oflag=nonblock status=none 2>/dev/null; }
until_true is_full
kill -TERM "$pid"
until_true in_file ': draining; ' err
kill -TERM "$pid"
await
exec 4<pipe 3>&-
cat <&4 | grep -v '^#' >out
exec 4<&-
is "an output that does not go on does not hold up a forced end" "$code $(grep -c 'SIGTERM: forced' err)" "3 1"
is "what is not in the pipe to its last byte is not printed" "$(adds_up out) $(right out)" "1 0"

echo "1..$((passed + failed))"
echo "# $passed passed, $failed failed"
[ $failed -eq 0 ]
