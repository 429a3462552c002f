"""Knows one protocol.

check: test_udp
"""

from dataclasses import replace


def render(desired):
    services = [replace(s, ports=tuple(p for p in s.ports if p.protocol == "TCP")) for s in desired.services]
    return reference_render(replace(desired, services=tuple(services)))
