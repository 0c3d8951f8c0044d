"""A rig from the people in it: is it right, where is its floor, and what would fit better."""
