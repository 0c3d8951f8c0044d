"""ROS messages read and filled by their fields alone: messages of rclpy or of a bag, no ROS needed."""
