"""The nine pods that policies are tried on, and policies by chance.

              worker1 (10.244.1.0/24)     worker2 (10.244.2.0/24)
    x         a  .2   c  .3               b  .2                    namespaces have the label ns=NAME,
    y         a  .4   c  .5               b  .3                    pods pod=NAME; a and b have tier=front
    z         b  .6                       a  .4   c  .5

Each pod answers on 80 and 81 in TCP, UDP and SCTP, and names them serve-80-tcp, serve-81-udp and so on, but
pods named c give the names of TCP the other way round.
"""

from random import Random

from netfns.policy_types import (
    LAST_PORT,
    PROTOCOLS,
    Block,
    Cluster,
    NamedPort,
    Packet,
    Peer,
    Pod,
    Pods,
    Policy,
    Port,
    Requirement,
    Rule,
    Selector,
)

NODES = {"worker1": 1, "worker2": 2}
PLACES = {
    "x/a": ("worker1", 2), "x/c": ("worker1", 3), "y/a": ("worker1", 4), "y/c": ("worker1", 5),
    "z/b": ("worker1", 6), "x/b": ("worker2", 2), "y/b": ("worker2", 3), "z/a": ("worker2", 4),
    "z/c": ("worker2", 5),
}  # fmt: skip
PORTS = (80, 81)
NAMES = ("x/a", "x/b", "x/c", "y/a", "y/b", "y/c", "z/a", "z/b", "z/c")


def addresses(name: str) -> tuple[str, str]:
    node, number = PLACES[name]
    return f"10.244.{NODES[node]}.{number}", f"fd00:244:0:{NODES[node]}::{number}"


def pod(name: str) -> Pod:
    namespace, short = name.split("/")
    labels = {"pod": short} | ({"tier": "front"} if short in "ab" else {})
    turned = {80: 81, 81: 80} if short == "c" else {80: 80, 81: 81}
    named = tuple(
        NamedPort(f"serve-{port}-{protocol.lower()}", protocol, turned[port] if protocol == "TCP" else port)
        for protocol in PROTOCOLS
        for port in PORTS
    )
    return Pod(namespace, short, PLACES[name][0], addresses(name), labels, named)


NODE_ADDRESSES = {
    node: (f"192.168.50.2{n}", f"fd00:50::2{n}", f"10.244.{n}.1", f"fd00:244:0:{n}::1", f"10.244.{n}.0")
    for node, n in NODES.items()
}
GRID = Cluster(tuple(map(pod, NAMES)), {name: {"ns": name} for name in ("x", "y", "z")}, NODE_ADDRESSES)


def packets(family: int = 0) -> list[tuple[str, str, Packet]]:
    """Every packet from every pod to every other one: (sender, receiver, packet), of IPv4 (0) or IPv6 (1)."""
    return [
        (one, other, Packet(addresses(one)[family], addresses(other)[family], protocol, port))
        for one in NAMES
        for other in NAMES
        if one != other
        for protocol in PROTOCOLS
        for port in PORTS
    ]


# ---------------------------------------------------------------- by chance


def random_policies(rng: Random, most: int = 5) -> list[Policy]:
    """One to `most` policies about the grid."""
    return [_policy(rng, f"p{number}") for number in range(rng.randint(1, most))]


def _policy(rng: Random, name: str) -> Policy:
    kinds = rng.choice(["ingress", "egress", "both", "both"])
    return Policy(
        rng.choice("xyz"),
        name,
        _selector(rng, "pod"),
        None if kinds == "egress" else _rules(rng),
        None if kinds == "ingress" else _rules(rng),
    )


def _rules(rng: Random) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            tuple(_port(rng) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))),
            tuple(_peer(rng) for _ in range(rng.choice([0, 1, 1, 2, 3]))),
        )
        for _ in range(rng.choice([0, 1, 1, 2, 3]))
    )


def _port(rng: Random) -> Port:
    protocol, number = rng.choice(PROTOCOLS), rng.choice(PORTS)
    return rng.choice(
        [
            Port(protocol),
            Port(protocol, number, number),
            Port(protocol, number, number),
            Port(protocol, name=f"serve-{number}-{protocol.lower()}"),
            Port(protocol, number, rng.choice([81, 100, LAST_PORT])),
            Port(protocol, rng.choice([1, 79]), number),
        ]
    )


def _peer(rng: Random) -> Peer:
    kind = rng.choice(["own", "namespaces", "both", "block", "block"])
    if kind == "own":
        return Pods(rng.choice("xyz"), pods=_selector(rng, "pod"))
    if kind == "namespaces":
        return Pods(namespaces=_selector(rng, "ns"))
    if kind == "both":
        return Pods(namespaces=_selector(rng, "ns"), pods=_selector(rng, "pod"))
    return _block(rng)


def _selector(rng: Random, key: str) -> Selector:
    return Selector(tuple(_requirement(rng, key) for _ in range(rng.choice([0, 1, 1, 1, 2]))))


def _requirement(rng: Random, key: str) -> Requirement:
    values = "abc" if key == "pod" else "xyz"
    if key == "pod" and rng.random() < 0.3:
        return rng.choice(
            [
                Requirement("tier", "In", ("front",)),
                Requirement("tier", "NotIn", ("front",)),
                Requirement("tier", "Exists"),
                Requirement("tier", "DoesNotExist"),
            ]
        )
    operator = rng.choice(["In", "In", "NotIn", "Exists", "DoesNotExist"])
    if operator in ("Exists", "DoesNotExist"):
        return Requirement(key, operator)
    return Requirement(key, operator, tuple(sorted(rng.sample(values, rng.choice([1, 1, 2])))))


def _block(rng: Random) -> Block:
    family, node = rng.choice([0, 0, 1]), rng.choice((1, 2))
    one, other = (addresses(name)[family] for name in rng.sample(NAMES, 2))
    single, half, node_range, everything = (
        ("/32", "/30", f"10.244.{node}.0/24", "0.0.0.0/0"),
        ("/128", "/126", f"fd00:244:0:{node}::/64", "::/0"),
    )[family]
    return rng.choice(
        [
            Block(one + single),
            Block(one + half),
            Block(node_range, (node_range.replace(".0/24", ".4/30").replace("::/64", "::4/126"),)),
            Block(node_range),
            Block(everything, (one + single, other + single)),
            Block(everything),
        ]
    )
