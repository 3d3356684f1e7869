#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The typed front: it compiles without a warning, it refuses what does not fit, and it adds no instruction, but for the functions of
# a watch channel that take one to change or test the value. One line for each check, "ok - " or "not ok - ".
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

# Two types of each kind of channel, and their ends.
cat >"$work/head" <<'END'
#include <uvch.h>
struct line { size_t length; char text[24]; };
struct point { double x; double y; };
UVCH_MPSC_DEFINE(lines, struct line);
UVCH_MPSC_DEFINE(points, struct point);
UVCH_ONESHOT_DEFINE(answers, struct line);
UVCH_ONESHOT_DEFINE(scores, struct point);
UVCH_BROADCAST_DEFINE(news, struct line);
UVCH_BROADCAST_DEFINE(sights, struct point);
UVCH_WATCH_DEFINE(titles, struct line);
UVCH_WATCH_DEFINE(places, struct point);
END
cat >"$work/ends" <<'END'
void on_line(lines_receiver_t* rx, int status, struct line* item);
void on_point(points_receiver_t* rx, int status, struct point* item);
void on_lines(lines_receiver_t* rx, int status, struct line* first, size_t stride, size_t count);
void on_points(points_receiver_t* rx, int status, struct point* first, size_t stride, size_t count);
void on_answer(answers_receiver_t* rx, int status, struct line* item);
void on_score(scores_receiver_t* rx, int status, struct point* item);
void on_answer_call(answers_call_t* req, int status, struct line* reply);
void on_score_call(scores_call_t* req, int status, struct point* reply);
void on_news(news_receiver_t* rx, int status, const struct line* item);
void on_own_news(news_receiver_t* rx, int status, struct line* item);
void on_sight(sights_receiver_t* rx, int status, const struct point* item);
void on_many_news(news_receiver_t* rx, int status, const struct line* first, size_t stride, size_t count);
void on_many_sights(sights_receiver_t* rx, int status, const struct point* first, size_t stride, size_t count);
void on_title(titles_receiver_t* rx, int status, const struct line* value);
void on_own_title(titles_receiver_t* rx, int status, struct line* value);
void on_place(places_receiver_t* rx, int status, const struct point* value);
int edit_title(struct line* value, void* arg);
int edit_place(struct point* value, void* arg);
int is_title(const struct line* value, void* arg);
int is_place(const struct point* value, void* arg);
void on_title_found(titles_wait_for_t* req, int status, const struct line* value);
void on_place_found(places_wait_for_t* req, int status, const struct point* value);
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
  answers_sender_t* answer_tx;
  answers_receiver_t* answer_rx;
  answers_call_t* answer_call;
  scores_sender_t* score_tx;
  scores_receiver_t* score_rx;
  scores_call_t* score_call;
  uvch_oneshot_sender_t* any_answer_tx;
  news_sender_t* news_tx;
  news_receiver_t* news_rx;
  news_weak_sender_t* news_weak;
  sights_sender_t* sight_tx;
  sights_receiver_t* sight_rx;
  sights_weak_sender_t* sight_weak;
  uvch_broadcast_sender_t* any_news_tx;
  titles_sender_t* title_tx;
  titles_receiver_t* title_rx;
  titles_wait_for_t* title_wait;
  places_sender_t* place_tx;
  places_receiver_t* place_rx;
  places_wait_for_t* place_wait;
  uvch_watch_sender_t* any_title_tx;
  const struct line* seen_line;
  const struct point* seen_point;
  struct line* line;
  struct point* point;
};
END

#
# No warning, used or not
#

