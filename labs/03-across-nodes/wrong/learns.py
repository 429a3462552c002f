"""Leaves out `nolearning`: the device believes whoever writes to it.

check: test_device
"""


def render(desired):
    right = reference_render(desired)
    return Batches(right.ip.replace(" nolearning", ""), right.bridge)
