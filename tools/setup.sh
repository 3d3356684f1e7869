# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What tools/demo, tools/test and .ci/run share: packages, configure, make, counting results. To be sourced, with `me` set to the
# name that stands in front of messages.

: "${me:?}"
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

say() { printf '%s: %s\n' "$me" "$*"; }
die() { printf '%s: %s\n' "$me" "$*" >&2; exit 1; }

# logged FILE COMMAND...: run it with its output in FILE; if it fails, show the end of that and stop.
logged() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 </dev/null && return
  tail -n 40 "$log" >&2
  die "failed: $* (all of its output: $log)"
}

#
# Packages
#

needed=()
wanted=()
installed=no

# need PACKAGES COMMAND...: without PACKAGES there is no way on; COMMAND tells whether they are there. want: it goes on without.
need() { "${@:2}" >/dev/null 2>&1 </dev/null || read -r -a needed <<<"${needed[*]} $1"; }
want() { "${@:2}" >/dev/null 2>&1 </dev/null || read -r -a wanted <<<"${wanted[*]} $1"; }

# compiles COMPILER [FLAG...]: whether it makes a program.
compiles() {
  local language=c
  case $1 in *++*) language=c++ ;; esac
  # The compiler may come with arguments of its own, as in CC='gcc -m32'.
  # shellcheck disable=SC2086
  echo 'int main() { return 0; }' | $1 "${@:2}" -x "$language" -o "$probe" -
}

# check_packages LIST...: fill needed and wanted; each LIST is one of the functions below.
check_packages() {
  local list probe
  probe=$(mktemp) || die "cannot make a temporary file"
  needed=()
  wanted=()
  for list in "$@"; do "$list"; done
  rm -f "$probe"
}

packages_to_build() {
  if [ -n "${CC:-}" ]; then
    compiles "$CC" >/dev/null 2>&1 || die "CC is set to '$CC', and that does not make programs"
  else
    need "gcc libc6-dev" compiles gcc
  fi
  need make command -v make
  need autoconf command -v autoreconf
  need automake command -v automake
  need libtool command -v libtoolize
  need pkg-config command -v pkg-config
  need libuv1-dev pkg-config --exists 'libuv >= 1.44'
  need libsqlite3-dev pkg-config --exists sqlite3
  need sqlite3 command -v sqlite3
  need check pkg-config --exists 'check >= 0.15'
  want "g++" compiles g++
  want mandoc command -v mandoc
  want python3 python3 -c ''
  want netcat-openbsd openbsd_nc
  want redis-tools command -v redis-benchmark
  want libhiredis-dev pkg-config --exists hiredis
}

openbsd_nc() { command -v nc.openbsd || nc -h 2>&1 | grep OpenBSD; }

packages_for_ci() {
  need "clang libclang-rt-dev" compiles clang -fsanitize=thread
  need "g++" compiles g++
  need mandoc command -v mandoc
  need python3 python3 -c ''
  need netcat-openbsd openbsd_nc
  need xz-utils command -v xz
  need redis-tools command -v redis-benchmark
  need libhiredis-dev pkg-config --exists hiredis
}

# apt ARGUMENT...: apt-get that asks nothing and does not wait for ever.
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 \
    -o Acquire::Retries=1 -o DPkg::Lock::Timeout=120 "$@"
}

