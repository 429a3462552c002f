"""Adds to what is there and takes nothing away.

check: test_removal
"""


def render(desired):
    kept = [
        line for line in reference_render(desired).splitlines() if not line.startswith(("flush", "delete"))
    ]
    return "\n".join(kept) + "\n"
