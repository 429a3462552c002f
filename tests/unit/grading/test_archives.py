"""Archives that nobody trusts: what is unpacked, and what is refused, with which line."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from labs.grading import archives
from labs.grading.archives import ArchiveError, unpack


def zip_of(path: Path, *entries: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def tar_of(path: Path, *entries: tuple[str, bytes], mode: str = "w:gz", **fields: object) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(data))
    return path


def unpacked(path: Path, into: Path) -> dict[str, bytes]:
    into.mkdir()
    unpack(path, into)
    return {
        str(file.relative_to(into)): file.read_bytes() for file in sorted(into.rglob("*")) if file.is_file()
    }


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_plain_files_come_out(tmp_path: Path, name: str) -> None:
    entries = (("service.py", b"x = 1\n"), ("notes/read.txt", b"hello"))
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(name.rpartition(".")[2], "w")
    path = (
        zip_of(tmp_path / name, *entries)
        if name.endswith("zip")
        else tar_of(tmp_path / name, *entries, mode=mode)
    )
    assert unpacked(path, tmp_path / "out") == dict(entries)
    assert archives.is_archive(path)
    assert archives.stem(path) == "a"


def test_what_systems_add_is_left_out(tmp_path: Path) -> None:
    clutter = [
        ("__MACOSX/._service.py", b"x"),
        (".DS_Store", b"x"),
        ("__pycache__/a.pyc", b"x"),
        ("._a", b"x"),
    ]
    path = zip_of(tmp_path / "a.zip", ("service.py", b"1"), *clutter)
    assert unpacked(path, tmp_path / "out") == {"service.py": b"1"}


def symlink(path: Path) -> Path:
    info = zipfile.ZipInfo("service.py")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return path


ZEROS = bytes(1 << 20)
HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "up in a zip": (lambda at: zip_of(at / "a.zip", ("../evil", b"x")), "'../evil': leads out of the folder"),
    "up in a tar": (lambda at: tar_of(at / "a.tgz", ("a/../../evil", b"x")), "leads out of the folder"),
    "absolute": (lambda at: zip_of(at / "a.zip", ("/etc/evil", b"x")), "leads out of the folder"),
    "absolute in a tar": (lambda at: tar_of(at / "a.tgz", ("/etc/evil", b"x")), "leads out of the folder"),
    "backslashes": (lambda at: zip_of(at / "a.zip", ("..\\..\\evil", b"x")), "leads out of the folder"),
    "a drive": (lambda at: zip_of(at / "a.zip", ("C:evil", b"x")), "leads out of the folder"),
    "a link in a zip": (lambda at: symlink(at / "a.zip"), "a link or a device"),
    "a symbolic link": (
        lambda at: tar_of(at / "a.tgz", ("service.py", b""), type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "service.py: a link or a device: want plain files",
    ),
    "a hard link": (
        lambda at: tar_of(at / "a.tgz", ("service.py", b""), type=tarfile.LNKTYPE, linkname="x"),
        "a link or a device",
    ),
    "a device": (lambda at: tar_of(at / "a.tgz", ("null", b""), type=tarfile.CHRTYPE), "a link or a device"),
    "a pipe": (lambda at: tar_of(at / "a.tgz", ("pipe", b""), type=tarfile.FIFOTYPE), "a link or a device"),
    "a bomb": (
        lambda at: zip_of(at / "a.zip", *((f"{n}", ZEROS) for n in range(9))), "more than 8388608 bytes when unpacked",
    ),
    "a bomb in a tar": (
        lambda at: tar_of(at / "a.tgz", *((f"{n}", ZEROS) for n in range(9))), "more than 8388608 bytes when unpacked",
    ),
    "a bomb in a header": (
        lambda at: tar_of(at / "a.tgz", ("service.py", b""), pax_headers={"comment": "x" * (20 << 20)}),
        "more than 12582912 bytes when unpacked",
    ),
    "many": (lambda at: zip_of(at / "a.zip", *((f"{n}", b"") for n in range(501))), "more than 500 entries"),
    "many in a tar": (lambda at: tar_of(at / "a.tgz", *((f"{n}", b"") for n in range(501))), "more than 500 entries"),
    "twice": (
        lambda at: tar_of(at / "a.tgz", ("service.py", b"1"), ("./service.py", b"2")), "service.py: there twice"
    ),
    "a long name": (lambda at: zip_of(at / "a.zip", ("x" * 300, b"")), "too long a name"),
    "no zip": (lambda at: written(at / "a.zip", b"hello"), "not an archive that can be read"),
    "no tar": (lambda at: written(at / "a.tar", b"hello" * 300), "not an archive that can be read"),
    "empty": (lambda at: written(at / "a.tgz", b""), "not an archive that can be read"),
    "cut": (
        lambda at: written(at / "a.tgz", tar_of(at / "whole.tgz", ("a", ZEROS)).read_bytes()[:500]),
        "not an archive that can be read",
    ),
    "a file and a folder": (lambda at: zip_of(at / "a.zip", ("a", b"1"), ("a/b", b"2")), "a.zip: "),
}  # fmt: skip


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make, reason = HOSTILE[name]
    (tmp_path / "from").mkdir()
    (tmp_path / "below/out").mkdir(parents=True)
    path = make(tmp_path / "from")
    with pytest.raises(ArchiveError) as raised:
        unpack(path, tmp_path / "below/out")
    assert reason.replace("'", "") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [file.name for file in tmp_path.rglob("evil")] == []
    assert (
        sum(file.stat().st_size for file in (tmp_path / "below").rglob("*") if file.is_file())
        <= archives.MOST_BYTES
    )


def test_an_archive_with_a_password_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", ("service.py", b"x = 1"))
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of encryption, in the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="encrypt"):
        unpack(path, tmp_path / "out")
