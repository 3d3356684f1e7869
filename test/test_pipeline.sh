#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The pipeline example from end to end. By `make check`, or by hand in the build directory.
#
#   UVCH_PIPELINE_LINES   lines of the large log (200000)
#   UVCH_PIPELINE_MB      size of the large input of the memory test; the small one has a tenth of it (40)
#   UVCH_PIPELINE_RUN     a command to run the pipeline with, say valgrind
set -u
export LC_ALL=C

bin=$(cd "${top_builddir:-.}" && pwd)/examples/pipeline
lines=${UVCH_PIPELINE_LINES:-200000}
megabytes=${UVCH_PIPELINE_MB:-40}
read -r -a command <<<"${UVCH_PIPELINE_RUN:-}"
command+=("$bin/pipeline")
work=$(mktemp -d) || exit 1
passed=0
failed=0
pids=()

clean_up() {
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do kill -KILL "$pid" 2>/dev/null; done
  rm -rf "$work"
}
trap clean_up EXIT
cd "$work" || exit 1

#
# Tools
#

# run ARGUMENT...: the pipeline, its output in out and err, its exit code in $code.
run() {
  "${command[@]}" "$@" >out 2>err
  code=$?
}

# start ARGUMENT...: the same in the background as process $pid, with a pipe as standard input, open for writing as descriptor 3.
start() {
  rm -f in
  mkfifo in
  exec 3<>in
  "${command[@]}" "$@" <in 3>&- >out 2>err &
  pid=$!
  pids+=("$pid")
}

# finish: close the pipe, wait for the end.
finish() {
  exec 3>&-
  await
}

await() {
  wait "$pid"
  code=$?
}

# query DB STATEMENT: the result, rows separated by spaces.
query() { "$bin/sql" "$@" 2>/dev/null | tr '\n' ' ' | sed 's/ $//'; }

# until_true COMMAND...: poll. What does not become true in a minute or more has failed, and there is no way on.
until_true() {
  local i
  for ((i = 0; i < 1200; i++)); do
    if "$@"; then return; fi
    sleep 0.05
  done
  not_ok "it comes to this: $*"
  exit 1
}

rows_are() { [ "$(query "$1" 'SELECT count(*) FROM log')" = "$2" ]; }
pipe_is_empty() { ! read -r -t 0 -u 3; }
in_file() { grep -q "$1" "$2" 2>/dev/null; }
word() { awk -v name="$1" '$1 == name { print $2 }' out; }

ok() {
  passed=$((passed + 1))
  echo "ok - $1"
}

not_ok() {
  failed=$((failed + 1))
  echo "not ok - $1"
  shift
  printf '# %s\n' "$@"
  sed 's/^/# stderr: /' err
}

# is SENTENCE GOT WANTED
is() {
  if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "got:    $2" "wanted: $3"; fi
}

# says SENTENCE CODE PATTERN: the exit code, one line on standard error that holds the pattern.
says() {
  if [ "$code" = "$2" ] && [ "$(wc -l <err)" -eq 1 ] && grep -q "$3" err; then
    ok "$1"
  else
    not_ok "$1" "got code $code" "wanted $2 and: $3"
  fi
}

skip() { echo "ok - $1 # SKIP $2"; }

# log_lines N: well-formed ones of all kinds.
log_lines() {
  awk -v n="$1" 'BEGIN {
    for (i = 1; i <= n; i++) {
      t = sprintf("2023-%02d-%02d %02d:%02d:%02d", i % 12 + 1, i % 28 + 1, i % 24, i % 60, i % 59)
      k = i % 8
      if (k == 0) print t " startup archives unpack"
      else if (k == 1) print t " install libfoo" i ":amd64 <none> 1:2.36-9+deb12u" i
      else if (k == 2) print t " status half-installed libfoo" i ":amd64 1:2.36-9"
      else if (k == 3) print t " upgrade bar-" i ":all 1.0-1 1.0-2~rc" i
      else if (k == 4) print t " configure libstdc++6:amd64 12.2.0-14 <none>"
      else if (k == 5) print t " conffile /etc/a dir/file." i " keep"
      else if (k == 6) print t " remove old" i " 2." i " <none>"
      else print t " trigproc man-db:amd64 2.11.2-2 <none>"
    }
  }'
}

