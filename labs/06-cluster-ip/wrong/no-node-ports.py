"""Forgets the ways in from outside.

check: test_node_port
"""

from dataclasses import replace


def render(desired):
    return reference_render(replace(desired, node_addresses=()))
