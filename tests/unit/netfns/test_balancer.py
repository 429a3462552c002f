import pytest

from netfns.balancer import evaluate
from netfns.balancer_types import Server
from tests.golden.cases import BALANCER


def test_a_frontend_has_its_servers() -> None:
    assert evaluate(BALANCER, "192.168.50.9", 6443) == (Server("control-plane", "192.168.50.10", 6443),)


@pytest.mark.parametrize(("address", "port"), [("192.168.50.200", 81), ("192.168.50.201", 80)])
def test_nobody_listens_elsewhere(address: str, port: int) -> None:
    assert evaluate(BALANCER, address, port) is None