#
# Well-formed and malformed lines
#

if [ ! -x "$bin/pipeline" ] || [ ! -x "$bin/sql" ]; then
  echo "not ok - $bin/pipeline and $bin/sql are built"
  exit 1
fi

line='2023-01-05 10:11:12 status installed libc6:amd64 2.36-9'

printf '%s\n' "$line" \
  '2023-01-05 10:11:12 startup archives unpack' \
  '2023-01-05 10:11:13 install foo:all <none> 1.0' \
  '2024-02-29 23:59:59 upgrade g++-12:i386 12.2.0-13 12.2.0-14~bpo1' \
  '2023-01-05 10:11:12 remove old-one 2:1.0 <none>' \
  '2023-01-05 10:11:12 conffile /etc/two words.d/x keep' >kinds.log
run --db kinds.db kinds.log
is "a log of well-formed lines is stored" "$code $(word lines) $(word rows) $(word malformed)" "0 6 6 0"
is "the parts of a line are in their columns" \
  "$("$bin/sql" kinds.db \
    'SELECT line, date, time, action, package, arch, old_version, new_version, state, file, detail FROM log')" \
  "1|2023-01-05|10:11:12|status|libc6|amd64||2.36-9|installed||
2|2023-01-05|10:11:12|startup|||||||archives unpack
3|2023-01-05|10:11:13|install|foo|all||1.0|||
4|2024-02-29|23:59:59|upgrade|g++-12|i386|12.2.0-13|12.2.0-14~bpo1|||
5|2023-01-05|10:11:12|remove|old-one||2:1.0||||
6|2023-01-05|10:11:12|conffile||||||/etc/two words.d/x|keep"
is "a quick run says nothing on standard error" "$(wc -c <err)" "0"
is "a part that is not there is NULL" "$(query kinds.db 'SELECT count(*) FROM log WHERE package IS NULL')" "2"

t='2023-01-05 10:11:12'
long=$(printf '%9000s' '' | tr ' ' x)
{
  printf '%s\n' "$line" '' "$t status installed $long 1.0"
  printf '%s status installed lib\0c6 2.36\n' "$t"
  printf '%s\tstatus installed libc6 2.36\n' "$t"
  printf '%s conffile /etc/\377\376 keep\n' "$t"
  printf '%s conffile /etc/caf\303\251 keep\n' "$t"
  printf '%s conffile /etc/\355\240\200 keep\n' "$t"
  printf '%s\n' '2023-02-29 10:11:12 startup archives unpack' '2023-13-01 10:11:12 startup archives unpack' \
    '2023-1-05 10:11:12 startup archives unpack' 'nonsense' '2023-01-05 24:00:00 startup archives unpack' \
    '2023-01-05 10:11:60 startup archives unpack' '2023-01-05 10:11 startup archives unpack' '2023-01-05' "$t" \
    "$t reboot now" "$t status installed libc6:amd64" "$t  status installed libc6 2.36" "$line " "$line more" \
    "$t startup archives" "$t startup engines unpack" "$t status happy libc6 2.36" "$t status installed lib/c6 2.36" \
    "$t status installed libc6:am_64 2.36" "$t status installed libc6: 2.36" "$t install libc6 <none> 2.36#9" \
    "$t conffile etc/relative keep" "$t conffile /etc/x maybe" "$t conffile keep"
} >bad.log
run --db bad.db bad.log
is "malformed lines leave the exit code alone" "$code" "0"
is "every malformed line is kept with its number and the reason" \
  "$("$bin/sql" bad.db 'SELECT line, reason FROM malformed')" \
  "2|empty line
