"""Files over HTTP, as nginx and httpd both serve them: paths that cannot leave the root, index pages, HEAD,
one Range.

    target -> decoded path -> normalised below root -> directory? redirect to "…/", then its index -> body,
    type, validators

Invariant: no request reaches a file outside the root by its path. (A symbolic link that someone put there is
followed, as both servers do by default.) Sources: RFC 9110 sections 13 (conditional requests) and 14
(ranges).
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from typing import Any

from agents.images.http_message import Request, Response, http_date

MAX_FILE = 64 * 1024 * 1024  # a file is read whole
_LARGE = 64 * 1024
# The large file that was read last, [(path, mtime, size), content]: its readers share the content.
_last_large: list[Any] = [None, b""]

_TYPES = {
    "css": "text/css",
    "gif": "image/gif",
    "htm": "text/html",
    "html": "text/html",
    "jpg": "image/jpeg",
    "js": "application/javascript",
    "json": "application/json",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "xml": "text/xml",
}


@dataclass(frozen=True)
class Problem(Exception):  # not every one is an error: a redirect is one of them
    """Why there is no file to send: an HTTP status, a fact for the log, a location for 301."""

    status: int
    fact: str = ""
    location: str = ""


def serve(root: str, request: Request, path: str, index: str = "index.html") -> Response:
    """The file below `root` that `path` names, as `request` (its method, validators, range) asks for it.

    Raises:
        Problem: 301, 400, 403, 404, 405, 416 or 500.
    """
    if request.method not in ("GET", "HEAD"):
        raise Problem(405)
    asked, path = path, below(root, path)
    if os.path.isdir(path):
        if not asked.endswith("/"):
            raise Problem(301, location=request.path + "/")
        directory, path = path, posixpath.join(path, index)
        if not os.path.exists(path):
            raise Problem(403, f'directory index of "{directory}/" is forbidden')
    content, modified = _read(path)
    suffix = path.rpartition("/")[2].rpartition(".")[2].lower()
    content_type = _TYPES.get(suffix, "application/octet-stream")
    etag = f'"{int(modified):x}-{len(content):x}"'
    headers = [("Last-Modified", http_date(modified)), ("ETag", etag), ("Accept-Ranges", "bytes")]
    headers.insert(0, ("Content-Type", content_type))
    if request.header("if-none-match") == etag or (
        not request.header("if-none-match") and request.header("if-modified-since") == http_date(modified)
    ):
        return Response(status=304, headers=headers[1:])
    return _ranged(request, content, headers)


def below(root: str, path: str) -> str:
    """The file-system path for a request's path. Raises Problem 400 for a NUL byte."""
    if "\0" in path:
        raise Problem(400)
    return posixpath.join(root, posixpath.normpath("/" + path).lstrip("/"))


def _read(path: str) -> tuple[bytes, float]:
    """A file's content and the time of its last change. Raises Problem."""
    try:
        with open(path, "rb", opener=_no_wait) as file:
            status = os.fstat(file.fileno())
            if status.st_size > MAX_FILE:
                raise Problem(500, f'"{path}" is larger than the stand-in reads ({MAX_FILE} bytes)')
            key = (path, status.st_mtime_ns, status.st_size)
            if _last_large[0] != key:
                content = file.read()
                if len(content) < _LARGE:
                    return content, status.st_mtime
                _last_large[:] = [key, content]
            return _last_large[1], status.st_mtime
    except FileNotFoundError:
        raise Problem(404, f'open() "{path}" failed (2: No such file or directory)') from None
    except NotADirectoryError:
        raise Problem(404, f'open() "{path}" failed (20: Not a directory)') from None
    except OSError as error:
        raise Problem(403, f'open() "{path}" failed ({error.errno}: {error.strerror})') from None


def _no_wait(path: str, flags: int) -> int:
    """Open without waiting for the other end of a named pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _ranged(request: Request, content: bytes, headers: list[tuple[str, str]]) -> Response:
    """The content, or the one range of it that was asked for. Several ranges get the whole."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.header("range"))
    if not match or not (match[1] or match[2]):
        return Response(content, headers=headers)
    size = len(content)
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    else:
        first, last = max(size - int(match[2]), 0), size - 1
    if first > last:
        raise Problem(416, location=f"bytes */{size}")
    return Response(
        content[first : last + 1], 206, [*headers, ("Content-Range", f"bytes {first}-{last}/{size}")]
    )