# The variables are there for -Wshadow.
{
  echo 'int loop, rx, tx, req, item, message, reply, status, count, cb, n, i, value, arg, modify, predicate, base, call;'
  cat "$work/head"
  cat <<'END'
typedef int (*function)(int);
UVCH_MPSC_DEFINE(jobs, struct line*);
UVCH_MPSC_DEFINE(names, const char*);
UVCH_MPSC_DEFINE(functions, function);
UVCH_ONESHOT_DEFINE(results, int);
UVCH_ONESHOT_DEFINE(texts, const char*);
UVCH_ONESHOT_DEFINE(handlers, function);
UVCH_BROADCAST_DEFINE(ticks, int);
UVCH_BROADCAST_DEFINE(rumours, const char*);
UVCH_BROADCAST_DEFINE(hooks, function);
UVCH_WATCH_DEFINE(levels, int);
UVCH_WATCH_DEFINE(moods, const char*);
UVCH_WATCH_DEFINE(rules, function);
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

# Every function PREFIX_X of a header has its typed form NAME_X, and that calls it, mostly as all that it does.
forwards() { # forwards HEADER PREFIX NAME
  sed -n "s/^UVCH_EXTERN .* $2_\([a-z_]*\)(.*/\1/p" "$srcdir/include/uvch/$1" | LC_ALL=C sort >"$work/untyped"
  c -E -P -x c "$work/head" | tr '\n' ' ' | sed 's/ static inline /\n&/g' |
    sed -n "s/^ static inline [^(]*[ *]$3_\([a-z_]*\)([^{]*{\([^{}]*{[^{}]*};\)\{0,1\}[^{}]*[ (]$2_\1(.*/\1/p" |
    LC_ALL=C sort >"$work/typed"
  test -s "$work/untyped" && ! LC_ALL=C comm -23 "$work/untyped" "$work/typed" | grep .
}
report "a typed form of every function, mpsc.h" forwards mpsc.h uvch_mpsc lines
report "a typed form of every function, oneshot.h" forwards oneshot.h uvch_oneshot answers
report "a typed form of every function, call.h" forwards call.h uvch answers
report "a typed form of every function, broadcast.h" forwards broadcast.h uvch_broadcast news
report "a typed form of every function, watch.h" forwards watch.h uvch_watch titles

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

refuses 'another value in oneshot send' 'answers_send(e->answer_tx, ARG)' 'e->line' 'e->point'
refuses 'another value in oneshot try_recv' 'answers_try_recv(e->answer_rx, ARG)' 'e->line' 'e->point'
refuses 'another value in oneshot recv_wait' 'answers_recv_wait(e->answer_rx, ARG)' 'e->line' 'e->point'
refuses 'another value in oneshot recv_timedwait' 'answers_recv_timedwait(e->answer_rx, ARG, 0)' 'e->line' 'e->point'
refuses 'another callback in oneshot recv' 'answers_recv(e->answer_rx, ARG)' 'on_answer' 'on_score'
refuses 'a callback for a channel in oneshot recv' 'answers_recv(e->answer_rx, ARG)' 'on_answer' 'on_line'
refuses 'a sender of another oneshot type' 'answers_send(ARG, e->line)' 'e->answer_tx' 'e->score_tx'
refuses 'a sender of a channel for one of a oneshot' 'answers_send(ARG, e->line)' 'e->answer_tx' 'e->line_tx'
refuses 'an untyped oneshot sender' 'answers_send(ARG, e->line)' 'e->answer_tx' 'e->any_answer_tx'
refuses 'another receiver in oneshot init' 'answers_init(0, ARG, e->answer_tx)' 'e->answer_rx' 'e->score_rx'
refuses 'another sender in renew' 'answers_renew(e->answer_rx, ARG)' 'e->answer_tx' 'e->score_tx'
refuses 'another request in call' 'answers_call(0, ARG, 0, 0, e->answer_tx, 0)' 'e->answer_call' 'e->score_call'
refuses 'another sender of the reply in call' 'answers_call(0, e->answer_call, 0, 0, ARG, 0)' 'e->answer_tx' 'e->score_tx'
refuses 'another callback in call' 'answers_call(0, e->answer_call, 0, 0, e->answer_tx, ARG)' 'on_answer_call' 'on_score_call'
refuses 'another callback in call_ex' 'answers_call_ex(0, 0, 0, 0, e->answer_tx, 0, ARG)' 'on_answer_call' 'on_score_call'
refuses 'another sender of the reply in call_wait' 'answers_call_wait(0, 0, ARG, e->line)' 'e->answer_tx' 'e->score_tx'
refuses 'another reply in call_wait' 'answers_call_wait(0, 0, e->answer_tx, ARG)' 'e->line' 'e->point'
refuses 'another reply in call_timedwait' 'answers_call_timedwait(0, 0, e->answer_tx, ARG, 0, 0)' 'e->line' 'e->point'
refuses 'a sender of the reply for one of the channel' 'answers_call_wait(ARG, 0, e->answer_tx, e->line)' \
  '&e->line_tx->base' '&e->answer_tx->base'
refuses 'another reply in reply' 'answers_reply(e->answer_tx, ARG)' 'e->line' 'e->point'
refuses 'another sender in reply' 'answers_reply(ARG, e->line)' 'e->answer_tx' 'e->score_tx'

refuses 'another message in broadcast send' 'news_send(e->news_tx, ARG)' 'e->line' 'e->point'
refuses 'another message in broadcast send_many' 'news_send_many(e->news_tx, ARG, 1)' 'e->line' 'e->point'
refuses 'another message in broadcast queue_send' 'news_queue_send(0, 0, e->news_tx, ARG, 0)' 'e->line' 'e->point'
refuses 'another message in broadcast send_wait' 'news_send_wait(e->news_tx, ARG)' 'e->line' 'e->point'
refuses 'another message in broadcast try_recv' 'news_try_recv(e->news_rx, ARG)' 'e->line' 'e->point'
refuses 'another message in broadcast recv_wait' 'news_recv_wait(e->news_rx, ARG)' 'e->line' 'e->point'
refuses 'another callback in broadcast recv_start' 'news_recv_start(e->news_rx, ARG)' 'on_news' 'on_sight'
refuses 'a callback that could change a message of all' 'news_recv_start(e->news_rx, ARG)' 'on_news' 'on_own_news'
refuses 'another callback in broadcast recv_many_start' 'news_recv_many_start(e->news_rx, 8, ARG)' \
  'on_many_news' 'on_many_sights'
refuses 'a sender of another broadcast type' 'news_send(ARG, e->line)' 'e->news_tx' 'e->sight_tx'
refuses 'a sender of a channel for one of a broadcast' 'news_send(ARG, e->line)' 'e->news_tx' 'e->line_tx'
refuses 'an untyped broadcast sender' 'news_send(ARG, e->line)' 'e->news_tx' 'e->any_news_tx'
refuses 'another receiver in broadcast init' 'news_init(0, ARG, e->news_tx, 1)' 'e->news_rx' 'e->sight_rx'
refuses 'another receiver in subscribe' 'news_subscribe(0, ARG, e->news_tx)' 'e->news_rx' 'e->sight_rx'
refuses 'another sender in subscribe' 'news_subscribe(0, e->news_rx, ARG)' 'e->news_tx' 'e->sight_tx'
refuses 'another source in resubscribe' 'news_resubscribe(0, e->news_rx, ARG)' 'e->news_rx' 'e->sight_rx'
refuses 'a weak sender of another broadcast type' 'news_weak_sender_upgrade(ARG, e->news_tx)' 'e->news_weak' 'e->sight_weak'

refuses 'another value in watch init' 'titles_init(0, 0, e->title_tx, ARG)' 'e->line' 'e->point'
refuses 'another receiver in watch init' 'titles_init(0, ARG, e->title_tx, e->line)' 'e->title_rx' 'e->place_rx'
refuses 'another sender in watch subscribe' 'titles_subscribe(0, e->title_rx, ARG)' 'e->title_tx' 'e->place_tx'
refuses 'another source in receiver_clone' 'titles_receiver_clone(0, e->title_rx, ARG)' 'e->title_rx' 'e->place_rx'
refuses 'another value in watch send' 'titles_send(e->title_tx, ARG)' 'e->line' 'e->point'
refuses 'another value in send_replace' 'titles_send_replace(e->title_tx, ARG, e->line)' 'e->line' 'e->point'
refuses 'another old value in send_replace' 'titles_send_replace(e->title_tx, e->line, ARG)' 'e->line' 'e->point'
refuses 'another function in modify' 'titles_modify(e->title_tx, ARG, 0)' 'edit_title' 'edit_place'
refuses 'another function in modify_if' 'titles_modify_if(e->title_tx, ARG, 0)' 'edit_title' 'edit_place'
refuses 'another callback in watch start' 'titles_start(e->title_rx, ARG, 0)' 'on_title' 'on_place'
refuses 'a callback that could change a value of all' 'titles_start(e->title_rx, ARG, 0)' 'on_title' 'on_own_title'
refuses 'a borrowed value for one of another type' 'is_title(ARG, 0)' 'titles_borrow(e->title_rx)' 'places_borrow(e->place_rx)'
refuses 'a value that was borrowed and updated for one of another type' 'is_title(ARG, 0)' \
  'titles_borrow_and_update(e->title_rx)' 'places_borrow_and_update(e->place_rx)'
refuses 'a value borrowed through a sender for one of another type' 'is_title(ARG, 0)' \
  'titles_sender_borrow(e->title_tx)' 'places_sender_borrow(e->place_tx)'
refuses 'another predicate in wait_for' 'titles_wait_for(e->title_wait, e->title_rx, ARG, 0, 0)' 'is_title' 'is_place'
refuses 'another callback in wait_for' 'titles_wait_for(e->title_wait, e->title_rx, is_title, 0, ARG)' \
  'on_title_found' 'on_place_found'
refuses 'another request in wait_for' 'titles_wait_for(ARG, e->title_rx, is_title, 0, 0)' 'e->title_wait' 'e->place_wait'
refuses 'another predicate in wait_for_wait' 'titles_wait_for_wait(e->title_rx, ARG, 0, 0)' 'is_title' 'is_place'
refuses 'another value in wait_for_wait' 'titles_wait_for_wait(e->title_rx, is_title, 0, ARG)' '&e->seen_line' '&e->seen_point'
refuses 'a value of all that could be changed in wait_for_wait' 'titles_wait_for_wait(e->title_rx, is_title, 0, ARG)' \
  '&e->seen_line' '&e->line'
refuses 'another value in wait_for_timedwait' 'titles_wait_for_timedwait(e->title_rx, is_title, 0, ARG, 1)' \
  '&e->seen_line' '&e->seen_point'
refuses 'a sender of another watch type' 'titles_send(ARG, e->line)' 'e->title_tx' 'e->place_tx'
refuses 'a sender of a channel for one of a watch' 'titles_send(ARG, e->line)' 'e->title_tx' 'e->line_tx'
refuses 'an untyped watch sender' 'titles_send(ARG, e->line)' 'e->title_tx' 'e->any_title_tx'
refuses 'a receiver of another watch type' 'titles_has_changed(ARG)' 'e->title_rx' 'e->place_rx'

# limits DEFINE MAX
limits() {
  printf '#include <uvch.h>\nstruct large { char bytes[ARG]; };\n%s(larges, struct large);\n' "$1" >"$work/large.c"
  cp "$work/large.c" "$work/large.cc"
  printf '#include <string>\n#include <uvch.h>\n%s(items, ARG);\n' "$1" >"$work/copied.cc"
  report "$1: C refuses a type that is too large" only_right syntax_c "$work/large.c" "$2" "$2+1"
  [ -n "${CXX:-}" ] || return 0
  report "$1: C++ refuses a type that is too large" only_right syntax_cxx "$work/large.cc" "$2" "$2+1"
  report "$1: C++ refuses a type that cannot be copied by bytes" \
    only_right syntax_cxx "$work/copied.cc" 'const char*' 'std::string'
}
limits UVCH_MPSC_DEFINE UVCH_MPSC_ITEM_MAX
limits UVCH_ONESHOT_DEFINE UVCH_ONESHOT_ITEM_MAX
limits UVCH_BROADCAST_DEFINE UVCH_BROADCAST_ITEM_MAX
limits UVCH_WATCH_DEFINE UVCH_WATCH_VALUE_MAX

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
typedef answers_sender_t once_sender;
typedef answers_receiver_t once_receiver;
typedef answers_call_t call;
typedef news_sender_t news_sender;
typedef news_receiver_t news_receiver;
typedef titles_sender_t title_sender;
typedef titles_receiver_t title_receiver;
#define CALL(kind, function) kind##_##function
#define ONCE(function) answers_##function
#define NEWS(function) news_##function
#define TITLE(function) titles_##function
#define REPLY(function) answers_##function
#define SIZE
#define MESSAGE struct line
#else
typedef uvch_mpsc_sender_t sender;
typedef uvch_mpsc_receiver_t receiver;
typedef uvch_mpsc_permit_t permit;
typedef uvch_oneshot_sender_t once_sender;
typedef uvch_oneshot_receiver_t once_receiver;
typedef uvch_call_t call;
typedef uvch_broadcast_sender_t news_sender;
typedef uvch_broadcast_receiver_t news_receiver;
typedef uvch_watch_sender_t title_sender;
typedef uvch_watch_receiver_t title_receiver;
#define CALL(kind, function) uvch_mpsc_##function
#define ONCE(function) uvch_oneshot_##function
#define NEWS(function) uvch_broadcast_##function
#define TITLE(function) uvch_watch_##function
#define REPLY(function) uvch_##function
#define SIZE , sizeof(struct line)
#define MESSAGE void
#endif
struct question { int number; once_sender reply; };
void on_answer(once_receiver* rx, int status, MESSAGE* item);
void on_reply(call* req, int status, MESSAGE* reply);
void on_line(receiver* rx, int status, MESSAGE* item);
void on_lines(receiver* rx, int status, MESSAGE* first, size_t stride, size_t count);
void on_news(news_receiver* rx, int status, const MESSAGE* item);
void on_many_news(news_receiver* rx, int status, const MESSAGE* first, size_t stride, size_t count);
void on_title(title_receiver* rx, int status, const MESSAGE* value);

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

int make_once(uv_loop_t* loop, once_receiver* rx, once_sender* tx) { return ONCE(init)(loop, rx, tx SIZE); }
int renew(once_receiver* rx, once_sender* tx) { return ONCE(renew)(rx, tx); }
int send_once(once_sender* tx, const struct line* line) {
  return ONCE(sender_is_closed)(tx) ? ONCE(sender_close)(tx) : ONCE(send)(tx, line);
}
int take_once(once_receiver* rx, struct line* line) {
  int result = ONCE(try_recv)(rx, line);
  return result == UV_EAGAIN ? ONCE(recv)(rx, on_answer) : result;
}
int wait_once(once_receiver* rx, struct line* line, uint64_t timeout) {
  return ONCE(receiver_is_terminated)(rx) ? 0 : ONCE(recv_timedwait)(rx, line, timeout);
}
int ask(uv_loop_t* loop, call* req, const uvch_mpsc_sender_t* tx, struct question* question) {
  return REPLY(call)(loop, req, tx, question, &question->reply SIZE, on_reply);
}
int ask_with(uv_loop_t* loop, call* req, const uvch_mpsc_sender_t* tx, struct question* question,
             const uvch_call_options_t* options) {
  return REPLY(call_ex)(loop, req, tx, question, &question->reply SIZE, options, on_reply);
}
int ask_and_wait(const uvch_mpsc_sender_t* tx, struct line* line, int* is_sent) {
  struct question question = {7, {0}};
  int result = REPLY(call_wait)(tx, &question, &question.reply, line SIZE);
  return result < 0 ? result : REPLY(call_timedwait)(tx, &question, &question.reply, line SIZE, 1000, is_sent);
}
int answer(struct question* question, const struct line* line) { return REPLY(reply)(&question->reply, line); }

int make_news(uv_loop_t* loop, news_receiver* rx, news_sender* tx) {
#ifdef TYPED
  return news_init(loop, rx, tx, 8);
#else
  return uvch_broadcast_init(loop, rx, tx, sizeof(struct line), 8);
#endif
}
int subscribe(uv_loop_t* loop, news_receiver* rx, const news_sender* tx) { return NEWS(subscribe)(loop, rx, tx); }
int resubscribe(uv_loop_t* loop, news_receiver* rx, const news_receiver* source) { return NEWS(resubscribe)(loop, rx, source); }
int start_news(news_receiver* rx) { return NEWS(recv_start)(rx, on_news); }
int start_many_news(news_receiver* rx) { return NEWS(recv_many_start)(rx, 64, on_many_news); }
int send_news(uv_loop_t* loop, uvch_broadcast_send_t* req, const news_sender* tx, const struct line* line,
              uvch_broadcast_send_cb cb) {
  int result = NEWS(send)(tx, line);
  return result == UV_EAGAIN ? NEWS(queue_send)(loop, req, tx, line, cb) : result;
}
uint64_t read_news(news_receiver* rx, struct line* line) {
  return NEWS(try_recv)(rx, line) > 0 ? NEWS(receiver_missed)(rx) : 0;
}
size_t sum_news(const struct line* first, size_t stride, size_t count) {
  size_t bytes = 0;
  size_t i;
  for (i = 0; i < count; i++) {
#ifdef TYPED
    bytes += news_recv_at(first, stride, i)->length;
#else
    bytes += ((const struct line*) (const void*) ((const char*) first + stride * i))->length;
#endif
  }
  return bytes;
}

int make_title(uv_loop_t* loop, title_receiver* rx, title_sender* tx, const struct line* line) {
#ifdef TYPED
  return titles_init(loop, rx, tx, line);
#else
  return uvch_watch_init(loop, rx, tx, sizeof(struct line), line);
#endif
}
int follow(uv_loop_t* loop, title_receiver* rx, const title_sender* tx) { return TITLE(subscribe)(loop, rx, tx); }
int start_title(title_receiver* rx) { return TITLE(start)(rx, on_title, UVCH_WATCH_CURRENT); }
int rename_all(const title_sender* tx, const struct line* line, struct line* old) {
  int result = TITLE(send)(tx, line);
  return result < 0 ? result : TITLE(send_replace)(tx, line, old);
}
size_t length(title_receiver* rx, title_sender* tx) {
  const struct line* line = TITLE(borrow)(rx);
  const struct line* seen = TITLE(borrow_and_update)(rx);
  const struct line* sent = TITLE(sender_borrow)(tx);
  return line->length + seen->length + sent->length;
}
int next_title(title_receiver* rx, uint64_t timeout) {
  int result = TITLE(has_changed)(rx) == 0 ? TITLE(changed_timedwait)(rx, timeout) : TITLE(mark_unchanged)(rx);
  return result < 0 ? result : TITLE(borrow_has_changed)(rx);
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
  for name in uvch_mpsc_try_send uvch_oneshot_send uvch_call uvch_reply uvch_broadcast_send uvch_watch_borrow; do
    grep -q "$name" "$work/typed.normal" || { echo "no call of $name in the assembly"; return 1; }
  done
  diff "$work/typed.normal" "$work/untyped.normal"
}
report "the same instructions as the untyped calls, C" same_code c "$work/cost.c"

[ -n "${CXX:-}" ] || echo "no C++ compiler: not tried as C++17"
exit $failed
