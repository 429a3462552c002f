"""Leaves out Services without endpoints: there is nothing to translate.

check: test_refused
"""

from dataclasses import replace


def render(desired):
    services = [s for s in desired.services if any(port.endpoints for port in s.ports)]
    return reference_render(replace(desired, services=tuple(services)))
