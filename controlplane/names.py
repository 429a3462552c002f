"""The syntax of names, labels, ports and addresses, with the exact messages of k8s.io/apimachinery's
`util/validation`.

Each function returns the list of complaints about one string, empty when it is well formed. Results for
correct strings are remembered: the same names come again and again, and validation is on the path of every
write.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_PORT_NAME = re.compile("[-a-z0-9]+")
_ENV_NAME = "[ -<>-~]+"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character"
)
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character"
)
_LABEL_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character"
)
_QUALIFIED_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character"
)
_LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character"
)
_ENV_MESSAGE = (
    "a valid environment variable name must consist only of printable ASCII characters other than '='"
)
_CONFIG_KEY_MESSAGE = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"


def _check(text: str, pattern: str, message: str, examples: tuple[str, ...], limit: int) -> tuple[str, ...]:
    errors = []
    if len(text) > limit:
        errors.append(f"must be no more than {limit} bytes")
    if not re.fullmatch(pattern, text):
        shown = ", or ".join(f"'{example}'" for example in examples)
        errors.append(f"{message} (e.g. {shown}, regex used for validation is '{pattern}')")
    return tuple(errors)


@lru_cache(maxsize=16384)
def dns_label(text: str) -> tuple[str, ...]:
    """RFC 1123 label: names of namespaces, containers, volumes."""
    return _check(text, _LABEL, _LABEL_MESSAGE, ("my-name", "123-abc"), 63)


@lru_cache(maxsize=16384)
def dns_subdomain(text: str) -> tuple[str, ...]:
    """RFC 1123 subdomain: names of most objects."""
    return _check(text, _SUBDOMAIN, _SUBDOMAIN_MESSAGE, ("example.com",), 253)


@lru_cache(maxsize=16384)
def dns_label_1035(text: str) -> tuple[str, ...]:
    """RFC 1035 label: names of services."""
    return _check(text, _LABEL_1035, _LABEL_1035_MESSAGE, ("my-name", "abc-123"), 63)


@lru_cache(maxsize=16384)
def qualified_name(text: str) -> tuple[str, ...]:
    """A label's or annotation's key: an optional DNS prefix and '/', then a name of at most 63 characters."""
    prefix, slash, name = text.rpartition("/")
    errors: list[str] = []
    if slash and "/" in prefix:
        example = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return (
            f"a valid label key {_QUALIFIED_MESSAGE} (e.g. 'MyName', or 'my.name', or '123-abc') {example}",
        )
    if slash and not prefix:
        errors.append("prefix part must be non-empty")
    elif slash:
        errors += [f"prefix part {error}" for error in dns_subdomain(prefix)]
    if not name:
        errors.append("name part must be non-empty")
    elif len(name) > 63:
        errors.append("name part must be no more than 63 bytes")
    errors += [
        f"name part {error}"
        for error in _check(name, _QUALIFIED, _QUALIFIED_MESSAGE, ("MyName", "my.name", "123-abc"), 253)
    ]
    return tuple(errors)


@lru_cache(maxsize=16384)
def label_value(text: str) -> tuple[str, ...]:
    """A label's value: empty, or at most 63 characters."""
    return _check(text, _LABEL_VALUE, _LABEL_VALUE_MESSAGE, ("MyValue", "my_value", "12345"), 63)


@lru_cache(maxsize=4096)
def env_name(text: str) -> tuple[str, ...]:
    """The name of an environment variable."""
    return () if re.fullmatch(_ENV_NAME, text) else (_ENV_MESSAGE,)


@lru_cache(maxsize=4096)
def config_key(text: str) -> tuple[str, ...]:
    """A key of a ConfigMap or Secret."""
    if text in (".", ".."):
        return (f"must not be '{text}'",)
    return _check(text, _CONFIG_KEY, _CONFIG_KEY_MESSAGE, ("key.name", "KEY_NAME", "key-name"), 253)


@lru_cache(maxsize=4096)
def port_name(text: str) -> tuple[str, ...]:
    """An IANA service name (RFC 6335): named ports."""
    errors = []
    if len(text) > 15:
        errors.append("must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= character <= "z" for character in text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return tuple(errors)


def path_segment(text: str) -> tuple[str, ...]:
    """A name that may stand in a path and nothing more: names of roles, which may have colons."""
    if text in (".", ".."):
        return (f"may not be '{text}'",)
    return tuple(f"may not contain '{character}'" for character in "/%" if character in text)


def port_number(number: int) -> tuple[str, ...]:
    """A TCP, UDP or SCTP port: 1-65535."""
    return () if 1 <= number <= 65535 else ("must be between 1 and 65535, inclusive",)


@lru_cache(maxsize=65536)
def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, or None if `text` is none (leading zeros, which readers disagree about, make it none)."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def parse_range(text: str) -> IPv4Network | IPv6Network | None:
    """A CIDR such as 10.9.8.0/24; bits below the prefix may be set, a prefix length must be there."""
    address, slash, _ = text.partition("/")
    if not slash or parse_address(address) is None:
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


_SPECIAL = (
    ("is_unspecified", "may not be unspecified (0.0.0.0 or ::)"),
    ("is_loopback", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    ("is_link_local", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
)
_LINK_LOCAL_MULTICAST = (IPv4Network("224.0.0.0/24"), IPv6Network("ff02::/16"))


def special_address(address: IPv4Address | IPv6Address) -> tuple[str, ...]:
    """Why no Service may lead to an address that means something else on every machine."""
    for attribute, complaint in _SPECIAL:
        if getattr(address, attribute):
            return (complaint,)
    if any(address in network for network in _LINK_LOCAL_MULTICAST):
        return ("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",)
    return ()
