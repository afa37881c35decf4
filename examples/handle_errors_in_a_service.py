"""An existing service with its errors handled: retried, mended, degraded, remembered, told.

The service makes thumbnails with the help of a "resizer" somewhere else, which fails in the ways
such things do. Nothing in its own functions knows of Holdfast.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from holdfast import ErrorCategory, ErrorHandlingSystem, capture, report_of
from holdfast.system.recovery import ReconnectWithProbe

# -- the service as it was ----------------------------------------------------------------


class Resizer:
    """The other side: it loses its connection, and is short of memory."""

    def __init__(self) -> None:
        self.connected, self.calls = True, 0

    def resize(self, width: int, height: int) -> str:
        self.calls += 1
        if self.calls == 2:
            raise ConnectionResetError("connection reset by peer")
        if self.calls == 4:
            self.connected = False
        if not self.connected:
            raise ConnectionRefusedError("connection refused")
        if width * height > 4_000_000:
            raise MemoryError(f"cannot allocate {width * height * 4} bytes")
        return f"{width} x {height}"


resizer = Resizer()


def thumbnail(*, width: int, height: int) -> str:
    return resizer.resize(width, height)


def connect() -> None:
    resizer.connected = True


# -- what is new --------------------------------------------------------------------------

folder = tempfile.TemporaryDirectory()
history = Path(folder.name) / "errors.db"
system = ErrorHandlingSystem(
    {"history": {"url": str(history)}, "retry": {"initial": 0.01, "max_attempts": 2}}
)
system.recovery_procedure.register(
    ErrorCategory.NETWORK, ReconnectWithProbe(connect=connect, probe=lambda: resizer.connected)
)


def handled(width: int, height: int) -> None:
    outcome = system.call_outcome_with_resilience(
        thumbnail,
        width=width,
        height=height,
        circuit_breaker_name="resizer",
        adjust_parameters=True,
    )
    print(outcome.value, outcome.changes or "as asked for")


handled(800, 600)
handled(800, 600)  # its connection is reset: retried
handled(800, 600)  # its connection is gone: reconnected, and called again
handled(4000, 3000)  # does not fit: smaller, and it says so

try:
    system.call_with_resilience(int, "twelve", circuit_breaker_name="resizer")
except ValueError as error:
    print("failed:", error)
    print(capture(error).category, report_of(error).steps[0])

health = system.get_system_health()
print(health["status"], health["circuit_breakers"]["resizer"]["state"], health["recovery_rate"])
system.close()

# -- after a restart ----------------------------------------------------------------------

with ErrorHandlingSystem({"history": {"url": str(history)}}) as again:
    for name, count in again.error_analytics.get_most_common_errors():
        print(f"{count} x {name}")
folder.cleanup()
