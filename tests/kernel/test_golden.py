"""A real kernel takes every golden text."""

import pytest

from tests.golden.cases import FOLDER
from tests.kernel.cluster import Machine

pytestmark = pytest.mark.kernel


def golden(name: str) -> str:
    return (FOLDER / name).read_text()


@pytest.mark.parametrize(
    "names", [["service.nft", "service-change.nft"], ["masquerade.nft"]], ids=lambda n: n[0]
)
def test_nft(kernel: Machine, names: list[str]) -> None:
    for name in names:
        kernel.nft(golden(name))
    assert "table ip6 " in kernel.run(["nft", "list", "ruleset"])


def test_overlay(kernel: Machine) -> None:
    kernel.ip(golden("overlay.ip"))
    kernel.bridge(golden("overlay.bridge"))
    assert "dst 192.168.50.22" in kernel.run(["bridge", "fdb", "show", "dev", "vxlan0"])
