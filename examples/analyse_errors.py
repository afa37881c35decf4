"""Four hours of a service in trouble: what is wrong, since when, and whether it grows."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from holdfast import ErrorAnalytics, ErrorCategory, ErrorInfo, ErrorSeverity
from holdfast.ports import ambient
from holdfast.telemetry.report import render
from holdfast.testing import FakeClock

chance = random.Random(7)


def error(kind: str, message: str, category: str, severity: str, server: str) -> ErrorInfo:
    return ErrorInfo(
        timestamp=datetime.fromtimestamp(ambient.wall(), UTC),
        error_type=kind,
        error_message=message,
        category=ErrorCategory(category),
        severity=ErrorSeverity(severity),
        dependency=server,
    )


# The clock is a fake one, so that four hours are over at once.
with FakeClock() as clock:
    analytics = ErrorAnalytics(max_history=500)

    for minute in range(240):
        clock.advance(60)
        for _ in range(5):
            analytics.record_latency("gpu1", chance.lognormvariate(3.5, 0.4))
        if minute % 3 == 0:
            refused = f"cannot connect to 10.0.0.{minute % 9}:8188"
            info = error("ConnectionError", refused, "network", "medium", "gpu2")
            number = analytics.record_error(info)
            # `RecoveryProcedure` tells this by itself.
            mended = minute % 4 != 0
            analytics.record_recovery("reconnect", info.category, mended, 1.5)
            analytics.resolve(number, strategy="reconnect", successful=mended)
        # Memory runs out more and more often, beginning three quarters of an hour ago.
        for _ in range(max(0, minute - 195) // 10):
            short = f"CUDA out of memory. Tried to allocate {chance.randint(100, 900)} MiB"
            analytics.record_error(error("OutOfMemoryError", short, "memory", "critical", "gpu1"))

    for group in analytics.top_groups():
        print(f"{group.count:4} x {group.error_type}: {group.trend}")
        print(f"       first: {group.sample!r}, group {group.fingerprint}")
    print(f"errors a minute: {analytics.get_error_rate(300):.2f} in the last five minutes,")
    print(f"                 {analytics.get_error_rate(3 * 3600):.2f} in the last three hours")
    print(f"recoveries that worked: {analytics.get_recovery_rate('reconnect'):.0%}")
    print(f"a call to gpu1 in seconds: {analytics.percentiles('gpu1')}")

    report = analytics.generate_report()

page = Path(tempfile.mkdtemp()) / "errors.html"
page.write_text(render(report, "html", title="Errors of the picture service"), encoding="utf-8")
print(f"{report['total_errors']} errors: see {page}")
