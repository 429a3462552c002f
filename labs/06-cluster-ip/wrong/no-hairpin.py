"""Takes every endpoint for one of another node, so that none of them can be the sender.

check: test_hairpin
"""

from dataclasses import replace


def render(desired):
    def elsewhere(port):
        return replace(port, endpoints=tuple(replace(e, node="elsewhere") for e in port.endpoints))

    services = [replace(s, ports=tuple(map(elsewhere, s.ports))) for s in desired.services]
    return reference_render(replace(desired, services=tuple(services)))
