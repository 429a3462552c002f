"""What NetworkPolicies let through: one row a case, every row through `evaluate` and through the kernel.

    isolation     whom a policy selects                 combinations  peers and ports, rules and rules
    peers         who may reach it, or be reached       defaults      what is left out
    policy_ports.py: on which ports                     several       policies that add up
                                                        both_ends     the sender's policies and the receiver's

Sources: Kubernetes documentation, "Network Policies"; API reference, NetworkPolicy v1; the cases that the
Kubernetes end-to-end tests and cyclonus try, told in our words.
"""

from collections.abc import Iterator

from tests.conformance.policy_grid import NAMES
from tests.conformance.policy_ports import named_ports, ports
from tests.conformance.policy_row import (
    API,
    DIRECTIONS,
    E2E,
    SIDE,
    Limit,
    Obj,
    Row,
    block,
    expression,
    labels,
    one_way,
    policy,
    single,
)

# Selectors, and the pods, or namespaces, that they select.
PODS: dict[str, tuple[Obj, str]] = {
    "every pod": ({}, "*"),
    "a label": (labels(pod="a"), "a"),
    "two labels": (labels(pod="b", tier="front"), "b"),
    "labels that no pod has together": (labels(pod="c", tier="front"), "-"),
    "In": (expression("pod", "In", "a", "b"), "[ab]"),
    "NotIn": (expression("pod", "NotIn", "a"), "[bc]"),
    "NotIn of a label that some lack": (expression("tier", "NotIn", "front"), "c"),
    "Exists": (expression("tier", "Exists"), "[ab]"),
    "DoesNotExist": (expression("tier", "DoesNotExist"), "c"),
    "a label and an expression": (labels(tier="front") | expression("pod", "NotIn", "b"), "a"),
}
NAMESPACES: dict[str, tuple[Obj, str]] = {
    "every namespace": ({}, "*"),
    "a namespace's label": (labels(ns="y"), "y"),
    "a namespace's In": (expression("ns", "In", "y", "z"), "[yz]"),
    "a namespace's NotIn": (expression("ns", "NotIn", "y"), "[xz]"),
    "a namespace's Exists": (expression("ns", "Exists"), "*"),
    "a namespace's DoesNotExist": (expression("ns", "DoesNotExist"), "-"),
    "a namespace that is not there": (labels(ns="w"), "-"),
}


# ---------------------------------------------------------------- whom a policy isolates


def isolation() -> Iterator[Row]:
    for direction in DIRECTIONS:
        for what, (selector, those) in PODS.items():
            yield Row(
                f"no {direction} for {what}",
                (one_way(direction, [], selector),),
                (Limit(direction, f"x/{those}"),),
            )
        yield Row(f"no {direction} rules at all", (one_way(direction, None),), (Limit(direction, "x/*"),))
        yield Row(
            f"an empty {direction} rule allows everything",
            (one_way(direction, [{}]),),
            (Limit(direction, "x/*", ("*",)),),
            API,
        )


# ---------------------------------------------------------------- peers


def peers() -> Iterator[Row]:
    for direction in DIRECTIONS:
        for name, those, wanted in _peers():
            yield Row(
                f"{direction} of x/a with {name}",
                (one_way(direction, [{SIDE[direction]: those}], labels(pod="a")),),
                (Limit(direction, "x/a", wanted),),
            )