3|too long
4|NUL byte
5|control character
6|invalid UTF-8
8|invalid UTF-8
9|bad date
10|bad date
11|bad date
12|bad date
13|bad time
14|bad time
15|bad time
16|missing field
17|missing field
18|unknown action
19|missing field
20|missing field
21|extra field
22|extra field
23|missing field
24|bad startup
25|bad state
26|bad package
27|bad arch
28|bad arch
29|bad version
30|bad file name
31|bad decision
32|missing field"
is "well-formed lines between malformed ones are stored" "$(query bad.db 'SELECT line FROM log')" "1 7"
is "a malformed line is kept as it was, bytes as bytes" \
  "$(query bad.db "SELECT typeof(text), hex(substr(text, 35, 2)) FROM malformed WHERE line = 6;
                   SELECT typeof(text), text FROM malformed WHERE line = 18")" \
  "blob|FFFE text|$t reboot now"

{
  printf '%s\r\n' "$line"
  printf '%s conffile /%s keep\n' "$t" "$(printf '%8157s' '' | tr ' ' x)"
  printf '%s conffile /%s keep\r\n' "$t" "$(printf '%8157s' '' | tr ' ' x)"
  printf '%s conffile /%s keep\n' "$t" "$(printf '%8158s' '' | tr ' ' x)"
  head -c 300000 /dev/zero | tr '\0' y
  printf '\n%s' "$line"
} >edges.log
run --db edges.db edges.log
is "the longest line is stored, one byte more is too long, CR LF ends a line, and so does the end of the file" \
  "$(query edges.db 'SELECT line, reason, length(text) FROM malformed; SELECT line FROM log')" \
  "4|too long|8192 5|too long|8192 1 2 3 6"
is "CR is no part of the line" "$(query edges.db 'SELECT new_version FROM log WHERE line = 1')" "2.36-9"

#
# Sources
#

: >empty.log
run --db empty.db empty.log
is "an empty log is a run without lines" "$code $(word lines) $(query empty.db 'SELECT state, lines FROM run')" "0 0 complete|0"

run --db many.db kinds.log edges.log kinds.log
is "each of several files has its own line numbers" \
  "$code $(query many.db 'SELECT source, count(*), max(line) FROM log GROUP BY source')" "0 edges.log|4|6 kinds.log|12|6"
run --db many.db kinds.log
is "a second run adds to the database under its own number" \
  "$code $(query many.db 'SELECT run, count(*) FROM log GROUP BY run; SELECT id, state, rows, malformed FROM run')" \
  "0 1|16 2|6 1|complete|16|2 2|complete|6|0"

run --db pipe.db < <(cat kinds.log)
is "standard input is read where no log is named" \
  "$code $(query pipe.db 'SELECT DISTINCT source FROM log; SELECT count(*) FROM log')" "0 - 6"
run --db pipe.db edges.log - <kinds.log
is "standard input may be a file, and one of several" \
  "$code $(query pipe.db 'SELECT source, count(*) FROM log WHERE run = 2 GROUP BY source')" "0 -|6 edges.log|4"
mkfifo named
cat kinds.log >named &
pids+=("$!")
run --db named.db named
is "a log may be a named pipe" "$code $(query named.db 'SELECT count(*) FROM log')" "0 6"

start --db parts.db
for part in "$t sta" "tus installed li" "bc6:amd64 2.36-9"$'\n'"$t startup" " archives unpack"$'\n'; do
  printf %s "$part" >&3
  until_true pipe_is_empty
done
until_true rows_are parts.db 2
is "rows of a slow input are committed while it lasts" "$(query parts.db 'SELECT action FROM log; SELECT state FROM run')" \
  "status startup open"
finish
is "a line may come in parts" "$code $(query parts.db 'SELECT count(*) FROM log; SELECT count(*) FROM malformed')" "0 2 0"

#
# A large log
#

log_lines "$lines" | awk '
  NR % 1000 == 0 { print NR "|" "unknown action" >"large.want"; sub(/ [a-z]+ /, " frobnicate ") }
  NR % 1000 == 500 { print NR "|" "bad date" >"large.want"; sub(/-[0-9][0-9] /, "-32 ") }
  { print }' >large.log
