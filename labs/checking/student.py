"""What was handed in, as a check may look at it: texts, answers, and calls of its functions at arm's length."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.seat_data import decode, encode, record_of
from labs.errors import LabError
from labs.lab import Lab


class Student:
    """The files of one submission by name; `seats` is the file's name by the seat that it took."""

    def __init__(self, lab: Lab, files: Mapping[str, Path], seats: Mapping[str, str]) -> None:
        self._lab, self._files, self._seats = lab, files, seats

    def path(self, file: str) -> Path:
        """Where a file is. Raises LabError."""
        if file not in self._files:
            raise LabError(f"{file}: not handed in: want {', '.join(self._files)}")
        return self._files[file]

    def text(self, file: str) -> str:
        """A file's text."""
        return self.path(file).read_text()

    @property
    def answers(self) -> dict[str, Any]:
        """The values of the answers' file; a text is given without spaces at its ends."""
        file = next((name for name in self._files if name.endswith(".toml")), "answers.toml")
        found = tomllib.loads(self.text(file))
        return {key: value.strip() if isinstance(value, str) else value for key, value in found.items()}

    def call(self, function: str, *arguments: Any, seat: str = "") -> Any:
        """What a function of the file in a seat returns; it runs in the confined process. Raises LabError."""
        seat = seat or next(iter(self._seats))
        request = {"seat": seat, "function": function, "arguments": [encode(item) for item in arguments]}
        return decode(self._lab.ask(do="call", **request)[0]["result"], record_of)
