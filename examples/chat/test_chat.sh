#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The chat server with real clients. By `make check`, or by hand in the build directory. Skipped without OpenBSD's nc.
#
#   UVCH_CHAT_CLIENTS   clients of the large test, in two rooms (200)
#   UVCH_CHAT_ROUNDS    rounds in which they talk, at least 10 (10)
#   UVCH_CHAT_RUN       a command to run the server with, say valgrind
set -u
export LC_ALL=C

clients=${UVCH_CHAT_CLIENTS:-200}
rounds=${UVCH_CHAT_ROUNDS:-10}
read -r -a command <<<"${UVCH_CHAT_RUN:-}"
command+=("$(cd "${top_builddir:-.}" && pwd)/examples/chat/chat")

nc=
for name in nc.openbsd nc; do
  if "$name" -h 2>&1 | grep -q OpenBSD; then
    nc=$name
    break
  fi
done
if [ -z "$nc" ]; then
  echo "no OpenBSD nc here (Debian: netcat-openbsd)"
  exit 77
fi

. "$(dirname "$0")/../../test/drive.sh" || exit 1

has_ended() { ! kill -0 "$1" 2>/dev/null; }

# start ARGUMENT...: the server in the background as process $pid, listening on $port; its output in out and err.
start() {
  : >out
  : >err
  "${command[@]}" --port 0 "$@" >out 2>>err &
  pid=$!
  pids+=("$pid")
  until_true in_file 'listening' out
  port=$(sed -n 's/.* port \([0-9]*\),.*/\1/p' out)
}

# stop SENTENCE [SIGNAL]: end the server; it has to come with exit code 0, and without a word on standard error.
stop() {
  kill "-${2:-TERM}" "$pid"
  wait "$pid"
  is "$1" "$? $(wc -c <err)" "0 0"
}

# talk: say what comes from standard input and then nothing more; print all that the server answers until it closes.
talk() { ${limit[@]+"${limit[@]}"} "$nc" -N 127.0.0.1 "$port"; }

# connect NAME [OPTION...]: a client in the background as process $client: NAME.in goes in, NAME.out comes out. It ends with both.
connect() {
  local name=$1
  shift
  "$nc" "$@" 127.0.0.1 "$port" <"$name.in" >"$name.out" 2>/dev/null &
  client=$!
  pids+=("$client")
}

# says SENTENCE CODE PATTERN ARGUMENT...: the server ends by itself, with that exit code and that on standard error.
says() {
  local sentence=$1 wanted=$2 pattern=$3 code
  shift 3
  "${command[@]}" "$@" >says.out 2>says.err
  code=$?
  if [ "$code" = "$wanted" ] && grep -q -- "$pattern" says.err && [ ! -s says.out ]; then
    ok "$sentence"
  else
    not_ok "$sentence" "got code $code: $(cat says.err)" "wanted $wanted and: $pattern"
  fi
}

# repeat N TEXT
repeat() { head -c "$1" /dev/zero | tr '\0' "$2"; }

# silently_kill PID...: without bash telling of it.
silently_kill() {
  {
    kill -KILL "$@"
    wait "$@"
  } 2>/dev/null
}

#
# The command line
#

if [ ! -x "${command[-1]}" ]; then
  echo "not ok - ${command[-1]} is built"
  exit 1
fi

