#!/usr/bin/env bash
# Runs all tests in the built install space, names the failures, and prints the totals last.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
set +u
. install/setup.bash
set -u

results=build/voxelpose_ros/test_results
rm -rf "$results" build/voxelpose_ros/Testing  # of tests that exist no more
failed=0
# One line a test file while they run; what they say is in log/latest_test.
colcon test --event-handlers console_direct+ --return-code-on-test-failure \
  --ctest-args -j "$(nproc)" |
  { grep --line-buffered -E '^ *[0-9]+/[0-9]+ Test ' || true; } || failed=1
colcon test-result --all --verbose || failed=1
python scripts/test_totals.py "$results" || failed=1
exit "$failed"
