"""Forgets the node's own address on the device: pods do not need it.

check: test_node_to_pod
"""


def render(desired):
    right = reference_render(desired)
    lines = [line for line in right.ip.splitlines() if not line.startswith("address ")]
    return Batches("".join(f"{line}\n" for line in lines), right.bridge)
