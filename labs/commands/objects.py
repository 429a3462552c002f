"""apply, delete, get: Kubernetes objects from manifests."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from controlplane import apply as manifests
from controlplane import printing
from controlplane.client import Client
from controlplane.errors import StatusError
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
    """Delete the objects of manifests, or those named."""
    if bool(args.target) == bool(args.filename):
        raise LabError("minipod delete: want either -f FILE or KIND NAME…")
    with Lab.attach(args.name).api() as client:
        try:
            if args.filename:
                found = _read(args.filename)
                lines = manifests.delete(client, found, args.namespace or "default")
            else:
                lines = [
                    _delete_one(client, *pair, args.namespace or "default") for pair in _pairs(args.target)
                ]
            for line in lines:
                print(line)
        except manifests.ManifestError as error:
            raise LabError(str(error)) from None
        except StatusError as error:
            raise LabError(manifests.explain(error)) from None
    return 0


def get(args: argparse.Namespace) -> int:
    """Show objects as a table, or as data."""
    if args.output not in printing.OUTPUTS:
        raise LabError(f"-o {args.output}: want one of wide, name, yaml, json")
    namespace = "" if args.all_namespaces else args.namespace or "default"
    with Lab.attach(args.name).api() as client:
        try:
            texts = [
                printing.get(client, printing.Query(kind, name, namespace, args.selector, "", args.output))
                for kind, name in _pairs(args.target, names_optional=True)
            ]
        except StatusError as error:
            raise LabError(manifests.explain(error)) from None
    print("\n\n".join(texts))
    return 0


def _read(filenames: list[str]) -> list[manifests.Manifest]:
    stdin = sys.stdin.read() if "-" in filenames else None
    return manifests.read_files([Path(name) for name in filenames], stdin)


def _delete_one(client: Client, kind: str, name: str, namespace: str) -> str:
    resource = client.resource(kind)
    client.request("DELETE", resource.path(namespace if resource.namespaced else "", name))
    return f"{resource.label}/{name} deleted"


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
