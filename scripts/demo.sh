#!/usr/bin/env bash
# Plays the four-camera demo video over ROS and leaves pictures, a video and skeletons.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
set +u
. install/setup.bash
set -u

data=$(python scripts/demo_data.py)/Demo_MultiPerson
exec python -m voxelpose_ros.demo --output demo_output \
  --rig "$data/calibration/Calib.qca.txt" --videos "$data"/videos/*.mp4
