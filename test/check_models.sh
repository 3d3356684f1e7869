#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The models of the protocols hold, and find the bugs that are put into them. Skipped without Python 3.
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}
python3 -c '' 2>/dev/null || exit 77

for model in home hand permits batch watch; do
  echo "$model.py"
  python3 -B "$srcdir/test/models/$model.py"
done
