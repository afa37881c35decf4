"""All pictures of a run on one sheet, each with its name, its server and how often it was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from holdfast.apps.account import Account

CELL = (240, 200)
LABEL = 34
INK = (230, 230, 235)
PAPER = (24, 26, 32)
DIM = (150, 155, 170)
PIXELS = 80_000_000
"""A larger picture is named and not drawn."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of a sheet."""

    label: str
    words: str
    path: Path


def contact_sheet(account: Account, path: Path, columns: int = 6) -> Path | None:
    """Draw the sheet of a run as a PNG; None if there is nothing to show."""
    cells = []
    for job, result in sorted(account.delivered.items()):
        for file in result.images[:1]:
            tries = len(result.attempts)
            port = result.server.rpartition(":")[2]
            words = f"server :{port}, " + ("1 attempt" if tries == 1 else f"{tries} attempts")
            cells.append(Cell(job, words, file.path or _no_path(file.filename)))
    return draw_sheet(cells, path, columns) if cells else None


def draw_sheet(cells: Sequence[Cell], path: Path, columns: int = 6) -> Path:
    """Draw pictures with what is to be said of each as a PNG; one that cannot be read is named."""
    width, height = CELL
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, cell in enumerate(cells):
        left, top = index % columns * width, index // columns * height
        thumb = thumbnail(cell.path, (width - 12, height - LABEL - 10))
        if thumb is not None:
            sheet.paste(thumb, (left + (width - thumb.width) // 2, top + 6))
        draw.text((left + 8, top + height - LABEL), cell.label, fill=INK)
        draw.text((left + 8, top + height - LABEL + 15), cell.words, fill=DIM)
    sheet.save(path)
    return path


def thumbnail(path: Path, size: tuple[int, int]) -> Image.Image | None:
    """A picture made small; None if it cannot be read, or is too large to be."""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > PIXELS:
                return None
            picture.draft("RGB", size)
            thumb = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    thumb.thumbnail(size)
    return thumb


def _no_path(name: str) -> Path:
    raise ValueError(f"{name} was not written to disk")
