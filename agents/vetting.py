"""What a student's text may say before it is loaded: only what concerns its own table, or its own device.

    render() ──text──> vet ──refused──> VettingError: line 3: flush ruleset: …
                        └──fine──> nft -f, ip -batch, bridge -batch

The function that wrote the text had no rights, but the text is loaded by somebody who has: `include "/etc/shadow"`
would read a file, `netns exec` would run a program, `flush ruleset` would take down what others keep.

    nft      commands on the tables named, with their family; no include, no define, no variables
    ip       link of the device; address, neigh and route on it; routes to pods' ranges only
    bridge   fdb entries of the device

Invariant: what is not understood is refused.

Sources: nft(8) "INPUT FILE FORMATS"; ip(8) "-batch"; bridge(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

MOST = 4 << 20  # characters
_FAMILIES = ("ip", "ip6")
_TOKEN = re.compile(r'"[^"]*"|#[^\n]*|\\\n|[ \t]+|[\n;{}]|[^\s;{}"#]+')
_COMMANDS = ("add", "create", "insert", "replace", "delete", "destroy", "flush", "rename")
_OBJECTS = ("table", "chain", "rule", "set", "map", "element", "counter", "quota", "limit")
_WORD = re.compile(r"[A-Za-z0-9.:/_-]+")


class VettingError(Exception):
    """The text says something that it may not: one line that names the line and the words."""


def ruleset(text: str, table: str) -> None:
    """Let a text for `nft -f` pass that concerns only the tables `ip TABLE` and `ip6 TABLE`. Raises VettingError."""
    _plain(text)
    for number, words in _nft_commands(text):
        verb, rest = (words[0], words[1:]) if words[0] in _COMMANDS else ("", words)
        kind, family, name = ([*rest, "", "", ""])[:3]
        known = kind in _OBJECTS if verb else kind == "table"
        if not known or family not in _FAMILIES or name != table:
            said = " ".join(words)[:60]
            raise VettingError(
                f"line {number}: {said}: want only commands on table ip {table} or ip6 {table}"
            )


def links(text: str, device: str, pod_cidrs: Iterable[str]) -> None:
    """Let a text for `ip -batch` pass that makes one device and what hangs on it. Raises VettingError."""
    ranges = [ip_network(cidr) for cidr in pod_cidrs]
    for number, words in _batch(text):
        match words:
            case ["link", "add", *rest] if _adds(rest, device):
                continue
            case ["link", "set" | "del" | "delete", *rest] if _names(rest, device) and not _moves(rest):
                continue
            case ["address" | "addr" | "neigh", "add" | "replace" | "del", _, *rest] if _on(rest, device):
                continue
            case ["route", "add" | "replace" | "append" | "del", target, *rest] if _inside(target, ranges):
                if "dev" not in rest or _on(rest, device):
                    continue
        raise VettingError(
            f"line {number}: {' '.join(words)[:60]}: want link, address, neigh or route of {device}, to pods' ranges"
        )


def forwarding(text: str, device: str) -> None:
    """Let a text for `bridge -batch` pass that has only fdb entries of one device. Raises VettingError."""
    for number, words in _batch(text):
        if not (words[:1] == ["fdb"] and words[1:2] and words[1] in _FDB and _on(words[3:], device)):
            raise VettingError(f"line {number}: {' '.join(words)[:60]}: want fdb entries of {device}")


_FDB = ("add", "append", "replace", "del")


def _plain(text: str) -> None:
    if not isinstance(text, str):
        raise VettingError(f"it is no text but {type(text).__name__}: return a text")
    if len(text) > MOST:
        raise VettingError(f"{len(text)} characters: want at most {MOST}")
    for number, line in enumerate(text.split("\n"), 1):
        odd = next((char for char in line if not (" " <= char <= "~" or char == "\t")), None)
        if odd is not None:
            raise VettingError(f"line {number}: {odd!r}: want plain ASCII")


def _nft_commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """The line and the words of each command, up to its first brace. Raises VettingError."""
    depth, line, words = 0, 1, list[str]()
    for token in _tokens(text):
        if token[0] not in '"#\\' and (found := re.search(r"include|define|\$", token)):
            raise VettingError(f"line {line}: {found[0]}: not taken: write out what you mean")
        if token == "{":
            if depth == 0 and words:
                yield line, words
            depth, words = depth + 1, []
        elif token == "}":
            depth, words = depth - 1, []
            if depth < 0:
                raise VettingError(f"line {line}: }}: closes nothing")
        elif token in "\n;":
            if depth == 0 and words:
                yield line, words
            words = []
        elif depth == 0 and token[0] != "#" and token.strip(" \t\\\n"):
            words.append(token)
        line += token.count("\n")
    if depth:
        raise VettingError(f"line {line}: a brace is not closed")
    if words:
        yield line, words


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or (found[0].endswith("\\") and found[0] != "\\\n"):
            raise VettingError(f"line {text.count(chr(10), 0, at) + 1}: {text[at]}: not understood")
        yield found[0]
        at = found.end()


def _batch(text: str) -> Iterator[tuple[int, list[str]]]:
    """The line and the words of each command of an `ip -batch` or `bridge -batch` text."""
    _plain(text)
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        odd = next((word for word in words if not _WORD.fullmatch(word)), None)
        if odd is not None:
            raise VettingError(f"line {number}: {odd}: not understood")
        if words:
            yield number, words


def _names(words: Sequence[str], device: str) -> bool:
    """Whether the first word, after `dev` or `name`, is the device."""
    return list(words[:1]) == [device] or (words[:1] in (["dev"], ["name"]) and list(words[1:2]) == [device])


def _moves(words: Sequence[str]) -> bool:
    """Whether a link would be put somewhere else, or be something else's."""
    return bool(
        {"netns", "link-netns", "link-netnsid", "master", "alias", "xdp", "xdpgeneric"} & set(words)
    ) or ("name" in words[1:])


def _adds(words: Sequence[str], device: str) -> bool:
    kind = words[words.index("type") + 1 :] if "type" in words else ()
    return _names(words, device) and not _moves(words) and list(kind[:1]) == ["vxlan"]


def _on(words: Sequence[str], device: str) -> bool:
    """Whether the device is named, once, and no other."""
    named = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "dev"]
    return named == [device]


def _inside(target: str, ranges: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        network = ip_network(target)
    except ValueError:
        return False
    for pods in ranges:
        if isinstance(network, IPv4Network) and isinstance(pods, IPv4Network) and network.subnet_of(pods):
            return True
        if isinstance(network, IPv6Network) and isinstance(pods, IPv6Network) and network.subnet_of(pods):
            return True
    return False
