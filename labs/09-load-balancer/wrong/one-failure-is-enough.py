"""Takes a server down at its first failure.

check: test_results_in_a_row
"""


def checked(state, passed, rise, fall):
    return reference_checked(state, passed, rise, 1)
