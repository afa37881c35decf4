"""The report in the morning: one HTML file with every picture, and the same as JSON.

Nothing in it comes from elsewhere, and nothing that a workflow or a server says is markup.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from holdfast.apps.contact_sheet import Cell, draw_sheet, thumbnail
from holdfast.apps.keeping import Kept, every_job
from holdfast.apps.spans import duration
from holdfast.stores.jobs import JobState, StoredJob
from holdfast.telemetry.plots import safe

JOBS = 20_000
"""Jobs of a report, at most; the counts are of all."""
PICTURES = 5_000
"""Pictures of a report, at most."""
MANY = 1_000
"""Pictures from which on they are drawn smaller, so that a browser can still open the page."""
SHEET = 480
"""Pictures of a contact sheet; what does not fit goes on to the next one."""
THUMB = (220, 180)
SMALL = (120, 100)
_MAY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A hostile name that got past the escaping would still have nothing to run or to load."""
_STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1c2430;
  --soft: #5b6676; --line: #e3e7ed; --bad: #b42318; --changed: #8a5a00; --good: #2f7d4f; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --card: #1a2029; --ink: #e4e8ee;
  --soft: #9aa7ba; --line: #2b3440; --bad: #f97066; --changed: #e0b64a; --good: #68d391; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 78rem; margin: 0 auto; } h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .75rem; } .soft { color: var(--soft); }
.tiles { display: flex; gap: 1rem; flex-wrap: wrap; margin: 1.25rem 0; }
.tile, article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: .7rem 1.2rem; } .tile b { display: block; font-size: 1.5rem; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); }
article { padding: .8rem; overflow-wrap: anywhere; font-size: .88rem; }
article img { display: block; max-width: 100%; border-radius: 6px; margin-bottom: .5rem; }
article p { margin: .25rem 0 0; } .bad { color: var(--bad); } .changed { color: var(--changed); }
.good { color: var(--good); } code { font-size: .85em; }
"""


def write_report(kept: Kept, order: str | None, folder: Path) -> Path:
    """Write ``report.html``, ``report.json`` and ``contact-sheet.png``.

    Args:
        kept: the jobs and their files.
        order: of this batch; None for everything that is kept.
        folder: where to; made if need be.

    Returns:
        The path of the HTML file.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = list(islice(every_job(kept.store, order=order, newest_first=False), JOBS))
    told = [_told(kept, job) for job in jobs]
    counts = {state.value: n for state, n in kept.store.counts(order=order).items()}
    left_out = max(0, sum(counts.values()) - len(jobs))
    whole = {"order": order, "counts": counts, "left_out": left_out, "jobs": told}
    _put(folder / "report.json", json.dumps(whole, indent=1).encode())
    page = folder / "report.html"
    _put(page, "".join(_page(kept, jobs, told, counts, order)).encode())
    cells = list(_cells(kept, jobs, told))
    for number, start in enumerate(range(0, len(cells), SHEET), 1):
        name = "contact-sheet.png" if number == 1 else f"contact-sheet-{number}.png"
        draw_sheet(cells[start : start + SHEET], folder / name)
    return page


def _put(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}-{os.urandom(4).hex()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _told(kept: Kept, job: StoredJob) -> dict[str, Any]:
    outcome = kept.store.outcome(job.id) or {}
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "summary": job.summary,
        "seconds": outcome.get("seconds"),
        "attempts": outcome.get("attempts") or [],
        "degradations": outcome.get("degradations") or [],
        "notes": outcome.get("notes") or [],
        "failure": outcome.get("failure"),
        "seed": job.seed,
        "prompt": job.prompt,
        "files": [
            {
                "filename": each.filename,
                "type": each.type,
                "sha256": each.sha256,
                "bytes": each.size,
                "media_type": each.media_type,
                "suspect": each.suspect,
            }
            for each in kept.store.files(job.id)
        ],
    }


def _cells(kept: Kept, jobs: list[StoredJob], told: list[dict[str, Any]]) -> Iterator[Cell]:
    for job, each in zip(jobs, told, strict=True):
        path = next(
            (
                kept.blobs.path(file["sha256"])
                for file in each["files"]
                if file["media_type"].startswith("image/")
            ),
            None,
        )
        if path is not None:
            tries = len(each["attempts"])
            words = "1 attempt" if tries == 1 else f"{tries} attempts"
            yield Cell(job.name, words, path)


