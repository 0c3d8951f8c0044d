"""Self-contained HTML pages: skeletons in 3D over time, and the report of a run."""
