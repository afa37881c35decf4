"""Mend what is broken, see that it is mended, and only then try again."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.ports import ambient
from holdfast.system.recovery import (
    RecoveryContext,
    RecoveryProcedure,
    RestartProcess,
    Spool,
    SpoolToDisk,
    SupervisedProcess,
)

SERVER = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        with server.accept()[0] as caller:
            caller.sendall(b"painted " + caller.recv(100))
"""

with socket.create_server(("127.0.0.1", 0)) as free:
    PORT = free.getsockname()[1]


def paint(what: str) -> str:
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as server:
        server.sendall(what.encode())
        return server.recv(100).decode()


def is_ready() -> bool:
    return paint("a probe") == "painted a probe"


def told(error: Exception) -> ErrorInfo:
    return ErrorInfo(
        timestamp=datetime.now(UTC),
        error_type=type(error).__name__,
        error_message=str(error),
        category=ErrorCategory.NETWORK,
        severity=ErrorSeverity.MEDIUM,
        dependency="painter",
    )


def resilient(what: str) -> object:
    began = ambient.now()
    try:
        return paint(what)
    except OSError as error:
        # A failure that began before somebody else's restart is mended by that restart.
        context = RecoveryContext("painter", paint, (what,), began=began, exception=error)
        result = procedure.recover_sync(told(error), context)
        if not result.success:
            raise
        if result.changes.offer is not None:
            print("  instead of a result:", result.changes.offer.note)
            return result.changes.offer.value
        fn, args, kwargs = result.changes.retry_of(paint, (what,), {})
        return fn(*args, **kwargs)


painter = SupervisedProcess(
    [sys.executable, "-c", SERVER, str(PORT)], ready=is_ready, stop_timeout=2
)
procedure = RecoveryProcedure()
procedure.register(ErrorCategory.NETWORK, RestartProcess(painter, cooldown=60))

with tempfile.TemporaryDirectory() as folder, painter:
    print("well:   ", resilient("a lighthouse"))

    assert painter.pid is not None
    os.kill(painter.pid, signal.SIGTERM)
    while painter.running:
        time.sleep(0.01)
    results: list[object] = []
    callers = [
        threading.Thread(target=lambda n=n: results.append(resilient(f"ship {n}")))
        for n in range(20)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    print(f"killed:  {len(results)} of 20 callers have a picture, {painter.restarts} restart")

    # It was restarted only a moment ago, so that is not tried again: work is put off instead.
    spool = Spool(folder)
    procedure.register(ErrorCategory.NETWORK, SpoolToDisk(spool, lambda c: {"what": c.args[0]}))
    painter.stop()
    print("down:   ", resilient("a storm"))

    painter.start()
    done = spool.replay(lambda item: print("later:  ", paint(item.payload["what"])))
    print(f"sent:    {done.sent}, left {done.left}")

last = procedure.get_recovery_history()[-1]
print("history:", last["strategy"], "after", last["strategies_attempted"])
