"""pods/log: what `kubectl logs` shows.

    run of a container ──> its log ──> since, tail ──> lines, with their times if asked ──> text, to a limit

Sources: Kubernetes API reference, "read log of the specified Pod"; pkg/apis/core/validation, PodLogOptions.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiohttp import web

from agents.container import Container
from agents.streaming.connection import while_connected
from agents.streaming.log_reader import LogReader
from agents.streaming.pods import Pods, container
from controlplane.errors import FieldErrors, bad_request, invalid
from controlplane.http import Target
from topo.container_log import Record

STREAMS = {
    "": ("stdout", "stderr"),
    "All": ("stdout", "stderr"),
    "Stdout": ("stdout",),
    "Stderr": ("stderr",),
}


@dataclass(frozen=True)
class LogOptions:
    """What is asked for. since: RFC 3339 with nanoseconds, or "". tail, limit: lines and bytes; None: all."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: str = ""
    tail: int | None = None
    limit: int | None = None
    streams: tuple[str, ...] = STREAMS[""]

    @classmethod
    def parse(cls, request: web.Request, pod: str) -> LogOptions:
        """From a request's query. Raises StatusError 400, 422."""
        query, errors = request.query, FieldErrors()
        numbers = {name: _number(query, name) for name in ("tailLines", "limitBytes", "sinceSeconds")}
        for name, least in (("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)):
            value = numbers[name]
            if value is not None and value < least:
                errors.invalid(name, value, f"must be greater than {'or equal to 0' if least == 0 else '0'}")
        if "sinceTime" in query and numbers["sinceSeconds"] is not None:
            errors.forbidden("sinceSeconds", "at most one of `sinceTime` or `sinceSeconds` may be specified")
        if query.get("stream", "") not in STREAMS:
            errors.unsupported("stream", query["stream"], [name for name in STREAMS if name])
        since = _time(query["sinceTime"]) if query.get("sinceTime") else None
        if errors:
            raise invalid("PodLogOptions", "", pod, errors.items)
        if numbers["sinceSeconds"] is not None:
            since = _ago(numbers["sinceSeconds"])
        follow, previous, timestamps = (
            _flag(query.get(name)) for name in ("follow", "previous", "timestamps")
        )
        return cls(
            query.get("container", ""), follow, previous, timestamps,
            f"{since.replace(tzinfo=None).isoformat(timespec='microseconds')}000Z" if since else "",
            numbers["tailLines"], numbers["limitBytes"], STREAMS[query.get("stream", "")],
        )  # fmt: skip


def _flag(text: str | None) -> bool:
    return text in ("true", "1", "True", "t")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text[:40]}": invalid syntax') from None


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise bad_request(
            f'parsing time "{text[:60]}": want RFC 3339, such as 2026-01-02T03:04:05Z'
        ) from None


def _ago(seconds: int) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


class Lines:
    """Puts pieces of output together as text: a line's time at its beginning, nothing before `since`."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._middle = False  # of a line

    def text(self, records: Iterable[Record]) -> bytes:
        """The text of some records."""
        parts = []
        for record in records:
            if record.time < self._options.since or record.stream not in self._options.streams:
                continue
            if self._options.timestamps and not self._middle:
                parts.append(record.time.encode() + b" ")
            parts.append(record.text)
            self._middle = not record.text.endswith(b"\n")
        return b"".join(parts)


class LogHandler:
    """Answers pods/log."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods

    async def __call__(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Stream the log. Raises StatusError."""
        options = LogOptions.parse(request, target.name)
        worker = self._pods.worker(target)
        found = container(worker, options.container)
        reader = _open(found, worker.name, options.previous)
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):  # the client has seen enough
                await while_connected(request, _send(response, reader, options, _runs(found)))
        finally:
            reader.close()
        return response


def _open(found: Container, pod: str, previous: bool) -> LogReader:
    """Raises StatusError 400 when there is no such log."""
    try:
        return LogReader(found.previous_log if previous else found.log)
    except FileNotFoundError:
        pass
    if previous:
        raise bad_request(f'previous terminated container "{found.name}" in pod "{pod}" not found')
    reason = (found.state.state.get("waiting") or {}).get("reason", "ContainerCreating")
    raise bad_request(f'container "{found.name}" in pod "{pod}" is waiting to start: {reason}')


def _runs(found: Container) -> Callable[[], bool]:
    """Whether the present run of the container goes on."""
    log = found.log
    return lambda: found.log == log and found.state.running


async def _send(
    response: web.StreamResponse, reader: LogReader, options: LogOptions, running: Callable[[], bool]
) -> None:
    lines, left = Lines(options), options.limit
    if options.tail is not None:
        reader.skip_to_last(options.tail)
    async for records in _pieces(reader, options, running):
        text = lines.text(records)[:left]
        if text:
            await response.write(text)
        if left is not None:
            left -= len(text)
            if left <= 0:
                break
    await response.write_eof()


async def _pieces(
    reader: LogReader, options: LogOptions, running: Callable[[], bool]
) -> AsyncIterator[list[Record]]:
    if options.follow and not options.previous:
        async for records in reader.follow(running):
            yield records
    else:
        for records in reader.available():
            yield records
