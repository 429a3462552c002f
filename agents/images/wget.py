"""busybox's wget: `wget -qO- -T 2 http://web`, the client of most lessons and probes.

    name -> getaddrinfo (the pod's resolv.conf) -> "Connecting to web (10.96.1.1:80)" -> GET, or POST
        2xx -> a file, or stdout with `-O -`       3xx -> the next address       the rest -> one line, status 1

The words are busybox's, for scripts and students read them. What is told goes to stderr, the body alone to
stdout. `-T` bounds the connection's setup and each silence after it, not the whole transfer; `-t` is
accepted and ignored, as there. http only.

http.client is imported by the request: the warm parent of all containers stays small.
Source: https://git.busybox.net/busybox/tree/networking/wget.c.
"""

from __future__ import annotations

import getopt
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from agents.images.process import SIGINT, SIGPIPE, STDERR, STDOUT, write
from agents.images.sockets import join, reason

if TYPE_CHECKING:
    from http.client import HTTPResponse

_USAGE = """Usage: wget [-cqS] [--spider] [-O FILE] [-P DIR] [--header STR] [--post-data STR] [-Y on/off]
\t[-U AGENT] [-T SEC] URL...
"""
_LONG = ("quiet", "spider", "server-response", "continue", "no-check-certificate", "output-document=")
_LONG_VALUES = ("timeout=", "tries=", "header=", "post-data=", "user-agent=", "proxy=", "directory-prefix=")
_SHORT = "qScO:T:t:P:U:Y:n:"
_LONG_NAMES = {
    "--quiet": "-q",
    "--server-response": "-S",
    "--output-document": "-O",
    "--timeout": "-T",
    "--directory-prefix": "-P",
    "--user-agent": "-U",
}
_SECONDS = 900.0  # busybox's own
_REDIRECTS = 10
_CHUNK = 64 * 1024


class WgetError(Exception):
    """The download failed; the message is in busybox's words."""


@dataclass
class Options:
    """What the command line asks for."""

    urls: list[str]
    quiet: bool = False
    show_headers: bool = False
    spider: bool = False
    output: str = ""
    folder: str = ""
    timeout: float = _SECONDS
    post_data: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def tell(self, text: str) -> None:
        """A line on stderr, unless -q."""
        if not self.quiet:
            write(f"{text}\n", STDERR)


def main(argv: Sequence[str]) -> int:
    """Fetch each URL. Exit status 0, or 1 with a line on stderr."""
    try:
        options = parse(argv[1:])
    except (getopt.GetoptError, ValueError) as error:
        write(f"wget: {error}\n{_USAGE}", STDERR)
        return 1
    try:
        for url in options.urls:
            fetch(url, options)
    except WgetError as error:
        write(f"wget: {error}\n", STDERR)
        return 1
    except BrokenPipeError:
        return 128 + SIGPIPE
    except KeyboardInterrupt:
        return 128 + SIGINT
    return 0


def parse(words: Sequence[str]) -> Options:
    """The options of a command line. Raises getopt.GetoptError, ValueError."""
    pairs, urls = getopt.gnu_getopt(list(words), _SHORT, [*_LONG, *_LONG_VALUES])
    options = Options(urls)
    for name, value in pairs:
        match _LONG_NAMES.get(name, name):
            case "-q":
                options.quiet = True
            case "-S":
                options.show_headers = True
            case "--spider":
                options.spider = True
            case "-O":
                options.output = value
            case "-P":
                options.folder = value
            case "-T":
                options.timeout = _seconds(value)
            case "-U":
                options.headers["User-Agent"] = value
            case "--post-data":
                options.post_data = value
            case "--header":
                key, _, text = value.partition(":")
                options.headers[key.strip()] = text.strip()
    if not urls:
        raise ValueError("missing URL")
    return options


def _seconds(text: str) -> float:
    seconds = float(text) if text.replace(".", "", 1).isdigit() else -1.0
    if seconds < 0:
        raise ValueError(f"invalid number '{text}'")
    return seconds or _SECONDS


