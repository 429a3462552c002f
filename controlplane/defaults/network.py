"""Defaults of NetworkPolicy."""

from __future__ import annotations

from controlplane.meta import Obj


def network_policy(obj: Obj) -> Obj:
    """A policy is about Ingress, and about Egress when it has egress rules; ports are TCP."""
    spec = {"podSelector": {}, **(obj.get("spec") or {})}
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    for direction in ("ingress", "egress"):
        if spec.get(direction):
            spec[direction] = [_rule(rule) for rule in spec[direction]]
    return {**obj, "spec": spec}


def _rule(rule: Obj) -> Obj:
    if not rule.get("ports"):
        return rule
    return {**rule, "ports": [{"protocol": "TCP", **port} for port in rule["ports"]]}