"${command[@]}" --help >out 2>err
is "--help answers on standard output" "$? $(head -n 1 out) $(wc -c <err)" "0 usage: chat [options] 0"
"${command[@]}" --version >out 2>err
is "--version answers on standard output" "$? $(wc -l <out) $(wc -c <err)" "0 1 0"
says "an unknown option is refused" 2 frobnicate --frobnicate
says "an argument is refused" 2 "'lobby'" lobby
says "an option without its value is refused" 2 port --port
says "a port that is none is refused" 2 "--port: '65536' is not a number from 0 to 65535" --port 65536
says "a number that is none is refused" 2 "--capacity: '1x' is not a number" --capacity 1x
says "a server without loops is refused" 2 "--loops: '0' is not a number" --loops 0
says "a negative number is refused" 2 "--send-buffer: '-1' is not a number" --send-buffer -1
says "a host that is no address is refused" 2 "--host: 'nowhere' is not an IPv4 or IPv6 address" --host nowhere
says "an address of another machine is an error" 1 'cannot listen on 192.0.2.1 port 0: ' --host 192.0.2.1 --port 0
if [ -w /dev/full ]; then
  "${command[@]}" --port 0 >/dev/full 2>err
  is "a server that cannot tell its port ends" "$? $(grep -c 'standard output' err)" "1 1"
fi

#
# What one client sees
#

start
is "it listens on the loopback address" "$(sed -n 's/ port .*//p' out)" "chat: listening on 127.0.0.1"
is "it serves with two loops at least" "$(awk '{ print ($(NF - 1) >= 2) }' out)" "1"
is "a client gets what it says, with its name" "$(printf 'hello\nwell\n' | talk | sed 's/guest[0-9]*/guest/')" \
  "* you are guest, in lobby; there are /nick NAME, /join ROOM and /quit
guest: hello
guest: well"
is "the commands" "$(printf '/nick ann\n/join red\n/join red\n/nick 0123456789abc_-Z\nhello\n' | talk | tail -n +2)" \
  "* you are ann
* you are in red
* you are in red
* you are 0123456789abc_-Z
0123456789abc_-Z: hello"
is "what is said before /quit arrives, what comes after it does not" \
  "$(printf '/nick ann\nhello\n/quit\nnever\n' | talk | tail -n +2)" \
  "* you are ann
ann: hello"
no_command='* there is no such command; there are /nick NAME, /join ROOM and /quit'
no_name='takes a name: 1 to 16 of a-z A-Z 0-9 - _'
is "wrong commands are told so" \
  "$(printf '%s\n' / /n '/nicks x' '/NICK x' /nick '/nick ' '/nick  x' '/nick a b' '/nick a:b' '/nick 0123456789abcdef0' \
    '/join' '/join ../x' '/quit now' | talk | tail -n +2)" \
  "$no_command
$no_command
$no_command
$no_command
* /nick $no_name
* /nick $no_name
* /nick $no_name
* /nick $no_name
* /nick $no_name
* /nick $no_name
* /join $no_name
* /join $no_name
* /quit takes nothing"
is "a client may go from room to room as fast as it can" \
  "$(awk 'BEGIN { for (i = 1; i <= 500; i++) print "/join r" i; print "hello" }' | talk | tail -n +2 |
    sed 's/^guest[0-9]*/guest/' | awk '{ good += $0 == "* you are in r" NR } END { print good, $0 }')" "500 guest: hello"

is "CR LF ends a line too, and an empty line is none" \
  "$(printf '/nick ann\r\n\r\n\n\n\r\nhello\r\n \n' | talk | tail -n +2)" \
  "* you are ann
ann: hello
ann:  "
is "the last line needs its end" "$(printf 'hello' | talk | tail -n +2)" "* your line was not sent: it has no end"

# sent TEXT...: each text as a line; how many come back, and the complaints.
sent() {
  { echo '/nick ann' && printf '%b\n' "$@"; } | talk >got
  echo "$(grep -ac '^ann: ' got) $(grep -a 'not sent' got | sort | uniq -c | sed 's/^ *//; s/\* your line was not sent: it //')"
}
is "text is UTF-8" \
  "$(sent 'caf\xc3\xa9\ttab' '\xe2\x82\xac' '\xed\x9f\xbf' '\xf0\x9f\x98\x80' '\xf4\x8f\xbf\xbf' '\xc2\xa0')" "6 "
