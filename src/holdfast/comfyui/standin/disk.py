"""What a server has on disk, read anew each time it is asked.

Models come from three places: the settings name some, files in
``folder/models/<folder>`` add others, and faults hide some again. A file that
is added or removed is seen by the very next question.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from holdfast.comfyui.standin.config import FOLDER_NAMES, OLD_FOLDER_NAMES, StandInConfig
from holdfast.comfyui.standin.node import Folders

MODEL_SUFFIXES = frozenset({".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"})


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

    def input_images(self) -> list[str]:
        """Sorted names of the files directly in the input folder."""
        place = self._folders.input
        return sorted(path.name for path in place.iterdir() if path.is_file())
