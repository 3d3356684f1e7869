#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The config example: what a file may say, and what becomes of its changes. By `make check`, or by hand in the build directory.
#
#   UVCH_CONFIG_CHANGES   changes of the file as fast as they can be made (200)
#   UVCH_CONFIG_RUN       a command to run the program with, say valgrind
set -u
export LC_ALL=C

changes=${UVCH_CONFIG_CHANGES:-200}
read -r -a command <<<"${UVCH_CONFIG_RUN:-}"
command+=("$(cd "${top_builddir:-.}" && pwd)/examples/config/config")
workers=3

. "$(dirname "$0")/drive.sh" || exit 1

# says SENTENCE CODE PATTERN ARGUMENT...: the program ends by itself, with that exit code and that on standard error.
says() {
  local sentence=$1 wanted=$2 pattern=$3 code
  shift 3
  ${limit[@]+"${limit[@]}"} "${command[@]}" "$@" >out 2>err
  code=$?
  if [ "$code" = "$wanted" ] && grep -q -- "$pattern" err && [ ! -s out ]; then
    ok "$sentence"
  else
    not_ok "$sentence" "got code $code" "wanted $wanted and: $pattern"
  fi
}

# start FILE: the program in the background as process $pid, its output in out and err; waits until all workers have settings.
start() {
  : >out
  : >err
  "${command[@]}" --settle 1 "$1" >out 2>>err &
  pid=$!
  pids+=("$pid")
  until_true all_have 1
}

# stop SENTENCE [SIGNAL]: it has to come with exit code 0.
stop() {
  kill "-${2:-TERM}" "$pid"
  wait "$pid"
  is "$1" "$?" "0"
}

# all_have VERSION: every worker has told that it uses it.
all_have() { [ "$(count "^worker [0-9]: version $1: " out)" -eq $workers ]; }

# replace FILE TEXT: another file takes the name, as with an editor that is careful. TEXT is a format of printf.
replace() {
  # shellcheck disable=SC2059
  printf "$2" >"$1.new"
  mv "$1.new" "$1"
}

# uses VERSION: what the workers say about it, once if all say the same.
uses() { sed -n "s/^worker [0-9]: \(version $1: .*\)/\1/p" out | sort -u; }

#
# The command line
#

if [ ! -x "${command[-1]}" ]; then
  echo "not ok - ${command[-1]} is built"
  exit 1
fi

"${command[@]}" --help >out 2>err
is "--help answers on standard output" "$? $(head -n 1 out) $(wc -c <err | tr -d ' ')" "0 usage: config [options] FILE 0"
"${command[@]}" --version >out 2>err
is "--version answers on standard output" "$? $(wc -l <out | tr -d ' ') $(wc -c <err | tr -d ' ')" "0 1 0"
says "an unknown option is refused" 2 frobnicate --frobnicate x.conf
says "a file has to be named" 2 'FILE is missing'
says "an empty name is none" 2 'FILE is missing' ''
says "a second file is refused" 2 "takes one FILE: 'y.conf'" x.conf y.conf
says "a number that is none is refused" 2 "--settle: '1x' is not a number" --settle 1x x.conf

#
# The start
#

says "without the file there is no start" 1 '^config: missing.conf: no such file or directory$' missing.conf
says "without its directory neither" 1 'missing/x.conf: cannot watch its directory: no such file or directory' missing/x.conf
mkdir directory
says "a directory is no file" 1 'directory: not a regular file' directory
mkfifo pipe
says "a pipe is no file, and nobody waits for it" 1 'pipe: not a regular file' pipe
if [ "$(id -u)" -ne 0 ]; then
  echo 'greeting = hello' >secret.conf
  chmod 000 secret.conf
  says "a file that may not be read is an error" 1 'secret.conf: permission denied' secret.conf
else
  echo "ok - a file that may not be read is an error # SKIP root may read everything"
fi

# refuses SENTENCE LINE PATTERN TEXT: that file, with that line. TEXT is a format of printf.
refuses() {
  replace bad.conf "$4"
  says "$1" 1 "^config: bad.conf:$2: $3" bad.conf
}
refuses "an empty file has no greeting" 1 "the file ends, and 'greeting' is not set" ''
refuses "the last line is the one that lacks something" 3 "the file ends, and 'greeting'" '# hello\n\nlimit = 3\n'
refuses "an unknown key is refused" 2 "there is no 'colour'; there are log, interval, limit, greeting, farewell" \
  'greeting = hello\ncolour = red\n'
