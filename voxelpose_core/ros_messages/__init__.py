"""What ROS messages hold, told from their fields alone: messages of rclpy or of a bag, no ROS needed."""
