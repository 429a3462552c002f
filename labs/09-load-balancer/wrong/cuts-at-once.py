"""Forgets a server that is taken out, with the connections that it has.

check: test_draining, test_states_after_a_reload
"""


def reload(servers, wanted):
    return reference_reload([state for state in servers if state.server in wanted], wanted)
