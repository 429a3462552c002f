"""kube-proxy's own nftables layout as texts, the reference of bench/services: a chain for each service and endpoint.

    services -> service-ips: address . protocol . port -> goto service-… -> numgen vmap -> goto endpoint-… -> dnat

The chains and maps, and what each change of them says, are those of kube-proxy's nftables mode.

Source: k8s.io/kubernetes pkg/proxy/nftables/README.md.
"""

from collections.abc import Iterable

from netfns.service_types import Endpoint, Service, ServicePort

TABLE = "ip kube-proxy"
FRAME = f"""\
table {TABLE} {{
	map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
	map no-endpoint-services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
	set cluster-ips {{ type ipv4_addr; }}
	chain mark-for-masquerade {{
		meta mark set meta mark | 0x4000
	}}
	chain services {{
		ip daddr . meta l4proto . th dport vmap @service-ips
	}}
	chain nat-prerouting {{ type nat hook prerouting priority dstnat; policy accept;
		jump services
	}}
	chain nat-output {{ type nat hook output priority -100; policy accept;
		jump services
	}}
	chain nat-postrouting {{ type nat hook postrouting priority srcnat; policy accept;
		meta mark & 0x4000 == 0 return
		meta mark set meta mark ^ 0x4000
		masquerade fully-random
	}}
	chain reject-chain {{
		reject
	}}
	chain endpoints-check {{
		ip daddr . meta l4proto . th dport vmap @no-endpoint-services
	}}
	chain filter-forward {{ type filter hook forward priority -110; policy accept;
		ct state new jump endpoints-check
		ip daddr @cluster-ips reject
	}}
	chain filter-output {{ type filter hook output priority -110; policy accept;
		ct state new jump endpoints-check
		ip daddr @cluster-ips reject
	}}
}}
"""


def load(services: Iterable[Service]) -> str:
    """Everything, as kube-proxy writes it at its start."""
    return f"add table {TABLE}\ndelete table {TABLE}\n{FRAME}{add(services)}"


def add(services: Iterable[Service]) -> str:
    """What new services bring."""
    lines: list[str] = []
    for service in services:
        lines.append(
            f'add element {TABLE} cluster-ips {{ {service.cluster_ips[0]} comment "{_owner(service)}" }}'
        )
        for port in service.ports:
            lines += _endpoint_chains(service, port)
            chain = _chain(service, port)
            lines.append(f"add chain {TABLE} {chain}")
            lines += _service_rules(service, port)
            key = f"{service.cluster_ips[0]} . {port.protocol.lower()} . {port.port}"
            lines.append(f"add element {TABLE} service-ips {{ {key} : goto {chain} }}")
    return "\n".join(lines) + "\n"


def change(before: Service, now: Service) -> str:
    """What another set of endpoints changes: chains of endpoints come and go, the service's chain is written anew."""
    lines: list[str] = []
    for old, new in zip(before.ports, now.ports, strict=True):
        lines += _endpoint_chains(now, new)
        lines += [f"flush chain {TABLE} {_chain(now, new)}", *_service_rules(now, new)]
        for gone in set(old.endpoints) - set(new.endpoints):
            chain = _endpoint_chain(before, old, gone)
            lines += [f"flush chain {TABLE} {chain}", f"delete chain {TABLE} {chain}"]
    return "\n".join(lines) + "\n"


def remove(service: Service) -> str:
    """What goes with a service."""
    lines = [f"delete element {TABLE} cluster-ips {{ {service.cluster_ips[0]} }}"]
    for port in service.ports:
        key = f"{service.cluster_ips[0]} . {port.protocol.lower()} . {port.port}"
        lines.append(f"delete element {TABLE} service-ips {{ {key} }}")
        chains = [_chain(service, port), *(_endpoint_chain(service, port, e) for e in port.endpoints)]
        lines += [f"flush chain {TABLE} {chain}" for chain in chains]
        lines += [f"delete chain {TABLE} {chain}" for chain in chains]
    return "\n".join(lines) + "\n"


def _endpoint_chains(service: Service, port: ServicePort) -> list[str]:
    lines = []
    for endpoint in port.endpoints:
        chain = f"{TABLE} {_endpoint_chain(service, port, endpoint)}"
        lines += [
            f"add chain {chain}",
            f"flush chain {chain}",
            f"add rule {chain} ip saddr {endpoint.address} jump mark-for-masquerade",
            f"add rule {chain} meta l4proto {port.protocol.lower()} dnat to {endpoint.address}:{endpoint.port}",
        ]
    return lines


def _service_rules(service: Service, port: ServicePort) -> list[str]:
    chain = f"{TABLE} {_chain(service, port)}"
    protocol = port.protocol.lower()
    here = f"ip daddr {service.cluster_ips[0]} {protocol} dport {port.port}"
    verdicts = ", ".join(
        f"{number} : goto {_endpoint_chain(service, port, endpoint)}"
        for number, endpoint in enumerate(port.endpoints)
    )
    return [
        f"add rule {chain} {here} ip saddr != 10.244.0.0/16 jump mark-for-masquerade",
        f"add rule {chain} numgen random mod {len(port.endpoints)} vmap {{ {verdicts} }}",
    ]


def _owner(service: Service) -> str:
    return f"{service.namespace}/{service.name}"


def _chain(service: Service, port: ServicePort) -> str:
    return f"service-{_owner(service)}/{port.protocol.lower()}/{port.name}"


def _endpoint_chain(service: Service, port: ServicePort, endpoint: Endpoint) -> str:
    return (
        f"endpoint-{_owner(service)}/{port.protocol.lower()}/{port.name}__{endpoint.address}/{endpoint.port}"
    )
