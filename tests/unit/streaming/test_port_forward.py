import pytest

from agents.streaming.port_forward import MOST_PORTS, parse_ports
from controlplane.errors import StatusError


@pytest.mark.parametrize(
    ("texts", "ports"),
    [([], []), (["80"], [80]), (["80,443", "8080"], [80, 443, 8080]), (["65535"], [65535])],
)
def test_ports(texts: list[str], ports: list[int]) -> None:
    assert parse_ports(texts) == ports


@pytest.mark.parametrize(
    "text", ["0", "65536", "http", "-1", "", "80,", "9" * 5000, "1," * MOST_PORTS + "1", "٣", "0000012345678"]
)
def test_bad_ports(text: str) -> None:
    with pytest.raises(StatusError) as refused:
        parse_ports([text])
    assert refused.value.code == 400
