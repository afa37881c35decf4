"""Putting the pages into an app: the one module that sets NiceGUI up.

NiceGUI has one app of its own in a process, with one list of pages, and takes no change once
it has started. So this is done once, and before the start.
"""

from __future__ import annotations

from pathlib import Path

from nicegui import Client, core, ui
from starlette.applications import Starlette
from starlette.routing import Mount

from holdfast.apps.dashboard import PREFIX
from holdfast.apps.dashboard.caller import Admit, Audit, Renew
from holdfast.apps.dashboard.pages import (
    controls,
    dead_letters,
    errors,
    job,
    jobs,
    overview,
    servers,
)
from holdfast.apps.dashboard.routes import Guarded, routes
from holdfast.apps.dashboard.sources import DashboardSource
from holdfast.apps.dashboard.thumbnails import Blobs
from holdfast.apps.dashboard.visit import Deck

MOST_PAGES = 150
"""Pages at a time, of all visitors; the largest takes about 4 MB."""
_PAGES = (overview, servers, jobs, job, errors, dead_letters, controls)
_ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="8" fill="#2f6fed"/><g fill="none" stroke="#fff"
stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"><circle cx="16" cy="8" r="2.6"/>
<path d="M16 11v15M11 15h10M7 18c0 5 4 8 9 8s9-3 9-8"/></g></svg>"""


def mount_once(
    app: Starlette,
    source: DashboardSource,
    *,
    blobs: Blobs,
    title: str,
    audit: Audit | None,
    renew: Renew | None,
    admit: Admit | None,
) -> None:
    """As `holdfast.apps.dashboard.mount`.

    Raises:
        RuntimeError: it is mounted already.
    """
    if core.app.config.has_run_config:
        raise RuntimeError("the dashboard is mounted already, and can be once in a process only")
    deck = Deck(source, title, audit, renew, admit)
    for page in _PAGES:
        page.register(deck)
    ui.add_css(Path(__file__).with_name("look.css").read_text("utf-8"), shared=True)
    ui.run_with(
        app,  # type: ignore[arg-type]  # any Starlette app will do
        title=title,
        favicon=_ICON,
        dark=None,
        language="en-US",
        mount_path=PREFIX,
        tailwind=False,
        # A page that has lost its connection for longer than this is loaded anew.
        reconnect_timeout=10.0,
        message_history_length=200,
        binding_refresh_interval=None,
        show_welcome_message=False,
    )
    mounted = app.router.routes.pop()
    assert isinstance(mounted, Mount)  # noqa: S101 - `run_with` has just added it
    mounted.app = Guarded(mounted.app, renew, lambda: len(Client.instances) >= MOST_PAGES)
    # Before everything else: a gateway passes on whatever nobody else answers.
    app.router.routes[:0] = [*routes(source, blobs, PREFIX, renew), mounted]
