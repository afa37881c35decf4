"""What a server has on disk, read anew each time it is asked.

Models come from three places: the settings name some, files in
``folder/models/<folder>`` add others, and faults hide some again. A file that
is added or removed is seen by the very next question.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from holdfast.comfyui.standin.config import FOLDER_NAMES, OLD_FOLDER_NAMES, StandInConfig
from holdfast.comfyui.standin.node import Folders

MODEL_SUFFIXES = frozenset({".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"})

LARGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""
_SHAPELESS = (TypeError, KeyError, IndexError, AttributeError)


class Disk:
    """The folders of one server; implements `ServerFiles`."""

    def __init__(
        self, config: StandInConfig, root: Path, hidden: Callable[[], frozenset[str]]
    ) -> None:
        self._config = config
        self._root = root
        self._hidden = hidden
        self._folders = Folders(input=root / "input", output=root / "output", temp=root / "temp")

    @property
    def folders(self) -> Folders:
        """Where inputs, outputs and temporary files lie."""
        return self._folders

    def prepare(self) -> None:
        """Make the folders; temporary files do not outlive a start."""
        shutil.rmtree(self._folders.temp, ignore_errors=True)
        for folder in (self._folders.input, self._folders.output, self._folders.temp):
            folder.mkdir(parents=True, exist_ok=True)

    def wipe_temp(self) -> None:
        """Remove temporary files, as an orderly end does."""
        shutil.rmtree(self._folders.temp, ignore_errors=True)

    def model_folders(self) -> dict[str, list[str]]:
        """Where each kind of model lies."""
        return {name: [str(self._root / "models" / name)] for name in FOLDER_NAMES}

    def models(self, folder: str) -> list[str]:
        """Model names in ``folder``, sorted: what ``GET /models/{folder}`` answers."""
        wanted = OLD_FOLDER_NAMES.get(folder, folder)
        place = self._root / "models" / wanted
        names = self._config.listed(wanted)
        if place.is_dir():
            names |= {
                path.relative_to(place).as_posix()
                for path in place.rglob("*")
                if path.suffix.lower() in MODEL_SUFFIXES and path.is_file()
            }
        return sorted(names - self._config.without_models - self._hidden())

    def is_damaged(self, folder: str, name: str) -> bool:
        """Whether a file that lies there is no whole safetensors file, as a loader would find.

        One that is empty is a mere name: what the settings list has no file at all.
        """
        path = self._root / "models" / OLD_FOLDER_NAMES.get(folder, folder) / name
        if path.suffix not in {".safetensors", ".sft"} or not path.is_file():
            return False
        size = path.stat().st_size
        if size == 0:
            return False
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                if not 0 < length <= min(size - 8, LARGEST_HEADER):
                    return True
                header = json.loads(file.read(length))
            ends = [each["data_offsets"][1] for key, each in header.items() if key[:2] != "__"]
            return bool(max(ends, default=0) != size - 8 - length)
        except (OSError, ValueError, RecursionError, struct.error, *_SHAPELESS):
            return True

    def input_images(self) -> list[str]:
        """Sorted names of the files directly in the input folder."""
        place = self._folders.input
        return sorted(path.name for path in place.iterdir() if path.is_file())
