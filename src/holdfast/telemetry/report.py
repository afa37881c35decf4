"""A report in the form somebody wants: JSON, Markdown, HTML, or tables for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from holdfast.errors import BadInputError
from holdfast.telemetry.report_html import html
from holdfast.telemetry.report_markdown import markdown
from holdfast.telemetry.report_table import table

FORMATS = ("json", "markdown", "html")

__all__ = ["FORMATS", "html", "markdown", "render", "table", "to_json"]


def render(report: Mapping[str, Any], form: str, *, title: str = "Errors") -> str:
    """The report as text.

    Args:
        report: what `ErrorAnalytics.generate_report` or `ErrorHistory.report` gave, also after a
            journey through JSON.
        form: one of `FORMATS`. For a terminal there is `table`.
        title: the heading; JSON has none.

    Raises:
        BadInputError: if there is no such form.
    """
    if form == "json":
        return to_json(report)
    if form == "markdown":
        return markdown(report, title)
    if form == "html":
        return html(report, title)
    raise BadInputError(f"form must be one of {', '.join(FORMATS)}, got {form!r:.100}")


def to_json(report: Mapping[str, Any]) -> str:
    """The report as JSON in ASCII, so that no text in it can break a file or a terminal."""
    return json.dumps(report, indent=2, allow_nan=False) + "\n"