def _peers() -> Iterator[tuple[str, list[Obj], tuple[str, ...]]]:
    """(what it is, the peers, the pods that they are)."""
    for what, (selector, where) in PODS.items():
        yield f"{what} of its own namespace", [{"podSelector": selector}], (f"x/{where}",)
    for what, (selector, where) in NAMESPACES.items():
        yield what, [{"namespaceSelector": selector}], (f"{where}/*",)
    both = {"namespaceSelector": labels(ns="y"), "podSelector": labels(pod="b")}
    yield "namespace and pod in one peer", [both], ("y/b",)
    yield "namespace, pod as two peers", [{k: v} for k, v in both.items()], ("y/*", "x/b")
    anywhere: Obj = {"namespaceSelector": {}, "podSelector": expression("pod", "In", "b", "c")}
    yield "such pods of every namespace", [anywhere], ("*/[bc]",)
    others = {"namespaceSelector": expression("ns", "NotIn", "x"), "podSelector": {}}
    yield "all pods of other namespaces", [others], ("[yz]/*",)
    yield "the same peer twice", [{"podSelector": labels(pod="b")}] * 2, ("x/b",)
    yield "nobody and somebody", [{"podSelector": labels(pod="q")}, both], ("y/b",)
    yield from _blocks()
    mixed = [block(single("z/a")), block(single("z/a", 1)), {"namespaceSelector": labels(ns="y")}]
    yield "a block and a namespace", mixed, ("z/a", "y/*")


def _blocks() -> Iterator[tuple[str, list[Obj], tuple[str, ...]]]:
    """Blocks in both families, for every row is tried in both."""
    near = ("x/a", "x/c", "y/a", "y/c", "z/b")
    far = tuple(name for name in NAMES if name not in near)
    yield "one pod's address", [block(single("y/b", f)) for f in (0, 1)], ("y/b",)
    yield "a node's pods", [block("10.244.1.0/24"), block("fd00:244:0:1::/64")], near
    yield "the whole world", [block("0.0.0.0/0"), block("::/0")], ("*",)
    yield (
        "the world without a node's pods",
        [
            block("0.0.0.0/0", "10.244.1.0/24"),
            block("::/0", "fd00:244:0:1::/64"),
        ],
        far,
    )
    yield (
        "a node's pods without two",
        [
            block("10.244.1.0/24", single("y/a"), single("z/b")),
            block("fd00:244:0:1::/64", single("y/a", 1), single("z/b", 1)),
        ],
        ("x/a", "x/c", "y/c"),
    )
    yield (
        "an exception that another block takes in",
        [
            block("10.244.0.0/16", "10.244.1.0/24"),
            block(single("x/c")),
            block("fd00:244::/56", "fd00:244:0:1::/64"),
            block(single("x/c", 1)),
        ],
        (*far, "x/c"),
    )
    yield "blocks that overlap", [
        block("10.244.2.0/24"), block("10.244.2.2/31"), block("fd00:244:0:2::/64"), block("fd00:244:0:2::2/127"),
    ], far  # fmt: skip
    yield "a block outside the cluster", [block("203.0.113.0/24"), block("2001:db8:113::/64")], ("-",)


# ---------------------------------------------------------------- ports and peers, rules and rules


TCP80: Obj = {"protocol": "TCP", "port": 80}
UDP81: Obj = {"protocol": "UDP", "port": 81}
FROM_X: Obj = {"namespaceSelector": labels(ns="x")}
FROM_Y: Obj = {"namespaceSelector": labels(ns="y")}
FROM_Z: Obj = {"namespaceSelector": labels(ns="z")}
Y_A: Obj = FROM_Y | {"podSelector": labels(pod="a")}


