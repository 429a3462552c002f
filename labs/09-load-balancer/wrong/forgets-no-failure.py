"""Counts failures that are not in a row: a success does not set the count to 0.

check: test_results_in_a_row
"""


def checked(state, passed, rise, fall):
    return state if passed == state.up else reference_checked(state, passed, rise, fall)