# install_packages LIST...: look what is missing and install that with apt.
install_packages() {
  local as_root=() log='' why=''
  check_packages "$@"
  if [ ${#needed[@]} -eq 0 ] && [ ${#wanted[@]} -eq 0 ]; then
    say "all packages that it takes are there"
    return
  fi
  if ! command -v apt-get >/dev/null; then
    why="there is no apt-get here"
  elif [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    why="you are not root, and there is no sudo"
  else
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    log=$(mktemp) || die "cannot make a temporary file"
    say "missing packages: ${needed[*]} ${wanted[*]}"
    say "${as_root[*]:+sudo }apt-get update"
    apt update >"$log" 2>&1 || say "apt-get update failed; going on with the package lists that are there"
    say "${as_root[*]:+sudo }apt-get install ${needed[*]} ${wanted[*]}"
    if ! apt install -y --no-install-recommends "${needed[@]}" "${wanted[@]}" >>"$log" 2>&1 </dev/null; then
      grep -E '^(E|W|Err|sudo):' "$log" | tail -n 10 >&2 || tail -n 10 "$log" >&2
      why="apt-get could not install them (no network, or no right to?)"
    fi
    rm -f "$log"
    installed=yes
    check_packages "$@"
  fi
  why=${why:-apt-get installed them, and still they do not work}
  [ ${#needed[@]} -eq 0 ] || die "needs these Debian packages: ${needed[*]}; $why"
  [ ${#wanted[@]} -eq 0 ] || say "goes on without: ${wanted[*]}; $why"
}

#
# Building
#

# configure_in DIRECTORY OPTION...: make ./configure if need be, and Makefiles if there are none or packages are new.
configure_in() {
  local directory=$1
  shift
  [ -w "$top" ] || die "cannot write in $top"
  [ ! -e "$top/config.status" ] || die "$top has been configured itself; 'make distclean' there first"
  mkdir -p "$directory" || die "cannot make $directory"
  directory=$(cd "$directory" && pwd)
  if [ ! -x "$top/configure" ]; then
    say "autogen.sh"
    logged "$directory/autogen.log" "$top/autogen.sh"
  fi
  if [ ! -e "$directory/Makefile" ] || [ $installed = yes ]; then
    say "configure $*"
    (cd "$directory" && logged "$directory/configure.log" "$top/configure" "$@") || exit 1
  fi
}

# build_in DIRECTORY TARGET...
build_in() {
  local directory=$1
  shift
  say "make $*"
  logged "$directory/make.log" make -j "$jobs" -C "$directory" "$@"
}

#
# Results
#

# check_in DIRECTORY [MAKE ARGUMENT...]: run `make check`, say how each program went, and set passed, failed, skipped. Counted are
# the cases of check, the lines of a script that begin with "ok -" or "not ok -", and one for a script without such lines. A
# program that ends badly without a failed case counts as one. `around` may hold a command to run it all under.
around=()
check_in() {
  local directory=$1 code=0 name result log cases bad
  shift
  find "$directory" -name '*.trs' -delete
  "${around[@]}" make -j "$jobs" -C "$directory" check "$@" >"$directory/check.log" 2>&1 </dev/null || code=$?
  passed=0 failed=0 skipped=0
  while read -r name; do
    log=${name%.trs}.log
    result=$(sed -n 's/^:test-result: //p' "$name")
    read -r cases bad < <(awk '/^[0-9]+%: Checks: [0-9]+, Failures: / { gsub(/,/, ""); n += $3; bad += $5 + $7 }
                               /^(not )?ok - / && !/# SKIP/ { n++; bad += $1 == "not" }
                               END { print n + 0, bad + 0 }' "$log")
    case $result in
      SKIP) skipped=$((skipped + 1)) ;;
      PASS) [ "$cases" -gt 0 ] || cases=1 ;;
      *) [ "$bad" -gt 0 ] || { bad=1; cases=$((cases + 1)); } ;;
    esac
    passed=$((passed + cases - bad))
    failed=$((failed + bad))
    printf '  %-5s %4d  %s\n' "$result" "$cases" "$(basename "${name%.trs}")"
    [ "$result" = PASS ] || tail -n 100 "$log" | sed 's/^/      /'
  done < <(find "$directory" -name '*.trs' | sort)
  if [ $((passed + failed)) -eq 0 ] || { [ $code -ne 0 ] && [ $failed -eq 0 ]; }; then
    tail -n 40 "$directory/check.log" >&2
    failed=$((failed + 1))
    say "make check did not run to its end (all of its output: $directory/check.log)"
  fi
}