def combinations() -> Iterator[Row]:
    for direction in DIRECTIONS:
        side = SIDE[direction]

        def rows(name: str, rules: list[Obj], *allowed: tuple[tuple[str, ...], tuple[str, ...]]) -> Row:
            return Row(
                f"{direction}: {name}",  # noqa: B023 - called within the loop
                (one_way(direction, rules, labels(pod="a")),),  # noqa: B023
                tuple(Limit(direction, "x/a", *one) for one in allowed),  # noqa: B023
            )

        yield rows(
            "peer and port of one rule must both match",
            [{"ports": [TCP80], side: [FROM_Y]}],
            (("y/*",), ("80/TCP",)),
        )
        yield rows(
            "two rules, each with its peer and port",
            [{"ports": [TCP80], side: [FROM_Y]}, {"ports": [UDP81], side: [FROM_Z]}],
            (("y/*",), ("80/TCP",)),
            (("z/*",), ("81/UDP",)),
        )
        yield rows(
            "two ports and two peers in one rule: each with each",
            [{"ports": [TCP80, UDP81], side: [FROM_Y, FROM_Z]}],
            (("[yz]/*",), ("80/TCP", "81/UDP")),
        )
        yield rows(
            "a rule for peers beside one for ports",
            [{side: [FROM_Y]}, {"ports": [TCP80]}],
            (("y/*",), ("*",)),
            (("*",), ("80/TCP",)),
        )
        yield rows(
            "a range for some, one port of it for others",
            [
                {"ports": [TCP80 | {"endPort": 90}], side: [FROM_Y]},
                {"ports": [TCP80], side: [FROM_Z]},
            ],
            (("y/*",), ("8[01]/TCP",)),
            (("z/*",), ("80/TCP",)),
        )
        yield rows(
            "an empty rule beside others",
            [{"ports": [TCP80], side: [FROM_Y]}, {}],
            (("*",), ("*",)),
        )
        yield rows(
            "empty lists are no lists",
            [{"ports": [], side: []}],
            (("*",), ("*",)),
        )


# ---------------------------------------------------------------- directions and defaults


def defaults() -> Iterator[Row]:
    rule_in, rule_out = {"from": [FROM_Y]}, {"to": [FROM_Z]}
    into, out = Limit("ingress", "x/*", ("y/*",)), Limit("egress", "x/*", ("z/*",))
    yield Row("no types and no rules: ingress is isolated", (policy(),), (Limit("ingress", "x/*"),), API)
    yield Row("no types, ingress rules", (policy(ingress=[rule_in]),), (into,), API)
    yield Row(
        "no types, egress rules: both are isolated",
        (policy(egress=[rule_out]),),
        (Limit("ingress", "x/*"), out),
        API,
    )
    yield Row("no types, both rules", (policy(ingress=[rule_in], egress=[rule_out]),), (into, out), API)
    yield Row(
        "type Ingress: egress rules say nothing",
        (policy(policyTypes=["Ingress"], ingress=[rule_in], egress=[]),),
        (into,),
        API,
    )
    yield Row(
        "type Egress: ingress rules say nothing",
        (policy(policyTypes=["Egress"], ingress=[], egress=[rule_out]),),
        (out,),
        API,
    )
    yield Row(
        "both types, ingress rules: egress is denied",
        (policy(policyTypes=["Ingress", "Egress"], ingress=[rule_in]),),
        (into, Limit("egress", "x/*")),
        API,
    )
    yield Row(
        "both types, egress rules: ingress is denied",
        (policy(policyTypes=["Egress", "Ingress"], egress=[rule_out]),),
        (Limit("ingress", "x/*"), out),
        API,
    )
    yield Row(
        "both types, no rules: nothing passes",
        (policy(policyTypes=["Ingress", "Egress"]),),
        (Limit("ingress", "x/*"), Limit("egress", "x/*")),
    )
    yield Row(
        "both types, everything allowed",
        (policy(policyTypes=["Ingress", "Egress"], ingress=[{}], egress=[{}]),),
        (),
    )
    yield Row("a type twice", (policy(policyTypes=["Ingress", "Ingress"]),), (Limit("ingress", "x/*"),), API)


# ---------------------------------------------------------------- several policies


