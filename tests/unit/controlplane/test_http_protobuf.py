"""Bodies in protobuf: what kubectl 1.37 really sends, and what nobody should."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import StatusError
from controlplane.http.protobuf import MAGIC, decode_object

# kubectl create namespace foo -v=9, the body of its request
NAMESPACE = bytes.fromhex(
    "6b3873000a0f0a02763112094e616d657370616365121b0a130a03666f6f12001a0022002a003200380042001200"
    "1a020a001a002200"
)


def field(number: int, value: bytes | str | int) -> bytes:
    """One field of a message whose parts are shorter than 128 bytes."""
    if isinstance(value, int):
        assert 0 <= value < 128
        return bytes([number << 3, value])
    raw = value.encode() if isinstance(value, str) else value
    assert len(raw) < 128
    return bytes([number << 3 | 2, len(raw)]) + raw


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


def test_what_kubectl_sends() -> None:
    expected = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}}
    assert decode_object(NAMESPACE) == expected


def test_zero_stays_where_absence_means_something_else() -> None:
    obj = decode_object(envelope("apps/v1", "Deployment", field(2, field(1, 0) + field(5, 0))))
    assert obj["spec"] == {"replicas": 0}


def test_maps_lists_bytes_and_special_messages() -> None:
    data = field(2, field(1, "k") + field(2, b"\x00\xff"))
    assert decode_object(envelope("v1", "Secret", data))["data"] == {"k": "AP8="}
    port = field(1, "http") + field(3, 80) + field(4, field(1, 1) + field(3, "web"))
    service = decode_object(envelope("v1", "Service", field(2, field(1, port) + field(1, field(3, 81)))))
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "web"}, {"port": 81}]
    time = decode_object(envelope("v1", "Namespace", field(1, field(8, field(1, 1)))))
    assert time["metadata"]["creationTimestamp"] == "1970-01-01T00:00:01Z"


def test_fields_of_an_inlined_struct_belong_to_the_one_around_it() -> None:
    volume = field(1, "v") + field(2, field(2, b""))
    pod = decode_object(envelope("v1", "Pod", field(2, field(1, volume))))
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", MAGIC, envelope("v1", "Nothing", b""), NAMESPACE[:-9], envelope("v1", "Pod", b"\xff" * 20)],
)
def test_nonsense_is_refused(raw: bytes) -> None:
    with pytest.raises(StatusError) as error:
        decode_object(raw)
    assert error.value.code == 400


@given(st.binary(max_size=60), st.sampled_from(["Pod", "Service", "ConfigMap", "Event"]))
def test_bytes_are_read_or_refused(raw: bytes, kind: str) -> None:
    with suppress(StatusError):
        assert decode_object(envelope("v1", kind, raw))["kind"] == kind
