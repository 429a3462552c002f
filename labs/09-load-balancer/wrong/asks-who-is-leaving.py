"""Gives new connections to a server that is draining.

check: test_draining, test_nobody_left
"""


def choose(servers, last):
    return reference_choose([replace(state, draining=False) for state in servers], last)
