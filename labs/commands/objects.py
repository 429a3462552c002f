"""apply, delete, get: Kubernetes objects from manifests."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from controlplane import apply as manifests
from controlplane import printing
from controlplane.client import Client
from controlplane.errors import StatusError
from controlplane.meta import Obj
from controlplane.yaml_text import dump
from labs.check.subjects import GaveUp, until
from labs.errors import LabError
from labs.lab import Lab

DEADLINE = 60.0


def apply(args: argparse.Namespace) -> int:
    """Create or change every object of the manifests, or none."""
    with Lab.attach(args.name).api() as client:
        try:
            for line in manifests.apply(client, _read(args.filename), args.namespace or "default"):
                print(line)
        except manifests.ManifestError as error:
            raise LabError(str(error)) from None
    return 0


def delete(args: argparse.Namespace) -> int:
    """Delete the objects of manifests, or those named; by default, wait until they are gone."""
    if bool(args.target) == bool(args.filename):
        raise LabError("minipod delete: want either -f FILE or KIND NAME…")
    namespace = args.namespace or "default"
    with Lab.attach(args.name).api() as client:
        try:
            if args.filename:
                found = _read(args.filename)
                paths = [_path(client, manifest.obj, namespace) for manifest in found]
                for line in manifests.delete(client, found, namespace):
                    print(line)
            else:
                paths = [_delete_one(client, *pair, namespace) for pair in _pairs(args.target)]
            if args.wait:
                for path in paths:
                    until(lambda path=path: not _is_there(client, path), f"{path}: gone", DEADLINE)  # type: ignore[misc]
        except (manifests.ManifestError, GaveUp) as error:
            raise LabError(str(error)) from None
        except StatusError as error:
            raise LabError(manifests.explain(error)) from None
    return 0


def get(args: argparse.Namespace) -> int:
    """Show objects as a table, or as data: one document, whatever was asked for."""
    if args.output not in printing.OUTPUTS:
        raise LabError(f"-o {args.output}: want one of wide, name, yaml, json")
    namespace = "" if args.all_namespaces else args.namespace or "default"
    output = "json" if args.output == "yaml" else args.output
    with Lab.attach(args.name).api() as client:
        try:
            texts = [
                printing.get(client, printing.Query(kind, name, namespace, args.selector, "", output))
                for kind, name in _pairs(args.target, names_optional=True)
            ]
        except StatusError as error:
            raise LabError(manifests.explain(error)) from None
    if output == "json":
        found = _one_document([json.loads(text) for text in texts])
        print(json.dumps(found, indent=4) if args.output == "json" else dump(found).rstrip("\n"))
    else:
        print(("\n" if output == "name" else "\n\n").join(texts))
    return 0


def _one_document(found: list[Obj]) -> Obj:
    """What was found as one object, or as one List."""
    if len(found) == 1:
        return found[0]
    items = [obj for one in found for obj in (one["items"] if one.get("kind") == "List" else [one])]
    return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}


def _read(filenames: list[str]) -> list[manifests.Manifest]:
    if "-" in filenames and sys.stdin is None:
        raise LabError("-f -: standard input is closed: give it a manifest")
    stdin = sys.stdin.read() if "-" in filenames else None
    return manifests.read_files([Path(name) for name in filenames], stdin)


def _path(client: Client, obj: Obj, namespace: str) -> str:
    """Where the object of a manifest is at the API."""
    resource = client.resource_of(obj)
    metadata = obj["metadata"]
    return resource.path(
        metadata.get("namespace") or namespace if resource.namespaced else "", metadata.get("name", "")
    )


def _is_there(client: Client, path: str) -> bool:
    try:
        client.request("GET", path)
    except StatusError as error:
        if error.code == 404:
            return False
        raise
    return True


def _delete_one(client: Client, kind: str, name: str, namespace: str) -> str:
    """Delete one object and say so; returns its path at the API."""
    resource = client.resource(kind)
    path = resource.path(namespace if resource.namespaced else "", name)
    client.request("DELETE", path)
    print(f"{resource.label}/{name} deleted")
    return path


def _pairs(target: list[str], *, names_optional: bool = False) -> Iterator[tuple[str, str]]:
    """(kind, name) for `pods`, `pods,svc`, `pod web-1 web-2` and `pod/web-1 svc/web`; name "" is all of the kind."""
    if any("/" in word for word in target):
        for word in target:
            kind, slash, name = word.partition("/")
            if not slash or not name:
                raise LabError(f"{word}: want KIND/NAME, as the words beside it")
            yield kind, name
        return
    kinds, names = target[0].split(","), target[1:]
    if not names and not names_optional:
        raise LabError(f"{target[0]}: which one? give its name")
    for kind in kinds:
        for name in names or [""]:
            yield kind, name
