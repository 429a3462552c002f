"""Ingress, IngressClass, NetworkPolicy."""

from __future__ import annotations

from controlplane.columns.cell import AGE, NAME, NONE, Column, at, joined
from controlplane.meta import Obj, annotations_of
from controlplane.selectors import to_text

INGRESS_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def _ingress_class(ingress: Obj) -> str:
    return str(
        ingress["spec"].get("ingressClassName") or annotations_of(ingress).get(INGRESS_CLASS_ANNOTATION, NONE)
    )


def _ingress_hosts(ingress: Obj) -> str:
    hosts = [rule["host"] for rule in ingress["spec"].get("rules") or () if rule.get("host")]
    return joined(hosts, 3) if hosts else "*"


def _ingress_address(ingress: Obj) -> str:
    entries = ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(entry.get("ip") or entry.get("hostname", "") for entry in entries)


def _parameters(obj: Obj) -> str:
    given = obj["spec"].get("parameters")
    if not given:
        return NONE
    group = f".{given['apiGroup']}" if given.get("apiGroup") else ""
    return f"{given['kind']}{group}/{given['name']}"


INGRESS = (
    NAME,
    Column("Class", _ingress_class),
    Column("Hosts", _ingress_hosts),
    Column("Address", _ingress_address),
    Column("Ports", lambda obj: "80, 443" if obj["spec"].get("tls") else "80"),
    AGE,
)
INGRESS_CLASS = (
    NAME,
    Column("Controller", at("spec", "controller")),
    Column("Parameters", _parameters),
    AGE,
)
NETWORK_POLICY = (
    NAME,
    Column("Pod-Selector", lambda obj: to_text(obj["spec"].get("podSelector")) or NONE),
    AGE,
)