bad=$(wc -l <large.want | tr -d ' ')
run --db large.db large.log
is "a large log is stored to the last line" "$code $(word lines) $(word rows) $(word malformed)" \
  "0 $lines $((lines - bad)) $bad"
is "the database holds what the summary says" \
  "$(query large.db 'SELECT count(*), count(DISTINCT line) FROM log; SELECT lines, rows, malformed FROM run')" \
  "$((lines - bad))|$((lines - bad)) $lines|$((lines - bad))|$bad"
"$bin/sql" large.db 'SELECT line, reason FROM malformed ORDER BY line' >large.got
if cmp -s large.want large.got; then
  ok "malformed lines of a large log have their numbers and reasons"
else
  not_ok "malformed lines of a large log have their numbers and reasons" "$(diff large.want large.got | head -n 5)"
fi
head -n 20000 large.log >middle.log
run --db narrow.db --capacity 1 --batch 97 middle.log
is "channels of capacity 1 and small transactions lose nothing" \
  "$code $(word lines) $(query narrow.db 'SELECT count(*) FROM log; SELECT count(*) FROM malformed')" "0 20000 19960 40"

#
# Wrong usage
#

run --db x.db --batch none kinds.log
is "a wrong number is refused" "$code $(grep -c "'none' is not a number" err)" "2 1"
run --frobnicate kinds.log
is "an unknown option is refused" "$code $(grep -c frobnicate err)" "2 1"
run kinds.log
is "a missing --db is refused" "$code $(grep -c -- '--db FILE is missing' err)" "2 1"
run --help
is "--help answers on standard output" "$code $(head -n 1 out)" "0 usage: pipeline [options] --db FILE [LOG...]"
run --version
is "--version answers on standard output" "$code $(wc -l <out | tr -d ' ')" "0 1"

#
# Inputs that cannot be read
#

run --db missing.db kinds.log missing.log
says "a missing log is named" 1 'missing.log: No such file'
if [ -e missing.db ]; then not_ok "a missing log leaves no database behind"; else ok "a missing log leaves no database behind"; fi
run --db dir.db .
says "a directory is no log" 1 'directory'
run --db closed.db <&-
says "a closed standard input is an error" 1 'standard input: Bad file'
if [ "$(id -u)" -ne 0 ]; then
  cp kinds.log secret.log
  chmod 000 secret.log
  run --db secret.db secret.log
  says "an unreadable log is named" 1 'secret.log: Permission denied'
else
  skip "an unreadable log is named" "root may read everything"
fi
if [ -r /proc/self/mem ]; then
  run --db error.db /proc/self/mem kinds.log
  says "a read error ends that log only" 1 '/proc/self/mem: i/o error'
  is "the logs after a read error are stored" "$(query error.db 'SELECT source, count(*) FROM log GROUP BY source')" "kinds.log|6"
else
  skip "a read error ends that log only" "no /proc/self/mem"
fi

#
# Databases that cannot be written
#

run --db nowhere/x.db kinds.log
says "a database in a missing directory is an error" 3 'nowhere/x.db: cannot open: .*No such file'
run --db . kinds.log
says "a directory is no database" 3 'cannot open'
run --db kinds.log edges.log
says "a file that is no database is an error" 3 'kinds.log: cannot .*not a database'
is "a file that is no database is left alone" "$(wc -l <kinds.log | tr -d ' ')" "6"
cp kinds.db other.db
"$bin/sql" other.db 'DROP TABLE log' 'CREATE TABLE log (something)'
run --db other.db kinds.log
says "a table of the same name and another shape is an error" 3 'no column'
is "the run that could not use its tables is not there" "$(query other.db 'SELECT count(*) FROM run')" "1"
if [ "$(id -u)" -ne 0 ]; then
  cp kinds.db readonly.db
  chmod 444 readonly.db
  run --db readonly.db kinds.log
  says "a read-only database is an error" 3 'readonly.db: cannot write: .*readonly'
