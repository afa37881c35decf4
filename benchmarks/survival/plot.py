"""The survival benchmark as a picture: two bars a client, drawn as SVG without any library."""

from __future__ import annotations

from html import escape
from pathlib import Path

from benchmarks.survival.truth import Score

WIDTH, ROW, LEFT, TOP = 720, 46, 190, 40


def plot(scores: list[Score], path: Path) -> None:
    """Draw what each client delivered, what it claimed wrongly and what it made twice."""
    height = TOP + ROW * len(scores) + 30
    full = WIDTH - LEFT - 60
    most = max(each.deliverable for each in scores)
    title = f"delivered of {most} deliverable jobs (red: wrong claims and duplicates)"
    size = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" fill="#333333">{escape(title)}</text>',
    ]
    for number, each in enumerate(scores):
        y = TOP + ROW * number
        good = full * each.delivered / most
        bad = min(full, full * (each.wrong_claims + each.duplicates) / most)
        name = f'<text x="{LEFT - 8}" y="{y + 17}" text-anchor="end" fill="#333333">'
        parts += [
            f"{name}{escape(each.client)}</text>",
            f'<rect x="{LEFT}" y="{y + 4}" width="{full}" height="18" fill="#eeeeee"/>',
            f'<rect x="{LEFT}" y="{y + 4}" width="{good:.1f}" height="18" fill="#2e7d32"/>',
            f'<text x="{LEFT + full + 6}" y="{y + 18}" fill="#333333">{each.delivered}</text>',
            f'<rect x="{LEFT}" y="{y + 25}" width="{bad:.1f}" height="8" fill="#c62828"/>',
        ]
    parts.append("</svg>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
