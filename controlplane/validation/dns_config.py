"""What a pod says about its /etc/resolv.conf: dnsPolicy and dnsConfig.

Source: Kubernetes documentation, "DNS for Services and Pods": Pod's DNS config, DNS search domain list limits.
"""

from __future__ import annotations

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.meta import complain, one_of

DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
MOST_NAMESERVERS, MOST_SEARCHES, LONGEST_SEARCHES = 3, 32, 2048
ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def validate(spec: Obj, field: str, errors: FieldErrors) -> None:
    """The fields of a pod's spec; `field` is its path."""
    config, place = spec.get("dnsConfig") or {}, f"{field}.dnsConfig"
    one_of(errors, f"{field}.dnsPolicy", spec.get("dnsPolicy"), DNS_POLICIES)
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if spec.get("dnsPolicy") == "None" and not servers:
        text = 'must provide at least one DNS nameserver when `dnsPolicy` is "None"'
        errors.required(f"{place}.nameservers", text)
    if len(servers) > MOST_NAMESERVERS:
        text = f"must not have more than {MOST_NAMESERVERS} nameservers"
        errors.invalid(f"{place}.nameservers", servers, text)
    for index, server in enumerate(servers):
        if names.parse_address(server) is None:
            errors.invalid(f"{place}.nameservers[{index}]", server, ADDRESS)
    if len(searches) > MOST_SEARCHES:
        errors.invalid(f"{place}.searches", searches, f"must not have more than {MOST_SEARCHES} search paths")
    if len(" ".join(searches)) > LONGEST_SEARCHES:
        text = f"must not have more than {LONGEST_SEARCHES} characters (including spaces) in the search list"
        errors.invalid(f"{place}.searches", searches, text)
    for index, search in enumerate(searches):
        if search != ".":
            why = names.dns_subdomain(search.removesuffix("."))
            complain(errors, f"{place}.searches[{index}]", search, why)
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.required(f"{place}.options[{index}]", "must not be empty")