def _page(
    kept: Kept,
    jobs: list[StoredJob],
    told: list[dict[str, Any]],
    counts: dict[str, int],
    order: str | None,
) -> Iterator[str]:
    yield (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_MAY}">'
        f"<title>Holdfast: {safe(order or 'all jobs')}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{safe(order or 'All jobs')}</h1><p class=soft>{_span(jobs)}</p>"
        "<div class=tiles>"
    )
    for state, count in counts.items():
        yield f"<div class=tile><b>{count}</b><span class=soft>{safe(state)}</span></div>"
    yield "</div>"
    pairs = list(zip(jobs, told, strict=True))
    yield from _left_out(told, sum(counts.values()) - len(jobs))
    yield from _section(
        "Failed",
        (
            f"<article><b>{safe(job.name)}</b>{_lines(each)}"
            f"<p class=soft>Again: <code>holdfast jobs retry {safe(job.id)}</code></p></article>"
            for job, each in pairs
            if job.state is JobState.FAILED
        ),
    )
    yield from _section(
        "Not done",
        (
            f"<article><b>{safe(job.name)}</b><p class=soft>{safe(job.state.value)}</p></article>"
            for job, _each in pairs
            if job.state not in (JobState.DELIVERED, JobState.FAILED)
        ),
    )
    yield from _section("Delivered", _delivered(kept, pairs))
    yield "</main></body></html>"


def _left_out(told: list[dict[str, Any]], jobs: int) -> Iterator[str]:
    pictures = sum(_is_drawn(file) for each in told for file in each["files"])
    if jobs > 0:
        yield f"<p class=soft>{jobs:,} more jobs are in the store, and not on this page.</p>"
    if pictures > PICTURES:
        yield f"<p class=soft>The first {PICTURES:,} of {pictures:,} pictures are shown.</p>"


def _section(title: str, articles: Iterator[str]) -> Iterator[str]:
    first = next(articles, None)
    if first is not None:
        yield f"<h2>{title}</h2><div class=grid>{first}"
        yield from articles
        yield "</div>"


def _delivered(kept: Kept, pairs: list[tuple[StoredJob, dict[str, Any]]]) -> Iterator[str]:
    many = sum(_is_drawn(file) for _job, each in pairs for file in each["files"]) > MANY
    shown = 0
    for job, each in pairs:
        if job.state is JobState.DELIVERED:
            pictures = ""
            for file in each["files"]:
                if _is_drawn(file) and shown < PICTURES:
                    pictures += _thumb(kept, file, SMALL if many else THUMB)
                    shown += 1
            yield f"<article>{pictures}<b>{safe(job.name)}</b>{_lines(each)}</article>"


def _is_drawn(file: dict[str, Any]) -> bool:
    return bool(file["type"] == "output" and file["media_type"].startswith("image/"))


def _span(jobs: list[StoredJob]) -> str:
    ends = [job.ended for job in jobs if job.ended is not None]
    if not ends:
        return f"{len(jobs)} jobs"
    return f"{len(jobs)} jobs in {duration(max(ends) - min(job.created for job in jobs))}"


def _lines(told: dict[str, Any]) -> str:
    lines = [f"<p class=changed>Changed: {safe(each)}</p>" for each in told["degradations"]]
    lines += [
        f"<p class=changed>{safe(file['filename'])}: {safe(file['suspect'])}</p>"
        for file in told["files"]
        if file["suspect"]
    ]
    lines += [
        f"<p class=soft>{safe(str(each.get('server', '')))}: {safe(str(each.get('error', '')))}"
        f" &ndash; {safe(str(each.get('recovery', '')))}</p>"
        for each in told["attempts"]
        if each.get("error")
    ]
    if told["state"] == JobState.FAILED.value:
        lines.append(f"<p class=bad>{safe(told['summary'])}</p>")
    elif told["seconds"]:
        lines.append(f"<p class=soft>{told['seconds']:.1f} s, seed {safe(told['seed'] or '-')}</p>")
    return "".join(lines)


def _thumb(kept: Kept, file: dict[str, Any], size: tuple[int, int]) -> str:
    path = kept.blobs.path(file["sha256"])
    thumb = None if path is None else thumbnail(path, size)
    if thumb is None:
        return f"<p class=bad>{safe(file['filename'])} cannot be shown</p>"
    held = io.BytesIO()
    thumb.save(held, "JPEG", quality=80)
    text = base64.b64encode(held.getvalue()).decode()
    return f"<img alt='{safe(file['filename'])}' src='data:image/jpeg;base64,{text}'>"
