"""Takes the first endpoint: it is the right place, after all.

check: test_spread
"""

from dataclasses import replace


def render(desired):
    return reference_render(_with_ports(desired, lambda port: replace(port, endpoints=port.endpoints[:1])))


def _with_ports(desired, change):
    services = [replace(s, ports=tuple(change(port) for port in s.ports)) for s in desired.services]
    return replace(desired, services=tuple(services))
