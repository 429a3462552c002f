"""A server that was down once stays down.

check: test_results_in_a_row, test_a_server_comes_back, test_draining
"""


def checked(state, passed, rise, fall):
    return reference_checked(state, passed and state.up, rise, fall)
