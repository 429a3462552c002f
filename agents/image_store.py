"""The files that images add to the skeleton, written once for each image: the layer below its containers' changes.

Program.files --once--> /run/minipod/images/N/  --lowerdir--> every container of that image
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agents.images.catalogue import File

FOLDER = Path("/run/minipod/images")


class ImageStore:
    """Layers by content: images with the same files share one."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._layers: dict[int, tuple[Mapping[str, File], str]] = {}

    def layer(self, files: Mapping[str, File]) -> str:
        """The directory with these files (absolute path -> File); "" when there are none."""
        if not files:
            return ""
        # The catalogue hands out one mapping for each image; keeping it here keeps its id from being used again.
        known = self._layers.get(id(files))
        if known is None:
            path = self._folder / str(len(self._layers))
            for name, file in files.items():
                target = path / name.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(file.text)
                target.chmod(file.mode)
            known = self._layers[id(files)] = files, str(path)
        return known[1]
