"""One visit of one page: who looks, at what, from where."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.requests import Request

from holdfast.apps.dashboard.caller import Admit, Audit, Renew, Visitor, visitor_of
from holdfast.apps.dashboard.discretion import breakers_for, errors_for, level_for, servers_for
from holdfast.apps.dashboard.phrases import plural
from holdfast.apps.dashboard.routes import theme_of
from holdfast.apps.dashboard.sources import (
    BreakerView,
    DashboardSource,
    ErrorsView,
    LevelView,
    ServerView,
)
from holdfast.errors import BadInputError

log = logging.getLogger("holdfast.dashboard")


@dataclass(frozen=True, slots=True)
class Deck:
    """What all pages share."""

    source: DashboardSource
    title: str
    audit: Audit | None = None
    renew: Renew | None = None
    admit: Admit | None = None

    def note(self, user: str, action: str, target: str, *, done: bool) -> None:
        """Tell the audit log; what it raises is logged and holds nothing up."""
        if self.audit is not None:
            try:
                self.audit(user, action, target, done)
            except Exception:
                log.exception("the audit log failed")


@dataclass(frozen=True, slots=True)
class Visit:
    """A page as one browser has it."""

    deck: Deck
    visitor: Visitor
    root: str
    """What all addresses of the dashboard begin with, as the browser sees them."""
    theme: str
    here: str
    """The address of this page below `root`, with its query."""

    @property
    def source(self) -> DashboardSource:
        """Where everything comes from."""
        return self.deck.source

    @property
    def only(self) -> str | None:
        """The one user whose jobs may be seen; None for everybody's."""
        return self.visitor.only

    async def servers(self) -> tuple[ServerView, ...]:
        """The servers, as this visitor may know them."""
        return servers_for(await self.source.servers(), self.only)

    async def errors(self) -> ErrorsView:
        """The errors, likewise."""
        return errors_for(await self.source.errors(), self.only)

    async def breakers(self) -> tuple[BreakerView, ...]:
        """The breakers, likewise."""
        return breakers_for(await self.source.breakers(), self.only)

    async def level(self) -> LevelView:
        """The level of service, likewise."""
        return level_for(await self.source.level(), self.only)

    async def retry(self, job_id: str) -> str:
        """Queue a job again, if the visitor may have another one in the queue.

        Raises:
            BadInputError: a quota is used up, or it is no job to be retried.
        """
        if self.deck.admit is not None and self.visitor.caller is not None:
            await self.deck.admit(self.visitor.caller)
        return await self.source.retry(job_id, self.only)

    async def retry_all(self) -> str:
        """Queue all dead letters again, as far as the visitor's quotas go."""
        if self.only is None or self.deck.admit is None:
            return await self.source.retry_all(self.only)
        dead = (await self.source.jobs(self.only, state="failed", limit=100)).rows
        done = 0
        for row in reversed(dead):
            try:
                await self.retry(row.id)
            except BadInputError as error:
                return f"{plural(done, 'job is', 'jobs are')} queued again; then: {error}"
            done += 1
        return f"{plural(done, 'job is', 'jobs are')} queued again"

    def to(self, path: str, **query: str | int | None) -> str:
        """The address of a page; what is empty in the query is left out."""
        given = {name: value for name, value in query.items() if value not in ("", None)}
        return self.root + path + ("?" + urlencode(given) if given else "")

    def to_job(self, job_id: str) -> str:
        """The address of a job's page."""
        return self.to("/job/" + quote(job_id, safe=""))

    def to_thumb(self, sha256: str) -> str:
        """The address of a thumbnail."""
        return self.to("/thumb/" + quote(sha256, safe=""))

    def to_file(self, sha256: str, name: str) -> str:
        """The address under which a file can be had."""
        return self.to("/file/" + quote(sha256, safe="") + "/" + quote(name or "file", safe=""))


def visit_of(request: Request, deck: Deck) -> Visit:
    """The visit that a request begins."""
    mounted = request.scope.get("root_path", "")
    path = request.url.path
    here = path.removeprefix(mounted)
    return Visit(
        deck,
        visitor_of(request, deck.renew),
        request.headers.get("X-Forwarded-Prefix", "") + mounted,
        theme_of(request),
        here + (f"?{request.url.query}" if request.url.query else ""),
    )
