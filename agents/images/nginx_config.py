"""nginx's configuration: text -> directives -> the servers, locations and upstreams that the stand-in
follows.

    server { listen 80; server_name a b; root DIR; index F; location /api/ { proxy_pass http://api:8080; } }
    upstream NAME { server HOST:PORT; … }      location { return CODE [TEXT|URL]; root|alias|index; add_header
    }

Invariant: a directive that is not followed is named in `ignored`, never passed over in silence. Sources:
https://nginx.org/en/docs/http/ngx_http_core_module.html (location, server_name),
…/ngx_http_proxy_module.html.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_ROOT = "/usr/share/nginx/html"
_TOKEN = re.compile(r"\s+|#[^\n]*|([{};])|\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|([^\s{};\"'][^\s{};]*)")
# Their absence changes no answer here.
_HARMLESS = {
    "access_log",
    "charset",
    "daemon",
    "default_type",
    "error_log",
    "error_page",
    "events",
    "gzip",
    "http",
    "include",
    "keepalive_timeout",
    "log_format",
    "pid",
    "proxy_http_version",
    "sendfile",
    "tcp_nopush",
    "types",
    "user",
    "worker_connections",
    "worker_processes",
}


class ConfigError(ValueError):
    """The configuration is not nginx's; the message is nginx's own."""


@dataclass(frozen=True)
class Directive:
    """`name arg …;` or, with a block, `name arg … { … }`."""

    name: str
    args: tuple[str, ...]
    block: tuple[Directive, ...] = ()


@dataclass
class Location:
    """What is done with the requests whose path begins with `prefix` (is it, when `exact`)."""

    prefix: str
    exact: bool = False
    root: str = DEFAULT_ROOT
    alias: str = ""
    index: str = "index.html"
    returns: tuple[str, ...] = ()
    proxy_pass: str = ""
    fallback: str = ""
    proxy_headers: list[tuple[str, str]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Server:
    """One `server` block; `locations` always has one for `/`."""

    ports: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    locations: list[Location] = field(default_factory=list)

    def location(self, path: str) -> Location:
        """The location for a path: an exact one, else the longest prefix."""
        exact = [place for place in self.locations if place.exact and place.prefix == path]
        prefixes = [place for place in self.locations if not place.exact and path.startswith(place.prefix)]
        return (exact or sorted(prefixes, key=lambda place: len(place.prefix)))[-1]


@dataclass
class Config:
    """All servers, the upstreams by name, and the directives that were not understood."""

    servers: list[Server] = field(default_factory=list)
    upstreams: dict[str, Iterator[str]] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)

    def server(self, port: int, host: str) -> Server:
        """The server for a request: by its Host header among those on the port, else the first of them."""
        there = [server for server in self.servers if port in server.ports]
        names = {host, host.rpartition(":")[0]}
        return next((server for server in there if names & set(server.names)), there[0])

    def member(self, authority: str) -> str:
        """Where a proxy_pass to `authority` goes next: an upstream's servers take turns."""
        return next(self.upstreams[authority]) if authority in self.upstreams else authority


def read(paths: Sequence[Path]) -> Config:
    """The configuration in some files; without any server, nginx's default site on port 80.

    Raises:
        ConfigError: bad syntax, with file and line.
    """
    config = Config()
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        directives, _ = _parse(text, 0, str(path), nested=False)
        _collect(config, directives)
    if not config.servers:
        config.servers.append(_server((), config.ignored))
    return config


def _parse(text: str, at: int, place: str, *, nested: bool) -> tuple[tuple[Directive, ...], int]:
    """The directives from `at` to the end of the block (of the text), and where that is."""
    found: list[Directive] = []
    words: list[str] = []
    while at < len(text):
        match = _TOKEN.match(text, at)
        line = text.count("\n", 0, at) + 1
        if not match:
            raise ConfigError(f"unexpected end of file, expecting a closing quote in {place}:{line}")
        at, mark = match.end(), match[1]
        word = next((part for part in match.groups()[1:] if part is not None), None)
        if word is not None:
            words.append(word)
        elif mark == "}":
            if words or not nested:
                raise ConfigError(f'unexpected "}}" in {place}:{line}')
            return tuple(found), at
        elif mark:
            if not words:
                raise ConfigError(f'unexpected "{mark}" in {place}:{line}')
            block: tuple[Directive, ...] = ()
            if mark == "{":
                block, at = _parse(text, at, place, nested=True)
            found.append(Directive(words[0], tuple(words[1:]), block))
            words = []
    if nested or words:
        raise ConfigError(
            f'unexpected end of file, expecting ";" or "}}" in {place}:{text.count(chr(10)) + 1}'
        )
    return tuple(found), at


def _collect(config: Config, directives: Sequence[Directive]) -> None:
    for directive in directives:
        if directive.name == "server":
            config.servers.append(_server(directive.block, config.ignored))
        elif directive.name == "upstream" and directive.args:
            members = [inner.args[0] for inner in directive.block if inner.name == "server" and inner.args]
            if not members:
                raise ConfigError(f'no servers are inside upstream "{directive.args[0]}"')
            config.upstreams[directive.args[0]] = itertools.cycle(members)
        elif directive.name == "http":
            _collect(config, directive.block)
        elif directive.name not in _HARMLESS:
            config.ignored.add(directive.name)


def _server(block: Sequence[Directive], ignored: set[str]) -> Server:
    server, base = Server(), Location("/")
    for directive in block:
        if directive.name == "listen" and directive.args:
            port = re.fullmatch(r"(?:.*:)?(\d+)", directive.args[0])
            if port and int(port[1]) not in server.ports:
                server.ports.append(int(port[1]))
        elif directive.name == "server_name":
            server.names += directive.args
        elif directive.name != "location":
            _apply(base, directive, ignored)
    server.ports = server.ports or [80]
    for directive in block:
        if directive.name == "location":
            server.locations.append(_location(base, directive, ignored))
    if not any(place.prefix == "/" and not place.exact for place in server.locations):
        server.locations.append(base)
    return server


def _location(base: Location, directive: Directive, ignored: set[str]) -> Location:
    """A location, with what it inherits from its server."""
    modifier, prefix = directive.args if len(directive.args) == 2 else ("", (directive.args or ("/",))[-1])
    if modifier in ("~", "~*"):
        ignored.add(f"location {modifier}")
        prefix = "\0"  # matches nothing
    place = Location(prefix, exact=modifier == "=", root=base.root, index=base.index)
    place.returns, place.fallback = base.returns, base.fallback
    place.headers, place.proxy_headers = list(base.headers), list(base.proxy_headers)
    for inner in directive.block:
        _apply(place, inner, ignored)
    return place


def _apply(place: Location, directive: Directive, ignored: set[str]) -> None:
    """Let one directive change a location."""
    name, args = directive.name, directive.args
    if name in ("root", "alias", "index", "proxy_pass") and args:
        setattr(place, name, args[0])
    elif name == "return" and args:
        place.returns = args
    elif name == "try_files" and args:
        place.fallback = args[-1] if args[-1].startswith("/") else ""
    elif name == "proxy_set_header" and len(args) == 2:
        place.proxy_headers.append((args[0], args[1]))
    elif name == "add_header" and len(args) >= 2:
        place.headers.append((args[0], args[1]))
    elif name not in _HARMLESS:
        ignored.add(name)