is "what is not UTF-8 is not sent" \
  "$(sent '\xff\xfb\x01' 'x\x80' '\xc3' '\xc3(' '\xc0\xaf' '\xe0\x9f\xbf' '\xed\xa0\x80' '\xf0\x8f\xbf\xbf' '\xf4\x90\x80\x80' \
    '\xf5\x80\x80\x80' '\xe2\x82' '\xf0\x9f\x98')" "0 12 is not UTF-8"
is "what commands a terminal is not sent" "$(sent '\x1b[2J' 'a\0b' 'a\rb' '\x7f' '\x07' '\xc2\x9b2J' '/\0')" \
  "0 7 has control characters"
is "1,000 bytes are a line, more are too long" \
  "$(sent "$(repeat 1000 x)" "$(repeat 1000 x)\r" "$(repeat 1001 x)" "$(repeat 1001 /)" "$(repeat 4095 x)" "$(repeat 4096 x)" \
    "$(repeat 4097 x)" "$(repeat 8192 x)" "$(repeat 300000 x)" "last")" "3 7 is too long"
is "a line that is too long and has no end is told so" "$(repeat 100000 x | talk | tail -n +2)" \
  "* your line was not sent: it is too long"
head -c 300000 /dev/urandom | tr '\n' '\r' >noise
is "a client that sends noise is served on" "$( (cat noise && printf '\n/nick ann\nhello\n') | talk | tail -n 1)" "ann: hello"

mkfifo parts.in
connect parts
exec 3>parts.in
nothing_left() { ! read -r -t 0 -u 4; }
exec 4<parts.in
for part in '/ni' 'ck ann' $'\nhel' $'lo\nwor' $'ld\n'; do
  printf %s "$part" >&3
  until_true nothing_left
done
exec 4<&-
until_true in_file 'ann: world' parts.out
is "a line may come in parts" "$(tail -n +2 parts.out)" "* you are ann
ann: hello
ann: world"
exec 3>&-

#
# Clients together
#

for name in ann bob eve; do
  mkfifo $name.in
  connect $name
done
vanishing=$client
exec 5>ann.in 6>bob.in 7>eve.in
echo '/nick ann' >&5
echo '/nick bob' >&6
printf '/nick eve\n/join den\n' >&7
for name in ann bob; do until_true in_file "you are $name" $name.out; done
until_true in_file 'you are in den' eve.out
echo 'secret' >&7
until_true in_file 'eve: secret' eve.out
echo 'one' >&5
until_true in_file 'ann: one' bob.out
echo 'two' >&6
until_true in_file 'bob: two' ann.out
echo '/join lobby' >&7
until_true in_file 'you are in lobby' eve.out
echo 'three' >&5
for name in ann bob eve; do until_true in_file 'ann: three' $name.out; done
is "a room hears what its members say while they are there" "$(tail -n 2 bob.out) $(tail -n 3 eve.out | tr '\n' ' ')" \
  "bob: two
ann: three eve: secret * you are in lobby ann: three "

printf 'half a li' >&7
silently_kill "$vanishing"
exec 7>&-
echo 'four' >&6
until_true in_file 'bob: four' ann.out
is "of a client that vanishes nobody hears half a line" "$(grep -c 'half' ann.out)" "0"
exec 5>&- 6>&-

# Answers that nobody reads. Here nc would not do: what does not read should go on to write.
awk 'BEGIN { for (i = 1; i <= 50000; i++) print "/nick n" i; print "/quit" }' >asks.in
exec 3<>"/dev/tcp/127.0.0.1/$port"
dd bs=1024 <asks.in >&3 2>/dev/null &
asking=$!
pids+=("$asking")
# got_stuck: it has got no further for some polls. Where that cannot be seen the test goes on, and is just weaker.
position=
same=0
got_stuck() {
  local now
  now=$(cat "/proc/$asking/fdinfo/0" 2>/dev/null) || return 0
  same=$((same + 1))
  [ "$now" = "$position" ] || same=0
  position=$now
  [ $same -eq 5 ]
}
until_true got_stuck
is "others are served while a client asks and does not read" "$(printf '/nick ann\nhello\n' | talk 3>&- | tail -n 1)" "ann: hello"
cat <&3 >asks.out
exec 3>&-
wait "$asking"
is "a client that asks and does not read gets every answer once it does" \
  "$(grep '^\*' asks.out | tail -n +2 | awk '{ good += $0 == "* you are n" NR } END { print good, NR }')" "50000 50000"

