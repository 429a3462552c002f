"""Files that volumes show: written once, brought up to date when their objects change, with their modes."""

from pathlib import Path
from typing import Any

import pytest

from agents import volumes
from agents.container_env import ConfigError
from agents.service_accounts import ServiceAccounts
from controlplane.pod_admission import ACCESS_SOURCES

Obj = dict[str, Any]


def pod(**source: Any) -> Obj:
    metadata = {"name": "web", "namespace": "default", "labels": {"app": "web"}}
    return {"metadata": metadata, "spec": {"volumes": [{"name": "v", **source}]}}


def prepare(folder: Path, obj: Obj, data: dict[str, str]) -> dict[str, str]:
    """The files of the volume, after it was made or brought up to date."""
    accounts = ServiceAccounts("the certificate", lambda *words: f"token of {words}", folder / "accounts")
    volumes.prepare(obj, folder, lambda kind, name: {"kind": kind, "data": data} if data else None, accounts)
    return {
        str(path.relative_to(folder / "v")): path.read_text()
        for path in (folder / "v").rglob("*")
        if path.is_file()
    }


def test_files_follow_their_object(tmp_path: Path) -> None:
    obj = pod(configMap={"name": "c"})
    assert prepare(tmp_path, obj, {"a": "1", "b": "2"}) == {"a": "1", "b": "2"}
    untouched = (tmp_path / "v/a").stat().st_ino
    assert prepare(tmp_path, obj, {"a": "1", "c": "3"}) == {"a": "1", "c": "3"}
    assert (tmp_path / "v/a").stat().st_ino == untouched
    with pytest.raises(ConfigError, match='configmap "c" not found'):
        prepare(tmp_path, obj, {})


def test_modes(tmp_path: Path) -> None:
    items = [{"key": "run", "path": "bin/run", "mode": 0o755}, {"key": "text", "path": "text"}]
    prepare(
        tmp_path, pod(configMap={"name": "c", "defaultMode": 0o400, "items": items}), {"run": "", "text": ""}
    )
    modes = {path: (tmp_path / "v" / path).stat().st_mode & 0o777 for path in ("bin/run", "text")}
    assert modes == {"bin/run": 0o755, "text": 0o400}


def test_projected_files_share_a_mode(tmp_path: Path) -> None:
    label = {"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}}
    sources = [{"configMap": {"name": "c"}}, {"downwardAPI": {"items": [label]}}]
    files = prepare(tmp_path, pod(projected={"sources": sources, "defaultMode": 0o600}), {"a": "1"})
    assert files == {"a": "1", "app": "web"}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "v").iterdir()} == {0o600}


def test_item_must_stay_in_its_volume(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must not leave the volume"):
        prepare(tmp_path, pod(configMap={"name": "c", "items": [{"key": "a", "path": "../out"}]}), {"a": "1"})


def test_resources_of_a_container_as_files(tmp_path: Path) -> None:
    items = [
        {
            "path": "cpu",
            "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"},
        },
        {
            "path": "memory",
            "resourceFieldRef": {"containerName": "c", "resource": "requests.memory", "divisor": "1Mi"},
        },
        {"path": "unlimited", "resourceFieldRef": {"containerName": "c", "resource": "limits.memory"}},
    ]
    obj = pod(downwardAPI={"items": items})
    resources = {"limits": {"cpu": "250m"}, "requests": {"memory": "64Mi"}}
    obj["spec"]["containers"] = [{"name": "c", "resources": resources}]
    assert prepare(tmp_path, obj, {}) == {"cpu": "250", "memory": "64", "unlimited": str(64 << 30)}


def test_token_for_an_audience(tmp_path: Path) -> None:
    source = {"path": "vault", "audience": "vault", "expirationSeconds": 7200}
    obj = pod(projected={"sources": [{"serviceAccountToken": source}]})
    obj["spec"]["serviceAccountName"] = "robot"
    assert prepare(tmp_path, obj, {}) == {"vault": "token of ('default', 'robot', 7200, 'vault')"}


def test_pods_of_an_account_share_its_directory(tmp_path: Path) -> None:
    signed: list[tuple[str, ...]] = []

    def sign(*words: Any) -> str:
        signed.append(words)
        return f"token {len(signed)}"

    accounts = ServiceAccounts("the certificate", sign, tmp_path / "accounts")
    obj = pod(projected={"sources": ACCESS_SOURCES})
    first = volumes.prepare(obj, tmp_path / "one", lambda *_: None, accounts)["v"]
    assert volumes.prepare(obj, tmp_path / "two", lambda *_: None, accounts)["v"] == first
    read = {path.name: path.read_text() for path in first.iterdir()}
    assert read == {"token": "token 1", "ca.crt": "the certificate", "namespace": "default"}
    accounts._tokens.clear()  # as if it had lived most of its life
    accounts.refresh()
    assert (first / "token").read_text() == "token 2"


def test_a_part_of_a_volume_by_the_environment(tmp_path: Path) -> None:
    mount = {"name": "v", "mountPath": "/logs", "subPathExpr": "of-$(POD_NAME)"}
    found = volumes.mounts({"volumeMounts": [mount]}, {"v": tmp_path}, {"POD_NAME": "web"})
    assert found == [(str(tmp_path / "of-web"), "/logs", False)]
    assert (tmp_path / "of-web").is_dir()
    with pytest.raises(ConfigError, match="must not leave the volume"):
        volumes.mounts({"volumeMounts": [mount]}, {"v": tmp_path}, {"POD_NAME": "/../../etc"})
