# The environment that make works in; bash sources it in the repository's root.
# A sourced ROS installation is used. Without one, or with VOXELPOSE_ROS=wheels, the ROS 2 wheels
# in .venv are.

# rclpy decides, since ROS 1 sets ROS_DISTRO too.
ros_is_installed() {
  [ "${VOXELPOSE_ROS:-}" != wheels ] && [ -n "${ROS_DISTRO:-}" ] &&
    python3 -c 'import rclpy' 2>/dev/null
}

if ros_is_installed; then
  VOXELPOSE_ROS=installed
else
  VOXELPOSE_ROS=wheels
  # What another environment left behind would mix with this one. The last variable is what the
  # wheels set once they have started Python anew with their libraries.
  unset ROS_DISTRO PYTHONPATH PYTHONHOME COLCON_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
  export AMENT_PREFIX_PATH="$PWD/.venv" CMAKE_PREFIX_PATH="$PWD/.venv"
fi
export VOXELPOSE_ROS VIRTUAL_ENV="$PWD/.venv" PATH="$PWD/.venv/bin:$PATH"

# Nothing that make starts speaks to other machines, nor to what another folder's make started.
: "${ROS_DOMAIN_ID:=$(($(printf %s "$PWD" | cksum | cut -d ' ' -f 1) % 100 + 1))}"
export ROS_DOMAIN_ID ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
if [ "${ROS_DISTRO:-}" = humble ]; then
  export ROS_LOCALHOST_ONLY=1  # the older name of the same
fi