says "a port that is in use is an error" 1 "cannot listen on 127.0.0.1 port $port: address already in use" --port "$port"
stop "Ctrl-C is a clean end" INT

#
# No room for another client
#

(
  ulimit -n 32
  exec "${command[@]}" --port 0
) >says.out 2>says.err
is "a system that allows too few descriptors is found out at the start" \
  "$? $(grep -c 'ulimit -n' says.err) $(wc -c <says.out)" "1 1 0"

heard() { printf '/nick ann\nhello\n' | talk | grep -q 'ann: hello'; }

start --loops 2 --clients 3
for i in 1 2 3; do
  mkfifo "few$i.in"
  connect "few$i"
done
exec 3>few1.in 4>few2.in 5>few3.in
few_in() { [ "$(cat few?.out | grep -c 'you are guest')" -eq 3 ]; }
until_true few_in
is "one client more than there may be is told so" "$(talk </dev/null) $(talk </dev/null)" \
  "* the server is full * the server is full"
is "and so is the operator, once" "$(cat err)" "chat: takes no connection: there are as many clients as there may be"
: >err
exec 3>&-
silently_kill "$client"
until_true heard
ok "once a client has left there is room again"

# Both loops have had a client, so nobody needs a descriptor now but a new client. The limit is on their numbers: with this one
# the connection gets one, and its duplicate does not.
if [ -d "/proc/$pid/fd" ] && command -v prlimit >/dev/null && [ ${#command[@]} -eq 1 ]; then
  free=0
  while [ -e "/proc/$pid/fd/$free" ]; do free=$((free + 1)); done
  prlimit --pid "$pid" --nofile=$((free + 1)):
  is "without a descriptor a client is told that the server is full" "$(talk </dev/null)" "* the server is full"
  is "without a descriptor the operator is told why" "$(cat err)" "chat: takes no connection: too many open files"
  : >out
  : >err
  prlimit --pid "$pid" --nofile=512:
  until_true heard
  ok "with descriptors there is room again"
fi
exec 4>&- 5>&-
stop "a server that was full ends cleanly"

#
# Many clients, some of them frozen
#
# In each round the room hears fewer lines than it keeps, and the next round waits until who reads has all of them. So who reads
# misses none, however slow this machine is; who is frozen misses all that neither the system nor the room has kept.

capacity=64
senders=5
frozen=5
each=$((capacity / senders))
readers=$((clients / 2 - senders - frozen))
frozen_pids=()
rooms='red blue'
padding=$(repeat 240 .)

start --loops 3 --capacity $capacity --send-buffer 4096
for room in $rooms; do
  for ((i = 1; i <= senders; i++)); do
    mkfifo "$room-sender$i.in"
    connect "$room-sender$i"
  done
  for ((i = 1; i <= readers; i++)); do
    printf '/nick reader%d\n/join %s\n' "$i" "$room" >"$room-reader$i.in"
    connect "$room-reader$i"
  done
  for ((i = 1; i <= frozen; i++)); do
    printf '/nick frozen%d\n/join %s\n' "$i" "$room" >"$room-frozen$i.in"
    connect "$room-frozen$i" -I 4096
    frozen_pids+=("$client")
  done
done
fds=()
for room in $rooms; do
  for ((i = 1; i <= senders; i++)); do
    exec {fd}>"$room-sender$i.in"
    fds+=("$fd")
    printf '/nick sender%d\n/join %s\n' "$i" "$room" >&"$fd"
  done
done
all_in() { [ "$(cat red-*.out blue-*.out | grep -c '^\* you are in ')" -eq "$clients" ]; }
until_true all_in
kill -STOP "${frozen_pids[@]}"

# heard_all LINES: everybody who reads has as many lines.
heard_all() { [ "$(cat red-[rs]*.out blue-[rs]*.out | grep -c '^sender')" -eq $(($1 * (clients - 2 * frozen))) ]; }
sent=0
for ((round = 0; round < rounds; round++)); do
  for fd in "${fds[@]}"; do
    for ((i = 1; i <= each; i++)); do
      printf '%d %s\n' $((round * each + i)) "$padding"
    done >&"$fd"
  done
  sent=$((sent + each * senders))
  until_true heard_all $sent
done

# check_order FILE...: for how many files every sender's lines count up without a gap, from the first to the last one. Where a
# client has missed some, each sender may have a gap once.
check_order() {
  awk -v padding="$padding" -v all=$((rounds * each)) '
    function finish(  name) {
      for (name in last) bad += last[name] != all
      good += !bad
      split("", last)
      split("", gap)
      bad = gaps = 0
    }
    FNR == 1 && NR > 1 { finish() }
    FNR <= 3 { bad += !/^\* you are/; next }
    /^\* you missed [0-9]+ lines?$/ { gaps++; next }
    !/^sender[0-9]+: [0-9]+ / || $3 != padding { bad++; next }
    {
      bad += gap[$1] < gaps ? $2 <= last[$1] : $2 != last[$1] + 1
      gap[$1] = gaps
      last[$1] = $2
    }
    END { finish(); print good + 0 }' "$@"
}
is "every client that reads has every line of its room, in order" "$(check_order red-[rs]*.out blue-[rs]*.out)" \
  "$((clients - 2 * frozen))"
is "no client that reads has missed a line" "$(cat red-[rs]*.out blue-[rs]*.out | grep -c missed)" "0"

kill -CONT "${frozen_pids[@]}"
# The last lines are kept, so they come in any case.
thawed() { [ "$(cat red-f*.out blue-f*.out | grep -c "^sender[0-9]*: $((rounds * each)) ")" -eq $((2 * frozen * senders)) ]; }
until_true thawed
# accounts FILE...: for how many files the lines that came and those missed add up.
accounts() {
  awk -v sent="$sent" '
    function finish() { good += seen + missed == sent && missed > 0; seen = missed = 0 }
    FNR == 1 && NR > 1 { finish() }
    /^sender/ { seen++ }
    /^\* you missed / { missed += $4 }
    END { finish(); print good + 0 }' "$@"
}
is "a client that was frozen is told how many lines it has missed, exactly" "$(accounts red-f*.out blue-f*.out)" $((2 * frozen))
is "what a client that was frozen has got is in order" "$(check_order red-f*.out blue-f*.out)" $((2 * frozen))
missed=$(cat red-f*.out blue-f*.out | awk '/^\* you missed / { n += $4 } END { print n }')
echo "# $sent lines in each room; those that were frozen have missed $((missed / (2 * frozen))) of them"

kill -STOP "${frozen_pids[0]}"
stop "SIGTERM is a clean end, with everybody connected, and one frozen"
is "the summary adds up" "$(tail -n 1 out)" "chat: $clients clients, $((2 * sent)) lines said, $missed lines missed"
kill -CONT "${frozen_pids[0]}"
for fd in "${fds[@]}"; do exec {fd}>&-; done
all_ended() { local pid; for pid in "${pids[@]}"; do has_ended "$pid" || return; done; }
until_true all_ended
ok "every client is told the end"

echo "1..$((passed + failed))"
echo "# $passed passed, $failed failed"
[ $failed -eq 0 ]
