"""Which families and addresses a Service gets, by what its author says; the cases of the Kubernetes documentation.

Source: "IPv4/IPv6 dual-stack", Services; KEP-563.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.service_allocation import ServiceAllocation

Obj = dict[str, Any]
Make = Callable[..., Obj]
V4, V6 = "IPv4", "IPv6"
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
RANGES = {V4: "10.96.0.0/16", V6: "fd00:96::/112"}
DUAL, DUAL_IPV6, ONLY = (V4, V6), (V6, V4), (V4,)
A4, A6, B4 = "10.96.0.50", "fd00:96::50", "10.96.0.51"


def api_of(families: tuple[str, ...]) -> API:
    api = API()
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    api.admit_with("Service", ServiceAllocation([RANGES[family] for family in families]))
    return api


def families_of(addresses: list[str]) -> list[str]:
    return [V6 if ":" in address else V4 for address in addresses]


# The cluster's families, what the author says, and what comes of it: policy, families.
CREATED: list[tuple[tuple[str, ...], Obj, str, list[str]]] = [
    (DUAL, {}, SINGLE, [V4]),
    (DUAL_IPV6, {}, SINGLE, [V6]),
    (ONLY, {}, SINGLE, [V4]),
    (DUAL, {"ipFamilies": [V6]}, SINGLE, [V6]),
    (DUAL, {"ipFamilyPolicy": PREFER}, PREFER, [V4, V6]),
    (DUAL_IPV6, {"ipFamilyPolicy": PREFER}, PREFER, [V6, V4]),
    (ONLY, {"ipFamilyPolicy": PREFER}, PREFER, [V4]),
    (DUAL, {"ipFamilyPolicy": PREFER, "ipFamilies": [V6]}, PREFER, [V6, V4]),
    (DUAL, {"ipFamilyPolicy": PREFER, "ipFamilies": [V6, V4]}, PREFER, [V6, V4]),
    (DUAL, {"ipFamilyPolicy": REQUIRE}, REQUIRE, [V4, V6]),
    (DUAL, {"ipFamilyPolicy": REQUIRE, "ipFamilies": [V6]}, REQUIRE, [V6, V4]),
    (DUAL, {"clusterIP": A6}, SINGLE, [V6]),
    (DUAL, {"clusterIP": A6, "ipFamilyPolicy": PREFER}, PREFER, [V6, V4]),
    (DUAL, {"clusterIP": A6, "clusterIPs": [A6, A4], "ipFamilyPolicy": PREFER}, PREFER, [V6, V4]),
    (DUAL, {"clusterIP": "None"}, SINGLE, [V4]),
    (DUAL, {"clusterIP": "None", "ipFamilyPolicy": REQUIRE}, REQUIRE, [V4, V6]),
    (DUAL, {"clusterIP": "None", "selector": None}, REQUIRE, [V4, V6]),
    (DUAL_IPV6, {"clusterIP": "None", "selector": None}, REQUIRE, [V6, V4]),
    (ONLY, {"clusterIP": "None", "selector": None}, REQUIRE, [V4, V6]),
    (ONLY, {"clusterIP": "None", "selector": None, "ipFamilies": [V6]}, REQUIRE, [V6, V4]),
    (DUAL, {"clusterIP": "None", "selector": None, "ipFamilyPolicy": SINGLE}, SINGLE, [V4]),
]


@pytest.mark.parametrize(("cluster", "spec", "policy", "families"), CREATED)
def test_what_a_new_service_gets(
    cluster: tuple[str, ...], spec: Obj, policy: str, families: list[str], service: Make
) -> None:
    made = api_of(cluster).create(service("a", **spec))["spec"]
    assert (made["ipFamilyPolicy"], made["ipFamilies"]) == (policy, families)
    assert made["clusterIP"] == made["clusterIPs"][0]
    if spec.get("clusterIP") == "None":
        assert made["clusterIPs"] == ["None"]
    else:
        assert families_of(made["clusterIPs"]) == families
        given = spec.get("clusterIPs") or [spec.get("clusterIP", made["clusterIP"])]
        assert made["clusterIPs"][: len(given)] == given


NO_SECOND = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"
REFUSED: list[tuple[tuple[str, ...], Obj, str]] = [
    (ONLY, {"ipFamilyPolicy": REQUIRE}, "this cluster is not configured for dual-stack services"),
    (ONLY, {"ipFamilies": [V6]}, 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'),
    (ONLY, {"clusterIP": A6}, 'spec.clusterIPs[0]: Invalid value: ["fd00:96::50"]: IPv6 is not configured'),
    (DUAL, {"ipFamilies": [V4, V6]}, f'spec.ipFamilyPolicy: Invalid value: "SingleStack": {NO_SECOND}'),
    (DUAL, {"clusterIP": A4, "clusterIPs": [A4, A6]}, f"{NO_SECOND} cluster IPs"),
    (DUAL, {"ipFamilies": [V4, V4]}, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'),
    (DUAL, {"ipFamilies": ["IPv5"]}, 'spec.ipFamilies[0]: Unsupported value: "IPv5"'),
    (DUAL, {"ipFamilyPolicy": "Both"}, 'spec.ipFamilyPolicy: Unsupported value: "Both"'),
    (DUAL, {"clusterIPs": [A4]}, "must be empty when `clusterIP` is not specified"),
    (DUAL, {"clusterIP": A4, "clusterIPs": [B4]}, "first value must match `clusterIP`"),
    (DUAL, {"clusterIP": A4, "clusterIPs": [A4, B4]}, "may specify no more than one IP for each IP family"),
    (DUAL, {"clusterIP": A4, "clusterIPs": [A4, A6, B4]}, "may only hold up to 2 values"),
    (DUAL, {"clusterIP": "None", "clusterIPs": ["None", A6]}, "'None' must be the first and only value"),
    (DUAL, {"clusterIP": "x"}, 'spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address'),
    (DUAL, {"clusterIP": A6, "ipFamilies": [V4]}, "expected an IPv4 value as indicated by `ipFamilies[0]`"),
    (DUAL, {"clusterIP": "fd00:97::1"}, "not in the valid range. The range of valid IPs is fd00:96::/112"),
    (DUAL, {"type": "ExternalName", "externalName": "a.b", "ipFamilies": [V4]}, "spec.ipFamilies: Forbidden"),
    (DUAL, {"type": "ExternalName", "externalName": "a.b", "clusterIP": A4}, "spec.clusterIPs: Forbidden"),
]


@pytest.mark.parametrize(("cluster", "spec", "why"), REFUSED)
def test_what_is_refused(cluster: tuple[str, ...], spec: Obj, why: str, service: Make) -> None:
    with pytest.raises(StatusError) as caught:
        api_of(cluster).create(service("a", **spec))
    assert caught.value.code == 422
    assert why in caught.value.message


def test_from_single_to_dual_stack_and_back(service: Make) -> None:
    api = api_of(DUAL)
    first = api.create(service("a"))["spec"]["clusterIP"]
    for policy in (PREFER, REQUIRE):
        dual = api.patch("Service", "a", "default", {"spec": {"ipFamilyPolicy": policy}})["spec"]
        assert (dual["clusterIP"], dual["ipFamilies"]) == (first, [V4, V6])
        second = dual["clusterIPs"][1]
        taken = {"clusterIP": second}
        with pytest.raises(StatusError, match="already allocated"):
            api.create(service("b", **taken))
        single = api.patch("Service", "a", "default", {"spec": {"ipFamilyPolicy": SINGLE}})["spec"]
        assert (single["clusterIPs"], single["ipFamilies"]) == ([first], [V4])
        assert api.create(service("b", **taken))["spec"]["clusterIP"] == second
        api.delete("Service", "b", "default")


def test_a_manifest_that_is_applied_again_says_less_and_changes_nothing(service: Make) -> None:
    api = api_of(DUAL)
    made = api.create(service("a", ipFamilyPolicy=REQUIRE, ipFamilies=[V6]))
    for spec in ({}, {"ipFamilyPolicy": REQUIRE}, {"clusterIP": made["spec"]["clusterIP"]}):
        again = service("a", **spec)
        again["metadata"]["namespace"] = "default"
        assert api.replace(again)["spec"] == made["spec"]


def test_the_second_address_may_be_chosen_later(service: Make) -> None:
    api = api_of(DUAL)
    first = api.create(service("a"))["spec"]["clusterIP"]
    patch = {"spec": {"ipFamilyPolicy": REQUIRE, "clusterIPs": [first, A6]}}
    assert api.patch("Service", "a", "default", patch)["spec"]["clusterIPs"] == [first, A6]


CHANGES: list[tuple[Obj, str]] = [
    (
        {"clusterIPs": [A4]},
        "\"RequireDualStack\": must be 'SingleStack' to release the secondary cluster IP",
    ),
    ({"ipFamilies": [V4]}, "must be 'SingleStack' to release the secondary IP family"),
    ({"ipFamilies": [V6, V4]}, "expected an IPv6 value as indicated by `ipFamilies[0]`"),
    ({"clusterIPs": [A4, "fd00:96::51"]}, "spec.clusterIPs[1]: Invalid value"),
    ({"clusterIP": A6, "clusterIPs": [A6, A4], "ipFamilies": [V6, V4]}, "spec.clusterIPs[0]: Invalid value"),
    ({"clusterIP": B4, "ipFamilyPolicy": SINGLE, "ipFamilies": [V4]}, "may not change once set"),
]


@pytest.mark.parametrize(("change", "why"), CHANGES)
def test_what_may_not_change(change: Obj, why: str, service: Make) -> None:
    api = api_of(DUAL)
    api.create(service("a", clusterIP=A4, clusterIPs=[A4, A6], ipFamilyPolicy=REQUIRE))
    with pytest.raises(StatusError) as caught:
        api.patch("Service", "a", "default", {"spec": change})
    assert why in caught.value.message


def test_a_preference_is_not_acted_upon_by_an_update_that_does_not_mean_it(service: Make) -> None:
    """The cluster became dual stack meanwhile: existing Services stay what they are."""
    api = api_of(ONLY)
    before = api.create(service("a", ipFamilyPolicy=PREFER))["spec"]
    api.admit_with("Service", ServiceAllocation([RANGES[V4], RANGES[V6]]))
    after = api.patch("Service", "a", "default", {"spec": {"selector": {"app": "other"}}})["spec"]
    assert after["clusterIPs"] == before["clusterIPs"]
    assert families_of(
        api.patch("Service", "a", "default", {"spec": {"ipFamilyPolicy": REQUIRE}})["spec"]["clusterIPs"]
    ) == [V4, V6]


def test_a_family_that_the_cluster_has_no_more_is_left_alone(service: Make) -> None:
    api = api_of(DUAL)
    before = api.create(service("a", ipFamilyPolicy=PREFER))["spec"]
    api.admit_with("Service", ServiceAllocation([RANGES[V4]]))
    after = api.patch("Service", "a", "default", {"spec": {"selector": {"app": "other"}}})["spec"]
    assert after["clusterIPs"] == before["clusterIPs"]


def test_an_external_name_gives_both_addresses_back(service: Make) -> None:
    api = api_of(DUAL)
    held = api.create(service("a", ipFamilyPolicy=REQUIRE))["spec"]["clusterIPs"]
    change = {"spec": {"type": "ExternalName", "externalName": "example.com"}}
    spec = api.patch("Service", "a", "default", change)["spec"]
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(spec)
    other = service("b", clusterIP=held[0], clusterIPs=held, ipFamilyPolicy=REQUIRE)
    assert api.create(other)["spec"]["clusterIPs"] == held
