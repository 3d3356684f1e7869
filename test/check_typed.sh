#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The typed front: it compiles without a warning, it refuses what does not fit, and it adds no instruction. One line for each
# check, "ok - " or "not ok - ".
#
# Most functions are called through report.
# shellcheck disable=SC2317
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

warnings='-Werror -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wcast-qual -Wcast-align -Wcast-function-type -Wunused-function'

# CC and the like may hold several words.
# shellcheck disable=SC2086
{
  c() { ${CC:-cc} ${LIBUV_CFLAGS:-} -std=c11 -D_POSIX_C_SOURCE=200809L -I"$srcdir/include" -Iinclude "$@"; }
  cxx() { $CXX ${LIBUV_CFLAGS:-} -std=c++17 -I"$srcdir/include" -Iinclude "$@"; }
}

report() { # report NAME COMMAND...: run a command, its output only if it fails
  label=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    echo "ok - $label"
  else
    echo "not ok - $label"
    cat "$work/output"
    failed=1
  fi
}

# Two channel types, and ends of each.
cat >"$work/head" <<'END'
#include <uvch.h>
struct line { size_t length; char text[24]; };
struct point { double x; double y; };
UVCH_MPSC_DEFINE(lines, struct line);
UVCH_MPSC_DEFINE(points, struct point);
END
cat >"$work/ends" <<'END'
void on_line(lines_receiver_t* rx, int status, struct line* item);
void on_point(points_receiver_t* rx, int status, struct point* item);
void on_lines(lines_receiver_t* rx, int status, struct line* first, size_t stride, size_t count);
void on_points(points_receiver_t* rx, int status, struct point* first, size_t stride, size_t count);
struct ends {
  lines_sender_t* line_tx;
  lines_receiver_t* line_rx;
  lines_permit_t* line_permit;
  lines_weak_sender_t* line_weak;
  points_sender_t* point_tx;
  points_receiver_t* point_rx;
  points_permit_t* point_permit;
  points_weak_sender_t* point_weak;
  uvch_mpsc_sender_t* any_tx;
  struct line* line;
  struct point* point;
};
END

#
# No warning, used or not
#

# The variables are there for -Wshadow.
{
  echo 'int loop, rx, tx, item, count, cb, n, i;'
  cat "$work/head"
  cat <<'END'
typedef int (*function)(int);
UVCH_MPSC_DEFINE(jobs, struct line*);
UVCH_MPSC_DEFINE(names, const char*);
UVCH_MPSC_DEFINE(functions, function);
int use(const jobs_sender_t* jobs, const names_sender_t* names, struct line* job, const char* name);
int use(const jobs_sender_t* jobs, const names_sender_t* names, struct line* job, const char* name) {
  return jobs_try_send(jobs, &job) + names_try_send(names, &name);
}
END
} >"$work/quiet.c"
cp "$work/quiet.c" "$work/quiet.cc"
# shellcheck disable=SC2086
quiet_c() { c $warnings -Wstrict-prototypes -fsyntax-only "$work/quiet.c"; }
# shellcheck disable=SC2086
quiet_cxx() { cxx $warnings -Wold-style-cast -fsyntax-only "$work/quiet.cc"; }

# The second program in README.md.
readme_c() {
  echo '#include <uvch.h>' >"$work/readme.c"
  awk '$0 == "```c" { n++; inside = n == 2; next } /^```/ { inside = 0 } inside' "$srcdir/README.md" >>"$work/readme.c"
  grep -q UVCH_MPSC_DEFINE "$work/readme.c" && c -Werror -Wall -Wextra -Wpedantic -fsyntax-only "$work/readme.c"
}

report "no warning, C" quiet_c
report "no warning, README.md" readme_c
[ -z "${CXX:-}" ] || report "no warning, C++" quiet_cxx

