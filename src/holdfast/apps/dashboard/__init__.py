"""The dashboard: what servers, jobs and errors are doing, and what can be done about it.

`mount` puts it under ``/holdfast`` of a Starlette or FastAPI app, in the same process. It is made
with NiceGUI, which is imported when `mount` is called, and nothing in it comes from another host.

Layers: `sources` says what the pages need, as plain values, and `live_source` finds it; `phrases`,
`story`, `series` and `charts` turn it into what is shown, and know no screen; `pages` show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.apps.dashboard.caller import Admit, Audit, Renew

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from holdfast.apps.dashboard.sources import DashboardSource
    from holdfast.apps.dashboard.thumbnails import Blobs

PREFIX = "/holdfast"
"""Where the dashboard is."""

__all__ = ["PREFIX", "mount"]


def mount(
    app: Starlette,
    source: DashboardSource,
    *,
    blobs: Blobs,
    title: str = "Holdfast",
    audit: Audit | None = None,
    renew: Renew | None = None,
    admit: Admit | None = None,
) -> None:
    """Put the dashboard into an app, before all routes the app has; once in a process.

    A page is open to whoever reaches it; put what asks for a key in front. Whoever it lets
    through it leaves in ``request.state.caller``, with ``user`` and ``can(scope)``; where that is
    missing, everything is allowed.

    Args:
        app: must not have started yet; what its lifespan is now goes on being it.
        source: what is shown, and what does what is asked.
        blobs: where the jobs' files lie.
        title: of the pages.
        audit: told of every action that was asked for: user, action, target, whether it was done.
        renew: what a caller may by now, or None if nothing any more: asked before each answer and
            action, because a page may be open for days.
        admit: asked before a caller's job is queued again, for quotas.

    Raises:
        RuntimeError: it is mounted already; NiceGUI can be in one app of a process only.
    """
    from holdfast.apps.dashboard.mounting import mount_once

    mount_once(app, source, blobs=blobs, title=title, audit=audit, renew=renew, admit=admit)
