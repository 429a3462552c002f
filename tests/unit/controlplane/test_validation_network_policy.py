"""What a real API server says of wrong NetworkPolicies."""

from typing import Any

import pytest

from controlplane.api import API
from controlplane.errors import FieldErrors, StatusError
from controlplane.validation import network_policy

Obj = dict[str, Any]
PEER = "spec.ingress[0].from[0]"
PORT = "spec.egress[0].ports[0]"


def made(**spec: Any) -> Obj:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"podSelector": {}, **spec},
    }


def block(cidr: str, *exceptions: str) -> Obj:
    return made(ingress=[{"from": [{"ipBlock": {"cidr": cidr, "except": list(exceptions)}}]}])


def port(**fields: Any) -> Obj:
    return made(egress=[{"ports": [fields]}], policyTypes=["Egress"])


def selected(**expression: Any) -> Obj:
    return made(ingress=[{"from": [{"podSelector": {"matchExpressions": [expression]}}]}])


@pytest.fixture
def api() -> API:
    api = API()
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    return api


@pytest.mark.parametrize(
    ("obj", "field", "fact"),
    [
        (block("10.1.2.3/8"), f"{PEER}.ipBlock.cidr", "must not have bits set beyond the prefix length"),
        (block("fd00::1/64"), f"{PEER}.ipBlock.cidr", "must not have bits set beyond the prefix length"),
        (block("010.0.0.0/8"), f"{PEER}.ipBlock.cidr", "must not have leading 0s in IP or prefix length"),
        (block("10.0.0.0/08"), f"{PEER}.ipBlock.cidr", "must not have leading 0s in IP or prefix length"),
        (block("::ffff:10.0.0.0/104"), f"{PEER}.ipBlock.cidr", "must not have an IPv4-mapped IPv6 address"),
        (block("10.0.0.0/33"), f"{PEER}.ipBlock.cidr", "must be a valid CIDR value"),
        (block("10.0.0.0"), f"{PEER}.ipBlock.cidr", "must be a valid CIDR value"),
        (block("10.0.0.0/8", "10.0.0.1/16"), f"{PEER}.ipBlock.except[0]", "must not have bits set beyond"),
        (block("10.0.0.0/8", "11.0.0.0/16"), f"{PEER}.ipBlock.except[0]", "must be a strict subset of `cidr`"),
        (block("10.0.0.0/8", "10.0.0.0/8"), f"{PEER}.ipBlock.except[0]", "must be a strict subset of `cidr`"),
        (block("10.0.0.0/8", "fd00::/64"), f"{PEER}.ipBlock.except[0]", "must be a strict subset of `cidr`"),
        (port(port=80, endPort=79), f"{PORT}.endPort", "must be greater than or equal to `port`"),
        (port(port="http", endPort=90), f"{PORT}.endPort", "may not be specified when `port` is non-numeric"),
        (port(endPort=90), f"{PORT}.endPort", "may not be specified when `port` is not specified"),
        (port(port=0), f"{PORT}.port", "must be between 1 and 65535"),
        (port(port="not a name"), f"{PORT}.port", "must contain only alpha-numeric characters"),
        (port(port=80, protocol="ICMP"), f"{PORT}.protocol", "supported values"),
        (made(policyTypes=["Ingress", "Egress", "Ingress"]), "spec.policyTypes", "may not specify more than two"),
        (made(policyTypes=["Both"]), "spec.policyTypes[0]", "supported values"),
        (selected(key="a", operator="In"), f"{PEER}.podSelector.matchExpressions[0].values", "must be specified"),
        (selected(key="a", operator="Exists", values=["b"]), f"{PEER}.podSelector.matchExpressions[0].values",
         "may not be specified"),
        (selected(key="a", operator="Like"), f"{PEER}.podSelector.matchExpressions[0].operator", "not a valid"),
        (selected(key="a b", operator="Exists"), f"{PEER}.podSelector.matchExpressions[0].key", "a b"),
        (made(podSelector={"matchLabels": {"a": "b c"}}), "spec.podSelector.matchLabels", "b c"),
    ],
)  # fmt: skip
def test_wrong_policies_are_refused(api: API, obj: Obj, field: str, fact: str) -> None:
    with pytest.raises(StatusError) as refused:
        api.create(obj)
    assert refused.value.code == 422
    assert f"{field}: " in str(refused.value)
    assert fact in str(refused.value)


def test_a_cidr_that_is_there_from_before_may_stay() -> None:
    stored, errors = block("10.1.2.3/8"), FieldErrors()
    network_policy.validate(stored, stored, errors)
    assert not errors
    network_policy.validate(block("10.1.2.4/8"), stored, errors)
    assert errors


def test_egress_rules_beside_the_type_ingress_are_no_mistake(api: API) -> None:
    assert api.create(made(policyTypes=["Ingress"], egress=[{}]))["spec"]["policyTypes"] == ["Ingress"]
