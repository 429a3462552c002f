"""Discovery: which groups, versions and resources there are, in the old form and in the aggregated one.

Source: Kubernetes API concepts, "Discovery API"; the kinds APIGroupList, APIResourceList,
APIGroupDiscoveryList.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from controlplane.http.encode import answer
from controlplane.http.reviews import REVIEWS
from controlplane.http.target import no_such_path
from controlplane.json_text import to_json
from controlplane.kinds import Kind, Kinds
from controlplane.meta import Obj

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
OF_SUBRESOURCE: dict[str, tuple[str, str, str, list[str]]] = {  # name -> (group, version, kind, verbs)
    "status": ("", "", "", ["get", "patch", "update"]),
    "finalize": ("", "", "", ["update"]),
    "scale": ("autoscaling", "v1", "Scale", ["get", "patch", "update"]),
    "binding": ("", "v1", "Binding", ["create"]),
    "eviction": ("policy", "v1", "Eviction", ["create"]),
    "ephemeralcontainers": ("", "", "", ["get", "patch", "update"]),
}
VERSION: Obj = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+minipod",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def groups(kinds: Kinds) -> dict[str, dict[str, list[Kind]]]:
    """Group -> version -> kinds; the core group, "", is among them."""
    result: dict[str, dict[str, list[Kind]]] = {}
    for kind in (*kinds.served(), *REVIEWS):
        result.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
    return result


def _verbs(kind: Kind) -> list[str]:
    return ["create"] if kind in REVIEWS else VERBS


def answer_discovery(request: web.Request, kinds: Kinds) -> web.Response:
    """The answer to /api, /apis and what is directly below them. Raises StatusError 404."""
    parts = [part for part in request.path.split("/") if part]
    known = groups(kinds)
    if len(parts) == 1 and AGGREGATED in request.headers.get("Accept", "").replace(" ", ""):
        chosen = [""] if parts == ["api"] else [group for group in known if group]
        body = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": [_aggregated_group(group, known[group]) for group in chosen],
        }
        return web.Response(body=to_json(body), headers={"Content-Type": AGGREGATED})
    if parts == ["api"]:
        return answer(
            request, {"kind": "APIVersions", "versions": sorted(known[""]), "serverAddressByClientCIDRs": []}
        )
    if parts == ["apis"]:
        items = [_group(group, versions) for group, versions in sorted(known.items()) if group]
        return answer(request, {"kind": "APIGroupList", "apiVersion": "v1", "groups": items})
    group = parts[1] if parts[0] == "apis" else ""
    versions = known.get(group, {})
    if parts[0] == "apis" and len(parts) == 2 and versions:
        return answer(request, {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)})
    version = parts[-1]
    if version not in versions:
        raise no_such_path()
    return answer(request, _resource_list(group, version, versions[version]))


def _group(group: str, versions: dict[str, list[Kind]]) -> Obj:
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(group: str, version: str, kinds: list[Kind]) -> Obj:
    resources: list[Obj] = []
    for kind in kinds:
        resource: dict[str, Any] = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.name,
            "verbs": _verbs(kind),
        }
        if kind.short_names:
            resource["shortNames"] = list(kind.short_names)
        if kind.categories:
            resource["categories"] = list(kind.categories)
        resources.append(resource)
        for name in sorted(kind.subresources):
            sub_group, sub_version, sub_kind, verbs = OF_SUBRESOURCE[name]
            entry: Obj = {
                "name": f"{kind.plural}/{name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": sub_kind or kind.name,
                "verbs": verbs,
            }
            if sub_version:
                entry |= {"group": sub_group, "version": sub_version}
            resources.append(entry)
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def _aggregated_group(group: str, versions: dict[str, list[Kind]]) -> Obj:
    listed = [
        {"version": version, "resources": [_aggregated(kind) for kind in kinds], "freshness": "Current"}
        for version, kinds in versions.items()
    ]
    return {"metadata": {"name": group} if group else {}, "versions": listed}


def _aggregated(kind: Kind) -> Obj:
    resource: Obj = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.name},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _verbs(kind),
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
        "subresources": [],
    }
    for name in sorted(kind.subresources):
        group, version, sub_kind, verbs = OF_SUBRESOURCE[name]
        response = {
            "group": group or kind.group,
            "version": version or kind.version,
            "kind": sub_kind or kind.name,
        }
        resource["subresources"].append({"subresource": name, "responseKind": response, "verbs": verbs})
    return resource
