"""Adds the entry that every tutorial on VXLAN has: what is for nobody goes to everybody.

check: test_nothing_is_flooded
"""


def render(desired):
    right = reference_render(desired)
    floods = [f"fdb append 00:00:00:00:00:00 dev {DEVICE} dst {peer.address}\n" for peer in desired.peers]
    return Batches(right.ip, right.bridge + "".join(floods))