else
  skip "a read-only database is an error" "root may write everything"
fi

# lock DB: a process that locks the database and holds on to it until unlock.
lock() {
  rm -f lock.in lock.out
  mkfifo lock.in
  "$bin/sql" "$1" <lock.in >lock.out 3>&- &
  lock_pid=$!
  pids+=("$lock_pid")
  exec 4>lock.in
  echo 'BEGIN IMMEDIATE' >&4
  until_true in_file ok lock.out
}

unlock() {
  exec 4>&-
  wait "$lock_pid"
}

cp kinds.db locked.db
lock locked.db
run --db locked.db --timeout 50 kinds.log
says "a locked database is an error" 3 'locked.db: cannot write: database is locked'
unlock
is "nothing of the refused run is stored" "$(query locked.db 'SELECT count(*) FROM run; SELECT count(*) FROM log')" "1 6"

start --db late.db --timeout 50 --batch 6
cat kinds.log >&3
until_true rows_are late.db 6
lock late.db
cat kinds.log kinds.log >&3
await
says "a database that is locked later ends the run, though the input is silent and open" 3 'database is locked'
exec 3>&-
unlock
is "what was committed before the failure stays, whole" \
  "$(query late.db 'SELECT count(*) FROM log; SELECT state, rows FROM run; PRAGMA integrity_check')" "6 open|6 ok"
is "the summary after a failure counts what is stored" "$(word rows)" "6"

# stored_is_whole SENTENCE DB BATCH: an intact database with whole transactions only, as many rows as its run says, and some.
stored_is_whole() {
  local got
  got=$(query "$2" "PRAGMA integrity_check" \
    "SELECT rows + malformed = lines AND lines % $3 = 0 AND lines > 0, state FROM run WHERE id = 1" \
    "SELECT (SELECT count(*) FROM log) = rows AND (SELECT count(*) FROM malformed) = malformed FROM run WHERE id = 1")
  is "$1" "$got" "ok 1|open 1"
}

run --db full.db --max-pages 200 --batch 1000 --interval 3600000 large.log
says "a full database is an error" 3 'full.db: cannot write: database or disk is full'
stored_is_whole "a full database holds whole transactions" full.db 1000
run --db full.db kinds.log
is "a database that was full takes another run once there is room" \
  "$code $(query full.db 'SELECT rows FROM run WHERE id = 2')" "0 6"