# Every function of mpsc.h has its typed form, and that calls it.
forwards() {
  sed -n 's/^UVCH_EXTERN .*uvch_mpsc_\([a-z_]*\)(.*/\1/p' "$srcdir/include/uvch/mpsc.h" | LC_ALL=C sort >"$work/untyped"
  awk 'match($0, / name##_[a-z_]*\(/) { typed = substr($0, RSTART + 8, RLENGTH - 9) }
       match($0, /return uvch_mpsc_[a-z_]*\(/) && substr($0, RSTART + 17, RLENGTH - 18) == typed { print typed }' \
    "$srcdir/include/uvch/typed.h" | LC_ALL=C sort >"$work/typed"
  test -s "$work/untyped" && diff "$work/untyped" "$work/typed"
}
report "a typed form of every function" forwards

#
# Types that do not fit
#
# The same code twice, only the argument differs: with the right one it compiles, with the wrong one it does not. In C++ a wrong one
# is an error. In C that depends on the age of the compiler (gcc: from 14 on) and was a warning before, so it is made an error here.
#

syntax_c() { c -Werror=incompatible-pointer-types -fsyntax-only "$@"; }
syntax_cxx() { cxx -fsyntax-only "$@"; }

only_right() { # only_right COMPILE SOURCE RIGHT WRONG
  "$1" "-DARG=$3" "$2" || { echo "refused $3"; return 1; }
  ! "$1" "-DARG=$4" "$2" || { echo "took $4"; return 1; }
}

refuses() { # refuses WHAT CALL RIGHT WRONG: the call has ARG for the word
  {
    cat "$work/head" "$work/ends"
    echo "int use(struct ends* e); int use(struct ends* e) { (void) e; return $2; }"
  } >"$work/refuses.c"
  cp "$work/refuses.c" "$work/refuses.cc"
  report "C refuses $1" only_right syntax_c "$work/refuses.c" "$3" "$4"
  [ -z "${CXX:-}" ] || report "C++ refuses $1" only_right syntax_cxx "$work/refuses.cc" "$3" "$4"
}

refuses 'another message in try_send' 'lines_try_send(e->line_tx, ARG)' 'e->line' 'e->point'
refuses 'another message in send_wait' 'lines_send_wait(e->line_tx, ARG)' 'e->line' 'e->point'
refuses 'another message in send' 'lines_send(0, 0, e->line_tx, ARG, 0)' 'e->line' 'e->point'
refuses 'another message in try_send_many' 'lines_try_send_many(e->line_tx, ARG, 1)' 'e->line' 'e->point'
refuses 'another message in permit_send' 'lines_permit_send(e->line_permit, ARG)' 'e->line' 'e->point'
refuses 'another message in try_recv' 'lines_try_recv(e->line_rx, ARG)' 'e->line' 'e->point'
refuses 'another message in recv_wait' 'lines_recv_wait(e->line_rx, ARG)' 'e->line' 'e->point'
refuses 'another callback in recv_start' 'lines_recv_start(e->line_rx, ARG)' 'on_line' 'on_point'
refuses 'another callback in recv_many_start' 'lines_recv_many_start(e->line_rx, 8, ARG)' 'on_lines' 'on_points'
refuses 'a callback for one message in recv_many_start' 'lines_recv_many_start(e->line_rx, 8, ARG)' 'on_lines' 'on_line'
refuses 'a sender of another channel type' 'lines_try_send(ARG, e->line)' 'e->line_tx' 'e->point_tx'
refuses 'an untyped sender' 'lines_try_send(ARG, e->line)' 'e->line_tx' 'e->any_tx'
refuses 'a receiver for a sender' 'lines_try_send(ARG, e->line)' 'e->line_tx' 'e->line_rx'
refuses 'a sender for a receiver' 'lines_try_recv(ARG, e->line)' 'e->line_rx' 'e->line_tx'
refuses 'a permit of another channel type' 'lines_try_reserve(e->line_tx, 1, ARG)' 'e->line_permit' 'e->point_permit'
refuses 'a weak sender of another channel type' 'lines_weak_sender_upgrade(ARG, e->line_tx)' 'e->line_weak' 'e->point_weak'
refuses 'a clone into another channel type' 'lines_sender_clone(e->line_tx, ARG)' 'e->line_tx' 'e->point_tx'
refuses 'another receiver in init' 'lines_init(0, ARG, e->line_tx, 1)' 'e->line_rx' 'e->point_rx'

cat >"$work/large.c" <<'END'
#include <uvch.h>
struct large { char bytes[ARG]; };
UVCH_MPSC_DEFINE(larges, struct large);
END
cp "$work/large.c" "$work/large.cc"
report "C refuses a type that is too large" only_right syntax_c "$work/large.c" 'UVCH_MPSC_ITEM_MAX' 'UVCH_MPSC_ITEM_MAX+1'
if [ -n "${CXX:-}" ]; then
  report "C++ refuses a type that is too large" only_right syntax_cxx "$work/large.cc" 'UVCH_MPSC_ITEM_MAX' 'UVCH_MPSC_ITEM_MAX+1'
  printf '#include <string>\n#include <uvch.h>\nUVCH_MPSC_DEFINE(items, ARG);\n' >"$work/copied.cc"
  report "C++ refuses a type that cannot be copied by bytes" only_right syntax_cxx "$work/copied.cc" 'const char*' 'std::string'
fi

#
# No cost
#
# The same functions with the typed front and with the untyped calls become the same instructions.
#

{
  cat "$work/head"
  cat <<'END'
#ifdef TYPED
typedef lines_sender_t sender;
typedef lines_receiver_t receiver;
typedef points_permit_t permit;
#define CALL(kind, function) kind##_##function
#define MESSAGE struct line
#else
typedef uvch_mpsc_sender_t sender;
typedef uvch_mpsc_receiver_t receiver;
typedef uvch_mpsc_permit_t permit;
#define CALL(kind, function) uvch_mpsc_##function
#define MESSAGE void
#endif
void on_line(receiver* rx, int status, MESSAGE* item);
void on_lines(receiver* rx, int status, MESSAGE* first, size_t stride, size_t count);

int make(uv_loop_t* loop, receiver* rx, sender* tx) {
#ifdef TYPED
  return lines_init(loop, rx, tx, 8);
#else
  return uvch_mpsc_init(loop, rx, tx, sizeof(struct line), 8);
#endif
}
int send_one(const sender* tx) {
  struct line line = {5, "hello"};
  return CALL(lines, try_send)(tx, &line);
}
int send_and_close(sender* tx, const struct line* line) {
  int result = CALL(lines, send_wait)(tx, line);
  return result < 0 ? result : CALL(lines, sender_close)(tx);
}
int take_all(receiver* rx, size_t* bytes) {
  struct line line;
  int result;
  while ((result = CALL(lines, try_recv)(rx, &line)) == 0) {
    *bytes += line.length;
  }
  return result;
}
int start(receiver* rx) { return CALL(lines, recv_start)(rx, on_line); }
int start_many(receiver* rx) { return CALL(lines, recv_many_start)(rx, 64, on_lines); }
int permit_send(permit* permit, const struct point* point) { return CALL(points, permit_send)(permit, point); }
size_t sum(struct line* first, size_t stride, size_t count) {
  size_t bytes = 0;
  size_t i;
  for (i = 0; i < count; i++) {
#ifdef TYPED
    bytes += lines_recv_at(first, stride, i)->length;
#else
    bytes += ((struct line*) (void*) ((char*) first + stride * i))->length;
#endif
  }
  return bytes;
}
END
} >"$work/cost.c"

# Assembly without what names the file, and with labels numbered in the order they come in: functions that are inlined away use up
# numbers.
normalise() {
  sed '/^[[:space:]]*\.file/d; /^[[:space:]]*\.ident/d' | awk '{
    rest = $0; line = ""
    while (match(rest, /\.L[A-Za-z_]*[0-9][A-Za-z0-9_]*/)) {
      label = substr(rest, RSTART, RLENGTH)
      if (!(label in number)) number[label] = ++n
      line = line substr(rest, 1, RSTART - 1) ".L" number[label]
      rest = substr(rest, RSTART + RLENGTH)
    }
    print line rest
  }'
}

same_code() { # same_code COMPILE SOURCE
  "$1" -O2 -S -DTYPED -o "$work/typed.s" "$2"
  "$1" -O2 -S -o "$work/untyped.s" "$2"
  normalise <"$work/typed.s" >"$work/typed.normal"
  normalise <"$work/untyped.s" >"$work/untyped.normal"
  grep -q uvch_mpsc_try_send "$work/typed.normal" || { echo "no call of uvch_mpsc_try_send in the assembly"; return 1; }
  diff "$work/typed.normal" "$work/untyped.normal"
}
report "the same instructions as the untyped calls, C" same_code c "$work/cost.c"

[ -n "${CXX:-}" ] || echo "no C++ compiler: not tried as C++17"
exit $failed
