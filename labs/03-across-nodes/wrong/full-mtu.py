"""Leaves the device at 1500 bytes: there is no room for the outer header.

check: test_size
"""

MTU = 1500
