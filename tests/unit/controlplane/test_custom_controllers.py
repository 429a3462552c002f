"""Kinds that come while the control plane runs take part in garbage collection and in the end of a namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Obj = dict[str, Any]
KIND = "Widget.example.org"


def definition() -> Obj:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version],
        },
    }


def widget(**metadata: Any) -> Obj:
    return {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w", **metadata}}


def test_what_a_custom_object_owns_goes_with_it(cluster: Callable[..., None]) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(definition())
        owner = one.api.create(widget(namespace="default"))
        reference = {name: owner[name] for name in ("apiVersion", "kind")}
        reference |= {name: owner["metadata"][name] for name in ("name", "uid")}
        owned = {"name": "owned", "ownerReferences": [reference]}
        one.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": owned})
        one.api.delete(KIND, "w", "default")
        await one.until(lambda: one.api.find("ConfigMap", "owned", "default") is None)

    cluster(scenario)


def test_a_custom_object_holds_its_namespace_until_its_finalizer_is_off(cluster: Callable[..., None]) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(definition())
        one.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
        one.api.create(widget(namespace="n", finalizers=["example.org/hold"]))
        one.api.delete("Namespace", "n")
        await one.until(lambda: "deletionTimestamp" in one.api.get(KIND, "w", "n")["metadata"])
        assert one.api.get("Namespace", "n")["status"]["phase"] == "Terminating"
        one.api.patch(KIND, "w", "n", {"metadata": {"finalizers": None}})
        await one.until(lambda: one.api.find("Namespace", "n") is None)

    cluster(scenario)


def test_a_definition_may_come_again(cluster: Callable[..., None]) -> None:
    async def scenario(one: Any) -> None:
        for _ in range(2):
            one.api.create(definition())
            one.api.create(widget(namespace="default"))
            one.api.delete("CustomResourceDefinition", "widgets.example.org")
        assert list(one.api.store.objects(KIND)) == []

    cluster(scenario)