def fetch(url: str, options: Options) -> None:
    """Download one URL as the options say, following redirects. Raises WgetError."""
    first = _split(url)
    for _ in range(_REDIRECTS + 1):
        target = _split(url)
        try:
            response = request(target, options)
            if options.show_headers:
                _show(response)
            location = response.headers.get("Location", "")
            if response.status // 100 == 3 and location:
                url = urljoin(target.geturl(), location)
                continue
            if response.status // 100 != 2:
                raise WgetError(f"server returned error: {_status_line(response)}")
            if options.spider:
                options.tell("remote file exists")
            else:
                save(response, _file_name(first, options), options)
            return
        except TimeoutError:
            raise WgetError("download timed out") from None
        except BrokenPipeError:  # whoever reads stdout has gone
            raise
        except OSError as error:
            raise WgetError(f"error getting response: {reason(error)}") from None
    raise WgetError("too many redirections")


def _split(url: str) -> SplitResult:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        if parts.scheme == "http" and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass  # the port is no port
    raise WgetError(f"not an http or ftp url: {url}")


def request(target: SplitResult, options: Options) -> HTTPResponse:
    """Send the request and read the response's head. Raises WgetError, TimeoutError, OSError."""
    from http.client import HTTPConnection, HTTPException

    host, port = target.hostname or "", target.port or 80
    address = _lookup(host, port)
    options.tell(f"Connecting to {target.netloc.rpartition('@')[2]} ({join(address, port)})")
    connection = HTTPConnection(address, port, timeout=options.timeout)
    try:
        connection.connect()
    except TimeoutError:
        raise
    except OSError as error:
        where = "" if ":" in address else f" ({address})"
        raise WgetError(f"can't connect to remote host{where}: {os.strerror(error.errno or 0)}") from None
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    headers = {"Host": target.netloc.rpartition("@")[2], "User-Agent": "Wget", "Connection": "close"}
    body = None if options.post_data is None else options.post_data.encode()
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    given = {name.lower() for name in options.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in given} | options.headers
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        return connection.getresponse()
    except (HTTPException, ValueError, BrokenPipeError) as error:
        raise WgetError(f"error getting response: {error}") from None


def _lookup(host: str, port: int) -> str:
    """The first address of a name."""
    try:
        return str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError):  # UnicodeError: a label is empty or too long
        raise WgetError(f"bad address '{host}'") from None


def _status_line(response: HTTPResponse) -> str:
    version = "1.1" if response.version == 11 else "1.0"
    return f"HTTP/{version} {response.status} {response.reason}".rstrip()


def _show(response: HTTPResponse) -> None:
    lines = [_status_line(response), *(f"{name}: {value}" for name, value in response.getheaders())]
    write("".join(f"  {line}\n" for line in lines), STDERR)


def _file_name(url: SplitResult, options: Options) -> str:
    """Where the body goes; "-" is stdout. Without -O an existing file is not replaced."""
    if options.output:
        return options.output
    name = os.path.join(options.folder, url.path.rpartition("/")[2] or "index.html")
    if os.path.exists(name):
        raise WgetError(f"can't open '{name}': File exists")
    return name


def save(response: HTTPResponse, name: str, options: Options) -> None:
    """Write the body, piece by piece as it comes. Raises WgetError, TimeoutError, OSError."""
    from http.client import IncompleteRead

    to_stdout = name == "-"
    options.tell("writing to stdout" if to_stdout else f"saving to '{name}'")
    try:
        out = open(STDOUT if to_stdout else name, "wb", closefd=not to_stdout)  # noqa: SIM115
    except OSError as error:
        raise WgetError(f"can't open '{name}': {reason(error)}") from None
    size = 0
    try:
        while piece := response.read1(_CHUNK) if response.length is None else response.read(_CHUNK):
            out.write(piece)
            size += len(piece)
    except IncompleteRead:
        raise WgetError("connection closed prematurely") from None
    finally:
        out.close()
    if response.length:
        raise WgetError("connection closed prematurely")
    shown = name.rpartition("/")[2]
    options.tell(f"{shown:<20} 100% |{'*' * 32}| {size:5}  0:00:00 ETA")
    options.tell("written to stdout" if to_stdout else f"'{name}' saved")
