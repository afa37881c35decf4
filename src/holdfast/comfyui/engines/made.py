"""What an engine hands back: pictures or clips, and the whole account of how they came to be."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.comfyui.outputs import prepare_folder
from holdfast.comfyui.result import Attempt, OutputFile
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_COPIES = 100_000


@dataclass(frozen=True)
class Made:
    """What was made."""

    files: tuple[OutputFile, ...]
    """Fetched whole and checked."""
    seed: int
    """Gives the same again, on the same models."""
    family: str
    recipe: str
    """What made it, such as ``flux-schnell``."""
    rung: str
    """How far down the ladder: ``quality``, ``standard``, ``basic``, or a name of your own."""
    models: Mapping[str, str]
    """The model files, by role."""
    server: str
    seconds: float
    """From the call to the last file, all rungs included."""
    attempts: tuple[Attempt, ...]
    """Every try on every rung; the last one delivered."""
    degradations: tuple[str, ...]
    """What is not as asked, and why; empty if nothing."""
    notes: tuple[str, ...]
    """What else is worth knowing: which models were taken, what had no effect."""
    workflow: Workflow
    """What was run: to look at, to keep, to run again."""

    def save(self, folder: str | Path) -> list[Path]:
        """Write copies of the files into a folder, which is made if it is not there.

        Nothing that exists is overwritten: a number is put behind the name.

        Returns:
            Where they lie, in order.

        Raises:
            BadInputError: the folder cannot be written.
            OSError: a file was moved or deleted since.
        """
        prepared = prepare_folder(Path(folder))
        return [_copy(each, prepared) for each in self.files]


@dataclass(frozen=True)
class ImageResult(Made):
    """Pictures that were made."""

    @cached_property
    def images(self) -> tuple[Image, ...]:
        """As Pillow images, decoded when this is first looked at."""
        from PIL import Image  # noqa: PLC0415 - whoever wants only files needs no decoder

        pictures = []
        for each in self.files:
            with Image.open(io.BytesIO(each.bytes)) as opened:
                opened.load()
                pictures.append(opened.copy())
        return tuple(pictures)

    @property
    def image(self) -> Image:
        """The first picture."""
        return self.images[0]


@dataclass(frozen=True)
class VideoResult(Made):
    """A clip that was made."""

    frames: int
    """How many there should be."""
    fps: float
    """Frames a second."""

    @property
    def file(self) -> OutputFile:
        """The clip's file."""
        return self.files[0]

    @property
    def length(self) -> float:
        """Seconds."""
        return self.frames / self.fps


def _copy(file: OutputFile, folder: Path) -> Path:
    name, content = Path(file.filename), file.bytes
    for number in range(1, MOST_COPIES):
        path = folder / (name.name if number == 1 else f"{name.stem}-{number}{name.suffix}")
        try:
            with path.open("xb") as target:
                target.write(content)
        except FileExistsError:
            continue
        except OSError as error:
            path.unlink(missing_ok=True)
            raise BadInputError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
        return path
    raise BadInputError(f"folder {str(folder)!r} has {MOST_COPIES:,} files named {name.name!r}")
