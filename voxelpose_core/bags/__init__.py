"""rosbag2 recordings (sqlite3 or MCAP), read without ROS."""
