r"""Values as compact JSON: what the journal keeps and what goes over the wire.

An object is written at least twice in each of its states, once for the journal and once for those who watch, so
this is the hottest code of the API. A library in machine code does it; the standard library's encoder stays for
the few values that the other refuses, which are legal in JSON all the same: integers beyond 64 bits, and halves
of surrogate pairs, which a client may have written as \ud800.

Sources: RFC 8259, sections 6 "Numbers" and 8.2 "Unicode Characters".
"""

import json
from typing import Any

import orjson

_encode_any = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8; half a surrogate pair is written as its three bytes. Raises TypeError, ValueError."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return _encode_any(value).encode(errors="surrogatepass")
