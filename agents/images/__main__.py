"""A stand-in as an executable: `python -m agents.images NAME ARGS…`, or `python DIRECTORY NAME ARGS…` without
a search path.

The second form is what the files in a container's root call (see catalogue.py): it needs no PYTHONPATH, which
would leak into the programs that the container starts, and no site directory.
"""

from __future__ import annotations

import os
import sys


def run(argv: list[str]) -> int:
    """Run the stand-in named argv[0] with the rest. Exit status 2 when there is none of that name."""
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from agents.images.standins import STANDINS, load

    if not argv or argv[0] not in STANDINS:
        sys.stderr.write(
            f"agents.images: no stand-in {' '.join(argv[:1])!r}: want one of {', '.join(STANDINS)}\n"
        )
        return 2
    return load(STANDINS[argv[0]])(argv)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