refuses "keys are written small" 1 "there is no 'Greeting'" 'Greeting = hello\n'
refuses "a line without = is refused" 2 "'interval 5' is not KEY = VALUE" 'greeting = hello\ninterval 5\n'
refuses "a line without a key is refused" 1 "there is no ''" '= hello\n'
refuses "a value has to be there" 1 "'greeting' has no value" 'greeting =  \t\n'
refuses "a key comes once" 4 "'limit' is set a second time, after line 2" 'greeting = a\nlimit = 3\n\nlimit = 3\n'
refuses "an unknown level is refused" 1 "log: 'loud' is not one of quiet, info, debug" 'log = loud\ngreeting = a\n'
for number in 0 3600001 -1 +1 1.5 1x x 0x10 99999999999999999999 '1 2'; do
  refuses "an interval of '$number' is refused" 2 "interval: '$number' is not a number from 1 to 3600000" \
    "greeting = hello\ninterval = $number\n"
done
refuses "a limit has a bound" 1 "limit: '1000001' is not a number from 0 to 1000000" 'limit = 1000001\n'
refuses "half a file is refused" 2 'the line has no end' 'limit = 3\ngreeting = hel'
refuses "what commands a terminal is refused" 1 'the line has a control character' 'greeting = \033[2J\n'
refuses "a NUL byte is refused" 2 'the line has a control character' '\ngreeting = a\000b\n'
refuses "a CR in a line is refused" 1 'the line has a control character' 'greeting = a\rb\n'
refuses "a long line is refused" 1 'the line has more than 1000 bytes' "$(printf '# %999s' '')\\n"

{ echo 'greeting = hello' && head -c 70000 /dev/zero | tr '\0' '\n'; } >large.conf
says "a file that is too large is refused" 1 'large.conf: file is too large' large.conf
{ echo 'greeting = hello' && head -c $((65536 - 17)) /dev/zero | tr '\0' '\n'; } >large.conf
start large.conf
stop "a file of 65536 bytes is none"

replace crlf.conf '\t# notes\r\n\r\n  log=quiet\r\n interval\t= 3600000 \r\ngreeting = = hello #  = \r\nlimit=1000000\r\n'
start crlf.conf
is "blanks do not matter, nor CR LF; a value may hold what it likes" "$(uses 1)" \
  "version 1: log quiet, interval 3600000 ms, limit 1000000, greeting '= hello #  ='"
stop "SIGINT is a clean end" INT
is "who has no farewell says none" "$(wc -l <out | tr -d ' ') $(wc -c <err | tr -d ' ')" "$workers 0"
replace least.conf "greeting = $(printf '%989s' '' | tr ' ' x)\\n"
start least.conf
is "only the greeting has to be there; a line may have 1000 bytes" "$(uses 1 | sed 's/x*//g')" \
  "version 1: log info, interval 1000 ms, limit 0, greeting ''"
stop "SIGTERM is a clean end" TERM

#
# Changes
#

# all_greet GREETING TIMES: every worker, that often in all.
all_greet() { [ "$(count "^worker [0-9]: $1" out)" -eq $((workers * $2)) ]; }

replace x.conf 'greeting = one\ninterval = 1\nlimit = 3\nfarewell = bye\n'
start x.conf
until_true all_greet one 3
is "the workers use what the file says" "$(uses 1)" "version 1: log info, interval 1 ms, limit 3, greeting 'one'"
replace x.conf 'greeting = two\ninterval = 2\nlimit = 5\nfarewell = bye\n'
until_true all_greet two 5
is "a file that takes the name of the old one is followed" "$(uses 2)" \
  "version 2: log info, interval 2 ms, limit 5, greeting 'two'"
# In one write: the shell writes line by line, and half a file can be a good one.
printf 'greeting = three\ninterval = 1\nlimit = 4\nlog = debug\nfarewell = bye\n' >three.conf
cat three.conf >x.conf
until_true all_greet three 4
is "a file that is written in its place is followed" "$(uses 3)" \
  "version 3: log debug, interval 1 ms, limit 4, greeting 'three'"
is "with debug more is told" "$(count 'three (version 3, number 4)$' out)" "$workers"
mv x.conf x.conf~
replace x.conf 'greeting = four\ninterval = 1\nlimit = 2\nfarewell = bye\n'
until_true all_greet four 2
ok "a file that is moved away for a new one is followed"
echo '# the end' >>x.conf
until_true all_have 5
ok "a line more is a change"
until_true all_greet four 4
lines=$(wc -l <out)
: >err
echo 'greeting = five' >>x.conf
until_true in_file '.' err
is "a bad file is told with its line and the reason" "$(cat err)" \
  "config: x.conf:6: 'greeting' is set a second time, after line 1; the settings stay as they are"
