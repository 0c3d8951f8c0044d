"""Cameras, rigs and calibration files. Millimetres, world frame, z up."""
