#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The public functions are the same, with the same prototypes, wherever they are written: headers, man pages, export map, library.
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prototypes without spaces: layout does not matter.
squeeze() { tr -d ' \t' | LC_ALL=C sort; }
names() { sed 's/(.*//; s/.*[ *]//' "$1" | LC_ALL=C sort; }

cat "$srcdir"/include/uvch.h "$srcdir"/include/uvch/*.h "$srcdir"/include/uvch/*.h.in |
  awk '/^#/ { while (/\\$/) getline; next }
       { print }' |
  tr '\n' ' ' | sed 's|/\*|\n&|g; s|\*/|&\n|g' | grep -v '^/\*' | tr '\n' ' ' |
  grep -o 'UVCH_EXTERN [^;]*;' | sed 's/UVCH_EXTERN //; s/;$//' | LC_ALL=C sort -u >"$work/headers"
names "$work/headers" | uniq >"$work/headers.names"

sed -n '/global:/,/local:/s/^ *\(uvch_[a-z0-9_]*\);$/\1/p' "$srcdir/src/uvch.map" | LC_ALL=C sort >"$work/map.names"

# .Ft type, .Fo name, .Fa parameter ..., .Fc
awk '$1 == ".Ft" { sub(/^\.Ft /, ""); gsub(/"/, ""); type = $0 }
     $1 == ".Fo" { text = type " " $2 "("; separator = ""; next }
     $1 == ".Fa" && text != "" { sub(/^\.Fa /, ""); gsub(/"/, ""); text = text separator $0; separator = ", " }
     $1 == ".Fc" { print text ")"; text = "" }' "$srcdir"/man/*.3 | LC_ALL=C sort >"$work/man"
names "$work/man" >"$work/man.names"

sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \(uvch_[a-z0-9_]*\).*/\1/p' "$srcdir"/man/*.3 | LC_ALL=C sort >"$work/man.titles"

failed=0
same() { # same WHAT FILE FILE
  if ! diff "$2" "$3" >"$work/diff"; then
    echo "$1 differ:"
    cat "$work/diff"
    failed=1
  fi
}

test -s "$work/headers.names" || { echo "found no function in the headers"; exit 1; }
same "headers and export map" "$work/headers.names" "$work/map.names"
same "headers and man pages (synopsis)" "$work/headers.names" "$work/man.names"
same "headers and man pages (name)" "$work/headers.names" "$work/man.titles"
squeeze <"$work/headers" >"$work/headers.squeezed"
squeeze <"$work/man" >"$work/man.squeezed"
same "prototypes in headers and man pages" "$work/headers.squeezed" "$work/man.squeezed"

library=.libs/libuvch.so
if [ -e $library ]; then
  ${NM:-nm} -D --defined-only $library | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort >"$work/library.names"
  same "headers and exports of the library" "$work/headers.names" "$work/library.names"
fi

echo "$(wc -l <"$work/headers.names") functions"
exit $failed
