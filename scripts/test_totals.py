"""Prints "N passed, N failed, N skipped" over the JUnit files below a folder.

The exit status is 1 where a test failed or none passed.
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def count(folder: Path) -> tuple[int, int, int]:
    """Returns how many tests passed, failed and were skipped."""
    passed = failed = skipped = 0
    for file in folder.rglob("*.xml"):
        for case in ElementTree.parse(file).iter("testcase"):
            outcomes = {child.tag for child in case}
            if outcomes & {"failure", "error"}:
                failed += 1
            elif "skipped" in outcomes:
                skipped += 1
            else:
                passed += 1
    return passed, failed, skipped


def main(folder: Path) -> int:
    passed, failed, skipped = count(folder)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
