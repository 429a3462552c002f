"""Takes nobody for a pod, so that everybody's address is hidden.

check: test_source_is_kept
"""

from dataclasses import replace


def render(desired):
    nowhere = {"ip": "192.0.2.0/24", "ip6": "2001:db8:ffff::/64"}
    return reference_render(
        replace(desired, pod_cidrs=tuple(nowhere[family_of(c)] for c in desired.pod_cidrs))
    )
