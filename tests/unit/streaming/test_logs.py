import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from agents.streaming.log_reader import LogReader
from agents.streaming.logs import Lines, LogOptions
from controlplane.errors import StatusError
from topo import container_log
from topo.container_log import LogWriter, Record, last_output, parse, rotated


def written(path: Path, *pieces: tuple[str, bytes]) -> Path:
    writer = LogWriter(str(path))
    for stream, data in pieces:
        writer.write(stream, data)
    writer.close()
    return path


def read(path: Path, tail: int | None = None) -> bytes:
    reader = LogReader(path)
    if tail is not None:
        reader.skip_to_last(tail)
    text = b"".join(record.text for records in reader.available() for record in records)
    reader.close()
    return text


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=50)), max_size=10))
def test_records_put_together_are_what_was_written(pieces: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reader = LogReader(written(Path(folder, "log"), *pieces))
        records = [record for some in reader.available() for record in some]
        reader.close()
    for stream in ("stdout", "stderr"):
        expected = b"".join(data for name, data in pieces if name == stream)
        assert b"".join(record.text for record in records if record.stream == stream) == expected


def test_a_record_tells_time_stream_and_text(tmp_path: Path) -> None:
    path = written(tmp_path / "log", ("stderr", b"oh no\nand "))
    first, second = (parse(line) for line in path.read_bytes().splitlines(keepends=True))
    assert first is not None
    assert second is not None
    assert (first.stream, first.text, second.text) == ("stderr", b"oh no\n", b"and ")
    assert len(first.time) == len("2026-01-02T03:04:05.000000006Z")


@pytest.mark.parametrize("line", [b"", b"2026-01-02T03:04:05Z stdout F no newline", b"a b\n", b"\n"])
def test_torn_lines_are_no_records(line: bytes) -> None:
    assert parse(line) is None


def test_a_log_never_costs_more_than_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_log, "LIMIT", 2000)
    path = tmp_path / "log"
    lines = [b"line %d\n" % number for number in range(500)]
    written(path, *[("stdout", line) for line in lines])
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < 2000 + 100
    kept = read(path)
    assert kept
    assert b"".join(lines).endswith(kept)
    assert read(path, 40) == b"".join(lines[-40:]), "the tail goes back into the older part"
    assert read(path, 10**6) == kept


@pytest.mark.parametrize(
    ("tail", "text"),
    [(0, b""), (1, b"three"), (2, b"two!\nthree"), (3, b"one\ntwo!\nthree"), (9, b"one\ntwo!\nthree")],
)
def test_the_last_lines(tmp_path: Path, tail: int, text: bytes) -> None:
    pieces = [("stdout", b"one\ntwo"), ("stdout", b"!\n"), ("stdout", b"three")]
    assert read(written(tmp_path / "log", *pieces), tail) == text


def test_the_last_output(tmp_path: Path) -> None:
    path = written(tmp_path / "log", *[("stdout", b"%d\n" % number) for number in range(1000)])
    assert last_output(str(path), 9) == b"\n998\n999\n"
    assert last_output(str(path), 10**6) == b"".join(b"%d\n" % number for number in range(1000))


def test_a_log_is_there_before_anything_is_written_and_keeps_no_file_open_until_then(tmp_path: Path) -> None:
    def files() -> int:
        return len(tuple(Path("/proc/self/fd").iterdir()))

    path, before = tmp_path / "log", files()
    writer = LogWriter(str(path))
    assert (path.read_bytes(), files()) == (b"", before)
    writer.write("stdout", b"late\n")
    writer.close()
    assert (last_output(str(path), 9), files()) == (b"late\n", before)


def test_following_sees_what_is_added_through_a_rotation_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_log, "LIMIT", 300)
    path = tmp_path / "log"
    writer = LogWriter(str(path))
    running = True

    async def follow(seen: list[bytes]) -> None:
        reader = LogReader(path)
        async for records in reader.follow(lambda: running):
            seen.extend(record.text for record in records)
        reader.close()

    async def scenario() -> list[bytes]:
        nonlocal running
        seen: list[bytes] = []
        following = asyncio.create_task(follow(seen))
        async with asyncio.timeout(10):
            for number in range(30):
                writer.write("stdout", b"%d\n" % number)
                while len(seen) <= number:  # noqa: ASYNC110 (another task fills it)
                    await asyncio.sleep(0)
            writer.write("stdout", b"last\n")
            writer.close()
            running = False
            await following
        return seen

    assert asyncio.run(scenario()) == [b"%d\n" % number for number in range(30)] + [b"last\n"]
    assert Path(rotated(str(path))).exists()


def options(query: str) -> LogOptions:
    return LogOptions.parse(make_mocked_request("GET", f"/log?{query}"), "web")


def test_options() -> None:
    parsed = options(
        "container=app&follow=true&tailLines=5&limitBytes=9&sinceTime=2026-01-02T03:04:05%2B01:00&stream=Stderr"
    )
    assert (parsed.container, parsed.follow, parsed.previous, parsed.tail, parsed.limit) == (
        "app",
        True,
        False,
        5,
        9,
    )
    assert (parsed.since, parsed.streams) == ("2026-01-02T02:04:05.000000000Z", ("stderr",))
    assert options("sinceSeconds=99999999999999999999").since == "0001-01-01T00:00:00.000000000Z"


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value"),
        ("sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", 422, "at most one of"),
        ("tailLines=many", 400, "invalid syntax"),
        ("sinceTime=yesterday", 400, "want RFC 3339"),
        ("stream=Both", 422, "Unsupported value"),
    ],
)
def test_bad_options_are_refused(query: str, code: int, words: str) -> None:
    with pytest.raises(StatusError) as refused:
        options(query)
    assert refused.value.code == code
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        (LogOptions(), b"one\nERR\nhalf, whole\n"),
        (LogOptions(timestamps=True), b"1 one\n2 ERR\n3 half, whole\n"),
        (LogOptions(since="3"), b"half, whole\n"),
        (LogOptions(streams=("stderr",)), b"ERR\n"),
    ],
)
def test_lines(chosen: LogOptions, text: bytes) -> None:
    records = [
        ("1", "stdout", b"one\n"),
        ("2", "stderr", b"ERR\n"),
        ("3", "stdout", b"half, "),
        ("4", "stdout", b"whole\n"),
    ]
    put: Callable[[list[Record]], bytes] = Lines(chosen).text
    assert b"".join(put([Record(*record)]) for record in records) == text
