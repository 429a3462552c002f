"""minipod check without a lab: when its ground is settled, and that its table is printed whatever comes after."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from labs.check import ground
from labs.check.claim import Claim
from labs.check.subjects import Obj, Scene
from labs.cli import main
from labs.commands import check
from labs.lab import Lab

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


class Told(Scene):
    """A scene whose objects are given."""

    def __init__(self, **kinds: list[Obj]) -> None:
        super().__init__(None, None, "shop")  # type: ignore[arg-type]
        self.kinds = kinds

    def objects(self, kind: str, namespace: str | None = None) -> list[Obj]:
        return self.kinds.get(kind, [])


def pod(name: str, address: str) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web", "name": name}},
        "spec": {"nodeName": "worker1", "containers": [{"name": "c"}]},
        "status": {**READY, "podIP": address, "podIPs": [{"ip": address}]},
    }


def service(name: str, **spec: Any) -> Obj:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 53, "protocol": "UDP"}], **spec}}


def slice_of(name: str, *addresses: str, ready: bool = True) -> Obj:
    endpoints = [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses]
    return {"metadata": {"labels": {"kubernetes.io/service-name": name}}, "endpoints": endpoints}


@pytest.mark.parametrize(
    ("slices", "settled"),
    [
        ([], False),
        ([slice_of("web", "10.244.1.2")], False),
        ([slice_of("web", "10.244.1.2"), slice_of("web", "10.244.1.3", ready=False)], False),
        ([slice_of("other", "10.244.1.2", "10.244.1.3")], False),
        ([slice_of("web", "10.244.1.2"), slice_of("web", "10.244.1.3")], True),
    ],
)
def test_a_service_has_its_pods_before_anybody_asks_it(slices: list[Obj], settled: bool) -> None:
    pods = [pod("a", "10.244.1.2"), pod("b", "10.244.1.3")]
    services = [service("web", selector={"app": "web"}), service("page", externalName="www.outside.example")]
    assert ground.settled(Told(Pod=pods, Service=services, EndpointSlice=slices)) is settled


def test_what_was_proven_is_printed_before_the_ground_is_cleared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def cannot_be_cleared(*_: object) -> Iterator[Scene]:
        yield Told()
        raise TimeoutError("the API does not answer")

    monkeypatch.setattr(Lab, "attach", lambda _: SimpleNamespace(name="lab"))
    monkeypatch.setattr(check, "ground", cannot_be_cleared)
    sure = Claim("sure", "pod-to-pod", "two and two are four", lambda _: "counted on fingers")
    monkeypatch.setattr(check, "CLAIMS", {"sure": sure})
    assert main(["check"]) == 2
    told = capsys.readouterr()
    assert "ok    two and two are four\n        counted on fingers\n\n1 of 1 claims hold" in told.out
    assert told.err.endswith("minipod: the API does not answer\n")
