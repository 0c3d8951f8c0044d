#!/usr/bin/env bash
# For whoever has an NVIDIA GPU: builds the CUDA voxel kernel, compares its values and gradients with
# the reference, and measures. One call, a few minutes; needs nvcc, and a PyTorch with CUDA.
#
#     training/gpu_check.sh [folder for the log and the numbers, default: gpu_check]
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:-gpu_check}" && cd "${1:-gpu_check}" && pwd)
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

"$python" - <<'EOF'
import sys, torch
from voxelpose_core.voxel import implementation
if not torch.cuda.is_available():
    sys.exit("gpu_check: PyTorch sees no CUDA device")
print(torch.cuda.get_device_name(), "torch", torch.__version__, "CUDA", torch.version.cuda)
kernel = implementation("cuda")  # builds it
print("voxel kernel:", kernel)
if kernel != "cuda":
    sys.exit("gpu_check: the CUDA kernel was not built (nvcc on PATH or in CUDA_HOME?)")
EOF

"$python" -m pytest -q -rs test/test_voxel_kernels.py test/test_voxel.py test/test_inference.py \
  test/test_estimator.py 2>&1 | tee "$out/tests.txt"
"$python" training/benchmark.py --device cuda:0 --out "$out/benchmark.json" 2>&1 |
  tee "$out/benchmark.txt"
echo "gpu_check: all done, see $out"