def several() -> Iterator[Row]:
    for direction in DIRECTIONS:
        side = SIDE[direction]
        deny = one_way(direction, [], name="deny")
        yield Row(
            f"{direction}: denied by one, allowed by another",
            (deny, one_way(direction, [{side: [FROM_Y]}], labels(pod="a"), name="allow")),
            (Limit(direction, "x/[bc]"), Limit(direction, "x/a", ("y/*",))),
            E2E,
        )
        yield Row(
            f"{direction}: allow-all over deny-all",
            (deny, one_way(direction, [{}], name="allow")),
            (),
            E2E,
        )
        yield Row(
            f"{direction}: three policies add up",
            (
                one_way(direction, [{side: [FROM_Y], "ports": [TCP80]}], name="one"),
                one_way(direction, [{side: [FROM_Z], "ports": [UDP81]}], name="two"),
                one_way(direction, [{side: [{"podSelector": {}}]}], labels(pod="c"), name="three"),
            ),
            (
                Limit(direction, "x/*", ("y/*",), ("80/TCP",)),
                Limit(direction, "x/*", ("z/*",), ("81/UDP",)),
                Limit(direction, "x/c", ("x/*",)),
            ),
            E2E,
        )
        yield Row(
            f"{direction}: the same policy twice under two names",
            tuple(one_way(direction, [{side: [FROM_Y]}], name=name) for name in ("one", "two")),
            (Limit(direction, "x/*", ("y/*",)),),
        )
        yield Row(
            f"{direction}: every namespace keeps to itself",
            tuple(one_way(direction, [{side: [{"podSelector": {}}]}], namespace=n) for n in "xyz"),
            tuple(Limit(direction, f"{n}/*", (f"{n}/*",)) for n in "xyz"),
        )
        yield Row(
            f"{direction}: policies of another namespace do not select",
            (one_way(direction, [], labels(pod="a"), namespace="y"),),
            (Limit(direction, "y/a"),),
        )
        yield Row(
            f"{direction}: pieces of ports from two policies",
            (
                one_way(direction, [{"ports": [TCP80 | {"endPort": 81}], side: [FROM_Y]}], name="range"),
                one_way(
                    direction, [{"ports": [{"protocol": "TCP", "port": 81}], side: [FROM_Z]}], name="one"
                ),
                one_way(direction, [{side: [{"podSelector": labels(pod="b")}]}], name="any"),
            ),
            (
                Limit(direction, "x/*", ("y/*",), ("8[01]/TCP",)),
                Limit(direction, "x/*", ("z/*",), ("81/TCP",)),
                Limit(direction, "x/*", ("x/b",)),
            ),
        )


def both_ends() -> Iterator[Row]:
    yield Row(
        "the sender may, the receiver will not",
        (
            one_way("egress", [{"to": [FROM_Y]}], labels(pod="a")),
            one_way("ingress", [], labels(pod="b"), namespace="y"),
        ),
        (Limit("egress", "x/a", ("y/*",)), Limit("ingress", "y/b")),
        E2E,
    )
    yield Row(
        "the receiver would, the sender may not",
        (
            one_way("egress", [], labels(pod="a")),
            one_way("ingress", [{"from": [FROM_X]}], namespace="y"),
        ),
        (Limit("egress", "x/a"), Limit("ingress", "y/*", ("x/*",))),
        E2E,
    )
    yield Row(
        "nobody enters x, and x enters everybody: replies come back",
        (one_way("ingress", []),),
        (Limit("ingress", "x/*"),),
        E2E,
    )
    yield Row(
        "x leaves for nobody, and everybody enters x: replies get out",
        (one_way("egress", []),),
        (Limit("egress", "x/*"),),
        E2E,
    )
    yield Row(
        "only 80/TCP, from y/a to x/a, from both sides",
        (
            one_way("ingress", [{"from": [Y_A], "ports": [TCP80]}], labels(pod="a")),
            one_way("egress", [{"to": [FROM_X], "ports": [TCP80]}], labels(pod="a"), namespace="y"),
        ),
        (
            Limit("ingress", "x/a", ("y/a",), ("80/TCP",)),
            Limit("egress", "y/a", ("x/*",), ("80/TCP",)),
        ),
    )
    yield Row(
        "nothing enters and nothing leaves, anywhere",
        tuple(policy(namespace, policyTypes=["Ingress", "Egress"]) for namespace in "xyz"),
        (Limit("ingress", "*"), Limit("egress", "*")),
    )
    yield Row("no policy at all", (), ())


ROWS = (
    *isolation(),
    *peers(),
    *ports(),
    *named_ports(),
    *combinations(),
    *defaults(),
    *several(),
    *both_ends(),
)
