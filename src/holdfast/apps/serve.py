"""`holdfast serve`: the gateway as a process, with the dashboard in it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from holdfast.apps.exits import Exit
from holdfast.apps.keeping import PATIENT_SECONDS, Kept, open_kept
from holdfast.apps.watching import ErrorWatch
from holdfast.comfyui import ComfyUI
from holdfast.comfyui.durable.turning_down import turned_down
from holdfast.errors import BadInputError
from holdfast.system.error_handling import ErrorHandlingSystem
from holdfast.system.recovery.folder_lock import locked

if TYPE_CHECKING:
    from fastapi import FastAPI

    from holdfast.comfyui.gateway.app import Gateway
    from holdfast.comfyui.gateway.caller import Caller
    from holdfast.comfyui.gateway.limits import Limits

SWITCH_SECONDS = 0.0005
BACKLOG = 2_048
SOCKETS_KEYLESS = 4_096
"""WebSockets of all clients where no key tells them apart."""
_FILES = 16_384
"""Open files to ask the system for: each connection is one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for on the command line."""

    servers: tuple[str, ...]
    host: str
    port: int
    data: Path
    store: str | None
    keyless: bool
    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    proxies: tuple[str, ...]
    tls_cert: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    jobs_per_server: int
    max_queued: int
    max_sockets: int | None
    lease: float
    drain: float
    works: bool
    dashboard: bool


def serve_forever(plan: Plan) -> Exit:
    """Serve until stopped with Ctrl-C or SIGTERM.

    Raises:
        BadInputError: something that was asked for is wrong, or not safe.
    """
    _need_the_extra(plan)
    with contextlib.ExitStack() as stack:
        return _serve(plan, stack)


def _serve(plan: Plan, stack: contextlib.ExitStack) -> Exit:
    import uvicorn

    from holdfast.comfyui.gateway.app import Gateway
    from holdfast.comfyui.gateway.exposure import Exposure
    from holdfast.comfyui.gateway.hang_up import HangUpProtocol

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # A socket that was refused with an answer is no error, and anybody can have one refused.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "without completing handshake" not in record.getMessage()
    )
    tls = _tls(plan)
    exposure = Exposure.read(
        keyless=plan.keyless,
        hosts=plan.hosts,
        origins=plan.origins,
        proxies=plan.proxies,
        limits=_limits(plan),
    )
    _open_many_files()
    comfy = ComfyUI(
        *plan.servers,
        jobs_per_server=plan.jobs_per_server,
        reach_seconds=PATIENT_SECONDS,
        previews=True,
    )
    system = ErrorHandlingSystem()
    level = system.graceful_degradation
    comfy.listen(ErrorWatch(system).hear)
    board = _board(system, comfy)
    kept = open_kept(
        plan.data,
        plan.store or str(plan.data / "jobs.db"),
        max_queued=plan.max_queued,
        lease_seconds=plan.lease,
    )
    stack.callback(kept.store.close)
    gateway = Gateway(
        kept.store,
        kept.blobs,
        comfy,
        exposure=exposure,
        cache_folder=plan.data / "known",
        name=_worker_name(kept, stack),
        works=plan.works,
        drain_seconds=plan.drain,
        turn_down=lambda workflow: turned_down(
            workflow, level.adjust_parameters, level.current_level.value
        ),
        extend=board if plan.dashboard else None,
    )
    gateway.keys.refresh()
    warnings = exposure.check(plan.host, any_key=gateway.keys.any, tls=tls != {})
    listening = _listen(plan)
    scheme = "https" if tls else "http"
    stack.callback(listening.close)
    port = listening.getsockname()[1]
    for url in plan.servers:
        _is_another(url, listening)
    # The loop and the thread that writes take turns often: a commit is on the way of each answer.
    sys.setswitchinterval(SWITCH_SECONDS)
    config = uvicorn.Config(
        gateway.app(),
        ws=HangUpProtocol,
        ws_per_message_deflate=False,
        ws_max_size=16 * 2**20,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_graceful_shutdown=max(5, int(plan.drain) + 5),
        **tls,
    )
    for each in warnings:
        sys.stderr.write(f"holdfast: warning: {each}\n")
    where = f"{scheme}://{_shown(plan.host)}:{port}"
    sys.stdout.write(f"gateway at {where} before {len(plan.servers)} servers (Ctrl-C stops it)\n")
    if plan.dashboard:
        sys.stdout.write(f"dashboard at {where}/holdfast/\n")
    sys.stdout.flush()
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal once more when it has ended in good order.
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listening])
    return Exit.OK


def _limits(plan: Plan) -> Limits:
    from holdfast.comfyui.gateway.limits import Limits

    usual = Limits()
    sockets = plan.max_sockets or (SOCKETS_KEYLESS if plan.keyless else usual.sockets)
    return replace(usual, sockets=sockets, sockets_all=max(usual.sockets_all, sockets))


def _open_many_files() -> None:
    """Ask the system for as many open files as clients may need; it may allow fewer."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _worker_name(kept: Kept, stack: contextlib.ExitStack) -> str:
    """What this gateway's worker is called; the jobs of one that died here go on at once."""
    alone = stack.enter_context(locked(kept.data / "gateway.lock", wait=False))
    if not alone:
        return f"{socket.gethostname()}-{os.getpid()}"
    name = f"gateway on {socket.gethostname()}:{kept.data.resolve()}"[-200:]
    kept.store.reclaim(name).result()
    return name


