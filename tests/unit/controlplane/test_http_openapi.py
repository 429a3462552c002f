"""What the server tells of its schemas: every document is whole, and says what kubectl looks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from controlplane.builtin_kinds import standard_kinds
from controlplane.http import openapi

Obj = dict[str, Any]


def documents() -> Iterator[tuple[str, Obj]]:
    kinds = standard_kinds()
    for place in openapi.root(kinds)["paths"]:
        found = openapi.document(kinds, place)
        assert found is not None, place
        yield place, found


def test_every_reference_leads_somewhere() -> None:
    for place, document in documents():
        schemas = document["components"]["schemas"]
        for text in json.dumps(document).split('"$ref": "')[1:]:
            reference = text.partition('"')[0]
            assert reference.removeprefix(openapi.COMPONENTS) in schemas, f"{place}: {reference}"


def test_every_kind_says_how_it_is_patched() -> None:
    patched = {
        tuple(operation["x-kubernetes-group-version-kind"].values())
        for _, document in documents()
        for operations in document["paths"].values()
        for verb, operation in operations.items()
        if verb == "patch" and "fieldValidation" in {each["name"] for each in operation["parameters"]}
    }
    assert patched == {(kind.group, kind.version, kind.name) for kind in standard_kinds()}


def test_types_are_written_as_openapi_3_0_does() -> None:
    schemas = dict(documents())["api/v1"]["components"]["schemas"]
    port = schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["containerPort"]
    assert (port["type"], port["format"]) == ("integer", "int32")
    spec = schemas["io.k8s.api.core.v1.Pod"]["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": openapi.COMPONENTS + "io.k8s.api.core.v1.PodSpec"}]
    assert "$defs" not in json.dumps(schemas)


def test_an_address_changes_with_the_content() -> None:
    addresses = {entry["serverRelativeURL"] for entry in openapi.root(standard_kinds())["paths"].values()}
    assert len({address.partition("hash=")[2] for address in addresses}) == len(addresses)


def test_no_document_of_an_unknown_version() -> None:
    assert openapi.document(standard_kinds(), "apis/apps/v9") is None
