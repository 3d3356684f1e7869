#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What depends on how a loop is woken, once more with the source that is not chosen by itself on Linux with a libuv before 1.45.
set -u
UVCH_TEST_WAKE=async
UVCH_TEST_SCALE=${UVCH_TEST_SCALE:-0.5}
export UVCH_TEST_WAKE UVCH_TEST_SCALE
failed=0

for program in loop close fair wake fork stress; do
  [ -x "test/test_$program" ] || exit 77
  "test/test_$program" || failed=1
done
exit $failed
