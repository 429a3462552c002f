"""The rows of the policy table that are about ports: numbers, ranges, names, in each protocol and direction."""

from collections.abc import Iterator

from netfns.policy_types import PROTOCOLS
from tests.conformance.policy_row import DIRECTIONS, E2E, Limit, Obj, Row, block, labels, one_way, single


def ports() -> Iterator[Row]:
    for direction in DIRECTIONS:
        for protocol in PROTOCOLS:
            for name, those, wanted in _ports(protocol):
                yield Row(
                    f"{direction} of x/b on {name}",
                    (one_way(direction, [{"ports": those}], labels(pod="b")),),
                    (Limit(direction, "x/b", ("*",), wanted),),
                )


def _ports(protocol: str) -> Iterator[tuple[str, list[Obj], tuple[str, ...]]]:
    def port(number: int | str, **more: int) -> Obj:
        return {"protocol": protocol, "port": number, **more}

    yield f"80/{protocol}", [port(80)], (f"80/{protocol}",)
    yield f"80 and 81/{protocol}", [port(80), port(81)], (f"8[01]/{protocol}",)
    yield f"all {protocol}", [{"protocol": protocol}], (f"*/{protocol}",)
    yield f"80-81/{protocol}", [port(80, endPort=81)], (f"8[01]/{protocol}",)
    yield f"81-81/{protocol}", [port(81, endPort=81)], (f"81/{protocol}",)
    yield f"81-65535/{protocol}", [port(81, endPort=65535)], (f"81/{protocol}",)
    yield f"1-79/{protocol}", [port(1, endPort=79)], ("-",)
    overlapping = [port(1, endPort=80), port(80, endPort=81)]
    yield f"1-80/{protocol} and 80-81/{protocol}, which overlap", overlapping, (f"8[01]/{protocol}",)
    others = [p for p in PROTOCOLS if p != protocol]
    mixed = [port(81), *({"protocol": p} for p in others)]
    yield f"81/{protocol} and every other protocol", mixed, (f"81/{protocol}", *(f"*/{p}" for p in others))
    yield f"a name that no {protocol} port has", [port("serve")], ("-",)


def named_ports() -> Iterator[Row]:
    """Pods called c give the two names of TCP to each other's numbers."""
    for protocol in PROTOCOLS:
        name = f"serve-80-{protocol.lower()}"
        those = [{"protocol": protocol, "port": name}]
        turned = "81" if protocol == "TCP" else "80"
        yield Row(
            f"ingress on the port {name}, which each receiver gives a number",
            (one_way("ingress", [{"ports": those}]),),
            (
                Limit("ingress", "x/[ab]", ("*",), (f"80/{protocol}",)),
                Limit("ingress", "x/c", ("*",), (f"{turned}/{protocol}",)),
            ),
            E2E,
        )
        yield Row(
            f"egress to the port {name}, whatever number the receiver gives it",
            (one_way("egress", [{"ports": those}], labels(pod="a")),),
            (
                Limit("egress", "x/a", ("*/[ab]",), (f"80/{protocol}",)),
                Limit("egress", "x/a", ("*/c",), (f"{turned}/{protocol}",)),
            ),
            E2E,
        )
        yield Row(
            f"egress to the port {name} of namespace y and of one address",
            (
                one_way(
                    "egress",
                    [{"ports": those, "to": [
                        {"namespaceSelector": labels(ns="y")}, block(single("z/c")), block(single("z/c", 1)),
                    ]}],
                    labels(pod="a"),
                ),
            ),
            (
                Limit("egress", "x/a", ("y/[ab]",), (f"80/{protocol}",)),
                Limit("egress", "x/a", ("y/c", "z/c"), (f"{turned}/{protocol}",)),
            ),
        )  # fmt: skip
    wrong = [{"protocol": "UDP", "port": "serve-80-tcp"}]
    for direction in DIRECTIONS:
        yield Row(
            f"{direction} on a name that belongs to another protocol",
            (one_way(direction, [{"ports": wrong}]),),
            (Limit(direction, "x/*"),),
        )
