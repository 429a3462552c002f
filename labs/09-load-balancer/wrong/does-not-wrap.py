"""Goes to the end of the list and not on from its beginning.

check: test_round_robin, test_nobody_left, test_a_dead_server_gets_nothing, test_a_server_comes_back, test_draining
"""


def choose(servers, last):
    for index in range(last + 1, len(servers)):
        if servers[index].up and not servers[index].draining:
            return index
    return None
