"""Counts failures and draws no conclusion from them.

check: test_results_in_a_row, test_a_dead_server_gets_nothing, test_a_server_comes_back
"""


def checked(state, passed, rise, fall):
    return replace(state, streak=0 if passed == state.up else state.streak + 1)
