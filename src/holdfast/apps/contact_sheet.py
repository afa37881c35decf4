"""All pictures of a run on one sheet, each with its name, its server and how often it was tried."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from holdfast.apps.account import Account

CELL = (240, 200)
LABEL = 34
INK = (230, 230, 235)
PAPER = (24, 26, 32)
DIM = (150, 155, 170)


def contact_sheet(account: Account, path: Path, columns: int = 6) -> Path | None:
    """Draw the sheet as a PNG; None if there is nothing to show."""
    shown = [
        (job, result, file)
        for job, result in sorted(account.delivered.items())
        for file in result.images[:1]
    ]
    if not shown:
        return None
    width, height = CELL
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (job, result, file) in enumerate(shown):
        left, top = index % columns * width, index // columns * height
        with Image.open(file.path or _no_path(file.filename)) as picture:
            thumb = picture.convert("RGB")
        thumb.thumbnail((width - 12, height - LABEL - 10))
        sheet.paste(thumb, (left + (width - thumb.width) // 2, top + 6))
        tries = len(result.attempts)
        port = result.server.rpartition(":")[2]
        draw.text((left + 8, top + height - LABEL), job, fill=INK)
        words = f"server :{port}, " + ("1 attempt" if tries == 1 else f"{tries} attempts")
        draw.text((left + 8, top + height - LABEL + 15), words, fill=DIM)
    sheet.save(path)
    return path


def _no_path(name: str) -> Path:
    raise ValueError(f"{name} was not written to disk")
