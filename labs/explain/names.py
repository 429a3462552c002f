"""The DNS records of an object: wanted, in the zone that the servers read, and in a server's own answer."""

from __future__ import annotations

from collections.abc import Iterable

import dns.exception
import dns.message
import dns.rcode

from labs.errors import LabError
from labs.explain.scene import Scene
from labs.explain.story import Step, compared
from netfns.dns import ClusterNames
from netfns.dns_zones import Record, parse
from topo import plan

ZONE = "/run/minipod/dns/cluster.zone"
DOMAIN = "cluster.local"


def frame(scene: Scene) -> ClusterNames:
    """What the cluster's names have in common."""
    server = str(plan.RANGES[scene.config.ip_families[0]].dns_service)
    return ClusterNames(DOMAIN, (server,), (*scene.service_cidrs, *scene.pod_cidrs))


def records(scene: Scene, wanted: Iterable[Record], owner: str) -> Step:
    """The step "names": the records of an owner, such as `service default/web`."""
    done = scene.lab.exec("router", ["cat", ZONE])
    if done.status:
        raise LabError(f"{ZONE}: {done.stderr.strip()}: the DNS agent has written none yet")
    zones = parse(done.stdout)
    held = [
        r for kinds in zones.records.values() for found in kinds.values() for r in found if r.owner == owner
    ]
    return compared(
        "names",
        f"its names: wanted, and in the zone that the DNS servers read ({ZONE})",
        (_line(record) for record in wanted),
        (_line(record) for record in held),
        "it has none",
    )


def _line(record: Record) -> str:
    return f"{record.name} {record.ttl} IN {record.type} {record.data}"


def answers(scene: Scene, name: str, node: str) -> Step:
    """The step "answers": what each DNS server says for a name, asked by a packet from the node."""
    title, lines, data = f"what the DNS servers answer for {name}", [], []
    for pod in scene.list("Pod", "kube-system"):
        address = (pod.get("status") or {}).get("podIP")
        if (pod["metadata"].get("labels") or {}).get("k8s-app") != "kube-dns" or not address:
            continue
        for kind in ("A", "AAAA"):
            said = _ask(scene, node, address, name, kind)
            lines.append(f"{pod['metadata']['name']} {address}: {kind} {said}")
            data.append({"server": pod["metadata"]["name"], "address": address, "type": kind, "answer": said})
    return Step("answers", title, tuple(lines) or ("there is no DNS server",), data)


def _ask(scene: Scene, node: str, address: str, name: str, kind: str) -> str:
    """One answer in words: its code, its data."""
    query = dns.message.make_query(name, kind)
    outcome = scene.lab.udp(f"node/{node}", address, 53, query.to_wire(), timeout=2.0)
    if not outcome.answered:
        return outcome.verdict
    try:
        answer = dns.message.from_wire(outcome.reply)
    except dns.exception.DNSException as error:
        return f"damaged: {error}"
    data = [record.to_text() for rrset in answer.answer for record in rrset]
    return " ".join([dns.rcode.to_text(answer.rcode()), *data])