def _board(system: ErrorHandlingSystem, comfy: ComfyUI) -> Callable[[FastAPI, Gateway], None]:
    """What puts the dashboard into the gateway's application."""

    def extend(app: FastAPI, gateway: Gateway) -> None:
        from holdfast.apps.dashboard import mount
        from holdfast.apps.dashboard.live_servers import Ticker
        from holdfast.apps.dashboard.live_source import LiveSource
        from holdfast.comfyui.gateway.audit import Entry
        from holdfast.comfyui.gateway.guard import Refusal

        ticker = Ticker()
        comfy.listen(ticker.hear)
        source = LiveSource(
            gateway.store,
            comfy,
            system,
            server_breakers=lambda: comfy.breakers,
            ticker=ticker,
        )

        def note(user: str, action: str, target: str, done: bool) -> None:  # noqa: FBT001 - as asked
            outcome = "done" if done else "refused"
            gateway.audit.note(Entry(user, "", "dashboard", action, target, outcome))

        def by_now(caller: Caller) -> Caller | None:
            if not caller.key_id:
                return caller
            key = gateway.keys.known(caller.key_id)
            if key is None:
                return None
            return replace(caller, scopes=key.scopes, quotas=key.quotas)

        async def admit(caller: Caller) -> None:
            try:
                await gateway.http.desk.intake.let_in(caller, 0)
            except Refusal as refusal:
                raise BadInputError(refusal.message) from None

        mount(app, source, blobs=gateway.blobs, audit=note, renew=by_now, admit=admit)

    return extend


def _need_the_extra(plan: Plan) -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401

        if plan.dashboard:
            import nicegui  # noqa: F401
    except ModuleNotFoundError as error:
        raise BadInputError(
            f'holdfast serve needs {error.name}: pip install "holdfast[gateway]"'
        ) from None


def _tls(plan: Plan) -> dict[str, Any]:
    from holdfast.comfyui.gateway.tls import tls_options

    password = os.environ.get("HOLDFAST_TLS_PASSWORD") if plan.tls_cert is not None else None
    options = tls_options(plan.tls_cert, plan.tls_key, password, plan.tls_client_ca)
    return {} if options is None else options.uvicorn()


def _listen(plan: Plan) -> socket.socket:
    try:
        found = socket.getaddrinfo(plan.host, plan.port, type=socket.SOCK_STREAM)[0]
        # Only what says that it is TCP gets TCP_NODELAY from asyncio; without, each answer is late.
        listening = socket.socket(found[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
        listening.listen(BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInputError(f"cannot listen on {plan.host}:{plan.port}: {reason}") from None
    return listening


def _is_another(url: str, listening: socket.socket) -> None:
    """Refuse a server that is the gateway itself: each request would come back for ever."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    bound, port = listening.getsockname()[:2]
    if (parts.port or (443 if parts.scheme == "https" else 80)) != port:
        return
    try:
        found = {each[4][0] for each in socket.getaddrinfo(parts.hostname, port)}
    except OSError:
        return  # a name that leads nowhere now does not lead here
    everywhere = ip_address(bound).is_unspecified
    if bound in found or (everywhere and any(ip_address(each).is_loopback for each in found)):
        raise BadInputError(
            f"--server {url} is the gateway itself, which listens there: give one --port another "
            f"number, such as --port {port - 1}"
        )


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
