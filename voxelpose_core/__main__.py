"""The `voxelpose` command, also as `python -m voxelpose_core`.

It imports nothing but Python's own modules before errors are reported in one line, so that a missing
package is, too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from voxelpose_core.command import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (see `voxelpose_core.command`)."""
    return run_command(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    from voxelpose_core.cli import run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
