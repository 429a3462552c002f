"""The name files of a pod: /etc/hosts and /etc/resolv.conf, as the kubelet writes them.

Sources: Kubernetes documentation, "DNS for Services and Pods" (policies, search path, ndots, limits) and "Adding
entries to Pod /etc/hosts with HostAliases"; resolv.conf(5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

Obj = dict[str, Any]
MAX_NAMESERVERS = 3
MAX_SEARCHES, MAX_SEARCH_CHARACTERS = 32, 2048


@dataclass(frozen=True)
class ClusterDns:
    """What a cluster tells its kubelets: its DNS servers' addresses and its domain."""

    servers: tuple[str, ...]
    domain: str = "cluster.local"


def hostname(pod: Obj) -> str:
    """The pod's host name: `spec.hostname`, else its name, cut to the 63 characters that a label may have."""
    name = pod["spec"].get("hostname") or pod["metadata"]["name"]
    return str(name)[:63].rstrip("-.")


def hosts(pod: Obj, addresses: Sequence[str], domain: str) -> str:
    """/etc/hosts of a pod with its own network."""
    names = hostname(pod)
    subdomain = pod["spec"].get("subdomain")
    if subdomain:
        names = f"{names}.{subdomain}.{pod['metadata']['namespace']}.svc.{domain}\t{names}"
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        *(f"{address}\t{names}" for address in addresses),
    ]
    return "\n".join([*lines, *_aliases(pod)]) + "\n"


def node_hosts(pod: Obj, text: str) -> str:
    """/etc/hosts of a pod on its node's network: the node's, and the pod's aliases."""
    return (
        "\n".join(["# Kubernetes-managed hosts file (host network).", text.rstrip("\n"), *_aliases(pod)])
        + "\n"
    )


def _aliases(pod: Obj) -> list[str]:
    aliases = pod["spec"].get("hostAliases") or ()
    entries = ["\t".join([alias["ip"], *(alias.get("hostnames") or ())]) for alias in aliases]
    return ["", "# Entries added by HostAliases.", *entries] if entries else []


@dataclass(frozen=True)
class ResolvConf:
    """/etc/resolv.conf of a pod, and what had to be left out of it, in words."""

    servers: tuple[str, ...]
    searches: tuple[str, ...]
    options: tuple[str, ...]
    omitted: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"search {' '.join(self.searches)}"] if self.searches else []
        lines += [f"nameserver {server}" for server in self.servers]
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "\n".join(lines) + "\n"


def resolv_conf(pod: Obj, cluster: ClusterDns, node: str) -> ResolvConf:
    """What the pod's dnsPolicy and dnsConfig ask for, within the limits; `node` is the text of its node's."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and pod["spec"].get("hostNetwork"):
        policy = "Default"
    servers, searches, options = _read(node if policy == "Default" else "")
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        namespace, domain = pod["metadata"]["namespace"], cluster.domain
        servers = list(cluster.servers)
        searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *_read(node)[1]]
        options = ["ndots:5"]
    config = pod["spec"].get("dnsConfig") or {}
    servers = _unique([*servers, *(config.get("nameservers") or ())])
    searches = _unique([*searches, *(config.get("searches") or ())])
    ends = accumulate(len(search) + 1 for search in searches[:MAX_SEARCHES])  # each with the blank before it
    fitting = [
        search for search, end in zip(searches, ends, strict=False) if end - 1 <= MAX_SEARCH_CHARACTERS
    ]
    omitted = []
    if len(servers) > MAX_NAMESERVERS:
        line = " ".join(servers[:MAX_NAMESERVERS])
        omitted.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            f"the applied nameserver line is: {line}"
        )
    if len(fitting) < len(searches):
        omitted.append(
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(fitting)}"
        )
    merged = _merged(options, config.get("options") or ())
    return ResolvConf(tuple(servers[:MAX_NAMESERVERS]), tuple(fitting), tuple(merged), tuple(omitted))


@lru_cache(maxsize=64)
def _read(text: str) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """The servers, search path and options of a resolv.conf."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        key, *values = line.split() or [""]
        if key == "nameserver":
            servers += values[:1]
        elif key in ("search", "domain"):
            searches = values
        elif key == "options":
            options += values
    return servers, searches, options


def _unique(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _merged(options: Sequence[str], given: Sequence[Obj]) -> list[str]:
    """The options of dnsConfig, each in place of one of the same name."""
    merged = {option.partition(":")[0]: option for option in options}
    for option in given:
        name, value = option["name"], option.get("value")
        merged[name] = name if value is None else f"{name}:{value}"
    return list(merged.values())
