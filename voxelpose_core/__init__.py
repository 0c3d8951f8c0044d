"""VoxelPose without ROS: models, datasets, voxel op, training and the PoseEstimator."""