: >err
rm x.conf
until_true in_file '.' err
is "a file that is gone is told" "$(cat err)" "config: x.conf: no such file or directory; the settings stay as they are"
: >err
replace x.conf 'greeting = six\ninterval = 3600000\nlog = loud\n'
until_true in_file '.' err
is "a bad file that comes back is told" "$(cat err)" \
  "config: x.conf:3: log: 'loud' is not one of quiet, info, debug; the settings stay as they are"
is "neither of these changes what the workers do" "$(wc -l <out)" "$lines"
replace x.conf 'greeting = six\ninterval = 1\nlog = quiet\nfarewell = bye\n'
until_true all_have 6
ok "a good file is the next version, and bad ones were none"
cp x.conf x.new && mv x.new x.conf
touch x.conf other.conf
rm other.conf
replace x.conf 'greeting = seven\ninterval = 3600000\nfarewell = bye\n'
until_true in_file "greeting 'seven'" out
until_true all_have 7
ok "the same bytes are no change, and other files are none either"

kill -USR1 "$pid"
seven_with() { [ "$(count "version 7: log $1, interval 3600000 ms, limit 0, greeting 'seven'" out)" -eq "$2" ]; }
until_true seven_with debug $workers
kill -USR1 "$pid"
until_true seven_with quiet $workers
kill -USR1 "$pid"
until_true seven_with info $((2 * workers))
ok "SIGUSR1 turns the log, and nothing else"
kill -HUP "$pid"
until_true all_have 8
is "SIGHUP reads the file once more" "$(uses 8 | sed 's/version 8//')" "$(uses 7 | sed -n 's/version 7\(: log info.*\)/\1/p')"
: >err
stop "with the end"
is "every worker says its farewell as its last word" "$(tail -n $workers out | sort)" "worker 1: bye
worker 2: bye
worker 3: bye"
is "a worker uses the newest settings only, each greeting as often as it should" \
  "$(awk '
    $3 == "version" { version[$2] = $4; next }
    $3 == "bye" { next }
    { said[$2 " " $3 " " version[$2]]++ }
    END { for (i in said) print i, said[i] }' out | sort)" \
  "$(for i in 1 2 3; do
    for line in 'four 4: 2' 'four 5: 2' 'one 1: 3' 'three 3: 4' 'two 2: 5'; do echo "$i: $line"; done
  done)"

# As it is done in containers: a link to a file below a link to a directory, and that is what changes.
mkdir -p mount/v1 mount/v2
echo 'greeting = one' >mount/v1/x.conf
echo 'greeting = two' >mount/v2/x.conf
ln -s v1 mount/data
ln -s data/x.conf mount/x.conf
start mount/x.conf
ln -sfn v2 mount/data
until_true in_file "greeting 'two'" out
ok "a link is followed when it leads elsewhere"
printf 'greeting = %s\n' three >mount/v2/x.conf
until_true in_file "greeting 'three'" out
ok "and when the file there changes"
stop "with a link"

replace fast.conf 'greeting = g0\ninterval = 3600000\n'
start fast.conf
for ((i = 1; i <= changes; i++)); do replace fast.conf "greeting = g$i\ninterval = 3600000\n"; done
all_at_last() { [ "$(count "greeting 'g$changes'" out)" -eq $workers ]; }
until_true all_at_last
stop "with many changes"
is "of many changes every worker sees the last, and none in the wrong order" \
  "$(awk -v changes="$changes" '
    { n = substr($NF, 3) + 0; bad += n < last[$2] || $4 + 0 <= version[$2]; last[$2] = n; version[$2] = $4 + 0 }
    END { for (i in last) bad += last[i] != changes; print bad + 0, $4 + 0 <= changes + 1 }' out) $(wc -c <err | tr -d ' ')" "0 1 0"
echo "# $changes changes came as $(count '^worker 1: version' out) versions"

# Its reader goes when all workers have settings, so the farewells find nobody.
replace x.conf 'greeting = hello\ninterval = 3600000\nfarewell = bye\n'
mkfifo reader
: >err
(
  trap '' PIPE
  exec "${command[@]}" x.conf >reader 2>>err
) &
pid=$!
pids+=("$pid")
head -n $workers reader >out
kill "$pid"
wait "$pid"
is "an output that fails is told at the end" "$? $(wc -l <out | tr -d ' ') $(cat err)" \
  "3 $workers config: cannot write to standard output"

echo "1..$((passed + failed))"
echo "# $passed passed, $failed failed"
[ $failed -eq 0 ]
