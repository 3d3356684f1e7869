#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs a test that is written in Python; skipped where there is none.
python3 -c '' 2>/dev/null || {
  echo "no python3 here"
  exit 77
}
exec python3 -B "$@"
