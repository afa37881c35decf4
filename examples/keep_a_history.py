"""A service is killed in the middle of its work. Started again, it shows what had gone wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.stores import ErrorHistory


def serve(path: str) -> None:
    """A service that does nothing but fail, and never closes anything."""
    history = ErrorHistory(path, service="pictures")
    for number in range(1, 1_000_000):
        info = ErrorInfo(
            timestamp=datetime.now(UTC),
            error_type="ConnectionError",
            error_message=f"job {number}: cannot reach http://me:my-password@gpu1:8188",
            category=ErrorCategory.NETWORK,
            severity=ErrorSeverity.MEDIUM,
            dependency="gpu1",
        )
        event = history.append(info, "gpu1-unreachable")
        history.resolve(event, strategy="next_server", successful=number % 4 != 0)
        print(number, flush=True)
        time.sleep(0.01)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "errors.db"
        command = [sys.executable, __file__, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:  # noqa: S603
            assert service.stdout is not None
            numbers = [int(service.stdout.readline()) for _ in range(100)]
            service.send_signal(signal.SIGKILL)
        print(f"killed after error {numbers[-1]}")

        with ErrorHistory(path) as history:
            report = history.report()
            print(f"started again: {report['total_errors']} errors are known")
            assert report["total_errors"] >= numbers[-1] - 40  # a quarter of a second, at most
            group = report["groups"][0]
            print(f"{group['count']} x {group['type']}: {group['message']} ({group['trend']})")
            print(f"mended: {report['recovery_by_strategy']}")
            assert "my-password" not in path.read_bytes().decode("latin-1")


if len(sys.argv) > 1:
    serve(sys.argv[1])
else:
    main()
