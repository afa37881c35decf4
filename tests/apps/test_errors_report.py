"""`holdfast errors report` tells a real history in every form."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.stores import ErrorHistory


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("table", "cannot connect"),
        ("markdown", "cannot connect"),
        ("html", "cannot connect"),
        ("json", '"message": "cannot connect"'),
    ],
)
def test_a_history_is_told(holdfast, tmp_path, form, words):
    path = tmp_path / "errors.db"
    with ErrorHistory(path) as history:
        history.append(
            ErrorInfo(
                timestamp=datetime.now(UTC),
                error_type="ConnectionError",
                error_message="cannot connect",
                category=ErrorCategory.NETWORK,
                severity=ErrorSeverity.MEDIUM,
            ),
            "group",
        )
    output = tmp_path / "report"
    done = holdfast(
        "errors", "report", "--history", str(path), "--format", form, "--output", str(output)
    )
    assert done.code == 0
    assert words in output.read_text(encoding="utf-8")
