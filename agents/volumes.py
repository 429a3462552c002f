"""A pod's volumes: directories on the sandbox's tmpfs, bound into the containers that mount them.

    emptyDir                    an empty directory that lives as long as the pod
    configMap, secret,          files written from objects when the pod starts, and again when the objects change;
    downwardAPI, projected      each file appears whole (it is renamed into its place)
    kube-api-access-…           the directory that all pods of a service account share (agents/service_accounts.py)
    hostPath                    a directory of the lab (never of the host)
    anything else               an empty directory, for a lab has no storage classes; the event says so

Sources: Kubernetes documentation, "Volumes"; API reference, Volume and VolumeMount.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.container_env import ConfigError, Lookup, data_of, expand, pod_field
from agents.resource_fields import container_named, resource_field
from agents.security import has_id
from agents.service_accounts import ServiceAccounts
from controlplane.pod_admission import ACCESS_SOURCES

Obj = dict[str, Any]
Mount = tuple[str, str, bool]
Files = dict[str, tuple[bytes, int]]  # path in the volume -> content, mode
FILE_MODE = 0o644
_FILES = ("configMap", "secret", "downwardAPI", "projected")


def prepare(pod: Obj, folder: Path, lookup: Lookup, accounts: ServiceAccounts) -> dict[str, Path]:
    """Make every volume of a pod below `folder`, or bring it up to date; returns where each is.

    Raises ConfigError, OSError.
    """
    places = {}
    for volume in pod["spec"].get("volumes") or ():
        name = volume["name"]
        if "hostPath" in volume:
            places[name] = _host_path(volume["hostPath"])
            continue
        if (volume.get("projected") or {}).get("sources") == ACCESS_SOURCES:
            places[name] = accounts.directory(pod["metadata"]["namespace"], _account(pod))
            continue
        places[name] = folder / name
        if not places[name].is_dir():
            places[name].mkdir(parents=True)
            places[name].chmod(0o777)  # whoever a container is may write there, as everywhere
        for source in _FILES:
            if source in volume:
                files = _files(pod, source, volume[source] or {}, lookup)
                if source == "projected":
                    files |= _tokens(pod, volume[source], accounts)
                _write_files(places[name], files)
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if group is not None and has_id(group):
            _give(places[name], group)
    return places


def _give(folder: Path, group: int) -> None:
    """Let a group own what is in a volume, and all that will be: spec.securityContext.fsGroup."""
    os.chown(folder, -1, group)
    folder.chmod(0o2777)
    for path in folder.rglob("*"):
        os.chown(path, -1, group)
        mode = path.stat().st_mode & 0o777
        path.chmod(mode | (mode & 0o600) >> 3)


def is_stand_in(volume: Obj) -> bool:
    """Whether a volume is an empty directory in place of storage that a lab does not have."""
    return not any(source in volume for source in ("emptyDir", "hostPath", *_FILES))


def mounts(container: Obj, places: Mapping[str, Path], env: Mapping[str, str]) -> list[Mount]:
    """A container's volumeMounts as (source, path in the container, read only). Raises ConfigError."""
    result: list[Mount] = []
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in places:
            raise ConfigError(f'volumeMounts: volume "{mount["name"]}" not found in the pod')
        source = places[mount["name"]]
        below = mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)
        if below:
            source = _below(source, below)
            if not source.exists():
                source.mkdir(parents=True)
        result.append((str(source), mount["mountPath"], bool(mount.get("readOnly"))))
    return result


def _below(folder: Path, path: str) -> Path:
    """`path` below `folder`. Raises ConfigError when it leaves the folder."""
    target = (folder / path).resolve()
    if path.startswith("/") or not target.is_relative_to(folder.resolve()):
        raise ConfigError(f'subPath "{path}": must not leave the volume')
    return target


def _host_path(source: Obj) -> Path:
    path, kind = Path(source["path"]), source.get("type") or ""
    if kind == "DirectoryOrCreate" or (not kind and not path.exists()):
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    elif kind == "Directory" and not path.is_dir():
        raise ConfigError(f"hostPath type check failed: {path} is not a directory")
    elif kind == "File" and not path.is_file():
        raise ConfigError(f"hostPath type check failed: {path} is not a file")
    return path


def _files(pod: Obj, source: str, spec: Obj, lookup: Lookup) -> Files:
    mode = spec.get("defaultMode", FILE_MODE)
    if source == "downwardAPI":
        return {
            item["path"]: (_downward(pod, item).encode(), item.get("mode", mode))
            for item in spec.get("items") or ()
        }
    if source == "projected":
        files: Files = {}
        for part in spec.get("sources") or ():
            for kind in ("configMap", "secret", "downwardAPI"):
                if kind in part:
                    files |= _files(pod, kind, {"defaultMode": mode, **part[kind]}, lookup)
        return files
    kind = "ConfigMap" if source == "configMap" else "Secret"
    name = spec.get("name") or spec.get("secretName") or ""
    obj = lookup(kind, name)
    if obj is None:
        if spec.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    return _chosen(kind, name, data_of(obj), spec, mode)


def _downward(pod: Obj, item: Obj) -> str:
    if "fieldRef" in item:
        return pod_field(pod, item["fieldRef"]["fieldPath"])
    reference = item["resourceFieldRef"]
    return resource_field(container_named(pod, reference.get("containerName", "")), reference)


def _account(pod: Obj) -> str:
    return pod["spec"].get("serviceAccountName") or "default"


def _tokens(pod: Obj, projected: Obj, accounts: ServiceAccounts) -> Files:
    """The tokens among the sources of a projected volume."""
    mode, found = projected.get("defaultMode", FILE_MODE), {}
    for source in projected.get("sources") or ():
        wanted = source.get("serviceAccountToken")
        if wanted:
            seconds, audience = wanted.get("expirationSeconds", 3600), wanted.get("audience", "")
            token = accounts.token(pod["metadata"]["namespace"], _account(pod), seconds, audience)
            found[wanted["path"]] = (token.encode(), mode)
    return found


def _chosen(kind: str, name: str, data: Mapping[str, bytes], spec: Obj, mode: int) -> Files:
    """All keys under their own names, or the listed ones under the paths given."""
    items = spec.get("items")
    if not items:
        return {key: (content, mode) for key, content in data.items()}
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not spec.get("optional"):
        raise ConfigError(f"references non-existent {kind.lower()} key: {name}.{missing[0]}")
    return {
        item["path"]: (data[item["key"]], item.get("mode", mode)) for item in items if item["key"] in data
    }


def _write_files(folder: Path, files: Files) -> None:
    """Make the folder hold these files and no others; one that is right already is left alone."""
    targets = {_below(folder, path): file for path, file in files.items()}
    for old in [path for path in folder.rglob("*") if path.is_file() and path not in targets]:
        old.unlink()
    for target, (content, mode) in targets.items():
        if target.is_file() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f"..{target.name}")
        new.write_bytes(content)
        new.chmod(mode)
        new.rename(target)
