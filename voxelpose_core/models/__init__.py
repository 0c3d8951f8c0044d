"""The networks: V2V, cuboid proposal, pose regression, PoseResNet, and VoxelPose over them."""
