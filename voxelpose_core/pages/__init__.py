"""Self-contained HTML pages: skeletons in 3D over time, and the report of a run."""

from __future__ import annotations

from voxelpose_core.pages.view_page import write_view_page

__all__ = ["write_view_page"]
