#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every man page is clean for mandoc's checker, has its sections in the one order, and refers only to pages that exist. Examples
# that are whole files compile.
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for page in "$srcdir"/man/*.3; do
  sections=$(sed -n 's/^\.Sh //p' "$page" | tr '\n' '|')
  if [ "$sections" != 'NAME|SYNOPSIS|DESCRIPTION|RETURN VALUES|EXAMPLES|SEE ALSO|' ]; then
    echo "$page: sections are $sections"
    failed=1
  fi
done

references=$(sed -n 's/^\.Xr \([Uu][Vv][Cc][Hh][A-Za-z0-9_]*\) \([37]\).*/\1.\2/p' "$srcdir"/man/*.[37] | sort -u)
for name in $references; do
  if ! grep -q "^\.Nm ${name%.*}\( ,\)*\$" "$srcdir"/man/*."${name#*.}"; then
    echo "a page refers to $name, which no page describes"
    failed=1
  fi
done

# The example in the overview is examples/hello.c without its head.
sed -n '/^\.Sh EXAMPLES/,/^\.Ed/p' "$srcdir/man/uvch.7" | sed '1,/^\.Bd/d; /^\.Ed/d; s/\\e/\\/g' >"$work/overview"
sed '1,/\*\/$/d' "$srcdir/examples/hello.c" | diff "$work/overview" - || failed=1

# An example that begins with an #include is a whole source file: it compiles without a warning.
for page in "$srcdir"/man/*.3; do
  sed -n '/^\.Sh EXAMPLES/,/^\.Ed/p' "$page" | sed '1,/^\.Bd/d; /^\.Ed/d; s/\\e/\\/g' >"$work/example.c"
  if head -n 1 "$work/example.c" | grep -q '^#include'; then
    # CC and the like may hold several words.
    # shellcheck disable=SC2086
    ${CC:-cc} ${LIBUV_CFLAGS:-} -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Wpedantic -Werror -fsyntax-only \
      -I"$srcdir/include" -Iinclude "$work/example.c" || { echo "$page: its example does not compile"; failed=1; }
  fi
done

MANDOC=${MANDOC:-$(command -v mandoc || true)}
if [ -z "$MANDOC" ]; then
  echo "no mandoc: the pages were not checked by it"
  [ $failed -eq 0 ] || exit 1
  exit 77
fi
"$MANDOC" -T lint -W warning "$srcdir"/man/*.[37] || failed=1
exit $failed
