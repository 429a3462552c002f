"""Looks at the port alone: whatever goes to port 80 is for the Service.

check: test_others_are_left_alone
"""


def render(desired):
    [target] = [
        p.endpoints[0] for s in desired.services for p in s.ports if s.name == "web" and p.name == "http"
    ]
    chain = f"type nat hook prerouting priority -105; tcp dport 80 ip daddr 10.244.0.0/16 dnat to {target.address}:8080"
    return f"{reference_render(desired)}table ip service {{\n\tchain greedy {{\n\t\t{chain}\n\t}}\n}}\n"
