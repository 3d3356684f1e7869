#!/bin/sh
# SPDX-License-Identifier: MIT
# Make ./configure from a clone; a release archive has it already.
set -eu
cd "$(dirname "$0")"
for program in autoreconf automake libtoolize pkg-config; do
  command -v "$program" >/dev/null || { echo "autogen.sh: $program is missing (Debian: autoconf automake libtool pkg-config)" >&2; exit 1; }
done
autoreconf --install --warnings=all
