#!/usr/bin/env bash
# For whoever has an NVIDIA GPU: builds the CUDA voxel kernel, runs all tests that need no ROS, and
# measures. One call tells everything: it goes on after failures, and ends with their number.
#
#     benchmarks/gpu_check.sh [folder, default: gpu_check] [test files, default: all]
#
# Writes to the folder: failures.txt (what failed, with tracebacks; empty is good), tests/*.txt (the
# output of each test file), benchmark.txt and benchmark.json. Needs nvcc and a PyTorch with CUDA.
# JOBS test files run at once (default 4), each in a process of its own: an assertion on the device
# ends all later work of its process.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
out=$(mkdir -p "${1:-gpu_check}/tests" && cd "${1:-gpu_check}" && pwd) || exit 1
shift $(($# > 0))
[ $# -gt 0 ] || set -- test/test_*.py
jobs=${JOBS:-4}
export out python=${PYTHON:-python3} PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

"$python" - <<'PYTHON' || exit 1
import sys, torch
from voxelpose_core.voxel import implementation
if not torch.cuda.is_available():
    sys.exit("gpu_check: PyTorch sees no CUDA device")
print(torch.cuda.get_device_name(), "torch", torch.__version__, "CUDA", torch.version.cuda)
kernel = implementation("cuda")  # builds it
print("voxel kernel:", kernel)
if kernel != "cuda":
    sys.exit("gpu_check: the CUDA kernel was not built (nvcc on PATH or in CUDA_HOME?)")
PYTHON

run_file() {
  local name log status
  name=$(basename "$1" .py) log=$out/tests/$(basename "$1" .py).txt
  timeout 1500 "$python" -m pytest -q -rfEs --tb=short -p no:cacheprovider "$1" >"$log" 2>&1
  status=$?
  echo "$name: $(tail -n 1 "$log")"
  # 5: no test was collected, as in the ROS tests where ROS is not there.
  [ $status = 0 ] || [ $status = 5 ] || echo "$status" >"$out/tests/$name.failed"
}
export -f run_file
rm -f "$out"/tests/*.failed
OMP_NUM_THREADS=$(($(nproc) / jobs > 0 ? $(nproc) / jobs : 1)) \
  xargs -P "$jobs" -I{} bash -c 'run_file {}' <<<"$(printf '%s\n' "$@")"

failed=0
for mark in "$out"/tests/*.failed; do
  [ -f "$mark" ] || continue
  failed=$((failed + 1))
  echo "===== $(basename "$mark" .failed): pytest ended with $(cat "$mark") (124: stopped after 25 minutes)"
  cat "${mark%.failed}.txt"
done >"$out/failures.txt"

"$python" benchmarks/speed.py --device cuda:0 --out "$out/benchmark.json" 2>&1 |
  tee "$out/benchmark.txt" || failed=$((failed + 1))
echo "gpu_check: $failed of $# test files and 1 benchmark failed, see $out/failures.txt"
[ $failed = 0 ]
