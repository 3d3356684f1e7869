# SPDX-License-Identifier: MIT
#
# What the tests of programs share; they read it in. It makes a directory of its own, which is the current one from then on, and goes
# at the end, as do the processes whose numbers are in `pids`. A command that `limit` is put before ends after `limit_seconds`.
# shellcheck shell=bash

# A program that does not end is found out where that happens.
limit=()
! command -v timeout >/dev/null || limit=(timeout "${limit_seconds:-120}")

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
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

#
# Tools
#

ok() {
  passed=$((passed + 1))
  echo "ok - $1"
}

not_ok() {
  failed=$((failed + 1))
  echo "not ok - $1"
  shift
  printf '# %s\n' "$@"
  [ ! -s err ] || sed 's/^/# stderr: /' err
}

# is SENTENCE GOT WANTED
is() {
  if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "got:    $2" "wanted: $3"; fi
}

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

# count PATTERN FILE
count() { grep -c -- "$1" "$2"; }
in_file() { grep -q -- "$1" "$2" 2>/dev/null; }