# A real full disk, where the system lets us mount a small one.
mkdir disk
private=(unshare -m)
[ "$(id -u)" -eq 0 ] || private+=(-r)
if "${private[@]}" mount -t tmpfs -o size=1m none disk 2>/dev/null; then
  # shellcheck disable=SC2016
  "${private[@]}" bash -c 'mount -t tmpfs -o size=1m none disk || exit 99
    "$@" --db disk/x.db --batch 1000 --interval 3600000 large.log >out 2>err
    code=$?
    cp disk/* .
    exit $code' - "${command[@]}"
  code=$?
  says "a full disk is an error" 3 'x.db: cannot write: database or disk is full'
  stored_is_whole "a full disk holds whole transactions" x.db 1000
else
  skip "a full disk is an error" "cannot mount a small one here"
fi

if [ -w /dev/full ]; then
  "${command[@]}" --db stdout.db kinds.log >/dev/full 2>err
  code=$?
  says "a summary that cannot be written is an error" 4 'standard output: No space'
  is "a summary that cannot be written costs no row" "$(query stdout.db 'SELECT state, rows FROM run')" "complete|6"
else
  skip "a summary that cannot be written is an error" "no /dev/full"
fi

#
# Signals
#

# Transactions of 1000 lines and no timer: the last 500 lines are read and not committed when the signal comes.
start --db int.db --batch 1000 --interval 3600000
{ log_lines 2500; printf '2023-01-05 10:1'; } >&3
until_true rows_are int.db 2000
until_true pipe_is_empty
kill -INT "$pid"
await
exec 3>&-
is "Ctrl-C ends the run with code 130" "$code" "130"
is "Ctrl-C commits every line that was read, and nothing of the line that was begun" \
  "$(query int.db 'SELECT count(*), max(line) FROM log; SELECT count(*) FROM malformed; SELECT state, lines FROM run')" \
  "2500|2500 0 interrupted|2500"
is "the summary after Ctrl-C is there and right" "$(word lines) $(word rows) $(word malformed)" "2500 2500 0"
is "Ctrl-C is no error message" "$(wc -c <err)" "0"

start --db term.db --interval 10
cat kinds.log >&3
until_true rows_are term.db 6
kill -TERM "$pid"
kill -TERM "$pid" 2>/dev/null # a second one changes nothing
await
exec 3>&-
is "SIGTERM stops as cleanly" "$code $(query term.db 'SELECT count(*) FROM log; SELECT state FROM run')" "143 6 interrupted"

# In the middle of a file; how much of it is read by then is open, the rest has to fit together.
for i in 1 2 3 4 5; do cat large.log; done >huge.log
"${command[@]}" --db file.db --batch 1000 huge.log >out 2>err &
pid=$!
pids+=("$pid")
some_rows() { [ "$(query file.db 'SELECT rows > 0 FROM run')" = 1 ]; }
until_true some_rows
kill -INT "$pid"
await
got=$(query file.db "SELECT lines = $(word lines) AND lines = rows + malformed AND rows = $(word rows), state FROM run" \
  'SELECT (SELECT count(*) FROM log) = rows AND max(line) <= lines FROM run, log' 'PRAGMA integrity_check')
is "Ctrl-C in the middle of a file: database and summary agree" "$code $got" "130 1|interrupted 1 ok"

#
# The terminal
#

if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
  start --db quiet.db
  quiet_pid=$pid
  mkfifo tty.in
  exec 5<>tty.in
  TERM=vt100 script -qfec "'$bin/pipeline' --db tty.db tty.in" typescript </dev/null >/dev/null 2>&1 3>&- 5>&- &
  pid=$!
  pids+=("$pid")
  cat kinds.log >&3
  cat kinds.log >&5
  until_true in_file '6 lines .* rows/s .*chunks 0/16 .*batches 0/16' typescript
  ok "a long run shows its progress on a terminal"
  exec 5>&-
  await
  is "the summary follows on the terminal" "$code $(grep -c '^.*lines  *6' typescript)" "0 1"
  exec 3>&-
  pid=$quiet_pid
  await
  is "a run as long is silent where standard error is no terminal" "$code $(wc -c <err)" "0 0"
else
  skip "a long run shows its progress on a terminal" "no script(1)"
fi

#
# Memory
#

# feed MEGABYTES: that much log into the pipeline; the peak in kB.
feed() {
  rm -f memory.db
  while cat middle.log; do :; done 2>/dev/null | head -c $(($1 * 1000000)) | "${command[@]}" --db memory.db >out 2>err
  awk '$1 == "peak" { print $3 }' out
}

if grep -qaE '__(asan|tsan|msan)_init' "$bin/pipeline" "$bin/.libs/pipeline" 2>/dev/null || [ ${#command[@]} -gt 1 ]; then
  skip "memory does not grow with the input" "not under a sanitizer or another runner"
else
  small=$(feed $((megabytes / 10)))
  large=$(feed "$megabytes")
  echo "# peak memory: $small kB for $((megabytes / 10)) MB, $large kB for $megabytes MB"
  if [ "${small:-0}" -gt 0 ] && [ "${large:-0}" -gt 0 ] && [ $((large - small)) -lt 4096 ]; then
    ok "memory does not grow with the input"
  else
    not_ok "memory does not grow with the input" "$small kB, then $large kB"
  fi
fi

echo "1..$((passed + failed))"
echo "# $passed passed, $failed failed"
[ $failed -eq 0 ]
