"""Does not ask whether a server is up.

check: test_a_dead_server_gets_nothing, test_a_server_comes_back, test_nobody_left
"""


def choose(servers, last):
    return reference_choose([replace(state, up=True) for state in servers], last)
